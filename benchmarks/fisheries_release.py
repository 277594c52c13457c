"""Releasing harvest decisions: how long it takes, and whether fuzzing finds one that must not be released.

    python benchmarks/fisheries_release.py [latency|fuzz ...] [--count N] [--record]

* ``latency``: bundles of untrained networks of the usual size (two hidden layers of 64 units) for four scenarios; CPU
  seconds of whole decisions with 10,000 rollouts, the slowest of 100 for each, and of the network alone.
* ``fuzz``: policies that propose random numbers of any size, NaN and infinity, fail, or have the wrong length, on
  random requests under random limits. Whatever is released is judged from the raw request by the formulas written out
  here: ranges, largest change, allowable catch, and the chance of a collapse within the year. What stands behind a
  survey that is not exact is taken from the contract. In a third of the decisions the contract's own check is
  switched off, so that projection and fallback rules are judged alone.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402
from scipy.stats import norm  # noqa: E402

from interlock.core.decision import Verdict  # noqa: E402
from interlock.domains.fisheries import DOMAIN  # noqa: E402
from interlock.domains.fisheries.decision import FisheriesDecision  # noqa: E402
from interlock.domains.fisheries.scenario import FisheriesScenario  # noqa: E402
from interlock.operations.bundle import seal  # noqa: E402
from interlock.operations.decide import Decider  # noqa: E402
from interlock.scenarios.loading import load_scenario  # noqa: E402

TIMED = ("may-safe", "web-two-fisheries", "web-hidden-predator", "web-uncertain")
WORLDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("may-safe", {}),
    ("may-tipping", {"limits": {"max_change": 0.15}}),
    ("web-two-fisheries", {"limits": {"tac": 0.15, "max_change": 0.1}, "tonnes": [50_000.0, 20_000.0, 800.0]}),
    ("web-drift", {"limits": {"tac": 0.3}}),
    ("web-capacity", {"tuned": None}),
    ("web-cycle", {"limits": {"max_change": 0.05}}),
    ("web-hidden-predator", {"limits": {"tac": 0.2, "max_change": 0.2}}),
    ("web-uncertain", {}),
)
"""Scenarios that are fuzzed, with what is changed in them."""
CHUNK = 1000


class Careless(FisheriesDecision):
    """Lets everything through but the policy's own proposals, which nobody has cut back."""

    proposed: Any = None

    def propose(self, request: Any, output: Any) -> Any:
        """The same, remembered."""
        self.proposed = super().propose(request, output)
        return self.proposed

    def check(self, request: Any, action: Any) -> Verdict:
        """Whether it is not the policy's own."""
        return Verdict(action is not self.proposed)


def scenario_of(name: str, changes: Mapping[str, Any]) -> FisheriesScenario:
    """A scenario of the project with changes and few rollouts; its rules keep their parameters."""
    return load_scenario(DOMAIN, name).with_changes(method=None, release={"rollouts": 100}, **changes)


def decider_of(scenario: FisheriesScenario) -> Decider:
    """A bundle that decides by closure until its network is replaced, written, read and verified as any other."""
    manifest = {
        "interlock": "0",
        "domain": "fisheries",
        "scenario": scenario.model_dump(mode="json"),
        "scenario_hash": scenario.hash(),
        "scorer": {"kind": "rule", "rule": "closure"},
        "provenance": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        seal(Path(folder), manifest=manifest, contract=FisheriesDecision(scenario), cases=[])
        return Decider(Path(folder))


def adversary(caught: int, rng: np.random.Generator) -> Any:
    """A policy that proposes anything."""

    def step(observation: Any, memory: Any) -> tuple[Any, Any]:
        kind = rng.integers(0, 10)
        output = rng.uniform(0.0, 1.0, caught)
        if kind == 0:
            output = np.where(rng.random(caught) < 0.5, rng.choice([np.nan, np.inf, -np.inf]), output)
        elif kind == 1:
            output = rng.normal(0.0, 10.0 ** rng.uniform(-3, 30), caught)
        elif kind == 2:
            output = rng.uniform(0.0, 1.0, rng.integers(0, 4))
        elif kind == 3 and rng.random() < 0.3:
            raise RuntimeError("the policy broke")
        elif kind == 4:
            output = np.ones(caught)
        elif kind == 5:
            output = output.astype(np.float32) * rng.choice([0.0, 1e-12, 0.1])
        return output, memory

    return step


def request_of(scenario: FisheriesScenario, rng: np.random.Generator) -> dict[str, Any]:
    """Any year; stocks from far below the limit to beyond anything that training saw, most of them small."""
    level = scenario.collapse_level
    seen = [name for name in scenario.model.species if name not in scenario.observed.hidden]
    stock = {name: float(np.exp(rng.uniform(np.log(0.8 * level), np.log(60.0 * level)))) for name in seen}
    for name in seen:
        if rng.random() < 0.5:
            stock[name] = float(rng.uniform(0.2, 1.2))
    if rng.random() < 0.02:
        stock[rng.choice(seen)] = 0.0
    year = int(rng.integers(1, scenario.horizon + 1))
    raw: dict[str, Any] = {"year": year, "stock": stock}
    if scenario.tonnes is not None and rng.random() < 0.5:
        unit = dict(zip(scenario.model.species, scenario.tonnes, strict=True))
        raw["stock_t"] = {name: value * unit[name] for name, value in raw.pop("stock").items()}
    if rng.random() < 0.2:
        raw["cv"] = {name: float(rng.uniform(0.0, 0.5)) for name in seen if rng.random() < 0.7}
    if scenario.limits.max_change is not None and year > 1:
        raw["last_mortality"] = {name: float(rng.choice([0.0, rng.uniform(), 1.0])) for name in scenario.harvested}
    return raw


def chance(scenario: FisheriesScenario, stock: Any, factor: Any, year: int, mortality: Mapping[str, float]) -> float:
    """Chance that a species ends the year at or below the limit, by the formulas; one row of the arrays after another.

    Args:
        scenario: parameters.
        stock: believed ones, ``(k, species)``.
        factor: of the parameters ``(k, parameters)``.
        year: from 0.
        mortality: by species.
    """
    bare = scenario.model.model_dump()
    numbers = [name for name, value in bare.items() if isinstance(value, float)]
    moved = {one.parameter: one.value(bare[one.parameter], year) for one in scenario.drift}
    p = {name: moved.get(name, bare[name]) * factor[:, k] for k, name in enumerate(numbers)}
    left = [
        column * (1.0 - mortality.get(name, 0.0)) for name, column in zip(scenario.model.species, stock.T, strict=True)
    ]
    if bare["kind"] == "one_species":
        (x,) = left
        square = np.maximum(x**2, 1e-300)
        means = [x + p["r"] * x * (1 - x / p["k"]) - p["beta"] * square / (square + p["c"] ** 2)]
        spreads = [p["sigma"] * x]
    else:
        x, y, z = left
        lost, k_x, k_y = p["c_xy"] * x * y, p["k_x"], p["k_y"]
        if bare["competition"] == "capacity":
            lost, k_x, k_y = 0.0, k_x - p["c_xy"] * y, k_y - p["c_xy"] * x
        eaten = [p["beta"] * z * prey**2 / np.maximum(prey**2 + p["c"] ** 2, 1e-300) for prey in (x, y)]
        rate = p["b"] * (x + p["d"] * y) - p["d_z"]
        if bare["predator"] == "exogenous":
            rate = 0.02 * np.cos(2.0 * np.pi * year / 50.0)
        means = [
            x + p["r_x"] * x * (1 - x / k_x) - eaten[0] - lost,
            y + p["r_y"] * y * (1 - y / k_y) - p["d"] * eaten[1] - lost,
            z + z * rate,
        ]
        spreads = [p["sigma_x"] * x, p["sigma_y"] * y, p["sigma_z"] * z]
    alive = np.ones(len(stock))
    for mean, spread in zip(means, spreads, strict=True):
        sure = np.where(mean <= scenario.collapse_level, 0.0, 1.0)
        alive *= np.where(spread > 0, norm.sf(scenario.collapse_level, mean, np.where(spread > 0, spread, 1.0)), sure)
    return float(np.mean(1.0 - alive))


def breaks(decider: Decider, raw: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """The limits that a released answer breaks, from the raw request and the answer's own words."""
    contract: Any = decider.contract
    scenario: FisheriesScenario = contract.scenario
    shares: dict[str, float] = answer["mortality"]
    if set(shares) != set(scenario.harvested) or not all(0.0 <= share <= 1.0 for share in shares.values()):
        return ["range"]
    unit = dict(zip(scenario.model.species, scenario.tonnes or (1.0,) * len(scenario.initial), strict=True))
    told = raw["stock"] if "stock" in raw else {name: value / unit[name] for name, value in raw["stock_t"].items()}
    found, limits = [], scenario.limits
    total = sum(share * told[name] for name, share in shares.items())
    if limits.tac is not None and total > limits.tac + 1e-8:
        found.append("allowable catch")
    request = contract.parse(raw)
    believed = contract.beliefs.believed(request.year, request.stock, request.cv)
    level = scenario.release.collapse_probability
    risk = chance(scenario, *believed, raw["year"] - 1, shares)
    if risk > level + 1e-8 and any(shares.values()):
        found.append("risk")
    if abs(risk - answer["collapse_within_1_year"]) > 1e-8:
        found.append("told risk")
    if limits.max_change is not None and raw["year"] > 1:
        most = max(shares.values())
        more = {name: min(share + 1e-6 * share / most, 1.0) if most else 0.0 for name, share in shares.items()}
        forced = chance(scenario, *believed, raw["year"] - 1, more) > level - 1e-8
        forced |= limits.tac is not None and total > limits.tac - 1e-8
        changes = [share - raw["last_mortality"][name] for name, share in shares.items()]
        if max(changes) > limits.max_change + 1e-8:
            found.append("rise")
        if min(changes) < -limits.max_change - 1e-8 and not forced:
            found.append("fall")
    for name, share in shares.items():
        if abs(answer["tac"][name] - share * told[name]) > 1e-8:
            found.append("told catch")
        if abs(answer["escapement"][name] - (1.0 - share) * told[name]) > 1e-8:
            found.append("told escapement")
    return found


def fuzz(decider: Decider, seed: int, count: int) -> Counter[str]:
    """``count`` decisions; what happened, ``infeasible ...`` for each limit that a released one breaks."""
    rng = np.random.default_rng(seed)
    careful: Any = decider.contract
    careless = Careless(careful.scenario)
    careless.beliefs = careful.beliefs
    decider.mind.rule, decider.mind.step = None, adversary(len(careful.caught), rng)
    happened: Counter[str] = Counter()
    for _ in range(count):
        raw = request_of(careful.scenario, rng)
        decider.contract = careless if rng.random() < 1 / 3 else careful
        answer = decider.decide(raw)
        decider.contract = careful
        happened[answer["status"]] += 1
        happened[answer["source"]] += 1
        if answer["status"] == "released":
            happened["closed"] += "closed" in answer["flags"]
            happened.update(f"infeasible {broken}" for broken in breaks(decider, raw, answer))
    return happened


def infeasible(happened: Mapping[str, int]) -> int:
    """Limits that released decisions break."""
    return sum(number for name, number in happened.items() if name.startswith("infeasible"))


def run_fuzz(count: int) -> Counter[str]:
    """The same for all worlds in turn."""
    deciders = [decider_of(scenario_of(name, changes)) for name, changes in WORLDS]
    happened: Counter[str] = Counter()
    chunks = -(-count // CHUNK)
    for seed in range(chunks):
        happened += fuzz(deciders[seed % len(deciders)], seed, CHUNK)
        if seed % 8 == 7 or seed == chunks - 1:
            print(f"{(seed + 1) * CHUNK:,} decisions, {infeasible(happened)} infeasible", flush=True)
    return happened


def latency(name: str) -> tuple[float, float]:
    """CPU seconds of the slowest of 100 decisions, and CPU milliseconds of the slowest policy among them."""
    import torch

    from interlock.core.pathwise.policy import new_policy
    from interlock.core.problem import Problem
    from interlock.domains.fisheries.problem import build
    from interlock.scenarios.export import write_bundle

    torch.set_num_threads(1)
    problem: Problem = build(load_scenario(DOMAIN, name))
    policy = new_policy(problem, encoder=None, form=None, hidden=(64, 64), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        write_bundle(path, problem=problem, policy=policy, run_info={}, evidence_summary={})
        decider = Decider(path)
    requests = decider.contract.sample_requests(100, 5)
    decider.decide(requests[0])
    whole, bare = [], []
    for raw in requests:
        started = time.process_time()
        decider.decide(raw)
        whole.append(time.process_time() - started)
        started = time.process_time()
        decider.mind.read(decider.contract, decider.contract.parse(raw))
        bare.append(1000.0 * (time.process_time() - started))
    return max(whole), max(bare)


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], "latency", "fuzz"], help="all if none is named")
    parser.add_argument("--count", type=int, default=100_000, help="decisions of the fuzzing")
    parser.add_argument("--record", action="store_true", help="write into domains/fisheries/results.json")
    options = parser.parse_args()
    command = "python benchmarks/fisheries_release.py " + " ".join([*options.parts, "--record"])
    rows: dict[str, tuple[float, str]] = {}
    if not options.parts or "latency" in options.parts:
        found = {name: latency(name) for name in TIMED}
        for name, (seconds, milliseconds) in found.items():
            print(f"{name}: decision {1000 * seconds:.1f} ms, policy alone {milliseconds:.3f} ms (CPU, slowest of 100)")
        rows["release_seconds"] = (max(seconds for seconds, _ in found.values()), "CPU seconds")
        rows["policy_ms"] = (max(milliseconds for _, milliseconds in found.values()), "CPU milliseconds")
    if not options.parts or "fuzz" in options.parts:
        started = time.process_time()
        happened = run_fuzz(options.count)
        print(json.dumps(dict(happened), indent=1), f"{time.process_time() - started:.0f} CPU seconds")
        rows["fuzz_released"] = (infeasible(happened), f"infeasible of {happened['released']:,} released decisions")
        if options.record and happened["released"] < 100_000:
            sys.exit("a record needs 100,000 released decisions")
    if options.record:
        from interlock.scenarios.record import record_row

        for name, (value, unit) in rows.items():
            print(record_row("fisheries", name, value=value, unit=unit, command=command))


if __name__ == "__main__":
    main()

"""Hydrothermal dispatch on the Bolivian system: every row of the acceptance table, learned rules beside SDDP.

    python benchmarks/hydro.py [PART ...] [--seeds 0 1 2] [--paths 200] [--data FOLDER] [--record]

Parts: ``checks``, ``toy``, ``sddp_12``, ``sddp``, ``bus1``, ``dc``, ``baselines``, ``persistent``, ``ac``, ``dry``;
all of them take about an hour on two cores. Cuts and rules are kept in ``build/hydro`` and used again: delete the
folder to train anew. All policies play the same held-out inflow paths in the same simulator; differences are paired.
The SDDP bound covers all 126 stages, costs that are compared with each other the first 96.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402

from interlock.core.evaluation.protocol import Outcomes, play  # noqa: E402
from interlock.core.training import MemoryRun  # noqa: E402
from interlock.domains.hydro import DOMAIN  # noqa: E402
from interlock.domains.hydro.problem import HydroProblem, build  # noqa: E402
from interlock.scenarios.loading import load_method, load_scenario  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "hydro" / "bolivia"
KEPT = ROOT / "build" / "hydro"
SDDP_SECONDS = 170.0


class Quiet(MemoryRun):
    """Keeps no checkpoints: what is kept is the result."""

    def checkpoint_due(self) -> bool:
        """Never."""
        return False


@dataclass
class Context:
    """What every part needs: where the data are, how many paths and which seeds, and what to record."""

    data: Path
    paths: int
    seeds: Sequence[int]
    record: bool

    def problem(self, scenario: str, *settings: str) -> HydroProblem:
        """A scenario of the Bolivian system."""
        checked = load_scenario(DOMAIN, scenario, settings)
        return build(checked, None if checked.case.source == "toy" else self.data)

    def tell(self, row: str, value: float, unit: str, part: str, **more: Any) -> None:
        """Print a figure, and write it into ``results.json`` if asked."""
        interval = f" ({more['low']:.6g} to {more['high']:.6g})" if more.get("low") is not None else ""
        print(f"{row:24s} {value:12.6g}{interval} {unit}", flush=True)
        if self.record:
            from interlock.scenarios.record import record_row

            command = f"python benchmarks/hydro.py {part} --record"
            print(record_row("hydro", row, value=value, unit=unit, command=command, **more), flush=True)


def trained(problem: HydroProblem, preset: str, seed: int = 0, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A policy by a method preset, and what its training took; kept for the next time."""
    from interlock.scenarios import plugins

    method = load_method(DOMAIN, preset, changes)
    settings = hashlib.sha256(method.config.model_dump_json().encode()).hexdigest()[:8]
    key = f"{problem.scenario.hash()}-{preset}-{seed}-{settings}"
    folder = KEPT / key
    if (folder / "took.json").is_file():
        return plugins.resolve(method.info.load)(folder, problem), json.loads((folder / "took.json").read_text())
    run = Quiet(seed=seed)
    wall, cpu = time.monotonic(), time.process_time()
    policy = plugins.resolve(method.info.train)(problem, method.config, run)
    took = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu, "warnings": run.warnings}
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    (folder / "took.json").write_text(json.dumps(took))
    print(f"{problem.scenario.name} {preset} seed {seed}: {took['cpu_seconds']:.0f} CPU s of training", flush=True)
    return policy, took


def cuts(problem: HydroProblem) -> tuple[Any, float, dict[str, Any]]:
    """The SDDP policy of a problem, its bound, and what it took: less than three minutes on two threads."""
    stopping = {"seconds": SDDP_SECONDS}
    policy, took = trained(problem, "sddp", iterations=130, threads=2, stopping=stopping)
    return policy, float(policy.description["bound"]), took


def reported(outcomes: Outcomes) -> np.ndarray:
    """Cost of the reported stages."""
    costs: np.ndarray = outcomes.metrics["cost_rate_reported"]
    return costs


def total(outcomes: Outcomes) -> np.ndarray:
    """Cost of all stages."""
    return outcomes.objective


def paired(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Mean paired difference in percent of the other's mean, with its 95 % interval."""
    difference = 100.0 * (one - other) / other.mean()
    half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return float(difference.mean()), float(difference.mean() - half), float(difference.mean() + half)


def checks(context: Context) -> None:
    """Known costs of a stage, and prices against two-sided differences."""
    from interlock.domains.hydro.dispatch import open_dispatch

    deviations = []
    problem = context.problem("bolivia_dc")
    case, nothing = problem.case, np.zeros((1, 11))
    for network, cost in (("bus1", 8287.668), ("dc", 11672.924774)):
        found = open_dispatch(case, network, 1).solve(np.zeros(1, int), nothing, nothing, nothing).cost[0]
        deviations.append(abs(found - cost) / cost)
    context.tell("stage_checks", max(deviations), "relative", "checks")
    rng, dispatch, step = np.random.default_rng(1), open_dispatch(case, "dc", 126), 1e-4
    worst, counted = 0.0, 0
    for _ in range(60):
        volume = rng.random((1, 11)) * case.hydros.max_volume + 0.01
        inflow = case.inflows[rng.integers(48), rng.integers(15)][None]
        target = np.minimum(0.9 * volume, case.hydros.max_volume)
        plant = rng.integers(11)
        move = np.zeros((1, 11))
        move[0, plant] = step
        stage = np.zeros(1, int)
        here, up, down = (dispatch.solve(stage, volume + side * move, inflow, target) for side in (0.0, 1.0, -1.0))
        right, left = (up.cost - here.cost)[0] / step, (here.cost - down.cost)[0] / step
        if abs(right - left) > 1e-6 * max(1.0, abs(right)):
            continue  # a kink: every price between the two sides is right
        price, slope = here.state_price[0, plant], (right + left) / 2
        worst, counted = max(worst, abs(price - slope) / max(1.0, abs(slope))), counted + 1
    assert counted >= 50, counted
    context.tell("duals", worst, "relative", "checks")


def toy(context: Context) -> None:
    """The bound of SDDP against the program over the tree of all paths."""
    for row, horizon in (("toy_3", 3), ("toy_4", 4)):
        problem = context.problem("toy", f"horizon={horizon}")
        policy, _ = trained(problem, "sddp", iterations=100)
        exact = float(problem.bounds()["extensive_form"].compute("test", 2))
        bound = float(policy.description["bound"])
        print(f"toy, {horizon} stages: {bound:.4f}, tree {exact:.4f}")
        context.tell(row, 100.0 * abs(bound - exact) / exact, "%", "toy")


def sddp_12(context: Context) -> None:
    """Bound and simulation of a short horizon."""
    problem = context.problem("bolivia_dc_12")
    policy, _ = trained(problem, "sddp", iterations=40)
    cost = play(problem, policy, split="test", count=2000).objective
    bound = float(policy.description["bound"])
    half = 1.96 * cost.std(ddof=1) / np.sqrt(len(cost))
    print(f"12 stages: bound {bound:.1f}, 2,000 paths {cost.mean():.1f} +- {half:.1f}")
    context.tell("sddp_12", 100.0 * (cost.mean() - bound) / bound, "%", "sddp_12")


def sddp(context: Context) -> None:
    """Bound and simulation of the reference scenario."""
    problem = context.problem("bolivia_dc")
    policy, bound, took = cuts(problem)
    cost = play(problem, policy, split="test", count=context.paths).objective
    more = {"budget": f"{took['seconds']:.0f} s on two threads", "cpu_seconds": took["cpu_seconds"]}
    context.tell("sddp_bound", bound, "$/h", "sddp", **more)
    print(f"{context.paths} paths: {cost.mean():.0f}")
    context.tell("sddp_gap", 100.0 * (cost.mean() - bound) / bound, "%", "sddp")


def bus1(context: Context) -> None:
    """The rule in closed form against the bound on one bus."""
    problem = context.problem("bolivia_bus1")
    _, bound, _ = cuts(problem)
    gaps, seconds = [], []
    for seed in context.seeds:
        policy, took = trained(problem, "ddr_bus1", seed)
        cost = play(problem, policy, split="test").objective
        gaps.append(100.0 * (cost.mean() - bound) / bound)
        seconds.append(took["cpu_seconds"])
    print(f"gaps to the bound {bound:.0f}: {np.round(gaps, 3)}")
    more = {"seeds": list(context.seeds), "cpu_seconds": float(np.mean(seconds))}
    context.tell("bus1_rule", float(np.max(gaps)), "%", "bus1", **more)


def dc(context: Context) -> None:
    """The rule against SDDP over the reported stages, paired."""
    problem = context.problem("bolivia_dc")
    policy, _, _ = cuts(problem)
    played = play(problem, policy, split="test", count=context.paths)
    peer, costs, totals, seconds = reported(played), [], [], []
    for seed in context.seeds:
        rule, took = trained(problem, "ts_ddr", seed)
        own = play(problem, rule, split="test", count=context.paths)
        costs.append(reported(own))
        totals.append(own.objective)
        seconds.append(took["cpu_seconds"])
        print(f"seed {seed}: {paired(costs[-1], peer)[0]:+.3f} %, {took['cpu_seconds']:.0f} CPU s")
    mean, low, high = paired(np.mean(costs, axis=0), peer)
    more = {"low": low, "high": high, "seeds": list(context.seeds), "cpu_seconds": float(np.mean(seconds))}
    for row in ("dc_rule", "dc_rule_goal"):
        context.tell(row, mean, "%", "dc", **more)
    mean, low, high = paired(np.mean(totals, axis=0), played.objective)
    context.tell("dc_rule_all_stages", mean, "%", "dc", **{**more, "low": low, "high": high})
    context.tell("dc_rule_worst", max(paired(cost, peer)[0] for cost in costs), "%", "dc", seeds=list(context.seeds))


class Vertex:
    """Myopic operation as a solver leaves it: water that is worth nothing in the stage is kept or spilled by chance.

    Published comparisons are with such an operator. The baseline ``myopic`` keeps that water and is much better.
    """

    def __init__(self, problem: HydroProblem):
        from dataclasses import replace

        from interlock.solvers.highs import Highs

        self.stage = problem.multistage().stages[0]
        self.session = Highs().open(replace(self.stage.program, cost=1e-3 * self.stage.program.cost))

    def act(self, observation: Any, *, deterministic: bool = True) -> np.ndarray:
        """End volumes of the optimal vertex that came up."""
        right = self.stage.right_hand_side(observation["volume"], observation["inflow"])
        ends = []
        for row in right:
            self.session.change_rows(self.stage.rows, row, row)
            ends.append(self.session.solve().x[self.stage.state])
        return np.array(ends)

    def reset(self, rows: Any = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Nothing random."""


def baselines(context: Context) -> None:
    """Every method against myopic operation, and the deep rule against the linear one."""
    problem = context.problem("bolivia_dc", "baselines=[myopic, myopic_spill, rule_curve]")
    seed = context.seeds[0]
    policies: dict[str, Any] = {"vertex": Vertex(problem)}
    policies |= {name: make(0) for name, make in problem.baselines().items()}
    problem = context.problem("bolivia_dc")
    policies |= {"sddp": cuts(problem)[0], "ts_ddr": trained(problem, "ts_ddr", seed)[0]}
    policies["ts_ldr"] = trained(problem, "ts_ldr", seed)[0]
    costs = {name: reported(play(problem, one, split="test", count=context.paths)) for name, one in policies.items()}
    for row, reference in (("beats_myopic", "vertex"), ("beats_myopic_kept", "myopic")):
        gains = {name: -paired(cost, costs[reference])[0] for name, cost in costs.items()}
        for name, cost in costs.items():
            print(f"{name:12s} {cost.mean():12.1f}  {gains[name]:+.2f} % better than {reference}")
        context.tell(row, min(gains["sddp"], gains["ts_ddr"], gains["ts_ldr"]), "%", "baselines", seeds=[seed])
    mean, low, high = paired(costs["ts_ddr"], costs["ts_ldr"])
    context.tell("beats_linear", mean, "%", "baselines", low=low, high=high, seeds=[seed])


def persistent(context: Context) -> None:
    """Inflows with memory: the recurrent rule against cuts that take them for independent."""
    problem = context.problem("bolivia_persistent")
    policy = cuts(context.problem("bolivia_dc"))[0]  # for cuts the two scenarios are one: independent inflows
    policy.problem = problem
    peer = play(problem, policy, split="test", count=context.paths)
    own = []
    for seed in context.seeds:
        rule, _ = trained(problem, "ts_ddr", seed)
        own.append(play(problem, rule, split="test", count=context.paths))
        print(f"seed {seed}: {paired(reported(own[-1]), reported(peer))[0]:+.3f} %")
    for row, cost in (("persistent", reported), ("persistent_all_stages", total)):
        mean, low, high = paired(np.mean([cost(one) for one in own], axis=0), cost(peer))
        context.tell(row, mean, "%", "persistent", low=low, high=high, seeds=list(context.seeds))


def ac(context: Context) -> None:
    """Policies of the linear network on the equations of alternating current."""
    linear, problem = context.problem("bolivia_dc"), context.problem("bolivia_ac")
    played = {}
    for name, policy in (("sddp", cuts(linear)[0]), ("ts_ddr", trained(linear, "ts_ddr", context.seeds[0])[0])):
        policy.problem = problem
        played[name] = play(problem, policy, split="test", count=20)
        deficit = played[name].metrics["deficit_energy_mwh"].max()
        print(f"{name}: {reported(played[name]).mean():.0f}, largest deficit {deficit:.3g} MWh, all stages solved")
    for row, cost in (("ac", reported), ("ac_all_stages", total)):
        mean, low, high = paired(cost(played["ts_ddr"]), cost(played["sddp"]))
        context.tell(row, mean, "%", "ac", low=low, high=high, seeds=[context.seeds[0]])
    context.tell("ac_deficit", float(played["ts_ddr"].metrics["deficit_energy_mwh"].max()), "MWh", "ac")


def dry(context: Context) -> None:
    """Limits on unserved energy: one that can be kept, and one that cannot."""
    for name, row in (("bolivia_dry", "dry_eens"), ("bolivia_dry_stress", "stress_eens")):
        problem = context.problem(name)
        rule, took = trained(problem, "ddr_reliable", context.seeds[0])
        myopic = problem.baselines()["myopic"](0)
        found = {
            key: play(problem, one, split="test", count=context.paths).metrics["eens_percent"]
            for key, one in (("myopic", myopic), ("ts_ddr", rule))
        }
        value, error = found["ts_ddr"].mean(), found["ts_ddr"].std(ddof=1) / np.sqrt(context.paths)
        print(f"{name}: myopic {found['myopic'].mean():.4f} %, rule {value:.4f} %; {'; '.join(problem.notes)}")
        more = {"low": value - 1.96 * error, "high": value + 1.96 * error, "cpu_seconds": took["cpu_seconds"]}
        context.tell(row, float(value), "% of load energy", "dry", seeds=[context.seeds[0]], **more)
    for load_factor in (1.15, 1.25):
        notes = context.problem("bolivia_dry_stress", f"load_factor={load_factor}").notes
        told = any("unreachable" in note or "out of reach" in note for note in notes)
        print(f"load x {load_factor}: a limit of 0.1 % is {'told to be out of reach' if told else 'within reach'}")
    context.tell("stress_told", float(told), "1 = told", "dry")


PARTS: dict[str, Callable[[Context], None]] = {
    "checks": checks,
    "toy": toy,
    "sddp_12": sddp_12,
    "sddp": sddp,
    "bus1": bus1,
    "dc": dc,
    "baselines": baselines,
    "persistent": persistent,
    "ac": ac,
    "dry": dry,
}


def main() -> int:
    """Run the parts."""
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of training")
    parser.add_argument("--paths", type=int, default=200, help="held-out inflow paths")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Bolivian system")
    parser.add_argument("--record", action="store_true", help="write into domains/hydro/results.json")
    options = parser.parse_args()
    chosen = options.parts or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if options.record and (options.paths, options.seeds) != (parser.get_default("paths"), parser.get_default("seeds")):
        parser.error("recorded figures are those of the default paths and seeds")
    context = Context(options.data, options.paths, options.seeds, options.record)
    for part in chosen:
        PARTS[part](context)
    return 0


if __name__ == "__main__":
    sys.exit(main())

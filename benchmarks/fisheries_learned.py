"""Proximal policy optimisation on fisheries, penalised, constrained and smoothed, on futures nobody trained on.

    python benchmarks/fisheries_learned.py train CASE SEED ...     (several seeds one after the other)
    python benchmarks/fisheries_learned.py measure [--record]

``train`` takes the name of a scenario: preset ``ppo_gp`` then learns under the penalty of a collapse alone, as
published, which gives a policy of preset ``ppo`` and the smooth rule made from it; or ``constrained``: preset
``ppo_constrained`` on ``web_two_fisheries_constrained``, where a collapse costs nothing but may happen in 5 % of
episodes. Policies are chosen on validation futures. They go into ``runs/fisheries_learned/CASE_SEED``, in folders
``teacher`` and ``policy``, with the CPU seconds of both.

``measure`` plays what it finds there on the 10,000 test futures; reward is that of the scenario, with the penalty, in
the constrained case, too. Figures are means over seeds for each future, intervals are over futures.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from interlock.core.evaluation.protocol import play  # noqa: E402
from interlock.core.evaluation.statistics import student  # noqa: E402
from interlock.core.network_policy import load_network_policy  # noqa: E402
from interlock.core.policy import Policy  # noqa: E402
from interlock.core.smoothing.policy import load_smoothed_policy  # noqa: E402
from interlock.core.training import MemoryRun  # noqa: E402
from interlock.domains.fisheries import DOMAIN  # noqa: E402
from interlock.domains.fisheries.baselines import optimum  # noqa: E402
from interlock.domains.fisheries.problem import FisheriesProblem, build  # noqa: E402
from interlock.scenarios import plugins  # noqa: E402
from interlock.scenarios.loading import load_method, load_scenario  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ROOT / "runs" / "fisheries_learned"
CONSTRAINED = "constrained"
SCENARIOS = ("may_tipping", "may_safe", "may_noisy", "web_one_fishery", "web_two_fisheries", "web_drift")
RECORDED = {"web_two_fisheries": "web", "web_drift": "drift"}
"""Scenario -> how the rows of ``acceptance.yaml`` call it; the others are printed."""
REWARD, SURVIVAL, SAFE_SURVIVAL = 68.0, 0.93, 0.95
COMMAND = "python benchmarks/fisheries_learned.py measure --record"


class Printed(MemoryRun):
    """A run that shows its validations and keeps no checkpoints, but the CPU seconds of its last curves."""

    logged = 0.0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep, and print what was validated."""
        super().log(step, values)
        self.logged = time.process_time()
        if "eval/objective" in values:
            print(f"{step} decisions, {self.logged:.0f} CPU s: {values['eval/objective']:.2f}", flush=True)

    def checkpoint_due(self) -> bool:
        """Never."""
        return False


def learned_on(case: str) -> FisheriesProblem:
    """What a case is trained on."""
    if case == CONSTRAINED:
        return build(load_scenario(DOMAIN, "web_two_fisheries_constrained"))
    return build(load_scenario(DOMAIN, case).with_changes(collapse_probability=None, low_years=None))


def train(case: str, seed: int) -> None:
    """Train one seed and keep its policies with their CPU seconds."""
    import torch

    torch.set_num_threads(1)
    problem = learned_on(case)
    method = load_method(DOMAIN, "ppo_constrained" if case == CONSTRAINED else "ppo_gp")
    run, began = Printed(seed=seed), time.process_time()
    policy = plugins.resolve(method.info.train)(problem, method.config, run)
    seconds = {"teacher": run.logged - began, "policy": time.process_time() - began}
    folder = TRAINED / f"{case}_{seed}"
    kept = {"teacher": policy} if case == CONSTRAINED else {"teacher": policy.last, "policy": policy}
    for name, one in kept.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        one.save(folder / name)
    told = {"seconds": seconds, "warnings": run.warnings, "curves": run.curves}
    (folder / "training.json").write_text(json.dumps(told, indent=1))
    print(f"{case}, seed {seed}: {seconds['teacher']:.0f} and {seconds['policy']:.0f} CPU s, in {folder}", flush=True)


@dataclass(frozen=True)
class Played:
    """Reward and survival of every seed (rows) on the same futures; CPU seconds of the slowest training."""

    seeds: list[int]
    reward: np.ndarray
    survival: np.ndarray
    caught: np.ndarray
    seconds: float

    def rows(self, name: str) -> dict[str, tuple[np.ndarray, str]]:
        """Reward and survival per future, mean over seeds, by row."""
        return {
            f"{name}_reward": (self.reward.mean(axis=0), "stock units"),
            f"{name}_survival": (self.survival.mean(axis=0), "share of episodes"),
        }


def on_test(problem: FisheriesProblem, policies: list[Policy], seeds: list[int], seconds: float) -> Played:
    """Play policies on the test futures."""
    outcomes = [play(problem, policy, split="test") for policy in policies]
    survival, caught = (np.stack([one.metrics[name] for one in outcomes]) for name in ("survival", "yield"))
    return Played(seeds, np.stack([one.objective for one in outcomes]), survival, caught, seconds)


def trained(case: str, kind: str) -> Played | None:
    """All seeds of a case, in the scenario as it is; ``None`` if there are none."""
    seeds = sorted(int(folder.name.rpartition("_")[2]) for folder in TRAINED.glob(f"{case}_[0-9]*"))
    if not seeds:
        return None
    problem = build(load_scenario(DOMAIN, "web_two_fisheries" if case == CONSTRAINED else case))
    load = load_smoothed_policy if kind == "policy" else load_network_policy
    told = [json.loads((TRAINED / f"{case}_{seed}" / "training.json").read_text())["seconds"] for seed in seeds]
    policies: list[Policy] = [load(TRAINED / f"{case}_{seed}" / kind, problem) for seed in seeds]
    found = on_test(problem, policies, seeds, max(one[kind] for one in told))
    print(f"{case} {kind}: seeds {seeds}, CPU s {[round(one[kind]) for one in told]}")
    for name in ("reward", "survival", "caught"):
        print(f"  {name} per seed {np.round(getattr(found, name).mean(axis=1), 4).tolist()}", flush=True)
    return found


def holding(found: Played, survival: float, reward: float = REWARD) -> int:
    """Seeds whose mean reward and survival are large enough."""
    return int(((found.reward.mean(axis=1) >= reward) & (found.survival.mean(axis=1) >= survival)).sum())


def penalised() -> dict[str, tuple[Played, np.ndarray | float, str]]:
    """Rows of teachers and smooth rules, after all are played; those of the reference beside its optimum."""
    rows: dict[str, tuple[Played, np.ndarray | float, str]] = {}
    for case in SCENARIOS:
        for kind, method in (("teacher", "ppo"), ("policy", "gp")):
            found = trained(case, kind)
            if found is None or case not in RECORDED:
                continue
            rows |= {row: (found, *value) for row, value in found.rows(f"{method}_{RECORDED[case]}").items()}
            if case == "web_two_fisheries" and kind == "teacher":
                problem = build(load_scenario(DOMAIN, case))
                best = play(problem, optimum(problem.scenario, stationary=False), split="test").objective.mean()
                rows["ppo_web_seeds"] = (found, float(holding(found, SURVIVAL)), "seeds")
                rows["ppo_web_share"] = (found, 100.0 * found.reward.mean(axis=0) / best, "%")
    return rows


def constrained() -> dict[str, tuple[Played, np.ndarray | float, str]]:
    """The learned multiplier beside the best constant mortality that keeps the same limit."""
    found = trained(CONSTRAINED, "teacher")
    if found is None:
        return {}
    safe = learned_on(CONSTRAINED).baselines()["constant_mortality_safe"](0)
    problem = build(load_scenario(DOMAIN, "web_two_fisheries"))
    careful = on_test(problem, [safe], [], 0.0)
    base = float(careful.reward.mean())
    print(f"constant mortality within the limit: reward {base:.2f}, survival {careful.survival.mean():.4f}")
    rows = {row: (found, *value) for row, value in found.rows("ppo_constrained").items()}
    enough = max(REWARD, 1.14 * base)
    return {
        **rows,
        "ppo_constrained_yield": (found, found.caught.mean(axis=0), "stock units"),
        "ppo_constrained_gain": (found, 100.0 * (found.reward.mean(axis=0) / base - 1.0), "%"),
        "ppo_constrained_seeds": (found, float(holding(found, SAFE_SURVIVAL, enough)), "seeds"),
    }


def measure(record: bool) -> None:
    """Play all trained policies, print, and record if asked."""
    for row, (found, values, unit) in {**penalised(), **constrained()}.items():
        value, low, high = float(np.mean(values)), None, None
        if isinstance(values, np.ndarray):
            estimate = student(values)
            low, high = estimate.low, estimate.high
        print(f"{row}: {value:.4g} {unit}" + ("" if low is None else f" ({low:.4g} to {high:.4g})"))
        if record:
            from interlock.scenarios.record import record_row

            said = record_row(
                "fisheries",
                row,
                value=value,
                low=low,
                high=high,
                unit=unit,
                seeds=found.seeds,
                budget=f"at most {found.seconds:.0f} CPU s per seed",
                cpu_seconds=found.seconds,
                command=COMMAND,
            )
            print(f"  {said}")


def main() -> None:
    """Train or measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    trainer = commands.add_parser("train", help="train some seeds of one case")
    trainer.add_argument("case", choices=[*SCENARIOS, CONSTRAINED])
    trainer.add_argument("seeds", type=int, nargs="+")
    measurer = commands.add_parser("measure", help="play the trained policies on the test futures")
    measurer.add_argument("--record", action="store_true", help="write into domains/fisheries/results.json")
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.record)
        return
    for seed in options.seeds:
        train(options.case, seed)


if __name__ == "__main__":
    main()

"""Control rules learned by pathwise gradients, on futures that nobody trained on.

    python benchmarks/fisheries_pathwise.py train SCENARIO SEED ...    (web_two_fisheries, web_drift or may_safe)
    python benchmarks/fisheries_pathwise.py measure [--record]

``train`` learns with the scenario's own method and settings, chooses on the validation futures, and writes the rule and
the CPU seconds it took into ``runs/fisheries_pathwise``; what is there already is kept. ``measure`` plays every rule
found there on the 10,000 test futures. Rewards have the penalty of a collapse and the last year in them. Figures are
means over seeds with a Student interval over seeds; beside them stands how many seeds keep both ends of a row alone.

The three species are trained with a part of the limit on the probability of a collapse in reserve. The rule of
``may_safe`` is also looked at on a fine grid of overfished stocks.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from interlock.core.evaluation.protocol import play  # noqa: E402
from interlock.core.evaluation.statistics import student  # noqa: E402
from interlock.core.pathwise.method import train  # noqa: E402
from interlock.core.pathwise.policy import PathwisePolicy, load_pathwise_policy  # noqa: E402
from interlock.core.training import MemoryRun  # noqa: E402
from interlock.domains.fisheries import DOMAIN  # noqa: E402
from interlock.domains.fisheries.problem import FisheriesProblem, build  # noqa: E402
from interlock.scenarios.loading import load_method, load_scenario  # noqa: E402

TRAINED = Path(__file__).resolve().parents[1] / "runs" / "fisheries_pathwise"
COMMAND = "python benchmarks/fisheries_pathwise.py measure --record"
OVERFISHED = np.linspace(0.30, 0.46, 1601)
"""Stocks of ``may_safe`` at which nothing should be caught."""


@dataclass(frozen=True, slots=True)
class Task:
    """A scenario with the least that its rows ask for.

    Attributes:
        short: how the rows call it.
        settings: of the method, beside the scenario's own.
        reward: least mean reward.
        survival: least survival; ``None`` where the rule must close the fishery at overfished stocks instead.
    """

    short: str
    settings: tuple[str, ...]
    reward: float
    survival: float | None


TASKS: Mapping[str, Task] = {
    "web_two_fisheries": Task("web", ("margin=0.5", "validate_every=20"), 69.4, 0.97),
    "web_drift": Task("drift", ("margin=0.4", "validate_every=20"), 51.0, 0.95),
    "may_safe": Task("safe", ("validate_every=20",), 5.95, None),
}


class Printed(MemoryRun):
    """A run that shows its validations."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Print what was validated."""
        if "eval/objective" in values:
            print(step, {name: round(value, 3) for name, value in values.items()}, flush=True)

    def checkpoint_due(self) -> bool:
        """Never: a training takes minutes."""
        return False


def problem_of(name: str) -> FisheriesProblem:
    """The problem that a scenario is trained and measured on."""
    return build(load_scenario(DOMAIN, name))


def learn(name: str, seed: int) -> None:
    """Train one rule, unless it is there."""
    folder = TRAINED / f"{name}_{seed}"
    if (folder / "cpu.json").exists():
        return
    problem = problem_of(name)
    choice = problem.scenario.method
    method = load_method(DOMAIN, choice.preset, choice.settings, TASKS[name].settings)
    began = time.process_time()
    policy = train(problem, method.config, Printed(seed=seed))
    seconds = time.process_time() - began
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    (folder / "cpu.json").write_text(json.dumps({"seconds": seconds}))
    print(f"{name} seed {seed}: {seconds:.0f} CPU s", flush=True)


def largest_mortality(policy: PathwisePolicy) -> float:
    """Of the overfished stocks."""
    view = {"stock": OVERFISHED[:, None], "year": np.zeros((len(OVERFISHED), 1), np.int64)}
    return float(policy.act(view).max())


def measure(record: bool) -> None:
    """Play what was trained; print and record the rows."""
    from interlock.scenarios.record import record_row

    for name, task in TASKS.items():
        problem, folders = problem_of(name), sorted(TRAINED.glob(f"{name}_*/cpu.json"))
        rewards, second, seconds, seeds = [], [], [], []
        for file in folders:
            policy = load_pathwise_policy(file.parent, problem)
            outcome = play(problem, policy, split="test")
            rewards.append(float(outcome.objective.mean()))
            survival = float(outcome.metrics["survival"].mean())
            second.append(largest_mortality(policy) if task.survival is None else survival)
            seconds.append(json.loads(file.read_text())["seconds"])
            seeds.append(int(file.parent.name.rsplit("_", 1)[1]))
            print(
                f"{name} seed {seeds[-1]}: {rewards[-1]:.3f}, {survival:.4f}, {second[-1]:.4f}, {seconds[-1]:.0f} CPU s"
            )
        if len(seeds) < 2:
            print(f"{name}: {len(seeds)} seeds trained, at least 2 are needed")
            continue
        kept = [found == 0.0 if task.survival is None else found >= task.survival for found in second]
        both = [reward >= task.reward and keeps for reward, keeps in zip(rewards, kept, strict=True)]
        interval = student(np.array(rewards))
        rows = {"": (interval.mean, "stock units", interval.low, interval.high)}
        if task.survival is None:
            rows["_closed"] = (max(second), "share/year", None, None)
        else:
            share = student(np.array(second))
            rows["_survival"] = (share.mean, "share of episodes", share.low, share.high)
        rows["_seeds"] = (float(sum(both)), "seeds", None, None)
        rows["_seconds"] = (max(seconds), "CPU s", None, None)
        for row, (value, unit, low, high) in rows.items():
            print(
                f"pathwise_{task.short}{row}: {value:.4f} {unit}" + ("" if low is None else f" ({low:.4f}, {high:.4f})")
            )
            if record:
                print(
                    record_row(
                        "fisheries", f"pathwise_{task.short}{row}", value=value, unit=unit, low=low, high=high,
                        command=COMMAND, seeds=seeds, cpu_seconds=float(np.mean(seconds)),
                    )
                )  # fmt: skip


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("train", "measure"))
    parser.add_argument("arguments", nargs="*", help="scenario and seeds, for train")
    parser.add_argument("--record", action="store_true", help="write into domains/fisheries/results.json")
    options = parser.parse_args()
    if options.verb == "measure":
        measure(options.record)
        return 0
    if len(options.arguments) < 2 or options.arguments[0] not in TASKS:
        parser.error(f"train needs one of {', '.join(TASKS)}, then seeds")
    for seed in options.arguments[1:]:
        learn(options.arguments[0], int(seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Packing under limits on overhang and on the centre of gravity, beside packing without them, on the same sequences.

    python benchmarks/bin_packing_constrained.py train SCENARIO SEED    (several may run at once)
    python benchmarks/bin_packing_constrained.py measure [--record]

``cut2_constrained`` has the limits that one would ask for, ``cut2_constrained_tight`` limits that neither the linear
rule nor a policy without limits keeps; ``cut2`` is that policy without limits. ``train`` writes policies and their CPU
seconds into ``runs/bin_packing_constrained``; ``measure`` plays them, and the rule, on the held-out test sequences.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from interlock.core.evaluation.evidence import ConstraintEvidence, measure_constraints
from interlock.core.evaluation.protocol import Outcomes, play
from interlock.core.evaluation.statistics import resample_rows
from interlock.core.network_policy import load_network_policy
from interlock.core.policy import Policy
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.problem import BinPackingProblem, build
from interlock.scenarios import plugins
from interlock.scenarios.loading import load_method, load_scenario

TRAINED = Path(__file__).resolve().parents[1] / "runs" / "bin_packing_constrained"
METHODS = {"cut2": "mask_ppo", "cut2_constrained": "mask_ppo_soft", "cut2_constrained_tight": "mask_ppo_soft"}
ROWS = {"cut2_constrained": "constrained", "cut2_constrained_tight": "constrained_tight"}
COMMAND = "python benchmarks/bin_packing_constrained.py measure --record"


class Printed(MemoryRun):
    """A run that shows its validations."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep, and print what was validated."""
        super().log(step, values)
        shown = [f"{name[5:]} {value:.5g}" for name, value in values.items() if name.startswith("eval/")]
        if shown:
            print(f"{step} decisions, {time.process_time():.0f} CPU s: {', '.join(shown)}", flush=True)


def train(name: str, seed: int) -> None:
    """Train one seed and keep the policy with its CPU seconds."""
    import torch

    torch.set_num_threads(1)
    problem = build(load_scenario(DOMAIN, name))
    method = load_method(DOMAIN, METHODS[name], {"imitation": {"teacher": "linear12"}})
    run = Printed(seed=seed)
    started = time.process_time()
    policy = plugins.resolve(method.info.train)(problem, method.config, run)
    seconds = time.process_time() - started
    folder = TRAINED / f"{name}_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    (folder / "training.json").write_text(json.dumps({"cpu_seconds": seconds, "curves": run.curves}, indent=1))
    print(f"{name}, seed {seed}: {seconds:.0f} CPU s")


def judged(problem: BinPackingProblem, policy: Policy) -> tuple[Outcomes, dict[str, ConstraintEvidence]]:
    """What a policy does on the held-out test sequences, and how that compares with the limits."""
    outcomes = play(problem, policy, split="test")
    return outcomes, measure_constraints(problem.constraints, outcomes, resample_rows(len(outcomes.objective)))


def measure(seed: int, record: bool) -> None:
    """Play everything, print the table, and record if asked."""
    plain = load_network_policy(TRAINED / f"cut2_{seed}", build(load_scenario(DOMAIN, "cut2")))
    for name, row in ROWS.items():
        folder = TRAINED / f"{name}_{seed}"
        if not folder.is_dir():
            print(f"{name}: not trained")
            continue
        problem = build(load_scenario(DOMAIN, name))
        policies = {
            "constrained": load_network_policy(folder, problem),
            "unconstrained": plain,
            "linear12": problem.baselines()["linear12"](0),
        }
        found = {title: judged(problem, policy) for title, policy in policies.items()}
        print(name)
        for title, (outcomes, constraints) in found.items():
            print(f"  {title:14s} {outcomes.objective.mean():6.2f} %")
            for constraint, each in constraints.items():
                verdict = "kept" if each.satisfied else "broken"
                interval = f"({each.low:.5f} to {each.high:.5f})"
                print(f"    {constraint:20s} {each.mean:.5f} {interval} limit {each.limit:g}: {verdict}")
        lost = found["unconstrained"][0].objective - found["constrained"][0].objective
        half = 1.96 * lost.std(ddof=1) / np.sqrt(len(lost))
        print(f"  lost against unconstrained: {lost.mean():.2f} +- {half:.2f} points")
        if record:
            seconds = json.loads((folder / "training.json").read_text())["cpu_seconds"]
            keep(row, found, (float(lost.mean()), float(lost.mean() - half), float(lost.mean() + half)), seed, seconds)


def keep(
    row: str,
    found: Mapping[str, tuple[Outcomes, dict[str, ConstraintEvidence]]],
    lost: tuple[float, float, float],
    seed: int,
    seconds: float,
) -> None:
    """Record the upper ends of both intervals, what the limits cost, and what happens without them."""
    from interlock.scenarios.record import record_row

    figures: dict[str, tuple[float, float | None, float | None, str]] = {f"{row}_loss": (*lost, "points")}
    for title, prefix in (("constrained", row), ("unconstrained", f"{row}_without")):
        for name in ("overhang", "cog_offset"):
            each = found[title][1][name]
            figures[f"{prefix}_{name}"] = (each.high, None, None, each.unit)
    for name, (value, low, high, unit) in figures.items():
        shown = {} if name.startswith(f"{row}_without") else {"seeds": [seed], "cpu_seconds": seconds}
        budget = f"{seconds:.0f} CPU s"
        said = record_row(
            DOMAIN.name, name, value=value, low=low, high=high, unit=unit, budget=budget, command=COMMAND, **shown
        )
        print(f"  {said}")


def main() -> None:
    """Train or measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    trainer = commands.add_parser("train", help="train one seed of one scenario")
    trainer.add_argument("scenario", choices=METHODS)
    trainer.add_argument("seed", type=int)
    measurer = commands.add_parser("measure", help="play the trained policies on the held-out test sequences")
    measurer.add_argument("--seed", type=int, default=0, help="of training")
    measurer.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    if options.command == "train":
        train(options.scenario, options.seed)
    else:
        measure(options.seed, options.record)


if __name__ == "__main__":
    main()

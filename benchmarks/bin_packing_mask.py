"""What a predicted mask of actions, and each part of its loss, does at a small budget.

    python benchmarks/bin_packing_mask.py [--steps 60000] [--record]

The parts are those of Zhao et al., AAAI 2021: MP, the squared error of a predicted mask; MC, the policy constrained by
it, with a penalty on the probability of infeasible actions; FE, an entropy bonus over feasible actions only. Infeasible
actions end an episode. Each variant trains a small network on bins of 6 x 6 x 6 cells from scratch for the same number
of steps and is judged on the same test sequences: figures to be compared with each other, not with published ones.
"""

import argparse
import time
from typing import Any

import numpy as np

from interlock.core.evaluation.protocol import play
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.problem import build
from interlock.scenarios import plugins
from interlock.scenarios.loading import load_method, load_scenario

COMMAND = "python benchmarks/bin_packing_mask.py --record"
SCENARIO: dict[str, Any] = {
    "bin": {"length": 6, "width": 6, "height": 6},
    "items": {"low": 1, "high": 3},
    "evaluation": {"test_instances": 2000, "validation_instances": 200},
}
NONE: dict[str, Any] = {
    "weight": 0.0,
    "infeasible_weight": 0.0,
    "train_with": "nothing",
    "decide_with": "predicted",
    "feasible_entropy": False,
}
MP, FE = {"weight": 5.0}, {"feasible_entropy": True}
PENALTY = {"infeasible_weight": 0.02}
MC = {**PENALTY, "train_with": "predicted"}
VARIANTS: dict[str, dict[str, Any]] = {
    "none": NONE,
    "mp": {**NONE, **MP},
    "mp_mc": {**NONE, **MP, **MC},
    "mp_fe": {**NONE, **MP, **FE},
    "penalty_fe": {**NONE, **PENALTY, **FE},
    "mp_mc_fe": {**NONE, **MP, **MC, **FE},
    "true_mask_predicted": {**NONE, **MP, **PENALTY, **FE, "train_with": "true_mask"},
    "true_mask": {**NONE, **MP, **PENALTY, **FE, "train_with": "true_mask", "decide_with": "true_mask"},
}
"""Without a prediction (``penalty_fe``) only the penalty constrains; the last two train with the exact mask."""


def settings(mask_head: dict[str, Any], steps: int) -> dict[str, Any]:
    """The small network, and amounts of play that suit it."""
    return {
        "network": {"channels": [16, 16], "dense": 64, "mask_head": mask_head},
        "steps": steps,
        "num_envs": 32,
        "validate_every": 4 * steps,
        "learning_rate": 2e-3,
        "kl_stop": 0.1,
    }


def main() -> None:
    """Train all variants, print, and record if asked."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60_000, help="environment steps per variant")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    problem = build(load_scenario(DOMAIN, "cut2").with_changes(**SCENARIO))
    for name, mask_head in VARIANTS.items():
        started = time.process_time()
        method = load_method(DOMAIN, "mask_ppo_planes_predicted", settings(mask_head, options.steps))
        policy = plugins.resolve(method.info.train)(problem, method.config, MemoryRun(seed=options.seed))
        seconds = time.process_time() - started
        # The policy of the last update: with illegal endings the hard constraint would choose by their number alone.
        last = policy if policy.last is None else policy.last
        outcomes = play(problem, last, split="test")
        illegal = 100.0 * outcomes.metrics["ended_illegal"]
        print(
            f"{name:20s} {outcomes.objective.mean():5.2f} %, ended illegally {illegal.mean():5.2f} %, {seconds:.0f} s"
        )
        if options.record:
            for row, values in ((name, outcomes.objective), (f"{name}_illegal", illegal)):
                keep(f"mask_ablation_{row}", values, options.seed, options.steps, seconds)


def keep(row: str, values: np.ndarray, seed: int, steps: int, seconds: float) -> None:
    """Record the mean with its 95 % interval."""
    from interlock.scenarios.record import record_row

    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values))
    said = record_row(
        DOMAIN.name,
        row,
        value=mean,
        low=max(0.0, mean - half),
        high=mean + half,
        unit="%",
        seeds=[seed],
        budget=f"{steps:,} steps",
        cpu_seconds=seconds,
        command=COMMAND,
    )
    print(f"  {said}", flush=True)


if __name__ == "__main__":
    main()

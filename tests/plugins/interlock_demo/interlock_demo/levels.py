"""A method: try every order-up-to level on the training days, keep the best that respects the limit on lost sales.

Ordering up to level S is the linear score ``2 S level - level ** 2`` of the features of the encoder ``levels``, so the
policy can be exported like any other linear scorer.
"""

import time
from pathlib import Path

import numpy as np
from pydantic import Field

from interlock.core.errors import Interrupted
from interlock.core.evaluation.protocol import run_instances
from interlock.core.policy import LinearScorePolicy, load_arrays
from interlock.core.problem import Problem
from interlock.core.scenario import Settings
from interlock.core.training import Run


class LevelsConfig(Settings):
    """Settings of the search."""

    instances: int = Field(300, ge=1, description="training instances per level")
    pause: float = Field(0.0, ge=0, description="seconds to wait after each level, to watch a run being interrupted")


def train(problem: Problem, config: LevelsConfig, run: Run) -> LinearScorePolicy:
    """The best level; a checkpoint after each one tried."""
    levels = np.arange(problem.scenario.capacity + 1)
    costs, lost = np.full((2, len(levels)), np.inf)
    checkpoint = run.resume()
    start = 0
    if checkpoint is not None:
        costs, lost = checkpoint.arrays["costs"].copy(), checkpoint.arrays["lost"].copy()
        start = int(checkpoint.meta["tried"])
    for level in levels[start:]:
        if run.interrupted():
            raise Interrupted(f"stopped before level {level}")
        environment = problem.environment(50, seed=run.seed, split="train")
        outcomes = run_instances(environment, policy(problem, int(level), run.seed), config.instances)
        costs[level] = -outcomes.objective.mean()
        lost[level] = (outcomes.costs[:, 0] / outcomes.steps).mean()
        run.log(int(level), {"eval/objective": costs[level], "constraint/lost_sales/mean": lost[level]})
        run.progress(level + 1, len(levels), cost=costs[level])
        run.checkpoint({"costs": costs, "lost": lost}, {"tried": int(level) + 1})
        time.sleep(config.pause)
        if run.out_of_time():
            break
    allowed = np.where(lost <= problem.constraints[0].limit, costs, np.inf)
    if np.isinf(allowed).all():
        run.warn("no order-up-to level keeps lost sales within the limit on the training days")
    best = allowed if np.isfinite(allowed).any() else lost
    return policy(problem, int(np.argmin(best)), run.seed)


def policy(problem: Problem, level: int, seed: int) -> LinearScorePolicy:
    """Order up to this level."""
    weights = np.array([2.0 * level / problem.scenario.capacity, -1.0])
    about = {"method": "demo_levels", "level": level, "scenario_hash": problem.scenario.hash(), "seed": seed}
    return LinearScorePolicy(problem.encoders()["levels"], "levels", weights, about)


def load(folder: Path, problem: Problem) -> LinearScorePolicy:
    """Read what the policy's ``save`` wrote."""
    _, about = load_arrays(folder, problem.scenario)
    return policy(problem, about["level"], about["seed"])

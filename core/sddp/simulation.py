"""Playing the policy that cuts make, on given paths of the noise; the mean cost is an estimate from above."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array
from interlock.core.multistage.stage import Multistage
from interlock.core.sddp.cuts import Cuts
from interlock.core.sddp.model import stage_models
from interlock.core.sddp.training import Options, selected
from interlock.solvers.interface import Solver

_NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a policy costs on ``n`` paths.

    Attributes:
        costs: ``(n, T)``, of every stage.
        states: ``(n, T, s)``, handed on by every stage.
    """

    costs: Array
    states: Array

    @property
    def mean(self) -> float:
        """Mean cost of a path."""
        return float(self.costs.sum(axis=1).mean())

    @property
    def half_width(self) -> float:
        """``1.96 s / sqrt(n)``: of the 95 % interval of the mean."""
        totals = self.costs.sum(axis=1)
        return float(_NORMAL * totals.std(ddof=1) / np.sqrt(len(totals)))


def sample_paths(problem: Multistage, count: int, generator: np.random.Generator) -> Array:
    """``(count, T, k)`` paths of the problem's own noise."""
    drawn = []
    for noise in problem.noises:
        openings = generator.choice(len(noise.probabilities), size=count, p=noise.probabilities)
        drawn.append(noise.outcomes[openings])
    return np.stack(drawn, axis=1)


def simulate(
    problem: Multistage, solver: Solver, cuts: Cuts, paths: Array, threads: Executor | None = None
) -> Simulation:
    """Play a policy stage by stage, all paths at once.

    Args:
        problem: the stages.
        solver: solves them.
        cuts: the policy; those that are highest nowhere are left out.
        paths: ``(n, T, k)``, of the problem's noise or of any other.
        threads: batches are solved in two lanes there.

    Raises:
        StageInfeasible: a program has no optimum.
    """
    count, stages = len(paths), len(problem.stages)
    state = np.broadcast_to(problem.initial_state, (count, len(problem.initial_state)))
    costs, states = np.empty((count, stages)), np.empty((count, stages, len(problem.initial_state)))
    for t, model in enumerate(stage_models(problem, solver, _kept(cuts, stages), [None] * stages)):
        batch = model.solve(state, paths[:, t], lambda row: f"path {row + 1}", threads)
        costs[:, t], states[:, t], state = batch.cost, batch.state, batch.state
    return Simulation(costs, states)


def _kept(cuts: Cuts, stages: int) -> Sequence[Cuts]:
    kept = cuts.take(selected(cuts, stages, Options()))
    return [kept.of_stage(t) for t in range(stages)]

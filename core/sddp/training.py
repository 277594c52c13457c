"""The iterations of SDDP: paths forward with the cuts there are, cuts backward at the states they came by.

Pereira and Pinto, "Multi-stage stochastic optimization applied to energy planning", Mathematical Programming 52 (1991).
Stages are hazard-decision: the cut of a stage is the mean, over the openings of the next one, of value and derivative
at a state. With a continuation probability the first stage follows the last one, the cost to go of the last stage is
that probability times the mean over the openings of the first, and a path goes round until chance ends it
(Dowson, "The policy graph decomposition of multistage stochastic programming problems", Networks 76, 2020).
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from interlock.core.environment import Array
from interlock.core.multistage.stage import Multistage
from interlock.core.sddp.cuts import Cuts, joined, newest, undominated
from interlock.core.sddp.model import StageModel, stage_models
from interlock.core.sddp.risk import Risk
from interlock.solvers.interface import Basis, Solver

Selection = Literal["none", "level_1", "newest"]

_LONGEST = 1000
"""Times a path with continuation goes round at most: what is left out is a sampling choice and harms no bound."""


@dataclass(frozen=True)
class Options:
    """How the iterations work.

    Attributes:
        risk: what is minimised, stage by stage.
        forward_paths: paths per iteration.
        selection: which cuts the programs hold: all, those that are highest somewhere, or the newest.
        keep: how many, with ``newest``.
        refresh: iterations between two selections.
        continuation: probability that the first stage follows the last one; 0 for a finite horizon.
    """

    risk: Risk = field(default_factory=Risk)
    forward_paths: int = 1
    selection: Selection = "level_1"
    keep: int = 50
    refresh: int = 10
    continuation: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a number is outside of its range.
        """
        if not 0.0 <= self.continuation < 1.0 or min(self.forward_paths, self.keep, self.refresh) < 1:
            raise ValueError("continuation must be in [0, 1); forward_paths, keep and refresh must be at least 1")


@dataclass
class State:
    """Everything an iteration depends on: saved and restored, the iterations go on as if nothing had happened.

    Attributes:
        iteration: how many are done.
        bound: best lower bound so far.
        cuts: all that were made, selected or not.
        selected: int, positions of those that were selected at the last refresh.
        refreshed: number of cuts that existed at the last refresh.
        bases: of each stage, where its next batch starts.
        generator: of the paths.
    """

    iteration: int
    bound: float
    cuts: Cuts
    selected: Array
    refreshed: int
    bases: list[Basis | None]
    generator: np.random.Generator


def fresh_state(problem: Multistage, seed: int) -> State:
    """Before the first iteration."""
    none = Cuts.none(len(problem.initial_state))
    bases: list[Basis | None] = [None] * len(problem.stages)
    return State(0, -np.inf, none, np.zeros(0, np.int64), 0, bases, np.random.default_rng(seed))


class Iterations:
    """The iterations under way.

    Args:
        problem: what is solved.
        solver: opens the sessions.
        options: how.
        state: where to go on.
        threads: lanes of a batch run there; the result is the same without.
    """

    def __init__(
        self,
        problem: Multistage,
        solver: Solver,
        options: Options,
        state: State,
        threads: Executor | None = None,
    ):
        self.problem, self.solver, self.options, self.state, self.threads = problem, solver, options, state, threads
        self._made: list[Cuts] = [state.cuts]
        self._models = self._opened(state.bases)

    def iterate(self) -> float:
        """One iteration.

        Returns:
            The best lower bound so far: on the expected cost, or on its risk measure.

        Raises:
            StageInfeasible: a program has no optimum.
        """
        paths = [self._forward(path) for path in range(self.options.forward_paths)]
        for depth in range(max(map(len, paths)) - 1, 0, -1):
            for path in paths:
                if len(path) > depth:
                    self._cut(depth % len(self._models), path[depth])
        bound = self._cut(0, self.problem.initial_state)
        state = self.state
        state.iteration += 1
        state.bound = max(state.bound, bound)
        state.cuts = joined(self._made)
        self._made = [state.cuts]
        if state.iteration % self.options.refresh == 0 and self.options.selection != "none":
            self._refresh()
        state.bases = [model.basis for model in self._models]
        return state.bound

    def _forward(self, path: int) -> list[Array]:
        """A sampled path; gives the state ``(s,)`` that each of its stages receives."""
        generator, count = self.state.generator, len(self._models)
        received, state = [], self.problem.initial_state
        name = f"path {path + 1} of iteration {self.state.iteration + 1}"
        for depth in range(self._length()):
            noise = self.problem.noises[depth % count]
            opening = generator.choice(len(noise.probabilities), p=noise.probabilities)
            received.append(state)
            model = self._models[depth % count]
            state = model.solve(state[np.newaxis], noise.outcomes[[opening]], lambda row: name).state[0]
        return received

    def _length(self) -> int:
        rounds, continuation = 1, self.options.continuation
        if continuation:
            rounds = min(int(self.state.generator.geometric(1.0 - continuation)), _LONGEST)
        return rounds * len(self._models)

    def _cut(self, stage: int, state: Array) -> float:
        """Solve all openings of a stage at a state, and cut the stage before it there; gives their mean value."""
        noise, model = self.problem.noises[stage], self._models[stage]
        where = f"of iteration {self.state.iteration + 1}"
        states = np.broadcast_to(state, (len(noise.outcomes), len(state)))
        batch = model.solve(states, noise.outcomes, lambda row: f"opening {row + 1} {where}", self.threads)
        weights = self.options.risk.probabilities(batch.value[np.newaxis], noise.probabilities)[0]
        value, slope = float(weights @ batch.value), weights @ batch.slope
        factor = 1.0 if stage else self.options.continuation
        if factor:
            before = stage - 1 if stage else len(self._models) - 1
            intercept = factor * (value - slope @ state)
            cut = Cuts(np.array([before]), factor * slope[np.newaxis], np.array([intercept]), state[np.newaxis])
            self._models[before].add(cut)
            self._made.append(cut)
        return value

    def _refresh(self) -> None:
        """Select the cuts anew, and rebuild the programs with them."""
        state = self.state
        state.selected = selected(state.cuts, len(self._models), self.options)
        state.refreshed = len(state.cuts)
        self._models = self._opened([None] * len(self._models))

    def _opened(self, bases: Sequence[Basis | None]) -> list[StageModel]:
        """The models with the cuts of the last refresh, and those made since then added in order."""
        cuts, refreshed, count = self.state.cuts, self.state.refreshed, len(self.problem.stages)
        kept = cuts.take(self.state.selected)
        since = cuts.take(np.arange(refreshed, len(cuts)))
        models = stage_models(
            self.problem,
            self.solver,
            [kept.of_stage(t) for t in range(count)],
            [None] * count,
            cyclic=self.options.continuation > 0.0,
        )
        for t, model in enumerate(models):
            new = since.of_stage(t)
            if len(new):
                model.add(new)
            model.basis = bases[t]
        return models


def selected(cuts: Cuts, stages: int, options: Options) -> Array:
    """Positions of the cuts that the selection keeps, rising."""
    if options.selection == "none":
        return np.arange(len(cuts))
    found = []
    for stage in range(stages):
        positions = np.flatnonzero(cuts.stage == stage)
        own = cuts.take(positions)
        found.append(positions[undominated(own) if options.selection == "level_1" else newest(own, options.keep)])
    return np.sort(np.concatenate(found))

"""The optimum of a fishery whose parameters are known: backward induction for one species and for food webs.

Decisions see every stock without error, and the year. Costs of effort and limits on decisions are left out, so that
where a scenario has them the value is an upper bound. Solutions of food webs are kept in the user's cache.
"""

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from interlock.domains.fisheries import dynamic_programming_one as one
from interlock.domains.fisheries import dynamic_programming_web as web
from interlock.domains.fisheries.dynamic_programming_cache import Kept
from interlock.domains.fisheries.dynamic_programming_range import above
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.scenario import FisheriesScenario, FoodWeb, OneSpecies

IN_MEMORY = 3
"""Solutions that a process keeps; one of a food web takes up to 100 MB."""
PATIENCE = 2.0
"""Seconds after which someone who did not ask for progress is told what takes so long."""
TELL_EVERY = 15.0
"""Seconds between such lines."""

Progress = Callable[[int, int], None]
Points = int | web.Grid

_solved: "OrderedDict[tuple[object, ...], Optimum]" = OrderedDict()


class Optimum(Protocol):
    """The best decisions, and what they are worth."""

    def mean_value(self, scenario: FisheriesScenario) -> float:
        """Expected reward over the first stocks of a scenario."""
        ...

    def mortality(self, year: Array, stock: Array) -> Array:
        """Decisions ``(n, h)`` for stocks ``(n, species)`` in years ``(n,)`` from 0."""
        ...


def solvable(scenario: FisheriesScenario) -> bool:
    """Whether dynamic programming knows the scenario: known parameters, no ages, and first stocks on its grid."""
    known = isinstance(scenario.model, OneSpecies | FoodWeb) and scenario.uncertainty.sd == 0
    return known and not above(scenario)


def collapse_costs(scenario: FisheriesScenario, *, share: float = 1.0, flat: float = 0.0) -> Array:
    """What a collapse costs in every year, ``(T,)``: a share of the scenario's penalty, and as much in each year."""
    costs: Array = share * fishery_of(scenario).penalty / np.arange(1, scenario.horizon + 1) + flat
    return costs


def solve(
    scenario: FisheriesScenario,
    *,
    costs: Array | None = None,
    points: Points | None = None,
    keep: bool = True,
    progress: Progress | None = None,
) -> Optimum:
    """The optimum of a scenario, without costs of effort and limits on decisions.

    Args:
        scenario: the numbers; has to be ``solvable``.
        costs: of a collapse in every year, ``(T,)``; default: the scenario's penalty.
        points: of the grid: a number for one species, three for a food web; default: as bounds and baselines have it.
        keep: for the next time, in memory and, if it is a food web, in the user's cache.
        progress: called with (years done, all). Without it, a long computation tells on stderr how far it is.
    """
    costs = collapse_costs(scenario) if costs is None else costs
    key = (scenario.numbers(), costs.tobytes(), points)
    if key in _solved:
        _solved.move_to_end(key)
        return _solved[key]
    solved: Optimum
    tell = progress or _teller(scenario.name)
    if isinstance(scenario.model, OneSpecies):
        solved = one.solve(scenario, costs, stocks=points if isinstance(points, int) else one.STOCKS, progress=tell)
    else:
        grid = web.web_of(scenario, points if isinstance(points, tuple) else web.POINTS)
        with threadpool_limits(1):  # products of small matrices, for which threads only wait on each other
            solved = web.solve(grid, costs, kept=Kept.of(grid, costs) if keep else None, progress=tell)
    if keep:
        _solved[key] = solved
    while len(_solved) > IN_MEMORY:
        _solved.popitem(last=False)
    return solved


def _teller(name: str) -> Progress:
    """Tells on stderr, now and then, how far a long computation is."""
    began, before, following = time.monotonic(), 0, time.monotonic() + PATIENCE

    def tell(done: int, total: int) -> None:
        nonlocal began, before, following
        now = time.monotonic()
        if before == 0:  # the first step compiles, the speed of the others counts
            began, before = now, done
        elif now >= following and done < total:
            left = (now - began) * (total - done) / (done - before)
            if left >= PATIENCE:
                following = now + TELL_EVERY
                text = f"{name}: dynamic programming, {done} of {total} years, about {left:.0f} s to go"
                print(text, file=sys.stderr, flush=True)

    return tell

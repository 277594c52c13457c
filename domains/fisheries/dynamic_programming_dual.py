r"""What no policy can beat that keeps the limit on collapses: the Lagrangian dual of the chance constraint.

A policy that collapses with probability at most :math:`\epsilon` earns, for every :math:`\lambda \ge 0`, no more than

.. math:: D(\lambda) = V_\lambda + \lambda \epsilon,

where :math:`V_\lambda` is the optimum if a collapse costs :math:`\lambda` beside the penalty, in whatever year (weak
duality). :math:`D` is convex; its minimum is looked for on a coarse grid and computed on the full one, so that the
bound is as good as the optimum's and the search costs little.
"""

from collections.abc import Callable, Mapping

import numpy as np

from interlock.domains.fisheries import dynamic_programming as full
from interlock.domains.fisheries import dynamic_programming_one as one
from interlock.domains.fisheries import dynamic_programming_web as web
from interlock.domains.fisheries.dynamic_programming_cache import remembered
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.scenario import FisheriesScenario, OneSpecies

COARSE: web.Grid = (20, 20, 28)
"""Grid of the search in food webs."""
COARSE_STOCKS = 301
"""The same of one species."""
TRIES = 12
"""Of the search."""
LARGEST = 10.0
"""Largest price of a collapse that is tried, in optima without one: limits out of reach drive it there."""


def lagrangian(
    scenario: FisheriesScenario, *, progress: Callable[[int, int], None] | None = None
) -> tuple[float, float]:
    """The bound and its price of a collapse; kept in the user's cache.

    Args:
        scenario: has to be solvable, and to have a limit on collapses.
        progress: called with (solutions found, all).
    """
    tell = progress or (lambda done, total: None)

    def compute() -> Mapping[str, Array]:
        price = _best_price(scenario, lambda done: tell(done, TRIES + 3))
        free = full.solve(scenario).mean_value(scenario)
        tell(TRIES + 2, TRIES + 3)
        priced = dual(scenario, price)
        tell(TRIES + 3, TRIES + 3)
        return {"bound": np.array(min(priced, free)), "price": np.array(price if priced < free else 0.0)}

    what = f"dual {scenario.numbers()} {web.POINTS} {one.STOCKS} {COARSE} {COARSE_STOCKS} {TRIES}"
    found = remembered(what, ("bound", "price"), compute)
    return float(found["bound"]), float(found["price"])


def dual(scenario: FisheriesScenario, price: float, *, coarse: bool = False) -> float:
    """What no policy can beat that keeps the limit on collapses, by one price of a collapse."""
    costs = full.collapse_costs(scenario, flat=price)
    if coarse:
        points = COARSE_STOCKS if isinstance(scenario.model, OneSpecies) else COARSE
        solved = full.solve(scenario, costs=costs, points=points, keep=False, progress=lambda done, total: None)
    else:
        solved = full.solve(scenario, costs=costs, keep=False)
    return solved.mean_value(scenario) + price * (scenario.collapse_probability or 0.0)


def _best_price(scenario: FisheriesScenario, tell: Callable[[int], None]) -> float:
    """Price whose bound is smallest on the coarse grid."""
    from scipy.optimize import minimize_scalar

    top, tries = LARGEST * max(dual(scenario, 0.0, coarse=True), 1.0), 0
    tell(1)

    def bound(root: float) -> float:  # small prices matter most
        nonlocal tries
        tries += 1
        found = dual(scenario, top * root**3, coarse=True)
        tell(1 + tries)
        return found

    found = minimize_scalar(bound, bounds=(0.0, 1.0), method="bounded", options={"maxiter": TRIES, "xatol": 1e-3})
    return float(top * found.x**3)

"""What no policy can beat: the expected value of the optimum where dynamic programming can find it."""

import numpy as np

from interlock.core.problem import Bound, BoundKind
from interlock.domains.fisheries import dynamic_programming, walleye_bounds
from interlock.domains.fisheries import dynamic_programming_one as one
from interlock.domains.fisheries import dynamic_programming_web as web
from interlock.domains.fisheries.dynamic_programming import solvable
from interlock.domains.fisheries.dynamic_programming_dual import lagrangian
from interlock.domains.fisheries.scenario import FisheriesScenario, OneSpecies, Walleye

__all__ = ["bounds", "solvable"]


def bounds(scenario: FisheriesScenario) -> dict[str, Bound]:
    """The bounds of a scenario; none where no optimum is known.

    ``dynamic_programming`` holds for every policy, ``lagrangian_dual`` for those that keep the limit on collapses.
    """
    if isinstance(scenario.model, Walleye):
        return walleye_bounds.bounds(scenario)
    if not solvable(scenario):
        return {}
    left_out = _left_out(scenario)
    collapses = "the limit on collapses"
    found = [
        Bound(
            "dynamic_programming",
            _kind(scenario, left_out),
            lambda split, count: np.array(dynamic_programming.solve(scenario).mean_value(scenario)),
            f"expected value of the best decisions that see all stocks and the year{_without(left_out)}: backward "
            f"induction on {_grid(scenario)}",
        )
    ]
    if scenario.collapse_probability is not None:
        found.append(
            Bound(
                "lagrangian_dual",
                "relaxation",
                lambda split, count: np.array(lagrangian(scenario)[0]),
                "the same for policies that keep "
                f"{collapses}{_without([what for what in left_out if what != collapses])}: a collapse has the price "
                f"for which the bound is smallest (weak duality, on {_grid(scenario)})",
                feasible_only=True,
            )
        )
    return {bound.name: bound for bound in found}


def _kind(scenario: FisheriesScenario, left_out: list[str]) -> BoundKind:
    """What a value is: exact values are off by less than 0.05, as measured on the scenarios of Interlock."""
    if left_out:
        return "relaxation"
    settled = isinstance(scenario.model, OneSpecies) or web.accuracy(scenario) < 0.05
    return "exact" if settled else "statistical"


def _without(left_out: list[str]) -> str:
    return f", without {', '.join(left_out)}" if left_out else ""


def _grid(scenario: FisheriesScenario) -> str:
    """What the value is computed on, and how far off it may be."""
    points, off = str(one.STOCKS), f"{one.ACCURACY} off"
    if not isinstance(scenario.model, OneSpecies):
        points, off = " x ".join(str(count) for count in web.POINTS), f"{web.accuracy(scenario)} too high"
    return f"a grid of {points} stocks, at most {off} by its coarseness on the scenarios that come with Interlock"


def _left_out(scenario: FisheriesScenario) -> list[str]:
    """What the optimum does not heed, so that it may be out of reach."""
    told = {
        "the limit on collapses": scenario.collapse_probability is not None,
        "the limit on low years": scenario.low_years is not None,
        "the total allowable catch": scenario.limits.tac is not None,
        "the limit on changes": scenario.limits.max_change is not None,
        "the cost of effort": any(scenario.effort_costs or ()),
        "errors of the survey": scenario.observed.cv > 0,
        "that a species is hidden": bool(scenario.observed.hidden),
    }
    return [what for what, holds in told.items() if holds]

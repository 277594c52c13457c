"""How large the stocks are that dynamic programming knows: the tops of its grids."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.domains.fisheries.scenario import FisheriesScenario, FoodWeb, OneSpecies

HIGHEST_ONE = 2.2
"""Largest stock of one species, in its largest carrying capacity; higher ones count as this one."""
HIGHEST_WEB = (1.7, 1.7, 2.5)
"""Largest stocks of x, y and z, in the largest carrying capacity; higher ones count as these."""
HIGHEST_CYCLE = 8.0
"""Largest stock of a predator that nothing holds: it follows its cycle and its noise whatever it eats."""
SPREAD = 4.0
"""Standard deviations that first stocks are taken to spread above their mean."""


def highest(scenario: "FisheriesScenario") -> tuple[float, ...]:
    """Largest stock of each species on the grid of a scenario with one species or a food web."""
    if scenario.model.kind == "one_species":
        return (HIGHEST_ONE * _largest(scenario, scenario.model, "k"),)
    assert scenario.model.kind == "food_web"
    largest = max(_largest(scenario, scenario.model, name) for name in ("k_x", "k_y"))
    predator = HIGHEST_CYCLE if scenario.model.predator == "exogenous" else HIGHEST_WEB[2]
    return tuple(most * largest for most in (*HIGHEST_WEB[:2], predator))


def above(scenario: "FisheriesScenario") -> list[str]:
    """Why an optimum does not exist, for each species whose first stock may lie above the grid.

    Such a stock would count as the top of the grid, so that a bound would be too low.
    """
    return [
        f"does not exist: the initial stock {mean:g} of {name} plus {SPREAD:g} initial_sd is above {top:g}, the "
        "largest stock that dynamic programming knows"
        for name, mean, top in zip(scenario.model.species, scenario.initial, highest(scenario), strict=True)
        if mean + SPREAD * scenario.initial_sd > top
    ]


def _largest(scenario: "FisheriesScenario", model: "OneSpecies | FoodWeb", name: str) -> float:
    """Largest value of a parameter over the years."""
    start: float = getattr(model, name)
    drifts = [one for one in scenario.drift if one.parameter == name]
    return max([one.value(start, year) for one in drifts for year in range(scenario.horizon)] or [start])

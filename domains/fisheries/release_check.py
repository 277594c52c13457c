"""Whether a decision may be released, counted again from the request in plain numpy: not by what made the decision.

The order in which limits give way to each other: a mortality lies within [0, 1], rises by no more than the largest
change, and the catch keeps the total allowable one, always. The probability of a collapse within the year keeps its
limit, unless the fishery is closed and no mortality of a scan keeps it either: each species alone and all alike, in
steps of 0.05, brought within the limits. Closure alone would not do: logistic growth overshoots, and a crowded stock is
likelier to be lost without a catch. A mortality may fall by more than the largest change where the allowable catch or
that probability would be missed otherwise, and only as far.
"""

from typing import Any

import numpy as np
from scipy.special import ndtr

from interlock.core.environment import Array
from interlock.core.request import shown
from interlock.domains.fisheries.release_request import Request
from interlock.domains.fisheries.scenario import FisheriesScenario, FoodWeb, OneSpecies

ROUNDING = 1e-9
"""By which a limit may be missed and counts as rounded."""
STEP = 1e-6
"""A mortality is as large as risk permits if this much more would miss the limit."""

STEPS = 20
"""Steps of the scan of mortalities where a closed fishery misses the limit."""

Believed = tuple[Array, Array]
"""Stocks before the catch ``(k, species)`` and factors of the parameters ``(k, parameters)``."""


def violations(
    scenario: FisheriesScenario, places: list[int], request: Request, believed: Believed | None, action: Any
) -> tuple[str, ...]:
    """Every limit that an action breaks, in words.

    Args:
        scenario: the limits.
        places: of the harvested species among those that are seen.
        request: what was asked.
        believed: what may be behind the survey; ``None`` for a model in which nothing collapses.
        action: mortalities, of any type.
    """
    try:
        mortality = np.asarray(action, float)
    except (TypeError, ValueError):
        mortality = np.zeros(0)
    if mortality.shape != (len(places),) or not np.isfinite(mortality).all():
        return (f"action {shown(action)} is not {len(places)} mortalities",)
    limits, found = scenario.limits, []
    for name, share in zip(scenario.harvested, mortality, strict=True):
        if not 0.0 <= share <= 1.0:
            found.append(f"mortality of {name} is {share:g}, expected 0 to 1")
    if found:
        return tuple(found)
    total = sum(share * request.stock[place] for share, place in zip(mortality, places, strict=True))
    if limits.tac is not None and total > limits.tac + ROUNDING:
        found.append(f"total catch is {total:g} stock units, at most {limits.tac:g}")
    held_down = limits.tac is not None and total >= limits.tac - ROUNDING
    if believed is not None:
        level = scenario.release.collapse_probability
        risk = collapse_probability(scenario, believed, request.year, mortality)
        safer = None if mortality.any() or risk <= level else _safer_than_closure(scenario, places, request, believed)
        if risk > level + ROUNDING and (mortality.any() or safer):
            instead = f"; mortalities {shown(safer)} keep it" if safer else ""
            found.append(f"a collapse within the year has the probability {risk:.4g}, at most {level:g}{instead}")
        most = mortality.max()
        more = mortality + STEP * mortality / most if most > 0 else mortality
        held_down |= collapse_probability(scenario, believed, request.year, np.minimum(more, 1.0)) > level - ROUNDING
    if limits.max_change is not None and request.last is not None:
        for name, share, before in zip(scenario.harvested, mortality, request.last, strict=True):
            change = share - before
            if change > limits.max_change + ROUNDING or (change < -limits.max_change - ROUNDING and not held_down):
                found.append(f"mortality of {name} changes by {change:g}, at most {limits.max_change:g}")
    return tuple(found)


def collapse_probability(scenario: FisheriesScenario, believed: Believed, year: int, mortality: Array) -> float:
    """Probability that any species ends the year at or below the limit, by the normal distribution of its noise.

    Args:
        scenario: the numbers.
        believed: stocks and factors.
        year: from 0.
        mortality: ``(h,)``.
    """
    stock, factor = believed
    left = stock.copy()
    for name, share in zip(scenario.harvested, mortality, strict=True):
        left[:, scenario.model.species.index(name)] *= 1.0 - share
    mean, deviation = _next_year(scenario, left, factor, year)
    # A stock of no spread is below the limit or it is not.
    away = np.where(mean <= scenario.collapse_level, np.inf, -np.inf)
    np.divide(scenario.collapse_level - mean, deviation, out=away, where=deviation > 0)
    return float(np.mean(1.0 - np.prod(1.0 - ndtr(away), axis=1)))


def _safer_than_closure(
    scenario: FisheriesScenario, places: list[int], request: Request, believed: Believed
) -> list[float] | None:
    """A mortality within the limits that clearly keeps the probability of a collapse, from a scan of them."""
    limits, level = scenario.limits, scenario.release.collapse_probability
    every = list(range(len(places)))
    for step in range(STEPS + 1):
        for chosen in [[k] for k in every] + [every]:
            shares = [step / STEPS if k in chosen else 0.0 for k in every]
            if limits.max_change is not None and request.last is not None:
                pairs = zip(shares, request.last.tolist(), strict=True)
                shares = [
                    min(max(share, before - limits.max_change, 0.0), before + limits.max_change, 1.0)
                    for share, before in pairs
                ]
            total = sum(share * request.stock[place] for share, place in zip(shares, places, strict=True))
            if limits.tac is not None and total > limits.tac:
                shares = [float(share * limits.tac / total) for share in shares]
            if collapse_probability(scenario, believed, request.year, np.array(shares)) <= level - ROUNDING:
                return shares
    return None


def _next_year(scenario: FisheriesScenario, left: Array, factor: Array, year: int) -> tuple[Array, Array]:
    """Mean and standard deviation of next year's stocks, each ``(k, species)``, by the equations of ``model``."""
    model = scenario.model
    drifts = {one.parameter: one for one in scenario.drift}
    names = [name for name, field in type(model).model_fields.items() if field.annotation is float]

    def value(name: str) -> Array:
        start = float(getattr(model, name))
        now = drifts[name].value(start, year) if name in drifts else start
        parameter: Array = now * factor[:, names.index(name)]
        return parameter

    if isinstance(model, OneSpecies):
        s = left[:, 0]
        grazed = value("beta") * _saturation(s, value("c"))
        mean = s + value("r") * s * (1.0 - s / value("k")) - grazed
        return mean[:, None], (value("sigma") * s)[:, None]
    assert isinstance(model, FoodWeb)
    x, y, z = left.T
    rates = (value("r_x"), value("r_y"))
    room = (value("k_x"), value("k_y"))
    lost: Array | float = value("c_xy") * x * y
    if model.competition == "capacity":
        room, lost = (room[0] - value("c_xy") * y, room[1] - value("c_xy") * x), 0.0
    eaten = (
        value("beta") * z * _saturation(x, value("c")),
        value("d") * value("beta") * z * _saturation(y, value("c")),
    )
    rate = value("b") * (x + value("d") * y) - value("d_z")
    if model.predator == "exogenous":
        rate = np.full(len(z), 0.02 * np.cos(2.0 * np.pi * year / 50.0))
    mean = np.stack(
        [
            x + rates[0] * x * (1.0 - x / room[0]) - eaten[0] - lost,
            y + rates[1] * y * (1.0 - y / room[1]) - eaten[1] - lost,
            z + z * rate,
        ],
        axis=1,
    )
    return mean, np.stack([value("sigma_x") * x, value("sigma_y") * y, value("sigma_z") * z], axis=1)


def _saturation(prey: Array, half: Array) -> Array:
    """Share of their appetite that eaters find, ``prey^2 / (prey^2 + half^2)``; 0 where there is no prey."""
    square = prey**2
    return np.divide(square, square + half**2, out=np.zeros_like(square), where=square > 0)

"""The answer of an exported harvest policy: figures in stock units and tonnes, an outlook, and what to point out."""

from typing import Any

import numpy as np

from interlock.core.environment import Array
from interlock.domains.fisheries.release_belief import Beliefs
from interlock.domains.fisheries.release_check import ROUNDING
from interlock.domains.fisheries.release_request import Request
from interlock.domains.fisheries.release_risk import collapse_probability, outlook, seed_of
from interlock.domains.fisheries.release_schema import FAR, FIVE_YEARS, FLAGS, HIGH_CV, seen_species
from interlock.domains.fisheries.scenario import FisheriesScenario

LARGEST_SURVEY = 50.0
"""Surveys of walleye tell no larger biomass in training."""
DIGITS = 9


def answer_of(
    scenario: FisheriesScenario, beliefs: Beliefs | None, request: Request, mortality: Array
) -> dict[str, Any]:
    """A released decision as JSON.

    Args:
        scenario: the numbers.
        beliefs: of the scenario; ``None`` for walleye.
        request: what was asked.
        mortality: ``(h,)``, what was decided.
    """
    found: dict[str, Any] = {"mortality": dict(zip(scenario.harvested, mortality.tolist(), strict=True))}
    flags = _decision_flags(scenario, request, mortality) | _stock_flags(scenario, beliefs, request)
    if beliefs is not None:
        stock = harvested_stock(scenario, request)
        found |= _told(scenario, "tac", scenario.harvested, mortality * stock)
        found |= _told(scenario, "escapement", scenario.harvested, (1.0 - mortality) * stock)
        expected = _expected(scenario, beliefs, request, mortality)
        found |= expected
        flags |= _risk_flags(scenario, expected, mortality)
        flags |= _crowded(scenario, beliefs, request) if mortality.any() else {}
    return {
        **found,
        "flags": [name for name in FLAGS if name in flags],
        "notes": [flags[name] for name in FLAGS if name in flags],
    }


def harvested_stock(scenario: FisheriesScenario, request: Request) -> Array:
    """Stocks ``(h,)`` of the harvested species, as the survey found them."""
    seen = seen_species(scenario)
    stock: Array = request.stock[[seen.index(name) for name in scenario.harvested]]
    return stock


def largest_trained(scenario: FisheriesScenario, beliefs: Beliefs | None) -> dict[str, float]:
    """Largest stocks of training by species that are seen."""
    if beliefs is None:
        return dict.fromkeys(seen_species(scenario), LARGEST_SURVEY)
    largest = dict(zip(scenario.model.species, beliefs.largest.tolist(), strict=True))
    return {name: largest[name] for name in seen_species(scenario)}


def far_from_training(scenario: FisheriesScenario, beliefs: Beliefs | None, request: Request) -> list[str]:
    """Stocks that no policy was trained on, in words: collapsed ones, and those far above the largest of training."""
    level, found = scenario.collapse_level, []
    for (name, most), stock in zip(largest_trained(scenario, beliefs).items(), request.stock, strict=True):
        if stock <= level:
            found.append(f"{name} is at {stock:g}, at or below the limit {level:g}")
        elif stock > FAR * most:
            found.append(f"{name} is at {stock:g}, more than {FAR:g} times its largest of training, {most:.3g}")
    return found


def _expected(scenario: FisheriesScenario, beliefs: Beliefs, request: Request, mortality: Array) -> dict[str, Any]:
    """What the rollouts find; the chance of a collapse within the year is the exact one that was checked."""
    seed = seed_of(request.year, request.stock, request.cv)
    shares = np.random.default_rng(seed).uniform(1e-12, 1.0 - 1e-12, (scenario.release.rollouts, len(beliefs.seen) + 2))
    played = outlook(
        beliefs.fishery,
        *beliefs.believed(request.year, request.stock, request.cv, shares),
        request.year,
        mortality,
        seed,
    )
    exact = collapse_probability(
        beliefs.fishery, *beliefs.believed(request.year, request.stock, request.cv), request.year, mortality
    )
    every = scenario.model.species
    return {
        **_told(scenario, "next_stock_mean", every, np.maximum(played.mean, 0.0)),
        **_told(scenario, "next_stock_low", every, np.maximum(played.low, 0.0)),
        "collapse_within_1_year": exact,
        "collapse_within_5_years": played.collapse_5,
    }


def _decision_flags(scenario: FisheriesScenario, request: Request, mortality: Array) -> dict[str, str]:
    """What is to be said of mortalities and year: flag -> the same in words."""
    found, limits = {}, scenario.limits
    if not mortality.any():
        found["closed"] = "no catch this year"
    if request.year == scenario.horizon - 1:
        found["last_year"] = f"year {request.year + 1} is the last of the horizon: training did not look beyond it"
    if limits.tac is not None and float(mortality @ harvested_stock(scenario, request)) >= limits.tac - ROUNDING:
        found["reduced_for_tac"] = f"the catch is the total allowable one, {limits.tac:g} stock units"
    if limits.max_change is not None and request.last is not None:
        fast = [
            f"{name} from {before:g} to {now:g}"
            for name, before, now in zip(scenario.harvested, request.last, mortality, strict=True)
            if now < before - limits.max_change - ROUNDING
        ]
        if fast:
            found["fast_reduction"] = f"falls by more than {limits.max_change:g}: {', '.join(fast)}"
    return found


def _stock_flags(scenario: FisheriesScenario, beliefs: Beliefs | None, request: Request) -> dict[str, str]:
    """What is to be said of the survey."""
    largest = largest_trained(scenario, beliefs)
    stocks = dict(zip(largest, request.stock.tolist(), strict=True))
    coarse = max(HIGH_CV, 2.0 * scenario.observed.cv)
    told = {
        "outside_training_range": (
            "stocks larger than any of training",
            [
                f"{name} {stock:g} (at most {largest[name]:.3g})"
                for name, stock in stocks.items()
                if stock > largest[name]
            ],
        ),
        "policy_not_asked": ("the policy was not asked", far_from_training(scenario, beliefs, request)),
        "high_cv": (
            "surveys with a large coefficient of variation",
            [f"{name} {cv:g}" for name, cv in zip(stocks, request.cv, strict=True) if cv > coarse],
        ),
        "hidden_species": ("no survey finds", list(scenario.observed.hidden)),
    }
    if beliefs is not None:  # the levels of walleye are no stocks
        for flag, text, level in (
            ("low_stock", "stocks below", scenario.low_level),
            ("below_limit", "stocks at or below the limit", scenario.collapse_level),
        ):
            under = [f"{name} {stock:g}" for name, stock in stocks.items() if stock <= level]
            told[flag] = (f"{text} {level:g}", under)
    return {name: f"{text}: {', '.join(found)}" for name, (text, found) in told.items() if found}


def _risk_flags(scenario: FisheriesScenario, expected: dict[str, Any], mortality: Array) -> dict[str, str]:
    """What is to be said of the chance of a collapse."""
    found, level = {}, scenario.release.collapse_probability
    soon, later = expected["collapse_within_1_year"], expected["collapse_within_5_years"]
    if soon > level and not mortality.any():
        found["limit_missed_without_catch"] = (
            f"even without a catch, a collapse within the year has the probability {soon:.3g}, the limit is {level:g}; "
            "no catch that was tried keeps it either"
        )
    elif mortality.any() and soon > level * (1.0 - 1e-6):
        found["reduced_for_risk"] = f"cut back until a collapse within the year has the probability {level:g}"
    if later > FIVE_YEARS * level:
        found["five_year_risk"] = f"mortalities held, a collapse within five years has the probability {later:g}"
    return found


def _crowded(scenario: FisheriesScenario, beliefs: Beliefs, request: Request) -> dict[str, str]:
    """Whether a catch is asked for by risk."""
    believed = beliefs.believed(request.year, request.stock, request.cv)
    risk = collapse_probability(beliefs.fishery, *believed, request.year, np.zeros(len(scenario.harvested)))
    if risk <= scenario.release.collapse_probability:
        return {}
    return {"crowded": f"without a catch a collapse within the year would have the probability {risk:.3g}"}


def _told(scenario: FisheriesScenario, name: str, species: tuple[str, ...], values: Array) -> dict[str, Any]:
    """An entry in stock units and, where they are known, in tonnes; without the last digits and without minus zero."""
    found = {name: _named(species, values)}
    if scenario.tonnes is not None:
        unit = np.array([scenario.tonnes[scenario.model.species.index(one)] for one in species])
        found[f"{name}_t"] = _named(species, values * unit)
    return found


def _named(names: tuple[str, ...], values: Array) -> dict[str, float]:
    return dict(zip(names, (np.round(values, DIGITS) + 0.0).tolist(), strict=True))

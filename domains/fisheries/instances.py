"""From a scenario to what is played: its numbers for compiled code, and the futures of its instances.

All randomness of instance k is keyed by (seed, split, k): its first stocks, its parameters, the noise of every year and
the errors of every survey come from generators of their own, so that no decision changes what another year brings.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numba import njit

from interlock.core.environment import Split
from interlock.core.errors import UsageError
from interlock.domains.fisheries.draws import keyed, normal, uniform
from interlock.domains.fisheries.model import ONE_PARAMETERS, WEB_PARAMETERS, Array, Fishery, live
from interlock.domains.fisheries.scenario import FisheriesScenario, FoodWeb

PARAMETERS: Mapping[str, tuple[str, ...]] = {"one_species": ONE_PARAMETERS, "food_web": WEB_PARAMETERS}
"""Columns of ``Fishery.table`` by kind of model."""

MOST_REDRAWN = 1000
"""Factors of an instance that may fail in a row before the scenario is given up."""

_SPLITS: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
_FIRST, _NOISE, _SURVEY, _FACTOR, _TRIAL = range(5)


def fishery_of(scenario: FisheriesScenario) -> Fishery:
    """The numbers of a scenario for compiled code."""
    model = scenario.model
    names = PARAMETERS[model.kind]
    table = np.tile([getattr(model, name) for name in names], (scenario.horizon, 1))
    for drift in scenario.drift:
        column = names.index(drift.parameter)
        table[:, column] = [drift.value(table[0, column], year) for year in range(scenario.horizon)]
    caught, limits = len(scenario.harvested), scenario.limits
    return Fishery(
        table=table,
        harvested=np.array([model.species.index(name) for name in scenario.harvested]),
        prices=np.array(scenario.prices or (1.0,) * caught, float),
        effort=np.array(scenario.effort_costs or (0.0,) * caught, float),
        collapse=scenario.collapse_level,
        low=scenario.low_level,
        penalty=scenario.penalty if scenario.reward == "penalised" else 0.0,
        tac=np.inf if limits.tac is None else limits.tac,
        max_change=np.inf if limits.max_change is None else limits.max_change,
        by_capacity=isinstance(model, FoodWeb) and model.competition == "capacity",
        exogenous=isinstance(model, FoodWeb) and model.predator == "exogenous",
        cv=scenario.observed.cv,
    )


def states(seed: int, split: Split, first: int, count: int) -> tuple[Array, Array]:
    """Generators of the process noise and of survey errors of instances ``first ..``, uint64 ``(count,)`` each."""
    return _states(seed, _salt(split, _NOISE), first, count), _states(seed, _salt(split, _SURVEY), first, count)


def first_stocks(scenario: FisheriesScenario, seed: int, split: Split, first: int, count: int) -> Array:
    """Stocks of year 0, ``(count, species)``, at least 0."""
    drawn = normals(_states(seed, _salt(split, _FIRST), first, count), len(scenario.initial))
    stocks: Array = np.maximum(np.array(scenario.initial) + scenario.initial_sd * drawn, 0.0)
    return stocks


def first_shares(seed: int, split: Split, first: int, count: int) -> Array:
    """Uniform numbers ``(count,)`` in (0, 1] from which the first stocks of walleye are made."""
    drawn: Array = _uniforms(_states(seed, _salt(split, _FIRST), first, count))
    return drawn


def factors(scenario: FisheriesScenario, seed: int, split: Split, first: int, count: int) -> Array:
    """Factors of the parameters, ``(count, parameters)``, or ``(1, parameters)`` of ones where all are known.

    Raises:
        UsageError: hardly any factors let the unfished stocks live.
    """
    columns = len(PARAMETERS[scenario.model.kind])
    if scenario.uncertainty.sd == 0:
        return np.ones((1, columns))
    # Blocks of fixed places, so that those who play the same instances again find them drawn.
    blocks = range(first // _BLOCK, (first + count - 1) // _BLOCK + 1)
    unfished = scenario.with_changes(tuned=None, method=None).canonical_json()
    drawn = np.concatenate([_factor_block(unfished, seed, split, block) for block in blocks])
    return drawn[first - blocks.start * _BLOCK :][:count]


_BLOCK = 64


@lru_cache(maxsize=1024)
def _factor_block(scenario_json: str, seed: int, split: Split, block: int) -> Array:
    scenario = FisheriesScenario.model_validate_json(scenario_json)
    uncertainty, first = scenario.uncertainty, block * _BLOCK
    rows = len(PARAMETERS[scenario.model.kind])
    found, ok = _living_factors(
        fishery_of(scenario),
        _states(seed, _salt(split, _FACTOR), first, _BLOCK),
        _states(seed, _salt(split, _TRIAL), first, _BLOCK),
        np.array(scenario.initial),
        scenario.initial_sd,
        uncertainty.sd,
        rows,
        int(np.floor((1.0 - uncertainty.survival) * uncertainty.runs + 1e-9)),
        uncertainty.runs,
    )
    if not ok:
        raise UsageError(
            f"{scenario.name}: {MOST_REDRAWN} parameter draws in a row let the unfished stocks collapse in more than "
            f"{100 * (1 - uncertainty.survival):g} % of runs: lower uncertainty.sd or uncertainty.survival"
        )
    found.setflags(write=False)
    return found


def _salt(split: Split, use: int) -> int:
    return _SPLITS[split] + len(_SPLITS) * use


@njit(cache=True)
def _states(seed, salt, first, count):
    """``keyed`` of instances ``first .. first + count - 1``."""
    found = np.empty(count, np.uint64)
    for k in range(count):
        found[k] = keyed(seed, first + k, salt)
    return found


@njit(cache=True)
def normals(states, columns):
    """Standard normal numbers ``(len(states), columns)``."""
    drawn = np.empty((len(states), columns))
    for row in range(len(states)):
        for column in range(columns):
            drawn[row, column] = normal(states, row)
    return drawn


@njit(cache=True)
def _uniforms(states):
    """Uniform numbers ``(len(states),)``."""
    drawn = np.empty(len(states))
    for row in range(len(states)):
        drawn[row] = uniform(states, row)
    return drawn


@njit(cache=True)
def _collapses(fishery, found, row, initial, initial_sd, states, runs, allowed):
    """Unfished runs that collapse under the factors of a row, counted until there are more than allowed."""
    count, none = 0, np.zeros((1, len(fishery.harvested)))
    stock, noise, p = np.empty((1, len(initial))), np.zeros(3), np.empty(found.shape[1])
    for _ in range(runs):
        for i in range(len(initial)):
            stock[0, i] = max(initial[i] + initial_sd * normal(states, row), 0.0)
        for t in range(len(fishery.table)):
            for c in range(len(p)):
                p[c] = fishery.table[t, c] * found[row, c]
            for i in range(len(initial)):
                noise[i] = normal(states, row)
            _, _, least = live(fishery, p, t, stock, none, 0, noise[0], noise[1], noise[2])
            if least <= fishery.collapse:
                count += 1
                break
        if count > allowed:
            break
    return count


@njit(cache=True)
def _living_factors(fishery, states, trials, initial, initial_sd, sd, columns, allowed, runs):
    """Positive factors ``(rows, columns)`` under which the unfished stocks live; and whether all were found."""
    found = np.empty((len(states), columns))
    for row in range(len(states)):
        lives = False
        for _ in range(MOST_REDRAWN):
            for column in range(columns):
                found[row, column] = 1.0 + sd * normal(states, row)
            if found[row].min() > 0.0:
                lives = _collapses(fishery, found, row, initial, initial_sd, trials, runs, allowed) <= allowed
            if lives:
                break
        if not lives:
            return found, False
    return found, True

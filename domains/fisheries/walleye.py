r"""An age-structured stock under harvest, one year at a time: numbers at age, recruitment in rare big years, surveys.

Fish of age :math:`a` from 1 weigh :math:`w_a = (1 - e^{-k a})^3`, are mature with share :math:`m_a`, vulnerable to
harvest with share :math:`v_a` and found by surveys with share :math:`q_a`:

.. math::
    m_a &= 1 / (1 + e^{-asl (a - ahm)}), \quad v_a = 1 / (1 + e^{-(a - ahv) / asl}) \\
    q_a &= (linf / lbar) (1 - e^{-k a})^{2.02}

A year goes: the council sets an exploitation rate :math:`U`; the catch is :math:`U \sum_a v_a w_a n_a`; what is left,
:math:`s n_a (1 - v_a U)`, is a year older at its end, the last age holding all that are older; and those that are left
spawn before that, with a biomass of :math:`B = \sum_a m_a w_a s n_a (1 - v_a U)`, so that next year's first age is

.. math:: n'_1 = R \alpha B / (1 + \beta B), \quad \alpha = cr / \varphi, \quad \beta = (cr - 1) / (ro \varphi),

with :math:`\varphi = \sum_a l_a w_a m_a` over the unfished survivorship :math:`l_a = s^{a - 1}` (the last age:
:math:`s^{A - 1} / (1 - s)`), by Beverton and Holt (1957). The factor :math:`R` of a big year, with chance
``big_chance``, is uniform between ``big_low`` and ``big_high``; in other years it is ``usual`` times a lognormal number
of mean 1. With the numbers of the schema its mean is 1.21, not 1: the unfished stock is larger than ``ro`` says.

Biomass is in weights of a full-grown fish, and 1 of the numbers is the young of an unfished year.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from interlock.core.environment import Split
from interlock.domains.fisheries.draws import normal, uniform
from interlock.domains.fisheries.instances import first_shares
from interlock.domains.fisheries.model import CLOSED, Array, permitted
from interlock.domains.fisheries.scenario import FisheriesScenario, Walleye

SURVEY_POWER = 2.02
"""Of length, in what surveys find."""
LARGEST_SURVEY = 50.0
"""Surveys tell no larger biomass."""
UTILITIES = ("yield", "hara", "trophy")
TOTALS = ("yield", "low_years", "closed_years", "changed", "catch_change", "trophies", "survey", "spawning")
"""Columns of what is summed over an episode."""


class Lake(NamedTuple):
    """What compiled code knows of a scenario; arrays are by age, ``(A,)``.

    Attributes:
        vulnerable: share of an age that a rate of 1 removes.
        caught: biomass that a rate of 1 takes of a fish of an age.
        trophies: trophy fish that it takes of one.
        spawning: spawning biomass of a fish.
        found: fish that a survey finds of one.
        weighed: biomass that it finds of one.
        first: numbers of the unfished stock, the mean of ``R`` being 1.
        survival: share of the fish that survive a year without harvest.
        alpha: young per spawning biomass in an empty lake.
        beta: of Beverton and Holt.
        chance: of a big year.
        least: factor of the young of a big year.
        most: the same.
        usual: mean factor of the young of other years.
        sdr: standard deviation of its logarithm.
        utility: place in ``UTILITIES``.
        exponent: of the catch, for hara.
        low: spawning biomass below which a year counts as low.
        harvested: int ``(1,)``, 0: there is one stock.
        tac: infinite.
        max_change: largest change of a rate from one year to the next.
        cv: of the survey, standard deviation of its relative errors.
    """

    vulnerable: Array
    caught: Array
    trophies: Array
    spawning: Array
    found: Array
    weighed: Array
    first: Array
    survival: float
    alpha: float
    beta: float
    chance: float
    least: float
    most: float
    usual: float
    sdr: float
    utility: int
    exponent: float
    low: float
    harvested: Array
    tac: float
    max_change: float
    cv: float


def model_of(scenario: FisheriesScenario) -> Walleye:
    """The model of a scenario with walleye.

    Raises:
        TypeError: it is another one.
    """
    if not isinstance(scenario.model, Walleye):
        raise TypeError(f"{scenario.name} is about {scenario.model.kind}, not walleye")
    return scenario.model


def lake_of(scenario: FisheriesScenario) -> Lake:
    """The numbers of a scenario for compiled code."""
    model, limits = model_of(scenario), scenario.limits
    age = np.arange(1.0, model.ages + 1)
    length = 1.0 - np.exp(-model.k * age)
    weight = length**3
    mature = weight / (1.0 + np.exp(-model.asl * (age - model.ahm)))
    vulnerable = 1.0 / (1.0 + np.exp(-(age - model.ahv) / model.asl))
    found = model.linf / model.lbar * length**SURVEY_POWER
    survivors = model.s ** (age - 1.0)
    survivors[-1] /= 1.0 - model.s
    unfished = float(survivors @ mature)
    return Lake(
        vulnerable=vulnerable,
        caught=vulnerable * weight,
        trophies=vulnerable * (age > model.ages - model.trophy_ages),
        spawning=mature,
        found=found,
        weighed=found * weight,
        first=model.ro * survivors,
        survival=model.s,
        alpha=model.cr / unfished,
        beta=(model.cr - 1.0) / (model.ro * unfished),
        chance=model.big_chance,
        least=model.big_low,
        most=model.big_high,
        usual=model.usual,
        sdr=model.sdr,
        utility=UTILITIES.index(model.utility),
        exponent=model.exponent,
        low=scenario.low_level * model.ro * unfished,
        harvested=np.zeros(1, np.int64),
        tac=np.inf,
        max_change=np.inf if limits.max_change is None else limits.max_change,
        cv=scenario.observed.cv,
    )


def first_numbers(scenario: FisheriesScenario, lake: Lake, seed: int, split: Split, first: int, count: int) -> Array:
    """Numbers at age of year 0, ``(count, A)``: a share of the unfished stock, the same for all ages of an instance."""
    model = model_of(scenario)
    shares = model.first_low + (model.first_high - model.first_low) * first_shares(seed, split, first, count)
    numbers: Array = scenario.initial[0] * shares[:, None] * lake.first
    return numbers


@njit(cache=True, inline="always", error_model="numpy")
def recruitment(lake, states, row):
    """Factor of the young of a year; the state of the row advances."""
    if uniform(states, row) <= lake.chance:
        return lake.least + (lake.most - lake.least) * uniform(states, row)
    return lake.usual * math.exp(lake.sdr * normal(states, row) - 0.5 * lake.sdr * lake.sdr)


@njit(cache=True, inline="always", error_model="numpy", fastmath=True)
def live(lake, numbers, row, rate, factor):
    """One year of one row at a rate; ``numbers[row]`` becomes that of the next year.

    Returns:
        Catch, trophy fish in it, and the biomass that spawned.
    """
    caught, trophies, spawning = 0.0, 0.0, 0.0
    ages = numbers.shape[1]
    for a in range(ages):
        n = numbers[row, a]
        caught += lake.caught[a] * n
        trophies += lake.trophies[a] * n
        left = lake.survival * n * (1.0 - lake.vulnerable[a] * rate)
        numbers[row, a] = left
        spawning += lake.spawning[a] * left
    numbers[row, ages - 1] += numbers[row, ages - 2]
    for a in range(ages - 2, 0, -1):
        numbers[row, a] = numbers[row, a - 1]
    numbers[row, 0] = factor * lake.alpha * spawning / (1.0 + lake.beta * spawning)
    return rate * caught, rate * trophies, spawning


@njit(cache=True, inline="always", error_model="numpy")
def utility(lake, caught, trophies):
    """Reward of a year."""
    if lake.utility == 0:
        return caught
    return caught**lake.exponent if lake.utility == 1 else trophies


@njit(cache=True, inline="always", error_model="numpy", fastmath=True)
def found(lake, numbers, row):
    """Biomass and number of fish that a survey without errors finds."""
    biomass, fish = 0.0, 0.0
    for a in range(numbers.shape[1]):
        biomass += lake.weighed[a] * numbers[row, a]
        fish += lake.found[a] * numbers[row, a]
    return biomass, fish


@njit(cache=True, inline="always", error_model="numpy")
def told(lake, value, states, row):
    """What a survey tells of a value: times ``1 + cv N(0, 1)``, at least 0."""
    return value * max(1.0 + lake.cv * normal(states, row), 0.0) if lake.cv > 0.0 else value


@njit(cache=True, error_model="numpy")
def survey(lake, numbers, states, rows, seen, true):
    """Look at these rows.

    Args:
        lake: the scenario.
        numbers: ``(n, A)``.
        states: uint64 ``(n,)``, of the generators of survey errors.
        rows: int, of all arrays.
        seen: ``(n, 1 or 2)``, is written: biomass, at most ``LARGEST_SURVEY``, and mean weight, erring on their own.
        true: ``(n,)``, is written: the biomass without errors.
    """
    for row in rows:
        biomass, fish = found(lake, numbers, row)
        true[row] = biomass
        seen[row, 0] = min(told(lake, biomass, states, row), LARGEST_SURVEY)
        if seen.shape[1] > 1:
            seen[row, 1] = told(lake, biomass / fish, states, row)


@njit(cache=True, error_model="numpy")
def advance(lake, numbers, year, states, rate, last, totals, catches, biomass, reward, low):
    """One year of every row, in place.

    Args:
        lake: the scenario.
        numbers: ``(n, A)``; becomes next year's.
        year: int ``(n,)``, from 0; becomes the next.
        states: uint64 ``(n,)``, of the generators of recruitment.
        rate: ``(n, 1)``, what was proposed; becomes what is carried out.
        last: ``(n, 1)``, of the year before; becomes this year's if changes are limited.
        totals: ``(n, len(TOTALS))``.
        catches: float32 ``(n, T)``, of every year so far.
        biomass: ``(n, 1)``, that a survey without errors finds at first.
        reward: ``(n,)``, is written.
        low: bool ``(n,)``, is written: whether the spawning biomass is below the low level.
    """
    for row in range(len(numbers)):
        t = year[row]
        changed = permitted(lake, t, biomass, last, rate, row)
        if lake.max_change < 1.0:
            last[row, 0] = rate[row, 0]
        factor = recruitment(lake, states, row)
        totals[row, 6] += biomass[row, 0]
        caught, trophies, spawning = live(lake, numbers, row, rate[row, 0], factor)
        low[row] = spawning < lake.low
        totals[row, 0] += caught
        totals[row, 1] += low[row]
        totals[row, 2] += caught < CLOSED
        totals[row, 3] += changed
        if t > 0:
            totals[row, 4] += abs(caught - catches[row, t - 1])
        totals[row, 5] += trophies
        totals[row, 7] += spawning
        catches[row, t] = caught
        reward[row] = utility(lake, caught, trophies)
        year[row] = t + 1

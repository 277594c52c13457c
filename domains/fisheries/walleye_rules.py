r"""Harvest rules for an age-structured stock: many parameters on the same futures at once, and the textbook's rate.

The rules are those of ``rules``, on the biomass that a survey finds. The textbook's rate is that of the maximum
sustainable yield without chance. At a rate :math:`U`, a recruit brings a catch of :math:`U Y(U)` and spawners of
:math:`\phi(U)` over its life, and recruitment settles where Beverton and Holt's young replace their parents:

.. math::
    l_1 &= 1, \quad l_{a+1} = s (1 - v_a U) l_a, \quad l_A = l_{A-1} s (1 - v_{A-1} U) / (1 - s (1 - v_A U)) \\
    Y(U) &= \sum_a v_a w_a l_a, \quad \phi(U) = \sum_a m_a w_a s (1 - v_a U) l_a \\
    n_1 &= \max(0, (\bar R \alpha \phi(U) - 1) / (\beta \phi(U)))

:math:`F_{MSY}` is the rate with the largest :math:`U Y(U) n_1`. Recruitment that comes once in twenty years is taken
for its mean :math:`\bar R` every year, which is what makes this rule dangerous.
"""

import numpy as np
from numba import njit

from interlock.domains.fisheries.instances import states
from interlock.domains.fisheries.model import Array, permitted
from interlock.domains.fisheries.rules import KINDS, Kind, Scores, one_mortality
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.walleye import (
    LARGEST_SURVEY,
    Lake,
    first_numbers,
    found,
    lake_of,
    live,
    recruitment,
    told,
    utility,
)

RATES = 1001
"""Rates among which the textbook's is found."""


def mean_recruitment(lake: Lake) -> float:
    """Mean of the factor of the young of a year."""
    return lake.chance * 0.5 * (lake.least + lake.most) + (1.0 - lake.chance) * lake.usual


def per_recruit(lake: Lake, rate: float) -> tuple[Array, float, float]:
    """What becomes of a recruit at a rate: numbers at age ``(A,)``, catch, and spawning biomass."""
    left = lake.survival * (1.0 - lake.vulnerable * rate)
    numbers: Array = np.concatenate([[1.0], np.cumprod(left[:-1])])
    numbers[-1] /= 1.0 - left[-1]
    return numbers, rate * float(lake.caught @ numbers), float(lake.spawning @ (left * numbers))


def equilibrium(lake: Lake, rate: float, factor: float) -> tuple[float, float]:
    """Recruits and catch of every year at a rate, where the factor of the young never changes."""
    _, caught, spawning = per_recruit(lake, rate)
    recruits = max((factor * lake.alpha * spawning - 1.0) / (lake.beta * spawning), 0.0) if spawning > 0.0 else 0.0
    return recruits, caught * recruits


def unfished_biomass(scenario: FisheriesScenario) -> float:
    """Biomass that a survey finds of an unfished stock where recruitment is its mean every year."""
    lake = lake_of(scenario)
    recruits, _ = equilibrium(lake, 0.0, mean_recruitment(lake))
    return recruits * float(lake.weighed @ per_recruit(lake, 0.0)[0])


def f_msy(scenario: FisheriesScenario) -> Array:
    """Rate ``(1,)`` of the maximum sustainable yield where recruitment is its mean every year."""
    lake = lake_of(scenario)
    rates = np.linspace(0.0, 1.0, RATES)
    yields = [equilibrium(lake, rate, mean_recruitment(lake))[1] for rate in rates]
    return rates[[int(np.argmax(yields))]]


def score(scenario: FisheriesScenario, kind: Kind, parameters: Array, *, futures: int, seed: int) -> Scores:
    """Play rules on training futures; nothing collapses, so that all survive.

    A year draws one error, that of the surveyed biomass. Where mean weights are seen too (``weigh``), the environment
    draws a second one a year, so there the errors of these futures are not those of its instances, though as likely.

    Args:
        scenario: the numbers.
        kind: of all rules.
        parameters: ``(R, 1, k)``.
        futures: number of them, from the first of the seed.
        seed: of the split ``train``.
    """
    lake = lake_of(scenario)
    recruits, errors = states(seed, "train", 0, futures)
    first = first_numbers(scenario, lake, seed, "train", 0, futures)
    place = list(KINDS).index(kind)
    rules = np.ascontiguousarray(parameters, float)
    reward, low, last_year = _score(lake, first, recruits, errors, scenario.horizon, place, rules)
    always = np.ones(len(rules))
    return Scores(reward / futures, always, low / futures, last_year / futures, always)


@njit(cache=True, error_model="numpy")
def _score(lake, first, recruits, errors, years, kind, parameters):
    """Sums over futures of reward, low years and the last year's reward, by rule: all play the same futures."""
    rules, futures = len(parameters), len(first)
    reward, low, last_year = np.zeros(rules), np.zeros(rules), np.zeros(rules)
    factor, seen = np.empty(years), np.empty(years)
    numbers, rate, last, biomass = np.empty((1, first.shape[1])), np.empty((1, 1)), np.empty((1, 1)), np.empty((1, 1))
    for k in range(futures):
        for t in range(years):
            factor[t] = recruitment(lake, recruits, k)
            seen[t] = told(lake, 1.0, errors, k)
        for rule in range(rules):
            numbers[0] = first[k]
            last[0] = 0.0
            value = 0.0
            for t in range(years):
                biomass[0, 0], _ = found(lake, numbers, 0)
                rate[0, 0] = one_mortality(kind, parameters, rule, 0, min(biomass[0, 0] * seen[t], LARGEST_SURVEY))
                permitted(lake, t, biomass, last, rate, 0)
                last[0, 0] = rate[0, 0]
                caught, trophies, spawning = live(lake, numbers, 0, rate[0, 0], factor[t])
                value = utility(lake, caught, trophies)
                reward[rule] += value
                low[rule] += spawning < lake.low
            last_year[rule] += value
    return reward, low, last_year

r"""A value that no rule for an age-structured stock beats: recruitment by a tangent, every age harvested on its own.

Two of the model's laws are relaxed. The young of a spawning biomass :math:`B` lie on a concave curve, hence below each
of its tangents: with the one at :math:`\bar B`,

.. math:: \frac{\alpha B}{1 + \beta B} \le \iota + \lambda B, \quad
          \lambda = \frac{\alpha}{(1 + \beta \bar B)^2}, \quad \iota = \lambda \beta \bar B^2.

And each age may have a rate of its own. What is left is linear in the numbers, so its value is
:math:`V_t(n) = \sum_a p_{t,a} n_a + c_t` for rules that see everything but the future, where recruitment counts with
its mean :math:`\bar R`: from :math:`p_T = 0, c_T = 0` backwards,

.. math::
    g_{t,a} &= s (p_{t+1,a+1} + \bar R \lambda m_a w_a p_{t+1,1}) \\
    p_{t,a} &= g_{t,a} + v_a \max(0, u_a - g_{t,a}) \\
    c_t &= c_{t+1} + \bar R \iota p_{t+1,1},

with :math:`u_a` what a harvested fish brings (its weight, or 1 for a trophy) and :math:`g_{t,a}` what one that is left
is worth. Every :math:`\bar B > 0` gives a bound; the smallest counts. For the sum of catches to a power
:math:`\gamma \le 1`, Jensen's inequality turns the bound :math:`Y` of the catch into :math:`T (Y / T)^\gamma`.
"""

import numpy as np
from numba import njit

from interlock.core.problem import Bound
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.walleye import Lake, lake_of, model_of
from interlock.domains.fisheries.walleye_rules import mean_recruitment

LEAST, MOST = 0.05, 50.0
"""Spawning biomasses between which the tangent is looked for, in unfished ones."""


def bounds(scenario: FisheriesScenario) -> dict[str, Bound]:
    """The bound of a scenario with walleye."""
    return {
        "mean_recruitment": Bound(
            "mean_recruitment",
            "relaxation",
            lambda split, count: np.array(best_value(scenario)),
            "expected value where every age may be harvested on its own, each year brings the mean of recruitment, and "
            "recruitment follows the best tangent to the law of Beverton and Holt",
        )
    }


def best_value(scenario: FisheriesScenario) -> float:
    """The smallest of the bounds by a tangent, for the mean of the first stocks, in the unit of the objective."""
    from scipy.optimize import minimize_scalar

    model, lake = model_of(scenario), lake_of(scenario)
    first = scenario.initial[0] * 0.5 * (model.first_low + model.first_high) * lake.first
    unfished = float(lake.first @ lake.spawning)
    # Logarithms: bounds by tangents close to 0 grow exponentially with the horizon.
    found = minimize_scalar(
        lambda point: np.log(value(lake, first, scenario.horizon, float(np.exp(point)))),
        bounds=(np.log(LEAST * unfished), np.log(MOST * unfished)),
        method="bounded",
    )
    total = float(np.exp(found.fun))
    return scenario.horizon * (total / scenario.horizon) ** model.exponent if model.utility == "hara" else total


def value(lake: Lake, first: np.ndarray, years: int, tangent: float) -> float:
    """Bound of the sum over years of the catch (of trophy fish, where they count).

    Args:
        lake: the scenario.
        first: numbers at age of year 0, ``(A,)``.
        years: horizon.
        tangent: spawning biomass at which recruitment is touched.
    """
    harvested = lake.trophies if lake.utility == 2 else lake.caught
    return float(_value(lake, harvested, first, years, tangent, mean_recruitment(lake)))


@njit(cache=True, error_model="numpy")
def _value(lake, harvested, first, years, tangent, factor):
    ages = len(first)
    slope = factor * lake.alpha / (1.0 + lake.beta * tangent) ** 2
    intercept = slope * lake.beta * tangent**2
    price, constant = np.zeros(ages), 0.0
    for _ in range(years):
        young = price[0]
        constant += intercept * young
        # An age's price is that of the next age a year later, which upward order has not yet overwritten.
        for a in range(ages):
            left = lake.survival * (price[min(a + 1, ages - 1)] + slope * young * lake.spawning[a])
            price[a] = left + max(harvested[a] - lake.vulnerable[a] * left, 0.0)
    return constant + price @ first

r"""The optimum of one species whose parameters are known, by backward induction over the stock.

With :math:`W_t(S)` the expected value of what follows when harvest leaves :math:`S` in year :math:`t` from 0, and
:math:`c_t` the cost of a collapse,

.. math::
    W_t(S) &= E[V_{t+1}(N') 1\{N' > \ell\} - c_t 1\{N' \le \ell\}] \\
    V_t(X) &= p X + \max_{0 \le S \le X} (W_t(S) - p S),

so the maximum is a running one. Stocks are on a grid, :math:`V` is linear between its points, and the expectation over
the normal noise is exact. (Equiprobable noise values instead cut off the tails in which stocks collapse: 401 of them
put the value up to 0.03 too high.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtr, ndtri

from interlock.domains.fisheries.dynamic_programming_range import highest
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.scenario import FisheriesScenario

STOCKS = 2001
"""Points of the grid."""
ACCURACY = 0.01
"""By how much the value of the scenarios of Interlock may be off, as 1001 to 4001 points show."""
NEGLIGIBLE = 1e-14
"""Smaller chances are left out."""
TINY = 1e-12
"""Least standard deviation of a stock: one that is certain lies in its interval with chance 1."""


@dataclass(frozen=True, slots=True)
class OneOptimum:
    """Values and decisions on the grid.

    Attributes:
        stocks: ``(g,)``, evenly spaced from 0.
        value: ``(g,)``, of a stock in year 0.
        leave: ``(T, g)``, stock to leave.
    """

    stocks: Array
    value: Array
    leave: Array

    def mean_value(self, scenario: FisheriesScenario) -> float:
        """Expected value over the first stocks of a scenario, by their 401 equiprobable slices."""
        slices = ndtri((np.arange(401) + 0.5) / 401)
        first = np.maximum(scenario.initial[0] + scenario.initial_sd * slices, 0.0)
        return float(np.interp(first, self.stocks, self.value).mean())

    def mortality(self, year: Array, stock: Array) -> Array:
        """Decisions ``(n, 1)`` for stocks ``(n, 1)`` in years ``(n,)`` from 0.

        They are those of the grid point at or below the stock.
        """
        stock = stock[:, 0]
        place = np.clip((stock / self.stocks[1]).astype(np.int64), 0, len(self.stocks) - 1)
        leave = self.leave[year, place]
        rest = leave >= self.stocks[place]
        mortality = 1.0 - np.divide(leave, stock, out=np.ones_like(stock), where=stock > 0)
        return np.where(rest, 0.0, mortality)[:, None]


def transitions(parameters: Array, stocks: Array, collapse: float) -> tuple[csr_array, Array]:
    """Where the stock goes from each grid point that harvest leaves, next year's stock being normal.

    The expectation of a function that is linear between grid points is exact: on each interval, the chance of the
    stock lying there and its mean there are known in closed form. Stocks above the grid count as its last point.

    Args:
        parameters: of the year, ``(5,)``.
        stocks: evenly spaced from 0, ``(g,)``.
        collapse: stock at or below which nothing follows.

    Returns:
        ``(g, g)`` weights of the grid points of next year's living stocks, and ``(g,)`` chances of a collapse.
    """
    r, k, beta, c, sigma = parameters
    square = stocks * stocks
    eaten = np.divide(beta * square, square + c * c, out=np.zeros_like(stocks), where=square > 0)
    mean = stocks + r * stocks * (1.0 - stocks / k) - eaten
    sd = np.maximum(sigma * stocks, TINY)
    ends = np.maximum(stocks, collapse)
    z = (ends - mean[:, None]) / sd[:, None]
    below, density = ndtr(z), np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    chance = np.diff(below, axis=1)
    share = mean[:, None] * chance - sd[:, None] * np.diff(density, axis=1)
    share = np.clip((share - stocks[:-1] * chance) / stocks[1], 0.0, chance)  # of the upper end of the interval
    weights = np.zeros((len(stocks), len(stocks)))
    weights[:, :-1] += chance - share
    weights[:, 1:] += share
    weights[:, -1] += 1.0 - below[:, -1]
    weights[weights < NEGLIGIBLE] = 0.0
    return csr_array(weights), ndtr((collapse - mean) / sd)


def solve(
    scenario: FisheriesScenario,
    costs: Array,
    *,
    stocks: int = STOCKS,
    progress: Callable[[int, int], None] | None = None,
) -> OneOptimum:
    """The optimum of a scenario with one species.

    Args:
        scenario: the numbers.
        costs: of a collapse in every year, ``(T,)``.
        stocks: points of the grid.
        progress: called with (years done, all).
    """
    fishery, price = fishery_of(scenario), (scenario.prices or (1.0,))[0]
    points = np.linspace(0.0, highest(scenario)[0], stocks)
    value = np.zeros(stocks)
    leave = np.empty((scenario.horizon, stocks))
    known: tuple[Array, csr_array, Array] | None = None
    for t in reversed(range(scenario.horizon)):
        if known is None or not np.array_equal(known[0], fishery.table[t]):
            known = (fishery.table[t], *transitions(fishery.table[t], points, fishery.collapse))
        _, weights, collapse = known
        net = weights @ value - costs[t] * collapse - price * points
        best = np.maximum.accumulate(net)
        # The last place at which the running maximum was reached: where two are equal, more stock is left.
        leave[t] = points[np.maximum.accumulate(np.where(net >= best, np.arange(stocks), 0))]
        value = price * points + best
        if progress is not None:
            progress(scenario.horizon - t, scenario.horizon)
    return OneOptimum(points, value, leave)

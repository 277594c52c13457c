r"""The optimum of one species whose parameters are known, by backward induction over the stock.

With :math:`W_t(S)` the expected value of what follows when harvest leaves :math:`S` in year :math:`t` from 0,

.. math::
    W_t(S) &= E[V_{t+1}(N') 1\{N' > \ell\} - \tfrac{P}{t+1} 1\{N' \le \ell\}] \\
    V_t(X) &= p X + \max_{0 \le S \le X} (W_t(S) - p S),

so the maximum is a running one. Stocks are on a grid, the noise takes equiprobable values, and :math:`V` between grid
points is interpolated. Costs of effort and limits on decisions are left out: with them, the value is an upper bound.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtri

from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.scenario import FisheriesScenario

HIGHEST = 2.2
"""Largest stock of the grid, in carrying capacities; higher ones count as this one."""
STOCKS, NODES = 2001, 401
"""Points of the grid, and values of the noise."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """Values and decisions on the grid.

    Attributes:
        stocks: ``(g,)``, evenly spaced from 0.
        value: ``(g,)``, of a stock in year 0.
        leave: ``(T, g)``, stock to leave.
    """

    stocks: Array
    value: Array
    leave: Array

    def mean_value(self, scenario: FisheriesScenario, nodes: int = NODES) -> float:
        """Expected value over the first stocks of a scenario."""
        first = np.maximum(scenario.initial[0] + scenario.initial_sd * noise_values(nodes), 0.0)
        return float(np.interp(first, self.stocks, self.value).mean())

    def mortality(self, year: Array, stock: Array) -> Array:
        """Decisions ``(n,)`` for stocks ``(n,)`` in years from 0: those of the grid point at or below the stock."""
        place = np.clip((stock / self.stocks[1]).astype(np.int64), 0, len(self.stocks) - 1)
        leave = self.leave[year, place]
        rest = leave >= self.stocks[place]
        return np.where(rest, 0.0, 1.0 - np.divide(leave, stock, out=np.ones_like(stock), where=stock > 0))


def noise_values(nodes: int) -> Array:
    """Medians of equiprobable slices of the standard normal distribution."""
    values: Array = ndtri((np.arange(nodes) + 0.5) / nodes)
    return values


def transitions(
    parameters: Array, stocks: Array, nodes: int, collapse: float
) -> tuple[csr_array, Array]:
    """Where the stock goes from each grid point that harvest leaves.

    Returns:
        ``(g, g)`` weights of the grid points of next year's living stocks, and ``(g,)`` chances of a collapse.
    """
    r, k, beta, c, sigma = parameters
    square = stocks * stocks
    eaten = np.divide(beta * square, square + c * c, out=np.zeros_like(stocks), where=square > 0)
    mean = stocks + r * stocks * (1.0 - stocks / k) - eaten
    following = np.maximum(mean[:, None] + sigma * stocks[:, None] * noise_values(nodes), 0.0)
    alive, size, step = following > collapse, len(stocks), stocks[1]
    position = np.minimum(following / step, size - 1)
    below = np.minimum(position.astype(np.int64), size - 2)
    above_share = np.where(alive, position - below, 0.0) / nodes
    below_share = alive / nodes - above_share
    rows = np.repeat(np.arange(size), nodes)
    weights = csr_array(
        (
            np.concatenate([below_share.ravel(), above_share.ravel()]),
            (np.concatenate([rows, rows]), np.concatenate([below.ravel(), below.ravel() + 1])),
        ),
        shape=(size, size),
    )
    return weights, 1.0 - alive.mean(axis=1)


def solve(scenario: FisheriesScenario, *, stocks: int = STOCKS, nodes: int = NODES) -> Optimum:
    """The optimum of a scenario with one species, without costs of effort and limits on decisions."""
    asked = scenario.with_changes(tuned=None, method=None).canonical_json()
    return _solved(asked, stocks, nodes)


@lru_cache(maxsize=8)
def _solved(scenario_json: str, stocks: int, nodes: int) -> Optimum:
    scenario = FisheriesScenario.model_validate_json(scenario_json)
    fishery, price = fishery_of(scenario), (scenario.prices or (1.0,))[0]
    largest = fishery.table[:, 1].max()
    points = np.linspace(0.0, HIGHEST * largest, stocks)
    value = np.zeros(stocks)
    leave = np.empty((scenario.horizon, stocks))
    known: tuple[Array, csr_array, Array] | None = None
    for t in reversed(range(scenario.horizon)):
        if known is None or not np.array_equal(known[0], fishery.table[t]):
            known = (fishery.table[t], *transitions(fishery.table[t], points, nodes, fishery.collapse))
        _, weights, collapse = known
        net = weights @ value - fishery.penalty / (t + 1) * collapse - price * points
        best = np.maximum.accumulate(net)
        # The last place at which the running maximum was reached: where two are equal, more stock is left.
        leave[t] = points[np.maximum.accumulate(np.where(net >= best, np.arange(stocks), 0))]
        value = price * points + best
    return Optimum(points, value, leave)

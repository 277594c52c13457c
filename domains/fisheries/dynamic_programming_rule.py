"""Decisions from what follows the stocks of a grid: the best stocks to leave, between the points of the grid too."""

import numpy as np
from numba import njit

from interlock.domains.fisheries.dynamic_programming_grid import STENCIL, cubic, stencil

CANDIDATES = 9
"""Of each axis, stocks to leave that are tried around the best point of the grid."""


@njit(cache=True)
def stocks_to_leave(follows, first, second, third, prices, harvested, year, stock):
    """The best stocks to leave of the first one or two axes.

    They are the best of a lattice around the best point of the grid; what follows is interpolated at the stocks of the
    row and of the lattice.

    Args:
        follows: ``(T, c, a, b)``, what follows the stocks that are left.
        first: points of the axis a, of a harvested species.
        second: of the axis b.
        third: of the axis c, of a species that is not harvested.
        prices: ``(2,)``, of the first two species.
        harvested: 1 or 2 of these.
        year: int ``(n,)``, from 0.
        stock: ``(n, 3)``, in the order of the axes.

    Returns:
        ``(n, harvested)``.
    """
    left, net = np.empty((len(stock), harvested)), np.empty((len(first), len(second)))
    for row in range(len(stock)):
        x, y = stock[row, 0], stock[row, 1]
        # Points up to the stocks, and as many more as the polynomials there need.
        reach_a, reach_b = stencil(first, x) + STENCIL, stencil(second, y) + STENCIL
        _net_at(follows[year[row]], third, stock[row, 2], first, second, prices, reach_a, reach_b, net)
        if harvested == 1:
            _rest_at(second, y, reach_a, net)
            reach_b = 1
        at_a, at_b = 0, 0
        for a in range(reach_a):
            if first[a] <= x:
                for b in range(reach_b):
                    if net[a, b] > net[at_a, at_b] and (second[b] <= y or harvested == 1):
                        at_a, at_b = a, b
        _best_near(net, first, second, at_a, at_b, x, y, left[row])
    return left


@njit(cache=True)
def _net_at(layers, third, z, first, second, prices, reach_a, reach_b, net):
    """What follows less what could be caught instead, at a stock of the third species."""
    shares = np.empty(STENCIL)
    z = min(max(z, third[0]), third[-1])
    k = stencil(third, z)
    cubic(third, k, z, shares)
    s0, s1, s2, s3 = shares[0], shares[1], shares[2], shares[3]
    for a in range(reach_a):
        for b in range(reach_b):
            follows = (
                s0 * layers[k, a, b] + s1 * layers[k + 1, a, b] + s2 * layers[k + 2, a, b] + s3 * layers[k + 3, a, b]
            )
            net[a, b] = follows - prices[0] * first[a] - prices[1] * second[b]


@njit(cache=True)
def _rest_at(second, y, reach_a, net):
    """The first column becomes that of the stock of a second species that is not harvested."""
    shares = np.empty(STENCIL)
    y = min(max(y, second[0]), second[-1])
    b = stencil(second, y)
    cubic(second, b, y, shares)
    for a in range(reach_a):
        value = 0.0
        for n in range(STENCIL):
            value += shares[n] * net[a, b + n]
        net[a, 0] = value


@njit(cache=True)
def _lattice(points, at, stock, tried, first, shares):
    """Stocks from one interval below a point to one above, at most ``stock``, and their polynomials."""
    low, high = points[max(at - 1, 0)], min(points[min(at + 1, len(points) - 1)], max(stock, points[0]))
    for n in range(CANDIDATES):
        tried[n] = low + (high - low) * n / (CANDIDATES - 1)
        first[n] = stencil(points, tried[n])
        cubic(points, first[n], tried[n], shares[n])


@njit(cache=True)
def _best_near(net, first, second, at_a, at_b, x, y, left):
    """The best stocks to leave around a point of the grid, into ``left``; where two are equal, more is left."""
    tried_a, from_a = np.empty(CANDIDATES), np.empty(CANDIDATES, np.int64)
    tried_b, from_b = np.empty(CANDIDATES), np.zeros(CANDIDATES, np.int64)
    share_a, share_b = np.empty((CANDIDATES, STENCIL)), np.zeros((CANDIDATES, STENCIL))
    _lattice(first, at_a, x, tried_a, from_a, share_a)
    columns = 1
    if len(left) == 1:
        share_b[0, 0] = 1.0
    else:
        columns = CANDIDATES
        _lattice(second, at_b, y, tried_b, from_b, share_b)
    top, base, reach = -np.inf, from_b[0], from_b[columns - 1] - from_b[0] + (STENCIL if columns > 1 else 1)
    column = np.empty(reach)
    for n in range(CANDIDATES):
        for b in range(reach):
            column[b] = 0.0
            for a in range(STENCIL):
                column[b] += share_a[n, a] * net[from_a[n] + a, base + b]
        for m in range(columns):
            value = 0.0
            for b in range(min(STENCIL, reach)):
                value += share_b[m, b] * column[from_b[m] - base + b]
            if value >= top:
                top = value
                left[0] = tried_a[n]
                if columns > 1:
                    left[1] = tried_b[m]

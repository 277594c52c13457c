r"""Cubic interpolation on the axes of a grid, and what it is expected to be at a normally distributed place.

Between two points, a function is taken for the cubic polynomial through the four nearest (Lagrange). Its expectation
under a normal density is exact: on each interval between points, the moments of a standard normal :math:`z` are

.. math:: M_0 = \Delta\Phi, \quad M_1 = -\Delta\varphi, \quad M_2 = M_0 - \Delta(z \varphi),
    \quad M_3 = 2 M_1 - \Delta(z^2 \varphi).

So the expectation is a weighted sum of the values at the few points within reach.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from interlock.domains.fisheries.model import Array

REACH = 5.5
"""Standard deviations within which a stock is looked for; it is farther off with chance 4e-8."""
TINY = 1e-9
"""Least standard deviation of a stock."""
STENCIL = 4
"""Points of a cubic polynomial."""


class Spread(NamedTuple):
    """Weights of the points of an axis, for many normal densities.

    Attributes:
        start: int ``(...)``, first point with a weight.
        size: int ``(...)``, points with a weight; 0 where all chance is at or below the floor.
        weights: ``(..., width)``.
    """

    start: Array
    size: Array
    weights: Array


def axis(lowest: float, highest: float, bend: float, points: int) -> Array:
    """Points from ``lowest`` on: evenly spaced within ``bend`` of it, farther off in equal ratios of the distance."""
    found: Array = lowest + bend * np.sinh(np.linspace(0.0, np.arcsinh((highest - lowest) / bend), points))
    found[-1] = highest
    return found


@njit(cache=True)
def stencil(points, x):
    """First of the four points whose polynomial holds at ``x``."""
    cell = np.searchsorted(points, x, side="right") - 1
    return min(max(cell - 1, 0), len(points) - STENCIL)


@njit(cache=True)
def cubic(points, first, x, shares):
    """Shares ``(4,)`` of the points ``first ..`` in the polynomial at ``x``."""
    for j in range(STENCIL):
        share = 1.0
        for m in range(STENCIL):
            if m != j:
                share *= (x - points[first + m]) / (points[first + j] - points[first + m])
        shares[j] = share


@njit(cache=True)
def _below(z):
    """Chance that a standard normal number is below ``z``."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


@njit(cache=True)
def _density(z):
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


@njit(cache=True, error_model="numpy")
def _add_interval(points, first, mean, sd, low, high, start, weights):
    """Add the weights of the four points ``first ..`` whose polynomial holds between ``low`` and ``high``."""
    z0, z1 = (low - mean) / sd, (high - mean) / sd
    d0, d1 = _density(z0), _density(z1)
    m0, m1 = _below(z1) - _below(z0), d0 - d1
    m2, m3 = m0 + z0 * d0 - z1 * d1, 2.0 * m1 + z0 * z0 * d0 - z1 * z1 * d1
    for j in range(STENCIL):
        # The polynomial that is 1 at point j and 0 at the three others, in powers of z.
        c0, c1, c2, c3, scale = 1.0, 0.0, 0.0, 0.0, 1.0
        for m in range(STENCIL):
            if m != j:
                gap = mean - points[first + m]
                c3 = c3 * gap + c2 * sd
                c2 = c2 * gap + c1 * sd
                c1 = c1 * gap + c0 * sd
                c0 = c0 * gap
                scale *= points[first + j] - points[first + m]
        weights[first + j - start] += (c0 * m0 + c1 * m1 + c2 * m2 + c3 * m3) / scale


@njit(cache=True, error_model="numpy")
def _spread(points, mean, sd, floor, weights):
    """Weights of one density, from its first point on; returns that point and how many there are."""
    last = len(points) - 1
    low, high = max(mean - REACH * sd, floor), mean + REACH * sd
    if high <= floor:
        return 0, 0
    start, end = stencil(points, low), stencil(points, high)
    if low < points[0]:
        weights[0] += _below((points[0] - mean) / sd) - _below((floor - mean) / sd)
    if high > points[last]:
        weights[last - start] += _below((mean - max(points[last], floor)) / sd)
    for cell in range(max(np.searchsorted(points, low, side="right") - 1, 0), last):
        if points[cell] >= high:
            break
        first = min(max(cell - 1, 0), last + 1 - STENCIL)
        _add_interval(points, first, mean, sd, max(points[cell], floor), points[cell + 1], start, weights)
    return start, end + STENCIL - start


@njit(cache=True)
def _spreads(points, mean, sd, floor, start, size, weights):
    for n in range(len(mean)):
        start[n], size[n] = _spread(points, mean[n], sd[n], floor, weights[n])


def spread(points: Array, mean: Array, sd: Array, floor: float) -> Spread:
    """What the interpolation between points is expected to be, as weights of the points.

    Values below the first point count as there, those above the last as there.

    Args:
        points: of the axis, rising, at least 4.
        mean: of normal densities, ``(...)``.
        sd: their standard deviations, ``(...)``.
        floor: chance at or below it gets no weight.
    """
    shape, mean, sd = mean.shape, mean.ravel(), np.maximum(sd.ravel(), TINY)
    first = np.searchsorted(points, np.maximum(mean - REACH * sd, floor), side="right")
    width = int((np.searchsorted(points, mean + REACH * sd, side="right") - first).max(initial=0)) + 2 * STENCIL
    start, size = np.zeros(len(mean), np.int64), np.zeros(len(mean), np.int64)
    weights = np.zeros((len(mean), min(width, len(points))))
    _spreads(points, mean, sd, floor, start, size, weights)
    return Spread(start.reshape(shape), size.reshape(shape), weights.reshape(*shape, -1))


def dense(spread: Spread, points: int) -> Array:
    """The weights of every point of an axis, ``(n, points)``, of a spread over ``(n,)`` densities."""
    rows = np.zeros((len(spread.start), points))
    for row, (start, size) in enumerate(zip(spread.start, spread.size, strict=True)):
        rows[row, start : start + size] = spread.weights[row, :size]
    return rows


@njit(cache=True)
def highest_up_to(points, values, parts):
    """Highest value between the first point and each point, ``(lines, n)``, of interpolated ``values`` ``(lines, n)``.

    Looked for at ``parts`` steps between any two points. Where four points are those of a concave function, it lies
    above the chord of the middle two and below the lines through the outer pairs, and the polynomial is held between
    these; elsewhere the chord is taken. Otherwise a maximum would feed on the overshoots of polynomials.
    """
    lines, n = values.shape
    found, shares = np.empty((lines, n)), np.empty((n - 1, parts, STENCIL))
    for cell in range(n - 1):
        for part in range(1, parts):
            x = points[cell] + (points[cell + 1] - points[cell]) * part / parts
            cubic(points, min(max(cell - 1, 0), n - STENCIL), x, shares[cell, part])
    for line in range(lines):
        v = values[line]
        highest = v[0]
        found[line, 0] = highest
        for cell in range(n - 1):
            first = min(max(cell - 1, 0), n - STENCIL)
            width = points[cell + 1] - points[cell]
            left = (v[cell] - v[cell - 1]) / (points[cell] - points[cell - 1]) if cell > 0 else np.inf
            right = (v[cell + 2] - v[cell + 1]) / (points[cell + 2] - points[cell + 1]) if cell < n - 2 else -np.inf
            slope = (v[cell + 1] - v[cell]) / width
            if left > slope > right:
                for part in range(1, parts):
                    way = width * part / parts
                    value = 0.0
                    for j in range(STENCIL):
                        value += shares[cell, part, j] * v[first + j]
                    above = min(v[cell] + left * way, v[cell + 1] - right * (width - way))
                    highest = max(highest, min(max(value, v[cell] + slope * way), above))
            highest = max(highest, v[cell + 1])
            found[line, cell + 1] = highest
    return found

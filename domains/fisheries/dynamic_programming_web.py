r"""The optimum of a food web whose parameters are known, by backward induction over its three stocks.

With :math:`W_t(S)` the expected value of what follows when harvest leaves the stocks :math:`S` in year :math:`t`, and
:math:`c_t` the cost of a collapse,

.. math::
    W_t(S) &= E[(V_{t+1}(N') + c_t) 1\{N' > \ell\}] - c_t \\
    V_t(N) &= p \cdot N + \max_{S} (W_t(S) - p \cdot S),

where harvested stocks may be left anywhere between 0 and :math:`N`: a running maximum over their axes, here over a
lattice ``PARTS`` times as fine as the grid. :math:`V` is cubic between the points of the grid.

The stocks of next year are independent normal numbers, given what harvest left, so the expectation is a product of
weights of the three axes. Along the last axis it depends on the other stocks through the mean alone, and smoothly: it
is computed for a few means of every point of that axis, and interpolated between them. That saves most of the work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from interlock.domains.fisheries.dynamic_programming_cache import Kept
from interlock.domains.fisheries.dynamic_programming_grid import (
    STENCIL,
    Spread,
    axis,
    dense,
    highest_up_to,
    spread,
)
from interlock.domains.fisheries.dynamic_programming_range import highest
from interlock.domains.fisheries.dynamic_programming_rule import stocks_to_leave
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.model import WEB_PARAMETERS, Array, Fishery, grown_web
from interlock.domains.fisheries.scenario import FisheriesScenario

Grid = tuple[int, int, int]
"""Points of the axes of two harvested species (or one and another) and of the last."""

POINTS: Grid = (44, 44, 60)
"""Of the optimum that users see."""
ACCURACY = 0.02
"""By how much the value of the scenarios of Interlock may be too high, as 32 x 32 x 44 to 72 x 72 x 96 points show."""
ACCURACY_CYCLE = 0.1
"""The same where the predator follows a cycle, and spreads over a wide range (24 x 24 x 32 to 44 x 44 x 60 points)."""
DENSE = 0.4
"""Stocks that are not harvested are dense this close above a collapse, in collapse levels: good rules go there."""
PARTS = 3
"""Stocks that may be left, between two points of an axis."""
STEP = 0.25
"""Of the means that the last axis is integrated for, in its standard deviations (or intervals, if these are wider)."""

_SIGMA = WEB_PARAMETERS.index("sigma_x")


class Growth(NamedTuple):
    """Where the stocks go from what is left at every point of the grid; species in the order of the axes.

    Attributes:
        mean: ``(3, a, b, c)``, of next year's stocks.
        sd: ``(3, a, b, c)``.
    """

    mean: Array
    sd: Array


@dataclass(frozen=True, slots=True)
class Web:
    """The grid of a scenario.

    Attributes:
        fishery: the numbers.
        order: species of the axes: harvested ones first.
        axes: points of each.
        prices: ``(2,)``, of the first two axes; 0 where a species is not harvested.
        caught: harvested species, 1 or 2.
    """

    fishery: Fishery
    order: tuple[int, int, int]
    axes: tuple[Array, Array, Array]
    prices: Array
    caught: int


@dataclass(frozen=True, slots=True)
class WebOptimum:
    """Values and decisions on the grid.

    Attributes:
        web: the grid.
        value: ``(c, a, b)``, of stocks in year 0.
        follows: float32 ``(T, c, a, b)``, expected value of what follows the stocks that harvest leaves.
    """

    web: Web
    value: Array
    follows: Array

    def mean_value(self, scenario: FisheriesScenario) -> float:
        """Expected value over the first stocks of a scenario."""
        found, web = self.value, self.web
        for place in (2, 0, 1):
            points, species = web.axes[place], web.order[place]
            mean, sd = np.array([scenario.initial[species]]), np.array([scenario.initial_sd])
            found = np.tensordot(dense(spread(points, mean, sd, -np.inf), len(points))[0], found, axes=1)
        return float(found)

    def mortality(self, year: Array, stock: Array) -> Array:
        """Decisions ``(n, h)`` for stocks ``(n, species)`` in years ``(n,)`` from 0."""
        web = self.web
        left = stocks_to_leave(
            self.follows, *web.axes, web.prices, web.caught,
            np.ascontiguousarray(year, np.int64), np.ascontiguousarray(stock[:, web.order], float),
        )  # fmt: skip
        own = stock[:, list(web.order[: web.caught])]
        mortality = 1.0 - np.divide(left, own, out=np.ones_like(left), where=own > 0)
        ranks = [web.order.index(int(species)) for species in web.fishery.harvested]
        return np.clip(mortality, 0.0, 1.0)[:, ranks]


def accuracy(scenario: FisheriesScenario) -> float:
    """By how much the value may be too high."""
    return ACCURACY_CYCLE if fishery_of(scenario).exogenous else ACCURACY


def web_of(scenario: FisheriesScenario, points: Grid = POINTS) -> Web:
    """The grid of a scenario; where one species is harvested, its axis is the first."""
    fishery = fishery_of(scenario)
    harvested = sorted(int(species) for species in fishery.harvested)
    order = [*harvested, *(species for species in range(3) if species not in harvested)]
    largest = fishery.table[:, [2, 3]].max()
    lowest = fishery.collapse or largest / 50.0
    tops = highest(scenario)
    axes = [
        axis(0.0, tops[species], lowest, count)
        if species in harvested
        else axis(fishery.collapse, tops[species], DENSE * lowest, count)
        for species, count in zip(order, points, strict=True)
    ]
    prices = np.zeros(2)
    for species, price in zip(fishery.harvested, fishery.prices, strict=True):
        prices[order.index(int(species))] = price
    return Web(fishery, (order[0], order[1], order[2]), (axes[0], axes[1], axes[2]), prices, len(harvested))


@njit(cache=True)
def _grown(axes_x, axes_y, axes_z, order, p, t, by_capacity, exogenous, mean, sd):
    s = np.empty(3)
    for i in range(len(axes_x)):
        s[order[0]] = axes_x[i]
        for j in range(len(axes_y)):
            s[order[1]] = axes_y[j]
            for k in range(len(axes_z)):
                s[order[2]] = axes_z[k]
                grown = grown_web(s[0], s[1], s[2], 0.0, 0.0, 0.0, p, t, by_capacity, exogenous)
                for a in range(3):
                    species = order[a]
                    mean[a, i, j, k] = grown[0] if species == 0 else (grown[1] if species == 1 else grown[2])
                    sd[a, i, j, k] = p[_SIGMA + species] * s[species]


def growth(web: Web, t: int) -> Growth:
    """Next year's stocks after harvest in year ``t`` has left those of each point of the grid."""
    fishery, shape = web.fishery, (3, *(len(points) for points in web.axes))
    mean, sd = np.empty(shape), np.empty(shape)
    _grown(
        *web.axes, np.array(web.order), fishery.table[t], t, fishery.by_capacity, fishery.exogenous, mean, sd
    )  # fmt: skip
    return Growth(mean, sd)


class Slab(NamedTuple):
    """The last axis at one of its points.

    Attributes:
        weights: ``(L, c)``, of the points, for L means in equal steps.
        first: int ``(a, b)``, first of the four means around that of the other stocks.
        shares: ``(a, b, 4)``, of these.
    """

    weights: Array
    first: Array
    shares: Array


def slab(points: Array, mean: Array, sd: float, interval: float, floor: float) -> Slab:
    """The last axis where its own stock is the same and its means ``(a, b)`` are not."""
    step = STEP * max(sd, interval)
    means = mean.min() + step * np.arange(-1, int(np.ceil(np.ptp(mean) / step)) + STENCIL)
    place = (mean - means[0]) / step
    first = np.clip(place.astype(np.int64) - 1, 0, len(means) - STENCIL)
    u = (place - first)[..., None]
    gaps = [u - node for node in range(STENCIL)]
    shares = [
        gaps[1] * gaps[2] * gaps[3] / -6.0, gaps[0] * gaps[2] * gaps[3] / 2.0,
        gaps[0] * gaps[1] * gaps[3] / -2.0, gaps[0] * gaps[1] * gaps[2] / 6.0,
    ]  # fmt: skip
    found = dense(spread(points, means, np.full(len(means), sd), floor), len(points))
    return Slab(found, first, np.concatenate(shares, axis=-1))


class Transition(NamedTuple):
    """Chances of next year's stocks, for what is left at every point of the grid."""

    first: Spread
    second: Spread
    last: list[Slab]


class Chances:
    """Transitions year after year: what has not changed from one to the next is kept."""

    def __init__(self, web: Web):
        self.web = web
        self.known: Growth | None = None
        self.spreads: list[Spread] = []
        self.slabs: list[Slab] = []

    def of(self, t: int) -> Transition:
        """The chances of year ``t``."""
        grown, floor = growth(self.web, t), self.web.fishery.collapse
        for place in range(2):
            if self.known is None or self._changed(grown, place):
                mean, sd = (np.moveaxis(values[place], -1, 0) for values in grown)
                found = spread(self.web.axes[place], mean, sd, floor)
                self.spreads[place : place + 1] = [found]
        if self.known is None or self._changed(grown, 2):
            points = self.web.axes[2]
            intervals = np.append(np.diff(points), points[-1] - points[-2])
            self.slabs = [
                slab(points, grown.mean[2, :, :, k], grown.sd[2, 0, 0, k], intervals[k], floor)
                for k in range(len(points))
            ]
        self.known = grown
        return Transition(self.spreads[0], self.spreads[1], self.slabs)

    def _changed(self, grown: Growth, place: int) -> bool:
        known = self.known
        return known is None or any(
            not np.array_equal(new[place], old[place]) for new, old in zip(grown, known, strict=True)
        )


@njit(cache=True, fastmath={"contract", "reassoc"})
def _contract(table, first, shares, start_a, size_a, weights_a, start_b, size_b, weights_b, found):
    """Expectation over the first two axes of ``table`` ``(L, a, b)``, between four of its L means."""
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            mean, from_b, size = first[i, j], start_b[i, j], size_b[i, j]
            h0, h1, h2, h3 = shares[i, j, 0], shares[i, j, 1], shares[i, j, 2], shares[i, j, 3]
            total = 0.0
            for n in range(size_a[i, j]):
                a = start_a[i, j] + n
                r0, r1 = table[mean, a, from_b : from_b + size], table[mean + 1, a, from_b : from_b + size]
                r2, r3 = table[mean + 2, a, from_b : from_b + size], table[mean + 3, a, from_b : from_b + size]
                t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
                for b in range(size):
                    weight = weights_b[i, j, b]
                    t0 += weight * r0[b]
                    t1 += weight * r1[b]
                    t2 += weight * r2[b]
                    t3 += weight * r3[b]
                total += weights_a[i, j, n] * (h0 * t0 + h1 * t1 + h2 * t2 + h3 * t3)
            found[i, j] = total


def expected(transition: Transition, value: Array) -> Array:
    """Expectation of ``value`` over next year's living stocks, by what is left; both ``(c, a, b)``."""
    rows, found = value.reshape(len(value), -1), np.empty(value.shape)
    one, two = transition.first, transition.second
    for k, last in enumerate(transition.last):
        table = (last.weights @ rows).reshape(-1, *value.shape[1:])
        _contract(
            table, last.first, last.shares, one.start[k], one.size[k], one.weights[k],
            two.start[k], two.size[k], two.weights[k], found[k],
        )  # fmt: skip
    return found


def best(web: Web, follows: Array, parts: int = PARTS) -> Array:
    """Value of the stocks of the grid, from what follows those that are left; both ``(c, a, b)``."""
    first, second = web.axes[0], web.axes[1]
    money = web.prices[0] * first[:, None] + web.prices[1] * second
    lines = np.swapaxes(follows - money, 1, 2)
    highest = np.swapaxes(highest_up_to(first, lines.reshape(-1, len(first)), parts).reshape(lines.shape), 1, 2)
    if web.caught > 1:
        highest = highest_up_to(second, highest.reshape(-1, len(second)), parts).reshape(follows.shape)
    return money + highest


def solve(
    web: Web, costs: Array, *, kept: Kept | None = None, progress: Callable[[int, int], None] | None = None
) -> WebOptimum:
    """Values and decisions.

    Args:
        web: the grid.
        costs: of a collapse in every year, ``(T,)``.
        kept: where the solution is kept; what is there already is not computed again.
        progress: called with (years done, all).
    """
    years = len(costs)
    a, b, c = (len(points) for points in web.axes)
    follows, start = np.empty((years, c, a, b), np.float32), years
    value, chances = np.zeros((c, a, b)), Chances(web)
    known = None if kept is None else kept.read(follows.shape)
    if known is not None:
        start, value, follows[known[0] :] = known
    for t in reversed(range(start)):
        net = expected(chances.of(t), value + costs[t]) - costs[t]
        follows[t] = net
        value = best(web, net)
        if kept is not None:
            kept.save(t, value, follows[t:])
        if progress is not None:
            progress(years - t, years)
    return WebOptimum(web, value, follows)

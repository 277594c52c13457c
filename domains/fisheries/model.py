r"""Stocks under harvest, one year at a time: growth, noise, catch and collapse as compiled kernels.

Stocks are in units of the carrying capacity, mortality is the share of a stock that is caught in a year. A year goes:
the council sets mortalities :math:`M_i`; the fleets catch :math:`h_i = M_i N_i`; what is left, :math:`S_i = N_i - h_i`,
grows: :math:`N'_i = S_i + f_i(S) + \sigma_i S_i \varepsilon_i`; the episode ends where any stock is at or below the
limit.

One species (May, Nature 269, 1977: logistic growth under a saturating grazer):

.. math:: f(X) = r X (1 - X/K) - \beta X^2 / (X^2 + c^2)

Three species, two competing prey and their predator, as in Montealegre-Mora et al., *Pretty darn good control*
(Bulletin of Mathematical Biology, 2023):

.. math::
    f_X &= r_X X (1 - X/K_X) - \beta Z X^2/(c^2 + X^2) - c_{XY} X Y \\
    f_Y &= r_Y Y (1 - Y/K_Y) - D \beta Z Y^2/(c^2 + Y^2) - c_{XY} X Y \\
    f_Z &= Z (b (X + D Y) - d_Z)

The manuscript prints a noise variance of 0.05 for three species; its code has a standard deviation of 0.1, and only
that gives the published rewards.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.fisheries.draws import normal

Array = NDArray[Any]

ONE_PARAMETERS = ("r", "k", "beta", "c", "sigma")
WEB_PARAMETERS = (
    "r_x", "r_y", "k_x", "k_y", "beta", "c", "c_xy", "b", "d", "d_z", "sigma_x", "sigma_y", "sigma_z",
)  # fmt: skip
"""Columns of the tables of parameters, by model."""

CLOSED = 1e-3
"""A year with a smaller catch (in carrying capacities) counts as closed."""

TOTALS = ("yield", "low_years", "closed_years", "changed", "catch_change")
"""Columns of what is summed over an episode; catches by harvested species follow."""


class Fishery(NamedTuple):
    """What compiled code knows of a scenario.

    Attributes:
        table: ``(T, parameters)``, of every year.
        harvested: int ``(h,)``, species that are caught.
        prices: ``(h,)``, per carrying capacity.
        effort: ``(h,)``, cost of a mortality of 1.
        collapse: stock at or below which an episode ends.
        low: stock below which a year counts as low.
        penalty: of a collapse in the first year; in year t from 0 it is ``penalty / (t + 1)``.
        tac: largest total catch of a year.
        max_change: largest change of a mortality from one year to the next.
        by_capacity: competition takes carrying capacity instead of stock.
        exogenous: the predator follows a cycle of 50 years whatever it eats.
        cv: of the survey, standard deviation of its relative error.
    """

    table: Array
    harvested: Array
    prices: Array
    effort: Array
    collapse: float
    low: float
    penalty: float
    tac: float
    max_change: float
    by_capacity: bool
    exogenous: bool
    cv: float


@njit(cache=True, inline="always", error_model="numpy")
def grown_one(s, noise, p):
    """Next year's stock of one species from what harvest left, under parameters ``p``."""
    r, k, beta, c, sigma = p[0], p[1], p[2], p[3], p[4]
    square = s * s
    eaten = beta * square / (square + c * c) if square > 0.0 else 0.0
    return max(s + r * s * (1.0 - s / k) - eaten + sigma * s * noise, 0.0)


@njit(cache=True, inline="always", error_model="numpy")
def grown_web(x, y, z, noise_x, noise_y, noise_z, p, t, by_capacity, exogenous):
    """Next year's stocks of prey, competing prey and predator from what harvest left, under parameters ``p``."""
    k_x, k_y, beta = p[2], p[3], p[4]
    c2, c_xy, d = p[5] ** 2, p[6], p[8]
    lost = c_xy * x * y
    if by_capacity:
        k_x, k_y, lost = k_x - c_xy * y, k_y - c_xy * x, 0.0
    x2, y2 = x * x, y * y
    eaten_x = beta * z * x2 / (c2 + x2) if x2 > 0.0 else 0.0
    eaten_y = d * beta * z * y2 / (c2 + y2) if y2 > 0.0 else 0.0
    rate = 0.02 * math.cos(2.0 * math.pi * t / 50.0) if exogenous else p[7] * (x + d * y) - p[9]
    return (
        x * (1.0 + p[0] * (1.0 - x / k_x) + p[10] * noise_x) - eaten_x - lost,
        y * (1.0 + p[1] * (1.0 - y / k_y) + p[11] * noise_y) - eaten_y - lost,
        z * (1.0 + rate + p[12] * noise_z),
    )


@njit(cache=True, inline="always", error_model="numpy")
def permitted(fishery, t, stock, last, mortality, row):
    """Bring the mortalities of a row within [0, 1], the largest change, and the total allowable catch, in place.

    The total allowable catch goes before the largest change: all mortalities are then scaled down alike. In the first
    year there is no change.

    Returns:
        Whether anything had to be brought in.
    """
    total, changed = 0.0, False
    for j in range(mortality.shape[1]):
        wanted = mortality[row, j]
        within = min(max(wanted, 0.0), 1.0)
        if t > 0 and fishery.max_change < 1.0:
            within = min(max(within, last[row, j] - fishery.max_change), last[row, j] + fishery.max_change)
        changed |= within != wanted
        mortality[row, j] = within
        total += within * stock[row, fishery.harvested[j]]
    if total > fishery.tac:
        changed = True
        for j in range(mortality.shape[1]):
            mortality[row, j] *= fishery.tac / total
    return changed


@njit(cache=True, inline="always", error_model="numpy")
def live(fishery, p, t, stock, mortality, row, noise_x, noise_y, noise_z):
    """One year of one row: catch by ``mortality[row]``, growth; ``stock[row]`` becomes that of the next year.

    Args:
        fishery: the scenario.
        p: parameters of the row and year, ``(parameters,)``.
        t: year from 0.
        stock: ``(n, species)``.
        mortality: ``(n, h)``, permitted ones.
        row: of the two.
        noise_x: of the first species; those of the others are not read where there is one only.
        noise_y: of the second.
        noise_z: of the third.

    Returns:
        Value of the catch less the cost of effort, catch, and the smallest of next year's stocks.
    """
    value, caught = 0.0, 0.0
    for j in range(mortality.shape[1]):
        i = fishery.harvested[j]
        catch = mortality[row, j] * stock[row, i]
        stock[row, i] -= catch
        value += fishery.prices[j] * catch - fishery.effort[j] * mortality[row, j]
        caught += catch
    if stock.shape[1] == 1:
        least = grown_one(stock[row, 0], noise_x, p)
        stock[row, 0] = least
        return value, caught, least
    x, y, z = grown_web(
        stock[row, 0], stock[row, 1], stock[row, 2], noise_x, noise_y, noise_z,
        p, t, fishery.by_capacity, fishery.exogenous,
    )  # fmt: skip
    stock[row, 0], stock[row, 1], stock[row, 2] = x, y, z
    return value, caught, min(x, min(y, z))


@njit(cache=True, error_model="numpy")
def advance(fishery, factor, stock, year, states, mortality, last, totals, catches, reward, collapsed, low):
    """One year of every row, in place.

    Args:
        fishery: the scenario.
        factor: ``(n or 1, parameters)``, by which a row's parameters are multiplied.
        stock: ``(n, species)``; becomes next year's.
        year: int ``(n,)``, from 0; becomes the next.
        states: uint64 ``(n,)``, of the generators of the process noise.
        mortality: ``(n, h)``, what was proposed; becomes what is carried out.
        last: ``(n, h)``, of the year before; becomes this year's if changes are limited.
        totals: ``(n, len(TOTALS) + h)``.
        catches: float32 ``(n, T)``, of every year so far.
        reward: ``(n,)``, is written: the penalty of a collapse is in it.
        collapsed: bool ``(n,)``, is written: whether the year ends with a species at or below the limit.
        low: bool ``(n,)``, is written: whether it ends with one below the low level.
    """
    species, known, fixed = stock.shape[1], len(factor) == 1, len(TOTALS)
    remembers = fishery.max_change < 1.0
    noise_y, noise_z, p, ready = 0.0, 0.0, np.empty(factor.shape[1]), -1
    for row in range(len(stock)):
        t = year[row]
        if t != ready or not known:
            for c in range(len(p)):
                p[c] = fishery.table[t, c] * factor[0 if known else row, c]
            ready = t
        changed = permitted(fishery, t, stock, last, mortality, row)
        for j in range(mortality.shape[1]):
            totals[row, fixed + j] += mortality[row, j] * stock[row, fishery.harvested[j]]
            if remembers:
                last[row, j] = mortality[row, j]
        noise_x = normal(states, row)
        if species > 1:
            noise_y, noise_z = normal(states, row), normal(states, row)
        value, caught, least = live(fishery, p, t, stock, mortality, row, noise_x, noise_y, noise_z)
        totals[row, 0] += caught
        low[row] = least < fishery.low
        totals[row, 1] += low[row]
        totals[row, 2] += caught < CLOSED
        totals[row, 3] += changed
        if t > 0:
            totals[row, 4] += abs(caught - catches[row, t - 1])
        catches[row, t] = caught
        collapsed[row] = least <= fishery.collapse
        reward[row] = value - (fishery.penalty / (t + 1) if collapsed[row] else 0.0)
        year[row] = t + 1


@njit(cache=True, error_model="numpy")
def survey(stock, cv, states, rows, seen):
    """What a survey of these rows finds, in ``seen``: the stocks times ``1 + cv N(0, 1)``, at least 0."""
    for row in rows:
        for i in range(stock.shape[1]):
            seen[row, i] = stock[row, i] * max(1.0 + cv * normal(states, row), 0.0)


@njit(cache=True, error_model="numpy")
def low_quantile(catches, years, share):
    """``(n,)``, of each row the smallest catch that at least ``share`` of its first ``years`` (> 0) do not exceed."""
    found = np.empty(len(catches))
    for row in range(len(catches)):
        rank = max(math.ceil(share * years[row]), 1)
        smallest = np.full(rank, np.inf)
        for t in range(years[row]):
            value = catches[row, t]
            if value < smallest[rank - 1]:
                place = rank - 1
                while place > 0 and smallest[place - 1] > value:
                    smallest[place] = smallest[place - 1]
                    place -= 1
                smallest[place] = value
        found[row] = smallest[rank - 1]
    return found

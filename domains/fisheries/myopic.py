"""The best decision for this year alone: catch now, and the risk that its penalty is due at the end of the year."""

import math

import numpy as np
from numba import njit

from interlock.domains.fisheries.model import Array, Fishery, grown_one, grown_web

_COARSE, _FINE = 21, 21
_SWEEPS = 2
_CERTAIN = 6.0


def best_now(fishery: Fishery, stock: Array, year: Array) -> Array:
    """Mortalities ``(n, h)`` with the largest expected reward of this year, penalty of a collapse included.

    One species after the other is searched, on a grid and then more finely around its best point, twice in turn.

    Args:
        fishery: the scenario; its limits on decisions are not looked at.
        stock: ``(n, species)``.
        year: int ``(n,)``, from 0.
    """
    mortality = np.zeros((len(stock), len(fishery.harvested)))
    _search(fishery, np.ascontiguousarray(stock), year, mortality)
    return mortality


@njit(cache=True, error_model="numpy")
def expected_now(fishery, stock, row, t, mortality):
    """Expected reward of a year of ``stock[row]`` under ``mortality[row]``: what is caught, less the risk."""
    value, species = 0.0, stock.shape[1]
    left = np.ones(3)
    for i in range(species):
        left[i] = stock[row, i]
    for j in range(mortality.shape[1]):
        i = fishery.harvested[j]
        catch = mortality[row, j] * left[i]
        value += fishery.prices[j] * catch - fishery.effort[j] * mortality[row, j]
        left[i] -= catch
    if fishery.penalty == 0.0:
        return value
    lives, p = 1.0, fishery.table[t]
    if species == 1:
        mean = grown_one(left[0], 0.0, p)
        lives = _above(mean, p[4] * left[0], fishery.collapse)
    else:
        x, y, z = grown_web(left[0], left[1], left[2], 0.0, 0.0, 0.0, p, t, fishery.by_capacity, fishery.exogenous)
        lives = _above(x, p[10] * left[0], fishery.collapse)
        lives *= _above(y, p[11] * left[1], fishery.collapse) * _above(z, p[12] * left[2], fishery.collapse)
    return value - fishery.penalty / (t + 1) * (1.0 - lives)


@njit(cache=True, inline="always", error_model="numpy")
def _above(mean, sd, level):
    """Chance that a normal number exceeds a level."""
    gap = mean - level
    if gap > _CERTAIN * sd:
        return 1.0
    if gap <= -_CERTAIN * sd:
        return 0.0
    return 0.5 * math.erfc(-gap / (sd * math.sqrt(2.0)))


@njit(cache=True, error_model="numpy")
def _search(fishery, stock, year, mortality):
    for row in range(len(stock)):
        for _ in range(_SWEEPS if mortality.shape[1] > 1 else 1):
            for j in range(mortality.shape[1]):
                low, step = 0.0, 1.0 / (_COARSE - 1)
                for points in (_COARSE, _FINE):
                    best, place = -np.inf, 0.0
                    for k in range(points):
                        mortality[row, j] = min(max(low + k * step, 0.0), 1.0)
                        value = expected_now(fishery, stock, row, year[row], mortality)
                        if value > best:
                            best, place = value, mortality[row, j]
                    mortality[row, j] = place
                    low, step = place - step, 2.0 * step / (_FINE - 1)

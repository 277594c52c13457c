r"""How likely a decision loses a species: exactly within a year, by rollouts within five; and how far it is cut back.

Next year's stock of species i, given what harvest left, is normal with the mean and standard deviation of
``model.grown_one`` and ``model.grown_web``, independent of the others, so

.. math:: P(\text{collapse}) = 1 - \prod_i \bigl(1 - \Phi((l - m_i) / s_i)\bigr)

with limit :math:`l`; where stocks or parameters are not known, the mean of that over ``release_belief.Beliefs``.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from interlock.domains.fisheries.draws import normal
from interlock.domains.fisheries.model import Array, Fishery, grown_web, live, permitted

YEARS = 5
"""Years of a rollout."""
LOW_SHARE = 0.05
"""Share of the rollouts that end the first year with at most the stock ``Outlook.low``."""
TRIED = 21
"""Shares from 0 to 1 that are tried where closure is too risky."""
HALVINGS = 60
"""Steps of the bisection: the scale is then exact to rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What the rollouts of a decision found.

    Attributes:
        mean: of next year's stocks, stock units ``(species,)``.
        low: their 5 % quantiles.
        collapse_1: share of the rollouts in which a species collapses within the year decided on.
        collapse_5: the same within five years, the mortalities held.
    """

    mean: Array
    low: Array
    collapse_1: float
    collapse_5: float


def collapse_probability(fishery: Fishery, stock: Array, factor: Array, year: int, mortality: Array) -> float:
    """Probability that any species ends the year at or below the limit.

    Args:
        fishery: the scenario.
        stock: believed ones, before the catch ``(k, species)``.
        factor: of the parameters ``(k, parameters)``.
        year: from 0.
        mortality: ``(h,)``.
    """
    return float(_probability(fishery, stock, factor, year, np.asarray(mortality, float)))


def cut_back(fishery: Fishery, stock: Array, factor: Array, year: int, mortality: Array, limit: float) -> Array:
    """The mortalities, all scaled down alike until the probability of a collapse within the year keeps a limit.

    By bisection between nothing and all of the proposal: the result keeps the limit, and any larger scale close to it
    does not. No catch where even that misses the limit: a crowded stock may be safer if some of it is caught, which
    ``least_safe`` looks for.
    """
    scale = _scale(fishery, stock, factor, year, np.asarray(mortality, float), limit)
    return np.asarray(mortality, float) * scale


def least_safe(fishery: Fishery, stock: Array, factor: Array, year: int, tried: Array, limit: float) -> Array | None:
    """The first of some mortalities that keeps the limit; ``None`` if none of them does.

    Args:
        fishery: the scenario.
        stock: believed ones, before the catch ``(k, species)``.
        factor: of the parameters ``(k, parameters)``.
        year: from 0.
        tried: mortalities ``(n, h)``, the smallest first.
        limit: of the probability.
    """
    for mortality in tried:
        if _probability(fishery, stock, factor, year, mortality) <= limit:
            found: Array = mortality
            return found
    return None


def mortalities_to_try(
    caught: int, stock: Array, last: Array | None, max_change: float | None, tac: float | None
) -> Array:
    """Mortalities ``(n, caught)`` in even steps, of every species alone and of all alike, brought within the limits.

    Args:
        caught: harvested species.
        stock: of theirs, as the survey found them ``(caught,)``.
        last: mortalities of the year before ``(caught,)``, if they are known.
        max_change: largest change of a year, if there is one.
        tac: total allowable catch, if there is one.
    """
    directions = [np.ones(caught)] if caught == 1 else [*np.eye(caught), np.ones(caught)]
    tried = np.array([share * one for share in np.linspace(0.0, 1.0, TRIED) for one in directions])
    if last is not None and max_change is not None:
        tried = np.clip(np.clip(tried, last - max_change, last + max_change), 0.0, 1.0)
    if tac is not None:
        total = tried @ stock
        tried *= np.where(total > tac, tac / np.where(total > 0.0, total, 1.0), 1.0)[:, np.newaxis]
    return tried


def outlook(fishery: Fishery, stock: Array, factor: Array, year: int, mortality: Array, seed: int) -> Outlook:
    """Play a decision: a rollout for each row of the believed stocks.

    Args:
        fishery: the scenario; years beyond its horizon are like its last one.
        stock: ``(n, species)``, before the catch.
        factor: ``(n, parameters)``.
        year: from 0.
        mortality: ``(h,)``, held for five years; from the second on within the total allowable catch.
        seed: of the noise.
    """
    count = len(stock)
    noise = np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)
    held = np.tile(np.asarray(mortality, float), (count, 1))
    following, collapsed = _play(fishery, stock.copy(), factor, year, held, noise, YEARS)
    ordered = np.sort(following, axis=0)
    rank = max(math.ceil(LOW_SHARE * count), 1) - 1
    return Outlook(
        mean=following.mean(axis=0),
        low=ordered[rank],
        collapse_1=float((collapsed == 0).mean()),
        collapse_5=float((collapsed < YEARS).mean()),
    )


def seed_of(*numbers: Array | int) -> int:
    """A seed that depends on these numbers alone."""
    digest = hashlib.sha256(b"".join(np.asarray(values, float).tobytes() for values in numbers))
    return int.from_bytes(digest.digest()[:7], "little")


@njit(cache=True, inline="always")
def _below(level, mean, deviation):
    """Probability that a normal number is at most ``level``."""
    if deviation <= 0.0:
        return 1.0 if mean <= level else 0.0
    return 0.5 * math.erfc((mean - level) / (deviation * math.sqrt(2.0)))


@njit(cache=True, error_model="numpy")
def _probability(fishery, stock, factor, t, mortality):
    """``collapse_probability``."""
    total, p, left = 0.0, np.empty(factor.shape[1]), np.empty(stock.shape[1])
    for k in range(len(stock)):
        for c in range(len(p)):
            p[c] = fishery.table[t, c] * factor[k, c]
        left[:] = stock[k]
        for j in range(len(mortality)):
            left[fishery.harvested[j]] *= 1.0 - mortality[j]
        if len(left) == 1:
            s, square = left[0], left[0] ** 2
            eaten = p[2] * square / (square + p[3] ** 2) if square > 0.0 else 0.0
            # Not ``grown_one``: clipped at 0, its value without noise is not the mean.
            alive = 1.0 - _below(fishery.collapse, s + p[0] * s * (1.0 - s / p[1]) - eaten, p[4] * s)
        else:
            x, y, z = grown_web(
                left[0], left[1], left[2], 0.0, 0.0, 0.0, p, t, fishery.by_capacity, fishery.exogenous
            )  # fmt: skip
            alive = 1.0 - _below(fishery.collapse, x, p[10] * left[0])
            alive *= 1.0 - _below(fishery.collapse, y, p[11] * left[1])
            alive *= 1.0 - _below(fishery.collapse, z, p[12] * left[2])
        total += 1.0 - alive
    return total / len(stock)


@njit(cache=True, error_model="numpy")
def _scale(fishery, stock, factor, t, mortality, limit):
    """The scale of ``cut_back``."""
    if _probability(fishery, stock, factor, t, mortality) <= limit:
        return 1.0
    kept, broken = 0.0, 1.0
    if _probability(fishery, stock, factor, t, 0.0 * mortality) > limit:
        return 0.0
    for _ in range(HALVINGS):
        middle = 0.5 * (kept + broken)
        if _probability(fishery, stock, factor, t, middle * mortality) <= limit:
            kept = middle
        else:
            broken = middle
    return kept


@njit(cache=True, error_model="numpy")
def _play(fishery, stock, factor, t, held, noise, years):
    """Stocks after the first year ``(n, species)``, and the years after which a species collapsed (``years``: none)."""
    count, species = stock.shape
    following, collapsed = np.empty((count, species)), np.full(count, years)
    p, drawn = np.empty(factor.shape[1]), np.zeros(3)
    mortality = held.copy()
    for row in range(count):
        for after in range(years):
            year = min(t + after, len(fishery.table) - 1)
            for c in range(len(p)):
                p[c] = fishery.table[year, c] * factor[row, c]
            for i in range(species):
                drawn[i] = normal(noise, row)
            if after > 0:
                mortality[row] = held[row]
                permitted(fishery, year, stock, held, mortality, row)
            _, _, least = live(fishery, p, year, stock, mortality, row, drawn[0], drawn[1], drawn[2])
            if after == 0:
                following[row] = stock[row]
            if least <= fishery.collapse:
                collapsed[row] = after
                break
    return following, collapsed

"""Aggregates and their intervals: what the evidence is made of. Reductions work along the last axis.

Definitions follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021
(interquartile mean, stratified bootstrap, performance profile, probability of improvement), Clopper and Pearson 1934
(binomial interval) and Rockafellar and Uryasev 2000 (conditional value at risk).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from interlock.core.environment import Array

RESAMPLES = 2_000
"""Bootstrap resamples of an interval."""

LEVEL = 0.95
"""Confidence of an interval: 2.5 % of the resampled values lie on either side."""

_CHUNK = 1_000_000
"""Values gathered at once while resampling (bounds the memory)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval, in one unit."""

    mean: float
    low: float
    high: float


def mean(values: Array) -> Array:
    """Mean along the last axis, ``(..., n)`` to ``(...)``."""
    result: Array = np.mean(values, axis=-1)
    return result


def median(values: Array) -> Array:
    """Median along the last axis, ``(..., n)`` to ``(...)``."""
    result: Array = np.median(values, axis=-1)
    return result


def iqm(values: Array) -> Array:
    """Interquartile mean: the mean after a quarter of the values (rounded down) is cut off at each end.

    Args:
        values: ``(..., n)``.

    Returns:
        ``(...)``.
    """
    n = values.shape[-1]
    cut = n // 4
    middle = np.partition(values, (cut, n - cut - 1), axis=-1)[..., cut : n - cut]
    result: Array = np.mean(middle, axis=-1)
    return result


def worst_decile(values: Array, sense: Literal["maximise", "minimise"]) -> Array:
    """Mean of the worst tenth of the values, rounded up to whole values.

    Args:
        values: ``(..., n)``.
        sense: ``maximise``: small values are the bad ones; ``minimise``: large ones.

    Returns:
        ``(...)``.
    """
    n = values.shape[-1]
    count = math.ceil(n / 10)
    if sense == "maximise":
        worst = np.partition(values, count - 1, axis=-1)[..., :count]
    else:
        worst = np.partition(values, n - count, axis=-1)[..., n - count :]
    result: Array = np.mean(worst, axis=-1)
    return result


def cvar(values: Array, level: float) -> Array:
    """Mean of the worst (largest) ``1 - level`` share of the values; a value on the edge counts in part.

    Equals ``min over eta of eta + mean(max(values - eta, 0)) / (1 - level)``.

    Args:
        values: ``(..., n)``, larger is worse.
        level: between 0 and 1.

    Returns:
        ``(...)``.
    """
    n = values.shape[-1]
    share = (1.0 - level) * n
    count = min(n, math.ceil(share))
    worst = np.sort(np.partition(values, n - count, axis=-1)[..., n - count :], axis=-1)[..., ::-1]
    weights = np.clip(share - np.arange(count), 0.0, 1.0)
    result: Array = worst @ (weights / weights.sum())
    return result


def resample_rows(count: int, *, strata: Array | None = None, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Row indices of bootstrap samples: as many rows as there are, drawn with replacement within each stratum.

    Each stratum draws from its own stream, keyed by its label, so the order in which the strata come has no influence.

    Args:
        count: number of rows.
        strata: int ``(count,)``, a non-negative label per row (the training seed); ``None``: all rows alike.
        resamples: number of samples.
        seed: of the draws.

    Returns:
        int ``(resamples, count)``; column ``i`` holds rows of the stratum of row ``i``.
    """
    labels = np.zeros(count, np.int64) if strata is None else np.asarray(strata, np.int64)
    rows = np.empty((resamples, count), np.int32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        draws = np.random.default_rng([seed, int(label)]).integers(0, len(members), (resamples, len(members)))
        rows[:, members] = members[draws]
    return rows


def resampled(values: Array, statistic: Callable[[Array], Array], rows: Array) -> Array:
    """A statistic of every bootstrap sample.

    Args:
        values: ``(n,)``.
        statistic: reduces the last axis.
        rows: from ``resample_rows``.

    Returns:
        ``(resamples,)``.
    """
    chunk = max(1, _CHUNK // rows.shape[1])
    parts = [statistic(values[rows[start : start + chunk]]) for start in range(0, len(rows), chunk)]
    return np.concatenate(parts)


def percentile_interval(draws: Array, level: float = LEVEL) -> tuple[float, float]:
    """The middle ``level`` share of resampled values ``(resamples,)``: its lower and upper end."""
    low, high = np.quantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def bootstrap(
    values: Array,
    statistic: Callable[[Array], Array] = mean,
    *,
    strata: Array | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """A statistic of the values with its stratified percentile bootstrap interval.

    Args:
        values: ``(n,)``.
        statistic: reduces the last axis.
        strata: label per value (the training seed), see ``resample_rows``.
        resamples: number of bootstrap samples.
        level: confidence.
        seed: of the draws: the same seed gives the same interval.
    """
    rows = resample_rows(len(values), strata=strata, resamples=resamples, seed=seed)
    return Estimate(float(statistic(values)), *percentile_interval(resampled(values, statistic, rows), level))


def student(values: Array, level: float = LEVEL) -> Estimate:
    """Mean of a few independent values, such as replications of a simulation, with Student's interval.

    Args:
        values: ``(n,)``, ``n >= 2``.
        level: confidence.
    """
    from scipy.stats import t

    n, average = len(values), float(np.mean(values))
    half = float(t.ppf(0.5 + level / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(average, average - half, average + half)


def paired_bootstrap(
    first: Array,
    second: Array,
    *,
    strata: Array | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Mean of ``first - second`` over the same instances, with the bootstrap interval of the paired differences."""
    return bootstrap(first - second, strata=strata, resamples=resamples, level=level, seed=seed)


def normalised_score(achieved: Array, heuristic: Array, bound: Array, rows: Array) -> Estimate | None:
    """``(J - J_heuristic) / (J_bound - J_heuristic)`` of the means: 0 is the heuristic, 1 is the bound.

    Numerator and denominator are resampled together, so what the instances share cancels.

    Args:
        achieved: ``(n,)`` objective of the policy per instance.
        heuristic: ``(n,)``, the same instances.
        bound: ``(n,)``, or shape ``()`` for one value over all.
        rows: from ``resample_rows``.

    Returns:
        ``None`` where the heuristic may be as good as the bound: there is nothing to divide by.
    """
    own, room = achieved - heuristic, bound - heuristic
    own_draws, room_draws = resampled(own, mean, rows), resampled(room, mean, rows)
    if room_draws.min() <= 0.0 <= room_draws.max():
        return None
    return Estimate(float(own.mean() / room.mean()), *percentile_interval(own_draws / room_draws))


def clopper_pearson(successes: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact two-sided interval of a probability after ``successes`` in ``count`` independent trials.

    Each side errs with probability at most ``(1 - level) / 2``.

    Raises:
        ValueError: ``successes`` is not between 0 and ``count``, or nothing was tried.
    """
    if not 0 <= successes <= count or count < 1:
        raise ValueError(f"{successes} successes in {count} trials")
    from scipy.special import betaincinv

    tail = (1.0 - level) / 2.0
    low = 0.0 if successes == 0 else float(betaincinv(successes, count - successes + 1, tail))
    high = 1.0 if successes == count else float(betaincinv(successes + 1, count - successes, 1.0 - tail))
    return low, high


def wilson(successes: int, count: int, level: float = LEVEL) -> Estimate:
    """A share with its score interval (Wilson 1927), which is shorter than the exact one and right on average.

    Raises:
        ValueError: as ``clopper_pearson``.
    """
    if not 0 <= successes <= count or count < 1:
        raise ValueError(f"{successes} successes in {count} trials")
    from scipy.special import ndtri

    z2, share = float(ndtri(0.5 + level / 2)) ** 2, successes / count
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * count)) / count) / (1 + z2 / count)
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def clopper_pearson_upper(successes: int, count: int, confidence: float = LEVEL) -> float:
    """The exact one-sided upper limit of a probability: nothing seen in ``n`` trials still allows about ``3 / n``.

    Raises:
        ValueError: as ``clopper_pearson``.
    """
    return clopper_pearson(successes, count, level=2.0 * confidence - 1.0)[1]


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Share of runs that score above each threshold.

    Args:
        scores: ``(n,)``, larger is better.
        thresholds: ``(k,)``.

    Returns:
        ``(k,)`` shares.
    """
    above: Array = np.mean(scores[None, :] > thresholds[:, None], axis=1)
    return above


def probability_of_improvement(first: Array, second: Array) -> float:
    """Probability that a run of the first beats an independent run of the second; a tie counts one half.

    Args:
        first: ``(n,)``, larger is better.
        second: ``(m,)``.
    """
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left")
    up_to = np.searchsorted(ordered, first, side="right")
    return float(np.mean((below + up_to) / 2.0) / len(second))

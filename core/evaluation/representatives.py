"""A few instances that stand for many: k-medoids on their features, for smoke runs."""

import numpy as np

from interlock.core.environment import Array

REPRESENTATIVES = 10
"""Instances of a smoke run."""


def representatives(features: Array, count: int = REPRESENTATIVES) -> Array:
    """The instances whose summed distance to all others is small: k-medoids by partitioning around medoids.

    Kaufman and Rousseeuw 1990: medoids are first added one by one, each the best addition, then exchanged for other
    instances, the best exchange first, until no exchange of one lowers the sum. Nothing is drawn at random; of equal
    choices the lower index wins. Memory and time per exchange grow with the square of ``n`` (a second or so for 2,000).

    Args:
        features: ``(n, F)``, any units: every column is divided by its standard deviation, constant ones are ignored.
        count: how many to choose.

    Returns:
        int ``(count,)`` indices, ascending.

    Raises:
        ValueError: there are fewer instances than asked for, or features that are not finite.
    """
    n = len(features)
    if not 1 <= count <= n:
        raise ValueError(f"{count} representatives of {n} instances")
    if not np.isfinite(features).all():
        raise ValueError("features of instances must be finite")
    distance = _distances(np.asarray(features, np.float64))
    chosen = _added(distance, count)
    total = float(distance[:, chosen].min(axis=1).sum())
    while True:
        exchanged, lower = _best_exchange(distance, chosen)
        if lower >= total * (1.0 - 1e-12):
            return np.sort(chosen)
        chosen, total = exchanged, lower


def _distances(features: Array) -> Array:
    """``(n, n)`` Euclidean distances of standardised features."""
    spread = features.std(axis=0)
    varying = features[:, spread > 0] / spread[spread > 0]
    distance = np.zeros((len(features), len(features)))
    for column in varying.T:
        distance += np.square(column[:, None] - column[None, :])
    return np.sqrt(distance)


def _added(distance: Array, count: int) -> Array:
    """Medoids added one by one."""
    nearest = np.full(len(distance), np.inf)
    chosen = np.empty(count, np.int64)
    for position in range(count):
        totals = np.minimum(distance, nearest[:, None]).sum(axis=0)
        totals[chosen[:position]] = np.inf
        chosen[position] = totals.argmin()
        nearest = np.minimum(nearest, distance[:, chosen[position]])
    return chosen


def _best_exchange(distance: Array, chosen: Array) -> tuple[Array, float]:
    """Medoids after the best exchange of one of them, and their sum of distances."""
    best, lowest = chosen, np.inf
    for position in range(len(chosen)):
        others = np.delete(chosen, position)
        nearest = distance[:, others].min(axis=1, initial=np.inf)
        totals = np.minimum(distance, nearest[:, None]).sum(axis=0)
        incoming = int(totals.argmin())
        if totals[incoming] < lowest:
            best, lowest = np.append(others, incoming), float(totals[incoming])
    return best, lowest

"""Keyed random numbers: normal to the last moment and in the tails, and nobody else's."""

import numpy as np
from numba import njit
from scipy import stats

from interlock.domains.fisheries.draws import keyed, normal


@njit
def drawn(states, each):
    numbers = np.empty((len(states), each))
    for row in range(len(states)):
        for k in range(each):
            numbers[row, k] = normal(states, row)
    return numbers


def streams(seed, salt, count):
    return np.array([keyed(seed, k, salt) for k in range(count)], np.uint64)


def test_numbers_are_standard_normal():
    numbers = drawn(streams(11, 0, 1000), 2000).ravel()
    assert stats.kstest(numbers[:200_000], "norm").pvalue > 1e-3
    n = len(numbers)
    assert abs(numbers.mean()) < 5 / np.sqrt(n)
    assert abs(numbers.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((numbers**4).mean() - 3) < 5 * np.sqrt(96 / n)


def test_tails_beyond_the_widest_layer_have_their_chance():
    numbers = drawn(streams(12, 0, 2000), 2000).ravel()
    for level in (2.5, 3.3, 3.66, 4.0):
        expected = stats.norm.sf(level) * len(numbers)
        for found in ((numbers > level).sum(), (numbers < -level).sum()):
            assert abs(found - expected) < 5 * np.sqrt(expected), level


def test_streams_of_instances_seeds_and_uses_are_unrelated():
    keys = np.concatenate([streams(seed, salt, 500) for seed in (1, 2) for salt in (0, 1, 2)])
    assert len(np.unique(keys)) == len(keys)
    numbers = drawn(keys, 400)
    assert np.abs(np.corrcoef(numbers) - np.eye(len(keys))).max() < 6 / np.sqrt(400)
    lagged = [np.corrcoef(numbers[:, k], numbers[:, k + 1])[0, 1] for k in range(399)]
    assert np.abs(lagged).max() < 5 / np.sqrt(len(keys))

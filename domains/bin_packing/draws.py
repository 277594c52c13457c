"""Random numbers inside compiled code: a generator whose whole state is one number, so that it can be keyed."""

import math

import numpy as np
from numba import njit

_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, inline="always")
def _mix(value):
    """Finaliser of the SplitMix64 generator (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _MULTIPLIER_1
    value = (value ^ (value >> np.uint64(27))) * _MULTIPLIER_2
    return value ^ (value >> np.uint64(31))


@njit(cache=True)
def keyed(seed, index, salt):
    """State ``(1,)`` of a generator that belongs to an instance of a seed, and to one use of it (``salt``)."""
    state = np.empty(1, np.uint64)
    state[0] = _mix(np.uint64(seed) + _INCREMENT) ^ _mix(
        np.uint64(index) * np.uint64(2) + np.uint64(salt + 1) * _INCREMENT
    )
    return state


@njit(cache=True, inline="always")
def below(state, bound):
    """Uniform integer in ``[0, bound)``; the state advances."""
    state[0] += _INCREMENT
    return np.int64(((_mix(state[0]) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True)
def uniform(state):
    """Uniform number in ``(0, 1]``; the state advances."""
    state[0] += _INCREMENT
    return ((_mix(state[0]) >> np.uint64(11)) + np.uint64(1)) / 2.0**53


@njit(cache=True)
def normal(state):
    """Standard normal number (Box and Muller 1958); the state advances twice."""
    radius = math.sqrt(-2.0 * math.log(uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@njit(cache=True)
def choose(state, chances):
    """Index drawn with the given chances, which sum to 1; the state advances."""
    left = uniform(state)
    for k in range(len(chances) - 1):
        left -= chances[k]
        if left <= 0:
            return k
    return len(chances) - 1

"""Random numbers inside compiled code: a generator whose whole state is one number, so that it can be keyed."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)

_LAYERS = 256
_TAIL = 3.6541528853610088
_AREA = 0.00492867323399


def _edges() -> NDArray[np.float64]:
    """Right edges of the layers of equal area under the normal density, the widest first."""
    x = np.zeros(_LAYERS + 1)
    density = math.exp(-0.5 * _TAIL**2)
    x[0], x[1] = _AREA / density, _TAIL
    for i in range(2, _LAYERS):
        x[i] = math.sqrt(-2.0 * math.log(_AREA / x[i - 1] + density))
        density = math.exp(-0.5 * x[i] ** 2)
    return x


_EDGES = _edges()
_INSIDE = _EDGES[1:] / _EDGES[:-1]


@njit(cache=True, inline="always")
def _mix(value):
    """Finaliser of the SplitMix64 generator (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _MULTIPLIER_1
    value = (value ^ (value >> np.uint64(27))) * _MULTIPLIER_2
    return value ^ (value >> np.uint64(31))


@njit(cache=True)
def keyed(seed, index, salt):
    """State (a uint64) of a generator that belongs to an instance of a seed, and to one use of it (``salt``)."""
    return _mix(np.uint64(seed) + _INCREMENT) ^ _mix(np.uint64(index) * np.uint64(2) + np.uint64(salt + 1) * _INCREMENT)


@njit(cache=True, inline="always")
def uniform(states, row):
    """Uniform number in ``(0, 1]``; the state of the row advances."""
    states[row] += _INCREMENT
    return ((_mix(states[row]) >> np.uint64(11)) + np.uint64(1)) / 2.0**53


@njit(cache=True)
def _outside(states, row, layer, u):
    """A normal number from the tail or the wedge of a layer; NaN where the draw is rejected."""
    if layer == 0:
        while True:
            x = -math.log(uniform(states, row)) / _TAIL
            if -2.0 * math.log(uniform(states, row)) > x * x:
                return math.copysign(_TAIL + x, u)
    x = u * _EDGES[layer]
    low = math.exp(-0.5 * (_EDGES[layer] ** 2 - x * x))
    high = math.exp(-0.5 * (_EDGES[layer + 1] ** 2 - x * x))
    return x if high + uniform(states, row) * (low - high) < 1.0 else math.nan


@njit(cache=True, inline="always")
def normal(states, row):
    """Standard normal number by the ziggurat of Marsaglia and Tsang (2000); the state of the row advances.

    Layer and position come from different bits of a draw, as Doornik (2005) asks for.
    """
    while True:
        states[row] += _INCREMENT
        bits = _mix(states[row])
        layer = np.int64(bits & np.uint64(255))
        u = 2.0 * ((bits >> np.uint64(11)) / 2.0**53) - 1.0
        if abs(u) < _INSIDE[layer]:
            return u * _EDGES[layer]
        x = _outside(states, row, layer, u)
        if not math.isnan(x):
            return x

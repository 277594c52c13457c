"""Item sequences, generated: every instance is a pure function of (stream, seed, index).

RS draws items independently and uniformly. The cutting streams cut the full bin into items and order the pieces so that
they can be packed back perfectly: CUT-1 by the height of their floor, CUT-2 by stacking dependency (a piece may come as
soon as everything under it is there). Source: Zhao et al., AAAI 2021, section 4. Names follow the paper; the code
published with it has the two training switches the other way round.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

STREAMS = {"rs": 0, "cut1": 1, "cut2": 2}
"""Codes of the streams in compiled code; 3 stands for the user's own sequences."""
DATA_STREAM = 3

_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, inline="always")
def _mix(value):
    """Finaliser of the SplitMix64 generator (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _MULTIPLIER_1
    value = (value ^ (value >> np.uint64(27))) * _MULTIPLIER_2
    return value ^ (value >> np.uint64(31))


@njit(cache=True, inline="always")
def _below(state, bound):
    """Uniform integer in ``[0, bound)`` from the generator state ``(1,)``, which advances."""
    state[0] += _INCREMENT
    return np.int64(((_mix(state[0]) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True)
def _cut(state, size_x, size_y, size_z, low, high, pieces):
    """Cut until every side is at most ``high``; rows of ``pieces`` are (l, w, h, x, y, z). Returns their number."""
    pieces[0, 0], pieces[0, 1], pieces[0, 2] = size_x, size_y, size_z
    pieces[0, 3:] = 0
    count, done = 1, 0
    while done < count:
        piece = pieces[done]
        long_axes = int(piece[0] > high) + int(piece[1] > high) + int(piece[2] > high)
        if long_axes == 0:
            done += 1
            continue
        pick = _below(state, long_axes)
        axis = 0
        for candidate in range(3):
            if piece[candidate] > high:
                if pick == 0:
                    axis = candidate
                    break
                pick -= 1
        cut = low + _below(state, piece[axis] - 2 * low + 1)
        pieces[count] = piece
        pieces[count, axis] = piece[axis] - cut
        pieces[count, 3 + axis] = piece[3 + axis] + cut
        piece[axis] = cut
        count += 1
    return count


@njit(cache=True, inline="always")
def _rests_on(upper, lower):
    """Whether the floor of one piece touches the top of the other."""
    return (
        lower[5] + lower[2] == upper[5]
        and lower[3] < upper[3] + upper[0]
        and upper[3] < lower[3] + lower[0]
        and lower[4] < upper[4] + upper[1]
        and upper[4] < lower[4] + lower[1]
    )


@njit(cache=True)
def _order_by_floor(state, pieces, count, order):
    """CUT-1: ascending floor height, ties in random order."""
    for i in range(count):
        order[i] = i
    for i in range(count - 1, 0, -1):
        j = _below(state, i + 1)
        order[i], order[j] = order[j], order[i]
    for i in range(1, count):
        moving = order[i]
        j = i
        while j > 0 and pieces[order[j - 1], 5] > pieces[moving, 5]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = moving


@njit(cache=True)
def _order_by_stacking(state, pieces, count, order):
    """CUT-2: uniformly among the pieces whose supports have all been emitted.

    The pieces fill the bin, so "the whole footprint is at the height of its floor" means just that.
    """
    waiting = np.zeros(count, np.int64)
    for upper in range(count):
        if pieces[upper, 5] > 0:
            for lower in range(count):
                waiting[upper] += _rests_on(pieces[upper], pieces[lower])
    ready = np.empty(count, np.int64)
    available = 0
    for i in range(count):
        if waiting[i] == 0:
            ready[available] = i
            available += 1
    for position in range(count):
        pick = _below(state, available)
        chosen = ready[pick]
        available -= 1
        ready[pick] = ready[available]
        order[position] = chosen
        for upper in range(count):
            if waiting[upper] > 0 and _rests_on(pieces[upper], pieces[chosen]):
                waiting[upper] -= 1
                if waiting[upper] == 0:
                    ready[available] = upper
                    available += 1


@njit(cache=True)
def generate(stream, seed, index, size_x, size_y, size_z, low, high, items, scratch):
    """Write the items of one instance; returns how many there are.

    Args:
        stream: a code of ``STREAMS``.
        seed: of the instance stream (unsigned 64 bit).
        index: of the instance.
        size_x: cells of the bin along x.
        size_y: cells of the bin along y.
        size_z: cells of the bin along z.
        low: smallest side of an item.
        high: largest side of an item.
        items: int16 ``(M, 3)``, overwritten from the front.
        scratch: int16 ``(M, 7)``; after a cutting stream its rows hold (l, w, h, x, y, z) of the pieces and, in
            column 6, the piece that came at each position.
    """
    state = np.empty(1, np.uint64)
    state[0] = _mix(np.uint64(seed) + _INCREMENT) ^ _mix(
        np.uint64(index) * np.uint64(2) + np.uint64(stream + 1) * _INCREMENT
    )
    if stream == 0:
        for k in range(items.shape[0]):
            for axis in range(3):
                items[k, axis] = low + _below(state, high - low + 1)
        return items.shape[0]
    count = _cut(state, size_x, size_y, size_z, low, high, scratch[:, :6])
    order = np.empty(count, np.int64)
    if stream == 1:
        _order_by_floor(state, scratch, count, order)
    else:
        _order_by_stacking(state, scratch, count, order)
    for position in range(count):
        items[position] = scratch[order[position], :3]
        scratch[position, 6] = order[position]
    return count


def capacity(size_x: int, size_y: int, size_z: int, low: int) -> int:
    """Most items a sequence can hold: one more than can fit, so that an RS sequence never runs out."""
    return (size_x // low) * (size_y // low) * (size_z // low) + 1


def sequences(
    stream: str, count: int, *, seed: int, size: tuple[int, int, int], low: int, high: int, first: int = 0
) -> tuple[Array, Array, Array]:
    """Generate many instances with their recorded perfect positions.

    Args:
        stream: ``rs``, ``cut1`` or ``cut2``.
        count: number of sequences.
        seed: of the instance stream.
        size: (length, width, height) of the bin in cells.
        low: smallest side of an item.
        high: largest side of an item.
        first: index of the first instance.

    Returns:
        items int16 ``(count, M, 3)``; lengths int32 ``(count,)``; positions int16 ``(count, M, 3)``, the (x, y, z) at
        which the pieces fill the bin (-1 for RS, which has none).
    """
    room = capacity(*size, low)
    items = np.zeros((count, room, 3), np.int16)
    positions = np.full((count, room, 3), -1, np.int16)
    lengths = np.zeros(count, np.int32)
    _fill(STREAMS[stream], seed, first, *size, low, high, items, lengths, positions)
    return items, lengths, positions


@njit(cache=True)
def _fill(stream, seed, first, size_x, size_y, size_z, low, high, items, lengths, positions):
    scratch = np.empty((items.shape[1], 7), np.int16)
    for k in range(items.shape[0]):
        lengths[k] = generate(stream, seed, first + k, size_x, size_y, size_z, low, high, items[k], scratch)
        if stream != 0:
            for position in range(lengths[k]):
                positions[k, position] = scratch[scratch[position, 6], 3:6]

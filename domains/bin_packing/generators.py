"""Item sequences, generated: every instance is a pure function of (stream, seed, index).

RS draws items independently and uniformly. The cutting streams cut the full bin into items and order the pieces so that
they can be packed back perfectly: CUT-1 by the height of their floor, CUT-2 by stacking dependency (a piece may come as
soon as everything under it is there). For several open bins whose number is a square, the block of these bins side by
side is cut as one; blocks follow one another until they hold the bins of an episode. Source: Zhao et al., AAAI 2021,
section 4. Names follow the paper; the code published with it has the two training switches the other way round.

``largest_first`` and ``largest_last`` are the sequences of CUT-2 with the largest quarter of the items moved to the
front or the end; ``picks`` is in ``picks.py``.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.draws import below, keyed, uniform
from interlock.domains.bin_packing.picks import draw_picks, most_boxes
from interlock.domains.bin_packing.scenario import BinPackingScenario, BinSettings, Stream

Array = NDArray[Any]

STREAMS: dict[Stream, int] = {"rs": 0, "cut1": 1, "cut2": 2, "largest_first": 4, "largest_last": 5, "picks": 6}
"""Codes of the streams in compiled code; 3 stands for the user's own sequences."""
DATA_STREAM = 3

_RS, _CUT1, _CUT2, _LARGEST_FIRST, _PICKS = 0, 1, 2, 4, 6
_DENSITIES = 16
"""Key of the random numbers that weights are drawn with: another than those of any stream."""

_CM_PER_UNIT = {"mm": 0.1, "cm": 1.0, "m": 100.0}


class Source(NamedTuple):
    """What generated instances are drawn from, for compiled code.

    Attributes:
        streams: int64 ``(s,)``: instance ``k`` is one of stream ``streams[k % s]``.
        seed: uint64, of the instance stream.
        size: (length, width, height) of a bin, cells.
        low: smallest side of an item.
        high: largest side of an item.
        block: bins along x, and along y, of the block that is cut as one.
        blocks: blocks that follow one another.
        bins: bins of an episode.
        cells_per_cm: for ``picks``; 0 where a cell has no size.
        density: kg per cell, least and most; (0, 0): one kg per cell, or for ``picks`` what its products weigh.
    """

    streams: Array
    seed: np.uint64
    size: tuple[int, int, int]
    low: int
    high: int
    block: int
    blocks: int
    bins: int
    cells_per_cm: float
    density: tuple[float, float]


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
        pick = below(state, long_axes)
        axis = 0
        for candidate in range(3):
            if piece[candidate] > high:
                if pick == 0:
                    axis = candidate
                    break
                pick -= 1
        cut = low + below(state, piece[axis] - 2 * low + 1)
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
        j = below(state, i + 1)
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
        pick = below(state, available)
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
def _cut_blocks(state, source, by_floor, items, scratch):
    """Cut block after block and write the pieces in order; returns how many there are."""
    size_x, size_y, size_z = source.size
    count = 0
    for _ in range(source.blocks):
        pieces = scratch[count:, :6]
        found = _cut(state, source.block * size_x, source.block * size_y, size_z, source.low, source.high, pieces)
        order = np.empty(found, np.int64)
        if by_floor:
            _order_by_floor(state, pieces, found, order)
        else:
            _order_by_stacking(state, pieces, found, order)
        for position in range(found):
            items[count + position] = pieces[order[position], :3]
            scratch[count + position, 6] = count + order[position]
        count += found
    return count


@njit(cache=True)
def _move_largest(items, count, to_front):
    """Move the largest quarter of the items to the front or the end; the order is kept within either part."""
    volumes = np.empty(count, np.int64)
    for k in range(count):
        volumes[k] = int(items[k, 0]) * int(items[k, 1]) * int(items[k, 2])
    ranked = np.argsort(-volumes, kind="mergesort")
    large = np.zeros(count, np.bool_)
    large[ranked[: count // 4]] = True
    before = items[:count].copy()
    position = 0
    for part in range(2):
        for k in range(count):
            if large[k] == (to_front == (part == 0)):
                items[position] = before[k]
                position += 1


@njit(cache=True)
def generate(source, index, items, weights, scratch):
    """Write the items of one instance; returns how many there are.

    Args:
        source: a ``Source``.
        index: of the instance.
        items: int16 ``(M, 3)``, overwritten from the front.
        weights: float64 ``(M,)``, kg, overwritten from the front.
        scratch: int16 ``(M, 7)``; after a cutting stream its rows hold (l, w, h, x, y, z) of the pieces within their
            block and, in column 6, the piece that came at each position.
    """
    stream = source.streams[index % len(source.streams)]
    cuts = stream != _RS and stream != _PICKS
    state = keyed(source.seed, index, min(stream, _CUT2) if cuts else stream)
    count = items.shape[0]
    if stream == _RS:
        for k in range(count):
            for axis in range(3):
                items[k, axis] = source.low + below(state, source.high - source.low + 1)
    elif stream == _PICKS:
        volume = source.bins * source.size[0] * source.size[1] * source.size[2]
        count = draw_picks(state, source.cells_per_cm, source.low, source.high, volume, items, weights)
    else:
        count = _cut_blocks(state, source, stream == _CUT1, items, scratch)
        if stream > _CUT2:
            _move_largest(items, count, stream == _LARGEST_FIRST)
    least, most = source.density
    if most > 0.0:
        state = keyed(source.seed, index, _DENSITIES)
    if most > 0.0 or stream != _PICKS:
        for k in range(count):
            density = least + (most - least) * uniform(state) if most > 0.0 else 1.0
            weights[k] = density * items[k, 0] * items[k, 1] * items[k, 2]
    return count


def block_of(bins: int) -> int:
    """Bins along a side of the block that is cut as one: the root of their number, or 1 if that is not whole."""
    side = math.isqrt(bins)
    return side if side * side == bins else 1


def source_of(scenario: BinPackingScenario, seed: int, streams: tuple[Stream, ...] | None = None) -> Source:
    """What a scenario's instances are drawn from.

    Args:
        scenario: the numbers.
        seed: of the instance stream, unsigned 64 bit.
        streams: played in turn; default: the scenario's one.
    """
    bin_, items = scenario.bin, scenario.items
    bins, block = scenario.bins(), block_of(bin_.open)
    return Source(
        streams=np.array([STREAMS[name] for name in streams or (scenario.stream,)], np.int64),
        seed=np.uint64(seed),
        size=(bin_.length, bin_.width, bin_.height),
        low=items.low,
        high=items.high,
        block=block,
        blocks=-(-bins // block**2),
        bins=bins,
        cells_per_cm=cells_per_cm(bin_),
        density=(0.0, 0.0) if items.density is None else items.density,
    )


def cells_per_cm(size: BinSettings) -> float:
    """Grid cells per centimetre; 0 where a cell has no size."""
    return 0.0 if size.unit == "cell" else 1.0 / (_CM_PER_UNIT[size.unit] * size.cell_size)


def capacity(size_x: int, size_y: int, size_z: int, low: int, *, block: int = 1, blocks: int = 1) -> int:
    """Most items a sequence can hold: one more than can fit, so that an RS sequence never runs out."""
    return blocks * (block * size_x // low) * (block * size_y // low) * (size_z // low) + 1


def room_of(source: Source) -> int:
    """Most items of an instance."""
    volume = source.bins * source.size[0] * source.size[1] * source.size[2]
    picks = most_boxes(volume, source.cells_per_cm, source.low, source.high) if _PICKS in source.streams else 0
    others = capacity(*source.size, source.low, block=source.block, blocks=source.blocks)
    return max(picks, others) if (source.streams != _PICKS).any() else picks


def instances(source: Source, count: int, first: int = 0) -> tuple[Array, Array, Array, Array]:
    """Generate many instances.

    Args:
        source: what they are drawn from.
        count: how many.
        first: index of the first one.

    Returns:
        items int16 ``(count, M, 3)``; lengths int32 ``(count,)``; positions int16 ``(count, M, 3)``, the (x, y, z) at
        which the pieces of CUT-1 and CUT-2 fill their block (-1 for other streams); weights float64 ``(count, M)``, kg.
    """
    room = room_of(source)
    items = np.zeros((count, room, 3), np.int16)
    positions = np.full((count, room, 3), -1, np.int16)
    weights, lengths = np.zeros((count, room)), np.zeros(count, np.int32)
    _fill(source, first, items, lengths, positions, weights)
    return items, lengths, positions, weights


def sequences(
    stream: Stream, count: int, *, seed: int, size: tuple[int, int, int], low: int, high: int, first: int = 0
) -> tuple[Array, Array, Array]:
    """Generate many instances of one bin with their recorded perfect positions; see ``instances``."""
    source = Source(np.array([STREAMS[stream]], np.int64), np.uint64(seed), size, low, high, 1, 1, 1, 0.0, (0.0, 0.0))
    items, lengths, positions, _ = instances(source, count, first)
    return items, lengths, positions


@njit(cache=True)
def _fill(source, first, items, lengths, positions, weights):
    scratch = np.empty((items.shape[1], 7), np.int16)
    for k in range(items.shape[0]):
        lengths[k] = generate(source, first + k, items[k], weights[k], scratch)
        stream = source.streams[(first + k) % len(source.streams)]
        if stream in (_CUT1, _CUT2):
            for position in range(lengths[k]):
                positions[k, position] = scratch[scratch[position, 6], 3:6]

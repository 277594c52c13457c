"""Whole episodes as compiled kernels: open bins, boxes held, loads, what ends an episode, and what each step costs.

A row has ``B`` open bins and holds up to ``b`` boxes, any of which may be set down next in any open bin. Action
``a = ((bin * b + which) * O + o) * L * W + x * W + y``: open bin, position among the held boxes, orientation and
front-left-bottom corner (see ``model.py`` for the rule of a placement); with one bin and one box held this is the index
of ``model.py``. Setting down the held box ``which`` moves those behind it forward by one; the next of the sequence
joins at the end.

An episode has ``M >= B`` bins. Where no held box has a feasible placement in any open bin, the fullest open bin is
closed and an empty one takes its place, until ``M`` bins have been opened; after that the episode ends (blocked). It
also ends by an infeasible action (illegal: nothing is placed), and when every box of the sequence is placed
(exhausted). Reward: 10 x volume of the placed box / volume of the ``M`` bins.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.generators import DATA_STREAM, generate
from interlock.domains.bin_packing.model import mask_one, place_one
from interlock.domains.bin_packing.orientation import sides
from interlock.domains.bin_packing.stacking import stacking_mask

Array = NDArray[Any]

BLOCKED, ILLEGAL, EXHAUSTED = 1, 2, 3
"""Why an episode ended."""

_SLACK = 1 + 1e-9
"""A load may exceed its limit by this factor: sums of floating-point weights are not exact."""


class Rules(NamedTuple):
    """The numbers of a scenario, for compiled code.

    Attributes:
        ceiling: height of a bin, cells.
        orientations: 1, 2 or 6.
        thresholds: of the support rule, in 1/10,000.
        bins: bins of an episode.
        max_weight: of a bin, kg; infinite for no limit.
        crush_factor: a box carries at most this many times its own weight; infinite for no limit.
        stacking: whether centres of mass must lie above supports.
        crush: whether limits on what a box carries are checked.
        cog_radius: cells that a bin's centre of gravity may be off its axis.
        cog: whether that is measured.
        spread: whether the height spread is measured.
    """

    ceiling: int
    orientations: int
    thresholds: tuple[int, int, int]
    bins: int
    max_weight: float
    crush_factor: float
    stacking: bool
    crush: bool
    cog_radius: float
    cog: bool
    spread: bool


class Data(NamedTuple):
    """The user's own sequences; one empty one where boxes are generated.

    Attributes:
        items: int16 ``(N, M, 3)``, sides in cells.
        lengths: int32 ``(N,)``.
        weights: float64 ``(N, M)``, kg.
        limits: float64 ``(N, M)``, what a box may carry, kg; NaN: ``crush_factor`` decides.
        upright: bool ``(N, M)``, whether the height must point up.
    """

    items: Array
    lengths: Array
    weights: Array
    limits: Array
    upright: Array


class Rows(NamedTuple):
    """The state of a batch; everything that an episode needs to go on.

    Attributes:
        heights: int16 ``(n, B, L, W)``.
        items: int16 ``(n, M, 3)``, the sequence of the row.
        weights: float64 ``(n, M)``, kg.
        limits: float64 ``(n, M)``, what each box may carry, kg.
        upright: bool ``(n, M)``.
        lengths: int32 ``(n,)``, boxes in the sequence.
        held: int32 ``(n, b)``, positions in the sequence of the boxes held; -1 where there is none.
        following: int32 ``(n,)``, position of the next box to join them.
        placed: int32 ``(n,)``.
        volume: int64 ``(n,)``, of all boxes placed in the episode, cells.
        opened: int32 ``(n,)``, bins opened in the episode.
        instance: int64 ``(n,)``.
        loads: float64 ``(n, B, 4)``: of each open bin the volume, weight and the moments of the weight about x = 0 and
            y = 0.
        packed: int16 ``(n, B, P, 6)``, boxes in each open bin: x, y, z and the sides along x, y, z; ``P`` is 0 where
            no rule asks for them.
        packed_weights: float64 ``(n, B, P)``.
        packed_limits: float64 ``(n, B, P)``.
        counts: int32 ``(n, B)``, boxes in each open bin.
        masks: bool ``(n, A)``.
    """

    heights: Array
    items: Array
    weights: Array
    limits: Array
    upright: Array
    lengths: Array
    held: Array
    following: Array
    placed: Array
    volume: Array
    opened: Array
    instance: Array
    loads: Array
    packed: Array
    packed_weights: Array
    packed_limits: Array
    counts: Array
    masks: Array


class Outcome(NamedTuple):
    """What a step wrote per row.

    Attributes:
        reward: float64 ``(n,)``.
        unsupported: float64 ``(n,)``, share of the footprint without support.
        off_centre: float64 ``(n,)``, bins closed in this step whose centre of gravity is too far off the axis.
        spread: float64 ``(n,)``, (highest - mean of the height map) / height of the bin that took the box.
        ended: int8 ``(n,)``, 0 or a reason.
        placed: int32 ``(n,)``, boxes placed in the episode so far.
        opened: int32 ``(n,)``, bins opened in the episode so far.
        volume: int64 ``(n,)``, cells placed in the episode so far.
        played: int64 ``(n,)``, instance of this step.
    """

    reward: Array
    unsupported: Array
    off_centre: Array
    spread: Array
    ended: Array
    placed: Array
    opened: Array
    volume: Array
    played: Array


def blank(n: int) -> Outcome:
    """Room for what a step writes."""
    return Outcome(
        reward=np.empty(n),
        unsupported=np.empty(n),
        off_centre=np.empty(n),
        spread=np.empty(n),
        ended=np.empty(n, np.int8),
        placed=np.empty(n, np.int32),
        opened=np.empty(n, np.int32),
        volume=np.empty(n, np.int64),
        played=np.empty(n, np.int64),
    )


@njit(cache=True)
def _write_masks(r, bin_, rules, rows, row_max):
    """Write the masks of one open bin for every box held; returns the number of feasible placements."""
    size_x, size_y = rows.heights.shape[2:]
    heights, held = rows.heights[r, bin_], rows.held.shape[1]
    entries = rules.orientations * size_x * size_y
    feasible = 0
    for which in range(held):
        first = (bin_ * held + which) * entries
        mask = rows.masks[r, first : first + entries]
        k = rows.held[r, which]
        if k < 0 or rows.loads[r, bin_, 1] + rows.weights[r, k] > rules.max_weight * _SLACK:
            mask[:] = False
            continue
        item, turns = rows.items[r, k], min(2, rules.orientations) if rows.upright[r, k] else rules.orientations
        found = mask_one(heights, item, turns, rules.ceiling, rules.thresholds, row_max, mask)
        if found > 0 and (rules.stacking or rules.crush):
            found = stacking_mask(
                heights,
                item,
                turns,
                rows.packed[r, bin_],
                rows.packed_weights[r, bin_],
                rows.packed_limits[r, bin_],
                rows.counts[r, bin_],
                rows.weights[r, k],
                rules.stacking,
                rules.crush,
                mask,
            )
        feasible += found
    return feasible


@njit(cache=True)
def _empty(r, bin_, rows):
    rows.heights[r, bin_] = 0
    rows.loads[r, bin_] = 0.0
    rows.counts[r, bin_] = 0


@njit(cache=True)
def start(r, index, source, data, rules, rows, row_max, scratch):
    """Begin instance ``index`` in row ``r``: its boxes, empty bins, the first masks."""
    if source.streams[0] == DATA_STREAM:
        k = index % data.lengths.shape[0]
        count = data.lengths[k]
        rows.items[r, :count] = data.items[k, :count]
        rows.weights[r, :count] = data.weights[k, :count]
        rows.upright[r, :count] = data.upright[k, :count]
    else:
        count = generate(source, index, rows.items[r], rows.weights[r], scratch)
    if rules.crush:
        for i in range(count):
            rows.limits[r, i] = rules.crush_factor * rows.weights[r, i]
        if source.streams[0] == DATA_STREAM:
            for i in range(count):
                if not np.isnan(data.limits[index % data.lengths.shape[0], i]):
                    rows.limits[r, i] = data.limits[index % data.lengths.shape[0], i]
    rows.lengths[r] = count
    held = rows.held.shape[1]
    for which in range(held):
        rows.held[r, which] = which if which < count else -1
    rows.following[r] = min(held, count)
    rows.placed[r], rows.volume[r], rows.opened[r] = 0, 0, rows.heights.shape[1]
    rows.instance[r] = index
    for bin_ in range(rows.heights.shape[1]):
        _empty(r, bin_, rows)
        _write_masks(r, bin_, rules, rows, row_max)


@njit(cache=True)
def _off_centre(r, bin_, rules, rows):
    """1 if the centre of gravity of an open bin is too far off its axis, else 0; 0 for an empty bin."""
    weight = rows.loads[r, bin_, 1]
    if weight <= 0.0:
        return 0
    x = rows.loads[r, bin_, 2] / weight - rows.heights.shape[2] / 2.0
    y = rows.loads[r, bin_, 3] / weight - rows.heights.shape[3] / 2.0
    return int(x * x + y * y > (rules.cog_radius * _SLACK) ** 2)


@njit(cache=True)
def _place(r, action, rules, rows, out):
    """Set down a box by a feasible action; returns the open bin that took it."""
    size_x, size_y = rows.heights.shape[2:]
    cells, held = size_x * size_y, rows.held.shape[1]
    entries = rules.orientations * cells
    bin_, which, within = action // (held * entries), action // entries % held, action % entries
    heights, k = rows.heights[r, bin_], rows.held[r, which]
    item, weight = rows.items[r, k], rows.weights[r, k]
    z, count = place_one(heights, item, within)
    length, width, height = sides(item, within // cells)
    x, y = within % cells // size_y, within % size_y
    volume = int(length) * int(width) * int(height)
    out.reward[r] = 10.0 * volume / (rules.bins * cells * rules.ceiling)
    out.unsupported[r] = 1.0 - count / (int(length) * int(width))
    load = rows.loads[r, bin_]
    load[0] += volume
    load[1] += weight
    load[2] += weight * (x + length / 2.0)
    load[3] += weight * (y + width / 2.0)
    if rules.stacking or rules.crush:
        position = rows.counts[r, bin_]
        box = rows.packed[r, bin_, position]
        box[0], box[1], box[2], box[3], box[4], box[5] = x, y, z, length, width, height
        rows.packed_weights[r, bin_, position] = weight
        rows.packed_limits[r, bin_, position] = rows.limits[r, k]
    if rules.spread:
        out.spread[r] = (heights.max() - heights.sum() / cells) / rules.ceiling
    rows.counts[r, bin_] += 1
    rows.placed[r] += 1
    rows.volume[r] += volume
    for later in range(which, held - 1):
        rows.held[r, later] = rows.held[r, later + 1]
    if rows.following[r] < rows.lengths[r]:
        rows.held[r, held - 1] = rows.following[r]
        rows.following[r] += 1
    else:
        rows.held[r, held - 1] = -1
    return bin_


@njit(cache=True)
def _renew(r, rules, rows, row_max, out):
    """Write the masks of all open bins, replacing the fullest while no box fits; whether some box fits."""
    feasible = 0
    for bin_ in range(rows.heights.shape[1]):
        feasible += _write_masks(r, bin_, rules, rows, row_max)
    while feasible == 0 and rows.opened[r] < rules.bins:
        fullest = 0
        for bin_ in range(1, rows.heights.shape[1]):
            if rows.loads[r, bin_, 0] > rows.loads[r, fullest, 0]:
                fullest = bin_
        if rules.cog:
            out.off_centre[r] += _off_centre(r, fullest, rules, rows)
        _empty(r, fullest, rows)
        rows.opened[r] += 1
        feasible = _write_masks(r, fullest, rules, rows, row_max)
    return feasible > 0


@njit(cache=True)
def step(actions, next_index, source, data, rules, rows, row_max, scratch, out):
    """Apply one action per row; rows that end restart at once. Returns the next instance index."""
    for r in range(rows.heights.shape[0]):
        action = actions[r]
        out.played[r] = rows.instance[r]
        out.reward[r], out.unsupported[r], out.off_centre[r], out.spread[r] = 0.0, 0.0, 0.0, 0.0
        out.ended[r] = 0
        if action < 0 or action >= rows.masks.shape[1] or not rows.masks[r, action]:
            out.ended[r] = ILLEGAL
        else:
            _place(r, action, rules, rows, out)
            if rows.held[r, 0] < 0:
                out.ended[r] = EXHAUSTED
            elif not _renew(r, rules, rows, row_max, out):
                out.ended[r] = BLOCKED
        out.placed[r], out.opened[r], out.volume[r] = rows.placed[r], rows.opened[r], rows.volume[r]
        if out.ended[r] != 0:
            if rules.cog:
                for bin_ in range(rows.heights.shape[1]):
                    out.off_centre[r] += _off_centre(r, bin_, rules, rows)
            start(r, next_index, source, data, rules, rows, row_max, scratch)
            next_index += 1
    return next_index


@njit(cache=True)
def show(rows, items, weights):
    """Write what a policy sees of the boxes: those held, then those that follow; zeros beyond the end.

    Args:
        rows: the state.
        items: int16 ``(n, K, 3)``, overwritten.
        weights: float32 ``(n, K)``, kg, overwritten; of length 0 where weights are not shown.
    """
    held = rows.held.shape[1]
    for r in range(items.shape[0]):
        for k in range(items.shape[1]):
            position = rows.held[r, k] if k < held else rows.following[r] + k - held
            there = 0 <= position < rows.lengths[r]
            for axis in range(3):
                items[r, k, axis] = rows.items[r, position, axis] if there else 0
            if len(weights):
                weights[r, k] = rows.weights[r, position] if there else 0.0

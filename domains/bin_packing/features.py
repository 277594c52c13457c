"""Twelve features of a placement and of the height map it leaves: the input of scoring rules and scorer networks.

They are cheap to compute, independent of the size of the bin up to scale, and say what packers look at: waste under the
box, contact, level tops, and how many level squares remain for the boxes to come.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.orientation import sides

Array = NDArray[Any]

FEATURES = (
    "lost volume under the box [4 cells]",
    "share of the side faces that touch a wall or a neighbour",
    "share of the perimeter whose neighbour is level with the new top",
    "share of the perimeter on a wall",
    "new top / bin height",
    "height steps between adjacent cells afterwards [20]",
    "cells in one-wide pits afterwards [10]",
    "cells with one level left below the ceiling afterwards [10]",
    "level 2 x 2 squares with 2 levels of headroom afterwards [50]",
    "level 3 x 3 squares with 3 levels of headroom afterwards [50]",
    "level 4 x 4 squares with 4 levels of headroom afterwards [50]",
    "level 5 x 5 squares with 5 levels of headroom afterwards [50]",
)


# Columns of the prefix sums over a height map.
_COUNTS = 8
_STEPS_X, _STEPS_Y, _PITS, _NEARLY_FULL, _FLAT = 0, 1, 2, 3, 4  # four columns from _FLAT on, for sides 2 to 5
_LARGEST_FLAT = 5


@njit(cache=True, inline="always")
def _is_pit(padded, i, j):
    """Whether a cell (in padded coordinates) is lower than both its neighbours along an axis."""
    top = padded[i, j]
    return ((padded[i - 1, j] > top) & (padded[i + 1, j] > top)) | ((padded[i, j - 1] > top) & (padded[i, j + 1] > top))


@njit(cache=True, inline="always")
def _flat_side(padded, square, i, j):
    """Side of the largest level square (at most 5) whose last corner is a cell, given those before it."""
    top = padded[i, j]
    if (padded[i - 1, j] != top) | (padded[i, j - 1] != top) | (padded[i - 1, j - 1] != top):
        return 1
    return min(_LARGEST_FLAT, 1 + min(square[i - 1, j], square[i, j - 1], square[i - 1, j - 1]))


@njit(cache=True)
def _count_map(heights, padded, ceiling, square, square_before, sums):
    """Describe a height map once, so that a placement only has to recount what it changes.

    Args:
        heights: int16 ``(L, W)``.
        padded: int16 ``(L + 2, W + 2)``, overwritten with the map inside its border of walls at the ceiling.
        ceiling: height of the bin.
        square: int16 ``(L + 1, W + 1)``, first row and column 0; overwritten with the flat sides.
        square_before: the same.
        sums: int32 ``(L + 2, W + 2, 8)``, first row and column 0; overwritten with inclusive prefix sums of: steps
            towards x - 1, steps towards y - 1, pits, cells one below the ceiling, level squares of side 2, 3, 4, 5.
    """
    size_x, size_y = heights.shape
    for i in range(size_x):
        for j in range(size_y):
            padded[i + 1, j + 1] = heights[i, j]
    for i in range(1, size_x + 1):
        for j in range(1, size_y + 1):
            top = padded[i, j]
            square[i, j] = square_before[i, j] = _flat_side(padded, square, i, j)
            side = min(square[i, j], ceiling - top)
            for k in range(_COUNTS):
                sums[i, j, k] = sums[i - 1, j, k] + sums[i, j - 1, k] - sums[i - 1, j - 1, k]
            sums[i, j, _STEPS_X] += (i > 1) & (padded[i - 1, j] != top)
            sums[i, j, _STEPS_Y] += (j > 1) & (padded[i, j - 1] != top)
            sums[i, j, _PITS] += _is_pit(padded, i, j)
            sums[i, j, _NEARLY_FULL] += top == ceiling - 1
            for k in range(2, _LARGEST_FLAT + 1):
                sums[i, j, _FLAT + k - 2] += side >= k


@njit(cache=True, inline="always")
def _window(sums, k, i0, i1, j0, j1):
    """Sum of one column over cells ``i0 .. i1`` x ``j0 .. j1`` (padded coordinates, inclusive)."""
    return sums[i1, j1, k] - sums[i0 - 1, j1, k] - sums[i1, j0 - 1, k] + sums[i0 - 1, j0 - 1, k]


@njit(cache=True, inline="always")
def _around(padded, i0, i1, j0, j1, z, top, out):
    """Features 2 to 4 from the cells around a footprint; returns the number of new steps there and of new pits."""
    size_x, size_y = padded.shape[0] - 2, padded.shape[1] - 2
    touching, level, wall, pits = 0, 0, 0, 0
    for side in range(2):
        i = i0 - 1 if side == 0 else i1 + 1
        if i < 1 or i > size_x:
            wall += j1 - j0 + 1
        else:
            for j in range(j0, j1 + 1):
                touching += max(0, min(padded[i, j], top) - z)
                level += padded[i, j] == top
                pits += _is_pit(padded, i, j)
        j = j0 - 1 if side == 0 else j1 + 1
        if j < 1 or j > size_y:
            wall += i1 - i0 + 1
        else:
            for i in range(i0, i1 + 1):
                touching += max(0, min(padded[i, j], top) - z)
                level += padded[i, j] == top
                pits += _is_pit(padded, i, j)
    perimeter = 2 * (i1 - i0 + 1 + j1 - j0 + 1)
    box = top - z
    out[1] = (touching + wall * box) / (perimeter * box)
    out[2] = level / perimeter
    out[3] = wall / perimeter
    return perimeter - wall - level, pits


@njit(cache=True, inline="always")
def _pits_before(sums, size_x, size_y, i0, i1, j0, j1):
    """Pits under a footprint and on its four sides, before the placement."""
    pits = _window(sums, _PITS, max(i0 - 1, 1), min(i1 + 1, size_x), j0, j1)
    if j0 > 1:
        pits += _window(sums, _PITS, i0, i1, j0 - 1, j0 - 1)
    if j1 < size_y:
        pits += _window(sums, _PITS, i0, i1, j1 + 1, j1 + 1)
    return pits


@njit(cache=True, inline="always")
def _recount_flats(padded, ceiling, square, sums, i0, i1, j0, j1, out):
    """Features 9 to 12: recount squares ending up to 4 cells behind the footprint; ``square`` keeps the new sides."""
    size_x, size_y = padded.shape[0] - 2, padded.shape[1] - 2
    last_i, last_j = min(size_x, i1 + _LARGEST_FLAT - 1), min(size_y, j1 + _LARGEST_FLAT - 1)
    flat2, flat3, flat4, flat5 = 0, 0, 0, 0
    for i in range(i0, last_i + 1):
        for j in range(j0, last_j + 1):
            side = _flat_side(padded, square, i, j)
            square[i, j] = side
            side = min(side, ceiling - padded[i, j])
            flat2 += side >= 2
            flat3 += side >= 3
            flat4 += side >= 4
            flat5 += side >= 5
    total = sums[size_x, size_y]
    out[8] = (total[_FLAT] - _window(sums, _FLAT, i0, last_i, j0, last_j) + flat2) / 50.0
    out[9] = (total[_FLAT + 1] - _window(sums, _FLAT + 1, i0, last_i, j0, last_j) + flat3) / 50.0
    out[10] = (total[_FLAT + 2] - _window(sums, _FLAT + 2, i0, last_i, j0, last_j) + flat4) / 50.0
    out[11] = (total[_FLAT + 3] - _window(sums, _FLAT + 3, i0, last_i, j0, last_j) + flat5) / 50.0
    return last_i, last_j


@njit(cache=True, inline="always")
def _set_down(padded, i0, i1, j0, j1, height):
    """Raise a footprint to its new top; returns the floor of the box and the sum of the heights below it."""
    z, below = padded[i0, j0], 0
    for i in range(i0, i1 + 1):
        for j in range(j0, j1 + 1):
            z = max(z, padded[i, j])
            below += padded[i, j]
    for i in range(i0, i1 + 1):
        for j in range(j0, j1 + 1):
            padded[i, j] = z + height
    return z, below


@njit(cache=True)
def features_one(heights, item, mask, ceiling, padded, square, square_before, sums, out):
    """Features of every feasible placement of one state; rows of other actions are left at zero.

    Args:
        heights: int16 ``(L, W)``.
        item: int16 ``(3,)``.
        mask: bool ``(A,)``.
        ceiling: height of the bin.
        padded: scratch int16 ``(L + 2, W + 2)`` whose border is at the ceiling.
        square: scratch int16 ``(L + 1, W + 1)`` whose first row and column are 0.
        square_before: the same.
        sums: scratch int32 ``(L + 2, W + 2, 8)`` whose first row and column are 0.
        out: float32 ``(A, 12)``, overwritten.
    """
    size_x, size_y = heights.shape
    cells = size_x * size_y
    out[:] = 0.0
    _count_map(heights, padded, ceiling, square, square_before, sums)
    total = sums[size_x, size_y]
    for action in range(mask.shape[0]):
        if not mask[action]:
            continue
        cell = action % cells
        length, width, box = sides(item, action // cells)
        i0, j0 = cell // size_y + 1, cell % size_y + 1
        i1, j1 = i0 + length - 1, j0 + width - 1
        if i1 > size_x or j1 > size_y:  # whatever the mask says, never write beyond the map
            continue
        z, below = _set_down(padded, i0, i1, j0, j1, box)
        top = z + box
        row = out[action]
        row[0] = (length * width * z - below) / 4.0
        row[4] = top / ceiling
        new_steps, new_pits = _around(padded, i0, i1, j0, j1, z, top, row)
        if length == 1 or width == 1:  # only then can a cell of the footprint itself be a pit
            for inside in range(length * width):
                new_pits += _is_pit(padded, i0 + inside // width, j0 + inside % width)
        old_steps = _window(sums, _STEPS_X, i0, min(i1 + 1, size_x), j0, j1) + _window(
            sums, _STEPS_Y, i0, i1, j0, min(j1 + 1, size_y)
        )
        row[5] = (total[_STEPS_X] + total[_STEPS_Y] - old_steps + new_steps) / 20.0
        row[6] = (total[_PITS] - _pits_before(sums, size_x, size_y, i0, i1, j0, j1) + new_pits) / 10.0
        covered = length * width if top == ceiling - 1 else 0
        row[7] = (total[_NEARLY_FULL] - _window(sums, _NEARLY_FULL, i0, i1, j0, j1) + covered) / 10.0
        last_i, last_j = _recount_flats(padded, ceiling, square, sums, i0, i1, j0, j1, row)
        for i in range(i0, last_i + 1):
            for j in range(j0, last_j + 1):
                square[i, j] = square_before[i, j]
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                padded[i, j] = heights[i - 1, j - 1]


@njit(cache=True)
def placement_features(heights, items, masks, ceiling):
    """Features of every feasible placement of a batch of states.

    Args:
        heights: int16 ``(n, L, W)``.
        items: int16 ``(n, 3)``, the boxes in front.
        masks: bool ``(n, A)``, ``A = O * L * W``.
        ceiling: height of the bin in cells.

    Returns:
        float32 ``(n, A, 12)`` in the order of ``FEATURES``; zero where the action is infeasible.
    """
    n, size_x, size_y = heights.shape
    out = np.empty((n, masks.shape[1], 12), np.float32)
    padded = np.full((size_x + 2, size_y + 2), ceiling, np.int16)
    square = np.zeros((size_x + 1, size_y + 1), np.int16)
    square_before = np.zeros_like(square)
    sums = np.zeros((size_x + 2, size_y + 2, _COUNTS), np.int32)
    for r in range(n):
        features_one(heights[r], items[r], masks[r], ceiling, padded, square, square_before, sums, out[r])
    return out


@njit(cache=True)
def map_features(heights, ceiling):
    """Features 6 to 12 of height maps as they are: what a placement changes is the difference to these.

    Args:
        heights: int16 ``(n, L, W)``.
        ceiling: height of the bin in cells.

    Returns:
        float32 ``(n, 12)`` in the order of ``FEATURES``; the first five, which are about a box, are zero.
    """
    n, size_x, size_y = heights.shape
    out = np.zeros((n, 12), np.float32)
    padded = np.full((size_x + 2, size_y + 2), ceiling, np.int16)
    square = np.zeros((size_x + 1, size_y + 1), np.int16)
    square_before = np.zeros_like(square)
    sums = np.zeros((size_x + 2, size_y + 2, _COUNTS), np.int32)
    for r in range(n):
        _count_map(heights[r], padded, ceiling, square, square_before, sums)
        total = sums[size_x, size_y]
        out[r, 5] = (total[_STEPS_X] + total[_STEPS_Y]) / 20.0
        out[r, 6] = total[_PITS] / 10.0
        out[r, 7] = total[_NEARLY_FULL] / 10.0
        for k in range(4):
            out[r, 8 + k] = total[_FLAT + k] / 50.0
    return out

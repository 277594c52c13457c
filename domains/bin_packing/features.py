"""Twelve features of a placement and of the height map it leaves: the input of scoring rules and scorer networks.

They are cheap to compute, independent of the size of the bin up to scale, and say what packers look at: waste under the
box, contact, level tops, and how many level squares remain for the boxes to come.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

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


@njit(cache=True, inline="always")
def _perimeter(heights, x, y, length, width, z, top, out):  # type: ignore[no-untyped-def]
    """Features 2 to 4, from the cells around the footprint."""
    size_x, size_y = heights.shape
    touching, level, wall = 0, 0, 0
    for side in range(2):
        i = x - 1 if side == 0 else x + length
        if i < 0 or i >= size_x:
            wall += width
        else:
            for j in range(y, y + width):
                touching += max(0, min(heights[i, j], top) - z)
                level += heights[i, j] == top
        j = y - 1 if side == 0 else y + width
        if j < 0 or j >= size_y:
            wall += length
        else:
            for i in range(x, x + length):
                touching += max(0, min(heights[i, j], top) - z)
                level += heights[i, j] == top
    around = 2.0 * (length + width)
    box = top - z
    out[1] = (touching + wall * box) / (around * box)
    out[2] = level / around
    out[3] = wall / around


@njit(cache=True)
def _after_state(heights, ceiling, square, out):  # type: ignore[no-untyped-def]
    """Features 6 to 12 of a height map; ``square`` is scratch int16 ``(L, W)``: side of the level square ending here."""
    size_x, size_y = heights.shape
    steps, pits, nearly_full = 0, 0, 0
    flat2, flat3, flat4, flat5 = 0, 0, 0, 0
    for i in range(size_x):
        for j in range(size_y):
            top = heights[i, j]
            west = heights[i - 1, j] if i > 0 else ceiling
            east = heights[i + 1, j] if i < size_x - 1 else ceiling
            south = heights[i, j - 1] if j > 0 else ceiling
            north = heights[i, j + 1] if j < size_y - 1 else ceiling
            steps += (i > 0 and west != top) + (j > 0 and south != top)
            pits += (west > top and east > top) or (south > top and north > top)
            nearly_full += top == ceiling - 1
            side = 1
            if i > 0 and j > 0 and west == top and south == top and heights[i - 1, j - 1] == top:
                side = 1 + min(square[i - 1, j], square[i, j - 1], square[i - 1, j - 1])
            square[i, j] = side
            side = min(side, ceiling - top)
            flat2 += side >= 2
            flat3 += side >= 3
            flat4 += side >= 4
            flat5 += side >= 5
    out[5] = steps / 20.0
    out[6] = pits / 10.0
    out[7] = nearly_full / 10.0
    out[8] = flat2 / 50.0
    out[9] = flat3 / 50.0
    out[10] = flat4 / 50.0
    out[11] = flat5 / 50.0


@njit(cache=True)
def features_one(heights, item, mask, ceiling, after, square, out):  # type: ignore[no-untyped-def]
    """Features of every feasible placement of one state; rows of infeasible actions are left at zero.

    Args:
        heights: int16 ``(L, W)``.
        item: int16 ``(3,)``.
        mask: bool ``(A,)``.
        ceiling: height of the bin.
        after: scratch int16 ``(L, W)``; ``square``: the same.
        out: float32 ``(A, 12)``, overwritten.
    """
    size_x, size_y = heights.shape
    cells = size_x * size_y
    out[:] = 0.0
    for action in range(mask.shape[0]):
        if not mask[action]:
            continue
        cell = action % cells
        x, y = cell // size_y, cell % size_y
        length, width = (item[0], item[1]) if action < cells else (item[1], item[0])
        z = heights[x, y]
        total = 0
        for i in range(x, x + length):
            for j in range(y, y + width):
                z = max(z, heights[i, j])
                total += heights[i, j]
        top = z + item[2]
        row = out[action]
        row[0] = (length * width * z - total) / 4.0
        _perimeter(heights, x, y, length, width, z, top, row)
        row[4] = top / ceiling
        after[:] = heights
        after[x : x + length, y : y + width] = top
        _after_state(after, ceiling, square, row)


@njit(cache=True)
def placement_features(heights, items, masks, ceiling):  # type: ignore[no-untyped-def]
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
    after = np.empty((size_x, size_y), np.int16)
    square = np.empty((size_x, size_y), np.int16)
    for r in range(n):
        features_one(heights[r], items[r], masks[r], ceiling, after, square, out[r])
    return out

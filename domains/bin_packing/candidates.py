"""Few positions worth scoring, so that rules stay fast on fine grids: corners that the height map itself suggests.

A scheme names positions ``(x, y)`` of the front-left-bottom corner; what is not feasible there is left out. Each is
found from the height map alone, level by level, where a level is a height that occurs in the map and the obstacles of
a level are the columns higher than it:

* ``ems``: the four corners of every empty maximal space that takes the box.
* ``corner``: the inner corners of the staircase behind which no obstacle lies, seen from the far corner of the bin
  (corner points: Martello, Pisinger, Vigo, "The three-dimensional bin packing problem", Operations Research 48, 2000).
* ``extreme``: near ends of the far sides of obstacles, and near corners of level areas, pushed towards the walls at
  x = 0 and y = 0 until something stands in the way (extreme points: Crainic, Perboli, Tadei, "Extreme point-based
  heuristics for three-dimensional bin packing", INFORMS Journal on Computing 20, 2008).
* ``event``: every combination of an x and a y at which the box begins or ends where the map steps, or at a wall.

If a scheme names no feasible position although there is one, every feasible position counts.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.orientation import sides
from interlock.domains.bin_packing.spaces import X0, X1, Y0, Y1, maximal_spaces, takes

Array = NDArray[Any]

SCHEMES = ("all", "ems", "corner", "extreme", "event")
"""The schemes; their position is their number in the compiled code."""
_ALL, _EMS, _CORNER, _EXTREME = 0, 1, 2, 3


@njit(cache=True)
def _space_corners(heights, item, mask, ceiling, spaces, offered):
    size_x, size_y = heights.shape
    cells = size_x * size_y
    spaces, count = maximal_spaces(heights, ceiling, spaces)
    for o in range(mask.shape[0] // cells):
        along_x, along_y, _ = sides(item, o)
        for k in range(count):
            s = spaces[k]
            if takes(s, item, o, ceiling):
                for corner in range(4):
                    x = s[X1] - along_x if corner & 1 else np.int64(s[X0])
                    y = s[Y1] - along_y if corner & 2 else np.int64(s[Y0])
                    action = o * cells + x * size_y + y
                    offered[action] |= mask[action]


@njit(cache=True)
def _corner_points(heights, z, named):
    """Mark the inner corners of the staircase of a level."""
    size_x, size_y = heights.shape
    reach, below = 0, np.zeros(size_x, np.int16)  # below[x]: first y behind which no obstacle lies at x or beyond
    for x in range(size_x - 1, -1, -1):
        for y in range(size_y - 1, reach - 1, -1):
            if heights[x, y] > z:
                reach = y + 1
                break
        below[x] = reach
    for x in range(size_x):
        if below[x] < size_y and (x == 0 or below[x] < below[x - 1]):
            named[x, below[x]] = True


@njit(cache=True, inline="always")
def _pushed(heights, x, y, z, step_x, step_y):
    """The last cell not above ``z`` on the way from ``(x, y)`` towards a wall."""
    while x >= step_x and y >= step_y and heights[x - step_x, y - step_y] <= z:
        x, y = x - step_x, y - step_y
    return x, y


@njit(cache=True)
def _extreme_points(heights, z, named):
    """Mark the extreme points of a level."""
    size_x, size_y = heights.shape
    for x in range(size_x):
        for y in range(size_y):
            here = heights[x, y]
            if here > z:
                continue
            beyond_x, beyond_y = x > 0 and heights[x - 1, y] > z, y > 0 and heights[x, y - 1] > z
            goes_on_y = y > 0 and x > 0 and heights[x - 1, y - 1] > z and heights[x, y - 1] <= z
            goes_on_x = y > 0 and x > 0 and heights[x - 1, y - 1] > z and heights[x - 1, y] <= z
            near = here == z and (x == 0 or heights[x - 1, y] != z) and (y == 0 or heights[x, y - 1] != z)
            if near or (beyond_x and not goes_on_y):
                named[_pushed(heights, x, y, z, 0, 1)] = True
            if near or (beyond_y and not goes_on_x):
                named[_pushed(heights, x, y, z, 1, 0)] = True


@njit(cache=True)
def _points_of_levels(scheme, heights, mask, ceiling, offered):
    size_x, size_y = heights.shape
    occurs, named = np.zeros(ceiling + 1, np.bool_), np.zeros((size_x, size_y), np.bool_)
    for x in range(size_x):
        for y in range(size_y):
            occurs[heights[x, y]] = True
    for z in range(ceiling):
        if occurs[z]:
            if scheme == _CORNER:
                _corner_points(heights, z, named)
            else:
                _extreme_points(heights, z, named)
    for action in range(mask.shape[0]):
        cell = action % (size_x * size_y)
        offered[action] = mask[action] and named[cell // size_y, cell % size_y]


@njit(cache=True)
def _begins(steps, side):
    """Where a box of this side begins if it begins or ends at a step; ``steps[0]`` and ``steps[-1]`` are the walls."""
    begins = np.zeros(steps.shape[0], np.bool_)
    for k in range(steps.shape[0]):
        if steps[k]:
            begins[k] = True
            if k >= side:
                begins[k - side] = True
    return begins


@njit(cache=True)
def _event_points(heights, item, mask, offered):
    size_x, size_y = heights.shape
    cells = size_x * size_y
    steps_x, steps_y = np.zeros(size_x + 1, np.bool_), np.zeros(size_y + 1, np.bool_)
    steps_x[0] = steps_x[size_x] = steps_y[0] = steps_y[size_y] = True
    for x in range(size_x):
        for y in range(size_y):
            steps_x[x] |= x > 0 and heights[x - 1, y] != heights[x, y]
            steps_y[y] |= y > 0 and heights[x, y - 1] != heights[x, y]
    for o in range(mask.shape[0] // cells):
        along_x, along_y, _ = sides(item, o)
        begins_x, begins_y = _begins(steps_x, along_x), _begins(steps_y, along_y)
        for x in range(size_x):
            for y in range(size_y):
                action = o * cells + x * size_y + y
                offered[action] = mask[action] and begins_x[x] and begins_y[y]


@njit(cache=True)
def _candidates(scheme, heights, items, masks, ceiling):
    offered = np.zeros_like(masks)
    spaces = np.empty((64, 5), np.int16)
    for r in range(masks.shape[0]):
        if scheme == _EMS:
            _space_corners(heights[r], items[r], masks[r], ceiling, spaces, offered[r])
        elif scheme in (_CORNER, _EXTREME):
            _points_of_levels(scheme, heights[r], masks[r], ceiling, offered[r])
        elif scheme != _ALL:
            _event_points(heights[r], items[r], masks[r], offered[r])
        if not offered[r].any():
            offered[r] = masks[r]
    return offered


def candidates(scheme: str, heights: Array, items: Array, masks: Array, ceiling: int) -> Array:
    """The feasible placements that a scheme names.

    Args:
        scheme: one of ``SCHEMES``.
        heights: int16 ``(n, L, W)``.
        items: int16 ``(n, 3)``.
        masks: bool ``(n, O * L * W)``, what is feasible.
        ceiling: height of the bin in cells.

    Returns:
        bool ``(n, O * L * W)``: a part of ``masks``, not empty where ``masks`` is not.
    """
    offered: Array = _candidates(SCHEMES.index(scheme), heights, items, masks, ceiling)
    return offered

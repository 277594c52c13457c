"""The decision process of online 3D bin packing, as compiled kernels over batches of height maps.

State: the height map ``H[x, y]`` (top of each column of cells, seen from above) and the box in front. Action
``a = o * L * W + x * W + y``: orientation ``o`` (see ``orientation.py``) and the front-left-bottom corner ``(x, y)``.
The box is set down at ``z = max H`` over its footprint. It may be placed if it stays inside the bin and below the
ceiling, and is supported: with ``A`` footprint cells, ``c`` of them at height ``z`` and ``k4`` of the four corner cells
at ``z``, one of ``k4 = 4 and c/A > theta4``, ``k4 >= 3 and c/A > theta3``, ``c/A > theta0``, ``c = A`` must hold
(Zhao, She, Zhu, Yang, Xu, "Online 3D Bin Packing with Constrained Deep Reinforcement Learning", AAAI 2021, sec. 3.1).
Shares are compared as integers in units of 1/10,000, strictly.

Whole episodes, with several bins, held boxes and loads, are in ``yard.py``.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.orientation import repeats, sides

Array = NDArray[Any]


@njit(cache=True, inline="always")
def _supported(heights, x, y, length, width, z, theta4, theta3, theta0):
    """Whether a footprint whose highest cell is ``z`` is supported; see the module's rule."""
    count = 0
    for i in range(x, x + length):
        for j in range(y, y + width):
            count += heights[i, j] == z
    area = length * width
    if count == area:
        return True
    share = 10_000 * count
    if share > theta0 * area:
        return True
    if share <= min(theta4, theta3) * area:
        return False
    x1, y1 = x + length - 1, y + width - 1
    corners = int(heights[x, y] == z) + int(heights[x1, y] == z) + int(heights[x, y1] == z) + int(heights[x1, y1] == z)
    return (corners == 4 and share > theta4 * area) or (corners >= 3 and share > theta3 * area)


@njit(cache=True)
def mask_one(heights, item, orientations, ceiling, thresholds, row_max, mask):
    """Write the feasibility mask of one state; returns the number of feasible actions.

    Args:
        heights: int16 ``(L, W)``.
        item: int16 ``(3,)``: length, width, height in cells.
        orientations: 1, 2 or 6.
        ceiling: height of the bin in cells.
        thresholds: ``(theta4, theta3, theta0)`` in 1/10,000.
        row_max: scratch int16 ``(L, W)``.
        mask: bool ``(orientations * L * W,)``, overwritten.
    """
    size_x, size_y = heights.shape
    theta4, theta3, theta0 = thresholds
    mask[:] = False
    feasible = 0
    for o in range(orientations):
        length, width, height = sides(item, o)
        if length > size_x or width > size_y or repeats(item, o):
            continue
        last_x, last_y = size_x - length + 1, size_y - width + 1
        # Sliding maximum in two passes: along y for every row, then along x for every window.
        for i in range(size_x):
            for j in range(last_y):
                top = heights[i, j]
                for k in range(j + 1, j + width):
                    top = max(top, heights[i, k])
                row_max[i, j] = top
        offset = o * size_x * size_y
        for i in range(last_x):
            for j in range(last_y):
                z = row_max[i, j]
                for k in range(i + 1, i + length):
                    z = max(z, row_max[k, j])
                if z + height > ceiling:
                    continue
                if z == 0 or _supported(heights, i, j, length, width, z, theta4, theta3, theta0):
                    mask[offset + i * size_y + j] = True
                    feasible += 1
    return feasible


@njit(cache=True)
def mask_batch(heights, items, orientations, ceiling, thresholds):
    """Feasibility masks of a batch.

    Args:
        heights: int16 ``(n, L, W)``.
        items: int16 ``(n, 3)``.
        orientations: 1, 2 or 6.
        ceiling: height of the bin in cells.
        thresholds: ``(theta4, theta3, theta0)`` in 1/10,000.

    Returns:
        bool ``(n, orientations * L * W)``.
    """
    n, size_x, size_y = heights.shape
    masks = np.empty((n, orientations * size_x * size_y), np.bool_)
    row_max = np.empty((size_x, size_y), np.int16)
    for r in range(n):
        mask_one(heights[r], items[r], orientations, ceiling, thresholds, row_max, masks[r])
    return masks


@njit(cache=True, inline="always")
def place_one(heights, item, action):
    """Set one box down without checking; returns its floor height and the number of footprint cells under it at z."""
    size_x, size_y = heights.shape
    o, cell = action // (size_x * size_y), action % (size_x * size_y)
    x, y = cell // size_y, cell % size_y
    length, width, height = sides(item, o)
    z = heights[x, y]
    for i in range(x, x + length):
        for j in range(y, y + width):
            z = max(z, heights[i, j])
    count = 0
    for i in range(x, x + length):
        for j in range(y, y + width):
            count += heights[i, j] == z
            heights[i, j] = z + height
    return z, count


@njit(cache=True)
def random_play(pool, lengths, size_x, size_y, ceiling, orientations, thresholds, steps, seed):
    """Play uniformly random feasible actions over a pool of item sequences, for timing and calibration.

    Args:
        pool: int16 ``(N, M, 3)`` item sequences that each fit the empty bin.
        lengths: int32 ``(N,)`` items in each.
        size_x: cells along x.
        size_y: cells along y.
        ceiling: cells along z.
        orientations: 1, 2 or 6.
        thresholds: support thresholds in 1/10,000.
        steps: number of boxes to place.
        seed: of the random choices.

    Returns:
        ``(episodes finished, volume placed in finished episodes)``.
    """
    np.random.seed(seed)  # noqa: NPY002 - compiled code has only the legacy generator
    heights = np.zeros((size_x, size_y), np.int16)
    row_max = np.empty((size_x, size_y), np.int16)
    mask = np.empty(orientations * size_x * size_y, np.bool_)
    episodes, volume, total, placed, cursor, source = 0, 0, 0, 0, 0, 0
    while placed < steps:
        item = pool[source, cursor]
        feasible = mask_one(heights, item, orientations, ceiling, thresholds, row_max, mask)
        if feasible > 0:
            pick = np.random.randint(feasible)  # noqa: NPY002
            action = 0
            while True:
                if mask[action]:
                    if pick == 0:
                        break
                    pick -= 1
                action += 1
            place_one(heights, item, action)
            volume += int(item[0]) * int(item[1]) * int(item[2])
            cursor += 1
            placed += 1
        if feasible == 0 or cursor == lengths[source]:
            episodes += 1
            total += volume
            volume, cursor = 0, 0
            source = (source + 1) % pool.shape[0]
            heights[:] = 0
    return episodes, total

"""The decision process of online 3D bin packing, as compiled kernels over batches of height maps.

State: the height map ``H[x, y]`` (top of each column of cells, seen from above) and the box in front. Action
``a = o * L * W + x * W + y``: orientation ``o`` (1 swaps length and width) and the front-left-bottom corner ``(x, y)``.
The box is set down at ``z = max H`` over its footprint. It may be placed if it stays inside the bin and below the
ceiling, and is supported: with ``A`` footprint cells, ``c`` of them at height ``z`` and ``k4`` of the four corner cells
at ``z``, one of ``k4 = 4 and c/A > theta4``, ``k4 >= 3 and c/A > theta3``, ``c/A > theta0``, ``c = A`` must hold
(Zhao, She, Zhu, Yang, Xu, "Online 3D Bin Packing with Constrained Deep Reinforcement Learning", AAAI 2021, sec. 3.1).
Shares are compared as integers in units of 1/10,000, strictly.

Reward: 10 x volume of the placed box / volume of the bin. An episode ends when the next box has no feasible position
(blocked), when an infeasible action is taken (illegal: nothing is placed), or when the sequence is exhausted.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.generators import generate

Array = NDArray[Any]

BLOCKED, ILLEGAL, EXHAUSTED = 1, 2, 3
"""Why an episode ended."""


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
        orientations: 1 or 2.
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
        length, width = (item[0], item[1]) if o == 0 else (item[1], item[0])
        if (o == 1 and length == width) or length > size_x or width > size_y:
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
                if z + item[2] > ceiling:
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
        orientations: 1 or 2.
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
    length, width = (item[0], item[1]) if o == 0 else (item[1], item[0])
    z = heights[x, y]
    for i in range(x, x + length):
        for j in range(y, y + width):
            z = max(z, heights[i, j])
    count = 0
    for i in range(x, x + length):
        for j in range(y, y + width):
            count += heights[i, j] == z
            heights[i, j] = z + item[2]
    return z, count


@njit(cache=True)
def start_row(
    r,
    index,
    stream,
    seed,
    low,
    high,
    data_items,
    data_lengths,
    ceiling,
    orientations,
    thresholds,
    heights,
    items,
    lengths,
    cursor,
    instance,
    masks,
    row_max,
    scratch,
):
    """Begin instance ``index`` in row ``r``: draw its items, empty the bin, write the first mask."""
    size_x, size_y = heights.shape[1:]
    if stream == 3:
        source = index % data_lengths.shape[0]
        lengths[r] = data_lengths[source]
        items[r, : lengths[r]] = data_items[source, : lengths[r]]
    else:
        lengths[r] = generate(stream, seed, index, size_x, size_y, ceiling, low, high, items[r], scratch)
    heights[r] = 0
    cursor[r] = 0
    instance[r] = index
    mask_one(heights[r], items[r, 0], orientations, ceiling, thresholds, row_max, masks[r])


@njit(cache=True)
def step_batch(
    actions,
    next_index,
    stream,
    seed,
    low,
    high,
    data_items,
    data_lengths,
    ceiling,
    orientations,
    thresholds,
    heights,
    items,
    lengths,
    cursor,
    instance,
    masks,
    row_max,
    scratch,
    reward,
    unsupported,
    ended,
    packed,
    played,
):
    """Apply one action per row; rows that end restart at once. Returns the next instance index.

    Writes ``reward`` ``(n,)``, ``unsupported`` ``(n,)`` (share of the footprint without support), ``ended`` ``(n,)``
    (0 or a reason), ``packed`` ``(n,)`` (boxes placed in the episode so far) and ``played`` ``(n,)`` (instance of
    this step).
    """
    n, size_x, size_y = heights.shape
    bin_volume = size_x * size_y * ceiling
    for r in range(n):
        played[r] = instance[r]
        action = actions[r]
        reward[r] = 0.0
        unsupported[r] = 0.0
        ended[r] = 0
        if action < 0 or action >= masks.shape[1] or not masks[r, action]:
            ended[r] = ILLEGAL
        else:
            item = items[r, cursor[r]]
            _, count = place_one(heights[r], item, action)
            box = int(item[0]) * int(item[1]) * int(item[2])
            reward[r] = 10.0 * box / bin_volume
            unsupported[r] = 1.0 - count / (int(item[0]) * int(item[1]))
            cursor[r] += 1
            if cursor[r] == lengths[r]:
                ended[r] = EXHAUSTED
            elif mask_one(heights[r], items[r, cursor[r]], orientations, ceiling, thresholds, row_max, masks[r]) == 0:
                ended[r] = BLOCKED
        packed[r] = cursor[r]
        if ended[r] != 0:
            start_row(
                r,
                next_index,
                stream,
                seed,
                low,
                high,
                data_items,
                data_lengths,
                ceiling,
                orientations,
                thresholds,
                heights,
                items,
                lengths,
                cursor,
                instance,
                masks,
                row_max,
                scratch,
            )
            next_index += 1
    return next_index


@njit(cache=True)
def random_play(pool, lengths, size_x, size_y, ceiling, orientations, thresholds, steps, seed):
    """Play uniformly random feasible actions over a pool of item sequences, for timing and calibration.

    Args:
        pool: int16 ``(N, M, 3)`` item sequences that each fit the empty bin.
        lengths: int32 ``(N,)`` items in each.
        size_x: cells along x.
        size_y: cells along y.
        ceiling: cells along z.
        orientations: 1 or 2.
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

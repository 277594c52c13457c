"""Features of a placement that limits on overhang and on the centre of gravity are about.

The centre of gravity is taken from the height map, as if the space under overhangs were full: what stands in the bin is
not observed. Where boxes weigh what their volume says and overhang is limited, that is close to the true one.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.core.environment import Observation
from interlock.core.policy import Encoder
from interlock.domains.bin_packing.features import FEATURES, placement_features
from interlock.domains.bin_packing.orientation import sides

Array = NDArray[Any]

SOFT_FEATURES = (
    "share of the footprint without support",
    "distance of the centre of gravity from the bin's axis afterwards [half the shorter side]",
    "change of this distance by the placement",
    "share of the bin below the height map afterwards",
)


@njit(cache=True, inline="always")
def _distance(total, moment_x, moment_y, size_x, size_y):
    """From the axis of the bin, in cells; 0 for an empty bin."""
    if total == 0.0:
        return 0.0
    return np.hypot(moment_x / total - size_x / 2.0, moment_y / total - size_y / 2.0)


@njit(cache=True)
def soft_features(heights, items, masks, ceiling):
    """What the limits are about, for every feasible placement of a batch of states.

    Args:
        heights: int16 ``(n, L, W)``.
        items: int16 ``(n, 3)``, the boxes in front.
        masks: bool ``(n, A)``, ``A = O * L * W``.
        ceiling: height of the bin in cells.

    Returns:
        float32 ``(n, A, 4)`` in the order of ``SOFT_FEATURES``; zero where the action is infeasible.
    """
    n, size_x, size_y = heights.shape
    cells, half = size_x * size_y, min(size_x, size_y) / 2.0
    out = np.zeros((n, masks.shape[1], 4), np.float32)
    for r in range(n):
        total = moment_x = moment_y = 0.0
        for i in range(size_x):
            for j in range(size_y):
                total += heights[r, i, j]
                moment_x += heights[r, i, j] * (i + 0.5)
                moment_y += heights[r, i, j] * (j + 0.5)
        before = _distance(total, moment_x, moment_y, size_x, size_y)
        for action in range(masks.shape[1]):
            if not masks[r, action]:
                continue
            length, width, box = sides(items[r], action // cells)
            x, y = action % cells // size_y, action % size_y
            if x + length > size_x or y + width > size_y:  # whatever the mask says, never read beyond the map
                continue
            under = heights[r, x : x + length, y : y + width]
            z, supported = under.max(), 0
            after, after_x, after_y = total, moment_x, moment_y
            for i in range(length):
                for j in range(width):
                    supported += under[i, j] == z
                    rise = z + box - under[i, j]
                    after += rise
                    after_x += rise * (x + i + 0.5)
                    after_y += rise * (y + j + 0.5)
            distance = _distance(after, after_x, after_y, size_x, size_y)
            out[r, action, 0] = 1.0 - supported / (length * width)
            out[r, action, 1] = distance / half
            out[r, action, 2] = (distance - before) / half
            out[r, action, 3] = after / (cells * ceiling)
    return out


def placements_soft(ceiling: int) -> Encoder:
    """The encoder ``placements_soft``: float32 ``action_features`` ``(n, A, 16)``, those of placements, then these.

    For one open bin, one box held, and boxes without weights.

    Args:
        ceiling: height of the bin in cells.
    """

    def encode(observation: Observation) -> dict[str, Array]:
        heights, items, masks = observation["height_map"], observation["items"][:, 0], observation["action_mask"]
        items = np.ascontiguousarray(items)
        out = np.empty((*masks.shape, len(FEATURES) + len(SOFT_FEATURES)), np.float32)
        out[:, :, : len(FEATURES)] = placement_features(heights, items, masks, ceiling)
        out[:, :, len(FEATURES) :] = soft_features(heights, items, masks, ceiling)
        return {"action_features": out}

    return encode

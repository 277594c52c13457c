"""One-step expectation: among the linear rule's best placements, the one after which most boxes would still fit.

Where nothing is known of the next box but the set it comes from, the share of the set that still fits is the
probability that the game goes on, and its share by volume what the next step is expected to bring.
"""

import numpy as np
from numba import njit

from interlock.core.environment import Array, Observation
from interlock.core.policy import FunctionPolicy
from interlock.domains.bin_packing.beam import scratch_for
from interlock.domains.bin_packing.features import features_one
from interlock.domains.bin_packing.model import _supported, place_one
from interlock.domains.bin_packing.orientation import sides
from interlock.domains.bin_packing.scenario import BinPackingScenario

CANDIDATES = 8
PER_TYPE, PER_VOLUME = 4.0, 2.0
"""Points of the linear score for the whole set by number and by volume; not tuned."""


@njit(cache=True)
def room_above(heights, low, high, ceiling, thresholds, row_max, room):
    """Levels that a box of each footprint has at most above where it would stand; 0 where it stands nowhere.

    Args:
        heights: int16 ``(L, W)``.
        low: smallest side of the item set.
        high: largest side.
        ceiling: height of the bin in cells.
        thresholds: support thresholds in 1/10,000.
        row_max: scratch int16 ``(L, W)``.
        room: int64 ``(high - low + 1, high - low + 1)``, overwritten; no value above ``high`` is looked for.
    """
    size_x, size_y = heights.shape
    theta4, theta3, theta0 = thresholds
    for length in range(low, high + 1):
        for width in range(low, high + 1):
            best = 0
            for i in range(size_x):
                for j in range(size_y - width + 1):
                    top = heights[i, j]
                    for k in range(j + 1, j + width):
                        top = max(top, heights[i, k])
                    row_max[i, j] = top
            for i in range(size_x - length + 1):
                if best >= high:
                    break
                for j in range(size_y - width + 1):
                    z = row_max[i, j]
                    for k in range(i + 1, i + length):
                        z = max(z, row_max[k, j])
                    if ceiling - z > best and _supported(heights, i, j, length, width, z, theta4, theta3, theta0):
                        best = ceiling - z
            room[length - low, width - low] = best


@njit(cache=True)
def accepted(heights, low, high, orientations, ceiling, thresholds, row_max, room):
    """Shares of the item set, by number and by volume, that still fit on a map."""
    room_above(heights, low, high, ceiling, thresholds, row_max, room)
    item = np.empty(3, np.int64)
    fitting, volume, types, total = 0, 0, 0, 0
    for item[0] in range(low, high + 1):
        for item[1] in range(low, high + 1):
            for item[2] in range(low, high + 1):
                box = item[0] * item[1] * item[2]
                types, total = types + 1, total + box
                for o in range(orientations):
                    x, y, z = sides(item, o)
                    if room[x - low, y - low] >= z:
                        fitting, volume = fitting + 1, volume + box
                        break
    return fitting / types, volume / total


@njit(cache=True)
def _choose(heights, masks, items, low, high, orientations, ceiling, thresholds, weights, candidates, actions):
    n, size_x, size_y = heights.shape
    scratch = scratch_for(size_x, size_y, orientations, ceiling)
    row_max, features = scratch[0], scratch[6]
    room = np.empty((high - low + 1, high - low + 1), np.int64)
    after = np.empty((size_x, size_y), np.int16)
    for r in range(n):
        features_one(heights[r], items[r], masks[r], ceiling, *scratch[2:])
        allowed = np.flatnonzero(masks[r])
        scores = np.zeros(allowed.shape[0])
        for a in range(allowed.shape[0]):
            for k in range(12):
                scores[a] += weights[k] * features[allowed[a], k]
        best, best_score = 0, -np.inf
        for a in np.argsort(-scores, kind="mergesort")[:candidates]:
            after[:] = heights[r]
            place_one(after, items[r], allowed[a])
            share, volume = accepted(after, low, high, orientations, ceiling, thresholds, row_max, room)
            score = scores[a] + PER_TYPE * share + PER_VOLUME * volume
            if score > best_score:
                best, best_score = allowed[a], score
        actions[r] = best


def one_step(scenario: BinPackingScenario, *, candidates: int = CANDIDATES) -> FunctionPolicy:
    """The linear rule's best placements, judged by how much of the item set still fits afterwards.

    Args:
        scenario: the numbers; one open bin, boxes taken in order.
        candidates: placements that are judged.
    """
    weights, items_ = np.array(scenario.linear12_weights), scenario.items

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        heights = np.ascontiguousarray(observation["height_map"], np.int16)
        masks = np.ascontiguousarray(observation["action_mask"], np.bool_)
        items = np.ascontiguousarray(observation["items"][:, 0], np.int16)
        actions = np.zeros(len(heights), np.int64)
        rules = int(scenario.orientations), scenario.bin.height, scenario.thresholds()
        _choose(heights, masks, items, items_.low, items_.high, *rules, weights, candidates, actions)
        return actions

    return FunctionPolicy(act)

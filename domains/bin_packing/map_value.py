"""What a height map is worth: a linear estimate of the volume still to be packed, fitted to played sequences.

It is the leaf value of searches that need an absolute one: where plans differ in packed volume, or bins are compared.
"""

import numpy as np
from numba import njit

from interlock.core.environment import Array
from interlock.domains.bin_packing.beam import scratch_for
from interlock.domains.bin_packing.bounds import generated_instances
from interlock.domains.bin_packing.environment import stream_seed
from interlock.domains.bin_packing.features import features_one, map_features
from interlock.domains.bin_packing.model import mask_one, place_one
from interlock.domains.bin_packing.scenario import BinPackingScenario

INPUTS = 9
BOXES = 60_000
"""Boxes of the training sequences that the estimate is fitted to; a second or two of play."""


@njit(cache=True)
def map_inputs(heights, ceiling):
    """Describe a map ``(L, W)``: 1, free cells, and the seven features of a map as they are; float64 ``(9,)``."""
    size_x, size_y = heights.shape
    inputs = np.empty(INPUTS)
    inputs[0] = 1.0
    inputs[1] = size_x * size_y * ceiling - heights.sum()
    inputs[2:] = map_features(heights.reshape(1, size_x, size_y), ceiling)[0, 5:]
    return inputs


@njit(cache=True)
def map_value(heights, ceiling, value):
    """Estimated volume still to be packed on a map ``(L, W)``, cells; ``value`` ``(9,)`` weighs its inputs."""
    inputs = map_inputs(heights, ceiling)
    total = 0.0
    for k in range(INPUTS):
        total += value[k] * inputs[k]
    return max(total, 0.0)


@njit(cache=True)
def greedy_choice(heights, item, orientations, ceiling, thresholds, weights, scratch):
    """The feasible placement that the linear rule scores highest (its features stay in ``scratch``); -1 if none."""
    row_max, mask, padded, square, square_before, sums, features = scratch
    if mask_one(heights, item, orientations, ceiling, thresholds, row_max, mask) == 0:
        return -1
    features_one(heights, item, mask, ceiling, padded, square, square_before, sums, features)
    return best_scored(mask, features, weights)


@njit(cache=True)
def best_scored(mask, features, weights):
    """Allowed action with the largest weighted sum of its features, the lowest index on ties; -1 if none."""
    best, best_score = -1, 0.0
    for action in range(mask.shape[0]):
        if mask[action]:
            score = 0.0
            for k in range(12):
                score += weights[k] * features[action, k]
            if best < 0 or score > best_score:
                best, best_score = action, score
    return best


@njit(cache=True)
def best_per_bin(heights, masks, item, ceiling, before, weights, scratch, actions, scores):
    """Best placement of a box in each open bin by the linear rule, and its score as a change of the bin's map.

    Args:
        heights: int16 ``(B, L, W)``.
        masks: bool ``(B, A)``, feasible placements in each bin.
        item: int16 ``(3,)``.
        ceiling: height of a bin in cells.
        before: float32 ``(B, 12)``, ``map_features`` of the bins.
        weights: float64 ``(12,)`` of the linear rule.
        scratch: from ``scratch_for``.
        actions: int64 ``(B,)``, overwritten; -1 where the box does not fit.
        scores: float64 ``(B,)``, overwritten.
    """
    features = scratch[6]
    for b in range(heights.shape[0]):
        features_one(heights[b], item, masks[b], ceiling, *scratch[2:])
        actions[b], scores[b] = best_scored(masks[b], features, weights), -np.inf
        if actions[b] >= 0:
            scores[b] = 0.0
            for k in range(12):
                scores[b] += weights[k] * (features[actions[b], k] - before[b, k])


@njit(cache=True)
def _greedy_games(items, lengths, bins, size, orientations, thresholds, weights, inputs, targets):
    """Play sequences by the linear rule; per map a bin has had, its inputs and the volume packed on it afterwards."""
    size_x, size_y, ceiling = size
    scratch = scratch_for(size_x, size_y, orientations, ceiling)
    heights, masks = np.empty((bins, size_x, size_y), np.int16), np.empty((bins, scratch[1].shape[0]), np.bool_)
    volumes, actions, scores = np.empty(bins), np.empty(bins, np.int64), np.empty(bins)
    owners, rows = np.empty(inputs.shape[0], np.int64), 0
    for s in range(items.shape[0]):
        heights[:], volumes[:], begin = 0, 0.0, rows
        for b in range(bins):
            inputs[rows], owners[rows], targets[rows] = map_inputs(heights[b], ceiling), b, 0.0
            rows += 1
        for position in range(lengths[s]):
            item = items[s, position]
            for b in range(bins):
                mask_one(heights[b], item, orientations, ceiling, thresholds, scratch[0], masks[b])
            before = map_features(heights, ceiling)
            best_per_bin(heights, masks, item, ceiling, before, weights, scratch, actions, scores)
            chosen = np.argmax(scores)
            if actions[chosen] < 0:
                break
            place_one(heights[chosen], item, actions[chosen])
            volumes[chosen] += float(item[0]) * item[1] * item[2]
            inputs[rows], owners[rows], targets[rows] = map_inputs(heights[chosen], ceiling), chosen, volumes[chosen]
            rows += 1
        for row in range(begin, rows):
            targets[row] = volumes[owners[row]] - targets[row]
    return rows


def fitted_value(scenario: BinPackingScenario) -> Array:
    """Least-squares value of a bin's map under greedy play of the scenario's linear rule, for ``map_value``: ``(9,)``.

    Fitted to generated training sequences of the scenario's stream, as many as give `BOXES` boxes; the same every
    time. Takes a few seconds.
    """
    bin_, bins = scenario.bin, scenario.bin.open
    _, lengths = generated_instances(scenario, stream_seed(0, "train"), 20)
    count = max(20, int(BOXES / lengths.mean()))
    items, lengths = generated_instances(scenario, stream_seed(0, "train"), count)
    room = int(lengths.sum()) + bins * count
    inputs, targets = np.empty((room, INPUTS)), np.empty(room)
    rows = _greedy_games(
        items,
        lengths,
        bins,
        (bin_.length, bin_.width, bin_.height),
        int(scenario.orientations),
        scenario.thresholds(),
        np.array(scenario.linear12_weights),
        inputs,
        targets,
    )
    # A little ridge: some features never vary in tiny bins.
    a, b = inputs[:rows].T @ inputs[:rows], inputs[:rows].T @ targets[:rows]
    value: Array = np.linalg.solve(a + 1e-6 * rows * np.eye(INPUTS), b)
    return value

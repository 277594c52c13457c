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
SEQUENCES = 3000
"""Training sequences that the estimate is fitted to; about a second of play."""


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
def _greedy_games(items, lengths, size_x, size_y, orientations, ceiling, thresholds, weights, inputs, targets):
    """Play sequences by the linear rule; per placement its map's inputs and the volume packed afterwards."""
    scratch = scratch_for(size_x, size_y, orientations, ceiling)
    heights = np.empty((size_x, size_y), np.int16)
    rows = 0
    for s in range(items.shape[0]):
        heights[:] = 0
        begin, volume = rows, 0
        for position in range(lengths[s]):
            item = items[s, position]
            action = greedy_choice(heights, item, orientations, ceiling, thresholds, weights, scratch)
            if action < 0:
                break
            place_one(heights, item, action)
            volume += int(item[0]) * int(item[1]) * int(item[2])
            inputs[rows] = map_inputs(heights, ceiling)
            targets[rows] = volume
            rows += 1
        for row in range(begin, rows):
            targets[row] = volume - targets[row]
    return rows


def fitted_value(scenario: BinPackingScenario) -> Array:
    """Least-squares value of the scenario's maps under greedy play of its linear rule, for ``map_value``: ``(9,)``.

    Fitted to generated training sequences of the scenario's stream; the same every time. Takes about a second.
    """
    bin_ = scenario.bin
    items, lengths = generated_instances(scenario, stream_seed(0, "train"), SEQUENCES)
    inputs, targets = np.empty((int(lengths.sum()), INPUTS)), np.empty(int(lengths.sum()))
    rows = _greedy_games(
        items,
        lengths,
        bin_.length,
        bin_.width,
        int(scenario.orientations),
        bin_.height,
        scenario.thresholds(),
        np.array(scenario.linear12_weights),
        inputs,
        targets,
    )
    # A little ridge: some features never vary in tiny bins.
    a, b = inputs[:rows].T @ inputs[:rows], inputs[:rows].T @ targets[:rows]
    value: Array = np.linalg.solve(a + 1e-6 * rows * np.eye(len(a)), b)
    return value

"""Rollout look-ahead: try the most promising placements of the front box and continue each by the linear rule."""

import numpy as np
from numba import njit

from interlock.domains.bin_packing.beam import known_items, scratch_for
from interlock.domains.bin_packing.features import features_one
from interlock.domains.bin_packing.map_value import greedy_choice, map_value
from interlock.domains.bin_packing.model import place_one


@njit(cache=True)
def _continue(heights, items, known, samples, steps, orientations, ceiling, thresholds, weights, value, scratch):
    """Volume packed by greedy play of the boxes from position 1 on, plus the estimate where play was cut off."""
    volume = 0.0
    for step in range(1, steps + 1):
        item = items[step] if step < known else samples[step - known]
        action = greedy_choice(heights, item, orientations, ceiling, thresholds, weights, scratch)
        if action < 0:
            return volume
        place_one(heights, item, action)
        volume += float(item[0]) * item[1] * item[2]
    if value.shape[0] > 0:
        volume += map_value(heights, ceiling, value)
    return volume


@njit(cache=True)
def rollout_search(
    heights, allowed, items, samples, steps, orientations, ceiling, thresholds, weights, value, candidates
):
    """Choose the front box's placement by rollouts.

    Args:
        heights: int16 ``(L, W)``.
        allowed: bool ``(A,)``, feasible placements of the front box.
        items: int16 ``(K, 3)``, zeros beyond the last known box.
        samples: int16 ``(S, T, 3)``, boxes to come after the known ones, the same for every candidate.
        steps: boxes placed after the front one; without ``value`` never more than are known.
        orientations: 1, 2 or 6.
        ceiling: height of the bin in cells.
        thresholds: support thresholds in 1/10,000.
        weights: float64 ``(12,)`` of the linear rule.
        value: ``(9,)`` for ``map_value`` at the end of a rollout; empty for none.
        candidates: placements of the front box that are tried, by their score.

    Returns:
        The chosen action (ties: the better score); -1 if none is allowed.
    """
    size_x, size_y = heights.shape
    scratch = scratch_for(size_x, size_y, orientations, ceiling)
    features_one(heights, items[0], allowed, ceiling, *scratch[2:])
    actions = np.flatnonzero(allowed)
    if actions.shape[0] == 0:
        return -1
    scores = np.zeros(actions.shape[0])
    for a in range(actions.shape[0]):
        for k in range(12):
            scores[a] -= weights[k] * scratch[6][actions[a], k]
    order = np.argsort(scores, kind="mergesort")[:candidates]
    known = known_items(items)
    sequence_ends = known < items.shape[0]
    if value.shape[0] == 0 or sequence_ends:
        steps = min(steps, known - 1)
    # Rollouts over known boxes only are all alike.
    repeats = samples.shape[0] if steps >= known else 1
    after = np.empty_like(heights)
    leaf = np.zeros(0) if sequence_ends else value
    best, best_volume = -1, -1.0
    for a in order:
        volume = 0.0
        for s in range(repeats):
            after[:] = heights
            place_one(after, items[0], actions[a])
            volume += _continue(
                after, items, known, samples[s], steps, orientations, ceiling, thresholds, weights, leaf, scratch
            )
        if volume > best_volume:
            best, best_volume = actions[a], volume
    return best

"""Beam search over the known boxes in their true order, compiled.

Level ``t`` of the tree holds height maps after boxes ``0 .. t - 1``, all of them with the same packed volume, so they
differ only in what they leave for the boxes to come: the ``width`` most promising maps of each level are kept, equal
maps once. Every extra known box that can be placed is worth more than any difference between maps, so the plan is a
path to a deepest map, and among those the one with the best leaf value. With unlimited width the search is exhaustive.
"""

import numpy as np
from numba import njit

from interlock.domains.bin_packing.features import features_one
from interlock.domains.bin_packing.model import mask_one, place_one

PLACEMENT_FEATURES = 5
"""The first five features describe a placement and add up along a path; the others describe the map it leaves."""


@njit(cache=True)
def known_items(items):
    """How many boxes are known: the rows before the first row of zeros."""
    known = 0
    while known < items.shape[0] and items[known, 0] > 0:
        known += 1
    return known


@njit(cache=True, inline="always")
def _hash(heights):
    """FNV-1a hash of a height map."""
    code = np.uint64(14695981039346656037)
    for i in range(heights.shape[0]):
        for j in range(heights.shape[1]):
            code = (code ^ np.uint64(heights[i, j])) * np.uint64(1099511628211)
    return code


@njit(cache=True)
def scratch_for(size_x, size_y, orientations, ceiling):
    """Work space of one search: row maxima, mask, and what ``features_one`` needs."""
    return (
        np.empty((size_x, size_y), np.int16),
        np.empty(orientations * size_x * size_y, np.bool_),
        np.full((size_x + 2, size_y + 2), ceiling, np.int16),
        np.zeros((size_x + 1, size_y + 1), np.int16),
        np.zeros((size_x + 1, size_y + 1), np.int16),
        np.zeros((size_x + 2, size_y + 2, 8), np.int32),
        np.empty((orientations * size_x * size_y, 12), np.float32),
    )


@njit(cache=True)
def _children(heights, mask, item, ceiling, weights, scratch, actions, paid, score):
    """Feasible placements of one box, what each adds along a path and the score of the map it leaves; their number."""
    _, _, padded, square, square_before, sums, features = scratch
    features_one(heights, item, mask, ceiling, padded, square, square_before, sums, features)
    count = 0
    for action in range(mask.shape[0]):
        if mask[action]:
            path, state = 0.0, 0.0
            for k in range(PLACEMENT_FEATURES):
                path += weights[k] * features[action, k]
            for k in range(PLACEMENT_FEATURES, 12):
                state += weights[k] * features[action, k]
            actions[count], paid[count], score[count] = action, path, state
            count += 1
    return count


@njit(cache=True)
def beam_search(heights, allowed, items, orientations, ceiling, thresholds, weights, width):
    """Plan the known boxes from one state.

    Args:
        heights: int16 ``(L, W)``.
        allowed: bool ``(A,)``, feasible placements of the front box.
        items: int16 ``(K, 3)``, zeros beyond the last known box.
        orientations: 1, 2 or 6.
        ceiling: height of the bin in cells.
        thresholds: support thresholds in 1/10,000.
        weights: float64 ``(12,)`` of the placement features; those of the placement are summed along the path, those
            of the map count at the leaf.
        width: maps kept per level.

    Returns:
        ``(action of the front box, boxes placed by the plan, score of its last map)``; action -1 if the front box has
        no feasible placement.
    """
    size_x, size_y = heights.shape
    scratch = scratch_for(size_x, size_y, orientations, ceiling)
    mask, most = scratch[1], orientations * size_x * size_y
    actions, paid, score = np.empty(most, np.int64), np.empty(most), np.empty(most)
    maps = np.empty((1, size_x, size_y), np.int16)
    maps[0] = heights
    first, path = np.full(1, -1, np.int64), np.zeros(1)
    best_action, best_score, depth = -1, 0.0, 0
    for level in range(known_items(items)):
        item = items[level]
        room, found = 4 * width, 0
        child_parent, child_action = np.empty(room, np.int64), np.empty(room, np.int64)
        child_path, child_score = np.empty(room), np.empty(room)
        for parent in range(maps.shape[0]):
            if level == 0:
                mask[:] = allowed
            else:
                mask_one(maps[parent], item, orientations, ceiling, thresholds, scratch[0], mask)
            count = _children(maps[parent], mask, item, ceiling, weights, scratch, actions, paid, score)
            if found + count > room:
                room = 2 * (found + count)
                child_parent, child_action = _longer(child_parent, room), _longer(child_action, room)
                child_path, child_score = _longer(child_path, room), _longer(child_score, room)
            for k in range(count):
                child_parent[found], child_action[found] = parent, actions[k]
                child_path[found] = path[parent] + paid[k]
                child_score[found] = child_path[found] + score[k]
                found += 1
        if found == 0:
            break
        order = np.argsort(-child_score[:found], kind="mergesort")
        maps, first, path = _keep(
            maps, item, first, order, child_parent, child_action, child_path, level, min(width, found)
        )
        depth, best_score, best_action = level + 1, child_score[order[0]], first[0]
    return best_action, depth, best_score


@njit(cache=True)
def _longer(values, room):
    longer = np.empty(room, values.dtype)
    longer[: values.shape[0]] = values
    return longer


@njit(cache=True)
def _keep(maps, item, first, order, child_parent, child_action, child_path, level, width):
    """The best ``width`` different children, in order of their score: maps, first actions, path scores."""
    size_x, size_y = maps.shape[1:]
    kept_maps = np.empty((width, size_x, size_y), np.int16)
    kept_first, kept_path = np.empty(width, np.int64), np.empty(width)
    seen, kept = {np.uint64(0)}, 0
    for child in order:
        if kept == width:
            break
        parent = child_parent[child]
        kept_maps[kept] = maps[parent]
        place_one(kept_maps[kept], item, child_action[child])
        code = _hash(kept_maps[kept])
        if code in seen:
            continue
        seen.add(code)
        kept_first[kept] = child_action[child] if level == 0 else first[parent]
        kept_path[kept] = child_path[child]
        kept += 1
    return kept_maps[:kept], kept_first[:kept], kept_path[:kept]

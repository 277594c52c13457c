"""What a placement leaves behind: features of the height map after it, the input of a learned after-state value.

A placement has one known outcome, so a value of height maps is all that a choice needs (an after-state value; Sutton
and Barto, "Reinforcement Learning", 2nd edition 2018, section 6.8). The features say which boxes could come next: for
every footprint, where it would find support and how much room it would have above; then the level stretches along both
axes with what bounds them, the steps between neighbours, and how many cells there are at each level. They are the same
for the mirror images of a height map, and for its transpose where boxes come as often one way round as the other.

Only the placements that the tuned linear rule ranks highest are described; of those that leave mirror images of one
another only the first. All others are marked as left out.
"""

from typing import Any

import numpy as np
from numba import int32, njit
from numpy.typing import NDArray

from interlock.core.environment import Observation
from interlock.core.policy import Encoder
from interlock.domains.bin_packing.features import features_one
from interlock.domains.bin_packing.model import place_one
from interlock.domains.bin_packing.scenario import BinPackingScenario

Array = NDArray[Any]

CANDIDATES = 12
"""Placements described per decision."""

_STEP_CLASSES = 6  # steps of 1, 2, 3, 4, 5 and more levels


@njit(cache=True, fastmath=True, error_model="numpy", inline="never")
def _join(top, count, other_top, other_count, cells):
    """Unite windows with others, cell by cell: their highest level and how many cells are at it."""
    for i in range(cells):
        a, b = top[i], other_top[i]
        m = max(a, b)
        count[i] = int32(count[i] * int32(a == m) + other_count[i] * int32(b == m))
        top[i] = m


@njit(cache=True, fastmath=True, error_model="numpy", inline="never")
def _room_above(corner1, corner2, corner3, corner4, top, count, cells, need4, need3, need0, ceiling, room):
    """Levels above each supported position of a footprint, 0 where it would not stand; see ``model`` for the rule."""
    for i in range(cells):
        m, c = top[i], count[i]
        corners = int32(
            int32(int32(corner1[i] == m) + int32(corner2[i] == m))
            + int32(int32(corner3[i] == m) + int32(corner4[i] == m))
        )
        stands = (c >= need0) | ((corners >= int32(3)) & (c >= need3)) | ((corners == int32(4)) & (c >= need4))
        room[i] = int32(stands) * int32(ceiling - m)


@njit(cache=True, fastmath=True, error_model="numpy")
def _tally(room, inside, cells, low, sides, counts):
    """Numbers of positions of one map by room, and the most room at any position."""
    best = int32(0)
    for i in range(cells):
        kept = int32(room[i] * inside[i])
        room[i] = kept
        best = max(best, kept)
    counts[sides] = best
    for h in range(sides):
        counts[h] = 0
        level = int32(low + h)
        if level <= best:
            found = int32(0)
            for i in range(cells):
                found = int32(found + int32(room[i] >= level))
            counts[h] = found


@njit(cache=True)
def _positions(flat, maps, size_x, size_y, ceiling, low, high, need, inside, scratch, counts):
    """Supported positions of every footprint with at least as much room above as each item height, for several maps.

    The maps lie one after the other in one long row of cells, so that each pass over them is one simple loop (indices
    without offsets, which the compiler turns into vector instructions); windows that reach beyond the end of a line
    are computed too and then left out.

    Args:
        flat: int32 ``(K * L * W + padding,)``, the height maps row by row, padded by ``high * (W + 1)`` cells.
        maps: number of maps now.
        size_x: L.
        size_y: W.
        ceiling: height of the bin.
        low: smallest side of an item.
        high: largest.
        need: int32 ``(S, S, 3)``, cells needed at the highest level: with four corners, with three, in any case.
        inside: int32 ``(S, S, L * W)``, 1 where the footprint stays in the bin.
        scratch: int32 ``(6, len(flat))``, the last row 1.
        counts: int32 ``(K, S, S, S + 1)``, overwritten: per map and footprint the numbers of positions by room
            ``low .. high``, then the most room at any position.
    """
    cells = size_x * size_y
    total = maps * cells
    padded = total + high * size_y
    sides = high - low + 1
    row_top, row_count, top, count, room, ones = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
    row_top[:padded] = flat[:padded]
    row_count[:padded] = 1
    for width in range(1, high + 1):
        if width > 1:
            _join(row_top, row_count, flat[width - 1 :], ones, padded)
        if width < low:
            continue
        top[:total] = row_top[:total]
        count[:total] = row_count[:total]
        for length in range(1, high + 1):
            x1, y1 = (length - 1) * size_y, width - 1  # from a corner to the next along x, along y
            if length > 1:
                _join(top, count, row_top[x1:], row_count[x1:], total)
            if length < low:
                continue
            a, b = length - low, width - low
            need4, need3, need0 = need[a, b, 0], need[a, b, 1], need[a, b, 2]
            corner2, corner3, corner4 = flat[x1:], flat[y1:], flat[x1 + y1 :]
            _room_above(flat, corner2, corner3, corner4, top, count, total, need4, need3, need0, int32(ceiling), room)
            for k in range(maps):
                _tally(room[k * cells :], inside[a, b], cells, low, sides, counts[k, a, b])


@njit(cache=True)
def _stretches(line, step, start, length, ceiling, low, high, out):
    """Count the level stretches of one line by what bounds them (0, 1, 2 higher sides) and length, and its steps."""
    begin = 0
    for k in range(1, length + 1):
        level = line[start + begin * step]
        if k < length and line[start + k * step] == level:
            continue
        higher = 0
        if begin == 0 or line[start + (begin - 1) * step] > level:
            higher += 1
        if k == length or line[start + k * step] > level:
            higher += 1
        if level + low <= ceiling:
            out[higher * 2 * high + min(k - begin, 2 * high) - 1] += 0.1
        if k < length:
            difference = abs(line[start + k * step] - level)
            out[6 * high + min(difference, 6) - 1] += 0.05
        begin = k


def columns(low: int, high: int, ceiling: int) -> int:
    """Number of features of a height map."""
    sides = high - low + 1
    return sides * (sides + 1) // 2 * (2 * sides + 1) + 6 * high + _STEP_CLASSES + ceiling + 1


@njit(cache=True)
def _describe(cells_of_map, size_x, size_y, ceiling, orientations, low, high, counts, logs, out):
    """Write the features of one height map (int32, row by row) whose positions are counted, see ``columns``."""
    sides = high - low + 1
    k = 0
    for a in range(sides):
        for b in range(a, sides):
            for h in range(sides):
                one, other = counts[a, b, h], counts[b, a, h]
                if orientations == 1:
                    out[k] = 0.5 * ((one > 0) + (other > 0))
                    out[k + 1] = 0.5 * (logs[one] + logs[other])
                else:
                    out[k] = 1.0 * (one + other > 0)
                    out[k + 1] = logs[one + other]
                k += 2
            one, other = counts[a, b, sides], counts[b, a, sides]
            out[k] = (0.5 * (one + other) if orientations == 1 else max(one, other)) / ceiling
            k += 1
    rest = out[k:]
    for i in range(size_x):
        _stretches(cells_of_map, 1, i * size_y, size_y, ceiling, low, high, rest)
    for j in range(size_y):
        _stretches(cells_of_map, size_y, j, size_x, ceiling, low, high, rest)
    levels = rest[6 * high + _STEP_CLASSES :]
    for i in range(size_x * size_y):
        levels[cells_of_map[i]] += 1.0 / (size_x * size_y)


@njit(cache=True)
def _signature(heights, item, action, codes, before):
    """A number of the height map after a placement that is the same for its mirror images, and for hardly any other.

    Args:
        heights: int16 ``(L, W)``, before the placement.
        item: int16 ``(3,)``.
        action: the placement.
        codes: int64 ``(G, L, W)``, random numbers of the cells, seen through each of the symmetries of the bin.
        before: int64 ``(G,)``, sums of code x height before the placement.
    """
    size_x, size_y = heights.shape
    turned, cell = action // (size_x * size_y), action % (size_x * size_y)
    x, y = cell // size_y, cell % size_y
    length, width = (item[0], item[1]) if turned == 0 else (item[1], item[0])
    top = np.int64(heights[x : x + length, y : y + width].max()) + item[2]
    largest = np.iinfo(np.int64).min
    for g in range(codes.shape[0]):
        total = before[g]
        for i in range(x, x + length):
            for j in range(y, y + width):
                total += codes[g, i, j] * (top - heights[i, j])
        largest = max(largest, total)
    return largest


@njit(cache=True)
def _choose(placed, mask, heights, item, weights, codes, scores, chosen, signatures, before):
    """Write the placements that a linear rule ranks highest, best first and no two mirror images; returns how many."""
    for action in range(mask.shape[0]):
        scores[action] = -np.inf
        if mask[action]:
            score = 0.0
            for f in range(weights.shape[0]):
                score += weights[f] * placed[action, f]
            scores[action] = score
    for g in range(codes.shape[0]):
        before[g] = 0
        for i in range(heights.shape[0]):
            for j in range(heights.shape[1]):
                before[g] += codes[g, i, j] * heights[i, j]
    found = 0
    while found < chosen.shape[0]:
        best = np.argmax(scores)
        if scores[best] == -np.inf:
            break
        scores[best] = -np.inf
        signature = _signature(heights, item, best, codes, before)
        if not (signatures[:found] == signature).any():
            chosen[found], signatures[found] = best, signature
            found += 1
    return found


@njit(cache=True)
def after_features(heights, items, masks, ceiling, orientations, low, high, need, inside, weights, codes, keep, width):
    """Features of the best placements of a batch of states.

    Args:
        heights: int16 ``(n, L, W)``.
        items: int16 ``(n, 3)``, the boxes in front.
        masks: bool ``(n, A)``.
        ceiling: height of the bin.
        orientations: of the boxes.
        low: smallest side of an item.
        high: largest.
        need: see ``_positions``.
        inside: see ``_positions``.
        weights: float64 ``(12,)`` of the linear rule that chooses the placements to describe.
        codes: see ``_signature``.
        keep: how many.
        width: ``14 + columns(...)``.

    Returns:
        float32 ``(n, A, width)``: 1 for a placement that is left out, 0 for a described one, and of this its reward,
        its 12 placement features and those of its height map.
    """
    n, size_x, size_y = heights.shape
    cells, actions, sides = size_x * size_y, masks.shape[1], high - low + 1
    out = np.zeros((n, actions, width), np.float32)
    out[:, :, 0] = 1.0
    padded = np.full((size_x + 2, size_y + 2), ceiling, np.int16)
    square = np.zeros((size_x + 1, size_y + 1), np.int16)
    square_before = np.zeros_like(square)
    sums = np.zeros((size_x + 2, size_y + 2, 8), np.int32)
    placed = np.empty((actions, 12), np.float32)
    scores = np.empty(actions, np.float64)
    chosen, signatures, before = np.empty(keep, np.int64), np.empty(keep, np.int64), np.empty(codes.shape[0], np.int64)
    after = np.empty((size_x, size_y), np.int16)
    flat = np.zeros(keep * cells + 2 * high * (size_y + 1), np.int32)
    scratch = np.ones((6, flat.shape[0]), np.int32)
    counts = np.empty((keep, sides, sides, sides + 1), np.int32)
    logs = 0.5 * np.log1p(np.arange(2 * cells + 1))
    for r in range(n):
        features_one(heights[r], items[r], masks[r], ceiling, padded, square, square_before, sums, placed)
        found = _choose(placed, masks[r], heights[r], items[r], weights, codes, scores, chosen, signatures, before)
        for k in range(found):
            after[:] = heights[r]
            place_one(after, items[r], chosen[k])
            for i in range(size_x):
                for j in range(size_y):
                    flat[k * cells + i * size_y + j] = after[i, j]
        reward = 10.0 * items[r, 0] * items[r, 1] * items[r, 2] / (cells * ceiling)
        _positions(flat, found, size_x, size_y, ceiling, low, high, need, inside, scratch, counts)
        for k in range(found):
            row = out[r, chosen[k]]
            row[0] = 0.0
            row[1] = reward
            row[2:14] = placed[chosen[k]]
            own = flat[k * cells : (k + 1) * cells]
            _describe(own, size_x, size_y, ceiling, orientations, low, high, counts[k], logs, row[14:])
    return out


def footprint_tables(scenario: BinPackingScenario) -> tuple[Array, Array]:
    """``need`` and ``inside`` of a scenario, see ``_positions``."""
    low, high = scenario.items.low, scenario.items.high
    size_x, size_y = scenario.bin.length, scenario.bin.width
    sides = high - low + 1
    need = np.zeros((sides, sides, 3), np.int32)
    inside = np.zeros((sides, sides, size_x, size_y), np.int32)
    for a in range(sides):
        for b in range(sides):
            length, width = low + a, low + b
            area = length * width
            need[a, b] = [min(area, theta * area // 10_000 + 1) for theta in scenario.thresholds()]
            inside[a, b, : max(0, size_x - length + 1), : max(0, size_y - width + 1)] = 1
    return need, inside.reshape(sides, sides, size_x * size_y)


def mirrored_codes(size_x: int, size_y: int) -> Array:
    """``codes`` of ``_signature``: the symmetries of the rectangle, with those of the square where it is one."""
    codes = np.random.default_rng(0).integers(-(2**40), 2**40, (size_x, size_y))
    mirrored = [codes, codes[::-1], codes[:, ::-1], codes[::-1, ::-1]]
    if size_x == size_y:
        mirrored += [one.T for one in mirrored]
    return np.ascontiguousarray(np.stack(mirrored))


def after_states(scenario: BinPackingScenario, keep: int = CANDIDATES) -> Encoder:
    """The encoder: ``action_features`` float32 ``(n, A, F)``, see ``after_features``."""
    need, inside = footprint_tables(scenario)
    low, high, ceiling = scenario.items.low, scenario.items.high, scenario.bin.height
    weights = np.array(scenario.linear12_weights, np.float64)
    codes = mirrored_codes(scenario.bin.length, scenario.bin.width)
    width = 14 + columns(low, high, ceiling)

    def encode(observation: Observation) -> dict[str, Array]:
        features: Array = after_features(
            np.ascontiguousarray(observation["height_map"], np.int16),
            np.ascontiguousarray(observation["items"][:, 0], np.int16),
            np.ascontiguousarray(observation["action_mask"]),
            ceiling,
            int(scenario.orientations),
            low,
            high,
            need,
            inside,
            weights,
            codes,
            keep,
            width,
        )
        return {"action_features": features}

    return encode

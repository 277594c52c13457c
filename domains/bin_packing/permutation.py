"""Monte-Carlo permutation tree search over the known boxes, compiled.

The boxes are placed virtually in any order, but set down in the true one: a box that is placed virtually after one that
comes later must avoid the cells that the later one covers, as it will be there first. Every virtual plan can then be
carried out in the true order, box by box at the planned positions. A node of the tree is the beginning of an order; a
simulation follows ``Q + c sqrt(N_parent) / (N + 1)`` down to a complete order, and its value (reward of the placements
plus the estimate of what the last map is worth) is backed up by the maximum. Source: Zhao, She, Zhu, Yang, Xu, "Online
3D Bin Packing with Constrained Deep Reinforcement Learning", AAAI 2021, section 3.3 and Algorithm 1.
"""

import math

import numpy as np
from numba import njit

from interlock.domains.bin_packing.beam import known_items, scratch_for
from interlock.domains.bin_packing.features import features_one
from interlock.domains.bin_packing.map_value import best_scored, map_value
from interlock.domains.bin_packing.model import mask_one, place_one

EXPLORATION = 0.5
"""The constant c, in units of reward (a full bin is worth 10)."""
LEAST_GAIN = 0.1
"""Reward (1 % of the bin) that the best order must gain over the true order to replace its decision."""
FAILED = -10_000.0
"""Value of an order in which some box has no placement."""


def simulations(known: int) -> int:
    """How many orders are tried: ``min(100, (k - 1)!)``."""
    return min(100, math.factorial(max(0, known - 1)))


@njit(cache=True)
def place_virtually(heights, owner, item, index, allowed, orientations, ceiling, thresholds, weights, blocked, scratch):
    """Place box ``index`` by the linear rule on a virtual map; returns the action, -1 if it has none.

    Args:
        heights: int16 ``(L, W)``, changed.
        owner: int16 ``(L, W)``, latest box in the true order that covers a cell, -1 for none; changed.
        item: int16 ``(3,)``.
        index: its position in the true order.
        allowed: bool ``(A,)``: feasible placements of box 0.
        orientations: 1, 2 or 6.
        ceiling: height of the bin in cells.
        thresholds: support thresholds in 1/10,000.
        weights: float64 ``(12,)`` of the linear rule.
        blocked: scratch int16 ``(L, W)``.
        scratch: from ``scratch_for``; keeps the features of the placements.
    """
    size_x, size_y = heights.shape
    row_max, mask, padded, square, square_before, sums, features = scratch
    for i in range(size_x):
        for j in range(size_y):
            blocked[i, j] = ceiling if owner[i, j] > index else heights[i, j]
    if mask_one(blocked, item, orientations, ceiling, thresholds, row_max, mask) == 0:
        return -1
    if index == 0:
        mask &= allowed
    features_one(blocked, item, mask, ceiling, padded, square, square_before, sums, features)
    action = best_scored(mask, features, weights)
    if action >= 0:
        blocked[:] = heights
        place_one(heights, item, action)
        for i in range(size_x):
            for j in range(size_y):
                if blocked[i, j] != heights[i, j]:
                    owner[i, j] = max(owner[i, j], index)
    return action


@njit(cache=True)
def _select(node, children, visits, best, closed, used):
    """The next box of the order: the open child that scores best, the earliest on ties; -1 if none is open."""
    chosen, chosen_score = -1, 0.0
    for item in range(children.shape[1]):
        child = children[node, item]
        if used[item] or (child >= 0 and closed[child]):
            continue
        # A child not yet visited is taken to be worth what its parent is.
        value, seen = (best[child], visits[child]) if child >= 0 else (best[node], 0)
        score = value + EXPLORATION * math.sqrt(visits[node]) / (seen + 1)
        if chosen < 0 or score > chosen_score:
            chosen, chosen_score = item, score
    return chosen


@njit(cache=True)
def _simulate(order, heights, items, allowed, orientations, ceiling, thresholds, weights, value, scratch, plan):
    """Carry out an order virtually; returns its value in reward, or ``FAILED``. ``plan`` gets the actions.

    The true order may stop at the first box without placement: the boxes before it still count.
    """
    size_x, size_y = heights.shape
    bin_volume = size_x * size_y * ceiling
    after, blocked = heights.copy(), np.empty_like(heights)
    owner = np.full((size_x, size_y), -1, np.int16)
    plan[:] = -1
    volume, in_true_order = 0.0, True
    for position in range(order.shape[0]):
        index = order[position]
        in_true_order &= index == position
        item = items[index]
        action = place_virtually(
            after, owner, item, index, allowed, orientations, ceiling, thresholds, weights, blocked, scratch
        )
        if action < 0:
            return 10.0 * volume / bin_volume if in_true_order and position > 0 else FAILED
        plan[index] = action
        volume += float(item[0]) * item[1] * item[2]
    if value.shape[0] > 0:
        volume += map_value(after, ceiling, value)
    return 10.0 * volume / bin_volume


@njit(cache=True)
def permutation_search(heights, allowed, items, orientations, ceiling, thresholds, weights, value, tries, least_gain):
    """Choose the front box's placement by search over the orders of the known boxes.

    Args:
        heights: int16 ``(L, W)``.
        allowed: bool ``(A,)``, feasible placements of the front box.
        items: int16 ``(K, 3)``, zeros beyond the last known box.
        orientations: 1, 2 or 6.
        ceiling: height of the bin in cells.
        thresholds: support thresholds in 1/10,000.
        weights: float64 ``(12,)`` of the linear rule that places each box.
        value: ``(9,)`` for ``map_value`` of the last map; empty for none.
        tries: orders tried; the true order is always the first.
        least_gain: reward that another order must gain over the true one.

    Returns:
        ``(plan, value of the plan, value of the true order)``: ``plan`` int64 ``(known,)``, the action of each box in
        the true order, -1 where the plan has none.
    """
    size_x, size_y = heights.shape
    known = known_items(items)
    scratch = scratch_for(size_x, size_y, orientations, ceiling)
    nodes = 1 + (tries + 1) * known
    children = np.full((nodes, known), -1, np.int64)
    visits, best, closed = np.zeros(nodes, np.int64), np.zeros(nodes), np.zeros(nodes, np.bool_)
    used, order, path = np.empty(known, np.bool_), np.arange(known), np.zeros(known + 1, np.int64)
    plan, best_plan = np.full(known, -1, np.int64), np.full(known, -1, np.int64)
    best_value, true_value, made = FAILED, FAILED, 1
    for attempt in range(max(1, tries)):
        used[:] = False
        depth = 0
        while depth < known:
            item = depth if attempt == 0 else _select(path[depth], children, visits, best, closed, used)
            if item < 0:
                break
            if children[path[depth], item] < 0:
                children[path[depth], item] = made
                made += 1
            used[item] = True
            order[depth] = item
            depth += 1
            path[depth] = children[path[depth - 1], item]
        if depth < known:  # every order has been tried
            break
        result = _simulate(
            order, heights, items, allowed, orientations, ceiling, thresholds, weights, value, scratch, plan
        )
        if attempt == 0:
            best_value = true_value = result
            best_plan[:] = plan
        elif result > best_value and result >= true_value + least_gain:
            best_value, best_plan[:] = result, plan
        for level in range(known + 1):
            node = path[level]
            best[node] = result if visits[node] == 0 else max(best[node], result)
            visits[node] += 1
        closed[path[known]] = True
        for level in range(known - 1, -1, -1):
            closed[path[level]] = _all_closed(path[level], children, closed, known - level)
    return best_plan, best_value, true_value


@njit(cache=True)
def _all_closed(node, children, closed, branches):
    """Whether every order that begins with this node has been tried."""
    done = 0
    for item in range(children.shape[1]):
        child = children[node, item]
        done += child >= 0 and closed[child]
    return done == branches

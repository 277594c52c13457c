"""What a placement costs by the rules that packers use, as compiled kernels over batches of bins; lower is better.

Costs are comparable between positions, and between several open bins and held boxes: rules that judge the whole bin
after the placement count the change that the placement makes.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.orientation import sides
from interlock.domains.bin_packing.spaces import X0, X1, Y0, Y1, Z, maximal_spaces, takes, types_taken

Array = NDArray[Any]

RULES = ("hm_min", "dbl", "contact", "low_contact", "lsah", "online_bph", "macs", "br", "br_mean")
"""The rules; their position is their number in ``rule_costs``."""
HM_MIN, DBL, CONTACT, LOW_CONTACT, LSAH, ONLINE_BPH, MACS, BR, BR_MEAN = range(len(RULES))

_ROOM = 64  # spaces that a list holds before it grows


@njit(cache=True, inline="always")
def _position(item, action, size_x, size_y):
    """``(x, y, along x, along y, up)`` of an action in one bin."""
    along_x, along_y, up = sides(item, action // (size_x * size_y))
    cell = action % (size_x * size_y)
    return cell // size_y, cell % size_y, along_x, along_y, up


@njit(cache=True, inline="always")
def _floor(heights, x, y, along_x, along_y):
    """Where a box set down here stands, and the sum of the heights below it."""
    z, total = 0, 0
    for i in range(x, x + along_x):
        for j in range(y, y + along_y):
            z = max(z, heights[i, j])
            total += heights[i, j]
    return z, total


@njit(cache=True, inline="always")
def _side_contact(heights, x, y, along_x, along_y, z, up):
    """Area of the four upright faces that touches a wall or a neighbour."""
    size_x, size_y = heights.shape
    area = 0
    for i in range(x, x + along_x):
        area += up if y == 0 else max(0, min(heights[i, y - 1] - z, up))
        area += up if y + along_y == size_y else max(0, min(heights[i, y + along_y] - z, up))
    for j in range(y, y + along_y):
        area += up if x == 0 else max(0, min(heights[x - 1, j] - z, up))
        area += up if x + along_x == size_x else max(0, min(heights[x + along_x, j] - z, up))
    return area


@njit(cache=True)
def _footprint_costs(rule, heights, item, mask, costs):
    """``dbl``, ``hm_min``, ``contact`` and ``low_contact``: what lies under and beside the box."""
    size_x, size_y = heights.shape
    for action in range(mask.shape[0]):
        if not mask[action]:
            continue
        x, y, along_x, along_y, up = _position(item, action, size_x, size_y)
        z, total = _floor(heights, x, y, along_x, along_y)
        lost = along_x * along_y * z - total
        if rule == DBL:
            costs[action] = 100 * z + x + y
        elif rule == HM_MIN:
            costs[action] = 100 * (lost + along_x * along_y * up) + x + y
        else:
            touching = _side_contact(heights, x, y, along_x, along_y, z, up)
            if rule == CONTACT:
                costs[action] = 1000 * lost - touching
            else:
                faces = 2 * (along_x + along_y) * up
                costs[action] = 10 * (z + up) + 3 * lost - 10 * touching / faces


@njit(cache=True)
def _least_surface_costs(heights, item, mask, ceiling, spaces, costs):
    """``lsah``: growth of three faces of the box around everything; ties to the tightest space that takes the item."""
    size_x, size_y = heights.shape
    first_x, first_y, last_x, last_y, top = size_x, size_y, 0, 0, 0
    for i in range(size_x):
        for j in range(size_y):
            if heights[i, j] > 0:
                first_x, last_x = min(first_x, i), max(last_x, i + 1)
                first_y, last_y = min(first_y, j), max(last_y, j + 1)
                top = max(top, heights[i, j])
    a, b = max(0, last_x - first_x), max(0, last_y - first_y)
    before = a * b + a * top + b * top
    spaces, count = maximal_spaces(heights, ceiling, spaces)
    tightest = size_x + size_y + ceiling
    for action in range(mask.shape[0]):
        if not mask[action]:
            continue
        x, y, along_x, along_y, up = _position(item, action, size_x, size_y)
        z, _ = _floor(heights, x, y, along_x, along_y)
        a = max(last_x, x + along_x) - min(first_x, x)
        b = max(last_y, y + along_y) - min(first_y, y)
        c = max(top, z + up)
        residual = tightest
        for k in range(count):
            s = spaces[k]
            if s[X0] <= x and s[Y0] <= y and x + along_x <= s[X1] and y + along_y <= s[Y1]:
                spare = min(s[X1] - s[X0] - along_x, s[Y1] - s[Y0] - along_y, ceiling - s[Z] - up)
                residual = min(residual, spare)
        costs[action] = (a * b + a * c + b * c - before) * (tightest + 1) + residual


@njit(cache=True)
def _corner_costs(heights, item, mask, ceiling, spaces, costs):
    """``online_bph``: corners of the spaces that take the item, by z, y, x; after them ``dbl``."""
    size_x, size_y = heights.shape
    cells = size_x * size_y
    _footprint_costs(DBL, heights, item, mask, costs)
    behind = ceiling * cells
    for action in range(mask.shape[0]):
        costs[action] += behind
    spaces, count = maximal_spaces(heights, ceiling, spaces)
    for k in range(count):
        s = spaces[k]
        for o in range(mask.shape[0] // cells):
            action = o * cells + s[X0] * size_y + s[Y0]
            if mask[action] and takes(s, item, o, ceiling):
                costs[action] = min(costs[action], s[Z] * cells + s[Y0] * size_x + s[X0])


@njit(cache=True, inline="always")
def _worth(rule, spaces, count, ceiling, low, high, orientations):
    """What the empty maximal spaces of a bin are worth by ``macs``, ``br`` or ``br_mean``."""
    if count == 0:
        return 0.0
    if rule == MACS:  # over every level, the largest rectangle that is free from there on
        total, largest = 0, 0
        for k in range(count):
            s = spaces[k]
            largest = max(largest, (s[X1] - s[X0]) * (s[Y1] - s[Y0]))
            if k + 1 == count or spaces[k + 1, Z] > s[Z]:
                above = spaces[k + 1, Z] if k + 1 < count else ceiling
                total += largest * (above - s[Z])
        return float(total)
    best, total = 0, 0
    for k in range(count):
        a, b, c = spaces[k, X1] - spaces[k, X0], spaces[k, Y1] - spaces[k, Y0], ceiling - spaces[k, Z]
        taken = types_taken(a, b, c, low, high, orientations)
        score = a * b * c + taken + 10 * (taken == (high - low + 1) ** 3)
        best, total = max(best, score), total + score
    return float(best) if rule == BR else total / count


@njit(cache=True)
def _space_costs(rule, heights, item, mask, ceiling, low, high, spaces, costs):
    """``macs``, ``br`` and ``br_mean``: what the spaces lose in worth by the placement."""
    size_x, size_y = heights.shape
    orientations = mask.shape[0] // (size_x * size_y)
    after = heights.copy()
    spaces, count = maximal_spaces(heights, ceiling, spaces)
    before = _worth(rule, spaces, count, ceiling, low, high, orientations)
    for action in range(mask.shape[0]):
        if not mask[action]:
            continue
        x, y, along_x, along_y, up = _position(item, action, size_x, size_y)
        z, _ = _floor(heights, x, y, along_x, along_y)
        after[x : x + along_x, y : y + along_y] = z + up
        spaces, count = maximal_spaces(after, ceiling, spaces)
        costs[action] = before - _worth(rule, spaces, count, ceiling, low, high, orientations)
        after[x : x + along_x, y : y + along_y] = heights[x : x + along_x, y : y + along_y]


@njit(cache=True)
def rule_costs(rule, heights, items, masks, ceiling, low, high):
    """Costs of the placements that a rule may choose from.

    Args:
        rule: position in ``RULES``.
        heights: int16 ``(n, L, W)``.
        items: int16 ``(n, 3)``.
        masks: bool ``(n, O * L * W)``: feasible placements only.
        ceiling: height of the bin in cells.
        low: smallest side of the item types that ``br`` and ``br_mean`` count.
        high: their largest side.

    Returns:
        float64 ``(n, O * L * W)``; infinite where the mask is off.
    """
    costs = np.full(masks.shape, np.inf, np.float64)
    spaces = np.empty((_ROOM, 5), np.int16)
    for r in range(heights.shape[0]):
        if rule <= LOW_CONTACT:
            _footprint_costs(rule, heights[r], items[r], masks[r], costs[r])
        elif rule == LSAH:
            _least_surface_costs(heights[r], items[r], masks[r], ceiling, spaces, costs[r])
        elif rule == ONLINE_BPH:
            _corner_costs(heights[r], items[r], masks[r], ceiling, spaces, costs[r])
        else:
            _space_costs(rule, heights[r], items[r], masks[r], ceiling, low, high, spaces, costs[r])
    return costs


@njit(cache=True)
def cheapest(costs, heights, items, views):
    """The action of least cost; ties go to the lowest floor, then the smallest x + y, then the lowest action index.

    Args:
        costs: float64 ``(n * views, A)``, as ``rule_costs`` gives them.
        heights: int16 ``(n * views, L, W)``.
        items: int16 ``(n * views, 3)``.
        views: consecutive rows (a bin and a held box each) among which one action is chosen.

    Returns:
        int64 ``(n,)``: the row within the views x ``A`` + the action there; 0 if every cost is infinite.
    """
    size_x, size_y = heights.shape[1:]
    n, actions = costs.shape[0] // views, costs.shape[1]
    chosen = np.zeros(n, np.int64)
    for r in range(n):
        least, lowest, nearest = np.inf, 0, 0
        for v in range(views):
            row = r * views + v
            for action in range(actions):
                cost = costs[row, action]
                if cost > least or cost == np.inf:
                    continue
                x, y, along_x, along_y, _ = _position(items[row], action, size_x, size_y)
                z, _ = _floor(heights[row], x, y, along_x, along_y)
                if cost < least or z < lowest or (z == lowest and x + y < nearest):
                    chosen[r] = v * actions + action
                    least, lowest, nearest = cost, z, x + y
    return chosen

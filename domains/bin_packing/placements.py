"""Which placements are feasible, and which rule forbids the others: numpy only, independent of the compiled kernels.

This is what a released decision is judged by, and the slow twin of ``model.mask_batch``. The rule: a box set down at
``z = max`` of the height map over its footprint must stay inside the bin, below the ceiling, and be supported: with
``A`` footprint cells, ``c`` of them at height ``z`` and ``k4`` of its four corner cells at ``z``, one of
``c = A``, ``k4 = 4 and c/A > theta4``, ``k4 >= 3 and c/A > theta3``, ``c/A > theta0`` must hold. Shares are compared as
whole numbers of 1/10,000, strictly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

SIDES = ((0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0), (2, 1, 0))
"""Per orientation, which side of a box (0 length, 1 width, 2 height) lies along x, along y and points up."""

FEASIBLE, OUTSIDE, TOO_HIGH, UNSTABLE, DUPLICATE = range(5)
"""Codes in ``Placements.rule``: the first rule that forbids a placement. An orientation that gives a box the same sides
as an earlier one is a duplicate."""


@dataclass(frozen=True, slots=True)
class Placements:
    """Every loading position of a batch of states; all arrays ``(n, O, L, W)``, index ``[row, o, x, y]``.

    Attributes:
        rule: uint8, one of the codes above.
        z: int32, set-down height in cells; 0 where the box would stick out.
        support: int32, footprint cells at height ``z``.
        corners: int32, corner cells of the footprint at height ``z``.
    """

    rule: Array
    z: Array
    support: Array
    corners: Array


def stable(support: ArrayLike, corners: ArrayLike, area: int, thresholds: tuple[int, int, int]) -> Array:
    """The support rule: cells at set-down height, corners at set-down height, cells of the footprint."""
    theta4, theta3, theta0 = thresholds
    support, corners = np.asarray(support, np.int64), np.asarray(corners)
    share = 10_000 * support
    result: Array = (
        (support == area)
        | ((corners == 4) & (share > theta4 * area))
        | ((corners >= 3) & (share > theta3 * area))
        | (share > theta0 * area)
    )
    return result


def placement_report(
    heights: ArrayLike, items: ArrayLike, *, ceiling: int, orientations: int, thresholds: tuple[int, int, int]
) -> Placements:
    """Judge every loading position of a batch of states.

    Args:
        heights: whole numbers ``(n, L, W)``, cells.
        items: ``(n, 3)``: length, width, height of the box to be placed, as it arrives, cells.
        ceiling: height of the bin, cells.
        orientations: 1, 2 where length and width may be swapped, or 6 where any side may point up.
        thresholds: ``(theta4, theta3, theta0)`` in 1/10,000.
    """
    heights, items = np.asarray(heights, np.int32), np.asarray(items, np.int32)
    n, size_x, size_y = heights.shape
    shape = (n, orientations, size_x, size_y)
    rule = np.full(shape, OUTSIDE, np.uint8)
    z, support, corners = (np.zeros(shape, np.int32) for _ in range(3))
    alike: dict[tuple[int, ...], list[int]] = {}
    for row, item in enumerate(items.tolist()):
        alike.setdefault(tuple(item), []).append(row)
    footprints: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for item, rows in alike.items():
        seen = []
        for o, (a, b, c) in enumerate(SIDES[:orientations]):
            sides = item[a], item[b], item[c]
            if sides in seen:
                rule[rows, o] = DUPLICATE
            elif sides[0] <= size_x and sides[1] <= size_y:
                footprints.setdefault((sides[0], sides[1]), []).extend((row, o, sides[2]) for row in rows)
            seen.append(sides)
    for (length, width), places in footprints.items():
        row, turn, up = np.array(places).T
        inside = (row, turn, slice(size_x - length + 1), slice(size_y - width + 1))
        floor, cells, held = _contact(heights[row], length, width)
        z[inside], support[inside], corners[inside] = floor, cells, held
        steady = np.where(stable(cells, held, length * width, thresholds), FEASIBLE, UNSTABLE)
        rule[inside] = np.where(floor + up[:, None, None] > ceiling, TOO_HIGH, steady)
    return Placements(rule, z, support, corners)


def feasible_placements(
    heights: ArrayLike, items: ArrayLike, *, ceiling: int, orientations: int, thresholds: tuple[int, int, int]
) -> Array:
    """Feasibility mask, bool ``(n, O * L * W)``; arguments as in ``placement_report``."""
    rule = placement_report(heights, items, ceiling=ceiling, orientations=orientations, thresholds=thresholds).rule
    mask: Array = (rule == FEASIBLE).reshape(len(rule), -1)
    return mask


def _contact(heights: Array, length: int, width: int) -> tuple[Array, Array, Array]:
    """Set-down height, cells and corners at that height, for every window of ``length x width`` cells."""
    size_x, size_y = heights.shape[1] - length + 1, heights.shape[2] - width + 1
    z, support = heights[:, :, :size_y].copy(), np.ones((*heights.shape[:2], size_y), np.int32)
    for k in range(1, width):  # along y first: the highest cell so far, and how many there are of it
        level = heights[:, :, k : k + size_y]
        support = np.where(level > z, 1, support + (level == z))
        np.maximum(z, level, out=z)
    rows, counts = z, support
    z, support = rows[:, :size_x].copy(), counts[:, :size_x].copy()
    for k in range(1, length):  # then the same over rows of such windows
        level, count = rows[:, k : k + size_x], counts[:, k : k + size_x]
        support = np.where(level > z, count, support + count * (level == z))
        np.maximum(z, level, out=z)
    corners = np.zeros_like(z)
    for i in (0, length - 1):
        for j in (0, width - 1):
            corners += heights[:, i : i + size_x, j : j + size_y] == z
    return z, support, corners

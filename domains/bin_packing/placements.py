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
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

FEASIBLE, OUTSIDE, TOO_HIGH, UNSTABLE, DUPLICATE = range(5)
"""Codes in ``Placements.rule``: the first rule that forbids a placement. A square box has no second orientation."""


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
        items: ``(n, 3)``: length, width, height of the box in front, cells.
        ceiling: height of the bin, cells.
        orientations: 1, or 2 where length and width may be swapped.
        thresholds: ``(theta4, theta3, theta0)`` in 1/10,000.
    """
    heights, items = np.asarray(heights, np.int32), np.asarray(items, np.int32)
    n, size_x, size_y = heights.shape
    shape = (n, orientations, size_x, size_y)
    rule = np.full(shape, OUTSIDE, np.uint8)
    z, support, corners = (np.zeros(shape, np.int32) for _ in range(3))
    for o in range(orientations):
        footprints = items[:, [0, 1]] if o == 0 else items[:, [1, 0]]
        for length, width in np.unique(footprints, axis=0):
            rows = np.flatnonzero((footprints == (length, width)).all(axis=1))
            if o == 1 and length == width:
                rule[rows, o] = DUPLICATE
            elif length <= size_x and width <= size_y:
                inside = (rows, o, slice(size_x - length + 1), slice(size_y - width + 1))
                z[inside], support[inside], corners[inside] = _contact(heights[rows], length, width)
                too_high = z[inside] + items[rows, 2][:, None, None] > ceiling
                held = stable(support[inside], corners[inside], int(length * width), thresholds)
                rule[inside] = np.where(too_high, TOO_HIGH, np.where(held, FEASIBLE, UNSTABLE))
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
    n, size_x, size_y = heights.shape
    z = sliding_window_view(sliding_window_view(heights, length, axis=1).max(axis=-1), width, axis=2).max(axis=-1)
    support = np.zeros_like(z)
    sums = np.zeros((n, size_x + 1, size_y + 1), np.int32)  # sums[x, y]: cells at this level in [0, x) x [0, y)
    for level in np.unique(z):
        sums[:, 1:, 1:] = (heights == level).cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32)
        count = sums[:, length:, width:] - sums[:, :-length, width:] - sums[:, length:, :-width]
        np.copyto(support, count + sums[:, :-length, :-width], where=z == level)
    corners = np.zeros_like(z)
    for i in (0, length - 1):
        for j in (0, width - 1):
            corners += heights[:, i : i + z.shape[1], j : j + z.shape[2]] == z
    return z, support, corners

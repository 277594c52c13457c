"""Whether a stack bears one more box: centres of mass above their supports, and no box crushed; compiled.

A box rests on the boxes whose top is exactly its floor and whose footprint overlaps its own, or on the floor. The mass
that rests on a box is its own and what it carries, and acts at their common centre of mass. This point must lie
strictly inside the convex hull of the box's contact rectangles. What it passes down is shared between its supports at
the centres of the contact rectangles: of all shares that balance force and moment, those with the least sum of squares.
That is everything for one support, and the lever rule along the line of contact centres for two. A support that would
have to pull is left out and the others, those that bear nothing among them, share again. Where the centres cannot
balance the moment (one support, or all in a line), all forces move by the same vector so that they do: no mass and no
moment is lost on the way down.

The check, which visits only boxes whose load changes, is that of Zhao et al., "Learning Practically Feasible Policies
for Online 3D Bin Packing", arXiv 2108.13680. The plain twin in ``release_stacking`` shares no code with this one.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.orientation import sides

Array = NDArray[Any]

STANDS, TIPS, CRUSHES = 0, 1, 2
"""Verdicts: the stack bears the box; some centre of mass is not above its supports; some box carries too much."""

_TOLERANCE = 1e-7
"""Of lengths in cells: a centre of mass on the very edge of its contact polygon counts as outside."""
_NOTHING = 1e-12
"""A share up to this is none."""


@njit(cache=True)
def _contacts(packed, count, box, below, rects):
    """Contact rectangles (x0, y0, x1, y1) of a box and whose top it is (-1: the floor); returns how many."""
    x0, y0, floor = int(box[0]), int(box[1]), int(box[2])
    x1, y1 = x0 + int(box[3]), y0 + int(box[4])
    if floor == 0:
        below[0] = -1
        rects[0, 0], rects[0, 1], rects[0, 2], rects[0, 3] = x0, y0, x1, y1
        return 1
    found = 0
    for j in range(count):
        if packed[j, 2] + packed[j, 5] != floor:
            continue
        left, front = max(x0, packed[j, 0]), max(y0, packed[j, 1])
        right, back = min(x1, packed[j, 0] + packed[j, 3]), min(y1, packed[j, 1] + packed[j, 4])
        if left < right and front < back:
            below[found] = j
            rects[found, 0], rects[found, 1], rects[found, 2], rects[found, 3] = left, front, right, back
            found += 1
    return found


@njit(cache=True)
def _above_supports(rects, found, x, y):
    """Whether a point lies strictly inside the convex hull of rectangles."""
    for k in range(found):
        if (
            rects[k, 0] + _TOLERANCE < x < rects[k, 2] - _TOLERANCE
            and rects[k, 1] + _TOLERANCE < y < rects[k, 3] - _TOLERANCE
        ):
            return True
    # Outside means: some line through the point has all corners on one side, and may be turned until it meets a corner.
    for k in range(4 * found):
        dx, dy = rects[k // 4, 2 * (k % 2)] - x, rects[k // 4, 1 + 2 * (k % 4 // 2)] - y
        length = np.sqrt(dx * dx + dy * dy)
        if length <= _TOLERANCE:
            continue  # the point is this corner; whether it is inside, the others tell
        left, right = False, False
        for m in range(4 * found):
            across = dx * (rects[m // 4, 1 + 2 * (m % 4 // 2)] - y) - dy * (rects[m // 4, 2 * (m % 2)] - x)
            left = left or across > _TOLERANCE * length
            right = right or across < -_TOLERANCE * length
        if not (left and right):
            return False
    return found > 0


@njit(cache=True)
def _shares(rects, found, x, y, shares):
    """Shares of a mass at ``(x, y)`` that its supports take; see the module for the rule."""
    for k in range(found):
        shares[k] = 1.0
    while True:
        n, sum_x, sum_y, xx, xy, yy = 0, 0, 0, 0, 0, 0
        for k in range(found):
            if shares[k] >= 0:
                px, py = rects[k, 0] + rects[k, 2], rects[k, 1] + rects[k, 3]  # twice the centre: whole numbers
                n += 1
                sum_x, sum_y, xx, xy, yy = sum_x + px, sum_y + py, xx + px * px, xy + px * py, yy + py * py
        # The least-squares share is affine in the centre; its slope comes from the (pseudo-)inverse of the scatter.
        a, b, c = n * xx - sum_x * sum_x, n * xy - sum_x * sum_y, n * yy - sum_y * sum_y
        off_x, off_y = 2.0 * n * x - sum_x, 2.0 * n * y - sum_y
        slope_x, slope_y = 0.0, 0.0
        determinant, trace = a * c - b * b, a + c
        if determinant != 0:
            slope_x, slope_y = (c * off_x - b * off_y) / determinant, (a * off_y - b * off_x) / determinant
        elif trace != 0:
            along = (a * off_x + b * off_y) / trace / trace, (b * off_x + c * off_y) / trace / trace
            slope_x, slope_y = along
        pulls = False
        for k in range(found):
            if shares[k] >= 0:
                px, py = n * (rects[k, 0] + rects[k, 2]) - sum_x, n * (rects[k, 1] + rects[k, 3]) - sum_y
                share = (1.0 + px * slope_x + py * slope_y) / n
                pulls = pulls or share < -_NOTHING
                shares[k] = max(share, 0.0) if share >= -_NOTHING else -1.0  # -1: it would pull, and is left out
        if not pulls:
            break
    for k in range(found):
        if shares[k] <= _NOTHING:
            shares[k] = 0.0


@njit(cache=True)
def _pass_down(below, rects, found, mass, x, y, loads, shares, touched):
    """Add a mass at ``(x, y)`` to the loads (mass, moment along x, moment along y) of what it rests on, and mark it."""
    _shares(rects, found, x, y, shares)
    miss_x, miss_y = x, y
    for k in range(found):
        miss_x -= shares[k] * (rects[k, 0] + rects[k, 2]) / 2
        miss_y -= shares[k] * (rects[k, 1] + rects[k, 3]) / 2
    for k in range(found):
        j, part = below[k], shares[k] * mass
        if j >= 0 and shares[k] > 0:
            touched[j] = True
            loads[j, 0] += part
            loads[j, 1] += part * ((rects[k, 0] + rects[k, 2]) / 2 + miss_x)
            loads[j, 2] += part * ((rects[k, 1] + rects[k, 3]) / 2 + miss_y)


@njit(cache=True, inline="always")
def _resting(box, weight, mass, moment_x, moment_y):
    """Mass of a box and its load, and where it acts."""
    total = weight + mass
    x, y = box[0] + 0.5 * box[3], box[1] + 0.5 * box[4]
    if total <= 0.0:
        return 0.0, x, y
    return total, (weight * x + moment_x) / total, (weight * y + moment_y) / total


@njit(cache=True, inline="always")
def _scratch(count):
    return (
        np.empty(count + 1, np.int64),
        np.empty((count + 1, 4), np.int64),
        np.empty(count + 1),
        np.empty(count, np.bool_),
    )


@njit(cache=True)
def settle(packed, weights, count):
    """What every packed box carries.

    Args:
        packed: int16 ``(M, 6)``: x, y, z, and the sides along x, y, z, in cells.
        weights: float64 ``(M,)``, not negative.
        count: boxes packed; later rows are not read.

    Returns:
        float64 ``(count, 3)``: mass on top of each box and its moments about the edges x = 0 and y = 0 of the bin.
    """
    loads = np.zeros((count, 3))
    below, rects, shares, touched = _scratch(count)
    for j in np.argsort(-packed[:count, 2]):
        if packed[j, 2] > 0:
            found = _contacts(packed, count, packed[j], below, rects)
            mass, x, y = _resting(packed[j], weights[j], loads[j, 0], loads[j, 1], loads[j, 2])
            _pass_down(below, rects, found, mass, x, y, loads, shares, touched)
    return loads


@njit(cache=True)
def _judge(packed, weights, limits, count, loads, box, weight, check_centroid, check_crush, more, scratch):
    """``stacking_verdict`` with known ``loads``; ``more`` ``(count, 3)`` becomes what the box adds to each load."""
    below, rects, shares, touched = scratch
    more[:] = 0
    touched[:] = False
    found = _contacts(packed, count, box, below, rects)
    mass, x, y = _resting(box, weight, 0.0, 0.0, 0.0)
    if check_centroid and not _above_supports(rects, found, x, y):
        return TIPS
    verdict = STANDS
    _pass_down(below, rects, found, mass, x, y, more, shares, touched)
    while True:
        j = -1  # the highest box whose load changes: nothing that still changes rests on it
        for k in range(count):
            if touched[k] and (j < 0 or packed[k, 2] > packed[j, 2]):
                j = k
        if j < 0:
            return verdict
        touched[j] = False
        if check_crush and loads[j, 0] + more[j, 0] > limits[j] * (1 + 1e-9):
            verdict = CRUSHES
        found = _contacts(packed, count, packed[j], below, rects)
        mass, x, y = _resting(
            packed[j], weights[j], loads[j, 0] + more[j, 0], loads[j, 1] + more[j, 1], loads[j, 2] + more[j, 2]
        )
        if check_centroid and not _above_supports(rects, found, x, y):
            return TIPS
        if packed[j, 2] > 0:
            _pass_down(below, rects, found, mass, x, y, more, shares, touched)
            mass, x, y = _resting(packed[j], weights[j], loads[j, 0], loads[j, 1], loads[j, 2])
            _pass_down(below, rects, found, -mass, x, y, more, shares, touched)


@njit(cache=True)
def stacking_verdict(packed, weights, limits, count, box, weight, check_centroid, check_crush):
    """Whether a stack bears one more box; ``STANDS``, else ``TIPS``, else ``CRUSHES``.

    Args:
        packed: int16 ``(M, 6)``: x, y, z, and the sides along x, y, z, in cells.
        weights: float64 ``(M,)``, not negative.
        limits: float64 ``(M,)``: largest mass each box may carry; infinite for no limit.
        count: boxes packed; later rows are not read.
        box: the new one, integers ``(6,)`` like a row of ``packed``.
        weight: its own, not negative.
        check_centroid: whether centres of mass are checked.
        check_crush: whether limits are checked.
    """
    loads, more = settle(packed, weights, count), np.empty((count, 3))
    return _judge(
        packed, weights, limits, count, loads, box, weight, check_centroid, check_crush, more, _scratch(count)
    )


@njit(cache=True)
def stacking_mask(
    heights, item, orientations, packed, weights, limits, count, weight, check_centroid, check_crush, mask
):
    """Take the placements that the stack does not bear out of a mask; returns how many are left.

    Args:
        heights: int16 ``(L, W)``.
        item: int16 ``(3,)``: sides of the new box as it arrives, cells.
        orientations: 1, 2 or 6.
        packed: as for ``stacking_verdict``, like the following arguments up to ``check_crush``.
        weights: of the packed boxes.
        limits: of the packed boxes.
        count: boxes packed.
        weight: of the new box.
        check_centroid: whether centres of mass are checked.
        check_crush: whether limits are checked.
        mask: bool ``(orientations * L * W,)``; placements that are not allowed for other reasons stay so.
    """
    size_x, size_y = heights.shape
    loads, more, scratch = settle(packed, weights, count), np.empty((count, 3)), _scratch(count)
    box = np.empty(6, np.int64)
    left = 0
    for o in range(orientations):
        length, width, height = sides(item, o)
        for cell in range(size_x * size_y):
            action = o * size_x * size_y + cell
            if not mask[action]:
                continue
            x, y = cell // size_y, cell % size_y
            z = heights[x, y]
            for i in range(x, x + length):
                for j in range(y, y + width):
                    z = max(z, heights[i, j])
            box[0], box[1], box[2], box[3], box[4], box[5] = x, y, z, length, width, height
            mask[action] = (
                _judge(packed, weights, limits, count, loads, box, weight, check_centroid, check_crush, more, scratch)
                == STANDS
            )
            left += mask[action]
    return left

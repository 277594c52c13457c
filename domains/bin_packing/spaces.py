"""Empty maximal spaces above a height map: the largest boxes of air that no other box of air contains.

Seen from above, a box of air reaches up to the ceiling. It is maximal if no side of it can be pushed outwards: over a
level ``z`` that occurs in the map it is a maximal rectangle of columns not higher than ``z``, at least one of which is
exactly ``z`` (Lai and Chan, "Developing a simulated annealing algorithm for the cutting stock problem", Computers &
Industrial Engineering 32, 1997, for the spaces; found here row by row, as maximal rectangles under a histogram).
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from interlock.domains.bin_packing.orientation import sides

Array = NDArray[Any]

X0, Y0, X1, Y1, Z = range(5)
"""Columns of a list of spaces: first cell, first cell beyond, and floor; the top is the ceiling."""


@njit(cache=True, inline="always")
def _grown(spaces):
    """The same list with room for twice as many."""
    larger = np.empty((2 * spaces.shape[0], 5), np.int16)
    larger[: spaces.shape[0]] = spaces
    return larger


@njit(cache=True)
def _spaces_at(heights, z, spaces, count, rise, last, beyond, stack):
    """Append the spaces whose floor is ``z``; returns the list (a larger one if it was full) and their number.

    Args:
        heights: int16 ``(L, W)``.
        z: the floor.
        spaces: int16 ``(room, 5)``.
        count: spaces in the list.
        rise: scratch ``(W,)``: rows up to this one in which the column is not higher than ``z``.
        last: scratch ``(W,)``: the last row up to this one in which it is exactly ``z``.
        beyond: scratch ``(W + 1,)``: columns before this one that end with this row.
        stack: scratch ``(W + 1, 2)``: first column and rise of the rectangles that are still open to the right.
    """
    size_x, size_y = heights.shape
    rise[:] = 0
    last[:] = -1
    for i in range(size_x):
        for j in range(size_y):
            rise[j] = rise[j] + 1 if heights[i, j] <= z else 0
            if heights[i, j] == z:
                last[j] = i
            beyond[j + 1] = beyond[j] + (i + 1 == size_x or heights[i + 1, j] > z)
        if beyond[size_y] == 0:  # every rectangle of this row goes on in the next
            continue
        depth = 0
        for j in range(size_y + 1):
            now = rise[j] if j < size_y else 0
            first = j
            while depth > 0 and stack[depth - 1, 1] > now:
                depth -= 1
                first = stack[depth, 0]
                x0 = i + 1 - stack[depth, 1]
                if beyond[j] == beyond[first]:
                    continue
                level = False
                for column in range(first, j):
                    level |= last[column] >= x0
                if level:
                    if count == spaces.shape[0]:
                        spaces = _grown(spaces)
                    spaces[count, X0], spaces[count, Y0] = x0, first
                    spaces[count, X1], spaces[count, Y1], spaces[count, Z] = i + 1, j, z
                    count += 1
            if now > 0 and (depth == 0 or stack[depth - 1, 1] < now):
                stack[depth, 0], stack[depth, 1] = first, now
                depth += 1
    return spaces, count


@njit(cache=True)
def maximal_spaces(heights, ceiling, spaces):
    """All empty maximal spaces of one height map, by increasing floor.

    Args:
        heights: int16 ``(L, W)``.
        ceiling: height of the bin; columns that reach it hold no air.
        spaces: int16 ``(room, 5)``, ``room`` at least 1, overwritten.

    Returns:
        ``(spaces, count)``: the same array, or a larger one if it was too small, whose first ``count`` rows are
        ``(x0, y0, x1, y1, z)``: cells ``x0 .. x1 - 1`` by ``y0 .. y1 - 1`` from ``z`` to the ceiling.
    """
    size_x, size_y = heights.shape
    occurs = np.zeros(ceiling + 1, np.bool_)
    for i in range(size_x):
        for j in range(size_y):
            occurs[heights[i, j]] = True
    rise, last = np.empty(size_y, np.int16), np.empty(size_y, np.int16)
    beyond, stack = np.zeros(size_y + 1, np.int16), np.empty((size_y + 1, 2), np.int16)
    count = 0
    for z in range(ceiling):
        if occurs[z]:
            spaces, count = _spaces_at(heights, z, spaces, count, rise, last, beyond, stack)
    return spaces, count


@njit(cache=True)
def _fitting_triples(a, b, c):
    """Of the triples of numbers 1 .. c, those that sorted are at most ``(a, b, c)``, for ``a <= b <= c``."""
    middle, upper = b - a, c - b  # counted by how many of the three lie in 1 .. a, in a + 1 .. b and in b + 1 .. c
    return a**3 + 3 * a * a * (middle + upper) + 3 * a * middle * middle + 6 * a * middle * upper


@njit(cache=True)
def types_taken(length, width, height, low, high, orientations):
    """How many of the boxes with sides ``low .. high`` fit into a space, turned as allowed, support left aside."""
    span = high - low + 1
    a = min(max(length - low + 1, 0), span)
    b = min(max(width - low + 1, 0), span)
    c = min(max(height - low + 1, 0), span)
    if orientations == 1:
        return a * b * c
    if orientations == 2:
        return (2 * a * b - min(a, b) ** 2) * c
    return _fitting_triples(min(a, b, c), a + b + c - min(a, b, c) - max(a, b, c), max(a, b, c))


@njit(cache=True, inline="always")
def takes(space, item, orientation, ceiling):
    """Whether a space takes an item in an orientation."""
    along_x, along_y, up = sides(item, orientation)
    return space[X1] - space[X0] >= along_x and space[Y1] - space[Y0] >= along_y and ceiling - space[Z] >= up

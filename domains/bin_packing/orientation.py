"""Which way round a box may be set down, for compiled kernels and for plain numpy alike.

Orientation 0 is as the box arrives; 1 swaps length and width; 2 to 5 tilt the box, so that another side points up.
"""

from typing import Any

from numba import njit

AXES = ((0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0), (2, 1, 0))
"""``AXES[o]``: which side of the item (0 length, 1 width, 2 height) lies along x, along y and points up."""


@njit(cache=True, inline="always")
def sides(item: Any, orientation: int) -> Any:
    """Sides along x, along y and upwards of an item (length, width, height) in an orientation."""
    if orientation == 0:
        return item[0], item[1], item[2]
    if orientation == 1:
        return item[1], item[0], item[2]
    if orientation == 2:
        return item[0], item[2], item[1]
    if orientation == 3:
        return item[2], item[0], item[1]
    if orientation == 4:
        return item[1], item[2], item[0]
    return item[2], item[1], item[0]


@njit(cache=True, inline="always")
def repeats(item: Any, orientation: int) -> bool:
    """Whether an earlier orientation gives the same sides, so that this one says nothing new."""
    x, y, z = sides(item, orientation)
    for earlier in range(orientation):
        a, b, c = sides(item, earlier)
        if a == x and b == y and c == z:
            return True
    return False

"""Whether a stack bears one more box, in plain Python: what a released decision is judged by.

The rules are those of ``stacking``, written a second time and another way: every packed box keeps the list of forces
that it passes down, forces are added up from above instead of changed, hulls are built, and shares between three or
more supports come from a general least-squares solver.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-7
"""Cells: a centre of mass must be this far inside its contact polygon."""
NOTHING = 1e-12
"""A share up to this is none."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Stacked:
    """A box in a bin.

    Attributes:
        name: its id.
        corner: x, y, z of the corner nearest the origin, cells.
        sides: along x, y and upwards, cells.
        weight: > 0; kg, or its volume in cells where boxes have no weights.
        limit: largest mass on top of it, in the unit of ``weight``; infinite for no limit.
    """

    name: str | int
    corner: tuple[int, int, int]
    sides: tuple[int, int, int]
    weight: float
    limit: float


@dataclass(frozen=True, slots=True)
class Force:
    """A mass that a box puts on another (``below``; -1: on the floor) at a point."""

    below: int
    mass: float
    point: Point


@dataclass(frozen=True, slots=True)
class Stack:
    """Packed boxes at rest.

    Attributes:
        boxes: in the order they are numbered.
        forces: per box, what it passes down.
        above: per box, the boxes that rest on it.
    """

    boxes: tuple[Stacked, ...]
    forces: tuple[tuple[Force, ...], ...]
    above: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Burden:
    """What a new box does to a stack, in words; nothing where the stack bears it.

    Attributes:
        tips: centres of mass that are not above their supports.
        crushed: boxes that would carry more than their limit.
    """

    tips: tuple[str, ...]
    crushed: tuple[str, ...]


def settled(boxes: Sequence[Stacked]) -> Stack:
    """The forces in a stack, from the top down."""
    supports = [_supports(box, boxes) for box in boxes]
    above: list[list[int]] = [[] for _ in boxes]
    for k, contacts in enumerate(supports):
        for below, _ in contacts:
            if below >= 0:
                above[below].append(k)
    forces: list[tuple[Force, ...]] = [()] * len(boxes)
    for k in sorted(range(len(boxes)), key=lambda k: -boxes[k].corner[2]):
        loads = [force for upper in above[k] for force in forces[upper] if force.below == k]
        mass, centre = _balance(boxes[k], loads)
        forces[k] = _passed(supports[k], mass, centre)
    return Stack(tuple(boxes), tuple(forces), tuple(tuple(uppers) for uppers in above))


def burden(stack: Stack, box: Stacked, unit: str) -> Burden:
    """Judge one more box on a stack.

    Args:
        stack: what is packed.
        box: the new one; its floor is at the height where it comes to rest.
        unit: of weights, for the words.
    """
    boxes = stack.boxes
    contacts = _supports(box, boxes)
    mass, centre = _balance(box, [])
    tips, crushed = [], []
    if not _inside(contacts, centre):
        tips.append(f"box {box.name!r} with its centre of mass at x {centre[0]:g}, y {centre[1]:g}")
    direct = _passed(contacts, mass, centre)
    changed: dict[int, tuple[Force, ...]] = {}
    waiting = {force.below for force in direct} - {-1}
    while waiting:
        k = max(waiting, key=lambda k: boxes[k].corner[2])  # whatever still changes is not above it
        waiting.remove(k)
        rests = [changed.get(upper, stack.forces[upper]) for upper in stack.above[k]]
        loads = [force for forces in (direct, *rests) for force in forces if force.below == k]
        load = sum(force.mass for force in loads)
        if load > boxes[k].limit * (1 + 1e-9):
            crushed.append(f"box {boxes[k].name!r} would carry {load:.6g} {unit}, its limit is {boxes[k].limit:g}")
        contacts = _supports(boxes[k], boxes)
        mass, centre = _balance(boxes[k], loads)
        if not _inside(contacts, centre):
            at = f"x {centre[0]:.6g}, y {centre[1]:.6g}"
            tips.append(f"box {boxes[k].name!r} with the load it then carries, whose centre of mass is at {at}")
        changed[k] = _passed(contacts, mass, centre)
        waiting |= {force.below for force in (*changed[k], *stack.forces[k])} - {-1}
    return Burden(tuple(tips), tuple(crushed))


Rectangle = tuple[int, int, int, int]


def _supports(box: Stacked, boxes: Sequence[Stacked]) -> list[tuple[int, Rectangle]]:
    """What a box rests on, with the contact rectangles."""
    (x, y, z), (length, width, _) = box.corner, box.sides
    if z == 0:
        return [(-1, (x, y, x + length, y + width))]
    found = []
    for k, other in enumerate(boxes):
        if other.corner[2] + other.sides[2] == z:
            left, front = max(x, other.corner[0]), max(y, other.corner[1])
            right = min(x + length, other.corner[0] + other.sides[0])
            back = min(y + width, other.corner[1] + other.sides[1])
            if left < right and front < back:
                found.append((k, (left, front, right, back)))
    return found


def _balance(box: Stacked, loads: Sequence[Force]) -> tuple[float, Point]:
    """Mass of a box and what it carries, and their centre."""
    middle = (box.corner[0] + box.sides[0] / 2, box.corner[1] + box.sides[1] / 2)
    parts = [(box.weight, middle), *((force.mass, force.point) for force in loads)]
    mass = sum(part for part, _ in parts)
    x, y = (sum(part * point[axis] for part, point in parts) / mass for axis in (0, 1))
    return mass, (x, y)


def _inside(contacts: Sequence[tuple[int, Rectangle]], centre: Point) -> bool:
    """Whether a point is strictly inside the convex hull of rectangles."""
    corners = {(x, y) for _, (x0, y0, x1, y1) in contacts for x in (x0, x1) for y in (y0, y1)}
    if not corners:
        return False
    hull = _hull(sorted(corners))
    for (ax, ay), (bx, by) in zip(hull, hull[1:] + hull[:1], strict=True):
        across = (bx - ax) * (centre[1] - ay) - (by - ay) * (centre[0] - ax)
        if not across > TOLERANCE * ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5:  # also for what is not a number
            return False
    return True


def _hull(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Corners of the convex hull of sorted points, counter-clockwise (monotone chain, Andrew 1979)."""

    def chain(ordered: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        kept: list[tuple[int, int]] = []
        for x, y in ordered:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return chain(points) + chain(points[::-1])


def _passed(contacts: Sequence[tuple[int, Rectangle]], mass: float, centre: Point) -> tuple[Force, ...]:
    """The forces that balance a mass at a point, one per contact that bears a part of it."""
    middles = [((x0 + x1) / 2, (y0 + y1) / 2) for _, (x0, y0, x1, y1) in contacts]
    shares = _shares(middles, centre)
    reached = [sum(share * middle[axis] for share, middle in zip(shares, middles, strict=True)) for axis in (0, 1)]
    shift = (centre[0] - reached[0], centre[1] - reached[1])
    return tuple(
        Force(below, share * mass, (x + shift[0], y + shift[1]))
        for (below, _), share, (x, y) in zip(contacts, shares, middles, strict=True)
        if share > NOTHING
    )


def _shares(middles: Sequence[Point], centre: Point) -> list[float]:
    """Non-negative shares, summing to one, of a mass between points of support."""
    bearing = list(range(len(middles)))
    while True:
        points = [middles[k] for k in bearing]
        shares = _lever(points, centre) if len(points) < 3 else _least_squares(points, centre)
        if min(shares, default=0.0) >= -NOTHING:
            found = dict(zip(bearing, shares, strict=True))
            return [max(found.get(k, 0.0), 0.0) for k in range(len(middles))]
        bearing = [k for k, share in zip(bearing, shares, strict=True) if share >= -NOTHING]


def _lever(points: Sequence[Point], centre: Point) -> list[float]:
    if len(points) < 2:
        return [1.0] * len(points)
    (ax, ay), (bx, by) = points
    part = ((centre[0] - ax) * (bx - ax) + (centre[1] - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)
    part = min(1.0, max(0.0, part))
    return [1 - part, part]


def _least_squares(points: Sequence[Point], centre: Point) -> list[float]:
    """Shares of least norm with sum one and, as nearly as possible, the centre as their mean."""
    places = np.array(points)
    origin = places.mean(axis=0)
    rows = np.vstack([np.ones(len(points)), (places - origin).T])
    found: list[float] = np.linalg.lstsq(rows, [1.0, centre[0] - origin[0], centre[1] - origin[1]])[0].tolist()
    return found

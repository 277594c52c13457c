"""The rules that a placement must keep to be released, recomputed from the request alone.

In this order: inside the bin, below its ceiling, supported, in balance with the stack below, crushing nothing, not too
heavy for the bin, within the robot's reach. Nothing here is shared with the policy or with the compiled kernels.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interlock.core.request import shown
from interlock.domains.bin_packing.placements import DUPLICATE, FEASIBLE, OUTSIDE, TOO_HIGH, UNSTABLE, stable
from interlock.domains.bin_packing.release_boxes import Box, turned
from interlock.domains.bin_packing.release_schema import MAX_ALTERNATIVES, RULES
from interlock.domains.bin_packing.release_stacking import Burden, Stacked, burden
from interlock.domains.bin_packing.request import SLACK, Bin, Request
from interlock.domains.bin_packing.scenario import BinPackingScenario

Array = NDArray[Any]

TIPS, CRUSHES, OVERWEIGHT, OUT_OF_REACH, TILTED = range(10, 15)
"""Codes beside those of ``Placements.rule``."""
_CODES = dict(zip(RULES, (OUTSIDE, TOO_HIGH, UNSTABLE, TIPS, CRUSHES, OVERWEIGHT, OUT_OF_REACH, TILTED), strict=True))


class Spot(NamedTuple):
    """Where an action sets down which box.

    Attributes:
        bin: index of the open bin.
        which: index of the box held.
        orientation: of the box.
        x: corner nearest the origin, cells.
        y: the same along y.
        sides: along x, y and upwards, cells.
    """

    bin: int
    which: int
    orientation: int
    x: int
    y: int
    sides: tuple[int, int, int]


def spot_of(scenario: BinPackingScenario, request: Request, action: int) -> Spot | None:
    """What an action number stands for; ``None`` where that place in the buffer is empty."""
    view, cell = divmod(int(action), scenario.orientations * scenario.bin.length * scenario.bin.width)
    bin_, which = divmod(view, scenario.buffer)
    if which >= request.held:
        return None
    orientation, cell = divmod(cell, scenario.bin.length * scenario.bin.width)
    x, y = divmod(cell, scenario.bin.width)
    return Spot(bin_, which, orientation, x, y, turned(request.boxes[which], orientation))


def contact(request: Request, spot: Spot) -> tuple[int, int, int]:
    """Set-down height, and footprint cells and corners at that height."""
    under = request.bins[spot.bin].heights[spot.x : spot.x + spot.sides[0], spot.y : spot.y + spot.sides[1]]
    z = int(under.max())
    corners = sum(int(under[i, j] == z) for i in (0, -1) for j in (0, -1))
    return z, int((under == z).sum()), corners


def violations(scenario: BinPackingScenario, request: Request, action: int) -> tuple[str, ...]:
    """Every rule that a placement breaks, in words with numbers; a box that would stick out is asked nothing more."""
    spot = spot_of(scenario, request, action)
    if spot is None:
        return (f"the buffer holds {request.held} boxes, there is none to be placed by action {action}",)
    bin_, box = request.bins[spot.bin], request.boxes[spot.which]
    length, width, height = spot.sides
    if spot.sides in [turned(box, o) for o in range(spot.orientation)]:
        same = "a square box has no second orientation" if spot.orientation == 1 else "an earlier one is the same"
        return (f"duplicate: {same}",)
    if box.upright and spot.orientation > 1:
        return (f"tilted: box {shown(box.id)} is to be kept upright",)
    size = scenario.bin
    outside = [
        f"outside: {axis} {start} + {side} = {start + side} cells is beyond the bin's {limit}"
        for axis, start, side, limit in (("x", spot.x, length, size.length), ("y", spot.y, width, size.width))
        if start + side > limit
    ]
    if outside:
        return tuple(outside)
    found = []
    z, support, corners = contact(request, spot)
    if z + height > size.height:
        top = z + height
        found.append(f"too high: z {z} + {height} = {top} cells is above the bin's {size.height}")
    if not stable(support, corners, length * width, scenario.thresholds()):
        found.append(
            f"unstable: {support} of {length * width} cells ({support / (length * width):.1%}) and {corners} of 4 "
            f"corners rest at z {z}; {rule_in_words(scenario)}"
        )
    elif asks_stack(scenario, bin_):
        borne = burden_of(scenario, request, spot, z)
        found += [f"tips: {told} is not above its supports" for told in borne.tips]
        found += [f"crushes: {told}" for told in borne.crushed]
    if overweight(scenario, bin_, box):
        found.append(
            f"overweight: {bin_.load:g} + {box.weight:g} kg is more than the bin's {scenario.bin.max_weight:g}"
        )
    if not within_reach(bin_, spot):
        found.append(f"out of reach: the robot does not reach all of x {spot.x} to {spot.x + length - 1}, y {spot.y}")
        found[-1] += f" to {spot.y + width - 1}"
    return tuple(found)


def asks_stack(scenario: BinPackingScenario, bin_: Bin) -> bool:
    """Whether what is packed matters: centres of mass are checked, or some box has a limit."""
    return scenario.stacking or any(box.limit < np.inf for box in bin_.packed)


def burden_of(scenario: BinPackingScenario, request: Request, spot: Spot, z: int) -> Burden:
    """What the box does to the stack there, as far as the scenario asks."""
    box, unit = request.boxes[spot.which], "kg" if scenario.weighs() else "cells"
    new = Stacked(box.id, (spot.x, spot.y, z), spot.sides, box.weight, box.limit)
    found = burden(request.bins[spot.bin].stack, new, unit)
    return found if scenario.stacking else Burden((), found.crushed)


def overweight(scenario: BinPackingScenario, bin_: Bin, box: Box) -> bool:
    """Whether a box makes a bin too heavy."""
    limit = scenario.bin.max_weight
    return limit is not None and bin_.load + box.weight > limit * SLACK


def within_reach(bin_: Bin, spot: Spot) -> bool:
    """Whether the robot reaches every cell of a footprint."""
    reach = bin_.reach
    return reach is None or bool(reach[spot.x : spot.x + spot.sides[0], spot.y : spot.y + spot.sides[1]].all())


def mask_of(scenario: BinPackingScenario, request: Request, rows: Array) -> Array:
    """Actions ``(A,)`` of what is given per position, ``(rows, O, L, W)``; false for empty places of the buffer."""
    bins, held = len(request.bins), request.held
    mask = np.zeros((bins, scenario.buffer, rows[0].size), np.bool_)
    mask[:, :held] = rows.reshape(bins, held, -1)
    return mask.reshape(-1)


def ranked(scenario: BinPackingScenario, request: Request, scores: Array) -> Iterator[int]:
    """Actions that keep every rule, best score first, the lowest number on ties; none without a score."""
    usable = mask_of(scenario, request, request.candidates) & (scores > -np.inf)
    open_ = np.flatnonzero(usable)
    if not len(open_):
        return
    first = int(open_[np.argmax(scores[open_])])
    rest = (int(action) for action in open_[np.argsort(-scores[open_], kind="stable")] if action != first)
    for action in itertools.chain([first], rest):
        if bears(scenario, request, action):
            yield action


def bears(scenario: BinPackingScenario, request: Request, action: int) -> bool:
    """Whether the stack bears a placement that keeps every other rule."""
    spot = spot_of(scenario, request, action)
    if spot is None or not asks_stack(scenario, request.bins[spot.bin]):
        return spot is not None
    borne = burden_of(scenario, request, spot, contact(request, spot)[0])
    return not (borne.tips or borne.crushed)


def alternatives(scenario: BinPackingScenario, request: Request, scores: Array, chosen: int) -> list[int]:
    """The best-scored placements beside the chosen one."""
    others = (action for action in ranked(scenario, request, scores) if action != chosen)
    return list(itertools.islice(others, MAX_ALTERNATIVES))


def first_rules(scenario: BinPackingScenario, request: Request) -> Array:
    """The first rule that forbids each position, in the shape and with the codes of ``placements.rule`` and above."""
    rule = request.placements.rule.copy()
    for row, o, x, y in np.argwhere(rule == FEASIBLE).tolist():
        spot = Spot(*divmod(row, request.held), o, x, y, turned(request.boxes[row % request.held], o))
        bin_, box = request.bins[spot.bin], request.boxes[spot.which]
        if asks_stack(scenario, bin_):
            borne = burden_of(scenario, request, spot, int(request.placements.z[row, o, x, y]))
            rule[row, o, x, y] = TIPS if borne.tips else CRUSHES if borne.crushed else FEASIBLE
        if rule[row, o, x, y] == FEASIBLE and overweight(scenario, bin_, box):
            rule[row, o, x, y] = OVERWEIGHT
        elif rule[row, o, x, y] == FEASIBLE and not within_reach(bin_, spot):
            rule[row, o, x, y] = OUT_OF_REACH
    for row in range(len(rule)):
        if request.boxes[row % request.held].upright:
            rule[row, 2:][rule[row, 2:] != DUPLICATE] = TILTED
    return rule


def counts(rule: Array) -> dict[str, int]:
    """Positions per first rule that forbids."""
    return {name: int((rule == code).sum()) for name, code in {"feasible": FEASIBLE, **_CODES}.items()}


def best_unstable(scenario: BinPackingScenario, request: Request, rule: Array) -> dict[str, Any] | None:
    """The best supported of the positions that are refused for their support, and what it lacks."""
    unstable = rule == UNSTABLE
    if not unstable.any():
        return None
    areas = [
        [turned(box, o)[0] * turned(box, o)[1] for o in range(scenario.orientations)]
        for box in request.boxes[: request.held]
    ]
    area = np.array(areas * len(request.bins))[:, :, None, None]
    share = request.placements.support / area
    rank = np.where(unstable, share + 1e-9 * request.placements.corners, -1.0)  # corners decide between equals
    row, o, x, y = (int(i) for i in np.unravel_index(int(np.argmax(rank)), rank.shape))
    bin_, which = divmod(row, request.held)
    corners = int(request.placements.corners[row, o, x, y])
    ratio = float(share[row, o, x, y])
    theta4, theta3, theta0 = scenario.thresholds()
    needed = (theta4 if corners == 4 else theta3 if corners == 3 else theta0) / 10_000
    return {
        "item_id": request.boxes[which].id,
        "bin_id": request.bins[bin_].id,
        "orientation": o,
        "x": x,
        "y": y,
        "area_ratio": round(ratio, 6),
        "corners": corners,
        "lacked": round(max(0.0, needed - ratio), 6),
    }


def rule_in_words(scenario: BinPackingScenario) -> str:
    """The support rule in force."""
    theta4, theta3, theta0 = (f"{value / 100:g} %" for value in scenario.thresholds())
    name = f"preset {scenario.stability!r}" if isinstance(scenario.stability, str) else "this bundle"
    return f"{name} asks for all cells, or more than {theta4} with 4 corners, {theta3} with 3, {theta0} with fewer"

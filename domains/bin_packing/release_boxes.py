"""The boxes of a request, those to be packed and those packed already: read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.core.request import integer, number, shown, unknown_fields
from interlock.domains.bin_packing.release_schema import HEAVIEST, MAX_ITEMS, MAX_PACKED
from interlock.domains.bin_packing.release_stacking import Stacked
from interlock.domains.bin_packing.scenario import BinPackingScenario

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Box:
    """A box to be packed.

    Attributes:
        id: its name.
        sides: length, width, height as it lies on the conveyor, cells.
        weight: kg; its volume in cells where boxes have no weights.
        limit: largest weight on top of it; infinite for no limit.
        upright: whether its height must stay upright.
    """

    id: str | int
    sides: tuple[int, int, int]
    weight: float
    limit: float
    upright: bool


def turned(box: Box, orientation: int) -> tuple[int, int, int]:
    """Sides along x, along y and upwards in an orientation."""
    length, width, height = box.sides
    if orientation < 2:
        return (length, width, height) if orientation == 0 else (width, length, height)
    if orientation < 4:
        return (length, height, width) if orientation == 2 else (height, length, width)
    return (width, height, length) if orientation == 4 else (height, width, length)


def read_boxes(
    problems: list[str], value: Any, known: Mapping[str, Any], scenario: BinPackingScenario
) -> tuple[Box, ...]:
    """The boxes to be packed that are sound; every problem of the others is noted."""
    expected = f"a list of 1 to {MAX_ITEMS} boxes, front first"
    if not isinstance(value, (list, tuple)):
        problems.append(f"items: got {shown(value)}, expected {expected}")
        return ()
    if not 1 <= len(value) <= MAX_ITEMS:
        problems.append(f"items: got {len(value)} boxes, expected {expected}")
        return ()
    schema = known["items"]["items"]
    boxes = [_box(problems, f"items.{k}", box, schema, scenario) for k, box in enumerate(value)]
    good = [box for box in boxes if box is not None]
    seen: dict[str | int, int] = {}
    for k, box in enumerate(boxes):
        if box is not None and seen.setdefault(box.id, k) != k:
            problems.append(f"items.{k}.id: {shown(box.id)} is the name of items.{seen[box.id]} already")
    return tuple(good)


def _box(
    problems: list[str], path: str, value: Any, schema: Mapping[str, Any], scenario: BinPackingScenario
) -> Box | None:
    if not isinstance(value, Mapping):
        problems.append(f"{path}: got {shown(value)}, expected an object with id, l, w, h")
        return None
    found = len(problems)
    unknown_fields(problems, f"{path}.", value, schema["properties"])
    for name in schema["required"]:
        if name not in value:
            problems.append(f"{path}.{name}: missing; {_why(name, schema, scenario)}")
    name = name_of(problems, f"{path}.id", value["id"]) if "id" in value else None
    sides = [
        integer(problems, f"{path}.{key}", value[key], low=1, unit="cells") if key in value else None for key in "lwh"
    ]
    weight, limit = _weights_of(problems, path, value, scenario)
    upright = value.get("upright", False)
    if not isinstance(upright, (bool, np.bool_)):
        problems.append(f"{path}.upright: got {shown(upright)}, expected true or false")
    length, width, height = sides
    if length is None or width is None or height is None:
        return None
    _fits(problems, path, (length, width, height), bool(upright), scenario)
    if len(problems) > found or name is None:
        return None
    own, borne = _in_force(weight, limit, length * width * height, scenario)
    return Box(name, (length, width, height), own, borne, bool(upright))


def read_packed(
    problems: list[str],
    path: str,
    value: Any,
    schema: Mapping[str, Any],
    scenario: BinPackingScenario,
    heights: Array | None,
) -> tuple[Stacked, ...]:
    """The boxes in a bin; they must not overlap nor hang in the air, and must give the height map."""
    if not isinstance(value, (list, tuple)) or len(value) > MAX_PACKED:
        got = f"{len(value)} boxes" if isinstance(value, (list, tuple)) else shown(value)
        problems.append(f"{path}: got {got}, expected a list of at most {MAX_PACKED} boxes")
        return ()
    found = len(problems)
    boxes = [_stacked(problems, f"{path}.{k}", box, schema, scenario) for k, box in enumerate(value)]
    good = [box for box in boxes if box is not None]
    if len(problems) == found:
        tops = _stacked_up(problems, path, good, scenario)
        if len(problems) == found and heights is not None and (tops != heights).any():
            x, y = np.argwhere(tops != heights)[0].tolist()
            problems.append(
                f"{path}: contradicts the height map: at (x {x}, y {y}) these boxes reach {tops[x, y]}, "
                f"the height map says {heights[x, y]} [cells]"
            )
    return tuple(good)


def _stacked(
    problems: list[str], path: str, value: Any, schema: Mapping[str, Any], scenario: BinPackingScenario
) -> Stacked | None:
    if not isinstance(value, Mapping):
        problems.append(f"{path}: got {shown(value)}, expected an object with x, y, z, l, w, h")
        return None
    found = len(problems)
    unknown_fields(problems, f"{path}.", value, schema["properties"])
    for name in schema["required"]:
        if name not in value:
            problems.append(f"{path}.{name}: missing; {_why(name, schema, scenario)}")
    name = name_of(problems, f"{path}.id", value["id"]) if "id" in value else path
    place = [
        integer(problems, f"{path}.{key}", value[key], low=int(key in "lwh"), unit="cells") if key in value else None
        for key in "xyzlwh"
    ]
    weight, limit = _weights_of(problems, path, value, scenario)
    if len(problems) > found or name is None:
        return None
    x, y, z, length, width, height = (entry or 0 for entry in place)
    size = (scenario.bin.length, scenario.bin.width, scenario.bin.height)
    for axis, start, side, room in zip("xyz", (x, y, z), (length, width, height), size, strict=True):
        if start + side > room:
            problems.append(f"{path}: {axis} {shown(start)} + {shown(side)} cells is beyond the bin's {room}")
            return None
    own, borne = _in_force(weight, limit, length * width * height, scenario)
    return Stacked(name, (x, y, z), (length, width, height), own, borne)


def _stacked_up(problems: list[str], path: str, boxes: Sequence[Stacked], scenario: BinPackingScenario) -> Array:
    """The height map of boxes, int32 ``(L, W)``; a problem for each that is not on top of what lies lower."""
    tops = np.zeros((scenario.bin.length, scenario.bin.width), np.int32)
    for k in sorted(range(len(boxes)), key=lambda k: boxes[k].corner[2]):
        (x, y, z), (length, width, height) = boxes[k].corner, boxes[k].sides
        under = tops[x : x + length, y : y + width]
        if under.max() > z:
            i, j = np.argwhere(under > z)[0].tolist()
            problems.append(f"{path}.{k}: overlaps another box at (x {x + i}, y {y + j}), which reaches {under[i, j]}")
        elif under.max() < z:
            problems.append(f"{path}.{k}: hangs in the air: its floor is at {z}, what is below reaches {under.max()}")
        np.maximum(under, z + height, out=under)
    return tops


def _in_force(
    weight: float | None, limit: float | None, volume: int, scenario: BinPackingScenario
) -> tuple[float, float]:
    """Weight and limit that the rules use: a box without a weight weighs its volume."""
    own = float(volume) if weight is None else weight
    factor = scenario.items.crush_factor
    if limit is None:
        limit = np.inf if factor is None else factor * own
    return own, limit


def _why(name: str, schema: Mapping[str, Any], scenario: BinPackingScenario) -> str:
    description: str = schema["properties"][name]["description"]
    rules = ", ".join(scenario.weight_rules())
    return f"{description} [kg]; {rules} asks for it" if name == "weight" and rules else description


def _weights_of(
    problems: list[str], path: str, value: Mapping[str, Any], scenario: BinPackingScenario
) -> tuple[float | None, float | None]:
    """Weight of a box and what it may carry, kg; ``None`` where the request or the scenario has none."""
    weight = (
        number(problems, f"{path}.weight", value["weight"], above=0, high=HEAVIEST, unit="kg")
        if "weight" in value
        else None
    )
    if "max_stack_weight" not in value:
        return (weight if scenario.weighs() else None), None
    limit = number(problems, f"{path}.max_stack_weight", value["max_stack_weight"], above=0, high=HEAVIEST, unit="kg")
    if not scenario.weighs():
        problems.append(f"{path}.max_stack_weight: boxes of this scenario have no weights, so it cannot be kept")
        return None, None
    return weight, limit


def _fits(problems: list[str], path: str, sides: Sequence[int], upright: bool, scenario: BinPackingScenario) -> None:
    """Whether a box fits the empty bin in some orientation that it may have."""
    size = (scenario.bin.length, scenario.bin.width, scenario.bin.height)
    box = Box("", (sides[0], sides[1], sides[2]), 0.0, 0.0, upright)
    fitting = [
        o
        for o in range(scenario.orientations)
        if all(side <= room for side, room in zip(turned(box, o), size, strict=True))
    ]
    if not [o for o in fitting if o < 2 or not upright]:
        how = {1: "as it arrives, and this policy turns no box", 2: "in either orientation", 6: "in any orientation"}
        told = "unless tilted, and it is to be kept upright" if fitting else how[scenario.orientations]
        problems.append(
            f"{path}: {shown(sides[0])} x {shown(sides[1])} x {shown(sides[2])} cells does not fit the bin of "
            f"{size[0]} x {size[1]} x {size[2]} cells {told}"
        )


def name_of(problems: list[str], path: str, value: Any) -> str | int | None:
    """A text or a whole number that may name something."""
    if isinstance(value, str) and 0 < len(value) <= 200:
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and abs(int(value)) < 2**63:
        return int(value)
    problems.append(f"{path}: got {shown(value)}, expected a text of 1 to 200 characters or a whole number")
    return None

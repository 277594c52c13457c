"""The request of an exported packing policy: its JSON Schema, and how a raw request is read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.core.errors import BadInput
from interlock.core.request import as_integer, integer, number, shown, unknown_fields
from interlock.domains.bin_packing.placements import Placements, placement_report
from interlock.domains.bin_packing.scenario import BinPackingScenario, Stability

SCHEMA_VERSION = 1
THRESHOLDS = tuple(Stability.model_fields)
MAX_ITEMS = 64
"""Most boxes in one request; only the first is placed."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box to be packed, sides in cells as they lie on the conveyor."""

    id: str | int
    length: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A checked request.

    Attributes:
        heights: int32 ``(L, W)``, top of each column in cells.
        boxes: front first; the first is to be placed now.
        bin_id: name of the bin in the answer.
        placements: every loading position of the front box, a batch of one.
    """

    heights: NDArray[Any]
    boxes: tuple[Box, ...]
    bin_id: str | int
    placements: Placements


def request_schema(scenario: BinPackingScenario) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a request; units in the annotation ``unit``."""
    size = scenario.bin
    name = {"type": ["string", "integer"], "minLength": 1, "maxLength": 200}

    def cells(low: int, high: int, description: str) -> dict[str, Any]:
        return {"type": "integer", "minimum": low, "maximum": high, "unit": "cells", "description": description}

    def fixed(value: Any, description: str, unit: str = "") -> dict[str, Any]:
        return {"const": value, "unit": unit, "description": description}

    side = max(size.length, size.width)
    box = {
        "id": {**name, "description": "name of the box, unique in the request"},
        "l": cells(1, side, "length, along x as the box arrives"),
        "w": cells(1, side, "width, along y as the box arrives"),
        "h": cells(1, size.height, "height; boxes are never tilted"),
        "weight": {
            "type": "number",
            "exclusiveMinimum": 0,
            "unit": "kg",
            "description": "for the record; no rule uses it",
        },
        "upright": {"type": "boolean", "description": "keep upright; always so, because boxes are never tilted"},
    }
    bin_fields = {
        "id": {**name, "description": "name of the bin, repeated in the answer"},
        "l": fixed(size.length, "length of the bin, along x", "cells"),
        "w": fixed(size.width, "width of the bin, along y", "cells"),
        "h": fixed(size.height, "height of the bin", "cells"),
        "cell": fixed(size.cell_size, "side of a cell", size.unit),
        "unit": fixed(size.unit, "unit of `cell`"),
    }
    rows = {"type": "array", "minItems": size.width, "maxItems": size.width, "items": cells(0, size.height, "")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "where to set down the box in front",
        "type": "object",
        "additionalProperties": False,
        "required": ["schema_version", "height_map", "items"],
        "properties": {
            "schema_version": fixed(SCHEMA_VERSION, "version of this schema"),
            "bin": {
                "type": "object",
                "additionalProperties": False,
                "required": ["l", "w", "h"],
                "properties": bin_fields,
                "description": "the open bin; must be the one this policy is for",
            },
            "height_map": {
                "type": "array",
                "minItems": size.length,
                "maxItems": size.length,
                "items": rows,
                "description": "top of each column of cells seen from above, height_map[x][y]",
            },
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_ITEMS,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["id", "l", "w", "h"],
                    "properties": box,
                },
                "description": "known boxes, front first; the first one is placed now",
            },
            "orientation_set": fixed(scenario.orientations, "1: as it arrives; 2: length and width may be swapped"),
            "preset": fixed(preset(scenario), "support rule"),
            "deadline_ms": {
                "type": "number",
                "exclusiveMinimum": 0,
                "unit": "ms",
                "description": "an answer of the policy that takes longer is replaced by a fallback rule",
            },
        },
    }


def preset(scenario: BinPackingScenario) -> Any:
    """The support rule as a request names it: a preset's name, or three thresholds."""
    return scenario.stability if isinstance(scenario.stability, str) else scenario.stability.model_dump()


def parse(raw: Mapping[str, Any], scenario: BinPackingScenario) -> Request:
    """Check a raw request.

    Raises:
        BadInput: listing every problem.
    """
    if not isinstance(raw, Mapping):
        raise BadInput("request", [f"got {shown(raw)}, expected an object"])
    problems: list[str] = []
    schema = request_schema(scenario)
    unknown_fields(problems, "", raw, schema["properties"])
    for name in schema["required"]:
        if name not in raw:
            problems.append(f"{name}: missing; {schema['properties'][name]['description']}")
    if "schema_version" in raw and as_integer(raw["schema_version"]) != SCHEMA_VERSION:
        problems.append(f"schema_version: got {shown(raw['schema_version'])}, this policy understands {SCHEMA_VERSION}")
    bin_id = _signature(problems, raw, schema, scenario)
    heights = _height_map(problems, raw["height_map"], scenario) if "height_map" in raw else None
    boxes = _boxes(problems, raw["items"], schema, scenario) if "items" in raw else ()
    if "deadline_ms" in raw:
        number(problems, "deadline_ms", raw["deadline_ms"], above=0, unit="ms")
    if problems or heights is None:
        raise BadInput("request", problems)
    front = boxes[0]
    placements = placement_report(
        heights[None],
        [(front.length, front.width, front.height)],
        ceiling=scenario.bin.height,
        orientations=scenario.orientations,
        thresholds=scenario.thresholds(),
    )
    return Request(heights, boxes, bin_id, placements)


def _signature(
    problems: list[str], raw: Mapping[str, Any], schema: Mapping[str, Any], scenario: BinPackingScenario
) -> str | int:
    """Compare bin, orientations and support rule with what the policy was made for; the bin's name."""
    ours: dict[str, Any] = {
        **scenario.bin.model_dump(),
        "orientations": scenario.orientations,
        "preset": preset(scenario),
    }
    theirs = dict(ours)
    bin_id: str | int = "bin"
    found = len(problems)
    if "bin" in raw:
        given = raw["bin"]
        if not isinstance(given, Mapping):
            problems.append(f"bin: got {shown(given)}, expected an object with l, w, h in cells")
            return bin_id
        unknown_fields(problems, "bin.", given, schema["properties"]["bin"]["properties"])
        for key, name in (("l", "length"), ("w", "width"), ("h", "height")):
            if key in given:
                theirs[name] = integer(problems, f"bin.{key}", given[key], low=1, unit="cells")
            else:
                problems.append(f"bin.{key}: missing; {name} of the bin in cells")
        if "cell" in given:
            theirs["cell_size"] = number(problems, "bin.cell", given["cell"], above=0)
        if "unit" in given:
            theirs["unit"] = given["unit"] if isinstance(given["unit"], str) else shown(given["unit"])
        if "id" in given:
            named = _name(problems, "bin.id", given["id"])
            bin_id = bin_id if named is None else named
    if "orientation_set" in raw:
        theirs["orientations"] = integer(problems, "orientation_set", raw["orientation_set"], low=1, high=2)
    if "preset" in raw:
        theirs["preset"] = _preset(problems, raw["preset"])
    if len(problems) == found and theirs != ours:
        sides = f"items of {scenario.items.low} to {scenario.items.high} cells a side"
        problems.append(f"this policy is for [{_in_words(ours)}; {sides}], the request is for [{_in_words(theirs)}]")
    return bin_id


def _preset(problems: list[str], value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        problems.append(f"preset: got {shown(value)}, expected a name or an object with {', '.join(THRESHOLDS)}")
        return None
    unknown_fields(problems, "preset.", value, THRESHOLDS)
    return {name: number(problems, f"preset.{name}", value.get(name), low=0, high=1) for name in THRESHOLDS}


def _in_words(signature: Mapping[str, Any]) -> str:
    return (
        f"bin {shown(signature['length'])} x {shown(signature['width'])} x {shown(signature['height'])} cells, "
        f"cell {shown(signature['cell_size'])} {shown(signature['unit'])[1:-1]}; "
        f"orientations {signature['orientations']}; preset {shown(signature['preset'])}"
    )


def _height_map(problems: list[str], value: Any, scenario: BinPackingScenario) -> NDArray[Any] | None:
    length, width, ceiling = scenario.bin.length, scenario.bin.width, scenario.bin.height
    rows = value.tolist() if isinstance(value, np.ndarray) else value
    shape = f"{length} rows (along x) of {width} cells (along y)"
    if not isinstance(rows, (list, tuple)):
        problems.append(f"height_map: got {shown(rows)}, expected {shape}")
        return None
    for x, row in enumerate(rows[:length]):
        if not isinstance(row, (list, tuple)):
            problems.append(f"height_map: row {x} is {shown(row)}, expected {shape}")
            return None
        if len(row) != width:
            problems.append(f"height_map: row {x} has {len(row)} cells ({len(rows)} rows in all), expected {shape}")
            return None
    if len(rows) != length:
        problems.append(f"height_map: got {len(rows)} rows of {width} cells, expected {shape}")
        return None
    heights = np.zeros((length, width), np.int32)
    wrong = []
    for x, row in enumerate(rows):
        for y, cell in enumerate(row):
            whole = cell if type(cell) is int else as_integer(cell)
            if whole is not None and 0 <= whole <= ceiling:
                heights[x, y] = whole
            else:
                wrong.append((x, y, cell))
    if wrong:
        x, y, cell = wrong[0]
        more = f"; {len(wrong) - 1} more cells are wrong" if len(wrong) > 1 else ""
        problems.append(
            f"height_map: (x {x}, y {y}) is {shown(cell)}, expected a whole number from 0 to {ceiling} [cells]{more}"
        )
    return heights


def _boxes(problems: list[str], value: Any, schema: Mapping[str, Any], scenario: BinPackingScenario) -> tuple[Box, ...]:
    expected = f"a list of 1 to {MAX_ITEMS} boxes, front first"
    if not isinstance(value, (list, tuple)):
        problems.append(f"items: got {shown(value)}, expected {expected}")
        return ()
    if not 1 <= len(value) <= MAX_ITEMS:
        problems.append(f"items: got {len(value)} boxes, expected {expected}")
        return ()
    item_schema = schema["properties"]["items"]["items"]
    boxes = [_box(problems, f"items.{k}", box, item_schema, scenario) for k, box in enumerate(value)]
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
            problems.append(f"{path}.{name}: missing; {schema['properties'][name]['description']}")
    name = _name(problems, f"{path}.id", value["id"]) if "id" in value else None
    sides = [
        integer(problems, f"{path}.{key}", value[key], low=1, unit="cells") if key in value else None for key in "lwh"
    ]
    if "weight" in value:
        number(problems, f"{path}.weight", value["weight"], above=0, unit="kg")
    if "upright" in value and not isinstance(value["upright"], (bool, np.bool_)):
        problems.append(f"{path}.upright: got {shown(value['upright'])}, expected true or false")
    length, width, height = sides
    if length is None or width is None or height is None:
        return None
    size = scenario.bin
    fits = length <= size.length and width <= size.width
    turned = scenario.orientations == 2 and width <= size.length and length <= size.width
    if height > size.height or not (fits or turned):
        how = "in either orientation" if scenario.orientations == 2 else "as it arrives, and this policy turns no box"
        problems.append(
            f"{path}: {shown(length)} x {shown(width)} x {shown(height)} cells does not fit the bin of "
            f"{size.length} x {size.width} x {size.height} cells {how}"
        )
    return None if len(problems) > found or name is None else Box(name, length, width, height)


def _name(problems: list[str], path: str, value: Any) -> str | int | None:
    if isinstance(value, str) and 0 < len(value) <= 200:
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and abs(int(value)) < 2**63:
        return int(value)
    problems.append(f"{path}: got {shown(value)}, expected a text of 1 to 200 characters or a whole number")
    return None

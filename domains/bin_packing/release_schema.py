"""Request and answer of an exported packing policy as JSON Schema (draft 2020-12); units in the annotation ``unit``."""

from typing import Any

from interlock.domains.bin_packing.scenario import BinPackingScenario

SCHEMA_VERSION = 1
MAX_ITEMS = 64
"""Most boxes in one request; of those beyond the look-ahead and the buffer nothing is used."""
MAX_PACKED = 4096
"""Most boxes listed as packed in one bin."""
HEAVIEST = 1e9
"""No weight in a request is larger, kg."""
MAX_ALTERNATIVES = 5
RULES = ("outside", "too_high", "unstable", "tips", "crushes", "overweight", "out_of_reach", "tilted")
"""What forbids positions, in the order of the checks; ``tilted`` is asked first, of boxes to be kept upright."""

Schema = dict[str, Any]
NAME: Schema = {"type": ["string", "integer"], "minLength": 1, "maxLength": 200}


def preset(scenario: BinPackingScenario) -> Any:
    """The support rule as a request names it: a preset's name, or three thresholds."""
    return scenario.stability if isinstance(scenario.stability, str) else scenario.stability.model_dump()


def needs_packed(scenario: BinPackingScenario) -> bool:
    """Whether a rule of the scenario asks what is in a bin, not only how high it is."""
    return scenario.stacking or bool(scenario.weight_rules())


def _object(properties: Schema, required: tuple[str, ...] | None, description: str = "") -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties if required is None else required),
        "properties": properties,
        "description": description,
    }


def _whole(low: int, high: int, description: str, unit: str = "cells") -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "unit": unit, "description": description}


def _above_zero(unit: str, description: str) -> Schema:
    return {"type": "number", "exclusiveMinimum": 0, "unit": unit, "description": description}


def request_schema(scenario: BinPackingScenario) -> Schema:
    """JSON Schema of a request; fixed values are those of the scenario."""
    size, weighs = scenario.bin, scenario.weighs()

    def fixed(value: Any, description: str, unit: str = "") -> Schema:
        return {"const": value, "unit": unit, "description": description}

    def grid(cell: Schema, description: str) -> Schema:
        row = {"type": "array", "minItems": size.width, "maxItems": size.width, "items": cell}
        return {
            "type": "array",
            "minItems": size.length,
            "maxItems": size.length,
            "items": row,
            "description": description,
        }

    weight = _above_zero("kg", "weight of the box" if weighs else "for the record; no rule uses it")
    limit = _above_zero("kg", "largest weight that may rest on the box; needs weights")
    weight["maximum"] = limit["maximum"] = HEAVIEST
    tilting = scenario.orientations == 6
    upright = "length and width may be swapped, no more" if tilting else "always so, because boxes are never tilted"
    longest = max(size.length, size.width, size.height) if tilting else max(size.length, size.width)
    item = {
        "id": {**NAME, "description": "name of the box, unique in the request"},
        "l": _whole(1, longest, "length, along x as the box arrives"),
        "w": _whole(1, longest, "width, along y as the box arrives"),
        "h": _whole(1, longest if tilting else size.height, "height as the box arrives"),
        "weight": weight,
        "max_stack_weight": limit,
        "upright": {"type": "boolean", "description": f"keep upright: {upright}"},
    }
    placed = {
        "id": {**NAME, "description": "name of the box"},
        "x": _whole(0, size.length - 1, "corner nearest the origin, along x"),
        "y": _whole(0, size.width - 1, "the same along y"),
        "z": _whole(0, size.height - 1, "floor of the box"),
        "l": _whole(1, size.length, "side along x as it stands"),
        "w": _whole(1, size.width, "side along y as it stands"),
        "h": _whole(1, size.height, "side upwards as it stands"),
        "weight": weight,
        "max_stack_weight": limit,
    }
    weights = ("weight",) if weighs else ()
    content: Schema = {
        "height_map": grid(_whole(0, size.height, ""), "top of each column of cells seen from above, height_map[x][y]"),
        "packed": {
            "type": "array",
            "maxItems": MAX_PACKED,
            "items": _object(placed, ("x", "y", "z", "l", "w", "h", *weights)),
            "description": "boxes in the bin; must give the height map",
        },
        "reach": {
            **grid(
                {"type": "boolean"}, "cells that the robot reaches, reach[x][y]; null: all; a box goes on such only"
            ),
            "type": ["array", "null"],
        },
    }
    needed = ("height_map", "packed") if needs_packed(scenario) else ("height_map",)
    signature = {
        "l": fixed(size.length, "length of the bin, along x", "cells"),
        "w": fixed(size.width, "width of the bin, along y", "cells"),
        "h": fixed(size.height, "height of the bin", "cells"),
        "cell": fixed(size.cell_size, "side of a cell", size.unit),
        "unit": fixed(size.unit, "unit of `cell`"),
    }
    bin_id = {**NAME, "description": "name of the bin, repeated in the answer"}
    if size.open == 1:
        signature, bins = {"id": bin_id, **signature}, content
    else:
        one = _object({"id": bin_id, **content}, ("id", *needed))
        bins = {
            "open_bins": {
                "type": "array",
                "minItems": size.open,
                "maxItems": size.open,
                "items": one,
                "description": "the open bins, in an order of your own that stays the same",
            }
        }
        needed = ("open_bins",)
    which = "the first one is" if scenario.buffer == 1 else f"one of the first {scenario.buffer} is"
    properties = {
        "schema_version": fixed(SCHEMA_VERSION, "version of this schema"),
        "bin": _object(signature, ("l", "w", "h"), "the kind of bin; must be the one this policy is for"),
        **bins,
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ITEMS,
            "items": _object(item, ("id", "l", "w", "h", *weights)),
            "description": f"known boxes, front first; {which} placed now",
        },
        "orientation_set": fixed(
            scenario.orientations, "1: as it arrives; 2: length and width may be swapped; 6: any side may point up"
        ),
        "preset": fixed(preset(scenario), "support rule"),
        "deadline_ms": _above_zero("ms", "an answer of the policy that takes longer is replaced by a fallback rule"),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "where to set down which box",
        **_object(properties, ("schema_version", *needed, "items")),
    }


def answer_schema(scenario: BinPackingScenario) -> Schema:
    """JSON Schema of the domain's part of an answer: ``decision`` and what goes with it, or ``refuse``."""
    size, unit = scenario.bin, scenario.bin.unit
    turns = "0: length along x as it arrived; 1: length and width swapped; 2 to 5: tilted, with the sides along x, y, "
    orientation = _whole(
        0, scenario.orientations - 1, turns + "z being 2: l, h, w; 3: h, l, w; 4: w, h, l; 5: h, w, l", ""
    )
    z = _whole(0, size.height - 1, "set-down height")
    x = _whole(0, size.length - 1, "corner nearest the origin, along x")
    y = _whole(0, size.width - 1, "the same along y")
    ratio = {"type": "number", "minimum": 0, "maximum": 1, "unit": "1", "description": "share of the footprint at z"}
    corners = _whole(0, 4, "corners of the footprint at z", "")
    item_id = {"type": ["string", "integer"], "description": "the box"}
    bin_id = {"type": ["string", "integer"], "description": "the bin as the request names it, 'bin' if it does not"}
    score = {"type": ["number", "null"], "description": "of the policy, no unit"}
    length = {"type": "number", "minimum": 0, "unit": unit}
    count = {"type": "integer", "minimum": 0, "unit": "positions"}
    where = {"item_id": item_id, "bin_id": bin_id, "orientation": orientation, "x": x, "y": y}
    position = _object({"x": length, "y": length, "z": length, "unit": {"const": unit}}, None, "x, y, z in units")
    best = _object({**where, "area_ratio": ratio, "corners": corners, "lacked": ratio}, None)
    best |= {"type": ["object", "null"], "description": "best supported of the unstable positions; `lacked`: share of "}
    best["description"] += "the footprint that it is short of, or on the limit of, with so many corners"
    refuse = {
        "reason": {"type": "string", "description": "in words"},
        "positions": _object(dict.fromkeys(("feasible", *RULES), count), None, "positions per first rule that forbids"),
        "best_support": best,
    }
    return {
        "type": "object",
        "properties": {
            "feasible": {"type": "boolean", "description": "whether a position was found"},
            "decision": _object({**where, "z": z, "position": position}, None, "where the box goes"),
            "support": _object(
                {"area_ratio": ratio, "corners": corners, "preset": {"const": preset(scenario)}},
                None,
                "how the box is supported there",
            ),
            "score": score,
            "alternatives": {
                "type": "array",
                "maxItems": MAX_ALTERNATIVES,
                "items": _object({**where, "z": z, "score": score}, None, "a feasible position"),
                "description": "next best positions",
            },
            "refuse": _object(refuse, None, "why no position was found"),
            "outside_training_range": {
                "type": "boolean",
                "description": f"a side is not within {scenario.items.low} to {scenario.items.high} cells, which the "
                "policy was trained on; the decision is checked all the same",
            },
        },
    }

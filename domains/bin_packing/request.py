"""The request of an exported packing policy: how a raw request is read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.core.errors import BadInput
from interlock.core.request import as_integer, integer, number, shown, unknown_fields
from interlock.domains.bin_packing.placements import FEASIBLE, Placements, placement_report
from interlock.domains.bin_packing.release_boxes import Box, name_of, read_boxes, read_packed, turned
from interlock.domains.bin_packing.release_schema import SCHEMA_VERSION, preset
from interlock.domains.bin_packing.release_stacking import Stack, Stacked, settled
from interlock.domains.bin_packing.scenario import BinPackingScenario, Stability

Array = NDArray[Any]

THRESHOLDS = tuple(Stability.model_fields)
SLACK = 1 + 1e-9
"""A bin's load may exceed its limit by this factor: sums of weights are not exact."""


@dataclass(frozen=True, eq=False)
class Bin:
    """An open bin.

    Attributes:
        id: its name.
        heights: int32 ``(L, W)``, top of each column in cells.
        packed: the boxes in it, as far as the request tells them.
        reach: bool ``(L, W)``, cells that the robot reaches; ``None`` for all.
    """

    id: str | int
    heights: Array
    packed: tuple[Stacked, ...]
    reach: Array | None

    @cached_property
    def stack(self) -> Stack:
        """The boxes in it, with the forces between them."""
        return settled(self.packed)

    @property
    def load(self) -> float:
        """Weight of the boxes in it."""
        return sum(box.weight for box in self.packed)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A checked request.

    Attributes:
        bins: the open bins.
        boxes: known, front first.
        held: how many of them, from the front, may be placed now.
        placements: every position, a row per bin and box held: row ``bin * held + box``.
        candidates: bool, in the shape of ``placements.rule``: what every rule but those about the stack allows.
    """

    bins: tuple[Bin, ...]
    boxes: tuple[Box, ...]
    held: int
    placements: Placements
    candidates: Array


def parse(raw: Mapping[str, Any], scenario: BinPackingScenario, schema: Mapping[str, Any]) -> Request:
    """Check a raw request.

    Args:
        raw: the request.
        scenario: which the policy is for.
        schema: of its requests, see ``release_schema``.

    Raises:
        BadInput: listing every problem.
    """
    if not isinstance(raw, Mapping):
        raise BadInput("request", [f"got {shown(raw)}, expected an object"])
    problems: list[str] = []
    known = schema["properties"]
    unknown_fields(problems, "", raw, known)
    for name in schema["required"]:
        if name not in raw:
            problems.append(f"{name}: missing; {known[name]['description']}")
    if "schema_version" in raw and as_integer(raw["schema_version"]) != SCHEMA_VERSION:
        problems.append(f"schema_version: got {shown(raw['schema_version'])}, this policy understands {SCHEMA_VERSION}")
    bin_id = _signature(problems, raw, known, scenario)
    if scenario.bin.open == 1:
        bins = [_bin(problems, "", raw, bin_id, known, scenario)]
    else:
        bins = _open_bins(problems, raw["open_bins"], known, scenario) if "open_bins" in raw else []
    boxes = read_boxes(problems, raw["items"], known, scenario) if "items" in raw else ()
    if "deadline_ms" in raw:
        number(problems, "deadline_ms", raw["deadline_ms"], above=0, unit="ms")
    sound = tuple(bin_ for bin_ in bins if bin_ is not None)
    if problems or len(sound) != scenario.bin.open:
        raise BadInput("request", problems)
    return _judged(sound, boxes, scenario)


def _judged(bins: tuple[Bin, ...], boxes: tuple[Box, ...], scenario: BinPackingScenario) -> Request:
    """All positions of the boxes held in the open bins."""
    held = boxes[: scenario.buffer]
    placements = placement_report(
        np.repeat([bin_.heights for bin_ in bins], len(held), axis=0),
        [box.sides for box in held] * len(bins),
        ceiling=scenario.bin.height,
        orientations=scenario.orientations,
        thresholds=scenario.thresholds(),
    )
    candidates = placements.rule == FEASIBLE
    heaviest = np.inf if scenario.bin.max_weight is None else scenario.bin.max_weight * SLACK
    for row, (bin_, box) in enumerate((bin_, box) for bin_ in bins for box in held):
        if box.upright:
            candidates[row, 2:] = False
        if heaviest < np.inf and bin_.load + box.weight > heaviest:
            candidates[row] = False
        if bin_.reach is not None:
            for o, x, y in np.argwhere(candidates[row]).tolist():
                length, width, _ = turned(box, o)
                candidates[row, o, x, y] = bin_.reach[x : x + length, y : y + width].all()
    return Request(bins, boxes, len(held), placements, candidates)


def _signature(
    problems: list[str], raw: Mapping[str, Any], known: Mapping[str, Any], scenario: BinPackingScenario
) -> str | int:
    """Compare bin, orientations and support rule with what the policy was made for; the bin's name."""
    size = scenario.bin
    ours: dict[str, Any] = {
        **{name: getattr(size, name) for name in ("length", "width", "height", "cell_size", "unit")},
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
        unknown_fields(problems, "bin.", given, known["bin"]["properties"])
        for key, name in (("l", "length"), ("w", "width"), ("h", "height")):
            if key in given:
                theirs[name] = integer(problems, f"bin.{key}", given[key], low=1, unit="cells")
            else:
                problems.append(f"bin.{key}: missing; {name} of the bin in cells")
        if "cell" in given:
            theirs["cell_size"] = number(problems, "bin.cell", given["cell"], above=0)
        if "unit" in given:
            theirs["unit"] = given["unit"] if isinstance(given["unit"], str) else shown(given["unit"])
        if "id" in given and "id" in known["bin"]["properties"]:
            named = name_of(problems, "bin.id", given["id"])
            bin_id = bin_id if named is None else named
    if "orientation_set" in raw:
        whole = as_integer(raw["orientation_set"])
        if whole not in (1, 2, 6):
            problems.append(f"orientation_set: got {shown(raw['orientation_set'])}, expected 1, 2 or 6")
        theirs["orientations"] = whole
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


def _open_bins(
    problems: list[str], value: Any, known: Mapping[str, Any], scenario: BinPackingScenario
) -> list[Bin | None]:
    count = scenario.bin.open
    if not isinstance(value, (list, tuple)) or len(value) != count:
        got = f"{len(value)} bins" if isinstance(value, (list, tuple)) else shown(value)
        problems.append(f"open_bins: got {got}, expected a list of {count} bins, as this policy plays with")
        return []
    schema = known["open_bins"]["items"]
    bins: list[Bin | None] = []
    seen: dict[str | int, int] = {}
    for k, given in enumerate(value):
        path = f"open_bins.{k}"
        if not isinstance(given, Mapping):
            problems.append(f"{path}: got {shown(given)}, expected an object with {', '.join(schema['required'])}")
            continue
        unknown_fields(problems, f"{path}.", given, schema["properties"])
        for name in schema["required"]:
            if name not in given:
                problems.append(f"{path}.{name}: missing; {schema['properties'][name]['description']}")
        bin_id = name_of(problems, f"{path}.id", given["id"]) if "id" in given else None
        if bin_id is not None and seen.setdefault(bin_id, k) != k:
            problems.append(f"{path}.id: {shown(bin_id)} is the name of open_bins.{seen[bin_id]} already")
        bins.append(_bin(problems, f"{path}.", given, bin_id, schema["properties"], scenario))
    return bins


def _bin(
    problems: list[str],
    path: str,
    given: Mapping[str, Any],
    bin_id: str | int | None,
    known: Mapping[str, Any],
    scenario: BinPackingScenario,
) -> Bin | None:
    """Height map, packed boxes and reach of one bin."""
    ceiling = scenario.bin.height
    heights = reach = None
    if "height_map" in given:
        expected = f"a whole number from 0 to {ceiling} [cells]"
        heights = _grid(problems, f"{path}height_map", given["height_map"], scenario, expected, _height(ceiling))
    if given.get("reach") is not None:
        reach = _grid(problems, f"{path}reach", given["reach"], scenario, "true or false", _truth)
    packed: tuple[Stacked, ...] = ()
    if "packed" in given:
        schema = known["packed"]["items"]
        packed = read_packed(problems, f"{path}packed", given["packed"], schema, scenario, heights)
    if heights is None or bin_id is None:
        return None
    return Bin(bin_id, heights, packed, None if reach is None else reach.astype(np.bool_))


def _height(ceiling: int) -> Any:
    def read(cell: Any) -> int | None:
        whole = cell if type(cell) is int else as_integer(cell)
        return whole if whole is not None and 0 <= whole <= ceiling else None

    return read


def _truth(cell: Any) -> int | None:
    return int(cell) if isinstance(cell, (bool, np.bool_)) else None


def _grid(
    problems: list[str], path: str, value: Any, scenario: BinPackingScenario, expected: str, read: Any
) -> Array | None:
    """int32 ``(L, W)`` of what ``read`` makes of each cell; ``None`` and a problem where it makes nothing of one."""
    length, width = scenario.bin.length, scenario.bin.width
    rows = value.tolist() if isinstance(value, np.ndarray) else value
    shape = f"{length} rows (along x) of {width} cells (along y)"
    if not isinstance(rows, (list, tuple)):
        problems.append(f"{path}: got {shown(rows)}, expected {shape}")
        return None
    for x, row in enumerate(rows[:length]):
        if not isinstance(row, (list, tuple)):
            problems.append(f"{path}: row {x} is {shown(row)}, expected {shape}")
            return None
        if len(row) != width:
            problems.append(f"{path}: row {x} has {len(row)} cells ({len(rows)} rows in all), expected {shape}")
            return None
    if len(rows) != length:
        problems.append(f"{path}: got {len(rows)} rows of {width} cells, expected {shape}")
        return None
    cells = [[read(cell) for cell in row] for row in rows]
    wrong = [(x, y) for x, row in enumerate(cells) if None in row for y, cell in enumerate(row) if cell is None]
    if wrong:
        x, y = wrong[0]
        more = f"; {len(wrong) - 1} more cells are wrong" if len(wrong) > 1 else ""
        problems.append(f"{path}: (x {x}, y {y}) is {shown(rows[x][y])}, expected {expected}{more}")
        return None
    return np.array(cells, np.int32)

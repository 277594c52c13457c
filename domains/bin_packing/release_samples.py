"""Requests as they occur in operation, for self-tests and parity checks."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from interlock.core.environment import Array
from interlock.domains.bin_packing import release_rules as rules
from interlock.domains.bin_packing.release_schema import SCHEMA_VERSION, needs_packed, preset
from interlock.domains.bin_packing.request import Request, parse
from interlock.domains.bin_packing.scenario import BinPackingScenario

Raw = dict[str, Any]


def sample_requests(scenario: BinPackingScenario, schema: Mapping[str, Any], count: int, seed: int) -> list[Raw]:
    """States of bins that are filled, low placements preferred, with boxes of the scenario's range.

    Args:
        scenario: of the requests.
        schema: of its requests.
        count: how many.
        seed: of boxes and placements.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, count // 16)
    return [raw for _ in range(rows) for raw in _filled(scenario, schema, -(-count // rows), rng)][:count]


def _filled(scenario: BinPackingScenario, schema: Mapping[str, Any], steps: int, rng: np.random.Generator) -> list[Raw]:
    """Requests of one yard from its empty bins on; all bins are emptied after a request that nothing can follow."""
    known = max(scenario.look_ahead, scenario.buffer)
    bins, boxes, found = _empty(scenario), list[Raw](), list[Raw]()
    for step in range(steps):
        while len(boxes) < known:
            boxes.append(_box(scenario, step + len(boxes) + 1, rng))
        raw = _request(scenario, bins, boxes)
        found.append(raw)
        request = parse(raw, scenario, schema)
        noise = 2.0 * rng.random(request.candidates.shape)
        wanted = -np.where(request.candidates, request.placements.z + noise, np.inf)
        action = next(rules.ranked(scenario, request, _scores(scenario, request, wanted)), None)
        if action is None:
            bins, boxes = _empty(scenario), boxes[1:]
        else:
            _place(scenario, request, action, bins, boxes)
    return found


def _scores(scenario: BinPackingScenario, request: Request, per_position: Array) -> Array:
    scores = np.full((len(request.bins), scenario.buffer, per_position[0].size), -np.inf)
    scores[:, : request.held] = per_position.reshape(len(request.bins), request.held, -1)
    flat: Array = scores.reshape(-1)
    return flat


def _empty(scenario: BinPackingScenario) -> list[Raw]:
    size = scenario.bin
    return [{"height_map": np.zeros((size.length, size.width), np.int32), "packed": []} for _ in range(size.open)]


def _box(scenario: BinPackingScenario, number: int, rng: np.random.Generator) -> Raw:
    size = (scenario.bin.length, scenario.bin.width, scenario.bin.height)
    length, width, height = rng.integers(scenario.items.low, np.minimum(scenario.items.high, size) + 1).tolist()
    box = {"id": f"box-{number}", "l": length, "w": width, "h": height}
    if scenario.weighs():
        low, high = scenario.items.density or (1.0, 1.0)
        volume = length * width * height
        if scenario.stream == "picks" and scenario.items.density is None:
            box["weight"] = round(float(rng.uniform(0.5, 20.0)), 3)
        else:
            box["weight"] = max(0.001, round(float(rng.uniform(low, high)) * volume, 3))
    return box


def _request(scenario: BinPackingScenario, bins: list[Raw], boxes: list[Raw]) -> Raw:
    size = scenario.bin
    content = [{"height_map": bin_["height_map"].tolist()} for bin_ in bins]
    if needs_packed(scenario):
        for told, bin_ in zip(content, bins, strict=True):
            told["packed"] = [dict(box) for box in bin_["packed"]]
    given: Raw = content[0]
    if size.open > 1:
        given = {"open_bins": [{"id": f"bin-{k + 1}", **told} for k, told in enumerate(content)]}
    return {
        "schema_version": SCHEMA_VERSION,
        "bin": {"l": size.length, "w": size.width, "h": size.height, "cell": size.cell_size, "unit": size.unit},
        **given,
        "items": [dict(box) for box in boxes],
        "orientation_set": scenario.orientations,
        "preset": preset(scenario),
    }


def _place(scenario: BinPackingScenario, request: Request, action: int, bins: list[Raw], boxes: list[Raw]) -> None:
    """Carry out an action: on the bins, and on the boxes that wait."""
    spot = rules.spot_of(scenario, request, action)
    if spot is None:
        raise ValueError(f"action {action} places no box")
    bin_, box = bins[spot.bin], boxes.pop(spot.which)
    length, width, height = spot.sides
    under = bin_["height_map"][spot.x : spot.x + length, spot.y : spot.y + width]
    z = int(under.max())
    under[:] = z + height
    weight = {"weight": box["weight"]} if "weight" in box else {}
    bin_["packed"].append(
        {"id": box["id"], "x": spot.x, "y": spot.y, "z": z, "l": length, "w": width, "h": height, **weight}
    )

"""5,000 released decisions under an adversarial policy, and that the judge would notice if the gate failed."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "benchmarks" / "bin_packing_fuzz.py"


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bin_packing_fuzz", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_released_placement_breaks_a_rule(fuzzer: ModuleType) -> None:
    worlds, happened = fuzzer.worlds(), Counter[str]()
    for number, world in enumerate(worlds):
        happened += fuzzer.fuzz(world, fuzzer.decider_of(fuzzer.scenario_of(world)), 10_000 + number, 157)
    assert happened["released"] >= 5_000
    assert fuzzer.infeasible(happened) == 0, happened
    assert happened["refused in vain"] == 0
    assert happened["invalid"] == 0
    assert min(happened[name] for name in ("policy", "projection", "fallback:linear12", "fallback:dbl")) > 100
    assert happened["refused"] > 200


FLAT = [[0] * 10 for _ in range(10)]
TOWER = [[6, 6, *[0] * 8], [6, 6, *[0] * 8], *[[0] * 10 for _ in range(8)]]
BLOCK = {"x": 0, "y": 0, "z": 0, "l": 2, "w": 2, "h": 6, "weight": 4.0}
PLAIN = {"size": (10, 10, 10), "low": 1, "high": 5, "preset": "released", "orientations": 6}
HEAVY = {**PLAIN, "preset": "lenient", "density": (0.1, 1.0), "stacking": True, "crush_factor": 2.0, "max_weight": 13.0}


@pytest.mark.parametrize(
    ("world", "height_map", "item", "decision", "rule"),
    [
        (PLAIN, FLAT, {}, {"z": 0}, ""),
        (PLAIN, FLAT, {}, {"z": 0, "item_id": 2}, "names"),
        (PLAIN, FLAT, {"upright": True}, {"z": 0, "orientation": 2}, "upright"),
        (PLAIN, FLAT, {"upright": True}, {"z": 0, "orientation": 1}, ""),
        (PLAIN, FLAT, {}, {"z": 0, "x": 9}, "outside"),
        (PLAIN, FLAT, {}, {"z": 0, "y": -1}, "outside"),
        (PLAIN, FLAT, {}, {"z": 1}, "set-down height"),
        (PLAIN, TOWER, {"h": 5}, {"z": 6}, "too high"),
        (PLAIN, TOWER, {}, {"z": 6}, ""),
        (PLAIN, TOWER, {}, {"z": 6, "y": 1}, "unstable"),
        (PLAIN, TOWER, {"l": 3}, {"z": 6}, "unstable"),
        (HEAVY, TOWER, {}, {"z": 6}, ""),
        (HEAVY, TOWER, {"l": 4}, {"z": 6}, "tips"),
        (HEAVY, TOWER, {"l": 3}, {"z": 6}, ""),
        (HEAVY, TOWER, {"weight": 8.5}, {"z": 6}, "crushes"),
        (HEAVY, TOWER, {"weight": 9.5}, {"z": 6}, "overweight"),
    ],
)
def test_the_judge_knows_every_rule(
    fuzzer: ModuleType,
    world: dict[str, Any],
    height_map: Any,
    item: dict[str, Any],
    decision: dict[str, Any],
    rule: str,
) -> None:
    one = {"id": 1, "l": 2, "w": 2, "h": 3, "weight": 2.0, **item}
    raw = {"height_map": height_map, "items": [one], "packed": [BLOCK] if height_map is TOWER else []}
    place = {"item_id": 1, "bin_id": "bin", "orientation": 0, "x": 0, "y": 0, **decision}
    assert fuzzer.breaks(world, raw, place) == rule
    if not rule:
        far = [[x < 1 for _ in range(10)] for x in range(10)]
        assert fuzzer.breaks(world, {**raw, "reach": far}, place) == "out of reach"
        assert place in list(fuzzer.every_place(world, raw))

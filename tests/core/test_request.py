"""Reading raw requests: whatever comes in, each problem is one sentence and nothing breaks."""

from typing import Any

import numpy as np
import pytest

from interlock.core.request import as_integer, integer, number, schema_fields, shown, unknown_fields


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def test_any_value_is_shown_in_short() -> None:
    for value in ("x" * 10**6, deep(5_000), 10**5_000, Hostile(), {k: k for k in range(10**5)}, None):
        assert 0 < len(shown(value)) < 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(3, 3), (3.0, 3), (np.int8(4), 4), (np.float32(2), 2), (True, None), (np.bool_(True), None), (2.5, None)],
        *[(float("nan"), None), (float("inf"), None), ("3", None), (None, None), ([3], None)],
    ],
)
def test_what_counts_as_a_whole_number(value: Any, expected: int | None) -> None:
    assert as_integer(value) == expected
    problems: list[str] = []
    assert integer(problems, "a", value, low=1, high=9) == expected
    assert len(problems) == (expected is None)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -1, 0, 11, 10**400, True, "1", None, [1.0], np.bool_(True)]
)
def test_numbers_outside_the_range_are_refused_in_words(value: Any) -> None:
    problems: list[str] = []
    assert number(problems, "speed", value, above=0, high=10, unit="m/s") is None
    (problem,) = problems
    assert problem.startswith("speed: got ")
    assert problem.endswith("expected a number above 0 and at most 10 [m/s]")


def test_numbers_inside_the_range_are_given_back() -> None:
    problems: list[str] = []
    assert number(problems, "a", np.float64(2.5), low=0, high=3) == 2.5
    assert number(problems, "a", 3, low=0, high=3) == 3.0
    assert problems == []


def test_unknown_fields_name_the_nearest_known_one_and_are_counted_when_many() -> None:
    problems: list[str] = []
    unknown_fields(problems, "bin.", {"lenght": 1, 7: 2, "width": 3, "zzz": 4}, ["length", "width"])
    assert problems == [
        "bin.lenght: unknown field; did you mean 'length'?",
        "bin.7: unknown field; there are: length, width",
        "bin.zzz: unknown field; there are: length, width",
    ]
    problems.clear()
    unknown_fields(problems, "", {f"field {k}" * 1000: k for k in range(5_000)}, ["length"])
    assert len(problems) == 21
    assert problems[-1] == "request: 4980 more unknown fields"
    assert max(map(len, problems)) < 200


def test_fields_of_a_schema() -> None:
    cells = {"type": "integer", "minimum": 0, "maximum": 7, "unit": "cells", "description": "how many"}
    schema = {
        "properties": {
            "version": {"const": 2},
            "map": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "array", "items": cells}},
            "boxes": {"type": "array", "items": {"properties": {"side": cells, "note": {}}, "required": ["side"]}},
            "place": {"properties": {"x": cells}, "required": ["x"]},
        },
        "required": ["version", "boxes"],
    }
    found = {field.name: field for field in schema_fields(schema)}
    assert list(found) == ["version", "map", "boxes[].side", "boxes[].note", "place.x"]
    assert (found["version"].low, found["version"].high, found["version"].required) == (2, 2, True)
    assert (found["map"].shape, found["map"].unit, found["map"].high, found["map"].required) == (
        (2, -1),
        "cells",
        7,
        False,
    )
    assert found["boxes[].side"].required
    assert not found["boxes[].note"].required
    assert not found["place.x"].required  # the object around it may be left out

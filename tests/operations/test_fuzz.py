"""10,000 requests with something wrong in them: a clear refusal, or a placement that plain Python finds sound."""

import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from interlock.operations.audit import request_hash
from interlock.operations.decide import Decider
from interlock.operations.requests import read_requests

REQUESTS = 10_000
CHUNKS = 4


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = [value] if levels % 2 else {"a": value}
    return value


DEEP = (deep(60), deep(3_001))


def junk(rng: random.Random) -> Any:
    """Anything a broken client may send."""
    return rng.choice(
        [
            *[
                None,
                True,
                False,
                "",
                "3",
                "12,5",
                "12 cm",
                "null",
                [],
                {},
                [[]],
                -1,
                0,
                1,
                2,
                3,
                5,
                10,
                11,
                1e9,
                2.5,
                3.0,
            ],
            *[float("nan"), float("inf"), -float("inf"), 10**30, -(10**30), "x" * 5_000, "\ud800\x00", *DEEP],
            *[{"l": 3}, [1, 2, 3], {"": ""}, [None] * 10, [[0] * 10] * 10, b"bytes", (1, 2), {1, 2}, 1j, object()],
        ]
    )


def slots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a request, four levels deep; of a height map only a few cells."""
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    if len(path) == 4:
        return [path]
    return [path, *(found for key, entry in inside for found in slots(entry, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    target = value
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = new
    return value


def broken(raw: dict[str, Any], rng: random.Random) -> Any:
    """A valid request with one to three things done to it."""
    raw = copy.deepcopy(raw)
    raw["bin"]["id"] = "b"
    raw["items"][0] |= {"weight": 2.5, "upright": True}
    raw["deadline_ms"] = 1_000
    for _ in range(rng.randint(1, 3)):
        paths = [path for path in slots(raw) if path] if isinstance(raw, dict) and raw else []
        if not paths:
            return raw
        path, kind = rng.choice(paths), rng.randrange(8)
        parent = raw
        for key in path[:-1]:
            parent = parent[key]
        if kind == 0:
            del parent[path[-1]]
        elif kind == 1 and isinstance(parent, dict):
            parent[str(path[-1]) + rng.choice(["", "s", "_", "é", " "])] = parent.pop(path[-1])
        elif kind == 2 and isinstance(parent, dict):
            parent[rng.choice(["x", "lenght", "open_bins", "__class__", ""])] = junk(rng)
        elif kind == 3 and isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), junk(rng))
        elif kind == 4:  # oversized, undersized or odd sides
            sides = {rng.choice("lwh"): rng.choice([1, 6, 9, 10, 11, 300, 2.0])}
            raw = replaced(raw, ("items",), [{"id": "o", "l": 3, "w": 4, "h": 2, **sides}])
        elif kind == 5:  # another bin
            raw = replaced(raw, ("bin",), {"l": rng.randint(8, 11), "w": 10, "h": 10})
        elif kind == 6:  # a different but well-formed height map
            side = rng.choice([10, 10, 10, 9])
            raw = replaced(raw, ("height_map",), [[rng.randint(0, 10) for _ in range(10)] for _ in range(side)])
        else:
            raw = replaced(raw, path if rng.random() < 0.98 else (), junk(rng))
    return raw


def sound(raw: dict[str, Any], decision: dict[str, Any]) -> bool:
    """Whether the released placement is inside, below the ceiling and stable, in plain Python once more."""
    box = raw["items"][0]
    sides = (box["l"], box["w"]) if decision["orientation"] == 0 else (box["w"], box["l"])
    xs = range(decision["x"], decision["x"] + int(sides[0]))
    ys = range(decision["y"], decision["y"] + int(sides[1]))
    if xs[0] < 0 or ys[0] < 0 or xs[-1] > 9 or ys[-1] > 9:
        return False
    z = max(raw["height_map"][x][y] for x in xs for y in ys)
    if decision["z"] != z or z + box["h"] > 10:
        return False
    count = sum(raw["height_map"][x][y] == z for x in xs for y in ys)
    corners = sum(raw["height_map"][x][y] == z for x in (xs[0], xs[-1]) for y in (ys[0], ys[-1]))
    area = len(xs) * len(ys)
    return (
        count == area
        or (corners == 4 and 100 * count > 50 * area)
        or (corners >= 3 and 100 * count > 85 * area)
        or 100 * count > 95 * area
    )


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_broken_requests_are_refused_or_decided_soundly(decider: Decider, chunk: int) -> None:
    rng = random.Random(chunk)
    base = decider.contract.sample_requests(200, chunk)
    seen: Counter[str] = Counter()
    for _ in range(REQUESTS // CHUNKS):
        raw = broken(rng.choice(base), rng)
        answer = decider.decide(raw)
        text = json.dumps(answer, allow_nan=False)
        assert len(request_hash(raw)) == 64
        seen[answer["status"]] += 1
        if answer["status"] == "released":
            assert sound(raw, answer["decision"]), raw
            assert answer["source"] == "policy" or answer["reason"]
        else:
            assert "decision" not in answer
            assert answer["reason"]
            assert answer["action"] is None
        if answer["status"] == "invalid":
            assert all(0 < len(problem) < 600 and "Traceback" not in problem for problem in answer["problems"])
            assert answer["problems"]
        assert "could not be read" not in text
        assert "decision failed" not in text
    assert min(seen["released"], seen["refused"]) > 50
    assert seen["invalid"] > 1_000


def test_broken_text_is_refused_line_by_line(decider: Decider, tmp_path: Path) -> None:
    rng = random.Random(99)
    sources = [json.dumps(raw) for raw in decider.contract.sample_requests(50, 99)]
    lines = []
    for _ in range(500):
        text = list(rng.choice(sources))
        for _ in range(rng.randint(1, 4)):
            text[rng.randrange(len(text))] = chr(rng.choice([*range(32, 127), 0, 0xE9, 0x1F600]))
        lines.append("".join(text))
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join([sources[0], *lines]), encoding="utf-8")
    statuses: Counter[str] = Counter()
    for raw in read_requests(str(path)):
        answer = decider.invalid(raw.problems) if raw.problems else decider.decide(raw.value)
        statuses[answer["status"]] += 1
        if answer["status"] == "released":
            assert sound(raw.value, answer["decision"])
    assert statuses.total() == 501
    assert statuses["invalid"] > 100

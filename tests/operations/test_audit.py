"""The audit log: one line per decision, and no line can be changed without a trace."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from interlock.operations.audit import FIRST, AuditLog, audit_line, default_path, request_hash, verify


def log_of(path: Path, count: int = 5) -> list[str]:
    log = AuditLog(path)
    for k in range(count):
        log.append({"k": k, "text": "line\nbreak \ud800 é"})
    return path.read_text().splitlines()


def test_every_line_holds_the_hash_of_the_one_before(tmp_path: Path) -> None:
    lines = log_of(tmp_path / "new" / "a.jsonl")
    assert len(lines) == 5
    assert json.loads(lines[0])["previous"] == FIRST
    assert [json.loads(line)["k"] for line in lines] == list(range(5))
    report = verify(tmp_path / "new" / "a.jsonl")
    assert (report.lines, report.problems) == (5, ())
    AuditLog(tmp_path / "new" / "a.jsonl").append({"k": 5})
    assert json.loads((tmp_path / "new" / "a.jsonl").read_text().splitlines()[-1])["previous"] == report.head


@pytest.mark.parametrize("change", ["edit", "remove", "swap", "insert", "junk"])
def test_each_kind_of_tampering_is_found_at_its_place(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.jsonl"
    lines = log_of(path)
    if change == "edit":
        lines[2] = lines[2].replace('"k":2', '"k":7')
    elif change == "remove":
        del lines[2]
    elif change == "swap":
        lines[2], lines[3] = lines[3], lines[2]
    elif change == "insert":
        lines.insert(2, lines[2].replace('"k":2', '"k":9'))
    else:
        lines[2] = "[]"
    path.write_text("\n".join(lines) + "\n")
    problems = verify(path).problems
    place = {"edit": 4, "remove": 3, "swap": 3, "insert": 4, "junk": 3}[change]
    assert problems
    assert problems[0].startswith(f"line {place}: ")


def test_a_line_cut_off_by_a_crash_is_kept_apart_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log_of(path, 3)
    with path.open("a") as file:
        file.write('{"k": 3, "te')
    assert verify(path).problems[-1] == "line 4: is cut off"
    AuditLog(path).append({"k": 4})
    report = verify(path)
    assert report.lines == 5
    assert report.problems == ("line 4: is not a line of an audit log",)


def test_lines_longer_than_a_block_are_chained(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "a.jsonl")
    for size in (10, 200_000, 65_536, 65_535, 1):
        log.append({"text": "x" * size})
    assert verify(tmp_path / "a.jsonl").problems == ()


def _append_many(path: Path, who: int) -> None:
    log = AuditLog(path)
    for k in range(40):
        log.append({"who": who, "k": k})


def test_several_processes_share_a_log(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_many, args=(path, who)) for who in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    report = verify(path)
    assert (report.lines, report.problems) == (160, ())
    found = [(line["who"], line["k"]) for line in map(json.loads, path.read_text().splitlines())]
    assert sorted(found) == [(who, k) for who in range(4) for k in range(40)]


def test_requests_hash_alike_whatever_their_spelling() -> None:
    assert request_hash({"b": [1, 2], "a": 0}) == request_hash({"a": 0, "b": np.array([1, 2])})
    assert request_hash({"a": 1}) != request_hash({"a": 2})
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    for junk in (deep, object(), {"a": {1, 2}}, "text", "\ud800", {1: 2, "a": 3}):
        assert len(request_hash(junk)) == 64


def test_what_a_line_keeps() -> None:
    answer = {
        "status": "released", "source": "projection", "reason": "r", "problems": ["p"] * 50, "proposal": 3, "action": 4,
        "decision": {"x": 1}, "alternatives": [1], "latency_ms": 0.5, "policy_hash": "h",
    }  # fmt: skip
    line = audit_line({"a": 1}, answer)
    assert {"time", "input_sha256", "proposal", "action", "decision", "source", "latency_ms", "policy_hash"} <= set(
        line
    )
    assert "alternatives" not in line
    assert len(line["problems"]) == 20
    assert line["time"].endswith("+00:00")


def test_the_default_place_is_beside_the_bundle(tmp_path: Path) -> None:
    assert default_path(tmp_path / "x" / ".." / "b.bundle") == tmp_path.resolve() / "b.bundle.audit.jsonl"
    assert default_path(tmp_path / "b.zip").name == "b.zip.audit.jsonl"

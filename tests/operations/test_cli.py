"""`interlock decide` behind the command line: output, exit codes, audit log, and no torch anywhere."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.operations.audit import request_hash, verify
from interlock.operations.decide import Decider, run_cli


@pytest.fixture
def requests(decider: Decider) -> list[dict[str, Any]]:
    return decider.contract.sample_requests(16, 2)


def decide(bundle: Path, request: str, audit: Path, **options: Any) -> int:
    return run_cli(bundle, request, audit=audit, as_json=options.get("as_json", False), selftest=False)


def write_lines(path: Path, requests: list[Any]) -> str:
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return str(path)


def test_json_lines_in_json_lines_out(
    bundle: Path, tmp_path: Path, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "r.jsonl", requests)
    assert decide(bundle, source, tmp_path / "a.jsonl") == 0
    captured = capsys.readouterr()
    answers = [json.loads(line) for line in captured.out.splitlines()]
    assert [a["decision"]["item_id"] for a in answers if a["status"] == "released"] == [
        r["items"][0]["id"] for r, a in zip(requests, answers, strict=True) if a["status"] == "released"
    ]
    assert {a["status"] for a in answers} == {"released", "refused"}
    assert f"audit log {tmp_path / 'a.jsonl'}" in captured.err
    audit = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["input_sha256"] for line in audit] == [request_hash(request) for request in requests]
    assert [line["action"] for line in audit] == [answer["action"] for answer in answers]
    assert verify(tmp_path / "a.jsonl").problems == ()


def test_one_request_gives_one_object_and_json_gives_all_in_one(
    bundle: Path, tmp_path: Path, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(requests[0], indent=2))
    assert decide(bundle, str(path), tmp_path / "a.jsonl") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "released"
    path.write_text(json.dumps(requests))
    assert decide(bundle, str(path), tmp_path / "a.jsonl", as_json=True) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert (len(found["answers"]), found["released"] + found["refused"], found["invalid"]) == (16, 16, 0)
    assert verify(tmp_path / "a.jsonl").lines == 17


def test_csv_decides_like_json(
    bundle: Path, decider: Decider, tmp_path: Path, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["schema_version,height_map,items.0.id,items.0.l,items.0.w,items.0.h"]
    for raw in requests:
        box = raw["items"][0]
        rows.append(f'1,"{raw["height_map"]}",{box["id"]},{box["l"]},{box["w"]},{box["h"]}')
    (tmp_path / "r.csv").write_text("\n".join(rows))
    assert decide(bundle, str(tmp_path / "r.csv"), tmp_path / "a.jsonl") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [a["action"] for a in answers] == [decider.decide(raw)["action"] for raw in requests]


def test_one_invalid_request_gives_exit_code_3_and_the_others_their_answers(
    bundle: Path, tmp_path: Path, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "r.jsonl"
    write_lines(source, [requests[0], {**requests[1], "preset": "paper"}])
    source.write_text(source.read_text() + "not json\n" + json.dumps(requests[2]))
    assert decide(bundle, str(source), tmp_path / "a.jsonl") == 3
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [a["status"] for a in answers] == ["released", "invalid", "invalid", "released"]
    assert "this policy is for [bin 10 x 10 x 10 cells" in answers[1]["problems"][0]
    assert answers[2]["problems"][0].startswith("line 3: not JSON")
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 4


def test_the_log_is_beside_the_bundle_and_never_inside(
    make_bundle: Callable[..., Path], tmp_path: Path, requests: list[dict[str, Any]]
) -> None:
    folder = make_bundle()
    source = write_lines(tmp_path / "r.jsonl", requests[:1])
    assert run_cli(folder, source, audit=None, as_json=False, selftest=False) == 0
    assert verify(tmp_path / "odd.bundle.audit.jsonl").lines == 1
    with pytest.raises(UsageError, match="is inside the bundle"):
        decide(folder, source, folder / "audit.jsonl")
    assert Decider(folder)


def test_no_decision_leaves_without_its_audit_line(
    bundle: Path, tmp_path: Path, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        decide(bundle, write_lines(tmp_path / "r.jsonl", requests), tmp_path / "a.jsonl")
    assert capsys.readouterr().out == ""


def test_selftest(
    bundle: Path, make_bundle: Callable[..., Path], decider: Decider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(bundle, "", audit=None, as_json=True, selftest=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "policy_hash": decider.policy_hash,
        "requests": 20,
        "differences": [],
    }
    odd = make_bundle(cases=list(decider.bundle.selftest))  # another scorer than the one that gave the answers
    assert run_cli(odd, "", audit=None, as_json=False, selftest=True) == 1
    captured = capsys.readouterr()
    assert "request 0, policy_hash: " in captured.out
    assert "differences" in captured.err


def test_wrong_usage(bundle: Path, tmp_path: Path) -> None:
    for request, selftest in (("", False), ("x.json", True)):
        with pytest.raises(UsageError, match="needs either"):
            run_cli(bundle, request, audit=None, as_json=False, selftest=selftest)
    with pytest.raises(UsageError, match="not found"):
        decide(bundle, str(tmp_path / "none.json"), tmp_path / "a.jsonl")
    with pytest.raises(BadInput, match="not found"):
        decide(tmp_path / "none", "-", tmp_path / "a.jsonl")


BLOCKED = """
import sys
for name in ("torch", "pandas", "pyomo", "matplotlib", "plotly", "onnx"):
    sys.modules[name] = None
from pathlib import Path
from interlock.operations.decide import run_cli
sys.exit(run_cli(Path(sys.argv[1]), sys.argv[2], audit=Path(sys.argv[3]), as_json=False, selftest=sys.argv[2] == ""))
"""


@pytest.mark.parametrize("kind", ["network", "linear"])
def test_decides_where_torch_cannot_be_imported(
    bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path, requests: list[dict[str, Any]], kind: str
) -> None:
    folder = bundle if kind == "network" else make_bundle()
    late = {**requests[0], "deadline_ms": 0.001}  # a fallback rule runs too
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(folder), "-", str(tmp_path / "a.jsonl")],
        input="".join(json.dumps(raw) + "\n" for raw in [*requests, late]),
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 17
    assert answers[-1]["source"] == "fallback:linear12"
    assert {answer["source"] for answer in answers} == {"policy", "none", "fallback:linear12"}

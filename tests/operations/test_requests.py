"""Requests from files: JSON, lists, JSON lines, CSV; a broken one spoils only itself."""

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.operations.requests import RawRequest, read_requests


def read(tmp_path: Path, text: str | bytes) -> list[RawRequest]:
    path = tmp_path / "requests"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_requests(str(path)))


def values(tmp_path: Path, text: str | bytes) -> list[Any]:
    found = read(tmp_path, text)
    assert [request.problems for request in found] == [()] * len(found)
    return [request.value for request in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ('\n  {\n "a": [1,\n 2]}\n', [{"a": [1, 2]}]),
        ('\ufeff{"a": 1}', [{"a": 1}]),
        ('[{"a": 1},\n {"a": 2}, 5]', [{"a": 1}, {"a": 2}, 5]),
        ('{"a": 1}\n\n{"a": 2}\r\n', [{"a": 1}, {"a": 2}]),
    ],
)
def test_json_in_all_its_shapes(tmp_path: Path, text: str, expected: list[Any]) -> None:
    assert values(tmp_path, text) == expected


def test_a_broken_line_spoils_only_itself(tmp_path: Path) -> None:
    found = read(tmp_path, '\n{"a": 1}\n{"a": \n{"a": 1, "a": 2}\n' + "[" * 10**5 + '\n{"a": 3}')
    assert [request.value for request in found if not request.problems] == [{"a": 1}, {"a": 3}]
    problems = [request.problems[0] for request in found if request.problems]
    assert problems[0].startswith("line 3: not JSON: Expecting value")
    assert problems[1:] == [
        "line 4: not JSON: the field 'a' is there twice",
        "line 5: not JSON: nested too deeply",
    ]


def test_a_broken_first_line_does_not_hide_the_others(tmp_path: Path) -> None:
    found = read(tmp_path, '{"a": \n{"a": 2}\n')
    assert [bool(request.problems) for request in found] == [True, False]
    (whole,) = read(tmp_path, '{"a":\n 1,,\n}')
    assert whole.problems[0].startswith("not JSON: ")


def test_csv_builds_objects_and_lists_from_dotted_columns(tmp_path: Path) -> None:
    text = (
        'schema_version,items.0.id,items.0.l,items.0.upright,items.1.l,height_map,note\n'
        '1,box 7,3,true,4,"[[0, 1], [2, 3]]",\n'
        '1,007,3.5,,5,"[[0,0],[0,0]]","a, ""quoted"" word"\n'
    )  # fmt: skip
    first, second = values(tmp_path, text)
    assert first["items"] == [{"id": "box 7", "l": 3, "upright": True}, {"l": 4}]
    assert second["items"] == [{"id": "007", "l": 3.5}, {"l": 5}]
    assert (first["schema_version"], first["height_map"]) == (1, [[0, 1], [2, 3]])
    assert "note" not in first
    assert second["note"] == 'a, "quoted" word'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1\n", "line 2: 1 cells for 2 columns"),
        ("a,b\n1,2,3\n", "line 2: 3 cells for 2 columns"),
        ("a,a.b\n1,2\n", "line 2: column 'a.b' contradicts another column"),
        ("a.b,a\n1,2\n", "line 2: column 'a' contradicts another column"),
        ("i.0,i.2\n1,2\n", "line 2: i: elements [0, 2] are given, expected 0, 1, 2, ... without gaps"),
        ("i.999999999.l\n1\n", None),
        ('a,b\n"1,2\n', "line 2: not CSV: Error: unexpected end of data"),
    ],
)
def test_csv_rows_that_contradict_themselves(tmp_path: Path, text: str, expected: str | None) -> None:
    (found,) = read(tmp_path, text)
    assert found.problems == (() if expected is None else (expected,))


def test_csv_headers_are_checked(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, "a,,b,a\n1,2,3,4\n")
    assert caught.value.problems == ("column 2: has no name", "column 'a' is there twice")


@pytest.mark.parametrize("text", ["", "\n \n", "a,b\n", "[]"])
def test_nothing_to_decide_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="holds no request"):
        read(tmp_path, text)


def test_a_missing_file_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: not found"):
        list(read_requests(str(tmp_path / "nowhere")))
    with pytest.raises(BadInput, match="is not UTF-8 text"):
        read(tmp_path, '{"a": "é"}'.encode("latin-1"))


def test_standard_input_is_read_as_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "".join(json.dumps({"a": k}) + "\n" for k in range(3))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    requests = read_requests("-")
    assert next(requests).value == {"a": 0}
    assert [request.value["a"] for request in requests] == [1, 2]


def test_a_named_pipe_is_read_and_a_folder_is_not(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('{"a": 1}\n{"a": 2}\n',), daemon=True)
    writer.start()
    assert [request.value for request in read_requests(str(pipe))] == [{"a": 1}, {"a": 2}]
    writer.join(10)
    with pytest.raises(UsageError, match="not found"):
        list(read_requests(str(tmp_path)))

"""Requests from a file or a pipe: one JSON object, a list of them, JSON lines, or CSV; read one by one."""

import contextlib
import csv
import io
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from interlock.core.errors import BadInput, UsageError
from interlock.core.request import shown
from interlock.operations.contract import in_words

csv.field_size_limit(2**24)


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it was found.

    Attributes:
        value: what was read, whatever its type; the text itself where it could not be read.
        problems: why it could not be read, with its place; empty if it could.
    """

    value: Any
    problems: tuple[str, ...] = ()


def read_requests(source: str) -> Iterator[RawRequest]:
    """Requests of a file, or of standard input if ``source`` is ``-``, as they arrive.

    JSON and JSON lines are told by their first character, anything else is CSV: a header of dotted paths such as
    ``items.0.l``, cells read as JSON where they are JSON and as text otherwise, empty cells left out.

    Raises:
        UsageError: there is no such file, or nothing in it.
        BadInput: it is not UTF-8 text, or the header of the CSV is wrong.
    """
    name = "standard input" if source == "-" else source
    found = False
    with _open(source) as stream:
        try:
            for request in _parse(stream, name):
                found = True
                yield request
        except UnicodeDecodeError as error:
            raise BadInput(name, [f"is not UTF-8 text ({error})"]) from error
    if not found:
        raise UsageError(f"{name}: holds no request")


@contextlib.contextmanager
def _open(source: str) -> Iterator[TextIO]:
    if source == "-":
        stream = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        yield stream
        stream.detach()
    elif Path(source).exists() and not Path(source).is_dir():  # also a pipe
        with open(source, encoding="utf-8-sig", newline="") as stream:
            yield stream
    else:
        raise UsageError(f"request file {source}: not found")


def _parse(stream: TextIO, name: str) -> Iterator[RawRequest]:
    number, first = next(((number, line) for number, line in enumerate(stream, 1) if line.strip()), (1, ""))
    if not first.lstrip().startswith(("{", "[")):
        yield from _csv(itertools.chain([first], stream), name)
    elif first.lstrip().startswith("{") and _is_json(first):
        yield from _lines(itertools.chain([first], stream), number)
    else:
        yield from _document(first + stream.read(), number)


def _document(text: str, number: int) -> Iterator[RawRequest]:
    """One request over many lines, or a list of them; failing that, lines of which the first is broken."""
    try:
        value = loads(text)
    except ValueError as error:
        lines = text.splitlines(keepends=True)
        if any(_is_json(line) for line in lines if line.lstrip().startswith("{")):
            yield from _lines(lines, number)
        else:
            yield RawRequest(text, (f"not JSON: {error}",))
        return
    for request in value if isinstance(value, list) else [value]:
        yield RawRequest(request)


def _lines(lines: Iterable[str], first: int) -> Iterator[RawRequest]:
    for number, line in enumerate(lines, first):
        if line.strip():
            try:
                yield RawRequest(loads(line))
            except ValueError as error:
                yield RawRequest(line, (f"line {number}: not JSON: {error}",))


def loads(text: str) -> Any:
    """JSON in which no object names a field twice.

    Raises:
        ValueError: it is not, in words.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {shown(twice)} is there twice")
    return found


def _is_json(text: str) -> bool:
    try:
        loads(text)
    except ValueError:
        return False
    return True


class _Node(dict[str, Any]):
    """An object or list that is being built from columns (a cell that holds a JSON object is a plain ``dict``)."""


def _csv(lines: Iterable[str], name: str) -> Iterator[RawRequest]:
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    try:
        header = [column.strip() for column in next(reader, [])]
        problems = [f"column {k}: has no name" for k, column in enumerate(header, 1) if not column]
        problems += [f"column {c!r} is there twice" for c in sorted(set(header)) if c and header.count(c) > 1]
        if problems and any(header):
            raise BadInput(f"{name}, header", problems)
        for row in reader:
            if row:
                yield _row(header, row, reader.line_num)
    except csv.Error as error:
        yield RawRequest(name, (f"line {reader.line_num}: not CSV: {in_words(error)}",))


def _row(header: list[str], row: list[str], line: int) -> RawRequest:
    if len(row) != len(header):
        return RawRequest(",".join(row), (f"line {line}: {len(row)} cells for {len(header)} columns",))
    root = _Node()
    problems: list[str] = []
    for path, cell in zip(header, row, strict=True):
        if cell.strip():
            _place(problems, root, path, _cell(cell))
    value = _lists(problems, root, "")
    return RawRequest(value, tuple(f"line {line}: {problem}" for problem in problems))


def _cell(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return text


def _place(problems: list[str], root: _Node, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    node: Any = root
    for part in parents:
        node = node.setdefault(part, _Node())
        if not isinstance(node, _Node):
            break
    if not isinstance(node, _Node) or last in node:
        problems.append(f"column {shown(path)} contradicts another column")
    else:
        node[last] = value


def _lists(problems: list[str], node: Any, path: str) -> Any:
    """Nodes whose names are all numbers become lists."""
    if not isinstance(node, _Node):
        return node
    inner = {name: _lists(problems, value, f"{path}{name}.") for name, value in node.items()}
    if not inner or not all(name.isdecimal() and len(name) < 6 for name in inner):
        return inner
    found = {int(name): value for name, value in inner.items()}
    if sorted(found) != list(range(len(inner))):
        problems.append(f"{path[:-1]}: elements {sorted(found)[:8]} are given, expected 0, 1, 2, ... without gaps")
    return [found[k] for k in sorted(found)]

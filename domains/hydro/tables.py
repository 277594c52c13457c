"""The tables of a case folder: CSV read as text, so that every message can name the file, the row and what it says."""

import csv
import difflib
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interlock.domains.hydro.case import Array

TINY = 1e-300
"""Magnitudes below this are leftovers of other programs' arithmetic and read as 0."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text, and where problems with it are noted.

    Attributes:
        file: its name.
        columns: text ``(rows,)`` by header name, without surrounding blanks.
        rows: row numbers as the user sees them; the header is row 1.
        problems: one sentence each; shared by all tables of a folder.
    """

    file: str
    columns: dict[str, list[str]]
    rows: list[int]
    problems: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def wrong(self, k: int, column: str, expected: str) -> None:
        """Note that a value of the ``k``-th row is not what was expected."""
        self.problem(k, f"{column}: {_quote(self.columns[column][k])}, expected {expected}")

    def problem(self, k: int, text: str) -> None:
        """Note that something is wrong in the ``k``-th row."""
        self.problems.append(f"{self.file} row {self.rows[k]}, {text}")

    def numbers(
        self, column: str, unit: str, *, least: float = -np.inf, above: float = -np.inf, default: float | None = None
    ) -> Array:
        """A column as float64, NaN where it is wrong; notes every wrong value.

        Args:
            column: header name; a column that is not there reads as ``default``, or NaN.
            unit: of the values, for the message.
            least: values must be at least this.
            above: values must be larger than this.
            default: of blank values; ``None`` where a value is needed.
        """
        values = np.full(len(self), np.nan if default is None else default)
        limit = f" above {above:g}" if above > -np.inf else f", at least {least:g}" if least > -np.inf else ""
        for k, text in enumerate(self.columns.get(column, ())):
            if text == "" and default is not None:
                continue
            values[k] = number(text)
            if not (values[k] > above and values[k] >= least):
                self.wrong(k, column, f"a number of {unit}{limit}" if unit else f"a number{limit}")
                values[k] = np.nan
        return values

    def whole(self, column: str, expected: str, *, least: int = 1) -> list[int]:
        """A column of whole numbers, ``least - 1`` where it is wrong; notes every wrong value."""
        values = [least - 1] * len(self)
        for k, text in enumerate(self.columns.get(column, ())):
            value = number(text)
            if value.is_integer() and value >= least:
                values[k] = int(value)
            else:
                self.wrong(k, column, expected)
        return values

    def known(self, column: str, places: Mapping[str, int], what: str) -> list[int]:
        """Where the values of a column stand in another table, -1 where nowhere; notes every unknown value."""
        found = []
        for k, text in enumerate(self.columns.get(column, [""] * len(self))):
            found.append(places.get(key(text), -1))
            if found[-1] < 0 and column in self.columns:
                self.wrong(k, column, f"{what}{_some(places)}")
        return found

    def unique(self, column: str) -> dict[str, int]:
        """Row index by key; notes empty and repeated keys."""
        places: dict[str, int] = {}
        for k, text in enumerate(self.columns.get(column, ())):
            name = key(text)
            if not name:
                self.wrong(k, column, "an identifier")
            elif name in places:
                self.problem(k, f"{column}: {_quote(text)} is already in row {self.rows[places[name]]}")
            else:
                places[name] = k
        return places

    def names(self, column: str, prefix: str) -> tuple[str, ...]:
        """Names of the rows, made up where there are none; notes repeated ones."""
        given = self.columns.get(column, [""] * len(self))
        names = [text or f"{prefix}{k + 1}" for k, text in enumerate(given)]
        for k, name in enumerate(names):
            if names.index(name) < k:
                self.problem(k, f"{column}: {_quote(name)} is already in row {self.rows[names.index(name)]}")
        return tuple(names)


def read_table(
    folder: Path, file: str, problems: list[str], *, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> Table | None:
    """A table of a folder; notes a file that cannot be read, missing columns and ragged rows.

    Args:
        folder: that holds it.
        file: its name.
        problems: where problems are noted.
        required: columns that must be there.
        optional: further columns that mean something; another column that looks like one of all these is noted.

    Returns:
        the table; ``None`` if it cannot be read at all.
    """
    try:
        text = (folder / file).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        problems.append(f"{file}: no such file; expected columns {', '.join(required)}")
        return None
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: cannot be read as UTF-8 text: {error}")
        return None
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        problems.append(f"{file}: is not a CSV file: {error}")
        return None
    if not records:
        problems.append(f"{file} row 1: is empty; expected a header with {', '.join(required)}")
        return None
    header = [name.strip() for name in records[0]]
    _check_header(file, header, problems, required, optional)
    rows, kept = [], []
    for row, record in enumerate(records[1:], start=2):
        if not any(value.strip() for value in record):
            continue
        if len(record) != len(header):
            problems.append(f"{file} row {row}: {len(record)} values where the header has {len(header)}")
            continue
        rows.append(row)
        kept.append([value.strip() for value in record])
    columns = {name: [record[k] for record in kept] for k, name in enumerate(header)}
    return Table(file, columns, rows, problems)


def table_text(header: str, rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV; ``header`` is its first line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header.split(","))
    writer.writerows(rows)
    return text.getvalue()


def number(text: str) -> float:
    """The number that a text says, NaN if none or not finite; magnitudes below ``TINY`` are 0."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isinf(value):
        return math.nan
    return 0.0 if abs(value) < TINY else value


def key(text: str) -> str:
    """An identifier as it is compared: ``7`` and ``7.0`` are the same."""
    value = number(text)
    return str(int(value)) if value.is_integer() else text


def _check_header(
    file: str, header: list[str], problems: list[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        problems.append(f"{file} row 1: expected columns separated by commas, and points in decimal numbers")
        return
    for name in sorted({name for name in header if header.count(name) > 1}):
        problems.append(f"{file} row 1: column {name or 'without a name'} appears more than once")
    for name in required:
        if name not in header:
            free = [other for other in header if other not in (*required, *optional)]
            near = difflib.get_close_matches(name, free, n=1, cutoff=0.6)
            problems.append(f"{file} row 1: no column {name}" + (f"; is {near[0]} meant for it?" if near else ""))
    for name in header:
        near = difflib.get_close_matches(name, optional, n=1, cutoff=0.8)
        if near and name not in (*required, *optional) and near[0] not in header:
            problems.append(f"{file} row 1: unknown column {name}; did you mean {near[0]}?")


def _quote(text: str) -> str:
    if text == "":
        return "empty"
    shown = repr(text if len(text) <= 40 else text[:37] + "...")
    return f"{shown} has a decimal comma" if re.fullmatch(r"[-+]?\d+,\d+", text) else shown


def _some(places: Mapping[str, int]) -> str:
    names = list(places)
    return f" (there are: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''})"

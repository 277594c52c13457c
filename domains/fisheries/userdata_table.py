"""Users' tables: CSV read as text, so that every message can name the file, the row and what it says.

Commas, semicolons and tabs are understood as separators, and decimal commas where the separator is another one. A
number that may mean two things is refused, never guessed.
"""

import csv
import difflib
import io
import math
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ALIKE = 0.5
"""Likeness from which on one column's name may be meant for another's."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_TWO_WAYS = re.compile(r"[-+]?[1-9]\d{0,2}([.,]\d{3})+", re.ASCII)
_DECIMAL = {
    mark: re.compile(rf"[-+]?(\d*\{mark}(\d{{1,2}}|\d{{4,}})|0*\{mark}\d+)([eE][-+]?\d+)?", re.ASCII) for mark in ",."
}
"""Numbers whose mark can only be a decimal one: not three digits after it, or nothing but zeros before it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text, and where problems with it are noted.

    Attributes:
        file: its name.
        columns: text ``(rows,)`` by header name in lower case, without surrounding blanks.
        rows: row numbers as the user sees them; the header is row 1.
        separator: of its columns.
        decimal: marks that its numbers may have: a comma, a point, or both where nothing in the file decides.
        problems: one sentence each; shared by all tables of a folder.
    """

    file: str
    columns: dict[str, list[str]]
    rows: list[int]
    separator: str
    decimal: str
    problems: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, column: str, k: int) -> str:
        """What the ``k``-th row says; empty where there is no such column."""
        return self.columns[column][k] if column in self.columns else ""

    def wrong(self, k: int, column: str, expected: str, about: str = "") -> None:
        """Note that a value of the ``k``-th row is not what was expected."""
        self.problem(k, f"{about}{column}: {self._quote(self.text(column, k))}, expected {expected}")

    def problem(self, k: int, text: str) -> None:
        """Note that something is wrong in the ``k``-th row."""
        self.problems.append(f"{self.file} row {self.rows[k]}, {text}")

    def number(self, column: str, k: int) -> float:
        """The finite number that a value says, NaN if none."""
        text = self.text(column, k)
        if self.separator != "," and len(self.decimal) == 2 and _TWO_WAYS.fullmatch(text):
            return math.nan
        if self.decimal == "," and "." in text:
            return math.nan
        return number(text.replace(",", ".") if "," in self.decimal and text.count(",") == 1 else text)

    def _quote(self, text: str) -> str:
        if text == "":
            return "empty"
        shown = repr(text if len(text) <= 40 else text[:37] + "...")
        if self.separator != "," and _TWO_WAYS.fullmatch(text) and math.isnan(number(text.replace(",", "."))):
            return f"{shown} has marks between thousands"
        if self.separator != "," and len(self.decimal) == 2 and _TWO_WAYS.fullmatch(text):
            plain = re.sub(r"[.,]", "", text)
            return f"{shown} may mean {plain} or {text.replace(',', '.')} (write {plain}, or {text}0)"
        if self.decimal == "," and "." in text:
            return f"{shown} has a point where other numbers have decimal commas"
        if self.separator == "," and re.fullmatch(r"[-+]?\d+,\d+", text):
            return f"{shown} has a comma in it (write a decimal point, or separate columns by semicolons)"
        if re.fullmatch(r"[-+]?[\d.,]+\s*[A-Za-z]+", text):
            return f"{shown} has a unit in it (the column says the unit)"
        return shown


def number(text: str) -> float:
    """The finite number with a decimal point that a text says, NaN if none."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return math.nan if math.isinf(value) else value


def near(name: str, known: Sequence[str]) -> str:
    """``"; did you mean cod?"``, or what there is if nothing is close."""
    lower = {other.lower(): other for other in reversed(known)}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1)
    return f"; did you mean {lower[close[0]]}?" if close else f"; there are: {', '.join(known) or 'none'}"


def write_text(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_text(path: Path, problems: list[str]) -> str | None:
    """The text of a file, a byte-order mark left out; ``None`` where it cannot be read, which is noted."""
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.append(f"{path.name}: cannot be read: {error.strerror}")
        return None
    reason = ""
    if content[:4] == b"PK\x03\x04":
        reason = "is a spreadsheet or a zip archive; save it as 'CSV UTF-8'"
    elif content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        reason = "is UTF-16 text; save it as 'CSV UTF-8'"
    elif b"\0" in content:
        reason = "is a binary file; expected text"
    if reason:
        problems.append(f"{path.name}: {reason}")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        problems.append(
            f"{path.name} row {row}: byte 0x{content[error.start]:02x} is not UTF-8 text; save it as 'CSV UTF-8'"
        )
        return None


def read_table(
    path: Path, problems: list[str], notes: list[str], *, required: Sequence[str], optional: Sequence[str]
) -> Table | None:
    """A table; notes a file that cannot be read, wrong columns and ragged rows as problems.

    Args:
        path: of the file, which is there.
        problems: where problems are noted.
        notes: where it is noted what a reader should know.
        required: columns that must be there.
        optional: further columns that mean something.

    Returns:
        The table; ``None`` if it cannot be read at all.
    """
    file, text = path.name, read_text(path, problems)
    if text is None:
        return None
    separator = _separator(text)
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        problems.append(f"{file}: is not a CSV file: {error}; check the quotes in it")
        return None
    if not records or not any(value.strip() for value in records[0]):
        problems.append(f"{file} row 1: is empty; expected a header with {', '.join(required)}")
        return None
    header = [name.strip().lower() for name in records[0]]
    _check_header(file, header, problems, notes, required, optional)
    rows, kept = [], []
    for row, record in enumerate(records[1:], start=2):
        values = [value.strip() for value in record]
        if not any(values):
            continue
        if len(values) != len(header):
            hint = ": a decimal comma splits a number in two" if separator == "," and len(values) > len(header) else ""
            problems.append(f"{file} row {row}: {len(values)} values where the header has {len(header)}{hint}")
            continue
        rows.append(row)
        kept.append(values)
    if not rows:
        problems.append(f"{file}: holds a header but no rows")
    columns = {name: [record[k] for record in kept] for k, name in enumerate(header)}
    decimal = "." if separator == "," else _decimal([value for record in kept for value in record])
    if separator != ",":
        known = "semicolons" if separator == ";" else "tabs"
        notes.append(f"{file}: columns are separated by {known}{', decimals by commas' if decimal == ',' else ''}")
    return Table(file, columns, rows, separator, decimal, problems)


def _separator(text: str) -> str:
    """The separator of the header that gives the most columns, a comma if none does."""
    header = text.lstrip().partition("\n")[0]
    return max(",;\t", key=header.count)


def _decimal(values: Sequence[str]) -> str:
    """The decimal mark that the numbers of a file agree on; both where none of them decides."""
    found = "".join(mark for mark in ",." if any(_DECIMAL[mark].fullmatch(value) for value in values))
    return found if found == "," else "." if found == "." else ",."


def _check_header(
    file: str,
    header: list[str],
    problems: list[str],
    notes: list[str],
    required: Sequence[str],
    optional: Sequence[str],
) -> None:
    known = (*required, *optional)
    for name in sorted({name for name in header if header.count(name) > 1}):
        problems.append(f"{file} row 1: column {name or 'without a name'} appears more than once")
    free = [name for name in header if name not in known]
    for name in required:
        if name not in header:
            close = difflib.get_close_matches(name, free, n=1, cutoff=_ALIKE)
            hint = f"is {close[0]} meant for it?" if close else f"the file has {', '.join(filter(None, header))}"
            problems.append(f"{file} row 1: no column {name}; {hint}")
    for name in free:
        close = difflib.get_close_matches(name, [each for each in optional if each not in header], n=1, cutoff=_ALIKE)
        if close:
            problems.append(f"{file} row 1: unknown column {name}; did you mean {close[0]}?")
        elif not difflib.get_close_matches(name, [each for each in required if each not in header], n=1, cutoff=_ALIKE):
            notes.append(f"{file}: column {name or 'without a name'} is not used")

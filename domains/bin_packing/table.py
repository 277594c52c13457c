"""A file as text: CSV (also gzipped) or parquet, with row numbers as the user sees them and a list of what is wrong."""

import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.core.errors import BadInput, UsageError

Array = NDArray[Any]


@dataclass(slots=True)
class Sheet:
    """A table of text and what has been found wrong with it.

    Attributes:
        path: of the file.
        columns: text ``(rows,)`` by header name, without surrounding blanks.
        rows: ``(rows,)`` row numbers as the user sees them: the header of a CSV file is row 1, the rows of a parquet
            file count from 1.
        problems: ``(row, what is wrong in it)``.
    """

    path: Path
    columns: dict[str, Array]
    rows: Array
    problems: list[tuple[int, str]] = field(default_factory=list)

    def problem(self, k: int, text: str) -> None:
        """Note that something is wrong in the ``k``-th data row."""
        self.problems.append((int(self.rows[k]), text))

    def problems_by_row(self) -> list[str]:
        """One sentence per row that has problems, in the order of the file."""
        by_row: dict[int, list[str]] = {}
        for row, text in self.problems:
            by_row.setdefault(row, []).append(text)
        return [f"row {row}, {'; '.join(by_row[row])}" for row in sorted(by_row)]

    def report(self, wrong: Array, column: str, expected: str) -> None:
        """Note each row (bool ``(rows,)``) in which a column does not hold what was expected."""
        for k in np.flatnonzero(wrong).tolist():
            self.problem(k, f"{column}: {quote(self.columns[column][k])}, expected {expected}")

    def numbers(
        self,
        column: str,
        expected: str,
        *,
        above: float = -np.inf,
        least: float = -np.inf,
        whole: bool = False,
        blank: bool = False,
    ) -> Array:
        """A column as float64, NaN where it is wrong or blank; notes every wrong value.

        Args:
            column: header name.
            expected: what the value should be, with its unit, for the message.
            above: values must be larger than this.
            least: values must be at least this.
            whole: only whole numbers are allowed.
            blank: an empty value is allowed.
        """
        import pandas as pd

        text = self.columns[column]
        values: Array = np.array(pd.to_numeric(pd.Series(text, dtype=object), errors="coerce"), np.float64)
        values[np.isinf(values)] = np.nan
        good = (values > above) & (values >= least)
        if whole:
            good &= (values == np.floor(values)) & (values < 2**53)
        self.report(~good & (text != "") if blank else ~good, column, expected)
        values[~good] = np.nan
        return values


def quote(raw: str) -> str:
    """A raw value for a message, with a hint where the mistake is a common one."""
    if raw == "":
        return "empty"
    shown = repr(raw if len(raw) <= 40 else raw[:37] + "...")
    if re.fullmatch(r"[-+]?\d+,\d+", raw):
        return f"{shown} has a decimal comma"
    if re.fullmatch(r"[-+]?[\d.,]+\s*[A-Za-z]+", raw):
        return f"{shown} has a unit in it (units are declared once, by data.unit and data.weight_unit)"
    return shown


def read_sheet(path: Path) -> Sheet:
    """Read a file; rows without as many fields as the header are left out and noted as problems.

    Raises:
        BadInput: the file is missing, a folder, or not readable as CSV or parquet.
        UsageError: the file is empty.
    """
    source = str(path)
    if path.is_dir():
        raise BadInput(source, ["is a folder; expected a CSV (.csv, .csv.gz) or parquet file"])
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
        raise BadInput(source, ["no such file" + (f"; did you mean {near[0]}?" if near else "")]) from None
    except OSError as error:
        raise BadInput(source, [f"cannot be read: {error.strerror}"]) from None
    if not content:
        raise UsageError(f"{source}: is empty; expected a header and one row per item")
    if path.suffix in (".parquet", ".pq") or content[:4] == b"PAR1":
        return _parse_parquet(path, content)
    return _parse_csv(path, _decode(source, content))


def _parse_parquet(path: Path, content: bytes) -> Sheet:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(str(path), [f"is not a readable parquet file: {str(error).splitlines()[0]}"]) from None
    _check_header(str(path), table.column_names)
    columns = {
        name: _text(["" if value is None else str(value) for value in column.to_pylist()])
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return Sheet(path, columns, np.arange(1, table.num_rows + 1))


def _parse_csv(path: Path, text: str) -> Sheet:
    if not text.strip():
        raise UsageError(f"{path}: is empty; expected a header and one row per item")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    fields: list[str] = []
    rows: list[int] = []
    problems: list[tuple[int, str]] = []
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(str(path), header)
        for row, record in enumerate(reader, start=2):
            if len(record) == len(header) and any(record):
                fields.extend(record)
                rows.append(row)
            elif any(value.strip() for value in record):
                hint = " (a comma inside a number splits it in two: write 12.5)" if len(record) > len(header) else ""
                problems.append((row, f"{len(record)} fields where the header has {len(header)}{hint}"))
    except csv.Error as error:
        raise BadInput(str(path), [f"line {reader.line_num}: {error}; check the quotes before it"]) from None
    columns = {name: _text(fields[k :: len(header)]) for k, name in enumerate(header)}
    return Sheet(path, columns, np.array(rows, np.int64), problems)


def _text(values: Sequence[str]) -> Array:
    return np.array([value.strip() for value in values], dtype=object)


def _decode(source: str, content: bytes) -> str:
    """The text of a CSV file."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(source, [f"is not a readable gzip file: {error}"]) from None
    if content[:4] == b"PK\x03\x04":
        raise BadInput(source, ["is a zip archive or a spreadsheet; expected CSV or parquet: save it as 'CSV UTF-8'"])
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadInput(source, ["is UTF-16 text; expected UTF-8: save it as 'CSV UTF-8'"])
    if b"\0" in content:
        raise BadInput(source, ["is a binary file; expected CSV (.csv, .csv.gz) or parquet"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        value = content[error.start]
        raise BadInput(source, [f"row {row}: byte 0x{value:02x} is not UTF-8 text; save it as 'CSV UTF-8'"]) from None


def _check_header(source: str, header: Sequence[str]) -> None:
    """Refuse a header that cannot name columns."""
    if len(header) == 1:
        for name, separator in (("semicolons", ";"), ("tabs", "\t"), ("bars", "|")):
            if separator in header[0]:
                hint = "expected commas, and points in decimal numbers"
                raise BadInput(source, [f"its columns are separated by {name}; {hint}"])
    twice = sorted({name for name in header if header.count(name) > 1 and name})
    if twice:
        raise BadInput(source, [f"column {name} appears more than once" for name in twice])

"""Users' own item files: CSV (also gzipped) or parquet, checked line by line and brought to grid cells.

One row per item, or per ``quantity`` identical items, with the columns ``stream_id``, ``position``, ``length``,
``width``, ``height`` and, if they are known, ``weight``, ``sku``, ``quantity``, ``max_stack_weight``, ``keep_upright``,
``group``, ``arrival_s``.

A stream is a sequence of items for one bin, taken in order of ``position``. The column names of the published sequence
files are understood too (``sequence``, ``l``, ``w``, ``h``); any other naming is mapped by ``data.columns``. Units are
declared once in the scenario (``data.unit``, ``data.weight_unit``). Sides are rounded up to whole cells, never down.
Unknown columns are passed through. Everything is read as text first, so that a message can quote what the file says.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from interlock.core.errors import BadInput, UsageError
from interlock.domains.bin_packing.scenario import BinPackingScenario, UserColumn, round_up_nicely
from interlock.domains.bin_packing.table import Sheet, quote, read_sheet

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]

COLUMNS: tuple[str, ...] = get_args(UserColumn)
REQUIRED = COLUMNS[:5]
SIDES = ("length", "width", "height")
ALIASES = {"stream_id": "sequence", "length": "l", "width": "w", "height": "h"}
"""Names in the published sequence files, understood without a mapping."""

MAX_SIDE = 256
"""Most cells along a side of an item."""
MAX_ITEMS = 50_000_000
"""Most items after quantities are expanded, and most entries of the padded array."""
LISTED = 20
"""Rows named in a warning."""

_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_KILOGRAMS = {"kg": 1.0, "g": 0.001, "lb": 0.45359237}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Rounding:
    """What rounding the sides up to whole cells costs.

    Attributes:
        rows: rows of the file with a side that is not a multiple of the cell.
        volume_lost: share of the rounded volume that is not box.
    """

    rows: int
    volume_lost: float


@dataclass(frozen=True, slots=True)
class UserItems:
    """The content of a user's item file.

    Attributes:
        items: int16 ``(N, M, 3)``: length, width, height in cells, in order of arrival; 0 after the end of a stream.
        lengths: int32 ``(N,)``: items in each stream, at least 1.
        weights: float64 ``(N, M)``, kg; the volume in cells where the file has no weights, or some are blank.
        limits: float64 ``(N, M)``, ``max_stack_weight`` in kg; NaN where it is blank or the file has none.
        upright: bool ``(N, M)``, ``keep_upright``.
        stream_ids: name of each stream, in order of first appearance.
        extra: one row per item in the order of ``items``: ``stream`` (index), ``item`` (index within the stream),
            ``row`` of the file and every column of the file but the sides. Known columns carry our names and are
            converted (weights in kg, ``keep_upright`` as bool), NaN where a number is blank; others are text as read.
        warnings: one sentence each.
        rounding: what rounding up costs.
        rejected: rows left out, with ``reason``; empty unless ``data.on_oversize`` is ``reject``.
    """

    items: Array
    lengths: Array
    weights: Array
    limits: Array
    upright: Array
    stream_ids: list[str]
    extra: pd.DataFrame
    warnings: list[str]
    rounding: Rounding
    rejected: pd.DataFrame

    def notes(self) -> tuple[str, ...]:
        """The warnings, and what rounding cost if it cost anything."""
        if not self.rounding.rows:
            return tuple(self.warnings)
        rounded = f"sides of {self.rounding.rows} rows were rounded up to whole cells"
        return (*self.warnings, f"{rounded}: {self.rounding.volume_lost:.1%} of the volume counted as packed is air")


def read_items(path: Path, scenario: BinPackingScenario, *, rejected: Path | None = None) -> UserItems:
    """Read and check a user's item file.

    Args:
        path: CSV (UTF-8, comma-separated, optionally gzipped) or parquet.
        scenario: gives the bin, the units, the allowed orientations and what to do with oversized items.
        rejected: file to write oversized items to, with the reason, if ``data.on_oversize`` is ``reject``.

    Returns:
        The items of every stream in cells, and what the user should know about them.

    Raises:
        BadInput: the file cannot be read or has wrong values; every problem is listed with its row as the user sees it
            (the header of a CSV file is row 1; rows of a parquet file count from 1).
        UsageError: there is no item in the file, or none is left after rejection.
    """
    scale = _cells_per_unit(scenario)
    sheet = read_sheet(path)
    names = _resolve_columns(sheet, scenario.data.columns)
    values = _check_values(sheet, names, scenario)
    _check_positions(sheet, names, values)
    exact = np.stack([values[side] for side in SIDES], axis=1) * scale
    cells = np.ceil(exact * (1 - _TOLERANCE))
    reason = _why_too_large(exact, cells, values, scenario)
    _check_loads(sheet, names, values, scenario)
    oversize = np.array([text != "" for text in reason], bool)
    if scenario.data.on_oversize == "error":
        for k in np.flatnonzero(oversize).tolist():
            sheet.problem(k, f"length x width x height: {reason[k]}")
    _check_grid(sheet, names, cells, ~oversize, scenario)
    if sheet.problems:
        raise BadInput(str(path), sheet.problems_by_row())
    return _assemble(sheet, names, values, exact, cells, reason, rejected)


def _resolve_columns(sheet: Sheet, mapping: dict[UserColumn, str]) -> dict[str, str]:
    """Which column of the file holds each of our columns: by mapping, by name, or by the name in published files."""
    header = list(sheet.columns)
    asked = {str(ours): theirs for ours, theirs in mapping.items()}
    names = {ours: theirs for ours, theirs in asked.items() if theirs in header}
    problems = []
    for ours, theirs in asked.items():
        if theirs not in header:
            near = difflib.get_close_matches(theirs, header, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; the file has {', '.join(header)}"
            problems.append(f"no column {theirs}, which data.columns names for {ours}{hint}")
    for ours in COLUMNS:
        if ours in asked:
            continue
        if ours in header or ALIASES.get(ours) in header:
            names[ours] = ours if ours in header else ALIASES[ours]
        elif ours in REQUIRED:
            free = {name.lower(): name for name in header if name not in COLUMNS and name not in asked.values()}
            near = difflib.get_close_matches(ours, list(free), n=1, cutoff=0.7)
            other = free[near[0]] if near else None
            hint = f"the nearest is {other}" if other else f"the file has {', '.join(header)}"
            fix = f"rename it or use --set 'data.columns={{{ours}: {other or 'NAME'}}}'"
            problems.append(f"no column {ours}; {hint}: {fix}")
    if problems:
        raise BadInput(str(sheet.path), problems)
    if not sheet.rows.size and not sheet.problems:
        raise UsageError(f"{sheet.path}: holds a header but no items")
    return names


# ---------------------------------------------------------------------------------------------- checks


def _cells_per_unit(scenario: BinPackingScenario) -> float:
    """Cells per unit of length in the file.

    Raises:
        BadInput: one side counts cells and the other is metric.
    """
    file_unit, bin_unit = scenario.data.unit, scenario.bin.unit
    if file_unit == "cell" and bin_unit == "cell":
        return 1.0
    if bin_unit == "cell":
        fix = "set bin.unit and bin.cell_size, or data.unit=cell"
        problem = f"data.unit is {file_unit}, but how large a cell of the bin is has not been said: {fix}"
        raise BadInput(f"scenario {scenario.name}", [problem])
    if file_unit == "cell":
        problem = f"data.unit is cell, but the bin is in {bin_unit}: set data.unit to mm, cm or m, or bin.unit=cell"
        raise BadInput(f"scenario {scenario.name}", [f"{problem} and bin.cell_size=1 if the file counts cells"])
    return _MILLIMETRES[file_unit] / _MILLIMETRES[bin_unit] / scenario.bin.cell_size


def _check_values(sheet: Sheet, names: dict[str, str], scenario: BinPackingScenario) -> dict[str, Array]:
    """Known columns as numbers (NaN where wrong or, if that is allowed, blank); notes every wrong value."""
    unit, weight_unit = scenario.data.unit, scenario.data.weight_unit
    stream = sheet.columns[names["stream_id"]]
    sheet.report(stream == "", names["stream_id"], "the name of the stream")
    values: dict[str, Array] = {"stream_id": stream}
    length_text = f"a length in {unit} above 0" if unit != "cell" else "a number of cells above 0"
    for side in SIDES:
        values[side] = sheet.numbers(names[side], length_text, above=0)
    values["position"] = sheet.numbers(names["position"], "a whole number, at least 0", least=0, whole=True)
    values["quantity"] = np.ones(len(stream))
    if "quantity" in names:
        values["quantity"] = sheet.numbers(names["quantity"], "a whole number, at least 1", least=1, whole=True)
    kilograms = _KILOGRAMS[weight_unit]
    if "weight" in names:
        weight = sheet.numbers(names["weight"], f"a weight in {weight_unit} above 0", above=0, blank=True)
        values["weight"] = weight * kilograms
    if "max_stack_weight" in names:
        expected = f"a weight in {weight_unit}, at least 0"
        values["max_stack_weight"] = sheet.numbers(names["max_stack_weight"], expected, least=0, blank=True) * kilograms
    if "arrival_s" in names:
        values["arrival_s"] = sheet.numbers(names["arrival_s"], "seconds, at least 0", least=0, blank=True)
    if "keep_upright" in names:
        known = [_TRUTH.get(value.lower()) for value in sheet.columns[names["keep_upright"]]]
        sheet.report(np.array([value is None for value in known], bool), names["keep_upright"], "true or false")
        values["keep_upright"] = np.array([bool(value) for value in known], bool)
    return values


def _check_loads(sheet: Sheet, names: dict[str, str], values: dict[str, Array], scenario: BinPackingScenario) -> None:
    """Every item needs a weight if something in force is about weights, and none may exceed what a bin may carry."""
    rules = list(scenario.weight_rules())
    if "max_stack_weight" in values and np.isfinite(values["max_stack_weight"]).any():
        rules.append("max_stack_weight")
    if not rules and scenario.weighs():
        rules.append("items.density" if scenario.items.density is not None else "stream picks")
    if rules:
        _check_weights(sheet, names, rules, scenario.data.weight_unit)
    limit = scenario.bin.max_weight
    if limit is not None and "weight" in values:
        heavy = values["weight"] > limit
        sheet.report(heavy, names["weight"], f"at most the {limit:g} kg that bin.max_weight lets a bin carry")


def _check_weights(sheet: Sheet, names: dict[str, str], rules: list[str], unit: str) -> None:
    """Every item has a weight, which these rules need."""
    why = f"{'constraint' if len(rules) == 1 else 'constraints'} {', '.join(rules)}"
    if "weight" not in names:
        sheet.problems.append((1, f"no column weight, which {why} needs for every item, in {unit}"))
        return
    column = names["weight"]
    sheet.report(sheet.columns[column] == "", column, f"a weight in {unit}, which {why} needs")


def _check_positions(sheet: Sheet, names: dict[str, str], values: dict[str, Array]) -> None:
    """No two rows may hold the same position of the same stream."""
    import pandas as pd

    keys = pd.DataFrame({"stream": values["stream_id"], "position": values["position"], "row": sheet.rows})
    valid = keys["position"].notna()
    repeated = keys.duplicated(["stream", "position"]) & valid
    if not repeated.any():
        return
    first = keys[valid].groupby(["stream", "position"])["row"].transform("first")
    for k in np.flatnonzero(repeated).tolist():
        where = f"{names['stream_id']} {quote(values['stream_id'][k])}, {names['position']} {keys['position'][k]:.0f}"
        sheet.problem(k, f"{where}: already in row {first[k]}, expected each position of a stream once")


def _why_too_large(exact: Array, cells: Array, values: dict[str, Array], scenario: BinPackingScenario) -> list[str]:
    """For each row why it fits the bin in no allowed orientation; empty where it fits or a side is wrong."""
    room = np.array([scenario.bin.length, scenario.bin.width, scenario.bin.height], float)
    as_is: Array = np.less_equal(cells, room).all(axis=1)
    swapped: Array = np.less_equal(cells[:, [1, 0, 2]], room).all(axis=1)
    tilted: Array = np.less_equal(np.sort(cells, axis=1), np.sort(room)).all(axis=1)
    strange = np.zeros(len(cells), bool)
    for column in exact.T:
        strange |= column > 8 * _median(column)
    upright = values.get("keep_upright", np.zeros(len(cells), bool))
    fits: Array = np.logical_or(as_is, swapped) if scenario.orientations > 1 else as_is
    if scenario.orientations == 6:
        fits = np.logical_or(fits, tilted & ~upright)
    bin_text = " x ".join(f"{side:.0f}" for side in room)
    reasons = [""] * len(cells)
    for k in np.flatnonzero(~fits & np.isfinite(cells).all(axis=1)):
        item_text = " x ".join(f"{side:.0f}" for side in cells[k])
        if swapped[k]:
            why = "fits only with length and width swapped, which orientations=1 does not allow (2 does)"
        elif tilted[k] and upright[k]:
            why = "fits only when tilted, and keep_upright forbids that"
        elif tilted[k]:
            why = f"fits only when tilted, which orientations={scenario.orientations} does not allow (6 does)"
        else:
            why = "fits in no orientation"
        hint = "; a side is more than 8 times the median of its column: are units mixed?" if strange[k] else ""
        reasons[k] = f"{item_text} cells in a bin of {bin_text} cells {why}{hint}"
    return reasons


def _median(column: Array) -> float:
    """Median of the valid entries; infinite if there are fewer than 3."""
    valid = column[np.isfinite(column)]
    return float(np.median(valid)) if valid.size >= 3 else np.inf


def _check_grid(sheet: Sheet, names: dict[str, str], cells: Array, keep: Array, scenario: BinPackingScenario) -> None:
    """No side of an item that is kept may count more than ``MAX_SIDE`` cells."""
    fine = keep[:, None] & (cells > MAX_SIDE)
    if not fine.any():
        return
    size, unit = scenario.bin.cell_size, scenario.bin.unit
    larger = round_up_nicely(size * cells[fine].max() / MAX_SIDE)
    for k, axis in np.argwhere(fine):
        column = names[SIDES[axis]]
        text = f"{column}: {quote(sheet.columns[column][k])} is {cells[k, axis]:.0f} cells of {size:g} {unit}"
        sheet.problem(int(k), f"{text}, expected at most {MAX_SIDE}: use bin.cell_size {larger:g} and fewer cells")


# ---------------------------------------------------------------------------------------------- putting it together


def _assemble(
    sheet: Sheet,
    names: dict[str, str],
    values: dict[str, Array],
    exact: Array,
    cells: Array,
    reason: list[str],
    rejected: Path | None,
) -> UserItems:
    """Sort the rows that are kept into streams and expand quantities."""
    import pandas as pd

    oversize = np.array([text != "" for text in reason], bool)
    left_out = pd.DataFrame({"row": sheet.rows, **{name: sheet.columns[names[name]] for name in REQUIRED}})
    left_out = left_out.assign(quantity=values["quantity"].astype(np.int64), reason=reason)[oversize]
    left_out = left_out.reset_index(drop=True)
    if rejected is not None and len(left_out):
        _write_csv(rejected, left_out)
    codes, ids = pd.factorize(values["stream_id"])
    warnings = _warnings(sheet, names, values, exact, codes, list(ids))
    if oversize.any():
        where = "" if rejected is None else f" (listed in {rejected})"
        text = f"{oversize.sum()} of {len(oversize)} rows rejected{where}: they fit the bin in no allowed orientation"
        warnings.append(text)
        codes, ids, gone = _without_empty(codes, ids, ~oversize)
        if gone:
            warnings.append(f"every item of these streams was rejected, they are left out: {_some(gone)}")
    if not len(ids):
        raise UsageError(f"{sheet.path}: no items left, all {len(oversize)} rows were rejected ({reason[0]})")

    order = np.lexsort((values["position"], codes))
    order = order[~oversize[order]]
    quantity = values["quantity"][order]
    totals = np.bincount(codes[order], weights=quantity, minlength=len(ids))
    if max(totals.sum(), len(ids) * totals.max()) > MAX_ITEMS:
        longest = f"the longest ({ids[totals.argmax()]}) of {totals.max():.0f}"
        text = f"{totals.sum():.0f} items in {len(ids)} streams, {longest}, are too many to hold"
        raise BadInput(str(sheet.path), [f"{text}: check the quantities or split the file"])
    lengths = totals.astype(np.int64)
    source = np.repeat(order, quantity.astype(np.int64))
    stream = codes[source]
    item = np.arange(len(source)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = np.zeros((len(ids), int(lengths.max()), 3), np.int16)
    items[stream, item] = cells[source]
    weights, limits = np.zeros(items.shape[:2]), np.full(items.shape[:2], np.nan)
    upright = np.zeros(items.shape[:2], np.bool_)
    known = values.get("weight", np.full(len(cells), np.nan))
    weights[stream, item] = (known if np.isfinite(known[order]).all() else cells.prod(axis=1))[source]
    limits[stream, item] = values.get("max_stack_weight", np.full(len(cells), np.nan))[source]
    upright[stream, item] = values.get("keep_upright", np.zeros(len(cells), bool))[source]

    volume = float(cells[source].prod(axis=1).sum())
    rounded = (cells[order] - exact[order] > _TOLERANCE * exact[order]).any(axis=1)
    lost = 1 - float(exact[source].prod(axis=1).sum()) / volume if rounded.any() else 0.0
    rounding = Rounding(rows=int(rounded.sum()), volume_lost=lost)
    extra = pd.DataFrame({"stream": stream, "item": item, "row": sheet.rows[source]})
    for name in COLUMNS:
        if name in names and name not in SIDES:
            extra[name] = (values[name] if name in values else sheet.columns[names[name]])[source]
    for name, column in sheet.columns.items():
        if name not in names.values():
            extra[f"{name} (file)" if name in extra else name] = column[source]
    for name in {"position", "quantity"} & set(names):
        extra[name] = extra[name].astype(np.int64)
    return UserItems(
        items=items,
        lengths=lengths.astype(np.int32),
        weights=weights,
        limits=limits,
        upright=upright,
        stream_ids=[str(name) for name in ids],
        extra=extra,
        warnings=warnings,
        rounding=rounding,
        rejected=left_out,
    )


def _warnings(
    sheet: Sheet, names: dict[str, str], values: dict[str, Array], exact: Array, codes: Array, ids: list[str]
) -> list[str]:
    """What is odd but not wrong: sides far from the median of their column, and gaps in positions."""
    warnings = []
    for side, column in zip(SIDES, exact.T, strict=True):
        strange = np.flatnonzero(column > 8 * _median(column))
        if strange.size:
            rows = _some([str(row) for row in sheet.rows[strange]])
            text = f"{names[side]} is more than 8 times the median of its column in {strange.size} rows: {rows}"
            warnings.append(f"{text}; are units mixed?")
    position = values["position"]
    order = np.lexsort((position, codes))
    jump = (np.diff(position[order]) > 1) & (np.diff(codes[order]) == 0)
    if jump.any():
        with_gap = [ids[k] for k in np.unique(codes[order[1:][jump]])]
        warnings.append(f"positions have gaps in these streams, their order was kept: {_some(with_gap)}")
    return warnings


def _without_empty(codes: Array, ids: Any, keep: Array) -> tuple[Array, Any, list[str]]:
    """Renumber the streams that keep at least one row; also the names of those that do not."""
    alive = np.bincount(codes[keep], minlength=len(ids)) > 0
    renumbered = np.cumsum(alive) - 1
    return renumbered[codes], ids[alive], [str(name) for name in ids[~alive]]


def _some(texts: list[str]) -> str:
    """The first of a list, and how many more there are."""
    more = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return ", ".join(texts[:LISTED]) + more


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            table.to_csv(temporary, index=False)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"the rejected rows cannot be written to {path}: {error.strerror}") from None

"""A user's own system: a folder of tables, checked as a whole, all problems told at once.

``case.json`` (base_MVA, stage_hours, deficit_cost_per_MWh, load_factor), ``hydros.csv``, ``generators.csv``,
``buses.csv``, ``branches.csv`` and ``inflows.csv``; optional: ``scenarioprobability.csv``, ``stage_demand.csv``,
``outages.csv``, ``terminal_value.csv``, and ``inflow_history.csv`` in place of or beside ``inflows.csv``. Every column
names its unit. A row of ``inflows.csv`` is a joint draw of all plants.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.errors import BadInput
from interlock.domains.hydro.case import HOURLY_VOLUME, Array, Case
from interlock.domains.hydro.tables import Table
from interlock.domains.hydro.userdata_checks import check_system
from interlock.domains.hydro.userdata_series import (
    MAX_GRID,
    read_history,
    read_inflows,
    read_outages,
    read_probabilities,
    read_stage_load,
    read_terminal_value,
)
from interlock.domains.hydro.userdata_system import read_system

HEAD = (
    "name", "base_MVA", "stage_hours", "flow_to_volume_hm3_per_m3s", "load_factor", "deficit_cost_per_MWh",
    "force_deficit_cost", "currency", "cycle_stages", "scenarios", "n_hydro", "n_bus", "n_branch", "n_gen", "n_load",
)  # fmt: skip
"""Keys of case.json; counts are checked against the tables where they are given."""


@dataclass(frozen=True, slots=True)
class Head:
    """``case.json``, checked."""

    name: str
    base: float
    stage_hours: float
    load_factor: float
    deficit_cost: float
    forced: bool
    currency: str
    counts: dict[str, int]


def read_case(folder: Path, *, history: bool = False) -> tuple[Case, tuple[str, ...]]:
    """Read and check a folder.

    Args:
        folder: that holds ``case.json``.
        history: take the inflows from ``inflow_history.csv``, each year as a scenario, though there is an
            ``inflows.csv``.

    Returns:
        ``(case, notes)``: the system with its load factor applied, and what a reader should know, one sentence each.

    Raises:
        BadInput: listing every problem with its file, row, column, unit and what was expected.
    """
    if not folder.is_dir():
        raise BadInput(str(folder), ["no such folder" if not folder.exists() else "is a file; expected a folder"])
    problems: list[str] = []
    notes: list[str] = []
    head = _read_head(folder, problems, notes)
    system = read_system(folder, head.load_factor, problems)
    if system is None:
        raise BadInput(str(folder), problems)
    _check_counts(head, system.tables, problems)
    check_system(system, head.deficit_cost, head.forced, problems, notes)
    inflows, probabilities = _inflow_tables(folder, head, system.hydros.names, problems, notes, history=history)
    case = Case(
        name=head.name,
        stage_hours=head.stage_hours,
        deficit_cost=head.deficit_cost,
        base=head.base,
        hydros=system.hydros,
        thermals=system.thermals,
        buses=system.buses,
        branches=system.branches,
        inflows=inflows,
        probabilities=probabilities,
        stage_load=read_stage_load(folder, system, head.load_factor, problems, notes),
        outages=read_outages(folder, system, problems),
        terminal_value=read_terminal_value(folder, system, problems, notes),
        currency=head.currency,
    )
    if problems:
        raise BadInput(str(folder), problems)
    return case, (_k_note(head.stage_hours), *notes)


# ---------------------------------------------------------------------------------------------- case.json


def _read_head(folder: Path, problems: list[str], notes: list[str]) -> Head:
    values = _read_json(folder, problems)
    if values is None:
        return Head("", np.nan, np.nan, np.nan, np.nan, False, "", {})
    notes += [f"case.json: {name} is not used" for name in values if name not in HEAD]
    hours = _stage_hours(values, problems)
    given = _entry(values, "flow_to_volume_hm3_per_m3s", "hm3 per m3/s", problems, default=HOURLY_VOLUME * hours)
    if np.isfinite(hours) and not np.isclose(given, HOURLY_VOLUME * hours, rtol=1e-9):
        problems.append(
            f"case.json: flow_to_volume_hm3_per_m3s is {given:g}, but stage_hours {hours:g} means "
            f"{HOURLY_VOLUME:g} x {hours:g} = {HOURLY_VOLUME * hours:g} hm3 per m3/s: correct one or leave it out"
        )
    counts: dict[str, int] = {}
    for name in ("cycle_stages", "scenarios", "n_hydro", "n_bus", "n_branch", "n_gen"):
        value = values.get(name)
        if isinstance(value, int) and 1 <= value <= MAX_GRID:
            counts[name] = value
        elif name in values:
            problems.append(f"case.json: {name} is {value!r}, expected a whole number from 1 to {MAX_GRID}")
    forced = values.get("force_deficit_cost", False)
    if not isinstance(forced, bool):
        problems.append(f"case.json: force_deficit_cost is {forced!r}, expected true or false")
    return Head(
        name=str(values.get("name", folder.resolve().name)),
        base=_entry(values, "base_MVA", "MVA", problems),
        stage_hours=hours,
        load_factor=_entry(values, "load_factor", "", problems, default=1.0),
        deficit_cost=_entry(values, "deficit_cost_per_MWh", "$/MWh", problems),
        forced=bool(forced),
        currency=str(values.get("currency", "$")),
        counts=counts,
    )


def _read_json(folder: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        values = json.loads((folder / "case.json").read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        hint = "; PowerModels.json is another program's: importers.import_powermodels brings it into tables"
        problems.append(
            "case.json: no such file; expected base_MVA, stage_hours and deficit_cost_per_MWh"
            + (hint if (folder / "PowerModels.json").is_file() else "")
        )
        return None
    except (OSError, ValueError) as error:
        problems.append(f"case.json: cannot be read as JSON: {error}")
        return None
    if not isinstance(values, dict):
        problems.append("case.json: expected keys with values")
        return None
    return values


def _stage_hours(values: dict[str, Any], problems: list[str]) -> float:
    expected = f"expected the hours of a stage above 0, as K = {HOURLY_VOLUME:g} x stage_hours hm3 per m3/s"
    hours = values.get("stage_hours")
    if hours is None:
        problems.append(f"case.json: stage_hours is missing; {expected}: a stage of 1 h has K = {HOURLY_VOLUME:g}")
        return float("nan")
    if not _is_number(hours) or hours <= 0:
        used = f", K would be {HOURLY_VOLUME * hours:g}" if _is_number(hours) else ""
        problems.append(f"case.json: stage_hours is {hours!r}{used}; {expected}")
        return float("nan")
    return float(hours)


def _entry(values: dict[str, Any], name: str, unit: str, problems: list[str], *, default: float | None = None) -> float:
    """A number above 0; NaN and a problem where it is not one."""
    value: Any = values.get(name, default)
    if (_is_number(value) and value > 0) or (name not in values and default is not None):
        return float(value)
    found = f"is {value!r}" if name in values else "is missing"
    problems.append(f"case.json: {name} {found}, expected a number{f' of {unit}' if unit else ''} above 0")
    return float("nan")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _check_counts(head: Head, tables: dict[str, Table], problems: list[str]) -> None:
    for count, file in (("n_hydro", "hydros"), ("n_bus", "buses"), ("n_branch", "branches"), ("n_gen", "generators")):
        table = tables[file]
        if count in head.counts and head.counts[count] != len(table):
            problems.append(f"case.json: {count} is {head.counts[count]}, but {table.file} has {len(table)} rows")


def _k_note(stage_hours: float) -> str:
    return f"a stage has {stage_hours:g} h: 1 m3/s brings K = {HOURLY_VOLUME * stage_hours:g} hm3"


# ---------------------------------------------------------------------------------------------- inflows


def _inflow_tables(
    folder: Path, head: Head, plants: tuple[str, ...], problems: list[str], notes: list[str], *, history: bool
) -> tuple[Array, Array]:
    """Inflows and probabilities: of the scenarios, or of the years of the history."""
    has_history = (folder / "inflow_history.csv").is_file()
    if history and not has_history:
        notes.append("there is no inflow_history.csv: the scenarios of inflows.csv are taken for years in a row")
    if has_history and (history or not (folder / "inflows.csv").is_file()):
        inflows = read_history(folder, plants, head.counts.get("cycle_stages"), problems, notes)
        return inflows, np.full(inflows.shape[:2], 1 / max(1, inflows.shape[1]))
    inflows = read_inflows(folder, plants, head.counts, problems)
    return inflows, read_probabilities(folder, inflows.shape[:2], problems)

"""A system as JSON, as bundles carry it, and as a folder of tables, as users write it; both lose no digit."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.errors import BadInput, UsageError
from interlock.domains.hydro.case import Array, Branches, Buses, Case, Hydros, Thermals
from interlock.domains.hydro.tables import table_text

_PARTS: dict[str, type[Any]] = {"hydros": Hydros, "thermals": Thermals, "buses": Buses, "branches": Branches}
_WHOLE = ("bus", "start", "end")
_TRUTH = ("reference", "turbined_to", "spilled_to")
_COMPLEX = ("start_shunt", "end_shunt")


def case_to_json(case: Case) -> dict[str, Any]:
    """Every value of a system, JSON-ready; complex numbers as pairs, no limit (infinite) as ``null``."""
    values: dict[str, Any] = {}
    for name in _fields(Case):
        value = getattr(case, name)
        if name in _PARTS:
            values[name] = {field: _plain(getattr(value, field)) for field in _fields(_PARTS[name])}
        else:
            values[name] = _plain(value)
    return values


def case_from_json(values: Mapping[str, Any]) -> Case:
    """The system that ``case_to_json`` wrote: the same numbers, and so the same hash.

    Raises:
        BadInput: listing what is missing, unknown, or not of the expected shape.
    """
    problems: list[str] = []
    parts: dict[str, Any] = {}
    for name, part in _PARTS.items():
        given = values.get(name)
        if not isinstance(given, Mapping):
            problems.append(f"{name}: expected a mapping with {', '.join(_fields(part))}")
            continue
        parts[name] = _part(name, part, given, problems)
    plants, buses = (len(_names(values, part)) for part in ("hydros", "buses"))
    scalars: dict[str, Any] = {
        name: _scalar(values, name, problems) for name in ("stage_hours", "deficit_cost", "base")
    }
    inflows = _array("inflows", values.get("inflows"), float, problems, (-1, -1, plants))
    probabilities = _array("probabilities", values.get("probabilities"), float, problems, inflows.shape[:2])
    load, worth = values.get("stage_load"), values.get("terminal_value")
    stage_load = None if load is None else _array("stage_load", load, float, problems, (-1, buses))
    terminal = None if worth is None else _array("terminal_value", worth, float, problems, (plants,))
    outages = _array("outages", values.get("outages") or np.zeros((0, 3)), int, problems, (-1, 3))
    problems += [f"{name}: unknown" for name in values if name not in _fields(Case)]
    if problems:
        raise BadInput(f"system {values.get('name', '')}".rstrip(), problems)
    return Case(
        name=str(values.get("name", "")),
        **scalars,
        **parts,
        inflows=inflows,
        probabilities=probabilities,
        stage_load=stage_load,
        outages=tuple((unit, first, last) for unit, first, last in outages.tolist()),
        terminal_value=terminal,
        currency=str(values.get("currency", "$")),
    )


def write_case(case: Case, folder: Path) -> None:
    """Write a system as a folder of tables that ``read_case`` reads back to the same numbers; all of it or nothing.

    Raises:
        UsageError: the folder exists and is not empty, or cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} exists and is not empty: name another folder")
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        try:
            for name, text in _files(case).items():
                (part / name).write_text(text, encoding="utf-8")
            if folder.is_dir():
                folder.rmdir()
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from None


# ---------------------------------------------------------------------------------------------- JSON


def _fields(part: type[Any]) -> list[str]:
    return [field.name for field in fields(part)]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if not isinstance(value, np.ndarray):
        return value
    if np.iscomplexobj(value):
        return [[entry.real, entry.imag] for entry in value.tolist()]
    if value.dtype.kind == "f" and np.isinf(value).any():
        return [None if np.isinf(entry) else entry for entry in value.tolist()]
    return value.tolist()


def _part(name: str, part: type[Any], given: Mapping[str, Any], problems: list[str]) -> Any:
    names = tuple(str(entry) for entry in given.get("names") or ())
    count = len(names)
    arrays: dict[str, Any] = {"names": names}
    for field in _fields(part):
        place = f"{name}.{field}"
        if field == "names":
            continue
        if field in _COMPLEX:
            pairs = _array(place, given.get(field), float, problems, (count, 2))
            arrays[field] = pairs[:, 0] + 1j * pairs[:, 1]
            continue
        kind = int if field in _WHOLE else bool if field in _TRUTH else float
        square = field in ("turbined_to", "spilled_to")
        arrays[field] = _array(place, given.get(field), kind, problems, (count, count) if square else (count,))
    problems += [f"{name}.{field}: unknown" for field in given if field not in _fields(part)]
    return part(**arrays)


def _names(values: Mapping[str, Any], part: str) -> Sequence[Any]:
    given = values.get(part)
    names: Sequence[Any] = (given.get("names") or ()) if isinstance(given, Mapping) else ()
    return names


def _scalar(values: Mapping[str, Any], name: str, problems: list[str]) -> float:
    value = values.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
        return float(value)
    problems.append(f"{name}: got {value!r}, expected a number")
    return 1.0


def _array(place: str, value: Any, kind: type, problems: list[str], shape: tuple[int, ...]) -> Array:
    """An array of a shape (-1: any length); zeros of that shape, and a problem, where it is not one."""
    wanted = " x ".join("n" if size < 0 else str(size) for size in shape)
    if kind is float and isinstance(value, list):
        none = -np.inf if ".min_" in place else np.inf
        value = [none if entry is None else entry for entry in value]
    try:
        array: Array = np.array(value, kind) if np.size(value) else np.zeros([max(0, size) for size in shape], kind)
    except (TypeError, ValueError):
        array = np.zeros(0)
    fits = array.ndim == len(shape) and all(size in (-1, found) for size, found in zip(shape, array.shape, strict=True))
    if fits and not np.isnan(array).any():
        return array
    problems.append(f"{place}: expected {wanted} numbers")
    return np.zeros([max(0, size) for size in shape], kind)


# ---------------------------------------------------------------------------------------------- folder of tables


def _files(case: Case) -> dict[str, str]:
    """The texts of a folder by file name."""
    hydros, thermals, buses, branches = case.hydros, case.thermals, case.buses, case.branches
    head = {
        "name": case.name,
        "base_MVA": case.base,
        "stage_hours": case.stage_hours,
        "load_factor": 1.0,
        "deficit_cost_per_MWh": case.deficit_cost,
        "force_deficit_cost": bool((thermals.cost >= case.deficit_cost).any()),
        "currency": case.currency,
        "cycle_stages": case.cycle,
        "scenarios": case.inflows.shape[1],
        "n_hydro": len(hydros.names),
    }
    units, plants = len(thermals.names), len(hydros.names)
    electrical = [_electrical(rho, flow) for rho, flow in zip(hydros.production, hydros.max_turbine, strict=True)]
    generators = [
        *_rows(np.arange(units) + 1, thermals.names, ["thermal"] * units, thermals.bus + 1, thermals.min_power,
               thermals.max_power, _limits(thermals.min_reactive), _limits(thermals.max_reactive), thermals.cost,
               [1] * units),
        *_rows(np.arange(plants) + units + 1, hydros.names, ["hydro"] * plants, hydros.bus + 1, [0.0] * plants,
               electrical, _limits(hydros.min_reactive), _limits(hydros.max_reactive), hydros.cost, [1] * plants),
    ]  # fmt: skip
    below = [
        [";".join(map(str, np.flatnonzero(row) + 1)) for row in to] for to in (hydros.turbined_to, hydros.spilled_to)
    ]
    files = {
        "case.json": json.dumps(head, indent=1, ensure_ascii=False) + "\n",
        "hydros.csv": table_text(
            "hydro,name,gen_id,bus,min_volume_hm3,max_volume_hm3,initial_volume_hm3,min_turbine_m3s,max_turbine_m3s,"
            "production_MW_per_m3s,downstream_turbined,downstream_spilled",
            _rows(np.arange(plants) + 1, hydros.names, np.arange(plants) + units + 1, hydros.bus + 1, hydros.min_volume,
                  hydros.max_volume, hydros.initial_volume, hydros.min_turbine, hydros.max_turbine, hydros.production,
                  *below),
        ),
        "generators.csv": table_text(
            "gen_id,name,kind,bus,pmin_MW,pmax_MW,qmin_MVAr,qmax_MVAr,cost_per_MWh,status", generators
        ),
        "buses.csv": table_text(
            "bus,name,bus_type,vmin_pu,vmax_pu,load_MW,load_MVAr",
            _rows(np.arange(len(buses.names)) + 1, buses.names, np.where(buses.reference, 3, 1), buses.min_voltage,
                  buses.max_voltage, buses.load, buses.reactive_load),
        ),
        "branches.csv": table_text(
            "branch,name,from_bus,to_bus,r_pu,x_pu,g_from_pu,b_from_pu,g_to_pu,b_to_pu,rate_MVA,tap,shift_rad,"
            "angmin_rad,angmax_rad,status",
            _rows(np.arange(len(branches.names)) + 1, branches.names, branches.start + 1, branches.end + 1,
                  branches.resistance, branches.reactance, branches.start_shunt.real, branches.start_shunt.imag,
                  branches.end_shunt.real, branches.end_shunt.imag,
                  _limits(branches.rate), branches.tap, branches.shift, branches.min_angle, branches.max_angle,
                  [1] * len(branches.names)),
        ),
        "inflows.csv": _inflows(case.inflows),
        "scenarioprobability.csv": table_text(
            ",".join(["stage_of_cycle", *(f"p_scenario_{s + 1}" for s in range(case.inflows.shape[1]))]),
            [[row + 1, *chances] for row, chances in enumerate(case.probabilities.tolist())],
        ),
    }  # fmt: skip
    if case.stage_load is not None:
        loads = ([t + 1, b + 1, mw] for t, row in enumerate(case.stage_load.tolist()) for b, mw in enumerate(row))
        files["stage_demand.csv"] = table_text("stage,bus,load_MW", loads)
    if case.outages:
        outages = ([unit + 1, first, last] for unit, first, last in case.outages)
        files["outages.csv"] = table_text("gen_id,from_stage,to_stage", outages)
    if case.terminal_value is not None:
        worth = _rows(np.arange(plants) + 1, case.terminal_value)
        files["terminal_value.csv"] = table_text("hydro,value_per_hm3", worth)
    return files


def _inflows(inflows: Array) -> str:
    header = ["stage_of_cycle", "scenario", *(f"inflow_m3s_hydro_{r + 1}" for r in range(inflows.shape[2]))]
    rows = ([c + 1, s + 1, *row] for c, stage in enumerate(inflows.tolist()) for s, row in enumerate(stage))
    return table_text(",".join(header), rows)


def _electrical(production: float, flow: float) -> float:
    """The smallest electrical limit in MW whose division by the production factor is not below the turbine limit."""
    power = production * flow
    while production > 0 and power / production < flow:
        power = float(np.nextafter(power, np.inf))
    return float(power)


def _limits(values: Array) -> list[Any]:
    """Numbers, and nothing where there is no limit."""
    return [value if np.isfinite(value) else "" for value in values.tolist()]


def _rows(*columns: Any) -> Iterable[Sequence[Any]]:
    return zip(*(column.tolist() if isinstance(column, np.ndarray) else column for column in columns), strict=True)

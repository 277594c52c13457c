"""Systems of other programs brought into a folder of tables.

HydroPowerModels.jl and DecisionRules.jl keep a system as ``PowerModels.json`` (the network in the format of
PowerModels.jl: powers in per unit of ``baseMVA``, generation costs per per-unit hour, the deficit cost per MWh),
``hydro.json``, ``inflows.csv`` (no header; a row per stage, and for each plant in turn a column per scenario) and,
where scenarios are not equally likely, ``scenarioprobability.csv`` (no header; a row per stage, a column per scenario).
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.core.errors import BadInput, UsageError
from interlock.domains.hydro.tables import number, table_text
from interlock.domains.hydro.userdata import read_case


def import_powermodels(source: Path, target: Path, *, stage_hours: float, load_factor: float = 1.0) -> tuple[str, ...]:
    """Bring a system of HydroPowerModels.jl into a folder that ``read_case`` reads; all of it or nothing.

    Args:
        source: folder with ``PowerModels.json``, ``hydro.json`` and ``inflows.csv``.
        target: folder to write; must not exist, or be empty.
        stage_hours: length of a stage in h, which the source does not say.
        load_factor: all loads are multiplied by it.

    Returns:
        what a reader should know about the system, one sentence each.

    Raises:
        BadInput: listing what cannot be read, what has no counterpart here, and every check of the tables that fails.
        UsageError: the target is not empty or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists and is not an empty folder: name another one")
    problems: list[str] = []
    grid, hydro = (_read(source / name, problems) for name in ("PowerModels.json", "hydro.json"))
    plants = hydro.get("Hydrogenerators")
    if not problems:
        _refuse(grid, plants, problems)
    if problems or not isinstance(plants, list):
        raise BadInput(str(source), problems)
    files = {
        "case.json": _head(grid, source.resolve().name, stage_hours, load_factor),
        "hydros.csv": _hydros(plants, grid),
        "generators.csv": _generators(grid, {str(plant.get("index_grid")) for plant in plants}, problems),
        "buses.csv": _buses(grid, problems),
        "branches.csv": _branches(grid),
        **_series(source, len(plants), problems),
    }
    if problems:
        raise BadInput(str(source), problems)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8")
        notes = read_case(part)[1]
        if target.is_dir():
            target.rmdir()
        os.replace(part, target)
    except BadInput as error:
        raise BadInput(f"{source}, brought into tables", error.problems) from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return notes


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        problems.append(f"{path.name}: no such file")
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name}: cannot be read as JSON: {error}")
        return {}
    if not isinstance(values, dict):
        problems.append(f"{path.name}: expected keys with values")
        return {}
    return values


def _refuse(grid: Mapping[str, Any], plants: Any, problems: list[str]) -> None:
    """Note parts that have no counterpart here, and missing ones."""
    if not isinstance(plants, list) or not plants or not all(isinstance(plant, dict) for plant in plants):
        problems.append("hydro.json: Hydrogenerators: expected a list of plants")
    for name in ("bus", "gen", "branch", "load"):
        entries = grid.get(name)
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            problems.append(f"PowerModels.json: {name}: expected a mapping of entries")
    for name in ("shunt", "dcline", "storage", "switch"):
        if grid.get(name):
            problems.append(f"PowerModels.json: {name}: {len(grid[name])} entries, which are not modelled here")
    if not _is_number(grid.get("baseMVA")) or not grid["baseMVA"] > 0:
        problems.append(f"PowerModels.json: baseMVA is {grid.get('baseMVA')!r}, expected MVA above 0")


def _head(grid: Mapping[str, Any], name: str, stage_hours: float, load_factor: float) -> str:
    head = {
        "name": str(grid.get("name") or name),
        "base_MVA": grid["baseMVA"],
        "stage_hours": stage_hours,
        "load_factor": load_factor,
        "deficit_cost_per_MWh": grid.get("cost_deficit"),
    }
    return json.dumps(head, indent=1, ensure_ascii=False) + "\n"


def _hydros(plants: Sequence[Mapping[str, Any]], grid: Mapping[str, Any]) -> str:
    numbers = {str(plant.get("index")): k + 1 for k, plant in enumerate(plants)}

    def below(plant: Mapping[str, Any], key: str) -> str:
        return ";".join(str(numbers.get(str(index), f"index {index}")) for index in plant.get(key) or ())

    rows = [
        (k + 1, plant.get("name") or f"H{k + 1}", plant.get("index"), plant.get("index_grid"),
         _entry(grid["gen"], plant.get("index_grid")).get("gen_bus", ""), plant.get("min_volume", 0),
         plant.get("max_volume", ""), plant.get("initial_volume", ""), plant.get("final_volume", 0),
         plant.get("min_turn", 0), plant.get("max_turn", ""), plant.get("production_factor", ""),
         plant.get("spill_cost", 0), below(plant, "downstream_turn"), below(plant, "downstream_spill"))
        for k, plant in enumerate(plants)
    ]  # fmt: skip
    return table_text(
        "hydro,name,source_index,gen_id,bus,min_volume_hm3,max_volume_hm3,initial_volume_hm3,final_volume_hm3,"
        "min_turbine_m3s,max_turbine_m3s,production_MW_per_m3s,spill_cost,downstream_turbined,downstream_spilled",
        rows,
    )


def _generators(grid: Mapping[str, Any], hydro: set[str], problems: list[str]) -> str:
    scale = _scale(grid)
    rows = []
    for name, unit in _ordered(grid["gen"]):
        kind = "hydro" if name in hydro else "thermal"
        rows.append(
            (name, unit.get("name") or f"G{name}", kind, unit.get("gen_bus", ""),
             *(_times(unit.get(key, ""), scale) for key in ("pmin", "pmax", "qmin", "qmax")),
             _linear_cost(name, unit, scale, problems), unit.get("gen_status", 1))
        )  # fmt: skip
    return table_text("gen_id,name,kind,bus,pmin_MW,pmax_MW,qmin_MVAr,qmax_MVAr,cost_per_MWh,status", rows)


def _linear_cost(name: str, unit: Mapping[str, Any], scale: float, problems: list[str]) -> Any:
    """$/MWh, the linear coefficient; constant terms change no decision, others are refused."""
    terms = unit.get("cost")
    if unit.get("model", 2) != 2 or not isinstance(terms, list) or not all(_is_number(term) for term in terms):
        problems.append(f"PowerModels.json: gen {name}: cost {terms!r}, expected the terms of a polynomial (model 2)")
        return ""
    if any(terms[:-2]):
        problems.append(f"PowerModels.json: gen {name}: cost {terms!r} is not linear")
    return terms[-2] / scale if len(terms) > 1 else 0.0


def _buses(grid: Mapping[str, Any], problems: list[str]) -> str:
    scale = _scale(grid)
    load: dict[str, list[float]] = {}
    for name, entry in _ordered(grid["load"]):
        if str(entry.get("load_bus")) not in grid["bus"]:
            problems.append(f"PowerModels.json: load {name}: there is no bus {entry.get('load_bus')!r}")
        elif entry.get("status", 1):
            total = load.setdefault(str(entry.get("load_bus")), [0.0, 0.0])
            total[0] += _value(entry.get("pd"))
            total[1] += _value(entry.get("qd", 0))
    rows = [
        (name, bus.get("name") or f"B{name}", bus.get("bus_type", ""), bus.get("vmin", ""), bus.get("vmax", ""),
         *(_times(part, scale) for part in load.get(name, (0.0, 0.0))))
        for name, bus in _ordered(grid["bus"])
    ]  # fmt: skip
    return table_text("bus,name,bus_type,vmin_pu,vmax_pu,load_MW,load_MVAr", rows)


def _branches(grid: Mapping[str, Any]) -> str:
    scale = _scale(grid)
    rows = []
    for name, branch in _ordered(grid["branch"]):
        rate = branch.get("rate_a") or ""  # 0 stands for no limit
        rows.append(
            (name, branch.get("name") or f"L{name}", branch.get("f_bus", ""), branch.get("t_bus", ""),
             branch.get("br_r", ""), branch.get("br_x", ""),
             *(branch.get(key, 0) for key in ("g_fr", "b_fr", "g_to", "b_to")), _times(rate, scale),
             branch.get("tap", 1), branch.get("shift", 0), branch.get("angmin", ""), branch.get("angmax", ""),
             branch.get("br_status", 1))
        )  # fmt: skip
    return table_text(
        "branch,name,from_bus,to_bus,r_pu,x_pu,g_from_pu,b_from_pu,g_to_pu,b_to_pu,rate_MVA,tap,shift_rad,angmin_rad,"
        "angmax_rad,status",
        rows,
    )


def _series(source: Path, plants: int, problems: list[str]) -> dict[str, str]:
    """Inflows, and probabilities where there are any."""
    matrix = _matrix(source / "inflows.csv", problems)
    if not matrix:
        return {}
    width = len(matrix[0])
    if width % plants:
        problems.append(f"inflows.csv: {width} columns, expected one per plant and scenario: a multiple of {plants}")
        return {}
    scenarios = width // plants
    header = ["stage_of_cycle", "scenario", *(f"inflow_m3s_hydro_{r + 1}" for r in range(plants))]
    rows = [[c + 1, s + 1, *row[s::scenarios]] for c, row in enumerate(matrix) for s in range(scenarios)]
    files = {"inflows.csv": table_text(",".join(header), rows)}
    if (source / "scenarioprobability.csv").exists():
        chances = _matrix(source / "scenarioprobability.csv", problems)
        names = ["stage_of_cycle", *(f"p_scenario_{s + 1}" for s in range(len(chances[0]) if chances else 0))]
        files["scenarioprobability.csv"] = table_text(",".join(names), [[c + 1, *row] for c, row in enumerate(chances)])
    return files


def _matrix(path: Path, problems: list[str]) -> list[list[str]]:
    """Rows of text, all of the same length; empty and a problem where the file is not such a matrix."""
    try:
        records = [[value.strip() for value in row] for row in csv.reader(io.StringIO(path.read_text())) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{path.name}: cannot be read: {error}")
        return []
    wrong = [k + 1 for k, row in enumerate(records) if len(row) != len(records[0])]
    if wrong or not records:
        where = (
            f"row {wrong[0]} has {len(records[wrong[0] - 1])} values, row 1 {len(records[0])}" if wrong else "is empty"
        )
        problems.append(f"{path.name}: {where}")
        return []
    return records


def _ordered(entries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Entries of a PowerModels mapping by their number."""
    return sorted(entries.items(), key=lambda entry: (number(entry[0]), entry[0]))


def _entry(entries: Mapping[str, Any], index: Any) -> Mapping[str, Any]:
    found = entries.get(str(index), {})
    return found if isinstance(found, Mapping) else {}


def _scale(grid: Mapping[str, Any]) -> float:
    """MW of a unit of power in the file."""
    return float(grid["baseMVA"]) if grid.get("per_unit", True) else 1.0


def _times(value: Any, factor: float) -> Any:
    """A scaled number; what is no number is passed on, for the checks of the tables to tell."""
    return value * factor if _is_number(value) else value


def _value(value: Any) -> float:
    return float(value) if _is_number(value) else float("nan")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

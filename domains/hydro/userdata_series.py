"""Inflows, demand, outages and water values of a case folder; years of measured inflows brought to scenarios."""

import datetime
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from interlock.domains.hydro.case import Array
from interlock.domains.hydro.tables import Table, key, read_table
from interlock.domains.hydro.userdata_system import System

PROBABILITY_TOLERANCE = 1e-9
"""How far the probabilities of a row may be from 1 in sum."""
FEWEST_YEARS = 3
"""Complete years that a history must have, so that a deviation can be told from it."""
MAX_GRID = 100_000
"""Largest stage and scenario number; a larger one is a mistake."""


def read_inflows(folder: Path, plants: tuple[str, ...], counts: dict[str, int], problems: list[str]) -> Array:
    """``inflows.csv`` as m3/s ``(cycle, scenarios, plants)``: every scenario of every stage of the cycle once.

    Of a wrong table the shape is right as far as it can be told, and the values are NaN.

    Args:
        folder: that holds it.
        plants: names of the plants in order.
        counts: what case.json says of ``cycle_stages`` and ``scenarios``, if it does.
        problems: where problems are noted.
    """
    empty = np.zeros((0, 0, len(plants)))
    table = read_table(folder, "inflows.csv", problems, required=("stage_of_cycle", "scenario"))
    if table is None:
        return empty
    columns = _plant_columns(table, plants)
    stages = _numbered(table, "stage_of_cycle")
    scenarios = _numbered(table, "scenario")
    values = np.stack([table.numbers(name, "m3/s", least=0) for name in columns], axis=1) if columns else None
    cycle = counts.get("cycle_stages") or max(stages, default=0)
    width = counts.get("scenarios") or max(scenarios, default=0)
    places = _grid(table, ("stage_of_cycle", stages, cycle), ("scenario", scenarios, width))
    if _too_large(table, cycle * width):
        return empty
    if values is None or len(places) != cycle * width:
        return np.full((cycle, width, len(plants)), np.nan)
    order = [places[stage, scenario] for stage in range(1, cycle + 1) for scenario in range(1, width + 1)]
    inflows: Array = values[order].reshape(cycle, width, len(plants))
    return inflows


def read_probabilities(folder: Path, shape: tuple[int, int], problems: list[str]) -> Array:
    """``scenarioprobability.csv`` ``(cycle, scenarios)``; equal probabilities without the file."""
    cycle, scenarios = shape
    even = np.full(shape, 1 / max(1, scenarios))
    if not (folder / "scenarioprobability.csv").exists() or not scenarios:
        return even
    names = [f"p_scenario_{s + 1}" for s in range(scenarios)]
    table = read_table(folder, "scenarioprobability.csv", problems, required=("stage_of_cycle", *names))
    if table is None:
        return even
    for name in table.columns:
        if name != "stage_of_cycle" and name not in names:
            problems.append(f"{table.file} row 1: column {name}, but inflows.csv has {scenarios} scenarios")
    values = np.stack([table.numbers(name, "probability", least=0) for name in names], axis=1)
    total = values.sum(axis=1)
    for k in np.flatnonzero(np.abs(total - 1) > PROBABILITY_TOLERANCE).tolist():
        table.problem(k, f"p_scenario_1 to p_scenario_{scenarios}: their sum is {total[k]:.12g}, expected 1")
    places = _grid(table, ("stage_of_cycle", _numbered(table, "stage_of_cycle"), cycle), None)
    if len(places) != cycle:
        return even
    probabilities: Array = values[[places[stage, 0] for stage in range(1, cycle + 1)]]
    return probabilities


def read_stage_load(
    folder: Path, system: System, load_factor: float, problems: list[str], notes: list[str]
) -> Array | None:
    """``stage_demand.csv`` (stage, bus, load_MW) as MW ``(stages, buses)``; ``None`` without the file.

    A bus that is named must be named in every stage; the others keep the load of buses.csv.
    """
    if not (folder / "stage_demand.csv").exists():
        return None
    table = read_table(folder, "stage_demand.csv", problems, required=("stage", "bus", "load_MW"))
    if table is None:
        return None
    stages = _numbered(table, "stage")
    buses = table.known("bus", system.bus_places, "a bus of buses.csv")
    load = table.numbers("load_MW", "MW")
    for k in np.flatnonzero(load < 0).tolist():
        notes.append(f"{table.file} row {table.rows[k]}, load_MW: {table.columns['load_MW'][k]} is negative")
    named = sorted({bus for bus in buses if bus >= 0})
    identifiers = list(system.bus_places)
    last = max(stages, default=0)
    result = np.tile(system.buses.load, (0 if _too_large(table, last) else last, 1))
    for bus in named:
        rows = [k for k, found in enumerate(buses) if found == bus]
        places = _grid(table, ("stage", stages, last), None, rows, f"bus {identifiers[bus]}, ")
        for (stage, _), k in places.items() if len(result) else ():
            result[stage - 1, bus] = load[k] * load_factor
    if not len(table):
        problems.append(f"{table.file}: holds a header but no rows")
    return result


def read_outages(folder: Path, system: System, problems: list[str]) -> tuple[tuple[int, int, int], ...]:
    """``outages.csv`` (gen_id, from_stage, to_stage) by index of the thermal unit; stages from 1, both included."""
    if not (folder / "outages.csv").exists():
        return ()
    table = read_table(folder, "outages.csv", problems, required=("gen_id", "from_stage", "to_stage"))
    if table is None:
        return ()
    units = table.known("gen_id", system.generator_places, "a gen_id of generators.csv")
    first = table.whole("from_stage", "a stage, from 1")
    last = table.whole("to_stage", "a stage, from 1")
    outages = []
    for k, unit in enumerate(units):
        if unit >= 0 and unit not in system.units:
            table.wrong(k, "gen_id", "a thermal unit in service")
        if first[k] > last[k] >= 1:
            table.problem(k, f"from_stage: {first[k]} is after to_stage {last[k]}")
        outages.append((system.units.get(unit, -1), first[k], last[k]))
    return tuple(outages)


def read_terminal_value(folder: Path, system: System, problems: list[str], notes: list[str]) -> Array | None:
    """``terminal_value.csv`` (hydro, value_per_hm3) as $/hm3 ``(plants,)``; plants without a row have 0."""
    if not (folder / "terminal_value.csv").exists():
        return None
    table = read_table(folder, "terminal_value.csv", problems, required=("hydro", "value_per_hm3"))
    if table is None:
        return None
    hydros = system.tables["hydros"]
    places = {key(text): k for k, text in enumerate(hydros.columns.get("hydro", ()))}
    table.unique("hydro")
    plants, values = table.known("hydro", places, "a plant of hydros.csv"), table.numbers("value_per_hm3", "$/hm3")
    worth = np.zeros(len(hydros))
    for k, plant in enumerate(plants):
        if values[k] < 0:
            notes.append(f"{table.file} row {table.rows[k]}, value_per_hm3: {values[k]:g} is negative")
        if plant >= 0:
            worth[plant] = values[k]
    return worth


def read_history(
    folder: Path, plants: tuple[str, ...], cycle: int | None, problems: list[str], notes: list[str]
) -> Array:
    """``inflow_history.csv`` (date, hydro, inflow_m3s) as m3/s ``(cycle, years, plants)``.

    The year is cut into ``cycle`` equal parts (calendar months if it is 12) and each part holds the mean of its dates;
    only complete years count, and each becomes a scenario.

    Args:
        folder: that holds it.
        plants: names of the plants in order; the file may name or number them.
        cycle: stages of the year; 52 if case.json does not say.
        problems: where problems are noted.
        notes: what was left out.
    """
    cycle = cycle or 52
    empty = np.zeros((cycle, 1, len(plants)))
    table = read_table(folder, "inflow_history.csv", problems, required=("date", "hydro", "inflow_m3s"))
    if table is None or not {"date", "hydro", "inflow_m3s"} <= set(table.columns):
        return empty
    known = {name: k for k, name in enumerate(plants)} | {str(k + 1): k for k in range(len(plants))}
    plant = np.array(table.known("hydro", known, "a plant of hydros.csv"), np.int64)
    values = table.numbers("inflow_m3s", "m3/s", least=0)
    dates = [_date(table, k) for k in range(len(table))]
    seen: dict[tuple[datetime.date | None, int], int] = {}
    for k, entry in enumerate(zip(dates, plant.tolist(), strict=True)):
        if entry in seen and entry[0] is not None and entry[1] >= 0:
            table.problem(k, f"date: {entry[0]} of this plant is already in row {table.rows[seen[entry]]}")
        seen.setdefault(entry, k)
    if any(date is None for date in dates) or (plant < 0).any() or not len(table):
        problems += [f"{table.file}: holds a header but no rows"] if not len(table) else []
        return empty
    return _years(table.file, [date for date in dates if date], plant, values, plants, cycle, problems, notes)


def _years(
    file: str,
    dates: list[datetime.date],
    plant: Array,
    values: Array,
    plants: tuple[str, ...],
    cycle: int,
    problems: list[str],
    notes: list[str],
) -> Array:
    """Means of the parts of complete years."""
    year = np.array([date.year for date in dates])
    part = np.array([_part(date, cycle) for date in dates])
    first, count = int(year.min()), int(year.max() - year.min()) + 1
    total, dated = np.zeros((count, cycle, len(plants))), np.zeros((count, cycle, len(plants)))
    np.add.at(total, (year - first, part, plant), values)
    np.add.at(dated, (year - first, part, plant), 1)
    complete = (dated > 0).all(axis=(1, 2))
    inner = np.flatnonzero(complete)
    for k in np.flatnonzero(~complete).tolist():
        y, p, r = k + first, *(int(i) for i in np.argwhere(dated[k] == 0)[0])
        gap = f"{file}: year {y} has no inflow in m3/s of {plants[r]} in part {p + 1} of {cycle}"
        if inner.size and inner[0] < k < inner[-1]:
            problems.append(f"{gap}; expected no gap between complete years")
        else:
            notes.append(f"{gap}, so that year is left out")
    if inner.size < FEWEST_YEARS:
        problems.append(f"{file}: {inner.size} complete years, expected at least {FEWEST_YEARS}")
        return np.zeros((cycle, 1, len(plants)))
    means: Array = (total[inner] / dated[inner].clip(min=1)).swapaxes(0, 1)
    return means


def _part(date: datetime.date, cycle: int) -> int:
    """The part of the year, from 0, that a date is in."""
    if cycle == 12:
        return date.month - 1
    start = datetime.date(date.year, 1, 1)
    days = (datetime.date(date.year + 1, 1, 1) - start).days
    return (date - start).days * cycle // days


def _date(table: Table, k: int) -> datetime.date | None:
    text = table.columns["date"][k]
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        table.wrong(k, "date", "a date as 2024-12-31")
        return None


def _plant_columns(table: Table, plants: tuple[str, ...]) -> list[str]:
    """The column of each plant, by number or name; notes others, and a wrong number of them."""
    found: dict[int, str] = {}
    given = [name for name in table.columns if name not in ("stage_of_cycle", "scenario")]
    if len(given) != len(plants):
        table.problems.append(
            f"{table.file} row 1: {len(given)} columns of inflows in m3/s, but hydros.csv has {len(plants)} plants; "
            "expected inflow_m3s_hydro_1 and so on"
        )
    for name in given:
        label = re.sub(r"^inflow_m3s_(hydro_)?", "", name)
        k = plants.index(label) if label in plants else int(label) - 1 if re.fullmatch(r"[0-9]{1,6}", label) else -1
        if not name.startswith("inflow_m3s_") or not 0 <= k < len(plants) or k in found:
            table.problems.append(
                f"{table.file} row 1: column {name}, expected inflow_m3s_hydro_K of plant K, from 1 to {len(plants)}"
            )
        else:
            found[k] = name
    return [found[k] for k in range(len(plants))] if len(found) == len(plants) else []


def _numbered(table: Table, column: str) -> list[int]:
    """A column of numbers from 1; 0 where wrong."""
    numbers = table.whole(column, "a whole number, from 1")
    for k, found in enumerate(numbers):
        if found > MAX_GRID:
            table.wrong(k, column, f"a whole number, at most {MAX_GRID}")
            numbers[k] = 0
    return numbers


def _too_large(table: Table, cells: int) -> bool:
    """Whether a table cannot be meant to fill so many cells: a number in it must be a mistake."""
    return cells > 10 * len(table) + 100


def _grid(
    table: Table,
    outer: tuple[str, list[int], int],
    inner: tuple[str, list[int], int] | None,
    rows: Iterable[int] | None = None,
    context: str = "",
) -> dict[tuple[int, int], int]:
    """Row by (outer, inner) number, 0 for no inner one; notes repeated, missing and surplus combinations."""
    name, numbers, size = outer
    second, others, width = inner if inner is not None else ("", [0] * len(table), 0)
    places: dict[tuple[int, int], int] = {}
    for k in range(len(table)) if rows is None else rows:
        a, b = numbers[k], others[k]
        if a < 1 or (inner is not None and b < 1):
            continue
        told = f"{context}{name} {a}" + (f", {second} {b}" if inner is not None else "")
        if a > size or b > width:
            table.problem(
                k, f"{told}: expected {name} up to {size}" + (f" and {second} up to {width}" if inner else "")
            )
        elif (a, b) in places:
            table.problem(k, f"{told}: already in row {table.rows[places[a, b]]}")
        else:
            places[a, b] = k
    if _too_large(table, size * max(1, width)):
        most = f"{name} goes up to {size}" + (f" and {second} up to {width}" if inner else "")
        table.problems.append(f"{table.file}: {context}{most}, but there are {len(table)} rows")
        return places
    for a in range(1, size + 1):
        lacking = [b for b in (range(1, width + 1) if inner else (0,)) if (a, b) not in places]
        if lacking:
            which = (
                f", {second} {', '.join(map(str, lacking[:6]))}{' ...' if len(lacking) > 6 else ''}" if inner else ""
            )
            table.problems.append(f"{table.file}: no row of {context}{name} {a}{which}")
    return places

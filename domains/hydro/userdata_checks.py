"""Checks of a case folder that need more than one table: cascades, islands, costs, units of measurement."""

import graphlib

import numpy as np

from interlock.domains.hydro.tables import number
from interlock.domains.hydro.userdata_system import System

LIGHTEST, HEAVIEST = 0.01, 100.0
"""Load as a share of capacity beyond which one of the two is probably in per unit."""


def check_system(system: System, deficit_cost: float, forced: bool, problems: list[str], notes: list[str]) -> None:
    """Note what is wrong with a system as a whole, and what is only strange.

    Args:
        system: as read.
        deficit_cost: $/MWh of unserved energy.
        forced: whether it may be below the cost of a unit.
        problems: where problems are noted.
        notes: where warnings are noted.
    """
    _check_cascade(system, problems)
    _check_islands(system, problems)
    _check_costs(system, deficit_cost, forced, notes)
    _check_magnitudes(system, problems)
    _note_strange(system, notes)


def _check_cascade(system: System, problems: list[str]) -> None:
    hydros = system.hydros
    links = hydros.turbined_to | hydros.spilled_to
    graph = {k: np.flatnonzero(links[:, k]).tolist() for k in range(len(links))}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(f"{k + 1} ({hydros.names[k]})" for k in error.args[1])
        problems.append(f"hydros.csv, downstream_turbined and downstream_spilled: water runs in a circle: {circle}")


def _check_islands(system: System, problems: list[str]) -> None:
    """Every island needs one reference bus, whose angle is 0."""
    names, reference = list(system.bus_places), system.buses.reference
    if len(names) != len(reference):
        return  # identifiers are wrong, which has been told
    island = np.arange(len(names))
    for start, end in zip(system.branches.start, system.branches.end, strict=True):
        if start >= 0 and end >= 0 and island[start] != island[end]:
            island[island == island[end]] = island[start]
    for label in dict.fromkeys(island.tolist()):
        members = np.flatnonzero(island == label)
        references = [names[k] for k in members if reference[k]]
        if len(references) == 1:
            continue
        listed = ", ".join(names[k] for k in members[:12]) + (", ..." if len(members) > 12 else "")
        found = f"reference buses {', '.join(references)}" if references else "no reference bus"
        problems.append(f"buses.csv, bus_type: the island of buses {listed} has {found}, expected exactly one (type 3)")


def _check_costs(system: System, deficit_cost: float, forced: bool, notes: list[str]) -> None:
    """Unserved energy must cost more than the dearest unit, or shedding load would be cheaper than serving it."""
    table, costs = system.tables["generators"], system.thermals.cost
    if not costs.size or not np.nanmax(costs, initial=-np.inf) >= deficit_cost:
        return
    dearest = int(np.nanargmax(costs))
    row = next(row for row, unit in system.units.items() if unit == dearest)
    text = (
        f"cost_per_MWh: {costs[dearest]:g} $/MWh is not below deficit_cost_per_MWh {deficit_cost:g} of case.json: "
        "shedding load would be cheaper than generating"
    )
    if forced:
        notes.append(f"generators.csv row {table.rows[row]}, {text}")
    else:
        table.problem(row, f"{text} (force_deficit_cost: true in case.json if that is meant)")


def _check_magnitudes(system: System, problems: list[str]) -> None:
    """Loads and capacities that differ this much are not in the same unit."""
    load, capacity = float(system.buses.load.sum()), system.capacity
    if LIGHTEST * capacity <= load <= HEAVIEST * capacity or np.isnan(load + capacity):
        return
    suspect = "load_MW of buses.csv" if load < LIGHTEST * capacity else "pmax_MW of generators.csv"
    problems.append(
        f"buses.csv, load_MW: {load:g} MW in all against {capacity:g} MW of generators: is {suspect} in per unit? "
        "expected MW"
    )


def _note_strange(system: System, notes: list[str]) -> None:
    for name, column in (("generators", "cost_per_MWh"), ("buses", "load_MW")):
        table = system.tables[name]
        for k, text in enumerate(table.columns.get(column, ())):
            if number(text) < 0:
                notes.append(f"{table.file} row {table.rows[k]}, {column}: {text} is negative")
    if any(text and number(text) != 0 for text in system.tables["hydros"].columns.get("final_volume_hm3", ())):
        notes.append("hydros.csv: final_volume_hm3 is not used; terminal_value.csv says what water is worth at the end")
    if (system.hydros.min_turbine > 0).any():
        notes.append("min_turbine_m3s above 0: a stage in which a plant has less water than that cannot be dispatched")

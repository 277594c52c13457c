"""Plants, units and network of a case folder, table by table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interlock.domains.hydro.case import Array, Branches, Buses, Hydros, Thermals
from interlock.domains.hydro.tables import Table, key, number, read_table

COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hydros": (
        ("hydro", "gen_id", "max_volume_hm3", "initial_volume_hm3", "max_turbine_m3s", "production_MW_per_m3s"),
        (
            "name", "bus", "source_index", "min_volume_hm3", "final_volume_hm3", "min_turbine_m3s", "spill_cost",
            "downstream_turbined", "downstream_spilled",
        ),
    ),
    "generators": (
        ("gen_id", "kind", "bus", "pmax_MW", "cost_per_MWh"),
        ("name", "pmin_MW", "qmin_MVAr", "qmax_MVAr", "status"),
    ),
    "buses": (("bus", "bus_type", "load_MW"), ("name", "vmin_pu", "vmax_pu", "load_MVAr")),
    "branches": (
        ("from_bus", "to_bus", "r_pu", "x_pu", "rate_MVA"),
        (
            "branch", "name", "g_from_pu", "b_from_pu", "g_to_pu", "b_to_pu", "tap", "shift_rad", "angmin_rad",
            "angmax_rad", "status",
        ),
    ),
}  # fmt: skip
"""Required and optional columns of each table; every name says its unit."""

WIDEST_ANGLE = 1.0472
"""rad (60 degrees), where branches.csv gives no limit of the angle difference."""


@dataclass(frozen=True, slots=True)
class System:
    """What the tables say, without inflows.

    Attributes:
        tables: by name; hydros in the order of their numbers.
        hydros: plants.
        thermals: units in service.
        buses: with their loads, the load factor applied.
        branches: in service.
        bus_places: index of a bus by its identifier.
        generator_places: row of generators.csv by gen_id.
        units: index among the thermal units by row of generators.csv.
        capacity: MW of all generators in service.
    """

    tables: dict[str, Table]
    hydros: Hydros
    thermals: Thermals
    buses: Buses
    branches: Branches
    bus_places: dict[str, int]
    generator_places: dict[str, int]
    units: dict[int, int]
    capacity: float


@dataclass(frozen=True, slots=True)
class _Generators:
    """generators.csv as arrays, one entry per row."""

    names: tuple[str, ...]
    hydro: Array
    thermal: Array
    on: Array
    bus: Array
    min_power: Array
    max_power: Array
    min_reactive: Array
    max_reactive: Array
    cost: Array


def read_system(folder: Path, load_factor: float, problems: list[str]) -> System | None:
    """Read and check the four tables.

    Args:
        folder: that holds them.
        load_factor: of all loads.
        problems: where problems are noted; what is returned is of use only if there are none.

    Returns:
        ``None`` if a table cannot be read at all.
    """
    tables: dict[str, Table] = {}
    for name, (required, optional) in COLUMNS.items():
        table = read_table(folder, f"{name}.csv", problems, required=required, optional=optional)
        if table is not None:
            tables[name] = table
            if not len(table) and name != "branches":
                problems.append(f"{name}.csv: holds a header but no rows")
    if len(tables) < len(COLUMNS):
        return None
    tables["hydros"] = _by_number(tables["hydros"])
    bus_places = tables["buses"].unique("bus")
    generator_places = tables["generators"].unique("gen_id")
    buses = _buses(tables["buses"], load_factor)
    generators = _generators(tables["generators"], bus_places)
    kept = np.flatnonzero(generators.thermal & generators.on)
    return System(
        tables=tables,
        hydros=_hydros(tables["hydros"], tables["generators"], generators, generator_places, bus_places),
        thermals=Thermals(
            names=tuple(generators.names[k] for k in kept),
            bus=generators.bus[kept],
            min_power=generators.min_power[kept],
            max_power=generators.max_power[kept],
            min_reactive=generators.min_reactive[kept],
            max_reactive=generators.max_reactive[kept],
            cost=generators.cost[kept],
        ),
        buses=buses,
        branches=_branches(tables["branches"], bus_places),
        bus_places=bus_places,
        generator_places=generator_places,
        units={int(row): unit for unit, row in enumerate(kept)},
        capacity=float(generators.max_power[generators.on].sum()),
    )


# ---------------------------------------------------------------------------------------------- tables


def _by_number(table: Table) -> Table:
    """The table of plants in the order of their numbers, which must be 1 to n."""
    expected = f"a number from 1 to {len(table)}, each once"
    numbers = table.whole("hydro", expected)
    for k, found in enumerate(numbers):
        if found > len(table) or (found >= 1 and found in numbers[:k]):
            table.wrong(k, "hydro", expected)
    order = sorted(range(len(table)), key=lambda k: numbers[k])
    columns = {name: [texts[k] for k in order] for name, texts in table.columns.items()}
    return Table(table.file, columns, [table.rows[k] for k in order], table.problems)


def _buses(table: Table, load_factor: float) -> Buses:
    kinds = table.whole("bus_type", "1, 2 or 3 (reference)")
    for k in [k for k, kind in enumerate(kinds) if kind > 3]:
        table.wrong(k, "bus_type", "1, 2 or 3 (reference)")
    low = table.numbers("vmin_pu", "per-unit voltage", above=0, default=0.9)
    high = table.numbers("vmax_pu", "per-unit voltage", above=0, default=1.1)
    _check_order(table, "vmin_pu", low, "vmax_pu", high, "pu")
    return Buses(
        names=table.names("name", "bus "),
        reference=np.array([kind == 3 for kind in kinds], bool),
        min_voltage=low,
        max_voltage=high,
        load=table.numbers("load_MW", "MW") * load_factor,
        reactive_load=table.numbers("load_MVAr", "MVAr", default=0.0) * load_factor,
    )


def _branches(table: Table, bus_places: dict[str, int]) -> Branches:
    start = np.array(table.known("from_bus", bus_places, "a bus of buses.csv"), np.int64)
    end = np.array(table.known("to_bus", bus_places, "a bus of buses.csv"), np.int64)
    r, x = table.numbers("r_pu", "per-unit resistance"), table.numbers("x_pu", "per-unit reactance")
    for k in range(len(table)):
        if start[k] == end[k] >= 0:
            table.wrong(k, "to_bus", "another bus than from_bus")
        if r[k] == 0 and x[k] == 0:
            table.problem(k, "r_pu and x_pu: both 0, expected an impedance in per unit of base_MVA")
        elif x[k] <= 0:
            why = "carries nothing" if x[k] == 0 else "carries power from the smaller to the larger angle"
            table.wrong(k, "x_pu", f"a per-unit reactance above 0: with this one it {why} in the linear model")
    low = table.numbers("angmin_rad", "rad", default=-WIDEST_ANGLE)
    high = table.numbers("angmax_rad", "rad", default=WIDEST_ANGLE)
    _check_order(table, "angmin_rad", low, "angmax_rad", high, "rad")
    for k in np.flatnonzero((low <= high) & ((low > 0) | (high < 0))).tolist():
        expected = "expected limits with 0 between them: a branch without flow must be possible"
        table.problem(k, f"angmin_rad and angmax_rad: {low[k]:g} to {high[k]:g} rad, {expected}")
    tap = table.numbers("tap", "ratio", least=0, default=1.0)
    rate = table.numbers("rate_MVA", "MVA", least=0, default=np.inf)
    names, keep = table.names("name", "branch "), np.flatnonzero(_in_service(table))
    return Branches(
        names=tuple(names[k] for k in keep),
        start=start[keep],
        end=end[keep],
        resistance=r[keep],
        reactance=x[keep],
        start_shunt=_shunt(table, "from")[keep],
        end_shunt=_shunt(table, "to")[keep],
        rate=rate[keep],
        tap=np.where(tap == 0, 1.0, tap)[keep],
        shift=table.numbers("shift_rad", "rad", default=0.0)[keep],
        min_angle=low[keep],
        max_angle=high[keep],
    )


def _shunt(table: Table, side: str) -> Array:
    conductance = table.numbers(f"g_{side}_pu", "per-unit conductance", default=0.0)
    susceptance = table.numbers(f"b_{side}_pu", "per-unit susceptance", default=0.0)
    shunt: Array = conductance + 1j * susceptance
    return shunt


def _in_service(table: Table) -> Array:
    status = table.numbers("status", "", default=1.0)
    for k in np.flatnonzero(np.isfinite(status) & ~np.isin(status, (0, 1))).tolist():
        table.wrong(k, "status", "1 (in service) or 0")
    in_service: Array = status == 1
    return in_service


def _generators(table: Table, bus_places: dict[str, int]) -> _Generators:
    kinds = np.array(table.columns.get("kind", [""] * len(table)), dtype=object)
    if "kind" in table.columns:
        for k in np.flatnonzero(~np.isin(kinds.astype(str), ("thermal", "hydro"))).tolist():
            table.wrong(k, "kind", "thermal or hydro")
    generators = _Generators(
        names=table.names("name", "G"),
        hydro=kinds == "hydro",
        thermal=kinds == "thermal",
        on=_in_service(table),
        bus=np.array(table.known("bus", bus_places, "a bus of buses.csv"), np.int64),
        min_power=table.numbers("pmin_MW", "MW", least=0, default=0.0),
        max_power=table.numbers("pmax_MW", "MW", least=0),
        min_reactive=table.numbers("qmin_MVAr", "MVAr", default=-np.inf),
        max_reactive=table.numbers("qmax_MVAr", "MVAr", default=np.inf),
        cost=table.numbers("cost_per_MWh", "$/MWh"),
    )
    _check_order(table, "pmin_MW", generators.min_power, "pmax_MW", generators.max_power, "MW")
    _check_order(table, "qmin_MVAr", generators.min_reactive, "qmax_MVAr", generators.max_reactive, "MVAr")
    return generators


def _hydros(
    table: Table,
    generator_table: Table,
    generators: _Generators,
    generator_places: dict[str, int],
    bus_places: dict[str, int],
) -> Hydros:
    low = table.numbers("min_volume_hm3", "hm3", least=0, default=0.0)
    high = table.numbers("max_volume_hm3", "hm3", least=0)
    initial = table.numbers("initial_volume_hm3", "hm3")
    _check_order(table, "min_volume_hm3", low, "max_volume_hm3", high, "hm3")
    for k in np.flatnonzero((initial < low) | (initial > high)).tolist():
        table.problem(k, f"initial_volume_hm3: {initial[k]:g} is outside [{low[k]:g}, {high[k]:g}] hm3")
    for k, text in enumerate(table.columns.get("spill_cost", ())):
        if text and number(text) != 0:
            table.wrong(k, "spill_cost", "0: spilling costs nothing here")
    production = table.numbers("production_MW_per_m3s", "MW per m3/s", least=0)
    unit = _check_generators(table, generator_table, generators, generator_places)
    bus = np.where(unit >= 0, generators.bus[unit], -1) if len(generators.bus) else np.full(len(table), -1)
    given = table.known("bus", bus_places, "a bus of buses.csv")
    for k, place in enumerate(given):
        if 0 <= place != bus[k] >= 0:
            table.wrong(k, "bus", f"the bus of its generator, {list(bus_places)[bus[k]]}")
    least, most = _turbine_limits(table, generators, unit, production)
    least_reactive, most_reactive, cost = np.zeros((3, len(table)))
    if len(generators.on):
        on, cost = generators.on[unit], generators.cost[unit]
        least_reactive = np.where(on, generators.min_reactive[unit], 0.0)
        most_reactive = np.where(on, generators.max_reactive[unit], 0.0)
    return Hydros(
        names=table.names("name", "H"),
        bus=bus,
        min_volume=low,
        max_volume=high,
        initial_volume=initial,
        min_turbine=least,
        max_turbine=most,
        production=production,
        min_reactive=least_reactive,
        max_reactive=most_reactive,
        cost=cost,
        turbined_to=_links(table, "downstream_turbined"),
        spilled_to=_links(table, "downstream_spilled"),
    )


def _check_generators(table: Table, generator_table: Table, generators: _Generators, places: dict[str, int]) -> Array:
    """The row of generators.csv that belongs to each plant, -1 where none does."""
    units = table.known("gen_id", places, "a gen_id of generators.csv")
    for k, unit in enumerate(units):
        if unit >= 0 and generators.thermal[unit]:
            row = generator_table.rows[unit]
            table.wrong(k, "gen_id", f"a generator of kind hydro, but row {row} of generators.csv is thermal")
        elif unit >= 0 and unit in units[:k]:
            text = f"already belongs to the plant of row {table.rows[units.index(unit)]}"
            table.problem(k, f"gen_id: {table.columns['gen_id'][k]!r} {text}")
    for unit in np.flatnonzero(generators.hydro).tolist():
        if unit not in units:
            generator_table.problem(unit, "gen_id: is of kind hydro, but no row of hydros.csv names it")
    return np.array(units, np.int64)


def _turbine_limits(table: Table, generators: _Generators, unit: Array, production: Array) -> tuple[Array, Array]:
    """Least and largest turbined flow; the electrical limits of the generator apply too."""
    least = table.numbers("min_turbine_m3s", "m3/s", least=0, default=0.0)
    most = table.numbers("max_turbine_m3s", "m3/s", least=0)
    _check_order(table, "min_turbine_m3s", least, "max_turbine_m3s", most, "m3/s")
    if not len(generators.on):
        return least, most
    on, flows = generators.on[unit], (production > 0) & (unit >= 0)
    divisor = np.where(flows, production, 1.0)
    lower = np.where(flows, np.fmax(least, np.where(on, generators.min_power[unit], 0.0) / divisor), least)
    upper = np.where(flows, np.fmin(most, np.where(on, generators.max_power[unit], 0.0) / divisor), most)
    for k in np.flatnonzero((lower > upper) & (least <= most)).tolist():
        text = (
            f"its generator's limits in MW leave at most {upper[k]:g} m3/s, and at least {lower[k]:g} must be turbined"
        )
        table.problem(k, f"max_turbine_m3s: {text}")
    return lower, upper


def _links(table: Table, column: str) -> Array:
    """Who receives a plant's water, bool ``(n, n)``; notes unknown plants and the plant itself."""
    places = {key(text): k for k, text in enumerate(table.columns.get("hydro", ()))}
    links = np.zeros((len(table), len(table)), bool)
    for k, text in enumerate(table.columns.get(column, ())):
        for part in filter(None, (part.strip() for part in text.split(";"))):
            below = places.get(key(part), -1)
            if below < 0:
                table.wrong(k, column, f"numbers of plants between semicolons; there is no plant {part}")
            elif below == k:
                table.wrong(k, column, "other plants than itself")
            else:
                links[k, below] = True
    return links


def _check_order(table: Table, low_name: str, low: Array, high_name: str, high: Array, unit: str) -> None:
    for k in np.flatnonzero(low > high).tolist():
        table.problem(k, f"{low_name}: {low[k]:g} {unit} is above {high_name} {high[k]:g} {unit}")

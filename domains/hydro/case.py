"""A hydrothermal system: plants, network, load and inflows, as arrays in the order of the files."""

import hashlib
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

HOURLY_VOLUME = 0.0036
"""hm3 that one m3/s brings in an hour."""


@dataclass(frozen=True)
class Hydros:
    """Hydro plants, one entry each; cascades are matrices ``[from, to]``.

    Attributes:
        names: of the plants.
        bus: int, index of the bus.
        min_volume: hm3.
        max_volume: hm3.
        initial_volume: hm3.
        min_turbine: m3/s.
        max_turbine: m3/s; the electrical limit of the unit is already in it.
        production: MW per m3/s.
        min_reactive: MVAr, ``-inf`` for no limit.
        max_reactive: MVAr, ``inf`` for no limit.
        cost: $/MWh.
        turbined_to: bool ``(n, n)``; who receives the turbined water in the same stage.
        spilled_to: bool ``(n, n)``; who receives the spilled water.
    """

    names: tuple[str, ...]
    bus: Array
    min_volume: Array
    max_volume: Array
    initial_volume: Array
    min_turbine: Array
    max_turbine: Array
    production: Array
    min_reactive: Array
    max_reactive: Array
    cost: Array
    turbined_to: Array
    spilled_to: Array


@dataclass(frozen=True)
class Thermals:
    """Thermal units in service.

    Attributes:
        names: of the units.
        bus: int, index of the bus.
        min_power: MW.
        max_power: MW.
        min_reactive: MVAr, ``-inf`` for no limit.
        max_reactive: MVAr, ``inf`` for no limit.
        cost: $/MWh.
    """

    names: tuple[str, ...]
    bus: Array
    min_power: Array
    max_power: Array
    min_reactive: Array
    max_reactive: Array
    cost: Array


@dataclass(frozen=True)
class Buses:
    """Buses; loads are those of the case, its load factor already in them.

    Attributes:
        names: of the buses.
        reference: bool, one per island.
        min_voltage: per unit.
        max_voltage: per unit.
        load: MW.
        reactive_load: MVAr.
    """

    names: tuple[str, ...]
    reference: Array
    min_voltage: Array
    max_voltage: Array
    load: Array
    reactive_load: Array


@dataclass(frozen=True)
class Branches:
    """Branches in service, pi model in per unit of ``base``.

    Attributes:
        names: of the branches.
        start: int, index of the from bus.
        end: int, index of the to bus.
        resistance: series r.
        reactance: series x.
        start_shunt: complex, ``g + jb`` at the from bus.
        end_shunt: complex, at the to bus.
        rate: MVA, ``inf`` for none.
        tap: ratio at the from bus.
        shift: rad.
        min_angle: rad, of the angle difference.
        max_angle: rad.
    """

    names: tuple[str, ...]
    start: Array
    end: Array
    resistance: Array
    reactance: Array
    start_shunt: Array
    end_shunt: Array
    rate: Array
    tap: Array
    shift: Array
    min_angle: Array
    max_angle: Array

    @property
    def susceptance(self) -> Array:
        """``x / (r^2 + x^2)`` per unit: flow of the linear model per radian."""
        susceptance: Array = self.reactance / (self.resistance**2 + self.reactance**2)
        return susceptance


@dataclass(frozen=True)
class Case:
    """A hydrothermal system.

    Attributes:
        name: of the case.
        stage_hours: length of a stage, h.
        deficit_cost: $/MWh of unserved energy.
        base: MVA of the per-unit values.
        hydros: hydro plants.
        thermals: thermal units.
        buses: buses.
        branches: branches.
        inflows: m3/s ``(cycle, scenarios, hydros)``; a row is a joint draw of all plants. Stage ``t`` (from 0) uses row
            ``t % cycle``.
        probabilities: ``(cycle, scenarios)``, rows sum to 1.
        stage_load: MW ``(stages, buses)`` where the load changes from stage to stage; ``None`` for the constant load
            of ``buses``. Stages beyond it start again from its first row.
        outages: ``(unit, from stage, to stage)`` of thermal units, by index, stages from 1, both ends included.
        terminal_value: $/hm3 ``(hydros,)``, credited for water left after the last stage.
        currency: of all costs, for reports.
    """

    name: str
    stage_hours: float
    deficit_cost: float
    base: float
    hydros: Hydros
    thermals: Thermals
    buses: Buses
    branches: Branches
    inflows: Array
    probabilities: Array
    stage_load: Array | None = None
    outages: tuple[tuple[int, int, int], ...] = ()
    terminal_value: Array | None = field(default=None)
    currency: str = "$"

    @property
    def flow_to_volume(self) -> float:
        """K: hm3 in a stage per m3/s."""
        return HOURLY_VOLUME * self.stage_hours

    @property
    def terminal_rate(self) -> Array:
        """Worth of water after the last stage ``(hydros,)`` in the unit of costs, $/h over a stage per hm3."""
        if self.terminal_value is None:
            return np.zeros(len(self.hydros.names))
        rate: Array = self.terminal_value / self.stage_hours
        return rate

    @property
    def cycle(self) -> int:
        """Stages after which inflows repeat."""
        return len(self.inflows)

    def load(self, stage: int) -> Array:
        """MW at every bus in a stage (from 0)."""
        if self.stage_load is None:
            load: Array = self.buses.load
            return load
        load = self.stage_load[stage % len(self.stage_load)]
        return load

    def thermal_limit(self, stage: int) -> Array:
        """Largest MW of every thermal unit in a stage (from 0); 0 in an outage."""
        limit: Array = self.thermals.max_power.copy()
        for unit, first, last in self.outages:
            if first <= stage + 1 <= last:
                limit[unit] = 0.0
        return limit

    @cached_property
    def hash(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over every number and name."""
        digest = hashlib.sha256()
        _absorb(digest, self)
        return digest.hexdigest()[:16]


def _absorb(digest: Any, value: Any) -> None:
    if hasattr(value, "__dataclass_fields__"):
        for entry in fields(value):
            digest.update(entry.name.encode())
            _absorb(digest, getattr(value, entry.name))
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(repr(value).encode())

"""Alternating current on the pi model: what every branch takes from both of its ends, and every bus from its plants.

A branch has the series admittance ``y = 1 / (r + jx)``, a shunt at either end and an ideal transformer of ratio
``tap exp(j shift)`` at its from bus. With ``V`` the complex voltages in per unit, the powers that enter it are
``S_from = V_i conj(y_ff V_i + y_ft V_j)`` and ``S_to = V_j conj(y_tf V_i + y_tt V_j)`` (Zimmerman, Murillo-Sanchez and
Thomas, "MATPOWER: Steady-state operations, planning, and analysis tools", IEEE Trans. Power Systems 26, 2011).
"""

from dataclasses import dataclass

import numpy as np

from interlock.domains.hydro.case import Array, Branches, Case


@dataclass(frozen=True)
class Admittances:
    """Complex, per unit, ``(branches,)`` each: current at the first-named end per voltage at the second-named one."""

    start_start: Array
    start_end: Array
    end_start: Array
    end_end: Array


def admittances(branches: Branches) -> Admittances:
    """The two-port of every branch."""
    series = 1.0 / (branches.resistance + 1j * branches.reactance)
    ratio = branches.tap * np.exp(1j * branches.shift)
    return Admittances(
        start_start=(series + branches.start_shunt) / np.abs(ratio) ** 2,
        start_end=-series / ratio.conj(),
        end_start=-series / ratio,
        end_end=series + branches.end_shunt,
    )


def branch_powers(case: Case, voltage: Array) -> tuple[Array, Array]:
    """Complex MVA that enter every branch at its from and at its to bus, ``(..., branches)`` each.

    Args:
        case: the system.
        voltage: complex, per unit ``(..., buses)``.
    """
    port = admittances(case.branches)
    start, end = voltage[..., case.branches.start], voltage[..., case.branches.end]
    entering_start = start * (port.start_start * start + port.start_end * end).conj()
    entering_end = end * (port.end_start * start + port.end_end * end).conj()
    return case.base * entering_start, case.base * entering_end


def bus_powers(case: Case, voltage: Array) -> Array:
    """Complex MVA that every bus hands to its branches ``(..., buses)``: generation less load. Arguments as above."""
    entering_start, entering_end = branch_powers(case, voltage)
    total = np.zeros(voltage.shape, complex)
    for branch, (start, end) in enumerate(zip(case.branches.start, case.branches.end, strict=True)):
        total[..., start] += entering_start[..., branch]
        total[..., end] += entering_end[..., branch]
    return total


def reactive_load(case: Case, stage: int) -> Array:
    """MVAr at every bus in a stage (from 0): it follows the load that changes from stage to stage."""
    usual, now = case.buses.load, case.load(stage)
    followed: Array = case.buses.reactive_load * np.divide(now, usual, out=np.ones_like(now), where=usual > 0)
    return followed


def reactive_range(case: Case, stage: int) -> tuple[Array, Array]:
    """Least and largest MVAr that the plants of every bus give together in a stage (from 0), ``(buses,)`` each.

    They give it whatever active power they give; thermal units in an outage give nothing.
    """
    hydros, thermals, buses = case.hydros, case.thermals, len(case.buses.names)
    running = (case.thermal_limit(stage) > 0) | (thermals.max_power <= 0)
    least, most = np.zeros(buses), np.zeros(buses)
    np.add.at(least, thermals.bus, np.where(running, thermals.min_reactive, 0.0))
    np.add.at(most, thermals.bus, np.where(running, thermals.max_reactive, 0.0))
    np.add.at(least, hydros.bus, hydros.min_reactive)
    np.add.at(most, hydros.bus, hydros.max_reactive)
    return least, most

r"""Dispatch on the second-order cone relaxation of the alternating-current network, solved by Clarabel.

Instead of voltages it knows their products: :math:`w_i = |V_i|^2` and :math:`w^r_{ij} + j w^i_{ij} = V_i V_j^*`, in
which the power flow of ``power_flow`` is linear (Jabr, "Radial distribution load flow using conic programming", IEEE
Trans. Power Systems 21, 2006). Of what ties the products together only

.. math::
    (w^r_{ij})^2 + (w^i_{ij})^2 \le w_i w_j, \qquad
    \tan\underline\varphi_{ij}\, w^r_{ij} \le w^i_{ij} \le \tan\overline\varphi_{ij}\, w^r_{ij}

is kept: losses, reactive power, voltage limits and the apparent power of both ends stay, angles around a circle of the
network need not add up. Its cost is a lower bound of that of ``ac``, and at least that of ``bus1`` where every plant
may stand still, because no branch gives energy.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import sparse

from interlock.core.errors import MissingExtra
from interlock.domains.hydro.case import Array, Branches, Case
from interlock.domains.hydro.dispatch import DispatchBatch
from interlock.domains.hydro.dispatch_power import Answer, Numbers, PowerStage
from interlock.domains.hydro.power_flow import admittances
from interlock.solvers.clarabel import Clarabel
from interlock.solvers.interface import ConicProgram, LinearProgram


class SocDispatch:
    """Implements ``interlock.domains.hydro.dispatch.Dispatch``.

    Args:
        case: the system.
        horizon: number of stages; the last one earns the terminal value of what is left.

    Raises:
        MissingExtra: Clarabel is not installed.
    """

    def __init__(self, case: Case, horizon: int):
        if find_spec(Clarabel.package) is None:
            raise MissingExtra("network soc", Clarabel.extra)
        self.common = PowerStage(case, horizon)
        self._program = _Program(self.common)

    def solve(
        self, stage: Array, volume: Array, inflow: Array, target: Array, multipliers: Array | None = None
    ) -> DispatchBatch:
        """Dispatch ``N`` stages; see ``Dispatch``."""
        return self.common.dispatch(self._program.solve, stage, volume, inflow, target, multipliers)

    def state(self) -> dict[str, Array]:
        """Nothing is learned on the way."""
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Nothing to continue from."""


class _Program:
    """The program of a stage: stages differ in bounds and costs only.

    Columns: ``q`` in m3/s, then per unit ``p``, ``deficit`` and ``reactive`` (per bus with plants), then ``w`` per bus
    and ``w^r``, ``w^i`` per pair of linked buses. Rows: water, active and reactive balances, angles. The cost is in
    $/h per MVA of the base.
    """

    def __init__(self, common: PowerStage):
        self.common, self.case = common, common.case
        case = self.case
        self._plants, self._buses = len(case.hydros.names), len(case.buses.names)
        self._giving = np.unique(np.concatenate([case.hydros.bus, case.thermals.bus]))
        pairs, place, turn = _pairs(case.branches)
        labels = {
            "q": case.hydros.names,
            "p": case.thermals.names,
            "deficit": [case.buses.names[bus] for bus in common.loaded],
            "reactive": [case.buses.names[bus] for bus in self._giving],
            "w": case.buses.names,
            "wr": [f"{case.buses.names[i]} {case.buses.names[j]}" for i, j in pairs],
        }
        labels["wi"] = labels["wr"]
        names = tuple(f"{kind}[{label}]" for kind, found in labels.items() for label in found)
        self._ends = np.cumsum([0, *(len(found) for found in labels.values())])
        power, limits = self._network(place, turn)
        water = sparse.csr_array(common.balance)
        water.resize((self._plants, len(names)))
        angles = self._angle_rows(place, turn)
        rows = sparse.csr_array(sparse.vstack([water, power, angles]))
        cones = sparse.csr_array(sparse.vstack([self._product_cones(pairs), limits]))
        rate = case.branches.rate[np.isfinite(case.branches.rate)] / case.base
        offset = np.zeros(cones.shape[0])
        offset[4 * len(pairs) :: 3] = np.concatenate([rate, rate])
        row_names = [f"water[{name}]" for name in case.hydros.names]
        row_names += [f"{kind}[{name}]" for kind in ("power", "reactive") for name in case.buses.names]
        row_names += [f"angle[{row}]" for row in range(angles.shape[0])]
        nothing = np.zeros(len(row_names))
        linear = LinearProgram(
            np.zeros(len(names)), np.full(len(names), -np.inf), np.full(len(names), np.inf), nothing - np.inf, nothing,
            rows.indptr, rows.indices, rows.data, names, tuple(row_names),
        )  # fmt: skip
        sizes = np.concatenate([np.full(len(pairs), 4), np.full(2 * len(rate), 3)])
        self._blank = ConicProgram(linear, sizes, offset, cones.indptr, cones.indices, cones.data)
        self._solver = Clarabel(reuse=True)

    def solve(self, numbers: Numbers) -> Answer:
        """One stage; the failure is Clarabel's word."""
        solution = self._solver.solve(replace(self._blank, linear=self._filled(numbers)))
        hydros, base = self.case.hydros, self.case.base
        if solution.x is None or solution.row_duals is None:
            none = np.zeros(0)
            return Answer(none, none, none, none, none, none, failure=f"Clarabel: {solution.message}")
        turbined, thermal, missing, _, square, _, _ = np.split(solution.x, self._ends[1:-1])
        return Answer(
            turbined=np.clip(turbined, hydros.min_turbine, hydros.max_turbine),
            thermal=base * thermal,
            deficit=base * missing,
            water_price=base * solution.row_duals[: self._plants],
            nodal_price=solution.row_duals[self._plants : self._plants + self._buses],
            voltage=np.sqrt(np.maximum(square, 0.0)).astype(complex),
        )

    def _filled(self, numbers: Numbers) -> LinearProgram:
        """The linear part with the numbers of a stage."""
        case, base, blank = self.case, self.case.base, self._blank.linear
        hydros, thermals, buses = case.hydros, case.thermals, case.buses
        missing = np.zeros(len(self.common.loaded))
        free = np.full(self._ends[-1] - self._ends[5], np.inf)
        least_reactive, most_reactive = numbers.least_reactive[self._giving], numbers.most_reactive[self._giving]
        cost = [hydros.cost * hydros.production / base, thermals.cost, missing + numbers.deficit_price]
        lower = [hydros.min_turbine, numbers.least_thermal / base, missing, least_reactive / base]
        upper = [hydros.max_turbine, numbers.most_thermal / base, missing + np.inf, most_reactive / base]
        balances = np.concatenate([numbers.load, numbers.reactive_load]) / base
        row_lower, row_upper = blank.row_lower.copy(), blank.row_upper.copy()
        row_upper[: self._plants] = numbers.available
        balanced = slice(self._plants, self._plants + 2 * self._buses)
        row_lower[balanced] = row_upper[balanced] = balances
        return replace(
            blank,
            cost=np.concatenate([*cost, np.zeros(self._ends[-1] - self._ends[3])]),
            lower=np.concatenate([*lower, buses.min_voltage**2, -free]),
            upper=np.concatenate([*upper, buses.max_voltage**2, free]),
            row_lower=row_lower,
            row_upper=row_upper,
        )

    def _network(self, place: Array, turn: Array) -> tuple[Any, Any]:
        """Active and reactive balances of the buses, and the cones ``(rate, P, Q)`` of both ends less their rates."""
        case, common = self.case, self.common
        branches, port = case.branches, admittances(case.branches)
        count = len(branches.names)
        entering = []
        for own, mutual, bus, sign in (
            (port.start_start, port.start_end, branches.start, turn),
            (port.end_end, port.end_start, branches.end, -turn),
        ):
            row = np.tile(np.arange(count), 3)
            column = np.concatenate([self._ends[4] + bus, self._ends[5] + place, self._ends[6] + place])
            active = np.concatenate([own.real, mutual.real, sign * mutual.imag])
            reactive = np.concatenate([-own.imag, -mutual.imag, sign * mutual.real])
            entering.append([self._sparse(values, row, column, count) for values in (active, reactive)])
        at_start, at_end = (
            sparse.csr_array((np.ones(count), (bus, np.arange(count))), shape=(self._buses, count))
            for bus in (branches.start, branches.end)
        )
        scale = np.concatenate([np.full(self._plants, 1 / case.base), np.ones(self._ends[3] - self._plants)])
        made = sparse.csr_array(common.inject * scale)
        made.resize((self._buses, self._ends[-1]))
        given = self._sparse(
            np.ones(len(self._giving)), self._giving, self._ends[3] + np.arange(len(self._giving)), self._buses
        )
        power = sparse.vstack(
            [
                supply - at_start @ entering[0][kind] - at_end @ entering[1][kind]
                for kind, supply in enumerate((made, given))
            ]
        )
        limited = np.flatnonzero(np.isfinite(branches.rate))
        nothing = sparse.csr_array((len(limited), self._ends[-1]))
        cones = [_interleaved([nothing, active[limited], reactive[limited]]) for active, reactive in entering]
        return power, sparse.vstack(cones)

    def _angle_rows(self, place: Array, turn: Array) -> Any:
        """``w^i - tan(max) w^r <= 0`` and ``tan(min) w^r - w^i <= 0`` in the direction of the branch."""
        branches = self.case.branches
        rows = []
        for angle, side in ((branches.max_angle, 1.0), (branches.min_angle, -1.0)):
            kept = np.flatnonzero(np.abs(angle) < np.pi / 2 - 1e-6)
            row = np.tile(np.arange(len(kept)), 2)
            column = np.concatenate([self._ends[5] + place[kept], self._ends[6] + place[kept]])
            values = np.concatenate([-side * np.tan(angle[kept]), side * turn[kept]])
            rows.append(self._sparse(values, row, column, len(kept)))
        return sparse.vstack(rows)

    def _product_cones(self, pairs: Array) -> Any:
        """``((w_i + w_j) / 2, w^r, w^i, (w_i - w_j) / 2)`` of every pair."""
        count, first = len(pairs), self._ends[4]
        row, half = np.tile(np.arange(count), 2), np.full(count, 0.5)
        column = np.concatenate([first + pairs[:, 0], first + pairs[:, 1]])
        one, own = np.ones(count), np.arange(count)
        parts = [
            self._sparse(np.concatenate([half, half]), row, column, count),
            self._sparse(one, own, self._ends[5] + own, count),
            self._sparse(one, own, self._ends[6] + own, count),
            self._sparse(np.concatenate([half, -half]), row, column, count),
        ]
        return _interleaved(parts)

    def _sparse(self, values: Array, row: Array, column: Array, rows: int) -> Any:
        return sparse.csr_array((values, (row, column)), shape=(rows, self._ends[-1]))


def _pairs(branches: Branches) -> tuple[Array, Array, Array]:
    """Linked buses ``(pairs, 2)``, the pair of every branch, and 1 or -1 where it runs along or against its pair."""
    ends = np.sort(np.stack([branches.start, branches.end], axis=1), axis=1)
    pairs, place = np.unique(ends, axis=0, return_inverse=True)
    return pairs, place.ravel(), np.where(branches.start == ends[:, 0], 1.0, -1.0)


def _interleaved(parts: list[Any]) -> Any:
    """Row 0 of every part, then row 1 of every part, and so on."""
    count = parts[0].shape[0]
    order = np.arange(len(parts) * count).reshape(len(parts), count).T.ravel()
    return sparse.vstack(parts, format="csr")[order]

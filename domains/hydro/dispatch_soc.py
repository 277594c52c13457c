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
from typing import Any

import numpy as np
from scipy import sparse

from interlock.core.errors import MissingExtra
from interlock.domains.hydro.case import Array, Branches, Case
from interlock.domains.hydro.dispatch import DispatchBatch
from interlock.domains.hydro.dispatch_power import Answer, Numbers, PowerStage
from interlock.domains.hydro.power_flow import admittances

UNLIMITED = 1e4
"""Per unit: reactive power beyond which a limit is none."""


class SocDispatch:
    """Implements ``interlock.domains.hydro.dispatch.Dispatch``.

    Args:
        case: the system.
        horizon: number of stages; the last one earns the terminal value of what is left.

    Raises:
        MissingExtra: Clarabel is not installed.
    """

    def __init__(self, case: Case, horizon: int):
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
    """``min cost @ x`` with ``A x + s = b`` and s in a product of cones; only ``cost`` and ``b`` change.

    Columns: ``q`` in m3/s, then per unit ``p, delta, reactive``, then ``w`` per bus and ``w^r``, ``w^i`` per pair of
    buses that are linked. The cost is in $/h per MVA of the base.
    """

    def __init__(self, common: PowerStage):
        try:
            import clarabel
        except ImportError as error:
            raise MissingExtra("network soc", "conic") from error
        case = common.case
        self._common, self.case = common, case
        self._plants, self._units = len(case.hydros.names), len(case.thermals.names)
        self._buses = len(case.buses.names)
        self._giving = np.unique(np.concatenate([case.hydros.bus, case.thermals.bus]))
        pairs, place, turn = _pairs(case.branches)
        sizes = [self._plants, self._units, len(common.loaded), len(self._giving), self._buses, len(pairs), len(pairs)]
        self._ends = np.cumsum([0, *sizes])
        power, limits = self._network(place, turn)
        inequalities = sparse.vstack([self._bound_rows(), self._angle_rows(place, turn)])
        cones = [-self._cone_rows(pairs), -limits]
        self._matrix = sparse.csc_matrix(sparse.vstack([power, inequalities, *cones]))
        self._inequalities, self._balances = inequalities.shape[0], 2 * self._buses
        kinds = [clarabel.ZeroConeT(self._balances), clarabel.NonnegativeConeT(self._inequalities)]
        kinds += [clarabel.SecondOrderConeT(4)] * len(pairs) + [clarabel.SecondOrderConeT(3)] * (limits.shape[0] // 3)
        settings = clarabel.DefaultSettings()
        settings.verbose, settings.presolve_enable, settings.max_threads = False, False, 1
        self._first_cone = self._balances + self._inequalities
        right = np.zeros(self._matrix.shape[0])
        first_limit = self._first_cone + 4 * len(pairs)
        rate = case.branches.rate[np.isfinite(case.branches.rate)] / case.base
        right[first_limit::3] = np.concatenate([rate, rate])
        self._right = right
        none = sparse.csc_matrix((self._ends[-1],) * 2)
        self._solver = clarabel.DefaultSolver(
            none, self._cost(case.deficit_cost), self._matrix, self._right_hand_side(common.usual()), kinds,
            settings,
        )  # fmt: skip
        self._solved = clarabel.SolverStatus.Solved

    def solve(self, numbers: Numbers) -> Answer:
        """One stage; the failure is Clarabel's word."""
        self._solver.update(q=self._cost(numbers.deficit_price), b=self._right_hand_side(numbers))
        solution = self._solver.solve()
        base = self.case.base
        turbined, thermal, missing, _, square, _, _ = np.split(np.array(solution.x), self._ends[1:-1])
        prices = -np.array(solution.z)
        hydros = self.case.hydros
        return Answer(
            turbined=np.clip(turbined, hydros.min_turbine, hydros.max_turbine),
            thermal=base * thermal,
            deficit=base * missing,
            water_price=base * prices[self._balances : self._balances + self._plants],
            nodal_price=prices[: self._buses],
            voltage=np.sqrt(np.maximum(square, 0.0)).astype(complex),
            failure="" if solution.status == self._solved else f"Clarabel: {solution.status}",
        )

    def _cost(self, deficit_price: float) -> Array:
        hydros, thermals = self.case.hydros, self.case.thermals
        cost = np.zeros(self._ends[-1])
        missing = np.full(len(self._common.loaded), deficit_price)
        cost[: self._ends[3]] = np.concatenate(
            [hydros.cost * hydros.production / self.case.base, thermals.cost, missing]
        )
        return cost

    def _network(self, place: Array, turn: Array) -> tuple[Any, Any]:
        """Active and reactive balances of the buses, and the cones ``(rate, P, Q)`` of both ends less their rates."""
        case, common = self.case, self._common
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
            sparse.csr_matrix((np.ones(count), (bus, np.arange(count))), shape=(self._buses, count))
            for bus in (branches.start, branches.end)
        )
        scale = np.concatenate([np.full(self._plants, 1 / case.base), np.ones(self._ends[3] - self._plants)])
        made = sparse.csr_matrix(common.inject * scale)
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
        nothing = sparse.csr_matrix((len(limited), self._ends[-1]))
        cones = [_interleaved([nothing, active[limited], reactive[limited]]) for active, reactive in entering]
        return power, sparse.vstack(cones)

    def _bound_rows(self) -> Any:
        """Water, then upper and lower bounds of turbined flow, power, deficit, reactive power and squared voltages."""
        whole = sparse.eye_array(self._ends[-1], format="csr")
        water = sparse.csr_matrix(self._common.balance)
        water.resize((self._plants, self._ends[-1]))
        above, below = self._bounded()
        return sparse.vstack([water, whole[above], -whole[below]])

    def _bounded(self) -> tuple[Array, Array]:
        """Columns with an upper and with a lower bound: deficit has none above, hydro buses give any reactive power."""
        limited = self._ends[3] + np.flatnonzero(~np.isin(self._giving, self.case.hydros.bus))
        squares = np.arange(self._ends[4], self._ends[5])
        powers = np.arange(self._ends[3])
        return np.concatenate([powers[: self._ends[2]], limited, squares]), np.concatenate([powers, limited, squares])

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

    def _cone_rows(self, pairs: Array) -> Any:
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

    def _right_hand_side(self, numbers: Numbers) -> Array:
        case, base = self.case, self.case.base
        buses, hydros = case.buses, case.hydros
        lower, upper = np.zeros(self._ends[-1]), np.zeros(self._ends[-1])
        powers, squares = slice(0, self._ends[2]), slice(self._ends[4], self._ends[5])
        reactive = slice(self._ends[3], self._ends[4])
        lower[powers] = np.concatenate([hydros.min_turbine, numbers.least_thermal / base])
        upper[powers] = np.concatenate([hydros.max_turbine, numbers.most_thermal / base])
        lower[reactive] = np.maximum(numbers.least_reactive[self._giving] / base, -UNLIMITED)
        upper[reactive] = np.minimum(numbers.most_reactive[self._giving] / base, UNLIMITED)
        lower[squares], upper[squares] = buses.min_voltage**2, buses.max_voltage**2
        above, below = self._bounded()
        right = self._right.copy()
        bounds = [numbers.load / base, numbers.reactive_load / base, numbers.available, upper[above], -lower[below]]
        changed = np.concatenate(bounds)
        right[: len(changed)] = changed
        return right

    def _sparse(self, values: Array, row: Array, column: Array, rows: int) -> Any:
        return sparse.csr_matrix((values, (row, column)), shape=(rows, self._ends[-1]))


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

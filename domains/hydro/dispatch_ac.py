r"""Dispatch on the alternating-current network: power flow in polar coordinates, solved by Ipopt through CasADi.

With voltages :math:`V_i e^{j\theta_i}` in per unit and the two-port of every branch from ``power_flow``,

.. math::
    \min\; c^h \rho q + c^p p + c^d \delta \quad \rho q + p + \delta - d = P(V, \theta), \quad
    r - d^r = Q(V, \theta), \quad |S_e| \le f_e \text{ at both ends}, \quad V^- \le V \le V^+

The reactive balance is hard; active power can be missing at every bus with load. The program is not convex: what Ipopt
finds is a local minimum, and its prices are those of that minimum. It is built once; stages differ in parameters and
bounds only, and every solve starts from the flat profile, so that no answer depends on the one before.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from interlock.core.errors import MissingExtra
from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.dispatch import DispatchBatch
from interlock.domains.hydro.dispatch_power import Answer, Numbers, PowerStage
from interlock.domains.hydro.power_flow import admittances
from interlock.solvers.casadi import Casadi, NonlinearProgram, NonlinearSession

RELAXED = 4.0
"""Factor on the branches' limits with which a stage is solved first when the flat start fails."""

_OPTIONS = {"tol": 1e-8, "acceptable_iter": 0, "max_iter": 300, "bound_relax_factor": 1e-8}
"""Of Ipopt. Bounds are relaxed by a hair, so that a plant that must keep all its water leaves an inside."""


class AcDispatch:
    """Implements ``interlock.domains.hydro.dispatch.Dispatch``.

    Args:
        case: the system.
        horizon: number of stages; the last one earns the terminal value of what is left.

    Raises:
        MissingExtra: CasADi is not installed.
    """

    def __init__(self, case: Case, horizon: int):
        if find_spec(Casadi.package) is None:
            raise MissingExtra("network ac", Casadi.extra)
        self.common = PowerStage(case, horizon)
        self._program = _Program(self.common)

    def solve(
        self, stage: Array, volume: Array, inflow: Array, target: Array, multipliers: Array | None = None
    ) -> DispatchBatch:
        """Dispatch ``N`` stages; see ``Dispatch``."""
        return self.common.dispatch(self._program.solve, stage, volume, inflow, target, multipliers)

    def operate(self, stage: int, volume: Array, inflow: Array, target: Array) -> Answer:
        """One stage (from 0) with its voltages; ``volume``, ``inflow`` and ``target`` are ``(plants,)``."""
        return self._program.solve(self.common.numbers(stage, volume, inflow, target))

    def state(self) -> dict[str, Array]:
        """Nothing is learned on the way."""
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Nothing to continue from."""


class _Program:
    """The program of a stage; columns ``q, p, delta, reactive, V, theta``, rows as in ``_rows``. Powers per unit."""

    def __init__(self, common: PowerStage):
        import casadi

        case = common.case
        self.case = case
        self._plants, self._units = len(case.hydros.names), len(case.thermals.names)
        self._loaded, self._buses = len(common.loaded), len(case.buses.names)
        self._giving = np.unique(np.concatenate([case.hydros.bus, case.thermals.bus]))
        self._limited = np.flatnonzero(np.isfinite(case.branches.rate))
        sizes = [self._plants, self._units, self._loaded, len(self._giving), self._buses, self._buses]
        parts = [casadi.SX.sym(name, size) for name, size in zip(("q", "p", "d", "r", "V", "a"), sizes, strict=True)]
        self._ends = np.cumsum([0, *sizes])
        price = casadi.SX.sym("price")
        turbined, thermal, missing = parts[:3]
        hydros = case.hydros
        cost = casadi.dot(hydros.cost * hydros.production, turbined)
        cost += case.base * (casadi.dot(case.thermals.cost, thermal) + price * casadi.sum1(missing))
        rows = self._rows(casadi, common, parts)
        program = NonlinearProgram(casadi.vertcat(*parts), price, cost, casadi.vertcat(*rows))
        self._session = NonlinearSession(program, _OPTIONS)

    def _rows(self, casadi: Any, common: PowerStage, parts: list[Any]) -> list[Any]:
        """Water, active and reactive power at every bus, squared limits at from and to buses, angle differences."""
        case, base = self.case, self.case.base
        turbined, thermal, missing, reactive, magnitude, angle = parts
        branches = case.branches
        start, end = [int(bus) for bus in branches.start], [int(bus) for bus in branches.end]
        port = admittances(branches)
        difference = angle[start] - angle[end]
        product = magnitude[start] * magnitude[end]
        cosine, sine = product * casadi.cos(difference), product * casadi.sin(difference)
        flows = []
        for own, mutual, bus, turn in (
            (port.start_start, port.start_end, start, 1.0),
            (port.end_end, port.end_start, end, -1.0),
        ):
            square = magnitude[bus] ** 2
            flows.append(own.real * square + mutual.real * cosine + turn * mutual.imag * sine)
            flows.append(-own.imag * square - mutual.imag * cosine + turn * mutual.real * sine)
        active_start, reactive_start, active_end, reactive_end = flows
        leaves, arrives = casadi.DM.zeros(self._buses, len(start)), casadi.DM.zeros(self._buses, len(end))
        for branch in range(len(start)):
            leaves[start[branch], branch], arrives[end[branch], branch] = 1.0, 1.0
        leaves, arrives = casadi.sparsify(leaves), casadi.sparsify(arrives)
        given = casadi.DM.zeros(self._buses, len(self._giving))
        for column, bus in enumerate(self._giving):
            given[int(bus), column] = 1.0
        inject = common.inject / np.concatenate([np.full(self._plants, base), np.ones(self._units + self._loaded)])
        power = casadi.sparsify(casadi.DM(inject)) @ casadi.vertcat(turbined, thermal, missing)
        limited = [int(branch) for branch in self._limited]
        return [
            casadi.sparsify(casadi.DM(common.balance)) @ turbined,
            power - leaves @ active_start - arrives @ active_end,
            casadi.sparsify(given) @ reactive - leaves @ reactive_start - arrives @ reactive_end,
            active_start[limited] ** 2 + reactive_start[limited] ** 2,
            active_end[limited] ** 2 + reactive_end[limited] ** 2,
            difference,
        ]

    def solve(self, numbers: Numbers) -> Answer:
        """From the flat profile; then from the answer with wider limits of the branches; else a failure."""
        price, (bounds, row_bounds) = np.array([numbers.deficit_price]), self._bounds(numbers)
        start = self._flat(bounds)
        found = self._session.solve(start, price, bounds, row_bounds)
        tried = [found.message]
        if found.x is None:
            easier = self._session.solve(start, price, bounds, (row_bounds[0], self._widened(row_bounds[1])))
            if easier.x is not None:
                found = self._session.solve(easier.x, price, bounds, row_bounds)
            tried += [f"with {RELAXED:g} times the limits {easier.message}", f"from there {found.message}"]
        if found.x is None or found.row_duals is None:
            none = np.zeros(0)
            return Answer(none, none, none, none, none, none, failure=f"Ipopt: {', '.join(tried)}")
        return self._answer(found.x, found.row_duals)

    def _bounds(self, numbers: Numbers) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        case, base = self.case, self.case.base
        hydros, buses, branches = case.hydros, case.buses, case.branches
        fixed = np.where(buses.reference, 0.0, np.inf)
        most_missing = np.full(self._loaded, np.inf)
        least_reactive, most_reactive = numbers.least_reactive[self._giving], numbers.most_reactive[self._giving]
        limit = (branches.rate[self._limited] / base) ** 2
        balance = [numbers.load / base, numbers.reactive_load / base]
        bounds = (
            np.concatenate(
                [hydros.min_turbine, numbers.least_thermal / base, np.zeros(self._loaded), least_reactive / base,
                 buses.min_voltage, -fixed]
            ),
            np.concatenate(
                [hydros.max_turbine, numbers.most_thermal / base, most_missing, most_reactive / base,
                 buses.max_voltage, fixed]
            ),
        )  # fmt: skip
        row_bounds = (
            np.concatenate(
                [np.full(self._plants, -np.inf), *balance, np.full(2 * len(limit), -np.inf), branches.min_angle]
            ),
            np.concatenate([numbers.available, *balance, limit, limit, branches.max_angle]),
        )  # fmt: skip
        return bounds, row_bounds

    def _flat(self, bounds: tuple[Array, Array]) -> Array:
        """All voltages at 1 (or the nearest allowed), angles at 0, half of every plant's power."""
        start = np.zeros(self._ends[-1])
        voltages = slice(self._ends[4], self._ends[5])
        powers = slice(0, self._ends[2])
        start[powers] = (bounds[0][powers] + bounds[1][powers]) / 2
        start[voltages] = np.clip(1.0, bounds[0][voltages], bounds[1][voltages])
        return start

    def _widened(self, upper: Array) -> Array:
        wide = upper.copy()
        first = self._plants + 2 * self._buses
        wide[first : first + 2 * len(self._limited)] *= RELAXED**2
        return wide

    def _answer(self, x: Array, prices: Array) -> Answer:
        base = self.case.base
        turbined, thermal, missing, _, magnitude, angle = np.split(x, self._ends[1:-1])
        return Answer(
            turbined=np.clip(turbined, self.case.hydros.min_turbine, self.case.hydros.max_turbine),
            thermal=base * thermal,
            deficit=base * missing,
            water_price=prices[: self._plants],
            nodal_price=prices[self._plants : self._plants + self._buses] / base,
            voltage=magnitude * np.exp(1j * angle),
        )

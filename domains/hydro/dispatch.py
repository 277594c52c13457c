r"""Dispatch of a stage for given end volumes: what is turbined and generated where, at what cost and at what prices.

With the end volumes fixed the releases are known up to what plants above turbine, so volumes and spill drop out of the
stage problem. With a = v_in + K w - v, the released water is rho = M (a + K (T - S)^T q), M = (I - S^T)^{-1}, and

.. math::
    \min\; c^h \rho q + c^p p + c^d \delta \quad  K q - K M (T - S)^T q \le M a, \quad
    \sum (\rho q + p + \delta) = \sum d, \quad |F(\rho q + p + \delta - d)| \le f

where F are the power transfer distribution factors of the branches. Only bounds change from program to program, so a
batch is solved by the regions of its optimal bases (``interlock.solvers.regions``), in large systems, where hardly two
stages share a basis, by pivots from one to the next (``interlock.solvers.pivots``). The prices of ``M a`` are the value
of incoming water.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy.sparse.csgraph import connected_components

from interlock.core.errors import MissingExtra, StageInfeasible
from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.stage_program import LinearNetwork, flows, incidence, injection, loaded_buses
from interlock.solvers.highs import Highs
from interlock.solvers.interface import LinearProgram
from interlock.solvers.pivots import Pivots
from interlock.solvers.regions import Batch, Regions

Network = Literal["bus1", "dc", "soc", "ac"]
SLACK = 1e-6
"""hm3 by which a release may be short of what must be turbined before a target counts as out of reach."""


LARGE = 1800
"""Numbers in the matrix, zeros too, above which stages share too few bases for regions."""


@dataclass(frozen=True, slots=True)
class DispatchBatch:
    """``N`` stages, dispatched.

    Attributes:
        cost: $/h ``(N,)``.
        target_price: $/h per hm3 of end volume ``(N, plants)``.
        state_price: $/h per hm3 of incoming volume ``(N, plants)``; minus the value of water.
        signals: ``(N, 1)``, MW of deficit over all buses.
        turbined: m3/s ``(N, plants)``.
        spilled: hm3 ``(N, plants)``.
        thermal: MW ``(N, units)``.
        deficit: MW ``(N, buses)``.
        nodal_price: $/MWh ``(N, buses)``.
    """

    cost: Array
    target_price: Array
    state_price: Array
    signals: Array
    turbined: Array
    spilled: Array
    thermal: Array
    deficit: Array
    nodal_price: Array


class Dispatch(Protocol):
    """Dispatches batches of stages; implements ``interlock.core.decision_rules.contract.StageSolver``."""

    def solve(
        self, stage: Array, volume: Array, inflow: Array, target: Array, multipliers: Array | None = None
    ) -> DispatchBatch:
        """Dispatch ``N`` stages for given end volumes.

        Args:
            stage: int ``(N,)``, from 0.
            volume: incoming, hm3 ``(N, plants)``.
            inflow: m3/s ``(N, plants)``.
            target: end volumes, hm3 ``(N, plants)``; reachable.
            multipliers: ``(1,)``, $/MWh of deficit on top of its cost; the prices are then of that sum.

        Raises:
            StageInfeasible: a target is out of reach, or the network has no feasible flow.
        """
        ...

    def state(self) -> dict[str, Array]:
        """What was learned on the way, for checkpoints."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from what ``state`` told."""
        ...


def open_dispatch(case: Case, network: Network, horizon: int) -> Dispatch:
    """The dispatch of a network.

    Raises:
        MissingExtra: the solver of the network is not installed.
    """
    if network == "bus1" or network == "dc":
        return LinearDispatch(case, network, horizon)
    try:
        if network == "soc":
            from interlock.domains.hydro.dispatch_soc import SocDispatch

            return SocDispatch(case, horizon)
        from interlock.domains.hydro.dispatch_ac import AcDispatch

        return AcDispatch(case, horizon)
    except ImportError as error:
        raise MissingExtra(f"network {network}", "conic" if network == "soc" else "hydro-ac") from error


class LinearDispatch:
    """``bus1`` and ``dc``: see the module.

    Args:
        case: the system.
        network: ``bus1`` or ``dc``.
        horizon: number of stages; the last one earns the terminal value of what is left.
    """

    def __init__(self, case: Case, network: LinearNetwork, horizon: int):
        self.case = case
        hydros = case.hydros
        plants, units, loaded = len(hydros.names), len(case.thermals.names), loaded_buses(case)
        self._plants, self._units, self._loaded = plants, units, loaded
        factor = case.flow_to_volume
        turbined_to, spilled_to = hydros.turbined_to.astype(float), hydros.spilled_to.astype(float)
        self._from_above = np.linalg.inv(np.eye(plants) - spilled_to.T)
        self._released = factor * self._from_above @ (turbined_to - spilled_to).T
        inject = injection(case)[:, plants : 2 * plants].toarray()
        inject = np.hstack([inject, injection(case)[:, 3 * plants :].toarray()])
        self._factors: Array
        self._flow_limits: tuple[Array, Array]
        none = (np.zeros((0, len(inject))), np.zeros(0), np.zeros(0))
        self._factors, *limits = transfer_factors(case) if network == "dc" else none
        self._flow_limits = (limits[0], limits[1])
        balance = factor * np.eye(plants) - self._released
        self._coupled = np.flatnonzero(np.abs(balance - np.diag(np.diag(balance))).max(axis=1) > 1e-12)
        water = np.hstack([balance[self._coupled], np.zeros((len(self._coupled), units + len(loaded)))])
        self._islands = islands(case) if network == "dc" else np.ones((1, len(inject)))
        matrix = np.vstack([self._islands @ inject, self._factors @ inject, water])
        matrix[np.abs(matrix) < 1e-12] = 0.0
        self._cost = np.concatenate(
            [hydros.cost * hydros.production, case.thermals.cost, np.full(len(loaded), case.deficit_cost)]
        )
        program = self._program(matrix, network)
        session = Highs().open(program)
        self.family = Pivots(program, session) if matrix.size > LARGE else Regions(program, session)
        loads = np.array([case.load(t) for t in range(horizon)])
        self._load, self._total = loads @ self._factors.T, loads @ self._islands.T
        self._shed = np.maximum(loads[:, loaded], 0.0)
        self._limit = np.array([case.thermal_limit(t) for t in range(horizon)])
        worth = case.terminal_rate
        self._worth = np.where(np.arange(horizon)[:, None] == horizon - 1, worth, 0.0)

    def solve(
        self, stage: Array, volume: Array, inflow: Array, target: Array, multipliers: Array | None = None
    ) -> DispatchBatch:
        """Dispatch ``N`` stages; see ``Dispatch``."""
        case, plants, units = self.case, self._plants, self._units
        factor = case.flow_to_volume
        price = case.deficit_cost + (0.0 if multipliers is None else float(multipliers[0]))
        self.family.change_costs(np.concatenate([self._cost[: plants + units], np.full(len(self._loaded), price)]))
        available = (volume + factor * inflow - target) @ self._from_above.T
        lower, upper = self._bounds(stage, available)
        row_lower, row_upper = self._rows(stage, available)
        batch = self.family.solve(lower, upper, row_lower, row_upper)
        self._refuse(batch, stage, volume, inflow, target)
        turbined = batch.x[:, :plants]
        deficit = np.zeros((len(stage), len(case.buses.names)))
        deficit[:, self._loaded] = batch.x[:, plants + units :]
        signals = deficit.sum(axis=1, keepdims=True)
        worth = self._worth[stage]
        credit = (worth * target).sum(axis=1)
        value = self._price_of_water(batch, available) @ self._from_above
        grid = np.vstack([self._islands, self._factors])
        return DispatchBatch(
            cost=batch.x @ self._cost - credit,
            target_price=-value - worth,
            state_price=value,
            signals=signals,
            turbined=turbined,
            spilled=available + turbined @ self._released.T - factor * turbined,
            thermal=batch.x[:, plants : plants + units],
            deficit=deficit,
            nodal_price=batch.row_duals[:, : len(grid)] @ grid,
        )

    def state(self) -> dict[str, Array]:
        """The bases met so far, in a small system."""
        return self.family.state()

    def restore(self, state: Mapping[str, Array]) -> None:
        """Know the bases again."""
        self.family.restore(dict(state))

    def _program(self, matrix: Array, network: LinearNetwork) -> LinearProgram:
        case = self.case
        names = [f"q[{name}]" for name in case.hydros.names] + [f"p[{name}]" for name in case.thermals.names]
        names += [f"deficit[{case.buses.names[bus]}]" for bus in self._loaded]
        rows = [f"power[{island}]" for island in range(len(self._islands))]
        rows += [f"flow[{name}]" for name in case.branches.names] * (network == "dc")
        rows += [f"water[{case.hydros.names[plant]}]" for plant in self._coupled]
        row, column = np.nonzero(matrix)
        return LinearProgram(
            cost=self._cost,
            lower=np.zeros(len(names)),
            upper=np.full(len(names), np.inf),
            row_lower=np.full(len(rows), -np.inf),
            row_upper=np.full(len(rows), np.inf),
            starts=np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))]).astype(np.int32),
            columns=column.astype(np.int32),
            values=matrix[row, column],
            column_names=tuple(names),
            row_names=tuple(rows),
        )

    def _bounds(self, stage: Array, available: Array) -> tuple[Array, Array]:
        hydros, thermals = self.case.hydros, self.case.thermals
        most = np.broadcast_to(hydros.max_turbine, available.shape).copy()
        alone = np.setdiff1d(np.arange(self._plants), self._coupled)
        most[:, alone] = np.minimum(most[:, alone], available[:, alone] / self.case.flow_to_volume)
        near = (most < hydros.min_turbine) & (most > hydros.min_turbine - SLACK)
        most = np.where(near, hydros.min_turbine, most)  # rounding of a target at the edge of its reach
        limit = self._limit[stage]
        least = np.minimum(thermals.min_power, limit)
        missing = np.zeros((len(stage), len(self._loaded)))
        lower = np.hstack([np.broadcast_to(hydros.min_turbine, most.shape), least, missing])
        return lower, np.hstack([most, limit, self._shed[stage]])

    def _rows(self, stage: Array, available: Array) -> tuple[Array, Array]:
        total, load = self._total[stage], self._load[stage]
        coupled = available[:, self._coupled]
        least, most = self._flow_limits
        lower = np.hstack([total, load + least, np.full(coupled.shape, -np.inf)])
        return lower, np.hstack([total, load + most, coupled])

    def _price_of_water(self, batch: Batch, available: Array) -> Array:
        """Derivative of the cost in ``M a``: of the bounds of plants that turbine all they have, or of the rows."""
        factor, plants = self.case.flow_to_volume, self._plants
        price = np.zeros((len(available), plants))
        short = available / factor < self.case.hydros.max_turbine
        at_bound = np.minimum(batch.reduced_costs[:, :plants], 0.0)
        price[short] = at_bound[short] / factor
        price[:, self._coupled] = batch.row_duals[:, len(self._islands) + len(self._factors) :]
        return price

    def _refuse(self, batch: Batch, stage: Array, volume: Array, inflow: Array, target: Array) -> None:
        if not batch.failed:
            return
        row, solution = next(iter(batch.failed.items()))
        reason = (
            f"no dispatch for these end volumes ({solution.status}: {solution.message}); incoming volumes "
            f"{_listed(volume[row])} hm3, inflows {_listed(inflow[row])} m3/s, end volumes {_listed(target[row])} hm3"
        )
        raise StageInfeasible(int(stage[row]) + 1, f"row {row} of the batch", reason, row=row)


def transfer_factors(case: Case) -> tuple[Array, Array, Array]:
    """MW on each branch per MW injected at each bus, taken out at the reference of its island; least and largest flow.

    Shapes ``(branches, buses)``, ``(branches,)`` and ``(branches,)``.
    """
    flow, least, most = flows(case)
    kept = np.flatnonzero(~case.buses.reference)
    stiffness = (incidence(case).T @ flow).toarray()
    angle = np.zeros_like(stiffness)
    angle[np.ix_(kept, kept)] = np.linalg.inv(stiffness[np.ix_(kept, kept)])
    factors = flow.toarray() @ angle
    factors[np.abs(factors) < 1e-12] = 0.0
    return factors, least, most


def islands(case: Case) -> Array:
    """``(islands, buses)``, 1 where a bus belongs to an island of the network."""
    linked = incidence(case)
    count, label = connected_components(abs(linked).T @ abs(linked), directed=False)
    return (label == np.arange(count)[:, None]).astype(float)


def _listed(values: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in values)

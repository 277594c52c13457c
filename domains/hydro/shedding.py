"""Dispatch for given end volumes in which no bus sheds more than its own load.

The stage problem lets a bus lack any amount of power, so that every stage has a solution. On a congested network that
can be cheapest at a bus with hardly any load, from which the missing power would flow on: sound as a price in a
simulation, but nothing that can be carried out. This program has the limits, and may therefore have no solution.
"""

from dataclasses import replace

import numpy as np

from interlock.core.multistage.stage import LinearStage
from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.dispatch import DispatchBatch
from interlock.domains.hydro.stage_program import LinearNetwork, linear_stage, loaded_buses
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Session


class WithinLoad:
    """The dispatch of a system on one bus or with linear flows.

    Args:
        case: the system.
        network: ``bus1`` or ``dc``.
        horizon: number of stages.
    """

    def __init__(self, case: Case, network: LinearNetwork, horizon: int):
        self.case, self.network, self.horizon = case, network, horizon
        self._opened: dict[bytes, tuple[LinearStage, Session]] = {}

    def dispatch(self, stage: int, volume: Array, inflow: Array, target: Array) -> DispatchBatch | None:
        """One stage; ``None`` if the load cannot be shed where the network needs it.

        Args:
            stage: from 0.
            volume: incoming, hm3 ``(plants,)``.
            inflow: m3/s ``(plants,)``.
            target: end volumes, hm3 ``(plants,)``.
        """
        model, session = self._session(stage)
        level = model.right_hand_side(volume, inflow)
        session.change_columns(model.state, target, target)
        session.change_rows(model.rows, level, level)
        session.start_from(None)
        solution = session.solve()
        if solution.status != "optimal" or solution.x is None:
            return None
        if solution.row_duals is None or solution.reduced_costs is None:
            return None
        case, x, duals = self.case, solution.x, solution.row_duals
        plants, units, loaded = len(case.hydros.names), len(case.thermals.names), loaded_buses(case)
        deficit = np.zeros(len(case.buses.names))
        deficit[loaded] = x[3 * plants + units :][: len(loaded)]
        price = duals[plants:][: len(deficit)] if self.network == "dc" else np.full(len(deficit), duals[plants])
        one = DispatchBatch(
            cost=np.array(model.program.cost @ x),
            target_price=solution.reduced_costs[:plants],
            state_price=model.state_price(duals[model.rows]),
            signals=deficit.sum(keepdims=True),
            turbined=x[plants : 2 * plants],
            spilled=x[2 * plants : 3 * plants],
            thermal=x[3 * plants :][:units],
            deficit=deficit,
            nodal_price=price,
        )
        return DispatchBatch(*(getattr(one, name)[np.newaxis] for name in DispatchBatch.__slots__))

    def _session(self, stage: int) -> tuple[LinearStage, Session]:
        """The stage inside the solver; those with the same load and units in service share one."""
        case, last = self.case, stage == self.horizon - 1
        load = case.load(stage)
        key = load.tobytes() + case.thermal_limit(stage).tobytes() + bytes([last])
        if key not in self._opened:
            model, loaded = linear_stage(case, self.network, stage, last=last), loaded_buses(case)
            upper = model.program.upper.copy()
            first = 3 * len(case.hydros.names) + len(case.thermals.names)
            upper[first : first + len(loaded)] = np.maximum(load[loaded], 0.0)
            self._opened[key] = (model, Highs().open(replace(model.program, upper=upper)))
        return self._opened[key]

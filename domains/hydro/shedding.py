"""Dispatch for given end volumes in which no bus sheds more than its own load.

The stage problem lets a bus lack any amount of power, so that every stage has a solution. On a congested network that
can be cheapest at a bus with hardly any load, from which the missing power would flow on: sound as a price in a
simulation, but nothing that can be carried out. This program has the limits, and may therefore have no solution.
"""

from dataclasses import replace

import numpy as np

from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.dispatch import DispatchBatch
from interlock.domains.hydro.stage_program import LinearNetwork, linear_stage, loaded_buses
from interlock.solvers.highs import Highs


def dispatch_within_load(
    case: Case, network: LinearNetwork, horizon: int, stage: int, volume: Array, inflow: Array, target: Array
) -> DispatchBatch | None:
    """One stage on one bus or with linear flows; ``None`` if the load cannot be shed where the network needs it.

    Args:
        case: the system.
        network: ``bus1`` or ``dc``.
        horizon: number of stages.
        stage: from 0.
        volume: incoming, hm3 ``(plants,)``.
        inflow: m3/s ``(plants,)``.
        target: end volumes, hm3 ``(plants,)``.
    """
    model = linear_stage(case, network, stage, last=stage == horizon - 1)
    program, loaded = model.program, loaded_buses(case)
    plants, units = len(case.hydros.names), len(case.thermals.names)
    lower, upper = program.lower.copy(), program.upper.copy()
    lower[:plants] = upper[:plants] = target
    missing = slice(3 * plants + units, 3 * plants + units + len(loaded))
    upper[missing] = np.maximum(case.load(stage)[loaded], 0.0)
    row_lower, row_upper = program.row_lower.copy(), program.row_upper.copy()
    row_lower[model.rows] = row_upper[model.rows] = model.right_hand_side(volume, inflow)
    solution = Highs().solve(replace(program, lower=lower, upper=upper, row_lower=row_lower, row_upper=row_upper))
    if solution.status != "optimal" or solution.x is None:
        return None
    if solution.row_duals is None or solution.reduced_costs is None:
        return None
    x, duals = solution.x, solution.row_duals
    deficit = np.zeros(len(case.buses.names))
    deficit[loaded] = x[missing]
    price = duals[plants : plants + len(deficit)] if network == "dc" else np.full(len(deficit), duals[plants])
    rows = DispatchBatch(
        cost=np.array(program.cost @ x),
        target_price=solution.reduced_costs[:plants],
        state_price=model.state_price(duals[model.rows]),
        signals=deficit.sum(keepdims=True),
        turbined=x[plants : 2 * plants],
        spilled=x[2 * plants : 3 * plants],
        thermal=x[3 * plants : 3 * plants + units],
        deficit=deficit,
        nodal_price=price,
    )
    return DispatchBatch(*(getattr(rows, name)[np.newaxis] for name in DispatchBatch.__slots__))

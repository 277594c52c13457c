r"""The stage problem as a linear program: water balance, dispatch and a lossless network.

With v the end volume, q turbined flow, s spilled volume, p thermal power, delta unserved power and K hm3 per m3/s:

.. math::
    \min\; c^h \rho q + c^p p + c^d \delta \quad
    v + K q + s - K T^\top q - S^\top s = v_{in} + K w, \quad
    \sum_{bus} (\rho q + p + \delta) - d = B\theta, \quad |b_e \Delta\theta_e| \le f_e

``T`` and ``S`` say who receives turbined and spilled water in the same stage. Powers are in MW and costs in $/MWh, so
the objective is a cost rate in $/h. Networks: ``bus1`` (one bus) and ``dc`` (angles; a branch's limit is the tighter
one of its rate and of its largest angle difference). Deficit is allowed at every bus up to its load.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import sparse

from interlock.core.multistage.stage import LinearStage, Multistage, Noise
from interlock.domains.hydro.case import Array, Case
from interlock.solvers.interface import LinearProgram

LinearNetwork = Literal["bus1", "dc"]


def multistage(case: Case, network: LinearNetwork, horizon: int, noises: Sequence[Noise]) -> Multistage:
    """The stages of a horizon; those with the same load and units in service are one object.

    Args:
        case: the system.
        network: ``bus1`` or ``dc``.
        horizon: number of stages.
        noises: what each stage may see, inflows in m3/s.
    """
    built: dict[bytes, LinearStage] = {}
    stages = []
    for t in range(horizon):
        last = case.terminal_value is not None and t == horizon - 1
        key = case.load(t).tobytes() + case.thermal_limit(t).tobytes() + bytes([last])
        if key not in built:
            built[key] = linear_stage(case, network, t, last=last)
        stages.append(built[key])
    return Multistage(tuple(stages), tuple(noises), case.hydros.initial_volume, _least_cost_to_go(case, horizon))


def linear_stage(case: Case, network: LinearNetwork, stage: int, *, last: bool = False) -> LinearStage:
    """The program of one stage, from 0; in the last one the water left over earns its terminal value.

    Columns: ``v[...] q[...] s[...]`` per plant, ``p[...]`` per thermal unit, ``deficit[...]`` per bus with load, and
    for ``dc`` ``theta[...]`` per bus. Rows: ``water[...]`` per plant, then ``power[...]`` per bus (or the only one),
    then ``flow[...]`` per branch.
    """
    hydros, thermals, buses = case.hydros, case.thermals, case.buses
    load, loaded = case.load(stage), loaded_buses(case)
    plants, units = len(hydros.names), len(thermals.names)
    factor = case.flow_to_volume
    same = sparse.eye_array(plants)
    water = sparse.hstack(
        [same, factor * (same - hydros.turbined_to.T.astype(float)), same - hydros.spilled_to.T.astype(float)]
    )
    worth = case.terminal_rate if last else np.zeros(plants)
    cost: list[Array] = [-worth, hydros.cost * hydros.production, np.zeros(plants), thermals.cost]
    cost.append(np.full(len(loaded), case.deficit_cost))
    lower: list[Array] = [
        hydros.min_volume,
        hydros.min_turbine,
        np.zeros(plants),
        thermals.min_power,
        np.zeros(len(loaded)),
    ]
    limit = case.thermal_limit(stage)
    lower[3] = np.minimum(lower[3], limit)
    upper: list[Array] = [
        hydros.max_volume,
        hydros.max_turbine,
        np.full(plants, np.inf),
        limit,
        np.maximum(load[loaded], 0.0),
    ]
    names = [f"v[{name}]" for name in hydros.names] + [f"q[{name}]" for name in hydros.names]
    names += [f"s[{name}]" for name in hydros.names] + [f"p[{name}]" for name in thermals.names]
    names += [f"deficit[{buses.names[bus]}]" for bus in loaded]
    rows = [f"water[{name}]" for name in hydros.names]
    inject = injection(case)
    if network == "bus1":
        power = sparse.csr_array(inject.sum(axis=0)[np.newaxis, :])
        right: list[Array] = [np.zeros(plants), np.array([load.sum()])]
        left = right
        rows.append("power[system]")
        matrix = sparse.block_array([[water, None], [power[:, : 3 * plants], power[:, 3 * plants :]]])
    else:
        flow, least, most = flows(case)
        angles = len(buses.names)
        flow_out = incidence(case).T @ flow
        none = sparse.csr_array((plants, units + len(loaded) + angles))
        matrix = sparse.vstack(
            [
                sparse.hstack([water, none]),
                sparse.hstack([inject, -flow_out]),
                sparse.hstack([sparse.csr_array((len(most), inject.shape[1])), flow]),
            ]
        )
        free = np.where(buses.reference, 0.0, np.inf)
        cost, lower, upper = [*cost, np.zeros(angles)], [*lower, -free], [*upper, free]
        left, right = [np.zeros(plants), load, least], [np.zeros(plants), load, most]
        names += [f"theta[{name}]" for name in buses.names]
        rows += [f"power[{name}]" for name in buses.names] + [f"flow[{name}]" for name in case.branches.names]
    matrix = sparse.csr_array(matrix)
    matrix.eliminate_zeros()
    program = LinearProgram(
        cost=np.concatenate(cost),
        lower=np.concatenate(lower),
        upper=np.concatenate(upper),
        row_lower=np.concatenate(left),
        row_upper=np.concatenate(right),
        starts=matrix.indptr.astype(np.int32),
        columns=matrix.indices.astype(np.int32),
        values=matrix.data,
        column_names=tuple(names),
        row_names=tuple(rows),
    )
    signals = np.zeros((1, len(names)))
    signals[0, 3 * plants + units : 3 * plants + units + len(loaded)] = 1.0
    return LinearStage(
        program,
        state=np.arange(plants, dtype=np.int32),
        rows=np.arange(plants, dtype=np.int32),
        offset=np.zeros(plants),
        by_state=np.eye(plants),
        by_noise=factor * np.eye(plants),
        signals=signals,
    )


def loaded_buses(case: Case) -> Array:
    """Indices of the buses that have load in any stage: where power can be missing."""
    load = case.buses.load if case.stage_load is None else case.stage_load.max(axis=0)
    return np.flatnonzero(load > 0)


def injection(case: Case) -> sparse.csr_array:
    """``(buses, columns)``: MW at each bus per unit of ``v, q, s, p, deficit``."""
    hydros, thermals, loaded = case.hydros, case.thermals, loaded_buses(case)
    plants, units, buses = len(hydros.names), len(thermals.names), len(case.buses.names)
    row = np.concatenate([hydros.bus, thermals.bus, loaded])
    column = np.concatenate([plants + np.arange(plants), 3 * plants + np.arange(units + len(loaded))])
    value = np.concatenate([hydros.production, np.ones(units + len(loaded))])
    return sparse.csr_array((value, (row, column)), shape=(buses, 3 * plants + units + len(loaded)))


def incidence(case: Case) -> sparse.csr_array:
    """``(branches, buses)``: 1 at the from bus, -1 at the to bus."""
    branches = case.branches
    count = len(branches.names)
    row = np.concatenate([np.arange(count), np.arange(count)])
    column = np.concatenate([branches.start, branches.end])
    value = np.concatenate([np.ones(count), -np.ones(count)])
    return sparse.csr_array((value, (row, column)), shape=(count, len(case.buses.names)))


def flows(case: Case) -> tuple[sparse.csr_array, Array, Array]:
    """MW on each branch per radian at each bus ``(branches, buses)``; least and largest flow ``(branches,)``."""
    branches = case.branches
    stiffness = branches.susceptance * case.base
    least = np.maximum(-branches.rate, stiffness * branches.min_angle)
    most = np.minimum(branches.rate, stiffness * branches.max_angle)
    return sparse.csr_array(sparse.diags_array(stiffness) @ incidence(case)), least, most


def _least_cost_to_go(case: Case, horizon: int) -> float:
    """A floor of the cost from any stage on: negative costs run at full power, and full reservoirs are sold."""
    power = np.concatenate([case.hydros.production * case.hydros.max_turbine, case.thermals.max_power])
    cost = np.concatenate([case.hydros.cost, case.thermals.cost])
    sold = float(case.terminal_rate.clip(0) @ case.hydros.max_volume)
    return float(np.minimum(power * cost, 0.0).sum()) * horizon - sold

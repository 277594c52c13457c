"""What a reader of the evidence should know about a system on its network, one sentence each."""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.scenario import Network
from interlock.domains.hydro.stage_program import incidence

_SHOWN = 12
"""Names in a note at most."""


def system_notes(case: Case, network: Network, horizon: int) -> list[str]:
    """Notes on what the model leaves out, and on stages that may have no dispatch.

    Args:
        case: the system.
        network: on which it is dispatched.
        horizon: stages whose loads count.
    """
    loads = np.array([case.load(t) for t in range(horizon)])
    notes = [*_undelivered_water(case, loads), *_least_power(case, network, loads)]
    if network in ("bus1", "dc"):
        notes += _transformers(case, network)
    return notes


def _undelivered_water(case: Case, loads: Array) -> list[str]:
    """Water that only turbines pass on is counted on downstream, whether or not its power can be delivered."""
    hydros = case.hydros
    only = np.asarray((hydros.turbined_to & ~hydros.spilled_to).any(axis=1))
    power = float((hydros.production * hydros.max_turbine)[only].sum())
    least = float(loads.sum(axis=1).min())
    if power <= least:
        return []
    return [
        f"plants whose turbined water alone goes on to another plant ({_listed(hydros.names, only)}) have {power:g} MW "
        f"together, above the smallest load of {least:g} MW: end volumes that count on that water may have no dispatch"
    ]


def _least_power(case: Case, network: Network, loads: Array) -> list[str]:
    """Units and plants that must run give more than the load of their island takes."""
    hydros, thermals, buses = case.hydros, case.thermals, len(case.buses.names)
    must = np.zeros(buses)
    np.add.at(must, thermals.bus, thermals.min_power)
    np.add.at(must, hydros.bus, hydros.production * hydros.min_turbine)
    islands = np.zeros(buses, np.int64) if network == "bus1" else _islands(case)
    notes = []
    for label in range(int(islands.max()) + 1):
        members = islands == label
        power, least = float(must[members].sum()), float(loads[:, members].sum(axis=1).min())
        if power > max(least, 0.0):
            notes.append(
                f"pmin_MW above 0: units and plants of the island of {_listed(case.buses.names, members)} give at "
                f"least {power:g} MW together, above its smallest load of {least:g} MW: such a stage cannot be "
                "dispatched"
            )
    return notes


def _islands(case: Case) -> Array:
    """Number of the island of every bus."""
    ends = incidence(case)
    labels: Array = connected_components(sparse.csr_array(abs(ends.T) @ abs(ends)), directed=False)[1]
    return labels


def _transformers(case: Case, network: Network) -> list[str]:
    branches = case.branches
    changed = (branches.tap != 1.0) | (branches.shift != 0.0)
    if not changed.any():
        return []
    return [f"network {network} leaves out the tap and the shift of branches {_listed(branches.names, changed)}"]


def _listed(names: tuple[str, ...], chosen: Array) -> str:
    found = [names[k] for k in np.flatnonzero(chosen)]
    return ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")

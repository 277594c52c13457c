"""Systems drawn at random that resemble a real one of the same kind, so that no data file is needed.

Calibrated on the Bolivian system published with DecisionRules.jl (MIT licence): hydro capacity 0.88 of the load,
thermal capacity twice what load is left on average, unit costs from 14 to 42 $/MWh below a deficit cost of 60, weekly
stages, 48 of them in the inflow cycle, its seasonal profile, and log-normal inflows that vary as its 15 scenarios do.
Every basin of three or four plants has one seasonal reservoir of 31 weeks of mean inflow at its head; the other plants
run with the river. The network is meshed, and some branches are rated below the largest flow they would carry.
"""

from itertools import islice

import numpy as np

from interlock.domains.hydro.case import HOURLY_VOLUME, Array, Branches, Buses, Case, Hydros, Thermals

STAGE_HOURS, CYCLE, SCENARIOS = 168.0, 48, 15
BASE = 100.0
DEFICIT_COST = 60.0
COST_RANGE = (14.0, 42.0)
HYDRO_SHARE = 0.88
"""Hydro capacity by load."""
THERMAL_SHARE = 2.0
"""Thermal capacity by what the load exceeds the mean hydro power by."""
RESERVOIR_WEEKS = 31.0
RIVER_WEEKS = (0.02, 0.3)
"""Weeks of its own mean inflow that a plant without a seasonal reservoir holds."""
SEASON = (62.2, 59.8, 55.1, 40.8, 24.9, 20.2, 18.1, 18.9, 19.8, 22.9, 29.9, 32.6)
"""m3/s in all plants, mean of each block of four stages."""
VARIATION = (0.12, 0.46)
"""Coefficient of variation of a plant's inflow over the scenarios of a stage."""
MEMORY = 0.8
"""Correlation of the logarithms of successive stages within a scenario."""
WITHIN_BASIN = 0.8
"""Share of the variance of the logarithms that the plants of a basin have in common."""
REACTIVE = 0.12
"""MVAr by MW of load."""
TIGHT_SHARE, TIGHT, AMPLE = 0.3, 0.95, 1.3
"""Share of the branches that are rated tightly; ratings of these and the others by the largest flow."""
WIDEST_ANGLE = 0.12
"""rad across a branch at the largest flow."""


def make_case(n_hydro: int, seed: int = 0) -> Case:
    """A system with some hydro plants; the same numbers give the same system.

    Args:
        n_hydro: plants, at least 1.
        seed: another seed gives another system of the same kind.
    """
    rng = np.random.default_rng([n_hydro, seed])
    basin = _basins(n_hydro)
    head = np.r_[True, basin[1:] != basin[:-1]]
    turbined_to, spilled_to = _cascades(rng, basin, head)
    inflows = _inflows(rng, basin)
    own = inflows.mean(axis=(0, 1))
    flow = np.linalg.solve(np.eye(n_hydro) - turbined_to.T, own)  # with all that comes from above
    max_turbine = flow * rng.uniform(1.2, 1.9, n_hydro)
    production = rng.uniform(2.5, 9.0, n_hydro)
    capacity = float(production @ max_turbine)
    load = capacity / HYDRO_SHARE
    weeks = np.where(head, RESERVOIR_WEEKS, rng.uniform(*RIVER_WEEKS, n_hydro))
    mean_power = float(production @ np.minimum(flow, max_turbine))
    units = max(4, 2 * n_hydro)
    size = rng.lognormal(0.0, 0.5, units)
    max_power = size / size.sum() * THERMAL_SHARE * (load - mean_power)
    cost = np.sort(rng.uniform(*COST_RANGE, units))
    cost[[0, -1]] = COST_RANGE
    bus_load = _loads(rng, max(5, round(2.5 * n_hydro)), load)
    count = len(bus_load)
    hydro_bus = rng.integers(count, size=n_hydro)
    thermal_bus = rng.choice(count, size=units, p=(bus_load + load / count) / (2 * load))
    power = _dispatches(rng, production * max_turbine, mean_power / capacity, max_power, load)
    injection = np.zeros((len(power), count))
    np.add.at(injection.T, np.r_[hydro_bus, thermal_bus], power.T)
    return Case(
        name=f"generated {n_hydro} (seed {seed})",
        stage_hours=STAGE_HOURS,
        deficit_cost=DEFICIT_COST,
        base=BASE,
        hydros=Hydros(
            names=tuple(f"H{r + 1}" for r in range(n_hydro)),
            bus=hydro_bus,
            min_volume=np.zeros(n_hydro),
            max_volume=own * weeks * HOURLY_VOLUME * STAGE_HOURS,
            initial_volume=np.zeros(n_hydro),
            min_turbine=np.zeros(n_hydro),
            max_turbine=max_turbine,
            production=production,
            min_reactive=-production * max_turbine,
            max_reactive=production * max_turbine,
            cost=np.full(n_hydro, 0.1),
            turbined_to=turbined_to,
            spilled_to=spilled_to,
        ),
        thermals=Thermals(
            names=tuple(f"G{g + 1}" for g in range(units)),
            bus=thermal_bus,
            min_power=np.zeros(units),
            max_power=max_power,
            min_reactive=-max_power,
            max_reactive=max_power,
            cost=cost,
        ),
        buses=Buses(
            names=tuple(f"B{b + 1}" for b in range(count)),
            reference=np.arange(count) == 0,
            min_voltage=np.full(count, 0.9),
            max_voltage=np.full(count, 1.1),
            load=bus_load,
            reactive_load=REACTIVE * bus_load,
        ),
        branches=_network(rng, injection - bus_load),
        inflows=inflows,
        probabilities=np.full((CYCLE, SCENARIOS), 1 / SCENARIOS),
    )


def _basins(n_hydro: int) -> Array:
    """Basin of each plant: three or four plants each where the number allows it."""
    count = max(1, round(n_hydro / 3.5))
    return np.sort(np.arange(n_hydro) % count)


def _cascades(rng: np.random.Generator, basin: Array, head: Array) -> tuple[Array, Array]:
    """Rivers: most plants take the water of the plant before them in their basin, some the turbined water only."""
    count = len(basin)
    turbined, spilled = np.zeros((count, count), bool), np.zeros((count, count), bool)
    for r in range(1, count):
        if not head[r] and rng.random() < 0.75:
            turbined[r - 1, r] = True
            spilled[r - 1, r] = rng.random() < 0.7
    return turbined, spilled


def _inflows(rng: np.random.Generator, basin: Array) -> Array:
    """m3/s ``(CYCLE, SCENARIOS, plants)``; the mean over the scenarios is the plant's profile exactly."""
    count = len(basin)
    mean = rng.lognormal(np.log(2.5), 0.7, count)
    blocks = np.arange(CYCLE) / 4 - 0.375
    profile = np.interp(blocks, np.arange(-1, 13), [SEASON[-1], *SEASON, SEASON[0]])
    strength = rng.uniform(0.6, 1.4, count)
    season = profile[:, None] ** strength
    season *= mean / season.mean(axis=0)
    deviation = np.sqrt(np.log1p(rng.uniform(*VARIATION, count) ** 2))
    z = np.empty((CYCLE, SCENARIOS, count))
    for stage in range(CYCLE):
        common = rng.standard_normal((SCENARIOS, int(basin.max()) + 1))[:, basin]
        alone = rng.standard_normal((SCENARIOS, count))
        fresh = np.sqrt(WITHIN_BASIN) * common + np.sqrt(1 - WITHIN_BASIN) * alone
        z[stage] = fresh if stage == 0 else MEMORY * z[stage - 1] + np.sqrt(1 - MEMORY**2) * fresh
    wet = np.exp(deviation * z)
    inflows: Array = season[:, None] * wet / wet.mean(axis=1, keepdims=True)
    return inflows


def _loads(rng: np.random.Generator, count: int, load: float) -> Array:
    """MW per bus: six buses in ten have a load, of very different size."""
    share = rng.lognormal(0.0, 1.0, count) * (rng.random(count) < 0.6)
    share[rng.integers(count)] += 3.0
    loads: Array = share / share.sum() * load
    return loads


def _dispatches(rng: np.random.Generator, hydro: Array, mean: float, thermal: Array, load: float) -> Array:
    """MW of plants and units in 60 situations between dry and wet, thermal units in order of their cost."""
    available = np.clip(rng.uniform(0.3, 1.6, (60, 1)) * mean * rng.uniform(0.7, 1.3, (60, len(hydro))), 0, 1) * hydro
    before = np.r_[0.0, np.cumsum(thermal)[:-1]]
    residual = load - available.sum(axis=1, keepdims=True)
    return np.hstack([available, np.clip(residual - before, 0, thermal)])


def _network(rng: np.random.Generator, surplus: Array) -> Branches:
    """A meshed network over buses at random places.

    Args:
        rng: source of chance.
        surplus: MW ``(situations, buses)`` in the situations that the ratings are made for.
    """
    count = surplus.shape[1]
    place = rng.random((count, 2))
    distance = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    tree = _tree(distance)
    pairs = tree | _short_cuts(distance, tree, max(1, count // 4))
    start, end = np.array(sorted(pairs)).T
    length = distance[start, end] + 0.05
    flows = _linear_flows(start, end, 1 / length, surplus - surplus.mean(axis=1, keepdims=True))
    largest = np.abs(flows).max(axis=0)
    reactance = length * WIDEST_ANGLE / float((largest * length).max() / BASE)
    margin = np.where(rng.random(len(start)) < TIGHT_SHARE, TIGHT, AMPLE)
    rate = np.maximum(margin * largest, 0.02 * surplus.clip(min=0).sum(axis=1).max())
    shunt = 1j * 0.01 * length
    angle = np.full(len(start), 1.0472)
    return Branches(
        names=tuple(f"L{e + 1}" for e in range(len(start))),
        start=start,
        end=end,
        resistance=reactance * rng.uniform(0.1, 0.3, len(start)),
        reactance=reactance,
        start_shunt=shunt,
        end_shunt=shunt.copy(),
        rate=rate,
        tap=np.ones(len(start)),
        shift=np.zeros(len(start)),
        min_angle=-angle,
        max_angle=angle,
    )


def _tree(distance: Array) -> set[tuple[int, int]]:
    """The shortest network that connects all buses (Prim)."""
    count = len(distance)
    nearest, reach = np.zeros(count, int), distance[0].copy()
    outside = np.arange(count) > 0
    pairs = set()
    while outside.any():
        k = int(np.argmin(np.where(outside, reach, np.inf)))
        pairs.add((min(k, int(nearest[k])), max(k, int(nearest[k]))))
        outside[k] = False
        closer = distance[k] < reach
        nearest[closer], reach[closer] = k, distance[k][closer]
    return pairs


def _short_cuts(distance: Array, tree: set[tuple[int, int]], number: int) -> set[tuple[int, int]]:
    """The shortest connections that the tree does not have: they close the meshes."""
    start, end = np.triu_indices(len(distance), 1)
    order = np.argsort(distance[start, end], kind="stable")
    others = ((int(start[k]), int(end[k])) for k in order if (start[k], end[k]) not in tree)
    return set(islice(others, number))


def _linear_flows(start: Array, end: Array, susceptance: Array, surplus: Array) -> Array:
    """Flows ``(situations, branches)`` of balanced injections in the linear network, with bus 0 as reference."""
    count = surplus.shape[1]
    incidence = np.zeros((len(start), count))
    incidence[np.arange(len(start)), start] = 1.0
    incidence[np.arange(len(start)), end] = -1.0
    weighted = susceptance[:, None] * incidence
    angles = np.zeros_like(surplus)
    angles[:, 1:] = np.linalg.solve((incidence.T @ weighted)[1:, 1:], surplus[:, 1:].T).T
    flows: Array = angles @ weighted.T
    return flows

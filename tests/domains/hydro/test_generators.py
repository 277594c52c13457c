"""Generated systems: the same ones again, calibrated as they say, and always possible to operate."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.generators import CYCLE, SCENARIOS, SEASON, make_case
from interlock.domains.hydro.stage_program import LinearNetwork, linear_stage
from interlock.solvers.highs import Highs

SIZES = (1, 2, 3, 5, 11, 20, 100)


@pytest.fixture(scope="module")
def cases() -> dict[int, Case]:
    return {n: make_case(n, seed=0) for n in SIZES}


def depth(case: Case) -> int:
    """Most rivers in a row."""
    links = case.hydros.turbined_to.astype(int)
    return next(k for k in range(len(links) + 1) if not np.linalg.matrix_power(links, k + 1).any())


def own_mean(case: Case) -> Array:
    mean: Array = case.inflows.mean(axis=(0, 1))
    return mean


def through(case: Case) -> Array:
    """Mean flow through each plant, its own inflow and all that comes from above: followed drop by drop."""
    flow = np.zeros(len(case.hydros.names))
    for plant, inflow in enumerate(own_mean(case)):
        here: int | None = plant
        while here is not None:
            flow[here] += inflow
            below = np.flatnonzero(case.hydros.turbined_to[here])
            here = int(below[0]) if below.size else None
    return flow


def test_the_same_numbers_give_the_same_system() -> None:
    assert make_case(7, 2).hash == make_case(7, 2).hash
    assert len({make_case(7, seed).hash for seed in range(5)} | {make_case(8, 0).hash}) == 6


@pytest.mark.parametrize("n", SIZES)
def test_capacities(cases: dict[int, Case], n: int) -> None:
    case = cases[n]
    hydros, load = case.hydros, case.buses.load.sum()
    assert hydros.production @ hydros.max_turbine / load == pytest.approx(0.88)
    residual = load - hydros.production @ through(case)
    assert case.thermals.max_power.sum() / residual == pytest.approx(2.0)
    assert case.thermals.cost.min() == 14
    assert case.thermals.cost.max() == 42
    assert (np.diff(case.thermals.cost) >= 0).all()
    assert case.deficit_cost == 60
    assert len(hydros.names) == n


@pytest.mark.parametrize("n", SIZES)
def test_reservoirs(cases: dict[int, Case], n: int) -> None:
    case = cases[n]
    weeks = case.hydros.max_volume / (own_mean(case) * case.flow_to_volume)
    seasonal = weeks > 1
    assert weeks[seasonal] == pytest.approx(31.0)
    assert ((weeks[~seasonal] >= 0.02) & (weeks[~seasonal] <= 0.3)).all()
    assert seasonal[0]
    sizes = np.diff([*np.flatnonzero(seasonal), n])
    assert set(sizes.tolist()) <= ({3, 4} if n >= 6 else {n, 1, 2, 3})
    assert not case.hydros.turbined_to[:, seasonal].any()


def test_cascades(cases: dict[int, Case]) -> None:
    for n in (20, 100):
        assert depth(cases[n]) >= 2
    for case in cases.values():
        turbined, spilled = case.hydros.turbined_to, case.hydros.spilled_to
        assert not (spilled & ~turbined).any()
        assert turbined.sum(axis=1).max(initial=0) <= 1
    assert (cases[100].hydros.turbined_to & ~cases[100].hydros.spilled_to).any()


def test_inflows(cases: dict[int, Case]) -> None:
    case = cases[100]
    assert case.inflows.shape == (CYCLE, SCENARIOS, 100) == (48, 15, 100)
    assert (case.inflows > 0).all()
    variation = case.inflows.std(axis=1) / case.inflows.mean(axis=1)
    assert 0.1 < variation.mean() < 0.46
    season = case.inflows.mean(axis=1) / own_mean(case)
    profile = season.mean(axis=1).reshape(12, 4).mean(axis=1)
    assert profile == pytest.approx(np.array(SEASON) / np.mean(SEASON), abs=0.12)
    logs = np.log(case.inflows / case.inflows.mean(axis=1, keepdims=True))
    within = np.corrcoef(logs.reshape(-1, 100).T)
    links = np.argwhere(case.hydros.turbined_to)
    assert np.mean([within[a, b] for a, b in links]) == pytest.approx(0.8, abs=0.06)
    memory = [np.corrcoef(logs[:-1, :, r].ravel(), logs[1:, :, r].ravel())[0, 1] for r in range(100)]
    assert np.mean(memory) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("n", SIZES)
def test_the_network_is_meshed_and_in_one_piece(cases: dict[int, Case], n: int) -> None:
    case = cases[n]
    count = len(case.buses.names)
    graph = np.zeros((count, count))
    graph[case.branches.start, case.branches.end] = 1
    assert connected_components(graph, directed=False)[0] == 1
    assert len(case.branches.names) >= count
    assert case.buses.reference.sum() == 1
    assert (case.branches.rate > 0).all()
    assert (case.branches.start != case.branches.end).all()


def cost_rate(case: Case, network: LinearNetwork, stage: int, volume: Array, inflow: Array) -> float:
    """$/h of the cheapest dispatch that does not care what water is left."""
    linear = linear_stage(case, network, stage)
    lower, upper = linear.program.row_lower.copy(), linear.program.row_upper.copy()
    lower[linear.rows] = upper[linear.rows] = linear.right_hand_side(volume, inflow)
    solved = Highs().solve(replace(linear.program, row_lower=lower, row_upper=upper))
    assert solved.status == "optimal"
    return solved.objective


@pytest.mark.parametrize("n", [1, 3, 11, 20])
def test_every_stage_can_be_dispatched_whatever_the_water(cases: dict[int, Case], n: int) -> None:
    case = cases[n]
    rng = np.random.default_rng(n)
    for share in (0.0, 0.0, 0.3, 1.0, 1.0):
        inflow = rng.choice([0.0, 1.0, 5.0]) * case.inflows[rng.integers(48), rng.integers(15)]
        assert cost_rate(case, "dc", 0, share * case.hydros.max_volume, inflow) > 0


def test_limits_of_branches_bind_sometimes(cases: dict[int, Case]) -> None:
    """The network costs something, but not most of the bill; over 20 stages of the cycle on little water."""
    case = cases[20]
    volume = 0.1 * case.hydros.max_volume
    cost = {
        network: [cost_rate(case, network, t, volume, case.inflows[2 * t, t % 15]) for t in range(20)]
        for network in ("bus1", "dc")
    }
    extra = np.array(cost["dc"]) / np.array(cost["bus1"]) - 1
    assert 0.01 < extra.mean() < 0.1
    assert extra.min() < 0.5 * extra.max()

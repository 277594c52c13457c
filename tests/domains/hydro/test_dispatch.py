"""Stage problem and dispatch: check values of the Bolivian system, and two ways to the same optimum and prices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interlock.core.errors import StageInfeasible
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.dispatch import LinearDispatch, islands, open_dispatch, transfer_factors
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.stage_program import linear_stage
from interlock.domains.hydro.userdata import read_case
from interlock.domains.hydro.water import reachable, water_of
from interlock.solvers.highs import Highs
from interlock.solvers.pivots import Pivots

HORIZON = 12


@pytest.fixture(scope="module")
def bolivia() -> Case:
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "hydro" / "bolivia"
    if not folder.is_dir():
        pytest.skip("no Bolivian data in shared/data/hydro beside the checkout")
    return read_case(folder)[0]


def random_stages(case: Case, count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Stages, incoming volumes, inflows and reachable end volumes."""
    rng = np.random.default_rng(seed)
    hydros = case.hydros
    stage = rng.integers(HORIZON, size=count)
    volume = hydros.min_volume + rng.random((count, len(hydros.names))) * (hydros.max_volume - hydros.min_volume)
    inflow = case.inflows[stage % case.cycle, rng.integers(case.inflows.shape[1], size=count)]
    target = reachable(np, water_of(case), 2.0 * rng.normal(size=volume.shape), volume, inflow)
    return stage, volume, inflow, target


@pytest.mark.parametrize(("network", "cost"), [("bus1", 8287.668), ("dc", 11672.924774)])
def test_empty_and_dry_bolivia_costs_what_is_known(bolivia: Case, network: str, cost: float) -> None:
    program = linear_stage(bolivia, network, 0).program
    assert Highs().solve(program).objective == pytest.approx(cost, rel=1e-9)
    nothing = np.zeros((1, 11))
    dispatched = open_dispatch(bolivia, network, 1).solve(np.zeros(1, int), nothing, nothing, nothing)
    assert dispatched.cost[0] == pytest.approx(cost, rel=1e-9)


def systems(bolivia: Case) -> list[Case]:
    return [bolivia, make_case(6, seed=1), make_case(12, seed=2)]


@pytest.mark.parametrize("network", ["bus1", "dc"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_dispatch_equals_the_stage_program(bolivia: Case, network: str, which: int) -> None:
    case = systems(bolivia)[which]
    stage, volume, inflow, target = random_stages(case, 80, which)
    batch = LinearDispatch(case, network, HORIZON).solve(stage, volume, inflow, target)
    plants = len(case.hydros.names)
    session = None
    for k in range(len(stage)):
        full = linear_stage(case, network, int(stage[k]))
        session = Highs().open(full.program)
        right = full.right_hand_side(volume[k], inflow[k])
        session.change_rows(full.rows, right, right)
        session.change_columns(full.state, target[k], target[k])
        solution = session.solve()
        assert solution.objective == pytest.approx(batch.cost[k], rel=1e-9)
        assert full.signals[0] @ solution.x == pytest.approx(batch.signals[k, 0], abs=1e-6)
    assert batch.spilled.min() >= -1e-9
    received = volume + case.flow_to_volume * (inflow + batch.turbined @ case.hydros.turbined_to)
    received += batch.spilled @ case.hydros.spilled_to
    left = received - case.flow_to_volume * batch.turbined - batch.spilled
    np.testing.assert_allclose(left, target, atol=1e-9)
    assert batch.turbined.shape == (80, plants)


def test_a_large_system_has_the_cost_and_the_prices_of_the_solver() -> None:
    """100 plants: cost of the stage program, and beside it those of other volumes, which prices undercut or meet."""
    case, count = make_case(100, seed=1), 6
    rng = np.random.default_rng(0)
    _, volume, inflow, target = random_stages(case, count, 3)
    target *= 0.9  # off the edge of what can be reached, so that there is something on either side
    dispatch = LinearDispatch(case, "dc", HORIZON)
    assert isinstance(dispatch.family, Pivots)
    batch = dispatch.solve(np.zeros(count, int), volume, inflow, target)
    assert dispatch.family.left == 0
    full = linear_stage(case, "dc", 0)
    session = Highs().open(full.program)

    def cost(before: np.ndarray, inflow: np.ndarray, after: np.ndarray) -> float:
        right = full.right_hand_side(before, inflow)
        session.change_rows(full.rows, right, right)
        session.change_columns(full.state, after, after)
        solution = session.solve()
        assert solution.objective is not None
        return solution.objective

    for k in range(count):
        here = cost(volume[k], inflow[k], target[k])
        assert batch.cost[k] == pytest.approx(here, rel=1e-9)
        move, after = 1e-3 * case.hydros.max_volume * rng.random((2, len(case.hydros.names)))
        slope = batch.state_price[k] @ move + batch.target_price[k] @ after
        there = cost(volume[k] + move, inflow[k], target[k] + after)
        back = cost(volume[k] - move, inflow[k], target[k] - after)
        assert here - back <= slope + 1e-6 * abs(slope), "costs are convex in volumes"
        assert slope <= there - here + 1e-6 * abs(slope)
        assert there - here == pytest.approx(slope, rel=0.2), "and so small a move passes few kinks"


@pytest.mark.parametrize("network", ["bus1", "dc"])
def test_prices_are_derivatives(bolivia: Case, network: str) -> None:
    """At least 50 places without a kink, where both one-sided differences agree."""
    step, smooth = 1e-4, 0
    stage, volume, inflow, target = random_stages(bolivia, 60, 7)
    dispatch = LinearDispatch(bolivia, network, HORIZON)
    here = dispatch.solve(stage, volume, inflow, target)
    for plant in range(volume.shape[1]):
        move = np.zeros(volume.shape[1])
        move[plant] = step
        up = dispatch.solve(stage, volume + move, inflow, target).cost
        deeper = volume - move - 1e-12
        possible = (deeper[:, plant] + bolivia.flow_to_volume * inflow[:, plant] - target[:, plant]) > 1e-9
        possible &= ~np.any((bolivia.hydros.turbined_to | bolivia.hydros.spilled_to)[plant])
        rows = np.flatnonzero(possible)
        if rows.size == 0:
            continue
        down = dispatch.solve(stage[rows], volume[rows] - move, inflow[rows], target[rows]).cost
        right, left = (up[rows] - here.cost[rows]) / step, (here.cost[rows] - down) / step
        same = np.abs(right - left) <= 1e-6 * np.maximum(1.0, np.abs(right))
        both = (right + left)[same] / 2
        np.testing.assert_allclose(here.state_price[rows][same, plant], both, rtol=1e-4, atol=1e-4)
        smooth += int(same.sum())
        lower, higher = np.minimum(left, right) - 1e-5, np.maximum(left, right) + 1e-5
        price = here.state_price[rows, plant]
        assert ((lower <= price) & (price <= higher)).all(), "at a kink any price between the two is right"
    assert smooth >= 50


def test_multipliers_price_the_deficit(bolivia: Case) -> None:
    nothing = np.zeros((1, 11))
    dispatch = open_dispatch(bolivia, "dc", 1)
    stage = np.zeros(1, int)
    plain = dispatch.solve(stage, nothing, nothing, nothing)
    priced = dispatch.solve(stage, nothing, nothing, nothing, np.array([40.0]))
    assert priced.cost[0] == pytest.approx(plain.cost[0], rel=1e-9), "the deficit is dearest already"
    assert priced.nodal_price.max() == pytest.approx(plain.nodal_price.max() + 40.0, rel=1e-6)
    again = dispatch.solve(stage, nothing, nothing, nothing)
    np.testing.assert_allclose(again.nodal_price, plain.nodal_price, atol=1e-7)


def test_transfer_factors_are_the_flows_of_the_linear_model(bolivia: Case) -> None:
    factors, _, _ = transfer_factors(bolivia)
    rng = np.random.default_rng(0)
    injected = rng.normal(size=28)
    injected -= injected.mean()
    branches = bolivia.branches
    laplacian = np.zeros((28, 28))
    for start, end, stiff in zip(branches.start, branches.end, branches.susceptance * bolivia.base, strict=True):
        laplacian[[start, end], [start, end]] += stiff
        laplacian[start, end] -= stiff
        laplacian[end, start] -= stiff
    angle = np.linalg.lstsq(laplacian, injected, rcond=None)[0]
    flow = branches.susceptance * bolivia.base * (angle[branches.start] - angle[branches.end])
    np.testing.assert_allclose(factors @ injected, flow, atol=1e-9)
    assert islands(bolivia).sum() == 28


def test_a_target_out_of_reach_is_told(bolivia: Case) -> None:
    volume = np.zeros((2, 11))
    target = np.zeros((2, 11))
    target[1, 1] = 50.0
    with pytest.raises(StageInfeasible, match=r"stage 4.*50"):
        open_dispatch(bolivia, "dc", 6).solve(np.array([2, 3]), volume, volume, target)


def test_flow_against_the_direction_of_a_tight_angle_is_free(bolivia: Case) -> None:
    """A limit of the angle on one side leaves the other side as it was."""
    branches = bolivia.branches
    tight = replace(bolivia, branches=replace(branches, max_angle=np.full(31, 1e-4)))
    stage, volume, inflow, target = random_stages(bolivia, 40, 5)
    batch = LinearDispatch(tight, "dc", HORIZON).solve(stage, volume, inflow, target)
    injected = batch.deficit - bolivia.buses.load
    np.add.at(injected.T, bolivia.hydros.bus, (bolivia.hydros.production * batch.turbined).T)
    np.add.at(injected.T, bolivia.thermals.bus, batch.thermal.T)
    flow = injected @ transfer_factors(bolivia)[0].T
    assert (flow <= np.minimum(branches.rate, 1e-4 * branches.susceptance * bolivia.base) + 1e-6).all()
    assert flow.min() < -5.0
    for k in range(len(stage)):
        full = linear_stage(tight, "dc", int(stage[k]))
        session = Highs().open(full.program)
        right = full.right_hand_side(volume[k], inflow[k])
        session.change_rows(full.rows, right, right)
        session.change_columns(full.state, target[k], target[k])
        assert session.solve().objective == pytest.approx(batch.cost[k], rel=1e-9)

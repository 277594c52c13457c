"""Dispatch on the alternating-current network and its relaxation, against answers found another way."""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cvxpy
import numpy as np
import pytest
from scipy.optimize import brentq, linprog

from interlock.core.errors import MissingExtra, StageInfeasible
from interlock.domains.hydro.case import Branches, Buses, Case, Hydros, Thermals
from interlock.domains.hydro.dispatch import open_dispatch
from interlock.domains.hydro.dispatch_ac import AcDispatch
from interlock.domains.hydro.dispatch_soc import SocDispatch
from interlock.domains.hydro.power_flow import branch_powers, bus_powers, reactive_range
from interlock.domains.hydro.stage_program import linear_stage
from interlock.domains.hydro.toy import toy_case
from interlock.domains.hydro.userdata import read_case
from interlock.domains.hydro.water import reachable, water_of

HORIZON = 60


@pytest.fixture(scope="module")
def bolivia(root) -> Case:
    folder = root.parent / "shared" / "data" / "hydro" / "bolivia"
    if not folder.is_dir():
        pytest.skip(f"no data in {folder.relative_to(root.parent)} beside the checkout")
    return read_case(folder)[0]


@pytest.fixture(scope="module")
def ac(bolivia) -> AcDispatch:
    return AcDispatch(bolivia, HORIZON)


@pytest.fixture(scope="module")
def soc(bolivia) -> SocDispatch:
    return SocDispatch(bolivia, HORIZON)


def two_buses(*, capacity: float = 200.0, rate: float = 500.0) -> Case:
    """Hydro (2 MW per m3/s, 5 $/MWh) and a thermal unit (30 $/MWh) feed 100 MW and 20 MVAr at the other end."""
    return Case(
        name="two",
        stage_hours=10.0,
        deficit_cost=80.0,
        base=100.0,
        hydros=Hydros(
            ("H",), np.array([0]), np.array([0.0]), np.array([1.0]), np.array([0.5]), np.array([0.0]), np.array([20.0]),
            np.array([2.0]), np.array([-np.inf]), np.array([np.inf]), np.array([5.0]), np.zeros((1, 1), bool),
            np.zeros((1, 1), bool),
        ),
        thermals=Thermals(
            ("G",), np.array([0]), np.array([0.0]), np.array([capacity]), np.array([-300.0]), np.array([300.0]),
            np.array([30.0]),
        ),
        buses=Buses(
            ("here", "there"), np.array([True, False]), np.full(2, 0.9), np.full(2, 1.1), np.array([0.0, 100.0]),
            np.array([0.0, 20.0]),
        ),
        branches=Branches(
            ("line",), np.array([0]), np.array([1]), np.array([0.03]), np.array([0.1]), np.zeros(1, complex),
            np.zeros(1, complex), np.array([rate]), np.ones(1), np.zeros(1), np.array([-1.0]), np.array([1.0]),
        ),
        inflows=np.full((1, 1, 1), 10.0),
        probabilities=np.ones((1, 1)),
    )  # fmt: skip


def lost(power: float, reactive: float = 0.2, resistance: float = 0.03, reactance: float = 0.1) -> float:
    """Losses of a line that delivers ``power + j reactive`` from a bus at 1.1 per unit: the voltage quadratic."""
    half = 2 * (resistance * power + reactance * reactive) - 1.1**2
    apparent = power**2 + reactive**2
    squared = (-half + np.sqrt(half**2 - 4 * (resistance**2 + reactance**2) * apparent)) / 2
    return float(resistance * apparent / squared)


def one(dispatch, target, *, volume=0.5, inflow=10.0, multipliers=None):
    """The dispatch of one stage of a system with one plant."""
    columns = (np.array([[number]]) for number in (volume, inflow, target))
    return dispatch.solve(np.zeros(1, int), *columns, multipliers)


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
def test_two_buses_against_the_voltage_quadratic(network):
    """Losses are least at the highest voltage, and the relaxation of a network without circles is tight."""
    found = one(network(two_buses(), 1), 0.5)  # inflow only: 10 m3/s give 20 MW
    generated = 100.0 * (1.0 + lost(1.0))
    slope = (lost(1.0 + 1e-5) - lost(1.0 - 1e-5)) / 2e-5
    assert found.cost[0] == pytest.approx(5 * 20 + 30 * (generated - 20), rel=1e-6)
    assert found.nodal_price[0] == pytest.approx([30.0, 30.0 * (1 + slope)], rel=1e-5)
    assert found.state_price[0, 0] == pytest.approx(-(30 - 5) * 2 / 0.036, rel=1e-5)
    assert found.target_price[0, 0] == pytest.approx((30 - 5) * 2 / 0.036, rel=1e-5)


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
@pytest.mark.parametrize(("limit", "sent"), [(10.0, 0.1), (0.0, 0.2), (-5.0, 0.25)])
def test_a_plant_at_its_reactive_limit_leaves_the_rest_to_the_line(network, limit, sent):
    """The plant stands where the load is; what it may not give of 20 MVAr comes over the line, and costs losses."""
    case = two_buses()
    hydros = replace(case.hydros, bus=np.array([1]))
    found = one(network(replace(case, hydros=replace(hydros, max_reactive=np.array([limit]))), 1), 0.5)
    generated = 100.0 * (0.8 + lost(0.8, sent))  # 20 MW stand there already
    assert found.cost[0] == pytest.approx(5 * 20 + 30 * generated, rel=1e-6)
    free = one(network(replace(case, hydros=hydros), 1), 0.5)
    assert free.cost[0] < found.cost[0] - 0.1


def test_reactive_limits_of_the_plants_at_a_bus_add_up():
    case = two_buses()
    hydros = replace(case.hydros, min_reactive=np.array([-7.0]), max_reactive=np.array([11.0]))
    limited = replace(case, hydros=hydros)
    assert [part.tolist() for part in reactive_range(limited, 0)] == [[-307.0, 0.0], [311.0, 0.0]]
    without = replace(limited, outages=((0, 2, 2),))
    assert [part.tolist() for part in reactive_range(without, 1)] == [[-7.0, 0.0], [11.0, 0.0]]
    assert [part.tolist() for part in reactive_range(case, 0)] == [[-np.inf, 0.0], [np.inf, 0.0]]


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
def test_missing_power_has_the_price_of_deficit(network):
    """60 MW can be generated: what arrives solves ``p + lost(p) = 0.6``; the rest is deficit at its price."""
    arriving = 100.0 * brentq(lambda power: power + lost(power) - 0.6, 0.1, 0.6)
    dispatch = network(two_buses(capacity=40.0), 1)
    found = one(dispatch, 0.5)
    assert found.deficit[0] == pytest.approx([0.0, 100.0 - arriving], abs=1e-4)
    assert found.signals[0, 0] == pytest.approx(100.0 - arriving, abs=1e-4)
    dearer = one(dispatch, 0.5, multipliers=np.array([15.0]))
    assert found.nodal_price[0, 1] == pytest.approx(80.0, rel=1e-6)
    assert dearer.nodal_price[0, 1] == pytest.approx(95.0, rel=1e-6)
    assert dearer.cost == pytest.approx(found.cost, rel=1e-6)


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
def test_apparent_power_is_limited_where_it_enters(network):
    """With the limit of the line in use, sent power and its losses make up the limit exactly."""
    limit = 0.7

    def sent(power: float) -> float:
        losses = lost(power)
        return float(np.hypot(power + losses, 0.2 + losses * 0.1 / 0.03))

    arriving = 100.0 * brentq(lambda power: sent(power) - limit, 0.1, 0.69)
    found = one(network(two_buses(rate=100 * limit), 1), 0.5)
    assert found.deficit[0, 1] == pytest.approx(100.0 - arriving, abs=1e-3)


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
def test_water_that_must_be_kept_has_the_price_of_a_little_more(network):
    """At the edge of its reach less water is infeasible; the price is that of more, not an endless one."""
    found = one(network(two_buses(), 1), 0.86)
    assert found.turbined[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert found.state_price[0, 0] == pytest.approx(-(30 - 5) * 2 / 0.036, rel=1e-3)


def test_terminal_value_is_earned_in_the_last_stage_only():
    case = replace(two_buses(), terminal_value=np.array([7.0]))
    dispatch = AcDispatch(case, 2)
    worth = 7.0 / case.stage_hours  # money per hm3, in the unit of costs
    two = np.array([[0.5], [0.5]])
    found = dispatch.solve(np.array([0, 1]), two, np.full((2, 1), 10.0), two)
    assert found.cost[0] - found.cost[1] == pytest.approx(0.5 * worth)
    assert found.target_price[0, 0] - found.target_price[1, 0] == pytest.approx(worth)


def test_branch_powers_against_kirchhoff():
    """Two-port of the pi model with a transformer, from its currents one element after the other."""
    rng = np.random.default_rng(3)
    case = toy_case()
    branches = replace(
        case.branches,
        tap=rng.uniform(0.9, 1.1, 3),
        shift=rng.uniform(-0.3, 0.3, 3),
        start_shunt=rng.uniform(0, 0.2, 3) + 1j * rng.uniform(0, 0.3, 3),
    )
    case = replace(case, branches=branches)
    voltage = rng.uniform(0.9, 1.1, 3) * np.exp(1j * rng.uniform(-0.5, 0.5, 3))
    at_start, at_end = branch_powers(case, voltage)
    total = np.zeros(3, complex)
    for k, (i, j) in enumerate(zip(branches.start, branches.end, strict=True)):
        ratio = branches.tap[k] * np.exp(1j * branches.shift[k])
        behind = voltage[i] / ratio
        series = (behind - voltage[j]) / (branches.resistance[k] + 1j * branches.reactance[k])
        current = series + behind * branches.start_shunt[k]
        entering = behind * current.conjugate()  # an ideal transformer keeps power
        leaving = voltage[j] * (-series + voltage[j] * branches.end_shunt[k]).conjugate()
        assert at_start[k] == pytest.approx(100 * entering)
        assert at_end[k] == pytest.approx(100 * leaving)
        total[i] += 100 * entering
        total[j] += 100 * leaving
    assert bus_powers(case, voltage) == pytest.approx(total)


def random_stages(case: Case, count: int, seed: int = 0):
    """Stages, volumes, inflows and reachable targets of random operation."""
    rng = np.random.default_rng(seed)
    plants = len(case.hydros.names)
    stage = rng.integers(0, HORIZON, count)
    volume = rng.uniform(0, 1, (count, plants)) * case.hydros.max_volume
    inflow = case.inflows[stage % case.cycle, rng.integers(0, case.inflows.shape[1], count)]
    return stage, volume, inflow, reachable(np, water_of(case), rng.normal(0, 1.5, (count, plants)), volume, inflow)


def test_every_solution_balances_and_keeps_all_limits(bolivia, ac):
    """Voltages alone tell the power flow, in complex numbers; generation and load must be what it needs."""
    buses, branches, hydros = bolivia.buses, bolivia.branches, bolivia.hydros
    plants_at = np.zeros(len(buses.names), bool)
    plants_at[hydros.bus] = plants_at[bolivia.thermals.bus] = True
    stages, volumes, inflows, targets = random_stages(bolivia, 25)
    batch = ac.solve(stages, volumes, inflows, targets)
    for row in range(len(stages)):
        answer = ac.operate(int(stages[row]), volumes[row], inflows[row], targets[row])
        flow = bus_powers(bolivia, answer.voltage)
        given = np.zeros(len(buses.names))
        np.add.at(given, hydros.bus, hydros.production * batch.turbined[row])
        np.add.at(given, bolivia.thermals.bus, batch.thermal[row])
        np.testing.assert_allclose(given + batch.deficit[row] - buses.load, flow.real, atol=1e-4)
        np.testing.assert_allclose(-buses.reactive_load[~plants_at], flow.imag[~plants_at], atol=1e-4)
        magnitude, angle = np.abs(answer.voltage), np.angle(answer.voltage)
        assert (magnitude > buses.min_voltage - 1e-6).all()
        assert (magnitude < buses.max_voltage + 1e-6).all()
        for entering in branch_powers(bolivia, answer.voltage):
            assert (np.abs(entering) < branches.rate + 1e-3).all()
        difference = angle[branches.start] - angle[branches.end]
        assert ((difference > branches.min_angle) & (difference < branches.max_angle)).all()
    received = 0.6048 * batch.turbined @ hydros.turbined_to + batch.spilled @ hydros.spilled_to
    released = 0.6048 * batch.turbined + batch.spilled
    np.testing.assert_allclose(volumes + 0.6048 * inflows + received - released, targets, atol=1e-6)
    assert batch.spilled.min() > -1e-6


def test_bus1_below_soc_below_ac(bolivia, ac, soc):
    """One bus has no losses, the relaxation forgets angles: both may only be cheaper."""
    stages, volumes, inflows, targets = random_stages(bolivia, 15, seed=1)
    dearest = ac.solve(stages, volumes, inflows, targets).cost
    relaxed = soc.solve(stages, volumes, inflows, targets).cost
    cheapest = np.array([one_bus(bolivia, *row) for row in zip(stages, volumes, inflows, targets, strict=True)])
    assert (relaxed <= dearest * (1 + 1e-6)).all()
    assert (relaxed >= cheapest).all()
    assert (dearest / relaxed).max() < 1.02


def one_bus(case: Case, stage, volume, inflow, target) -> float:
    """Cost of the linear program of one bus with its end volumes fixed."""
    linear = linear_stage(case, "bus1", int(stage))
    program = linear.program
    matrix = np.zeros((len(program.row_names), len(program.column_names)))
    for row in range(len(matrix)):
        here = slice(program.starts[row], program.starts[row + 1])
        matrix[row, program.columns[here]] = program.values[here]
    right = program.row_upper.copy()
    right[linear.rows] = linear.right_hand_side(volume, inflow)
    lower, upper = program.lower.copy(), program.upper.copy()
    lower[linear.state] = upper[linear.state] = target
    return linprog(program.cost, A_eq=matrix, b_eq=right, bounds=np.stack([lower, upper], axis=1)).fun


@pytest.mark.parametrize("network", ["ac", "soc"])
def test_prices_against_two_sided_differences(bolivia, network, request):
    """Where cost has no kink the price is its slope; elsewhere it lies between the slopes of the two sides."""
    dispatch = request.getfixturevalue(network)
    stages, volumes, inflows, targets = random_stages(bolivia, 12, seed=2)
    batch = dispatch.solve(stages, volumes, inflows, targets)
    step, smooth = 2e-3, 0
    for plant in np.flatnonzero(bolivia.hydros.max_volume > 1):
        free = (batch.turbined[:, plant] > 0.01) | (batch.spilled[:, plant] > 0.01)
        rows = np.flatnonzero(free)
        moved = np.zeros_like(volumes[rows])
        moved[:, plant] = step
        base = (stages[rows], volumes[rows], inflows[rows])
        less = dispatch.solve(*base, targets[rows] - moved).cost
        more = dispatch.solve(*base, targets[rows] + moved).cost
        left, right = (batch.cost[rows] - less) / step, (more - batch.cost[rows]) / step
        price = batch.target_price[rows, plant]
        kink = np.abs(right - left) > 1e-3 * np.abs(right) + 0.05
        np.testing.assert_allclose(price[~kink], ((left + right) / 2)[~kink], rtol=2e-4, atol=0.03)
        assert (price[kink] >= left[kink] - 0.05).all()
        assert (price[kink] <= right[kink] + 0.05).all()
        smooth += int((~kink).sum())
        np.testing.assert_array_equal(batch.state_price[rows, plant], -price)
    assert smooth >= 40


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
def test_nodal_prices_against_more_load(bolivia, network):
    stages, volumes, inflows, targets = random_stages(bolivia, 3, seed=4)
    price = network(bolivia, HORIZON).solve(stages, volumes, inflows, targets).nodal_price
    for bus in (0, 16, 25):
        cost = []
        for extra in (-0.05, 0.05):
            load = bolivia.buses.load.copy()
            load[bus] += extra
            case = replace(bolivia, buses=replace(bolivia.buses, load=load))
            cost.append(network(case, HORIZON).solve(stages, volumes, inflows, targets).cost)
        np.testing.assert_allclose(price[:, bus], (cost[1] - cost[0]) / 0.1, rtol=2e-3)


def test_relaxation_against_hermitian_matrices():
    """The same relaxation of three buses on a circle, stated with complex products in another modelling language."""
    case = toy_case()
    release = 0.1
    found = one(SocDispatch(case, 1), 0.0, volume=release, inflow=0.0)
    branches, buses = case.branches, case.buses
    square = cvxpy.Variable(3)
    product = cvxpy.Variable(3, complex=True)
    turbined, thermal, missing = (cvxpy.Variable(size, nonneg=True) for size in (1, 2, 1))
    reactive = cvxpy.Variable(3)
    rules = [square >= buses.min_voltage**2, square <= buses.max_voltage**2, turbined <= release / 0.0036]
    rules += [turbined <= 80, thermal <= case.thermals.max_power]
    power = [turbined[0] / 100, thermal[0] / 100, (thermal[1] + missing[0] - 100) / 100]
    sent = [0, 0, 0]
    for k, (i, j) in enumerate(zip(branches.start.tolist(), branches.end.tolist(), strict=True)):
        series = 1 / (branches.resistance[k] + 1j * branches.reactance[k])
        here = (series + branches.start_shunt[k]).conjugate() * square[i] - series.conjugate() * product[k]
        there = (series + branches.end_shunt[k]).conjugate() * square[j] - series.conjugate() * cvxpy.conj(product[k])
        sent[i], sent[j] = sent[i] + here, sent[j] + there
        rules += [cvxpy.abs(here) <= branches.rate[k] / 100, cvxpy.abs(there) <= branches.rate[k] / 100]
        ends = cvxpy.hstack([2 * cvxpy.real(product[k]), 2 * cvxpy.imag(product[k]), square[i] - square[j]])
        rules.append(cvxpy.norm(ends) <= square[i] + square[j])
        rules.append(cvxpy.abs(cvxpy.imag(product[k])) <= np.tan(1.0472) * cvxpy.real(product[k]))
    for bus in range(3):
        rules += [power[bus] == cvxpy.real(sent[bus]), reactive[bus] == cvxpy.imag(sent[bus])]
    cost = case.thermals.cost @ thermal + 1000 * missing[0]
    problem = cvxpy.Problem(cvxpy.Minimize(cost), rules)
    problem.solve(solver=cvxpy.CLARABEL)
    assert found.cost[0] == pytest.approx(problem.value, rel=1e-6)


def test_published_optimum_of_the_relaxed_toy():
    """12 stages of case3: HydroPowerModels.jl asserts 11637.76 +- 10 for its cone relaxation, trained by SDDP.

    The cost of a stage depends on the released water alone, so that dynamic programming on a grid of volumes of
    0.001 hm3 is enough; it comes out a little above, because targets between the grid's points are left out.
    """
    case = toy_case()
    steps = 289  # 0.288 hm3 is what the turbine takes in a stage
    none = np.zeros((steps, 1))
    flow = np.arange(steps)[:, None] / 1000 / case.flow_to_volume
    curve = open_dispatch(case, "soc", 12).solve(np.zeros(steps, int), none, flow, none).cost
    curve = np.concatenate([curve, np.full(2000, curve[-1])])
    volumes = np.arange(541)
    later = np.zeros(541)
    for t in reversed(range(12)):
        now = np.zeros(541)
        for probability, inflow in zip(case.probabilities[t], case.inflows[t, :, 0], strict=True):
            released = volumes[:, None] + round(3.6 * inflow) - volumes
            cost = np.where(released >= 0, curve[np.maximum(released, 0)] + later, np.inf)
            now += probability * cost.min(axis=1)
        later = now
    assert later[180] == pytest.approx(11637.76, abs=10.0)


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
def test_answers_do_not_depend_on_their_order(bolivia, network):
    stages, volumes, inflows, targets = random_stages(bolivia, 4, seed=5)
    dispatch = network(bolivia, HORIZON)
    forward = dispatch.solve(stages, volumes, inflows, targets)
    backward = dispatch.solve(stages[::-1], volumes[::-1], inflows[::-1], targets[::-1])
    np.testing.assert_allclose(forward.cost, backward.cost[::-1], rtol=1e-9)
    np.testing.assert_allclose(forward.target_price, backward.target_price[::-1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("network", [AcDispatch, SocDispatch])
def test_a_stage_out_of_reach_is_saved(network, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(StageInfeasible) as refused:
        one(network(replace(two_buses(), name="two/buses: A"), 1), 0.95)  # 0.5 + 0.36 hm3 are there
    assert Path(refused.value.saved).name.startswith("interlock-two-buses--A-stage-1-")
    assert refused.value.stage == 1
    assert refused.value.row == 0
    with open(refused.value.saved, encoding="utf-8") as file:
        saved = json.load(file)
    assert (saved["volume_hm3"], saved["inflow_m3s"], saved["target_hm3"]) == ([0.5], [10.0], [0.95])
    assert saved["numbers"]["load"] == [0.0, 100.0]


def test_without_casadi_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "casadi", None)
    with pytest.raises(MissingExtra, match="hydro-ac"):
        open_dispatch(two_buses(), "ac", 1)


def operated(case: Case, ac: AcDispatch, paths: int) -> tuple[int, float]:
    """Stages solved and deficit in MW if every plant keeps half of what it can, from empty reservoirs on."""
    rng = np.random.default_rng(6)
    volume = np.tile(case.hydros.initial_volume, (paths, 1))
    solved, missing = 0, 0.0
    for t in range(HORIZON):
        inflow = case.inflows[t % case.cycle, rng.integers(0, case.inflows.shape[1], paths)]
        target = reachable(np, water_of(case), np.zeros_like(volume), volume, inflow)
        batch = ac.solve(np.full(paths, t), volume, inflow, target)
        volume, solved, missing = target, solved + len(batch.cost), missing + batch.deficit.sum()
    return solved, missing


def test_a_year_of_bolivia_solves_without_deficit(bolivia, ac):
    solved, missing = operated(bolivia, ac, 1)
    assert solved == HORIZON
    assert missing < 1e-3


@pytest.mark.slow
def test_years_of_bolivia_solve_without_deficit(bolivia, ac):
    solved, missing = operated(bolivia, ac, 7)
    assert solved == 7 * HORIZON
    assert missing < 1e-3

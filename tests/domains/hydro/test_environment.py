"""The simulator against the stage program solved as it stands, and against sums made by hand."""

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pytest

from interlock.core.errors import BrokenEnvironment, StageInfeasible
from interlock.core.problem import Constraint
from interlock.domains.hydro.dispatch import open_dispatch
from interlock.domains.hydro.environment import HydroEnvironment, stored_share
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.metrics import METRICS
from interlock.domains.hydro.stage_program import linear_stage
from interlock.domains.hydro.toy import toy_case
from interlock.solvers.highs import Highs

EENS = Constraint("eens", "cumulative", 1.0, "% of load energy")
STORAGE = Constraint("storage", "chance", 0.1, "share of paths")


@pytest.fixture(autouse=True)
def saved_programs_stay_here(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def drawn(case, horizon):
    """Inflows that depend on seed and instance alone."""

    def paths(seed, first, count):
        picks = [
            np.random.default_rng([seed, k]).integers(case.inflows.shape[1], size=horizon)
            for k in range(first, first + count)
        ]
        return np.array([case.inflows[np.arange(horizon) % case.cycle, pick] for pick in picks])

    return paths


def simulator(case, rows, horizon=3, network="dc", paths=None, **changes):
    settings = {"horizon": horizon, "reported": None, "seed": 1, "split": "test", "constraints": (), **changes}
    settings["network"] = network
    dispatch = open_dispatch(case, network, horizon)
    return HydroEnvironment(case, dispatch, paths or drawn(case, horizon), rows, **settings)


def wish(environment, seed):
    """Volumes anywhere between the limits: most of them cannot be reached."""
    low, high = environment.case.hydros.min_volume, environment.case.hydros.max_volume
    return np.random.default_rng(seed).uniform(low, high, size=(environment.num_envs, len(low)))


def cost_of_stage(case, network, stage, volume, inflow, target):
    """The stage program of one row as it stands, its end volumes fixed."""
    linear = linear_stage(case, network, stage)
    level = linear.right_hand_side(volume, inflow)
    lower, upper = linear.program.lower.copy(), linear.program.upper.copy()
    row_lower, row_upper = linear.program.row_lower.copy(), linear.program.row_upper.copy()
    lower[linear.state] = upper[linear.state] = target
    row_lower[linear.rows] = row_upper[linear.rows] = level
    program = replace(linear.program, lower=lower, upper=upper, row_lower=row_lower, row_upper=row_upper)
    solution = Highs().solve(program)
    assert solution.status == "optimal"
    return solution.objective


@pytest.mark.parametrize("network", ["bus1", "dc"])
@pytest.mark.parametrize("case", [toy_case(), make_case(5, 0)], ids=["toy", "generated"])
def test_reward_is_minus_the_optimum_of_the_stage_program(case, network):
    environment = simulator(case, 4, network=network)
    view = environment.reset()
    for trial in range(2):
        before, step = view, environment.step(wish(environment, trial))
        view = step.observation
        for row in range(4):
            known = before["volume"][row], before["inflow"][row], view["volume"][row]
            assert step.reward[row] == pytest.approx(-cost_of_stage(case, network, trial, *known), rel=1e-8, abs=1e-5)


def test_two_hours_by_hand():
    """100 MW of load; 0.1 hm3 released in an hour are 27.78 MW; G1 for 20 $/MWh and G2 for 100 $/MWh do the rest."""
    case = toy_case()
    inflow = np.array([[[36.0], [0.0]]])
    environment = simulator(
        case, 1, horizon=2, network="bus1", paths=lambda seed, first, count: np.repeat(inflow, count, 0)
    )
    view = environment.reset()
    assert view["volume"].tolist() == [[0.18]]
    assert view["stage"].tolist() == [[0]]
    step = environment.step(np.array([[0.2]]))
    released = 0.18 + 0.0036 * 36.0 - 0.2
    assert step.reward[0] == pytest.approx(-20.0 * (100.0 - released / 0.0036), abs=1e-5)
    assert step.observation["volume"].tolist() == [[0.2]]
    assert step.observation["inflow"].tolist() == [[0.0]]
    assert not step.terminated[0]
    last = environment.step(np.array([[0.0]]))
    assert last.reward[0] == pytest.approx(-20.0 * (100.0 - 0.2 / 0.0036), abs=1e-5)
    assert last.terminated[0]
    assert last.observation["volume"].tolist() == [[0.18]]
    assert last.info["money"][0] == pytest.approx(-(step.reward[0] + last.reward[0]))


def test_what_cannot_be_reached_is_moved_and_told():
    case = toy_case()
    empty = simulator(case, 1, horizon=2, paths=lambda seed, first, count: np.zeros((count, 2, 1)))
    step = empty.step(np.array([[0.54]]))
    assert step.observation["volume"][0, 0] == pytest.approx(0.18)
    assert step.info["clipped_hm3"][0] == pytest.approx(0.54 - 0.18)


def test_metrics_are_sums_of_what_the_dispatch_says():
    case, horizon = make_case(6, 1), 8
    environment = simulator(case, 3, horizon=horizon, reported=5)
    again = open_dispatch(case, "dc", horizon)
    view, batches = environment.reset(), []
    for trial in range(horizon - 1):
        volume, inflow = view["volume"], view["inflow"]
        step = environment.step(wish(environment, trial))
        view = step.observation
        batches.append(again.solve(np.full(3, trial), volume, inflow, view["volume"]))
        assert -step.reward == pytest.approx(batches[-1].cost, abs=1e-5)
    info, missing = step.info, np.array([batch.deficit.sum(axis=1) for batch in batches])
    load = sum(case.load(t).sum() for t in range(horizon))
    assert info["money"] == pytest.approx(case.stage_hours * sum(batch.cost for batch in batches))
    assert info["cost_rate_reported"] == pytest.approx(sum(batch.cost for batch in batches[:5]))
    assert info["deficit_energy_mwh"] == pytest.approx(case.stage_hours * missing.sum(axis=0))
    assert info["eens_percent"] == pytest.approx(100.0 * missing.sum(axis=0) / load)
    assert info["stages_with_deficit"] == pytest.approx((missing > 1e-4).sum(axis=0))
    assert info["spill_hm3"] == pytest.approx(sum(batch.spilled.sum(axis=1) for batch in batches))
    assert (info["water_balance_residual"] < 1e-9).all()
    assert set(info) == {"instance", *(metric.name for metric in METRICS)}


def test_unserved_energy_and_short_storage_are_costs():
    """Without water and thermal units nothing of the 100 MW is served; the reservoir stays at a third, 17 % short."""
    case = toy_case()
    case = replace(case, thermals=replace(case.thermals, max_power=np.zeros(2)))
    environment = simulator(
        case,
        1,
        horizon=4,
        paths=lambda seed, first, count: np.zeros((count, 4, 1)),
        constraints=(EENS, STORAGE),
        storage=(2, 0.5),
    )
    costs = [environment.step(np.array([[0.54]])) for _ in range(4)]
    assert [step.cost[0, 0] for step in costs] == pytest.approx([25.0] * 4)
    assert [step.cost[0, 1] for step in costs] == pytest.approx([0.0, 0.0, 100.0 * (0.5 - 0.18 / 0.54), 0.0])
    assert costs[-1].info["eens_percent"][0] == pytest.approx(100.0)
    assert costs[-1].info["stages_with_deficit"][0] == 4
    assert costs[-1].info["deficit_energy_mwh"][0] == pytest.approx(400.0)


def test_only_the_constraints_of_the_scenario_have_columns():
    assert simulator(toy_case(), 2).step(np.zeros((2, 1))).cost.shape == (2, 0)
    only = simulator(toy_case(), 2, constraints=(STORAGE,), storage=(0, 1.0)).step(np.zeros((2, 1)))
    assert only.cost.shape == (2, 1)
    assert (only.cost > 0).all()


def test_stored_share_weighs_volumes_with_production():
    case = make_case(4, 0)
    hydros = case.hydros
    half = hydros.max_volume * 0.5
    assert stored_share(case, hydros.max_volume) == pytest.approx(1.0)
    assert stored_share(case, np.array([half, 0.0 * half])) == pytest.approx([0.5, 0.0])


def test_a_system_without_reservoirs_is_as_full_as_can_be():
    case = toy_case()
    empty = replace(case, hydros=replace(case.hydros, max_volume=np.zeros(1), initial_volume=np.zeros(1)))
    assert stored_share(empty, np.zeros((3, 1))).tolist() == [1.0, 1.0, 1.0]
    step = simulator(empty, 2, constraints=(STORAGE,), storage=(0, 1.0)).step(np.zeros((2, 1)))
    assert step.cost.tolist() == [[0.0], [0.0]]


def test_every_instance_is_played_once_in_order_and_repeats():
    case = make_case(3, 0)
    seen = {}
    for rows in (2, 5):
        environment, told = simulator(case, rows), []
        environment.reset()
        for trial in range(9):
            step = environment.step(np.zeros((rows, 3)))
            if step.done.all():
                told += list(zip(step.info["instance"].tolist(), step.info["money"].tolist(), strict=True))
            assert step.done.any() == (trial % 3 == 2)
        assert [instance for instance, _ in told] == list(range(3 * rows))
        seen[rows] = told
    assert seen[5][:6] == seen[2]


def test_a_state_continues_exactly_in_another_simulator():
    case = make_case(4, 2)
    first, second = (
        simulator(case, 3, horizon=5, constraints=(EENS,)),
        simulator(case, 3, horizon=5, constraints=(EENS,), seed=9),
    )
    first.reset()
    for trial in range(3):
        first.step(wish(first, trial))
    kept = first.state()
    second.restore(kept)
    for trial in range(7):
        left, right = first.step(wish(first, trial)), second.step(wish(second, trial))
        assert np.array_equal(left.reward, right.reward)
        for name in left.info:
            assert left.info[name] == pytest.approx(right.info[name], abs=1e-9), name
        for name in left.observation:
            assert np.array_equal(left.observation[name], right.observation[name])


def test_a_stage_without_a_dispatch_names_stage_instance_and_file():
    """A unit that must turbine more than there is has no feasible operation."""
    case = toy_case()
    case = replace(case, hydros=replace(case.hydros, min_turbine=np.array([50.0])))
    inflows = np.array([[[60.0], [60.0]], [[60.0], [10.0]]])
    environment = simulator(case, 2, horizon=2, paths=lambda seed, first, count: inflows[:count])
    environment.reset()
    environment.step(np.zeros((2, 1)))
    with pytest.raises(StageInfeasible, match=r"stage 2, instance 1 of split test, seed 1: .*10 m3/s") as told:
        environment.step(np.zeros((2, 1)))
    saved = Path(told.value.saved)
    assert saved.is_file()
    assert str(saved) in str(told.value)
    text = saved.read_text()
    assert "water[H1]" in text
    assert "power[B1]" in text


@pytest.mark.parametrize(("horizon", "worth"), [(1, 7.0), (2, 0.0)])
def test_the_saved_program_of_the_last_stage_earns_the_terminal_value(horizon, worth):
    case = toy_case()
    hydros = replace(case.hydros, min_turbine=np.array([50.0]), initial_volume=np.zeros(1))
    case = replace(case, hydros=hydros, terminal_value=np.array([7.0]) * case.stage_hours)
    environment = simulator(case, 1, horizon, paths=lambda seed, first, count: np.full((1, horizon, 1), 10.0))
    with pytest.raises(StageInfeasible) as told:
        environment.step(np.zeros((1, 1)))
    saved = highspy.Highs()
    saved.silent()
    saved.readModel(told.value.saved)
    program = saved.getLp()
    assert program.col_names_[0] == "v[H1]"
    assert program.col_cost_[0] == -worth


def test_a_proposal_that_is_no_number_is_refused():
    environment = simulator(toy_case(), 3)
    proposal = np.zeros((3, 1))
    proposal[2] = np.nan
    with pytest.raises(BrokenEnvironment, match="stage 1, instance 2: the end volume proposed for H1 is nan"):
        environment.step(proposal)


def test_the_order_of_rows_does_not_matter():
    case = make_case(5, 3)
    one = simulator(case, 6, horizon=2)
    view = one.reset()
    proposal = wish(one, 0)
    reward = one.step(proposal).reward
    for order in itertools.islice(itertools.permutations(range(6)), 5, 700, 97):
        picked = list(order)
        fresh = simulator(case, 6, horizon=2)
        fresh.inflows[:] = np.array([drawn(case, 2)(1, k, 1)[0] for k in picked])
        assert np.array_equal(fresh.step(proposal[picked]).reward, reward[picked])
    assert view["stage"].dtype == np.int64

"""Rules of operation against enumeration of what else could be done, and against each other where they must agree."""

import json
import tempfile
from dataclasses import replace

import numpy as np
import pytest

from interlock.core.errors import StageInfeasible
from interlock.core.multistage.extensive import solve_extensive
from interlock.core.multistage.stage import Multistage, Noise
from interlock.domains.hydro import baselines
from interlock.domains.hydro.bounds import best_states
from interlock.domains.hydro.dispatch import open_dispatch
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.instances import noises
from interlock.domains.hydro.problem import build
from interlock.domains.hydro.rule_curve import cost_and_slope, rule_curve
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.stage_program import multistage
from interlock.domains.hydro.toy import toy_case
from interlock.domains.hydro.water import reachable, water_of
from interlock.solvers.highs import Highs


@pytest.fixture(autouse=True)
def saved_programs_stay_here(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def stages_of(case, horizon, network="dc"):
    return multistage(case, network, horizon, noises(case, horizon))


def views(case, horizon, count, seed=0):
    """Observations anywhere in the range of volumes, with inflows that occur."""
    rng = np.random.default_rng(seed)
    hydros, stage = case.hydros, rng.integers(horizon, size=count)
    return {
        "volume": rng.uniform(hydros.min_volume, hydros.max_volume, size=(count, len(hydros.names))),
        "inflow": case.inflows[stage % case.cycle, rng.integers(case.inflows.shape[1], size=count)],
        "stage": stage[:, np.newaxis],
    }


def played(problem, policy, paths):
    """Cost of each path, paths played one by one through the dispatch."""
    case, horizon = problem.case, problem.scenario.horizon
    dispatch, total = open_dispatch(case, problem.scenario.network, horizon), np.zeros(len(paths))
    volume = np.tile(case.hydros.initial_volume, (len(paths), 1))
    for t in range(horizon):
        view = {"volume": volume, "inflow": paths[:, t], "stage": np.full((len(paths), 1), t)}
        target = policy.act(view)
        total += dispatch.solve(np.full(len(paths), t), volume, paths[:, t], target).cost
        volume = target
    return total


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("case", [toy_case(), make_case(4, 0)], ids=["toy", "generated"])
def test_no_other_end_volume_makes_a_stage_cheaper_than_the_myopic_one(case, keep):
    horizon = 6
    view = views(case, horizon, 12)
    dispatch, water = open_dispatch(case, "dc", horizon), water_of(case)
    stage, volume, inflow = baselines.stage_view(view)
    proposal = baselines.myopic(stages_of(case, horizon), keep=keep).act(view)
    best = dispatch.solve(stage, volume, inflow, proposal).cost
    rng = np.random.default_rng(1)
    for _ in range(60):
        raw = 4.0 * rng.normal(size=volume.shape)
        other = dispatch.solve(stage, volume, inflow, reachable(np, water, raw, volume, inflow)).cost
        assert (best <= other + 1e-4 * (1.0 + np.abs(case.hydros.max_volume).sum())).all()


def test_what_a_myopic_operator_leaves_over_is_kept_or_spilled():
    """With 10 MW of load and water for 120 MW, all but 10 MW x 3.6e-3 hm3 is left over."""
    case = toy_case()
    case = replace(case, buses=replace(case.buses, load=np.array([0.0, 0.0, 10.0])))
    view = {"volume": np.array([[0.2]]), "inflow": np.array([[60.0]]), "stage": np.array([[0]])}
    kept = baselines.myopic(stages_of(case, 3)).act(view)
    spilled = baselines.myopic(stages_of(case, 3), keep=False).act(view)
    assert kept[0, 0] == pytest.approx(0.2 + 0.0036 * 60.0 - 0.0036 * 10.0)
    assert spilled[0, 0] == pytest.approx(0.0)


@pytest.mark.parametrize("rule", [baselines.myopic, baselines.model_predictive])
def test_a_plan_depends_on_its_own_row_alone(rule):
    case, horizon = make_case(4, 1), 6
    stages = stages_of(case, horizon)
    view = views(case, horizon, 10)
    together = rule(stages).act(view)
    policy = rule(stages)
    for row in np.random.default_rng(2).permutation(10):
        alone = policy.act({name: values[row : row + 1] for name, values in view.items()})
        assert np.array_equal(alone[0], together[row])


def test_a_rolling_plan_is_optimal_where_nothing_is_uncertain():
    """With one outcome per stage the forecast comes true; the tree then has one path, its optimum is the least cost."""
    case, horizon = make_case(3, 2), 8
    full = stages_of(case, horizon)
    certain = tuple(Noise(noise.outcomes[:1], np.ones(1)) for noise in full.noises)
    sure = Multistage(full.stages, certain, full.initial_state, full.lower_bound)
    problem = build(HydroScenario(name="test", case={"source": "generated", "n_hydro": 3, "seed": 2}, horizon=horizon))
    path = np.array([[noise.outcomes[0] for noise in certain]])
    total = played(problem, baselines.model_predictive(sure), path)
    assert total[0] == pytest.approx(solve_extensive(sure, Highs()).value, rel=1e-6)
    assert total[0] < played(problem, baselines.myopic(sure), path)[0]


def test_a_rule_curve_aims_at_the_season_and_spills_nothing_on_purpose():
    case = toy_case()
    curve = np.full((case.cycle, 1), 0.1)
    curve[1] = 0.3
    policy = rule_curve(case, curve)
    view = {
        "volume": np.array([[0.2], [0.2], [0.5]]),
        "inflow": np.array([[10.0], [10.0], [100.0]]),
        "stage": np.array([[0], [13], [0]]),
    }
    spare = 0.5 + 0.0036 * 100.0 - 0.0036 * 80.0
    assert policy.act(view)[:, 0] == pytest.approx([0.1, 0.3, min(spare, 0.54)])


def test_the_fitted_curve_repeats_and_lies_between_the_volumes():
    def fitted():
        problem = build(HydroScenario(name="test", case={"source": "generated", "n_hydro": 3}, horizon=16))
        policy = problem.baselines()["rule_curve"](0)
        weeks = np.arange(16)
        none = np.zeros((16, 3))
        return problem.case, policy.act({"volume": none, "inflow": none, "stage": weeks[:, np.newaxis]})

    case, first = fitted()
    assert np.array_equal(first, fitted()[1])
    assert (first >= case.hydros.min_volume).all()
    assert (first <= case.hydros.max_volume).all()
    assert np.ptp(first[:, 0]) > 0.01 * case.hydros.max_volume[0]


def test_the_slope_of_a_curve_is_that_of_its_cost():
    """Two-sided differences, where both sides agree; one reservoir, so that nothing is left out."""
    case, horizon = toy_case(), 14
    dispatch, rng = open_dispatch(case, "dc", horizon), np.random.default_rng(3)
    picks = rng.integers(3, size=(5, horizon))
    paths = case.inflows[np.arange(horizon) % case.cycle, picks]
    curve = rng.uniform(0.1, 0.3, size=(case.cycle, 1))
    cost, slope = cost_and_slope(case, dispatch, curve, paths)
    checked, step = 0, 1e-5
    for week in range(case.cycle):
        moved = [curve.copy(), curve.copy()]
        moved[0][week] += step
        moved[1][week] -= step
        up, down = (cost_and_slope(case, dispatch, other, paths)[0] for other in moved)
        if abs((up - cost) - (cost - down)) < 1e-6 * abs(up - down):
            assert slope[week, 0] == pytest.approx((up - down) / (2 * step), rel=1e-5)
            checked += slope[week, 0] != 0.0
    assert checked >= 6


def test_the_fit_finds_a_cheaper_curve_than_any_it_could_start_from():
    case, horizon = make_case(3, 0), 24
    problem = build(HydroScenario(name="test", case={"source": "generated", "n_hydro": 3}, horizon=horizon))
    paths = np.array([problem.decision_program().paths(1, np.random.default_rng(k))[0] for k in range(20)])
    dispatch = open_dispatch(case, "dc", horizon)
    curve = problem.decision().assets()
    fitted = np.array(json.loads(curve["rule_curve.json"]))
    usual = best_states(problem.multistage(), paths).mean(axis=0)
    weeks = np.array([usual[np.arange(horizon) == week].sum(axis=0) for week in range(case.cycle)])
    others = [cost_and_slope(case, dispatch, share * weeks, paths)[0] for share in (0.0, 0.5, 1.0)]
    assert cost_and_slope(case, dispatch, fitted, paths)[0] < min(others)


def test_a_plan_that_does_not_exist_names_its_stage():
    case = toy_case()
    case = replace(case, hydros=replace(case.hydros, min_turbine=np.array([50.0])))
    case = replace(case, inflows=np.full_like(case.inflows, 100.0))
    view = {"volume": np.array([[0.0], [0.0]]), "inflow": np.array([[60.0], [10.0]]), "stage": np.array([[1], [2]])}
    with pytest.raises(StageInfeasible, match="stage 3, row 1 of the batch: no plan from this stage on") as told:
        baselines.myopic(stages_of(case, 3)).act(view)
    assert told.value.row == 1

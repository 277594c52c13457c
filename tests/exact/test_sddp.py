"""SDDP against published values, extensive forms, enumeration and dynamic programming on a grid."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace

import known_multistage as known
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import linprog, minimize_scalar

from interlock.core.errors import BadInput, StageInfeasible, UsageError
from interlock.core.multistage.extensive import from_stage, solve_extensive
from interlock.core.sddp.cuts import load_cuts, problem_hash, save_cuts, undominated
from interlock.core.sddp.method import SddpConfig
from interlock.core.sddp.risk import Risk
from interlock.core.sddp.simulation import sample_paths, simulate
from interlock.core.sddp.stopping import BoundStalling, IterationLimit, Progress, Statistical, TimeLimit, first_reason
from interlock.core.sddp.training import Iterations, Options, fresh_state
from interlock.domains.hydro.instances import noises, open_case
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.stage_program import multistage
from interlock.solvers.highs import Highs

SOLVER = Highs(options={"simplex_scale_strategy": 0})


def solved(problem, iterations, seed=0, **options):
    """The iterations, done."""
    work = Iterations(problem, SOLVER, Options(**options), fresh_state(problem, seed))
    for _ in range(iterations):
        work.iterate()
    return work


def toy(horizon):
    scenario = HydroScenario(domain="hydro", name="toy", case={"source": "toy"}, horizon=horizon)
    case, _ = open_case(scenario, None)
    return multistage(case, "dc", horizon, noises(case, horizon))


@pytest.mark.parametrize(
    ("problem", "value", "within"),
    [
        (known.two_weeks_of_rain(), 10.0, 1e-9),
        (known.hydro_valley(noisy=False), -835.0, 1e-6),
        (known.hydro_valley(noisy=True), -838.33, 5e-3),
    ],
)
def test_published_values(problem, value, within):
    assert solved(problem, 20).state.bound == pytest.approx(value, abs=within)


def test_endless_weeks_against_value_iteration_and_the_published_value():
    volumes, value = np.linspace(5, 15, 41), np.zeros(41)  # a quarter: all that is ever used
    outcomes = [(0.0, 7.5), (5.0, 5.0), (10.0, 2.5)]
    for _ in range(300):
        total = np.zeros_like(value)
        for inflow, load in outcomes:
            released = volumes[:, np.newaxis] + inflow - volumes
            cost = np.maximum(load - released, 0) + 10 * np.maximum(released - load, 0) + 0.9 * value
            total += np.where(released >= -1e-9, cost, np.inf).min(axis=1) / 3
        value = total
    by_grid = float(np.interp(10.0, volumes, value))
    assert by_grid == pytest.approx(119.167, abs=1e-3)
    bound = solved(known.endless_weeks(), 40, continuation=0.9).state.bound
    assert by_grid - 0.1 < bound < by_grid + 1e-6


@pytest.mark.parametrize(("horizon", "value"), [(3, 1639.1159875), (4, 2355.8632261)])
def test_hydro_toy_equals_its_extensive_form(horizon, value):
    problem = toy(horizon)
    exact = solve_extensive(problem, SOLVER)
    assert exact.value == pytest.approx(value, abs=1e-6)
    assert solved(problem, 100).state.bound == pytest.approx(exact.value, rel=1e-6)


def test_two_stages_against_a_dense_program():
    problem = known.newsvendor([2.0, 5.0, 9.0], [0.3, 0.5, 0.2])
    # x, then short and over for each demand
    cost = [1.0, *np.ravel([[4.0 * p, 0.5 * p] for p in (0.3, 0.5, 0.2)])]
    balance = [[1.0 if c == 0 else {2 * k + 1: 1.0, 2 * k + 2: -1.0}.get(c, 0.0) for c in range(7)] for k in range(3)]
    by_hand = linprog(cost, A_eq=balance, b_eq=[2, 5, 9], bounds=[(0, 10), *[(0, None)] * 6], method="highs-ipm")
    assert solve_extensive(problem, SOLVER).value == pytest.approx(by_hand.fun, rel=1e-8)
    assert solved(problem, 10).state.bound == pytest.approx(by_hand.fun, rel=1e-8)


def test_bound_rises_to_the_extensive_form_and_cuts_stay_below_the_cost_to_go():
    problem, generator = known.reservoirs(4, seed=3), np.random.default_rng(1)
    work = Iterations(problem, SOLVER, Options(), fresh_state(problem, 0))
    bounds = [work.iterate() for _ in range(60)]
    exact = solve_extensive(problem, SOLVER)
    assert (np.diff(bounds) >= 0).all()
    assert bounds[0] < exact.value - 0.1
    assert bounds[-1] == pytest.approx(exact.value, rel=1e-5)
    for stage in range(3):
        cuts = work.state.cuts.of_stage(stage)
        for state in generator.random((15, 2)) * [8, 4]:
            to_go = solve_extensive(from_stage(problem, stage + 1, state), SOLVER).value
            assert cuts.heights(state[np.newaxis]).max() <= to_go + 1e-7 * abs(to_go)


def test_policy_costs_the_bound_over_all_paths_and_first_decisions_are_those_of_the_tree():
    problem = known.reservoirs(3, seed=5)
    work = solved(problem, 60)
    openings = list(itertools.product(range(3), repeat=3))
    paths = np.array([[problem.noises[t].outcomes[k] for t, k in enumerate(path)] for path in openings])
    chance = np.array([np.prod([problem.noises[t].probabilities[k] for t, k in enumerate(path)]) for path in openings])
    played = simulate(problem, SOLVER, work.state.cuts, paths)
    exact = solve_extensive(problem, SOLVER)
    assert chance @ played.costs.sum(axis=1) == pytest.approx(exact.value, rel=1e-6)


def test_first_decisions_of_the_tree_are_worth_its_value():
    problem = known.reservoirs(3, seed=5)
    exact = solve_extensive(problem, SOLVER)
    worth = [
        first_cost(problem, k, state) + solve_extensive(from_stage(problem, 1, state), SOLVER).value
        for k, state in enumerate(exact.states)
    ]
    assert problem.noises[0].probabilities @ worth == pytest.approx(exact.value, rel=1e-8)


def first_cost(problem, opening, state):
    """Least cost of the first stage that ends in a state, as a dense program."""
    program, noise = problem.stages[0].program, problem.noises[0].outcomes[opening]
    rows = np.zeros((3, 9))
    for r in range(3):
        part = slice(program.starts[r], program.starts[r + 1])
        rows[r, program.columns[part]] = program.values[part]
    bounds = np.column_stack([program.lower, program.upper])
    bounds[problem.stages[0].state] = state[:, np.newaxis]
    found = linprog(
        program.cost,
        A_eq=rows[:2],
        b_eq=problem.initial_state + noise,
        A_ub=-rows[2:],
        b_ub=-program.row_lower[2:],
        bounds=bounds,
        method="highs-ipm",
    )
    return found.fun


@pytest.mark.parametrize(("weight", "level"), [(1.0, 0.0), (0.5, 0.6), (1.0, 0.7), (0.3, 0.95)])
def test_risk_against_enumeration(weight, level):
    demands, chance = np.array([1.0, 3.0, 4.5, 7.0, 9.5]), np.array([0.1, 0.3, 0.25, 0.2, 0.15])

    def risk(order):
        costs = 4 * np.maximum(demands - order, 0) + 0.5 * np.maximum(order - demands, 0)
        worst = min(z + chance @ np.maximum(costs - z, 0) / (1 - level) for z in costs)
        return order + (1 - weight) * chance @ costs + weight * worst

    best = minimize_scalar(risk, bounds=(0, 10), method="bounded", options={"xatol": 1e-10})
    problem = known.newsvendor(demands, chance)
    assert solved(problem, 40, risk=Risk(weight, level)).state.bound == pytest.approx(best.fun, rel=1e-6)


def test_worst_case_in_three_stages_is_the_dearest_path():
    problem = known.hydro_valley(noisy=True)  # more rain is never worse: the worst case is that of no rain at all
    assert solved(problem, 20, risk=Risk(1.0, 0.99)).state.bound == pytest.approx(-835.0, abs=1e-6)


def test_same_result_with_threads_and_after_a_restart_anywhere():
    problem = known.reservoirs(4, outcomes=9, seed=2)
    for options in (Options(refresh=4), Options(selection="newest", keep=5, refresh=3, forward_paths=2)):
        alone = Iterations(problem, SOLVER, options, fresh_state(problem, 7))
        bounds = [alone.iterate() for _ in range(8)]
        with ThreadPoolExecutor(2) as threads:
            beside = Iterations(problem, SOLVER, options, fresh_state(problem, 7), threads)
            assert [beside.iterate() for _ in range(8)] == bounds
        for stop in (1, 6):
            before = Iterations(problem, SOLVER, options, fresh_state(problem, 7))
            first = [before.iterate() for _ in range(stop)]
            after = Iterations(problem, SOLVER, options, deepcopy(before.state))
            assert first + [after.iterate() for _ in range(8 - stop)] == bounds
            for name, array in after.state.cuts.arrays().items():
                np.testing.assert_array_equal(array, alone.state.cuts.arrays()[name])


def test_selection_keeps_what_is_highest_somewhere():
    work = solved(known.reservoirs(4, seed=3), 30, selection="none")
    for stage in range(3):
        cuts = work.state.cuts.of_stage(stage)
        kept = undominated(cuts)
        assert 0 < len(kept) < len(cuts)
        assert len(cuts) - 1 in kept
        np.testing.assert_allclose(
            cuts.take(kept).heights(cuts.points).max(axis=1), cuts.heights(cuts.points).max(axis=1), rtol=1e-12
        )


def test_selection_changes_the_size_of_the_programs_but_not_where_the_bound_goes():
    problem = known.reservoirs(4, seed=3)
    exact = solve_extensive(problem, SOLVER).value
    for options in ({"selection": "none"}, {"selection": "newest", "keep": 30}, {"forward_paths": 2}):
        assert solved(problem, 40, **options).state.bound == pytest.approx(exact, rel=1e-4)


def test_simulation_brackets_the_optimum():
    problem = known.reservoirs(4, seed=3)
    cuts = solved(problem, 60).state.cuts
    played = simulate(problem, SOLVER, cuts, sample_paths(problem, 800, np.random.default_rng(0)))
    totals = played.costs.sum(axis=1)
    assert played.half_width == pytest.approx(1.96 * np.sqrt(((totals - totals.mean()) ** 2).sum() / 799 / 800))
    assert abs(played.mean - solve_extensive(problem, SOLVER).value) < 1.5 * played.half_width


def test_a_failing_stage_is_named_and_its_program_saved():
    problem = known.two_weeks_of_rain()
    stuck = replace(problem.stages[1], program=replace(problem.stages[1].program, upper=np.zeros(5)))
    broken = replace(problem, stages=(problem.stages[0], stuck))
    with pytest.raises(StageInfeasible, match="stage 2, path 1 of iteration 1: infeasible") as failure:
        solved(broken, 1)
    saved = np.load(failure.value.saved)
    assert saved["noise"] in (2.0, 10.0)
    np.testing.assert_array_equal(saved["upper"], [0, 0, 0, 0, 0, 0])


def test_cuts_in_a_file_belong_to_their_problem(tmp_path):
    problem, other = known.reservoirs(3, seed=1), known.reservoirs(3, seed=2)
    cuts = solved(problem, 5).state.cuts
    save_cuts(tmp_path, cuts, problem, {"iterations": 5})
    again, about = load_cuts(tmp_path, problem)
    assert about["iterations"] == 5
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, cuts.arrays()[name])
    with pytest.raises(BadInput, match=problem_hash(other)):
        load_cuts(tmp_path, other)
    (tmp_path / "cuts.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match="not a readable folder of cuts"):
        load_cuts(tmp_path, problem)


def test_the_hash_sees_every_number():
    problem = known.reservoirs(3, seed=1)
    changed = [
        replace(problem, initial_state=problem.initial_state + 1e-9),
        replace(problem, lower_bound=-1.0),
        replace(problem, noises=(*problem.noises[:2], problem.noises[0])),
        replace(problem, stages=(*problem.stages[:2], problem.stages[0])),
    ]
    assert len({problem_hash(one) for one in (problem, *changed)}) == 5
    assert problem_hash(known.reservoirs(3, seed=1)) == problem_hash(problem)


def test_stopping_rules():
    history = [Progress(k + 1, bound, 2.0 * k) for k, bound in enumerate([1.0, 5.0, 9.0, 9.0, 9.0])]
    assert IterationLimit(6).reason(history) == TimeLimit(8.5).reason(history) == ""
    assert BoundStalling(3, 1e-6).reason(history) == Statistical().reason(history) == ""
    assert first_reason([IterationLimit(6), BoundStalling(2, 1e-6)], history).startswith("the bound rose by less")
    assert IterationLimit(5).reason(history) == "5 iterations"
    assert TimeLimit(8).reason(history) == "8 seconds"
    assert Statistical().reason([*history, Progress(6, 9.0, 0.0, mean=12.0, half_width=2.5)]) == ""
    assert Statistical().reason([*history, Progress(6, 9.0, 0.0, mean=12.0, half_width=3.0)]) != ""
    assert Statistical().reason([*history, Progress(6, 9.0, 0.0, mean=7.0, half_width=2.0)]) != ""
    assert Statistical().reason([*history, Progress(6, 9.0, 0.0, mean=6.0, half_width=2.5)]) == ""


def test_a_bound_of_a_risk_measure_is_not_compared_with_a_mean():
    within = {"simulate_every": 5, "within_interval": True}
    assert SddpConfig(stopping=within).stopping.within_interval
    with pytest.raises(ValidationError, match=r"set within_interval to false or risk\.weight to 0"):
        SddpConfig(stopping=within, risk={"weight": 0.1})


def test_what_cannot_be_solved_is_refused():
    large = known.reservoirs(12)
    with pytest.raises(UsageError, match="nodes"):
        solve_extensive(large, SOLVER)
    whole = known.two_weeks_of_rain()
    integer = replace(whole.stages[0].program, integer=np.ones(5, bool))
    with pytest.raises(UsageError, match="integer"):
        solved(replace(whole, stages=(replace(whole.stages[0], program=integer),) * 2), 1)
    with pytest.raises(ValueError, match="continuation"):
        Options(continuation=1.0)
    with pytest.raises(ValueError, match="weight"):
        Risk(weight=1.5)

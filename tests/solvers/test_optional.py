"""Solvers of the optional extras: cones and quadratic programs, nonlinear programs, whole numbers."""

import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from interlock.solvers.clarabel import Clarabel
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Column, ConicProgram, QuadraticProgram, Row, linear_program, quadratic_program
from interlock.solvers.known import known_linear, known_quadratic, market_split, nearest


def test_quadratic_programs_against_highs_with_prices():
    pytest.importorskip("clarabel")
    for seed in range(40, 50):
        program = known_quadratic(seed).program
        one, two = Clarabel().solve(program), Highs().solve(program)
        assert one.objective == pytest.approx(two.objective, rel=1e-7, abs=1e-7)
        np.testing.assert_allclose(one.row_duals, two.row_duals, atol=1e-5)
        np.testing.assert_allclose(one.reduced_costs, two.reduced_costs, atol=1e-5)


def test_prices_of_cones_rows_and_columns_are_finite_differences():
    pytest.importorskip("clarabel")
    rng = np.random.default_rng(2)
    columns = {name: Column(cost, -2, 3) for name, cost in zip("abcd", rng.uniform(-1, 1, 4), strict=True)}
    linear = linear_program(columns, {"r": Row({"a": 1, "b": 1}, upper=1), "e": Row({"c": 1, "d": -1}, 0.2, 0.2)})
    starts, entries = np.arange(0, 25, 4), np.tile(np.arange(4), 6)
    values = rng.uniform(-1, 1, 24)
    values[[0, 1, 2, 3, 12, 13, 14, 15]] *= 0.1
    program = ConicProgram(linear, np.array([3, 3]), np.array([2.0, 0.1, 0, 1.5, 0, 0.2]), starts, entries, values)
    solver, step = Clarabel(1e-10), 1e-3
    found = solver.solve(program)
    assert found.status == "optimal"
    assert np.abs(found.cone_duals).max() > 0.05  # at least one cone is active
    for k, price in enumerate(found.cone_duals):
        ends = []
        for sign in (-1, 1):
            offset = program.offset.copy()
            offset[k] += sign * step
            ends.append(solver.solve(replace(program, offset=offset)).objective)
        assert price == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-4)
    for k, price in enumerate(found.row_duals):
        ends = []
        for sign in (-1, 1):
            lower, upper = linear.row_lower.copy(), linear.row_upper.copy()
            lower[k] += sign * step
            upper[k] += sign * step
            moved = replace(program, linear=replace(linear, row_lower=lower, row_upper=upper))
            ends.append(solver.solve(moved).objective)
        assert price == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-4)


def test_reusing_the_analysis_changes_no_answer():
    pytest.importorskip("clarabel")
    program, kept = nearest(np.array([2.0, 0, 0])), Clarabel(reuse=True)
    far = np.random.default_rng(0).uniform(1, 3, (6, 3))
    for k, point in enumerate(far):
        radius = 1.0 + 0.1 * k
        offset = np.concatenate([[0.0], -point, [radius], np.zeros(3)])
        moved = replace(program, offset=offset)
        found = kept.solve(moved)
        assert found.objective == pytest.approx(np.linalg.norm(point) - radius, abs=1e-7)
        assert found.objective == pytest.approx(Clarabel().solve(moved).objective, abs=1e-8)
        other = known_linear(k)  # another structure in between is analysed anew
        assert kept.solve(other.program).objective == pytest.approx(other.objective, abs=1e-6)
    # A batch of independent solves in threads: one object each.
    with ThreadPoolExecutor(2) as pool:
        programs = [
            replace(program, offset=np.concatenate([[0.0], -point, [1.0], np.zeros(3)]))
            for point in np.tile(far, (4, 1))
        ]
        found = list(pool.map(lambda each: Clarabel().solve(each).objective, programs))
    np.testing.assert_allclose(found, np.tile(np.linalg.norm(far, axis=1) - 1, 4), atol=1e-7)


def test_a_tolerance_that_is_out_of_reach_is_relaxed_once():
    pytest.importorskip("clarabel")
    found = Clarabel(1e-15).solve(nearest(np.array([2.0, 0, 0])))
    assert (found.status, found.objective) == ("optimal", pytest.approx(1, abs=1e-7))


def test_cones_that_exclude_each_other():
    pytest.importorskip("clarabel")
    program = nearest(np.array([2.0, 0, 0]))
    offset = program.offset.copy()
    offset[4] = -1.0  # a ball of negative radius
    assert Clarabel().solve(replace(program, offset=offset)).status == "infeasible"
    downhill = replace(program.linear, cost=-program.linear.cost)
    assert Clarabel().solve(replace(program, linear=downhill)).status == "unbounded"


def test_parts_that_do_not_fit_are_named():
    linear = known_linear(0).program
    n, one = len(linear.cost), np.ones(1)
    with pytest.raises(ValueError, match=r"between 0 and .*lower triangle"):
        QuadraticProgram(linear, np.array([n]), np.array([n + 1]), one)
    with pytest.raises(ValueError, match="twice"):
        QuadraticProgram(linear, np.array([1, 1]), np.array([0, 0]), np.ones(2))
    with pytest.raises(ValueError, match="symmetric"):
        quadratic_program(linear, np.triu(np.ones((n, n))))
    with pytest.raises(ValueError, match=r"columns must be between 0.*sum to 2"):
        ConicProgram(linear, np.array([3]), np.zeros(2), np.array([0, 1, 1]), np.array([n]), one)


def test_a_nonlinear_program_its_prices_and_its_warm_restart():
    casadi = pytest.importorskip("casadi")
    from interlock.solvers.casadi import NonlinearProgram, NonlinearSession

    # Least weight of two bars, min x + p y with x y >= c: x = sqrt(c p), y = sqrt(c / p), optimum 2 sqrt(c p).
    x, p = casadi.SX.sym("x", 2), casadi.SX.sym("p", 1)
    session = NonlinearSession(NonlinearProgram(x, p, x[0] + p[0] * x[1], x[0] * x[1]))
    bounds = np.full(2, 0.01), np.full(2, 100.0)
    cold = []
    for price, load in ((1.0, 4.0), (1.1, 4.0), (1.1, 4.2)):
        row_bounds = np.array([load]), np.array([np.inf])
        found = session.solve(np.ones(2), np.array([price]), bounds, row_bounds)
        assert found.status == "optimal"
        assert found.objective == pytest.approx(2 * np.sqrt(load * price), rel=1e-7)
        np.testing.assert_allclose(found.x, [np.sqrt(load * price), np.sqrt(load / price)], rtol=1e-6)
        assert found.row_duals[0] == pytest.approx(np.sqrt(price / load), rel=1e-6)
        assert found.parameter_prices[0] == pytest.approx(np.sqrt(load / price), rel=1e-6)
        cold.append(found.iterations)
    warm = session.solve(np.ones(2), np.array([1.1]), bounds, (np.array([4.21]), np.array([np.inf])), warm=True)
    assert warm.objective == pytest.approx(2 * np.sqrt(4.21 * 1.1), rel=1e-7)
    assert warm.iterations < cold[0]
    # The bound of x, active: y = c / x, so the optimum is x + p c / x.
    tight = session.solve(
        np.ones(2), np.array([1.0]), (bounds[0], np.array([1.0, 100])), (np.array([4.0]), np.array([9.0]))
    )
    assert tight.objective == pytest.approx(5)
    assert tight.reduced_costs[0] == pytest.approx(1 - 4, rel=1e-6)
    assert session.solve(np.ones(2), np.ones(1), bounds, (np.array([1e5]), np.array([2e5]))).status == "infeasible"


def test_whole_numbers_of_cp_sat():
    pytest.importorskip("ortools")
    from interlock.solvers.cpsat import CpSat

    program = linear_program(
        {"x": Column(0.5, 0, 9), "y": Column(0.4, 0, 9)},
        {"a": Row({"x": 0.6, "y": 0.4}, upper=2.4), "b": Row({"x": 1, "y": 2}, upper=6.7)},
        "maximise",
    )
    whole = replace(program, integer=np.ones(2, bool))
    found = CpSat().solve(whole)
    assert (found.status, found.objective) == ("optimal", pytest.approx(2.0))
    refused = {
        "without one: x": replace(whole, upper=np.array([np.inf, 9])),
        "decimals; row a": replace(whole, values=np.array([1 / 3, 1, 1, 1])),
        "decimals; cost": replace(whole, cost=np.array([np.pi, 1])),
        "continuous columns": program,
    }
    for reason, unfit in refused.items():
        found = CpSat().solve(unfit)
        assert found.status == "unsupported"
        assert reason in found.message
    limited = CpSat().solve(market_split(), time_limit=0.3)
    assert limited.status == "time_limit"
    assert limited.x is None or limited.objective >= 0


def test_the_process_of_cp_sat_is_replaced_when_it_dies():
    pytest.importorskip("ortools")
    import os

    from interlock.solvers import cpsat

    program = replace(linear_program({"x": Column(1, 2, 9)}, {}), integer=np.ones(1, bool))
    assert cpsat.CpSat().solve(program).objective == 2
    cpsat._worker(os.getpid())._process.kill()
    found = cpsat.CpSat().solve(program)
    assert found.status == "failed"
    assert "has ended" in found.message
    assert cpsat.CpSat().solve(program).objective == 2


def test_an_interrupted_question_to_cp_sat_leaves_no_answer_behind():
    pytest.importorskip("ortools")
    from interlock.solvers.cpsat import CpSat

    program = replace(linear_program({"x": Column(1, 2, 9)}, {}), integer=np.ones(1, bool))
    assert CpSat().solve(program).objective == 2
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            CpSat().solve(market_split(), time_limit=20)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert CpSat().solve(program).objective == 2

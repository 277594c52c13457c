import numpy as np
import pytest

from interlock.solvers.highs import Highs
from interlock.solvers.interface import Column, LinearProgram, Row, linear_program

# The window glass problem: plant 1 makes doors (at most 4), plant 2 windows (2 hours each, 12 in all), plant 3 both.
# Solved by hand: the optimum is (2, 6) with 36; an hour in plant 2 is worth 1.5, one in plant 3 is worth 1.
GLASS = linear_program(
    {"doors": Column(cost=3), "windows": Column(cost=5)},
    {
        "plant_1": Row({"doors": 1}, upper=4),
        "plant_2": Row({"windows": 2}, upper=12),
        "plant_3": Row({"doors": 3, "windows": 2}, upper=18),
    },
    sense="maximise",
)


def test_a_maximum_and_its_prices_as_by_hand():
    solution = Highs().solve(GLASS)
    assert solution.status == "optimal"
    assert solution.objective == pytest.approx(36)
    np.testing.assert_allclose(solution.x, [2, 6], atol=1e-9)
    np.testing.assert_allclose(solution.row_duals, [0, 1.5, 1], atol=1e-9)
    np.testing.assert_allclose(solution.reduced_costs, [0, 0], atol=1e-9)


def test_row_duals_are_the_change_of_the_objective_per_unit_of_the_bound():
    def objective(extra, sense, sign):
        columns = {"x": Column(cost=sign * 2), "y": Column(cost=sign * 3, upper=2)}
        rows = {
            "demand": Row({"x": 1, "y": 1}, lower=5 + extra, upper=20),
            "ratio": Row({"x": 1, "y": -1}, lower=1, upper=9),
        }
        return Highs().solve(linear_program(columns, rows, sense))

    for sense, sign in (("minimise", 1), ("maximise", -1)):
        base, more = objective(0.0, sense, sign), objective(1e-3, sense, sign)
        assert base.row_duals[0] == pytest.approx((more.objective - base.objective) / 1e-3, abs=1e-6)
        assert base.row_duals[0] == pytest.approx(sign * 2)


def test_reduced_cost_of_a_column_at_its_bound():
    solution = Highs().solve(linear_program({"x": Column(cost=-1, upper=3)}, {}))
    assert (solution.status, solution.objective) == ("optimal", pytest.approx(-3))
    assert solution.reduced_costs[0] == pytest.approx(-1)


def test_equality_rows_and_negative_columns():
    columns = {"x": Column(cost=1, lower=-10), "y": Column(cost=1, upper=20)}
    solution = Highs().solve(linear_program(columns, {"sum": Row({"x": 1, "y": 2}, lower=4, upper=4)}))
    np.testing.assert_allclose(solution.x, [-10, 7], atol=1e-9)


def test_infeasible_and_unbounded_are_told_apart():
    infeasible = linear_program(
        {"x": Column(cost=1)}, {"much": Row({"x": 1}, lower=5), "little": Row({"x": 1}, upper=3)}
    )
    unbounded = linear_program({"x": Column(cost=-1), "y": Column()}, {"gap": Row({"x": 1, "y": -1}, upper=1)})
    for program, status in ((infeasible, "infeasible"), (unbounded, "unbounded")):
        solution = Highs().solve(program)
        assert solution.status == status
        assert solution.x is None
        assert solution.objective is None


def test_agrees_with_enumeration_of_all_vertices():
    rng = np.random.default_rng(3)
    for _ in range(20):
        matrix, limits, cost = rng.uniform(0.1, 1, (4, 2)), rng.uniform(1, 2, 4), rng.uniform(0.1, 1, 2)
        rows = {f"r{k}": Row({"x": matrix[k, 0], "y": matrix[k, 1]}, upper=limits[k]) for k in range(4)}
        program = linear_program({"x": Column(cost=cost[0]), "y": Column(cost=cost[1])}, rows, "maximise")
        lines = np.vstack([matrix, np.eye(2)])
        sides = np.concatenate([limits, [0, 0]])
        pairs = [(i, j) for i in range(6) for j in range(i) if abs(np.linalg.det(lines[[i, j]])) > 1e-9]
        vertices = np.array([np.linalg.solve(lines[[i, j]], sides[[i, j]]) for i, j in pairs])
        inside = (vertices >= -1e-9).all(axis=1) & (vertices @ matrix.T <= limits + 1e-9).all(axis=1)
        assert Highs().solve(program).objective == pytest.approx((vertices[inside] @ cost).max())


def test_a_program_that_does_not_fit_together_names_every_fault():
    with pytest.raises(ValueError, match="row r: no column 'z'"):
        linear_program({"x": Column()}, {"r": Row({"z": 1.0})})
    with pytest.raises(ValueError, match=r"column x: lower bound 2.* row r: lower bound 3"):
        linear_program({"x": Column(lower=2, upper=1)}, {"r": Row({"x": 1.0}, lower=3, upper=1)})
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ValueError, match=r"cost has shape \(2,\), expected \(1,\)"):
        LinearProgram(two, one, one, one, one, np.array([0, 0]), one[:0].astype(int), one[:0], ("x",), ("r",))
    with pytest.raises(ValueError, match="column 'x' is there twice"):
        LinearProgram(two, two, two, one, one, np.array([0, 0]), one[:0].astype(int), one[:0], ("x", "x"), ("r",))

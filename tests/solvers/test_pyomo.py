"""Programs as Pyomo models and back, cross-checked with HiGHS through its own interface."""

import numpy as np
import pyomo.environ as pyo
import pytest

from interlock.solvers.highs import Highs
from interlock.solvers.interface import Column, Row, linear_program
from interlock.solvers.known import known_integer, known_linear, known_quadratic
from interlock.solvers.pyomo import PyomoSolver, from_pyomo, to_pyomo


def test_pyomo_and_highs_agree_on_the_optimum_and_all_prices():
    for seed in range(20, 32):
        known = known_linear(seed)
        direct, declared = Highs().solve(known.program), PyomoSolver().solve(known.program)
        assert declared.status == "optimal"
        assert declared.objective == pytest.approx(direct.objective, rel=1e-9, abs=1e-9)
        for name in ("x", "row_duals", "reduced_costs"):
            np.testing.assert_allclose(getattr(declared, name), getattr(direct, name), atol=1e-7)


def test_a_declared_program_is_the_same_when_read_back():
    for known in (*map(known_linear, range(10)), *map(known_integer, range(5))):
        again = from_pyomo(to_pyomo(known.program))
        assert again.sense == known.program.sense
        assert Highs().solve(again).objective == pytest.approx(known.objective, rel=1e-9, abs=1e-9)
        assert set(again.column_names) <= {f"x['{name}']" for name in known.program.column_names}
        assert (again.integer is None) == (known.program.integer is None)


def test_a_quadratic_objective_has_the_value_of_its_formula():
    known = known_quadratic(3)
    model = to_pyomo(known.program)
    for variable, value in zip(model.x.values(), known.x, strict=True):
        variable.set_value(value)
    assert pyo.value(model.cost) == pytest.approx(known.objective)
    for name, low, high in zip(
        known.program.linear.row_names,
        known.program.linear.row_lower,
        known.program.linear.row_upper,
        strict=True,
    ):
        if name in model.row:
            assert low - 1e-9 <= pyo.value(model.row[name].body) <= high + 1e-9
    assert PyomoSolver().solve(known.program).status == "unsupported"


@pytest.fixture
def knapsack():
    model = pyo.ConcreteModel()
    model.item = pyo.Var(["a", "b", "c"], bounds=(0, 1))
    worth, weight = {"a": 6, "b": 5, "c": 4}, {"a": 5, "b": 4, "c": 3}
    model.room = pyo.Constraint(expr=pyo.quicksum(weight[i] * model.item[i] for i in weight) + 1 <= 8)
    model.worth = pyo.Objective(expr=pyo.quicksum(worth[i] * model.item[i] for i in worth), sense=pyo.maximize)
    return model


def test_a_users_own_model_is_solved_in_place(knapsack):
    # By hand: densities 4/3, 5/4, 6/5 in room 7: c and b whole, nothing of a.
    found = PyomoSolver().solve_model(knapsack)
    assert (found.status, found.objective) == ("optimal", pytest.approx(9))
    assert [pyo.value(knapsack.item[i]) for i in "abc"] == pytest.approx([0, 1, 1])


def test_a_users_own_model_becomes_a_program_with_names(knapsack):
    program = from_pyomo(knapsack)
    assert program.row_names == ("room",)
    assert program.row_upper.tolist() == [7]
    assert set(program.column_names) == {"item[a]", "item[b]", "item[c]"}
    assert Highs().solve(program).objective == pytest.approx(9)
    knapsack.item["a"].domain = pyo.Binary
    assert from_pyomo(knapsack).integer.tolist() == [name == "item[a]" for name in program.column_names]
    knapsack.square = pyo.Constraint(expr=knapsack.item["a"] ** 2 <= 1)
    with pytest.raises(ValueError, match="square is not linear"):
        from_pyomo(knapsack)
    knapsack.worth.deactivate()
    with pytest.raises(ValueError, match="0 active objectives"):
        from_pyomo(knapsack)


def test_rows_without_terms_or_bounds_are_kept():
    columns = {"x": Column(1, 1, 2)}
    program = linear_program(columns, {"empty": Row({}, -1, 1), "free": Row({"x": 1}), "row": Row({"x": 1}, lower=1.5)})
    found = PyomoSolver().solve(program)
    assert found.objective == pytest.approx(1.5)
    np.testing.assert_allclose(found.row_duals, [0, 0, 1], atol=1e-9)
    assert PyomoSolver().solve(linear_program(columns, {"empty": Row({}, 1, 2)})).status == "infeasible"


def test_a_solver_that_pyomo_does_not_find_is_named():
    found = PyomoSolver("nowhere").solve(known_linear(0).program)
    assert (found.status, found.x) == ("failed", None)
    assert "'nowhere'" in found.message


def test_options_reach_the_solver():
    found = PyomoSolver(options={"simplex_iteration_limit": 0, "presolve": "off"}).solve(known_linear(2).program)
    assert found.status == "failed"

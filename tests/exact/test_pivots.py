"""Families of linear programs by pivots from one to the next, against the solver on every single one."""

from dataclasses import replace

import numpy as np
import pytest

from interlock.solvers.highs import Highs
from interlock.solvers.interface import LinearProgram
from interlock.solvers.pivots import Pivots

COLUMNS, ROWS = 30, 24


def family(seed: int) -> tuple[LinearProgram, np.random.Generator]:
    """A dense program; its bounds are drawn later."""
    rng = np.random.default_rng(seed)
    program = LinearProgram(
        cost=rng.normal(size=COLUMNS),
        lower=np.zeros(COLUMNS),
        upper=np.ones(COLUMNS),
        row_lower=np.full(ROWS, -np.inf),
        row_upper=np.full(ROWS, np.inf),
        starts=np.arange(0, COLUMNS * ROWS + 1, COLUMNS, dtype=np.int32),
        columns=np.tile(np.arange(COLUMNS, dtype=np.int32), ROWS),
        values=rng.normal(size=COLUMNS * ROWS),
        column_names=tuple(f"x{k}" for k in range(COLUMNS)),
        row_names=tuple(f"r{k}" for k in range(ROWS)),
    )
    return program, rng


def bounds(program: LinearProgram, rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    """Bounds around a feasible point each: equalities, ranges, rows without one side or any, columns without choice."""
    matrix = program.values.reshape(ROWS, COLUMNS)
    lower, upper = -rng.random((count, COLUMNS)), rng.random((count, COLUMNS))
    lower[::2, 0] = upper[::2, 0]
    inside = lower + (upper - lower) * rng.random((count, COLUMNS))
    activity = inside @ matrix.T
    row_lower = activity - 0.3 * rng.random((count, ROWS))
    row_upper = activity + 0.3 * rng.random((count, ROWS))
    row_lower[:, :2] = row_upper[:, :2] = activity[:, :2]
    row_lower[::3, 2] = row_upper[::3, 2] = activity[::3, 2]
    row_lower[:, 3:8], row_upper[:, 6:12] = -np.inf, np.inf
    return lower, upper, row_lower, row_upper


def one_by_one(program: LinearProgram, lower, upper, row_lower, row_upper):  # type: ignore[no-untyped-def]
    """Every program solved cold."""
    solver = Highs()
    return [
        solver.solve(replace(program, lower=a, upper=b, row_lower=c, row_upper=d))
        for a, b, c, d in zip(lower, upper, row_lower, row_upper, strict=True)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_every_answer_is_the_solvers(seed: int) -> None:
    program, rng = family(seed)
    pivots = Pivots(program, Highs().open(program))
    drawn = bounds(program, rng, 60)
    batch, expected = pivots.solve(*drawn), one_by_one(program, *drawn)
    assert pivots.left == 0, "none was left to the solver"
    assert not batch.failed
    np.testing.assert_allclose(batch.objective, [one.objective for one in expected], atol=1e-7)
    np.testing.assert_allclose(batch.x, [one.x for one in expected], atol=1e-6)
    np.testing.assert_allclose(batch.row_duals, [one.row_duals for one in expected], atol=1e-6)
    np.testing.assert_allclose(batch.reduced_costs, [one.reduced_costs for one in expected], atol=1e-6)


def test_many_ways_to_the_same_cost() -> None:
    """All costs and numbers are small integers, so that most steps are ties; one answer is as good as another."""
    program, rng = family(7)
    values = rng.integers(-1, 2, size=COLUMNS * ROWS).astype(float)
    program = replace(program, cost=rng.integers(-1, 2, size=COLUMNS).astype(float), values=values)
    matrix = values.reshape(ROWS, COLUMNS)
    lower, upper = np.zeros((80, COLUMNS)), rng.integers(0, 3, size=(80, COLUMNS)).astype(float)
    activity = rng.integers(0, upper + 1) @ matrix.T
    row_lower, row_upper = activity - rng.integers(0, 2, size=activity.shape), activity.copy()
    pivots = Pivots(program, Highs().open(program))
    batch, expected = pivots.solve(lower, upper, row_lower, row_upper), one_by_one(program, lower, upper, row_lower,
                                                                                   row_upper)  # fmt: skip
    assert pivots.left == 0
    np.testing.assert_allclose(batch.objective, [one.objective for one in expected], atol=1e-9)
    met = batch.x @ matrix.T
    assert (met >= row_lower - 1e-7).all()
    assert (met <= row_upper + 1e-7).all()
    assert ((batch.x >= lower - 1e-7) & (batch.x <= upper + 1e-7)).all()
    np.testing.assert_allclose(batch.reduced_costs, program.cost - batch.row_duals @ matrix, atol=1e-9)
    priced = np.where(batch.reduced_costs > 0, lower, upper) * batch.reduced_costs
    rows = np.where(batch.row_duals > 0, row_lower, row_upper) * batch.row_duals
    np.testing.assert_allclose(priced.sum(axis=1) + rows.sum(axis=1), batch.objective, atol=1e-9)


def test_other_costs() -> None:
    program, rng = family(11)
    pivots = Pivots(program, Highs().open(program))
    drawn = bounds(program, rng, 20)
    pivots.solve(*drawn)
    cost = program.cost + rng.normal(size=COLUMNS)
    pivots.change_costs(cost)
    expected = one_by_one(replace(program, cost=cost), *drawn)
    np.testing.assert_allclose(pivots.solve(*drawn).objective, [one.objective for one in expected], atol=1e-7)


def test_programs_without_a_solution_are_told_and_spoil_no_other() -> None:
    program, rng = family(3)
    pivots = Pivots(program, Highs().open(program))
    lower, upper, row_lower, row_upper = bounds(program, rng, 20)
    row_lower[7, 0] = row_upper[7, 0] = 1e3
    batch = pivots.solve(lower, upper, row_lower, row_upper)
    assert pivots.left == 1
    assert set(batch.failed) == {7}
    assert batch.failed[7].status == "infeasible"
    assert np.isnan(batch.objective[7])
    assert np.isnan(batch.row_duals[7]).all()
    kept = np.arange(20) != 7
    expected = one_by_one(program, lower[kept], upper[kept], row_lower[kept], row_upper[kept])
    np.testing.assert_allclose(batch.objective[kept], [one.objective for one in expected], atol=1e-7)


def test_bounds_that_leave_no_value_are_told() -> None:
    """Of a column that stands at one of them, too, and of a row that binds."""
    program, rng = family(3)
    pivots = Pivots(program, Highs().open(program))
    lower, upper, row_lower, row_upper = bounds(program, rng, 20)
    pivots.solve(lower, upper, row_lower, row_upper)
    for column in range(COLUMNS):
        less = upper.copy()
        less[:, column] = lower[:, column] - 1e-3
        assert len(pivots.solve(lower, less, row_lower, row_upper).failed) == 20
    less = row_upper.copy()
    less[:, 0] = row_lower[:, 0] - 1e-3
    assert len(pivots.solve(lower, upper, row_lower, less).failed) == 20


def test_a_column_without_the_bound_that_its_price_asks_for_is_left_to_the_solver() -> None:
    program, rng = family(5)
    pivots = Pivots(program, Highs().open(program))
    lower, upper, row_lower, row_upper = bounds(program, rng, 10)
    upper[:, np.argmin(program.cost)] = np.inf
    batch, expected = pivots.solve(lower, upper, row_lower, row_upper), one_by_one(program, lower, upper, row_lower,
                                                                                   row_upper)  # fmt: skip
    assert pivots.left > 0
    assert [one.status for one in expected] == ["optimal"] * 10
    np.testing.assert_allclose(batch.objective, [one.objective for one in expected], atol=1e-7)


def test_a_worn_inverse_is_computed_anew() -> None:
    """From one program to 2,000 others by tens of thousands of steps."""
    program, rng = family(9)
    pivots = Pivots(program, Highs().open(program))
    drawn = bounds(program, rng, 2000)
    batch = pivots.solve(*drawn)
    assert pivots.left == 0
    last = slice(1990, 2000)
    expected = one_by_one(program, *(bound[last] for bound in drawn))
    np.testing.assert_allclose(batch.objective[last], [one.objective for one in expected], rtol=1e-9)

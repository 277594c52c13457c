"""Families of linear programs by regions of their bases, against the solver on every single one."""

from dataclasses import replace

import numpy as np
import pytest

from interlock.solvers.highs import Highs
from interlock.solvers.interface import LinearProgram
from interlock.solvers.regions import Regions

COLUMNS, ROWS = 8, 5


def family(seed: int) -> tuple[LinearProgram, np.random.Generator]:
    """A dense program with equalities, ranges and one-sided rows; its bounds are drawn later."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(ROWS, COLUMNS))
    program = LinearProgram(
        cost=rng.normal(size=COLUMNS),
        lower=np.zeros(COLUMNS),
        upper=np.ones(COLUMNS),
        row_lower=np.full(ROWS, -np.inf),
        row_upper=np.full(ROWS, np.inf),
        starts=np.arange(0, COLUMNS * ROWS + 1, COLUMNS, dtype=np.int32),
        columns=np.tile(np.arange(COLUMNS, dtype=np.int32), ROWS),
        values=matrix.ravel(),
        column_names=tuple(f"x{k}" for k in range(COLUMNS)),
        row_names=tuple(f"r{k}" for k in range(ROWS)),
    )
    return program, rng


def bounds(program: LinearProgram, rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    """Bounds around a feasible point each: one equality, ranges, and rows without one side or any."""
    matrix = program.values.reshape(ROWS, COLUMNS)
    lower = -rng.random((count, COLUMNS))
    upper = rng.random((count, COLUMNS))
    upper[:, 0] = lower[:, 0]
    inside = lower + (upper - lower) * rng.random((count, COLUMNS))
    activity = inside @ matrix.T
    row_lower = activity - 0.3 * rng.random((count, ROWS))
    row_upper = activity + 0.3 * rng.random((count, ROWS))
    row_lower[:, 0] = row_upper[:, 0] = activity[:, 0]
    row_lower[:, 1], row_upper[:, 2] = -np.inf, np.inf
    row_lower[:, 3], row_upper[:, 3] = -np.inf, np.inf
    return lower, upper, row_lower, row_upper


def one_by_one(program: LinearProgram, lower, upper, row_lower, row_upper):  # type: ignore[no-untyped-def]
    """Every program solved cold."""
    solver = Highs()
    return [
        solver.solve(replace(program, lower=a, upper=b, row_lower=c, row_upper=d))
        for a, b, c, d in zip(lower, upper, row_lower, row_upper, strict=True)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_answer_is_the_solvers(seed: int) -> None:
    program, rng = family(seed)
    regions = Regions(program, Highs().open(program))
    for _ in range(2):
        drawn = bounds(program, rng, 60)
        batch = regions.solve(*drawn)
        expected = one_by_one(program, *drawn)
        assert not batch.failed
        np.testing.assert_allclose(batch.objective, [one.objective for one in expected], atol=1e-7)
        np.testing.assert_allclose(batch.row_duals, [one.row_duals for one in expected], atol=1e-6)
        np.testing.assert_allclose(batch.reduced_costs, [one.reduced_costs for one in expected], atol=1e-6)
    assert len(regions.bases) < 120


def test_other_costs_keep_only_bases_that_are_optimal_somewhere() -> None:
    program, rng = family(11)
    regions = Regions(program, Highs().open(program))
    drawn = bounds(program, rng, 80)
    regions.solve(*drawn)
    before = len(regions.bases)
    regions.change_costs(program.cost + 1e-6 * rng.normal(size=COLUMNS))
    assert len(regions.bases) == before, "hardly other costs leave all of them optimal"
    cost = program.cost + 0.5 * rng.normal(size=COLUMNS)
    regions.change_costs(cost)
    assert 0 < len(regions.bases) < before
    expected = one_by_one(replace(program, cost=cost), *drawn)
    np.testing.assert_allclose(regions.solve(*drawn).objective, [one.objective for one in expected], atol=1e-7)


def test_programs_without_a_solution_are_told_and_spoil_no_other() -> None:
    program, rng = family(3)
    regions = Regions(program, Highs().open(program))
    lower, upper, row_lower, row_upper = bounds(program, rng, 20)
    row_lower[7, 0] = row_upper[7, 0] = 1e3
    batch = regions.solve(lower, upper, row_lower, row_upper)
    assert set(batch.failed) == {7}
    assert batch.failed[7].status == "infeasible"
    assert np.isnan(batch.objective[7])
    kept = np.arange(20) != 7
    expected = one_by_one(program, lower[kept], upper[kept], row_lower[kept], row_upper[kept])
    np.testing.assert_allclose(batch.objective[kept], [one.objective for one in expected], atol=1e-7)


def test_bounds_that_leave_no_value_are_told() -> None:
    """Of a column that stands at one of them, too, and of a row that binds."""
    program, rng = family(3)
    regions = Regions(program, Highs().open(program))
    lower, upper, row_lower, row_upper = bounds(program, rng, 20)
    regions.solve(lower, upper, row_lower, row_upper)
    for column in range(COLUMNS):
        less = upper.copy()
        less[:, column] = lower[:, column] - 1e-3
        assert len(regions.solve(lower, less, row_lower, row_upper).failed) == 20
    less = row_upper.copy()
    less[:, 0] = row_lower[:, 0] - 1e-3
    assert len(regions.solve(lower, upper, row_lower, less).failed) == 20


def test_restored_regions_go_on_as_the_others() -> None:
    program, rng = family(5)
    first = Regions(program, Highs().open(program))
    first.solve(*bounds(program, rng, 50))
    second = Regions(program, Highs().open(program))
    second.restore(first.state())
    drawn = bounds(program, rng, 50)
    one, other = first.solve(*drawn), second.solve(*drawn)
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.row_duals, other.row_duals)
    np.testing.assert_array_equal(first.state()["bases"], second.state()["bases"])


def test_nothing_is_known_where_no_program_has_a_solution() -> None:
    program, rng = family(4)
    lower, upper, row_lower, row_upper = bounds(program, rng, 3)
    row_lower[:, 0] = row_upper[:, 0] = 1e3
    batch = Regions(program, Highs().open(program)).solve(lower, upper, row_lower, row_upper)
    assert set(batch.failed) == {0, 1, 2}
    assert np.isnan(batch.row_duals).all()


def test_a_basis_of_an_equality_is_not_used_where_there_is_a_range() -> None:
    """Minimise x where x >= b or x = b: the price of the equality has the other sign if x is worth something."""
    program = LinearProgram(
        cost=np.array([-1.0]),
        lower=np.zeros(1),
        upper=np.ones(1),
        row_lower=np.zeros(1),
        row_upper=np.ones(1),
        starts=np.array([0, 1], np.int32),
        columns=np.zeros(1, np.int32),
        values=np.ones(1),
        column_names=("x",),
        row_names=("r",),
    )
    regions = Regions(program, Highs().open(program))
    none, one = np.zeros((1, 1)), np.ones((1, 1))
    assert regions.solve(none, 9 * one, 0.4 * one, 0.4 * one).objective[0] == pytest.approx(-0.4)
    assert regions.solve(none, 9 * one, 0.4 * one, 0.7 * one).objective[0] == pytest.approx(-0.7)
    assert regions.solve(none, 9 * one, 0.2 * one, 0.2 * one).objective[0] == pytest.approx(-0.2)


def test_programs_beyond_the_bases_that_are_kept_are_solved_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.solvers.regions.MOST_BASES", 2)
    program, rng = family(6)
    regions = Regions(program, Highs().open(program))
    drawn = bounds(program, rng, 40)
    batch, expected = regions.solve(*drawn), one_by_one(program, *drawn)
    assert len(regions.bases) == 2
    np.testing.assert_allclose(batch.objective, [one.objective for one in expected], atol=1e-7)
    np.testing.assert_allclose(batch.row_duals, [one.row_duals for one in expected], atol=1e-6)
    np.testing.assert_allclose(batch.reduced_costs, [one.reduced_costs for one in expected], atol=1e-6)

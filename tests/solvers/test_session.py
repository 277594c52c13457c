"""A program kept inside HiGHS: what changes, what is remembered, where it starts, what happens when it fails."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interlock.solvers.highs import Highs, save
from interlock.solvers.interface import Column, Row, linear_program
from interlock.solvers.known import dense_rows, known_integer, known_linear, known_quadratic
from interlock.solvers.rebuilding import RebuildingSession


def test_moving_an_active_bound_moves_the_optimum_by_its_price():
    for seed in range(10):
        known = known_linear(seed)
        session = Highs().open(known.program)
        session.solve()
        rows = np.arange(len(known.row_duals), dtype=np.int32)
        moved = 1e-3 * np.random.default_rng(seed).uniform(-1, 1, len(rows))
        session.change_rows(rows, known.program.row_lower + moved, known.program.row_upper + moved)
        expected = known.objective + known.row_duals @ moved
        assert session.solve().objective == pytest.approx(expected, abs=1e-9)


def test_a_session_and_a_program_built_anew_agree_after_many_changes():
    for seed in range(5):
        program, rng = known_linear(seed).program, np.random.default_rng(seed)
        warm, cold = Highs().open(program), RebuildingSession(Highs(), program)
        rows = np.array([0], np.int32)
        for _ in range(8):
            shift, cost = rng.uniform(-1, 1), rng.uniform(-1, 1, 1)
            for session in (warm, cold):
                session.change_rows(rows, program.row_lower[rows] + shift, program.row_upper[rows] + shift)
                session.change_costs(rows, program.cost[rows] + cost)
                session.change_columns(rows, program.lower[rows] - 1, program.upper[rows] + 1)
            one, two = warm.solve(), cold.solve()
            assert one.status == two.status
            if one.status == "optimal":
                assert one.objective == pytest.approx(two.objective, rel=1e-9, abs=1e-9)
            assert_same(warm.program(), cold.program())


def assert_same(one, two):
    for name in ("cost", "lower", "upper", "row_lower", "row_upper", "starts", "columns", "values"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.column_names, one.row_names, one.sense) == (two.column_names, two.row_names, two.sense)


@pytest.mark.parametrize("kind", [lambda program: Highs().open(program), lambda p: RebuildingSession(Highs(), p)])
def test_cuts_come_and_go(kind):
    # min t with t >= x and t >= 2 - x: cuts of |x - 1| + 1 make the optimum 1 at x = 1; then t >= 1.5 lifts it.
    program = linear_program({"t": Column(1, -9), "x": Column(0, 0, 2)}, {"keep": Row({"x": 1.0}, upper=2)})
    session = kind(program)
    assert session.solve().objective == pytest.approx(-9)
    session.add_rows(
        np.array([0.0, 2.0]),
        np.array([np.inf, np.inf]),
        np.array([0, 2, 4]),
        np.array([0, 1, 0, 1]),
        np.array([1.0, -1, 1, 1]),
    )
    found = session.solve()
    assert found.objective == pytest.approx(1)
    np.testing.assert_allclose(found.row_duals, [0, 0.5, 0.5], atol=1e-12)
    session.add_rows(np.array([1.5]), np.array([np.inf]), np.array([0, 1]), np.array([0]), np.array([1.0]))
    assert session.solve().objective == pytest.approx(1.5)
    assert session.program().row_names == ("keep", "added[0]", "added[1]", "added[2]")
    session.remove_rows(np.array([3, 1]))
    assert session.program().row_names == ("keep", "added[1]")
    np.testing.assert_array_equal(dense_rows(session.program()), [[0, 1], [1, 1]])
    assert session.solve().objective == pytest.approx(0)
    session.add_rows(np.array([7.0]), np.array([np.inf]), np.array([0, 1]), np.array([0]), np.array([1.0]))
    assert session.program().row_names[-1] == "added[3]"
    assert session.solve().objective == pytest.approx(7)


def test_the_same_start_gives_the_same_vertex_bit_for_bit():
    # Highly degenerate: every point of a face is optimal.
    n = 12
    names = [f"x{k}" for k in range(n)]
    rows = {f"r{k}": Row({names[k]: 1.0, names[(k + 1) % n]: 1.0}, 1, 1.5) for k in range(n)}
    program = linear_program({name: Column(1.0, 0, 1) for name in names}, rows)
    session, rng = Highs().open(program), np.random.default_rng(0)
    session.solve()
    start = session.basis()
    columns = np.arange(n, dtype=np.int32)
    seen = []
    for _ in range(5):
        for _ in range(3):
            session.change_costs(columns, rng.uniform(-1, 1, n))
            session.solve()
        session.change_costs(columns, program.cost)
        session.start_from(start)
        seen.append(session.solve())
    for found in seen[1:]:
        np.testing.assert_array_equal(found.x, seen[0].x)
        np.testing.assert_array_equal(found.row_duals, seen[0].row_duals)
    session.start_from(None)
    assert session.solve().objective == pytest.approx(n / 2)


def test_a_basis_says_which_bounds_are_active():
    program = linear_program(
        {"low": Column(1, 2, 5), "high": Column(-1, 0, 4), "between": Column(0, 0, 9)},
        {"tie": Row({"low": 1, "high": 1, "between": 1}, 9, 9), "loose": Row({"low": 1}, upper=100)},
    )
    session = Highs().open(program)
    assert session.solve().objective == pytest.approx(-2)
    basis = session.basis()
    assert basis.columns.tolist() == [0, 2, 1]
    assert basis.rows.tolist()[1] == 1
    assert basis.rows.tolist()[0] in (0, 2)


def test_bounds_that_contradict_each_other_are_infeasible_and_can_be_mended():
    program = known_linear(0).program
    for session in (Highs().open(program), RebuildingSession(Highs(), program)):
        first, row = session.solve(), np.array([0], np.int32)
        session.change_rows(row, np.array([2.0]), np.array([1.0]))
        assert session.solve().status == "infeasible"
        session.change_rows(row, program.row_lower[row], program.row_upper[row])
        assert session.solve().objective == pytest.approx(first.objective)


FAR, ONE = np.array([99], np.int32), np.ones(1)


@pytest.mark.parametrize(
    ("change", "data"),
    [
        ("change_rows", (FAR, ONE, ONE)),
        ("change_columns", (FAR, ONE, ONE)),
        ("change_costs", (FAR, ONE)),
        ("remove_rows", (FAR,)),
        ("add_rows", (ONE, ONE, np.array([0, 1]), FAR, ONE)),
    ],
)
def test_positions_out_of_range_are_refused(change, data):
    program = known_linear(0).program
    for session in (Highs().open(program), RebuildingSession(Highs(), program)):
        with pytest.raises(ValueError, match="position"):
            getattr(session, change)(*data)


def test_a_failing_warm_solve_is_tried_again_from_nothing():
    # Without a single simplex iteration allowed, only presolve can solve this chain, and only from nothing.
    rows = {f"r{k}": Row({f"x{k}": 1.0, f"x{k + 1}": -1.0}, 0, 0) for k in range(5)}
    program = linear_program({f"x{k}": Column(1.0, k, 9) for k in range(6)}, rows)
    session = Highs(options={"simplex_iteration_limit": 0}).open(program)
    assert session.solve().objective == pytest.approx(30)
    session.change_columns(np.array([0]), np.array([6.0]), np.array([9.0]))
    found = session.solve()
    assert (found.status, found.objective) == ("optimal", pytest.approx(36))


def test_a_failure_names_the_file_with_the_program(tmp_path: Path):
    known = known_linear(3)
    broken = Highs(options={"simplex_iteration_limit": 0, "presolve": "off"}, failures=tmp_path)
    session = broken.open(known.program)
    session.change_columns(np.array([0]), known.program.lower[:1], known.program.upper[:1] + 1)
    for found, program in ((broken.solve(known.program), known.program), (session.solve(), session.program())):
        assert found.status == "failed"
        name = found.message.split("the program is in ")[1]
        assert Path(name).parent == tmp_path
        assert read(Path(name)) == pytest.approx(Highs().solve(program).objective)


def read(path: Path) -> float:
    """Optimum of a file, by HiGHS itself."""
    import highspy

    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.readModel(str(path))
    highs.run()
    return highs.getObjectiveValue()


@pytest.mark.parametrize("suffix", [".mps", ".lp"])
def test_saved_programs_keep_numbers_and_names(tmp_path: Path, suffix: str):
    for known in (known_linear(2), known_quadratic(1), known_integer(1)):
        path = tmp_path / f"program{suffix}"
        save(known.program, path)
        assert read(path) == pytest.approx(known.objective, rel=1e-8)
        assert {".mps": "x[1]", ".lp": "x(1)"}[suffix] in path.read_text()
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match=r"saved as \.mps or \.lp"):
        save(known_linear(2).program, tmp_path / "program.txt")


def test_integer_columns_have_no_prices_and_stay_integer_in_a_session():
    program = linear_program(
        {"x": Column(5, 0, 9), "y": Column(4, 0, 9)},
        {"a": Row({"x": 6, "y": 4}, upper=24), "b": Row({"x": 1, "y": 2}, upper=6)},
        "maximise",
    )
    relaxed, whole = Highs().solve(program), replace(program, integer=np.ones(2, bool))
    assert relaxed.objective == pytest.approx(21)  # at (3, 1.5)
    session = Highs().open(whole)
    found = session.solve()
    assert (found.objective, found.row_duals, found.reduced_costs) == (pytest.approx(20), None, None)
    session.change_rows(np.array([1]), np.array([-np.inf]), np.array([7.0]))
    assert session.solve().objective == pytest.approx(20)
    assert session.program().integer.all()


def test_a_small_program_solved_warm_agrees_with_cold_solves_and_answers_do_not_change_later():
    # Rows over six orders of magnitude, two of them nearly parallel: what updated factors are worst at.
    rng, n, m = np.random.default_rng(4), 30, 18
    matrix = rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-3, 3, (m, 1))
    matrix[1] = matrix[0] * (1 + 1e-6 * rng.normal(size=n))
    width = 0.02 * np.abs(matrix).sum(axis=1)
    names = [f"x{k}" for k in range(n)]
    rows = {f"r{i}": Row(dict(zip(names, line, strict=True))) for i, line in enumerate(matrix)}
    program = linear_program(
        {name: Column(cost, 0, 1) for name, cost in zip(names, rng.normal(size=n), strict=True)}, rows
    )
    session, positions = Highs().open(program), np.arange(m, dtype=np.int32)
    kept = []
    for _ in range(60):
        middle = matrix @ rng.uniform(0, 1, n)
        lower, upper = middle - width, middle + width
        session.change_rows(positions, lower, upper)
        found = session.solve()
        cold = Highs().solve(replace(program, row_lower=lower, row_upper=upper))
        assert (found.status, found.objective) == ("optimal", pytest.approx(cold.objective, rel=1e-9, abs=1e-9))
        assert (np.maximum(lower - matrix @ found.x, matrix @ found.x - upper) <= 1e-6).all()
        kept.append((found, found.x.copy(), found.row_duals.copy(), found.reduced_costs.copy()))
    for found, x, row_duals, reduced_costs in kept:
        np.testing.assert_array_equal(found.x, x)
        np.testing.assert_array_equal(found.row_duals, row_duals)
        np.testing.assert_array_equal(found.reduced_costs, reduced_costs)

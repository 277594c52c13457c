"""Does a solver keep the contract of ``interlock.solvers.interface``? Checks that any solver can run.

    >>> from interlock.solvers.highs import Highs
    >>> [result.name for result in check_solver(Highs) if result.passed is False]
    []

Answers are compared with programs whose optimum is known by construction, with finite differences, with every point of
small integer programs, and with the solver itself. What a solver declares not to do is skipped and said so.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from interlock.solvers.interface import (
    Abilities,
    Array,
    Column,
    LinearProgram,
    Program,
    Row,
    Solution,
    Solver,
    linear_program,
)
from interlock.solvers.known import (
    Known,
    best_whole,
    dense,
    known_integer,
    known_linear,
    known_quadratic,
    largest_violation,
    market_split,
    nearest,
)

INSTANCES = 20
STEP = 1e-3
"""Of finite differences; small against the room of the known programs."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check.

    Attributes:
        name: of the check.
        passed: ``None`` if the solver does not claim what it asks for.
        detail: what was measured, or what is wrong.
    """

    name: str
    passed: bool | None
    detail: str


class Broken(Exception):
    """The solver does not keep the contract; says where."""


def abilities_of(solver: Any) -> Abilities:
    """What a solver, or its class, says it can do; linear programs with duals if it says nothing."""
    found = getattr(solver, "abilities", Abilities())
    if not isinstance(found, Abilities):
        raise Broken(f"abilities is a {type(found).__name__}, expected interlock.solvers.interface.Abilities")
    return found


def check_solver(make: Callable[[], Any]) -> list[Result]:
    """Run every check; a check that raises anything has failed.

    Args:
        make: the class of the solver, or anything else that makes one without arguments.
    """
    results = []
    for name, check in CHECKS.items():
        try:
            solver = make()
            detail = check(solver, abilities_of(solver))
            results.append(Result(name, None if detail.startswith("not ") else True, detail))
        except Exception as error:
            results.append(Result(name, False, str(error) if isinstance(error, Broken) else f"{error!r}"))
    return results


def optimality(solver: Solver, can: Abilities) -> str:
    """Objective and point of programs with a known optimum; the point keeps every bound."""
    worst = violation = 0.0
    for where, known in _all_known(can):
        found = _optimal(solver, known.program, where)
        error = abs(_number(found.objective) - known.objective) / (1 + abs(known.objective))
        if not error <= can.tolerance:
            raise Broken(f"{where}: objective {found.objective}, known {known.objective}")
        left = largest_violation(known.program, _array(found.x))
        if not left <= 10 * can.tolerance:
            raise Broken(f"{where}: the point leaves its bounds by {left:.1e}")
        worst, violation = max(worst, error), max(violation, left)
    return f"{len(list(_all_known(can)))} programs, error {worst:.0e}, violation {violation:.0e}"


def duals(solver: Solver, can: Abilities) -> str:
    """Row duals and reduced costs of programs with unique ones."""
    if not can.duals:
        return "not claimed"
    worst = 0.0
    for where, known in _all_known(can, continuous=True):
        found = _optimal(solver, known.program, where)
        for name in ("row_duals", "reduced_costs"):
            error = _relative(_array(getattr(found, name)), getattr(known, name))
            if not error <= 100 * can.tolerance:
                raise Broken(f"{where}: {name} {getattr(found, name)}, known {getattr(known, name)}")
            worst = max(worst, error)
    return f"{len(list(_all_known(can, continuous=True)))} programs, error {worst:.0e}"


def finite_differences(solver: Solver, can: Abilities) -> str:
    """The same against the change of the optimum when an active bound moves both ways."""
    if not can.duals:
        return "not claimed"
    count, worst = 0, 0.0
    for seed in range(3):
        program = known_linear(seed, can.most_columns).program
        assert isinstance(program, LinearProgram)
        found = _optimal(solver, program, f"linear {seed}")
        for prices, pair in (("row_duals", ("row_lower", "row_upper")), ("reduced_costs", ("lower", "upper"))):
            for k, price in enumerate(_array(getattr(found, prices))):
                if abs(price) < 0.1:
                    continue  # the known prices of active bounds are larger
                values = [
                    _number(_optimal(solver, _moved(program, pair, k, price, step), f"linear {seed}").objective)
                    for step in (-STEP, STEP)
                ]
                slope = (values[1] - values[0]) / (2 * STEP)
                error = abs(slope - price) / (1 + abs(price))
                if not error <= 1e-4:
                    raise Broken(f"linear {seed}: {prices}[{k}] is {price}, the optimum changes by {slope}")
                count, worst = count + 1, max(worst, error)
    return f"{count} prices, error {worst:.0e}"


def infeasible(solver: Solver, can: Abilities) -> str:
    """Programs without a point are reported as such, without a point."""
    contradiction = _whole_if_needed(
        linear_program(
            {"x": Column(1, 0, 9), "y": Column(1, 0, 9)},
            {"more": Row({"x": 1, "y": 1}, lower=5), "less": Row({"x": 1, "y": 1}, upper=3)},
        ),
        can,
    )
    beyond = _whole_if_needed(linear_program({"x": Column(1, 0, 2)}, {"more": Row({"x": 1}, lower=3)}), can)
    programs = {"two rows": contradiction, "a row and a bound": beyond}
    if can.integer:
        odd = linear_program({"x": Column(1, 0, 9), "y": Column(0, 0, 9)}, {"odd": Row({"x": 2, "y": 4}, 3, 3)})
        programs["whole numbers"] = replace(odd, integer=np.ones(2, bool))
    for where, program in programs.items():
        found = solver.solve(program)
        if found.status != "infeasible" or found.x is not None:
            raise Broken(f"{where}: status {found.status} ({found.message}), expected infeasible and no point")
    return f"{len(programs)} programs"


def unbounded(solver: Solver, can: Abilities) -> str:
    """Programs without a finite optimum; those without a point either are infeasible."""
    if not (can.unbounded and can.continuous):
        return "not claimed"
    columns = {"x": Column(-1), "y": Column()}
    falls = linear_program(columns, {"gap": Row({"x": 1, "y": -1}, upper=1)})
    rises = linear_program({"x": Column(1), "y": Column()}, {"gap": Row({"x": 1, "y": -1}, upper=1)}, "maximise")
    none = linear_program(columns, {"gap": Row({"x": 1, "y": -1}, upper=1), "none": Row({"y": 1}, upper=-1)})
    for where, program, expected in (("falls", falls, "unbounded"), ("rises", rises, "unbounded"), ("none", none, "")):
        found = solver.solve(program)
        if found.status != (expected or "infeasible"):
            raise Broken(f"{where}: status {found.status} ({found.message}), expected {expected or 'infeasible'}")
    return "2 programs, and one without a point"


def time_limit(solver: Solver, can: Abilities) -> str:
    """A limit that cannot suffice ends the solve with its status, soon."""
    if can.most_columns is not None and can.most_columns < 250:
        return "not needed for programs this small"
    program, limit = (dense(250), 1e-3) if can.continuous else (market_split(), 1.0)
    begin = time.perf_counter()
    found = solver.solve(program, time_limit=limit)
    seconds = time.perf_counter() - begin
    if found.status == "time_limit" and seconds <= limit + 10:
        return f"back after {seconds:.2f} s with a limit of {limit:g} s"
    begin = time.perf_counter()
    if found.status == "optimal" and can.continuous:
        solver.solve(program)
        if time.perf_counter() - begin <= 0.05:
            return "solved within the limit"
    raise Broken(f"status {found.status} ({found.message}) after {seconds:.2f} s with a limit of {limit:g} s")


def determinism(solver: Solver, can: Abilities) -> str:
    """The same program gives the same bits, whatever was solved in between."""
    programs = [known.program for _, known in list(_all_known(can))[::5]]
    first = [solver.solve(program) for program in programs]
    for again in (reversed(range(len(programs))), range(len(programs))):
        for k in again:
            found = solver.solve(programs[k])
            for name in ("objective", "x", "row_duals", "reduced_costs"):
                one, two = getattr(first[k], name), getattr(found, name)
                if (one is None) != (two is None) or (one is not None and not np.array_equal(one, two)):
                    raise Broken(f"program {k}: {name} is {two} after {one}")
    return f"{len(programs)} programs, three times"


def session(solver: Solver, can: Abilities) -> str:
    """Bounds and costs change: the session agrees with a cold solve of what the program has become."""
    count, rng = 0, np.random.default_rng(5)
    for seed in range(6):
        known = known_linear(seed, can.most_columns) if can.continuous else known_integer(seed, can.most_columns)
        program = known.program
        assert isinstance(program, LinearProgram)
        kept, expected = solver.open(program), program
        for _ in range(4):
            expected = _changed(kept, expected, rng, whole=not can.continuous)
            _same_program(kept.program(), expected, f"session {seed}")
            _agree(solver, kept.solve(), expected, can, f"session {seed}")
            count += 1
    return f"{count} changes"


def rows_added_and_removed(solver: Solver, can: Abilities) -> str:
    """A row that cuts the optimum off, and its removal, which brings the optimum back; then a row of the program."""
    for seed in range(4):
        known = known_linear(seed, can.most_columns) if can.continuous else known_integer(seed, can.most_columns)
        program, where = known.program, f"rows {seed}"
        assert isinstance(program, LinearProgram)
        kept = solver.open(program)
        _agree(solver, kept.solve(), program, can, where)
        worse = known.objective + (0.1 if program.sense == "minimise" else -0.1)
        sides = (worse, np.inf) if program.sense == "minimise" else (-np.inf, worse)
        used = np.flatnonzero(program.cost).astype(np.int32)
        starts = np.array([0, len(used)], np.int32)
        kept.add_rows(np.array([sides[0]]), np.array([sides[1]]), starts, used, program.cost[used])
        if not can.continuous and np.isnan(best_whole(kept.program())):
            continue
        _agree(solver, kept.solve(), kept.program(), can, where)
        kept.remove_rows(np.array([len(program.row_names)], np.int32))
        _same_program(kept.program(), program, where)
        _agree(solver, kept.solve(), program, can, where)
        kept.remove_rows(np.array([0], np.int32))
        if kept.program().row_names != program.row_names[1:]:
            raise Broken(f"{where}: rows {kept.program().row_names} are left, expected {program.row_names[1:]}")
        without = kept.solve()
        if without.status != solver.solve(kept.program()).status:
            raise Broken(f"{where}: without its first row the session says {without.status}, a cold solve does not")
    return "4 programs"


def bases(solver: Solver, can: Abilities) -> str:
    """The same start gives the same vertex, bit for bit, whatever was solved before."""
    program = known_linear(4, can.most_columns).program if can.continuous else known_integer(4).program
    assert isinstance(program, LinearProgram)
    kept = solver.open(program)
    kept.solve()
    basis = kept.basis()
    if basis is None:
        return "not kept by this solver"
    if basis.columns.shape != program.cost.shape or basis.rows.shape != program.row_lower.shape:
        raise Broken(f"a basis of shapes {basis.columns.shape} and {basis.rows.shape}")
    points = []
    columns = np.arange(len(program.cost), dtype=np.int32)
    for _ in range(2):
        kept.change_costs(columns, -program.cost)
        kept.solve()
        kept.change_costs(columns, program.cost)
        kept.start_from(basis)
        points.append(_array(kept.solve().x))
    if not np.array_equal(points[0], points[1]):
        raise Broken(f"{points[0]} and {points[1]} from the same basis")
    return "twice the same point from one basis"


def cones(solver: Solver, can: Abilities) -> str:
    """The nearest point of a second-order cone, in closed form, and its price."""
    if not can.conic:
        return "not claimed"
    worst = 0.0
    for seed in range(5):
        far = np.random.default_rng(seed).uniform(0.5, 2, 3)
        # min t where t >= |u - far| and 1 >= |u|: with |far| > 1 the optimum is |far| - 1.
        far *= 2 / np.linalg.norm(far)
        found = solver.solve(nearest(far))
        errors = [abs(_number(found.objective) - 1.0), _relative(_array(found.x)[1:], far / 2)]
        # Raising the radius by one brings the optimum down by one.
        errors.append(abs(_array(found.cone_duals)[4] + 1.0))
        worst = max(worst, *errors)
    if not worst <= 100 * can.tolerance:
        raise Broken(f"error {worst:.1e} in objective, point or price")
    return f"5 programs, error {worst:.0e}"


def refusal(solver: Solver, can: Abilities) -> str:
    """What the solver declares not to solve it refuses, instead of solving something else."""
    whole = linear_program({"x": Column(-1, 0, 2.5)}, {"r": Row({"x": 1}, upper=2.4)})
    asked: dict[str, tuple[bool, Program]] = {
        "integer columns": (can.integer, replace(whole, integer=np.ones(1, bool))),
        "continuous columns": (can.continuous, whole),
        "quadratic objectives": (can.quadratic, known_quadratic(0, can.most_columns).program),
        "cones": (can.conic, nearest(np.array([2.0, 0, 0]))),
    }
    if can.most_columns is not None:
        asked[f"more than {can.most_columns} columns"] = (False, dense(can.most_columns + 1))
    refused = []
    for what, (able, program) in asked.items():
        if able:
            continue
        found = solver.solve(program)
        if found.status != "unsupported" or not found.message:
            raise Broken(f"{what}: status {found.status}, expected unsupported with a message that says why")
        refused.append(what)
    return f"refused: {', '.join(refused)}" if refused else "nothing to refuse"


CHECKS: dict[str, Callable[[Any, Abilities], str]] = {
    "optimality": optimality,
    "duals": duals,
    "finite differences": finite_differences,
    "infeasible": infeasible,
    "unbounded": unbounded,
    "time limit": time_limit,
    "determinism": determinism,
    "session": session,
    "rows added and removed": rows_added_and_removed,
    "bases": bases,
    "cones": cones,
    "refusal": refusal,
}


def _all_known(can: Abilities, *, continuous: bool = False) -> Iterator[tuple[str, Known]]:
    for seed in range(INSTANCES):
        if can.continuous:
            yield f"linear {seed}", known_linear(seed, can.most_columns)
        if can.continuous and can.quadratic:
            yield f"quadratic {seed}", known_quadratic(seed, can.most_columns)
        if can.integer and not continuous:
            yield f"integer {seed}", known_integer(seed, can.most_columns)


def _optimal(solver: Solver, program: Program, where: str) -> Solution:
    found = solver.solve(program)
    if found.status != "optimal":
        raise Broken(f"{where}: status {found.status} ({found.message}), expected optimal")
    return found


def _agree(solver: Solver, found: Solution, program: LinearProgram, can: Abilities, where: str) -> None:
    """What a session found against a cold solve, or for whole numbers against every point."""
    if can.continuous:
        cold = solver.solve(program)
        status, objective = cold.status, cold.objective
    else:
        best = best_whole(program)
        status, objective = ("infeasible", None) if np.isnan(best) else ("optimal", best)
    if found.status != status:
        raise Broken(f"{where}: the session says {found.status} ({found.message}), expected {status}")
    if objective is not None and found.objective is not None:
        if not abs(found.objective - objective) <= 10 * can.tolerance * (1 + abs(objective)):
            raise Broken(f"{where}: the session finds {found.objective}, expected {objective}")
        left = largest_violation(program, _array(found.x))
        if not left <= 10 * can.tolerance:
            raise Broken(f"{where}: the point of the session leaves its bounds by {left:.1e}")


def _changed(kept: Any, program: LinearProgram, rng: np.random.Generator, *, whole: bool) -> LinearProgram:
    """Change some rows, columns and costs of a session; gives what the program should then be."""
    row, column = (
        np.array([int(rng.integers(size))], np.int32) for size in (len(program.row_lower), len(program.cost))
    )
    shift = float(rng.integers(-1, 2)) if whole else float(rng.uniform(-0.3, 0.3))
    row_lower, row_upper = program.row_lower.copy(), program.row_upper.copy()
    row_lower[row] += shift
    row_upper[row] += shift
    kept.change_rows(row, row_lower[row], row_upper[row])
    lower, upper = program.lower.copy(), program.upper.copy()
    upper[column] += 1.0
    kept.change_columns(column, lower[column], upper[column])
    cost = program.cost.copy()
    cost[column] *= 1.1
    if whole:
        cost = np.round(cost, 1)
    kept.change_costs(column, cost[column])
    return replace(program, row_lower=row_lower, row_upper=row_upper, lower=lower, upper=upper, cost=cost)


def _same_program(found: LinearProgram, expected: LinearProgram, where: str) -> None:
    for name in ("cost", "lower", "upper", "row_lower", "row_upper", "starts", "columns", "values"):
        if not np.array_equal(getattr(found, name), getattr(expected, name)):
            raise Broken(f"{where}: program().{name} is {getattr(found, name)}, expected {getattr(expected, name)}")
    if (found.sense, found.column_names, found.row_names) != (
        expected.sense,
        expected.column_names,
        expected.row_names,
    ):
        raise Broken(f"{where}: program() has another sense or other names")


def _moved(program: LinearProgram, pair: tuple[str, str], k: int, price: float, step: float) -> LinearProgram:
    """The program with the bound that has this price moved; both, where they are equal."""
    lower, upper = getattr(program, pair[0]).copy(), getattr(program, pair[1]).copy()
    below = (price > 0) == (program.sense == "minimise")
    both = lower[k] == upper[k]
    lower[k] += step if below or both else 0.0
    upper[k] += step if not below or both else 0.0
    return replace(program, **{pair[0]: lower, pair[1]: upper})


def _whole_if_needed(program: LinearProgram, can: Abilities) -> LinearProgram:
    return program if can.continuous else replace(program, integer=np.ones(len(program.cost), bool))


def _array(found: Array | None) -> Array:
    if found is None:
        raise Broken("a point or price is missing")
    return found


def _number(found: float | None) -> float:
    if found is None:
        raise Broken("the objective is missing")
    return found


def _relative(found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        raise Broken(f"a vector of shape {found.shape}, expected {expected.shape}")
    return float((np.abs(found - expected) / (1 + np.abs(expected))).max(initial=0.0))

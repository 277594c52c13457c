"""HiGHS through its own Python interface: arrays in, arrays out, no text files."""

import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from interlock.solvers.interface import (
    Abilities,
    Array,
    Basis,
    ConicProgram,
    LinearProgram,
    Program,
    QuadraticProgram,
    Solution,
    Status,
    linear_part,
)

EXACT: Mapping[str, Any] = {"output_flag": False, "mip_rel_gap": 0.0, "qp_regularization_value": 0.0}
"""Options that differ from those of HiGHS, because ``optimal`` means proven here."""

LEAN: Mapping[str, Any] = {
    "rebuild_refactor_solution_error_tolerance": 0.0,
    "simplex_update_limit": 20,
    "dual_simplex_cost_perturbation_multiplier": 0.0,
    "simplex_dual_edge_weight_strategy": 0,
}
"""Options of sessions with small programs, where a warm solve takes a few pivots and overhead is what counts.

Instead of testing the factors of the basis with a random right-hand side at the end of every solve, they are made anew
after 20 pivots; the residuals of the answer itself HiGHS measures in any case. Costs are not perturbed against
stalling, which would have to be undone and priced again. Rows to leave are chosen by their infeasibility alone: over a
few pivots the weights of steepest edges cost more than they save."""

SMALL = 200
"""Rows of a small program."""

_STATES: dict[str, Status] = {
    "kOptimal": "optimal",
    "kModelEmpty": "optimal",
    "kInfeasible": "infeasible",
    "kUnbounded": "unbounded",
    "kTimeLimit": "time_limit",
}


class Highs:
    """Implements ``interlock.solvers.interface.Solver`` with HiGHS: linear, integer and convex quadratic programs.

    Args:
        threads: used by one solve.
        options: further options of HiGHS by name.
        failures: folder for programs that HiGHS fails on; default: the system's folder for temporary files.
    """

    package: ClassVar[str] = "highspy"
    abilities: ClassVar[Abilities] = Abilities(integer=True, quadratic=True)

    def __init__(self, threads: int = 1, options: Mapping[str, Any] | None = None, failures: Path | None = None):
        self.options = {**EXACT, "threads": threads, **(options or {})}
        self.failures = failures

    def solve(self, program: Program, *, time_limit: float | None = None) -> Solution:
        """Solve a program; see the interface."""
        missing = self.abilities.missing(program)
        if missing or isinstance(program, ConicProgram):
            return Solution("unsupported", message=f"HiGHS does not solve {missing}")
        try:
            highs = _loaded(program, self.options)
        except ValueError as error:
            return Solution("failed", message=str(error))
        found = _solve(highs, time_limit)
        return _with_file(found, program, self.failures) if found.status == "failed" else found

    def open(self, program: LinearProgram) -> "HighsSession":
        """Keep a program inside HiGHS; see the interface."""
        return HighsSession(program, self.options, self.failures)


class HighsSession:
    """Implements ``interlock.solvers.interface.Session`` with one object of HiGHS.

    Args:
        program: to begin with.
        options: of HiGHS, by name.
        failures: folder for programs that HiGHS fails on.

    Raises:
        ValueError: HiGHS does not accept the program; so do the methods for data that it does not accept.
    """

    def __init__(self, program: LinearProgram, options: Mapping[str, Any] = EXACT, failures: Path | None = None):
        import highspy

        self._highs = _loaded(program, {**LEAN, **options} if len(program.row_lower) <= SMALL else options)
        self._error = highspy.HighsStatus.kError.value
        self._column_names, self._row_names = program.column_names, list(program.row_names)
        self._integer, self._sense = program.integer, program.sense
        self._added = 0
        self._failures = failures
        self._start: tuple[Basis, Any] | None = None

    def change_rows(self, rows: Array, lower: Array, upper: Array) -> None:
        """New bounds of some rows."""
        self._accepted(self._highs.changeRowsBounds(len(rows), rows, lower, upper), "bounds of rows")

    def change_columns(self, columns: Array, lower: Array, upper: Array) -> None:
        """New bounds of some columns."""
        self._accepted(self._highs.changeColsBounds(len(columns), columns, lower, upper), "bounds of columns")

    def change_costs(self, columns: Array, cost: Array) -> None:
        """New costs of some columns."""
        self._accepted(self._highs.changeColsCost(len(columns), columns, cost), "costs")

    def add_rows(self, lower: Array, upper: Array, starts: Array, columns: Array, values: Array) -> None:
        """Further rows at the end; ``program`` calls them ``added[0]``, ``added[1]`` and so on."""
        done = self._highs.addRows(len(lower), lower, upper, len(columns), starts[:-1], columns, values)
        self._accepted(done, "rows")
        self._row_names += [f"added[{self._added + k}]" for k in range(len(lower))]
        self._added += len(lower)

    def remove_rows(self, rows: Array) -> None:
        """Take rows out."""
        gone = np.unique(rows)
        self._accepted(self._highs.deleteRows(len(gone), gone), "rows to remove")
        for row in gone[::-1]:
            del self._row_names[row]

    def solve(self, *, time_limit: float | None = None) -> Solution:
        """Solve from the last basis; a failure is tried again cold, then without presolve."""
        found = _solve(self._highs, time_limit)
        return _with_file(found, self.program(), self._failures) if found.status == "failed" else found

    def basis(self) -> Basis | None:
        """The basis of the last solve."""
        found = self._highs.getBasis()
        if not found.valid:
            return None
        columns, rows = (np.array(list(map(int, part)), np.int8) for part in (found.col_status, found.row_status))
        return Basis(columns, rows)

    def start_from(self, basis: Basis | None) -> None:
        """Begin the next solve from a basis, or cold; everything else that HiGHS remembers is forgotten."""
        self._highs.clearSolver()
        if basis is None:
            return
        if self._start is None or self._start[0] is not basis:
            self._start = (basis, _native_basis(basis))
        self._accepted(self._highs.setBasis(self._start[1]), "basis")

    def program(self) -> LinearProgram:
        """What the program is now, read from HiGHS."""
        model = self._highs.getLp()
        matrix = model.a_matrix_
        shape = (model.num_row_, model.num_col_)
        kind = sparse.csr_array if "Row" in matrix.format_.name else sparse.csc_array
        rows = sparse.csr_array(kind((matrix.value_, matrix.index_, matrix.start_), shape=shape))
        return LinearProgram(
            cost=np.array(model.col_cost_, float),
            lower=np.array(model.col_lower_, float),
            upper=np.array(model.col_upper_, float),
            row_lower=np.array(model.row_lower_, float),
            row_upper=np.array(model.row_upper_, float),
            starts=rows.indptr.astype(np.int32),
            columns=rows.indices.astype(np.int32),
            values=rows.data.astype(float),
            column_names=self._column_names,
            row_names=tuple(self._row_names),
            sense=self._sense,
            integer=self._integer,
        )

    def _accepted(self, status: Any, what: str) -> None:
        if status.value == self._error:
            raise ValueError(f"HiGHS does not accept these {what}: a position out of range, or a number that is none")


def save(program: LinearProgram | QuadraticProgram, path: Path) -> None:
    """Write a program with its names to a text file: free MPS format for ``.mps``, LP format for ``.lp``.

    The LP format knows no brackets in names: there ``v[a]`` is written ``v(a)``.

    Raises:
        ValueError: HiGHS does not accept the program.
        OSError: the file cannot be written.
    """
    import highspy

    if path.suffix not in (".mps", ".lp"):
        raise ValueError(f"{path.name}: a program is saved as .mps or .lp")
    if path.suffix == ".lp":
        linear, brackets = linear_part(program), str.maketrans("[]", "()")
        columns = tuple(name.translate(brackets) for name in linear.column_names)
        rows = tuple(name.translate(brackets) for name in linear.row_names)
        linear = replace(linear, column_names=columns, row_names=rows)
        program = linear if isinstance(program, LinearProgram) else replace(program, linear=linear)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    done = _loaded(program, EXACT).writeModel(str(temporary))
    if done == highspy.HighsStatus.kError or not temporary.exists():
        raise OSError(f"{path} cannot be written")
    temporary.replace(path)


def _solve(highs: Any, time_limit: float | None) -> Solution:
    """Solve; what HiGHS cannot tell or fails on is tried again from nothing, then without presolve."""
    limited = time_limit is not None
    if limited:
        highs.setOptionValue("time_limit", highs.getRunTime() + time_limit)
    found = _run(highs)
    if found.status == "failed":
        presolve = highs.getOptionValue("presolve")[1]
        for again in (presolve, "off"):
            highs.clearSolver()
            highs.setOptionValue("presolve", again)
            found = _run(highs)
            if found.status != "failed":
                break
        highs.setOptionValue("presolve", presolve)
    if limited:
        highs.setOptionValue("time_limit", np.inf)
    return found


def _run(highs: Any) -> Solution:
    """One run; its arrays are read here and nowhere else, because that is what a warm solve spends its time on."""
    highs.run()
    status, message = _states()[highs.getModelStatus().value]
    if status not in ("optimal", "time_limit"):
        return Solution(status, message=message)
    found = highs.getSolution()
    if status == "time_limit" and highs.getInfo().primal_solution_status != 2:  # 2: a feasible point
        return Solution(status, message=message)
    x = _array(found.col_value)
    if status == "time_limit" or not found.dual_valid:
        return Solution(status, highs.getObjectiveValue(), x, message=message)
    row_duals, reduced_costs = _array(found.row_dual), _array(found.col_dual)
    return Solution(status, highs.getObjectiveValue(), x, row_duals, reduced_costs, None, message)


@cache
def _states() -> dict[int, tuple[Status, str]]:
    """Status and word for each state by its number: HiGHS takes longer to tell the name of a state than to copy x."""
    import highspy

    states = highspy.HighsModelStatus.__members__.items()
    return {int(state): (_STATES.get(name, "failed"), name[1:]) for name, state in states}


def _array(values: list[float]) -> Array:
    """A list as an array, in half the time that NumPy takes to look at each number."""
    found = np.empty(len(values))
    struct.pack_into(f"{len(values)}d", found.data, 0, *values)
    return found


def _with_file(found: Solution, program: LinearProgram | QuadraticProgram, folder: Path | None) -> Solution:
    """A failure whose message names the file that now holds the program."""
    handle, name = tempfile.mkstemp(".mps", "interlock-failed-", folder)
    os.close(handle)
    save(program, Path(name))
    return replace(found, message=f"HiGHS ends with {found.message}; the program is in {name}")


def _loaded(program: LinearProgram | QuadraticProgram, options: Mapping[str, Any]) -> Any:
    """An object of HiGHS that holds the program.

    Raises:
        ValueError: HiGHS does not accept it, or an option.
    """
    import highspy

    highs = highspy.Highs()
    for name, value in options.items():
        if highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise ValueError(f"HiGHS does not accept the option {name} = {value!r}")
    model = highspy.HighsModel()
    model.lp_ = _model(linear_part(program))
    if isinstance(program, QuadraticProgram):
        model.hessian_ = _hessian(program)
    if highs.passModel(model) == highspy.HighsStatus.kError:
        raise ValueError("HiGHS does not accept the program")
    return highs


def _model(program: LinearProgram) -> Any:
    import highspy

    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(program.cost), len(program.row_lower)
    model.col_cost_, model.col_lower_, model.col_upper_ = program.cost, program.lower, program.upper
    model.row_lower_, model.row_upper_ = program.row_lower, program.row_upper
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.num_col_, model.a_matrix_.num_row_ = model.num_col_, model.num_row_
    model.a_matrix_.start_, model.a_matrix_.index_ = program.starts, program.columns
    model.a_matrix_.value_ = program.values
    model.col_names_, model.row_names_ = list(program.column_names), list(program.row_names)
    model.sense_ = highspy.ObjSense.kMaximize if program.sense == "maximise" else highspy.ObjSense.kMinimize
    if program.integer is not None:
        kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        model.integrality_ = [kinds[bool(whole)] for whole in program.integer]
    return model


def _hessian(program: QuadraticProgram) -> Any:
    """HiGHS wants the lower triangle by columns, every diagonal entry stored."""
    import highspy

    n = len(program.linear.cost)
    lower = sparse.csc_array((program.values, (program.rows, program.columns)), shape=(n, n))
    hessian = highspy.HighsHessian()
    hessian.dim_, hessian.format_ = n, highspy.HessianFormat.kTriangular
    hessian.start_, hessian.index_, hessian.value_ = lower.indptr, lower.indices, lower.data
    return hessian


def _native_basis(basis: Basis) -> Any:
    import highspy

    codes = [highspy.HighsBasisStatus(code) for code in range(5)]
    native = highspy.HighsBasis()
    native.col_status = [codes[code] for code in basis.columns]
    native.row_status = [codes[code] for code in basis.rows]
    native.valid = True
    return native

"""HiGHS through its own Python interface: arrays in, arrays out, no text files."""

from typing import Any

import numpy as np

from interlock.solvers.interface import Array, LinearProgram, Solution, Status


class Highs:
    """Implements ``interlock.solvers.interface.Solver`` with HiGHS.

    Args:
        threads: used by one solve.
    """

    def __init__(self, threads: int = 1):
        self.threads = threads

    def solve(self, program: LinearProgram, *, time_limit: float | None = None) -> Solution:
        """Solve a linear program; see the interface."""
        import highspy

        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", self.threads)
        if time_limit is not None:
            solver.setOptionValue("time_limit", float(time_limit))
        if solver.passModel(_model(program)) == highspy.HighsStatus.kError:
            return Solution("failed", message="HiGHS does not accept the model")
        solver.run()
        if solver.getModelStatus() == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            solver.setOptionValue("presolve", "off")  # presolve alone cannot tell the two apart
            solver.run()
        return _solution(solver)

    def open(self, program: LinearProgram) -> "HighsSession":
        """Keep a program inside HiGHS; see the interface."""
        return HighsSession(program, threads=self.threads)


class HighsSession:
    """Implements ``interlock.solvers.interface.Session`` with one object of HiGHS."""

    def __init__(self, program: LinearProgram, *, threads: int = 1):
        import highspy

        self._highs = highspy.Highs()
        self._highs.setOptionValue("output_flag", False)
        self._highs.setOptionValue("threads", threads)
        if self._highs.passModel(_model(program)) == highspy.HighsStatus.kError:
            raise ValueError("HiGHS does not accept the model")
        self._optimal = highspy.HighsModelStatus.kOptimal

    def change_rows(self, rows: Array, lower: Array, upper: Array) -> None:
        """New bounds of some rows."""
        self._highs.changeRowsBounds(len(rows), rows, lower, upper)

    def change_columns(self, columns: Array, lower: Array, upper: Array) -> None:
        """New bounds of some columns."""
        self._highs.changeColsBounds(len(columns), columns, lower, upper)

    def change_costs(self, columns: Array, cost: Array) -> None:
        """New costs of some columns."""
        self._highs.changeColsCost(len(columns), columns, cost)

    def add_rows(self, lower: Array, upper: Array, starts: Array, columns: Array, values: Array) -> None:
        """Further rows at the end."""
        self._highs.addRows(len(lower), lower, upper, len(columns), starts[:-1], columns, values)

    def remove_rows(self, rows: Array) -> None:
        """Take rows out."""
        self._highs.deleteRows(len(rows), rows)

    def solve(self, *, time_limit: float | None = None) -> Solution:
        """Solve from the last basis; a failure is tried again cold, then without presolve."""
        highs = self._highs
        highs.setOptionValue("time_limit", np.inf if time_limit is None else highs.getRunTime() + time_limit)
        highs.run()
        return _solution(highs)


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
    return model


def _solution(solver: Any) -> Solution:
    import highspy

    states = highspy.HighsModelStatus
    known: dict[Any, Status] = {
        states.kOptimal: "optimal",
        states.kModelEmpty: "optimal",
        states.kInfeasible: "infeasible",
        states.kUnbounded: "unbounded",
        states.kTimeLimit: "time_limit",
    }
    state = solver.getModelStatus()
    status, message = known.get(state, "failed"), solver.modelStatusToString(state)
    found = solver.getSolution()
    feasible = solver.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if status == "optimal":
        return Solution(
            status,
            float(solver.getInfo().objective_function_value),
            np.array(found.col_value),
            np.array(found.row_dual),
            np.array(found.col_dual),
            message,
        )
    if status == "time_limit" and feasible:
        return Solution(
            status, float(solver.getInfo().objective_function_value), np.array(found.col_value), message=message
        )
    return Solution(status, message=message)

"""HiGHS through its own Python interface: arrays in, arrays out, no text files."""

from typing import Any

import numpy as np

from interlock.solvers.interface import LinearProgram, Solution, Status


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

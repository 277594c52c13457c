"""Pyomo: programs as readable models, and every solver that Pyomo knows behind the same interface.

It is for reading, checking and users' own models; a loop of many solves belongs to a session of a direct solver.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from interlock.solvers.interface import (
    Abilities,
    Array,
    ConicProgram,
    LinearProgram,
    Program,
    QuadraticProgram,
    Solution,
    Status,
    linear_part,
)
from interlock.solvers.rebuilding import RebuildingSession

_CONDITIONS: dict[str, Status] = {
    "optimal": "optimal",
    "infeasible": "infeasible",
    "unbounded": "unbounded",
    "maxTimeLimit": "time_limit",
}


class PyomoSolver:
    """Implements ``interlock.solvers.interface.Solver`` with a solver that Pyomo knows by name.

    Args:
        name: as ``pyomo.environ.SolverFactory`` takes it.
        options: of that solver.
    """

    package: ClassVar[str] = "pyomo"
    abilities: Abilities = Abilities(integer=True)

    def __init__(self, name: str = "appsi_highs", options: Mapping[str, Any] | None = None):
        self.name = name
        if not name.startswith("appsi_"):  # those take linear programs only
            self.abilities = replace(self.abilities, quadratic=True)
        exact = {"mip_rel_gap": 0.0} if name == "appsi_highs" else {}
        self.options = {**exact, **(options or {})}

    def solve(self, program: Program, *, time_limit: float | None = None) -> Solution:
        """Declare a program as a Pyomo model and solve it; see the interface."""
        missing = self.abilities.missing(program)
        if missing or isinstance(program, ConicProgram):
            return Solution("unsupported", message=f"{self.name} does not solve {missing}")
        model = to_pyomo(program)
        found = self.solve_model(model, time_limit=time_limit)
        if found.objective is None:
            return found
        x = np.array([variable.value for variable in model.x.values()], float)
        if found.status != "optimal" or linear_part(program).integer is not None:
            return Solution(found.status, found.objective, x, message=found.message)
        names = linear_part(program).row_names  # a row without bounds is not declared
        row_duals = np.array([model.dual.get(model.row[name], 0.0) if name in model.row else 0.0 for name in names])
        reduced_costs = np.array([model.rc.get(variable, 0.0) for variable in model.x.values()], float)
        return Solution("optimal", found.objective, x, row_duals, reduced_costs, message=found.message)

    def solve_model(self, model: Any, *, time_limit: float | None = None) -> Solution:
        """Solve a ``ConcreteModel``; values, and duals where it has a suffix for them, are left in the model.

        Returns:
            Status, objective and message only.
        """
        found = self._run(model, time_limit)
        if found.message != "infeasibleOrUnbounded":
            return found
        objective = _objective(model)
        formula = objective.expr
        objective.set_value(0.0)  # with nothing to minimise it cannot be unbounded
        again = self._run(model, time_limit)
        objective.set_value(formula)
        return Solution("unbounded" if again.status == "optimal" else again.status, message=found.message)

    def open(self, program: LinearProgram) -> RebuildingSession:
        """A session that declares the program anew for every solve."""
        return RebuildingSession(self, program)

    def _run(self, model: Any, time_limit: float | None) -> Solution:
        import pyomo.environ as pyo

        solver = pyo.SolverFactory(self.name)
        if not solver.available(exception_flag=False):
            return Solution("failed", message=f"Pyomo finds no solver {self.name!r} on this machine")
        solver.options.update(self.options)
        limit = {} if time_limit is None else {"timelimit": time_limit}
        try:
            results = solver.solve(model, load_solutions=False, **limit)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            return Solution("failed", message=f"{self.name}: {error}")
        condition = str(results.solver.termination_condition)
        status = _CONDITIONS.get(condition, "failed")
        if status not in ("optimal", "time_limit") or not len(results.solution):
            return Solution("failed" if status == "optimal" else status, message=condition)
        results.solver.status = pyo.SolverStatus.ok  # its condition is known; the best point so far is welcome
        model.solutions.load_from(results)
        suffix = getattr(model, "rc", None)
        if status == "optimal" and suffix is not None and hasattr(solver, "get_reduced_costs"):
            suffix.update(solver.get_reduced_costs())  # the results of an APPSI solver leave them out
        return Solution(status, float(pyo.value(_objective(model))), message=condition)


def to_pyomo(program: LinearProgram | QuadraticProgram) -> Any:
    """A program as a ``ConcreteModel``: variables ``x[name]``, constraints ``row[name]``, objective ``cost``.

    The suffixes ``dual`` and ``rc`` take row duals and reduced costs of programs without integer columns.
    """
    import pyomo.environ as pyo
    from pyomo.core.expr import LinearExpression

    linear = linear_part(program)
    model = pyo.ConcreteModel()
    names = linear.column_names
    model.x = pyo.Var(names)
    x = list(model.x.values())
    for k, variable in enumerate(x):
        variable.setlb(_bound(linear.lower[k]))
        variable.setub(_bound(linear.upper[k]))
        if linear.integer is not None and linear.integer[k]:
            variable.domain = pyo.Integers
    model.row = pyo.Constraint(linear.row_names)
    for k, name in enumerate(linear.row_names):
        part = slice(linear.starts[k], linear.starts[k + 1])
        # A row without terms is not a constraint to Pyomo, so it gets one that is zero.
        terms = [(float(v), x[c]) for v, c in zip(linear.values[part], linear.columns[part], strict=True)] or [
            (0.0, x[0])
        ]
        body = LinearExpression(linear_coefs=[v for v, _ in terms], linear_vars=[c for _, c in terms])
        lower, upper = _bound(linear.row_lower[k]), _bound(linear.row_upper[k])
        if lower is not None or upper is not None:
            model.row[name] = body == lower if lower == upper else (lower, body, upper)
    formula = LinearExpression(linear_coefs=linear.cost.tolist(), linear_vars=x)
    if isinstance(program, QuadraticProgram):
        formula = formula + pyo.quicksum(
            float(value) * (0.5 if i == j else 1.0) * x[i] * x[j]
            for i, j, value in zip(program.rows, program.columns, program.values, strict=True)
        )
    model.cost = pyo.Objective(expr=formula, sense=pyo.maximize if linear.sense == "maximise" else pyo.minimize)
    if linear.integer is None:
        model.dual, model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT), pyo.Suffix(direction=pyo.Suffix.IMPORT)
    return model


def from_pyomo(model: Any) -> LinearProgram:
    """The linear program that a ``ConcreteModel`` declares, to be solved directly, again and again.

    Columns are the variables of its active objective and constraints, by their full names.

    Raises:
        ValueError: naming every part that is not linear, or if there is not exactly one objective.
    """
    import pyomo.environ as pyo
    from pyomo.repn import generate_standard_repn

    position: dict[int, int] = {}
    variables: list[Any] = []
    nonlinear: list[str] = []

    def terms(part: Any, body: Any) -> tuple[list[int], list[float], float]:
        found = generate_standard_repn(body)
        if not found.is_linear():
            nonlinear.append(f"{part.name} is not linear")
            return [], [], 0.0
        for variable in found.linear_vars:
            if id(variable) not in position:
                position[id(variable)] = len(variables)
                variables.append(variable)
        return [position[id(v)] for v in found.linear_vars], list(found.linear_coefs), pyo.value(found.constant)

    objective = _objective(model)
    cost_columns, cost_values, _ = terms(objective, objective.expr)
    rows = list(model.component_data_objects(pyo.Constraint, active=True))
    matrix = [terms(row, row.body) for row in rows]
    if nonlinear:
        raise ValueError("; ".join(nonlinear))
    cost = np.zeros(len(variables))
    cost[cost_columns] = cost_values
    constants = np.array([constant for _, _, constant in matrix], float)
    integer = np.array([not variable.is_continuous() for variable in variables], bool)
    return LinearProgram(
        cost=cost,
        lower=_numbers([variable.lb for variable in variables], -np.inf),
        upper=_numbers([variable.ub for variable in variables], np.inf),
        row_lower=_numbers([pyo.value(row.lower) for row in rows], -np.inf) - constants,
        row_upper=_numbers([pyo.value(row.upper) for row in rows], np.inf) - constants,
        starts=np.concatenate([[0], np.cumsum([len(columns) for columns, _, _ in matrix])]).astype(np.int32),
        columns=np.array([column for columns, _, _ in matrix for column in columns], np.int32),
        values=np.array([value for _, values, _ in matrix for value in values], float),
        column_names=tuple(variable.name for variable in variables),
        row_names=tuple(row.name for row in rows),
        sense="maximise" if objective.sense == pyo.maximize else "minimise",
        integer=integer if integer.any() else None,
    )


def _objective(model: Any) -> Any:
    import pyomo.environ as pyo

    found = list(model.component_data_objects(pyo.Objective, active=True))
    if len(found) != 1:
        raise ValueError(f"the model has {len(found)} active objectives, expected one")
    return found[0]


def _bound(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _numbers(values: list[float | None], without: float) -> Array:
    return np.array([without if value is None else value for value in values], float)

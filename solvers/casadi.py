r"""CasADi with Ipopt: an interior-point method for nonlinear programs, with exact derivatives of what CasADi knows.

Its multipliers belong to :math:`f + \lambda_g^\top g + \lambda_x^\top x + \lambda_p^\top p`, so the optimum changes by
:math:`-\lambda` per unit that an active bound or a parameter is raised; ours are the changes themselves.
For programs that are not convex an optimum is a local one, and so is infeasibility.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

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

_STATES: dict[str, Status] = {
    "Solve_Succeeded": "optimal",
    "Infeasible_Problem_Detected": "infeasible",
    "Diverging_Iterates": "unbounded",
    "Maximum_WallTime_Exceeded": "time_limit",
}
_EXACT: Mapping[str, Any] = {"tol": 1e-9, "bound_relax_factor": 0.0, "honor_original_bounds": "yes", "max_iter": 500}
_WARM: Mapping[str, Any] = {
    "warm_start_init_point": "yes",
    "warm_start_bound_push": 1e-8,
    "warm_start_bound_frac": 1e-8,
    "warm_start_slack_bound_push": 1e-8,
    "warm_start_slack_bound_frac": 1e-8,
    "warm_start_mult_bound_push": 1e-8,
    "mu_init": 1e-6,
}


@dataclass(frozen=True)
class NonlinearProgram:
    """Minimise ``f(x, p)`` over ``x`` where ``g(x, p)`` keeps bounds; symbols and formulas are CasADi's.

    Attributes:
        x: vector of symbols, ``n``.
        p: vector of symbols, the parameters.
        f: objective.
        g: vector of formulas, ``m``.
    """

    x: Any
    p: Any
    f: Any
    g: Any


@dataclass(frozen=True, slots=True)
class NonlinearSolution:
    """A local optimum and its prices.

    Attributes:
        status: as of ``Solution``.
        objective: value at ``x``; ``None`` unless optimal, like all that follow.
        x: ``(n,)``.
        row_duals: ``(m,)``, change of the optimum per unit that the active bound of ``g`` is raised.
        reduced_costs: ``(n,)``, the same for the bounds of ``x``.
        parameter_prices: change of the optimum per unit of each parameter.
        iterations: of Ipopt.
        message: Ipopt's own word for the status.
    """

    status: Status
    objective: float | None = None
    x: Array | None = None
    row_duals: Array | None = None
    reduced_costs: Array | None = None
    parameter_prices: Array | None = None
    iterations: int = 0
    message: str = ""


class NonlinearSession:
    """A nonlinear program compiled once and solved again and again with other parameters and bounds.

    A warm solve that fails is tried again cold.

    Args:
        program: what to compile.
        options: of Ipopt, by name.
    """

    def __init__(self, program: NonlinearProgram, options: Mapping[str, Any] | None = None):
        self._parts = {"x": program.x, "p": program.p, "f": program.f, "g": program.g}
        self._options = {**_EXACT, **(options or {})}
        self._solvers: dict[tuple[bool, float | None], Any] = {}
        self._last: Mapping[str, Any] | None = None

    def solve(
        self,
        start: Array,
        parameters: Array,
        bounds: tuple[Array, Array],
        row_bounds: tuple[Array, Array],
        *,
        warm: bool = False,
        time_limit: float | None = None,
    ) -> NonlinearSolution:
        """Solve from a point.

        Args:
            start: ``(n,)``; not used by a warm solve, which begins at the last optimum and its multipliers.
            parameters: of the program.
            bounds: lower and upper ``(n,)``.
            row_bounds: lower and upper ``(m,)``.
            warm: begin where the last solve ended.
            time_limit: wall-clock seconds.
        """
        data = dict(
            p=parameters, lbx=bounds[0], ubx=bounds[1], lbg=row_bounds[0], ubg=row_bounds[1], x0=start
        )  # fmt: skip
        if warm and self._last is not None:
            last = {"x0": self._last["x"], "lam_x0": self._last["lam_x"], "lam_g0": self._last["lam_g"]}
            found = self._run({**data, **last}, True, time_limit)
            if found.status == "optimal":
                return found
        return self._run(data, False, time_limit)

    def _run(self, data: Mapping[str, Any], warm: bool, time_limit: float | None) -> NonlinearSolution:
        key = (warm, time_limit)
        if key not in self._solvers:
            self._solvers[key] = _ipopt(self._parts, {**self._options, **(_WARM if warm else {})}, time_limit)
        solver = self._solvers[key]
        found = solver(**data)
        stats = solver.stats()
        message, iterations = stats["return_status"], int(stats.get("iter_count", 0))
        status = _STATES.get(message, "failed")
        if status != "optimal":
            return NonlinearSolution(status, iterations=iterations, message=message)
        self._last = found
        prices = (-_vector(found["lam_g"]), -_vector(found["lam_x"]), -_vector(found["lam_p"]))
        return NonlinearSolution(status, float(found["f"]), _vector(found["x"]), *prices, iterations, message)


@dataclass
class Casadi:
    """Implements ``interlock.solvers.interface.Solver`` with Ipopt.

    Attributes:
        options: of Ipopt, by name.
    """

    package: ClassVar[str] = "casadi"
    extra: ClassVar[str] = "hydro-ac"
    abilities: ClassVar[Abilities] = Abilities(quadratic=True, unbounded=False)

    options: Mapping[str, Any] = field(default_factory=dict)

    def solve(self, program: Program, *, time_limit: float | None = None) -> Solution:
        """Solve a linear or convex quadratic program; see the interface."""
        missing = self.abilities.missing(program)
        if missing or isinstance(program, ConicProgram):
            return Solution("unsupported", message=f"Ipopt does not solve {missing}")
        linear = linear_part(program)
        sign = -1.0 if linear.sense == "maximise" else 1.0
        middle = np.clip(np.zeros(len(linear.cost)), linear.lower, linear.upper)
        bounds, row_bounds = (linear.lower, linear.upper), (linear.row_lower, linear.row_upper)
        session = NonlinearSession(_formulas(program, sign), self.options)
        found = session.solve(middle, np.zeros(0), bounds, row_bounds, time_limit=time_limit)
        if found.objective is None or found.row_duals is None or found.reduced_costs is None:
            return Solution(found.status, message=found.message)
        duals = sign * found.row_duals, sign * found.reduced_costs
        return Solution("optimal", sign * found.objective, found.x, *duals, message=found.message)

    def open(self, program: LinearProgram) -> RebuildingSession:
        """A session that compiles the program anew for every solve."""
        return RebuildingSession(self, program)


def _formulas(program: LinearProgram | QuadraticProgram, sign: float) -> NonlinearProgram:
    import casadi

    linear = linear_part(program)
    n, m = len(linear.cost), len(linear.row_lower)
    x = casadi.MX.sym("x", n)
    rows = sparse.csc_matrix(sparse.csr_matrix((linear.values, linear.columns, linear.starts), shape=(m, n)))
    objective = sign * casadi.dot(casadi.DM(linear.cost), x)
    if isinstance(program, QuadraticProgram):
        lower = sparse.csc_matrix((sign * program.values, (program.rows, program.columns)), shape=(n, n))
        whole = sparse.csc_matrix(lower + sparse.tril(lower, -1).T)
        objective += casadi.bilin(casadi.DM(whole), x, x) / 2
    return NonlinearProgram(x, casadi.MX.sym("p", 0), objective, casadi.densify(casadi.mtimes(casadi.DM(rows), x)))


def _ipopt(parts: Mapping[str, Any], options: Mapping[str, Any], time_limit: float | None) -> Any:
    import casadi

    limit = {} if time_limit is None else {"max_wall_time": time_limit}
    quiet = {"print_time": False, "error_on_fail": False}
    return casadi.nlpsol(
        "solver", "ipopt", dict(parts), {**quiet, "ipopt": {"print_level": 0, "sb": "yes", **options, **limit}}
    )


def _vector(found: Any) -> Array:
    vector: Array = np.array(found, float).ravel()
    return vector

r"""Clarabel, an interior-point method for linear and convex quadratic programs and second-order cones.

Its form is :math:`\min\; x^\top P x / 2 + q^\top x` where :math:`A x + s = b` and ``s`` lies in cones: zero
for equalities, nonnegative for other bounds, second-order cones. With the multipliers ``z`` of its equations the
optimum changes by ``-z`` per unit of ``b``, which gives all duals.
"""

from dataclasses import dataclass, replace
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

USUAL = 1e-8
"""Clarabel's own tolerance, for programs that it does not solve more exactly."""

_STATES: dict[str, Status] = {
    "Solved": "optimal",
    "PrimalInfeasible": "infeasible",
    "DualInfeasible": "unbounded",
    "MaxTime": "time_limit",
}


class Clarabel:
    """Implements ``interlock.solvers.interface.Solver``; takes a ``ConicProgram`` as well.

    Args:
        tolerance: largest relative gap and residual of an optimum.
        reuse: keep the analysis of the last program for the next one, which is quicker where programs differ only in
            finite bounds, costs and offsets; such an object is not safe to share between threads.
    """

    package: ClassVar[str] = "clarabel"
    extra: ClassVar[str] = "conic"
    abilities: ClassVar[Abilities] = Abilities(quadratic=True, conic=True)

    def __init__(self, tolerance: float = 1e-9, *, reuse: bool = False):
        self.tolerance = tolerance
        self.reuse = reuse
        self._last: tuple[_Form, Any] | None = None

    def solve(self, program: Program, *, time_limit: float | None = None) -> Solution:
        """Solve a program; see the interface."""
        missing = self.abilities.missing(program)
        if missing:
            return Solution("unsupported", message=f"Clarabel does not solve {missing}")
        form = _form(program)
        found = self._solver(form, time_limit).solve()
        status = _STATES.get(str(found.status), "failed")
        if status == "unbounded" and not self._feasible(form):
            status = "infeasible"
        if status == "failed" and self.tolerance < USUAL:
            return Clarabel(USUAL).solve(program, time_limit=time_limit)
        if status != "optimal":
            return Solution(status, message=str(found.status))
        return _solution(program, form, np.array(found.x), np.array(found.z))

    def open(self, program: LinearProgram) -> RebuildingSession:
        """A session that keeps the analysis of the program, and no point: interior-point methods begin cold."""
        return RebuildingSession(Clarabel(self.tolerance, reuse=True), program)

    def _solver(self, form: "_Form", time_limit: float | None) -> Any:
        import clarabel

        if self.reuse and time_limit is None and self._last is not None and self._last[0].differs_in_numbers(form):
            self._last[1].update(q=form.cost, b=form.right)
            return self._last[1]
        settings = clarabel.DefaultSettings()
        settings.verbose, settings.presolve_enable = False, False  # a presolved program cannot be updated
        settings.max_threads = 1
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = self.tolerance
        settings.tol_infeas_abs = settings.tol_infeas_rel = self.tolerance
        if time_limit is not None:
            settings.time_limit = time_limit
        sizes = [int(mask.sum()) for mask in form.masks]
        cones = [clarabel.ZeroConeT(sum(sizes[:2])), clarabel.NonnegativeConeT(sum(sizes[2:]))]
        cones += [clarabel.SecondOrderConeT(int(size)) for size in form.cones]
        solver = clarabel.DefaultSolver(form.curvature, form.cost, form.matrix, form.right, cones, settings)
        self._last = (form, solver) if time_limit is None else None
        return solver

    def _feasible(self, form: "_Form") -> bool:
        """Whether the program has a point: a direction of endless descent alone does not tell."""
        nothing = replace(form, curvature=sparse.csc_matrix(form.curvature.shape), cost=np.zeros(len(form.cost)))
        return str(Clarabel(self.tolerance)._solver(nothing, None).solve().status) == "Solved"


@dataclass(frozen=True)
class _Form:
    """A program as Clarabel wants it.

    Attributes:
        curvature: P, upper triangle.
        cost: q.
        matrix: A.
        right: b.
        masks: rows that are equalities, columns that are fixed, rows with an upper and with a lower bound, columns with
            an upper and with a lower bound, in the order of the rows of ``matrix``.
        cones: sizes of the second-order cones.
        sign: -1 for a program that maximises.
    """

    curvature: Any
    cost: Array
    matrix: Any
    right: Array
    masks: tuple[Array, ...]
    cones: Array
    sign: float

    def differs_in_numbers(self, other: "_Form") -> bool:
        """Whether costs and right sides are all that may differ."""
        return all(
            np.array_equal(one.indptr, two.indptr)
            and np.array_equal(one.indices, two.indices)
            and np.array_equal(one.data, two.data)
            for one, two in ((self.curvature, other.curvature), (self.matrix, other.matrix))
        ) and all(map(np.array_equal, (*self.masks, self.cones), (*other.masks, other.cones)))


def _form(program: Program) -> _Form:
    linear = linear_part(program)
    n, m = len(linear.cost), len(linear.row_lower)
    sign = -1.0 if linear.sense == "maximise" else 1.0
    rows = sparse.csr_matrix((linear.values, linear.columns, linear.starts), shape=(m, n))
    same = sparse.identity(n, format="csr")
    equal, fixed = linear.row_lower == linear.row_upper, linear.lower == linear.upper
    masks = (
        equal,
        fixed,
        ~equal & np.isfinite(linear.row_upper),
        ~equal & np.isfinite(linear.row_lower),
        ~fixed & np.isfinite(linear.upper),
        ~fixed & np.isfinite(linear.lower),
    )
    parts = [rows[masks[0]], same[masks[1]], rows[masks[2]], -rows[masks[3]], same[masks[4]], -same[masks[5]]]
    right = [linear.row_upper[masks[0]], linear.upper[masks[1]], linear.row_upper[masks[2]]]
    right += [-linear.row_lower[masks[3]], linear.upper[masks[4]], -linear.lower[masks[5]]]
    sizes = np.zeros(0, int)
    if isinstance(program, ConicProgram):
        shape = (len(program.offset), n)
        parts.append(-sparse.csr_matrix((program.values, program.columns, program.starts), shape=shape))
        right.append(program.offset)
        sizes = program.sizes
    curvature = sparse.csc_matrix((n, n))
    if isinstance(program, QuadraticProgram):
        curvature = sparse.csc_matrix((sign * program.values, (program.columns, program.rows)), shape=(n, n))
    matrix = sparse.csc_matrix(sparse.vstack(parts))
    return _Form(curvature, sign * linear.cost, matrix, np.concatenate(right), masks, sizes, sign)


def _solution(program: Program, form: _Form, x: Array, z: Array) -> Solution:
    linear = linear_part(program)
    sizes = [int(mask.sum()) for mask in form.masks]
    price = np.split(-form.sign * z, np.cumsum(sizes))
    row_duals, reduced_costs = np.zeros(len(linear.row_lower)), np.zeros(len(x))
    for duals, places in ((row_duals, (0, 2, 3)), (reduced_costs, (1, 4, 5))):
        for place in places:
            lower = place in (3, 5)
            duals[form.masks[place]] += -price[place] if lower else price[place]
    objective = float(linear.cost @ x)
    if isinstance(program, QuadraticProgram):
        objective += form.sign * float(x @ form.curvature @ x - x**2 @ form.curvature.diagonal() / 2)
    cone_duals = price[6] if isinstance(program, ConicProgram) else None
    return Solution("optimal", objective, x, row_duals, reduced_costs, cone_duals, message="Solved")

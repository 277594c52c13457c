"""A solver for tiny linear programs: looks at every vertex, and takes the one whose prices have the right signs."""

from itertools import combinations

import numpy as np

from interlock.solvers.interface import Abilities, LinearProgram, Program, Solution
from interlock.solvers.rebuilding import RebuildingSession

TOLERANCE = 1e-7


class Vertices:
    """Implements ``interlock.solvers.interface.Solver`` for programs whose feasible set has a vertex."""

    abilities = Abilities(most_columns=3)

    def solve(self, program: Program, *, time_limit: float | None = None) -> Solution:
        """The best of all feasible vertices; ``time_limit`` is not needed for programs this small."""
        missing = self.abilities.missing(program)
        if missing or not isinstance(program, LinearProgram):
            return Solution("unsupported", message=f"looks at vertices of small linear programs only, not at {missing}")
        n, m = len(program.cost), len(program.row_lower)
        matrix = np.zeros((m, n))
        for row in range(m):
            part = slice(program.starts[row], program.starts[row + 1])
            matrix[row, program.columns[part]] = program.values[part]
        planes = np.vstack([matrix, np.eye(n)])
        low = np.concatenate([program.row_lower, program.lower])
        high = np.concatenate([program.row_upper, program.upper])
        # Every bound is a plane with a side; +1 is a lower bound, whose price must not be negative.
        sides = [(k, low[k], 1.0) for k in np.flatnonzero(np.isfinite(low))]
        sides += [(k, high[k], -1.0) for k in np.flatnonzero(np.isfinite(high) & (low != high))]
        chosen = np.array(list(combinations(range(len(sides)), n)), int).reshape(-1, n)
        plane, value, side = (np.array(part)[chosen] for part in zip(*sides, strict=True)) if sides else (chosen,) * 3
        regular = np.abs(np.linalg.det(planes[plane.astype(int)])) > TOLERANCE
        plane, value, side = plane[regular].astype(int), value[regular], side[regular]
        x = np.linalg.solve(planes[plane], value[..., None])[..., 0]
        activity = x @ planes.T
        inside = ((activity >= low - TOLERANCE) & (activity <= high + TOLERANCE)).all(axis=1)
        if not inside.any():
            return Solution("infeasible", message="no vertex is feasible")
        plane, side, x = plane[inside], side[inside], x[inside]
        sign = 1.0 if program.sense == "minimise" else -1.0
        prices = np.linalg.solve(np.swapaxes(planes[plane], 1, 2), np.tile(sign * program.cost, (len(x), 1))[..., None])
        prices = prices[..., 0]
        right = ((prices * side >= -TOLERANCE) | (low == high)[plane]).all(axis=1)
        if not right.any():
            return Solution("unbounded", message="no vertex is the best one")
        best = int(np.argmax(right))
        duals = np.zeros(m + n)
        duals[plane[best]] = sign * prices[best]
        return Solution("optimal", float(program.cost @ x[best]), x[best], duals[:m], duals[m:])

    def open(self, program: LinearProgram) -> RebuildingSession:
        """A session that looks at all vertices anew."""
        return RebuildingSession(self, program)

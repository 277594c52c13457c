"""A solver for tiny linear programs: looks at every vertex. Unbounded programs are not recognised."""

from itertools import combinations

import numpy as np

from interlock.solvers.interface import LinearProgram, Solution

TOLERANCE = 1e-9


class Vertices:
    """Implements ``interlock.solvers.interface.Solver``; gives no duals."""

    def solve(self, program: LinearProgram, *, time_limit: float | None = None) -> Solution:
        """The best of all feasible vertices; ``time_limit`` is not needed for programs this small."""
        n, m = len(program.cost), len(program.row_lower)
        matrix = np.zeros((m, n))
        for row in range(m):
            part = slice(program.starts[row], program.starts[row + 1])
            matrix[row, program.columns[part]] = program.values[part]
        planes = np.vstack([matrix, np.eye(n)])
        low = np.concatenate([program.row_lower, program.lower])
        high = np.concatenate([program.row_upper, program.upper])
        sides = [(k, side) for k in range(m + n) for side in {low[k], high[k]} if np.isfinite(side)]
        sign = 1.0 if program.sense == "minimise" else -1.0
        best: tuple[float, np.ndarray] | None = None
        for chosen in combinations(sides, n):
            rows = planes[[k for k, _ in chosen]]
            if abs(np.linalg.det(rows)) < TOLERANCE:
                continue
            x = np.linalg.solve(rows, [side for _, side in chosen])
            inside = (planes @ x >= low - TOLERANCE).all() and (planes @ x <= high + TOLERANCE).all()
            if inside and (best is None or sign * program.cost @ x < best[0]):
                best = (float(sign * program.cost @ x), x)
        if best is None:
            return Solution("infeasible", message="no vertex is feasible")
        return Solution("optimal", sign * best[0], best[1])

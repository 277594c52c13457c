"""A session for solvers that keep nothing between solves: it keeps the program and hands it over anew each time."""

from itertools import pairwise
from typing import Any

import numpy as np

from interlock.solvers.interface import Array, Basis, LinearProgram, Solution, Solver


class RebuildingSession:
    """Implements ``interlock.solvers.interface.Session`` with any solver's ``solve``; there is no warm start.

    Args:
        solver: solves what the program has become.
        program: to begin with.
    """

    def __init__(self, solver: Solver, program: LinearProgram):
        self._solver = solver
        self._column_names, self._sense, self._integer = program.column_names, program.sense, program.integer
        self._cost, self._lower, self._upper = program.cost.copy(), program.lower.copy(), program.upper.copy()
        self._row_lower, self._row_upper = program.row_lower.copy(), program.row_upper.copy()
        self._rows = [
            (program.columns[start:end], program.values[start:end]) for start, end in pairwise(program.starts)
        ]
        self._row_names = list(program.row_names)
        self._added = 0

    def change_rows(self, rows: Array, lower: Array, upper: Array) -> None:
        """New bounds of some rows."""
        rows = _positions(rows, len(self._row_lower))
        self._row_lower[rows], self._row_upper[rows] = lower, upper

    def change_columns(self, columns: Array, lower: Array, upper: Array) -> None:
        """New bounds of some columns."""
        columns = _positions(columns, len(self._cost))
        self._lower[columns], self._upper[columns] = lower, upper

    def change_costs(self, columns: Array, cost: Array) -> None:
        """New costs of some columns."""
        self._cost[_positions(columns, len(self._cost))] = cost

    def add_rows(self, lower: Array, upper: Array, starts: Array, columns: Array, values: Array) -> None:
        """Further rows at the end; ``program`` calls them ``added[0]``, ``added[1]`` and so on."""
        columns = _positions(columns, len(self._cost))
        self._row_lower = np.concatenate([self._row_lower, lower])
        self._row_upper = np.concatenate([self._row_upper, upper])
        for start, end in pairwise(starts):
            self._rows.append((columns[start:end], values[start:end]))
            self._row_names.append(f"added[{self._added}]")
            self._added += 1

    def remove_rows(self, rows: Array) -> None:
        """Take rows out."""
        gone = np.unique(_positions(rows, len(self._row_lower)))
        self._row_lower, self._row_upper = np.delete(self._row_lower, gone), np.delete(self._row_upper, gone)
        for row in gone[::-1]:
            del self._rows[row], self._row_names[row]

    def solve(self, *, time_limit: float | None = None) -> Solution:
        """Solve what the program is now."""
        if (self._lower > self._upper).any() or (self._row_lower > self._row_upper).any():
            return Solution("infeasible", message="a lower bound is above its upper bound")
        return self._solver.solve(self.program(), time_limit=time_limit)

    def basis(self) -> Basis | None:
        """None: nothing is known of the solver's."""
        return None

    def start_from(self, basis: Basis | None) -> None:
        """Every solve begins cold."""

    def program(self) -> LinearProgram:
        """What the program is now."""
        counts = [len(values) for _, values in self._rows]
        return LinearProgram(
            cost=self._cost.copy(),
            lower=self._lower.copy(),
            upper=self._upper.copy(),
            row_lower=self._row_lower.copy(),
            row_upper=self._row_upper.copy(),
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            columns=np.concatenate([np.zeros(0, np.int32), *(columns for columns, _ in self._rows)]),
            values=np.concatenate([np.zeros(0), *(values for _, values in self._rows)]),
            column_names=self._column_names,
            row_names=tuple(self._row_names),
            sense=self._sense,
            integer=self._integer,
        )


def _positions(found: Any, count: int) -> Array:
    positions = np.asarray(found, np.int32)
    if positions.size and not (positions.min() >= 0 and positions.max() < count):
        raise ValueError(f"positions must be between 0 and {count - 1}")
    return positions

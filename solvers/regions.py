"""Families of small linear programs that differ in their bounds only, solved by the regions of their optimal bases.

Costs and matrix are common, so a basis that was optimal for one program has the right reduced costs for all of them: it
is optimal wherever the vertex it gives is feasible (a critical region of parametric programming). A batch is checked
against the known bases, vertex by vertex; what none of them solves goes to the solver, whose basis is then known too.
Answers are as exact as the solver's: feasible to the same tolerance, with reduced costs that it found optimal.
"""

from dataclasses import dataclass

import numba
import numpy as np

from interlock.solvers.interface import Array, LinearProgram, Session, Solution

TOLERANCE = 1e-7
"""Largest violation of a bound, in its unit: the solver's own."""


MOST_BASES = 400
"""Bases that are kept: beyond this, looking through them takes as long as solving a program warm."""

LOWER, BASIC, UPPER, ZERO = 0, 1, 2, 3
"""Codes of a basis, as in ``interlock.solvers.interface.Basis``."""

FAILED, ALONE = -2, -3
"""Instead of a region: a program without a solution, and one that was solved when no more bases were kept."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Solutions of a batch.

    Attributes:
        objective: ``(N,)``; NaN where there is none.
        x: ``(N, n)``.
        row_duals: ``(N, m)``.
        reduced_costs: ``(N, n)``.
        failed: program -> what the solver said, for those without a solution.
    """

    objective: Array
    x: Array
    row_duals: Array
    reduced_costs: Array
    failed: dict[int, Solution]


class Regions:
    """The optimal bases met so far, most frequent first.

    Args:
        program: costs and matrix of the family; its bounds are not used.
        session: of a solver that holds the program and tells bases.
    """

    def __init__(self, program: LinearProgram, session: Session):
        self.program = program
        self.session = session
        self.matrix = dense(program)
        self.cost = program.cost.astype(float)
        self._columns = np.arange(len(program.cost), dtype=np.int32)
        self._rows = np.arange(len(program.row_lower), dtype=np.int32)
        self._forget()

    def change_costs(self, cost: Array) -> None:
        """New costs ``(n,)`` of all columns; the bases that are no longer optimal anywhere are forgotten."""
        if np.array_equal(cost, self.cost):
            return
        self.cost = np.asarray(cost, float)
        self.session.change_costs(self._columns, self.cost)
        known = zip(self.bases, self.fixed, self.counts, strict=True)
        self._forget()
        for basis, fixed, count in known:
            if self._learn(basis, fixed):
                self.counts[-1] = count

    def solve(self, lower: Array, upper: Array, row_lower: Array, row_upper: Array) -> Batch:
        """Solve ``N`` programs: bounds of the columns ``(N, n)`` and of the rows ``(N, m)``."""
        count = len(lower)
        x = np.empty((count, len(self._columns)))
        region = np.full(count, -1, np.int64)
        failed: dict[int, Solution] = {}
        order = np.argsort(-np.asarray(self.counts, np.int64), kind="stable")
        self._try(order, lower, upper, row_lower, row_upper, x, region)
        row_duals = np.full((count, len(self._rows)), np.nan)
        reduced_costs = np.full((count, len(self._columns)), np.nan)
        self.session.start_from(None)  # the same batch has the same answer, whatever the session solved before
        while (left := np.flatnonzero(region == -1)).size:
            k = left[0]
            self.session.change_columns(self._columns, lower[k], upper[k])
            self.session.change_rows(self._rows, row_lower[k], row_upper[k])
            solution = self.session.solve()
            basis = self.session.basis() if solution.status == "optimal" else None
            if solution.x is None or basis is None:
                failed[int(k)] = solution
                region[k] = FAILED
                continue
            if len(self.bases) >= MOST_BASES:
                x[k], row_duals[k], reduced_costs[k] = solution.x, solution.row_duals, solution.reduced_costs
                region[k] = ALONE
                continue
            fixed = np.concatenate([lower[k] == upper[k], row_lower[k] == row_upper[k]])
            self._learn(np.concatenate([basis.columns, basis.rows]).astype(np.int8), fixed, optimal=True)
            x[k], region[k] = solution.x, len(self.bases) - 1
            self._try(np.array([len(self.bases) - 1]), lower, upper, row_lower, row_upper, x, region)
        used, times = np.unique(region[region >= 0], return_counts=True)
        for index, more in zip(used, times, strict=True):
            self.counts[index] += int(more)
        solved = region >= 0
        x[region == FAILED] = np.nan
        row_duals[solved] = self._row_duals[region[solved]]
        reduced_costs[solved] = self._reduced_costs[region[solved]]
        return Batch(x @ self.cost, x, row_duals, reduced_costs, failed)

    def state(self) -> dict[str, Array]:
        """The bases and how often each was met, for checkpoints."""
        width = len(self._columns) + len(self._rows)
        return {
            "bases": np.array(self.bases, np.int8).reshape(-1, width),
            "fixed": np.array(self.fixed, np.bool_).reshape(-1, width),
            "counts": np.array(self.counts, np.int64),
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Know again what ``state`` told, in the same order."""
        self._forget()
        for basis, fixed, count in zip(state["bases"], state["fixed"], state["counts"], strict=True):
            if self._learn(basis, fixed):
                self.counts[-1] = int(count)

    def _forget(self) -> None:
        self.bases: list[Array] = []
        self.fixed: list[Array] = []
        self.counts: list[int] = []
        n, m = len(self._columns), len(self._rows)
        self._row_duals, self._reduced_costs = np.empty((0, m)), np.empty((0, n))
        self._packed = _Packed(n, m)

    def _learn(self, basis: Array, fixed: Array, *, optimal: bool = False) -> bool:
        """Add a basis if it is known to be optimal or its prices are; a fixed value may have a price of either sign.

        Prices with the sign that only an equality bears make the basis one of programs with that equality.
        """
        n = len(self._columns)
        columns, rows = basis[:n], basis[n:]
        basic, active = np.flatnonzero(columns == BASIC), np.flatnonzero(rows != BASIC)
        inverse = np.linalg.inv(self.matrix[np.ix_(active, basic)])
        row_dual = np.zeros(len(rows))
        row_dual[active] = self.cost[basic] @ inverse
        reduced = self.cost - row_dual @ self.matrix
        reduced[basic] = 0.0
        wrong = np.concatenate([_wrong(columns, reduced), _wrong(rows, row_dual)])
        if (wrong & ~fixed).any() and not optimal:
            return False
        self.bases.append(np.array(basis, np.int8))
        self.fixed.append(np.array(fixed, np.bool_))
        self.counts.append(0)
        self._row_duals = np.vstack([self._row_duals, row_dual])
        self._reduced_costs = np.vstack([self._reduced_costs, reduced])
        self._packed.add(columns, rows, wrong & fixed, basic, active, inverse)
        return True

    def _try(self, order: Array, lower: Array, upper: Array, row_lower: Array, row_upper: Array, x: Array,
             region: Array) -> None:  # fmt: skip
        packed = self._packed
        _find(order, self.matrix, packed.columns, packed.rows, packed.equal, packed.size, packed.basic, packed.active,
              packed.inverse, lower, upper, row_lower, row_upper, x, region)  # fmt: skip


class _Packed:
    """The bases as arrays that a kernel can read; room grows by doubling."""

    def __init__(self, n: int, m: int):
        self.count, self.widest = 0, 4
        self.columns, self.rows = np.zeros((8, n), np.int8), np.zeros((8, m), np.int8)
        self.equal = np.zeros((8, n + m), np.bool_)
        self.size = np.zeros(8, np.int64)
        self.basic, self.active = np.zeros((8, 4), np.int64), np.zeros((8, 4), np.int64)
        self.inverse = np.zeros((8, 4, 4))

    def add(self, columns: Array, rows: Array, equal: Array, basic: Array, active: Array, inverse: Array) -> None:
        room = len(self.size) if self.count < len(self.size) else 2 * len(self.size)
        wide = max(self.widest, len(basic))
        if room != len(self.size) or wide != self.widest:
            self.widest = wide
            self.columns, self.rows = _grown(self.columns, room), _grown(self.rows, room)
            self.size, self.equal = _grown(self.size, room), _grown(self.equal, room)
            self.basic, self.active = _grown(self.basic, room, wide), _grown(self.active, room, wide)
            self.inverse = _grown(self.inverse, room, wide, wide)
        k, size = self.count, len(basic)
        self.columns[k], self.rows[k], self.equal[k], self.size[k] = columns, rows, equal, size
        self.basic[k, :size], self.active[k, :size], self.inverse[k, :size, :size] = basic, active, inverse
        self.count += 1


def dense(program: LinearProgram) -> Array:
    """The matrix of a program as ``(m, n)``."""
    matrix = np.zeros((len(program.row_lower), len(program.cost)))
    row = np.repeat(np.arange(len(program.row_lower)), np.diff(program.starts))
    np.add.at(matrix, (row, program.columns), program.values)
    return matrix


def _grown(array: Array, *shape: int) -> Array:
    larger = np.zeros((*shape, *array.shape[len(shape) :]), array.dtype)
    larger[tuple(slice(length) for length in array.shape)] = array
    return larger


def _wrong(status: Array, price: Array) -> Array:
    """Where prices have a sign that no optimum of a minimisation has at such a bound, ``(k,)``."""
    scale = TOLERANCE * (1.0 + np.abs(price).max(initial=0.0))
    wrong: Array = (price < -scale) & (status == LOWER)
    wrong |= (price > scale) & (status == UPPER)
    wrong |= (np.abs(price) > scale) & (status == ZERO)
    return wrong


@numba.njit(cache=True)
def _find(  # type: ignore[no-untyped-def]
    order, matrix, columns, rows, equal, size, basic, active, inverse, lower, upper, row_lower, row_upper, x, region
):
    """For every program without a region, the first basis in ``order`` whose vertex is feasible, and the vertex."""
    vertex = np.empty(matrix.shape[1])
    for k in range(len(region)):
        if region[k] != -1:
            continue
        for position in range(len(order)):
            g = order[position]
            if not _fixed(equal[g], lower[k], upper[k], row_lower[k], row_upper[k]):
                continue
            if _vertex(matrix, columns[g], rows[g], size[g], basic[g], active[g], inverse[g], lower[k], upper[k],
                       row_lower[k], row_upper[k], vertex):  # fmt: skip
                x[k] = vertex
                region[k] = g
                break


@numba.njit(cache=True)
def _fixed(equal, lower, upper, row_lower, row_upper):  # type: ignore[no-untyped-def]
    """Whether everything that a basis takes for fixed has one value only."""
    n, apart = len(lower), False
    for j in range(len(equal)):
        if equal[j]:
            apart = apart or (lower[j] != upper[j] if j < n else row_lower[j - n] != row_upper[j - n])
    return not apart


@numba.njit(cache=True)
def _vertex(matrix, columns, rows, size, basic, active, inverse, lower, upper, row_lower, row_upper, x):  # type: ignore[no-untyped-def]
    """Fill ``x`` with the vertex of a basis; whether it is feasible."""
    for j in range(len(x)):
        x[j] = lower[j] if columns[j] == LOWER else upper[j] if columns[j] == UPPER else 0.0
        if not np.isfinite(x[j]) or lower[j] > upper[j] + TOLERANCE:
            return False
    right = np.empty(size)
    for a in range(size):
        i = active[a]
        if row_lower[i] > row_upper[i] + TOLERANCE:
            return False
        right[a] = (row_lower[i] if rows[i] == LOWER else row_upper[i]) - _activity(matrix[i], x)
    for b in range(size):
        j = basic[b]
        x[j] = _activity(inverse[b, :size], right)
        if not (lower[j] - TOLERANCE <= x[j] <= upper[j] + TOLERANCE):
            return False
    for i in range(len(rows)):
        if rows[i] == BASIC:
            activity = _activity(matrix[i], x)
            if not (row_lower[i] - TOLERANCE <= activity <= row_upper[i] + TOLERANCE):
                return False
    return True


@numba.njit(cache=True)
def _activity(row, x):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(len(x)):
        total += row[j] * x[j]
    return total

"""Families of small linear programs that differ in their bounds only, solved one from the basis of another.

Where hardly two programs of a batch share an optimal basis (``interlock.solvers.regions`` is for those that do), they
still share costs and matrix: the optimal basis of one program has prices that are right for all of them, once all that
is not basic stands at the bound which the sign of its price asks for. A few steps of the dual simplex method then
repair what the other bounds made infeasible (Lemke, Naval Research Logistics Quarterly 1 (1954)); what stands in the
way of a step changes to its other bound where that leaves a step worth taking (Maros, Computational Techniques of the
Simplex Method (2003)). Rows are many and those that bind are few, so a basis is kept as the inverse of its kernel: the
rows that bind, by the columns between their bounds.

No answer is believed from steps alone: vertex and prices are computed anew from the last basis, and checked. What fails
goes to the solver, as do programs without a solution.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numba
import numpy as np

from interlock.solvers.interface import Array, LinearProgram, Session, Solution
from interlock.solvers.regions import BASIC, LOWER, TOLERANCE, UPPER, Batch, dense

MOST_STEPS = 2000
"""Of one program, before it is left to the solver."""

SMALLEST_PIVOT = 1e-7
"""A number of the tableau below this is taken for round-off."""

ROUND_OFF = 1e-9
"""Relative: by how much a price may have the wrong sign, or a row that binds may miss its bound."""


class Pivots:
    """Solves batches; nothing is remembered in between, so the same batch has the same answer at any time.

    Args:
        program: costs and matrix of the family; its bounds are not used.
        session: of a solver that holds the program, for what is left to it.
    """

    def __init__(self, program: LinearProgram, session: Session):
        self.session = session
        self.matrix = dense(program)
        self.cost = program.cost.astype(float)
        self.steps, self.left = 0, 0
        self._columns = np.arange(len(program.cost), dtype=np.int32)
        self._rows = np.arange(len(program.row_lower), dtype=np.int32)

    def change_costs(self, cost: Array) -> None:
        """New costs ``(n,)`` of all columns."""
        if not np.array_equal(cost, self.cost):
            self.cost = np.asarray(cost, float)
            self.session.change_costs(self._columns, self.cost)

    def solve(self, lower: Array, upper: Array, row_lower: Array, row_upper: Array) -> Batch:
        """Solve ``N`` programs: bounds of the columns ``(N, n)`` and of the rows ``(N, m)``."""
        count, n = lower.shape
        lowest, highest = np.hstack([lower, row_lower]), np.hstack([upper, row_upper])
        value, price = np.full((2, count, n + len(self._rows)), np.nan)
        family = _Family(self.matrix, np.ascontiguousarray(self.matrix.T), self.cost)
        solved, steps = _chain(family, lowest, highest, value, price)
        failed: dict[int, Solution] = {}
        self.session.start_from(None)  # as everywhere: nothing that was solved before changes an answer
        for k in np.flatnonzero(~solved):
            self.session.change_columns(self._columns, lower[k], upper[k])
            self.session.change_rows(self._rows, row_lower[k], row_upper[k])
            solution = self.session.solve()
            if solution.status != "optimal" or solution.x is None:
                value[k], price[k], failed[int(k)] = np.nan, np.nan, solution
                continue
            value[k, :n] = solution.x
            price[k, :n], price[k, n:] = solution.reduced_costs, solution.row_duals
        self.steps, self.left = self.steps + int(steps), self.left + int((~solved).sum())
        return Batch(value[:, :n] @ self.cost, value[:, :n], price[:, n:], price[:, :n], failed)

    def state(self) -> dict[str, Array]:
        """Nothing is remembered."""
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Nothing to know again."""


class _Family(NamedTuple):
    """What programs have in common: matrix ``(m, n)``, its transpose, costs ``(n,)``."""

    matrix: Array
    transposed: Array
    cost: Array


class _Kernel(NamedTuple):
    """A basis; columns come first, then rows.

    ``status`` ``(n + m,)``; the columns between their bounds and the rows that bind, ``(size,)`` each, in vectors with
    room for more, and where either of them is ``(n + m,)``; the inverse of the rows by these columns.
    """

    status: Array
    basic: Array
    active: Array
    place: Array
    inverse: Array


@numba.njit(cache=True)
def _chain(family, lowest, highest, values, prices):  # type: ignore[no-untyped-def]
    """Solve programs, each from the basis of the one before; which are solved, and the number of steps."""
    m, n = family.matrix.shape
    room = min(m, n) + 1
    solved = np.zeros(len(lowest), np.bool_)
    kernel = _Kernel(np.empty(n + m, np.int8), np.empty(room, np.int64), np.empty(room, np.int64),
                     np.empty(n + m, np.int64), np.empty((room, room)))  # fmt: skip
    size, total = -1, 0
    for k in range(len(lowest)):
        if size < 0:  # nothing binds and all columns stand at a bound
            size = 0
            kernel.status[:n], kernel.status[n:] = LOWER, BASIC
        size, steps = _solve(family, kernel, size, lowest[k], highest[k], values[k], prices[k])
        total += steps
        solved[k] = size >= 0
    return solved, total


@numba.njit(cache=True)
def _solve(family, kernel, size, lowest, highest, value, price):  # type: ignore[no-untyped-def]
    """Solve a program from a basis, which becomes its own; the size of the kernel, -1 if that fails, and steps."""
    rate, flipped = np.zeros(len(value)), np.empty(len(value), np.int64)
    steps = 0
    while steps < MOST_STEPS:
        if not _anew(family, kernel, size, lowest, highest, value, price):
            return -1, steps
        begun = steps
        while steps < MOST_STEPS:
            leaving, short = _leaving(kernel.status, lowest, highest, value)
            if leaving < 0:
                break
            _sensitivity(family, kernel, size, leaving, rate)
            entering, flips = _entering(kernel.status, lowest, highest, short, rate, price, flipped)
            if entering < 0:
                return -1, steps
            _move(family, kernel, size, leaving, entering, short, rate, flipped, flips, lowest, highest, value)
            step = price[entering] / rate[entering]
            _add(price, -step, rate)
            price[entering], price[leaving] = 0.0, step
            size = _exchange(family, kernel, size, leaving, entering, rate)
            kernel.status[leaving], kernel.status[entering] = LOWER if short > 0.0 else UPPER, BASIC
            steps += 1
        if steps == begun:
            return size, steps
    return -1, steps


@numba.njit(cache=True)
def _anew(family, kernel, size, lowest, highest, value, price):  # type: ignore[no-untyped-def]
    """Prices and vertex from the basis alone, with an inverse computed anew if this one is worn; whether they fit."""
    for attempt in range(2):
        if attempt == 1 and not _invert(family.matrix, kernel, size):
            return False
        priced = _prices(family, kernel, size, price) and _stand(kernel.status, lowest, highest, value, price)
        if priced and _vertex(family, kernel, size, value):
            return True
    return False


@numba.njit(cache=True)
def _invert(matrix, kernel, size):  # type: ignore[no-untyped-def]
    """Fill in the inverse of the kernel: Gauss and Jordan, largest pivot of a column first; whether there is one.

    Written out because what numba links for it takes longer to compile than all the rest.
    """
    square, inverse = np.empty((size, size)), kernel.inverse
    for a in range(size):
        for b in range(size):
            square[a, b] = matrix[kernel.active[a], kernel.basic[b]]
            inverse[a, b] = 1.0 if a == b else 0.0
    for k in range(size):
        best = k
        for a in range(k, size):
            if abs(square[a, k]) > abs(square[best, k]):
                best = a
        pivot = square[best, k]
        if abs(pivot) < SMALLEST_PIVOT**2:
            return False
        for b in range(size):
            square[best, b], square[k, b] = square[k, b], square[best, b] / pivot
            inverse[best, b], inverse[k, b] = inverse[k, b], inverse[best, b] / pivot
        for a in range(size):
            factor = square[a, k]
            if a != k and factor != 0.0:
                for b in range(size):
                    square[a, b] -= factor * square[k, b]
                    inverse[a, b] -= factor * inverse[k, b]
    return True


@numba.njit(cache=True)
def _prices(family, kernel, size, price):  # type: ignore[no-untyped-def]
    """Prices of rows and reduced costs of columns; whether those of the basis vanish."""
    n, scale = len(family.cost), 1.0
    for v in range(len(price)):
        price[v] = family.cost[v] if v < n else 0.0
        scale = max(scale, abs(price[v]))
    for a in range(size):
        i, dual = kernel.active[a], 0.0
        for b in range(size):
            dual += family.cost[kernel.basic[b]] * kernel.inverse[b, a]
        price[n + i] = dual
        _add(price, -dual, family.matrix[i])
    vanish = True
    for b in range(size):
        j = kernel.basic[b]
        vanish = vanish and abs(price[j]) <= ROUND_OFF * scale
        price[j] = 0.0
    return vanish


@numba.njit(cache=True)
def _stand(status, lowest, highest, value, price):  # type: ignore[no-untyped-def]
    """Put all that is not basic at the bound that its price asks for; whether it has that bound and a value."""
    off = 1.0
    for v in range(len(price)):
        off = max(off, abs(price[v]))
    off *= ROUND_OFF
    for v in range(len(status)):
        if status[v] == BASIC:
            continue
        if abs(price[v]) > off:
            status[v] = LOWER if price[v] > 0.0 else UPPER
        elif not np.isfinite(lowest[v] if status[v] == LOWER else highest[v]):
            status[v] = LOWER + UPPER - status[v]
        value[v] = lowest[v] if status[v] == LOWER else highest[v]
        if not np.isfinite(value[v]) or lowest[v] > highest[v] + TOLERANCE:
            return False
    return True


@numba.njit(cache=True)
def _vertex(family, kernel, size, value):  # type: ignore[no-untyped-def]
    """Values of the basis from those of all else; whether the rows that bind are met."""
    n, rows = len(family.cost), len(family.matrix)
    activity = np.zeros(rows)
    for j in range(n):
        if kernel.status[j] != BASIC and value[j] != 0.0:
            _add(activity, value[j], family.transposed[j])
    for b in range(size):
        level = 0.0
        for a in range(size):
            i = kernel.active[a]
            level += kernel.inverse[b, a] * (value[n + i] - activity[i])
        value[kernel.basic[b]] = level
    for b in range(size):
        _add(activity, value[kernel.basic[b]], family.transposed[kernel.basic[b]])
    met = True
    for i in range(rows):
        if kernel.status[n + i] == BASIC:
            value[n + i] = activity[i]
        else:
            met = met and abs(activity[i] - value[n + i]) <= ROUND_OFF * max(1.0, abs(value[n + i]))
    return met


@numba.njit(cache=True)
def _leaving(status, lowest, highest, value):  # type: ignore[no-untyped-def]
    """What is out of its bounds by most, and by how much it has to grow; -1 if nothing is."""
    leaving, short = -1, 0.0
    for v in range(len(status)):
        if status[v] == BASIC:
            missing = lowest[v] - value[v]
            if missing <= TOLERANCE:
                missing = min(highest[v] - value[v], 0.0)
            if abs(missing) > max(TOLERANCE, abs(short)):
                leaving, short = v, missing
    return leaving, short


@numba.njit(cache=True)
def _sensitivity(family, kernel, size, leaving, rate):  # type: ignore[no-untyped-def]
    """Growth of what leaves the basis by all that is not in it, 0 for the others: a row of the tableau."""
    n = len(family.cost)
    rate[:] = 0.0
    if leaving >= n:
        rate[:n] = family.matrix[leaving - n]
    for a in range(size):
        i, weight = kernel.active[a], 0.0
        if leaving >= n:
            for b in range(size):
                weight += family.matrix[leaving - n, kernel.basic[b]] * kernel.inverse[b, a]
        else:
            weight = kernel.inverse[kernel.place[leaving], a]
        rate[n + i] = weight
        _add(rate, -weight, family.matrix[i])
    for b in range(size):
        rate[kernel.basic[b]] = 0.0


@numba.njit(cache=True)
def _entering(status, lowest, highest, short, rate, price, flipped):  # type: ignore[no-untyped-def]
    """What enters the basis, -1 if there is no solution, and how many change their bound before (``flipped``)."""
    sign = 1.0 if short > 0.0 else -1.0
    left, count, flips = abs(short), 0, 0
    candidates, ratios = np.empty(len(status), np.int64), np.empty(len(status))
    for v in range(len(status)):
        towards = sign * rate[v]
        blocks = (status[v] == LOWER and towards > SMALLEST_PIVOT) or (status[v] == UPPER and towards < -SMALLEST_PIVOT)
        if blocks and lowest[v] < highest[v]:
            candidates[count], ratios[count] = v, max(price[v] / towards, 0.0)
            count += 1
    while count > 0:
        least, best = ratios[0], -1
        for c in range(1, count):
            least = min(least, ratios[c])
        for c in range(count):
            if ratios[c] <= least + ROUND_OFF and (best < 0 or abs(rate[candidates[c]]) > abs(rate[candidates[best]])):
                best = c
        v = candidates[best]
        left -= abs(rate[v]) * (highest[v] - lowest[v])
        if left <= ROUND_OFF * (1.0 + abs(short)):
            return v, flips
        flipped[flips] = v
        flips += 1
        count -= 1
        candidates[best], ratios[best] = candidates[count], ratios[count]
    return -1, flips


@numba.njit(cache=True)
def _move(family, kernel, size, leaving, entering, short, rate, flipped, flips, lowest, highest, value):  # type: ignore[no-untyped-def]
    """Move to the vertex where what leaves has its bound: some at their other bound, and what enters in between."""
    n, rows = len(family.cost), len(family.matrix)
    activity, right = np.zeros(rows), np.zeros(size)
    left = short
    for f in range(flips + 1):
        v = flipped[f] if f < flips else entering
        if f == flips:
            change = left / rate[v]
        elif kernel.status[v] == LOWER:
            change, kernel.status[v] = highest[v] - lowest[v], UPPER
        else:
            change, kernel.status[v] = lowest[v] - highest[v], LOWER
        left -= rate[v] * change
        value[v] += change
        if v < n:
            _add(activity, change, family.transposed[v])
        else:
            right[kernel.place[v]] += change
    for a in range(size):
        right[a] -= activity[kernel.active[a]]
    for b in range(size):
        change = 0.0
        for a in range(size):
            change += kernel.inverse[b, a] * right[a]
        value[kernel.basic[b]] += change
        _add(activity, change, family.transposed[kernel.basic[b]])
    for i in range(rows):
        if kernel.status[n + i] == BASIC:
            value[n + i] += activity[i]
    value[leaving] = lowest[leaving] if short > 0.0 else highest[leaving]


@numba.njit(cache=True)
def _exchange(family, kernel, size, leaving, entering, rate):  # type: ignore[no-untyped-def]
    """The kernel after one has left the basis and another has entered it; its size."""
    n, inverse, place = len(family.cost), kernel.inverse, kernel.place
    pivot = rate[entering]
    row, column = np.zeros(size), np.zeros(size)
    for a in range(size):
        row[a] = rate[n + kernel.active[a]]
    for b in range(size):
        if entering < n:
            for a in range(size):
                column[b] += inverse[b, a] * family.matrix[kernel.active[a], entering]
        else:
            column[b] = -inverse[b, place[entering]]
    for b in range(size):
        _add(inverse[b], column[b] / pivot, row)
    b = size if leaving >= n else place[leaving]
    a = size if entering < n else place[entering]
    if entering < n:
        kernel.basic[b], place[entering] = entering, b
        for k in range(size):
            inverse[b, k] = -row[k] / pivot
    if leaving >= n:
        kernel.active[a], place[leaving] = leaving - n, a
        for k in range(size):
            inverse[k, a] = -column[k] / pivot
    if entering < n and leaving >= n:
        inverse[size, size] = 1.0 / pivot
        return size + 1
    return size if entering < n or leaving >= n else _shrink(kernel, size - 1, a, b, n)


@numba.njit(cache=True)
def _shrink(kernel, last, a, b, n):  # type: ignore[no-untyped-def]
    """Take a row and a column out of the kernel: the last ones take their places; its size."""
    for k in range(last + 1):
        kernel.inverse[b, k] = kernel.inverse[last, k]
    for k in range(last):
        kernel.inverse[k, a] = kernel.inverse[k, last]
    kernel.basic[b], kernel.active[a] = kernel.basic[last], kernel.active[last]
    kernel.place[kernel.basic[b]], kernel.place[n + kernel.active[a]] = b, a
    return last


@numba.njit(cache=True)
def _add(target, factor, source):  # type: ignore[no-untyped-def]
    for k in range(len(source)):
        target[k] += factor * source[k]

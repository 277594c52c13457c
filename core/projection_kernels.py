"""Compiled kernels behind `interlock.core.projection`: batches of rows, one after the other, on one core.

`budget_rows` fixes variables (Bitran and Hax 1981): with one coupling constraint the multiplier of the free coordinates
is known in closed form, and each round fixes at least one coordinate for good, so that it ends exactly, after at most
``d`` rounds. `polytope_rows` is the dual active-set method of Goldfarb and Idnani (1983) with the identity as Hessian:
it walks along optima of subsets of the constraints, so it needs no feasible start, ends at the exact active set, and
meets an empty set as a handful of constraints that contradict each other.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

SOLVED, EMPTY, STUCK = 0, 1, 2
VIOLATED = 1e-11
"""Relative violation of a constraint (row of length 1) that the active-set method still leaves alone."""
DEPENDENT = 1e-10
"""Distance of a unit normal from the span of others below which it counts as their combination."""
STEPS = 100
"""Active-set steps allowed per constraint and coordinate; a few are usual."""


@njit(cache=True)
def budget_rows(y: Array, lower: Array, upper: Array, budget: Array, equal: bool) -> tuple[Array, Array, Array]:
    """Nearest points with ``lower <= x <= upper`` and ``sum x <= budget`` (``==`` if ``equal``) for sets not empty.

    Args:
        y: ``(n, d)``.
        lower: ``(n, d)``.
        upper: ``(n, d)``.
        budget: ``(n,)``.
        equal: whether the whole budget must be used.

    Returns:
        The points ``(n, d)``; which coordinates are between their bounds; the rows ``(n,)`` whose budget binds.
    """
    n, d = y.shape
    action = np.empty((n, d))
    free = np.empty((n, d), np.bool_)
    binding = np.empty(n, np.bool_)
    for i in range(n):
        total = 0.0
        for j in range(d):
            action[i, j] = min(max(y[i, j], lower[i, j]), upper[i, j])
            free[i, j] = lower[i, j] <= y[i, j] <= upper[i, j] and lower[i, j] < upper[i, j]
            total += action[i, j]
        binding[i] = equal or total > budget[i]
        if binding[i]:
            _spend(y[i], lower[i], upper[i], budget[i], action[i], free[i])
    return action, free, binding


@njit(cache=True)
def _spend(y: Array, lower: Array, upper: Array, budget: float, action: Array, free: Array) -> None:
    """One row whose budget binds: ``action`` and ``free`` are overwritten."""
    for j in range(len(y)):
        free[j] = lower[j] < upper[j]
        if not free[j]:
            action[j] = lower[j]
    moving = True
    while moving:
        # A common shift of all y changes nothing, and differences keep their digits where y is large.
        left, shifted, shift, count = budget, 0.0, 0.0, 0
        for j in range(len(y)):
            if free[j]:
                if count == 0:
                    shift = y[j]
                shifted += y[j] - shift
                count += 1
            else:
                left -= action[j]
        for j in range(len(y)):
            if free[j]:
                action[j] = y[j] - shift - (shifted - left) / count
        moving = _fix(lower, upper, action, free)


@njit(cache=True)
def _fix(lower: Array, upper: Array, action: Array, free: Array) -> bool:
    """Fix free coordinates that are sure to end at the bound that they are beyond; returns whether there were any.

    Clipping all would lose ``above`` and gain ``below``. The larger tells to which side the multiplier still has to
    move, and that only moves the coordinates on this side further out.
    """
    above, below = 0.0, 0.0
    for j in range(len(action)):
        if free[j]:
            above += max(action[j] - upper[j], 0.0)
            below += max(lower[j] - action[j], 0.0)
    for j in range(len(action)):
        if free[j] and above >= below and action[j] > upper[j]:
            action[j], free[j] = upper[j], False
        elif free[j] and below >= above and action[j] < lower[j]:
            action[j], free[j] = lower[j], False
    return above > 0.0 or below > 0.0


class _Row(NamedTuple):
    """One row of the batch: its point and its constraints, numbered as in `polytope_rows`."""

    y: Array
    matrix: Array
    limit: Array
    equal: Array
    lower: Array
    upper: Array


class _Active(NamedTuple):
    """The active constraints, of which the first ``count`` entries are in use.

    Their outward normals are ``n_a = sum_k triangle[k, a] basis[k]`` over ``k <= a``, and the current point is
    ``y - sum_a multiplier[a] n_a``, with multipliers of inequalities not negative.

    Attributes:
        basis: ``(d, d)`` orthonormal rows.
        triangle: ``(d, d)``.
        limits: ``(d,)``: ``n_a @ x = limits[a]``.
        multiplier: ``(d,)``.
        member: int ``(d,)`` number of the constraint.
        inside: bool ``(m + 2 d,)``: which constraints are active.
        normal: ``(d,)`` of the constraint that enters, or is looked at.
        rest: ``(d,)`` its part outside the span of the active normals.
        share: ``(d,)`` its parts along ``basis``.
        ratio: ``(d,)`` coefficients of its part inside, as a combination of the active normals.
    """

    basis: Array
    triangle: Array
    limits: Array
    multiplier: Array
    member: Array
    inside: Array
    normal: Array
    rest: Array
    share: Array
    ratio: Array


@njit(cache=True)
def polytope_rows(
    y: Array, matrix: Array, limit: Array, equal: Array, lower: Array, upper: Array
) -> tuple[Array, Array, Array, Array]:
    """Nearest points with ``matrix x <= limit`` (``==`` in the rows ``equal``) and ``lower <= x <= upper``.

    Constraints are numbered: the ``m`` rows, then the ``d`` upper bounds, then the ``d`` lower bounds.

    Args:
        y: ``(n, d)``.
        matrix: ``(n, m, d)``, or ``(1, m, d)`` for all alike; every row of length 1 or 0.
        limit: ``(n, m)``.
        equal: bool ``(m,)``.
        lower: ``(n, d)``, nowhere above ``upper``.
        upper: ``(n, d)``.

    Returns:
        The points ``(n, d)``; orthonormal normals ``(n, d, d)`` of the face that each lies on, the unused ones zero;
        a status ``(n,)``; and bool ``(n, m + 2 d)``: which constraints contradict each other where it is `EMPTY`.
    """
    n, d = y.shape
    m = len(equal)
    action, basis = np.empty((n, d)), np.zeros((n, d, d))
    status, conflict = np.zeros(n, np.int64), np.zeros((n, m + 2 * d), np.bool_)
    for i in range(n):
        row = _Row(y[i], matrix[i if len(matrix) > 1 else 0], limit[i], equal, lower[i], upper[i])
        active = _Active(
            basis[i], np.zeros((d, d)), np.zeros(d), np.zeros(d), np.zeros(d, np.int64),
            np.zeros(m + 2 * d, np.bool_), np.zeros(d), np.zeros(d), np.zeros(d), np.zeros(d),
        )  # fmt: skip
        status[i] = _nearest(row, active, action[i], conflict[i])
    return action, basis, status, conflict


@njit(cache=True)
def _nearest(row: _Row, active: _Active, x: Array, conflict: Array) -> int:
    """One row; writes ``x``, the basis of the face in ``active`` and ``conflict``, and returns the status."""
    count = _clip(row, active, x)
    for _ in range(STEPS * len(conflict)):
        entering, bound = _most_violated(row, active, x)
        if entering < 0:
            _polish(row, active, count, x)
            _complete(row, active, count)
            return SOLVED
        price, full, blocked = 0.0, np.inf, 0.0
        while full > blocked:
            length = _split(active, active.normal, count)
            _combine(active, count)
            blocked, leaving = _first_to_leave(row, active, count)
            full = max(_dot(active.normal, x) - bound, 0.0) / length**2 if length > DEPENDENT else np.inf
            step = min(blocked, full)
            if step == np.inf:
                conflict[entering] = True
                for a in range(count):
                    conflict[active.member[a]] = abs(active.ratio[a]) > DEPENDENT
                return EMPTY
            price += step
            for a in range(count):
                active.multiplier[a] -= step * active.ratio[a]
            if full < np.inf:
                for j in range(len(x)):
                    x[j] -= step * active.rest[j]
            if full > blocked:
                _leave(active, leaving, count)
                count -= 1
        _append(active, count, entering, bound, price, length)
        count += 1
    return STUCK


@njit(cache=True)
def _clip(row: _Row, active: _Active, x: Array) -> int:
    """Start from a subset of the constraints whose optimum is known: the bounds that y violates; returns how many."""
    d, m, count = len(x), len(row.limit), 0
    for j in range(d):
        x[j] = min(max(row.y[j], row.lower[j]), row.upper[j])
        if x[j] != row.y[j]:
            above = row.y[j] > x[j]
            active.normal[:] = 0.0
            active.normal[j] = 1.0 if above else -1.0
            length = _split(active, active.normal, count)
            entering = m + j if above else m + d + j
            _append(active, count, entering, x[j] if above else -x[j], abs(row.y[j] - x[j]), length)
            count += 1
    return count


@njit(cache=True)
def _most_violated(row: _Row, active: _Active, x: Array) -> tuple[int, float]:
    """Number of the constraint ``normal @ x <= bound`` that fails most (-1: none), and ``bound``; sets the normal.

    An equality is taken as the inequality of its violated side.
    """
    d, m = len(x), len(row.limit)
    scale, worst, entering, sign = 1.0, 0.0, -1, 1.0
    for j in range(d):
        scale = max(scale, abs(row.y[j]), abs(x[j]))
    for p in range(m):
        excess = _dot(row.matrix[p], x) - row.limit[p]
        size = abs(excess) if row.equal[p] else excess
        if size > worst and not active.inside[p] and size > VIOLATED * (scale + abs(row.limit[p])):
            worst, entering, sign = size, p, 1.0 if excess > 0 else -1.0
    for j in range(d):
        # At most one of the two is positive; an infinite bound gives minus infinity.
        over, under = x[j] - row.upper[j], row.lower[j] - x[j]
        size, bound, p = (over, row.upper[j], m + j) if over > under else (under, row.lower[j], m + d + j)
        if size > worst and not active.inside[p] and size > VIOLATED * (scale + abs(bound)):
            worst, entering = size, p
    if entering < 0:
        return entering, 0.0
    if entering < m:
        for j in range(d):
            active.normal[j] = sign * row.matrix[entering, j]
        return entering, sign * row.limit[entering]
    active.normal[:] = 0.0
    j = (entering - m) % d
    active.normal[j] = 1.0 if entering < m + d else -1.0
    return entering, row.upper[j] if entering < m + d else -row.lower[j]


@njit(cache=True)
def _dot(a: Array, b: Array) -> float:
    """Inner product; a plain loop beats a library call at these lengths."""
    total = 0.0
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@njit(cache=True)
def _split(active: _Active, normal: Array, count: int) -> float:
    """``normal = sum_k share[k] basis[k] + rest``; returns the length of ``rest``. Done twice, against rounding."""
    for j in range(len(normal)):
        active.rest[j], active.share[j] = normal[j], 0.0
    for _ in range(2):
        for k in range(count):
            along = _dot(active.basis[k], active.rest)
            active.share[k] += along
            for j in range(len(normal)):
                active.rest[j] -= along * active.basis[k, j]
    return float(np.sqrt(_dot(active.rest, active.rest)))


@njit(cache=True)
def _combine(active: _Active, count: int) -> None:
    """``sum_k share[k] basis[k] = sum_a ratio[a] n_a``: back substitution in the triangle."""
    for a in range(count - 1, -1, -1):
        value = active.share[a]
        for b in range(a + 1, count):
            value -= active.triangle[a, b] * active.ratio[b]
        active.ratio[a] = value / active.triangle[a, a]


@njit(cache=True)
def _first_to_leave(row: _Row, active: _Active, count: int) -> tuple[float, int]:
    """How far until the multiplier of an active inequality would turn negative (or infinity), and which one (or -1)."""
    blocked, leaving = np.inf, -1
    for a in range(count):
        p = active.member[a]
        if p >= len(row.limit) or not row.equal[p]:
            ratio = active.ratio[a]
            if ratio > DEPENDENT and active.multiplier[a] < blocked * ratio:
                blocked, leaving = active.multiplier[a] / ratio, a
    return blocked, leaving


@njit(cache=True)
def _append(active: _Active, count: int, entering: int, bound: float, price: float, length: float) -> None:
    """A constraint whose normal has been split becomes the last active one."""
    active.limits[count], active.multiplier[count], active.member[count] = bound, price, entering
    active.inside[entering] = True
    _extend(active, count, length)


@njit(cache=True)
def _extend(active: _Active, count: int, length: float) -> None:
    """The normal that was split last joins basis and triangle at place ``count``."""
    for j in range(len(active.rest)):
        active.basis[count, j] = active.rest[j] / length
    for k in range(count):
        active.triangle[k, count] = active.share[k]
    active.triangle[count, count] = length


@njit(cache=True)
def _leave(active: _Active, leaving: int, count: int) -> None:
    """Take one active constraint out; rotations make the columns behind it triangular again."""
    basis, triangle = active.basis, active.triangle
    active.inside[active.member[leaving]] = False
    for a in range(leaving, count - 1):
        active.limits[a], active.multiplier[a] = active.limits[a + 1], active.multiplier[a + 1]
        active.member[a] = active.member[a + 1]
        for k in range(a + 2):
            triangle[k, a] = triangle[k, a + 1]
        length = np.hypot(triangle[a, a], triangle[a + 1, a])
        cosine, sine = triangle[a, a] / length, triangle[a + 1, a] / length
        triangle[a, a] = length
        for b in range(a + 2, count):
            upper, lower = triangle[a, b], triangle[a + 1, b]
            triangle[a, b], triangle[a + 1, b] = cosine * upper + sine * lower, cosine * lower - sine * upper
        for j in range(len(active.rest)):
            upper, lower = basis[a, j], basis[a + 1, j]
            basis[a, j], basis[a + 1, j] = cosine * upper + sine * lower, cosine * lower - sine * upper
    basis[count - 1] = 0.0


@njit(cache=True)
def _polish(row: _Row, active: _Active, count: int, x: Array) -> None:
    """The optimum on the active constraints, from scratch, so that the rounding of the steps is gone."""
    target = active.ratio
    for j in range(len(x)):
        x[j] = row.y[j]
    for a in range(count):
        # n_a has no part beyond basis[a], so its equation fixes the part of x along basis[a]
        target[a] = active.limits[a]
        for k in range(a):
            target[a] -= active.triangle[k, a] * target[k]
        target[a] /= active.triangle[a, a]
        change = target[a] - _dot(active.basis[a], row.y)
        for j in range(len(x)):
            x[j] += change * active.basis[a, j]
    for j in range(len(x)):
        x[j] = min(max(x[j], row.lower[j]), row.upper[j])


@njit(cache=True)
def _complete(row: _Row, active: _Active, count: int) -> None:
    """Equalities that hold without being enforced belong to the face as well."""
    for p in range(len(row.equal)):
        if row.equal[p] and not active.inside[p]:
            length = _split(active, row.matrix[p], count)
            if length > DEPENDENT:
                _extend(active, count, length)
                count += 1

"""Compiled kernels behind `interlock.core.projection`: batches of rows, one after the other, on one core.

`budget_rows` fixes variables (Bitran and Hax 1981): with one coupling constraint the multiplier of the free coordinates
is known in closed form, and each round fixes at least one coordinate for good, so that it ends exactly, after at most
``d`` rounds. `polytope_rows` is the dual active-set method of Goldfarb and Idnani (1983) with the identity as Hessian:
it walks along optima of subsets of the constraints, so it needs no feasible start, ends at the exact active set, and
meets an empty set as a handful of constraints that contradict each other.
"""

from typing import Any

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
    d = len(y)
    for j in range(d):
        free[j] = lower[j] < upper[j]
        if not free[j]:
            action[j] = lower[j]
    while True:
        # A common shift of all y changes nothing, and differences keep their digits where y is large.
        left, shifted, shift, count = budget, 0.0, 0.0, 0
        for j in range(d):
            if free[j]:
                if count == 0:
                    shift = y[j]
                shifted += y[j] - shift
                count += 1
            else:
                left -= action[j]
        if count == 0:
            return
        multiplier = (shifted - left) / count
        above, below = 0.0, 0.0
        for j in range(d):
            if free[j]:
                action[j] = y[j] - shift - multiplier
                above += max(action[j] - upper[j], 0.0)
                below += max(lower[j] - action[j], 0.0)
        if above == 0.0 and below == 0.0:
            return
        # Clipping loses `above` and gains `below`: the larger tells to which side the multiplier will move, and
        # coordinates that it moves further out stay at their bound.
        for j in range(d):
            if free[j] and above >= below and action[j] > upper[j]:
                action[j], free[j] = upper[j], False
            elif free[j] and below >= above and action[j] < lower[j]:
                action[j], free[j] = lower[j], False


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
        rows = matrix[i if len(matrix) > 1 else 0]
        status[i] = _nearest(y[i], rows, limit[i], equal, lower[i], upper[i], action[i], basis[i], conflict[i])
    return action, basis, status, conflict


@njit(cache=True)
def _nearest(
    y: Array,
    matrix: Array,
    limit: Array,
    equal: Array,
    lower: Array,
    upper: Array,
    x: Array,
    basis: Array,
    conflict: Array,
) -> int:
    """One row; writes ``x``, ``basis`` (rows) and ``conflict``, and returns the status.

    The active normals are ``sum_k triangle[k, a] basis[k]``; ``x = y - sum_a multiplier[a] normal[a]`` throughout, with
    multipliers of inequalities never negative.
    """
    d, m = len(y), len(limit)
    normals, triangle = np.zeros((d, d)), np.zeros((d, d))
    limits, multiplier = np.zeros(d), np.zeros(d)
    members, active = np.zeros(d, np.int64), np.zeros(m + 2 * d, np.bool_)
    normal, rest, share, ratio = np.zeros(d), np.zeros(d), np.zeros(d), np.zeros(d)
    count, scale = 0, 1.0
    # The bounds that y violates are a subset whose optimum is known: y clipped.
    for j in range(d):
        scale = max(scale, abs(y[j]))
        x[j] = min(max(y[j], lower[j]), upper[j])
        if x[j] != y[j]:
            sign = 1.0 if y[j] > x[j] else -1.0
            basis[count, j] = normals[count, j] = sign
            triangle[count, count], limits[count], multiplier[count] = 1.0, sign * x[j], abs(y[j] - x[j])
            members[count] = m + j if sign > 0 else m + d + j
            active[members[count]] = True
            count += 1
    for _ in range(STEPS * (m + 2 * d)):
        entering, bound = _most_violated(x, matrix, limit, equal, lower, upper, active, scale, normal)
        if entering < 0:
            _polish(y, basis, triangle, limits, count, x)
            _complete(matrix, equal, active, basis, count, normal, rest, share)
            for j in range(d):
                x[j] = min(max(x[j], lower[j]), upper[j])
            return SOLVED
        price = 0.0
        while True:
            length = _split(normal, basis, count, rest, share)
            _back_substitute(triangle, share, count, ratio)
            # How far until a multiplier would turn negative, and how far until the constraint holds.
            blocked, leaving = np.inf, -1
            for a in range(count):
                inequality = members[a] >= m or not equal[members[a]]
                if inequality and ratio[a] > 1e-12 and multiplier[a] < blocked * ratio[a]:
                    blocked, leaving = multiplier[a] / ratio[a], a
            full = np.inf
            if length > DEPENDENT:
                full = max(_dot(normal, x) - bound, 0.0) / length**2
            step = min(blocked, full)
            if step == np.inf:
                conflict[entering] = True
                for a in range(count):
                    conflict[members[a]] = abs(ratio[a]) > 1e-9
                return EMPTY
            price += step
            for a in range(count):
                multiplier[a] -= step * ratio[a]
            if full < np.inf:
                for j in range(d):
                    x[j] -= step * rest[j]
            if full <= blocked:
                break
            active[members[leaving]] = False
            count = _leave(leaving, members, normals, limits, multiplier, basis, triangle, count, rest, share)
        normals[count], basis[count] = normal, rest / length
        triangle[:count, count], triangle[count, count] = share[:count], length
        limits[count], multiplier[count], members[count] = bound, price, entering
        active[entering] = True
        count += 1
    return STUCK


@njit(cache=True)
def _most_violated(
    x: Array,
    matrix: Array,
    limit: Array,
    equal: Array,
    lower: Array,
    upper: Array,
    active: Array,
    scale: float,
    normal: Array,
) -> tuple[int, float]:
    """Number of the constraint ``normal @ x <= bound`` that fails most (-1: none), and ``bound``; fills ``normal``.

    An equality is taken as the inequality of its violated side.
    """
    d, m = len(x), len(limit)
    worst, entering, sign = 0.0, -1, 1.0
    for p in range(m):
        if not active[p]:
            excess = _dot(matrix[p], x) - limit[p]
            size = abs(excess) if equal[p] else excess
            if size > worst and size > VIOLATED * (scale + abs(limit[p])):
                worst, entering, sign = size, p, 1.0 if excess > 0 else -1.0
    for j in range(d):
        excess = x[j] - upper[j]
        if excess > worst and not active[m + j] and excess > VIOLATED * (scale + abs(upper[j])):
            worst, entering = excess, m + j
        excess = lower[j] - x[j]
        if excess > worst and not active[m + d + j] and excess > VIOLATED * (scale + abs(lower[j])):
            worst, entering = excess, m + d + j
    if entering < 0:
        return entering, 0.0
    if entering < m:
        normal[:] = sign * matrix[entering]
        return entering, sign * limit[entering]
    normal[:] = 0.0
    j = (entering - m) % d
    normal[j] = 1.0 if entering < m + d else -1.0
    return entering, upper[j] if entering < m + d else -lower[j]


@njit(cache=True)
def _dot(a: Array, b: Array) -> float:
    """Inner product; a plain loop beats a library call at these lengths."""
    total = 0.0
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@njit(cache=True)
def _split(normal: Array, basis: Array, count: int, rest: Array, share: Array) -> float:
    """``normal = sum_k share[k] basis[k] + rest``; returns the length of ``rest``. Twice, against rounding."""
    rest[:] = normal
    share[:] = 0.0
    for _ in range(2):
        for k in range(count):
            along = _dot(basis[k], rest)
            share[k] += along
            for j in range(len(rest)):
                rest[j] -= along * basis[k, j]
    return float(np.sqrt(_dot(rest, rest)))


@njit(cache=True)
def _back_substitute(triangle: Array, share: Array, count: int, ratio: Array) -> None:
    """Solve ``triangle ratio = share``."""
    for a in range(count - 1, -1, -1):
        value = share[a]
        for b in range(a + 1, count):
            value -= triangle[a, b] * ratio[b]
        ratio[a] = value / triangle[a, a]


@njit(cache=True)
def _leave(
    leaving: int,
    members: Array,
    normals: Array,
    limits: Array,
    multiplier: Array,
    basis: Array,
    triangle: Array,
    count: int,
    rest: Array,
    share: Array,
) -> int:
    """Take one active constraint out, orthogonalise those behind it anew, and return how many are left."""
    for a in range(leaving, count - 1):
        members[a], limits[a], multiplier[a] = members[a + 1], limits[a + 1], multiplier[a + 1]
        normals[a] = normals[a + 1]
        length = _split(normals[a], basis, a, rest, share)
        basis[a] = rest / length
        triangle[:a, a], triangle[a, a] = share[:a], length
    basis[count - 1] = 0.0
    return count - 1


@njit(cache=True)
def _polish(y: Array, basis: Array, triangle: Array, limits: Array, count: int, x: Array) -> None:
    """The optimum on the active constraints, from scratch: rounding of the steps so far is gone."""
    target = np.zeros(count)
    x[:] = y
    for a in range(count):
        # normal[a] has no part beyond basis[a], so its equation fixes the part of x along basis[a]
        target[a] = limits[a]
        for k in range(a):
            target[a] -= triangle[k, a] * target[k]
        target[a] /= triangle[a, a]
        change = target[a] - _dot(basis[a], y)
        for j in range(len(x)):
            x[j] += change * basis[a, j]


@njit(cache=True)
def _complete(
    matrix: Array, equal: Array, active: Array, basis: Array, count: int, normal: Array, rest: Array, share: Array
) -> None:
    """Equalities that held without being enforced belong to the face as well."""
    for p in range(len(equal)):
        if equal[p] and not active[p]:
            length = _split(matrix[p], basis, count, rest, share)
            if length > DEPENDENT:
                basis[count] = rest / length
                count += 1

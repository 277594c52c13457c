"""Random programs whose optimum is known before any solver sees them: built backwards from an optimal pair.

A vertex ``x``, row prices ``y`` and column prices ``z`` are drawn first, each bound is placed so that it is active
exactly where its price is not zero, and the cost ``A' y + z`` (less ``H x`` with a quadratic part) makes them optimal.
The equations of the active bounds are well conditioned and everything else has room, so the optimum and its prices are
unique and stay valid for small changes. All arrays are read-only.
"""

from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np

from interlock.solvers.interface import (
    Array,
    Column,
    ConicProgram,
    LinearProgram,
    Program,
    Row,
    linear_part,
    linear_program,
    quadratic_program,
)

ROOM = 0.5
"""Least distance of a bound that is not active."""


@dataclass(frozen=True)
class Known:
    """A program and its answer.

    Attributes:
        program: what to solve.
        objective: of the optimum.
        x: the optimum; ``None`` where several are equally good.
        row_duals: its prices; ``None`` for integer programs.
        reduced_costs: the same.
    """

    program: Program
    objective: float
    x: Array | None = None
    row_duals: Array | None = None
    reduced_costs: Array | None = None


def known_linear(seed: int, most_columns: int | None = None) -> Known:
    """A linear program of up to 12 columns and 10 rows: free columns, ranges, equalities, either sense."""
    rng = np.random.default_rng([seed, 1])
    n = int(rng.integers(2, min(12, most_columns or 12) + 1))
    return _backwards(rng, n, None)


def known_quadratic(seed: int, most_columns: int | None = None) -> Known:
    """The same with a definite quadratic part, and an optimum that is no vertex."""
    rng = np.random.default_rng([seed, 2])
    n = int(rng.integers(2, min(10, most_columns or 10) + 1))
    root = np.round(rng.uniform(-1, 1, (n, n)), 2)
    return _backwards(rng, n, root @ root.T + np.eye(n))


def known_integer(seed: int, most_columns: int | None = None) -> Known:
    """Small whole numbers in a box, one row an equality; the optimum by trying every point."""
    rng = np.random.default_rng([seed, 3])
    n = min(5, most_columns or 5)
    matrix = rng.integers(-3, 7, (3, n)).astype(float)
    inside = matrix @ rng.integers(0, 4, n)
    upper = inside + np.array([*rng.integers(0, 3, 2), 0])
    lower = np.array([inside[0] - 4, -np.inf, inside[2]])
    sense = "minimise" if rng.random() < 0.5 else "maximise"
    cost = np.round(rng.uniform(-5, 5, n), 1)
    program = _program(cost, np.zeros(n), np.full(n, 3.0), matrix, lower, upper, sense == "maximise", integer=True)
    return Known(program, best_whole(program))


def best_whole(program: LinearProgram) -> float:
    """Objective of the best point of a bounded integer program, by trying every one; not a number without one."""
    ranges = [range(int(np.ceil(a)), int(np.floor(b)) + 1) for a, b in zip(program.lower, program.upper, strict=True)]
    points = np.array(list(product(*ranges)), float)
    activity = points @ dense_rows(program).T
    inside = ((activity >= program.row_lower - 1e-9) & (activity <= program.row_upper + 1e-9)).all(axis=1)
    if not inside.any():
        return float("nan")
    values = points[inside] @ program.cost
    return float(values.max() if program.sense == "maximise" else values.min())


def largest_violation(program: Program, x: Array) -> float:
    """By how much a point leaves the bounds of columns and rows, relative to ``1 + |bound|``."""
    linear = linear_part(program)
    worst = 0.0
    for lower, value, upper in (
        (linear.lower, x, linear.upper),
        (linear.row_lower, dense_rows(linear) @ x, linear.row_upper),
    ):
        for distance, bound in ((lower - value, lower), (value - upper, upper)):
            held = np.isfinite(bound)
            worst = max(worst, float((distance[held] / (1 + np.abs(bound[held]))).max(initial=0.0)))
    return worst


def dense_rows(program: LinearProgram) -> Array:
    """The matrix of a small program, ``(m, n)``."""
    matrix = np.zeros((len(program.row_lower), len(program.cost)))
    rows = np.repeat(np.arange(len(matrix)), np.diff(program.starts))
    np.add.at(matrix, (rows, program.columns), program.values)
    return matrix


def dense(size: int) -> LinearProgram:
    """A covering program without zeros, which takes any method a while."""
    rng = np.random.default_rng(0)
    cost, matrix = 1 + rng.uniform(0, 0.1, size), rng.uniform(0, 1, (size, size))
    return _covering(cost, np.full(size, np.inf), matrix, np.ones(size), np.full(size, np.inf))


def market_split() -> LinearProgram:
    """Five equations with slack in forty 0-1 columns (Cornuejols and Dawande 1998): small, and out of reach."""
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 100, (5, 40)).astype(float)
    half = np.floor(matrix.sum(axis=1) / 2)
    whole = np.hstack([matrix, np.eye(5), -np.eye(5)])
    cost = np.concatenate([np.zeros(40), np.ones(10)])
    program = _covering(cost, np.concatenate([np.ones(40), np.full(10, 1e4)]), whole, half, half)
    return replace(program, integer=np.ones(50, bool))


def _covering(cost: Array, upper: Array, matrix: Array, row_lower: Array, row_upper: Array) -> LinearProgram:
    columns = {f"x[{k}]": Column(cost[k], 0.0, upper[k]) for k in range(len(cost))}
    names = list(columns)
    rows = {
        f"row[{k}]": Row({names[j]: value for j, value in enumerate(row) if value}, row_lower[k], row_upper[k])
        for k, row in enumerate(matrix)
    }
    return linear_program(columns, rows)


def nearest(far: Array) -> ConicProgram:
    """Distance from a point to the unit ball: columns t and u, cones (t, u - far) and (1, u)."""
    free = Column(lower=-np.inf)
    linear = linear_program({"t": Column(1, -np.inf), "u": free, "v": free, "w": free}, {})
    size = len(linear.cost)
    offset = np.concatenate([[0.0], -far, [1.0], np.zeros(3)])
    starts = np.array([0, 1, 2, 3, 4, 4, 5, 6, 7], np.int32)
    columns = np.array([0, 1, 2, 3, 1, 2, 3], np.int32)
    return ConicProgram(linear, np.array([size, size]), offset, starts, columns, np.ones(7))


def _backwards(rng: np.random.Generator, n: int, curvature: Array | None) -> Known:
    m = int(rng.integers(1, 11))
    between = int(rng.integers(1, n + 1))  # columns between their bounds
    tight = min(m, between) if curvature is None else int(rng.integers(0, min(m, between) + 1))
    if curvature is None:
        between = tight  # a vertex: as many equations as columns that are not at a bound
    matrix = np.round(rng.uniform(-4, 4, (m, n)) * (rng.random((m, n)) < 0.6), 2)
    columns, rows = rng.permutation(n)[:between], rng.permutation(m)[:tight]
    matrix[rows, columns[:tight]] = np.abs(matrix).sum(axis=1)[rows] + np.round(rng.uniform(1, 3, tight), 2)
    x = np.round(rng.uniform(-5, 5, n), 2)
    at_bound, active = np.ones(n, bool), np.zeros(m, bool)
    at_bound[columns], active[rows] = False, True
    reduced_costs, row_duals = _prices(rng, at_bound), _prices(rng, active)
    lower, upper = _bounds(rng, x, reduced_costs)
    row_lower, row_upper = _bounds(rng, matrix @ x, row_duals)
    cost = matrix.T @ row_duals + reduced_costs
    sign = 1.0 if rng.random() < 0.5 else -1.0
    objective = cost @ x
    if curvature is not None:
        cost = cost - curvature @ x
        objective = cost @ x + x @ curvature @ x / 2
    linear = _program(sign * cost, lower, upper, matrix, row_lower, row_upper, sign < 0)
    program = linear if curvature is None else quadratic_program(linear, sign * curvature)
    return Known(program, float(sign * objective), x, sign * row_duals, sign * reduced_costs)


def _prices(rng: np.random.Generator, active: Array) -> Array:
    sizes = np.round(rng.uniform(0.5, 3, len(active)), 2) * rng.choice([-1.0, 1.0], len(active))
    return np.where(active, sizes, 0.0)


def _bounds(rng: np.random.Generator, value: Array, price: Array) -> tuple[Array, Array]:
    """Active where there is a price: the lower bound if it costs to raise it, the upper one otherwise, some both."""
    far = ROOM + rng.uniform(0, 4, (2, len(value)))
    endless = rng.random((2, len(value))) < 0.4
    both = (price != 0) & (rng.random(len(value)) < 0.25)
    lower = np.where((price > 0) | both, value, np.where(endless[0], -np.inf, value - far[0]))
    upper = np.where((price < 0) | both, value, np.where(endless[1], np.inf, value + far[1]))
    return lower, upper


def _program(
    cost: Array,
    lower: Array,
    upper: Array,
    matrix: Array,
    row_lower: Array,
    row_upper: Array,
    maximise: bool,
    integer: bool = False,
) -> LinearProgram:
    rows, columns = np.nonzero(matrix)
    counts = np.bincount(rows, minlength=len(matrix))
    program = LinearProgram(
        cost=cost.copy(),
        lower=lower,
        upper=upper,
        row_lower=row_lower,
        row_upper=row_upper,
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        columns=columns.astype(np.int32),
        values=matrix[rows, columns],
        column_names=tuple(f"x[{k}]" for k in range(len(cost))),
        row_names=tuple(f"row[{k}]" for k in range(len(matrix))),
        sense="maximise" if maximise else "minimise",
        integer=np.ones(len(cost), bool) if integer else None,
    )
    for entry in fields(program):
        value = getattr(program, entry.name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return program

"""Speed of action projections beside OSQP and cvxpy with Clarabel, one row after the other, in CPU seconds on one core.

    python benchmarks/core_projection.py [--json]

Every rate is the median of 5 repetitions in processor seconds; ratios compare two rates of the same run. The peers are
used as they are meant to be: OSQP is set up once, then only its linear term and bounds change, with polishing; cvxpy
compiles a parametrised program once. Before anything is timed, all three must give the same actions. Needs the
packages of the extra ``dev``.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import cvxpy  # noqa: E402
import numpy as np  # noqa: E402
import osqp  # noqa: E402
from scipy import sparse  # noqa: E402

from interlock.core.projection import ActionSet, Budget, Polytope, project  # noqa: E402

REPETITIONS = 5
ROWS, WIDTH, PEER_ROWS = 4096, 8, 200
TARGETS = {"budget": 100_000}
"""Least rows per CPU second."""
LARGEST_DIFFERENCE = {"osqp": 1e-5, "cvxpy": 1e-3}
"""Between our actions and those of a peer: OSQP polishes its answer, Clarabel runs at its default tolerance."""

Peer = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def osqp_peer(matrix: np.ndarray) -> Peer:
    """One row: nearest point to ``y`` with ``matrix x <= limit`` and bounds, from a solver that stays set up."""
    width = matrix.shape[1]
    stacked = sparse.vstack([sparse.csc_matrix(matrix), sparse.identity(width)], format="csc")
    solver = osqp.OSQP()
    solver.setup(
        sparse.identity(width, format="csc"), np.zeros(width), stacked,
        np.full(stacked.shape[0], -np.inf), np.full(stacked.shape[0], np.inf),
        verbose=False, polishing=True, eps_abs=1e-6, eps_rel=1e-6,
    )  # fmt: skip

    def solve(y: np.ndarray, lower: np.ndarray, upper: np.ndarray, limit: np.ndarray) -> np.ndarray:
        free = np.full(len(limit), -np.inf)
        solver.update(q=-y, l=np.concatenate([free, lower]), u=np.concatenate([limit, upper]))
        found: np.ndarray = solver.solve().x
        return found

    return solve


def cvxpy_peer(matrix: np.ndarray, **tolerances: float) -> Peer:
    """The same from a parametrised program, solved by Clarabel."""
    width = matrix.shape[1]
    x = cvxpy.Variable(width)
    target, low, high, most = (cvxpy.Parameter(size) for size in (width, width, width, len(matrix)))
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - target)), [matrix @ x <= most, low <= x, x <= high])

    def solve(y: np.ndarray, lower: np.ndarray, upper: np.ndarray, limit: np.ndarray) -> np.ndarray:
        target.value, low.value, high.value, most.value = y, lower, upper, limit
        program.solve(solver=cvxpy.CLARABEL, **tolerances)
        found: np.ndarray = x.value
        return found

    return solve


def rate(work: Callable[[], object], rows: int) -> float:
    """Median of rows per CPU second, after one warm-up."""
    work()
    rates = []
    for _ in range(REPETITIONS):
        started = time.process_time()
        work()
        rates.append(rows / (time.process_time() - started))
    return statistics.median(rates)


def measure(name: str, rows: int, width: int, constraints: int) -> Iterator[tuple[str, float, str]]:
    """Figures of one kind of set: its rate and its ratio to both peers, as (name, value, unit).

    Args:
        name: ``budget``, or the name of a polytope.
        rows: of the batch.
        width: coordinates of an action.
        constraints: rows of the matrix, besides bounds.

    Raises:
        AssertionError: a peer gives other actions.
    """
    rng = np.random.default_rng(0)
    y = rng.normal(size=(rows, width))
    lower, upper = -rng.random((rows, width)), rng.random((rows, width))
    inside = lower + (upper - lower) * rng.random((rows, width))
    matrix = np.ones((1, width)) if name == "budget" else rng.normal(size=(constraints, width))
    limit = inside @ matrix.T
    set_: ActionSet = Polytope(lower, upper, matrix, limit)
    if name == "budget":
        set_ = Budget(lower, upper, limit[:, 0])
    action = project(y, set_)
    ours = rate(lambda: [project(y, set_) for _ in range(5)], 5 * rows)
    yield name, ours, "rows / CPU s"
    exact = cvxpy_peer(matrix, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-11)
    exact_rows = np.stack([exact(y[k], lower[k], upper[k], limit[k]) for k in range(PEER_ROWS)])
    yield f"{name}_deviation", float(np.abs(exact_rows - action[:PEER_ROWS]).max()), "from cvxpy, tight tolerances"
    for peer_name, build in (("osqp", osqp_peer), ("cvxpy", cvxpy_peer)):
        solve = build(matrix)

        def solve_rows(solve: Peer = solve) -> np.ndarray:
            return np.stack([solve(y[k], lower[k], upper[k], limit[k]) for k in range(PEER_ROWS)])

        difference = np.abs(solve_rows() - action[:PEER_ROWS]).max()
        assert difference < LARGEST_DIFFERENCE[peer_name], f"{name}: {peer_name} differs by {difference}"
        theirs = rate(solve_rows, PEER_ROWS)
        yield f"{name}_{peer_name}", theirs, "rows / CPU s"
        yield f"{name}_{peer_name}_ratio", ours / theirs, f"x {peer_name} per row"


def main() -> int:
    """Measure everything, show it, and tell whether the targets are met (exit code 1 if not)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--record", action="store_true", help="write the rows of the core into core/results.json")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for name, rows, width, constraints in (
        ("budget", ROWS, WIDTH, 1),
        ("polytope_8_5", ROWS, WIDTH, 5),
        ("polytope_32_10", 512, 32, 10),
    ):
        for figure, value, unit in measure(name, rows, width, constraints):
            figures[figure] = value
            if not options.json:
                shown = f"{value:14.1e}" if value < 1e-3 else f"{value:14,.{1 if value < 1000 else 0}f}"
                print(f"{figure:28s} {shown} {unit}", flush=True)
    if options.record:
        from interlock.scenarios.record import record_row

        command = "python benchmarks/core_projection.py --record"
        deviation = max(value for name, value in figures.items() if name.endswith("_deviation"))
        for row, value, unit in (
            ("projection_rows", figures["budget"], "rows"),
            ("projection_deviation", deviation, ""),
        ):
            print(record_row("core", row, value=value, unit=unit, command=command), file=sys.stderr)
    missed = [name for name, target in TARGETS.items() if figures[name] < target]
    if options.json:
        print(json.dumps({"rates": figures, "targets": TARGETS, "missed": missed}))
    else:
        for name, target in TARGETS.items():
            print(f"{name}: at least {target:,} wanted: {'missed' if name in missed else 'met'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

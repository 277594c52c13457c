"""The stages of a problem inside a solver, each with its cuts: solved for batches of states and noises."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import StageInfeasible, UsageError
from interlock.core.multistage.stage import LinearStage, Multistage
from interlock.core.sddp.cuts import Cuts
from interlock.solvers.interface import Basis, LinearProgram, Session, Solution, Solver

COST_TO_GO = "cost to go"
"""Name of the column that the cuts bound."""

_BASIC = 1
_TWO_LANES = 8
"""Programs in a batch that are worth a second session."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Solutions of ``N`` programs of one stage.

    Attributes:
        value: ``(N,)``, cost of the stage and cost to go.
        cost: ``(N,)``, of the stage alone.
        state: ``(N, s)``, handed to the next stage.
        slope: ``(N, s)``, derivative of the value in the incoming state.
    """

    value: Array
    cost: Array
    state: Array
    slope: Array


class StageModel:
    """One stage with its cuts, inside the solver.

    A batch is sorted by the total of its right-hand sides and solved from the middle outwards, in two lanes, each in
    a session of its own. Both start from ``basis``, so that the lanes can run side by side, and what is found depends
    neither on the number of threads nor on what was solved before.

    Args:
        stage: the stage.
        solver: opens sessions.
        number: of the stage, from 1; for errors.
        floor: smallest cost to go; ``None`` if nothing follows.
        cuts: of this stage, in the order of their rows.
        basis: where the first batch starts; ``None`` for a cold start.
    """

    def __init__(
        self,
        stage: LinearStage,
        solver: Solver,
        number: int,
        floor: float | None,
        cuts: Cuts,
        basis: Basis | None = None,
    ):
        self.stage, self.number, self.basis = stage, number, basis
        self._solver = solver
        self._width = len(stage.program.cost)
        self._program = _with_cuts(stage, floor, cuts)
        self._added: list[Cuts] = []
        self._sessions: list[Session] = []

    def add(self, cuts: Cuts) -> None:
        """Further cuts; the basis takes their rows in as basic, so that it stays one."""
        self._added.append(cuts)
        if self.basis is not None:
            grown = np.append(self.basis.rows, np.full(len(cuts), _BASIC, self.basis.rows.dtype))
            self.basis = replace(self.basis, rows=grown)
        for session in self._sessions:
            _add_rows(session, self.stage, cuts)

    def solve(self, states: Array, noises: Array, name: Callable[[int], str], threads: Executor | None = None) -> Batch:
        """Solve ``N`` programs, each from the optimal basis of its neighbour; the next batch starts from the middle.

        Args:
            states: ``(N, s)``, incoming.
            noises: ``(N, k)``.
            name: of row ``k`` of the batch, for errors.
            threads: where lanes run; default: here, one after the other.

        Raises:
            StageInfeasible: a program has no optimum.
        """
        right = self.stage.right_hand_side(states, noises)
        order = np.argsort(right.sum(axis=1), kind="stable")
        middle = len(order) // 2 if len(order) >= _TWO_LANES else len(order)
        lanes = [lane for lane in (order[:middle][::-1], order[middle:]) if len(lane)]
        start, solutions = self.basis, [Solution("failed")] * len(order)
        sessions = [self._session(lane) for lane in range(len(lanes))]

        def run(lane: int) -> Basis | None:
            session, kept = sessions[lane], None
            session.start_from(start)
            for position, row in enumerate(lanes[lane]):
                solutions[row] = self._solved(session, int(row), right, states, noises, name)
                if lane == position == 0:
                    kept = session.basis()
            return kept

        mapped = map if threads is None else threads.map
        self.basis = next(iter(list(mapped(run, range(len(lanes))))))
        return self._batch(solutions)

    def solve_each(self, states: Array, noises: Array, name: Callable[[int], str]) -> Batch:
        """The same, but every program starts from ``basis``: a row's vertex does not depend on the others."""
        right = self.stage.right_hand_side(states, noises)
        session, solutions = self._session(0), []
        for row in range(len(right)):
            session.start_from(self.basis)
            solutions.append(self._solved(session, row, right, states, noises, name))
        return self._batch(solutions)

    def _session(self, lane: int) -> Session:
        while len(self._sessions) <= lane:
            session = self._solver.open(self._program)
            for cuts in self._added:
                _add_rows(session, self.stage, cuts)
            self._sessions.append(session)
        return self._sessions[lane]

    def _solved(
        self, session: Session, row: int, right: Array, states: Array, noises: Array, name: Callable[[int], str]
    ) -> Solution:
        session.change_rows(self.stage.rows, right[row], right[row])
        solution = session.solve()
        if solution.status != "optimal":
            reason = f"{solution.status} ({solution.message})" if solution.message else solution.status
            saved = _saved(session.program(), states[row], noises[row])
            raise StageInfeasible(self.number, name(row), reason, saved=saved)
        return solution

    def _batch(self, solutions: Sequence[Solution]) -> Batch:
        points = np.array([solution.x for solution in solutions])
        duals = np.array([_duals(solution)[self.stage.rows] for solution in solutions])
        return Batch(
            value=np.array([solution.objective for solution in solutions], float),
            cost=points[:, : self._width] @ self.stage.program.cost,
            state=points[:, self.stage.state],
            slope=self.stage.state_price(duals),
        )


def stage_models(
    problem: Multistage, solver: Solver, cuts: Sequence[Cuts], bases: Sequence[Basis | None], *, cyclic: bool = False
) -> list[StageModel]:
    """The models of all stages.

    Args:
        problem: whose stages.
        solver: opens the sessions.
        cuts: of each stage.
        bases: of each stage.
        cyclic: whether the first stage follows the last one.
    """
    last = len(problem.stages) - 1
    floors = [problem.lower_bound if t < last or cyclic else None for t in range(last + 1)]
    return [StageModel(stage, solver, t + 1, floors[t], cuts[t], bases[t]) for t, stage in enumerate(problem.stages)]


def _with_cuts(stage: LinearStage, floor: float | None, cuts: Cuts) -> LinearProgram:
    """The program of a stage with a last column for the cost to go, and the cuts as last rows."""
    program = stage.program
    if program.integer is not None and program.integer.any():
        raise UsageError("cuts need stages without integer columns")
    low, high = (0.0, 0.0) if floor is None else (floor, np.inf)
    starts, columns, values = _rows(stage, cuts)
    return LinearProgram(
        cost=np.append(program.cost, 1.0),
        lower=np.append(program.lower, low),
        upper=np.append(program.upper, high),
        row_lower=np.append(program.row_lower, cuts.intercepts),
        row_upper=np.append(program.row_upper, np.full(len(cuts), np.inf)),
        starts=np.append(program.starts[:-1], program.starts[-1] + starts),
        columns=np.append(program.columns, columns),
        values=np.append(program.values, values),
        column_names=(*program.column_names, COST_TO_GO),
        row_names=(*program.row_names, *(f"cut {k + 1}" for k in range(len(cuts)))),
    )


def _add_rows(session: Session, stage: LinearStage, cuts: Cuts) -> None:
    starts, columns, values = _rows(stage, cuts)
    session.add_rows(cuts.intercepts, np.full(len(cuts), np.inf), starts, columns, values)


def _rows(stage: LinearStage, cuts: Cuts) -> tuple[Array, Array, Array]:
    """``cost to go - slope @ state >= intercept`` as sparse rows."""
    one = np.append(stage.state, len(stage.program.cost))
    starts = np.arange(len(cuts) + 1, dtype=np.int32) * len(one)
    values = np.hstack([-cuts.slopes, np.ones((len(cuts), 1))])
    return starts.astype(np.int32), np.tile(one, len(cuts)).astype(np.int32), values.ravel()


def _duals(solution: Solution) -> Array:
    if solution.row_duals is None:
        raise ValueError("the solver gives no duals: it cannot price states")
    return solution.row_duals


def _saved(program: LinearProgram, state: Array, noise: Array) -> str:
    """Write a program that failed, for whoever looks into it; gives the file, or nothing if it cannot be written."""
    names = [name for name in LinearProgram.__slots__ if isinstance(getattr(program, name), np.ndarray | tuple)]
    parts: dict[str, Any] = {name: np.asarray(getattr(program, name)) for name in names}
    path = Path(tempfile.mkdtemp(prefix="interlock-stage-")) / "program.npz"
    try:
        np.savez(path, state=state, noise=noise, **parts)
    except OSError:
        return ""
    return str(path)

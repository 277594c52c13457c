"""All stages of a multistage program side by side in one linear program: its optimum knows the whole path of the noise.

The same rows with the noise of another path are another right-hand side, so that one session of a solver serves all
paths. Perfect-information bounds, look-ahead over a forecast, and decision rules with soft targets are built on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from interlock.core.environment import Array
from interlock.core.errors import StageInfeasible
from interlock.core.multistage.stage import LinearStage, Multistage
from interlock.solvers.interface import LinearProgram, Session, Solution, Solver


@dataclass(frozen=True)
class Stacked:
    """``T`` stages as one program; column and row ``name`` of stage ``t`` (from 1) is called ``name@t``.

    Attributes:
        program: minimises the sum of the stages' costs, at ``x_0 = 0`` and ``w = 0`` until its rows are moved.
        stages: the stages, in order.
        columns: int ``(T + 1,)``; stage ``t`` has the columns ``columns[t]:columns[t + 1]``.
        state: int ``(T, s)``, the columns of the states that the stages hand on.
        rows: int ``(R,)``, the rows that move with the noise and with the initial state.
        offset: ``(R,)``.
        by_state: sparse ``(R, T s)``: of the states that the stages receive, the first is the initial one.
        by_noise: sparse ``(R, T k)``.
    """

    program: LinearProgram
    stages: tuple[LinearStage, ...]
    columns: Array
    state: Array
    rows: Array
    offset: Array
    by_state: Any
    by_noise: Any

    @property
    def noises(self) -> int:
        """Number k of noises of a stage."""
        return int(self.by_noise.shape[1]) // len(self.stages)

    def right_hand_side(self, initial_state: Array, noise: Array) -> Array:
        """``(..., R)`` of initial states ``(s,)`` or ``(n, s)`` and paths ``(T, k)`` or ``(n, T, k)``."""
        path = noise.reshape(*noise.shape[:-2], -1)
        first = self.by_state[:, : self.state.shape[1]]
        moved: Array = self.offset + path @ self.by_noise.T + initial_state @ first.T
        return moved

    def solve(self, session: Session, initial_state: Array, noise: Array, name: str = "path") -> Solution:
        """Move the rows to one path ``(T, k)`` and solve.

        Args:
            session: of ``program``; it keeps its basis from path to path.
            initial_state: ``(s,)``.
            noise: ``(T, k)``.
            name: of the path, for the error.

        Raises:
            StageInfeasible: there is no optimum.
        """
        return self.solve_level(session, self.right_hand_side(initial_state, noise), name)

    def solve_level(self, session: Session, level: Array, name: str) -> Solution:
        """The same at a right-hand side ``(R,)``."""
        session.change_rows(self.rows, level, level)
        solution = session.solve()
        if solution.status != "optimal":
            raise StageInfeasible(1, f"{name}, {len(self.stages)} stages at once", solution.message or solution.status)
        return solution

    def states(self, x: Array) -> Array:
        """``(T, s)``, the states that the stages hand on."""
        states: Array = x[self.state]
        return states

    def costs(self, x: Array) -> Array:
        """``(T,)``, the costs of the stages at ``x``."""
        return np.add.reduceat(self.program.cost * x, self.columns[:-1])

    def signals(self, x: Array) -> Array:
        """``(..., T, m)``, the costs of the constraints, stage by stage, at ``x`` ``(..., columns)``."""
        parts = np.split(x, self.columns[1:-1], axis=-1)
        return np.stack([signals_of(stage, part) for stage, part in zip(self.stages, parts, strict=True)], axis=-2)

    def state_price(self, row_duals: Array) -> Array:
        """``(..., T, s)``, derivative of the total cost in the states that stages receive; duals ``(..., rows)``."""
        return self._by_stage(row_duals[..., self.rows] @ self.by_state)

    def noise_price(self, row_duals: Array) -> Array:
        """``(..., T, k)``, derivative of the total cost in the noise of each stage; duals ``(..., rows)``."""
        return self._by_stage(row_duals[..., self.rows] @ self.by_noise)

    def _by_stage(self, flat: Array) -> Array:
        return flat.reshape(*flat.shape[:-1], len(self.stages), -1)


def stack(stages: Sequence[LinearStage]) -> Stacked:
    """The deterministic equivalent of a path through ``stages``, which all have as many states and noises."""
    programs = [stage.program for stage in stages]
    columns = np.concatenate([[0], np.cumsum([len(program.cost) for program in programs])])
    tops = np.concatenate([[0], np.cumsum([len(program.row_lower) for program in programs])])
    state = np.array([stage.state + left for stage, left in zip(stages, columns[:-1], strict=True)])
    rows = np.concatenate([stage.rows + top for stage, top in zip(stages, tops[:-1], strict=True)])
    offset = np.concatenate([stage.offset for stage in stages])
    by_state = sparse.block_diag([stage.by_state for stage in stages], format="csr")
    by_noise = sparse.block_diag([stage.by_noise for stage in stages], format="csr")

    received = sparse.coo_matrix(by_state[:, state.shape[1] :])
    coupling = sparse.coo_matrix(
        (-received.data, (rows[received.row], state[:-1].ravel()[received.col])), shape=(tops[-1], columns[-1])
    )
    matrix = (sparse.block_diag([_matrix(program) for program in programs], format="csr") + coupling).tocsr()
    row_lower, row_upper = (
        np.concatenate([getattr(program, name) for program in programs]) for name in ("row_lower", "row_upper")
    )
    row_lower[rows] = row_upper[rows] = offset
    program = LinearProgram(
        cost=np.concatenate([program.cost for program in programs]),
        lower=np.concatenate([program.lower for program in programs]),
        upper=np.concatenate([program.upper for program in programs]),
        row_lower=row_lower,
        row_upper=row_upper,
        starts=matrix.indptr.astype(np.int32),
        columns=matrix.indices.astype(np.int32),
        values=matrix.data,
        column_names=tuple(f"{name}@{t}" for t, program in enumerate(programs, 1) for name in program.column_names),
        row_names=tuple(f"{name}@{t}" for t, program in enumerate(programs, 1) for name in program.row_names),
    )
    return Stacked(program, tuple(stages), columns, state, rows, offset, by_state, by_noise)


def perfect_information(multistage: Multistage, solver: Solver, noise: Array) -> Array:
    """``(n,)``, the least cost of each path ``(n, T, k)`` for one who knows it from the start; no policy is below.

    Raises:
        StageInfeasible: a path has no optimum.
    """
    stacked = stack(multistage.stages)
    session = solver.open(stacked.program)
    start = multistage.initial_state
    return np.array([stacked.solve(session, start, path, f"path {k}").objective for k, path in enumerate(noise, 1)])


def softened(stage: LinearStage, penalty: float | Array) -> LinearStage:
    """The stage with targets for its outgoing state that may be missed at a price.

    The program gains the columns ``short`` and ``over`` and the rows ``state + short - over = target``; the targets
    are ``s`` further noises, after the ``k`` of the stage. With ``short`` and ``over`` priced at the penalty, the sum
    of both is the distance ``|state - target|`` and the duals of the rows are between ``-penalty`` and ``penalty``.

    Args:
        stage: any.
        penalty: per unit of state, ``()`` or ``(s,)``. Above the largest marginal value of the state, no optimum
            misses a target that can be met.
    """
    program, (states,) = stage.program, stage.state.shape
    n, m = len(program.cost), len(program.row_lower)
    price = np.broadcast_to(np.asarray(penalty, float), (states,))
    short, over = n + np.arange(states), n + states + np.arange(states)
    zeros, ones = np.zeros(states), np.ones(states)
    names = [program.column_names[column] for column in stage.state]
    soft = replace(
        program,
        cost=np.concatenate([program.cost, price, price]),
        lower=np.concatenate([program.lower, zeros, zeros]),
        upper=np.concatenate([program.upper, np.full(2 * states, np.inf)]),
        row_lower=np.concatenate([program.row_lower, zeros]),
        row_upper=np.concatenate([program.row_upper, zeros]),
        starts=np.concatenate([program.starts, program.starts[-1] + 3 * (1 + np.arange(states))]).astype(np.int32),
        columns=np.concatenate([program.columns, np.column_stack([stage.state, short, over]).ravel()]).astype(np.int32),
        values=np.concatenate([program.values, np.column_stack([ones, ones, -ones]).ravel()]),
        column_names=(
            *program.column_names,
            *(f"short {name}" for name in names),
            *(f"over {name}" for name in names),
        ),
        row_names=(*program.row_names, *(f"target {name}" for name in names)),
    )
    noises = stage.by_noise.shape[1]
    return LinearStage(
        program=soft,
        state=stage.state,
        rows=np.concatenate([stage.rows, m + np.arange(states)]),
        offset=np.concatenate([stage.offset, zeros]),
        by_state=np.vstack([stage.by_state, np.zeros((states, states))]),
        by_noise=np.block(
            [[stage.by_noise, np.zeros((len(stage.rows), states))], [np.zeros((states, noises)), np.eye(states)]]
        ),
        signals=np.hstack([stage.signals, np.zeros((len(stage.signals), 2 * states))])
        if len(stage.signals)
        else stage.signals,
    )


def signals_of(stage: LinearStage, x: Array) -> Array:
    """``(..., m)``, the costs of the constraints at solutions ``(..., columns)`` of the stage's program."""
    if not len(stage.signals):
        return np.zeros((*x.shape[:-1], 0))
    signals: Array = x @ stage.signals.T
    return signals


def _matrix(program: LinearProgram) -> Any:
    shape = (len(program.row_lower), len(program.cost))
    return sparse.csr_matrix((program.values, program.columns, program.starts), shape=shape)

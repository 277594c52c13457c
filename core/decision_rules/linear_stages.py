"""Linear stage programs with strict targets, solved in batches by warm sessions of any solver."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from interlock.core.decision_rules.contract import StageBatch
from interlock.core.environment import Array
from interlock.core.errors import StageInfeasible
from interlock.core.multistage.stacked import signals_of
from interlock.core.multistage.stage import LinearStage, Multistage
from interlock.solvers.interface import Basis, Session, Solver

TOLERANCE = 1e-7
"""By how much a target may leave the bounds of its column, relative to its size, as round-off."""


class LinearStages:
    """A ``StageSolver``: the columns of the outgoing state are fixed at the targets, whose prices are reduced costs.

    Every distinct stage is kept in a session. A batch is cut into chunks of the same stage in the order of the batch,
    and each chunk begins from one and the same basis, so that neither the number of threads nor what was solved
    before changes an answer.

    Args:
        multistage: the problem.
        solver: opens the sessions; it must be able to keep and set a basis.
        threads: chunks that are solved side by side, each with sessions of its own.
        chunk: programs that are solved one from the basis of another.
    """

    def __init__(self, multistage: Multistage, solver: Solver, *, threads: int = 1, chunk: int = 64):
        self._stages = list({id(stage): stage for stage in multistage.stages}.values())
        kinds = {id(stage): kind for kind, stage in enumerate(self._stages)}
        self._kind = np.array([kinds[id(stage)] for stage in multistage.stages])
        self._chunk, self._threads = chunk, threads
        self._workers: SimpleQueue[list[_Kept]] = SimpleQueue()
        first = [np.argmax(self._kind == kind) for kind in range(len(self._stages))]
        begins = []
        for worker in range(threads):
            kept = [_Kept(stage, solver.open(stage.program)) for stage in self._stages]
            if worker == 0:
                means = [multistage.noises[t].probabilities @ multistage.noises[t].outcomes for t in first]
                begins = [
                    one.first_basis(multistage.initial_state, mean) for one, mean in zip(kept, means, strict=True)
                ]
            for one, basis in zip(kept, begins, strict=True):
                one.begin = basis
            self._workers.put(kept)

    def solve(
        self, stage: Array, state: Array, noise: Array, target: Array, multipliers: Array | None = None
    ) -> StageBatch:
        """See ``StageSolver``."""
        count, states = target.shape
        signals = len(self._stages[0].signals)
        answer = StageBatch(
            cost=np.empty(count),
            target_price=np.empty((count, states)),
            state_price=np.empty((count, states)),
            signals=np.empty((count, signals)),
        )
        weights = np.zeros(signals) if multipliers is None else np.asarray(multipliers, float)

        def work(job: tuple[int, Array]) -> None:
            kind, rows = job
            kept = self._workers.get()
            try:
                kept[kind].solve(rows, stage[rows], state[rows], noise[rows], target[rows], weights, answer)
            finally:
                self._workers.put(kept)

        if self._threads == 1:
            for job in self._jobs(stage):
                work(job)
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(work, self._jobs(stage)))
        return answer

    def state(self) -> dict[str, Array]:
        """Nothing: every chunk begins from the same basis."""
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Nothing to know again."""

    def _jobs(self, stage: Array) -> Iterator[tuple[int, Array]]:
        kind = self._kind[stage]
        for k in range(len(self._stages)):
            rows = np.flatnonzero(kind == k)
            for begin in range(0, len(rows), self._chunk):
                yield k, rows[begin : begin + self._chunk]


class _Kept:
    """A stage inside a session."""

    def __init__(self, stage: LinearStage, session: Session):
        self.stage, self.session = stage, session
        self.begin: Basis | None = None
        self._rows, self._state = stage.rows.astype(np.int32), stage.state.astype(np.int32)
        self._columns = np.arange(len(stage.program.cost), dtype=np.int32)
        self._weights = np.zeros(len(stage.signals))

    def first_basis(self, state: Array, noise: Array) -> Basis | None:
        """Of the stage without a target."""
        level = self.stage.right_hand_side(state, noise)
        self.session.change_rows(self._rows, level, level)
        self.session.solve()
        return self.session.basis()

    def solve(
        self,
        rows: Array,
        stage: Array,
        state: Array,
        noise: Array,
        target: Array,
        weights: Array,
        answer: StageBatch,
    ) -> None:
        """Solve programs one after another and write them into the rows of the answer."""
        program, session = self.stage.program, self.session
        if not np.array_equal(weights, self._weights):
            session.change_costs(self._columns, program.cost + weights @ self.stage.signals)
            self._weights = weights.copy()
        lower, upper = program.lower[self.stage.state], program.upper[self.stage.state]
        slack = TOLERANCE * np.maximum(1.0, np.abs(target))
        outside = ~((target >= lower - slack) & (target <= upper + slack)).all(axis=1)
        if outside.any():
            k = int(np.argmax(outside))
            raise _infeasible(stage[k], rows[k], "a target is out of the bounds of its column")
        level = self.stage.right_hand_side(state, noise)
        x = np.empty((len(rows), len(program.cost)))
        duals = np.empty((len(rows), len(self._rows)))
        session.start_from(self.begin)
        for k in range(len(rows)):
            session.change_rows(self._rows, level[k], level[k])
            session.change_columns(self._state, target[k], target[k])
            solution = session.solve()
            if solution.status != "optimal" or solution.x is None:
                raise _infeasible(stage[k], rows[k], f"{solution.status}: {solution.message}")
            assert solution.row_duals is not None
            assert solution.reduced_costs is not None
            x[k], duals[k] = solution.x, solution.row_duals[self._rows]
            answer.target_price[rows[k]] = solution.reduced_costs[self._state]
        answer.cost[rows] = x @ program.cost
        answer.state_price[rows] = self.stage.state_price(duals)
        answer.signals[rows] = signals_of(self.stage, x)


def _infeasible(stage: int, row: int, reason: str) -> StageInfeasible:
    return StageInfeasible(int(stage) + 1, f"row {row + 1} of the batch", reason, row=int(row))

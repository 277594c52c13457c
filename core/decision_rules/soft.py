r"""Rollouts with soft targets: the program may miss a target at a price, and what it does instead is differentiated.

The horizon is cut into windows. Within a window the rule sees its own targets as states, and one linear program follows
all of them; at the start of a window it sees the state that was realised. One stage per window is the stage-wise
rollout, one window of all stages the deterministic equivalent, anything between is multiple shooting.

Values are differentiated by duals. The realised end state of a window is ``x_B = B^{-1} (b - N x_N)`` for the optimal
basis ``B``, so its derivative in the right-hand side ``b`` costs one solve with the transposed basis; at a degenerate
vertex this is the derivative on one side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from interlock.core.decision_rules.contract import DecisionProgram
from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.decision_rules.strict import Rollout
from interlock.core.environment import Array
from interlock.core.errors import StageInfeasible
from interlock.core.multistage.stacked import Stacked, softened, stack
from interlock.core.multistage.stage import Multistage
from interlock.solvers.interface import Basis, Session, Solver

BASIC = 1
"""Code of a basic column or row in a ``Basis``."""


@dataclass(frozen=True, slots=True)
class SoftRollout(Rollout):
    """A rollout whose targets may have been missed.

    Attributes:
        penalty: ``(n,)`` paid for missed targets; not part of ``cost``.
    """

    penalty: Array

    @property
    def violation_share(self) -> float:
        """Penalty as a share of penalty and cost, over all paths."""
        paid = float(self.penalty.sum())
        return paid / max(paid + float(self.cost.sum()), 1e-300)


class SoftWindows:
    """The programs of a horizon that is cut into windows, open in a solver.

    Args:
        multistage: the problem; its stages must have a solution for every state and noise.
        solver: opens the sessions; it must tell the basis of a solution.
        window: stages per window, the last one may be shorter; ``None`` for the whole horizon.
        penalty: per unit of missed target, ``()`` or ``(s,)``; by default twice the dearest recourse price.
    """

    def __init__(
        self,
        multistage: Multistage,
        solver: Solver,
        *,
        window: int | None = None,
        penalty: float | Array | None = None,
    ):
        size = window or len(multistage.stages)
        price = 2.0 * recourse_price(multistage, solver) if penalty is None else np.asarray(penalty, float)
        soft = {id(stage): softened(stage, price) for stage in multistage.stages}
        opened: dict[tuple[int, ...], _Window] = {}
        self.starts = range(0, len(multistage.stages), size)
        self.windows: list[_Window] = []
        for start in self.starts:
            stages = multistage.stages[start : start + size]
            key = tuple(id(stage) for stage in stages)
            if key not in opened:
                opened[key] = _Window(stack([soft[id(stage)] for stage in stages]), solver)
            self.windows.append(opened[key])


def soft_rollout(
    program: DecisionProgram, network: RuleNetwork, windows: SoftWindows, noise: Array, multipliers: Array
) -> SoftRollout:
    """Follow the rule window by window; the surrogate is the mean of cost + penalty + multipliers @ signals.

    Args:
        program: the problem, for features and for the map from raw numbers to targets.
        network: the rule.
        windows: of the same problem.
        noise: paths ``(n, T, k)``.
        multipliers: ``(m,)``, prices of the signals.

    Raises:
        StageInfeasible: a window has no solution.
    """
    kind = next(network.parameters()).dtype
    hidden, _ = network.encode(torch.as_tensor(program.features(noise), dtype=kind))
    seen = torch.as_tensor(noise, dtype=torch.float64)
    scale = torch.as_tensor(program.state_scale, dtype=torch.float64)
    state = torch.as_tensor(np.tile(program.initial_state, (len(noise), 1)), dtype=torch.float64)
    total, played = torch.zeros(len(noise), dtype=torch.float64), []
    for start, window in zip(windows.starts, windows.windows, strict=True):
        believed, targets = state, []
        for t in range(start, start + len(window.stacked.stages)):
            raw = network.propose(hidden[:, t], (believed / scale).to(kind))
            believed = program.reach(torch, raw.double(), believed, seen[:, t])
            targets.append(believed)
        aims = torch.stack(targets, dim=1)
        path = noise[:, start : start + aims.shape[1]]
        solved = window.solve(state.detach().numpy(), path, aims.detach().numpy(), multipliers, start)
        value, state = _Follow.apply(state, aims, solved, window)  # type: ignore[no-untyped-call]
        total = total + value
        played.append(solved)
    return SoftRollout(
        surrogate=total.mean(),
        cost=np.sum([solved.cost for solved in played], axis=0),
        signals=np.sum([solved.signals for solved in played], axis=0),
        penalty=np.sum([solved.penalty for solved in played], axis=0),
    )


def recourse_price(multistage: Multistage, solver: Solver) -> Array:
    """``(s,)``, the dearest price of a unit of state on the poorest and on the richest path of the noise.

    The two paths take the least and the greatest outcome of every stage, coordinate by coordinate.

    Raises:
        StageInfeasible: such a path has no solution.
    """
    stacked = stack(multistage.stages)
    session = solver.open(stacked.program)
    prices = []
    for extreme in (np.min, np.max):
        path = np.array([extreme(noise.outcomes, axis=0) for noise in multistage.noises])
        solution = stacked.solve(session, multistage.initial_state, path, f"path of the {extreme.__name__} outcomes")
        assert solution.row_duals is not None, "the optimum of a linear program has duals"
        prices.append(np.abs(stacked.state_price(solution.row_duals)).max(axis=0))
    return np.asarray(np.maximum(np.max(prices, axis=0), 1e-6))


@dataclass(frozen=True, slots=True)
class _Solved:
    """Of ``n`` paths through a window: values, end states, prices of initial states and targets, parts, bases."""

    value: Array
    end: Array
    initial_price: Array
    target_price: Array
    cost: Array
    penalty: Array
    signals: Array
    bases: list[Basis | None]


class _Window:
    def __init__(self, stacked: Stacked, solver: Solver):
        self.stacked, self._solver = stacked, solver
        self._session: Session = solver.open(stacked.program)
        self._columns = np.arange(len(stacked.program.cost), dtype=np.int32)
        self._matrix = sparse.csr_matrix(
            (stacked.program.values, stacked.program.columns, stacked.program.starts),
            shape=(len(stacked.program.row_lower), len(stacked.program.cost)),
        )
        self._weights = np.zeros(len(stacked.stages[0].signals))
        states = stacked.state.shape[1]
        self._missed = np.concatenate([np.arange(right - 2 * states, right) for right in stacked.columns[1:]])
        level = stacked.right_hand_side(np.zeros(states), np.zeros((len(stacked.stages), stacked.noises)))
        self._session.change_rows(stacked.rows, level, level)
        self._session.solve()
        self._begin = self._session.basis()

    def solve(self, initial: Array, noise: Array, targets: Array, weights: Array, first: int) -> _Solved:
        """Initial states ``(n, s)``, noise ``(n, W, k)``, targets ``(n, W, s)``; ``first`` is the stage, from 0."""
        stacked, states = self.stacked, targets.shape[2]
        self._price(np.asarray(weights, float))
        self._session.start_from(self._begin)  # the same batch has the same answer, whatever was solved before
        levels = stacked.right_hand_side(initial, np.concatenate([noise, targets], axis=2))
        x = np.empty((len(levels), len(self._columns)))
        duals = np.empty((len(levels), len(stacked.program.row_lower)))
        bases = []
        for number, level in enumerate(levels):
            try:
                solution = stacked.solve_level(self._session, level, f"path {number + 1} of the batch")
            except StageInfeasible as error:
                raise StageInfeasible(first + 1, error.scenario, error.reason, error.saved) from error
            x[number], duals[number] = solution.x, solution.row_duals
            bases.append(self._session.basis())
        penalty = x[:, self._missed] @ stacked.program.cost[self._missed]
        cost = x @ stacked.program.cost
        signals = stacked.signals(x).sum(axis=1)
        return _Solved(
            value=cost + signals @ self._weights,
            end=x[:, stacked.state[-1]],
            initial_price=stacked.state_price(duals)[:, 0],
            target_price=stacked.noise_price(duals)[:, :, -states:],
            cost=cost - penalty,
            penalty=penalty,
            signals=signals,
            bases=bases,
        )

    def pulled_back(self, bases: Iterable[Basis | None], weights: Array) -> tuple[Array, Array]:
        """Derivatives of ``weights @ end``, weights ``(n, s)``, in the initial states and in the targets."""
        stacked, states = self.stacked, weights.shape[1]
        factors: dict[bytes, tuple[Array, Array, Any]] = {}
        moved = np.zeros((len(weights), len(stacked.program.row_lower)))
        wanted = np.zeros(len(self._columns))
        for k, basis in enumerate(bases):
            if basis is None:
                raise RuntimeError("the solver has no basis of its solution, so the end state has no derivative")
            key = basis.columns.tobytes() + basis.rows.tobytes()
            if key not in factors:
                columns, rows = np.flatnonzero(basis.columns == BASIC), np.flatnonzero(basis.rows != BASIC)
                transposed = self._matrix[rows][:, columns].T.tocsc()
                factors[key] = rows, columns, splu(transposed)
            rows, columns, factor = factors[key]
            wanted[stacked.state[-1]] = weights[k]
            moved[k, rows] = factor.solve(wanted[columns])
        of_rows = moved[:, stacked.rows]
        of_noise = (of_rows @ stacked.by_noise).reshape(len(weights), len(stacked.stages), -1)
        return (of_rows @ stacked.by_state)[:, :states], of_noise[:, :, -states:]

    def _price(self, weights: Array) -> None:
        if np.array_equal(weights, self._weights):
            return
        extra = [weights @ stage.signals for stage in self.stacked.stages]
        self._session.change_costs(self._columns, self.stacked.program.cost + np.concatenate(extra))
        self._weights = weights.copy()


class _Follow(torch.autograd.Function):
    """Value ``(n,)`` and end state ``(n, s)`` of a window as functions of the initial state and the targets."""

    @staticmethod
    def forward(ctx: Any, initial: Tensor, targets: Tensor, solved: _Solved, window: _Window) -> tuple[Tensor, Tensor]:
        ctx.solved, ctx.window = solved, window
        ctx.set_materialize_grads(False)
        return torch.as_tensor(solved.value), torch.as_tensor(solved.end)

    @staticmethod
    def backward(ctx: Any, by_value: Tensor | None, by_end: Tensor | None) -> Any:
        solved = ctx.solved
        initial, targets = np.zeros_like(solved.initial_price), np.zeros_like(solved.target_price)
        if by_value is not None:
            share = by_value.numpy()
            initial = initial + share[:, None] * solved.initial_price
            targets = targets + share[:, None, None] * solved.target_price
        if by_end is not None:
            more = ctx.window.pulled_back(solved.bases, by_end.numpy())
            initial, targets = initial + more[0], targets + more[1]
        return torch.as_tensor(initial), torch.as_tensor(targets), None, None

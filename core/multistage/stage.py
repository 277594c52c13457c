"""A stage as a linear program whose right-hand sides depend on the state it receives and on the noise it sees."""

from dataclasses import dataclass, field

import numpy as np

from interlock.core.environment import Array
from interlock.solvers.interface import LinearProgram


@dataclass(frozen=True)
class LinearStage:
    """``Q(x, w) = min cost @ y`` where the rows ``rows`` of the program equal ``offset + by_state @ x + by_noise @ w``.

    All other data of the program stay as they are. The state handed to the next stage is ``y[state]``.

    Attributes:
        program: minimises; rows ``rows`` are equalities, their bounds in it are those at ``x = 0, w = 0``.
        state: int ``(s,)``, the columns that hold the outgoing state.
        rows: int ``(r,)``, the rows that move.
        offset: ``(r,)``.
        by_state: ``(r, s)``.
        by_noise: ``(r, k)``.
        signals: ``(m, columns)``; ``signals @ y`` are the stage's costs of the problem's constraints.
    """

    program: LinearProgram
    state: Array
    rows: Array
    offset: Array
    by_state: Array
    by_noise: Array
    signals: Array = field(default_factory=lambda: np.zeros((0, 0)))

    def right_hand_side(self, state: Array, noise: Array) -> Array:
        """``(..., r)`` of states ``(..., s)`` and noises ``(..., k)``."""
        moved: Array = self.offset + state @ self.by_state.T + noise @ self.by_noise.T
        return moved

    def state_price(self, row_duals: Array) -> Array:
        """``dQ/dx`` ``(..., s)`` from the duals of the moving rows ``(..., r)``."""
        price: Array = row_duals @ self.by_state
        return price


@dataclass(frozen=True)
class Noise:
    """What a stage may see, independently of the stages before it.

    Attributes:
        outcomes: ``(S, k)``.
        probabilities: ``(S,)``, sums to 1.
    """

    outcomes: Array
    probabilities: Array


@dataclass(frozen=True)
class Multistage:
    """Stages in order, hazard-decision: each sees its noise before it decides.

    Attributes:
        stages: one per stage; equal stages are the same object, so that they can share a session of a solver.
        noises: one per stage.
        initial_state: ``(s,)``.
        lower_bound: no expected cost to go, from any stage on, is below this (for the first cuts).
    """

    stages: tuple[LinearStage, ...]
    noises: tuple[Noise, ...]
    initial_state: Array
    lower_bound: float = 0.0

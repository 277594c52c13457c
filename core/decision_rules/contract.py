"""What decision rules need to know of a multistage problem: paths, features, a reachable map, and priced stages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from interlock.core.environment import Array


@dataclass(frozen=True, slots=True)
class StageBatch:
    """Solutions of ``N`` stage programs, each with its own state, noise and strict target.

    Attributes:
        cost: ``(N,)``.
        target_price: ``(N, s)``, derivative of the cost in the target.
        state_price: ``(N, s)``, derivative of the cost in the incoming state.
        signals: ``(N, m)``, costs of the constraints.
    """

    cost: Array
    target_price: Array
    state_price: Array
    signals: Array


class StageSolver(Protocol):
    """Solves batches of stage programs; where prices are not unique, which one is told may depend on its state."""

    def solve(
        self, stage: Array, state: Array, noise: Array, target: Array, multipliers: Array | None = None
    ) -> StageBatch:
        """Price ``N`` programs.

        Args:
            stage: int ``(N,)``, from 0.
            state: ``(N, s)``, incoming.
            noise: ``(N, k)``.
            target: ``(N, s)``, what the outgoing state must equal; reachable.
            multipliers: ``(m,)``; the program minimises cost + multipliers @ signals, and the prices are of that sum.

        Raises:
            StageInfeasible: a program has no solution.
        """
        ...

    def state(self) -> dict[str, Array]:
        """What it has learned on the way to be faster, for checkpoints."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Know again what ``state`` told."""
        ...


class DecisionProgram(Protocol):
    """A multistage problem as decision rules see it.

    It may also have ``save_stage(stage, state, noise, target) -> str``, which writes down the program of one stage that
    has no solution and gives the file's name, or "" if it cannot.

    Attributes:
        stages: number of stages T.
        initial_state: ``(s,)``.
        state_scale: ``(s,)``, by which states are divided before the network sees them.
        limits: ``(m,)``, of the expected sum of each signal over the stages; infinite where there is none.
        signal_prices: ``(m,)``, cost of a unit of each signal that multipliers are measured in.
    """

    stages: int
    initial_state: Array
    state_scale: Array
    limits: Array
    signal_prices: Array

    def paths(self, count: int, generator: Any) -> Array:
        """Training paths of the noise, ``(count, T, k)``, from a numpy generator."""
        ...

    def features(self, noise: Array) -> Array:
        """Inputs of the encoder ``(n, T, f)`` of paths ``(n, T, k)``; those of stage t know nothing later."""
        ...

    def reach(self, xp: ModuleType, raw: Any, state: Any, noise: Any) -> Any:
        """Target states ``(n, s)`` that are reachable in one stage, of any numbers ``raw`` ``(n, s)``.

        Args:
            xp: ``numpy`` or ``torch``: the same text serves training and decision.
            raw: output of the network.
            state: incoming ``(n, s)``.
            noise: ``(n, k)``.
        """
        ...

    def solver(self) -> StageSolver:
        """A new one; not shared between threads."""
        ...

    def quick_cost(self) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]] | None:
        """A differentiable cost in torch for pretraining, or ``None``.

        It maps ``(stage (N,), state, noise, target)`` to ``(cost (N,), signals (N, m))``.
        """
        ...

"""Policies and planners: what maps observations to actions, or an instance to a whole plan. Torch-free."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from interlock.core.environment import Array, Observation

Encoder = Callable[[Observation], dict[str, Array]]
"""Raw observation -> named float32 arrays with the same leading axis: the inputs of a network or scorer."""


class Policy(Protocol):
    """Anything that acts step by step on a batch of observations."""

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """One action per row."""
        ...

    def reset(self, rows: Array | None = None) -> None:
        """Forget the history of these rows (all, if ``None``); only recurrent policies have any."""
        ...

    def seed(self, seed: int) -> None:
        """Restart the policy's own randomness."""
        ...


@runtime_checkable
class SavedPolicy(Policy, Protocol):
    """A trained policy: it can be written to a folder and exported to a bundle."""

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and ``policy.json`` into an existing folder."""
        ...

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """Write the torch-free form into a bundle folder and describe it.

        Returns:
            ``{"kind": "onnx", "encoder": NAME, "file": "policy.onnx", "inputs": [...]}`` for a network whose outputs
            are ``scores`` ``(n, actions)``, or ``{"kind": "linear", "encoder": NAME, "input": "action_features",
            "weights": [...]}`` for a linear scorer of per-action features.
        """
        ...


class FunctionPolicy:
    """A memoryless policy from a function ``(observation, rng) -> actions``.

    Args:
        function: called with the observation and a random generator (deterministic rules ignore it).
        seed: of the generator.
    """

    def __init__(self, function: Callable[[Observation, np.random.Generator], Array], seed: int = 0):
        self.function = function
        self.seed(seed)

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """One action per row."""
        return self.function(observation, self.rng)

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Restart the random generator."""
        self.rng = np.random.default_rng(seed)


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete plan for one instance.

    Attributes:
        decisions: the domain's own plan type, checked by the domain's checker.
        objective: value of the plan, in the unit of the objective.
        bound: proven bound on the best plan, if the planner has one.
        trace: ``(seconds, objective)`` pairs of improving plans.
    """

    decisions: Any
    objective: float
    bound: float | None = None
    trace: tuple[tuple[float, float], ...] = field(default_factory=tuple)


class Planner(Protocol):
    """Anything that maps an instance to a complete plan at once or by search."""

    def plan(self, instance: Any, *, time_limit: float | None = None, seed: int = 0) -> Plan:
        """The best plan found within ``time_limit`` seconds."""
        ...


def masked_argmax(scores: Array, mask: Array) -> Array:
    """Best allowed action per row; the lowest index wins ties.

    Args:
        scores: ``(n, actions)``.
        mask: bool ``(n, actions)``; a row with no allowed action gives 0.
    """
    best: Array = np.argmax(np.where(mask, scores, -np.inf), axis=1)
    return best


def as_single(observation: Observation, row: int = 0) -> Mapping[str, Array]:
    """One row of an observation, as a batch of one."""
    return {name: values[row : row + 1] for name, values in observation.items()}

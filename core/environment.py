"""The batched environment: arrays with a leading axis of ``num_envs`` rows, one call per step for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from interlock.core.problem import Constraint

Array = NDArray[Any]
Observation = Mapping[str, Array]
"""Named arrays with leading axis ``num_envs``; ``action_mask`` (bool) where discrete actions are limited."""

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Step:
    """What one call of ``step`` returns for all rows.

    Attributes:
        observation: the next view; rows that finished show the first view of their next episode.
        reward: float ``(n,)``.
        cost: float ``(n, m)``, one column per constraint, in the constraint's unit.
        terminated: bool ``(n,)``; the episode ended in the process itself.
        truncated: bool ``(n,)``; the episode was cut off, so values bootstrap on ``final_observation``.
        final_observation: the last view of the rows that finished (other rows undefined); ``None`` if none was
            truncated.
        duration: ``(n,)`` elapsed time of the decision for semi-Markov processes; ``None`` means one step each.
        info: arrays ``(n, ...)``. Always ``instance``: the index of the instance that this step belonged to.
            One array per metric of the problem, valid in the rows that finished. Environments with an action mask
            never raise on an action that it rules out: they end the episode, and a bool array with ``illegal`` in its
            name is true in that row.
    """

    observation: Observation
    reward: Array
    cost: Array
    terminated: Array
    truncated: Array
    final_observation: Observation | None = None
    duration: Array | None = None
    info: Mapping[str, Array] = field(default_factory=dict)

    @property
    def done(self) -> Array:
        """Rows whose episode ended, for either reason."""
        done: Array = np.logical_or(self.terminated, self.truncated)
        return done


class BatchEnvironment(Protocol):
    """A batched simulator. Instance ``k`` of a seed and split is the same whatever ``num_envs`` is.

    Rows start with instances ``0 .. num_envs - 1``; a row that finishes restarts at once with the next instance that
    nobody has started, rows in ascending order. All randomness of an episode is keyed by its instance.

    Both spaces are those of one row. An environment with several agents also has ``agents``, a tuple of their names:
    observations are ``(n, agents, ...)``, actions ``(n, agents, ...)``, rewards ``(n, agents)`` or, where the agents
    share them, ``(n,)``; its spaces are those of one agent, and all agents of a row start and end together.
    """

    num_envs: int
    observation_space: spaces.Dict
    action_space: spaces.Space[Any]
    constraints: tuple[Constraint, ...]

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1``; ``seed`` replaces the seed of the instance stream."""
        ...

    def step(self, action: Array) -> Step:
        """Apply one action per row."""
        ...

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here, as arrays (for checkpoints)."""
        ...

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned; gives the current view."""
        ...

"""What every actor-critic method shares: a rollout ready for learning, measured constraints, and the step of a method.

The loop in ``interlock.core.actor_critic.loop`` plays, measures, validates and checkpoints; a method supplies a `Rule`,
which turns one rollout into one change of the policy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy


@dataclass(frozen=True, slots=True)
class Batch:
    """A rollout of ``N`` decisions and ``m`` constraints that learning can reach (all but hard ones).

    Attributes:
        inputs: name -> ``(N, ...)``, arguments of the network, with ``action_mask`` where there is one.
        actions: ``(N, ...)`` raw actions, as the policy's head drew them.
        log_probability: ``(N,)`` of them when they were drawn.
        advantages: ``(N, 1 + m)`` of the reward, then of each cost signal; neither centred nor scaled.
        targets: ``(N, 1 + m)`` of the critic.
    """

    inputs: dict[str, Tensor]
    actions: Tensor
    log_probability: Tensor
    advantages: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Number of decisions."""
        return len(self.log_probability)

    def rows(self, index: Tensor) -> "Batch":
        """Some of the decisions."""
        return Batch(
            {name: tensor[index] for name, tensor in self.inputs.items()},
            self.actions[index],
            self.log_probability[index],
            self.advantages[index],
            self.targets[index],
        )

    def minibatches(self, size: int, rng: np.random.Generator) -> Iterator["Batch"]:
        """All decisions once, in random order, in parts of about ``size``; gathered once, then cut."""
        shuffled = self.rows(torch.from_numpy(rng.permutation(len(self))))
        parts = max(1, len(self) // size)
        for start, end in zip(*_cuts(len(self), parts), strict=True):
            yield shuffled.rows(slice(start, end))  # type: ignore[arg-type]


def _cuts(length: int, parts: int) -> tuple[Array, Array]:
    edges = np.linspace(0, length, parts + 1).round().astype(int)
    return edges[:-1], edges[1:]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Constraints as measured over the episodes that finished since the last estimate.

    Attributes:
        value: ``(m,)`` in the unit of each constraint's limit.
        limit: ``(m,)``.
        violation: ``(m,)`` relative: ``(value - limit) / max(|limit|, floor)``; positive where violated.
        episodes: how many finished.
    """

    value: Array
    limit: Array
    violation: Array
    episodes: int


class Rule(Protocol):
    """How a method turns a rollout into a change of the policy. It owns its optimisers and multipliers."""

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """Change ``policy.network`` once.

        Args:
            policy: its network is changed in place; ``policy.head`` gives log-probabilities, entropies, divergences.
            batch: the rollout.
            estimate: ``None`` where there are no constraints, or too few episodes finished to say anything.
            left: share of training still to come, from 1 down to 0: for step sizes that fall.
            rng: for the order of minibatches.

        Returns:
            Figures for the curves, named ``train/...`` and ``constraint/NAME/multiplier``.
        """
        ...

    def state(self) -> dict[str, Array]:
        """Multipliers, optimiser moments and whatever else is needed to go on exactly from here."""
        ...

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        ...

"""What every actor-critic method shares: a rollout ready for learning, measured constraints, and the step of a method.

The loop in ``interlock.core.actor_critic.loop`` plays, measures, validates and checkpoints; a method supplies a `Rule`,
which turns one rollout into one change of the policy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
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
        length: decisions per sequence that a recurrent network has to see together; ``inputs["memory"]`` has
            ``N / length`` rows. 1 without memory.
    """

    inputs: dict[str, Tensor]
    actions: Tensor
    log_probability: Tensor
    advantages: Tensor
    targets: Tensor
    length: int = 1

    def __len__(self) -> int:
        """Number of decisions."""
        return len(self.log_probability)

    def sequences(self, index: Tensor | slice) -> "Batch":
        """Some of the sequences (of the decisions, where there is no memory)."""

        def pick(tensor: Tensor, length: int) -> Tensor:
            grouped = tensor if length == 1 else tensor.unflatten(0, (-1, length))
            # The general indexing of tensors takes several times as long.
            chosen = grouped[index] if isinstance(index, slice) else grouped.index_select(0, index)
            return chosen if length == 1 else chosen.flatten(0, 1)

        length = self.length
        return Batch(
            {name: pick(tensor, 1 if name == "memory" else length) for name, tensor in self.inputs.items()},
            pick(self.actions, length),
            pick(self.log_probability, length),
            pick(self.advantages, length),
            pick(self.targets, length),
            length,
        )

    def minibatches(self, size: int, rng: np.random.Generator) -> Iterator["Batch"]:
        """All decisions once, in random order, in parts of about ``size``; gathered once, then cut."""
        count = len(self) // self.length
        shuffled = self.sequences(torch.from_numpy(rng.permutation(count)))
        edges = np.linspace(0, count, max(1, min(count, len(self) // size)) + 1).round().astype(int)
        for start, end in pairwise(edges):
            yield shuffled.sequences(slice(int(start), int(end)))


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

    def warnings(self) -> list[str]:
        """Sentences for the user that became true since they were last asked for."""
        ...

"""Whether limits are within reach: what a training has seen of each constraint, and a plain word at its end."""

from collections.abc import Sequence

import numpy as np

from interlock.core.actor_critic.rule import Estimate
from interlock.core.environment import Array
from interlock.core.problem import Constraint

TAIL = 0.1
"""Share of the estimates at the end that the verdict is about."""
TOLERATED = 0.02
"""Relative violation there that is not worth a word: within the noise of a multiplier that holds its limit."""


class Reach:
    """Follows the estimates of the constraints through training.

    Args:
        constraints: that learning can reach.
        floor: smallest size of a limit that a violation is relative to.
    """

    def __init__(self, constraints: Sequence[Constraint], floor: float = 1e-3):
        self.constraints, self.floor = tuple(constraints), floor
        m = len(self.constraints)
        self.values = np.zeros((0, m))
        self.skipped = 0

    def follow(self, estimate: Estimate | None) -> None:
        """Take note of an estimate; ``None`` counts as skipped."""
        if not self.constraints:
            return
        if estimate is None:
            self.skipped += 1
            return
        self.values = np.vstack([self.values, estimate.value])

    def verdict(self) -> list[str]:
        """A sentence per constraint that was still violated at the end, or never measured."""
        if not self.constraints:
            return []
        if len(self.values) == 0:
            return [
                f"constraint {constraint.name} was never measured: too few episodes finished between updates "
                "(settings least_episodes, rollout, num_envs)"
                for constraint in self.constraints
            ]
        tail = max(1, round(TAIL * len(self.values)))
        sentences = []
        for k, constraint in enumerate(self.constraints):
            late = self.values[-tail:, k]
            if late.mean() <= constraint.limit + TOLERATED * max(abs(constraint.limit), self.floor):
                continue
            sentences.append(
                f"constraint {constraint.name} was not met in training: {late.mean():.4g} {constraint.unit} at the end "
                f"against a limit of {constraint.limit:.4g}; the smallest measured was {self.values[:, k].min():.4g}. "
                "The limit may be out of reach, or training too short"
            )
        return sentences

    def state(self) -> dict[str, Array]:
        """Everything needed to go on exactly from here."""
        return {"values": self.values, "skipped": np.array(self.skipped)}

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.values, self.skipped = state["values"], int(state["skipped"])

"""Risk measures as changes of probability: what the backward pass weighs the openings with."""

from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array


@dataclass(frozen=True, slots=True)
class Risk:
    """``(1 - weight) x expectation + weight x mean of the worst share 1 - level``, applied stage by stage.

    Attributes:
        weight: of the conditional value at risk, 0 for the plain expectation.
        level: of the conditional value at risk.
    """

    weight: float = 0.0
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a number is outside of its range.
        """
        if not 0.0 <= self.weight <= 1.0 or not 0.0 <= self.level < 1.0:
            raise ValueError(f"weight {self.weight} must be in [0, 1] and level {self.level} in [0, 1)")

    @property
    def neutral(self) -> bool:
        """Whether it is the expectation."""
        return self.weight == 0.0 or self.level == 0.0

    def probabilities(self, values: Array, probabilities: Array) -> Array:
        """Weights ``(n, S)`` whose mean of ``values`` ``(n, S)`` is the risk of each row.

        They are the maximiser in the dual form of the risk measure, hence also the weights of the subgradients
        (Philpott, de Matos, Finardi, "On solving multistage stochastic programs with coherent risk measures",
        Oper. Res. 61, 2013).

        Args:
            values: costs to go.
            probabilities: ``(S,)``.
        """
        if self.neutral:
            return np.broadcast_to(probabilities, values.shape)
        order = np.argsort(-values, axis=1, kind="stable")
        share = probabilities[order]
        before = np.cumsum(share, axis=1) - share
        tail = 1.0 - self.level
        taken = np.clip(tail - before, 0.0, share) / tail
        worst = np.empty_like(taken)
        np.put_along_axis(worst, order, taken, axis=1)
        mixed: Array = (1.0 - self.weight) * probabilities + self.weight * worst
        return mixed

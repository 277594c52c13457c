"""Which policy of a training leaves it: the best feasible one on the validation instances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from interlock.core.environment import Array
from interlock.core.evaluation.evidence import measure_constraints
from interlock.core.evaluation.protocol import play, split_seed
from interlock.core.evaluation.statistics import resample_rows, student
from interlock.core.policy import Policy
from interlock.core.problem import Constraint, Problem

ROUNDING = 1e-9
"""Relative violation that is none."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the validation instances said of a policy.

    Attributes:
        value: mean objective, in its unit.
        standing: 2 if feasible as evidence means it (upper 95 % limits), 1 if all means keep their limits, else 0.
        excess: largest relative violation by a mean, 0 if there is none.
    """

    value: float
    standing: int
    excess: float


class Trainable(Policy, Protocol):
    """A policy that is known by its weights.

    Attributes:
        last: the policy of the last update, beside one that was chosen earlier in training.
    """

    last: Self | None

    def weights(self) -> dict[str, Array]:
        """A copy of them."""
        ...

    def with_weights(self, weights: Mapping[str, Array]) -> Self:
        """The same policy with others."""
        ...


P = TypeVar("P", bound=Trainable)


class Selection(Generic[P]):
    """Keeps the weights that did best on the validation instances so far.

    Policies that are feasible as evidence means it come first, then those whose means are within all limits, both by
    their objective; among the others the smallest relative violation counts.

    Args:
        problem: its validation instances judge.
        policy: what is trained; judging uses a copy, so that its memory and random numbers stay as they were.
        floor: smallest size of a limit that a violation is relative to.
        constraints: what policies must keep, in the order of the problem's; without them those of the problem.
    """

    def __init__(
        self,
        problem: Problem,
        policy: P,
        floor: float = 1e-3,
        *,
        constraints: Sequence[Constraint] | None = None,
    ):
        self.problem, self.policy, self.floor = problem, policy, floor
        self.constraints = problem.constraints if constraints is None else constraints
        self.sign = 1.0 if problem.objective.sense == "maximise" else -1.0
        self.best: Judged | None = None
        self.weights = policy.weights()

    def validate(self) -> dict[str, float]:
        """Play the validation instances; keep the weights if they do better. Gives figures for the curves."""
        judge = self.policy.with_weights(self.policy.weights())
        judge.seed(split_seed(self.problem, "validation"))
        outcomes = play(self.problem, judge, split="validation")
        found = measure_constraints(self.constraints, outcomes, resample_rows(len(outcomes.objective)))
        relative = [(each.mean - each.limit) / max(abs(each.limit), self.floor) for each in found.values()]
        excess = max(0.0, *relative) if relative else 0.0
        standing = 2 if all(each.satisfied for each in found.values()) else int(excess <= ROUNDING)
        judged = Judged(float(outcomes.objective.mean()), standing, excess)
        if self.best is None or self._key(judged) >= self._key(self.best):
            self.best, self.weights = judged, judge.weights()
        figures = {f"eval/constraint/{name}": each.mean for name, each in found.items()}
        return {
            "eval/objective": judged.value,
            "eval/half_width": student(outcomes.objective).high - judged.value,
            "eval/best": self.best.value,
            **figures,
        }

    def chosen(self) -> P:
        """The best policy; its ``last`` is the policy of the last update, where that is another one."""
        now = self.policy.weights()
        if all(np.array_equal(now[name], self.weights[name]) for name in now):
            return self.policy
        best = self.policy.with_weights(self.weights)
        best.last = self.policy
        return best

    def shown(self) -> dict[str, float]:
        """The best value, once there is one."""
        return {} if self.best is None else {"best": self.best.value}

    def state(self) -> tuple[dict[str, Array], list[float] | None]:
        """Weights and standing of the best, for checkpoints."""
        best = self.best
        return self.weights, None if best is None else [best.value, float(best.standing), best.excess]

    def restore(self, weights: dict[str, Array], best: list[float] | None) -> None:
        """Go on from what ``state`` returned."""
        self.weights = weights
        self.best = None if best is None else Judged(best[0], int(best[1]), best[2])

    def _key(self, judged: Judged) -> tuple[float, float]:
        if judged.standing == 0:
            return 0.0, -judged.excess
        return float(judged.standing), self.sign * judged.value

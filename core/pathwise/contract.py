"""What pathwise training needs of a problem: a simulator in torch, its encoders, and forms of the rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from interlock.core.environment import Array
from interlock.core.problem import Problem

View = Mapping[str, Tensor]
"""An observation of the environment, entry by entry as tensors."""
Decide = Callable[[View], Tensor]
"""A policy: actions ``(n, a)`` of an observation of n rows."""
TensorEncoder = Callable[[View], dict[str, Tensor]]
"""An encoder of the problem, in torch: gives the same numbers under the same names."""
Act = Callable[[Tensor, Tensor], Tensor]
"""Actions ``(n, a)`` from the numbers of a network ``(n, a)`` and its inputs ``(n, k)``."""


@dataclass(frozen=True, slots=True)
class Played:
    """Whole episodes under a batch of n futures and m constraints that learning can reach.

    Attributes:
        reward: ``(n,)``, sum of rewards, smoothed where it jumps; carries the gradient.
        costs: ``(n, m)``, the constrained quantities, smoothed likewise; carry the gradient.
        measured: ``(n, m)``, the same quantities as the environment counts them: what multipliers follow.
    """

    reward: Tensor
    costs: Tensor
    measured: Array


class DifferentiableSimulator(Protocol):
    """The dynamics of a problem as differentiable functions of the actions, futures being given."""

    def futures(self, seed: int, first: int, count: int) -> Any:
        """The futures of training instances ``first .. first + count - 1`` of a seed; the same call gives the same."""
        ...

    def encoders(self) -> Mapping[str, TensorEncoder]:
        """Those of the problem's encoders that exist in torch, by the same names."""
        ...

    def play(self, decide: Decide, futures: Any, *, smoothing: float = 1.0) -> Played:
        """Decide over the whole horizon.

        Args:
            decide: the policy.
            futures: as ``futures`` gives them.
            smoothing: width of what is smoothed, 1 being the problem's own; towards 0 the environment's values.
        """
        ...


class DifferentiableProblem(Problem, Protocol):
    """A problem that policies can be trained on by pathwise gradients.

    It may also have ``rule_forms()``, which gives ``interlock.core.pathwise.forms.Form`` by name: forms of the rule
    that know the problem. The first of them is then the usual one.
    """

    def simulator(self) -> DifferentiableSimulator:
        """The dynamics in torch."""
        ...

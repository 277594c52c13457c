"""What every head offers."""

from typing import Protocol

from torch import Generator, Tensor

from interlock.core.errors import UsageError


class Head(Protocol):
    """A family of distributions over actions.

    The network's actor gives ``outputs`` columns; ``free`` further numbers do not depend on the state (the logarithm of
    a standard deviation), are learned beside it and appended. Together they are the parameters ``(n, K)`` that every
    function here takes; ``masked`` puts the mask into them first, so that nothing else needs to know of it.

    A *raw* action is what the distribution is over and what a rollout keeps; ``action`` maps it to what the environment
    gets. All functions are plain tensor arithmetic, so the deterministic mode can be exported. A head defines
    ``log_probability`` or ``factors``; each is there by the other.

    Attributes:
        kind: name, as in settings.
        outputs: columns of the actor network.
        free: initial values of the numbers that do not depend on the state.
    """

    kind: str
    outputs: int
    free: tuple[float, ...]

    def masked(self, parameters: Tensor, mask: Tensor) -> Tensor:
        """Parameters under which actions ruled out by ``mask`` have probability zero and gradient zero.

        Raises:
            UsageError: nothing can be masked, as the action is continuous.
        """
        raise UsageError(f"a {self.kind} head has no discrete choice, so an action mask cannot be obeyed")

    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """A raw action per row, without gradient."""
        ...

    def log_probability(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """``(n,)`` logarithm of the probability (density, in the units of the environment's action) of raw actions."""
        return self.factors(parameters, raw).sum(1)

    def factors(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """``(n, F)`` log-probabilities whose sum is ``log_probability``, one for each choice made after another.

        Where there is more than one, probability ratios can be clipped one by one.
        """
        return self.log_probability(parameters, raw)[:, None]

    def entropy(self, parameters: Tensor) -> Tensor:
        """``(n,)``."""
        ...

    def log_probability_and_entropy(self, parameters: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Both, for less than the price of each where they share work."""
        return self.log_probability(parameters, raw), self.entropy(parameters)

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """``(n,)`` Kullback-Leibler divergence of ``new`` from ``old``: ``E_old[log old - log new]``."""
        ...

    def mode(self, parameters: Tensor) -> Tensor:
        """The raw action of the deterministic policy."""
        ...

    def action(self, raw: Tensor) -> Tensor:
        """What the environment gets for raw actions."""
        return raw

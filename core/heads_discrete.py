"""Heads over finitely many actions: one choice, several independent ones, two where the second depends on the first.

Sources: textbook; ``H(a, b) = H(a) + E_a[H(b | a)]`` and the same chain rule for the divergence.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Generator, Tensor

from interlock.core.heads_base import Head
from interlock.core.heads_masks import MASKED, mask_scores


def draw(log_probabilities: Tensor, generator: Generator) -> Tensor:
    """Index ``(...)`` per row of ``(..., A)``, by inverting the distribution function; one random number each.

    The index is the first whose cumulative probability exceeds the draw, and a masked action adds exactly nothing, so
    it is never drawn.
    """
    cumulative = log_probabilities.exp().cumsum(-1)
    total = cumulative[..., -1:]
    level = torch.rand(total.shape, generator=generator, dtype=total.dtype) * total
    return (level >= cumulative).sum(-1)


def chosen(log_probabilities: Tensor, index: Tensor) -> Tensor:
    """``(...)`` entries of ``(..., A)`` at an index ``(...)``."""
    return log_probabilities.gather(-1, index[..., None])[..., 0]


def discrete_entropy(log_probabilities: Tensor) -> Tensor:
    """``(...)`` of ``(..., A)``."""
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


def discrete_divergence(old: Tensor, new: Tensor) -> Tensor:
    """``(...)`` Kullback-Leibler divergence between log-probabilities ``(..., A)``."""
    return (old.exp() * (old - new)).sum(-1)


class CategoricalHead(Head):
    """One of finitely many actions, by a softmax. Raw actions are indices ``(n,)``.

    Args:
        actions: how many.
    """

    kind = "categorical"
    free = ()

    def __init__(self, actions: int):
        self.outputs = actions

    def masked(self, parameters: Tensor, mask: Tensor) -> Tensor:
        """Mask ``(n, A)``."""
        return mask_scores(parameters, mask)

    @torch.no_grad()
    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """Indices ``(n,)``."""
        return draw(torch.log_softmax(parameters, 1), generator)

    def log_probability(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of indices ``(n,)``."""
        return chosen(torch.log_softmax(parameters, 1), raw)

    def entropy(self, parameters: Tensor) -> Tensor:
        """In nats."""
        return discrete_entropy(torch.log_softmax(parameters, 1))

    def log_probability_and_entropy(self, parameters: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one softmax."""
        log_probabilities = torch.log_softmax(parameters, 1)
        return chosen(log_probabilities, raw), discrete_entropy(log_probabilities)

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """Exact sum over actions."""
        return discrete_divergence(torch.log_softmax(old, 1), torch.log_softmax(new, 1))

    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable action."""
        return parameters.argmax(1)


class MultiDiscreteHead(Head):
    """Several independent choices. Raw actions are indices ``(n, factors)``.

    Args:
        sizes: number of options of each choice.
    """

    kind = "multi_discrete"
    free = ()

    def __init__(self, sizes: Sequence[int]):
        self.sizes = tuple(int(size) for size in sizes)
        self.outputs = sum(self.sizes)
        # Short choices are filled up with a column that is appended, so that one softmax serves all.
        widest = max(self.sizes)
        starts = accumulate(self.sizes, initial=0)
        columns = [
            start + option if option < size else self.outputs
            for start, size in zip(starts, self.sizes, strict=False)
            for option in range(widest)
        ]
        self._columns = torch.tensor(columns) if self.outputs in columns else None

    def _log_probabilities(self, parameters: Tensor) -> Tensor:
        """``(n, factors, widest)``."""
        if self._columns is not None:
            # Even less than MASKED: where every option is masked, the filling must not be drawn.
            filling = torch.full_like(parameters[:, :1], 2 * MASKED)
            parameters = torch.cat([parameters, filling], 1)[:, self._columns]
        return torch.log_softmax(parameters.reshape(-1, len(self.sizes), max(self.sizes)), 2)

    def masked(self, parameters: Tensor, mask: Tensor) -> Tensor:
        """Mask ``(n, sum of sizes)``: those of the choices side by side."""
        return mask_scores(parameters, mask)

    @torch.no_grad()
    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """Indices ``(n, factors)``."""
        return draw(self._log_probabilities(parameters), generator)

    def factors(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of each choice."""
        return chosen(self._log_probabilities(parameters), raw)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Sum over the choices."""
        return discrete_entropy(self._log_probabilities(parameters)).sum(1)

    def log_probability_and_entropy(self, parameters: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one softmax."""
        log_probabilities = self._log_probabilities(parameters)
        return chosen(log_probabilities, raw).sum(1), discrete_entropy(log_probabilities).sum(1)

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """Sum over the choices."""
        return discrete_divergence(self._log_probabilities(old), self._log_probabilities(new)).sum(1)

    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable option of each choice."""
        return self._log_probabilities(parameters).argmax(2)


class AutoregressiveHead(Head):
    """Two choices, where what is feasible in the second depends on the first. Raw actions are indices ``(n, 2)``.

    The actor scores every option of the first choice, then every pair (the second choice given the first). Unlike one
    softmax over all pairs, a first option is not more probable for having more feasible seconds.

    Args:
        first: options of the first choice.
        second: options of the second choice.
    """

    kind = "autoregressive"
    free = ()

    def __init__(self, first: int, second: int):
        self.first, self.second = first, second
        self.outputs = first + first * second

    def _log_probabilities(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """``(n, first)``, and ``(n, first, second)`` given the first choice."""
        pairs = parameters[:, self.first :].reshape(-1, self.first, self.second)
        return torch.log_softmax(parameters[:, : self.first], 1), torch.log_softmax(pairs, 2)

    def masked(self, parameters: Tensor, mask: Tensor) -> Tensor:
        """Mask ``(n, first * second)`` of pairs; a first option without any feasible second is ruled out as well."""
        any_second = mask.reshape(-1, self.first, self.second).any(2)
        return mask_scores(parameters, torch.cat([any_second, mask], 1))

    @torch.no_grad()
    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """Indices ``(n, 2)``."""
        first, second = self._log_probabilities(parameters)
        choice = draw(first, generator)
        return torch.stack([choice, draw(_given(second, choice), generator)], 1)

    def factors(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of the first choice, and of the second given the first."""
        first, second = self._log_probabilities(parameters)
        return torch.stack([chosen(first, raw[:, 0]), chosen(_given(second, raw[:, 0]), raw[:, 1])], 1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Of the pair."""
        first, second = self._log_probabilities(parameters)
        return discrete_entropy(first) + (first.exp() * discrete_entropy(second)).sum(1)

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """Of the pair."""
        (first, second), (new_first, new_second) = self._log_probabilities(old), self._log_probabilities(new)
        expected = (first.exp() * discrete_divergence(second, new_second)).sum(1)
        return discrete_divergence(first, new_first) + expected

    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable first option, then the most probable second given it."""
        first, second = self._log_probabilities(parameters)
        choice = first.argmax(1)
        return torch.stack([choice, _given(second, choice).argmax(1)], 1)


def _given(second: Tensor, choice: Tensor) -> Tensor:
    """``(n, second)`` rows of ``(n, first, second)`` at a first choice ``(n,)``."""
    index = choice[:, None, None].expand(-1, 1, second.shape[2])
    return second.gather(1, index)[:, 0]

"""A head over a discrete choice followed by a continuous action that depends on it."""

import torch
from torch import Generator, Tensor

from interlock.core.heads_base import Head
from interlock.core.heads_discrete import chosen, discrete_divergence, discrete_entropy, draw
from interlock.core.heads_masks import mask_scores


class HybridHead(Head):
    """A choice ``k``, then continuous numbers from a distribution of its own: ``log p = log p(k) + log p(x | k)``.

    Raw actions and those of the environment are ``(n, 1 + d)``: the index of the choice, then the numbers.

    Args:
        choices: how many.
        part: head of the continuous numbers; the actor gives its parameters for every choice.
    """

    kind = "hybrid"

    def __init__(self, choices: int, part: Head):
        self.choices, self.part = choices, part
        self.outputs = choices * (1 + part.outputs)
        self.free = part.free * choices

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the choices ``(n, choices)`` and parameters of the part ``(n, choices, K)``."""
        parts = parameters[:, self.choices : self.outputs].reshape(-1, self.choices, self.part.outputs)
        if self.free:
            free = parameters[:, self.outputs :].reshape(-1, self.choices, len(self.part.free))
            parts = torch.cat([parts, free], 2)
        return torch.log_softmax(parameters[:, : self.choices], 1), parts

    def masked(self, parameters: Tensor, mask: Tensor) -> Tensor:
        """Mask ``(n, choices)``."""
        scores, rest = parameters[:, : self.choices], parameters[:, self.choices :]
        return torch.cat([mask_scores(scores, mask), rest], 1)

    @torch.no_grad()
    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """``(n, 1 + d)``."""
        choices, parts = self._split(parameters)
        choice = draw(choices, generator)
        numbers = self.part.sample(_given(parts, choice), generator)
        return torch.cat([choice[:, None].to(numbers.dtype), numbers], 1)

    def factors(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of the choice, and of the numbers given the choice."""
        choices, parts = self._split(parameters)
        choice = raw[:, 0].long()
        numbers = self.part.log_probability(_given(parts, choice), raw[:, 1:])
        return torch.stack([chosen(choices, choice), numbers], 1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Of choice and numbers together."""
        choices, parts = self._split(parameters)
        numbers = self.part.entropy(parts.flatten(0, 1)).reshape(choices.shape)
        return discrete_entropy(choices) + (choices.exp() * numbers).sum(1)

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """Of choice and numbers together."""
        (choices, parts), (new_choices, new_parts) = self._split(old), self._split(new)
        numbers = self.part.divergence(parts.flatten(0, 1), new_parts.flatten(0, 1)).reshape(choices.shape)
        return discrete_divergence(choices, new_choices) + (choices.exp() * numbers).sum(1)

    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable choice, and the deterministic numbers given it."""
        choices, parts = self._split(parameters)
        choice = choices.argmax(1)
        numbers = self.part.mode(_given(parts, choice))
        return torch.cat([choice[:, None].to(numbers.dtype), numbers], 1)

    def action(self, raw: Tensor) -> Tensor:
        """The index as it is, the numbers as the part maps them."""
        return torch.cat([raw[:, :1], self.part.action(raw[:, 1:])], 1)


def _given(parts: Tensor, choice: Tensor) -> Tensor:
    """``(n, K)`` parameters of the part for a choice ``(n,)``."""
    index = choice[:, None, None].expand(-1, 1, parts.shape[2])
    return parts.gather(1, index)[:, 0]

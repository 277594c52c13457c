"""The network of a decision rule: an encoder over what was seen so far, and a head that also sees the state."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class RuleNetwork(nn.Module):
    """Features of the noise up to now -> hidden; hidden and state -> raw numbers, one per target.

    Args:
        features: number f of features per stage.
        states: number s of targets.
        encoder: units h of the LSTM over the features; the head sees the features of the stage itself as well. 0 for
            none.
        head: units of the hidden layers of the head; none for a rule that is linear in what the head sees.
    """

    def __init__(self, features: int, states: int, *, encoder: int, head: Sequence[int]):
        super().__init__()
        self.features, self.states, self.units, self.widths = features, states, encoder, tuple(head)
        self.encoder = nn.LSTM(features, encoder, batch_first=True) if encoder else None
        wide = [encoder + features + states, *head]
        layers: list[nn.Module] = []
        for before, after in pairwise(wide):
            layers += [nn.Linear(before, after), nn.Tanh()]
        last = nn.Linear(wide[-1], states)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(*layers, last)

    def encode(self, features: Tensor, memory: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
        """Hidden ``(n, T, h + f)`` of features ``(n, T, f)``, which go along, and the memory after the last stage."""
        if self.encoder is None:
            return features, None
        hidden, memory = self.encoder(features, memory)
        return torch.cat([hidden, features], dim=-1), memory

    def propose(self, hidden: Tensor, state: Tensor) -> Tensor:
        """Raw numbers ``(n, s)`` from hidden ``(n, h + f)`` and the scaled state ``(n, s)``."""
        raw: Tensor = self.head(torch.cat([hidden, state], dim=-1))
        return raw

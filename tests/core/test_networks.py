"""The fast forms of a dense layer give what the plain one gives, with first and second derivatives."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.heads import build_head
from interlock.core.networks import NARROW, Dense, build_network


@pytest.mark.parametrize("inputs", [1, NARROW, 40])
@pytest.mark.parametrize("outputs", [1, NARROW, 40])
def test_dense_layer_is_a_linear_layer(inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    fast = Dense(inputs, outputs).double()
    plain = nn.Linear(inputs, outputs).double()
    plain.load_state_dict(fast.state_dict())
    rows, along = torch.randn(7, inputs).double(), torch.randn(7, outputs).double()
    found = []
    for layer in (fast, plain):
        x = rows.clone().requires_grad_()
        wanted = [x, *layer.parameters()]
        output = layer(x)
        first = torch.autograd.grad((output.sin() * along).sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum(part.square().sum() for part in first), wanted)
        found.append([output, *first, *second])
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_dense_layer_takes_any_leading_axes() -> None:
    layer = Dense(3, 2)
    rows = torch.randn(4, 5, 3)
    torch.testing.assert_close(layer(rows).reshape(-1, 2), layer(rows.reshape(-1, 3)))


@pytest.mark.parametrize(
    ("name", "shape", "chosen"),
    [("vector", (3,), True), ("planes", (2, 4, 4), False), ("action_features", (5, 3), False)],
)
def test_critics_are_a_choice_over_vectors_only_as_their_setting_says(name, shape, chosen) -> None:
    example, head = {name: np.zeros((1, *shape), np.float32)}, build_head(spaces.Discrete(5))
    separate, shared = (
        build_network(example, head, NetworkSettings(critics=kind), seed=0, signals=3).critic_parameters()
        for kind in ("separate", "shared")
    )
    assert (len(separate) != len(shared)) == chosen
    described = NetworkSettings.model_fields["critics"].description
    assert "over planes and action features always one for all" in described

"""The fast forms of a dense layer give what the plain one gives, with first and second derivatives."""

import pytest
import torch
from torch import nn

from interlock.core.networks import NARROW, Dense


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

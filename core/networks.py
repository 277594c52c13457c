"""Actor-critic networks for discrete masked actions, chosen by what an encoder gives.

Every network maps named input arrays and a mask to ``(scores (n, A), value (n,))``. Scores of infeasible actions are
``-1e9`` (never minus infinity, which gives NaN where nothing is feasible).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.environment import Array
from interlock.core.errors import UsageError

MASKED = -1e9
"""Score of an infeasible action."""


def mask_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores with infeasible actions at ``MASKED``; their gradient is exactly zero."""
    return torch.where(mask, scores, torch.full_like(scores, MASKED))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _perceptron(sizes: Sequence[int], outputs: int, gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, width in pairwise(sizes):
        layers += [_linear(inputs, width, 2**0.5), nn.ReLU()]
    return nn.Sequential(*layers, _linear(sizes[-1], outputs, gain))


class VectorActorCritic(nn.Module):
    """Two perceptrons on a state vector ``(n, K)``."""

    inputs = ("vector",)

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], actions: int, settings: NetworkSettings):
        super().__init__()
        sizes = (shapes["vector"][0], *settings.hidden)
        self.actor = _perceptron(sizes, actions, 0.01)
        self.critic = _perceptron(sizes, 1, 1.0)

    def forward(self, vector: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and value."""
        return mask_scores(self.actor(vector), action_mask), self.critic(vector)[:, 0]


class PlanesActorCritic(nn.Module):
    """Convolutions over planes ``(n, C, L, W)`` with a dense actor and critic; tied to the size of the planes.

    The shape of the network is that of Zhao et al., AAAI 2021, narrowed for training on a CPU.
    """

    inputs = ("planes",)

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], actions: int, settings: NetworkSettings):
        super().__init__()
        channels, length, width = shapes["planes"]
        layers: list[nn.Module] = []
        for outputs in settings.channels:
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
            channels = outputs
        self.trunk = nn.Sequential(*layers)
        self.actor = self._head(channels, settings.actor_channels, length * width, settings.dense, actions, 0.01)
        self.critic = self._head(channels, settings.critic_channels, length * width, settings.dense, 1, 1.0)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.orthogonal_(module.weight, 2**0.5)
                nn.init.constant_(module.get_parameter("bias"), 0.0)

    @staticmethod
    def _head(channels: int, narrow: int, cells: int, dense: int, outputs: int, gain: float) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(),
            nn.Flatten(),
            *_perceptron((narrow * cells, dense), outputs, gain),
        )

    def forward(self, planes: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and value."""
        shared = self.trunk(planes)
        return mask_scores(self.actor(shared), action_mask), self.critic(shared)[:, 0]


class ScorerActorCritic(nn.Module):
    """Scores every action from its own features ``(n, A, F)`` with shared weights, whatever the number of actions.

    The score is a linear term plus a perceptron; the critic sees the mean, smallest and largest feature over the
    feasible actions. Equal features would tie exactly, and rounding would then decide: the lowest index wins by a
    margin of ``tie_break`` per index, well above rounding and well below what matters.
    """

    inputs = ("action_features",)
    tie_break = 1e-5

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], actions: int, settings: NetworkSettings):
        super().__init__()
        features = shapes["action_features"][1]
        self.linear = _linear(features, 1, 0.01)
        self.actor = _perceptron((features, *settings.hidden), 1, 0.01)
        self.critic = _perceptron((3 * features + 1, settings.dense, settings.dense), 1, 1.0)

    def forward(self, action_features: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and value."""
        if torch.onnx.is_in_onnx_export():
            scores = (self.linear(action_features) + self.actor(action_features))[..., 0]
        else:
            # Only feasible actions are computed: a fraction of all, and the same numbers.
            packed = action_features[action_mask]
            scores = torch.zeros(action_mask.shape, dtype=action_features.dtype)
            scores[action_mask] = (self.linear(packed) + self.actor(packed))[..., 0]
        order = torch.arange(action_mask.shape[1], dtype=action_features.dtype)
        scores = mask_scores(scores - self.tie_break * order, action_mask)
        chosen = action_mask[..., None]
        count = action_mask.sum(1, keepdim=True).clamp(min=1).to(action_features.dtype)
        summary = torch.cat(
            [
                torch.where(chosen, action_features, 0.0).sum(1) / count,
                torch.where(chosen, action_features, 1e3).amin(1).clamp(max=1e2),
                torch.where(chosen, action_features, -1e3).amax(1).clamp(min=-1e2),
                count / action_mask.shape[1],
            ],
            dim=1,
        )
        return scores, self.critic(summary)[:, 0]


NETWORKS: dict[str, Any] = {
    network.inputs[0]: network for network in (VectorActorCritic, PlanesActorCritic, ScorerActorCritic)
}


def build_network(example: Mapping[str, Array], actions: int, settings: NetworkSettings, seed: int) -> nn.Module:
    """The network that fits what an encoder gives, initialised from a seed.

    Args:
        example: output of the encoder for some batch.
        actions: number of discrete actions.
        settings: sizes.
        seed: of the initial weights; the global generator of torch is left as it was.

    Raises:
        UsageError: no network takes these inputs.
    """
    shapes = {name: tuple(array.shape[1:]) for name, array in example.items()}
    for name, network in NETWORKS.items():
        if name in shapes:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                built: nn.Module = network(shapes, actions, settings)
            return built
    raise UsageError(f"no network takes {sorted(shapes)}; an encoder must give one of {sorted(NETWORKS)}")

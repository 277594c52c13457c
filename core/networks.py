"""Actor-critic networks, chosen by what an encoder gives.

Every network maps named input arrays, with ``action_mask`` where there is one, to the parameters of a head ``(n, K)``,
already masked, and to values ``(n, 1 + m)``: of the reward, then of each cost signal.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.environment import Array
from interlock.core.errors import UsageError
from interlock.core.heads import Head

Shapes = Mapping[str, tuple[int, ...]]


NARROW = 12
"""Layers with at most this many inputs or outputs go through the matrix products below."""


class Dense(nn.Linear):
    """``nn.Linear`` with the matrix products that CPU libraries do fast where one side is narrow.

    The gradient of a weight is a product of one wide and one narrow matrix; with the narrow one transposed it takes a
    sixth of the time (4 inputs, 64 outputs, 2048 rows). Autograd follows the layout of the weight that it is given.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``(n, outputs)`` of ``(n, inputs)``."""
        if input.ndim == 2 and self.in_features <= NARROW:
            return torch.addmm(self.bias, input, self.weight.t().contiguous())
        if input.ndim == 2 and self.out_features <= NARROW:
            return torch.addmm(self.bias[:, None], self.weight, input.t()).t()
        return super().forward(input)


def linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """A dense layer with orthogonal weights."""
    layer = Dense(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def perceptron(sizes: Sequence[int], outputs: int, gain: float) -> nn.Sequential:
    """Dense layers with rectifiers; the last one, with its own gain, without."""
    layers: list[nn.Module] = []
    for inputs, width in pairwise(sizes):
        # In place, as fresh memory is ten times as slow as memory that is in the cache.
        layers += [linear(inputs, width, 2**0.5), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, linear(sizes[-1], outputs, gain))


class ActorCritic(nn.Module):
    """What all networks share: free parameters of the head, and one critic for all signals or one for each.

    Attributes:
        memory: width of what a recurrent network remembers, 0 for none.
        blind: whether finished policies decide without the exact mask.
    """

    memory = 0
    blind = False

    def __init__(self, head: Head):
        super().__init__()
        self.head = head
        self.free = nn.Parameter(torch.tensor(head.free)) if head.free else None

    def parameters_of(self, outputs: Tensor, action_mask: Tensor | None) -> Tensor:
        """The head's parameters: the actor's outputs, the free ones beside them, masked."""
        if self.free is not None:
            outputs = torch.cat([outputs, self.free.expand(outputs.shape[0], -1)], dim=1)
        return outputs if action_mask is None else self.head.masked(outputs, action_mask)

    def actor_parameters(self) -> list[nn.Parameter]:
        """What the policy depends on."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("critic")]

    def critic_parameters(self) -> list[nn.Parameter]:
        """What only the values depend on."""
        return [parameter for name, parameter in self.named_parameters() if name.startswith("critic")]


class Critics(nn.Module):
    """Values of ``signals`` signals: one perceptron for all, or one each."""

    def __init__(self, sizes: Sequence[int], signals: int, settings: NetworkSettings):
        super().__init__()
        shared = settings.critics == "shared" or (settings.critics == "auto" and signals > 3)
        outputs = [signals] if shared else [1] * signals
        self.parts = nn.ModuleList(perceptron(sizes, count, 1.0) for count in outputs)

    def forward(self, state: Tensor) -> Tensor:
        """``(n, signals)``."""
        values = [part(state) for part in self.parts]
        return values[0] if len(values) == 1 else torch.cat(values, dim=1)


class VectorActorCritic(ActorCritic):
    """Perceptrons on a state vector ``(n, K)``."""

    inputs = ("vector",)

    def __init__(self, shapes: Shapes, head: Head, signals: int, settings: NetworkSettings):
        super().__init__(head)
        sizes = (shapes["vector"][0], *settings.hidden)
        self.actor = perceptron(sizes, head.outputs, 0.01)
        self.critic = Critics(sizes, signals, settings)

    def forward(self, vector: Tensor, action_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Parameters and values."""
        return self.parameters_of(self.actor(vector), action_mask), self.critic(vector)


class RecurrentActorCritic(ActorCritic):
    """A gated recurrent layer (Cho et al. 2014) before perceptrons on a state vector ``(n, K)``.

    Decisions come as ``B`` sequences of equal length, one after the other: ``n = B * length``; when acting, the length
    is one. Where ``start`` is true an episode begins and nothing is remembered.
    """

    inputs = ("vector",)

    def __init__(self, shapes: Shapes, head: Head, signals: int, settings: NetworkSettings):
        super().__init__(head)
        self.memory = settings.memory
        self.cell = nn.GRUCell(shapes["vector"][0], settings.memory)
        sizes = (shapes["vector"][0] + settings.memory, *settings.hidden)
        self.actor = perceptron(sizes, head.outputs, 0.01)
        self.critic = Critics(sizes, signals, settings)

    def forward(
        self, vector: Tensor, memory: Tensor, start: Tensor, action_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters, values and the memory after the last decision of each sequence.

        Args:
            vector: ``(B * length, K)``.
            memory: ``(B, memory)`` before the first decision.
            start: ``(B * length,)`` 1 where an episode begins, else 0.
            action_mask: ``(B * length, A)``.
        """
        steps = vector.reshape(memory.shape[0], -1, vector.shape[1])
        kept = 1.0 - start.reshape(memory.shape[0], -1, 1)
        remembered = []
        for t in range(steps.shape[1]):
            memory = self.cell(steps[:, t], memory * kept[:, t])
            remembered.append(memory)
        state = torch.cat([vector, torch.stack(remembered, dim=1).reshape(vector.shape[0], -1)], dim=1)
        return self.parameters_of(self.actor(state), action_mask), self.critic(state), memory


class PlanesActorCritic(ActorCritic):
    """Convolutions over planes ``(n, C, L, W)`` with a dense actor and critic; tied to the size of the planes.

    The shape of the network is that of Zhao et al., AAAI 2021, narrowed for training on a CPU.
    """

    inputs = ("planes",)

    def __init__(self, shapes: Shapes, head: Head, signals: int, settings: NetworkSettings):
        super().__init__(head)
        channels, length, width = shapes["planes"]
        layers: list[nn.Module] = []
        for outputs in settings.channels:
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
            channels = outputs
        self.trunk = nn.Sequential(*layers)
        self.actor = self._head(channels, settings.actor_channels, length * width, settings.dense, head.outputs, 0.01)
        self.critic = self._head(channels, settings.critic_channels, length * width, settings.dense, signals, 1.0)
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
            *perceptron((narrow * cells, dense), outputs, gain),
        )

    def forward(self, planes: Tensor, action_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Parameters and values."""
        if not torch.onnx.is_in_onnx_export():
            # Channels last in memory: the convolutions learn a third faster on a CPU.
            planes = planes.contiguous(memory_format=torch.channels_last)
        shared = self.trunk(planes)
        return self.parameters_of(self.actor(shared), action_mask), self.critic(shared)


class ScorerActorCritic(ActorCritic):
    """Scores every action from its own features ``(n, A, F)`` with shared weights, whatever the number of actions.

    The score is a linear term plus a perceptron; the critic sees the mean, smallest and largest feature over the
    feasible actions. Equal features would tie exactly, and rounding would then decide: the lowest index wins by a
    margin of ``tie_break`` per index, well above rounding and well below what matters.
    """

    inputs = ("action_features",)
    tie_break = 1e-5

    def __init__(self, shapes: Shapes, head: Head, signals: int, settings: NetworkSettings):
        super().__init__(head)
        features = shapes["action_features"][1]
        self.linear = linear(features, 1, 0.01)
        self.actor = perceptron((features, *settings.hidden), 1, 0.01)
        self.critic = perceptron((3 * features + 1, settings.dense, settings.dense), signals, 1.0)

    def forward(self, action_features: Tensor, action_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and values."""
        if torch.onnx.is_in_onnx_export():
            scores = (self.linear(action_features) + self.actor(action_features))[..., 0]
        else:
            # Only feasible actions are computed: a fraction of all, and the same numbers.
            packed = action_features[action_mask]
            scores = torch.zeros(action_mask.shape, dtype=action_features.dtype)
            scores[action_mask] = (self.linear(packed) + self.actor(packed))[..., 0]
        order = torch.arange(action_mask.shape[1], dtype=action_features.dtype)
        scores = self.parameters_of(scores - self.tie_break * order, action_mask)
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
        return scores, self.critic(summary)


NETWORKS: dict[str, Any] = {
    network.inputs[0]: network for network in (VectorActorCritic, PlanesActorCritic, ScorerActorCritic)
}


def build_network(
    example: Mapping[str, Array], head: Head, settings: NetworkSettings, seed: int, *, signals: int = 1
) -> ActorCritic:
    """The network that fits what an encoder gives, initialised from a seed.

    Args:
        example: output of the encoder for some batch.
        head: of the policy.
        settings: sizes.
        seed: of the initial weights; the global generator of torch is left as it was.
        signals: values per state: one of the reward and one of each cost signal.

    Raises:
        UsageError: no network takes these inputs, or none of them remembers.
    """
    shapes = {name: tuple(array.shape[1:]) for name, array in example.items()}
    name = next((name for name in NETWORKS if name in shapes), None)
    if name is None:
        raise UsageError(f"no network takes {sorted(shapes)}; an encoder must give one of {sorted(NETWORKS)}")
    if name == "action_features" and head.kind != "categorical":
        raise UsageError(f"a scorer of actions needs the head categorical, got {head.kind}")
    if settings.memory and name != "vector":
        raise UsageError(f"a recurrent network takes vectors; the encoder gives {sorted(shapes)}")
    make = RecurrentActorCritic if settings.memory else NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built: ActorCritic = make(shapes, head, signals, settings)
    return built

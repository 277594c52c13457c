"""A network that predicts which actions are feasible, for when the exact mask is slow or missing at decision time.

`LearnedMask` wraps an actor-critic: probabilities of its actions are multiplied by the predicted chance of being
feasible and normalised again. Wherever the exact mask is given it is obeyed as always, whatever the prediction says:
infeasible actions have probability zero. So a prediction steers decisions, and what releases them still checks. For
ablations, settings can make it train without the exact mask, and without the prediction (``MaskHeadSettings``).

The predictor learns by the squared error of Zhao et al., "Online 3D Bin Packing with Constrained Deep Reinforcement
Learning", AAAI 2021. Like cross-entropy it is smallest at the true chance, and it is bounded: single states whose mask
cannot be told from the inputs do not swamp the gradient of the policy that is learned at the same time.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from interlock.core.actor_critic.config import MaskHeadSettings, NetworkSettings
from interlock.core.environment import Array
from interlock.core.errors import UsageError
from interlock.core.heads import Head
from interlock.core.heads_masks import infeasible_probability, mask_error, mask_scores, soften_scores
from interlock.core.networks import ActorCritic, build_network

FLOOR = 1e-4
"""Smallest chance of being feasible that a prediction may give an action."""


def mask_loss(feasibility: Tensor, scores: Tensor, mask: Tensor, weight: float = 2.0) -> Tensor:
    """Squared error of the predicted mask plus ``weight`` times the probability of infeasible actions, mean over rows.

    Args:
        feasibility: ``(n, A)`` logits of the predicted mask, see `LearnedMask.softened`.
        scores: ``(n, A)`` of the softly masked policy, without the exact mask.
        mask: bool ``(n, A)``, the exact mask.
        weight: of the probability; 2 as in the public code of Zhao et al.
    """
    return (mask_error(feasibility, mask) + weight * infeasible_probability(scores, mask)).mean()


class Judged(NamedTuple):
    """What learning needs of a network on a batch.

    Attributes:
        parameters: ``(n, K)`` of the head.
        values: ``(n, 1 + m)``.
        penalty: what a predicted mask adds to the loss, 0 without one.
        exploring: ``(n, K)`` parameters whose entropy is rewarded.
    """

    parameters: Tensor
    values: Tensor
    penalty: Tensor | float
    exploring: Tensor


def judge(network: ActorCritic, inputs: Mapping[str, Tensor]) -> Judged:
    """Parameters, values and the loss of a predicted mask; ``inputs`` are those of the network, its mask included."""
    if isinstance(network, LearnedMask) and network.settings is not None:
        return network.judged(**inputs)
    parameters, values = network(**inputs)[:2]
    return Judged(parameters, values, 0.0, parameters)


class LearnedMask(ActorCritic):
    """An actor-critic whose actions are softly masked by a predictor, and exactly where the exact mask is given.

    Args:
        network: with scores of discrete actions.
        predictor: maps the same inputs to the logits ``(n, A)`` of the mask as its first result.
        floor: smallest predicted chance, so that a wrong prediction can be outvoted and is never final.
        settings: weights of the loss, and what is trained and decided with; without them the caller adds ``mask_loss``.

    Raises:
        UsageError: the network has no single discrete choice, or remembers.
    """

    def __init__(
        self,
        network: ActorCritic,
        predictor: nn.Module,
        floor: float = FLOOR,
        settings: MaskHeadSettings | None = None,
    ):
        if network.head.kind != "categorical" or network.memory:
            raise UsageError("a mask can be learned for a categorical head of a network without memory")
        super().__init__(network.head)
        self.network, self.predictor = network, predictor
        self.least = math.log(floor / (1.0 - floor))
        self.settings = settings
        self.obeys = settings is None or settings.train_with == "true_mask"
        self.softens = settings is None or settings.train_with != "nothing"
        self.blind = settings is not None and (settings.decide_with == "predicted" or not self.obeys)

    def feasibility(self, **inputs: Tensor) -> Tensor:
        """``(n, A)`` logits of the predicted mask."""
        rows = next(iter(inputs.values())).shape[0]  # not its length: an export would fix the batch
        everything = torch.ones(rows, self.head.outputs, dtype=torch.bool)
        logits: Tensor = self.predictor(**inputs, action_mask=everything)[0]
        return logits

    def softened(self, action_mask: Tensor | None = None, **inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of the softly masked policy, logits of the predicted mask, and values.

        What the policy learns does not reach the predictor: it would learn to call tempting actions feasible.
        """
        feasibility = self.feasibility(**inputs)
        given = action_mask if self.obeys else None
        allowed = torch.ones_like(feasibility, dtype=torch.bool) if given is None else given
        scores, values = self.network(**inputs, action_mask=allowed)
        if self.softens:
            scores = soften_scores(scores, feasibility.detach().clamp(min=self.least))
        return scores, feasibility, values

    def judged(self, action_mask: Tensor, **inputs: Tensor) -> Judged:
        """What learning needs; the exact mask judges the prediction even where the policy does not obey it."""
        settings = self.settings
        assert settings is not None, "weights of the loss are settings"
        soft, feasibility, values = self.softened(**inputs)
        exact = mask_scores(soft, action_mask)
        penalty = settings.weight * mask_error(feasibility, action_mask).mean()
        penalty = penalty + settings.infeasible_weight * infeasible_probability(soft, action_mask).mean()
        return Judged(exact if self.obeys else soft, values, penalty, exact if settings.feasible_entropy else soft)

    def forward(
        self,
        vector: Tensor | None = None,
        planes: Tensor | None = None,
        action_features: Tensor | None = None,
        action_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scores and values; with ``action_mask``, infeasible actions have probability zero.

        The one input that the networks take is named, not collected, as an export to ONNX asks for.
        """
        named = {"vector": vector, "planes": planes, "action_features": action_features}
        inputs = {name: tensor for name, tensor in named.items() if tensor is not None}
        scores, _, values = self.softened(action_mask, **inputs)
        return scores, values

    def actor_parameters(self) -> list[nn.Parameter]:
        """What the policy depends on, the predictor included."""
        return [*self.network.actor_parameters(), *self.predictor.parameters()]

    def critic_parameters(self) -> list[nn.Parameter]:
        """What only the values depend on."""
        return self.network.critic_parameters()


def build_learned_mask(
    example: Mapping[str, Array],
    head: Head,
    settings: NetworkSettings,
    seed: int,
    *,
    signals: int = 1,
    floor: float = FLOOR,
) -> LearnedMask:
    """An actor-critic and a predictor of the same shape that fit what an encoder gives.

    Args:
        example: output of the encoder for some batch.
        head: of the policy, categorical.
        settings: sizes of both.
        seed: of the initial weights of both.
        signals: values per state.
        floor: see `LearnedMask`.

    Raises:
        UsageError: as ``build_network`` and `LearnedMask`.
    """
    network = build_network(example, head, settings, seed, signals=signals)
    predictor = build_network(example, head, settings, seed + 1)
    predictor.critic = nn.Identity()  # nothing to value
    return LearnedMask(network, predictor, floor, settings.mask_head)


def build_actor_critic(
    example: Mapping[str, Array], head: Head, settings: NetworkSettings, seed: int, *, signals: int = 1
) -> ActorCritic:
    """The network of a method's settings, with a predicted mask where they ask for one; arguments as ``build_network``.

    Raises:
        UsageError: as ``build_network`` and `LearnedMask`.
    """
    build = build_network if settings.mask_head is None else build_learned_mask
    return build(example, head, settings, seed, signals=signals)

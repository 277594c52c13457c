"""Proximal policy optimisation with one multiplier per constraint.

Schulman, Wolski, Dhariwal, Radford, Klimov 2017, with infeasible actions at probability zero when acting and when
learning (the mask in the softmax), and with the advantages of reward and costs mixed by multipliers
(``interlock.core.actor_critic.duals``). Without soft constraints it is plain PPO.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.actor_critic.config import PPOConfig
from interlock.core.actor_critic.duals import Duals
from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.actor_critic.steps import optimiser_state, part, prefixed, restore_optimiser
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run

CAPPED = 20
"""Updates in a row at its cap after which a multiplier is reported."""


def train(problem: Problem, config: PPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances.

    Raises:
        Interrupted: the user stopped the run; a checkpoint is kept.
        UsageError: the teacher, the encoder or the head is unknown or does not fit.
        BrokenEnvironment: a reward, cost or observation is not finite.
    """
    return learn(
        problem, config, run, lambda policy, constraints: PPO(policy, constraints, config), method="ppo_lagrangian"
    )


def mix(advantages: Tensor, multipliers: Array) -> Tensor:
    """One advantage per decision from those of reward and costs.

    ``(A_r - sum_i lambda_i A_i) / (1 + sum_i lambda_i)``, each centred and scaled by its standard deviation first.

    Args:
        advantages: ``(N, 1 + m)``.
        multipliers: ``(m,)``.

    Returns:
        float32 ``(N,)``.
    """
    scaled = (advantages - advantages.mean(0)) / (advantages.std(0, correction=0) + 1e-8)
    if len(multipliers) == 0:
        return scaled[:, 0].float()
    weights = torch.from_numpy(multipliers).to(scaled)
    return ((scaled[:, 0] - scaled[:, 1:] @ weights) / (1.0 + weights.sum())).float()


class PPO:
    """The rule of PPO with multipliers, see ``interlock.core.actor_critic.rule.Rule``."""

    def __init__(self, policy: NetworkPolicy, constraints: Sequence[Constraint], config: PPOConfig):
        self.config = config
        self.names = [constraint.name for constraint in constraints]
        self.duals = Duals(len(constraints), config.dual)
        self.optimiser = torch.optim.Adam(policy.network.parameters(), lr=config.learning_rate, eps=1e-5, fused=True)
        self.capped = np.zeros(len(constraints), np.int64)

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """One round of clipped policy and value steps on a rollout."""
        if estimate is not None:
            self.duals.update(estimate)
            at_cap = self.duals.current >= self.config.dual.largest
            self.capped = np.where(at_cap, self.capped + 1, 0)
        multipliers = self.duals.multipliers
        share = self.config.final_learning_rate + (1.0 - self.config.final_learning_rate) * left
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * share
        figures = improve(policy, self.optimiser, batch, mix(batch.advantages, multipliers), self.config, rng)
        for name, multiplier in zip(self.names, self.duals.current, strict=True):
            figures[f"constraint/{name}/multiplier"] = float(multiplier)
        return figures

    def state(self) -> dict[str, Array]:
        """Multipliers and optimiser moments."""
        moments = optimiser_state(self.optimiser)
        return {**prefixed("dual/", self.duals.state()), **prefixed("optimiser/", moments), "capped": self.capped}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.duals.restore(part(state, "dual/"))
        restore_optimiser(self.optimiser, part(state, "optimiser/"))
        self.capped = state["capped"].copy()

    def warnings(self) -> list[str]:
        """Multipliers that have sat at their cap."""
        return [
            f"the multiplier of constraint {self.names[k]} has been at its cap of {self.config.dual.largest:g} for "
            f"{CAPPED} updates: the limit may be out of reach"
            for k in np.flatnonzero(self.capped == CAPPED)
        ]


def improve(
    policy: NetworkPolicy,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    advantage: Tensor,
    config: PPOConfig,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Clipped policy steps along ``advantage`` ``(N,)`` with value steps beside them; figures for the curves."""
    network, head = policy.network, policy.head
    parameters = list(network.parameters())
    old = _old_factors(policy, batch)
    mixed = Batch(batch.inputs, batch.actions, old, advantage, batch.targets, batch.length)
    losses, entropies, divergence = [], [], 0.0
    for _ in range(config.epochs):
        divergences = []
        for some in mixed.minibatches(config.minibatch, rng):
            outputs, values = network(**some.inputs)[:2]
            log_probability, entropy = head.log_probability_and_entropy(outputs, some.actions)
            factors = log_probability if old.ndim == 1 else head.factors(outputs, some.actions)
            difference = factors - some.log_probability
            ratio = difference.exp()
            weight = some.advantages if old.ndim == 1 else some.advantages[:, None]
            gain = torch.minimum(ratio * weight, ratio.clamp(1 - config.clip, 1 + config.clip) * weight)
            value_loss = (values - some.targets).square().mean(0).sum()
            optimiser.zero_grad()
            loss = config.value_weight * value_loss - gain.sum() / len(some) - config.entropy_weight * entropy.mean()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.max_gradient)
            optimiser.step()
            with torch.no_grad():
                losses.append(value_loss)
                entropies.append(entropy.mean())
                divergences.append((ratio - 1 - difference).sum() / len(some))
        divergence = float(torch.stack(divergences).mean())
        if divergence > config.kl_stop:
            break
    return {
        "train/value_loss": float(torch.stack(losses).detach().mean()),
        "train/entropy": float(torch.stack(entropies).detach().mean()),
        "train/divergence": divergence,
    }


def _old_factors(policy: NetworkPolicy, batch: Batch) -> Tensor:
    """Log-probabilities when drawn: ``(N,)``, or ``(N, F)`` where choices follow one another, to be clipped singly."""
    with torch.no_grad():
        some = batch.sequences(slice(0, 1))
        if policy.head.factors(policy.network(**some.inputs)[0], some.actions).shape[1] == 1:
            return batch.log_probability
        return policy.head.factors(policy.network(**batch.inputs)[0], batch.actions)

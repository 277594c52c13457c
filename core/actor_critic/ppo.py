"""Proximal policy optimisation with one multiplier per constraint.

Schulman, Wolski, Dhariwal, Radford, Klimov 2017, with infeasible actions at probability zero when acting and when
learning (the mask in the softmax), and with the advantages of reward and costs mixed by multipliers
(``interlock.core.actor_critic.duals``). Without soft constraints it is plain PPO.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.actor_critic.config import PPOConfig
from interlock.core.actor_critic.learned_mask import judge
from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.multiplier_rule import MultiplierRule
from interlock.core.actor_critic.rule import Batch
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run


def train(problem: Problem, config: PPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances.

    Raises:
        Interrupted: the user stopped the run; a checkpoint is kept.
        UsageError: the teacher, the encoder or the head is unknown or does not fit.
        BrokenEnvironment: a reward, cost or observation is not finite.
    """
    return learn(
        problem, config, run, lambda policy, constraints: ppo_rule(policy, constraints, config), method="ppo_lagrangian"
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


def ppo_rule(policy: NetworkPolicy, constraints: Sequence[Constraint], config: PPOConfig) -> MultiplierRule:
    """Multipliers, and clipped passes over the rollout along the mixed advantages."""

    def passes(
        policy: NetworkPolicy,
        optimiser: torch.optim.Optimizer,
        batch: Batch,
        multipliers: Array,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        return improve(policy, optimiser, batch, mix(batch.advantages, multipliers), config, rng)

    return MultiplierRule(policy, constraints, config, passes)


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
            outputs, values, penalty, exploring = judge(network, some.inputs)
            log_probability, entropy = head.log_probability_and_entropy(outputs, some.actions)
            if exploring is not outputs:
                entropy = head.log_probability_and_entropy(exploring, some.actions)[1]
            factors = log_probability if old.ndim == 1 else head.factors(outputs, some.actions)
            difference = factors - some.log_probability
            ratio = difference.exp()
            weight = some.advantages if old.ndim == 1 else some.advantages[:, None]
            gain = torch.minimum(ratio * weight, ratio.clamp(1 - config.clip, 1 + config.clip) * weight)
            value_loss = (values - some.targets).square().mean(0).sum()
            optimiser.zero_grad()
            loss = config.value_weight * value_loss - gain.sum() / len(some) - config.entropy_weight * entropy.mean()
            (loss + penalty).backward()
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

"""First-order constrained optimisation in policy space (Zhang, Vuong, Ross 2020), for any number of constraints.

In every state the best policy near the old one is ``pi* ~ pi_old exp((A_r - sum_i nu_i A_i) / beta)``. The network is
drawn towards it by gradient steps on ``KL(pi || pi_old) - E_old[ratio A] / beta``; states in which the policy has
already moved far give no gradient. The multipliers ``nu`` follow the violations up to a cap.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.method_settings import FOCOPSConfig
from interlock.core.actor_critic.multiplier_rule import MultiplierRule
from interlock.core.actor_critic.ppo import mix
from interlock.core.actor_critic.rule import Batch
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run


def train(problem: Problem, config: FOCOPSConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances; errors as of ``loop.learn``."""
    return learn(problem, config, run, lambda policy, limits: focops_rule(policy, limits, config), method="focops")


def focops_rule(policy: NetworkPolicy, constraints: Sequence[Constraint], config: FOCOPSConfig) -> MultiplierRule:
    """Multipliers, and passes over the rollout that draw the policy towards ``pi*``."""

    def passes(
        policy: NetworkPolicy,
        optimiser: torch.optim.Optimizer,
        batch: Batch,
        multipliers: Array,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        return draw_closer(policy, optimiser, batch, mix(batch.advantages, multipliers), config, rng)

    return MultiplierRule(policy, constraints, config, passes)


def focops_loss(divergence: Tensor, ratio: Tensor, advantage: Tensor, beta: float, mask: float | None) -> Tensor:
    """Mean over decisions of ``KL(pi || pi_old) - ratio A / beta`` where the divergence is within the mask.

    Args:
        divergence: ``(N,)`` of the old policy from the new one, ``E_new[log new - log old]``.
        ratio: ``(N,)`` of probabilities, new over old, of the actions taken under the old policy.
        advantage: ``(N,)``.
        beta: temperature.
        mask: largest divergence of decisions that count; ``None`` for all.
    """
    loss = divergence - ratio * advantage / beta
    if mask is not None:
        loss = loss * (divergence.detach() <= mask)
    return loss.mean()


def draw_closer(
    policy: NetworkPolicy,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    advantage: Tensor,
    config: FOCOPSConfig,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Steps of policy and values along ``advantage`` ``(N,)``; figures for the curves."""
    network, head = policy.network, policy.head
    with torch.no_grad():
        old = network(**batch.inputs)[0]
    # The old policy's parameters travel with the decisions through the shuffling, in the place of one probability.
    known = Batch(batch.inputs, batch.actions, old, advantage, batch.targets, batch.length)
    losses, divergence = [], 0.0
    for _ in range(config.epochs):
        divergences = []
        for some in known.minibatches(config.minibatch, rng):
            before = some.log_probability
            new, values = network(**some.inputs)[:2]
            difference = head.log_probability(new, some.actions) - head.log_probability(before, some.actions)
            moved = head.divergence(new, before)
            loss = focops_loss(moved, difference.exp(), some.advantages, config.beta, config.divergence_mask)
            value_loss = (values - some.targets).square().mean(0).sum()
            optimiser.zero_grad()
            (loss + config.value_weight * value_loss).backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient)
            optimiser.step()
            losses.append(value_loss.detach())
            divergences.append(moved.detach().mean())
        divergence = float(torch.stack(divergences).mean())
        if divergence > config.kl_stop:
            break
    return {"train/value_loss": float(torch.stack(losses).mean()), "train/divergence": divergence}

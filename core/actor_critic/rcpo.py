"""Reward-constrained policy optimisation (Tessler, Mankowitz, Mannor 2019): a critic of the penalised reward.

One value function learns ``r - sum_i lambda_i c_i`` and the policy follows its advantage by the clipped steps of PPO;
the multipliers move slowly and are in reward per unit of cost. The critic's target moves with them: this is a baseline
for the other methods.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.method_settings import RCPOConfig
from interlock.core.actor_critic.multiplier_rule import MultiplierRule
from interlock.core.actor_critic.ppo import improve
from interlock.core.actor_critic.rule import Batch
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run


def train(problem: Problem, config: RCPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances; errors as of ``loop.learn``."""
    return learn(problem, config, run, lambda policy, limits: rcpo_rule(policy, limits, config), method="rcpo")


def rcpo_rule(policy: NetworkPolicy, constraints: Sequence[Constraint], config: RCPOConfig) -> MultiplierRule:
    """Multipliers, and passes of PPO over the penalised rollout."""

    def passes(
        policy: NetworkPolicy,
        optimiser: torch.optim.Optimizer,
        batch: Batch,
        multipliers: Array,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        seen = penalised(batch, multipliers)
        # In units of the reward's own spread: divided by the spread of the sum itself, what little is left of it close
        # to the optimal multiplier would be blown up, and the policy would jump from one end to the other.
        centred = seen.advantages[:, 0] - seen.advantages[:, 0].mean()
        spread = batch.advantages.std(0, correction=0) @ torch.from_numpy(np.append(1.0, multipliers)).double()
        return improve(policy, optimiser, seen, (centred / (spread + 1e-8)).float(), config, rng)

    return MultiplierRule(policy, constraints, config, passes)


def penalised(batch: Batch, multipliers: Array) -> Batch:
    """A rollout as seen by one critic of ``r - sum_i lambda_i c_i``, in the place of the reward's.

    Advantages and targets are linear in signals and values, so those of the penalised reward are the same combination
    of columns. The critics of the costs are drawn to zero: the first column alone carries the value.

    Args:
        batch: the rollout.
        multipliers: ``(m,)`` in reward per unit of cost.
    """
    weights = torch.from_numpy(np.append(1.0, -multipliers))

    def combine(columns: Tensor) -> Tensor:
        whole = columns @ weights.to(columns)
        return torch.cat([whole[:, None], torch.zeros_like(columns[:, 1:])], dim=1)

    return replace(batch, advantages=combine(batch.advantages), targets=combine(batch.targets))

"""Reward-constrained policy optimisation (Tessler, Mankowitz, Mannor 2019): a critic of the penalised reward.

One value function learns ``r - sum_i lambda_i c_i`` and the policy follows its advantage; the multipliers move slowly
and are in reward per unit of cost. The critic's target moves with them: this is a baseline for the other methods.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.method_settings import RCPOConfig
from interlock.core.actor_critic.ppo import PPO
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Problem
from interlock.core.training import Run


def train(problem: Problem, config: RCPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances; errors as of ``loop.learn``."""
    return learn(problem, config, run, lambda policy, constraints: RCPO(policy, constraints, config), method="rcpo")


def penalised(batch: Batch, multipliers: Array) -> Batch:
    """A rollout as seen by one critic of ``r - sum_i lambda_i c_i``, in the place of the reward's.

    Advantages and targets are linear in signals and values, so those of the penalised reward are the same combination
    of columns. The critics of the costs are drawn to zero: the first column alone carries the value.

    Args:
        batch: the rollout.
        multipliers: ``(m,)`` in reward per unit of cost.
    """

    def combine(columns: Tensor) -> Tensor:
        weights = torch.from_numpy(np.concatenate([[1.0], -multipliers])).to(columns)
        return torch.cat([(columns @ weights)[:, None], torch.zeros_like(columns[:, 1:])], dim=1)

    return replace(batch, advantages=combine(batch.advantages), targets=combine(batch.targets))


class RCPO(PPO):
    """The rule of PPO on the penalised reward; multipliers move after the policy, from the same measurement."""

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """One round of policy and value steps on the penalised rollout."""
        return super().update(policy, penalised(batch, self.duals.current), estimate, left, rng)

"""Constraint-rectified policy optimisation (Xu, Liang, Lan 2021): no multipliers, one signal at a time.

While every measured cost is within its limit plus a tolerance the policy follows the reward; otherwise it reduces the
cost that is relatively furthest beyond its limit. Steps are natural-gradient steps in a trust region. Without
constraints this is trust-region policy optimisation.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.method_settings import CRPOConfig
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.actor_critic.steps import part, prefixed
from interlock.core.actor_critic.trust_region import Critic, around, ascend, radius_now
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run


def train(problem: Problem, config: CRPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances; errors as of ``loop.learn``."""
    return learn(problem, config, run, lambda policy, constraints: CRPO(policy, constraints, config), method="crpo")


def choose_signal(violation: Array, tolerance: float) -> int:
    """What to work on: 0 for the reward, ``1 + i`` for the cost that is furthest beyond its limit.

    Args:
        violation: ``(m,)`` relative, ``m`` at least 0.
        tolerance: relative violation that is let pass.
    """
    if len(violation) == 0 or violation.max() <= tolerance:
        return 0
    return 1 + int(violation.argmax())


class CRPO:
    """The rule of constraint-rectified policy optimisation, see ``interlock.core.actor_critic.rule.Rule``."""

    def __init__(self, policy: NetworkPolicy, constraints: Sequence[Constraint], config: CRPOConfig):
        self.config = config
        self.signal = 0
        self.critic = Critic(policy, config.critic)

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """One trust-region step on the reward or on one cost, then value steps."""
        if estimate is not None:
            self.signal = choose_signal(estimate.violation, self.config.tolerance)
        signal = self.signal

        def objective(changes: Tensor) -> Tensor:
            return changes[0] if signal == 0 else -changes[signal]

        near = around(policy, batch, self.config.fisher_decisions)
        taken = ascend(near, objective, radius_now(self.config, left), self.config)
        with torch.no_grad():
            divergence = near.look()[1]
        return {
            "train/value_loss": self.critic.fit(policy, batch, rng),
            "train/divergence": float(divergence),
            "train/step_taken": taken,
            "train/signal": float(signal),
        }

    def state(self) -> dict[str, Array]:
        """The signal being worked on and the critic's moments."""
        return {**prefixed("critic/", self.critic.state()), "signal": np.array(self.signal)}

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.critic.restore(part(state, "critic/"))
        self.signal = int(state["signal"])

    def warnings(self) -> list[str]:
        """None: a limit out of reach shows in the measured constraint."""
        return []

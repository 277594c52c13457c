"""The frame of methods that follow one gradient under multipliers: a dual step, then a few passes over the rollout."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from interlock.core.actor_critic.config import PPOConfig
from interlock.core.actor_critic.duals import Duals
from interlock.core.actor_critic.method_settings import FOCOPSConfig, RCPOConfig
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.actor_critic.steps import optimiser_state, part, prefixed, restore_optimiser
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint

CAPPED = 20
"""Updates in a row at its cap after which a multiplier is reported."""

Passes = Callable[[NetworkPolicy, torch.optim.Optimizer, Batch, Array, np.random.Generator], dict[str, float]]
"""Change the policy, given its optimiser, a rollout, multipliers ``(m,)`` and a generator; figures for the curves."""


class MultiplierRule:
    """Implements ``interlock.core.actor_critic.rule.Rule``.

    Args:
        policy: what is trained.
        constraints: that learning can reach.
        config: step sizes and multipliers.
        passes: the gradient steps of the method.
    """

    def __init__(
        self,
        policy: NetworkPolicy,
        constraints: Sequence[Constraint],
        config: PPOConfig | FOCOPSConfig | RCPOConfig,
        passes: Passes,
    ):
        self.config, self.passes = config, passes
        self.names = [constraint.name for constraint in constraints]
        self.duals = Duals(len(constraints), config.dual)
        self.optimiser = torch.optim.Adam(policy.network.parameters(), lr=config.learning_rate, eps=1e-5, fused=True)
        self.capped = np.zeros(len(constraints), np.int64)

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """A step of the multipliers, if there is a measurement, then one of the policy."""
        config = self.config
        if estimate is None:
            self.duals.hold()
        else:
            self.duals.update(estimate)
            self.capped = np.where(self.duals.current >= config.dual.largest, self.capped + 1, 0)
        share = config.final_learning_rate + (1.0 - config.final_learning_rate) * left
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * share
        figures = self.passes(policy, self.optimiser, batch, self.duals.multipliers, rng)
        for name, multiplier in zip(self.names, self.duals.current, strict=True):
            figures[f"constraint/{name}/multiplier"] = float(multiplier)
        return figures

    def state(self) -> dict[str, Array]:
        """Multipliers, how long each has been at its cap, and optimiser moments."""
        moments = optimiser_state(self.optimiser)
        return {**prefixed("dual/", self.duals.state()), **prefixed("optimiser/", moments), "capped": self.capped}

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.duals.restore(part(state, "dual/"))
        restore_optimiser(self.optimiser, part(state, "optimiser/"))
        self.capped = state["capped"].copy()

    def warnings(self) -> list[str]:
        """Multipliers that have sat at their cap."""
        return [
            f"the multiplier of constraint {self.names[k]} has been at its cap of {self.config.dual.largest:g} for "
            f"{CAPPED} updates: the limit may be out of reach, or need a larger cap (setting dual.largest)"
            for k in np.flatnonzero(self.capped == CAPPED)
        ]

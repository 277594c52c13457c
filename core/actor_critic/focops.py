"""First-order constrained optimisation in policy space (Zhang, Vuong, Ross 2020), for any number of constraints.

In every state the best policy near the old one is ``pi* ~ pi_old exp((A_r - sum_i nu_i A_i) / beta)``. The network is
drawn towards it by gradient steps on ``KL(pi || pi_old) - E_old[ratio A] / beta``; states in which the policy has
already moved far give no gradient. The multipliers ``nu`` follow the violations up to a cap.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.actor_critic.duals import Duals
from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.method_settings import FOCOPSConfig
from interlock.core.actor_critic.ppo import CAPPED, mix
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.actor_critic.steps import optimiser_state, part, prefixed, restore_optimiser
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run


def train(problem: Problem, config: FOCOPSConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances; errors as of ``loop.learn``."""
    return learn(problem, config, run, lambda policy, constraints: FOCOPS(policy, constraints, config), method="focops")


def focops_loss(divergence: Tensor, ratio: Tensor, advantage: Tensor, beta: float, mask: float | None) -> Tensor:
    """Mean over decisions of ``KL(pi || pi_old) - ratio A / beta`` where the divergence is within the mask.

    Args:
        divergence: ``(N,)`` of the new policy, from the new policy's point of view.
        ratio: ``(N,)`` of probabilities, new over old, of the actions taken under the old policy.
        advantage: ``(N,)``.
        beta: temperature.
        mask: largest divergence of decisions that count; ``None`` for all.
    """
    loss = divergence - ratio * advantage / beta
    if mask is not None:
        loss = loss * (divergence.detach() <= mask)
    return loss.mean()


class FOCOPS:
    """The rule of FOCOPS, see ``interlock.core.actor_critic.rule.Rule``."""

    def __init__(self, policy: NetworkPolicy, constraints: Sequence[Constraint], config: FOCOPSConfig):
        self.config = config
        self.names = [constraint.name for constraint in constraints]
        self.duals = Duals(len(constraints), config.dual)
        self.optimiser = torch.optim.Adam(policy.network.parameters(), lr=config.learning_rate, eps=1e-5)
        self.capped = np.zeros(len(constraints), np.int64)

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """A step of the multipliers, then a few passes over the rollout."""
        config = self.config
        if estimate is not None:
            self.duals.update(estimate)
            self.capped = np.where(self.duals.current >= config.dual.largest, self.capped + 1, 0)
        share = config.final_learning_rate + (1.0 - config.final_learning_rate) * left
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * share
        figures = self._improve(policy, batch, mix(batch.advantages, self.duals.multipliers), rng)
        for name, multiplier in zip(self.names, self.duals.current, strict=True):
            figures[f"constraint/{name}/multiplier"] = float(multiplier)
        return figures

    def _improve(
        self, policy: NetworkPolicy, batch: Batch, advantage: Tensor, rng: np.random.Generator
    ) -> dict[str, float]:
        config, network, head = self.config, policy.network, policy.head
        with torch.no_grad():
            old = network(**batch.inputs)[0]
        # The old policy's parameters travel with the decisions through the shuffling.
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
                self.optimiser.zero_grad()
                (loss + config.value_weight * value_loss).backward()
                nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient)
                self.optimiser.step()
                losses.append(value_loss.detach())
                divergences.append(moved.detach().mean())
            divergence = float(torch.stack(divergences).mean())
            if divergence > config.kl_stop:
                break
        return {"train/value_loss": float(torch.stack(losses).mean()), "train/divergence": divergence}

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

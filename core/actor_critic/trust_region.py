"""Steps in a trust region: what a change of the policy does to reward and costs, and natural-gradient ascent on it.

Schulman, Levine, Moritz, Jordan, Abbeel 2015 (trust-region policy optimisation), with as many signals as there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.method_settings import CriticSettings, TrustRegionConfig
from interlock.core.actor_critic.natural_gradient import (
    Parameters,
    conjugate_gradients,
    fisher_product,
    gradient,
    line_search,
)
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.actor_critic.steps import fit_critic, optimiser_state, restore_optimiser
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A policy and what is known about those close to it.

    Attributes:
        parameters: of the policy; everything below is about their present values.
        look: gives the changes ``(1 + m,)`` of reward and costs per decision against the old policy, to first order in
            the policy's probabilities, and the mean divergence of the policy from the old one.
        fisher: gives a mean divergence whose Hessian is the metric; may be over fewer decisions.
    """

    parameters: Parameters
    look: Callable[[], tuple[Tensor, Tensor]]
    fisher: Callable[[], Tensor]


def around(policy: NetworkPolicy, batch: Batch, fisher_decisions: int) -> Neighbourhood:
    """The neighbourhood of a policy as a rollout shows it: changes are ``E[(ratio - 1) A]``."""
    network, head = policy.network, policy.head
    with torch.no_grad():
        old = network(**batch.inputs)[0]
    advantages = (batch.advantages - batch.advantages.mean(0)).to(old.dtype)
    log_probability = head.log_probability(old, batch.actions)
    sequences = len(batch) // batch.length
    every = max(1, sequences * batch.length // fisher_decisions)
    some = batch.sequences(slice(None, None, every))
    with torch.no_grad():
        some_old = network(**some.inputs)[0]

    def look() -> tuple[Tensor, Tensor]:
        new = network(**batch.inputs)[0]
        change = torch.expm1(head.log_probability(new, batch.actions) - log_probability)
        return change @ advantages / len(batch), head.divergence(old, new).mean()

    def fisher() -> Tensor:
        return head.divergence(some_old, network(**some.inputs)[0]).mean()

    return Neighbourhood(network.actor_parameters(), look, fisher)


def directions(
    near: Neighbourhood, values: Sequence[Tensor], config: TrustRegionConfig
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients ``g`` of scalars in the neighbourhood, and their natural directions ``(H + damping I)^-1 g``."""
    gradients = [gradient(value, near.parameters, keep=True).detach() for value in values]
    product = fisher_product(near.fisher(), near.parameters, config.damping)
    natural = [conjugate_gradients(product, g, config.conjugate_iterations) for g in gradients]
    return gradients, natural


def ascend(
    near: Neighbourhood, objective: Callable[[Tensor], Tensor], radius: float, config: TrustRegionConfig
) -> float:
    """The natural-gradient step that fills the trust region, shortened until it improves.

    Args:
        near: the policy, changed in place.
        objective: from the changes ``(1 + m,)`` of reward and costs to the change of what is maximised.
        radius: largest mean divergence.
        config: of conjugate gradients and line search.

    Returns:
        The share of the step that was taken, 0 if none.
    """
    [slope], [natural] = directions(near, [objective(near.look()[0])], config)
    size = float(slope @ natural)
    if size <= 0.0:
        return 0.0

    def accept() -> bool:
        with torch.no_grad():
            changes, divergence = near.look()
            return bool(divergence <= radius and objective(changes) > 0.0)

    return line_search(
        near.parameters, (2.0 * radius / size) ** 0.5 * natural, accept, shrink=config.shrink, tries=config.tries
    )


def radius_now(config: TrustRegionConfig, left: float) -> float:
    """The radius, falling so that the length of steps falls linearly with the share of training that is left."""
    last = config.final_radius**0.5
    return float(config.radius * (last + (1.0 - last) * left) ** 2)


class Measured:
    """How far costs are beyond their limits: measured, and carried on by the predicted changes of accepted steps.

    A measurement over few episodes is noisy, and partly about older policies; predictions of small steps are neither,
    but their errors add up. The two are averaged, as in a filter with constant gain. Before the first measurement all
    costs are taken to be at their limits. Episodes are counted as well as decisions, so that changes per decision can
    be turned into changes of what the limits are on; older ones count less and less.

    Args:
        constraints: that learning can reach.
        floor: smallest divisor of relative violations.
        weight: of a measurement against the prediction; 1 trusts measurements only. The first one counts in full.
    """

    memory = 0.9

    def __init__(self, constraints: Sequence[Constraint], floor: float, weight: float):
        self.weight = weight
        self.violation = np.zeros(len(constraints))
        self.per_decision = np.array([constraint.kind == "mean" for constraint in constraints], bool)
        self.floor = floor
        self.waiting, self.decisions, self.episodes = 0.0, 0.0, 0.0
        self.unit = np.maximum(np.abs([constraint.limit for constraint in constraints]), floor)

    def follow(self, estimate: Estimate | None, decisions: int) -> None:
        """Take note of a measurement, if there is one, and of the decisions played."""
        self.waiting += decisions
        if estimate is None:
            return
        weight = self.weight if self.episodes else 1.0
        self.violation = self.violation + weight * (estimate.violation - self.violation)
        self.unit = np.maximum(np.abs(estimate.limit), self.floor)
        self.decisions = self.memory * self.decisions + self.waiting
        self.episodes = self.memory * self.episodes + estimate.episodes
        self.waiting = 0.0

    @property
    def scale(self) -> Array:
        """``(m,)`` change of the relative violation for a change of the cost signal by one per decision."""
        length = self.decisions / self.episodes if self.episodes else 1.0
        scale: Array = np.where(self.per_decision, 1.0, length) / self.unit
        return scale

    def carry(self, changes: Tensor) -> None:
        """Add the predicted changes ``(m,)`` per decision of an accepted step."""
        self.violation = self.violation + self.scale * changes.double().numpy()

    def state(self) -> dict[str, Array]:
        """Everything needed to go on exactly from here."""
        counts = np.array([self.waiting, self.decisions, self.episodes])
        return {"violation": self.violation, "unit": self.unit, "counts": counts}

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.violation, self.unit = state["violation"].copy(), state["unit"].copy()
        self.waiting, self.decisions, self.episodes = (float(count) for count in state["counts"])


class Critic:
    """Value steps beside a policy step that is not a gradient step."""

    def __init__(self, policy: NetworkPolicy, settings: CriticSettings):
        self.settings = settings
        self.optimiser = torch.optim.Adam(policy.network.critic_parameters(), lr=settings.learning_rate, eps=1e-5)

    def fit(self, policy: NetworkPolicy, batch: Batch, rng: np.random.Generator) -> float:
        """A few passes over a rollout; gives the mean loss."""
        settings = self.settings
        return fit_critic(
            policy.network, self.optimiser, batch, epochs=settings.epochs, minibatch=settings.minibatch, rng=rng
        )

    def state(self) -> dict[str, Array]:
        """Moments of the optimiser."""
        return optimiser_state(self.optimiser)

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        restore_optimiser(self.optimiser, state)

"""Constrained policy optimisation (Achiam, Held, Tamar, Abbeel 2017), for any number of constraints.

Each update solves the linear-quadratic subproblem of ``interlock.core.actor_critic.cpo_dual`` with gradients of the
reward and cost surrogates and the policy's Fisher matrix, then searches along the step: the divergence must stay within
the trust region, no cost may grow by more than the slack it has, and reward may not fall unless a limit is violated.
Without constraints it is trust-region policy optimisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.cpo_dual import Case, DualStep, solve_dual
from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.method_settings import CPOConfig, TrustRegionConfig
from interlock.core.actor_critic.natural_gradient import line_search
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.actor_critic.steps import part, prefixed
from interlock.core.actor_critic.trust_region import Critic, Measured, Neighbourhood, around, directions, radius_now
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run


def train(problem: Problem, config: CPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances; errors as of ``loop.learn``."""
    return learn(problem, config, run, lambda policy, constraints: CPO(policy, constraints, config), method="cpo")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a constrained step did.

    Attributes:
        fraction: of the step of the subproblem, 0 if the policy was left as it was.
        case: of the subproblem.
        multipliers: ``(m,)`` of the subproblem.
    """

    fraction: float
    case: Case
    multipliers: Array


def constrained_step(near: Neighbourhood, excess: Array, radius: float, config: TrustRegionConfig) -> Taken:
    """One update of the policy.

    Surrogates are not linear: a step along a limit would end slightly beyond it, and on the limit itself every fraction
    of the step would be refused. So the bend of each cost is measured over the whole step and kept in reserve, and the
    subproblem is solved again; a fraction of that step needs no more than its share of the reserve.

    Args:
        near: the policy, changed in place.
        excess: ``(m,)`` cost less limit, per decision.
        radius: largest mean divergence.
        config: of conjugate gradients and line search.
    """
    gradients, natural = directions(near, list(near.look()[0]), config)
    table = (torch.stack(gradients) @ torch.stack(natural).T).double().numpy()
    table = (table + table.T) / 2.0

    def solve(excess: Array) -> tuple[DualStep, Tensor]:
        found = solve_dual(float(table[0, 0]), table[1:, 0], table[1:, 1:], excess, radius)
        weights = torch.tensor([found.along, *-found.against])
        return found, weights.to(natural[0]) @ torch.stack(natural)

    found, step = solve(excess)
    if found.case == "bound":
        linear = (torch.stack(gradients[1:]) @ step).double().numpy()
        bend = np.maximum(_changes_after(near, step)[1:] - linear, 0.0)
        found, step = solve(excess + np.minimum(bend, 0.5 * np.sqrt(2.0 * radius * np.diag(table)[1:])))
    allowed = torch.from_numpy(np.maximum(-excess, 0.0))
    within = bool(np.all(excess <= 0.0))

    def accept() -> bool:
        with torch.no_grad():
            changes, divergence = near.look()
            kept = torch.all(changes[1:].double() <= allowed)
            return bool(divergence <= radius and kept and (not within or changes[0] >= 0.0))

    fraction = line_search(near.parameters, step, accept, shrink=config.shrink, tries=config.tries)
    return Taken(fraction, found.case, found.multipliers)


def _changes_after(near: Neighbourhood, step: Tensor) -> Array:
    """Changes of reward and costs after a whole step, which is not kept."""
    seen: list[Tensor] = []

    def record() -> bool:
        with torch.no_grad():
            seen.append(near.look()[0].double())
        return False

    line_search(near.parameters, step, record, tries=1)
    changes: Array = seen[0].numpy()
    return changes


class CPO:
    """The rule of constrained policy optimisation, see ``interlock.core.actor_critic.rule.Rule``."""

    def __init__(self, policy: NetworkPolicy, constraints: Sequence[Constraint], config: CPOConfig):
        self.config = config
        self.names = [constraint.name for constraint in constraints]
        self.measured = Measured(constraints, config.limit_floor, config.measurement_weight)
        self.critic = Critic(policy, config.critic)

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """One constrained step of the policy, then value steps."""
        self.measured.follow(estimate, len(batch))
        near = around(policy, batch, self.config.fisher_decisions)
        excess = self.measured.violation / self.measured.scale
        taken = constrained_step(near, excess, radius_now(self.config, left), self.config)
        with torch.no_grad():
            changes, divergence = near.look()
        self.measured.carry(changes[1:])
        figures = {
            "train/value_loss": self.critic.fit(policy, batch, rng),
            "train/divergence": float(divergence),
            "train/step_taken": taken.fraction,
            "train/recovery": float(taken.case == "recovery"),
        }
        for name, multiplier in zip(self.names, taken.multipliers, strict=True):
            figures[f"constraint/{name}/multiplier"] = float(multiplier)
        return figures

    def state(self) -> dict[str, Array]:
        """Measured violations and the critic's moments."""
        return {**prefixed("measured/", self.measured.state()), **prefixed("critic/", self.critic.state())}

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.measured.restore(part(state, "measured/"))
        self.critic.restore(part(state, "critic/"))

    def warnings(self) -> list[str]:
        """None: a limit out of reach shows in the measured constraint."""
        return []

"""Interior-point policy optimisation with an adaptive barrier, for any number of constraints.

Reward is maximised together with a logarithmic barrier on the slack of every limit, ``sum_i log(s_i) / t`` (Liu, Ding,
Liu 2020), by trust-region steps whose line search looks at the barrier itself: no accepted step is predicted to leave
the limits. Close to a limit and beyond it the barrier goes on as a parabola, so it pushes back the harder the larger
the violation, and never turns into a fixed penalty. ``t`` grows while limits are kept and falls when they are not; the
schedule is our own. Without constraints this is trust-region policy optimisation.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.method_settings import IPOConfig, TrustRegionConfig
from interlock.core.actor_critic.natural_gradient import line_search
from interlock.core.actor_critic.rule import Batch, Estimate
from interlock.core.actor_critic.steps import part, prefixed
from interlock.core.actor_critic.trust_region import Critic, Measured, Neighbourhood, around, directions, radius_now
from interlock.core.environment import Array
from interlock.core.network_policy import NetworkPolicy
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run

Objective = Callable[[Tensor], Tensor]
"""From the changes ``(1 + m,)`` of reward and costs to the change of what is maximised, a scalar."""


def train(problem: Problem, config: IPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances; errors as of ``loop.learn``."""
    return learn(problem, config, run, lambda policy, constraints: IPO(policy, constraints, config), method="ipo")


def barrier(slack: Tensor, sharpness: float, least: float) -> Tensor:
    """``log(slack) / t``, continued below ``least`` by the parabola with the same value, slope and curvature there.

    Args:
        slack: limit less cost, any shape.
        sharpness: ``t``.
        least: where the parabola begins, positive.
    """
    beyond = (slack - least) / least
    parabola = np.log(least) + beyond - beyond.square() / 2.0
    return torch.where(slack >= least, slack.clamp(min=least).log(), parabola) / sharpness


def barrier_multipliers(slack: Array, sharpness: float, least: float) -> Array:
    """Slope of ``barrier``: what the barrier charges for a unit of cost; ``1 / (t slack)`` where slack is enough."""
    multipliers: Array = (
        np.where(slack >= least, 1.0 / np.maximum(slack, least), (2.0 * least - slack) / least**2) / sharpness
    )
    return multipliers


def barrier_objective(
    changes: Tensor, slack: Tensor, scale: Tensor, *, sharpness: float, least: float, reward_weight: float
) -> Tensor:
    """Change of what a step maximises: weighted reward plus barriers.

    Args:
        changes: ``(1 + m,)`` of reward and costs.
        slack: ``(m,)`` before the change.
        scale: ``(m,)`` slack used up by a unit of change of each cost.
        sharpness: ``t``.
        least: see ``barrier``.
        reward_weight: of the reward's change, 0 in a recovery.
    """
    after = barrier(slack - scale * changes[1:], sharpness, least)
    return reward_weight * changes[0] + (after - barrier(slack, sharpness, least)).sum()


def interior_step(near: Neighbourhood, objective: Objective, radius: float, config: TrustRegionConfig) -> float:
    """The step of the trust region that is best for linearised reward and costs, shortened until it improves.

    The barrier bends much more sharply than the divergence does, so a gradient step would be thrown back and forth
    between limits. Within the span of the natural directions of reward and costs, though, linearised changes have
    ``1 + m`` dimensions only, and the best of them is found with the barrier as it is.

    Args:
        near: the policy, changed in place.
        objective: from the changes ``(1 + m,)`` to the change of what is maximised; concave.
        radius: largest mean divergence.
        config: of conjugate gradients and line search.

    Returns:
        The share of the step that was taken, 0 if none.
    """
    gradients, natural = directions(near, list(near.look()[0]), config)
    table = (torch.stack(gradients) @ torch.stack(natural).T).double().numpy()
    weights = torch.from_numpy(best_weights((table + table.T) / 2.0, objective, radius))
    step = weights.to(natural[0]) @ torch.stack(natural)

    def accept() -> bool:
        with torch.no_grad():
            changes, divergence = near.look()
            return bool(divergence <= radius and objective(changes) > 0.0)

    return line_search(near.parameters, step, accept, shrink=config.shrink, tries=config.tries)


def best_weights(table: Array, objective: Objective, radius: float) -> Array:
    """Weights ``y`` of natural directions that maximise ``objective(G y)`` subject to ``y'G y / 2 <= radius``.

    Args:
        table: ``(1 + m, 1 + m)`` ``G``, products of gradients and natural directions.
        objective: concave and smooth.
        radius: of the trust region.
    """
    size = np.sqrt(np.maximum(np.diag(table), 1e-300))
    values, vectors = np.linalg.eigh(table / np.outer(size, size))
    kept = values > 1e-10
    values, vectors = values[kept], vectors[:, kept]
    # Coordinates u in which the trust region is the unit ball.
    reach = np.sqrt(2.0 * radius)
    changes_per_u = torch.from_numpy(reach * size[:, None] * vectors * np.sqrt(values))

    def slope(u: Array) -> tuple[float, Array]:
        point = torch.from_numpy(u).requires_grad_()
        value = objective(changes_per_u @ point)
        return float(value.detach()), torch.autograd.grad(value, point)[0].numpy()

    start = np.zeros(len(values))
    steepest = max(float(np.linalg.norm(slope(start)[1])), 1e-300)

    def loss(u: Array) -> tuple[float, Array]:
        value, gradient = slope(u)
        return -value / steepest, -gradient / steepest

    ball = {"type": "ineq", "fun": lambda u: 1.0 - u @ u, "jac": lambda u: -2.0 * u}
    found = minimize(loss, start, jac=True, method="SLSQP", constraints=ball, options={"ftol": 1e-12, "maxiter": 200})
    weights: Array = reach * (vectors / np.sqrt(values)) @ found.x / size
    return weights


class Sharpness:
    """The schedule of ``t``.

    It grows after ``patience`` measurements in a row with slack on every limit and an accepted step in between; it
    falls when a limit is broken, and again after every ``patience`` measurements in a row at which one still is.
    """

    def __init__(self, config: IPOConfig):
        self.config = config
        self.value = config.sharpness
        self.inside = self.outside = 0

    def follow(self, violation: Array, *, moved: bool) -> None:
        """Take note of relative violations ``(m,)`` and of whether the policy has moved since the last ones."""
        config = self.config
        slack = -float(violation.max())
        self.inside = self.inside + 1 if slack >= config.least_slack and moved else 0
        self.outside = self.outside + 1 if slack < 0.0 else 0
        if self.inside == config.patience:
            self.value = min(self.value * config.factor, config.largest)
            self.inside = 0
        if self.outside % config.patience == 1 % config.patience and self.outside:
            self.value = max(self.value / config.factor, config.smallest)


class IPO:
    """The rule of interior-point policy optimisation, see ``interlock.core.actor_critic.rule.Rule``.

    Slacks are relative to their limits, and reward is in units of the spread of its advantages, so ``t`` has no unit.
    """

    def __init__(self, policy: NetworkPolicy, constraints: Sequence[Constraint], config: IPOConfig):
        self.config = config
        self.names = [constraint.name for constraint in constraints]
        self.measured = Measured(constraints, config.limit_floor, config.measurement_weight)
        self.sharpness = Sharpness(config)
        self.critic = Critic(policy, config.critic)
        self.moved = True

    def update(
        self, policy: NetworkPolicy, batch: Batch, estimate: Estimate | None, left: float, rng: np.random.Generator
    ) -> dict[str, float]:
        """One trust-region step on reward and barriers, then value steps."""
        config = self.config
        self.measured.follow(estimate, len(batch))
        if estimate is not None:
            self.sharpness.follow(estimate.violation, moved=self.moved)
        violation, scale = self.measured.violation, self.measured.scale
        recovering = bool(np.any(violation > config.recovery))
        spread = float(batch.advantages[:, 0].std(correction=0)) + 1e-8

        def objective(changes: Tensor) -> Tensor:
            return barrier_objective(
                changes.double(),
                torch.from_numpy(-violation),
                torch.from_numpy(scale),
                sharpness=self.sharpness.value,
                least=config.least_slack,
                reward_weight=0.0 if recovering else 1.0 / spread,
            )

        near = around(policy, batch, config.fisher_decisions)
        taken = interior_step(near, objective, radius_now(config, left), config)
        self.moved = taken > 0.0
        with torch.no_grad():
            changes, divergence = near.look()
        self.measured.carry(changes[1:])
        figures = {
            "train/value_loss": self.critic.fit(policy, batch, rng),
            "train/divergence": float(divergence),
            "train/step_taken": taken,
            "train/recovery": float(recovering),
            "train/sharpness": self.sharpness.value,
        }
        multipliers = barrier_multipliers(-violation, self.sharpness.value, config.least_slack)
        for name, multiplier in zip(self.names, multipliers, strict=True):
            figures[f"constraint/{name}/multiplier"] = float(multiplier)
        return figures

    def state(self) -> dict[str, Array]:
        """Measured violations, sharpness and the critic's moments."""
        counts = np.array([self.sharpness.inside, self.sharpness.outside, self.moved], np.int64)
        return {
            **prefixed("measured/", self.measured.state()),
            **prefixed("critic/", self.critic.state()),
            "sharpness": np.array(self.sharpness.value),
            "counts": counts,
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.measured.restore(part(state, "measured/"))
        self.critic.restore(part(state, "critic/"))
        self.sharpness.value = float(state["sharpness"])
        self.sharpness.inside, self.sharpness.outside = int(state["counts"][0]), int(state["counts"][1])
        self.moved = bool(state["counts"][2])

    def warnings(self) -> list[str]:
        """None: a limit out of reach shows in the measured constraint."""
        return []

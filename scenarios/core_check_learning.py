"""Exact checks of what learning is made of: advantages, multipliers, signals, projections, heads, steps of methods.

As in ``interlock.scenarios.core_check``, each computes its answer in two different ways. Checks that need torch load it
when they run.
"""

from collections.abc import Callable

import numpy as np

from interlock.core.environment import Array
from interlock.core.problem import Constraint
from interlock.scenarios.core_check_table import Check


def advantage_estimates() -> Check:
    """Generalised advantages of a batch, and one by one as the discounted sums of one-step errors they stand for."""
    from interlock.core.actor_critic.advantages import generalised_advantages

    rng = np.random.default_rng(0)
    steps, rows, gamma, decay = 40, 6, np.array([0.95, 1.0]), np.array([0.9, 0.8])
    signal, values, following = rng.normal(size=(3, steps, rows, 2))
    terminated = rng.random((steps, rows)) < 0.1
    done = terminated | (rng.random((steps, rows)) < 0.1)
    found = generalised_advantages(signal, values, following, terminated, done, gamma=gamma, decay=decay)
    errors = signal + gamma * np.where(terminated[..., None], 0.0, following) - values
    expected = np.zeros_like(found)
    for t, row in np.ndindex(steps, rows):
        ends = np.flatnonzero(done[t:, row])
        last = t + (ends[0] if len(ends) else steps - 1 - t)
        for k in range(t, last + 1):
            expected[t, row] += (gamma * decay) ** (k - t) * errors[k, row]
    return Check("advantages", "two signals at once / sums of errors one by one", _largest(found - expected), 1e-12)


def dual_identity() -> Check:
    """PID multipliers step by step, and by their differences: ``K_I g + K_P (g - g before)``."""
    from interlock.core.actor_critic.config import DualSettings
    from interlock.core.actor_critic.duals import Duals
    from interlock.core.actor_critic.rule import Estimate

    settings = DualSettings(integral=0.07, proportional=0.6, smoothing=0.0, initial=50.0)
    duals, rng = Duals(3, settings), np.random.default_rng(1)
    violations = rng.normal(size=(60, 3))
    found = []
    for violation in violations:
        duals.update(Estimate(violation, np.zeros(3), violation, 10))
        found.append(duals.current.copy())
    expected = settings.integral * violations[1:] + settings.proportional * np.diff(violations, axis=0)
    return Check(
        "PID multipliers", "recursion / differences in closed form", _largest(np.diff(found, axis=0) - expected), 1e-9
    )


def tail_cost() -> Check:
    """The CVaR signals of random episodes, summed, and the mean of the worst share by sorting."""
    from interlock.core.actor_critic.signals import CostSignals

    rng = np.random.default_rng(2)
    episodes, steps, level = 400, 7, 0.9
    costs = rng.exponential(size=(steps, episodes, 1))
    signals = CostSignals([Constraint("cost", "cvar", 5.0, "1", level=level)], episodes)
    eta = float(np.quantile(costs.sum(0), level))
    signals.begun_with[:] = eta
    total = sum(signals.step(costs[t], np.full(episodes, t == steps - 1)) for t in range(steps))
    found = eta + float(np.mean(total))
    worst = np.sort(costs.sum(0).ravel())[-round(episodes * (1 - level)) :].mean()
    return Check(
        "CVaR signals", "threshold plus mean of summed signals / mean of the worst tenth", abs(found - worst), 1e-9
    )


def budget_projection() -> Check:
    """Projections onto box and budget, and by bisection on the multiplier of the budget."""
    from interlock.core.projection import Budget, project

    rng = np.random.default_rng(3)
    y, upper = rng.normal(1.0, 1.0, (500, 8)), rng.uniform(0.2, 2.0, (500, 8))
    budget = rng.uniform(0.5, 4.0, 500)
    found = project(y, Budget(np.zeros(8), upper, budget))
    low, high = np.zeros(500), np.full(500, 10.0)
    for _ in range(100):
        middle = (low + high) / 2
        above = np.clip(y - middle[:, None], 0.0, upper).sum(1) > budget
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return Check("projection", "exact / bisection", _largest(found - np.clip(y - high[:, None], 0.0, upper)), 1e-10)


def head_densities() -> Check:
    """Probabilities of Beta and squashed Gaussian actions integrate to one over their interval."""
    import torch

    from interlock.core.heads_continuous import BetaHead, TanhGaussianHead

    low, high = [-2.0], [3.0]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    worst = 0.0
    for head in (BetaHead(low, high), TanhGaussianHead(low, high)):
        parameters = torch.tensor([[0.7, -0.4]], dtype=torch.float64).expand(400, 2)
        share = torch.from_numpy((nodes[:, None] + 1) / 2)
        raw = share if head.kind == "beta" else torch.atanh(2 * share - 1)
        density = head.log_probability(parameters, raw).exp().numpy()
        worst = max(worst, abs(float(weights @ density) * (high[0] - low[0]) / 2 - 1.0))
    return Check("heads", "integral of the density / 1", worst, 1e-6)


def trust_region() -> Check:
    """CPO's constrained step in the plane, and the best point of the disc found by trying many."""
    from interlock.core.actor_critic.cpo_dual import solve_dual

    rng, worst = np.random.default_rng(4), 0.0
    angles = np.linspace(0, 2 * np.pi, 100_001)
    for _ in range(20):
        g, b = rng.normal(size=(2, 2))
        delta, c = 0.01, rng.uniform(-0.1, 0.05)
        step = solve_dual(float(g @ g), np.array([b @ g]), np.array([[b @ b]]), np.array([c]), delta)
        if step.case == "recovery":
            continue
        x = step.along * g - step.against[0] * b
        border = np.sqrt(2 * delta) * np.column_stack([np.cos(angles), np.sin(angles)])
        chord = -c * b / (b @ b) + np.linspace(-0.2, 0.2, 100_001)[:, None] * np.array([-b[1], b[0]]) / np.linalg.norm(
            b
        )
        tried = np.vstack([border, chord])
        allowed = (tried @ b + c <= 1e-12) & ((tried**2).sum(1) <= 2 * delta + 1e-12)
        worst = max(worst, abs(float(g @ x) - float((tried[allowed] @ g).max())))
    return Check("CPO", "trust-region step / best of 200,000 points", worst, 1e-5)


def closed_form_policy() -> Check:
    """FOCOPS in a single state: gradient steps on its loss, and the closed form."""
    import torch

    from interlock.core.actor_critic.focops import focops_loss
    from interlock.core.heads_discrete import CategoricalHead

    head, actions = CategoricalHead(5), torch.arange(5)
    rng = np.random.default_rng(5)
    old = torch.log_softmax(torch.from_numpy(rng.normal(size=(1, 5))), 1)
    advantage, beta = torch.from_numpy(rng.normal(size=5)), 1.5
    new = old.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([new], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        every = new.expand(5, 5)
        ratio = (head.log_probability(every, actions) - old[0]).exp()
        # Each action counts with its old probability: the expectation, without drawing.
        value = 5 * focops_loss(
            head.divergence(every, old.expand(5, 5)) / 5, ratio * old[0].exp(), advantage, beta, None
        )
        value.backward()
        return value

    optimiser.step(loss)
    expected = torch.softmax(old[0] + advantage / beta, 0)
    deviation = float((torch.softmax(new[0], 0) - expected).abs().max().detach())
    return Check("FOCOPS", "gradient steps / closed form", deviation, 1e-5)


LEARNING_CHECKS: tuple[Callable[[], Check], ...] = (
    advantage_estimates,
    dual_identity,
    tail_cost,
    budget_projection,
    head_densities,
    trust_region,
    closed_form_policy,
)
"""In the order of the table."""


def _largest(values: Array) -> float:
    return float(np.max(np.abs(values)))

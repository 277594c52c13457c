"""Interior point: the barrier itself, its schedule, the barrier problem against a convex solver, and tables."""

import numpy as np
import pytest
import torch
from learned_tables import assert_close_to_optimum, assert_resumes, exact_neighbourhood, fresh_policy, random_batch

from interlock.core.actor_critic.ipo import (
    IPO,
    Sharpness,
    barrier,
    barrier_multipliers,
    barrier_objective,
    best_weights,
    interior_step,
    train,
)
from interlock.core.actor_critic.method_settings import IPOConfig
from interlock.core.actor_critic.rule import Estimate
from interlock.core.actor_critic.trust_region import radius_now
from interlock.core.tabular.examples import EXAMPLES
from interlock.core.tabular.linear_program import constrained_optimum
from interlock.solvers.highs import Highs

cvxpy = pytest.importorskip("cvxpy")

LEAST, SHARPNESS = 0.01, 20.0


def at(slack):
    return float(barrier(torch.tensor(slack, dtype=torch.float64), SHARPNESS, LEAST))


def test_value_slope_and_curvature_are_continuous():
    """One-sided finite differences from both sides of the point where the parabola begins."""
    h = 1e-6
    assert at(LEAST - 1e-13) == pytest.approx(at(LEAST + 1e-13), abs=1e-10)
    for side in (1.0, -1.0):
        points = [at(LEAST + side * k * h) for k in range(4)]
        slope = side * (-11 * points[0] + 18 * points[1] - 9 * points[2] + 2 * points[3]) / (6 * h)
        curvature = (2 * points[0] - 5 * points[1] + 4 * points[2] - points[3]) / h**2
        assert slope == pytest.approx(1.0 / (SHARPNESS * LEAST), rel=1e-6)
        assert curvature == pytest.approx(-1.0 / (SHARPNESS * LEAST**2), rel=1e-3)


def test_multipliers_are_the_slope_and_grow_with_the_violation():
    slacks = np.array([3.0, 0.5, 0.011, 0.009, 0.0, -0.1, -1.0, -10.0])
    slopes = [(at(slack + 1e-7) - at(slack - 1e-7)) / 2e-7 for slack in slacks]
    multipliers = barrier_multipliers(slacks, SHARPNESS, LEAST)
    assert np.allclose(multipliers, slopes, rtol=1e-4)
    assert np.allclose(multipliers[:3], 1.0 / (SHARPNESS * slacks[:3]), rtol=1e-12)
    assert np.all(np.diff(multipliers) > 0)
    assert multipliers[-1] > 9.0 * multipliers[-2]


def test_sharpness_follows_its_schedule():
    config = IPOConfig(sharpness=20.0, factor=1.5, patience=3, largest=31.0)
    schedule, seen = Sharpness(config), []
    inside, near, outside = np.array([-0.5, -0.02]), np.array([-0.5, -0.005]), np.array([-0.5, 0.1])
    for violation, moved in [
        (inside, True), (inside, True), (near, True), (inside, True), (inside, True), (inside, True),  # grows
        (inside, True), (inside, False), (inside, True), (inside, True), (inside, True),  # not while refused; capped
        (outside, True), (outside, True), (outside, True), (outside, True), (near, True), (outside, True),
    ]:  # fmt: skip
        schedule.follow(violation, moved=moved)
        seen.append(schedule.value)
    assert np.allclose(seen[:11], [20.0] * 5 + [30.0] * 5 + [31.0])
    assert np.allclose(seen[11:], np.array([31 / 1.5] * 3 + [31 / 1.5**2] * 2 + [31 / 1.5**3]))


def test_reward_is_ignored_in_recovery():
    """The same step is taken whatever the rewards, as long as the violation is beyond a quarter of the limit."""
    estimates = {violation: Estimate(np.array([5 + 5 * violation]), np.array([5.0]), np.array([violation]), 8)
                 for violation in (0.5, 0.1)}  # fmt: skip
    for violation, equal in ((0.5, True), (0.1, False)):
        weights = []
        for sign in (1.0, -1.0):
            problem, policy = fresh_policy("two_state")
            rule = IPO(policy, problem.constraints, IPOConfig())
            batch = random_batch(policy, 1)
            batch.advantages[:, 0] *= sign
            rule.update(policy, batch, estimates[violation], 1.0, np.random.default_rng(0))
            weights.append(policy.weights()["actor.0.weight"])
        assert np.array_equal(*weights) == equal


@pytest.mark.parametrize("m", [1, 2, 3])
def test_subproblem_equals_a_convex_solver(m):
    for seed in range(15):
        rng = np.random.default_rng([m, seed])
        factor = rng.normal(size=(1 + m, 1 + m)) * np.append(1.0, 10.0 ** rng.uniform(-2, 2, m))
        table = factor.T @ factor
        radius = 10.0 ** rng.uniform(-3, 0)
        scale = 1.0 / np.sqrt(np.diag(table)[1:])
        slack = rng.uniform(0.05, 2.0, m) * np.sqrt(2.0 * radius)

        def objective(changes, slack=slack, scale=scale):
            return barrier_objective(
                changes, torch.from_numpy(slack), torch.from_numpy(scale), sharpness=20.0, least=1e-6, reward_weight=1.0
            )

        weights = best_weights(table, objective, radius)
        assert weights @ table @ weights <= 2.0 * radius * (1.0 + 1e-6)
        root = np.linalg.cholesky(table)
        u = cvxpy.Variable(1 + m)
        changes = np.sqrt(2.0 * radius) * root @ u
        barriers = cvxpy.sum(cvxpy.log(slack - cvxpy.multiply(scale, changes[1:]))) / 20.0
        best = cvxpy.Problem(cvxpy.Maximize(changes[0] + barriers), [cvxpy.norm(u) <= 1.0])
        best.solve(solver="CLARABEL")
        value = float(objective(torch.from_numpy(table @ weights))) + np.log(slack).sum() / 20.0
        assert value == pytest.approx(best.value, abs=1e-5 * max(1.0, np.sqrt(2.0 * radius * table[0, 0])))


def barrier_optimum(cmdp, sharpness):
    """Return at the solution of the barrier problem, over occupancies."""
    x = cvxpy.Variable(cmdp.reward.size, nonneg=True)
    leaving = np.repeat(np.eye(cmdp.states), cmdp.actions, axis=1)
    flow = leaving - cmdp.gamma * cmdp.transition.reshape(-1, cmdp.states).T
    slack = cmdp.limits - cmdp.costs.reshape(len(cmdp.limits), -1) @ x
    aim = cvxpy.Maximize(cmdp.reward.ravel() @ x + cvxpy.sum(cvxpy.log(slack)) / sharpness)
    cvxpy.Problem(aim, [flow @ x == cmdp.start]).solve(solver="CLARABEL")
    return float(cmdp.reward.ravel() @ x.value)


CASES = [(process, sharpness) for process in ("bandit_budget", "two_state") for sharpness in (20.0, 100.0, 500.0)]
CASES += [
    ("queue_effort", 100.0),
    ("catch_4x4", 100.0),
    ("catch_4x4", 500.0),
    ("garnet_2c", 20.0),
    ("garnet_2c", 500.0),
]


@pytest.mark.parametrize(("process", "sharpness"), CASES)
def test_exact_advantages_solve_the_barrier_problem(process, sharpness):
    cmdp = EXAMPLES[process]()
    config = IPOConfig(radius=0.005, damping=1e-3, conjugate_iterations=30, final_radius=1e-8)
    logits = torch.nn.Parameter(torch.zeros(cmdp.states, cmdp.actions, dtype=torch.float64))
    scale, rounds, worst = 1.0 / np.abs(cmdp.limits), 120, None
    for index in range(rounds + 1):
        value, costs = cmdp.evaluate(torch.softmax(logits.detach(), 1).numpy())
        slack = (cmdp.limits - costs) * scale
        if worst is not None or slack.min() >= 0.0:
            worst = max(-slack.min(), -np.inf if worst is None else worst)

        def objective(changes, slack=slack):
            known = torch.from_numpy(slack), torch.from_numpy(scale)
            return barrier_objective(changes, *known, sharpness=sharpness, least=1e-4, reward_weight=1.0)

        radius = radius_now(config, 1.0 - index / (rounds + 1))
        interior_step(exact_neighbourhood(logits, cmdp), objective, radius, config)
    assert value == pytest.approx(barrier_optimum(cmdp, sharpness), abs=1e-4)
    optimum = constrained_optimum(cmdp, Highs()).value
    assert optimum - value <= len(cmdp.limits) / sharpness * 1.01
    assert worst is not None
    # Predictions of costs are first-order in the policy: this is what they may be off by.
    assert worst <= 2e-3


@pytest.mark.parametrize("process", ["bandit_budget", "two_state"])
def test_sampled_table_comes_close_to_the_optimum(process):
    settings = {"steps": 150_000, "num_envs": 128, "rollout": 16}
    assert_close_to_optimum(train, IPOConfig, process, settings, gap=0.04, violation=0.02)


def test_resumed_equals_uninterrupted():
    assert_resumes(train, IPOConfig)

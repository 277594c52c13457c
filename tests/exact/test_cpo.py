"""Constrained policy optimisation: its subproblem against a convex solver, its steps on exactly known processes."""

import numpy as np
import pytest
import torch
from learned_tables import (
    assert_close_to_optimum,
    assert_resumes,
    exact_neighbourhood,
    fresh_policy,
    random_batch,
    table_of,
)

from interlock.core.actor_critic.cpo import CPO, constrained_step, train
from interlock.core.actor_critic.cpo_dual import solve_dual
from interlock.core.actor_critic.method_settings import CPOConfig
from interlock.core.actor_critic.natural_gradient import conjugate_gradients, fisher_product, line_search
from interlock.core.actor_critic.rule import Estimate
from interlock.core.actor_critic.trust_region import around, radius_now
from interlock.core.tabular.examples import EXAMPLES
from interlock.core.tabular.linear_program import constrained_optimum
from interlock.solvers.highs import Highs

cvxpy = pytest.importorskip("cvxpy")


def drawn(seed, m, size=5):
    """A random subproblem (g, B, H, c, delta); every fourth one lies deep inside its limits, every fourth outside."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(size, size))
    hessian = factor @ factor.T + 0.1 * np.eye(size)
    gradient, costs = rng.normal(size=size), rng.normal(size=(m, size))
    delta = 10.0 ** rng.uniform(-3, 0)
    reach = np.sqrt(2.0 * delta * np.einsum("ij,ij->i", costs, np.linalg.solve(hessian, costs.T).T))
    low, high = [(-3.0, -1.0), (-1.0, 0.0), (0.0, 0.7), (1.0, 2.0)][seed % 4]
    return gradient, costs, hessian, reach * rng.uniform(low, high, m), delta


def by_dual(gradient, costs, hessian, excess, delta):
    along, against = np.linalg.solve(hessian, gradient), np.linalg.solve(hessian, costs.T)
    found = solve_dual(gradient @ along, costs @ along, costs @ against, excess, delta)
    return found, found.along * along - against @ found.against


def by_cvxpy(gradient, costs, hessian, excess, delta):
    """The step in coordinates in which the trust region is the unit ball, and the largest reward there.

    Where no step of the trust region meets the limits the reward is ``None``, and the step is the smallest that meets
    them, shortened to the trust region.
    """
    root = np.linalg.inv(np.linalg.cholesky(hessian).T) * np.sqrt(2.0 * delta)
    gradient, costs = gradient @ root, costs @ root
    size = np.linalg.norm(costs, axis=1)
    y = cvxpy.Variable(len(gradient))
    limits = [excess / size + (costs / size[:, None]) @ y <= 0]
    exact = {"solver": "CLARABEL", "tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-10}
    smallest = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(y)), limits)
    smallest.solve(**exact)
    if smallest.value > 1.0:
        return None, root @ y.value / np.sqrt(smallest.value)
    problem = cvxpy.Problem(cvxpy.Maximize(gradient / np.linalg.norm(gradient) @ y), [*limits, cvxpy.norm(y) <= 1.0])
    problem.solve(**exact)
    return problem.value * np.linalg.norm(gradient), root @ y.value


@pytest.mark.parametrize("m", [1, 2, 3])
def test_subproblem_equals_a_convex_solver(m):
    seen = set()
    for seed in range(100):
        gradient, costs, hessian, excess, delta = numbers = drawn(1000 * m + seed, m)
        found, step = by_dual(*numbers)
        value, expected = by_cvxpy(*numbers)
        seen.add(found.case)
        assert step @ hessian @ step <= 2.0 * delta * (1.0 + 1e-9)
        assert (found.case == "recovery") == (value is None)
        length = np.sqrt(2.0 * delta)
        root = np.linalg.cholesky(hessian).T
        assert np.linalg.norm(root @ (step - expected)) <= 1e-4 * length
        if value is not None:
            assert np.all(excess + costs @ step <= 1e-9)
            assert gradient @ step == pytest.approx(value, abs=1e-7 * np.linalg.norm(np.linalg.solve(root.T, gradient)))
    assert seen == {"free", "bound", "recovery"}


def test_one_constraint_equals_the_published_cases():
    """Closed form of Achiam et al. 2017, with rewards maximised (their gradient is minus ours)."""
    seen = set()
    for seed in range(400):
        gradient, costs, hessian, excess, delta = numbers = drawn(seed, 1)
        _, step = by_dual(*numbers)
        along, against = np.linalg.solve(hessian, gradient), np.linalg.solve(hessian, costs[0])
        q, r, s, c = gradient @ along, -costs[0] @ along, costs[0] @ against, float(excess[0])
        room, spread = 2.0 * delta - c**2 / s, q - r**2 / s
        if room < 0 and c > 0:
            case, expected = 0, -np.sqrt(2.0 * delta / s) * against
        elif room < 0:
            case, expected = 3, np.sqrt(2.0 * delta / q) * along
        else:
            case = 1 if c >= 0 else 2
            split = r / c
            with_limit, without = (0.0, split), (split, np.inf)
            if c >= 0:
                with_limit, without = (max(split, 0.0), np.inf), (0.0, max(split, 0.0))
            else:
                with_limit, without = (0.0, max(split, 0.0)), (max(split, 0.0), np.inf)
            lam_a = np.clip(np.sqrt(spread / room), *with_limit)
            lam_b = np.clip(np.sqrt(q / (2.0 * delta)), *without)
            value_a = -0.5 * (spread / max(lam_a, 1e-8) + lam_a * room) - r * c / s
            value_b = -0.5 * (q / max(lam_b, 1e-8) + 2.0 * delta * lam_b)
            lam = lam_a if value_a >= value_b else lam_b
            nu = max(0.0, lam * c - r) / s
            expected = (along - nu * against) / lam
        seen.add(case)
        assert np.abs(step - expected).max() <= 1e-7 * max(1.0, np.abs(expected).max())
    assert seen == {0, 1, 2, 3}


def test_extreme_units_do_not_change_the_step():
    gradient, costs, hessian, excess, delta = drawn(7, 3)
    _, step = by_dual(gradient, costs, hessian, excess, delta)
    units = np.array([1e-6, 1.0, 1e7])
    _, other = by_dual(1e5 * gradient, units[:, None] * costs, hessian, units * excess, delta)
    assert np.allclose(step, other, rtol=1e-6, atol=1e-12)


def test_no_constraint_is_the_plain_trust_region_step():
    gradient, _, hessian, _, delta = drawn(3, 1)
    along = np.linalg.solve(hessian, gradient)
    found = solve_dual(gradient @ along, np.zeros(0), np.zeros((0, 0)), np.zeros(0), delta)
    assert found.case == "free"
    assert found.along == pytest.approx(np.sqrt(2.0 * delta / (gradient @ along)), rel=1e-9)


def test_fisher_products_and_conjugate_gradients_equal_the_closed_form():
    """The Fisher matrix of a softmax table is ``share(s) (diag(p) - p p')`` in each state."""
    cmdp = EXAMPLES["queue_effort"]()
    rng = np.random.default_rng(0)
    logits = torch.nn.Parameter(torch.from_numpy(rng.normal(size=(cmdp.states, cmdp.actions))))
    near = exact_neighbourhood(logits, cmdp)
    table = torch.softmax(logits.detach(), 1).numpy()
    visits = cmdp.occupancy(table).sum(1)
    fisher = np.zeros((cmdp.states, cmdp.actions) * 2)
    for s, p in enumerate(table):
        fisher[s, :, s, :] = visits[s] / visits.sum() * (np.diag(p) - np.outer(p, p))
    fisher = fisher.reshape(logits.numel(), -1) + 0.1 * np.eye(logits.numel())
    vector = torch.from_numpy(rng.normal(size=logits.numel()))
    product = fisher_product(near.fisher(), near.parameters, 0.1)
    assert np.abs(product(vector).numpy() - fisher @ vector.numpy()).max() < 1e-12
    solved = conjugate_gradients(product, vector, 60, tolerance=1e-26)
    assert np.abs(solved.numpy() - np.linalg.solve(fisher, vector.numpy())).max() < 1e-9


def test_failed_line_search_leaves_every_bit():
    _, policy = fresh_policy("garnet_2c", hidden=(8,))
    before = policy.weights()
    parameters = policy.network.actor_parameters()
    generator = torch.Generator().manual_seed(0)
    step = torch.randn(sum(parameter.numel() for parameter in parameters), generator=generator)
    tried = []

    def refuse():
        tried.append(policy.weights())
        return False

    assert line_search(parameters, step, refuse, tries=15) == 0.0
    assert len(tried) == 15
    assert all(any(np.any(weights[name] != before[name]) for name in before) for weights in tried)
    assert all(np.array_equal(array, before[name]) for name, array in policy.weights().items())


def test_refused_step_of_the_rule_leaves_the_policy_and_still_fits_the_critic():
    """With 1e-30 as radius every step is beyond rounding's reach or refused: the policy must not move."""
    problem, policy = fresh_policy("bandit_budget")
    rule = CPO(policy, problem.constraints, CPOConfig(radius=1e-30, tries=1))
    before = table_of(policy, 1)
    estimate = Estimate(np.array([9.0]), np.array([5.0]), np.array([0.8]), 8)
    old_values = policy.network(vector=torch.eye(1))[1].detach()
    rule.update(policy, random_batch(policy, 1), estimate, 1.0, np.random.default_rng(0))
    assert np.array_equal(before, table_of(policy, 1))
    assert not torch.equal(old_values, policy.network(vector=torch.eye(1))[1].detach())


@pytest.mark.parametrize("violations", [(-0.5, -0.5), (-0.001, 0.02), (0.6, 0.3)])
def test_accepted_steps_keep_every_promise(violations):
    """Divergence within the radius, no cost grows by more than its slack, reward not worse where limits hold."""
    moved = 0
    for seed in range(10):
        _, policy = fresh_policy("garnet_2c", hidden=(8,), seed=seed)
        batch = random_batch(policy, 2, seed=seed, rows=400)
        near = around(policy, batch, 400)
        excess = 0.3 * np.array(violations)
        taken = constrained_step(near, excess, 0.01, CPOConfig())
        with torch.no_grad():
            changes, divergence = near.look()
        moved += taken.fraction > 0
        assert divergence <= 0.01
        assert np.all(changes[1:].double().numpy() <= np.maximum(-excess, 0.0))
        assert changes[0] >= 0 or np.any(excess > 0)
    assert moved >= 8


def test_radius_falls_to_its_share():
    config = CPOConfig(radius=0.02, final_radius=0.04)
    assert radius_now(config, 1.0) == pytest.approx(0.02)
    assert radius_now(config, 0.0) == pytest.approx(0.0008)


@pytest.mark.parametrize("process", EXAMPLES)
def test_exact_advantages_reach_the_optimum_and_stay_within_limits(process):
    cmdp = EXAMPLES[process]()
    optimum = constrained_optimum(cmdp, Highs())
    config = CPOConfig(damping=0.01, conjugate_iterations=30, final_radius=1e-3)
    logits = torch.nn.Parameter(torch.zeros(cmdp.states, cmdp.actions, dtype=torch.float64))
    rounds, worst = 100, None
    for index in range(rounds + 1):
        value, costs = cmdp.evaluate(torch.softmax(logits.detach(), 1).numpy())
        violation = float(((costs - cmdp.limits) / np.abs(cmdp.limits)).max())
        if worst is not None:
            worst = max(worst, violation)
        elif violation <= 1e-9:
            worst = violation
        near = exact_neighbourhood(logits, cmdp)
        constrained_step(near, costs - cmdp.limits, radius_now(config, 1.0 - index / (rounds + 1)), config)
    low, high = cmdp.span()
    assert abs(optimum.value - value) / (high - low) < 1e-3
    assert worst is not None
    # Predictions of costs are first-order in the policy: this is what they may be off by.
    assert worst < 0.005


@pytest.mark.parametrize("process", ["bandit_budget", "two_state"])
def test_sampled_table_comes_close_to_the_optimum(process):
    settings = {"steps": 150_000, "num_envs": 128, "rollout": 16}
    assert_close_to_optimum(train, CPOConfig, process, settings, gap=0.03, violation=0.04)


def test_resumed_equals_uninterrupted():
    assert_resumes(train, CPOConfig)

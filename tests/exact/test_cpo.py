"""Constrained policy optimisation: its subproblem against a convex solver, its steps on exactly known processes."""

import numpy as np
import pytest

from interlock.core.actor_critic.cpo_dual import solve_dual

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

"""Learning rules with exact gradients against the linear program, closed forms and an independent convex optimum."""

import numpy as np
import pytest

from interlock.core.errors import ProvenInfeasible, UsageError
from interlock.core.tabular import dynamics
from interlock.core.tabular.barrier import barrier_ascent, barrier_optimum
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.core.tabular.dynamics import STEPS, Trajectory, lagrangian, relative_violation
from interlock.core.tabular.examples import EXAMPLES, bandit_budget, example, random_garnet, two_state
from interlock.core.tabular.linear_program import constrained_optimum
from interlock.solvers.highs import Highs


def gaps(cmdp: FiniteCMDP, found: Trajectory) -> np.ndarray:
    """Relative to the span of all returns; positive below the optimum."""
    low, high = cmdp.span()
    return (constrained_optimum(cmdp, Highs()).value - found.returns) / (high - low)


# Smallest and largest gap of the last tenth of the iterates, and their largest relative violation.
PLAIN = [
    ("bandit_budget", -0.458, 0.498, 0.92),
    ("two_state", -0.574, 0.245, 2.33),
    ("queue_effort", -0.001, 0.018, 0.0026),
    ("catch_4x4", -0.226, 0.024, 0.84),
    ("garnet_2c", -0.018, 0.067, 0.045),
]


@pytest.mark.parametrize(("name", "low", "high", "violation"), PLAIN)
def test_plain_descent_ascent_circles_and_its_average_hides_it(
    name: str, low: float, high: float, violation: float
) -> None:
    cmdp = example(name)
    found = lagrangian(cmdp, "plain", STEPS[name])
    tail = gaps(cmdp, found.tail())
    assert (tail.min(), tail.max()) == pytest.approx((low, high), abs=6e-4)
    assert relative_violation(found.tail().costs, cmdp.limits).max() == pytest.approx(violation, rel=0.02)
    assert abs(gaps(cmdp, found).mean()) < 0.12
    if name in ("bandit_budget", "two_state"):
        assert tail.max() > 0.2
        assert tail.min() < -0.2


SETTLED = [
    ("bandit_budget", "optimistic", 1e-4, 1e-4),
    ("two_state", "optimistic", 1e-4, 1e-4),
    ("queue_effort", "optimistic", 1e-4, 1e-4),
    ("catch_4x4", "optimistic", 0.0036, 0.013),
    ("garnet_2c", "optimistic", 1.5e-4, 5.5e-4),
    ("bandit_budget", "pi", 1e-4, 1e-4),
    ("two_state", "pi", 1e-4, 1e-4),
    ("queue_effort", "pi", 1e-4, 1e-4),
    ("catch_4x4", "pi", 1e-4, 1e-4),
    ("garnet_2c", "pi", 1e-4, 1e-4),
]


@pytest.mark.parametrize(("name", "method", "gap", "violation"), SETTLED)
def test_optimistic_and_pi_multipliers_settle(name: str, method: str, gap: float, violation: float) -> None:
    cmdp = example(name)
    found = lagrangian(cmdp, method, STEPS[name]).tail()
    assert np.abs(gaps(cmdp, found)).max() < gap
    assert relative_violation(found.costs, cmdp.limits).max() < violation
    exact = constrained_optimum(cmdp, Highs()).multipliers
    np.testing.assert_allclose(found.multipliers.mean(axis=0), exact, rtol=0.02)


@pytest.mark.parametrize(("name", "bias"), [("queue_effort", 0.0135), ("catch_4x4", 0.0023), ("garnet_2c", 0.0003)])
def test_entropy_settles_beside_the_optimum(name: str, bias: float) -> None:
    cmdp = example(name)
    tail = gaps(cmdp, lagrangian(cmdp, "entropy", STEPS[name]).tail())
    np.testing.assert_allclose(tail, bias, atol=6e-5)


def test_entropy_does_not_help_where_steps_are_large() -> None:
    assert np.ptp(gaps(bandit_budget(), lagrangian(bandit_budget(), "entropy", STEPS["bandit_budget"]).tail())) > 0.4


def test_steps_that_are_too_large_make_the_optimistic_rule_circle() -> None:
    found = lagrangian(two_state(), "optimistic", dynamics.Steps(1.0, 1.0, iterations=2000))
    assert np.ptp(gaps(two_state(), found.tail())) > 0.5


def test_proportional_equal_to_integral_gain_is_the_optimistic_dual() -> None:
    violations = np.abs(np.random.default_rng(0).normal(size=(50, 2)))
    optimistic, control = dynamics.gradient_dual(0.3, optimistic=True), dynamics.proportional_dual(0.3, 0.3)
    first = np.array([optimistic(g) for g in violations])
    second = np.array([control(g) for g in violations])
    np.testing.assert_allclose(np.diff(first, axis=0), np.diff(second, axis=0), atol=1e-12)


@pytest.mark.parametrize("gains", [(0.5, 1.0), (0.5, 0.0)])
def test_the_multipliers_of_training_move_as_these_do(gains: tuple[float, float]) -> None:
    """The class that training uses, on relative violations with gains scaled accordingly, gives the same iterates."""
    from interlock.core.actor_critic.config import DualSettings
    from interlock.core.actor_critic.duals import Duals
    from interlock.core.actor_critic.rule import Estimate

    cmdp = two_state()
    scale = (1.0 - cmdp.gamma) * cmdp.limits
    trained = Duals(1, DualSettings(integral=gains[0] * scale[0], proportional=gains[1] * scale[0], smoothing=0.0))

    def dual(violation: np.ndarray) -> np.ndarray:
        trained.update(Estimate(violation, cmdp.limits, violation / scale, 1))
        return trained.multipliers

    found = dynamics.descent_ascent(cmdp, dual, step=0.5, iterations=1000)
    expected = dynamics.descent_ascent(cmdp, dynamics.proportional_dual(*gains), step=0.5, iterations=1000)
    np.testing.assert_allclose(found.returns[:200], expected.returns[:200], atol=1e-9)
    assert (np.ptp(found.tail().returns) > 2.0) == (gains[1] == 0.0)


def test_zero_sum_game() -> None:
    pennies = np.array([[1.0, -1.0], [-1.0, 1.0]])
    plain = dynamics.zero_sum_game(pennies, step=0.1, iterations=5000, optimistic=False)
    optimistic = dynamics.zero_sum_game(pennies, step=0.1, iterations=5000, optimistic=True)
    assert plain[-500:].max() > 1.9
    assert optimistic[-1] < 1e-10
    assert plain[0] == optimistic[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", EXAMPLES)
def test_crpo_reaches_the_optimum_without_multipliers(name: str) -> None:
    cmdp = example(name)
    # Larger steps make up their mind too early in the larger game: it then ends 1.7 % short.
    step, iterations = (0.1, 4000) if name == "catch_5x5" else (0.5, 2000)
    found = dynamics.switching(cmdp, step=step, iterations=iterations)
    best = found.best(cmdp.limits)
    exact = constrained_optimum(cmdp, Highs()).value
    assert (found.costs[best] <= cmdp.limits).all()
    assert exact - 0.01 * abs(exact) <= found.returns[best] <= exact + 1e-9
    assert found.multipliers.size == 0


def test_best_iterate_without_any_within_the_limits() -> None:
    found = Trajectory(np.array([3.0, 1.0, 2.0]), np.array([[4.0], [2.0], [3.0]]), np.zeros((3, 0)), np.ones((1, 1)))
    assert found.best(np.array([3.5])) == 2
    assert found.best(np.array([1.0])) == 1
    assert found.best(np.array([3.9]), tolerance=0.05) == 0


@pytest.mark.parametrize("sharpness", [20.0, 100.0, 500.0])
@pytest.mark.parametrize("name", EXAMPLES)
def test_barrier_ascent_reaches_the_barrier_optimum(name: str, sharpness: float) -> None:
    cmdp = example(name)
    exact, limited = barrier_optimum(cmdp, sharpness, Highs()), constrained_optimum(cmdp, Highs())
    assert exact.bound < 1e-7
    assert -1e-8 <= limited.value - exact.value <= len(cmdp.limits) / sharpness + 1e-8
    found = barrier_ascent(cmdp, sharpness, iterations=1200)
    assert found.returns[-1] == pytest.approx(exact.value, abs=1e-4)
    np.testing.assert_allclose(found.costs[-1], exact.costs, atol=1e-4)
    np.testing.assert_allclose(found.multipliers[-1], exact.multipliers, rtol=1e-2)
    inside = (found.costs < cmdp.limits).all(axis=1)
    assert inside[np.argmax(inside) :].all()


@pytest.mark.parametrize("sharpness", [20.0, 500.0])
def test_the_barrier_optimum_of_a_bandit_in_closed_form(sharpness: float) -> None:
    """J_r = J_c, so the derivative 1 - 1 / (t (5 - J)) is zero at 5 - 1 / t."""
    assert barrier_optimum(bandit_budget(), sharpness, Highs()).value == pytest.approx(5.0 - 1.0 / sharpness, abs=1e-8)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_barrier_optimum_agrees_with_a_conic_solver(seed: int) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    cmdp = random_garnet(seed, costs=1 + seed)
    visits = cvxpy.Variable(cmdp.reward.shape, nonneg=True)
    flow = [
        cvxpy.sum(visits[state]) - cmdp.gamma * cvxpy.sum(cvxpy.multiply(cmdp.transition[:, :, state], visits))
        == cmdp.start[state]
        for state in range(cmdp.states)
    ]
    sums = [cvxpy.sum(cvxpy.multiply(signal, visits)) for signal in cmdp.signals]
    barrier = sum(cvxpy.log(limit - cost) for limit, cost in zip(cmdp.limits, sums[1:], strict=True)) / 20.0
    cvxpy.Problem(cvxpy.Maximize(sums[0] + barrier), flow).solve(solver=cvxpy.CLARABEL)
    found = barrier_optimum(cmdp, 20.0, Highs())
    assert found.value == pytest.approx(float(sums[0].value), abs=1e-4)


def test_no_barrier_where_a_limit_leaves_no_room() -> None:
    with pytest.raises(ProvenInfeasible, match="keeps clear"):
        barrier_optimum(bandit_budget().with_limits([0.0]), 20.0, Highs())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_critic_of_the_penalised_reward_is_the_lagrangian(name: str) -> None:
    """RCPO: at frozen multipliers the critic of r - lam' c at the start is J_r - lam' J_c, by a linear solve."""
    cmdp = example(name)
    multipliers = constrained_optimum(cmdp, Highs()).multipliers
    policy = np.random.default_rng(2).dirichlet(np.ones(cmdp.actions), size=cmdp.states)
    critic = dynamics.expected_td(cmdp, policy, cmdp.reward - np.tensordot(multipliers, cmdp.costs, 1))
    value, costs = cmdp.evaluate(policy)
    assert critic @ cmdp.start == pytest.approx(value - multipliers @ costs, abs=1e-6)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(UsageError, match="no method 'primal'"):
        lagrangian(two_state(), "primal", dynamics.Steps())

"""Exact checks of the core for the installation at hand: every number is computed twice, in two different ways.

A check is a function without arguments that gives a `Check`; ``CHECKS`` lists them in the order of the table. All of
them together take well under a minute.
"""

import math
from collections.abc import Callable

import numpy as np

from interlock.core.environment import Array
from interlock.core.evaluation.protocol import play
from interlock.core.tabular import dynamics
from interlock.core.tabular.barrier import barrier_ascent, barrier_optimum
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.core.tabular.dynamics import STEPS, lagrangian, relative_violation
from interlock.core.tabular.examples import EXAMPLES, example, random_garnet
from interlock.core.tabular.linear_program import constrained_optimum, smallest_attainable
from interlock.core.tabular.problem import table_policy, tabular_problem
from interlock.scenarios.core_check_learning import LEARNING_CHECKS
from interlock.scenarios.core_check_table import Check
from interlock.solvers.highs import Highs


def policy_evaluation() -> Check:
    """Values by a linear solve, and by adding up step after step until nothing is left."""
    worst = 0.0
    for cmdp in (example("garnet_2c"), example("queue_effort"), example("catch_4x4")):
        policy = np.random.default_rng(1).dirichlet(np.ones(cmdp.actions), size=cmdp.states)
        reached, sums = cmdp.start, np.zeros(1 + len(cmdp.limits))
        for _ in range(1200):
            sums = sums + np.einsum("s,sa,ksa->k", reached, policy, cmdp.signals)
            reached = cmdp.gamma * np.einsum("s,sa,sat->t", reached, policy, cmdp.transition)
        value, costs = cmdp.evaluate(policy)
        worst = max(worst, _largest(np.array([value, *costs]) - sums))
    return Check("policy evaluation", "linear solve against the sum over 1,200 steps, 3 processes", worst, 1e-9)


def occupancy_program() -> Check:
    """The optimum of the linear program, its policy evaluated by a linear solve, and its dual by policy iteration."""
    worst = 0.0
    for cmdp in _processes():
        found = constrained_optimum(cmdp, Highs())
        value, costs = cmdp.evaluate(found.policy)
        answer = cmdp.best_response(cmdp.reward - np.tensordot(found.multipliers, cmdp.costs, 1))
        best, best_costs = cmdp.evaluate(answer)
        dual = best - found.multipliers @ (best_costs - cmdp.limits)
        slack = found.multipliers * (cmdp.limits - costs)
        worst = max(worst, abs(value - found.value), abs(dual - found.value), _largest(slack))
    text = "linear program against evaluation, duality and slackness, 12 processes"
    return Check("constrained optimum", text, worst, 1e-7)


def unreachable_limits() -> Check:
    """The smallest attainable cost by linear programming and by policy iteration."""
    worst = 0.0
    for cmdp in _processes():
        for index in range(len(cmdp.limits)):
            smallest = cmdp.evaluate(cmdp.cheapest(index))[1][index]
            worst = max(worst, abs(smallest_attainable(cmdp, Highs(), index) - smallest))
    return Check("smallest attainable cost", "linear program against policy iteration, 12 processes", worst, 1e-7)


def sampled_environment() -> Check:
    """Mean sums over 20,000 random episodes against exact evaluation, in standard errors."""
    worst = 0.0
    for name in ("queue_effort", "garnet_2c", "catch_4x4"):
        problem = tabular_problem(name, Highs())
        policy = problem.optimum.policy
        found = play(problem, table_policy(policy), split="train", count=20_000, num_envs=500)
        value, costs = problem.cmdp.evaluate(policy)
        sums = np.column_stack([found.objective, found.costs])
        errors = (sums.mean(axis=0) - np.array([value, *costs])) / (sums.std(axis=0) / np.sqrt(len(sums)))
        worst = max(worst, _largest(errors))
    text = "means over 20,000 episodes against evaluation, in standard errors"
    return Check("batched environment", text, worst, 4.0)


def plain_multipliers() -> Check:
    """How far the last iterates of plain descent-ascent still are from the optimum: they circle."""
    worst = min(_tail_gap(name, "plain") for name in ("bandit_budget", "two_state"))
    text = "last tenth of the iterates against the linear program, share of the span"
    return Check("plain multipliers circle", text, worst, 0.2, at_least=True)


def optimistic_multipliers() -> Check:
    """The last iterates of optimistic descent-ascent (ReLOAD) against the optimum."""
    worst = max(_tail_gap(name, "optimistic") for name in ("bandit_budget", "two_state", "garnet_2c"))
    text = "last tenth of the iterates against the linear program, share of the span"
    return Check("optimistic multipliers", text, worst, 1e-3)


def pi_multipliers() -> Check:
    """The last iterates under PI multipliers against the optimum."""
    worst = max(_tail_gap(name, "pi") for name in ("bandit_budget", "two_state", "garnet_2c"))
    text = "last tenth of the iterates against the linear program, share of the span"
    return Check("PI multipliers", text, worst, 1e-3)


def optimistic_play() -> Check:
    """Exploitability of the last strategies in matching pennies under optimistic multiplicative weights."""
    pennies = np.array([[1.0, -1.0], [-1.0, 1.0]])
    found = dynamics.zero_sum_game(pennies, step=0.1, iterations=5000, optimistic=True)
    return Check(
        "optimistic play of a game", "exploitability in matching pennies, zero at equilibrium", found[-1], 1e-10
    )


def interior_point() -> Check:
    """Exact-gradient ascent on the barrier against its optimum by Newton's method over occupancies."""
    worst = 0.0
    for name in ("two_state", "queue_effort", "garnet_2c"):
        cmdp = example(name)
        exact = barrier_optimum(cmdp, 20.0, Highs())
        found = barrier_ascent(cmdp, 20.0, iterations=1000)
        worst = max(worst, abs(found.returns[-1] - exact.value), _largest(found.costs[-1] - exact.costs))
    return Check(
        "interior point, exact gradients", "policy ascent against Newton over occupancies, t = 20", worst, 1e-4
    )


def barrier_gap() -> Check:
    """By how much more the barrier optimum lacks to the constrained optimum than it may: ``m / t``."""
    worst = -math.inf
    for cmdp in (example("two_state"), example("queue_effort"), example("garnet_2c")):
        for sharpness in (20.0, 100.0, 500.0):
            lack = constrained_optimum(cmdp, Highs()).value - barrier_optimum(cmdp, sharpness, Highs()).value
            worst = max(worst, float(lack - len(cmdp.limits) / sharpness))
    return Check("barrier gap", "Newton against the linear program: lack beyond m / t", worst, 1e-6)


def constraint_switching() -> Check:
    """The best iterate of CRPO within every limit against the optimum."""
    worst = 0.0
    for name in ("two_state", "queue_effort", "garnet_2c"):
        cmdp = example(name)
        found = dynamics.switching(cmdp, step=0.5, iterations=1500)
        best = found.best(cmdp.limits)
        assert np.all(relative_violation(found.costs[best], cmdp.limits) <= 0.0)
        exact = constrained_optimum(cmdp, Highs()).value
        worst = max(worst, float(abs(found.returns[best] - exact) / abs(exact)))
    return Check(
        "switching, exact gradients", "best feasible iterate against the linear program, relative", worst, 0.01
    )


def penalised_critic() -> Check:
    """The critic of ``r - lam' c`` by temporal differences against ``J_r - lam' J_c`` by a linear solve (RCPO)."""
    worst = 0.0
    for name in ("two_state", "queue_effort", "garnet_2c"):
        cmdp = example(name)
        multipliers, policy = constrained_optimum(cmdp, Highs()).multipliers, cmdp.uniform()
        critic = dynamics.expected_td(cmdp, policy, cmdp.reward - np.tensordot(multipliers, cmdp.costs, 1))
        value, costs = cmdp.evaluate(policy)
        worst = max(worst, abs(float(critic @ cmdp.start - (value - multipliers @ costs))))
    return Check("penalised critic, exact steps", "temporal differences against a linear solve", worst, 1e-3)


CHECKS: tuple[Callable[[], Check], ...] = (
    policy_evaluation,
    occupancy_program,
    unreachable_limits,
    sampled_environment,
    plain_multipliers,
    optimistic_multipliers,
    pi_multipliers,
    optimistic_play,
    interior_point,
    barrier_gap,
    constraint_switching,
    penalised_critic,
    *LEARNING_CHECKS,
)


def _processes() -> list[FiniteCMDP]:
    return [example(name) for name in EXAMPLES] + [random_garnet(seed, costs=1 + seed % 3) for seed in range(6)]


def _tail_gap(name: str, method: str) -> float:
    """Largest distance of the last iterates from the optimal return, relative to the span of all returns."""
    cmdp = example(name)
    low, high = cmdp.span()
    tail = lagrangian(cmdp, method, STEPS[name]).tail()
    return _largest(tail.returns - constrained_optimum(cmdp, Highs()).value) / (high - low)


def _largest(values: Array) -> float:
    return float(np.max(np.abs(values)))

"""PPO with multipliers on finite processes: the last policy against the linear program, and what plain ascent does."""

import numpy as np
import pytest
from learned_tables import QuietRun, assert_close_to_optimum, assert_resumes, table_of

from interlock.core.actor_critic.config import PPOConfig
from interlock.core.actor_critic.ppo import train
from interlock.core.tabular.problem import tabular_problem
from interlock.solvers.highs import Highs

TABLE = {
    "num_envs": 256,
    "minibatch": 8192,
    "learning_rate": 0.02,
    "kl_stop": 1e9,
    "max_gradient": 1e9,
    "gae_lambda": 0.8,
    "steps": 1_200_000,
}
OPTIMISTIC = {"integral": 0.05, "proportional": 0.05, "smoothing": 0.0, "optimistic": True}


@pytest.mark.parametrize(("process", "steps"), [("bandit_budget", 1), ("two_state", 1), ("queue_effort", 2)])
def test_the_last_table_comes_close_to_the_optimum(process, steps):
    settings = {**TABLE, "steps": steps * TABLE["steps"]}
    assert_close_to_optimum(train, PPOConfig, process, settings, gap=0.03, violation=0.03)


def test_plain_ascent_ends_far_from_where_proportional_control_settles():
    problem = tabular_problem("bandit_budget", Highs())
    settings = {**TABLE, "gamma": problem.cmdp.gamma, "network": {"hidden": ()}, "randomised": True}
    policy = train(problem, PPOConfig(**settings, validate_every=10**9, dual={"proportional": 0.0}), QuietRun(seed=0))
    _, costs = problem.cmdp.evaluate(table_of(policy.last or policy, 1))
    assert np.abs(costs - problem.cmdp.limits).max() > 0.1 * problem.cmdp.limits[0]


@pytest.mark.slow
def test_the_optimistic_variant_settles_too():
    settings = {**TABLE, "steps": 5_000_000, "dual": OPTIMISTIC}
    assert_close_to_optimum(train, PPOConfig, "bandit_budget", settings, gap=0.03, violation=0.06)


def test_resumed_equals_uninterrupted():
    assert_resumes(train, PPOConfig)


def test_resumed_in_the_warm_start_of_a_random_teacher_equals_uninterrupted():
    assert_resumes(train, PPOConfig, imitation={"teacher": "uniform", "steps": 64 * 64 * 8}, head="categorical")

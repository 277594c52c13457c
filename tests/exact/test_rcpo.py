"""RCPO: its critic against a linear solve, and tables against the optimum."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learned_tables import assert_close_to_optimum, assert_resumes, fresh_policy, random_batch, table_of
from pydantic import ValidationError

from interlock.core.actor_critic.advantages import generalised_advantages
from interlock.core.actor_critic.config import DualSettings
from interlock.core.actor_critic.method_settings import RCPOConfig
from interlock.core.actor_critic.rcpo import penalised, rcpo_rule, train


def test_advantages_are_those_of_one_critic_of_the_penalised_reward():
    """The combination of columns equals generalised advantages of the penalised signal with one value function."""
    rng = np.random.default_rng(0)
    signals, values, following = rng.normal(size=(3, 40, 5, 3))
    done = rng.random((40, 5)) < 0.1
    terminated = done & (rng.random((40, 5)) < 0.5)
    weights = np.array([1.0, -0.7, -2.0])
    both = {"gamma": 0.9, "decay": 0.8}
    columns = generalised_advantages(signals, values, following, terminated, done, **both)
    alone = generalised_advantages(signals @ weights, values @ weights, following @ weights, terminated, done, **both)
    _, policy = fresh_policy("garnet_2c")
    flat = torch.from_numpy(columns.reshape(-1, 3))
    batch = replace(random_batch(policy, 2, rows=200), advantages=flat, targets=flat)
    seen = penalised(batch, -weights[1:])
    assert np.abs(seen.advantages[:, 0].numpy() - alone.ravel()).max() < 1e-12
    assert torch.all(seen.advantages[:, 1:] == 0)


def test_critic_learns_the_penalised_return():
    """With the multiplier of the linear program and exact one-step targets it equals the policy's linear solve."""
    problem, policy = fresh_policy("two_state")
    cmdp, multiplier = problem.cmdp, problem.optimum.multipliers
    frozen = DualSettings(integral=0.0, proportional=0.0, initial=float(multiplier[0]))
    rule = rcpo_rule(policy, problem.constraints, RCPOConfig(learning_rate=0.05, epochs=10, dual=frozen))
    table = table_of(policy, cmdp.states)
    eye = torch.eye(cmdp.states)
    batch = replace(random_batch(policy, 1, rows=2), inputs={"vector": eye}, advantages=torch.zeros(2, 2).double())
    average = np.einsum("sa,ksa->sk", table, cmdp.signals)
    onward = cmdp.gamma * np.einsum("sa,sat->st", table, cmdp.transition)
    rounds = 150
    for index in range(rounds):
        with torch.no_grad():
            values = policy.network(vector=eye)[1].double().numpy()
        targets = torch.from_numpy(average + onward @ values).float()
        rule.update(policy, replace(batch, targets=targets), None, 1.0 - index / rounds, np.random.default_rng(index))
    assert np.array_equal(table_of(policy, cmdp.states), table)
    learned = cmdp.start @ policy.network(vector=eye)[1].detach().double().numpy()
    value, costs = cmdp.evaluate(table)
    assert learned[0] == pytest.approx(value - multiplier @ costs, abs=1e-3)
    assert learned[1] == pytest.approx(0.0, abs=1e-3)


def test_two_discounts_are_refused():
    with pytest.raises(ValidationError, match="one critic"):
        RCPOConfig(gamma=0.99, cost_gamma=1.0)
    assert RCPOConfig(gamma=0.9, cost_gamma=0.9).cost_gamma == 0.9


@pytest.mark.parametrize("process", ["bandit_budget", "two_state"])
def test_sampled_table_comes_close_to_the_optimum(process):
    settings = {"steps": 400_000, "num_envs": 128, "rollout": 16, "minibatch": 2048, "learning_rate": 0.02}
    assert_close_to_optimum(train, RCPOConfig, process, settings, gap=0.03, violation=0.05)


def test_resumed_equals_uninterrupted():
    assert_resumes(train, RCPOConfig)

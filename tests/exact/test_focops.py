"""FOCOPS: the policy of a single state in closed form, multipliers at their cap, and tables against the optimum."""

import numpy as np
import pytest
import torch
from learned_tables import assert_close_to_optimum, assert_resumes, fresh_policy, random_batch

from interlock.core.actor_critic.focops import focops_loss, focops_rule, train
from interlock.core.actor_critic.method_settings import FOCOPSConfig
from interlock.core.actor_critic.multiplier_rule import CAPPED
from interlock.core.actor_critic.rule import Estimate

TABLE = {"steps": 400_000, "num_envs": 128, "rollout": 16, "minibatch": 2048, "learning_rate": 0.02}


def test_single_state_reaches_the_closed_form():
    """``pi* ~ pi_old exp((A_r - nu A_c) / beta)``, with the expectation over actions taken exactly."""
    rng = np.random.default_rng(0)
    for beta, nu in ((1.5, 0.7), (0.5, 2.0), (3.0, 0.0)):
        old = torch.log_softmax(torch.from_numpy(rng.normal(size=6)), 0)
        reward, cost = torch.from_numpy(rng.normal(size=(2, 6)))
        advantage = reward - nu * cost
        advantage = advantage - (old.exp() * advantage).sum()
        expected = torch.softmax(old + (reward - nu * cost) / beta, 0)
        logits = old.clone().requires_grad_()
        optimiser = torch.optim.LBFGS(
            [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
        )

        def closure(logits=logits, optimiser=optimiser, old=old, advantage=advantage, beta=beta):
            optimiser.zero_grad()
            new = torch.log_softmax(logits, 0)
            divergence = (new.exp() * (new - old)).sum().expand(6)
            # Each action stands for its share of the decisions: 6 times its old probability makes the mean exact.
            weight = 6.0 * old.exp()
            ratio = (new - old).exp() * weight
            loss = focops_loss(divergence, ratio, advantage, beta, None)
            loss.backward()
            return loss

        optimiser.step(closure)
        assert (torch.softmax(logits.detach(), 0) - expected).abs().max() < 1e-5


def test_states_beyond_the_mask_give_no_gradient():
    new = torch.tensor([0.1, 0.5], requires_grad=True)
    loss = focops_loss(new.square(), new.exp(), torch.tensor([1.0, 1.0]), 1.5, 0.02)
    [slope] = torch.autograd.grad(loss, new)
    assert slope[1] == 0.0
    assert slope[0] == pytest.approx((2 * 0.1 - np.exp(0.1) / 1.5) / 2, rel=1e-5)


def test_a_multiplier_at_its_cap_is_reported_once():
    problem, policy = fresh_policy("bandit_budget")
    rule = focops_rule(policy, problem.constraints, FOCOPSConfig(epochs=1))
    violated = Estimate(np.array([9.0]), np.array([5.0]), np.array([3.0]), 8)
    told = []
    for index in range(CAPPED + 5):
        rule.update(policy, random_batch(policy, 1, seed=index), violated, 1.0, np.random.default_rng(index))
        told.append(rule.warnings())
    assert [len(messages) for messages in told] == [index == CAPPED - 1 for index in range(CAPPED + 5)]
    assert "constraint cost" in told[CAPPED - 1][0]
    assert "cap of 2" in told[CAPPED - 1][0]
    rule.update(policy, random_batch(policy, 1, seed=99), None, 1.0, np.random.default_rng(0))
    assert rule.duals.current[0] == 2.0


@pytest.mark.parametrize("process", ["bandit_budget", "two_state"])
def test_sampled_table_comes_close_to_the_optimum(process):
    assert_close_to_optimum(train, FOCOPSConfig, process, TABLE, gap=0.03, violation=0.05)


def test_resumed_equals_uninterrupted():
    assert_resumes(train, FOCOPSConfig)

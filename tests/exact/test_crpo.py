"""CRPO: what it works on, that it keeps no multipliers, and tables against the optimum."""

import numpy as np
import pytest
import torch
from learned_tables import assert_close_to_optimum, assert_resumes, exact_neighbourhood, fresh_policy, random_batch

from interlock.core.actor_critic.crpo import CRPO, choose_signal, train
from interlock.core.actor_critic.method_settings import CRPOConfig
from interlock.core.actor_critic.rule import Estimate
from interlock.core.actor_critic.trust_region import ascend, radius_now
from interlock.core.tabular.examples import EXAMPLES
from interlock.core.tabular.linear_program import constrained_optimum
from interlock.solvers.highs import Highs


def test_the_relatively_most_violated_cost_is_reduced():
    assert choose_signal(np.zeros(0), 0.02) == 0
    assert choose_signal(np.array([0.02, -3.0]), 0.02) == 0
    assert choose_signal(np.array([0.03, 0.2, 0.1]), 0.02) == 2


def test_no_multipliers_are_kept_and_the_decision_lasts_until_the_next_measurement():
    problem, policy = fresh_policy("garnet_2c")
    rule = CRPO(policy, problem.constraints, CRPOConfig())
    violated = Estimate(np.array([7.0, 9.0]), problem.cmdp.limits, np.array([0.1, 0.5]), 8)
    for estimate, signal in ((None, 0), (violated, 2), (None, 2)):
        figures = rule.update(policy, random_batch(policy, 2), estimate, 1.0, np.random.default_rng(0))
        assert figures["train/signal"] == signal
        assert not any("multiplier" in name for name in figures)
    assert {name for name in rule.state() if not name.startswith("critic/")} == {"signal"}


@pytest.mark.parametrize("process", [name for name in EXAMPLES if name != "catch_5x5"])
def test_natural_gradient_tables_have_a_feasible_iterate_near_the_optimum(process):
    cmdp = EXAMPLES[process]()
    optimum = constrained_optimum(cmdp, Highs())
    config = CRPOConfig(damping=0.01, conjugate_iterations=30, final_radius=1e-5, tolerance=0.0)
    logits = torch.nn.Parameter(torch.zeros(cmdp.states, cmdp.actions, dtype=torch.float64))
    rounds, best = 250, -np.inf
    for index in range(rounds):
        value, costs = cmdp.evaluate(torch.softmax(logits.detach(), 1).numpy())
        violation = (costs - cmdp.limits) / np.abs(cmdp.limits)
        best = max(best, value) if violation.max() <= 1e-9 else best
        signal = choose_signal(violation, config.tolerance)
        sign = 1.0 if signal == 0 else -1.0
        ascend(
            exact_neighbourhood(logits, cmdp),
            lambda changes, signal=signal, sign=sign: sign * changes[signal],
            radius_now(config, 1.0 - index / rounds),
            config,
        )
    low, high = cmdp.span()
    assert 0.0 <= (optimum.value - best + 1e-9) / (high - low) < 0.01


@pytest.mark.parametrize("process", ["bandit_budget", "two_state"])
def test_sampled_table_comes_close_to_the_optimum(process):
    settings = {"steps": 150_000, "num_envs": 128, "rollout": 16}
    assert_close_to_optimum(train, CRPOConfig, process, settings, gap=0.05, violation=0.06)


def test_resumed_equals_uninterrupted():
    assert_resumes(train, CRPOConfig)

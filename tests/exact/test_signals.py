"""Cost signals, multipliers, the chosen policy, verdicts on limits: against sums, identities and exact policies."""

import copy

import numpy as np
import pytest
import torch

from interlock.core.actor_critic.config import DualSettings, NetworkSettings, PPOConfig
from interlock.core.actor_critic.duals import Duals
from interlock.core.actor_critic.ppo import train
from interlock.core.actor_critic.reach import Reach
from interlock.core.actor_critic.rule import Estimate
from interlock.core.actor_critic.selection import Selection
from interlock.core.actor_critic.signals import CostSignals
from interlock.core.errors import ProvenInfeasible
from interlock.core.evaluation.evidence import measure_constraints
from interlock.core.evaluation.protocol import Outcomes
from interlock.core.evaluation.statistics import resample_rows
from interlock.core.heads_discrete import CategoricalHead
from interlock.core.network_policy import NetworkPolicy
from interlock.core.networks import build_network
from interlock.core.problem import Constraint, Objective
from interlock.core.tabular.problem import tabular_problem
from interlock.core.training import MemoryRun
from interlock.solvers.highs import Highs

LEVEL = 0.8
CONSTRAINTS = (
    Constraint("total", "cumulative", 1.5, "1"),
    Constraint("never", "hard", 0.0, "1"),
    Constraint("average", "mean", 0.2, "1"),
    Constraint("breach", "chance", 0.3, "1"),
    Constraint("tail", "cvar", 2.0, "1", level=LEVEL),
    Constraint("credit", "cvar", -1.0, "1", level=LEVEL),
)
LEARNED = [0, 2, 3, 4, 5]


def random_play(steps=60, rows=9, seed=0):
    """Costs of either sign ``(T, n, 6)``, and which steps end an episode."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.1, 0.5, size=(steps, rows, len(CONSTRAINTS))), rng.random((steps, rows)) < 0.2


def episodes_of(costs, done):
    """``(rows and slices of steps)`` of the finished episodes, in the order in which they finished."""
    found = []
    for row in range(done.shape[1]):
        begin = 0
        for end in np.flatnonzero(done[:, row]):
            found.append((end, row, slice(begin, end + 1)))
            begin = end + 1
    return [(row, steps) for _, row, steps in sorted(found, key=lambda each: each[:2])]


def smallest_over_eta(values):
    """Conditional value at risk as the minimum of Rockafellar and Uryasev, which lies at one of the values."""
    return min(eta + np.maximum(values - eta, 0.0).mean() / (1.0 - LEVEL) for eta in values)


# Signals ----------------------------------------------------------------------------------------------------------


def test_hard_constraints_are_not_for_learning():
    signals = CostSignals(CONSTRAINTS, 3)
    assert [constraint.name for constraint in signals.constraints] == ["total", "average", "breach", "tail", "credit"]
    assert signals.step(np.ones((3, 6)), np.zeros(3, bool)).shape == (3, 5)


def test_the_signals_of_an_episode_sum_to_the_constrained_quantity():
    costs, done = random_play()
    signals = CostSignals(CONSTRAINTS, costs.shape[1])
    emitted = np.stack([signals.step(cost, end) for cost, end in zip(costs, done, strict=True)])
    episodes = episodes_of(costs, done)
    assert len(episodes) > 50
    for row, steps in episodes:
        cost, got = costs[steps, row][:, LEARNED], emitted[steps, row].sum(axis=0)
        # No estimate was taken, so eta is still where it starts: at the limit.
        expected = [
            cost[:, 0].sum(),
            (cost[:, 1] - 0.2).sum(),
            float((cost[:, 2] > 0).any()),
            max(cost[:, 3].sum() - 2.0, 0.0) / (1 - LEVEL),
            max(cost[:, 4].sum() + 1.0, 0.0) / (1 - LEVEL),
        ]
        assert got == pytest.approx(expected, abs=1e-12)


def test_a_violation_counts_once_though_signed_costs_cancel():
    signals = CostSignals((Constraint("breach", "chance", 0.1, "1"),), 1)
    going = np.zeros(1, bool)
    emitted = [signals.step(np.array([[cost]]), going)[0, 0] for cost in (-1.0, 0.4, -5.0, 0.7)]
    assert emitted == [0.0, 1.0, 0.0, 0.0]


def test_estimates_are_over_finished_episodes_since_the_last_estimate():
    costs, done = random_play(steps=90)
    signals = CostSignals(CONSTRAINTS, costs.shape[1], least_episodes=10)
    episodes, begun, compared = episodes_of(costs, done), 0, 0
    for t in range(len(costs)):
        signals.step(costs[t], done[t])
        finished = [(row, steps) for row, steps in episodes if steps.stop <= t + 1]
        estimate = signals.estimate()
        if len(finished) - begun < 10:
            assert estimate is None
            continue
        new = [costs[steps, row][:, LEARNED] for row, steps in finished[begun:]]
        sums = np.array([cost.sum(axis=0) for cost in new])
        expected = [
            sums[:, 0].mean(),
            sums[:, 1].sum() / sum(len(cost) for cost in new),
            np.mean([(cost[:, 2] > 0).any() for cost in new]),
            smallest_over_eta(sums[:, 3]),
            smallest_over_eta(sums[:, 4]),
        ]
        assert estimate.episodes == len(new)
        assert estimate.value == pytest.approx(expected, abs=1e-9)
        limits = np.array([1.5, 0.2, 0.3, 2.0, -1.0])
        assert estimate.violation == pytest.approx((np.array(expected) - limits) / np.abs(limits), abs=1e-9)
        begun, compared = len(finished), compared + 1
    assert compared >= 8


def test_margin_and_floor_of_relative_violations():
    constraints = (Constraint("a", "cumulative", 2.0, "1"), Constraint("b", "cumulative", 0.0, "1"))
    signals = CostSignals(constraints, 1, least_episodes=1, floor=0.5, margin=0.1)
    signals.step(np.array([[2.0, 1.0]]), np.ones(1, bool))
    estimate = signals.estimate()
    assert estimate.limit == pytest.approx([1.8, 0.0])
    assert estimate.violation == pytest.approx([0.2 / 1.8, 2.0])


def test_eta_settles_at_the_quantile():
    rng = np.random.default_rng(3)
    signals = CostSignals((Constraint("tail", "cvar", 0.0, "1", level=0.9),), 100)
    for _ in range(400):
        signals.step(rng.normal(5.0, 2.0, size=(100, 1)), np.ones(100, bool))
        signals.estimate()
    assert signals.quantile[0] == pytest.approx(5.0 + 2.0 * 1.2815516, abs=0.5)


def test_signals_go_on_from_a_state():
    costs, done = random_play()
    signals, other = CostSignals(CONSTRAINTS, 9), CostSignals(CONSTRAINTS, 9)
    for t in range(30):
        signals.step(costs[t], done[t])
        if t % 11 == 10:
            assert signals.estimate() is not None
    kept = signals.state()
    frozen = copy.deepcopy(kept)
    first = [signals.step(costs[t], done[t]) for t in range(30, 60)]
    estimate = signals.estimate()
    assert all(np.array_equal(kept[name], frozen[name]) for name in frozen)
    other.restore(kept)
    assert np.array_equal(first, [other.step(costs[t], done[t]) for t in range(30, 60)])
    again = other.estimate()
    assert np.array_equal(estimate.value, again.value)
    assert estimate.episodes == again.episodes


# Multipliers ------------------------------------------------------------------------------------------------------


def measured(*violation):
    g = np.array(violation, float)
    return Estimate(g, np.zeros_like(g), g, 10)


def test_changes_of_the_multiplier_follow_the_identity_of_proportional_and_integral_control():
    rng = np.random.default_rng(0)
    settings = DualSettings(integral=0.3, proportional=0.7, smoothing=0.0, initial=50.0)
    duals, before = Duals(3, settings), np.zeros(3)
    duals.update(measured(*before))
    for _ in range(40):
        g, past = rng.normal(size=3), duals.current
        duals.update(measured(*g))
        assert duals.current - past == pytest.approx(0.3 * g + 0.7 * (g - before), abs=1e-12)
        before = g


def test_equal_gains_are_the_optimistic_step_and_no_proportional_gain_is_plain_ascent():
    rng = np.random.default_rng(1)
    both, plain = (
        Duals(1, DualSettings(integral=0.2, proportional=p, smoothing=0.0, initial=50.0)) for p in (0.2, 0.0)
    )
    g = rng.normal(size=(30, 1))
    for k in range(30):
        past = both.current, plain.current
        both.update(measured(*g[k]))
        plain.update(measured(*g[k]))
        assert plain.current - past[1] == pytest.approx(0.2 * g[k], abs=1e-12)
        if k:
            assert both.current - past[0] == pytest.approx(0.2 * (2 * g[k] - g[k - 1]), abs=1e-12)


def test_the_derivative_is_the_rise_over_the_delay_and_never_negative():
    settings = DualSettings(integral=0.0, proportional=0.0, derivative=2.0, delay=3)
    duals, costs = Duals(1, settings), [0.0, 0.1, 0.4, 0.2, 0.9, -0.5]
    found = []
    for cost in costs:
        duals.update(measured(cost))
        found.append(duals.current[0])
    # Until three measurements are there, the first one is what the cost has risen from.
    rises = [0.0, 0.1, 0.4, 0.2 - 0.0, 0.9 - 0.1, max(0.0, -0.5 - 0.4)]
    assert found == pytest.approx([2.0 * rise for rise in rises])


def test_violations_beyond_the_largest_count_as_the_largest():
    settings = DualSettings(integral=0.1, proportional=2.0, smoothing=0.5, largest_violation=1.0)
    plain = DualSettings(integral=0.1, proportional=2.0, smoothing=0.5)
    capped, same = Duals(2, settings), Duals(2, plain)
    for first, second in ((19.0, -0.5), (3.0, 0.7), (0.4, -1.0), (1.5, 0.2)):
        capped.update(measured(first, second))
        same.update(measured(min(first, 1.0), second))
        assert capped.current == pytest.approx(same.current, abs=1e-15)


def test_a_rare_event_that_stops_frees_the_policy_as_soon_as_it_bound_it():
    # Limit 0.05: 20 episodes that all collapse, then as many in which none does. In full, 19 would count against 1.
    rates = [1.0] * 20 + [0.0] * 20
    settings = DualSettings(integral=0.1, proportional=0.0)
    full, equal = Duals(1, settings), Duals(1, settings.model_copy(update={"largest_violation": 1.0}))
    for rate in rates:
        full.update(measured((rate - 0.05) / 0.05))
        equal.update(measured((rate - 0.05) / 0.05))
    assert full.current[0] == pytest.approx(20 * 1.9 - 20 * 0.1)
    assert equal.current[0] == pytest.approx(0.0, abs=1e-12)


def test_the_multiplier_leaves_its_cap_with_the_violation():
    duals = Duals(1, DualSettings(integral=1.0, proportional=2.0, smoothing=0.0, largest=10.0))
    for _ in range(200):
        duals.update(measured(1.0))
        assert duals.current[0] <= 10.0
    assert duals.current[0] == 10.0
    duals.update(measured(-0.1))
    assert duals.current[0] < 10.0
    # The sum stopped where the multiplier reached its cap, 8 updates in, instead of 200.
    assert duals.current[0] == pytest.approx(8.0 - 0.1 - 0.2)


def test_multipliers_are_never_negative():
    duals = Duals(2, DualSettings(optimistic=True))
    rng = np.random.default_rng(2)
    for _ in range(50):
        duals.update(measured(*rng.normal(-1.0, 1.0, size=2)))
        assert (duals.current >= 0).all()
        assert (duals.multipliers >= 0).all()


def test_optimistic_multipliers_are_extrapolated():
    duals = Duals(1, DualSettings(integral=0.5, proportional=0.0, optimistic=True, initial=1.0))
    assert duals.multipliers == pytest.approx([1.0])
    duals.update(measured(1.0))
    assert duals.current == pytest.approx([1.5])
    assert duals.multipliers == pytest.approx([2.0])
    duals.update(measured(-2.5))
    assert duals.multipliers == pytest.approx([0.0])
    capped = Duals(1, DualSettings(integral=4.0, proportional=0.0, optimistic=True, largest=5.0))
    capped.update(measured(1.0))
    assert capped.current == pytest.approx([4.0])
    assert capped.multipliers == pytest.approx([5.0])


def test_multipliers_go_on_from_a_state():
    settings = DualSettings(derivative=0.5, cost_smoothing=0.4, delay=4, optimistic=True)
    g = np.random.default_rng(4).normal(size=(20, 2))
    for stop in (0, 2, 9):
        one, two = Duals(2, settings), Duals(2, settings)
        for violation in g[:stop]:
            one.update(measured(*violation))
        two.restore(copy.deepcopy(one.state()))
        for violation in g[stop:]:
            one.update(measured(*violation))
            two.update(measured(*violation))
            assert np.array_equal(one.multipliers, two.multipliers)


# The chosen policy ------------------------------------------------------------------------------------------------


def bandit_policy(problem, chance):
    """Takes the first action of ``bandit_budget``, which earns and costs 1, with this probability."""
    view = problem.environment(1, seed=0, split="train").reset()
    encoder = problem.encoders()["vector"]
    network = build_network(encoder(view), CategoricalHead(2), NetworkSettings(hidden=()), 0, signals=2)
    policy = NetworkPolicy(network, encoder, {"randomised": True})
    become(policy, chance)
    return policy


def become(policy, chance):
    with torch.no_grad():
        policy.network.actor[0].weight.zero_()
        policy.network.actor[0].bias.copy_(torch.tensor([np.log(chance / (1 - chance)), 0.0]))


@pytest.mark.parametrize("objective", [Objective("J", "1", "maximise"), Objective("J", "1", "minimise", -1.0)])
def test_the_best_feasible_policy_is_kept(objective):
    problem = tabular_problem("bandit_budget", Highs(), evaluation={"validation_instances": 400})
    problem.objective = objective
    policy = bandit_policy(problem, 0.9)
    selection = Selection(problem, policy)
    # Expected cost is 10 x probability, the limit 5; standings: 0 beyond it, 1 by the mean alone, 2 with certainty.
    standings, kept = [], []
    for chance in (0.9, 0.7, 0.8, 0.48, 0.2, 0.48, 0.3, 0.1, 0.9):
        become(policy, chance)
        figures = selection.validate()
        assert figures["eval/objective"] == pytest.approx(objective.per_reward * 10 * chance, rel=0.15)
        standings.append(selection.best.standing)
        kept.append(figures["eval/best"] / objective.per_reward / 10)
    assert standings == [0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert kept == pytest.approx([0.9, 0.7, 0.7, 0.48, 0.2, 0.2, 0.3, 0.3, 0.3], rel=0.15)
    chosen = selection.chosen()
    assert torch.sigmoid(chosen.network.actor[0].bias[0]).item() == pytest.approx(0.3)
    assert chosen.last is policy
    become(policy, 0.3)
    assert selection.chosen() is policy
    assert policy.last is None


# Limits out of reach ----------------------------------------------------------------------------------------------

SETTINGS = PPOConfig(
    steps=100_000,
    num_envs=128,
    rollout=32,
    gamma=0.95,
    learning_rate=0.02,
    randomised=True,
    validate_every=10**9,
    network=NetworkSettings(hidden=()),
    dual=DualSettings(largest=2.0),
)


def test_a_limit_that_no_policy_can_keep_is_named_at_the_end_and_its_multiplier_at_the_cap():
    problem = tabular_problem("garnet_2c", Highs(), limits=(2.0, 30.0), evaluation={"validation_instances": 50})
    with pytest.raises(ProvenInfeasible):
        problem.optimum  # noqa: B018
    run = MemoryRun(seed=0)
    train(problem, SETTINGS, run)
    [cap, warning] = run.warnings
    assert cap.startswith("the multiplier of constraint cost_1 has been at its cap of 2 for 20 updates")
    measurements = [row["constraint/cost_1/mean"] for row in run.curves if "constraint/cost_1/mean" in row]
    late = np.mean(measurements[-max(1, round(0.1 * len(measurements))) :])
    assert warning.startswith(f"constraint cost_1 was not met in training: {late:.4g} 1 at the end")
    assert f"against a limit of 2; the smallest measured was {min(measurements):.4g}" in warning


def test_a_constraint_that_was_never_measured_is_named():
    problem = tabular_problem("bandit_budget", Highs(), evaluation={"validation_instances": 50})
    run = MemoryRun(seed=0)
    train(problem, SETTINGS.model_copy(update={"steps": 5000, "least_episodes": 100_000}), run)
    assert any("constraint cost was never measured" in message for message in run.warnings)
    assert run.curves[-2]["constraint/skipped_updates"] == 2.0


def test_a_limit_that_is_kept_gives_no_verdict():
    reach = Reach((Constraint("cost", "cumulative", 5.0, "1"),))
    for violation in [0.5] * 20 + [0.01] * 5:
        reach.follow(Estimate(np.array([5 + 5 * violation]), np.array([5.0]), np.array([violation]), 9))
    assert reach.verdict() == []
    other = Reach(reach.constraints)
    other.restore(reach.state())
    for each in (reach, other):
        each.follow(Estimate(np.array([8.0]), np.array([5.0]), np.array([0.6]), 9))
        each.follow(None)
    # A tenth of the 26 estimates are three: 5.05, 5.05 and 8.
    assert "6.033 1 at the end against a limit of 5; the smallest measured was 5.05" in reach.verdict()[0]
    assert reach.verdict() == other.verdict()
    assert other.skipped == 1


def test_a_violation_that_later_costs_make_up_for_counts_in_learning_and_in_evidence():
    constraint = Constraint("cost", "chance", 0.05, "share")
    signals = CostSignals([constraint], 1, least_episodes=1)
    signals.step(np.array([[1.0]]), np.array([False]))
    signals.step(np.array([[-5.0]]), np.array([True]))
    assert signals.estimate().value[0] == 1.0
    count = 100
    outcomes = Outcomes(
        np.zeros(count), np.full((count, 1), -4.0), np.ones((count, 1), bool), np.full(count, 2), np.ones(count), {}
    )
    found = measure_constraints([constraint], outcomes, resample_rows(count))["cost"]
    assert (found.mean, found.satisfied) == (1.0, False)


def test_a_reserve_that_is_used_a_little_is_no_broken_limit():
    reach = Reach([Constraint("cost", "cumulative", 10.0, "kg")])
    limits = np.array([9.0])
    for value in (20.0, *[9.5] * 30):
        reach.follow(Estimate(np.array([value]), limits, (value - limits) / 9.0, 10))
    assert reach.verdict() == []
    for _ in range(30):
        reach.follow(Estimate(np.array([10.5]), limits, (10.5 - limits) / 9.0, 10))
    assert "10.5 kg at the end against a limit of 10" in reach.verdict()[0]


def test_mean_costs_are_sums_over_lengths_as_their_signal_has_it():
    signals = CostSignals([Constraint("cost", "mean", 0.2, "1")], 1, least_episodes=2)
    total = float(signals.step(np.array([[1.0]]), np.array([True]))[0, 0])
    for t in range(99):
        total += float(signals.step(np.array([[0.0]]), np.array([t == 98]))[0, 0])
    estimate = signals.estimate()
    assert estimate.value[0] == pytest.approx(1 / 100)
    assert total == pytest.approx(100 * (estimate.value[0] - 0.2))


def test_nothing_is_extrapolated_while_nothing_is_measured():
    duals = Duals(1, DualSettings(integral=1.0, proportional=1.0, smoothing=0.0, optimistic=True))
    for violation in (0.5, 1.0):
        duals.update(Estimate(np.zeros(1), np.zeros(1), np.array([violation]), 8))
    assert duals.multipliers[0] > duals.current[0]
    duals.hold()
    assert duals.multipliers[0] == duals.current[0]

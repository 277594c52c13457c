"""Finite decision processes: the linear program against stored optima, policy evaluation and duality."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interlock.core.errors import BadInput, ProvenInfeasible
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.core.tabular.examples import EXAMPLES, bandit_budget, example, random_garnet, two_state
from interlock.core.tabular.linear_program import constrained_optimum, policy_of
from interlock.solvers.highs import Highs

GARNETS = [(seed, 1 + seed % 3) for seed in range(20)]


@pytest.fixture(scope="module")
def stored(root: Path) -> dict:
    path = root.parent / "shared" / "data" / "core" / "tabular_cmdps.json"
    if not path.is_file():
        pytest.skip("no shared/data/core/tabular_cmdps.json beside the checkout")
    return json.loads(path.read_text())


def dense(entry: dict) -> np.ndarray:
    transition = np.zeros((entry["S"], entry["A"], entry["S"]))
    for state, action, following, probability in entry["P"]:
        transition[state, action, following] += probability
    return transition


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_the_stored_ones(stored: dict, name: str) -> None:
    entry, cmdp = stored[name], example(name)
    assert cmdp.gamma == entry["gamma"]
    for built, kept in (
        (cmdp.transition, dense(entry)),
        (cmdp.reward, entry["r"]),
        (cmdp.costs, entry["costs"]),
        (cmdp.start, entry["mu"]),
        (cmdp.limits, entry["budgets"]),
    ):
        np.testing.assert_allclose(built, kept, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_linear_program_gives_the_stored_optimum(stored: dict, name: str) -> None:
    kept, cmdp = stored[name]["optimum"], example(name)
    found = constrained_optimum(cmdp, Highs())
    low, high = cmdp.span()
    assert found.value == pytest.approx(kept["J"], abs=1e-8)
    assert found.unconstrained == pytest.approx(kept["unconstrained_J"], abs=1e-8)
    assert (low, high) == pytest.approx((kept["worst_J"], kept["unconstrained_J"]), abs=1e-8)
    np.testing.assert_allclose(found.multipliers, kept["multipliers"], atol=1e-8)
    np.testing.assert_allclose(found.costs, kept["costs"], atol=1e-8)


def cases() -> list[FiniteCMDP]:
    return [example(name) for name in EXAMPLES] + [random_garnet(seed, costs=costs) for seed, costs in GARNETS]


@pytest.mark.parametrize("cmdp", cases(), ids=lambda cmdp: f"{cmdp.name}-{len(cmdp.limits)}")
def test_properties_of_the_optimum(cmdp: FiniteCMDP) -> None:
    found = constrained_optimum(cmdp, Highs())
    value, costs = cmdp.evaluate(found.policy)
    assert value == pytest.approx(found.value, abs=1e-8)
    np.testing.assert_allclose(costs, found.costs, atol=1e-8)
    np.testing.assert_allclose(cmdp.occupancy(found.policy), found.occupancy, atol=1e-8)
    assert (costs <= cmdp.limits + 1e-8).all()
    # complementary slackness and the sign of the prices
    assert (found.multipliers >= -1e-10).all()
    np.testing.assert_allclose(found.multipliers * (cmdp.limits - costs), 0.0, atol=1e-8)
    # strong duality: the best unconstrained answer to the prices, by policy iteration
    priced = cmdp.reward - np.einsum("k,ksa->sa", found.multipliers, cmdp.costs)
    answer, answer_costs = cmdp.evaluate(cmdp.best_response(priced))
    dual = answer - found.multipliers @ answer_costs + found.multipliers @ cmdp.limits
    assert dual == pytest.approx(found.value, abs=1e-8)
    # a vertex randomises in at most m states
    visited = found.occupancy.sum(axis=1) > 1e-9
    randomising = ((found.policy > 1e-9).sum(axis=1) > 1) & visited
    assert randomising.sum() <= len(cmdp.limits)


@pytest.mark.parametrize(("seed", "costs"), GARNETS)
def test_limits_of_random_processes_bind_or_nearly(seed: int, costs: int) -> None:
    cmdp = random_garnet(seed, costs=costs)
    found = constrained_optimum(cmdp, Highs())
    assert found.value < found.unconstrained - 1e-3
    assert (found.costs > 0.9 * cmdp.limits).all()
    assert (found.multipliers > 0).any()
    assert (cmdp.evaluate(cmdp.unconstrained())[1] > cmdp.limits).all()


def test_best_response_beats_every_deterministic_policy() -> None:
    cmdp = random_garnet(3, states=4, actions=3)
    tables = (np.eye(3)[list(np.unravel_index(k, (3,) * 4))] for k in range(3**4))
    returns = [cmdp.evaluate(table)[0] for table in tables]
    assert cmdp.span() == pytest.approx((min(returns), max(returns)), abs=1e-12)


def test_evaluation_agrees_with_summing_over_time() -> None:
    cmdp = example("garnet_2c")
    policy = np.random.default_rng(1).dirichlet(np.ones(4), size=20)
    reached, sums, visits = cmdp.start, np.zeros(3), np.zeros((20, 4))
    for step in range(1000):
        taken = cmdp.gamma**step * reached[:, None] * policy
        visits += taken
        sums += np.einsum("sa,ksa->k", taken, cmdp.signals)
        reached = np.einsum("s,sa,sat->t", reached, policy, cmdp.transition)
    value, costs = cmdp.evaluate(policy)
    np.testing.assert_allclose([value, *costs], sums, atol=1e-10)
    np.testing.assert_allclose(cmdp.occupancy(policy), visits, atol=1e-10)
    np.testing.assert_allclose(policy_of(visits), policy, atol=1e-10)
    advantages = cmdp.advantages(policy)
    np.testing.assert_allclose(np.einsum("sa,ksa->ks", policy, advantages), 0.0, atol=1e-10)
    np.testing.assert_allclose(advantages + cmdp.values(policy)[:, :, None], cmdp.q_values(policy))


def test_missing_probability_ends_the_episode() -> None:
    explicit = example("catch_4x4")
    kept = ~explicit.terminal
    assert kept.sum() == 64
    implicit = replace(
        explicit,
        transition=explicit.transition[kept][:, :, kept],
        reward=explicit.reward[kept],
        costs=explicit.costs[:, kept],
        start=explicit.start[kept],
    )
    assert constrained_optimum(implicit, Highs()).value == pytest.approx(0.49933507360406093, abs=1e-8)


def test_an_unreachable_limit_is_named_with_what_can_be_reached() -> None:
    with pytest.raises(ProvenInfeasible, match=r"infeasible: the smallest attainable cost of cost is 0 \(limit -1\)"):
        constrained_optimum(replace(bandit_budget(), limits=[-1.0]), Highs())
    work = two_state().costs[0]
    opposed = replace(two_state(), costs=[work, 1.0 - work], limits=[3.0, 5.0], cost_names=("work", "idle"))
    smallest = [opposed.evaluate(opposed.cheapest(k))[1][k] for k in range(2)]
    assert smallest == pytest.approx([0.0, 0.0])
    with pytest.raises(ProvenInfeasible) as raised:
        constrained_optimum(opposed, Highs())
    # work + idle = 10 whatever is done, so 3 (1 + z) + 5 (1 + z) = 10.
    assert "the smallest attainable cost of work is 0 (limit 3)" in str(raised.value)
    assert "raised by 25.000000%" in str(raised.value)
    with pytest.raises(ProvenInfeasible) as raised:
        constrained_optimum(replace(opposed, limits=[-1.0, 5.0]), Highs())
    assert "raised" not in str(raised.value)


def test_no_constraint_gives_the_unconstrained_policy() -> None:
    free = replace(two_state(), costs=np.zeros((0, 2, 2)), limits=[], cost_names=())
    found = constrained_optimum(free, Highs())
    assert found.value == pytest.approx(10.0)
    assert found.costs.shape == found.multipliers.shape == (0,)


def test_bad_input_lists_everything() -> None:
    cmdp = two_state()
    transition = np.array(cmdp.transition)
    transition[0, 0] = [1.2, -0.1]
    reward = np.array(cmdp.reward)
    reward[1, 1] = np.nan
    with pytest.raises(BadInput) as raised:
        replace(cmdp, transition=transition, reward=reward, limits=[np.inf], gamma=1.0, start=[0.5, 0.4])
    assert raised.value.problems == (
        "reward[1, 1]: nan is not a finite number",
        "limits[0]: inf is not a finite number",
        "gamma: 1.0 is not in [0, 1)",
        "transition[0, 0, 1]: probability -0.1 is negative",
        "transition[0, 0]: probabilities sum to 1.1, more than 1",
        "start: probabilities sum to 0.9, not 1",
    )
    with pytest.raises(BadInput) as raised:
        replace(cmdp, transition=np.ones((2, 2)), costs=np.zeros((1, 2, 3)), start=np.ones(3) / 3)
    assert [problem.split(":")[0] for problem in raised.value.problems] == ["transition", "costs", "start"]
    with pytest.raises(BadInput, match="'c' is there twice"):
        replace(example("garnet_2c"), cost_names=("c", "c"))
    with pytest.raises(BadInput, match="garnet_2c"):
        example("no such")

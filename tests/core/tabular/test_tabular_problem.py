"""The environment over a finite decision process: against exact evaluation, and against the contract."""

from dataclasses import replace

import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.core.evaluation.protocol import play
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.core.tabular.environment import TabularEnvironment
from interlock.core.tabular.examples import EXAMPLES, example
from interlock.core.tabular.problem import TabularProblem, TabularScenario, table_policy, tabular_problem
from interlock.core.testing import check_problem
from interlock.solvers.highs import Highs

SMALL = {"evaluation": {"test_instances": 20_000, "validation_instances": 50, "num_envs": 500}}


def without_an_end() -> FiniteCMDP:
    """The catching game whose last state is left out: its probability is missing instead."""
    cmdp = example("catch_4x4")
    kept = ~cmdp.terminal
    parts = {"transition": cmdp.transition[kept][:, :, kept], "reward": cmdp.reward[kept], "start": cmdp.start[kept]}
    return replace(cmdp, costs=cmdp.costs[:, kept], **parts)


def unlimited(cmdp: FiniteCMDP) -> FiniteCMDP:
    """Limits that nothing can break: the kit asks every baseline to stay below the bound, and one that breaks limits
    need not."""
    return cmdp.with_limits([cmdp.evaluate(cmdp.best_response(cost))[1][k] + 1 for k, cost in enumerate(cmdp.costs)])


# The kit wants the last view of an episode to differ from the first one of the next; one state cannot give that.
@pytest.mark.parametrize("name", ["two_state", "queue_effort", "catch_4x4", "garnet_2c", "open"])
def test_problems_pass_the_kit(name: str) -> None:
    cmdp = without_an_end() if name == "open" else example(name)
    check_problem(TabularProblem(TabularScenario(name=name, process=name, **SMALL), unlimited(cmdp), Highs()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_bound_holds_for_policies_that_keep_the_limits(name: str) -> None:
    problem = tabular_problem(name, Highs(), **SMALL)
    bound = problem.bounds()["optimal"].compute("test", 10)
    assert bound.shape == ()
    kept = 0
    for build in problem.baselines().values():
        found = play(problem, build(3), split="test")
        above = found.costs.mean(axis=0) > problem.cmdp.limits
        slack = 4.0 * found.objective.std() / np.sqrt(len(found.objective))
        assert above.any() or found.objective.mean() <= bound + slack
        kept += not above.any()
    assert kept


@pytest.mark.parametrize("name", EXAMPLES)
def test_mean_sums_of_episodes_are_the_discounted_values(name: str) -> None:
    problem = tabular_problem(name, Highs(), **SMALL)
    for table in (problem.optimum.policy, problem.cmdp.uniform()):
        found = play(problem, table_policy(table, seed=5), split="test")
        value, costs = problem.cmdp.evaluate(table)
        for sums, exact in zip([found.objective, *found.costs.T], [value, *costs], strict=True):
            assert abs(sums.mean() - exact) < 4.0 * sums.std() / np.sqrt(len(sums))


@pytest.mark.parametrize(
    "cmdp", [example("garnet_2c"), example("queue_effort"), without_an_end()], ids=lambda c: c.name
)
def test_visits_follow_the_discounted_occupancy(cmdp: FiniteCMDP) -> None:
    problem = TabularProblem(TabularScenario(name="visits", process=cmdp.name), cmdp, Highs())
    environment = problem.environment(2000, seed=3, split="train")
    policy = table_policy(cmdp.uniform(), seed=1)
    view, visits, steps = environment.reset(), np.zeros(cmdp.reward.shape), 500
    for _ in range(steps):
        action = policy.act(view)
        np.add.at(visits, (view["state"], action), 1)
        view = environment.step(action).observation
    exact = cmdp.occupancy(cmdp.uniform())
    # Rows restart for ever, so visits approach the occupancy, normalised.
    np.testing.assert_allclose(visits / visits.sum(), exact / exact.sum(), atol=2e-3)


def test_a_terminal_state_terminates_and_a_cut_truncates() -> None:
    cmdp = example("catch_4x4")
    environment = TabularEnvironment(cmdp, (), 1000, seed=1, split="train")
    cuts = steps = 0
    for _ in range(100):
        step = environment.step(np.ones(1000, int))
        assert not (step.terminated & step.truncated).any()
        assert (step.info["steps"][step.terminated] == 4).all()
        if step.final_observation is not None:
            assert not cmdp.terminal[step.final_observation["state"][step.truncated]].any()
        assert not cmdp.terminal[step.observation["state"]].any()
        cuts, steps = cuts + step.truncated.sum(), steps + (step.info["steps"] < 4).sum()
    assert cuts / steps == pytest.approx(1 - cmdp.gamma, abs=3e-3)


def test_a_row_does_not_depend_on_its_neighbours_actions() -> None:
    cmdp = example("garnet_2c")
    first, second = (TabularEnvironment(cmdp, (), 50, seed=1, split="train") for _ in range(2))
    for turn in range(20):
        action = np.full(50, turn % 4)
        other = action.copy()
        other[1:] = (turn + 1) % 4
        left, right = first.step(action), second.step(other)
        if left.done[0]:
            break
        assert left.observation["state"][0] == right.observation["state"][0]


def test_steps_given_out_are_not_changed_later() -> None:
    environment = TabularEnvironment(example("two_state"), (), 20, seed=1, split="train")
    step = environment.step(np.zeros(20, int))
    kept = {name: values.copy() for name, values in {**step.info, **step.observation}.items()}
    for _ in range(30):
        environment.step(np.ones(20, int))
    for name, values in {**step.info, **step.observation}.items():
        np.testing.assert_array_equal(values, kept[name])


def test_scenarios_name_random_processes_and_change_limits() -> None:
    scenario = TabularScenario(name="g", process="random_garnet", garnet={"seed": 4, "costs": 2}, limits=(6.0, 7.0))
    cmdp = scenario.cmdp()
    assert cmdp.costs.shape == (2, 15, 3)
    assert cmdp.limits.tolist() == [6.0, 7.0]
    assert scenario.signature()["garnet"]["seed"] == 4
    with pytest.raises(BadInput, match="limits"):
        TabularScenario(name="g", process="two_state", limits=(1.0, 2.0)).cmdp()
    with pytest.raises(BadInput, match="no example"):
        tabular_problem("three_state", Highs())


@pytest.mark.parametrize(
    ("request_", "problem"), [({"state": 2}, "0 to 1"), ({"state": True}, "0 to 1"), ({}, "0 to 1")]
)
def test_requests_are_checked(request_: dict, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        tabular_problem("two_state", Highs()).decision().parse(request_)

"""An environment behind a projection: what is executed, what is told, and that nothing else changes."""

import numpy as np
import pytest
from gymnasium import spaces

from interlock.core.environment import Step
from interlock.core.errors import BadInput, InfeasibleActionSet, UsageError
from interlock.core.problem import Constraint
from interlock.core.projected_environment import ProjectedEnvironment
from interlock.core.projection import PENALTY, Budget, Polytope

TURBINES = np.array([0.5, 1.0, 2.0])
PRICES = np.array([1.0, 3.0, 2.0])


class Reservoir:
    """Water let through three turbines earns their prices; no more than is stored, and each has its capacity.

    Episodes are truncated after 4 steps; inflows are keyed by (seed, instance, step). Actions that are not feasible
    fail an assertion.
    """

    constraints = (Constraint("spill", "cumulative", 1.0, "m3"),)
    action_space = spaces.Box(0.0, 2.0, (3,), np.float64)
    observation_space = spaces.Dict({"stored": spaces.Box(0.0, 5.0, (1,), np.float64)})

    def __init__(self, num_envs, seed=0):
        self.num_envs, self.seed = num_envs, seed

    def inflow(self):
        keys = zip(self.instance, self.time, strict=True)
        return np.array([np.random.default_rng([self.seed, i, t]).random() * 3 for i, t in keys])

    def start(self, rows, first):
        self.instance[rows], self.time[rows] = first + np.arange(len(rows)), 0
        self.stored[rows] = 1.0
        self.following = first + len(rows)

    def view(self):
        return {"stored": self.stored[:, None].copy()}

    def reset(self, *, seed=None):
        self.seed = self.seed if seed is None else seed
        self.instance, self.time = np.zeros(self.num_envs, int), np.zeros(self.num_envs, int)
        self.stored = np.zeros(self.num_envs)
        self.start(np.arange(self.num_envs), 0)
        return self.view()

    def step(self, action):
        assert (action >= 0).all()
        assert (action <= TURBINES).all()
        assert (action.sum(1) <= self.stored + 1e-12).all()
        after = self.stored - action.sum(1) + self.inflow()
        cost = np.maximum(after - 5.0, 0.0)[:, None]
        self.stored, played, self.time = np.minimum(after, 5.0), self.instance.copy(), self.time + 1
        done, last = self.time == 4, self.view()
        self.start(np.flatnonzero(done), self.following)
        info = {"instance": played}
        return Step(
            self.view(), action @ PRICES, cost, np.zeros_like(done), done, last if done.any() else None, None, info
        )

    def state(self):
        counters = np.array([self.seed, self.following])
        return {"instance": self.instance.copy(), "time": self.time.copy(), "stored": self.stored.copy(), "n": counters}

    def restore(self, state):
        self.instance, self.time, self.stored = (state[name].copy() for name in ("instance", "time", "stored"))
        self.seed, self.following = (int(value) for value in state["n"])
        return self.view()


def releasable(view):
    return Budget(0.0, TURBINES, view["stored"][:, 0], name="stored water")


def walk(environment, actions):
    return [environment.step(action) for action in actions]


def same(first, second):
    assert first.observation.keys() == second.observation.keys()
    for name, values in first.observation.items():
        np.testing.assert_array_equal(values, second.observation[name])
    for name in ("reward", "cost", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_infeasible_proposals_are_executed_as_the_nearest_feasible_action():
    environment = ProjectedEnvironment(Reservoir(2), releasable)
    environment.reset()
    step = environment.step(np.array([[2.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))  # 1 m3 is stored in both rows
    np.testing.assert_allclose(step.reward, [0.5 * 1.0, (1.0 + 3.0 + 2.0) / 3])
    np.testing.assert_allclose(step.info["projection_distance"], [1.5, np.sqrt(3) * 2 / 3])
    np.testing.assert_array_equal(step.info["instance"], [0, 1])


def test_any_proposals_make_feasible_episodes():
    environment = ProjectedEnvironment(Reservoir(7), releasable)
    environment.reset()
    steps = walk(environment, 4 * np.random.default_rng(0).normal(size=(30, 7, 3)))  # the reservoir asserts it
    assert sum(step.truncated.sum() for step in steps) == 7 * (30 // 4)
    assert np.mean([step.info["projection_distance"] for step in steps]) > 1.0


def test_feasible_proposals_pass_unchanged():
    bare, projected = Reservoir(5), ProjectedEnvironment(Reservoir(5), releasable, penalty=100.0)
    view = bare.reset(seed=3)
    np.testing.assert_array_equal(view["stored"], projected.reset(seed=3)["stored"])
    for k in range(12):
        action = np.random.default_rng(k).random((5, 3)) * np.minimum(0.5, view["stored"] / 3)
        step, other = bare.step(action), projected.step(action)
        same(step, other)
        np.testing.assert_array_equal(other.info["projection_distance"], 0.0)
        view = step.observation
    assert projected.constraints == bare.constraints
    assert projected.observation_space == bare.observation_space
    assert projected.action_space == bare.action_space


def test_the_penalty_is_taken_from_the_reward_alone():
    actions = np.random.default_rng(0).normal(size=(10, 4, 3))
    free, charged = (ProjectedEnvironment(Reservoir(4), releasable, penalty=w) for w in (0.0, PENALTY))
    free.reset(), charged.reset()
    for plain, step in zip(walk(free, actions), walk(charged, actions), strict=True):
        np.testing.assert_allclose(step.reward, plain.reward - 0.01 * plain.info["projection_distance"] ** 2)
        np.testing.assert_array_equal(step.cost, plain.cost)
        np.testing.assert_array_equal(step.observation["stored"], plain.observation["stored"])


@pytest.mark.parametrize("taken", [0, 3, 6])
def test_a_restored_environment_goes_on_exactly(taken):
    actions = 2 * np.random.default_rng(1).normal(size=(16, 3, 3))
    first = ProjectedEnvironment(Reservoir(3, seed=8), releasable)
    view = first.reset()
    for step in walk(first, actions[:taken]):
        view = step.observation
    state = first.state()
    fresh = ProjectedEnvironment(Reservoir(3), releasable)
    np.testing.assert_array_equal(fresh.restore(state)["stored"], view["stored"])
    for expected, step in zip(walk(first, actions[taken:]), walk(fresh, actions[taken:]), strict=True):
        same(expected, step)
        np.testing.assert_array_equal(expected.info["projection_distance"], step.info["projection_distance"])


def test_a_state_without_feasible_actions_names_the_constraints():
    demand = Polytope(0.0, TURBINES, [[1, 1, 1], [0, 1, 0]], [[1, 1.5]] * 2, [0, 1], ("stored", "demand"))
    environment = ProjectedEnvironment(Reservoir(2), lambda view: demand)
    environment.reset()
    with pytest.raises(InfeasibleActionSet, match=r"demand \(= 1.5\) and upper bound of x\[1\] \(<= 1\)"):
        environment.step(np.zeros((2, 3)))


def test_what_cannot_be_projected_is_refused():
    environment = ProjectedEnvironment(Reservoir(2), releasable)
    with pytest.raises(UsageError, match="reset or restore"):
        environment.step(np.zeros((2, 3)))
    environment.reset()
    with pytest.raises(BadInput, match=r"y\[1, 0\] is nan"):
        environment.step(np.array([[0.0, 0, 0], [np.nan, 0, 0]]))
    pair = Reservoir(2)
    pair.agents, pair.action_space = ("up", "down"), spaces.Discrete(3)
    with pytest.raises(UsageError, match=r"several agents; actions in Discrete\(3\), no vectors; a penalty of -1"):
        ProjectedEnvironment(pair, releasable, penalty=-1.0)

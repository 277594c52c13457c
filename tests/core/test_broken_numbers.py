"""Numbers that are not finite stop training and evaluation, and the error says where they came from."""

from dataclasses import replace

import numpy as np
import pytest
from small_environments import SmallEnvironment, small_problem

from interlock.core.actor_critic.config import ImitationSettings, NetworkSettings, PPOConfig
from interlock.core.actor_critic.loop import learn
from interlock.core.actor_critic.ppo import ppo_rule
from interlock.core.errors import BrokenEnvironment, Interrupted
from interlock.core.evaluation.protocol import play
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Constraint
from interlock.core.training import MemoryRun

ROW, ROLLOUT = 3, 4
CONFIG = PPOConfig(
    steps=800, num_envs=5, rollout=ROLLOUT, minibatch=10, network=NetworkSettings(hidden=(4,)), least_episodes=1
)


class Broken(SmallEnvironment):
    """Two-step episodes that are cut off; one number of one row and step, counted from the reset, is wrong.

    A view with a field ``reward`` hides nothing.
    """

    constraints = (Constraint("load", "cumulative", 1.0, "1"), Constraint("bound", "hard", 1.0, "1"))
    length, terminates = 2, False
    field, at, bad = "reward", 2, np.nan
    split = "train"

    def __init__(self, num_envs, *, seed, split):
        self.armed = split == self.split
        super().__init__(num_envs, seed=seed, split=split)

    def view(self):
        seen = np.column_stack([self.time, self.hidden]).astype(np.float32)
        return {"vector": seen, "reward": np.zeros(self.num_envs, np.float32)}

    def move(self, action):
        return np.asarray(action, float), np.ones((self.num_envs, 2))

    def spoiled(self, observation):
        observation = {name: array.copy() for name, array in observation.items()}
        observation["vector"][ROW, 1] = self.bad
        return observation

    def reset(self, *, seed=None):
        self.count = 0
        first = super().reset(seed=seed)
        return self.spoiled(first) if self.armed and self.field == "vector" and self.at == 0 else first

    def step(self, action):
        step = super().step(action)
        self.count += 1
        if not self.armed or self.count != self.at:
            return step
        if self.field == "vector":
            return replace(step, observation=self.spoiled(step.observation))
        if self.field == "final":
            # Only the rows that were cut off have a last view: here all but the first.
            truncated = np.arange(self.num_envs) > 0
            terminated = ~truncated
            final = self.spoiled(step.final_observation)
            return replace(step, terminated=terminated, truncated=truncated, final_observation=final)
        values = np.array(getattr(step, self.field))
        values[(ROW, 1)[: values.ndim]] = self.bad
        return replace(step, **{self.field: values})

    def state(self):
        return super().state() | {"count": np.array(self.count)}

    def restore(self, state):
        self.count = int(state["count"])
        return super().restore(state)


FIELDS = {
    "reward": "field reward:",
    "cost": r"field cost\[1\]:",
    "vector": r"field vector\[1\]:",
    "final": r"field final vector\[1\]:",
}


def broken_problem(**changes):
    return small_problem(type("Changed", (Broken,), changes), validation=20, rows=5)


def expected(field, step, bad):
    return f"environment row {ROW}, step {step}, {FIELDS[field]} {bad} is not a finite number"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", FIELDS)
def test_training_stops_before_the_broken_number_reaches_a_weight(field, bad):
    # Step 14 is in the fourth rollout, after three updates.
    problem, run, seen = broken_problem(field=field, at=14, bad=bad), MemoryRun(seed=0), []

    def make_rule(policy, constraints):
        seen.append(policy)
        return ppo_rule(policy, constraints, CONFIG)

    with pytest.raises(BrokenEnvironment, match=expected(field, 14, bad)):
        learn(problem, CONFIG, run, make_rule, method="ppo_lagrangian")
    weights = seen[0].weights()
    assert run.last.meta["steps"] == 3 * ROLLOUT * CONFIG.num_envs
    for name, array in weights.items():
        assert np.isfinite(array).all()
        assert np.array_equal(array, run.last.arrays[f"weights/{name}"])


def test_steps_are_counted_from_the_reset_though_training_was_resumed():
    problem, run = broken_problem(field="cost", at=14), MemoryRun(seed=0, stop_after=2)
    for error, match in ((Interrupted, "stopped after 40 of 800"), (BrokenEnvironment, expected("cost", 14, np.nan))):
        with pytest.raises(error, match=match):
            learn(problem, CONFIG, run, lambda policy, some: ppo_rule(policy, some, CONFIG), method="ppo_lagrangian")
        run.stop_after = None


def test_a_broken_first_view_stops_training():
    with pytest.raises(BrokenEnvironment, match=expected("vector", 0, np.nan)):
        learn(
            broken_problem(field="vector", at=0),
            CONFIG,
            MemoryRun(),
            lambda policy, constraints: ppo_rule(policy, constraints, CONFIG),
            method="ppo_lagrangian",
        )


@pytest.mark.parametrize("field", FIELDS)
def test_the_warm_start_stops_as_well(field):
    problem = broken_problem(field=field, at=6)
    problem.baselines = lambda: {"ones": lambda seed: FunctionPolicy(lambda view, rng: ones(view), seed)}
    config = CONFIG.model_copy(update={"imitation": ImitationSettings(teacher="ones", steps=1000)})
    with pytest.raises(BrokenEnvironment, match=expected(field, 6, np.nan)):
        learn(
            problem, config, MemoryRun(), lambda policy, some: ppo_rule(policy, some, config), method="ppo_lagrangian"
        )


def ones(observation):
    return np.ones(len(observation["vector"]), np.int64)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("field", "at"), [("reward", 3), ("cost", 4), ("vector", 0), ("vector", 5), ("final", 4)])
def test_evaluation_stops(field, at, bad):
    problem = broken_problem(field=field, at=at, bad=bad, split="validation")
    with pytest.raises(BrokenEnvironment, match=expected(field, at, bad)):
        play(problem, FunctionPolicy(lambda view, rng: ones(view)), split="validation")


def test_a_broken_validation_stops_training():
    problem = broken_problem(field="reward", at=3, split="validation")
    with pytest.raises(BrokenEnvironment, match=expected("reward", 3, np.nan)):
        learn(
            problem, CONFIG, MemoryRun(), lambda policy, some: ppo_rule(policy, some, CONFIG), method="ppo_lagrangian"
        )


def test_whole_numbers_and_undefined_last_views_are_no_problem():
    """Rows that were not cut off may have anything in their last view."""

    class Odd(Broken):
        split = "nowhere"

        def step(self, action):
            step = super().step(action)
            truncated = step.truncated & (np.arange(self.num_envs) != ROW)
            final = self.spoiled(step.final_observation) if truncated.any() else None
            return replace(
                step,
                reward=step.reward.astype(int),
                terminated=step.done & ~truncated,
                truncated=truncated,
                final_observation=final,
            )

    run = MemoryRun()
    problem = small_problem(Odd, validation=20, rows=5)
    policy = learn(problem, CONFIG, run, lambda policy, some: ppo_rule(policy, some, CONFIG), method="ppo_lagrangian")
    assert all(np.isfinite(array).all() for array in policy.weights().values())
    assert all(np.isfinite(list(row.values())).all() for row in run.curves)

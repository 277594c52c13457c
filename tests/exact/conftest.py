"""A decision problem whose best policy is known without learning."""

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from interlock.core.environment import Step
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Objective
from interlock.core.scenario import EvaluationSettings, Scenario

HIDDEN = np.array([1.0, -2.0, 0.5])


class PickEnvironment:
    """Each step shows 5 options with 3 features, some forbidden; the reward is the hidden linear value of the pick.

    Episodes are truncated after 3 steps. Everything is keyed by (seed, instance, step).
    """

    constraints = ()
    options = 5

    def __init__(self, num_envs, *, seed, split):
        self.num_envs, self.seed = num_envs, seed
        self.salt = {"train": 1, "validation": 2, "test": 3}[split]
        self.observation_space = spaces.Dict({})
        self.action_space = spaces.Discrete(self.options)
        self.instance, self.time = np.arange(num_envs), np.zeros(num_envs, int)
        self.next = num_envs

    def _draw(self, instance, time):
        rng = np.random.default_rng([self.seed, self.salt, int(instance), int(time)])
        mask = rng.random(self.options) < 0.7
        mask[rng.integers(self.options)] = True
        return rng.normal(size=(self.options, 3)), mask

    def _view(self, instance, time):
        drawn = [self._draw(*key) for key in zip(instance, time, strict=True)]
        features = np.stack([features for features, _ in drawn]).astype(np.float32)
        return {"options": features, "action_mask": np.stack([mask for _, mask in drawn])}

    def reset(self, *, seed=None):
        self.seed = self.seed if seed is None else seed
        self.instance, self.time, self.next = np.arange(self.num_envs), np.zeros(self.num_envs, int), self.num_envs
        self.view = self._view(self.instance, self.time)
        return self.view

    def step(self, action):
        rows = np.arange(self.num_envs)
        assert self.view["action_mask"][rows, action].all()
        reward = self.view["options"][rows, action] @ HIDDEN
        played = self.instance.copy()
        self.time = self.time + 1
        truncated = self.time == 3
        final = self._view(self.instance, self.time) if truncated.any() else None
        self.instance[truncated] = self.next + np.arange(truncated.sum())
        self.next += int(truncated.sum())
        self.time = np.where(truncated, 0, self.time)
        self.view = self._view(self.instance, self.time)
        nothing = np.zeros((self.num_envs, 0))
        return Step(self.view, reward, nothing, np.zeros_like(truncated), truncated, final, info={"instance": played})

    def state(self):
        counters = np.array([self.seed, self.next])
        return {"instance": self.instance.copy(), "time": self.time.copy(), "counters": counters}

    def restore(self, state):
        self.instance, self.time = state["instance"].copy(), state["time"].copy()
        self.seed, self.next = (int(value) for value in state["counters"])
        self.view = self._view(self.instance, self.time)
        return self.view


@pytest.fixture
def pick_problem():
    def best(observation, rng):
        values = np.where(observation["action_mask"], observation["options"] @ HIDDEN, -np.inf)
        return values.argmax(axis=1)

    evaluation = EvaluationSettings(test_instances=300, validation_instances=100, num_envs=50)
    return SimpleNamespace(
        scenario=Scenario(domain="exact", name="pick", evaluation=evaluation),
        objective=Objective("value", "points", "maximise"),
        constraints=(),
        environment=PickEnvironment,
        baselines=lambda: {"best": lambda seed: FunctionPolicy(best, seed)},
        encoders=lambda: {
            "features": lambda view: {"action_features": view["options"]},
            "vector": lambda view: {"vector": view["options"].reshape(len(view["options"]), -1)},
        },
        hidden=HIDDEN,
    )

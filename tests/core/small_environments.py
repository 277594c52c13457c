"""Small batched environments whose best answer is known, for the tests of learning methods."""

from types import SimpleNamespace

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Step
from interlock.core.problem import Objective
from interlock.core.scenario import EvaluationSettings, Scenario

SALT = {"train": 1, "validation": 2, "test": 3}


class SmallEnvironment:
    """Episodes of equal length; what happens is keyed by seed, split, instance and step, never by the row.

    A subclass says how an episode begins, what is seen and what an action does, on ``self.hidden`` ``(n, width)``.
    """

    observation_space = spaces.Dict({})
    action_space = spaces.Discrete(2)
    constraints = ()
    length, width, terminates = 1, 1, True

    def __init__(self, num_envs, *, seed, split):
        self.num_envs, self.seed, self.salt = num_envs, seed, SALT[split]
        self.reset()

    def begin(self, rows):
        """First hidden states ``(len(rows), width)``."""
        return np.zeros((len(rows), self.width))

    def view(self):
        """What is seen."""
        return {"vector": self.hidden.astype(np.float32)}

    def move(self, action):
        """Change the hidden state; gives rewards ``(n,)`` and costs ``(n, m)``."""
        raise NotImplementedError

    def chance(self, rows, stream=0):
        """Uniform numbers strictly between 0 and 1, ``(len(rows),)``."""
        key = ((self.seed * 4 + self.salt) * 8 + stream) * 0xD1B54A32D192ED03
        words = self.instance[rows].astype(np.uint64) << np.uint64(16) | self.time[rows].astype(np.uint64)
        words = words * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
        return (((words ^ (words >> np.uint64(31))) >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53

    def reset(self, *, seed=None):
        self.seed = self.seed if seed is None else seed
        rows = np.arange(self.num_envs)
        self.instance, self.time, self.following = rows.copy(), np.zeros(self.num_envs, np.int64), self.num_envs
        self.hidden = self.begin(rows)
        return self.view()

    def step(self, action):
        played = self.instance.copy()
        reward, cost = self.move(action)
        self.time = self.time + 1
        done = self.time == self.length
        rows = np.flatnonzero(done)
        final = None if self.terminates or not len(rows) else self.view()
        self.instance[rows], self.time[rows] = self.following + np.arange(len(rows)), 0
        self.following += len(rows)
        if len(rows):
            self.hidden = self.hidden.copy()
            self.hidden[rows] = self.begin(rows)
        never = np.zeros_like(done)
        ends = (done, never) if self.terminates else (never, done)
        return Step(self.view(), reward, cost, *ends, final, info={"instance": played})

    def state(self):
        counters = np.array([self.seed, self.following])
        parts = {"instance": self.instance, "time": self.time, "hidden": self.hidden}
        return {name: array.copy() for name, array in parts.items()} | {"counters": counters}

    def restore(self, state):
        self.instance, self.time, self.hidden = (state[name].copy() for name in ("instance", "time", "hidden"))
        self.seed, self.following = (int(value) for value in state["counters"])
        return self.view()


def small_problem(environment, *, validation=200, rows=100):
    """What training and play need of a problem around an environment; the encoder passes ``vector`` on."""
    evaluation = EvaluationSettings(test_instances=2000, validation_instances=validation, num_envs=rows)
    return SimpleNamespace(
        scenario=Scenario(domain="exact", name=environment.__name__.lower(), evaluation=evaluation),
        objective=Objective("value", "points", "maximise"),
        constraints=environment.constraints,
        environment=environment,
        baselines=dict,
        encoders=lambda: {"vector": lambda view: {"vector": view["vector"]}},
    )

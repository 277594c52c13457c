"""CartPole as a batched environment with one cost per step: what the benchmarks of the core play.

The dynamics are those of Gymnasium's ``CartPole-v1`` (Barto, Sutton, Anderson 1983; Euler steps of 0.02 s), in
float64: reward 1 per step, an episode ends when the cart leaves 2.4 m or the pole 12 degrees, and is cut off after 500
steps. Beyond that, every step that ends with the cart more than 0.5 m off the centre costs 1.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numba import njit

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Bound, Constraint, Metric, Objective
from interlock.core.scenario import EvaluationSettings, Scenario

GRAVITY, MASS_CART, MASS_POLE, HALF_LENGTH, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
"""m/s^2, kg, kg, m, N, s."""
X_LIMIT, ANGLE_LIMIT = 2.4, 12 * 2 * math.pi / 360
"""m, rad: beyond either, the episode has ended."""
LONGEST = 500
"""Steps after which an episode is cut off."""
OFF_CENTRE = 0.5
"""m from the centre beyond which a step costs 1."""
START = 0.05
"""The four numbers of a first state are uniform within plus and minus this."""
CONSTRAINTS = (Constraint("off_centre", "cumulative", 50.0, "steps", describe="steps more than 0.5 m off the centre"),)
SPLITS: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}
_STATE = ("physics", "age", "instance")


@njit(cache=True)
def _mixed(bits):  # type: ignore[no-untyped-def]
    """The output function of SplitMix64 (Steele, Lea, Flood 2014): neighbouring inputs give unrelated outputs."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@njit(cache=True)
def start_row(row, instance, key, physics, age, instances):  # type: ignore[no-untyped-def]
    """Start an instance; its first state depends on the key of the stream and on its own number alone."""
    bits = _mixed(key + np.uint64(instance) * np.uint64(0x9E3779B97F4A7C15))
    for column in range(4):
        bits = _mixed(bits + np.uint64(0x9E3779B97F4A7C15))
        physics[row, column] = START * (2.0 * (bits >> np.uint64(11)) / 2.0**53 - 1.0)
    age[row] = 0
    instances[row] = instance


@njit(cache=True)
def step_batch(action, key, following, physics, age, instances, view, last, cost, terminated, truncated, length):  # type: ignore[no-untyped-def]
    """One step of all rows; rows that finish start again.

    Fills ``view`` (next views), ``last`` (views before starting again), ``cost``, ``terminated``, ``truncated`` and
    ``length`` (steps of the episode so far).

    Returns:
        The next instance that nobody has started, and whether any row was truncated.
    """
    total = MASS_POLE + MASS_CART
    any_cut = False
    for row in range(physics.shape[0]):
        x, speed, angle, turn = physics[row, 0], physics[row, 1], physics[row, 2], physics[row, 3]
        force = FORCE if action[row] == 1 else -FORCE
        cosine, sine = math.cos(angle), math.sin(angle)
        push = (force + MASS_POLE * HALF_LENGTH * turn * turn * sine) / total
        angular = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4.0 / 3.0 - MASS_POLE * cosine * cosine / total))
        linear = push - MASS_POLE * HALF_LENGTH * angular * cosine / total
        x, speed = x + TAU * speed, speed + TAU * linear
        angle, turn = angle + TAU * turn, turn + TAU * angular
        age[row] += 1
        length[row] = age[row]
        ended = not (-X_LIMIT <= x <= X_LIMIT and -ANGLE_LIMIT <= angle <= ANGLE_LIMIT)
        cut = not ended and age[row] == LONGEST
        any_cut |= cut
        cost[row, 0] = 1.0 if abs(x) > OFF_CENTRE else 0.0
        terminated[row], truncated[row] = ended, cut
        physics[row, 0], physics[row, 1], physics[row, 2], physics[row, 3] = x, speed, angle, turn
        last[row, 0], last[row, 1], last[row, 2], last[row, 3] = x, speed, angle, turn
        if ended or cut:
            start_row(row, following, key, physics, age, instances)
            following += 1
        for column in range(4):
            view[row, column] = physics[row, column]
    return following, any_cut


class CartPole:
    """The batched environment; its view is ``state``: position (m), speed (m/s), angle (rad), its rate (rad/s)."""

    observation_space = spaces.Dict(
        {
            "state": spaces.Box(
                np.array([-2 * X_LIMIT, -np.inf, -2 * ANGLE_LIMIT, -np.inf], np.float32),
                np.array([2 * X_LIMIT, np.inf, 2 * ANGLE_LIMIT, np.inf], np.float32),
            )
        }
    )
    action_space: Any = spaces.Discrete(2)

    def __init__(self, num_envs: int, *, seed: int, split: Split, constraints: tuple[Constraint, ...] = CONSTRAINTS):
        self.num_envs, self.split, self.constraints = num_envs, split, constraints
        self.physics = np.zeros((num_envs, 4))
        self.age, self.instance = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        self._start(seed)

    def _start(self, seed: int) -> None:
        self._seed(seed)
        for row in range(self.num_envs):
            start_row(row, row, self.key, self.physics, self.age, self.instance)
        self.following = self.num_envs

    def _seed(self, seed: int) -> None:
        self.seed = seed
        self.key = np.random.SeedSequence([seed, SPLITS[self.split]]).generate_state(1, np.uint64)[0]

    def _view(self) -> Observation:
        return {"state": self.physics.astype(np.float32)}

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1`` again, of a new stream if a seed is given."""
        self._start(self.seed if seed is None else seed)
        return self._view()

    def step(self, action: Array) -> Step:
        """Push every cart to the left (0) or to the right (1)."""
        n = self.num_envs
        played = self.instance.copy()
        view, last = np.empty((n, 4), np.float32), np.empty((n, 4), np.float32)
        cost, length = np.empty((n, 1)), np.empty(n, np.int64)
        terminated, truncated = np.empty(n, np.bool_), np.empty(n, np.bool_)
        self.following, any_cut = step_batch(
            action,
            self.key,
            self.following,
            self.physics,
            self.age,
            self.instance,
            view,
            last,
            cost,
            terminated,
            truncated,
            length,
        )
        return Step(
            observation={"state": view},
            reward=np.ones(n),
            cost=cost[:, : len(self.constraints)],
            terminated=terminated,
            truncated=truncated,
            final_observation={"state": last} if any_cut else None,
            info={"instance": played, "length": length},
        )

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here."""
        arrays: dict[str, Array] = {name: getattr(self, name).copy() for name in _STATE}
        return arrays | {"counters": np.array([self.seed, self.following], np.int64)}

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        for name in _STATE:
            getattr(self, name)[:] = state[name]
        seed, self.following = (int(value) for value in state["counters"])
        self._seed(seed)
        return self._view()


def lean(observation: Observation, rng: np.random.Generator) -> Array:
    """Push the cart to where the pole leans and falls, a rule of thumb."""
    state = observation["state"]
    action: Array = (state[:, 2] + 0.5 * state[:, 3] > 0).astype(np.int64)
    return action


def vector(observation: Observation) -> dict[str, Array]:
    """The state as it is."""
    return {"vector": np.asarray(observation["state"], np.float32)}


class CartPoleProblem:
    """Keep the pole up as long as possible, near the centre if ``constrained``; the parts that training needs."""

    objective = Objective("return", "steps", "maximise")

    def __init__(self, *, constrained: bool = True, evaluation: EvaluationSettings | None = None):
        settings = evaluation or EvaluationSettings(test_instances=200, validation_instances=100, num_envs=100)
        self.scenario = Scenario(domain="core", name="cartpole", title="cart and pole", evaluation=settings)
        self.constraints: tuple[Constraint, ...] = CONSTRAINTS if constrained else ()

    def environment(self, num_envs: int, *, seed: int, split: Split) -> CartPole:
        """The batched environment."""
        return CartPole(num_envs, seed=seed, split=split, constraints=self.constraints)

    def baselines(self) -> dict[str, Any]:
        """A rule of thumb."""
        return {"lean": lambda seed: FunctionPolicy(lean, seed)}

    def bounds(self) -> dict[str, Bound]:
        """No episode is longer than the limit."""
        return {"limit": Bound("limit", "relaxation", lambda split, count: np.full(count, float(LONGEST)))}

    def metrics(self) -> tuple[Metric, ...]:
        """Length of the episode."""
        return (Metric("length", "steps", "until the pole fell, the cart left or time was up"),)

    def encoders(self) -> dict[str, Any]:
        """The state itself."""
        return {"vector": vector}

    def decision(self) -> Any:
        """Nothing is exported from a benchmark."""
        raise NotImplementedError("the benchmark problem is trained on, not exported")

    def figures(self) -> dict[str, Any]:
        """No pictures."""
        return {}

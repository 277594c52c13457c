"""The batched simulator of daily ordering: one row per shelf, one step per day."""

from collections.abc import Mapping

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.problem import Constraint
from interlock_demo.scenario import InventoryScenario

_SALT = {"train": 1, "validation": 2, "test": 3}


class InventoryEnvironment:
    """Implements ``interlock.core.environment.BatchEnvironment``.

    Observation: ``stock`` and ``day`` int16 ``(n, 1)``, ``action_mask`` bool ``(n, capacity + 1)``. The action is the
    number of units ordered. An order that does not fit on the shelf ends the episode; all its remaining demand is lost.
    """

    def __init__(
        self,
        scenario: InventoryScenario,
        num_envs: int,
        *,
        seed: int,
        split: Split,
        constraints: tuple[Constraint, ...],
    ):
        self.scenario, self.num_envs, self.constraints, self.split = scenario, num_envs, constraints, split
        actions = scenario.capacity + 1
        self.observation_space = spaces.Dict(
            {
                "stock": spaces.Box(0, scenario.capacity, (1,), np.int16),
                "day": spaces.Box(0, scenario.days - 1, (1,), np.int16),
                "action_mask": spaces.Box(0, 1, (actions,), np.bool_),
            }
        )
        self.action_space = spaces.Discrete(actions)
        self.reset(seed=seed)

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1`` on empty shelves."""
        self.seed = self.seed if seed is None else seed
        self.stock, self.day = np.zeros((2, self.num_envs), np.int64)
        self.instance = np.arange(self.num_envs)
        self.demand = np.stack([self._demand(k) for k in self.instance])
        self.next_instance = self.num_envs
        return self._view()

    def step(self, action: Array) -> Step:
        """Order, sell, pay."""
        s, rows = self.scenario, np.arange(self.num_envs)
        illegal = (action < 0) | (self.stock + action > s.capacity)
        order = np.where(illegal, 0, action)
        shelf = self.stock + order
        today = self.demand[rows, self.day]
        ahead = np.array([self.demand[row, self.day[row] :].sum() for row in rows])
        lost = np.where(illegal, ahead, np.maximum(today - shelf, 0))
        left = np.where(illegal, 0, np.maximum(shelf - today, 0))
        reward = -(s.price * order + s.holding * left + s.shortage * lost)
        self.stock, self.day = left, self.day + 1
        done = illegal | (self.day == s.days)
        played = self.instance.copy()
        for row in np.flatnonzero(done):
            self.instance[row], self.stock[row], self.day[row] = self.next_instance, 0, 0
            self.demand[row] = self._demand(self.next_instance)
            self.next_instance += 1
        return Step(
            observation=self._view(),
            reward=reward.astype(float),
            cost=lost[:, None].astype(float),
            terminated=done,
            truncated=np.zeros(self.num_envs, bool),
            info={"instance": played, "illegal_order": illegal, "left_over": left.astype(float)},
        )

    def state(self) -> dict[str, Array]:
        """Everything needed to continue from here."""
        counters = np.array([self.next_instance, self.seed])
        return {
            "rows": np.stack([self.stock, self.day, self.instance]),
            "demand": self.demand.copy(),
            "counters": counters,
        }

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        self.stock, self.day, self.instance = state["rows"].copy()
        self.demand = state["demand"].copy()
        self.next_instance, self.seed = (int(value) for value in state["counters"])
        return self._view()

    def _demand(self, instance: int) -> Array:
        """Demand of every day of an instance, whatever row plays it."""
        rng = np.random.default_rng([self.seed, _SALT[self.split], int(instance)])
        return rng.poisson(self.scenario.mean_demand, self.scenario.days)

    def _view(self) -> Observation:
        fits = self.stock[:, None] + np.arange(self.scenario.capacity + 1) <= self.scenario.capacity
        return {
            "stock": self.stock[:, None].astype(np.int16),
            "day": self.day[:, None].astype(np.int16),
            "action_mask": fits,
        }

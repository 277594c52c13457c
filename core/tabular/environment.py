"""A finite decision process as a batched environment that restarts at random, so that plain sums are discounted ones.

After every step a row is cut off with probability ``1 - gamma``. The undiscounted sum of an episode then has the
discounted sum of the process as its expectation, and states are visited as often as the discounted occupancy says.
Cut-off rows are *truncated*: whoever learns with discount ``gamma`` bootstraps there and sees the process without cuts.
"""

from collections.abc import Mapping

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Split, Step
from interlock.core.problem import Constraint
from interlock.core.tabular.cmdp import FiniteCMDP

_SALT = {"train": 1, "validation": 2, "test": 3}
_WORD = (1 << 64) - 1
# Made once: as many of these as a step has operations on words cost as much as the operations themselves.
_GOLDEN, _FIRST, _SECOND = (np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_11, _27, _30, _31, _32 = (np.uint64(bits) for bits in (11, 27, 30, 31, 32))
_LOWER = np.uint64(0xFFFFFFFF)


class TabularEnvironment:
    """Implements ``interlock.core.environment.BatchEnvironment`` over a ``FiniteCMDP``.

    Observations: ``vector`` float32 ``(n, S)``, one-hot; ``state`` int64 ``(n,)``. ``Step.info`` has ``steps``, the
    number of steps of the episode so far. Every random number is a hash of seed, split, instance and step: neither the
    number of rows nor the actions change what an instance has in store.

    Args:
        cmdp: the process.
        constraints: one per cost, in order.
        num_envs: rows.
        seed: of the instances.
        split: of the instances.
    """

    def __init__(
        self, cmdp: FiniteCMDP, constraints: tuple[Constraint, ...], num_envs: int, *, seed: int, split: Split
    ):
        self.num_envs, self.constraints = num_envs, constraints
        self.observation_space = spaces.Dict(
            {
                "vector": spaces.Box(0.0, 1.0, (cmdp.states,), np.float32),
                "state": spaces.Discrete(cmdp.states),
            }
        )
        self.action_space: spaces.Discrete = spaces.Discrete(cmdp.actions)
        self._actions = cmdp.actions
        self._views = np.eye(cmdp.states, dtype=np.float32)
        self._edges, self._successors = _inverse(cmdp)
        self._ends = np.append(cmdp.terminal, True)  # the last entry is where missing probability leads
        self._leaks = bool((self._successors == cmdp.states).any())
        self._reward = cmdp.reward.ravel()
        self._costs = np.ascontiguousarray(cmdp.costs.reshape(len(cmdp.costs), cmdp.states * cmdp.actions).T)
        self._first = np.cumsum(cmdp.start)[:-1]
        self._cut = np.uint64(round((1.0 - cmdp.gamma) * 2**32))
        self._seed, self._split = seed, split
        self.reset()

    def reset(self, *, seed: int | None = None) -> dict[str, Array]:
        """Start instances ``0 .. num_envs - 1``."""
        self._reseed(self._seed if seed is None else seed)
        self._instance, self._following = np.arange(self.num_envs), self.num_envs
        self._age = np.zeros(self.num_envs, np.int64)
        self._key = self._keys(self._instance)
        self._state = self._begin(self._key)
        return self._view(self._state)

    def step(self, action: Array) -> Step:
        """One transition per row; rows whose episode ended show the first state of their next one."""
        pair = self._state * self._actions + np.asarray(action, np.int64)
        self._age = self._age + 1
        drawn = _hashed(self._key + self._age.astype(np.uint64) * _GOLDEN)
        # The upper half of the 64 random bits chooses the next state, the lower half whether the episode is cut off.
        share = (drawn >> _32) * 2.0**-32
        place = pair * len(self._edges)
        for edge in self._edges[:-1]:
            place += edge.take(pair) <= share
        reached = self._successors.take(place)
        terminated = self._ends.take(reached)
        truncated = ((drawn & _LOWER) < self._cut) & ~terminated
        info = {"instance": self._instance, "steps": self._age}
        done = np.flatnonzero(terminated | truncated)
        last = None
        if done.size:
            if self._leaks:  # where missing probability ended the episode, the last view is the one before
                reached = np.where(reached == len(self._views), self._state, reached)
            last = self._view(reached) if np.count_nonzero(truncated) else None
            reached = self._restarted(reached, done)
        self._state = reached
        return Step(
            self._view(reached),
            self._reward.take(pair),
            self._costs.take(pair, axis=0),
            terminated,
            truncated,
            last,
            info=info,
        )

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here."""
        return {
            "state": self._state.copy(),
            "age": self._age.copy(),
            "instance": self._instance.copy(),
            "counters": np.array([self._seed, self._following], np.int64),
        }

    def restore(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Continue from what ``state`` returned."""
        self._reseed(int(state["counters"][0]))
        self._following = int(state["counters"][1])
        self._state, self._age = state["state"].copy(), state["age"].copy()
        self._instance = state["instance"].copy()
        self._key = self._keys(self._instance)
        return self._view(self._state)

    def _reseed(self, seed: int) -> None:
        self._seed = seed
        self._base = _hashed(np.array([(seed * 4 + _SALT[self._split]) & _WORD], np.uint64))

    def _restarted(self, reached: Array, rows: Array) -> Array:
        """The states after the rows that ended have begun their next instances; earlier arrays are left alone."""
        self._instance, self._age, self._key = self._instance.copy(), self._age.copy(), self._key.copy()
        self._instance[rows] = self._following + np.arange(len(rows))
        self._following += len(rows)
        self._age[rows] = 0
        self._key[rows] = self._keys(self._instance[rows])
        reached[rows] = self._begin(self._key[rows])
        return reached

    def _keys(self, instance: Array) -> Array:
        """One random 64-bit word per instance, from which the words of its steps follow."""
        return _hashed(self._base + instance.astype(np.uint64) * _GOLDEN)

    def _begin(self, key: Array) -> Array:
        """First states, from the word of step 0."""
        return np.searchsorted(self._first, (_hashed(key) >> _11) * 2.0**-53, side="right")

    def _view(self, state: Array) -> dict[str, Array]:
        return {"vector": self._views.take(state, axis=0), "state": state.copy()}


def _inverse(cmdp: FiniteCMDP) -> tuple[Array, Array]:
    """Cumulated probabilities ``(K, S A)`` of the successors of every pair, and these ``(S A K,)``.

    ``K`` is the largest number of successors of any pair; ``S`` stands for an end by missing probability.
    """
    chances = cmdp.transition.reshape(-1, cmdp.states)
    missing = 1.0 - chances.sum(axis=1, keepdims=True)
    chances = np.hstack([chances, np.where(missing > 1e-9, missing, 0.0)])
    width = max(1, int((chances > 0.0).sum(axis=1).max()))
    order = np.argsort(chances == 0.0, axis=1, kind="stable")[:, :width]
    cumulated = np.cumsum(np.take_along_axis(chances, order, axis=1), axis=1)
    # Beyond the last real successor nothing may be drawn, whatever rounding left of the sum.
    counts = (chances > 0.0).sum(axis=1, keepdims=True)
    cumulated[np.arange(width) >= counts - 1] = 1.0
    return np.ascontiguousarray(cumulated.T), order.ravel()


def _hashed(words: Array) -> Array:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): neighbouring words give unrelated random ones."""
    words = (words ^ (words >> _30)) * _FIRST
    words = (words ^ (words >> _27)) * _SECOND
    words ^= words >> _31
    return words

"""A finite constrained decision process, with exact evaluation by linear solves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import BadInput

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class FiniteCMDP:
    """Maximise the expected discounted reward while every expected discounted cost stays within its limit.

    A policy is a table of probabilities ``(S, A)``. Where the probabilities of ``transition[s, a]`` sum to less than 1,
    the rest ends the episode. A state that no action leaves and that gives neither reward nor cost is an end as well.
    Sums are not normalised: a reward of 1 at every step is worth ``1 / (1 - gamma)``.

    Attributes:
        name: in messages and tables.
        transition: ``(S, A, S)`` probability of the next state.
        reward: ``(S, A)``.
        costs: ``(m, S, A)``, ``m >= 0``.
        limits: ``(m,)`` largest allowed expected discounted sum of each cost.
        gamma: discount per step, in [0, 1).
        start: ``(S,)`` probability of the first state.
        cost_names: ``m`` of them; default ``cost``, or ``cost_1``, ``cost_2``, ... if there are several.
    """

    name: str
    transition: Array
    reward: Array
    costs: Array
    limits: Array
    gamma: float
    start: Array
    cost_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take read-only copies as float64 and check them.

        Raises:
            BadInput: listing everything that is wrong.
        """
        for field in ("transition", "reward", "costs", "limits", "start"):
            values = np.array(getattr(self, field), np.float64)
            values.flags.writeable = False
            object.__setattr__(self, field, values)
        if not self.cost_names:
            object.__setattr__(self, "cost_names", _default_names(len(self.limits) if self.limits.ndim else 0))
        problems = list(_wrong_shapes(self)) or [*_wrong_numbers(self), *_wrong_probabilities(self)]
        if problems:
            raise BadInput(f"CMDP {self.name}", problems)

    @property
    def states(self) -> int:
        """Number of states."""
        return int(self.reward.shape[0])

    @property
    def actions(self) -> int:
        """Number of actions, the same in every state."""
        return int(self.reward.shape[1])

    @property
    def signals(self) -> Array:
        """``(1 + m, S, A)``: the reward, then each cost."""
        return np.concatenate([self.reward[None], self.costs])

    @property
    def terminal(self) -> Array:
        """Bool ``(S,)``: states that no action leaves and that give neither reward nor cost."""
        own = np.arange(self.states)
        stays: Array = np.all(self.transition[own, :, own] >= 1.0 - _TOLERANCE, axis=1)
        empty: Array = np.all(self.signals == 0.0, axis=(0, 2))
        return np.logical_and(stays, empty)

    def with_limits(self, limits: Sequence[float] | Array) -> Self:
        """The same process with other limits."""
        return replace(self, limits=np.asarray(limits, np.float64))

    def uniform(self) -> Array:
        """The policy ``(S, A)`` that takes every action with the same probability."""
        return np.full(self.reward.shape, 1.0 / self.actions)

    def values(self, policy: Array, signals: Array | None = None) -> Array:
        """``(K, S)``: expected discounted sums of ``signals`` ``(K, S, A)`` from every state.

        Default: those of the reward, then of each cost.
        """
        immediate = np.einsum("sa,ksa->sk", policy, self.signals if signals is None else signals)
        found: Array = np.linalg.solve(self._system(policy), immediate).T
        return found

    def looked_ahead(self, values: Array, signals: Array | None = None) -> Array:
        """``(K, S, A)``: sums after taking an action first, if ``values`` ``(K, S)`` hold from the next state on."""
        ahead = values @ self.transition.reshape(-1, self.states).T
        found: Array = (self.signals if signals is None else signals) + self.gamma * ahead.reshape(
            -1, *self.reward.shape
        )
        return found

    def q_values(self, policy: Array, signals: Array | None = None) -> Array:
        """``(K, S, A)``: as ``values``, after taking an action first."""
        return self.looked_ahead(self.values(policy, signals), signals)

    def advantages(self, policy: Array, signals: Array | None = None) -> Array:
        """``(K, S, A)``: what an action adds to the value of its state."""
        values = self.values(policy, signals)
        return self.looked_ahead(values, signals) - values[:, :, None]

    def evaluate(self, policy: Array) -> tuple[float, Array]:
        """Expected discounted sums of the reward and of each cost ``(m,)`` from the start distribution."""
        sums = self.values(policy) @ self.start
        return float(sums[0]), sums[1:]

    def occupancy(self, policy: Array) -> Array:
        """``(S, A)``: expected discounted number of times that an action is taken in a state."""
        visits = np.linalg.solve(self._system(policy).T, self.start)
        found: Array = visits[:, None] * policy
        return found

    def best_response(self, signal: Array) -> Array:
        """A deterministic policy ``(S, A)`` with the largest expected discounted sum of ``signal`` ``(S, A)``.

        Policy iteration, which is exact after finitely many rounds; no constraint is looked at.
        """
        rows = np.arange(self.states)
        chosen = signal.argmax(axis=1)
        while True:
            policy: Array = np.eye(self.actions)[chosen]
            values = np.linalg.solve(self._system(policy), signal[rows, chosen])
            worth = signal + self.gamma * self.transition @ values
            # An action is exchanged only for one that is better beyond rounding, so that the rounds come to an end.
            margin = 1e-12 * max(1.0, float(np.abs(worth).max()))
            better = worth.max(axis=1) > worth[rows, chosen] + margin
            if not better.any():
                return policy
            chosen = np.where(better, worth.argmax(axis=1), chosen)

    def unconstrained(self) -> Array:
        """The policy with the largest return, whatever it costs."""
        return self.best_response(self.reward)

    def cheapest(self, index: int = 0) -> Array:
        """The policy with the smallest expected cost ``index``, whatever it returns."""
        return self.best_response(-self.costs[index])

    def span(self) -> tuple[float, float]:
        """Smallest and largest return of any policy, limits aside: the scale on which gaps are measured."""
        low, high = self.best_response(-self.reward), self.unconstrained()
        return self.evaluate(low)[0], self.evaluate(high)[0]

    def _system(self, policy: Array) -> Array:
        between = np.einsum("sa,sat->st", policy, self.transition)
        system: Array = np.eye(self.states) - self.gamma * between
        return system


def _default_names(count: int) -> tuple[str, ...]:
    return ("cost",) if count == 1 else tuple(f"cost_{number + 1}" for number in range(count))


def _wrong_shapes(cmdp: FiniteCMDP) -> Iterator[str]:
    if cmdp.reward.ndim != 2 or 0 in cmdp.reward.shape:
        yield f"reward: shape {cmdp.reward.shape}, expected (states, actions)"
        return
    states, actions = cmdp.reward.shape
    count = len(cmdp.cost_names)
    expected = {
        "transition": (states, actions, states),
        "costs": (count, states, actions),
        "limits": (count,),
        "start": (states,),
    }
    for field, shape in expected.items():
        found = getattr(cmdp, field).shape
        if found != shape:
            yield f"{field}: shape {found}, expected {shape} ({states} states, {actions} actions, {count} cost names)"


def _wrong_numbers(cmdp: FiniteCMDP) -> Iterator[str]:
    for field in ("transition", "reward", "costs", "limits", "start"):
        values = getattr(cmdp, field)
        for index in np.argwhere(~np.isfinite(values)):
            place = ", ".join(str(position) for position in index)
            yield f"{field}[{place}]: {values[tuple(index)]} is not a finite number"
    if not 0.0 <= cmdp.gamma < 1.0:
        yield f"gamma: {cmdp.gamma} is not in [0, 1)"
    for name in dict.fromkeys(cmdp.cost_names):
        if cmdp.cost_names.count(name) > 1:
            yield f"cost_names: {name!r} is there twice"


def _wrong_probabilities(cmdp: FiniteCMDP) -> Iterator[str]:
    for field in ("transition", "start"):
        values = getattr(cmdp, field)
        for index in np.argwhere(values < 0.0):
            place = ", ".join(str(position) for position in index)
            yield f"{field}[{place}]: probability {values[tuple(index)]:g} is negative"
    totals = cmdp.transition.sum(axis=2)
    for state, action in np.argwhere(totals > 1.0 + _TOLERANCE):
        yield f"transition[{state}, {action}]: probabilities sum to {totals[state, action]:.12g}, more than 1"
    total = cmdp.start.sum()
    if abs(total - 1.0) > _TOLERANCE:
        yield f"start: probabilities sum to {total:.12g}, not 1"

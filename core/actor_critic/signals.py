"""From the costs of an environment to what learning needs: a signal per step, and measured constraints.

Hard constraints are for masks, projections and the release check; all other kinds are turned into a signal whose
expected episode sum is the constrained quantity (for means: is above zero where the limit is broken), and are measured
over finished episodes only.
"""

from collections.abc import Sequence

import numpy as np

from interlock.core.actor_critic.rule import Estimate
from interlock.core.environment import Array
from interlock.core.evaluation.statistics import cvar
from interlock.core.problem import Constraint

_QUANTILE_STEP = 0.2


class CostSignals:
    """Follows the costs of every row.

    Per step and kind the signal is, with running episode sum ``C``:

    * ``cumulative``: the cost itself.
    * ``mean``: the cost less the limit, so that a longer episode is no violation by itself.
    * ``chance``: 1 at the first positive cost of the episode; the episode sum is the indicator of a violation.
    * ``cvar``: the increase of ``(C - eta)_+ / (1 - level)``; the episode sum is the term under the expectation of
      Rockafellar and Uryasev 2000. ``eta`` follows its gradient, and stays as it is within an episode.

    Args:
        constraints: of the environment, in the order of its cost columns.
        num_envs: rows.
        least_episodes: finished episodes that an estimate needs.
        floor: smallest divisor of relative violations.
        margin: share of each limit kept in reserve.
    """

    def __init__(
        self,
        constraints: Sequence[Constraint],
        num_envs: int,
        *,
        least_episodes: int = 8,
        floor: float = 1e-3,
        margin: float = 0.0,
    ):
        self.columns = [k for k, constraint in enumerate(constraints) if constraint.kind != "hard"]
        self.constraints = tuple(constraints[k] for k in self.columns)
        self.least_episodes, self.floor = least_episodes, floor
        kinds = np.array([constraint.kind for constraint in self.constraints], dtype=object)
        self._mean, self._chance, self._cvar = (np.flatnonzero(kinds == kind) for kind in ("mean", "chance", "cvar"))
        given = np.array([constraint.limit for constraint in self.constraints], float)
        self.limits = given - margin * np.abs(given)
        m = len(self.constraints)
        self.tail = np.array([1.0 - (constraint.level or 0.0) for constraint in self.constraints])
        self.quantile = given.copy()
        self.sums = np.zeros((num_envs, m))
        self.begun_with = np.tile(self.quantile, (num_envs, 1))
        self.lengths = np.zeros(num_envs)
        self.finished: list[Array] = []

    def step(self, cost: Array, done: Array) -> Array:
        """The signals ``(n, m)`` of one step with costs ``(n, columns)``; counts the episodes that it ended."""
        cost = cost[:, self.columns].astype(float)
        signal = cost.copy()
        before = self.sums
        self.sums = self.sums + cost
        self.lengths += 1
        signal[:, self._mean] -= self.limits[self._mean]
        if self._chance.size:
            k = self._chance
            # Sums of signed costs could come back to zero: a violation is kept as a sum that cannot.
            now = (cost[:, k] > 0) | (before[:, k] > 0)
            signal[:, k] = now & ~(before[:, k] > 0)
            self.sums[:, k] = now
        if self._cvar.size:
            k = self._cvar
            eta = self.begun_with[:, k]
            rise = np.maximum(self.sums[:, k] - eta, 0.0) - np.maximum(before[:, k] - eta, 0.0)
            # What an episode starts above eta, where eta is negative, belongs to its first step.
            rise += np.where(self.lengths[:, None] == 1, np.maximum(-eta, 0.0), 0.0)
            signal[:, k] = rise / self.tail[k]
        if done.any():
            self.finished.append(np.column_stack([self.sums[done], self.lengths[done]]))
            self.sums[done] = 0.0
            self.lengths[done] = 0.0
            self.begun_with[done] = self.quantile
        return signal

    def estimate(self) -> Estimate | None:
        """Constraints over the episodes since the last estimate; ``None``, and they are kept, if these are too few."""
        episodes = sum(len(part) for part in self.finished)
        if not self.constraints or episodes < self.least_episodes:
            return None
        table = np.concatenate(self.finished)
        self.finished = []
        totals, lengths = table[:, :-1], table[:, -1]
        value = totals.mean(0)
        value[self._mean] = totals[:, self._mean].sum(0) / lengths.sum()
        for k in self._cvar:
            value[k] = cvar(totals[:, k], 1.0 - self.tail[k])
            share = np.mean(totals[:, k] > self.quantile[k]) / self.tail[k]
            self.quantile[k] += _QUANTILE_STEP * totals[:, k].std() * (share - 1.0)
        violation = (value - self.limits) / np.maximum(np.abs(self.limits), self.floor)
        return Estimate(value, self.limits, violation, episodes)

    def forget_finished(self) -> None:
        """Start measuring anew: what finished so far was not played by the policy that shall be measured."""
        self.finished = []

    def state(self) -> dict[str, Array]:
        """Everything needed to go on exactly from here."""
        width = len(self.constraints) + 1
        finished = np.concatenate(self.finished) if self.finished else np.zeros((0, width))
        return {
            "sums": self.sums.copy(),
            "lengths": self.lengths.copy(),
            "begun_with": self.begun_with.copy(),
            "quantile": self.quantile.copy(),
            "finished": finished,
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.sums, self.lengths = state["sums"].copy(), state["lengths"].copy()
        self.begun_with, self.quantile = state["begun_with"].copy(), state["quantile"].copy()
        self.finished = [state["finished"].copy()] if len(state["finished"]) else []

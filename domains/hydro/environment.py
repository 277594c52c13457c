"""The batched simulator: a policy proposes end volumes, water and network do the rest, stage after stage."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.errors import BrokenEnvironment, StageInfeasible
from interlock.core.problem import Constraint
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.dispatch import Dispatch
from interlock.domains.hydro.failures import save_stage
from interlock.domains.hydro.metrics import METRICS, ledger, rounded
from interlock.domains.hydro.stage_program import LinearNetwork
from interlock.domains.hydro.water import clip_to_reach, water_of

Paths = Callable[[int, int, int], Array]
"""``(seed, first, count) -> (count, T, plants)``: inflows in m3/s of the instances from ``first`` on."""

_STATE = ("volume", "inflows", "stage", "instance")


class HydroEnvironment:
    """A batch of systems, each on its own path of inflows. Implements ``interlock.core.environment.BatchEnvironment``.

    Observation: ``volume`` hm3 ``(n, plants)``, ``inflow`` m3/s of the stage that is decided on ``(n, plants)``, and
    ``stage`` ``(n, 1)``, from 0. Action: end volumes in hm3 ``(n, plants)``. They are moved into what can be reached,
    from the top of the cascade down; then load is served at least cost. The reward is minus that cost in $/h.

    Args:
        case: the system.
        dispatch: of its network; all rows of a step go into one call.
        paths: inflows of the instances.
        num_envs: rows.
        horizon: stages of an episode.
        reported: stages in ``cost_rate_reported``; ``None`` for all.
        seed: of the instances.
        split: told in errors.
        constraints: ``eens`` and ``storage``, as far as there are limits.
        storage: ``(stage from 0, share of the capacity)`` of the constraint ``storage``.
        network: of the stage program that is saved when a dispatch fails without saving anything itself.
    """

    def __init__(
        self,
        case: Case,
        dispatch: Dispatch,
        paths: Paths,
        num_envs: int,
        *,
        horizon: int,
        reported: int | None,
        seed: int,
        split: Split,
        constraints: tuple[Constraint, ...],
        storage: tuple[int, float] = (0, 0.0),
        network: LinearNetwork | None = None,
    ):
        self.case, self.dispatch, self.paths = case, dispatch, paths
        self.num_envs, self.horizon, self.split, self.constraints = num_envs, horizon, split, constraints
        self.storage, self.network = storage, network
        self.water = water_of(case)
        self.ledger = ledger(case, horizon, reported)
        hydros = case.hydros
        low, high = hydros.min_volume.astype(float), hydros.max_volume.astype(float)
        self.observation_space = spaces.Dict(
            {
                "volume": spaces.Box(low, high, dtype=np.float64),
                "inflow": spaces.Box(0.0, np.inf, low.shape, np.float64),
                "stage": spaces.Box(0, horizon - 1, (1,), np.int64),
            }
        )
        self.action_space: spaces.Space[Any] = spaces.Box(low, high, dtype=np.float64)
        self.volume = np.empty((num_envs, len(low)))
        self.inflows = np.empty((num_envs, horizon, len(low)))
        self.stage = np.zeros(num_envs, np.int64)
        self.instance = np.zeros(num_envs, np.int64)
        self.totals = {metric.name: np.zeros(num_envs) for metric in METRICS}
        self._rows = np.arange(num_envs)
        self._start(seed)

    def _start(self, seed: int) -> None:
        self.seed, self.next_index = seed, 0
        self._begin(self._rows)

    def _begin(self, rows: Array) -> None:
        """Start the next instances in these rows."""
        self.volume[rows] = self.case.hydros.initial_volume
        self.inflows[rows] = self.paths(self.seed, self.next_index, len(rows))
        self.instance[rows] = self.next_index + np.arange(len(rows))
        self.stage[rows] = 0
        self.next_index += len(rows)
        for total in self.totals.values():
            total[rows] = 0.0

    def _view(self) -> Observation:
        return {
            "volume": self.volume.copy(),
            "inflow": self.inflows[self._rows, self.stage],
            "stage": self.stage[:, None].copy(),
        }

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1`` again, of another stream if a seed is given."""
        self._start(self.seed if seed is None else seed)
        return self._view()

    def step(self, action: Array) -> Step:
        """End the stage of every row at the nearest volumes that can be reached.

        Raises:
            StageInfeasible: a stage could not be dispatched; names stage and instance.
            BrokenEnvironment: an action is not a finite number.
        """
        proposed = np.asarray(action, dtype=float)
        self._refuse_broken(proposed)
        stage, volume = self.stage.copy(), self.volume.copy()
        inflow = self.inflows[self._rows, stage]
        target = clip_to_reach(np, self.water, proposed, volume, inflow)
        batch = self._dispatched(stage, volume, inflow, target)
        cost = rounded(batch.cost)
        self.ledger.add(self.totals, stage, volume, inflow, target, batch)
        self.totals["clipped_hm3"] += np.abs(target - proposed).sum(axis=1)
        costs = self._costs(stage, rounded(batch.signals[:, 0]), target)
        info = {"instance": self.instance.copy(), **{name: total.copy() for name, total in self.totals.items()}}
        self.volume[:] = target
        self.stage += 1
        done = self.stage == self.horizon
        if done.any():
            self._begin(np.flatnonzero(done))
        return Step(self._view(), -cost, costs, done, np.zeros(self.num_envs, np.bool_), info=info)

    def _dispatched(self, stage: Array, volume: Array, inflow: Array, target: Array) -> Any:
        """One call for all rows; a failure is told in terms of instances."""
        try:
            return self.dispatch.solve(stage, volume, inflow, target)
        except StageInfeasible as error:
            if error.row is None:
                raise
            row = error.row
            saved = error.saved
            if not saved and self.network is not None:
                t = int(stage[row])
                state, last = (volume[row], inflow[row], target[row]), t == self.horizon - 1
                saved = save_stage(self.case, self.network, t, *state, last=last)
            instance = f"instance {self.instance[row]} of split {self.split}, seed {self.seed}"
            raise StageInfeasible(error.stage, instance, error.reason, saved) from error

    def _costs(self, stage: Array, missing: Array, target: Array) -> Array:
        """One column per constraint: unserved energy in % of the load, and storage that is short in its stage."""
        columns = {"eens": self.ledger.eens(missing), "storage": self._short(stage, target)}
        return np.array([columns[constraint.name] for constraint in self.constraints]).reshape(-1, len(stage)).T

    def _short(self, stage: Array, target: Array) -> Array:
        """By how much stored power falls short in the stage of the limit, in % of that of full reservoirs."""
        when, share = self.storage
        short = share - stored_share(self.case, target)
        return np.where(stage == when, 100.0 * np.maximum(short, 0.0), 0.0)

    def _refuse_broken(self, action: Array) -> None:
        broken = np.argwhere(~np.isfinite(action))
        if len(broken):
            row, plant = broken[0]
            raise BrokenEnvironment(
                f"stage {self.stage[row] + 1}, instance {self.instance[row]}: the end volume proposed for "
                f"{self.case.hydros.names[plant]} is {action[row, plant]}, not a finite number of hm3"
            )

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here."""
        arrays: dict[str, Array] = {name: getattr(self, name).copy() for name in _STATE}
        arrays["totals"] = np.array([self.totals[metric.name] for metric in METRICS])
        arrays["counters"] = np.array([self.next_index, self.seed], np.int64)
        return arrays

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        for name in _STATE:
            getattr(self, name)[:] = state[name]
        for metric, total in zip(METRICS, state["totals"], strict=True):
            self.totals[metric.name][:] = total
        self.next_index, self.seed = (int(value) for value in state["counters"])
        return self._view()


def stored_share(case: Case, volume: Array) -> Array:
    """Volumes ``(..., plants)``, weighted by the plants' production, as a share of those of full reservoirs.

    1 where nothing can be stored.
    """
    stored: Array = (volume * case.hydros.production).sum(axis=-1)
    capacity = storage_capacity(case)
    return stored / capacity if capacity > 0 else np.ones_like(stored)


def storage_capacity(case: Case) -> float:
    """Volumes of full reservoirs, weighted by the plants' production."""
    return float((case.hydros.max_volume * case.hydros.production).sum())

"""The batched environment of online 3D bin packing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.problem import Constraint, Metric
from interlock.domains.bin_packing import model
from interlock.domains.bin_packing.generators import DATA_STREAM, STREAMS, capacity
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.userdata import UserItems

_SPLIT_SALT = {"train": 1, "validation": 2, "test": 3}

METRICS = (
    Metric("items_packed", "items", "boxes set down before the episode ended"),
    Metric("ended_blocked", "share", "episodes that ended because the next box had no feasible position"),
    Metric("ended_illegal", "share", "episodes that ended by an infeasible action"),
    Metric("ended_exhausted", "share", "episodes in which every box of the sequence was packed"),
)


def stream_seed(seed: int, split: Split) -> int:
    """Seed of the generated instances of a split, unsigned 64 bit."""
    return (seed * 4 + _SPLIT_SALT[split]) % 2**64


_STATE = ("heights", "items", "lengths", "cursor", "instance", "masks")


class BinPackingEnvironment:
    """A batch of bins, each with its own stream of boxes. Implements ``interlock.core.environment.BatchEnvironment``.

    Observation: ``height_map`` int16 ``(n, L, W)``, ``items`` int16 ``(n, 1, 3)`` (length, width, height of the box in
    front, cells), ``action_mask`` bool ``(n, O * L * W)``. At least one action is always feasible.

    Args:
        scenario: the numbers.
        num_envs: rows.
        seed: of the instance stream.
        split: instances of different splits never coincide, even for the same seed.
        constraints: columns of the cost: illegal placements, then overhang if it is limited.
        data: the user's own sequences, played in place of generated ones (instance ``k`` is sequence ``k``, wrapping).
    """

    def __init__(
        self,
        scenario: BinPackingScenario,
        num_envs: int,
        *,
        seed: int,
        split: Split,
        constraints: tuple[Constraint, ...],
        data: UserItems | None = None,
    ):
        self.num_envs = num_envs
        self.constraints = constraints
        self.split = split
        size_x, size_y, self.ceiling = scenario.bin.length, scenario.bin.width, scenario.bin.height
        self.orientations = int(scenario.orientations)
        self.thresholds = scenario.thresholds()
        self.actions = self.orientations * size_x * size_y
        room = capacity(size_x, size_y, self.ceiling, scenario.items.low)
        if data is None:
            self.stream = STREAMS[scenario.stream]
            self.data_items, self.data_lengths = np.zeros((1, 1, 3), np.int16), np.ones(1, np.int32)
        else:
            self.stream = DATA_STREAM
            self.data_items, self.data_lengths = data.items, data.lengths
            room = data.items.shape[1]
        self.sides = (scenario.items.low, scenario.items.high)
        largest = int(max(size_x, size_y, self.ceiling))
        self.observation_space = spaces.Dict(
            {
                "height_map": spaces.Box(0, self.ceiling, (size_x, size_y), np.int16),
                "items": spaces.Box(1, largest, (1, 3), np.int16),
                "action_mask": spaces.Box(0, 1, (self.actions,), np.bool_),
            }
        )
        self.action_space: spaces.Space[Any] = spaces.Discrete(self.actions)
        self.heights = np.zeros((num_envs, size_x, size_y), np.int16)
        self.items = np.zeros((num_envs, room, 3), np.int16)
        self.lengths = np.zeros(num_envs, np.int32)
        self.cursor = np.zeros(num_envs, np.int32)
        self.instance = np.zeros(num_envs, np.int64)
        self.masks = np.zeros((num_envs, self.actions), np.bool_)
        self._row_max = np.zeros((size_x, size_y), np.int16)
        self._scratch = np.zeros((room, 7), np.int16)
        self._rows = np.arange(num_envs)
        self._start(seed)

    def _start(self, seed: int) -> None:
        self.seed = seed
        self.stream_seed = np.uint64(stream_seed(seed, self.split))
        for row in range(self.num_envs):
            model.start_row(row, row, *self._source(), *self._rules(), *self._rows_state())
        self.next_index = self.num_envs

    def _source(self) -> tuple[Any, ...]:
        return self.stream, self.stream_seed, *self.sides, self.data_items, self.data_lengths

    def _rules(self) -> tuple[Any, ...]:
        return self.ceiling, self.orientations, self.thresholds

    def _rows_state(self) -> tuple[Array, ...]:
        return (*(getattr(self, name) for name in _STATE), self._row_max, self._scratch)

    def _view(self) -> Observation:
        front = self.items[self._rows, self.cursor]
        return {"height_map": self.heights.copy(), "items": front[:, None], "action_mask": self.masks.copy()}

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1`` again, of a new stream if a seed is given."""
        self._start(self.seed if seed is None else seed)
        return self._view()

    def step(self, action: Array) -> Step:
        """Set one box down per row; see ``model`` for the rules and the reward."""
        n = self.num_envs
        reward, unsupported = np.empty(n), np.empty(n)
        ended, packed = np.empty(n, np.int8), np.empty(n, np.int32)
        played = np.empty(n, np.int64)
        self.next_index = model.step_batch(
            np.asarray(action, np.int64),
            self.next_index,
            *self._source(),
            *self._rules(),
            *self._rows_state(),
            reward,
            unsupported,
            ended,
            packed,
            played,
        )
        cost = np.empty((n, len(self.constraints)))
        cost[:, 0] = ended == model.ILLEGAL
        if len(self.constraints) > 1:
            cost[:, 1] = unsupported
        return Step(
            observation=self._view(),
            reward=reward,
            cost=cost,
            terminated=ended != 0,
            truncated=np.zeros(n, np.bool_),
            info={
                "instance": played,
                "items_packed": packed,
                "ended_blocked": ended == model.BLOCKED,
                "ended_illegal": ended == model.ILLEGAL,
                "ended_exhausted": ended == model.EXHAUSTED,
            },
        )

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here."""
        arrays: dict[str, Array] = {name: getattr(self, name).copy() for name in _STATE}
        arrays["counters"] = np.array([self.next_index, self.seed], np.int64)
        return arrays

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        for name in _STATE:
            getattr(self, name)[:] = state[name]
        self.next_index, self.seed = (int(value) for value in state["counters"])
        self.stream_seed = np.uint64(stream_seed(self.seed, self.split))
        return self._view()

"""The batched environment of online 3D bin packing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.problem import Constraint, Metric
from interlock.domains.bin_packing import yard
from interlock.domains.bin_packing.generators import DATA_STREAM, room_of, source_of
from interlock.domains.bin_packing.scenario import BinPackingScenario, Stream
from interlock.domains.bin_packing.userdata import UserItems

_SPLIT_SALT = {"train": 1, "validation": 2, "test": 3}

_EVER = (
    Metric("items_packed", "items", "boxes set down before the episode ended"),
    Metric("ended_blocked", "share", "episodes that ended because no box held had a feasible position"),
    Metric("ended_illegal", "share", "episodes that ended by an infeasible action"),
    Metric("ended_exhausted", "share", "episodes in which every box of the sequence was packed"),
)
_BINS = Metric("bins_opened", "bins", "bins opened in the episode")


def metrics(scenario: BinPackingScenario, *, generated: bool = True) -> tuple[Metric, ...]:
    """Figures per episode: boxes packed, why it ended, bins opened, and the utilisation on each test stream.

    Test streams are played in turn, equally often. An instance counts as often as there are streams for its own one and
    as 0 for the others, so that the mean over all test instances is the mean over those of the stream.
    """
    bins = (_BINS,) if scenario.bins() > scenario.bin.open else ()
    streams = scenario.test_streams if generated else ()
    times = f"; an instance counts {len(streams)} times for its own stream and as 0 for the others"
    return (*_EVER, *bins, *(Metric(f"utilisation_{name}", "%", f"utilisation on {name}{times}") for name in streams))


def stream_seed(seed: int, split: Split) -> int:
    """Seed of the generated instances of a split, unsigned 64 bit."""
    return (seed * 4 + _SPLIT_SALT[split]) % 2**64


def streams_of(scenario: BinPackingScenario, split: Split) -> tuple[Stream, ...]:
    """The streams that the instances of a split come from in turn."""
    return scenario.test_streams if split == "test" and scenario.test_streams else (scenario.stream,)


def rules_of(scenario: BinPackingScenario, data: UserItems | None = None) -> yard.Rules:
    """The scenario's numbers for compiled code; a limit in the user's data puts the crush rule in force."""
    bin_, factor = scenario.bin, scenario.items.crush_factor
    limited = data is not None and bool(np.isfinite(data.limits).any())
    return yard.Rules(
        ceiling=bin_.height,
        orientations=int(scenario.orientations),
        thresholds=scenario.thresholds(),
        bins=scenario.bins(),
        max_weight=np.inf if bin_.max_weight is None else bin_.max_weight,
        crush_factor=np.inf if factor is None else factor,
        stacking=scenario.stacking,
        crush=factor is not None or limited,
        cog_radius=scenario.cog_radius * min(bin_.length, bin_.width),
        cog=scenario.max_cog_offset is not None,
        spread=scenario.max_height_spread is not None,
    )


class BinPackingEnvironment:
    """A batch of yards of bins, each with its own stream of boxes; see ``yard.py`` for the rules and the actions.

    Implements ``interlock.core.environment.BatchEnvironment``. Observation: ``height_map`` int16 ``(n, L, W)``, or
    ``(n, B, L, W)`` with several open bins; ``items`` int16 ``(n, K, 3)`` (length, width, height in cells; those held,
    then those known to follow, ``K`` the larger of look-ahead and buffer; zeros beyond the end of the sequence);
    ``weights`` float32 ``(n, K)`` in kg where they matter; ``action_mask`` bool ``(n, B * b * O * L * W)``. At least
    one action is always feasible.

    Args:
        scenario: the numbers.
        num_envs: rows.
        seed: of the instance stream.
        split: instances of different splits never coincide, even for the same seed.
        constraints: columns of the cost, by name (see ``problem.constraints``).
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
        self.scenario = scenario
        self.rules = rules_of(scenario, data)
        self._streams = streams_of(scenario, split)
        self._metrics = metrics(scenario, generated=data is None)
        generated = source_of(scenario, 0, self._streams)
        if data is None:
            self._source, room = generated, room_of(generated)
            data_items, data_weights = np.zeros((1, 1, 3), np.int16), np.zeros((1, 1))
            self._data = yard.Data(
                data_items, np.ones(1, np.int32), data_weights, np.full((1, 1), np.nan), np.zeros((1, 1), np.bool_)
            )
        else:
            self._source, room = generated._replace(streams=np.array([DATA_STREAM])), data.items.shape[1]
            self._data = yard.Data(data.items, data.lengths, data.weights, data.limits, data.upright)
        self.rows = _rows(scenario, num_envs, room, boxes=room if self.rules.stacking or self.rules.crush else 0)
        self._scratch = np.zeros((room, 7), np.int16)
        self._row_max = np.zeros((scenario.bin.length, scenario.bin.width), np.int16)
        self._known = max(scenario.look_ahead, scenario.buffer)
        self.observation_space = _space(scenario, self._known)
        self.action_space: spaces.Space[Any] = spaces.Discrete(self.rows.masks.shape[1])
        self._start(seed)

    def _start(self, seed: int) -> None:
        self._seed(seed)
        for row in range(self.num_envs):
            yard.start(row, row, self._source, self._data, self.rules, self.rows, self._row_max, self._scratch)
        self.next_index = self.num_envs

    def _seed(self, seed: int) -> None:
        self.seed = seed
        self._source = self._source._replace(seed=np.uint64(stream_seed(seed, self.split)))

    def _view(self) -> Observation:
        heights = self.rows.heights if self.scenario.bin.open > 1 else self.rows.heights[:, 0]
        items = np.empty((self.num_envs, self._known, 3), np.int16)
        weights = np.empty((self.num_envs if self.scenario.weighs() else 0, self._known), np.float32)
        yard.show(self.rows, items, weights)
        view = {"height_map": heights.copy(), "items": items, "action_mask": self.rows.masks.copy()}
        return {**view, "weights": weights} if self.scenario.weighs() else view

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1`` again, of a new stream if a seed is given."""
        self._start(self.seed if seed is None else seed)
        return self._view()

    def step(self, action: Array) -> Step:
        """Set one box down per row; see ``yard`` for the rules and the reward."""
        n = self.num_envs
        out = yard.blank(n)
        self.next_index = yard.step(
            np.asarray(action, np.int64),
            self.next_index,
            self._source,
            self._data,
            self.rules,
            self.rows,
            self._row_max,
            self._scratch,
            out,
        )
        columns = {
            "illegal_placements": out.ended == yard.ILLEGAL,
            "overhang": out.unsupported,
            "cog_offset": out.off_centre,
            "height_spread": out.spread,
        }
        return Step(
            observation=self._view(),
            reward=out.reward,
            cost=np.stack([columns[constraint.name] for constraint in self.constraints], axis=1).astype(np.float64),
            terminated=out.ended != 0,
            truncated=np.zeros(n, np.bool_),
            info=self._info(out),
        )

    def _info(self, out: yard.Outcome) -> dict[str, Array]:
        info: dict[str, Array] = {
            "instance": out.played,
            "items_packed": out.placed,
            "ended_blocked": out.ended == yard.BLOCKED,
            "ended_illegal": out.ended == yard.ILLEGAL,
            "ended_exhausted": out.ended == yard.EXHAUSTED,
            "bins_opened": out.opened,
        }
        bin_ = self.scenario.bin
        utilisation = 100.0 * out.volume / (self.rules.bins * bin_.length * bin_.width * bin_.height)
        for metric in self._metrics:
            if metric.name.startswith("utilisation_"):
                own = np.array([metric.name == f"utilisation_{name}" for name in self._streams])
                turn = out.played % len(self._streams)
                info[metric.name] = np.where(own[turn], len(self._streams) * utilisation, 0.0)
        return info

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here."""
        arrays: dict[str, Array] = {name: array.copy() for name, array in self.rows._asdict().items()}
        arrays["counters"] = np.array([self.next_index, self.seed], np.int64)
        return arrays

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        for name, array in self.rows._asdict().items():
            array[:] = state[name]
        self.next_index, seed = (int(value) for value in state["counters"])
        self._seed(seed)
        return self._view()


def _rows(scenario: BinPackingScenario, n: int, room: int, *, boxes: int) -> yard.Rows:
    """Empty rows for sequences of at most ``room`` boxes; ``boxes`` of them are remembered per bin."""
    bin_, bins = scenario.bin, scenario.bin.open
    actions = bins * scenario.buffer * int(scenario.orientations) * bin_.length * bin_.width
    return yard.Rows(
        heights=np.zeros((n, bins, bin_.length, bin_.width), np.int16),
        items=np.zeros((n, room, 3), np.int16),
        weights=np.zeros((n, room)),
        limits=np.full((n, room), np.inf),
        upright=np.zeros((n, room), np.bool_),
        lengths=np.zeros(n, np.int32),
        held=np.zeros((n, scenario.buffer), np.int32),
        following=np.zeros(n, np.int32),
        placed=np.zeros(n, np.int32),
        volume=np.zeros(n, np.int64),
        opened=np.zeros(n, np.int32),
        instance=np.zeros(n, np.int64),
        loads=np.zeros((n, bins, 4)),
        packed=np.zeros((n, bins, boxes, 6), np.int16),
        packed_weights=np.zeros((n, bins, boxes)),
        packed_limits=np.zeros((n, bins, boxes)),
        counts=np.zeros((n, bins), np.int32),
        masks=np.zeros((n, actions), np.bool_),
    )


def _space(scenario: BinPackingScenario, known: int) -> spaces.Dict:
    bin_, bins = scenario.bin, scenario.bin.open
    shape = (bin_.length, bin_.width) if bins == 1 else (bins, bin_.length, bin_.width)
    actions = bins * scenario.buffer * int(scenario.orientations) * bin_.length * bin_.width
    largest = int(max(bin_.length, bin_.width, bin_.height))
    entries: dict[str, spaces.Space[Any]] = {
        "height_map": spaces.Box(0, bin_.height, shape, np.int16),
        "items": spaces.Box(0 if known > 1 else 1, largest, (known, 3), np.int16),
        "action_mask": spaces.Box(0, 1, (actions,), np.bool_),
    }
    if scenario.weighs():
        entries["weights"] = spaces.Box(0, np.inf, (known,), np.float32)
    return spaces.Dict(entries)

"""Speed of bin packing beside a plain-numpy transcription of the same rule, in CPU seconds on one thread.

    python benchmarks/bin_packing_speed.py [--json | --record]

Every rate is the median of 5 repetitions in processor seconds, so that other work on the machine matters little;
ratios compare two rates of the same run. The peer is how such environments are usually written: a Python loop over
loading positions that slices the height map and reduces each slice with numpy. Before it is timed it is checked to give
the same masks, and exactly the same utilisation for the same actions.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402
from numba import njit  # noqa: E402

from interlock.domains.bin_packing import baselines, generators, model, problem  # noqa: E402
from interlock.domains.bin_packing.scenario import BinPackingScenario  # noqa: E402

REPETITIONS = 5
STREAMS = ("rs", "cut1", "cut2")
TARGETS = {"mask_and_random_step_o1": 400_000, "batched_step": 150_000, "linear12_decisions": 40_000}
"""Least rates per CPU second; a target holds for the slowest stream."""
RECORDED = (
    "mask_and_random_step_o1",
    "mask_and_random_step_o1_ratio",
    "mask_o1_ratio",
    "batched_step",
    "linear12_decisions",
)
"""Figures that ``--record`` writes, of the slowest stream; the row is called ``speed_`` and this name."""


class PlainBin:
    """One bin in plain numpy, for comparison: the support rule, one loading position after the other."""

    def __init__(self, size: tuple[int, int, int], orientations: int, thresholds: tuple[int, int, int]):
        self.size, self.orientations, self.thresholds = size, orientations, thresholds
        self.reset()

    def reset(self) -> None:
        """Empty the bin."""
        self.heights = np.zeros(self.size[:2], int)
        self.volume = 0

    def feasible(self, window: np.ndarray, height: int) -> bool:
        """Whether a box of this height may stand on this part of the height map."""
        top = window.max()
        if top + height > self.size[2]:
            return False
        theta4, theta3, theta0 = self.thresholds
        supported, area = 10_000 * np.count_nonzero(window == top), window.size
        if supported == 10_000 * area or supported > theta0 * area:
            return True
        corners = sum(corner == top for corner in (window[0, 0], window[0, -1], window[-1, 0], window[-1, -1]))
        return bool((corners == 4 and supported > theta4 * area) or (corners >= 3 and supported > theta3 * area))

    def mask(self, item: np.ndarray) -> np.ndarray:
        """Feasibility of every action."""
        size_x, size_y = self.size[:2]
        mask = np.zeros((self.orientations, size_x, size_y), bool)
        ways = [self.sides(item, orientation) for orientation in range(self.orientations)]
        for orientation, (length, width, height) in enumerate(ways):
            if ways[orientation] in ways[:orientation]:
                continue
            for x in range(size_x - length + 1):
                for y in range(size_y - width + 1):
                    window = self.heights[x : x + length, y : y + width]
                    mask[orientation, x, y] = self.feasible(window, height)
        return mask.reshape(-1)

    def place(self, item: np.ndarray, action: int) -> None:
        """Set the box down."""
        orientation, cell = divmod(action, self.size[0] * self.size[1])
        x, y = divmod(cell, self.size[1])
        length, width, height = self.sides(item, orientation)
        window = self.heights[x : x + length, y : y + width]
        window[:] = window.max() + height
        self.volume += length * width * height

    def utilisation(self) -> float:
        """Packed share of the bin, %."""
        return 100.0 * self.volume / (self.size[0] * self.size[1] * self.size[2])

    @staticmethod
    def sides(item: np.ndarray, orientation: int) -> tuple[int, int, int]:
        """Length, width and height of the item as it is turned."""
        a, b, c = (int(side) for side in item)
        return ((a, b, c), (b, a, c), (a, c, b), (c, a, b), (b, c, a), (c, b, a))[orientation]


@njit(cache=True)
def pick_feasible(masks, ranks):  # type: ignore[no-untyped-def]
    """One feasible action per row: the ``ranks[r]``-th, counted around."""
    actions = np.zeros(masks.shape[0], np.int64)
    for r in range(masks.shape[0]):
        left = ranks[r] % max(1, masks[r].sum())
        for action in range(masks.shape[1]):
            if masks[r, action]:
                if left == 0:
                    actions[r] = action
                    break
                left -= 1
    return actions


def rate(work: Callable[[], tuple[int, float]]) -> float:
    """Median of things done per CPU second; ``work`` returns how many and in how many seconds. Warmed up once."""
    work()
    results = [work() for _ in range(REPETITIONS)]
    return statistics.median(done / seconds for done, seconds in results)


def timed(function: Callable[[], Any], done: int) -> Callable[[], tuple[int, float]]:
    """Work that is timed as a whole."""

    def work() -> tuple[int, float]:
        started = time.process_time()
        function()
        return done, time.process_time() - started

    return work


def setting(stream: str, orientations: int) -> BinPackingScenario:
    """The 10 x 10 x 10 bin with the 64 items of sides 2 to 5 and the released support thresholds."""
    return BinPackingScenario.model_validate({"name": "speed", "stream": stream, "orientations": orientations})


def size_of(scenario: BinPackingScenario) -> tuple[int, int, int]:
    return scenario.bin.length, scenario.bin.width, scenario.bin.height


def pool_of(scenario: BinPackingScenario, count: int) -> tuple[np.ndarray, np.ndarray]:
    items, lengths, _ = generators.sequences(
        scenario.stream, count, seed=1, size=size_of(scenario), low=scenario.items.low, high=scenario.items.high
    )
    return items, lengths


def check_peer(scenario: BinPackingScenario, episodes: int = 12) -> None:
    """The peer gives the same masks, and exactly the same utilisation, for the same actions.

    Raises:
        AssertionError: it does not, and its timing would mean nothing.
    """
    environment = problem.build(scenario).environment(1, seed=1, split="test")
    per_reward = problem.BinPackingProblem.objective.per_reward
    bin_volume = int(np.prod(size_of(scenario)))
    rng = np.random.default_rng(0)
    peer = PlainBin(size_of(scenario), int(scenario.orientations), scenario.thresholds())
    observation, finished, volume = environment.reset(), 0, 0
    while finished < episodes:
        item, mask = observation["items"][0, 0], observation["action_mask"]
        assert np.array_equal(peer.mask(item), mask[0]), "the masks differ"
        action = pick_feasible(mask, rng.integers(0, 1 << 30, 1))
        peer.place(item, int(action[0]))
        step = environment.step(action)
        volume += round(float(step.reward[0]) * per_reward * bin_volume / 100)
        observation = step.observation
        if step.done[0]:
            assert 100.0 * volume / bin_volume == peer.utilisation(), "the utilisation differs"
            finished, volume = finished + 1, 0
            peer.reset()


def plain_play(scenario: BinPackingScenario, steps: int) -> Callable[[], None]:
    """Random feasible play of the peer over generated sequences."""
    items, lengths = pool_of(scenario, 200)

    def play() -> None:
        rng = np.random.default_rng(0)
        peer = PlainBin(size_of(scenario), int(scenario.orientations), scenario.thresholds())
        placed, source, cursor = 0, 0, 0
        while placed < steps:
            options = np.flatnonzero(peer.mask(items[source, cursor]))
            if len(options):
                peer.place(items[source, cursor], int(options[rng.integers(len(options))]))
                placed, cursor = placed + 1, cursor + 1
            if not len(options) or cursor == lengths[source]:
                source, cursor = (source + 1) % len(items), 0
                peer.reset()

    return play


def compiled_play(scenario: BinPackingScenario, steps: int) -> Callable[[], Any]:
    """Random feasible play of the compiled kernels over pre-generated sequences."""
    items, lengths = pool_of(scenario, 30_000)
    rules = (*size_of(scenario), int(scenario.orientations), scenario.thresholds())
    return lambda: model.random_play(items, lengths, *rules, steps, 0)


def mid_game(scenario: BinPackingScenario, rows: int, steps: int = 5) -> Any:
    """An environment some random steps into its episodes, and its observation."""
    environment = problem.build(scenario).environment(rows, seed=1, split="test")
    observation = environment.reset()
    rng = np.random.default_rng(0)
    for _ in range(steps):
        action = pick_feasible(observation["action_mask"], rng.integers(0, 1 << 30, rows))
        observation = environment.step(action).observation
    return environment, observation


def batched_step(scenario: BinPackingScenario, rows: int = 1024, steps: int = 100) -> Callable[[], tuple[int, float]]:
    """Steps of the public environment with observations and masks; choosing the random actions is not timed."""
    environment, first = mid_game(scenario, rows)
    state = {"observation": first}
    rng = np.random.default_rng(1)

    def work() -> tuple[int, float]:
        seconds = 0.0
        for _ in range(steps):
            action = pick_feasible(state["observation"]["action_mask"], rng.integers(0, 1 << 30, rows))
            started = time.process_time()
            state["observation"] = environment.step(action).observation
            seconds += time.process_time() - started
        return rows * steps, seconds

    return work


def mask_only(scenario: BinPackingScenario, rows: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Masks of the same mid-game states: compiled, and by the peer."""
    _, observation = mid_game(scenario, rows)
    heights, items = observation["height_map"], np.ascontiguousarray(observation["items"][:, 0])
    orientations, thresholds = int(scenario.orientations), scenario.thresholds()
    peers = []
    for row in range(min(rows, 200)):
        peer = PlainBin(size_of(scenario), orientations, thresholds)
        peer.heights = heights[row].astype(int)
        peers.append((peer, items[row]))
    compiled = lambda: model.mask_batch(heights, items, orientations, scenario.bin.height, thresholds)  # noqa: E731
    return compiled, lambda: [peer.mask(item) for peer, item in peers]


def generator(scenario: BinPackingScenario, count: int) -> Callable[[], Any]:
    return lambda: pool_of(scenario, count)


def greedy_decisions(scenario: BinPackingScenario, rows: int = 512) -> Callable[[], Any]:
    """Decisions of ``linear12`` for a batch of mid-game states."""
    _, observation = mid_game(scenario, rows)
    policy = baselines.linear12(scenario)
    return lambda: policy.act(observation)


def measurements() -> Iterator[tuple[str, str, float, str]]:
    """All figures in turn: (name, stream, value, unit)."""
    for orientations in (1, 2):
        for stream in STREAMS:
            scenario = setting(stream, orientations)
            check_peer(scenario)
            name = f"mask_and_random_step_o{orientations}"
            compiled = rate(timed(compiled_play(scenario, 200_000), 200_000))
            plain = rate(timed(plain_play(scenario, 300), 300))
            yield name, stream, compiled, "steps / CPU s"
            yield f"plain_numpy_step_o{orientations}", stream, plain, "steps / CPU s"
            yield f"{name}_ratio", stream, compiled / plain, "x plain numpy"
    for orientations in (1, 2):
        ours, theirs = mask_only(setting("cut2", orientations), 4096)
        compiled, plain = rate(timed(ours, 4096)), rate(timed(theirs, 200))
        yield f"mask_o{orientations}", "cut2", compiled, "masks / CPU s"
        yield f"mask_o{orientations}_ratio", "cut2", compiled / plain, "x plain numpy"
    for stream in STREAMS:
        yield "batched_step", stream, rate(batched_step(setting(stream, 1))), "steps / CPU s"
    for stream in STREAMS:
        yield "generator", stream, rate(timed(generator(setting(stream, 1), 10_000), 10_000)), "sequences / CPU s"
    for stream in STREAMS:
        yield "linear12_decisions", stream, rate(timed(greedy_decisions(setting(stream, 1)), 512)), "decisions / CPU s"


def main() -> int:
    """Measure everything, show it, and tell whether the targets are met (exit code 1 if not)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    how.add_argument("--record", action="store_true", help="write the rates into domains/bin_packing/results.json")
    options = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    units: dict[str, str] = {}
    for name, stream, value, unit in measurements():
        rows.setdefault(name, {})[stream] = value
        units[name] = unit
        if not options.json:
            print(f"{name:30s} {stream:5s} {value:14,.{1 if value < 1000 else 0}f} {unit}", flush=True)
    slowest = {name: min(by_stream.values()) for name, by_stream in rows.items()}
    missed = [name for name, target in TARGETS.items() if slowest[name] < target]
    if options.json:
        print(json.dumps({"rates": rows, "units": units, "targets": TARGETS, "missed": missed}))
    else:
        for name, target in TARGETS.items():
            print(f"{name}: at least {target:,} wanted: {'missed' if name in missed else 'met'}")
    if options.record:
        from interlock.scenarios.record import record_row

        command = "python benchmarks/bin_packing_speed.py --record"
        for name in RECORDED:
            print(record_row("bin_packing", f"speed_{name}", value=slowest[name], unit=units[name], command=command))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Bin packing beside the way the published environment computes it, in CPU seconds of one core.

    python benchmarks/bin_packing_peers.py [--record] [--jumanji PYTHON]

The peer (``peers/loop_bin_packing.py``) is a transcription in plain Python of the algorithm of Zhao et al., AAAI 2021,
and of the code published with it: a double loop over loading positions. Nothing is timed before it has been shown to do
the same: both play the same sequences with the same actions, and every mask, every height map and every episode's
utilisation must be equal to the last bit. Then, of one stream after the other:

environment  steps of the public environment, 1,024 bins at once, masks and observations included, against steps of the
             peer, one bin, the same sequences and actions. What one bin at a time does is shown beside it.
mask         compiled masks of mid-game states against the peer's masks of the same states.
generator    sequences of the cutting streams.
fallback     masks of the same states by the vectorised numpy path (``placements.placement_report``), which needs no
             compiler, against the peer's; of one state at a time as well.

Every rate is in processor seconds; ours and theirs take turns, a ratio is the median of 7 turns, and the slowest stream
counts. jumanji's BinPack-v2 (another problem: all boxes known, empty maximal spaces as positions) is timed where a
Python that has it is named; it is never needed.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402
from bin_packing_speed import pick_feasible, pool_of, setting, size_of  # noqa: E402
from peers.loop_bin_packing import Box, LoopEnvironment, Space, cut_sequence  # noqa: E402

from interlock.domains.bin_packing import bounds, model, problem  # noqa: E402
from interlock.domains.bin_packing.environment import stream_seed  # noqa: E402
from interlock.domains.bin_packing.placements import FEASIBLE, placement_report  # noqa: E402
from interlock.domains.bin_packing.scenario import BinPackingScenario  # noqa: E402

TURNS = 7
STREAMS = ("rs", "cut1", "cut2")
ROWS, STEPS = 1024, 48
PLAYED = 60
"""Episodes that the peer plays again in one turn."""
STATES, PEER_STATES = 4096, 128
TARGETS = {"environment": 100, "mask": 100, "generator": 15, "fallback": 5}
"""Least ratios; the row is called ``peer_`` and this name."""
HERE = Path(__file__).parent


class Recording:
    """Random feasible play of one stream: actions to be played again, and what the finished episodes came to.

    Args:
        scenario: whose stream.
        rows: bins at once.
        steps: of each.

    Attributes:
        actions: ``(steps, rows)``.
        episodes: items, actions and utilisation of the finished episodes.
    """

    def __init__(self, scenario: BinPackingScenario, rows: int, steps: int):
        self.scenario = scenario
        environment = self.environment(rows)
        observation = environment.reset()
        rng = np.random.default_rng(0)
        volume, cells = np.zeros(rows, np.int64), int(np.prod(size_of(scenario)))
        taken: list[list[int]] = [[] for _ in range(rows)]
        finished: list[tuple[int, list[int], float]] = []
        self.actions = np.empty((steps, rows), np.int64)
        for step in range(steps):
            self.actions[step] = pick_feasible(observation["action_mask"], rng.integers(0, 1 << 30, rows))
            volume += observation["items"][:, 0].astype(np.int64).prod(axis=1)
            done = environment.step(self.actions[step])
            observation = done.observation
            for row in range(rows):
                taken[row].append(int(self.actions[step, row]))
                if done.terminated[row]:
                    finished.append((int(done.info["instance"][row]), taken[row], volume[row] / cells))
                    taken[row], volume[row] = [], 0
        seed = stream_seed(1, "test")
        items, lengths = bounds.generated_instances(scenario, seed, 1 + max(source for source, _, _ in finished))
        self.episodes = [
            ([(int(x), int(y), int(z)) for x, y, z in items[source, : lengths[source]]], actions, utilisation)
            for source, actions, utilisation in finished
        ]

    def environment(self, rows: int) -> Any:
        """The public environment of this stream."""
        return problem.build(self.scenario).environment(rows, seed=1, split="test")

    def check(self, episodes: int) -> None:
        """The peer gives the same masks and height maps at every step, and bit for bit the same utilisation.

        Raises:
            AssertionError: it does not, and its timing would mean nothing.
        """
        size, turns = size_of(self.scenario), int(self.scenario.orientations)
        rules = (turns, size[2], self.scenario.thresholds())
        peer = LoopEnvironment(size, turns)
        for items, actions, utilisation in self.episodes[:episodes]:
            _, mask = peer.reset(items)
            heights = np.zeros((1, *size[:2]), np.int16)
            for cursor, action in enumerate(actions):
                expected = model.mask_batch(heights, np.array(items[cursor : cursor + 1], np.int16), *rules)[0]
                assert np.array_equal(mask.astype(bool), expected), "the masks differ"
                model.place_one(heights[0], np.array(items[cursor], np.int16), action)
                _, _, ended, info = peer.step(action)
                assert not ended, "the peer refuses an action"
                assert np.array_equal(peer.space.plain, heights[0]), "the height maps differ"
                mask = info["mask"]
            assert info["ratio"] == utilisation, "the utilisation differs"

    def ours(self, rows: int) -> Callable[[], tuple[int, float]]:
        """The recorded actions once more, ``rows`` bins at once."""
        environment, steps = self.environment(rows), len(self.actions)
        actions = np.ascontiguousarray(self.actions[:, :rows])

        def work() -> tuple[int, float]:
            environment.reset()
            started = time.process_time()
            for step in range(steps):
                environment.step(actions[step])
            return steps * rows, time.process_time() - started

        return work

    def theirs(self) -> Callable[[], tuple[int, float]]:
        """The first finished episodes once more, by the peer; making its sequences is not timed."""
        peer = LoopEnvironment(size_of(self.scenario), int(self.scenario.orientations))

        def work() -> tuple[int, float]:
            done, started = 0, time.process_time()
            for items, actions, _ in self.episodes[:PLAYED]:
                peer.reset(items)
                for action in actions:
                    peer.step(action)
                done += len(actions)
            return done, time.process_time() - started

        return work


def timed(function: Callable[[], Any], done: int) -> Callable[[], tuple[int, float]]:
    """Work that is timed as a whole."""

    def work() -> tuple[int, float]:
        started = time.process_time()
        function()
        return done, time.process_time() - started

    return work


def side_by_side(ours: Callable[[], tuple[int, float]], theirs: Callable[[], tuple[int, float]]) -> tuple[float, ...]:
    """Medians of our rate, of theirs and of their ratio; they take turns, after one turn that does not count."""
    turns = []
    for _ in range(1 + TURNS):
        rates = [done / seconds for done, seconds in (ours(), theirs())]
        turns.append((rates[0], rates[1], rates[0] / rates[1]))
    return tuple(statistics.median(column) for column in zip(*turns[1:], strict=True))


def mid_game(scenario: BinPackingScenario, recording: Recording) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """Height maps and boxes in the middle of recorded episodes, and the same states for the peer."""
    size = size_of(scenario)
    heights, items = np.zeros((STATES, *size[:2]), np.int16), np.zeros((STATES, 3), np.int16)
    rng = np.random.default_rng(2)
    for row in range(STATES):
        boxes, actions, _ = recording.episodes[row % len(recording.episodes)]
        stop = int(rng.integers(len(actions)))
        for box, action in zip(boxes[:stop], actions[:stop], strict=True):
            model.place_one(heights[row], np.array(box, np.int16), action)
        items[row] = boxes[stop]
    spaces = []
    for row in range(PEER_STATES):
        space = Space(*size)
        space.plain = heights[row].astype(np.int32)
        spaces.append((space, Box(*(int(side) for side in items[row]))))
    return heights, items, spaces


def masks(scenario: BinPackingScenario, recording: Recording) -> dict[str, tuple[float, ...]]:
    """Compiled and numpy masks of the same states beside the peer's, after they have been compared."""
    heights, items, spaces = mid_game(scenario, recording)
    ceiling, thresholds = scenario.bin.height, scenario.thresholds()

    def compiled() -> np.ndarray:
        return model.mask_batch(heights, items, 1, ceiling, thresholds)

    def fallback(rows: slice = slice(None)) -> np.ndarray:
        report = placement_report(heights[rows], items[rows], ceiling=ceiling, orientations=1, thresholds=thresholds)
        return (report.rule == FEASIBLE).reshape(len(report.rule), -1)

    def one_by_one() -> None:
        for row in range(PEER_STATES):
            fallback(slice(row, row + 1))

    def peer() -> list[np.ndarray]:
        return [space.mask(box).reshape(-1).astype(bool) for space, box in spaces]

    assert np.array_equal(compiled(), fallback()), "compiled and fallback masks differ"
    assert np.array_equal(compiled()[:PEER_STATES], peer()), "the masks differ from the peer's"
    theirs = timed(peer, PEER_STATES)
    return {
        "mask": side_by_side(timed(compiled, STATES), theirs),
        "fallback": side_by_side(timed(fallback, STATES), theirs),
        "fallback, one state": side_by_side(timed(one_by_one, PEER_STATES), theirs),
    }


def generators(scenario: BinPackingScenario) -> tuple[float, ...]:
    """Sequences of a cutting stream; every sequence of the peer has to fill the bin, too."""
    size, sides = size_of(scenario), (scenario.items.low, scenario.items.high)
    rng = random.Random(0)

    def peer() -> None:
        for _ in range(200):
            items = cut_sequence(scenario.stream, size, *sides, rng)
            assert sum(x * y * z for x, y, z in items) == size[0] * size[1] * size[2]

    return side_by_side(timed(lambda: pool_of(scenario, 10_000), 10_000), timed(peer, 200))


def measure() -> dict[str, dict[str, tuple[float, ...]]]:
    """All figures: name -> stream -> (our rate, their rate, ratio); shown as they come."""
    found: dict[str, dict[str, tuple[float, ...]]] = {}

    def show(name: str, stream: str, figure: tuple[float, ...]) -> None:
        found.setdefault(name, {})[stream] = figure
        print(
            f"{name:24s} {stream:5s} {figure[0]:12,.0f} / {figure[1]:8,.0f} per CPU s = {figure[2]:7.1f} x", flush=True
        )

    for stream in STREAMS:
        Recording(setting(stream, 2), 64, STEPS).check(PLAYED)
        scenario = setting(stream, 1)
        recording = Recording(scenario, ROWS, STEPS)
        recording.check(PLAYED)
        show("environment", stream, side_by_side(recording.ours(ROWS), recording.theirs()))
        show("environment, one bin", stream, side_by_side(recording.ours(1), recording.theirs()))
        for name, figure in masks(scenario, recording).items():
            show(name, stream, figure)
        if stream != "rs":
            show("generator", stream, generators(scenario))
    return found


def jumanji(python: str) -> None:
    """Show the rates of jumanji's BinPack-v2, or say what is missing."""
    runner = HERE / "peers" / "jumanji_bin_packing.py"
    done = subprocess.run([python, str(runner)], capture_output=True, text=True)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        print(
            f"jumanji's BinPack-v2 not timed: {last[0]}\n"
            "  pip install jumanji into an environment of its own and name its interpreter: --jumanji PYTHON"
        )
        return
    for name, value in json.loads(done.stdout.splitlines()[-1]).items():
        print(f"jumanji BinPack-v2, {name}: {value:,.0f} steps per CPU s")


def main() -> int:
    """Check, measure, show, and record if asked; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the ratios into domains/bin_packing/results.json")
    parser.add_argument("--jumanji", metavar="PYTHON", default=sys.executable, help="interpreter that has jumanji")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found = measure()
    slowest = {name: min(figure[2] for figure in found[name].values()) for name in TARGETS}
    for name, target in TARGETS.items():
        verdict = "met" if slowest[name] >= target else "missed"
        print(f"{name}: {slowest[name]:.1f} x, at least {target} x wanted: {verdict}")
    if options.record:
        from interlock.scenarios.record import record_row

        command = "python benchmarks/bin_packing_peers.py --record"
        for name, value in slowest.items():
            print(record_row("bin_packing", f"peer_{name}", value=value, unit="x the peer", command=command))
    jumanji(options.jumanji)
    return int(any(slowest[name] < target for name, target in TARGETS.items()))


if __name__ == "__main__":
    sys.exit(main())

"""Exactness of bin packing, measured at the size the requirements name.

    python benchmarks/bin_packing_exactness.py [--record]

1. Replay: 1,000 CUT-1 and 1,000 CUT-2 sequences are packed at their recorded positions; counted are the sequences of
   which every position was feasible under every preset and which filled the bin.
2. Masks: 10,000 random (state, box, orientation) per bin size (10^3 and 20^3), preset and number of orientations (2
   and 6), compiled kernel and numpy fallback against a plain loop over the loading positions; counted are the masks
   that differ.
"""

import argparse
import itertools

import numpy as np
from bin_packing_speed import PlainBin

from interlock.domains.bin_packing.generators import sequences
from interlock.domains.bin_packing.model import mask_batch, place_one
from interlock.domains.bin_packing.placements import feasible_placements
from interlock.domains.bin_packing.scenario import PRESETS, BinPackingScenario

COMMAND = "python benchmarks/bin_packing_exactness.py --record"


def thresholds_of(preset: str) -> tuple[int, int, int]:
    """Support thresholds of a preset, in 1/10,000."""
    return BinPackingScenario.model_validate({"name": preset, "stability": preset}).thresholds()


def replayed(stream: str, count: int = 1000) -> int:
    """Sequences that replay to a full bin through feasible placements only, under every preset."""
    items, lengths, positions = sequences(stream, count, seed=1, size=(10, 10, 10), low=2, high=5)
    heights, good = np.zeros((count, 10, 10), np.int16), np.ones(count, bool)
    for step in range(lengths.max()):
        rows = np.flatnonzero(lengths > step)
        actions = positions[rows, step, 0] * 10 + positions[rows, step, 1]
        for preset in PRESETS:
            masks = mask_batch(heights[rows], items[rows, step], 1, 10, thresholds_of(preset))
            good[rows] &= masks[np.arange(len(rows)), actions]
        for row, action in zip(rows, actions, strict=True):
            place_one(heights[row], items[row, step], action)
    return int((good & (heights == 10).all(axis=(1, 2))).sum())


def played_states(side: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Height maps after random stacks of boxes, and the boxes to come."""
    rng = np.random.default_rng(side)
    heights = np.zeros((count, side, side), np.int16)
    for row in heights:
        for _ in range(rng.integers(0, 3 * side)):
            length, width, height = rng.integers(2, side // 2 + 1, 3)
            x, y = rng.integers(0, side - length + 1), rng.integers(0, side - width + 1)
            top = row[x : x + length, y : y + width].max() + height
            if top <= side:
                row[x : x + length, y : y + width] = top
    return heights, rng.integers(2, side // 2 + 1, (count, 3)).astype(np.int16)


def differing_masks(side: int, preset: str, orientations: int, triples: int = 10_000) -> tuple[int, int]:
    """Masks of (state, box, orientation) that differ between compiled, fallback and plain loop, and masks compared."""
    thresholds = thresholds_of(preset)
    heights, boxes = played_states(side, -(-triples // orientations))
    compiled = mask_batch(heights, boxes, orientations, side, thresholds)
    fallback = feasible_placements(heights, boxes, ceiling=side, orientations=orientations, thresholds=thresholds)
    plain = PlainBin((side, side, side), orientations, thresholds)
    differing = 0
    for row in range(len(boxes)):
        plain.heights = heights[row].astype(int)
        expected = np.asarray(plain.mask(boxes[row])).reshape(orientations, -1)
        for found in (compiled[row].reshape(orientations, -1), fallback[row].reshape(orientations, -1)):
            differing += int((found != expected).any(axis=1).sum())
    return differing, 2 * orientations * len(boxes)


def main() -> None:
    """Measure both, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    figures = {"replay": (sum(replayed(stream) for stream in ("cut1", "cut2")), "of 2,000 sequences")}
    cases = itertools.product((10, 20), PRESETS, (2, 6))
    differing, compared = np.sum([differing_masks(*case) for case in cases], axis=0)
    figures["masks"] = (int(differing), f"of {compared:,} masks")
    for row, (value, unit) in figures.items():
        print(f"{row}: {value} {unit}")
        if options.record:
            from interlock.scenarios.record import record_row

            print(record_row("bin_packing", row, value=value, unit=unit, command=COMMAND))


if __name__ == "__main__":
    main()

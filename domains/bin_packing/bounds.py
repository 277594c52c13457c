"""Bounds: the exact online optimum of tiny bins, and what no policy can exceed on a known sequence."""

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from interlock.core.environment import Array, Observation, Split
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Bound
from interlock.domains.bin_packing.generators import instances, source_of
from interlock.domains.bin_packing.model import mask_one, place_one
from interlock.domains.bin_packing.scenario import BinPackingScenario, Stream

LARGEST_EXACT = 4_000_000
"""Most height maps for which backward induction is offered (a few seconds)."""


@njit(cache=True)
def _encode(heights, base):
    """Height map -> its number in base ``base``; placing a box always gives a larger number."""
    code = 0
    for i in range(heights.shape[0]):
        for j in range(heights.shape[1]):
            code = code * base + heights[i, j]
    return code


@njit(cache=True)
def _best_action(heights, item, orientations, ceiling, thresholds, values, row_max, mask, after):
    """Best feasible action for one box and its value in cells of volume; ``(-1, 0)`` if there is none."""
    best_action, best = -1, 0.0
    if mask_one(heights, item, orientations, ceiling, thresholds, row_max, mask) > 0:
        box = float(item[0]) * item[1] * item[2]
        for action in range(mask.shape[0]):
            if mask[action]:
                after[:] = heights
                place_one(after, item, action)
                value = box + values[_encode(after, ceiling + 1)]
                if best_action < 0 or value > best:
                    best_action, best = action, value
    return best_action, best


@njit(cache=True)
def _backward_induction(size_x, size_y, ceiling, low, high, orientations, thresholds):
    """Expected volume still to be packed, for every height map, under the best policy.

    ``V(h) = mean over items of max over feasible placements of (volume + V(h'))``, 0 where nothing fits. Codes grow
    with every placement, so one descending sweep suffices.
    """
    base = ceiling + 1
    states = base ** (size_x * size_y)
    values = np.zeros(states, np.float64)
    heights = np.zeros((size_x, size_y), np.int16)
    after = np.empty_like(heights)
    row_max = np.empty_like(heights)
    mask = np.empty(orientations * size_x * size_y, np.bool_)
    item = np.empty(3, np.int16)
    kinds = high - low + 1
    for code in range(states - 1, -1, -1):
        rest = code
        for cell in range(size_x * size_y - 1, -1, -1):
            heights[cell // size_y, cell % size_y] = rest % base
            rest //= base
        total = 0.0
        for kind in range(kinds**3):
            item[0] = low + kind // (kinds * kinds)
            item[1] = low + kind // kinds % kinds
            item[2] = low + kind % kinds
            _, value = _best_action(heights, item, orientations, ceiling, thresholds, values, row_max, mask, after)
            total += value
        values[code] = total / kinds**3
    return values


@njit(cache=True)
def _greedy_in_values(heights, items, orientations, ceiling, thresholds, values):
    n, size_x, size_y = heights.shape
    actions = np.empty(n, np.int64)
    row_max = np.empty((size_x, size_y), np.int16)
    after = np.empty((size_x, size_y), np.int16)
    mask = np.empty(orientations * size_x * size_y, np.bool_)
    for r in range(n):
        actions[r], _ = _best_action(
            heights[r], items[r], orientations, ceiling, thresholds, values, row_max, mask, after
        )
    return actions


def has_exact_optimum(scenario: BinPackingScenario) -> bool:
    """Whether backward induction over all height maps is within reach: independent items, one at a time, a tiny bin."""
    digits = scenario.bin.length * scenario.bin.width  # the number of maps itself overflows for a large bin
    one_by_one = scenario.stream == "rs" and not scenario.test_streams and scenario.look_ahead == 1 and scenario.plain()
    return one_by_one and digits * math.log(scenario.bin.height + 1) <= math.log(LARGEST_EXACT)


def exact_values(scenario: BinPackingScenario) -> Array:
    """Expected volume still to be packed from every height map (cells), by backward induction.

    Raises:
        ValueError: the scenario is out of reach of backward induction, see ``has_exact_optimum``.
    """
    if not has_exact_optimum(scenario):
        raise ValueError(
            f"{scenario.name}: backward induction needs independent items, one known, and at most {LARGEST_EXACT} maps"
        )
    bin_, items = scenario.bin, scenario.items
    values: Array = _backward_induction(
        bin_.length, bin_.width, bin_.height, items.low, items.high, int(scenario.orientations), scenario.thresholds()
    )
    return values


def exact_optimum(scenario: BinPackingScenario) -> float:
    """Expected utilisation of the best online policy, as a fraction of the bin volume."""
    volume = scenario.bin.length * scenario.bin.width * scenario.bin.height
    return float(exact_values(scenario)[0]) / volume


def optimal_policy(scenario: BinPackingScenario) -> FunctionPolicy:
    """The best online policy of a tiny bin, greedy in the exact values."""
    values = exact_values(scenario)
    orientations, ceiling, thresholds = int(scenario.orientations), scenario.bin.height, scenario.thresholds()

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        actions: Array = _greedy_in_values(
            observation["height_map"], observation["items"][:, 0], orientations, ceiling, thresholds, values
        )
        return actions

    return FunctionPolicy(act)


def prefix_volumes(items: Array, lengths: Array, volume: int, *, bins: int = 1, buffer: int = 1) -> Array:
    """Largest share of the bins of an episode that the sequence allows to fill.

    A policy packs a prefix and stops at the first box that it cannot place, so no policy can pack more than the largest
    prefix that the bins hold; several open bins change nothing in this. With ``b`` boxes held, what is packed after
    ``n`` boxes is the first ``n + b - 1`` without ``b - 1`` of them: at least their volume without the ``b - 1``
    largest, which must not exceed the bins, and at most their volume without the ``b - 1`` smallest.

    Args:
        items: ``(N, M, 3)``.
        lengths: ``(N,)``.
        volume: of a bin, cells.
        bins: of an episode.
        buffer: boxes held.
    """
    boxes = items.astype(np.int64).prod(axis=2)
    boxes[np.arange(items.shape[1])[None] >= lengths[:, None]] = 0
    totals, room = boxes.cumsum(axis=1), bins * volume
    if buffer > 1:
        return np.array([_held_back(row[:n], room, buffer) for row, n in zip(boxes, lengths, strict=True)]) / room
    shares: Array = np.where(totals <= room, totals, 0).max(axis=1) / room
    return shares


def _held_back(boxes: Array, room: int, buffer: int) -> int:
    """Largest volume that can be packed of one sequence of volumes, with ``buffer`` boxes held."""
    total, best = 0, 0
    largest: list[int] = []
    smallest: list[int] = []
    for volume in boxes.tolist():
        total += volume
        largest = sorted([*largest, volume])[1 - buffer :]
        smallest = sorted([*smallest, volume])[: buffer - 1]
        if total - sum(largest) > room:
            return best
        best = max(best, min(room, total - sum(smallest)))
    return total if total <= room else max(best, min(room, total - smallest[0]))  # in the end fewer may be held


def bounds(
    scenario: BinPackingScenario, instances: Callable[[Split, int], tuple[Array, Array]], *, generated: bool
) -> dict[str, Bound]:
    """All bounds of a scenario by name, in % of the bins; the first is the reference of the normalised score.

    Args:
        scenario: the numbers.
        instances: ``(split, count) -> (items, lengths)`` of the instances that will be played.
        generated: whether they come from the scenario's stream; the exact optimum is an expectation over that stream
            and says nothing about a user's own sequences.
    """
    bin_ = scenario.bin
    volume = bin_.length * bin_.width * bin_.height

    def prefix(split: Split, count: int) -> Array:
        items, lengths = instances(split, count)
        return 100.0 * prefix_volumes(items, lengths, volume, bins=scenario.bins(), buffer=scenario.buffer)

    streams = set(scenario.test_streams or (scenario.stream,))
    attained = generated and scenario.plain() and streams <= {"cut1", "cut2"}
    found = {
        "perfect_information": Bound(
            "perfect_information",
            "perfect_information" if attained else "relaxation",
            prefix,
            "largest prefix of the sequence whose volume the bins can hold"
            + ("; attained on the cutting streams, whose recorded positions fill the bin" if attained else ""),
        )
    }
    if generated and has_exact_optimum(scenario):
        exact = Bound(
            "optimal_online",
            "exact",
            lambda split, count: np.array(100.0 * exact_optimum(scenario)),
            "expected utilisation of the best online policy, by backward induction over all height maps",
        )
        found = {"optimal_online": exact, **found}
    return found


def generated_instances(
    scenario: BinPackingScenario, seed: int, count: int, streams: tuple[Stream, ...] | None = None
) -> tuple[Array, Array]:
    """Items and lengths of generated instances.

    Args:
        scenario: the numbers.
        seed: of the instance stream inside the environment.
        count: how many.
        streams: played in turn; default: the scenario's one.
    """
    items, lengths, _, _ = instances(source_of(scenario, seed, streams), count)
    return items, lengths

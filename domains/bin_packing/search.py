"""Planning with the boxes that are known: policies that look ahead, and their choice of bin.

All of them read nothing but the observation and choose among its feasible placements; what they assume about boxes not
yet seen is said at each. Without a deadline the work per decision is fixed, and so is the answer.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numba import njit

from interlock.core.environment import Array, Observation
from interlock.core.policy import FunctionPolicy, Policy
from interlock.domains.bin_packing.beam import beam_search
from interlock.domains.bin_packing.bin_choice import ValueOfBins, fullest_first
from interlock.domains.bin_packing.map_value import fitted_value
from interlock.domains.bin_packing.one_step import one_step
from interlock.domains.bin_packing.permutation import LEAST_GAIN, permutation_search, simulations
from interlock.domains.bin_packing.rollout import rollout_search
from interlock.domains.bin_packing.scenario import BinPackingScenario

WIDTH = 64
"""Maps that the beam keeps per level; more hardly help while what comes after the known boxes is uncertain."""
LARGEST_JUDGED = 2_500
"""Most footprints times cells for which ``one_step`` is offered: it tries every footprint on every cell."""
BEAM_WEIGHTS = {
    "cut2": (-0.234, 0.958, 0.191, 0.341, 0.098, -1.509, -0.647, -0.206, -0.151, 0.29, -0.219, -0.137),
}
"""Weights of the placement features per stream, tuned by cross-entropy search for a beam of width 10 with five boxes
known, on 700 generated training sequences (none of any test set); for other streams those of the linear rule serve."""


@njit(cache=True)
def _beam_rows(heights, masks, items, orientations, ceiling, thresholds, weights, width, actions, depths):
    for r in range(heights.shape[0]):
        action, depths[r], _ = beam_search(
            heights[r], masks[r], items[r], orientations, ceiling, thresholds, weights, width
        )
        actions[r] = max(action, 0)


@njit(cache=True)
def _rollout_rows(
    heights, masks, items, samples, steps, orientations, ceiling, thresholds, weights, value, candidates, actions
):
    for r in range(heights.shape[0]):
        action = rollout_search(
            heights[r],
            masks[r],
            items[r],
            samples,
            steps,
            orientations,
            ceiling,
            thresholds,
            weights,
            value,
            candidates,
        )
        actions[r] = max(action, 0)


@njit(cache=True)
def _permutation_rows(
    heights, masks, items, orientations, ceiling, thresholds, weights, value, tries, least_gain, actions
):
    for r in range(heights.shape[0]):
        plan, _, _ = permutation_search(
            heights[r], masks[r], items[r], orientations, ceiling, thresholds, weights, value, tries, least_gain
        )
        actions[r] = max(plan[0], 0) if plan.shape[0] else 0


def _arrays(observation: Observation) -> tuple[Array, Array, Array]:
    """Height maps ``(n, L, W)``, masks and items as the compiled kernels want them."""
    return (
        np.ascontiguousarray(observation["height_map"], np.int16),
        np.ascontiguousarray(observation["action_mask"], np.bool_),
        np.ascontiguousarray(observation["items"], np.int16),
    )


def _rules(scenario: BinPackingScenario) -> tuple[int, int, tuple[int, int, int]]:
    return int(scenario.orientations), scenario.bin.height, scenario.thresholds()


def look_ahead(
    scenario: BinPackingScenario, *, width: int = WIDTH, weights: Any = None, deadline_ms: float | None = None
) -> FunctionPolicy:
    """Beam search over the known boxes in their true order; see ``beam``.

    Rules beyond the placement rule (stacking, loads) bind the front box, by its mask, and are not foreseen for others.

    Args:
        scenario: the numbers; one open bin, boxes taken in order.
        width: maps kept per level; as wide as there are maps, the search is exhaustive.
        weights: ``(12,)`` of the placement features; default: ``BEAM_WEIGHTS`` of the stream, or the linear rule's.
        deadline_ms: answer within this many milliseconds per row: the beam is widened from 1 by doubling for as long
            as the next width can be expected to end in time. The answer then depends on the machine.
    """
    tuned = BEAM_WEIGHTS.get(scenario.stream, scenario.linear12_weights)
    chosen = np.array(tuned if weights is None else weights, np.float64)

    def plan(heights: Array, masks: Array, items: Array, beam: int) -> Array:
        actions, depths = np.zeros(len(heights), np.int64), np.zeros(len(heights), np.int64)
        _beam_rows(heights, masks, items, *_rules(scenario), chosen, beam, actions, depths)
        return actions

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        heights, masks, items = _arrays(observation)
        if deadline_ms is None:
            return plan(heights, masks, items, width)
        rows = [(heights[r : r + 1], masks[r : r + 1], items[r : r + 1]) for r in range(len(heights))]
        return np.concatenate([widened(partial(plan, *row), width, deadline_ms) for row in rows])

    return FunctionPolicy(act)


def widened(search: Callable[[int], Array], width: int, deadline_ms: float) -> Array:
    """Answer of the widest beam that fits before the deadline, of width 1 in any case."""
    started = time.perf_counter()
    beam, answer = 1, search(1)
    last = spent = time.perf_counter() - started
    # Twice the width takes about twice the time; half as much again for surprises.
    while beam < width and 1000.0 * (spent + 3.0 * last) <= deadline_ms:
        beam = min(2 * beam, width)
        answer = search(beam)
        now = time.perf_counter() - started
        last, spent = now - spent, now
    return answer


def rollout(
    scenario: BinPackingScenario,
    *,
    candidates: int = 6,
    samples: int = 8,
    steps: int | None = None,
    value: Array | None = None,
    seed: int = 0,
) -> FunctionPolicy:
    """The best front placements by the linear rule, each continued by it; the mean packed volume decides.

    Boxes beyond the known ones are drawn independently from the item set and only used with a leaf value: without one
    rollouts end with the known boxes, as short rollouts into the unknown do harm.

    Args:
        scenario: the numbers; one open bin, boxes taken in order.
        candidates: placements of the front box that are tried.
        samples: continuations of each, with the same boxes for all.
        steps: boxes placed after the front one; default: one more than are known.
        value: ``(9,)`` for ``map_value.map_value``; default: none.
        seed: of the boxes drawn.
    """
    steps = scenario.look_ahead + 1 if steps is None else steps
    drawn = np.random.default_rng(seed).integers(
        scenario.items.low, scenario.items.high + 1, (samples, steps + 1, 3), np.int16
    )
    weights = np.array(scenario.linear12_weights)
    leaf = np.zeros(0) if value is None else np.asarray(value, np.float64)

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        heights, masks, items = _arrays(observation)
        actions = np.zeros(len(heights), np.int64)
        _rollout_rows(heights, masks, items, drawn, steps, *_rules(scenario), weights, leaf, candidates, actions)
        return actions

    return FunctionPolicy(act)


def permutation(
    scenario: BinPackingScenario,
    *,
    tries: int | None = None,
    value: Array | None = None,
    least_gain: float = LEAST_GAIN,
) -> FunctionPolicy:
    """Monte-Carlo permutation tree search over the known boxes; see ``permutation``.

    Args:
        scenario: the numbers; one open bin, boxes taken in order.
        tries: orders tried; default: as published.
        value: ``(9,)`` for ``map_value.map_value``; default: fitted to the scenario's stream.
        least_gain: reward that another order must gain over the true one.
    """
    weights = np.array(scenario.linear12_weights)
    leaf = fitted_value(scenario) if value is None else np.asarray(value, np.float64)
    most = simulations(scenario.look_ahead) if tries is None else tries

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        heights, masks, items = _arrays(observation)
        actions = np.zeros(len(heights), np.int64)
        _permutation_rows(heights, masks, items, *_rules(scenario), weights, leaf, most, least_gain, actions)
        return actions

    return FunctionPolicy(act)


def baselines(scenario: BinPackingScenario) -> Mapping[str, Callable[[int], Policy]]:
    """The searches and choices of bin that make sense for a scenario, by name; none where several boxes are held."""
    if scenario.buffer > 1:
        return {}
    if scenario.bin.open > 1:
        return {
            "value_bins": lambda seed: ValueOfBins(scenario),
            "fullest_first": lambda seed: fullest_first(scenario),
        }
    if scenario.look_ahead == 1:
        footprints = (scenario.items.high - scenario.items.low + 1) ** 2
        small = footprints * scenario.bin.length * scenario.bin.width <= LARGEST_JUDGED
        return {"one_step": lambda seed: one_step(scenario)} if small and scenario.stream != "picks" else {}
    return {
        "look_ahead": lambda seed: look_ahead(scenario),
        "rollout": lambda seed: rollout(scenario, seed=seed),
        "permutation": lambda seed: permutation(scenario),
    }

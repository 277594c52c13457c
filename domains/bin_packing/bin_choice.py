"""Which of several open bins takes the next box; the linear rule says where in it.

``linear12`` itself compares bins by the change of its score (best fit by tuned score). Here are the plain rule of the
trade, and the rule of Zhao, She, Zhu, Yang, Xu ("Online 3D Bin Packing with Constrained Deep Reinforcement Learning",
AAAI 2021, Algorithm 2): compare each bin's estimate with what it was at the bin's previous box.
"""

from typing import Any

import numpy as np
from numba import njit

from interlock.core.environment import Array, Observation
from interlock.core.policy import FunctionPolicy
from interlock.domains.bin_packing.beam import scratch_for
from interlock.domains.bin_packing.features import map_features
from interlock.domains.bin_packing.map_value import best_per_bin, fitted_value, map_value
from interlock.domains.bin_packing.model import place_one
from interlock.domains.bin_packing.scenario import BinPackingScenario

UNTOUCHED = -0.2
"""Score of an empty bin, in reward (a full bin is worth 10)."""


@njit(cache=True)
def _candidates(heights, masks, items, orientations, ceiling, weights, value, actions, afterwards):
    """Per row and bin: the linear rule's placement (-1 for none) and the estimate of the map that it leaves."""
    n, bins, size_x, size_y = heights.shape
    scratch, scores = scratch_for(size_x, size_y, orientations, ceiling), np.empty(bins)
    after = np.empty((size_x, size_y), np.int16)
    for r in range(n):
        before = map_features(heights[r], ceiling)
        best_per_bin(heights[r], masks[r], items[r], ceiling, before, weights, scratch, actions[r], scores)
        for b in range(bins):
            afterwards[r, b] = 0.0
            if actions[r, b] >= 0 and value.shape[0] > 0:
                after[:] = heights[r, b]
                place_one(after, items[r], actions[r, b])
                afterwards[r, b] = map_value(after, ceiling, value)


def _per_bin(scenario: BinPackingScenario, observation: Observation, value: Array) -> tuple[Array, Array]:
    """``_candidates`` of an observation: actions within each bin ``(n, B)``, estimates in cells ``(n, B)``."""
    heights = np.ascontiguousarray(observation["height_map"], np.int16)
    n, bins = heights.shape[:2]
    masks = np.ascontiguousarray(observation["action_mask"]).reshape(n, bins, -1)
    items = np.ascontiguousarray(observation["items"][:, 0], np.int16)
    actions, afterwards = np.empty((n, bins), np.int64), np.empty((n, bins))
    orientations, weights = int(scenario.orientations), np.array(scenario.linear12_weights)
    _candidates(heights, masks, items, orientations, scenario.bin.height, weights, value, actions, afterwards)
    return actions, afterwards


def _chosen(scores: Array, actions: Array, per_bin: int) -> tuple[Array, Array]:
    """Bin with the best score among those that take the box (the first on ties), and the index of the action."""
    bins: Array = np.argmax(np.where(actions >= 0, scores, -np.inf), axis=1)
    return bins, bins * per_bin + np.maximum(actions[np.arange(len(bins)), bins], 0)


def fullest_first(scenario: BinPackingScenario) -> FunctionPolicy:
    """The open bin with the highest height map that takes the box."""

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        actions, _ = _per_bin(scenario, observation, np.zeros(0))
        filled = observation["height_map"].sum(axis=(2, 3), dtype=np.int64)
        _, chosen = _chosen(filled, actions, observation["action_mask"].shape[1] // actions.shape[1])
        return chosen

    return FunctionPolicy(act)


class ValueOfBins:
    """Zhao et al.'s choice: reward of a bin's last box + estimate for this box in it - estimate at its last box.

    A bin gains by this choice where this box turns out better than was to be expected of it. An empty bin scores
    ``UNTOUCHED``. The policy remembers, per row and bin, what it expected when it last chose the bin.

    Args:
        scenario: the numbers; several open bins, boxes taken in order.
        value: ``(9,)`` for ``map_value.map_value``; default: fitted to the scenario's stream.
    """

    def __init__(self, scenario: BinPackingScenario, value: Array | None = None):
        self.scenario = scenario
        self.value = fitted_value(scenario) if value is None else np.asarray(value, np.float64)
        bin_ = scenario.bin
        self._reward_per_cell = 10.0 / (bin_.length * bin_.width * bin_.height)
        self._expected: dict[str, Any] = {}

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """One action per row (the rule has no randomness)."""
        actions, afterwards = _per_bin(self.scenario, observation, self.value)
        n, bins = actions.shape
        if len(self._expected.get("value", ())) != n:
            self._expected = {"value": np.zeros((n, bins)), "reward": np.zeros((n, bins))}
        rewards = self._reward_per_cell * observation["items"][:, 0].astype(np.float64).prod(axis=1)
        estimates = rewards[:, None] + self._reward_per_cell * afterwards
        scores = self._expected["reward"] + estimates - self._expected["value"]
        scores[~observation["height_map"].any(axis=(2, 3))] = UNTOUCHED
        chosen, index = _chosen(scores, actions, observation["action_mask"].shape[1] // bins)
        rows = np.arange(n)
        self._expected["value"][rows, chosen] = estimates[rows, chosen]
        self._expected["reward"][rows, chosen] = rewards
        return index

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget: a new episode begins with empty bins, whose memory is not read."""

    def seed(self, seed: int) -> None:
        """Nothing random."""

"""What packers use today: placement rules, all restricted to feasible placements.

Ties go to the smallest x + y where the rule says so, then to the lowest action index (orientation, x, y).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import njit

from interlock.core.environment import Array, Observation
from interlock.core.policy import FunctionPolicy, LinearScorePolicy, Policy, masked_argmax
from interlock.domains.bin_packing.encoders import encoders
from interlock.domains.bin_packing.scenario import BinPackingScenario


@njit(cache=True)
def _rule_costs(heights, items, masks, height_map_sum):
    """Costs of ``dbl`` (100 z + x + y) or ``hm_min`` (100 x growth of the height-map sum + x + y), per action."""
    n, size_x, size_y = heights.shape
    cells = size_x * size_y
    costs = np.full(masks.shape, np.inf, np.float64)
    for r in range(n):
        for action in range(masks.shape[1]):
            if not masks[r, action]:
                continue
            cell = action % cells
            x, y = cell // size_y, cell % size_y
            length, width = (items[r, 0], items[r, 1]) if action < cells else (items[r, 1], items[r, 0])
            z, total = heights[r, x, y], 0
            for i in range(x, x + length):
                for j in range(y, y + width):
                    z = max(z, heights[r, i, j])
                    total += heights[r, i, j]
            main = length * width * (z + items[r, 2]) - total if height_map_sum else z
            costs[r, action] = 100.0 * main + x + y
    return costs


def _front(observation: Observation) -> Array:
    front: Array = observation["items"][:, 0]
    return front


def random_feasible(observation: Observation, rng: np.random.Generator) -> Array:
    """Uniform over the feasible placements."""
    mask = observation["action_mask"]
    return masked_argmax(rng.random(mask.shape), mask)


def first_fit(observation: Observation, rng: np.random.Generator) -> Array:
    """The first feasible placement in scan order (orientation, x, y)."""
    first: Array = np.argmax(observation["action_mask"], axis=1)
    return first


def deepest_bottom_left(observation: Observation, rng: np.random.Generator) -> Array:
    """Minimise 100 z + x + y."""
    costs: Array = _rule_costs(observation["height_map"], _front(observation), observation["action_mask"], False)
    best: Array = np.argmin(costs, axis=1)
    return best


def height_map_minimisation(observation: Observation, rng: np.random.Generator) -> Array:
    """Minimise 100 x the sum of the height map after placement, plus x + y (Wang and Hauser 2019)."""
    costs: Array = _rule_costs(observation["height_map"], _front(observation), observation["action_mask"], True)
    best: Array = np.argmin(costs, axis=1)
    return best


def linear12(scenario: BinPackingScenario) -> LinearScorePolicy:
    """The linear score of the 12 placement features with the scenario's weights."""
    return LinearScorePolicy(encoders(scenario)["placements"], "placements", np.array(scenario.linear12_weights))


def baselines(scenario: BinPackingScenario) -> Mapping[str, Callable[[int], Policy]]:
    """All rules by name; the first is the reference of the normalised score."""

    def rule(function: Any) -> Callable[[int], Policy]:
        return lambda seed: FunctionPolicy(function, seed)

    return {
        "linear12": lambda seed: linear12(scenario),
        "hm_min": rule(height_map_minimisation),
        "dbl": rule(deepest_bottom_left),
        "first_fit": rule(first_fit),
        "random": rule(random_feasible),
    }

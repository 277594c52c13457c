"""What packers use today: placement rules, all restricted to feasible placements.

Ties go to the lowest ``z`` (set-down height), then to the smallest x + y, then to the lowest action index (bin, held
box, orientation, x, y); to the latter at once where the rule itself counts x + y. The rules, where spaces are the empty
maximal ones above the height map (``spaces``):

* ``dbl`` deepest, bottom, left: minimise 100 z + x + y.
* ``hm_min``: minimise 100 x the sum of the height map after placement, plus x + y (Wang and Hauser, "Stable bin packing
  of non-convex 3D objects with a robot manipulator", 2019).
* ``lsah``: minimise three faces of the box around everything packed; ties go to the space that takes the item with the
  smallest spare side (Hu, Zhang, Yan, Wang, Xu, "Solving a new 3D bin packing problem with deep reinforcement
  learning method", 2017).
* ``online_bph``: the first space in the order z, y, x whose corner takes the item; ``dbl`` if none does (Ha, Nguyen,
  Bui, Wang, "An online packing heuristic for the three-dimensional container loading problem in dynamic environments
  and the physical internet", 2017).
* ``macs``: maximise, summed over levels, the largest rectangle that is still free (Hu, Xu, Chen, Gong, Zhang, Huang,
  "TAP-Net: transport-and-pack using reinforcement learning", 2020).
* ``br``: maximise the best spare space afterwards, by its volume + the number of item types it takes + 10 if it takes
  all; ``br_mean`` their mean (after the boundary rule of Zhao et al., AAAI 2021).
* ``contact``: minimise 1000 x volume lost underneath - contact with walls and neighbours.
* ``low_contact``: minimise 10 x new top + 3 x volume lost underneath - 10 x share of the upright faces in contact.
"""

from collections.abc import Callable, Mapping

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import FunctionPolicy, LinearScorePolicy, Policy, masked_argmax
from interlock.domains.bin_packing.candidates import candidates
from interlock.domains.bin_packing.encoders import encoders, views
from interlock.domains.bin_packing.heuristics import RULES, cheapest, rule_costs
from interlock.domains.bin_packing.scenario import BinPackingScenario

MANY_CELLS = 200
"""Cells of a floor beyond which rules that search all spaces anew for every placement are slow."""

Rule = Callable[[Observation, np.random.Generator], Array]
"""From an observation to one action per row."""


def random_feasible(observation: Observation, rng: np.random.Generator) -> Array:
    """Uniform over the feasible placements."""
    mask = observation["action_mask"]
    return masked_argmax(rng.random(mask.shape), mask)


def first_fit(scenario: BinPackingScenario) -> Rule:
    """The first feasible placement in scan order: bin, held box, x, y, orientation."""
    orientations, cells = int(scenario.orientations), scenario.bin.length * scenario.bin.width

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        mask = observation["action_mask"].reshape(
            -1, observation["action_mask"].shape[1] // (orientations * cells), orientations, cells
        )
        view, place = np.divmod(mask.swapaxes(2, 3).reshape(len(mask), -1).argmax(axis=1), orientations * cells)
        cell, orientation = np.divmod(place, orientations)
        actions: Array = (view * orientations + orientation) * cells + cell
        return actions

    return act


def linear12(scenario: BinPackingScenario) -> LinearScorePolicy:
    """The linear score of the 12 placement features with the scenario's weights."""
    return LinearScorePolicy(encoders(scenario)["placements"], "placements", np.array(scenario.linear12_weights))


def rule(scenario: BinPackingScenario, name: str) -> Rule:
    """One of ``heuristics.RULES`` as a function from observations to actions."""
    number, ceiling, items, buffer = RULES.index(name), scenario.bin.height, scenario.items, scenario.buffer

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        heights, boxes, masks = views(observation, buffer)
        costs = rule_costs(number, heights, boxes, masks, ceiling, items.low, items.high)
        n = len(observation["action_mask"])
        actions: Array
        if name in ("dbl", "hm_min"):  # these say themselves how the position counts
            actions = costs.reshape(n, -1).argmin(axis=1)
        else:
            actions = cheapest(costs, heights, boxes, len(boxes) // n)
        return actions

    return act


def narrowed(scenario: BinPackingScenario, policy: Policy) -> Policy:
    """The same policy among the scenario's ``candidates`` only; it then has to score fewer placements."""
    if scenario.candidates == "all":
        return policy

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        heights, items, masks = views(observation, scenario.buffer)
        offered = candidates(scenario.candidates, heights, items, masks, scenario.bin.height)
        mask = offered.reshape(observation["action_mask"].shape)
        return policy.act({**observation, "action_mask": mask})

    return FunctionPolicy(act)


def baselines(scenario: BinPackingScenario) -> Mapping[str, Callable[[int], Policy]]:
    """All rules by name; the first is the reference of the normalised score.

    On fine grids the rules that search the spaces anew for each placement are left out, unless the scenario's
    ``candidates`` are few.
    """
    many = scenario.bin.length * scenario.bin.width > MANY_CELLS and scenario.candidates in ("all", "event")
    names = [name for name in RULES if not (many and name in ("macs", "br", "br_mean"))]

    def scored(name: str) -> Callable[[int], Policy]:
        return lambda seed: narrowed(scenario, FunctionPolicy(rule(scenario, name)))

    return {
        "linear12": lambda seed: narrowed(scenario, linear12(scenario)),
        **{name: scored(name) for name in names},
        "first_fit": lambda seed: FunctionPolicy(first_fit(scenario)),
        "random": lambda seed: FunctionPolicy(random_feasible, seed),
    }

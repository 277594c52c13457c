"""One held-out instance played box by box, with what the policy saw and why the other cells were refused."""

from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array, Split
from interlock.core.policy import Policy
from interlock.core.problem import Problem
from interlock.domains.bin_packing import stacking
from interlock.domains.bin_packing.environment import BinPackingEnvironment
from interlock.domains.bin_packing.orientation import sides
from interlock.domains.bin_packing.placements import FEASIBLE, placement_report
from interlock.domains.bin_packing.release_rules import CRUSHES, OVERWEIGHT, TIPS
from interlock.domains.bin_packing.scenario import BinPackingScenario


@dataclass(frozen=True, slots=True)
class Placed:
    """One box as it was set down.

    Attributes:
        heights: ``(B, L, W)``, the height maps of the open bins before, cells.
        numbers: ``(B,)``, which bin stands at each open place, counted from 0 in the order they were opened.
        bin: the open place that took the box.
        held: ``(h, 3)``, length, width, height of the boxes that could be chosen, as they came, cells.
        coming: ``(k, 3)``, the boxes known to follow.
        which: the one of those held that was chosen.
        weight: of the box, kg; ``None`` where boxes have no weights.
        orientation: see ``orientation.AXES``.
        corner: x, y, z of the front-left-bottom corner, cells.
        size: extent along x, y, z as placed, cells.
        rule: ``(B, L, W)``, the verdict on this box in this orientation in every cell of every open bin, with the codes
            of ``placements`` and ``release_rules``.
    """

    heights: Array
    numbers: Array
    bin: int
    held: Array
    coming: Array
    which: int
    weight: float | None
    orientation: int
    corner: Array
    size: Array
    rule: Array

    @property
    def item(self) -> Array:
        """Length, width, height of the box as it came, cells."""
        item: Array = self.held[self.which]
        return item

    @property
    def number(self) -> int:
        """The bin that took the box, counted from 0 in the order they were opened."""
        return int(self.numbers[self.bin])


def settings_of(problem: Problem) -> BinPackingScenario:
    """The scenario of a problem of this domain."""
    assert isinstance(problem.scenario, BinPackingScenario)
    return problem.scenario


def play_first(problem: Problem, policy: Policy, seed: int, split: Split) -> list[Placed]:
    """The first instance of a split, box by box, as far as the boxes could be set down."""
    scenario = settings_of(problem)
    environment = problem.environment(1, seed=seed, split=split)
    assert isinstance(environment, BinPackingEnvironment)
    observation = environment.reset()
    policy.reset()
    numbers, placed, done = np.arange(scenario.bin.open), list[Placed](), False
    while not done:
        action = policy.act(observation, deterministic=True)
        if not observation["action_mask"][0, action[0]]:
            break
        box = _placed(scenario, environment, numbers, int(action[0]))
        placed.append(box)
        step = environment.step(action)
        observation, done = step.observation, bool(step.done[0])
        numbers = numbers.copy()
        after = box.heights.copy()
        (x, y, z), (length, width, height) = box.corner, box.size
        after[box.bin, x : x + length, y : y + width] = z + height
        for replaced in np.flatnonzero((environment.rows.heights[0] != after).any(axis=(1, 2))):
            numbers[replaced] = numbers.max() + 1
    return placed


def _placed(scenario: BinPackingScenario, environment: BinPackingEnvironment, numbers: Array, action: int) -> Placed:
    """What the only row of an environment is about to do."""
    rows, buffer = environment.rows, scenario.buffer
    heights = rows.heights[0].copy()
    view, within = divmod(action, int(scenario.orientations) * heights[0].size)
    (bin_, which), (orientation, cell) = divmod(view, buffer), divmod(within, heights[0].size)
    x, y = divmod(cell, heights.shape[2])
    held = rows.held[0][rows.held[0] >= 0]
    following = int(rows.following[0])
    known = min(following + max(0, scenario.look_ahead - buffer), int(rows.lengths[0]))
    k = int(held[which])
    size = np.array(sides(rows.items[0, k], orientation), np.int64)
    z = int(heights[bin_, x : x + size[0], y : y + size[1]].max())
    return Placed(
        heights=heights,
        numbers=numbers,
        bin=bin_,
        held=rows.items[0, held].copy(),
        coming=rows.items[0, following:known].copy(),
        which=which,
        weight=float(rows.weights[0, k]) if scenario.weighs() else None,
        orientation=orientation,
        corner=np.array([x, y, z]),
        size=size,
        rule=_verdicts(scenario, environment, which, orientation),
    )


def _verdicts(scenario: BinPackingScenario, environment: BinPackingEnvironment, which: int, orientation: int) -> Array:
    """The first rule that forbids a held box in an orientation, for every cell of every open bin, ``(B, L, W)``."""
    rows, rules = environment.rows, environment.rules
    heights = rows.heights[0]
    k = int(rows.held[0, which])
    item, weight = rows.items[0, k], float(rows.weights[0, k])
    report = placement_report(
        heights,
        np.repeat(item[None], len(heights), axis=0),
        ceiling=rules.ceiling,
        orientations=rules.orientations,
        thresholds=rules.thresholds,
    )
    rule = report.rule[:, orientation].copy()
    mask = rows.masks[0].reshape(len(heights), scenario.buffer, rules.orientations, *heights.shape[1:])
    words = {stacking.STANDS: OVERWEIGHT, stacking.TIPS: TIPS, stacking.CRUSHES: CRUSHES}
    for bin_, x, y in np.argwhere((rule == FEASIBLE) & ~mask[:, which, orientation]):
        found = stacking.stacking_verdict(
            rows.packed[0, bin_],
            rows.packed_weights[0, bin_],
            rows.packed_limits[0, bin_],
            min(int(rows.counts[0, bin_]), rows.packed.shape[2]),
            np.array([x, y, report.z[bin_, orientation, x, y], *sides(item, orientation)]),
            weight,
            rules.stacking,
            rules.crush,
        )
        rule[bin_, x, y] = words[int(found)]
    return rule

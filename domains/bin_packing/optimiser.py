"""The best packing of a known sequence in its real order, proven by integer programming; for small bins.

A policy packs a prefix of the sequence: it stops at the first box that it cannot place. So the best packing of a known
sequence is the longest prefix that can be packed in order, and a proof that one box more cannot be packed bounds every
policy, whatever it knows. ``optimiser_program`` puts that question as an integer program.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array, Split
from interlock.core.policy import Plan
from interlock.core.problem import Bound
from interlock.domains.bin_packing.bounds import prefix_volumes
from interlock.domains.bin_packing.model import mask_one, place_one
from interlock.domains.bin_packing.optimiser_program import Prefix
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Solver

LARGEST_FLOOR, LARGEST_HEIGHT = 25, 5
"""Cells of the floor, and levels, of the largest bin that is offered a proven bound."""
MOST_BOXES = 8
"""Longest prefix, by volume, of an instance that is offered a proven bound."""
MOST_INSTANCES = 100
"""Most instances whose proven bounds are computed together."""
TIME_LIMIT = 60.0
"""Seconds for one instance."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known about the best packing of one sequence.

    Attributes:
        actions: placements of the longest prefix found, in order.
        at_most: boxes of the longest prefix that has not been refuted.
        found: ``(seconds, boxes)`` of every longer prefix that was found.
    """

    actions: tuple[int, ...]
    at_most: int
    found: tuple[tuple[float, int], ...]


def replay(boxes: Array, actions: tuple[int, ...], scenario: BinPackingScenario, *, support: bool = True) -> Array:
    """Height map after packing boxes by the rule of the environment.

    Args:
        boxes: ``(n, 3)``, n at least the number of actions.
        actions: one for each box in front.
        scenario: bin, orientations and support rule.
        support: by the scenario's rule; otherwise any contact is support.

    Raises:
        ValueError: a placement is not feasible.
    """
    heights, mask, row_max = _state(scenario)
    for box, action in zip(np.asarray(boxes, np.int16), actions, strict=False):
        mask_one(heights, box, *_rules(scenario, support), row_max, mask)
        if not mask[action]:
            raise ValueError(
                f"box {tuple(map(int, box))} must not be put down by action {action} on {heights.tolist()}"
            )
        place_one(heights, box, action)
    return heights


def longest_prefix(
    boxes: Array,
    scenario: BinPackingScenario,
    *,
    support: bool = True,
    time_limit: float = TIME_LIMIT,
    solver: Solver | None = None,
) -> Proof:
    """The longest prefix of a sequence that can be packed in order, and what has been proven about longer ones.

    Begins with a quick rule, then asks for one box more until that is refuted or the time is up. Every packing has
    been replayed by the rule of the environment.

    Args:
        boxes: ``(n, 3)``.
        scenario: bin, orientations and support rule.
        support: by the scenario's rule; otherwise any contact is support.
        time_limit: wall-clock seconds.
        solver: of the integer programs; default HiGHS.

    Raises:
        RuntimeError: the solver failed.
    """
    started = time.monotonic()
    solver = solver or Highs()
    boxes = np.asarray(boxes, np.int16)
    volume = scenario.bin.length * scenario.bin.width * scenario.bin.height
    at_most = int((boxes.astype(np.int64).prod(axis=1).cumsum() <= volume).sum())
    actions = _extended(boxes[:at_most], (), scenario, support)
    found = [(time.monotonic() - started, len(actions))]
    while len(actions) < at_most:
        left = time_limit - (time.monotonic() - started)
        if left <= 0:
            break
        prefix = Prefix(boxes[: len(actions) + 1], scenario, support=support)
        solution = solver.solve(prefix.program(), time_limit=left)
        if solution.status == "infeasible":
            at_most = len(actions)
        elif solution.x is not None:
            actions = _extended(boxes[:at_most], tuple(prefix.actions(solution.x)), scenario, support)
            found.append((time.monotonic() - started, len(actions)))
        elif solution.status != "time_limit":
            raise RuntimeError(f"{solution.status}: {solution.message}")
    return Proof(actions, at_most, tuple(found))


def _rules(scenario: BinPackingScenario, support: bool) -> tuple[int, int, tuple[int, int, int]]:
    return int(scenario.orientations), scenario.bin.height, scenario.thresholds() if support else (0, 0, 0)


def _state(scenario: BinPackingScenario) -> tuple[Array, Array, Array]:
    """An empty bin, and room for a mask and the kernel's scratch."""
    floor = (scenario.bin.length, scenario.bin.width)
    mask = np.empty(int(scenario.orientations) * floor[0] * floor[1], np.bool_)
    return np.zeros(floor, np.int16), mask, np.empty(floor, np.int16)


def _extended(boxes: Array, actions: tuple[int, ...], scenario: BinPackingScenario, support: bool) -> tuple[int, ...]:
    """The placements, checked, and as many more as there is room for where each box goes as low as it can."""
    heights = replay(boxes, actions, scenario, support=support)
    _, mask, row_max = _state(scenario)
    extended = list(actions)
    for box in boxes[len(actions) :]:
        mask_one(heights, box, *_rules(scenario, support), row_max, mask)
        tops = {}
        for action in np.flatnonzero(mask):
            after = heights.copy()
            z, _ = place_one(after, box, action)
            tops[int(action)] = (int(after.max()), int(z))
        if not tops:
            break
        extended.append(min(tops, key=lambda action: tops[action]))
        place_one(heights, box, extended[-1])
    return tuple(extended)


class OfflinePlanner:
    """Packs a sequence that is known in advance, with a proof. Implements ``interlock.core.policy.Planner``.

    Every orientation of the scenario is open to every box: with boxes to be kept upright among six orientations, the
    bound still holds, but the plan may tilt them.

    Args:
        scenario: bin, orientations and support rule.
        solver: of the integer programs; default HiGHS.

    Raises:
        ValueError: the scenario has rules that the integer program does not know.
    """

    def __init__(self, scenario: BinPackingScenario, solver: Solver | None = None):
        unknown = _unknown_rules(scenario)
        if unknown:
            raise ValueError(f"{scenario.name}: the offline model does not know {', '.join(unknown)}")
        self.scenario, self.solver = scenario, solver

    def plan(self, instance: Array, *, time_limit: float | None = None, seed: int = 0) -> Plan:
        """The best packing found; ``decisions`` are the actions, objective and bound are in % of the bin.

        Args:
            instance: boxes ``(n, 3)`` in their order.
            time_limit: wall-clock seconds; default 60.
            seed: nothing is random.
        """
        limit = TIME_LIMIT if time_limit is None else time_limit
        proof = longest_prefix(instance, self.scenario, time_limit=limit, solver=self.solver)
        shares = _shares(instance, self.scenario)
        return Plan(
            decisions=proof.actions,
            objective=float(shares[len(proof.actions)]),
            bound=float(shares[proof.at_most]),
            trace=tuple((seconds, float(shares[packed])) for seconds, packed in proof.found),
        )


def _shares(boxes: Array, scenario: BinPackingScenario) -> Array:
    """Utilisation after 0, 1, 2, ... boxes, %."""
    volume = scenario.bin.length * scenario.bin.width * scenario.bin.height
    shares: Array = 100.0 * (np.concatenate([[0], np.asarray(boxes, np.int64).prod(axis=1).cumsum()]) / volume)
    return shares


def _unknown_rules(scenario: BinPackingScenario) -> list[str]:
    """What makes a scenario another problem than one bin packed in the order of arrival."""
    rules = {
        "several bins": scenario.bins() > 1,
        "a buffer": scenario.buffer > 1,
        "the stacking check": scenario.stacking,
        "limits of weight": bool(scenario.weight_rules()),
    }
    return [name for name, used in rules.items() if used]


def offline_bound(
    scenario: BinPackingScenario, instances: Callable[[Split, int], tuple[Array, Array]], time_limit: float = TIME_LIMIT
) -> Bound | None:
    """What no policy can exceed on each instance, with all boxes known; ``None`` where it would take too long.

    Offered for bins of at most 5 x 5 x 5 cells and 100 test instances. Where the time is up, or more than 8 boxes fit
    by volume, an instance's value is what has been proven until then: never less than the truth.

    Args:
        scenario: the numbers.
        instances: ``(split, count) -> (items, lengths)`` of the instances that will be played.
        time_limit: wall-clock seconds for one instance.
    """
    bin_ = scenario.bin
    small = bin_.length * bin_.width <= LARGEST_FLOOR and bin_.height <= LARGEST_HEIGHT
    if _unknown_rules(scenario) or not small or scenario.evaluation.test_instances > MOST_INSTANCES:
        return None

    def compute(split: Split, count: int) -> Array:
        items, lengths = instances(split, count)
        values = 100.0 * prefix_volumes(items, lengths, bin_.length * bin_.width * bin_.height)
        for k in range(count):
            boxes = items[k, : lengths[k]]
            shares = _shares(boxes, scenario)
            if (shares <= 100.0).sum() - 1 <= MOST_BOXES:
                values[k] = shares[longest_prefix(boxes, scenario, time_limit=time_limit).at_most]
        return values

    return Bound(
        "offline_optimum",
        "perfect_information",
        compute,
        "longest prefix of the sequence that can be packed in its order, by integer programming with all boxes known",
    )

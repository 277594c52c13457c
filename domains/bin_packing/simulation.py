"""The robot cell in time: boxes arrive on a conveyor, the policy decides, the robot sets them down, full bins go.

A SimPy model of one shift. Boxes arrive with exponential times between them and queue on a conveyor; where it is full,
the infeed stops until a box is picked up. The front box is decided upon (decision time), picked up and set down (a
robot cycle, lognormal); where no box held fits an open bin, the fullest one is changed first. A policy knows no box
that has not arrived: look-ahead and buffer reach as far as the conveyor is filled. Which boxes come, when, and how long
the k-th cycle takes depend on the seed and the shift only, so that policies meet the same shift.

Bins, feasibility and utilisation are those of the environment, with so many bins that a shift never runs out of them.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import simpy

from interlock.core.environment import Array, Observation
from interlock.core.errors import UsageError
from interlock.core.evaluation.statistics import Estimate, student
from interlock.core.policy import Policy
from interlock.core.problem import Findings, Problem
from interlock.domains.bin_packing.environment import BinPackingEnvironment
from interlock.domains.bin_packing.scenario import BinPackingScenario, CellSettings
from interlock.domains.bin_packing.shift import FIGURES, Shift

SPARE = 1.5
"""Bins set up for a shift, as a multiple of those that its boxes would fill on average at a third of their volume."""


def cycle_times(cell: CellSettings, rng: np.random.Generator) -> Iterator[float]:
    """Lognormal times with the mean and standard deviation of the cell, s."""
    variance = math.log1p((cell.robot_sd_s / cell.robot_s) ** 2)
    while True:
        yield float(rng.lognormal(math.log(cell.robot_s) - variance / 2, math.sqrt(variance)))


def for_a_shift(scenario: BinPackingScenario) -> BinPackingScenario:
    """The scenario with bins enough for a shift.

    Boxes cannot come faster than the robot sets them down or than the infeed brings them; the bins suffice at a third
    of their volume by boxes of mean size.
    """
    cell, bin_ = scenario.cell, scenario.bin
    boxes = 3600 * cell.hours / max(cell.robot_s, cell.arrival_s) + cell.conveyor
    box = ((scenario.items.low + scenario.items.high) / 2) ** 3
    bins = math.ceil(SPARE * boxes * box / (bin_.length * bin_.width * bin_.height / 3)) + bin_.open
    return scenario.with_changes(bin={**bin_.model_dump(), "total": max(bins, scenario.bins())}, test_streams=())


class Yard:
    """One environment row, played by a policy that sees the boxes that have arrived."""

    def __init__(self, problem: Problem, policy: Policy, seed: int):
        scenario = problem.scenario
        assert isinstance(scenario, BinPackingScenario)
        self.buffer, self.policy = scenario.buffer, policy
        self.volume = scenario.bin.length * scenario.bin.width * scenario.bin.height
        self.environment = BinPackingEnvironment(
            for_a_shift(scenario), 1, seed=seed, split="test", constraints=problem.constraints
        )
        self.observation = self.environment.reset()
        self.over = False
        policy.reset()

    def view(self, arrived: int) -> Observation | None:
        """What the policy sees with so many boxes on the conveyor; ``None`` where none of those held fits."""
        items, mask = self.observation["items"].copy(), self.observation["action_mask"].copy()
        items[:, arrived:] = 0
        per_box = mask.reshape(self.environment.scenario.bin.open, self.buffer, -1)
        per_box[:, arrived:] = False
        if not mask.any():
            return None
        view = {**self.observation, "items": items, "action_mask": mask}
        if "weights" in view:
            view["weights"] = np.where(np.arange(items.shape[1]) < arrived, view["weights"], 0).astype(np.float32)
        return view

    def place(self, action: Array) -> list[float]:
        """Set one box down; utilisation in % of the bins that have to go before the next box fits."""
        rows = self.environment.rows
        before, opened = rows.loads[0, :, 0].copy(), int(rows.opened[0])
        box = int(rows.volume[0])
        step = self.environment.step(action)
        self.observation, self.over = step.observation, bool(step.done[0])
        if self.over:
            return []
        cells = self.environment.scenario.bin.length * self.environment.scenario.bin.width
        taken = int(action[0]) // (self.buffer * int(self.environment.scenario.orientations) * cells)
        before[taken] += int(rows.volume[0]) - box
        gone = np.flatnonzero(rows.loads[0, :, 0] < before)
        return [100 * float(before[bin_]) / self.volume for bin_ in gone][: int(rows.opened[0]) - opened]


def play_shift(problem: Problem, policy: Policy, seed: int, shift: int) -> Shift:
    """Simulate one shift.

    Args:
        problem: of bin packing.
        policy: decides.
        seed: of boxes and times.
        shift: number of the shift.

    Raises:
        UsageError: the boxes of the scenario ran out before the shift was over.
    """
    scenario = problem.scenario
    assert isinstance(scenario, BinPackingScenario)
    cell, log = scenario.cell, Shift()
    arrivals, robots = (np.random.default_rng([seed, shift, salt]) for salt in (1, 2))
    yard = Yard(problem, policy, seed * 1_000 + shift)
    world = simpy.Environment()
    conveyor = simpy.Container(world, capacity=cell.conveyor)
    bell = [world.event()]

    def infeed() -> Iterator[Any]:
        while True:
            yield world.timeout(float(arrivals.exponential(cell.arrival_s)))
            waiting = world.now
            yield conveyor.put(1)
            if world.now > waiting:
                log.stops.append((waiting, world.now))
            log.arrivals.append(world.now)
            rung, bell[0] = bell[0], world.event()
            rung.succeed()

    def robot() -> Iterator[Any]:
        times, due = cycle_times(cell, robots), list[float]()
        while not yard.over:
            view = yard.view(int(conveyor.level))
            if view is None:
                yield bell[0]
                continue
            for utilisation in due:
                begun = world.now
                yield world.timeout(cell.bin_change_s)
                log.changes.append((begun, world.now))
                log.closed.append(utilisation)
                view = yard.view(int(conveyor.level)) or view
            log.queued.append(world.now)
            began = time.perf_counter()
            action = policy.act(view, deterministic=True)
            taken = time.perf_counter() - began if cell.decision_s is None else cell.decision_s
            log.decisions.append(taken)
            yield world.timeout(taken)
            yield conveyor.get(1)
            begun = world.now
            due = yard.place(np.asarray(action))
            yield world.timeout(next(times))
            log.cycles.append((begun, world.now))

    world.process(infeed())
    world.process(robot())
    world.run(until=3600 * cell.hours)
    if yard.over:
        raise UsageError(
            "the boxes ran out before the shift was over, or the policy named an infeasible placement: shorten "
            "cell.hours, or see `evaluate`"
        )
    return log


def play(
    problem: Problem, policies: Mapping[str, Policy], seed: int, progress: Callable[[float, float], None]
) -> Findings:
    """The study ``cell``: every policy works the same shifts.

    Args:
        problem: of bin packing, over generated boxes.
        policies: by name.
        seed: of boxes and times.
        progress: takes ``(done, total)``.

    Raises:
        UsageError: the problem is over a user's own sequences, which have an end.
    """
    from interlock.domains.bin_packing.figures_cell import rates, timeline

    scenario = problem.scenario
    assert isinstance(scenario, BinPackingScenario)
    if getattr(problem, "data", None) is not None:
        raise UsageError("the cell is fed by the scenario's stream: leave --data out")
    cell, logs = scenario.cell, dict[str, list[Shift]]()
    for position, (name, policy) in enumerate(policies.items()):
        policy.act(
            Yard(problem, policy, seed).observation
        )  # whatever is compiled at the first call is no decision time
        policy.seed(seed)
        logs[name] = []
        for shift in range(cell.shifts):
            logs[name].append(play_shift(problem, policy, seed, shift))
            progress(position * cell.shifts + shift + 1, len(policies) * cell.shifts)
    found = {name: _estimates(shifts, cell.hours) for name, shifts in logs.items()}
    rows = [[name, *(_shown(found[name][key], digits) for key, (_, digits) in FIGURES.items())] for name in policies]
    values = {
        name: {
            key: None
            if math.isnan(one.mean)
            else {"mean": one.mean, "low": one.low, "high": one.high, "unit": FIGURES[key][0]}
            for key, one in estimates.items()
        }
        for name, estimates in found.items()
    }
    length = f"{cell.shifts} shifts of {cell.hours:g} h"
    return Findings(
        values={"hours": cell.hours, "shifts": cell.shifts, "policies": values},
        columns=["policy", *(f"{key.replace('_', ' ')} [{unit}]" for key, (unit, _) in FIGURES.items())],
        rows=rows,
        figures={
            "timeline": (
                "The cell in time",
                "The first minutes of the first shift: when the robot moved, when the infeed stood still and when bins "
                "were changed; dots are boxes that reached the conveyor.",
                timeline({name: shifts[0] for name, shifts in logs.items()}, cell.hours),
            ),
            "rates": (
                "What came out",
                f"Boxes set down per hour and utilisation of the bins taken away, with 95 % intervals over {length}.",
                rates(found),
            ),
        },
        notes=[
            f"{length}; all policies meet the same boxes, arrivals and robot cycles; 95 % intervals are over shifts",
            "decision times are "
            + ("as measured on this machine" if cell.decision_s is None else f"set to {cell.decision_s:g} s"),
        ],
    )


def _estimates(shifts: list[Shift], hours: float) -> dict[str, Estimate]:
    figures = [shift.figures(hours) for shift in shifts]
    found = {}
    for key in FIGURES:
        values = np.array([one[key] for one in figures])
        told = values[~np.isnan(values)]  # a short shift may close no bin
        found[key] = student(told) if len(told) > 1 else Estimate(math.nan, math.nan, math.nan)
    return found


def _shown(estimate: Estimate, digits: int) -> str:
    if math.isnan(estimate.mean):
        return "none"
    return f"{estimate.mean:,.{digits}f} ± {estimate.high - estimate.mean:,.{digits}f}"

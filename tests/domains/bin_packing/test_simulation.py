"""The robot cell against a recursion over boxes, and its figures."""

import itertools

import numpy as np
import pytest

from interlock.core.evaluation.statistics import student
from interlock.domains.bin_packing.environment import BinPackingEnvironment
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.simulation import cycle_times, for_a_shift, play, play_shift

CELL = {"hours": 0.5, "shifts": 2, "decision_s": 0.25}


def problem(**changes) -> BinPackingProblem:
    cell = {**CELL, **changes.pop("cell", {})}
    return BinPackingProblem(BinPackingScenario(name="t", cell=cell, **changes))


def bins_used(problem, policy, seed, boxes):
    """How many bins had to go before each box, and their utilisation, by playing the environment alone."""
    environment = BinPackingEnvironment(
        for_a_shift(problem.scenario), 1, seed=seed * 1_000, split="test", constraints=problem.constraints
    )
    observation, before, filled, closed = environment.reset(), [], 0.0, []
    opened = 1
    for _ in range(boxes):
        now = int(environment.rows.opened[0])
        before.append(now - opened)
        if now > opened:
            closed.append(filled)
            filled = 0.0
        opened = now
        sides = observation["items"][0, 0].astype(float)
        filled += 100 * sides.prod() / 1000
        observation = environment.step(policy.act(observation)).observation
    return before, closed


@pytest.mark.parametrize("arrival_s", [3.0, 6.0, 30.0])
def test_shift_follows_the_recursion_of_a_queue_with_blocking(arrival_s):
    made = problem(stream="rs", cell={"arrival_s": arrival_s})
    cell, policy, seed = made.scenario.cell, made.baselines()["dbl"](0), 7
    log = play_shift(made, policy, seed, 0)
    gaps = np.random.default_rng([seed, 0, 1])
    cycles = cycle_times(cell, np.random.default_rng([seed, 0, 2]))
    boxes = len(log.cycles)
    changes, closed = bins_used(made, policy, seed, boxes)
    put, picked, end, stops = [], [], 0.0, []
    for n in range(boxes):
        ready = (put[-1] if put else 0.0) + gaps.exponential(cell.arrival_s)
        room = picked[n - cell.conveyor] if n >= cell.conveyor else 0.0
        put.append(max(ready, room))
        if room > ready:
            stops.append((ready, room))
        picked.append(max(put[n], end) + changes[n] * cell.bin_change_s + cell.decision_s)
        end = picked[n] + next(cycles)
        assert log.cycles[n] == pytest.approx((picked[n], end))
    assert log.arrivals[:boxes] == pytest.approx(put)
    assert log.closed[: len(closed)] == pytest.approx(closed)
    assert list(itertools.chain(*log.stops))[: 2 * len(stops)] == pytest.approx(list(itertools.chain(*stops)))
    assert bool(stops) == (arrival_s < 30)


def test_mean_and_deviation_of_cycles():
    made = problem(cell={"robot_s": 4.0, "robot_sd_s": 1.5}).scenario.cell
    drawn = np.fromiter(itertools.islice(cycle_times(made, np.random.default_rng(1)), 100_000), float)
    assert drawn.mean() == pytest.approx(4.0, abs=0.02)
    assert drawn.std() == pytest.approx(1.5, abs=0.03)


def test_a_policy_sees_only_boxes_that_have_arrived():
    made = problem(buffer=3, look_ahead=4, cell={"arrival_s": 8.0})
    rule, seen = made.baselines()["first_fit"](0), []

    class Watching:
        def act(self, observation, *, deterministic=True):
            there = (observation["items"][0] > 0).all(axis=1)
            per_box = observation["action_mask"].reshape(1, 3, -1).any(axis=2)[0]
            assert there[0]
            assert not per_box[~there[:3]].any()
            seen.append(int(there.sum()))
            return rule.act(observation)

        def reset(self, rows=None):
            rule.reset(rows)

        def seed(self, seed):
            rule.seed(seed)

    log = play_shift(made, Watching(), 3, 0)
    assert len(log.cycles) > 100
    assert set(seen) == {1, 2, 3, 4}


def test_the_study_gives_all_policies_the_same_shifts():
    made = problem(stream="rs", cell={"arrival_s": 20.0})
    policies = {name: made.baselines()[name](0) for name in ("linear12", "first_fit")}
    told = []
    found = play(made, policies, 0, lambda done, total: told.append((done, total)))
    first, second = (found.values["policies"][name] for name in policies)
    assert told[-1] == (4, 4)
    assert first["boxes_per_hour"]["mean"] == pytest.approx(second["boxes_per_hour"]["mean"], rel=0.05)  # slow infeed
    assert first["utilisation_at_close"]["mean"] > second["utilisation_at_close"]["mean"]
    assert first["bins_closed"]["mean"] < second["bins_closed"]["mean"]
    assert [row[0] for row in found.rows] == ["linear12", "first_fit"]
    assert {len(row) for row in found.rows} == {len(found.columns)}
    for title, caption, figure in found.figures.values():
        assert title
        assert caption
        assert figure.data
    assert play(made, policies, 0, lambda done, total: None).values == found.values


def test_students_interval():
    # t(0.975, 3) = 3.18245; mean 2.5, standard deviation 1.29099.
    estimate = student(np.array([1.0, 2.0, 3.0, 4.0]))
    assert estimate.mean == 2.5
    assert estimate.high - 2.5 == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-5)
    assert 2.5 - estimate.low == pytest.approx(estimate.high - 2.5)

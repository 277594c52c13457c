"""The held-out protocol: the same instances whatever the batch, nothing else touched, broken simulators named."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_problem import DAYS, TinyEnvironment, TinyProblem, demand, top_up

from interlock.core.environment import Step
from interlock.core.errors import BrokenEnvironment
from interlock.core.evaluation import protocol
from interlock.core.evaluation.protocol import Outcomes, play, run_instances
from interlock.core.policy import FunctionPolicy

POLICY = FunctionPolicy(top_up)


def same(first: Outcomes, second: Outcomes) -> bool:
    arrays = [(first.objective, second.objective), (first.costs, second.costs), (first.steps, second.steps)]
    arrays += [(first.metrics[name], second.metrics[name]) for name in first.metrics]
    return all(np.array_equal(left, right) for left, right in arrays)


def test_a_row_is_what_playing_that_instance_by_hand_gives() -> None:
    outcomes = run_instances(TinyEnvironment(4, 9, "test"), POLICY, 30, per_reward=2.0)
    for instance in range(30):
        stock = sold = lost = night = empty_handed = day = 0
        for asked in demand(9, "test", instance):
            stock += min(3, 6 - stock)
            served = min(asked, stock)
            sold, lost, empty_handed = sold + served, lost + asked - served, empty_handed + (asked > served)
            stock -= served
            night, day = night + stock, day + 1
            if lost >= 3:
                break
        assert outcomes.objective[instance] == 2.0 * sold
        assert outcomes.costs[instance].tolist() == [night, empty_handed, 0]
        assert outcomes.steps[instance] == outcomes.metrics["days"][instance] == day


@pytest.mark.parametrize("rows", [1, 2, 7, 25, 60])
def test_the_size_of_the_batch_changes_nothing(rows: int) -> None:
    base = run_instances(TinyEnvironment(3, 1, "test"), POLICY, 25)
    assert same(base, run_instances(TinyEnvironment(rows, 1, "test"), POLICY, 25))


def test_an_environment_in_use_is_restarted_and_another_one_left_alone() -> None:
    base = run_instances(TinyEnvironment(3, 1, "test"), POLICY, 10)
    training, used = TinyEnvironment(3, 1, "train"), TinyEnvironment(3, 1, "test")
    for environment in (training, used):
        environment.step(np.array([1, 2, 3]))
    before = training.state()
    assert same(base, run_instances(used, POLICY, 10))
    after = training.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_seconds_are_the_row_s_share_of_the_time_inside_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: float(next(ticks)))  # every decision takes one second
    outcomes = run_instances(TinyEnvironment(5, 1, "test"), POLICY, 12)
    assert np.allclose(outcomes.seconds, outcomes.steps / 5)


def test_memory_is_reset_for_every_instance() -> None:
    class Remembering(FunctionPolicy):
        """Orders as many as the days it has seen, up to three."""

        def reset(self, rows: np.ndarray | None = None) -> None:
            if rows is None:
                self.days = np.zeros(100, int)
            else:
                self.days[rows] = 0

        def act(self, observation: Any, *, deterministic: bool = True) -> np.ndarray:
            seen = self.days[: len(observation["day"])]
            assert np.array_equal(seen, observation["day"][:, 0])
            seen += 1
            return np.minimum(top_up(observation, self.rng), seen)

    base = run_instances(TinyEnvironment(1, 1, "test"), Remembering(top_up), 12)
    assert same(base, run_instances(TinyEnvironment(5, 1, "test"), Remembering(top_up), 12))


def test_progress_ends_with_everything_done() -> None:
    told: list[tuple[int, int]] = []
    run_instances(TinyEnvironment(4, 1, "test"), POLICY, 11, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (11, 11)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


class Broken(TinyEnvironment):
    """Goes wrong in row 2 of its third step."""

    field = "reward"

    def step(self, action: np.ndarray) -> Step:
        step = super().step(action)
        if self.day.max() < 3:
            return step
        if self.field == "stock":
            step.observation["stock"][2, 0] = np.inf
            return step
        values = getattr(step, self.field).copy()
        values[2] = np.nan
        return replace(step, **{self.field: values})


@pytest.mark.parametrize("field", ["reward", "cost", "stock"])
def test_numbers_that_are_not_finite_are_refused_by_row_step_and_field(field: str) -> None:
    environment = Broken(4, 1, "test")
    environment.field = field
    with pytest.raises(BrokenEnvironment, match=rf"environment row 2, step 3, field {field}.*(nan|inf)"):
        run_instances(environment, POLICY, 4)


def test_an_episode_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(TinyEnvironment):
        def step(self, action: np.ndarray) -> Step:
            self.day[:] = self.lost[:] = 0
            return super().step(action)

    monkeypatch.setattr(protocol, "MAX_STEPS", 50)
    with pytest.raises(BrokenEnvironment, match="no end of the episode in 50 steps"):
        run_instances(Endless(2, 1, "test"), POLICY, 4)


def test_rewards_of_several_agents_add_up() -> None:
    class Shared(TinyEnvironment):
        def step(self, action: np.ndarray) -> Step:
            step = super().step(action)
            return replace(step, reward=np.stack([step.reward, 2 * step.reward], axis=1))

    alone = run_instances(TinyEnvironment(2, 1, "test"), POLICY, 5)
    assert np.array_equal(run_instances(Shared(2, 1, "test"), POLICY, 5).objective, 3 * alone.objective)


def test_play_takes_instances_seed_and_unit_from_the_scenario() -> None:
    problem = TinyProblem()
    settings = problem.scenario.evaluation
    test = play(problem, POLICY, split="test")
    assert len(test.objective) == settings.test_instances
    base = run_instances(
        TinyEnvironment(3, settings.test_seed, "test"), POLICY, settings.test_instances, per_reward=2.0
    )
    assert same(test, base)
    validation = play(problem, POLICY, split="validation", num_envs=500)
    assert len(validation.objective) == settings.validation_instances
    assert np.all(validation.steps <= DAYS)
    assert not np.array_equal(validation.objective[:20], test.objective[:20])

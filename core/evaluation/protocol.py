"""The held-out protocol: every policy plays the same first instances of a split, one row of results per instance."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array, BatchEnvironment, Split, Step
from interlock.core.errors import BrokenEnvironment
from interlock.core.policy import Policy
from interlock.core.problem import Problem

MAX_STEPS = 1_000_000
"""An episode longer than this is taken for one that never ends."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What one policy achieved: row ``k`` belongs to instance ``k``.

    Attributes:
        objective: float ``(N,)``, in the unit of the objective.
        costs: float ``(N, m)``, sums over the episode, one column per constraint.
        violated: bool ``(N, m)``, whether any cost of the episode was positive.
        steps: int ``(N,)``, decisions in the episode.
        seconds: float ``(N,)``, wall-clock seconds spent in ``policy.act`` for the instance (its share of the batch).
        metrics: name -> float ``(N,)``.
    """

    objective: Array
    costs: Array
    violated: Array
    steps: Array
    seconds: Array
    metrics: Mapping[str, Array]


def run_instances(
    environment: BatchEnvironment,
    policy: Policy,
    count: int,
    *,
    per_reward: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Outcomes:
    """Play instances ``0 .. count - 1`` of an environment, each to its end, with the policy's deterministic actions.

    A row's result depends on its instance alone, so ``num_envs`` changes the speed and nothing else (for policies that
    treat rows alike). Nothing but the environment and the policy's own memory is touched: training that validates with
    its own environment object stays as it was. Recurrent policies lose their memory of running episodes.

    Args:
        environment: restarted here from instance 0.
        policy: its memory is reset for every instance.
        count: instances to play.
        per_reward: objective per unit of reward (``Objective.per_reward``).
        progress: called with (instances finished, ``count``).

    Raises:
        BrokenEnvironment: a reward, cost or observation is not finite, or an episode never ends.
    """
    n, m = environment.num_envs, len(environment.constraints)
    observation = environment.reset()
    policy.reset()
    check_finite(observation, 0)
    reward, cost, steps, seconds = np.zeros(n), np.zeros((n, m)), np.zeros(n, np.int64), np.zeros(n)
    violated, all_violated = np.zeros((n, m), np.bool_), np.empty((count, m), np.bool_)
    objective, costs = np.empty(count), np.empty((count, m))
    all_steps, all_seconds = np.empty(count, np.int64), np.empty(count)
    metrics: dict[str, Array] = {}
    finished = index = 0
    while finished < count:
        started = time.perf_counter()
        action = policy.act(observation, deterministic=True)
        seconds += (time.perf_counter() - started) / n
        step = environment.step(action)
        index += 1
        check_step(step, index)
        observation = step.observation
        reward += step.reward.reshape(n, -1).sum(axis=1)
        cost += step.cost
        violated |= step.cost > 0
        steps += 1
        done = np.flatnonzero(step.done)
        if steps.max() > MAX_STEPS:
            raise BrokenEnvironment(f"environment row {steps.argmax()}: no end of the episode in {MAX_STEPS} steps")
        if done.size == 0:
            continue
        instance = step.info["instance"][done]
        wanted = instance < count
        rows, instance = done[wanted], instance[wanted]
        objective[instance] = per_reward * reward[rows]
        costs[instance] = cost[rows]
        all_violated[instance] = violated[rows]
        all_steps[instance] = steps[rows]
        all_seconds[instance] = seconds[rows]
        for name, values in step.info.items():
            if name != "instance" and values.ndim == 1:
                metrics.setdefault(name, np.full(count, np.nan))[instance] = values[rows]
        finished += len(rows)
        if progress is not None:
            progress(finished, count)
        reward[done], cost[done], violated[done], steps[done], seconds[done] = 0.0, 0.0, False, 0, 0.0
        policy.reset(done)
    return Outcomes(objective, costs, all_violated, all_steps, all_seconds, metrics)


def split_seed(problem: Problem, split: Split) -> int:
    """Seed of the instances of a split: the scenario's own for test and validation, 0 for training."""
    settings = problem.scenario.evaluation
    return {"test": settings.test_seed, "validation": settings.validation_seed, "train": 0}[split]


def play(
    problem: Problem,
    policy: Policy,
    *,
    split: Split,
    count: int | None = None,
    seed: int | None = None,
    num_envs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcomes:
    """Play a policy on the held-out instances of a problem, as its scenario says.

    Args:
        problem: supplies the environment and the unit of the objective.
        policy: what acts.
        split: which instances.
        count: how many; default: the scenario's number for the split (that of validation for training instances).
        seed: of the instances; default: the scenario's for the split.
        num_envs: rows of the batch; default: the scenario's.
        progress: called with (instances finished, ``count``).

    Raises:
        BrokenEnvironment: as ``run_instances``.
    """
    settings = problem.scenario.evaluation
    if count is None:
        count = settings.test_instances if split == "test" else settings.validation_instances
    rows = min(num_envs or settings.num_envs, count)
    environment = problem.environment(rows, seed=split_seed(problem, split) if seed is None else seed, split=split)
    return run_instances(environment, policy, count, per_reward=problem.objective.per_reward, progress=progress)


def check_step(step: Step, index: int) -> None:
    """``check_finite`` for rewards, costs, views, and the last views of the rows that were cut off."""
    # One after the other, as a view may have a field called "reward".
    check_finite({"reward": step.reward, "cost": step.cost}, index)
    check_finite(step.observation, index)
    if step.final_observation is not None:
        cut = np.flatnonzero(step.truncated & ~step.terminated)
        check_finite({f"final {name}": last[cut] for name, last in step.final_observation.items()}, index, rows=cut)


def check_finite(arrays: Mapping[str, Array], index: int, *, rows: Array | None = None) -> None:
    """Refuse non-finite numbers: they would spread silently into every average.

    Args:
        arrays: name -> ``(n, ...)``.
        index: steps since the environment was reset.
        rows: ``(n,)`` of the environment; default: all, in order.

    Raises:
        BrokenEnvironment: a number is not finite; names environment row, step and field.
    """
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            place = tuple(int(axis) for axis in np.argwhere(~np.isfinite(values))[0])
            row = place[0] if rows is None else int(rows[place[0]])
            raise BrokenEnvironment(
                f"environment row {row}, step {index}, field {name}{list(place[1:]) or ''}: "
                f"{values[place]} is not a finite number"
            )

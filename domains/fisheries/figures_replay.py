"""Held-out futures played once more, with every stock, mortality and catch on the way: what pictures are drawn from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.core.environment import Array, Split, Step
from interlock.core.policy import Policy
from interlock.domains.fisheries.environment import FisheriesEnvironment
from interlock.domains.fisheries.model import TOTALS
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.walleye_environment import WalleyeEnvironment


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """``n`` futures of ``T`` years under one policy; what comes after a collapse is NaN.

    Attributes:
        stock: ``(n, T, species)``, at the start of every year, without errors of surveys; of walleye the biomass that
            surveys look for.
        mortality: ``(n, T, h)``, as carried out.
        catch: ``(n, T, h)``.
        years: int ``(n,)``, until a collapse or the horizon.
        collapsed: bool ``(n, species)``, which species ended the episode.
        weight: what surveys found the mean weight of fish to be, median over all; ``None`` where they do not tell it.
    """

    stock: Array
    mortality: Array
    catch: Array
    years: Array
    collapsed: Array
    weight: float | None


def play(problem: Any, policy: Policy, seed: int, split: Split, count: int) -> Played:
    """The first ``count`` futures of a split under a policy.

    Args:
        problem: a ``FisheriesProblem``.
        policy: proposes mortalities.
        seed: of the futures.
        split: of the futures.
        count: number of futures.
    """
    scenario: FisheriesScenario = problem.scenario
    environment = problem.environment(count, seed=seed, split=split)
    policy.reset()
    observation = environment.reset()
    stock = np.full((count, scenario.horizon, len(scenario.model.species)), np.nan)
    mortality, catch = np.full((2, count, scenario.horizon, len(scenario.harvested)), np.nan)
    collapsed = np.zeros((count, len(scenario.model.species)), np.bool_)
    years, alive, so_far = (
        np.zeros(count, np.int64),
        np.ones(count, np.bool_),
        np.zeros((count, len(scenario.harvested))),
    )
    weights = []
    for t in range(scenario.horizon):
        if "mean_weight" in observation:
            weights.append(np.median(observation["mean_weight"]))
        before = _stock(environment).copy()
        proposed = policy.act(observation, deterministic=True)
        step = environment.step(proposed)
        observation, done = step.observation, np.flatnonzero(step.done & alive)
        sums = _sums(scenario, environment, step)
        rows = np.flatnonzero(alive)
        stock[rows, t] = before[rows]
        catch[rows, t] = (sums - so_far)[rows]
        mortality[rows, t] = _carried_out(environment, before, proposed, sums - so_far, step)[rows]
        for i, name in enumerate(scenario.model.species):
            ended = step.info.get(f"collapsed_{name}")
            collapsed[done, i] = False if ended is None else ended[done] > 0
        so_far = sums
        years[rows] += 1
        alive[done] = False
        policy.reset(np.flatnonzero(step.done))
        if not alive.any():
            break
    policy.reset()
    weight = float(np.median(weights)) if weights else None
    return Played(stock, mortality, catch, years, collapsed, weight)


def _stock(environment: FisheriesEnvironment | WalleyeEnvironment) -> Array:
    return environment.biomass if isinstance(environment, WalleyeEnvironment) else environment.stock


def _sums(scenario: FisheriesScenario, environment: FisheriesEnvironment | WalleyeEnvironment, step: Step) -> Array:
    """Catches of the episode so far ``(n, h)``; of rows that just finished as their metrics tell them."""
    ages = isinstance(environment, WalleyeEnvironment)
    running = environment.totals[:, :1] if ages else environment.totals[:, len(TOTALS) :]
    final = ["yield"] if ages else [f"catch_{name}" for name in scenario.harvested]
    told: Array = np.where(step.done[:, None], np.stack([step.info[name] for name in final], axis=1), running)
    return told


def _carried_out(
    environment: FisheriesEnvironment | WalleyeEnvironment, before: Array, proposed: Array, caught: Array, step: Step
) -> Array:
    """Mortalities ``(n, h)`` of a year, after the limits of the scenario."""
    if isinstance(environment, WalleyeEnvironment):  # catches are shares of what gear retains, not of the biomass
        limited = environment.shows_last & ~step.done[:, None]
        rate: Array = np.where(limited, environment.last, np.clip(proposed, 0.0, 1.0))
        return rate
    stock = before[:, environment.fishery.harvested]
    share: Array = np.divide(caught, stock, out=np.zeros_like(caught), where=stock > 0)
    return share

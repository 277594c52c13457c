"""The sustainability report: what a policy leaves in the water, who lives off it, and whether that holds if models err.

All policies meet the same held-out futures. Then every parameter is off by a factor of its own, as Montealegre-Mora et
al. (2023) tried it: draws under which unfished stocks live are kept, and all policies meet the same draws and futures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.environment import Array
from interlock.core.evaluation import protocol
from interlock.core.evaluation.protocol import Outcomes
from interlock.core.evaluation.statistics import (
    Estimate,
    mean,
    percentile_interval,
    resample_rows,
    resampled,
    wilson,
)
from interlock.domains.fisheries.environment import FisheriesEnvironment
from interlock.domains.fisheries.instances import factors
from interlock.domains.fisheries.scenario import FisheriesScenario, Walleye

if TYPE_CHECKING:
    from interlock.core.policy import Policy
    from interlock.core.problem import Findings
    from interlock.domains.fisheries.problem import FisheriesProblem

FUTURES = 4000
"""Held-out futures that every policy meets."""

NOISES = (0.04, 0.08, 0.12, 0.16, 0.20)
"""Relative standard deviations of the parameters."""

DRAWS, EPISODES = 128, 50
"""Draws of parameters per noise, and futures of each."""


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """What one fleet, the one that catches one species, gets from each year of the horizon, lost years included.

    Attributes:
        catch: stock units/year.
        value: of that catch, at the prices of the scenario, before costs.
        gain: value less that under the reference policy on the same futures; ``None`` for the reference.
    """

    catch: Estimate
    value: Estimate
    gain: Estimate | None


@dataclass(frozen=True, slots=True, eq=False)
class Robust:
    """One policy where every parameter is off by a factor.

    Attributes:
        noise: standard deviation of the factors.
        rewards: ``(draws,)``, mean over the futures of a draw.
        survivals: ``(draws,)``.
    """

    noise: float
    rewards: Array
    survivals: Array


class Perturbed(FisheriesEnvironment):
    """A fishery whose instances share draws of factors that nobody knows: ``episodes`` of them in a row each.

    Args:
        scenario: the numbers that the factors are around.
        drawn: factors ``(draws, parameters)``.
        episodes: instances of a draw.
        seed: of the futures.
    """

    def __init__(self, scenario: FisheriesScenario, drawn: Array, episodes: int, *, seed: int):
        self.drawn, self.episodes = drawn, episodes
        known = scenario.with_changes(uncertainty={"sd": 0.0})
        super().__init__(known, len(drawn) * episodes, seed=seed, split="test", constraints=())

    def _begin(self, rows: Array) -> None:
        super()._begin(rows)
        self.factor = self.drawn[self.instance // self.episodes % len(self.drawn)]


def robustness(
    scenario: FisheriesScenario,
    policy: Policy,
    noise: float,
    *,
    seed: int,
    draws: int | None = None,
    episodes: int | None = None,
) -> Robust:
    """Play a policy where every parameter is off.

    Args:
        scenario: the numbers that draws are around.
        policy: stays as it is.
        noise: standard deviation of the factors of the parameters.
        seed: of draws and futures; the same for all policies.
        draws: of parameters, such that unfished stocks live; default ``DRAWS``.
        episodes: futures of a draw; default ``EPISODES``.

    Raises:
        UsageError: hardly any draw lets the unfished stocks live.
    """
    draws, episodes = draws or DRAWS, episodes or EPISODES
    changes = {"uncertainty": {**scenario.uncertainty.model_dump(), "sd": noise}, "baselines": ("no_harvest",)}
    off = scenario.with_changes(**changes)  # an optimum exists for known parameters only
    environment = Perturbed(scenario, factors(off, seed, "test", 0, draws), episodes, seed=seed)
    policy.seed(seed)
    outcomes = protocol.run_instances(environment, policy, draws * episodes)
    return Robust(
        noise,
        outcomes.objective.reshape(draws, episodes).mean(axis=1),
        outcomes.metrics["survival"].reshape(draws, episodes).mean(axis=1),
    )


def chances_of_being_best(rewards: Mapping[str, Array]) -> dict[str, float]:
    """Share of draws in which each policy has the largest reward; those that tie share the draw.

    Args:
        rewards: by policy, ``(draws,)`` each.
    """
    table = np.stack(list(rewards.values()))
    best = table >= table.max(axis=0) - 1e-12
    return dict(zip(rewards, (best / best.sum(axis=0)).mean(axis=1).tolist(), strict=True))


def ranks(rewards: Mapping[str, float]) -> dict[str, int]:
    """1 for the largest."""
    ordered = sorted(rewards, key=lambda name: -rewards[name])
    return {name: ordered.index(name) + 1 for name in rewards}


def fleets(scenario: FisheriesScenario, own: Outcomes, reference: Outcomes | None, rows: Array) -> dict[str, Fleet]:
    """What each fleet gets, by the species that it catches.

    Args:
        scenario: prices and horizon.
        own: of the policy.
        reference: of the reference policy on the same futures; ``None`` if it is this one.
        rows: bootstrap samples.
    """
    found = {}
    prices = scenario.prices or (1.0,) * len(scenario.harvested)
    for name, price in zip(scenario.harvested, prices, strict=True):
        key = "yield" if isinstance(scenario.model, Walleye) else f"catch_{name}"
        catch = own.metrics[key] / scenario.horizon
        gain = None if reference is None else price * (catch - reference.metrics[key] / scenario.horizon)
        found[name] = Fleet(
            interval(catch, rows), interval(price * catch, rows), None if gain is None else interval(gain, rows)
        )
    return found


def interval(values: Array, rows: Array) -> Estimate:
    """Mean with its 95 % bootstrap interval."""
    return Estimate(float(values.mean()), *percentile_interval(resampled(values, mean, rows)))


def losses(scenario: FisheriesScenario, outcomes: Outcomes) -> dict[str, Any]:
    """Which futures end in a collapse, when, and by which species; empty for stocks that do not collapse."""
    if "survival" not in outcomes.metrics:
        return {}
    survived, count = outcomes.metrics["survival"] > 0, len(outcomes.objective)
    years = outcomes.metrics["length"][~survived]
    return {
        "survival": as_values(wilson(int(survived.sum()), count), "share"),
        "years_to_collapse": {
            "median": float(np.median(years)) if len(years) else None,
            "earliest_5_percent": float(np.quantile(years, 0.05)) if len(years) else None,
            "unit": "years",
        },
        "collapsed": {
            name: as_values(wilson(int(outcomes.metrics[f"collapsed_{name}"].sum()), count), "share")
            for name in scenario.model.species
        },
    }


def as_values(estimate: Estimate, unit: str) -> dict[str, Any]:
    """An estimate as JSON has it."""
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "unit": unit}


def play(
    problem: FisheriesProblem,
    policies: Mapping[str, Policy],
    seed: int,
    progress: Callable[[float, float], None],
) -> Findings:
    """The study ``sustainability``.

    Args:
        problem: of fisheries.
        policies: by name.
        seed: added to that of the held-out futures.
        progress: takes ``(done, total)``.
    """
    from interlock.domains.fisheries import sustainability_report as report

    scenario = problem.scenario
    reference = next((name for name in problem.baselines() if name in policies), next(iter(policies)))
    noises = () if isinstance(scenario.model, Walleye) else NOISES
    total, done = len(policies) * (1 + len(noises)), 0
    futures = min(FUTURES, scenario.evaluation.test_instances)
    first = protocol.split_seed(problem, "test") + seed
    outcomes: dict[str, Outcomes] = {}
    off: dict[str, list[Robust]] = {name: [] for name in policies}
    for name, policy in policies.items():
        policy.seed(first)
        outcomes[name] = protocol.play(problem, policy, split="test", count=futures, seed=first)
        done += 1
        progress(done, total)
    for noise in noises:
        for name, policy in policies.items():
            off[name].append(robustness(scenario, policy, noise, seed=first))
            done += 1
            progress(done, total)
    return report.findings(problem, policies, outcomes, off, reference, resample_rows(futures), first)

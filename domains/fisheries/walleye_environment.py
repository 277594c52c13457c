"""The batched simulator of an age-structured stock: exploitation rates in, catches out, until the horizon ends."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.problem import Constraint, Metric, Objective
from interlock.domains.fisheries.environment import LOW_SHARE, checked
from interlock.domains.fisheries.instances import states
from interlock.domains.fisheries.model import CLOSED, low_quantile
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.walleye import (
    LARGEST_SURVEY,
    TOTALS,
    advance,
    first_numbers,
    lake_of,
    model_of,
    survey,
)

_STATE = (
    "numbers", "biomass", "seen", "year", "instance", "recruits", "errors", "last", "totals", "catches", "rewards",
)  # fmt: skip


def objective(scenario: FisheriesScenario) -> Objective:
    """The sum of the utilities of all years."""
    model = model_of(scenario)
    units = {"yield": "stock units", "hara": f"stock units^{model.exponent:g}", "trophy": "fish"}
    return Objective("reward", units[model.utility], "maximise")


def metrics(scenario: FisheriesScenario) -> tuple[Metric, ...]:
    """Figures per episode, in the order in which the environment computes them."""
    unit, oldest = "stock units", model_of(scenario).trophy_ages
    return (
        Metric("yield", unit, "catch of all years"),
        Metric("utility", f"{objective(scenario).unit}/year", f"mean {model_of(scenario).utility} of a year"),
        Metric("trophies", "fish", f"fish of the {oldest} oldest ages in the catch of all years"),
        Metric("length", "years", "years until the horizon"),
        Metric("low_years", "years", f"years whose spawners weigh below {scenario.low_level:g} of an unfished stock's"),
        Metric("closed_years", "share", f"years with a catch below {CLOSED:g} {unit}"),
        Metric("mean_catch", f"{unit}/year", "catch of a year"),
        Metric("catch_5_percent", f"{unit}/year", "catch that all but 5 % of the years of an episode exceed"),
        Metric("aav", "share", "average annual variation: changes of the catch from year to year over all catches"),
        Metric("changed_years", "years", "years whose proposed rate broke a limit and was brought within it"),
        Metric("biomass", unit, "mean biomass that a survey without errors finds"),
        Metric("spawners", "share", "mean spawning biomass over that of an unfished stock of mean recruitment 1"),
    )


class WalleyeEnvironment:
    """A batch of lakes, each with its own future. Implements ``interlock.core.environment.BatchEnvironment``.

    Observation: ``stock`` ``(n, 1)``, biomass in stock units as a survey finds it; ``mean_weight`` ``(n, 1)``, of the
    fish that it finds, if the model asks for it, in weights of a full-grown fish; ``year`` ``(n, 1)`` from 0; where
    rates may change by so much only, ``last_mortality`` ``(n, 1)``, of the year before (0 in year 0). Action:
    exploitation rates ``(n, 1)``; they are brought within [0, 1] and the largest change.

    The horizon truncates. Costs: 1 for every year in ``low_years``.

    Args:
        scenario: the numbers.
        num_envs: rows.
        seed: of the instances.
        split: of the instances.
        constraints: of the problem.
    """

    def __init__(
        self,
        scenario: FisheriesScenario,
        num_envs: int,
        *,
        seed: int,
        split: Split,
        constraints: tuple[Constraint, ...],
    ):
        self.scenario, self.num_envs, self.split, self.constraints = scenario, num_envs, split, constraints
        self.lake, self.horizon = lake_of(scenario), scenario.horizon
        weighs = model_of(scenario).weigh
        views: dict[str, spaces.Space[Any]] = {
            "stock": spaces.Box(0.0, LARGEST_SURVEY, (1,), np.float64),
            "year": spaces.Box(0, self.horizon, (1,), np.int64),
        }
        if weighs:
            views["mean_weight"] = spaces.Box(0.0, np.inf, (1,), np.float64)
        self.shows_last = scenario.limits.max_change is not None
        if self.shows_last:
            views["last_mortality"] = spaces.Box(0.0, 1.0, (1,), np.float64)
        self.observation_space = spaces.Dict(views)
        self.action_space: spaces.Space[Any] = spaces.Box(0.0, 1.0, (1,), np.float64)
        self.metrics = tuple(metric.name for metric in metrics(scenario))
        self.numbers = np.empty((num_envs, len(self.lake.first)))
        self.biomass, self.seen = np.empty((num_envs, 1)), np.empty((num_envs, 2 if weighs else 1))
        self.year, self.instance = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        self.recruits, self.errors = np.zeros(num_envs, np.uint64), np.zeros(num_envs, np.uint64)
        self.last, self.rewards = np.zeros((num_envs, 1)), np.zeros(num_envs)
        self.totals = np.zeros((num_envs, len(TOTALS)))
        self.catches = np.zeros((num_envs, self.horizon), np.float32)
        self.clipped = 0
        self._rows = np.arange(num_envs)
        self._nothing = {name: np.zeros(num_envs) for name in self.metrics}
        self._start(seed)

    def _start(self, seed: int) -> None:
        self.seed, self.next_index = seed, 0
        self._begin(self._rows)

    def _begin(self, rows: Array) -> None:
        """Start the next instances in these rows."""
        first, count = self.next_index, len(rows)
        self.recruits[rows], self.errors[rows] = states(self.seed, self.split, first, count)
        self.numbers[rows] = first_numbers(self.scenario, self.lake, self.seed, self.split, first, count)
        self.instance[rows] = first + np.arange(count)
        self.year[rows] = 0
        self.last[rows] = 0.0
        self.totals[rows] = 0.0
        self.rewards[rows] = 0.0
        self.next_index += count
        self._survey(rows)

    def _survey(self, rows: Array) -> None:
        survey(self.lake, self.numbers, self.errors, rows, self.seen, self.biomass[:, 0])

    def _view(self) -> Observation:
        view = {"stock": self.seen[:, :1].copy(), "year": self.year[:, None].copy()}
        if self.seen.shape[1] > 1:
            view["mean_weight"] = self.seen[:, 1:].copy()
        if self.shows_last:
            view["last_mortality"] = self.last.copy()
        return view

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1`` again, of another stream if a seed is given."""
        self._start(self.seed if seed is None else seed)
        return self._view()

    def step(self, action: Array) -> Step:
        """Fish for a year.

        Raises:
            BrokenEnvironment: a rate is not a finite number, or there are too many or too few.
        """
        rate = checked(self, action)
        reward, low = np.empty(self.num_envs), np.empty(self.num_envs, np.bool_)
        advance(
            self.lake, self.numbers, self.year, self.recruits, rate, self.last, self.totals, self.catches,
            self.biomass, reward, low,
        )  # fmt: skip
        self.rewards += reward
        truncated, terminated = self.year == self.horizon, np.zeros(self.num_envs, np.bool_)
        cost = np.repeat(low[:, None], len(self.constraints), axis=1).astype(float)
        instance = self.instance.copy()
        self._survey(self._rows)
        done = np.flatnonzero(truncated)
        if not len(done):
            return Step(self._view(), reward, cost, terminated, truncated, info={"instance": instance, **self._nothing})
        info = {"instance": instance, **self._figures(done)}
        last_view = self._view()
        self._begin(done)
        return Step(self._view(), reward, cost, terminated, truncated, last_view, info=info)

    def _figures(self, done: Array) -> dict[str, Array]:
        """The metrics of the rows that finished."""
        years = self.year[done]
        caught, low, closed, changed, moved, trophies, biomass, spawning = self.totals[done].T
        unfished = self.lake.first @ self.lake.spawning
        figures = [
            caught, self.rewards[done] / years, trophies, years, low, closed / years, caught / years,
            low_quantile(self.catches[done], years, LOW_SHARE),
            np.divide(moved, caught, out=np.zeros(len(done)), where=caught > 0),
            changed, biomass / years, spawning / years / unfished,
        ]  # fmt: skip
        found = {}
        for name, values in zip(self.metrics, figures, strict=True):
            found[name] = np.zeros(self.num_envs)
            found[name][done] = values
        return found

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here."""
        arrays: dict[str, Array] = {name: getattr(self, name).copy() for name in _STATE}
        arrays["counters"] = np.array([self.next_index, self.seed, self.clipped], np.int64)
        return arrays

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        for name in _STATE:
            getattr(self, name)[:] = state[name]
        self.next_index, self.seed, self.clipped = (int(value) for value in state["counters"])
        return self._view()

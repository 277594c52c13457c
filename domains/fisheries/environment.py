"""The batched simulator: mortalities in, catches out, year after year until a species collapses or the horizon ends."""

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.errors import BrokenEnvironment
from interlock.core.problem import Constraint, Metric
from interlock.domains.fisheries.instances import factors, first_stocks, fishery_of, states
from interlock.domains.fisheries.model import CLOSED, TOTALS, advance, low_quantile, survey
from interlock.domains.fisheries.scenario import FisheriesScenario

LOW_SHARE = 0.05
"""Share of the years whose catch is at most the metric ``catch_5_percent``."""

_STATE = ("stock", "year", "instance", "noise", "errors", "factor", "last", "totals", "catches", "seen")


def metrics(scenario: FisheriesScenario) -> tuple[Metric, ...]:
    """Figures per episode, in the order in which the environment computes them."""
    unit = "stock units"
    return (
        Metric("yield", unit, "catch of all years and species, without prices and penalty"),
        Metric("survival", "share", "episodes in which no species collapsed within the horizon"),
        Metric("length", "years", "years until a collapse or the horizon"),
        Metric("low_years", "years", f"years that end with a species below {scenario.low_level:g}"),
        Metric("closed_years", "share", f"years with a catch below {CLOSED:g} stock units"),
        Metric("mean_catch", f"{unit}/year", "catch of a year, collapsed or not"),
        Metric("catch_5_percent", f"{unit}/year", "catch that all but 5 % of the years of an episode exceed"),
        Metric("aav", "share", "average annual variation: changes of the catch from year to year over all catches"),
        Metric("changed_years", "years", "years whose proposed mortalities broke a limit and were brought within it"),
        *(Metric(f"catch_{name}", unit, f"catch of {name} in all years") for name in scenario.harvested),
        *(Metric(f"collapsed_{name}", "share", f"episodes that ended with {name}") for name in scenario.model.species),
    )


class FisheriesEnvironment:
    """A batch of fisheries, each with its own future. Implements ``interlock.core.environment.BatchEnvironment``.

    Observation: ``stock`` ``(n, seen species)`` in stock units, as a survey finds it; ``year`` ``(n, 1)`` from 0; where
    mortalities may change by so much only, ``last_mortality`` ``(n, h)``, of the year before (0 in year 0). Action:
    mortalities ``(n, h)``, shares of the stocks; they are brought within [0, 1] and the limits of the scenario.

    A collapse terminates, the horizon truncates. Costs: 1 on ``collapse``, 1 for every year in ``low_years``.

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
        self.fishery = fishery_of(scenario)
        self.horizon = scenario.horizon
        species, caught = len(scenario.model.species), len(scenario.harvested)
        visible = [i for i, name in enumerate(scenario.model.species) if name not in scenario.observed.hidden]
        self.visible = slice(None) if len(visible) == species else visible
        views: dict[str, spaces.Space[Any]] = {
            "stock": spaces.Box(0.0, np.inf, (len(visible),), np.float64),
            "year": spaces.Box(0, self.horizon, (1,), np.int64),
        }
        self.shows_last = scenario.limits.max_change is not None
        if self.shows_last:
            views["last_mortality"] = spaces.Box(0.0, 1.0, (caught,), np.float64)
        self.observation_space = spaces.Dict(views)
        self.action_space: spaces.Space[Any] = spaces.Box(0.0, 1.0, (caught,), np.float64)
        self.metrics = tuple(metric.name for metric in metrics(scenario))
        self.stock = np.empty((num_envs, species))
        self.seen = self.stock if scenario.observed.cv == 0 else np.empty((num_envs, species))
        self.year, self.instance = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        self.noise, self.errors = np.zeros(num_envs, np.uint64), np.zeros(num_envs, np.uint64)
        known = scenario.uncertainty.sd == 0
        self.factor = np.ones((1 if known else num_envs, self.fishery.table.shape[1]))
        self.last = np.zeros((num_envs, caught))
        self.totals = np.zeros((num_envs, len(TOTALS) + caught))
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
        scenario, first, count = self.scenario, self.next_index, len(rows)
        self.noise[rows], self.errors[rows] = states(self.seed, self.split, first, count)
        self.stock[rows] = first_stocks(scenario, self.seed, self.split, first, count)
        if len(self.factor) == self.num_envs:
            self.factor[rows] = factors(scenario, self.seed, self.split, first, count)
        self.instance[rows] = first + np.arange(count)
        self.year[rows] = 0
        self.last[rows] = 0.0
        self.totals[rows] = 0.0
        self.next_index += count
        self._survey(rows)

    def _survey(self, rows: Array) -> None:
        """Look at these rows; without errors, what is seen is the stock itself."""
        if self.seen is not self.stock:
            survey(self.stock, self.fishery.cv, self.errors, rows, self.seen)

    def _view(self) -> Observation:
        view = {"stock": self.seen[:, self.visible].copy(), "year": self.year[:, None].copy()}
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
            BrokenEnvironment: a mortality is not a finite number, or there are too many or too few.
        """
        mortality = checked(self, action)
        reward = np.empty(self.num_envs)
        terminated, low = np.empty(self.num_envs, np.bool_), np.empty(self.num_envs, np.bool_)
        advance(
            self.fishery, self.factor, self.stock, self.year, self.noise, mortality, self.last, self.totals,
            self.catches, reward, terminated, low,
        )  # fmt: skip
        ended = self.year == self.horizon
        truncated = ended & ~terminated
        columns = {"collapse": terminated, "low_years": low}
        cost = np.empty((self.num_envs, len(self.constraints)))
        for column, constraint in enumerate(self.constraints):
            cost[:, column] = columns[constraint.name]
        instance = self.instance.copy()
        self._survey(self._rows)
        done = np.flatnonzero(terminated | ended)
        if not len(done):
            return Step(self._view(), reward, cost, terminated, truncated, info={"instance": instance, **self._nothing})
        info = {"instance": instance, **self._figures(done, terminated)}
        last_view = self._view() if truncated.any() else None
        self._begin(done)
        return Step(self._view(), reward, cost, terminated, truncated, last_view, info=info)

    def _figures(self, done: Array, terminated: Array) -> dict[str, Array]:
        """The metrics of the rows that finished."""
        years, totals = self.year[done], self.totals[done]
        caught = totals[:, 0]
        collapsed = self.stock[done] <= self.fishery.collapse
        figures = [
            caught, ~terminated[done], years, totals[:, 1], totals[:, 2] / years, caught / years,
            low_quantile(self.catches[done], years, LOW_SHARE),
            np.divide(totals[:, 4], caught, out=np.zeros(len(done)), where=caught > 0),
            totals[:, 3], *totals[:, len(TOTALS) :].T, *collapsed.T,
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


class _Fleet(Protocol):
    """What is needed of an environment to check what is proposed to it."""

    scenario: FisheriesScenario
    last: Array
    year: Array
    instance: Array
    clipped: int


def checked(environment: _Fleet, action: Array) -> Array:
    """The proposed mortalities, copied; counts those outside [0, 1] and warns of the first.

    They are brought within [0, 1] with the other limits, see ``model.permitted``.

    Raises:
        BrokenEnvironment: a mortality is not a finite number, or there are too many or too few.
    """
    proposed = np.array(action, dtype=float)
    if proposed.shape != environment.last.shape:
        raise BrokenEnvironment(f"actions have shape {proposed.shape}, expected {environment.last.shape}")
    least, most = proposed.min(), proposed.max()  # both NaN if any mortality is
    if not (np.isfinite(least) and np.isfinite(most)):
        row, column = np.argwhere(~np.isfinite(proposed))[0]
        raise BrokenEnvironment(
            f"year {environment.year[row]}, instance {environment.instance[row]}: the mortality proposed for "
            f"{environment.scenario.harvested[column]} is {proposed[row, column]}, not a share of the stock"
        )
    if least < 0 or most > 1:
        if not environment.clipped:
            warnings.warn("mortalities outside [0, 1] are clipped; metric changed_years counts them", stacklevel=3)
        environment.clipped += int(((proposed < 0) | (proposed > 1)).sum())
    return proposed

"""The age-structured stock in torch: the same years as the compiled model, differentiable in every rate.

What jumps is smoothed: a year counts as low by the share ``sigmoid((limit - spawners) / width)``, and the power of a
catch, whose slope is infinite at none, is that of the catch and a little more. The path itself is not changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numba import njit
from torch import Tensor

from interlock.core.environment import Split
from interlock.core.pathwise.contract import Decide, Played, TensorEncoder, View
from interlock.domains.fisheries import encoders
from interlock.domains.fisheries.instances import states
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.walleye import (
    LARGEST_SURVEY,
    UTILITIES,
    first_numbers,
    lake_of,
    model_of,
    recruitment,
    told,
)

WIDTH = 0.01
"""Of the smoothed limit, in low levels."""
LITTLE = 1e-6
"""Catch that is added before its power is taken."""


@dataclass(frozen=True, slots=True)
class Futures:
    """What n instances will meet in T years.

    Attributes:
        first: numbers at age of year 0 ``(n, A)``.
        factors: of the young ``(T, n, 1)``.
        errors: factors of what surveys tell, ``(T, n, 1 or 2)``: of the biomass, and of the mean weight.
    """

    first: Tensor
    factors: Tensor
    errors: Tensor


def futures_of(
    scenario: FisheriesScenario, seed: int, split: Split, first: int, count: int, dtype: torch.dtype = torch.float32
) -> Futures:
    """Exactly what the environment meets in these instances."""
    lake = lake_of(scenario)
    told_of = 2 if model_of(scenario).weigh else 1
    factors, errors = _drawn(lake, *states(seed, split, first, count), scenario.horizon, told_of)
    numbers = first_numbers(scenario, lake, seed, split, first, count)
    return Futures(*(torch.from_numpy(values).to(dtype) for values in (numbers, factors, errors)))


@njit(cache=True)
def _drawn(lake, recruits, errors, years, told_of):
    """Factors of the young ``(T, n, 1)``, and of what surveys tell ``(T, n, told_of)``."""
    factors, seen = np.empty((years, len(recruits), 1)), np.empty((years, len(recruits), told_of))
    for row in range(len(recruits)):
        for t in range(years):
            factors[t, row, 0] = recruitment(lake, recruits, row)
            for entry in range(told_of):
                seen[t, row, entry] = told(lake, 1.0, errors, row)
    return factors, seen


class WalleyeSimulator:
    """Implements ``interlock.core.pathwise.contract.DifferentiableSimulator``.

    Args:
        scenario: the numbers.
    """

    def __init__(self, scenario: FisheriesScenario):
        self.scenario, self.lake, self.model = scenario, lake_of(scenario), model_of(scenario)
        self.shows_last = scenario.limits.max_change is not None
        # By which numbers of an age become those of the next; the last stays.
        self.older = np.eye(self.model.ages, k=1)
        self.older[-1, -1] = 1.0

    def futures(self, seed: int, first: int, count: int) -> Futures:
        """Those of training instances."""
        return futures_of(self.scenario, seed, "train", first, count)

    def encoders(self) -> Mapping[str, TensorEncoder]:
        """All of the problem's."""
        return cast("Mapping[str, TensorEncoder]", encoders.encoders(self.scenario, torch))

    def play(self, decide: Decide, futures: Futures, *, smoothing: float = 1.0) -> Played:
        """Fish for the whole horizon; the arithmetic has the precision of the futures."""
        lake, numbers = self.lake, futures.first
        dtype = numbers.dtype
        taken = lake.trophies if UTILITIES[lake.utility] == "trophy" else lake.caught
        sums = torch.from_numpy(np.column_stack([taken, lake.weighed, lake.found])).to(dtype)
        older, vulnerable, spawning = (
            torch.from_numpy(values).to(dtype) for values in (self.older, lake.vulnerable, lake.spawning[:, None])
        )
        youngest = torch.eye(1, len(older), dtype=dtype)
        last, catches, spawners = torch.zeros(len(numbers), 1, dtype=dtype), [], []
        for year, (factor, error) in enumerate(zip(futures.factors, futures.errors, strict=True)):
            catch, biomass, fish = (numbers @ sums).split(1, dim=1)
            rate = decide(self._view(biomass, fish, error, year, last)).clamp(0.0, 1.0)
            if year > 0 and lake.max_change < 1.0:
                rate = torch.minimum(torch.maximum(rate, last - lake.max_change), last + lake.max_change)
            left = lake.survival * numbers * (1.0 - rate * vulnerable)
            spawned = left @ spawning
            young = factor * (lake.alpha * spawned / (1.0 + lake.beta * spawned))
            numbers = left @ older + young * youngest
            catches.append(rate * catch)
            spawners.append(spawned)
            last = rate
        return self._judge(torch.cat(catches, dim=1), torch.cat(spawners, dim=1), smoothing)

    def _view(self, biomass: Tensor, fish: Tensor, error: Tensor, year: int, last: Tensor) -> View:
        """What the council sees."""
        view = {
            "stock": (biomass * error[:, :1]).clamp(max=LARGEST_SURVEY),
            "year": torch.full((len(biomass), 1), year, dtype=biomass.dtype),
        }
        if self.model.weigh:
            view["mean_weight"] = biomass / fish * error[:, 1:]
        return {**view, "last_mortality": last} if self.shows_last else view

    def _judge(self, catches: Tensor, spawners: Tensor, smoothing: float) -> Played:
        """Rewards and costs of episodes with catches (or trophies) and spawning biomasses ``(n, T)``."""
        lake = self.lake
        value = catches
        if UTILITIES[lake.utility] == "hara":
            little = LITTLE * smoothing
            value = (catches + little) ** lake.exponent - little**lake.exponent
        if self.scenario.low_years is None:
            nothing = torch.zeros(len(catches), 0)
            return Played(value.sum(1), nothing, nothing.double().numpy())
        low = torch.sigmoid((lake.low - spawners) / (WIDTH * smoothing * lake.low)).sum(1, keepdim=True)
        measured = (spawners.detach() < lake.low).sum(1, keepdim=True).double().numpy()
        return Played(value.sum(1), low, measured)

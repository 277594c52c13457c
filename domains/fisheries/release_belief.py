"""What a release takes for granted of what nobody has seen: true stocks behind a survey, hidden species, parameters.

* A survey with a coefficient of variation ``cv`` finds ``B``; the true stock is taken to be log-normal with mean ``B``
  and that coefficient of variation.
* A species that no survey finds is taken to be as in futures of the training split that the best constant mortality
  within the limits plays (``constant_mortality_safe``): of those still alive in the year decided on, the
  quarter whose seen stocks are nearest to the survey, by logarithms.
* Parameters that nobody knows take the factors of the first training futures.
"""

from functools import cached_property, lru_cache

import numpy as np
from numba import njit
from scipy.special import ndtri

from interlock.domains.fisheries.draws import normal
from interlock.domains.fisheries.instances import factors, first_stocks, fishery_of, states
from interlock.domains.fisheries.model import Array, live
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.tuning import search

FUTURES = 1000
"""Training futures that hidden species are looked up in."""
RANGE_FUTURES = 250
"""Training futures, unfished and fished each, whose largest stock ends the range of training."""
FACTORS = 256
"""Training futures whose parameters stand for all."""
NEAREST = 0.25
"""Share of the living futures that a hidden species is taken from."""
POINTS = 2048
"""Points that an expectation over what is not known is taken over."""


class Beliefs:
    """What is believed of a scenario; tables are made when first needed.

    Args:
        scenario: the numbers, of a model with known parameters of growth (not an age-structured one).

    Attributes:
        fishery: the same for compiled code.
        seen: places of the species that surveys find.
        hidden: places of those that they do not.
    """

    def __init__(self, scenario: FisheriesScenario):
        self.scenario, self.fishery = scenario, fishery_of(scenario)
        species = scenario.model.species
        self.hidden = [place for place, name in enumerate(species) if name in scenario.observed.hidden]
        self.seen = [place for place in range(len(species)) if place not in self.hidden]
        self.certain = scenario.uncertainty.sd == 0 and not self.hidden

    def believed(self, year: int, survey: Array, cv: Array, shares: Array | None = None) -> tuple[Array, Array]:
        """Stocks that may be behind a survey, and factors of the parameters.

        Args:
            year: from 0.
            survey: of the species that are seen, stock units ``(seen,)``.
            cv: of its errors ``(seen,)``.
            shares: uniform numbers ``(k, seen + 2)`` that choose them; evenly spread ones if
                ``None``, or one row where all is known.

        Returns:
            Stocks before the catch ``(k, species)`` and factors ``(k, parameters)``.
        """
        columns = len(self.seen) + 2
        if shares is None:
            shares = np.full((1, columns), 0.5) if self.certain and not cv.any() else _spread_out(columns)
        stock = np.empty((len(shares), len(self.scenario.initial)))
        stock[:, self.seen] = survey
        if cv.any():
            spread = np.sqrt(np.log1p(cv**2))
            stock[:, self.seen] *= np.exp(spread * ndtri(shares[:, : len(self.seen)]) - 0.5 * spread**2)
        if self.hidden:
            found = self._nearest(year, survey)[:, self.hidden]
            stock[:, self.hidden] = found[(shares[:, -2] * len(found)).astype(int)]
        return stock, self.factors[(shares[:, -1] * len(self.factors)).astype(int)]

    @cached_property
    def factors(self) -> Array:
        """Factors of the parameters ``(FACTORS, parameters)``; one row of ones where they are known."""
        return factors(self.scenario, 0, "train", 0, FACTORS)

    @cached_property
    def largest(self) -> Array:
        """Largest stock ``(species,)`` of training futures, unfished and under the best constant mortality."""
        best, _ = best_constant(self.scenario)
        rules = [np.zeros(len(best)), best]
        found: Array = np.max([np.nanmax(self._paths(rule, RANGE_FUTURES), axis=(0, 1)) for rule in rules], axis=0)
        return found

    @cached_property
    def _careful(self) -> Array:
        _, safe = best_constant(self.scenario)
        return self._paths(safe, FUTURES)

    def _nearest(self, year: int, survey: Array) -> Array:
        """``(k, species)`` that a hidden species is taken from; of the latest year in which any future lives."""
        while np.isnan(self._careful[year]).all():
            year -= 1
        living = self._careful[year][~np.isnan(self._careful[year, :, 0])]
        away = np.square(np.log(living[:, self.seen]) - np.log(np.maximum(survey, 1e-6))).sum(axis=1)
        kept = max(int(NEAREST * len(living)), 1)
        chosen: Array = living[np.sort(np.argsort(away, kind="stable")[:kept])]
        return chosen

    def _paths(self, mortality: Array, futures: int) -> Array:
        """Stocks at the start of every year ``(T, futures, species)``, NaN once collapsed."""
        process, _ = states(0, "train", 0, futures)
        stock = first_stocks(self.scenario, 0, "train", 0, futures)
        drawn = factors(self.scenario, 0, "train", 0, futures)
        return _walk(self.fishery, drawn, stock, process, np.tile(mortality, (futures, 1)))


def best_constant(scenario: FisheriesScenario) -> tuple[Array, Array]:
    """The best constant mortality ``(h,)`` of these numbers, and the best that keeps the limits of the scenario.

    Those that the scenario holds; where it holds none, or those of other numbers, they are searched once a process,
    which takes CPU seconds for two harvested species.
    """
    held = scenario.tuned
    if held is not None and held.numbers == scenario.numbers():
        return np.array(held.constant_mortality), np.array(held.constant_mortality_safe)
    return _searched(scenario.with_changes(tuned=None, method=None).canonical_json())


@lru_cache(maxsize=16)
def _searched(scenario_json: str) -> tuple[Array, Array]:
    best, safe = search(FisheriesScenario.model_validate_json(scenario_json), "constant_mortality")
    return np.round(best[:, 0], 4), np.round(safe[:, 0], 4)


@lru_cache(maxsize=8)
def _spread_out(columns: int) -> Array:
    """``(POINTS, columns)`` in (0, 1), evenly spread: multiples of powers of a generalised golden ratio, modulo 1.

    The ratio is the root of ``x ** (columns + 1) = x + 1`` (Roberts 2018).
    """
    ratio = 2.0
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (columns + 1))
    steps = ratio ** -np.arange(1.0, columns + 1)
    points: Array = np.clip((0.5 + np.arange(1, POINTS + 1)[:, None] * steps) % 1.0, 1e-9, 1.0 - 1e-9)
    points.setflags(write=False)
    return points


@njit(cache=True, error_model="numpy")
def _walk(fishery, factor, stock, process, mortality):
    """``Beliefs._paths``, with generators ``process``; all arrays are used up."""
    years, (futures, species) = len(fishery.table), stock.shape
    found = np.full((years, futures, species), np.nan)
    p, noise = np.empty(factor.shape[1]), np.zeros(3)
    for row in range(futures):
        for t in range(years):
            found[t, row] = stock[row]
            for c in range(len(p)):
                p[c] = fishery.table[t, c] * factor[row if len(factor) > 1 else 0, c]
            for i in range(species):
                noise[i] = normal(process, row)
            _, _, least = live(fishery, p, t, stock, mortality, row, noise[0], noise[1], noise[2])
            if least <= fishery.collapse:
                break
    return found

r"""Harvest rules with a few parameters, and the search for the best ones: many parameters on the same futures at once.

A rule maps the stock :math:`N` of a harvested species, as the survey finds it, to its mortality:

* ``constant_mortality`` :math:`M`, whatever the stock;
* ``constant_escapement``: all above a stock :math:`S` is caught, :math:`M = \max(0, 1 - S/N)`;
* ``precautionary`` (the "hockey stick" of many agencies): none up to a stock :math:`a`, then rising linearly to
  :math:`m` at a stock :math:`b`, and :math:`m` above.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from interlock.domains.fisheries.draws import normal
from interlock.domains.fisheries.instances import factors, first_stocks, fishery_of, states
from interlock.domains.fisheries.model import Array, live, permitted
from interlock.domains.fisheries.scenario import FisheriesScenario

Kind = Literal["constant_mortality", "constant_escapement", "precautionary"]
KINDS: dict[Kind, int] = {"constant_mortality": 1, "constant_escapement": 1, "precautionary": 3}
"""Parameters of each kind of rule per harvested species."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What rules achieved, on the same futures each.

    Attributes:
        reward: ``(R,)``, mean over futures.
        survival: ``(R,)``, share of futures without a collapse.
        low_years: ``(R,)``, mean number of low years.
        last_year: ``(R,)``, mean reward of an episode's last year, the penalty of a collapse in it.
        full_length: ``(R,)``, share of futures that reach the last year, whether or not it ends in a collapse.
    """

    reward: Array
    survival: Array
    low_years: Array
    last_year: Array
    full_length: Array


def mortalities(kind: Kind, parameters: Array, stock: Array) -> Array:
    """Mortalities ``(n, h)`` of a rule.

    Args:
        kind: of the rule.
        parameters: ``(h, k)``.
        stock: ``(n, h)``, of the harvested species.
    """
    if kind == "constant_mortality":
        return np.broadcast_to(parameters[:, 0], stock.shape).copy()
    if kind == "constant_escapement":
        left = np.divide(parameters[:, 0], stock, out=np.full(stock.shape, np.inf), where=stock > 0)
        escaping: Array = np.maximum(1.0 - left, 0.0)
        return escaping
    closed, full, most = parameters.T
    slope = np.clip((stock - closed) / np.maximum(full - closed, 1e-9), 0.0, 1.0)
    rising: Array = most * slope
    return rising


def score(scenario: FisheriesScenario, kind: Kind, parameters: Array, *, futures: int, seed: int) -> Scores:
    """Play rules on training futures.

    Args:
        scenario: the numbers.
        kind: of all rules.
        parameters: ``(R, h, k)``.
        futures: number of them, from the first of the seed.
        seed: of the split ``train``.
    """
    process, errors = states(seed, "train", 0, futures)
    sums = _score(
        fishery_of(scenario),
        factors(scenario, seed, "train", 0, futures),
        first_stocks(scenario, seed, "train", 0, futures),
        process,
        errors,
        list(KINDS).index(kind),
        np.ascontiguousarray(parameters, float),
    )
    return Scores(*(one / futures for one in sums))


@njit(cache=True, inline="always", error_model="numpy")
def one_mortality(kind, parameters, rule, j, stock):
    """``mortalities`` of one stock."""
    if kind == 0:
        return parameters[rule, j, 0]
    if kind == 1:
        return max(1.0 - parameters[rule, j, 0] / stock, 0.0) if stock > 0.0 else 0.0
    closed, full = parameters[rule, j, 0], parameters[rule, j, 1]
    slope = (stock - closed) / max(full - closed, 1e-9)
    return parameters[rule, j, 2] * min(max(slope, 0.0), 1.0)


@njit(cache=True, error_model="numpy")
def _score(fishery, factor, starts, process, errors, kind, parameters):
    """Sums over futures of what ``Scores`` has, by rule: every future is drawn once and played by all."""
    rules, caught = parameters.shape[:2]
    futures, species, years = starts.shape[0], starts.shape[1], len(fishery.table)
    reward, survived, low = np.zeros(rules), np.zeros(rules), np.zeros(rules)
    last_year, full = np.zeros(rules), np.zeros(rules)
    noise, seen = np.zeros((years, 3)), np.ones((years, 3))
    table = np.empty_like(fishery.table)
    stock, mortality, last = np.empty((1, species)), np.empty((1, caught)), np.empty((1, caught))
    for k in range(futures):
        for t in range(years):
            for c in range(table.shape[1]):
                table[t, c] = fishery.table[t, c] * factor[k if len(factor) > 1 else 0, c]
            for i in range(species):
                noise[t, i] = normal(process, k)
                if fishery.cv > 0.0:
                    seen[t, i] = max(1.0 + fishery.cv * normal(errors, k), 0.0)
        for rule in range(rules):
            stock[0] = starts[k]
            last[0] = 0.0
            lives = True
            for t in range(years):
                for j in range(caught):
                    i = fishery.harvested[j]
                    mortality[0, j] = one_mortality(kind, parameters, rule, j, stock[0, i] * seen[t, i])
                permitted(fishery, t, stock, last, mortality, 0)
                for j in range(caught):
                    last[0, j] = mortality[0, j]
                value, _, least = live(fishery, table[t], t, stock, mortality, 0, noise[t, 0], noise[t, 1], noise[t, 2])
                low[rule] += least < fishery.low
                lives = least > fishery.collapse
                if not lives:
                    value -= fishery.penalty / (t + 1)
                reward[rule] += value
                if not lives or t == years - 1:
                    last_year[rule] += value
                    full[rule] += t == years - 1
                    break
            survived[rule] += lives
    return reward, survived, low, last_year, full

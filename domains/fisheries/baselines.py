"""What an agency would use instead: rules of a few parameters, textbook rules, and the optimum where it is known."""

from collections.abc import Callable, Mapping

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import FunctionPolicy, Policy
from interlock.domains.fisheries import dynamic_programming, walleye_rules
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.myopic import best_now
from interlock.domains.fisheries.rules import Kind, mortalities
from interlock.domains.fisheries.scenario import FisheriesScenario, Walleye
from interlock.domains.fisheries.tuning import tuned

FRACTIONS: Mapping[str, float] = {
    "constant_mortality_95": 0.95,
    "constant_mortality_90": 0.90,
    "constant_mortality_80": 0.80,
}
"""Shares of the best constant mortality that careful agencies allow."""

STATIONARY = 0.75
"""Share of the horizon: the rule of that year, far from both ends, is taken for that of a horizon without end."""


def harvested_stocks(scenario: FisheriesScenario, observation: Observation) -> Array:
    """Stocks ``(n, h)`` of the harvested species, as seen."""
    seen = [name for name in scenario.model.species if name not in scenario.observed.hidden]
    stocks: Array = observation["stock"][:, [seen.index(name) for name in scenario.harvested]]
    return stocks


def rule(scenario: FisheriesScenario, kind: Kind, parameters: Array) -> FunctionPolicy:
    """A rule with its parameters ``(h, k)``, or ``(h,)`` where it has one for each species."""
    each = np.asarray(parameters, float).reshape(len(scenario.harvested), -1)
    return FunctionPolicy(lambda view, rng: mortalities(kind, each, harvested_stocks(scenario, view)))


def f_msy(scenario: FisheriesScenario) -> Array:
    """Mortality ``(h,)`` of the maximum sustainable yield of logistic growth alone: half the growth rate.

    The yield ``M K (1 - M / r)`` of a logistic stock under mortality M is largest at ``M = r / 2`` (Schaefer 1954).
    Grazers, predators and competitors are left out, which is what makes this rule dangerous. Walleye have a rate of
    their own, see ``walleye_rules``.
    """
    if isinstance(scenario.model, Walleye):
        return walleye_rules.f_msy(scenario)
    names = ("r",) if len(scenario.model.species) == 1 else ("r_x", "r_y", "")
    rates = dict(zip(scenario.model.species, names, strict=True))
    half = [0.5 * getattr(scenario.model, rates[name]) if rates[name] else 0.0 for name in scenario.harvested]
    return np.minimum(half, 1.0)


def myopic(scenario: FisheriesScenario) -> FunctionPolicy:
    """The most of this year's reward, the penalty of a collapse at its end included; nothing after that counts.

    Hidden species are taken to be where they were expected in year 0. Of walleye, which do not collapse, that is all.
    """
    if isinstance(scenario.model, Walleye):
        return rule(scenario, "constant_mortality", np.ones(1))
    fishery, species = fishery_of(scenario), scenario.model.species
    seen = [species.index(name) for name in species if name not in scenario.observed.hidden]

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        stock = np.tile(np.asarray(scenario.initial), (len(observation["stock"]), 1))
        stock[:, seen] = observation["stock"]
        return best_now(fishery, stock, observation["year"][:, 0])

    return FunctionPolicy(act)


def optimum(scenario: FisheriesScenario, *, stationary: bool) -> FunctionPolicy:
    """The decisions of dynamic programming; ``stationary``: those of one year, whatever the year is."""
    solved, middle = dynamic_programming.solve(scenario), int(STATIONARY * scenario.horizon)

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        year = observation["year"][:, 0]
        return solved.mortality(np.full_like(year, middle) if stationary else year, observation["stock"])

    return FunctionPolicy(act)


def baselines(scenario: FisheriesScenario) -> Mapping[str, Callable[[int], Policy]]:
    """The rules that the scenario names, in its order; missing parameters are found when the first is asked for."""
    caught = len(scenario.harvested)
    known: dict[str, Callable[[int], Policy]] = {
        "no_harvest": lambda seed: rule(scenario, "constant_mortality", np.zeros(caught)),
        "f_msy": lambda seed: rule(scenario, "constant_mortality", f_msy(scenario)),
        "myopic": lambda seed: myopic(scenario),
        "optimum": lambda seed: optimum(scenario, stationary=False),
        "optimum_stationary": lambda seed: optimum(scenario, stationary=True),
        "constant_mortality": lambda seed: _best(scenario, "constant_mortality", "constant_mortality"),
        "constant_mortality_safe": lambda seed: _best(scenario, "constant_mortality", "constant_mortality_safe"),
        "constant_escapement": lambda seed: _best(scenario, "constant_escapement", "constant_escapement"),
        "precautionary": lambda seed: _best(scenario, "precautionary", "precautionary"),
    }
    for name, share in FRACTIONS.items():
        known[name] = lambda seed, share=share: _best(  # type: ignore[misc]
            scenario, "constant_mortality", "constant_mortality", share
        )
    return {name: known[name] for name in scenario.baselines}


def _best(scenario: FisheriesScenario, kind: Kind, name: str, share: float = 1.0) -> FunctionPolicy:
    return rule(scenario, kind, share * np.array(getattr(tuned(scenario), name)))

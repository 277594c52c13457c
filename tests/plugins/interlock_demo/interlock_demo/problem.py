"""Daily ordering as the core sees it."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.environment import Array, Observation, Split
from interlock.core.errors import ProvenInfeasible, UsageError
from interlock.core.policy import FunctionPolicy, Policy
from interlock.core.problem import Bound, Constraint, Figure, Metric, Objective
from interlock_demo import decision
from interlock_demo.environment import InventoryEnvironment
from interlock_demo.scenario import InventoryScenario


class InventoryProblem:
    """Implements ``interlock.core.problem.Problem``."""

    objective = Objective("cost", "EUR", "minimise", per_reward=-1.0)

    def __init__(self, scenario: InventoryScenario):
        self.scenario = scenario
        limit, words = scenario.max_lost, "demand that finds an empty shelf"
        self.constraints = (Constraint("lost_sales", "mean", limit, "units/day", describe=words),)

    def environment(self, num_envs: int, *, seed: int, split: Split) -> InventoryEnvironment:
        """Shelves with Poisson demand."""
        return InventoryEnvironment(self.scenario, num_envs, seed=seed, split=split, constraints=self.constraints)

    def baselines(self) -> Mapping[str, Callable[[int], Policy]]:
        """Fill up to the mean demand plus a margin; order the mean demand."""
        rule = partial(_fill_up_to, newsvendor_level(self.scenario), self.scenario.capacity)
        return {"newsvendor": partial(FunctionPolicy, rule), "mean_demand": partial(FunctionPolicy, self._order_mean)}

    def bounds(self) -> Mapping[str, Bound]:
        """The least expected cost, exact."""
        words = "least expected cost of any ordering rule, by backward induction; lost sales are not limited"
        return {
            "dynamic_programme": Bound(
                "dynamic_programme", "exact", lambda split, count: least_cost(self.scenario), words
            )
        }

    def metrics(self) -> tuple[Metric, ...]:
        """What is left at the end."""
        return (Metric("left_over", "units", "on the shelf after the last day"),)

    def encoders(self) -> Mapping[str, Callable[[Observation], dict[str, Array]]]:
        """``levels``: what the shelf holds after each order, and its square."""
        return decision.encoders(self.scenario)

    def decision(self) -> decision.InventoryDecision:
        """Request, checks and answer of an exported policy."""
        return decision.build(self.scenario)

    def figures(self) -> Mapping[str, Figure]:
        """Costs per policy."""
        return {"costs": Figure("Cost per episode", "One box per policy over the same days.", _draw_costs)}

    def _order_mean(self, observation: Observation, rng: np.random.Generator) -> Array:
        room = self.scenario.capacity - observation["stock"][:, 0]
        return np.minimum(round(self.scenario.mean_demand), room)


def newsvendor_level(scenario: InventoryScenario) -> int:
    """Smallest level that covers the demand of a day with probability shortage / (shortage + holding)."""
    share = scenario.shortage / max(scenario.shortage + scenario.holding, 1e-12)
    covered = np.cumsum(demand_probabilities(scenario))
    return int(min(np.searchsorted(covered, share - 1e-12), scenario.capacity))


def demand_probabilities(scenario: InventoryScenario) -> Array:
    """Poisson probabilities of 0, 1, 2, ... units, until next to nothing is left out."""
    mean = scenario.mean_demand
    units = np.arange(int(mean + 12 * math.sqrt(mean) + 12))
    return np.exp(units * math.log(mean) - mean - np.array([math.lgamma(k + 1) for k in units]))


def least_cost(scenario: InventoryScenario) -> Array:
    """Least expected cost of an episode that begins with an empty shelf, by backward induction; shape ``()``."""
    chance = demand_probabilities(scenario)
    shelf = np.arange(scenario.capacity + 1)
    left = np.maximum(shelf[:, None] - np.arange(len(chance)), 0)
    lost = np.maximum(np.arange(len(chance)) - shelf[:, None], 0)
    value = np.zeros(len(shelf))
    for _ in range(scenario.days):
        after = (scenario.holding * left + scenario.shortage * lost + value[left]) @ chance
        value = np.array([(scenario.price * (shelf[s:] - s) + after[s:]).min() for s in shelf])
    return np.array(value[0])


def _fill_up_to(level: int, capacity: int, observation: Observation, rng: np.random.Generator) -> Array:
    return np.clip(level - observation["stock"][:, 0], 0, capacity)


def _draw_costs(policies: Mapping[str, Policy], evidence: Any) -> Any:
    import plotly.graph_objects as go

    boxes = [go.Box(x=outcome.objective, name=name) for name, outcome in evidence.outcomes.items()]
    return go.Figure(boxes, {"xaxis": {"title": "EUR"}, "showlegend": False})


def build(scenario: InventoryScenario, data: Path | None = None) -> InventoryProblem:
    """The problem of a scenario.

    Raises:
        UsageError: there is a data file, for which this domain has no reader.
        ProvenInfeasible: even a full shelf every morning loses more sales than allowed.
    """
    if data is not None:
        raise UsageError("demo_inventory has no reader of data files")
    chance = demand_probabilities(scenario)
    least = float(np.maximum(np.arange(len(chance)) - scenario.capacity, 0) @ chance)
    if least > scenario.max_lost:
        raise ProvenInfeasible(f"a full shelf every day loses {least:.3g} units, max_lost is {scenario.max_lost:g}")
    return InventoryProblem(scenario)

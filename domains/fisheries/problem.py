"""Fisheries management as the core sees it: the rooms of this domain put together."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.core.decision import DecisionContract
from interlock.core.environment import BatchEnvironment, Split
from interlock.core.errors import UsageError
from interlock.core.policy import Encoder, Policy
from interlock.core.problem import Bound, Constraint, Figure, Metric, Objective
from interlock.core.smoothing.contract import Decoder
from interlock.domains.fisheries import baselines, bounds, decision, encoders, figures, walleye_environment
from interlock.domains.fisheries.environment import FisheriesEnvironment, metrics
from interlock.domains.fisheries.scenario import FisheriesScenario, Walleye
from interlock.domains.fisheries.walleye_environment import WalleyeEnvironment

if TYPE_CHECKING:
    from interlock.core.pathwise.contract import DifferentiableSimulator
    from interlock.core.pathwise.forms import Form


class FisheriesProblem:
    """Implements ``interlock.core.problem.Problem``.

    Args:
        scenario: the numbers.
    """

    def __init__(self, scenario: FisheriesScenario):
        self.scenario = scenario
        self.constraints = constraints(scenario)
        self.ages = isinstance(scenario.model, Walleye)
        plain = Objective("reward", "stock units", "maximise")
        self.objective = walleye_environment.objective(scenario) if self.ages else plain

    def environment(self, num_envs: int, *, seed: int, split: Split) -> BatchEnvironment:
        """The fishery under futures of its own in every row."""
        kind = WalleyeEnvironment if self.ages else FisheriesEnvironment
        return kind(self.scenario, num_envs, seed=seed, split=split, constraints=self.constraints)

    def baselines(self) -> Mapping[str, Callable[[int], Policy]]:
        """The rules that the scenario names; the first is the reference."""
        return baselines.baselines(self.scenario)

    def bounds(self) -> Mapping[str, Bound]:
        """The optimum where dynamic programming finds it."""
        return bounds.bounds(self.scenario)

    def metrics(self) -> tuple[Metric, ...]:
        """Catch, survival, and how steady the catch is."""
        return walleye_environment.metrics(self.scenario) if self.ages else metrics(self.scenario)

    def encoders(self) -> Mapping[str, Encoder]:
        """Stocks as shares of a large one or in stock units, each without and with the year."""
        return encoders.encoders(self.scenario)

    def simulator(self) -> "DifferentiableSimulator":
        """The dynamics in torch, for pathwise training."""
        if self.ages:
            from interlock.domains.fisheries.walleye_differentiable import WalleyeSimulator

            return WalleyeSimulator(self.scenario)
        from interlock.domains.fisheries.differentiable import FisheriesSimulator

        return FisheriesSimulator(self.scenario)

    def rule_forms(self) -> Mapping[str, "Form"]:
        """``mortality`` and ``escapement``."""
        from interlock.domains.fisheries.differentiable import rule_forms

        return rule_forms(self.scenario)

    def decoders(self) -> Mapping[str, Decoder]:
        """Observations from what some of the encoders give."""
        return encoders.decoders(self.scenario)

    def decision(self) -> DecisionContract:
        """Request, checks and answer of an exported policy."""
        return decision.build(self.scenario)

    def exhibits(self, policy: Policy, provenance: Mapping[str, Any]) -> Mapping[str, bytes]:
        """The rule as a table and a picture, and in words."""
        from interlock.domains.fisheries.table_export import exhibits

        return exhibits(self, policy, provenance)

    def figures(self) -> Mapping[str, Figure]:
        """The pictures of the report, beside those of every domain."""
        return figures.figures(self)


def constraints(scenario: FisheriesScenario) -> tuple[Constraint, ...]:
    """The limits of a scenario, in the order of the columns of the cost."""
    found = []
    if scenario.collapse_probability is not None:
        about = f"episodes in which a species falls to {scenario.collapse_level:g} or below within the horizon"
        found.append(
            Constraint("collapse", "chance", scenario.collapse_probability, "share of episodes", describe=about)
        )
    if scenario.low_years is not None:
        about = f"years that end with a species below {scenario.low_level:g}"
        found.append(Constraint("low_years", "cumulative", scenario.low_years, "years", describe=about))
    return tuple(found)


def build(scenario: FisheriesScenario, data: Path | None = None) -> FisheriesProblem:
    """The problem of a scenario.

    Raises:
        UsageError: a file of instances is named; futures are always drawn.
    """
    if data is not None:
        raise UsageError(
            f"{scenario.name}: futures of a fishery are drawn, not read, so {data} has no use here; a scenario of your "
            f"own stocks and catches is made by: interlock fisheries fit --data {data} --out FILE"
        )
    return FisheriesProblem(scenario)

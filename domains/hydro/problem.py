"""Long-term hydrothermal dispatch as the core sees it: the rooms of this domain put together."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.decision import DecisionContract
from interlock.core.environment import Array, Observation, Split
from interlock.core.errors import BadInput
from interlock.core.evaluation.protocol import split_seed
from interlock.core.multistage.stage import Multistage
from interlock.core.policy import Encoder, Policy
from interlock.core.problem import Bound, Constraint, Figure, Metric, Objective
from interlock.domains.hydro import baselines, bounds, decision, encoders, figures, notes, rule_curve
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.dispatch import open_dispatch
from interlock.domains.hydro.environment import HydroEnvironment, storage_capacity
from interlock.domains.hydro.instances import inflow_paths, noises, open_case
from interlock.domains.hydro.metrics import METRICS
from interlock.domains.hydro.rule_program import HydroRules
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.stage_program import LinearNetwork, multistage
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Solver

FITTING_SEED = 1
"""Of the training paths on which the rule curve is fitted."""

LIMIT_PATHS = 100
"""Held-out paths, at most, on which the least possible unserved energy is found."""


class HydroProblem:
    """Implements ``interlock.core.problem.Problem``; also a multistage and a decision-rule problem.

    Args:
        scenario: the numbers.
        case: the system.
        about: what a reader of the evidence has to know about the system, one sentence each.
    """

    objective = Objective("cost_rate_sum", "$/h", "minimise", per_reward=-1.0)

    def __init__(self, scenario: HydroScenario, case: Case, about: tuple[str, ...] = ()):
        self.scenario, self.case = scenario, case
        self.about = about
        self.constraints = _constraints(scenario)

    def environment(self, num_envs: int, *, seed: int, split: Split) -> HydroEnvironment:
        """The system on paths of the scenario's inflows."""
        scenario, target = self.scenario, self.scenario.storage_target
        return HydroEnvironment(
            self.case,
            open_dispatch(self.case, scenario.network, scenario.horizon),
            lambda seed, first, count: inflow_paths(scenario, self.case, seed, split, first, count),
            num_envs,
            horizon=scenario.horizon,
            reported=scenario.reported_stages,
            seed=seed,
            split=split,
            constraints=self.constraints,
            storage=(0, 0.0) if target is None else (target.stage - 1, target.share),
            network=scenario.network if scenario.network == "bus1" or scenario.network == "dc" else None,
        )

    def baselines(self) -> Mapping[str, Callable[[int], Policy]]:
        """The rules that the scenario names; the first is the reference."""
        return baselines.baselines(self.scenario.baselines, self.case, self.multistage, lambda: self._curve)

    def bounds(self) -> Mapping[str, Bound]:
        """The tree of all paths where it is small, and perfect information."""
        return self._bounds

    def metrics(self) -> tuple[Metric, ...]:
        """Money, unserved energy, spill, and checks of the simulation."""
        return METRICS

    def encoders(self) -> Mapping[str, Encoder]:
        """``system`` and ``rule``."""
        return encoders.encoders(self.case, self.scenario.horizon)

    def decision(self) -> DecisionContract:
        """Request, checks and answer of an exported policy."""
        return decision.build(self.scenario, case=self.case, curve=lambda: self._curve)

    def figures(self) -> Mapping[str, Figure]:
        """The pictures of the report."""
        return figures.figures(self)

    def multistage(self) -> Multistage:
        """The stages as linear programs with independent noises: on one bus, or with linear flows for all others."""
        return self._multistage

    def decision_program(self) -> HydroRules:
        """The stages as decision rules see them, on the network of the scenario."""
        scenario, limit = self.scenario, self.scenario.eens_limit

        def training_paths(count: int, generator: Any) -> Array:
            return inflow_paths(scenario, self.case, int(generator.integers(2**31)), "train", 0, count)

        limits = np.array([np.inf if limit is None else limit / 100.0 * self._total_load])
        return HydroRules(self.case, scenario.network, scenario.horizon, training_paths, limits)

    def solver(self) -> Solver:
        """What solves the stages: unscaled, so that a session answers alike however its rows came into it."""
        return Highs(options={"simplex_scale_strategy": 0})

    @property
    def exact_stages(self) -> bool:
        """Whether the simulator plays the stages of ``multistage`` with their noises, so that cuts bound its cost."""
        return self.scenario.network in ("bus1", "dc") and self.scenario.inflows.process == "independent"

    def stage_view(self, observation: Observation) -> tuple[Array, Array, Array]:
        """Stage from 0 ``(n,)``, incoming volumes and inflows ``(n, plants)`` of observations."""
        return baselines.stage_view(observation)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the evidence has to know: about the system, its bounds, and limits that are out of reach."""
        scenario = self.scenario
        found = [*self.about, *notes.system_notes(self.case, scenario.network, scenario.horizon)]
        if scenario.network in ("soc", "ac"):
            found.append(
                f"rules and cuts plan with linear flows without losses, the simulator is {scenario.network}: such cuts "
                "prove no bound here, and perfect information is that of one bus without losses"
            )
        if scenario.inflows.process != "independent":
            found.append(
                f"cuts and plans take inflows for independent from stage to stage, here they are "
                f"{scenario.inflows.process}: such cuts prove no bound here"
            )
        if scenario.eens_limit is not None and self._relaxation is not None:
            count = min(LIMIT_PATHS, scenario.evaluation.test_instances)
            missing = bounds.least_unserved(self._relaxation, self._paths("test", count))
            note = bounds.unreachable(scenario.eens_limit, 100.0 * missing / self._total_load)
            found += [] if note is None else [note]
        return tuple(found)

    def _paths(self, split: Split, count: int) -> Array:
        """Inflows of held-out instances, as the environment plays them."""
        return inflow_paths(self.scenario, self.case, split_seed(self, split), split, 0, count)

    @property
    def _total_load(self) -> float:
        """Sum of MW over buses and stages."""
        return float(sum(self.case.load(t).sum() for t in range(self.scenario.horizon)))

    @property
    def _linear_network(self) -> LinearNetwork:
        """What rules and cuts plan with."""
        return "bus1" if self.scenario.network == "bus1" else "dc"

    @cached_property
    def _multistage(self) -> Multistage:
        return self._stages(self._linear_network)

    def _stages(self, network: LinearNetwork) -> Multistage:
        horizon = self.scenario.horizon
        return multistage(self.case, network, horizon, noises(self.case, horizon))

    @cached_property
    def _relaxation(self) -> Multistage | None:
        """Linear stages that cost no more than the simulator's, if there are any."""
        if self.scenario.network in ("bus1", "dc"):
            return self._multistage
        return bounds.relaxed(self.case, self._stages("bus1"))

    @cached_property
    def _bounds(self) -> Mapping[str, Bound]:
        if self._relaxation is None:
            return {}
        return bounds.bounds(
            self._relaxation,
            self._paths,
            exact=self.exact_stages,
            constrained=bool(self.constraints),
            network=self.scenario.network,
        )

    @cached_property
    def _curve(self) -> Array:
        stages, horizon = self._multistage, self.scenario.horizon
        dispatch = open_dispatch(self.case, self._linear_network, horizon)
        paths = inflow_paths(self.scenario, self.case, FITTING_SEED, "train", 0, rule_curve.PATHS)
        return rule_curve.fitted_curve(self.case, dispatch, stages, paths)


def _constraints(scenario: HydroScenario) -> tuple[Constraint, ...]:
    found = []
    if scenario.eens_limit is not None:
        about = "expected unserved energy of all stages beside the load of all stages"
        found.append(Constraint("eens", "cumulative", scenario.eens_limit, "% of load energy", describe=about))
    if scenario.storage_target is not None:
        target = scenario.storage_target
        about = (
            f"paths with less than {100 * target.share:g} % of the power of full reservoirs stored at the end of stage "
            f"{target.stage}"
        )
        found.append(Constraint("storage", "chance", 1.0 - target.probability, "share of paths", describe=about))
    return tuple(found)


def build(scenario: HydroScenario, data: Path | None = None) -> HydroProblem:
    """The problem of a scenario; with ``data``, on the system in that folder.

    The scenario of the problem then names that folder, so that policies are tied to its system.

    Raises:
        BadInput: the system has problems, all of them are listed; or storage is limited where there is none.
        UsageError: the scenario names a data set that is not here.
    """
    case, about = open_case(scenario, data)
    if scenario.storage_target is not None and storage_capacity(case) <= 0:
        problem = f"storage_target: no reservoir of {case.name} can store power, expected null"
        raise BadInput(f"scenario {scenario.name}", [problem])
    if data is not None:
        scenario = scenario.with_changes(case={"source": "folder", "path": str(data)})
    return HydroProblem(scenario, case, about)

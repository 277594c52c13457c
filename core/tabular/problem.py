"""A finite decision process as a problem: what methods train on where the best answer is known exactly."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field as Setting

from interlock.core.decision import Verdict
from interlock.core.environment import Array, Observation, Split
from interlock.core.errors import BadInput
from interlock.core.policy import Encoder, FunctionPolicy, Policy
from interlock.core.problem import Bound, Constraint, Field, Figure, Metric, Objective
from interlock.core.request import unknown_fields
from interlock.core.scenario import Scenario, Settings
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.core.tabular.environment import TabularEnvironment
from interlock.core.tabular.examples import example, random_garnet
from interlock.core.tabular.linear_program import Optimum, constrained_optimum
from interlock.solvers.interface import Solver

RANDOM = "random_garnet"


class GarnetSettings(Settings):
    """A random process, see ``interlock.core.tabular.examples.random_garnet``."""

    seed: int = Setting(0, ge=0, description="of the process itself, not of its episodes")
    states: int = Setting(15, ge=2, description="number of states")
    actions: int = Setting(3, ge=2, description="number of actions")
    costs: int = Setting(1, ge=1, description="number of costs, each with a limit")
    branching: int = Setting(3, ge=1, description="number of states that can follow")


class TabularScenario(Scenario):
    """A finite decision process with its limits."""

    domain: str = "tabular"
    process: str = Setting(description=f"name of an example, or {RANDOM}")
    garnet: GarnetSettings = Setting(GarnetSettings(), description=f"which one, where the process is {RANDOM}")
    limits: tuple[float, ...] | None = Setting(
        None, description="largest expected sum per episode of each cost; default: those of the process"
    )

    def signature(self) -> dict[str, Any]:
        """The process, whatever the limits."""
        drawn = {"garnet": self.garnet.model_dump()} if self.process == RANDOM else {}
        return {"process": self.process, **drawn}

    def cmdp(self) -> FiniteCMDP:
        """The process that this scenario names.

        Raises:
            BadInput: there is none of this name, or the limits do not fit it.
        """
        found = random_garnet(**self.garnet.model_dump()) if self.process == RANDOM else example(self.process)
        return found if self.limits is None else found.with_limits(self.limits)


class TabularProblem:
    """Implements ``interlock.core.problem.Problem``.

    Episodes are cut off at random, see ``TabularEnvironment``, so that the expected sum of an episode is the expected
    discounted sum of the process: objective, limits and bound are in the same unit. Train with the discount of the
    process for reward and costs alike.

    Args:
        scenario: names, seeds and sizes of the evaluation.
        cmdp: the process.
        solver: for the exact optimum.
    """

    def __init__(self, scenario: Scenario, cmdp: FiniteCMDP, solver: Solver):
        self.scenario, self.cmdp, self.solver = scenario, cmdp, solver
        self.objective = Objective("return", "1", "maximise")
        self.constraints = tuple(
            Constraint(name, "cumulative", float(limit), "1", describe="expected discounted sum")
            for name, limit in zip(cmdp.cost_names, cmdp.limits, strict=True)
        )

    @cached_property
    def optimum(self) -> Optimum:
        """The exact solution; raises ``ProvenInfeasible`` where no policy respects every limit."""
        return constrained_optimum(self.cmdp, self.solver)

    def environment(self, num_envs: int, *, seed: int, split: Split) -> TabularEnvironment:
        """Episodes of the process."""
        return TabularEnvironment(self.cmdp, self.constraints, num_envs, seed=seed, split=split)

    def baselines(self) -> Mapping[str, Callable[[int], Policy]]:
        """Every action alike; the cheapest policy; the best one if there were no limits, which usually breaks them."""
        tables = {"uniform": self.cmdp.uniform()}
        if self.constraints:
            scale = np.maximum(np.abs(self.cmdp.limits), 1e-3)
            tables["cheapest"] = self.cmdp.best_response(-np.tensordot(1.0 / scale, self.cmdp.costs, 1))
        tables["unconstrained"] = self.cmdp.unconstrained()
        return {name: _playing(table) for name, table in tables.items()}

    def bounds(self) -> Mapping[str, Bound]:
        """The largest expected return of any policy that respects every limit."""

        def value(split: Split, count: int) -> Array:
            return np.array(self.optimum.value)

        described = "largest expected return within every limit, by linear programming"
        return {"optimal": Bound("optimal", "exact", value, described)}

    def metrics(self) -> tuple[Metric, ...]:
        """Length of an episode."""
        return (Metric("steps", "steps", "until the episode ended or was cut off"),)

    def encoders(self) -> Mapping[str, Encoder]:
        """The state as a one-hot vector."""
        return ENCODERS

    def decision(self) -> "TabularDecision":
        """A state asks for an action."""
        return TabularDecision(self.scenario.domain, self.cmdp.states, self.cmdp.actions)

    def figures(self) -> Mapping[str, Figure]:
        """None: there is nothing an operator would look at."""
        return {}


def tabular_problem(process: str, solver: Solver, **settings: Any) -> TabularProblem:
    """The problem of an example by name; ``settings`` are further fields of ``TabularScenario``."""
    scenario = TabularScenario.model_validate({"name": process, "process": process, **settings})
    return TabularProblem(scenario, scenario.cmdp(), solver)


def table_policy(table: Array, seed: int = 0) -> FunctionPolicy:
    """A policy that draws its actions from a table of probabilities ``(S, A)``, deterministic or not."""
    edges = np.cumsum(table, axis=1)[:, :-1]

    def draw(observation: Observation, rng: np.random.Generator) -> Array:
        state = observation["state"]
        actions: Array = (edges[state] <= rng.random(len(state))[:, None]).sum(axis=1)
        return actions

    return FunctionPolicy(draw, seed)


def _playing(table: Array) -> Callable[[int], Policy]:
    return lambda seed: table_policy(table, seed)


def _vector(observation: Observation) -> dict[str, Array]:
    return {"vector": observation["vector"]}


ENCODERS: Mapping[str, Encoder] = {"vector": _vector}


class TabularDecision:
    """Implements ``interlock.core.decision.DecisionContract``: every action is allowed in every state."""

    schema_version = 1

    def __init__(self, domain: str, states: int, actions: int):
        self.domain, self.states, self.actions = domain, states, actions

    def request_fields(self) -> tuple[Field, ...]:
        """The state."""
        return (Field("state", "1", low=0, high=self.states - 1, describe="index of the current state"),)

    def answer_fields(self) -> tuple[Field, ...]:
        """The action."""
        return (Field("action", "1", low=0, high=self.actions - 1, describe="index of the action to take"),)

    def request_schema(self) -> dict[str, Any]:
        """One index."""
        return _index_schema("state", self.states)

    def answer_schema(self) -> dict[str, Any]:
        """One index."""
        return _index_schema("action", self.actions)

    def parse(self, request: Mapping[str, Any]) -> int:
        """The state; raises ``BadInput`` where it is none."""
        problems: list[str] = []
        unknown_fields(problems, "", request, ["state"])
        state = request.get("state")
        if isinstance(state, bool) or not isinstance(state, int) or not 0 <= state < self.states:
            problems.append(f"state: expected a whole number from 0 to {self.states - 1}")
        if problems or not isinstance(state, int):
            raise BadInput("request", problems)
        return state

    def observation(self, request: int) -> Observation:
        """What the environment shows in this state."""
        vector = np.zeros((1, self.states), np.float32)
        vector[0, request] = 1.0
        return {"vector": vector, "state": np.array([request])}

    def encoders(self) -> Mapping[str, Encoder]:
        """Those of the problem."""
        return ENCODERS

    def check(self, request: int, action: Any) -> Verdict:
        """Every action that exists is feasible."""
        exists = 0 <= int(action) < self.actions
        return Verdict(exists, () if exists else (f"there is no action {action}, only 0 to {self.actions - 1}",))

    def project(self, request: int, scores: Array) -> int | None:
        """The best score that is a number."""
        return None if np.isnan(scores).all() else int(np.nanargmax(scores))

    def fallbacks(self) -> Mapping[str, Callable[[int], int | None]]:
        """None: nothing is known of the actions."""
        return {}

    def answer(self, request: int, action: Any, scores: Array | None) -> dict[str, Any]:
        """The action."""
        return {"action": int(action)}

    def refuse(self, request: int) -> dict[str, Any]:
        """Scores that are no numbers are the only reason there can be."""
        return {"refuse": {"reason": "no action has a score"}}

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """States, all alike."""
        return [{"state": int(state)} for state in np.random.default_rng(seed).integers(self.states, size=count)]


def _index_schema(name: str, count: int) -> dict[str, Any]:
    entry = {"type": "integer", "minimum": 0, "maximum": count - 1}
    return {"type": "object", "properties": {name: entry}, "required": [name], "additionalProperties": False}

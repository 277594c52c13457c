"""Any decision program as a problem: its stage programs are the simulator in which rules are trained and compared."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.decision import DecisionContract
from interlock.core.decision_rules.contract import DecisionProgram
from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.errors import NotExportable
from interlock.core.multistage.stage import Multistage
from interlock.core.policy import Encoder, FunctionPolicy, Policy
from interlock.core.problem import Bound, Constraint, Figure, Metric, Objective
from interlock.core.scenario import Scenario
from interlock.solvers.interface import Solver

SALT = {"train": 1, "validation": 2, "test": 3}


class ProgramProblem:
    """Implements ``interlock.core.problem.Problem`` without a decision contract: for comparisons, not for export.

    Args:
        program: the stages as rules see them.
        stages: the same as linear programs, for soft targets.
        solver: of linear programs.
        scenario: seeds and sizes of the evaluation.
        heuristics: name -> ``(stage (n,), state (n, s), noise (n, k)) -> targets (n, s)``.
    """

    def __init__(
        self,
        program: DecisionProgram,
        stages: Multistage,
        solver: Solver,
        scenario: Scenario,
        heuristics: Mapping[str, Callable[[Array, Array, Array], Array]] | None = None,
    ):
        self.program, self.stages, self._solver = program, stages, solver
        self.scenario, self.heuristics = scenario, heuristics or {}
        self.objective = Objective("cost", "1", "minimise", per_reward=-1.0)
        self.constraints: tuple[Constraint, ...] = tuple(
            Constraint(f"signal_{k}", "cumulative", float(limit), "1") for k, limit in enumerate(program.limits)
        )

    def decision_program(self) -> DecisionProgram:
        """The program itself."""
        return self.program

    def multistage(self) -> Multistage:
        """The linear stages."""
        return self.stages

    def solver(self) -> Solver:
        """The solver of linear programs."""
        return self._solver

    def path(self, seed: int, split: Split, instance: int) -> Array:
        """``(T, k)``, the noise of an instance."""
        path: Array = self.program.paths(1, np.random.default_rng([seed, SALT[split], instance]))[0]
        return path

    def environment(self, num_envs: int, *, seed: int, split: Split) -> "ProgramEnvironment":
        """Episodes of T stages."""
        return ProgramEnvironment(self, num_envs, seed=seed, split=split)

    def stage_view(self, observation: Observation) -> tuple[Array, Array, Array]:
        """Stage from 0, incoming states and noises."""
        return observation["stage"][:, 0], observation["incoming"], observation["noise"]

    def baselines(self) -> Mapping[str, Callable[[int], Policy]]:
        """The heuristics."""

        def playing(rule: Callable[[Array, Array, Array], Array]) -> Callable[[int], Policy]:
            return lambda seed: FunctionPolicy(lambda observation, rng: rule(*self.stage_view(observation)), seed)

        return {name: playing(rule) for name, rule in self.heuristics.items()}

    def bounds(self) -> Mapping[str, Bound]:
        """None are known of programs in general."""
        return {}

    def metrics(self) -> tuple[Metric, ...]:
        """None."""
        return ()

    def encoders(self) -> Mapping[str, Encoder]:
        """What the rule's network sees."""
        return {"rule": _rule}

    def decision(self) -> DecisionContract:
        """There is none.

        Raises:
            NotExportable: always.
        """
        raise NotExportable("a program in general has no requests and no release checks")

    def figures(self) -> Mapping[str, Figure]:
        """None."""
        return {}


class ProgramEnvironment:
    """Implements ``interlock.core.environment.BatchEnvironment``: actions are targets, which must be reachable.

    Observations: ``features`` and scaled ``state`` for networks (float32), ``stage`` int64 ``(n, 1)`` from 0,
    ``incoming`` ``(n, s)`` and ``noise`` ``(n, k)``.
    """

    _stage: int
    _instance: Array
    _paths: Array
    _features: Array
    _state: Array

    def __init__(self, problem: ProgramProblem, num_envs: int, *, seed: int, split: Split):
        self.num_envs, self.constraints = num_envs, problem.constraints
        self._problem, self._program, self._solver = problem, problem.program, problem.program.solver()
        self._seed, self._split = seed, split
        observation = self.reset()
        self.observation_space = spaces.Dict(
            {name: spaces.Box(-np.inf, np.inf, view.shape[1:], view.dtype.type) for name, view in observation.items()}
        )
        states = len(self._program.initial_state)
        self.action_space: spaces.Box = spaces.Box(-np.inf, np.inf, (states,), np.float64)

    def reset(self, *, seed: int | None = None) -> dict[str, Array]:
        """Start instances ``0 .. num_envs - 1``."""
        self._seed = self._seed if seed is None else seed
        self._begin(np.arange(self.num_envs))
        return self._view()

    def step(self, action: Array) -> Step:
        """One stage; all rows are in the same one."""
        target = np.asarray(action, float)
        noise = self._paths[:, self._stage]
        found = self._solver.solve(np.full(self.num_envs, self._stage), self._state, noise, target)
        instance = self._instance
        self._state, self._stage = target, self._stage + 1
        ended = np.full(self.num_envs, self._stage == self._program.stages)
        if ended.all():
            self._begin(instance + self.num_envs)
        info = {"instance": instance}
        return Step(self._view(), -found.cost, found.signals, ended, np.zeros_like(ended), info=info)

    def state(self) -> dict[str, Array]:
        """Instances, stage and states."""
        return {"instance": self._instance, "stage": np.array(self._stage), "state": self._state}

    def restore(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """Continue from ``state``."""
        self._begin(np.asarray(state["instance"]))
        self._stage, self._state = int(state["stage"]), np.array(state["state"])
        return self._view()

    def _begin(self, instance: Array) -> None:
        self._instance = instance
        self._stage = 0
        self._paths = np.array([self._problem.path(self._seed, self._split, int(k)) for k in instance])
        self._features = self._program.features(self._paths)
        self._state = np.tile(self._program.initial_state, (self.num_envs, 1)).astype(float)

    def _view(self) -> dict[str, Array]:
        return {
            "features": self._features[:, self._stage].astype(np.float32),
            "state": (self._state / self._program.state_scale).astype(np.float32),
            "stage": np.full((self.num_envs, 1), self._stage),
            "incoming": self._state,
            "noise": self._paths[:, self._stage],
        }


def _rule(observation: Observation) -> dict[str, Any]:
    return {"features": observation["features"], "state": observation["state"]}

"""SDDP as a method: iterations that can be resumed, and the policy that solves each stage with its cuts."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self, runtime_checkable

import numpy as np
from pydantic import Field, model_validator

from interlock.core.environment import Array, Observation
from interlock.core.errors import Interrupted, NotExportable, UsageError
from interlock.core.multistage.stage import Multistage
from interlock.core.policy import load_arrays, save_arrays
from interlock.core.problem import Bound, MethodInfo, Problem
from interlock.core.scenario import Settings
from interlock.core.sddp.checkpoint import from_checkpoint, to_checkpoint
from interlock.core.sddp.cuts import CUT_FILE, Cuts, check_hash, problem_hash
from interlock.core.sddp.model import StageModel, stage_models
from interlock.core.sddp.risk import Risk
from interlock.core.sddp.simulation import sample_paths, simulate
from interlock.core.sddp.stopping import (
    BoundStalling,
    IterationLimit,
    Progress,
    Statistical,
    StoppingRule,
    TimeLimit,
    first_reason,
)
from interlock.core.sddp.training import Iterations, Options, Selection, fresh_state, selected
from interlock.core.training import Run
from interlock.solvers.interface import Solver

METHOD = MethodInfo(
    name="sddp",
    title="Stochastic dual dynamic programming",
    summary="cuts of the expected cost to go of every stage, by paths forward and duals backward; proves a bound",
    config="interlock.core.sddp.method:SddpConfig",
    train="interlock.core.sddp.method:train",
    load="interlock.core.sddp.method:load",
    bounds=("sddp",),
)

UNBUNDLED = (
    "it solves a stage program with its own cuts at every decision, and a bundle holds no such policy alone; "
    "`export RUN --fallback` puts its cuts beside another policy"
)


@runtime_checkable
class SddpProblem(Protocol):
    """What the method needs beyond ``interlock.core.problem.Problem``."""

    def multistage(self) -> Multistage:
        """The stages; minimised, in the unit of the objective."""
        ...

    def solver(self) -> Solver:
        """Opens the sessions of the stages.

        Runs are reproducible and resumable as far as its sessions keep their word: the same start gives the same
        vertex.
        """
        ...

    @property
    def exact_stages(self) -> bool:
        """Whether the simulator plays these stages with these independent noises, so that cuts bound its objective."""
        ...

    def stage_view(self, observation: Observation) -> tuple[Array, Array, Array]:
        """What a policy sees of ``n`` rows: stage ``(n,)`` from 0, incoming state ``(n, s)``, noise ``(n, k)``."""
        ...


class RiskSettings(Settings):
    """What is minimised, stage by stage: a mix of expectation and conditional value at risk."""

    weight: float = Field(0.0, ge=0, le=1, description="of the conditional value at risk; 0: the expectation alone")
    level: float = Field(0.95, ge=0, lt=1, description="the mean of the worst share 1 - level is taken")


class StoppingSettings(Settings):
    """When to stop before the iterations are done; a rule that is null never stops."""

    seconds: float | None = Field(None, gt=0, description="time limit, on top of the run's budget")
    stalling_iterations: int | None = Field(None, ge=1, description="stop if the bound has not risen for so many")
    stalling_tolerance: float = Field(1e-6, ge=0, description="relative rise that counts as none")
    simulate_every: int | None = Field(None, ge=1, description="iterations between simulations of the policy")
    simulated_paths: int = Field(200, ge=2, description="paths of such a simulation")
    within_interval: bool = Field(False, description="stop if the bound lies in the 95 % interval of a simulation")


class SddpConfig(Settings):
    """Settings of SDDP."""

    iterations: int = Field(100, ge=1, description="at most so many")
    forward_paths: int = Field(1, ge=1, description="paths per iteration; each adds one cut to every stage")
    risk: RiskSettings = RiskSettings()
    selection: Selection = Field(
        "level_1", description="cuts in the programs: all, those highest at a visited state, or the newest"
    )
    keep: int = Field(50, ge=1, description="how many, for `newest`")
    refresh: int = Field(10, ge=1, description="iterations between two selections")
    stopping: StoppingSettings = StoppingSettings()
    threads: int = Field(1, ge=1, le=2, description="of the backward pass; the result is the same")

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.stopping.within_interval and self.risk.weight > 0:
            raise ValueError(
                "stopping.within_interval compares the bound with a mean cost, but with risk.weight above 0 it bounds "
                "a risk measure: set within_interval to false or risk.weight to 0"
            )
        return self


class SddpPolicy:
    """Solves the program of the stage with its cuts and hands on its end state.

    Args:
        problem: the domain's, for views of observations.
        multistage: its stages.
        cuts: of every stage; only those that are highest somewhere.
        description: written beside them: ``bound``, ``iterations``, ``risk``, method, scenario, seed.
    """

    unbundled = UNBUNDLED

    def __init__(self, problem: SddpProblem, multistage: Multistage, cuts: Cuts, description: Mapping[str, Any]):
        self.problem, self.multistage, self._cuts = problem, multistage, cuts
        self.description = dict(description)

    @property
    def bounds(self) -> dict[str, Bound]:
        """The bound that the cuts prove on the mean cost: none if they are of a risk measure, or of other stages."""
        if self.description["risk"]["weight"] > 0.0 or not self.problem.exact_stages:
            return {}
        value = np.array(self.description["bound"])
        about = f"least expected cost, by the cuts of {self.description['iterations']} iterations"
        return {"sddp": Bound("sddp", "relaxation", lambda split, count: value, about)}

    def cuts(self) -> dict[str, Array]:
        """Arrays ``stage``, ``slopes``, ``intercepts``, ``points``; see ``interlock.core.sddp.cuts.Cuts``."""
        return self._cuts.arrays()

    @cached_property
    def _models(self) -> list[StageModel]:
        """Each with the basis of a solve at its mean noise, where every decision starts."""
        problem, count = self.multistage, len(self.multistage.stages)
        cuts = [self._cuts.of_stage(t) for t in range(count)]
        models = stage_models(problem, self.problem.solver(), cuts, [None] * count)
        state = problem.initial_state
        for model, noise in zip(models, problem.noises, strict=True):
            usual = noise.probabilities @ noise.outcomes
            state = model.solve(state[np.newaxis], usual[np.newaxis], lambda row: "mean noise").state[0]
        return models

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """End states ``(n, s)``.

        Raises:
            StageInfeasible: the program of a row has no optimum.
        """
        stage, state, noise = self.problem.stage_view(observation)
        action = np.empty(state.shape)
        for t in np.unique(stage):
            rows = np.flatnonzero(stage == t)
            name = lambda row, rows=rows: f"row {rows[row]} of the batch"  # noqa: E731
            action[rows] = self._models[int(t)].solve_each(state[rows], noise[rows], name).state
        return action

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Nothing random."""

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` (the cuts) and ``policy.json``."""
        save_arrays(folder, self._cuts.arrays(), self.description)

    def export_scorer(self, folder: Path) -> NoReturn:
        """No bundle holds this policy.

        Raises:
            NotExportable: always.
        """
        raise NotExportable(UNBUNDLED)

    def bundle_assets(self) -> dict[str, bytes]:
        """The cuts, for the fallback rule of another policy's bundle; ``load`` saw that they are of its problem."""
        return {CUT_FILE: self._cuts.to_bytes()}


def train(problem: Problem, config: SddpConfig, run: Run) -> SddpPolicy:
    """Iterate until a rule stops it, the budget is spent, or the user does.

    Raises:
        UsageError: the problem is no multistage program.
        Interrupted: the user stopped the run; a checkpoint is kept.
        StageInfeasible: a program has no optimum.
    """
    solvable = _solvable(problem)
    multistage, solver = solvable.multistage(), solvable.solver()
    options = _options(config)
    checkpoint = run.resume()
    history: list[Progress] = []
    if checkpoint is None:
        state = fresh_state(multistage, run.seed)
    else:
        state, history = from_checkpoint(checkpoint, multistage)
    with _threads(config.threads) as threads:
        iterations = Iterations(multistage, solver, options, state, threads)
        while not (history and (run.out_of_time() or first_reason(_rules(config), history))):
            if run.interrupted():
                run.checkpoint(*to_checkpoint(multistage, state, history))
                raise Interrupted(f"stopped after iteration {state.iteration} of {config.iterations}")
            history.append(_iterate(iterations, config, run, history))
            if run.checkpoint_due():
                run.checkpoint(*to_checkpoint(multistage, state, history))
    run.checkpoint(*to_checkpoint(multistage, state, history))
    description = {
        "method": METHOD.name,
        "scenario_hash": problem.scenario.hash(),
        "signature": problem.scenario.signature(),
        "seed": run.seed,
        "problem": problem_hash(multistage),
        "bound": state.bound,
        "iterations": state.iteration,
        "stopped": first_reason(_rules(config), history) or "time budget spent",
        "risk": config.risk.model_dump(),
    }
    kept = state.cuts.take(selected(state.cuts, len(multistage.stages), Options()))
    return SddpPolicy(solvable, multistage, kept, description)


def load(folder: Path, problem: Problem) -> SddpPolicy:
    """Read a policy that ``SddpPolicy.save`` wrote.

    Raises:
        BadInput: it cannot be read, or was made for another problem.
        UsageError: the problem is no multistage program.
    """
    solvable = _solvable(problem)
    arrays, description = load_arrays(folder, problem.scenario)
    multistage = solvable.multistage()
    check_hash(str(folder), description.get("problem"), multistage)
    return SddpPolicy(solvable, multistage, Cuts(**arrays), description)


def _iterate(iterations: Iterations, config: SddpConfig, run: Run, history: Sequence[Progress]) -> Progress:
    """One iteration, a simulation where one is due, and their figures for the curves."""
    began, before = time.monotonic(), history[-1].seconds if history else 0.0
    bound, number = iterations.iterate(), iterations.state.iteration
    figures = {"train/bound": bound, "train/cuts": float(len(iterations.state.cuts))}
    mean = half_width = None
    every = config.stopping.simulate_every
    if every is not None and number % every == 0:
        generator = np.random.default_rng([run.seed, number])
        paths = sample_paths(iterations.problem, config.stopping.simulated_paths, generator)
        played = simulate(iterations.problem, iterations.solver, iterations.state.cuts, paths, iterations.threads)
        mean, half_width = played.mean, played.half_width
        figures |= {"eval/objective": mean, "eval/half_width": half_width}
    run.log(number, figures)
    run.progress(number, config.iterations, bound=bound)
    return Progress(number, bound, before + time.monotonic() - began, mean, half_width)


def _rules(config: SddpConfig) -> list[StoppingRule]:
    stopping = config.stopping
    rules: list[StoppingRule] = [IterationLimit(config.iterations)]
    if stopping.seconds is not None:
        rules.append(TimeLimit(stopping.seconds))
    if stopping.stalling_iterations is not None:
        rules.append(BoundStalling(stopping.stalling_iterations, stopping.stalling_tolerance))
    if stopping.within_interval:
        rules.append(Statistical())
    return rules


def _options(config: SddpConfig) -> Options:
    return Options(
        risk=Risk(config.risk.weight, config.risk.level),
        forward_paths=config.forward_paths,
        selection=config.selection,
        keep=config.keep,
        refresh=config.refresh,
    )


def _solvable(problem: Problem) -> SddpProblem:
    if isinstance(problem, SddpProblem):
        return problem
    raise UsageError(f"{problem.scenario.domain} is no multistage linear program: method sddp cannot solve it")


@contextmanager
def _threads(count: int) -> Iterator[Executor | None]:
    if count == 1:
        yield None
        return
    with ThreadPoolExecutor(count) as threads:
        yield threads

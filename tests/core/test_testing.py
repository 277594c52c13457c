"""The smoke kit accepts a correct problem, and every check of it can fail."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import Field
from tiny_problem import (
    CAPACITY,
    CONSTRAINTS,
    LARGEST,
    TinyDecision,
    TinyEnvironment,
    TinyProblem,
    demand,
    plain,
)

from interlock.core.decision import Verdict
from interlock.core.environment import Step
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Bound
from interlock.core.scenario import Scenario
from interlock.core.testing import CHECKS, check_problem


def test_a_correct_problem_passes() -> None:
    check_problem(TinyProblem())


def broken(**changes: Any) -> TinyProblem:
    """The tiny problem with some attributes or methods of the problem replaced."""
    return type("Broken", (TinyProblem,), {name: change for name, change in changes.items()})()


def with_environment(**changes: Any) -> TinyProblem:
    """The tiny problem whose environment has some attributes or methods replaced."""
    return broken(environment_class=type("BrokenEnvironment", (TinyEnvironment,), changes))


def with_step(change: Callable[[TinyEnvironment, Step], Step]) -> TinyProblem:
    """The tiny problem whose steps are changed on their way out."""
    return with_environment(step=lambda self, action: change(self, TinyEnvironment.step(self, action)))


def with_decision(**changes: Any) -> TinyProblem:
    contract = type("BrokenDecision", (TinyDecision,), changes)
    return broken(decision=lambda self: contract())


def double_stock(self: TinyEnvironment) -> dict[str, np.ndarray]:
    view = TinyEnvironment.view(self)
    return {**view, "stock": view["stock"].astype(float)}


def flat_stock(self: TinyEnvironment) -> dict[str, np.ndarray]:
    view = TinyEnvironment.view(self)
    return {**view, "stock": view["stock"][:, 0]}


def test_spaces_are_checked() -> None:
    fails("spaces", with_environment(view=double_stock), "stock is float64")
    fails("spaces", with_environment(view=flat_stock), "shape")
    extra = with_environment(view=lambda self: {**TinyEnvironment.view(self), "extra": self.day})
    fails("spaces", extra, "extra")
    far = with_environment(view=lambda self: {**TinyEnvironment.view(self), "day": self.day[:, None] + 1})
    fails("spaces", far, "outside its space")


def test_rows_are_checked() -> None:
    by_row = with_environment(asked=lambda self: (TinyEnvironment.asked(self) + np.arange(self.num_envs)) % 5)
    fails("batch rows", by_row, "instance")
    misnamed = with_step(lambda env, step: replace(step, info={**step.info, "instance": step.info["instance"] + 1}))
    fails("batch rows", misnamed, "info instance says")


def test_seeds_are_checked() -> None:
    chance = with_environment(asked=lambda self: np.array([random.randrange(4) for _ in self.instance]))
    fails("seeds", chance, "same seed twice")
    one = with_environment(asked=lambda self: asked_with(self, 5, self.split))
    fails("seeds", one, "seed 2 gives the same")
    leaking = with_environment(asked=lambda self: asked_with(self, self.seed, "test"))
    fails("seeds", leaking, "split test gives the same")
    deaf = with_environment(reset=lambda self, seed=None: TinyEnvironment.reset(self))
    fails("seeds", deaf, "reset")


def asked_with(env: TinyEnvironment, seed: int, split: Any) -> np.ndarray:
    return np.array([demand(seed, split, i)[d] for i, d in zip(env.instance, env.day, strict=True)])


def test_restoring_is_checked() -> None:
    forgetful = with_environment(
        restore=lambda self, state: TinyEnvironment.restore(self, {**state, "lost": np.zeros_like(state["lost"])})
    )
    fails("restore", forgetful, "after restore")
    blind = with_environment(
        restore=lambda self, state: TinyEnvironment.restore(self, {**state, "stock": state["stock"] * 0})
    )
    fails("restore", blind, "the view after restore")
    listed = with_environment(state=lambda self: {**TinyEnvironment.state(self), "stock": self.stock.tolist()})
    fails("restore", listed, "no arrays: stock")

    def step_in_place(self: TinyEnvironment, action: np.ndarray) -> Step:
        mine = self.lost
        step = TinyEnvironment.step(self, action)
        mine[:] = self.lost
        self.lost = mine
        return step

    sharing = with_environment(
        step=step_in_place, state=lambda self: {**TinyEnvironment.state(self), "lost": self.lost}
    )
    fails("restore", sharing, "shares memory")


def test_masks_are_checked() -> None:
    silent = with_step(lambda env, step: replace(step, info={k: v for k, v in step.info.items() if "illegal" not in k}))
    fails("masks", silent, "not flagged")
    everything = with_step(lambda env, step: replace(step, info={**step.info, "ended_illegal": step.done | True}))
    fails("masks", everything, "an action that the mask allows was flagged")
    gentle = with_step(lambda env, step: replace(step, terminated=step.terminated & ~step.info["ended_illegal"]))
    fails("masks", gentle, "did not end its episode")
    narrow = with_environment(view=lambda self: mask_view(self, np.zeros((self.num_envs, 4), bool)))
    fails("masks", narrow, "allows no action")
    wide = with_environment(view=lambda self: mask_view(self, np.ones((self.num_envs, 4), bool)))
    fails("masks", wide, "flagged")


def mask_view(env: TinyEnvironment, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {**TinyEnvironment.view(env), "action_mask": mask}


def test_truncation_is_checked() -> None:
    fails("truncation", with_step(lambda env, step: replace(step, final_observation=None)), "final_observation is None")
    fails("truncation", with_step(lambda env, step: replace(step, final_observation=step.observation)), "first view")
    partial = with_step(lambda env, step: replace(step, final_observation={"stock": step.observation["stock"]}))
    fails("truncation", partial, "differ in the names")


def test_costs_are_checked() -> None:
    fails("costs", with_step(lambda env, step: replace(step, cost=step.cost[:, :1])), "shape")
    fails("costs", with_step(lambda env, step: replace(step, reward=step.reward[:, None])), "reward has shape")
    fails("costs", with_step(lambda env, step: replace(step, cost=step.cost * np.nan)), "not finite")
    fails("costs", with_step(lambda env, step: replace(step, reward=step.reward + np.inf)), "not finite")
    fails("costs", broken(constraints=(replace(CONSTRAINTS[0], unit=""), *CONSTRAINTS[1:])), "without a unit: stock")
    fails("costs", broken(constraints=(CONSTRAINTS[0],) * 3), "repeat")
    fails("costs", broken(constraints=CONSTRAINTS[:2]), "differ in constraints")


def test_baselines_are_checked() -> None:
    fails("baselines", broken(baselines=lambda self: {}), "no baseline")
    moody = FunctionPolicy(
        lambda view, rng: np.array([random.randrange(min(4, CAPACITY - int(s) + 1)) for s in view["stock"][:, 0]])
    )
    fails("baselines", broken(baselines=lambda self: {"moody": lambda seed: moody}), "moody does not repeat")
    crashing = FunctionPolicy(lambda view, rng: view["no such thing"])
    fails("baselines", broken(baselines=lambda self: {"crash": lambda seed: crashing}), "no such thing")
    missing = with_step(lambda env, step: replace(step, info={k: v for k, v in step.info.items() if k != "days"}))
    fails("baselines", missing, "metric days is missing")
    unclear = with_step(lambda env, step: replace(step, info={**step.info, "days": step.info["days"] * np.nan}))
    fails("baselines", unclear, "metric days is not finite")


def test_bounds_are_checked() -> None:
    def bounded(kind: Any, values: Callable[[int], np.ndarray]) -> TinyProblem:
        bound = Bound("low", kind, lambda split, count: values(count))
        return broken(bounds=lambda self: {"low": bound})

    fails("bounds", bounded("perfect_information", lambda n: np.full(n, 8.0)), "top_up reaches .* beyond low 8")
    fails("bounds", bounded("exact", lambda n: np.array(5.0)), "top_up is beyond low")
    fails("bounds", bounded("statistical", lambda n: np.full(n, 5.0)), "top_up is beyond low")
    fails("bounds", bounded("exact", lambda n: np.zeros(n + 1)), "shape")


def test_adapters_are_checked() -> None:
    def strict(self: TinyEnvironment, action: np.ndarray) -> Step:
        if (action == LARGEST).any():
            raise ValueError("nobody orders three")
        return TinyEnvironment.step(self, action)

    fails("adapters", with_environment(step=strict), "nobody orders three")
    fails("adapters", with_step(lambda env, step: replace(step, cost=step.cost[:, :2])), "info cost has shape")


def test_encoders_are_checked() -> None:
    def encoded(encoder: Any) -> TinyProblem:
        return broken(encoders=lambda self: {"odd": encoder})

    fails("encoders", encoded(lambda view: {"x": view["stock"].astype(float)}), "x is float64")
    fails("encoders", encoded(lambda view: {"x": view["stock"][:1]}), "1 rows for 5")
    fails("encoders", encoded(lambda view: {"x": view["stock"] * np.float32(np.nan)}), "not finite")
    fails("encoders", encoded(lambda view: {"x": view["stock"] - view["stock"].mean()}), "depends on other rows")
    assert plain(TinyEnvironment(2, 0, "train").reset())["features"].shape == (2, 6)


def test_decisions_are_checked() -> None:
    fails("decision", with_decision(domain="other"), "domain 'other'")
    fails("decision", with_decision(request_schema=lambda self: {"type": "no such type"}), "no such type")
    fails("decision", with_decision(request_fields=lambda self: ()), "fields of a request")
    fails("decision", with_decision(sample_requests=lambda self, count, seed: [{"day": 1}] * count), "does not fit")
    few = with_decision(sample_requests=lambda self, count, seed: [])
    fails("decision", few, "0 sample requests instead of 20")
    moody = with_decision(
        sample_requests=lambda self, count, seed: [{"stock": 1, "day": random.randrange(8)} for _ in range(count)]
    )
    fails("decision", moody, "do not repeat")
    fails("decision", with_decision(check=lambda self, request, action: Verdict(True)), "forbidden by the mask")
    silent = with_decision(check=lambda self, request, action: Verdict(request["stock"] + action <= CAPACITY, ("why",)))
    fails("decision", silent, "disagree")
    fails("decision", with_decision(project=lambda self, request, scores: 3), "project gives 3")
    hasty = with_decision(fallbacks=lambda self: {"three": lambda request: 3})
    fails("decision", hasty, "fallback three is infeasible")
    loose = with_decision(answer=lambda self, request, action, scores: {"order": np.int64(1)})
    fails("decision", loose, "JSON serializable")


class TinyVector(TinyDecision):
    """Orders follow from a number; nothing is masked."""

    def observation(self, request: Any) -> dict[str, np.ndarray]:
        view = TinyDecision.observation(self, request)
        return {name: values for name, values in view.items() if name != "action_mask"}

    def propose(self, request: Any, output: np.ndarray) -> int:
        (number,) = output
        return round(float(number))

    def project(self, request: Any, output: np.ndarray) -> int:
        return int(np.clip(self.propose(request, output), 0, CAPACITY - request["stock"]))


def test_decisions_by_vectors_are_checked() -> None:
    def with_vectors(**changes: Any) -> TinyProblem:
        contract = type("BrokenVector", (TinyVector,), changes)
        return broken(decision=lambda self: contract())

    CHECKS["decision"](with_vectors(), 20)
    unprojected = with_vectors(project=lambda self, request, output: self.propose(request, output))
    fails("decision", unprojected, "project gives what check refuses: .* pieces too many")
    CHECKS["decision"](with_vectors(project=lambda self, request, output: None), 20)
    hasty = with_vectors(fallbacks=lambda self: {"three": lambda request: 3})
    fails("decision", hasty, "fallback three is infeasible")
    loose = with_vectors(answer=lambda self, request, action, scores: {"order": np.int64(1)})
    fails("decision", loose, "JSON serializable")


class Secretive(Scenario):
    secret: int = Field(1, exclude=True)


def test_scenarios_are_checked() -> None:
    problem = TinyProblem()
    problem.scenario = Secretive(**problem.scenario.model_dump(), secret=2)
    fails("scenario", problem, "through YAML")


def test_all_failures_are_named_at_once() -> None:
    with pytest.raises(AssertionError, match=r"(?s)shelf: 2 of 13 checks failed.*costs: .*encoders: "):
        check_problem(
            broken(
                constraints=(replace(CONSTRAINTS[0], unit=""), *CONSTRAINTS[1:]),
                encoders=lambda self: {"odd": lambda view: {"x": view["stock"].astype(float)}},
            )
        )


def fails(check: str, problem: TinyProblem, message: str) -> None:
    """The named check refuses the problem, with this in its message."""
    with pytest.raises(Exception, match=message) as caught:
        CHECKS[check](problem, 20)
    assert not isinstance(caught.value, NotImplementedError)

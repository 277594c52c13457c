"""Pathwise training on a linear system: gains and multipliers whose values are known without it."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from gymnasium import spaces

from interlock.core.environment import Step
from interlock.core.errors import Diverged, UsageError
from interlock.core.pathwise.config import PathwiseConfig
from interlock.core.pathwise.contract import Played
from interlock.core.pathwise.forms import clipped
from interlock.core.pathwise.method import train
from interlock.core.problem import Constraint, Objective
from interlock.core.scenario import EvaluationSettings, Scenario
from interlock.core.training import MemoryRun

GROWTH, PUSH, YEARS = 1.2, 0.5, 6
STATE_COST, ACTION_COST, NOISE = 1.0, 0.3, 0.5
SPLITS = {"train": 1, "validation": 2, "test": 3}


def riccati() -> tuple[float, float]:
    """Value and gain of ``min sum x^2 + 0.3 u^2`` without end, under ``x' = 1.2 x + 0.5 u``: the fixed point."""
    value = STATE_COST
    for _ in range(1000):
        value = STATE_COST + GROWTH**2 * value - (GROWTH * PUSH * value) ** 2 / (ACTION_COST + PUSH**2 * value)
    return value, GROWTH * PUSH * value / (ACTION_COST + PUSH**2 * value)


def draws(seed, split, first, count):
    """First states and noise of instances, ``(count, 1 + YEARS)``."""
    rows = [np.random.default_rng([seed, SPLITS[split], k]).normal(size=1 + YEARS) for k in range(first, first + count)]
    return np.array(rows)


class System:
    """``x' = 1.2 x + 0.5 u + noise``; the last state costs what all years after it would, so one gain is best."""

    observation_space = spaces.Dict({"state": spaces.Box(-np.inf, np.inf, (1,), np.float32)})
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, rows, seed, split, constraints):
        self.num_envs, self.seed, self.split, self.constraints = rows, seed, split, constraints
        self.reset()

    def reset(self, *, seed=None):
        self.seed = self.seed if seed is None else seed
        self.instance, self.year = np.arange(self.num_envs), 0
        return self.begin()

    def begin(self):
        self.future = draws(self.seed, self.split, self.instance[0], self.num_envs)
        self.state_, self.year = 1.0 + self.future[:, 0], 0
        return self.view()

    def view(self):
        return {"state": self.state_[:, None].astype(np.float32)}

    def step(self, action):
        push = action[:, 0]
        reward = -(STATE_COST * self.state_**2 + ACTION_COST * push**2)
        self.year += 1
        self.state_ = GROWTH * self.state_ + PUSH * push + NOISE * self.future[:, self.year]
        done = np.full(self.num_envs, self.year == YEARS)
        cost = np.tile((push**2)[:, None], (1, len(self.constraints)))
        info, last = {"instance": self.instance.copy()}, None
        if done.all():
            reward = reward - riccati()[0] * self.state_**2
            last = self.view()
            self.instance = self.instance + self.num_envs
            self.begin()
        return Step(self.view(), reward, cost, np.zeros_like(done), done, last, info=info)


class Simulator:
    """The same in torch."""

    def __init__(self, constraints):
        self.constraints = constraints

    def futures(self, seed, first, count):
        return torch.from_numpy(draws(seed, "train", first, count)).float()

    def encoders(self):
        return {"state": lambda view: {"vector": view["state"]}}

    def play(self, decide, futures, *, smoothing=1.0):
        state, reward, pushed = 1.0 + futures[:, :1], 0.0, 0.0
        for year in range(YEARS):
            push = decide({"state": state})
            reward = reward - (STATE_COST * state**2 + ACTION_COST * push**2)
            pushed = pushed + push**2
            state = GROWTH * state + PUSH * push + NOISE * futures[:, year + 1 : year + 2]
        costs = pushed.expand(-1, len(self.constraints))
        return Played((reward - riccati()[0] * state**2)[:, 0], costs, costs.detach().numpy().astype(float))


class Problem:
    objective = Objective("cost", "units", "minimise", per_reward=-1.0)

    def __init__(self, *constraints):
        self.constraints = tuple(constraints)
        evaluation = EvaluationSettings(validation_instances=200, test_instances=200, num_envs=200)
        self.scenario = Scenario(domain="linear", name="linear", evaluation=evaluation)

    def environment(self, num_envs, *, seed, split):
        return System(num_envs, seed, split, self.constraints)

    def simulator(self):
        return Simulator(self.constraints)

    def encoders(self) -> Mapping:
        return {"state": lambda view: {"vector": view["state"]}}


def gain(policy) -> float:
    """How much less is pushed for a unit more of the state."""
    low, high = policy.act({"state": np.array([[-1.0], [1.0]], np.float32)})[:, 0]
    return float(low - high) / 2


LINEAR = {"hidden": [], "updates": 300, "batch": 64, "learning_rate": 0.2, "validate_every": 50}

DUAL = {"integral": 0.01, "proportional": 0.1}


def test_a_linear_rule_finds_the_gain_of_riccati():
    policy = train(Problem(), PathwiseConfig.model_validate(LINEAR), MemoryRun(seed=1))
    assert gain(policy) == pytest.approx(riccati()[1], rel=0.02)
    assert float(policy.act({"state": np.zeros((1, 1), np.float32)})[0, 0]) == pytest.approx(0.0, abs=0.02)


def moments(k: float) -> tuple[float, float]:
    """Expected cost and expected sum of squared actions under ``u = -k x``, by the recursion of the second moment."""
    second, cost, pushed = 2.0, 0.0, 0.0  # the first state has mean 1 and variance 1
    for _ in range(YEARS):
        cost += (STATE_COST + ACTION_COST * k**2) * second
        pushed += k**2 * second
        second = (GROWTH - PUSH * k) ** 2 * second + NOISE**2
    return cost + riccati()[0] * second, pushed


def test_a_multiplier_settles_at_the_price_of_its_limit():
    """Best gain and price, from the moments: the gain that just keeps the limit, and the ratio of both slopes there."""
    limit = 0.6 * moments(riccati()[1])[1]
    low, high = 0.5, riccati()[1]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if moments(middle)[1] < limit else (low, middle)
    (left, before), (right, after) = moments(low - 1e-5), moments(low + 1e-5)
    price = -(right - left) / (after - before)
    settings = {**LINEAR, "updates": 500, "batch": 256, "learning_rate": 0.1, "dual": DUAL}
    run = MemoryRun(seed=2)
    problem = Problem(Constraint("pushed", "cumulative", limit, "units"))
    policy = train(problem, PathwiseConfig.model_validate(settings), run)
    first = next(row["train/objective"] for row in run.curves if "train/objective" in row)
    found = [row["constraint/pushed/multiplier"] for row in run.curves if "constraint/pushed/multiplier" in row]
    # A multiplier is in units of the first reward per limit.
    assert np.mean(found[-200:]) * first / limit == pytest.approx(price, rel=0.1)
    last = policy if policy.last is None else policy.last
    assert gain(last) == pytest.approx(low, rel=0.03)


def test_a_margin_is_kept_in_training_and_in_choosing():
    limit = 0.6 * moments(riccati()[1])[1]
    problem = Problem(Constraint("pushed", "cumulative", limit, "units"))
    run = MemoryRun(seed=2)
    policy = train(problem, PathwiseConfig.model_validate({**LINEAR, "updates": 400, "margin": 0.3, "dual": DUAL}), run)
    assert moments(gain(policy))[1] < 0.75 * limit
    assert not run.warnings


def test_gradients_of_clipped_numbers_do_not_die():
    value = torch.tensor([-2.0, 0.5, 3.0], requires_grad=True)
    inside = clipped(value, torch.tensor(0.0), torch.tensor(1.0))
    assert inside.tolist() == [0.0, 0.5, 1.0]
    inside.sum().backward()
    assert value.grad.tolist() == pytest.approx([0.05, 1.0, 0.05])


class Named:
    def __init__(self, problem, **changed):
        self._problem = problem
        self.__dict__.update(changed)

    def __getattr__(self, name):
        return getattr(self._problem, name)


def test_what_cannot_be_trained_is_said():
    config = PathwiseConfig.model_validate({**LINEAR, "updates": 2})
    with pytest.raises(UsageError, match="kinds chance, cumulative: worst is of the kind cvar"):
        train(Problem(Constraint("worst", "cvar", 1.0, "units", level=0.9)), config, MemoryRun())
    with pytest.raises(UsageError, match="no form of the rule 'escapement'; this problem has box"):
        train(Problem(), config.model_copy(update={"form": "escapement"}), MemoryRun())

    class Torn(Simulator):
        def play(self, decide, futures, *, smoothing=1.0):
            played = super().play(decide, futures)
            return Played(played.reward * float("nan"), played.costs, played.measured)

    with pytest.raises(Diverged, match="update 1: the gradient is not finite"):
        train(Named(Problem(), simulator=lambda: Torn(())), config, MemoryRun())
    bare = Simulator(())
    bare.encoders = dict
    with pytest.raises(UsageError, match="encoder state does not exist in torch"):
        train(Named(Problem(), simulator=lambda: bare), config, MemoryRun())


@pytest.mark.parametrize(("seconds", "told"), [(-1.0, "the rule is untrained"), (0.5, "updates fitted into")])
def test_a_budget_that_is_too_short_is_told(seconds, told):
    problem, run = Problem(Constraint("pushed", "cumulative", 1e9, "units")), MemoryRun(seed=1, seconds=seconds)
    train(problem, PathwiseConfig.model_validate({**LINEAR, "updates": 10**6}), run)
    assert len(run.warnings) == 1
    assert told in run.warnings[0]

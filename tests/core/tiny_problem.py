"""A tiny correct problem: a shelf that is filled for eight days. Tests break one thing of it at a time.

Every day 0 to 3 pieces are ordered, as many as the shelf of 6 can hold, then 0 to 4 are asked for. The episode is cut
off after eight days; the shop closes early once 3 customers went away empty-handed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.decision import Verdict
from interlock.core.environment import Split, Step
from interlock.core.errors import BadInput
from interlock.core.policy import FunctionPolicy, masked_argmax
from interlock.core.problem import Bound, Constraint, Field, Figure, Metric, Objective
from interlock.core.scenario import EvaluationSettings, Scenario

CAPACITY, DAYS, LARGEST, MOST_ASKED, PATIENCE = 6, 8, 3, 4, 3
SALT = {"train": 1, "validation": 2, "test": 3}
CONSTRAINTS = (
    Constraint("stock", "mean", 4.0, "pieces", describe="pieces on the shelf at night"),
    Constraint("sold_out", "chance", 0.9, "share", describe="weeks in which somebody went away empty-handed"),
    Constraint("overfilled", "hard", 0.0, "times"),
)


def demand(seed: int, split: Split, instance: int) -> np.ndarray:
    """Pieces asked for on each day of an instance."""
    return np.random.default_rng([seed, SALT[split], instance]).integers(0, MOST_ASKED + 1, DAYS)


class TinyEnvironment:
    observation_space = spaces.Dict(
        {
            "stock": spaces.Box(0, CAPACITY, (1,), np.float32),
            "day": spaces.Box(0, DAYS, (1,), np.int64),
            "action_mask": spaces.Box(0, 1, (LARGEST + 1,), np.bool_),
        }
    )
    action_space: Any = spaces.Discrete(LARGEST + 1)
    constraints: tuple[Constraint, ...] = CONSTRAINTS

    def __init__(self, num_envs: int, seed: int, split: Split):
        self.num_envs, self.seed, self.split = num_envs, seed, split
        self.reset()

    def reset(self, *, seed: int | None = None) -> dict[str, np.ndarray]:
        self.seed = self.seed if seed is None else seed
        rows = self.num_envs
        self.stock, self.day, self.lost = (np.zeros(rows, np.int64) for _ in range(3))
        self.instance, self.following = np.arange(rows), rows
        return self.view()

    def view(self) -> dict[str, np.ndarray]:
        return {
            "stock": self.stock[:, None].astype(np.float32),
            "day": self.day[:, None].copy(),
            "action_mask": self.stock[:, None] + np.arange(LARGEST + 1) <= CAPACITY,
        }

    def asked(self) -> np.ndarray:
        return np.array([demand(self.seed, self.split, i)[d] for i, d in zip(self.instance, self.day, strict=True)])

    def step(self, action: np.ndarray) -> Step:
        illegal = self.stock + action > CAPACITY
        filled = self.stock + np.where(illegal, 0, action)
        asked = self.asked()
        sold = np.where(illegal, 0, np.minimum(asked, filled))
        unserved = np.where(illegal, 0, asked - sold)
        self.stock, self.lost, self.day = filled - sold, self.lost + unserved, self.day + 1
        terminated = illegal | (self.lost >= PATIENCE)
        truncated = ~terminated & (self.day == DAYS)
        info = {"instance": self.instance.copy(), "days": self.day.copy(), "ended_illegal": illegal}
        cost = np.stack([self.stock, unserved > 0, illegal], axis=1).astype(float)
        last = self.view() if truncated.any() else None
        self.restart(np.flatnonzero(terminated | truncated))
        return Step(self.view(), sold.astype(float), cost, terminated, truncated, last, info=info)

    def restart(self, rows: np.ndarray) -> None:
        self.stock[rows], self.day[rows], self.lost[rows] = 0, 0, 0
        self.instance[rows] = self.following + np.arange(len(rows))
        self.following += len(rows)

    def state(self) -> dict[str, np.ndarray]:
        names = ("stock", "day", "lost", "instance")
        return {name: getattr(self, name).copy() for name in names} | {
            "counters": np.array([self.seed, self.following])
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name in ("stock", "day", "lost", "instance"):
            setattr(self, name, state[name].copy())
        self.seed, self.following = (int(value) for value in state["counters"])
        return self.view()


class TinyDecision:
    domain = "tiny"
    schema_version = 1

    def request_fields(self) -> tuple[Field, ...]:
        return (Field("stock", "pieces", low=0, high=CAPACITY), Field("day", "days", low=0, high=DAYS))

    def answer_fields(self) -> tuple[Field, ...]:
        return (Field("order", "pieces", low=0, high=LARGEST),)

    def request_schema(self) -> dict[str, Any]:
        whole = {"type": "integer", "minimum": 0}
        properties = {"stock": {**whole, "maximum": CAPACITY}, "day": {**whole, "maximum": DAYS}}
        return {"type": "object", "properties": properties, "required": ["stock", "day"]}

    def answer_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"order": {"type": "integer"}}}

    def parse(self, request: Mapping[str, Any]) -> dict[str, int]:
        if not isinstance(request.get("stock"), int) or not 0 <= request["stock"] <= CAPACITY:
            raise BadInput("request", [f"stock: expected 0 to {CAPACITY} pieces"])
        return {"stock": request["stock"], "day": int(request["day"])}

    def observation(self, request: Any) -> dict[str, np.ndarray]:
        return {
            "stock": np.array([[request["stock"]]], np.float32),
            "day": np.array([[request["day"]]]),
            "action_mask": request["stock"] + np.arange(LARGEST + 1)[None] <= CAPACITY,
        }

    def encoders(self) -> dict[str, Any]:
        return {"plain": plain}

    def check(self, request: Any, action: Any) -> Verdict:
        over = request["stock"] + int(action) - CAPACITY
        return Verdict(over <= 0, (f"{over} pieces too many",) if over > 0 else ())

    def project(self, request: Any, scores: np.ndarray) -> int | None:
        return int(np.nanargmax(np.where(self.observation(request)["action_mask"][0], scores, np.nan)))

    def fallbacks(self) -> dict[str, Any]:
        return {"top_up": lambda request: min(LARGEST, CAPACITY - request["stock"])}

    def answer(self, request: Any, action: Any, scores: np.ndarray | None) -> dict[str, Any]:
        return {"order": int(action)}

    def refuse(self, request: Any) -> dict[str, Any]:
        return {"reason": "never needed: ordering nothing is always possible"}

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        return [{"stock": int(rng.integers(CAPACITY + 1)), "day": int(rng.integers(DAYS))} for _ in range(count)]


def plain(observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    parts = [observation["stock"] / CAPACITY, observation["day"] / DAYS, observation["action_mask"]]
    return {"features": np.concatenate(parts, axis=1).astype(np.float32)}


def top_up(observation: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Order as much as the shelf holds."""
    return masked_argmax(
        np.broadcast_to(np.arange(LARGEST + 1), observation["action_mask"].shape), observation["action_mask"]
    )


def random_order(observation: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return masked_argmax(rng.random(observation["action_mask"].shape), observation["action_mask"])


class TinyProblem:
    objective = Objective("revenue", "EUR", "maximise", per_reward=2.0)
    constraints: tuple[Constraint, ...] = CONSTRAINTS
    environment_class: type[TinyEnvironment] = TinyEnvironment

    def __init__(self) -> None:
        settings = EvaluationSettings(test_instances=60, validation_instances=40, num_envs=8)
        self.scenario = Scenario(domain="tiny", name="shelf", title="a shelf of <6> pieces", evaluation=settings)

    def environment(self, num_envs: int, *, seed: int, split: Split) -> TinyEnvironment:
        return self.environment_class(num_envs, seed, split)

    def baselines(self) -> dict[str, Any]:
        return {
            "top_up": lambda seed: FunctionPolicy(top_up, seed),
            "random": lambda seed: FunctionPolicy(random_order, seed),
        }

    def bounds(self) -> dict[str, Bound]:
        settings = self.scenario.evaluation
        seeds = {"test": settings.test_seed, "validation": settings.validation_seed, "train": 0}

        def all_sold(split: Split, count: int) -> np.ndarray:
            return np.array([2.0 * demand(seeds[split], split, instance).sum() for instance in range(count)])

        def mean_demand(split: Split, count: int) -> np.ndarray:
            return np.array(2.0 * DAYS * MOST_ASKED / 2)

        return {
            "all_sold": Bound("all_sold", "perfect_information", all_sold, "everything asked for is sold"),
            "mean_demand": Bound("mean_demand", "relaxation", mean_demand, "expected demand, all of it sold"),
        }

    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("days", "days", "until the shop closed"),)

    def encoders(self) -> dict[str, Any]:
        return {"plain": plain}

    def decision(self) -> TinyDecision:
        return TinyDecision()

    def figures(self) -> dict[str, Figure]:
        return {"revenue": Figure("Revenue by week", "Revenue of every week played.", draw_revenue)}


def draw_revenue(policies: Any, evidence: Any) -> Any:
    from plotly import graph_objects as go

    return go.Figure([go.Box(x=evidence.outcomes[name].objective, name=name) for name in policies])

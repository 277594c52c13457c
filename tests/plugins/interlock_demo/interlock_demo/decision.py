"""What an exported ordering policy accepts, checks, answers and falls back to. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.core.decision import Verdict
from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput
from interlock.core.problem import Field
from interlock.core.request import as_integer, integer, schema_fields, unknown_fields
from interlock_demo.scenario import InventoryScenario


@dataclass(frozen=True)
class Morning:
    """A parsed request: what is on the shelf, and which day it is."""

    stock: int
    day: int


class InventoryDecision:
    """Implements ``interlock.core.decision.DecisionContract``; the action is the number of units to order."""

    domain = "demo_inventory"
    schema_version = 1

    def __init__(self, scenario: InventoryScenario):
        self.scenario = scenario

    def request_fields(self) -> tuple[Field, ...]:
        """``stock`` and ``day``."""
        return schema_fields(self.request_schema())

    def answer_fields(self) -> tuple[Field, ...]:
        """``order`` and ``reason``."""
        return schema_fields(self.answer_schema())

    def request_schema(self) -> dict[str, Any]:
        """JSON Schema of a request."""
        properties = {
            "schema_version": {"const": 1, "description": "of this request"},
            "stock": _count(self.scenario.capacity, "units", "on the shelf"),
            "day": _count(self.scenario.days - 1, "days", "since the beginning"),
        }
        required = ["stock", "day"]
        return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of an answer."""
        order = {**_count(self.scenario.capacity, "units", "to order"), "type": ["integer", "null"]}
        return {"type": "object", "properties": {"order": order, "reason": {"type": "string"}}}

    def parse(self, request: Mapping[str, Any]) -> Morning:
        """Check a request; every problem is listed."""
        problems: list[str] = []
        unknown_fields(problems, "", request, self.request_schema()["properties"])
        if request.get("schema_version", 1) != 1:
            problems.append(f"schema_version: got {request['schema_version']!r}, expected 1")
        stock = integer(problems, "stock", request.get("stock"), low=0, high=self.scenario.capacity, unit="units")
        day = integer(problems, "day", request.get("day"), low=0, high=self.scenario.days - 1, unit="days")
        if problems or stock is None or day is None:
            raise BadInput("request", problems)
        return Morning(stock, day)

    def observation(self, request: Morning) -> Observation:
        """As the environment shows it, a batch of one."""
        orders = np.arange(self.scenario.capacity + 1)
        return {
            "stock": np.array([[request.stock]], np.int16),
            "day": np.array([[request.day]], np.int16),
            "action_mask": (request.stock + orders <= self.scenario.capacity)[None],
        }

    def encoders(self) -> Mapping[str, Callable[[Observation], dict[str, Array]]]:
        """The same that the problem trained with."""
        return encoders(self.scenario)

    def check(self, request: Morning, action: Any) -> Verdict:
        """Whether the order fits on the shelf."""
        order, room = as_integer(action), self.scenario.capacity - request.stock
        if order is None or order < 0:
            return Verdict(False, (f"order {action!r} is not a number of units",))
        return Verdict(order <= room, () if order <= room else (f"{order} units do not fit: there is room for {room}",))

    def project(self, request: Morning, scores: Array) -> int | None:
        """The best-scored order that fits; NaN never wins."""
        room = self.scenario.capacity - request.stock
        fitting = np.where(np.isnan(scores[: room + 1]), -np.inf, scores[: room + 1])
        return int(np.argmax(fitting)) if np.isfinite(fitting).any() else None

    def fallbacks(self) -> Mapping[str, Callable[[Morning], int | None]]:
        """Replace the mean demand of a day, as far as there is room."""
        mean, capacity = round(self.scenario.mean_demand), self.scenario.capacity
        return {"mean_demand": lambda request: min(mean, capacity - request.stock)}

    def answer(self, request: Morning, action: int, scores: Array | None) -> dict[str, Any]:
        """How much to order."""
        return {"order": int(action), "reason": f"the shelf will hold {request.stock + int(action)} units"}

    def refuse(self, request: Morning) -> dict[str, Any]:
        """Nothing can be ordered; never happens, as ordering nothing always fits."""
        return {"order": None, "reason": "no order fits on the shelf"}

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Any stock on any day."""
        rng, s = np.random.default_rng(seed), self.scenario
        return [{"stock": int(rng.integers(s.capacity + 1)), "day": int(rng.integers(s.days))} for _ in range(count)]


def encoders(scenario: InventoryScenario) -> Mapping[str, Callable[[Observation], dict[str, Array]]]:
    """``levels``: float32 ``action_features`` ``(n, orders, 2)``: the level reached over capacity, and its square."""

    def levels(observation: Observation) -> dict[str, Array]:
        level = (observation["stock"] + np.arange(scenario.capacity + 1)) / scenario.capacity
        return {"action_features": np.stack([level, level**2], axis=-1).astype(np.float32)}

    return {"levels": levels}


def build(scenario: InventoryScenario) -> InventoryDecision:
    """The decision contract of a scenario."""
    return InventoryDecision(scenario)


def _count(high: int, unit: str, description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": high, "unit": unit, "description": description}

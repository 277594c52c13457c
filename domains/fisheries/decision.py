"""The decision contract of a fishery: what an exported policy accepts, checks, answers and falls back to. Torch-free.

A request tells the year and what the survey found. A proposal is released only if every mortality lies within [0, 1]
and keeps the total allowable catch and the largest change, which are counted again here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.core.decision import DecisionContract, Verdict
from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput
from interlock.core.policy import Encoder
from interlock.core.problem import Field
from interlock.core.request import integer, number, schema_fields, shown, unknown_fields
from interlock.domains.fisheries import encoders
from interlock.domains.fisheries.scenario import FisheriesScenario

SCHEMA_VERSION = 1
ROUNDING = 1e-9
"""By which a limit may be missed and counts as rounded."""
LARGEST = 10.0
"""A stock above this many times its first one is taken for a wrong unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A checked request.

    Attributes:
        year: from 0.
        stock: of the species that are seen, stock units ``(seen,)``.
        last: mortalities of the year before ``(h,)``; ``None`` in year 0 or where changes are not limited.
    """

    year: int
    stock: Array
    last: Array | None


class FisheriesDecision:
    """Implements ``interlock.core.decision.VectorContract``; actions are mortalities, shares of the stocks.

    Args:
        scenario: species and limits; its tuned constant mortality, if it has one, is the first fallback rule.
    """

    domain = "fisheries"
    schema_version = SCHEMA_VERSION

    def __init__(self, scenario: FisheriesScenario):
        self.scenario = scenario
        self.seen = tuple(name for name in scenario.model.species if name not in scenario.observed.hidden)
        self.caught = scenario.harvested
        self.places = [self.seen.index(name) for name in self.caught]
        self.limited = scenario.limits.max_change is not None

    def request_fields(self) -> tuple[Field, ...]:
        """Every entry of a request, with unit and range."""
        return schema_fields(self.request_schema())

    def answer_fields(self) -> tuple[Field, ...]:
        """Every entry of an answer, with unit and range."""
        return schema_fields(self.answer_schema())

    def request_schema(self) -> dict[str, Any]:
        """JSON Schema of a request; species are named as in the scenario."""
        properties: dict[str, Any] = {
            "schema_version": {"const": SCHEMA_VERSION, "description": "version of this schema"},
            "year": {
                "type": "integer", "minimum": 1, "maximum": self.scenario.horizon, "unit": "1",
                "description": "year that is decided on, from 1",
            },
            "stock": _each(self.seen, "stock that the survey found", "stock units", minimum=0),
            "deadline_ms": {
                "type": "number", "exclusiveMinimum": 0, "unit": "ms",
                "description": "a policy that takes longer is replaced by a fallback rule",
            },
        }  # fmt: skip
        if self.limited:
            describe = "mortality of the year before; needed from year 2 on"
            properties["last_mortality"] = _each(self.caught, describe, "share/year", minimum=0, maximum=1)
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "how much of every harvested stock to catch this year",
            "type": "object",
            "additionalProperties": False,
            "required": ["year", "stock"],
            "properties": properties,
        }

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of the domain's part of an answer."""
        refuse = {
            "type": "object",
            "properties": {"reason": {"type": "string", "description": "why nothing could be released"}},
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "mortality": _each(self.caught, "share of the stock to catch", "share/year", minimum=0, maximum=1),
                "catch": _each(self.caught, "total allowable catch", "stock units", minimum=0),
                "escapement": _each(self.caught, "stock to leave", "stock units", minimum=0),
                "refuse": refuse,
            },
        }

    def parse(self, request: Mapping[str, Any]) -> Request:
        """Check a raw request.

        Raises:
            BadInput: listing every problem.
        """
        problems: list[str] = []
        if not isinstance(request, Mapping):
            raise BadInput("request", [f"got {shown(request)}, expected an object"])
        unknown_fields(problems, "", request, self.request_schema()["properties"])
        if "schema_version" in request and request["schema_version"] != SCHEMA_VERSION:
            problems.append(f"schema_version: got {shown(request['schema_version'])}, expected {SCHEMA_VERSION}")
        year = integer(problems, "year", request.get("year"), low=1, high=self.scenario.horizon)
        if "deadline_ms" in request:
            number(problems, "deadline_ms", request["deadline_ms"], above=0, unit="ms")
        stock = _read(problems, "stock", request.get("stock"), self.seen, "stock units")
        first = dict(zip(self.scenario.model.species, self.scenario.initial, strict=True))
        for name, value in zip(self.seen, stock, strict=True):
            if value > LARGEST * first[name]:
                times = f"{value / first[name]:.3g} times that of year 0"
                problems.append(f"stock.{name}: {value:g} is {times}, at most {LARGEST:g}; is its unit right?")
        last = None
        if self.limited and (year is None or year > 1 or "last_mortality" in request):
            last = _read(problems, "last_mortality", request.get("last_mortality"), self.caught, "share/year", high=1.0)
        if problems or year is None:
            raise BadInput("request", problems)
        return Request(year - 1, stock, last if year > 1 else None)

    def observation(self, request: Request) -> Observation:
        """``stock`` ``(1, seen)``, ``year`` ``(1, 1)``; where changes are limited, ``last_mortality`` ``(1, h)``."""
        view = {"stock": request.stock[np.newaxis], "year": np.array([[request.year]])}
        if self.limited:
            view["last_mortality"] = (np.zeros(len(self.caught)) if request.last is None else request.last)[np.newaxis]
        return view

    def history(self, request: Request) -> Observation:
        """Nothing: a request tells one survey."""
        return {name: values[:0] for name, values in self.observation(request).items()}

    def encoders(self) -> Mapping[str, Encoder]:
        """The encoders that the problem trained with."""
        return encoders.encoders(self.scenario)

    def propose(self, request: Request, output: Array) -> Array | None:
        """The output as mortalities within [0, 1]; ``None`` if a number is not finite."""
        raw = np.asarray(output, float)
        if raw.shape != (len(self.caught),):
            raise ValueError(f"{raw.size} numbers for {len(self.caught)} harvested species")
        return np.clip(raw, 0.0, 1.0) if np.isfinite(raw).all() else None

    def project(self, request: Request, scores: Array) -> Array | None:
        """The proposal brought within the largest change, then all mortalities scaled down to the allowable catch."""
        proposed = self.propose(request, scores)
        if proposed is None:
            return None
        limits = self.scenario.limits
        if request.last is not None and limits.max_change is not None:
            proposed = np.clip(proposed, request.last - limits.max_change, request.last + limits.max_change)
        total = float(proposed @ request.stock[self.places])
        if limits.tac is not None and total > limits.tac:
            proposed = proposed * (limits.tac / total)
        return proposed

    def check(self, request: Request, action: Any) -> Verdict:
        """Range, allowable catch and change, counted again; the allowable catch goes before the largest change."""
        try:
            mortality = np.asarray(action, float)
        except (TypeError, ValueError):
            mortality = np.zeros(0)
        if mortality.shape != (len(self.caught),) or not np.isfinite(mortality).all():
            return Verdict(False, (f"action {shown(action)} is not {len(self.caught)} mortalities",))
        limits, violations = self.scenario.limits, []
        total = sum(share * request.stock[place] for share, place in zip(mortality, self.places, strict=True))
        for name, share in zip(self.caught, mortality, strict=True):
            if not 0.0 <= share <= 1.0:
                violations.append(f"mortality of {name} is {share:g}, expected 0 to 1")
        if limits.tac is not None and total > limits.tac + ROUNDING:
            violations.append(f"total catch is {total:g} stock units, at most {limits.tac:g}")
        if limits.max_change is not None and request.last is not None:
            held_down = limits.tac is not None and total >= limits.tac - ROUNDING
            for name, share, before in zip(self.caught, mortality, request.last, strict=True):
                change = share - before
                if change > limits.max_change + ROUNDING or (change < -limits.max_change - ROUNDING and not held_down):
                    violations.append(f"mortality of {name} changes by {change:g}, at most {limits.max_change:g}")
        return Verdict(not violations, tuple(violations))

    def fallbacks(self) -> Mapping[str, Callable[[Request], Array | None]]:
        """``careful``: 0.8 of the tuned constant mortality, where the scenario has one; ``closure``: no catch."""
        rules: dict[str, Callable[[Request], Array | None]] = {}
        tuned = self.scenario.tuned
        if tuned is not None:
            careful = 0.8 * np.array(tuned.constant_mortality)
            rules["careful"] = lambda request: self.project(request, careful)
        rules["closure"] = lambda request: self.project(request, np.zeros(len(self.caught)))
        return rules

    def answer(self, request: Request, action: Array, scores: Array | None) -> dict[str, Any]:
        """Mortality, allowable catch and escapement of every harvested species."""
        mortality, stock = np.asarray(action, float), request.stock[self.places]

        def named(values: Array) -> dict[str, float]:
            return {name: float(value) for name, value in zip(self.caught, values, strict=True)}

        return {
            "mortality": named(mortality),
            "catch": named(mortality * stock),
            "escapement": named((1.0 - mortality) * stock),
        }

    def refuse(self, request: Request) -> dict[str, Any]:
        """That no rule could be released."""
        return {"refuse": {"reason": "no mortality could be released for this year"}}

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Any year, stocks between collapse and one and a half times those of year 0."""
        rng = np.random.default_rng(seed)
        first = dict(zip(self.scenario.model.species, self.scenario.initial, strict=True))
        samples = []
        for _ in range(count):
            year = int(rng.integers(1, self.scenario.horizon + 1))
            low = self.scenario.collapse_level
            request = {
                "year": year,
                "stock": {name: round(float(rng.uniform(low, 1.5 * first[name])), 6) for name in self.seen},
            }
            if self.limited and year > 1:
                request["last_mortality"] = {name: round(float(rng.uniform(0, 0.5)), 6) for name in self.caught}
            samples.append(request)
        return samples


def _each(names: tuple[str, ...], description: str, unit: str, **limits: float) -> dict[str, Any]:
    """JSON Schema of one number by name."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(names),
        "properties": {
            name: {"type": "number", "unit": unit, "description": f"{description}, {name}", **limits} for name in names
        },
    }


def _read(
    problems: list[str], path: str, value: Any, names: tuple[str, ...], unit: str, high: float | None = None
) -> Array:
    """One number of at least 0 by name; zeros stand for those that are wrong."""
    if not isinstance(value, Mapping):
        problems.append(f"{path}: got {shown(value)}, expected an object with {', '.join(names)} [{unit}]")
        return np.zeros(len(names))
    unknown_fields(problems, f"{path}.", value, names)
    read = [number(problems, f"{path}.{name}", value.get(name), low=0.0, high=high, unit=unit) for name in names]
    return np.array([0.0 if one is None else one for one in read])


def build(scenario: FisheriesScenario) -> DecisionContract:
    """The decision contract of a scenario."""
    return FisheriesDecision(scenario)

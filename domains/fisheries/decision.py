"""The decision contract of a fishery: what an exported policy accepts, checks, answers and falls back to. Torch-free.

A request tells the year and what the survey found. A proposal is released only if it keeps the limits and the
probability of losing a species within the year, which are counted again from the request (``release_check``). What
breaks them is cut back; the fallbacks are a careful constant mortality and closure.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from interlock.core.decision import DecisionContract, Verdict
from interlock.core.environment import Array, Observation
from interlock.core.errors import NotTrusted
from interlock.core.policy import Encoder
from interlock.core.problem import Field
from interlock.core.request import schema_fields
from interlock.domains.fisheries import encoders
from interlock.domains.fisheries.release_answer import answer_of, far_from_training, largest_trained
from interlock.domains.fisheries.release_belief import Beliefs, best_constant
from interlock.domains.fisheries.release_check import violations
from interlock.domains.fisheries.release_request import Request, parse
from interlock.domains.fisheries.release_risk import cut_back, least_safe, mortalities_to_try
from interlock.domains.fisheries.release_schema import SCHEMA_VERSION, answer_schema, request_schema, seen_species
from interlock.domains.fisheries.scenario import FisheriesScenario

CAREFUL = 0.8
"""Share of the best constant mortality that the first fallback rule allows."""


class FisheriesDecision:
    """Implements ``interlock.core.decision.VectorContract``; actions are mortalities, shares of the stocks.

    Args:
        scenario: species and limits.
    """

    domain = "fisheries"
    schema_version = SCHEMA_VERSION
    takes_actions = True
    """What the environment takes, ``propose`` takes too."""
    ambiguous = ("collapse_within_5_years",)
    """Counts of rollouts: another processor's rounding may move one over the limit."""

    def __init__(self, scenario: FisheriesScenario):
        self.scenario = scenario
        self.seen = seen_species(scenario)
        self.caught = scenario.harvested
        self.places = [self.seen.index(name) for name in self.caught]
        self.limited = scenario.limits.max_change is not None
        self.beliefs = None if scenario.model.kind == "walleye" else Beliefs(scenario)
        self._request_schema = request_schema(scenario)

    def request_fields(self) -> tuple[Field, ...]:
        """Every entry of a request, with unit and range."""
        return schema_fields(self.request_schema())

    def answer_fields(self) -> tuple[Field, ...]:
        """Every entry of an answer, with unit and range."""
        return schema_fields(self.answer_schema())

    def request_schema(self) -> dict[str, Any]:
        """JSON Schema of a request; species are named as in the scenario."""
        return request_schema(self.scenario)

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of the domain's part of an answer."""
        return answer_schema(self.scenario)

    def parse(self, request: Mapping[str, Any]) -> Request:
        """Check a raw request.

        Raises:
            BadInput: listing every problem.
        """
        return parse(request, self.scenario, self._request_schema)

    def observation(self, request: Request) -> Observation:
        """``stock`` ``(1, seen)``, ``year`` ``(1, 1)``; where policies see them ``last_mortality``, ``mean_weight``."""
        view = {"stock": request.stock[np.newaxis], "year": np.array([[request.year]])}
        if self.limited:
            view["last_mortality"] = (np.zeros(len(self.caught)) if request.last is None else request.last)[np.newaxis]
        if request.mean_weight is not None:
            view["mean_weight"] = np.array([[request.mean_weight]])
        return view

    def history(self, request: Request) -> Observation:
        """Nothing: a request tells one survey."""
        return {name: values[:0] for name, values in self.observation(request).items()}

    def encoders(self) -> Mapping[str, Encoder]:
        """The encoders that the problem trained with."""
        return encoders.encoders(self.scenario)

    def propose(self, request: Request, output: Array) -> Array | None:
        """The output as mortalities within [0, 1]; ``None`` if a number is not finite.

        Raises:
            NotTrusted: a stock is far from any that the policy was trained on.
        """
        raw = np.asarray(output, float)
        if raw.shape != (len(self.caught),):
            raise ValueError(f"{raw.size} numbers for {len(self.caught)} harvested species")
        far = far_from_training(self.scenario, self.beliefs, request)
        if far:
            raise NotTrusted("; ".join(far))
        return np.clip(raw, 0.0, 1.0) if np.isfinite(raw).all() else None

    def project(self, request: Request, scores: Array) -> Array | None:
        """The proposal within the largest change, then all mortalities scaled down to allowable catch and risk.

        Where neither that nor closure keeps the risk, as with a crowded stock, the least mortality that does, if any.
        """
        proposed = np.asarray(scores, float)
        if proposed.shape != (len(self.caught),) or not np.isfinite(proposed).all():
            return None
        proposed, limits = np.clip(proposed, 0.0, 1.0), self.scenario.limits
        if request.last is not None and limits.max_change is not None:
            proposed = np.clip(proposed, request.last - limits.max_change, request.last + limits.max_change)
            proposed = np.clip(proposed, 0.0, 1.0)
        total = float(proposed @ request.stock[self.places])
        if limits.tac is not None and total > limits.tac:
            proposed = proposed * (limits.tac / total)
        if self.beliefs is None:
            return proposed
        stock, factor = self.beliefs.believed(request.year, request.stock, request.cv)
        level = self.scenario.release.collapse_probability
        cut = cut_back(self.beliefs.fishery, stock, factor, request.year, proposed, level)
        if cut.any():
            return cut
        tried = mortalities_to_try(len(cut), request.stock[self.places], request.last, limits.max_change, limits.tac)
        closed = np.zeros_like(cut)[np.newaxis]
        safe = least_safe(self.beliefs.fishery, stock, factor, request.year, np.concatenate([closed, tried]), level)
        return cut if safe is None else safe

    def check(self, request: Request, action: Any) -> Verdict:
        """Range, change, allowable catch and risk, counted again; see ``release_check`` for which goes before which."""
        believed = None
        if self.beliefs is not None:
            believed = self.beliefs.believed(request.year, request.stock, request.cv)
        found = violations(self.scenario, self.places, request, believed, action)
        return Verdict(not found, found)

    def fallbacks(self) -> Mapping[str, Callable[[Request], Array | None]]:
        """``careful``: 0.8 of the best constant mortality of the scenario's numbers; ``closure``: no catch.

        Walleye have no careful rule where the scenario holds no rate of its own numbers: the search takes too long.
        Both as far as the largest change of a year permits: where no risk asks for more, a fishery is closed by steps.
        """
        rules: dict[str, Callable[[Request], Array | None]] = {}
        held = self.scenario.tuned
        if self.beliefs is not None or (held is not None and held.numbers == self.scenario.numbers()):
            best, _ = best_constant(self.scenario)
            careful = CAREFUL * best
            rules["careful"] = lambda request: self.project(request, careful)
        rules["closure"] = lambda request: self.project(request, np.zeros(len(self.caught)))
        return rules

    def answer(self, request: Request, action: Array, scores: Array | None) -> dict[str, Any]:
        """Mortality, allowable catch, escapement, what is expected of the stocks, and what to point out."""
        return answer_of(self.scenario, self.beliefs, request, np.asarray(action, float))

    def refuse(self, request: Request) -> dict[str, Any]:
        """That no rule could be released."""
        return {"refuse": {"reason": "no mortality could be released for this year"}}

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Any year, stocks between the limit and one and a half times those of year 0, none far from training.

        Walleye: surveys between nothing and a fifth of the largest that they tell.
        """
        rng = np.random.default_rng(seed)
        first = dict(zip(self.scenario.model.species, self.scenario.initial, strict=True))
        highest = {
            name: 0.2 * most if self.beliefs is None else min(1.5 * first[name], most)
            for name, most in largest_trained(self.scenario, self.beliefs).items()
        }
        low = self.scenario.collapse_level + 1e-6
        samples = []
        for _ in range(count):
            year = int(rng.integers(1, self.scenario.horizon + 1))
            stock = {name: round(float(rng.uniform(low, max(highest[name], low))), 6) for name in self.seen}
            request: dict[str, Any] = {"year": year, "stock": stock}
            if "mean_weight" in self._request_schema["properties"]:
                request["mean_weight"] = round(float(rng.uniform(0.05, 1.0)), 6)
            if self.limited and year > 1:
                request["last_mortality"] = {name: round(float(rng.uniform(0, 0.5)), 6) for name in self.caught}
            samples.append(request)
        return samples


def build(scenario: FisheriesScenario) -> DecisionContract:
    """The decision contract of a scenario."""
    return FisheriesDecision(scenario)

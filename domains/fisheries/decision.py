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
from interlock.domains.fisheries.release_belief import Beliefs
from interlock.domains.fisheries.release_check import ROUNDING, violations
from interlock.domains.fisheries.release_request import Request, parse
from interlock.domains.fisheries.release_risk import collapse_probability, cut_back, outlook, seed_of
from interlock.domains.fisheries.release_schema import (
    FAR,
    FIVE_YEARS,
    FLAGS,
    HIGH_CV,
    SCHEMA_VERSION,
    answer_schema,
    request_schema,
    seen_species,
)
from interlock.domains.fisheries.scenario import FisheriesScenario

CAREFUL = 0.8
"""Share of the tuned constant mortality that the first fallback rule allows."""
DIGITS = 9


class FisheriesDecision:
    """Implements ``interlock.core.decision.VectorContract``; actions are mortalities, shares of the stocks.

    Args:
        scenario: species and limits; its tuned constant mortality, if it has one, is the first fallback rule.
    """

    domain = "fisheries"
    schema_version = SCHEMA_VERSION
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
        far = self._far(request)
        if far:
            raise NotTrusted("; ".join(far))
        return np.clip(raw, 0.0, 1.0) if np.isfinite(raw).all() else None

    def project(self, request: Request, scores: Array) -> Array | None:
        """The proposal within the largest change, then all mortalities scaled down to allowable catch and risk."""
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
        return cut_back(self.beliefs.fishery, stock, factor, request.year, proposed, level)

    def check(self, request: Request, action: Any) -> Verdict:
        """Range, change, allowable catch and risk, counted again; see ``release_check`` for which goes before which."""
        believed = None
        if self.beliefs is not None:
            believed = self.beliefs.believed(request.year, request.stock, request.cv)
        found = violations(self.scenario, self.places, request, believed, action)
        return Verdict(not found, found)

    def fallbacks(self) -> Mapping[str, Callable[[Request], Array | None]]:
        """``careful``: 0.8 of the tuned constant mortality, where the scenario has one; ``closure``: no catch.

        Both as far as the largest change of a year permits: where no risk asks for more, a fishery is closed by steps.
        """
        rules: dict[str, Callable[[Request], Array | None]] = {}
        tuned = self.scenario.tuned
        if tuned is not None:
            careful = CAREFUL * np.array(tuned.constant_mortality)
            rules["careful"] = lambda request: self.project(request, careful)
        rules["closure"] = lambda request: self.project(request, np.zeros(len(self.caught)))
        return rules

    def answer(self, request: Request, action: Array, scores: Array | None) -> dict[str, Any]:
        """Mortality, allowable catch, escapement, what is expected of the stocks, and what to point out."""
        mortality = np.asarray(action, float)
        found: dict[str, Any] = {"mortality": dict(zip(self.caught, mortality.tolist(), strict=True))}
        flags = self._flags(request, mortality)
        if self.beliefs is not None:
            stock = request.stock[self.places]
            found |= self._told("tac", self.caught, mortality * stock)
            found |= self._told("escapement", self.caught, (1.0 - mortality) * stock)
            found |= self._expected(request, mortality)
            likely = found["collapse_within_5_years"]
            if likely > FIVE_YEARS * self.scenario.release.collapse_probability:
                flags["five_year_risk"] = (
                    f"mortalities held, a collapse within five years has the probability {likely:g}"
                )
        return {
            **found,
            "flags": [name for name in FLAGS if name in flags],
            "notes": [flags[name] for name in FLAGS if name in flags],
        }

    def refuse(self, request: Request) -> dict[str, Any]:
        """That no rule could be released."""
        return {"refuse": {"reason": "no mortality could be released for this year"}}

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Any year, stocks between the limit and one and a half times those of year 0, none far from training."""
        rng = np.random.default_rng(seed)
        first = dict(zip(self.scenario.model.species, self.scenario.initial, strict=True))
        largest = self._largest()
        samples = []
        for _ in range(count):
            year = int(rng.integers(1, self.scenario.horizon + 1))
            stock = {}
            for name in self.seen:
                high = min(1.5 * first[name], FAR * largest[name])
                low = self.scenario.collapse_level + 1e-6
                stock[name] = round(float(rng.uniform(low, max(high, low))), 6)
            request: dict[str, Any] = {"year": year, "stock": stock}
            if "mean_weight" in self._request_schema["properties"]:
                request["mean_weight"] = round(float(rng.uniform(0.05, 1.0)), 6)
            if self.limited and year > 1:
                request["last_mortality"] = {name: round(float(rng.uniform(0, 0.5)), 6) for name in self.caught}
            samples.append(request)
        return samples

    def _largest(self) -> dict[str, float]:
        """Largest stocks of training by species; infinite where there is no such figure."""
        if self.beliefs is None:
            return dict.fromkeys(self.seen, np.inf)
        return dict(zip(self.scenario.model.species, self.beliefs.largest.tolist(), strict=True))

    def _far(self, request: Request) -> list[str]:
        """Stocks that no policy was trained on."""
        level, largest = self.scenario.collapse_level, self._largest()
        found: list[str] = []
        if self.beliefs is None:
            return found
        for name, stock in zip(self.seen, request.stock, strict=True):
            if stock <= level:
                found.append(f"{name} is at {stock:g}, at or below the limit {level:g}")
            elif stock > FAR * largest[name]:
                found.append(
                    f"{name} is at {stock:g}, more than {FAR:g} times its largest of training {largest[name]:.3g}"
                )
        return found

    def _flags(self, request: Request, mortality: Array) -> dict[str, str]:
        """Flag -> the same in words."""
        scenario, limits, found = self.scenario, self.scenario.limits, {}
        if not mortality.any():
            found["closed"] = "no catch this year"
        if request.year == scenario.horizon - 1:
            found["last_year"] = f"year {request.year + 1} is the last of the horizon: training did not look beyond it"
        high = [
            f"{name} {cv:g}"
            for name, cv in zip(self.seen, request.cv, strict=True)
            if cv > max(HIGH_CV, 2.0 * scenario.observed.cv)
        ]
        if high:
            found["high_cv"] = f"surveys with a large coefficient of variation: {', '.join(high)}"
        if scenario.observed.hidden:
            found["hidden_species"] = f"no survey finds {', '.join(scenario.observed.hidden)}"
        if request.last is not None and limits.max_change is not None:
            fast = [
                f"{name} from {before:g} to {now:g}"
                for name, before, now in zip(self.caught, request.last, mortality, strict=True)
                if now < before - limits.max_change - ROUNDING
            ]
            if fast:
                found["fast_reduction"] = f"falls by more than {limits.max_change:g}: {', '.join(fast)}"
        if self.beliefs is not None:
            found |= self._stock_flags(request) | self._risk_flags(request, mortality)
        return found

    def _stock_flags(self, request: Request) -> dict[str, str]:
        scenario, found = self.scenario, {}
        largest = self._largest()
        stocks = list(zip(self.seen, request.stock.tolist(), strict=True))
        beyond = [f"{name} {stock:g} (at most {largest[name]:.3g})" for name, stock in stocks if stock > largest[name]]
        low = [f"{name} {stock:g}" for name, stock in stocks if stock < scenario.low_level]
        lost = [f"{name} {stock:g}" for name, stock in stocks if stock <= scenario.collapse_level]
        if beyond:
            found["outside_training_range"] = f"stocks larger than any of training: {', '.join(beyond)}"
        if far := self._far(request):
            found["policy_not_asked"] = "; ".join(far)
        if low:
            found["low_stock"] = f"stocks below {scenario.low_level:g}: {', '.join(low)}"
        if lost:
            found["below_limit"] = f"stocks at or below the limit {scenario.collapse_level:g}: {', '.join(lost)}"
        return found

    def _risk_flags(self, request: Request, mortality: Array) -> dict[str, str]:
        scenario, found = self.scenario, {}
        level, tac = scenario.release.collapse_probability, scenario.limits.tac
        risk = self._risk(request, mortality)
        if risk > level:
            found["limit_missed_without_catch"] = (
                f"a collapse within the year has the probability {risk:.3g} even without a catch, the limit is {level:g}"
            )
        elif mortality.any() and risk > level * (1.0 - 1e-6):
            found["reduced_for_risk"] = f"cut back until a collapse within the year has the probability {level:g}"
        if tac is not None and float(mortality @ request.stock[self.places]) >= tac - ROUNDING:
            found["reduced_for_tac"] = f"the catch is the total allowable one, {tac:g} stock units"
        return found

    def _risk(self, request: Request, mortality: Array) -> float:
        assert self.beliefs is not None
        stock, factor = self.beliefs.believed(request.year, request.stock, request.cv)
        return collapse_probability(self.beliefs.fishery, stock, factor, request.year, mortality)

    def _expected(self, request: Request, mortality: Array) -> dict[str, Any]:
        """What the rollouts find; the chance of a collapse within the year is the exact one that was checked."""
        assert self.beliefs is not None
        told = () if request.last is None else (request.last,)
        seed = seed_of(request.year, request.stock, request.cv, *told)
        columns = len(self.seen) + 2
        shares = np.random.default_rng(seed).uniform(1e-12, 1.0 - 1e-12, (self.scenario.release.rollouts, columns))
        stock, factor = self.beliefs.believed(request.year, request.stock, request.cv, shares)
        seen = outlook(self.beliefs.fishery, stock, factor, request.year, mortality, seed)
        every = self.scenario.model.species
        return {
            **self._told("next_stock_mean", every, seen.mean),
            **self._told("next_stock_low", every, np.maximum(seen.low, 0.0)),
            "collapse_within_1_year": round(min(self._risk(request, mortality), 1.0), 12),
            "collapse_within_5_years": seen.collapse_5,
        }

    def _told(self, name: str, species: tuple[str, ...], values: Array) -> dict[str, Any]:
        """An entry in stock units and, where they are known, in tonnes."""
        found = {name: _named(species, values)}
        if self.scenario.tonnes is not None:
            every = self.scenario.model.species
            unit = np.array([self.scenario.tonnes[every.index(one)] for one in species])
            found[f"{name}_t"] = _named(species, values * unit)
        return found


def _named(names: tuple[str, ...], values: Array) -> dict[str, float]:
    """Values by name, without the last digits and without minus zero."""
    return dict(zip(names, (np.round(values, DIGITS) + 0.0).tolist(), strict=True))


def build(scenario: FisheriesScenario) -> DecisionContract:
    """The decision contract of a scenario."""
    return FisheriesDecision(scenario)

"""The decision contract of hydrothermal dispatch: what an exported policy accepts, checks, answers and falls back to.

A policy proposes end volumes. They are moved into reach, dispatched on the network, and released only if ``release``
finds nothing wrong with the dispatch. Nothing here imports torch.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from interlock.core.decision import DecisionContract, Verdict
from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput, StageInfeasible
from interlock.core.policy import Encoder
from interlock.core.problem import Field
from interlock.core.request import schema_fields, shown
from interlock.core.sddp.cuts import CUT_FILE, Cuts
from interlock.domains.hydro import encoders
from interlock.domains.hydro.answer import answer_of, answer_schema
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.case_file import case_from_json, case_to_json
from interlock.domains.hydro.dispatch import Dispatch, DispatchBatch, open_dispatch
from interlock.domains.hydro.fallback import Fallbacks
from interlock.domains.hydro.release import Plan, Release, changed_case
from interlock.domains.hydro.request import SCHEMA_VERSION, Request, parse, request_schema, sample_requests
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.stage_program import LinearNetwork
from interlock.domains.hydro.water import Water, clip_to_reach, reachable, water_of

CASE, CURVE = "case.json", "rule_curve.json"
"""Names of the assets beside ``CUT_FILE``; only the system must be there."""
NO_SHEDDING = np.array([1e5])
"""$/MWh on top of the cost of a deficit, where the question is how little is possible."""
EXTREME = 50.0
"""Raw numbers beyond this are as good as infinite: their sigmoid is 0 or 1 in all digits."""
REMEMBERED = 8
"""Systems with outages or loads of a request that are kept ready."""


@dataclass(frozen=True)
class System:
    """A case with the outages and loads of a request, ready to be dispatched."""

    case: Case
    dispatch: Dispatch
    release: Release
    fallbacks: Fallbacks


@dataclass(frozen=True, slots=True)
class Solved:
    """A dispatch for some end volumes, and what speaks against it."""

    batch: DispatchBatch | None
    violations: tuple[str, ...]


class HydroDecision:
    """Implements ``interlock.core.decision.VectorContract`` and ``AssetContract``; actions are end volumes in hm3.

    Args:
        scenario: network and horizon.
        case: the system.
        cuts: for the fallback rule ``sddp``; ``None`` for none.
        curve: gives the volumes of the fallback rule ``rule_curve``, hm3 ``(cycle, plants)``; ``None`` for none.
    """

    domain = "hydro"
    schema_version = SCHEMA_VERSION
    ambiguous = ("turbined_m3s", "spilled_hm3", "thermal_MW", "deficit_MW", "water_value_per_hm3", "nodal_price")
    """Entries of an answer that differ between optima of equal cost: another version of a solver may find another."""

    def __init__(
        self,
        scenario: HydroScenario,
        case: Case,
        *,
        cuts: Cuts | None = None,
        curve: Callable[[], Array] | None = None,
    ):
        self.scenario, self.case, self.cuts = scenario, case, cuts
        self._curve_of = curve
        self._water: Water = water_of(case)
        self._request_schema = request_schema(case, scenario.horizon)
        self._encoders = encoders.encoders(case, scenario.horizon)
        self._systems: dict[Any, System] = {}

    def request_fields(self) -> tuple[Field, ...]:
        """Every entry of a request, with unit and range."""
        return schema_fields(self.request_schema())

    def answer_fields(self) -> tuple[Field, ...]:
        """Every entry of an answer, with unit and range."""
        return schema_fields(self.answer_schema())

    def request_schema(self) -> dict[str, Any]:
        """JSON Schema of a request; names are those of the case."""
        return self._request_schema

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of the domain's part of an answer."""
        return answer_schema(self.case)

    def parse(self, request: Mapping[str, Any]) -> Request:
        """Check a raw request: schema and units, the case, volumes inside their bounds.

        Raises:
            BadInput: listing every problem.
        """
        return parse(request, self.case, self.scenario.horizon, self._request_schema)

    def observation(self, request: Request) -> Observation:
        """``volume`` and ``inflow`` ``(1, plants)``, ``stage`` ``(1, 1)`` from 0."""
        return {
            "volume": request.volume[np.newaxis],
            "inflow": request.inflow[np.newaxis],
            "stage": np.array([[request.stage]]),
        }

    def history(self, request: Request) -> Observation:
        """The stages before, as far as the request tells their inflows; their volumes are not known."""
        rows, plants = request.history.shape
        stage = request.stage - rows + np.arange(rows)
        return {"volume": np.zeros((rows, plants)), "inflow": request.history, "stage": stage[:, np.newaxis]}

    def encoders(self) -> Mapping[str, Encoder]:
        """The encoders that the problem trained with."""
        return self._encoders

    def propose(self, request: Request, output: Array) -> Array | None:
        """End volumes that can be reached, from the raw numbers of a decision rule."""
        volume, inflow = request.volume[np.newaxis], request.inflow[np.newaxis]
        raw = np.clip(np.asarray(output, float), -EXTREME, EXTREME)[np.newaxis]
        if raw.shape != volume.shape:
            raise ValueError(f"{raw.size} numbers for {volume.size} plants")
        target = reachable(np, self._water, raw, volume, inflow)
        within: Array = clip_to_reach(np, self._water, target, volume, inflow)[0]
        return within

    def project(self, request: Request, output: Array) -> Array | None:
        """The proposal once more, a hair's breadth inside its reach: rounding is all that can be mended."""
        target = self.propose(request, output)
        if target is None:
            return None
        return self._system(request).fallbacks.within_reach(target * (1.0 - 1e-9), request.volume, request.inflow)

    def check(self, request: Request, action: Any) -> Verdict:
        """Dispatch the end volumes and count everything again; see ``release``."""
        try:
            target = np.asarray(action, float)
        except (TypeError, ValueError):
            target = np.zeros(0)
        if target.shape != request.volume.shape or not np.isfinite(target).all():
            return Verdict(False, (f"action {shown(action)} is not {len(request.volume)} end volumes in hm3",))
        violations = self._solved(request, target).violations
        return Verdict(not violations, violations)

    def fallbacks(self) -> Mapping[str, Callable[[Request], Array | None]]:
        """``sddp`` and ``rule_curve`` where their data are here, and ``myopic_floor``."""
        rules: dict[str, Callable[[Request], Array | None]] = {}
        if self.cuts is not None:
            rules["sddp"] = lambda r: self._system(r).fallbacks.by_cuts(r.stage, r.volume, r.inflow)
        if self._curve_of is not None:
            rules["rule_curve"] = lambda r: self._system(r).fallbacks.by_curve(r.stage, r.volume, r.inflow)
        rules["myopic_floor"] = lambda r: self._system(r).fallbacks.with_floor(r.stage, r.volume, r.inflow)
        return rules

    def answer(self, request: Request, action: Array, scores: Array | None) -> dict[str, Any]:
        """The dispatch of the stage, its cost and its prices."""
        target = np.asarray(action, float)
        batch = self._solved(request, target).batch
        if batch is None:
            raise ValueError("what cannot be dispatched has no answer")
        return answer_of(self.case, request, target, batch)

    def refuse(self, request: Request) -> dict[str, Any]:
        """Plants that have too little water even for their smallest volumes, or that no rule could be released."""
        hydros = self.case.hydros
        most = request.volume + self.case.flow_to_volume * request.inflow
        dry = [
            f"{name} has {have:.6g} hm3 of {low:.6g}"
            for name, have, low in zip(hydros.names, most, hydros.min_volume, strict=True)
            if have < low
        ]
        reason = "no end volumes could be released for this stage"
        return {"refuse": {"reason": f"{reason}: {', '.join(dry)} beside what comes from above" if dry else reason}}

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Any stage after a history of recorded inflows; see ``request``."""
        return sample_requests(self.case, self.scenario.horizon, count, seed)

    def assets(self) -> Mapping[str, bytes]:
        """The system, and what the fallback rules need."""
        files = {CASE: _json(case_to_json(self.case))}
        if self._curve is not None:
            files[CURVE] = _json(self._curve.tolist())
        if self.cuts is not None:
            files[CUT_FILE] = self.cuts.to_bytes()
        return files

    @cached_property
    def _curve(self) -> Array | None:
        return None if self._curve_of is None else self._curve_of()

    def _solved(self, request: Request, target: Array) -> Solved:
        """What comes of some end volumes, once per request."""
        key = target.tobytes()
        if key not in request.solved:
            request.solved[key] = self._dispatched(request, target)
        found: Solved = request.solved[key]
        return found

    def _dispatched(self, request: Request, target: Array) -> Solved:
        system = self._system(request)
        stage, (volume, inflow, end) = (
            np.array([request.stage]),
            (part[np.newaxis] for part in (request.volume, request.inflow, target)),
        )
        try:
            batch = system.dispatch.solve(stage, volume, inflow, end)
        except StageInfeasible as error:
            return Solved(None, (f"stage problem: {error}",))
        if request.stage == self.scenario.horizon - 1:  # what is left over has a worth, but pays for nothing now
            batch = replace(batch, cost=batch.cost + system.case.terminal_rate @ target)
        plan = Plan(
            target, batch.turbined[0], batch.spilled[0], batch.thermal[0], batch.deficit[0], float(batch.cost[0])
        )
        violations = system.release.violations(
            request.stage,
            request.volume,
            request.inflow,
            plan,
            lambda: float(system.dispatch.solve(stage, volume, inflow, end, NO_SHEDDING).signals[0, 0]),
        )
        return Solved(batch, tuple(violations))

    def _system(self, request: Request) -> System:
        """The case as the request has it; those met last are kept."""
        key: Any = None
        if request.outages or request.load is not None:
            key = (request.stage, request.outages, None if request.load is None else request.load.tobytes())
        if key not in self._systems:
            self._systems[key] = self._opened(request)
            others = [other for other in self._systems if other is not None]
            if len(others) > REMEMBERED:
                del self._systems[others[0]]
        return self._systems[key]

    def _opened(self, request: Request) -> System:
        network, horizon = self.scenario.network, self.scenario.horizon
        case = self.case
        if request.outages or request.load is not None:
            case = changed_case(case, request.stage, request.outages, request.load)
        linear: LinearNetwork = "bus1" if network == "bus1" else "dc"
        return System(
            case,
            open_dispatch(case, network, horizon),
            Release(case, network),
            Fallbacks(case, linear, horizon, self.cuts, self._curve),
        )


def build(
    scenario: HydroScenario,
    assets: Mapping[str, bytes] | None = None,
    *,
    case: Case | None = None,
    curve: Callable[[], Array] | None = None,
) -> DecisionContract:
    """The decision contract of a scenario.

    Args:
        scenario: the numbers.
        assets: of a bundle; nothing else is then read.
        case: the system, where it is known already.
        curve: gives the volumes of a rule curve.

    Raises:
        BadInput: the assets, or the system of the scenario, are not sound.
    """
    if assets is not None:
        return _from_assets(scenario, assets)
    if case is None:
        from interlock.domains.hydro.instances import case_of

        case = case_of(scenario)
    return HydroDecision(scenario, case, curve=curve)


def _from_assets(scenario: HydroScenario, assets: Mapping[str, bytes]) -> HydroDecision:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    problems = [f"{name}: no asset of domain hydro" for name in sorted(set(assets) - {CASE, CURVE, CUT_FILE})]
    if CASE not in assets:
        raise BadInput("assets", [f"{CASE}: missing", *problems])
    case = case_from_json(_loaded(CASE, assets[CASE]))
    plants = len(case.hydros.names)
    cuts = curve = None
    if CURVE in assets:
        curve = np.array(_loaded(CURVE, assets[CURVE]), float)
        if curve.ndim != 2 or curve.shape[1] != plants or not np.isfinite(curve).all():
            problems.append(f"{CURVE}: expected rows of {plants} volumes in hm3")
    if CUT_FILE in assets:
        try:
            cuts = Cuts(**load(assets[CUT_FILE]))
            if cuts.slopes.shape != (len(cuts), plants) or not np.isin(cuts.stage, np.arange(scenario.horizon)).all():
                problems.append(f"{CUT_FILE}: cuts of other plants or of more than {scenario.horizon} stages")
        except (SafetensorError, TypeError, ValueError, KeyError) as error:
            problems.append(f"{CUT_FILE}: not a file of cuts: {error}")
    if problems:
        raise BadInput("assets", problems)
    return HydroDecision(scenario, case, cuts=cuts, curve=None if curve is None else lambda: curve)


def _loaded(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput("assets", [f"{name}: is not JSON ({error})"]) from error


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

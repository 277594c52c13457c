"""The request of an exported dispatch policy: its JSON Schema, and how a raw request is read and checked."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from interlock.core.decision import hidden_state_schema
from interlock.core.errors import BadInput
from interlock.core.request import as_integer, integer, number, shown, unknown_fields
from interlock.domains.hydro.case import Array, Case

SCHEMA_VERSION = 1
ROUNDING = 1e-6
"""hm3 by which a volume may lie outside its bounds and counts as rounded."""
EXTRAPOLATED = 1.5
"""Inflows above this multiple of the largest one on record are flagged."""
WIDEST = 1e6
"""m3/s: no river carries as much; units are wrong."""
PLAUSIBLE_LOAD = (0.01, 100.0)
"""Share of all generating capacity that a total load lies between, unless its unit is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A checked request.

    Attributes:
        stage: from 0.
        volume: at the start of the stage, hm3 ``(plants,)``.
        inflow: of the stage, m3/s ``(plants,)``.
        history: inflows of the stages before, oldest first, m3/s ``(L, plants)``.
        known: stages before this one that the policy knows of, from history or hidden state.
        outages: indices of thermal units that are out of service, beside the planned ones.
        load: MW ``(buses,)`` in place of the case's; ``None`` for the case's.
        unusual: plants whose inflows are outside 0 to ``EXTRAPOLATED`` times the largest on record.
        solved: what was dispatched for this request, by end volumes.
    """

    stage: int
    volume: Array
    inflow: Array
    history: Array
    known: int
    outages: tuple[int, ...]
    load: Array | None
    unusual: tuple[str, ...]
    solved: dict[bytes, Any] = field(default_factory=dict)


def request_schema(case: Case, horizon: int) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a request; units in the annotation ``unit``.

    Numbers of plants and buses are lists in the order of the case, or objects by name.
    """
    plants, buses, units = case.hydros.names, case.buses.names, case.thermals.names

    def each(names: Sequence[str], description: str, unit: str, **limits: float) -> dict[str, Any]:
        value = {"type": "number", "unit": unit, **limits}
        return {
            "description": f"{description}; a list in the order {', '.join(names)}, or an object by name",
            "type": ["array", "object"],
            "minItems": len(names),
            "maxItems": len(names),
            "items": value,
            "required": list(names),
            "additionalProperties": False,
            "properties": {name: value for name in names},
        }

    def whole(low: int, high: int, description: str) -> dict[str, Any]:
        return {"type": "integer", "minimum": low, "maximum": high, "unit": "1", "description": description}

    row = {
        "type": "array",
        "minItems": len(plants),
        "maxItems": len(plants),
        "items": {"type": "number", "unit": "m3/s"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "how much water to keep in every reservoir at the end of a stage",
        "type": "object",
        "additionalProperties": False,
        "required": ["case_hash", "stage", "volumes_hm3", "inflow_m3s"],
        "properties": {
            "schema_version": {"const": SCHEMA_VERSION, "description": "version of this schema"},
            "case_hash": {"const": case.hash, "description": f"of the system that this policy is for, {case.name}"},
            "stage": whole(1, horizon, "stage that is decided on, from 1"),
            "calendar_week": whole(1, case.cycle, "stage of the inflow cycle; follows from `stage` and must agree"),
            "volumes_hm3": each(plants, "volumes at the start of the stage", "hm3", minimum=0),
            "inflow_m3s": each(plants, "incremental inflows of the stage", "m3/s"),
            "inflow_history_m3s": {
                "type": "array",
                "maxItems": horizon - 1,
                "items": row,
                "description": "inflows of the stages before, oldest first, in the order of the plants",
            },
            "hidden_state": hidden_state_schema(),
            "outages": {
                "type": "array",
                "maxItems": len(units),
                "items": {"enum": list(units)},
                "description": "thermal units that are out of service in this stage, beside the planned outages",
            },
            "load_MW": each(buses, "loads in place of those of the case", "MW"),
            "deadline_ms": {
                "type": "number",
                "exclusiveMinimum": 0,
                "unit": "ms",
                "description": "a policy that takes longer is replaced by a fallback rule",
            },
        },
    }


def parse(raw: Mapping[str, Any], case: Case, horizon: int, schema: Mapping[str, Any]) -> Request:
    """Check a raw request.

    Args:
        raw: as it came.
        case: the system.
        horizon: number of stages.
        schema: of ``request_schema``.

    Raises:
        BadInput: listing every problem.
    """
    if not isinstance(raw, Mapping):
        raise BadInput("request", [f"got {shown(raw)}, expected an object"])
    problems: list[str] = []
    unknown_fields(problems, "", raw, schema["properties"])
    for name in schema["required"]:
        if name not in raw:
            problems.append(f"{name}: missing; {schema['properties'][name]['description']}")
    if "schema_version" in raw and as_integer(raw["schema_version"]) != SCHEMA_VERSION:
        problems.append(f"schema_version: got {shown(raw['schema_version'])}, this policy understands {SCHEMA_VERSION}")
    if "case_hash" in raw and raw["case_hash"] != case.hash:
        problems.append(f"case_hash: got {shown(raw['case_hash'])}, this policy is for {case.name} with {case.hash!r}")
    stage = integer(problems, "stage", raw["stage"], low=1, high=horizon) if "stage" in raw else None
    if "calendar_week" in raw:
        _week(problems, raw["calendar_week"], stage, case.cycle)
    plants, hydros = case.hydros.names, case.hydros
    volume = _vector(problems, "volumes_hm3", raw["volumes_hm3"], plants, "hm3") if "volumes_hm3" in raw else None
    if volume is not None:
        _check_volumes(problems, volume, case)
    inflow = _vector(problems, "inflow_m3s", raw["inflow_m3s"], plants, "m3/s") if "inflow_m3s" in raw else None
    history, known = _history(problems, raw, plants, stage)
    outages = _outages(problems, raw.get("outages", ()), case.thermals.names)
    load = _vector(problems, "load_MW", raw["load_MW"], case.buses.names, "MW") if "load_MW" in raw else None
    if load is not None:
        _check_load(problems, load, case)
    if "deadline_ms" in raw:
        number(problems, "deadline_ms", raw["deadline_ms"], above=0, unit="ms")
    if problems or stage is None or volume is None or inflow is None:
        raise BadInput("request", problems)
    seen = np.vstack([history, inflow])
    high = EXTRAPOLATED * case.inflows.max(axis=(0, 1))
    unusual = tuple(name for name, odd in zip(plants, ((seen < 0) | (seen > high)).any(axis=0), strict=True) if odd)
    within = np.clip(volume, hydros.min_volume, hydros.max_volume)
    return Request(stage - 1, within, inflow, history, known, outages, load, unusual)


def sample_requests(case: Case, horizon: int, count: int, seed: int) -> list[dict[str, Any]]:
    """Requests as they occur: inflows of the record along a history, any stage and volumes, now and then an outage."""
    rng = np.random.default_rng(seed)
    requests = []
    for _ in range(count):
        stage = int(rng.integers(horizon))
        seasons = np.arange(stage + 1) % case.cycle
        inflows = case.inflows[seasons, rng.integers(case.inflows.shape[1], size=stage + 1)]
        low, high = case.hydros.min_volume, case.hydros.max_volume
        volume = low + (high - low) * rng.random(len(low))
        request: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "case_hash": case.hash,
            "stage": stage + 1,
            "calendar_week": stage % case.cycle + 1,
            "volumes_hm3": volume.tolist(),
            "inflow_m3s": inflows[-1].tolist(),
            "inflow_history_m3s": inflows[:-1].tolist(),
        }
        if rng.random() < 0.1:
            request["outages"] = [case.thermals.names[int(rng.integers(len(case.thermals.names)))]]
        if rng.random() < 0.1:
            request["load_MW"] = (case.load(stage) * rng.uniform(0.9, 1.1)).tolist()
        requests.append(request)
    return requests


def _week(problems: list[str], value: Any, stage: int | None, cycle: int) -> None:
    week = integer(problems, "calendar_week", value, low=1, high=cycle)
    if week is not None and stage is not None and week != (stage - 1) % cycle + 1:
        problems.append(f"calendar_week: got {week}, stage {stage} is number {(stage - 1) % cycle + 1} of {cycle}")


def _vector(problems: list[str], path: str, value: Any, names: Sequence[str], unit: str) -> Array | None:
    """One finite number per name, from a list in order or an object by name; ``None`` if it is not."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    quick = _quick(value, len(names))
    if quick is not None:
        return quick
    found = len(problems)
    if isinstance(value, Mapping):
        unknown_fields(problems, f"{path}.", value, names)
        missing = [name for name in names if name not in value]
        if missing:
            problems.append(f"{path}: {', '.join(missing)} missing [{unit}]")
        entries = [(f"{path}.{name}", value[name]) for name in names if name in value]
    elif isinstance(value, (list, tuple)) and len(value) == len(names):
        entries = [(f"{path}.{name}", entry) for name, entry in zip(names, value, strict=True)]
    else:
        got = f"{len(value)} numbers" if isinstance(value, (list, tuple)) else shown(value)
        problems.append(f"{path}: got {got}, expected {len(names)} numbers [{unit}], or an object by name")
        return None
    numbers = [number(problems, where, entry, low=-WIDEST, high=WIDEST, unit=unit) for where, entry in entries]
    return None if len(problems) > found else np.array(numbers, float)


def _quick(value: Any, count: int) -> Array | None:
    """A plain list of sound numbers; ``None`` for anything else, sound or not."""
    if type(value) is not list or len(value) != count or not set(map(type, value)) <= {float, int}:
        return None
    try:
        found = np.array(value, float)
    except OverflowError:  # a whole number beyond every float
        return None
    return found if (np.abs(found) <= WIDEST).all() else None


def _check_volumes(problems: list[str], volume: Array, case: Case) -> None:
    hydros = case.hydros
    for name, value, low, high in zip(hydros.names, volume, hydros.min_volume, hydros.max_volume, strict=True):
        if not low - ROUNDING <= value <= high + ROUNDING:
            problems.append(f"volumes_hm3.{name}: got {value:g}, expected a number from {low:g} to {high:g} [hm3]")


def _check_load(problems: list[str], load: Array, case: Case) -> None:
    total = float(load.sum())
    capacity = float(case.thermals.max_power.sum() + case.hydros.production @ case.hydros.max_turbine)
    low, high = (share * capacity for share in PLAUSIBLE_LOAD)
    if (load < np.minimum(case.buses.load, 0.0)).any():
        name = case.buses.names[int(np.argmin(load))]
        problems.append(f"load_MW.{name}: got {load.min():g}, expected a number of at least 0 [MW]")
    elif not low <= total <= high:
        problems.append(f"load_MW: {total:g} MW in all beside {capacity:g} MW of capacity; is the unit per unit or kW?")


def _history(
    problems: list[str], raw: Mapping[str, Any], plants: Sequence[str], stage: int | None
) -> tuple[Array, int]:
    """Inflows before, and how many stages before this one the policy knows of."""
    none = np.zeros((0, len(plants)))
    remembered, rows = raw.get("hidden_state"), raw.get("inflow_history_m3s")
    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    if remembered is not None and rows is not None:
        problems.append("inflow_history_m3s: left out where there is a hidden_state; give one of them")
        return none, 0
    if remembered is not None:
        steps = as_integer(remembered.get("steps")) if isinstance(remembered, Mapping) else None
        if steps is None or steps < 0:
            problems.append(f"hidden_state: got {shown(remembered)}, expected that of the answer before")
        elif stage is not None and steps > stage - 1:
            problems.append(f"hidden_state.steps: {shown(steps)} stages, but only {stage - 1} lie before stage {stage}")
        return none, steps or 0
    if rows is None:
        return none, 0
    most = "the stages before" if stage is None else f"{stage - 1} before stage {stage}"
    if not isinstance(rows, (list, tuple)) or (stage is not None and len(rows) >= stage):
        got = f"{len(rows)} rows" if isinstance(rows, (list, tuple)) else shown(rows)
        problems.append(f"inflow_history_m3s: got {got}, expected at most {most}, oldest first, of {len(plants)} m3/s")
        return none, 0
    if all(type(row) is list and len(row) == len(plants) for row in rows):
        quick = _quick(list(chain.from_iterable(rows)), len(rows) * len(plants))
        if quick is not None:
            return quick.reshape(-1, len(plants)), len(rows)
    found = [_vector(problems, f"inflow_history_m3s.{k}", row, plants, "m3/s") for k, row in enumerate(rows)]
    good = [row for row in found if row is not None]
    return (np.array(good) if good else none), len(good)


def _outages(problems: list[str], value: Any, units: Sequence[str]) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        problems.append(f"outages: got {shown(value)}, expected a list of names of thermal units")
        return ()
    wrong = [entry for entry in value if not isinstance(entry, str) or entry not in units]
    for entry in wrong[:5]:
        close = difflib.get_close_matches(entry[:60], units, n=1) if isinstance(entry, str) else []
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(units)}"
        problems.append(f"outages: {shown(entry)} is no thermal unit; {hint}")
    return () if wrong else tuple(sorted({units.index(entry) for entry in value}))

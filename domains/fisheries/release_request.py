"""Reading a request for a harvest decision: every problem told at once, units suspected where numbers are far off."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import BadInput
from interlock.core.request import integer, number, shown, unknown_fields
from interlock.domains.fisheries.release_schema import SCHEMA_VERSION, Schema, seen_species
from interlock.domains.fisheries.scenario import FisheriesScenario

LARGEST = 10.0
"""A stock above this many times its first one is taken for a wrong unit."""
SMALLEST = 1e-4
"""Tonnes below this share of the first stock are taken for stock units, if they would make sense as such."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A checked request.

    Attributes:
        year: from 0.
        stock: of the species that are seen, stock units ``(seen,)``.
        cv: coefficients of variation of the survey ``(seen,)``.
        last: mortalities of the year before ``(h,)``; ``None`` in year 0 or where they are not told.
        mean_weight: of the fish of the survey, where policies see it.
    """

    year: int
    stock: Array
    cv: Array
    last: Array | None = None
    mean_weight: float | None = None


def parse(request: Mapping[str, Any], scenario: FisheriesScenario, schema: Schema) -> Request:
    """Check a raw request.

    Args:
        request: as it came.
        scenario: species, units and limits.
        schema: of requests of the scenario.

    Raises:
        BadInput: listing every problem.
    """
    problems: list[str] = []
    if not isinstance(request, Mapping):
        raise BadInput("request", [f"got {shown(request)}, expected an object"])
    unknown_fields(problems, "", request, {*schema["properties"], "stock_t"})
    if "schema_version" in request and request["schema_version"] != SCHEMA_VERSION:
        problems.append(f"schema_version: got {shown(request['schema_version'])}, expected {SCHEMA_VERSION}")
    _check_signature(problems, request, scenario)
    year = integer(problems, "year", request.get("year"), low=1, high=scenario.horizon)
    if "deadline_ms" in request:
        number(problems, "deadline_ms", request["deadline_ms"], above=0, unit="ms")
    stock = _stock(problems, request, scenario)
    cv = _cv(problems, request.get("cv", {}), scenario)
    last = None
    if "last_mortality" in request or (scenario.limits.max_change is not None and (year is None or year > 1)):
        told = request.get("last_mortality")
        last = _read(problems, "last_mortality", told, scenario.harvested, "share/year", high=1.0)
    weight = None
    if "mean_weight" in schema["properties"]:
        weight = number(problems, "mean_weight", request.get("mean_weight"), low=0.0)
    if problems or year is None:
        raise BadInput("request", problems)
    return Request(year - 1, stock, cv, last if year > 1 else None, weight)


def _check_signature(problems: list[str], request: Mapping[str, Any], scenario: FisheriesScenario) -> None:
    told, own = request.get("scenario_signature", scenario.signature()), scenario.signature()
    if not isinstance(told, Mapping):
        problems.append(f"scenario_signature: got {shown(told)}, expected an object such as {own}")
    elif dict(told) != own:
        entries = ", ".join(f"{shown(name)[1:-1]}: {shown(value)}" for name, value in list(told.items())[:10])
        ours = ", ".join(f"{name}: {shown(value)}" for name, value in own.items())
        problems.append(f"scenario_signature: the request is made for ({entries}), this policy for ({ours})")


def _stock(problems: list[str], request: Mapping[str, Any], scenario: FisheriesScenario) -> Array:
    """Seen stocks in stock units; zeros stand for those that are wrong."""
    seen, species = seen_species(scenario), scenario.model.species
    nothing = np.zeros(len(seen))
    if "stock_t" in request and scenario.tonnes is None:
        problems.append("stock_t: this scenario does not tell the tonnes of a stock unit; expected stock [stock units]")
        return nothing
    if "stock_t" in request and "stock" in request:
        problems.append("stock_t: stock is there too, expected one of them")
        return nothing
    if "stock" not in request and "stock_t" not in request:
        other = "" if scenario.tonnes is None else ", or stock_t [t]"
        problems.append(f"stock: missing, expected an object with {', '.join(seen)} [stock units]{other}")
        return nothing
    first = np.array([scenario.initial[species.index(name)] for name in seen])
    unit = np.array([1.0 if scenario.tonnes is None else scenario.tonnes[species.index(name)] for name in seen])
    name, in_tonnes = ("stock_t", "t") if "stock_t" in request else ("stock", "stock units")
    values = _read(problems, name, request[name], seen, in_tonnes)
    stock = values / unit if name == "stock_t" else values
    if scenario.model.kind != "walleye":  # their `initial` is a factor, no stock
        for k, species_name in enumerate(seen):
            told = _unit_suspected(values[k], first[k], unit[k], in_tonnes, tonnes_known=scenario.tonnes is not None)
            if told:
                problems.append(f"{name}.{species_name}: {told}")
    return stock


def _unit_suspected(value: float, first: float, tonnes: float, told: str, *, tonnes_known: bool) -> str:
    """What is odd about the size of a stock; empty if nothing is."""
    ratio = value / first / (tonnes if told == "t" else 1.0)
    if ratio > LARGEST:
        suspects = {"t": tonnes, "kg": 1000.0 * tonnes} if told != "t" else {"kg": 1000.0 * tonnes}
        likely = [
            unit for unit, size in suspects.items() if tonnes_known and SMALLEST < value / first / size <= LARGEST
        ]
        hint = f"is it in {likely[0]}?" if likely else "is its unit right?"
        instead = " (tonnes go into stock_t)" if likely[:1] == ["t"] else ""
        return f"{value:,.12g} {told} is {ratio:,.0f} times that of year 0, at most {LARGEST:g}; {hint}{instead}"
    if told == "t" and 0.0 < ratio < SMALLEST and value <= LARGEST * first:
        return f"{value:g} t is {ratio:.3g} times that of year 0; is it in stock units? (they go into stock)"
    return ""


def _cv(problems: list[str], value: Any, scenario: FisheriesScenario) -> Array:
    """Coefficients of variation; that of the scenario where none is told."""
    seen = seen_species(scenario)
    if not isinstance(value, Mapping):
        problems.append(f"cv: got {shown(value)}, expected an object with any of {', '.join(seen)}")
        return np.zeros(len(seen))
    unknown_fields(problems, "cv.", value, seen)
    usual = scenario.observed.cv
    read = [number(problems, f"cv.{name}", value.get(name, usual), low=0.0, high=1.0) for name in seen]
    return np.array([usual if one is None else one for one in read])


def _read(
    problems: list[str], path: str, value: Any, names: tuple[str, ...], unit: str, high: float | None = None
) -> Array:
    """One number of at least 0 by name; zeros stand for those that are wrong."""
    if not isinstance(value, Mapping):
        problems.append(f"{path}: got {shown(value)}, expected an object with {', '.join(names)} [{unit}]")
        return np.zeros(len(names))
    unknown_fields(problems, f"{path}.", value, names)
    problems += [f"{path}.{name}: missing, expected a number [{unit}]" for name in names if name not in value]
    read = [
        number(problems, f"{path}.{name}", value[name], low=0.0, high=high, unit=unit) if name in value else None
        for name in names
    ]
    return np.array([0.0 if one is None else one for one in read])

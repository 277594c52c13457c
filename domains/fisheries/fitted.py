"""From a user's folder to a scenario file: what is to be estimated, and what was found in the units of both sides."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from interlock.core.errors import BadInput
from interlock.domains.fisheries.fitting import NAMES, Fit, Task, at_bounds
from interlock.domains.fisheries.fitting_bootstrap import Bootstrap, intervals
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.scenario import FisheriesScenario, FoodWeb, OneSpecies
from interlock.domains.fisheries.userdata import HISTORY, PARAMS, SPECIES, UserData
from interlock.domains.fisheries.userdata_series import History

LEAST_RATE = 0.05
"""A trend takes no growth rate below this share of its last value."""

MOST_NOISE = 1.0
"""Yearly noise, as a share of the stock, beyond which a model says nothing of the next year."""

_RECENT = 10
"""Years whose survey errors stand for those to come."""

_UNITS = {
    "r": "1/year",
    "K": "t",
    "trend": "1/year per year",
    "sigma": "share of stock",
    "d_z": "1/year",
    "b": "1/year",
}
_UNITS_ONE = {**_UNITS, "beta": "K/year", "c": "K"}
_UNITS_WEB = {**_UNITS, "beta": "1/year", "c": "K", "c_xy": "1/year", "d": "1"}
_RULES_ONE = [
    "constant_mortality", "constant_mortality_safe", "constant_escapement", "precautionary", "constant_mortality_80",
    "f_msy", "myopic", "no_harvest", "optimum", "optimum_stationary",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as it is told to the user.

    Attributes:
        name: ``r``, ``K_x``, ``sigma_x``, ...
        value: in ``unit``.
        unit: of the value.
        how: ``estimated``, ``given`` or ``assumed``.
        low: lower end of the interval, NaN where it was not estimated.
        high: upper end.
    """

    name: str
    value: float
    unit: str
    how: str
    low: float = math.nan
    high: float = math.nan


def model_kind(data: UserData) -> str:
    """Kind of the model of a user's species."""
    return "one_species" if len(data.species) == 1 else "food_web"


def each(name: str, role: str, kind: str) -> str:
    """Name of a species' parameter in the model: ``r`` of ``x`` in a food web is ``r_x``."""
    return name if kind == "one_species" else f"{name}_{role}"


def task_of(data: UserData, history: History, *, grazer: bool, drift: bool) -> Task:
    """What is estimated: everything that ``params.yaml`` does not hold fixed.

    Args:
        data: of the user.
        history: of the same.
        grazer: also beta and c; otherwise one species has no grazers, and a food web has the model's own.
        drift: also a trend of r, or of r_x.
    """
    kind, largest = model_kind(data), np.nanmax(history.biomass, axis=0)
    unit = np.array(
        [
            predator_unit(data, history) if one.role == "z" else size
            for one, size in zip(data.species, largest, strict=True)
        ]
    )
    fixed = dict(data.params.whole)
    if not drift:
        fixed["trend"] = 0.0
    if not grazer:
        fixed.setdefault("beta", 0.0 if kind == "one_species" else FoodWeb(kind="food_web").beta)
        fixed.setdefault("c", OneSpecies().c if kind == "one_species" else FoodWeb(kind="food_web").c)
    elif fixed.get("beta") == 0:
        fixed.setdefault("c", OneSpecies().c)  # without grazers, it means nothing
    for one, size in zip(data.species, unit, strict=True):
        known = data.params.species.get(one.name, {})
        if one.role != "z":
            fixed |= {each("r", one.role, kind): known["r"]} if "r" in known else {}
            fixed |= {each("K", one.role, kind): known["K"] / size} if "K" in known else {}
    return Task(kind, tuple(name for name in NAMES[kind] if name not in fixed), fixed, unit)


def predator_unit(data: UserData, history: History) -> float:
    """Biomass of the predator that is one stock unit: its K where the user tells one, else its mean, t."""
    predator = data.species[-1]
    told = data.params.species.get(predator.name, {}).get("K", predator.capacity)
    return float(history.biomass[:, -1].mean()) if math.isnan(told) else told


def tonnes_of(data: UserData, found: Fit) -> Array:
    """Tonnes of a stock unit of each species: K of the prey."""
    names = [each("K", one.role, found.task.kind) for one in data.species]
    return np.array([found.values.get(name, 1.0) for name in names]) * found.task.unit


def told(data: UserData, found: Fit, drawn: Bootstrap | None) -> list[Parameter]:
    """All parameters with their intervals, in the units of the user."""
    kind, ends = found.task.kind, intervals(found, drawn) if drawn is not None else {}
    units = _UNITS_ONE if kind == "one_species" else _UNITS_WEB
    given = set(data.params.whole) | {
        each(name, one.role, kind) for one in data.species for name in data.params.species.get(one.name, {})
    }
    scale = {each("K", one.role, kind): size for one, size in zip(data.species, found.task.unit, strict=True)}
    rows = []
    for name in NAMES[kind]:
        idle = name == "trend" or (name == "c" and found.values["beta"] == 0)
        if idle and name not in found.task.free:
            continue
        size, how = (
            scale.get(name, 1.0),
            "estimated" if name in found.task.free else "given" if name in given else "assumed",
        )
        low, high = ends.get(name, (math.nan, math.nan))
        unit = units.get(name) or units[name.partition("_")[0]]
        rows.append(Parameter(name, found.values[name] * size, unit, how, low * size, high * size))
    for place, one in enumerate(data.species):
        name, sigma = each("sigma", one.role, kind), data.params.species.get(one.name, {}).get("sigma")
        low, high = ends.get(f"sigma_{place}", (math.nan, math.nan))
        if sigma is None:
            rows.append(Parameter(name, float(found.sigma[place]), units["sigma"], "estimated", low, high))
        else:
            rows.append(Parameter(name, sigma, units["sigma"], "given"))
    return rows


def fitted_values(data: UserData, history: History, found: Fit) -> dict[str, Any]:
    """The scenario of an estimate: it begins with the last year of the history.

    Raises:
        BadInput: limits and stocks do not make a fishery, the trend ends in no growth, or noise is all that is left.
    """
    _check_noise(data, found)
    kind, tonnes, elapsed = found.task.kind, tonnes_of(data, found), len(history.years) - 1
    model = {name: value for name, value in found.values.items() if not name.startswith("K") and name != "trend"}
    for place, one in enumerate(data.species):
        given = data.params.species.get(one.name, {}).get("sigma")
        model[each("sigma", one.role, kind)] = float(found.sigma[place]) if given is None else given
    drift: dict[str, Any] = {}
    if "trend" in found.task.free:
        rate = "r" if kind == "one_species" else "r_x"
        model[rate] += found.values["trend"] * elapsed
        drift = _drift(rate, model[rate], found.values["trend"], elapsed, int(history.years[-1]))
    last = history.biomass[-1].copy()
    for place, one in enumerate(data.species):
        last[place] = data.params.species.get(one.name, {}).get("initial", last[place])
    loose = [name for name in at_bounds(found) if name.startswith("K")]
    hint = f"; {', '.join(loose)} is as large as it may be, so the data do not tell it: tell it in {PARAMS}"
    values = _values(data, kind, model, tonnes, last / tonnes, hint if loose else "")
    values |= drift
    cv = float(np.sqrt((history.cv[-_RECENT:] ** 2).mean()))
    if cv > 0:
        values["observed"] = {"cv": _rounded(cv)}
        values["initial_sd"] = _rounded(float(np.sqrt(((history.cv[-1] * last / tonnes) ** 2).mean())))
    return values


def _check_noise(data: UserData, found: Fit) -> None:
    problems = [
        f"species {one.name}: sigma, the noise of a year, is estimated to be {sigma:.3g} times the stock; expected at "
        f"most {MOST_NOISE:g}: no growth explains this series. Are some of its years in kg? (where all are right, tell "
        f"sigma in {PARAMS})"
        for one, sigma in zip(data.species, found.sigma, strict=True)
        if sigma > MOST_NOISE and "sigma" not in data.params.species.get(one.name, {})
    ]
    if problems:
        raise BadInput(HISTORY, problems)


def noise_notes(data: UserData, found: Fit, ends: Mapping[str, tuple[float, float]]) -> list[str]:
    """Warnings of noise that may be larger than the stock; bounds keep all other parameters within reason.

    Args:
        data: of the user.
        found: the estimate.
        ends: intervals by name of the parameter.
    """
    notes = []
    for one, sigma in zip(data.species, found.sigma, strict=True):
        name = each("sigma", one.role, found.task.kind)
        largest = max(sigma, ends.get(name, (math.nan, -math.inf))[1])
        if largest > MOST_NOISE:
            notes.append(
                f"WARNING: {name} of {one.name} may be as large as {largest:.3g} times the stock: the history tells "
                "next to nothing of this species; check its units before you use the scenario"
            )
    return notes


def known_values(data: UserData) -> tuple[dict[str, Any], list[Parameter]]:
    """The scenario of ``params.yaml`` and ``species.csv`` alone, and its parameters.

    Raises:
        BadInput: limits and stocks do not make a fishery.
    """
    kind = model_kind(data)
    schema = OneSpecies() if kind == "one_species" else FoodWeb(kind="food_web")
    units = _UNITS_ONE if kind == "one_species" else _UNITS_WEB
    model, rows, tonnes, initial = dict(data.params.whole), [], [], []
    for one in data.species:
        own = data.params.species.get(one.name, {})
        tonnes.append(own.get("K", one.capacity))
        initial.append(own["initial"] / tonnes[-1])
        if one.role != "z":
            model[each("r", one.role, kind)] = own.get("r", one.rate)
            rows.append(Parameter(each("K", one.role, kind), tonnes[-1], "t", "given"))
        if "sigma" in own:
            model[each("sigma", one.role, kind)] = own["sigma"]
    for name in type(schema).model_fields:
        if isinstance(getattr(schema, name), float) and not name.startswith("k"):
            how = "given" if name in model else "assumed"
            model.setdefault(name, getattr(schema, name))
            rows.append(Parameter(name, model[name], units.get(name) or units[name.partition("_")[0]], how))
    return _values(data, kind, model, np.array(tonnes), np.array(initial)), rows


def _drift(rate: str, value: float, trend: float, elapsed: int, year: int) -> dict[str, Any]:
    if value <= 0:
        raise BadInput(
            "trend", [f"{rate} falls to {value:.3g} 1/year in {year}; expected above 0: fit without a trend"]
        )
    # Nobody knows how a trend goes on; here for as long as it was seen, then no further.
    end = max(value + trend * elapsed, LEAST_RATE * value)
    stop = {"at_least" if trend < 0 else "at_most": _rounded(end)}
    return {"drift": [{"parameter": rate, "per_year": _rounded(trend), "unit": "own", **stop}]}


def _values(
    data: UserData, kind: str, model: Mapping[str, float], tonnes: Array, initial: Array, hint: str = ""
) -> dict[str, Any]:
    """What every scenario of a user holds, in stock units."""
    level = float(np.max([one.limit for one in data.species] / tonnes))
    problems = [
        f"species {one.name}: its first stock, {stock * size:,.0f} t or {stock:.3g} of its stock unit, is at or below "
        f"{level:.3g}, the largest limit_biomass per stock unit of all species: the collapse level of the model{hint}"
        for one, stock, size in zip(data.species, initial, tonnes, strict=True)
        if stock <= level
    ]
    if problems:
        raise BadInput(SPECIES, problems)
    caught = [(one, size) for one, size in zip(data.species, tonnes, strict=True) if one.harvested]
    worth = [one.price * size for one, size in caught]
    first = next(value for value in worth if value > 0)
    values: dict[str, Any] = {
        "model": {"kind": kind, **{name: _rounded(value) for name, value in model.items()}},
        "harvested": [one.role for one, _ in caught],
        "initial": [_rounded(stock) for stock in initial],
        "tonnes": [_rounded(size) for size in tonnes],
        "collapse_level": _rounded(level),
        "low_level": _rounded(2 * level),
    }
    if kind == "one_species":
        values["baselines"] = _RULES_ONE
    if any(value != first for value in worth):
        values["prices"] = [_rounded(value / first) for value in worth]
    return values


def notes_of(data: UserData, tonnes: Array) -> list[str]:
    """What a reader of the scenario should know about its limits and money."""
    limits = np.array([one.limit for one in data.species]) / tonnes
    lower = [
        f"{one.name} {limit:.3g}"
        for one, limit in zip(data.species, limits, strict=True)
        if limit < 0.99 * limits.max()
    ]
    notes = []
    if lower:
        notes.append(
            f"the model has one collapse level for all species, {limits.max():.3g} stock units, the highest limit; "
            f"lower are those of {', '.join(lower)}"
        )
    one, size = next((one, size) for one, size in zip(data.species, tonnes, strict=True) if one.price > 0)
    notes.append(f"a reward of 1 is worth {one.price * size:,.0f} (price x tonnes of a stock unit of {one.name})")
    return notes


def scenario_text(name: str, values: Mapping[str, Any], comments: Sequence[str]) -> str:
    """The scenario as a file, checked as one.

    Raises:
        BadInput: the values are not a scenario.
    """
    from pydantic import ValidationError

    try:
        FisheriesScenario.model_validate({"domain": "fisheries", "name": name, **values})
    except ValidationError as error:
        raise BadInput(
            f"the scenario of {PARAMS} and {SPECIES}",
            [one["msg"].removeprefix("Value error, ") for one in error.errors()],
        ) from error
    head = "".join(f"# {' '.join(comment.split())}\n" for comment in comments)
    return head + yaml.safe_dump(dict(values), sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")

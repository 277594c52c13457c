"""``params.yaml``: parameters of the model that a user knows.

    model: food_web          # or one_species; may be left out
    parameters:              # of the model as a whole
      beta: 0.3
      c: 0.3
    species:                 # of each species, by its name in species.csv
      cod: {r: 0.8, K: 120000, sigma: 0.1, initial: 60000}

Units: ``K`` and ``initial`` (the stock in year 0; beside a history, in place of its last biomass) are in t; ``r`` and
``d_z`` in 1/year; ``sigma``, the standard deviation of yearly noise, is a share of the stock. All other parameters are
in the units of the model, in which the K of each species is 1: one species with ``c: 0.1`` has its grazers half
satisfied at a tenth of K, and ``beta: 0.23`` takes at most 0.23 K a year. For the predator of a food web, K is the
biomass that counts as one stock unit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from interlock.domains.fisheries.userdata_species import Species
from interlock.domains.fisheries.userdata_table import near, number, read_text

WHOLE: Mapping[str, tuple[str, ...]] = {
    "one_species": ("beta", "c"),
    "food_web": ("beta", "c", "c_xy", "b", "d", "d_z"),
}
"""Parameters of a model as a whole."""

EACH = {"r": "1/year above 0", "K": "t above 0", "sigma": "share of the stock, at least 0", "initial": "t above 0"}
"""Parameters of a species, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Params:
    """What ``params.yaml`` tells.

    Attributes:
        whole: parameters of the model as a whole, in its units.
        species: parameters of each species, by its name: those of ``EACH``.
    """

    whole: Mapping[str, float] = field(default_factory=dict)
    species: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def read_params(path: Path, species: Sequence[Species], problems: list[str], notes: list[str]) -> Params:
    """Read and check the file.

    Args:
        path: of the file, which is there.
        species: of the user, in the order of the model; none where they could not be read.
        problems: where problems are noted.
        notes: where it is noted what a reader should know.
    """
    values = _load(path, problems)
    file, kind = path.name, "one_species" if len(species) == 1 else "food_web"
    for name in values:
        if name not in ("model", "parameters", "species"):
            problems.append(f"{file}: unknown key {name!r}{near(str(name), ('model', 'parameters', 'species'))}")
    if values.get("model", kind) not in WHOLE:
        problems.append(f"{file}: model: {values['model']!r}{near(str(values['model']), tuple(WHOLE))}")
    elif species and values.get("model", kind) != kind:
        problems.append(f"{file}: model: {values['model']}, but species.csv lists {len(species)} species: {kind}")
    whole = _whole(file, _mapping(file, "parameters", values.get("parameters"), problems), kind, problems)
    each = {}
    for name, own in _mapping(file, "species", values.get("species"), problems).items():
        known = {one.name: one for one in species}
        if species and name not in known:
            problems.append(f"{file}: unknown species {name!r}{near(str(name), tuple(known))}")
        inner = _mapping(file, f"species: {name}", own, problems)
        each[str(name)] = _each(file, str(name), inner, known.get(name), problems)
    for one in species:
        if one.role == "z" and not math.isnan(one.rate):
            notes.append(f"species.csv: r of {one.name} is not used: a predator grows by what it eats")
    return Params(whole, each)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                mark = node.value[place][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", mark)
        return super().construct_mapping(node, deep)


def _load(path: Path, problems: list[str]) -> dict[Any, Any]:
    text = read_text(path, problems)
    if text is None:
        return {}
    try:
        values = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        problems.append(f"{path.name}: not YAML: {' '.join(str(error).split())}")
        return {}
    return _mapping(path.name, "", values, problems)


def _mapping(file: str, where: str, value: Any, problems: list[str]) -> dict[Any, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    problems.append(f"{file}{f': {where}' if where else ''}: {value!r}, expected names with values")
    return {}


def _whole(file: str, values: Mapping[Any, Any], kind: str, problems: list[str]) -> dict[str, float]:
    found = {}
    for name, value in values.items():
        if name in WHOLE[kind]:
            found[name] = _checked(file, f"parameters: {name}", value, "at least 0", problems)
        elif str(name).partition("_")[0].lower() in ("r", "k", "sigma"):
            problems.append(f"{file}: parameters: {name} is of a species; tell it under species, by name")
        else:
            problems.append(f"{file}: parameters: unknown parameter {name!r}{near(str(name), WHOLE[kind])}")
    if found.get("c") == 0 and found.get("beta") != 0:
        beta = found.get("beta")
        shown = "is not told, and so above 0" if beta is None else f"is {beta:g}"
        problems.append(f"{file}: parameters: c: 0 while beta {shown}; expected above 0 (shares of K)")
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _each(
    file: str, species: str, values: Mapping[Any, Any], one: Species | None, problems: list[str]
) -> dict[str, float]:
    found = {}
    for name, value in values.items():
        where = f"species: {species}: {name}"
        if name not in EACH:
            problems.append(f"{file}: species: {species}: unknown parameter {name!r}{near(str(name), tuple(EACH))}")
            continue
        if name == "r" and one is not None and one.role == "z":
            problems.append(f"{file}: {where}: a predator has no r; it grows by b and d_z of parameters")
            continue
        found[name] = _checked(file, where, value, EACH[name], problems)
        other = {"K": one.capacity, "r": one.rate}.get(name, math.nan) if one is not None else math.nan
        if not math.isnan(other) and not math.isnan(found[name]) and found[name] != other:
            problems.append(f"{file}: {where}: {value!r}, but species.csv says {other:g}; expected one of them")
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _checked(file: str, where: str, value: Any, allowed: str, problems: list[str]) -> float:
    """A finite number within what is allowed; NaN where it is not, which is noted."""
    # YAML takes 1e5 for text.
    text = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    found = number(text)
    if found > 0 or (found == 0 and "above 0" not in allowed):
        return found
    problems.append(f"{file}: {where}: {value!r}, expected a number: {allowed}")
    return math.nan

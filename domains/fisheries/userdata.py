"""Users' own fisheries: a folder of two tables and a file of parameters, checked together, all problems told at once.

* ``species.csv``: ``species``, ``harvested`` (true or false), ``limit_biomass`` (t), ``price`` (currency/t, needed
  where harvested); where they are known ``K`` (t) and ``r`` (1/year); in a food web of three optionally ``role``:
  ``x`` and ``y`` the competing prey, ``z`` the predator. Without roles, two harvested species are the prey, in the
  order of the file, and the one that is not harvested is their predator.
* ``stock_history.csv``: ``year``, ``species``, ``biomass`` at the beginning of the year (t), ``catch`` of the year (t;
  may be empty in the last year), optionally ``biomass_cv`` (standard deviation of the relative error of the survey).
* ``params.yaml``: parameters that are known, see ``userdata_params``. With a history they are held fixed in a fit;
  without one they are the scenario.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.core.errors import BadInput
from interlock.domains.fisheries.userdata_params import Params, read_params
from interlock.domains.fisheries.userdata_series import History, read_history
from interlock.domains.fisheries.userdata_species import Species, read_species
from interlock.domains.fisheries.userdata_table import read_table

SPECIES, HISTORY, PARAMS = "species.csv", "stock_history.csv", "params.yaml"


@dataclass(frozen=True, slots=True)
class UserData:
    """What a folder holds.

    Attributes:
        species: in the order of the model: ``x``, or ``x, y, z``.
        history: stocks and catches; ``None`` where there is no such file.
        params: what is known beforehand.
        notes: what a reader should know, one sentence each.
    """

    species: tuple[Species, ...]
    history: History | None
    params: Params
    notes: tuple[str, ...]


def read_folder(folder: Path) -> UserData:
    """Read and check a folder.

    Raises:
        BadInput: listing every problem of every file: file, row, year, species, column, unit, what was expected.
    """
    if not folder.is_dir():
        raise BadInput(str(folder), ["is a file; expected a folder" if folder.exists() else "no such folder"])
    problems: list[str] = []
    notes: list[str] = []
    has = {name: (folder / name).is_file() for name in (SPECIES, HISTORY, PARAMS)}
    _check_files(folder, has, problems)
    species: list[Species] = []
    table = None
    if has[SPECIES]:
        required, optional = ("species", "harvested", "limit_biomass", "price"), ("k", "r", "role")
        table = read_table(folder / SPECIES, problems, notes, required=required, optional=optional)
    if table is not None:
        species = read_species(table, problems)
    names = [one.name for one in species]
    params = read_params(folder / PARAMS, species, problems, notes) if has[PARAMS] else Params()
    capacities = {one.name: _known(one, params) for one in species}
    history = None
    if has[HISTORY]:
        limits = {one.name: one.limit for one in species}
        history = read_history(folder / HISTORY, names, capacities, limits, problems, notes)
    elif has[PARAMS]:
        _check_complete(species, params, capacities, problems)
    _check_limits(species, history, params, capacities, problems)
    if problems or table is None:
        raise BadInput(str(folder), problems)
    return UserData(tuple(species), history, params, tuple(notes))


def _known(one: Species, params: Params) -> float:
    """K of a species from either file, NaN where neither knows it."""
    return params.species.get(one.name, {}).get("K", one.capacity)


def _check_files(folder: Path, has: dict[str, bool], problems: list[str]) -> None:
    others = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in has)
    for name, there in has.items():
        close = difflib.get_close_matches(name, others, n=1, cutoff=0.8)
        if not there and close:
            problems.append(f"{name}: no such file; did you mean to name {close[0]} so?")
        elif name == SPECIES and not there:
            problems.append(f"{name}: no such file; expected columns species, harvested, limit_biomass, price")
    if not has[HISTORY] and not has[PARAMS]:
        problems.append(f"{HISTORY}: no such file, and no {PARAMS} either; one of them must tell about the stocks")


# ---------------------------------------------------------------------------------------------- all files together


def _check_complete(
    species: Sequence[Species], params: Params, capacities: dict[str, float], problems: list[str]
) -> None:
    """Without a history, K, the first stock and r of every species must be told."""
    for one in species:
        known = params.species.get(one.name, {})
        needed = {"K": capacities[one.name], "initial": known.get("initial", math.nan)}
        if one.role != "z":
            needed["r"] = known.get("r", one.rate)
        for name, value in needed.items():
            if math.isnan(value):
                unit = "1/year" if name == "r" else "t"
                where = PARAMS if name == "initial" else f"{PARAMS} or {SPECIES}"
                problems.append(
                    f"{PARAMS}: species {one.name}: no {name}; without {HISTORY} it must be told in {where}, in {unit}"
                )


def _check_limits(
    species: Sequence[Species],
    history: History | None,
    params: Params,
    capacities: dict[str, float],
    problems: list[str],
) -> None:
    """The limit of every species must lie below its first stock and its K."""
    for place, one in enumerate(species):
        about = f"{SPECIES} row {one.row}, species {one.name}, limit_biomass: {one.limit:g} t is"
        first, what = params.species.get(one.name, {}).get("initial", math.nan), f"the initial stock of {PARAMS}"
        if history is not None and history.biomass.size and math.isnan(first):
            first, what = float(history.biomass[-1, place]), f"the last biomass, that of year {history.years[-1]}"
        if one.limit >= first:
            problems.append(f"{about} at or above {what}, {first:g} t: the episode would end at once")
        elif one.limit >= capacities[one.name]:
            problems.append(f"{about} at or above K, {capacities[one.name]:g} t; expected below it")

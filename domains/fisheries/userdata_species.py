"""``species.csv``: which species there are, which are caught, their limits, prices and parts in the model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from interlock.domains.fisheries.userdata_table import Table

ROLES = ("x", "y", "z")
"""Species of the food web: two prey and their predator."""

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Species:
    """A row of ``species.csv``.

    Attributes:
        name: as the user calls it.
        role: in the model.
        harvested: whether it is caught.
        limit: biomass at or below which it counts as collapsed, t.
        price: currency/t; 0 where it is not harvested.
        capacity: K, t; NaN where it is not known. Of a predator, the biomass that counts as one stock unit.
        rate: r, 1/year; NaN where it is not known.
        row: of the file.
    """

    name: str
    role: str
    harvested: bool
    limit: float
    price: float
    capacity: float
    rate: float
    row: int


def read_species(table: Table, problems: list[str]) -> list[Species]:
    """The species in the order of the model; notes everything that is wrong with them."""
    found = [_one_species(table, k) for k in range(len(table))]
    names = [one.name for one in found]
    for k, name in enumerate(names):
        if not name:
            table.wrong(k, "species", "a name")
        elif names.index(name) < k:
            table.problem(k, f"species: {name!r} is already in row {found[names.index(name)].row}")
    caught = [one for one in found if one.harvested]
    if len(found) not in (1, 3) and found:
        problems.append(f"{table.file}: {len(found)} species; expected one, or a food web of three")
    if "harvested" in table.columns and not 1 <= len(caught) <= 2 and found:
        problems.append(f"{table.file}: {len(caught)} harvested species; expected one or two")
    if caught and "price" in table.columns and not any(one.price != 0 for one in caught):
        problems.append(f"{table.file}, price: 0 for all harvested species; expected one above 0, in currency/t")
    roles = _roles(table, found, problems)
    ordered = sorted(zip(roles, found, strict=True), key=lambda pair: pair[0])
    return [replace(one, role=role) for role, one in ordered if one.name]


def _one_species(table: Table, k: int) -> Species:
    name = table.text("species", k)
    about = f"species {name}, " if name else ""
    truth = _TRUTH.get(table.text("harvested", k).lower())
    if truth is None and "harvested" in table.columns:
        table.wrong(k, "harvested", "true or false", about)
    return Species(
        name=name,
        role=table.text("role", k).lower(),
        harvested=bool(truth),
        limit=_number(table, k, "limit_biomass", "t, at least 0", about),
        price=_number(table, k, "price", "currency/t, at least 0", about, blank=None if truth else 0.0),
        capacity=_number(table, k, "k", "t above 0 (carrying capacity K)", about, above=True, blank=math.nan),
        rate=_number(table, k, "r", "1/year above 0 (growth rate r)", about, above=True, blank=math.nan),
        row=table.rows[k],
    )


def _number(
    table: Table, k: int, column: str, unit: str, about: str, *, above: bool = False, blank: float | None = None
) -> float:
    """A value of at least (or above) 0, or ``blank`` where it may be empty; NaN where it is wrong, which is noted."""
    if column not in table.columns:
        return math.nan if blank is None else blank
    if table.text(column, k) == "" and blank is not None:
        return blank
    value = table.number(column, k)
    if value > 0 or (value == 0 and not above):
        return value
    table.wrong(k, column, f"a number of {unit}", about)
    return math.nan


def _roles(table: Table, found: Sequence[Species], problems: list[str]) -> list[str]:
    """The role of every species: as the file says, or the prey before the predator."""
    given = [one.role for one in found]
    if len(found) != len(ROLES):
        for k, role in enumerate(given):
            if role not in ("", "x") and len(found) == 1:
                table.wrong(k, "role", "x, the only species there is")
        return ["x"] * len(found)
    if any(given):
        for k, role in enumerate(given):
            if role not in ROLES:
                table.wrong(k, "role", "x or y (competing prey) or z (predator)")
            elif given.index(role) < k:
                table.problem(k, f"role: {role!r} is already in row {found[given.index(role)].row}")
        return given
    caught = [one.harvested for one in found]
    if sum(caught) != 2:
        listed = ", ".join(one.name for one in found)
        problems.append(
            f"{table.file}: which of {listed} is the predator? Expected a column role with x and y for the competing "
            "prey and z for their predator (it may be left out where the prey are harvested and the predator is not)"
        )
        return ["x", "y", "z"]
    prey = iter("xy")
    return [next(prey) if harvested else "z" for harvested in caught]

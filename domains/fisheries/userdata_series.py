"""``stock_history.csv``: biomass and catch of every species and year, checked row by row and as series."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.userdata_table import Table, near, read_table

SHORTEST = 10
"""Years that a fit needs at least."""

KILOGRAMS = 1000.0
"""A biomass beyond so many times the carrying capacity is in another unit."""

SUSPECT = 20.0
"""So is a series whose median is beyond so many: in kg, a stock at half of its capacity is 500 times as large."""

_FIRST_YEAR, _LAST_YEAR = 1000, 2999


@dataclass(frozen=True, slots=True)
class History:
    """Stocks and catches of consecutive years.

    Attributes:
        years: int ``(T,)``.
        biomass: ``(T, species)``, at the beginning of the year, t.
        catch: ``(T, species)``, of the year, t; NaN in the last year where it is not known yet.
        cv: ``(T, species)``, standard deviation of the relative error of biomass; 0 where nothing is said about it.
    """

    years: Array
    biomass: Array
    catch: Array
    cv: Array


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the file as numbers, NaN where they are wrong or missing."""

    k: int
    species: str
    year: float
    biomass: float
    catch: float
    cv: float


def read_history(
    path: Path,
    species: Sequence[str],
    capacities: Mapping[str, float],
    limits: Mapping[str, float],
    problems: list[str],
    notes: list[str],
) -> History | None:
    """Read and check the history.

    Args:
        path: of the file.
        species: names in the order of the model; none where they could not be read.
        capacities: K of each species, t; NaN where it is not known.
        limits: limit biomass of each species, t.
        problems: where problems are noted.
        notes: where it is noted what a reader should know.

    Returns:
        The history; ``None`` if anything is wrong with it.
    """
    table = read_table(
        path, problems, notes, required=("year", "species", "biomass", "catch"), optional=("biomass_cv",)
    )
    if table is None:
        return None
    before = len(problems)
    rows = [_read_row(table, k) for k in range(len(table))]
    _check_names(table, species)
    series = {name: [row for row in rows if row.species == name] for name in species}
    for name, own in series.items():
        if not own:
            problems.append(f"{table.file}: no row of species {name}, which species.csv lists")
        else:
            _check_years(table, name, own)
            _check_unit(table, name, own, capacities[name], limits[name])
    _check_catches(table, rows, series)
    _check_same_years(table, series)
    if len(problems) > before or not species or any(name not in table.columns for name in ("year", "biomass")):
        return None
    return _arrays(table, [sorted(series[name], key=lambda row: row.year) for name in species], notes)


def _check_names(table: Table, known: Sequence[str]) -> None:
    """Every unknown name is told once, however many rows have it."""
    names = [table.text("species", k) for k in range(len(table))]
    for name in dict.fromkeys(names):
        if known and name and name not in known:
            count = names.count(name)
            often = f" ({count} rows, the first of them here)" if count > 1 else ""
            table.problem(names.index(name), f"species: {name!r} is not in species.csv{often}{near(name, known)}")


def _read_row(table: Table, k: int) -> _Row:
    species, year = table.text("species", k), table.number("year", k)
    if not (_FIRST_YEAR <= year <= _LAST_YEAR and year == int(year)):
        if "year" in table.columns:
            expected = f"a whole number from {_FIRST_YEAR} to {_LAST_YEAR}"
            table.wrong(k, "year", expected, f"species {species}, " if species else "")
        year = math.nan
    about = f"{'' if math.isnan(year) else f'year {year:.0f}, '}{f'species {species}, ' if species else ''}"
    if "species" in table.columns and not species:
        table.wrong(k, "species", "a name of species.csv", about)
    biomass = table.number("biomass", k)
    if "biomass" in table.columns and not biomass > 0:
        table.wrong(k, "biomass", "t above 0", about)
        biomass = math.nan
    catch = table.number("catch", k)
    if table.text("catch", k) and not catch >= 0:
        table.wrong(k, "catch", "t, at least 0", about)
        catch = -1.0  # told, and not missing
    if catch >= biomass:
        what = "the whole biomass: nothing is left to grow" if catch == biomass else "more than the biomass"
        hint = "; is it in kg?" if catch > KILOGRAMS / 10 * biomass else ""
        table.problem(k, f"{about}catch: {catch:g} t of {biomass:g} t is {what}; expected less{hint}")
    return _Row(k, species, year, biomass, catch, _read_cv(table, k, about))


def _read_cv(table: Table, k: int, about: str) -> float:
    if table.text("biomass_cv", k) == "":
        return math.nan
    cv = table.number("biomass_cv", k)
    if 0 <= cv < 1:
        return cv
    percent = f" ({cv:g} % is {cv / 100:g})" if 1 <= cv <= 100 else ""
    table.wrong(k, "biomass_cv", f"a share of the biomass from 0 to below 1{percent}", about)
    return math.nan


def _check_years(table: Table, name: str, rows: Sequence[_Row]) -> None:
    """The years of a species must follow one another, each once, and be enough."""
    years = [int(row.year) for row in rows if not math.isnan(row.year)]
    if not years:
        return
    twice = sorted({year for year in years if years.count(year) > 1})
    missing = sorted(set(range(min(years), max(years) + 1)) - set(years))
    about = f"{table.file}, species {name}: "
    if twice:
        where = [str(table.rows[row.k]) for row in rows if row.year in twice]
        table.problems.append(f"{about}duplicated years {_list(twice)} (rows {_list(where)}); expected each year once")
    if missing:
        table.problems.append(f"{about}missing years {_list(missing)}; expected every year from first to last")
    if len(set(years)) < SHORTEST:
        table.problems.append(f"{about}{len(set(years))} years; a fit needs at least {SHORTEST}")


def _check_unit(table: Table, name: str, rows: Sequence[_Row], capacity: float, limit: float) -> None:
    """Biomass beyond any reason: in kg instead of t?"""
    biomass = np.array([row.biomass for row in rows if not math.isnan(row.biomass)])
    if not biomass.size:
        return
    yardsticks = {"K": capacity, "limit_biomass": limit, "the median of the series": float(np.median(biomass))}
    if not math.isnan(capacity):
        del yardsticks["limit_biomass"]
    middle = yardsticks["the median of the series"]
    if middle > SUSPECT * capacity:
        table.problems.append(
            f"{table.file}, species {name}, biomass: the median of the series, {middle:g} t, is "
            f"{middle / capacity:,.0f} times K, {capacity:g} t: is it in kg? expected t, as K (where it is right, K is "
            "not)"
        )
        return
    for what, size in yardsticks.items():
        beyond = [row for row in rows if size > 0 and row.biomass > KILOGRAMS * size]
        if beyond:
            largest = max(beyond, key=lambda row: row.biomass)
            table.problems.append(
                f"{table.file} row {table.rows[largest.k]}, year {largest.year:.0f}, species {name}, biomass: "
                f"{largest.biomass:g} t is {largest.biomass / size:,.0f} times {what}, {size:g} t"
                f"{f', and so are {len(beyond) - 1} others' if len(beyond) > 1 else ''}: is it in kg? expected t"
                f"{'' if what == 'K' else ' (where it is right, tell K in species.csv)'}"
            )
            return


def _check_catches(table: Table, rows: Sequence[_Row], series: Mapping[str, Sequence[_Row]]) -> None:
    """Catches may be missing in the last year only: all others are needed to tell growth from harvest."""
    if "catch" not in table.columns:
        return
    last = {name: max((row.year for row in own), default=math.nan) for name, own in series.items()}
    for row in rows:
        if math.isnan(row.catch) and row.species in last and row.year < last[row.species]:
            about = f"year {row.year:.0f}, species {row.species}, "
            table.wrong(row.k, "catch", "t, at least 0 (only the last year's may be empty)", about)


def _check_same_years(table: Table, series: Mapping[str, Sequence[_Row]]) -> None:
    """In a food web every species is needed in every year."""
    spans = {}
    for name, rows in series.items():
        years = [int(row.year) for row in rows if not math.isnan(row.year)]
        if years:
            spans[name] = (min(years), max(years))
    if len(set(spans.values())) > 1:
        listed = ", ".join(f"{name} {first}-{last}" for name, (first, last) in spans.items())
        table.problems.append(f"{table.file}: {listed}; expected the same years of every species")


def _arrays(table: Table, series: Sequence[Sequence[_Row]], notes: list[str]) -> History:
    columns = {
        what: np.array([[getattr(row, what) for row in rows] for rows in series]).T
        for what in ("biomass", "catch", "cv")
    }
    cv = columns["cv"]
    for place, rows in enumerate(series):
        blank = np.isnan(cv[:, place])
        if blank.any() and not blank.all():
            cv[blank, place] = np.median(cv[~blank, place])
            notes.append(
                f"{table.file}, species {rows[0].species}: biomass_cv is empty in {blank.sum()} years; taken to be "
                f"{cv[blank, place][0]:g}, the median of the others"
            )
    years = np.array([int(row.year) for row in series[0]])
    return History(years, columns["biomass"], columns["catch"], np.nan_to_num(cv))


def _list(values: Sequence[object]) -> str:
    """Values with commas, the first twelve of them."""
    return ", ".join(str(value) for value in values[:12]) + (f", ... ({len(values)})" if len(values) > 12 else "")

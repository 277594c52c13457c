"""Users' own fisheries: what is read, and every kind of bad input with its message and exit code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.domains.fisheries.userdata import read_folder

YEARS = range(2001, 2013)
SPECIES = "species,harvested,limit_biomass,price,K,r\ncod,true,6000,1500,120000,0.8\n"
HISTORY = "year,species,biomass,catch,biomass_cv\n" + "".join(
    f"{year},cod,{60000 + 1000 * (year % 7)},{6000 + 100 * (year % 3)},0.1\n" for year in YEARS
)
WEB_SPECIES = "species,harvested,limit_biomass,price\nseal,false,1000,\ncod,true,6000,1500\nherring,yes,4000,400\n"
WEB_HISTORY = "year,species,biomass,catch\n" + "".join(
    f"{year},{name},{size + 1000 * (year % 5)},{catch}\n"
    for year in YEARS
    for name, size, catch in (("cod", 60000, 6000), ("herring", 40000, 4000), ("seal", 20000, 0))
)
PARAMS = "species:\n  cod: {sigma: 0.1, initial: 60000}\nparameters: {beta: 0.2, c: 0.1}\n"

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Write:
    """Writes a folder; files are given as text, bytes, or ``None`` for none."""

    def write(
        species: str | bytes | None = SPECIES,
        history: str | bytes | None = HISTORY,
        params: str | bytes | None = None,
        **others: str,
    ) -> Path:
        contents = {"species.csv": species, "stock_history.csv": history, "params.yaml": params, **others}
        for name, content in contents.items():
            if content is not None:
                (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_folder(path)
    assert caught.value.exit_code == 3
    return "\n".join(caught.value.problems)


# ------------------------------------------------------------------------------------------ well-formed files


def test_one_species(folder: Write) -> None:
    data = read_folder(folder())
    cod = data.species[0]
    assert (cod.name, cod.role, cod.harvested, cod.limit, cod.price) == ("cod", "x", True, 6000, 1500)
    assert (cod.capacity, cod.rate) == (120000, 0.8)
    assert data.history is not None
    assert data.history.years.tolist() == list(YEARS)
    assert data.history.biomass[:2, 0].tolist() == [66000, 60000]
    assert data.history.catch[:2, 0].tolist() == [6000, 6100]
    assert (data.history.cv == 0.1).all()
    assert data.notes == ()


def test_a_web_is_brought_into_the_order_of_the_model(folder: Write) -> None:
    shuffled = WEB_HISTORY.splitlines()
    text = "\n".join([shuffled[0], *sorted(shuffled[1:], key=lambda line: line[::-1])])
    data = read_folder(folder(WEB_SPECIES, text))
    assert [(one.name, one.role) for one in data.species] == [("cod", "x"), ("herring", "y"), ("seal", "z")]
    assert data.history is not None
    assert data.history.biomass[0].tolist() == [61000, 41000, 21000]
    assert data.history.catch[0].tolist() == [6000, 4000, 0]
    assert (data.history.cv == 0).all()


def test_roles_may_be_told(folder: Write) -> None:
    species = "species,harvested,limit_biomass,price,role\nseal,false,1000,,z\ncod,true,6000,1,y\nherring,no,400,,x\n"
    data = read_folder(folder(species, WEB_HISTORY))
    assert [one.name for one in data.species] == ["herring", "cod", "seal"]


def test_last_catch_may_be_missing(folder: Write) -> None:
    data = read_folder(folder(history=HISTORY.replace("2012,cod,63000,6200", "2012,cod,63000,")))
    assert data.history is not None
    assert np.isnan(data.history.catch[-1, 0])
    assert not np.isnan(data.history.catch[:-1]).any()


def european(text: str) -> str:
    return text.replace(".", "@").replace(",", ";").replace("@", ",")


@pytest.mark.parametrize(
    ("species", "history"),
    [
        (b"\xef\xbb\xbf" + SPECIES.encode(), b"\xef\xbb\xbf" + HISTORY.encode()),
        (european(SPECIES), european(HISTORY)),
        (SPECIES.replace(",", "\t"), HISTORY.replace("\n", "\r\n")),
        (SPECIES.title(), HISTORY.replace(",", " , ").replace("\n", "\n\n").title()),
        (SPECIES, HISTORY.replace("6000,", "6e3,").replace("2001,", "2001.0,")),
    ],
    ids=["byte-order mark", "semicolons and decimal commas", "tabs and CRLF", "blanks and capitals", "exponents"],
)
def test_common_dialects_are_read_alike(folder: Write, species: str, history: str) -> None:
    read, plain = read_folder(folder(species, history)), read_folder(folder())
    assert read.history is not None
    assert plain.history is not None
    for name in ("years", "biomass", "catch", "cv"):
        np.testing.assert_array_equal(getattr(read.history, name), getattr(plain.history, name))
    assert read.species[0].rate == 0.8


def test_what_is_not_used_or_made_up_is_noted(folder: Write) -> None:
    history = european(HISTORY.replace("2003,cod,61000,6200,0.1", "2003,cod,61000,6200,"))
    history = history.replace("biomass_cv", "biomass_cv;vessel").replace("\n", ";A\n").replace("vessel;A", "vessel")
    notes = "\n".join(read_folder(folder(history=history)).notes)
    assert "stock_history.csv: columns are separated by semicolons, decimals by commas" in notes
    assert "stock_history.csv: column vessel is not used" in notes
    assert "species cod: biomass_cv is empty in 1 years; taken to be 0.1, the median of the others" in notes


def test_parameters(folder: Write) -> None:
    data = read_folder(folder(params=PARAMS + "model: one_species\n"))
    assert data.params.whole == {"beta": 0.2, "c": 0.1}
    assert data.params.species == {"cod": {"sigma": 0.1, "initial": 60000}}
    exponent = read_folder(folder(params="parameters: {beta: 1e-2}\n"))
    assert exponent.params.whole == {"beta": 0.01}


def test_parameters_in_place_of_a_history(folder: Write) -> None:
    data = read_folder(folder(history=None, params=PARAMS))
    assert data.history is None
    assert data.params.species["cod"]["initial"] == 60000


# ------------------------------------------------------------------------------------------ bad input


def changed(old: str, new: str) -> str:
    assert old in HISTORY
    return HISTORY.replace(old, new, 1)


ROW = "2003,cod,61000,6200,0.1"
SERIES = {
    "negative biomass": (
        changed(ROW, "2003,cod,-5,6200,0.1"),
        "stock_history.csv row 4, year 2003, species cod, biomass: '-5', expected t above 0",
    ),
    "NaN biomass": (changed(ROW, "2003,cod,NaN,6200,0.1"), "row 4, year 2003, species cod, biomass: 'NaN', expected t"),
    "empty biomass": (changed(ROW, "2003,cod,,6200,0.1"), "row 4, year 2003, species cod, biomass: empty, expected t"),
    "no biomass": (changed(ROW, "2003,cod,0,0,0.1"), "biomass: '0', expected t above 0"),
    "catch above biomass": (
        changed(ROW, "2003,cod,61000,62000,0.1"),
        "row 4, year 2003, species cod, catch: 62000 t of 61000 t is more than the biomass",
    ),
    "catch in kg": (changed(ROW, "2003,cod,61000,6200000,0.1"), "more than the biomass; expected less; is it in kg?"),
    "everything caught": (changed(ROW, "2003,cod,61000,61000,0.1"), "the whole biomass: nothing is left to grow"),
    "negative catch": (changed(ROW, "2003,cod,61000,-1,0.1"), "species cod, catch: '-1', expected t, at least 0"),
    "catch missing": (
        changed(ROW, "2003,cod,61000,,0.1"),
        "row 4, year 2003, species cod, catch: empty, expected t, at least 0 (only the last year's may be empty)",
    ),
    "cv in percent": (changed(ROW, "2003,cod,61000,6200,10"), "below 1 (10 % is 0.1)"),
    "years missing": (
        changed(ROW + "\n", "").replace("2005", "2015"),
        "species cod: missing years 2003, 2005, 2013, 2014",
    ),
    "years twice": (changed("2004,", "2003,"), "species cod: duplicated years 2003 (rows 4, 5)"),
    "year is no number": (changed("2004,", "MMIV,"), "row 5, species cod, year: 'MMIV', expected a whole number"),
    "half a year": (changed("2004,", "2004.5,"), "year: '2004.5', expected a whole number from 1000 to 2999"),
    "short": ("".join(HISTORY.splitlines(keepends=True)[:8]), "species cod: 7 years; a fit needs at least 10"),
    "kilograms": (
        "year,species,biomass,catch\n" + "".join(f"{year},cod,{year * 1e5:.0f},1\n" for year in YEARS),
        "species cod, biomass: the median of the series, 2.0065e+08 t, is 1,672 times K, 120000 t: is it in kg? "
        "expected t",
    ),
    "kilograms, stock at half of K": (
        "year,species,biomass,catch\n" + "".join(f"{year},cod,{year * 3e4:.0f},1\n" for year in YEARS),
        "species cod, biomass: the median of the series, 6.0195e+07 t, is 502 times K, 120000 t: is it in kg? ",
    ),
    "one year in kg": (changed(ROW, "2003,cod,6e8,6200,0.1"), "is 5,000 times K, 120000 t: is it in kg? expected t"),
    "unknown species": (
        changed(ROW, "2003,code,61000,6200,0.1"),
        "stock_history.csv row 4, species: 'code' is not in species.csv; did you mean cod?",
    ),
    "no species": (changed(ROW, "2003,,61000,6200,0.1"), "row 4, year 2003, species: empty, expected a name"),
    "column missing": (
        HISTORY.replace("biomass,", "biomas_t,"),
        "stock_history.csv row 1: no column biomass; is biomas_t meant for it?",
    ),
    "column misspelt": (HISTORY.replace("_cv", "_sd"), "unknown column biomass_sd; did you mean biomass_cv?"),
    "column twice": (HISTORY.replace("biomass_cv", "catch"), "row 1: column catch appears more than once"),
    "ragged": (changed(ROW, "2003,cod,61000,5,6200,0.1"), "row 4: 6 values where the header has 5: a decimal comma"),
    "decimal comma": (changed(ROW, '2003,cod,"61000,5",6200,0.1'), "'61000,5' has a comma in it (write a decimal"),
    "thousands": (
        european(HISTORY).replace("0,1", "0").replace("2003;cod;61000", "2003;cod;61.000"),
        "row 4, year 2003, species cod, biomass: '61.000' may mean 61000 or 61.000",
    ),
    "two marks": (european(changed(ROW, "2003,cod,61@000.5,62,0.1")).replace("@", "."), "expected t above 0"),
    "unit": (changed(ROW, "2003,cod,61000 t,6200,0.1"), "'61000 t' has a unit in it (the column says the unit)"),
    "UTF-16": (HISTORY.encode("utf-16"), "stock_history.csv: is UTF-16 text; save it as 'CSV UTF-8'"),
    "Latin-1": (changed(ROW, "2003,cöd,1,1,0.1").encode("latin-1"), "row 4: byte 0xf6 is not UTF-8 text"),
    "spreadsheet": (b"PK\x03\x04" + b"\0" * 20, "is a spreadsheet or a zip archive"),
    "binary": (b"year\0", "is a binary file"),
    "empty": ("", "stock_history.csv row 1: is empty; expected a header with year, species, biomass, catch"),
    "header only": ("year,species,biomass,catch\n", "stock_history.csv: holds a header but no rows"),
    "quotes": (changed(ROW, '2003,"cod,61000'), "is not a CSV file: unexpected end of data; check the quotes in it"),
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_wrong_histories(folder: Write, name: str) -> None:
    history, expected = SERIES[name]
    assert expected in refusal(folder(history=history))


def test_an_unknown_name_is_told_once(folder: Write) -> None:
    history = WEB_HISTORY.replace("seal", "seel").replace("2003,cod,63000", "2003,cod,-1")
    message = refusal(folder(WEB_SPECIES, history))
    assert (
        "row 4, species: 'seel' is not in species.csv (12 rows, the first of them here); did you mean seal?" in message
    )
    assert message.count("seel") == 1
    assert "year 2003, species cod, biomass: '-1'" in message


def test_a_stock_above_its_capacity_is_not_taken_for_kilograms(folder: Write) -> None:
    assert read_folder(folder(SPECIES.replace("120000", "6100"))).history is not None


def test_kilograms_without_a_capacity(folder: Write) -> None:
    species = SPECIES.replace(",120000,0.8", ",,")
    kilograms = "year,species,biomass,catch\n" + "".join(f"{year},cod,{year * 1e4:.0f},1\n" for year in YEARS)
    assert "3,353 times limit_biomass, 6000 t, and so are 11 others: is it in kg?" in refusal(
        folder(species, kilograms)
    )
    once = changed(ROW, "2003,cod,65000000,6200,0.1")
    low = species.replace("6000", "0")
    assert "1,032 times the median of the series, 63000 t: is it in kg?" in refusal(folder(low, once))


CATALOGUE = {
    "no species at all": ("species,harvested,limit_biomass,price\n", "species.csv: holds a header but no rows"),
    "negative K": (SPECIES.replace("120000", "-1"), "species cod, k: '-1', expected a number of t above 0"),
    "zero r": (SPECIES.replace("0.8", "0"), "species cod, r: '0', expected a number of 1/year above 0"),
    "harvested": (SPECIES.replace("true", "maybe"), "row 2, species cod, harvested: 'maybe', expected true or false"),
    "limit": (SPECIES.replace("6000,", ","), "species cod, limit_biomass: empty, expected a number of t, at least 0"),
    "price": (SPECIES.replace("1500", ""), "species cod, price: empty, expected a number of currency/t, at least 0"),
    "price of nothing": (SPECIES.replace("1500", "0"), "price: 0 for all harvested species; expected one above 0"),
    "nothing harvested": (SPECIES.replace("true", "false"), "0 harvested species; expected one or two"),
    "limit above stock": (
        SPECIES.replace("6000,", "70000,"),
        "species.csv row 2, species cod, limit_biomass: 70000 t is at or above the last biomass, that of year 2012, "
        "63000 t: the episode would end at once",
    ),
    "limit above K": (SPECIES.replace("120000", "5000"), "6000 t is at or above K, 5000 t; expected below it"),
    "twice": (SPECIES + "cod,true,1,1,,\n", "species.csv row 3, species: 'cod' is already in row 2"),
    "without a name": (SPECIES + ",false,1,,,\n", "species.csv row 3, species: empty, expected a name"),
    "two species": (SPECIES + "hake,false,1,,,\n", "2 species; expected one, or a food web of three"),
    "not in the history": (SPECIES + "hake,false,1,,,\n", "no row of species hake, which species.csv lists"),
    "no predator": (
        SPECIES + "hake,false,1,,,\nseal,false,1,,,\n",
        "which of cod, hake, seal is the predator? Expected a column role",
    ),
    "column missing": (SPECIES.replace("limit_biomass", "limit"), "no column limit_biomass; is limit meant for it?"),
}  # fmt: skip


@pytest.mark.parametrize("name", CATALOGUE)
def test_wrong_species(folder: Write, name: str) -> None:
    species, expected = CATALOGUE[name]
    assert expected in refusal(folder(species))


@pytest.mark.parametrize(
    ("role", "expected"),
    [("x,y,q", "row 4, role: 'q', expected x or y"), ("x,y,y", "row 4, role: 'y' is already in row 3")],
)
def test_wrong_roles(folder: Write, role: str, expected: str) -> None:
    header, *rows = WEB_SPECIES.splitlines()
    lines = [f"{row},{own}" for row, own in zip(rows, role.split(","), strict=True)]
    assert expected in refusal(folder("\n".join([f"{header},role", *lines]), WEB_HISTORY))


def test_species_of_a_web_need_the_same_years(folder: Write) -> None:
    history = WEB_HISTORY.replace("2012,seal,22000,0\n", "")
    assert "cod 2001-2012, herring 2001-2012, seal 2001-2011; expected the same years" in refusal(
        folder(WEB_SPECIES, history)
    )


PARAMETERS = {
    "unknown species": ("species: {codd: {r: 1}}", "params.yaml: unknown species 'codd'; did you mean cod?"),
    "unknown parameter": ("parameters: {betta: 1}", "parameters: unknown parameter 'betta'; did you mean beta?"),
    "unknown of a species": ("species: {cod: {sigme: 1}}", "cod: unknown parameter 'sigme'; did you mean sigma?"),
    "unknown key": ("parametres: {beta: 1}", "unknown key 'parametres'; did you mean parameters?"),
    "K": ("species: {cod: {K: 0}}", "params.yaml: species: cod: K: 0, expected a number: t above 0"),
    "r": ("species: {cod: {r: -0.1}}", "species: cod: r: -0.1, expected a number: 1/year above 0"),
    "sigma": ("species: {cod: {sigma: -0.1}}", "cod: sigma: -0.1, expected a number: share of the stock, at least 0"),
    "c": ("parameters: {beta: 0.2, c: 0}", "parameters: c: 0 while beta is 0.2; expected above 0 (shares of K)"),
    "c alone": ("parameters: {c: 0}", "parameters: c: 0 while beta is not told, and so above 0"),
    "text": ("parameters: {beta: much}", "parameters: beta: 'much', expected a number"),
    "decimal comma": ("parameters: {beta: '0,2'}", "parameters: beta: '0,2', expected a number"),
    "nothing": ("parameters: {beta: .nan}", "parameters: beta: nan, expected a number"),
    "truth": ("parameters: {beta: yes}", "parameters: beta: True, expected a number"),
    "of another model": ("parameters: {c_xy: 0.1}", "unknown parameter 'c_xy'"),
    "of a species": ("parameters: {sigma: 0.1}", "parameters: sigma is of a species; tell it under species, by name"),
    "model": ("model: one_specie", "model: 'one_specie'; did you mean one_species?"),
    "model of others": ("model: food_web", "model: food_web, but species.csv lists 1 species: one_species"),
    "contradiction": ("species: {cod: {K: 1000000}}", "cod: K: 1000000, but species.csv says 120000; expected one"),
    "twice": ("parameters: {beta: 1, beta: 2}", "params.yaml: not YAML: key 'beta' is given twice"),
    "no YAML": ("parameters: {", "params.yaml: not YAML"),
    "a list": ("- beta", "params.yaml: ['beta'], expected names with values"),
    "a number": ("parameters: 3", "params.yaml: parameters: 3, expected names with values"),
    "limit above stock": ("species: {cod: {initial: 5000}}", "at or above the initial stock of params.yaml, 5000 t"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_wrong_parameters(folder: Write, name: str) -> None:
    params, expected = PARAMETERS[name]
    assert expected in refusal(folder(params=params))


def test_a_wrong_value_is_told_once(folder: Write) -> None:
    message = refusal(folder(params="species: {cod: {K: -4}}"))
    assert message == "params.yaml: species: cod: K: -4, expected a number: t above 0"


def test_a_predator_has_no_growth_rate(folder: Write) -> None:
    path = folder(WEB_SPECIES, WEB_HISTORY, "species: {seal: {r: 1}}")
    assert "species: seal: r: a predator has no r; it grows by b and d_z" in refusal(path)


def test_without_a_history_everything_is_needed(folder: Write) -> None:
    message = refusal(folder(SPECIES.replace(",120000,0.8", ",,"), None, "parameters: {beta: 0.2}"))
    assert "species cod: no K; without stock_history.csv it must be told in params.yaml or species.csv, in t" in message
    assert (
        "species cod: no r; without stock_history.csv it must be told in params.yaml or species.csv, in 1/y" in message
    )
    assert "species cod: no initial; without stock_history.csv it must be told in params.yaml, in t" in message


def test_folders_without_what_is_needed(folder: Write, tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")
    message = refusal(folder(None, None, **{"specie.csv": SPECIES}))
    assert "species.csv: no such file; did you mean to name specie.csv so?" in message
    assert "stock_history.csv: no such file, and no params.yaml either" in message
    assert "is a file; expected a folder" in refusal(tmp_path / "specie.csv")


def test_all_problems_of_all_files_are_told_at_once(folder: Write) -> None:
    history = changed(ROW, "2003,cod,-5,6200,0.1").replace("2004,cod,62000", "2004,cod,x")
    message = refusal(folder(SPECIES.replace("1500", "dear"), history, "parameters: {betta: 1}"))
    told = ("biomass: '-5'", "biomass: 'x'", "price: 'dear'", "unknown parameter 'betta'")
    assert [part for part in told if part not in message] == []

"""``interlock fisheries fit`` and ``example`` as a user meets them: files, tables, refusals."""

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import BadInput
from interlock.domains.fisheries import DOMAIN, history
from interlock.domains.fisheries.fitted import fitted_values, known_values, task_of
from interlock.domains.fisheries.fitting import fit
from interlock.domains.fisheries.fitting_bootstrap import bootstrap
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.userdata import read_folder
from interlock.scenarios.cli import main
from interlock.scenarios.loading import load_scenario

SPECIES = "species,harvested,limit_biomass,price,K,r\ncod,true,6000,1500,120000,\n"
PARAMS = "species:\n  cod: {r: 0.8, sigma: 0.1, initial: 60000}\nparameters: {beta: 0.2, c: 0.1}\n"


def cod(folder: Path, *, years: int = 30, seed: int = 1, cv: float = 0.0) -> Path:
    """A folder with a history of one species: r 0.8, K 120,000 t."""
    values: dict[str, Any] = {
        "name": "cod",
        "model": {"kind": "one_species", "r": 0.8, "beta": 0.0, "sigma": 0.1},
        "tonnes": [120_000.0],
        "observed": {"cv": cv},
    }
    mortality = np.where(np.arange(years) // 5 % 2 == 0, 0.45, 0.1)[:, None]
    seen = history.played(FisheriesScenario.model_validate(values), mortality, seed=seed)
    assert seen is not None
    lines = ["year,species,biomass,catch,biomass_cv"]
    lines += [
        f"{year},cod,{biomass:.3f},{catch:.3f},{cv}"
        for year, biomass, catch in zip(seen.years, seen.biomass[:, 0], seen.catch[:, 0], strict=True)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "stock_history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "species.csv").write_text(SPECIES, encoding="utf-8")
    return folder


def run(*arguments: object) -> int:
    return main(["fisheries", *map(str, arguments)])


# ------------------------------------------------------------------------------------------ from data to a scenario


def test_example_fit_and_the_scenario_it_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out, draws = tmp_path / "mine", tmp_path / "my-fishery.yaml", tmp_path / "draws.csv"
    assert run("example", folder) == 0
    capsys.readouterr()
    assert run("fit", "--data", folder, "--out", out, "--drift", "--resamples", 20, "--draws", draws, "--json") == 0
    shown, said = capsys.readouterr()
    found = json.loads(shown)
    parameters = found["parameters"]
    assert {name for name, one in parameters.items() if one["how"] == "assumed"} == {"beta", "c"}
    assert parameters["K_x"]["unit"] == "t"
    assert parameters["K_x"]["low"] <= parameters["K_x"]["value"] <= parameters["K_x"]["high"]
    assert found["species"]["z"] == {"name": "seal", "tonnes": 40000.0, "harvested": False}
    scenario = load_scenario(DOMAIN, str(out))
    assert scenario.name == "my_fishery"
    assert scenario.tonnes == pytest.approx([parameters["K_x"]["value"], parameters["K_y"]["value"], 40000], rel=1e-5)
    last = history.example().biomass[-1]
    assert scenario.initial == pytest.approx(last / np.array(scenario.tonnes), rel=1e-4)
    assert scenario.collapse_level == pytest.approx(max(np.array([6000, 4000, 2000]) / scenario.tonnes), rel=1e-5)
    assert scenario.prices[1] == pytest.approx(350 * scenario.tonnes[1] / (500 * scenario.tonnes[0]), rel=1e-4)
    assert scenario.observed.cv == 0.05
    trend, rate = parameters["trend"]["value"], parameters["r_x"]["value"]
    assert scenario.model.r_x == pytest.approx(rate + 59 * trend, rel=1e-4)
    assert scenario.drift[0].per_year == pytest.approx(trend, rel=1e-4)
    assert scenario.drift[0].at_least == pytest.approx(rate + 118 * trend, rel=1e-4)
    assert "seal" in out.read_text(encoding="utf-8")
    assert "scenario: " in said
    rows = list(csv.reader(draws.read_text(encoding="utf-8").splitlines()))
    assert rows[0][:4] == ["r_x", "r_y", "K_x_t", "K_y_t"]
    assert rows[0][-3:] == ["sigma_x", "sigma_y", "sigma_z"]
    assert len(rows) == 21
    assert run("check", out) == 0


def test_one_species_with_everything_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = cod(tmp_path / "mine"), tmp_path / "cod.yaml"
    assert (
        run("fit", "--data", folder, "--out", out, "--beta-c", "--uncertain", "--resamples", 20, "--name", "gadus") == 0
    )
    shown, said = capsys.readouterr()
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert {"r", "K", "beta", "c", "sigma"} < set(lines)
    assert "estimated" in lines["beta"]
    scenario = load_scenario(DOMAIN, str(out))
    assert scenario.name == "gadus"
    assert 0 < scenario.uncertainty.sd <= 0.5
    assert scenario.prices is None
    assert "a reward of 1 is worth" in said


def test_parameters_that_are_known_stay_as_they_are(tmp_path: Path) -> None:
    folder, out = cod(tmp_path / "mine"), tmp_path / "cod.yaml"
    (folder / "params.yaml").write_text("species: {cod: {K: 120000, sigma: 0.07}}\nparameters: {beta: 0.01}\n")
    assert run("fit", "--data", folder, "--out", out, "--resamples", 20, "--quiet") == 0
    scenario = load_scenario(DOMAIN, str(out))
    assert scenario.tonnes == (120000,)
    assert (scenario.model.beta, scenario.model.sigma) == (0.01, 0.07)
    assert scenario.model.r == pytest.approx(0.8, rel=0.3)


def test_all_parameters_may_be_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = cod(tmp_path / "mine"), tmp_path / "cod.yaml"
    (folder / "params.yaml").write_text("species: {cod: {K: 120000, r: 0.8}}", encoding="utf-8")
    assert run("fit", "--data", folder, "--out", out, "--resamples", 20) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "given" in lines["K"]
    assert "estimated" in lines["sigma"]
    assert load_scenario(DOMAIN, str(out)).model.r == 0.8


def test_a_wrong_guess_of_the_capacity_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cod(tmp_path / "mine")
    (folder / "species.csv").write_text(SPECIES.replace("120000", "900000"), encoding="utf-8")
    assert run("fit", "--data", folder, "--out", tmp_path / "cod.yaml", "--resamples", 20) == 0
    assert "species.csv says K of cod is 900000 t, outside of the interval" in capsys.readouterr().err


def test_parameters_alone_make_a_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "species.csv").write_text(SPECIES, encoding="utf-8")
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    out = tmp_path / "cod.yaml"
    assert run("fit", "--data", tmp_path, "--out", out) == 0
    assert "there is no stock_history.csv" in capsys.readouterr().err
    scenario = load_scenario(DOMAIN, str(out))
    assert scenario.model.model_dump() == {
        "kind": "one_species", "r": 0.8, "k": 1.0, "beta": 0.2, "c": 0.1, "sigma": 0.1,
    }  # fmt: skip
    assert (scenario.initial, scenario.tonnes, scenario.collapse_level) == ((0.5,), (120000,), 0.05)
    assert run("fit", "--data", tmp_path, "--out", tmp_path / "other.yaml", "--drift") == 2
    assert "nothing is estimated" in capsys.readouterr().err


def test_parameters_alone_of_a_web(tmp_path: Path) -> None:
    lines = ["species,harvested,limit_biomass,price,K,role", "a,yes,50,2,1000,x", "b,no,10,,500,y", "c,no,5,,100,z"]
    (tmp_path / "species.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        "species:\n  a: {r: 0.9, initial: 500}\n  b: {r: 0.7, initial: 250}\n  c: {initial: 70}\n"
        "parameters: {d_z: 0.2}\n",
        encoding="utf-8",
    )
    values, rows = known_values(read_folder(tmp_path))
    scenario = FisheriesScenario.model_validate({"name": "web", **values})
    assert (scenario.model.r_x, scenario.model.r_y, scenario.model.d_z) == (0.9, 0.7, 0.2)
    assert scenario.harvested == ("x",)
    assert scenario.initial == (0.5, 0.5, 0.7)
    assert {row.name for row in rows if row.how == "given"} == {"K_x", "K_y", "r_x", "r_y", "d_z"}


# ------------------------------------------------------------------------------------------ refusals


def test_nothing_is_replaced_or_written_by_halves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = cod(tmp_path / "mine"), tmp_path / "cod.yaml"
    out.write_text("mine", encoding="utf-8")
    assert run("fit", "--data", folder, "--out", out) == 2
    assert "is there already; --force replaces it" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "mine"
    assert run("fit", "--data", folder, "--out", out, "--resamples", 20, "--force", "--quiet") == 0
    assert load_scenario(DOMAIN, str(out)).name == "cod"
    assert run("example", folder) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cod.yaml", "mine"]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--out", "cod.txt", "expected a name that ends in .yaml"),
        ("--out", "nowhere/cod.yaml", "there is no folder"),
        ("--draws", "draws.txt", "expected a name that ends in .csv"),
    ],
)
def test_files_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    options = {"--out": "good.yaml", option: value}
    typed = [part for name, file in options.items() for part in (name, tmp_path / file)]
    assert run("fit", "--data", cod(tmp_path / "mine"), *typed) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "good.yaml").exists()


def test_bad_files_are_refused_with_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = cod(tmp_path / "mine"), tmp_path / "cod.yaml"
    text = (folder / "stock_history.csv").read_text(encoding="utf-8").replace("1970,cod,", "1970,cod,-", 1)
    (folder / "stock_history.csv").write_text(text, encoding="utf-8")
    assert run("fit", "--data", folder, "--out", out) == 3
    assert "stock_history.csv row 6, year 1970, species cod, biomass: '-" in capsys.readouterr().err
    assert not out.exists()


def test_a_series_that_is_nothing_but_noise_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "mine", tmp_path / "mine.yaml"
    history.write(folder)
    text = (folder / "stock_history.csv").read_text(encoding="utf-8")
    mixed = re.sub(r"(?m)^(201\d|202\d),seal,(\d+),", r"\1,seal,\g<2>000,", text)
    (folder / "stock_history.csv").write_text(mixed, encoding="utf-8")
    arguments = ("fit", "--data", folder, "--out", out, "--resamples", 20)
    assert run(*arguments) == 3
    said = capsys.readouterr().err
    assert "species herring: sigma, the noise of a year, is estimated to be " in said
    assert "Are some of its years in kg?" in said
    assert not out.exists()
    given = "species: {herring: {sigma: 0.1}, sprat: {sigma: 0.1}, seal: {sigma: 0.1}}"
    (folder / "params.yaml").write_text(given, encoding="utf-8")
    assert run(*arguments) == 0
    assert "WARNING: sigma_x of herring may be as large as " in capsys.readouterr().err
    assert "# WARNING: sigma_x of herring" in " ".join(out.read_text(encoding="utf-8").split())


def test_limits_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    history.write(folder)
    text = (folder / "species.csv").read_text(encoding="utf-8").replace("2000,,40000", "9000,,9100")
    (folder / "species.csv").write_text(text, encoding="utf-8")
    data = read_folder(folder)
    assert data.history is not None
    found = fit(data.history, task_of(data, data.history, grazer=False, drift=False))
    with pytest.raises(BadInput, match=r"species herring: its first stock, .* is at or below 0.989, the largest"):
        fitted_values(data, data.history, found)


def test_a_trend_into_nothing_is_refused(tmp_path: Path) -> None:
    data = read_folder(cod(tmp_path / "mine"))
    assert data.history is not None
    found = fit(data.history, task_of(data, data.history, grazer=False, drift=True))
    falling = type(found)(found.task, {**found.values, "trend": -0.1}, found.sigma, found.residuals, found.jacobian)
    with pytest.raises(BadInput, match=r"r falls to -.* 1/year in 1995; expected above 0"):
        fitted_values(data, data.history, falling)


def test_data_given_elsewhere_point_to_fit(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="interlock fisheries fit --data"):
        build(load_scenario(DOMAIN, "may_safe"), tmp_path)


# ------------------------------------------------------------------------------------------ anything at all

COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=12, **COMMON)
@given(
    biomass=st.lists(st.floats(1.0, 200.0), min_size=10, max_size=20),
    share=st.lists(st.floats(0.0, 0.95), min_size=20, max_size=20),
    cv=st.sampled_from(["", "0", "0.3"]),
)
def test_any_valid_history_can_be_fitted(tmp_path: Path, biomass: list[float], share: list[float], cv: str) -> None:
    lines = ["year,species,biomass,catch,biomass_cv"]
    lines += [f"{2000 + k},cod,{value!r},{value * share[k]!r},{cv}" for k, value in enumerate(biomass)]
    (tmp_path / "stock_history.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "species.csv").write_text("species,harvested,limit_biomass,price\ncod,true,0.5,1\n", encoding="utf-8")
    data = read_folder(tmp_path)
    assert data.history is not None
    assert data.history.biomass[:, 0].tolist() == biomass
    found = fit(data.history, task_of(data, data.history, grazer=False, drift=False))
    assert all(map(math.isfinite, found.values.values()))
    assert np.isfinite(bootstrap(found, data.history, resamples=2, seed=0).draws).all()


ROWS = [["year", "species", "biomass", "catch"], *([str(2001 + k), "cod", "50000", "5000"] for k in range(12))]


@settings(max_examples=60, **COMMON)
@given(
    row=st.integers(0, 12),
    column=st.integers(0, 3),
    text=st.one_of(st.text(max_size=8), st.integers().map(str), st.floats().map(str)),
)
def test_a_corrupted_cell_is_refused_or_read_as_it_stands(tmp_path: Path, row: int, column: int, text: str) -> None:
    cells = [list(line) for line in ROWS]
    cells[row][column] = text
    with (tmp_path / "stock_history.csv").open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        csv.writer(file).writerows(cells)
    (tmp_path / "species.csv").write_text("species,harvested,limit_biomass,price\ncod,true,500,1\n", encoding="utf-8")
    try:
        read = read_folder(tmp_path)
    except BadInput:
        return
    assert read.history is not None
    told = {(int(float(line[0])), float(line[2]), float(line[3] or "nan")) for line in cells[1:]}
    kept = zip(read.history.years.tolist(), read.history.biomass[:, 0], read.history.catch[:, 0], strict=True)
    np.testing.assert_array_equal(sorted(told), sorted(kept))

"""Inflows, probabilities and the optional tables of a folder, whole and broken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NaN", "inflow_m3s_hydro_2: 'NaN', expected a number of m3/s, at least 0"),
        ("-0.5", "inflow_m3s_hydro_2: '-0.5', expected a number of m3/s, at least 0"),
        ("many", "inflow_m3s_hydro_2: 'many', expected a number of m3/s"),
        ("", "inflow_m3s_hydro_2: empty, expected a number of m3/s"),
        ("1e999", "inflow_m3s_hydro_2: '1e999', expected a number of m3/s"),
        ("1_0", "inflow_m3s_hydro_2: '1_0', expected a number of m3/s"),
    ],
)
def test_values_of_inflows(good: Any, text: str, said: str) -> None:
    good.edit("inflows.csv", 7, inflow_m3s_hydro_2=text)
    assert good.only().startswith(f"inflows.csv row 7, {said}")


def test_rows_of_inflows(good: Any) -> None:
    lines = (good.path / "inflows.csv").read_text().splitlines()
    lines[3] += ",1.0"
    lines[8] = lines[7]
    (good.path / "inflows.csv").write_text("\n".join(lines) + "\n")
    assert good.problems() == [
        "inflows.csv row 4: 8 values where the header has 7",
        "inflows.csv row 9, stage_of_cycle 3, scenario 1: already in row 8",
        "inflows.csv: no row of stage_of_cycle 1, scenario 3",
        "inflows.csv: no row of stage_of_cycle 3, scenario 2",
    ]


def test_columns_of_inflows(good: Any) -> None:
    good.change("inflows.csv", lambda text: "\n".join(line.rsplit(",", 1)[0] for line in text.splitlines()))
    assert "4 columns of inflows in m3/s, but hydros.csv has 5 plants" in good.only()


def test_inflows_by_name_of_the_plant_and_in_another_order(good: Any) -> None:
    case = good.case()
    rows = [line.split(",") for line in (good.path / "inflows.csv").read_text().splitlines()]
    rows[0] = ["stage_of_cycle", "scenario", *(f"inflow_m3s_{name}" for name in case.hydros.names)]
    (good.path / "inflows.csv").write_text("\n".join(",".join([*row[:2], *reversed(row[2:])]) for row in rows) + "\n")
    assert good.case().hash == case.hash
    good.change("inflows.csv", lambda text: text.replace("inflow_m3s_H2", "flow_H2", 1))
    assert "column flow_H2, expected inflow_m3s_hydro_K of plant K, from 1 to 5" in good.only()


def test_probabilities(good: Any) -> None:
    good.edit("scenarioprobability.csv", 3, p_scenario_1="0.4")
    good.edit("scenarioprobability.csv", 4, p_scenario_1="-0.1")
    assert good.problems() == [
        "scenarioprobability.csv row 4, p_scenario_1: '-0.1', expected a number of probability, at least 0",
        "scenarioprobability.csv row 3, p_scenario_1 to p_scenario_3: their sum is 1.06666666667, expected 1",
    ]
    (good.path / "scenarioprobability.csv").write_text("stage_of_cycle,p_scenario_1,p_scenario_2\n1,0.5,0.5\n")
    assert "scenarioprobability.csv row 1: no column p_scenario_3" in good.problems()


def test_demand_of_stages(good: Any) -> None:
    (good.path / "stage_demand.csv").write_text("stage,bus,load_MW\n1,2,50\n3,2,x\n3,2,1\n1,99,5\n")
    found = good.problems()
    assert "stage_demand.csv row 3, load_MW: 'x', expected a number of MW" in found
    assert "stage_demand.csv row 4, bus 2, stage 3: already in row 3" in found
    assert "stage_demand.csv: no row of bus 2, stage 2" in found
    assert any(
        problem.startswith("stage_demand.csv row 5, bus: '99', expected a bus of buses.csv") for problem in found
    )


def test_outages(good: Any) -> None:
    hydro = good.value("hydros.csv", 2, "gen_id")
    (good.path / "outages.csv").write_text(f"gen_id,from_stage,to_stage\n3,2,5\n{hydro},1,2\n4,9,7\n5,0,1\n")
    assert good.problems() == [
        "outages.csv row 5, from_stage: '0', expected a stage, from 1",
        f"outages.csv row 3, gen_id: '{hydro}', expected a thermal unit in service",
        "outages.csv row 4, from_stage: 9 is after to_stage 7",
    ]
    (good.path / "outages.csv").write_text("gen_id,from_stage,to_stage\n3,2,5\n")
    case = good.case()
    assert case.outages == ((2, 2, 5),)
    assert [case.thermal_limit(stage)[2] > 0 for stage in (0, 1, 4, 5)] == [True, False, False, True]


def test_terminal_values(good: Any) -> None:
    (good.path / "terminal_value.csv").write_text("hydro,value_per_hm3\n2,150\n")
    worth = good.case().terminal_value
    assert worth is not None
    assert worth.tolist() == [0, 150, 0, 0, 0]
    (good.path / "terminal_value.csv").write_text("hydro,value_per_hm3\n2,150\n2,-1\n7,1\n")
    found = good.problems()
    assert "terminal_value.csv row 3, hydro: '2' is already in row 2" in found
    assert any(problem.startswith("terminal_value.csv row 4, hydro: '7', expected a plant") for problem in found)


def history(folder: Path, years: range, *, days: int = 1, plants: int = 5) -> None:
    """Daily inflows: 10 x year + month of the date, plus the number of the plant / 10."""
    dates = np.arange(f"{years[0]}-01-01", f"{years[-1] + 1}-01-01", days, dtype="datetime64[D]").astype(object)
    rows = [f"{d},H{r + 1},{10 * d.year + d.month + r / 10}" for d in dates for r in range(plants)]
    (folder / "inflow_history.csv").write_text("\n".join(["date,hydro,inflow_m3s", *rows]) + "\n")


def test_years_become_scenarios(good: Any) -> None:
    good.head(cycle_stages=12, scenarios=None)
    history(good.path, range(2019, 2023))
    case, notes = good.case(history=True), good.notes(history=True)
    assert case.inflows.shape == (12, 4, 5)
    assert case.probabilities == pytest.approx(np.full((12, 4), 0.25))
    month, year, plant = np.meshgrid(np.arange(12), np.arange(4), np.arange(5), indexing="ij")
    assert case.inflows == pytest.approx(10.0 * (2019 + year) + month + 1 + plant / 10)
    assert len(notes) == 1
    good.head(cycle_stages=4)
    assert good.case().inflows.shape == (4, 3, 5)
    (good.path / "inflows.csv").unlink()
    good.head(cycle_stages=52)
    history(good.path, range(2019, 2023), days=7)
    assert good.case().inflows.shape == (52, 4, 5)


def test_broken_histories(good: Any) -> None:
    assert "the scenarios of inflows.csv are taken for years in a row" in good.notes(history=True)[-1]
    good.head(cycle_stages=12, scenarios=None)
    history(good.path, range(2020, 2022))
    assert good.only(history=True) == "inflow_history.csv: 2 complete years, expected at least 3"
    history(good.path, range(2018, 2023))
    lines = (good.path / "inflow_history.csv").read_text().splitlines()
    gap = [line for line in lines if not line.startswith("2020-03")]
    (good.path / "inflow_history.csv").write_text("\n".join(gap) + "\n")
    gap_told = "inflow_history.csv: year 2020 has no inflow in m3/s of H1 in part 3 of 12"
    assert good.only(history=True) == f"{gap_told}; expected no gap between complete years"
    short = [line for line in lines if not line.startswith("2022-1")]
    (good.path / "inflow_history.csv").write_text("\n".join(short) + "\n")
    assert good.notes(history=True)[1].endswith("H1 in part 10 of 12, so that year is left out")
    wrong = [*lines[:3], "31.12.2020,H1,5", "2021-01-01,H9,5", "2021-01-02,H1,-5", lines[1]]
    (good.path / "inflow_history.csv").write_text("\n".join(wrong) + "\n")
    found = good.problems(history=True)
    assert "inflow_history.csv row 4, date: '31.12.2020', expected a date as 2024-12-31" in found
    assert any(problem.startswith("inflow_history.csv row 5, hydro: 'H9', expected a plant") for problem in found)
    assert "inflow_history.csv row 6, inflow_m3s: '-5', expected a number of m3/s, at least 0" in found
    assert "inflow_history.csv row 7, date: 2018-01-01 of this plant is already in row 2" in found

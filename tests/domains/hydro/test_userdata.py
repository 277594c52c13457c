"""Folders of tables: the published systems, round trips, and every kind of bad input with its message."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import BadInput, UsageError
from interlock.domains.hydro.case import Branches, Case
from interlock.domains.hydro.case_file import case_from_json, case_to_json, write_case
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.tables import number
from interlock.domains.hydro.toy import toy_case
from interlock.domains.hydro.userdata import read_case


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without mistakes: 5 plants in two rivers, 10 units, 12 buses; 4 stages x 3 scenarios."""
    case = make_case(5, seed=3)
    folder = tmp_path_factory.mktemp("case") / "good"
    write_case(replace(case, inflows=case.inflows[:4, :3], probabilities=np.full((4, 3), 1 / 3)), folder)
    return folder


@pytest.fixture
def good(pattern: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(pattern, tmp_path / "case"))


def edit(folder: Path, file: str, row: int, **values: str) -> None:
    """Change values of a row (the header is row 1) of a table."""
    lines = (folder / file).read_text().splitlines()
    header, record = lines[0].split(","), lines[row - 1].split(",")
    for name, value in values.items():
        record[header.index(name)] = value
    lines[row - 1] = ",".join(record)
    (folder / file).write_text("\n".join(lines) + "\n")


def value(folder: Path, file: str, row: int, name: str) -> str:
    lines = (folder / file).read_text().splitlines()
    return lines[row - 1].split(",")[lines[0].split(",").index(name)]


def edit_head(folder: Path, **values: Any) -> None:
    """Change values of case.json; ``None`` takes them out."""
    head = json.loads((folder / "case.json").read_text()) | values
    (folder / "case.json").write_text(json.dumps({k: v for k, v in head.items() if v is not None}))


def text_of(folder: Path, file: str, change: Callable[[str], str]) -> None:
    (folder / file).write_text(change((folder / file).read_text()))


def problems(folder: Path, **options: Any) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_case(folder, **options)
    assert caught.value.exit_code == 3
    return list(caught.value.problems)


def only(folder: Path, **options: Any) -> str:
    found = problems(folder, **options)
    assert len(found) == 1, found
    return found[0]


# ------------------------------------------------------------------------------------------ well-formed folders


def test_the_toy_in_code_is_the_published_one(hydro_data: Path) -> None:
    read, notes = read_case(hydro_data / "case3")
    assert read.hash == toy_case().hash
    assert notes == ("a stage has 1 h: 1 m3/s brings K = 0.0036 hm3",)


def test_the_published_system(hydro_data: Path) -> None:
    case, notes = read_case(hydro_data / "bolivia")
    assert notes == ("a stage has 168 h: 1 m3/s brings K = 0.6048 hm3",)
    assert case.inflows.shape == (48, 15, 11)
    assert (len(case.thermals.names), len(case.buses.names), len(case.branches.names)) == (23, 28, 31)
    assert case.buses.load.sum() == pytest.approx(482.53, abs=0.01)
    assert case.buses.reactive_load.sum() == pytest.approx(0.12 * 482.53, abs=0.01)
    assert case.thermals.max_power.sum() == pytest.approx(506.71, abs=0.01)
    assert case.hydros.production @ case.hydros.max_turbine == pytest.approx(426.80, abs=0.01)
    links = [(case.hydros.names[a], case.hydros.names[b]) for a, b in np.argwhere(case.hydros.turbined_to)]
    assert links == [("COR", "SIS"), ("ZON", "CHU"), ("TAQ1", "TAQ2")]
    spilled = [(case.hydros.names[a], case.hydros.names[b]) for a, b in np.argwhere(case.hydros.spilled_to)]
    assert spilled == links[1:]
    blocks = case.inflows.sum(axis=2).mean(axis=1).reshape(12, 4).mean(axis=1)
    expected = [62.2, 59.8, 55.1, 40.8, 24.9, 20.2, 18.1, 18.9, 19.8, 22.9, 29.9, 32.6]
    assert blocks == pytest.approx(expected, abs=0.06)


def full_case() -> Case:
    """A system with everything that a folder may hold."""
    case = make_case(4, seed=1)
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(15), 48)
    rate = case.branches.rate.copy()
    rate[0] = np.inf
    return replace(
        case,
        branches=replace(case.branches, rate=rate),
        probabilities=chances / chances.sum(axis=1, keepdims=True),
        stage_load=case.buses.load * rng.uniform(0.5, 1.5, (7, 1)),
        outages=((2, 3, 9), (0, 1, 1)),
        terminal_value=rng.uniform(0, 100, 4),
        currency="BOB",
    )


@pytest.mark.parametrize("make", [toy_case, full_case, lambda: make_case(20, 2)], ids=["toy", "full", "generated"])
def test_written_and_read_is_the_same(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    write_case(case, tmp_path / "folder")
    assert read_case(tmp_path / "folder")[0].hash == case.hash
    text = json.dumps(case_to_json(case), allow_nan=False)
    assert case_from_json(json.loads(text)).hash == case.hash


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        write_case(toy_case(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_rows_in_any_order_and_ids_of_any_kind(good: Path) -> None:
    case = read_case(good)[0]

    def turned(text: str) -> str:
        header, *rows = text.splitlines()
        return "\n".join([header, *reversed(rows)]) + "\n"

    for file in ("hydros.csv", "inflows.csv", "scenarioprobability.csv"):
        text_of(good, file, turned)
    assert read_case(good)[0].hash == case.hash
    bus = value(good, "generators.csv", 2, "bus")
    edit(good, "generators.csv", 2, bus=f"{bus}.0", gen_id="north", name="north")
    assert read_case(good)[0].thermals.names[0] == "north"


def test_the_load_factor_applies_to_every_load(good: Path) -> None:
    before = read_case(good)[0]
    (good / "stage_demand.csv").write_text("stage,bus,load_MW\n1,2,50\n2,2,60\n")
    edit_head(good, load_factor=0.5)
    after = read_case(good)[0]
    assert after.buses.load == pytest.approx(before.buses.load / 2)
    assert after.buses.reactive_load == pytest.approx(before.buses.reactive_load / 2)
    assert after.stage_load is not None
    assert after.stage_load[:, 1].tolist() == [25, 30]
    assert after.stage_load[1, 2:] == pytest.approx(before.buses.load[2:] / 2)


def test_the_electrical_limit_of_a_plant_counts(good: Path) -> None:
    production = float(value(good, "hydros.csv", 2, "production_MW_per_m3s"))
    gen = int(value(good, "hydros.csv", 2, "gen_id"))
    edit(good, "generators.csv", gen + 1, pmax_MW="1.5")
    assert read_case(good)[0].hydros.max_turbine[0] == pytest.approx(1.5 / production)
    edit(good, "generators.csv", gen + 1, status="0")
    assert read_case(good)[0].hydros.max_turbine[0] == 0


def test_units_and_branches_out_of_service_are_left_out(good: Path) -> None:
    case = read_case(good)[0]
    edit(good, "generators.csv", 2, status="0")
    assert read_case(good)[0].thermals.names == case.thermals.names[1:]


def test_leftovers_of_arithmetic_are_zero(good: Path) -> None:
    edit(good, "hydros.csv", 2, initial_volume_hm3="-1e-316")
    edit(good, "inflows.csv", 2, inflow_m3s_hydro_1="4.9e-324")
    case = read_case(good)[0]
    assert case.hydros.initial_volume[0] == 0
    assert case.inflows[0, 0, 0] == 0


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (None, "case.json: stage_hours is missing; expected the hours of a stage above 0, as K = 0.0036 x stage_hours"),
        (0, "case.json: stage_hours is 0, K would be 0; expected"),
        (-2, "case.json: stage_hours is -2, K would be -0.0072; expected"),
        ("week", "case.json: stage_hours is 'week'; expected"),
    ],
)
def test_stage_hours(good: Path, hours: Any, said: str) -> None:
    edit_head(good, stage_hours=hours)
    assert said in only(good)


def test_a_volume_per_flow_of_another_stage_length(good: Path) -> None:
    edit_head(good, flow_to_volume_hm3_per_m3s=0.0036)
    assert "but stage_hours 168 means 0.0036 x 168 = 0.6048 hm3 per m3/s" in only(good)


def test_counts_and_keys_of_the_head(good: Path) -> None:
    edit_head(good, n_hydro=6, n_bus="x", base_MVA=0, deficit_cost_per_MWh=None, load_factor=-1, colour="blue")
    found = problems(good)
    assert "case.json: n_hydro is 6, but hydros.csv has 5 rows" in found
    assert "case.json: n_bus is 'x', expected a whole number from 1 to 100000" in found
    assert "case.json: base_MVA is 0, expected a number of MVA above 0" in found
    assert "case.json: deficit_cost_per_MWh is missing, expected a number of $/MWh above 0" in found
    assert "case.json: load_factor is -1, expected a number above 0" in found
    edit_head(good, n_hydro=5, n_bus=12, base_MVA=100, deficit_cost_per_MWh=60, load_factor=1)
    assert "case.json: colour is not used" in read_case(good)[1]


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
def test_values_of_inflows(good: Path, text: str, said: str) -> None:
    edit(good, "inflows.csv", 7, inflow_m3s_hydro_2=text)
    assert only(good).startswith(f"inflows.csv row 7, {said}")


def test_rows_of_inflows(good: Path) -> None:
    lines = (good / "inflows.csv").read_text().splitlines()
    lines[3] += ",1.0"
    lines[8] = lines[7]
    (good / "inflows.csv").write_text("\n".join(lines) + "\n")
    assert problems(good) == [
        "inflows.csv row 4: 8 values where the header has 7",
        "inflows.csv row 9, stage_of_cycle 3, scenario 1: already in row 8",
        "inflows.csv: no row of stage_of_cycle 1, scenario 3",
        "inflows.csv: no row of stage_of_cycle 3, scenario 2",
    ]


def test_columns_of_inflows(good: Path) -> None:
    text_of(good, "inflows.csv", lambda text: "\n".join(line.rsplit(",", 1)[0] for line in text.splitlines()))
    assert "4 columns of inflows in m3/s, but hydros.csv has 5 plants" in only(good)


def test_inflows_by_name_of_the_plant_and_in_another_order(good: Path) -> None:
    case = read_case(good)[0]
    rows = [line.split(",") for line in (good / "inflows.csv").read_text().splitlines()]
    rows[0] = ["stage_of_cycle", "scenario", *(f"inflow_m3s_{name}" for name in case.hydros.names)]
    (good / "inflows.csv").write_text("\n".join(",".join([*row[:2], *reversed(row[2:])]) for row in rows) + "\n")
    assert read_case(good)[0].hash == case.hash
    text_of(good, "inflows.csv", lambda text: text.replace("inflow_m3s_H2", "flow_H2", 1))
    assert "column flow_H2, expected inflow_m3s_hydro_K of plant K, from 1 to 5" in only(good)


def test_probabilities(good: Path) -> None:
    edit(good, "scenarioprobability.csv", 3, p_scenario_1="0.4")
    edit(good, "scenarioprobability.csv", 4, p_scenario_1="-0.1")
    assert problems(good) == [
        "scenarioprobability.csv row 4, p_scenario_1: '-0.1', expected a number of probability, at least 0",
        "scenarioprobability.csv row 3, p_scenario_1 to p_scenario_3: their sum is 1.06666666667, expected 1",
    ]
    (good / "scenarioprobability.csv").write_text("stage_of_cycle,p_scenario_1,p_scenario_2\n1,0.5,0.5\n")
    assert "scenarioprobability.csv row 1: no column p_scenario_3" in problems(good)


def test_initial_volume_outside_its_bounds(good: Path) -> None:
    edit(good, "hydros.csv", 3, max_volume_hm3="2.5", initial_volume_hm3="3.5", min_volume_hm3="1")
    assert only(good) == "hydros.csv row 3, initial_volume_hm3: 3.5 is outside [1, 2.5] hm3"


@pytest.mark.parametrize(
    ("file", "row", "values", "said"),
    [
        ("hydros.csv", 2, {"min_volume_hm3": "1e9"}, "min_volume_hm3: 1e+09 hm3 is above max_volume_hm3"),
        ("hydros.csv", 2, {"min_turbine_m3s": "1e9"}, "min_turbine_m3s: 1e+09 m3/s is above max_turbine_m3s"),
        ("generators.csv", 3, {"pmin_MW": "1e9"}, "pmin_MW: 1e+09 MW is above pmax_MW"),
        ("generators.csv", 3, {"qmin_MVAr": "1e9"}, "qmin_MVAr: 1e+09 MVAr is above qmax_MVAr"),
        ("buses.csv", 4, {"vmin_pu": "1.2"}, "vmin_pu: 1.2 pu is above vmax_pu 1.1 pu"),
        ("branches.csv", 5, {"angmin_rad": "2"}, "angmin_rad: 2 rad is above angmax_rad 1.0472 rad"),
    ],
)
def test_least_above_largest(good: Path, file: str, row: int, values: dict[str, str], said: str) -> None:
    edit(good, file, row, **values)
    assert any(problem.startswith(f"{file} row {row}, {said}") for problem in problems(good))


def test_a_generator_that_cannot_turbine_the_least_flow(good: Path) -> None:
    gen = int(value(good, "hydros.csv", 2, "gen_id"))
    edit(good, "generators.csv", gen + 1, pmax_MW="0.1")
    edit(good, "hydros.csv", 2, min_turbine_m3s="1", max_turbine_m3s="5")
    assert "its generator's limits in MW leave at most" in only(good)


def test_water_that_runs_in_a_circle(good: Path) -> None:
    for row, below in ((2, "2"), (3, "3"), (4, "1")):
        edit(good, "hydros.csv", row, downstream_turbined=below, downstream_spilled="")
    circle = only(good).rpartition(": ")[2].split(" -> ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"1 (H1)", "2 (H2)", "3 (H3)"}
    below = {("1 (H1)", "2 (H2)"), ("2 (H2)", "3 (H3)"), ("3 (H3)", "1 (H1)")}
    assert set(itertools.pairwise(circle)) == below


def test_a_circle_of_turbined_and_spilled_water(good: Path) -> None:
    for row in range(2, 7):
        edit(
            good,
            "hydros.csv",
            row,
            downstream_turbined="2" if row == 2 else "",
            downstream_spilled="1" if row == 3 else "",
        )
    assert "water runs in a circle" in only(good)


def test_links_to_itself_and_to_nobody(good: Path) -> None:
    edit(good, "hydros.csv", 2, downstream_turbined="1;9")
    place = "hydros.csv row 2, downstream_turbined: '1;9', expected"
    assert problems(good) == [
        f"{place} other plants than itself",
        f"{place} numbers of plants between semicolons; there is no plant 9",
    ]


def test_generators_of_plants(good: Path) -> None:
    second = value(good, "hydros.csv", 3, "gen_id")
    edit(good, "hydros.csv", 2, gen_id="99")
    edit(good, "hydros.csv", 4, gen_id=second)
    edit(good, "hydros.csv", 5, gen_id="1")
    found = problems(good)
    assert any(p.startswith("hydros.csv row 2, gen_id: '99', expected a gen_id of generators.csv") for p in found)
    assert f"hydros.csv row 4, gen_id: '{second}' already belongs to the plant of row 3" in found
    assert (
        "hydros.csv row 5, gen_id: '1', expected a generator of kind hydro, but row 2 of generators.csv is thermal"
        in found
    )
    assert "generators.csv row 12, gen_id: is of kind hydro, but no row of hydros.csv names it" in found


def test_unknown_buses(good: Path) -> None:
    edit(good, "generators.csv", 2, bus="77")
    edit(good, "branches.csv", 2, from_bus="78")
    found = problems(good)
    assert found[0].startswith("generators.csv row 2, bus: '77', expected a bus of buses.csv (there are: 1, 2, 3")
    assert found[1].startswith("branches.csv row 2, from_bus: '78', expected a bus of buses.csv")


def test_another_bus_than_that_of_the_generator(good: Path) -> None:
    gen = int(value(good, "hydros.csv", 2, "gen_id"))
    bus = value(good, "generators.csv", gen + 1, "bus")
    other = "2" if bus == "1" else "1"
    edit(good, "hydros.csv", 2, bus=other)
    assert only(good) == f"hydros.csv row 2, bus: '{other}', expected the bus of its generator, {bus}"


def test_islands(good: Path) -> None:
    (good / "branches.csv").write_text((good / "branches.csv").read_text().splitlines()[0] + "\n")
    edit(good, "buses.csv", 3, bus_type="3")
    found = problems(good)
    assert len(found) == 10
    assert found[0] == "buses.csv, bus_type: the island of buses 3 has no reference bus, expected exactly one (type 3)"


def test_two_reference_buses_in_an_island(good: Path) -> None:
    edit(good, "buses.csv", 4, bus_type="3")
    assert "has reference buses 1, 3, expected exactly one (type 3)" in only(good)


def test_a_branch_without_impedance_and_one_to_its_own_bus(good: Path) -> None:
    edit(good, "branches.csv", 2, r_pu="0", x_pu="0")
    edit(good, "branches.csv", 3, to_bus=value(good, "branches.csv", 3, "from_bus"), status="0")
    found = problems(good)
    assert found[0] == "branches.csv row 2, r_pu and x_pu: both 0, expected an impedance in per unit of base_MVA"
    assert found[1].endswith("expected another bus than from_bus")


def test_a_deficit_that_is_cheaper_than_the_dearest_unit(good: Path) -> None:
    edit_head(good, deficit_cost_per_MWh=42)
    assert only(good).startswith(
        "generators.csv row 11, cost_per_MWh: 42 $/MWh is not below deficit_cost_per_MWh 42 of case.json: "
        "shedding load would be cheaper than generating (force_deficit_cost: true"
    )
    edit_head(good, force_deficit_cost=True)
    assert any("shedding load would be cheaper" in note for note in read_case(good)[1])
    edit_head(good, force_deficit_cost="yes")
    assert "force_deficit_cost is 'yes', expected true or false" in problems(good)[0]


def test_what_is_only_noted(good: Path) -> None:
    edit(good, "generators.csv", 2, cost_per_MWh="-3")
    edit(good, "buses.csv", 5, load_MW="-0.5")
    edit(good, "hydros.csv", 2, min_turbine_m3s="0.1")
    notes = read_case(good)[1]
    assert "generators.csv row 2, cost_per_MWh: -3 is negative" in notes
    assert "buses.csv row 5, load_MW: -0.5 is negative" in notes
    assert any(note.startswith("min_turbine_m3s above 0") for note in notes)
    assert notes[0] == "a stage has 168 h: 1 m3/s brings K = 0.6048 hm3"


@pytest.mark.parametrize(("factor", "suspect"), [(0.005, "load_MW of buses.csv"), (200, "pmax_MW of generators.csv")])
def test_loads_and_capacities_in_different_units(good: Path, factor: float, suspect: str) -> None:
    edit_head(good, load_factor=factor)
    assert f"is {suspect} in per unit? expected MW" in only(good)


def test_all_problems_of_all_files_at_once(good: Path) -> None:
    edit_head(good, stage_hours=0)
    edit(good, "hydros.csv", 2, initial_volume_hm3="-1")
    edit(good, "generators.csv", 2, kind="nuclear")
    edit(good, "buses.csv", 2, load_MW="12,5".replace(",", ";"))
    edit(good, "branches.csv", 2, status="2")
    edit(good, "inflows.csv", 2, scenario="0")
    (good / "outages.csv").write_text("gen_id,from_stage,to_stage\n99,5,2\n")
    named = {problem.split(" ")[0].rstrip(":,") for problem in problems(good)}
    assert named == {
        "case.json",
        "hydros.csv",
        "generators.csv",
        "buses.csv",
        "branches.csv",
        "inflows.csv",
        "outages.csv",
    }


def test_files_that_are_not_there_or_not_tables(good: Path, tmp_path: Path) -> None:
    (good / "hydros.csv").unlink()
    (good / "buses.csv").write_bytes(b"\xff\xfe\x00")
    (good / "branches.csv").write_text("")
    (good / "case.json").write_text("{")
    found = problems(good)
    assert [problem.split(":")[0] for problem in found] == [
        "case.json",
        "hydros.csv",
        "buses.csv",
        "branches.csv row 1",
    ]
    with pytest.raises(BadInput, match="no such folder"):
        read_case(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is a file; expected a folder"):
        read_case(good / "case.json")


def test_columns_with_a_wrong_name(good: Path) -> None:
    text_of(
        good,
        "hydros.csv",
        lambda text: text.replace("max_volume_hm3", "max_volume_m3").replace("min_turbine", "minturbine"),
    )
    found = problems(good)
    assert "hydros.csv row 1: no column max_volume_hm3; is max_volume_m3 meant for it?" in found
    assert "hydros.csv row 1: unknown column minturbine_m3s; did you mean min_turbine_m3s?" in found
    text_of(good, "buses.csv", lambda text: text.replace(",", ";"))
    assert "buses.csv row 1: expected columns separated by commas, and points in decimal numbers" in problems(good)


def test_numbers_of_plants(good: Path) -> None:
    edit(good, "hydros.csv", 3, hydro="1")
    edit(good, "hydros.csv", 4, hydro="6", name="H1")
    found = problems(good)
    assert "hydros.csv row 3, hydro: '1', expected a number from 1 to 5, each once" in found
    assert "hydros.csv row 4, hydro: '6', expected a number from 1 to 5, each once" in found
    assert "hydros.csv row 4, name: 'H1' is already in row 2" in found


def test_spilling_at_a_cost_is_not_ignored(good: Path) -> None:
    text_of(good, "hydros.csv", lambda text: text.replace("downstream_spilled", "downstream_spilled,spill_cost", 1))
    lines = (good / "hydros.csv").read_text().splitlines()
    (good / "hydros.csv").write_text("\n".join([lines[0], lines[1] + ",5", *(line + ",0" for line in lines[2:])]))
    assert only(good) == "hydros.csv row 2, spill_cost: '5', expected 0: spilling costs nothing here"


# ------------------------------------------------------------------------------------------ optional files


def test_demand_of_stages(good: Path) -> None:
    (good / "stage_demand.csv").write_text("stage,bus,load_MW\n1,2,50\n3,2,x\n3,2,1\n1,99,5\n")
    found = problems(good)
    assert "stage_demand.csv row 3, load_MW: 'x', expected a number of MW" in found
    assert "stage_demand.csv row 4, bus 2, stage 3: already in row 3" in found
    assert "stage_demand.csv: no row of bus 2, stage 2" in found
    assert any(
        problem.startswith("stage_demand.csv row 5, bus: '99', expected a bus of buses.csv") for problem in found
    )


def test_outages(good: Path) -> None:
    hydro = value(good, "hydros.csv", 2, "gen_id")
    (good / "outages.csv").write_text(f"gen_id,from_stage,to_stage\n3,2,5\n{hydro},1,2\n4,9,7\n5,0,1\n")
    assert problems(good) == [
        "outages.csv row 5, from_stage: '0', expected a stage, from 1",
        f"outages.csv row 3, gen_id: '{hydro}', expected a thermal unit in service",
        "outages.csv row 4, from_stage: 9 is after to_stage 7",
    ]
    (good / "outages.csv").write_text("gen_id,from_stage,to_stage\n3,2,5\n")
    case = read_case(good)[0]
    assert case.outages == ((2, 2, 5),)
    assert [case.thermal_limit(stage)[2] > 0 for stage in (0, 1, 4, 5)] == [True, False, False, True]


def test_terminal_values(good: Path) -> None:
    (good / "terminal_value.csv").write_text("hydro,value_per_hm3\n2,150\n")
    worth = read_case(good)[0].terminal_value
    assert worth is not None
    assert worth.tolist() == [0, 150, 0, 0, 0]
    (good / "terminal_value.csv").write_text("hydro,value_per_hm3\n2,150\n2,-1\n7,1\n")
    found = problems(good)
    assert "terminal_value.csv row 3, hydro: '2' is already in row 2" in found
    assert any(problem.startswith("terminal_value.csv row 4, hydro: '7', expected a plant") for problem in found)


def history(folder: Path, years: range, *, days: int = 1, plants: int = 5) -> None:
    """Daily inflows: 10 x year + month of the date, plus the number of the plant / 10."""
    dates = np.arange(f"{years[0]}-01-01", f"{years[-1] + 1}-01-01", days, dtype="datetime64[D]").astype(object)
    rows = [f"{d},H{r + 1},{10 * d.year + d.month + r / 10}" for d in dates for r in range(plants)]
    (folder / "inflow_history.csv").write_text("\n".join(["date,hydro,inflow_m3s", *rows]) + "\n")


def test_years_become_scenarios(good: Path) -> None:
    edit_head(good, cycle_stages=12, scenarios=None)
    history(good, range(2019, 2023))
    case, notes = read_case(good, history=True)
    assert case.inflows.shape == (12, 4, 5)
    assert case.probabilities == pytest.approx(np.full((12, 4), 0.25))
    month, year, plant = np.meshgrid(np.arange(12), np.arange(4), np.arange(5), indexing="ij")
    assert case.inflows == pytest.approx(10.0 * (2019 + year) + month + 1 + plant / 10)
    assert len(notes) == 1
    edit_head(good, cycle_stages=4)
    assert read_case(good)[0].inflows.shape == (4, 3, 5)
    (good / "inflows.csv").unlink()
    edit_head(good, cycle_stages=52)
    history(good, range(2019, 2023), days=7)
    assert read_case(good)[0].inflows.shape == (52, 4, 5)


def test_broken_histories(good: Path) -> None:
    assert "inflow_history.csv: no such file" in problems(good, history=True)[0]
    edit_head(good, cycle_stages=12, scenarios=None)
    history(good, range(2020, 2022))
    assert only(good, history=True) == "inflow_history.csv: 2 complete years, expected at least 3"
    history(good, range(2018, 2023))
    lines = (good / "inflow_history.csv").read_text().splitlines()
    gap = [line for line in lines if not line.startswith("2020-03")]
    (good / "inflow_history.csv").write_text("\n".join(gap) + "\n")
    gap_told = "inflow_history.csv: year 2020 has no inflow in m3/s of H1 in part 3 of 12"
    assert only(good, history=True) == f"{gap_told}; expected no gap between complete years"
    short = [line for line in lines if not line.startswith("2022-1")]
    (good / "inflow_history.csv").write_text("\n".join(short) + "\n")
    assert read_case(good, history=True)[1][1].endswith("H1 in part 10 of 12, so that year is left out")
    wrong = [*lines[:3], "31.12.2020,H1,5", "2021-01-01,H9,5", "2021-01-02,H1,-5", lines[1]]
    (good / "inflow_history.csv").write_text("\n".join(wrong) + "\n")
    found = problems(good, history=True)
    assert "inflow_history.csv row 4, date: '31.12.2020', expected a date as 2024-12-31" in found
    assert any(problem.startswith("inflow_history.csv row 5, hydro: 'H9', expected a plant") for problem in found)
    assert "inflow_history.csv row 6, inflow_m3s: '-5', expected a number of m3/s, at least 0" in found
    assert "inflow_history.csv row 7, date: 2018-01-01 of this plant is already in row 2" in found


# ------------------------------------------------------------------------------------------ properties


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1.0), ("-2.5e3", -2500.0), (".5", 0.5), ("1e-301", 0.0), ("2.", 2.0), ("1e-299", 1e-299)],
)
def test_numbers(text: str, expected: float) -> None:
    assert number(text) == expected


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "0x10", "1,5", "1_0", "١", "--1", "1e", "True"])
def test_what_is_no_number(text: str) -> None:
    assert np.isnan(number(text))


FILES = (
    "hydros.csv",
    "generators.csv",
    "buses.csv",
    "branches.csv",
    "inflows.csv",
    "scenarioprobability.csv",
    "case.json",
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_folder_is_read_whole_or_refused(data: st.DataObject, pattern: Path, tmp_path_factory: Any) -> None:
    """Any damage gives a system whose numbers are all finite, or a list of problems; never another error."""
    folder = Path(shutil.copytree(pattern, tmp_path_factory.mktemp("damaged") / "case"))
    for _ in range(data.draw(st.integers(1, 3))):
        file = folder / data.draw(st.sampled_from(FILES))
        text = file.read_text()
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        put = data.draw(st.text('0123456789.,-;e\n"x', max_size=6))
        file.write_text(text[:at] + put + text[at + length :])
    try:
        case, _ = read_case(folder)
    except BadInput:
        return
    for array in (case.inflows, case.probabilities, case.buses.load, case.hydros.max_turbine, case.thermals.max_power):
        assert np.isfinite(array).all()
    assert np.abs(case.probabilities.sum(axis=1) - 1).max() <= 1e-9
    assert case.inflows.shape[2] == len(case.hydros.names)
    assert case_from_json(json.loads(json.dumps(case_to_json(case)))).hash == case.hash


def test_json_that_is_no_system() -> None:
    values = case_to_json(make_case(3, 0))
    values["hydros"] = {**values["hydros"], "max_volume": [1.0, 2.0], "colour": 1}
    values["inflows"] = [[["x"]]]
    values["stage_hours"] = "week"
    values["extra"] = 1
    del values["branches"]
    with pytest.raises(BadInput) as caught:
        case_from_json(values)
    assert list(caught.value.problems) == [
        "hydros.max_volume: expected 3 numbers",
        "hydros.colour: unknown",
        f"branches: expected a mapping with {', '.join(Branches.__dataclass_fields__)}",
        "stage_hours: got 'week', expected a number",
        "inflows: expected n x n x 3 numbers",
        "probabilities: expected 0 x 0 numbers",
        "extra: unknown",
    ]

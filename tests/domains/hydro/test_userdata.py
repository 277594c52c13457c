"""Folders of tables: the published system, what is read from it, and every kind of bad input with its message."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import BadInput
from interlock.domains.hydro.case_file import case_from_json, case_to_json
from interlock.domains.hydro.tables import number
from interlock.domains.hydro.userdata import read_case


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


def test_rows_in_any_order_and_ids_of_any_kind(good: Any) -> None:
    case = good.case()

    def turned(text: str) -> str:
        header, *rows = text.splitlines()
        return "\n".join([header, *reversed(rows)]) + "\n"

    for file in ("hydros.csv", "inflows.csv", "scenarioprobability.csv"):
        good.change(file, turned)
    assert good.case().hash == case.hash
    bus = good.value("generators.csv", 2, "bus")
    good.edit("generators.csv", 2, bus=f"{bus}.0", gen_id="north", name="north")
    assert good.case().thermals.names[0] == "north"


def test_the_load_factor_applies_to_every_load(good: Any) -> None:
    before = good.case()
    (good.path / "stage_demand.csv").write_text("stage,bus,load_MW\n1,2,50\n2,2,60\n")
    good.head(load_factor=0.5)
    after = good.case()
    assert after.buses.load == pytest.approx(before.buses.load / 2)
    assert after.buses.reactive_load == pytest.approx(before.buses.reactive_load / 2)
    assert after.stage_load is not None
    assert after.stage_load[:, 1].tolist() == [25, 30]
    assert after.stage_load[1, 2:] == pytest.approx(before.buses.load[2:] / 2)


def test_the_electrical_limit_of_a_plant_counts(good: Any) -> None:
    production = float(good.value("hydros.csv", 2, "production_MW_per_m3s"))
    gen = int(good.value("hydros.csv", 2, "gen_id"))
    good.edit("generators.csv", gen + 1, pmax_MW="1.5")
    assert good.case().hydros.max_turbine[0] == pytest.approx(1.5 / production)
    good.edit("generators.csv", gen + 1, status="0")
    assert good.case().hydros.max_turbine[0] == 0


def test_the_reactive_limits_of_a_plant_are_those_of_its_generator(good: Any) -> None:
    gen = int(good.value("hydros.csv", 2, "gen_id"))
    good.edit("generators.csv", gen + 1, qmin_MVAr="-3", qmax_MVAr="")
    hydros = good.case().hydros
    assert (hydros.min_reactive[0], hydros.max_reactive[0]) == (-3.0, np.inf)
    good.edit("generators.csv", gen + 1, status="0")
    hydros = good.case().hydros
    assert (hydros.min_reactive[0], hydros.max_reactive[0]) == (0.0, 0.0)
    good.edit("generators.csv", gen + 1, qmax_MVAr="-4")
    assert "qmin_MVAr: -3 MVAr is above qmax_MVAr -4 MVAr" in good.only()


def test_units_and_branches_out_of_service_are_left_out(good: Any) -> None:
    case = good.case()
    good.edit("generators.csv", 2, status="0")
    assert good.case().thermals.names == case.thermals.names[1:]


def test_leftovers_of_arithmetic_are_zero(good: Any) -> None:
    good.edit("hydros.csv", 2, initial_volume_hm3="-1e-316")
    good.edit("inflows.csv", 2, inflow_m3s_hydro_1="4.9e-324")
    case = good.case()
    assert case.hydros.initial_volume[0] == 0
    assert case.inflows[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (None, "case.json: stage_hours is missing; expected the hours of a stage above 0, as K = 0.0036 x stage_hours"),
        (0, "case.json: stage_hours is 0, K would be 0; expected"),
        (-2, "case.json: stage_hours is -2, K would be -0.0072; expected"),
        ("week", "case.json: stage_hours is 'week'; expected"),
    ],
)
def test_stage_hours(good: Any, hours: Any, said: str) -> None:
    good.head(stage_hours=hours)
    assert said in good.only()


def test_a_volume_per_flow_of_another_stage_length(good: Any) -> None:
    good.head(flow_to_volume_hm3_per_m3s=0.0036)
    assert "but stage_hours 168 means 0.0036 x 168 = 0.6048 hm3 per m3/s" in good.only()


def test_counts_and_keys_of_the_head(good: Any) -> None:
    good.head(n_hydro=6, n_bus="x", base_MVA=0, deficit_cost_per_MWh=None, load_factor=-1, colour="blue")
    found = good.problems()
    assert "case.json: n_hydro is 6, but hydros.csv has 5 rows" in found
    assert "case.json: n_bus is 'x', expected a whole number from 1 to 100000" in found
    assert "case.json: base_MVA is 0, expected a number of MVA above 0" in found
    assert "case.json: deficit_cost_per_MWh is missing, expected a number of $/MWh above 0" in found
    assert "case.json: load_factor is -1, expected a number above 0" in found
    good.head(n_hydro=5, n_bus=12, base_MVA=100, deficit_cost_per_MWh=60, load_factor=1)
    assert "case.json: colour is not used" in good.notes()


def test_initial_volume_outside_its_bounds(good: Any) -> None:
    good.edit("hydros.csv", 3, max_volume_hm3="2.5", initial_volume_hm3="3.5", min_volume_hm3="1")
    assert good.only() == "hydros.csv row 3, initial_volume_hm3: 3.5 is outside [1, 2.5] hm3"


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
def test_least_above_largest(good: Any, file: str, row: int, values: dict[str, str], said: str) -> None:
    good.edit(file, row, **values)
    assert any(problem.startswith(f"{file} row {row}, {said}") for problem in good.problems())


def test_a_generator_that_cannot_turbine_the_least_flow(good: Any) -> None:
    gen = int(good.value("hydros.csv", 2, "gen_id"))
    good.edit("generators.csv", gen + 1, pmax_MW="0.1")
    good.edit("hydros.csv", 2, min_turbine_m3s="1", max_turbine_m3s="5")
    assert "its generator's limits in MW leave at most" in good.only()


def test_water_that_runs_in_a_circle(good: Any) -> None:
    for row, below in ((2, "2"), (3, "3"), (4, "1")):
        good.edit("hydros.csv", row, downstream_turbined=below, downstream_spilled="")
    circle = good.only().rpartition(": ")[2].split(" -> ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"1 (H1)", "2 (H2)", "3 (H3)"}
    below = {("1 (H1)", "2 (H2)"), ("2 (H2)", "3 (H3)"), ("3 (H3)", "1 (H1)")}
    assert set(itertools.pairwise(circle)) == below


def test_a_circle_of_turbined_and_spilled_water(good: Any) -> None:
    for row in range(2, 7):
        good.edit(
            "hydros.csv",
            row,
            downstream_turbined="2" if row == 2 else "",
            downstream_spilled="1" if row == 3 else "",
        )
    assert "water runs in a circle" in good.only()


def test_links_to_itself_and_to_nobody(good: Any) -> None:
    good.edit("hydros.csv", 2, downstream_turbined="1;9")
    place = "hydros.csv row 2, downstream_turbined: '1;9', expected"
    assert good.problems() == [
        f"{place} other plants than itself",
        f"{place} numbers of plants between semicolons; there is no plant 9",
    ]


def test_generators_of_plants(good: Any) -> None:
    second = good.value("hydros.csv", 3, "gen_id")
    good.edit("hydros.csv", 2, gen_id="99")
    good.edit("hydros.csv", 4, gen_id=second)
    good.edit("hydros.csv", 5, gen_id="1")
    found = good.problems()
    assert any(p.startswith("hydros.csv row 2, gen_id: '99', expected a gen_id of generators.csv") for p in found)
    assert f"hydros.csv row 4, gen_id: '{second}' already belongs to the plant of row 3" in found
    assert (
        "hydros.csv row 5, gen_id: '1', expected a generator of kind hydro, but row 2 of generators.csv is thermal"
        in found
    )
    assert "generators.csv row 12, gen_id: is of kind hydro, but no row of hydros.csv names it" in found


def test_unknown_buses(good: Any) -> None:
    good.edit("generators.csv", 2, bus="77")
    good.edit("branches.csv", 2, from_bus="78")
    found = good.problems()
    assert found[0].startswith("generators.csv row 2, bus: '77', expected a bus of buses.csv (there are: 1, 2, 3")
    assert found[1].startswith("branches.csv row 2, from_bus: '78', expected a bus of buses.csv")


def test_another_bus_than_that_of_the_generator(good: Any) -> None:
    gen = int(good.value("hydros.csv", 2, "gen_id"))
    bus = good.value("generators.csv", gen + 1, "bus")
    other = "2" if bus == "1" else "1"
    good.edit("hydros.csv", 2, bus=other)
    assert good.only() == f"hydros.csv row 2, bus: '{other}', expected the bus of its generator, {bus}"


def test_islands(good: Any) -> None:
    (good.path / "branches.csv").write_text((good.path / "branches.csv").read_text().splitlines()[0] + "\n")
    good.edit("buses.csv", 3, bus_type="3")
    found = good.problems()
    assert len(found) == 10
    assert found[0] == "buses.csv, bus_type: the island of buses 3 has no reference bus, expected exactly one (type 3)"


def test_two_reference_buses_in_an_island(good: Any) -> None:
    good.edit("buses.csv", 4, bus_type="3")
    assert "has reference buses 1, 3, expected exactly one (type 3)" in good.only()


def test_a_branch_without_impedance_and_one_to_its_own_bus(good: Any) -> None:
    good.edit("branches.csv", 2, r_pu="0", x_pu="0")
    good.edit("branches.csv", 3, to_bus=good.value("branches.csv", 3, "from_bus"), status="0")
    found = good.problems()
    assert found[0] == "branches.csv row 2, r_pu and x_pu: both 0, expected an impedance in per unit of base_MVA"
    assert found[1].endswith("expected another bus than from_bus")


def test_branches_that_the_linear_model_cannot_hold(good: Any) -> None:
    good.edit("branches.csv", 2, r_pu="0.02", x_pu="0")
    good.edit("branches.csv", 3, x_pu="-0.1")
    good.edit("branches.csv", 4, angmin_rad="0.1", angmax_rad="0.2")
    good.edit("branches.csv", 5, angmin_rad="-0.2", angmax_rad="-0.1")
    expected = "expected a per-unit reactance above 0: with this one it carries"
    around = "expected limits with 0 between them: a branch without flow must be possible"
    assert good.problems() == [
        f"branches.csv row 2, x_pu: '0', {expected} nothing in the linear model",
        f"branches.csv row 3, x_pu: '-0.1', {expected} power from the smaller to the larger angle in the linear model",
        f"branches.csv row 4, angmin_rad and angmax_rad: 0.1 to 0.2 rad, {around}",
        f"branches.csv row 5, angmin_rad and angmax_rad: -0.2 to -0.1 rad, {around}",
    ]


def test_a_deficit_that_is_cheaper_than_the_dearest_unit(good: Any) -> None:
    good.head(deficit_cost_per_MWh=42)
    assert good.only().startswith(
        "generators.csv row 11, cost_per_MWh: 42 $/MWh is not below deficit_cost_per_MWh 42 of case.json: "
        "shedding load would be cheaper than generating (force_deficit_cost: true"
    )
    good.head(force_deficit_cost=True)
    assert any("shedding load would be cheaper" in note for note in good.notes())
    good.head(force_deficit_cost="yes")
    assert "force_deficit_cost is 'yes', expected true or false" in good.problems()[0]


def test_what_is_only_noted(good: Any) -> None:
    good.edit("generators.csv", 2, cost_per_MWh="-3")
    good.edit("buses.csv", 5, load_MW="-0.5")
    good.edit("hydros.csv", 2, min_turbine_m3s="0.1")
    notes = good.notes()
    assert "generators.csv row 2, cost_per_MWh: -3 is negative" in notes
    assert "buses.csv row 5, load_MW: -0.5 is negative" in notes
    assert any(note.startswith("min_turbine_m3s above 0") for note in notes)
    assert notes[0] == "a stage has 168 h: 1 m3/s brings K = 0.6048 hm3"


@pytest.mark.parametrize(("factor", "suspect"), [(0.005, "load_MW of buses.csv"), (200, "pmax_MW of generators.csv")])
def test_loads_and_capacities_in_different_units(good: Any, factor: float, suspect: str) -> None:
    good.head(load_factor=factor)
    assert f"is {suspect} in per unit? expected MW" in good.only()


def test_all_problems_of_all_files_at_once(good: Any) -> None:
    good.head(stage_hours=0)
    good.edit("hydros.csv", 2, initial_volume_hm3="-1")
    good.edit("generators.csv", 2, kind="nuclear")
    good.edit("buses.csv", 2, load_MW="12,5".replace(",", ";"))
    good.edit("branches.csv", 2, status="2")
    good.edit("inflows.csv", 2, scenario="0")
    (good.path / "outages.csv").write_text("gen_id,from_stage,to_stage\n99,5,2\n")
    named = {problem.split(" ")[0].rstrip(":,") for problem in good.problems()}
    assert named == {
        "case.json",
        "hydros.csv",
        "generators.csv",
        "buses.csv",
        "branches.csv",
        "inflows.csv",
        "outages.csv",
    }


def test_files_that_are_not_there_or_not_tables(good: Any, tmp_path: Path) -> None:
    (good.path / "hydros.csv").unlink()
    (good.path / "buses.csv").write_bytes(b"\xff\xfe\x00")
    (good.path / "branches.csv").write_text("")
    (good.path / "case.json").write_text("{")
    found = good.problems()
    assert [problem.split(":")[0] for problem in found] == [
        "case.json",
        "hydros.csv",
        "buses.csv",
        "branches.csv row 1",
    ]
    with pytest.raises(BadInput, match="no such folder"):
        read_case(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is a file; expected a folder"):
        read_case(good.path / "case.json")


def test_columns_with_a_wrong_name(good: Any) -> None:
    good.change(
        "hydros.csv",
        lambda text: text.replace("max_volume_hm3", "max_volume_m3").replace("min_turbine", "minturbine"),
    )
    found = good.problems()
    assert "hydros.csv row 1: no column max_volume_hm3; is max_volume_m3 meant for it?" in found
    assert "hydros.csv row 1: unknown column minturbine_m3s; did you mean min_turbine_m3s?" in found
    good.change("buses.csv", lambda text: text.replace(",", ";"))
    assert "buses.csv row 1: expected columns separated by commas, and points in decimal numbers" in good.problems()


def test_numbers_of_plants(good: Any) -> None:
    good.edit("hydros.csv", 3, hydro="1")
    good.edit("hydros.csv", 4, hydro="6", name="H1")
    found = good.problems()
    assert "hydros.csv row 3, hydro: '1', expected a number from 1 to 5, each once" in found
    assert "hydros.csv row 4, hydro: '6', expected a number from 1 to 5, each once" in found
    assert "hydros.csv row 4, name: 'H1' is already in row 2" in found


def test_spilling_at_a_cost_is_not_ignored(good: Any) -> None:
    good.change("hydros.csv", lambda text: text.replace("downstream_spilled", "downstream_spilled,spill_cost", 1))
    lines = (good.path / "hydros.csv").read_text().splitlines()
    (good.path / "hydros.csv").write_text("\n".join([lines[0], lines[1] + ",5", *(line + ",0" for line in lines[2:])]))
    assert good.only() == "hydros.csv row 2, spill_cost: '5', expected 0: spilling costs nothing here"


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

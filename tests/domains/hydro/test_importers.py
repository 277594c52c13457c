"""A system of HydroPowerModels.jl brought into tables, and what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.domains.hydro.importers import import_powermodels
from interlock.domains.hydro.toy import SEASON, toy_case
from interlock.domains.hydro.userdata import read_case


def unit(bus: int, pmax: float, cost: float) -> dict[str, Any]:
    return {"gen_bus": bus, "pmin": 0, "pmax": pmax, "qmin": -100, "qmax": 100, "model": 2, "cost": [cost, 0],
            "gen_status": 1}  # fmt: skip


def branch(start: int, end: int, r: float, x: float, b: float, rate: float) -> dict[str, Any]:
    return {"f_bus": start, "t_bus": end, "br_r": r, "br_x": x, "g_fr": 0, "g_to": 0, "b_fr": b, "b_to": b,
            "rate_a": rate, "tap": 1, "shift": 0, "angmin": -1.0472, "angmax": 1.0472, "br_status": 1}  # fmt: skip


def bus(kind: int) -> dict[str, Any]:
    return {"bus_type": kind, "vmin": 0.9, "vmax": 1.1}


GRID: dict[str, Any] = {
    "name": "case3",
    "baseMVA": 100,
    "per_unit": True,
    "cost_deficit": 1000,
    "bus": {"1": bus(3), "2": bus(2), "3": bus(2)},
    "gen": {"1": unit(2, 1, 2000), "2": unit(3, 0.5, 10000), "3": unit(1, 0.8, 0)},
    "branch": {
        "1": branch(1, 3, 0.065, 1, 0.225, 1),
        "2": branch(3, 2, 0.025, 0.5, 0.35, 0.65),
        "3": branch(1, 2, 0.042, 1, 0.15, 0.25),
    },
    "load": {
        "1": {"load_bus": 3, "pd": 0.75, "qd": 0, "status": 1},
        "2": {"load_bus": 3, "pd": 0.25, "qd": 0, "status": 1},
        "3": {"load_bus": 1, "pd": 9, "qd": 9, "status": 0},
    },
    "shunt": {},
    "dcline": {},
}
PLANT: dict[str, Any] = {
    "index": 7, "index_grid": 3, "max_volume": 0.54, "min_volume": 0, "max_turn": 80, "min_turn": 0,
    "initial_volume": 0.18, "final_volume": 0.0, "production_factor": 1, "spill_cost": 0, "downstream_turn": [],
    "downstream_spill": [],
}  # fmt: skip


@pytest.fixture
def grid() -> dict[str, Any]:
    return copy.deepcopy(GRID)


def write(folder: Path, grid: dict[str, Any], plants: list[dict[str, Any]], inflows: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "PowerModels.json").write_text(json.dumps(grid))
    (folder / "hydro.json").write_text(json.dumps({"Hydrogenerators": plants}))
    rows = inflows or "\n".join(f"{w},{w * 2 / 3},{w / 3}" for w in SEASON)
    (folder / "inflows.csv").write_text(rows + "\n")
    (folder / "scenarioprobability.csv").write_text("0.3,0.4,0.3\n" * len(SEASON))
    return folder


def refused(source: Path, target: Path) -> list[str]:
    with pytest.raises(BadInput) as caught:
        import_powermodels(source, target, stage_hours=1)
    assert not target.exists()
    assert sorted(path.name for path in target.parent.iterdir()) == ["source"]
    return list(caught.value.problems)


def test_the_toy_as_it_was_published(grid: dict[str, Any], tmp_path: Path) -> None:
    notes = import_powermodels(write(tmp_path / "source", grid, [PLANT]), tmp_path / "case", stage_hours=1)
    assert read_case(tmp_path / "case")[0].hash == toy_case().hash
    assert notes == ("a stage has 1 h: 1 m3/s brings K = 0.0036 hm3",)


def test_cascades_and_inflows_of_several_plants(grid: dict[str, Any], tmp_path: Path) -> None:
    grid["gen"]["4"] = unit(2, 0.4, 0)
    lower = {**PLANT, "index": 9, "index_grid": 4, "max_turn": 20, "name": "low"}
    source = write(
        tmp_path / "source", grid, [{**PLANT, "downstream_turn": [9]}, lower], "1,2,3,10,20,30\n4,5,6,40,50,60"
    )
    (source / "scenarioprobability.csv").unlink()
    import_powermodels(source, tmp_path / "case", stage_hours=168, load_factor=0.5)
    case = read_case(tmp_path / "case")[0]
    assert case.hydros.names == ("H1", "low")
    assert case.hydros.turbined_to.tolist() == [[False, True], [False, False]]
    assert not case.hydros.spilled_to.any()
    assert case.hydros.bus.tolist() == [0, 1]
    assert case.inflows.tolist() == [[[1, 10], [2, 20], [3, 30]], [[4, 40], [5, 50], [6, 60]]]
    assert case.buses.load.tolist() == [0, 0, 50]
    assert case.flow_to_volume == pytest.approx(0.6048)


def test_no_limit_of_a_branch(grid: dict[str, Any], tmp_path: Path) -> None:
    grid["branch"]["1"]["rate_a"] = 0
    import_powermodels(write(tmp_path / "source", grid, [PLANT]), tmp_path / "case", stage_hours=1)
    assert read_case(tmp_path / "case")[0].branches.rate.tolist() == [float("inf"), 65, 25]


def test_parts_without_a_counterpart(grid: dict[str, Any], tmp_path: Path) -> None:
    grid["shunt"] = {"1": {"gs": 0.1}}
    grid["baseMVA"] = 0
    del grid["branch"]
    assert refused(write(tmp_path / "source", grid, []), tmp_path / "case") == [
        "hydro.json: Hydrogenerators: expected a list of plants",
        "PowerModels.json: branch: expected a mapping of entries",
        "PowerModels.json: shunt: 1 entries, which are not modelled here",
        "PowerModels.json: baseMVA is 0, expected MVA above 0",
    ]


def test_costs_and_loads_that_cannot_be_taken(grid: dict[str, Any], tmp_path: Path) -> None:
    grid["gen"]["1"]["cost"] = [1.0, 2000, 0]
    grid["gen"]["2"]["model"] = 1
    grid["load"]["1"]["load_bus"] = 8
    source = write(tmp_path / "source", grid, [PLANT], "1,2\n3")
    assert refused(source, tmp_path / "case") == [
        "PowerModels.json: gen 1: cost [1.0, 2000, 0] is not linear",
        "PowerModels.json: gen 2: cost [10000, 0], expected the terms of a polynomial (model 2)",
        "PowerModels.json: load 1: there is no bus 8",
        "inflows.csv: row 2 has 1 values, row 1 2",
    ]


def test_what_the_tables_refuse(grid: dict[str, Any], tmp_path: Path) -> None:
    grid["bus"]["1"]["bus_type"] = 1
    source = write(tmp_path / "source", grid, [{**PLANT, "downstream_spill": [1], "initial_volume": 0.6}])
    found = refused(source, tmp_path / "case")
    assert "hydros.csv row 2, initial_volume_hm3: 0.6 is outside [0, 0.54] hm3" in found
    assert any("there is no plant index 1" in problem for problem in found)
    assert any("no reference bus" in problem for problem in found)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    expected = ["PowerModels.json: no such file", "hydro.json: no such file"]
    assert refused(tmp_path / "source", tmp_path / "case") == expected


def test_a_target_with_something_in_it(grid: dict[str, Any], tmp_path: Path) -> None:
    source = write(tmp_path / "source", grid, [PLANT])
    with pytest.raises(UsageError, match="not an empty folder"):
        import_powermodels(source, source, stage_hours=1)
    with pytest.raises(BadInput, match=r"PowerModels\.json is another program's"):
        read_case(source)

"""Scenarios: the schema, those that are shipped, and the systems they make."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from interlock.core.errors import BadInput, UsageError
from interlock.domains.hydro import DOMAIN
from interlock.domains.hydro.case_file import case_to_json, write_case
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.instances import case_of, data_set_folder, inflow_paths, open_case
from interlock.domains.hydro.scenario import HydroScenario
from interlock.scenarios.cli import main
from interlock.scenarios.loading import load_scenario, scenario_names

GENERATED = {"source": "generated", "n_hydro": 3, "seed": 1}
BOLIVIA = [
    "bolivia_ac", "bolivia_bus1", "bolivia_dc", "bolivia_dc_12", "bolivia_dc_48", "bolivia_dry", "bolivia_dry_stress",
    "bolivia_persistent", "bolivia_soc",
]  # fmt: skip
OTHERS = ["generated_100", "generated_20", "generated_3", "toy"]


def scenario(**changes: Any) -> HydroScenario:
    return HydroScenario(**{"name": "test", "case": GENERATED, **changes})


# ------------------------------------------------------------------------------------------ schema


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"horizon": 10, "reported_stages": 11}, "reported_stages 11 is larger than horizon 10: set it to 10 or less"),
        ({"horizon": 10, "storage_target": {"stage": 11, "share": 0.2, "probability": 0.95}}, "is after horizon 10"),
        ({"outages": [{"unit": "G1", "from_stage": 5, "to_stage": 4}]}, "from_stage 5 is after to_stage 4"),
        ({"case": {"source": "internet"}}, "toy"),
        ({"case": {"source": "data_set", "name": "atlantis"}}, "bolivia"),
        ({"case": {"source": "toy", "n_hydro": 3}}, "Extra inputs"),
        ({"inflows": {"phi": 1.0}}, "less than 1"),
        ({"network": "ptdf"}, "bus1"),
        ({"load_factor": 0}, "greater than 0"),
    ],
)
def test_wrong_scenarios(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        scenario(**changes)


def test_protocol_and_reported_stages() -> None:
    assert scenario().evaluation.test_instances == 500
    assert scenario(evaluation={"num_envs": 8}).evaluation.test_instances == 500
    assert scenario(horizon=30).reported == 30
    assert scenario(horizon=30, reported_stages=20).reported == 20


def test_a_policy_is_tied_to_system_and_horizon() -> None:
    here = scenario(horizon=20).signature()
    same = ({"network": "bus1"}, {"inflows": {"process": "persistent"}}, {"eens_limit": 0.1}, {"baselines": ["mpc"]})
    assert all(scenario(horizon=20, **changes).signature() == here for changes in same)
    other = ({"horizon": 21}, {"load_factor": 1.1}, {"inflows": {"factor": 0.9}}, {"case": {**GENERATED, "seed": 2}},
             {"outages": [{"unit": "G1", "from_stage": 1, "to_stage": 1}]})  # fmt: skip
    hashes = [json.dumps(scenario(**{"horizon": 20, **changes}).signature()) for changes in other]
    assert len({json.dumps(here), *hashes}) == 1 + len(other)


# ------------------------------------------------------------------------------------------ systems


def test_factors_and_outages_are_applied() -> None:
    plain = make_case(3, 1)
    case = case_of(
        scenario(inflows={"factor": 0.6}, load_factor=1.15, outages=[{"unit": "G2", "from_stage": 3, "to_stage": 4}])
    )
    assert case.inflows == pytest.approx(0.6 * plain.inflows)
    assert case.buses.load == pytest.approx(1.15 * plain.buses.load)
    assert case.buses.reactive_load == pytest.approx(1.15 * plain.buses.reactive_load)
    full = plain.thermals.max_power[1]
    assert [case.thermal_limit(stage)[1] for stage in (1, 2, 3, 4)] == [full, 0, 0, full]


def test_outages_of_units_that_are_not_there() -> None:
    outages = [{"unit": "G 2", "from_stage": 1, "to_stage": 2}, {"unit": "zzz", "from_stage": 1, "to_stage": 2}]
    with pytest.raises(BadInput) as caught:
        case_of(scenario(outages=outages))
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith(
        "outages.0.unit: 'G 2' is no thermal unit of generated 3 (seed 1); did you mean G2?"
    )
    assert caught.value.problems[1].endswith("there are: G1, G2, G3, G4, G5, G6")


def test_the_same_system_from_every_source(tmp_path: Path) -> None:
    case = make_case(3, 1)
    write_case(case, tmp_path / "system")
    inline = json.loads(json.dumps({"source": "inline", "values": case_to_json(case)}))
    assert case_of(scenario()).hash == case.hash
    assert case_of(scenario(case=inline)).hash == case.hash
    assert case_of(scenario(case={"source": "folder", "path": str(tmp_path / "system")})).hash == case.hash
    assert case_of(scenario(case={"source": "toy"}), tmp_path / "system").hash == case.hash
    assert scenario(case=inline).signature() == scenario().signature()
    again = HydroScenario.model_validate_json(scenario(case=inline).canonical_json())
    assert case_of(again).hash == case.hash


def test_a_horizon_beyond_the_cycle_is_told() -> None:
    assert open_case(scenario(horizon=48))[1] == ()
    assert open_case(scenario(horizon=49))[1] == (
        "49 stages are more than the 48 of the inflow cycle: stage t takes row ((t - 1) mod 48) + 1",
    )
    case = case_of(scenario(horizon=60))
    drawn = inflow_paths(scenario(horizon=60), case, 0, "train", 0, 50)[:, 50]
    assert all(any(np.array_equal(row, seen) for seen in case.inflows[2]) for row in drawn)


def test_a_horizon_beyond_the_demand_is_told(good: Any) -> None:
    good.write("stage_demand.csv", "stage,bus,load_MW", "1,2,50", "2,2,60")
    case, notes = open_case(scenario(horizon=3), good.path)
    assert "3 stages are more than the 2 of stage_demand.csv: it starts again" in notes
    assert [case.load(stage)[1] for stage in range(3)] == [50, 60, 50]
    assert not any("stage_demand" in note for note in open_case(scenario(horizon=2), good.path)[1])


def test_a_data_set_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_DATA", str(tmp_path))
    assert data_set_folder("bolivia") == tmp_path / "hydro" / "bolivia"
    with pytest.raises(
        UsageError, match="`interlock data hydro-bolivia --from DIR`, where DIR holds the folder bolivia"
    ):
        case_of(load_scenario(DOMAIN, "bolivia-dc"))


# ------------------------------------------------------------------------------------------ shipped scenarios


def test_what_is_shipped() -> None:
    assert scenario_names(DOMAIN) == sorted([*BOLIVIA, *OTHERS])


@pytest.mark.parametrize("name", OTHERS)
def test_scenarios_without_data(name: str) -> None:
    told = load_scenario(DOMAIN, name)
    case = case_of(told)
    assert told.title
    assert inflow_paths(told, case, 0, "test", 0, 2).shape == (2, told.horizon, len(case.hydros.names))


@pytest.mark.parametrize("name", BOLIVIA)
def test_scenarios_of_the_published_system(name: str, hydro_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = load_scenario(DOMAIN, name)
    case = case_of(told, hydro_data / "bolivia")
    monkeypatch.setenv("INTERLOCK_DATA", str(hydro_data.parent))
    assert case_of(told).hash == case.hash
    paths = inflow_paths(told, case, told.evaluation.test_seed, "test", 0, 3)
    assert paths.shape == (3, told.horizon, 11)
    assert (told.horizon, told.reported) == {"12": (12, 12), "48": (48, 48)}.get(name[-2:], (126, 96))


def test_the_dry_scenarios(hydro_data: Path) -> None:
    folder = hydro_data / "bolivia"
    plain = case_of(load_scenario(DOMAIN, "bolivia-dc"), folder)
    dry = load_scenario(DOMAIN, "bolivia-dry")
    assert dry.eens_limit == 0.02
    assert case_of(dry, folder).inflows == pytest.approx(0.6 * plain.inflows)
    stress = load_scenario(DOMAIN, "bolivia-dry-stress")
    case = case_of(stress, folder)
    assert stress.eens_limit == 0.1
    assert case.buses.load.sum() == pytest.approx(554.9, abs=0.1)
    assert case.thermal_limit(0).sum() == pytest.approx(506.71, abs=0.01)
    assert [round(506.71 - case.thermal_limit(t).sum(), 1) for t in (18, 19, 34, 35)] == [0, 103.5, 103.5, 0]


# ------------------------------------------------------------------------------------------ on the command line


def test_a_folder_on_the_command_line(good: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ["--set", "baselines=[myopic]", "--set", "evaluation.test_instances=2", "--set", "method=null"]
    assert main(["hydro", "compare", "toy", "--data", str(good.path), *settings, "--json", "--quiet"]) == 0
    run = json.loads(capsys.readouterr().out)["run"]
    assert main(["hydro", "check", "toy", "--data", str(good.path), "--json"]) == 0
    assert "a stage has 168 h: 1 m3/s brings K = 0.6048 hm3" in json.loads(capsys.readouterr().out)["notes"]
    assert main(["hydro", "report", run, "--out", "first", "--json"]) == 0
    good.edit("hydros.csv", 2, max_volume_hm3="1000")
    assert main(["hydro", "report", run, "--out", "second", "--json"]) == 3
    assert f"has changed since run {run} began" in capsys.readouterr().err
    good.edit("hydros.csv", 2, max_volume_hm3="-1")
    assert main(["hydro", "check", "toy", "--data", str(good.path)]) == 3
    assert "hydros.csv row 2, max_volume_hm3: '-1', expected a number of hm3, at least 0" in capsys.readouterr().err
    assert main(["hydro", "compare", "toy", "--data", "nowhere", "--quiet"]) == 3


def test_wrong_settings_of_the_case(capsys: Any) -> None:
    assert main(["hydro", "check", "toy", "--set", "case.source=tou"]) == 3
    assert "case" in capsys.readouterr().err
    assert main(["hydro", "check", "toy", "--set", "case={source: generated, n_hydro: 0}"]) == 3
    assert "case.n_hydro: got 0, expected a value greater than or equal to 1" in capsys.readouterr().err

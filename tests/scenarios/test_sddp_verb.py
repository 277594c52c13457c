"""The verb `hydro sddp`: bounds in the JSON, a kill and a resume, cuts that belong to their system."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from interlock.core.problem import Verb
from interlock.scenarios.running import read_curves

FEW = ["--set", "evaluation.test_instances=8", "--set", "baselines=[myopic]"]


def the_run(folder: Path) -> Path:
    (record,) = (folder / "runs").glob("*/run.json")
    return record.parent


def training(run: Path) -> dict[str, Any]:
    """What training came to, but for the time it took."""
    return {
        "cuts": (run / "policy" / "policy.safetensors").read_bytes(),
        "about": json.loads((run / "policy" / "policy.json").read_text()),
        "curves": [{k: v for k, v in row.items() if not k.startswith("time/")} for row in read_curves(run)],
    }


@pytest.mark.parametrize(("settings", "value"), [([], 1639.116), (["--set", "horizon=4"], 2355.863)])
def test_bounds_of_the_toy_in_the_json(cli, settings, value):
    done = cli("hydro", "sddp", "toy", *settings, *FEW, "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert found["bounds"]["sddp"]["kind"] == "relaxation"
    assert found["bounds"]["sddp"]["value"] == pytest.approx(value, abs=1e-3)
    assert found["bounds"]["extensive_form"]["value"] == pytest.approx(value, abs=1e-3)
    assert {"sddp", "myopic"} <= set(found["policies"])
    assert found["policies"]["sddp"]["learned"] is True
    run = the_run(cli.folder)
    assert json.loads((run / "run.json").read_text())["verb"] == "sddp"


def test_notes_about_the_data_are_in_the_json(cli):
    done = cli("hydro", "compare", "toy", "--set", "inflows.process=persistent", *FEW, "--json")
    assert done.code == 0, done.err
    (note,) = [text for text in done.json()["warnings"] if text.startswith("cuts and plans take inflows")]
    assert note.endswith("here they are persistent: such cuts prove no bound here")


def test_a_carried_bound_can_be_the_reference_and_a_policy_refuses_another_system(cli):
    done = cli("hydro", "sddp", "toy", *FEW, "--set", "evaluation.reference_bound=sddp", "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert json.loads((the_run(cli.folder) / "evidence.json").read_text())["reference_bound"] == "sddp"
    gap = found["policies"]["myopic"]["objective"]["mean"] - found["bounds"]["sddp"]["value"]
    assert found["policies"]["myopic"]["gap"]["mean"] == pytest.approx(gap)
    run = the_run(cli.folder).name
    beside = cli("hydro", "compare", "toy", *FEW, "--policy", run, "--json")
    assert beside.json()["bounds"]["sddp"]["value"] == found["bounds"]["sddp"]["value"]
    other = cli("hydro", "compare", "toy", *FEW, "--set", "inflows.factor=0.9", "--policy", run)
    assert other.code == 3
    assert "was made for" in other.err
    unknown = cli("hydro", "sddp", "toy", "--set", "evaluation.reference_bound=sdpd")
    assert unknown.code == 3
    assert "did you mean" in unknown.err


def test_killed_and_resumed_equals_never_killed(cli, command_line, tmp_path_factory):
    command = ["hydro", "sddp", "toy", "--set", "horizon=6", *FEW, "--checkpoint-every", "0.1s"]
    command += ["--method-set", "iterations=80"]
    whole = command_line(tmp_path_factory.mktemp("whole"))
    done = whole(*command)
    assert done.code == 0, done.err
    process = cli.start(*command)
    end = time.monotonic() + 60
    while not any(len(read_curves(run)) >= 5 for run in (cli.folder / "runs").glob("*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    run = the_run(cli.folder)
    assert not (run / "policy").exists()
    assert len(read_curves(run)) < 80
    resumed = cli("hydro", "sddp", "--resume", run.name, "--json")
    assert resumed.code == 0, resumed.err
    assert training(run) == training(the_run(whole.folder))
    refused = cli("hydro", "export", run.name)
    assert refused.code == 2
    assert "stage program with its own cuts" in refused.err


def test_stages_of_a_verb_must_follow_one_another():
    for stages in (("compare",), ("compare", "train"), ("train", "report")):
        with pytest.raises(ValueError, match="stages"):
            Verb("text", "sddp", stages)

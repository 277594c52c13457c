"""A run that is killed or interrupted anywhere goes on to the same result as one that was not; with real signals."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.scenarios.running import read_curves

DEMO = ["demo_inventory", "run", "steady", "--set", "evaluation.test_instances=4000"]
SLOWLY = ["--method-set", "pause=0.1"]
TIMES = ("decision_ms", "single_ms")


def wait_for(condition: Callable[[], bool], process: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended too early: {process.communicate()}"
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


def the_run(folder: Path) -> Path:
    (record,) = (folder / "runs").glob("*/run.json")
    return record.parent


def record_of(folder: Path) -> dict[str, Any]:
    files = list((folder / "runs").glob("*/run.json"))
    return json.loads(files[0].read_text()) if files else {"stages": {}}


def stage(folder: Path, name: str) -> str:
    return record_of(folder)["stages"].get(name, {}).get("status", "")


def training(run: Path) -> dict[str, Any]:
    """What training came to, but for the time it took."""
    return {
        "policy": (run / "policy" / "policy.safetensors").read_bytes(),
        "about": json.loads((run / "policy" / "policy.json").read_text()),
        "curves": [{k: v for k, v in row.items() if not k.startswith("time/")} for row in read_curves(run)],
    }


def outcome(run: Path) -> dict[str, Any]:
    """Everything a run came to, but for the time it took."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(entry) for key, entry in value.items() if key not in TIMES}
        return value

    return {**training(run), "evidence": timeless(json.loads((run / "evidence.json").read_text()))}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, third_party: Path, command_line) -> dict[str, Any]:
    """What the run comes to when nothing happens to it."""
    folder = tmp_path_factory.mktemp("whole")
    done = command_line(folder, third_party)(*DEMO, *SLOWLY)
    assert done.code == 0, done.err
    return outcome(the_run(folder))


@pytest.mark.parametrize("killed_in", ["train", "compare", "report", "export"])
def test_kill_and_resume_equals_never_killed(demo_cli, uninterrupted, killed_in: str):
    process = demo_cli.start(*DEMO, *SLOWLY)

    def reached() -> bool:
        if killed_in != "train":
            return stage(demo_cli.folder, killed_in) == "running"
        return any(len(read_curves(run)) >= 6 for run in (demo_cli.folder / "runs").glob("*"))

    wait_for(reached, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    run = the_run(demo_cli.folder)
    assert demo_cli("runs", "--json").json()["runs"][0]["status"] == "stopped"
    rows = len(read_curves(run))
    if killed_in == "train":
        assert 6 <= rows < 21
        assert not (run / "policy").exists()

    resumed = demo_cli("demo_inventory", "run", "--resume", run.name, "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json()["run"] == run.name
    assert outcome(run) == uninterrupted
    assert (run / "report.html").is_file()
    assert (run / "bundle").is_dir()
    assert record_of(demo_cli.folder)["status"] == "done"
    leftovers = [path.name for path in run.rglob("*.tmp")]
    assert len(leftovers) <= 1, "at most the file that was being written when the process was killed"


def test_ctrl_c_gives_130_and_a_checkpoint_to_go_on_from(demo_cli, uninterrupted):
    process = demo_cli.start(*DEMO, *SLOWLY)
    wait_for(lambda: any((demo_cli.folder / "runs").glob("*/checkpoint.safetensors")), process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out == ""
    assert "stopping after a checkpoint" in err
    run = the_run(demo_cli.folder)
    assert f"go on with: interlock demo_inventory run --resume {run.name}" in err
    assert record_of(demo_cli.folder)["status"] == "interrupted"
    assert 1 <= len(read_curves(run)) < 21

    resumed = demo_cli("demo_inventory", "run", "steady", "--resume", run.name)
    assert resumed.code == 0, resumed.err
    assert outcome(run) == uninterrupted


def test_a_second_ctrl_c_aborts_at_once(demo_cli):
    process = demo_cli.start(*DEMO, "--method-set", "pause=60")
    wait_for(lambda: any((demo_cli.folder / "runs").glob("*/checkpoint.safetensors")), process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_spent_budget_gives_5_and_more_budget_goes_on(demo_cli, uninterrupted):
    spent = demo_cli(*DEMO, *SLOWLY, "--budget", "1s", "--json")
    assert spent.code == 5, spent.err
    assert "budget spent" in spent.err
    assert "demo_levels" in spent.json()["policies"]
    run = the_run(demo_cli.folder)
    assert 1 <= len(read_curves(run)) < 21
    assert (run / "bundle").is_dir()
    before = record_of(demo_cli.folder)["stages"]["train"]

    more = demo_cli("demo_inventory", "run", "--resume", run.name, "--budget", "5m")
    assert more.code == 0, more.err
    assert outcome(run) == uninterrupted
    after = record_of(demo_cli.folder)
    assert after["stages"]["train"]["seconds"] > before["seconds"] + 1.0, "1 s before, more than 1 s since"
    assert after["stages"]["train"]["cpu_seconds"] > before["cpu_seconds"]
    assert after["seconds"] > after["stages"]["train"]["seconds"]
    assert list(after["stages"]) == ["train", "compare", "report", "export"]


def test_what_cannot_be_resumed(demo_cli):
    done = demo_cli(*DEMO)
    assert done.code == 0, done.err
    run = the_run(demo_cli.folder).name
    cases = {
        ("run", "--resume", "nothing"): "there is no run 'nothing'",
        ("train", "--resume", run): "belongs to `interlock demo_inventory run`",
        ("run", "busy", "--resume", run): "is of scenario steady, not busy",
        ("run", "--resume", run, "--set", "capacity=3"): "keeps its scenario",
    }
    for command, message in cases.items():
        refused = demo_cli("demo_inventory", *command)
        assert refused.code == 2
        assert message in refused.err
    refused = demo_cli("bin_packing", "run", "--resume", run)
    assert (refused.code, "belongs to `interlock demo_inventory run`" in refused.err) == (2, True)
    before = outcome(the_run(demo_cli.folder))
    assert demo_cli("demo_inventory", "run", "--resume", run).code == 0
    assert outcome(the_run(demo_cli.folder)) == before


SMALL = {
    "cross_entropy": ("generations=6", "instances=400"),
    "mask_ppo": ("steps=40000", "validate_every=8000", "num_envs=32"),
}


@pytest.mark.parametrize("method", SMALL)
def test_the_methods_we_ship_survive_a_kill_too(cli, command_line, tmp_path_factory, method: str):
    command = ["bin_packing", "train", "tiny_3", "--method", method, "--checkpoint-every", "0.1s"]
    command += [part for key in SMALL[method] for part in ("--method-set", key)]
    whole = command_line(tmp_path_factory.mktemp("whole"))
    done = whole(*command)
    assert done.code == 0, done.err
    process = cli.start(*command)
    wait_for(lambda: any(len(read_curves(run)) >= 2 for run in (cli.folder / "runs").glob("*")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    run = the_run(cli.folder)
    assert not (run / "policy").exists()
    resumed = cli("bin_packing", "train", "--resume", run.name)
    assert resumed.code == 0, resumed.err
    assert training(run) == training(the_run(whole.folder))

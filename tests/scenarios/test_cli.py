"""The command line as users and scripts see it: exit codes, one JSON object on stdout, messages, files."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
import yaml

import interlock
from interlock.scenarios.cli import main

QUICK = ["--set", "evaluation.test_instances=200"]


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("nothing", 2, "there is no domain or command 'nothing'; there are: list"),
        ("bin-pakcing list", 2, "did you mean 'bin_packing'?"),
        ("bin_packing compere cut2", 2, "bin_packing has no verb 'compere', did you mean 'compare'?"),
        ("bin_packing show", 2, "Missing argument"),
        ("bin_packing show cut2 --fulll", 2, "No such option: --fulll"),
        ("bin_packing run", 2, "which scenario? interlock bin_packing run SCENARIO; there are: buffer, case_pallet"),
        ("bin_packing run cut3", 2, "there is no bin_packing scenario 'cut3', did you mean 'cut2'?"),
        ("bin_packing run ./mine.yaml", 2, "there is no file mine.yaml"),
        ("bin_packing run cut2 --method mask_pp", 2, "no method preset 'mask_pp', did you mean 'mask_ppo'?"),
        ("bin_packing run cut2 --budget soon", 2, "'soon' is not a duration"),
        ("bin_packing run cut2 --seed -1", 2, "--seed"),
        ("bin_packing run cut2 --set items", 2, "--set 'items': expected key=value"),
        ("bin_packing evaluate cut2", 2, "evaluate takes one policy"),
        ("bin_packing evaluate tiny_3 --policy lineer12", 2, "there is no policy 'lineer12', did you mean 'linear12'?"),
        ("bin_packing report nothing", 2, "there is no run 'nothing' in runs"),
        ("bin_packing export nothing", 2, "there is no run 'nothing' in runs"),
        ("bin_packing compare tiny_3 --record nothing", 2, "bin_packing has no row 'nothing'"),
        ("runs show", 2, "which run? interlock runs show RUN"),
        ("runs delete nothing", 2, "there is no run 'nothing'"),
        ("data nothing", 2, "there is no data set 'nothing'"),
        ("decide nowhere", 2, "name the request (--request FILE, or - for stdin), or ask for --selftest"),
        ("bin_packing show cut2 --set bin.lenght=3 --set items.low=x", 3, "did you mean 'length'?"),
        ("bin_packing check cut2 --set evaluation.num_envs=0", 3, "evaluation.num_envs: got 0"),
        (
            "bin_packing run cut2 --method cross_entropy --method-set elits=3",
            3,
            "elits: unknown key, did you mean 'elite'?",
        ),
        ("bin_packing evaluate cut2 --policy dbl --data nowhere.csv", 3, "nowhere.csv"),
        (
            "bin_packing compare tiny_3 --set evaluation.reference_heuristic=lineer12",
            3,
            "evaluation.reference_heuristic: got 'lineer12', did you mean 'linear12'?",
        ),
        (
            "bin_packing check tiny_3 --set evaluation.reference_bound=optimal_onlin",
            3,
            "evaluation.reference_bound: got 'optimal_onlin', did you mean 'optimal_online'?",
        ),
        ("bin_packing check cut2 --set bin.lenght=3", 3, "error: --set: 1 problem\n  - bin.lenght: unknown key"),
        (
            "bin_packing run cut2 --method cross_entropy --method-set elits=3",
            3,
            "error: --method-set: 1 problem\n  - elits: unknown key",
        ),
    ],
)
def test_wrong_use_and_bad_input(tmp_path: Path, monkeypatch, capsys, command: str, code: int, message: str):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLOCK_STORE", raising=False)
    assert main([*command.split(), "--json"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "runs").exists(), "a command that is refused leaves no run behind"


def test_problems_of_a_file_and_of_the_command_line_are_told_apart(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("extends: cut2\ntitel: mine\n")
    assert main(["bin_packing", "show", "./mine.yaml", "--set", "bin.lenght=3"]) == 3
    said = capsys.readouterr().err
    assert "error: mine.yaml: 2 problems" in said
    assert "- titel: unknown key" in said
    assert "- --set bin.lenght: unknown key" in said


def test_all_problems_are_listed_not_the_first(cli):
    done = cli("bin_packing", "show", "cut2", "--set", "bin.lenght=3", "--set", "items.low=x", "--set", "zzz=1")
    assert done.code == 3
    assert "3 problems" in done.err
    assert all(part in done.err for part in ("bin.lenght", "items.low", "zzz"))


def test_proven_infeasible_gives_4(demo_cli):
    done = demo_cli("demo-inventory", "run", "steady", "--set", "capacity=3")
    assert done.code == 4
    assert "a full shelf every day loses" in done.err


def test_a_traceback_only_for_those_who_ask(cli):
    done = cli("bin_packing", "show", "cut3", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err
    assert "error: there is no bin_packing scenario" in done.err


def test_version_and_help(cli):
    assert cli("--version").out == f"interlock {interlock.__version__}\n"
    assert "Online 3D bin packing" in cli("--help").out
    assert "--checkpoint-every" in cli("bin_packing", "run", "--help").out


def test_show_schema_and_check(cli):
    differences = yaml.safe_load(cli("bin-packing", "show", "cut1", "--set", "bin.length=12").out)
    assert (differences["stream"], differences["bin"]) == ("cut1", {"length": 12})
    full = yaml.safe_load(cli("bin_packing", "show", "cut1", "--full").out)
    assert full["bin"]["length"] == 10
    assert full["evaluation"]["test_instances"] == 2000
    assert cli("bin_packing", "show", "cut1", "--full", "--json").json() == full
    (cli.folder / "again.yaml").write_text(cli("bin_packing", "show", "cut1", "--full").out)
    checked = cli("bin_packing", "check", "again.yaml", "--json").json()
    assert checked["hash"] == cli("bin_packing", "check", "cut-1", "--json").json()["hash"]
    assert checked["baselines"][0] == "linear12"
    assert json.loads(cli("bin_packing", "schema").out)["properties"]["bin"]


def test_compare_prints_one_object_and_keeps_a_run(cli):
    done = cli("bin_packing", "compare", "tiny-3", *QUICK, "--json", "--out", "results")
    assert done.code == 0, done.err
    found = done.json()
    assert list(found) == ["domain", "scenario", "run", "seconds", "policies", "bounds", "warnings"]
    assert found["warnings"] == json.loads((cli.folder / "results" / "evidence.json").read_text())["warnings"]
    assert {"linear12", "hm_min", "dbl", "lsah", "macs", "first_fit", "random"} <= set(found["policies"])
    for entry in found["policies"].values():
        assert {"objective", "constraints", "metrics", "decision_ms"} <= set(entry)
        assert {"mean", "low", "high"} <= set(entry["objective"])
        assert {"mean", "low", "high", "limit", "satisfied"} <= set(entry["constraints"]["illegal_placements"])
        assert {"mean", "low", "high", "unit"} == set(entry["metrics"]["items_packed"])
    assert {"value", "kind"} <= set(found["bounds"]["optimal_online"])
    assert f"run {found['run']}" in done.err
    assert "again: interlock bin_packing compare tiny-3 --set evaluation.test_instances=200 --json" in done.err

    folder = cli.folder / "runs" / found["run"]
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["verb"], record["seed"]) == ("done", "compare", 0)
    assert record["versions"]["interlock"] == interlock.__version__
    assert {"cores", "memory_gb", "system"} <= set(record["machine"])
    assert record["stages"]["compare"]["cpu_seconds"] > 0
    assert record["peak_memory_mb"] > 50
    assert yaml.safe_load((folder / "scenario.yaml").read_text())["evaluation"]["test_instances"] == 200
    rows = list(csv.DictReader((folder / "evidence.csv").open()))
    assert {row["name"] for row in rows} == {*found["policies"], *found["bounds"]}
    assert (cli.folder / "results" / "evidence.csv").read_text() == (folder / "evidence.csv").read_text()

    listed = cli("runs", "--json").json()["runs"]
    assert [(row["run"], row["status"], row["scenario"]) for row in listed] == [(found["run"], "done", "tiny_3")]
    assert found["run"] in cli("runs").out
    assert cli("runs", "show", found["run"][:10], "--json").json()["scenario_hash"] == record["scenario_hash"]
    report = cli("bin_packing", "report", found["run"], "--out", "results")
    assert report.code == 0, report.err
    assert "<html" in (cli.folder / "results" / "report.html").read_text()[:200]
    refused = cli("bin_packing", "export", found["run"])
    assert (refused.code, "has no trained policy" in refused.err) == (2, True)
    assert cli("runs", "delete", found["run"]).code == 0
    assert not folder.exists()


def test_the_same_command_gives_the_same_figures(cli):
    first, second = (cli("bin_packing", "compare", "tiny_3", *QUICK, "--quiet", "--json") for _ in range(2))
    assert (first.err, second.err) == ("", "")
    one, two = (
        {name: entry["objective"] for name, entry in done.json()["policies"].items()} for done in (first, second)
    )
    assert one == two


def test_train_then_evaluate_compare_and_export(cli):
    settings = [part for key in ("generations=2", "instances=100") for part in ("--method-set", key)]
    trained = cli("bin_packing", "train", "tiny_3", "--method", "cross_entropy", *settings, *QUICK, "--json")
    assert trained.code == 0, trained.err
    run = trained.json()["run"]
    assert run.startswith("tiny_3-cross_entropy-s0-")
    assert (trained.json()["policies"], trained.json()["warnings"]) == ({}, [])

    one = cli("bin_packing", "evaluate", "tiny_3", "--policy", run, *QUICK, "--json")
    (figures,) = one.json()["policies"].values()
    by_folder = cli("bin_packing", "evaluate", "tiny_3", "--policy", f"runs/{run}/policy", *QUICK, "--json")
    assert by_folder.json()["policies"]["cross_entropy"]["objective"] == figures["objective"]
    both = cli("bin_packing", "compare", "tiny_3", "--policy", run, "--policy", f"runs/{run}", *QUICK, "--json")
    assert {"cross_entropy", f"cross_entropy (runs/{run})", "linear12"} < set(both.json()["policies"])

    exported = cli("bin_packing", "export", run, "-o", "tiny.bundle")
    assert exported.code == 0, exported.err
    assert cli("decide", "tiny.bundle", "--selftest").code == 0


def test_evaluating_on_a_users_file(cli):
    (cli.folder / "boxes.csv").write_text("stream_id,position,length,width,height\na,0,1,2,1\na,1,2,2,2\nb,0,1,1,1\n")
    done = cli("bin_packing", "evaluate", "tiny_3", "--policy", "linear12", "--data", "boxes.csv", "--json")
    assert done.code == 0, done.err
    record = json.loads((cli.folder / "runs" / done.json()["run"] / "run.json").read_text())
    assert Path(record["data"]) == (cli.folder / "boxes.csv").resolve()
    packed = done.json()["policies"]["linear12"]["metrics"]["items_packed"]["mean"]
    assert packed == pytest.approx(1.5)


def test_without_torch_training_names_the_extra(cli):
    (cli.folder / "site" / "torch").mkdir(parents=True)
    (cli.folder / "site" / "torch" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    )
    without = type(cli)(cli.folder, cli.folder / "site")
    done = without("bin_packing", "run", "tiny_3", "--method", "mask_ppo", *QUICK)
    assert done.code == 2, done.err
    assert "pip install 'interlock[train]'" in done.err
    search = ["--method", "cross_entropy", "--method-set", "generations=1"]
    assert without("bin_packing", "run", "tiny_3", *search, *QUICK).code == 0


def test_doctor(cli):
    found = cli("doctor", "--json", "--store", "elsewhere").json()
    assert found["versions"]["interlock"] == interlock.__version__
    assert found["store"] == {"folder": "elsewhere", "writable": True, "runs": 0}
    assert found["extras"]["train"] == []
    assert found["problems"] == []
    assert "no problems" in cli("doctor").out


TUNED = ["--method", "cross_entropy", "--method-set", "generations=1", "--method-set", "instances=100", *QUICK]


@pytest.mark.parametrize("name", ["policy", "bundle"])
def test_out_never_replaces_what_is_not_ours(tmp_path: Path, monkeypatch, capsys, name: str):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLOCK_STORE", raising=False)
    command = ["bin_packing", "run", "tiny_3", *TUNED, "--out", "mine"]
    own = tmp_path / "mine" / name / "thesis.txt"
    own.parent.mkdir(parents=True)
    own.write_text("years of work")
    assert main(command) == 2
    assert f"mine/{name} exists and is no {name} of ours" in capsys.readouterr().err
    assert own.read_text() == "years of work"
    assert not (tmp_path / "runs").exists(), "refused before anything starts"
    own.unlink()
    assert main(command) == 0, "an empty folder may be used"
    before = (tmp_path / "mine" / "policy" / "policy.json").read_text()
    assert main(command) == 0, "results of ours may be replaced"
    assert (tmp_path / "mine" / "policy" / "policy.json").read_text() == before
    assert (tmp_path / "mine" / "bundle" / "manifest.json").is_file()


@pytest.mark.parametrize(
    "options", [("--out", "file"), ("--out", "file/below"), ("--store", "file"), ("--store", "file/below")]
)
def test_a_file_where_a_folder_is_meant(tmp_path: Path, monkeypatch, capsys, options: tuple[str, str]):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    assert main(["bin_packing", "compare", "tiny_3", *QUICK, *options]) == 2
    assert "file is there and is not a folder" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


BOXES = "stream_id,position,length,width,height\na,0,1,2,1\na,1,2,1.5,2\nb,0,1,1,1\n"


def test_a_run_keeps_to_the_instances_it_began_with(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLOCK_STORE", raising=False)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(BOXES)
    assert main(["bin_packing", "compare", "tiny_3", "--data", "boxes.csv", "--quiet", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["run"]
    began_with = json.loads((tmp_path / "runs" / run / "run.json").read_text())["data_sha256"]
    assert began_with == hashlib.sha256(BOXES.encode()).hexdigest()
    assert main(["bin_packing", "report", run]) == 0
    boxes.write_text(BOXES + "b,1,1,1,1\n")
    now = hashlib.sha256(boxes.read_bytes()).hexdigest()
    file = tmp_path / "runs" / run / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "stages": {}}))
    capsys.readouterr()
    for command in (["report", run], ["compare", "--resume", run]):
        assert main(["bin_packing", *command]) == 3
        said = capsys.readouterr().err
        assert f"its SHA-256 was {began_with}, it is {now}" in said


def test_check_tells_what_was_done_to_the_data(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.csv").write_text(BOXES.replace("a,1,", "a,7,"))
    assert main(["bin_packing", "check", "tiny_3", "--data", "boxes.csv"]) == 0
    notes = yaml.safe_load(capsys.readouterr().out)["notes"]
    assert any("positions have gaps" in note for note in notes)
    assert any("sides of 1 rows were rounded up" in note for note in notes)


def test_a_list_of_rejected_rows_is_never_replaced_by_another(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.csv").write_text(BOXES + "b,1,9,1,1\n")
    rejected = tmp_path / "rejected.csv"
    command = ["bin_packing", "check", "tiny_3", "--set", "data.on_oversize=reject", "--data", "boxes.csv"]
    rejected.write_text("mine\n")
    assert main(command) == 2
    assert "rejected.csv is there already and lists other rows" in capsys.readouterr().err
    assert rejected.read_text() == "mine\n"
    rejected.unlink()
    assert main(command) == 0
    assert "9,1,1" in rejected.read_text()
    assert main(command) == 0, "the same rows may be written again"

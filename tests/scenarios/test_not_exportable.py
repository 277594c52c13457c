"""A policy that no bundle can hold: `run` says so and is done; `export` refuses."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from interlock.scenarios import cli

QUICK = ("steps=1", "num_envs=8", "rollout=1", "minibatch=8", "epochs=1")


def command(*settings: str) -> list[str]:
    evaluation = ("evaluation.test_instances=20", "evaluation.validation_instances=10")
    arguments = ["bin_packing", "run", "tiny_3", "--method", "mask_ppo", "--json"]
    arguments += [part for text in evaluation for part in ("--set", text)]
    return arguments + [part for text in (*QUICK, *settings) for part in ("--method-set", text)]


def test_a_randomised_policy_is_compared_and_reported_without_a_bundle(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command("randomised=true"), "--out", "results"]) == 0
    shown = capsys.readouterr()
    folder = tmp_path / "runs" / json.loads(shown.out)["run"]
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["error"]) == ("done", None)
    assert {stage: entry["status"] for stage, entry in record["stages"].items()} == dict.fromkeys(
        ("train", "compare", "report", "export"), "done"
    )
    warning = "no bundle: a randomised policy is not exported"
    assert f"warning: {warning}" in shown.err
    assert [told for told in record["warnings"] if told.startswith(warning)], record["warnings"]
    assert "mask_ppo" in json.loads(shown.out)["policies"]
    assert (folder / "report.html").is_file()
    assert not [path for path in folder.iterdir() if "bundle" in path.name]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "evidence.csv", "evidence.json", "policy", "report.html"
    ]  # fmt: skip

    assert cli.main(["bin_packing", "export", folder.name, "--out", "named"]) == 2
    assert "error: a randomised policy is not exported" in capsys.readouterr().err
    assert not (tmp_path / "named").exists()

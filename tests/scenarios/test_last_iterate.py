"""A run shows the policy of its last update beside the one that it chose."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from interlock.scenarios import cli


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *settings: str) -> dict:
    monkeypatch.chdir(tmp_path)
    quick = ("evaluation.test_instances=100", "evaluation.validation_instances=50")
    arguments = ["bin_packing", "run", "tiny_3", "--method", "mask_ppo", "--quiet", "--json"]
    arguments += [part for text in quick for part in ("--set", text)]
    arguments += [part for text in settings for part in ("--method-set", text)]
    assert cli.main(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_an_earlier_best_policy_stands_beside_the_last_one(tmp_path, monkeypatch, capsys):
    # A huge step size spoils what the first validation, right at the start, has seen.
    settings = ("steps=8192", "validate_every=4096", "learning_rate=5.0", "imitation.teacher=linear12")
    result = run(tmp_path, monkeypatch, capsys, *settings)
    policies = result["policies"]
    assert policies["mask_ppo"]["objective"]["mean"] > policies["mask_ppo (last)"]["objective"]["mean"]
    folder = tmp_path / "runs" / result["run"]
    assert json.loads((folder / "run.json").read_text())["result"].startswith(
        f"{policies['mask_ppo']['objective']['mean']:.4g}"
    )


def test_a_last_policy_that_is_the_best_stands_alone(tmp_path, monkeypatch, capsys):
    result = run(tmp_path, monkeypatch, capsys, "steps=1", "num_envs=8", "rollout=1", "learning_rate=1e-12")
    assert [name for name in result["policies"] if name.startswith("mask_ppo")] == ["mask_ppo"]


def test_a_last_policy_of_a_shorter_training_does_not_outlive_a_longer_one(tmp_path, monkeypatch, capsys):
    # Steps this small leave the policy as it was: at the end of both trainings the last policy is the best one.
    settings = ("steps=64", "num_envs=8", "rollout=1", "minibatch=8", "epochs=1", "learning_rate=1e-12")
    monkeypatch.chdir(tmp_path)
    arguments = ["bin_packing", "train", "tiny_3", "--method", "mask_ppo", "--quiet", "--json"]
    arguments += ["--set", "evaluation.validation_instances=50", "--budget", "0.0001s"]
    assert cli.main(arguments + [part for text in settings for part in ("--method-set", text)]) == 5
    folder = tmp_path / "runs" / json.loads(capsys.readouterr().out)["run"]
    assert not (folder / "policy_last").exists()
    shutil.copytree(folder / "policy", folder / "policy_last")  # as a training leaves it whose last policy was worse
    assert cli.main(["bin_packing", "train", "--resume", folder.name, "--budget", "5m", "--quiet"]) == 0
    assert (folder / "policy").is_dir()
    assert not (folder / "policy_last").exists()

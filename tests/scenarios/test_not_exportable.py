"""A policy that no bundle can hold: `run` says so and is done; `export` refuses."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import numpy as np
from gymnasium import spaces

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.errors import NotExportable
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy
from interlock.core.networks import build_network
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.scenarios import cli, export

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
    (told,) = [text for text in json.loads(shown.out)["warnings"] if text.startswith("no bundle")]
    assert told in record["warnings"]
    assert (folder / "report.html").is_file()
    assert not [path for path in folder.iterdir() if "bundle" in path.name]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "evidence.csv", "evidence.json", "policy", "report.html"
    ]  # fmt: skip

    assert cli.main(["bin_packing", "export", folder.name, "--out", "named"]) == 2
    assert "error: a randomised policy is not exported" in capsys.readouterr().err
    assert not (tmp_path / "named").exists()


@pytest.mark.parametrize(
    ("space", "memory", "has"),
    [
        (spaces.Discrete(100), 4, "a categorical head and a memory"),
        (spaces.Box(0, 1, (2,)), 4, "a beta head and a memory"),
        (spaces.MultiDiscrete([3, 2]), 0, "a multi_discrete head"),
        (spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2,))]), 4, "a hybrid head and a memory"),
    ],
)
def test_what_a_bundle_could_not_decide_with_is_refused_before_anything_is_written(tmp_path, space, memory, has):
    settings, example = NetworkSettings(hidden=(4,), memory=memory), {"vector": np.zeros((1, 3), np.float32)}
    network = build_network(example, build_head(space), settings, seed=0)
    description = {"encoder": "vector", "input_shapes": {"vector": [3]}, "actions": 0}
    policy = NetworkPolicy(network, dict, description)
    problem = BinPackingProblem(BinPackingScenario(name="cut2"))
    with pytest.raises(NotExportable, match=f"^actor-critic networks with a memory .* not bundled yet: .*has {has}$"):
        export.write_bundle(tmp_path / "a" / "b", problem=problem, policy=policy, run_info={}, evidence_summary={})
    assert list(tmp_path.iterdir()) == []
    assert policy.export_scorer(tmp_path)["file"] == "policy.onnx", "the network itself can still be had"

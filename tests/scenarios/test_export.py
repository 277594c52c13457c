"""Export: what gets the name of a bundle decides like the policy, and nothing else is ever overwritten."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interlock.core.environment import Array, Observation
from interlock.core.errors import InterlockError, UsageError
from interlock.core.policy import LinearScorePolicy
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.operations.bundle import pack, read_bundle
from interlock.operations.decide import Decider
from interlock.scenarios.export import PARITY_STATES, write_bundle

PROBLEM = BinPackingProblem(BinPackingScenario(name="cut2", orientations=2))
RUN_INFO = {
    "run": "20260101-cut2",
    "seed": 3,
    "method": "cross_entropy",
    "settings": {"best": float("nan"), "folder": Path("runs")},
    "data": "/private/secret.csv",
    "machine": {"system": "mine"},
}
EVIDENCE = {"objective": {"mean": np.float32(67.25), "low": 66.0, "high": np.inf}}


def linear() -> LinearScorePolicy:
    return LinearScorePolicy(
        PROBLEM.encoders()["placements"], "placements", np.array(PROBLEM.scenario.linear12_weights)
    )


def export(path: Path, policy: Any, problem: BinPackingProblem = PROBLEM) -> Path:
    write_bundle(path, problem=problem, policy=policy, run_info=RUN_INFO, evidence_summary=EVIDENCE)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written into a folder that is there already, but empty."""
    folder = tmp_path_factory.mktemp("export") / "linear.bundle"
    folder.mkdir()
    return export(folder, linear())


def test_the_manifest_says_where_the_policy_comes_from(bundle: Path) -> None:
    manifest = read_bundle(bundle).manifest
    assert manifest["domain"] == "bin_packing"
    assert manifest["scenario_hash"] == PROBLEM.scenario.hash()
    assert BinPackingScenario(**manifest["scenario"]) == PROBLEM.scenario
    provenance = manifest["provenance"]
    assert provenance["run"] == {
        "run": "20260101-cut2",
        "seed": 3,
        "method": "cross_entropy",
        "settings": {"best": None, "folder": "runs"},
    }, "and nothing of the machine it was made on"
    assert provenance["evidence"] == {"objective": {"mean": 67.25, "low": 66.0, "high": None}}
    assert provenance["packages"]["numpy"] == np.__version__
    assert provenance["parity_states"] == PARITY_STATES == 1_000


def test_decides_like_the_policy_on_states_that_the_export_did_not_compare(bundle: Path) -> None:
    decider, policy = Decider(bundle), linear()
    requests = decider.contract.sample_requests(300, 123)
    for raw in requests:
        answer = decider.decide(raw)
        observation = decider.contract.observation(decider.contract.parse(raw))
        if observation["action_mask"].any():
            assert answer["proposal"] == answer["action"] == policy.act(observation)[0]
        else:
            assert answer["status"] == "refused"


def test_the_selftest_is_bundled_and_passes(bundle: Path) -> None:
    decider = Decider(bundle)
    assert len(decider.bundle.selftest) == 20
    assert {case["answer"]["status"] for case in decider.bundle.selftest} == {"released", "refused"}
    assert decider.selftest() == []


def test_nothing_is_left_behind_and_the_zip_holds_the_same(bundle: Path, tmp_path: Path) -> None:
    path = export(tmp_path / "new" / "linear.zip", linear())
    assert [entry.name for entry in path.parent.iterdir()] == ["linear.zip"]
    assert [entry.name for entry in bundle.parent.iterdir()] == ["linear.bundle"]
    assert zipfile.ZipFile(path).testzip() is None
    assert read_bundle(path).policy_hash == read_bundle(bundle).policy_hash
    assert Decider(path).selftest() == []


@pytest.mark.parametrize("name", ["b.bundle", "b.zip"])
def test_a_bundle_is_replaced_even_a_damaged_one(bundle: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "b.zip":
        pack(bundle, path)
    else:
        shutil.copytree(bundle, path)
        (path / "selftest.json").unlink()
    other = LinearScorePolicy(PROBLEM.encoders()["placements"], "placements", np.arange(12.0))
    export(path, other)
    assert read_bundle(path).policy_hash != read_bundle(bundle).policy_hash
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["folder", "file", "some.zip", "dir.zip"])
def test_what_is_not_a_bundle_is_never_overwritten(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in ("folder", "dir.zip"):
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
    else:
        path.write_text("years of work")
    with pytest.raises(UsageError, match="exists and is not a bundle"):
        export(path, linear())
    kept = path / "thesis.txt" if path.is_dir() else path
    assert kept.read_text() == "years of work"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_rules_that_cannot_be_exported_are_told_apart(tmp_path: Path) -> None:
    rule = PROBLEM.baselines()["dbl"](0)
    with pytest.raises(
        UsageError, match=r"FunctionPolicy cannot be exported: a policy needs `save` and `export_scorer`"
    ):
        export(tmp_path / "b", rule)
    assert list(tmp_path.iterdir()) == []


class Different(LinearScorePolicy):
    """Acts by other weights than it exports."""

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        actions: Array = observation["action_mask"].argmax(1)
        return actions


def test_a_bundle_that_decides_differently_is_not_written(tmp_path: Path) -> None:
    policy = Different(PROBLEM.encoders()["placements"], "placements", np.array(PROBLEM.scenario.linear12_weights))
    with pytest.raises(InterlockError, match=r"decides differently from the policy on \d+ of 1\d\d\d states") as caught:
        export(tmp_path / "b", policy)
    assert "the first: the policy chose " in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoder", ["planes", "placements"])
def test_networks_are_exported_and_decide_alike_without_torch(tmp_path: Path, encoder: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    import torch

    from interlock.core.heads_discrete import CategoricalHead
    from interlock.core.network_policy import NetworkPolicy
    from interlock.core.networks import NetworkSettings, build_network

    torch.set_num_threads(1)
    problem = BinPackingProblem(BinPackingScenario(name="cut2"))
    first = problem.environment(2, seed=0, split="train").reset()
    encode = problem.encoders()[encoder]
    example, settings = encode(first), NetworkSettings(channels=(8, 8), dense=16, hidden=(16,))
    network = build_network(example, CategoricalHead(100), settings, seed=0)
    with torch.no_grad():  # as decided as a trained one: fresh actors score all actions almost alike
        for parameter in network.actor.parameters():
            parameter *= 4.0
    description = {
        "encoder": encoder,
        "network": settings.model_dump(mode="json"),
        "input_shapes": {name: list(array.shape[1:]) for name, array in example.items()},
        "actions": 100,
    }
    policy = NetworkPolicy(network, encode, description)
    path = export(tmp_path / "network.bundle", policy, problem)
    decider = Decider(path)
    assert sorted(decider.bundle.files) == [
        "checksums.json", "contract.json", "manifest.json", "policy.onnx", "selftest.json"
    ]  # fmt: skip
    for raw in decider.contract.sample_requests(100, 77):
        observation = decider.contract.observation(decider.contract.parse(raw))
        if observation["action_mask"].any():
            assert decider.decide(raw)["action"] == policy.act(observation)[0]
    assert json.loads(decider.bundle.files["manifest.json"])["scorer"]["encoder"] == encoder

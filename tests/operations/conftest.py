"""Bundles to try things on: a real one with a small ONNX network, and a way to make odd ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interlock.domains.bin_packing.decision import build
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.operations.bundle import seal
from interlock.operations.decide import Decider

onnx = pytest.importorskip("onnx")

SCENARIO = BinPackingScenario(name="cut2", orientations=2)
ACTIONS = 200


def network(*, nan_height: int | None = None, output: str = "scores", seed: int = 0) -> bytes:
    """A linear layer on the planes; with ``nan_height`` it breaks down on boxes of that height or more."""
    helper, numpy_helper, tensor = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(seed).normal(size=(600, ACTIONS)).astype(np.float32)
    constants = [numpy_helper.from_array(weights, "weights")]
    nodes = [helper.make_node("Flatten", ["planes"], ["flat"])]
    last = "linear" if nan_height is not None else output
    nodes.append(helper.make_node("MatMul", ["flat", "weights"], [last]))
    if nan_height is not None:  # log(limit - height / 10) is NaN beyond the limit
        limit = np.full((1, 1), (nan_height - 0.5) / 10, np.float32)
        constants += [numpy_helper.from_array(limit, "limit"), numpy_helper.from_array(np.array([300]), "height_at")]
        nodes += [
            helper.make_node("Gather", ["flat", "height_at"], ["height"], axis=1),
            helper.make_node("Sub", ["limit", "height"], ["room"]),
            helper.make_node("Log", ["room"], ["logarithm"]),
            helper.make_node("Add", ["linear", "logarithm"], [output]),
        ]
    graph = helper.make_graph(
        nodes,
        "scores",
        [helper.make_tensor_value_info("planes", tensor, ["n", 6, 10, 10])],
        [helper.make_tensor_value_info(output, tensor, ["n", ACTIONS])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


ONNX_SCORER = {"kind": "onnx", "encoder": "planes", "file": "policy.onnx", "inputs": ["planes", "action_mask"]}
LINEAR_SCORER = {
    "kind": "linear",
    "encoder": "placements",
    "input": "action_features",
    "weights": list(SCENARIO.linear12_weights),
}


def write(folder: Path, *, model: bytes | None = None, scorer: dict[str, Any] | None = None, **manifest: Any) -> Path:
    """A sealed bundle; ``manifest`` replaces entries, and ``cases`` the self-test."""
    folder.mkdir(parents=True, exist_ok=True)
    if model is not None:
        (folder / "policy.onnx").write_bytes(model)
    cases = manifest.pop("cases", [])
    entries = {
        "interlock": "0",
        "domain": "bin_packing",
        "scenario": SCENARIO.model_dump(mode="json"),
        "scenario_hash": SCENARIO.hash(),
        "scorer": scorer or (LINEAR_SCORER if model is None else ONNX_SCORER),
        "provenance": {},
    }
    seal(folder, manifest={**entries, **manifest}, contract=build(SCENARIO), cases=cases)
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a network and self-tests; shared, so never change it."""
    folder = tmp_path_factory.mktemp("bundles") / "network.bundle"
    decider = Decider(write(folder, model=network()))
    cases = [
        {"request": request, "answer": json.loads(json.dumps(decider.decide(request)))}
        for request in decider.contract.sample_requests(20, 1)
    ]
    return write(folder, model=network(), cases=cases)


@pytest.fixture(scope="session")
def decider(bundle: Path) -> Decider:
    return Decider(bundle)


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """``make_bundle(model=..., scorer=..., **manifest entries) -> folder``."""

    def make(**changes: Any) -> Path:
        return write(tmp_path / "odd.bundle", **changes)

    return make


@pytest.fixture(scope="session")
def make_network() -> Callable[..., bytes]:
    """``make_network(nan_height=None, output="scores", seed=0) -> ONNX file``."""
    return network

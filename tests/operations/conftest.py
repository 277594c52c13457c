"""Bundles to try things on: a real one with a small ONNX network, and a way to make odd ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from interlock.domains.bin_packing.decision import build
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.decision import HydroDecision
from interlock.domains.hydro.instances import case_of
from interlock.domains.hydro.scenario import HydroScenario
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


HYDRO = HydroScenario(name="five", case={"source": "generated", "n_hydro": 5, "seed": 3}, network="dc", horizon=20)
UNITS = 6


def rule_network(case: Case, *, seed: int = 0, spread: float = 3.0) -> tuple[bytes, dict[str, Any]]:
    """A cell with gates and a head of two layers, node by node; and its arrays as torch would name them."""
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    plants = len(case.hydros.names)
    sizes = {
        "encoder.weight_ih_l0": (4 * UNITS, plants + 3),
        "encoder.weight_hh_l0": (4 * UNITS, UNITS),
        "encoder.bias_ih_l0": (4 * UNITS,),
        "encoder.bias_hh_l0": (4 * UNITS,),
        "head.0.weight": (8, UNITS + plants + 3 + plants),
        "head.0.bias": (8,),
        "head.2.weight": (plants, 8),
        "head.2.bias": (plants,),
    }
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    arrays["head.2.weight"] *= np.float32(spread)
    steps = [
        ("Gemm", ["features", "encoder.weight_ih_l0", "encoder.bias_ih_l0"], ["from_features"]),
        ("Gemm", ["hidden", "encoder.weight_hh_l0", "encoder.bias_hh_l0"], ["from_hidden"]),
        ("Add", ["from_features", "from_hidden"], ["gates"]),
        ("Split", ["gates"], ["enter", "keep", "candidate", "leave"]),
        *(("Sigmoid", [name], [f"{name}_gate"]) for name in ("enter", "keep", "leave")),
        ("Tanh", ["candidate"], ["new"]),
        ("Mul", ["enter_gate", "new"], ["entering"]),
        ("Mul", ["keep_gate", "cell"], ["kept"]),
        ("Add", ["entering", "kept"], ["cell_next"]),
        ("Tanh", ["cell_next"], ["shown"]),
        ("Mul", ["leave_gate", "shown"], ["hidden_next"]),
        ("Concat", ["hidden_next", "features", "state"], ["seen"]),
        ("Gemm", ["seen", "head.0.weight", "head.0.bias"], ["layer"]),
        ("Tanh", ["layer"], ["bent"]),
        ("Gemm", ["bent", "head.2.weight", "head.2.bias"], ["raw"]),
    ]
    options = {"Gemm": {"transB": 1}, "Split": {"axis": 1}, "Concat": {"axis": 1}}
    inputs = {"features": plants + 3, "state": plants, "hidden": UNITS, "cell": UNITS}
    outputs = {"raw": plants, "hidden_next": UNITS, "cell_next": UNITS}
    graph = helper.make_graph(
        [helper.make_node(kind, read, made, **options.get(kind, {})) for kind, read, made in steps],
        "rule",
        [helper.make_tensor_value_info(name, tensor, [1, size]) for name, size in inputs.items()],
        [helper.make_tensor_value_info(name, tensor, [1, size]) for name, size in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString()), arrays


RULE_SCORER = {
    "kind": "onnx_recurrent",
    "encoder": "rule",
    "file": "policy.onnx",
    "arrays": "policy.safetensors",
    "inputs": ["features", "state", "hidden", "cell"],
}


def write_hydro(
    folder: Path,
    scenario: HydroScenario = HYDRO,
    *,
    case: Case | None = None,
    cuts: Any = None,
    seed: int = 0,
    **manifest: Any,
) -> Path:
    """A sealed bundle of a dispatch policy; ``manifest`` replaces entries, ``cases`` the self-test, ``files`` files."""
    folder.mkdir(parents=True, exist_ok=True)
    system = case_of(scenario) if case is None else case
    curve = np.outer(0.5 + 0.3 * np.sin(np.arange(system.cycle)), system.hydros.max_volume)
    contract = HydroDecision(scenario, system, cuts=cuts, curve=lambda: curve)
    files: dict[str, bytes] = {**contract.assets(), **manifest.pop("files", {})}
    entries = {
        "interlock": "0",
        "domain": "hydro",
        "scenario": scenario.model_dump(mode="json"),
        "scenario_hash": scenario.hash(),
        "scorer": RULE_SCORER,
        "assets": sorted(files),
        "provenance": {},
    }
    cases = manifest.pop("cases", [])
    entries |= manifest
    if entries["scorer"]["kind"] == "onnx_recurrent":
        model, arrays = rule_network(system, seed=seed)
        files |= {"policy.onnx": model, "policy.safetensors": safetensors.numpy.save(arrays)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    seal(folder, manifest=entries, contract=contract, cases=cases)
    return folder


@pytest.fixture(scope="session")
def hydro_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a recurrent network, its arrays, and self-tests; shared, so never change it."""
    folder = tmp_path_factory.mktemp("bundles") / "hydro.bundle"
    decider = Decider(write_hydro(folder))
    cases = [
        {"request": request, "answer": json.loads(json.dumps(decider.decide(request)))}
        for request in decider.contract.sample_requests(10, 1)
    ]
    return write_hydro(folder, cases=cases)


@pytest.fixture(scope="session")
def hydro_decider(hydro_bundle: Path) -> Decider:
    return Decider(hydro_bundle)


@pytest.fixture
def make_hydro_bundle(tmp_path: Path) -> Callable[..., Path]:
    """``make_hydro_bundle(scenario, case=..., cuts=..., files=..., **manifest entries) -> folder``."""

    def make(*arguments: Any, **changes: Any) -> Path:
        return write_hydro(tmp_path / "hydro.bundle", *arguments, **changes)

    return make

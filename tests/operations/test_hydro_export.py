"""A trained rule of dispatch becomes a bundle that decides like it, with and without torch and onnxruntime."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch
from safetensors.numpy import save

from interlock.core.decision_rules.policy import RulePolicy, build_network
from interlock.core.environment import Array, Observation
from interlock.core.errors import InterlockError
from interlock.domains.hydro.problem import HydroProblem, build
from interlock.domains.hydro.scenario import HydroScenario
from interlock.operations.decide import Decider
from interlock.scenarios.export import write_bundle

torch.set_num_threads(1)
PROBLEM: HydroProblem = build(
    HydroScenario(name="small", case={"source": "generated", "n_hydro": 4, "seed": 2}, network="bus1", horizon=5)
)


def rule(problem: HydroProblem = PROBLEM, *, encoder: int = 8) -> RulePolicy:
    """An untrained rule, as decided as a trained one."""
    network = build_network(problem, encoder, (12,), 0)
    with torch.no_grad():
        for parameter in network.head[-1].parameters():
            parameter += torch.linspace(-1.0, 1.0, parameter.numel()).reshape(parameter.shape)
    return RulePolicy(network, problem, {})


def export(path: Path, policy: Any, **more: Any) -> Path:
    write_bundle(path, problem=PROBLEM, policy=policy, run_info={"run": "r"}, evidence_summary={}, **more)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cuts = {
        "stage": np.arange(4),
        "slopes": np.full((4, 4), -50.0),
        "intercepts": np.full(4, 5e4),
        "points": np.zeros((4, 4)),
    }
    return export(tmp_path_factory.mktemp("export") / "rule.zip", rule(), assets={"cuts.safetensors": save(cuts)})


def test_decides_like_the_rule_along_whole_paths(bundle: Path) -> None:
    decider, policy = Decider(bundle), rule()
    case, environment = PROBLEM.case, PROBLEM.environment(20, seed=7, split="test")
    view = environment.reset()
    memories: list[dict[str, Any]] = [{} for _ in range(20)]
    policy.reset()
    for stage in range(5):
        targets = policy.act(view)
        for row in range(20):
            answer = decider.decide(
                {
                    "case_hash": case.hash,
                    "stage": stage + 1,
                    "volumes_hm3": view["volume"][row].tolist(),
                    "inflow_m3s": view["inflow"][row].tolist(),
                    **memories[row],
                }
            )
            assert answer["status"] == "released", answer["reason"]
            assert (np.abs(answer["proposal"] - targets[row]) <= 1e-4 * case.hydros.max_volume + 1e-9).all()
            memories[row] = {"hidden_state": answer["hidden_state"]}
        before = environment.totals["cost_rate_reported"].copy() if stage < 4 else None
        step = environment.step(targets)
        if before is not None:
            assert answer["expected_stage_cost"] == pytest.approx(-step.reward[19], rel=1e-5)
        view = step.observation


def test_holds_network_arrays_system_curve_and_cuts(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert sorted(archive.namelist()) == [
            "case.json", "checksums.json", "contract.json", "cuts.safetensors", "manifest.json", "policy.onnx",
            "policy.safetensors", "rule_curve.json", "selftest.json",
        ]  # fmt: skip
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["assets"] == ["case.json", "cuts.safetensors", "rule_curve.json"]
    decider = Decider(bundle)
    assert list(decider.contract.fallbacks()) == ["sddp", "rule_curve", "myopic_floor"]
    assert decider.selftest() == []
    assert Decider(bundle, runner="numpy").selftest() == []
    late = decider.decide({**decider.contract.sample_requests(1, 0)[0], "deadline_ms": 1e-3})
    assert late["source"] == "fallback:sddp"


def test_decides_without_torch_and_without_onnxruntime_if_asked(bundle: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"  # importing either fails
        "from interlock.operations.decide import Decider\n"
        f"decider = Decider({str(bundle)!r}, runner='numpy')\n"
        "assert decider.selftest() == []\n"
        "assert {decider.decide(raw)['source'] for raw in decider.contract.sample_requests(5, 0)} == {'policy'}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Different(RulePolicy):
    """Acts otherwise than it exports."""

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        return 0.99 * super().act(observation)


def test_a_bundle_that_decides_differently_is_not_written(tmp_path: Path) -> None:
    policy = rule()
    other = Different(policy.network, PROBLEM, {})
    with pytest.raises(InterlockError, match=r"decides differently from the policy on \d+ of 1000 states"):
        export(tmp_path / "b.bundle", other)
    assert list(tmp_path.iterdir()) == []


def test_a_rule_without_memory_is_exported_too(tmp_path: Path) -> None:
    path = export(tmp_path / "linear.bundle", rule(encoder=0))
    decider = Decider(path)
    raw = decider.contract.sample_requests(1, 0)[0]
    answer = decider.decide(raw)
    assert (answer["status"], answer["source"], answer.get("hidden_state")) == ("released", "policy", None)
    assert Decider(path, runner="numpy").selftest() == []

"""`export --fallback`: cuts of another run in a bundle, for requests that its own policy has no answer to."""

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from interlock.core.errors import UsageError
from interlock.core.policy import LinearScorePolicy
from interlock.core.sddp.method import load
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.hydro.problem import build
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.toy import toy_case
from interlock.scenarios import export

FEW = ("--set", "evaluation.test_instances=8", "--set", "baselines=[myopic]", "--json")
PHASE = "{updates: 2, batch: 2, learning_rate: 0.01}"
TINY = (f"pretraining={PHASE}", f"training={PHASE}", "encoder=4", "head=[4]")

REQUEST = {"case_hash": toy_case().hash, "stage": 1, "volumes_hm3": [0.18], "inflow_m3s": [40.0]}


@pytest.fixture(scope="module")
def runs(command_line: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, str]]:
    """A command line, and its runs: a rule, cuts of the rule's problem, and cuts of the same system on one bus."""
    cli = command_line(tmp_path_factory.mktemp("runs"))
    commands = {
        "rule": ["train", "toy", "--method", "ts_ddr", *(part for text in TINY for part in ("--method-set", text))],
        "cuts": ["sddp", "toy"],
        "one_bus": ["sddp", "toy", "--set", "network=bus1"],
    }
    found = {}
    for name, command in commands.items():
        done = cli("hydro", *command, *FEW)
        assert done.code == 0, done.err
        found[name] = done.json()["run"]
    return cli, found


def test_cuts_of_another_run_decide_where_the_policy_cannot(runs: tuple[Any, dict[str, str]]) -> None:
    cli, run = runs
    done = cli("hydro", "export", run["rule"], "--fallback", run["cuts"], "-o", "with.bundle")
    assert done.code == 0, done.err
    assert cli("decide", "with.bundle", "--selftest").code == 0
    problem = build(HydroScenario(name="toy", case={"source": "toy"}, horizon=3))
    late = {**REQUEST, "deadline_ms": 1e-3}
    (cli.folder / "requests.jsonl").write_text(f"{json.dumps(REQUEST)}\n{json.dumps(late)}\n")
    decided = cli("decide", "with.bundle", "--request", "requests.jsonl", "--json")
    assert decided.code == 0, decided.err
    usual, late = decided.json()["answers"]
    assert (usual["source"], late["source"], late["status"]) == ("policy", "fallback:sddp", "released")
    assert "deadline of 0.001 ms missed" in late["reason"]
    policy = load(cli.folder / "runs" / run["cuts"] / "policy", problem)
    view = {"volume": np.array([[0.18]]), "inflow": np.array([[40.0]]), "stage": np.array([[0]])}
    assert late["action"] == pytest.approx(policy.act(view)[0], abs=1e-6), "what the run's own policy would do"
    assert late["action"] != pytest.approx(usual["action"], abs=1e-3)


@pytest.mark.parametrize(
    ("fallback", "code", "said"),
    [
        ("rule", 2, "no fallback rule can decide by policy ts_ddr: it has no `bundle_assets` (a policy of method sddp"),
        ("one_bus", 3, "the cuts were made for problem"),
        ("myopic", 2, "no fallback rule can decide by policy myopic"),
    ],
)
def test_what_no_fallback_rule_can_decide_by_is_refused(
    runs: tuple[Any, dict[str, str]], fallback: str, code: int, said: str
) -> None:
    cli, run = runs
    done = cli("hydro", "export", run["rule"], "--fallback", run.get(fallback, fallback), "-o", "none.bundle")
    assert done.code == code, done.err
    assert said in done.err
    assert not (cli.folder / "none.bundle").exists()


def test_a_domain_whose_bundles_take_no_files_says_so(tmp_path: Any) -> None:
    problem = BinPackingProblem(BinPackingScenario(name="cut2", orientations=2))
    policy = LinearScorePolicy(problem.encoders()["placements"], "placements", np.ones(12))
    with pytest.raises(UsageError, match="bundles of bin_packing take no further files: cuts"):
        export.write_bundle(
            tmp_path / "b", problem=problem, policy=policy, run_info={}, evidence_summary={}, assets={"cuts": b""}
        )

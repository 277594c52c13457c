"""Policies that decide vectors and remember: memory travels with requests, runners agree, assets are verified."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.domains.hydro.scenario import HydroScenario
from interlock.operations.audit import verify
from interlock.operations.bundle import pack, read_bundle
from interlock.operations.decide import Decider, run_cli


def path_of(decider: Decider, seed: int = 4) -> np.ndarray:
    """A path of recorded inflows through all stages."""
    case, horizon = decider.contract.case, decider.contract.scenario.horizon
    picked = np.random.default_rng(seed).integers(case.inflows.shape[1], size=horizon)
    return case.inflows[np.arange(horizon) % case.cycle, picked]


def request_of(decider: Decider, stage: int, volume: Any, inflow: Any, **more: Any) -> dict[str, Any]:
    known = {"case_hash": decider.contract.case.hash, "stage": stage + 1}
    return {**known, "volumes_hm3": list(volume), "inflow_m3s": list(inflow), **more}


def played(decider: Decider, *, remembers: bool) -> list[dict[str, Any]]:
    """All stages in order, each from the volumes of the answer before; by hidden state or by history."""
    inflows, answers = path_of(decider), []
    volume, more = decider.contract.case.hydros.initial_volume.tolist(), {}
    for stage, inflow in enumerate(inflows.tolist()):
        if not remembers:
            more = {"inflow_history_m3s": inflows[:stage].tolist()}
        answer = json.loads(json.dumps(decider.decide(request_of(decider, stage, volume, inflow, **more))))
        assert (answer["status"], answer["source"]) == ("released", "policy"), answer["reason"]
        volume, more = answer["target_hm3"], {"hidden_state": answer["hidden_state"]}
        answers.append(answer)
    return answers


def test_memory_by_hidden_state_and_by_history_are_the_same(hydro_decider: Decider) -> None:
    chained, told = played(hydro_decider, remembers=True), played(hydro_decider, remembers=False)
    for stage, (one, other) in enumerate(zip(chained, told, strict=True)):
        np.testing.assert_allclose(one["target_hm3"], other["target_hm3"], atol=1e-9)
        assert one["hidden_state"] == other["hidden_state"]
        assert one["hidden_state"]["steps"] == stage + 1
        assert "short_history" not in one["flags"]


def test_the_policy_is_the_network_that_the_bundle_holds(hydro_decider: Decider, hydro_bundle: Path) -> None:
    """The gates once more, in loops, on the arrays beside the network."""
    from safetensors.numpy import load_file

    arrays = {name: a.astype(float) for name, a in load_file(hydro_bundle / "policy.safetensors").items()}
    case, inflows = hydro_decider.contract.case, path_of(hydro_decider)
    hidden, cell = np.zeros(6), np.zeros(6)
    scale, volume = case.inflows.max(axis=(0, 1)), case.hydros.initial_volume
    for stage, answer in enumerate(played(hydro_decider, remembers=True)):
        season = 2 * np.pi * (stage % case.cycle) / case.cycle
        left = min(19 - stage, 26) / 26
        features = np.array([*(inflows[stage] / scale), np.sin(season), np.cos(season), left])
        gates = arrays["encoder.weight_ih_l0"] @ features + arrays["encoder.bias_ih_l0"]
        gates += arrays["encoder.weight_hh_l0"] @ hidden + arrays["encoder.bias_hh_l0"]
        i, f, g, o = (gates[6 * k : 6 * k + 6] for k in range(4))
        cell = cell / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        hidden = np.tanh(cell) / (1 + np.exp(-o))
        np.testing.assert_allclose(answer["hidden_state"]["hidden"], hidden, atol=1e-5)
        most = case.hydros.max_volume
        seen = np.concatenate([hidden, features, volume / np.where(most > 0, most, 1)])
        raw = arrays["head.2.weight"] @ np.tanh(arrays["head.0.weight"] @ seen + arrays["head.0.bias"])
        raw += arrays["head.2.bias"]
        request = hydro_decider.contract.parse(request_of(hydro_decider, stage, volume, inflows[stage]))
        expected = hydro_decider.contract.propose(request, raw)
        np.testing.assert_allclose(answer["proposal"], expected, atol=2e-5 * (1 + most.max()))
        volume = np.array(answer["target_hm3"])


def test_the_runner_in_numpy_decides_alike(hydro_bundle: Path, hydro_decider: Decider) -> None:
    other = Decider(hydro_bundle, runner="numpy")
    assert other.policy_hash == hydro_decider.policy_hash
    requests = hydro_decider.contract.sample_requests(100, 5)
    scale = hydro_decider.contract.case.hydros.max_volume
    for raw in requests:
        one, two = hydro_decider.decide(raw), other.decide(raw)
        assert (one["status"], one["source"]) == (two["status"], two["source"])
        assert (np.abs(np.subtract(one["proposal"], two["proposal"])) <= 1e-4 * scale + 1e-9).all()
        np.testing.assert_allclose(one["hidden_state"]["cell"], two["hidden_state"]["cell"], atol=1e-5)
    assert other.selftest() == []


def test_the_runner_in_numpy_needs_arrays_that_fit(make_hydro_bundle: Callable[..., Path], hydro_bundle: Path) -> None:
    from safetensors.numpy import load_file, save_file

    scorer = {name: value for name, value in read_bundle(hydro_bundle).manifest["scorer"].items() if name != "arrays"}
    path = make_hydro_bundle(scorer=scorer, files={})
    with pytest.raises(BadInput, match=r"policy.safetensors: no part of a bundle"):
        Decider(path)
    path = Path(shutil.copytree(hydro_bundle, path.with_name("other.bundle")))
    arrays = load_file(path / "policy.safetensors")
    del arrays["encoder.bias_hh_l0"]
    save_file(arrays, path / "policy.safetensors")
    reseal(path)
    assert Decider(path).policy_hash == read_bundle(hydro_bundle).policy_hash, "onnxruntime does not read them"
    with pytest.raises(BadInput, match="are not those of a network of a decision rule"):
        Decider(path, runner="numpy")


def reseal(folder: Path) -> None:
    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "checksums.json"}
    (folder / "checksums.json").write_text(json.dumps({"algorithm": "sha256", "files": sums}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"policy_hash": "0" * 16}, "hidden_state.policy_hash: got '0000000000000000', this policy is"),
        ({"hidden": [0.0] * 5}, "hidden_state.hidden: got [0.0, 0.0, 0.0, 0.0, 0.0], expected 6 numbers"),
        ({"cell": [float("nan")] * 6}, "hidden_state.cell: got ["),
        ({"cell": [1e300] * 6}, "hidden_state.cell: got ["),
        ({"cell": [True] * 6}, "hidden_state.cell: got ["),
        ({"steps": 7}, "hidden_state.steps: 7 stages, but only 6 lie before stage 7"),
        ({"steps": -1}, "hidden_state: got {"),
        ({"other": [1.0]}, "expected an object with cell, hidden, policy_hash, steps"),
    ],
)
def test_a_hidden_state_of_something_else_is_invalid(hydro_decider: Decider, change: Any, told: str) -> None:
    inflow, volume = path_of(hydro_decider)[6], hydro_decider.contract.case.hydros.initial_volume
    memory = {"policy_hash": hydro_decider.policy_hash, "steps": 6, "hidden": [0.0] * 6, "cell": [0] * 6}
    sound = hydro_decider.decide(request_of(hydro_decider, 6, volume, inflow, hidden_state=memory))
    assert sound["status"] == "released"
    answer = hydro_decider.decide(request_of(hydro_decider, 6, volume, inflow, hidden_state={**memory, **change}))
    assert (answer["status"], answer["action"]) == ("invalid", None)
    assert any(told in problem for problem in answer["problems"]), answer["problems"]
    for value in (5, "text", [1], {}):
        assert (
            hydro_decider.decide(request_of(hydro_decider, 6, volume, inflow, hidden_state=value))["status"]
            == "invalid"
        )


def test_history_and_hidden_state_exclude_each_other_and_short_ones_are_flagged(hydro_decider: Decider) -> None:
    inflows, volume = path_of(hydro_decider), hydro_decider.contract.case.hydros.initial_volume
    memory = {"policy_hash": hydro_decider.policy_hash, "steps": 4, "hidden": [0.0] * 6, "cell": [0.0] * 6}
    both = request_of(hydro_decider, 6, volume, inflows[6], hidden_state=memory, inflow_history_m3s=[])
    assert "give one of them" in hydro_decider.decide(both)["problems"][0]
    for more in ({}, {"hidden_state": memory}, {"inflow_history_m3s": inflows[3:6].tolist()}, {"hidden_state": None}):
        answer = hydro_decider.decide(request_of(hydro_decider, 6, volume, inflows[6], **more))
        assert (answer["status"], answer["flags"][0]) == ("released", "short_history")
    long = request_of(hydro_decider, 6, volume, inflows[6], inflow_history_m3s=inflows[:7].tolist())
    assert "got 7 rows, expected at most 6 before stage 7" in hydro_decider.decide(long)["problems"][0]


def test_what_is_not_a_number_never_leaves_the_network(hydro_bundle: Path) -> None:
    decider = Decider(hydro_bundle)
    raw, step = decider.contract.sample_requests(1, 3)[0], decider.mind.step
    assert step is not None
    decider.mind.step = lambda view, memory: (np.full(5, np.nan), step(view, memory)[1])
    answer = decider.decide(raw)
    assert (answer["status"], answer["source"], answer["proposal"]) == ("released", "fallback:rule_curve", None)
    assert answer["reason"] == "the scorer failed: ValueError: it gave what is not a number"
    decider.mind.step = lambda view, memory: (np.zeros(5), {name: part + np.inf for name, part in memory.items()})
    answer = decider.decide(raw)
    assert answer["reason"] == "the scorer failed: ValueError: what it remembers is not a number"
    assert "hidden_state" not in answer
    decider.mind.step = lambda view, memory: (np.zeros(4), memory)
    assert "4 numbers for 5 plants" in decider.decide(raw)["reason"]


def test_after_a_missed_deadline_a_rule_decides_and_the_memory_goes_on(hydro_decider: Decider) -> None:
    raw = hydro_decider.contract.sample_requests(1, 3)[0]
    late = hydro_decider.decide({**raw, "deadline_ms": 0.001})
    assert (late["status"], late["source"]) == ("released", "fallback:rule_curve")
    assert late["reason"].startswith("deadline of 0.001 ms missed")
    assert late["hidden_state"] == hydro_decider.decide(raw)["hidden_state"]


def test_answers_follow_the_bundled_schema(hydro_decider: Decider) -> None:
    document = json.loads(hydro_decider.bundle.files["contract.json"])
    requests, answers = (jsonschema.Draft202012Validator(document[name]) for name in ("request", "answer"))
    for raw in hydro_decider.contract.sample_requests(50, 6):
        requests.validate(raw)
        answers.validate(json.loads(json.dumps(hydro_decider.decide(raw), allow_nan=False)))
    answers.validate(json.loads(json.dumps(hydro_decider.decide({"stage": 99}), allow_nan=False)))
    units = {field["name"]: field["unit"] for field in document["request_fields"]}
    assert units[f"volumes_hm3.{plant_names(hydro_decider)[0]}"] == "hm3"
    assert document["fallbacks"] == ["rule_curve", "myopic_floor"]


def plant_names(decider: Decider) -> tuple[str, ...]:
    names: tuple[str, ...] = decider.contract.case.hydros.names
    return names


def test_assets_are_verified_read_and_part_of_the_policy(hydro_bundle: Path, tmp_path: Path) -> None:
    bundle = read_bundle(hydro_bundle)
    assert bundle.manifest["assets"] == ["case.json", "rule_curve.json"]
    pack(hydro_bundle, tmp_path / "b.zip")
    assert Decider(tmp_path / "b.zip").selftest() == []
    path = Path(shutil.copytree(hydro_bundle, tmp_path / "b.bundle"))
    (path / "rule_curve.json").write_text((path / "rule_curve.json").read_text().replace("1", "2", 1))
    with pytest.raises(BadInput, match=r"rule_curve.json: altered"):
        read_bundle(path)
    reseal(path)
    assert read_bundle(path).policy_hash != bundle.policy_hash
    for content, told in (("{", "rule_curve.json: is not JSON"), ("[[1, 2]]", "expected rows of 5 volumes in hm3")):
        (path / "rule_curve.json").write_text(content)
        reseal(path)
        with pytest.raises(BadInput, match=told):
            read_bundle(path)
    (path / "rule_curve.json").unlink()
    reseal(path)
    with pytest.raises(
        BadInput, match=r"assets: got \['case.json', 'rule_curve.json'\], expected a list of files in the"
    ):
        read_bundle(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"files": {"notes.txt": b"x"}}, "notes.txt: no asset of domain hydro"),
        ({"files": {"case.json": b"{}"}}, "hydros: expected a mapping"),
        ({"files": {"cuts.safetensors": b"no"}}, "cuts.safetensors: not a file of cuts"),
        ({"assets": []}, "case.json: no part of a bundle, and not named by the scorer"),
        ({"assets": "case.json"}, "assets: got 'case.json', expected a list of files in the bundle"),
        ({"scorer": {"kind": "rule"}}, "scorer.rule: expected the name of a fallback rule"),
        (
            {"scorer": {"kind": "rule", "rule": "sddp"}},
            "scorer.rule: 'sddp' is unknown; the domain has rule_curve, myopic",
        ),
    ],
)
def test_assets_and_rules_that_are_not_there(make_hydro_bundle: Callable[..., Path], change: Any, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        Decider(make_hydro_bundle(**change))
    assert any(told in problem for problem in caught.value.problems), caught.value.problems


def test_a_rule_may_stand_in_the_policys_place(make_hydro_bundle: Callable[..., Path]) -> None:
    decider = Decider(make_hydro_bundle(scorer={"kind": "rule", "rule": "myopic_floor"}))
    for raw in decider.contract.sample_requests(20, 2):
        answer = decider.decide(raw)
        assert (answer["status"], answer["source"]) == ("released", "policy")
        assert answer["proposal"] == answer["action"]
        assert "hidden_state" not in answer
    told = decider.decide({**raw, "hidden_state": {"policy_hash": "x", "steps": 0}, "inflow_history_m3s": None})
    assert "expected none: this policy has no memory" in told["problems"][0]


def test_requests_as_a_table_and_the_audit_log(hydro_bundle: Path, tmp_path: Path, capsys: Any) -> None:
    decider = Decider(hydro_bundle)
    names, inflows = plant_names(decider), path_of(decider)
    header = [
        "case_hash",
        "stage",
        *(f"volumes_hm3.{n}" for n in names),
        *(f"inflow_m3s.{n}" for n in names),
        "outages",
    ]
    rows = [",".join(header)]
    for stage in range(3):
        cells = [
            decider.contract.case.hash,
            stage + 1,
            *decider.contract.case.hydros.initial_volume,
            *inflows[stage],
            "[]",
        ]
        rows.append(",".join(map(str, cells)))
    (tmp_path / "requests.csv").write_text("\n".join(rows))
    log = tmp_path / "log.jsonl"
    assert run_cli(hydro_bundle, str(tmp_path / "requests.csv"), audit=log, as_json=False, selftest=False) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["status"] for answer in answers] == ["released"] * 3
    again = decider.decide(request_of(decider, 0, decider.contract.case.hydros.initial_volume, inflows[0]))
    assert answers[0]["target_hm3"] == again["target_hm3"]
    report = verify(log)
    assert (report.lines, report.problems) == (3, ())
    quiet = {"audit": log, "as_json": True, "selftest": True}
    assert run_cli(hydro_bundle, "", **quiet) == run_cli(hydro_bundle, "", **quiet, runner="numpy") == 0


def test_a_bundle_needs_nothing_but_itself(make_hydro_bundle: Callable[..., Path], tmp_path: Path) -> None:
    """The scenario names a folder that is gone: the system travels as an asset."""
    from interlock.domains.hydro.case_file import write_case
    from interlock.domains.hydro.instances import case_of

    folder = tmp_path / "system"
    write_case(case_of(HydroScenario(name="g", case={"source": "generated", "n_hydro": 4, "seed": 1})), folder)
    scenario = HydroScenario(name="mine", case={"source": "folder", "path": str(folder)}, horizon=6)
    path = make_hydro_bundle(scenario)
    shutil.rmtree(folder)
    decider = Decider(path)
    assert {decider.decide(raw)["status"] for raw in decider.contract.sample_requests(20, 0)} == {"released"}

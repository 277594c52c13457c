"""From a trained rule to a bundle: what it decides, and the copies that people read."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch
from gymnasium import spaces

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.errors import BadInput
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy, describe
from interlock.core.networks import build_network
from interlock.core.pathwise.config import PathwiseConfig
from interlock.core.pathwise.method import train
from interlock.core.policy import FunctionPolicy
from interlock.core.training import MemoryRun
from interlock.domains.fisheries.baselines import rule
from interlock.domains.fisheries.control_rule import Block, ControlRule, read_control_rule, write_control_rule
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.table_export import columns_of, exhibits, tabulate, visit
from interlock.operations.decide import Decider, run_cli
from interlock.scenarios.export import write_bundle

torch.set_num_threads(1)
SMALL = {
    "horizon": 30,
    "release": {"rollouts": 200},
    "evaluation": {"validation_instances": 40, "test_instances": 40, "num_envs": 40},
}
TONNES = [50_000.0, 20_000.0, 800.0]
CASES = {
    "one": {},
    "web": {"limits": {"tac": 0.4, "max_change": 0.2}, "tonnes": TONNES},
    "hidden": {"observed": {"hidden": ["z"], "cv": 0.1, "time": True}},
}


def problem_of(scenarios, case):
    make = scenarios.one if case == "one" else scenarios.web
    return build(make(**SMALL, **CASES[case]))


def learn(problem):
    config = PathwiseConfig(updates=12, batch=32, hidden=(8,), validate_every=12)
    return train(problem, config, MemoryRun())


@pytest.fixture(scope="module")
def bundles(scenarios, tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("bundles"), {}
    evidence = {
        "policies": {
            "pathwise": {
                "learned": True,
                "objective": {"mean": 5.0, "low": 4.0, "high": 6.0},
                "constraints": {"collapse": {"mean": 0.01, "limit": 0.05, "satisfied": True}},
            }
        }
    }
    for case in CASES:
        problem = problem_of(scenarios, case)
        policy = learn(problem)
        path = folder / case
        write_bundle(
            path, problem=problem, policy=policy, run_info={"method": "pathwise", "seed": 4}, evidence_summary=evidence
        )
        made[case] = (path, problem, policy)
    return made


@pytest.mark.parametrize("case", CASES)
def test_a_bundle_decides_and_tests_itself(bundles, case):
    path, problem, _ = bundles[case]
    decider = Decider(path)
    assert decider.selftest() == []
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["exhibits"] == ["about.md", "control_rule.csv", "control_rule.json", "control_rule.svg"]
    sources = {decider.decide(raw)["source"] for raw in decider.contract.sample_requests(60, 5)}
    assert "policy" in sources
    gone = {name: 0.05 for name in decider.contract.seen}
    answer = decider.decide({"year": 1, "stock": gone})
    assert answer["status"] == "released"
    assert answer["source"].startswith("fallback")
    assert "the policy is not trusted here" in answer["reason"]
    assert answer["proposal"] is None
    assert problem.scenario.harvested == tuple(answer["mortality"])


@pytest.mark.parametrize("head", ["gaussian", "beta"])
def test_actor_critic_networks_are_bundled_too(scenarios, tmp_path, head):
    problem = problem_of(scenarios, "one")
    observation = problem.environment(1, seed=0, split="train").reset()
    encoded = problem.encoders()["stock"](observation)
    settings = NetworkSettings(hidden=(8,))
    network = build_network(encoded, build_head(spaces.Box(0.0, 1.0, (1,), np.float64), head), settings, seed=1)
    description = {"encoder": "stock", **describe(observation, encoded)}
    policy = NetworkPolicy(network, problem.encoders()["stock"], description)
    write_bundle(tmp_path / "bundle", problem=problem, policy=policy, run_info={}, evidence_summary={})
    decider = Decider(tmp_path / "bundle")
    assert decider.selftest() == []
    raw = {"year": 1, "stock": {"x": 0.6}}
    assert decider.decide(raw)["proposal"] == pytest.approx(
        np.clip(policy.act(decider.contract.observation(decider.contract.parse(raw)))[0], 0, 1), abs=1e-6
    )


def test_altered_copies_are_noticed(bundles, tmp_path):
    import shutil

    path = tmp_path / "altered"
    shutil.copytree(bundles["one"][0], path)
    table = path / "control_rule.csv"
    table.write_text(table.read_text().replace("x,0,", "x,0,0."))
    with pytest.raises(BadInput, match=r"control_rule\.csv: altered"):
        Decider(path)
    (path / "extra.txt").write_text("not ours")
    with pytest.raises(BadInput, match=r"extra\.txt: not listed"):
        Decider(path)


@pytest.mark.parametrize("case", CASES)
def test_the_table_stands_in_for_the_policy_within_what_is_stated(bundles, case):
    path, problem, policy = bundles[case]
    stated = json.loads((path / "control_rule.json").read_text())
    table = read_control_rule(path / "control_rule.csv")
    assert tuple(table.blocks) == problem.scenario.harvested
    visited = visit(problem, policy)
    away = np.abs(table.mortality(columns_of(problem.scenario, visited.views)) - visited.mortality)
    for j, name in enumerate(problem.scenario.harvested):
        assert len(table.blocks[name].axes[f"stock_{name}"]) == 51
        assert away[:, j].max() == pytest.approx(stated["deviation"][name]["maximum"], abs=1e-9)
        assert away[:, j].mean() == pytest.approx(stated["deviation"][name]["mean"], abs=1e-9)
    assert away.max() < 0.1
    assert stated["visited_states"] == len(visited.mortality)
    svg = (path / "control_rule.svg").read_text()
    assert svg.count('id="axes_') >= len(table.blocks)
    text = (path / "about.md").read_text()
    for part in ("method pathwise; seed 4", "1 per stock unit of x", "0.05 stock units", "at most 0.01 likely"):
        assert part in text
    assert "the policy pathwise: 5 stock units (4 to 6); collapse 0.01 (kept: at most 0.05)" in text


def test_copies_are_the_same_every_time(bundles):
    path, problem, policy = bundles["one"]
    provenance = json.loads((path / "manifest.json").read_text())["provenance"]
    for name, content in exhibits(problem, policy, provenance).items():
        assert (path / name).read_bytes() == content


@pytest.mark.parametrize("form", ["json", "csv"])
def test_requests_are_decided_on_the_command_line(bundles, tmp_path, capsys, form):
    path = bundles["web"][0]
    requests = [
        {"year": 1, "stock_t": {"x": 25_000, "y": 9_000, "z": 500}},
        {"year": 9, "stock": {"x": 0.5, "y": 0.6, "z": 0.4}, "last_mortality": {"x": 0.1, "y": 0.2}},
        {"year": 9, "stock": {"x": 0.5, "y": 0.6}, "last_mortality": {"x": 0.1, "y": 0.2}},
    ]
    file = tmp_path / f"requests.{form}"
    if form == "json":
        file.write_text(json.dumps(requests))
    else:
        columns = ["year", "stock_t.x", "stock_t.y", "stock_t.z", "stock.x", "stock.y", "stock.z"]
        columns += ["last_mortality.x", "last_mortality.y"]
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            for raw in requests:
                flat = {f"{key}.{name}": value for key in raw if key != "year" for name, value in raw[key].items()}
                writer.writerow([raw["year"], *(flat.get(column, "") for column in columns[1:])])
    code = run_cli(path, str(file), audit=tmp_path / "audit.jsonl", as_json=False, selftest=False)
    assert code == 3
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["status"] for answer in answers] == ["released", "released", "invalid"]
    assert "stock.z: missing" in " ".join(answers[2]["problems"])
    first = answers[0]
    assert first["tac_t"]["x"] == pytest.approx(25_000 * first["mortality"]["x"])
    assert sum(first["tac"].values()) <= 0.4 + 1e-9
    assert all(abs(answers[1]["mortality"][name] - before) <= 0.2 + 1e-9 for name, before in (("x", 0.1), ("y", 0.2)))


def test_bundle_and_table_need_no_torch(bundles):
    path = bundles["hidden"][0]
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # importing it fails
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from interlock.operations.decide import Decider\n"
        "from interlock.domains.fisheries.control_rule import read_control_rule\n"
        f"assert Decider({str(path)!r}).selftest() == []\n"
        f"rule = read_control_rule(Path({str(path)!r}) / 'control_rule.csv')\n"
        "state = dict.fromkeys(rule.inputs, np.array([0.5, 0.7]))\n"
        "assert rule.mortality(state).shape == (2, 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tables_are_linear_between_points_and_level_beyond():
    axes = {"stock_x": np.array([0.0, 0.5, 1.0]), "stock_y": np.array([0.2, 0.4]), "year": np.array([100.0])}
    values = np.array([[0.0, 0.1], [0.2, 0.4], [0.4, 0.9]])[:, :, None]
    table = write_control_rule(ControlRule({"x": Block(axes, values)}))
    assert table.splitlines()[:2] == [b"mortality_of,stock_x,stock_y,year,mortality", b"x,0,0.2,100,0"]
    read = read_control_rule(table)
    asked = {"stock_x": [0.25, 0.75, 2.0, -1.0], "stock_y": [0.3, 0.2, 9.0, 0.0], "year": [1, 1, 1, 1]}
    assert read.mortality(asked)[:, 0] == pytest.approx([0.175, 0.3, 0.9, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "x: 3 rows for 4 combinations of inputs"),
        (lambda rows: [*rows, rows[-1]], "x: 1 combinations of inputs are there twice"),
        (lambda rows: [*rows[:2], "x,0,1,1.2", *rows[3:]], "row 3"),
        (lambda rows: [*rows[:2], "x,0,nan,0.2", *rows[3:]], "row 3"),
        (lambda rows: [*rows[:2], "x,0", *rows[3:]], "row 3"),
        (lambda rows: rows[1:], "header is"),
        (lambda rows: rows[:1], "has no rows"),
    ],
)
def test_broken_tables_are_refused(change, message):
    axes = {"stock_x": np.array([0.0, 1.0]), "year": np.array([1.0, 2.0])}
    rows = write_control_rule(ControlRule({"x": Block(axes, np.full((2, 2), 0.25))})).decode().splitlines()
    with pytest.raises(BadInput, match=message):
        read_control_rule("\n".join(change(rows)).encode())


def test_a_rule_that_is_a_table_is_copied_exactly(scenarios):
    problem = problem_of(scenarios, "web")
    policy = rule(problem.scenario, "constant_mortality", np.array([0.2, 0.3]))
    table = tabulate(problem.scenario, policy, visit(problem, policy))
    assert {float(block.values.min()) for block in table.blocks.values()} == {0.2, 0.3}
    assert all(np.ptp(block.values) == 0.0 for block in table.blocks.values())
    assert all(len(block.axes["year"]) == 1 for block in table.blocks.values())  # it does not mind the year


def test_policies_with_a_memory_get_no_table(scenarios):
    problem = problem_of(scenarios, "one")
    counted = iter(range(10**6))
    policy = FunctionPolicy(lambda view, rng: np.full((len(view["stock"]), 1), 1e-7 * next(counted)))
    found = exhibits(problem, policy, {})
    assert list(found) == ["about.md"]
    assert b"remembers earlier surveys" in found["about.md"]


@pytest.mark.parametrize("weigh", [False, True])
def test_walleye_are_exported_too(tmp_path, weigh):
    scenario = FisheriesScenario.model_validate(
        {
            "name": "lake",
            "model": {"kind": "walleye", "weigh": weigh},
            "harvested": ["walleye"],
            "initial": [1.0],
            "initial_sd": 0.0,
            "collapse_level": 0.0,
            "collapse_probability": None,
            "low_years": None,
            "horizon": 40,
        }
    )
    problem = build(scenario)
    policy = rule(scenario, "constant_escapement", np.array([0.5]))
    found = exhibits(problem, policy, {})
    table = read_control_rule(found["control_rule.csv"])
    assert ("mean_weight" in table.inputs) == weigh
    stated = json.loads(found["control_rule.json"])
    assert stated["deviation"]["walleye"]["mean"] < 0.02
    contract = problem.decision()
    request = contract.parse(contract.sample_requests(1, 0)[0])
    action = contract.project(request, np.array([0.4]))
    assert contract.check(request, action).feasible
    assert set(contract.answer(request, action, None)) == {"mortality", "flags", "notes"}

"""Smoothing on fisheries: decoded inputs, equal presets, and a run that shows the teacher and bundles its rule."""

import json

import numpy as np
import pytest

from interlock.domains.fisheries import DOMAIN
from interlock.domains.fisheries.problem import build
from interlock.scenarios import cli
from interlock.scenarios.loading import load_method, load_scenario

EYES = {
    "one": ("may_safe", []),
    "web": ("web_two_fisheries", []),
    "hidden": ("web_hidden_predator", []),
    "careful": ("web_drift", ["limits.max_change=0.2"]),
    "walleye": ("walleye_yield", []),
    "weighed": ("walleye_trophy", []),
}


@pytest.mark.parametrize("name", ["units", "units_time"])
@pytest.mark.parametrize("case", EYES)
def test_decoded_inputs_are_encoded_to_what_they_were(case, name):
    scenario, settings = EYES[case]
    problem = build(load_scenario(DOMAIN, scenario, settings))
    encode, decode = problem.encoders()[name], problem.decoders()[name]
    environment = problem.environment(20, seed=4, split="train")
    view = environment.reset()
    for _ in range(3):
        view = environment.step(np.full((20, len(problem.scenario.harvested)), 0.1)).observation
    inputs = encode(view)["vector"]
    again = decode(inputs)
    assert set(again) == set(view)
    assert encode(again)["vector"] == pytest.approx(inputs, abs=1e-6)
    for part, values in again.items():
        if part != "year" or name == "units_time":
            assert values == pytest.approx(view[part], abs=1e-6), part


def test_the_smooth_preset_trains_the_plain_one():
    assert load_method(DOMAIN, "ppo_gp").config.teacher == load_method(DOMAIN, "ppo").config


def test_the_variants_of_the_reference_differ_in_what_they_say():
    reference, bare, bound = (
        load_scenario(DOMAIN, f"web_two_fisheries{end}") for end in ("", "_penalised", "_constrained")
    )
    assert reference.signature() == bare.signature() == bound.signature()
    assert build(bare).constraints == ()
    assert [(one.name, one.limit) for one in build(bound).constraints] == [("collapse", 0.05)]
    assert (bare.reward, bound.reward) == ("penalised", "constrained")


def test_a_run_shows_the_teacher_and_bundles_the_smooth_rule(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    scenario = ("evaluation.test_instances=60", "evaluation.validation_instances=30", "baselines=[no_harvest]")
    method = ("teacher.steps=4096", "teacher.num_envs=64", "teacher.validate_every=4096", "rows=20")
    arguments = ["fisheries", "run", "may_safe", "--method", "ppo_gp", "--quiet", "--json"]
    arguments += [part for text in scenario for part in ("--set", text)]
    arguments += [part for text in method for part in ("--method-set", text)]
    assert cli.main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    learned = {name for name, policy in result["policies"].items() if policy["learned"]}
    assert learned == {"ppo_gp", "ppo_gp (teacher)"}
    folder = tmp_path / "runs" / result["run"]
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    assert manifest["scorer"]["encoder"] == "units"
    assert json.loads((folder / "run.json").read_text())["result"].startswith(
        f"{result['policies']['ppo_gp']['objective']['mean']:.4g}"
    )

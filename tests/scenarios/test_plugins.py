"""Plug-ins of third parties: the example works through every journey, the broken ones break nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.core.errors import UsageError
from interlock.scenarios import plugins

REASONS = {
    ("domains", "broken_domain"): "RuntimeError: the licence file is not there",
    ("domains", "misnamed"): "its entry point is called 'misnamed', the domain itself 'another_name'",
    ("domains", "not_a_domain"): "interlock_broken_type:TEXT is a str, expected a DomainInfo",
    ("methods", "broken_method"): "RuntimeError: the licence file is not there",
    ("solvers", "broken_solver"): "SystemExit: this plug-in gives up",
    ("solvers", "closed_solver"): "interlock_broken_solvers:Closed has no method `open`",
}


def test_names_are_known_without_an_import():
    code = (
        "import sys; from interlock.scenarios import plugins; "
        "print(*plugins.names('domains'), *plugins.names('methods'), *plugins.names('solvers')); "
        "print([name for name in sys.modules if name.startswith(('interlock.domains', 'interlock.solvers', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, modules = done.stdout.splitlines()
    assert {"bin_packing", "cross_entropy", "ppo_lagrangian", "highs"} <= set(names.split())
    assert modules == "[]"


def test_loading_what_does_not_exist():
    with pytest.raises(UsageError, match="there is no method 'ppo_lagrangia', did you mean 'ppo_lagrangian'"):
        plugins.load("methods", "ppo_lagrangia")
    with pytest.raises(plugins.Unavailable, match=r"interlock\.core\.problem:Nothing cannot be loaded: AttributeError"):
        plugins.resolve("interlock.core.problem:Nothing")
    with pytest.raises(plugins.Unavailable, match=r"No module named 'interlock\.nowhere'"):
        plugins.resolve("interlock.nowhere:thing")


def test_broken_plugins_are_listed_with_their_reason_and_ours_wins_a_name(demo_cli):
    listed = {(entry["group"], entry["name"]): entry for entry in demo_cli("plugins", "--json").json()["plugins"]}
    for key, reason in REASONS.items():
        assert not listed[key]["available"]
        assert listed[key]["source"] == "interlock-broken 0.0.1"
        assert reason in listed[key]["reason"]
    for key in (("domains", "demo_inventory"), ("methods", "demo_levels"), ("solvers", "demo_vertices")):
        assert listed[key]["available"]
        assert listed[key]["source"] == "interlock-demo 0.1.0"
    ours = listed["domains", "bin_packing"]
    assert (ours["available"], ours["source"].split()[0]) == (True, "interlock")
    assert ours["reason"] == "also offered by interlock-broken 0.0.1: not used"


def test_broken_plugins_break_no_other_command(demo_cli):
    for command in (["--help"], ["list"], ["doctor"], ["bin_packing", "list"], ["demo-inventory", "list"]):
        done = demo_cli(*command)
        assert done.code == 0, done.err
        assert "Traceback" not in done.out + done.err
    assert "unavailable" in demo_cli("list").out
    assert "the licence file is not there" in demo_cli("doctor").out
    refused = demo_cli("broken_domain", "run", "anything", "--json")
    assert (refused.code, refused.out) == (1, "")
    assert "the licence file is not there" in refused.err


def test_the_example_domain_passes_the_smoke_kit(demo_cli):
    for scenario in ("steady", "busy"):
        done = demo_cli("demo-inventory", "check", scenario, "--kit")
        assert done.code == 0, done.err
        assert "ok: true" in done.out


def test_the_smoke_kit_names_what_is_wrong(demo_cli):
    site = demo_cli.folder / "changed"
    shutil.copytree(demo_cli.site, site)
    file = site / "interlock_demo" / "environment.py"
    right = "illegal = (action < 0) | (self.stock + action > s.capacity)"
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, "illegal = self.stock + action > s.capacity - 1"))
    done = type(demo_cli)(demo_cli.folder, site)("demo-inventory", "check", "steady", "--kit")
    assert done.code == 1
    assert "checks failed" in done.err
    assert "  - masks: " in done.err


def test_solvers_are_listed_with_what_they_work_with(demo_cli):
    listed = {entry["name"]: entry for entry in demo_cli("plugins", "--json").json()["plugins"]}
    assert listed["highs"]["works_with"].startswith("highspy 1.")
    assert listed["pyomo"]["works_with"].startswith("pyomo 6.")
    assert listed["demo_vertices"]["works_with"] == ""
    missing = listed["missing_solver"]
    assert (missing["available"], missing["works_with"]) == (False, "")
    assert "needs a-solver-nobody-has, which is not installed" in missing["reason"]
    assert "pip install 'interlock-broken[unheard-of]'" in missing["reason"]
    done = demo_cli("doctor", "--json").json()
    assert done["solvers"]["highs"] == {"available": True, "about": listed["highs"]["works_with"]}
    assert not done["solvers"]["missing_solver"]["available"]
    assert not any("a-solver-nobody-has" in problem for problem in done["problems"])
    assert "solver missing_solver: unavailable: " in demo_cli("doctor").out


def test_the_example_solver_passes_the_conformance_checks(demo_cli):
    done = demo_cli("plugins", "check", "demo-vertices", "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert (found["solver"], found["ok"]) == ("demo_vertices", True)
    checks = {check["name"]: check["passed"] for check in found["checks"]}
    assert checks["optimality"] is checks["duals"] is checks["unbounded"] is checks["session"] is True
    assert checks["cones"] is None


def test_conformance_checks_say_what_is_wrong(demo_cli):
    done = demo_cli("plugins", "check", "lazy_solver")
    assert done.code == 1
    lines = {line.split("  ")[0]: line for line in done.out.splitlines()}
    assert "FAILED" in lines["optimality"]
    assert "skipped" in lines["cones"]
    assert "checks failed" in done.err
    for words, code in (
        (["check", "nowhere"], 2),
        (["check", "bin_packing"], 2),
        (["check"], 2),
        (["inspect"], 2),
        (["check", "broken_solver"], 1),
        (["check", "missing_solver"], 1),
    ):
        refused = demo_cli("plugins", *words)
        assert (refused.code, refused.out) == (code, "")
        assert "error: " in refused.err


def test_the_example_solver_agrees_with_highs(third_party: Path, tmp_path: Path):
    code = (
        "from interlock.scenarios import plugins\n"
        "from interlock.solvers.interface import Column, Row, linear_program\n"
        "program = linear_program({'x': Column(cost=3, upper=4), 'y': Column(cost=5)},"
        " {'a': Row({'y': 2}, upper=12), 'b': Row({'x': 3, 'y': 2}, upper=18)}, 'maximise')\n"
        "print(*(plugins.load('solvers', name)().solve(program).objective for name in ('highs', 'demo_vertices')))\n"
    )
    environment = {"PYTHONPATH": str(third_party), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert [float(value) for value in done.stdout.split()] == pytest.approx([36, 36])


def test_a_third_party_domain_runs_from_scenario_to_decision(demo_cli):
    assert {"steady", "busy"} == set(demo_cli("demo-inventory", "list", "--json").json()["scenarios"])
    demand = demo_cli("demo-inventory", "demand", "steady")
    assert (demand.code, len(demand.out.splitlines())) == (0, 10)

    run = demo_cli("demo_inventory", "run", "busy", "--json", "--set", "evaluation.test_instances=400")
    assert run.code == 0, run.err
    found = run.json()
    assert list(found)[:4] == ["domain", "scenario", "run", "seconds"]
    assert next(iter(found["policies"])) == "demo_levels"
    assert {"newsvendor", "mean_demand"} < set(found["policies"])
    learned = found["policies"]["demo_levels"]
    assert learned["constraints"]["lost_sales"]["satisfied"]
    assert learned["objective"]["mean"] >= found["bounds"]["dynamic_programme"]["value"]
    assert set(learned["metrics"]["left_over"]) == {"mean", "low", "high", "unit"}

    folder = demo_cli.folder / "runs" / found["run"]
    for name in (
        "run.json",
        "scenario.yaml",
        "curves.parquet",
        "checkpoint.safetensors",
        "evidence.csv",
        "report.html",
    ):
        assert (folder / name).is_file(), name
    (demo_cli.folder / "request.json").write_text(json.dumps({"stock": 3, "day": 1}))
    decided = demo_cli("decide", str(folder / "bundle"), "--request", "request.json", "--json")
    assert decided.code == 0, decided.err
    assert '"status"' in decided.out

    again = demo_cli("demo_inventory", "compare", "steady", "--policy", found["run"], "--quiet", "--json")
    assert again.code == 0, again.err
    assert again.err == ""
    assert set(again.json()["policies"]) == {"demo_levels", "newsvendor", "mean_demand"}

"""Recorded results: figures come from commands, tables from figures, and files agree."""

import json
import shutil
from pathlib import Path

import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.scenarios import cli, record, tables

ACCEPTANCE = """
headline: learned
rows:
  learned:
    requirement: the learned policy
    figure: policies.learned.objective
  rule:
    requirement: "`linear12`, at least 50 %"
    figure: policies.linear12.objective
    at_least: 50
    digits: 2
  impossible:
    requirement: "`random`, at least 99 %"
    figure: policies.random.objective
    at_least: 99
  optimum:
    requirement: the exact optimum
    figure: bounds.optimal_online
    about: 67.6808
    within: 0.001
    digits: 4
  packed:
    requirement: boxes packed
    figure: policies.linear12.metrics.items_packed
  speed:
    requirement: steps per second
    at_least: 1000
    digits: 0
  time:
    requirement: milliseconds per decision
    figure: policies.linear12.decision_ms
    at_most: 1000
    digits: 3
  tuned:
    requirement: tuned in no time
    figure: policies.learned.objective
    scenario: tiny_3
    method: cross_entropy
    at_least: 40
    cpu_seconds_at_most: 0.001
  elsewhere:
    requirement: the rule on another scenario
    figure: policies.linear12.objective
    scenario: cut2
  wrong:
    requirement: nothing measures this
    figure: policies.nobody.objective
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout to record into, with one domain."""
    folder = tmp_path / "domains" / "bin_packing"
    folder.mkdir(parents=True)
    (folder / "acceptance.yaml").write_text(ACCEPTANCE)
    (folder / "README.md").write_text("# D\n\n<!-- table:acceptance -->\nold\n<!-- /table -->\n\nafter\n")
    (tmp_path / "README.md").write_text("# I\n\n<!-- table:domains -->\n<!-- /table -->\nafter\n")
    monkeypatch.setattr(record, "checkout", lambda: tmp_path)
    monkeypatch.setattr(tables, "checkout", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_benchmark_records_a_row(checkout: Path):
    said = record.record_row("bin_packing", "speed", value=1234.5, unit="steps/s", command="python b.py", seeds=[1, 2])
    assert said == "recorded speed = 1234.5 steps/s, requirement met"
    results = record.read_results(checkout / "domains" / "bin_packing")
    entry = results["speed"]
    assert set(entry) == {
        "row", "value", "low", "high", "unit", "seeds", "budget", "cpu_seconds", "command", "version", "date",
    }  # fmt: skip
    assert (entry["row"], entry["value"], entry["low"], entry["seeds"]) == ("speed", 1234.5, None, [1, 2])
    again = record.record_row("bin_packing", "speed", value=10.0, unit="steps/s", command="python b.py")
    assert "REQUIREMENT NOT MET: steps per second" in again
    record.record_row("bin_packing", "rule", value=60.0, unit="%", command="c", low=59.0, high=61.0)
    results = record.read_results(checkout / "domains" / "bin_packing")
    assert {name: entry["value"] for name, entry in results.items()} == {"speed": 10.0, "rule": 60.0}


def test_a_command_records_figures_of_every_kind(checkout: Path, capsys: pytest.CaptureFixture[str]):
    for row in ("rule", "impossible", "optimum", "packed", "time"):
        command = ["bin_packing", "compare", "tiny_3", "--set", "evaluation.test_instances=200", "--record", row]
        assert cli.main(command) == 0
    said = capsys.readouterr().err
    assert "recorded optimum = 67.6808 %, requirement met" in said
    assert "REQUIREMENT NOT MET: `random`, at least 99 %" in said
    results = json.loads((checkout / "domains" / "bin_packing" / "results.json").read_text())
    assert results["rule"]["low"] < results["rule"]["value"] < results["rule"]["high"]
    assert results["rule"]["command"].startswith("interlock bin_packing compare tiny_3 --set")
    assert (results["rule"]["unit"], results["packed"]["unit"], results["time"]["unit"]) == ("%", "items", "ms")
    assert results["optimum"]["low"] == results["optimum"]["high"] == pytest.approx(67.6808, abs=1e-3)
    assert results["rule"]["budget"] == "no training"
    assert (results["rule"]["cpu_seconds"], results["rule"]["seeds"]) == (None, [])


def test_a_trained_policy_is_the_learned_one(checkout: Path):
    settings = ["--method", "cross_entropy", "--method-set", "generations=1", "--set", "evaluation.test_instances=200"]
    assert cli.main(["bin_packing", "run", "tiny_3", *settings, "--seed", "4", "--record", "learned"]) == 0
    entry = record.read_results(checkout / "domains" / "bin_packing")["learned"]
    assert entry["seeds"] == [4]
    assert entry["budget"].endswith("CPU s")
    assert 40 < entry["value"] < 80
    assert entry["cpu_seconds"] > 0


def test_the_time_of_training_is_part_of_the_requirement(checkout: Path, capsys: pytest.CaptureFixture[str]):
    settings = ["--method", "cross_entropy", "--method-set", "generations=1", "--set", "evaluation.test_instances=200"]
    assert cli.main(["bin_packing", "run", "tiny_3", *settings, "--budget", "5m", "--record", "tuned"]) == 0
    assert "REQUIREMENT NOT MET: tuned in no time" in capsys.readouterr().err
    folder = checkout / "domains" / "bin_packing"
    entry = record.read_results(folder)["tuned"]
    assert entry["value"] > 40
    assert entry["budget"] == "300 s"
    assert entry["cpu_seconds"] > 0.001
    line = next(line for line in tables.acceptance_table(folder).splitlines() if line.startswith("| `tuned`"))
    assert f"| **no** | 0 | {entry['cpu_seconds']:,.0f} |" in line
    before_it_was_recorded = {key: value for key, value in entry.items() if key != "cpu_seconds"}
    (folder / "results.json").write_text(json.dumps({"tuned": before_it_was_recorded}))
    assert "|  | 0 |  |" in tables.acceptance_table(folder), "not known whether it is met"


@pytest.mark.parametrize(
    ("cpu_seconds", "value", "met"),
    [(120, 1, True), (121, 1, False), (120, 0, False), (None, 1, None), (None, 0, False)],
)
def test_met(cpu_seconds: float | None, value: float, met: bool | None):
    assert record.Row(requirement="", at_least=1, cpu_seconds_at_most=120).met(value, cpu_seconds) is met
    assert record.Row(requirement="").met(value, cpu_seconds) is None


def test_an_interval_that_has_to_lie_above():
    row = record.Row(requirement="", low_above=0)
    assert row.met(1.0, low=0.1) is True
    assert row.met(1.0, low=0.0) is False
    assert row.met(1.0) is False, "no interval"


def test_a_run_of_another_scenario_or_method_is_not_recorded(checkout: Path, capsys: pytest.CaptureFixture[str]):
    compare = ["bin_packing", "compare", "tiny_3", "--set", "evaluation.test_instances=100", "--record"]
    assert cli.main([*compare, "elsewhere"]) == 2
    assert "row elsewhere is about scenario cut2, this run is of tiny_3" in capsys.readouterr().err
    assert cli.main([*compare, "tuned"]) == 2
    assert "row tuned is about method cross_entropy, this run is of no method" in capsys.readouterr().err
    assert record.read_results(checkout / "domains" / "bin_packing") == {}


def test_what_cannot_be_recorded(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    compare = ["bin_packing", "compare", "tiny_3", "--set", "evaluation.test_instances=100", "--record"]
    assert cli.main([*compare, "rul"]) == 2
    assert "bin_packing has no row 'rul', did you mean 'rule'?" in capsys.readouterr().err
    assert not (checkout / "runs").exists(), "a wrong row is found before the work, not after"
    assert cli.main([*compare, "wrong"]) == 2
    assert "row wrong wants 'policies.nobody.objective', but there is no 'nobody'" in capsys.readouterr().err
    with pytest.raises(UsageError, match="in a checkout only, in domains/hydro"):
        record.find_row("hydro", "any")
    monkeypatch.setattr(record, "checkout", lambda: None)
    with pytest.raises(UsageError, match="in a checkout only"):
        record.find_row("bin_packing", "rule")


def test_rows_are_checked(checkout: Path):
    folder = checkout / "domains" / "bin_packing"
    (folder / "acceptance.yaml").write_text("headline: a\nrows: {a: {requirment: b}}")
    with pytest.raises(BadInput, match=r"rows\.a\.requirment: unknown key, did you mean 'requirement'"):
        record.read_acceptance(folder)


def test_tables_are_made_from_the_results(checkout: Path, capsys: pytest.CaptureFixture[str]):
    record.record_row("bin_packing", "rule", value=60.123, unit="%", command="interlock x", low=59.0, high=61.0)
    record.record_row("bin_packing", "speed", value=999.0, unit="steps/s", command="python b.py")
    record.record_row("bin_packing", "learned", value=67.0, unit="%", command="interlock y", low=66.0, high=68.0)
    assert tables.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == ["differs: README.md", "differs: domains/bin_packing/README.md"]
    assert tables.main([]) == 0
    domain = (checkout / "domains" / "bin_packing" / "README.md").read_text()
    assert "| `rule` | `linear12`, at least 50 % | **60.12** % (59.00 to 61.00) | yes |  |  | `interlock x` |" in domain
    assert "| `speed` | steps per second | **999** steps/s | **no** |  |  | `python b.py` |" in domain
    assert "| `optimum` | the exact optimum | not measured yet | | | | | |" in domain
    assert "old" not in domain
    assert domain.endswith("<!-- /table -->\n\nafter\n")
    main = (checkout / "README.md").read_text()
    assert "[`bin_packing`](domains/bin_packing/README.md)" in main
    assert "the learned policy: **67.0** % (66.0 to 68.0), `interlock y`" in main
    assert tables.main(["--check"]) == 0


def test_further_tables_come_from_recorded_files(checkout: Path):
    folder = checkout / "domains" / "bin_packing"
    table = {"columns": ["rule", "mean [%]"], "rows": [["`a`", "61.2"], ["`b`", ""]]}
    recorded = {"command": "python b.py --record", "version": "0.1.0", "date": "2026-01-02", "tables": {"peers": table}}
    (folder / "peers_results.json").write_text(json.dumps(recorded))
    (folder / "README.md").write_text("before\n<!-- table:peers -->\nold\n<!-- /table -->\nafter\n")
    assert tables.rendered(checkout)[folder / "README.md"] == (
        "before\n<!-- table:peers -->\n| rule | mean [%] |\n| --- | --- |\n| `a` | 61.2 |\n| `b` |  |\n\n"
        "`python b.py --record`, 0.1.0, 2026-01-02\n<!-- /table -->\nafter\n"
    )
    (folder / "README.md").write_text("<!-- table:pears -->\n<!-- /table -->\n")
    with pytest.raises(ValueError, match="no table 'pears'; there are: domains, acceptance, peers"):
        tables.rendered(checkout)


def test_an_unknown_table_is_an_error(checkout: Path):
    (checkout / "README.md").write_text("<!-- table:nothing -->\n<!-- /table -->\n")
    with pytest.raises(ValueError, match="there is no table 'nothing'"):
        tables.rendered(checkout)


def test_the_tables_of_this_checkout_agree_with_its_results(root: Path):
    files = tables.rendered(root)
    assert root / "README.md" in files
    stale = [str(file.relative_to(root)) for file, text in files.items() if file.read_text(encoding="utf-8") != text]
    assert not stale, f"run `make tables`: {', '.join(stale)}"


def test_every_result_of_this_checkout_has_its_row(root: Path):
    for file in (root / "core" / "acceptance.yaml", *sorted((root / "domains").glob("*/acceptance.yaml"))):
        rows = record.read_acceptance(file.parent).rows
        results = record.read_results(file.parent)
        assert set(results) <= set(rows)
        for name, entry in results.items():
            assert entry["row"] == name
            assert entry["command"]


def test_the_folder_of_a_copied_checkout_is_not_ours(tmp_path: Path, root: Path):
    shutil.copy(root / "pyproject.toml", tmp_path)
    assert record.checkout() == root

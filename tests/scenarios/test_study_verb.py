"""A study as users run it: `bin_packing cell`."""

import pytest

from interlock.core.errors import UsageError
from interlock.scenarios.record import Place, Row, record_findings

SHORT = ["--set", "cell.hours=0.2", "--set", "cell.shifts=2", "--set", "cell.decision_s=0.1", "--set", "stream=rs"]


def test_a_study_shows_a_table_json_and_a_page(cli):
    done = cli(
        "bin_packing", "cell", "cut2", *SHORT, "--policy", "dbl", "--policy", "random", "--out", "page.html", "--json"
    )
    assert done.code == 0, done.err
    found = done.json()
    assert (found["study"], found["scenario"], found["shifts"]) == ("cell", "cut2", 2)
    assert list(found["policies"]) == ["dbl", "random"]
    rate = found["policies"]["dbl"]["boxes_per_hour"]
    assert rate["unit"] == "boxes/h"
    assert rate["low"] <= rate["mean"] <= rate["high"]
    page = (cli.folder / "page.html").read_text(encoding="utf-8")
    assert "The cell in time" in page
    assert page.count('class="plot"') == 2
    shown = cli("bin_packing", "cell", "cut2", *SHORT, "--policy", "dbl")
    assert shown.code == 0, shown.err
    assert "[boxes/h]" in shown.out
    assert " ± " in shown.out
    assert not (cli.folder / "runs").exists()


def test_a_study_refuses_what_it_cannot_play(cli):
    unknown = cli("bin_packing", "cell", "cut2", "--policy", "linear13")
    assert unknown.code == 2
    assert "linear12" in unknown.err
    (cli.folder / "boxes.csv").write_text("stream_id,position,length,width,height\na,0,2,2,2\n")
    own = cli("bin_packing", "cell", "cut2", "--data", "boxes.csv")
    assert own.code == 2
    assert "leave --data out" in own.err
    wrong = cli("bin_packing", "cell", "cut2", "--set", "cell.hours=-1")
    assert wrong.code == 3
    assert "hours" in wrong.err


def test_a_figure_of_a_study_is_recorded_by_its_path(tmp_path):
    row = Row(requirement="r", figure="policies.dbl.boxes_per_hour", scenario="cut2")
    run = {"domain": "bin_packing", "scenario": "cut1", "seed": 0, "command": "c"}
    with pytest.raises(UsageError, match="about scenario cut2"):
        record_findings(Place(tmp_path, "row", row), {}, run)
    with pytest.raises(UsageError, match="there is no 'dbl'; there are: linear12"):
        record_findings(Place(tmp_path, "row", row), {"policies": {"linear12": {}}}, {**run, "scenario": "cut2"})

"""``interlock core``: the table of exact checks and the picture of the iterates."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.scenarios import core_check, core_oscillation
from interlock.scenarios.cli import main
from interlock.scenarios.core_check_table import Check

QUICK = ["--iterations", "700"]


def passing() -> Check:
    return Check("one", "numbers", 1e-9, 1e-6)


def failing() -> Check:
    return Check("another", "other numbers", 0.5, 1e-6)


def test_check_shows_every_check_and_its_limit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(core_check, "CHECKS", (passing, core_check.penalised_critic, core_check.barrier_gap))
    assert main(["core", "check"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("✓") == 3
    for text in ("method", "computed", "deviation", "limit", "penalised critic", "≤ 0.001"):
        assert text in shown.out
    assert "3 of 3 checks passed" in shown.err


def test_check_fails_with_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(core_check, "CHECKS", (passing, failing))
    assert main(["core", "check", "--json", "--quiet"]) == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["failed"] == 1
    assert [one["passed"] for one in found["checks"]] == [True, False]
    assert found["checks"][1]["deviation"] == 0.5
    assert shown.err == ""


def test_oscillation_draws_and_tells_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    picture = tmp_path / "picture.png"
    assert main(["core", "oscillation", "garnet_2c", *QUICK, "--out", str(picture), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    assert found["optimum"]["return"] == pytest.approx(15.513006, abs=1e-6)
    assert list(found["limits"]) == ["cost_1", "cost_2"]
    assert found["iterations"] == 700
    plain, optimistic = found["methods"]["plain"], found["methods"]["optimistic"]
    assert list(found["methods"]) == ["plain", "optimistic"]
    assert plain["gap"]["largest"] > 0.02 > 0.01 > optimistic["gap"]["largest"]
    assert plain["violation"] > 2 * optimistic["violation"]


def test_oscillation_of_other_methods_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    methods = ["--method", "pi", "--method", "entropy", "--method", "pi"]
    assert main(["core", "oscillation", "queue_effort", "--iterations", "400", *methods]) == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()[-2:]] == ["pi", "entropy"]
    assert "limits effort 6" in shown.out
    assert (tmp_path / "oscillation_queue_effort.png").is_file()
    assert "picture: oscillation_queue_effort.png" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["two_stat"], "there is no process 'two_stat', did you mean 'two_state'?"),
        (["two_state", "--method", "primal"], "no method 'primal'; there are plain, optimistic, pi, entropy"),
    ],
)
def test_wrong_use(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["core", "oscillation", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/picture.png", "--out nowhere/picture.png: there is no folder nowhere"),
        ("folder", "--out folder: this is a folder; name a file in it"),
        ("taken", "--out taken: taken.png is a folder"),
        ("file.png/picture.png", "there is no folder file.png"),
        ("picture.xyz", "--out picture.xyz: a picture cannot end in .xyz; it can in .png, .pdf, .svg"),
        ("..", "--out ..: this is a folder"),
    ],
)
def test_where_no_picture_can_go_is_told_before_anything_is_computed(
    out: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(core_oscillation, "lagrangian", lambda *arguments: pytest.fail("computed before refusing"))
    for name in ("folder", "taken.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.png").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert main(["core", "oscillation", "--iterations", "20", "--out", out]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("out", "written", "begins"),
    [("x", "x.png", b"\x89PNG"), (".hidden", ".hidden.png", b"\x89PNG"), ("x.SVG", "x.SVG", b"<?xml")],
)
def test_the_file_told_is_the_file_written(
    out: str, written: str, begins: bytes, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["core", "oscillation", "--iterations", "20", "--out", str(tmp_path / out), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["out"] == str(tmp_path / written)
    assert f"picture: {tmp_path / written}" in shown.err
    assert [path.name for path in tmp_path.iterdir()] == [written]
    assert (tmp_path / written).read_bytes().startswith(begins)


@pytest.mark.parametrize("command", ["core --help", "core check --help", "core oscillation --help"])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys; from interlock.scenarios.cli import main; code = main(sys.argv[1:]); "
        "heavy = ('torch', 'pandas', 'pyomo', 'matplotlib', 'numpy'); "
        "print('loaded:', *[name for name in heavy if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command.split()], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "loaded:"
    assert "oscillation" in done.stdout or "check" in done.stdout


def test_checks_and_pictures_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from interlock.scenarios.cli import main; from interlock.scenarios import core_check; "
        "core_check.CHECKS = core_check.CHECKS[:3]; assert main(['core', 'check']) == 0; "
        "assert main(['core', 'oscillation', '--iterations', '50']) == 0; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.scenarios.running import StoredRun, read_curves, seconds_of
from interlock.scenarios.screen import Screen
from interlock.scenarios.store import RunFolder, RunStore


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunStore(tmp_path).create("s", {"domain": "d", "scenario": "s", "verb": "train", "warnings": []})


def stored(folder: RunFolder, **options) -> StoredRun:
    return StoredRun(folder, **{"seed": 3, "budget": None, "screen": Screen(quiet=True), **options})


ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "flags": np.array([True, False]),
    "scalar": np.array(4),
    "none": np.zeros((0, 2), np.int16),
}


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200), ("1.5m", 90), ("45", 45)])
def test_durations(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "five", "-3s", "0", "inf", "nan", "3d"])
def test_what_is_no_duration(text: str):
    with pytest.raises(UsageError, match="is not a duration; expected for example 90s, 5m or 2h"):
        seconds_of(text)


def test_a_checkpoint_comes_back_as_it_was(folder: RunFolder):
    meta = {"step": 3, "state": 2**100, "best": np.float64(0.1), "nothing": None, "list": np.arange(2)}
    stored(folder).checkpoint(ARRAYS, meta)
    found = stored(folder).resume()
    assert set(found.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert np.array_equal(found.arrays[name], array)
    assert found.meta == {"step": 3, "state": 2**100, "best": 0.1, "nothing": None, "list": [0, 1]}


def test_a_fresh_run_has_nothing_to_resume(folder: RunFolder):
    assert stored(folder).resume() is None
    assert read_curves(folder.path) == []


def test_rows_after_the_last_checkpoint_are_dropped(folder: RunFolder):
    run = stored(folder)
    run.log(1, {"train/loss": 0.5})
    run.log(2, {"train/loss": 0.4, "eval/objective": 60})
    run.checkpoint({}, {})
    run.log(3, {"train/loss": 0.3})
    run.write_curves()
    assert [row["step"] for row in read_curves(folder.path)] == [1, 2, 3]

    again = stored(folder)
    again.resume()
    again.log(3, {"train/loss": 0.3})
    again.write_curves()
    rows = read_curves(folder.path)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert "eval/objective" not in rows[0]
    assert rows[1]["eval/objective"] == 60
    assert [row["time/seconds"] for row in rows] == sorted(row["time/seconds"] for row in rows)


def test_time_before_a_resume_counts(folder: RunFolder):
    run = stored(folder, budget=0.25)
    assert not run.out_of_time()
    time.sleep(0.15)
    run.checkpoint({}, {})
    again = stored(folder, budget=0.25)
    again.resume()
    assert again.spent()["seconds"] >= 0.15
    assert not again.out_of_time()
    time.sleep(0.15)
    assert again.out_of_time()
    assert again.budget_spent


def test_checkpoints_are_due_by_the_clock(folder: RunFolder):
    run = stored(folder, checkpoint_every=0.05)
    assert not run.checkpoint_due()
    time.sleep(0.06)
    assert run.checkpoint_due()
    run.checkpoint({}, {})
    assert not run.checkpoint_due()


def test_a_damaged_checkpoint_is_refused(folder: RunFolder):
    stored(folder).checkpoint(ARRAYS, {})
    file = folder.path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BadInput, match="not a readable checkpoint"):
        stored(folder).resume()


def test_a_warning_is_shown_and_kept_once(folder: RunFolder, capsys: pytest.CaptureFixture[str]):
    run = stored(folder)
    run.warn("the teacher is weak")
    run.warn("the teacher is weak")
    assert capsys.readouterr().err == "warning: the teacher is weak\n"
    assert RunFolder(folder.path).record["warnings"] == ["the teacher is weak"]


def test_warnings_after_the_last_checkpoint_are_dropped(folder: RunFolder):
    run = stored(folder)
    run.warn("before")
    run.checkpoint({}, {})
    run.warn("after")
    stored(folder).resume()
    assert RunFolder(folder.path).record["warnings"] == ["before"]


def test_the_first_signal_asks_and_the_second_aborts(folder: RunFolder):
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        run = stored(folder)
        with run.training():
            assert not run.interrupted()
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            assert run.interrupted()
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (the signal arrives during the sleep)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_progress_is_plain_lines_where_there_is_no_terminal(folder: RunFolder, monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("interlock.scenarios.screen.time.monotonic", lambda: now)
    run = stored(folder, screen=Screen())
    for second in range(100):
        now = float(second)
        run.progress(second, 100, objective=60.25)
    assert capsys.readouterr().err.splitlines() == [f"train: {done} %  objective 60.25" for done in (30, 60, 90)]

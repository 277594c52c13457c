import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.scenarios.store import RunFolder, RunLocked, RunStore

RECORD = {"domain": "d", "scenario": "s", "verb": "run", "method": "m", "seed": 0, "seconds": 1.5, "result": "3 EUR"}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def finished(store: RunStore, label: str = "s-m-s0", **changes) -> RunFolder:
    run = store.create(label, {**RECORD, **changes})
    run.update(status="done")
    run.unlock()
    return run


def test_names_can_be_read_and_never_clash(store: RunStore):
    names = [finished(store).id for _ in range(3)]
    assert len(set(names)) == 3
    assert all(name.startswith("s-m-s0-20") for name in names)


def test_the_index_lists_what_is_in_the_folders(store: RunStore):
    first, second = finished(store), finished(store, "t-m-s1", scenario="t", seed=1, result=None)
    rows = {row["run"]: row for row in store.rows()}
    assert set(rows) == {first.id, second.id}
    assert rows[first.id]["result"] == "3 EUR"
    assert (rows[second.id]["scenario"], rows[second.id]["seed"], rows[second.id]["status"]) == ("t", 1, "done")


def test_the_index_follows_changes_deletions_and_copies(store: RunStore):
    first, second = finished(store), finished(store)
    store.rows()
    first.update(result="4 EUR")
    store.delete(second.id)
    assert [(row["run"], row["result"]) for row in store.rows()] == [(first.id, "4 EUR")]
    copy = store.folder / "a-copy"
    copy.mkdir()
    (copy / "run.json").write_bytes((first.path / "run.json").read_bytes())
    assert {row["run"] for row in store.rows()} == {first.id, first.record["run"]}


@pytest.mark.parametrize("damage", ["missing", "not a database", "another schema", "half"])
def test_a_lost_or_damaged_index_is_made_anew(store: RunStore, damage: str):
    run = finished(store)
    expected = store.rows()
    file = store.folder / "store.db"
    if damage == "missing":
        file.unlink()
    elif damage == "not a database":
        file.write_bytes(b"nonsense" * 1000)
    elif damage == "half":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
        with sqlite3.connect(file) as index:
            index.execute("CREATE TABLE runs (other TEXT)")
        index.close()
    assert store.rows() == expected
    assert expected[0]["run"] == run.id


def test_the_index_is_in_wal_mode(store: RunStore):
    finished(store)
    store.rows()
    index = sqlite3.connect(store.folder / "store.db")
    assert index.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    index.close()


def test_an_unreadable_run_does_not_hide_the_others(store: RunStore):
    run = finished(store)
    (store.folder / "odd").mkdir()
    (store.folder / "odd" / "run.json").write_text("{")
    assert [row["run"] for row in store.rows()] == [run.id]
    with pytest.raises(BadInput, match="cannot be read"):
        store.open("odd")


def test_a_run_of_another_format_is_refused(store: RunStore):
    run = finished(store)
    (run.path / "run.json").write_text(json.dumps({**run.record, "format": 99}))
    with pytest.raises(BadInput, match="format: got 99, this version reads 1"):
        store.open(run.id)


def test_opening_by_name_beginning_and_path(store: RunStore):
    run, other = finished(store, "alpha"), finished(store, "beta")
    assert store.open(run.id).id == store.open("al").id == store.open(str(run.path)).id == run.id
    finished(store, "beta")
    with pytest.raises(UsageError, match="several runs begin with 'beta'"):
        store.open("beta")
    with pytest.raises(UsageError, match=f"no run '{run.id}x' in .*did you mean '{run.id}'"):
        store.open(run.id + "x")
    assert store.open(other.id).id == other.id


def test_two_processes_cannot_write_the_same_run(store: RunStore):
    run = store.create("s", RECORD)
    code = (
        "import sys; from pathlib import Path; from interlock.scenarios.store import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1])); print(run.status()); run.lock(); print('locked')"
    )

    def other() -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=False)

    blocked = other()
    assert blocked.stdout == "running\n"
    assert "RunLocked" in blocked.stderr
    with pytest.raises(RunLocked, match="being written by another process"):
        RunFolder(run.path).lock()
    assert store.rows()[0]["status"] == "running"
    run.unlock()
    assert store.rows()[0]["status"] == "stopped"
    assert other().stdout == "stopped\nlocked\n"


def test_deleting_a_run_that_is_being_written_is_refused(store: RunStore):
    run = store.create("s", RECORD)
    with pytest.raises(RunLocked):
        store.delete(run.id)
    assert (run.path / "run.json").is_file()


def test_the_store_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTERLOCK_STORE", str(tmp_path / "elsewhere"))
    assert RunStore().folder == tmp_path / "elsewhere"
    assert RunStore(tmp_path / "here").folder == tmp_path / "here"
    monkeypatch.delenv("INTERLOCK_STORE")
    assert RunStore().folder == Path("runs")
    assert RunStore(tmp_path / "nothing").rows() == []

"""The run store: one folder per run, and an SQLite index of them that can always be rebuilt from the folders.

A run's folder holds ``run.json`` (what was asked, on what, how far it is), ``scenario.yaml``, ``curves.parquet``,
``checkpoint.safetensors``, ``policy/``, ``evidence.json``, ``evidence.csv``, ``report.html`` and ``bundle/``, as far as
the run got.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.core.errors import BadInput, InterlockError, UsageError
from interlock.scenarios.files import check_folder, write_json
from interlock.scenarios.plugins import did_you_mean

FORMAT = 1
"""Version of ``run.json``."""

COLUMNS = ("run", "domain", "scenario", "verb", "method", "seed", "status", "created", "seconds", "result")


class RunLocked(InterlockError):
    """Another process is writing this run."""


class RunFolder:
    """One run on disk.

    Args:
        path: its folder, which exists.

    Attributes:
        record: the content of ``run.json``.
    """

    def __init__(self, path: Path):
        self.path = path
        self.record: dict[str, Any] = _read_record(path)
        self._lock: int | None = None

    @property
    def id(self) -> str:
        """Name of the run."""
        return self.path.name

    def update(self, **changes: Any) -> None:
        """Change fields of ``run.json``, atomically."""
        self.record.update(changes)
        write_json(self.path / "run.json", self.record)

    def lock(self) -> None:
        """Become the only writer until ``unlock`` or the end of this process.

        Raises:
            RunLocked: another process is.
        """
        handle = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        for wait in (0.05, 0.1, 0.2, None):  # a reader may be trying the lock at this moment
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if wait is None:
                    os.close(handle)
                    raise RunLocked(f"run {self.id} is being written by another process") from error
                time.sleep(wait)
        self._lock = handle
        self.record = _read_record(self.path)

    def unlock(self) -> None:
        """Let others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def status(self) -> str:
        """``running``, ``done``, ``failed``, ``interrupted``; ``stopped`` if it says running and nobody is at it."""
        status: str = self.record["status"]
        if status == "running" and self._lock is None and not _is_locked(self.path):
            return "stopped"
        return status


class RunStore:
    """All runs under one folder.

    Args:
        folder: where they are; made with the first run. Default: ``$INTERLOCK_STORE``, else ``runs``.

    Raises:
        UsageError: this is no folder and cannot become one.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder if folder is not None else Path(os.environ.get("INTERLOCK_STORE") or "runs")
        check_folder(self.folder, "the run store")

    def create(self, label: str, record: Mapping[str, Any]) -> RunFolder:
        """A new run, locked for this process; its name is the label and the time.

        Args:
            label: as ``cut2-mask_ppo-s0``.
            record: content of ``run.json``.
        """
        now = datetime.now().astimezone()
        name = f"{label}-{now:%Y%m%d-%H%M%S}"
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            path = self.folder / f"{name}{suffix}"
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError:
                continue
        created = now.isoformat(timespec="seconds")
        head = {"format": FORMAT, "run": path.name, "status": "running", "created": created}
        write_json(path / "run.json", {**head, **record})
        run = RunFolder(path)
        run.lock()
        return run

    def open(self, run: str) -> RunFolder:
        """A run by its name, the beginning of its name if only one begins so, or the path of its folder.

        Raises:
            UsageError: there is no such run, or several.
        """
        if (Path(run) / "run.json").is_file():
            return RunFolder(Path(run))
        names = [path.name for path in self._folders()]
        matching = [name for name in names if name == run] or [name for name in names if run and name.startswith(run)]
        if len(matching) > 1:
            raise UsageError(f"several runs begin with {run!r}: {', '.join(matching)}")
        if not matching:
            raise UsageError(f"there is no run {run!r} in {self.folder}{did_you_mean(run, names)}")
        return RunFolder(self.folder / matching[0])

    def rows(self) -> list[dict[str, Any]]:
        """One row per run with the keys of ``COLUMNS``, oldest first, from the index brought up to date."""
        if not self.folder.is_dir():
            return []
        with _index(self.folder) as index:
            self._refresh(index)
            cursor = index.execute(f"SELECT {', '.join(COLUMNS)} FROM runs ORDER BY created, run")
            rows = [dict(zip(COLUMNS, row, strict=True)) for row in cursor]
        index.close()
        for row in rows:
            if row["status"] == "running" and not _is_locked(self.folder / row["run"]):
                row["status"] = "stopped"
        return rows

    def delete(self, run: str) -> str:
        """Remove a run and everything in its folder; gives its name.

        Raises:
            UsageError: there is no such run.
            RunLocked: it is being written.
        """
        found = self.open(run)
        found.lock()
        shutil.rmtree(found.path)
        found.unlock()
        return found.id

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path.parent for path in self.folder.glob("*/run.json"))

    def _refresh(self, index: sqlite3.Connection) -> None:
        """Read the runs whose ``run.json`` is new or has changed; forget those that are gone."""
        known = dict(index.execute("SELECT run, stamp FROM runs"))
        present = {path.name: _stamp(path) for path in self._folders()}
        for name in known.keys() - present.keys():
            index.execute("DELETE FROM runs WHERE run = ?", (name,))
        for name, stamp in present.items():
            if known.get(name) == stamp:
                continue
            try:
                record = _read_record(self.folder / name)
            except BadInput:
                continue
            values = [*(record.get(column) for column in COLUMNS), stamp]
            marks = ", ".join("?" for _ in values)
            index.execute(f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}, stamp) VALUES ({marks})", values)


def _index(folder: Path) -> sqlite3.Connection:
    """The index of a store, in memory where the folder cannot be written; a damaged one is made anew."""
    if not os.access(folder, os.W_OK):
        return _connect(":memory:")
    try:
        return _connect(folder / "store.db")
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise
        for damaged in folder.glob("store.db*"):
            damaged.unlink(missing_ok=True)
        return _connect(folder / "store.db")


def _connect(path: Path | str) -> sqlite3.Connection:
    index = sqlite3.connect(path, timeout=30)
    index.execute("PRAGMA journal_mode = WAL")
    columns = f"{COLUMNS[0]} TEXT PRIMARY KEY, {', '.join(COLUMNS[1:])}, stamp"
    index.execute(f"CREATE TABLE IF NOT EXISTS runs ({columns})")
    index.execute(f"SELECT {', '.join(COLUMNS)}, stamp FROM runs LIMIT 1")
    return index


def _stamp(path: Path) -> str:
    try:
        status = (path / "run.json").stat()
    except FileNotFoundError:
        return "gone"
    return f"{status.st_mtime_ns}:{status.st_ino}"


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path / ".lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def _read_record(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(str(file), [f"cannot be read: {error}"]) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise BadInput(str(file), [f"format: got {found!r}, this version reads {FORMAT}"])
    return record

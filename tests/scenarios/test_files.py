"""Files are replaced in one step: whatever happens while they are written, the old content or the new is there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interlock.scenarios.files import write_folder, write_json, write_text


def test_content_and_missing_folders(tmp_path: Path):
    write_text(tmp_path / "a" / "b.txt", "größer")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "größer"
    write_json(tmp_path / "c.json", {"z": 1, "a": "ü"})
    assert (tmp_path / "c.json").read_text(encoding="utf-8") == '{\n  "z": 1,\n  "a": "ü"\n}\n'


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_text(tmp_path / "file", "old")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path):
    def fill(names: list[str], fail: bool = False):
        def into(folder: Path) -> None:
            for name in names:
                (folder / name).write_text(name)
            if fail:
                raise RuntimeError("stopped half way")

        return into

    write_folder(tmp_path / "it", fill(["one", "two"]))
    write_folder(tmp_path / "it", fill(["three"]))
    assert sorted(os.listdir(tmp_path / "it")) == ["three"]
    with pytest.raises(RuntimeError):
        write_folder(tmp_path / "it", fill(["four"], fail=True))
    assert sorted(os.listdir(tmp_path / "it")) == ["three"]
    assert os.listdir(tmp_path) == ["it"]


def test_a_reader_never_sees_half_a_file_even_when_the_writer_is_killed(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from interlock.scenarios.files import write_text\n"
        "turn = 0\n"
        "while True:\n"
        "    turn += 1\n"
        "    write_text(Path(sys.argv[1]), str(turn % 10) * 300_000)\n"
    )
    file = tmp_path / "file"
    seen = 0
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code, str(file)])
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            if file.exists():
                content = file.read_text()
                assert len(content) == 300_000
                assert len(set(content)) == 1
                seen += 1
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert seen > 100
    content = file.read_text()
    assert (len(content), len(set(content))) == (300_000, 1)

"""Writing files so that a reader never sees half of one: into a temporary neighbour first, then renamed."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from interlock.core.errors import UsageError


def check_folder(path: Path, option: str) -> None:
    """See that a folder is there or can be made.

    Args:
        path: the folder.
        option: that named it, for the message.

    Raises:
        UsageError: it, or a folder above it, is something else.
    """
    for place in (path, *path.parents):
        if place.exists() or place.is_symlink():
            if not place.is_dir():
                raise UsageError(f"{option} {path}: {place} is there and is not a folder")
            return


def sha256_of(path: Path, names: Sequence[str] | None = None) -> str:
    """SHA-256 of a file, or of the names and sums of the files of a folder.

    Args:
        path: the file or folder.
        names: files of the folder that count; default: all that are directly in it.
    """
    if path.is_dir():
        files = sorted(file.name for file in path.iterdir() if file.is_file()) if names is None else sorted(names)
        lines = [f"{name} {sha256_of(path / name)}\n" for name in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, content: str) -> None:
    """Replace a text file (UTF-8) in one step."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file in one step; readable by people, keys in the given order."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_folder(path: Path, fill: Callable[[Path], Any]) -> None:
    """Replace a folder as a whole: ``fill`` writes into a temporary neighbour, which then takes the name.

    A kill between removing the old folder and renaming the new one leaves neither; nothing ever leaves half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        fill(temporary)
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise

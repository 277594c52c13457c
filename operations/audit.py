"""The audit log: one JSON line per decision, only ever appended, each line chained to the one before it.

A line is written with a single ``write`` to a file opened for appending, under a lock, so several processes may share a
log. Every line holds the SHA-256 of the previous one: a line that is changed, removed or inserted breaks the chain at
that place. Lines cut off at the end cannot be noticed from the file alone; keep the number of lines and the last hash
that ``verify`` reports elsewhere if that matters.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MAX_PROBLEMS = 20
"""Most problems of an invalid request that a line repeats."""

FIRST = "0" * 64
"""What the first line holds as the hash of its predecessor."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What ``verify`` found.

    Attributes:
        lines: number of lines.
        head: hash of the last line.
        problems: one sentence per broken line; empty for a sound log.
    """

    lines: int
    head: str
    problems: tuple[str, ...]


def default_path(bundle: Path) -> Path:
    """``<bundle>.audit.jsonl`` beside the bundle, never inside it."""
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}.audit.jsonl")


def request_hash(request: Any) -> str:
    """SHA-256 of a request: of its canonical JSON, or of the text itself where it is not JSON."""
    if isinstance(request, str):
        return hashlib.sha256(request.encode(errors="surrogatepass")).hexdigest()
    try:
        text = json.dumps(request, sort_keys=True, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError):
        text = f"<{type(request).__name__} that is not JSON>"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def audit_line(request: Any, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What the log keeps of a decision."""
    kept = ("status", "source", "reason", "proposal", "action", "decision", "latency_ms", "policy_hash")
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "input_sha256": request_hash(request),
        **{name: answer[name] for name in kept if name in answer},
        "problems": answer["problems"][:MAX_PROBLEMS],
    }


class AuditLog:
    """Appends to one log file.

    Args:
        path: of the file; made, with its folder, by the first line.
    """

    def __init__(self, path: Path):
        self.path = path

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line.

        Raises:
            OSError: the line could not be written as a whole.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            with _locked(handle):
                last, complete = _last_line(handle)
                text = json.dumps({**line, "previous": _hash(last)}, separators=(",", ":"))
                content = ("" if complete else "\n").encode() + text.encode() + b"\n"
                if os.write(handle, content) != len(content):
                    raise OSError(f"{self.path}: the audit line was written only in part")
        finally:
            os.close(handle)


def verify(path: Path) -> AuditReport:
    """Check every line of a log and the chain through all of them."""
    expected, count, problems = FIRST, 0, []
    with path.open("rb") as file:
        for count, raw in enumerate(file, 1):
            line = raw.rstrip(b"\n")
            try:
                previous = json.loads(line)["previous"]
            except (ValueError, RecursionError, KeyError, TypeError):
                problems.append(f"line {count}: is not a line of an audit log")
            else:
                if previous != expected:
                    problems.append(f"line {count}: does not follow the line before it, which was changed or removed")
            if not raw.endswith(b"\n"):
                problems.append(f"line {count}: is cut off")
            expected = _hash(line)
    return AuditReport(count, expected, tuple(problems))


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest() if line else FIRST


def _last_line(handle: int) -> tuple[bytes, bool]:
    """The last line without its line break, and whether it has one (an empty file counts as complete)."""
    end = os.lseek(handle, 0, os.SEEK_END)
    if end == 0:
        return b"", True
    tail, start = b"", end
    while start > 0 and tail.rstrip(b"\n").find(b"\n") < 0:
        start = max(0, start - 65_536)
        os.lseek(handle, start, os.SEEK_SET)
        tail = os.read(handle, end - start)
    return tail.rstrip(b"\n").rpartition(b"\n")[2], tail.endswith(b"\n")


@contextlib.contextmanager
def _locked(handle: int) -> Iterator[None]:
    """Hold the file's lock, where the system has one: then only one process at a time may append."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _plain(value: Any) -> Any:
    """Arrays and numpy numbers as JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")

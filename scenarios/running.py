"""A run that lives in the run store: what a method reports to while it trains.

Curves and checkpoint are written together, each in one step, and the checkpoint says how many rows of the curves belong
to it. So whenever the process dies, a resumed run goes on from a state that existed, and drops what came after it.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interlock.core.environment import Array
from interlock.core.errors import BadInput, UsageError
from interlock.core.training import Checkpoint
from interlock.scenarios.files import write_bytes
from interlock.scenarios.screen import Progress, Screen
from interlock.scenarios.store import RunFolder


def seconds_of(text: str) -> float:
    """Seconds of a duration as typed: ``90s``, ``5m``, ``2h``, or a number of seconds.

    Raises:
        UsageError: it is none of these, or not positive.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = -1.0
    if not 0.0 < seconds < float("inf"):
        raise UsageError(f"{text!r} is not a duration; expected for example 90s, 5m or 2h")
    return seconds


class StoredRun:
    """Implements ``interlock.core.training.Run`` on a run folder.

    Args:
        folder: where curves and checkpoints go.
        seed: of the run.
        budget: seconds of training, those before a resume included; ``None`` for no limit.
        screen: where progress and warnings are shown.
        checkpoint_every: seconds between checkpoints.
        on_checkpoint: called after each.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        seed: int,
        budget: float | None,
        screen: Screen,
        checkpoint_every: float = 30.0,
        on_checkpoint: Callable[[], None] = lambda: None,
    ):
        self.folder = folder
        self.seed = seed
        self.budget = budget
        self.screen = screen
        self.checkpoint_every = checkpoint_every
        self.on_checkpoint = on_checkpoint
        self.curves: list[dict[str, float]] = []
        self.budget_spent = False
        self._progress = Progress("train", quiet=screen.quiet)
        self._interrupted = False
        self._before = {"seconds": 0.0, "cpu_seconds": 0.0}
        self._start = {"seconds": time.monotonic(), "cpu_seconds": time.process_time()}
        self._last_checkpoint = time.monotonic()

    def spent(self) -> dict[str, float]:
        """Wall and CPU seconds of training so far, those before a resume included."""
        now = {"seconds": time.monotonic(), "cpu_seconds": time.process_time()}
        return {name: self._before[name] + now[name] - self._start[name] for name in now}

    def progress(self, done: float, total: float, **figures: float) -> None:
        """Show how far training is."""
        self._progress.update(done, total, **figures)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row to the curves; the time it was added at goes with it."""
        spent = {f"time/{name}": round(value, 3) for name, value in self.spent().items()}
        self.curves.append({"step": step, **{name: float(value) for name, value in values.items()}, **spent})

    def checkpoint(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Write curves and checkpoint."""
        from safetensors.numpy import save

        self.write_curves()
        warnings = self.folder.record["warnings"]
        state = {"meta": meta, "rows": len(self.curves), "spent": self.spent(), "warnings": warnings}
        text = json.dumps(state, default=_plain)
        content = save({name: _contiguous(array) for name, array in arrays.items()}, metadata={"run": text})
        write_bytes(self.folder.path / "checkpoint.safetensors", content)
        self._last_checkpoint = time.monotonic()
        self.on_checkpoint()

    def resume(self) -> Checkpoint | None:
        """The last checkpoint; rows of the curves and warnings that came after it are dropped."""
        path = self.folder.path / "checkpoint.safetensors"
        if not path.is_file():
            self.curves = []
            self.folder.update(warnings=[])
            return None
        arrays, state = _read_checkpoint(path)
        self.curves = read_curves(self.folder.path)[: state["rows"]]
        self.folder.update(warnings=state["warnings"])
        self._before = state["spent"]
        self._start = {"seconds": time.monotonic(), "cpu_seconds": time.process_time()}
        return Checkpoint(arrays, state["meta"])

    def checkpoint_due(self) -> bool:
        """Whether ``checkpoint_every`` seconds have passed since the last one."""
        return time.monotonic() - self._last_checkpoint >= self.checkpoint_every

    def out_of_time(self) -> bool:
        """Whether the budget is spent."""
        self.budget_spent = self.budget is not None and self.spent()["seconds"] > self.budget
        return self.budget_spent

    def budget_share(self) -> float:
        """Share of the budget that is spent; 0 without one."""
        return 0.0 if self.budget is None else self.spent()["seconds"] / self.budget

    def interrupted(self) -> bool:
        """Whether Ctrl-C or a termination signal arrived."""
        return self._interrupted

    def warn(self, message: str) -> None:
        """Show a message and keep it for evidence and report; the same message only once."""
        warnings = self.folder.record["warnings"]
        if message not in warnings:
            self.screen.warn(message)
            self.folder.update(warnings=[*warnings, message])

    def write_curves(self) -> None:
        """Write the logged rows to ``curves.parquet``."""
        import io

        import pyarrow
        from pyarrow import parquet

        names = dict.fromkeys(name for row in self.curves for name in row)
        table = pyarrow.table({name: [row.get(name) for row in self.curves] for name in names})
        buffer = io.BytesIO()
        parquet.write_table(table, buffer)
        write_bytes(self.folder.path / "curves.parquet", buffer.getvalue())

    @contextmanager
    def training(self) -> Iterator[None]:
        """While this lasts, the first Ctrl-C or termination signal asks for a stop; a second Ctrl-C aborts at once."""

        def ask(number: int, frame: Any) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.screen.say("stopping after a checkpoint (once more to abort at once)")

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._progress.close()


def read_curves(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's curves, without the values a row does not have; none if there is no file."""
    path = folder / "curves.parquet"
    if not path.is_file():
        return []
    import io

    from pyarrow import parquet

    rows = parquet.read_table(io.BytesIO(path.read_bytes())).to_pylist()  # read once: it may be replaced meanwhile
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _read_checkpoint(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return arrays, json.loads(file.metadata()["run"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(str(path), [f"not a readable checkpoint: {error}"]) from error


def _contiguous(array: Array) -> Array:
    import numpy as np

    return np.asarray(array, order="C")


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays as JSON values."""
    return value.tolist()

"""A run as a method sees it: budget, progress, curves, checkpoints."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from interlock.core.environment import Array


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a method needs to go on.

    Attributes:
        arrays: weights, optimiser moments, environment state, random generator states.
        meta: JSON-ready values: counters, best value so far.
    """

    arrays: Mapping[str, Array]
    meta: Mapping[str, Any]


class Run(Protocol):
    """What a method may use of the run it is part of."""

    seed: int

    def progress(self, done: float, total: float, **figures: float) -> None:
        """Tell how far training is, with a few figures to show (cheap; call it often)."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one row to the curves; names as ``train/loss``, ``eval/objective``, ``constraint/NAME/mean``."""
        ...

    def checkpoint(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Store a checkpoint atomically, replacing the last one."""
        ...

    def resume(self) -> Checkpoint | None:
        """The checkpoint to go on from, or ``None`` for a fresh start."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint for a new one."""
        ...

    def out_of_time(self) -> bool:
        """Whether the time budget is spent: finish with the best result so far."""
        ...

    def budget_share(self) -> float:
        """Share of the time budget that is spent, from 0 on; 0 without a budget. For schedules that end with it."""
        ...

    def interrupted(self) -> bool:
        """Whether the user asked to stop: write a checkpoint and raise ``Interrupted``."""
        ...

    def warn(self, message: str) -> None:
        """A message that also appears in the evidence and the report."""
        ...


@dataclass
class MemoryRun:
    """A run that keeps everything in memory: for notebooks and tests.

    Attributes:
        seed: of the run.
        seconds: time budget, ``None`` for no limit.
        stop_after: report an interruption after this many checkpoints (``None`` for never).
        curves: the logged rows.
        warnings: the messages.
    """

    seed: int = 0
    seconds: float | None = None
    stop_after: int | None = None
    last: Checkpoint | None = None
    curves: list[dict[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    checkpoints: int = 0
    started: float = field(default_factory=time.monotonic)

    def progress(self, done: float, total: float, **figures: float) -> None:
        """Shown nowhere."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append to ``curves``."""
        self.curves.append({"step": step, **values})

    def checkpoint(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Keep a copy."""
        self.last = Checkpoint({name: array.copy() for name, array in arrays.items()}, dict(meta))
        self.checkpoints += 1

    def resume(self) -> Checkpoint | None:
        """The last checkpoint."""
        return self.last

    def checkpoint_due(self) -> bool:
        """Always: memory is cheap, and tests want every step."""
        return True

    def out_of_time(self) -> bool:
        """Whether ``seconds`` have passed."""
        return self.seconds is not None and time.monotonic() - self.started > self.seconds

    def budget_share(self) -> float:
        """Share of ``seconds`` that has passed."""
        return 0.0 if self.seconds is None else (time.monotonic() - self.started) / self.seconds

    def interrupted(self) -> bool:
        """Whether ``stop_after`` checkpoints have been written."""
        return self.stop_after is not None and self.checkpoints >= self.stop_after

    def warn(self, message: str) -> None:
        """Append to ``warnings``."""
        self.warnings.append(message)

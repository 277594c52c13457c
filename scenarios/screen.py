"""Where messages, progress and results go: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PLAIN_EVERY = 30.0
"""Seconds between progress lines where stderr is not a terminal."""


class Screen:
    """The user's side of a command.

    Results go to what stdout is now, even while it is redirected.

    Args:
        as_json: results are one JSON object on stdout, and nothing else goes there.
        quiet: no progress and no messages but warnings.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False):
        self.as_json = as_json
        self.quiet = quiet
        self.out = sys.stdout

    def say(self, message: str) -> None:
        """A message, unless quiet."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """A message even when quiet."""
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def show(self, renderable: Any) -> None:
        """A table or text for people, on stdout; left out with JSON output."""
        if self.as_json:
            return
        if isinstance(renderable, str):
            print(renderable, file=self.out, flush=True)
        else:
            from rich.console import Console

            Console(highlight=False, file=self.out).print(renderable)

    def result(self, value: Any) -> None:
        """The object for machines, on stdout, if it was asked for."""
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False, allow_nan=False), file=self.out, flush=True)

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """Progress of one stage, shown until the block is left."""
        shown = Progress(title, quiet=self.quiet)
        try:
            yield shown
        finally:
            shown.close()


class Progress:
    """A bar with remaining time and figures on a terminal; a plain line now and then elsewhere; nothing when quiet.

    Args:
        title: of the stage.
        quiet: show nothing.
    """

    def __init__(self, title: str, *, quiet: bool):
        self.title = title
        self.quiet = quiet
        self._bar: Any = None
        self._next = time.monotonic() + (0.0 if sys.stderr.isatty() else PLAIN_EVERY)

    def update(self, done: float, total: float, **figures: float) -> None:
        """Show how far it is; calls between two refreshes cost next to nothing."""
        now = time.monotonic()
        if self.quiet or now < self._next:
            return
        text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if sys.stderr.isatty():
            self._next = now + 0.1
            self._draw(done, total, text)
        else:
            self._next = now + PLAIN_EVERY
            print(f"{self.title}: {100 * done / max(total, 1e-9):.0f} %  {text}".rstrip(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()

    def _draw(self, done: float, total: float, text: str) -> None:
        if self._bar is None:
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(bar_width=30),
                progress.TaskProgressColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[figures]}"),
                console=Console(stderr=True),
            )
            self._bar.add_task(self.title, total=total, figures="")
            self._bar.start()
        self._bar.update(0, completed=done, total=total, figures=text)

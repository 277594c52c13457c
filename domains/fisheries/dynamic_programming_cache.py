"""What dynamic programming found, in the user's cache: read again, and resumed after an interruption."""

import hashlib
import os
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interlock.core.data_home import data_home
from interlock.domains.fisheries.model import Array

if TYPE_CHECKING:
    from interlock.domains.fisheries.dynamic_programming_web import Web

VERSION = 2
"""Of the computation: raised when it changes what comes out."""
KEEP_EVERY = 10.0
"""Seconds of work that an interruption may cost."""
MOST_FILES = 12
"""Solutions in the cache; the oldest are deleted. With 200 years, each takes 100 MB."""

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(slots=True)
class Kept:
    """The place of one solution in the cache.

    Attributes:
        file: of the finished solution; an unfinished one lies beside it.
        saved: clock at which the unfinished one was saved last.
    """

    file: Path
    saved: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, web: "Web", costs: Array) -> "Kept":
        """The place for a grid and costs of a collapse."""
        fishery = web.fishery
        numbers = (
            fishery.table, fishery.harvested, fishery.prices, fishery.collapse, fishery.by_capacity, fishery.exogenous,
            np.array(web.order), *web.axes, costs,
        )  # fmt: skip
        found = hashlib.sha256(f"food web {VERSION}".encode())
        for values in numbers:
            array = np.ascontiguousarray(values)
            found.update(f" {array.shape} {array.dtype} ".encode() + array.tobytes())
        return cls(folder() / f"optimum_{found.hexdigest()[:24]}.npz")

    @property
    def unfinished(self) -> Path:
        """File of a solution that is being worked on."""
        return self.file.with_suffix(".part.npz")

    def read(self, shape: tuple[int, ...]) -> tuple[int, Array, Array] | None:
        """The earliest year that is done, the value in it, and what follows from it on; ``None`` if nothing is known.

        Args:
            shape: of what follows in all years, ``(T, c, a, b)``.
        """
        for file in (self.file, self.unfinished):
            found = read(file, ("year", "value", "follows"))
            if found is None or found["year"].shape:
                continue
            year, value, follows = int(found["year"]), found["value"], found["follows"]
            if follows.shape == (shape[0] - year, *shape[1:]) and value.shape == shape[1:]:
                return year, value, follows
        return None

    def save(self, year: int, value: Array, follows: Array) -> None:
        """Keep what is done down to ``year``: the whole in any case, parts of it now and then."""
        if year > 0 and time.monotonic() - self.saved < KEEP_EVERY:
            return
        self.saved = time.monotonic()
        done = write(
            self.unfinished if year else self.file, {"year": np.array(year), "value": value, "follows": follows}
        )
        if done and year == 0:
            self.unfinished.unlink(missing_ok=True)
            delete_oldest()


def remembered(what: str, names: tuple[str, ...], compute: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
    """Arrays of these names, computed the first time.

    Args:
        what: everything that they depend on, the version of this computation apart.
        names: of the arrays.
        compute: gives them.
    """
    file = folder() / f"found_{hashlib.sha256(f'{VERSION} {what}'.encode()).hexdigest()[:24]}.npz"
    found: Mapping[str, Array] | None = read(file, names)
    if found is None:
        found = compute()
        write(file, found)
    return found


def folder() -> Path:
    """Where all of it lies."""
    return data_home() / "fisheries"


def read(file: Path, names: tuple[str, ...]) -> dict[str, Array] | None:
    """Arrays of these names; ``None`` where the file is missing, damaged or lacks one."""
    try:
        with np.load(file) as arrays:
            return {name: arrays[name] for name in names}
    except _DAMAGED:
        return None


def write(file: Path, arrays: Mapping[str, Array]) -> bool:
    """Replace a file of arrays in one step; whether that worked. Otherwise there is a warning, and no harm but time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".optimum.", suffix=".tmp")
    except OSError as problem:
        warnings.warn(f"the optimum is not kept for the next time: {problem}", stacklevel=2)
        return False
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, file)
        return True
    except OSError as problem:
        warnings.warn(f"the optimum is not kept for the next time: {problem}", stacklevel=2)
        return False
    finally:
        Path(temporary).unlink(missing_ok=True)


def delete_oldest() -> None:
    """Keep the newest solutions, and no leftovers of writes that were interrupted more than an hour ago."""
    files = sorted(folder().glob("optimum_*.npz"), key=lambda file: file.stat().st_mtime)
    abandoned = [file for file in folder().glob(".optimum.*.tmp") if file.stat().st_mtime < time.time() - 3600.0]
    for file in (*files[:-MOST_FILES], *abandoned):
        file.unlink(missing_ok=True)

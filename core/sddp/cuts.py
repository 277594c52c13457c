"""Cuts: affine functions that no expected cost to go lies below, one table for all stages; their file and selection."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import BadInput
from interlock.core.multistage.stage import LinearStage, Multistage

CUT_FORMAT = 1
"""Version of the cut files; a file of another version is refused."""
CUT_FILE = "cuts.safetensors"
"""Name of the file of cuts, in a folder of its own or in a bundle."""


@dataclass(frozen=True)
class Cuts:
    """``cost to go after stage stage[k] >= intercepts[k] + slopes[k] @ state``, in the order they were made.

    Attributes:
        stage: int ``(C,)``, from 0: the stage whose outgoing state the cut is about.
        slopes: ``(C, s)``.
        intercepts: ``(C,)``.
        points: ``(C, s)``, the state each cut was made at.
    """

    stage: Array
    slopes: Array
    intercepts: Array
    points: Array

    @classmethod
    def none(cls, states: int) -> "Cuts":
        """No cuts of a problem with ``states`` state variables."""
        return cls(np.zeros(0, np.int64), np.zeros((0, states)), np.zeros(0), np.zeros((0, states)))

    def __len__(self) -> int:
        return len(self.stage)

    def of_stage(self, stage: int) -> "Cuts":
        """Those of one stage."""
        return self.take(np.flatnonzero(self.stage == stage))

    def take(self, positions: Array) -> "Cuts":
        """Some of them."""
        return Cuts(self.stage[positions], self.slopes[positions], self.intercepts[positions], self.points[positions])

    def heights(self, states: Array) -> Array:
        """Value of every cut at every state: ``(n, C)`` from ``(n, s)``."""
        height: Array = states @ self.slopes.T + self.intercepts
        return height

    def arrays(self) -> dict[str, Array]:
        """By name, for files and checkpoints."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def to_bytes(self) -> bytes:
        """The content of ``CUT_FILE``."""
        from safetensors.numpy import save

        content: bytes = save({name: np.ascontiguousarray(array) for name, array in self.arrays().items()})
        return content


def joined(parts: Iterable[Cuts]) -> Cuts:
    """One table of several, at least one."""
    tables = list(parts)
    return Cuts(*(np.concatenate([getattr(table, entry.name) for table in tables]) for entry in fields(Cuts)))


def undominated(cuts: Cuts) -> Array:
    """Positions of the cuts of one stage that are highest at a state some cut was made at (level-1 dominance).

    The newest cut is always among them. de Matos, Philpott, Finardi, "Improving the performance of stochastic dual
    dynamic programming", J. Comput. Appl. Math. 290 (2015).
    """
    if not len(cuts):
        return np.zeros(0, np.int64)
    heights = cuts.heights(cuts.points)
    best = heights.max(axis=1)
    newest_first = len(cuts) - 1 - np.argmax((heights >= best[:, np.newaxis])[:, ::-1], axis=1)
    return np.unique(np.append(newest_first, len(cuts) - 1))


def newest(cuts: Cuts, keep: int) -> Array:
    """Positions of the ``keep`` newest cuts of one stage."""
    return np.arange(max(0, len(cuts) - keep), len(cuts))


def problem_hash(problem: Multistage) -> str:
    """Identifies every number of a multistage problem: first 16 hexadecimal digits of a SHA-256."""
    digest = hashlib.sha256()
    known: dict[int, bytes] = {}
    for stage in problem.stages:
        if id(stage) not in known:
            known[id(stage)] = _stage_digest(stage)
        digest.update(known[id(stage)])
    for noise in problem.noises:
        _absorb(digest, noise.outcomes)
        _absorb(digest, noise.probabilities)
    _absorb(digest, problem.initial_state)
    digest.update(repr(float(problem.lower_bound)).encode())
    return digest.hexdigest()[:16]


def save_cuts(folder: Path, cuts: Cuts, problem: Multistage, description: dict[str, Any] | None = None) -> None:
    """Write ``cuts.safetensors`` and ``cuts.json`` into an existing folder."""
    (folder / CUT_FILE).write_bytes(cuts.to_bytes())
    about = {
        "format": CUT_FORMAT,
        "problem": problem_hash(problem),
        "stages": len(problem.stages),
        "states": len(problem.initial_state),
        **(description or {}),
    }
    (folder / "cuts.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_cuts(folder: Path, problem: Multistage) -> tuple[Cuts, dict[str, Any]]:
    """Read what ``save_cuts`` wrote: the cuts, and what ``cuts.json`` says of them.

    Raises:
        BadInput: a file is missing or damaged, of another format, or the cuts were made for another problem.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        about: dict[str, Any] = json.loads((folder / "cuts.json").read_text(encoding="utf-8"))
        cuts = Cuts(**load_file(folder / CUT_FILE))
        written, made_for = about["format"], about["problem"]
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise BadInput(str(folder), [f"not a readable folder of cuts: {error}"]) from error
    if written != CUT_FORMAT:
        raise BadInput(str(folder), [f"cuts of format {written!r}, this version reads {CUT_FORMAT}: make them again"])
    check_hash(str(folder), made_for, problem)
    return cuts, about


def check_hash(source: str, made_for: Any, problem: Multistage) -> None:
    """See that cuts belong to a problem.

    Raises:
        BadInput: they do not.
    """
    here = problem_hash(problem)
    if made_for != here:
        text = f"the cuts were made for problem {made_for}, this one is {here}: here they mean nothing"
        raise BadInput(source, [text])


def _stage_digest(stage: LinearStage) -> bytes:
    digest = hashlib.sha256()
    for part in (stage.program, stage):
        for entry in fields(part):
            value = getattr(part, entry.name)
            if isinstance(value, np.ndarray):
                _absorb(digest, value)
            elif entry.name != "program":
                digest.update(repr(value).encode())
    return digest.digest()


def _absorb(digest: Any, array: Array) -> None:
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())

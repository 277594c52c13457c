"""What a run ran on: versions, commit, machine, and what it cost in time and memory."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import interlock

EXTRAS = ("train", "export", "track", "notebooks", "ray", "hydro-ac", "conic", "cpsat", "dev")


def versions() -> dict[str, str]:
    """Versions of interlock, Python and the installed packages that can change a result."""
    found = {"interlock": interlock.__version__, "python": platform.python_version()}
    for name in sorted({_name(line) for line in requires("interlock") or [] if _for_results(line)}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def extras() -> dict[str, list[str]]:
    """Extra -> packages it needs that are not installed (empty: ready to use)."""
    missing: dict[str, list[str]] = {extra: [] for extra in EXTRAS}
    for requirement in requires("interlock") or []:
        name, _, marker = requirement.partition(";")
        for extra in EXTRAS:
            if f"extra == '{extra}'" in marker.replace('"', "'") and _name(name) != "interlock":
                try:
                    version(_name(name))
                except PackageNotFoundError:
                    missing[extra].append(_name(name))
    return missing


def machine() -> dict[str, Any]:
    """Cores this process may use, memory, system."""
    import psutil

    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }


def checkout() -> Path | None:
    """Root of the checkout that this package runs from; ``None`` for an installed wheel."""
    root = Path(interlock.__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "domains").is_dir() else None


def commit() -> dict[str, Any] | None:
    """Commit of the checkout and whether it has uncommitted changes; ``None`` outside a git checkout."""
    root = checkout()
    if root is None:
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, MiB."""
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _for_results(requirement: str) -> bool:
    """Whether a requirement is of the base install, or of training or export."""
    marker = requirement.partition(";")[2].replace('"', "'")
    return "extra" not in marker or any(f"extra == '{extra}'" in marker for extra in ("train", "export"))


def _name(requirement: str) -> str:
    for index, character in enumerate(requirement):
        if not (character.isalnum() or character in "-_."):
            return requirement[:index]
    return requirement

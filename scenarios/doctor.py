"""Is this installation in order? Versions, extras, machine, store, compiled-code cache, plug-ins."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import interlock
from interlock.scenarios import machine, plugins
from interlock.scenarios.store import RunStore


def examine(store: Path | None = None) -> dict[str, Any]:
    """Everything worth knowing about this installation.

    Args:
        store: folder of the runs; default as ``RunStore``.

    Returns:
        ``versions``, ``extras`` (extra -> packages that are missing), ``solvers`` (name -> what it works with, or why
        it is unavailable), ``machine``, ``store``, ``numba_cache``, and ``problems``: one sentence each, none if all
        is well.
    """
    runs = RunStore(store)
    listings = [entry for group in plugins.GROUPS for entry in plugins.available(group)]
    problems = [entry.reason for entry in listings if entry.info is None and not entry.optional]
    store_writable = _writable(runs.folder)
    if not store_writable:
        problems.append(f"the run store {runs.folder} cannot be written: choose another (--store or INTERLOCK_STORE)")
    cache = _numba_cache()
    if cache is None:
        problems.append("compiled code cannot be cached, so every command compiles it anew: set NUMBA_CACHE_DIR")
    about = machine.machine()
    if about["memory_gb"] < 2:
        problems.append(f"{about['memory_gb']} GiB of memory: training may need more")
    return {
        "versions": machine.versions(),
        "extras": machine.extras(),
        "solvers": {
            entry.name: {"available": entry.info is not None, "about": entry.works_with or entry.reason or entry.source}
            for entry in listings
            if entry.group == "solvers"
        },
        "machine": about,
        "store": {"folder": str(runs.folder), "writable": store_writable, "runs": len(runs.rows())},
        "numba_cache": cache,
        "problems": problems,
    }


def text(found: dict[str, Any]) -> str:
    """The findings for people."""
    versions, about, store = dict(found["versions"]), found["machine"], found["store"]
    lines = [
        f"interlock {versions.pop('interlock')}, Python {versions.pop('python')}, {about['system']}",
        f"{about['cores']} cores, {about['memory_gb']} GiB of memory",
        "packages: " + ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    for extra, missing in found["extras"].items():
        lines.append(f"extra {extra}: " + (f"missing {', '.join(missing)}" if missing else "ready"))
    for name, solver in found["solvers"].items():
        lines.append(f"solver {name}: " + ("" if solver["available"] else "unavailable: ") + solver["about"])
    lines.append(f"run store: {store['folder']} ({store['runs']} runs{'' if store['writable'] else ', NOT WRITABLE'})")
    lines.append(f"cache of compiled code: {found['numba_cache']}")
    lines += [f"PROBLEM: {problem}" for problem in found["problems"]] or ["no problems"]
    return "\n".join(lines)


def _numba_cache() -> str | None:
    """Where numba keeps compiled code: the folder it was told, else beside the source, else the user's cache."""
    told = os.environ.get("NUMBA_CACHE_DIR")
    beside, user = Path(interlock.__file__).parent, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [Path(told)] if told else [beside, user]
    return next((str(place) for place in places if _writable(place)), None)


def _writable(folder: Path) -> bool:
    """Whether a file can be made there, or in the nearest existing folder above."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return True
    except OSError:
        return False

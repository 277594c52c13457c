"""Policies by what a user calls them: a baseline, a run that trained one, or a folder that holds a saved one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.core.errors import BadInput, MissingExtra, UsageError
from interlock.core.problem import MethodInfo
from interlock.scenarios import plugins
from interlock.scenarios.store import RunFolder, RunStore

if TYPE_CHECKING:
    from interlock.core.policy import Policy
    from interlock.core.problem import Problem


ROLES = ("last", "teacher")
"""What a policy may be that stands beside the one that a run chose: of the last update, or what it learned from."""
LAST_FOLDER = "policy_last"


def chosen(learned: Iterable[str]) -> str | None:
    """The name of the policy that a run chose, among those that were learned."""
    return next((name for name in learned if not name.endswith(tuple(map(_told, ROLES)))), None)


def _told(role: str) -> str:
    """What follows the name of a policy in tables."""
    return f" ({role})"


def load_policy(folder: RunFolder, problem: Problem) -> Policy:
    """The policy that a run trained, for a problem of the same domain.

    Raises:
        UsageError: the run trained none, or one for another domain.
    """
    if not (folder.path / "policy").is_dir():
        raise UsageError(f"run {folder.id} has no trained policy")
    trained_in = folder.record["domain"]
    if trained_in != problem.scenario.domain:
        raise UsageError(f"run {folder.id} is of {trained_in}, its policy cannot act in {problem.scenario.domain}")
    return _load(plugins.load("methods", folder.record["method_plugin"]), folder.path / "policy", problem)


@contextmanager
def needing(method: MethodInfo, purpose: str) -> Iterator[None]:
    """Say which extra is missing instead of which module."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or ""
        extra = "export" if missing.startswith("onnx") else method.extra
        if not extra or missing.startswith("interlock"):
            raise
        raise MissingExtra(f"{purpose} with method {method.name} (module {missing})", extra) from error


def _load(method: MethodInfo, folder: Path, problem: Problem) -> Policy:
    with needing(method, "loading a policy"):
        policy: Policy = plugins.resolve(method.load)(folder, problem)
    return policy


def policies_of(folder: RunFolder, problem: Problem) -> dict[str, Policy]:
    """The policies under test in a run, by the name they have in tables: what it trained, or what it was given.

    Where a run kept an earlier policy than that of its last update, the last one stands beside it; where it learned
    from another policy, that teacher does. The description of the policy beside it says which, and its method.
    """
    if (folder.path / "policy").is_dir():
        name = _table_name(folder, problem)
        found: dict[str, Policy] = {name: load_policy(folder, problem)}
        if (folder.path / LAST_FOLDER).is_dir():
            described = json.loads((folder.path / LAST_FOLDER / "policy.json").read_text(encoding="utf-8"))
            method = plugins.load("methods", described.get("method", folder.record["method_plugin"]))
            role = described.get("role", ROLES[0])
            found[name + _told(role)] = _load(method, folder.path / LAST_FOLDER, problem)
        return found
    found = {}
    for reference in folder.record["policies"]:
        name, policy = named_policy(reference, problem, RunStore(folder.path.parent))
        found[name if name not in found else f"{name} ({reference})"] = policy
    return found


def named_policy(reference: str, problem: Problem, store: RunStore) -> tuple[str, Policy]:
    """A policy by what a user calls it.

    Args:
        reference: a baseline of the problem, a run, or a folder that holds a saved policy.
        problem: what it shall act in.
        store: where runs are looked up.

    Returns:
        ``(name in tables, policy)``.

    Raises:
        UsageError: nothing is called so.
    """
    baselines = problem.baselines()
    name = plugins.known_as(reference, baselines)
    if name in baselines:
        return name, baselines[name](0)  # whoever plays it seeds it
    path = Path(reference)
    if (path / "policy.json").is_file() and not (path / "run.json").is_file():
        return _policy_folder(path, problem)
    try:
        run = store.open(reference)
    except UsageError as error:
        near = plugins.did_you_mean(reference, baselines)
        names = ", ".join(baselines)
        raise UsageError(f"there is no policy {reference!r}{near}; baselines: {names}; otherwise name a run") from error
    return _table_name(run, problem), load_policy(run, problem)


def fallback_assets(reference: str, problem: Problem, store: RunStore) -> Mapping[str, bytes]:
    """Files by which a bundle's fallback rules can decide like a policy; arguments as ``named_policy``.

    Raises:
        UsageError: nothing is called so, or no fallback rule can decide by that policy.
        BadInput: the policy was made for another problem.
    """
    from interlock.core.policy import FallbackPolicy

    name, policy = named_policy(reference, problem, store)
    if isinstance(policy, FallbackPolicy):
        return policy.bundle_assets()
    raise UsageError(
        f"--fallback {reference}: no fallback rule can decide by policy {name}: it has no `bundle_assets` "
        "(a policy of method sddp has)"
    )


def _table_name(run: RunFolder, problem: Problem) -> str:
    """The preset that trained a policy; told apart from a baseline of the same name."""
    name: str = run.record["method"] or run.id
    return name if name not in problem.baselines() else f"{name} (trained)"


def _policy_folder(path: Path, problem: Problem) -> tuple[str, Policy]:
    file = path / "policy.json"
    try:
        method = json.loads(file.read_text(encoding="utf-8")).get("method")
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(str(file), [f"cannot be read: {error}"]) from error
    if method is None:
        raise UsageError(f"{file} does not say which method made the policy; name the run instead")
    return method, _load(plugins.load("methods", method), path, problem)

"""Domains, methods and solvers as entry points: listed by name without an import, loaded one by one.

A plug-in that cannot be loaded is reported as unavailable with its reason; nothing else notices.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, Literal

from interlock.core.errors import InterlockError, UsageError
from interlock.core.problem import DomainInfo, MethodInfo

Group = Literal["domains", "methods", "solvers"]
GROUPS: tuple[Group, ...] = ("domains", "methods", "solvers")
_EXPECTED: dict[Group, type | None] = {"domains": DomainInfo, "methods": MethodInfo, "solvers": None}


class Unavailable(InterlockError):
    """A plug-in is installed and cannot be loaded."""


class NotInstalled(Unavailable):
    """A plug-in is in order, but the optional package that it works with is not installed."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One plug-in as `interlock plugins` shows it.

    Attributes:
        group: kind of plug-in.
        name: as used on the command line.
        source: distribution and version that brought it.
        info: what the entry point holds; ``None`` if it is unavailable.
        reason: why it is unavailable, or a remark (such as a second plug-in of the same name); ``""`` if all is well.
        works_with: distribution and version that a solver wraps; ``""`` if it says nothing about that.
        optional: unavailable only because an optional package is not installed.
    """

    group: Group
    name: str
    source: str
    info: Any | None
    reason: str = ""
    works_with: str = ""
    optional: bool = False


def names(group: Group) -> list[str]:
    """Names of all plug-ins of a group, ours first, without importing any."""
    return list(_chosen(group))


def load(group: Group, name: str) -> Any:
    """What the entry point of a plug-in holds: a ``DomainInfo``, a ``MethodInfo`` or a solver class.

    Raises:
        UsageError: no plug-in has this name.
        Unavailable: there is one, which cannot be loaded.
        NotInstalled: a package that it works with is missing.
    """
    chosen = _chosen(group)
    key = known_as(name, chosen)
    if key not in chosen:
        raise UsageError(
            f"there is no {group[:-1]} {name!r}{did_you_mean(key, chosen)}; there are: {', '.join(chosen)}"
        )
    entry = chosen[key][0]
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        raise Unavailable(f"{group[:-1]} {key} ({_source(entry)}) cannot be loaded: {_in_words(error)}") from error
    _check(group, key, entry, found)
    return found


def available(group: Group) -> list[Listing]:
    """Every plug-in of a group, loaded where that is possible."""
    listings = []
    for name, entries in _chosen(group).items():
        first, *others = entries
        remark = f"also offered by {', '.join(_source(other) for other in others)}: not used" if others else ""
        try:
            found = load(group, name)
            listings.append(Listing(group, name, _source(first), found, remark, _works_with(found)))
        except Unavailable as error:
            optional = isinstance(error, NotInstalled)
            listings.append(Listing(group, name, _source(first), None, str(error), optional=optional))
    return listings


def resolve(reference: str) -> Any:
    """The object behind ``"module:attribute"``.

    Raises:
        Unavailable: the module cannot be imported or has no such attribute.
    """
    module, _, attribute = reference.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise Unavailable(f"{reference} cannot be loaded: {_in_words(error)}") from error
    except AttributeError as error:
        raise Unavailable(f"{reference} cannot be loaded: {_in_words(error)}") from error


def known_as(name: str, known: Iterable[str]) -> str:
    """The known name that a user means: dashes and underscores are alike, and may be left out where that is clear.

    A name that is not known comes back with underscores: ``cut-2`` means ``cut2`` where there is one.
    """
    names, key = list(known), name.replace("-", "_")
    alike = [other for other in names if other.replace("_", "") == key.replace("_", "")]
    return alike[0] if key not in names and len(alike) == 1 else key


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``", did you mean 'cut2'?"``, or nothing if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


@cache
def _chosen(group: Group) -> dict[str, list[EntryPoint]]:
    """Name -> its entry points, the one that is used first: ours, then by distribution name."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=f"interlock.{group}"), key=lambda entry: (not _ours(entry), _source(entry))):
        same = found.setdefault(entry.name, [])
        if entry not in same:
            same.append(entry)
    return found


def _ours(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "interlock"


def _source(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown distribution"


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _check(group: Group, name: str, entry: EntryPoint, found: Any) -> None:
    expected = _EXPECTED[group]
    where = f"{group[:-1]} {name} ({_source(entry)})"
    if expected is not None and not isinstance(found, expected):
        raise Unavailable(f"{where}: {entry.value} is a {type(found).__name__}, expected a {expected.__name__}")
    if expected is not None and found.name != name:
        raise Unavailable(f"{where}: its entry point is called {name!r}, the {group[:-1]} itself {found.name!r}")
    if expected is None:
        for method in ("solve", "open"):
            if not callable(getattr(found, method, None)):
                raise Unavailable(f"{where}: {entry.value} has no method `{method}`")
        try:
            _works_with(found)
        except PackageNotFoundError as error:
            extra, package = getattr(found, "extra", ""), found.package
            hint = f"'{entry.dist.name}[{extra}]'" if extra and entry.dist is not None else package
            raise NotInstalled(f"{where} needs {package}, which is not installed: pip install {hint}") from error


def _works_with(found: Any) -> str:
    """Distribution and version that a solver class wraps."""
    package = getattr(found, "package", "")
    return f"{package} {version(package)}" if package else ""

"""Recorded results: a command writes its figure into the domain's ``results.json``; nobody types one by hand.

What is worth recording stands in ``domains/<name>/acceptance.yaml``: one entry per row with the requirement in words,
the figure (a path into the evidence, such as ``policies.linear12.objective``; ``learned`` stands for the policy under
test) and, where there is one, the value it must reach. Both files exist in a checkout only.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock import __version__
from interlock.core.errors import UsageError
from interlock.core.scenario import Settings
from interlock.scenarios.files import write_json
from interlock.scenarios.machine import checkout
from interlock.scenarios.plugins import did_you_mean
from interlock.scenarios.policies import chosen

if TYPE_CHECKING:
    from interlock.core.evaluation.record import Evidence


class Row(Settings):
    """One requirement that has a figure.

    Attributes:
        requirement: in words.
        figure: path into the evidence; empty if a benchmark records it.
        scenario: that it has to be measured on; empty for any.
        method: preset that has to be trained with; empty for any, or none.
        cpu_seconds_at_most: of training.
        at_least: smallest value that meets it.
        low_above: the lower end of the interval has to be above this.
        at_most: largest value that meets it.
        about: value that it has to equal within ``within``.
        within: see there.
        digits: after the point, in tables.
    """

    requirement: str
    figure: str = ""
    scenario: str = ""
    method: str = ""
    cpu_seconds_at_most: float | None = None
    at_least: float | None = None
    low_above: float | None = None
    at_most: float | None = None
    about: float | None = None
    within: float = 0.0
    digits: int = 1

    def met(self, value: float, cpu_seconds: float | None = None, low: float | None = None) -> bool | None:
        """Whether a value, with the CPU seconds of its training and the lower end of its interval, meets it.

        A row about that end is not met by a figure without an interval. ``None`` if nothing is demanded, or if the CPU
        seconds are limited but not known and nothing else is missed.
        """
        demands = [
            None if self.at_least is None else value >= self.at_least,
            None if self.low_above is None else low is not None and low > self.low_above,
            None if self.at_most is None else value <= self.at_most,
            None if self.about is None else abs(value - self.about) <= self.within,
        ]
        made = [demand for demand in demands if demand is not None]
        if self.cpu_seconds_at_most is not None and cpu_seconds is not None:
            made.append(cpu_seconds <= self.cpu_seconds_at_most)
        elif self.cpu_seconds_at_most is not None and all(made):
            return None
        return all(made) if made else None


class Acceptance(Settings):
    """Content of ``acceptance.yaml``.

    Attributes:
        headline: row that stands for the domain in the main README.
        rows: in the order of the table.
    """

    headline: str
    rows: dict[str, Row]


@dataclass(frozen=True, slots=True)
class Place:
    """A row and the domain folder that it belongs to."""

    folder: Path
    name: str
    row: Row


def find_row(domain: str, name: str) -> Place:
    """A row of a domain.

    Raises:
        UsageError: there is no checkout, no ``acceptance.yaml`` or no such row in it.
    """
    root = checkout()
    place = "core" if domain == "core" else f"domains/{domain}"
    folder = None if root is None else root / place
    if folder is None or not (folder / "acceptance.yaml").is_file():
        raise UsageError(f"results are recorded in a checkout only, in {place} with an acceptance.yaml")
    rows = read_acceptance(folder).rows
    if name not in rows:
        raise UsageError(f"{domain} has no row {name!r}{did_you_mean(name, rows)}; there are: {', '.join(rows)}")
    return Place(folder, name, rows[name])


def read_acceptance(folder: Path) -> Acceptance:
    """The rows of a domain.

    Raises:
        BadInput: listing every wrong entry.
    """
    import yaml

    from interlock.scenarios.checking import validate

    file = folder / "acceptance.yaml"
    return validate(Acceptance, yaml.safe_load(file.read_text(encoding="utf-8")), source=str(file))


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Row -> what was recorded last."""
    file = folder / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return results


def record_row(
    domain: str,
    row: str,
    *,
    value: float,
    unit: str,
    command: str,
    low: float | None = None,
    high: float | None = None,
    seeds: Sequence[int] = (),
    budget: str = "",
    cpu_seconds: float | None = None,
) -> str:
    """Write a figure into ``results.json``, replacing that row; gives a sentence about it.

    Args:
        domain: whose row.
        row: its name in ``acceptance.yaml``.
        value: the figure.
        unit: of it.
        command: that makes it again.
        low: end of its 95 % interval.
        high: end of its 95 % interval.
        seeds: it was made with.
        budget: it was made within, in words.
        cpu_seconds: of training; ``None`` if nothing was trained.

    Raises:
        UsageError: as ``find_row``.
    """
    place = find_row(domain, row)
    entry = {
        "row": row,
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "seeds": list(seeds),
        "budget": budget,
        "cpu_seconds": cpu_seconds,
        "command": command,
        "version": __version__,
        "date": date.today().isoformat(),
    }
    with _only_writer(place.folder):
        write_json(place.folder / "results.json", {**read_results(place.folder), row: entry})
    met = place.row.met(value, cpu_seconds, low)
    verdict = "" if met is None else (", requirement met" if met else f", REQUIREMENT NOT MET: {place.row.requirement}")
    return f"recorded {row} = {value:.6g} {unit}{verdict}"


def record_evidence(place: Place, evidence: Evidence, run: Mapping[str, Any]) -> str:
    """Write the row's figure from the evidence of a run; gives a sentence about it.

    Raises:
        UsageError: the evidence does not hold this figure, or the row is about another scenario or method.
    """
    of_training = run.get("trained_by") or run
    for what, found in (("scenario", run["scenario"]), ("method", of_training["method"])):
        wanted = getattr(place.row, what)
        if wanted and found != wanted:
            raise UsageError(f"row {place.name} is about {what} {wanted}, this run is of {found or f'no {what}'}")
    learned = chosen(name for name, policy in evidence.policies.items() if policy.learned)
    figure = _figure(place, evidence.to_json(), learned=learned, unit=evidence.objective.unit)
    trained = of_training["train"] if "train" in of_training else run["stages"].get("train")
    budget = "no training"
    if trained is not None:
        budget = f"{of_training['budget']:g} s" if of_training["budget"] else f"{trained['cpu_seconds']:.0f} CPU s"
    return record_row(
        run["domain"],
        place.name,
        **figure,
        command=run["command"],
        seeds=[of_training["seed"]] if trained else [],
        budget=budget,
        cpu_seconds=trained["cpu_seconds"] if trained else None,
    )


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Wait until no other process records into this folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def record_findings(place: Place, values: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """Write the row's figure from what a study found; gives a sentence about it.

    Args:
        place: the row.
        values: of the ``Findings``.
        run: ``domain``, ``scenario``, ``seed`` and ``command``.

    Raises:
        UsageError: the study did not find this figure, or the row is about another scenario.
    """
    if place.row.scenario and run["scenario"] != place.row.scenario:
        raise UsageError(f"row {place.name} is about scenario {place.row.scenario}, this is {run['scenario']}")
    figure = _figure(place, values, learned=None, unit="")
    return record_row(run["domain"], place.name, **figure, command=run["command"], seeds=[run["seed"]])


def _figure(place: Place, found: Any, *, learned: str | None, unit: str) -> dict[str, Any]:
    """Value, interval and unit at the row's path in what was found."""
    parts = place.row.figure.split(".")
    for part in parts:
        key = learned if part == "learned" and learned is not None else part
        if not isinstance(found, Mapping) or found.get(key) is None:
            known = f"; there are: {', '.join(found)}" if isinstance(found, Mapping) else ""
            raise UsageError(f"row {place.name} wants {place.row.figure!r}, but there is no {part!r}{known}")
        found = found[key]
    if isinstance(found, Mapping):
        value = found["mean"] if "mean" in found else found["value"]
        return {"value": value, "low": found["low"], "high": found["high"], "unit": found.get("unit", unit)}
    return {"value": float(found), "unit": "ms" if parts[-1].endswith("_ms") else unit}

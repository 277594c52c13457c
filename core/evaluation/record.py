"""What evidence consists of, and how it is written down and read back."""

import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from interlock.core.environment import Array, Split
from interlock.core.errors import BadInput
from interlock.core.evaluation.protocol import Outcomes
from interlock.core.evaluation.statistics import Estimate
from interlock.core.problem import BoundKind, ConstraintKind, Objective

FORMAT = 2
"""Version of the stored form."""

_OUTCOME_ARRAYS = ("objective", "costs", "violated", "steps", "seconds")


@dataclass(frozen=True, slots=True)
class ObjectiveEvidence:
    """The objective over the instances, in its unit; ``low`` and ``high`` end 95 % bootstrap intervals.

    Attributes:
        mean: over instances.
        low: of the mean.
        high: of the mean.
        iqm: mean of the middle half.
        iqm_low: of the interquartile mean.
        iqm_high: of the interquartile mean.
        median: over instances.
        worst_decile: mean of the worst tenth.
        quantile_5: value that 95 % of the instances are better than.
    """

    mean: float
    low: float
    high: float
    iqm: float
    iqm_low: float
    iqm_high: float
    median: float
    worst_decile: float
    quantile_5: float


@dataclass(frozen=True, slots=True)
class ConstraintEvidence:
    """One constraint under one policy.

    Attributes:
        mean: what the limit is compared with: see ``Constraint.kind`` (a rate for ``chance``, the mean of the worst
            share for ``cvar``).
        low: end of the 95 % interval (Clopper-Pearson for ``chance``, bootstrap otherwise).
        high: end of the 95 % interval.
        limit: largest allowed value.
        unit: of the three values above and of ``worst``.
        kind: of the constraint.
        satisfied: ``high`` exceeds the limit by at most 2 % of its size; for ``hard``: no instance is above it.
        worst: largest value of a single instance.
        share_within: share of instances that are within the limit by themselves.
        excess_mean: how far instances are above the limit, as a share of it (those within it count as zero); ``None``
            where the limit of an instance is zero, and in evidence saved without it.
        excess_95: its 95th percentile over instances.
    """

    mean: float
    low: float
    high: float
    limit: float
    unit: str
    kind: ConstraintKind
    satisfied: bool
    worst: float
    share_within: float
    excess_mean: float | None = None
    excess_95: float | None = None


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """The mean of a metric over instances, with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class PolicyEvidence:
    """Everything measured of one policy.

    Attributes:
        learned: whether it is a policy under test rather than a baseline of the problem.
        rank: 1 for the best; feasible policies come first.
        feasible: every constraint is satisfied.
        objective: see there.
        constraints: by name.
        metrics: by name.
        decision_ms: mean wall-clock milliseconds per decision in the batch.
        single_ms: median wall-clock milliseconds of a decision for one request alone.
        score: 0 = reference heuristic, 1 = reference bound; ``None`` without one of the two.
        gap: distance to the reference bound in the unit of the objective, positive = room left.
        vs_reference: objective minus that of the reference heuristic on the same instances.
        vs_best: objective minus that of the best baseline on the same instances.
    """

    learned: bool
    rank: int
    feasible: bool
    objective: ObjectiveEvidence
    constraints: dict[str, ConstraintEvidence]
    metrics: dict[str, MetricEvidence]
    decision_ms: float
    single_ms: float
    score: Estimate | None = None
    gap: Estimate | None = None
    vs_reference: Estimate | None = None
    vs_best: Estimate | None = None


@dataclass(frozen=True, slots=True)
class BoundEvidence:
    """A value nobody can beat, averaged over the instances (``low`` = ``high`` if it is one number for all)."""

    value: float
    kind: BoundKind
    low: float
    high: float
    describe: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The comparison of policies on the same held-out instances.

    Attributes:
        domain: of the scenario.
        scenario: its name.
        scenario_hash: identifies its numbers.
        split: which instances.
        seed: of the instances.
        instances: how many.
        objective: what is compared.
        policies: by name, best first.
        bounds: by name.
        reference_heuristic: baseline at score 0, if it was played.
        reference_bound: bound at score 1, if there is one.
        best_baseline: the first-ranked baseline, if one was played.
        warnings: what a reader has to know, one sentence each, gravest first.
        outcomes: policy name -> results per instance.
        bound_values: bound name -> ``(instances,)``, or shape ``()``.
    """

    domain: str
    scenario: str
    scenario_hash: str
    split: Split
    seed: int
    instances: int
    objective: Objective
    policies: dict[str, PolicyEvidence]
    bounds: dict[str, BoundEvidence]
    reference_heuristic: str | None
    reference_bound: str | None
    best_baseline: str | None
    warnings: tuple[str, ...]
    outcomes: Mapping[str, Outcomes]
    bound_values: Mapping[str, Array]

    def to_json(self) -> dict[str, Any]:
        """The two objects ``policies`` and ``bounds`` that ``--json`` prints, best policy first."""
        return {
            "policies": {name: asdict(policy) for name, policy in self.policies.items()},
            "bounds": {name: asdict(bound) for name, bound in self.bounds.items()},
        }

    def to_csv_rows(self) -> list[dict[str, Any]]:
        """One flat row per policy and per bound; all rows have the same keys, such as ``objective.mean``."""
        rows = []
        for group, entries in self.to_json().items():
            for name, entry in entries.items():
                rows.append({"name": name, "is_bound": group == "bounds", **_flat(entry)})
        keys = list(dict.fromkeys(key for row in rows for key in row))
        return [{key: row.get(key, "") for key in keys} for row in rows]

    def save(self, folder: Path) -> None:
        """Write ``evidence.json`` (the figures) and ``evidence.npz`` (the values per instance) into a folder."""
        figures = {name: getattr(self, name) for name in self.__slots__ if name not in ("outcomes", "bound_values")}
        text = TypeAdapter(dict[str, Any]).dump_json({"format": FORMAT, **figures}, indent=1)
        arrays = {f"bound/{name}": values for name, values in self.bound_values.items()}
        for name, outcome in self.outcomes.items():
            arrays |= {f"outcome/{name}/{part}": getattr(outcome, part) for part in _OUTCOME_ARRAYS}
            arrays |= {f"metric/{name}/{metric}": values for metric, values in outcome.metrics.items()}
        packed = io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **arrays)
        _replace(folder / "evidence.npz", packed.getvalue())
        _replace(folder / "evidence.json", text)

    @classmethod
    def load(cls, folder: Path) -> "Evidence":
        """Read what ``save`` wrote; equal to what was saved.

        Raises:
            BadInput: files are missing, damaged or of another version.
        """
        path = folder / "evidence.json"
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
            if figures.pop("format", None) != FORMAT:
                raise BadInput(str(path), [f"this version reads evidence of format {FORMAT} only: evaluate again"])
            with np.load(folder / "evidence.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            figures["policies"] = TypeAdapter(dict[str, PolicyEvidence]).validate_python(figures["policies"])
            figures["bounds"] = TypeAdapter(dict[str, BoundEvidence]).validate_python(figures["bounds"])
            figures["objective"] = Objective(**figures["objective"])
            figures["warnings"] = tuple(figures["warnings"])
            outcomes = {name: _outcomes(arrays, name) for name in figures["policies"]}
            values = {name: arrays[f"bound/{name}"] for name in figures["bounds"]}
            return cls(**figures, outcomes=outcomes, bound_values=values)
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise BadInput(str(path), [f"cannot be read as evidence: {error}"]) from error


def describe_difference(
    name: str, difference: Estimate, other: str, unit: str, sense: Literal["maximise", "minimise"]
) -> str:
    """A paired difference as a sentence that does not flatter.

    Args:
        name: policy.
        difference: its objective minus that of ``other``.
        other: what it is compared with.
        unit: of the objective; differences of percentages are called points.
        sense: which direction is good.
    """
    word = "points" if unit == "%" else unit
    size = max(abs(difference.low), abs(difference.high))
    low, high = rounded(difference.low, size, signed=True), rounded(difference.high, size, signed=True)
    interval = f"(95 % interval {low} to {high})"
    if difference.low <= 0.0 <= difference.high:
        return (
            f"{name}: no clear difference from {other}, {rounded(difference.mean, size, signed=True)} {word} {interval}"
        )
    side = "above" if difference.mean > 0 else "below"
    verdict = "better" if (difference.mean > 0) == (sense == "maximise") else "worse"
    return f"{name}: {rounded(abs(difference.mean), size)} {word} {side} {other}, {verdict} {interval}"


def rounded(value: float, like: float, *, signed: bool = False) -> str:
    """A figure with as many decimals as show three digits of ``like``, and at most six."""
    exponent = math.floor(math.log10(abs(like))) if like else 0
    decimals = min(6, max(0, 2 - exponent))
    text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
    return text.replace("-", "\u2212")


def _outcomes(arrays: Mapping[str, Array], name: str) -> Outcomes:
    prefix = f"metric/{name}/"
    metrics = {key[len(prefix) :]: values for key, values in arrays.items() if key.startswith(prefix)}
    objective, costs, violated, steps, seconds = (arrays[f"outcome/{name}/{part}"] for part in _OUTCOME_ARRAYS)
    return Outcomes(objective, costs, violated, steps, seconds, metrics)


def _flat(entry: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return flat


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)

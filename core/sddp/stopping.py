"""When to stop: small rules that look at what the iterations came to so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """What an iteration came to.

    Attributes:
        iteration: from 1.
        bound: best lower bound so far.
        seconds: since the start, those before a resume included.
        mean: mean cost of a simulation, where this iteration was followed by one.
        half_width: of its 95 % interval.
    """

    iteration: int
    bound: float
    seconds: float
    mean: float | None = None
    half_width: float | None = None


class StoppingRule(Protocol):
    """Says why to stop, or nothing."""

    def reason(self, history: Sequence[Progress]) -> str:
        """In words; empty to go on. ``history`` has at least one entry."""
        ...


@dataclass(frozen=True, slots=True)
class IterationLimit:
    """Stop after so many iterations."""

    iterations: int

    def reason(self, history: Sequence[Progress]) -> str:
        """In words; empty to go on."""
        return f"{self.iterations} iterations" if history[-1].iteration >= self.iterations else ""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Stop after so many seconds."""

    seconds: float

    def reason(self, history: Sequence[Progress]) -> str:
        """In words; empty to go on."""
        return f"{self.seconds:g} seconds" if history[-1].seconds >= self.seconds else ""


@dataclass(frozen=True, slots=True)
class BoundStalling:
    """Stop when the bound has risen by less than ``tolerance`` (relative) over the last ``iterations``."""

    iterations: int
    tolerance: float

    def reason(self, history: Sequence[Progress]) -> str:
        """In words; empty to go on."""
        if len(history) <= self.iterations:
            return ""
        before, now = history[-1 - self.iterations].bound, history[-1].bound
        stalled = now - before <= self.tolerance * max(1.0, abs(now))
        return f"the bound rose by less than {self.tolerance:g} in {self.iterations} iterations" if stalled else ""


@dataclass(frozen=True, slots=True)
class Statistical:
    """Stop when the bound lies within the 95 % interval of the last simulation (checked where there was one).

    Weak evidence: the fewer paths, the wider the interval and the earlier it stops. A bound above the interval, which a
    sample of cheap paths or a wrong bound can bring about, stops nothing.
    """

    def reason(self, history: Sequence[Progress]) -> str:
        """In words; empty to go on."""
        last = history[-1]
        if last.mean is None or last.half_width is None or abs(last.bound - last.mean) > last.half_width:
            return ""
        return f"the bound is within the interval {last.mean:.6g} +- {last.half_width:.2g} of the simulated cost"


def first_reason(rules: Sequence[StoppingRule], history: Sequence[Progress]) -> str:
    """The first reason to stop that any rule gives; empty to go on."""
    return next((reason for rule in rules if (reason := rule.reason(history))), "")

"""What an exact check found, and how a list of checks is run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes:
        method: what is checked.
        computed: what was computed in two ways, in words.
        deviation: by how much the two differ, in the worst case.
        limit: largest deviation that passes; smallest one if ``at_least``.
        at_least: the deviation has to be there: the check shows what a method is needed for.
    """

    method: str
    computed: str
    deviation: float
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the deviation is on the right side of the limit."""
        if not math.isfinite(self.deviation):
            return False
        return self.deviation >= self.limit if self.at_least else self.deviation <= self.limit

    def described(self) -> dict[str, Any]:
        """JSON-ready; a deviation that is no number is null."""
        finite = self.deviation if math.isfinite(self.deviation) else None
        return {**asdict(self), "deviation": finite, "passed": self.passed}


def run_checks(checks: Sequence[Callable[[], Check]], report: Callable[[int], None] | None = None) -> list[Check]:
    """Run checks one after the other; one that breaks counts as failed, with the reason.

    Args:
        checks: which.
        report: called with the number of checks done.
    """
    found = []
    for check in checks:
        try:
            found.append(check())
        except Exception as error:
            found.append(Check(check.__name__, f"{type(error).__name__}: {error}", math.nan, 0.0))
        if report is not None:
            report(len(found))
    return found

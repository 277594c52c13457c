"""What happens in a shift of the robot cell, and the figures that are told of it."""

import math
from dataclasses import dataclass, field

import numpy as np

FIGURES = {
    "boxes_per_hour": ("boxes/h", 1),
    "infeed_stop": ("min/h", 2),
    "robot_busy": ("%", 1),
    "bins_closed": ("bins", 1),
    "utilisation_at_close": ("%", 2),
    "decision": ("ms", 2),
}
"""What is told of a shift: unit and digits. ``utilisation_at_close`` is the mean over the bins that were taken away."""


@dataclass(slots=True)
class Shift:
    """What happened in a shift; times in seconds from its start.

    Attributes:
        arrivals: when each box reached the conveyor.
        cycles: begin and end of each robot cycle.
        stops: begin and end of each stop of the infeed.
        changes: begin and end of each change of a bin.
        closed: utilisation of each bin taken away, %.
        decisions: time of each decision, s.
        queued: begin of the decision about each box set down.
    """

    arrivals: list[float] = field(default_factory=list)
    cycles: list[tuple[float, float]] = field(default_factory=list)
    stops: list[tuple[float, float]] = field(default_factory=list)
    changes: list[tuple[float, float]] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)
    decisions: list[float] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)

    def figures(self, hours: float) -> dict[str, float]:
        """The values of ``FIGURES``."""
        stopped = sum(end - begin for begin, end in self.stops)
        busy = sum(end - begin for begin, end in self.cycles)
        return {
            "boxes_per_hour": len(self.cycles) / hours,
            "infeed_stop": stopped / 60 / hours,
            "robot_busy": 100 * busy / (3600 * hours),
            "bins_closed": float(len(self.closed)),
            "utilisation_at_close": float(np.mean(self.closed)) if self.closed else math.nan,
            "decision": 1000 * float(np.mean(self.decisions)) if self.decisions else 0.0,
        }

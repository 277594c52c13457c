"""What costs say about a policy: how far above the limit, on how many instances, whether feasible, and its rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from interlock.core.environment import Array
from interlock.core.evaluation.statistics import Estimate

SLACK = 0.02
"""Share of a limit by which the upper 95 % limit of a mean cost may exceed it in a feasible policy."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Excess:
    """Cost above the limit as a share of the limit, over instances; an instance within the limit counts as zero."""

    mean: float
    quantile_95: float


def relative_excess(values: Array, limit: float, *, floor: float = 0.0) -> Excess:
    """How far the instances are above a limit.

    Args:
        values: ``(n,)`` cost per instance, in the unit of the limit.
        limit: largest allowed value; may be negative (a requirement entered as a negated cost).
        floor: smallest value to divide by.

    Raises:
        ValueError: the limit and the floor are both zero.
    """
    scale = max(abs(limit), floor)
    if scale == 0.0:
        raise ValueError("nothing is relative to a limit of zero: give a floor, in the unit of the limit")
    excess = np.maximum(values - limit, 0.0) / scale
    return Excess(float(excess.mean()), float(np.quantile(excess, 0.95)))


def share_satisfied(values: Array, limit: float) -> float:
    """Share of the instances ``(n,)`` that are within the limit by themselves."""
    return float(np.mean(values <= limit + _ROUNDING))


def within(cost: Estimate, limit: float, slack: float = SLACK) -> bool:
    """Whether the upper 95 % limit of a mean cost is at most the limit, plus ``slack`` of its size.

    The slack widens negative limits too: -10 allows -9.8, where multiplying by 1.02 would ask for -10.2.
    """
    return cost.high <= limit + slack * abs(limit) + _ROUNDING


def ranks(objective: Array, feasible: Sequence[bool] | Array, sense: Literal["maximise", "minimise"]) -> Array:
    """Ranks from 1: every feasible policy before every infeasible one, then by objective; ties keep their order.

    Args:
        objective: ``(k,)`` mean objective per policy.
        feasible: ``(k,)``.
        sense: which objectives are better.

    Returns:
        int ``(k,)``.
    """
    loss = -objective if sense == "maximise" else objective
    order = np.lexsort((loss, ~np.asarray(feasible, np.bool_)))
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(1, len(order) + 1)
    return found

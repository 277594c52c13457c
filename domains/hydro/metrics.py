"""What an operator reads beside the cost of a simulated path: money, unserved energy, spill, and how honest it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.core.problem import Metric
from interlock.domains.hydro.case import Array, Case

METRICS = (
    Metric("cost_rate_reported", "$/h", "sum of the stages' cost rates over the reported stages"),
    Metric("money", "$", "cost of all stages: cost rate x hours of a stage"),
    Metric("deficit_energy_mwh", "MWh", "unserved energy of all stages"),
    Metric("eens_percent", "% of load energy", "unserved energy beside the load of all stages"),
    Metric("stages_with_deficit", "stages", "stages in which load was not served in full"),
    Metric("spill_hm3", "hm3", "water spilled"),
    Metric("water_balance_residual", "hm3", "largest error of a plant's water balance, recomputed from the dispatch"),
    Metric("clipped_hm3", "hm3", "distance of the proposed end volumes from those that could be reached"),
)

SHED = 1e-4
"""MW of deficit from which a stage counts as one with deficit."""


def rounded(figures: Array) -> Array:
    """Figures of a dispatch to 6 decimals; those after depend on which of several bases was found to be optimal."""
    return np.round(figures, 6)


@dataclass(frozen=True)
class Ledger:
    """What turns the dispatch of a stage into metrics.

    Attributes:
        factor: hm3 of a stage per m3/s.
        hours: of a stage.
        load: MW of the whole system ``(T,)``.
        reported: number of stages, from the first, in ``cost_rate_reported``.
        turbined_to: bool ``(s, s)``, who receives turbined water.
        spilled_to: bool ``(s, s)``, who receives spilled water.
    """

    factor: float
    hours: float
    load: Array
    reported: int
    turbined_to: Array
    spilled_to: Array

    def add(
        self, totals: Mapping[str, Array], stage: Array, volume: Array, inflow: Array, target: Array, dispatch: Any
    ) -> None:
        """Put one stage per row on top of ``totals`` (name -> ``(n,)``, changed in place).

        Args:
            totals: one array per metric; ``clipped_hm3`` is not touched.
            stage: int ``(n,)``, from 0.
            volume: incoming, hm3 ``(n, s)``.
            inflow: m3/s ``(n, s)``.
            target: end volumes, hm3 ``(n, s)``.
            dispatch: with ``cost``, ``deficit``, ``turbined`` and ``spilled``.
        """
        cost, missing = rounded(dispatch.cost), rounded(dispatch.deficit.sum(axis=1))
        totals["cost_rate_reported"][:] += np.where(stage < self.reported, cost, 0.0)
        totals["money"][:] += self.hours * cost
        totals["deficit_energy_mwh"][:] += self.hours * missing
        totals["eens_percent"][:] += self.eens(missing)
        totals["stages_with_deficit"][:] += missing > SHED
        totals["spill_hm3"][:] += rounded(dispatch.spilled.sum(axis=1))
        residual = rounded(self.residual(volume, inflow, target, dispatch.turbined, dispatch.spilled))
        np.maximum(totals["water_balance_residual"], residual, out=totals["water_balance_residual"])

    def eens(self, missing: Array) -> Array:
        """Unserved MW of a stage as a share of the load of all stages, in %."""
        share: Array = 100.0 * missing / self.load.sum()
        return share

    def residual(self, volume: Array, inflow: Array, target: Array, turbined: Array, spilled: Array) -> Array:
        """Largest error of a plant's water balance in hm3, ``(n,)``; ``turbined`` in m3/s, ``spilled`` in hm3."""
        released = self.factor * turbined + spilled
        received = self.factor * turbined @ self.turbined_to + spilled @ self.spilled_to
        error: Array = np.abs(volume + self.factor * inflow + received - released - target).max(axis=1)
        return error


def ledger(case: Case, horizon: int, reported: int | None) -> Ledger:
    """The ledger of a case over ``horizon`` stages; ``reported`` of them are compared with the literature."""
    return Ledger(
        case.flow_to_volume,
        case.stage_hours,
        np.array([case.load(t).sum() for t in range(horizon)]),
        horizon if reported is None else reported,
        case.hydros.turbined_to.astype(float),
        case.hydros.spilled_to.astype(float),
    )

"""End volumes without a policy: by cuts if there are any, by a rule curve, or serving the load with some water kept.

All plan with linear flows, or one bus where the network is one; what they propose is dispatched and checked like any
proposal. Every answer starts from the same basis, so that it depends on the request alone.
"""

from dataclasses import replace

import numpy as np

from interlock.core.multistage.stage import LinearStage
from interlock.core.sddp.cuts import Cuts
from interlock.core.sddp.model import StageModel
from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.stage_program import LinearNetwork, linear_stage, multistage
from interlock.domains.hydro.water import clip_to_reach, water_of
from interlock.solvers.highs import Highs

FLOOR = 0.2
"""Share of every reservoir that the last rule keeps where there is as much water."""
KEEP = 1e-4
"""$/h per hm3: of end volumes that cost the same, the higher ones; far below any value of water."""


class Fallbacks:
    """The rules for one system.

    Args:
        case: the system, outages and loads of the request already in it.
        network: of the programs.
        horizon: number of stages.
        cuts: bounds of the cost to go; ``None`` for none.
        curve: volumes of a rule curve, hm3 ``(cycle, plants)``; ``None`` for none.
    """

    def __init__(self, case: Case, network: LinearNetwork, horizon: int, cuts: Cuts | None, curve: Array | None):
        self.case, self.network, self.horizon = case, network, horizon
        self.cuts, self.curve = cuts, curve
        self.water = water_of(case)
        self._models: dict[int, StageModel] = {}

    def by_cuts(self, stage: int, volume: Array, inflow: Array) -> Array | None:
        """Least cost of the stage and of what the cuts say of later ones; ``None`` without cuts of this stage.

        Raises:
            StageInfeasible: the program has no optimum.
        """
        if self.cuts is None:
            return None
        if stage not in self._models:
            cuts, last = self.cuts.of_stage(stage), stage == self.horizon - 1
            if not last and not len(cuts):
                return None
            floor = None if last else multistage(self.case, self.network, self.horizon, ()).lower_bound
            self._models[stage] = StageModel(_keeping(self._stage(stage)), Highs(), stage + 1, floor, cuts)
        batch = self._models[stage].solve_each(volume[np.newaxis], inflow[np.newaxis], lambda row: "the request")
        return self.within_reach(batch.state[0], volume, inflow)

    def by_curve(self, stage: int, volume: Array, inflow: Array) -> Array | None:
        """The volumes of the season, as far as they can be reached; ``None`` without a curve."""
        if self.curve is None:
            return None
        return self.within_reach(self.curve[stage % len(self.curve)], volume, inflow)

    def with_floor(self, stage: int, volume: Array, inflow: Array) -> Array | None:
        """Least cost of this stage alone, ``FLOOR`` of every reservoir kept where it can be; ``None`` without one."""
        hydros = self.case.hydros
        model = _keeping(self._stage(stage))
        kept = np.minimum(FLOOR * hydros.max_volume, self.within_reach(hydros.max_volume, volume, inflow))
        program = model.program
        lower = program.lower.copy()
        lower[model.state] = np.maximum(hydros.min_volume, kept)
        row_lower, row_upper = program.row_lower.copy(), program.row_upper.copy()
        row_lower[model.rows] = row_upper[model.rows] = model.right_hand_side(volume, inflow)
        solution = Highs().solve(replace(program, lower=lower, row_lower=row_lower, row_upper=row_upper))
        if solution.status != "optimal" or solution.x is None:
            return None
        return self.within_reach(solution.x[model.state], volume, inflow)

    def within_reach(self, target: Array, volume: Array, inflow: Array) -> Array:
        """The nearest reachable end volumes, from the top of the cascade down."""
        rows = (part[np.newaxis] for part in (target, volume, inflow))
        clipped: Array = clip_to_reach(np, self.water, *rows)[0]
        return clipped

    def _stage(self, stage: int) -> LinearStage:
        return linear_stage(self.case, self.network, stage, last=stage == self.horizon - 1)


def _keeping(stage: LinearStage) -> LinearStage:
    cost = stage.program.cost.copy()
    cost[stage.state] -= KEEP
    return replace(stage, program=replace(stage.program, cost=cost))

"""Network inputs of hydrothermal dispatch: reservoirs, inflows and season as numbers around 1."""

from collections.abc import Mapping

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.rule_program import stage_features


def encoders(case: Case, horizon: int) -> Mapping[str, Encoder]:
    """What networks see; numbers around 1, float32.

    ``system``: ``vector`` ``(n, 2 plants + 3)``: volumes and inflows beside their largest, season, stages left.
    ``rule``: the same in two parts, ``features`` without volumes, which go into ``state`` ``(n, plants)``.

    Args:
        case: whose volumes and inflows.
        horizon: number of stages.
    """
    volume_scale = np.where(case.hydros.max_volume > 0, case.hydros.max_volume, 1.0)
    inflow_scale = np.maximum(case.inflows.max(axis=(0, 1)), 1e-9)

    def system(observation: Observation) -> dict[str, Array]:
        stage, inflow = observation["stage"][:, 0], observation["inflow"]
        seen = stage_features(inflow, stage, inflow_scale, case.cycle, horizon)
        return {"vector": np.hstack([observation["volume"] / volume_scale, seen]).astype(np.float32)}

    def rule(observation: Observation) -> dict[str, Array]:
        stage, inflow = observation["stage"][:, 0], observation["inflow"]
        seen = stage_features(inflow, stage, inflow_scale, case.cycle, horizon)
        return {"features": seen.astype(np.float32), "state": (observation["volume"] / volume_scale).astype(np.float32)}

    return {"system": system, "rule": rule}

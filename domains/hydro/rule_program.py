"""Hydrothermal dispatch as decision rules see it: inflow features, reachable volumes, dispatch, and a quick cost."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.dispatch import Dispatch, Network, open_dispatch
from interlock.domains.hydro.failures import save_stage
from interlock.domains.hydro.stage_program import LinearNetwork
from interlock.domains.hydro.water import full_turbining, reachable, torch_water, water_of

FEATURES_BEYOND_INFLOW = 3
"""Sine and cosine of the season, and the share of the last stages that is still to come."""
ENDGAME = 26
"""Stages before the end of the horizon from which on a rule sees how many are left."""


class HydroRules:
    """Implements ``interlock.core.decision_rules.contract.DecisionProgram``.

    Args:
        case: the system.
        network: of the dispatch that prices the targets.
        horizon: number of stages.
        paths: ``(count, generator) -> (count, T, plants)``, training inflows in m3/s.
        limits: ``(m,)``, limits of the expected sum of signals over the stages: MW of deficit.
    """

    def __init__(self, case: Case, network: Network, horizon: int, paths: Callable[[int, Any], Array], limits: Array):
        self.case, self.network, self.stages, self.paths = case, network, horizon, paths
        self.limits = limits
        self.signal_prices = np.array([case.deficit_cost])
        self.initial_state = case.hydros.initial_volume
        self.state_scale = np.where(case.hydros.max_volume > 0, case.hydros.max_volume, 1.0)
        self.inflow_scale = np.maximum(case.inflows.max(axis=(0, 1)), 1e-9)
        self.water = water_of(case)
        self._operation: Callable[[Any, Any, Any], Any] | None = None

    def features(self, noise: Array) -> Array:
        """``(n, T, plants + 3)`` of inflows ``(n, T, plants)``."""
        return stage_features(noise, np.arange(noise.shape[1]), self.inflow_scale, self.case.cycle, self.stages)

    def reach(self, xp: ModuleType, raw: Any, state: Any, noise: Any) -> Any:
        """Reachable end volumes; see ``interlock.domains.hydro.water.reachable``."""
        if xp is np:
            return reachable(xp, self.water, raw, state, noise)
        if self._operation is None:
            from interlock.domains.hydro.water_gradient import reachable_operation

            self._operation = reachable_operation(self.water)
        return self._operation(raw, state, noise)

    def save_stage(self, stage: int, state: Array, noise: Array, target: Array) -> str:
        """Write down the linear program of a stage; the other networks do so themselves."""
        linear: LinearNetwork = "bus1" if self.network == "bus1" else "dc"
        return save_stage(self.case, linear, stage, state, noise, target, last=stage == self.stages - 1)

    def solver(self) -> Dispatch:
        """Dispatch on the network."""
        return open_dispatch(self.case, self.network, self.stages)

    def quick_cost(self) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
        """Cost on a single bus with full turbining and thermal units in the order of their costs.

        It is the optimum on ``bus1`` where hydro power is cheaper than every thermal unit and never exceeds the load,
        and units may run at any power from 0; elsewhere it is an approximation, good enough to start from.
        """
        import torch

        case, water = self.case, torch_water(self.water, torch.float64)
        order = np.argsort(case.thermals.cost, kind="stable")
        limits = np.array([case.thermal_limit(t) for t in range(self.stages)])[:, order]
        below = torch.as_tensor(np.cumsum(limits, axis=1) - limits)
        capacity, cost = torch.as_tensor(limits), torch.as_tensor(case.thermals.cost[order])
        load = torch.as_tensor(np.array([case.load(t).sum() for t in range(self.stages)]))
        power = torch.as_tensor(case.hydros.production / case.flow_to_volume)
        hydro_cost = torch.as_tensor(case.hydros.cost.copy()) * power
        last_worth = torch.as_tensor(case.terminal_rate)

        def quick(stage: Any, state: Any, noise: Any, target: Any) -> tuple[Any, Any]:
            turbined = full_turbining(torch, water, state, noise, target)
            rest = load[stage] - turbined @ power
            thermal = torch.minimum((rest[:, None] - below[stage]).clamp(min=0.0), capacity[stage])
            deficit = (rest - capacity[stage].sum(dim=1)).clamp(min=0.0)
            total = turbined @ hydro_cost + thermal @ cost + case.deficit_cost * deficit
            final = (stage == self.stages - 1).double()
            return total - final * (target @ last_worth), deficit[:, None]

        return quick


def stage_features(inflow: Array, stage: Array, scale: Array, cycle: int, stages: int) -> Array:
    """What a rule sees of a stage.

    Args:
        inflow: m3/s ``(..., T, plants)``.
        stage: ``(T,)``, from 0.
        scale: m3/s ``(plants,)``.
        cycle: stages of a year of inflows.
        stages: of the horizon.

    Returns:
        ``(..., T, plants + 3)``: scaled inflows, sine and cosine of the season, and the stages that follow, 1 for
        ``ENDGAME`` or more.
    """
    season = 2.0 * np.pi * (stage % cycle) / cycle
    left = np.minimum(stages - 1 - stage, ENDGAME) / ENDGAME
    time = np.stack([np.sin(season), np.cos(season), left], axis=-1)
    shape = (*inflow.shape[:-1], FEATURES_BEYOND_INFLOW)
    return np.concatenate([inflow / scale, np.broadcast_to(time, shape)], axis=-1)

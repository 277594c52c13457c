"""Rule curves: volumes by week of the year, the same whatever the inflows, fitted to training paths.

The fit is that of a decision rule without inputs: the prices of the dispatch are its gradient, see
``interlock.core.decision_rules``. It starts from what is stored on average by one who knows the inflows.
"""

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.errors import StageInfeasible
from interlock.core.multistage.stage import Multistage
from interlock.core.policy import FunctionPolicy, Policy
from interlock.domains.hydro.bounds import best_states
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.dispatch import Dispatch
from interlock.domains.hydro.water import Water, clip_to_reach, reachable, water_of

PATHS = 64
"""Training paths of a fit."""

BATCH = 16
"""Of them, paths of an update."""

UPDATES = 80
STEP = 0.01
"""Of the first update, as a share of a reservoir; falls to 0."""

TRIED_EVERY = 20
"""Updates between two trials on all paths; the best curve is kept."""

HEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the stored water that are tried as a start."""

NEAR = 1e-9
"""hm3 within which two volumes are the same."""


def rule_curve(case: Case, curve: Array) -> Policy:
    """Aim at the volumes of the season, ``(cycle, plants)`` hm3, but spill nothing that can be kept."""
    water = water_of(case)

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        stage = observation["stage"][:, 0]
        return _wish(water, curve[stage % len(curve)], observation["volume"], observation["inflow"])

    return FunctionPolicy(act)


def fitted_curve(case: Case, dispatch: Dispatch, multistage: Multistage, paths: Array) -> Array:
    """Volumes of a rule curve ``(cycle, plants)``, hm3, of least mean cost on training paths, as far as descent goes.

    Args:
        case: the system.
        dispatch: of the network whose cost and prices count.
        multistage: its stages.
        paths: inflows, m3/s ``(n, T, plants)``.

    Raises:
        StageInfeasible: a stage of a training path has no dispatch.
    """
    low, room = case.hydros.min_volume, case.hydros.max_volume - case.hydros.min_volume
    stored = np.clip(_usual_storage(case, multistage, paths[: len(paths) // 2]) - low, 0.0, room)
    curves = [low + height * stored for height in HEIGHTS]
    costs = [cost_and_slope(case, dispatch, curve, paths)[0] for curve in curves]
    share = np.divide(curves[int(np.argmin(costs))] - low, room, out=np.zeros_like(stored), where=room > 0)
    mean, square = np.zeros_like(share), np.zeros_like(share)
    for update in range(UPDATES):
        batch = paths[(BATCH * update + np.arange(BATCH)) % len(paths)]
        slope = cost_and_slope(case, dispatch, low + share * room, batch)[1] * room
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2  # Adam
        size = np.sqrt(square / (1.0 - 0.99 ** (update + 1))) + 1e-9
        step = STEP * (1.0 - update / UPDATES) * mean / (1.0 - 0.9 ** (update + 1)) / size
        share = np.clip(share - step, 0.0, 1.0)
        if (update + 1) % TRIED_EVERY == 0:
            curves.append(low + share * room)
            costs.append(cost_and_slope(case, dispatch, curves[-1], paths)[0])
    return curves[int(np.argmin(costs))]


def cost_and_slope(case: Case, dispatch: Dispatch, curve: Array, paths: Array) -> tuple[float, Array]:
    """Mean cost of a rule curve over paths ``(n, T, plants)``, and its derivative in the curve ``(cycle, plants)``.

    Backward, ``d J / d v_t = d Q_t / d target + d Q_{t+1} / d v_in + (d v_{t+1} / d v_t) d J / d v_{t+1}``, where the
    next volume moves with this one only if it is not the curve's. How releases move volumes of plants below is left
    out: it counts where a small reservoir takes them up.
    """
    water, horizon = water_of(case), paths.shape[1]
    volume = np.tile(case.hydros.initial_volume, (len(paths), 1))
    cost = 0.0
    prices, on_curve, moves = [], [], []
    for t in range(horizon):
        inflow, aim = paths[:, t], curve[t % len(curve)]
        target = clip_to_reach(np, water, _wish(water, aim, volume, inflow), volume, inflow)
        try:
            batch = dispatch.solve(np.full(len(paths), t), volume, inflow, target)
        except StageInfeasible as error:
            path = f"training path {error.row} of the rule curve"
            raise StageInfeasible(error.stage, path, error.reason, error.saved) from error
        cost += float(batch.cost.mean())
        reached = np.abs(target - aim) < NEAR
        inside = (target > water.least + NEAR) & (target < water.most - NEAR)
        prices.append((batch.target_price, batch.state_price))
        on_curve.append(reached)
        moves.append(inside & ~reached)
        volume = target
    slope, later = np.zeros_like(curve), np.zeros_like(volume)
    for t in reversed(range(horizon)):
        total = prices[t][0] + later
        slope[t % len(curve)] += np.where(on_curve[t], total, 0.0).mean(axis=0)
        later = prices[t][1] + np.where(moves[t], total, 0.0)
    return cost, slope


def _wish(water: Water, aim: Array, volume: Array, inflow: Array) -> Array:
    """The volumes aimed at, or what is left at full power if that is more."""
    at_full_power = reachable(np, water, np.full(volume.shape, -np.inf), volume, inflow)
    return np.maximum(aim, at_full_power)


def _usual_storage(case: Case, multistage: Multistage, paths: Array) -> Array:
    """Mean volumes by stage of the cycle with perfect information.

    The last quarter of the horizon, where reservoirs run dry, counts only for stages of the cycle that no other part
    shows; those that occur nowhere take the mean of all.
    """
    mean = best_states(multistage, paths).mean(axis=0)
    horizon = len(mean)
    season, early = np.arange(horizon) % case.cycle, np.arange(horizon) < horizon - horizon // 4

    def usual(week: int) -> Array:
        shown = season == week
        if not shown.any():
            return mean.mean(axis=0)
        return mean[shown & early if (shown & early).any() else shown].mean(axis=0)

    return np.array([usual(week) for week in range(case.cycle)])

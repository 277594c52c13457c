"""Held-out paths played once more, with everything that was dispatched on the way: what the pictures are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.core.environment import Split
from interlock.core.policy import Policy
from interlock.domains.hydro.case import HOURLY_VOLUME, Array, Case
from interlock.domains.hydro.dispatch import Dispatch, DispatchBatch, transfer_factors
from interlock.domains.hydro.stage_program import loaded_buses

BINDING = 0.999
"""Share of its limit from which a branch counts as used to the full."""


@dataclass(frozen=True)
class Played:
    """``n`` paths of ``T`` stages under one policy.

    Attributes:
        volume: end volumes, hm3 ``(n, T, plants)``.
        cost: $/h ``(n, T)``.
        turbined: m3/s ``(n, T, plants)``.
        thermal: MW ``(n, T, units)``.
        deficit: MW ``(n, T, buses)``.
        nodal_price: $/MWh ``(n, T, buses)``.
        water_value: $/hm3 ``(n, T, plants)``, what a little more water would have saved in the stage.
    """

    volume: Array
    cost: Array
    turbined: Array
    thermal: Array
    deficit: Array
    nodal_price: Array
    water_value: Array


class _Recorder:
    """A dispatch that keeps what it is asked and what it answers."""

    def __init__(self, dispatch: Dispatch):
        self._dispatch = dispatch
        self.targets: list[Array] = []
        self.batches: list[DispatchBatch] = []

    def solve(
        self, stage: Array, volume: Array, inflow: Array, target: Array, multipliers: Array | None = None
    ) -> DispatchBatch:
        """As the dispatch behind it."""
        batch = self._dispatch.solve(stage, volume, inflow, target, multipliers)
        self.targets.append(target.copy())
        self.batches.append(batch)
        return batch

    def state(self) -> dict[str, Array]:
        """As the dispatch behind it."""
        return self._dispatch.state()

    def restore(self, state: Mapping[str, Array]) -> None:
        """As the dispatch behind it."""
        self._dispatch.restore(state)


def play(problem: Any, policy: Policy, seed: int, split: Split, count: int) -> Played:
    """The first ``count`` paths of a split under a policy.

    Args:
        problem: a ``HydroProblem``.
        policy: proposes end volumes.
        seed: of the paths.
        split: of the paths.
        count: number of paths.

    Raises:
        StageInfeasible: a stage could not be dispatched.
    """
    environment = problem.environment(count, seed=seed, split=split)
    recorder = _Recorder(environment.dispatch)
    environment.dispatch = recorder
    policy.reset()
    observation = environment.reset()
    for _ in range(problem.scenario.horizon):
        observation = environment.step(policy.act(observation, deterministic=True)).observation
    policy.reset()

    def over_stages(name: str) -> Array:
        return np.stack([getattr(batch, name) for batch in recorder.batches], axis=1)

    return Played(
        volume=np.stack(recorder.targets, axis=1),
        cost=over_stages("cost"),
        turbined=over_stages("turbined"),
        thermal=over_stages("thermal"),
        deficit=over_stages("deficit"),
        nodal_price=over_stages("nodal_price"),
        water_value=-problem.case.stage_hours * over_stages("state_price"),
    )


def stored_energy(case: Case, volume: Array) -> Array:
    """GWh that water gives on its whole way down through the turbines, per plant: hm3 ``(..., plants)``."""
    plants = len(case.hydros.names)
    along = np.linalg.inv(np.eye(plants) - case.hydros.turbined_to) @ case.hydros.production
    energy: Array = volume * along / HOURLY_VOLUME / 1000.0
    return energy


def hydro_power(case: Case, played: Played) -> Array:
    """MW of all hydro plants ``(n, T)``."""
    power: Array = played.turbined @ case.hydros.production
    return power


def merit_bands(case: Case, played: Played, bands: int) -> dict[str, Array]:
    """MW ``(n, T)`` of thermal units in at most ``bands`` price bands, cheapest first, by a label with the prices."""
    order = np.argsort(case.thermals.cost, kind="stable")
    reached = np.cumsum(case.thermals.max_power[order])
    band = np.minimum(bands - 1, (bands * (reached - 1e-9) / max(reached[-1], 1e-9)).astype(int))
    found: dict[str, Array] = {}
    for number in np.unique(band):
        units = order[band == number]
        low, high = case.thermals.cost[units].min(), case.thermals.cost[units].max()
        prices = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        label = f"thermal at {prices} {case.currency}/MWh"
        found[label] = found.get(label, np.zeros(played.cost.shape)) + played.thermal[:, :, units].sum(axis=2)
    return found


def mean_price(case: Case, played: Played) -> Array:
    """$/MWh ``(n, T)``, buses weighted by the load of the stage."""
    loads = np.array([case.load(t) for t in range(played.cost.shape[1])])
    price: Array = (played.nodal_price * loads).sum(axis=2) / loads.sum(axis=1)
    return price


def branch_use(case: Case, played: Played) -> tuple[Array, Array]:
    """Mean share of its limit that each branch carries, and the share of stages in which it carries all of it.

    Flows are the linear ones of what was generated and consumed, without losses.
    """
    factors, least, most = transfer_factors(case)
    paths, stages = played.cost.shape
    injected = np.zeros((paths, stages, len(case.buses.names)))
    for plant, bus in enumerate(case.hydros.bus):
        injected[:, :, bus] += case.hydros.production[plant] * played.turbined[:, :, plant]
    for unit, bus in enumerate(case.thermals.bus):
        injected[:, :, bus] += played.thermal[:, :, unit]
    injected += played.deficit - np.array([case.load(t) for t in range(stages)])
    flow = injected @ factors.T
    used = np.maximum(flow / most, flow / least)
    return used.mean(axis=(0, 1)), (used > BINDING).mean(axis=(0, 1))


def big_reservoirs(case: Case, most: int) -> list[int]:
    """Plants that can store the most energy, largest first; those with less than 2 % of the largest are left out."""
    energy = stored_energy(case, case.hydros.max_volume - case.hydros.min_volume)
    order = np.argsort(-energy, kind="stable")[:most]
    return [int(plant) for plant in order if energy[plant] > 0.02 * energy.max()]


def price_extremes(case: Case, played: Played) -> list[int]:
    """The loaded buses with the lowest and the highest mean price."""
    mean = played.nodal_price.mean(axis=(0, 1))
    loaded = loaded_buses(case)
    ends = {int(loaded[np.argmin(mean[loaded])]): None, int(loaded[np.argmax(mean[loaded])]): None}
    return list(ends)

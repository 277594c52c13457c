"""Water of a stage: what end volumes can be reached, and what is released. One text for numpy and torch.

A target is reachable if every plant, from the top of the cascade down, can end there while turbining at most what it
releases. What a plant passes on is counted as if it turbined as much as it can; where only spilled water goes on to
another plant this is cautious (more could be spilled), otherwise it is exact as long as the power of what is turbined
can be delivered. The balance of power is not looked at: where only turbined water goes on to another plant, and the
plant above has more power than load and lines take, it must spill instead, less water arrives than was counted on, and
a target that is reachable here can lack a dispatch.
"""

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from interlock.core.decision_rules.share import share
from interlock.domains.hydro.case import Array, Case


@dataclass(frozen=True)
class Water:
    """The plants' volumes and flows as arrays of numpy or tensors of torch; volumes in hm3 per stage.

    Attributes:
        factor: hm3 of a stage per m3/s.
        least: smallest volumes ``(s,)``.
        most: largest volumes.
        least_turbined: hm3 per stage.
        most_turbined: hm3 per stage.
        turbined_to: ``(s, s)``, 1 where turbined water goes from row to column.
        spilled_to: the same for spilled water.
        depth: plants of the longest chain.
    """

    factor: float
    least: Any
    most: Any
    least_turbined: Any
    most_turbined: Any
    turbined_to: Any
    spilled_to: Any
    depth: int


def water_of(case: Case) -> Water:
    """The plants of a case in numpy."""
    hydros = case.hydros
    return Water(
        factor=case.flow_to_volume,
        least=hydros.min_volume,
        most=hydros.max_volume,
        least_turbined=case.flow_to_volume * hydros.min_turbine,
        most_turbined=case.flow_to_volume * hydros.max_turbine,
        turbined_to=hydros.turbined_to.astype(float),
        spilled_to=hydros.spilled_to.astype(float),
        depth=_depth(hydros.turbined_to | hydros.spilled_to),
    )


def torch_water(water: Water, dtype: Any) -> Water:
    """The same as tensors of torch."""
    import torch

    def tensor(array: Array) -> Any:
        return torch.as_tensor(np.asarray(array), dtype=dtype)

    return Water(
        factor=water.factor,
        least=tensor(water.least),
        most=tensor(water.most),
        least_turbined=tensor(water.least_turbined),
        most_turbined=tensor(water.most_turbined),
        turbined_to=tensor(water.turbined_to),
        spilled_to=tensor(water.spilled_to),
        depth=water.depth,
    )


def reachable(xp: ModuleType, water: Water, raw: Any, volume: Any, inflow: Any) -> Any:
    """Target volumes ``(n, s)`` in hm3 from any numbers ``raw``: 0 at full turbining, 1 at as little as possible.

    The range goes from what is left after turbining all that can be turbined to what is there if as little as possible
    is: targets that spill on purpose are left out, they are reachable but waste water.

    Args:
        xp: ``numpy`` or ``torch``.
        water: of the same kind as the arrays.
        raw: ``(n, s)``.
        volume: incoming, hm3 ``(n, s)``.
        inflow: m3/s ``(n, s)``.
    """
    kept = share(xp, raw)
    own = volume + water.factor * inflow
    coming = own
    target = own
    for _ in range(water.depth):
        low = xp.maximum(water.least, xp.minimum(coming - water.most_turbined, water.most))
        high = _highest(xp, water, coming)
        target = low + (high - low) * kept
        coming = own + _passed_on(xp, water, coming - target)
    return target


def clip_to_reach(xp: ModuleType, water: Water, target: Any, volume: Any, inflow: Any) -> Any:
    """The nearest reachable volumes, from the top of the cascade down. Arguments as ``reachable``."""
    own = volume + water.factor * inflow
    coming = own
    clipped = target
    for _ in range(water.depth):
        clipped = xp.minimum(xp.maximum(target, water.least + 0.0 * own), _highest(xp, water, coming))
        coming = own + _passed_on(xp, water, coming - clipped)
    return clipped


def full_turbining(xp: ModuleType, water: Water, volume: Any, inflow: Any, target: Any) -> Any:
    """Turbined water in hm3 ``(n, s)`` if every plant turbines all it can of what it has to release."""
    own = volume + water.factor * inflow
    coming = own
    turbined = own
    for _ in range(water.depth):
        released = coming - target
        turbined = _turbined(xp, water, released)
        coming = own + _passed_on(xp, water, released)
    return turbined


def _highest(xp: ModuleType, water: Water, coming: Any) -> Any:
    """Largest volumes; never below the smallest ones, where no volume is possible at all."""
    return xp.maximum(water.least, xp.minimum(water.most, coming - water.least_turbined))


def _turbined(xp: ModuleType, water: Water, released: Any) -> Any:
    return xp.minimum(water.most_turbined, xp.maximum(released, 0.0 * released))


def _passed_on(xp: ModuleType, water: Water, released: Any) -> Any:
    """What arrives downstream ``(n, s)``, hm3."""
    released = xp.maximum(released, 0.0 * released)
    turbined = _turbined(xp, water, released)
    return turbined @ water.turbined_to + (released - turbined) @ water.spilled_to


def _depth(links: Array) -> int:
    """Number of plants on the longest way down; the links hold no circle."""

    @cache
    def below(plant: int) -> int:
        return 1 + max((below(int(next_one)) for next_one in np.flatnonzero(links[plant])), default=0)

    return max(below(plant) for plant in range(len(links)))

"""The reachable map in one operation of torch: forward and backward are a loop over plants from the top down and back.

The same map as ``interlock.domains.hydro.water.reachable``, which would need some forty small tensor operations per
stage; training spends most of its time there.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from interlock.core.decision_rules.share import STRETCH
from interlock.domains.hydro.case import Array
from interlock.domains.hydro.water import Water


def reachable_operation(water: Water) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """``(raw, volume, inflow) -> target``, all ``(n, plants)`` in float64, differentiable in raw and volume.

    Args:
        water: the plants, as arrays of numpy.
    """
    order = _from_the_top(water)
    limits = np.stack([water.least, water.most, water.least_turbined, water.most_turbined])
    turbined_to, spilled_to = np.ascontiguousarray(water.turbined_to), np.ascontiguousarray(water.spilled_to)

    class Reachable(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, raw: Tensor, volume: Tensor, inflow: Tensor) -> Tensor:
            own = (volume + water.factor * inflow).detach().numpy()
            found = np.empty((3, *own.shape))
            _forward(order, limits, turbined_to, spilled_to, raw.detach().numpy(), own, found)
            context.found, context.raw = found, raw.detach()
            return torch.from_numpy(found[0].copy())

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Any:
            by_raw, by_volume = np.zeros(gradient.shape), np.zeros(gradient.shape)
            _backward(order, limits, turbined_to, spilled_to, context.found, gradient.numpy(), by_raw, by_volume)
            sigmoid = torch.sigmoid(context.raw)
            slope = STRETCH * sigmoid * (1.0 - sigmoid)
            return torch.from_numpy(by_raw) * slope, torch.from_numpy(by_volume), None

    return Reachable.apply


def _from_the_top(water: Water) -> Array:
    """Plants in an order in which water flows."""
    links = (water.turbined_to + water.spilled_to) > 0
    waiting, order = list(range(len(links))), []
    while waiting:
        free = [plant for plant in waiting if not links[waiting, plant].any()]
        order += free
        waiting = [plant for plant in waiting if plant not in free]
    return np.array(order, np.int64)


@numba.njit(cache=True)
def _forward(order, limits, turbined_to, spilled_to, raw, own, found):
    """Fill target, coming water and stretched share, ``(3, n, plants)``."""
    least, most, least_turbined, most_turbined = limits
    for row in range(len(own)):
        coming = found[1, row]
        coming[:] = own[row]
        for r in order:
            stretched = 0.5 + STRETCH * (1.0 / (1.0 + np.exp(-raw[row, r])) - 0.5)
            low = max(least[r], min(coming[r] - most_turbined[r], most[r]))
            high = max(least[r], min(most[r], coming[r] - least_turbined[r]))
            target = low + (high - low) * min(max(stretched, 0.0), 1.0)
            found[0, row, r], found[2, row, r] = target, stretched
            released = max(coming[r] - target, 0.0)
            turbined = min(most_turbined[r], released)
            for below in range(len(order)):
                coming[below] += turbined_to[r, below] * turbined + spilled_to[r, below] * (released - turbined)


@numba.njit(cache=True)
def _backward(order, limits, turbined_to, spilled_to, found, gradient, by_raw, by_coming):
    """Fill the gradients in the share and in the coming water, whose own part is the volume."""
    least, most, least_turbined, most_turbined = limits
    for row in range(len(gradient)):
        for r in order[::-1]:
            target, coming, stretched = found[0, row, r], found[1, row, r], found[2, row, r]
            released = coming - target
            by_turbined, by_spilled = 0.0, 0.0
            for below in range(len(order)):
                by_turbined += turbined_to[r, below] * by_coming[row, below]
                by_spilled += spilled_to[r, below] * by_coming[row, below]
            by_released = by_turbined if released < most_turbined[r] else by_spilled
            if released <= 0.0:
                by_released = 0.0
            by_target = gradient[row, r] - by_released
            share = min(max(stretched, 0.0), 1.0)
            total = by_released
            if least[r] < coming - most_turbined[r] < most[r]:
                total += by_target * (1.0 - share)
            if least[r] < coming - least_turbined[r] < most[r]:
                total += by_target * share
            by_coming[row, r] = total
            low = max(least[r], min(coming - most_turbined[r], most[r]))
            high = max(least[r], min(most[r], coming - least_turbined[r]))
            by_share = by_target * (high - low)
            outward = (stretched < 0.0 and by_share > 0.0) or (stretched > 1.0 and by_share < 0.0)
            by_raw[row, r] = 0.0 if outward else by_share

"""From raw observations to network inputs; torch-free, used alike in training and in an exported bundle."""

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder
from interlock.domains.bin_packing.after_state import after_states
from interlock.domains.bin_packing.features import map_features, placement_features
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.soft_features import placements_soft

MOST_FOOTPRINT_CELLS = 100_000
"""Cells of all footprints together up to which height maps after placements are described."""


def views(observation: Observation, buffer: int = 1) -> tuple[Array, Array, Array]:
    """One row per (row, open bin, held box), so that what is written for one bin and one box plays every variant.

    What is computed per view, ``(n * B * b, O * L * W)``, has the order of the actions: reshape it to ``(n, A)``.

    Args:
        observation: of the environment.
        buffer: boxes held, ``b``.

    Returns:
        height maps int16 ``(n * B * b, L, W)``; boxes int16 ``(n * B * b, 3)``; masks bool ``(n * B * b, O * L * W)``.
    """
    heights, items, masks = observation["height_map"], observation["items"], observation["action_mask"]
    n, bins = len(heights), heights.shape[1] if heights.ndim == 4 else 1
    count = n * bins * buffer
    if count == n:
        fronts = items[:, 0]
    else:
        heights = np.repeat(heights.reshape(n * bins, *heights.shape[-2:]), buffer, axis=0)
        fronts = np.repeat(items[:, None, :buffer], bins, axis=1).reshape(count, 3)
    return (
        np.ascontiguousarray(heights, np.int16),
        np.ascontiguousarray(fronts, np.int16),
        np.ascontiguousarray(masks.reshape(count, -1)),
    )


def encoders(scenario: BinPackingScenario) -> dict[str, Encoder]:
    """The encoders of a scenario, by name.

    ``placements``: float32 ``action_features`` ``(n, A, 12)``, see ``features.FEATURES``. With several open bins those
    about the height map afterwards are changes against the map before, so that bins can be compared: what they say of
    all bins together differs by a constant only.
    ``planes`` (one open bin, one box held): float32 ``planes`` ``(n, 4 + O, L, W)``: height map, length, width and
    height of the box in front as constant planes, each divided by the bin's own size, and one mask plane per
    orientation.
    ``planes_unmasked`` (as ``planes``): without the mask planes, for policies that predict the mask.
    ``placements_soft`` (as ``planes``, boxes without weights): those of ``placements`` and what limits on overhang and
    on the centre of gravity are about, see ``soft_features.SOFT_FEATURES``.
    ``after_states`` (as ``planes``): float32 ``action_features`` ``(n, A, F)``, see ``after_state.after_features``.
    """
    size = np.array([scenario.bin.length, scenario.bin.width, scenario.bin.height], np.float32)
    ceiling, buffer, several = scenario.bin.height, scenario.buffer, scenario.bin.open > 1

    def planes(observation: Observation) -> dict[str, Array]:
        heights, mask = observation["height_map"], observation["action_mask"]
        n, length, width = heights.shape
        channels = mask.shape[1] // (length * width)
        out = np.empty((n, 4 + channels, length, width), np.float32)
        out[:, 0] = heights / size[2]
        out[:, 1:4] = (observation["items"][:, 0] / size)[:, :, None, None]
        out[:, 4:] = mask.reshape(n, channels, length, width)
        return {"planes": out}

    def planes_unmasked(observation: Observation) -> dict[str, Array]:
        return {"planes": np.ascontiguousarray(planes(observation)["planes"][:, :4])}

    def placements(observation: Observation) -> dict[str, Array]:
        heights, items, masks = views(observation, buffer)
        features: Array = placement_features(heights, items, masks, ceiling)
        if several:
            features -= map_features(heights, ceiling)[:, None]
            features *= masks[:, :, None]
        return {"action_features": features.reshape(*observation["action_mask"].shape, features.shape[-1])}

    if several or buffer > 1:
        return {"placements": placements}
    soft = {} if scenario.weighs() else {"placements_soft": placements_soft(ceiling)}
    pictures = {"planes": planes, "planes_unmasked": planes_unmasked}
    return {"placements": placements, **pictures, **_described(scenario), **soft}


def _described(scenario: BinPackingScenario) -> dict[str, Encoder]:
    """``after_states``, where boxes are not tilted and its tables, a plane per footprint, stay small."""
    footprints = (scenario.items.high - scenario.items.low + 1) ** 2
    small = footprints * scenario.bin.length * scenario.bin.width <= MOST_FOOTPRINT_CELLS
    return {"after_states": after_states(scenario)} if small and scenario.orientations <= 2 else {}

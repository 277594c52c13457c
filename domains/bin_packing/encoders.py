"""From raw observations to network inputs; torch-free, used alike in training and in an exported bundle."""

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder
from interlock.domains.bin_packing.features import placement_features
from interlock.domains.bin_packing.scenario import BinPackingScenario


def encoders(scenario: BinPackingScenario) -> dict[str, Encoder]:
    """The encoders of a scenario, by name.

    ``placements``: float32 ``action_features`` ``(n, A, 12)``, see ``features.FEATURES``.
    ``planes``: float32 ``planes`` ``(n, 4 + O, L, W)``: height map, length, width and height of the box in front as
    constant planes, each divided by the bin's own size, and one mask plane per orientation.
    """
    size = np.array([scenario.bin.length, scenario.bin.width, scenario.bin.height], np.float32)
    ceiling = scenario.bin.height

    def planes(observation: Observation) -> dict[str, Array]:
        heights, mask = observation["height_map"], observation["action_mask"]
        n, length, width = heights.shape
        channels = mask.shape[1] // (length * width)
        out = np.empty((n, 4 + channels, length, width), np.float32)
        out[:, 0] = heights / size[2]
        out[:, 1:4] = (observation["items"][:, 0] / size)[:, :, None, None]
        out[:, 4:] = mask.reshape(n, channels, length, width)
        return {"planes": out}

    def placements(observation: Observation) -> dict[str, Array]:
        features: Array = placement_features(
            np.ascontiguousarray(observation["height_map"], np.int16),
            np.ascontiguousarray(observation["items"][:, 0], np.int16),
            np.ascontiguousarray(observation["action_mask"]),
            ceiling,
        )
        return {"action_features": features}

    return {"placements": placements, "planes": planes}

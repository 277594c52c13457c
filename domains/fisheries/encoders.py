"""Network inputs of a fishery: stocks beside four capacities, last year's mortality, and the year if wanted."""

from collections.abc import Mapping

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder
from interlock.domains.fisheries import walleye_rules
from interlock.domains.fisheries.scenario import FisheriesScenario, Walleye

FULL = 4.0
"""Stock that counts as 1; larger ones are cut off."""


def encoders(scenario: FisheriesScenario) -> Mapping[str, Encoder]:
    """``stock``: seen stocks as shares of ``FULL`` (and last year's mortality); ``stock_time``: also the year's share.

    Biomass of walleye has no upper end, so it is mapped to -1 for none, 0 for that of an unfished stock, and 1 for all
    there could be; their mean weight to -1 for none and 1 for a full-grown fish.

    Both give ``vector`` float32. The first is the one that the scenario asks for with ``observed.time``.
    """
    walleye = isinstance(scenario.model, Walleye)
    half = walleye_rules.unfished_biomass(scenario) if walleye else 0.0

    def stock(observation: Observation) -> dict[str, Array]:
        seen = observation["stock"]
        parts = [2.0 * seen / (seen + half) - 1.0] if walleye else [np.clip(seen / FULL, 0.0, 1.0)]
        if "mean_weight" in observation:
            parts.append(np.clip(2.0 * observation["mean_weight"] - 1.0, -1.0, 1.0))
        if "last_mortality" in observation:
            parts.append(observation["last_mortality"])
        return {"vector": np.hstack(parts).astype(np.float32)}

    def stock_time(observation: Observation) -> dict[str, Array]:
        share = (observation["year"] / scenario.horizon).astype(np.float32)
        return {"vector": np.hstack([stock(observation)["vector"], share])}

    known = {"stock": stock, "stock_time": stock_time}
    return dict(reversed(known.items())) if scenario.observed.time else known

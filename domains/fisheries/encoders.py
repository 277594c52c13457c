"""Network inputs of a fishery: stocks beside four capacities, last year's mortality, and the year if wanted."""

from collections.abc import Mapping

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder
from interlock.domains.fisheries.scenario import FisheriesScenario

FULL = 4.0
"""Stock that counts as 1; larger ones are cut off."""


def encoders(scenario: FisheriesScenario) -> Mapping[str, Encoder]:
    """``stock``: seen stocks as shares of ``FULL`` (and last year's mortality); ``stock_time``: also the year's share.

    Both give ``vector`` float32. The first is the one that the scenario asks for with ``observed.time``.
    """

    def stock(observation: Observation) -> dict[str, Array]:
        parts = [np.clip(observation["stock"] / FULL, 0.0, 1.0)]
        if "last_mortality" in observation:
            parts.append(observation["last_mortality"])
        return {"vector": np.hstack(parts).astype(np.float32)}

    def stock_time(observation: Observation) -> dict[str, Array]:
        share = (observation["year"] / scenario.horizon).astype(np.float32)
        return {"vector": np.hstack([stock(observation)["vector"], share])}

    known = {"stock": stock, "stock_time": stock_time}
    return dict(reversed(known.items())) if scenario.observed.time else known

"""Network inputs of a fishery: stocks, last year's mortality, and the year if wanted."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder
from interlock.domains.fisheries import walleye_rules
from interlock.domains.fisheries.scenario import FisheriesScenario, Walleye

FULL = 4.0
"""Stock that counts as 1 in the published inputs; larger ones are cut off."""

LEAST = 0.02
"""Stock below which logarithms of stocks are cut off; a species has collapsed before."""

IN_UNITS = ("units", "units_time")
"""Encoders whose first numbers are the seen stocks in stock units, as rules that count in stocks read them."""


def encoders(scenario: FisheriesScenario, xp: ModuleType = np) -> Mapping[str, Encoder]:
    """Each gives ``vector`` in single precision: seen stocks, last year's mortality where changes of it are limited.

    ``stock`` has stocks as shares of ``FULL``, as in Montealegre-Mora et al. (2023); ``units`` has them in stock units,
    ``logs`` their logarithms as well, which learn faster; ``stock_time``, ``units_time`` and ``logs_time`` end with the
    year as a share of the horizon. The first is ``stock_time`` if the scenario asks for it with ``observed.time``, else
    ``stock``.

    Biomass of walleye has no upper end, so ``stock`` maps it to -1 for none, 0 for that of an unfished stock, and 1 for
    all there could be; their mean weight to -1 for none and 1 for a full-grown fish.

    Args:
        scenario: horizon and model.
        xp: ``numpy`` or ``torch``: the same text serves decision and differentiation. Tensors keep their precision.
    """
    half = walleye_rules.unfished_biomass(scenario) if isinstance(scenario.model, Walleye) else 0.0

    def shares(seen: Any) -> Any:
        return 2.0 * seen / (seen + half) - 1.0 if half else xp.clip(seen / FULL, 0.0, 1.0)

    def vector(observation: Mapping[str, Any], *, units: bool, time: bool, logs: bool = False) -> dict[str, Any]:
        parts = [observation["stock"] if units else shares(observation["stock"])]
        if logs:
            parts.append(xp.log(xp.clip(observation["stock"], LEAST, None)))
        if "mean_weight" in observation:
            parts.append(xp.clip(2.0 * observation["mean_weight"] - 1.0, -1.0, 1.0))
        if "last_mortality" in observation:
            parts.append(observation["last_mortality"])
        if time:
            parts.append(observation["year"] / scenario.horizon)
        joined = xp.hstack(parts)
        return {"vector": joined.astype(np.float32) if xp is np else joined}

    known: dict[str, Encoder] = {
        "stock": lambda view: vector(view, units=False, time=False),
        "stock_time": lambda view: vector(view, units=False, time=True),
        "units": lambda view: vector(view, units=True, time=False),
        "units_time": lambda view: vector(view, units=True, time=True),
        "logs": lambda view: vector(view, units=True, time=False, logs=True),
        "logs_time": lambda view: vector(view, units=True, time=True, logs=True),
    }
    first = ("stock_time", "stock") if scenario.observed.time else ("stock", "stock_time")
    return {name: known[name] for name in (*first, *IN_UNITS, "logs", "logs_time")}


def decoders(scenario: FisheriesScenario) -> Mapping[str, Callable[[Array], Observation]]:
    """Observations ``(n, ...)`` from what ``units`` and ``units_time`` give; the first leaves the year at 0."""
    visible = len(scenario.model.species) - len(scenario.observed.hidden)
    weighed = isinstance(scenario.model, Walleye) and scenario.model.weigh
    limited = scenario.limits.max_change is not None

    def observation(vector: Array, *, time: bool) -> Observation:
        view = {"stock": vector[:, :visible], "year": np.zeros((len(vector), 1), np.int64)}
        rest = vector[:, visible:]
        if weighed:
            view["mean_weight"], rest = 0.5 * (rest[:, :1] + 1.0), rest[:, 1:]
        if limited:
            caught = len(scenario.harvested)
            view["last_mortality"], rest = rest[:, :caught], rest[:, caught:]
        if time:
            view["year"] = np.rint(scenario.horizon * rest).astype(np.int64)
        return view

    return {
        "units": lambda vector: observation(vector, time=False),
        "units_time": lambda vector: observation(vector, time=True),
    }

"""The answer of an exported dispatch policy: its JSON Schema, and how a dispatch is told."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from interlock.core.decision import hidden_state_schema
from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.dispatch import DispatchBatch
from interlock.domains.hydro.release import DEFICIT
from interlock.domains.hydro.request import EXTRAPOLATED, Request

DECIMALS = 9
FLAGS = {
    "extrapolation": f"an inflow is outside 0 to {EXTRAPOLATED:g} times the largest one on record",
    "short_history": "the request tells fewer stages than lie before this one",
    "deficit": "load is not served",
}


def answer_schema(case: Case) -> dict[str, Any]:
    """JSON Schema of the domain's part of an answer; lists are in the order of the plants of the case."""
    plants, money = case.hydros.names, case.currency

    def per_plant(unit: str, description: str, **limits: float) -> dict[str, Any]:
        return {
            "type": "array",
            "minItems": len(plants),
            "maxItems": len(plants),
            "items": {"type": "number", "unit": unit, **limits},
            "description": description,
        }

    def by_name(names: Sequence[str], unit: str, description: str) -> dict[str, Any]:
        value = {"type": "number", "unit": unit}
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(names),
            "properties": dict.fromkeys(names, value),
            "description": description,
        }

    return {
        "type": "object",
        "properties": {
            "target_hm3": per_plant("hm3", f"volumes at the end of the stage: {', '.join(plants)}"),
            "turbined_m3s": per_plant("m3/s", "turbined flow during the stage"),
            "spilled_hm3": per_plant("hm3", "water spilled during the stage"),
            "thermal_MW": by_name(case.thermals.names, "MW", "power of the thermal units"),
            "deficit_MW": by_name(case.buses.names, "MW", "unserved load"),
            "expected_stage_cost": {
                "type": "number",
                "unit": f"{money}/h",
                "description": f"cost rate of the stage, which lasts {case.stage_hours:g} h",
            },
            "water_value_per_hm3": per_plant(
                f"{money}/hm3", "what keeping one more hm3 costs in this stage: what it is taken to be worth later"
            ),
            "nodal_price": by_name(case.buses.names, f"{money}/MWh", "cost of one more MWh at the bus"),
            "flags": {
                "type": "array",
                "items": {"enum": list(FLAGS)},
                "description": "; ".join(f"{name}: {about}" for name, about in FLAGS.items()),
            },
            "unusual_inflows": {
                "type": "array",
                "items": {"enum": list(plants)},
                "description": "plants that the flag extrapolation is about",
            },
            "solver_status": {"enum": ["optimal"], "description": "of the stage problem"},
            "hidden_state": hidden_state_schema(),
            "refuse": {
                "type": "object",
                "additionalProperties": False,
                "required": ["reason"],
                "properties": {"reason": {"type": "string", "description": "in words"}},
            },
        },
    }


def answer_of(case: Case, request: Request, target: Array, batch: DispatchBatch) -> dict[str, Any]:
    """A dispatch as JSON.

    Args:
        case: the system.
        request: what was asked.
        target: end volumes, hm3 ``(plants,)``.
        batch: of one row.
    """
    flags = {
        "extrapolation": bool(request.unusual),
        "short_history": request.known < request.stage,
        "deficit": batch.deficit[0].sum() > DEFICIT,
    }
    return {
        "target_hm3": _rounded(target),
        "turbined_m3s": _rounded(batch.turbined[0]),
        "spilled_hm3": _rounded(batch.spilled[0]),
        "thermal_MW": dict(zip(case.thermals.names, _rounded(batch.thermal[0]), strict=True)),
        "deficit_MW": dict(zip(case.buses.names, _rounded(batch.deficit[0]), strict=True)),
        "expected_stage_cost": round(float(batch.cost[0]), DECIMALS),
        "water_value_per_hm3": _rounded(case.stage_hours * batch.target_price[0]),
        "nodal_price": dict(zip(case.buses.names, _rounded(batch.nodal_price[0]), strict=True)),
        "flags": [name for name, raised in flags.items() if raised],
        "unusual_inflows": list(request.unusual),
        "solver_status": "optimal",
    }


def _rounded(values: Array) -> list[float]:
    """Without the last digits, and without minus zero."""
    rounded: list[float] = (np.round(values, DECIMALS) + 0.0).tolist()
    return rounded

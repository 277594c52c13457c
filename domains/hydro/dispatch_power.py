"""What the dispatch of a stage on an alternating-current network needs whatever its solver: numbers in, batch out.

As in ``dispatch`` the end volumes are fixed, so volumes and spill drop out: with ``a = v_in + K w - v`` and ``M`` the
sum over plants above, water is the row ``K q - K M (T - S)^T q <= M a`` of turbined flow alone.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter

import numpy as np

from interlock.core.errors import StageInfeasible
from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.dispatch import SLACK, DispatchBatch
from interlock.domains.hydro.failures import file_label
from interlock.domains.hydro.power_flow import reactive_load, reactive_range
from interlock.domains.hydro.stage_program import injection, loaded_buses


@dataclass(frozen=True, slots=True)
class Numbers:
    """What differs from one stage to another.

    Attributes:
        available: hm3 ``(plants,)``, what each plant and those above it release if none of them turbines: ``M a``.
        load: MW ``(buses,)``.
        reactive_load: MVAr ``(buses,)``.
        least_thermal: MW ``(units,)``.
        most_thermal: MW ``(units,)``.
        least_reactive: MVAr ``(buses,)``, of all plants at a bus.
        most_reactive: MVAr ``(buses,)``.
        deficit_price: $/MWh.
    """

    available: Array
    load: Array
    reactive_load: Array
    least_thermal: Array
    most_thermal: Array
    least_reactive: Array
    most_reactive: Array
    deficit_price: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a solver found for one stage; with a ``failure`` in words the arrays are not used.

    Attributes:
        turbined: m3/s ``(plants,)``.
        thermal: MW ``(units,)``.
        deficit: MW ``(loaded buses,)``.
        water_price: $/h per hm3 of ``available`` ``(plants,)``.
        nodal_price: $/MWh ``(buses,)``.
        voltage: per unit ``(buses,)``, complex; magnitudes only (angle 0) where the network model has no angles.
        failure: empty, or the solver's word.
    """

    turbined: Array
    thermal: Array
    deficit: Array
    water_price: Array
    nodal_price: Array
    voltage: Array
    failure: str = ""


class PowerStage:
    """The parts of a stage that all alternating-current networks share.

    Args:
        case: the system.
        horizon: number of stages; the last one earns the terminal value of what is left.

    Attributes:
        loaded: int, buses where power can be missing.
        inject: MW at each bus per unit of turbined flow, thermal power and deficit, ``(buses, columns)``.
        balance: hm3 ``(plants, plants)`` per m3/s: the left side of the water rows.
    """

    def __init__(self, case: Case, horizon: int):
        self.case, self.horizon = case, horizon
        hydros = case.hydros
        plants = len(hydros.names)
        self.loaded = loaded_buses(case)
        every = injection(case).toarray()
        self.inject = np.hstack([every[:, plants : 2 * plants], every[:, 3 * plants :]])
        factor, spilled_to = case.flow_to_volume, hydros.spilled_to.astype(float)
        self._from_above = np.linalg.inv(np.eye(plants) - spilled_to.T)
        self._passed = factor * self._from_above @ (hydros.turbined_to - spilled_to).T
        self.balance = factor * np.eye(plants) - self._passed
        self._upwards = list(TopologicalSorter(_receivers(case)).static_order())
        worth = case.terminal_rate
        self._worth = np.where(np.arange(horizon)[:, None] == horizon - 1, worth, 0.0)

    def numbers(
        self, stage: int, volume: Array, inflow: Array, target: Array, deficit_price: float | None = None
    ) -> Numbers:
        """Those of one stage (from 0); ``volume``, ``inflow`` and ``target`` are ``(plants,)``."""
        case = self.case
        available = self._from_above @ (volume + case.flow_to_volume * inflow - target)
        least = self.balance @ case.hydros.min_turbine
        rounding = (available < least) & (available > least - SLACK)
        most = case.thermal_limit(stage)
        least_reactive, most_reactive = reactive_range(case, stage)
        return Numbers(
            np.where(rounding, least, available),
            case.load(stage),
            reactive_load(case, stage),
            np.minimum(case.thermals.min_power, most),
            most,
            least_reactive,
            most_reactive,
            case.deficit_cost if deficit_price is None else deficit_price,
        )

    def dispatch(
        self,
        solve_one: Callable[[Numbers], Answer],
        stage: Array,
        volume: Array,
        inflow: Array,
        target: Array,
        multipliers: Array | None,
    ) -> DispatchBatch:
        """Dispatch ``N`` stages one by one; arguments, result and errors as ``interlock.domains.hydro.dispatch``."""
        case = self.case
        price = case.deficit_cost + (0.0 if multipliers is None else float(multipliers[0]))
        answers = []
        for row in range(len(stage)):
            numbers = self.numbers(int(stage[row]), volume[row], inflow[row], target[row], price)
            answer = solve_one(numbers)
            if answer.failure:
                raise _refusal(case, int(stage[row]), row, volume[row], inflow[row], target[row], numbers, answer)
            answers.append(answer)
        turbined, thermal, missing = (
            np.array([getattr(answer, name) for answer in answers]) for name in ("turbined", "thermal", "deficit")
        )
        deficit = np.zeros((len(stage), len(case.buses.names)))
        deficit[:, self.loaded] = missing
        worth = self._worth[stage]
        nodal_price = np.array([answer.nodal_price for answer in answers])
        available = (volume + case.flow_to_volume * inflow - target) @ self._from_above.T
        spilled = available - turbined @ self.balance.T
        value = np.array([answer.water_price for answer in answers]) @ self._from_above
        value = self._with_more_water(value, turbined, spilled, nodal_price)
        running = turbined @ (case.hydros.cost * case.hydros.production) + thermal @ case.thermals.cost
        return DispatchBatch(
            cost=running + case.deficit_cost * missing.sum(axis=1) - (worth * target).sum(axis=1),
            target_price=-value - worth,
            state_price=value,
            signals=deficit.sum(axis=1, keepdims=True),
            turbined=turbined,
            spilled=spilled,
            thermal=thermal,
            deficit=deficit,
            nodal_price=nodal_price,
        )

    def _with_more_water(self, price: Array, turbined: Array, spilled: Array, nodal_price: Array) -> Array:
        """Prices of water ``(N, plants)``, $/h per hm3, as they are if there were a little more of it.

        Where a plant must keep all its water, less of it is infeasible, so that a solver may answer any lower price; an
        interior point method answers a huge one. More of it is turbined or spilled, whatever is worth more.
        """
        hydros, factor = self.case.hydros, self.case.flow_to_volume
        gain = hydros.production * (nodal_price[:, hydros.bus] - hydros.cost) / factor
        fixed = price.copy()
        for plant in self._upwards:
            turbine = -gain[:, plant] + fixed @ hydros.turbined_to[plant]
            spill = fixed @ hydros.spilled_to[plant]
            turbines = turbined[:, plant] > hydros.min_turbine[plant] + SLACK / factor
            spills = spilled[:, plant] > SLACK
            given_up = np.maximum(np.where(turbines, turbine, -np.inf), np.where(spills, spill, -np.inf))
            least = np.where(turbines | spills, given_up, np.minimum(turbine, spill))
            fixed[:, plant] = np.maximum(price[:, plant], least)
        return fixed


def _receivers(case: Case) -> dict[int, list[int]]:
    """Plant -> those that receive its water."""
    links = case.hydros.turbined_to | case.hydros.spilled_to
    return {plant: [int(below) for below in np.flatnonzero(links[plant])] for plant in range(len(links))}


def _refusal(
    case: Case, stage: int, row: int, volume: Array, inflow: Array, target: Array, numbers: Numbers, answer: Answer
) -> StageInfeasible:
    """The error, with everything that is needed to solve the stage again in a file."""
    record = {
        "case": case.name,
        "case_hash": case.hash,
        "stage": stage + 1,
        "volume_hm3": volume.tolist(),
        "inflow_m3s": inflow.tolist(),
        "target_hm3": target.tolist(),
        "numbers": {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(numbers).items()
        },
        "reason": answer.failure,
    }
    try:
        label = file_label(f"{case.name}-stage-{stage + 1}")
        handle, saved = tempfile.mkstemp(prefix=f"interlock-{label}-", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
    except OSError:
        saved = ""
    return StageInfeasible(stage + 1, f"row {row} of the batch", answer.failure, saved, row)

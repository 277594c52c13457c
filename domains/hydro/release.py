"""May this dispatch be released? Everything is counted again from the case and the request, plant by plant, bus by bus.

Nothing here comes from the stage program or the reachable map: water is added up along the cascade, linear flows are
the solution of the nodal balances, and whether a deficit is necessary is asked of a program that is written here and
minimises nothing but deficit. With alternating current that question is put to the dispatch itself, with a deficit so
dear that no other cost matters, and the flows are taken from it: only what is lost on the way is checked.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.dispatch import Network
from interlock.solvers.highs import Highs
from interlock.solvers.interface import LinearProgram, Session

WATER = 1e-6
"""hm3 that a water balance may be off, or a volume outside its bounds."""
POWER = 1e-3
"""MW that a power balance may be off, or a power or flow beyond its limit."""
DEFICIT = 1e-4
"""MW of deficit that may go unexplained."""
WORTH_LOSING = 0.01
"""Share of a deficit that may stay on ``soc`` and ``ac``: where it costs less than what its transport would lose."""
LOSSES = 0.25
"""Share of the power fed in that an alternating-current network may lose before its answer is taken for wrong."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be released for one stage.

    Attributes:
        target: end volumes, hm3 ``(plants,)``.
        turbined: m3/s ``(plants,)``.
        spilled: hm3 ``(plants,)``.
        thermal: MW ``(units,)``.
        deficit: MW ``(buses,)``.
        cost: $/h.
    """

    target: Array
    turbined: Array
    spilled: Array
    thermal: Array
    deficit: Array
    cost: float


class Release:
    """The checks of a system.

    Args:
        case: the system, outages and loads of the request already in it.
        network: that the dispatch keeps to.
    """

    def __init__(self, case: Case, network: Network):
        self.case, self.network = case, network
        self.edges = _edges(case) if network == "dc" else []
        count = len(case.buses.names)
        self.island = [0] * count if network == "bus1" else _islands(count, _edges(case))
        self.turbined_links = np.argwhere(case.hydros.turbined_to).tolist()
        self.spilled_links = np.argwhere(case.hydros.spilled_to).tolist()

    def violations(
        self, stage: int, volume: Array, inflow: Array, plan: Plan, dispatched_least: Callable[[], float]
    ) -> list[str]:
        """Every rule that the plan breaks, in words with numbers; none for one that may be released.

        Args:
            stage: from 0.
            volume: at the start, hm3 ``(plants,)``.
            inflow: m3/s ``(plants,)``.
            plan: the dispatch.
            dispatched_least: MW, least deficit of any dispatch for these end volumes; asked on ``soc`` and ``ac`` only.
        """
        parts = (plan.target, plan.turbined, plan.spilled, plan.thermal, plan.deficit, [plan.cost])
        if not all(np.isfinite(part).all() for part in parts):
            return ["dispatch: holds what is not a number"]
        found = [*self._water(volume, inflow, plan), *self._units(stage, plan), *self._power(stage, plan)]
        return found or self._deficit(stage, plan, dispatched_least)

    def _water(self, volume: Array, inflow: Array, plan: Plan) -> list[str]:
        hydros, factor, found = self.case.hydros, self.case.flow_to_volume, list[str]()
        names = hydros.names
        _within(found, "end volume of", names, plan.target, hydros.min_volume, hydros.max_volume, "hm3")
        _within(found, "flow of", names, plan.turbined, hydros.min_turbine, hydros.max_turbine, "m3/s")
        _within(found, "spill of", names, plan.spilled, 0.0 * volume, 0.0 * volume + np.inf, "hm3")
        coming = volume + factor * inflow
        for giving, receiving in self.turbined_links:
            coming[receiving] += factor * plan.turbined[giving]
        for giving, receiving in self.spilled_links:
            coming[receiving] += plan.spilled[giving]
        residual = coming - plan.target - factor * plan.turbined - plan.spilled
        _within(found, "water balance of", names, residual, 0.0 * volume, 0.0 * volume, "hm3")
        return found

    def _units(self, stage: int, plan: Plan) -> list[str]:
        hydros, thermals, found = self.case.hydros, self.case.thermals, list[str]()
        limit, load = self.case.thermal_limit(stage), self.case.load(stage)
        least = np.minimum(thermals.min_power, limit)
        _within(found, "power of", thermals.names, plan.thermal, least, limit, "MW", POWER)
        most = np.maximum(load, 0.0)
        _within(found, "deficit of", self.case.buses.names, plan.deficit, 0.0 * load, most, "MW", POWER)
        cost = float(thermals.cost @ plan.thermal + self.case.deficit_cost * plan.deficit.sum())
        cost += float((hydros.cost * hydros.production) @ plan.turbined)
        if abs(cost - plan.cost) > 1e-6 * max(1.0, abs(cost)):
            found.append(f"cost: {plan.cost:.6g} $/h is told, its parts add up to {cost:.6g}")
        return found

    def _power(self, stage: int, plan: Plan) -> list[str]:
        """Balance of every island, and for linear flows every branch; elsewhere what is lost is a small share."""
        fed, load = self._fed(plan), self.case.load(stage)
        if self.network in ("soc", "ac"):
            lost, most = float((fed - load).sum()), LOSSES * float(fed.sum())
            told = f"power balance: {lost:.6g} MW are lost, expected 0 to {most:.6g}"
            return [] if -POWER <= lost <= most else [told]
        found, surplus = list[str](), fed - load
        off = np.bincount(self.island, surplus, len(load))
        _within(found, "power balance at", self.case.buses.names, off, 0.0 * load, 0.0 * load, "MW", POWER)
        if self.network == "dc" and not found:
            flow, (least, most) = self._factors @ surplus, self._limits
            _within(found, "flow of", self.case.branches.names, flow, least, most, "MW", POWER)
        return found

    def _deficit(self, stage: int, plan: Plan, dispatched_least: Callable[[], float]) -> list[str]:
        """Refuse a deficit that thermal units below their limits could have served.

        They could if, with the plan's own hydro power, thermal powers within their limits and flows within theirs, less
        deficit is enough. On a congested network some deficit may be left although units are below their limits.
        """
        total = float(plan.deficit.sum())
        thermals, limit = self.case.thermals, self.case.thermal_limit(stage)
        spare = limit - plan.thermal
        short = {self.island[b] for b in np.flatnonzero(plan.deficit > DEFICIT / len(plan.deficit))}
        able = [g for g in np.flatnonzero(spare > DEFICIT) if self.island[thermals.bus[g]] in short]
        if total <= DEFICIT or not able:
            return []
        linear = self.network in ("bus1", "dc")
        least = self._least_deficit(stage, plan) if linear else dispatched_least()
        if total <= least + (DEFICIT if linear else max(POWER, WORTH_LOSING * total)):
            return []
        names = ", ".join(f"{thermals.names[g]} by {spare[g]:.4g} MW" for g in able[:3])
        return [f"deficit: {total:.6g} MW where {least:.6g} MW are enough; below their limits are {names}"]

    def _least_deficit(self, stage: int, plan: Plan) -> float:
        """MW, with the plan's hydro power: deficits minimised, islands in balance, flows within limits."""
        case, limit, load = self.case, self.case.thermal_limit(stage), self.case.load(stage)
        given = -load.astype(float)
        np.add.at(given, case.hydros.bus, case.hydros.production * plan.turbined)
        needed, flow = -np.bincount(self.island, given, len(load)), self._factors @ given
        lower = np.concatenate([np.minimum(case.thermals.min_power, limit), np.zeros(len(load))])
        upper = np.concatenate([limit, np.maximum(load, 0.0)])
        self._shedding.change_columns(np.arange(len(upper), dtype=np.int32), lower, upper)
        low, high = (np.concatenate([needed, limits - flow]) for limits in self._limits)
        self._shedding.change_rows(np.arange(len(high), dtype=np.int32), low, high)
        self._shedding.start_from(None)
        solution = self._shedding.solve()
        return math.inf if solution.objective is None else float(solution.objective)

    @cached_property
    def _shedding(self) -> Session:
        """Thermal powers and deficits; rows are the sums of islands and the flows of branches."""
        buses, units = len(self.island), len(self.case.thermals.names)
        at_bus = np.hstack([np.eye(buses)[:, self.case.thermals.bus], np.eye(buses)])
        within = (np.arange(buses)[:, np.newaxis] == np.array(self.island)).astype(float)
        matrix = np.vstack([within @ at_bus, self._factors @ at_bus])
        row, column = np.nonzero(matrix)
        none = np.zeros(len(matrix))
        program = LinearProgram(
            cost=np.repeat([0.0, 1.0], [units, buses]),
            lower=np.zeros(units + buses),
            upper=np.zeros(units + buses),
            row_lower=none,
            row_upper=none,
            starts=np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(matrix)))]).astype(np.int32),
            columns=column.astype(np.int32),
            values=matrix[row, column],
            column_names=tuple(f"x{k}" for k in range(units + buses)),
            row_names=tuple(f"r{k}" for k in range(len(matrix))),
        )
        return Highs().open(program)

    def _fed(self, plan: Plan) -> Array:
        """MW at every bus from plants, units and unserved load."""
        hydros, thermals = self.case.hydros, self.case.thermals
        fed = plan.deficit.astype(float)
        np.add.at(fed, hydros.bus, hydros.production * plan.turbined)
        np.add.at(fed, thermals.bus, plan.thermal)
        return fed

    @cached_property
    def _limits(self) -> Array:
        """Least and largest flow ``(2, branches)``, MW."""
        return np.array([[edge.least for edge in self.edges], [edge.most for edge in self.edges]])

    @cached_property
    def _factors(self) -> Array:
        """MW on each branch per MW of surplus ``(branches, buses)``: angles that solve the nodal balances."""
        count = len(self.island)
        laplacian, angle = np.zeros((count, count)), np.zeros((count, count))
        for edge in self.edges:
            laplacian[edge.start, edge.start] += edge.stiffness
            laplacian[edge.end, edge.end] += edge.stiffness
            laplacian[edge.start, edge.end] -= edge.stiffness
            laplacian[edge.end, edge.start] -= edge.stiffness
        kept = [b for b in range(count) if self.island[b] != b]
        angle[np.ix_(kept, kept)] = np.linalg.inv(laplacian[np.ix_(kept, kept)])
        rows = [edge.stiffness * (angle[edge.start] - angle[edge.end]) for edge in self.edges]
        return np.array(rows).reshape(-1, count)


@dataclass(frozen=True, slots=True)
class Edge:
    """A branch of the linear network.

    Attributes:
        name: of the branch.
        start: index of the from bus.
        end: index of the to bus.
        stiffness: MW per radian.
        least: MW, of rate and angle limits.
        most: MW, likewise.
    """

    name: str
    start: int
    end: int
    stiffness: float
    least: float
    most: float


def _edges(case: Case) -> list[Edge]:
    branches, found = case.branches, []
    for k, name in enumerate(branches.names):
        r, x = branches.resistance[k], branches.reactance[k]
        stiffness = case.base * x / (r * r + x * x)
        least = max(-branches.rate[k], stiffness * branches.min_angle[k])
        most = min(branches.rate[k], stiffness * branches.max_angle[k])
        ends = int(branches.start[k]), int(branches.end[k])
        found.append(Edge(name, *ends, float(stiffness), float(least), float(most)))
    return found


def _islands(buses: int, edges: list[Edge]) -> list[int]:
    """The smallest bus of every bus's island."""
    island = list(range(buses))
    changed = True
    while changed:
        changed = False
        for edge in edges:
            low = min(island[edge.start], island[edge.end])
            changed |= island[edge.start] != low or island[edge.end] != low
            island[edge.start] = island[edge.end] = low
    return island


def _within(
    found: list[str], what: str, names: tuple[str, ...], values: Array, low: Array, high: Array, unit: str,
    slack: float = WATER,
) -> None:  # fmt: skip
    for k in np.flatnonzero(~((values >= low - slack) & (values <= high + slack))):
        found.append(f"{what} {names[k]}: {values[k]:.9g} {unit}, expected {low[k]:.9g} to {high[k]:.9g}")


def changed_case(case: Case, stage: int, outages: tuple[int, ...], load: Array | None) -> Case:
    """The system with further thermal units out of service in a stage (from 0), and other loads in every stage.

    Usual loads stay, so that reactive load follows.
    """
    found = replace(case, outages=(*case.outages, *((unit, stage + 1, stage + 1) for unit in outages)))
    if load is None:
        return found
    return replace(found, stage_load=load[np.newaxis])

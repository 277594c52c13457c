"""Lot sizing with hidden season and regime, and orders that arrive after a lead time, as decision rules see it.

An order is decided before the demand that it serves is seen. In the order of the stages this reads: stage 0 orders,
stage ``t`` sees the demand of period ``t``, pays for stock or backlog, and orders for what comes. Process, costs and
inputs of the rules are those of the inventory example of LearningToOptimize/DecisionRules.jl (MIT licence), which has
no lead time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from interlock.core.decision_rules.contract import StageBatch, StageSolver
from interlock.core.environment import Array
from interlock.core.multistage.stage import LinearStage, Multistage, Noise
from interlock.solvers.interface import Column, Row, linear_program

LOW = np.array([18.0, 23, 34, 49, 70, 86, 75, 57, 40, 30, 22, 17])
HIGH = np.array([44.0, 55, 81, 112, 153, 185, 164, 122, 88, 65, 49, 40])
"""Seasonal bands of the demand, units per period."""
SCALE = 100.0
"""Units of stock that networks see as 1."""


@dataclass(frozen=True)
class Inventory:
    """Costs and sizes.

    Attributes:
        periods: T.
        setup: cost of placing an order of any size.
        unit: cost per unit ordered.
        holding: cost per unit in stock at the end of a period.
        backlog: cost per unit owed at the end of a period.
        capacity: largest order.
        initial: units in stock at the start.
        lead_time: periods after which an order arrives; with 0 it serves the demand that is seen next.
    """

    periods: int = 12
    setup: float = 0.0
    unit: float = 2.0
    holding: float = 1.0
    backlog: float = 25.0
    capacity: float = 350.0
    initial: float = 30.0
    lead_time: int = 0


def demand_paths(count: int, periods: int, generator: np.random.Generator) -> Array:
    """``(count, periods)``: a season of unknown phase, a regime that rarely changes, and an autoregressive shock."""
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    phase = generator.integers(12, size=count)
    regime = generator.integers(-1, 2, size=count)
    shock = np.zeros(count)
    demand = np.empty((count, periods))
    for t in range(periods):
        season = (t + phase) % 12
        redrawn = generator.random(count) < 0.04
        regime = np.where(redrawn, generator.integers(-1, 2, size=count), regime)
        shock = 0.92 * shock + 0.35 * generator.normal(size=count)
        level = 0.85 * regime + 0.42 * shock + 0.12 * generator.normal(size=count)
        demand[:, t] = np.clip(middle[season] + half[season] * level, 5.0, HIGH[season] + 0.55 * half[season])
    return demand


class InventoryRules:
    """Implements ``interlock.core.decision_rules.contract.DecisionProgram``.

    The state is the stock before the next demand, then the orders on their way, the next one to arrive first. Noise is
    the demand and the largest order of the stage: orders that would arrive too late are not allowed. A raw number is
    the order-up-to level of stock and orders together, ``REFERENCE`` periods of mean demand at 0.

    Args:
        inventory: costs and sizes.
        solver: opens a ``StageSolver`` for the linear stages; ``None`` for the closed form.
        clock: whether rules also see how much of the horizon has passed.
    """

    def __init__(
        self,
        inventory: Inventory,
        solver: Callable[[Multistage], StageSolver] | None = None,
        *,
        clock: bool = False,
    ):
        self.inventory, self._solver, self.clock = inventory, solver, clock
        self.stages = inventory.periods + 1
        self.initial_state = np.zeros(1 + inventory.lead_time)
        self.initial_state[0] = inventory.initial
        self.state_scale = np.full(1 + inventory.lead_time, SCALE)
        self.limits = self.signal_prices = np.zeros(0)
        self.reference = 1.5 * (1 + inventory.lead_time) * float((LOW + HIGH).mean() / 2)

    def paths(self, count: int, generator: Any) -> Array:
        """Demand and largest order ``(count, T + 1, 2)``; nothing is asked for in stage 0."""
        noise = np.zeros((count, self.stages, 2))
        noise[:, 1:, 0] = demand_paths(count, self.inventory.periods, generator)
        noise[:, : self.stages - 1 - self.inventory.lead_time, 1] = self.inventory.capacity
        return noise

    def features(self, noise: Array) -> Array:
        """The last two demands, and the clock if there is one: ``(n, T + 1, 2 or 3)``."""
        demand = noise[:, :, :1] / SCALE
        before = np.concatenate([np.zeros_like(demand[:, :1]), demand[:, :-1]], axis=1)
        time = np.broadcast_to(np.linspace(0.0, 1.0, self.stages)[: noise.shape[1], None], demand.shape)
        return np.concatenate([demand, before, time] if self.clock else [demand, before], axis=2)

    def reach(self, xp: ModuleType, raw: Any, state: Any, noise: Any) -> Any:
        """The next state if stock and orders are filled up to ``reference * (1 + raw)``, as far as allowed."""
        left = state[:, :1] - noise[:, :1]
        position = left + state[:, 1:].sum(1)[:, None]
        wanted = xp.clip(self.reference * (1.0 + raw[:, -1:]) - position, 0.0, None)
        order = xp.minimum(wanted, noise[:, 1:])
        if not self.inventory.lead_time:
            return left + order
        return xp.concatenate([left + state[:, 1:2], state[:, 2:], order], 1)

    def solver(self) -> StageSolver:
        """Linear programs, or the closed form; setups are added to either."""
        inner = self._solver(self.multistage()) if self._solver else ClosedForm(self)
        return WithSetups(self, inner) if self.inventory.setup else inner

    def quick_cost(self) -> None:
        """None: the programs themselves are to be used."""
        return None

    def multistage(self, sample: int = 50) -> Multistage:
        """The linear stages, without setups; their noise is a fixed sample of the demands of each period."""
        first, other = _stage(self.inventory, first=True), _stage(self.inventory, first=False)
        drawn = self.paths(sample, np.random.default_rng(0))
        noises = [Noise(drawn[:, t], np.full(sample, 1 / sample)) for t in range(self.stages)]
        return Multistage((first, *[other] * self.inventory.periods), tuple(noises), self.initial_state)

    def ordered(self, state: Array, noise: Array, target: Array) -> Array:
        """``(N,)``, the orders that lead to targets ``(N, s)``."""
        if self.inventory.lead_time:
            orders: Array = target[:, -1]
            return orders
        return np.asarray(target[:, 0] - state[:, 0] + noise[:, 0])


class ClosedForm:
    """A ``StageSolver`` for the linear stages: with a strict target nothing is left to decide."""

    def __init__(self, rules: InventoryRules):
        self.rules = rules

    def solve(
        self, stage: Array, state: Array, noise: Array, target: Array, multipliers: Array | None = None
    ) -> StageBatch:
        """See ``StageSolver``."""
        costs, late = self.rules.inventory, self.rules.inventory.lead_time > 0
        left = state[:, 0] - noise[:, 0]
        begun = stage > 0
        slope = begun * np.where(left > 0, costs.holding, -costs.backlog)
        target_price, state_price = np.zeros_like(target), np.zeros_like(state)
        target_price[:, -1] = costs.unit
        state_price[:, 0] = slope if late else slope - costs.unit
        cost = costs.unit * self.rules.ordered(state, noise, target) + slope * left
        return StageBatch(cost, target_price, state_price, np.zeros((len(cost), 0)))

    def state(self) -> dict[str, Array]:
        """Nothing."""
        return {}

    def restore(self, state: Any) -> None:
        """Nothing."""


class WithSetups:
    """Setups on top of linear stages: whether an order is placed follows from the target, and prices are those with it.

    The binary of a setup is fixed where the target puts it, so prices do not see that a smaller order may save one; the
    score function does.
    """

    def __init__(self, rules: InventoryRules, inner: StageSolver):
        self.rules, self.inner = rules, inner

    def solve(
        self, stage: Array, state: Array, noise: Array, target: Array, multipliers: Array | None = None
    ) -> StageBatch:
        """See ``StageSolver``."""
        found = self.inner.solve(stage, state, noise, target, multipliers)
        placed = self.rules.ordered(state, noise, target) > 1e-6
        cost = found.cost + self.rules.inventory.setup * placed
        return StageBatch(cost, found.target_price, found.state_price, found.signals)

    def state(self) -> dict[str, Array]:
        """That of the linear stages."""
        return self.inner.state()

    def restore(self, state: Any) -> None:
        """That of the linear stages."""
        self.inner.restore(state)


def _stage(inventory: Inventory, *, first: bool) -> LinearStage:
    late = inventory.lead_time
    names = ["stock", *(f"on_way[{k + 1}]" for k in range(late))]
    columns = {name: Column(lower=-np.inf if name == "stock" else 0.0) for name in names}
    columns["order"] = Column(cost=inventory.unit, upper=inventory.capacity)
    columns["unused"] = Column()
    columns["over"] = Column(cost=0.0 if first else inventory.holding)
    columns["short"] = Column(cost=0.0 if first else inventory.backlog)
    rows = {"left": Row({"over": 1.0, "short": -1.0}, 0.0, 0.0)}
    rows["largest"] = Row({"order": 1.0, "unused": 1.0}, 0.0, 0.0)
    rows["stock"] = Row({"stock": 1.0} if late else {"stock": 1.0, "order": -1.0}, 0.0, 0.0)
    for k in range(late):
        last = k == late - 1
        rows[names[1 + k]] = Row({names[1 + k]: 1.0, "order": -1.0} if last else {names[1 + k]: 1.0}, 0.0, 0.0)
    by_state, by_noise = np.zeros((3 + late, 1 + late)), np.zeros((3 + late, 2))
    by_state[[0, 2], 0] = 1.0
    by_state[2 + np.arange(late), 1 + np.arange(late)] = 1.0  # what is on its way comes one period nearer
    by_noise[[0, 2], 0], by_noise[1, 1] = -1.0, 1.0
    return LinearStage(
        linear_program(columns, rows),
        state=np.arange(1 + late),
        rows=np.arange(3 + late),
        offset=np.zeros(3 + late),
        by_state=by_state,
        by_noise=by_noise,
    )

"""Lot sizing with hidden season and regime: decision rules beside base stock, dynamic programming and hindsight.

``python benchmarks/inventory.py [relaxed|integer|lead_time ...] [--record]``. About ten CPU minutes. All policies play
the same 300 test paths, which no training saw. Published figures are those of the inventory example of
LearningToOptimize/DecisionRules.jl on 300 paths of its own from the same process, with the same costs:

- without setups: SDDP 2434.0, two-stage rules 2610.6 (LSTM) and 2667.3 (MLP);
- with setups: SDDP 5871.6, two-stage rules 8015.8 (setups fixed) and 8268.0 (mixed gradient), base stock 9035.6.

Its SDDP takes the demand for a periodic autoregressive process, fitted to paths of the true one. Here the same model is
solved exactly, by dynamic programming on a grid, with and without setups: ``autoregressive``. It is no bound, for it
knows the last demand only, while a recurrent rule finds out about season and regime. Hindsight is one.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize, sparse
from scipy.ndimage import map_coordinates

from interlock.core.decision_rules.config import RuleConfig
from interlock.core.decision_rules.inventory import Inventory, InventoryRules, demand_paths
from interlock.core.decision_rules.program_problem import ProgramProblem
from interlock.core.environment import Array
from interlock.core.multistage.stacked import stack

PATHS = 300
PUBLISHED = {"relaxed": 2434.0, "integer": 5871.6}
STOCK, DEMAND = np.arange(-400.0, 701.0, 5.0), np.arange(-60.0, 341.0, 10.0)
"""Grid of the dynamic program: net stock and last demand."""
MIXED = {"price_weight": 0.5, "deviation": (0.1, 1.0), "rollouts": (2, 8), "begin": 200, "ramp": 300}
"""The published schedule; deviations are of raw numbers, 1 for 105 units of the order-up-to level."""
SCORE = {"price_weight": 0.0, "deviation": (0.5, 0.15), "rollouts": (8, 8), "begin": 0, "ramp": 50}
RELAXED = {"updates": 400, "batch": 32, "learning_rate": 0.01}
INTEGER = {"updates": 800, "batch": 32, "learning_rate": 0.01}
SEEDS = [0, 1, 2]


def problem_of(inventory: Inventory, *, programs: bool = False) -> ProgramProblem:
    """The problem, its stages priced by linear programs or in closed form (the tests show that both agree)."""
    from interlock.core.decision_rules.linear_stages import LinearStages
    from interlock.core.scenario import Scenario
    from interlock.solvers.highs import Highs

    rules = InventoryRules(inventory, (lambda stages: LinearStages(stages, Highs())) if programs else None)
    evaluation = {"test_instances": PATHS, "validation_instances": 500, "num_envs": 100}
    scenario = Scenario.model_validate({"domain": "inventory", "name": "inventory", "evaluation": evaluation})
    return ProgramProblem(rules, rules.multistage(), Highs(), scenario)


def test_paths(problem: ProgramProblem) -> Array:
    """``(300, T + 1, k)``."""
    seed = problem.scenario.evaluation.test_seed
    return np.array([problem.path(seed, "test", k) for k in range(PATHS)])


def trained(problem: ProgramProblem, seed: int, **settings: Any) -> tuple[float, float]:
    """Mean cost on the test paths, and CPU seconds of the training."""
    from interlock.core.decision_rules.method import train
    from interlock.core.evaluation.protocol import play
    from interlock.core.training import MemoryRun

    class Quiet(MemoryRun):
        def checkpoint_due(self) -> bool:
            return False

    started = time.process_time()
    policy = train(problem, RuleConfig.model_validate(settings), Quiet(seed=seed))
    seconds = time.process_time() - started
    return float(play(problem, policy, split="test", count=PATHS).objective.mean()), seconds


def base_stock(inventory: Inventory) -> tuple[float, Callable[[Array], Array]]:
    """The best constant order-up-to level on 2000 training paths, and the costs ``(n,)`` of paths under it."""
    rules = InventoryRules(inventory)
    seen = rules.paths(2000, np.random.default_rng(1))

    def costs(level: float, noise: Array) -> Array:
        solver, total = rules.solver(), np.zeros(len(noise))
        state = np.tile(rules.initial_state, (len(noise), 1))
        raw = np.full_like(state, level / rules.reference - 1.0)
        for t in range(rules.stages):
            target = rules.reach(np, raw, state, noise[:, t])
            total += solver.solve(np.full(len(noise), t), state, noise[:, t], target).cost
            state = target
        return total

    best = min(np.arange(50.0, 600.0, 5.0), key=lambda level: costs(level, seen).mean())
    return float(best), lambda noise: costs(best, noise)


class Autoregressive:
    """``d' = mean + a (d - mean) + w`` with nine outcomes of ``w``, fitted to paths and solved on a grid.

    Args:
        inventory: without a lead time.
    """

    def __init__(self, inventory: Inventory):
        self.inventory, periods = inventory, inventory.periods
        paths = demand_paths(10_000, periods, np.random.default_rng(123))
        self.mean = paths.mean(axis=0)
        before, after = (paths[:, :-1] - self.mean[:-1]).ravel(), (paths[:, 1:] - self.mean[1:]).ravel()
        self.slope = float(before @ after / (before @ before))
        self.outcomes = np.quantile(after - self.slope * before, (np.arange(9) + 0.5) / 9)
        value = np.zeros((len(STOCK), len(DEMAND)))
        self.after_order: list[
            Array
        ] = []  # of each period, expected cost with a stock after ordering and a last demand
        for t in reversed(range(periods)):
            demand = self.mean[t] + self.slope * (DEMAND[:, None] - self.mean[t - 1]) + self.outcomes
            left = STOCK[:, None, None] - demand
            place = np.broadcast_to((demand - DEMAND[0]) / 10.0, left.shape)
            later = map_coordinates(value, [(left - STOCK[0]) / 5.0, place], order=1, mode="nearest")
            expected = (self._stock_cost(left) + later).mean(axis=2)
            order = STOCK[None, :] - STOCK[:, None]
            value = (self._order_cost(order)[:, :, None] + expected[None]).min(axis=1)
            self.after_order.insert(0, expected)

    def costs(self, demand: Array) -> Array:
        """``(n,)`` of true demands ``(n, T)``: in every period the best order for what the model expects."""
        rows = np.arange(len(demand))
        stock, last, total = np.full(len(demand), self.inventory.initial), np.full(len(demand), self.mean[0]), 0.0
        for t, expected in enumerate(self.after_order):
            place = np.broadcast_to((last - DEMAND[0]) / 10.0, (len(STOCK), len(rows)))
            level = np.broadcast_to(np.arange(len(STOCK))[:, None], place.shape)
            ahead = map_coordinates(expected, [level, place], order=1, mode="nearest")
            idle = map_coordinates(expected, [(stock - STOCK[0]) / 5.0, place[0]], order=1, mode="nearest")
            order = STOCK[:, None] - stock
            whole = np.where(order > 0, self._order_cost(order) + ahead, np.inf)
            best = whole.argmin(axis=0)
            placed = np.where(whole[best, rows] < idle, order[best, rows], 0.0)
            stock, last = stock + placed - demand[:, t], demand[:, t]
            total = total + self._order_cost(placed) + self._stock_cost(stock)
        return np.asarray(total)

    def _order_cost(self, order: Array) -> Array:
        cost = self.inventory.unit * order + self.inventory.setup * (order > 0)
        return np.where((order >= 0) & (order <= self.inventory.capacity), cost, np.inf)

    def _stock_cost(self, stock: Array) -> Array:
        return self.inventory.holding * np.maximum(stock, 0) + self.inventory.backlog * np.maximum(-stock, 0)


def hindsight(rules: InventoryRules, noise: Array) -> Array:
    """``(n,)``, the least cost of paths that are known from the start, setups included."""
    stacked = stack(rules.multistage().stages)
    program, stages, capacity = stacked.program, rules.stages, rules.inventory.capacity
    orders = np.array([k for k, name in enumerate(program.column_names) if name.startswith("order@")])
    shape = (len(program.row_lower), len(program.cost))
    matrix = sparse.csr_matrix((program.values, program.columns, program.starts), shape=shape)
    link = sparse.csr_matrix((np.ones(stages), (np.arange(stages), orders)), shape=(stages, shape[1]))
    whole = sparse.block_array([[matrix, None], [link, -capacity * sparse.eye_array(stages)]]).tocsr()
    found = []
    for path in noise:
        row_lower, row_upper = program.row_lower.copy(), program.row_upper.copy()
        row_lower[stacked.rows] = row_upper[stacked.rows] = stacked.right_hand_side(rules.initial_state, path)
        lower, upper = np.append(row_lower, np.full(stages, -np.inf)), np.append(row_upper, np.zeros(stages))
        answer = optimize.milp(
            np.append(program.cost, np.full(stages, rules.inventory.setup)),
            integrality=np.append(np.zeros(shape[1]), np.ones(stages)),
            bounds=optimize.Bounds(
                np.append(program.lower, np.zeros(stages)), np.append(program.upper, np.ones(stages))
            ),
            constraints=optimize.LinearConstraint(whole, lower, upper),
            options={"mip_rel_gap": 1e-6},
        )
        found.append(answer.fun)
    return np.array(found)


def told(name: str, cost: float, reference: float) -> float:
    """Print a cost, and give what it is above the reference in percent."""
    above = 100 * (cost / reference - 1)
    print(f"{name:42s} {cost:8.1f}  {above:+6.1f} % over the reference", flush=True)
    return above


def rule_row(name: str, problem: ProgramProblem, reference: float, **settings: Any) -> float:
    """Train with all seeds; the largest excess over the reference in percent."""
    excess = []
    for seed in SEEDS:
        cost, seconds = trained(problem, seed, **settings)
        excess.append(told(f"{name}, seed {seed} ({seconds:.0f} CPU s)", cost, reference))
    return max(excess)


def relaxed() -> dict[str, tuple[float, str]]:
    """Without setups."""
    inventory = Inventory()
    problem, quick = problem_of(inventory, programs=True), problem_of(inventory)
    noise = test_paths(problem)
    reference = float(Autoregressive(inventory).costs(noise[:, 1:, 0]).mean())
    told("autoregressive dynamic program", reference, reference)
    told("published SDDP, its own paths", PUBLISHED["relaxed"], reference)
    level, costs = base_stock(inventory)
    told(f"base stock {level:.0f}", float(costs(noise).mean()), reference)
    told("hindsight, a bound", float(hindsight(problem.program, noise).mean()), reference)
    lstm = rule_row("LSTM 16, prices of programs", problem, reference, encoder=16, head=(), training=RELAXED)
    mlp = rule_row("MLP 32-24", quick, reference, encoder=0, head=(32, 24), training=RELAXED)
    return {
        "inventory_reference": (100 * (reference / PUBLISHED["relaxed"] - 1), "%"),
        "inventory_lstm": (lstm, "%"),
        "inventory_mlp": (mlp, "%"),
    }


def integer() -> dict[str, tuple[float, str]]:
    """With setups."""
    inventory = Inventory(setup=500.0)
    problem = problem_of(inventory)
    noise = test_paths(problem)
    reference = float(Autoregressive(inventory).costs(noise[:, 1:, 0]).mean())
    told("autoregressive dynamic program", reference, reference)
    told("published SDDP, its own paths", PUBLISHED["integer"], reference)
    level, costs = base_stock(inventory)
    stock = float(costs(noise).mean())
    told(f"base stock {level:.0f}", stock, reference)
    told("hindsight, a bound", float(hindsight(problem.program, noise).mean()), reference)
    fixed = trained(problem, 0, encoder=16, head=(24,), training=INTEGER)[0]
    told("LSTM, prices alone, setups fixed, seed 0", fixed, reference)
    mixed = rule_row("LSTM, mixed", problem, reference, encoder=16, head=(24,), training=INTEGER, score=MIXED)
    score = rule_row("LSTM, score alone", problem, reference, encoder=16, head=(32, 24), training=INTEGER, score=SCORE)
    return {
        "inventory_base_stock": (100 * (stock / 9035.6 - 1), "%"),
        "inventory_integer": (mixed, "%"),
        "inventory_integer_score": (score, "%"),
    }


def lead_time() -> dict[str, tuple[float, str]]:
    """Orders that arrive two periods later, against the tuned base stock."""
    inventory = Inventory(lead_time=2)
    problem = problem_of(inventory)
    noise = test_paths(problem)
    level, costs = base_stock(inventory)
    reference = float(costs(noise).mean())
    told(f"base stock {level:.0f}", reference, reference)
    told("hindsight, a bound", float(hindsight(problem.program, noise).mean()), reference)
    row = rule_row("LSTM 16", problem, reference, encoder=16, head=(), training=RELAXED)
    return {"inventory_lead_time": (row, "%")}


PARTS = {"relaxed": relaxed, "integer": integer, "lead_time": lead_time}


def main() -> int:
    """Run the parts that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--record", action="store_true", help="write the figures into core/results.json")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    for name in options.parts or PARTS:
        started = time.process_time()
        for row, (value, unit) in PARTS[name]().items():
            print(f"{row} = {value:.2f} {unit}")
            if options.record:
                from interlock.scenarios.record import record_row

                command = f"python benchmarks/inventory.py {name} --record"
                print(record_row("core", row, value=value, unit=unit, command=command, seeds=SEEDS))
        print(f"{name}: {time.process_time() - started:.0f} CPU s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

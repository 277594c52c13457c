"""All stages at once against a program written by hand, prices against differences, and the bound it gives."""

import numpy as np
import pytest
from scipy.optimize import linprog
from small_multistage import path_of, reservoirs

from interlock.core.errors import StageInfeasible
from interlock.core.multistage.stacked import perfect_information, softened, stack
from interlock.solvers.highs import Highs

PENALTY = 60.0


def by_hand(multistage, path, targets=None, penalty=PENALTY):
    """The least cost of a path, from dense matrices written column by column for scipy's own interface."""
    stages, extra = len(path), 4 if targets is not None else 0
    width = 9 + extra
    cost, bounds = np.zeros(stages * width), []
    left, right = [], []
    for t, stage in enumerate(multistage.stages):
        program = stage.program
        cost[t * width : t * width + 9] = program.cost
        bounds += list(zip(program.lower, program.upper, strict=True))
        column = {name: t * width + j for j, name in enumerate(program.column_names)}
        before = {name: (t - 1) * width + j for j, name in enumerate(program.column_names)}
        for r, (state, flow, spill) in enumerate((("v1", "q1", "s1"), ("v2", "q2", "s2"))):
            row = np.zeros(stages * width)
            row[[column[state], column[flow], column[spill]]] = 1
            if r == 1:
                row[column["q1"]] = -1
            if t > 0:
                row[before[state]] = -1
            left.append(row)
            right.append(path[t, r] + (multistage.initial_state[r] if t == 0 else 0))
        row = np.zeros(stages * width)
        for name, share in (("q1", 1), ("q2", 0.7), ("cheap", 1), ("dear", 1), ("unserved", 1)):
            row[column[name]] = share
        left.append(row)
        right.append(program.row_lower[2])
        if targets is not None:
            cost[t * width + 9 : (t + 1) * width] = penalty
            bounds += [(0, None)] * 4
            for r, state in enumerate(("v1", "v2")):
                row = np.zeros(stages * width)
                row[column[state]], row[t * width + 9 + r], row[t * width + 11 + r] = 1, 1, -1
                left.append(row)
                right.append(targets[t, r])
    found = linprog(cost, A_eq=np.array(left), b_eq=np.array(right), bounds=bounds, method="highs-ipm")
    assert found.status == 0
    return found.fun


def test_the_optimum_of_a_path_is_that_of_the_program_written_by_hand():
    multistage, rng = reservoirs(6), np.random.default_rng(1)
    paths = np.array([path_of(multistage, rng) for _ in range(5)])
    found = perfect_information(multistage, Highs(), paths)
    np.testing.assert_allclose(found, [by_hand(multistage, path) for path in paths], rtol=1e-8)


def test_targets_that_may_be_missed_at_a_price():
    multistage, rng = reservoirs(5, seed=3), np.random.default_rng(2)
    stacked = stack([softened(stage, PENALTY) for stage in multistage.stages])
    session = Highs().open(stacked.program)
    for _ in range(5):
        path, targets = path_of(multistage, rng), rng.random((5, 2)) * [10, 5]
        solution = stacked.solve(session, multistage.initial_state, np.hstack([path, targets]))
        assert solution.objective == pytest.approx(by_hand(multistage, path, targets), rel=1e-8)
        assert stacked.costs(solution.x).sum() == pytest.approx(solution.objective, rel=1e-10)


def test_prices_of_noise_targets_and_states_are_derivatives_by_differences():
    multistage, rng, step = reservoirs(4, seed=5), np.random.default_rng(4), 1e-5
    stacked = stack([softened(stage, PENALTY) for stage in multistage.stages])
    session = Highs().open(stacked.program)
    start, smooth = multistage.initial_state, 0

    def value(state, noise):
        return stacked.solve(session, state, noise).objective

    for _ in range(20):
        noise = np.hstack([path_of(multistage, rng), rng.random((4, 2)) * [8, 4]])
        solution = stacked.solve(session, start, noise)
        price, first = stacked.noise_price(solution.row_duals), stacked.state_price(solution.row_duals)[0]
        for t, k in np.ndindex(noise.shape):
            move = np.zeros_like(noise)
            move[t, k] = step
            up = (value(start, noise + move) - solution.objective) / step
            down = (solution.objective - value(start, noise - move)) / step
            assert down - 1e-5 <= price[t, k] <= up + 1e-5
            smooth += abs(up - down) < 1e-6
        for r in range(2):
            move = step * np.eye(2)[r]
            change = (value(start + move, noise) - value(start - move, noise)) / (2 * step)
            assert first[r] == pytest.approx(change, abs=1e-4)
    assert smooth > 250


def test_states_costs_and_signals_are_read_stage_by_stage():
    multistage = reservoirs(3, signals=True)
    path = np.zeros((3, 2))
    stacked = stack(multistage.stages)
    x = stacked.solve(Highs().open(stacked.program), multistage.initial_state, path).x
    names = list(stacked.program.column_names)
    for t in range(3):
        assert stacked.states(x)[t].tolist() == [x[names.index(f"v1@{t + 1}")], x[names.index(f"v2@{t + 1}")]]
        assert stacked.signals(x)[t] == pytest.approx([x[names.index(f"unserved@{t + 1}")]])
    assert stacked.signals(x).sum() > 0


def test_a_path_without_solution_is_named():
    multistage = reservoirs(2)
    with pytest.raises(StageInfeasible, match="path 2"):
        perfect_information(multistage, Highs(), np.array([np.ones((2, 2)), np.full((2, 2), -9.0)]))

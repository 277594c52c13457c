"""Stages with strict targets against dense programs, prices against differences, threads against each other."""

import numpy as np
import pytest
from scipy.optimize import linprog
from small_multistage import ReservoirProgram

from interlock.core.decision_rules.linear_stages import LinearStages
from interlock.core.errors import StageInfeasible
from interlock.solvers.highs import Highs

STAGES = 5


@pytest.fixture(scope="module")
def program():
    return ReservoirProgram(STAGES, seed=7, signals=True)


def batch(program, count, seed=0):
    """Stages, states, noise and reachable targets."""
    rng = np.random.default_rng(seed)
    state, noise = rng.random((count, 2)) * [8, 4], 4 * rng.random((count, 2))
    target = program.reach(np, 2 * rng.normal(size=(count, 2)), state, noise)
    return rng.integers(STAGES, size=count), state, noise, target


def by_hand(program, stage, state, noise, target, weight=0.0):
    """One stage as a dense program for scipy's interior point method."""
    data = program.multistage.stages[stage].program
    names = data.column_names
    rows = np.zeros((5, 9))
    for r, (volume, flow, spill) in enumerate((("v1", "q1", "s1"), ("v2", "q2", "s2"))):
        rows[r, [names.index(volume), names.index(flow), names.index(spill)]] = 1
        rows[3 + r, names.index(volume)] = 1
    rows[1, names.index("q1")] = -1
    for name, share in (("q1", 1), ("q2", 0.7), ("cheap", 1), ("dear", 1), ("unserved", 1)):
        rows[2, names.index(name)] = share
    level = np.concatenate([state + noise, [data.row_lower[2]], target])
    cost = data.cost + weight * (np.array(names) == "unserved")
    bounds = list(zip(data.lower, data.upper, strict=True))
    found = linprog(cost, A_eq=rows, b_eq=level, bounds=bounds, method="highs-ipm")
    assert found.status == 0
    return found.fun, found.x[names.index("unserved")]


def test_costs_and_signals_are_those_of_the_dense_program(program):
    rows = batch(program, 40)
    for weight in (0.0, 5.0):
        found = program.solver().solve(*rows, multipliers=np.array([weight]))
        expected = [by_hand(program, *(part[k] for part in rows), weight=weight) for k in range(40)]
        values = found.cost + weight * found.signals[:, 0]
        np.testing.assert_allclose(values, [value for value, _ in expected], rtol=1e-8)
        np.testing.assert_allclose(found.signals[:, 0], [unserved for _, unserved in expected], atol=1e-6)


def test_prices_are_central_differences_at_fifty_smooth_points(program):
    solver, step, smooth = program.solver(), 1e-4, 0
    rows = batch(program, 120, seed=1)
    base = solver.solve(*rows)

    def cost(which, r, sign):
        moved = [part.copy() for part in rows]
        moved[which][:, r] += sign * step
        inside = (moved[3] >= 0).all(axis=1) & (moved[3] <= program.state_scale).all(axis=1)
        moved[which][~inside] = rows[which][~inside]
        return solver.solve(*moved).cost, inside

    for which, price in ((1, base.state_price), (3, base.target_price)):
        for r in range(2):
            (up, fine), (down, well) = cost(which, r, 1), cost(which, r, -1)
            differentiable = fine & well & (np.abs(up + down - 2 * base.cost) < 1e-9)
            np.testing.assert_allclose(
                price[differentiable, r], (up - down)[differentiable] / (2 * step), rtol=1e-5, atol=1e-7
            )
            smooth += differentiable.sum()
    assert smooth >= 50 * 4


def test_neither_threads_nor_earlier_batches_change_an_answer(program):
    rows, other = batch(program, 300, seed=2), batch(program, 100, seed=3)
    one = LinearStages(program.multistage, Highs(), chunk=16)
    two = LinearStages(program.multistage, Highs(), chunk=16, threads=2)
    expected = one.solve(*rows)
    two.solve(*other, multipliers=np.array([3.0]))
    one.solve(*other)
    for solver in (one, two):
        again = solver.solve(*rows)
        for name in ("cost", "target_price", "state_price", "signals"):
            assert np.array_equal(getattr(again, name), getattr(expected, name)), name


def test_a_target_that_cannot_be_met_is_named(program):
    stage, state, noise, target = batch(program, 3)
    solver = program.solver()
    stage[1], target[1] = 3, [8.0, 4.0]
    state[1] = noise[1] = 0.5
    with pytest.raises(StageInfeasible, match="stage 4, row 2 of the batch"):
        solver.solve(stage, state, noise, target)
    target[1] = [-0.5, 0.0]
    with pytest.raises(StageInfeasible, match="out of the bounds"):
        solver.solve(stage, state, noise, target)
    solver.solve(*batch(program, 3))

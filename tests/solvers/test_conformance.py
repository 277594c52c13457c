"""The suite passes every solver that comes with the package, and finds what is wrong with broken ones."""

from dataclasses import replace

import numpy as np
import pytest

from interlock.scenarios import plugins
from interlock.solvers.conformance import CHECKS, check_solver
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Abilities, LinearProgram, Solution, linear_part
from interlock.solvers.known import best_whole, dense_rows, known_integer, known_linear, known_quadratic
from interlock.solvers.rebuilding import RebuildingSession

OURS = ("highs", "pyomo", "clarabel", "casadi", "cpsat")


@pytest.mark.parametrize("name", OURS)
def test_our_solvers_keep_the_contract(name):
    try:
        solver = plugins.load("solvers", name)
    except plugins.NotInstalled as error:
        pytest.skip(str(error))
    results = check_solver(solver)
    assert [result for result in results if result.passed is False] == []
    assert [result.name for result in results] == list(CHECKS)
    assert sum(result.passed is True for result in results) >= 7


@pytest.mark.parametrize("seed", range(30))
def test_known_programs_satisfy_the_conditions_of_optimality(seed):
    for known in (known_linear(seed), known_quadratic(seed), known_linear(seed, 3)):
        linear = linear_part(known.program)
        matrix, gradient = dense_rows(linear), linear.cost.copy()
        if linear is not known.program:
            part = known.program
            hessian = np.zeros((len(gradient), len(gradient)))
            hessian[part.rows, part.columns] = hessian[part.columns, part.rows] = part.values
            sign = 1 if linear.sense == "minimise" else -1
            assert np.linalg.eigvalsh(sign * hessian).min() > 0
            gradient += hessian @ known.x
        np.testing.assert_allclose(gradient, matrix.T @ known.row_duals + known.reduced_costs, atol=1e-9)
        sign = 1 if linear.sense == "minimise" else -1
        for value, price, low, high in (
            (known.x, known.reduced_costs, linear.lower, linear.upper),
            (matrix @ known.x, known.row_duals, linear.row_lower, linear.row_upper),
        ):
            assert (value >= low - 1e-12).all()
            assert (value <= high + 1e-12).all()
            for side, bound in ((1, low), (-1, high)):
                active = (sign * side * price > 0) & (low < high)
                np.testing.assert_allclose(value[active], bound[active], atol=1e-12)
            assert (np.minimum(value - low, high - value)[price == 0] >= 0.4).all()


def test_known_programs_are_of_many_kinds():
    programs = [known_linear(seed).program for seed in range(20)]
    assert {program.sense for program in programs} == {"minimise", "maximise"}
    assert any((program.row_lower == program.row_upper).any() for program in programs)
    assert any((np.isinf(program.lower) & np.isinf(program.upper)).any() for program in programs)
    assert any((np.isfinite(program.row_lower) & (program.row_lower < program.row_upper)).any() for program in programs)
    assert all(np.isfinite(best_whole(known_integer(seed).program)) for seed in range(20))


class Changed:
    """HiGHS with one fault."""

    abilities = Highs.abilities

    def solve(self, program, *, time_limit=None):
        return Highs().solve(program, time_limit=time_limit)

    def open(self, program):
        return RebuildingSession(self, program)


class OtherSigns(Changed):
    def solve(self, program, *, time_limit=None):
        found = super().solve(program, time_limit=time_limit)
        return found if found.row_duals is None else replace(found, row_duals=-found.row_duals)


class NoReducedCosts(Changed):
    def solve(self, program, *, time_limit=None):
        return replace(super().solve(program, time_limit=time_limit), reduced_costs=None)


class NoUpperBounds(Changed):
    def solve(self, program, *, time_limit=None):
        if not isinstance(program, LinearProgram):
            return super().solve(program, time_limit=time_limit)
        free = replace(program, upper=np.where(np.isfinite(program.upper), program.upper + 1, np.inf))
        return super().solve(free, time_limit=time_limit)


class NoLimit(Changed):
    def solve(self, program, *, time_limit=None):
        return super().solve(program)


class NeverInfeasible(Changed):
    def solve(self, program, *, time_limit=None):
        found = super().solve(program, time_limit=time_limit)
        return replace(found, status="failed") if found.status == "infeasible" else found


class AlwaysInfeasible(Changed):
    def solve(self, program, *, time_limit=None):
        found = super().solve(program, time_limit=time_limit)
        return replace(found, status="infeasible") if found.status == "unbounded" else found


class Random(Changed):
    def solve(self, program, *, time_limit=None):
        found = super().solve(program, time_limit=time_limit)
        return found if found.x is None else replace(found, x=found.x + 1e-9 * np.random.default_rng().random())


class Relaxed(Changed):
    """Declares that it knows no integers, and ignores them."""

    abilities = Abilities()

    def solve(self, program, *, time_limit=None):
        return super().solve(replace(linear_part(program), integer=None), time_limit=time_limit)


class Forgetful(Changed):
    def open(self, program):
        session = RebuildingSession(self, program)
        session.change_costs = lambda columns, cost: None
        return session


class KeepsRows(Changed):
    def open(self, program):
        session = RebuildingSession(self, program)
        session.remove_rows = lambda rows: None
        return session


class Stale(Changed):
    """Its session knows what the program is now and answers for what it was."""

    def open(self, program):
        session, first = RebuildingSession(self, program), self.solve(program)
        session.solve = lambda *, time_limit=None: first
        return session


class Writes(Changed):
    def solve(self, program, *, time_limit=None):
        linear_part(program).cost[:] = 0.0
        return Solution("failed")


class Suboptimal(Changed):
    def solve(self, program, *, time_limit=None):
        found = super().solve(program, time_limit=time_limit)
        return found if found.objective is None else replace(found, objective=found.objective * (1 + 1e-5) + 1e-5)


class WrongBasis(Changed):
    """Starts anywhere."""

    def open(self, program):
        session = Highs().open(program)
        solve, count = session.solve, iter(range(1000))
        session.solve = lambda *, time_limit=None: replace(found := solve(), x=found.x + 1e-7 * next(count))
        return session


@pytest.mark.parametrize(
    ("solver", "caught_by"),
    [
        (OtherSigns, {"duals", "finite differences"}),
        (NoReducedCosts, {"duals", "finite differences"}),
        (NoUpperBounds, {"optimality"}),
        (NoLimit, {"time limit"}),
        (NeverInfeasible, {"infeasible"}),
        (AlwaysInfeasible, {"unbounded"}),
        (Random, {"determinism"}),
        (Relaxed, {"refusal"}),
        (Forgetful, {"session"}),
        (KeepsRows, {"rows added and removed"}),
        (Stale, {"session", "rows added and removed"}),
        (Writes, {"optimality", "duals", "determinism"}),
        (Suboptimal, {"optimality"}),
        (WrongBasis, {"bases"}),
    ],
)
def test_a_broken_solver_is_found_out(solver, caught_by):
    failed = {result.name for result in check_solver(solver) if result.passed is False}
    assert caught_by <= failed


def test_nothing_else_is_wrong_with_the_solver_that_the_broken_ones_are_made_of():
    assert [result for result in check_solver(Changed) if result.passed is False] == []
    assert {result.name: result.passed for result in check_solver(Relaxed)}["optimality"] is True


def test_a_solver_without_methods_or_with_odd_abilities_fails_every_check():
    class Nothing:
        pass

    class Odd(Changed):
        abilities = "everything"

    for broken in (Nothing, Odd):
        results = check_solver(broken)
        assert all(result.passed is False or "not " in result.detail for result in results)
        assert sum(result.passed is False for result in results) >= 8

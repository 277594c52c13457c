"""The best policy of a finite constrained decision process, by a linear program over occupancies.

Variables are the expected discounted numbers of times ``x(s, a) >= 0`` that an action is taken in a state. They belong
to a policy exactly if what flows into every state flows out of it (Altman 1999, Constrained Markov Decision Processes,
chapter 3); reward and costs are linear in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import InterlockError, ProvenInfeasible
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.solvers.interface import LinearProgram, Sense, Solution, Solver


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """The exact solution of a constrained decision process.

    Attributes:
        value: largest return that respects every limit.
        costs: ``(m,)`` expected discounted costs at the optimum.
        policy: ``(S, A)`` a policy that attains it; uniform in states that it never visits.
        occupancy: ``(S, A)`` of this policy.
        multipliers: ``(m,)`` what the value gains per unit that a limit is raised; not negative.
        unconstrained: largest return without limits.
    """

    value: float
    costs: Array
    policy: Array
    occupancy: Array
    multipliers: Array
    unconstrained: float


def constrained_optimum(cmdp: FiniteCMDP, solver: Solver) -> Optimum:
    """Solve exactly.

    Args:
        cmdp: the decision process.
        solver: of linear programs; one that gives vertices randomises in at most ``m`` states.

    Raises:
        ProvenInfeasible: no policy respects every limit; the message says how close one can get.
    """
    solution = solver.solve(occupancy_program(cmdp))
    if solution.status == "infeasible":
        raise ProvenInfeasible(_why_infeasible(cmdp, solver))
    point, duals = _proven(solution, cmdp)
    occupancy = np.maximum(point, 0.0).reshape(cmdp.reward.shape)
    return Optimum(
        value=float(np.sum(occupancy * cmdp.reward)),
        costs=np.einsum("ksa,sa->k", cmdp.costs, occupancy),
        policy=policy_of(occupancy),
        occupancy=occupancy,
        multipliers=duals[cmdp.states :],
        unconstrained=cmdp.span()[1],
    )


def policy_of(occupancy: Array) -> Array:
    """The policy ``(S, A)`` behind an occupancy ``(S, A)``; uniform in states that are never visited."""
    visits = occupancy.sum(axis=1, keepdims=True)
    visited = visits > 1e-12 * max(1.0, float(visits.max()))
    uniform = np.full(occupancy.shape, 1.0 / occupancy.shape[1])
    return np.where(visited, occupancy / np.where(visited, visits, 1.0), uniform)


def occupancy_program(cmdp: FiniteCMDP) -> LinearProgram:
    """Largest return over the occupancies that respect every limit."""
    return _program(cmdp, cmdp.reward.ravel(), dict(zip(cmdp.cost_names, cmdp.limits, strict=True)), "maximise")


def smallest_attainable(cmdp: FiniteCMDP, solver: Solver, index: int) -> float:
    """Smallest expected discounted cost ``index`` of any policy, the other limits aside."""
    point, _ = _proven(solver.solve(_program(cmdp, cmdp.costs[index].ravel(), {}, "minimise")), cmdp)
    return float(cmdp.costs[index].ravel() @ point)


def smallest_excess(cmdp: FiniteCMDP, solver: Solver) -> tuple[float, Array]:
    """Smallest ``z`` such that some policy keeps every cost within ``limit + z max(|limit|, 1e-3)``.

    Returns:
        ``z``, negative where all limits can be kept with room to spare, and the occupancy ``(S, A)`` of the policy.
    """
    scale = np.maximum(np.abs(cmdp.limits), 1e-3)
    limits = dict(zip(cmdp.cost_names, cmdp.limits, strict=True))
    cost = np.append(np.zeros(cmdp.reward.size), 1.0)
    point, _ = _proven(solver.solve(_program(cmdp, cost, limits, "minimise", excess=scale)), cmdp)
    return float(point[-1]), np.maximum(point[:-1], 0.0).reshape(cmdp.reward.shape)


def _program(
    cmdp: FiniteCMDP,
    objective: Array,
    limits: Mapping[str, float],
    sense: Sense,
    excess: Sequence[float] | Array | None = None,
) -> LinearProgram:
    """Occupancies of ``cmdp``, with its costs limited if ``limits`` has them; ``excess`` adds a column that relaxes."""
    size = cmdp.reward.size
    leaving = np.repeat(np.eye(cmdp.states), cmdp.actions, axis=1)
    rows = [leaving - cmdp.gamma * cmdp.transition.reshape(size, cmdp.states).T]
    names = [f"flow {state}" for state in range(cmdp.states)]
    if limits:
        rows.append(cmdp.costs.reshape(len(limits), size))
        names += [f"limit {name}" for name in limits]
    matrix = np.concatenate(rows)
    columns = [f"x {state} {action}" for state in range(cmdp.states) for action in range(cmdp.actions)]
    lower = np.zeros(size)
    if excess is not None:
        matrix = np.hstack([matrix, np.concatenate([np.zeros(cmdp.states), -np.asarray(excess)])[:, None]])
        columns.append("excess")
        lower = np.append(lower, -np.inf)
    upper = np.fromiter(limits.values(), float)
    row, column = np.nonzero(matrix)
    return LinearProgram(
        cost=objective,
        lower=lower,
        upper=np.full(len(lower), np.inf),
        row_lower=np.concatenate([cmdp.start, np.full(len(upper), -np.inf)]),
        row_upper=np.concatenate([cmdp.start, upper]),
        starts=np.searchsorted(row, np.arange(len(matrix) + 1)).astype(np.int32),
        columns=column.astype(np.int32),
        values=matrix[row, column],
        column_names=tuple(columns),
        row_names=tuple(names),
        sense=sense,
    )


def _proven(solution: Solution, cmdp: FiniteCMDP) -> tuple[Array, Array]:
    """Point and prices of a program that has an optimum."""
    if solution.status != "optimal" or solution.x is None or solution.row_duals is None:
        raise InterlockError(f"CMDP {cmdp.name}: the solver ended with {solution.status}: {solution.message}")
    return solution.x, solution.row_duals


def _why_infeasible(cmdp: FiniteCMDP, solver: Solver) -> str:
    smallest = [smallest_attainable(cmdp, solver, index) for index in range(len(cmdp.limits))]
    parts = [
        f"the smallest attainable cost of {name} is {least:.8g} (limit {limit:.8g})"
        for name, least, limit in zip(cmdp.cost_names, smallest, cmdp.limits, strict=True)
    ]
    message = f"CMDP {cmdp.name} is infeasible: " + "; ".join(parts)
    if all(least <= limit for least, limit in zip(smallest, cmdp.limits, strict=True)):
        together, _ = smallest_excess(cmdp, solver)
        message += f"; each limit can be met alone, all together only if every one is raised by {together:.6%}"
    return message

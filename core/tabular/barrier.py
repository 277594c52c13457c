"""The logarithmic barrier on a finite decision process: its exact optimum, and exact-gradient ascent towards it.

Both maximise ``J_r + sum_i log(d_i - J_ci) / t`` for a sharpness ``t`` (IPO: Liu, Ding, Liu 2020). Over occupancies
this is concave, and the return of its maximiser lies at most ``m / t`` below the constrained optimum.
"""

from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import ProvenInfeasible
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.core.tabular.dynamics import Record, Trajectory, softmax
from interlock.core.tabular.linear_program import policy_of, smallest_excess
from interlock.solvers.interface import Solver

_LONGEST = 1.0
"""Most that a step may add to a logit: larger ones make policies so sure of themselves that gradients vanish."""


def barrier_ascent(cmdp: FiniteCMDP, sharpness: float, *, iterations: int) -> Trajectory:
    """Interior-point policy optimisation with exact gradients and a fixed sharpness, from the uniform policy.

    Outside the limits it descends the costs that are too high; inside, a step that would lower the objective or leave
    the limits is halved until it does neither.

    Args:
        cmdp: the process.
        sharpness: ``t``.
        iterations: largest number of iterates; it ends earlier where no step improves any more.
    """
    logits, step = np.zeros(cmdp.reward.shape), 1.0
    policy = softmax(logits)
    values = cmdp.values(policy)
    record = Record(cmdp, iterations)
    for _ in range(iterations):
        slack = cmdp.limits - values[1:] @ cmdp.start
        inside = bool(np.all(slack > 0.0))
        prices = 1.0 / (sharpness * slack) if inside else np.where(slack > 0.0, 0.0, 1.0)
        record.add(values, prices)
        advantages = cmdp.looked_ahead(values) - values[:, :, None]
        climb = np.tensordot(np.append(float(inside), -prices), advantages, 1)
        if inside:
            rise = _rise(cmdp.occupancy(policy), advantages[1:], climb, step * prices / slack)
            climb = climb - np.tensordot(rise, advantages[1:], 1)
        step = min(1.5 * step, _LONGEST / max(float(np.abs(climb).max()), 1e-300))
        height = _objective(cmdp, values, sharpness)
        while True:
            policy = softmax(logits + step * climb)
            values = cmdp.values(policy)
            if _objective(cmdp, values, sharpness) >= height:
                break
            step /= 2.0
            if step < 1e-12:
                return record.trajectory(softmax(logits))
        logits = logits + step * climb
        logits -= logits.max(axis=1, keepdims=True)
    return record.trajectory(policy)


def _rise(occupancy: Array, advantages: Array, climb: Array, stiffness: Array) -> Array:
    """By how much prices ``(m,)`` will have risen after a step along ``climb``, to first order.

    A step that goes by the prices of its end does not jump to and fro across a steep barrier.

    Args:
        occupancy: ``(S, A)``; times an advantage it is the gradient of the sum by the logits.
        advantages: ``(m, S, A)`` of the costs.
        climb: ``(S, A)``.
        stiffness: ``(m,)`` size of the step times the second derivative of the barrier.
    """
    change = np.einsum("sa,ksa,sa->k", occupancy, advantages, climb)
    among = np.einsum("sa,ksa,lsa->kl", occupancy, advantages, advantages)
    found: Array = np.linalg.solve(np.eye(len(change)) + stiffness[:, None] * among, stiffness * change)
    return found


def _objective(cmdp: FiniteCMDP, values: Array, sharpness: float) -> float:
    """Return and barrier of a policy with these values; minus infinity outside the limits."""
    sums = values @ cmdp.start
    slack = cmdp.limits - sums[1:]
    return float(sums[0] + np.log(slack).sum() / sharpness) if np.all(slack > 0.0) else -np.inf


@dataclass(frozen=True, slots=True, eq=False)
class BarrierOptimum:
    """The maximiser of the barrier problem.

    Attributes:
        value: its return ``J_r``, without the barrier.
        costs: ``(m,)``.
        multipliers: ``(m,)`` prices ``1 / (t (d - J_c))``.
        policy: ``(S, A)``.
        bound: by how much the barrier objective can be improved at most; certifies the solution. From the best answer
            to the prices, by policy iteration.
    """

    value: float
    costs: Array
    multipliers: Array
    policy: Array
    bound: float


def barrier_optimum(cmdp: FiniteCMDP, sharpness: float, solver: Solver) -> BarrierOptimum:
    """Solve the barrier problem over occupancies ``x >= 0`` by Newton's method with equality constraints.

    The bounds ``x >= 0`` get a barrier of their own, whose weight falls until it does not matter. States that no policy
    reaches are left out.

    Raises:
        ProvenInfeasible: no policy keeps clear of every limit.
    """
    uniform = cmdp.occupancy(cmdp.uniform()).ravel()
    reached = uniform > 0.0
    excess, least = smallest_excess(cmdp, solver)
    if excess >= 0.0:
        raise ProvenInfeasible(
            f"CMDP {cmdp.name}: no policy keeps clear of every limit, so there is no barrier optimum"
        )
    costs, reward = cmdp.costs.reshape(len(cmdp.limits), -1)[:, reached], cmdp.reward.ravel()[reached]
    share = 1.0
    while True:  # strictly inside: the policy furthest from the limits, with as much of the uniform one as they allow
        point = (share * uniform + (1.0 - share) * least.ravel())[reached]
        if np.all(costs @ point < cmdp.limits + 0.5 * excess * np.maximum(np.abs(cmdp.limits), 1e-3)):
            break
        share /= 2.0
    states = np.flatnonzero(reached.reshape(cmdp.reward.shape).any(axis=1))
    leaving = np.repeat(np.eye(cmdp.states), cmdp.actions, axis=1)
    flow = (leaving - cmdp.gamma * cmdp.transition.reshape(-1, cmdp.states).T)[np.ix_(states, np.flatnonzero(reached))]
    weight = 1e-2
    while weight > 1e-11:
        point = _newton(point, reward, costs, cmdp.limits, sharpness, weight, flow)
        weight /= 10.0
    occupancy = np.zeros(reached.size)
    occupancy[reached] = point
    return _certified(cmdp, sharpness, policy_of(occupancy.reshape(cmdp.reward.shape)))


def _newton(
    point: Array, reward: Array, costs: Array, limits: Array, sharpness: float, weight: float, flow: Array
) -> Array:
    """Maximise ``reward x + sum log(limits - costs x) / t + weight sum log x`` where ``flow x`` stays as it is."""
    for _ in range(100):
        slack = limits - costs @ point
        gradient = reward - costs.T @ (1.0 / (sharpness * slack)) + weight / point
        # In coordinates scaled by the point itself the system stays well conditioned however close bounds are.
        scaled = costs * point / (np.sqrt(sharpness) * slack[:, None])
        curvature = weight * np.eye(len(point)) + scaled.T @ scaled
        tilted = flow * point
        system = np.block([[curvature, tilted.T], [tilted, np.zeros((len(flow), len(flow)))]])
        right = np.concatenate([gradient * point, np.zeros(len(flow))])
        direction = np.linalg.solve(system, right)[: len(point)]
        gain = float(direction @ (gradient * point))
        if gain < 1e-22:
            return point
        length = 1.0
        height = _height(point, reward, costs, limits, sharpness, weight)
        while _height(point * (1.0 + length * direction), reward, costs, limits, sharpness, weight) < (
            height + 0.1 * length * gain
        ):
            if gain < 1e-10:  # a full step fails that close to the end: what is left is rounding
                return point
            length /= 2.0
        point = point * (1.0 + length * direction)
    return point


def _height(point: Array, reward: Array, costs: Array, limits: Array, sharpness: float, weight: float) -> float:
    slack = limits - costs @ point
    if np.any(slack <= 0.0) or np.any(point <= 0.0):
        return -np.inf
    return float(reward @ point + np.log(slack).sum() / sharpness + weight * np.log(point).sum())


def _certified(cmdp: FiniteCMDP, sharpness: float, policy: Array) -> BarrierOptimum:
    """Exact figures of a policy, and the largest possible gain by linear bounds on the concave objective there."""
    value, costs = cmdp.evaluate(policy)
    multipliers: Array = 1.0 / (sharpness * (cmdp.limits - costs))
    answer, answer_costs = cmdp.evaluate(cmdp.best_response(cmdp.reward - np.tensordot(multipliers, cmdp.costs, 1)))
    bound = (answer - multipliers @ answer_costs) - (value - multipliers @ costs)
    return BarrierOptimum(value, costs, multipliers, policy, float(bound))

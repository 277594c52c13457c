"""Learning rules with exact gradients on finite decision processes: what is left of a method without its noise.

Policies are softmax tables; a step adds advantages to their logits, which is mirror ascent with the Kullback-Leibler
divergence and natural gradient ascent at once. Everything starts from the uniform policy and multipliers of zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import UsageError
from interlock.core.tabular.cmdp import FiniteCMDP

Dual = Callable[[Array], Array]
"""Violations ``(m,)`` of the current policy -> multipliers ``(m,)`` for the next step. Called once per iteration."""


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Exact values of every iterate.

    Attributes:
        returns: ``(K,)``.
        costs: ``(K, m)``.
        multipliers: ``(K, m)`` that the step from this iterate used; ``(K, 0)`` for methods without.
        policy: ``(S, A)`` the last iterate.
    """

    returns: Array
    costs: Array
    multipliers: Array
    policy: Array

    def tail(self, share: float = 0.1) -> "Trajectory":
        """The last iterations."""
        kept = slice(len(self.returns) - max(1, round(share * len(self.returns))), None)
        return Trajectory(self.returns[kept], self.costs[kept], self.multipliers[kept], self.policy)

    def best(self, limits: Array, tolerance: float = 0.0) -> int:
        """Iteration with the largest return among those within every limit; the cheapest one if there are none.

        Args:
            limits: ``(m,)``.
            tolerance: relative excess that still counts as within.
        """
        excess = np.max(relative_violation(self.costs, limits), axis=1, initial=-np.inf)
        kept = excess <= tolerance
        return int(np.argmax(np.where(kept, self.returns, -np.inf)) if kept.any() else np.argmin(excess))


def relative_violation(costs: Array, limits: Array) -> Array:
    """``(cost - limit) / max(|limit|, 1e-3)``; positive where a limit is broken."""
    found: Array = (costs - limits) / np.maximum(np.abs(limits), 1e-3)
    return found


def softmax(logits: Array) -> Array:
    """Policy ``(S, A)`` of logits ``(S, A)``."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Array = weights / weights.sum(axis=1, keepdims=True)
    return found


def gradient_dual(step: float, *, optimistic: bool = False) -> Dual:
    """``lam' = [lam + step g]_+``, or along ``2 g - g_before`` if optimistic (ReLOAD, Moskovitz et al. 2023)."""
    kept: dict[str, Array] = {}

    def update(violation: Array) -> Array:
        before = kept.get("violation", violation) if optimistic else violation
        kept["violation"] = violation
        kept["sum"] = np.maximum(0.0, kept.get("sum", np.zeros_like(violation)) + step * (2.0 * violation - before))
        return kept["sum"]

    return update


def proportional_dual(integral: float, proportional: float) -> Dual:
    """``I' = [I + K_I g]_+`` and ``lam' = [I' + K_P g]_+`` (Stooke, Achiam, Abbeel 2020, without the derivative)."""
    add = gradient_dual(integral)

    def update(violation: Array) -> Array:
        found: Array = np.maximum(0.0, add(violation) + proportional * violation)
        return found

    return update


def descent_ascent(
    cmdp: FiniteCMDP, dual: Dual, *, step: float, iterations: int, optimistic: bool = False, entropy: float = 0.0
) -> Trajectory:
    """The policy climbs ``A = A_r - lam' A_c`` while the multipliers follow the violations, both at the same time.

    Args:
        cmdp: the process.
        dual: moves the multipliers; it is given ``(1 - gamma) (J_c - d)``.
        step: size of the policy's steps.
        iterations: number of iterates.
        optimistic: step along ``2 A - A_before`` (ReLOAD).
        entropy: weight of the policy's discounted entropy in the objective. Returns leave it out.
    """
    logits, multipliers = np.zeros(cmdp.reward.shape), np.zeros(len(cmdp.limits))
    before: Array | None = None
    record = Record(cmdp, iterations)
    for _ in range(iterations):
        policy = softmax(logits)
        signals = cmdp.signals
        weights = np.concatenate([[1.0], -multipliers])
        if entropy:
            surprise = -np.log(np.maximum(policy, 1e-300))
            signals, weights = np.concatenate([signals, surprise[None]]), np.append(weights, entropy)
        values = cmdp.values(policy, signals)
        costs = record.add(values, multipliers)
        climb = np.tensordot(weights, cmdp.looked_ahead(values, signals) - values[:, :, None], 1)
        logits = logits + step * (2.0 * climb - (climb if before is None else before) if optimistic else climb)
        logits -= logits.max(axis=1, keepdims=True)
        multipliers, before = dual((1.0 - cmdp.gamma) * (costs - cmdp.limits)), climb
    return record.trajectory(policy)


def switching(cmdp: FiniteCMDP, *, step: float, iterations: int, tolerance: float = 0.0) -> Trajectory:
    """CRPO (Xu, Liang, Lan 2021): climb the reward while every limit holds, else descend the cost that is worst.

    Args:
        cmdp: the process.
        step: size of the first of the policy's steps; they fall linearly to zero, as limits are overshot by a step.
        iterations: number of iterates.
        tolerance: relative excess of a limit that still counts as within; gradients are exact, so none is needed.

    Returns:
        A trajectory without multipliers; its ``best`` iterate is the result of the method.
    """
    logits = np.zeros(cmdp.reward.shape)
    record = Record(cmdp, iterations)
    for index in range(iterations):
        policy = softmax(logits)
        values = cmdp.values(policy)
        excess = relative_violation(record.add(values, np.zeros(0)), cmdp.limits)
        advantages = cmdp.looked_ahead(values) - values[:, :, None]
        climb = advantages[0] if np.all(excess <= tolerance) else -advantages[1 + int(np.argmax(excess))]
        logits = logits + step * (1.0 - index / iterations) * climb
    return record.trajectory(policy)


@dataclass(frozen=True, slots=True)
class Steps:
    """Step sizes at which a process shows what the four rules of ``METHODS`` do.

    Attributes:
        policy: of the policy.
        dual: of plain and optimistic multipliers.
        integral: ``K_I`` of PI control.
        proportional: ``K_P`` of PI control.
        iterations: until only what lasts is left.
    """

    policy: float = 1.0
    dual: float = 1.0
    integral: float = 1.0
    proportional: float = 10.0
    iterations: int = 8000


STEPS: Mapping[str, Steps] = {
    "bandit_budget": Steps(1.0, 1.0, 0.1, 1.0, 4000),
    "two_state": Steps(0.5, 0.5, 0.5, 1.0, 6000),
    "queue_effort": Steps(2.0, 2.0, 2.0, 20.0, 8000),
    "catch_4x4": Steps(1.0, 0.05 / 0.03, 0.05 / 0.03, 0.5 / 0.03, 8000),
    "catch_5x5": Steps(1.0, 0.05 / 0.03, 0.05 / 0.03, 0.5 / 0.03, 8000),
    "garnet_2c": Steps(1.0, 1.0, 1.0, 10.0, 8000),
}
"""By name of the example. Steps that are too large make the optimistic rule circle as well."""

METHODS = ("plain", "optimistic", "pi", "entropy")


def lagrangian(cmdp: FiniteCMDP, method: str, steps: Steps) -> Trajectory:
    """One of the four rules: plain descent-ascent, both players optimistic, PI multipliers, or with entropy 0.02.

    Raises:
        UsageError: there is no rule of this name.
    """
    if method not in METHODS:
        raise UsageError(f"no method {method!r}; there are {', '.join(METHODS)}")
    optimistic = method == "optimistic"
    if method == "pi":
        dual = proportional_dual(steps.integral, steps.proportional)
    else:
        dual = gradient_dual(steps.dual, optimistic=optimistic)
    entropy = 0.02 if method == "entropy" else 0.0
    return descent_ascent(
        cmdp, dual, step=steps.policy, iterations=steps.iterations, optimistic=optimistic, entropy=entropy
    )


def expected_td(cmdp: FiniteCMDP, policy: Array, signal: Array, *, step: float = 0.5, tolerance: float = 1e-9) -> Array:
    """Critic ``(S,)`` of one ``signal`` ``(S, A)``, learned by expected temporal differences until they are small.

    The critic of RCPO (Tessler, Mankowitz, Mannor 2019) is this one for ``r - lam' c``.

    Args:
        cmdp: the process.
        policy: ``(S, A)``.
        signal: what is summed up.
        step: towards the target, in (0, 1].
        tolerance: largest temporal difference at the end.
    """
    values = np.zeros(cmdp.states)
    while True:
        target = np.sum(policy * cmdp.looked_ahead(values[None], signal[None])[0], axis=1)
        difference = target - values
        if np.abs(difference).max() <= tolerance:
            return values
        values = values + step * difference


def zero_sum_game(payoff: Array, *, step: float, iterations: int, optimistic: bool) -> Array:
    """Exploitability ``(K,)`` of both players' current strategies under multiplicative weights.

    Args:
        payoff: ``(I, J)`` what the column player pays to the row player.
        step: size of the steps of both.
        iterations: number of iterates.
        optimistic: steps along ``2 g - g_before``.
    """
    # The first strategies prefer their first action two to one: from the equilibrium nothing would move.
    logits = [np.where(np.arange(size) == 0, np.log(2.0), 0.0) for size in payoff.shape]
    before: list[Array] | None = None
    found = np.empty(iterations)
    for index in range(iterations):
        row, column = (softmax(side[None])[0] for side in logits)
        gains = [payoff @ column, -payoff.T @ row]
        found[index] = sum(gain.max() for gain in gains)
        last = gains if before is None or not optimistic else before
        logits = [side + step * (2.0 * new - old) for side, new, old in zip(logits, gains, last, strict=True)]
        before = gains
    return found


class Record:
    """Collects the exact values of iterates."""

    def __init__(self, cmdp: FiniteCMDP, iterations: int):
        self.start = cmdp.start
        self.sums = np.empty((iterations, 1 + len(cmdp.limits)))
        self.multipliers: list[Array] = []

    def add(self, values: Array, multipliers: Array) -> Array:
        """Keep ``values`` ``(1 + m or more, S)`` from the start distribution; gives the costs ``(m,)``."""
        width = self.sums.shape[1]
        sums: Array = values[:width] @ self.start
        self.sums[len(self.multipliers)] = sums
        self.multipliers.append(multipliers)
        return sums[1:]

    def trajectory(self, policy: Array) -> Trajectory:
        """What was collected."""
        count = len(self.multipliers)
        return Trajectory(self.sums[:count, 0], self.sums[:count, 1:], np.array(self.multipliers), policy)

"""The best policy for one response within limits on its divergence from given policies, in closed form.

``max E_pi[A] subject to KL(pi || pi_i) <= eps_i`` is solved by
``pi(a|s) ~ prod_i pi_i(a|s)^(lam_i / Lam) exp(A(s, a) / Lam)`` with ``Lam = sum_i lam_i`` (Cai et al., "Two-Stage
Constrained Actor-Critic for Short Video Recommendation", WWW 2023); here the multipliers are solved for as well.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array


def combine(log_policies: Array, multipliers: Array, advantages: Array) -> Array:
    """Logarithm of ``prod_i pi_i^(lam_i / Lam) exp(A / Lam)``, normalised over the actions.

    Args:
        log_policies: ``(k, S, A)`` log-probabilities of the references.
        multipliers: ``(k,)``, not negative, of positive sum.
        advantages: ``(S, A)``.

    Returns:
        ``(S, A)``.
    """
    total = multipliers.sum()
    scores = advantages + np.tensordot(multipliers, log_policies, 1)
    scores = (scores - scores.max(axis=-1, keepdims=True)) / total
    combined: Array = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return combined


def divergences(log_policy: Array, log_policies: Array, state_weights: Array) -> Array:
    """``(k,)`` mean over states ``(S,)`` of ``KL(pi || pi_i)``."""
    per_state = (np.exp(log_policy) * (log_policy - log_policies)).sum(axis=-1)
    result: Array = per_state @ state_weights
    return result


@dataclass(frozen=True, slots=True)
class Solution:
    """The best policy within limits on its divergences.

    Attributes:
        multipliers: ``(k,)``, in units of the advantage per nat.
        log_policy: ``(S, A)``.
        divergences: ``(k,)`` from each reference, mean over the states.
        feasible: whether all are within their limits; if not, no policy is, and this one is a compromise.
    """

    multipliers: Array
    log_policy: Array
    divergences: Array
    feasible: bool


def solve_multipliers(
    log_policies: Array,
    advantages: Array,
    limits: Array,
    *,
    state_weights: Array | None = None,
    largest: float = 1e3,
    accuracy: float = 1e-10,
) -> Solution:
    """Maximise ``E[A]`` subject to ``KL(pi || pi_i) <= eps_i``, means over the states.

    Minimises the convex dual ``Lam E[log sum_a prod_i pi_i^(lam_i / Lam) exp(A / Lam)] + sum_i lam_i eps_i`` over
    ``0 < lam_i < largest`` by Newton's method with a logarithmic barrier (Boyd and Vandenberghe, 2004, section 11.3).
    Its gradient is ``eps_i - KL(pi || pi_i)`` and its Hessian ``Cov(log pi_i - log pi, log pi_j - log pi) / Lam``.

    Args:
        log_policies: ``(k, S, A)``, finite.
        advantages: ``(S, A)``.
        limits: ``(k,)`` in nats, positive.
        state_weights: ``(S,)`` summing to 1; ``None``: all states alike.
        largest: cap of each multiplier, in standard deviations of the advantage: reached where no policy is feasible.
        accuracy: of the dual, in standard deviations of the advantage, per constraint.
    """
    states = advantages.shape[0]
    weights = np.full(states, 1.0 / states) if state_weights is None else state_weights
    references, scale = np.asarray(log_policies, np.float64), float(advantages.std()) or 1.0
    scaled = np.asarray(advantages, np.float64) / scale

    def dual(multipliers: Array, barrier: float) -> tuple[float, Array, Array]:
        total = multipliers.sum()
        log_policy = combine(references, multipliers, scaled)
        normaliser = scaled + np.tensordot(multipliers, references, 1) - total * log_policy  # the same for all actions
        chance, apart = np.exp(log_policy), references - log_policy
        mean = (chance * apart).sum(axis=-1)
        weighted = np.sqrt(chance * weights[:, None]) * (apart - mean[..., None])
        flat = weighted.reshape(len(references), -1)
        room = largest - multipliers
        best = log_policy.argmax(axis=-1)[:, None]
        value = np.take_along_axis(normaliser, best, 1)[:, 0] @ weights + multipliers @ limits
        value -= barrier * (np.log(multipliers).sum() + np.log(room).sum())
        gradient = limits + mean @ weights - barrier / multipliers + barrier / room
        hessian = flat @ flat.T / total + np.diag(barrier / multipliers**2 + barrier / room**2)
        return float(value), gradient, hessian

    multipliers, barrier = np.ones(len(references)), 1.0
    while barrier > accuracy:
        barrier = max(accuracy, 0.1 * barrier)
        multipliers = _newton(lambda at, mu=barrier: dual(at, mu), multipliers, largest)  # type: ignore[misc]
    log_policy = combine(references, multipliers, scaled)
    reached = divergences(log_policy, references, weights)
    feasible = bool((reached <= limits * (1.0 + 1e-6)).all())
    return Solution(multipliers * scale, log_policy, reached, feasible)


def _newton(function: Callable[[Array], tuple[float, Array, Array]], start: Array, largest: float) -> Array:
    """Minimise a convex function of value, gradient and Hessian inside the box ``(0, largest)``."""
    point = start
    value, gradient, hessian = function(point)
    for _ in range(100):
        step = -np.linalg.solve(hessian, gradient)
        decrement = -float(gradient @ step)
        if decrement < 1e-14 * max(1.0, abs(value)):
            break
        with np.errstate(divide="ignore"):
            to_wall = np.where(step < 0, -point / step, (largest - point) / step)
        size = min(1.0, 0.99 * float(to_wall.min()))
        candidate = function(point + size * step)
        while candidate[0] > value - 0.1 * size * decrement and size > 1e-6:
            size *= 0.5
            candidate = function(point + size * step)
        if size <= 1e-6:
            break  # rounding hides what is left to gain
        point, (value, gradient, hessian) = point + size * step, candidate
    return point


def cloning_weights(target: Array, behaviour: Array, clip: float) -> Array:
    """How much each logged action counts when a policy is cloned: its chance under the target over that when logged.

    Args:
        target: ``(N,)`` log-probability of the logged action under the policy to clone; from ``combine`` it makes the
            weight ``prod_i (pi_i / beta)^(lam_i / Lam) exp(A / Lam)``, over its normaliser.
        behaviour: ``(N,)`` log-probability when it was logged.
        clip: largest weight.

    Returns:
        ``(N,)`` with mean 1.
    """
    weights = np.exp(np.minimum(target - behaviour, np.log(clip)))
    normalised: Array = weights / weights.mean()
    return normalised

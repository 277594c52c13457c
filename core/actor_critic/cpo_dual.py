"""The subproblem of constrained policy optimisation, solved exactly for any number of constraints.

Largest ``g'x`` subject to ``c + B x <= 0`` and ``x'H x / 2 <= delta`` (Achiam, Held, Tamar, Abbeel 2017, equation 11),
for a reward gradient ``g`` and cost gradients ``B``. Its solution lies in the span of ``H^-1 g`` and ``H^-1 B'``, so
nothing of the size of the network appears here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq, nnls

from interlock.core.environment import Array

Case = Literal["free", "bound", "recovery"]

_UNCHANGEABLE = 1e-14
"""A constraint whose curvature ``b'H^-1 b`` is below this cannot be changed by a small step, and is left out."""
_RIDGE = 1e-12
"""Added to the scaled curvature, whose diagonal is one: constraints may be linear combinations of each other."""
_DECADES = 20.0
"""Range of the root search, in units of the logarithm of the multiplier."""


@dataclass(frozen=True, slots=True)
class DualStep:
    """The step ``x = along H^-1 g - H^-1 B' against``.

    Attributes:
        along: weight of the reward's direction.
        against: ``(m,)`` weights of the costs' directions, not negative.
        multipliers: ``(m,)`` of the linearised limits; zeros in a recovery.
        case: ``free``: no limit matters within the trust region; ``bound``: some limit shapes the step; ``recovery``:
            no point of the trust region meets all linearised limits, so reward is ignored.
    """

    along: float
    against: Array
    multipliers: Array
    case: Case


def solve_dual(q: float, r: Array, curvature: Array, excess: Array, delta: float) -> DualStep:
    """The best step within the trust region, or the way back where no step there meets every limit.

    For a fixed multiplier ``lam`` of the trust region the multipliers of the limits solve
    ``min nu'S nu / 2 - (r + lam c)'nu, nu >= 0``, a non-negative least-squares problem, and
    ``x = (H^-1 g - H^-1 B'nu) / lam``. The length of ``x`` falls with ``lam``, so the ``lam`` at which it ends on the
    border of the trust region is found by root search. With one constraint the results are the closed-form cases of
    Achiam et al. 2017, appendix 10.2.

    A recovery goes towards the smallest step that meets every linearised limit, as far as the trust region reaches:
    each violation shrinks by the same share at least, and no limit that holds is broken. With one constraint this is
    ``-sqrt(2 delta / s) H^-1 b``.

    Args:
        q: ``g'H^-1 g``.
        r: ``(m,)`` ``B H^-1 g``.
        curvature: ``(m, m)`` ``S = B H^-1 B'``.
        excess: ``(m,)`` ``c``, cost less limit, in the unit of the surrogates that ``B`` are gradients of.
        delta: radius of the trust region.
    """
    m = len(excess)
    against, multipliers = np.zeros(m), np.zeros(m)
    diagonal = np.diag(curvature)
    kept = np.flatnonzero(diagonal > _UNCHANGEABLE)
    # Scaled so that every cost gradient has length one: costs in euros and in millions of euros are the same problem.
    scale = np.sqrt(diagonal[kept])
    s = curvature[np.ix_(kept, kept)] / np.outer(scale, scale) + _RIDGE * np.eye(len(kept))
    root, c, r = np.linalg.cholesky(s), excess[kept] / scale, r[kept] / scale
    smallest = _nonnegative(root, c)
    least = float(smallest @ s @ smallest)
    if least >= 2.0 * delta:
        against[kept] = np.sqrt(2.0 * delta / least) * smallest / scale
        return DualStep(0.0, against, multipliers, "recovery")
    if q <= 0.0:
        return DualStep(0.0, against, multipliers, "free")

    def too_long(logarithm: float) -> float:
        lam = float(np.exp(logarithm))
        nu = _nonnegative(root, r + lam * c)
        squared = max(float(q - 2.0 * r @ nu + nu @ s @ nu), 1e-300) / lam**2
        return float(np.log(squared / (2.0 * delta)))

    # x is the projection of H^-1 g / lam onto the limits; projections do not stretch, so no larger lam is needed than
    # one that leaves what the trust region has beyond the smallest step.
    high = float(np.log(np.sqrt(q) / (np.sqrt(2.0 * delta) - np.sqrt(least))))
    low = high - _DECADES
    # Where even the smallest lam gives a step inside, reward rises no further along the limits: that corner is it.
    logarithm = float(brentq(too_long, low, high + 1e-9, xtol=1e-13)) if too_long(low) > 0.0 else low
    lam = float(np.exp(logarithm))
    nu = _nonnegative(root, r + lam * c)
    against[kept], multipliers[kept] = nu / scale / lam, nu / scale
    return DualStep(1.0 / lam, against, multipliers, "bound" if np.any(nu > 0.0) else "free")


def _nonnegative(root: Array, linear: Array) -> Array:
    """``argmin nu'S nu / 2 - linear'nu`` over ``nu >= 0`` where ``S = root root'``."""
    if not len(linear):
        return np.zeros(0)
    found: Array = nnls(root.T, np.linalg.solve(root, linear))[0]
    return found

"""Multipliers of constraints: plain dual ascent, PID control and the optimistic step in one class."""

from collections import deque

import numpy as np

from interlock.core.actor_critic.config import DualSettings
from interlock.core.actor_critic.rule import Estimate
from interlock.core.environment import Array


class Duals:
    """One multiplier per constraint, from its relative violation ``g``.

    ``I = clip(I + K_I g)``, ``P`` a moving average of ``g``, ``D = max(0, C - C delayed)`` with ``C`` a moving average
    of the cost relative to its limit, and ``lambda = clip(I + K_P P + K_D D, 0, largest)`` (Stooke, Achiam, Abbeel
    2020). Without clipping ``lambda' - lambda = K_I g' + K_P (g' - g)``: with ``K_P = K_I`` this is the step along
    ``2 g' - g`` of optimistic ascent, with ``K_P = 0`` plain ascent. The sum does not grow while the multiplier is at
    its cap, so it comes back as soon as the violation does.

    Args:
        count: of constraints.
        settings: gains and caps.
    """

    def __init__(self, count: int, settings: DualSettings):
        self.settings = settings
        self.integral = np.full(count, float(settings.initial))
        self.smooth = np.zeros(count)
        self.cost = np.zeros(count)
        self.past: deque[Array] = deque(maxlen=settings.delay)
        self.current = np.full(count, float(settings.initial))
        self.last = self.current.copy()

    @property
    def multipliers(self) -> Array:
        """``(m,)`` what the policy's step shall use: extrapolated if optimistic."""
        if not self.settings.optimistic:
            return self.current
        extrapolated: Array = np.clip(2.0 * self.current - self.last, 0.0, self.settings.largest)
        return extrapolated

    def update(self, estimate: Estimate) -> None:
        """Follow a new measurement of the constraints."""
        settings, violation = self.settings, estimate.violation
        if settings.largest_violation is not None:
            violation = np.minimum(violation, settings.largest_violation)
        first = not self.past
        held = (self.current >= settings.largest) & (violation > 0)
        self.integral = np.where(
            held, self.integral, np.clip(self.integral + settings.integral * violation, 0.0, settings.largest)
        )
        self.smooth = violation if first else settings.smoothing * self.smooth + (1 - settings.smoothing) * violation
        kept = 0.0 if first else settings.cost_smoothing
        self.cost = kept * self.cost + (1 - kept) * violation
        rise = np.zeros_like(violation) if first else np.maximum(0.0, self.cost - self.past[0])
        self.past.append(self.cost)
        raw = self.integral + settings.proportional * self.smooth + settings.derivative * rise
        self.last, self.current = self.current, np.clip(raw, 0.0, settings.largest)

    def hold(self) -> None:
        """Nothing was measured: multipliers stand still, and there is no change to extrapolate."""
        self.last = self.current

    def state(self) -> dict[str, Array]:
        """Everything needed to go on exactly from here."""
        past = np.array(self.past).reshape(len(self.past), len(self.current))
        return {
            "integral": self.integral,
            "smooth": self.smooth,
            "cost": self.cost,
            "past": past,
            "current": self.current,
            "last": self.last,
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Go on from what ``state`` returned."""
        self.integral, self.smooth, self.cost = state["integral"], state["smooth"], state["cost"]
        self.current, self.last = state["current"], state["last"]
        self.past = deque(state["past"], maxlen=self.settings.delay)

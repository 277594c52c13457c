"""Generalised advantage estimation (Schulman, Moritz, Levine, Jordan, Abbeel 2016), for reward and costs at once."""

import numpy as np

from interlock.core.environment import Array


def generalised_advantages(
    signal: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    done: Array,
    *,
    gamma: float | Array,
    decay: float | Array,
) -> Array:
    """Advantages of a batch of trajectories.

    ``delta_t = x_t + gamma (1 - terminated_t) V(s_{t+1}) - V(s_t)`` and
    ``A_t = delta_t + gamma * decay * (1 - done_t) A_{t+1}``.

    Args:
        signal: ``(T, n)`` or ``(T, n, k)`` rewards or costs ``x_t``.
        values: the same shape, ``V(s_t)``.
        next_values: the same shape, ``V`` of the state that followed: where an episode was truncated, that of its
            final observation, never of the first view of the next episode. Ignored where it terminated.
        terminated: bool ``(T, n)``.
        done: bool ``(T, n)``, terminated or truncated.
        gamma: discount, one for all or ``(k,)``.
        decay: lambda, one for all or ``(k,)``; 1 gives Monte-Carlo returns minus values, 0 gives one-step errors.

    Returns:
        The shape of ``signal``; the targets of the critic are these plus ``values``.
    """
    if signal.ndim == 3:
        terminated, done = terminated[..., None], done[..., None]
    delta = signal + gamma * np.where(terminated, 0.0, next_values) - values
    carried = gamma * decay * ~done
    advantages = np.empty_like(delta)
    running = np.zeros(delta.shape[1:])
    for t in range(delta.shape[0] - 1, -1, -1):
        running = delta[t] + carried[t] * running
        advantages[t] = running
    return advantages

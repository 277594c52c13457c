"""Where a teacher is asked: slabs through the window in which most of the visited states lie."""

import numpy as np

from interlock.core.environment import Array, Split
from interlock.core.policy import Encoder, Policy
from interlock.core.problem import Problem

VECTOR = "vector"
"""What an encoder must give: ``(n, d)``."""


def visited(
    problem: Problem, policy: Policy, encoder: Encoder, *, rows: int, steps: int, seed: int, split: Split = "train"
) -> Array:
    """Inputs ``(rows * steps, d)`` of the states that a policy sees.

    Args:
        problem: what is played.
        policy: decides without randomness.
        encoder: of the inputs.
        rows: episodes at a time.
        steps: decisions in each row; where an episode ends, the next one begins.
        seed: of the instances and the policy.
        split: of the instances.
    """
    environment = problem.environment(rows, seed=seed, split=split)
    policy.reset()
    policy.seed(seed)
    view, seen = environment.reset(), []
    for _ in range(steps):
        seen.append(np.asarray(encoder(view)[VECTOR], np.float64))
        step = environment.step(policy.act(view, deterministic=True))
        if step.done.any():
            policy.reset(np.flatnonzero(step.done))
        view = step.observation
    return np.concatenate(seen)


def window(states: Array, share: float) -> Array:
    """The smallest box from equal ranks of every input that holds a share of the states.

    Args:
        states: ``(n, d)``.
        share: of the states, in (0, 1], that lie inside the box, its faces included.

    Returns:
        ``(2, d)``: lower ends, upper ends.
    """
    ranked, count = np.sort(states, axis=0), len(states)

    def box(cut: int) -> Array:
        found: Array = ranked[[cut, count - 1 - cut]]
        return found

    def holds(cut: int) -> bool:
        low, high = box(cut)
        inside = ((states >= low) & (states <= high)).all(axis=1)
        return int(inside.sum()) >= share * count

    fits, fails = 0, (count + 1) // 2
    while fails - fits > 1:
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if holds(middle) else (fits, middle)
    return box(fits)


def slabs(box: Array, *, low: float, high: float, points: int, across: int) -> Array:
    """One slab for every input: ``points`` values of it from ``low`` to ``high``, ``across`` of each other one.

    Args:
        box: ``(2, d)``, across which the other inputs are spread evenly, its faces included.
        low: first value of the input that runs along a slab.
        high: its last value.
        points: its number of values.
        across: number of values of every other input.

    Returns:
        ``(d * points * across^(d - 1), d)``.
    """
    inputs = box.shape[1]
    found = []
    for along in range(inputs):
        axes = [np.linspace(box[0, j], box[1, j], across) for j in range(inputs)]
        axes[along] = np.linspace(low, high, points)
        grid = np.meshgrid(*axes, indexing="ij")
        found.append(np.stack([part.ravel() for part in grid], axis=1))
    return np.concatenate(found)

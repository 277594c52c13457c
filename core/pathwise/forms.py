"""Forms of the rule: what turns the numbers of a network into actions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from interlock.core.errors import UsageError
from interlock.core.pathwise.contract import Act

LEAK = 0.05
"""Slope beyond the bounds of what is clipped, for the gradient alone."""


def clipped(value: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """``value`` within bounds, exactly; beyond them its gradient is ``LEAK``, as learning would end with the true 0."""
    low, high = (torch.as_tensor(bound, dtype=value.dtype) for bound in (low, high))
    inside = torch.clamp(value, low, high)
    beyond = LEAK * (value - inside)
    return inside + (beyond - beyond.detach())


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the rule.

    Attributes:
        act: from the numbers of a network ``(n, a)``, near 0 at the start, and its inputs ``vector`` ``(n, k)`` to
            actions; it becomes a part of exported networks.
        encoders: names of the encoders whose inputs it can read; none: any.
    """

    act: Act
    encoders: tuple[str, ...] = ()


def box_form(space: spaces.Space[Any]) -> Form:
    """Actions within a box: from its centre, half a width per unit where it is bounded, else the numbers themselves.

    Raises:
        UsageError: the actions are no vector of numbers.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise UsageError(f"pathwise training needs actions in a flat Box; the action space is {space}")
    bounded = np.isfinite(space.low) & np.isfinite(space.high)
    low, high = (torch.from_numpy(np.asarray(bound, np.float32)) for bound in (space.low, space.high))
    ends = [torch.where(torch.from_numpy(bounded), bound, unbounded) for bound, unbounded in ((low, -1.0), (high, 1.0))]
    centre, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    return Form(lambda output, vector: clipped(centre + half * output, low, high))


def choose_form(problem: Any, space: spaces.Space[Any], name: str | None, encoder: str) -> tuple[str, Form]:
    """A form by name, or the problem's first that can read the encoder; every problem has ``box``.

    Raises:
        UsageError: there is no form of that name, or it cannot read what the encoder gives.
    """
    own: Mapping[str, Form] = problem.rule_forms() if hasattr(problem, "rule_forms") else {}
    readable = [known for known, form in own.items() if not form.encoders or encoder in form.encoders]
    chosen = next(iter(readable), "box") if name is None else name
    if chosen not in (*own, "box"):
        raise UsageError(f"no form of the rule {chosen!r}; this problem has {', '.join([*own, 'box'])}")
    form = own[chosen] if chosen in own else box_form(space)
    if chosen in own and chosen not in readable:
        given = ", ".join(form.encoders)
        raise UsageError(f"the form {chosen!r} reads what the encoders {given} give; the encoder is {encoder!r}")
    return chosen, form

"""Heads: what turns the numbers that an actor network gives into a distribution over actions.

``build_head`` chooses one that fits an action space; the kinds are in ``heads_discrete``, ``heads_continuous`` and
``heads_hybrid``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.errors import UsageError
from interlock.core.heads_base import Head
from interlock.core.heads_continuous import BetaHead, DirichletHead, GaussianHead, TanhGaussianHead
from interlock.core.heads_discrete import AutoregressiveHead, CategoricalHead, MultiDiscreteHead
from interlock.core.heads_hybrid import HybridHead
from interlock.core.heads_masks import MASKED, mask_scores

__all__ = ["KINDS", "MASKED", "Head", "build_head", "mask_scores"]


def build_head(action_space: spaces.Space[Any], kind: str | None = None, **options: Any) -> Head:
    """A head for the actions of an environment.

    Args:
        action_space: of one row: ``Discrete``, ``MultiDiscrete``, a flat ``Box``, or a ``Tuple`` of ``Discrete`` and
            ``Box``.
        kind: a name in ``KINDS``; without it the one that suits the space, where a bounded box gets ``beta`` and any
            other ``gaussian``.
        **options: ``log_std`` of ``gaussian`` and ``tanh_gaussian``; ``unallocated`` of ``dirichlet``; ``part`` of
            ``hybrid``: the kind of its continuous numbers, beside the options of that kind.

    Raises:
        UsageError: unknown kind or option, an option of the wrong type, or the kind does not fit the space.
    """
    kind = _usual(action_space) if kind is None else kind
    if kind not in KINDS:
        raise UsageError(f"no head is called {kind!r}; there are {', '.join(KINDS)}")
    described = KINDS[kind]
    if not described.fits(action_space):
        raise UsageError(f"a head of kind {kind!r} needs {described.needs}; the action space is {action_space}")
    # A hybrid head hands options on to its part, which checks them.
    unknown = sorted(set(options) - set(described.options)) if kind != "hybrid" else []
    if unknown:
        takes = ", ".join(described.options) or "none"
        raise UsageError(f"a head of kind {kind!r} has no option {', '.join(unknown)}; options: {takes}")
    wrong = [
        f"option {name} must be {OPTIONS[name][0]}, got {value!r}"
        for name, value in options.items()
        if name in OPTIONS and not OPTIONS[name][1](value)
    ]
    if wrong:
        raise UsageError(f"a head of kind {kind!r}: {'; '.join(wrong)}")
    return described.build(action_space, **options)


def _usual(space: Any) -> str:
    """Kind of head for a space when none is asked for."""
    if isinstance(space, spaces.Box):
        return "beta" if _is_bounded(space) else "gaussian"
    usual = {spaces.Discrete: "categorical", spaces.MultiDiscrete: "multi_discrete", spaces.Tuple: "hybrid"}
    for type_, kind in usual.items():
        if isinstance(space, type_):
            return kind
    raise UsageError(f"no head for the action space {space}: it must be Discrete, MultiDiscrete, Box or Tuple")


def _is_discrete(space: Any) -> bool:
    return isinstance(space, spaces.Discrete) and bool(space.start == 0)


def _is_multi_discrete(space: Any) -> bool:
    return isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1 and not np.any(space.start)


def _is_pair(space: Any) -> bool:
    return _is_multi_discrete(space) and len(space.nvec) == 2


def _is_box(space: Any) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)


def _is_bounded(space: Any) -> bool:
    return _is_box(space) and bool(np.isfinite([space.low, space.high]).all())


def _is_unit_box(space: Any) -> bool:
    return _is_box(space) and bool((space.low == 0).all() and (space.high == 1).all())


def _is_choice_and_box(space: Any) -> bool:
    return isinstance(space, spaces.Tuple) and len(space) == 2 and _is_discrete(space[0]) and _is_box(space[1])


def _hybrid(space: Any, part: str | None = None, **options: Any) -> Head:
    return HybridHead(int(space[0].n), build_head(space[1], part, **options))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of head.

    Attributes:
        needs: the action spaces it is for, in words.
        fits: whether an action space is one of them.
        build: the head for such a space, with options.
        options: their names.
    """

    needs: str
    fits: Callable[[Any], bool]
    build: Callable[..., Head]
    options: tuple[str, ...] = ()


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


OPTIONS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "log_std": ("a finite number", _is_finite_number),
    "unallocated": ("true or false", lambda value: isinstance(value, bool)),
    "part": ("the name of a kind of head, or null", lambda value: value is None or isinstance(value, str)),
}
"""Option -> what it must be, in words and as a check."""

_BOX = "a flat Box of floating-point numbers"
KINDS: Mapping[str, Kind] = {
    "categorical": Kind("a Discrete space that starts at 0", _is_discrete, lambda space: CategoricalHead(int(space.n))),
    "multi_discrete": Kind(
        "a flat MultiDiscrete space that starts at 0", _is_multi_discrete, lambda space: MultiDiscreteHead(space.nvec)
    ),
    "autoregressive": Kind(
        "a MultiDiscrete space of two factors that start at 0",
        _is_pair,
        lambda space: AutoregressiveHead(int(space.nvec[0]), int(space.nvec[1])),
    ),
    "gaussian": Kind(
        _BOX, _is_box, lambda space, **options: GaussianHead(space.low, space.high, **options), ("log_std",)
    ),
    "tanh_gaussian": Kind(
        f"{_BOX}, bounded",
        _is_bounded,
        lambda space, **options: TanhGaussianHead(space.low, space.high, **options),
        ("log_std",),
    ),
    "beta": Kind(f"{_BOX}, bounded", _is_bounded, lambda space: BetaHead(space.low, space.high)),
    "dirichlet": Kind(
        f"{_BOX} from 0 to 1",
        _is_unit_box,
        lambda space, **options: DirichletHead(space.shape[0], **options),
        ("unallocated",),
    ),
    "hybrid": Kind(
        "a Tuple of a Discrete space that starts at 0 and a flat Box", _is_choice_and_box, _hybrid, ("part",)
    ),
}

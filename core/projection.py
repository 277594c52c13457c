"""Projection of actions onto convex sets: the nearest action that satisfies every hard constraint of its row.

    a = argmin_x ||x - y||^2   subject to   lower <= x <= upper   and   sum x <= budget   or   A x <= b, E x = e

All three kinds of set are solved exactly (no iteration limit decides the answer), row by row of a batch, each row with
bounds, budgets and limits of its own: `Box` by clipping, `Budget` by fixing variables, `Polytope` by a dual active-set
method. Needs no torch; ``interlock.core.actor_critic.projection`` is the layer with gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interlock.core.errors import BadInput, InfeasibleActionSet, InterlockError
from interlock.core.projection_kernels import EMPTY, STUCK, budget_rows, polytope_rows

Array = NDArray[Any]

PENALTY = 0.01
"""Usual weight ``w`` of the penalty ``w ||a - y||^2`` that keeps a policy from leaning on the projection."""

TOLERANCE = 1e-9
"""Relative contradiction between bounds and a budget that counts as rounding: the set is then a single point."""


@dataclass(frozen=True, slots=True)
class Box:
    """``lower <= x <= upper``. Bounds of a `Box`, `Budget` or `Polytope` may be infinite.

    Attributes:
        lower: anything that broadcasts to ``(n, d)``: one number, ``(d,)``, or a row of the batch each.
        upper: likewise.
        coordinates: ``d`` names for messages; ``x[0]``, ``x[1]``, ... without.
    """

    lower: ArrayLike
    upper: ArrayLike
    coordinates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """``lower <= x <= upper`` and ``sum x <= budget``; with ``equal``, the whole budget must be used.

    A simplex is ``Budget(0, np.inf, 1, equal=True)``.

    Attributes:
        lower: as in `Box`.
        upper: as in `Box`.
        budget: one number, or ``(n,)``.
        equal: ``sum x == budget`` instead.
        coordinates: as in `Box`.
        name: of the budget, for messages.
    """

    lower: ArrayLike
    upper: ArrayLike
    budget: ArrayLike
    equal: bool = False
    coordinates: tuple[str, ...] = ()
    name: str = "budget"


@dataclass(frozen=True, slots=True)
class Polytope:
    """``lower <= x <= upper`` and ``matrix x <= limit``, or ``==`` in some rows of the matrix.

    Attributes:
        lower: as in `Box`.
        upper: as in `Box`.
        matrix: ``(m, d)``, or ``(n, m, d)`` if it differs between rows of the batch.
        limit: one number, ``(m,)`` or ``(n, m)``.
        equal: which of the ``m`` are equalities: one truth value or ``(m,)``.
        names: ``m`` names for messages; ``constraint 0``, ... without.
        coordinates: as in `Box`.
    """

    lower: ArrayLike
    upper: ArrayLike
    matrix: ArrayLike
    limit: ArrayLike
    equal: ArrayLike = False
    names: tuple[str, ...] = ()
    coordinates: tuple[str, ...] = ()


ActionSet = Box | Budget | Polytope


@dataclass(frozen=True, slots=True)
class Face:
    """The face of its set on which each projected action lies: where the projection may move if ``y`` does.

    Attributes:
        free: bool ``(n, d)``; the other coordinates are held by a bound.
        normals: ``(n, k, d)`` orthonormal directions in the free coordinates that binding constraints forbid; zeros
            fill up where fewer than ``k`` bind.
    """

    free: Array
    normals: Array


def project(y: ArrayLike, set_: ActionSet) -> Array:
    """The nearest feasible action, ``(n, d)`` float64.

    Args:
        y: ``(n, d)`` actions as proposed.
        set_: what is feasible in each row.

    Raises:
        InfeasibleActionSet: some rows have no feasible action; names the constraints involved.
        BadInput: shapes do not fit, or numbers are missing or not finite where they must be.
    """
    return project_to_face(y, set_)[0]


def project_to_face(y: ArrayLike, set_: ActionSet) -> tuple[Array, Face]:
    """As `project`, with the face that each action lies on, which gives the derivative: see `Face`."""
    if np.ndim(y) != 2:
        raise BadInput("projection", [f"y has shape {np.shape(y)}, expected (n, d)"])
    reader = _Reader()
    raw = reader.numbers("y", y, np.shape(y))
    lower = reader.numbers("lower", set_.lower, raw.shape, low=True)
    upper = reader.numbers("upper", set_.upper, raw.shape, high=True)
    labels = reader.names("coordinates", set_.coordinates, "x[{}]", raw.shape[1])
    if isinstance(set_, Polytope):
        return _project_polytope(raw, lower, upper, set_, labels, reader)
    if isinstance(set_, Budget):
        budget = reader.numbers("budget", set_.budget, raw.shape[:1], high=not set_.equal)
        reader.check()
        _refuse(_crossed(lower, upper, labels) or _overspent(lower, upper, budget, set_))
        action, free, binding = budget_rows(raw, lower, upper, budget, set_.equal)
        share = free & binding[:, None]
        return action, Face(free, (share / np.sqrt(np.maximum(share.sum(1, keepdims=True), 1)))[:, None])
    reader.check()
    _refuse(_crossed(lower, upper, labels))
    free = (lower <= raw) & (raw <= upper) & (lower < upper)
    return np.clip(raw, lower, upper), Face(free, np.zeros((len(raw), 0, raw.shape[1])))


def distance(y: ArrayLike, action: ArrayLike) -> Array:
    """``(n,)`` Euclidean distance between proposed and projected actions: how much a policy leans on the projection."""
    moved: Array = np.linalg.norm(np.asarray(action, np.float64) - np.asarray(y, np.float64), axis=-1)
    return moved


def _project_polytope(
    y: Array, lower: Array, upper: Array, set_: Polytope, labels: Sequence[str], reader: "_Reader"
) -> tuple[Array, Face]:
    n, d = y.shape
    shape = np.shape(set_.matrix)
    if len(shape) not in (2, 3):
        raise BadInput("projection", [*reader.problems, f"matrix has shape {shape}, expected (m, d) or (n, m, d)"])
    m = shape[-2]
    matrix = reader.numbers("matrix", set_.matrix, (n if len(shape) == 3 else 1, m, d))
    limit = reader.numbers("limit", set_.limit, (n, m), high=True)
    names = reader.names("names", set_.names, "constraint {}", m)
    equal = reader.broadcast("equal", set_.equal, (m,), np.bool_)
    if not np.isfinite(limit[:, equal]).all():
        reader.problems.append("limit of an equality is not finite")
    reader.check()
    _refuse(_crossed(lower, upper, labels))
    length = np.linalg.norm(matrix, axis=2)
    length = np.where(length > 0, length, 1.0)
    action, basis, status, conflict = polytope_rows(y, matrix / length[..., None], limit / length, equal, lower, upper)
    if (status == EMPTY).any():
        limits = np.concatenate([limit, upper, lower], axis=1)
        signs = ["=" if is_equal else "<=" for is_equal in equal] + ["<="] * d + [">="] * d
        of = [*names, *(f"upper bound of {c}" for c in labels), *(f"lower bound of {c}" for c in labels)]
        _refuse(
            [_contradiction(int(row), conflict[row], limits[row], signs, of) for row in np.flatnonzero(status == EMPTY)]
        )
    if (status == STUCK).any():
        rows = np.flatnonzero(status == STUCK)
        raise InterlockError(
            f"projection: the active-set method did not end in {len(rows)} rows, first in row {rows[0]}"
        )
    return action, Face(np.ones((n, d), np.bool_), basis)


def _contradiction(row: int, involved: Array, limits: Array, signs: Sequence[str], names: Sequence[str]) -> str:
    parts = [f"{names[p]} ({signs[p]} {limits[p]:g})" for p in np.flatnonzero(involved).tolist()]
    if len(parts) == 1:
        return f"{parts[0]} can never hold: its coefficients are all 0 (row {row})"
    return f"{', '.join(parts[:-1])} and {parts[-1]} contradict each other (row {row})"


def _crossed(lower: Array, upper: Array, labels: Sequence[str]) -> list[str]:
    return [
        f"lower bound {lower[row, j]:g} of {labels[j]} exceeds its upper bound {upper[row, j]:g} (row {row})"
        for row, j in np.argwhere(lower > upper)
    ]


def _overspent(lower: Array, upper: Array, budget: Array, set_: Budget) -> list[str]:
    least, most = lower.sum(1), upper.sum(1)
    scale = 1.0 + np.abs(budget)
    found = [
        f"sum of lower bounds {least[row]:g} exceeds {set_.name} {budget[row]:g} (row {row})"
        for row in np.flatnonzero(least > budget + TOLERANCE * (scale + np.abs(lower).sum(1)))
    ]
    if set_.equal:
        found += [
            f"sum of upper bounds {most[row]:g} is below {set_.name} {budget[row]:g}, to be used in full (row {row})"
            for row in np.flatnonzero(most < budget - TOLERANCE * (scale + np.abs(upper).sum(1)))
        ]
    return found


def _refuse(problems: list[str]) -> None:
    if problems:
        raise InfeasibleActionSet(problems)


class _Reader:
    """Brings the parts of a set to the shapes that the kernels need, and collects all that is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def numbers(
        self, name: str, values: ArrayLike, shape: tuple[int, ...], *, low: bool = False, high: bool = False
    ) -> Array:
        """Float64 of this shape, contiguous; ``low`` allows minus infinity, ``high`` infinity."""
        array = self.broadcast(name, values, shape, np.float64)
        good = np.isfinite(array) | ((array == -np.inf) & low) | ((array == np.inf) & high)
        if not good.all():
            place = tuple(int(k) for k in np.argwhere(~good)[0])
            self.problems.append(f"{name}{list(place)} is {array[place]}")
        return array

    def broadcast(self, name: str, values: ArrayLike, shape: tuple[int, ...], dtype: Any) -> Array:
        """Of this shape; zeros where that is impossible."""
        try:
            return np.array(np.broadcast_to(np.asarray(values, dtype), shape), order="C")
        except ValueError:
            self.problems.append(f"{name} has shape {np.shape(values)}, expected what broadcasts to {shape}")
            return np.zeros(shape, dtype)

    def names(self, name: str, given: tuple[str, ...], pattern: str, count: int) -> Sequence[str]:
        """The given names, or numbered ones."""
        if given and len(given) != count:
            self.problems.append(f"{name}: {len(given)} given, expected {count}")
        return given or [pattern.format(k) for k in range(count)]

    def check(self) -> None:
        """Raise what was collected."""
        if self.problems:
            raise BadInput("projection", self.problems)

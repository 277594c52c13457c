"""The projection layer for deterministic gradients: feasible actions that a network can be trained through.

On the face ``F`` of the set that holds the projected action, ``da/dy = P_F``, the orthogonal projection onto the
directions in which the face extends: the identity on free coordinates, minus ``1 1' / |F|`` where a budget binds; for a
polytope ``I - N (N'N)^-1 N'`` with the normals ``N`` of the active constraints, which is the linear solve of the KKT
conditions on the active set. On the kinks between faces this is one of several generalised derivatives.

Stochastic policy gradients need none of this: sample freely, execute the projected action and keep the probability of
the raw one; see ``interlock.core.projected_environment``.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from interlock.core.projection import PENALTY, ActionSet, Face, project_to_face


def project(y: Tensor, set_: ActionSet, *, straight_through: bool = False) -> Tensor:
    """The nearest feasible action, ``(n, d)``, in the dtype and on the device of ``y``.

    It is solved in float64; rounding to float32 can leave the set by as much.

    Args:
        y: ``(n, d)`` proposed actions.
        set_: what is feasible in each row; no gradient flows into it.
        straight_through: let the gradient pass as if nothing had been projected, so that it does not vanish where all
            coordinates are held by constraints.

    Raises:
        InfeasibleActionSet: some rows have no feasible action.
        BadInput: shapes or numbers are wrong.
    """
    result: Tensor = _Projection.apply(y, set_, straight_through)  # type: ignore[no-untyped-call]
    return result


def distance(y: Tensor, action: Tensor) -> Tensor:
    """``(n,)`` Euclidean distance between proposed and projected actions, without gradient: a figure to report."""
    moved: Tensor = (action.detach() - y.detach()).norm(dim=-1)
    return moved


def penalty(y: Tensor, action: Tensor, weight: float = PENALTY) -> Tensor:
    """``(n,)`` penalty ``weight ||a - y||^2`` on leaning on the projection.

    Its gradient ``2 weight (y - a)`` is exact although ``action`` is held fixed: at the nearest point, moving along the
    set changes the squared distance by nothing. So it also holds with ``straight_through``.
    """
    squared: Tensor = (action.detach() - y).square().sum(-1)
    return weight * squared


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, set_: ActionSet, straight_through: bool) -> Tensor:
        action, face = project_to_face(y.detach().cpu().numpy(), set_)
        ctx.face = None if straight_through else face
        return torch.from_numpy(action).to(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        return gradient if ctx.face is None else _along(ctx.face, gradient), None, None


def _along(face: Face, gradient: Tensor) -> Tensor:
    """The part of the gradient along the face."""
    normals = torch.from_numpy(face.normals).to(gradient)
    inside = torch.where(torch.from_numpy(face.free).to(gradient.device), gradient, 0.0)
    return inside - torch.einsum("nk,nkd->nd", torch.einsum("nkd,nd->nk", normals, inside), normals)

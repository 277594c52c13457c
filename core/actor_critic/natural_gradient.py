"""Natural gradients: products with the Fisher matrix, conjugate gradients, and a line search that can be undone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Parameters = Sequence[torch.nn.Parameter]


def gradient(value: Tensor, parameters: Parameters, *, keep: bool = False) -> Tensor:
    """Gradient of a scalar as one flat vector; zero where a parameter does not matter.

    Args:
        value: scalar.
        parameters: ``P`` numbers in all.
        keep: whether further gradients of the same graph, or of the result, will be taken.
    """
    found = torch.autograd.grad(value, list(parameters), create_graph=keep, allow_unused=True, materialize_grads=True)
    return torch.cat([part.reshape(-1) for part in found])


def fisher_product(divergence: Tensor, parameters: Parameters, damping: float) -> Callable[[Tensor], Tensor]:
    """Products ``(H + damping I) v`` with the Hessian ``H`` of a divergence.

    Where the divergence is the mean Kullback-Leibler divergence of the policy from itself, ``H`` is its Fisher matrix.

    Args:
        divergence: scalar, as a function of the parameters.
        parameters: ``P`` numbers in all.
        damping: added to the diagonal.

    Returns:
        A function of a vector ``(P,)``.
    """
    slope = gradient(divergence, parameters, keep=True)

    def product(vector: Tensor) -> Tensor:
        found = torch.autograd.grad(
            slope @ vector, list(parameters), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.reshape(-1) for part in found]) + damping * vector

    return product


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """Solve ``H x = right`` for a positive definite ``H`` known by its products (Hestenes, Stiefel 1952).

    Args:
        product: ``v -> H v``.
        right: ``(P,)``.
        iterations: at most so many products.
        tolerance: stop when the squared residual is this share of that of ``x = 0``.
    """
    x, residual, direction = torch.zeros_like(right), right.clone(), right.clone()
    size = first = residual @ residual
    for _ in range(iterations):
        if size <= tolerance * first or first == 0:
            break
        image = product(direction)
        step = size / (direction @ image)
        x = x + step * direction
        residual = residual - step * image
        previous, size = size, residual @ residual
        direction = residual + size / previous * direction
    return x


def line_search(
    parameters: Parameters, step: Tensor, accept: Callable[[], bool], *, shrink: float = 0.8, tries: int = 15
) -> float:
    """Go along a step, or the largest of its fractions ``1, shrink, shrink^2, ...`` that is accepted.

    Args:
        parameters: changed in place; exactly as before, to the last bit, if nothing is accepted.
        step: ``(P,)``.
        accept: looks at the parameters as they are.
        shrink: factor from one try to the next.
        tries: how many.

    Returns:
        The fraction, 0 if nothing was accepted.
    """
    before = [parameter.detach().clone() for parameter in parameters]
    parts = [
        part.view_as(parameter)
        for part, parameter in zip(step.split([p.numel() for p in parameters]), parameters, strict=True)
    ]
    for attempt in range(tries):
        fraction = shrink**attempt
        _assign(parameters, [old + fraction * part for old, part in zip(before, parts, strict=True)])
        if accept():
            return fraction
    _assign(parameters, before)
    return 0.0


def _assign(parameters: Parameters, values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)

"""From any number to a share in [0, 1] that can sit at either end and leave it again."""

from functools import cache
from types import ModuleType
from typing import Any

STRETCH = 1.2
"""The sigmoid is stretched about 1/2 by this and clipped: good targets are often at an extreme."""


def share(xp: ModuleType, raw: Any) -> Any:
    """A stretched sigmoid, clipped to [0, 1].

    At an end the derivative is zero; torch lets the gradient through all the same where a step against it leads back
    inside, otherwise a target that came to an end by chance would stay there.

    Args:
        xp: ``numpy`` or ``torch``.
        raw: any numbers.
    """
    stretched = 0.5 + STRETCH * (1.0 / (1.0 + xp.exp(-raw)) - 0.5)
    return xp.clip(stretched, 0.0, 1.0) if xp.__name__ == "numpy" else _inward_clip()(stretched)


@cache
def _inward_clip() -> Any:
    import torch

    class InwardClip(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, values: Any) -> Any:
            context.save_for_backward(values)
            return values.clip(0.0, 1.0)

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            (values,) = context.saved_tensors
            outward = ((values < 0.0) & (gradient > 0.0)) | ((values > 1.0) & (gradient < 0.0))
            return gradient.masked_fill(outward, 0.0)

    return InwardClip.apply

"""Masks of actions: exact ones, which the environment knows, and soft ones, which a network has learned.

Exact masks set scores to ``-1e9``, never to minus infinity, which gives NaN where nothing is feasible. A learned mask
predicts the exact one from the state, for when the exact one is slow or missing at decision time; ``mask_error`` and
``infeasible_probability`` are added to the loss of the policy, as Zhao et al. (AAAI 2021) do for online packing.
"""

import torch
from torch import Tensor
from torch.nn import functional

MASKED = -1e9
"""Score of an infeasible action."""


def mask_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores with infeasible actions at ``MASKED``; their gradient is exactly zero."""
    return torch.where(mask, scores, MASKED)


def soften_scores(scores: Tensor, feasibility: Tensor) -> Tensor:
    """Scores under which probabilities are multiplied by a predicted chance of being feasible, then normalised.

    Args:
        scores: ``(n, A)``.
        feasibility: ``(n, A)`` output of a network; its sigmoid is the predicted chance.
    """
    return scores + functional.logsigmoid(feasibility)


def mask_error(feasibility: Tensor, mask: Tensor) -> Tensor:
    """``(n,)`` mean squared difference between the predicted chance of being feasible and the true mask."""
    return (feasibility.sigmoid() - mask.to(feasibility.dtype)).square().mean(1)


def infeasible_probability(scores: Tensor, mask: Tensor) -> Tensor:
    """``(n,)`` probability of infeasible actions under the softmax of scores: the penalty on a softly masked policy."""
    return torch.where(mask, 0.0, scores.softmax(1)).sum(1)

"""Heads of every kind, with random parameters and masks, and all their actions with weights of a sum or quadrature."""

from itertools import product
from math import inf

import numpy as np
import torch

from interlock.core.heads_continuous import BetaHead, DirichletHead, GaussianHead, TanhGaussianHead
from interlock.core.heads_discrete import AutoregressiveHead, CategoricalHead, MultiDiscreteHead
from interlock.core.heads_hybrid import HybridHead

HEADS = {
    "categorical": CategoricalHead(5),
    "multi_discrete": MultiDiscreteHead([2, 4, 3]),
    "multi_discrete, equal sizes": MultiDiscreteHead([3, 3]),
    "autoregressive": AutoregressiveHead(3, 4),
    "gaussian": GaussianHead([-inf], [inf]),
    "gaussian, 2": GaussianHead([-1, 0], [3, inf]),
    "tanh_gaussian": TanhGaussianHead([-1], [3]),
    "tanh_gaussian, 2": TanhGaussianHead([-1, 0], [3, 0.5]),
    "beta": BetaHead([-1], [3]),
    "beta, 2": BetaHead([-1, 0], [3, 0.5]),
    "dirichlet": DirichletHead(3),
    "dirichlet, unallocated": DirichletHead(2, unallocated=True),
    "hybrid": HybridHead(3, BetaHead([-1], [3])),
    "hybrid, gaussian": HybridHead(2, GaussianHead([-1, 0], [3, inf])),
}
MASKABLE = [name for name in HEADS if name.split(",")[0] in ("categorical", "multi_discrete", "autoregressive")]
WITH_CHOICE = [*MASKABLE, "hybrid", "hybrid, gaussian"]
CONTINUOUS = [name for name in HEADS if name not in MASKABLE and "hybrid" not in name]


def random_parameters(head, rows, seed=0, spread=1.0):
    """Float64, around the initial values of the free ones."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, head.outputs + len(head.free), generator=generator, dtype=torch.float64) * spread
    noise[:, head.outputs :] = torch.tensor(head.free) + 0.3 * noise[:, head.outputs :]
    return noise


def mask_width(head):
    return {"autoregressive": 12, "hybrid": getattr(head, "choices", 0)}.get(head.kind, head.outputs)


def random_mask(head, rows, seed=0):
    """At least one option of each choice is left."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, mask_width(head), generator=generator) < 0.5
    sizes = head.sizes if head.kind == "multi_discrete" else (mask.shape[1],)
    for part in mask.split(sizes, 1):
        part[torch.arange(rows), torch.randint(part.shape[1], (rows,), generator=generator)] = True
    return mask


def feasible(head, mask, raw):
    """Whether each action is allowed by its row of a mask."""
    rows = torch.arange(len(mask))
    if head.kind == "categorical":
        return mask[rows, raw]
    if head.kind == "autoregressive":
        return mask[rows, raw[:, 0] * 4 + raw[:, 1]]
    if head.kind == "hybrid":
        return mask[rows, raw[:, 0].long()]
    return torch.stack([part[rows, raw[:, i]] for i, part in enumerate(mask.split(head.sizes, 1))]).all(0)


def interval(count=400):
    """Nodes, their logits and weights on (0, 1): the trapezoidal rule for the logit, so nodes gather at the ends."""
    logit = np.linspace(-38, 38, count)
    node = 1 / (1 + np.exp(-logit))
    return node, logit, (logit[1] - logit[0]) * node / (1 + np.exp(logit))


def line(count=400, reach=25.0):
    """Nodes and weights on the whole line, for densities that vanish beyond ``reach``."""
    u = np.linspace(-reach, reach, count)
    return u, np.full(count, u[1] - u[0])


def raw_box(head):
    """Raw actions of a box head, and weights of the environment's units: the map to the box undone by hand."""
    axes = []
    count = 400 if head.box.size == 1 else 160
    for a, b in zip(head.box.low.tolist(), head.box.high.tolist(), strict=True):
        if head.kind == "gaussian":
            nodes, weights = line(count)
            axes.append((nodes, weights * ((b - a) / 2 if np.isfinite(b - a) else 1.0)))
            continue
        nodes, logits, weights = interval(count)
        axes.append((nodes if head.kind == "beta" else logits / 2, weights * (b - a)))
    grid = np.stack(np.meshgrid(*(nodes for nodes, _ in axes), indexing="ij"), -1).reshape(-1, len(axes))
    weight = np.stack(np.meshgrid(*(weights for _, weights in axes), indexing="ij"), -1).reshape(-1, len(axes)).prod(1)
    return grid, weight


def everything(head):
    """All raw actions with weights: ``(weights * f(raw)).sum()`` is the sum or integral of ``f`` over actions."""
    if head.kind in ("categorical", "multi_discrete", "autoregressive"):
        sizes = {"categorical": (head.outputs,), "autoregressive": (3, 4)}.get(head.kind) or head.sizes
        raw = torch.tensor(list(product(*map(range, sizes))))
        return (raw[:, 0] if head.kind == "categorical" else raw), torch.ones(len(raw), dtype=torch.float64)
    if head.kind == "hybrid":
        numbers, weights = everything(head.part)
        raw = [torch.cat([torch.full((len(numbers), 1), float(k)), numbers], 1) for k in range(head.choices)]
        return torch.cat(raw), weights.repeat(head.choices)
    if head.kind == "dirichlet":  # Three shares: break a stick, then the rest.
        nodes, _, weights = interval(250)
        first, rest = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
        weight = np.outer(weights, weights).ravel() * (1 - first)
        raw = np.stack([first, (1 - first) * rest, (1 - first) * (1 - rest)], 1)
    else:
        raw, weight = raw_box(head)
    return torch.tensor(raw), torch.tensor(weight)

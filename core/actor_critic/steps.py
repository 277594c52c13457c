"""Small things that the rules share: value steps, and optimiser moments as arrays for checkpoints."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.rule import Batch
from interlock.core.environment import Array
from interlock.core.networks import ActorCritic


def fit_critic(
    network: ActorCritic,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    *,
    epochs: int,
    minibatch: int,
    rng: np.random.Generator,
) -> float:
    """Value steps alone, for methods whose policy step is not a gradient step; gives the mean loss."""
    losses = []
    for _ in range(epochs):
        for some in batch.minibatches(minibatch, rng):
            loss = (network(**some.inputs)[1] - some.targets).square().mean(0).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def prefixed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays under longer names."""
    return {prefix + name: array for name, array in arrays.items()}


def part(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Array]:
    """Moments of an optimiser as arrays."""
    return {
        f"{index}/{name}": tensor.numpy().copy()
        for index, moments in optimiser.state_dict()["state"].items()
        for name, tensor in moments.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Array]) -> None:
    """Put back what ``optimiser_state`` gave."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, array in state.items():
        index, name = key.split("/")
        moments.setdefault(int(index), {})[name] = torch.from_numpy(np.array(array))
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})

"""A policy that is a network: acts, saves as safetensors + JSON, exports to ONNX."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput, MissingExtra
from interlock.core.networks import build_network
from interlock.core.policy import Encoder, load_arrays, save_arrays
from interlock.core.problem import Problem


class NetworkPolicy:
    """Scores all actions with a network and takes the best feasible one, or samples from their softmax.

    Args:
        network: maps encoder outputs and mask to scores and value, see ``interlock.core.networks``.
        encoder: raw observation -> inputs of the network.
        description: what ``policy.json`` holds: encoder name, network settings, input shapes, number of actions,
            method, scenario hash, seed.
    """

    def __init__(self, network: nn.Module, encoder: Encoder, description: Mapping[str, Any]):
        self.network = network
        self.encoder = encoder
        self.description = dict(description)
        self.seed(0)

    def scores(self, observation: Observation) -> Tensor:
        """``(n, A)`` scores; infeasible actions at -1e9."""
        with torch.no_grad():
            inputs = {name: torch.from_numpy(array) for name, array in self.encoder(observation).items()}
            mask = torch.from_numpy(np.asarray(observation["action_mask"], np.bool_))
            scores: Tensor = self.network(**inputs, action_mask=mask)[0]
        return scores

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """Best feasible action per row, or a draw from the softmax of the scores."""
        scores = self.scores(observation)
        if not deterministic:
            scores = gumbel(scores, self.generator)
        actions: Array = scores.argmax(1).numpy()
        return actions

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Restart the generator of the draws."""
        self.generator = torch.Generator().manual_seed(seed)

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json``."""
        arrays = {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}
        save_arrays(folder, arrays, self.description)

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """Write ``policy.onnx``: inputs by name and ``action_mask``, outputs ``scores`` and ``value``, any batch size.

        Raises:
            MissingExtra: onnx or onnxscript is not installed.
        """
        try:
            import onnx  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise MissingExtra("exporting a network", "export") from error
        batch = torch.export.Dim("batch", min=1, max=65536)
        shapes: dict[str, list[int]] = self.description["input_shapes"]
        example = {name: torch.zeros(2, *shape) for name, shape in shapes.items()}
        example["action_mask"] = torch.ones(2, self.description["actions"], dtype=torch.bool)
        self.network.eval()
        with warnings.catch_warnings(), _quiet_exporter():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.network,
                (),
                folder / "policy.onnx",
                kwargs=example,
                input_names=list(example),
                output_names=["scores", "value"],
                dynamic_shapes={name: {0: batch} for name in example},
                opset_version=18,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        return {
            "kind": "onnx",
            "encoder": self.description["encoder"],
            "file": "policy.onnx",
            "inputs": list(example),
        }


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's notes about packages that nobody needs off the screen; errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def gumbel(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Scores plus Gumbel noise: their argmax is a draw from the softmax."""
    noise = torch.rand(scores.shape, generator=generator).clamp_(1e-12, 1 - 1e-7)
    return scores - (-noise.log()).log()


def load_network_policy(folder: Path, problem: Problem) -> NetworkPolicy:
    """Read a policy folder for a problem.

    Raises:
        BadInput: the folder is damaged, or the policy was made for other observations or actions than this problem has.
    """
    arrays, description = load_arrays(folder, problem.scenario)
    encoder = problem.encoders()[description["encoder"]]
    first = problem.environment(1, seed=0, split="train").reset()
    example = encoder(first)
    shapes = {name: list(array.shape[1:]) for name, array in example.items()}
    actions = int(first["action_mask"].shape[1])
    made_for = (description["input_shapes"], description["actions"])
    if made_for != (shapes, actions):
        raise BadInput(
            str(folder),
            [f"made for inputs {made_for[0]} and {made_for[1]} actions; this scenario has {shapes} and {actions}"],
        )
    network = build_network(example, actions, NetworkSettings(**description["network"]), seed=0)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return NetworkPolicy(network, encoder, description)

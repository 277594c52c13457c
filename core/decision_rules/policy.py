"""A trained decision rule as a policy: it proposes target states and keeps what it remembers of every row."""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.decision_rules.contract import DecisionProgram
from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput
from interlock.core.multistage.stage import Multistage
from interlock.core.network_policy import quiet_exporter
from interlock.core.policy import choose_encoder, load_arrays, save_arrays
from interlock.core.problem import Problem
from interlock.solvers.interface import Solver

ENCODER = "rule"
"""Encoder of a problem that gives ``features`` ``(n, f)`` and the scaled ``state`` ``(n, s)``."""


class RuleProblem(Problem, Protocol):
    """A problem that decision rules can be trained on."""

    def decision_program(self) -> DecisionProgram:
        """The stages as decision rules see them."""
        ...

    def multistage(self) -> Multistage:
        """The same as linear programs, for rollouts that follow targets softly."""
        ...

    def solver(self) -> Solver:
        """What solves them."""
        ...

    def stage_view(self, observation: Observation) -> tuple[Array, Array, Array]:
        """Stage from 0 ``(n,)``, incoming states ``(n, s)`` and noises ``(n, k)`` of observations."""
        ...


class RulePolicy:
    """Implements ``interlock.core.policy.SavedPolicy``; recurrent if its network has an encoder.

    Args:
        network: of the rule.
        problem: supplies encoder, view and reachable map.
        description: written beside the weights.
    """

    def __init__(self, network: RuleNetwork, problem: RuleProblem, description: Mapping[str, Any]):
        self.network, self.problem, self.description = network.eval(), problem, dict(description)
        self.program = problem.decision_program()
        _, self.encoder = choose_encoder(problem, ENCODER)
        self.memory: tuple[Tensor, Tensor] | None = None
        self.last: RulePolicy | None = None

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """Target states ``(n, s)``; the rule has no randomness."""
        inputs = {name: torch.from_numpy(array) for name, array in self.encoder(observation).items()}
        rows = len(inputs["state"])
        if self.network.encoder is not None and (self.memory is None or self.memory[0].shape[1] != rows):
            self.memory = (torch.zeros(1, rows, self.network.units), torch.zeros(1, rows, self.network.units))
        with torch.no_grad():
            hidden, self.memory = self.network.encode(inputs["features"][:, None], self.memory)
            raw = self.network.propose(hidden[:, 0], inputs["state"]).double().numpy()
        _, state, noise = self.problem.stage_view(observation)
        target: Array = self.program.reach(np, raw, state, noise)
        return target

    def reset(self, rows: Array | None = None) -> None:
        """Forget the history of these rows (all, if ``None``)."""
        if rows is None or self.memory is None:
            self.memory = None
            return
        chosen = torch.from_numpy(np.asarray(rows, np.int64))
        for part in self.memory:
            part[:, chosen] = 0.0

    def seed(self, seed: int) -> None:
        """Nothing random."""

    def weights(self) -> dict[str, Array]:
        """A copy of the network's weights."""
        return {name: tensor.numpy().copy() for name, tensor in self.network.state_dict().items()}

    def with_weights(self, weights: Mapping[str, Array]) -> "RulePolicy":
        """The same rule with other weights."""
        network = copy.deepcopy(self.network)
        network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
        return RulePolicy(network, self.problem, self.description)

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json``."""
        save_arrays(folder, self.weights(), self.description)

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """Write ``policy.onnx``, one stage of the network for one request, and its weights for a runner in numpy.

        Inputs are ``features`` ``(1, f)`` and ``state`` ``(1, s)``, with a memory ``hidden`` and ``cell`` ``(1, h)`` as
        well; outputs are ``raw`` ``(1, s)`` and the next memory, ``hidden_next`` and ``cell_next``.
        """
        from safetensors.numpy import save_file

        network = self.network
        example = {"features": torch.zeros(1, network.features), "state": torch.zeros(1, network.states)}
        outputs = ["raw"]
        if network.encoder is not None:
            example |= {"hidden": torch.zeros(1, network.units), "cell": torch.zeros(1, network.units)}
            outputs += ["hidden_next", "cell_next"]  # no two values of a graph share a name
        with warnings.catch_warnings(), quiet_exporter():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Stage(network).eval(),
                tuple(example.values()),
                folder / "policy.onnx",
                input_names=list(example),
                output_names=outputs,
                opset_version=18,
                dynamo=False,
            )
        save_file({name: np.ascontiguousarray(array) for name, array in self.weights().items()}, folder / ARRAYS)
        return {
            "kind": "onnx_recurrent",
            "encoder": ENCODER,
            "file": "policy.onnx",
            "arrays": ARRAYS,
            "inputs": list(example),
        }


ARRAYS = "policy.safetensors"
"""Weights in a bundle, for the runner in numpy."""


class _Stage(nn.Module):
    """One stage of a rule in one graph."""

    def __init__(self, network: RuleNetwork):
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, state: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Raw numbers, and the next memory."""
        parts = tuple(part[None] for part in memory)
        hidden, after = self.network.encode(features[:, None], parts if len(parts) == 2 else None)
        raw = self.network.propose(hidden[:, 0], state)
        return (raw,) if after is None else (raw, *(part[0] for part in after))


def build_network(problem: RuleProblem, encoder: int, head: tuple[int, ...], seed: int) -> RuleNetwork:
    """A fresh network for a problem; the same seed gives the same weights."""
    program = problem.decision_program()
    noise = program.paths(1, np.random.default_rng(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RuleNetwork(program.features(noise).shape[-1], len(program.initial_state), encoder=encoder, head=head)


def load_rule_policy(folder: Path, problem: RuleProblem) -> RulePolicy:
    """Read a policy folder for a problem.

    Raises:
        BadInput: the folder is damaged, or the rule was made for another problem.
    """
    arrays, description = load_arrays(folder, problem.scenario)
    shape = description.get("network")
    if not isinstance(shape, dict) or not isinstance(shape.get("encoder"), int) or not _widths(shape.get("head")):
        raise BadInput(str(folder), [f"policy.json: network: got {shape!r}, expected encoder and head"])
    network = build_network(problem, shape["encoder"], tuple(shape["head"]), 0)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [
        f"policy.safetensors: {name} has shape {arrays[name].shape if name in arrays else None}, "
        f"this problem needs {expected.get(name)}"
        for name in sorted(expected.keys() | arrays.keys())
        if name not in arrays or arrays[name].shape != expected.get(name)
    ]
    if wrong:
        raise BadInput(str(folder), wrong)
    return RulePolicy(network, problem, description).with_weights(arrays)


def _widths(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(width, int) and width > 0 for width in value)

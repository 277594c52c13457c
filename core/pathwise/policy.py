"""A rule trained by pathwise gradients as a policy: a perceptron on standardised inputs, then the form of the rule."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput, UsageError
from interlock.core.network_policy import export_graph
from interlock.core.networks import perceptron
from interlock.core.pathwise.contract import Act, DifferentiableProblem
from interlock.core.pathwise.forms import choose_form
from interlock.core.policy import Encoder, choose_encoder, load_arrays, save_arrays

INPUT = "vector"
"""What an encoder must give: ``(n, k)``."""


class RuleNetwork(nn.Module):
    """Actions ``(n, a)`` of inputs ``(n, k)``.

    Args:
        inputs: k.
        outputs: a.
        hidden: units of the hidden layers.
        act: the form of the rule.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, inputs: int, outputs: int, hidden: tuple[int, ...], act: Act):
        super().__init__()
        self.act = act
        self.layers = perceptron((inputs, *hidden), outputs, 0.01)
        self.register_buffer("shift", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))

    def forward(self, vector: Tensor) -> Tensor:
        """Actions."""
        return self.act(self.layers((vector - self.shift) / self.scale), vector)

    def standardise(self, seen: Tensor) -> None:
        """Take mean and deviation of inputs ``(n, k)``; those that never change stay as they are."""
        deviation = seen.std(0)
        self.shift.copy_(seen.mean(0))
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))


class PathwisePolicy:
    """Implements ``interlock.core.policy.SavedPolicy``; it has no memory and no randomness.

    Args:
        network: of the rule.
        encoder: raw observation -> ``vector``.
        description: what ``policy.json`` holds: encoder, form, hidden layers, inputs and actions, method, scenario.

    Attributes:
        last: the policy of the last update where this one was chosen earlier in training, else ``None``.
    """

    def __init__(self, network: RuleNetwork, encoder: Encoder, description: Mapping[str, Any]):
        self.network, self.encoder, self.description = network, encoder, dict(description)
        self.last: PathwisePolicy | None = None

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """One action per row."""
        with torch.inference_mode():
            actions: Array = self.network(torch.from_numpy(self.encoder(observation)[INPUT])).numpy()
        return actions

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Nothing random."""

    def weights(self) -> dict[str, Array]:
        """A copy of the network's weights."""
        return {name: tensor.numpy().copy() for name, tensor in self.network.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Replace the network's weights."""
        self.network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})

    def with_weights(self, weights: Mapping[str, Array]) -> "PathwisePolicy":
        """The same rule with other weights."""
        other = PathwisePolicy(copy.deepcopy(self.network), self.encoder, self.description)
        other.load_weights(weights)
        return other

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json``."""
        save_arrays(folder, self.weights(), self.description)

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """Write ``policy.onnx``: the input ``vector`` ``(n, k)``, the output ``raw`` ``(n, a)``, the actions.

        Raises:
            MissingExtra: onnx or onnxscript is not installed.
        """
        example = {INPUT: torch.zeros(2, self.description["inputs"])}
        export_graph(self.network, example, ["raw"], folder / "policy.onnx")
        return {
            "kind": "onnx_recurrent",
            "encoder": self.description["encoder"],
            "file": "policy.onnx",
            "inputs": [INPUT],
        }


def new_policy(
    problem: DifferentiableProblem, encoder: str | None, form: str | None, hidden: tuple[int, ...], seed: int
) -> PathwisePolicy:
    """An untrained policy; the same seed gives the same weights, and torch's own generator is left as it was.

    Raises:
        UsageError: there is no such encoder or form, or it does not fit the problem.
    """
    environment = problem.environment(1, seed=0, split="train")
    encoder_name, encode = choose_encoder(problem, encoder)
    example = encode(environment.reset())
    if set(example) != {INPUT} or example[INPUT].ndim != 2:
        raise UsageError(f"pathwise training needs an encoder that gives {INPUT}; {encoder_name} gives {list(example)}")
    form_name, chosen = choose_form(problem, environment.action_space, form, encoder_name)
    inputs, actions = example[INPUT].shape[1], environment.action_space.shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RuleNetwork(inputs, actions, hidden, chosen.act)
    description = {
        "encoder": encoder_name,
        "form": form_name,
        "hidden": list(hidden),
        "inputs": inputs,
        "actions": actions,
        "scenario_hash": problem.scenario.hash(),
        "signature": problem.scenario.signature(),
    }
    return PathwisePolicy(network, encode, description)


MANDATORY: Mapping[str, tuple[str, type]] = {
    "encoder": ("text", str),
    "form": ("text", str),
    "hidden": ("a list", list),
    "inputs": ("a whole number", int),
    "actions": ("a whole number", int),
}
"""What ``policy.json`` says at least, in words and as a type."""


def load_pathwise_policy(folder: Path, problem: DifferentiableProblem) -> PathwisePolicy:
    """Read a policy folder for a problem.

    Raises:
        BadInput: the folder is damaged, or the policy was made for other observations or actions than this problem has.
    """
    arrays, description = load_arrays(folder, problem.scenario)
    wrong = [
        f"policy.json: {name} must be {words}, got {description.get(name)!r}"
        for name, (words, type_) in MANDATORY.items()
        if not isinstance(description.get(name), type_)
    ]
    hidden = description.get("hidden", [])
    if not wrong and not all(isinstance(units, int) and units > 0 for units in hidden):
        wrong.append(f"policy.json: hidden must be numbers of units, got {hidden!r}")
    if wrong:
        raise BadInput(str(folder), wrong)
    try:
        policy = new_policy(problem, description["encoder"], description["form"], tuple(hidden), 0)
    except UsageError as error:
        raise BadInput(str(folder), [f"policy.json: {error}"]) from error
    expected = {name: array.shape for name, array in policy.weights().items()}
    wrong = [
        f"policy.json: made for {description[name]} {name}; this scenario has {policy.description[name]}"
        for name in ("inputs", "actions")
        if description[name] != policy.description[name]
    ]
    wrong += [
        f"policy.safetensors: {name} has shape {arrays[name].shape if name in arrays else None}, "
        f"this rule needs {expected.get(name)}"
        for name in sorted(expected.keys() | arrays.keys())
        if name not in arrays or arrays[name].shape != expected.get(name)
    ]
    if wrong:
        raise BadInput(str(folder), wrong)
    policy.description = description
    policy.load_weights({name: np.asarray(array) for name, array in arrays.items()})
    return policy

"""A policy that is a network: acts, saves as safetensors + JSON, exports to ONNX."""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.actor_critic.learned_mask import build_actor_critic
from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput, MissingExtra, NotExportable, UsageError
from interlock.core.heads import Head, build_head
from interlock.core.networks import ActorCritic
from interlock.core.policy import Encoder, choose_encoder, load_arrays, save_arrays
from interlock.core.problem import Problem

BOX_HEADS = ("gaussian", "tanh_gaussian", "beta")
"""Heads whose action is a vector within a box."""


class NetworkPolicy:
    """A network whose head gives a distribution over actions; takes its mode, or draws.

    Args:
        network: maps encoder outputs (and mask, and memory) to the head's parameters and values.
        encoder: raw observation -> inputs of the network.
        description: what ``policy.json`` holds: encoder name, network settings, head, input shapes, number of masked
            actions, signals, method, scenario hash, seed. With ``randomised`` the finished policy draws its actions
            even when asked for deterministic ones: limits on expectations may be out of reach otherwise.

    Attributes:
        last: the policy of the last update where ``this`` one was chosen earlier in training, else ``None``.
    """

    def __init__(self, network: ActorCritic, encoder: Encoder, description: Mapping[str, Any]):
        self.network = network
        self.encoder = encoder
        self.description = dict(description)
        self.randomised = bool(self.description.get("randomised", False))
        self.last: NetworkPolicy | None = None
        self.remembered: Tensor | None = None
        self.begun: Tensor | None = None
        self.seed(0)

    @property
    def head(self) -> Head:
        """What the network's parameters are parameters of."""
        return self.network.head

    @property
    def unbundled(self) -> str | None:
        """Why no bundle can hold this network, ``None`` if one can: it has no memory, and actions of one part.

        A bundle scores discrete actions, or takes a vector within a box, request by request; recurrent decision rules
        are bundled in a way of their own.
        ``export_scorer`` writes any network, for whoever feeds it the memory or takes its numbers.
        """
        if self.network.blind:
            return "a policy that decides with its own predicted mask is not bundled: bundles have the exact mask"
        if not self.network.memory and self.head.kind in ("categorical", *BOX_HEADS):
            return None
        found = f"a {self.head.kind} head" + (" and a memory" if self.network.memory else "")
        return f"actor-critic networks with a memory or several kinds of action are not bundled yet: this has {found}"

    def inputs(self, observation: Observation) -> dict[str, Tensor]:
        """Arguments of the network, without memory."""
        inputs = {name: torch.from_numpy(array) for name, array in self.encoder(observation).items()}
        if "action_mask" in observation:
            inputs["action_mask"] = torch.from_numpy(np.asarray(observation["action_mask"], np.bool_))
        return inputs

    def parameters(self, observation: Observation, *, blind: bool = False) -> Tensor:
        """``(n, K)`` parameters of the head; scores for discrete actions, infeasible ones at -1e9 unless ``blind``."""
        with torch.inference_mode():
            inputs = self.inputs(observation)
            if blind:
                inputs.pop("action_mask", None)
            if not self.network.memory:
                parameters: Tensor = self.network(**inputs)[0]
                return parameters
            rows = len(next(iter(inputs.values())))
            if self.remembered is None or self.begun is None or len(self.remembered) != rows:
                self.remembered, self.begun = torch.zeros(rows, self.network.memory), torch.ones(rows)
            parameters, _, self.remembered = self.network(**inputs, memory=self.remembered, start=self.begun)
            self.begun = torch.zeros(rows)
        return parameters

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """The mode of the distribution per row, or a draw from it."""
        parameters = self.parameters(observation, blind=self.network.blind)
        with torch.inference_mode():
            if deterministic and not self.randomised:
                raw = self.head.mode(parameters)
            else:
                raw = self.head.sample(parameters, self.generator)
            actions: Array = self.head.action(raw).numpy()
        return actions

    def reset(self, rows: Array | None = None) -> None:
        """Forget the history of these rows (all, if ``None``)."""
        if rows is None or self.begun is None:
            self.remembered = self.begun = None
        else:
            begun = self.begun.clone()  # made in inference mode, it may not be changed in place
            begun[torch.from_numpy(np.asarray(rows, np.int64))] = 1.0
            self.begun = begun

    def seed(self, seed: int) -> None:
        """Restart the generator of the draws."""
        self.generator = torch.Generator().manual_seed(seed)

    def weights(self) -> dict[str, Array]:
        """A copy of the network's weights."""
        return {name: tensor.numpy().copy() for name, tensor in self.network.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Replace the network's weights."""
        self.network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})

    def with_weights(self, weights: Mapping[str, Array]) -> "NetworkPolicy":
        """The same policy with other weights."""
        other = NetworkPolicy(copy.deepcopy(self.network), self.encoder, self.description)
        other.load_weights(weights)
        return other

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json``."""
        save_arrays(folder, self.weights(), self.description)

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """Write ``policy.onnx``: inputs by name, any batch size.

        Outputs are ``scores`` and ``value`` for discrete actions, else ``action``, ``action_params`` and ``value``;
        with a memory there are also the inputs ``memory`` and ``start`` and the output ``memory_next``.

        Raises:
            MissingExtra: onnx or onnxscript is not installed.
            NotExportable: the policy is randomised: one answer per request would not keep its limits.
        """
        if self.randomised:
            raise NotExportable("a randomised policy is not exported: single answers would not keep its limits")
        shapes: dict[str, list[int]] = self.description["input_shapes"]
        example = {name: torch.zeros(2, *shape) for name, shape in shapes.items()}
        if self.description["actions"]:
            example["action_mask"] = torch.ones(2, self.description["actions"], dtype=torch.bool)
        outputs = ["scores", "value"] if self.head.kind == "categorical" else ["action", "action_params", "value"]
        if self.network.memory:
            example |= {"memory": torch.zeros(2, self.network.memory), "start": torch.ones(2)}
            outputs.append("memory_next")
        export_graph(_Decision(self.network, list(example)), example, outputs, folder / "policy.onnx")
        vector = {"kind": "onnx_recurrent", "output": "action"} if self.head.kind in BOX_HEADS else {"kind": "onnx"}
        return {
            **vector,
            "encoder": self.description["encoder"],
            "file": "policy.onnx",
            "inputs": list(example),
        }


def export_graph(module: nn.Module, example: Mapping[str, Tensor], outputs: Sequence[str], path: Path) -> None:
    """Write a module as ONNX, for any number of rows.

    Args:
        module: takes its inputs in the order of ``example``.
        example: two rows of each, by the names that the graph shall have.
        outputs: their names.
        path: of the file.

    Raises:
        MissingExtra: onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("exporting a network", "export") from error
    batch = torch.export.Dim("batch", min=1, max=65536)
    with warnings.catch_warnings(), quiet_exporter():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Positional(module).eval(),
            tuple(example.values()),
            path,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=(tuple({0: batch} for _ in example),),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


class _Positional(nn.Module):
    """A module whose inputs have no names, so that all of them are described alike."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        """What the module gives."""
        return self.module(*inputs)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporter's notes about packages that nobody needs off the screen; errors still raise."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Decision(nn.Module):
    """A network and the mode of its head in one graph; takes its inputs in the order of ``names``."""

    def __init__(self, network: ActorCritic, names: Sequence[str]):
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Action, parameters, values, and the next memory if there is one; scores in place of a discrete action."""
        parameters, *others = self.network(**dict(zip(self.names, inputs, strict=True)))
        head = self.network.head
        if head.kind == "categorical":
            return (parameters, *others)
        return (head.action(head.mode(parameters)), parameters, *others)


def describe(observation: Observation, encoded: Mapping[str, Array]) -> dict[str, Any]:
    """Input shapes, and the width of the action mask (0 for none): what ties a network to a problem."""
    return {
        "input_shapes": {name: list(array.shape[1:]) for name, array in encoded.items()},
        "actions": int(observation["action_mask"].shape[1]) if "action_mask" in observation else 0,
    }


MANDATORY: Mapping[str, tuple[str, type]] = {
    "encoder": ("text", str),
    "network": ("an object", dict),
    "head": ("text", str),
    "head_options": ("an object", dict),
    "signals": ("a whole number", int),
    "randomised": ("true or false", bool),
    "input_shapes": ("an object", dict),
    "actions": ("a whole number", int),
}
"""What ``policy.json`` of a network says at least, in words and as a type."""


def load_network_policy(folder: Path, problem: Problem) -> NetworkPolicy:
    """Read a policy folder for a problem.

    Raises:
        BadInput: the folder is damaged, or the policy was made for other observations or actions than this problem has.
    """
    arrays, description = load_arrays(folder, problem.scenario)
    wrong = [
        f"policy.json: {name} must be {words}, "
        + (f"got {description[name]!r}" if name in description else "and is missing")
        for name, (words, type_) in MANDATORY.items()
        if not isinstance(description.get(name), type_)
    ]
    if not wrong and description["signals"] < 1:
        wrong.append(f"policy.json: signals must be at least 1, got {description['signals']}")
    if wrong:
        raise BadInput(str(folder), wrong)
    environment = problem.environment(1, seed=0, split="train")
    first = environment.reset()
    try:
        _, encoder = choose_encoder(problem, description["encoder"])
        example = encoder(first)
        here = describe(first, example)
        made_for = {name: description[name] for name in here}
        if made_for != here:
            raise UsageError(
                f"made for inputs {made_for['input_shapes']} and {made_for['actions']} actions; "
                f"this scenario has {here['input_shapes']} and {here['actions']}"
            )
        head = build_head(environment.action_space, description["head"], **description["head_options"])
        settings = NetworkSettings.model_validate(description["network"])
        network = build_actor_critic(example, head, settings, seed=0, signals=description["signals"])
    except UsageError as error:
        raise BadInput(str(folder), [f"policy.json: {error}"]) from error
    except ValidationError as error:
        places = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        raise BadInput(str(folder), [f"policy.json: network.{place}: {what}" for place, what in places]) from error
    wrong = _misfits(arrays, network)
    if wrong:
        raise BadInput(str(folder), wrong)
    policy = NetworkPolicy(network, encoder, description)
    policy.load_weights(arrays)
    return policy


def _misfits(arrays: Mapping[str, Array], network: ActorCritic) -> list[str]:
    """What keeps stored weights from being those of a network."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: array.shape for name, array in arrays.items()}
    return [
        f"policy.safetensors: {name} has shape {found.get(name)}, policy.json asks for {expected.get(name)}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name) != expected.get(name)
    ]

"""The policy of a bundle as a function from one observation to its output; no torch.

The output of a policy with discrete actions is a score per action, of any other policy a vector. A policy with a memory
takes what it remembers beside each observation and gives what it remembers next.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput
from interlock.core.policy import Encoder, linear_scores
from interlock.operations.bundle import Bundle
from interlock.operations.contract import in_words
from interlock.operations.numpy_network import NumpyNetwork

Runner = Literal["onnxruntime", "numpy"]
Memory = Mapping[str, Array]
"""What a policy remembers, by name; empty for one without a memory."""
NEXT = "_next"
"""Ending of the name under which a network gives the next memory."""
Step = Callable[[Observation, Memory], tuple[Array, Memory]]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A policy that runs.

    Attributes:
        step: ``(observations, memory) -> (output, next memory)``; the output is ``(k,)``. The rows of the observations
            follow each other in time: a policy with a memory reads all of them, and the output is that of the last.
        start: memory before the first observation.
    """

    step: Step
    start: Memory = field(default_factory=dict)


def open_scorer(bundle: Bundle, runner: Runner = "onnxruntime") -> Scorer | None:
    """The scorer of a bundle; ``None`` for a bundle that decides by a rule of its domain.

    Args:
        bundle: verified.
        runner: of a network; ``numpy`` needs the network's arrays in the bundle.

    Raises:
        BadInput: the scorer asks for an encoder, an input or a runner that is not there, or its file is no model.
    """
    description = bundle.manifest["scorer"]
    if description["kind"] == "rule":
        return None
    source = f"bundle {bundle.path}"
    encoders = bundle.contract.encoders()
    name = description["encoder"]
    if name not in encoders:
        known = ", ".join(encoders) or "none"
        raise BadInput(source, [f"scorer.encoder: {name!r} is unknown; the domain has {known}"])
    encoder = encoders[name]
    if description["kind"] == "linear":
        return _linear(description, encoder)
    if runner == "numpy":
        return _arrays(description, encoder, bundle)
    if description["kind"] == "onnx_recurrent":
        return _recurrent(description, encoder, bundle)
    return _onnx(description, encoder, bundle)


def _linear(description: Mapping[str, Any], encoder: Encoder) -> Scorer:
    weights = np.asarray(description["weights"], np.float64)
    name = description.get("input", "action_features")

    def step(observation: Observation, memory: Memory) -> tuple[Array, Memory]:
        features = encoder(observation)[name][-1:]
        if features.shape[-1] != len(weights):
            raise ValueError(f"{len(weights)} weights for {features.shape[-1]} features")
        scores: Array = linear_scores(features, weights)[0]
        return scores, memory

    return Scorer(step)


def _onnx(description: Mapping[str, Any], encoder: Encoder, bundle: Bundle) -> Scorer:
    name = description["file"]
    session = _session(name, bundle)
    wanted = [entry.name for entry in session.get_inputs()]
    problems = [
        f"{name}: input {entry!r} is not one of scorer.inputs in the manifest"
        for entry in wanted
        if entry not in description["inputs"]
    ]
    if "scores" not in [entry.name for entry in session.get_outputs()]:
        problems.append(f"{name}: has no output 'scores'")
    if problems:
        raise BadInput(f"bundle {bundle.path}", problems)

    def step(observation: Observation, memory: Memory) -> tuple[Array, Memory]:
        inputs = {**observation, **encoder(observation)}
        scores: Array = session.run(["scores"], {entry: inputs[entry] for entry in wanted})[0][0]
        return scores, memory

    return Scorer(step)


def _recurrent(description: Mapping[str, Any], encoder: Encoder, bundle: Bundle) -> Scorer:
    """A network with the output ``raw`` or that of the description; an input with an output ``..._next`` is memory.

    Memory is zero at the start.
    """
    name, wished = description["file"], str(description.get("output", "raw"))
    session = _session(name, bundle)
    outputs = [entry.name for entry in session.get_outputs()]
    start, wanted = {}, []
    for entry in session.get_inputs():
        if f"{entry.name}{NEXT}" in outputs:
            start[entry.name] = np.zeros([side if isinstance(side, int) else 1 for side in entry.shape], np.float32)
        else:
            wanted.append(entry.name)
    problems = [] if wished in outputs else [f"{name}: has no output {wished!r}"]
    problems += [
        f"{name}: input {entry!r} is not one of scorer.inputs in the manifest"
        for entry in wanted
        if entry not in description["inputs"]
    ]
    if problems:
        raise BadInput(f"bundle {bundle.path}", problems)
    given = [wished, *(f"{entry}{NEXT}" for entry in start)]

    def step(observation: Observation, memory: Memory) -> tuple[Array, Memory]:
        inputs = encoder(observation)
        raw = np.zeros((1, 0))
        for k in range(len(inputs[wanted[0]])) if start else [-1]:
            row = {entry: inputs[entry][k:][:1] for entry in wanted}
            raw, *remembered = session.run(given, {**row, **memory})
            memory = dict(zip(start, remembered, strict=True))
        output: Array = raw[0]
        return output, memory

    return Scorer(step, start)


def _arrays(description: Mapping[str, Any], encoder: Encoder, bundle: Bundle) -> Scorer:
    """The same network as ``_recurrent``, in numpy."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    source, name = f"bundle {bundle.path}", description.get("arrays")
    if name is None:
        raise BadInput(source, ["scorer.arrays: missing; this policy runs with onnxruntime only"])
    try:
        network = NumpyNetwork(load(bundle.files[name]))
    except (SafetensorError, ValueError) as error:
        raise BadInput(source, [f"{name}: {in_words(error)}"]) from error

    def step(observation: Observation, memory: Memory) -> tuple[Array, Memory]:
        inputs = encoder(observation)
        raw, memory = network(inputs["features"], inputs["state"][-1:], memory)
        output: Array = raw[0]
        return output, memory

    return Scorer(step, network.start())


def _session(name: str, bundle: Bundle) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(bundle.files[name], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception type of its own for every cause
        problem = f"{name}: is not a model that onnxruntime can run ({in_words(error)})"
        raise BadInput(f"bundle {bundle.path}", [problem]) from error

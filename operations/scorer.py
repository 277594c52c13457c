"""The policy of a bundle as a function from one observation to the scores of its actions; no torch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput
from interlock.core.policy import Encoder, linear_scores
from interlock.operations.bundle import Bundle
from interlock.operations.contract import in_words

Scorer = Callable[[Observation], Array]
"""An observation that is a batch of one -> ``(actions,)`` scores, larger is better."""


def open_scorer(bundle: Bundle) -> Scorer:
    """The scorer of a bundle.

    Raises:
        BadInput: the scorer asks for an encoder or input that the domain does not have, or its file is no model.
    """
    description = bundle.manifest["scorer"]
    encoders = bundle.contract.encoders()
    if description["encoder"] not in encoders:
        known = ", ".join(encoders)
        raise BadInput(
            f"bundle {bundle.path}", [f"scorer.encoder: {description['encoder']!r} is unknown; the domain has {known}"]
        )
    encoder = encoders[description["encoder"]]
    if description["kind"] == "linear":
        return _linear(description, encoder)
    return _onnx(description, encoder, bundle)


def _linear(description: Mapping[str, Any], encoder: Encoder) -> Scorer:
    weights = np.asarray(description["weights"], np.float64)
    name = description.get("input", "action_features")

    def score(observation: Observation) -> Array:
        features = encoder(observation)[name]
        if features.shape[-1] != len(weights):
            raise ValueError(f"{len(weights)} weights for {features.shape[-1]} features")
        scores: Array = linear_scores(features, weights)[0]
        return scores

    return score


def _onnx(description: Mapping[str, Any], encoder: Encoder, bundle: Bundle) -> Scorer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = f"bundle {bundle.path}"
    name = description["file"]
    try:
        session = onnxruntime.InferenceSession(bundle.files[name], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception type of its own for every cause
        raise BadInput(source, [f"{name}: is not a model that onnxruntime can run ({in_words(error)})"]) from error
    wanted = [entry.name for entry in session.get_inputs()]
    problems = [
        f"{name}: input {entry!r} is not one of scorer.inputs in the manifest"
        for entry in wanted
        if entry not in description["inputs"]
    ]
    if "scores" not in [entry.name for entry in session.get_outputs()]:
        problems.append(f"{name}: has no output 'scores'")
    if problems:
        raise BadInput(source, problems)

    def score(observation: Observation) -> Array:
        inputs = {**observation, **encoder(observation)}
        scores: Array = session.run(["scores"], {entry: inputs[entry] for entry in wanted})[0][0]
        return scores

    return score

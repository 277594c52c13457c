"""A smooth rule: the posterior mean of a Gaussian process through the decisions of a teacher. Free of torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput, MissingExtra, UsageError
from interlock.core.policy import Encoder, Policy, choose_encoder, load_arrays, save_arrays
from interlock.core.problem import Problem
from interlock.core.smoothing.slabs import VECTOR

SHAPES: Mapping[str, tuple[str, ...]] = {
    "points": ("points", "inputs"),
    "weights": ("points", "actions"),
    "length": ("one",),
    "low": ("actions",),
    "high": ("actions",),
}
"""Arrays of a policy folder and their axes."""
_CHUNK = 128
"""Rows whose covariances fit into the cache."""


class SmoothedPolicy:
    """Implements ``interlock.core.policy.SavedPolicy``; it has no memory and no randomness.

    With inputs ``x`` and points ``p`` the action is ``sum_i weights_i exp(-|x - p_i|^2 / (2 length^2))``, clipped to
    ``[low, high]``: the posterior mean of a process with a squared exponential kernel (Rasmussen and Williams 2006,
    equation 2.25, the variance of the kernel being part of the weights).

    Args:
        arrays: ``points`` ``(n, d)``, ``weights`` ``(n, k)``, ``length`` ``(1,)``, ``low`` and ``high`` ``(k,)``.
        encoder: raw observation -> ``vector`` ``(rows, d)``.
        description: what ``policy.json`` holds: encoder, teacher, kernel, window, method, scenario.

    Attributes:
        last: the teacher, where it is a policy that can be saved.
    """

    def __init__(self, arrays: Mapping[str, Array], encoder: Encoder, description: Mapping[str, Any]):
        self.arrays = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
        self.encoder, self.description = encoder, dict(description)
        self.last: Policy | None = None
        scaled = self.arrays["points"] / self.arrays["length"]
        # exp(x p - |x|^2 / 2 - |p|^2 / 2) takes one matrix product: the last part is a further input, always 1.
        self._points = np.vstack([scaled.T, -0.5 * (scaled**2).sum(axis=1)])

    def mean(self, inputs: Array) -> Array:
        """Posterior mean ``(rows, k)`` at inputs ``(rows, d)``, not clipped."""
        scaled = np.asarray(inputs, np.float64) / self.arrays["length"]
        found = np.empty((len(scaled), self.arrays["weights"].shape[1]))
        for start in range(0, len(scaled), _CHUNK):
            some = scaled[start : start + _CHUNK]
            exponents = np.hstack([some, np.ones((len(some), 1))]) @ self._points
            exponents -= 0.5 * (some**2).sum(axis=1, keepdims=True)
            found[start : start + _CHUNK] = np.exp(exponents, out=exponents) @ self.arrays["weights"]
        return found

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """One action per row."""
        return np.clip(self.mean(self.encoder(observation)[VECTOR]), self.arrays["low"], self.arrays["high"])

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Nothing random."""

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json``."""
        save_arrays(folder, self.arrays, self.description)

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """Write ``policy.onnx``: the input ``vector`` ``(n, d)`` float32, the output ``raw`` ``(n, k)``, the actions.

        Raises:
            MissingExtra: onnx is not installed.
        """
        try:
            import onnx
            from onnx import TensorProto, helper, numpy_helper
        except ImportError as error:
            raise MissingExtra("exporting a smooth rule", "export") from error
        length, weights = self.arrays["length"], self.arrays["weights"]
        constants = {
            "length": length,
            "points": self._points[:-1],
            "half_norms": self._points[-1:],
            "weights": weights,
            "low": self.arrays["low"],
            "high": self.arrays["high"],
            "half": np.array([0.5]),
            "axis": np.array([1], np.int64),
        }
        nodes = [
            ("Cast", ["vector"], "double", {"to": TensorProto.DOUBLE}),
            ("Div", ["double", "length"], "scaled", {}),
            ("MatMul", ["scaled", "points"], "products", {}),
            ("Add", ["products", "half_norms"], "shifted", {}),
            ("Mul", ["scaled", "scaled"], "squares", {}),
            ("ReduceSum", ["squares", "axis"], "norms", {"keepdims": 1}),
            ("Mul", ["norms", "half"], "halves", {}),
            ("Sub", ["shifted", "halves"], "exponents", {}),
            ("Exp", ["exponents"], "covariances", {}),
            ("MatMul", ["covariances", "weights"], "mean", {}),
            ("Max", ["mean", "low"], "above", {}),
            ("Min", ["above", "high"], "raw", {}),
        ]
        graph = helper.make_graph(
            [helper.make_node(kind, inputs, [output], **options) for kind, inputs, output, options in nodes],
            "smooth_rule",
            [helper.make_tensor_value_info(VECTOR, TensorProto.FLOAT, ["batch", self._points.shape[0] - 1])],
            [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, ["batch", weights.shape[1]])],
            [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model)
        (folder / "policy.onnx").write_bytes(model.SerializeToString())
        encoder = self.description["encoder"]
        return {"kind": "onnx_recurrent", "encoder": encoder, "file": "policy.onnx", "inputs": [VECTOR]}


def load_smoothed_policy(folder: Path, problem: Problem) -> SmoothedPolicy:
    """Read a policy folder for a problem.

    Raises:
        BadInput: the folder is damaged, or the policy was made for other inputs or actions than this problem has.
    """
    arrays, description = load_arrays(folder, problem.scenario)
    environment = problem.environment(1, seed=0, split="train")
    try:
        name = description.get("encoder")
        if not isinstance(name, str):
            raise UsageError(f"encoder must be text, got {name!r}")
        _, encoder = choose_encoder(problem, name)
    except UsageError as error:
        raise BadInput(str(folder), [f"policy.json: {error}"]) from error
    encoded = encoder(environment.reset())
    sizes = {
        "one": 1,
        "points": len(arrays["points"]) if "points" in arrays and arrays["points"].ndim else 0,
        "inputs": encoded[VECTOR].shape[1] if VECTOR in encoded else 0,
        "actions": environment.action_space.shape[0] if environment.action_space.shape else 0,
    }
    expected = {name: tuple(sizes[axis] for axis in axes) for name, axes in SHAPES.items()}
    wrong = [
        f"policy.safetensors: {name} has shape {arrays[name].shape if name in arrays else None}, "
        f"this scenario asks for {expected.get(name)}"
        for name in sorted(expected.keys() | arrays.keys())
        if name not in arrays or arrays[name].shape != expected.get(name)
    ]
    wrong += [f"policy.safetensors: {name}: not all numbers are finite" for name in arrays if not _finite(arrays[name])]
    if not wrong and arrays["length"][0] <= 0:
        wrong.append(f"policy.safetensors: length is {arrays['length'][0]:g}, expected above 0")
    if wrong:
        raise BadInput(str(folder), wrong)
    return SmoothedPolicy(arrays, encoder, description)


def _finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())

"""A decision rule's network in numpy alone: one long short-term memory cell over features, and a head of tanh layers.

The arrays are named as ``torch`` names those of the network: ``encoder.weight_ih_l0`` and so on for the cell (its gates
in the order input, forget, cell, output), ``head.0.weight``, ``head.2.weight``, ... for the layers of the head, with
tanh between them. The head reads what the cell gives, if there is one, the features themselves and the state.
"""

from collections.abc import Mapping

import numpy as np

from interlock.core.environment import Array

CELL = ("encoder.weight_ih_l0", "encoder.weight_hh_l0", "encoder.bias_ih_l0", "encoder.bias_hh_l0")


class NumpyNetwork:
    """Features and state -> raw numbers, and what is remembered.

    Args:
        arrays: the weights by name.

    Raises:
        ValueError: an array is missing, unknown, or of a shape that does not fit the others.
    """

    def __init__(self, arrays: Mapping[str, Array]):
        self.cell = [arrays[name] for name in CELL if name in arrays]
        positions = sorted({int(name.split(".")[1]) for name in arrays if name.startswith("head.")})
        known = {*CELL[: len(self.cell)], *(f"head.{k}.{kind}" for k in positions for kind in ("weight", "bias"))}
        if len(self.cell) not in (0, 4) or not positions or set(arrays) != known:
            raise ValueError(f"arrays {', '.join(sorted(arrays))} are not those of a network of a decision rule")
        self.layers = [(arrays[f"head.{k}.weight"], arrays[f"head.{k}.bias"]) for k in positions]
        self.units = self.cell[1].shape[1] if self.cell else 0
        self.states = len(self.layers[-1][1])
        features = self.layers[0][0].shape[1] - self.states - self.units
        self(np.zeros((1, features)), np.zeros((1, self.states)), self.start())

    def start(self) -> dict[str, Array]:
        """The memory before the first features: ``hidden`` and ``cell``, ``(1, units)`` each; none without a cell."""
        return {name: np.zeros((1, self.units), np.float32) for name in ("hidden", "cell") if self.cell}

    def __call__(self, features: Array, state: Array, memory: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Raw numbers ``(1, s)`` and the next memory.

        Args:
            features: ``(T, f)``, rows in time order; all are remembered.
            state: ``(1, s)``, scaled.
            memory: before the first row.
        """
        remembered: dict[str, Array] = {}
        seen = [features[-1:], state]
        if self.cell:
            by_input, by_hidden, first, second = self.cell
            hidden, cell, units = memory["hidden"], memory["cell"], self.units
            for entering in features @ by_input.T + (first + second):
                gates = entering + hidden @ by_hidden.T
                opened = _sigmoid(gates)
                cell = opened[:, units : 2 * units] * cell
                cell += opened[:, :units] * np.tanh(gates[:, 2 * units : 3 * units])
                hidden = opened[:, 3 * units :] * np.tanh(cell)
            remembered = {"hidden": hidden, "cell": cell}
            seen = [hidden, *seen]
        layer = np.concatenate(seen, axis=1)
        for k, (weight, bias) in enumerate(self.layers):
            layer = (np.tanh(layer) if k else layer) @ weight.T + bias
        return layer, remembered


def _sigmoid(values: Array) -> Array:
    half: Array = 0.5 + 0.5 * np.tanh(0.5 * values)
    return half

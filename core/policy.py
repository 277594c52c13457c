"""Policies and planners: what maps observations to actions, or an instance to a whole plan. Torch-free."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput, UsageError

if TYPE_CHECKING:
    from interlock.core.problem import Problem
    from interlock.core.scenario import Scenario

Encoder = Callable[[Observation], dict[str, Array]]
"""Raw observation -> named float32 arrays with the same leading axis: the inputs of a network or scorer."""


class Policy(Protocol):
    """Anything that acts step by step on a batch of observations."""

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """One action per row."""
        ...

    def reset(self, rows: Array | None = None) -> None:
        """Forget the history of these rows (all, if ``None``); only recurrent policies have any."""
        ...

    def seed(self, seed: int) -> None:
        """Restart the policy's own randomness."""
        ...


@runtime_checkable
class SavedPolicy(Policy, Protocol):
    """A trained policy: it can be written to a folder and exported to a bundle.

    One that no bundle can hold may say why in a text ``unbundled``; it is then refused before anything is written.
    """

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and ``policy.json`` into an existing folder."""
        ...

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """Write the torch-free form into a bundle folder and describe it.

        Returns:
            ``{"kind": "onnx", "encoder": NAME, "file": "policy.onnx", "inputs": [...]}`` for a network whose outputs
            are ``scores`` ``(n, actions)``, or ``{"kind": "linear", "encoder": NAME, "input": "action_features",
            "weights": [...]}`` for a linear scorer of per-action features.

        Raises:
            NotExportable: single answers to single requests would not be this policy.
        """
        ...


@runtime_checkable
class FallbackPolicy(Policy, Protocol):
    """A policy that a fallback rule in another policy's bundle can decide by."""

    def bundle_assets(self) -> Mapping[str, bytes]:
        """Files for that bundle, by the names under which the domain's contract looks for them."""
        ...


class FunctionPolicy:
    """A memoryless policy from a function ``(observation, rng) -> actions``.

    Args:
        function: called with the observation and a random generator (deterministic rules ignore it).
        seed: of the generator.
    """

    def __init__(self, function: Callable[[Observation, np.random.Generator], Array], seed: int = 0):
        self.function = function
        self.seed(seed)

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """One action per row."""
        return self.function(observation, self.rng)

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Restart the random generator."""
        self.rng = np.random.default_rng(seed)


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete plan for one instance.

    Attributes:
        decisions: the domain's own plan type, checked by the domain's checker.
        objective: value of the plan, in the unit of the objective.
        bound: proven bound on the best plan, if the planner has one.
        trace: ``(seconds, objective)`` pairs of improving plans.
    """

    decisions: Any
    objective: float
    bound: float | None = None
    trace: tuple[tuple[float, float], ...] = field(default_factory=tuple)


class Planner(Protocol):
    """Anything that maps an instance to a complete plan at once or by search."""

    def plan(self, instance: Any, *, time_limit: float | None = None, seed: int = 0) -> Plan:
        """The best plan found within ``time_limit`` seconds."""
        ...


def masked_argmax(scores: Array, mask: Array) -> Array:
    """Best allowed action per row; the lowest index wins ties.

    Args:
        scores: ``(n, actions)``.
        mask: bool ``(n, actions)``; a row with no allowed action gives 0.
    """
    best: Array = np.argmax(np.where(mask, scores, -np.inf), axis=1)
    return best


def choose_encoder(problem: "Problem", name: str | None) -> tuple[str, Encoder]:
    """An encoder of a problem by name, or its first one.

    Raises:
        UsageError: the problem has no encoder of that name.
    """
    encoders = problem.encoders()
    chosen = next(iter(encoders)) if name is None else name
    if chosen not in encoders:
        raise UsageError(f"no encoder {chosen!r}; this problem has {', '.join(encoders)}")
    return chosen, encoders[chosen]


def linear_scores(features: Array, weights: Array) -> Array:
    """Weighted sums of per-action features, added in a fixed order so that a row scores the same in any batch.

    Args:
        features: ``(..., F)``.
        weights: ``(F,)``.

    Returns:
        float64 ``(...)``.
    """
    scores = np.zeros(features.shape[:-1])
    for k, weight in enumerate(weights):
        scores += features[..., k] * float(weight)
    return scores


class LinearScorePolicy:
    """Takes the feasible action with the largest weighted sum of its features; the lowest index wins ties.

    Args:
        encoder: gives ``action_features`` ``(n, A, F)`` from the raw observation.
        encoder_name: its name in the problem and in bundles.
        weights: ``(F,)``.
        description: written to ``policy.json`` beside the weights (method, scenario, seed).
    """

    def __init__(
        self, encoder: Encoder, encoder_name: str, weights: Array, description: Mapping[str, Any] | None = None
    ):
        self.encoder = encoder
        self.encoder_name = encoder_name
        self.weights = np.asarray(weights, np.float64)
        self.description = dict(description or {})

    def scores(self, observation: Observation) -> Array:
        """``(n, A)`` scores, feasible or not."""
        return linear_scores(self.encoder(observation)["action_features"], self.weights)

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """Best feasible action per row (the rule has no randomness)."""
        return masked_argmax(self.scores(observation), observation["action_mask"])

    def reset(self, rows: Array | None = None) -> None:
        """Nothing to forget."""

    def seed(self, seed: int) -> None:
        """Nothing random."""

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json``."""
        save_arrays(folder, {"weights": self.weights}, {"encoder": self.encoder_name, **self.description})

    def export_scorer(self, folder: Path) -> dict[str, Any]:
        """The weights fit in the manifest; no file is written."""
        return {
            "kind": "linear",
            "encoder": self.encoder_name,
            "input": "action_features",
            "weights": self.weights.tolist(),
        }


POLICY_FORMAT = 2
"""Version of the policy folder; a folder of another version is refused with a hint."""


def save_arrays(folder: Path, arrays: Mapping[str, Array], description: Mapping[str, Any]) -> None:
    """Write a policy folder: ``policy.safetensors`` and ``policy.json`` (no pickle anywhere)."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "policy.safetensors")
    text = json.dumps({"format": POLICY_FORMAT, **description}, indent=2, sort_keys=True)
    (folder / "policy.json").write_text(text + "\n", encoding="utf-8")


def load_arrays(folder: Path, scenario: "Scenario") -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what ``save_arrays`` wrote: the arrays, and the description without its format.

    Raises:
        BadInput: files are missing, of another format version, or the policy was made for another signature than the
            scenario's.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        description: Any = json.loads((folder / "policy.json").read_text(encoding="utf-8"))
        arrays: dict[str, Array] = load_file(folder / "policy.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(str(folder), [f"not a readable policy folder: {error}"]) from error
    if not isinstance(description, dict):
        raise BadInput(str(folder), [f"policy.json: got {type(description).__name__}, expected an object"])
    written = description.pop("format", None)
    if written != POLICY_FORMAT:
        raise BadInput(str(folder), [f"policy format {written!r}, this version reads {POLICY_FORMAT}: train again"])
    made_for, here = description.get("signature", {}), scenario.signature()
    if made_for != here:
        raise BadInput(str(folder), [f"the policy was made for {made_for}; this scenario has {here}"])
    return arrays, description

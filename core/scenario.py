"""The part of a scenario that every domain shares; each domain adds its own fields in a subclass."""

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of everything read from YAML: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EvaluationSettings(Settings):
    """How evidence is gathered."""

    test_seed: int = Field(20210, ge=0, description="seed of the held-out test instances")
    test_instances: int = Field(2000, ge=2, description="number of held-out test instances")
    validation_seed: int = Field(20211, ge=0, description="seed of the instances used to choose checkpoints")
    validation_instances: int = Field(500, ge=2, description="number of validation instances")
    num_envs: int = Field(256, ge=1, description="rows of the batched environment during evaluation")
    reference_heuristic: str | None = Field(
        None, description="baseline at 0 of the normalised score; default: the first one"
    )
    reference_bound: str | None = Field(None, description="bound at 1 of the normalised score; default: the first one")


class MethodChoice(Settings):
    """Which method trains the policy, from which preset, with which settings changed."""

    preset: str = Field(description="name of a file in configs/methods")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="settings of the method that differ from the preset"
    )


class Scenario(Settings):
    """A domain with its numbers: a distribution over instances."""

    domain: str = Field(description="domain this scenario belongs to")
    name: str = Field(description="name of the scenario, as on the command line")
    title: str = Field("", description="one line for listings")
    evaluation: EvaluationSettings = EvaluationSettings()
    method: MethodChoice | None = Field(None, description="default method of `train` and `run`")

    def canonical_json(self) -> str:
        """The resolved scenario as JSON with sorted keys: the same numbers give the same text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def signature(self) -> dict[str, Any]:
        """What a trained policy is tied to, JSON-ready: one made for another signature is refused. Default: nothing."""
        return {}

    def hash(self) -> str:
        """Identifies the numbers of this scenario: first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]

    def with_changes(self, **changes: Any) -> Self:
        """A checked copy with some fields replaced."""
        return type(self).model_validate({**self.model_dump(), **changes})

"""The decision contract: what an exported policy accepts, checks, answers and falls back to. Torch-free."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder
from interlock.core.problem import Field


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of the independent feasibility check of one proposed action.

    Attributes:
        feasible: whether it may be released.
        violations: which rules failed, in words with numbers; empty when feasible.
    """

    feasible: bool
    violations: tuple[str, ...] = ()


class DecisionContract(Protocol):
    """One per domain and scenario, in the domain's ``decision.py``.

    ``Request`` below is the domain's own parsed type. ``check`` recomputes feasibility from the request alone; it
    shares no code with the policy, its mask or its encoder. ``interlock.core.request`` has what ``parse`` and the
    fields need. Actions are indices of a list of discrete actions, unless the contract is a ``VectorContract``. A
    request may hold ``deadline_ms``, under this name in every domain: a policy that takes longer is replaced by a
    fallback rule.
    """

    domain: str
    schema_version: int

    def request_fields(self) -> tuple[Field, ...]:
        """Every entry of a request, with unit and range."""
        ...

    def answer_fields(self) -> tuple[Field, ...]:
        """Every entry of an answer, with unit and range."""
        ...

    def request_schema(self) -> dict[str, Any]:
        """JSON Schema (draft 2020-12) of a request."""
        ...

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema (draft 2020-12) of the domain's part of an answer: ``answer`` and ``refuse`` together."""
        ...

    def parse(self, request: Mapping[str, Any]) -> Any:
        """Check a raw request and give the domain's parsed form.

        Raises:
            BadInput: listing every problem of the request.
        """
        ...

    def observation(self, request: Any) -> Observation:
        """The environment's observation of a parsed request, a batch of one; discrete: with the mask.

        The mask of discrete actions is ``action_mask`` ``(1, actions)``.
        """
        ...

    def encoders(self) -> Mapping[str, Encoder]:
        """The same encoders that the problem trained with, by name."""
        ...

    def check(self, request: Any, action: Any) -> Verdict:
        """Whether this action may be released for this request, recomputed from the request."""
        ...

    def project(self, request: Any, scores: Array) -> Any | None:
        """The best-scored feasible action, or ``None`` if there is none.

        Args:
            request: parsed request.
            scores: ``(actions,)`` of the policy; may hold NaN, which never wins.
        """
        ...

    def fallbacks(self) -> Mapping[str, Callable[[Any], Any | None]]:
        """Rules to try in order when neither proposal nor projection can be released: name -> request -> action."""
        ...

    def answer(self, request: Any, action: Any, scores: Array | None) -> dict[str, Any]:
        """The domain's part of a released answer (JSON-ready)."""
        ...

    def refuse(self, request: Any) -> dict[str, Any]:
        """The domain's part of a refusal (JSON-ready): ``refuse.reason`` in words, and what ruled every action out."""
        ...

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Valid raw requests as they occur in operation, for self-tests and parity checks."""
        ...


class VectorContract(DecisionContract, Protocol):
    """A contract whose actions are vectors of numbers, decided by a policy that may have a memory.

    What a ``DecisionContract`` calls scores is then the policy's output, a vector with as many numbers as an action of
    the environment. Where ``takes_actions`` is true, actions of the environment are such outputs: then networks that
    give actions can be bundled too. The memory travels in the request's and the answer's entry ``hidden_state`` (see
    ``hidden_state_schema``), or is built up again from a history.
    """

    def propose(self, request: Any, output: Array) -> Any | None:
        """The action that an output of the policy stands for, before any check; ``None`` if it stands for none.

        Raises:
            NotTrusted: the request is too far from what the policy was trained on; the fallback rules decide.
        """
        ...

    def history(self, request: Any) -> Observation:
        """Observations before the present one, as far as the request tells them: a row each, oldest first.

        A policy with a memory reads them first. Entries that its memory does not read may hold anything.
        """
        ...


class AssetContract(DecisionContract, Protocol):
    """A contract that needs more than its scenario: files that a bundle carries along and hands to ``build``.

    ``build(scenario, assets=None)`` of such a domain takes them back; with them it reads no other file.
    """

    def assets(self) -> Mapping[str, bytes]:
        """File name -> content."""
        ...


def decides_vectors(contract: DecisionContract) -> TypeGuard[VectorContract]:
    """Whether a contract is a ``VectorContract``."""
    return hasattr(contract, "propose")


def carries_files(contract: DecisionContract) -> TypeGuard[AssetContract]:
    """Whether a contract is an ``AssetContract``."""
    return hasattr(contract, "assets")


def hidden_state_schema() -> dict[str, Any]:
    """JSON Schema of what a policy remembers between two requests: opaque, only the same policy can read it."""
    numbers = {"type": "array", "items": {"type": "number"}}
    return {
        "type": ["object", "null"],
        "required": ["policy_hash", "steps"],
        "properties": {
            "policy_hash": {"type": "string", "description": "of the policy that remembers this"},
            "steps": {"type": "integer", "minimum": 0, "unit": "1", "description": "observations read so far"},
        },
        "additionalProperties": numbers,
        "description": "memory of the policy: hand it back unchanged with the next request",
    }

"""The decision contract: what an exported policy accepts, checks, answers and falls back to. Torch-free."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

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
    fields need. Actions are indices of a list of discrete actions. A request may hold ``deadline_ms``, under this name
    in every domain: a policy that takes longer is replaced by a fallback rule.
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
        """The environment's observation of a parsed request, a batch of one, with ``action_mask`` ``(1, actions)``."""
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

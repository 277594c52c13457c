"""What the policy of a bundle makes of a request: its output, the action that it proposes, and what it remembers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interlock.core.decision import DecisionContract, decides_vectors
from interlock.core.environment import Array, Observation
from interlock.core.errors import BadInput, NotTrusted
from interlock.core.request import as_integer, shown
from interlock.operations.bundle import Bundle
from interlock.operations.contract import in_words
from interlock.operations.scorer import Memory, Runner, Step, open_scorer

MASK = "action_mask"
LARGEST = 1e30
"""Numbers of a hidden state are smaller: single precision holds them."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What the policy came to.

    Attributes:
        proposal: its action before any check; ``None`` if it has none.
        output: its scores or its output vector; ``None`` if they may not be used.
        hidden_state: what it remembers for the next request, JSON-ready; ``None`` without a memory.
    """

    proposal: Any | None = None
    output: Array | None = None
    hidden_state: dict[str, Any] | None = None


class Mind:
    """The policy of a bundle, ready to run.

    Args:
        bundle: verified.
        runner: of a network.

    Attributes:
        step: of the scorer; ``None`` where a rule of the domain stands in the policy's place.
        rule: the name of that rule.
        start: memory before the first observation; empty for a policy without one.

    Raises:
        BadInput: the scorer cannot run.
    """

    def __init__(self, bundle: Bundle, runner: Runner):
        scorer = open_scorer(bundle, runner)
        self.rule: str | None = bundle.manifest["scorer"]["rule"] if scorer is None else None
        self.step: Step | None = None if scorer is None else scorer.step
        self.start: Memory = {} if scorer is None else scorer.start
        self.policy_hash = bundle.policy_hash

    def think(
        self, contract: DecisionContract, raw: Mapping[str, Any], request: Any, started: float, notes: list[str]
    ) -> Thought:
        """What the policy proposes; with a note where it failed or came too late.

        Args:
            contract: of the domain.
            raw: the request as it came, its hidden state checked.
            request: the same, parsed.
            started: when it came, on the clock ``time.perf_counter``.
            notes: what went wrong is added here.
        """
        if self.step is None:
            return Thought()
        try:
            observation = contract.observation(request)
            if MASK in observation and not observation[MASK].any():
                return Thought()
            output, hidden_state = self.read(contract, request, raw.get("hidden_state"), observation)
            proposal = _proposal(contract, request, observation, output)
        except NotTrusted as error:
            notes.append(f"the policy is not trusted here: {error}")
            return Thought(hidden_state=hidden_state)
        except Exception as error:
            notes.append(f"the scorer failed: {in_words(error)}")
            return Thought()
        if proposal is None:
            notes.append("the scorer failed: it gave no number for any allowed action")
            return Thought()
        elapsed, deadline_ms = (time.perf_counter() - started) * 1000, raw.get("deadline_ms")
        if deadline_ms is not None and elapsed > deadline_ms:
            notes.append(f"deadline of {float(deadline_ms):g} ms missed: the policy took {elapsed:.1f} ms")
            return Thought(proposal, None, hidden_state)
        return Thought(proposal, output, hidden_state)

    def read(
        self,
        contract: DecisionContract,
        request: Any,
        recalled: Mapping[str, Any] | None = None,
        observation: Observation | None = None,
    ) -> tuple[Array, dict[str, Any] | None]:
        """The policy's output for a request, and what it remembers next.

        A policy with a memory goes on from what it recalls, or else from the history that the request tells.

        Args:
            contract: of the domain.
            request: parsed.
            recalled: what the policy remembers.
            observation: of the request, if it is known already.

        Raises:
            ValueError: the scorer gives what no policy may give.
        """
        if self.step is None:
            return np.zeros(0), None
        memory, steps = self.start, 0
        if recalled is not None:
            memory = {name: np.asarray(recalled[name], zero.dtype).reshape(zero.shape) for name, zero in memory.items()}
            steps = int(recalled["steps"])
        observation = read = contract.observation(request) if observation is None else observation
        if memory and decides_vectors(contract):
            earlier = contract.history(request)
            read = {name: np.concatenate([earlier[name], now]) for name, now in observation.items()}
            steps += len(next(iter(earlier.values())))
        found, memory = self.step(read, memory)
        output = np.asarray(found)
        if MASK in observation and output.shape != observation[MASK][0].shape:
            raise ValueError(f"scores of shape {output.shape}, expected {observation[MASK][0].shape}")
        if not all(np.isfinite(values).all() for values in memory.values()):
            raise ValueError("what it remembers is not a number")
        if not memory:
            return output, None
        arrays = {name: np.ravel(values).tolist() for name, values in memory.items()}
        return output, {"policy_hash": self.policy_hash, "steps": steps + 1, **arrays}

    def check(self, hidden_state: Any) -> None:
        """Refuse a hidden state that is not of this policy; ``None`` is none.

        Raises:
            BadInput: listing every problem.
        """
        if hidden_state is None:
            return
        names = {"policy_hash", "steps", *self.start}
        if not isinstance(hidden_state, Mapping) or not self.start or set(hidden_state) != names:
            expected = f"an object with {', '.join(sorted(names))}" if self.start else "none: this policy has no memory"
            raise BadInput("request", [f"hidden_state: got {shown(hidden_state)}, expected {expected}"])
        problems = []
        if hidden_state["policy_hash"] != self.policy_hash:
            told = shown(hidden_state["policy_hash"])
            problems.append(f"hidden_state.policy_hash: got {told}, this policy is {self.policy_hash!r}")
        steps = as_integer(hidden_state["steps"])
        if steps is None or steps < 0:
            told = shown(hidden_state["steps"])
            problems.append(f"hidden_state.steps: got {told}, expected a whole number of at least 0")
        problems += [
            f"hidden_state.{name}: got {shown(hidden_state[name])}, expected {zero.size} numbers"
            for name, zero in self.start.items()
            if not _is_vector(hidden_state[name], zero.size)
        ]
        if problems:
            raise BadInput("request", problems)


def _proposal(contract: DecisionContract, request: Any, observation: Observation, output: Array) -> Any | None:
    if decides_vectors(contract):
        if not np.isfinite(output).all():
            raise ValueError("it gave what is not a number")
        return contract.propose(request, output)
    return _best(output, observation[MASK][0])


def _best(scores: Array, mask: Array) -> int | None:
    """The best-scored allowed action, the lowest index on ties; NaN and minus infinity never win."""
    usable = mask & (scores > -np.inf)
    return int(np.argmax(np.where(usable, scores, -np.inf))) if usable.any() else None


def _is_vector(value: Any, size: int) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != size:
        return False
    return all(type(entry) in (int, float) and abs(entry) < LARGEST for entry in value)

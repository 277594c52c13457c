"""From a request to a decision that may be carried out: the policy proposes, the contract releases, or says why not.

Order: the policy's own proposal; its best-scored feasible action; the domain's fallback rules; refusal. Whatever is
released has passed the contract's check, recomputed from the raw request; nothing else gets out.
"""

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from interlock.core.errors import BadInput, UsageError
from interlock.core.request import shown
from interlock.operations.audit import AuditLog, audit_line, default_path
from interlock.operations.bundle import Bundle, read_bundle
from interlock.operations.contract import in_words
from interlock.operations.mind import Mind
from interlock.operations.requests import read_requests
from interlock.operations.scorer import Runner

VOLATILE = ("latency_ms", "alternatives")
"""What a self-test does not compare: time, and the order of positions that score alike on another processor."""


class Decider:
    """A bundle, loaded and ready.

    Args:
        path: of the bundle.
        runner: what runs a network: ``onnxruntime``, or ``numpy`` alone.

    Raises:
        BadInput: the bundle is not sound, or its scorer fails on a request of its own domain.
    """

    def __init__(self, path: Path | str, runner: Runner = "onnxruntime"):
        self.bundle: Bundle = read_bundle(Path(path))
        self.contract = self.bundle.contract
        self.policy_hash = self.bundle.policy_hash
        self.mind = Mind(self.bundle, runner)
        if self.mind.rule not in (None, *self.contract.fallbacks()):
            known = ", ".join(self.contract.fallbacks())
            problem = f"scorer.rule: {shown(self.mind.rule)} is unknown; the domain has {known}"
            raise BadInput(f"bundle {path}", [problem])
        try:
            self.mind.read(self.contract, self.contract.parse(self.contract.sample_requests(1, 0)[0]))
        except Exception as error:
            raise BadInput(f"bundle {path}", [f"the scorer fails on a valid request: {in_words(error)}"]) from error

    def decide(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Decide one raw request. Never raises for what a request holds; see ``contract.json`` for the answer."""
        started = time.perf_counter()
        try:
            if not isinstance(request, Mapping):
                raise BadInput("request", [f"got {shown(request)}, expected an object"])
            parsed = self.contract.parse(request)
            self.mind.check(request.get("hidden_state"))
        except BadInput as error:
            return self.invalid(error.problems, started)
        except Exception as error:
            return self.invalid([f"the request could not be read: {in_words(error)}"], started)
        try:
            found = self._release(request, parsed, started)
        except Exception as error:  # whatever breaks, nothing is released
            found = {"status": "refused", "reason": f"the decision failed: {in_words(error)}"}
        return self._answer(found, started)

    def invalid(self, problems: tuple[str, ...] | list[str], started: float | None = None) -> dict[str, Any]:
        """The answer to a request that cannot be decided because it is wrong."""
        count = len(problems)
        reason = f"{count} problem{'s' if count != 1 else ''} in the request"
        return self._answer({"status": "invalid", "reason": reason, "problems": list(problems)}, started)

    def selftest(self) -> list[str]:
        """Decide the bundled requests again; every difference from the bundled answers, in words."""
        differences: list[str] = []
        volatile = {*VOLATILE, *getattr(self.contract, "ambiguous", ())}
        for k, case in enumerate(self.bundle.selftest):
            answer = {name: value for name, value in self.decide(case["request"]).items() if name not in volatile}
            expected = {name: value for name, value in case["answer"].items() if name not in volatile}
            _compare(differences, f"request {k}", expected, json.loads(json.dumps(answer)))
        return differences

    def _release(self, raw: Mapping[str, Any], request: Any, started: float) -> dict[str, Any]:
        notes: list[str] = []
        thought = self.mind.think(self.contract, raw, request, started, notes)
        found = {"proposal": _plain(thought.proposal)}
        if thought.hidden_state is not None:
            found["hidden_state"] = thought.hidden_state
        attempts: list[tuple[str, Callable[[], Any]]] = []
        if thought.output is not None:
            attempts.append(("policy", lambda: thought.proposal))
            attempts.append(("projection", partial(self.contract.project, request, thought.output)))
        for name, rule in self.contract.fallbacks().items():
            if name == self.mind.rule:
                attempts.insert(0, ("policy", partial(rule, request)))
            else:
                attempts.append((f"fallback:{name}", partial(rule, request)))
        for source, attempt in attempts:
            try:
                action = attempt()
                verdict = None if action is None else self.contract.check(request, action)
            except Exception as error:
                notes.append(f"{source} failed: {in_words(error)}")
                continue
            if source == "policy":
                found["proposal"] = _plain(action)
            if verdict is not None and verdict.feasible:
                chosen = {"status": "released", "source": source, "reason": "; ".join(notes) or None}
                domain_part = self.contract.answer(request, action, thought.output)
                return {**domain_part, **chosen, **found, "action": _plain(action)}
            if verdict is not None:
                notes.append(f"{source} not released: {', '.join(verdict.violations)}")
        domain_part = self.contract.refuse(request)
        notes.append(domain_part["refuse"]["reason"])
        return {**domain_part, "status": "refused", "reason": "; ".join(notes), **found}

    def _answer(self, found: Mapping[str, Any], started: float | None) -> dict[str, Any]:
        return {
            "schema_version": self.contract.schema_version,
            "domain": self.contract.domain,
            "status": "refused",
            "source": "none",
            "reason": None,
            "problems": [],
            "proposal": None,
            "action": None,
            **found,
            "latency_ms": 0.0 if started is None else round((time.perf_counter() - started) * 1000, 3),
            "policy_hash": self.policy_hash,
        }


def run_cli(
    bundle: Path,
    request: str,
    *,
    audit: Path | None,
    as_json: bool,
    selftest: bool,
    runner: Runner = "onnxruntime",
) -> int:
    """What ``interlock decide`` does: answers on standard output as JSON lines, a summary on standard error.

    Args:
        bundle: folder or zip.
        request: file of requests (JSON, JSON lines, CSV), ``-`` for standard input, empty for a self-test.
        audit: log to append to; ``<bundle>.audit.jsonl`` beside the bundle if ``None``.
        as_json: one JSON object with all answers instead of one line each.
        selftest: run the bundled requests instead and compare.
        runner: of a network.

    Returns:
        The exit code: 0, or 3 if any request was invalid, or 1 if the self-test failed.

    Raises:
        BadInput: the bundle or the whole request file is not sound.
        UsageError: no request, or an audit log inside the bundle.
    """
    if bool(request) == selftest:
        raise UsageError("decide needs either --request FILE (or -) or --selftest")
    log = AuditLog(_audit_path(Path(bundle), audit))
    decider = Decider(bundle, runner)
    if selftest:
        return _selftest(decider, as_json)
    answers: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for raw in read_requests(request):
        answer = decider.invalid(raw.problems) if raw.problems else decider.decide(raw.value)
        try:
            log.append(audit_line(raw.value, answer))
        except OSError as error:
            raise UsageError(
                f"audit log {log.path}: cannot be written ({error}); choose another with --audit"
            ) from error
        counts[answer["status"]] += 1
        counts[answer["source"].partition(":")[0]] += 1
        if as_json:
            answers.append(answer)
        else:
            print(json.dumps(answer), flush=True)
    totals = {status: counts[status] for status in ("released", "refused", "invalid")}
    if as_json:
        print(json.dumps({"policy_hash": decider.policy_hash, **totals, "audit": str(log.path), "answers": answers}))
    else:
        sources = ", ".join(
            f"{counts[name]} by {name}" for name in ("policy", "projection", "fallback") if counts[name]
        )
        told = ", ".join(f"{count} {status}" for status, count in totals.items())
        print(f"{told}{f' ({sources})' if sources else ''}; audit log {log.path}", file=sys.stderr)
    return BadInput.exit_code if counts["invalid"] else 0


def _audit_path(bundle: Path, audit: Path | None) -> Path:
    path = default_path(bundle) if audit is None else Path(audit)
    if path.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(f"audit log {path}: is inside the bundle, which must not change; choose another with --audit")
    return path


def _selftest(decider: Decider, as_json: bool) -> int:
    differences = decider.selftest()
    count = len(decider.bundle.selftest)
    if as_json:
        print(json.dumps({"policy_hash": decider.policy_hash, "requests": count, "differences": differences}))
    else:
        for difference in differences:
            print(difference)
        told = f"{len(differences)} differences" if differences else "all answers as expected"
        print(f"self-test of policy {decider.policy_hash}: {count} requests, {told}", file=sys.stderr)
    return 1 if differences else 0


def _plain(action: Any) -> Any:
    return action.tolist() if hasattr(action, "tolist") else action


def _compare(differences: list[str], path: str, expected: Any, found: Any) -> None:
    """Note where two JSON values differ; numbers may differ by rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted(set(expected) | set(found)):
            _compare(differences, f"{path}, {name}", expected.get(name), found.get(name))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for k, pair in enumerate(zip(expected, found, strict=True)):
            _compare(differences, f"{path}.{k}", *pair)
    elif isinstance(expected, float) and isinstance(found, float):
        if not math.isclose(expected, found, rel_tol=1e-4, abs_tol=1e-5):
            differences.append(f"{path}: {found}, expected {expected}")
    elif expected != found:
        differences.append(f"{path}: {shown(found)}, expected {shown(expected)}")

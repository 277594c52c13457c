"""Decisions: the policy proposes, the contract releases; whatever breaks, nothing infeasible gets out."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from interlock.core.decision import Verdict
from interlock.core.environment import Array, Observation
from interlock.domains.bin_packing.decision import BinPackingDecision
from interlock.domains.bin_packing.request import Request
from interlock.operations.decide import Decider


def stands(raw: dict[str, Any], answer: dict[str, Any]) -> bool:
    """The support rule of the released preset in plain Python, on the raw request and the answer's own words."""
    where, box = answer["decision"], raw["items"][0]
    length, width = (box["l"], box["w"]) if where["orientation"] == 0 else (box["w"], box["l"])
    x, y, area = where["x"], where["y"], int(box["l"] * box["w"])
    if x < 0 or y < 0 or x + length > 10 or y + width > 10:
        return False
    under = [raw["height_map"][i][y : y + int(width)] for i in range(x, x + int(length))]
    z = max(max(row) for row in under)
    cells = sum(row.count(z) for row in under)
    corners = [under[0][0], under[0][-1], under[-1][0], under[-1][-1]].count(z)
    held = cells == area or (corners == 4 and 2 * cells > area) or (corners >= 3 and 100 * cells > 85 * area)
    return where["z"] == z and z + box["h"] <= 10 and (held or 100 * cells > 95 * area)


def test_released_decisions_are_the_networks_best_feasible_placements(decider: Decider, bundle: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle / "policy.onnx", providers=["CPUExecutionProvider"])
    released = 0
    for raw in decider.contract.sample_requests(300, 9):
        answer = decider.decide(raw)
        observation = decider.contract.observation(decider.contract.parse(raw))
        if not observation["action_mask"].any():
            assert (answer["status"], answer["source"], answer["proposal"]) == ("refused", "none", None)
            assert answer["reason"].startswith("no feasible position for box 'box-")
            continue
        planes = decider.contract.encoders()["planes"](observation)["planes"]
        (scores,) = session.run(["scores"], {"planes": planes})
        best = int(np.where(observation["action_mask"], scores, -np.inf)[0].argmax())
        assert (answer["status"], answer["source"], answer["reason"]) == ("released", "policy", None)
        assert answer["proposal"] == answer["action"] == best
        assert answer["score"] == pytest.approx(float(scores[0, best]), abs=1e-4)
        assert stands(raw, answer)
        released += 1
    assert released > 200


def test_answers_follow_the_bundled_schema(decider: Decider) -> None:
    document = json.loads(decider.bundle.files["contract.json"])
    validator = jsonschema.Draft202012Validator(document["answer"])
    requests: list[Any] = [*decider.contract.sample_requests(100, 3), {}, None, {"schema_version": 1, "items": []}]
    statuses = set()
    for raw in requests:
        answer = json.loads(json.dumps(decider.decide(raw), allow_nan=False))
        validator.validate(answer)
        statuses.add(answer["status"])
        assert answer["policy_hash"] == decider.policy_hash
        assert answer["latency_ms"] > 0
    assert statuses == {"released", "refused", "invalid"}


def test_an_invalid_request_is_answered_with_all_its_problems(decider: Decider) -> None:
    for raw in (None, 5, "text", [1], {}):
        answer = decider.decide(raw)  # type: ignore[arg-type]
        assert (answer["status"], answer["source"], answer["action"]) == ("invalid", "none", None)
        assert answer["problems"]
    assert decider.decide({"schema_version": 1})["reason"] == "2 problems in the request"
    assert "decision" not in decider.decide({})


def test_where_the_network_gives_nan_a_fallback_decides_and_says_why(
    make_bundle: Callable[..., Path], make_network: Callable[..., bytes]
) -> None:
    decider = Decider(make_bundle(model=make_network(nan_height=5)))
    seen = {True: 0, False: 0}
    for raw in decider.contract.sample_requests(200, 4):
        answer = decider.decide(raw)
        if answer["status"] == "refused":
            continue
        broken = raw["items"][0]["h"] == 5
        seen[broken] += 1
        assert answer["source"] == ("fallback:linear12" if broken else "policy")
        if broken:
            assert answer["reason"] == "the scorer failed: it gave no number for any allowed action"
            assert (answer["proposal"], answer["score"], answer["alternatives"]) == (None, None, [])
        assert stands(raw, answer)
    assert min(seen.values()) > 20


def test_an_exception_of_the_scorer_leads_to_a_fallback(bundle: Path) -> None:
    decider = Decider(bundle)
    failing = {"planes": lambda observation: {"planes": observation["height_map"].astype(np.float64)}}
    decider.mind.step = lambda observation, memory: (failing["planes"](observation)["no such output"], memory)
    raw = decider.contract.sample_requests(1, 0)[0]
    answer = decider.decide(raw)
    assert (answer["status"], answer["source"]) == ("released", "fallback:linear12")
    assert answer["reason"] == "the scorer failed: KeyError: 'no such output'"
    decider.mind.step = lambda observation, memory: (np.zeros(7), memory)
    assert "scores of shape (7,), expected (200,)" in decider.decide(raw)["reason"]
    assert stands(raw, decider.decide(raw))


def test_a_missed_deadline_is_reported_and_answered_by_a_rule(decider: Decider) -> None:
    raw = decider.contract.sample_requests(1, 0)[0]
    in_time = decider.decide({**raw, "deadline_ms": 60_000})
    assert (in_time["source"], in_time["reason"]) == ("policy", None)
    late = decider.decide({**raw, "deadline_ms": 0.001})
    assert (late["status"], late["source"]) == ("released", "fallback:linear12")
    assert late["reason"].startswith("deadline of 0.001 ms missed: the policy took ")
    assert late["proposal"] == in_time["proposal"]
    assert stands(raw, late)


class CarelessMask(BinPackingDecision):
    """Tells the policy that everything is allowed; only the check stands between it and the bin."""

    def observation(self, request: Request) -> Observation:
        view = dict(super().observation(request))
        return {**view, "action_mask": np.ones_like(view["action_mask"])}


class NoProjection(CarelessMask):
    def project(self, request: Request, scores: Array) -> int | None:
        raise RuntimeError("broken")

    def fallbacks(self) -> dict[str, Callable[[Request], int | None]]:
        rules = super().fallbacks()
        return {"failing": lambda request: 1 // 0, "wrong": lambda request: 199, "dbl": rules["dbl"]}

    def _deepest_bottom_left(self, request: Request) -> int | None:
        return BinPackingDecision.project(self, request, -np.arange(200.0))


class Forbidding(CarelessMask):
    def check(self, request: Request, action: Any) -> Verdict:
        return Verdict(False, ("not today",))


def test_an_infeasible_proposal_is_projected_and_both_are_told(bundle: Path) -> None:
    decider = Decider(bundle)
    decider.contract = CarelessMask(decider.contract.scenario)
    sources = []
    for raw in decider.contract.sample_requests(200, 6):
        answer = decider.decide(raw)
        if answer["status"] == "released":
            sources.append(answer["source"])
            assert stands(raw, answer)
        if answer["source"] == "projection":
            assert answer["proposal"] != answer["action"]
            verdict = decider.contract.check(decider.contract.parse(raw), answer["proposal"])
            assert answer["reason"] == f"policy not released: {', '.join(verdict.violations)}"
    assert sources.count("projection") > 100


def test_fallbacks_are_tried_in_order_until_one_passes_the_check(bundle: Path) -> None:
    decider = Decider(bundle)
    decider.contract = NoProjection(decider.contract.scenario)
    raw = copy.deepcopy(decider.contract.sample_requests(1, 0)[0])
    decider.mind.step = lambda observation, memory: (np.arange(200.0), memory)  # 199 sticks out
    answer = decider.decide(raw)
    assert (answer["status"], answer["source"]) == ("released", "fallback:dbl")
    parts = answer["reason"].split("; ")
    assert parts[0].startswith("policy not released: outside: x 9 + ")
    assert parts[1] == "projection failed: RuntimeError: broken"
    assert parts[2].startswith("fallback:failing failed: ZeroDivisionError")
    assert parts[3].startswith("fallback:wrong not released: outside")
    assert stands(raw, answer)


def test_nothing_is_released_when_every_check_fails(bundle: Path) -> None:
    decider = Decider(bundle)
    decider.contract = Forbidding(decider.contract.scenario)
    answer = decider.decide(decider.contract.sample_requests(1, 0)[0])
    assert (answer["status"], answer["source"], answer["action"]) == ("refused", "none", None)
    assert "decision" not in answer
    assert answer["reason"].startswith(
        "policy not released: not today; projection not released: not today; fallback:li"
    )


def test_selftest_passes_on_the_bundle_and_notices_another_policy(
    decider: Decider, bundle: Path, make_bundle: Callable[..., Path], make_network: Callable[..., bytes]
) -> None:
    assert decider.selftest() == []
    other = Decider(make_bundle(model=make_network(seed=1), cases=list(decider.bundle.selftest)))
    differences = other.selftest()
    assert any(", action: " in difference for difference in differences)
    assert any(", policy_hash: " in difference for difference in differences)


def test_a_decision_is_repeatable_and_quick(decider: Decider) -> None:
    requests = decider.contract.sample_requests(50, 8)
    first, second = ([decider.decide(raw) for raw in requests] for _ in range(2))
    assert [a["action"] for a in first] == [a["action"] for a in second]
    assert np.median([a["latency_ms"] for a in second]) < 10

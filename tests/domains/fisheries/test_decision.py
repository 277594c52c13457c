"""What a bundle of a fishery accepts, mends and refuses."""

import json

import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.domains.fisheries.decision import build

LIMITS = {"limits": {"tac": 0.2, "max_change": 0.1}}


def test_every_problem_of_a_request_is_told(scenarios):
    contract = build(scenarios.web(**LIMITS))
    with pytest.raises(BadInput) as caught:
        contract.parse({"year": 0, "stock": {"x": -1, "y": float("nan"), "zz": 1}, "last_mortality": {"x": 2}})
    text = str(caught.value)
    for part in ("year", "stock.x", "stock.y", "stock.zz", "stock.z:", "last_mortality.x", "last_mortality.y"):
        assert part in text
    with pytest.raises(BadInput, match="is its unit right"):
        contract.parse({"year": 1, "stock": {"x": 500.0, "y": 0.5, "z": 0.5}})
    with pytest.raises(BadInput, match="last_mortality"):
        contract.parse({"year": 2, "stock": {"x": 0.5, "y": 0.5, "z": 0.5}})


def test_proposals_are_brought_within_the_limits_and_checked_again(scenarios):
    contract = build(scenarios.web(**LIMITS))
    request = contract.parse(
        {"year": 2, "stock": {"x": 0.5, "y": 0.5, "z": 0.5}, "last_mortality": {"x": 0.2, "y": 0.05}}
    )
    within = contract.project(request, np.array([0.9, 0.9]))
    assert within.tolist() == pytest.approx([0.3 * 0.2 / 0.225, 0.15 * 0.2 / 0.225])  # total catch 0.225 scaled to 0.2
    assert not contract.check(request, [0.9, 0.9]).feasible
    assert not contract.check(request, [0.2, np.nan]).feasible
    assert not contract.check(request, [0.2]).feasible
    verdict = contract.check(request, [0.31, 0.05])
    assert verdict.violations == ("mortality of x changes by 0.11, at most 0.1",)
    assert contract.check(request, [0.3, 0.1]).feasible
    crowded = contract.parse(
        {"year": 2, "stock": {"x": 1.0, "y": 1.0, "z": 0.5}, "last_mortality": {"x": 0.5, "y": 0.5}}
    )
    scaled = contract.project(crowded, np.array([0.5, 0.5]))
    assert scaled.tolist() == pytest.approx([0.1, 0.1])  # the allowable catch goes before the largest change
    assert contract.check(crowded, scaled).feasible
    assert not contract.check(crowded, [0.05, 0.05]).feasible  # less than the allowable catch asks for


def test_answers_tell_catch_and_escapement(scenarios):
    contract = build(scenarios.web())
    request = contract.parse({"year": 3, "stock": {"x": 0.5, "y": 0.8, "z": 0.5}})
    answer = contract.answer(request, np.array([0.2, 0.5]), None)
    assert answer["catch"] == pytest.approx({"x": 0.1, "y": 0.4})
    assert answer["escapement"] == pytest.approx({"x": 0.4, "y": 0.4})
    json.dumps(answer, allow_nan=False)
    careful = contract.fallbacks()["careful"](request)
    assert careful.tolist() == pytest.approx([0.8 * 0.26, 0.8 * 0.26])
    assert contract.fallbacks()["closure"](request).tolist() == [0.0, 0.0]
    assert contract.propose(request, np.array([np.nan, 0.1])) is None

"""Thousands of decisions under an adversarial policy, and that the judge would notice if the gate failed."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "benchmarks" / "fisheries_release.py"


@pytest.fixture(scope="module")
def fuzzer():
    spec = importlib.util.spec_from_file_location("fisheries_release", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def play(fuzzer, each):
    happened = Counter()
    for number, (name, changes) in enumerate(fuzzer.WORLDS):
        happened += fuzzer.fuzz(fuzzer.decider_of(fuzzer.scenario_of(name, changes)), 10_000 + number, each)
    return happened


def test_no_released_decision_breaks_a_limit(fuzzer):
    happened = play(fuzzer, 150)
    assert fuzzer.infeasible(happened) == 0, happened
    assert happened["released"] == 1200  # a fishery is closed, never refused
    assert min(happened[name] for name in ("policy", "projection", "fallback:careful")) > 50
    assert happened["closed"] > 100


@pytest.mark.slow
def test_no_decision_of_many_breaks_a_limit(fuzzer):
    happened = play(fuzzer, 1250)
    assert fuzzer.infeasible(happened) == 0, happened
    assert happened["released"] == 10_000


LOW = {"year": 7, "stock": {"x": 0.1}, "last_mortality": {"x": 0.3}}
HIGH = {"year": 7, "stock": {"x": 0.6}, "last_mortality": {"x": 0.3}}


@pytest.mark.parametrize(
    ("raw", "share", "broken"),
    [
        (HIGH, 0.3, []),
        (HIGH, 1.2, ["range"]),
        (HIGH, float("nan"), ["range"]),
        (HIGH, 0.5, ["rise"]),
        (HIGH, 0.1, ["fall"]),
        (LOW, 0.3, ["risk"]),
        (LOW, 0.0, ["fall"]),
        ({**LOW, "stock": {"x": 0.052}}, 0.0, []),
        ({**LOW, "stock": {"x": 0.052}}, 0.001, ["risk"]),
    ],
)
def test_the_judge_knows_every_limit(fuzzer, raw, share, broken):
    decider = fuzzer.decider_of(fuzzer.scenario_of("may-tipping", {"limits": {"max_change": 0.15}}))
    stock = raw["stock"]["x"]
    request = decider.contract.parse(raw)
    believed = decider.contract.beliefs.believed(request.year, request.stock, request.cv)
    answer = {
        "mortality": {"x": share},
        "tac": {"x": share * stock},
        "escapement": {"x": (1 - share) * stock},
        "collapse_within_1_year": fuzzer.chance(decider.contract.scenario, *believed, raw["year"] - 1, {"x": share}),
    }
    assert fuzzer.breaks(decider, raw, answer) == broken


def test_the_judge_counts_catch_and_what_is_told(fuzzer):
    decider = fuzzer.decider_of(fuzzer.scenario_of("web-drift", {"limits": {"tac": 0.3}}))
    raw = {"year": 3, "stock": {"x": 0.8, "y": 0.5, "z": 0.5}}
    told = {
        "tac": {"x": 0.16, "y": 0.15},
        "escapement": {"x": 0.64, "y": 0.36},
        "mortality": {"x": 0.2, "y": 0.3},
        "collapse_within_1_year": 0.5,
    }
    assert fuzzer.breaks(decider, raw, told) == ["allowable catch", "told risk", "told escapement"]

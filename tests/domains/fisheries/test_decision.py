"""What a bundle of a fishery accepts, mends and refuses."""

import json

import jsonschema
import numpy as np
import pytest

from interlock.core.errors import BadInput, NotTrusted
from interlock.domains.fisheries import DOMAIN
from interlock.domains.fisheries.decision import build
from interlock.domains.fisheries.release_check import collapse_probability
from interlock.domains.fisheries.rules import score
from interlock.domains.fisheries.tuning import TUNING_SEED
from interlock.scenarios.loading import load_scenario

LIMITS = {"limits": {"tac": 0.2, "max_change": 0.1}}
TONNES = {"tonnes": [50_000.0, 20_000.0, 1_000.0]}
WHOLE = {"x": 0.5, "y": 0.5, "z": 0.5}


def problems_of(contract, **request):
    with pytest.raises(BadInput) as caught:
        contract.parse({"year": 1, **request})
    return str(caught.value)


def test_every_problem_of_a_request_is_told(scenarios):
    contract = build(scenarios.web(**LIMITS))
    with pytest.raises(BadInput) as caught:
        contract.parse(
            {
                "year": 0,
                "stock": {"x": -1, "y": float("nan"), "zz": 1},
                "cv": {"x": 2, "q": 0.1},
                "last_mortality": {"x": 2},
                "yera": 1,
            }
        )
    text = str(caught.value)
    for part in (
        *("year: got 0", "yera: unknown field; did you mean 'year'", "stock.x: got -1", "stock.y: got nan"),
        *("stock.zz: unknown field; did you mean 'z'", "stock.z: missing, expected a number", "cv.x: got 2", "cv.q"),
        *("last_mortality.x: got 2", "last_mortality.y: missing"),
    ):
        assert part in text, part
    with pytest.raises(BadInput, match="last_mortality"):
        contract.parse({"year": 2, "stock": WHOLE})
    assert "expected an object with x, y, z" in problems_of(contract, stock=[0.5, 0.5, 0.5])


def test_stocks_come_in_stock_units_or_in_tonnes(scenarios):
    bare, weighed = build(scenarios.web()), build(scenarios.web(**TONNES))
    told = weighed.parse({"year": 1, "stock_t": {"x": 25_000.0, "y": 10_000.0, "z": 500.0}})
    assert told.stock.tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert weighed.parse({"year": 1, "stock": WHOLE}).stock.tolist() == [0.5, 0.5, 0.5]
    assert "expected one of them" in problems_of(weighed, stock=WHOLE, stock_t=WHOLE)
    assert "stock: missing" in problems_of(weighed)
    assert "does not tell the tonnes" in problems_of(bare, stock_t=WHOLE)


def test_wrong_units_are_suspected_by_their_ratio(scenarios):
    weighed = build(scenarios.web(**TONNES))
    in_tonnes = problems_of(weighed, stock={"x": 25_000.0, "y": 0.5, "z": 0.5})
    assert "stock.x: 25,000 stock units is 50,000 times that of year 0, at most 10; is it in t?" in in_tonnes
    in_kg = problems_of(weighed, stock_t={"x": 2.5e7, "y": 10_000.0, "z": 500.0})
    assert "stock_t.x: 25,000,000 t is 1,000 times that of year 0, at most 10; is it in kg?" in in_kg
    in_units = problems_of(weighed, stock_t=WHOLE)
    assert "stock_t.x: 0.5 t is 2e-05 times that of year 0; is it in stock units?" in in_units
    assert "is its unit right?" in problems_of(build(scenarios.web()), stock={**WHOLE, "x": 500.0})


def test_requests_for_another_scenario_are_refused(scenarios):
    contract = build(scenarios.web())
    own = scenarios.web().signature()
    assert contract.parse({"year": 1, "stock": WHOLE, "scenario_signature": own}).year == 0
    told = problems_of(contract, stock=WHOLE, scenario_signature=scenarios.one().signature())
    assert "the request is made for (model: 'one_species'" in told
    assert "this policy for (model: 'food_web'" in told
    assert "expected an object" in problems_of(contract, stock=WHOLE, scenario_signature="web")


def test_proposals_are_brought_within_the_limits_and_checked_again(scenarios):
    contract = build(scenarios.web(**LIMITS))
    request = contract.parse({"year": 2, "stock": WHOLE, "last_mortality": {"x": 0.2, "y": 0.05}})
    within = contract.project(request, np.array([0.9, 0.9]))
    assert within.tolist() == pytest.approx([0.3 * 0.2 / 0.225, 0.15 * 0.2 / 0.225])  # total catch 0.225 scaled to 0.2
    assert not contract.check(request, [0.9, 0.9]).feasible
    assert not contract.check(request, [0.2, np.nan]).feasible
    assert not contract.check(request, [0.2]).feasible
    assert not contract.check(request, "all of it").feasible
    assert contract.check(request, [-0.1, 1.1]).violations == (
        "mortality of x is -0.1, expected 0 to 1",
        "mortality of y is 1.1, expected 0 to 1",
    )
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
    answer = contract.answer(crowded, scaled, None)
    assert answer["flags"] == ["reduced_for_tac", "fast_reduction"]


def test_risk_goes_before_the_largest_change(scenarios):
    contract = build(scenarios.one(limits={"max_change": 0.05}))
    request = contract.parse({"year": 9, "stock": {"x": 0.075}, "last_mortality": {"x": 0.4}})
    cut = contract.project(request, np.array([0.4]))
    assert 0.0 < cut[0] < 0.35
    assert contract.check(request, cut).feasible
    assert not contract.check(request, [0.35]).feasible  # too risky
    assert not contract.check(request, [0.9 * cut[0]]).feasible  # a faster reduction than risk asks for
    answer = contract.answer(request, cut, None)
    assert answer["flags"] == ["five_year_risk", "reduced_for_risk", "fast_reduction", "low_stock"]
    assert answer["collapse_within_1_year"] == pytest.approx(0.01, abs=1e-9)


def test_a_fishery_that_cannot_be_made_safe_is_closed(scenarios):
    contract = build(scenarios.one(limits={"max_change": 0.05}))
    request = contract.parse({"year": 9, "stock": {"x": 0.053}, "last_mortality": {"x": 0.4}})
    closed = contract.project(request, np.array([0.4]))
    assert closed.tolist() == [0.0]
    assert contract.check(request, closed).feasible
    assert not contract.check(request, [0.01]).feasible
    answer = contract.answer(request, closed, None)
    assert {"closed", "limit_missed_without_catch", "fast_reduction"} <= set(answer["flags"])
    assert answer["collapse_within_1_year"] > 0.01
    assert "even without a catch" in " ".join(answer["notes"])


def test_a_crowded_fishery_is_not_closed(scenarios):
    contract = build(scenarios.one())
    request = contract.parse({"year": 9, "stock": {"x": 1.9}})
    beliefs, level = contract.beliefs, contract.scenario.release.collapse_probability
    believed = beliefs.believed(request.year, request.stock, request.cv)
    assert [
        collapse_probability(contract.scenario, believed, 8, np.array([share])) > level for share in (0.0, 0.036, 0.2)
    ] == [True, True, False]  # the more is caught, the safer
    for proposal in (0.0, 0.036):
        safe = contract.project(request, np.array([proposal]))
        assert contract.check(request, safe).feasible
        assert 0.05 <= safe[0] <= 0.2
        assert collapse_probability(contract.scenario, believed, 8, safe - 0.05) > level
    assert contract.project(request, np.array([0.2])).tolist() == [0.2]
    assert contract.fallbacks()["closure"](request).tolist() == safe.tolist()
    (told,) = contract.check(request, [0.0]).violations
    assert f"mortalities [{safe[0]:g}] keep it" in told
    assert "crowded" in contract.answer(request, safe, None)["flags"]


def test_a_crowded_fishery_is_closed_where_no_limit_permits_what_is_safer(scenarios):
    raw = {"year": 9, "stock": {"x": 1.9}, "last_mortality": {"x": 0.0}}
    for limits in ({"tac": 0.01}, {"max_change": 0.01}):
        contract = build(scenarios.one(limits=limits))
        request = contract.parse(raw)
        closed = contract.project(request, np.array([0.5]))
        assert closed.tolist() == [0.0]
        assert contract.check(request, closed).feasible
        assert "limit_missed_without_catch" in contract.answer(request, closed, None)["flags"]
        assert not contract.check(request, [0.005]).feasible


def test_one_crowded_species_is_caught_alone(scenarios):
    contract = build(scenarios.web())
    request = contract.parse({"year": 9, "stock": {"x": 2.2, "y": 0.075, "z": 0.5}})
    safe = contract.project(request, np.zeros(2))
    assert safe[0] > 0.0 == safe[1]
    assert contract.check(request, safe).feasible
    assert not contract.check(request, [0.0, 0.0]).feasible
    assert not contract.check(request, [safe[0], 0.9]).feasible


def test_policies_are_not_trusted_far_from_training(scenarios):
    contract = build(scenarios.one())
    lost, huge, large = (contract.parse({"year": 5, "stock": {"x": stock}}) for stock in (0.05, 3.0, 1.0))
    with pytest.raises(NotTrusted, match=r"x is at 0\.05, at or below the limit 0.05"):
        contract.propose(lost, np.array([0.1]))
    with pytest.raises(NotTrusted, match=r"more than 1\.5 times its largest of training"):
        contract.propose(huge, np.array([0.1]))
    assert contract.propose(large, np.array([0.1])).tolist() == [0.1]
    assert "outside_training_range" in contract.answer(large, np.array([0.1]), None)["flags"]
    assert contract.propose(contract.parse({"year": 5, "stock": {"x": 0.5}}), np.array([np.nan])) is None
    assert contract.answer(lost, np.zeros(1), None)["flags"] == [
        *("closed", "limit_missed_without_catch", "five_year_risk"),
        *("policy_not_asked", "below_limit", "low_stock"),
    ]


def test_answers_tell_catch_escapement_and_outlook(scenarios):
    contract = build(scenarios.web(**TONNES))
    request = contract.parse({"year": 200, "stock": {"x": 0.5, "y": 0.8, "z": 0.5}, "cv": {"x": 0.3}})
    answer = contract.answer(request, np.array([0.2, 0.5]), None)
    assert answer["tac"] == pytest.approx({"x": 0.1, "y": 0.4})
    assert answer["tac_t"] == pytest.approx({"x": 5000.0, "y": 8000.0})
    assert answer["escapement"] == pytest.approx({"x": 0.4, "y": 0.4})
    assert answer["escapement_t"] == pytest.approx({"x": 20_000.0, "y": 8000.0})
    assert answer["next_stock_mean_t"]["z"] == pytest.approx(1000.0 * answer["next_stock_mean"]["z"])
    assert all(answer["next_stock_low"][name] < answer["next_stock_mean"][name] for name in "xyz")
    assert answer["flags"] == ["high_cv", "last_year"]
    assert answer == contract.answer(request, np.array([0.2, 0.5]), None)  # the seed comes from the request
    json.dumps(answer, allow_nan=False)
    jsonschema.validate(answer, contract.answer_schema())


def test_fallbacks_are_careful_then_closed(scenarios):
    contract = build(scenarios.web())
    request = contract.parse({"year": 3, "stock": WHOLE})
    assert list(contract.fallbacks()) == ["careful", "closure"]
    careful = contract.fallbacks()["careful"](request)
    assert careful.tolist() == pytest.approx([0.8 * 0.26, 0.8 * 0.26])
    assert contract.fallbacks()["closure"](request).tolist() == [0.0, 0.0]
    assert contract.project(request, np.array([np.nan, 0.1])) is None
    assert contract.project(request, np.array([0.1])) is None


def test_the_careful_rule_is_that_of_the_numbers_at_hand():
    scenario = load_scenario(DOMAIN, "may-safe")
    raw = {"year": 3, "stock": {"x": 0.6}}
    bare = build(scenario.with_changes(tuned=None))
    careful = bare.fallbacks()["careful"](bare.parse(raw))
    assert careful == pytest.approx(0.8 * np.array(scenario.tuned.constant_mortality))
    slower = build(
        scenario.with_changes(model={**scenario.model.model_dump(), "r": 0.6})
    )  # holds those of the old ones
    found = slower.fallbacks()["careful"](slower.parse(raw))
    points = np.linspace(0.0, 0.5, 101)
    changed = slower.scenario
    reward = score(changed, "constant_mortality", points[:, None, None], futures=2000, seed=TUNING_SEED).reward
    assert found == pytest.approx([0.8 * points[np.argmax(reward)]])
    assert found != pytest.approx(careful)


def test_walleye_of_other_numbers_can_only_be_closed():
    scenario = load_scenario(DOMAIN, "walleye-yield")
    assert list(build(scenario).fallbacks()) == ["careful", "closure"]
    assert list(build(scenario.with_changes(tuned=None)).fallbacks()) == ["closure"]
    assert list(build(scenario.with_changes(horizon=scenario.horizon + 1)).fallbacks()) == ["closure"]


@pytest.mark.parametrize("name", ["may-safe", "web-two-fisheries", "web-hidden-predator", "web-uncertain"])
def test_samples_are_sound_and_every_decision_on_them_can_be_released(name):
    contract = build(load_scenario(DOMAIN, name))
    for raw in contract.sample_requests(20, 3):
        jsonschema.validate(raw, contract.request_schema())
        request = contract.parse(raw)
        for proposal in (0.0, 0.3, 1.0):
            action = contract.project(request, np.full(len(contract.caught), proposal))
            verdict = contract.check(request, action)
            assert verdict.feasible, verdict.violations

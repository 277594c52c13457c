"""The decision contract of bin packing: requests, checks, projection, fallbacks, answers, refusals."""

import copy
import json
import math
from typing import Any

import jsonschema
import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.domains.bin_packing.decision import BinPackingDecision, build
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.scenario import BinPackingScenario

SCENARIO = BinPackingScenario(name="cut2", orientations=2)
CONTRACT = BinPackingDecision(SCENARIO)
NAN = float("nan")


def request(**changes: Any) -> dict[str, Any]:
    base = {
        "schema_version": 1,
        "bin": {"l": 10, "w": 10, "h": 10, "cell": 1.0, "unit": "cell"},
        "height_map": [[0] * 10 for _ in range(10)],
        "items": [{"id": "a", "l": 3, "w": 2, "h": 4}],
        "orientation_set": 2,
        "preset": "released",
    }
    return copy.deepcopy({**base, **changes})


def with_item(**changes: Any) -> dict[str, Any]:
    return request(items=[{"id": "a", "l": 3, "w": 2, "h": 4, **changes}])


def problems_of(raw: Any, contract: BinPackingDecision = CONTRACT) -> tuple[str, ...]:
    with pytest.raises(BadInput) as caught:
        contract.parse(raw)
    return caught.value.problems


def uneven(z: int = 3) -> dict[str, Any]:
    """A tower of height ``z`` on 2 x 2 cells in the corner; boxes of 3 x 2 over it overhang."""
    raw = request()
    for x in (0, 1):
        raw["height_map"][x][0] = raw["height_map"][x][1] = z
    return raw


def test_a_request_is_read() -> None:
    raw = request(
        bin={"l": 10, "w": 10.0, "h": 10, "id": "pallet 7"},
        items=[
            {"id": 12, "l": 3.0, "w": np.int16(2), "h": 4, "weight": 1.5, "upright": False},
            {"id": "b", "l": 5, "w": 5, "h": 5, "upright": True},
        ],
        deadline_ms=50,
    )
    parsed = CONTRACT.parse(raw)
    assert [(box.id, box.sides) for box in parsed.boxes] == [(12, (3, 2, 4)), ("b", (5, 5, 5))]
    assert parsed.bins[0].id == "pallet 7"
    observation = CONTRACT.observation(parsed)
    assert observation["items"].tolist() == [[[3, 2, 4]]]
    assert observation["height_map"].shape == (1, 10, 10)
    assert observation["action_mask"].sum() == 8 * 9 + 9 * 8


def test_optional_parts_may_be_left_out_and_arrays_given() -> None:
    raw = {"schema_version": 1, "height_map": np.zeros((10, 10), np.int64), "items": request()["items"]}
    assert CONTRACT.parse(raw).bins[0].id == "bin"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (request(schema_version=2), "schema_version: got 2, this policy understands 1"),
        (request(schema_version=True), "schema_version: got True, this policy understands 1"),
        (request(hight_map=[]), "hight_map: unknown field; did you mean 'height_map'?"),
        (request(bin=[10, 10, 10]), "bin: got [10, 10, 10], expected an object with l, w, h in cells"),
        (request(bin={"l": 10, "w": 10}), "bin.h: missing; height of the bin in cells"),
        (request(bin={"l": 10, "w": 10, "h": 10, "id": ""}), "bin.id: got '', expected a text of 1 to 200"),
        (request(orientation_set=3), "orientation_set: got 3, expected 1, 2 or 6"),
        (request(preset=7), "preset: got 7, expected a name or an object with theta4, theta3, theta0"),
        (request(deadline_ms=0), "deadline_ms: got 0, expected a number above 0 [ms]"),
        (request(deadline_ms="5"), "deadline_ms: got '5', expected a number above 0 [ms]"),
        (request(deadline_ms=math.inf), "deadline_ms: got inf, expected a number above 0 [ms]"),
        (request(height_map=None), "height_map: got None, expected 10 rows (along x) of 10 cells (along y)"),
        (request(height_map=[[0] * 10] * 9), "height_map: got 9 rows of 10 cells, expected 10 rows"),
        (request(height_map=[[0] * 10] * 9 + [[0] * 8]), "height_map: row 9 has 8 cells (10 rows in all), expected 10"),
        (request(height_map=[[0] * 10] * 9 + [0]), "height_map: row 9 is 0, expected 10 rows"),
        (request(items=[]), "items: got 0 boxes, expected a list of 1 to 64 boxes, front first"),
        (request(items={"id": "a"}), "items: got {'id': 'a'}, expected a list of 1 to 64 boxes, front first"),
        (request(items=[5]), "items.0: got 5, expected an object with id, l, w, h"),
        (with_item(l=0), "items.0.l: got 0, expected a whole number of at least 1 [cells]"),
        (with_item(l=-3), "items.0.l: got -3, expected a whole number of at least 1 [cells]"),
        (with_item(l=2.5), "items.0.l: got 2.5, expected a whole number of at least 1 [cells]"),
        (with_item(w=NAN), "items.0.w: got nan, expected a whole number of at least 1 [cells]"),
        (with_item(h=True), "items.0.h: got True, expected a whole number of at least 1 [cells]"),
        (with_item(h="4 cm"), "items.0.h: got '4 cm', expected a whole number of at least 1 [cells]"),
        (with_item(id=None), "items.0.id: got None, expected a text of 1 to 200 characters or a whole number"),
        (with_item(weight=NAN), "items.0.weight: got nan, expected a number above 0 and at most 1e+09 [kg]"),
        (with_item(weight=-1), "items.0.weight: got -1, expected a number above 0 and at most 1e+09 [kg]"),
        (with_item(upright="yes"), "items.0.upright: got 'yes', expected true or false"),
        (with_item(wieght=4), "items.0.wieght: unknown field; did you mean 'weight'?"),
        (
            with_item(colour=4),
            "items.0.colour: unknown field; there are: id, l, w, h, weight, max_stack_weight, upright",
        ),
        (with_item(l=11), "items.0: 11 x 2 x 4 cells does not fit the bin of 10 x 10 x 10 cells in either orientation"),
        (with_item(h=11), "items.0: 3 x 2 x 11 cells does not fit the bin of 10 x 10 x 10 cells in either orientation"),
        (with_item(h=10**40), "cells does not fit the bin"),
        (request(items=request()["items"] * 2), "items.1.id: 'a' is the name of items.0 already"),
    ],
)
def test_each_problem_is_named_with_its_value_and_what_was_expected(raw: dict[str, Any], expected: str) -> None:
    problems = problems_of(raw)
    assert len(problems) == 1
    assert expected in problems[0]


@pytest.mark.parametrize("cell", [-1, 11, 2.5, NAN, True, "3", None, [1]])
def test_a_wrong_height_is_reported_with_the_first_place_and_a_count(cell: Any) -> None:
    raw = request()
    raw["height_map"][3][7] = raw["height_map"][5][0] = cell
    (problem,) = problems_of(raw)
    assert problem.startswith("height_map: (x 3, y 7) is ")
    assert problem.endswith("expected a whole number from 0 to 10 [cells]; 1 more cells are wrong")


def test_all_problems_are_listed_at_once() -> None:
    raw = {"schema_version": 1, "bin": {"l": True}, "items": [{"id": "a", "l": "x", "w": 0}], "presett": 1}
    problems = problems_of(raw)
    assert [problem.partition(":")[0] for problem in problems] == [
        "presett", "height_map", "bin.l", "bin.w", "bin.h", "items.0.h", "items.0.l", "items.0.w",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"bin": {"l": 12, "w": 10, "h": 10}},
        {"bin": {"l": 10, "w": 10, "h": 10, "cell": 2.0, "unit": "cm"}},
        {"orientation_set": 1},
        {"preset": "paper"},
        {"preset": {"theta4": 0.6, "theta3": 0.8, "theta0": 0.95}},
    ],
)
def test_a_request_for_another_bin_is_refused_naming_both_signatures(changes: dict[str, Any]) -> None:
    (problem,) = problems_of(request(**changes))
    assert "this policy is for [bin 10 x 10 x 10 cells, cell 1.0 cell; orientations 2; preset 'released'; " in problem
    assert "items of 2 to 5 cells a side], the request is for [bin 1" in problem


def test_thresholds_of_the_scenario_are_accepted_and_others_are_not() -> None:
    own = {"theta4": 0.6, "theta3": 0.7, "theta0": 0.9}
    contract = BinPackingDecision(BinPackingScenario(name="own", orientations=2, stability=own))
    assert contract.parse(request(preset=own)).boxes
    assert "request is for" in problems_of(request(preset={**own, "theta4": 0.5}), contract)[0]
    assert problems_of(request(preset={"theta4": 2}), contract)[0].startswith("preset.theta4: got 2, expected a number")


def test_a_box_that_fits_is_accepted_outside_the_trained_range_and_flagged() -> None:
    for sides, outside in (((3, 2, 4), False), ((1, 2, 4), True), ((9, 9, 9), True)):
        parsed = CONTRACT.parse(with_item(l=sides[0], w=sides[1], h=sides[2]))
        assert CONTRACT.answer(parsed, 0, None)["outside_training_range"] is outside
        assert CONTRACT.check(parsed, 0).feasible


def test_a_box_that_only_fits_turned_needs_orientations() -> None:
    size = {"length": 10, "width": 6, "height": 10}
    raw = {"schema_version": 1, "height_map": [[0] * 6] * 10, "items": [{"id": "a", "l": 3, "w": 8, "h": 4}]}
    turning = BinPackingDecision(BinPackingScenario(name="t", orientations=2, bin=size))
    fixed = BinPackingDecision(BinPackingScenario(name="f", bin=size))
    assert turning.parse(raw).placements.rule[0, 1].min() == 0
    assert "as it arrives, and this policy turns no box" in problems_of(raw, fixed)[0]


def test_check_says_in_words_what_forbids() -> None:
    parsed = CONTRACT.parse(uneven(z=7))
    assert CONTRACT.check(parsed, 55).feasible
    outside = CONTRACT.check(parsed, 9 * 10 + 9)
    assert outside.violations == (
        "outside: x 9 + 3 = 12 cells is beyond the bin's 10",
        "outside: y 9 + 2 = 11 cells is beyond the bin's 10",
    )
    high = CONTRACT.check(parsed, 0)
    assert not high.feasible
    assert high.violations[0] == "too high: z 7 + 4 = 11 cells is above the bin's 10"
    assert high.violations[1].startswith(
        "unstable: 4 of 6 cells (66.7%) and 2 of 4 corners rest at z 7; preset 'releas"
    )
    assert CONTRACT.check(CONTRACT.parse(with_item(l=2)), 100).violations[0].startswith("duplicate")
    for nonsense in (-1, 200, 3.5, None, True, NAN, "0"):
        assert "is not one of 0 to 199" in CONTRACT.check(parsed, nonsense).violations[0]


def test_check_agrees_with_the_mask_on_every_action() -> None:
    for raw in CONTRACT.sample_requests(40, seed=5):
        parsed = CONTRACT.parse(raw)
        mask = CONTRACT.observation(parsed)["action_mask"][0]
        assert [CONTRACT.check(parsed, action).feasible for action in range(200)] == mask.tolist()


def test_projection_takes_the_best_feasible_action_and_never_nan() -> None:
    parsed = CONTRACT.parse(uneven())
    mask = CONTRACT.observation(parsed)["action_mask"][0]
    scores = np.arange(200.0)
    assert CONTRACT.project(parsed, scores) == np.flatnonzero(mask)[-1]
    scores[np.flatnonzero(mask)[-1]] = NAN
    assert CONTRACT.project(parsed, scores) == np.flatnonzero(mask)[-2]
    scores[np.flatnonzero(mask)[0]] = math.inf
    assert CONTRACT.project(parsed, scores) == np.flatnonzero(mask)[0]
    assert CONTRACT.project(parsed, np.full(200, NAN)) is None
    assert CONTRACT.project(parsed, np.full(200, -math.inf)) is None
    full = CONTRACT.parse(request(height_map=[[10] * 10] * 10))
    assert CONTRACT.project(full, np.zeros(200)) is None


def test_fallbacks_are_the_baselines_of_the_same_name() -> None:
    problem = BinPackingProblem(SCENARIO)
    rules = CONTRACT.fallbacks()
    assert list(rules) == ["linear12", "dbl"]
    compared = 0
    for raw in CONTRACT.sample_requests(200, seed=2):
        parsed = CONTRACT.parse(raw)
        observation = CONTRACT.observation(parsed)
        if not observation["action_mask"].any():
            assert [rule(parsed) for rule in rules.values()] == [None, None]
            continue
        compared += 1
        for name, rule in rules.items():
            assert rule(parsed) == problem.baselines()[name](0).act(observation)[0], name
    assert compared > 150


def test_answer_has_positions_in_cells_and_units() -> None:
    size = {"length": 10, "width": 10, "height": 10, "cell_size": 2.5, "unit": "cm"}
    contract = BinPackingDecision(BinPackingScenario(name="cm", orientations=2, bin=size))
    raw = {**uneven(), "bin": {"l": 10, "w": 10, "h": 10, "cell": 2.5, "unit": "cm", "id": 4}}
    parsed = contract.parse(raw)
    scores = np.linspace(1, 0, 200)
    answer = contract.answer(parsed, 100, scores)  # turned: 2 x 3, resting on the tower's 2 x 2 cells
    assert answer["decision"] == {
        "item_id": "a", "bin_id": 4, "orientation": 1, "x": 0, "y": 0, "z": 3,
        "position": {"x": 0.0, "y": 0.0, "z": 7.5, "unit": "cm"},
    }  # fmt: skip
    assert answer["support"] == {"area_ratio": round(4 / 6, 6), "corners": 2, "preset": "released"}
    assert answer["score"] == scores[100]
    mask = contract.observation(parsed)["action_mask"][0]
    best = [a["orientation"] * 100 + a["x"] * 10 + a["y"] for a in answer["alternatives"]]
    assert best == np.flatnonzero(mask)[:5].tolist()
    assert all(contract.check(parsed, action).feasible for action in best)
    assert contract.answer(parsed, 55, None)["alternatives"] == []


def test_refusal_counts_positions_per_rule_and_names_the_best_support() -> None:
    contract = BinPackingDecision(BinPackingScenario(name="full", orientations=2, stability="full"))
    raw = request(preset="full", height_map=[[9, 0] * 5] * 10, items=[{"id": "x", "l": 3, "w": 2, "h": 1}])
    found = contract.refuse(contract.parse(raw))
    assert {name: count for name, count in found["refuse"]["positions"].items() if count} == {
        "outside": 28 + 28,
        "unstable": 144,
    }
    best = {"item_id": "x", "bin_id": "bin", "orientation": 1, "x": 0, "y": 0}  # over columns 9, 0, 9
    lacked = {"area_ratio": round(4 / 6, 6), "corners": 4, "lacked": round(2 / 6, 6)}
    assert found["refuse"]["best_support"] == {**best, **lacked}
    assert "56 outside, 0 too high, 144 unstable (best support 66.7% with 4 of 4 corners" in found["refuse"]["reason"]
    full = CONTRACT.refuse(CONTRACT.parse(request(height_map=[[10] * 10] * 10)))
    assert full["refuse"]["best_support"] is None
    assert full["refuse"]["positions"]["too_high"] == 144


def test_schemas_accept_what_the_contract_accepts_and_say_the_units() -> None:
    schema = CONTRACT.request_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for raw in CONTRACT.sample_requests(30, seed=0):
        validator.validate(json.loads(json.dumps(raw)))
    for raw in (request(preset="paper"), request(extra=1), with_item(l=0), request(height_map=[[0]])):
        assert not validator.is_valid(raw)
    fields = {field.name: field for field in CONTRACT.request_fields()}
    assert (fields["items[].l"].unit, fields["items[].l"].low, fields["items[].l"].high) == ("cells", 1, 10)
    assert fields["height_map"].shape == (10, 10)
    assert fields["height_map"].high == 10
    assert not fields["bin.l"].required
    assert fields["items[].id"].required
    answer = {field.name: field for field in CONTRACT.answer_fields()}
    assert answer["decision.z"].high == 9
    jsonschema.Draft202012Validator.check_schema(CONTRACT.answer_schema())


def test_samples_are_mid_game_and_repeatable() -> None:
    samples = CONTRACT.sample_requests(400, seed=3)
    assert samples == CONTRACT.sample_requests(400, seed=3)
    assert samples != CONTRACT.sample_requests(400, seed=4)
    fill = np.array([np.mean(raw["height_map"]) / 10 for raw in samples])
    feasible = np.array([CONTRACT.observation(CONTRACT.parse(raw))["action_mask"].any() for raw in samples])
    assert fill.max() > 0.5
    assert 0.8 < feasible.mean() < 1
    assert len(CONTRACT.sample_requests(7, seed=0)) == 7


@pytest.mark.parametrize("stability", ["paper", "released", "full", "strict75"])
def test_observation_is_the_environments_own(stability: str) -> None:
    scenario = BinPackingScenario(name="cut2", orientations=2, stability=stability)
    contract = build(scenario)
    environment = BinPackingProblem(scenario).environment(16, seed=1, split="test")
    view, rng = environment.reset(), np.random.default_rng(0)
    for _ in range(20):
        for row in range(16):
            one = {name: values[row : row + 1] for name, values in view.items()}
            length, width, height = one["items"][0, 0].tolist()
            raw = {
                "schema_version": 1,
                "height_map": one["height_map"][0],
                "items": [{"id": 1, "l": length, "w": width, "h": height}],
            }
            ours = contract.observation(contract.parse(raw))
            assert ours.keys() == one.keys()
            for name, values in ours.items():
                np.testing.assert_array_equal(values, one[name])
                assert values.dtype == one[name].dtype
        view = environment.step(np.where(view["action_mask"], rng.random((16, 200)), -1).argmax(1)).observation

"""The decision contract of the variants: several bins, held boxes, tilted boxes, weights, the stack, reach."""

import copy
import json
from typing import Any

import jsonschema
import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.domains.bin_packing import orientation, placements
from interlock.domains.bin_packing.decision import BinPackingDecision
from interlock.domains.bin_packing.environment import BinPackingEnvironment
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.release_boxes import Box, turned
from interlock.domains.bin_packing.scenario import BinPackingScenario

LENIENT = {"theta4": 0.2, "theta3": 0.3, "theta0": 0.4}
VARIANTS: dict[str, dict[str, Any]] = {
    "four_bins": {"bin": {"open": 4}},
    "buffer": {"buffer": 3},
    "look_ahead": {"look_ahead": 4},
    "six": {"orientations": 6, "stream": "rs"},
    "all_of_these": {"bin": {"open": 2, "total": 4}, "buffer": 2, "orientations": 2, "look_ahead": 3},
    "stacking": {"stacking": True, "stream": "rs", "orientations": 2, "stability": LENIENT},
    "density": {"stacking": True, "stability": LENIENT, "items": {"density": (0.2, 2.0)}},
    "crush": {"orientations": 6, "stream": "rs", "items": {"density": (0.1, 2.0), "crush_factor": 1.5}},
    "max_weight": {"bin": {"open": 2, "max_weight": 260.0}, "items": {"crush_factor": 4.0}},
}


def contract_of(**settings: Any) -> BinPackingDecision:
    return BinPackingDecision(BinPackingScenario.model_validate({"name": "variant", **settings}))


def state_of(scenario: BinPackingScenario, environment: BinPackingEnvironment, row: int) -> dict[str, Any]:
    """The raw request that tells the state of a row of the environment."""
    rows, weighs = environment.rows, scenario.weighs()
    bins = []
    for b in range(scenario.bin.open):
        bins.append({"id": b, "height_map": rows.heights[row, b].tolist()})
        if rows.packed.shape[2]:
            places = rows.packed[row, b, : rows.counts[row, b]].tolist()
            masses = rows.packed_weights[row, b].tolist()
            bins[b]["packed"] = [
                {**dict(zip("xyzlwh", place, strict=True)), **({"weight": mass} if weighs else {})}
                for place, mass in zip(places, masses, strict=False)
            ]
    held = [k for k in rows.held[row].tolist() if k >= 0]
    following, room = int(rows.following[row]), max(scenario.look_ahead, scenario.buffer) - len(held)
    items = []
    for k in [*held, *range(following, min(int(rows.lengths[row]), following + room))]:
        items.append({"id": k, **dict(zip("lwh", rows.items[row, k].tolist(), strict=True))})
        if weighs:
            items[-1]["weight"] = float(rows.weights[row, k])
    given = {"open_bins": bins} if scenario.bin.open > 1 else {k: v for k, v in bins[0].items() if k != "id"}
    return {"schema_version": 1, **given, "items": items}


@pytest.mark.parametrize("name", VARIANTS)
def test_observation_is_the_environments_own(name: str) -> None:
    contract = contract_of(**VARIANTS[name])
    scenario = contract.scenario
    environment = BinPackingProblem(scenario).environment(4, seed=1, split="test")
    view, rng, withheld = environment.reset(), np.random.default_rng(0), 0
    for _ in range(20):
        for row in range(4):
            request = contract.parse(state_of(scenario, environment, row))
            ours = contract.observation(request)
            assert ours.keys() == view.keys()
            for entry, values in ours.items():
                np.testing.assert_array_equal(values, view[entry][row : row + 1], err_msg=entry)
                assert values.dtype == view[entry].dtype
            mask = ours["action_mask"][0]
            withheld += int(request.candidates.sum() - mask.sum())
            for action in rng.choice(contract.actions, 20):
                assert contract.check(request, action).feasible == mask[action]
            scores = rng.random(contract.actions)
            assert contract.project(request, scores) == np.where(mask, scores, -1).argmax()
        view = environment.step(
            np.where(view["action_mask"], rng.random(view["action_mask"].shape), -1).argmax(1)
        ).observation
    assert (withheld > 0) == (name in ("stacking", "density", "crush"))


def test_orientations_mean_what_the_environment_means() -> None:
    assert placements.SIDES == orientation.AXES
    box = Box(1, (3, 4, 5), 1.0, 1.0, upright=False)
    for o in range(6):
        assert turned(box, o) == tuple(orientation.sides(box.sides, o))


@pytest.mark.parametrize("name", VARIANTS)
def test_samples_and_answers_keep_the_schemas(name: str) -> None:
    contract = contract_of(**VARIANTS[name])
    schemas = contract.request_schema(), contract.answer_schema()
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)
    asked, answered = (jsonschema.Draft202012Validator(schema) for schema in schemas)
    placed = refused = 0
    for raw in contract.sample_requests(60, seed=1):
        asked.validate(json.loads(json.dumps(raw)))
        request = contract.parse(raw)
        actions = [rule(request) for rule in contract.fallbacks().values()]
        if actions[0] is None:
            refused += 1
            found = contract.refuse(request)
            assert found["refuse"]["positions"]["feasible"] == 0
            total = sum(found["refuse"]["positions"].values())
            assert 0 < total <= contract.actions
        else:
            placed += 1
            scores = np.random.default_rng(placed).random(contract.actions)
            found = contract.answer(request, actions[0], scores)
            assert all(contract.check(request, action).feasible for action in actions)
            assert len(found["alternatives"]) <= 5
            assert found["decision"]["item_id"] in [box.id for box in request.boxes[: contract.scenario.buffer]]
        answered.validate(json.loads(json.dumps(found)))
        assert set(found) <= set(schemas[1]["properties"])
    assert placed > 40
    assert refused + placed == 60


PIER = {"id": "pier", "x": 0, "y": 0, "z": 0, "l": 2, "w": 2, "h": 4, "weight": 5.0}
HEAVY = contract_of(
    stacking=True, orientations=6, stability=LENIENT, items={"density": (0.1, 1.0), "crush_factor": 2.0}
)


def heavy(**changes: Any) -> dict[str, Any]:
    """A pier of 5 kg in the corner, and a light box to come."""
    height_map = [[4 if x < 2 and y < 2 else 0 for y in range(10)] for x in range(10)]
    item = {"id": "a", "l": 2, "w": 2, "h": 3, "weight": 4.0}
    return copy.deepcopy({"schema_version": 1, "height_map": height_map, "packed": [PIER], "items": [item], **changes})


def heavy_item(**changes: Any) -> dict[str, Any]:
    raw = heavy()
    raw["items"][0].update(changes)
    return raw


def problems_of(contract: BinPackingDecision, raw: Any) -> tuple[str, ...]:
    with pytest.raises(BadInput) as caught:
        contract.parse(raw)
    return caught.value.problems


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (heavy(packed=None), "packed: got None, expected a list of at most 4096 boxes"),
        (
            heavy(packed=[]),
            "packed: contradicts the height map: at (x 0, y 0) these boxes reach 0, the height map says 4",
        ),
        (heavy(packed=[{**PIER, "h": 3}]), "at (x 0, y 0) these boxes reach 3, the height map says 4 [cells]"),
        (heavy(packed=[PIER, PIER]), "packed.1: overlaps another box at (x 0, y 0), which reaches 4"),
        (heavy(packed=[{**PIER, "z": 1}]), "packed.0: hangs in the air: its floor is at 1, what is below reaches 0"),
        (heavy(packed=[{**PIER, "x": 9}]), "packed.0: x 9 + 2 cells is beyond the bin's 10"),
        (heavy(packed=[{**PIER, "x": -1}]), "packed.0.x: got -1, expected a whole number of at least 0 [cells]"),
        (heavy(packed=[{**PIER, "weight": "5 kg"}]), "packed.0.weight: got '5 kg', expected a number above 0"),
        (heavy(packed=[{**PIER, "mass": 5}]), "packed.0.mass: unknown field"),
        (heavy(packed=[7]), "packed.0: got 7, expected an object with x, y, z, l, w, h"),
        (heavy_item(weight=0), "items.0.weight: got 0, expected a number above 0"),
        (heavy_item(weight=1e300), "items.0.weight: got 1e+300, expected a number above 0 and at most 1e+09 [kg]"),
        (heavy_item(max_stack_weight=-1), "items.0.max_stack_weight: got -1, expected a number above 0"),
        (heavy_item(l=11), "items.0: 11 x 2 x 3 cells does not fit the bin of 10 x 10 x 10 cells in any orientation"),
        (heavy(reach=[[True] * 10] * 9), "reach: got 9 rows of 10 cells, expected 10 rows"),
        (heavy(reach=[[True] * 10] * 9 + [[1] * 10]), "reach: (x 9, y 0) is 1, expected true or false; 9 more cells"),
        (heavy(open_bins=[]), "open_bins: unknown field"),
    ],
)
def test_each_problem_of_a_heavy_request_is_named(raw: dict[str, Any], expected: str) -> None:
    problems = problems_of(HEAVY, raw)
    assert len(problems) == 1, problems
    assert expected in problems[0]


def test_missing_weights_name_the_rule_that_asks_for_them() -> None:
    raw = heavy(packed=[{name: value for name, value in PIER.items() if name != "weight"}])
    del raw["items"][0]["weight"]
    problems = problems_of(HEAVY, raw)
    assert [problem.partition(":")[0] for problem in problems] == ["packed.0.weight", "items.0.weight"]
    assert all("missing; " in problem and "items.crush_factor asks for it" in problem for problem in problems)
    del raw["packed"]
    assert problems_of(HEAVY, raw)[0].startswith("packed: missing; ")


def test_a_limit_without_weights_is_refused_and_not_ignored() -> None:
    raw = {"schema_version": 1, "height_map": [[0] * 10] * 10, "items": [{"id": 1, "l": 2, "w": 2, "h": 2}]}
    contract = contract_of()
    contract.parse(raw)
    raw["items"][0]["max_stack_weight"] = 5
    assert "items.0.max_stack_weight: boxes of this scenario have no weights" in problems_of(contract, raw)[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], "open_bins: got 0 bins, expected a list of 2 bins, as this policy plays with"),
        ({}, "open_bins: got {}, expected a list of 2 bins"),
        ([{"id": 1, "height_map": [[0] * 10] * 10}, 5], "open_bins.1: got 5, expected an object with id, height_map"),
        ([{"id": 1, "height_map": [[0] * 10] * 10}] * 2, "open_bins.1.id: 1 is the name of open_bins.0 already"),
        (
            [{"id": k, "height_map": [[9 * k] * 10] * 10, "hight": 1} for k in (0, 1)],
            "open_bins.0.hight: unknown field",
        ),
        ([{"id": k, "height_map": [[11 * k] * 10] * 10} for k in (0, 1)], "open_bins.1.height_map: (x 0, y 0) is 11"),
        ([{"id": 1}, {"id": 2, "height_map": [[0] * 10] * 10}], "open_bins.0.height_map: missing; top of each column"),
    ],
)
def test_problems_of_open_bins_are_named(changes: Any, expected: str) -> None:
    raw = {"schema_version": 1, "open_bins": changes, "items": [{"id": 1, "l": 2, "w": 2, "h": 2}]}
    assert expected in problems_of(contract_of(bin={"open": 2}), raw)[0]


def action(contract: BinPackingDecision, x: int, y: int, o: int = 0, view: int = 0) -> int:
    return (view * contract.scenario.orientations + o) * 100 + 10 * x + y


def broken(raw: dict[str, Any], x: int, y: int, o: int = 0) -> tuple[str, ...]:
    return HEAVY.check(HEAVY.parse(raw), action(HEAVY, x, y, o)).violations


def test_the_gate_names_each_rule_in_order() -> None:
    assert broken(heavy(), 0, 0) == ()
    (tips,) = broken(heavy_item(l=4), 0, 0)
    assert tips == "tips: box 'a' with its centre of mass at x 2, y 1 is not above its supports"
    (crushes,) = broken(heavy_item(weight=10.5), 0, 0)
    assert crushes == "crushes: box 'pier' would carry 10.5 kg, its limit is 10"
    assert (
        broken(
            heavy(packed=[{**PIER, "max_stack_weight": 20.0}])
            | heavy_item(weight=10.5)
            | {"packed": [{**PIER, "max_stack_weight": 20.0}]},
            0,
            0,
        )
        == ()
    )
    (reach,) = broken(heavy(reach=[[x < 1 for _ in range(10)] for x in range(10)]), 0, 0)
    assert reach == "out of reach: the robot does not reach all of x 0 to 1, y 0 to 1"
    (tilted,) = broken(heavy_item(upright=True), 5, 5, 2)
    assert tilted == "tilted: box 'a' is to be kept upright"
    both = broken(heavy_item(l=4, weight=10.5), 0, 0)
    assert [text.partition(":")[0] for text in both] == ["tips", "crushes"]


def test_a_box_kept_upright_must_fit_upright() -> None:
    contract = contract_of(orientations=6, bin={"length": 4, "width": 4, "height": 8}, items={"low": 1, "high": 4})
    raw = {"schema_version": 1, "height_map": [[0] * 4] * 4, "items": [{"id": 1, "l": 7, "w": 3, "h": 2}]}
    turns = contract.parse(raw).candidates[0].any(axis=(1, 2)).nonzero()[0].tolist()
    assert turns == [4, 5]
    raw["items"][0]["upright"] = True
    assert problems_of(contract, raw)[0].endswith(
        "does not fit the bin of 4 x 4 x 8 cells unless tilted, and it is to be kept upright"
    )


def test_a_bin_is_not_loaded_beyond_its_limit() -> None:
    contract = contract_of(bin={"open": 2, "max_weight": 125.0})
    flat = [[0] * 10 for _ in range(10)]
    tower = [[4 if x < 2 and y < 2 else 0 for y in range(10)] for x in range(10)]
    bins = [
        {"id": "full", "height_map": tower, "packed": [{**PIER, "weight": 124.0}]},
        {"id": "empty", "height_map": flat, "packed": []},
    ]
    raw = {"schema_version": 1, "open_bins": bins, "items": [{"id": 1, "l": 2, "w": 2, "h": 2, "weight": 2.0}]}
    request = contract.parse(raw)
    scores = -np.arange(200.0)
    assert contract.project(request, scores) == 100
    assert contract.check(request, 55).violations == ("overweight: 124 + 2 kg is more than the bin's 125",)
    answer = contract.answer(request, 100, scores)
    assert answer["decision"]["bin_id"] == "empty"
    assert {found["bin_id"] for found in answer["alternatives"]} == {"empty"}
    raw["items"][0]["weight"] = 1.0
    assert contract.project(contract.parse(raw), scores) == 0


def test_any_held_box_may_be_placed_and_the_others_follow() -> None:
    contract = contract_of(buffer=3)
    items = [{"id": k, "l": 2 + k, "w": 2, "h": 2} for k in range(5)]
    request = contract.parse({"schema_version": 1, "height_map": [[0] * 10] * 10, "items": items})
    assert contract.actions == 300
    decision = contract.answer(request, 255, None)["decision"]
    assert (decision["item_id"], decision["x"], decision["y"]) == (2, 5, 5)
    two = contract.parse({"schema_version": 1, "height_map": [[0] * 10] * 10, "items": items[:2]})
    assert contract.check(two, 255).violations == (
        "the buffer holds 2 boxes, there is none to be placed by action 255",
    )
    assert contract.project(two, np.arange(300.0)) == action(contract, 7, 8, view=1)
    assert contract.observation(two)["items"].tolist() == [[[2, 2, 2], [3, 2, 2], [0, 0, 0]]]


def test_a_refusal_counts_every_rule_and_says_what_support_lacked() -> None:
    unreached = [[False] * 10 for _ in range(10)]
    found = HEAVY.refuse(HEAVY.parse(heavy(reach=unreached)))["refuse"]
    assert found["positions"]["feasible"] == 0
    assert found["positions"]["out_of_reach"] > 200
    assert found["positions"]["tips"] > 0
    assert "out of reach" in found["reason"]
    # What is refused for each rule is what the check of single positions refuses for it first.
    request = HEAVY.parse(heavy_item(weight=10.5, upright=True) | {"reach": unreached})
    counted = dict.fromkeys(HEAVY.refuse(request)["refuse"]["positions"], 0)
    for number in range(HEAVY.actions):
        first = HEAVY.check(request, number).violations[0].partition(":")[0].replace(" ", "_")
        counted[first] = counted.get(first, 0) + 1
    duplicates = counted.pop("duplicate")
    assert duplicates > 0
    assert counted == HEAVY.refuse(request)["refuse"]["positions"]
    best = found["best_support"]
    assert (best["item_id"], best["bin_id"]) == ("a", "bin")
    needed = {4: 0.2, 3: 0.3}.get(best["corners"], 0.4)
    assert best["lacked"] == pytest.approx(max(0.0, needed - best["area_ratio"]), abs=2e-6)

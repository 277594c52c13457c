import pytest
import yaml

from interlock.core.errors import BadInput, UsageError
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.hydro.scenario import HydroScenario
from interlock.scenarios.checking import validate
from interlock.scenarios.nested import assign, merge, parse_settings

NAMED = {"domain": "bin_packing", "name": "mine"}


def problems(**values):
    with pytest.raises(BadInput) as caught:
        validate(BinPackingScenario, {**NAMED, **values}, source="mine.yaml")
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith("mine.yaml: ")
    return list(caught.value.problems)


def test_every_problem_is_listed_with_field_value_and_what_was_expected():
    found = problems(bin={"length": -3, "width": "wide"}, orientations=3, evaluation={"num_envs": 0})
    assert found == [
        "evaluation.num_envs: got 0, expected a value greater than or equal to 1 "
        "(rows of the batched environment during evaluation)",
        "bin.length: got -3, expected a value greater than or equal to 1 (cells along x (array axis 0))",
        "bin.width: got 'wide', expected a valid integer, unable to parse string as an integer "
        "(cells along y (array axis 1))",
        "orientations: got 3, expected 1, 2 or 6 (1: as it comes; 2: length and width may be swapped; "
        "6: any side may point up)",
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"stabilty": "paper"}, "stabilty: unknown key, did you mean 'stability'?"),
        ({"bin": {"lenght": 3}}, "bin.lenght: unknown key, did you mean 'length'?"),
        ({"items": {"zzz": 3}}, "items.zzz: unknown key; there are: crush_factor, density, high, low"),
        ({"method": {"settings": {}}}, "method.preset: missing; name of a file in configs/methods"),
        ({"bin": 4}, "bin: got 4, expected a mapping"),
        (
            {"linear12_weights": [1.0]},
            "linear12_weights: got [1.0], expected at least 12 entries, not 1 "
            "(weights of the 12-feature scoring rule used as baseline, teacher and fallback)",
        ),
        (
            {"stability": "relased"},
            "stability: got 'relased', expected 'paper', 'released', 'full' or 'strict75' or a mapping, "
            "did you mean 'released'? (support rule: a preset or its three thresholds)",
        ),
        (
            {"stability": {"theta4": 2, "theta3": 1, "theta0": 1}},
            "stability.theta4: got 2, expected a value less than or equal to 1 "
            "(share needed with all four corners supported)",
        ),
        ({"items": {"low": 3, "high": 2}}, "items: items.low 3 is larger than items.high 2"),
        ({"bin": {"height": float("nan")}}, "bin.height: got nan, expected a finite number (cells along z (upwards))"),
    ],
)
def test_problems_in_words(values, problem):
    assert problems(**values) == [problem]


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ({"source": "tou"}, "case: got {'source': 'tou'}, expected source to be one of 'toy', 'generated', 'data_set', "
         "'folder', 'inline' (the system: toy, generated, data_set, folder or inline)"),
        ({}, "case: got {}, expected a mapping with source (the system: toy, generated, data_set, folder or inline)"),
        (3, "case: got 3, expected a mapping (the system: toy, generated, data_set, folder or inline)"),
        ({"source": "toy", "n_hydro": 3}, "case.n_hydro: unknown key; there are: source"),
        ({"source": "generated", "n_hidro": 3}, "case.n_hidro: unknown key, did you mean 'n_hydro'?"),
        ({"source": "generated", "n_hydro": 0},
         "case.n_hydro: got 0, expected a value greater than or equal to 1 (hydro plants)"),
        ({"source": "data_set"}, "case.name: missing; which one"),
    ],
)  # fmt: skip
def test_problems_of_one_kind_among_several(case, problem):
    with pytest.raises(BadInput) as caught:
        validate(HydroScenario, {"domain": "hydro", "name": "mine", "case": case}, source="mine.yaml")
    assert list(caught.value.problems) == [problem]


def test_a_rule_about_the_whole_scenario_needs_no_field():
    (problem,) = problems(items={"low": 4, "high": 5})
    assert problem.startswith("cutting needs items.high >= 2 * items.low")


def test_settings_are_typed_by_the_schema():
    values, texts = parse_settings(
        ["bin.length=12", "max-overhang=0.05", "title=2026", "stability={theta4: 0.5, theta3: 0.6, theta0: 0.7}"],
        "--set",
    )
    checked = validate(BinPackingScenario, assign(NAMED, values), source="x", texts=texts)
    assert (checked.bin.length, checked.max_overhang, checked.title) == (12, 0.05, "2026")
    assert checked.thresholds() == (5000, 6000, 7000)


def test_a_number_in_the_place_of_a_text_in_a_file_is_refused():
    assert problems(title=2026) == ["title: got 2026, expected a valid string (one line for listings)"]


@pytest.mark.parametrize("setting", ["bin.length", "=3", "bin..length=3", "title=[1, 2"])
def test_malformed_settings(setting):
    with pytest.raises(UsageError, match="--set"):
        parse_settings([setting], "--set")


def test_null_is_a_value():
    assert parse_settings(["max_overhang=null"], "--set")[0] == {"max_overhang": None}


def test_merging_and_assigning_leave_the_originals_alone():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    before = yaml.safe_dump(base)
    assert merge(base, {"a": {"c": [3]}, "e": 2}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}
    assert assign(base, {"a.b": 5, "d.x": 6}) == {"a": {"b": 5, "c": [1, 2]}, "d": {"x": 6}}
    assert yaml.safe_dump(base) == before

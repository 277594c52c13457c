import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from interlock.core.errors import BadInput, UsageError
from interlock.scenarios import loading, plugins

PACKING = plugins.load("domains", "bin_packing")


@pytest.fixture
def write(tmp_path: Path):
    """Write a YAML file and give its path as typed."""

    def file(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return file


@pytest.mark.parametrize("name", loading.scenario_names(PACKING))
def test_every_scenario_we_ship_is_valid_and_so_is_its_method(name: str):
    scenario = loading.load_scenario(PACKING, name)
    assert (scenario.domain, scenario.name) == ("bin_packing", name)
    assert scenario.title
    method = loading.load_method(PACKING, scenario.method.preset, scenario.method.settings)
    assert method.info.name in plugins.names("methods")


def test_dashes_and_underscores_are_alike():
    tiny = loading.load_scenario(PACKING, "tiny_3")
    assert tiny == loading.load_scenario(PACKING, "tiny-3") == loading.load_scenario(PACKING, "tiny3")
    assert loading.load_scenario(PACKING, "cut-2") == loading.load_scenario(PACKING, "cut2")
    assert plugins.load("domains", "bin-packing") is PACKING


def test_a_near_miss_is_suggested():
    with pytest.raises(UsageError, match="no bin_packing scenario 'cut3', did you mean 'cut2'"):
        loading.load_scenario(PACKING, "cut3")
    with pytest.raises(UsageError, match="there is no domain 'bin_pakcing', did you mean 'bin_packing'"):
        plugins.load("domains", "bin_pakcing")


def test_a_users_file_extends_a_scenario_by_name_and_by_path(write):
    first = write("wide.yaml", "extends: cut2\nbin: {width: 12}\n")
    second = write("wide_low.yaml", "extends: ./wide.yaml\nbin: {height: 8}\n")
    assert loading.load_scenario(PACKING, first).name == "wide"
    scenario = loading.load_scenario(PACKING, second)
    assert (scenario.name, scenario.stream) == ("wide_low", "cut2")
    assert (scenario.bin.length, scenario.bin.width, scenario.bin.height) == (10, 12, 8)


def test_another_preset_does_not_inherit_the_settings_of_the_first(write):
    base = write("base.yaml", "method: {preset: one, settings: {steps: 3}}")
    same = write("same.yaml", "extends: ./base.yaml\nmethod: {settings: {seeds: 2}}")
    other = write("other.yaml", "extends: ./base.yaml\nmethod: {preset: two}")
    assert loading.load_scenario(PACKING, base).method.settings == {"steps": 3}
    assert loading.load_scenario(PACKING, same).method.settings == {"steps": 3, "seeds": 2}
    assert loading.load_scenario(PACKING, other).method.settings == {}


def test_a_resolved_file_is_the_same_scenario(write):
    scenario = loading.load_scenario(PACKING, "cut1", ["bin.length=11"])
    again = loading.load_scenario(PACKING, write("any.yaml", yaml.safe_dump(scenario.model_dump(mode="json"))))
    assert again == scenario
    assert again.hash() == scenario.hash()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("extends: [cut1, cut2]", r"extends: got \['cut1', 'cut2'\], expected the name of or a path to one"),
        ("extends: cut9", "extends: there is no bin_packing scenario 'cut9', did you mean"),
        ("extends: ./gone.yaml", "extends: there is no file"),
        ("extends: ./self.yaml", "extends: a circle: self -> self"),
        ("bin: {length: 3", "not YAML: .*line"),
        ("stream: rs\nstream: cut1", "not YAML: key 'stream' is given twice.*line 2"),
        ("- a\n- b", "expected keys with values"),
        ("domain: hydro", "domain: got 'hydro', expected 'bin_packing'"),
    ],
)
def test_files_that_are_wrong(write, text, problem):
    with pytest.raises(BadInput, match=problem):
        loading.load_scenario(PACKING, write("self.yaml", text))


def test_a_circle_over_two_files(write):
    write("b.yaml", "extends: ./a.yaml")
    with pytest.raises(BadInput, match="extends: a circle: a -> b -> a"):
        loading.load_scenario(PACKING, write("a.yaml", "extends: ./b.yaml"))


def test_an_empty_file_is_the_defaults(write):
    assert loading.load_scenario(PACKING, write("plain.yaml", "")).bin.length == 10


def test_the_json_schema_accepts_our_files_and_refuses_a_wrong_one(root: Path):
    schema = loading.json_schema(PACKING)
    checker = jsonschema.Draft202012Validator(schema)
    checker.check_schema(schema)
    for file in sorted((root / "configs" / "bin_packing").glob("*.yaml")):
        checker.validate(yaml.safe_load(file.read_text()))
    assert not checker.is_valid({"bin": {"lenght": 3}})
    json.dumps(schema, allow_nan=False)


def test_a_method_without_a_preset_has_its_defaults_and_settings_on_top():
    method = loading.load_method(PACKING, "cross-entropy", {"elite": 5}, ["elite=6", "instances=7"])
    assert (method.preset, method.info.name) == ("cross_entropy", "cross_entropy")
    assert (method.config.elite, method.config.instances) == (6, 7)


def test_a_users_preset(write):
    preset = write("quick.yaml", "method: cross_entropy\nsettings: {generations: 2}")
    method = loading.load_method(PACKING, preset, None, ["candidates=10"])
    assert (method.preset, method.config.generations, method.config.candidates) == ("quick", 2, 10)


def test_a_score_function_beside_soft_targets_is_refused():
    for rollout in ("stagewise", "windowed", "deterministic_equivalent"):
        with pytest.raises(BadInput) as caught:
            loading.load_method(PACKING, "ts_ddr", {"score": {}}, [f"rollout={rollout}"])
        (problem,) = caught.value.problems
        assert f"score is for strict targets, and rollout is {rollout}: set rollout to strict" in problem
    assert loading.load_method(PACKING, "ts_ddr", {"score": {}}).config.score.begin == 200
    assert loading.load_method(PACKING, "ts_ddr", None, ["rollout=windowed"]).config.score is None


def test_methods_that_are_wrong(write):
    with pytest.raises(UsageError, match="no method preset 'cross_entrpy', did you mean 'cross_entropy'"):
        loading.load_method(PACKING, "cross_entrpy")
    with pytest.raises(BadInput, match="generatons: unknown key, did you mean 'generations'"):
        loading.load_method(PACKING, "cross_entropy", {"generatons": 3})
    with pytest.raises(BadInput, match="method: missing") as caught:
        loading.load_method(PACKING, write("odd.yaml", "setings: {}"))
    assert len(caught.value.problems) == 2
    with pytest.raises(UsageError, match="there is no method 'cross'"):
        loading.load_method(PACKING, write("odd.yaml", "method: cross"))

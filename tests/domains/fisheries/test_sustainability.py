"""The sustainability report: its numbers are those of the environment, and they are told in words that are true."""

import json

import numpy as np
import pytest
import yaml

from interlock.core.evaluation.protocol import play as play_futures
from interlock.core.evaluation.statistics import Estimate
from interlock.core.policy import FunctionPolicy
from interlock.domains.fisheries import sustainability
from interlock.domains.fisheries.instances import factors
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.sustainability import Fleet, Perturbed, chances_of_being_best, ranks, robustness
from interlock.domains.fisheries.sustainability_report import in_print
from interlock.domains.fisheries.sustainability_words import ranking_words, who_gains
from interlock.scenarios.cli import main

FUTURES, DRAWS, EPISODES = 80, 4, 5
SIZES = {"horizon": 60, "evaluation": {"test_instances": FUTURES, "validation_instances": 2}}
NAMES = ["constant_mortality", "constant_escapement", "f_msy"]


@pytest.fixture(scope="module", autouse=True)
def small():
    """Few draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sustainability, "DRAWS", DRAWS)
        patch.setattr(sustainability, "EPISODES", EPISODES)
        patch.setattr(sustainability, "NOISES", (0.04, 0.20))
        yield


@pytest.fixture(scope="module")
def studied(scenarios):
    """Problem, policies, findings, what was told of progress."""
    scenario = scenarios.web(**SIZES, baselines=NAMES, prices=[2.0, 1.0], uncertainty={"runs": 10})
    problem, told = build(scenario), []
    policies = {name: make(0) for name, make in problem.baselines().items()}
    policies["mine"] = FunctionPolicy(lambda view, rng: np.full((len(view["stock"]), 2), 0.2))
    policies["mine"].description = {"method": "ppo", "scenario": "web", "seed": 3, "networks": {}}
    found = sustainability.play(problem, policies, 0, lambda done, total: told.append((done, total)))
    return problem, policies, found, told


def test_figures_are_those_of_the_environment(studied):
    problem, policies, found, _ = studied
    for name, policy in policies.items():
        direct = play_futures(problem, policy, split="test", count=FUTURES)
        told = found.values["policies"][name]
        assert told["reward"]["mean"] == pytest.approx(direct.objective.mean())
        assert told["survival"]["mean"] == pytest.approx(direct.metrics["survival"].mean())
        for metric in ("low_years", "closed_years", "catch_5_percent", "aav", "mean_catch"):
            assert told[metric]["mean"] == pytest.approx(direct.metrics[metric].mean()), metric
        assert told["lost_years"]["mean"] == pytest.approx(60 - direct.metrics["length"].mean())
        ended = direct.metrics["length"][direct.metrics["survival"] == 0]
        median = told["years_to_collapse"]["median"]
        assert median == (np.median(ended) if len(ended) else None)
        for species in "xyz":
            assert told["collapsed"][species]["mean"] == pytest.approx(direct.metrics[f"collapsed_{species}"].mean())


def test_intervals_hold_the_means(studied):
    _, _, found, _ = studied

    def check(value):
        if isinstance(value, dict) and {"mean", "low", "high"} <= value.keys():
            assert value["low"] <= value["mean"] <= value["high"]
            assert value["unit"]
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(inner)

    check(found.values)


def test_fleets_gain_what_pairs_of_futures_say(studied):
    problem, policies, found, _ = studied
    reference = play_futures(problem, policies["constant_mortality"], split="test", count=FUTURES)
    own = play_futures(problem, policies["f_msy"], split="test", count=FUTURES)
    fleet = found.values["policies"]["f_msy"]["fleets"]["x"]
    assert fleet["catch"]["mean"] == pytest.approx(own.metrics["catch_x"].mean() / 60)
    assert fleet["value"]["mean"] == pytest.approx(2 * own.metrics["catch_x"].mean() / 60)
    paired = 2 * (own.metrics["catch_x"] - reference.metrics["catch_x"]) / 60
    assert fleet["gain"]["mean"] == pytest.approx(paired.mean())
    half = 1.96 * paired.std() / np.sqrt(FUTURES)
    assert fleet["gain"]["high"] - fleet["gain"]["low"] == pytest.approx(2 * half, rel=0.15)
    assert found.values["policies"]["constant_mortality"]["fleets"]["x"]["gain"] is None


def test_policies_meet_the_same_draws_and_futures(scenarios):
    """The rows of a draw share its factors; what is played is the model with its parameters times them."""
    scenario = scenarios.web(horizon=3, initial_sd=0.0, uncertainty={"runs": 5}, limits={})
    noisy = scenario.with_changes(uncertainty={"sd": 0.2, "runs": 5})
    drawn = factors(noisy, 9, "test", 0, 2)
    environment = Perturbed(scenario, drawn, 3, seed=9)
    environment.reset()
    np.testing.assert_array_equal(environment.factor, np.repeat(drawn, 3, axis=0))
    row, stock = environment.factor[4], np.array([0.5, 0.5, 0.7])
    plain = build(scenario).environment(6, seed=9, split="test")
    plain.reset()
    plain.step(np.zeros((6, 2)))
    environment.step(np.zeros((6, 2)))
    # Noise is the same and multiplies the stock: from the known model it is found, then put into the other.
    parameters = np.array([1, 1, 1, 1, 0.3, 0.3, 0.1, 0.1, 1.1, 0.1, 0.1, 0.1, 0.1])

    def grown(p):
        x, y, z = stock
        eaten = p[4] * z * x**2 / (p[5] ** 2 + x**2)
        return np.array([x + p[0] * x * (1 - x / p[2]) - eaten - p[6] * x * y, z + z * (p[7] * (x + p[8] * y) - p[9])])

    noise = (plain.stock[4, [0, 2]] - grown(parameters)) / (0.1 * stock[[0, 2]])
    off = parameters * row
    np.testing.assert_allclose(environment.stock[4, [0, 2]], grown(off) + off[[10, 12]] * noise * stock[[0, 2]])


def test_draws_of_no_noise_are_the_scenario(scenarios):
    scenario = scenarios.web(**SIZES, baselines=NAMES, uncertainty={"runs": 5})
    problem = build(scenario)
    policy = problem.baselines()["constant_escapement"](0)
    found = robustness(scenario, policy, 0.0, seed=5, draws=2, episodes=10)
    direct = play_futures(problem, policy, split="test", count=20, seed=5)
    np.testing.assert_allclose(found.rewards, direct.objective.reshape(2, 10).mean(axis=1))
    np.testing.assert_allclose(found.survivals, direct.metrics["survival"].reshape(2, 10).mean(axis=1))


def test_ranks_and_chances():
    rewards = {"a": np.array([1.0, 2.0, 3.0, 0.0]), "b": np.array([1.0, 0.0, 4.0, 3.0])}
    assert chances_of_being_best(rewards) == {"a": 0.375, "b": 0.625}
    assert ranks({"a": 1.0, "b": 3.0, "c": 2.0}) == {"a": 3, "b": 1, "c": 2}


def test_perturbed_levels_hold_all_policies_once(studied):
    _, _, found, told = studied
    levels = found.values["perturbed"]
    assert [level["noise"] for level in levels] == [0.04, 0.20]
    for level in levels:
        assert level["draws"] == DRAWS
        entries = level["policies"]
        assert sorted(entry["rank"] for entry in entries.values()) == [1, 2, 3, 4]
        assert sum(entry["chance_of_being_best"] for entry in entries.values()) == pytest.approx(1.0)
        difference = entries["f_msy"]["reward"]["mean"] - entries["constant_mortality"]["reward"]["mean"]
        assert entries["f_msy"]["difference"]["mean"] == pytest.approx(difference)
        assert entries["constant_mortality"]["difference"] is None
    assert told == [(k + 1, 12) for k in range(12)]


def test_who_set_the_objective_and_what_was_learned_is_told(studied):
    _, _, found, _ = studied
    assert found.values["objective"]["prices"] == {"x": 2.0, "y": 1.0}
    assert found.values["objective"]["penalty"] == 100.0
    assert found.values["objective"]["collapse_level"] == 0.05
    mine = found.values["policies"]["mine"]
    assert mine["learned"]
    assert mine["trained_on"] == {"method": "ppo", "scenario": "web", "seed": 3}
    assert not found.values["policies"]["f_msy"]["learned"]
    text = " ".join(found.notes)
    assert "mine was learned: method ppo, scenario web, seed 3" in text
    assert "x 2, y 1" in text
    assert "100 / (year from 1)" in text


def test_table_and_pictures_fit_together(studied):
    _, policies, found, _ = studied
    assert [row[0] for row in found.rows] == list(policies)
    assert all(len(row) == len(found.columns) for row in found.rows)
    assert set(found.figures) == {"fleets", "alive", "perturbed", "ranks"}
    assert json.loads(json.dumps(found.values)) == found.values
    for title, caption, figure in found.figures.values():
        assert title
        assert caption
        assert "NaN" not in figure.to_json()
    alive = {trace.name: trace.y[-1] for trace in found.figures["alive"][2].data}
    survival = found.values["policies"]["f_msy"]["survival"]["mean"]
    assert alive["f msy"] == pytest.approx(survival, abs=1e-4)


def test_words_name_winners_losers_and_changed_ranks():
    sure, unsure = Estimate(0.2, 0.1, 0.3), Estimate(0.1, -0.1, 0.3)
    gains = {
        "rule": {"x": Fleet(sure, Estimate(1.0, 0.9, 1.1), None)},
        "mine": {"x": Fleet(sure, Estimate(1.2, 1.1, 1.3), sure)},
        "other": {"x": Fleet(sure, Estimate(1.1, 1.0, 1.2), unsure)},
    }
    assert who_gains(gains, "rule") == "against rule: under mine the x fleet gains 20 %"
    as_is = {"a": {"rank": 1}, "b": {"rank": 2}}
    swapped = [{"noise": 0.04, "policies": as_is}, {"noise": 0.2, "policies": {"a": {"rank": 2}, "b": {"rank": 1}}}]
    assert ranking_words(as_is, swapped[:1]) == ["the ranking by mean reward stays the same up to 4 %: a, b"]
    (words,) = ranking_words(as_is, swapped)
    assert words.endswith("a, b as the scenario is; b, a where parameters are off by 20 %")


def test_published_differences_stand_beside_ours_where_there_are_any(scenarios):
    web = scenarios.web(name="web_drift")
    rewards = {name: sustainability.Robust(0.2, np.arange(3.0) * k, np.ones(3)) for k, name in enumerate("cp", 1)}
    off = {"constant_escapement": [rewards["c"]], "ppo": [rewards["p"]]}
    told = in_print(web, off, {"constant_escapement": False, "ppo": True})
    (entry,) = told["differences"]
    assert entry["published"] == {"difference": 6.7396, "sd": 12.1191}
    assert (entry["ours"]["mean"], entry["ours"]["sd"]) == (1.0, 1.0)
    assert in_print(web, {"ppo": off["ppo"]}, {"ppo": True}) is None
    assert in_print(scenarios.web(), off, {"constant_escapement": False, "ppo": True}) is None


def test_stocks_of_many_ages_are_reported_without_what_they_lack():
    scenario = FisheriesScenario.model_validate(
        {
            "name": "lake", "model": {"kind": "walleye"}, "harvested": ["walleye"], "initial": [1.0], "initial_sd": 0.0,
            "collapse_level": 0.0, "collapse_probability": None, "low_years": None, "horizon": 30,
            "baselines": ["f_msy", "no_harvest"], "evaluation": SIZES["evaluation"],
        }
    )  # fmt: skip
    problem = build(scenario)
    policies = {name: make(0) for name, make in problem.baselines().items()}
    found = sustainability.play(problem, policies, 0, lambda done, total: None)
    assert found.values["perturbed"] == []
    assert "survival" not in found.values["policies"]["f_msy"]
    assert set(found.figures) == {"fleets"}
    caught = play_futures(problem, policies["f_msy"], split="test", count=FUTURES).metrics["yield"].mean() / 30
    assert found.values["policies"]["f_msy"]["fleets"]["walleye"]["catch"]["mean"] == pytest.approx(caught)
    assert all(len(row) == len(found.columns) for row in found.rows)


def test_the_verb_prints_one_object_and_writes_a_page(scenarios, tmp_path, capsys):
    scenario = scenarios.web(**SIZES, baselines=["constant_escapement", "no_harvest"], uncertainty={"runs": 5})
    file, page = tmp_path / "mine.yaml", tmp_path / "page.html"
    values = scenario.model_dump(mode="json", exclude={"domain", "name"})
    file.write_text(yaml.safe_dump(values))
    named = ["--policy", "no_harvest", "--policy", "constant_escapement"]
    assert main(["fisheries", "sustainability", str(file), *named, "--json", "--out", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["study"] == "sustainability"
    assert told["reference"] == "constant_escapement"
    assert list(told["policies"]) == ["no_harvest", "constant_escapement"]
    assert {"reward", "survival", "low_years", "lost_years", "aav", "fleets"} <= told["policies"]["no_harvest"].keys()
    text = page.read_text()
    assert "Who gains and who loses" in text
    assert "could not be drawn" not in text

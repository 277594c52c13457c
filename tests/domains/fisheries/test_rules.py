"""The search plays the same game as the environment, and finds what is best in it."""

import json

import numpy as np
import pytest

from interlock.core.evaluation.protocol import play
from interlock.domains.fisheries import baselines, rules, tuning
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.myopic import best_now, expected_now
from interlock.domains.fisheries.problem import build

RULES = {
    "constant_mortality": [[0.26], [0.24]],
    "constant_escapement": [[0.4], [0.5]],
    "precautionary": [[0.1, 0.3, 0.26], [0.2, 0.5, 0.27]],
}


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"observed": {"hidden": ["z"], "cv": 0.1}, "limits": {"tac": 0.2, "max_change": 0.1}},
        {"drift": [{"parameter": "r_x", "per_year": -0.01}], "uncertainty": {"sd": 0.1, "runs": 5, "survival": 0.9}},
    ],
    ids=["plain", "limited", "drift"],
)
def test_the_search_plays_what_the_environment_plays(kind, changes, scenarios):
    scenario = scenarios.web(horizon=50, **changes)
    parameters = np.array(RULES[kind])
    found = rules.score(scenario, kind, np.array([parameters * 0.5, parameters]), futures=40, seed=9)
    for place, factor in enumerate((0.5, 1.0)):
        policy = baselines.rule(scenario, kind, factor * parameters)
        outcome = play(build(scenario), policy, split="train", count=40, seed=9)
        assert found.reward[place] == pytest.approx(outcome.objective.mean(), abs=1e-9)
        assert found.survival[place] == pytest.approx(outcome.metrics["survival"].mean())
        assert found.low_years[place] == pytest.approx(outcome.metrics["low_years"].mean())


def test_the_grid_search_finds_the_best_point_of_its_grid(scenarios):
    scenario = scenarios.one(horizon=40)
    points, found = tuning.grid_search(scenario, "constant_escapement", seed=3)
    assert points.shape == (101, 1, 1)
    around = points[[10, 48, 90]]
    again = rules.score(scenario, "constant_escapement", around, futures=tuning.FUTURES[1], seed=3)
    assert np.allclose(found.reward[[10, 48, 90]], again.reward)
    # 40 years are few: close to the end it pays to leave less than the stock that grows best.
    assert 0.3 < points[found.reward.argmax(), 0, 0] < 0.55


def test_tuned_rules_beat_their_neighbours_and_careful_ones_keep_the_limits(scenarios):
    scenario = scenarios.one(tuned=None)
    best = tuning.tune(scenario, seed=21)
    fresh = {"futures": 2000, "seed": 500}

    def reward(kind, value):
        return rules.score(scenario, kind, np.array(value, float).reshape(1, 1, -1), **fresh)

    top = reward("constant_escapement", best.constant_escapement).reward[0]
    assert top > reward("constant_escapement", best.constant_escapement[0] + 0.1).reward[0]
    assert top > reward("constant_escapement", best.constant_escapement[0] - 0.1).reward[0]
    safe = reward("constant_mortality", best.constant_mortality_safe)
    assert safe.survival[0] >= 0.95
    assert reward("precautionary", best.precautionary[0]).reward[0] > top - 0.1


def test_parameters_found_for_other_numbers_are_found_anew(scenarios):
    held = scenarios.one(horizon=10)
    assert tuning.tuned(held) is held.tuned
    other = held.with_changes(penalty=1.0)
    anew = tuning.tuned(other)
    assert anew.numbers == other.numbers() != held.numbers()
    assert tuning.tuned(other) is anew


def test_tune_shows_what_the_scenario_file_would_hold(scenarios):
    scenario = scenarios.one(horizon=10)
    findings = tuning.play(build(scenario), {}, 0, lambda done, total: None)
    assert json.loads(json.dumps(findings.values))["tuned"]["numbers"] == scenario.numbers()
    assert scenario.with_changes(tuned=findings.values["tuned"]).tuned == tuning.tune(scenario)
    assert len(findings.rows[0]) == len(findings.columns)


def test_f_msy_is_half_the_growth_rate_and_the_predator_has_none(scenarios):
    model = {"kind": "food_web", "r_x": 0.6, "r_y": 3.0}
    assert baselines.f_msy(scenarios.web(model=model)).tolist() == [0.3, 1.0]
    assert baselines.f_msy(scenarios.web(harvested=["z", "x"])).tolist() == [0.0, 0.5]


@pytest.mark.parametrize("kind", ["one", "web"])
def test_the_myopic_rule_is_as_good_as_a_dense_grid(kind, scenarios):
    scenario = getattr(scenarios, kind)(effort_costs=None)
    fishery, rng = fishery_of(scenario), np.random.default_rng(4)
    species, caught = len(scenario.model.species), len(scenario.harvested)
    stock, year = rng.uniform(0.06, 1.2, (12, species)), rng.integers(0, 200, 12)
    chosen = best_now(fishery, stock, year)
    axis = np.linspace(0, 1, 201)
    for row in range(12):
        grid = np.stack(np.meshgrid(*[axis] * caught, indexing="ij"), axis=-1).reshape(-1, caught)
        dense = max(expected_now(fishery, stock, row, year[row], one[None].repeat(row + 1, 0)) for one in grid)
        found = expected_now(fishery, stock, row, year[row], chosen)
        assert found >= dense - 2e-3 * max(1.0, abs(dense))

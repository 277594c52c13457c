"""The Bayesian search finds what is known to be best, repeats itself, and its rules hold on futures it never saw."""

import numpy as np
import pytest

from interlock.domains.fisheries import DOMAIN, tuning, walleye_rules
from interlock.scenarios.loading import load_scenario, scenario_names

FRESH = {"futures": 150, "seed": 4711}


def test_the_search_finds_the_bottom_of_a_valley_and_repeats_itself():
    bottom, tried = np.array([0.3, 0.8]), []

    def loss(place):
        tried.append(place)
        return float(((place - bottom) ** 2 * [1.0, 4.0]).sum())

    found = tuning.bayesian_search(loss, 2, calls=18, seed=5)
    assert len(tried) == 18
    assert np.abs(found - bottom).max() < 0.03
    assert min(loss(place) for place in tried[:18]) == loss(found)
    assert np.array_equal(tuning.bayesian_search(loss, 2, calls=18, seed=5), found)


@pytest.mark.parametrize("kind", ["constant_mortality", "constant_escapement", "precautionary"])
def test_places_of_the_search_cover_every_rule(kind):
    scenario = load_scenario(DOMAIN, "walleye_yield")
    size = {"constant_mortality": 1, "constant_escapement": 1, "precautionary": 3}[kind]
    low, high = (tuning.walleye_parameters(scenario, kind, np.full(size, end)) for end in (0.0, 1.0))
    assert low.shape == (1, size)
    assert (low == 0).all()
    largest = 2 * walleye_rules.unfished_biomass(scenario)
    expected = {"constant_mortality": [1.0], "constant_escapement": [largest]}
    assert np.allclose(high, expected.get(kind, [largest, 2 * largest, 1.0]))


@pytest.mark.parametrize("name", [name for name in scenario_names(DOMAIN) if "walleye" in name])
def test_the_rules_of_the_scenarios_beat_their_neighbours_on_fresh_futures(name):
    scenario = load_scenario(DOMAIN, name)

    def rewards(kind, *rules):
        return walleye_rules.score(scenario, kind, np.array(rules, float)[:, None], **FRESH).reward

    (rate,), (left,), ramp = (
        scenario.tuned.constant_mortality,
        scenario.tuned.constant_escapement,
        np.array(scenario.tuned.precautionary[0]),
    )
    textbook = float(walleye_rules.f_msy(scenario)[0])
    best, *others = rewards("constant_mortality", [rate], [0.7 * rate], [1.4 * rate], [textbook], [1.0])
    assert best > max(others)
    escaping, *others = rewards("constant_escapement", [left], [0.6 * left], [1.6 * left])
    assert escaping > max(others)
    found, *others = rewards("precautionary", ramp, ramp * [1, 1, 0.6], ramp * [1, 1, 1.7], [0.0, 0.0, rate])
    assert found > max(others)
    assert found > max(best, escaping)  # a constant rate is one of its rules, an escapement nearly


@pytest.mark.slow
def test_a_limit_on_low_years_makes_the_safe_rate_smaller():
    scenario = load_scenario(DOMAIN, "walleye_yield", ["horizon=100", "low_years=20"])
    found = tuning.tune(scenario.with_changes(tuned=None))
    assert 0 < found.constant_mortality_safe[0] < found.constant_mortality[0]
    rule = np.array([[found.constant_mortality_safe]])
    assert walleye_rules.score(scenario, "constant_mortality", rule, futures=500, seed=3).low_years[0] < 22

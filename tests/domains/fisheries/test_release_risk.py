"""The chance of a collapse: by the normal distribution, by a million futures, and by the rollouts of an answer."""

import numpy as np
import pytest

from interlock.domains.fisheries import DOMAIN
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.release_belief import FACTORS, Beliefs
from interlock.domains.fisheries.release_check import collapse_probability as counted_again
from interlock.domains.fisheries.release_risk import collapse_probability, cut_back, outlook
from interlock.scenarios.loading import load_scenario

MILLION = 1_000_000
CASES = {
    "may-safe": ([0.075], [0.25], 10),
    "may-tipping": ([0.07], [0.15], 0),
    "web-two-fisheries": ([0.09, 0.4, 0.075], [0.3, 0.2], 0),
    "web-drift": ([0.08, 0.09, 0.056], [0.4, 0.32], 120),
    "web-capacity": ([0.09, 0.3, 0.06], [0.25, 0.1], 50),
    "web-cycle": ([0.5, 0.5, 0.06], [0.1, 0.1], 13),
}
"""Stocks, mortalities and a year in which losing a species is a matter of chance."""


def next_stocks(scenario, stock, year, noise):
    """Next year's stocks ``(n, species)`` from what harvest left, written out once more."""
    p = scenario.model.model_dump()
    p |= {one.parameter: one.value(p[one.parameter], year) for one in scenario.drift}
    if p["kind"] == "one_species":
        (x,) = stock
        grazed = p["beta"] * x**2 / (x**2 + p["c"] ** 2)
        return x + p["r"] * x * (1 - x / p["k"]) - grazed + p["sigma"] * x * noise
    x, y, z = stock
    k_x, k_y, lost = p["k_x"], p["k_y"], p["c_xy"] * x * y
    if p["competition"] == "capacity":
        k_x, k_y, lost = k_x - p["c_xy"] * y, k_y - p["c_xy"] * x, 0.0
    f_x = p["r_x"] * x * (1 - x / k_x) - p["beta"] * z * x**2 / (p["c"] ** 2 + x**2) - lost
    f_y = p["r_y"] * y * (1 - y / k_y) - p["d"] * p["beta"] * z * y**2 / (p["c"] ** 2 + y**2) - lost
    rate = p["b"] * (x + p["d"] * y) - p["d_z"]
    if p["predator"] == "exogenous":
        rate = 0.02 * np.cos(2 * np.pi * year / 50)
    mean = np.array([x + f_x, y + f_y, z + z * rate])
    return mean + np.array([p["sigma_x"] * x, p["sigma_y"] * y, p["sigma_z"] * z]) * noise


@pytest.mark.parametrize("name", CASES)
def test_the_chance_within_a_year_is_that_of_a_million_futures(name):
    scenario = load_scenario(DOMAIN, name)
    stock, mortality, year = CASES[name]
    left = np.array(stock)
    for species, share in zip(scenario.harvested, mortality, strict=False):
        left[scenario.model.species.index(species)] *= 1 - share
    noise = np.random.default_rng(1).standard_normal((MILLION, len(stock)))
    drawn = np.mean((next_stocks(scenario, left, year, noise) <= scenario.collapse_level).any(axis=1))
    beliefs = Beliefs(scenario)
    believed = beliefs.believed(year, np.array(stock), np.zeros(len(stock)))
    assert [len(part) for part in believed] == [1, 1]
    share = np.array(mortality[: len(scenario.harvested)])
    exact = collapse_probability(beliefs.fishery, *believed, year, share)
    assert 0.001 < exact < 0.999
    assert abs(exact - drawn) < 4.0 * np.sqrt(exact * (1 - exact) / MILLION)
    assert counted_again(scenario, believed, year, share) == pytest.approx(exact, rel=1e-9)
    many = [np.repeat(part, 50_000, axis=0) for part in believed]
    played = outlook(beliefs.fishery, *many, year, share, seed=3)
    assert abs(played.collapse_1 - exact) < 4.5 * np.sqrt(exact * (1 - exact) / 50_000)
    assert played.collapse_5 >= played.collapse_1
    futures = next_stocks(scenario, left, year, noise)
    assert played.mean == pytest.approx(futures.mean(axis=0), abs=1e-3)
    assert played.low == pytest.approx(np.quantile(futures, 0.05, axis=0), abs=2e-3)


@pytest.mark.parametrize("name", ["web-hidden-predator", "web-uncertain"])
def test_what_is_not_known_is_averaged_over(name):
    scenario = load_scenario(DOMAIN, name)
    beliefs = Beliefs(scenario)
    survey, cv = np.array([0.1, 0.4, 0.5])[: len(beliefs.seen)], np.full(len(beliefs.seen), 0.15)
    stock, factor = beliefs.believed(60, survey, cv)
    assert stock[:, beliefs.seen].mean(axis=0) == pytest.approx(survey, rel=0.01)
    assert stock[:, beliefs.seen].std(axis=0) == pytest.approx(0.15 * survey, rel=0.03)
    share = np.array([0.58, 0.1])
    exact = collapse_probability(beliefs.fishery, stock, factor, 60, share)
    assert 0.01 < exact < 0.5
    drawn = beliefs.believed(60, survey, cv, np.random.default_rng(0).random((200_000, len(survey) + 2)))
    played = outlook(beliefs.fishery, *drawn, 60, share, seed=4)
    assert abs(played.collapse_1 - exact) < 0.004
    assert len(np.unique(factor, axis=0)) == (FACTORS if name == "web-uncertain" else 1)


def test_hidden_species_are_taken_from_futures_like_the_survey():
    beliefs = Beliefs(load_scenario(DOMAIN, "web-hidden-predator"))
    poor, rich = (beliefs.believed(80, np.full(2, prey), np.zeros(2))[0][:, 2] for prey in (0.25, 0.9))
    assert poor.mean() > rich.mean() + 0.05  # prey are few where predators are many
    assert (poor > 0.05).all()  # of futures that live


def test_cutting_back_keeps_the_limit_and_no_more_than_that():
    rng = np.random.default_rng(0)
    cut = 0
    for name in ("may-safe", "web-two-fisheries", "web-hidden-predator"):
        scenario = load_scenario(DOMAIN, name)
        beliefs, level = Beliefs(scenario), scenario.release.collapse_probability
        for _ in range(40):
            survey = np.exp(rng.uniform(np.log(0.052), np.log(0.8), len(beliefs.seen)))
            cv = rng.choice([0.0, 0.1]) * np.ones(len(beliefs.seen))
            believed = beliefs.believed(30, survey, cv)
            asked = rng.uniform(0, 1, len(scenario.harvested))
            share = cut_back(beliefs.fishery, *believed, 30, asked, level)
            risk = counted_again(scenario, believed, 30, share)
            if not share.any():
                assert counted_again(scenario, believed, 30, share) > level
                continue
            assert risk <= level + 1e-9
            assert share == pytest.approx(asked * share[0] / asked[0])  # all alike
            if share[0] < asked[0]:
                cut += 1
                assert counted_again(scenario, believed, 30, np.minimum(share * 1.0001, 1.0)) > level
    assert cut > 15


def test_stocks_without_noise_are_lost_or_not(scenarios):
    scenario = scenarios.one(model={"kind": "one_species", "beta": 0.0, "sigma": 0.0})
    fishery, ones = fishery_of(scenario), np.ones((1, 5))
    for share, expected in ((0.5, 0.0), (0.98, 1.0), (1.0, 1.0)):
        believed = (np.array([[0.2]]), ones)
        assert collapse_probability(fishery, *believed, 0, np.array([share])) == expected
        assert counted_again(scenario, believed, 0, np.array([share])) == expected
    kept = cut_back(fishery, np.array([[0.2]]), ones, 0, np.ones(1), 0.01)[0]
    left = 0.2 * (1 - kept)
    assert left + left * (1 - left) == pytest.approx(0.05)  # grows to the limit exactly

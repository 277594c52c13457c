"""The optimum of food webs against other ways: nodes and draws, search over decisions, sums of single species."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from interlock.core.evaluation.protocol import play
from interlock.domains.fisheries import dynamic_programming as dp
from interlock.domains.fisheries import dynamic_programming_cache as cache
from interlock.domains.fisheries import dynamic_programming_one as one
from interlock.domains.fisheries import dynamic_programming_web as web
from interlock.domains.fisheries import frontier
from interlock.domains.fisheries.baselines import optimum
from interlock.domains.fisheries.bounds import bounds
from interlock.domains.fisheries.dynamic_programming_dual import dual, lagrangian
from interlock.domains.fisheries.dynamic_programming_grid import dense, highest_up_to, spread
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.problem import build

MODELS = {
    "two": ({}, {}, 0),
    "one": ({}, {"harvested": ["y"]}, 0),
    "predator": ({}, {"harvested": ["z", "x"]}, 0),
    "capacity": ({"competition": "capacity", "c_xy": 0.3}, {}, 0),
    "cycle": ({"predator": "exogenous"}, {}, 13),
    "drift": ({}, {"drift": [{"parameter": "r_x", "per_year": -0.005, "at_least": 0.5}]}, 70),
}


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERLOCK_DATA", str(tmp_path))
    monkeypatch.setattr(dp, "_solved", type(dp._solved)())


def small(scenarios, points=(12, 13, 16), **changes):
    scenario = scenarios.web(**changes)
    return scenario, web.web_of(scenario, points)


def grown(model, harvest_left, t):
    """Mean of next year's stocks, as the equations of the manuscript have it."""
    x, y, z = harvest_left
    r_x = max(1.0 - 0.005 * t, 0.5) if model == "drift" else 1.0
    parameters, _, _ = MODELS[model]
    c_xy = parameters.get("c_xy", 0.1)
    k_x, k_y, lost = 1.0, 1.0, c_xy * x * y
    if model == "capacity":
        k_x, k_y, lost = 1.0 - c_xy * y, 1.0 - c_xy * x, 0.0
    rate = 0.02 * math.cos(2 * math.pi * t / 50) if model == "cycle" else 0.1 * (x + 1.1 * y) - 0.1
    return np.array(
        [
            x + r_x * x * (1 - x / k_x) - 0.3 * z * x**2 / (0.09 + x**2) - lost,
            y + y * (1 - y / k_y) - 1.1 * 0.3 * z * y**2 / (0.09 + y**2) - lost,
            z * (1 + rate),
        ]
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_factorised_expectation_is_that_of_noise_nodes_and_of_draws(model, scenarios):
    parameters, changes, t = MODELS[model]
    _, grid = small(scenarios, (30, 31, 40), model={"kind": "food_web", **parameters}, **changes)
    transition = web.Chances(grid).of(t)

    def worth(a, b, c):  # smooth, so that interpolation hardly matters
        return 3.0 + np.sin(2.0 * a) + b * b * np.cos(c) + 0.5 * a * c

    a, b, c = grid.axes
    found = web.expected(transition, worth(a[:, None], b, c[:, None, None]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    rng = np.random.default_rng(5)
    for place in [(20, 22, 25), (16, 18, 30), (22, 15, 20)]:
        left = np.empty(3)
        for axis, species in enumerate(grid.order):
            left[species] = grid.axes[axis][place[axis]]
        mean = grown(model, left, t)[list(grid.order)]
        sd = 0.1 * left[list(grid.order)]
        stocks = [mean[axis] + sd[axis] * nodes for axis in range(3)]
        assert all(values.min() > -0.6 for values in stocks)
        shares = [weights * (values > 0.05) for values in stocks]
        values = worth(stocks[0][:, None, None], stocks[1][None, :, None], stocks[2][None, None, :])
        summed = np.einsum("i,j,k,ijk->", *shares, values)
        drawn = mean[:, None] + sd[:, None] * rng.standard_normal((3, 200_000))
        sample = worth(*drawn) * (drawn > 0.05).all(axis=0)
        own = found[place[2], place[0], place[1]]
        assert own == pytest.approx(summed, abs=2e-3)
        assert own == pytest.approx(sample.mean(), abs=4 * sample.std() / math.sqrt(200_000) + 2e-3)


def test_weights_give_truncated_moments_of_the_normal_law():
    points = np.array([0.0, 0.02, 0.05, 0.1, 0.3, 0.35, 0.6, 1.0, 1.4])
    means, sds, floor = np.array([0.04, 0.3, 0.7, 0.06, -1.0]), np.array([0.01, 0.1, 0.02, 0.0, 0.1]), 0.045
    rows = dense(spread(points, means, sds, floor), len(points))
    for mean, sd, row in zip(means[:3], sds[:3], rows[:3], strict=True):
        law = stats.norm(mean, sd)
        for power in range(4):  # a cubic is its own interpolation
            inside = law.expect(lambda n, power=power: n**power, lb=floor, ub=mean + 12 * sd)
            assert row @ points**power == pytest.approx(inside, abs=1e-6)
    assert rows[3] @ points == pytest.approx(0.06)  # without noise, the value at the mean
    assert not rows[4].any()
    above = dense(spread(points, np.array([1.4]), np.array([0.1]), floor), len(points))[0]
    law = stats.norm(1.4, 0.1)
    beyond = law.expect(lambda n: min(n, 1.4), lb=0.5, ub=2.5)
    assert above @ points == pytest.approx(beyond, abs=1e-6)


def test_the_running_maximum_is_that_of_a_search_over_what_may_be_left(scenarios):
    _, grid = small(scenarios, (7, 8, 5))
    follows = np.random.default_rng(2).uniform(0, 3, (5, 7, 8))
    value = web.best(grid, follows, parts=1)
    first, second = grid.axes[:2]
    for c in range(5):
        for a in range(7):
            for b in range(8):
                caught = first[a] - first[: a + 1, None] + second[b] - second[: b + 1]
                assert value[c, a, b] == pytest.approx((caught + follows[c, : a + 1, : b + 1]).max())


def test_between_points_the_maximum_of_a_concave_function_is_found_and_no_overshoot_of_a_step():
    points = np.sort(np.random.default_rng(3).uniform(0, 1, 25))
    places = np.linspace(points[0], points[-1], 20_001)
    smooth = np.sin(3.0 * points)
    found = highest_up_to(points, smooth[None], 8)[0]
    exact = np.maximum.accumulate(np.sin(3.0 * places))
    expected = exact[np.searchsorted(places, points).clip(max=20_000)]
    assert found == pytest.approx(expected, abs=2e-4)
    step = np.where(points > 0.5, 60.0, 0.0) - points
    assert highest_up_to(points, step[None], 4)[0] == pytest.approx(np.maximum.accumulate(step))


def test_one_year_is_what_can_be_caught_less_the_risk_of_doing_so(scenarios):
    scenario, grid = small(scenarios, (30, 30, 30), horizon=1, penalty=0.3)
    solved = web.solve(grid, dp.collapse_costs(scenario))
    left = np.linspace(0, 0.6, 241)
    best = -np.inf
    for x in left[::4]:
        rows = np.array([grown("two", (x, y, 0.7), 0) for y in left])
        sd = np.maximum(0.1 * np.stack([np.full_like(left, x), left, np.full_like(left, 0.7)], axis=1), 1e-12)
        alive = stats.norm.sf((0.05 - rows) / sd).prod(axis=1)
        best = max(best, (0.6 - x + 0.6 - left - 0.3 * (1 - alive)).max())
    first = scenario.with_changes(initial=[0.6, 0.6, 0.7], initial_sd=0.0)
    assert solved.mean_value(first) == pytest.approx(best, abs=0.01)
    caught = solved.mortality(np.array([0]), np.array([[0.6, 0.6, 0.7]]))[0]
    x, y = 0.6 * (1 - caught)
    mean, sd = grown("two", (x, y, 0.7), 0), 0.1 * np.array([x, y, 0.7])
    alive = stats.norm.sf((0.05 - mean) / np.maximum(sd, 1e-12)).prod()
    assert 0.6 * caught.sum() - 0.3 * (1 - alive) == pytest.approx(best, abs=0.01)


def test_a_web_without_ties_is_two_fisheries_of_one_species_each(scenarios):
    loose = {"beta": 0.0, "c_xy": 0.0, "b": 0.0, "d_z": 0.0, "sigma_z": 0.0, "r_y": 0.6}
    together = scenarios.web(model={"kind": "food_web", **loose}, horizon=25, penalty=0.0)
    value = dp.solve(together, points=(36, 36, 6), keep=False).mean_value(together)
    # Without a penalty, a species that is fished out ends the other's catches: nobody does so before the last years.
    alone = 0.0
    for rate in (1.0, 0.6):
        single = scenarios.one(
            model={"kind": "one_species", "beta": 0.0, "sigma": 0.1, "r": rate}, horizon=25, penalty=0.0, initial=[0.5]
        )
        alone += one.solve(single, np.zeros(25)).mean_value(single)
    assert value == pytest.approx(alone, abs=0.01)


@pytest.mark.parametrize("harvested", ["xy", "x", "y"])
def test_its_rule_earns_its_value(harvested, scenarios):
    scenario = scenarios.web(horizon=20, harvested=list(harvested))
    value = dp.solve(scenario, points=(24, 24, 32)).mean_value(scenario)
    solved = dp.solve(scenario, points=(24, 24, 32))

    class Rule:
        recurrent = False

        def reset(self, rows=None):
            return None

        def act(self, observation, deterministic=True, rng=None):
            return solved.mortality(observation["year"][:, 0], observation["stock"])

    outcome = play(build(scenario), Rule(), split="train", count=4000, seed=5)
    error = outcome.objective.std() / math.sqrt(4000)
    assert abs(outcome.objective.mean() - value) < 4 * error + 0.01


def test_finer_grids_agree(scenarios):
    scenario = scenarios.web(horizon=30)
    coarse, fine = (
        dp.solve(scenario, points=points, keep=False).mean_value(scenario) for points in [(20, 20, 28), (30, 30, 40)]
    )
    assert coarse == pytest.approx(fine, abs=0.03)


def test_order_and_species_of_decisions(scenarios):
    both, swapped = scenarios.web(horizon=3), scenarios.web(horizon=3, harvested=["y", "x"])
    stock, year = np.random.default_rng(1).uniform(0.1, 1.0, (50, 3)), np.ones(50, np.int64)
    straight = dp.solve(both, points=(12, 12, 12)).mortality(year, stock)
    assert dp.solve(swapped, points=(12, 12, 12)).mortality(year, stock)[:, ::-1] == pytest.approx(straight)
    assert straight.shape == (50, 2)
    assert ((straight >= 0) & (straight <= 1)).all()
    extreme = np.array([[0.0, 0.0, 0.0], [50.0, 50.0, 50.0], [0.01, 5.0, 0.04]])
    assert np.isfinite(dp.solve(both, points=(12, 12, 12)).mortality(np.zeros(3, np.int64), extreme)).all()


def test_solutions_are_found_again_and_damaged_ones_computed_anew(scenarios, tmp_path):
    scenario, grid = small(scenarios, horizon=6)
    costs = dp.collapse_costs(scenario)
    fresh = web.solve(grid, costs, kept=cache.Kept.of(grid, costs))
    (file,) = (tmp_path / "fisheries").glob("*.npz")
    years = []
    again = web.solve(grid, costs, kept=cache.Kept.of(grid, costs), progress=lambda done, total: years.append(done))
    assert years == []
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], content[:2000] + b"x" * 50 + content[2050:], b""):
        file.write_bytes(damaged)
        anew = web.solve(grid, costs, kept=cache.Kept.of(grid, costs))
        for other in (again, anew):
            assert np.array_equal(other.value, fresh.value)
            assert np.array_equal(other.follows, fresh.follows)
    other = web.web_of(scenario.with_changes(model={"kind": "food_web", "b": 0.11}), (12, 13, 16))
    assert cache.Kept.of(other, costs).file != cache.Kept.of(grid, costs).file
    assert cache.Kept.of(grid, costs + 1).file != cache.Kept.of(grid, costs).file


KILLED = """
import json, os, signal, sys
from interlock.domains.fisheries import dynamic_programming as dp, dynamic_programming_cache as cache
from interlock.domains.fisheries import dynamic_programming_web as web
from interlock.domains.fisheries import frontier
from interlock.domains.fisheries.scenario import FisheriesScenario
cache.KEEP_EVERY = 0.0
scenario = FisheriesScenario.model_validate(json.loads(sys.argv[1]))
grid, costs = web.web_of(scenario, (12, 13, 16)), dp.collapse_costs(scenario)
def progress(done, total):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
web.solve(grid, costs, kept=cache.Kept.of(grid, costs), progress=progress)
"""


def test_a_solution_that_was_killed_is_resumed_with_the_same_numbers(scenarios, tmp_path):
    scenario, grid = small(scenarios, horizon=9)
    costs = dp.collapse_costs(scenario)
    text = json.dumps(scenario.model_dump(mode="json"))
    killed = subprocess.run([sys.executable, "-c", KILLED, text], check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    years = []
    resumed = web.solve(grid, costs, kept=cache.Kept.of(grid, costs), progress=lambda done, total: years.append(done))
    assert years == [5, 6, 7, 8, 9]
    fresh = web.solve(grid, costs)
    assert np.array_equal(resumed.value, fresh.value)
    assert np.array_equal(resumed.follows, fresh.follows)


def test_old_solutions_make_room(scenarios, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST_FILES", 2)
    scenario, grid = small(scenarios, horizon=2)
    for price in range(4):
        costs = dp.collapse_costs(scenario, flat=price)
        web.solve(grid, costs, kept=cache.Kept.of(grid, costs))
    assert len(list((tmp_path / "fisheries").glob("optimum_*.npz"))) == 2


def test_a_cache_that_cannot_be_written_costs_a_warning(scenarios, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTERLOCK_DATA", str(tmp_path / "file"))
    scenario, grid = small(scenarios, horizon=2)
    costs = dp.collapse_costs(scenario)
    with pytest.warns(UserWarning, match="not kept"):
        solved = web.solve(grid, costs, kept=cache.Kept.of(grid, costs))
    assert np.array_equal(solved.value, web.solve(grid, costs).value)


def test_no_price_of_a_collapse_gives_a_smaller_bound_and_rules_within_the_limit_stay_below(scenarios, monkeypatch):
    model = {"kind": "one_species", "sigma": 0.1}
    scenario = scenarios.one(model=model, horizon=40, reward="constrained", low_years=None)
    monkeypatch.setattr(one, "STOCKS", 601)
    found, price = lagrangian(scenario)
    assert found == pytest.approx(min(dual(scenario, price), dp.solve(scenario).mean_value(scenario)))
    assert price > 0
    for other in (0.0, 0.25 * price, 0.5 * price, 2 * price, 8 * price):
        assert dual(scenario, other) > found - 1e-3
    # The rule for a somewhat higher price keeps the limit: it earns less than the bound, though not by much.
    costs = dp.collapse_costs(scenario, flat=1.1 * price)
    solved = dp.solve(scenario, costs=costs)
    monkeypatch.setattr(dp, "solve", lambda *args, **options: solved)
    outcome = play(build(scenario), optimum(scenario, stationary=False), split="train", count=4000, seed=3)
    assert 1 - outcome.metrics["survival"].mean() < 0.05 + 0.008
    error = outcome.objective.std() / math.sqrt(4000)
    assert found - 0.2 < outcome.objective.mean() < found + 4 * error


def test_the_frontier_trades_reward_for_survival(scenarios, monkeypatch):
    monkeypatch.setattr(frontier, "STOCKS", 401)
    scenario = scenarios.one(model={"kind": "one_species", "sigma": 0.15}, horizon=40)
    seen = []
    found = frontier.points(scenario, lambda done, total: seen.append((done, total)), futures=500)
    best = dp.solve(scenario).mean_value(scenario)
    assert seen[-1] == (7, 7)
    assert max(point.reward - 4 * point.reward_error for point in found) <= best
    assert max(point.survival for point in found) > min(point.survival for point in found) + 0.05
    own = next(point for point in found if point.name.startswith("optimum: 1 x the scenario"))
    assert own.reward == pytest.approx(best, abs=4 * own.reward_error + 0.02)
    assert frontier.points(scenario, lambda done, total: seen.append((0, 0)), futures=500) == found
    assert seen[-1] != (0, 0)
    assert frontier.points(scenarios.web(uncertainty={"sd": 0.1})) == []


def test_bounds_of_webs(scenarios):
    free = {"collapse_probability": None, "low_years": None}
    assert {name: bound.kind for name, bound in bounds(scenarios.web(**free)).items()} == {
        "dynamic_programming": "exact"
    }
    assert list(bounds(scenarios.web())) == ["dynamic_programming", "lagrangian_dual"]
    hidden = bounds(scenarios.web(observed={"hidden": ["z"], "cv": 0.1}, **free))["dynamic_programming"]
    assert hidden.kind == "relaxation"
    assert "a species is hidden" in hidden.describe
    assert bounds(scenarios.web(uncertainty={"sd": 0.1})) == {}
    assert fishery_of(scenarios.web()).penalty == dp.collapse_costs(scenarios.web())[0]
    assert dp.collapse_costs(scenarios.web(reward="constrained"), flat=2.0).tolist() == [2.0] * 200


def test_a_coarse_value_is_not_called_exact(scenarios):
    free = {"collapse_probability": None, "low_years": None}
    cycle = scenarios.web(model={"kind": "food_web", "predator": "exogenous"}, **free)
    assert bounds(cycle)["dynamic_programming"].kind == "statistical"

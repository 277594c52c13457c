"""The compiled models against a transcription of the equations, one stock at a time, in plain Python."""

import math

import numpy as np
import pytest
from numba import njit

from interlock.domains.fisheries.draws import normal
from interlock.domains.fisheries.instances import PARAMETERS, factors, first_stocks, fishery_of, states
from interlock.domains.fisheries.model import TOTALS, advance, low_quantile
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.scenario import parameter_names


@njit
def noise_of(keys, years, species):
    drawn = np.empty((len(keys), years, species))
    for row in range(len(keys)):
        for t in range(years):
            for i in range(species):
                drawn[row, t, i] = normal(keys, row)
    return drawn


def grown(p, stock, noise, t):
    """The equations as they are printed."""
    if p["kind"] == "one_species":
        (x,) = stock
        f = p["r"] * x * (1 - x / p["k"]) - p["beta"] * x**2 / (x**2 + p["c"] ** 2)
        return [max(x + f + p["sigma"] * x * noise[0], 0.0)]
    x, y, z = stock
    k_x, k_y, lost = p["k_x"], p["k_y"], p["c_xy"] * x * y
    if p["competition"] == "capacity":
        k_x, k_y, lost = k_x - p["c_xy"] * y, k_y - p["c_xy"] * x, 0.0
    f_x = p["r_x"] * x * (1 - x / k_x) - p["beta"] * z * x**2 / (p["c"] ** 2 + x**2) - lost
    f_y = p["r_y"] * y * (1 - y / k_y) - p["d"] * p["beta"] * z * y**2 / (p["c"] ** 2 + y**2) - lost
    f_z = z * (p["b"] * (x + p["d"] * y) - p["d_z"])
    if p["predator"] == "exogenous":
        f_z = 0.02 * z * math.cos(2 * math.pi * t / 50)
    sd = (p["sigma_x"], p["sigma_y"], p["sigma_z"])
    return [s + f + d * s * e for s, f, d, e in zip(stock, (f_x, f_y, f_z), sd, noise, strict=True)]


CASES = {
    "one": ("one", {}),
    "tipping": ("one", {"model": {"kind": "one_species", "beta": 0.25, "sigma": 0.1}, "prices": [2.0]}),
    "web": ("web", {}),
    "one fishery": ("web", {"harvested": ["y"], "effort_costs": [0.1]}),
    "drift": ("web", {"drift": [{"parameter": "r_x", "per_year": -0.005, "at_least": 0.5}]}),
    "own unit": ("web", {"drift": [{"parameter": "d", "per_year": -0.001, "unit": "own"}]}),
    "capacity": ("web", {"model": {"kind": "food_web", "competition": "capacity"}}),
    "cycle": ("web", {"model": {"kind": "food_web", "predator": "exogenous"}}),
    "uncertain": ("web", {"uncertainty": {"sd": 0.1}, "reward": "constrained"}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_year_is_that_of_the_equations(case, scenarios):
    kind, changes = CASES[case]
    scenario = getattr(scenarios, kind)(horizon=60, low_years=5.0, **changes)
    rows, split = 8, "validation"
    environment = build(scenario).environment(rows, seed=3, split=split)
    names, species = PARAMETERS[scenario.model.kind], scenario.model.species
    noise = noise_of(states(3, split, 0, rows)[0], 60, len(species))
    factor = np.broadcast_to(factors(scenario, 3, split, 0, rows), (rows, len(names)))
    stocks = first_stocks(scenario, 3, split, 0, rows).tolist()
    assert environment.reset()["stock"].tolist() == stocks
    rng, alive = np.random.default_rng(0), np.ones(rows, bool)
    drift = {one.parameter: one for one in scenario.drift}
    for t in range(60):
        action = rng.uniform(0, 0.3, (rows, len(scenario.harvested)))
        step = environment.step(action)
        for row in np.flatnonzero(alive):
            numbers = scenario.model.model_dump()
            for place, name in enumerate(names):
                start = numbers[name]
                numbers[name] = (drift[name].value(start, t) if name in drift else start) * factor[row, place]
            reward, left = 0.0, list(stocks[row])
            for j, name in enumerate(scenario.harvested):
                catch = action[row, j] * left[species.index(name)]
                left[species.index(name)] -= catch
                reward += (scenario.prices or (1.0, 1.0))[j] * catch
                reward -= (scenario.effort_costs or (0.0, 0.0))[j] * action[row, j]
            stocks[row] = grown(numbers, left, noise[row, t], t)
            collapsed = min(stocks[row]) <= 0.05
            if collapsed and scenario.reward == "penalised":
                reward -= 100.0 / (t + 1)
            assert step.reward[row] == pytest.approx(reward, abs=1e-12)
            assert step.terminated[row] == collapsed
            assert step.truncated[row] == (t == 59 and not collapsed)
            assert step.cost[row].tolist() == [collapsed, min(stocks[row]) < 0.10]
            if collapsed or t == 59:
                last = step.final_observation["stock"][row] if step.truncated[row] else stocks[row]
                assert last == pytest.approx(stocks[row], abs=1e-12)
                alive[row] = False
            else:
                assert step.observation["stock"][row] == pytest.approx(stocks[row], abs=1e-12)


def test_limits_are_kept_and_the_allowable_catch_goes_before_the_largest_change(scenarios):
    scenario = scenarios.web(limits={"tac": 0.2, "max_change": 0.15})
    fishery, rows = fishery_of(scenario), 500
    rng = np.random.default_rng(1)
    stock, last = rng.uniform(0.1, 1.2, (rows, 3)), rng.uniform(0, 1, (rows, 2))
    proposed = rng.uniform(-0.2, 1.2, (rows, 2))
    carried, before = proposed.copy(), stock.copy()
    totals, catches = np.zeros((rows, len(TOTALS) + 2)), np.zeros((rows, 200), np.float32)
    flags, keys = np.empty((2, rows), bool), np.arange(rows, dtype=np.uint64)
    year, remembered = np.full(rows, 5), last.copy()
    advance(
        fishery, np.ones((1, 13)), stock, year, keys, carried, remembered, totals, catches, np.empty(rows), *flags
    )  # fmt: skip
    wanted = np.clip(np.clip(proposed, 0, 1), last - 0.15, last + 0.15)
    total = (wanted * before[:, :2]).sum(axis=1)
    assert (total > 0.2).any()
    assert (total < 0.2).any()
    expected = wanted * np.minimum(1.0, 0.2 / total)[:, None]
    assert np.allclose(carried, expected, atol=1e-12)
    assert np.array_equal(remembered, carried)
    assert np.array_equal(totals[:, 3] > 0, (np.abs(carried - proposed) > 1e-12).any(axis=1))


def test_the_low_quantile_is_that_of_a_sorted_list():
    rng = np.random.default_rng(2)
    catches = rng.uniform(size=(50, 200)).astype(np.float32)
    years = rng.integers(1, 201, 50)
    expected = [np.sort(catches[k, :n])[max(math.ceil(0.05 * n), 1) - 1] for k, n in enumerate(years)]
    assert np.array_equal(low_quantile(catches, years, 0.05), np.array(expected, float))


def test_tables_have_the_numbers_of_the_schema(scenarios):
    for scenario in (scenarios.one(), scenarios.web()):
        assert parameter_names(scenario.model) == PARAMETERS[scenario.model.kind]

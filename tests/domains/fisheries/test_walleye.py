"""The age-structured stock against its equations in plain Python, its equilibria in closed form, and bad input."""

import math
from typing import Any

import numpy as np
import pytest
from numba import njit
from scipy.optimize import linprog

from interlock.core.errors import BadInput, BrokenEnvironment
from interlock.core.evaluation.protocol import play
from interlock.core.policy import FunctionPolicy
from interlock.core.testing import check_problem
from interlock.domains.fisheries import DOMAIN, baselines, walleye_bounds, walleye_rules
from interlock.domains.fisheries.draws import normal, uniform
from interlock.domains.fisheries.instances import states
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.walleye import first_numbers, lake_of, live, recruitment
from interlock.scenarios.loading import load_scenario

RULES = ["constant_mortality", "f_msy", "myopic", "no_harvest"]
CALM = {"big_chance": 0.0, "usual": 1.0, "sdr": 0.0}
"""Every year brings what the law of recruitment says."""


def scenario_of(model: dict[str, Any] | None = None, **changes: Any) -> FisheriesScenario:
    values = {
        "name": "lake", "harvested": ["walleye"], "initial": [1.0], "initial_sd": 0.0, "collapse_level": 0.0,
        "collapse_probability": None, "low_years": None, "horizon": 40, "observed": {"cv": 0.1},
        "baselines": ["f_msy", "myopic", "no_harvest"], **changes, "model": {"kind": "walleye", **(model or {})},
    }  # fmt: skip
    return FisheriesScenario.model_validate(values)


@njit
def luck(lake, keys, errors, years):
    """Factors of the young, and errors of surveys, of instances."""
    factor, error = np.empty((len(keys), years)), np.empty((len(keys), years))
    for row in range(len(keys)):
        for t in range(years):
            factor[row, t] = recruitment(lake, keys, row)
            error[row, t] = normal(errors, row)
    return factor, error


def plain_years(p, numbers, rates, factors, errors):
    """The equations as they are printed: what a survey finds, catches, and trophy fish of every year."""
    ages = range(1, p["ages"] + 1)
    weight = {a: (1 - math.exp(-p["k"] * a)) ** 3 for a in ages}
    mature = {a: 1 / (1 + math.exp(-p["asl"] * (a - p["ahm"]))) for a in ages}
    harvest = {a: 1 / (1 + math.exp(-(a - p["ahv"]) / p["asl"])) for a in ages}
    survey = {a: p["linf"] / p["lbar"] * (1 - math.exp(-p["k"] * a)) ** 2.02 for a in ages}
    lived = {a: p["s"] ** (a - 1) for a in ages}
    lived[p["ages"]] /= 1 - p["s"]
    sbro = sum(lived[a] * weight[a] * mature[a] for a in ages)
    alpha, beta = p["cr"] / sbro, (p["cr"] - 1) / (p["ro"] * sbro)
    n, found = dict(zip(ages, numbers, strict=True)), []
    for rate, factor, error in zip(rates, factors, errors, strict=True):
        seen = sum(survey[a] * weight[a] * n[a] for a in ages) * max(1 + 0.1 * error, 0)
        caught = rate * sum(harvest[a] * weight[a] * n[a] for a in ages)
        trophies = sum(rate * harvest[a] * n[a] for a in ages if a > p["ages"] - p["trophy_ages"])
        n = {a: p["s"] * n[a] * (1 - harvest[a] * rate) for a in ages}
        spawning = sum(mature[a] * weight[a] * n[a] for a in ages)
        older = {a + 1: n[a] for a in ages if a < p["ages"]}
        older[p["ages"]] += n[p["ages"]]
        n = {1: factor * alpha * spawning / (1 + beta * spawning), **older}
        found.append((min(seen, 50), caught, trophies))
    return np.array(found)


@pytest.mark.parametrize("model", [{}, {"utility": "hara", "ages": 12, "s": 0.7}, {"utility": "trophy", "ro": 30.0}])
def test_every_year_is_that_of_the_equations(model):
    scenario = scenario_of(model)
    lake, rows, years = lake_of(scenario), 6, scenario.horizon
    factors, errors = luck(lake, *states(3, "test", 0, rows), years)
    rates = np.random.default_rng(0).uniform(0, 0.4, (years, rows, 1))
    first = first_numbers(scenario, lake, 3, "test", 0, rows)
    environment = build(scenario).environment(rows, seed=3, split="test")
    seen, rewards = [environment.reset()["stock"][:, 0]], []
    for rate in rates:
        step = environment.step(rate)
        seen.append(step.observation["stock"][:, 0])
        rewards.append(step.reward)
    p = scenario.model.model_dump()
    for row in range(rows):
        expected = plain_years(p, first[row], rates[:, row, 0], factors[row], errors[row])
        asked = {"yield": expected[:, 1], "hara": expected[:, 1] ** 0.6, "trophy": expected[:, 2]}[p["utility"]]
        assert np.allclose(np.array(seen)[:-1, row], expected[:, 0], rtol=1e-10)
        assert np.allclose(np.array(rewards)[:, row], asked, rtol=1e-10)
        assert step.info["yield"][row] == pytest.approx(expected[:, 1].sum())
        assert step.info["trophies"][row] == pytest.approx(expected[:, 2].sum())


def test_big_years_come_as_often_and_as_big_as_they_should():
    lake, count = lake_of(scenario_of()), 100_000
    factors = luck(lake, *states(11, "train", 0, count), 4)[0].ravel()
    big = factors >= 10.0
    assert big.mean() == pytest.approx(2 * 0.025 * 0.975, abs=3e-3)  # one success of two with chance 0.025
    assert np.allclose(np.quantile(factors[big], [0.25, 0.5, 0.75]), [15, 20, 25], atol=0.5)
    usual = np.log(factors[~big] / 0.25)
    assert usual.mean() == pytest.approx(-0.5 * 0.3**2, abs=3e-3)
    assert usual.std() == pytest.approx(0.3, abs=3e-3)
    mean = walleye_rules.mean_recruitment(lake)
    assert mean == pytest.approx(0.04875 * 20 + 0.95125 * 0.25)
    assert factors.mean() == pytest.approx(mean, abs=5 * factors.std() / math.sqrt(len(factors)))


@njit
def settled(lake, rate, years):
    """Young, catch and numbers after years at a rate."""
    numbers, caught = lake.first.copy().reshape(1, -1), 0.0
    for _ in range(years):
        caught, _, _ = live(lake, numbers, 0, rate, 1.0)
    return numbers, caught


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_without_chance_a_rate_leads_to_its_equilibrium(rate):
    lake = lake_of(scenario_of({**CALM, "ro": 2.0}))
    numbers, caught = settled(lake, rate, 3000)
    recruits, expected = walleye_rules.equilibrium(lake, rate, 1.0)
    assert caught == pytest.approx(expected, rel=1e-9)
    assert np.allclose(numbers[0], recruits * walleye_rules.per_recruit(lake, rate)[0], rtol=1e-9)
    if rate == 0:
        # Spawners are counted after the year's deaths, so that a little fewer young than `ro` replace the unfished.
        assert numbers[0, 0] == pytest.approx(2.0 * (6.0 * 0.86 - 1.0) / (5.0 * 0.86))


def test_the_spawners_of_an_unfished_stock_bring_its_young():
    lake = lake_of(scenario_of({"ro": 3.0}))
    spawning = lake.first @ lake.spawning
    assert lake.alpha * spawning / (1 + lake.beta * spawning) == pytest.approx(3.0)
    assert lake.first[-1] == pytest.approx(3.0 * 0.40676419)
    assert lake.alpha / lake.beta == pytest.approx(3.0 * 1.2)  # the most young there can be


def test_no_fish_are_lost():
    lake = lake_of(scenario_of({"trophy_ages": 20}))  # every fish of the catch is counted
    numbers = first_numbers(scenario_of(), lake, 1, "train", 0, 1)
    before = numbers.sum()
    _, caught, _ = live(lake, numbers, 0, 0.35, 7.0)
    deaths = 0.14 * (before - caught)
    assert numbers[0, 1:].sum() + deaths + caught == pytest.approx(before)
    assert caught > 0.1 * before


def test_the_textbook_rate_is_the_best_where_nothing_is_left_to_chance():
    scenario = scenario_of({**CALM})
    lake = lake_of(scenario)
    best = float(walleye_rules.f_msy(scenario)[0])
    catches = {rate: settled(lake, rate, 3000)[1] for rate in (best - 0.01, best, best + 0.01)}
    assert max(catches, key=catches.get) == best


def test_luck_does_not_depend_on_decisions():
    def young(rate):
        environment = build(scenario_of()).environment(30, seed=4, split="test")
        found = []
        for _ in range(20):
            left = environment.lake.survival * environment.numbers * (1 - environment.lake.vulnerable * rate)
            spawning = left @ environment.lake.spawning
            environment.step(np.full((30, 1), rate))
            found.append(environment.numbers[:, 0] / spawning * (1 + environment.lake.beta * spawning))
        return np.array(found)

    assert np.allclose(young(0.0), young(0.5))


@pytest.mark.parametrize("name", ["walleye_yield", "walleye_hara", "walleye_trophy"])
def test_the_problem_passes_every_check_of_the_core(name):
    check_problem(
        build(load_scenario(DOMAIN, name, ["horizon=12", f"baselines=[{', '.join(RULES[1:])}]"])), instances=6
    )


def test_limits_are_kept_and_counted():
    scenario = scenario_of({"weigh": True}, limits={"max_change": 0.1}, low_years=3.0, low_level=1.5)
    problem = build(scenario)
    check_problem(problem, instances=6)
    environment = problem.environment(5, seed=1, split="train")
    environment.reset()
    environment.step(np.full((5, 1), 0.3))
    step = environment.step(np.full((5, 1), 0.9))
    assert np.allclose(step.observation["last_mortality"], 0.4)
    assert (step.cost == 1.0).all()  # no stock begins above 1.5 of the unfished one
    for wrong in (np.nan, np.inf):
        with pytest.raises(BrokenEnvironment, match=r"instance 0.*walleye is"):
            environment.step(np.full((5, 1), wrong))


def test_surveys_weigh_what_they_find():
    environment = build(scenario_of({"weigh": True}, observed={"cv": 0.0})).environment(8, seed=2, split="train")
    view = environment.reset()
    weight = environment.lake.weighed / environment.lake.found
    share = environment.numbers * environment.lake.found
    assert np.allclose(view["mean_weight"][:, 0], (share * weight).sum(axis=1) / share.sum(axis=1))
    blurred = build(scenario_of({"weigh": True})).environment(4000, seed=2, split="train").reset()
    sharp = build(scenario_of({"weigh": True}, observed={"cv": 0.0})).environment(4000, seed=2, split="train").reset()
    errors = np.hstack([blurred[name] / sharp[name] - 1.0 for name in ("stock", "mean_weight")])
    assert np.allclose(errors.std(axis=0), 0.1, atol=0.005)
    assert abs(np.corrcoef(errors.T)[0, 1]) < 0.06


def test_metrics_are_those_of_the_catches():
    problem, rate = build(scenario_of({"utility": "hara"}, observed={"cv": 0.0})), 0.15
    environment = problem.environment(4, seed=5, split="train")
    environment.reset()
    catches, biomass = [], []
    for _ in range(problem.scenario.horizon):
        lake, numbers = environment.lake, environment.numbers
        catches.append(rate * numbers @ lake.caught)
        biomass.append(numbers @ lake.weighed)
        step = environment.step(np.full((4, 1), rate))
    catches = np.array(catches)
    expected = {
        "yield": catches.sum(axis=0),
        "utility": (catches**0.6).mean(axis=0),
        "closed_years": (catches < 1e-3).mean(axis=0),
        "aav": np.abs(np.diff(catches, axis=0)).sum(axis=0) / catches.sum(axis=0),
        "catch_5_percent": np.sort(catches, axis=0)[1],  # the second smallest of 40
        "biomass": np.mean(biomass, axis=0),
    }
    for name, values in expected.items():
        assert np.allclose(step.info[name], values, rtol=1e-5), name


@pytest.mark.parametrize("kind", ["constant_mortality", "constant_escapement", "precautionary"])
@pytest.mark.parametrize("limits", [{}, {"max_change": 0.05}])
def test_the_search_plays_what_the_environment_plays(kind, limits):
    scenario = scenario_of(limits=limits, low_years=5.0)
    parameters = {"constant_mortality": [0.1], "constant_escapement": [0.7], "precautionary": [0.5, 1.0, 0.4]}[kind]
    each = np.array([parameters])
    found = walleye_rules.score(scenario, kind, np.array([0.5 * each, each]), futures=40, seed=9)
    for place, factor in enumerate((0.5, 1.0)):
        policy = baselines.rule(scenario, kind, factor * each)
        outcome = play(build(scenario), policy, split="train", count=40, seed=9)
        assert found.reward[place] == pytest.approx(outcome.objective.mean(), rel=1e-12)
        assert found.low_years[place] == pytest.approx(outcome.metrics["low_years"].mean())


@njit
def uniforms(keys, count):
    drawn = np.empty(count)
    for k in range(count):
        drawn[k] = uniform(keys, 0)
    return drawn


@pytest.mark.parametrize("utility", ["yield", "trophy"])
def test_the_bound_is_the_value_of_its_linear_program(utility):
    ages, years, tangent = 4, 6, 0.3
    scenario = scenario_of({"ages": ages, "utility": utility, "trophy_ages": 2, "ahv": 2.0, "ahm": 1.5}, horizon=years)
    lake = lake_of(scenario)
    first = uniforms(states(1, "train", 0, 1)[0], ages)
    reward = lake.trophies if utility == "trophy" else lake.caught
    slope = walleye_rules.mean_recruitment(lake) * lake.alpha / (1 + lake.beta * tangent) ** 2
    # Columns: numbers n[t, a] of every year and the last, then shares taken x[t, a], by n[t, a] of them.
    size = (years + 1) * ages
    n = np.arange(size).reshape(years + 1, ages)
    x = size + np.arange(years * ages).reshape(years, ages)
    total = size + years * ages
    equal, right, within = [], [], []
    for a in range(ages):
        equal.append(np.eye(total)[n[0, a]])
        right.append(first[a])
    for t in range(years):
        left = lake.survival * (np.eye(total)[n[t]] - lake.vulnerable[:, None] * np.eye(total)[x[t]])
        following = [slope * lake.spawning @ left, *left[:-1]]
        following[-1] = following[-1] + left[-1]
        for a in range(ages):
            equal.append(np.eye(total)[n[t + 1, a]] - following[a])
            right.append(slope * lake.beta * tangent**2 if a == 0 else 0.0)
            within.append(np.eye(total)[x[t, a]] - np.eye(total)[n[t, a]])
    worth = np.zeros(total)
    worth[x] = reward
    solved = linprog(-worth, np.array(within), np.zeros(len(within)), np.array(equal), np.array(right))
    assert walleye_bounds.value(lake, first, years, tangent) == pytest.approx(-solved.fun, rel=1e-8)


@pytest.mark.parametrize("utility", ["yield", "hara", "trophy"])
def test_no_rule_beats_the_bound(utility):
    scenario = scenario_of({"utility": utility}, horizon=200)
    bound = walleye_bounds.best_value(scenario)
    rates = np.linspace(0.0, 1.0, 21)[:, None, None]
    pulses = FunctionPolicy(lambda view, rng: np.where(view["year"] % 12 == 11, 1.0, 0.0))
    best = walleye_rules.score(scenario, "constant_mortality", rates, futures=400, seed=1).reward.max()
    assert 0.05 * bound < best < bound
    assert play(build(scenario), pulses, split="train", count=400).objective.mean() < bound
    if utility == "yield":  # what a stock without chance yields for ever is a value that a fair bound is close to
        lake = lake_of(scenario)
        most = walleye_rules.equilibrium(lake, float(walleye_rules.f_msy(scenario)[0]), 1.2128125)[1]
        assert bound > 200 * most


WRONG = {
    "model.s=1.2": "model.s: got 1.2",
    "model.s=0": "model.s: got 0",
    "model.k=-1": "model.k: got -1",
    "model.cr=1": "model.cr: got 1",
    "model.ro=0": "model.ro: got 0",
    "model.asl=0": "model.asl: got 0",
    "model.ahv=-2": "model.ahv: got -2",
    "model.sdr=-0.1": "model.sdr: got -0.1",
    "model.big_chance=1.5": "model.big_chance: got 1.5",
    "model.big_low=40": "big_low: 40 is above big_high, 30",
    "model.first_low=2": "first_low: 2 is above first_high, 1",
    "model.usual=0": "model.usual: got 0",
    "model.exponent=1.5": "model.exponent: got 1.5",
    "model.trophy_ages=21": "trophy_ages: 21 of 20 ages",
    "model.utility=fame": "model.utility",
    "model.growth=1": "model.growth",
    "drift=[{parameter: s, per_year: -0.001}]": "drift: not for walleye",
    "uncertainty.sd=0.1": "uncertainty.sd: not for walleye",
    "initial=[0]": "would end at once",
    "initial=[1, 1]": "2 numbers for 1 species",
    "initial_sd=0.1": "initial_sd: not for walleye",
    "collapse_level=0.05": "collapse_level: walleye do not collapse",
    "collapse_probability=0.1": "collapse_probability: walleye do not collapse",
    "limits.tac=1": "limits.tac: surveys do not tell",
    "prices=[2]": "prices: not for walleye",
    "effort_costs=[0.1]": "effort_costs: not for walleye",
    "observed.hidden=[walleye]": "walleye is harvested",
    "harvested=[wally]": "did you mean walleye?",
    "baselines=[optimum]": "optimum needs",
}


@pytest.mark.parametrize("setting", WRONG)
def test_wrong_numbers_are_told(setting):
    with pytest.raises(BadInput) as caught:
        load_scenario(DOMAIN, "walleye_yield", [setting])
    assert WRONG[setting] in str(caught.value)


def test_a_policy_that_reads_weights_needs_them():
    seen, weighed = (load_scenario(DOMAIN, name).signature() for name in ("walleye-yield", "walleye-trophy"))
    assert seen["model"] == weighed["model"] == "walleye"
    assert weighed["seen"] == [*seen["seen"], "mean_weight"]

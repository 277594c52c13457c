"""The optimum of one species against enumeration of all plans, integration, and its own simulation."""

from itertools import product

import numpy as np
import pytest
from scipy import integrate, stats

from interlock.core.evaluation.protocol import play
from interlock.domains.fisheries import dynamic_programming_one as dp
from interlock.domains.fisheries.baselines import optimum, rule
from interlock.domains.fisheries.dynamic_programming import collapse_costs
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.problem import build


def test_transitions_integrate_every_linear_interpolant(scenarios):
    stocks = np.linspace(0, 2.2, 45)
    parameters, collapse = fishery_of(scenarios.one()).table[0], 0.12  # between two points of the grid
    weights, lost = dp.transitions(parameters, stocks, collapse)
    values = np.random.default_rng(1).uniform(size=45)
    r, k, beta, c, sigma = parameters
    for place in (3, 9, 20, 44):
        s = stocks[place]
        mean = s + r * s * (1 - s / k) - beta * s * s / (s * s + c * c)
        law = stats.norm(mean, sigma * s)
        low, high = max(collapse, law.ppf(1e-12)), min(2.2, law.isf(1e-12))
        kinks = stocks[(stocks > low) & (stocks < high)]
        inside, _ = integrate.quad(
            lambda n, law=law: np.interp(n, stocks, values) * law.pdf(n), low, high, points=kinks, limit=500
        )
        expected = inside + values[-1] * law.sf(2.2) if high >= low else 0.0
        assert weights[[place]] @ values == pytest.approx(expected, abs=1e-9)
        assert lost[place] == pytest.approx(law.cdf(collapse), abs=1e-12)
    assert weights.sum(axis=1) + lost == pytest.approx(np.ones(45))
    assert lost[0] == 1.0


def test_a_certain_future_is_one_point(scenarios):
    parameters = fishery_of(scenarios.one(model={"kind": "one_species", "beta": 0.0, "sigma": 0.0})).table[0]
    stocks = np.linspace(0, 2.0, 5)
    weights, lost = dp.transitions(parameters, stocks, 0.05)
    assert weights.toarray()[1] == pytest.approx([0, 0.5, 0.5, 0, 0])  # 0.5 grows to 0.75
    assert weights.toarray()[2] == pytest.approx([0, 0, 1, 0, 0])
    assert lost.tolist() == [1, 0, 0, 0, 1]  # 2.0 falls to 0


def test_backward_induction_is_the_best_of_all_plans(scenarios):
    scenario = scenarios.one(horizon=2, prices=[1.5], penalty=3.0, model={"kind": "one_species", "sigma": 0.4})
    solved = dp.solve(scenario, collapse_costs(scenario), stocks=5)
    points, fishery = solved.stocks, fishery_of(scenario)
    weights, lost = dp.transitions(fishery.table[0], points, 0.05)
    chances = weights.toarray()
    rules = list(product(*[range(place + 1) for place in range(5)]))  # which point to leave, for every stock
    best = np.full(5, -np.inf)
    for first in rules:
        for second in rules:
            last = 1.5 * (points - points[list(second)]) - 1.5 * lost[list(second)]
            left = list(first)
            best = np.maximum(best, 1.5 * (points - points[left]) - 3.0 * lost[left] + chances[left] @ last)
    assert solved.value == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"beta": 0.25}, 2.068), ({}, 6.427), ({"sigma": 0.10}, 5.691)],
    ids=["tipping", "safe", "noisy"],
)
def test_its_rule_earns_its_value_and_beats_the_best_escapement(changes, expected, scenarios):
    scenario = scenarios.one(model={"kind": "one_species", **changes})
    problem = build(scenario)
    value = float(problem.bounds()["dynamic_programming"].compute("test", 10))
    outcome = play(problem, optimum(scenario, stationary=False), split="train", count=4000, seed=77)
    error = outcome.objective.std() / np.sqrt(4000)
    assert abs(outcome.objective.mean() - value) < 4 * error + 0.003
    assert value == pytest.approx(expected, abs=0.03)  # 20,000 simulated episodes of another implementation
    stationary = play(problem, optimum(scenario, stationary=True), split="train", count=4000, seed=77)
    escapement = play(problem, rule(scenario, "constant_escapement", [0.5]), split="train", count=4000, seed=77)
    for other in (stationary, escapement):
        assert (outcome.objective - other.objective).mean() > 0


def test_what_the_optimum_does_not_heed_makes_it_a_relaxation(scenarios):
    free = {"collapse_probability": None, "low_years": None}
    kinds = {
        "exact": scenarios.one(**free),
        "relaxation": scenarios.one(**free, limits={"tac": 0.1}),
    }
    for kind, scenario in kinds.items():
        assert build(scenario).bounds()["dynamic_programming"].kind == kind
    assert build(scenarios.one(uncertainty={"sd": 0.1})).bounds() == {}


def test_there_is_no_bound_where_first_stocks_lie_above_the_grid(scenarios):
    assert build(scenarios.one(initial=[2.1])).bounds()
    assert build(scenarios.one(initial=[2.15])).bounds() == {}
    assert build(scenarios.one(initial=[3.0])).bounds() == {}
    larger = [{"parameter": "k", "per_year": 0.01, "at_most": 1.5}]
    assert build(scenarios.one(initial=[3.0], drift=larger)).bounds()
    assert build(scenarios.web(initial=[0.5, 0.5, 2.6])).bounds() == {}
    assert build(scenarios.web(initial=[0.5, 0.5, 2.6], model={"kind": "food_web", "predator": "exogenous"})).bounds()


def test_accuracy_is_promised_for_our_scenarios_alone(scenarios):
    for scenario in (scenarios.one(), scenarios.web()):
        for bound in build(scenario).bounds().values():
            assert "on the scenarios that come with Interlock" in bound.describe


def test_its_accuracy_is_kept(scenarios):
    for changes in ({}, {"beta": 0.25}, {"sigma": 0.10}):
        scenario = scenarios.one(model={"kind": "one_species", **changes})
        costs = collapse_costs(scenario)
        coarse, fine = (dp.solve(scenario, costs, stocks=points).mean_value(scenario) for points in (501, 1001))
        assert abs(fine - coarse) < dp.ACCURACY

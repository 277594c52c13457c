"""The pictures: what is drawn are the numbers of the evidence and of the futures that it is about."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from interlock.core.evaluation.evidence import evaluate_policies
from interlock.core.evaluation.record import BoundEvidence
from interlock.core.policy import FunctionPolicy
from interlock.domains.fisheries import (
    figures_methods,
    figures_model,
    figures_replay,
    figures_rules,
    figures_style,
    frontier,
    tuning,
)
from interlock.domains.fisheries.figures_methods import frontiers
from interlock.domains.fisheries.figures_years import quadrants, ratios, spread
from interlock.domains.fisheries.frontier import FrontierPoint
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.rules import score
from interlock.domains.fisheries.scenario import FisheriesScenario

FUTURES = 60
SIZES = {"horizon": 50, "evaluation": {"test_instances": FUTURES, "validation_instances": 2}}
RULES = ["constant_mortality", "constant_escapement", "precautionary", "f_msy", "no_harvest"]
WEB_PICTURES = {"rule", "rule_other", "stocks", "frontier", "catches", "rewards", "kobe", "escapement"}
WALLEYE = {
    "name": "lake", "model": {"kind": "walleye", "weigh": True}, "harvested": ["walleye"], "initial": [1.0],
    "initial_sd": 0.0, "collapse_level": 0.0, "collapse_probability": None, "low_years": None, "horizon": 40,
    "observed": {"cv": 0.1}, "baselines": ["f_msy", "no_harvest"], "evaluation": SIZES["evaluation"],
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """Coarse grids of dynamic programming, in a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERLOCK_DATA", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(frontier, "SHARES", (0.3, 3.0))
        patch.setattr(frontier, "FLATS", ())
        patch.setattr(frontier, "WEB_POINTS", (8, 8, 10))
        patch.setattr(frontier, "STOCKS", 201)
        yield


@pytest.fixture(scope="module")
def kinds(scenarios):
    """Kind -> scenario and the pictures that it has."""
    one = scenarios.one(**SIZES, baselines=[*RULES, "optimum"], model={"kind": "one_species", "beta": 0.25})
    drift = [{"parameter": "r_x", "per_year": -0.01, "at_least": 0.5}]
    hidden = {"hidden": ["z"], "cv": 0.1}
    return {
        "one": (one, {"rule", "stocks", "frontier", "catches", "rewards", "kobe", "stability"}),
        "web": (scenarios.web(**SIZES, baselines=RULES, tonnes=[1e3, 1e3, 1e3]), WEB_PICTURES),
        "one_fishery": (scenarios.web(**SIZES, baselines=RULES, harvested=["x"]), WEB_PICTURES - {"escapement"}),
        "drift": (scenarios.web(**SIZES, baselines=RULES, drift=drift), WEB_PICTURES | {"rule_years"}),
        "limited": (scenarios.web(**SIZES, baselines=RULES, limits={"max_change": 0.1, "tac": 0.2}), WEB_PICTURES),
        "hidden": (scenarios.web(**SIZES, baselines=RULES, observed=hidden), WEB_PICTURES - {"rule_other"}),
        "uncertain": (scenarios.web(**SIZES, baselines=RULES, uncertainty={"sd": 0.2, "runs": 5}), WEB_PICTURES),
        "walleye": (FisheriesScenario.model_validate(WALLEYE), {"rule", "stocks", "catches", "rewards"}),
    }


def measured(scenario):
    """Problem, policies, evidence without bounds."""
    problem = build(scenario)
    policies = {name: make(0) for name, make in problem.baselines().items()}
    return problem, policies, evaluate_policies(problem, policies, bounds=False)


@pytest.fixture(scope="module")
def web(kinds):
    return measured(kinds["web"][0])


@pytest.fixture(scope="module")
def one(kinds):
    return measured(kinds["one"][0])


def curves(figure, axis="x"):
    """Named lines of the panel with this x axis."""
    return {
        trace.name: trace
        for trace in figure.data
        if trace.name and trace.mode == "lines" and trace.xaxis in (axis, None)
    }


def bands(figure, group):
    """Upper and lower edge of the bands of a group, panel by panel."""
    found = [trace for trace in figure.data if trace.fill == "toself" and trace.legendgroup == group]
    return [np.split(np.array(trace.y), 2) for trace in found]


@pytest.mark.parametrize("kind", ["one", "web", "one_fishery", "drift", "limited", "hidden", "uncertain", "walleye"])
def test_every_kind_of_scenario_has_its_pictures_and_they_are_small(kind, kinds, monkeypatch):
    monkeypatch.setitem(tuning.FUTURES, 2, 2)  # training futures of the map
    scenario, expected = kinds[kind]
    problem, policies, evidence = measured(scenario)
    drawn = {name: figure.draw(policies, evidence) for name, figure in problem.figures().items()}
    assert set(drawn) == expected
    for figure in drawn.values():
        text = figure.to_json()
        assert len(figure.data) + len(figure.layout.annotations) > 0
        assert "NaN" not in text
        assert "Infinity" not in text
        assert len(text) < 300_000
        assert figure.layout.height >= 150


def test_replayed_futures_are_those_of_the_evidence(web):
    problem, policies, evidence = web
    for name in ("constant_escapement", "f_msy"):
        played = figures_replay.play(problem, policies[name], evidence.seed, evidence.split, FUTURES)
        metrics = evidence.outcomes[name].metrics
        np.testing.assert_allclose(np.nansum(played.catch, axis=(1, 2)), metrics["yield"], rtol=1e-9)
        np.testing.assert_array_equal(played.years, metrics["length"])
        np.testing.assert_array_equal(~played.collapsed.any(axis=1), metrics["survival"] > 0)
        np.testing.assert_array_equal(np.isfinite(played.stock[:, :, 0]).sum(axis=1), played.years)


def test_replay_tells_what_was_carried_out(kinds):
    problem, _, evidence = measured(kinds["limited"][0])
    greedy = FunctionPolicy(lambda view, rng: np.full((len(view["stock"]), 2), 0.9))
    played = figures_replay.play(problem, greedy, evidence.seed, evidence.split, FUTURES)
    lived = np.isfinite(played.mortality).all(axis=2)
    assert np.nanmax(np.nansum(played.catch, axis=2)) == pytest.approx(0.2)
    both = lived[:, 1:] & lived[:, :-1]
    assert np.diff(played.mortality, axis=1)[both].max() <= 0.1 + 1e-9


def test_stocks_show_quantiles_of_living_futures_in_tonnes(web):
    problem, policies, evidence = web
    figure = problem.figures()["stocks"].draw(policies, evidence)
    first = figures_style.chosen(policies, evidence, 1)[0]
    environment = problem.environment(FUTURES, seed=evidence.seed, split=evidence.split)
    view, alive = environment.reset(), np.ones(FUTURES, bool)
    for _ in range(20):
        step = environment.step(policies[first].act(view))
        view, alive = step.observation, alive & ~step.done
    stock = 1e3 * view["stock"][alive, 2]
    high, low = bands(figure, "z")[0]
    assert curves(figure)["z"].y[20] == pytest.approx(np.median(stock), rel=1e-6)
    assert high[20] == pytest.approx(np.quantile(stock, 0.95), rel=1e-6)
    assert low[::-1][20] == pytest.approx(np.quantile(stock, 0.05), rel=1e-6)
    assert "(t)" in figure.layout.yaxis.title.text
    limits = [shape for shape in figure.layout.shapes if shape.y0 == shape.y1]
    assert {shape.y0 for shape in limits} == {50.0}


def test_titles_and_crosses_tell_the_collapses(one):
    problem, policies, evidence = one
    figure = problem.figures()["stocks"].draw(policies, evidence)
    names = figures_style.chosen(policies, evidence, 4)
    titles = [note.text for note in figure.layout.annotations]
    for name in names:
        lost = 100 * (1 - evidence.outcomes[name].metrics["survival"].mean())
        assert any(figures_style.words(name) in title and f"{lost:.3g} % of futures" in title for title in titles)
    crosses = sum(len(trace.x) for trace in figure.data if trace.mode == "markers")
    collapsed = [int((evidence.outcomes[name].metrics["survival"] == 0).sum()) for name in names]
    assert crosses == sum(min(count, 60) for count in collapsed) > 0


def test_catches_count_lost_years_as_nothing(web):
    problem, policies, evidence = web
    figure = problem.figures()["catches"].draw(policies, evidence)
    name = figures_style.chosen(policies, evidence, 1)[0]
    played = figures_replay.play(problem, policies[name], evidence.seed, evidence.split, FUTURES)
    expected = 1e3 * np.median(np.nan_to_num(played.catch[:, :, 1]), axis=0)
    np.testing.assert_allclose(curves(figure, "x2")[figures_style.words(name)].y, expected, atol=1e-3)


def test_spread_leaves_lost_futures_out():
    values = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, np.nan]])
    low, middle, high = spread(values)
    assert (low[0], middle[0], high[0]) == (pytest.approx(1.1), 2.0, pytest.approx(2.9))
    assert np.isnan([low[1], middle[1], high[1]]).all()


def test_rule_of_one_species_is_what_policies_answer(one):
    problem, policies, evidence = one
    figure = problem.figures()["rule"].draw(policies, evidence)
    lines, scenario = curves(figure), problem.scenario
    escapement = scenario.tuned.constant_escapement[0]
    x = np.array(lines["constant escapement"].x)
    np.testing.assert_allclose(lines["constant escapement"].y, np.maximum(1 - escapement / x, 0), atol=1e-4)
    assert set(np.round(lines["constant mortality"].y, 6)) == {scenario.tuned.constant_mortality[0]}
    assert "optimum" in lines


def test_slices_hold_the_third_species_at_its_median(web):
    """A policy whose mortality of x is z / 2 and of y is x / 2: colours part in the first panel only."""
    problem, _, evidence = web
    rule = FunctionPolicy(lambda view, rng: 0.5 * view["stock"][:, [2, 0]])
    policies = {"constant_escapement": rule}
    played = figures_replay.play(problem, rule, evidence.seed, evidence.split, FUTURES)
    where = figures_rules.visited(played)
    figure = figures_rules.draw_slices(problem.scenario, ["z", "z"], lambda policy, found: played, policies, evidence)
    left, right = curves(figure, "x"), curves(figure, "x2")
    assert left["lowest"].y[3] == pytest.approx(0.5 * where.low[2], abs=1e-4)
    assert left["highest"].y[3] == pytest.approx(0.5 * where.high[2], abs=1e-4)
    assert set(right["low"].y) == {round(0.5 * where.middle[0], 4)}


def test_years_differ_for_a_policy_that_sees_them(kinds):
    problem, _, evidence = measured(kinds["drift"][0])
    rule = FunctionPolicy(lambda view, rng: np.tile(view["year"] / 100, (1, 2)))
    figure = problem.figures()["rule_years"].draw({"constant_escapement": rule}, evidence)
    seen = {trace.y[0] for trace in figure.data}
    assert seen == {0.0, 0.25, 0.49}
    assert [note.text for note in figure.layout.annotations][:3] == [
        f"year {year}: mortality of x" for year in (0, 25, 49)
    ]


def test_frontier_shows_means_with_their_intervals(web):
    problem, policies, evidence = web
    figure = problem.figures()["frontier"].draw(policies, evidence)
    marks = {trace.name: trace for trace in figure.data}
    for name in ("constant_mortality", "constant_escapement"):
        mark, own = marks[figures_style.words(name)], evidence.policies[name].objective
        assert mark.x[0] == evidence.outcomes[name].metrics["survival"].mean()
        assert (mark.y[0], mark.error_y.array[0]) == (own.mean, own.high - own.mean)
    left_out = next(note.text for note in figure.layout.annotations if "not drawn" in note.text)
    assert "no harvest" in left_out
    assert "no harvest" not in marks
    assert any(shape.x0 == shape.x1 == 0.95 for shape in figure.layout.shapes)


def test_frontier_joins_the_rules_that_no_other_beats(web):
    problem, policies, evidence = web
    points = [
        FrontierPoint(f"optimum: {k}", reward, 0.1, survival, 0.01, "some")
        for k, (reward, survival) in enumerate([(9.0, 0.97), (10.0, 0.95), (8.0, 0.96), (7.0, 1.0), (6.9, 0.98)])
    ]
    points.append(FrontierPoint("optimum_stationary: 5", 5.0, 0.1, 0.99, 0.01, "some"))
    found = {kind: [point.reward for point in front] for kind, front in frontiers(points).items()}
    assert found == {"optimum": [10.0, 9.0, 7.0], "optimum_stationary": [5.0]}
    scale = max(policy.objective.mean for policy in evidence.policies.values()) / 10
    scaled = [replace(point, reward=scale * point.reward) for point in points]
    figure = figures_methods.draw_frontier(problem.scenario, scaled, policies, evidence)
    line = next(trace for trace in figure.data if trace.name == "dynamic programming, sees the year")
    assert list(line.y) == pytest.approx([scale * reward for reward in found["optimum"]])
    assert list(line.error_x.array) == pytest.approx([0.0196] * 3)


def test_a_bound_for_those_who_keep_the_limit_is_drawn_where_it_is_kept(one):
    problem, policies, evidence = one
    bounds = {
        "dynamic_programming": BoundEvidence(3.0, "exact", 3.0, 3.0, "for all"),
        "lagrangian_dual": BoundEvidence(2.0, "relaxation", 2.0, 2.0, "for some"),
    }
    figure = figures_methods.draw_frontier(problem.scenario, [], policies, replace(evidence, bounds=bounds))
    starts = {shape.y0: shape.x0 for shape in figure.layout.shapes if shape.type == "line" and shape.y0 == shape.y1}
    assert starts[2.0] == 0.95
    assert starts[3.0] == figure.layout.xaxis.range[0] < 0.95


def test_a_sample_of_quantiles_has_the_mean_of_the_values():
    values = np.random.default_rng(0).gamma(2.0, size=20_000)
    assert figures_methods.sample(values).mean() == pytest.approx(values.mean(), rel=5e-3)


def test_policies_look_the_same_whatever_else_is_drawn():
    few = figures_style.looks({"ppo": True, "constant_mortality": False})
    many = figures_style.looks({"no_harvest": False, "constant_mortality": False, "optimum": False, "ppo": True})
    assert few.items() <= many.items()
    assert len(set(many.values())) == 4


def test_reference_point_of_one_species_is_the_best_of_a_scan(scenarios):
    """By simulation of every mortality, written down anew."""
    point = figures_model.reference_point(scenarios.one())
    mortality = np.linspace(0.0, 0.2, 4001)
    stock = np.full(4001, 0.7)
    for _ in range(3000):
        left = stock * (1 - mortality)
        stock = left + left * (1 - left) - 0.23 * left**2 / (left**2 + 0.01)
    catch = np.where(stock > 0.05, mortality * stock, 0.0)
    best = int(catch.argmax())
    assert point.mortality[0] == pytest.approx(mortality[best], abs=2e-4)
    assert point.stock[0] == pytest.approx(stock[best], abs=2e-3)
    assert point.catch == pytest.approx(catch[best], rel=1e-4)


def test_reference_point_of_a_web_beats_its_neighbours_and_lets_all_live(scenarios):
    """In a plain transcription of the model without noise."""
    point = figures_model.reference_point(scenarios.web())

    def lasting(first, second):
        x, y, z, least, caught = 0.5, 0.5, 0.7, 1.0, 0.0
        for _ in range(2000):
            caught = first * x + second * y
            x, y = x * (1 - first), y * (1 - second)
            eaten_x, eaten_y = 0.3 * z * x**2 / (0.09 + x**2), 1.1 * 0.3 * z * y**2 / (0.09 + y**2)
            lost = 0.1 * x * y
            rate = 0.1 * (x + 1.1 * y) - 0.1
            x, y, z = x + x * (1 - x) - eaten_x - lost, y + y * (1 - y) - eaten_y - lost, z * (1 + rate)
            least = min(least, x, y, z)
        return caught if least > 0.05 else 0.0

    best = lasting(*point.mortality)
    assert best == pytest.approx(point.catch, rel=1e-3)
    for move in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01), (0.01, -0.01), (-0.01, 0.01)):
        assert lasting(*(point.mortality + move)) <= best + 1e-6


def test_nothing_lasts_where_even_closed_fisheries_collapse(scenarios):
    doomed = scenarios.one(model={"kind": "one_species", "beta": 0.5})
    assert figures_model.reference_point(doomed) is None
    problem, policies, evidence = measured(doomed.with_changes(**SIZES, baselines=RULES))
    assert "no constant mortality" in problem.figures()["kobe"].draw(policies, evidence).layout.annotations[0].text


def test_kobe_counts_every_year_once(web):
    problem, policies, evidence = web
    played = figures_replay.play(problem, policies["f_msy"], evidence.seed, evidence.split, FUTURES)
    point = SimpleNamespace(stock=np.array([0.5, 0.5, 0.3]), mortality=np.array([0.25, 0.25]))
    biomass, fishing = ratios(played, 1, 1, point)
    assert len(biomass) == played.years.sum()
    stock, mortality = played.stock[:, :, 1] / 0.5, played.mortality[:, :, 1] / 0.25
    with np.errstate(invalid="ignore"):
        overfished = ((stock < 1) & (mortality > 1)).sum() / played.years.sum()
    shares = {name: share for name, share, _, _ in quadrants(biomass, fishing, 2.0, 2.0)}
    assert shares["overfished"] == pytest.approx(overfished)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_fixed_points_are_fixed_and_branches_are_what_they_are_called(one):
    """By the model's own step, and by where a stock beside a fixed point goes."""
    problem, policies, evidence = one
    figure = problem.figures()["stability"].draw(policies, evidence)
    checked = 0
    for trace in figure.data:
        for beta, stock in list(zip(trace.x, trace.y, strict=True))[5:-5:20]:
            growth = [x + x * (1 - x) - beta * x**2 / (x**2 + 0.01) - x for x in (stock, stock - 1e-3, stock + 1e-3)]
            assert growth[0] == pytest.approx(0.0, abs=1e-4)
            returns = growth[1] > 0 > growth[2]
            assert returns == trace.name.startswith("stable")
            checked += 1
    assert checked > 10
    assert {trace.name.split(":")[0] for trace in figure.data} == {"stable", "unstable"}
    assert "0.25" in figure.layout.annotations[0].text


def test_map_holds_the_scores_of_the_grid(web, monkeypatch):
    monkeypatch.setitem(tuning.FUTURES, 2, 2)
    scenario = web[0].scenario.with_changes(name="map")
    figure = figures_model.draw_escapements(scenario)
    heat = figure.data[0]
    row, column = 10, 30
    pair = np.array([[[heat.x[column]], [heat.y[row]]]])
    direct = score(scenario, "constant_escapement", pair, futures=2, seed=7)
    assert heat.z[row][column] == pytest.approx(direct.reward[0], abs=0.01)
    assert heat.customdata[row][column] == pytest.approx(direct.survival[0], abs=1e-3)
    best = figure.data[2]
    assert np.max(heat.z) == pytest.approx(heat.z[heat.y.tolist().index(best.y[0])][heat.x.tolist().index(best.x[0])])


def test_ridge_is_the_best_sum():
    values = np.linspace(0, 1, 11)
    reward = -np.abs(values[:, None] + values[None, :] - 0.9)
    assert figures_model.ridge(values, reward) == (pytest.approx(0.9), pytest.approx(0.0))

"""Published figures: as their files have them, and a protocol that is undone and redone exactly."""

import csv
import json
import math
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest

from interlock.core.errors import UsageError
from interlock.domains.fisheries import published, published_perturbed, rules
from interlock.domains.fisheries.baselines import rule
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.published_tables import COLUMNS, counterpart, findings
from interlock.domains.fisheries.tuning import grid

FILES = Path(__file__).parents[4] / "shared" / "data" / "fisheries"
STRATEGIES = {"CEsc": "constant_escapement", "CMort": "constant_mortality", "PPO": "ppo", "PPO+GP": "ppo_smoothed"}
MODELS = {"M1": "M1", "M1_low_beta": "M1b", "M1_low_beta_high_noise": "M1c", "M2": "M2", "M3": "M3", "M4": "M4"}
GREEDY = {"x": [[0.35]], "xy": [[0.32], [0.32]]}


def rows(name):
    if not (FILES / name).is_file():
        pytest.skip(f"no {name} in {FILES}")
    with (FILES / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def by_model():
    return {one["model"]: one for one in published.figures_in_print()["scenarios"].values()}


def test_strategies_are_those_of_the_published_files(by_model):
    found = [row for row in rows("published_strategy_results.csv") if row["model"] in MODELS]
    assert len(found) == 24
    for row in found:
        held = by_model[MODELS[row["model"]]]["strategies"][STRATEGIES[row["strategy"]]]
        assert held["reward"] == float(row["mean_reward"])
        assert held["sd"] == float(row["sd_reward"])
        assert held["full_length"] == float(row["full_length_fraction"])


def test_they_are_the_means_of_the_published_episodes(by_model):
    episodes = defaultdict(list)
    for row in rows("published_episode_ends.csv"):
        model = {"M1b": "M1b", "M1c": "M1c"}.get(row["model"]) or MODELS[row["model"]]
        episodes[model, STRATEGIES[row["strategy"]]].append((float(row["reward"]), row["last_t"] == "199"))
    assert len(episodes) == 24
    for (model, strategy), told in episodes.items():
        held, (rewards, lasted) = by_model[model]["strategies"][strategy], zip(*told, strict=True)
        assert len(told) == published.figures_in_print()["episodes"]
        assert held["reward"] == pytest.approx(mean(rewards), abs=1e-3)
        assert held["sd"] == pytest.approx(stdev(rewards), rel=0.01)
        assert held["full_length"] == mean(lasted)


def test_shares_of_the_best_mortality_are_those_of_the_published_file(by_model):
    for row in rows("published_fractional_cmort.csv"):
        shares = {one["share"]: one for one in by_model[row["model"]].get("shares", ())}
        if not shares:
            continue
        held = shares[float(row["fraction_of_optimal_cmort"])]
        assert [held["reward"], held["sd"], held["full_length"]] == [
            float(row[name]) for name in ("mean_reward", "sd_reward", "full_length_fraction")
        ]
        assert held["parameters"] == [float(row[name]) for name in ("mortality_x", "mortality_y") if row[name]]
    best = by_model["M4"]["strategies"]["constant_mortality"]["parameters"]
    for one in by_model["M4"]["shares"]:
        assert one["parameters"] == pytest.approx([one["share"] * value for value in best])


def test_perturbed_differences_are_those_of_the_published_file(by_model):
    draws = defaultdict(list)
    for row in rows("published_parameter_perturbation_M4.csv"):
        draws[float(row["NoiseStrength"])].append((float(row["PPO_vs_CEsc"]), float(row["GPPPO_vs_CEsc"])))
    assert len(draws) == len(by_model["M4"]["perturbed"]) == 5
    for one in by_model["M4"]["perturbed"]:
        told = draws[one["noise"]]
        assert one["draws"] == len(told)
        for column, name in enumerate(("ppo", "ppo_smoothed")):
            values = [row[column] for row in told]
            assert one[name]["difference"] == pytest.approx(mean(values), abs=1e-4)
            assert one[name]["sd"] == pytest.approx(stdev(values), abs=1e-4)


def logged_before_each_step(problem, policy, count):
    """``(last year, running sum)`` of every episode, logged as the published evaluation did: before the step."""
    environment = problem.environment(count, seed=problem.scenario.evaluation.test_seed, split="test")
    view, total, alive, log = environment.reset(), np.zeros(count), np.ones(count, bool), {}
    for year in range(problem.scenario.horizon):
        for row in np.flatnonzero(alive):
            log[row] = (year, total[row])
        step = environment.step(policy.act(view, deterministic=True))
        total += step.reward
        alive &= ~step.done
        view = step.observation
    return [log[row] for row in range(count)]


@pytest.mark.parametrize("harvested", ["x", "xy"])
def test_without_the_last_year_is_what_the_published_log_holds(harvested, scenarios):
    scenario = scenarios.web(harvested=list(harvested), horizon=60, initial=[0.3, 0.3, 0.1])
    problem = build(scenario.with_changes(evaluation={"test_instances": 80, "num_envs": 80}))
    policy = rule(scenario, "constant_mortality", np.array(GREEDY[harvested]))
    found = published.fresh(problem, policy)
    years, rewards = zip(*logged_before_each_step(problem, policy, 80), strict=True)
    assert found.cut.mean == pytest.approx(mean(rewards), abs=1e-9)
    assert found.sd == pytest.approx(stdev(rewards), abs=1e-9)
    assert 0 < found.full_length.mean == mean(year == 59 for year in years) < 1
    assert found.survival.low < found.survival.mean <= found.full_length.mean
    assert found.reward.mean != found.cut.mean


@pytest.mark.parametrize("kind", ["one", "web"])
def test_the_search_tells_the_last_year_apart_as_the_environment_does(kind, scenarios):
    scenario = getattr(scenarios, kind)(horizon=40, initial=[0.2] if kind == "one" else [0.3, 0.3, 0.1])
    parameters = np.array(GREEDY["x" if kind == "one" else "xy"])
    found = rules.score(scenario, "constant_mortality", parameters[None], futures=60, seed=4)
    environment = published.WithLastYear(build(scenario).environment(60, seed=4, split="train"))
    outcome = published.run_instances(environment, rule(scenario, "constant_mortality", parameters), 60)
    assert found.last_year[0] == pytest.approx(outcome.metrics["last_year"].mean(), abs=1e-9)
    assert found.full_length[0] == pytest.approx((outcome.steps == 40).mean())
    assert found.last_year[0] < 0.0, "collapses are in it"


@pytest.mark.parametrize("kind", ["one", "web"])
def test_each_search_is_told_on_its_own_episodes(kind, scenarios):
    scenario = getattr(scenarios, kind)(horizon=15)
    caught, seed = len(scenario.harvested), published.FIRST_SEED
    found = published.same_episodes(scenario, "constant_mortality", repetitions=4)
    points = grid("constant_mortality", caught)
    searches = [rules.score(scenario, "constant_mortality", points, futures=100, seed=seed + k) for k in range(4)]
    bests = [one.reward.max() for one in searches]
    cuts = [(one.reward - one.last_year).max() for one in searches]
    assert found.reward.mean == pytest.approx(mean(bests)), "what is dropped after the first search is never the best"
    assert found.cut.mean == pytest.approx(mean(cuts))
    assert min(cuts) <= found.cut_range[0] <= found.cut_range[1] <= max(cuts)


def test_parameters_that_are_not_off_give_the_difference_of_the_rules(scenarios):
    scenario = scenarios.web(horizon=30)
    policy = rule(scenario, "constant_mortality", np.array(scenario.tuned.constant_mortality))
    (found,) = published_perturbed.differences(scenario, {"same": policy}, [0.0], seed=3, draws=4)
    assert found.kept == 4
    assert np.allclose(found.strategies["same"], found.strategies["constant_mortality"], rtol=0, atol=1e-9)
    for draw in range(4):
        means = [
            rules.score(
                scenario, kind, np.reshape(getattr(scenario.tuned, kind), (1, 2, 1)), futures=100, seed=3 + draw
            )
            for kind in ("constant_mortality", "constant_escapement")
        ]
        difference = means[0].reward[0] - means[1].reward[0]
        assert found.strategies["same"][draw] == pytest.approx(difference)


def test_draws_under_which_unfished_stocks_die_are_dropped(scenarios):
    found = published_perturbed.differences(scenarios.web(), {}, [0.02, 0.3], draws=25)
    assert found[0].kept == 25 > found[1].kept > 2
    assert found[1].strategies["constant_mortality"].std() > found[0].strategies["constant_mortality"].std()


def test_the_verb_shows_print_and_ours_side_by_side(scenarios):
    scenario = scenarios.one(name="may_safe", horizon=10, evaluation={"test_instances": 200})
    problem, told = build(scenario), []
    policies = {"ppo": rule(scenario, "constant_mortality", np.array([0.1]))}
    found = published.play(problem, policies, 0, lambda done, total: told.append(done / total))
    values = json.loads(json.dumps(found.values))["strategies"]
    assert values["ppo"]["in_print"] == {"reward": 5.9193, "sd": 0.3797, "full_length": 1.0}
    assert values["ppo_smoothed in print"].keys() == {"in_print"}
    both = values["constant_escapement"]["both"]
    assert both["from"] < both["mean"] < both["to"]
    assert "same_episodes" not in values["ppo"]
    assert [row[0] for row in found.rows] == [name.replace("_", " ") for name in values]
    assert {len(row) for row in found.rows} == {len(COLUMNS)}
    assert told == sorted(told)
    assert math.isclose(told[-1], 1.0)
    assert found.figures["strategies"][2].data
    assert "numbers of may_safe were changed" not in " ".join(found.notes), "the fixture's parameters fit its numbers"
    other = published.play(build(scenario.with_changes(penalty=1.0)), {}, 0, lambda done, total: None)
    assert "numbers of may_safe were changed" in " ".join(other.notes)


def test_learned_policies_stand_beside_those_in_print():
    names = ("ppo", "ppo (run)", "ppo_gp", "gp_smoothing", "ppo_constrained", "pathwise", "constant_mortality")
    assert [counterpart(name) for name in names] == ["ppo", "ppo", "ppo_smoothed", "ppo_smoothed", None, None, None]


def test_differences_where_parameters_are_off_are_shown_for_the_scenario_they_were_published_for(scenarios):
    scenario = scenarios.web(name="web_drift", horizon=5, evaluation={"test_instances": 50})
    found = published.play(build(scenario), {}, 0, lambda done, total: None)
    assert [one["noise"] for one in found.values["perturbed"]] == [0.04, 0.08, 0.12, 0.16, 0.2]
    assert found.values["perturbed"][4]["in_print"]["draws"] == 53
    share = found.values["strategies"]["0.90 of constant_mortality in print"]
    assert share["in_print"]["with_last_year"]
    assert found.rows[list(found.values["strategies"]).index("0.90 of constant_mortality in print")][1] == (
        "41.35 (3.19) with last year"
    )
    assert set(found.figures) == {"strategies", "perturbed"}


@pytest.mark.parametrize("kept", [0, 1])
def test_a_difference_needs_two_draws(kept, by_model):
    printed = {**by_model["M4"], "perturbed": by_model["M4"]["perturbed"][:2]}
    few = published_perturbed.Difference(0.04, {"constant_mortality": np.full(kept, 3.0)})
    some = published_perturbed.Difference(0.08, {"constant_mortality": np.array([3.0, 5.0])})
    found = findings(published.Measured(printed, {}, {}, [few, some]), [])
    assert [one["kept"] for one in found.values["perturbed"]] == [kept, 2]
    first, second = (one["differences"]["constant_mortality"] for one in found.values["perturbed"])
    assert first is None
    assert (second["mean"], second["sd"]) == (4.0, pytest.approx(2**0.5))
    assert f"{kept} of 100 draws kept" in found.notes[-2]
    assert "a difference needs at least two draws" in found.notes[-2]
    assert "a difference needs" not in found.notes[-1]
    json.dumps(found.values, allow_nan=False)


def test_a_scenario_without_published_figures_is_refused(scenarios):
    with pytest.raises(UsageError, match="web: no figures were published for it; they were for: may_tipping"):
        published.play(build(scenarios.web(horizon=5)), {}, 0, lambda done, total: None)

"""Evidence: same instances for all, honest about constraints, bounds and losing, and back from disk unchanged."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tiny_problem import CONSTRAINTS, TinyEnvironment, TinyProblem, random_order, top_up

from interlock.core.environment import Step
from interlock.core.errors import BadInput, BrokenEnvironment, UsageError
from interlock.core.evaluation.evidence import evaluate_policies, summarise
from interlock.core.evaluation.protocol import Outcomes
from interlock.core.evaluation.record import Evidence, describe_difference, rounded
from interlock.core.evaluation.statistics import Estimate
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Bound, Constraint, Objective
from interlock.core.scenario import EvaluationSettings


def idle(observation: Any, rng: np.random.Generator) -> np.ndarray:
    return np.zeros(len(observation["stock"]), int)


def policies(**more: FunctionPolicy) -> dict[str, FunctionPolicy]:
    return {"random": FunctionPolicy(random_order, 5), "top_up": FunctionPolicy(top_up), **more}


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return evaluate_policies(TinyProblem(), policies(idler=FunctionPolicy(idle)))


def made_up(costs: np.ndarray, constraint: Constraint, steps: np.ndarray | None = None) -> Any:
    """What the evidence says of one constraint after these episode sums."""
    problem = TinyProblem()
    problem.constraints = (constraint,)
    count = len(costs)
    steps = np.ones(count, int) if steps is None else steps
    outcome = Outcomes(
        np.zeros(count), costs[:, None], costs[:, None] > 0, steps, np.ones(count), {"days": np.ones(count)}
    )
    found = summarise(problem, {"top_up": outcome}, {}, {"top_up": 1.0}, split="test", seed=0)
    return found.policies["top_up"].constraints[constraint.name]


def test_json_has_the_documented_shape_and_only_finite_numbers(evidence: Evidence) -> None:
    shown = json.loads(json.dumps(evidence.to_json(), allow_nan=False))
    assert set(shown) == {"policies", "bounds"}
    assert set(shown["policies"]) == {"top_up", "random", "idler"}
    for policy in shown["policies"].values():
        assert {"mean", "low", "high"} <= set(policy["objective"])
        assert isinstance(policy["decision_ms"], float)
        assert list(policy["constraints"]) == [constraint.name for constraint in CONSTRAINTS]
        for entry in policy["constraints"].values():
            assert {"mean", "low", "high", "limit", "satisfied"} <= set(entry)
            assert isinstance(entry["satisfied"], bool)
        assert set(policy["metrics"]["days"]) == {"mean", "low", "high", "unit"}
    assert {"value", "kind"} <= set(shown["bounds"]["all_sold"])
    assert shown["bounds"]["all_sold"]["kind"] == "perfect_information"


def test_all_policies_play_the_scenarios_test_instances(evidence: Evidence) -> None:
    problem = TinyProblem()
    assert (evidence.instances, evidence.seed, evidence.split) == (60, problem.scenario.evaluation.test_seed, "test")
    asked = problem.bounds()["all_sold"].compute("test", 60)
    for outcome in evidence.outcomes.values():
        assert outcome.objective.shape == (60,)
        assert np.all(outcome.objective <= asked)
    assert np.array_equal(evidence.bound_values["all_sold"], asked)
    assert evidence.scenario_hash == problem.scenario.hash()


def test_a_policy_gets_the_same_result_whoever_else_is_compared(evidence: Evidence) -> None:
    alone = evaluate_policies(TinyProblem(), {"random": FunctionPolicy(random_order, 77)}, bounds=False)
    assert np.array_equal(alone.outcomes["random"].objective, evidence.outcomes["random"].objective)
    assert alone.policies["random"].objective == evidence.policies["random"].objective
    assert alone.bounds == {}
    assert alone.policies["random"].score is None
    assert alone.reference_heuristic is None  # top_up was not played


def test_objective_figures_are_those_of_the_instances(evidence: Evidence) -> None:
    values, found = evidence.outcomes["random"].objective, evidence.policies["random"].objective
    assert found.mean == pytest.approx(values.mean())
    assert found.median == np.median(values)
    assert found.iqm == pytest.approx(stats.trim_mean(values, 0.25))
    assert found.worst_decile == pytest.approx(np.sort(values)[:6].mean())
    assert found.quantile_5 == pytest.approx(np.quantile(values, 0.05))
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.mean < found.high


def test_score_is_zero_at_the_heuristic_and_one_at_the_bound(evidence: Evidence) -> None:
    heuristic, bound = evidence.outcomes["top_up"].objective.mean(), evidence.bound_values["all_sold"].mean()
    assert (evidence.reference_heuristic, evidence.reference_bound) == ("top_up", "all_sold")
    assert evidence.policies["top_up"].score == Estimate(0.0, 0.0, 0.0)
    score = evidence.policies["idler"].score
    assert score is not None
    assert score.mean == pytest.approx((0.0 - heuristic) / (bound - heuristic))
    assert score.low < score.mean < score.high < 0
    gap = evidence.policies["idler"].gap
    assert gap is not None
    assert gap.mean == pytest.approx(bound)


def test_references_follow_the_scenario() -> None:
    problem = TinyProblem()
    settings = problem.scenario.evaluation.model_dump() | {
        "reference_heuristic": "random",
        "reference_bound": "mean_demand",
    }
    problem.scenario = problem.scenario.model_copy(update={"evaluation": EvaluationSettings(**settings)})
    found = evaluate_policies(problem, policies())
    assert (found.reference_heuristic, found.reference_bound) == ("random", "mean_demand")
    assert found.policies["random"].score == Estimate(0.0, 0.0, 0.0)


def test_differences_are_paired(evidence: Evidence) -> None:
    values = evidence.outcomes["random"].objective - evidence.outcomes["top_up"].objective
    found = evidence.policies["random"].vs_reference
    assert found is not None
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std(ddof=1) / np.sqrt(60), rel=0.15)
    assert evidence.policies["top_up"].vs_reference is None


def test_feasible_policies_rank_first_and_the_best_baseline_is_feasible() -> None:
    problem = TinyProblem()
    problem.constraints = (replace(CONSTRAINTS[0], limit=0.2), *CONSTRAINTS[1:])  # top_up keeps too much in stock
    found = evaluate_policies(problem, policies(idler=FunctionPolicy(idle)))
    assert [found.policies[name].feasible for name in ("top_up", "idler")] == [False, False]  # idler: always sold out
    assert list(found.policies)[-1] == "idler"
    problem.constraints = (replace(CONSTRAINTS[0], limit=0.2), replace(CONSTRAINTS[1], limit=1.0), CONSTRAINTS[2])
    found = evaluate_policies(problem, policies(idler=FunctionPolicy(idle)))
    assert next(iter(found.policies)) == "idler"
    assert found.policies["idler"].rank == 1
    assert found.policies["idler"].objective.mean < found.policies["top_up"].objective.mean
    assert found.best_baseline in ("top_up", "random")


def test_cumulative_and_mean_constraints_allow_two_per_cent_at_the_upper_limit() -> None:
    costs = np.random.default_rng(0).normal(10.0, 1.0, 400)
    upper = made_up(costs, Constraint("c", "cumulative", 10.0, "kg")).high
    assert made_up(costs, Constraint("c", "cumulative", upper / 1.0199, "kg")).satisfied
    assert not made_up(costs, Constraint("c", "cumulative", upper / 1.0201, "kg")).satisfied
    steps = np.full(400, 5)
    mean = made_up(costs, Constraint("c", "mean", 2.05, "kg"), steps)
    assert mean.mean == pytest.approx(costs.mean() / 5)
    assert mean.satisfied
    assert mean.share_within == pytest.approx(np.mean(costs / 5 <= 2.05))


def test_chance_constraints_use_the_exact_binomial_interval() -> None:
    costs = np.concatenate([np.zeros(95), np.full(5, 3.0)])
    entry = made_up(costs, Constraint("c", "chance", 0.12, "share"))
    assert (entry.mean, entry.share_within) == (0.05, 0.95)
    assert entry.low == pytest.approx(stats.beta.ppf(0.025, 5, 96))
    assert entry.high == pytest.approx(stats.beta.ppf(0.975, 6, 95))
    assert entry.satisfied
    assert not made_up(costs, Constraint("c", "chance", 0.06, "share")).satisfied
    never = made_up(np.zeros(100), Constraint("c", "chance", 0.01, "share"))
    assert not never.satisfied  # none in 100 proves no more than 3.6 %


def test_hard_constraints_must_hold_on_every_instance() -> None:
    costs = np.zeros(200)
    assert made_up(costs, Constraint("c", "hard", 0.0, "times")).satisfied
    costs[17] = 1.0
    entry = made_up(costs, Constraint("c", "hard", 0.0, "times"))
    assert not entry.satisfied
    assert (entry.worst, entry.share_within) == (1.0, 0.995)
    assert made_up(costs, Constraint("c", "hard", 1.0, "times")).satisfied


def test_cvar_constraints_look_at_the_worst_share() -> None:
    costs = np.random.default_rng(1).gamma(2.0, size=500)
    entry = made_up(costs, Constraint("c", "cvar", 6.0, "MWh", level=0.9))
    assert entry.mean == pytest.approx(np.sort(costs)[-50:].mean())
    assert entry.low < entry.mean < entry.high
    assert entry.satisfied == (entry.high <= 6.12)


def test_a_learned_policy_that_loses_is_reported_as_losing(evidence: Evidence) -> None:
    assert evidence.policies["idler"].learned
    assert not evidence.policies["top_up"].learned
    assert any("idler" in line and "below top_up, worse" in line for line in evidence.warnings)
    assert any("idler is not feasible: sold_out is 1 share" in line for line in evidence.warnings)
    twin = evaluate_policies(TinyProblem(), policies(twin=FunctionPolicy(top_up)))
    assert any("twin: no clear difference from top_up" in line for line in twin.warnings)


def test_a_learned_policy_that_wins_is_not_warned_about() -> None:
    found = evaluate_policies(TinyProblem(), {"random": FunctionPolicy(random_order), "better": FunctionPolicy(top_up)})
    assert found.policies["better"].rank == 1
    assert found.warnings == ()


def test_a_beaten_bound_is_shouted_about() -> None:
    problem = TinyProblem()
    low = Bound("low", "relaxation", lambda split, count: np.full(count, 14.0))
    mean = Bound("mean", "exact", lambda split, count: np.array(10.0))
    fair = Bound("fair", "exact", lambda split, count: np.array(500.0))
    problem.bounds = lambda: {"low": low, "mean": mean, "fair": fair}  # type: ignore[method-assign]
    found = evaluate_policies(problem, {"top_up": FunctionPolicy(top_up)})
    beaten = int(np.sum(found.outcomes["top_up"].objective > 14.0))
    assert beaten > 0
    assert f"PROBLEM: top_up is better than bound low on {beaten} of 60 instances" in found.warnings[0]
    assert "PROBLEM: top_up is better than bound mean" in found.warnings[1]
    assert not any("fair" in line for line in found.warnings)


def test_a_bound_for_those_who_keep_the_limits_says_nothing_of_others() -> None:
    problem = TinyProblem()
    low = Bound("low", "relaxation", lambda split, count: np.array(-1000.0), feasible_only=True)
    problem.bounds = lambda: {"low": low}  # type: ignore[method-assign]
    found = evaluate_policies(problem, policies(idler=FunctionPolicy(idle)))
    told = {name for name in found.policies if any(f"PROBLEM: {name} is better" in line for line in found.warnings)}
    assert told == {name for name, policy in found.policies.items() if policy.feasible}
    assert "idler" not in told


def test_minimised_objectives_turn_every_comparison_round() -> None:
    problem = TinyProblem()
    problem.objective = Objective("cost", "EUR", "minimise", per_reward=-2.0)
    problem.bounds = lambda: {  # type: ignore[method-assign]
        "floor": Bound("floor", "relaxation", lambda split, count: np.full(count, -1000.0))
    }
    found = evaluate_policies(problem, policies(idler=FunctionPolicy(idle)))
    assert found.policies["top_up"].objective.mean < 0
    assert next(iter(found.policies)) == "top_up"
    gap = found.policies["top_up"].gap
    assert gap is not None
    assert gap.mean > 0
    values = found.outcomes["top_up"].objective
    assert found.policies["top_up"].objective.worst_decile == pytest.approx(np.sort(values)[-6:].mean())
    assert any("idler" in line and "above top_up, worse" in line for line in found.warnings)
    assert not any("PROBLEM" in line for line in found.warnings)


def test_bounds_per_instance_are_left_out_for_another_seed() -> None:
    found = evaluate_policies(TinyProblem(), policies(), seed=3, instances=30)
    assert (found.seed, found.instances, list(found.bounds)) == (3, 30, ["mean_demand"])
    assert any("bound all_sold is left out" in line for line in found.warnings)


def test_nothing_to_evaluate_and_missing_metrics_are_errors() -> None:
    with pytest.raises(UsageError, match="no policies"):
        evaluate_policies(TinyProblem(), {})

    class Silent(TinyEnvironment):
        def step(self, action: np.ndarray) -> Step:
            step = super().step(action)
            return replace(step, info={"instance": step.info["instance"]})

    problem = TinyProblem()
    problem.environment_class = Silent
    with pytest.raises(BrokenEnvironment, match="metric days is missing"):
        evaluate_policies(problem, policies())


def test_progress_names_what_is_played() -> None:
    told: list[tuple[str, int, int]] = []
    evaluate_policies(TinyProblem(), policies(), progress=lambda name, done, total: told.append((name, done, total)))
    assert {name: (done, total) for name, done, total in told} == dict.fromkeys(
        ("random", "top_up", "all_sold", "mean_demand"), (60, 60)
    )


def test_evidence_comes_back_from_disk_unchanged(evidence: Evidence, tmp_path: Path) -> None:
    evidence.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evidence.json", "evidence.npz"]
    again = Evidence.load(tmp_path)
    assert again.to_json() == evidence.to_json()
    for name in ("domain", "scenario", "scenario_hash", "split", "seed", "instances", "objective", "warnings"):
        assert getattr(again, name) == getattr(evidence, name)
    assert list(again.policies) == list(evidence.policies)
    for name, outcome in evidence.outcomes.items():
        assert str(asdict(again.outcomes[name])) == str(asdict(outcome))
    for name, values in evidence.bound_values.items():
        assert np.array_equal(again.bound_values[name], values)
        assert again.bound_values[name].shape == values.shape


def test_damaged_or_foreign_evidence_is_refused(evidence: Evidence, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"evidence\.json"):
        Evidence.load(tmp_path)
    evidence.save(tmp_path)
    path = tmp_path / "evidence.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "format": 99}))
    with pytest.raises(BadInput, match="format"):
        Evidence.load(tmp_path)
    path.write_text(json.dumps(whole)[:-40])
    with pytest.raises(BadInput, match="cannot be read"):
        Evidence.load(tmp_path)


def test_csv_rows_are_flat_and_alike(evidence: Evidence) -> None:
    rows = evidence.to_csv_rows()
    assert [row["name"] for row in rows] == [*evidence.policies, *evidence.bounds]
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["objective.mean"] == evidence.policies[rows[0]["name"]].objective.mean
    assert rows[0]["constraints.stock.satisfied"] in (True, False)
    assert rows[-1]["is_bound"]
    assert not any(isinstance(value, dict) for row in rows for value in row.values())


def test_differences_in_words() -> None:
    loss = Estimate(-4.2, -4.6, -3.8)
    assert describe_difference("net", loss, "rule", "%", "maximise") == (
        "net: 4.20 points below rule, worse (95 % interval −4.60 to −3.80)"
    )
    assert "below rule, better" in describe_difference("net", loss, "rule", "EUR", "minimise")
    assert "no clear difference from rule" in describe_difference(
        "net", Estimate(0.1, -0.2, 0.4), "rule", "%", "maximise"
    )


def test_rounding_keeps_three_digits_of_the_size() -> None:
    assert rounded(66.9321, 66.9) == "66.9"
    assert rounded(1234567.8, 1e6) == "1,234,568"
    assert rounded(-0.00123456, 0.001, signed=True) == "−0.00123"
    assert rounded(0.0, 0.0) == "0.00"

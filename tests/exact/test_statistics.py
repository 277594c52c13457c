"""Statistics of the evidence (core methods, section 9) against answers computed another way."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import optimize, stats

from interlock.core.evaluation.representatives import representatives
from interlock.core.evaluation.statistics import (
    Estimate,
    bootstrap,
    clopper_pearson_upper,
    iqm,
    mean,
    median,
    normalised_score,
    paired_bootstrap,
    percentile_interval,
    performance_profile,
    resample_rows,
    resampled,
    worst_decile,
)
from interlock.core.evaluation.verdicts import ranks, relative_excess, share_satisfied, within

# Aggregates and bootstrap -----------------------------------------------------------------------------------------


def test_aggregates_of_one_to_forty() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 41.0))
    assert iqm(values) == np.arange(11.0, 31.0).mean() == stats.trim_mean(values, 0.25)
    assert mean(values) == median(values) == 20.5
    assert worst_decile(values, "maximise") == 2.5
    assert worst_decile(values, "minimise") == 38.5


@pytest.mark.parametrize("count", [1, 2, 5, 8, 33])
def test_median_is_the_half_quantile_along_the_last_axis(count: int) -> None:
    values = np.random.default_rng(count).gamma(1.0, size=(4, count))
    assert median(values) == pytest.approx([stats.scoreatpercentile(row, 50) for row in values], rel=1e-12)


def test_bootstrap_draws_follow_the_enumeration_of_all_samples() -> None:
    values = np.array([0.3, -1.0, 2.5, 0.9])
    every = np.array([np.mean(sample) for sample in product(values, repeat=4)])  # 256 equally likely samples
    draws = resampled(values, mean, resample_rows(4, resamples=200_000))
    grid = np.linspace(-1, 2.5, 36) + 1e-6
    exact = (every[:, None] <= grid).mean(axis=0)
    assert np.abs((draws[:, None] <= grid).mean(axis=0) - exact).max() < 0.005  # 4.5 standard errors at the worst


def test_stratified_bootstrap_follows_the_enumeration_within_strata() -> None:
    values, strata = np.array([0.0, 1.0, 5.0, 9.0, 10.0]), np.array([3, 3, 8, 8, 8])
    every = np.array(
        [np.mean([*low, *high]) for low in product(values[:2], repeat=2) for high in product(values[2:], repeat=3)]
    )
    draws = resampled(values, mean, resample_rows(5, strata=strata, resamples=200_000, seed=1))
    grid = np.linspace(3, 6.6, 30) + 1e-6
    assert np.abs((draws[:, None] <= grid).mean(axis=0) - (every[:, None] <= grid).mean(axis=0)).max() < 0.005


def test_paired_interval_of_a_gaussian_difference_covers_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(11), 0
    studies = 700
    for study in range(studies):
        shared = rng.normal(0, 20, 80)
        found = paired_bootstrap(shared + rng.normal(0.5, 1, 80), shared, resamples=1000, seed=study)
        inside += found.low <= 0.5 <= found.high
    assert 0.93 <= inside / studies <= 0.97


def test_order_of_the_seeds_changes_nothing_in_any_statistic() -> None:
    scores = np.random.default_rng(5).normal(size=(4, 30))
    shuffled = scores[[2, 0, 3, 1]]
    thresholds = np.linspace(-2, 2, 9)
    for statistic in (iqm, mean, median, lambda values: worst_decile(values, "maximise")):
        assert statistic(shuffled.ravel()) == pytest.approx(statistic(scores.ravel()), rel=1e-12)
        first = bootstrap(scores.ravel(), statistic, strata=np.repeat([7, 8, 9, 10], 30))
        second = bootstrap(shuffled.ravel(), statistic, strata=np.repeat([9, 7, 10, 8], 30))
        assert (second.low, second.high) == pytest.approx((first.low, first.high), rel=1e-12)
    assert np.array_equal(
        performance_profile(scores.ravel(), thresholds), performance_profile(shuffled.ravel(), thresholds)
    )


# Normalised score -------------------------------------------------------------------------------------------------


def test_normalised_score_is_zero_at_the_heuristic_and_one_at_the_bound() -> None:
    rng, rows = np.random.default_rng(3), resample_rows(60)
    heuristic = rng.normal(10, 2, 60)
    bound = heuristic + rng.gamma(2, size=60)
    assert normalised_score(heuristic, heuristic, bound, rows) == Estimate(0.0, 0.0, 0.0)
    assert normalised_score(bound, heuristic, bound, rows) == Estimate(1.0, 1.0, 1.0)
    part = normalised_score(heuristic + 0.3 * (bound - heuristic), heuristic, bound, rows)
    assert (part.mean, part.low, part.high) == pytest.approx((0.3, 0.3, 0.3), rel=1e-9)
    mirrored = normalised_score(-(heuristic + 0.3 * (bound - heuristic)), -heuristic, -bound, rows)
    assert mirrored.mean == pytest.approx(0.3)


def test_normalised_score_resamples_policy_heuristic_and_bound_together() -> None:
    rng, rows = np.random.default_rng(4), resample_rows(40, resamples=300)
    achieved, heuristic = rng.normal(12, 1, 40), rng.normal(10, 1, 40)
    found = normalised_score(achieved, heuristic, np.float64(15.0), rows)
    draws = [(achieved[r].mean() - heuristic[r].mean()) / (15.0 - heuristic[r].mean()) for r in rows]
    assert found.mean == pytest.approx((achieved.mean() - heuristic.mean()) / (15.0 - heuristic.mean()))
    assert (found.low, found.high) == pytest.approx(percentile_interval(np.array(draws)))


def test_no_normalised_score_where_the_heuristic_may_reach_the_bound() -> None:
    heuristic = np.array([1.0, 2.0, 3.0])
    assert normalised_score(heuristic + 1, heuristic, heuristic.copy(), resample_rows(3)) is None


# Constraints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "count"), [(0, 100), (3, 100), (1, 1), (7, 12), (40, 2000)])
def test_upper_limit_of_a_rate_solves_the_binomial_equation(successes: int, count: int) -> None:
    if successes == count:
        expected = 1.0
    else:
        expected = optimize.brentq(lambda p: stats.binom.cdf(successes, count, p) - 0.05, 1e-9, 1 - 1e-9, xtol=1e-14)
    assert clopper_pearson_upper(successes, count) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("count", [100, 1000, 10_000])
def test_nothing_seen_allows_three_in_n(count: int) -> None:
    assert clopper_pearson_upper(0, count) == pytest.approx(-np.log(0.05) / count, rel=0.02)
    assert clopper_pearson_upper(0, count) == pytest.approx(3 / count, rel=0.02)


def test_upper_limit_covers_with_its_confidence() -> None:
    limits = np.array([clopper_pearson_upper(k, 30) for k in range(31)])
    for rate in np.linspace(0.005, 0.995, 100):
        assert stats.binom.pmf(np.arange(31), 30, rate)[limits >= rate].sum() >= 0.95 - 1e-12


def test_relative_excess_of_an_exponential_cost() -> None:
    # Above the limit d, an exponential cost of mean 1 exceeds it by exp(-d) in the mean; its 95 % quantile is log 20.
    costs = -np.log1p(-(np.arange(200_000) + 0.5) / 200_000)
    found = relative_excess(costs, 2.0)
    assert found.mean == pytest.approx(np.exp(-2.0) / 2.0, rel=1e-3)
    assert found.quantile_95 == pytest.approx((np.log(20.0) - 2.0) / 2.0, rel=1e-3)
    assert share_satisfied(costs, 2.0) == pytest.approx(1 - np.exp(-2.0), abs=1e-5)


def test_relative_excess_of_negative_and_zero_limits() -> None:
    coverage = -np.array([0.8, 0.9, 0.95, 0.7])  # at least 0.9 is asked for
    found = relative_excess(coverage, -0.9)
    assert found.mean == pytest.approx((0.1 + 0.2) / 0.9 / 4)
    assert share_satisfied(coverage, -0.9) == 0.5
    assert relative_excess(np.array([0.0, 3.0]), 0.0, floor=10.0).mean == pytest.approx(0.15)
    with pytest.raises(ValueError, match="floor"):
        relative_excess(np.array([0.0, 3.0]), 0.0)


@pytest.mark.parametrize(
    ("high", "limit", "satisfied"),
    [(10.19, 10.0, True), (10.21, 10.0, False), (-9.81, -10.0, True), (-9.79, -10.0, False), (0.0, 0.0, True)],
)
def test_feasible_is_the_upper_limit_within_two_percent(high: float, limit: float, satisfied: bool) -> None:
    assert within(Estimate(high - 5.0, high - 10.0, high), limit) is satisfied


def test_a_mean_on_the_edge_is_not_called_feasible() -> None:
    # At a true mean of 1.02 d the upper 95 % limit is above 1.02 d in 97.5 % of studies.
    studies = np.random.default_rng(9).normal(1.02, 0.2, size=(600, 100))
    called = np.mean([within(bootstrap(study, resamples=500), 1.0) for study in studies])
    assert called <= 0.05


@pytest.mark.parametrize("sense", ["maximise", "minimise"])
def test_ranks_equal_counting_who_is_better(sense: str) -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        objective, feasible = rng.normal(size=7), rng.random(7) < 0.5
        sign = 1.0 if sense == "maximise" else -1.0
        score = [(bool(ok), sign * value) for ok, value in zip(feasible, objective, strict=True)]
        assert ranks(objective, feasible, sense).tolist() == [1 + sum(b > a for b in score) for a in score]
    assert ranks(np.array([2.0, 2.0, 3.0]), [True, True, False], "maximise").tolist() == [1, 2, 3]


# Representatives --------------------------------------------------------------------------------------------------


def spread_sum(features: np.ndarray, chosen: tuple[int, ...]) -> float:
    scaled = features / features.std(axis=0)
    return sum(min(np.linalg.norm(row - scaled[k]) for k in chosen) for row in scaled)


def test_representatives_against_every_choice_of_three() -> None:
    ratios = []
    for seed in range(12):
        features = np.random.default_rng(seed).normal(size=(13, 2)) * [1.0, 50.0]
        found = spread_sum(features, tuple(representatives(features, 3)))
        ratios.append(found / min(spread_sum(features, choice) for choice in combinations(range(13), 3)))
    assert max(ratios) < 1.05  # exchanges of one can end short of the optimum
    assert np.median(ratios) == pytest.approx(1.0, abs=1e-9)


def test_no_exchange_of_one_representative_is_better() -> None:
    features = np.random.default_rng(1).gamma(2.0, size=(60, 3))
    chosen = representatives(features, 10)
    assert len(set(chosen)) == 10
    reached = spread_sum(features, tuple(chosen))
    for position, incoming in product(range(10), range(60)):
        assert spread_sum(features, (*np.delete(chosen, position), incoming)) >= reached - 1e-9


def test_each_of_ten_groups_has_its_representative() -> None:
    rng = np.random.default_rng(2)
    centres = rng.permutation(10)[:, None] * [10.0, -3.0]
    features = np.concatenate([centres, np.repeat(centres, 20, axis=0) + rng.normal(0, 0.2, (200, 2))])
    chosen = representatives(features)
    groups = np.concatenate([np.arange(10), np.repeat(np.arange(10), 20)])
    assert sorted(groups[chosen]) == list(range(10))


def test_representatives_do_not_depend_on_order_or_units() -> None:
    rng = np.random.default_rng(8)
    features = rng.normal(size=(80, 3))
    order = rng.permutation(80)
    chosen = representatives(features)
    assert sorted(order[representatives(features[order])]) == chosen.tolist()
    rescaled = np.column_stack([features * [1e3, 1e-3, 1.0], np.full(80, 5.0)])
    assert representatives(rescaled).tolist() == chosen.tolist()
    assert representatives(features[:4], 4).tolist() == [0, 1, 2, 3]


def test_representatives_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="3 representatives of 2"):
        representatives(np.zeros((2, 1)), 3)
    with pytest.raises(ValueError, match="finite"):
        representatives(np.array([[1.0], [np.nan]]), 1)

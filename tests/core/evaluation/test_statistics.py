"""The statistics against answers computed another way."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from interlock.core.evaluation.statistics import (
    bootstrap,
    clopper_pearson,
    cvar,
    iqm,
    mean,
    paired_bootstrap,
    percentile_interval,
    performance_profile,
    probability_of_improvement,
    resample_rows,
    resampled,
    wilson,
    worst_decile,
)


def test_iqm_of_one_to_eight_is_four_and_a_half() -> None:
    assert iqm(np.arange(1.0, 9.0)) == 4.5


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 50, 101])
def test_iqm_equals_the_trimmed_mean_of_scipy(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(3, count)) ** 3
    assert np.allclose(iqm(values), stats.trim_mean(values, 0.25, axis=1), rtol=1e-12)


def test_worst_decile_is_the_mean_of_the_worst_tenth_by_sense() -> None:
    values = np.random.default_rng(0).permutation(np.arange(30.0))
    assert worst_decile(values, "maximise") == 1.0  # 0, 1, 2
    assert worst_decile(values, "minimise") == 28.0  # 27, 28, 29
    assert worst_decile(np.array([5.0, 1.0, 3.0]), "maximise") == 1.0
    assert worst_decile(np.stack([values, values + 1]), "maximise").tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("count", "level"), [(10, 0.9), (10, 0.85), (37, 0.95), (4, 0.99)])
def test_cvar_solves_the_program_of_rockafellar_and_uryasev(count: int, level: float) -> None:
    values = np.random.default_rng(count).gamma(2.0, size=count)
    program = min(eta + np.maximum(values - eta, 0).mean() / (1 - level) for eta in values)  # a corner is optimal
    assert cvar(values, level) == pytest.approx(program, rel=1e-12)


def test_cvar_of_a_normal_cost() -> None:
    level, sample = 0.9, np.random.default_rng(3).normal(2.0, 3.0, 400_000)
    exact = 2.0 + 3.0 * stats.norm.pdf(stats.norm.ppf(level)) / (1 - level)
    assert cvar(sample, level) == pytest.approx(exact, abs=0.03)


def test_resampling_in_chunks_equals_resampling_at_once() -> None:
    values, rows = np.random.default_rng(1).normal(size=900), resample_rows(900, seed=5)
    assert np.array_equal(resampled(values, mean, rows), values[rows].mean(axis=1))
    assert np.allclose(resampled(values, iqm, rows), stats.trim_mean(values[rows], 0.25, axis=1), rtol=1e-12)


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_bootstrap_interval_of_a_gaussian_covers_its_centre_as_often_as_it_says(statistic: Any) -> None:
    studies, rows = np.random.default_rng(7).normal(1.0, 2.0, size=(700, 80)), resample_rows(80, resamples=1000)
    intervals = np.array([percentile_interval(resampled(study, statistic, rows)) for study in studies])
    assert 0.93 <= np.mean((intervals[:, 0] <= 1.0) & (intervals[:, 1] >= 1.0)) <= 0.97


def test_stratified_resampling_keeps_the_size_of_every_stratum() -> None:
    strata = np.array([4, 4, 4, 9, 9, 4, 2])
    rows = resample_rows(7, strata=strata, resamples=500)
    assert np.array_equal(strata[rows], np.broadcast_to(strata, (500, 7)))
    inside = rows[:, strata == 4]
    assert set(np.unique(inside)) == {0, 1, 2, 5}


def test_stratified_interval_ignores_the_spread_between_strata() -> None:
    strata = np.repeat([0, 1], 50)
    values = np.random.default_rng(0).normal(size=100) + 100.0 * strata
    within, pooled = bootstrap(values, strata=strata), bootstrap(values)
    assert within.high - within.low < 0.6 < 10.0 < pooled.high - pooled.low


def test_order_of_the_seeds_changes_nothing() -> None:
    values = np.random.default_rng(2).normal(size=(3, 40))  # three training seeds
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        labels = np.repeat(np.array([11, 12, 13])[order], 40)
        found = bootstrap(values[order].ravel(), strata=labels)
        found_iqm = bootstrap(values[order].ravel(), iqm, strata=labels)
        if order == [0, 1, 2]:
            first, first_iqm = found, found_iqm
        assert (found.mean, found.low, found.high) == pytest.approx((first.mean, first.low, first.high), rel=1e-12)
        assert (found_iqm.low, found_iqm.high) == pytest.approx((first_iqm.low, first_iqm.high), rel=1e-12)


def test_same_seed_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).normal(size=60)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_pairing_removes_what_both_policies_share() -> None:
    rng = np.random.default_rng(4)
    shared = rng.normal(0, 10, 300)
    first, second = shared + rng.normal(0.5, 1, 300), shared + rng.normal(0, 1, 300)
    paired = paired_bootstrap(first, second)
    assert paired.mean == pytest.approx(first.mean() - second.mean())
    assert paired.low > 0.2
    assert paired.high < 0.9
    unpaired = bootstrap(first)
    assert unpaired.high - unpaired.low > 3 * (paired.high - paired.low)


def test_clopper_pearson_against_its_definition() -> None:
    for count in (1, 7, 40):
        for successes in range(count + 1):
            low, high = clopper_pearson(successes, count)
            if successes > 0:
                assert stats.binom.sf(successes - 1, count, low) == pytest.approx(0.025, abs=1e-9)
            if successes < count:
                assert stats.binom.cdf(successes, count, high) == pytest.approx(0.025, abs=1e-9)
    assert clopper_pearson(0, 100) == (0.0, pytest.approx(1 - 0.025**0.01))
    assert clopper_pearson(100, 100)[1] == 1.0


def test_wilson_against_scipy() -> None:
    from scipy.stats import binomtest

    for successes, count in [(0, 7), (1, 50), (25, 50), (499, 500), (12, 12)]:
        ours, theirs = wilson(successes, count), binomtest(successes, count).proportion_ci(method="wilson")
        assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high))
        assert ours.low <= ours.mean == successes / count <= ours.high
    with pytest.raises(ValueError, match="5 successes in 4 trials"):
        wilson(5, 4)


def test_clopper_pearson_of_no_violations_is_the_rule_of_three() -> None:
    assert clopper_pearson(0, 1000, level=0.90)[1] == pytest.approx(3 / 1000, rel=0.01)  # one-sided 95 %


def test_clopper_pearson_covers_every_probability() -> None:
    count, outcomes = 20, np.arange(21)
    intervals = np.array([clopper_pearson(int(k), count) for k in outcomes])
    for probability in np.linspace(0.01, 0.99, 99):
        inside = (intervals[:, 0] <= probability) & (probability <= intervals[:, 1])
        assert stats.binom.pmf(outcomes, count, probability)[inside].sum() >= 0.95


@pytest.mark.parametrize(("successes", "count"), [(-1, 5), (6, 5), (0, 0)])
def test_clopper_pearson_refuses_impossible_counts(successes: int, count: int) -> None:
    with pytest.raises(ValueError, match="trials"):
        clopper_pearson(successes, count)


def test_performance_profile_by_hand() -> None:
    scores = np.array([0.1, 0.5, 0.5, 0.9])
    assert performance_profile(scores, np.array([0.0, 0.1, 0.5, 0.89, 0.9])).tolist() == [1.0, 0.75, 0.25, 0.25, 0.0]


def test_probability_of_improvement_counts_pairs() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.integers(0, 6, 37).astype(float), rng.integers(0, 5, 23).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in first for b in second]
    assert probability_of_improvement(first, second) == pytest.approx(np.mean(pairs), rel=1e-12)
    assert probability_of_improvement(second, first) == pytest.approx(1 - np.mean(pairs), rel=1e-12)


def test_percentile_interval_is_the_middle_share() -> None:
    assert percentile_interval(np.arange(1001.0), level=0.9) == pytest.approx((50.0, 950.0))

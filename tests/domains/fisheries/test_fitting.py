"""Fits: noiseless truth, the model of the simulator, a grid search, errors of the survey, coverage of intervals."""

from typing import Any

import numpy as np
import pytest

from interlock.domains.fisheries import history
from interlock.domains.fisheries.fitting import (
    Fit,
    Task,
    at_bounds,
    correlations,
    fit,
    growth,
    log_growth,
    observed,
    slopes,
)
from interlock.domains.fisheries.fitting_bootstrap import bootstrap, intervals, warnings
from interlock.domains.fisheries.model import grown_one, grown_web
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.userdata_series import History

UNIT = 1000.0
WEB: dict[str, float] = {
    "r_x": 1.0, "r_y": 0.9, "K_x": 0.8, "K_y": 1.2, "beta": 0.3, "c": 0.3, "c_xy": 0.1, "b": 0.1, "d": 1.1, "d_z": 0.1,
    "trend": -0.004,
}  # fmt: skip
ONE = {"r": 0.8, "K": 1.3, "beta": 0.2, "c": 0.1, "trend": 0.0}


def one_species(seed: int = 0, *, years: int = 40, cv: float = 0.0, hard: float = 0.45, **model: float) -> History:
    """A stock that is fished hard and lightly by turns."""
    values: dict[str, Any] = {
        "name": "one",
        "model": {"kind": "one_species", "r": 0.8, "beta": 0.0, "sigma": 0.1, **model},
        "initial": [0.9],
        "tonnes": [UNIT],
        "observed": {"cv": cv},
    }
    mortality = np.where(np.arange(years) // 5 % 2 == 0, hard, 0.1)[:, None]
    found = history.played(FisheriesScenario.model_validate(values), mortality, seed=seed)
    assert found is not None
    return found


def task(*free: str, kind: str = "one_species", **fixed: float) -> Task:
    return Task(kind, free, fixed, np.full(1 if kind == "one_species" else 3, UNIT))


SCHAEFER = task("r", "K", beta=0.0, c=0.1, trend=0.0)


# ------------------------------------------------------------------------------------------ the model


def test_growth_is_that_of_the_simulator() -> None:
    rng = np.random.default_rng(1)
    stock, years = rng.uniform(0.05, 2.0, (50, 3)), rng.integers(0, 60, 50)
    web = {**WEB, "K_x": 1.0, "K_y": 1.0}
    for left, year, factor in zip(stock, years, growth("food_web", web, stock, years), strict=True):
        p = [web["r_x"] + web["trend"] * year, *(web[name] for name in ("r_y", "K_x", "K_y", "beta", "c", "c_xy"))]
        p += [web["b"], web["d"], web["d_z"], 0.0, 0.0, 0.0]
        expected = grown_web.py_func(*left, 0.0, 0.0, 0.0, np.array(p), int(year), False, False)
        np.testing.assert_allclose(factor * left, expected, rtol=1e-12)
    for left, factor in zip(stock[:, 0], growth("one_species", ONE, stock[:, :1], years)[:, 0], strict=True):
        p = [ONE["r"], ONE["K"], ONE["beta"] * ONE["K"], ONE["c"] * ONE["K"], 0.0]
        assert factor * left == pytest.approx(grown_one.py_func(left, 0.0, p), rel=1e-12)


@pytest.mark.parametrize(("kind", "p"), [("one_species", ONE), ("food_web", WEB)])
def test_slopes_are_derivatives_by_the_log_of_stocks(kind: str, p: dict[str, float]) -> None:
    rng = np.random.default_rng(2)
    stock, years = rng.uniform(0.05, 2.0, (20, 1 if kind == "one_species" else 3)), np.arange(20)
    found, step = slopes(kind, p, stock, years), 1e-6
    for j in range(stock.shape[1]):
        factor = np.where(np.arange(stock.shape[1]) == j, np.exp(step), 1.0)
        central = growth(kind, p, stock * factor, years) - growth(kind, p, stock / factor, years)
        np.testing.assert_allclose(found[:, :, j], central / (2 * step), atol=1e-8)


def test_logarithms_go_on_below_zero() -> None:
    values = log_growth(np.array([2.0, 1e-3, 0.0, -1.0]))
    assert values[0] == np.log(2.0)
    assert (np.diff(values) < 0).all()
    assert np.isfinite(values).all()


# ------------------------------------------------------------------------------------------ truth is found


def test_noiseless_single_species() -> None:
    found = fit(one_species(sigma=0.0), SCHAEFER)
    assert found.values["r"] == pytest.approx(0.8, rel=1e-6)
    assert found.values["K"] == pytest.approx(1.0, rel=1e-6)
    assert found.sigma[0] < 1e-3


def test_noiseless_single_species_with_grazers() -> None:
    found = fit(one_species(hard=0.25, sigma=0.0, beta=0.1), task("r", "K", "beta", "c", trend=0.0))
    truth = {"r": 0.8, "K": 1.0, "beta": 0.1, "c": 0.1}
    assert {name: found.values[name] for name in truth} == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("assumed", [("beta", "c"), ()], ids=["beta and c known", "all"])
def test_noiseless_web(assumed: tuple[str, ...]) -> None:
    quiet = {"kind": "food_web", "sigma_x": 0.0, "sigma_y": 0.0, "sigma_z": 0.0}
    drawn = history.scenario(model=quiet, observed={"cv": 0.0}, initial=(0.9, 0.3, 1.2), initial_sd=0.0)
    seen = history.played(drawn, history.effort())
    assert seen is not None
    truth = dict.fromkeys(("r_x", "r_y", "K_x", "K_y"), 1.0) | {
        "beta": 0.3, "c": 0.3, "c_xy": 0.1, "b": 0.1, "d": 1.1, "d_z": 0.1, "trend": -0.005,
    }  # fmt: skip
    free = tuple(name for name in truth if name not in assumed)
    found = fit(seen, Task("food_web", free, {name: truth[name] for name in assumed}, np.array(history.TONNES)))
    assert dict(found.values) == pytest.approx(truth, rel=1e-6)


def test_a_grid_search_finds_no_better_parameters() -> None:
    seen = one_species(seed=4)
    found = fit(seen, SCHAEFER)
    left = (seen.biomass - seen.catch)[:-1, 0] / UNIT
    y = np.log(seen.biomass[1:, 0] / left / UNIT)
    weight = (1 + found.values["r"] * (1 - left / found.values["K"])) ** 2
    rates, capacities = np.linspace(0.4, 1.4, 301), np.linspace(0.6, 1.6, 301)
    expected = np.log(1 + rates[:, None, None] * (1 - left / capacities[:, None]))
    loss = (weight * (y - expected) ** 2).sum(axis=-1)
    i, j = np.unravel_index(np.argmin(loss), loss.shape)
    assert found.values["r"] == pytest.approx(rates[i], abs=1 / 300)
    assert found.values["K"] == pytest.approx(capacities[j], abs=1 / 300)
    own = (weight * (y - np.log(1 + found.values["r"] * (1 - left / found.values["K"]))) ** 2).sum()
    assert own <= loss.min() * (1 + 1e-12)


def test_errors_of_the_survey_do_not_pass_for_density_dependence() -> None:
    plain, ours = [], []
    for seed in range(16):
        seen = one_species(seed, years=60, cv=0.1)
        left = (seen.biomass - seen.catch)[:-1, 0] / UNIT
        columns = np.stack([np.ones_like(left), -left], axis=1)
        plain.append(np.linalg.lstsq(columns, seen.biomass[1:, 0] / left / UNIT - 1, rcond=None)[0][0])
        found = fit(seen, SCHAEFER)
        ours.append((found.values["r"], found.values["K"], found.sigma[0]))
    assert np.mean(plain) > 0.95
    np.testing.assert_allclose(np.median(ours, axis=0), [0.8, 1.0, 0.1], rtol=0.1)


def test_everything_may_be_known() -> None:
    found = fit(one_species(), task(r=0.8, K=1.0, beta=0.0, c=0.1, trend=0.0))
    assert found.values["r"] == 0.8
    assert found.sigma[0] == pytest.approx(0.1, rel=0.3)
    assert set(intervals(found, bootstrap(found, one_species(), resamples=20, seed=0))) == {"sigma_0"}


# ------------------------------------------------------------------------------------------ how certain


def coverage(found: list[tuple[Fit, dict[str, tuple[float, float]]]], truth: dict[str, float]) -> dict[str, float]:
    return {
        name: float(np.mean([ends[name][0] <= value <= ends[name][1] for _, ends in found]))
        for name, value in truth.items()
    }


def fitted(histories: list[History], resamples: int) -> list[tuple[Fit, dict[str, tuple[float, float]]]]:
    results = []
    for seen in histories:
        found = fit(seen, SCHAEFER)
        results.append((found, dict(intervals(found, bootstrap(found, seen, resamples=resamples, seed=0)))))
    return results


TRUTH = {"r": 0.8, "K": 1.0, "sigma_0": 0.1}


def test_intervals_cover_the_truth() -> None:
    share = coverage(fitted([one_species(seed) for seed in range(12)], 60), TRUTH)
    assert min(share.values()) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("cv", "least"), [(0.0, 0.90), (0.05, 0.80), (0.1, 0.80)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(cv: float, least: float) -> None:
    share = coverage(fitted([one_species(seed, years=60, cv=cv) for seed in range(40)], 60), TRUTH)
    assert min(share.values()) >= least


def test_intervals_hold_the_estimate_and_narrow_with_the_history() -> None:
    widths = []
    for years in (20, 80):
        seen = one_species(3, years=years)
        found = fit(seen, SCHAEFER)
        low, high = intervals(found, bootstrap(found, seen, resamples=40, seed=0))["r"]
        assert low <= found.values["r"] <= high
        widths.append(high - low)
    assert widths[1] < 0.75 * widths[0]


def test_draws_repeat_with_their_seed() -> None:
    seen = one_species()
    found = fit(seen, SCHAEFER)
    first, second, other = (bootstrap(found, seen, resamples=20, seed=seed).draws for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_what_the_data_do_not_tell_is_told() -> None:
    years = np.arange(12)
    flat = History(years, np.full((12, 1), 500.0), np.full((12, 1), 50.0), np.zeros((12, 1)))
    found = fit(flat, SCHAEFER)
    told = " ".join(warnings(found, {}))
    assert np.isnan(correlations(found)).any() or abs(correlations(found)[0, 1]) > 0.99
    assert "cannot be told" in told or "hardly be told apart" in told
    growing = 100 * 1.25 ** years[:, None]
    endless = fit(History(years, growing, 0 * growing, 0 * growing), SCHAEFER)
    assert at_bounds(endless) == ["K"]
    assert "K is at the end of what it may be" in " ".join(warnings(endless, {}))
    wide = warnings(fit(one_species(), SCHAEFER), {"r": (0.1, 0.5), "K": (-0.1, 2.0)})
    assert wide[:2] == ["r is known to a factor of 5.0 only", "K may be 0"]


# ------------------------------------------------------------------------------------------ the example


def test_the_example_tells_its_drift() -> None:
    seen = history.example()
    assert len(seen.years) == 60
    free = ("r_x", "r_y", "K_x", "K_y", "c_xy", "b", "d", "d_z", "trend")
    found = fit(seen, Task("food_web", free, {"beta": 0.3, "c": 0.3}, np.array(history.TONNES)))
    ends = intervals(found, bootstrap(found, seen, resamples=40, seed=0))
    truth = {"trend": history.TREND, "r_x": 1.0, "r_y": 1.0, "K_x": 1.0, "K_y": 1.0, "d": 1.1}
    missed = {name: ends[name] for name, value in truth.items() if not ends[name][0] <= value <= ends[name][1]}
    assert missed == {}


def test_growth_of_the_example_is_what_its_tables_say() -> None:
    seen = history.example()
    rows = [line.split(",") for line in history.files(seen)["stock_history.csv"].splitlines()[1:]]
    biomass = np.array([float(row[2]) for row in rows]).reshape(60, 3)
    catch = np.array([float(row[3]) for row in rows]).reshape(60, 3)
    again = observed(History(seen.years, biomass, catch, seen.cv), np.array(history.TONNES))
    np.testing.assert_allclose(again.log, observed(seen, np.array(history.TONNES)).log, atol=1e-3)

"""Inflow paths: the published protocol, moments and memory of the processes, and what each path depends on."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from interlock.domains.hydro.case import Case
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.inflows import fit_history, fit_persistent, standardised
from interlock.domains.hydro.instances import case_of, inflow_paths, noises
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.toy import toy_case

Array = NDArray[Any]
PROCESSES = ("independent", "persistent", "history")


def scenario(process: str = "independent", horizon: int = 60, **changes: Any) -> HydroScenario:
    case = {"source": "generated", "n_hydro": 4, "seed": 5}
    return HydroScenario(name="test", case=case, horizon=horizon, inflows={"process": process}, **changes)


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(scenario())


def correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def z_of(case: Case, paths: Array) -> Array:
    """Standardised logarithms ``(n, T, plants)`` by the moments of the scenarios, worked out here."""
    logs = np.log(case.inflows)
    rows = np.arange(paths.shape[1]) % case.cycle
    z: Array = (np.log(paths) - logs.mean(axis=1)[rows]) / logs.std(axis=1)[rows]
    return z


# ------------------------------------------------------------------------------------------ which paths


def test_test_paths_follow_the_published_protocol(case: Case) -> None:
    drawn = np.random.default_rng(20210).integers(15, size=(500, 60))
    expected = np.array([[case.inflows[t % 48, s] for t, s in enumerate(row)] for row in drawn])
    assert np.array_equal(inflow_paths(scenario(), case, 20210, "test", 0, 500), expected)
    assert np.array_equal(inflow_paths(scenario(), case, 20210, "test", 137, 3), expected[137:140])


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_path_depends_on_seed_split_and_number_alone(case: Case, process: str, split: Any) -> None:
    told = scenario(process)
    whole = inflow_paths(told, case, 3, split, 0, 20)
    assert np.array_equal(inflow_paths(told, case, 3, split, 7, 5), whole[7:12])
    assert not np.array_equal(inflow_paths(told, case, 4, split, 0, 20), whole)
    other = "train" if split != "train" else "test"
    assert not np.array_equal(inflow_paths(told, case, 3, other, 0, 20), whole)
    assert len({path.tobytes() for path in whole}) == 20


@pytest.mark.parametrize("process", PROCESSES)
def test_paths_are_finite_and_never_negative(case: Case, process: str) -> None:
    paths = inflow_paths(scenario(process), case, 0, "train", 0, 200)
    assert paths.shape == (200, 60, 4)
    assert np.isfinite(paths).all()
    assert (paths >= 0).all()
    assert (paths <= 1.5 * case.inflows.max(axis=(0, 1))).all()


def test_unequal_probabilities() -> None:
    toy = HydroScenario(name="toy", horizon=24)
    case = toy_case()
    for split in ("test", "train"):
        paths = inflow_paths(toy, case, 1, split, 0, 4000)
        season = case.inflows[np.arange(24) % 12, 0, 0]
        share = (paths[:, :, 0] / season).ravel()
        counts = [np.isclose(share, part).mean() for part in (1, 2 / 3, 1 / 3)]
        assert counts == pytest.approx([0.3, 0.4, 0.3], abs=0.006)


def test_noises_are_the_rows_of_the_cycle(case: Case) -> None:
    seen = noises(case, 50)
    assert len(seen) == 50
    assert seen[0] is seen[48]
    assert np.array_equal(seen[3].outcomes, case.inflows[3])
    assert seen[3].probabilities.sum() == pytest.approx(1)


# ------------------------------------------------------------------------------------------ moments and memory


@pytest.mark.parametrize("process", PROCESSES)
def test_the_mean_of_every_week_is_that_of_the_scenarios(case: Case, process: str) -> None:
    paths = inflow_paths(scenario(process), case, 11, "train", 0, 6000)
    rows = np.arange(60) % 48
    error = paths.mean(axis=0) - case.inflows.mean(axis=1)[rows]
    standard = paths.std(axis=0) / np.sqrt(6000)
    assert np.abs(error / standard).max() < 5.0


@pytest.mark.parametrize("process", ["persistent", "history"])
def test_logarithms_keep_their_spread_in_every_week(case: Case, process: str) -> None:
    z = z_of(case, inflow_paths(scenario(process), case, 12, "train", 0, 4000))
    assert z.std(axis=0).mean() == pytest.approx(1.0, abs=0.02)
    assert np.abs(z[:, 30:].std(axis=0) - 1).max() < 0.12
    assert z[:, 0].std() == pytest.approx(z[:, 50].std(), abs=0.05)


def test_plants_stay_correlated(case: Case) -> None:
    paths = inflow_paths(scenario("persistent"), case, 13, "train", 0, 4000)
    ours, theirs = z_of(case, paths)[:, 24], z_of(case, case.inflows.swapaxes(0, 1))[:, 24]
    assert np.corrcoef(ours.T) == pytest.approx(np.corrcoef(theirs.T), abs=0.08)


def test_the_common_factor_remembers(case: Case) -> None:
    """Autocorrelation of z is that of the factor times the squared loading: the residuals are drawn afresh."""
    told = scenario("persistent", horizon=48)
    z = z_of(case, inflow_paths(told, case, 14, "train", 0, 4000))
    loading = fit_persistent(case).loading
    for lag in (1, 2, 5):
        expected = [0.6**lag * loading[t, r] * loading[t + lag, r] for t in range(10, 40) for r in range(4)]
        found = [correlation(z[:, t, r], z[:, t + lag, r]) for t in range(10, 40) for r in range(4)]
        assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.01)
    none = z_of(case, inflow_paths(scenario(horizon=48), case, 14, "train", 0, 4000))
    assert np.mean([correlation(none[:, t], none[:, t + 1]) for t in range(47)]) == pytest.approx(0, abs=0.01)


def test_loadings_and_residuals_make_up_the_scenarios(case: Case) -> None:
    model = fit_persistent(case)
    logs = np.log(case.inflows)
    z = (logs - logs.mean(axis=1, keepdims=True)) / logs.std(axis=1, keepdims=True)
    factor = (z - model.residual) / model.loading[:, None]
    assert factor.std(axis=1) == pytest.approx(np.ones_like(factor[:, 0]), abs=1e-9)
    assert np.ptp(factor, axis=2).max() < 1e-9
    assert np.abs((factor * model.residual).mean(axis=1)).max() < 1e-12


def years(phi: float, count: int) -> Case:
    """A system whose scenarios are successive years of an autoregressive series."""
    rng = np.random.default_rng(0)
    base = make_case(2, 0)
    z = np.empty((count * 48, 2))
    z[0] = rng.standard_normal(2)
    for t in range(1, len(z)):
        z[t] = phi * z[t - 1] + np.sqrt(1 - phi**2) * rng.standard_normal(2)
    season = 2 + np.sin(2 * np.pi * np.arange(48) / 48)
    inflows = season[:, None, None] * np.exp(0.4 * z.reshape(count, 48, 2).swapaxes(0, 1))
    return replace(base, inflows=inflows, probabilities=np.full((48, count), 1 / count))


def test_the_history_is_recovered() -> None:
    case = years(0.7, 40)
    model = fit_history(case)
    assert model.phi == pytest.approx([0.7, 0.7], abs=0.04)
    z = z_of(case, inflow_paths(scenario("history"), case, 15, "train", 0, 3000))
    assert correlation(z[:, 20:40], z[:, 21:41]) == pytest.approx(0.7, abs=0.05)
    assert correlation(z[:, 20:40], z[:, 22:42]) == pytest.approx(0.49, abs=0.06)


def test_a_long_tail_is_cut_off(case: Case) -> None:
    wild = replace(case, inflows=case.inflows[:, :, :1] ** 6, hydros=case.hydros)
    paths = inflow_paths(scenario("persistent"), wild, 1, "train", 0, 2000)
    assert paths.max() == pytest.approx(1.5 * wild.inflows.max())


# ------------------------------------------------------------------------------------------ no inflow


@pytest.mark.parametrize("process", ["persistent", "history"])
def test_dry_scenarios_stay_dry(case: Case, process: str) -> None:
    inflows = case.inflows.copy()
    inflows[10, :5, 0] = 0.0
    inflows[11, :, 0] = 0.0
    inflows[:, :, 1] = 3.0
    inflows[:, :, 2] = 0.0
    dry = replace(case, inflows=inflows)
    paths = inflow_paths(scenario(process), dry, 16, "train", 0, 3000)
    assert (paths[:, 10, 0] == 0).mean() == pytest.approx(1 / 3, abs=0.03)
    assert (paths[:, 11, 0] == 0).all()
    assert np.allclose(paths[:, :, 1], 3.0, rtol=1e-12)
    assert (paths[:, :, 2] == 0).all()
    assert paths[:, 10, 0].mean() == pytest.approx(inflows[10, :, 0].mean(), rel=0.05)


def test_standardised_logarithms_of_dry_scenarios(case: Case) -> None:
    inflows = case.inflows.copy()
    inflows[0, :3] = 0.0
    logs = standardised(inflows, case.probabilities)
    wet = np.log(inflows[0, 3:])
    assert logs.mean[0] == pytest.approx(wet.mean(axis=0))
    assert logs.deviation[0] == pytest.approx(wet.std(axis=0))
    assert (logs.z[0, :3] == 0).all()

r"""Inflow paths: scenarios drawn stage by stage, with memory, or from a seasonal model fitted to years in a row.

Both processes with memory work on the standardised logarithms of the inflows,
:math:`z_{c,s,r} = (\ln w_{c,s,r} - \mu_{c,r}) / \sigma_{c,r}` for cycle row c, scenario s and plant r, so no inflow is
ever negative. An inflow below a thousandth of the plant's mean counts as *dry*: it has no logarithm of use, takes part
as :math:`z = 0`, and is passed on as it is whenever its scenario is drawn.

*Persistent.* The mean of z over the plants, standardised, is the common factor f of a row. Each plant's z splits into
:math:`\beta_{c,r} f_{c,s} + e_{c,s,r}` by least squares within the row. A path follows
:math:`F_t = \varphi F_{t-1} + \sqrt{1 - \varphi^2}\,\eta_t` with standard normal :math:`\eta` from its stationary
distribution, and draws a scenario :math:`s_t` for all residuals together: :math:`z_t = \beta F_t + e_{c,s_t}`. Means,
variances and covariances of z are those of the scenarios in every row.

*History.* Scenario s + 1 is the year after scenario s. Each plant follows
:math:`z_t = \varphi_r z_{t-1} + \varepsilon_t` with the autocorrelation of its own series and innovations drawn from
those of the series, all plants of a date together, scaled to keep the variance of z at one.

A logarithm drawn symmetrically does not keep the mean of the inflow itself, so both are multiplied by the ratio of the
scenarios' mean to the expectation of the model, which is known in closed form. The few inflows beyond 1.5 times the
largest one of the plant are cut off there, as the tail of a logarithmic model has no bound; that takes a part of the
mean only in weeks whose logarithms spread widely.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from interlock.core.environment import Split
from interlock.domains.hydro.case import Array, Case

DRY = 1e-3
"""Share of a plant's mean below which an inflow counts as none."""
MAX_PHI = 0.99
"""Largest autocorrelation that is taken from a series."""
LARGEST = 1.5
"""No inflow of a model with memory exceeds this times the largest of the plant's scenarios."""
SMALL_WEIGHT = 0.03
"""Below this, a weighted innovation is taken for a normal one."""

MOST_FITTED = 8
_FITTED: dict[str, "History"] = {}
_CODES: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}
_UNIFORM = 1e-12


def draw_independent(case: Case, horizon: int, seed: int, split: Split, first: int, count: int) -> Array:
    """Paths whose stages are independent; arguments and result as ``instances.inflow_paths``."""
    chances = case.probabilities
    scenarios = chances.shape[1]
    rows = np.arange(horizon) % case.cycle
    uniform = bool(np.abs(chances - 1 / scenarios).max() <= _UNIFORM)
    if split == "test":
        drawn = _protocol(seed, scenarios if uniform else 0, horizon, 1 << (first + count - 1).bit_length())
        drawn = drawn[first : first + count]
    else:
        generators = [_generator(seed, split, first + k) for k in range(count)]
        drawn = np.array([g.integers(scenarios, size=horizon) if uniform else g.random(horizon) for g in generators])
    if not uniform:
        drawn = _by_chance(chances[rows], drawn)
    paths: Array = case.inflows[rows, drawn]
    return paths


def draw_persistent(case: Case, phi: float, horizon: int, seed: int, split: Split, first: int, count: int) -> Array:
    """Paths with memory of autocorrelation ``phi``; other arguments and result as ``instances.inflow_paths``."""
    model = fit_persistent(case)
    rows = np.arange(horizon) % case.cycle
    normal, uniform = np.empty((count, horizon)), np.empty((count, horizon))
    for k in range(count):
        generator = _generator(seed, split, first + k)
        normal[k], uniform[k] = generator.standard_normal(horizon), generator.random(horizon)
    factor = np.empty((count, horizon))
    factor[:, 0] = normal[:, 0]
    for t in range(1, horizon):
        factor[:, t] = phi * factor[:, t - 1] + np.sqrt(1 - phi**2) * normal[:, t]
    scenario = _by_chance(case.probabilities[rows], uniform)
    z = model.loading[rows] * factor[:, :, None] + model.residual[rows, scenario]
    return model.logs.inflow(rows, scenario, z, model.correction[rows])


def draw_history(case: Case, horizon: int, seed: int, split: Split, first: int, count: int) -> Array:
    """Paths of the model fitted to years in a row; arguments and result as ``instances.inflow_paths``."""
    model = _history_of(case)
    rows = np.arange(horizon) % case.cycle
    innovations, years = len(model.innovation), case.inflows.shape[1]
    start, drawn = np.empty(count, np.int64), np.empty((count, horizon), np.int64)
    scenario = np.empty((count, horizon), np.int64)
    for k in range(count):
        generator = _generator(seed, split, first + k)
        start[k], drawn[k] = generator.integers(years), generator.integers(innovations, size=horizon)
        scenario[k] = generator.integers(years, size=horizon)
    z = np.empty((count, horizon, case.inflows.shape[2]))
    before = model.logs.z[-1, start]
    for t in range(horizon):
        before = model.phi * before + model.innovation[drawn[:, t]]
        z[:, t] = before
    return model.logs.inflow(rows, scenario, z, model.correction[rows])


@dataclass(frozen=True, slots=True)
class Logs:
    """Scenarios as standardised logarithms.

    Attributes:
        z: ``(cycle, scenarios, plants)``; mean 0 and variance 1 in every row, 0 where dry.
        mean: of the logarithms ``(cycle, plants)``.
        deviation: of the logarithms ``(cycle, plants)``.
        dry: bool ``(cycle, scenarios, plants)``.
        inflows: m3/s ``(cycle, scenarios, plants)``.
    """

    z: Array
    mean: Array
    deviation: Array
    dry: Array
    inflows: Array

    def inflow(self, rows: Array, scenario: Array, z: Array, correction: Array) -> Array:
        """Inflows of paths ``(n, T, plants)`` from their z, of cycle rows ``(T,)`` and scenarios ``(n, T)``."""
        wet = correction * np.exp(self.mean[rows] + self.deviation[rows] * z)
        wet = np.minimum(wet, LARGEST * self.inflows.max(axis=(0, 1)))
        paths: Array = np.where(self.dry[rows, scenario], self.inflows[rows, scenario], wet)
        return paths


@dataclass(frozen=True, slots=True)
class Persistent:
    """The common factor and what is left of it.

    Attributes:
        logs: the scenarios.
        loading: ``(cycle, plants)``, of the standardised factor.
        residual: ``(cycle, scenarios, plants)``.
        correction: ``(cycle, plants)``, keeps the means of the scenarios.
    """

    logs: Logs
    loading: Array
    residual: Array
    correction: Array


@dataclass(frozen=True, slots=True)
class History:
    """Autoregression of the first order, plant by plant.

    Attributes:
        logs: the years.
        phi: ``(plants,)``.
        innovation: ``(dates, plants)``, joint draws.
        correction: ``(cycle, plants)``, keeps the means of the years.
    """

    logs: Logs
    phi: Array
    innovation: Array
    correction: Array


def standardised(inflows: Array, probabilities: Array) -> Logs:
    """Logarithms of scenarios ``(cycle, scenarios, plants)``, standardised over the scenarios of each cycle row."""
    dry = inflows <= DRY * inflows.mean(axis=(0, 1))
    weight = np.where(dry, 0.0, probabilities[:, :, None])
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    logs = np.log(np.where(dry, 1.0, inflows))
    mean = (weight * logs).sum(axis=1)
    deviation = np.sqrt((weight * (logs - mean[:, None]) ** 2).sum(axis=1))
    scale = np.where(deviation > 1e-12, deviation, 1.0)
    z = np.where(dry | (deviation <= 1e-12)[:, None], 0.0, (logs - mean[:, None]) / scale[:, None])
    return Logs(z, mean, deviation, dry, inflows)


def fit_persistent(case: Case) -> Persistent:
    """Loadings, residuals and the correction of the mean."""
    logs = standardised(case.inflows, case.probabilities)
    chance = case.probabilities[:, :, None]
    factor = logs.z.mean(axis=2, keepdims=True)
    spread = np.sqrt((chance * factor**2).sum(axis=1, keepdims=True))
    factor = factor / np.where(spread > 0, spread, 1.0)
    loading = (chance * factor * logs.z).sum(axis=1)
    residual = logs.z - loading[:, None] * factor
    share = np.exp((logs.deviation * loading) ** 2 / 2)  # expectation of exp(deviation * loading * F)
    expected = share[:, None] * np.exp(logs.deviation[:, None] * residual)
    return Persistent(logs, loading, residual, _correction(logs, case.probabilities, expected))


def fit_history(case: Case) -> History:
    """Autocorrelations, innovations and the correction of the mean; scenarios are years in a row."""
    even = np.full_like(case.probabilities, 1 / case.probabilities.shape[1])
    logs = standardised(case.inflows, even)
    series = logs.z.swapaxes(0, 1).reshape(-1, logs.z.shape[2])
    power = (series**2).mean(axis=0)
    product = (series[1:] * series[:-1]).mean(axis=0)
    phi = np.clip(product / np.where(power > 0, power, 1.0), -MAX_PHI, MAX_PHI)
    innovation = series[1:] - phi * series[:-1]
    innovation -= innovation.mean(axis=0)
    spread = innovation.std(axis=0)
    innovation *= np.sqrt(1 - phi**2) / np.where(spread > 0, spread, 1.0)
    return History(logs, phi, innovation, _correction(logs, even, _history_expectation(logs, phi, innovation)[:, None]))


def _history_of(case: Case) -> History:
    """The model of a system, fitted once: paths are asked for many times."""
    if case.hash not in _FITTED:
        if len(_FITTED) == MOST_FITTED:
            _FITTED.clear()
        _FITTED[case.hash] = fit_history(case)
    return _FITTED[case.hash]


def _history_expectation(logs: Logs, phi: Array, innovation: Array) -> Array:
    """``E exp(deviation * z)`` ``(cycle, plants)`` of the stationary z, the product over its past innovations.

    Innovations long past have a small weight; of them the variance is enough, and together they have that of z.
    """
    log_expected = np.zeros_like(logs.deviation)
    weight = logs.deviation.copy()
    while np.abs(weight).max() > SMALL_WEIGHT:
        log_expected += np.log(np.exp(weight[:, None] * innovation).mean(axis=1))
        weight = weight * phi
    expected: Array = np.exp(log_expected + weight**2 / 2)
    return expected


def _correction(logs: Logs, probabilities: Array, expected: Array) -> Array:
    """Ratio of the scenarios' mean to the model's where not dry; ``expected`` is ``E exp(deviation * z)``."""
    weight = np.where(logs.dry, 0.0, probabilities[:, :, None])
    ours = (weight * expected).sum(axis=1) * np.exp(logs.mean)
    theirs = (weight * logs.inflows).sum(axis=1)
    correction: Array = np.where(ours > 0, theirs / np.where(ours > 0, ours, 1.0), 1.0)
    return correction


@lru_cache(maxsize=8)
def _protocol(seed: int, scenarios: int, horizon: int, paths: int) -> Array:
    """Scenario numbers of the first test paths, or uniform numbers if ``scenarios`` is 0; more paths only add rows."""
    generator = np.random.default_rng(seed)
    size = (paths, horizon)
    drawn: Array = generator.integers(scenarios, size=size) if scenarios else generator.random(size)
    drawn.flags.writeable = False
    return drawn


def _generator(seed: int, split: Split, path: int) -> np.random.Generator:
    return np.random.default_rng([seed, _CODES[split], path])


def _by_chance(chances: Array, uniform: Array) -> Array:
    """Scenario numbers ``(n, T)`` from uniform numbers, with probabilities ``(T, scenarios)``."""
    limits = np.cumsum(chances, axis=1)[:, :-1]
    numbers: Array = (uniform[:, :, None] >= limits).sum(axis=2)
    return numbers

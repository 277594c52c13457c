r"""Parameters from a history of biomass and catch, by least squares on log growth.

Of biomass :math:`N_t` at the beginning of a year the catch :math:`C_t` leaves :math:`S_t = N_t - C_t`, from which the
next year's stock grows. What is observed is :math:`y_t = \log(N_{t+1} / S_t)`; what the model expects is
:math:`\log g(S_t)`, the logarithm of the mean growth factor. The estimate is

.. math:: \min_\theta \sum_{t, i} (y_{ti} - \log g_i(S_t; \theta))^2 / v_{ti}

One species, with :math:`u = S/K`: surplus production (Schaefer 1954) less what saturating grazers take (May 1977),

.. math:: g = 1 + r (1 - u) - \beta u / (u^2 + c^2)

A food web, with :math:`u = S_x / K_x`, :math:`v = S_y / K_y` and :math:`w` the predator in its own unit
(Montealegre-Mora et al. 2023):

.. math::
    g_x &= 1 + r_x (1 - u) - \beta w u / (c^2 + u^2) - c_{xy} v \\
    g_y &= 1 + r_y (1 - v) - d \beta w v / (c^2 + v^2) - c_{xy} u \\
    g_z &= 1 + b (u + d v) - d_z

:math:`r` or :math:`r_x` may follow a straight line over the years (``trend``, from the first year on). The noise of the
model is :math:`\sigma_i S_i \varepsilon`: :math:`\sigma_i` is the standard deviation of :math:`N_{t+1}/S_t - g`.

Errors of the survey stand on both sides of the equation: a year seen too large seems to grow too little, and plain
least squares takes that for density dependence. So :math:`v` is the effective variance of errors in variables
(Fuller 1987): that of the noise, of the error of :math:`\log N_{t+1}`, and of the errors of all :math:`\log N_t` as
they come through the equation, which depends on :math:`\theta`. It is what makes K and r come out right where
``biomass_cv`` is told; where it is not, surveys are taken to be exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.userdata_series import History

LEAST_GROWTH = 1e-3
"""Below this growth factor, its logarithm goes on as a straight line."""

LEAST_SD = 1e-4
"""Noise is taken to be at least this, for weights."""

_ZERO = 1e-12
"""Nearer to a bound of 0, an estimate is 0."""

ROUNDS = 4
"""Least squares and the variances of the noise are found in turn."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "r": (1e-3, 5.0), "r_x": (1e-3, 5.0), "r_y": (1e-3, 5.0), "trend": (-0.2, 0.2),
    "K": (0.2, 10.0), "K_x": (0.2, 10.0), "K_y": (0.2, 10.0),
    "beta": (0.0, 10.0), "c": (5e-3, 3.0), "c_xy": (0.0, 5.0), "b": (0.0, 5.0), "d": (0.0, 10.0), "d_z": (0.0, 2.0),
}  # fmt: skip
"""Smallest and largest estimates; those of K in largest observed biomasses of the species."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "one_species": ("r", "K", "beta", "c", "trend"),
    "food_web": ("r_x", "r_y", "K_x", "K_y", "beta", "c", "c_xy", "b", "d", "d_z", "trend"),
}
"""Parameters of the mean growth, by model."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be estimated.

    Attributes:
        kind: ``one_species`` or ``food_web``.
        free: names of the parameters that are estimated.
        fixed: values of all others, K in ``unit``.
        unit: ``(species,)``, biomass that stocks and K are measured in, t.
    """

    kind: str
    free: tuple[str, ...]
    fixed: Mapping[str, float]
    unit: Array


@dataclass(frozen=True, slots=True)
class Fit:
    """An estimate.

    Attributes:
        task: what was asked.
        values: all parameters of the mean growth, K in ``task.unit``.
        sigma: ``(species,)``, standard deviation of the yearly noise, share of the stock.
        residuals: ``(T - 1, species)``, of log growth, each over its standard deviation.
        jacobian: of the residuals by the free parameters, ``((T - 1) * species, free)``.
    """

    task: Task
    values: Mapping[str, float]
    sigma: Array
    residuals: Array
    jacobian: Array


@dataclass(frozen=True, slots=True)
class Growth:
    """Growth as it was observed, ``(T - 1, species)`` each.

    Attributes:
        left: what the catch left, in the unit of the task.
        log: log growth.
        error: standard deviation of the survey's error of the log of what the catch left.
        error_after: of the log of next year's biomass.
        years: ``(T - 1,)``, from 0.
    """

    left: Array
    log: Array
    error: Array
    error_after: Array
    years: Array


def observed(history: History, unit: Array) -> Growth:
    """The growth of every year but the last."""
    before, left = history.biomass[:-1], (history.biomass - history.catch)[:-1]
    return Growth(
        left=left / unit,
        log=np.log(history.biomass[1:] / left),
        error=history.cv[:-1] * before / left,
        error_after=history.cv[1:],
        years=np.arange(len(left)),
    )


def growth(kind: str, p: Mapping[str, Any], left: Array, years: Array) -> Array:
    """Mean growth factors ``(n, species)``.

    Args:
        kind: of the model.
        p: parameters, K in the unit of ``left``.
        left: ``(n, species)``, stocks after harvest.
        years: ``(n,)``, from 0.
    """
    if kind == "one_species":
        u, rate = left[:, 0] / p["K"], p["r"] + p["trend"] * years
        return (1.0 + rate * (1.0 - u) - p["beta"] * u / (u * u + p["c"] ** 2))[:, None]
    u, v, w = left[:, 0] / p["K_x"], left[:, 1] / p["K_y"], left[:, 2]
    rate, c2 = p["r_x"] + p["trend"] * years, p["c"] ** 2
    return np.stack(
        [
            1.0 + rate * (1.0 - u) - p["beta"] * w * u / (c2 + u * u) - p["c_xy"] * v,
            1.0 + p["r_y"] * (1.0 - v) - p["d"] * p["beta"] * w * v / (c2 + v * v) - p["c_xy"] * u,
            1.0 + p["b"] * (u + p["d"] * v) - p["d_z"],
        ],
        axis=1,
    )


def slopes(kind: str, p: Mapping[str, Any], left: Array, years: Array) -> Array:
    """Derivatives ``(n, species, species)`` of ``growth`` of the first by the log of the second."""
    c2 = p["c"] ** 2
    if kind == "one_species":
        u, rate = left[:, 0] / p["K"], p["r"] + p["trend"] * years
        return (-rate * u - p["beta"] * u * (c2 - u * u) / (c2 + u * u) ** 2)[:, None, None]
    u, v, w = left[:, 0] / p["K_x"], left[:, 1] / p["K_y"], left[:, 2]
    rate, appetite, lost = p["r_x"] + p["trend"] * years, p["beta"] * w, p["c_xy"]
    x = [-rate * u - appetite * u * (c2 - u * u) / (c2 + u * u) ** 2, -lost * v, -appetite * u / (c2 + u * u)]
    y = [
        -lost * u,
        -p["r_y"] * v - p["d"] * appetite * v * (c2 - v * v) / (c2 + v * v) ** 2,
        -p["d"] * appetite * v / (c2 + v * v),
    ]
    z = [p["b"] * u, p["b"] * p["d"] * v, 0.0 * w]
    return np.stack([np.stack(row, axis=1) for row in (x, y, z)], axis=1)


def log_growth(factor: Array) -> Array:
    """Logarithm of growth factors, continued as a straight line where they are next to nothing or negative."""
    inside = np.where(factor.real > LEAST_GROWTH, factor, LEAST_GROWTH)
    logarithm: Array = np.log(inside) + (factor - inside) / LEAST_GROWTH
    return logarithm


def fit(history: History, task: Task) -> Fit:
    """Estimate from several starting points; the best one counts.

    Args:
        history: of consecutive years, species in the order of the model.
        task: what to estimate.
    """
    seen = observed(history, task.unit)
    flat = np.full(len(task.unit), LEAST_SD), np.ones_like(seen.left)
    tried = [_solve(seen, task, start, *flat, plain=True) for start in starts(seen, task)]
    best = min(tried, key=lambda found: float((found.residuals**2).sum()))
    return refined(seen, task, best)


def refined(seen: Growth, task: Task, first: Fit, *, rounds: int = ROUNDS, tolerance: float = 1e-15) -> Fit:
    """An estimate with the variances that belong to it, from one without."""
    found, sigma = first, first.sigma
    for _ in range(rounds):
        factor = _factor(task, found.values, seen)
        found = _solve(seen, task, _vector(task, found.values), sigma, factor, tolerance=tolerance)
        sigma = found.sigma
    return found


def starts(seen: Growth, task: Task) -> list[Array]:
    """Starting points: growth is linear in all parameters but K and c, for which there are several guesses."""
    capacities = [name for name in task.free if name.startswith("K")]
    found = []
    for size, half in product(
        (0.8, 1.3, 3.0) if capacities else (1.0,), (0.05, 0.15, 0.4) if "c" in task.free else (0,)
    ):
        p = {**dict.fromkeys(NAMES[task.kind], 0.0), **task.fixed, **dict.fromkeys(capacities, size)}
        p["c"] = half or p["c"]
        p.update(_linear(seen, task, p))
        lower, upper = _bounds(task)
        found.append(np.clip(_vector(task, p), lower + 1e-9, upper - 1e-9))
    return found


def _linear(seen: Growth, task: Task, p: Mapping[str, float]) -> dict[str, float]:
    """Parameters in which growth is linear, not negative, by least squares on the growth factor; K and c are given."""
    from scipy.optimize import nnls

    y = np.exp(seen.log) - 1.0
    if task.kind == "one_species":
        u = seen.left[:, 0] / p["K"]
        columns = [1.0 - u, -u / (u * u + p["c"] ** 2)]
        r, beta = nnls(np.stack(columns, axis=1), y[:, 0])[0]
        return {"r": r, "beta": beta} if "beta" in task.free else {"r": max(r, 0.1)}
    u, v, w = seen.left[:, 0] / p["K_x"], seen.left[:, 1] / p["K_y"], seen.left[:, 2]
    c2 = p["c"] ** 2
    r_x, beta, lost = nnls(np.stack([1.0 - u, -w * u / (c2 + u * u), -v], axis=1), y[:, 0])[0]
    r_y, eaten, lost_y = nnls(np.stack([1.0 - v, -w * v / (c2 + v * v), -u], axis=1), y[:, 1])[0]
    b, bd, d_z = nnls(np.stack([u, v, -np.ones_like(u)], axis=1), y[:, 2])[0]
    d = bd / b if b > 0 else eaten / beta if beta > 0 else 1.0
    guess = {"r_x": r_x, "r_y": r_y, "beta": beta, "c_xy": (lost + lost_y) / 2, "b": b, "d": d, "d_z": d_z}
    return {name: value for name, value in guess.items() if name in task.free}


def _bounds(task: Task) -> tuple[Array, Array]:
    pairs = np.array([BOUNDS[name] for name in task.free]).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _vector(task: Task, p: Mapping[str, Any]) -> Array:
    return np.array([p[name] for name in task.free], float)


def _values(task: Task, vector: Array) -> dict[str, Any]:
    return {**task.fixed, **dict(zip(task.free, vector, strict=True))}


def _factor(task: Task, p: Mapping[str, Any], seen: Growth) -> Array:
    """Mean growth factors, at least ``LEAST_GROWTH``."""
    return np.maximum(growth(task.kind, p, seen.left, seen.years), LEAST_GROWTH)


def _survey_variance(task: Task, p: Mapping[str, Any], seen: Growth) -> Array:
    """Variance of log growth less its expectation that errors of the survey make, ``(T - 1, species)``."""
    factor = growth(task.kind, p, seen.left, seen.years)
    through = slopes(task.kind, p, seen.left, seen.years) / np.where(factor.real > LEAST_GROWTH, factor, LEAST_GROWTH)[
        :, :, None
    ] + np.eye(len(task.unit))
    variance: Array = seen.error_after**2 + (through**2 * (seen.error**2)[:, None, :]).sum(axis=2)
    return variance


def _solve(
    seen: Growth,
    task: Task,
    start: Array,
    sigma: Array,
    factor: Array,
    *,
    plain: bool = False,
    tolerance: float = 1e-15,
) -> Fit:
    """Least squares from one starting point under given noise; the noise that is left over is in the result.

    Args:
        seen: observed growth.
        task: what to estimate.
        start: free parameters.
        sigma: ``(species,)``, noise for the weights.
        factor: ``(T - 1, species)``, growth factors that divide it.
        plain: all years and species weigh the same.
        tolerance: of cost, step and gradient.
    """
    from scipy.optimize import least_squares

    exact = plain or not (seen.error.any() or seen.error_after.any())

    def residuals(vector: Array) -> Array:
        p = _values(task, vector)
        miss = seen.log - log_growth(growth(task.kind, p, seen.left, seen.years))
        if plain:
            return np.asarray(miss).ravel()
        variance = (sigma / factor) ** 2 + (0.0 if exact else _survey_variance(task, p, seen))
        return np.asarray(miss / np.sqrt(variance)).ravel()

    if task.free:
        lower, upper = _bounds(task)
        result = least_squares(
            residuals,
            np.clip(start, lower + 1e-12, upper - 1e-12),
            jac="cs",
            bounds=(lower, upper),
            x_scale=np.maximum(np.abs(start), 0.01),
            ftol=tolerance,
            xtol=tolerance,
            gtol=tolerance,
            max_nfev=200,
        )
        values, misses, jacobian = _values(task, result.x), result.fun, result.jac
    else:
        values, misses, jacobian = dict(task.fixed), residuals(start), np.zeros((seen.log.size, 0))
    values = {name: float(value) if abs(value) > _ZERO else 0.0 for name, value in values.items()}
    return Fit(task, values, _noise(seen, task, values), misses.reshape(seen.log.shape), jacobian)


def _noise(seen: Growth, task: Task, p: Mapping[str, float]) -> Array:
    """Standard deviation of the noise by species: of what the survey's errors do not explain."""
    factor = _factor(task, p, seen)
    miss = seen.log - log_growth(growth(task.kind, p, seen.left, seen.years))
    count, species = miss.shape
    spent = len(task.free) / species
    total = miss**2 * count / max(count - spent, 1.0)
    noise: Array = np.sqrt(
        np.maximum(((total - _survey_variance(task, p, seen)) * factor**2).mean(axis=0), LEAST_SD**2)
    )
    return noise


def correlations(found: Fit) -> Array:
    """Correlations of the estimates ``(free, free)`` from the curvature of the sum of squares; NaN where it is flat."""
    if not found.task.free:
        return np.empty((0, 0))
    scale = np.linalg.norm(found.jacobian, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = found.jacobian / scale
        curvature = scaled.T @ scaled
        if not np.isfinite(curvature).all() or np.linalg.cond(curvature) > 1e14:
            return np.full(curvature.shape, np.nan)
        covariance = np.linalg.inv(curvature)
        sd = np.sqrt(np.diag(covariance))
        matrix: Array = covariance / np.outer(sd, sd)
    return matrix


def at_bounds(found: Fit) -> Sequence[str]:
    """Free parameters at the end of what they may be."""
    lower, upper = _bounds(found.task)
    vector = _vector(found.task, found.values)
    near = 1e-4 * (upper - lower)
    return [
        name
        for name, value, low, high, close in zip(found.task.free, vector, lower, upper, near, strict=True)
        if value - low < min(close, 1e-4) or high - value < close
    ]

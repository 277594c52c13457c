"""How uncertain an estimate is: the history is drawn again and again from the fitted model, and fitted each time.

A parametric bootstrap (Efron, Tibshirani 1993): noise of the years, errors of the survey and harvest at the observed
mortalities make new histories of the same length, and each gives a draw of the parameters. Resampled residuals would
not do where surveys err, since their errors stand on both sides of the equation. Intervals are percentiles of the draws
joined with bias-corrected ones (Efron 1987, without acceleration): short histories overstate density dependence, and
the correction moves the interval by as much as they do so among the draws; next to a bound, where it would leave next
to nothing, the percentiles remain. On drawn histories of one species whose surveys are exact, the intervals cover the
truth as often as they say; with survey errors of 5 to 10 %, in 82 to 92 % of 40 histories for r and K.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from interlock.domains.fisheries.fitting import Fit, Growth, at_bounds, correlations, growth, observed, refined
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.userdata_series import History

LEVEL = 0.95
"""Of the intervals."""

WIDE = 3.0
"""An interval whose ends differ by more than this factor says that the data hardly tell the parameter."""

ALIKE = 0.95
"""Correlation from which on two parameters can hardly be told apart."""

_TOLERANCE = 1e-4
_LEAST_GROWTH = 0.02
_NOTHING = 1e-3


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Draws of all parameters that were estimated.

    Attributes:
        names: of the columns: the free parameters, then ``sigma_0 ..`` of the species.
        draws: ``(B, len(names))``, K in the unit of the task.
    """

    names: tuple[str, ...]
    draws: Array


def bootstrap(
    found: Fit,
    history: History,
    *,
    resamples: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Bootstrap:
    """Draws of the estimates.

    Args:
        found: the estimate.
        history: it was made from.
        resamples: number of histories to draw.
        seed: of the draws.
        progress: called with (done, all).
    """
    rng = np.random.default_rng(seed)
    drawn = simulated(found, history, resamples, rng)
    names = (*found.task.free, *(f"sigma_{place}" for place in range(len(found.sigma))))
    draws = np.empty((resamples, len(names)))
    rounds = 2 if history.cv.any() else 1  # how noise and errors share the variance is uncertain, too
    for k, growth_seen in enumerate(drawn):
        again = refined(growth_seen, found.task, found, rounds=rounds, tolerance=_TOLERANCE)
        draws[k] = [*(again.values[name] for name in found.task.free), *again.sigma]
        if progress is not None:
            progress(k + 1, resamples)
    return Bootstrap(names, draws)


def simulated(found: Fit, history: History, count: int, rng: np.random.Generator) -> list[Growth]:
    """Growth as it would be observed in histories that the fitted model makes, at the observed mortalities."""
    task, years = found.task, len(history.years)
    # An unknown last catch takes no part in any growth.
    mortality = np.nan_to_num(history.catch / history.biomass)
    stock = np.repeat(history.biomass[:1] / task.unit, count, axis=0)
    biomass = np.empty((years, *stock.shape))
    catch = np.empty_like(biomass)
    for t in range(years):
        # Log-normal errors never make a survey find less than nothing.
        error = np.sqrt(np.log1p(history.cv[t] ** 2))
        seen = stock * np.exp(error * rng.standard_normal(stock.shape) - error**2 / 2)
        catch[t] = mortality[t] * stock
        biomass[t] = np.maximum(seen, catch[t] * (1.0 + 1e-3))
        left = stock - catch[t]
        factor = growth(task.kind, found.values, left, np.full(count, t))
        stock = left * np.maximum(factor + found.sigma * rng.standard_normal(stock.shape), _LEAST_GROWTH)
    return [
        observed(History(history.years, biomass[:, k] * task.unit, catch[:, k] * task.unit, history.cv), task.unit)
        for k in range(count)
    ]


def intervals(found: Fit, drawn: Bootstrap) -> Mapping[str, tuple[float, float]]:
    """Interval of every parameter that was estimated; ends that are nothing beside the other one are 0."""
    from scipy.special import ndtr, ndtri

    estimates = [*(found.values[name] for name in found.task.free), *found.sigma]
    count, ends = len(drawn.draws), {}
    for name, estimate, values in zip(drawn.names, estimates, drawn.draws.T, strict=True):
        below = ((values < estimate).sum() + 0.5 * (values == estimate).sum()) / count
        shift = 2.0 * ndtri(np.clip(below, 0.5 / count, 1.0 - 0.5 / count))
        tail = ndtri(0.5 + LEVEL / 2)
        found_at = np.quantile(values, ndtr([-tail, shift - tail, tail, shift + tail]))
        low, high = min(*found_at[:2], estimate), max(*found_at[2:], estimate)
        ends[name] = (0.0 if 0 < low < _NOTHING * high else float(low), float(high))
    return ends


def warnings(found: Fit, ends: Mapping[str, tuple[float, float]]) -> list[str]:
    """What the data hardly tell, one sentence each."""
    told = [f"{name} is at the end of what it may be: the data do not tell it" for name in at_bounds(found)]
    for name in found.task.free:
        low, high = ends.get(name, (math.nan, math.nan))
        if low > 0 and high > WIDE * low:
            told.append(f"{name} is known to a factor of {high / low:.1f} only")
        elif name != "trend" and low <= 0 < high:
            told.append(f"{name} may be 0")
    matrix, free = correlations(found), found.task.free
    if np.isnan(matrix).any():
        told.append("the sum of squares is flat: some combination of parameters cannot be told at all")
        return told
    for i, j in zip(*np.triu_indices(len(free), 1), strict=True):
        if abs(matrix[i, j]) > ALIKE:
            told.append(f"{free[i]} and {free[j]} can hardly be told apart (correlation {matrix[i, j]:.2f})")
    return told

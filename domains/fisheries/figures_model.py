"""What the model alone says: the largest lasting catch, fixed points and where they tip, and the map of escapements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from interlock.core.environment import Array
from interlock.domains.fisheries.figures_style import DANGER, GUIDE, finish, thin
from interlock.domains.fisheries.instances import fishery_of
from interlock.domains.fisheries.model import live
from interlock.domains.fisheries.scenario import FisheriesScenario, OneSpecies
from interlock.domains.fisheries.tuning import grid_search

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

SETTLED, AVERAGED = 2000, 50
"""Years without noise after which stocks count as settled, and those at their end that are averaged."""

ROUNDS, VALUES = 5, 41
"""Searches for the best mortalities, each on a finer grid, and values of an axis."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferencePoint:
    """Where the largest lasting catch is taken.

    Attributes:
        stock: ``(species,)``, before the catch, stock units (B_MSY).
        mortality: ``(h,)`` (F_MSY).
        catch: of all species, stock units/year (MSY).
    """

    stock: Array
    mortality: Array
    catch: float


def reference_point(scenario: FisheriesScenario) -> ReferencePoint | None:
    """The largest catch that constant mortalities take from the settled model without noise.

    Parameters are those of the last year (where drift has led to), without errors of ours. Mortalities under which a
    species falls to the limit before the model has settled do not count; ``None`` if that is so for all.
    """
    return _reference_point(scenario.with_changes(tuned=None, method=None).canonical_json())


@lru_cache(maxsize=16)
def _reference_point(scenario_json: str) -> ReferencePoint | None:
    scenario = FisheriesScenario.model_validate_json(scenario_json)
    fishery, caught = fishery_of(scenario), len(scenario.harvested)
    start = np.array(scenario.initial)
    centre, half = np.full(caught, 0.5), 0.5
    best: ReferencePoint | None = None
    for _ in range(ROUNDS):
        axes = [np.clip(np.linspace(middle - half, middle + half, VALUES), 0.0, 1.0) for middle in centre]
        mortality = np.array(list(product(*axes)))
        stock, catch, lives = settled(fishery, start, mortality, SETTLED, AVERAGED)
        if not lives.any():
            return best
        k = int(np.argmax(np.where(lives, catch, -np.inf)))
        if best is None or catch[k] >= best.catch:
            best = ReferencePoint(stock[k], mortality[k], float(catch[k]))
        centre, half = best.mortality, 2.0 * half / (VALUES - 1)
    return best


@njit(cache=True, error_model="numpy")
def settled(fishery, start, mortality, years, averaged):
    """Stocks before the catch ``(n, species)`` and catch ``(n,)``, means over the last years; and whether all live.

    Args:
        fishery: the scenario; parameters are those of its last year.
        start: ``(species,)``.
        mortality: ``(n, h)``, the same in every year; the limits of the scenario are not looked at.
        years: to live, without noise.
        averaged: of them, at the end.
    """
    stocks, catches = np.zeros((len(mortality), len(start))), np.zeros(len(mortality))
    lives = np.ones(len(mortality), np.bool_)
    stock, p = np.empty((1, len(start))), fishery.table[-1]
    for k in range(len(mortality)):
        stock[0] = start
        for t in range(years):
            if t >= years - averaged:
                stocks[k] += stock[0] / averaged
            _, caught, least = live(fishery, p, t, stock, mortality[k : k + 1], 0, 0.0, 0.0, 0.0)
            if t >= years - averaged:
                catches[k] += caught / averaged
            if least <= fishery.collapse:
                lives[k] = False
                break
    return stocks, catches, lives


def grazing(model: OneSpecies, stock: Array) -> Array:
    r"""The grazing :math:`\beta` at which a stock > 0 stays as it is: :math:`r (1 - X/K) (X^2 + c^2) / X`."""
    found: Array = model.r * (1.0 - stock / model.k) * (stock**2 + model.c**2) / stock
    return found


def slope(model: OneSpecies, stock: Array, beta: Array) -> Array:
    r""":math:`f'(X)` under a grazing: a fixed point is stable where it is below 0 (and above -2)."""
    saturating = 2.0 * model.c**2 * stock / (stock**2 + model.c**2) ** 2
    found: Array = model.r * (1.0 - 2.0 * stock / model.k) - beta * saturating
    return found


def draw_stability(scenario: FisheriesScenario) -> PlotlyFigure:
    """Fixed points of the unfished stock against the grazing: stable ones solid, unstable ones dashed."""
    from plotly import graph_objects as go

    model = scenario.model
    assert isinstance(model, OneSpecies)
    stock = np.linspace(0.005, 1.0, 400) * model.k
    beta = grazing(model, stock)
    stable = slope(model, stock, beta) < 0.0
    figure = go.Figure()
    edges = np.flatnonzero(np.diff(stable)) + 1
    told: set[bool] = set()
    for part in np.split(np.arange(len(stock)), edges):
        kind = bool(stable[part[0]])
        joined = np.append(part, part[-1] + 1) if part[-1] + 1 < len(stock) else part
        figure.add_trace(
            go.Scatter(
                x=thin(beta[joined], 5), y=thin(stock[joined], 5), mode="lines", showlegend=kind not in told,
                name="stable: the stock returns" if kind else "unstable: the stock leaves, up or down",
                line={"color": "#0072B2" if kind else "#D55E00", "dash": "solid" if kind else "dash", "width": 2.5},
            )
        )  # fmt: skip
        told.add(kind)
    last = float(fishery_of(scenario).table[-1, 2])
    marks = {"this scenario": model.beta} if last == model.beta else {"year 0": model.beta, "last year": last}
    for label, value in marks.items():
        figure.add_vline(x=value, line={"color": GUIDE, "width": 1.5})
        figure.add_annotation(
            x=value, y=1, yref="paper", yanchor="bottom", text=f"{label}: {value:g}", showarrow=False,
        )  # fmt: skip
    figure.add_hline(y=scenario.collapse_level, line={"color": DANGER, "dash": "dash", "width": 1.5})
    figure.update_xaxes(title="beta: most that grazers take (stock units/year)", range=[0.0, 1.6 * max(marks.values())])
    figure.update_yaxes(title="stock (stock units)", rangemode="tozero")
    return finish(figure, height=440)


def escapement_map(scenario: FisheriesScenario) -> tuple[Array, Array, Array]:
    """Escapements of an axis, and mean reward and survival ``(y, x)`` of leaving that much of both, in training."""
    return _escapement_map(scenario.with_changes(tuned=None, method=None).canonical_json())


@lru_cache(maxsize=4)
def _escapement_map(scenario_json: str) -> tuple[Array, Array, Array]:
    scenario = FisheriesScenario.model_validate_json(scenario_json)
    points, found = grid_search(scenario, "constant_escapement")
    values = np.unique(points)
    shape = (len(values), len(values))
    return values, found.reward.reshape(shape).T, found.survival.reshape(shape).T


def ridge(values: Array, reward: Array) -> tuple[float, float]:
    """The sum of both escapements that does best on average over how it is shared, and that average.

    Args:
        values: ``(m,)``, of both axes.
        reward: ``(m, m)``.
    """
    sums = np.round(values[:, None] + values[None, :], 6)
    means = {float(total): float(reward[sums == total].mean()) for total in np.unique(sums)}
    best = max(means, key=lambda total: means[total])
    return best, means[best]


def draw_escapements(scenario: FisheriesScenario) -> PlotlyFigure:
    """Mean reward of every pair of escapements, the line along which the best ones lie, and the best of all."""
    from plotly import graph_objects as go

    values, reward, survival = escapement_map(scenario)
    x, y = scenario.harvested
    figure = go.Figure(
        go.Heatmap(
            x=thin(values, 3), y=thin(values, 3), z=thin(reward, 2), customdata=thin(survival, 3),
            zmin=float(np.quantile(reward, 0.1)),
            colorscale="Cividis", colorbar={"title": {"text": "reward", "side": "right"}, "thickness": 14},
            hovertemplate=f"{x} {{%x}}, {y} {{%y}}: reward %{{z:.2f}}, survival %{{customdata:.2f}}<extra></extra>",
        )
    )  # fmt: skip
    total, _ = ridge(values, reward)
    figure.add_trace(
        go.Scatter(
            x=[max(0.0, total - 1.0), min(total, 1.0)], y=[min(total, 1.0), max(0.0, total - 1.0)], mode="lines",
            name=f"ridge: {x} + {y} = {total:.2f}", line={"color": "#FFFFFF", "dash": "dash", "width": 2},
        )
    )  # fmt: skip
    row, column = np.unravel_index(int(reward.argmax()), reward.shape)
    figure.add_trace(
        go.Scatter(
            x=[values[column]], y=[values[row]], mode="markers",
            marker={"symbol": "star", "size": 15, "color": "#D55E00", "line": {"color": "#FFFFFF", "width": 1}},
            name=f"best: ({values[column]:.2f}, {values[row]:.2f}), reward {reward.max():.1f}, "
            f"survival {survival[row, column]:.2f}",
        )
    )  # fmt: skip
    figure.update_xaxes(title=f"stock of {x} that is left (stock units)", range=[0, 1], constrain="domain")
    figure.update_yaxes(
        title=f"stock of {y} that is left (stock units)", range=[0, 1], scaleanchor="x", constrain="domain"
    )
    return finish(figure, height=560)

"""Year by year: stocks, catches and mortalities under a few policies, drawn from held-out futures played again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.environment import Array
from interlock.domains.fisheries.figures_replay import Played
from interlock.domains.fisheries.figures_style import (
    DANGER,
    SPECIES,
    band,
    chosen,
    finish,
    line,
    looks_of,
    panels,
    thin,
    units,
    words,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.evaluation.record import Evidence
    from interlock.core.policy import Policy
    from interlock.domains.fisheries.scenario import FisheriesScenario

PANELS = 4
"""Policies whose stocks are shown."""

MARKS = 60
"""Collapses that are marked in a panel, at most; all of them are counted."""

MOST_YEARS = 250
"""Years that are drawn, about; of a longer horizon, every second or third and so on."""

Replay = Callable[["Policy", "Evidence"], Played]


def spread(values: Array) -> tuple[Array, Array, Array]:
    """5 % quantile, median and 95 % quantile over futures ``(n, ...)``; NaN where no future is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of years that no future reached
        low, middle, high = np.nanquantile(values, [0.05, 0.5, 0.95], axis=0)
    return low, middle, high


def step(scenario: FisheriesScenario) -> int:
    """Years from one that is drawn to the next."""
    return max(1, scenario.horizon // MOST_YEARS)


def draw_stocks(
    scenario: FisheriesScenario, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence
) -> PlotlyFigure:
    """One panel per policy, one line with a band per species, the limit, and when which species collapsed."""
    from plotly import graph_objects as go

    names = chosen(policies, evidence, PANELS)
    games = {name: replay(policies[name], evidence) for name in names}
    titles, limited = [], scenario.collapse_level > 0
    for name, played in games.items():
        lost = f": {100 * played.collapsed.any(axis=1).mean():.3g} % of futures collapse" if limited else ""
        titles.append(f"<b>{words(name)}</b>{lost}")
    figure, places = panels(titles, 2, shared_yaxes="all", shared_xaxes=True, vertical_spacing=0.12)
    factor, unit = units(scenario)
    top, x = 0.0, np.arange(0, scenario.horizon, step(scenario))
    for panel, (played, place) in enumerate(zip(games.values(), places, strict=True)):
        for i, species in enumerate(scenario.model.species):
            colour, dash = SPECIES[i]
            low, middle, high = (factor[i] * values for values in spread(played.stock[:, x, i]))
            top = max(top, float(np.nanmax(high)))
            figure.add_trace(band(x, low, high, colour, species), **place)
            figure.add_trace(line(x, middle, colour, dash, species, showlegend=panel == 0), **place)
        limit = scenario.collapse_level * factor
        if limited and np.ptp(limit) == 0:
            figure.add_hline(y=limit[0], line={"color": DANGER, "dash": "dash", "width": 1.5}, **place)
        for i, species in enumerate(scenario.model.species):
            ends = played.years[played.collapsed[:, i]][:MARKS]
            if len(ends):
                figure.add_trace(
                    go.Scatter(
                        x=ends, y=np.full(len(ends), limit[i]), mode="markers", name=f"{species} collapsed",
                        marker={"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": SPECIES[i][0]}},
                        showlegend=False, hovertemplate=f"{species} collapsed at the end of year %{{x}}<extra></extra>",
                    ),
                    **place,
                )  # fmt: skip
    figure.update_yaxes(range=[0, 1.05 * top])
    figure.update_xaxes(range=[0, scenario.horizon])
    figure.update_yaxes(title=f"stock ({unit})", col=1)
    figure.update_xaxes(title="year", row=places[-1]["row"])
    if len(places) > 2 and len(places) % 2:
        figure.update_xaxes(title="year", showticklabels=True, row=places[-2]["row"] - 1, col=2)
    return finish(figure, height=130 + 270 * places[-1]["row"])


def draw_catches(
    scenario: FisheriesScenario, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence
) -> PlotlyFigure:
    """Catch above, mortality below, one column per harvested species, one colour per policy."""
    factor, unit = units(scenario)
    names, look, caught = chosen(policies, evidence, 3), looks_of(evidence), scenario.harvested
    titles = [f"catch of {species}" for species in caught] + [f"mortality of {species}" for species in caught]
    figure, places = panels(titles, len(caught), shared_xaxes=True, vertical_spacing=0.1)
    x = np.arange(0, scenario.horizon, step(scenario))
    for name in names:
        played, style = replay(policies[name], evidence), look[name]
        for j, species in enumerate(caught):
            scale = factor[scenario.model.species.index(species)]
            shown = [scale * np.nan_to_num(played.catch[:, x, j]), played.mortality[:, x, j]]
            for values, place in zip(shown, places[j :: len(caught)], strict=True):
                low, middle, high = spread(values)
                figure.add_trace(band(x, low, high, style.colour, name, 0.14), **place)
                legend = place == places[0]
                figure.add_trace(
                    line(x, middle, style.colour, style.dash, words(name), legendgroup=name, showlegend=legend),
                    **place,
                )
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title=f"catch ({unit}/year)", row=1, col=1)
    figure.update_yaxes(title="mortality (share/year)", row=2, col=1)
    figure.update_xaxes(range=[0, scenario.horizon])
    figure.update_xaxes(title="year", row=2)
    return finish(figure, height=620)


def draw_kobe(
    scenario: FisheriesScenario,
    reference: Any,
    replay: Replay,
    policies: Mapping[str, Policy],
    evidence: Evidence,
) -> PlotlyFigure:
    """Years of living futures beside the stock and the mortality of the maximum sustainable yield.

    Args:
        scenario: the numbers.
        reference: a ``figures_model.ReferencePoint``.
        replay: plays a policy.
        policies: by name.
        evidence: of them.
    """
    from plotly import graph_objects as go

    look, names = looks_of(evidence), chosen(policies, evidence, 6)
    reference_rule = [name for name in names if name == evidence.reference_heuristic]
    names = list(dict.fromkeys([names[0], *reference_rule, *names]))[:2]
    titles = [f"<b>{words(name)}</b>, {species}" for name in names for species in scenario.harvested]
    figure, places = panels(titles, len(scenario.harvested), vertical_spacing=0.14)
    for k, place in enumerate(places):
        name, j = names[k // len(scenario.harvested)], k % len(scenario.harvested)
        i = scenario.model.species.index(scenario.harvested[j])
        ratio_b, ratio_f = ratios(replay(policies[name], evidence), i, j, reference)
        every = max(1, len(ratio_b) // 300)
        right, top = max(2.0, 1.1 * np.quantile(ratio_b, 0.99)), max(2.0, 1.1 * np.quantile(ratio_f, 0.99))
        for text, share, (x0, x1, y0, y1), tint in quadrants(ratio_b, ratio_f, right, top):
            figure.add_shape(
                type="rect", x0=x0, x1=x1, y0=y0, y1=y1, fillcolor=tint, opacity=0.28, line_width=0, layer="below",
                **place,
            )  # fmt: skip
            figure.add_annotation(
                x=x1 if x0 else x0, y=y1 if y0 else y0, text=f"{text}: {100 * share:.3g} %", showarrow=False,
                xanchor="right" if x0 else "left", yanchor="top" if y0 else "bottom", font={"size": 12}, **place,
            )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=thin(ratio_b[::every], 3), y=thin(ratio_f[::every], 3), mode="markers", name=words(name),
                marker={"size": 4, "color": look[name].colour, "opacity": 0.55}, showlegend=False,
            ),
            **place,
        )  # fmt: skip
        figure.update_xaxes(range=[0, right], **place)
        figure.update_yaxes(range=[0, top], **place)
    figure.update_xaxes(title="B / B_MSY (1: stock of the largest lasting catch)", row=places[-1]["row"])
    figure.update_yaxes(title="F / F_MSY", col=1)
    return finish(figure, height=120 + 330 * places[-1]["row"], legend=False)


def ratios(played: Played, i: int, j: int, reference: Any) -> tuple[Array, Array]:
    """B / B_MSY and F / F_MSY of every year that was lived, in an order without meaning.

    Args:
        played: under a policy.
        i: species.
        j: its place among the harvested ones.
        reference: a ``figures_model.ReferencePoint``.
    """
    lived = np.isfinite(played.mortality[:, :, j])
    biomass = played.stock[:, :, i][lived] / reference.stock[i]
    fishing = played.mortality[:, :, j][lived] / reference.mortality[j]
    mixed = np.random.default_rng(0).permutation(len(biomass))
    return biomass[mixed], fishing[mixed]


def quadrants(
    biomass: Array, fishing: Array, right: float, top: float
) -> list[tuple[str, float, tuple[float, float, float, float], str]]:
    """Name, share of the years, corners (left, right, bottom, top) and colour of the four fields of a Kobe plot."""
    plenty, gentle = biomass >= 1, fishing <= 1
    return [
        ("healthy", float((plenty & gentle).mean()), (1, right, 0, 1), "#66C2A5"),
        ("overfishing", float((plenty & ~gentle).mean()), (1, right, 1, top), "#FDB863"),
        ("recovering", float((~plenty & gentle).mean()), (0, 1, 0, 1), "#FFF2A8"),
        ("overfished", float((~plenty & ~gentle).mean()), (0, 1, 1, top), "#E66101"),
    ]

"""The pictures of the sustainability report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.evaluation.protocol import Outcomes
from interlock.core.evaluation.statistics import Estimate, student
from interlock.domains.fisheries.figures_style import GUIDE, finish, looks, panels, thin, words
from interlock.domains.fisheries.scenario import FisheriesScenario

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.domains.fisheries.sustainability import Fleet, Robust

WORDS: Mapping[str, tuple[str, str]] = {
    "fleets": (
        "Who gains and who loses",
        "What the catch of each fleet is worth in a year, beside the same under the reference policy, on the same "
        "futures; years after a collapse count as nothing. Bars left of zero are losses; thin lines: 95 % intervals.",
    ),
    "alive": (
        "How long all species live",
        "Share of futures in which no species has collapsed yet. A line that keeps falling is a fishery that lives off "
        "its stock.",
    ),
    "perturbed": (
        "If the model is wrong",
        "Mean reward and survival where every parameter is off by a random factor, by how much; at 0 the scenario as "
        "it is. Lines that cross tell that another policy is the better one once the model is worse than thought.",
    ),
    "ranks": (
        "Which policy is best, and how sure that is",
        "Share of the draws of parameters in which a policy earns most of all policies here; in brackets its rank by "
        "the mean over draws.",
    ),
}
"""Title and caption of each picture."""


def fleets_figure(
    scenario: FisheriesScenario,
    gains: Mapping[str, Mapping[str, Fleet]],
    reference: str,
    learned: Mapping[str, bool],
) -> PlotlyFigure:
    """Value per year of every fleet, and what it gains on the reference: one row per policy."""
    from plotly import graph_objects as go

    titles = [
        f"{fleet} fleet: {what}" for what in ("value", f"gain on {words(reference)}") for fleet in scenario.harvested
    ]
    caught = len(scenario.harvested)
    figure, places = panels(titles, caught, shared_yaxes=True, vertical_spacing=0.24)
    look = looks(learned)
    for name in reversed(list(gains)):
        for j, fleet in enumerate(scenario.harvested):
            own = gains[name][fleet]
            for shown, place in ((own.value, places[j]), (own.gain, places[caught + j])):
                one = shown if shown is not None else Estimate(0.0, 0.0, 0.0)
                figure.add_trace(
                    go.Bar(
                        x=[one.mean], y=[words(name)], orientation="h", showlegend=False,
                        marker={"color": look[name].colour, "pattern": {"shape": _PATTERNS[look[name].dash]}},
                        error_x={"array": [one.high - one.mean], "arrayminus": [one.mean - one.low], "color": GUIDE},
                        hovertemplate=f"{words(name)}: {one.mean:.4g} ({one.low:.4g} to {one.high:.4g})<extra></extra>",
                    ),
                    **place,
                )  # fmt: skip
    figure.update_xaxes(title="value/year")
    return finish(figure, height=230 + 2 * 44 * (len(gains) + 1), legend=False)


_PATTERNS = {"solid": "", "dash": "/", "dot": ".", "dashdot": "x"}
"""What tells bars of the same colour apart."""


def alive_figure(
    scenario: FisheriesScenario, outcomes: Mapping[str, Outcomes], learned: Mapping[str, bool]
) -> PlotlyFigure:
    """Share of futures without a collapse so far, over the years."""
    from plotly import graph_objects as go

    figure, look = go.Figure(), looks(learned)
    years = np.arange(scenario.horizon + 1)
    for name, own in outcomes.items():
        ends = own.metrics["length"][own.metrics["survival"] == 0]
        lost = np.cumsum(np.bincount(ends.astype(np.int64), minlength=len(years)))
        figure.add_trace(
            go.Scatter(
                x=years, y=thin(1.0 - lost / len(own.objective)), mode="lines", name=words(name),
                line={"color": look[name].colour, "dash": look[name].dash, "shape": "hv", "width": 2.2},
            )
        )  # fmt: skip
    if scenario.collapse_probability is not None:
        figure.add_hline(y=1.0 - scenario.collapse_probability, line={"color": GUIDE, "dash": "dash", "width": 1.5})
    figure.update_xaxes(title="year")
    figure.update_yaxes(title="share of futures", rangemode="tozero")
    return finish(figure, height=430)


def perturbed_figure(
    outcomes: Mapping[str, Outcomes], off: Mapping[str, Sequence[Robust]], learned: Mapping[str, bool], unit: str
) -> PlotlyFigure:
    """Reward and survival against how far parameters are off."""
    from plotly import graph_objects as go

    figure, places = panels(["reward", "survival"], 2)
    look = looks(learned)
    for k, (name, robust) in enumerate(off.items()):
        own = outcomes[name]
        rewards = [student(own.objective), *(student(one.rewards) for one in robust)]
        survivals = [student(own.metrics["survival"]), *(student(one.survivals) for one in robust)]
        x = [0.0, *(100 * one.noise for one in robust)]
        for estimates, place in ((rewards, places[0]), (survivals, places[1])):
            figure.add_trace(
                go.Scatter(
                    x=[value + 0.12 * (k - len(off) / 2) for value in x], y=[one.mean for one in estimates],
                    mode="lines+markers", name=words(name), legendgroup=name, showlegend=place == places[0],
                    line={"color": look[name].colour, "dash": look[name].dash, "width": 2},
                    marker={"symbol": look[name].symbol, "size": 9},
                    error_y={"array": [one.high - one.mean for one in estimates], "width": 3, "thickness": 1.2},
                ),
                **place,
            )  # fmt: skip
    figure.update_xaxes(title="parameters off by (standard deviation, %)", tickvals=x)
    figure.update_yaxes(title=f"mean reward ({unit})", **places[0])
    figure.update_yaxes(title="share of futures", **places[1])
    return finish(figure, height=460)


def ranks_figure(perturbed: Sequence[Mapping[str, Any]], names: Sequence[str]) -> PlotlyFigure:
    """Chance of being best, by policy and noise, with the rank written in it."""
    from plotly import graph_objects as go

    shown = list(reversed(names))
    chance = [[level["policies"][name]["chance_of_being_best"] for level in perturbed] for name in shown]
    text = [
        [
            f"{100 * value:.0f} % ({level['policies'][name]['rank']})"
            for value, level in zip(row, perturbed, strict=True)
        ]
        for name, row in zip(shown, chance, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            x=[f"{100 * level['noise']:g} %" for level in perturbed], y=[words(name) for name in shown],
            z=chance, text=text, texttemplate="%{text}", colorscale="Cividis", zmin=0, zmax=1, xgap=2, ygap=2,
            colorbar={"title": {"text": "share of draws", "side": "right"}, "thickness": 14},
            hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title="parameters off by (standard deviation)", type="category")
    return finish(figure, height=150 + 46 * len(names), legend=False)

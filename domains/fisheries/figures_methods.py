"""Methods side by side: what they earn and how often all species live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from interlock.core.environment import Array
from interlock.core.evaluation.statistics import wilson
from interlock.domains.fisheries.figures_style import DANGER, GUIDE, finish, looks_of, thin, words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.evaluation.record import Evidence
    from interlock.core.policy import Policy
    from interlock.domains.fisheries.scenario import FisheriesScenario

FAR = 0.5
"""Methods with less than this share of the best reward are named instead of drawn, so that the scale shows the rest."""

QUANTILES = 300
"""Values by which the distribution of a method's rewards is drawn."""


def draw_frontier(scenario: FisheriesScenario, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Mean reward against survival, one mark with both intervals per method."""
    from plotly import graph_objects as go

    figure, look = go.Figure(), looks_of(evidence)
    best = max(policy.objective.mean for policy in evidence.policies.values())
    far, lowest, least = [], 1.0, best
    for name, policy in evidence.policies.items():
        own, survived = policy.objective, evidence.outcomes[name].metrics["survival"]
        chance = wilson(int(survived.sum()), len(survived))
        if own.mean < FAR * best:
            far.append(f"{words(name)} ({chance.mean:.2f}, {own.mean:.4g})")
            continue
        lowest, least = min(lowest, chance.low), min(least, own.low)
        figure.add_trace(
            go.Scatter(
                x=[chance.mean], y=[own.mean], mode="markers", name=words(name),
                marker={"symbol": look[name].symbol, "size": 13 if policy.learned else 11, "color": look[name].colour,
                        "line": {"width": 1.5, "color": look[name].colour}},
                error_x={"array": [chance.high - chance.mean], "arrayminus": [chance.mean - chance.low], "width": 3},
                error_y={"array": [own.high - own.mean], "arrayminus": [own.mean - own.low], "width": 3},
                hovertemplate=f"{words(name)}: survival %{{x:.3f}}, reward %{{y:.3f}}<extra></extra>",
            )
        )  # fmt: skip
    _bounds(figure, evidence)
    margin = 0.06 * max(1.0 - lowest, 0.01)
    if scenario.collapse_probability is not None:
        asked = 1.0 - scenario.collapse_probability
        lowest = min(lowest, asked)
        figure.add_vrect(x0=asked, x1=1.0 + margin, fillcolor="#009E73", opacity=0.08, line_width=0, layer="below")
        figure.add_vline(x=asked, line={"color": DANGER, "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=asked, y=1, yref="paper", yanchor="bottom", text=f"asked for: {asked:g}", showarrow=False, font_size=12
        )
    if far:
        text = "not drawn (survival, reward): " + "; ".join(far)
        figure.add_annotation(
            x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="bottom", yshift=4, text=text,
            showarrow=False, font={"size": 11, "color": GUIDE},
        )  # fmt: skip
    figure.update_xaxes(
        title="survival: share of futures in which no species collapses", range=[lowest - margin, 1 + margin]
    )
    figure.update_yaxes(title=f"mean {evidence.objective.name} ({evidence.objective.unit})")
    return finish(figure, height=520)


def _bounds(figure: PlotlyFigure, evidence: Evidence) -> None:
    for name, bound in evidence.bounds.items():
        figure.add_hline(y=bound.value, line={"color": "#009E73", "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=bound.value, yanchor="bottom", showarrow=False,
            text=f"bound ({words(name)}): {bound.value:.4g}", font={"size": 12, "color": "#009E73"},
        )  # fmt: skip


def sample(values: Array) -> Array:
    """The quantiles that stand for a distribution."""
    found: Array = np.quantile(values, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    return found


def draw_rewards(evidence: Evidence) -> PlotlyFigure:
    """Violins of the reward of an episode, the best-ranked method on top."""
    from plotly import graph_objects as go

    figure, look = go.Figure(), looks_of(evidence)
    for name in reversed(evidence.policies):
        values = evidence.outcomes[name].objective
        figure.add_trace(
            go.Violin(
                x=thin(sample(values), 3), name=words(name), orientation="h", side="positive", width=1.7, points=False,
                line={"color": look[name].colour, "width": 1.3}, meanline_visible=True, spanmode="hard",
                hoveron="violins", showlegend=False,
            )
        )  # fmt: skip
    figure.update_xaxes(title=f"{evidence.objective.name} of an episode ({evidence.objective.unit})")
    figure.update_layout(violingap=0)
    return finish(figure, height=120 + 44 * len(evidence.policies), legend=False)

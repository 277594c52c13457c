"""Methods side by side: what they earn and how often all species live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.environment import Array
from interlock.core.evaluation.statistics import wilson
from interlock.domains.fisheries.figures_style import DANGER, GUIDE, RULES, finish, looks_of, thin, words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.evaluation.record import Evidence
    from interlock.core.policy import Policy
    from interlock.domains.fisheries.frontier import FrontierPoint
    from interlock.domains.fisheries.scenario import FisheriesScenario

FAR = 0.5
"""Methods with less than this share of the best reward, and that another one beats in safety too, are named instead of
drawn, so that the scale shows the rest."""

FURTHER = 0.1
"""By how much less survival rules of dynamic programming may have than all methods to be drawn."""

QUANTILES = 300
"""Values by which the distribution of a method's rewards is drawn."""


def draw_frontier(
    scenario: FisheriesScenario,
    points: Sequence[FrontierPoint],
    policies: Mapping[str, Policy],
    evidence: Evidence,
) -> PlotlyFigure:
    """Mean reward against survival, one mark with both intervals per method; rules of dynamic programming beside them.

    Args:
        scenario: the numbers.
        points: rules of dynamic programming under several penalties.
        policies: by name.
        evidence: of them.
    """
    from plotly import graph_objects as go

    figure, look = go.Figure(), looks_of(evidence)
    best = max(policy.objective.mean for policy in evidence.policies.values())
    far, lowest, least = [], 1.0, best
    for name, policy in evidence.policies.items():
        own, survived = policy.objective, evidence.outcomes[name].metrics["survival"]
        chance = wilson(int(survived.sum()), len(survived))
        if own.mean < FAR * best and _beaten(name, evidence):
            far.append(f"{words(name)} ({chance.mean:.2f}, {own.mean:.3g})")
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
    for kind, front in frontiers(points).items():
        drawn = [point for point in front if point.reward >= FAR * best and point.survival >= lowest - FURTHER]
        figure.add_trace(_optima(kind, drawn))
        lowest = min([lowest, *(point.survival for point in drawn)])
    asked = 1.0 - (scenario.collapse_probability or 1.0)
    lowest = min(lowest, asked) if scenario.collapse_probability is not None else lowest
    margin = 0.06 * max(1.0 - lowest, 0.01)
    _bounds(figure, scenario, evidence, lowest - margin, 1.0 + margin)
    if scenario.collapse_probability is not None:
        figure.add_vrect(x0=asked, x1=1.0 + margin, fillcolor="#009E73", opacity=0.08, line_width=0, layer="below")
        figure.add_vline(x=asked, line={"color": DANGER, "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=asked, y=1, yref="paper", yanchor="bottom", text=f"asked for: {asked:g}", showarrow=False, font_size=12
        )
    if far:
        lines = ["; ".join(far[k : k + 3]) for k in range(0, len(far), 3)]
        text = "not drawn (survival, reward): " + "<br>".join(lines)
        figure.add_annotation(
            x=0, y=0, xref="paper", yref="paper", xanchor="left", align="left", yanchor="bottom", yshift=4, text=text,
            showarrow=False, font={"size": 11, "color": GUIDE},
        )  # fmt: skip
    figure.update_xaxes(
        title="survival: share of futures in which no species collapses", range=[lowest - margin, 1 + margin]
    )
    figure.update_yaxes(title=f"mean {evidence.objective.name} ({evidence.objective.unit})")
    return finish(figure, height=520)


def _beaten(name: str, evidence: Evidence) -> bool:
    """Whether another method earns more and lets species live about as often, within a hundredth."""
    own, survival = evidence.policies[name].objective.mean, evidence.outcomes[name].metrics["survival"].mean()
    return any(
        other.objective.mean > own and evidence.outcomes[rival].metrics["survival"].mean() > survival - 0.01
        for rival, other in evidence.policies.items()
    )


def frontiers(points: Sequence[FrontierPoint]) -> dict[str, list[FrontierPoint]]:
    """By kind of rule, those that no other of the same kind beats in both reward and survival, by rising survival.

    Args:
        points: named ``kind: penalty``.
    """
    kinds: dict[str, list[FrontierPoint]] = {}
    for point in points:
        kinds.setdefault(point.name.split(":")[0], []).append(point)
    found = {}
    for kind, own in kinds.items():
        best, kept = -np.inf, []
        for point in sorted(own, key=lambda one: (-one.survival, -one.reward)):
            if point.reward > best:
                best = point.reward
                kept.append(point)
        found[kind] = kept[::-1]
    return found


def _optima(kind: str, points: Sequence[FrontierPoint]) -> Any:
    """A line through rules that dynamic programming finds under several penalties, with 95 % intervals."""
    from plotly import graph_objects as go

    look = RULES[kind]
    sees = "sees the year" if kind == "optimum" else "does not"
    return go.Scatter(
        x=[point.survival for point in points], y=[point.reward for point in points], mode="lines+markers",
        name=f"dynamic programming, {sees}", line={"color": look.colour, "dash": look.dash, "width": 1.5},
        marker={"symbol": "circle", "size": 5, "color": look.colour},
        error_x={"array": [1.96 * point.survival_error for point in points], "width": 0, "thickness": 1},
        error_y={"array": [1.96 * point.reward_error for point in points], "width": 0, "thickness": 1},
        text=[f"{words(point.name)}, made for a penalty of {point.penalty}" for point in points],
        hovertemplate="%{text}: survival %{x:.3f}, reward %{y:.3f}<extra></extra>",
    )  # fmt: skip


def _bounds(figure: PlotlyFigure, scenario: FisheriesScenario, evidence: Evidence, left: float, right: float) -> None:
    """Dashed lines; the bound that holds only for those who keep the limit ends where the limit is broken."""
    for name, bound in evidence.bounds.items():
        kept = 1.0 - (scenario.collapse_probability or 1.0) if name == "lagrangian_dual" else left
        start = max(kept, left)
        figure.add_shape(
            type="line", x0=start, x1=right, y0=bound.value, y1=bound.value,
            line={"color": "#009E73", "dash": "dash", "width": 1.5},
        )  # fmt: skip
        figure.add_annotation(
            x=start, xanchor="left", y=bound.value, yanchor="bottom", showarrow=False,
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

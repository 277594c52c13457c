"""The pictures every report has, whatever the domain: plotly figures of the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.evaluation.record import Evidence, PolicyEvidence

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BASELINE, LEARNED, BOUND, LIMIT = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
"""From Okabe and Ito's palette; learned policies also have another marker, bounds and limits are lines."""


def objective_figure(evidence: Evidence) -> Figure:
    """Mean objective of every policy with its interval, bounds as dashed lines."""
    figure = _rows(evidence)
    for name, policy in reversed(evidence.policies.items()):
        objective = policy.objective
        _add_point(figure, name, policy, (objective.mean, objective.low, objective.high))
    for level, (name, bound) in enumerate(evidence.bounds.items()):
        _add_line(figure, bound.value, f"{name}: {bound.value:.4g}", BOUND, level=level)
    figure.update_xaxes(title=f"{evidence.objective.name} ({evidence.objective.unit})")
    return figure


def difference_figure(evidence: Evidence) -> Figure:
    """Paired difference of every other policy from the reference heuristic, with its interval."""
    figure = _rows(evidence)
    for name, policy in reversed(evidence.policies.items()):
        if policy.vs_reference is not None:
            difference = policy.vs_reference
            _add_point(figure, name, policy, (difference.mean, difference.low, difference.high))
    _add_line(figure, 0.0, str(evidence.reference_heuristic), LIMIT)
    figure.update_xaxes(title=f"difference in {evidence.objective.name} ({evidence.objective.unit})")
    return figure


def constraint_figure(evidence: Evidence, constraint: str) -> Figure:
    """One constraint: every policy's value with its interval against the limit."""
    figure = _rows(evidence)
    for name, policy in reversed(evidence.policies.items()):
        entry = policy.constraints[constraint]
        _add_point(figure, name, policy, (entry.mean, entry.low, entry.high))
    entry = next(iter(evidence.policies.values())).constraints[constraint]
    _add_line(figure, entry.limit, f"limit {entry.limit:g}", LIMIT)
    unit = "share of episodes" if entry.kind == "chance" else entry.unit
    figure.update_xaxes(title=f"{constraint} ({unit})", rangemode="tozero")
    return figure


def _rows(evidence: Evidence) -> Figure:
    """An empty figure with one line per policy."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(height=150 + 34 * len(evidence.policies), showlegend=False, margin={"t": 46})
    figure.update_yaxes(categoryorder="array", categoryarray=list(reversed(evidence.policies)))
    return figure


def _add_point(figure: Figure, name: str, policy: PolicyEvidence, value: tuple[float, float, float]) -> None:
    from plotly.graph_objects import Scatter

    mean, low, high = value
    marker = {"size": 11, "color": LEARNED if policy.learned else BASELINE}
    marker["symbol"] = "diamond" if policy.learned else "circle"
    figure.add_trace(
        Scatter(
            x=[mean],
            y=[name],
            mode="markers",
            marker=marker,
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - mean],
                "arrayminus": [mean - low],
                "width": 6,
            },
            hovertemplate=f"%{{y}}: {mean:.4g} (95 % interval {low:.4g} to {high:.4g})<extra></extra>",
        )
    )


def _add_line(figure: Figure, value: float, label: str, colour: str, level: int = 0) -> None:
    figure.add_vline(x=value, line={"dash": "dash", "color": colour, "width": 2})
    figure.add_annotation(x=value, y=1, yref="paper", yanchor="bottom", yshift=16 * level, text=label, showarrow=False)

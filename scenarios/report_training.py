"""How training went: held-out figures, constraints with their multipliers, and losses, over steps and over CPU time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.core.evaluation.record import Evidence
from interlock.scenarios.report_figures import BASELINE, LEARNED, LIMIT

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

STEPS, CPU_SECONDS = "step", "time/cpu_seconds"
"""Columns of the curves that a picture has along its x axis."""

_TITLES = {"Held-out figures": "eval/", "Constraints and multipliers": "constraint/", "Training figures": "train/"}
_AXES = {STEPS: "steps", CPU_SECONDS: "CPU seconds"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One curve, or the value and the best so far, over a shared axis.

    Attributes:
        title: in words, with the unit where it is known.
        value: column of the curves.
        best: column of the best value so far, if there is one.
        half_width: column of the half width of the value's 95 % interval, if there is one.
        limit: a line that the value must stay below, if there is one.
    """

    title: str
    value: str
    best: str | None = None
    half_width: str | None = None
    limit: float | None = None


def panels(curves: Sequence[Mapping[str, Any]], evidence: Evidence) -> dict[str, list[Panel]]:
    """What there is to draw, by picture: held-out figures, constraints and multipliers, those of training itself.

    Args:
        curves: rows with ``step`` and names such as ``eval/objective``; entries may be missing.
        evidence: gives the objective's unit and the limits of the constraints.
    """
    names = [name for name in dict.fromkeys(name for row in curves for name in row) if points(curves, name, STEPS)]
    limits = {name: entry.limit for policy in evidence.policies.values() for name, entry in policy.constraints.items()}
    found = {
        title: [
            _panel(name, prefix, names, evidence, limits)
            for name in names
            if name.startswith(prefix) and name not in ("eval/best", "eval/half_width")
        ]
        for title, prefix in _TITLES.items()
    }
    return {title: drawn for title, drawn in found.items() if drawn}


def _panel(name: str, prefix: str, names: Sequence[str], evidence: Evidence, limits: Mapping[str, float]) -> Panel:
    if name == "eval/objective":
        objective = evidence.objective
        best, half_width = (other if other in names else None for other in ("eval/best", "eval/half_width"))
        return Panel(f"{objective.name.replace('_', ' ')} ({objective.unit})", name, best, half_width)
    words = name.removeprefix(prefix)
    cost = words.removeprefix("constraint/").removesuffix("/mean")
    limit = limits.get(cost) if not name.startswith("train/") else None
    title = (cost if limit is not None else words).replace("_", " ").replace("/", ": ")
    return Panel(title, name, limit=limit)


def points(curves: Sequence[Mapping[str, Any]], name: str, along: str) -> list[tuple[float, float]]:
    """Places along an axis and finite values of one column, where both are there."""
    rows = [(row.get(along), row.get(name)) for row in curves]
    return [
        (float(place), float(value))
        for place, value in rows
        if place is not None and value is not None and math.isfinite(value)
    ]


def training_figure(curves: Sequence[Mapping[str, Any]], drawn: Sequence[Panel]) -> Figure:
    """One panel per curve over the steps; beside it the same over CPU seconds, where they were written down."""
    from plotly.subplots import make_subplots

    timed = any(row.get(CPU_SECONDS) is not None for row in curves)
    axes = [STEPS, CPU_SECONDS] if timed else [STEPS]
    count = len(drawn)
    titles = [title for panel in drawn for title in [panel.title, *[""] * (len(axes) - 1)]]
    figure = make_subplots(
        rows=count,
        cols=len(axes),
        shared_xaxes="columns",
        shared_yaxes="rows",
        subplot_titles=titles,
        vertical_spacing=0.24 / max(2, count),
        horizontal_spacing=0.05,
    )
    for row, panel in enumerate(drawn, start=1):
        for column, along in enumerate(axes, start=1):
            for trace in _traces(curves, panel, along):
                figure.add_trace(trace, row=row, col=column)
            if panel.limit is not None:
                line = {"dash": "dash", "color": LIMIT, "width": 2}
                figure.add_hline(y=panel.limit, line=line, row=row, col=column)
    for column, along in enumerate(axes, start=1):
        figure.update_xaxes(title=_AXES[along], row=count, col=column)
    figure.update_layout(height=120 + 150 * count)
    return figure


def _traces(curves: Sequence[Mapping[str, Any]], panel: Panel, along: str) -> list[Any]:
    from plotly.graph_objects import Scatter

    found = points(curves, panel.value, along)
    places, values = [place for place, _ in found], [value for _, value in found]
    look = {"mode": "lines" if len(found) > 1 else "markers", "showlegend": False}
    traces = []
    if panel.half_width is not None:
        rows = [
            row for row in curves if all(row.get(name) is not None for name in (along, panel.value, panel.half_width))
        ]
        high = [(row[along], row[panel.value] + row[panel.half_width]) for row in rows]
        low = [(row[along], row[panel.value] - row[panel.half_width]) for row in rows]
        x, y = zip(*high, *reversed(low), strict=True) if rows else ((), ())
        band = {"fill": "toself", "fillcolor": BASELINE, "opacity": 0.2, "line": {"width": 0}, "hoverinfo": "skip"}
        traces.append(Scatter(x=x, y=y, mode="lines", name="95 % interval", showlegend=False, **band))
    line = {"color": BASELINE, "width": 2}
    traces.append(Scatter(x=places, y=values, line=line, name=panel.title, **look))
    if panel.best is not None:
        best = points(curves, panel.best, along)
        line = {"color": LEARNED, "width": 1.5, "dash": "dot", "shape": "hv"}
        traces.append(
            Scatter(
                x=[place for place, _ in best], y=[value for _, value in best], line=line, name="best so far", **look
            )
        )
    return traces

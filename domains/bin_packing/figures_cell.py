"""Pictures of the robot cell in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from interlock.core.evaluation.statistics import Estimate
from interlock.domains.bin_packing.figures_style import BOUND, LEARNED, RULES
from interlock.domains.bin_packing.shift import Shift

SHOWN_MINUTES = 20.0
"""Length of the timeline; a robot cycle is still to be seen on a screen."""


def timeline(shifts: Mapping[str, Shift], hours: float) -> Any:
    """Arrivals, robot, infeed stops and bin changes of one shift per policy, over minutes.

    Args:
        shifts: by name of the policy.
        hours: length of the shift.
    """
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=len(shifts),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.35 / max(len(shifts), 1),
        subplot_titles=[*shifts],
    )
    bands = (
        ("robot busy", "cycles", RULES[0]),
        ("infeed stopped", "stops", LEARNED[0]),
        ("bin change", "changes", BOUND),
    )
    for row, shift in enumerate(shifts.values(), start=1):
        for name, kind, colour in bands:
            spans = np.array(getattr(shift, kind)).reshape(-1, 2) / 60
            spans = spans[spans[:, 0] <= SHOWN_MINUTES]
            figure.add_trace(
                go.Bar(
                    base=spans[:, 0],
                    x=spans[:, 1] - spans[:, 0],
                    y=[name] * len(spans),
                    orientation="h",
                    name=name,
                    marker={"color": colour, "line": {"width": 0.5, "color": "#FFFFFF"}},
                    hovertemplate=f"{name} from minute %{{base:.2f}} for %{{x:.2f}} min<extra></extra>",
                    showlegend=False,
                ),
                row=row,
                col=1,
            )
        arrivals = np.array(shift.arrivals) / 60
        arrivals = arrivals[arrivals <= SHOWN_MINUTES]
        figure.add_trace(
            go.Scatter(
                x=arrivals,
                y=["box arrives"] * len(arrivals),
                mode="markers",
                marker={"color": "#606060", "size": 5},
                hovertemplate="box at minute %{x:.2f}<extra></extra>",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
    figure.update_xaxes(range=[0, min(SHOWN_MINUTES, 60 * hours)])
    figure.update_xaxes(title_text="minutes", row=len(shifts), col=1)
    figure.update_yaxes(
        categoryorder="array", categoryarray=["bin change", "infeed stopped", "robot busy", "box arrives"]
    )
    figure.update_layout(height=120 + 190 * len(shifts), barmode="overlay", bargap=0.3)
    return figure


def rates(found: Mapping[str, Mapping[str, Estimate]]) -> Any:
    """Boxes per hour and utilisation of the bins taken away, with intervals.

    Args:
        found: name of the policy -> figure -> estimate.
    """
    from plotly.subplots import make_subplots

    panels = (
        ("boxes_per_hour", "boxes/h"),
        ("infeed_stop", "infeed stopped (min/h)"),
        ("utilisation_at_close", "utilisation (%)"),
    )
    figure = make_subplots(rows=1, cols=len(panels), shared_yaxes=True, subplot_titles=[title for _, title in panels])
    names = [*found][::-1]
    for column, (key, _) in enumerate(panels, start=1):
        estimates = [found[name][key] for name in names]
        figure.add_scatter(
            x=[one.mean for one in estimates],
            y=names,
            mode="markers",
            marker={"color": RULES[0], "size": 9},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.mean for one in estimates],
                "arrayminus": [one.mean - one.low for one in estimates],
            },
            showlegend=False,
            row=1,
            col=column,
        )
    figure.update_layout(height=160 + 40 * len(names))
    return figure

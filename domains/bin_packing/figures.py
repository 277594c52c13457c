"""The pictures an operator looks at, drawn from observations of held-out instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.policy import Policy
from interlock.core.problem import Figure, Problem
from interlock.domains.bin_packing import placements
from interlock.domains.bin_packing.scenario import BinPackingScenario

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.environment import Array
    from interlock.core.evaluation.record import Evidence

LEARNED, RULES, BOUND = ("#D55E00", "#CC79A7"), ("#0072B2", "#56B4E9"), "#009E73"
"""From Okabe and Ito's palette, told apart with any kind of colour vision."""

_RULES = {
    placements.FEASIBLE: ("feasible", "circle", "#009E73"),
    placements.OUTSIDE: ("refused: sticks out", "x-thin", "#202020"),
    placements.TOO_HIGH: ("refused: too high", "triangle-up-open", "#D55E00"),
    placements.UNSTABLE: ("refused: not supported", "square-open", "#0072B2"),
}
_CURVE_INSTANCES = 200
_MOST_MARKS = 200_000
"""Cells drawn in all steps of the placement picture together; a fine grid shows fewer steps."""

# fmt: off
_FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                   [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])
# fmt: on
"""The 12 triangles of a box over its corners 0..7; corner number = 4 x + 2 y + z of the unit cube."""

_EDGE_PATH = np.array([0, 1, 3, 2, 0, 4, 5, 1, 5, 7, 3, 7, 6, 2, 6, 4])


@dataclass(frozen=True, slots=True)
class Placed:
    """One box as it was set down.

    Attributes:
        heights: ``(L, W)``, the height map before, cells.
        item: ``(3,)``, length, width, height as it came, cells.
        orientation: 1 if length and width were swapped.
        corner: x, y, z of the front-left-bottom corner, cells.
        size: extent along x, y, z as placed, cells.
    """

    heights: Array
    item: Array
    orientation: int
    corner: Array
    size: Array


def figures(problem: Problem) -> Mapping[str, Figure]:
    """The pictures of the report, in order; each plays held-out instances of ``problem`` when it is drawn."""
    return {
        "bin": Figure(
            "The packed bin",
            "The first held-out sequence, box by box; move the slider to go back and forth, drag to turn the bin. "
            "Colour shows the order of arrival, from dark (first) to bright (last).",
            partial(_draw_bin, problem),
        ),
        "placement": Figure(
            "Where the next box may go",
            "Seen from above: height of the stack, and for every cell whether the next box may be set down with its "
            "front-left corner there, or which rule forbids it. The outlined footprint is the chosen place.",
            partial(_draw_placement, problem),
        ),
        "utilisation": Figure(
            "Utilisation against boxes placed",
            f"Lines: median over the first {_CURVE_INSTANCES} held-out sequences (or all, if there are fewer); bands: "
            "the middle 80 % of them. A sequence that has ended stays at its final value.",
            partial(_draw_curves, problem),
        ),
        "distribution": Figure(
            "Final utilisation, sequence by sequence",
            "Each shape shows how final utilisation is spread over the held-out sequences, with quartiles and mean; "
            "dashed lines are values that no policy can exceed on average.",
            _draw_distribution,
        ),
    }


def _settings(problem: Problem) -> BinPackingScenario:
    assert isinstance(problem.scenario, BinPackingScenario)
    return problem.scenario


def _featured(policies: Mapping[str, Policy], evidence: Evidence) -> str:
    """The policy under test; without one, the best-ranked."""
    ranked = [name for name in evidence.policies if name in policies]
    return next((name for name in ranked if evidence.policies[name].learned), ranked[0])


def play_first(problem: Problem, policy: Policy, evidence: Evidence) -> list[Placed]:
    """The first held-out instance, box by box, as far as the boxes could be set down."""
    environment = problem.environment(1, seed=evidence.seed, split=evidence.split)
    observation = environment.reset()
    policy.reset()
    placed: list[Placed] = []
    done = False
    while not done:
        action = policy.act(observation, deterministic=True)
        if not observation["action_mask"][0, action[0]]:
            break
        heights, item = observation["height_map"][0], observation["items"][0, 0]
        orientation, cell = divmod(int(action[0]), heights.size)
        x, y = divmod(cell, heights.shape[1])
        size = item[[1, 0, 2]] if orientation else item
        z = heights[x : x + size[0], y : y + size[1]].max()
        placed.append(Placed(heights, item, orientation, np.array([x, y, z]), size))
        step = environment.step(action)
        observation, done = step.observation, bool(step.done[0])
    return placed


def _draw_bin(problem: Problem, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Boxes in 3D with a slider over the steps."""
    from plotly import graph_objects as go
    from plotly.colors import sample_colorscale

    name = _featured(policies, evidence)
    placed = play_first(problem, policies[name], evidence)
    bin_ = _settings(problem).bin
    cell, unit = bin_.cell_size, _unit(problem)
    inner = cell * np.array([bin_.length, bin_.width, bin_.height])
    shades = sample_colorscale("Viridis", [k / max(1, len(placed) - 1) for k in range(len(placed))])
    figure = go.Figure(_outline(np.zeros(3), inner, "#888888", 2))
    for number, (box, shade) in enumerate(zip(placed, shades, strict=True), start=1):
        corner, size = cell * box.corner, cell * box.size
        figure.add_trace(_solid(corner, size, shade, f"box {number}: {_times(size)} {unit}, at {_times(corner, ', ')}"))
        figure.add_trace(_outline(corner, size, "#202020", 3))
    filled = np.cumsum([box.size.prod() for box in placed]) / (bin_.length * bin_.width * bin_.height)
    steps = [
        _slide(
            shown,
            [True] + [index < shown for index in range(len(placed)) for _ in range(2)],
            f"{name}: {shown} boxes, {100 * filled[shown - 1] if shown else 0:.1f} % full",
        )
        for shown in range(len(placed) + 1)
    ]
    figure.update_layout(
        title_text=steps[-1]["args"][1]["title.text"],
        showlegend=False,
        height=560,
        sliders=[_slider(steps, len(placed), "boxes placed: ", 10)],
        scene={
            "xaxis": {"title": f"x ({unit})", "range": [0, inner[0]]},
            "yaxis": {"title": f"y ({unit})", "range": [0, inner[1]]},
            "zaxis": {"title": f"z ({unit})", "range": [0, inner[2]]},
            "aspectmode": "data",
            "camera": {"eye": {"x": 1.5, "y": -1.6, "z": 1.1}},
        },
    )  # fmt: skip
    return figure


def _slide(label: int, visible: list[bool], title: str) -> dict[str, Any]:
    return {"label": str(label), "method": "update", "args": [{"visible": visible}, {"title.text": title}]}


def _slider(steps: list[dict[str, Any]], active: int, prefix: str, top: int) -> dict[str, Any]:
    return {"active": active, "steps": steps, "currentvalue": {"prefix": prefix}, "pad": {"t": top}}


def _corners(corner: Array, size: Array) -> Array:
    """The 8 corners of a box, ``(8, 3)``, in the order of ``_FACES``."""
    bits = np.array([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)])
    result: Array = corner + bits * size
    return result


def _solid(corner: Array, size: Array, colour: str, text: str) -> Any:
    from plotly import graph_objects as go

    x, y, z = _corners(corner, size).T
    i, j, k = _FACES.T
    return go.Mesh3d(
        x=x, y=y, z=z, i=i, j=j, k=k, color=colour, flatshading=True, hovertext=text, hoverinfo="text",
        lighting={"ambient": 0.75, "diffuse": 0.5, "specular": 0.05},
    )  # fmt: skip


def _outline(corner: Array, size: Array, colour: str, width: int) -> Any:
    from plotly import graph_objects as go

    x, y, z = _corners(corner, size)[_EDGE_PATH].T
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line={"color": colour, "width": width}, hoverinfo="skip")


def _draw_placement(problem: Problem, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Height map, verdict per cell and chosen footprint, with a slider over the steps."""
    from plotly import graph_objects as go

    name = _featured(policies, evidence)
    played = play_first(problem, policies[name], evidence)
    bin_ = _settings(problem).bin
    cell, unit = bin_.cell_size, _unit(problem)
    figure = go.Figure()
    per_step = 2 + len(_RULES)
    every = -(-len(played) * bin_.length * bin_.width // _MOST_MARKS)
    numbers = range(0, len(played), max(1, every))
    placed = [played[number] for number in numbers]
    shown_first = (2 * len(placed)) // 3
    for shown, box in enumerate(placed):
        for trace in _placement_traces(_settings(problem), box, unit):
            trace.visible = shown == shown_first
            figure.add_trace(trace)
    steps = [
        _slide(
            number + 1,
            [step == shown for step in range(len(placed)) for _ in range(per_step)],
            f"{name}: box {number + 1}, {_times(cell * box.item)} {unit}{', turned' if box.orientation else ''}",
        )
        for shown, (number, box) in enumerate(zip(numbers, placed, strict=True))
    ]
    figure.update_layout(
        title={"text": steps[shown_first]["args"][1]["title.text"], "y": 0.98, "yanchor": "top"},
        height=620,
        sliders=[_slider(steps, shown_first, "box: ", 45)],
        margin={"t": 150},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "bgcolor": "#FFFFFF", "font": {"color": "#202020"}},
        xaxis={"title": f"x ({unit})", "range": [0, cell * bin_.length], "constrain": "domain", "showgrid": False},
        yaxis={
            "title": f"y ({unit})",
            "range": [0, cell * bin_.width],
            "scaleanchor": "x",
            "constrain": "domain",
            "showgrid": False,
        },
    )
    return figure


def _placement_traces(settings: BinPackingScenario, box: Placed, unit: str) -> list[Any]:
    """Height map, one set of markers per rule, and the outline of the chosen footprint."""
    from plotly import graph_objects as go

    bin_, cell = settings.bin, settings.bin.cell_size
    report = placements.placement_report(
        box.heights[None],
        box.item[None],
        ceiling=bin_.height,
        orientations=int(settings.orientations),
        thresholds=settings.thresholds(),
    )
    rule = report.rule[0, box.orientation]
    traces: list[Any] = [
        go.Heatmap(
            x=cell * (np.arange(bin_.length) + 0.5),
            y=cell * (np.arange(bin_.width) + 0.5),
            z=cell * box.heights.T,
            zmin=0,
            zmax=cell * bin_.height,
            colorscale=[[0, "#FFFFFF"], [1, "#8C8C8C"]],
            colorbar={"title": f"height<br>({unit})", "thickness": 12},
            hovertemplate=f"x %{{x}}, y %{{y}}: height %{{z}} {unit}<extra></extra>",
        )
    ]
    for code, (text, symbol, colour) in _RULES.items():
        x, y = np.nonzero(rule == code)
        marker = {"symbol": symbol, "color": colour, "size": max(4, 110 // max(bin_.length, bin_.width))}
        traces.append(
            go.Scatter(
                x=cell * (x + 0.5),
                y=cell * (y + 0.5),
                mode="markers",
                name=text,
                showlegend=len(x) > 0,
                marker={**marker, "line": {"width": 2, "color": colour}},
                hovertemplate=f"x %{{x}}, y %{{y}}: {text}<extra></extra>",
            )
        )
    (x0, y0, _), (length, width, _) = cell * box.corner, cell * box.size
    traces.append(
        go.Scatter(
            x=[x0, x0 + length, x0 + length, x0, x0],
            y=[y0, y0, y0 + width, y0 + width, y0],
            mode="lines",
            name="chosen place",
            line={"color": "#C2185B", "width": 4},
            hoverinfo="skip",
        )
    )
    return traces


def _draw_curves(problem: Problem, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Utilisation against boxes placed, with quantile bands, for the most telling policies."""
    from plotly import graph_objects as go

    figure = go.Figure()
    count = min(_CURVE_INSTANCES, evidence.instances)
    chosen = _told_apart(policies, evidence)
    curves = {name: utilisation_curves(problem, policies[name], evidence, count) for name in chosen}
    longest = max(drawn.shape[1] for drawn in curves.values())
    boxes = np.arange(longest)
    for name, drawn in curves.items():
        padded = np.pad(drawn, ((0, 0), (0, longest - drawn.shape[1])), mode="edge")
        low, middle, high = np.quantile(padded, [0.1, 0.5, 0.9], axis=0)
        shared = {"name": name, "legendgroup": name}
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([boxes, boxes[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
                fillcolor=chosen[name], opacity=0.18, line={"width": 0}, showlegend=False, hoverinfo="skip", **shared,
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(x=boxes, y=middle, mode="lines", line={"color": chosen[name], "width": 3}, **shared)
        )
    figure.update_layout(
        xaxis_title="boxes placed", yaxis_title="utilisation (%)", height=420, legend={"orientation": "h", "y": 1.12}
    )
    return figure


def _told_apart(policies: Mapping[str, Policy], evidence: Evidence) -> dict[str, str]:
    """Name -> colour: up to two learned policies, then the best and the last-ranked rule; at most three in all."""
    ranked = [name for name in evidence.policies if name in policies]
    learned = [name for name in ranked if evidence.policies[name].learned][:2]
    rules = [name for name in ranked if not evidence.policies[name].learned]
    colours = dict(zip(learned, LEARNED, strict=False)) | dict(
        zip(dict.fromkeys(rules[:1] + rules[-1:]), RULES, strict=False)
    )
    return dict(list(colours.items())[:3])


def utilisation_curves(problem: Problem, policy: Policy, evidence: Evidence, count: int) -> Array:
    """Utilisation in % after 0, 1, 2, ... boxes on the first held-out instances, ``(count, most boxes + 1)``."""
    environment = problem.environment(count, seed=evidence.seed, split=evidence.split)
    observation = environment.reset()
    policy.reset()
    running = np.ones(count, bool)
    totals = [np.zeros(count)]
    while running.any():
        step = environment.step(policy.act(observation, deterministic=True))
        observation = step.observation
        totals.append(totals[-1] + np.where(running, step.reward, 0.0) * problem.objective.per_reward)
        policy.reset(np.flatnonzero(step.done))
        running &= ~step.done
    return np.stack(totals, axis=1)


def _draw_distribution(policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Spread of the final utilisation per method, with the bounds as lines."""
    from plotly import graph_objects as go

    figure = go.Figure()
    for name in reversed(evidence.policies):
        figure.add_trace(
            go.Violin(
                x=evidence.outcomes[name].objective,
                name=name,
                orientation="h",
                box_visible=True,
                meanline_visible=True,
                points=False,
                spanmode="hard",
                line_color=LEARNED[0] if evidence.policies[name].learned else RULES[0],
            )
        )
    for level, (name, bound) in enumerate(evidence.bounds.items()):
        label = f"{name.replace('_', ' ')}: {bound.value:.1f} %"
        figure.add_vline(x=bound.value, line={"dash": "dash", "color": BOUND, "width": 2})
        figure.add_annotation(
            x=bound.value,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=16 * level,
            text=label,
            showarrow=False,
            xanchor="right",
        )
    height = 150 + 60 * len(evidence.policies)
    figure.update_layout(xaxis_title="final utilisation (%)", showlegend=False, height=height)
    return figure


def _unit(problem: Problem) -> str:
    unit = _settings(problem).bin.unit
    return "cells" if unit == "cell" else unit


def _times(values: Array, between: str = " x ") -> str:
    return between.join(f"{value:g}" for value in values)

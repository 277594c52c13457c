"""The next box seen from above: where it may go, and which rule refuses the other cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.domains.bin_packing.figures_style import described, slider, times, unit_of
from interlock.domains.bin_packing.placements import FEASIBLE, OUTSIDE, TOO_HIGH, UNSTABLE
from interlock.domains.bin_packing.playback import Placed
from interlock.domains.bin_packing.release_rules import CRUSHES, OVERWEIGHT, TIPS
from interlock.domains.bin_packing.scenario import BinPackingScenario

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from interlock.core.environment import Array

ALWAYS = (FEASIBLE, OUTSIDE, TOO_HIGH, UNSTABLE)
"""Verdicts that every scenario knows."""

_LOOKS = {
    FEASIBLE: ("may go here", "", "#009E73"),
    OUTSIDE: ("sticks out", "/", "#707070"),
    TOO_HIGH: ("too high", "\\", "#D55E00"),
    UNSTABLE: ("not supported", "/\\", "#0072B2"),
    TIPS: ("stack would tip", "-", "#CC79A7"),
    CRUSHES: ("a box would be crushed", "|", "#8C5A00"),
    OVERWEIGHT: ("bin too heavy", "-|", "#000000"),
}
"""Verdict -> words, directions of the hatching, colour."""

_DIRECTIONS = {"/": (1, 1), "\\": (1, -1), "-": (1, 0), "|": (0, 1)}
_HATCHES = 20
"""Least number of hatching lines across a bin; a fine grid has one per cell."""
_MOST_CELLS, _MOST_PANELS = 100_000, 240
"""Drawn in all steps together; fine grids and many bins show fewer steps."""
_MOST_BINS = 4
"""Open bins that are drawn; of more, only the one that takes the box."""


def draw_placement(scenario: BinPackingScenario, name: str, played: Sequence[Placed]) -> Figure:
    """Height map, verdict per cell and chosen place for each box, with a slider over the steps."""
    from plotly.subplots import make_subplots

    bin_, unit = scenario.bin, unit_of(scenario)
    panels = bin_.open if bin_.open <= _MOST_BINS else 1
    columns = min(2, panels)
    rows = -(-panels // columns)
    most = min(_MOST_PANELS, _MOST_CELLS // (bin_.length * bin_.width)) // panels
    every = max(1, -(-len(played) // max(1, most)))
    steps = range(0, len(played), every)
    codes = [
        *ALWAYS,
        *(code for code in (TIPS, CRUSHES, OVERWEIGHT) if any((box.rule == code).any() for box in played)),
    ]
    figure = make_subplots(rows=rows, cols=columns, horizontal_spacing=0.12, vertical_spacing=0.14)
    frames: list[dict[str, Any]] = []
    for step in steps:
        layout: dict[str, Any] = {"title": {"text": _title(scenario, name, played, step)}}
        if panels > 1:
            layout["annotations"] = _headings(figure, played[step], panels)
        contents = _contents(scenario, played[step], codes, panels)
        frames.append({"name": str(step + 1), "data": contents, "layout": layout})
    active = (2 * len(steps)) // 3
    looks = _looks(scenario, codes, panels)
    for k, (look, content) in enumerate(zip(looks, frames[active]["data"], strict=True)):
        panel = panels * k // len(looks)
        figure.add_trace(look | content, row=panel // columns + 1, col=panel % columns + 1)
    figure.frames = frames
    for panel in range(panels):
        _axes(figure, scenario, unit, panel, columns, last=panel // columns == rows - 1)
    jump = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    slides = [{"label": frame["name"], "method": "animate", "args": [[frame["name"]], jump]} for frame in frames]
    figure.update_layout(frames[active]["layout"])
    figure.update_layout(
        title={"y": 0.99, "yanchor": "top", "yref": "container"},
        height=130 + 520 * rows,
        sliders=[slider(slides, active, "box: ", 50)],
        margin={"t": 130},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.03, "bgcolor": "#FFFFFF", "font": {"color": "#202020"}},
    )
    return figure


def _title(scenario: BinPackingScenario, name: str, played: Sequence[Placed], step: int) -> str:
    """Which box is placed; where there is a choice, what else is held or known."""
    box, cell = played[step], scenario.bin.cell_size
    lines = [f"{name}: box {step + 1}, {described(scenario, box)}"]
    if scenario.bins() > 1:
        lines[0] += f", into bin {box.number + 1}"
    held = [times(cell * item) for item in box.held]
    if scenario.buffer > 1:
        held[box.which] = f"<b>{held[box.which]}</b>"
        lines.append(f"held: {', '.join(held)}")
    if len(box.coming):
        lines.append(f"known to follow: {', '.join(times(cell * item) for item in box.coming)}")
    return "<br>".join(line if k == 0 else f"<sup>{line}</sup>" for k, line in enumerate(lines))


def _headings(figure: Any, box: Placed, panels: int) -> list[dict[str, Any]]:
    """The number of each open bin above its panel."""
    found = []
    for panel in range(panels):
        x, y = ((figure.layout[f"{axis}axis{panel + 1 if panel else ''}"].domain) for axis in "xy")
        found.append(
            {
                "text": f"bin {box.numbers[panel] + 1}" + (" (chosen)" if panel == box.bin else ""),
                "x": sum(x) / 2,
                "y": y[1],
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    return found


def _looks(scenario: BinPackingScenario, codes: Sequence[int], panels: int) -> list[dict[str, Any]]:
    """What the traces of all steps have in common, in the order of ``_contents``."""
    bin_, cell, unit = scenario.bin, scenario.bin.cell_size, unit_of(scenario)
    size = max(4, 100 // max(bin_.length, bin_.width))
    traces: list[dict[str, Any]] = []
    for panel in range(panels):
        traces.append(
            {
                "type": "heatmap",
                "x": (cell * (np.arange(bin_.length) + 0.5)).astype(np.float32),
                "y": (cell * (np.arange(bin_.width) + 0.5)).astype(np.float32),
                "zmin": 0,
                "zmax": cell * bin_.height,
                "colorscale": [[0, "#FFFFFF"], [1, "#A0A0A0"]],
                "colorbar": {"title": {"text": f"height<br>({unit})"}, "thickness": 12},
                "showscale": panel == 0,
                "hovertemplate": f"x %{{x:g}}, y %{{y:g}}: height %{{z:g}} {unit}, %{{text}}<extra></extra>",
            }
        )
        for code in codes:
            text, _, colour = _LOOKS[code]
            name = text if code == FEASIBLE else f"refused: {text}"
            look = (
                {"mode": "markers", "marker": {"color": colour, "size": size}}
                if code == FEASIBLE
                else {"mode": "lines", "line": {"color": colour, "width": 1.5}}
            )
            traces.append({"type": "scatter", "name": name, "legendgroup": name, "hoverinfo": "skip", **look})
        outline = {"mode": "lines", "line": {"color": "#C2185B", "width": 4}, "hoverinfo": "skip"}
        traces.append({"type": "scatter", "name": "chosen place", "showlegend": panel == 0, **outline})
    return traces


def _contents(scenario: BinPackingScenario, box: Placed, codes: Sequence[int], panels: int) -> list[dict[str, Any]]:
    """What one step changes, panel by panel: height map, a trace per verdict, the outline of the chosen place."""
    cell = scenario.bin.cell_size
    words = np.full(max(_LOOKS) + 1, "", dtype=object)
    for code, (text, _, _) in _LOOKS.items():
        words[code] = text
    shown = list(range(panels)) if panels > 1 else [box.bin]
    traces: list[dict[str, Any]] = []
    for place in shown:
        rule = box.rule[place]
        heights = (cell * box.heights[place].T).astype(np.float32)
        traces.append({"type": "heatmap", "z": heights, "text": words[rule.T]})
        for code in codes:
            x, y = (cell * axis for axis in _marks(rule == code, code))
            there = place == shown[0] and bool((box.rule[shown] == code).any())
            traces.append(
                {"type": "scatter", "x": x.astype(np.float32), "y": y.astype(np.float32), "showlegend": there}
            )
        (x0, y0), (x1, y1) = cell * box.corner[:2], cell * (box.corner + box.size)[:2]
        around = [[x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0]] if place == box.bin else [[], []]
        traces.append({"type": "scatter", "x": around[0], "y": around[1]})
    return traces


def _marks(cells: Array, code: int) -> tuple[Array, Array]:
    """Dots where the box may go, hatching in the manner of the rule elsewhere; cells."""
    if code != FEASIBLE:
        return hatching(cells, _LOOKS[code][1])
    x, y = np.nonzero(cells)
    return x + 0.5, y + 0.5


def hatching(cells: Array, directions: str) -> tuple[Array, Array]:
    """Lines across marked cells, each as long as the marked cells reach.

    Args:
        cells: bool ``(L, W)``.
        directions: of the lines, any of ``_DIRECTIONS``.

    Returns:
        x and y of the ends, cells: two points per line, then NaN.
    """
    finer = max(1, round(_HATCHES / max(cells.shape)))
    marked = cells.repeat(finer, axis=0).repeat(finer, axis=1)
    ends = [np.zeros((0, 3, 2))]
    for direction in directions:
        dx, dy = _DIRECTIONS[direction]
        starts, stops = _unmarked_before(marked, dx, dy), _unmarked_before(marked, -dx, -dy)
        # The k-th start along a line belongs to the k-th stop: sort both by line, then by place on it.
        (x0, y0), (x1, y1) = (
            np.array(sorted(found, key=lambda p: (p[0] * dy - p[1] * dx, p[0], p[1]))).reshape(-1, 2).T
            for found in (starts, stops)
        )
        along = (np.array([dx, dy]) + 1) / 2
        lines = np.full((len(x0), 3, 2), np.nan)
        lines[:, 0] = np.stack([x0, y0], axis=1) + 1 - along
        lines[:, 1] = np.stack([x1, y1], axis=1) + along
        ends.append(lines)
    points = np.concatenate(ends).reshape(-1, 2) / finer
    return points[:, 0], points[:, 1]


def _unmarked_before(marked: Array, dx: int, dy: int) -> list[tuple[int, int]]:
    """Marked cells whose neighbour at ``(-dx, -dy)`` is not marked."""
    padded = np.pad(marked, 1)
    before = padded[1 - dx : padded.shape[0] - 1 - dx, 1 - dy : padded.shape[1] - 1 - dy]
    return [(int(x), int(y)) for x, y in np.argwhere(marked & ~before)]


def _axes(figure: Any, scenario: BinPackingScenario, unit: str, panel: int, columns: int, *, last: bool) -> None:
    """Square cells, user units, titles at the rim only."""
    bin_ = scenario.bin
    place = {"row": panel // columns + 1, "col": panel % columns + 1}
    name = f"x{panel + 1 if panel else ''}"
    shared = {"constrain": "domain", "showgrid": False, "zeroline": False, **place}
    far = bin_.cell_size * np.array([bin_.length, bin_.width])
    rim = 0.008 * far.max()
    figure.update_xaxes(title=f"x ({unit})" if last else "", range=[-rim, far[0] + rim], **shared)
    title = f"y ({unit})" if panel % columns == 0 else ""
    figure.update_yaxes(title=title, range=[-rim, far[1] + rim], scaleanchor=name, **shared)

"""The packed bins in three dimensions, box by box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.domains.bin_packing.figures_style import described, slider, times, unit_of
from interlock.domains.bin_packing.playback import Placed
from interlock.domains.bin_packing.scenario import BinPackingScenario

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from interlock.core.environment import Array

_MOST_BOXES = 240
"""More would make the page slow to turn; the title says how many there were."""
_BINS_PER_ROW = 4
_GAP = 0.35
"""Between bins that stand side by side, as a share of a bin's longer side."""

# fmt: off
_FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                   [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])
# fmt: on
"""The 12 triangles of a box over its corners 0..7; corner number = 4 x + 2 y + z of the unit cube."""

_EDGE_PATH = np.array([0, 1, 3, 2, 0, 4, 5, 1, 5, 7, 3, 7, 6, 2, 6, 4])


def draw_bins(scenario: BinPackingScenario, name: str, played: Sequence[Placed]) -> Figure:
    """Boxes in 3D with a slider over the steps; several bins stand side by side in the order they were opened."""
    from plotly import graph_objects as go
    from plotly.colors import sample_colorscale

    placed = played[:_MOST_BOXES]
    bin_, unit = scenario.bin, unit_of(scenario)
    inner = bin_.cell_size * np.array([bin_.length, bin_.width, bin_.height])
    bins = max([scenario.bin.open, *(box.number + 1 for box in placed)])
    origins = _origins(bins, inner)
    shades = sample_colorscale("Viridis", [k / max(1, len(placed) - 1) for k in range(len(placed))])
    figure = go.Figure([_outline(origin, inner, "#888888", 2) for origin in origins])
    if bins > 1:
        figure.add_trace(_names(origins, inner))
    fixed = len(figure.data)
    for number, (box, shade) in enumerate(zip(placed, shades, strict=True), start=1):
        corner, size = bin_.cell_size * box.corner, bin_.cell_size * box.size
        where = f"at {times(corner, ', ')}" + (f" in bin {box.number + 1}" if bins > 1 else "")
        text = f"box {number}: {described(scenario, box)}<br>{where} {unit}"
        figure.add_trace(_solid(origins[box.number] + corner, size, shade, text))
        figure.add_trace(_outline(origins[box.number] + corner, size, "#202020", 3))
    room = scenario.bins() * bin_.length * bin_.width * bin_.height
    shares = 100 * np.cumsum([0, *(box.size.prod() for box in placed)]) / room
    whole = f" of {len(played)}" if len(played) > len(placed) else ""
    of_bins = f"the {scenario.bins()} bins " if scenario.bins() > 1 else ""
    titles = [f"{name}: {shown}{whole} boxes, {of_bins}{share:.1f} % full" for shown, share in enumerate(shares)]
    steps = [
        {
            "label": str(shown),
            "method": "update",
            "args": [
                {"visible": [True] * fixed + [index < shown for index in range(len(placed)) for _ in range(2)]},
                {"title.text": title},
            ],
        }
        for shown, title in enumerate(titles)
    ]
    figure.update_layout(
        title={"text": titles[-1], "y": 0.98, "yanchor": "top"},
        showlegend=False,
        height=600,
        sliders=[slider(steps, len(placed), "boxes placed: ", 10)],
        scene=_scene(origins, inner, unit),
    )
    return figure


def _origins(bins: int, inner: Array) -> Array:
    """Where each bin's corner is drawn, ``(bins, 3)``: rows of a few, the first row in front."""
    number = np.arange(bins)
    gap = _GAP * inner[:2].max()
    row, column = number // _BINS_PER_ROW, number % _BINS_PER_ROW
    origins: Array = np.stack([column * (inner[0] + gap), row * (inner[1] + gap), 0.0 * row], axis=1)
    return origins


def _names(origins: Array, inner: Array) -> Any:
    """The number of each bin, above it."""
    from plotly import graph_objects as go

    x, y, z = (origins + inner * [0.5, 0.5, 1.0]).T
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="text",
        text=[f"bin {number + 1}" for number in range(len(origins))],
        textposition="top center",
        hoverinfo="skip",
    )


def _scene(origins: Array, inner: Array, unit: str) -> dict[str, Any]:
    """Axes in user units; bins that stand side by side have heights in common only."""
    far = origins.max(axis=0) + inner
    axes: dict[str, Any] = {
        f"{axis}axis": {"title": f"{axis} ({unit})", "range": [0, far[k]]} for k, axis in enumerate("xyz")
    }
    eye = {"x": 1.5, "y": -1.6, "z": 1.1}
    if len(origins) > 1:
        hidden = {"title": "", "showticklabels": False, "showgrid": False, "zeroline": False}
        axes["xaxis"] |= hidden
        axes["yaxis"] |= hidden
        eye = {"x": 0.4, "y": -1.6, "z": 0.8 if len(origins) <= _BINS_PER_ROW else 1.4}
    return {**axes, "aspectmode": "data", "camera": {"eye": eye}}


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

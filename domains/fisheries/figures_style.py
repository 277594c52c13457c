"""What the pictures of this domain share: colours and marks of policies, species and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.environment import Array
    from interlock.core.evaluation.record import Evidence
    from interlock.core.policy import Policy
    from interlock.domains.fisheries.scenario import FisheriesScenario

GUIDE, DANGER = "#7F7F7F", "#C2185B"
"""Colours of lines that help to read, and of what must not be reached."""

LEVELS = ("#3B1F6B", "#3366A8", "#2A9D8F", "#B5A642", "#E8B000")
"""Five steps from dark to light, told apart with any kind of colour vision."""


class Look(NamedTuple):
    """How a policy is drawn in every picture."""

    colour: str
    dash: str
    symbol: str


_LEARNED = (
    Look("#D55E00", "solid", "diamond"),
    Look("#CC79A7", "solid", "diamond-tall"),
    Look("#882255", "solid", "diamond-wide"),
)
RULES: Mapping[str, Look] = {
    "optimum": Look("#009E73", "solid", "star"),
    "optimum_stationary": Look("#009E73", "dash", "star-square"),
    "constant_mortality": Look("#0072B2", "solid", "circle"),
    "constant_mortality_safe": Look("#0072B2", "dash", "circle-open"),
    "constant_mortality_95": Look("#0072B2", "dot", "circle-x-open"),
    "constant_mortality_90": Look("#0072B2", "dot", "circle-cross-open"),
    "constant_mortality_80": Look("#0072B2", "dot", "circle-open-dot"),
    "constant_escapement": Look("#56B4E9", "solid", "square"),
    "precautionary": Look("#E69F00", "solid", "triangle-up"),
    "f_msy": Look(GUIDE, "dash", "x"),
    "myopic": Look(GUIDE, "dot", "cross"),
    "no_harvest": Look(GUIDE, "dashdot", "hexagon-open"),
}
_OTHERS = (
    Look("#117733", "solid", "pentagon"),
    Look("#AA4499", "solid", "bowtie"),
    Look("#44AA99", "solid", "hourglass"),
)
"""From the palettes of Okabe and Ito and of Tol; dashes and marks tell apart what shares a colour."""

SPECIES = (("#332288", "solid"), ("#B8860B", "dash"), ("#AA2255", "dot"))
"""Colour and dash of each species."""


def looks(learned: Mapping[str, bool]) -> dict[str, Look]:
    """The look of every policy.

    Args:
        learned: by name, whether it is a policy under test rather than a rule.
    """
    found: dict[str, Look] = {}
    tested, others = cycle(_LEARNED), cycle(_OTHERS)
    for name in sorted(learned):  # the same in every picture and every order
        found[name] = next(tested) if learned[name] else RULES.get(name) or next(others)
    return found


def looks_of(evidence: Evidence) -> dict[str, Look]:
    """The look of every policy of an evidence."""
    return looks({name: policy.learned for name, policy in evidence.policies.items()})


def chosen(policies: Mapping[str, Policy], evidence: Evidence, most: int) -> list[str]:
    """The policies that a picture shows if it has room for a few only, those to look at first in front.

    Learned ones (at most two), the optimum, the best-ranked rule, the reference, then one of every other kind of rule
    by rank; a closed fishery last.
    """
    ranked = [name for name in evidence.policies if name in policies]
    learned = [name for name in ranked if evidence.policies[name].learned][:2]
    optimum = [name for name in ("optimum", "optimum_stationary") if name in ranked][:1]
    rules = [name for name in ranked if not evidence.policies[name].learned and not name.startswith("optimum")]
    rules.sort(key=lambda name: name == "no_harvest")
    reference = [evidence.reference_heuristic] if evidence.reference_heuristic in ranked else []
    others = [name for name in rules if not name.startswith("constant_mortality_")]
    return list(dict.fromkeys([*learned, *optimum, *rules[:1], *reference, *others]))[:most]


def words(name: str) -> str:
    """A name as it is read."""
    return name.replace("_", " ")


def units(scenario: FisheriesScenario) -> tuple[Array, str]:
    """What a stock unit of each species is multiplied by ``(species,)``, and the unit that this gives."""
    if scenario.tonnes is not None:
        return np.array(scenario.tonnes), "t"
    return np.ones(len(scenario.model.species)), "stock units"


def band(x: Array, low: Array, high: Array, colour: str, group: str, opacity: float = 0.18) -> Any:
    """A shaded area between two curves; years in which there is nothing to show are left out."""
    from plotly import graph_objects as go

    there = np.isfinite(low) & np.isfinite(high)
    x, low, high = x[there], low[there], high[there]
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]), y=thin(np.concatenate([high, low[::-1]])), fill="toself", fillcolor=colour,
        opacity=opacity, line={"width": 0}, mode="lines", showlegend=False, hoverinfo="skip", legendgroup=group,
    )  # fmt: skip


def thin(values: Array, digits: int = 4) -> Array:
    """Values with as many digits as can be seen, so that pages stay small."""
    rounded: Array = np.round(np.asarray(values, float), digits)
    return rounded


def line(x: Array, y: Array, colour: str, dash: str, name: str, **more: Any) -> Any:
    """A curve with its entry in the legend."""
    from plotly import graph_objects as go

    look = {"color": colour, "dash": dash, "width": 2.2, **more.pop("line", {})}
    return go.Scatter(x=x, y=thin(y), mode="lines", line=look, name=name, **{"legendgroup": name, **more})


def panels(titles: Sequence[str], columns: int, **more: Any) -> tuple[PlotlyFigure, list[dict[str, int]]]:
    """A grid of panels with these titles, and the place of each."""
    from plotly.subplots import make_subplots

    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    space = {"vertical_spacing": 0.22 / max(rows, 1), "horizontal_spacing": 0.09 / max(columns - 1, 1)} | more
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=list(titles), **space)
    figure.update_annotations(font_size=13)
    places = [{"row": k // columns + 1, "col": k % columns + 1} for k in range(len(titles))]
    return figure, places


def finish(figure: PlotlyFigure, *, height: int, legend: bool = True) -> PlotlyFigure:
    """The legend below the panels, and the height."""
    figure.update_layout(
        height=height,
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "top", "y": -70 / max(height - 130, 100), "x": 0},
        margin={"b": 90 if legend else 50, "t": 50},
    )
    return figure


def nothing(text: str) -> PlotlyFigure:
    """A sentence in place of a picture."""
    from plotly import graph_objects as go

    figure = go.Figure()
    figure.add_annotation(text=text, showarrow=False, font={"size": 15})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(height=160)
    return figure

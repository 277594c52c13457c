"""The pictures an operator looks at, drawn from observations of held-out instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from interlock.core.policy import Policy
from interlock.core.problem import Figure, Problem
from interlock.domains.bin_packing.figures_bin import draw_bins
from interlock.domains.bin_packing.figures_placement import draw_placement
from interlock.domains.bin_packing.figures_style import BOUND, LEARNED, RULES
from interlock.domains.bin_packing.playback import play_first, settings_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.environment import Array
    from interlock.core.evaluation.record import Evidence

_CURVE_INSTANCES, _MOST_VALUES = 200, 2000


def figures(problem: Problem) -> Mapping[str, Figure]:
    """The pictures of the report, in order; each plays held-out instances of ``problem`` when it is drawn."""
    several = settings_of(problem).bins() > 1
    return {
        "bin": Figure(
            "The packed bins" if several else "The packed bin",
            "The first held-out sequence, box by box; move the slider to go back and forth, drag to turn the view, "
            "point at a box for its size and place. Colour shows the order, from dark (first) to bright (last).",
            partial(_draw_first, problem, draw_bins),
        ),
        "placement": Figure(
            "Where the next box may go",
            "Seen from above: height of the stack, and for every cell whether the box may be set down with its "
            "front-left corner there, as it is turned, or which rule forbids it. The outline is the chosen place.",
            partial(_draw_first, problem, draw_placement),
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


def _featured(policies: Mapping[str, Policy], evidence: Evidence) -> str:
    """The policy under test; without one, the best-ranked."""
    ranked = [name for name in evidence.policies if name in policies]
    return next((name for name in ranked if evidence.policies[name].learned), ranked[0])


def _draw_first(
    problem: Problem, draw: Callable[..., PlotlyFigure], policies: Mapping[str, Policy], evidence: Evidence
) -> PlotlyFigure:
    """A picture of the first instance as the most telling policy plays it."""
    name = _featured(policies, evidence)
    placed = play_first(problem, policies[name], evidence.seed, evidence.split)
    return draw(settings_of(problem), name, placed)


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


def _thinned(values: Array) -> Array:
    """At most so many values that are spread alike: a shape of many thousands only makes the page large."""
    if len(values) <= _MOST_VALUES:
        return values
    thinned: Array = np.quantile(values, (np.arange(_MOST_VALUES) + 0.5) / _MOST_VALUES)
    return thinned


def _draw_distribution(policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Spread of the final utilisation per method, with the bounds as lines."""
    from plotly import graph_objects as go

    figure = go.Figure()
    for name in reversed(evidence.policies):
        figure.add_trace(
            go.Violin(
                x=_thinned(evidence.outcomes[name].objective),
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

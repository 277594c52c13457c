"""The pictures an operator looks at, drawn from held-out inflow paths that are played once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.policy import Policy
from interlock.core.problem import Figure
from interlock.domains.hydro import playback
from interlock.domains.hydro.playback import Played

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.environment import Array
    from interlock.core.evaluation.record import Evidence
    from interlock.domains.hydro.case import Case

LEARNED, RULES = ("#D55E00", "#CC79A7"), ("#0072B2", "#56B4E9")
HYDRO, MISSING, GUIDE = "#0072B2", "#C2185B", "#707070"
THERMAL = ("#FBE3B5", "#F5C26B", "#E69F00", "#B86E00", "#7A4A00")
"""From Okabe and Ito's palette and shades of its orange, light for cheap units."""

PATHS = {"bus1": 40, "dc": 40, "soc": 10, "ac": 4}
"""Paths that are played for a picture, by network: as many as take seconds."""

APART = 10.0
"""A policy whose cost differs this many times more than another's starts hidden, so that the scale shows the other."""

OFTEN = 0.01
"""Share of stages from which a branch that is used to the full is marked."""

Replay = Callable[[Policy, "Evidence"], Played]


def figures(problem: Any) -> Mapping[str, Figure]:
    """The pictures of the report, in order; each plays held-out paths of a ``HydroProblem`` when it is drawn."""
    network, case = problem.scenario.network, problem.case
    count = min(PATHS[network], problem.scenario.evaluation.test_instances)

    @lru_cache(maxsize=8)
    def played(policy: Any, seed: int, split: Any) -> Played:
        return playback.play(problem, policy, seed, split, count)

    def replay(policy: Any, evidence: Evidence) -> Played:
        return played(policy, evidence.seed, evidence.split)

    drawn = f"the first {count} held-out inflow paths"
    reservoirs = len(playback.big_reservoirs(case, 1)) > 0
    found = {
        "storage": Figure(
            "Stored energy",
            f"Lines: median over {drawn}; bands: the middle 90 % of them. Water counts with what it gives in all "
            "turbines on its way down; dashed: full reservoirs.",
            partial(_draw_storage, problem, replay),
        ),
        "cumulative": Figure(
            "Where the difference in cost arises",
            f"Cost so far less that of the best-ranked policy on the same paths, mean over {drawn} with its 95 % band. "
            "Who falls early and rises late has used water that was missing in the end. Policies far off start hidden: "
            "a click on their name shows them.",
            partial(_draw_cumulative, problem, replay),
        ),
        "generation": Figure(
            "Who generates",
            f"Mean over {drawn}: hydro below, then thermal units from the cheapest to the dearest, deficit on top.",
            partial(_draw_generation, problem, replay),
        ),
        "water_value": Figure(
            "Value of water",
            f"What a little more water in the largest reservoirs would have saved in its stage, mean over {drawn}. "
            "Where more water would change which unit is the last to run, it is the value on one side of that change.",
            partial(_draw_water_value, problem, replay),
        ),
        "prices": Figure(
            "Nodal prices",
            f"For how much of the time a price is reached or exceeded, over all stages of {drawn}.",
            partial(_draw_prices, problem, replay),
        ),
        "network": Figure(
            "Network",
            "Colour of a bus: mean price. Width of a branch: mean share of its limit that it carries; red: it carries "
            f"all of it in more than {100 * OFTEN:g} % of stages. Flows are linear ones, places are not geographic.",
            partial(_draw_network, problem, replay),
        ),
        "difference": Figure(
            "Difference in cost, path by path",
            "Cost of a path less that of the reference on the same path; dashed: the mean. Left of zero the policy is "
            "cheaper.",
            _draw_difference,
        ),
        "inflows": Figure(
            "Inflows over the cycle",
            "Natural inflow of all plants together: median, middle 50 % and middle 90 % of the held-out paths.",
            partial(_draw_inflows, problem),
        ),
    }
    left_out = {"network"} if network == "bus1" or len(case.branches.names) == 0 else set()
    left_out |= set() if reservoirs else {"storage", "water_value"}
    return {name: figure for name, figure in found.items() if name not in left_out}


def _featured(policies: Mapping[str, Policy], evidence: Evidence) -> str:
    """The best-ranked policy under test; without one, the best-ranked."""
    ranked = [name for name in evidence.policies if name in policies]
    return next((name for name in ranked if evidence.policies[name].learned), ranked[0])


def _told_apart(policies: Mapping[str, Policy], evidence: Evidence) -> dict[str, str]:
    """Name -> colour: up to two learned policies, then the best and the last-ranked rule; best-ranked first."""
    ranked = [name for name in evidence.policies if name in policies]
    learned = [name for name in ranked if evidence.policies[name].learned][: len(LEARNED)]
    rules = [name for name in ranked if not evidence.policies[name].learned]
    chosen = dict(zip(learned, LEARNED, strict=False))
    chosen |= dict(zip(dict.fromkeys(rules[:1] + rules[-1:]), RULES, strict=False))
    return {name: chosen[name] for name in ranked if name in chosen}


def _stage_word(problem: Any) -> str:
    named = {1.0: "hour", 24.0: "day", 168.0: "week"}
    return named.get(problem.case.stage_hours, "month" if 600 < problem.case.stage_hours < 800 else "stage")


def _stages(problem: Any) -> Array:
    return np.arange(1, problem.scenario.horizon + 1)


def _band(x: Array, low: Array, high: Array, colour: str, group: str, opacity: float = 0.18) -> Any:
    from plotly import graph_objects as go

    return go.Scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", fillcolor=colour,
        opacity=opacity, line={"width": 0}, mode="lines", showlegend=False, hoverinfo="skip", legendgroup=group,
    )  # fmt: skip


def _line(x: Array, y: Array, colour: str, name: str, **more: Any) -> Any:
    from plotly import graph_objects as go

    line = {"color": colour, "width": 2.5, **more.pop("line", {})}
    return go.Scatter(x=x, y=y, mode="lines", line=line, name=name, legendgroup=name, **more)


def _finish(figure: PlotlyFigure, problem: Any, y: str, *, x: str | None = None, height: int = 430) -> PlotlyFigure:
    """Axes, legend on top, and where the reported stages end."""
    figure.update_layout(
        xaxis_title=_stage_word(problem) if x is None else x,
        yaxis_title=y,
        height=height,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    )
    if x is None and problem.scenario.reported < problem.scenario.horizon:
        figure.add_vline(x=problem.scenario.reported + 0.5, line={"dash": "dot", "color": GUIDE, "width": 1.5})
        figure.add_annotation(
            x=problem.scenario.reported + 0.5, y=1, yref="paper", yanchor="top", xanchor="right", xshift=-4,
            text="reported", showarrow=False, font={"color": GUIDE, "size": 12},
        )  # fmt: skip
    return figure


def _draw_storage(problem: Any, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Median and middle 90 % of stored energy, one colour per policy."""
    from plotly import graph_objects as go

    figure, case, stages = go.Figure(), problem.case, _stages(problem)
    for name, colour in _told_apart(policies, evidence).items():
        energy = playback.stored_energy(case, replay(policies[name], evidence).volume).sum(axis=2)
        low, middle, high = np.quantile(energy, [0.05, 0.5, 0.95], axis=0)
        figure.add_trace(_band(stages, low, high, colour, name))
        figure.add_trace(_line(stages, middle, colour, name))
    full = playback.stored_energy(case, case.hydros.max_volume).sum()
    figure.add_hline(y=full, line={"dash": "dash", "color": GUIDE, "width": 1.5})
    figure.update_yaxes(rangemode="tozero")
    return _finish(figure, problem, "stored energy (GWh)")


def _draw_cumulative(problem: Any, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Mean and 95 % band of the paired difference so far."""
    from plotly import graph_objects as go

    figure, stages = go.Figure(), _stages(problem)
    (reference, _), *others = _told_apart(policies, evidence).items()
    if not others:
        return _nothing_to_compare(figure)
    base = replay(policies[reference], evidence).cost
    drawn = {name: np.cumsum(replay(policies[name], evidence).cost - base, axis=1) for name, _ in others}
    final = {name: abs(difference[:, -1].mean()) for name, difference in drawn.items()}
    for name, colour in others:
        difference = drawn[name]
        mean = difference.mean(axis=0)
        spread = 1.96 * difference.std(axis=0, ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0 * mean
        hidden = final[name] > APART * max(min(final.values()), 1e-9)
        for trace in (_band(stages, mean - spread, mean + spread, colour, name), _line(stages, mean, colour, name)):
            trace.visible = "legendonly" if hidden else True
            figure.add_trace(trace)
    figure.add_hline(y=0, line={"dash": "dash", "color": GUIDE, "width": 1.5})
    return _finish(figure, problem, f"cost so far less that of {reference} ({problem.case.currency}/h, summed)")


def _draw_generation(problem: Any, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Areas on top of each other: hydro, thermal price bands, deficit; the load as a line."""
    from plotly import graph_objects as go

    case, stages, name = problem.case, _stages(problem), _featured(policies, evidence)
    played = replay(policies[name], evidence)
    bands = playback.merit_bands(case, played, len(THERMAL))
    layers = {"hydro": (playback.hydro_power(case, played), HYDRO)}
    layers |= {label: (power, THERMAL[k]) for k, (label, power) in enumerate(bands.items())}
    layers["deficit"] = (played.deficit.sum(axis=2), MISSING)
    figure = go.Figure()
    for label, (power, colour) in layers.items():
        figure.add_trace(
            go.Scatter(
                x=stages, y=power.mean(axis=0), name=label, stackgroup="power", mode="lines", fillcolor=colour,
                line={"width": 0.5, "color": colour}, hovertemplate=f"{label}: %{{y:.1f}} MW<extra></extra>",
            )
        )  # fmt: skip
    load = np.array([case.load(t).sum() for t in range(problem.scenario.horizon)])
    figure.add_trace(_line(stages, load, "#202020", "load", line={"width": 1.5, "dash": "dash"}))
    return _finish(figure, problem, f"{name}: power (MW)", height=500)


def _draw_water_value(problem: Any, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """One colour per large reservoir."""
    from plotly import graph_objects as go

    figure, stages, name = go.Figure(), _stages(problem), _featured(policies, evidence)
    value = replay(policies[name], evidence).water_value
    for plant, colour in zip(playback.big_reservoirs(problem.case, 4), (*LEARNED, *RULES), strict=False):
        figure.add_trace(_line(stages, value[:, :, plant].mean(axis=0), colour, problem.case.hydros.names[plant]))
    figure.update_yaxes(rangemode="tozero")
    return _finish(figure, problem, f"{name}: value of water ({problem.case.currency}/hm3)")


def _draw_prices(problem: Any, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Sorted prices: mean of the system, and the loaded buses with the lowest and the highest mean."""
    from plotly import graph_objects as go

    case, name = problem.case, _featured(policies, evidence)
    played = replay(policies[name], evidence)
    curves = {"mean of the load": (playback.mean_price(case, played), "#202020")}
    ends = playback.price_extremes(case, played) if problem.scenario.network != "bus1" else []
    ends = ends if len(ends) > 1 else []
    for bus, colour in zip(ends, (HYDRO, LEARNED[0]), strict=False):
        curves[case.buses.names[bus]] = (played.nodal_price[:, :, bus], colour)
    figure = go.Figure()
    for label, (price, colour) in curves.items():
        ordered = np.sort(price.ravel())[::-1]
        share = 100.0 * np.arange(1, ordered.size + 1) / ordered.size
        figure.add_trace(_line(share, ordered, colour, label, line={"shape": "vh"}))
    return _finish(figure, problem, f"{name}: price ({case.currency}/MWh)", x="share of the time (%)")


def _draw_network(problem: Any, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Buses as dots, branches as lines between them."""
    from plotly import graph_objects as go

    case, name = problem.case, _featured(policies, evidence)
    played = replay(policies[name], evidence)
    used, binding = playback.branch_use(case, played)
    place = _places(case)
    figure = go.Figure()
    for branch, label in enumerate(case.branches.names):
        (x0, y0), (x1, y1) = place[case.branches.start[branch]], place[case.branches.end[branch]]
        colour = MISSING if binding[branch] > OFTEN else "#9A9A9A"
        text = f"{label}: {100 * used[branch]:.0f} % of its limit, all of it in {100 * binding[branch]:.1f} % of stages"
        line = {"color": colour, "width": 1.5 + 8 * float(used[branch])}
        between = {"x": np.linspace(x0, x1, 9), "y": np.linspace(y0, y1, 9)}
        figure.add_trace(
            go.Scatter(**between, mode="lines", line=line, hovertext=text, hoverinfo="text", showlegend=False)
        )
    price = played.nodal_price.mean(axis=(0, 1))
    load = case.load(0)
    figure.add_trace(
        go.Scatter(
            x=place[:, 0], y=place[:, 1], mode="markers+text", text=case.buses.names, textposition="top center",
            textfont={"size": 11},
            marker={
                "size": 12 + 22 * np.sqrt(load / max(load.max(), 1e-9)), "color": price, "colorscale": "Viridis",
                "line": {"color": "#FFFFFF", "width": 1},
                "colorbar": {"title": f"{case.currency}/MWh", "thickness": 12},
            },
            hovertext=[f"{bus}: {p:.2f} {case.currency}/MWh, load {d:.1f} MW"
                       for bus, p, d in zip(case.buses.names, price, load, strict=True)],
            hoverinfo="text", showlegend=False,
        )
    )  # fmt: skip
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(height=520, title_text=name)
    return figure


def _places(case: Case) -> Array:
    """Where buses are drawn ``(buses, 2)``: linked ones near each other, the longest extent from left to right."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(len(case.buses.names)))
    graph.add_edges_from(zip(case.branches.start.tolist(), case.branches.end.tolist(), strict=True))
    drawn = nx.kamada_kawai_layout(graph, pos=nx.spring_layout(graph, seed=0))
    place = np.array([drawn[bus] for bus in range(len(drawn))])
    place -= place.mean(axis=0)
    turned: Array = place @ np.linalg.svd(place)[2].T
    return turned


def _draw_difference(policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Histogram: the two best policies under test, or the only one and the best baseline, or the two best rules."""
    from plotly import graph_objects as go

    if len(evidence.policies) < 2:
        return _nothing_to_compare(go.Figure())
    learned = [name for name, policy in evidence.policies.items() if policy.learned]
    name, reference = compared(learned, list(evidence.policies), evidence.best_baseline)
    difference = evidence.outcomes[name].objective - evidence.outcomes[reference].objective
    bins = int(np.clip(2 * np.sqrt(len(difference)), 8, 40))
    figure = go.Figure(go.Histogram(x=difference, nbinsx=bins, marker={"color": LEARNED[0], "line": {"width": 0.5}}))
    figure.add_vline(x=difference.mean(), line={"dash": "dash", "color": "#202020", "width": 2})
    figure.add_annotation(
        x=difference.mean(), y=1, yref="paper", yanchor="bottom", text=f"mean {difference.mean():.5g}", showarrow=False
    )
    figure.update_layout(
        xaxis_title=f"{name} less {reference} ({evidence.objective.unit})", yaxis_title="paths", height=380,
        bargap=0.05, showlegend=False,
    )  # fmt: skip
    return figure


def compared(learned: list[str], ranked: list[str], best_baseline: str | None) -> tuple[str, str]:
    """Which policy the histogram shows, and from what its cost is subtracted; lists are best-ranked first."""
    if len(learned) > 1:
        return learned[1], learned[0]
    if learned and best_baseline is not None:
        return learned[0], best_baseline
    return ranked[0], ranked[1]


def _nothing_to_compare(figure: PlotlyFigure) -> PlotlyFigure:
    figure.add_annotation(text="only one policy was played", showarrow=False, font={"size": 16})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(height=200)
    return figure


def _draw_inflows(problem: Any, policies: Mapping[str, Policy], evidence: Evidence) -> PlotlyFigure:
    """Fan of total inflow by row of the cycle."""
    from plotly import graph_objects as go

    from interlock.domains.hydro.instances import inflow_paths

    case, horizon = problem.case, problem.scenario.horizon
    paths = inflow_paths(problem.scenario, case, evidence.seed, evidence.split, 0, evidence.instances).sum(axis=2)
    rows = range(min(case.cycle, horizon))
    levels = np.array([np.quantile(paths[:, row :: case.cycle], [0.05, 0.25, 0.5, 0.75, 0.95]) for row in rows]).T
    x = np.arange(1, len(rows) + 1)
    figure = go.Figure()
    figure.add_trace(_band(x, levels[0], levels[4], HYDRO, "inflow", 0.16))
    figure.add_trace(_band(x, levels[1], levels[3], HYDRO, "inflow", 0.28))
    figure.add_trace(_line(x, levels[2], HYDRO, "median"))
    figure.update_yaxes(rangemode="tozero")
    return _finish(figure, problem, "inflow (m3/s)", x=f"{_stage_word(problem)} of the cycle")

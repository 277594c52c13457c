"""What a policy does with the stocks it sees: control rules and slices through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interlock.core.environment import Array
from interlock.domains.fisheries.figures_replay import Played
from interlock.domains.fisheries.figures_style import (
    DANGER,
    GUIDE,
    LEVELS,
    chosen,
    finish,
    line,
    looks_of,
    panels,
    units,
    words,
)
from interlock.domains.fisheries.scenario import FisheriesScenario, FoodWeb, OneSpecies, Walleye

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from interlock.core.evaluation.record import Evidence
    from interlock.core.policy import Policy

POINTS = 101
"""Stocks at which a rule is asked."""

LARGEST = 1.2
"""Where the axes end, in carrying capacities or means of the first year, whichever is larger."""

RULES, POLICIES = 7, 3
"""Policies shown, where there is one species, and where there are several."""

Replay = Callable[["Policy", "Evidence"], Played]


@dataclass(frozen=True, slots=True)
class Visited:
    """Where the stocks are while a policy fishes: quantiles over years and futures, ``(species,)`` each.

    Attributes:
        low: exceeded in 95 % of all years.
        middle: median.
        high: exceeded in 5 % of all years.
        weight: median of what surveys found the mean weight to be; ``None`` where they do not tell it.
    """

    low: Array
    middle: Array
    high: Array
    weight: float | None


def visited(played: Played) -> Visited:
    """The middle 90 % of all stocks of living futures."""
    stocks = played.stock.reshape(-1, played.stock.shape[2])
    stocks = stocks[np.isfinite(stocks[:, 0])]
    low, middle, high = np.quantile(stocks, [0.05, 0.5, 0.95], axis=0)
    return Visited(low, middle, high, played.weight)


def asked(scenario: FisheriesScenario, policy: Policy, stocks: Array, year: int, weight: float | None = None) -> Array:
    """What a policy proposes ``(n, h)`` for stocks ``(n, species)`` in a year from 0, within [0, 1].

    Args:
        scenario: the numbers; species that are hidden in it are not shown to the policy.
        policy: is asked once, with no memory of other years; where changes are limited, after a year without catch.
        stocks: stock units.
        year: from 0.
        weight: mean weight of the fish, where surveys tell it.
    """
    seen = [i for i, name in enumerate(scenario.model.species) if name not in scenario.observed.hidden]
    view = {"stock": np.ascontiguousarray(stocks[:, seen]), "year": np.full((len(stocks), 1), year, np.int64)}
    if scenario.limits.max_change is not None:
        view["last_mortality"] = np.zeros((len(stocks), len(scenario.harvested)))
    if weight is not None:
        view["mean_weight"] = np.full((len(stocks), 1), weight)
    policy.reset()
    proposed: Array = np.clip(policy.act(view, deterministic=True), 0.0, 1.0)
    policy.reset()
    return proposed


def axis(scenario: FisheriesScenario, where: Visited) -> Array:
    """Stocks along an axis ``(POINTS,)``, stock units, above 0."""
    match scenario.model:
        case Walleye():
            most = float(where.high[0])
        case OneSpecies(k=capacity):
            most = max(capacity, *scenario.initial)
        case FoodWeb(k_x=capacity, k_y=other):
            most = max(capacity, other, *scenario.initial)
    return np.linspace(0.0, LARGEST * most, POINTS + 1)[1:]


def draw_rule(
    scenario: FisheriesScenario, replay: Replay, policies: Mapping[str, Policy], evidence: Evidence
) -> PlotlyFigure:
    """One species: the mortality that every policy sets for a stock."""
    factor, unit = units(scenario)
    found = (
        "biomass that a survey finds" if isinstance(scenario.model, Walleye) else f"stock of {scenario.harvested[0]}"
    )
    look, year = looks_of(evidence), scenario.horizon // 2
    names = [name for name in chosen(policies, evidence, RULES) if name != "no_harvest"] or ["no_harvest"]
    where = visited(replay(policies[names[0]], evidence))
    grid = axis(scenario, where)
    figure, (place,) = panels([""], 1)
    for k, name in enumerate(names):
        style, width = look[name], max(5.0 - 0.8 * k, 2.0)  # so that lines on top of each other are all seen
        mortality = asked(scenario, policies[name], grid[:, None], year, where.weight)[:, 0]
        figure.add_trace(
            line(factor[0] * grid, mortality, style.colour, style.dash, words(name), line={"width": width}), **place
        )
    _shade(figure, factor[0] * where.low[0], factor[0] * where.high[0], place)
    if scenario.collapse_level:
        _limit(figure, factor[0] * scenario.collapse_level, place)
    figure.update_yaxes(title="mortality (share of the stock per year)", range=[-0.02, 1.0])
    figure.update_xaxes(title=f"{found} ({unit})", range=[0, factor[0] * grid[-1]])
    return finish(figure, height=480)


def draw_slices(
    scenario: FisheriesScenario,
    others: Sequence[str],
    replay: Replay,
    policies: Mapping[str, Policy],
    evidence: Evidence,
) -> PlotlyFigure:
    """Several species: mortality against the own stock, one line per stock of another species, a row per policy.

    Args:
        scenario: the numbers.
        others: of each harvested species, the one whose stock is told by colour; the third has its median stock.
        replay: plays a policy.
        policies: by name.
        evidence: of them.
    """
    names, caught = _bending(policies, evidence), scenario.harvested
    titles = [f"<b>{words(name)}</b>, mortality of {species}" for name in names for species in caught]
    figure, places = panels(titles, len(caught), shared_yaxes=True, vertical_spacing=0.1)
    for k, place in enumerate(places):
        name, j = names[k // len(caught)], k % len(caught)
        where = visited(replay(policies[name], evidence))
        _slice(figure, scenario, policies[name], where, (j, others[j]), scenario.horizon // 2, place, legend=k == 0)
    _axes(figure, scenario, places, caught)
    figure.update_layout(
        legend_title_text=f"stock of {_either(others)}, from its 5 % to its 95 % quantile under the policy"
    )
    return finish(figure, height=150 + 260 * places[-1]["row"])


def draw_drift(
    scenario: FisheriesScenario,
    others: Sequence[str],
    replay: Replay,
    policies: Mapping[str, Policy],
    evidence: Evidence,
) -> PlotlyFigure:
    """The same of one policy in the first, the middle and the last year."""
    name, caught = _bending(policies, evidence)[0], scenario.harvested
    years = (0, scenario.horizon // 2, scenario.horizon - 1)
    where = visited(replay(policies[name], evidence))
    titles = [f"year {year}: mortality of {species}" for species in caught for year in years]
    figure, places = panels(titles, len(years), shared_yaxes=True, vertical_spacing=0.14)
    for k, place in enumerate(places):
        j, year = k // len(years), years[k % len(years)]
        _slice(figure, scenario, policies[name], where, (j, others[j]), year, place, legend=k == 0)
    for j, species in enumerate(caught):
        _axes(figure, scenario, places[j * len(years) :][: len(years)], [species] * len(years))
    figure.update_layout(legend_title_text=f"{words(name)}; stock of {_either(others)}")
    return finish(figure, height=150 + 280 * places[-1]["row"])


def _bending(policies: Mapping[str, Policy], evidence: Evidence) -> list[str]:
    """The first policies to look at; a mortality that never changes needs no picture, unless there is nothing else."""
    ranked = chosen(policies, evidence, len(policies))
    flat = ("constant_mortality", "f_msy", "no_harvest")
    return ([name for name in ranked if not name.startswith(flat)] or ranked)[:POLICIES]


def _slice(
    figure: PlotlyFigure,
    scenario: FisheriesScenario,
    policy: Policy,
    where: Visited,
    which: tuple[int, str],
    year: int,
    place: dict[str, int],
    *,
    legend: bool,
) -> None:
    """Lines of one panel: harvested species ``which[0]``, coloured by the stock of species ``which[1]``."""
    names, (factor, _) = scenario.model.species, units(scenario)
    own, other = names.index(scenario.harvested[which[0]]), names.index(which[1])
    grid = axis(scenario, where)
    words_of_level = ("lowest", "low", "middle", "high", "highest")
    for level, (colour, word) in enumerate(zip(LEVELS, words_of_level, strict=True)):
        width = 5.5 - level  # so that lines on top of each other are all seen
        stocks = np.tile(where.middle, (len(grid), 1))
        stocks[:, own] = grid
        held = where.low[other] + level / (len(LEVELS) - 1) * (where.high[other] - where.low[other])
        stocks[:, other] = held
        mortality = asked(scenario, policy, stocks, year)[:, which[0]]
        figure.add_trace(
            line(
                factor[own] * grid, mortality, colour, "solid", word, showlegend=legend, line={"width": width},
                hovertemplate=f"{which[1]} = {factor[other] * held:.3g}: mortality %{{y:.3f}}<extra></extra>",
            ),
            **place,
        )  # fmt: skip
    _shade(figure, factor[own] * where.low[own], factor[own] * where.high[own], place)
    _limit(figure, factor[own] * scenario.collapse_level, place)
    figure.update_xaxes(range=[0, factor[own] * grid[-1]], **place)


def _axes(figure: PlotlyFigure, scenario: FisheriesScenario, places: list[dict[str, int]], own: Sequence[str]) -> None:
    _, unit = units(scenario)
    for k, species in enumerate(own):
        place = {**places[k], "row": places[-1]["row"]}
        figure.update_xaxes(title=f"stock of {species} ({unit})", **place)
    figure.update_yaxes(title="mortality (share/year)", col=1)
    figure.update_yaxes(range=[-0.02, 1.0])


def _shade(figure: PlotlyFigure, low: float, high: float, place: dict[str, int]) -> None:
    """Where the stock is in nine years out of ten."""
    figure.add_vrect(x0=low, x1=high, fillcolor=GUIDE, opacity=0.13, line_width=0, layer="below", **place)


def _limit(figure: PlotlyFigure, at: float, place: dict[str, int]) -> None:
    figure.add_vline(x=at, line={"color": DANGER, "dash": "dash", "width": 1.5}, **place)


def _either(others: Sequence[str]) -> str:
    return " or ".join(dict.fromkeys(others))

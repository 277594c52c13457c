"""The pictures of the report, in the order in which a manager asks: the rule, the stocks, the price of safety, more."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from interlock.core.environment import Split
from interlock.core.policy import Policy
from interlock.core.problem import Figure
from interlock.domains.fisheries import (
    figures_methods,
    figures_model,
    figures_replay,
    figures_rules,
    figures_years,
    frontier,
)
from interlock.domains.fisheries.figures_replay import Played
from interlock.domains.fisheries.figures_style import nothing
from interlock.domains.fisheries.scenario import FisheriesScenario, OneSpecies
from interlock.domains.fisheries.tuning import FUTURES as FUTURES_OF_GRID

if TYPE_CHECKING:
    from interlock.core.evaluation.record import Evidence

FUTURES = 500
"""Held-out futures that are played for the pictures."""


def figures(problem: Any) -> Mapping[str, Figure]:
    """The pictures of a ``FisheriesProblem``, in order; most play held-out futures when they are drawn."""
    scenario: FisheriesScenario = problem.scenario
    count = min(FUTURES, scenario.evaluation.test_instances)

    @lru_cache(maxsize=8)
    def played(policy: Any, seed: int, split: Split) -> Played:
        return figures_replay.play(problem, policy, seed, split, count)

    def replay(policy: Any, evidence: Evidence) -> Played:
        return played(policy, evidence.seed, evidence.split)

    drawn = f"the first {count} held-out futures"
    collapses = scenario.collapse_level > 0
    rules = _rules(scenario, replay)
    found = {
        "rule": rules.pop("rule"),
        "stocks": Figure(
            "Stocks over the years",
            f"Lines: median over those of {drawn} in which all species still live; bands: the middle 90 % of them. "
            "Crosses mark years in which a species fell to the dashed limit, which ends that future. Look for lines "
            "that sink, and for bands that come near the limit."
            if collapses
            else f"Lines: median biomass that surveys look for, over {drawn}; bands: the middle 90 %.",
            partial(figures_years.draw_stocks, scenario, replay),
        ),
        "frontier": Figure(
            "What safety costs",
            "Right: fewer futures end with a collapse; up: more is caught. Bars: 95 % intervals. The shaded part keeps "
            "the limit on collapses; the method to choose is the highest one in it. Green "
            "lines: how far dynamic programming gets under other penalties of a collapse, on other futures. On average "
            "no method is above the dashed horizontal line.",
            lambda policies, evidence: figures_methods.draw_frontier(
                scenario, frontier.points(scenario), policies, evidence
            ),
        ),
        "catches": Figure(
            "Catch and mortality over the years",
            f"Lines: median over {drawn}; bands: the middle 90 %. "
            + (
                "After a collapse nothing is caught, so a falling lower edge of the catch tells of lost fisheries; "
                "mortality is shown while all species live. "
                if collapses
                else ""
            )
            + "A catch that rises in the last years is one that leaves nothing to those who come after.",
            partial(figures_years.draw_catches, scenario, replay),
        ),
        "rewards": Figure(
            "How much the reward varies",
            "Each shape shows how the rewards of all held-out futures are spread; the line across is the mean. Tails "
            + ("to the left are futures that ended early." if collapses else "to the left are lean futures."),
            lambda policies, evidence: figures_methods.draw_rewards(evidence),
        ),
        **rules,
        "kobe": Figure("Overfished, overfishing, or healthy", _kobe_caption(scenario), _kobe(scenario, replay)),
        **_model(scenario),
    }
    left_out = () if collapses else ("frontier", "kobe")
    return {name: figure for name, figure in found.items() if name not in left_out}


def _rules(scenario: FisheriesScenario, replay: Any) -> dict[str, Figure]:
    """The control rule of one species, or slices through that of several."""
    look = "Grey: where the stock is in nine years out of ten; outside it the policy has seen little."
    if scenario.collapse_level:
        look += " Dashed: the limit at which a species counts as collapsed."
    middle = scenario.horizon // 2
    if len(scenario.model.species) == 1:
        caption = (
            f"How much each policy allows to be caught for the stock that was found, in year {middle}. A safe rule "
            f"closes the fishery while there still is a stock. {look}"
        )
        return {"rule": Figure("The control rule", caption, partial(figures_rules.draw_rule, scenario, replay))}
    seen = [name for name in scenario.model.species if name not in scenario.observed.hidden]
    unfished = [name for name in reversed(seen) if name not in scenario.harvested]
    caption = (
        f"How much of a stock may be caught, by that stock (across) and by the stock of another species (colour), the "
        f"third one being at its median, in year {middle}. Where the colours part, the policy looks at more than "
        f"the species it fishes. {look}"
    )
    found = {}
    for key, others in _colours(scenario, seen, unfished).items():
        title = "The control rule" + (
            "" if key == "rule" else f", by the stock of {' or '.join(dict.fromkeys(others))}"
        )
        found[key] = Figure(title, caption, partial(figures_rules.draw_slices, scenario, others, replay))
    if scenario.drift:
        others = next(iter(_colours(scenario, seen, unfished).values()))
        told = ", ".join(one.parameter for one in scenario.drift)
        found["rule_years"] = Figure(
            "The control rule as the years go by",
            f"The same in the first, the middle and the last year, while {told} drifts. A policy that does not see the "
            "year shows three times the same.",
            partial(figures_rules.draw_drift, scenario, others, replay),
        )
    return found


def _colours(scenario: FisheriesScenario, seen: list[str], unfished: list[str]) -> dict[str, list[str]]:
    """For each picture, the species that tells the colour beside each harvested one."""
    found = {}
    if unfished:
        found["rule"] = [unfished[0]] * len(scenario.harvested)
    rest = [[name for name in seen if name != own and name not in unfished[:1]] for own in scenario.harvested]
    if all(rest):
        found["rule_other" if unfished else "rule"] = [names[0] for names in rest]
    return found


def _model(scenario: FisheriesScenario) -> dict[str, Figure]:
    """What needs no policy."""
    if isinstance(scenario.model, OneSpecies):
        caption = (
            "Stocks that neither grow nor shrink without fishing and noise, by how much grazers take. Between the "
            "bends the stock has two states; right of the upper bend it falls to the lower one by itself. Fishing and "
            "bad years push it below the dashed branch, from where it does not come back."
        )
        figure = Figure(
            "Where the stock tips", caption, lambda policies, evidence: figures_model.draw_stability(scenario)
        )
        return {"stability": figure}
    if len(scenario.harvested) < 2:
        return {}
    caption = (
        f"Mean reward of always leaving so much of both stocks and catching the rest, over "
        f"{FUTURES_OF_GRID[2]} training futures each. White: the sum of both that does best on average; along "
        "it, how the sum is shared matters little."
    )
    draw = lambda policies, evidence: figures_model.draw_escapements(scenario)  # noqa: E731
    return {"escapement": Figure("How much to leave", caption, draw)}


def _kobe(scenario: FisheriesScenario, replay: Any) -> Any:
    def draw(policies: Mapping[str, Policy], evidence: Evidence) -> Any:
        point = figures_model.reference_point(scenario)
        if point is None:
            return nothing("no constant mortality lets all species live in the model without noise")
        return figures_years.draw_kobe(scenario, point, replay, policies, evidence)

    return draw


def _kobe_caption(scenario: FisheriesScenario) -> str:
    drift = "of the last year" if scenario.drift else "of the scenario"
    return (
        "Years of futures in which all species live, by stock (B) and mortality (F) beside those of the largest "
        "lasting catch. B_MSY and F_MSY are those of the constant mortalities that catch most from the model without "
        f"noise, with the parameters {drift}, once it has settled ({figures_model.SETTLED:,} years; mean of the last "
        f"{figures_model.AVERAGED}) with no species at its limit. Numbers: share of the years in each field."
    )

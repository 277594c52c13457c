"""What a bundle tells people about its harvest policy: who set which goal, what it was trained on, what it does."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.environment import Array
from interlock.domains.fisheries.control_rule import ControlRule
from interlock.domains.fisheries.release_schema import ASSUMED, seen_species
from interlock.domains.fisheries.scenario import FisheriesScenario

if TYPE_CHECKING:
    from interlock.domains.fisheries.problem import FisheriesProblem

OPEN = 0.01
"""A mortality above this counts as fishing."""


def about(
    problem: "FisheriesProblem",
    provenance: Mapping[str, Any],
    rule: ControlRule | None,
    figures: Mapping[str, Any] | None,
) -> str:
    """The text of ``about.md``.

    Args:
        problem: that the policy was trained on.
        provenance: of the bundle.
        rule: the table; ``None`` for a policy with a memory.
        figures: what ``table_export.compare`` found.
    """
    scenario = problem.scenario
    parts = [
        f"# A harvest policy for {scenario.name}\n\n{scenario.title or scenario.name}.",
        _section("What it was asked for", _goal(scenario)),
        _section("What it was trained on", _training(scenario, provenance)),
        _section("What must hold before a decision is released", _release(scenario)),
    ]
    if rule is None or figures is None:
        parts.append("## What it does\n\nThe policy remembers earlier surveys, so no table of states can stand for it.")
    else:
        parts.append(_section("What it does", _rule(scenario, rule, figures)))
        parts.append(_section("The table beside the policy", _table(figures)))
    parts.append(_section("How it did on futures that it was not trained on", _evidence(problem, provenance)))
    return "\n\n".join(parts) + "\n"


def _section(heading: str, lines: list[str]) -> str:
    return f"## {heading}\n\n" + "\n".join(f"- {line}" for line in lines)


def _goal(scenario: FisheriesScenario) -> list[str]:
    caught = scenario.harvested
    if scenario.model.kind == "walleye":
        return [f"the sum over {scenario.horizon} years of: {scenario.model.utility}"]
    prices, costs = scenario.prices or (1.0,) * len(caught), scenario.effort_costs or (0.0,) * len(caught)
    lines = [
        f"the sum over {scenario.horizon} years of the catch, weighed with "
        + ", ".join(f"{price:g} per stock unit of {name}" for name, price in zip(caught, prices, strict=True)),
        "less the cost of effort: "
        + ", ".join(f"{cost:g} for a mortality of 1 of {name}" for name, cost in zip(caught, costs, strict=True)),
        f"a collapse is a species of {', '.join(scenario.model.species)} at or below {scenario.collapse_level:g} stock "
        "units" + _in_tonnes(scenario, scenario.collapse_level) + "; it ends everything",
    ]
    if scenario.reward == "penalised":
        lines.append(f"a collapse costs {scenario.penalty:g} divided by the year (from 1) in which it happens")
    if scenario.collapse_probability is not None:
        lines.append(
            f"constraint: a collapse within {scenario.horizon} years in at most {scenario.collapse_probability:.3g} of "
            "all futures"
        )
    if scenario.low_years is not None:
        lines.append(
            f"constraint: at most {scenario.low_years:g} years in the mean that end with a species below "
            f"{scenario.low_level:g}"
        )
    if scenario.limits.tac is not None:
        lines.append(f"total allowable catch: {scenario.limits.tac:g} stock units a year")
    if scenario.limits.max_change is not None:
        lines.append(f"mortalities change by at most {scenario.limits.max_change:g} a year")
    return lines


def _in_tonnes(scenario: FisheriesScenario, level: float) -> str:
    if scenario.tonnes is None:
        return ""
    told = zip(scenario.model.species, scenario.tonnes, strict=True)
    return f" ({', '.join(f'{name} {level * unit:,.0f} t' for name, unit in told)})"


def _training(scenario: FisheriesScenario, provenance: Mapping[str, Any]) -> list[str]:
    run = provenance.get("run", {})
    numbers = ", ".join(
        f"{name} {_text(value)}" for name, value in scenario.model.model_dump().items() if name != "kind"
    )
    lines = [
        f"scenario {scenario.name}, hash {scenario.hash()}; model {scenario.model.kind}: {numbers}",
        f"stocks of year 0: {_numbers(scenario.initial)}, standard deviation {scenario.initial_sd:g}",
        f"surveys find {', '.join(seen_species(scenario))}, with a relative error of {scenario.observed.cv:g}",
    ]
    if scenario.drift:
        moved = ", ".join(f"{one.parameter} by {one.per_year:g} a year" for one in scenario.drift)
        lines.append(f"parameters that drift: {moved}")
    if scenario.uncertainty.sd:
        lines.append(f"every parameter is off by a factor with standard deviation {scenario.uncertainty.sd:g}")
    told = [
        f"{name} {_text(run[name])}"
        for name in ("method", "seed", "run", "created", "settings")
        if run.get(name) is not None
    ]
    lines.append("; ".join(told) if told else "the run that it comes from was not recorded")
    return lines


def _release(scenario: FisheriesScenario) -> list[str]:
    lines = ["mortalities are numbers from 0 to 1; far from its training the policy is not asked"]
    if scenario.model.kind != "walleye":
        lines.append(
            f"a collapse within the year is at most {scenario.release.collapse_probability:g} likely; otherwise all "
            "mortalities are scaled down alike until it is; if none is low enough, the fishery is closed"
        )
        lines.append(f"behind that: {ASSUMED}")
    return [*lines, "these checks were not part of training; what is told below is about the policy without them"]


def _rule(scenario: FisheriesScenario, rule: ControlRule, figures: Mapping[str, Any]) -> list[str]:
    """The rule in words, other inputs at the medians of visited states."""
    lines, quantiles = [], figures["quantiles"]
    for j, (name, block) in enumerate(rule.blocks.items()):
        own = f"stock_{name}"
        stock = block.axes[own]
        fixed = {key: quantiles[key]["50 %"] for key in block.axes}
        shares = _asked(rule, {**fixed, own: stock})[:, j]
        lines.append(f"{name}, everything else at its median: {_slope(stock, shares)}")
        for other, axis in block.axes.items():
            if other == own or len(axis) < 2:
                continue
            told = [
                f"{_asked(rule, {**fixed, other: np.array([value])})[0, j]:.3g} at {value:.3g} ({level})"
                for level, value in quantiles[other].items()
            ]
            lines.append(f"{name} at its median, by {other.replace('_', ' ')}: {', '.join(told)}")
    return [f"stocks in stock units, mortalities in shares of the stock per year; hash {scenario.hash()}", *lines]


def _asked(rule: ControlRule, state: Mapping[str, Any]) -> Array:
    count = max(np.size(value) for value in state.values())
    return rule.mortality({name: np.broadcast_to(value, count) for name, value in state.items()})


def _slope(stock: Array, shares: Array) -> str:
    fished = np.flatnonzero(shares > OPEN)
    if not len(fished):
        return f"no catch at any visited stock, up to {stock[-1]:.3g}"
    first = fished[0]
    start = f"no catch up to a stock of {stock[first - 1]:.3g}; " if first else ""
    some = np.unique(np.linspace(first, len(stock) - 1, 5).astype(int))
    return start + "mortality " + ", ".join(f"{shares[k]:.3g} at {stock[k]:.3g}" for k in some)


def _table(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        f"mortality of {name}: at most {away['maximum']:.3g} from the policy on {figures['visited_states']:,} visited "
        f"states, {away['mean']:.2g} in the mean, more than 0.01 in {away['share_above_0.01']:.1%}"
        for name, away in figures["deviation"].items()
    ]
    reward, survival = figures["mean_reward"], figures["survival"]
    count = figures["validation_futures"]
    lines.append(
        f"mean reward on {count} validation futures: policy {reward['policy']:.4g}, table {reward['table']:.4g}"
    )
    if survival:
        lines.append(f"survival on them: policy {survival['policy']:.3f}, table {survival['table']:.3f}")
    return lines


def _evidence(problem: "FisheriesProblem", provenance: Mapping[str, Any]) -> list[str]:
    policies = provenance.get("evidence", {}).get("policies", {})
    unit, lines = problem.objective.unit, []
    for name, found in policies.items():
        goal = found["objective"]
        limits = [
            f"{key} {value['mean']:.3g} ({'kept' if value['satisfied'] else 'missed'}: at most {value['limit']:g})"
            for key, value in found.get("constraints", {}).items()
        ]
        who = "the policy" if found.get("learned") else "rule"
        interval = f"{goal['low']:.4g} to {goal['high']:.4g}"
        lines.append(f"{who} {name}: {goal['mean']:.4g} {unit} ({interval})" + "".join(f"; {one}" for one in limits))
    return lines or ["no comparison was recorded when the bundle was written"]


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(entry)}" for name, entry in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)

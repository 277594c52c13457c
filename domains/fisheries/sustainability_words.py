"""What the sustainability report says in words."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from interlock.domains.fisheries import sustainability
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.sustainability import Fleet


def notes(
    scenario: FisheriesScenario,
    values: Mapping[str, Any],
    gains: Mapping[str, Mapping[str, Fleet]],
) -> list[str]:
    """What a reader has to know, the plain words first.

    Args:
        scenario: the numbers.
        values: of ``--json``.
        gains: of each fleet under each policy.
    """
    aims = values["objective"]
    told = [
        who_gains(gains, values["reference"]),
        *collapse_words(values["policies"]),
        *ranking_words(values["policies"], values["perturbed"]),
    ]
    told.append(
        f"{values['futures']:,} held-out futures of {scenario.horizon} years (seed {values['futures_seed']}), the same "
        "for all policies; ± is the half-width of a 95 % interval (those of all figures: --json); low: years that end "
        f"below {scenario.low_level:g}; lost: years after a collapse; bad year: all but 5 % of the years of an episode "
        "bring more; AAV: mean change of the catch from year to year over the catch; a fleet is all who catch one "
        "species, its value is before costs and shown against the reference"
    )
    prices = ", ".join(f"{name} {price:g}" for name, price in aims["prices"].items())
    costs = ", ".join(f"{name} {cost:g}" for name, cost in aims["effort_costs"].items())
    told.append(
        f"what counts ({aims['reward']}): value of the catch at prices {prices}, less effort at {costs} for a "
        f"mortality of 1, less {aims['penalty']:g} / (year from 1) for a collapse; collapsed: at or below "
        f"{aims['collapse_level']:g}, limit reference point: {aims['low_level']:g} stock units"
        if "survival" in next(iter(values["policies"].values()))
        else f"what counts: {aims['reward']}; a year is low below {aims['low_level']:g} of the unfished spawners"
    )
    for name, one in values["policies"].items():
        if one["learned"]:
            trained = ", ".join(f"{key} {value}" for key, value in one["trained_on"].items())
            told.append(f"{name} was learned: {trained or 'it does not tell on what'}")
    if values["perturbed"]:
        asked = scenario.uncertainty
        told.append(
            f"parameters off: {sustainability.DRAWS} draws per noise, each parameter times 1 + noise x N(0, 1), kept "
            f"if unfished stocks live in {100 * asked.survival:g} % of {asked.runs} runs; {sustainability.EPISODES} "
            "futures per draw, the same for all policies; intervals are over draws"
        )
    if values["in_print"]:
        told += [print_words(values["in_print"])]
    return told


def who_gains(gains: Mapping[str, Mapping[str, Fleet]], reference: str) -> str:
    """Winners and losers against the reference, where the interval says so."""
    sentences = []
    for name, by_fleet in gains.items():
        for fleet, one in by_fleet.items():
            if one.gain is not None and (one.gain.low > 0 or one.gain.high < 0):
                word = "gains" if one.gain.mean > 0 else "loses"
                share = abs(one.gain.mean) / max(one.value.mean - one.gain.mean, 1e-12)
                sentences.append(f"under {name} the {fleet} fleet {word} {100 * share:.3g} %")
    return f"against {reference}: " + ("; ".join(sentences) if sentences else "no fleet clearly gains or loses")


def collapse_words(policies: Mapping[str, Any]) -> list[str]:
    """How often, when and with which species futures end, policy by policy."""
    found = []
    for name, one in policies.items():
        if "survival" in one and one["years_to_collapse"]["median"] is not None:
            first = max(one["collapsed"], key=lambda species: one["collapsed"][species]["mean"])
            lost = 1.0 - one["survival"]["mean"]
            share = 100 * one["collapsed"][first]["mean"] / lost
            found.append(
                f"under {name} {100 * lost:.3g} % of futures collapse, half of them by year "
                f"{one['years_to_collapse']['median']:.0f}, {first} in {share:.0f} %"
            )
    return ["; ".join(found)] if found else []


def ranking_words(policies: Mapping[str, Any], perturbed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether the order of the policies changes as parameters are off by more."""
    if not perturbed:
        return ["parameters are not perturbed here: the factors of this model cannot be drawn freely"]
    orders = {"as the scenario is": _order(policies)}
    for level in perturbed:
        orders[f"where parameters are off by {100 * level['noise']:g} %"] = _order(level["policies"])
    told = [(where, order) for where, order in orders.items()]
    changes = [told[0], *(now for before, now in pairwise(told) if now[1] != before[1])]
    if len(changes) == 1:
        most = 100 * perturbed[-1]["noise"]
        return [f"the ranking by mean reward stays the same up to {most:g} %: {', '.join(told[0][1])}"]
    return [
        "the ranking by mean reward changes: " + "; ".join(f"{', '.join(order)} {where}" for where, order in changes)
    ]


def _order(policies: Mapping[str, Any]) -> list[str]:
    return sorted(policies, key=lambda name: int(policies[name]["rank"]))


def print_words(printed: Mapping[str, Any]) -> str:
    """Published differences beside ours."""
    parts = [
        f"{100 * one['noise']:g} %: published {one['published']['difference']:.2f} (sd {one['published']['sd']:.2f}), "
        f"{one['policy']} {one['ours']['mean']:.2f} (sd {one['ours']['sd']:.2f})"
        for one in printed["differences"]
    ]
    return f"differences from constant escapement beside {printed['source']}: " + "; ".join(parts)

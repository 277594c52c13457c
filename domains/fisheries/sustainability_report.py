"""What the sustainability report says: its values, its table, its pictures, and what a reader has to know."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.core.environment import Array
from interlock.core.evaluation.protocol import Outcomes
from interlock.core.evaluation.statistics import student
from interlock.core.policy import Policy
from interlock.core.problem import Findings
from interlock.domains.fisheries import figures_sustainability as pictures
from interlock.domains.fisheries.published import figures_in_print
from interlock.domains.fisheries.published_tables import counterpart
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.sustainability import (
    Fleet,
    Robust,
    as_values,
    chances_of_being_best,
    fleets,
    interval,
    losses,
    ranks,
)
from interlock.domains.fisheries.sustainability_words import notes

FIGURES: Mapping[str, str] = {
    "low_years": "years",
    "closed_years": "share",
    "mean_catch": "stock units/year",
    "catch_5_percent": "stock units/year",
    "aav": "share",
}
"""Metrics that are told as they are, and their units."""


def findings(
    problem: Any,
    policies: Mapping[str, Policy],
    outcomes: Mapping[str, Outcomes],
    off: Mapping[str, Sequence[Robust]],
    reference: str,
    rows: Array,
    seed: int,
) -> Findings:
    """Everything that the verb found.

    Args:
        problem: a ``FisheriesProblem``.
        policies: by name.
        outcomes: of each on the same held-out futures.
        off: of each where parameters are off, by noise; empty where that is not tried.
        reference: the policy that gains and losses are counted against.
        rows: bootstrap samples of the futures.
        seed: of the futures.
    """
    scenario: FisheriesScenario = problem.scenario
    learned = {name: name not in problem.baselines() for name in policies}
    gains = {
        name: fleets(scenario, own, None if name == reference else outcomes[reference], rows)
        for name, own in outcomes.items()
    }
    place = ranks({name: float(own.objective.mean()) for name, own in outcomes.items()})
    values: dict[str, Any] = {
        "futures": len(rows[0]),
        "futures_seed": seed,
        "reference": reference,
        "objective": objective(scenario, problem.objective.unit),
        "policies": {
            name: {
                "learned": learned[name],
                "trained_on": trained_on(policy) if learned[name] else None,
                "rank": place[name],
                **policy_values(scenario, outcomes[name], rows, problem.objective.unit),
                "fleets": {fleet: fleet_values(one) for fleet, one in gains[name].items()},
            }
            for name, policy in policies.items()
        },
        "perturbed": perturbed_values(off, reference, problem.objective.unit),
        "in_print": in_print(scenario, off, learned),
    }
    drawn = {"fleets": pictures.fleets_figure(scenario, gains, reference, learned)}
    if "survival" in next(iter(outcomes.values())).metrics:
        drawn["alive"] = pictures.alive_figure(scenario, outcomes, learned)
    if values["perturbed"]:
        drawn["perturbed"] = pictures.perturbed_figure(outcomes, off, learned, problem.objective.unit)
        drawn["ranks"] = pictures.ranks_figure(values["perturbed"], list(policies))
    return Findings(
        values=values,
        columns=columns(scenario, values),
        rows=[table_row(scenario, name, values) for name in policies],
        figures={name: (*pictures.WORDS[name], figure) for name, figure in drawn.items()},
        notes=notes(scenario, values, gains),
    )


def objective(scenario: FisheriesScenario, unit: str) -> dict[str, Any]:
    """What every policy is judged by: who reads a result has to see whose aims these are."""
    model = scenario.model
    return {
        "unit": unit,
        "reward": scenario.reward if model.kind != "walleye" else getattr(model, "utility", ""),
        "prices": dict(zip(scenario.harvested, scenario.prices or (1.0,) * len(scenario.harvested), strict=True)),
        "effort_costs": dict(
            zip(scenario.harvested, scenario.effort_costs or (0.0,) * len(scenario.harvested), strict=True)
        ),
        "penalty": scenario.penalty if scenario.reward == "penalised" else 0.0,
        "collapse_level": scenario.collapse_level,
        "low_level": scenario.low_level,
        "collapse_probability": scenario.collapse_probability,
        "low_years": scenario.low_years,
        "horizon": scenario.horizon,
    }


def trained_on(policy: Policy) -> dict[str, Any]:
    """What a learned policy tells of its training; empty where it tells nothing."""
    told = getattr(policy, "description", {})
    wanted = ("method", "scenario", "scenario_hash", "seed")
    return {key: told[key] for key in wanted if key in told}


def policy_values(scenario: FisheriesScenario, outcomes: Outcomes, rows: Array, unit: str) -> dict[str, Any]:
    """What one policy does to stocks and catches on the futures of the scenario."""
    lost = scenario.horizon - outcomes.metrics["length"]
    return {
        "reward": as_values(interval(outcomes.objective, rows), unit),
        **losses(scenario, outcomes),
        "lost_years": as_values(interval(lost, rows), "years"),
        **{name: as_values(interval(outcomes.metrics[name], rows), unit) for name, unit in FIGURES.items()},
    }


def fleet_values(one: Fleet) -> dict[str, Any]:
    """A fleet as JSON has it."""
    return {
        "catch": as_values(one.catch, "stock units/year"),
        "value": as_values(one.value, "value/year"),
        "gain": None if one.gain is None else as_values(one.gain, "value/year"),
    }


def perturbed_values(off: Mapping[str, Sequence[Robust]], reference: str, unit: str) -> list[dict[str, Any]]:
    """One entry per noise: reward, survival, rank, chance of being best, difference to the reference."""
    found = []
    for k, one in enumerate(off[reference]):
        rewards = {name: robust[k].rewards for name, robust in off.items()}
        best = chances_of_being_best(rewards)
        place = ranks({name: float(values.mean()) for name, values in rewards.items()})
        policies = {
            name: {
                "reward": as_values(student(values), unit),
                "survival": as_values(student(off[name][k].survivals), "share"),
                "rank": place[name],
                "chance_of_being_best": best[name],
                "difference": None if name == reference else _spread(values - rewards[reference], unit),
            }
            for name, values in rewards.items()
        }
        found.append({"noise": one.noise, "draws": len(one.rewards), "policies": policies})
    return found


def in_print(
    scenario: FisheriesScenario, off: Mapping[str, Sequence[Robust]], learned: Mapping[str, bool]
) -> dict[str, Any] | None:
    """Published differences from constant escapement beside ours; ``None`` where nothing of the kind is in print."""
    content = figures_in_print()
    printed = content["scenarios"].get(scenario.name, {}).get("perturbed")
    ours = [name for name in off if learned[name] and counterpart(name)]
    if printed is None or "constant_escapement" not in off or not ours:
        return None
    by_noise = {one["noise"]: one for one in printed}
    found = []
    for k, one in enumerate(off["constant_escapement"]):
        if one.noise in by_noise:
            found += [
                {
                    "noise": one.noise,
                    "policy": name,
                    "published": by_noise[one.noise][str(counterpart(name))],
                    "draws_published": by_noise[one.noise]["draws"],
                    "ours": _spread(off[name][k].rewards - one.rewards, "stock units"),
                }
                for name in ours
            ]
    return {"source": content["source"], "against": "constant_escapement", "differences": found}


def _spread(values: Array, unit: str) -> dict[str, Any]:
    """Mean with its interval and the standard deviation over draws."""
    return {**as_values(student(values), unit), "sd": float(values.std(ddof=1))}


def columns(scenario: FisheriesScenario, values: Mapping[str, Any]) -> list[str]:
    """Headings of the table, short enough for a terminal."""
    some = next(iter(values["policies"].values()))
    return [
        "policy",
        f"reward [{some['reward']['unit']}]",
        *(["survival [share]"] if "survival" in some else []),
        "low [years]",
        "lost [years]",
        "closed [share]",
        "bad year [catch]",
        "AAV [share]",
        *(f"{fleet} fleet [%]" for fleet in scenario.harvested),
        *(f"rank at {100 * one['noise']:g} %" for one in values["perturbed"][-1:]),
    ]


def table_row(scenario: FisheriesScenario, name: str, values: Mapping[str, Any]) -> list[str]:
    """A policy as the table shows it."""
    one = values["policies"][name]
    found = [name, _text(one["reward"], 2)]
    if "survival" in one:
        found.append(f"{one['survival']['mean']:.3f}")
    shown = {"low_years": 1, "lost_years": 1, "closed_years": 3, "catch_5_percent": 3, "aav": 2}
    found += [f"{one[key]['mean']:.{digits}f}" for key, digits in shown.items()]
    for fleet in scenario.harvested:
        earned = values["policies"][values["reference"]]["fleets"][fleet]["value"]["mean"]
        found.append(_share_of(one["fleets"][fleet]["gain"], earned))
    return [*found, *(str(level["policies"][name]["rank"]) for level in values["perturbed"][-1:])]


def _text(value: Mapping[str, Any], digits: int, *, signed: bool = False) -> str:
    half = max(value["high"] - value["mean"], value["mean"] - value["low"])
    return f"{value['mean']:{'+' if signed else ''}.{digits}f} ± {half:.{digits}f}".replace("-", "−")


def _share_of(gain: Mapping[str, Any] | None, earned: float) -> str:
    """A gain in percent of what the reference earns."""
    if gain is None:
        return "reference"
    if earned <= 0:
        return "–"
    return _text({key: 100 * gain[key] / earned for key in ("mean", "low", "high")}, 1, signed=True)

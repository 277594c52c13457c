"""Request and answer of an exported harvest policy as JSON Schema (draft 2020-12); units in the annotation ``unit``."""

from typing import Any

from interlock.core.decision import hidden_state_schema
from interlock.domains.fisheries.scenario import FisheriesScenario

SCHEMA_VERSION = 2
FAR = 1.5
"""Above this many times the largest stock of training, a policy is not asked."""
HIGH_CV = 0.2
"""Surveys with a larger coefficient of variation, and twice that of the scenario, are flagged."""

FIVE_YEARS = 5.0
"""A collapse within five years is pointed out if it is likelier than this many times the limit on one year."""

Schema = dict[str, Any]

FLAGS = {
    "closed": "nothing may be caught",
    "limit_missed_without_catch": "even without a catch a collapse within the year is likelier than the limit, and no "
    "catch that was tried keeps it either",
    "crowded": "without a catch a collapse within the year would be likelier than the limit: crowded stocks overshoot",
    "five_year_risk": "if the mortalities are held, a collapse within five years is likelier than "
    f"{FIVE_YEARS:g} times the limit on one year",
    "reduced_for_risk": "the mortalities are the largest that keep the limit on a collapse within the year",
    "reduced_for_tac": "the catch is the total allowable one",
    "fast_reduction": "a mortality falls by more than the largest change, because risk or allowable catch ask for it",
    "outside_training_range": "a stock is larger than any of training",
    "policy_not_asked": f"a stock is at or below the limit, or above {FAR:g} times the largest one of training: "
    "a fallback rule decides",
    "below_limit": "a stock is at or below the limit already",
    "low_stock": "a stock is below the level at which a year counts as low",
    "high_cv": f"a survey's coefficient of variation is above {HIGH_CV:g} and above twice that of training",
    "hidden_species": "no survey finds a species; its stock is assumed",
    "last_year": "the last year of the horizon: training does not count what comes after it",
}
"""What an answer may point out."""

HIDDEN = (
    "species without a survey are taken to be as in the training futures that the best constant mortality within the "
    "limits plays, in those whose seen stocks are nearest to the survey"
)
ASSUMED = (
    "true stocks are log-normal around the survey with its coefficient of variation; " + HIDDEN + "; unknown "
    "parameters are drawn as in training"
)


def request_schema(scenario: FisheriesScenario) -> Schema:
    """JSON Schema of a request; species are named as in the scenario."""
    seen, caught = seen_species(scenario), scenario.harvested
    aged = scenario.model.kind == "walleye"
    properties: Schema = {
        "schema_version": {"const": SCHEMA_VERSION, "description": "version of this schema"},
        "scenario_signature": {
            "type": "object",
            "description": "what the request is made for, see manifest.json; refused if it is not that of the policy",
        },
        "year": {
            "type": "integer", "minimum": 1, "maximum": scenario.horizon, "unit": "1",
            "description": "year that is decided on, from 1",
        },
        "stock": each(seen, "stock that the survey found", "stock units", minimum=0),
    }  # fmt: skip
    if scenario.tonnes is not None:
        properties["stock_t"] = each(seen, "the same in tonnes, instead", "t", minimum=0)
    if aged and getattr(scenario.model, "weigh", False):
        properties["mean_weight"] = {
            "type": "number", "minimum": 0, "unit": "1", "description": "mean weight of the fish of the survey",
        }  # fmt: skip
    told = f"coefficient of variation of the survey; where none is told, {scenario.observed.cv:g} as in training"
    properties["cv"] = {**each(seen, told, "1", minimum=0, maximum=1), "required": []}
    needed = "; needed from year 2 on" if scenario.limits.max_change is not None else "; not needed"
    properties["last_mortality"] = each(
        caught, f"mortality of the year before{needed}", "share/year", minimum=0, maximum=1
    )
    properties["deadline_ms"] = {
        "type": "number", "exclusiveMinimum": 0, "unit": "ms",
        "description": "a policy that takes longer is replaced by a fallback rule",
    }  # fmt: skip
    properties["hidden_state"] = hidden_state_schema()
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "how much of every harvested stock to catch this year",
        "type": "object",
        "additionalProperties": False,
        "required": ["year"],
        "properties": properties,
    }
    if scenario.tonnes is None:
        schema["required"] = ["year", "stock"]
    else:
        schema["oneOf"] = [{"required": ["stock"]}, {"required": ["stock_t"]}]
    if "mean_weight" in properties:
        schema["required"].append("mean_weight")
    return schema


def answer_schema(scenario: FisheriesScenario) -> Schema:
    """JSON Schema of the domain's part of an answer; tonnes only where the scenario tells them."""
    caught, every = scenario.harvested, scenario.model.species
    properties: Schema = {
        "mortality": each(caught, "share of the stock to catch", "share/year", minimum=0, maximum=1),
        "flags": {
            "type": "array",
            "items": {"enum": list(FLAGS)},
            "description": "; ".join(f"{name}: {about}" for name, about in FLAGS.items()),
        },
        "notes": {"type": "array", "items": {"type": "string"}, "description": "the flags in words, with numbers"},
        "hidden_state": hidden_state_schema(),
        "refuse": {
            "type": "object",
            "properties": {"reason": {"type": "string", "description": "why nothing could be released"}},
        },
    }
    if scenario.model.kind == "walleye":
        # A survey does not tell the ages of the fish, so neither the catch nor next year's stock follows from it.
        return {"type": "object", "properties": properties}
    limit = f"{scenario.collapse_level:g} stock units"
    properties |= _in_units(scenario, "tac", caught, "total allowable catch: mortality times the stock of the survey")
    properties |= _in_units(scenario, "escapement", caught, "stock of the survey less the allowable catch")
    following = f"of the stocks a year later, over {scenario.release.rollouts:,} rollouts; {ASSUMED}"
    properties |= _in_units(scenario, "next_stock_mean", every, f"mean {following}")
    properties |= _in_units(scenario, "next_stock_low", every, f"5 % quantile {following}")
    chance = {"type": "number", "minimum": 0, "maximum": 1, "unit": "1"}
    properties["collapse_within_1_year"] = {
        **chance,
        "description": f"probability that any species is at or below {limit} a year later, by the normal distribution; "
        f"at most {scenario.release.collapse_probability:g} unless the fishery is closed; {ASSUMED}",
    }
    properties["collapse_within_5_years"] = {
        **chance,
        "description": "the same at the end of any of the next five years, by rollouts in which the mortalities of "
        "this year are held and years beyond the horizon are like its last one",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": properties}


def seen_species(scenario: FisheriesScenario) -> tuple[str, ...]:
    """Species that surveys find."""
    return tuple(name for name in scenario.model.species if name not in scenario.observed.hidden)


def each(names: tuple[str, ...], description: str, unit: str, **limits: float) -> Schema:
    """JSON Schema of one number by name."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(names),
        "properties": {
            name: {"type": "number", "unit": unit, "description": f"{description}, {name}", **limits} for name in names
        },
    }


def _in_units(scenario: FisheriesScenario, name: str, species: tuple[str, ...], description: str) -> Schema:
    """An entry in stock units and, where they are known, in tonnes."""
    found = {name: each(species, description, "stock units", minimum=0)}
    if scenario.tonnes is not None:
        found[f"{name}_t"] = each(species, description, "t", minimum=0)
    return found

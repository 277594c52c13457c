"""The scenario schema of fisheries management: a model of the stocks, drift, money, limits, and what is seen."""

import difflib
import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from interlock.core.scenario import EvaluationSettings, Scenario, Settings
from interlock.domains.fisheries.dynamic_programming_range import above

MAX_YEARS = 10_000
"""Longest horizon."""

RATES = ("r", "r_x", "r_y", "k", "k_x", "k_y")
"""Parameters that must stay above 0; all others at least 0."""

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]

Rule = Literal[
    "constant_mortality", "constant_mortality_safe", "constant_escapement", "precautionary",
    "constant_mortality_95", "constant_mortality_90", "constant_mortality_80",
    "f_msy", "myopic", "no_harvest", "optimum", "optimum_stationary",
]  # fmt: skip
"""Rules that learned policies are compared with."""


class OneSpecies(Settings):
    """Logistic growth under a saturating grazer (May 1977)."""

    kind: Literal["one_species"] = "one_species"
    r: float = Field(1.0, gt=0, description="growth rate, 1/year")
    k: float = Field(1.0, gt=0, description="carrying capacity, in stock units")
    beta: float = Field(0.23, ge=0, description="most that grazers take, stock units/year")
    c: float = Field(0.1, ge=0, description="stock at which grazers take half of that, stock units")
    sigma: float = Field(0.05, ge=0, description="standard deviation of yearly noise, share of the stock")

    @property
    def species(self) -> tuple[str, ...]:
        """Names, in the order of the arrays."""
        return ("x",)

    @model_validator(mode="after")
    def _half_saturation(self) -> Self:
        _check_half_saturation(self.beta, self.c)
        return self


class FoodWeb(Settings):
    """Two competing prey x and y and their predator z (Montealegre-Mora et al. 2023)."""

    kind: Literal["food_web"]
    r_x: float = Field(1.0, gt=0, description="growth rate of x, 1/year")
    r_y: float = Field(1.0, gt=0, description="growth rate of y, 1/year")
    k_x: float = Field(1.0, gt=0, description="carrying capacity of x, stock units")
    k_y: float = Field(1.0, gt=0, description="carrying capacity of y, stock units")
    beta: float = Field(0.3, ge=0, description="most x that a unit of predators eats, 1/year")
    c: float = Field(0.3, ge=0, description="prey at which predators eat half of that, stock units")
    c_xy: float = Field(0.1, ge=0, description="competition of x and y")
    b: float = Field(0.1, ge=0, description="growth of the predator per unit of prey, 1/year")
    d: float = Field(1.1, ge=0, description="preference of the predator for y, x being 1")
    d_z: float = Field(0.1, ge=0, description="death rate of the predator, 1/year")
    sigma_x: float = Field(0.1, ge=0, description="standard deviation of yearly noise of x, share of the stock")
    sigma_y: float = Field(0.1, ge=0, description="the same of y")
    sigma_z: float = Field(0.1, ge=0, description="the same of z")
    competition: Literal["product", "capacity"] = Field(
        "product", description="product: c_xy x y is lost; capacity: each takes c_xy of itself off the other's capacity"
    )
    predator: Literal["dynamic", "exogenous"] = Field(
        "dynamic", description="exogenous: z rises and falls by up to 2 % a year with a period of 50 years"
    )

    @property
    def species(self) -> tuple[str, ...]:
        """Names, in the order of the arrays."""
        return ("x", "y", "z")

    @model_validator(mode="after")
    def _half_saturation(self) -> Self:
        _check_half_saturation(self.beta, self.c)
        return self


class Walleye(Settings):
    """One stock of many ages, whose young mostly come in rare big years (walleye of the public code rl4fisheries)."""

    kind: Literal["walleye"]
    ages: int = Field(20, ge=2, le=100, description="ages in years, from 1; the last holds all that are older")
    k: float = Field(0.23, gt=0, description="growth coefficient of von Bertalanffy, 1/year")
    s: float = Field(0.86, gt=0, lt=1, description="share of the fish that survive a year without harvest")
    cr: float = Field(6.0, gt=1, description="compensation ratio: young per spawner in an empty lake over a full one")
    ro: float = Field(1.0, gt=0, description="young of a year without harvest, in numbers")
    asl: float = Field(0.5, gt=0, description="slope of maturity in 1/year, and width of vulnerability in years")
    ahv: float = Field(5.0, ge=0, description="age at which half are vulnerable to harvest, years")
    ahm: float = Field(6.0, ge=0, description="age at which half are mature, years")
    linf: float = Field(41.08, gt=0, description="scale of what a survey finds: it is linf / lbar, cm")
    lbar: float = Field(57.57, gt=0, description="see linf, cm")
    big_chance: float = Field(0.04875, ge=0, le=1, description="chance that a year is a big one, 1/year")
    big_low: float = Field(10.0, ge=0, description="least factor of the young of a big year")
    big_high: float = Field(30.0, ge=0, description="largest factor of the young of a big year")
    usual: float = Field(0.25, gt=0, description="mean factor of the young of any other year")
    sdr: float = Field(0.3, ge=0, description="standard deviation of the logarithm of that factor")
    first_low: float = Field(0.1, gt=0, description="least share of the unfished stock in year 0")
    first_high: float = Field(1.0, gt=0, description="largest share of the unfished stock in year 0")
    utility: Literal["yield", "hara", "trophy"] = Field(
        "yield", description="of a year: its catch; its catch to the power `exponent`; the old fish that it brings"
    )
    exponent: float = Field(0.6, gt=0, le=1, description="of the catch, for hara: the lower, the steadier catches")
    trophy_ages: int = Field(10, ge=1, description="oldest ages that count as old fish, for trophy")
    weigh: bool = Field(False, description="whether a survey tells the mean weight of its fish too")

    @property
    def species(self) -> tuple[str, ...]:
        """Names, in the order of the arrays."""
        return ("walleye",)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        wrong = [
            f"{name}_low: {low:g} is above {name}_high, {high:g}"
            for name, low, high in (
                ("big", self.big_low, self.big_high),
                ("first", self.first_low, self.first_high),
            )
            if low > high
        ]
        if self.trophy_ages > self.ages:
            wrong.append(f"trophy_ages: {self.trophy_ages} of {self.ages} ages")
        _raise_all(wrong)
        return self


def _check_half_saturation(beta: float, c: float) -> None:
    if beta > 0 and c == 0:
        raise ValueError(f"c: 0 while beta is {beta:g}; expected above 0")


AnyModel = Annotated[
    OneSpecies | FoodWeb | Walleye,
    Field(discriminator="kind", description="the stocks: one_species, food_web or walleye"),
]


class Drift(Settings):
    """A parameter that changes steadily over the years of an episode."""

    parameter: str = Field(description="of the model")
    per_year: float = Field(description="change per year, as a share of the value of year 0 (or see `unit`)")
    unit: Literal["share", "own"] = Field("share", description="own: `per_year` is in the parameter's own unit")
    at_least: float | None = Field(None, description="the value never falls below this, as a share or in its own unit")
    at_most: float | None = Field(None, description="the value never rises above this, as a share or in its own unit")

    def value(self, start: float, year: int) -> float:
        """The parameter in a year from 0."""
        moved = (1.0 if self.unit == "share" else start) + self.per_year * year
        moved = moved if self.at_least is None else max(moved, self.at_least)
        moved = moved if self.at_most is None else min(moved, self.at_most)
        return moved * start if self.unit == "share" else moved


class Uncertainty(Settings):
    """Every parameter of an episode is off by a factor that nobody knows."""

    sd: float = Field(0.0, ge=0, le=1, description="standard deviation of each parameter's factor, whose mean is 1")
    survival: float = Field(0.99, ge=0, le=1, description="share of unfished runs without collapse that is asked for")
    runs: int = Field(100, ge=1, description="unfished runs on which that is tried; factors that fail are drawn again")


class Limits(Settings):
    """What no decision may break: proposals are brought within these limits before they are carried out."""

    tac: float | None = Field(None, gt=0, description="largest total catch of a year, stock units; null: none")
    max_change: float | None = Field(
        None, gt=0, le=1, description="largest change of a mortality from one year to the next; null: none"
    )


class Observed(Settings):
    """What the council sees of the stocks."""

    hidden: tuple[str, ...] = Field((), description="species that no survey finds; harvested ones are always seen")
    cv: float = Field(0.0, ge=0, lt=1, description="standard deviation of the relative error of surveys")
    time: bool = Field(False, description="whether networks see the year, as a share of the horizon, by default")


class Tuned(Settings):
    """Parameters of the rules, as `interlock fisheries tune` found them on training instances."""

    numbers: str = Field(description="hash of the numbers they were found for; others are tuned anew")
    constant_mortality: tuple[float, ...] = Field(description="share per year of each harvested species")
    constant_mortality_safe: tuple[float, ...] = Field(description="the same, among those that keep the limits")
    constant_escapement: tuple[float, ...] = Field(description="stock to leave of each harvested species")
    precautionary: tuple[tuple[float, float, float], ...] = Field(
        description="of each harvested species: stock up to which none is caught, stock from which on the mortality is "
        "full, and that mortality"
    )


class Release(Settings):
    """What an exported policy looks at before it releases a decision."""

    collapse_probability: float = Field(
        0.01, gt=0, lt=1, description="largest probability that a species collapses within the year decided on"
    )
    rollouts: int = Field(10_000, ge=100, description="futures that a released decision is played on")


class FisheriesEvaluation(EvaluationSettings):
    """How evidence is gathered: 10,000 held-out futures."""

    test_instances: int = Field(10_000, ge=2, description="number of held-out futures")
    validation_instances: int = Field(1000, ge=2, description="number of validation futures")
    num_envs: int = Field(2500, ge=1, description="rows of the batched environment during evaluation")


class FisheriesScenario(Scenario):
    """Once a year the mortality of every harvested stock is set, until a species collapses or the horizon ends."""

    domain: Literal["fisheries"] = "fisheries"
    model: AnyModel = OneSpecies()
    drift: tuple[Drift, ...] = Field((), description="parameters that change over the years")
    uncertainty: Uncertainty = Uncertainty()
    harvested: tuple[str, ...] = Field(("x",), min_length=1, max_length=2, description="species that are caught")
    horizon: int = Field(200, ge=1, le=MAX_YEARS, description="years")
    initial: tuple[float, ...] = Field(
        (0.7,), description="mean stocks in year 0, stock units; walleye: factor of the stock that is drawn"
    )
    initial_sd: float = Field(0.02, ge=0, description="their standard deviation")
    collapse_level: float = Field(0.05, ge=0, description="a species at or below this stock has collapsed")
    low_level: float = Field(
        0.10,
        ge=0,
        description="a year counts as low if any species ends it below this stock; walleye: below this share of the "
        "unfished spawning biomass",
    )
    reward: Literal["penalised", "constrained"] = Field(
        "penalised", description="penalised: a collapse costs `penalty` / (year from 1); constrained: it costs nothing"
    )
    penalty: float = Field(100.0, ge=0, description="of a collapse in the first year, in units of the reward")
    prices: tuple[NotNegative, ...] | None = Field(
        None, description="per stock unit of each harvested species; null: 1"
    )
    effort_costs: tuple[NotNegative, ...] | None = Field(
        None, description="of a mortality of 1 for each harvested species; null: 0"
    )
    tonnes: tuple[Positive, ...] | None = Field(
        None, description="tonnes in a stock unit of each species; null: stocks are told in stock units only"
    )
    limits: Limits = Limits()
    release: Release = Release()
    collapse_probability: float | None = Field(
        0.05, gt=0, lt=1, description="limit on the probability that any species collapses; null: not a constraint"
    )
    low_years: float | None = Field(
        None, ge=0, description="limit on the expected number of low years; null: not a constraint"
    )
    observed: Observed = Observed()
    tuned: Tuned | None = Field(None, description="parameters of the rules; null: found when they are needed")
    baselines: tuple[Rule, ...] = Field(
        (
            "constant_mortality", "constant_mortality_safe", "constant_escapement", "precautionary",
            "constant_mortality_80", "f_msy", "myopic", "no_harvest",
        ),
        min_length=1,
        description="rules shown beside learned policies, the reference first; optimum and optimum_stationary exist "
        "where dynamic programming does",
    )  # fmt: skip
    evaluation: FisheriesEvaluation = FisheriesEvaluation()

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        species, caught = len(self.model.species), len(self.harvested)
        sizes = {
            "initial": (self.initial, species, "species"),
            "tonnes": (self.tonnes, species, "species"),
            "prices": (self.prices, caught, "harvested species"),
            "effort_costs": (self.effort_costs, caught, "harvested species"),
        }
        wrong = [
            f"{name}: {len(value)} numbers for {count} {what}"
            for name, (value, count, what) in sizes.items()
            if value is not None and len(value) != count
        ]
        _raise_all(wrong)
        return self

    @model_validator(mode="after")
    def _names(self) -> Self:
        species, parameters = self.model.species, parameter_names(self.model)
        wrong = [_unknown("harvested", name, species) for name in self.harvested if name not in species]
        wrong += [_unknown("observed.hidden", name, species) for name in self.observed.hidden if name not in species]
        wrong += [_unknown("drift", one.parameter, parameters) for one in self.drift if one.parameter not in parameters]
        wrong += [f"harvested: {name} twice" for name in set(self.harvested) if self.harvested.count(name) > 1]
        wrong += [f"observed.hidden: {name} is harvested" for name in self.observed.hidden if name in self.harvested]
        if len({one.parameter for one in self.drift}) < len(self.drift):
            wrong.append("drift: each parameter at most once")
        _raise_all(wrong)
        return self

    @model_validator(mode="after")
    def _alive_at_first(self) -> Self:
        _raise_all(
            [
                f"collapse_level {self.collapse_level:g} is at or above the initial stock {stock:g} of {name}: the "
                "episode would end at once"
                for name, stock in zip(self.model.species, self.initial, strict=True)
                if stock <= self.collapse_level
            ]
        )
        return self

    @model_validator(mode="after")
    def _drift_stays_sensible(self) -> Self:
        wrong = []
        for one in self.drift:
            start, floor = getattr(self.model, one.parameter), one.parameter in (*RATES, "c")
            for year in range(self.horizon):
                value = one.value(start, year)
                if value < 0 or (floor and value == 0):
                    asked = "above 0" if floor else "at least 0"
                    wrong.append(f"drift: {one.parameter} is {value:.3g} in year {year}, expected {asked}")
                    break
        _raise_all(wrong)
        return self

    @model_validator(mode="after")
    def _capacity_remains(self) -> Self:
        if not isinstance(self.model, FoodWeb) or self.model.competition != "capacity":
            return self
        drifts = {one.parameter: one for one in self.drift}

        def now(name: str, year: int) -> float:
            start: float = getattr(self.model, name)
            return drifts[name].value(start, year) if name in drifts else start

        wrong = []
        for one, other in (("x", "y"), ("y", "x")):
            for year in range(self.horizon):
                share, capacity, own = now("c_xy", year), now(f"k_{one}", year), now(f"k_{other}", year)
                if share * own >= capacity:  # nothing is left for it, and crowding would turn into growth
                    wrong.append(
                        f"model.c_xy is {share:.3g} in year {year}: {other} takes {share * own:.3g} off the capacity "
                        f"of {one}, {capacity:.3g} (k_{one}); expected c_xy * k_{other} below k_{one}"
                    )
                    break
        _raise_all(wrong)
        return self

    @model_validator(mode="after")
    def _fits_ages(self) -> Self:
        if not isinstance(self.model, Walleye):
            return self
        unfit = {
            "drift: not for walleye; expected none": self.drift,
            "uncertainty.sd: not for walleye; expected 0": self.uncertainty.sd,
            "initial_sd: not for walleye, see model.first_low; expected 0": self.initial_sd,
            "collapse_level: walleye do not collapse; expected 0": self.collapse_level,
            "collapse_probability: walleye do not collapse; expected null": self.collapse_probability,
            "limits.tac: surveys do not tell the catch of walleye beforehand; expected null": self.limits.tac,
            "prices: not for walleye, see model.utility; expected null": self.prices,
            "effort_costs: not for walleye; expected null": self.effort_costs,
        }
        _raise_all([told for told, value in unfit.items() if value])
        return self

    @model_validator(mode="after")
    def _optimum_exists(self) -> Self:
        known = self.uncertainty.sd == 0 and not self.observed.hidden and not isinstance(self.model, Walleye)
        asked = [name for name in self.baselines if name.startswith("optimum")]
        reasons = above(self) if known else ["needs species that are seen, parameters that are known, and no ages"]
        _raise_all([f"baselines: {name} {reason}" for name in asked for reason in reasons])
        return self

    def signature(self) -> dict[str, Any]:
        """Which species are seen and caught, and how; a policy may play other numbers of the same fishery."""
        weighed = isinstance(self.model, Walleye) and self.model.weigh
        return {
            "model": self.model.kind,
            "harvested": list(self.harvested),
            "seen": [name for name in self.model.species if name not in self.observed.hidden]
            + (["mean_weight"] if weighed else []),
            "last_mortality": self.limits.max_change is not None,
        }

    def numbers(self) -> str:
        """Hash of what the best parameters of a rule depend on."""
        apart = {"domain", "name", "title", "evaluation", "method", "tuned", "baselines", "tonnes", "release"}
        text = json.dumps(self.model_dump(mode="json", exclude=apart), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def parameter_names(model: OneSpecies | FoodWeb | Walleye) -> tuple[str, ...]:
    """Names of the numbers of a model, in the order of its schema."""
    return tuple(name for name, field in type(model).model_fields.items() if field.annotation is float)


def _unknown(where: str, name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{where}: {name!r} is unknown; " + (
        f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    )


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))

"""The best parameters of the rules, found on training futures of a seed of their own; the verb ``tune`` shows them."""

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.errors import MissingExtra
from interlock.core.problem import Findings
from interlock.domains.fisheries import walleye_rules
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.rules import KINDS, Kind, Scores, score
from interlock.domains.fisheries.scenario import FisheriesScenario, Tuned, Walleye

if TYPE_CHECKING:
    from interlock.core.policy import Policy
    from interlock.domains.fisheries.problem import FisheriesProblem

TUNING_SEED = 7
"""Of the training futures."""

FUTURES = {1: 2000, 2: 100}
"""Futures of a grid search, by harvested species."""

SHORTLIST, MORE_FUTURES = 40, 1000
"""Of a grid of two species, as many of the best points play so many futures more."""

GRIDS: Mapping[str, dict[int, tuple[float, int]]] = {
    "constant_mortality": {1: (0.5, 101), 2: (0.5, 51)},
    "constant_escapement": {1: (1.0, 101), 2: (1.0, 51)},
}
"""Largest value and number of values of an axis, by harvested species; the smallest value is 0."""

_RAMP_FUTURES, _RAMP_POPULATION, _RAMP_GENERATIONS = 500, 40, 40

CALLS, WALLEYE_FUTURES = 70, 250
"""Of a Bayesian search: rules that it tries, and the futures that each of them plays."""

LARGEST_BIOMASS = 2.0
"""Of the stocks at which a rule for walleye changes, in unfished ones."""


def grid(kind: str, caught: int) -> Array:
    """Parameters ``(R, h, 1)`` of a grid search."""
    most, values = GRIDS[kind][caught]
    axis = np.linspace(0.0, most, values)
    return np.array(list(product(axis, repeat=caught)))[:, :, None]


def grid_search(scenario: FisheriesScenario, kind: Kind, *, seed: int = TUNING_SEED) -> tuple[Array, Scores]:
    """Every point of the grid, ``(R, h, 1)``, and its scores.

    Points of a grid of two species are many, so each plays 100 futures.
    """
    caught = len(scenario.harvested)
    points = grid(kind, caught)
    return points, score(scenario, kind, points, futures=FUTURES[caught], seed=seed)


def keeps_limits(scenario: FisheriesScenario, found: Scores, futures: int) -> Array:
    """Bool ``(R,)``: whether a rule keeps the constraints of a scenario, two standard errors of survival included."""
    within = np.ones(len(found.reward), np.bool_)
    if scenario.collapse_probability is not None:
        error = np.sqrt(found.survival * (1.0 - found.survival) / futures)
        within &= 1.0 - found.survival + 2.0 * error <= scenario.collapse_probability
    if scenario.low_years is not None:
        within &= found.low_years <= scenario.low_years
    return within


def search(scenario: FisheriesScenario, kind: Kind, *, seed: int = TUNING_SEED) -> tuple[Array, Array]:
    """The best point of a grid, and the best that keeps the limits, ``(h, 1)`` each.

    Where no point keeps them, the one that comes closest to it counts. The best of thousands of points on 100 futures
    is mostly lucky, so for two species the best ones meet again on other futures.
    """
    points, found = grid_search(scenario, kind, seed=seed)
    futures = FUTURES[len(scenario.harvested)]
    if len(scenario.harvested) > 1:
        chances = np.where(found.survival >= _asked(scenario), found.reward, -np.inf)
        chosen = np.union1d(np.argsort(-found.reward)[:SHORTLIST], np.argsort(-chances)[:SHORTLIST])
        points, futures = points[chosen], MORE_FUTURES
        found = score(scenario, kind, points, futures=futures, seed=seed + 1)
    within = keeps_limits(scenario, found, futures)
    safest = int(np.argmax(found.survival - 1e-6 * found.low_years))
    safe = int(np.argmax(np.where(within, found.reward, -np.inf))) if within.any() else safest
    return points[int(np.argmax(found.reward))], points[safe]


def tune(
    scenario: FisheriesScenario,
    *,
    seed: int = TUNING_SEED,
    progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """The best parameters of every rule.

    Mortality and escapement by ``search``, the three parameters of the precautionary rule by differential evolution
    (Storn, Price 1997). Of walleye, whose episodes are long, all by ``bayesian_search``: in three dimensions it finds
    with 70 rules what differential evolution finds with hundreds; in the six of two harvested species it does not.

    Args:
        scenario: the numbers.
        seed: of the training futures.
        progress: called with (searches done, all).
    """
    tell = progress or (lambda done, total: None)
    if isinstance(scenario.model, Walleye):
        return _tune_walleye(scenario, seed, tell)
    tell(0, 3)
    mortality, safe = search(scenario, "constant_mortality", seed=seed)
    tell(1, 3)
    escapement, _ = search(scenario, "constant_escapement", seed=seed)
    tell(2, 3)
    ramp = _best_ramp(scenario, seed)
    tell(3, 3)
    return Tuned(
        numbers=scenario.numbers(),
        constant_mortality=_rounded(mortality[:, 0]),
        constant_mortality_safe=_rounded(safe[:, 0]),
        constant_escapement=_rounded(escapement[:, 0]),
        precautionary=tuple(_triple(row) for row in ramp),
    )


def bayesian_search(loss: Callable[[Array], float], dimensions: int, *, calls: int = CALLS, seed: int) -> Array:
    """The place ``(dimensions,)`` in the unit cube with the smallest loss among those that a Gaussian process asks for.

    Args:
        loss: of a place ``(dimensions,)``; the same place has the same loss.
        dimensions: of the cube.
        calls: places that are tried; the first 10 are random.
        seed: of the search.

    Raises:
        MissingExtra: optuna, or torch, which its Gaussian process needs, is not installed.
    """
    try:
        import optuna
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a Bayesian search", "tuning") from error
    names = [f"x{place}" for place in range(dimensions)]
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.GPSampler(seed=seed, deterministic_objective=True)
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda trial: loss(np.array([trial.suggest_float(name, 0.0, 1.0) for name in names])), n_trials=calls
        )
    finally:
        optuna.logging.set_verbosity(level)
    return np.array([study.best_params[name] for name in names])


def walleye_parameters(scenario: FisheriesScenario, kind: Kind, place: Array) -> Array:
    """Parameters ``(1, k)`` of a rule for walleye at a place in the unit cube: squares, as small ones matter most."""
    largest = LARGEST_BIOMASS * walleye_rules.unfished_biomass(scenario)
    share = place**2
    if kind == "constant_mortality":
        return share[None]
    if kind == "constant_escapement":
        return largest * share[None]
    closed, width, most = share
    return np.array([[largest * closed, largest * (closed + width), most]])


def _tune_walleye(scenario: FisheriesScenario, seed: int, tell: Callable[[int, int], None]) -> Tuned:
    def best(kind: Kind) -> Array:
        def loss(place: Array) -> float:
            rule = walleye_parameters(scenario, kind, place)[None]
            return -float(walleye_rules.score(scenario, kind, rule, futures=WALLEYE_FUTURES, seed=seed).reward[0])

        return walleye_parameters(scenario, kind, bayesian_search(loss, KINDS[kind], seed=seed))

    tell(0, 3)
    mortality = best("constant_mortality")[:, 0]
    tell(1, 3)
    escapement = best("constant_escapement")[:, 0]
    tell(2, 3)
    ramp = best("precautionary")
    tell(3, 3)
    return Tuned(
        numbers=scenario.numbers(),
        constant_mortality=_rounded(mortality),
        constant_mortality_safe=_rounded(mortality if scenario.low_years is None else _safe_rate(scenario, seed)),
        constant_escapement=_rounded(escapement),
        precautionary=(_triple(ramp[0]),),
    )


def _safe_rate(scenario: FisheriesScenario, seed: int) -> Array:
    """The best rate ``(1,)`` of a grid that keeps the limit on low years, or the one with the fewest."""
    points = grid("constant_mortality", 1)
    found = walleye_rules.score(scenario, "constant_mortality", points, futures=WALLEYE_FUTURES, seed=seed)
    within = found.low_years <= (scenario.low_years or 0.0)
    place = np.argmax(np.where(within, found.reward, -np.inf)) if within.any() else np.argmin(found.low_years)
    rate: Array = points[int(place), :, 0]
    return rate


def tuned(scenario: FisheriesScenario) -> Tuned:
    """The parameters that the scenario holds, or new ones where they were found for other numbers."""
    if scenario.tuned is not None and scenario.tuned.numbers == scenario.numbers():
        return scenario.tuned
    return _tuned_once(scenario.with_changes(tuned=None, method=None).canonical_json())


@lru_cache(maxsize=16)
def _tuned_once(scenario_json: str) -> Tuned:
    return tune(FisheriesScenario.model_validate_json(scenario_json))


def _asked(scenario: FisheriesScenario) -> float:
    """Survival that the limits ask for."""
    return 0.0 if scenario.collapse_probability is None else 1.0 - scenario.collapse_probability


def _best_ramp(scenario: FisheriesScenario, seed: int) -> Array:
    """Parameters ``(h, 3)`` of the precautionary rule."""
    from scipy.optimize import differential_evolution

    caught, size = len(scenario.harvested), KINDS["precautionary"]

    def loss(columns: Array) -> Array:
        rules = _ramps(np.atleast_2d(columns.T).reshape(-1, caught, size))
        found = -score(scenario, "precautionary", rules, futures=_RAMP_FUTURES, seed=seed).reward
        return found if columns.ndim > 1 else found[0]

    result = differential_evolution(
        loss,
        [(0.0, 1.0)] * (caught * size),
        popsize=max(_RAMP_POPULATION // (caught * size), 1),
        maxiter=_RAMP_GENERATIONS,
        seed=seed,
        polish=False,
        vectorized=True,
        updating="deferred",
    )
    best: Array = _ramps(result.x.reshape(1, caught, size))[0]
    return best


def _ramps(shares: Array) -> Array:
    """Closed below, full from, and mortality, from shares: the ramp is at most 1 stock unit wide."""
    closed, width, most = np.moveaxis(shares, -1, 0)
    return np.stack([closed, closed + width, most], axis=-1)


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _triple(values: Array) -> tuple[float, float, float]:
    closed, full, most = _rounded(values)
    return closed, full, most


def play(
    problem: "FisheriesProblem",
    policies: Mapping[str, "Policy"],
    seed: int,
    progress: Callable[[int, int], None],
) -> Findings:
    """The verb ``tune``: the parameters as the scenario file holds them, and what they achieve on training futures.

    Args:
        problem: of the scenario; with seed 0, the parameters are those that baselines find for themselves.
        policies: are not needed.
        seed: added to that of the training futures.
        progress: called with (searches done, all).
    """
    import yaml

    scenario = problem.scenario
    found = tune(scenario, seed=TUNING_SEED + 2 * seed, progress=progress)
    text = yaml.safe_dump({"tuned": found.model_dump(mode="json")}, default_flow_style=None, sort_keys=False)
    values: dict[str, Any] = {"tuned": found.model_dump(mode="json"), "harvested": list(scenario.harvested)}
    columns = ("rule", *(f"{name} [stock units or share/year]" for name in scenario.harvested))
    rows = []
    for name, parameters in values["tuned"].items():
        if name != "numbers":
            rows.append((name, *(str(value) for value in parameters)))
    return Findings(values, columns, rows, {}, notes=("in the scenario file:\n" + text,))

"""Reward against survival, as far as dynamic programming can push both: its decisions under several penalties."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.evaluation.protocol import play
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Problem
from interlock.domains.fisheries.dynamic_programming import Optimum, Points, collapse_costs, solvable, solve
from interlock.domains.fisheries.dynamic_programming_cache import remembered
from interlock.domains.fisheries.scenario import FisheriesScenario, OneSpecies

SHARES = (0.1, 1.0, 3.0, 10.0)
"""Penalties as shares of the scenario's, which falls from year to year."""
FLATS = (0.05, 0.2, 1.0)
"""Penalties that are the same in every year, as shares of what the optimum without them is worth."""
FUTURES = 2000
"""Validation futures that every rule is played on."""
WEB_POINTS = (32, 32, 44)
"""Grid of food webs: decisions earn on it what they earn on a finer one, within the error of these futures."""
STOCKS = 1001
"""Grid of one species."""
STATIONARY = 0.75
"""Share of the horizon: the rule of that year is played throughout."""


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A rule of dynamic programming, played.

    Attributes:
        name: of the rule.
        reward: mean of the scenario's objective, its own penalty in it.
        reward_error: standard error.
        survival: share of futures without a collapse.
        survival_error: standard error.
        penalty: that the rule was made for, in words.
    """

    name: str
    reward: float
    reward_error: float
    survival: float
    survival_error: float
    penalty: str


def points(
    scenario: FisheriesScenario, progress: Callable[[int, int], None] | None = None, *, futures: int = FUTURES
) -> list[FrontierPoint]:
    """Rules that see the year and rules that do not, under several penalties; kept in the user's cache.

    Args:
        scenario: the numbers.
        progress: called with (penalties done, all).
        futures: validation futures.

    Returns:
        Nothing where no optimum is known, or a species is hidden.
    """
    if not solvable(scenario) or scenario.observed.hidden:
        return []
    grid: Points = STOCKS if isinstance(scenario.model, OneSpecies) else WEB_POINTS
    settings = [(f"{share:g} x the scenario's", share, 0.0) for share in SHARES]
    settings += [(f"{share:g} x the best value, in any year", 0.0, share) for share in FLATS]
    names = [f"{when}: {words}" for words, _, _ in settings for when in ("optimum", "optimum_stationary")]

    def compute() -> dict[str, Array]:
        return {"figures": _played(scenario, grid, settings, futures, progress)}

    instances = (scenario.evaluation.validation_seed, futures)
    what = f"frontier {scenario.numbers()} {grid} {settings} {STATIONARY} {instances}"
    found = remembered(what, ("figures",), compute)["figures"]
    penalties = [words for words, _, _ in settings for _ in range(2)]
    return [
        FrontierPoint(name, float(row[0]), float(row[1]), float(row[2]), float(row[3]), words)
        for name, row, words in zip(names, found, penalties, strict=True)
    ]


def _played(
    scenario: FisheriesScenario,
    grid: Points,
    settings: list[tuple[str, float, float]],
    futures: int,
    progress: Callable[[int, int], None] | None,
) -> Array:
    """Reward, survival and their errors, ``(rules, 4)``: by penalty, the rule of every year, then the stationary."""
    from interlock.domains.fisheries.problem import build

    problem, rows = build(scenario), []
    best = solve(scenario, points=grid, keep=False).mean_value(scenario)
    for done, (_, share, flat) in enumerate(settings):
        costs = collapse_costs(scenario, share=share, flat=flat * best)
        solved = solve(scenario, costs=costs, points=grid, keep=False)
        rows += [_score(problem, solved, None, futures)]
        rows += [_score(problem, solved, int(STATIONARY * scenario.horizon), futures)]
        if progress is not None:
            progress(done + 1, len(settings))
    return np.array(rows)


def _score(problem: Problem, solved: Optimum, year: int | None, futures: int) -> tuple[float, float, float, float]:
    """Reward, its error, survival, its error."""

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        years = observation["year"][:, 0]
        return solved.mortality(years if year is None else np.full_like(years, year), observation["stock"])

    outcome = play(problem, FunctionPolicy(act), split="validation", count=futures)
    reward, survived = outcome.objective, outcome.metrics["survival"]
    root = np.sqrt(len(reward))
    return reward.mean(), reward.std(ddof=1) / root, survived.mean(), survived.std(ddof=1) / root

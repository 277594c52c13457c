"""Published figures beside ours, and what their protocol did to them: the verb ``published``.

Montealegre-Mora et al. (2023) report strategies on 100 episodes. Two habits of their evaluation change the figures:
the running sum of rewards was logged before each step, so the **last year** of an episode and the penalty of its
collapse are missing; and constant mortality and escapement were **tuned and reported on the same episodes**, so the
best of many rules is also the luckiest. Here both are done on purpose, one at a time and together, over many
repetitions of 100 episodes; the honest figure counts the whole episode on futures that no search has seen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.environment import Array, BatchEnvironment, Observation, Step
from interlock.core.errors import UsageError
from interlock.core.evaluation.protocol import run_instances, split_seed
from interlock.core.evaluation.statistics import Estimate, clopper_pearson, student
from interlock.core.policy import Policy
from interlock.core.problem import Findings
from interlock.domains.fisheries.baselines import rule
from interlock.domains.fisheries.published_perturbed import Difference, differences
from interlock.domains.fisheries.rules import Kind, score
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.tuning import grid, tuned

if TYPE_CHECKING:
    from interlock.domains.fisheries.problem import FisheriesProblem

RULES: tuple[Kind, ...] = ("constant_escapement", "constant_mortality")
"""Rules that were published with their best parameters."""

REPETITIONS, EPISODES = 50, 100
"""Searches, and episodes that each is tuned and reported on."""

FIRST_SEED = 2023
"""Of the training futures of the first search; every other search has the next one."""

KEPT = 0.1
"""Share of a grid of two species that goes on after the first search: the others are far from the best of any."""

UNIT, SHARE = "stock units", "share of episodes"


class WithLastYear:
    """An environment that also tells, in ``info["last_year"]``, the reward of the step; see ``BatchEnvironment``.

    Where an episode ends, that is the reward which the published figures leave out.

    Args:
        environment: any.
    """

    def __init__(self, environment: BatchEnvironment):
        self.environment = environment
        self.num_envs, self.constraints = environment.num_envs, environment.constraints
        self.observation_space, self.action_space = environment.observation_space, environment.action_space

    def reset(self, *, seed: int | None = None) -> Observation:
        """As the environment does."""
        return self.environment.reset(seed=seed)

    def step(self, action: Array) -> Step:
        """As the environment does."""
        step = self.environment.step(action)
        return replace(step, info={**step.info, "last_year": step.reward})

    def state(self) -> dict[str, Array]:
        """As the environment does."""
        return self.environment.state()

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """As the environment does."""
        return self.environment.restore(state)


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a policy achieves on the test futures.

    Attributes:
        reward: of whole episodes, with the penalty.
        survival: share of futures without a collapse.
        cut: reward without the last year and the penalty of its collapse.
        sd: standard deviation of ``cut`` over futures.
        full_length: share of futures that reach the last year, as published survival counts them.
    """

    reward: Estimate
    survival: Estimate
    cut: Estimate
    sd: float
    full_length: Estimate


@dataclass(frozen=True, slots=True)
class SameEpisodes:
    """The best of a grid, reported on the episodes of its search; over repetitions of the search.

    Attributes:
        reward: of whole episodes, with the penalty; the rule with the largest.
        survival: of that rule on the same episodes.
        cut: reward without the last year; the rule with the largest.
        cut_range: 2.5 % and 97.5 % quantile of that over repetitions: a single search falls between them.
        full_length: of that rule on the same episodes.
    """

    reward: Estimate
    survival: Estimate
    cut: Estimate
    cut_range: tuple[float, float]
    full_length: Estimate


@lru_cache(maxsize=1)
def figures_in_print() -> dict[str, Any]:
    """Content of ``published.yaml``."""
    import yaml

    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))
    return content


def fresh(problem: "FisheriesProblem", policy: Policy) -> Fresh:
    """Play a policy on the test futures of its problem, the last year told apart."""
    settings = problem.scenario.evaluation
    count = settings.test_instances
    rows = min(settings.num_envs, count)
    environment = problem.environment(rows, seed=split_seed(problem, "test"), split="test")
    outcome = run_instances(WithLastYear(environment), policy, count)
    cut = outcome.objective - outcome.metrics["last_year"]
    return Fresh(
        reward=student(outcome.objective),
        survival=_share(outcome.metrics["survival"]),
        cut=student(cut),
        sd=float(cut.std(ddof=1)),
        full_length=_share(outcome.steps == problem.scenario.horizon),
    )


def same_episodes(
    scenario: FisheriesScenario,
    kind: Kind,
    *,
    repetitions: int = REPETITIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SameEpisodes:
    """Search the grid of a rule again and again, on 100 other episodes each time, and report on those.

    Args:
        scenario: the numbers.
        kind: of the rule.
        repetitions: at least 2.
        progress: called with (searches done, all).
    """
    points = grid(kind, len(scenario.harvested))
    found = np.empty((repetitions, 4))
    for k in range(repetitions):
        scores = score(scenario, kind, points, futures=EPISODES, seed=FIRST_SEED + k)
        cut = scores.reward - scores.last_year
        whole, without = int(scores.reward.argmax()), int(cut.argmax())
        found[k] = scores.reward[whole], scores.survival[whole], cut[without], scores.full_length[without]
        if k == 0 and len(scenario.harvested) > 1:
            points = points[np.argsort(-scores.reward)[: int(KEPT * len(points))]]
        progress(k + 1, repetitions)
    low, high = np.quantile(found[:, 2], [0.025, 0.975])
    reward, survival, left, full_length = (student(column) for column in found.T)
    return SameEpisodes(reward, survival, left, (float(low), float(high)), full_length)


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything about one scenario.

    Attributes:
        printed: its published figures.
        searched: rule -> its best, reported on the episodes of its search.
        played: name -> what it achieves on the test futures.
        perturbed: differences from constant escapement where the parameters are off; empty if none were published.
    """

    printed: Mapping[str, Any]
    searched: Mapping[Kind, SameEpisodes]
    played: Mapping[str, Fresh]
    perturbed: Sequence[Difference]


def measure(
    problem: "FisheriesProblem",
    policies: Mapping[str, Policy],
    seed: int,
    progress: Callable[[float, float], None],
) -> Measured:
    """Search rules as the published protocol did, and play rules and policies on fresh futures.

    Args:
        problem: of a scenario that figures were published for.
        policies: by name; those that are no baselines also meet parameters that are off.
        seed: of parameter draws.
        progress: takes ``(done, total)``.

    Raises:
        UsageError: nothing was published for the scenario.
    """
    scenario, known = problem.scenario, figures_in_print()["scenarios"]
    if scenario.name not in known:
        raise UsageError(f"{scenario.name}: no figures were published for it; they were for: {', '.join(known)}")
    printed = known[scenario.name]
    total = len(RULES) + 2
    searched = {}
    for place, kind in enumerate(RULES):
        searched[kind] = same_episodes(scenario, kind, progress=partial(_part, progress, place, total))
    played = {name: fresh(problem, policy) for name, policy in _players(problem, printed, policies).items()}
    progress(total - 1, total)
    perturbed: Sequence[Difference] = ()
    if "perturbed" in printed:
        learned = {name: policy for name, policy in policies.items() if name not in problem.baselines()}
        perturbed = differences(scenario, learned, [one["noise"] for one in printed["perturbed"]], seed=seed)
    progress(total, total)
    return Measured(printed, searched, played, perturbed)


def play(
    problem: "FisheriesProblem",
    policies: Mapping[str, Policy],
    seed: int,
    progress: Callable[[float, float], None],
) -> Findings:
    """The verb ``published``: strategies in print, and ours with and without the habits of their protocol.

    Args:
        problem: of a scenario that figures were published for.
        policies: learned ones stand beside the published learned ones.
        seed: of parameter draws.
        progress: takes ``(done, total)``.

    Raises:
        UsageError: nothing was published for the scenario.
    """
    from interlock.domains.fisheries.published_tables import findings

    scenario = problem.scenario
    measured = measure(problem, policies, seed, progress)
    notes = [f"in print: {figures_in_print()['source']}, {figures_in_print()['episodes']} episodes"]
    if scenario.tuned is None or scenario.tuned.numbers != scenario.numbers():
        notes.append(f"numbers of {scenario.name} were changed: the published figures are of others")
    return findings(measured, notes)


def _players(
    problem: "FisheriesProblem", printed: Mapping[str, Any], policies: Mapping[str, Policy]
) -> dict[str, Policy]:
    """What plays the test futures: our rules, those in print, shares of the best mortality, and named policies."""
    scenario = problem.scenario
    found: dict[str, Policy] = {}
    for kind in RULES:
        found[kind] = rule(scenario, kind, np.array(getattr(tuned(scenario), kind)))
        parameters = printed["strategies"][kind]["parameters"]
        found[f"{kind} in print"] = rule(scenario, kind, np.array(parameters))
    for one in printed.get("shares", ()):
        if one["share"] < 1.0:
            policy = rule(scenario, "constant_mortality", np.array(one["parameters"]))
            found[f"{one['share']:.2f} of constant_mortality in print"] = policy
    return found | {name: policy for name, policy in policies.items() if name not in found}


def _part(progress: Callable[[float, float], None], place: int, total: int, done: int, of: int) -> None:
    progress(place + done / of, total)


def _share(values: Array) -> Estimate:
    """A share of episodes with its exact interval."""
    held, count = int(values.sum()), len(values)
    return Estimate(held / count, *clopper_pearson(held, count))

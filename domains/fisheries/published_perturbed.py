"""Strategies where the parameters are off: differences from constant escapement, draw by draw.

As Montealegre-Mora et al. (2023) did it: every parameter of a draw is multiplied by a factor of its own, and a draw is
kept if unfished stocks live under it. Strategies stay as they were found for the parameters of the scenario. Whole
episodes count, and all strategies of a draw meet the same futures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array
from interlock.core.evaluation.protocol import run_instances
from interlock.core.policy import Policy
from interlock.domains.fisheries.environment import FisheriesEnvironment
from interlock.domains.fisheries.rules import Kind, score
from interlock.domains.fisheries.scenario import FisheriesScenario, parameter_names
from interlock.domains.fisheries.tuning import tuned

DRAWS, EPISODES = 100, 100
"""Parameter draws per noise, and futures that each is played on."""

ALIVE = 0.99
"""Share of unfished futures without a collapse that a kept draw has at least."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Strategies under one noise.

    Attributes:
        noise: relative standard deviation of every parameter.
        strategies: name -> ``(kept,)``, mean reward less that of constant escapement, by draw.
    """

    noise: float
    strategies: Mapping[str, Array]

    @property
    def kept(self) -> int:
        """Draws under which unfished stocks live."""
        return len(next(iter(self.strategies.values())))


def differences(
    scenario: FisheriesScenario,
    policies: Mapping[str, Policy],
    noises: Sequence[float],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Difference]:
    """Constant mortality and policies against constant escapement, under every noise.

    Args:
        scenario: the numbers that draws are around; parameters of the rules are those found for it.
        policies: played besides, by name.
        noises: relative standard deviations.
        seed: of the draws and their futures.
        draws: per noise.
    """
    found = []
    for place, noise in enumerate(noises):
        rng = np.random.default_rng([seed, place])
        drawn = [_drawn(scenario, noise, rng) for _ in range(draws)]
        kept = [(k, one) for k, one in enumerate(drawn) if one is not None and _lives(one, seed + k)]
        rows = [_against_escapement(scenario, one, policies, seed + k) for k, one in kept]
        names = ("constant_mortality", *policies)
        found.append(Difference(noise, {name: np.array([row[name] for row in rows]) for name in names}))
    return found


def _drawn(scenario: FisheriesScenario, noise: float, rng: np.random.Generator) -> FisheriesScenario | None:
    """The scenario with every parameter off; ``None`` where one is no longer positive."""
    names = parameter_names(scenario.model)
    factors = 1.0 + noise * rng.standard_normal(len(names))
    if factors.min() <= 0:
        return None
    moved = {name: getattr(scenario.model, name) * factor for name, factor in zip(names, factors, strict=True)}
    return scenario.with_changes(model={**scenario.model.model_dump(), **moved}, tuned=None)


def _lives(scenario: FisheriesScenario, seed: int) -> bool:
    unfished = np.zeros((1, len(scenario.harvested), 1))
    return bool(score(scenario, "constant_mortality", unfished, futures=EPISODES, seed=seed).survival[0] >= ALIVE)


def _against_escapement(
    scenario: FisheriesScenario, drawn: FisheriesScenario, policies: Mapping[str, Policy], seed: int
) -> dict[str, float]:
    """Mean reward of every strategy less that of constant escapement, all on the same training futures."""

    def mean(kind: Kind) -> float:
        parameters = np.array(getattr(tuned(scenario), kind)).reshape(1, -1, 1)
        return float(score(drawn, kind, parameters, futures=EPISODES, seed=seed).reward[0])

    escapement = mean("constant_escapement")
    found = {"constant_mortality": mean("constant_mortality") - escapement}
    for name, policy in policies.items():
        environment = FisheriesEnvironment(drawn, EPISODES, seed=seed, split="train", constraints=())
        found[name] = float(run_instances(environment, policy, EPISODES).objective.mean()) - escapement
    return found

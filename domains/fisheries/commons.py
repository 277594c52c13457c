"""The tragedy of the commons: fleets that each look after their own catch only, beside one council for all.

Every fleet keeps a constant mortality. From the best one for all, split evenly, each fleet in turn answers the others
best, until nobody gains by a change: an equilibrium of Nash on a grid of mortalities.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from interlock.core.environment import Array
from interlock.domains.fisheries.fleets import Bearing, places
from interlock.domains.fisheries.rules import score
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.tuning import tuned


@dataclass(frozen=True, slots=True)
class Commons:
    """What fleets do to each other; first the council, then the fleets on their own.

    Attributes:
        path: ``(k, fleets)``, mortality of each fleet, from the council's to the last answer.
        settled: whether the last ones answer each other.
        mortality: ``(2, h)``, of the harvested species.
        reward: ``(2,)``, of all fleets together, penalty included.
        survival: ``(2,)``, share of futures without a collapse.
        fleets: ``(2, fleets)``, reward of each fleet.
    """

    path: Array
    settled: bool
    mortality: Array
    reward: Array
    survival: Array
    fleets: Array


@dataclass(frozen=True, slots=True)
class Game:
    """Rewards of fleets with constant mortalities, on training futures.

    Attributes:
        scenario: the numbers.
        owned: int ``(fleets,)``, the harvested species that each fleet fishes.
        bearing: who bears the penalty of a collapse.
    """

    scenario: FisheriesScenario
    owned: Array
    bearing: Bearing

    def together(self, asked: Array) -> Array:
        """Mortalities ``(R, h)`` of the species under those of the fleets, ``(R, fleets)``."""
        total = np.zeros((len(asked), len(self.scenario.harvested)))
        np.add.at(total.T, self.owned, asked.T)
        return np.minimum(total, 1.0)

    def rewards(self, asked: Array, *, futures: int, seed: int) -> Array:
        """Mean rewards ``(R, fleets)`` under mortalities of the fleets, ``(R, fleets)``."""
        caught, mortality = len(self.scenario.harvested), self.together(asked)
        prices = np.array(self.scenario.prices or (1.0,) * caught)
        efforts = np.array(self.scenario.effort_costs or (0.0,) * caught)

        def earned(counts: Array, penalty: float) -> Array:
            """Reward of a council that only some species are worth anything to."""
            council = self.scenario.with_changes(
                prices=list(prices * counts), effort_costs=list(efforts * counts), penalty=penalty, tuned=None
            )
            return score(council, "constant_mortality", mortality[:, :, None], futures=futures, seed=seed).reward

        values = np.stack([earned(counts, 0.0) for counts in np.eye(caught)], axis=1)
        penalty = earned(np.zeros(caught), self.scenario.penalty)
        whole = mortality[:, self.owned]
        share = np.divide(asked, whole, out=np.zeros_like(asked), where=whole > 0)
        part = len(self.owned) if self.bearing == "split" else 1
        found: Array = share * values[:, self.owned] + penalty[:, None] / part
        return found


def commons(
    scenario: FisheriesScenario,
    fleets: Sequence[str] | None = None,
    *,
    bearing: Bearing = "split",
    most: float = 0.5,
    values: int = 51,
    futures: int = 300,
    seed: int = 11,
    rounds: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Commons:
    """Let fleets answer each other until nobody gains by a change.

    Args:
        scenario: the numbers.
        fleets: the species that each fleet fishes; default: the harvested species, one owner each.
        bearing: who bears the penalty of a collapse.
        most: largest mortality of a fleet.
        values: of a fleet's mortality, evenly spaced from 0.
        futures: that answers are tried on; what is reported is played on 10 times as many others.
        seed: of the training futures.
        rounds: answers of each fleet at most.
        progress: called with (rounds done, all).

    Raises:
        UsageError: fleets and harvested species do not fit.
    """
    game = Game(scenario, places(scenario, fleets), bearing)
    council = np.array(tuned(scenario).constant_mortality)
    now: Array = council[game.owned] / np.bincount(game.owned)[game.owned]
    path, axis, settled = [now], np.linspace(0.0, most, values), False
    for done in range(rounds):
        before = now
        for fleet in range(len(now)):
            asked = np.repeat(now[None], values, axis=0)
            asked[:, fleet] = axis
            now = asked[game.rewards(asked, futures=futures, seed=seed)[:, fleet].argmax()]
            path.append(now)
        progress(done + 1, rounds)
        settled = np.array_equal(now, before)
        if settled:
            break
    ends = np.array([path[0], now])
    fresh = {"futures": 10 * futures, "seed": seed + 1}
    mortality = game.together(ends)
    found = score(scenario, "constant_mortality", mortality[:, :, None], **fresh)
    return Commons(np.array(path), settled, mortality, found.reward, found.survival, game.rewards(ends, **fresh))

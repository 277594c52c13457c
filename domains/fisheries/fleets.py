r"""A fishery of several fleets: every fleet sets its own mortality and earns its own catch, the stocks are common.

Each fleet fishes one harvested species; by default every harvested species has an owner of its own, so that a food web
of two fisheries is a game of two players. Fleets that share a stock take from it at the same time: fleet :math:`k` asks
for the share :math:`m_k` of the stock, and where all of them together ask for more than there is, or more than the
limits of the scenario permit, each is cut down alike. What a year brings is that of ``FisheriesEnvironment`` under the
summed mortalities.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array, Observation, Split, Step
from interlock.core.errors import BrokenEnvironment, UsageError
from interlock.core.problem import Constraint
from interlock.domains.fisheries.environment import FisheriesEnvironment
from interlock.domains.fisheries.model import TOTALS
from interlock.domains.fisheries.scenario import FisheriesScenario, Walleye

Views = Literal["all", "own"]
"""What a fleet sees: all stocks that are surveyed, or the one that it fishes."""

Bearing = Literal["split", "shared"]
"""Who bears the penalty of a collapse: the fleets in equal parts, or each of them in full."""


class FleetsEnvironment:
    """A batch of fisheries with one agent per fleet. Implements ``BatchEnvironment`` with ``agents``.

    Observation: as that of ``FisheriesEnvironment``, ``(n, agents, ...)``. Action: ``(n, agents, 1)``, the share of the
    stock that each fleet asks for. Reward ``(n, agents)``: value of its catch less its cost of effort, and its part of
    the penalty; with ``bearing="split"`` the fleets together earn what a single council would.
    ``info["fleet_catch"]`` ``(n, agents)`` is the catch of the year. ``as_parallel`` of ``interlock.core.adapters``
    gives the PettingZoo form of one row.

    Args:
        scenario: the numbers.
        num_envs: rows.
        seed: of the instances.
        split: of the instances.
        constraints: of the problem; every fleet is told the costs of the whole system.
        fleets: the species that each fleet fishes; default: the harvested species, one owner each.
        views: what a fleet sees.
        bearing: who bears the penalty of a collapse.

    Raises:
        UsageError: a fleet fishes a species that is not harvested, or a harvested species has no fleet.
    """

    def __init__(
        self,
        scenario: FisheriesScenario,
        num_envs: int,
        *,
        seed: int,
        split: Split,
        constraints: tuple[Constraint, ...] = (),
        fleets: Sequence[str] | None = None,
        views: Views = "all",
        bearing: Bearing = "split",
    ):
        self.owned = places(scenario, fleets)
        owned = [scenario.harvested[place] for place in self.owned]
        self.single = FisheriesEnvironment(scenario, num_envs, seed=seed, split=split, constraints=constraints)
        self.num_envs, self.constraints = num_envs, constraints
        self.agents = tuple(_names(owned))
        self.views, self.bearing, self.clipped = views, bearing, 0
        seen = [name for name in scenario.model.species if name not in scenario.observed.hidden]
        self.seen = np.array([seen.index(name) for name in owned])
        space = dict(self.single.observation_space.spaces)
        if views == "own":
            space["stock"] = spaces.Box(0.0, np.inf, (1,), np.float64)
            if "last_mortality" in space:
                space["last_mortality"] = spaces.Box(0.0, 1.0, (1,), np.float64)
        self.observation_space = spaces.Dict(space)
        self.action_space: spaces.Space[Any] = spaces.Box(0.0, 1.0, (1,), np.float64)

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1`` again, of another stream if a seed is given."""
        return self._view(self.single.reset(seed=seed))

    def step(self, action: Array) -> Step:
        """Fish for a year.

        Raises:
            BrokenEnvironment: a mortality is not a finite number, or there are too many or too few.
        """
        single, asked = self.single, self._checked(action)
        fishery, caught = single.fishery, len(single.fishery.harvested)
        together = np.zeros((self.num_envs, caught))
        np.add.at(together.T, self.owned, asked.T)
        share = np.divide(
            asked, together[:, self.owned], out=np.zeros_like(asked), where=together[:, self.owned] > 0
        )  # of the catch of a species
        year, stock = single.year.copy(), single.stock[:, fishery.harvested].copy()
        before = single.totals[:, len(TOTALS) :].copy()
        step = single.step(np.minimum(together, 1.0))
        catch = single.totals[:, len(TOTALS) :] - before
        for column, name in enumerate(single.scenario.harvested):
            catch[step.done, column] = (step.info[f"catch_{name}"] - before[:, column])[step.done]
        mortality = np.divide(catch, stock, out=np.zeros_like(catch), where=stock > 0)
        value = fishery.prices * catch - fishery.effort * mortality
        penalty = np.where(step.terminated, fishery.penalty / (year + 1), 0.0)
        part = len(self.agents) if self.bearing == "split" else 1
        last = step.final_observation
        return replace(
            step,
            observation=self._view(step.observation),
            reward=share * value[:, self.owned] - (penalty / part)[:, None],
            final_observation=None if last is None else self._view(last),
            info={**step.info, "fleet_catch": share * catch[:, self.owned]},
        )

    def _checked(self, action: Array) -> Array:
        """What the fleets ask for, ``(n, agents)``, within [0, 1]; counts what was not and warns of the first."""
        asked, shape = np.asarray(action, float), (self.num_envs, len(self.agents), 1)
        if asked.shape != shape:
            raise BrokenEnvironment(f"actions have shape {asked.shape}, expected {shape}")
        asked = asked[:, :, 0]
        if not np.isfinite(asked).all():
            row, fleet = np.argwhere(~np.isfinite(asked))[0]
            raise BrokenEnvironment(
                f"year {self.single.year[row]}, instance {self.single.instance[row]}: {self.agents[fleet]} asks for "
                f"{asked[row, fleet]}, not a share of the stock"
            )
        outside = int(((asked < 0) | (asked > 1)).sum())
        if outside and not self.clipped:
            warnings.warn("mortalities of fleets outside [0, 1] are clipped", stacklevel=3)
        self.clipped += outside
        within: Array = np.clip(asked, 0.0, 1.0)
        return within

    def _view(self, observation: Observation) -> Observation:
        """What every fleet sees, ``(n, agents, ...)``."""
        view = {name: np.repeat(values[:, None], len(self.agents), axis=1) for name, values in observation.items()}
        if self.views == "own":
            view["stock"] = observation["stock"][:, self.seen, None]
            if "last_mortality" in view:
                view["last_mortality"] = observation["last_mortality"][:, self.owned, None]
        return view

    def state(self) -> dict[str, Array]:
        """Everything needed to continue exactly from here."""
        return {**self.single.state(), "clipped": np.array(self.clipped)}

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        self.clipped = int(state["clipped"])
        return self._view(self.single.restore({name: state[name] for name in state if name != "clipped"}))


def places(scenario: FisheriesScenario, fleets: Sequence[str] | None) -> Array:
    """Int ``(fleets,)``, the harvested species that each fleet fishes.

    Args:
        scenario: the numbers.
        fleets: their names; default: every harvested species has one fleet.

    Raises:
        UsageError: a fleet fishes a species that is not harvested, or a harvested species has no fleet; or the stock
            has ages, whose catch is not a share of one number.
    """
    if isinstance(scenario.model, Walleye):
        raise UsageError(f"{scenario.name}: fleets share stocks without ages only")
    owned = tuple(fleets or scenario.harvested)
    if set(owned) != set(scenario.harvested):
        raise UsageError(
            f"fleets fish {', '.join(owned)}, but harvested are {', '.join(scenario.harvested)}: every harvested "
            "species needs a fleet, and every fleet a harvested species"
        )
    return np.array([scenario.harvested.index(name) for name in owned])


def _names(owned: Sequence[str]) -> list[str]:
    """``fleet_x``, or ``fleet_x_0``, ``fleet_x_1``, ... where several fish the same species."""
    counts = {name: owned.count(name) for name in owned}
    met = dict.fromkeys(owned, 0)
    found = []
    for name in owned:
        found.append(f"fleet_{name}" if counts[name] == 1 else f"fleet_{name}_{met[name]}")
        met[name] += 1
    return found

"""The stocks in torch: the same years as the compiled model, differentiable in every mortality.

What jumps is smoothed: a stock N is taken to have collapsed by the share ``sigmoid((limit - N) / WIDTH)``, an episode
lives on by the product of what is left, and later rewards count by that share. The path itself is not changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from interlock.core.environment import Array, Split
from interlock.core.errors import UsageError
from interlock.core.pathwise.contract import Decide, Played, TensorEncoder, View
from interlock.core.pathwise.forms import Form, clipped
from interlock.domains.fisheries import encoders
from interlock.domains.fisheries.instances import PARAMETERS, factors, first_stocks, fishery_of, normals, states
from interlock.domains.fisheries.model import Fishery
from interlock.domains.fisheries.scenario import FisheriesScenario

WIDTH = 0.01
"""Of the smoothed limits, in stock units."""
POOL = 1024
"""Training instances whose uncertain parameters are drawn; others share them, as each has to be tried for survival."""
START = 0.1
"""Mortality of an untrained network."""

LEFT = 0.8
"""Escapement of an untrained network, in initial stocks."""

Grow = Callable[[int, Tensor], Tensor]
"""``(year, stocks that harvest left (n, species)) -> next year's stocks``."""


@dataclass(frozen=True, slots=True)
class Futures:
    """What n instances will meet in T years.

    Attributes:
        first: stocks of year 0 ``(n, species)``.
        noise: of the growth ``(T, n, species)``.
        errors: of the surveys ``(T, n, species)``; ``None`` where there are none.
        factor: of the parameters ``(n or 1, parameters)``.
    """

    first: Tensor
    noise: Tensor
    errors: Tensor | None
    factor: Tensor


def futures_of(
    scenario: FisheriesScenario, seed: int, split: Split, first: int, count: int, dtype: torch.dtype = torch.float32
) -> Futures:
    """What the environment meets in these instances, exactly.

    Except for uncertain parameters of training: their factors come from a pool of the first ``POOL`` instances, so from
    ``first = POOL`` on they are those of an earlier instance, beside noise and errors of the instance itself.
    """
    years, species = scenario.horizon, len(scenario.model.species)

    def yearly(generators: Array) -> Tensor:
        drawn = normals(generators, years * species).reshape(count, years, species)
        return torch.from_numpy(drawn).to(dtype).transpose(0, 1).contiguous()

    noise, errors = states(seed, split, first, count)
    known = factors(scenario, seed, split, first % POOL if split == "train" else first, count)
    return Futures(
        torch.from_numpy(first_stocks(scenario, seed, split, first, count)).to(dtype),
        yearly(noise),
        yearly(errors) if scenario.observed.cv > 0 else None,
        torch.from_numpy(np.array(known)).to(dtype),
    )


class FisheriesSimulator:
    """Implements ``interlock.core.pathwise.contract.DifferentiableSimulator``.

    Args:
        scenario: the numbers.

    Raises:
        UsageError: this kind of model is not written in torch.
    """

    def __init__(self, scenario: FisheriesScenario):
        if scenario.model.kind not in GROWTH:
            raise UsageError(f"{scenario.name}: there is no differentiable model of the kind {scenario.model.kind}")
        self.scenario, self.fishery = scenario, fishery_of(scenario)
        species = scenario.model.species
        visible = [i for i, name in enumerate(species) if name not in scenario.observed.hidden]
        self.visible = slice(None) if len(visible) == len(species) else visible
        self.shows_last = scenario.limits.max_change is not None
        self.place = np.eye(len(species))[self.fishery.harvested]
        limited = {"collapse": scenario.collapse_probability, "low_years": scenario.low_years}
        self.limited = [name for name, limit in limited.items() if limit is not None]

    def futures(self, seed: int, first: int, count: int) -> Futures:
        """Those of training instances."""
        return futures_of(self.scenario, seed, "train", first, count)

    def encoders(self) -> Mapping[str, TensorEncoder]:
        """All of the problem's."""
        return cast("Mapping[str, TensorEncoder]", encoders.encoders(self.scenario, torch))

    def play(self, decide: Decide, futures: Futures, *, smoothing: float = 1.0) -> Played:
        """Fish for the whole horizon; the arithmetic has the precision of the futures."""
        stock, fishery = futures.first, self.fishery
        table = torch.from_numpy(fishery.table).to(stock.dtype)[:, None] * futures.factor
        grow = GROWTH[self.scenario.model.kind](fishery, table, futures.noise)
        place = torch.from_numpy(self.place).to(stock.dtype)
        stocks, shares, last = [stock], [], torch.zeros(len(stock), len(place), dtype=stock.dtype)
        for year in range(len(futures.noise)):
            wanted = decide(self._view(futures, stock, year, last))
            last = self._permitted(wanted, stock, year, last)
            share = last @ place
            stock = grow(year, stock * (1.0 - share))
            stocks.append(stock)
            shares.append(share)
        return self._judge(torch.stack(stocks), torch.stack(shares), WIDTH * smoothing)

    def _view(self, futures: Futures, stock: Tensor, year: int, last: Tensor) -> View:
        """What the council sees."""
        if futures.errors is not None:
            stock = stock * (1.0 + self.fishery.cv * futures.errors[year]).clamp(min=0.0)
        view = {"stock": stock[:, self.visible], "year": torch.full((len(stock), 1), year, dtype=stock.dtype)}
        return {**view, "last_mortality": last} if self.shows_last else view

    def _permitted(self, mortality: Tensor, stock: Tensor, year: int, last: Tensor) -> Tensor:
        """Within [0, 1], the largest change, and the total allowable catch, in this order."""
        fishery, within = self.fishery, mortality.clamp(0.0, 1.0)
        if year > 0 and fishery.max_change < 1.0:
            within = torch.minimum(torch.maximum(within, last - fishery.max_change), last + fishery.max_change)
        if np.isfinite(fishery.tac):
            total = (within * stock[:, fishery.harvested]).sum(1, keepdim=True)
            within = within * (fishery.tac / total.clamp(min=fishery.tac))
        return within

    def _judge(self, stocks: Tensor, shares: Tensor, width: float) -> Played:
        """Rewards and costs of episodes with stocks ``(T + 1, n, species)`` and mortalities ``(T, n, species)``."""
        fishery = self.fishery
        prices, effort = (
            torch.from_numpy(given @ self.place).to(stocks.dtype) for given in (fishery.prices, fishery.effort)
        )
        value = (shares * stocks[:-1]) @ prices - shares @ effort
        ends = stocks[1:]
        living = logsigmoid((ends - fishery.collapse) / width).sum(2).cumsum(0).exp()
        before = torch.cat([torch.ones_like(living[:1]), living[:-1]])
        penalty = fishery.penalty / torch.arange(1, len(ends) + 1, dtype=stocks.dtype)[:, None]
        low = 1.0 - logsigmoid((ends - fishery.low) / width).sum(2).exp()
        costs = {"collapse": 1.0 - living[-1], "low_years": (before * low).sum(0)}
        with torch.no_grad():
            least = ends.amin(2)
            lives = (least > fishery.collapse).to(stocks.dtype).cumprod(0)
            lived = torch.cat([torch.ones_like(lives[:1]), lives[:-1]])
            measured = {"collapse": 1.0 - lives[-1], "low_years": (lived * (least < fishery.low)).sum(0)}
        return Played(
            (before * value - penalty * (before - living)).sum(0),
            _columns([costs[name] for name in self.limited], len(living[0])),
            _columns([measured[name] for name in self.limited], len(living[0])).double().numpy(),
        )


def _columns(values: list[Tensor], rows: int) -> Tensor:
    return torch.stack(values, dim=1) if values else torch.zeros(rows, 0)


def _named(kind: str, table: Tensor) -> dict[str, Tensor]:
    """Parameters ``(T, n or 1, 1)`` by name."""
    return {name: table[:, :, k : k + 1] for k, name in enumerate(PARAMETERS[kind])}


def _one_species(fishery: Fishery, table: Tensor, noise: Tensor) -> Grow:
    """``model.grown_one`` for all rows."""
    p = _named("one_species", table)
    rise = (1.0 + p["r"] + p["sigma"] * noise).unbind(0)
    crowding, beta, half = (part.unbind(0) for part in (p["r"] / p["k"], p["beta"], _half(p["c"])))

    def grow(year: int, x: Tensor) -> Tensor:
        square = x * x
        eaten = beta[year] * (square / (square + half[year]))
        return (x * (rise[year] - crowding[year] * x) - eaten).clamp(min=0.0)

    return grow


def _food_web(fishery: Fishery, table: Tensor, noise: Tensor) -> Grow:
    """``model.grown_web`` for all rows; a stock that would fall below 0, long collapsed, stays there."""
    p = _named("food_web", table)

    def pair(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], dim=2)

    r, k, one = pair(p["r_x"], p["r_y"]), pair(p["k_x"], p["k_y"]), torch.ones_like(p["d"])
    rise = (1.0 + r + pair(p["sigma_x"], p["sigma_y"]) * noise[:, :, :2]).unbind(0)
    crowding, appetite = (r / k).unbind(0), (p["beta"] * pair(one, p["d"])).unbind(0)
    rates, capacities, competition, half = (part.unbind(0) for part in (r, k, p["c_xy"], _half(p["c"])))
    cycle = 0.02 * torch.cos(2.0 * torch.pi * torch.arange(len(noise), dtype=noise.dtype) / 50.0)[:, None, None]
    own = cycle if fishery.exogenous else -p["d_z"]
    predator = (1.0 + own + p["sigma_z"] * noise[:, :, 2:]).unbind(0)
    food = (p["b"] * pair(one, p["d"])).unbind(0)

    def grow(year: int, left: Tensor) -> Tensor:
        prey, z = left[:, :2], left[:, 2:]
        square = prey * prey
        eaten = appetite[year] * z * (square / (square + half[year]))
        if fishery.by_capacity:
            room = capacities[year] - competition[year] * prey.flip(1)
            grown = prey * (rise[year] - rates[year] * prey / room) - eaten
        else:
            lost = competition[year] * prey[:, :1] * prey[:, 1:]
            grown = prey * (rise[year] - crowding[year] * prey) - eaten - lost
        fed = predator[year] if fishery.exogenous else predator[year] + (food[year] * prey).sum(1, keepdim=True)
        return torch.cat([grown, z * fed], dim=1).clamp(min=0.0)

    return grow


def _half(c: Tensor) -> Tensor:
    """Square of the stock at which grazers are half full; above 0, as nothing is eaten of nothing."""
    return c * c + torch.finfo(c.dtype).tiny


GROWTH: Mapping[str, Callable[[Fishery, Tensor, Tensor], Grow]] = {"one_species": _one_species, "food_web": _food_web}
"""Growth by kind of model, of a scenario, its parameters ``(T, n or 1, parameters)`` and the noise."""


def rule_forms(scenario: FisheriesScenario) -> Mapping[str, Form]:
    """Forms of a control rule, the usual one first.

    ``escapement`` leaves ``S_i(N)`` of a stock ``N_i``, the mortality being ``clip(1 - S_i / N_i, 0, 1)``: the network
    gives ``S_i`` in initial stocks, from ``LEFT`` on. ``mortality`` is ``clip(START + output / 2, 0, 1)``.
    """
    seen = [name for name in scenario.model.species if name not in scenario.observed.hidden]
    columns = [seen.index(name) for name in scenario.harvested]
    first = dict(zip(scenario.model.species, scenario.initial, strict=True))
    usual = torch.tensor([first[name] for name in scenario.harvested])

    def mortality(output: Tensor, vector: Tensor) -> Tensor:
        return clipped(START + 0.5 * output, 0.0, 1.0)

    def escapement(output: Tensor, vector: Tensor) -> Tensor:
        stock = vector[:, columns].clamp(min=1e-6)
        return clipped(1.0 - usual.to(output.dtype) * (LEFT + output) / stock, 0.0, 1.0)

    return {"escapement": Form(escapement, encoders.IN_UNITS), "mortality": Form(mortality)}

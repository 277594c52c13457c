"""Fleets: together they are one council, each earns its own catch, and left alone they catch too much."""

import contextlib
import io
import warnings

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from interlock.core.adapters import as_parallel
from interlock.core.errors import BrokenEnvironment, UsageError
from interlock.domains.fisheries import DOMAIN, rules
from interlock.domains.fisheries.commons import Game, commons
from interlock.domains.fisheries.environment import FisheriesEnvironment
from interlock.domains.fisheries.fleets import FleetsEnvironment
from interlock.domains.fisheries.problem import constraints
from interlock.scenarios.loading import load_scenario

LIMITED = {
    "horizon": 12,
    "prices": [2.0, 1.0],
    "effort_costs": [0.1, 0.0],
    "limits": {"tac": 0.25, "max_change": 0.2},
    "observed": {"hidden": ["z"], "cv": 0.1},
}
CASES = {
    "owners": (None, {}, "all", "split"),
    "owners, own stock": (None, {}, "own", "shared"),
    "limited": (("y", "x", "x"), LIMITED, "own", "split"),
}


def made(scenario, rows=1, seed=5, **options):
    options = {"seed": seed, "split": "train", "constraints": constraints(scenario), **options}
    return FleetsEnvironment(scenario, rows, **options)


@pytest.mark.parametrize("case", CASES)
def test_pettingzoo_accepts_the_fleets(case, scenarios):
    fleets, changes, views, bearing = CASES[case]
    scenario = scenarios.web(**{"horizon": 20, **changes})

    def parallel():
        return as_parallel(made(scenario, fleets=fleets, views=views, bearing=bearing))

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # remarks on float64
        parallel_api_test(parallel(), num_cycles=100)
        parallel_seed_test(parallel, num_cycles=50)


@pytest.mark.parametrize("changes", [{}, LIMITED], ids=["plain", "limited"])
def test_one_owner_per_species_is_the_council_divided(changes, scenarios):
    scenario = scenarios.web(**{"horizon": 40, **changes})
    fleets = made(scenario, 50)
    council = FisheriesEnvironment(scenario, 50, seed=5, split="train", constraints=constraints(scenario))
    assert fleets.agents == ("fleet_x", "fleet_y")
    view, single = fleets.reset(), council.reset()
    rng, caught, ended = np.random.default_rng(2), np.zeros((50, 2)), 0
    for _ in range(100):
        for name, values in single.items():
            assert view[name].shape == (50, 2, *values.shape[1:])
            assert np.array_equal(view[name][:, 0], values)
            assert np.array_equal(view[name][:, 1], values)
        mortality = rng.uniform(0, 0.8, (50, 2))
        own, alone = fleets.step(mortality[:, :, None]), council.step(mortality)
        assert own.reward.shape == (50, 2)
        assert np.abs(own.reward.sum(axis=1) - alone.reward).max() < 1e-12
        assert np.array_equal(own.cost, alone.cost)
        assert np.array_equal(own.done, alone.done)
        caught += own.info["fleet_catch"]
        for row in np.flatnonzero(own.done):
            assert caught[row] == pytest.approx([alone.info["catch_x"][row], alone.info["catch_y"][row]], abs=1e-12)
            assert caught[row].sum() == pytest.approx(alone.info["yield"][row], abs=1e-12)
        ended += own.done.sum()
        caught[own.done] = 0.0
        view, single = own.observation, alone.observation
    assert ended > 50


def test_without_limits_a_fleet_earns_the_stock_times_what_it_asks_for(scenarios):
    scenario = scenarios.web(prices=[2.0, 1.0], effort_costs=[0.1, 0.2], initial=[0.5, 0.5, 0.06], penalty=30.0)
    fleets = made(scenario, 200, fleets=("x", "x", "y"), bearing="shared")
    asked = np.array([0.1, 0.3, 0.9])
    stock = fleets.reset()["stock"][:, 0]
    step = fleets.step(np.tile(asked[:, None], (200, 1, 1)))
    earned = [
        asked[0] * (2.0 * stock[:, 0] - 0.1), asked[1] * (2.0 * stock[:, 0] - 0.1), asked[2] * (stock[:, 1] - 0.2)
    ]  # fmt: skip
    penalty = np.where(step.terminated, 30.0, 0.0)
    assert 0 < step.terminated.sum() < 200
    assert np.allclose(step.reward, np.array(earned).T - penalty[:, None], rtol=0, atol=1e-12)
    split = made(scenario, 200, fleets=("x", "x", "y")).step(np.tile(asked[:, None], (200, 1, 1)))
    assert np.allclose(split.reward, np.array(earned).T - penalty[:, None] / 3, rtol=0, atol=1e-12)


def test_fleets_that_ask_for_more_than_there_is_share_it(scenarios):
    fleets = made(scenarios.one(), 3, fleets=("x", "x", "x"))
    stock = fleets.reset()["stock"][:, 0, 0]
    caught = fleets.step(np.tile(np.array([[1.0], [0.5], [0.5]]), (3, 1, 1))).info["fleet_catch"]
    assert np.allclose(caught, stock[:, None] * [0.5, 0.25, 0.25], rtol=1e-12)
    assert fleets.agents == ("fleet_x_0", "fleet_x_1", "fleet_x_2")


def test_a_fleet_sees_its_own_stock_only_where_that_is_asked_for(scenarios):
    scenario = scenarios.web(**LIMITED)
    both, own = made(scenario, 4, fleets=("y", "x")), made(scenario, 4, fleets=("y", "x"), views="own")
    seen, alone = both.reset()["stock"], own.reset()["stock"]
    assert np.array_equal(alone[:, :, 0], seen[:, 0, [1, 0]])
    action = np.tile(np.array([[0.3], [0.05]]), (4, 1, 1))
    seen, alone = both.step(action).observation, own.step(action).observation
    assert np.array_equal(alone["last_mortality"][:, :, 0], seen["last_mortality"][:, 0, [1, 0]])
    assert np.array_equal(own.restore(own.state())["stock"], alone["stock"])


def test_what_fleets_may_not_do(scenarios):
    scenario = scenarios.web()
    with pytest.raises(UsageError, match="fleets fish x, z, but harvested are x, y"):
        made(scenario, fleets=("x", "z"))
    with pytest.raises(UsageError, match="without ages"):
        made(load_scenario(DOMAIN, "walleye_yield"))
    fleets = made(scenario, 2)
    fleets.reset()
    with pytest.raises(BrokenEnvironment, match="fleet_y asks for nan"):
        fleets.step(np.array([[[0.1], [np.nan]]] * 2))
    with pytest.raises(BrokenEnvironment, match="shape"):
        fleets.step(np.zeros((2, 2)))
    with pytest.warns(UserWarning, match="clipped"):
        fleets.step(np.array([[[1.5], [-0.1]]] * 2))
    assert fleets.clipped == 4


def test_rewards_of_the_game_are_those_of_the_environment(scenarios):
    scenario = scenarios.web(horizon=60, prices=[2.0, 1.0], effort_costs=[0.1, 0.0])
    asked = np.array([0.1, 0.15, 0.3])
    game = Game(scenario, np.array([0, 0, 1]), "split")
    found = game.rewards(asked[None], futures=100, seed=3)[0]
    fleets, total, alive = made(scenario, 100, seed=3, fleets=("x", "x", "y")), np.zeros((100, 3)), np.ones(100)
    fleets.reset()
    for _ in range(60):
        step = fleets.step(np.tile(asked[:, None], (100, 1, 1)))
        total += alive[:, None] * step.reward
        alive[step.done] = 0.0
    assert found == pytest.approx(total.mean(axis=0), abs=1e-9)


def test_fleets_left_alone_end_in_an_equilibrium_that_is_worse_for_all(scenarios):
    scenario = scenarios.one()
    scenario = scenario.with_changes(tuned={**scenario.tuned.model_dump(), "constant_mortality": [0.045]})
    found = commons(scenario, ("x", "x", "x"), most=0.06, values=13, futures=200)
    assert found.settled
    game, last, axis = Game(scenario, np.zeros(3, int), "split"), found.path[-1], np.linspace(0, 0.06, 13)
    for fleet in range(3):  # nobody gains alone, by a search of its own
        others = np.repeat(last[None], 13, axis=0)
        others[:, fleet] = axis
        rewards = game.rewards(others, futures=200, seed=11)[:, fleet]
        assert game.rewards(last[None], futures=200, seed=11)[0, fleet] == rewards.max()
    assert found.mortality[1, 0] > found.mortality[0, 0]
    assert found.reward[1] < found.reward[0] - 0.1
    assert found.survival[1] < found.survival[0]
    assert found.fleets.sum(axis=1) == pytest.approx(found.reward)
    council = rules.score(scenario, "constant_mortality", found.mortality[:1, :, None], futures=2000, seed=12)
    assert found.reward[0] == pytest.approx(council.reward[0])

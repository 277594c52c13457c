"""Bounds against enumeration of all paths, single-path trees, and what the networks with losses really cost."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from interlock.core.evaluation.protocol import run_instances
from interlock.core.multistage.extensive import from_stage, solve_extensive
from interlock.core.multistage.stage import Multistage, Noise
from interlock.core.policy import FunctionPolicy
from interlock.domains.hydro import baselines, bounds
from interlock.domains.hydro.dispatch import open_dispatch
from interlock.domains.hydro.environment import HydroEnvironment
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.instances import noises
from interlock.domains.hydro.problem import build
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.stage_program import multistage
from interlock.domains.hydro.toy import toy_case
from interlock.solvers.highs import Highs

TOY_3, TOY_4 = 1639.1159875, 2355.8632261
"""$/h; optimum of the first 3 and 4 hours of the toy system, as known from its extensive form elsewhere."""


def stages_of(case, horizon, network="dc"):
    return multistage(case, network, horizon, noises(case, horizon))


def all_paths(stages):
    """Every path ``(n, T, k)`` and its probability ``(n,)``."""
    numbers = list(product(*(range(len(noise.outcomes)) for noise in stages.noises)))
    paths = [[noise.outcomes[k] for noise, k in zip(stages.noises, path, strict=True)] for path in numbers]
    chances = [[noise.probabilities[k] for noise, k in zip(stages.noises, path, strict=True)] for path in numbers]
    return np.array(paths), np.prod(chances, axis=1)


def simulated(case, horizon, network, policy, paths):
    """Cost of every path in the simulator."""
    environment = HydroEnvironment(
        case,
        open_dispatch(case, network, horizon),
        lambda seed, first, count: paths[(first + np.arange(count)) % len(paths)],
        len(paths),
        horizon=horizon,
        reported=None,
        seed=0,
        split="test",
        constraints=(),
    )
    return run_instances(environment, policy, len(paths), per_reward=-1.0).objective


def optimal(stages):
    """The best policy, by the tree of what is still to come from every state it meets."""

    def act(observation, rng):
        target = []
        for t, state, noise in zip(*baselines.stage_view(observation), strict=True):
            rest = from_stage(stages, int(t), state)
            seen = Noise(noise[np.newaxis], np.ones(1))
            target.append(solve_extensive(replace(rest, noises=(seen, *rest.noises[1:])), Highs()).states[0])
        return np.array(target)

    return FunctionPolicy(act)


@pytest.mark.parametrize(("horizon", "value"), [(3, TOY_3), (4, TOY_4)])
def test_the_optimal_policy_costs_in_the_simulator_what_the_tree_says(horizon, value):
    case = toy_case()
    stages = stages_of(case, horizon)
    paths, chance = all_paths(stages)
    assert chance.sum() == pytest.approx(1.0)
    cost = simulated(case, horizon, "dc", optimal(stages), paths)
    assert cost @ chance == pytest.approx(value, rel=1e-8)
    problem = build(HydroScenario(name="test", horizon=horizon))
    told = problem.bounds()
    assert next(iter(told)) == "extensive_form"
    assert told["extensive_form"].kind == "exact"
    assert told["extensive_form"].compute("test", 5) == pytest.approx(value, rel=1e-9)
    clairvoyant = bounds.least_costs(stages, paths)
    assert clairvoyant @ chance < value
    for rule in (baselines.myopic, baselines.model_predictive):
        reached = simulated(case, horizon, "dc", rule(stages), paths)
        assert (reached >= clairvoyant - 1e-5).all()
        assert reached @ chance > value


def test_perfect_information_is_the_optimum_of_a_tree_with_one_path():
    case, horizon = make_case(4, 0), 6
    stages = stages_of(case, horizon)
    paths, _ = all_paths(replace(stages, noises=tuple(Noise(n.outcomes[:2], np.ones(2) / 2) for n in stages.noises)))
    paths = paths[::13]
    for path, cost in zip(paths, bounds.least_costs(stages, paths), strict=True):
        sure = Multistage(stages.stages, tuple(Noise(w[np.newaxis], np.ones(1)) for w in path), stages.initial_state)
        assert cost == pytest.approx(solve_extensive(sure, Highs()).value, rel=1e-9)


def test_a_bound_of_the_first_paths_is_part_of_that_of_more():
    problem = build(HydroScenario(name="test", case={"source": "generated", "n_hydro": 3}, horizon=5))
    compute = problem.bounds()["perfect_information"].compute
    assert np.array_equal(compute("test", 60), compute("test", 130)[:60])
    assert not np.array_equal(compute("test", 10), compute("validation", 10))


def test_large_trees_and_other_processes_have_no_exact_bound():
    few = HydroScenario(name="test", horizon=6)
    assert list(build(few).bounds()) == ["extensive_form", "perfect_information"]
    assert list(build(few.with_changes(horizon=7)).bounds()) == ["perfect_information"]
    persistent = few.with_changes(inflows={"process": "persistent"})
    problem = build(persistent)
    assert list(problem.bounds()) == ["perfect_information"]
    assert not problem.exact_stages
    assert any("persistent: such cuts prove no bound" in note for note in problem.notes)
    limited = build(few.with_changes(eens_limit=1.0))
    assert limited.bounds()["extensive_form"].kind == "relaxation"


def test_least_unserved_power_is_load_less_all_that_can_be_generated():
    """100 MW of load, thermal units for 30 MW, water for 50 MW at first and none after: it is spread as one likes."""
    case = toy_case()
    case = replace(case, thermals=replace(case.thermals, max_power=np.array([30.0, 0.0])))
    stages = stages_of(case, 3, "bus1")
    paths = np.zeros((2, 3, 1))
    paths[1, 0] = 20.0
    missing = bounds.least_unserved(stages, paths)
    assert missing == pytest.approx([300.0 - 90.0 - 50.0, 300.0 - 90.0 - 70.0])


@pytest.mark.parametrize("network", ["soc", "ac"])
def test_networks_with_losses_cost_at_least_their_bound(network):
    pytest.importorskip({"soc": "clarabel", "ac": "casadi"}[network])
    scenario = HydroScenario(name="test", network=network, horizon=3, evaluation={"test_instances": 6})
    problem = build(scenario)
    assert list(problem.bounds()) == ["perfect_information"]
    bound = problem.bounds()["perfect_information"].compute("test", 6)
    environment = problem.environment(6, seed=scenario.evaluation.test_seed, split="test")
    cost = run_instances(environment, problem.baselines()["myopic"](0), 6, per_reward=-1.0).objective
    assert (cost >= bound - 1e-4).all()
    assert (bound > 0.3 * cost).all()
    assert any("such cuts prove no bound here" in note for note in problem.notes)


def test_power_may_be_thrown_away_in_the_relaxation_of_losses():
    """A unit that must run above the load is feasible with losses of any size, so the bound must not forbid it."""
    case = toy_case()
    case = replace(case, thermals=replace(case.thermals, min_power=np.array([100.0, 20.0])))
    relaxed = bounds.relaxed(case, stages_of(case, 2, "bus1"))
    assert bounds.least_costs(relaxed, np.zeros((1, 2, 1))) == pytest.approx([2 * (100.0 * 20.0 + 20.0 * 100.0)])


@pytest.mark.parametrize("field", ["resistance", "start_shunt", "end_shunt"])
def test_without_certain_losses_there_is_no_bound(field):
    case = toy_case()
    values = getattr(case.branches, field).copy()
    values[1] = -0.01
    lossy = replace(case, branches=replace(case.branches, **{field: values}))
    assert bounds.relaxed(lossy, stages_of(lossy, 2, "bus1")) is None
    assert bounds.relaxed(case, stages_of(case, 2, "bus1")) is not None


def test_a_limit_is_called_unreachable_only_beyond_chance():
    shares = np.array([1.0, 2.0, 3.0, 2.0])
    low = 2.0 - 1.96 * np.std(shares, ddof=1) / 2.0
    assert bounds.unreachable(low + 1e-6, shares) is None
    said = bounds.unreachable(low - 1e-6, shares)
    assert "out of reach of every policy" in said
    assert "would leave 2 % unserved" in said


def test_a_limit_that_nobody_can_keep_is_noted_with_the_evidence():
    tight = HydroScenario(name="test", horizon=4, load_factor=2.2, eens_limit=0.5, evaluation={"test_instances": 30})
    assert any("out of reach of every policy" in note for note in build(tight).notes)
    loose = tight.with_changes(eens_limit=60.0)
    assert not any("out of reach" in note for note in build(loose).notes)

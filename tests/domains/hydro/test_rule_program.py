"""Decision rules on hydrothermal dispatch: gradients against differences, the quick cost against the programs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.decision_rules.strict import Rollout, quick_rollout, starts_of, strict_rollout, targets_of
from interlock.core.errors import StageInfeasible
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.dispatch import LinearDispatch
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.rule_program import HydroRules
from interlock.domains.hydro.toy import toy_case

HORIZON = 20


def rules(case: Case, network: str) -> HydroRules:
    def paths(count: int, generator: np.random.Generator) -> np.ndarray:
        drawn = generator.integers(case.inflows.shape[1], size=(count, HORIZON))
        return case.inflows[np.arange(HORIZON) % case.cycle, drawn]

    return HydroRules(case, network, HORIZON, paths, np.array([np.inf]))


def network_of(program: HydroRules, encoder: int, seed: int = 0) -> RuleNetwork:
    torch.manual_seed(seed)
    features = program.features(program.paths(1, np.random.default_rng(0))).shape[-1]
    network = RuleNetwork(features, len(program.initial_state), encoder=encoder, head=(16,))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.double()


@pytest.mark.parametrize("network", ["bus1", "dc"])
@pytest.mark.parametrize("encoder", [0, 6])
def test_the_gradient_by_prices_is_the_derivative_of_the_cost(network: str, encoder: int) -> None:
    """Directional differences of the whole cost in the parameters, to 6 digits, in float64."""
    program = rules(make_case(5, seed=3), network)
    rule, solver = network_of(program, encoder), program.solver()
    noise = program.paths(3, np.random.default_rng(5))

    def roll() -> Rollout:
        return strict_rollout(program, rule, solver, noise, np.zeros(1))

    rollout = roll()
    rollout.surrogate.backward()
    gradient = torch.cat([parameter.grad.ravel() for parameter in rule.parameters()])
    start = torch.nn.utils.parameters_to_vector(rule.parameters()).detach().clone()
    direction = gradient / gradient.norm()
    step, costs = 1e-6, []
    for side in (1.0, -1.0):
        torch.nn.utils.vector_to_parameters(start + side * step * direction, rule.parameters())
        costs.append(roll().cost.mean())
    assert float(gradient.norm()) > 1.0
    assert (costs[0] - costs[1]) / (2 * step) == pytest.approx(float(gradient.norm()), rel=1e-6)


@pytest.mark.parametrize("which", ["toy", "generated"])
def test_the_quick_cost_is_the_optimum_on_one_bus(which: str) -> None:
    case = toy_case() if which == "toy" else make_case(7, seed=2)
    program = rules(case, "bus1")
    rule, noise = network_of(program, 4), program.paths(8, np.random.default_rng(1))
    quick = quick_rollout(program, rule, noise, np.zeros(1))
    priced = strict_rollout(program, rule, LinearDispatch(case, "bus1", HORIZON), noise, np.zeros(1))
    np.testing.assert_allclose(quick.cost, priced.cost, rtol=1e-8)
    np.testing.assert_allclose(quick.signals, priced.signals, atol=1e-6)
    parameters = list(rule.parameters())
    by_quick = torch.autograd.grad(quick.surrogate, parameters)
    by_prices = torch.autograd.grad(priced.surrogate, parameters)
    for one, other in zip(by_quick, by_prices, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_targets_follow_each_other_and_are_reachable() -> None:
    program = rules(make_case(7, seed=2), "bus1")
    noise = program.paths(4, np.random.default_rng(1))
    with torch.no_grad():
        end = targets_of(program, network_of(program, 4), noise).numpy()
    start = starts_of(program, end)
    np.testing.assert_array_equal(start[:, 0], np.tile(program.initial_state, (4, 1)))
    np.testing.assert_array_equal(start[:, 1:], end[:, :-1])
    stage = np.tile(np.arange(HORIZON), 4)
    plants = end.shape[2]
    program.solver().solve(stage, start.reshape(-1, plants), noise.reshape(-1, plants), end.reshape(-1, plants))


def test_features_know_nothing_later() -> None:
    program = rules(make_case(3, seed=0), "dc")
    noise = program.paths(2, np.random.default_rng(1))
    changed = noise.copy()
    changed[:, 12:] += 1.0
    np.testing.assert_array_equal(program.features(noise)[:, :12], program.features(changed)[:, :12])


def test_a_stage_without_a_solution_is_named_and_written_down() -> None:
    """Units that must run at a power beyond all load."""
    case = make_case(4, seed=1)
    must_run = replace(case.thermals, min_power=case.thermals.max_power)
    stuck = replace(case, thermals=must_run, buses=replace(case.buses, load=0.01 * case.buses.load))
    program = rules(stuck, "dc")
    noise = program.paths(2, np.random.default_rng(1))
    with pytest.raises(StageInfeasible, match=r"stage \d+, training path \d") as caught:
        strict_rollout(program, network_of(program, 0), program.solver(), noise, np.zeros(1))
    written = Path(caught.value.saved)
    assert "water[" in written.read_text()
    written.unlink()

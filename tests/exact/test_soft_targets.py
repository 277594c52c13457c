"""Soft targets: gradients of whole rollouts against differences, and against strict targets where none is missed."""

import numpy as np
import pytest
import torch
from small_multistage import ReservoirProgram

from interlock.core.decision_rules.config import RuleConfig
from interlock.core.decision_rules.method import train
from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.decision_rules.program_problem import ProgramProblem
from interlock.core.decision_rules.soft import SoftWindows, recourse_price, soft_rollout
from interlock.core.decision_rules.strict import strict_rollout
from interlock.core.errors import Interrupted
from interlock.core.multistage.stacked import perfect_information
from interlock.core.scenario import Scenario
from interlock.core.training import MemoryRun
from interlock.solvers.highs import Highs

STAGES, NONE = 6, np.zeros(0)


class Loose(ReservoirProgram):
    """Targets anywhere in the reservoirs, so that some are missed."""

    def reach(self, xp, raw, state, noise):
        return xp.sigmoid(raw) * xp.as_tensor(self.state_scale)


def recurrent(program, seed=0):
    torch.manual_seed(seed)
    network = RuleNetwork(2, 2, encoder=5, head=(7,)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return network, program.paths(3, np.random.default_rng(seed + 10))


def gradient(surrogate, network):
    network.zero_grad()
    surrogate.backward()
    return torch.cat([parameter.grad.reshape(-1) for parameter in network.parameters()]).numpy()


def moved(network, direction, step):
    vector = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    torch.nn.utils.vector_to_parameters(vector + step * torch.as_tensor(direction), network.parameters())
    return vector


def agreeing(roll, program):
    """How many of four rules have, along a random direction, the derivative that differences say; none may differ."""
    step, smooth = 1e-5, 0
    for seed in range(4):
        network, paths = recurrent(program, seed)
        rollout = roll(network, paths)
        whole, value = gradient(rollout.surrogate, network), mean_value(rollout)
        direction = np.random.default_rng(seed).normal(size=whole.size) / np.sqrt(whole.size)
        values = []
        for change in (step, step / 2, -step / 2, -step):
            vector = moved(network, direction, change)
            with torch.no_grad():
                values.append(mean_value(roll(network, paths)))
            torch.nn.utils.vector_to_parameters(vector, network.parameters())
        wide, narrow = (values[0] - values[3]) / (2 * step), (values[1] - values[2]) / step
        if abs(values[0] + values[3] - 2 * value) < 1e-8:  # no vertex changes on the way
            assert (4 * narrow - wide) / 3 == pytest.approx(whole @ direction, rel=1e-6, abs=1e-7)
            smooth += 1
    return smooth


def mean_value(rollout):
    return (rollout.cost + getattr(rollout, "penalty", 0.0)).mean()


@pytest.mark.parametrize("window", [1, 2, 4, None])
@pytest.mark.parametrize("kind", [Loose, ReservoirProgram])
def test_the_gradient_through_a_recurrent_rule_agrees_with_differences(window, kind):
    program = kind(STAGES, seed=3)
    windows = SoftWindows(program.multistage, Highs(), window=window, penalty=6.0)
    assert agreeing(lambda network, paths: soft_rollout(program, network, windows, paths, NONE), program) >= 3


def test_the_same_with_strict_targets():
    program = ReservoirProgram(STAGES, seed=3)
    solver = program.solver()
    assert agreeing(lambda network, paths: strict_rollout(program, network, solver, paths, NONE), program) >= 3


def test_missed_targets_are_paid_and_the_share_is_told():
    program = Loose(STAGES, seed=3)
    network, paths = recurrent(program)
    for window in (1, None):
        found = soft_rollout(program, network, SoftWindows(program.multistage, Highs(), window=window), paths, NONE)
        assert (found.penalty > 0).any()
        assert found.surrogate.item() == pytest.approx((found.cost + found.penalty).mean())
        assert found.violation_share == pytest.approx(found.penalty.sum() / (found.penalty + found.cost).sum())


def test_without_missed_targets_value_and_gradient_are_those_of_strict_targets():
    program = ReservoirProgram(STAGES, seed=4, signals=True)
    network, paths = recurrent(program)
    prices = np.array([3.0])
    strict = strict_rollout(program, network.float(), program.solver(), paths, prices)
    whole = gradient(strict.surrogate, network)
    for window in (1, 3, None):
        windows = SoftWindows(program.multistage, Highs(), window=window, penalty=500.0)
        soft = soft_rollout(program, network, windows, paths, prices)
        np.testing.assert_allclose(soft.penalty, 0, atol=1e-6)
        np.testing.assert_allclose(soft.cost, strict.cost, rtol=1e-8)
        np.testing.assert_allclose(soft.signals, strict.signals, atol=1e-8)
        np.testing.assert_allclose(gradient(soft.surrogate, network), whole, rtol=1e-4, atol=1e-4)


def test_targets_without_a_price_leave_the_perfect_information_optimum():
    program = ReservoirProgram(STAGES, seed=5)
    network, paths = recurrent(program)
    windows = SoftWindows(program.multistage, Highs(), penalty=0.0)
    found = soft_rollout(program, network, windows, paths, NONE)
    np.testing.assert_allclose(found.cost, perfect_information(program.multistage, Highs(), paths), rtol=1e-8)


def test_the_dearest_recourse_of_the_reservoirs():
    # On the poorest path load is unserved (20 a unit); water of the upper plant drives both: 20 + 0.7 * 20 less 0.03.
    program = ReservoirProgram(2, seed=0)
    poor = [noise.outcomes * 0.0 for noise in program.multistage.noises]
    for noise, outcomes in zip(program.multistage.noises, poor, strict=True):
        noise.outcomes[:] = outcomes
    program.multistage.initial_state[:] = 0.5
    np.testing.assert_allclose(recourse_price(program.multistage, Highs()), [33.97, 13.98], rtol=1e-9)


def trained(rollout, run):
    program = ReservoirProgram(STAGES, seed=5)
    evaluation = {"test_instances": 100, "validation_instances": 50, "num_envs": 50}
    scenario = Scenario.model_validate({"domain": "reservoirs", "name": "reservoirs", "evaluation": evaluation})
    problem = ProgramProblem(program, program.multistage, Highs(), scenario)
    phase = {"updates": 20, "batch": 8, "learning_rate": 0.05, "warm_up": 1}
    settings = {"encoder": 4, "head": (8,), "rollout": rollout, "window": 3, "validate_every": 20, "training": phase}
    return train(problem, RuleConfig.model_validate(settings), run)


@pytest.fixture(scope="module")
def known_stages():
    run = MemoryRun()
    return trained("strict", run).weights(), [row["eval/objective"] for row in run.curves if "eval/objective" in row]


@pytest.mark.parametrize("rollout", ["stagewise", "windowed", "deterministic_equivalent"])
def test_every_rollout_trains_as_strict_targets_do_where_none_is_missed(rollout, known_stages):
    weights, seen = known_stages
    assert seen[-1] < 0.95 * seen[0]
    for name, found in trained(rollout, MemoryRun()).weights().items():
        np.testing.assert_allclose(found, weights[name], atol=0.02, err_msg=name)


def test_an_interrupted_training_with_windows_goes_on_exactly():
    run = MemoryRun(stop_after=13)
    with pytest.raises(Interrupted):
        trained("windowed", run)
    run.stop_after = None
    resumed, whole = trained("windowed", run), trained("windowed", MemoryRun())
    for name, weights in resumed.weights().items():
        assert np.array_equal(weights, whole.weights()[name]), name

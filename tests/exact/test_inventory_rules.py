"""Lot sizing: closed form against programs, bookkeeping against a plain simulation, the score function against sums."""

import numpy as np
import pytest
import torch

from interlock.core.decision_rules.config import RuleConfig, ScoreSettings
from interlock.core.decision_rules.inventory import ClosedForm, Inventory, InventoryRules, demand_paths
from interlock.core.decision_rules.linear_stages import LinearStages
from interlock.core.decision_rules.method import train
from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.decision_rules.program_problem import ProgramProblem
from interlock.core.decision_rules.score_function import mixed_rollout, score_surrogate
from interlock.core.decision_rules.strict import strict_rollout
from interlock.core.evaluation.protocol import play
from interlock.core.scenario import Scenario
from interlock.core.training import MemoryRun
from interlock.solvers.highs import Highs

NONE = np.zeros(0)


def simulated(inventory, demand, level):
    """Costs of order-up-to a level, one path at a time, in words of stock and orders."""
    costs = []
    for path in demand:
        stock, on_way, cost = inventory.initial, [0.0] * inventory.lead_time, 0.0
        for t, asked in enumerate(path):
            order = min(max(level - stock - sum(on_way), 0.0), inventory.capacity)
            if t + inventory.lead_time >= len(path):
                order = 0.0
            on_way.append(order)
            cost += inventory.unit * order + inventory.setup * (order > 0)
            stock += on_way.pop(0) - asked
            cost += inventory.holding * max(stock, 0.0) + inventory.backlog * max(-stock, 0.0)
        costs.append(cost)
    return costs


def played(rules, solver, noise, level):
    state, total = np.tile(rules.initial_state, (len(noise), 1)), np.zeros(len(noise))
    for t in range(rules.stages):
        target = rules.reach(np, np.full_like(state, level / rules.reference - 1), state, noise[:, t])
        total += solver.solve(np.full(len(noise), t), state, noise[:, t], target).cost
        state = target
    return total


@pytest.mark.parametrize("setup", [0.0, 500.0])
@pytest.mark.parametrize("lead_time", [0, 1, 3])
def test_stages_cost_what_a_plain_simulation_costs(lead_time, setup):
    inventory = Inventory(lead_time=lead_time, setup=setup)
    closed = InventoryRules(inventory)
    programs = InventoryRules(inventory, lambda stages: LinearStages(stages, Highs()))
    noise = closed.paths(20, np.random.default_rng(3))
    for level in (20.0, 160.0, 420.0):
        expected = simulated(inventory, noise[:, 1:, 0], level)
        np.testing.assert_allclose(played(closed, closed.solver(), noise, level), expected, rtol=1e-10)
        np.testing.assert_allclose(played(programs, programs.solver(), noise, level), expected, rtol=1e-8)


@pytest.mark.parametrize("lead_time", [0, 2])
def test_prices_in_closed_form_give_the_gradient_of_the_programs(lead_time):
    rules = InventoryRules(Inventory(lead_time=lead_time))
    noise = rules.paths(4, np.random.default_rng(5))
    torch.manual_seed(1)
    network = RuleNetwork(2, 1 + lead_time, encoder=4, head=(5,))
    gradients = []
    for solver in (ClosedForm(rules), LinearStages(rules.multistage(), Highs())):
        network.zero_grad()
        rollout = strict_rollout(rules, network, solver, noise, NONE)
        rollout.surrogate.backward()
        gradients.append(torch.cat([p.grad.reshape(-1) for p in network.parameters()]).numpy())
    assert np.abs(gradients[0]).max() > 1
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-5, atol=1e-4)


def test_the_demand_keeps_to_its_bands_and_remembers():
    demand = demand_paths(20_000, 12, np.random.default_rng(0))
    assert demand.min() == 5.0
    assert demand.max() <= 185 + 0.55 * 49.5
    # The phase is uniform, so every period has the mean of the bands (clipping moves it by less than 1).
    np.testing.assert_allclose(demand.mean(axis=0), 69.75, atol=1.5)
    assert np.corrcoef(demand[:, 4], demand[:, 5])[0, 1] > 0.8


class Jumps:
    """Two stages: the rule puts the state anywhere; being above 0 costs 1 in the first, nothing in the second."""

    stages = 2
    initial_state = state_scale = np.ones(1)

    def features(self, noise):
        return np.zeros((*noise.shape[:2], 1))

    def reach(self, xp, raw, state, noise):
        return raw + 0.5 * state * noise

    def solve(self, stage, state, noise, target, multipliers=None):
        from interlock.core.decision_rules.contract import StageBatch

        cost = 3.0 * (target[:, 0] > 0) + (stage == 1) * np.abs(target[:, 0])
        price = (stage == 1)[:, None] * np.sign(target)
        return StageBatch(cost, price, np.zeros_like(state), np.zeros((len(cost), 0)))


def test_the_score_function_estimates_the_gradient_of_the_disturbed_rule():
    program, deviation = Jumps(), 0.8
    network = RuleNetwork(1, 1, encoder=0, head=())
    with torch.no_grad():
        network.head[-1].weight.copy_(torch.tensor([[0.0, 0.3]]))
        network.head[-1].bias.fill_(-0.2)
    noise = np.full((1, 2, 1), 0.6)

    def expected(bias, by_state):
        """Over a grid of both disturbances."""
        grid = np.linspace(-7, 7, 2801)
        density = np.exp(-(grid**2) / 2)
        density /= density.sum()
        first = bias + by_state + deviation * grid + 0.3
        second = bias + by_state * first[:, None] + deviation * grid + 0.3 * first[:, None]
        cost = 3.0 * (first > 0)[:, None] + 3.0 * (second > 0) + np.abs(second)
        return density @ cost @ density

    step = 0.05
    exact = [
        (expected(-0.2, 0.3 + step) - expected(-0.2, 0.3 - step)) / (2 * step),
        (expected(-0.2 + step, 0.3) - expected(-0.2 - step, 0.3)) / (2 * step),
    ]
    found = []
    rng = np.random.default_rng(0)
    for _ in range(40):
        network.zero_grad()
        score_surrogate(program, network, program, noise, NONE, deviation, 2000, rng).backward()
        found.append([network.head[-1].weight.grad[0, 1].item(), network.head[-1].bias.grad[0].item()])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (error < 0.02).all()
    assert (np.abs(np.mean(found, axis=0) - exact) < 4 * error + 0.005).all()


def test_the_mix_begins_with_prices_and_ends_with_its_weights():
    rules = InventoryRules(Inventory(setup=500.0))
    noise = rules.paths(4, np.random.default_rng(0))
    torch.manual_seed(0)
    network = RuleNetwork(2, 1, encoder=0, head=(4,))
    settings = ScoreSettings(begin=10, ramp=10, price_weight=0.25, deviation=(0.1, 0.5), rollouts=(2, 4))

    def gradient(surrogate):
        network.zero_grad()
        surrogate.backward()
        return torch.cat([p.grad.reshape(-1) for p in network.parameters()]).numpy()

    def mixed(update):
        rng = np.random.default_rng(7)
        return gradient(mixed_rollout(rules, network, rules.solver(), noise, NONE, settings, update, rng).surrogate)

    prices = gradient(strict_rollout(rules, network, rules.solver(), noise, NONE).surrogate)
    rng = np.random.default_rng(7)
    score = gradient(score_surrogate(rules, network, rules.solver(), noise, NONE, 0.5, 4, rng))
    np.testing.assert_allclose(mixed(5), prices)
    np.testing.assert_allclose(mixed(25), 0.25 * prices + 0.75 * score, rtol=1e-4, atol=1e-3)


def test_a_short_training_beats_every_constant_level():
    rules = InventoryRules(Inventory())
    evaluation = {"test_instances": 300, "validation_instances": 100, "num_envs": 100}
    scenario = Scenario.model_validate({"domain": "inventory", "name": "inventory", "evaluation": evaluation})
    problem = ProgramProblem(rules, rules.multistage(), Highs(), scenario)
    noise = np.array([problem.path(scenario.evaluation.test_seed, "test", k) for k in range(300)])
    constant = min(played(rules, rules.solver(), noise, level).mean() for level in range(100, 250, 10))
    settings = {"encoder": 0, "head": (16,), "training": {"updates": 60, "batch": 16, "learning_rate": 0.02}}
    policy = train(problem, RuleConfig.model_validate(settings), MemoryRun())
    outcomes = play(problem, policy, split="test")
    assert outcomes.objective.mean() < 0.9 * constant

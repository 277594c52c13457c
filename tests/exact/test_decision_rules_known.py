"""Rules trained by prices on problems whose optimum is known in closed form or by one linear program."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from interlock.core.decision_rules.contract import StageBatch
from interlock.core.decision_rules.linear_stages import LinearStages
from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.decision_rules.strict import strict_rollout
from interlock.core.multistage.stage import LinearStage, Multistage, Noise
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Column, Row, linear_program

NONE = np.zeros(0)


class HereAndNow:
    """A decision ``x`` before the noise is known, and a recourse after it; the rule has no inputs."""

    def __init__(self, first, second, outcomes, probabilities):
        states = len(first.state)
        self.multistage = Multistage(
            (first, second),
            (Noise(np.zeros((1, 1)), np.ones(1)), Noise(outcomes, probabilities)),
            np.zeros(states),
        )
        self.stages, self.initial_state, self.state_scale = 2, np.zeros(states), np.ones(states)

    def features(self, noise):
        return np.zeros((*noise.shape[:2], 1))

    def reach(self, xp, raw, state, noise):
        later = (state != 0).any(1, keepdims=True)  # after the first decision nothing is left to be handed on
        return xp.where(later, 0.0 * raw, xp.clip(raw, 1e-9, None))


def constant_rule(states, start):
    network = RuleNetwork(1, states, encoder=0, head=())
    with torch.no_grad():
        network.head[-1].bias.fill_(start)
        network.head[-1].weight.zero_()
    return network


def buying(costs):
    """First stage: choose the state at a price per unit."""
    columns = {f"x{k}": Column(cost=cost) for k, cost in enumerate(costs)}
    program = linear_program(columns, {})
    none = np.zeros((0, len(costs)))
    return LinearStage(program, np.arange(len(costs)), np.zeros(0, int), np.zeros(0), none, np.zeros((0, 1)))


def test_newsvendor():
    # Order q at 2; a unit short costs 9, a unit left over 1; demand is uniform on [0, 100]: q* = 100 (9 - 2) / (9 + 1).
    second = LinearStage(
        linear_program(
            {"next": Column(upper=0), "short": Column(cost=9), "over": Column(cost=1)},
            {"balance": Row({"short": 1, "over": -1}, 0, 0)},
        ),
        state=np.array([0]),
        rows=np.array([0]),
        offset=np.zeros(1),
        by_state=-np.eye(1),
        by_noise=np.eye(1),
    )
    program = HereAndNow(buying([2.0]), second, np.array([[50.0]]), np.ones(1))
    solver, network = LinearStages(program.multistage, Highs()), constant_rule(1, 20.0)
    rng, bias, orders = np.random.default_rng(0), network.head[-1].bias, []
    for k in range(1000):
        paths = np.zeros((4, 2, 1))
        paths[:, 1, 0] = 100 * rng.random(4)
        network.zero_grad()
        strict_rollout(program, network, solver, paths, NONE).surrogate.backward()
        with torch.no_grad():
            bias -= 20 / (1 + k) ** 0.6 * bias.grad
        orders.append(bias.item())
    assert np.mean(orders[500:]) == pytest.approx(70, abs=1.5)


def test_two_stages_with_three_scenarios_against_the_deterministic_equivalent():
    # Two kinds of capacity at 3 and 2 a unit, run at 1 and 4; demand 4, 6 or 9; a unit unserved costs 20.
    demands, chances = np.array([4.0, 6.0, 9.0]), np.array([0.3, 0.4, 0.3])
    second = LinearStage(
        linear_program(
            {
                "n0": Column(upper=0),
                "n1": Column(upper=0),
                "y0": Column(cost=1),
                "y1": Column(cost=4),
                "idle0": Column(),
                "idle1": Column(),
                "unserved": Column(cost=20),
            },
            {
                "cap0": Row({"y0": 1, "idle0": 1}, 0, 0),
                "cap1": Row({"y1": 1, "idle1": 1}, 0, 0),
                "demand": Row({"y0": 1, "y1": 1, "unserved": 1}, 0, 0),
            },
        ),
        state=np.array([0, 1]),
        rows=np.arange(3),
        offset=np.zeros(3),
        by_state=np.array([[1.0, 0], [0, 1], [0, 0]]),
        by_noise=np.array([[0.0], [0], [1]]),
    )
    program = HereAndNow(buying([3.0, 2.0]), second, demands[:, None], chances)

    # x0 x1, then y0 y1 unserved of each scenario
    cost = np.concatenate([[3, 2], *(p * np.array([1, 4, 20]) for p in chances)])
    upper, met = np.zeros((6, 11)), np.zeros((3, 11))
    for s in range(3):
        for kind in range(2):
            upper[2 * s + kind, [kind, 2 + 3 * s + kind]] = -1, 1
        met[s, 2 + 3 * s : 5 + 3 * s] = 1
    optimum = linprog(cost, A_ub=upper, b_ub=np.zeros(6), A_eq=met, b_eq=demands, method="highs-ipm").fun

    solver, network = LinearStages(program.multistage, Highs()), constant_rule(2, 1.0)
    paths = np.zeros((10, 2, 1))
    paths[:, 1, 0] = np.repeat(demands, [3, 4, 3])
    adam = torch.optim.Adam(network.parameters(), lr=0.2)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 200)
    for _ in range(200):
        adam.zero_grad()
        strict_rollout(program, network, solver, paths, NONE).surrogate.backward()
        adam.step()
        decay.step()
    with torch.no_grad():
        found = strict_rollout(program, network, solver, paths, NONE).cost.mean()
    assert optimum - 1e-6 <= found <= 1.005 * optimum


class QuadraticReservoir:
    """``x' = x + w - u`` with cost ``u^2 + 2 x'^2``, priced in closed form; both are free in sign."""

    stages = 36
    initial_state, state_scale = np.array([3.0]), np.array([3.0])
    mean, deviation = 1.0, 0.7

    def paths(self, count, generator):
        return self.mean + self.deviation * generator.normal(size=(count, self.stages, 1))

    def features(self, noise):
        return noise - self.mean

    def reach(self, xp, raw, state, noise):
        return raw

    def solve(self, stage, state, noise, target, multipliers=None):
        release = state + noise - target
        cost = (release**2 + 2 * target**2).sum(axis=1)
        return StageBatch(cost, 4 * target - 2 * release, 2 * release, np.zeros((len(cost), 0)))

    def optimum(self):
        """By backward recursion of ``V(x) = p x^2 + 2 b x + c``, with ``z = x + w`` the water in sight."""
        p = b = c = 0.0
        for _ in range(self.stages):
            # min over x' of (z - x')^2 + (2 + p) x'^2 + 2 b x' + c  =  k z^2 + 2 m z + n
            total = 3 + p
            k, m, n = 1 - 1 / total, b / total, c - b**2 / total
            p, b = k, k * self.mean + m
            c = k * (self.mean**2 + self.deviation**2) + 2 * m * self.mean + n
        start = self.initial_state[0]
        return p * start**2 + 2 * b * start + c

    def expected_cost(self, network):
        """Of an affine rule, exactly: mean and covariance of the state step by step."""
        rule = network.head[-1]
        (by_noise, by_state), constant = rule.weight[0].tolist(), rule.bias.item()
        a, level = by_state / self.state_scale[0], constant
        mean, variance, cost = self.initial_state[0], 0.0, 0.0
        for _ in range(self.stages):
            end, spread = a * mean + level, a**2 * variance + by_noise**2 * self.deviation**2
            release = mean + self.mean - end
            wobble = (1 - a) ** 2 * variance + (1 - by_noise) ** 2 * self.deviation**2
            cost += release**2 + wobble + 2 * (end**2 + spread)
            mean, variance = end, spread
        return cost


def test_an_affine_rule_for_a_quadratic_reservoir_against_the_riccati_recursion():
    program, rng = QuadraticReservoir(), np.random.default_rng(0)
    torch.manual_seed(0)
    network = RuleNetwork(1, 1, encoder=0, head=())
    adam = torch.optim.Adam(network.parameters(), lr=0.05)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 400)
    for _ in range(400):
        adam.zero_grad()
        strict_rollout(program, network, program, program.paths(32, rng), NONE).surrogate.backward()
        adam.step()
        decay.step()
    optimum = program.optimum()
    cost = program.expected_cost(network)
    played = strict_rollout(program, network, program, program.paths(20_000, rng), NONE).cost
    assert cost == pytest.approx(played.mean(), abs=4 * played.std() / np.sqrt(20_000))
    assert optimum <= cost <= 1.01 * optimum

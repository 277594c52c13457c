"""Continuous actions against closed forms: a linear-quadratic regulator, chance and tail limits, exported networks."""

import numpy as np
import pytest
from gymnasium import spaces
from scipy.linalg import solve_discrete_lyapunov
from scipy.special import ndtri
from scipy.stats import norm
from small_environments import SmallEnvironment, small_problem

from interlock.core.actor_critic.config import DualSettings, NetworkSettings, PPOConfig
from interlock.core.actor_critic.ppo import train
from interlock.core.network_policy import load_network_policy
from interlock.core.problem import Constraint
from interlock.core.training import MemoryRun


class QuietRun(MemoryRun):
    """Keeps no checkpoints."""

    def checkpoint_due(self):
        return False


# Linear-quadratic regulator ---------------------------------------------------------------------------------------

A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
Q, R, GAMMA = np.diag([1.0, 0.1]), np.array([[0.01]]), 0.99


class Regulator(SmallEnvironment):
    """A cart is brought to rest at the origin from a standard normal state; cut off after 32 steps."""

    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    length, width, terminates = 32, 2, False

    def begin(self, rows):
        return np.column_stack([ndtri(self.chance(rows, stream)) for stream in (0, 1)])

    def move(self, action):
        reward = -np.einsum("ni,ij,nj->n", self.hidden, Q, self.hidden) - R[0, 0] * action[:, 0].astype(float) ** 2
        self.hidden = self.hidden @ A.T + action @ B.T
        return reward, np.zeros((self.num_envs, 0))


def riccati():
    """The matrix of the optimal cost, by iteration."""
    found = Q
    for _ in range(3000):
        gain = np.linalg.solve(R + GAMMA * B.T @ found @ B, GAMMA * B.T @ found @ A)
        found = Q + GAMMA * A.T @ found @ (A - B @ gain)
    return found


def exact_cost(weights, bias):
    """Expected discounted cost of ``u = weights x + bias`` from a standard normal state, by a Lyapunov equation."""
    # A constant 1 as third state carries the bias.
    closed = np.block([[A + B @ weights, B * bias], [np.zeros((1, 2)), np.ones((1, 1))]])
    control = np.append(weights, bias)[None]
    if np.sqrt(GAMMA) * np.abs(np.linalg.eigvals(closed)).max() >= 1.0:
        return np.inf
    stage = np.pad(Q, (0, 1)) + control.T @ R @ control
    return float(np.trace(solve_discrete_lyapunov(np.sqrt(GAMMA) * closed.T, stage)))


def test_the_exact_cost_of_the_riccati_gain_is_its_trace():
    found = riccati()
    gain = np.linalg.solve(R + GAMMA * B.T @ found @ B, GAMMA * B.T @ found @ A)
    assert gain == pytest.approx(np.array([[7.3998, 4.8911]]), abs=1e-4)
    assert np.trace(found) == pytest.approx(7.0966, abs=1e-4)
    assert exact_cost(-gain, 0.0) == pytest.approx(np.trace(found), rel=1e-9)
    assert exact_cost(-gain * 1.1, 0.0) > np.trace(found)
    assert exact_cost(-gain, 0.5) > np.trace(found)


def learned_cost(seed):
    """Cost of the mean of a learned linear policy, its bias included, over the optimum; at most 25 CPU seconds.

    A linear critic cannot hold a quadratic value, so it is nearly a constant, and the advantages discount by gamma x
    lambda; the gain that is best for 0.96 costs 0.2 % more than the best for 0.99.
    """
    config = PPOConfig(
        network=NetworkSettings(hidden=()),
        head="gaussian",
        head_options={"log_std": 1.0},
        steps=2_000_000,
        num_envs=256,
        rollout=32,
        minibatch=2048,
        learning_rate=0.1,
        gamma=GAMMA,
        gae_lambda=0.97,
        clip=0.5,
        kl_stop=1.0,
        entropy_weight=0.1,
        max_gradient=1e9,
        validate_every=10**9,
    )
    policy = train(small_problem(Regulator, validation=2, rows=2), config, QuietRun(seed=seed))
    learned = (policy.last or policy).weights()
    cost = exact_cost(learned["actor.0.weight"].astype(float), float(learned["actor.0.bias"][0]))
    return cost / np.trace(riccati())


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3, 4))])
def test_a_linear_policy_reaches_the_riccati_cost(seed):
    assert learned_cost(seed) <= 1.02


# Chance and tail --------------------------------------------------------------------------------------------------

NOISE = 0.2


class Edge(SmallEnvironment):
    """One state, one step: an action earns itself; with noise added it shall rarely be more than 1."""

    action_space = spaces.Box(0.0, np.inf, (1,), np.float32)
    constraints = (Constraint("beyond", "chance", 0.05, "share"),)

    def view(self):
        return {"vector": np.ones((self.num_envs, 1), np.float32)}

    def loss(self, action):
        return action[:, 0] + NOISE * ndtri(self.chance(np.arange(self.num_envs)))

    def move(self, action):
        return action[:, 0].astype(float), np.maximum(self.loss(action) - 1.0, 0.0)[:, None]


class Tail(Edge):
    """The mean of the worst tenth of what the action and the noise add up to is limited."""

    constraints = (Constraint("tail", "cvar", 1.0, "1", level=0.9),)

    def move(self, action):
        return action[:, 0].astype(float), self.loss(action)[:, None]


def mean_and_deviation(environment, seed=0):
    """What the policy learned, and the measured constraint over the last tenth of training."""
    config = PPOConfig(
        network=NetworkSettings(hidden=()),
        head="gaussian",
        head_options={"log_std": -1.5},
        steps=500_000,
        num_envs=512,
        rollout=8,
        minibatch=1024,
        learning_rate=3e-3,
        gamma=1.0,
        entropy_weight=0.2,  # keeps a deviation from which the cost of an action can be told from its noise
        validate_every=10**9,
        dual=DualSettings(integral=1.0, proportional=20.0),
    )
    run = QuietRun(seed=seed)
    policy = train(small_problem(environment), config, run)
    learned = (policy.last or policy).weights()
    mean = float(learned["actor.0.weight"].sum() + learned["actor.0.bias"][0])
    [constraint] = environment.constraints
    measured = [row[f"constraint/{constraint.name}/mean"] for row in run.curves if "train/entropy" in row]
    return mean, float(np.exp(learned["free"][0])), np.mean(measured[-len(measured) // 10 :])


def test_a_chance_constraint_is_met_where_the_quantile_says():
    mean, deviation, measured = mean_and_deviation(Edge)
    assert mean == pytest.approx(1.0 - norm.ppf(0.95) * np.hypot(NOISE, deviation), abs=0.015)
    assert measured == pytest.approx(0.05, abs=0.003)


def test_a_tail_constraint_is_met_where_the_normal_distribution_says():
    mean, deviation, measured = mean_and_deviation(Tail)
    per_deviation = norm.pdf(norm.ppf(0.9)) / 0.1
    assert mean == pytest.approx(1.0 - per_deviation * np.hypot(NOISE, deviation), abs=0.015)
    assert measured == pytest.approx(1.0, abs=0.015)


# Saved and exported -----------------------------------------------------------------------------------------------


class Rated(SmallEnvironment):
    """Five numbers are seen, an action of any kind is rated by its distance from the first of them."""

    length, width = 4, 5

    def begin(self, rows):
        return np.column_stack([ndtri(self.chance(rows, stream)) for stream in range(self.width)])

    def move(self, action):
        last = np.asarray(action, float).reshape(self.num_envs, -1)[:, -1]
        return -np.abs(last - self.hidden[:, 0]), np.zeros((self.num_envs, 0))


BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 3.0], np.float32))
HALF_OPEN = spaces.Box(np.array([-np.inf, -0.1], np.float32), np.array([np.inf, 0.1], np.float32))
SPACES = {
    "beta": BOX,
    "gaussian": HALF_OPEN,
    "tanh_gaussian": BOX,
    "dirichlet": spaces.Box(0.0, 1.0, (3,), np.float32),
    "hybrid": spaces.Tuple((spaces.Discrete(3), BOX)),
    "multi_discrete": spaces.MultiDiscrete([2, 4]),
    "autoregressive": spaces.MultiDiscrete([3, 2]),
}


@pytest.mark.parametrize("head", SPACES)
def test_saved_and_exported_networks_act_alike(head, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    problem = small_problem(type("Of", (Rated,), {"action_space": SPACES[head]}), validation=20, rows=10)
    amounts = {"steps": 4096, "num_envs": 64, "rollout": 16, "minibatch": 256, "validate_every": 10**9}
    config = PPOConfig(head=head, network=NetworkSettings(hidden=(16,)), learning_rate=1e-2, **amounts)
    trained = train(problem, config, QuietRun(seed=0))
    # The first weights of an actor are small: larger ones reach both ends of every action.
    trained.load_weights({name: 3.0 * weights for name, weights in trained.weights().items()})
    trained.save(tmp_path)
    loaded = load_network_policy(tmp_path, problem)
    described = trained.export_scorer(tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / described["file"], providers=["CPUExecutionProvider"])
    views = np.random.default_rng(1).normal(size=(1000, 5)).astype(np.float32)
    action = trained.act({"vector": views})
    assert np.array_equal(loaded.act({"vector": views}), action)
    [found, parameters] = session.run(["action", "action_params"], {described["inputs"][0]: views})
    assert found == pytest.approx(action, abs=1e-5)
    assert parameters == pytest.approx(trained.parameters({"vector": views}).numpy(), abs=1e-4)
    assert len(np.unique(action, axis=0)) >= 4
    space = SPACES[head]
    assert all(space.contains(one if head != "hybrid" else (int(one[0]), one[1:])) for one in action)

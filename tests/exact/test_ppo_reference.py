"""Without costs the loop is plain PPO, bit for bit; and it is the same whenever it runs."""

import importlib
import importlib.util
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_environments import SmallEnvironment, small_problem

from interlock.core import actor_critic
from interlock.core.actor_critic.config import LearnerConfig, NetworkSettings, PPOConfig
from interlock.core.actor_critic.ppo import train
from interlock.core.evaluation.protocol import play
from interlock.core.heads_discrete import CategoricalHead
from interlock.core.networks import build_network
from interlock.core.problem import MethodInfo
from interlock.core.tabular.problem import tabular_problem
from interlock.core.training import MemoryRun
from interlock.solvers.highs import Highs


class QuietRun(MemoryRun):
    """Keeps no checkpoints."""

    def checkpoint_due(self):
        return False


# Plain PPO --------------------------------------------------------------------------------------------------------


def plain_ppo(problem, config, seed):
    """PPO for one reward and one choice of finitely many, written out without any thought of costs."""
    for_environment, for_weights, for_actions, for_minibatches = (
        int(word) for word in np.random.SeedSequence(seed).generate_state(4)
    )
    environment = problem.environment(config.num_envs, seed=for_environment, split="train")
    encoder = problem.encoders()[config.encoder]
    view = environment.reset()
    network = build_network(encoder(view), CategoricalHead(environment.action_space.n), config.network, for_weights)
    generator = torch.Generator().manual_seed(for_actions)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, eps=1e-5, fused=True)

    def inputs_of(view):
        inputs = {name: torch.from_numpy(array) for name, array in encoder(view).items()}
        return inputs | {"action_mask": torch.from_numpy(view["action_mask"])} if "action_mask" in view else inputs

    @torch.no_grad()
    def value_of(view):
        return network(**inputs_of(view))[1][:, 0].numpy().astype(float)

    for done_steps in range(0, config.steps, config.num_envs * config.rollout):
        inputs, actions, log_probabilities, rewards, values, following, ended, cut = ([] for _ in range(8))
        for _ in range(config.rollout):
            inputs.append(inputs_of(view))
            with torch.no_grad():
                scores, value = network(**inputs[-1])
                log_softmax = torch.log_softmax(scores, 1)
                cumulative = log_softmax.exp().cumsum(1)
                level = torch.rand((len(scores), 1), generator=generator) * cumulative[:, -1:]
                action = (level >= cumulative).sum(1)
            step = environment.step(action.numpy())
            actions.append(action)
            log_probabilities.append(log_softmax.gather(1, action[:, None])[:, 0])
            rewards.append(step.reward)
            values.append(value[:, 0].numpy().astype(float))
            ended.append(step.terminated)
            cut.append(step.truncated)
            last = step.observation if step.final_observation is None else step.final_observation
            following.append(np.where(step.truncated, value_of(last), value_of(step.observation)))
            view = step.observation
        advantages, running = [], 0.0
        for t in reversed(range(config.rollout)):
            ahead = np.where(ended[t], 0.0, following[t])
            error = rewards[t] + config.gamma * ahead - values[t]
            running = error + config.gamma * config.gae_lambda * np.where(ended[t] | cut[t], 0.0, running)
            advantages.insert(0, running)
        targets = torch.from_numpy(np.concatenate([a + v for a, v in zip(advantages, values, strict=True)])).float()
        advantage = torch.from_numpy(np.concatenate(advantages))
        advantage = ((advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)).float()
        inputs = {name: torch.cat([each[name] for each in inputs]) for name in inputs[0]}
        actions, log_probabilities = torch.cat(actions), torch.cat(log_probabilities)
        left = 1.0 - done_steps / config.steps
        share = config.final_learning_rate + (1.0 - config.final_learning_rate) * left
        optimiser.param_groups[0]["lr"] = config.learning_rate * share
        rng, count = np.random.default_rng([for_minibatches, done_steps]), len(actions)
        edges = np.linspace(0, count, max(1, count // config.minibatch) + 1).round().astype(int)
        for _ in range(config.epochs):
            order, divergences = torch.from_numpy(rng.permutation(count)), []
            for begin, end in pairwise(edges):
                rows = order[begin:end]
                scores, value = network(**{name: tensor[rows] for name, tensor in inputs.items()})
                log_softmax = torch.log_softmax(scores, 1)
                difference = log_softmax.gather(1, actions[rows, None])[:, 0] - log_probabilities[rows]
                entropy = -(log_softmax.exp() * log_softmax).sum(1)
                ratio = difference.exp()
                clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
                gain = torch.minimum(ratio * advantage[rows], clipped * advantage[rows])
                value_loss = (value[:, 0] - targets[rows]).square().mean()
                loss = config.value_weight * value_loss - gain.mean() - config.entropy_weight * entropy.mean()
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient)
                optimiser.step()
                divergences.append((ratio - 1 - difference).mean().detach())
            if float(torch.stack(divergences).mean()) > config.kl_stop:
                break
    return network.state_dict()


def cart_pole():
    source = Path(__file__).parents[2] / "benchmarks" / "cartpole.py"
    spec = importlib.util.spec_from_file_location("cartpole", source)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cartpole"] = module
    spec.loader.exec_module(module)
    return module.CartPoleProblem


PLAIN = PPOConfig(
    encoder="vector",
    network=NetworkSettings(hidden=(16, 16), dense=16),
    num_envs=16,
    rollout=16,
    steps=6 * 256,
    minibatch=60,
    learning_rate=3e-3,
    final_learning_rate=0.1,
    gamma=0.9,
    entropy_weight=0.01,
)


@pytest.mark.parametrize("kl_stop", [0.02, 1e-4])
@pytest.mark.parametrize("play_on", ["pick features", "pick vector", "cart"])
def test_without_costs_it_is_plain_ppo_to_the_last_bit(pick_problem, play_on, kl_stop):
    problem = cart_pole()(constrained=False) if play_on == "cart" else pick_problem
    changes = {"encoder": "features" if play_on == "pick features" else "vector", "kl_stop": kl_stop}
    config = PLAIN.model_copy(update=changes)
    trained = train(problem, config, QuietRun(seed=7))
    expected, found = plain_ppo(problem, config, 7), (trained.last or trained).network.state_dict()
    assert expected.keys() == found.keys()
    for name, weights in expected.items():
        assert torch.equal(weights, found[name]), name


def test_the_comparison_can_fail():
    """Other seeds give other weights, and so does a constraint that is violated."""

    def weights(seed, limit=None):
        problem = cart_pole()(constrained=limit is not None)
        problem.constraints = tuple(replace(constraint, limit=limit) for constraint in problem.constraints)
        trained = train(problem, PLAIN, QuietRun(seed=seed))
        return (trained.last or trained).weights()["actor.0.weight"]

    assert not np.array_equal(weights(7), weights(8))
    assert not np.array_equal(weights(7), weights(7, limit=-1.0))


# The same again ---------------------------------------------------------------------------------------------------


def imported(place):
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


LEARNERS = {
    info.name: info
    for info in vars(actor_critic).values()
    if isinstance(info, MethodInfo) and issubclass(imported(info.config), LearnerConfig)
}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_method_is_the_same_twice(name):
    problem = tabular_problem("garnet_2c", Highs(), evaluation={"validation_instances": 40})
    amounts = {"steps": 2000, "num_envs": 25, "rollout": 20, "least_episodes": 4, "network": {"hidden": (16,)}}
    config = imported(LEARNERS[name].config)(**amounts)
    runs, weights = (MemoryRun(seed=3), MemoryRun(seed=3)), []
    for run in runs:
        torch.manual_seed(len(weights))  # nothing may draw from the generator that all share
        np.random.seed(len(weights))  # noqa: NPY002
        weights.append(imported(LEARNERS[name].train)(problem, config, run).weights())
    assert runs[0].curves == runs[1].curves
    assert len(runs[0].curves) >= 4
    assert runs[0].warnings == runs[1].warnings
    assert all(np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])


# Identity ---------------------------------------------------------------------------------------------------------


class Identity(SmallEnvironment):
    """Earn 1 by naming the class that is seen; 100 steps, then cut off."""

    classes = 4
    action_space = spaces.Discrete(classes)
    length, width, terminates = 100, 1, False

    def drawn(self, rows):
        return np.floor(self.classes * self.chance(rows))[:, None]

    def begin(self, rows):
        return self.drawn(rows)

    def view(self):
        return {"vector": np.eye(self.classes, dtype=np.float32)[self.hidden[:, 0].astype(int)]}

    def move(self, action):
        reward = (np.asarray(action) == self.hidden[:, 0]).astype(float)
        self.time += 1
        self.hidden = self.drawn(np.arange(self.num_envs))
        self.time -= 1
        return reward, np.zeros((self.num_envs, 0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_identity_is_learned_in_1200_steps(seed):
    config = PPOConfig(
        steps=1200,
        num_envs=4,
        rollout=25,
        minibatch=25,
        epochs=10,
        learning_rate=2e-3,
        final_learning_rate=1.0,
        gamma=0.4,
        kl_stop=1.0,
        validate_every=10**9,
    )
    problem = small_problem(Identity, validation=2, rows=2)
    policy = train(problem, config, QuietRun(seed=seed))
    assert play(problem, policy.last or policy, split="test", count=20).objective.mean() > 90.0

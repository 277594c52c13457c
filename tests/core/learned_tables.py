"""Training tables on finite processes whose optimum is known, for the tests of all methods."""

import numpy as np
import pytest
import torch

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.actor_critic.rule import Batch
from interlock.core.actor_critic.trust_region import Neighbourhood
from interlock.core.errors import Interrupted
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy, describe
from interlock.core.networks import build_network
from interlock.core.tabular.problem import tabular_problem
from interlock.core.training import MemoryRun
from interlock.solvers.highs import Highs

torch.set_num_threads(1)


class QuietRun(MemoryRun):
    """Keeps no checkpoints."""

    def checkpoint_due(self):
        return False


def table_of(policy, states):
    """Probabilities ``(S, A)`` of a policy on one-hot states."""
    with torch.no_grad():
        parameters = policy.network(torch.eye(states))[0]
    return torch.softmax(parameters.double(), 1).numpy()


def assert_close_to_optimum(train, config, process, settings, *, gap, violation, seed=0):
    """Train a softmax table by sampling; the *last* policy, evaluated exactly, is close to the linear program's.

    ``gap`` is relative to the span of returns and counts on both sides; ``violation`` is relative to the limit.
    """
    problem = tabular_problem(process, Highs())
    cmdp, optimum = problem.cmdp, problem.optimum
    amounts = {"gamma": cmdp.gamma, "network": {"hidden": ()}, "randomised": True, "validate_every": 10**9}
    policy = train(problem, config(**amounts, **settings), QuietRun(seed=seed))
    value, costs = cmdp.evaluate(table_of(policy.last or policy, cmdp.states))
    low, high = cmdp.span()
    assert abs(optimum.value - value) / (high - low) <= gap
    assert np.all((costs - cmdp.limits) / np.abs(cmdp.limits) <= violation)


def assert_resumes(train, config, process="garnet_2c", **settings):
    """Stopped half-way and resumed, a training ends with the same bits and curves as without the stop."""
    problem = tabular_problem(process, Highs())
    amounts = {"num_envs": 64, "rollout": 16, "steps": 8 * 1024, "validate_every": 10**9, "gamma": problem.cmdp.gamma}
    made = config(**amounts, network={"hidden": (8,)}, **settings)
    whole = MemoryRun(seed=3)
    expected = train(problem, made, whole)
    halved = MemoryRun(seed=3, stop_after=5)
    with pytest.raises(Interrupted):
        train(problem, made, halved)
    halved.stop_after = None
    resumed = train(problem, made, halved)
    assert halved.curves == whole.curves
    for name, weights in expected.weights().items():
        assert np.array_equal(weights, resumed.weights()[name]), name


def exact_neighbourhood(logits, cmdp):
    """A softmax table ``(S, A)`` and its exact neighbourhood; changes are in the unit of returns and limits."""
    with torch.no_grad():
        old = torch.log_softmax(logits, 1)
    visits = torch.from_numpy(cmdp.occupancy(old.exp().numpy()).sum(1))
    advantages = torch.from_numpy(cmdp.advantages(old.exp().numpy())) * visits[:, None]
    share = visits / visits.sum()

    def look():
        new = torch.log_softmax(logits, 1)
        changes = ((new.exp() - old.exp()) * advantages).sum((1, 2))
        return changes, (share[:, None] * old.exp() * (old - new)).sum()

    return Neighbourhood([logits], look, lambda: look()[1])


def fresh_policy(process, hidden=(), seed=0):
    """A problem and an untrained policy for it."""
    problem = tabular_problem(process, Highs())
    environment = problem.environment(4, seed=0, split="train")
    observation = environment.reset()
    [(name, encoder)] = problem.encoders().items()
    head = build_head(environment.action_space, None)
    settings = NetworkSettings(hidden=hidden)
    network = build_network(encoder(observation), head, settings, seed, signals=1 + len(problem.constraints))
    return problem, NetworkPolicy(network, encoder, {"encoder": name, **describe(observation, encoder(observation))})


def random_batch(policy, m, seed=0, rows=64):
    """Decisions in random states, drawn from the policy, with random advantages and targets."""
    generator = torch.Generator().manual_seed(seed)
    width = policy.description["input_shapes"]["vector"][0]
    states = torch.eye(width)[torch.randint(width, (rows,), generator=generator)]
    with torch.no_grad():
        parameters = policy.network(vector=states)[0]
    actions = policy.head.sample(parameters, generator)
    advantages, targets = torch.randn(2, rows, 1 + m, generator=generator)
    return Batch(
        {"vector": states},
        actions,
        policy.head.log_probability(parameters, actions),
        advantages.double(),
        targets,
    )

"""Warm start by imitation: states are visited by teacher and student in turn, the teacher's action is the label."""

import numpy as np
import torch
from torch import nn

from interlock.core.actor_critic.config import ImitationSettings
from interlock.core.actor_critic.rollout import Rollout, collect, to_tensors
from interlock.core.environment import BatchEnvironment, Observation
from interlock.core.network_policy import NetworkPolicy
from interlock.core.policy import Policy

CHUNK = 64
"""Steps per row between fits."""


def imitate(
    policy: NetworkPolicy,
    teacher: Policy,
    environment: BatchEnvironment,
    observation: Observation,
    optimiser: torch.optim.Optimizer,
    settings: ImitationSettings,
    rng: np.random.Generator,
    *,
    gamma: float,
) -> Observation:
    """Play ``CHUNK`` steps per row, and train actor and critic on the teacher's actions and on the returns.

    Half of the environment rows follow the teacher, half the student as it learns, so that the states the student
    reaches by itself are labelled too.

    Args:
        policy: its network is trained in place.
        teacher: gives the labels.
        environment: what is played.
        observation: its current view.
        optimiser: of the network.
        settings: amounts.
        rng: of the minibatches.
        gamma: discount of the returns.

    Returns:
        The environment's view afterwards.
    """
    follow_teacher = np.arange(environment.num_envs) % 2 == 0
    labels: list[np.ndarray] = []

    def act(view: Observation) -> np.ndarray:
        labels.append(teacher.act(view))
        return np.where(follow_teacher, labels[-1], policy.act(view, deterministic=True))

    rollout, observation = collect(policy, environment, observation, CHUNK, act=act)
    returns = rollout.advantages(gamma=gamma, decay=1.0) + rollout.values
    _fit(policy.network, optimiser, rollout, np.stack(labels), returns, settings, rng)
    return observation


def _fit(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    rollout: Rollout,
    labels: np.ndarray,
    returns: np.ndarray,
    settings: ImitationSettings,
    rng: np.random.Generator,
) -> None:
    inputs, mask = rollout.flat_inputs()
    target = torch.from_numpy(labels.reshape(-1))
    value_target = to_tensors(returns.reshape(-1))
    for _ in range(settings.epochs):
        for batch in np.array_split(rng.permutation(len(target)), max(1, len(target) // settings.minibatch)):
            rows = torch.from_numpy(batch)
            scores, value = network(**{name: array[rows] for name, array in inputs.items()}, action_mask=mask[rows])
            loss = nn.functional.cross_entropy(scores, target[rows])
            loss = loss + 0.5 * (value - value_target[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()

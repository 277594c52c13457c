"""Warm start by imitation: states are visited by teacher and student in turn, the teacher's action is the label."""

import numpy as np
import torch
from torch import nn

from interlock.core.actor_critic.config import ImitationSettings, LearnerConfig
from interlock.core.actor_critic.learned_mask import judge
from interlock.core.actor_critic.rollout import View, collect
from interlock.core.actor_critic.rule import Batch
from interlock.core.actor_critic.signals import CostSignals
from interlock.core.environment import BatchEnvironment
from interlock.core.network_policy import NetworkPolicy
from interlock.core.policy import Policy

CHUNK = 64
"""Steps per row between fits."""


def imitate(
    policy: NetworkPolicy,
    teacher: Policy,
    environment: BatchEnvironment,
    view: View,
    signals: CostSignals,
    optimiser: torch.optim.Optimizer,
    config: LearnerConfig,
    rng: np.random.Generator,
) -> View:
    """Play ``CHUNK`` steps per row, and train actor and critics on the teacher's actions and on the returns.

    Half of the environment rows follow the teacher, half the student as it learns, so that the states the student
    reaches by itself are labelled too.

    Args:
        policy: its network is trained in place; discrete actions, no memory.
        teacher: gives the labels.
        environment: what is played.
        view: where play goes on.
        signals: of the costs.
        optimiser: of the network.
        config: amounts, and the discounts of the returns.
        rng: of the minibatches.

    Returns:
        The view afterwards.
    """
    follow_teacher = np.arange(environment.num_envs) % 2 == 0
    labels: list[np.ndarray] = []

    def act(now: View) -> np.ndarray:
        begun = np.flatnonzero(now.begun)
        if begun.size:
            teacher.reset(begun)
        labels.append(teacher.act(now.observation))
        return np.where(follow_teacher, labels[-1], policy.head.mode(policy.parameters(now.observation)).numpy())

    rollout, view = collect(policy, environment, view, CHUNK, signals, act=act)
    returns = rollout.batch(config.model_copy(update={"gae_lambda": 1.0, "cost_gae_lambda": 1.0}))
    labelled = Batch(
        returns.inputs,
        torch.from_numpy(np.stack(labels).reshape(-1)),
        returns.log_probability,
        returns.advantages,
        returns.targets,
    )
    _fit(policy, optimiser, labelled, config.imitation, rng)
    return view


def _fit(
    policy: NetworkPolicy,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    settings: ImitationSettings,
    rng: np.random.Generator,
) -> None:
    for _ in range(settings.epochs):
        for some in batch.minibatches(settings.minibatch, rng):
            judged = judge(policy.network, some.inputs)
            loss = judged.penalty - policy.head.log_probability(judged.parameters, some.actions).mean()
            loss = loss + 0.5 * (judged.values - some.targets).square().mean(0).sum()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.network.parameters(), 1.0)
            optimiser.step()

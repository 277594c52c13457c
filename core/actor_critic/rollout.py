"""Playing a policy in a batched environment and keeping what learning needs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.advantages import generalised_advantages
from interlock.core.actor_critic.config import LearnerConfig
from interlock.core.actor_critic.rule import Batch
from interlock.core.actor_critic.signals import CostSignals
from interlock.core.environment import Array, BatchEnvironment, Observation
from interlock.core.evaluation.protocol import check_step
from interlock.core.network_policy import NetworkPolicy


@dataclass(frozen=True, slots=True)
class View:
    """Where play goes on.

    Attributes:
        observation: the current view of the environment.
        memory: ``(n, width)`` what a recurrent network remembers; ``None`` without one.
        begun: ``(n,)`` 1 in rows whose episode has just begun, else 0.
        steps: per row since the environment was reset.
    """

    observation: Observation
    memory: Tensor | None
    begun: Array
    steps: int = 0

    @classmethod
    def start(cls, policy: NetworkPolicy, observation: Observation) -> "View":
        """The view of an environment that was just reset."""
        rows = len(next(iter(observation.values())))
        width = policy.network.memory
        return cls(observation, torch.zeros(rows, width) if width else None, np.ones(rows, np.float32))


@dataclass(frozen=True, slots=True)
class Rollout:
    """``T`` steps of ``n`` rows with ``m`` cost signals.

    Attributes:
        inputs: name -> ``(T, n, ...)`` inputs of the network, with ``action_mask`` where there is one.
        actions: ``(T, n, ...)`` raw actions.
        log_probabilities: ``(T, n)`` of the actions when they were drawn.
        signals: ``(T, n, 1 + m)`` rewards, then cost signals.
        values: ``(T, n, 1 + m)``.
        next_values: ``(T, n, 1 + m)`` values of the state that followed, see ``generalised_advantages``.
        terminated: bool ``(T, n)``.
        done: bool ``(T, n)``.
        memory: ``(n, width)`` before the first step, of a recurrent network.
        begun: ``(T, n)`` 1 where an episode begins, else 0.
    """

    inputs: dict[str, Array]
    actions: Array
    log_probabilities: Array
    signals: Array
    values: Array
    next_values: Array
    terminated: Array
    done: Array
    memory: Array | None
    begun: Array

    def advantages(self, *, gamma: float | Array, decay: float | Array) -> Array:
        """Generalised advantages of all signals, ``(T, n, 1 + m)``."""
        return generalised_advantages(
            self.signals, self.values, self.next_values, self.terminated, self.done, gamma=gamma, decay=decay
        )

    def batch(self, config: LearnerConfig) -> Batch:
        """Ready for learning, with time and rows merged; a recurrent network gets whole sequences of rows."""
        m = self.signals.shape[-1] - 1
        cost_gamma = config.gamma if config.cost_gamma is None else config.cost_gamma
        cost_decay = config.gae_lambda if config.cost_gae_lambda is None else config.cost_gae_lambda
        gamma = np.array([config.gamma] + [cost_gamma] * m)
        decay = np.array([config.gae_lambda] + [cost_decay] * m)
        advantages = self.advantages(gamma=gamma, decay=decay)
        inputs = {name: self._flat(array) for name, array in self.inputs.items()}
        if self.memory is not None:
            inputs |= {"memory": torch.from_numpy(self.memory), "start": self._flat(self.begun)}
        return Batch(
            inputs=inputs,
            actions=self._flat(self.actions),
            log_probability=self._flat(self.log_probabilities).float(),
            advantages=self._flat(advantages),
            targets=self._flat(advantages + self.values).float(),
            length=1 if self.memory is None else len(self.done),
        )

    def _flat(self, array: Array) -> Tensor:
        if self.memory is not None:
            array = np.ascontiguousarray(array.swapaxes(0, 1))
        return torch.from_numpy(array.reshape(-1, *array.shape[2:]))


def collect(
    policy: NetworkPolicy,
    environment: BatchEnvironment,
    view: View,
    length: int,
    signals: CostSignals,
    *,
    act: Callable[[View], Array] | None = None,
) -> tuple[Rollout, View]:
    """Play ``length`` steps.

    Args:
        policy: encodes, values and (without ``act``) draws the actions.
        environment: what is played.
        view: where play goes on.
        length: steps per row.
        signals: turns costs into signals, and measures the constraints.
        act: chooses the actions of the environment in the policy's place.

    Returns:
        The rollout and the view after it.

    Raises:
        BrokenEnvironment: a reward, cost or observation is not finite; names row, step and field.
    """
    n, width = environment.num_envs, 1 + len(signals.constraints)
    values, next_values, kept = (np.zeros((length, n, width)) for _ in range(3))
    chances, begun = np.zeros((length, n)), np.zeros((length, n), np.float32)
    terminated, done = np.zeros((length, n), np.bool_), np.zeros((length, n), np.bool_)
    raws: list[Array] = []
    inputs: dict[str, Array] = {}
    first = view.memory
    for t in range(length):
        arguments = _arguments(policy, view)
        for name, tensor in arguments.items():
            if name not in ("memory", "start"):
                array = tensor.numpy()
                if t == 0:
                    inputs[name] = np.empty((length, *array.shape), array.dtype)
                inputs[name][t] = array
        begun[t] = view.begun
        parameters, value, memory = _evaluate(policy, arguments)
        values[t] = value
        if act is None:
            with torch.inference_mode():
                raw = policy.head.sample(parameters, policy.generator)
                chances[t] = policy.head.log_probability(parameters, raw).numpy()
                action = policy.head.action(raw).numpy()
            raws.append(raw.numpy())
        else:
            action = act(view)
            raws.append(action)
        step = environment.step(action)
        check_step(step, view.steps + 1)
        terminated[t], done[t] = step.terminated, step.done
        kept[t, :, 0] = step.reward
        if width > 1:
            kept[t, :, 1:] = signals.step(step.cost, done[t])
        if t > 0:
            next_values[t - 1] = np.where(done[t - 1, :, None], next_values[t - 1], values[t])
        cut = step.truncated & ~step.terminated
        if cut.any():
            assert step.final_observation is not None, "a truncated row needs its final observation"
            rows = np.flatnonzero(cut)
            final = {name: array[rows] for name, array in step.final_observation.items()}
            kept_memory = None if memory is None else memory[torch.from_numpy(rows)]
            ending = View(final, kept_memory, np.zeros(len(rows), np.float32))
            next_values[t, rows] = _evaluate(policy, _arguments(policy, ending))[1]
        view = View(step.observation, memory, done[t].astype(np.float32), view.steps + 1)
    following = _evaluate(policy, _arguments(policy, view))[1]
    next_values[-1] = np.where(done[-1, :, None], next_values[-1], following)
    rollout = Rollout(
        inputs=inputs,
        actions=np.stack(raws),
        log_probabilities=chances,
        signals=kept,
        values=values,
        next_values=next_values,
        terminated=terminated,
        done=done,
        memory=None if first is None else first.numpy().copy(),
        begun=begun,
    )
    return rollout, view


def _arguments(policy: NetworkPolicy, view: View) -> dict[str, Tensor]:
    arguments = policy.inputs(view.observation)
    if view.memory is not None:
        arguments |= {"memory": view.memory, "start": torch.from_numpy(view.begun)}
    return arguments


def _evaluate(policy: NetworkPolicy, arguments: dict[str, Tensor]) -> tuple[Tensor, Array, Tensor | None]:
    """Parameters, values and memory of a batch, without gradients."""
    with torch.inference_mode():
        parameters, values, *memory = policy.network(**arguments)
    return parameters, values.numpy(), memory[0] if memory else None

"""Playing a policy in a batched environment and keeping what learning needs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.advantages import generalised_advantages
from interlock.core.environment import Array, BatchEnvironment, Observation
from interlock.core.network_policy import NetworkPolicy, gumbel


@dataclass(frozen=True, slots=True)
class Rollout:
    """``T`` steps of ``n`` rows.

    Attributes:
        inputs: name -> ``(T, n, ...)`` encoder outputs.
        masks: bool ``(T, n, A)``.
        actions: int64 ``(T, n)``.
        log_probabilities: ``(T, n)`` of the actions when they were drawn.
        rewards: ``(T, n)``.
        values: ``(T, n)``.
        next_values: ``(T, n)`` value of the state that followed, see ``generalised_advantages``.
        terminated: bool ``(T, n)``.
        done: bool ``(T, n)``.
    """

    inputs: dict[str, Array]
    masks: Array
    actions: Array
    log_probabilities: Array
    rewards: Array
    values: Array
    next_values: Array
    terminated: Array
    done: Array

    def advantages(self, *, gamma: float, decay: float) -> Array:
        """Generalised advantages of the rewards, ``(T, n)``."""
        return generalised_advantages(
            self.rewards, self.values, self.next_values, self.terminated, self.done, gamma=gamma, decay=decay
        )

    def flat_inputs(self) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs and masks with time and rows merged, as tensors."""
        inputs = {name: torch.from_numpy(array.reshape(-1, *array.shape[2:])) for name, array in self.inputs.items()}
        return inputs, torch.from_numpy(self.masks.reshape(-1, self.masks.shape[-1]))


def to_tensors(array: Array) -> Tensor:
    """A float32 tensor of an array."""
    return torch.from_numpy(np.asarray(array, np.float32))


def collect(
    policy: NetworkPolicy,
    environment: BatchEnvironment,
    observation: Observation,
    length: int,
    *,
    act: Callable[[Observation], Array] | None = None,
) -> tuple[Rollout, Observation]:
    """Play ``length`` steps.

    Args:
        policy: encodes, values and (without ``act``) draws the actions from its softmax.
        environment: what is played.
        observation: its current view.
        length: steps per row.
        act: chooses the actions in the policy's place.

    Returns:
        The rollout and the view after it.
    """
    n = environment.num_envs
    rewards, values, next_values, chances = (np.zeros((length, n)) for _ in range(4))
    terminated, done = np.zeros((length, n), np.bool_), np.zeros((length, n), np.bool_)
    actions = np.zeros((length, n), np.int64)
    inputs: dict[str, Array] = {}
    masks = np.zeros((length, *observation["action_mask"].shape), np.bool_)
    for t in range(length):
        encoded = policy.encoder(observation)
        for name, array in encoded.items():
            inputs.setdefault(name, np.empty((length, *array.shape), array.dtype))[t] = array
        masks[t] = observation["action_mask"]
        scores, values[t] = _evaluate(policy, encoded, masks[t])
        if act is None:
            drawn = gumbel(scores, policy.generator).argmax(1)
            log_probability = torch.log_softmax(scores, 1).gather(1, drawn[:, None])[:, 0]
            actions[t], chances[t] = drawn.numpy(), log_probability.numpy()
        else:
            actions[t] = act(observation)
        step = environment.step(actions[t])
        rewards[t], terminated[t], done[t] = step.reward, step.terminated, step.done
        if t > 0:
            next_values[t - 1] = np.where(done[t - 1], next_values[t - 1], values[t])
        cut = step.truncated & ~step.terminated
        if cut.any():
            assert step.final_observation is not None, "a truncated row needs its final observation"
            final = step.final_observation
            _, ending = _evaluate(policy, policy.encoder(final), np.asarray(final["action_mask"], np.bool_))
            next_values[t] = np.where(cut, ending, next_values[t])
        observation = step.observation
    _, following = _evaluate(policy, policy.encoder(observation), observation["action_mask"])
    next_values[-1] = np.where(done[-1], next_values[-1], following)
    rollout = Rollout(inputs, masks, actions, chances, rewards, values, next_values, terminated, done)
    return rollout, observation


def _evaluate(policy: NetworkPolicy, encoded: dict[str, Array], mask: Array) -> tuple[Tensor, Array]:
    """Scores and values of a batch, without gradients."""
    with torch.no_grad():
        scores, value = policy.network(
            **{name: torch.from_numpy(array) for name, array in encoded.items()}, action_mask=torch.from_numpy(mask)
        )
    return scores, value.numpy()

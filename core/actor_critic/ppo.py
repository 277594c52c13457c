"""Feasibility-mask actor-critic: proximal policy optimisation on exactly masked actions.

Schulman, Wolski, Dhariwal, Radford, Klimov 2017 with the mask in the softmax, as in Zhao et al., AAAI 2021, but with
the environment's exact mask: infeasible actions have probability zero when acting and when learning. Entropy is taken
over the feasible actions. The best policy on the validation instances is returned.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from interlock.core.actor_critic.config import MaskPPOConfig
from interlock.core.actor_critic.imitation import CHUNK, imitate
from interlock.core.actor_critic.rollout import Rollout, collect, to_tensors
from interlock.core.environment import Array, BatchEnvironment
from interlock.core.errors import Interrupted, UsageError
from interlock.core.evaluation.protocol import play
from interlock.core.network_policy import NetworkPolicy
from interlock.core.networks import build_network
from interlock.core.policy import choose_encoder
from interlock.core.problem import Problem
from interlock.core.training import Checkpoint, Run


def train(problem: Problem, config: MaskPPOConfig, run: Run) -> NetworkPolicy:
    """Train, and return the policy that did best on the validation instances.

    Raises:
        Interrupted: the user stopped the run; a checkpoint is kept.
        UsageError: the teacher or the encoder is unknown, or actions are not discrete.
    """
    torch.set_num_threads(1)
    seeds = np.random.SeedSequence(run.seed).generate_state(4)
    environment = problem.environment(config.num_envs, seed=int(seeds[0]), split="train")
    observation = environment.reset()
    policy = _new_policy(problem, config, run, observation, int(seeds[1]))
    policy.seed(int(seeds[2]))
    for name in (constraint.name for constraint in problem.constraints if constraint.kind != "hard"):
        run.warn(f"mask_ppo maximises the objective only: constraint {name} is measured, not enforced")
    best = _Best(problem, policy)
    teacher = None if config.imitation.teacher is None else _teacher(problem, config.imitation.teacher)
    chunk_steps = config.num_envs * CHUNK
    chunks = 0 if teacher is None else max(1, config.imitation.steps // chunk_steps)
    chunk, done, next_validation, validated = 0, 0, 0, None
    checkpoint = run.resume()
    if checkpoint is not None:
        meta = checkpoint.meta
        chunk, done, next_validation, validated = (
            meta[name] for name in ("chunk", "steps", "next_validation", "validated")
        )
        observation = environment.restore(_part(checkpoint.arrays, "environment/"))
    optimiser = _optimiser(policy, config, warming=chunk < chunks)
    if checkpoint is not None:
        _load_state(checkpoint, policy, optimiser, best)
    while True:
        warming = chunk < chunks
        last = done >= config.steps or run.out_of_time()
        position = chunk * chunk_steps + done
        due = not warming and done >= next_validation
        if validated != position and (due or last):
            value = best.validate()
            run.log(done, {"eval/objective": value, "eval/best": best.value})
            validated = position
            next_validation = done + config.validate_every if due else next_validation
        stopped = run.interrupted()
        if stopped or last or run.checkpoint_due():
            counters = {"chunk": chunk, "steps": done, "next_validation": next_validation, "validated": validated}
            _save(run, counters, policy, optimiser, best, environment)
        if stopped:
            raise Interrupted(f"stopped after {done} of {config.steps} environment steps")
        if last:
            return best.policy()
        if warming:
            assert teacher is not None
            rng = np.random.default_rng([int(seeds[3]), 2**31 + chunk])
            observation = imitate(
                policy, teacher, environment, observation, optimiser, config.imitation, rng, gamma=config.gamma
            )
            chunk += 1
            if chunk == chunks:
                optimiser = _optimiser(policy, config, warming=False)
        else:
            share = 1.0 - (1.0 - config.final_learning_rate) * done / config.steps
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * share
            rollout, observation = collect(policy, environment, observation, config.rollout)
            figures = update(policy.network, optimiser, rollout, config, np.random.default_rng([int(seeds[3]), done]))
            done += config.num_envs * config.rollout
            run.log(done, {"train/reward_per_step": float(rollout.rewards.mean()), **figures})
        run.progress(chunk * chunk_steps + done, chunks * chunk_steps + config.steps, **best.shown())


def update(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    rollout: Rollout,
    config: MaskPPOConfig,
    rng: np.random.Generator,
) -> dict[str, float]:
    """One round of clipped policy and value steps on a rollout; returns figures for the curves."""
    advantages = rollout.advantages(gamma=config.gamma, decay=config.gae_lambda)
    inputs, mask = rollout.flat_inputs()
    actions = torch.from_numpy(rollout.actions.reshape(-1))
    old = to_tensors(rollout.log_probabilities.reshape(-1))
    target = to_tensors((advantages + rollout.values).reshape(-1))
    advantage = to_tensors(((advantages - advantages.mean()) / (advantages.std() + 1e-8)).reshape(-1))
    losses, entropies, divergence = [], [], 0.0
    for _ in range(config.epochs):
        divergences = []
        for batch in np.array_split(rng.permutation(len(actions)), max(1, len(actions) // config.minibatch)):
            rows = torch.from_numpy(batch)
            scores, value = network(**{name: array[rows] for name, array in inputs.items()}, action_mask=mask[rows])
            log_softmax = torch.log_softmax(scores, 1)
            log_probability = log_softmax.gather(1, actions[rows, None])[:, 0]
            difference = log_probability - old[rows]
            ratio = difference.exp()
            gain = torch.minimum(
                ratio * advantage[rows], ratio.clamp(1 - config.clip, 1 + config.clip) * advantage[rows]
            ).mean()
            entropy = -(log_softmax.exp() * log_softmax).sum(1).mean()
            value_loss = (value - target[rows]).square().mean()
            optimiser.zero_grad()
            (-gain + config.value_weight * value_loss - config.entropy_weight * entropy).backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient)
            optimiser.step()
            losses.append(float(value_loss.detach()))
            entropies.append(float(entropy.detach()))
            divergences.append(float((ratio - 1 - difference).detach().mean()))
        divergence = float(np.mean(divergences))
        if divergence > config.kl_stop:
            break
    return {
        "train/value_loss": float(np.mean(losses)),
        "train/entropy": float(np.mean(entropies)),
        "train/divergence": divergence,
    }


class _Best:
    """The weights that did best on the validation instances so far."""

    def __init__(self, problem: Problem, policy: NetworkPolicy):
        self.problem, self.current = problem, policy
        self.sign = 1.0 if problem.objective.sense == "maximise" else -1.0
        self.value = -self.sign * np.inf
        self.weights = _weights(policy.network)

    def validate(self) -> float:
        """Play the validation instances; keep the weights if they do better than any before."""
        value = float(play(self.problem, self.current, split="validation").objective.mean())
        if self.sign * value > self.sign * self.value:
            self.value, self.weights = value, _weights(self.current.network)
        return value

    def shown(self) -> dict[str, float]:
        """The best value, once there is one."""
        return {"best": self.value} if np.isfinite(self.value) else {}

    def policy(self) -> NetworkPolicy:
        """The policy with the best weights."""
        self.current.network.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in self.weights.items()})
        return self.current


def _new_policy(problem: Problem, config: MaskPPOConfig, run: Run, observation: Any, seed: int) -> NetworkPolicy:
    encoder_name, encoder = choose_encoder(problem, config.encoder)
    if "action_mask" not in observation:
        raise UsageError("mask_ppo needs discrete actions and an action_mask in the observation")
    example = encoder(observation)
    actions = int(observation["action_mask"].shape[1])
    description = {
        "method": "mask_ppo",
        "encoder": encoder_name,
        "network": config.network.model_dump(mode="json"),
        "input_shapes": {name: list(array.shape[1:]) for name, array in example.items()},
        "actions": actions,
        "scenario_hash": problem.scenario.hash(),
        "signature": problem.scenario.signature(),
        "seed": run.seed,
    }
    return NetworkPolicy(build_network(example, actions, config.network, seed), encoder, description)


def _optimiser(policy: NetworkPolicy, config: MaskPPOConfig, *, warming: bool) -> torch.optim.Optimizer:
    """A fresh Adam for the warm start or for what follows it."""
    rate = config.imitation.learning_rate if warming else config.learning_rate
    return torch.optim.Adam(policy.network.parameters(), lr=rate, eps=1e-5)


def _teacher(problem: Problem, name: str) -> Any:
    baselines = problem.baselines()
    if name not in baselines:
        raise UsageError(f"no baseline {name!r} to imitate; this problem has {sorted(baselines)}")
    return baselines[name](0)


def _weights(network: nn.Module) -> dict[str, Array]:
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def _part(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _save(
    run: Run,
    counters: Mapping[str, Any],
    policy: NetworkPolicy,
    optimiser: torch.optim.Optimizer,
    best: "_Best",
    environment: BatchEnvironment,
) -> None:
    """Checkpoint weights, best weights, optimiser moments, generator state and environment."""
    arrays: dict[str, Array] = {f"weights/{name}": array for name, array in _weights(policy.network).items()}
    arrays |= {f"best/{name}": array for name, array in best.weights.items()}
    arrays |= {f"environment/{name}": array for name, array in environment.state().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        arrays |= {f"optimiser/{index}/{name}": tensor.numpy().copy() for name, tensor in moments.items()}
    arrays["generator"] = policy.generator.get_state().numpy().copy()
    run.checkpoint(arrays, {**counters, **best.shown()})


def _load_state(checkpoint: Checkpoint, policy: NetworkPolicy, optimiser: torch.optim.Optimizer, best: _Best) -> None:
    """Go on exactly where ``_save`` was called."""
    arrays = checkpoint.arrays
    weights = {name: torch.from_numpy(array.copy()) for name, array in _part(arrays, "weights/").items()}
    policy.network.load_state_dict(weights)
    best.weights = _part(arrays, "best/")
    if "best" in checkpoint.meta:
        best.value = float(checkpoint.meta["best"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in _part(arrays, "optimiser/").items():
        index, name = key.split("/")
        moments.setdefault(int(index), {})[name] = torch.from_numpy(np.array(array))
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    policy.generator.set_state(torch.from_numpy(arrays["generator"].copy()))

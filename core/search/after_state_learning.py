"""Learning the values of after-states by temporal differences.

Play and learning alternate. In a round every row of the environment plays some decisions: the best by the values so
far, now and then a random one. Each after-state then gets a target: the lambda-return of what followed it, cut at
random decisions, where it continues with the value of the best one (Watkins, "Learning from delayed rewards", 1989).
The value is fitted to the targets of the latest rounds; the average of the weights over the past steps plays the
validation instances from time to time, and the best of these averages is returned.

The policy is the core's scorer of action features: a left-out action scores very low, the known reward counts as it
is, and the rest is the value. So it is saved, loaded and exported like any other network.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.environment import Array, BatchEnvironment, Observation
from interlock.core.errors import Interrupted, UsageError
from interlock.core.evaluation.protocol import run_instances
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy, describe
from interlock.core.networks import ScorerActorCritic, build_network
from interlock.core.policy import Encoder, Policy, choose_encoder, masked_argmax
from interlock.core.problem import Problem
from interlock.core.search.after_state import METHOD, AfterStateConfig
from interlock.core.training import Checkpoint, Run

LEFT_OUT, REWARD, DESCRIPTION = 0, 1, 2
"""Columns of the encoder's action features: 1 if left out, the known reward, and all that describes the after-state."""

_LOW_SCORE = -1e4  # of a left-out action


class Values:
    """The value of after-states inside a scorer network, on standardised features.

    Args:
        network: the scorer; its weights on the first two columns are fixed, and the critic is not used.
    """

    def __init__(self, network: ScorerActorCritic):
        self.network = network
        first = network.actor[0]
        assert isinstance(first, nn.Linear)
        self.first, self.rest = first, network.actor[1:]
        features = network.linear.in_features - DESCRIPTION
        self.shift, self.scale = torch.zeros(features), torch.ones(features)
        with torch.no_grad():
            network.linear.weight.zero_()
            first.weight[:, :DESCRIPTION] = 0.0
        self.parameters = [network.linear.weight, network.linear.bias, *network.actor.parameters()]

    def start_from(self, described: Tensor, targets: Tensor) -> None:
        """Standardise by these after-states, and start from the mean target."""
        self.shift, self.scale = described.mean(0), described.std(0) + 0.02
        with torch.no_grad():
            self.network.linear.bias.fill_(float(targets.mean()))

    def __call__(self, described: Tensor) -> Tensor:
        """Values ``(n,)`` of after-states ``(n, F)``."""
        standard = (described - self.shift) / self.scale
        linear = self.network.linear
        hidden = nn.functional.linear(standard, self.first.weight[:, DESCRIPTION:], self.first.bias)
        values: Tensor = self.rest(hidden)
        values = values + nn.functional.linear(standard, linear.weight[:, DESCRIPTION:], linear.bias)
        return values[:, 0]

    def weights(self) -> dict[str, Array]:
        """Weights of a scorer of raw features: standardisation folded in, first columns set."""
        raw = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        for name in ("linear", "actor.0"):
            inner = raw[f"{name}.weight"][:, DESCRIPTION:]
            inner /= self.scale
            raw[f"{name}.bias"] -= inner @ self.shift
        raw["linear.weight"][0, LEFT_OUT], raw["linear.weight"][0, REWARD] = _LOW_SCORE, 1.0
        return {name: tensor.numpy() for name, tensor in raw.items()}


class _Memory:
    """The latest after-states with their targets."""

    def __init__(self, size: int, features: int):
        self.described = np.zeros((size, features), np.float16)
        self.targets = np.zeros(size, np.float32)
        self.count = self.next = 0

    def add(self, described: Array, targets: Array) -> None:
        """Store, replacing the oldest."""
        size = len(self.targets)
        described, targets = described[-size:], targets[-size:]
        places = (self.next + np.arange(len(targets))) % size
        self.described[places], self.targets[places] = described, targets
        self.next = int((self.next + len(targets)) % size)
        self.count = min(size, self.count + len(targets))

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Random after-states and targets."""
        picked = rng.integers(0, self.count, count)
        return torch.from_numpy(self.described[picked].astype(np.float32)), torch.from_numpy(self.targets[picked])


class _Play:
    """One training environment, what it shows now, and how good the actions look."""

    def __init__(self, environment: BatchEnvironment, encoder: Encoder, config: AfterStateConfig):
        self.environment, self.encoder, self.config = environment, encoder, config
        self.show(environment.reset())

    def show(self, observation: Observation) -> None:
        """Take note of the current view."""
        self.observation = observation
        self.features = self.encoder(observation)["action_features"]
        self.candidates = self.features[..., LEFT_OUT] == 0

    def scores(self, values: Values) -> Array:
        """``(n, A)`` known reward plus value of each candidate, very low for other actions."""
        scores = np.full(self.candidates.shape, _LOW_SCORE, np.float32)
        packed = self.features[self.candidates]
        with torch.inference_mode():
            found = values(torch.from_numpy(packed[:, DESCRIPTION:])).numpy()
        scores[self.candidates] = packed[:, REWARD] + found
        return scores

    def round(self, values: Values | None, teacher: Policy | None, rng: np.random.Generator) -> tuple[Array, Array]:
        """Play one round by the values, or without them by the teacher or at random.

        Returns:
            described after-states ``(m, F)`` and their targets ``(m,)``.
        """
        rows, steps = self.environment.num_envs, self.config.steps
        every = np.arange(rows)
        described = np.empty((steps, rows, self.features.shape[-1] - DESCRIPTION), np.float16)
        reward, best = np.zeros((steps, rows)), np.zeros((steps + 1, rows))
        over, explored = np.zeros((steps, rows), np.bool_), np.zeros((steps, rows), np.bool_)
        for k in range(steps):
            drawn = masked_argmax(rng.random(self.candidates.shape), self.candidates)
            if values is not None:
                scores = self.scores(values)
                action = scores.argmax(axis=1)
                best[k] = scores[every, action]
            else:
                action = drawn if teacher is None else teacher.act(self.observation)
            random = rng.random(rows) < self.config.exploration
            explored[k] = random & (drawn != action)
            action = np.where(random | ~self.candidates[every, action], drawn, action)
            described[k] = self.features[every, action, DESCRIPTION:]
            step = self.environment.step(action)
            reward[k], over[k] = step.reward, step.done
            self.show(step.observation)
        if values is not None:
            best[steps] = self.scores(values).max(axis=1)
            targets = lambda_returns(reward, best, over, explored, self.config.trace, self.config.discount)
            return described.reshape(rows * steps, -1), targets.reshape(-1)
        targets = lambda_returns(reward, best, over, np.zeros_like(explored), 1.0, self.config.discount)
        finished = over[::-1].cumsum(axis=0)[::-1] > 0
        return described[finished], targets[finished]


def lambda_returns(reward: Array, best: Array, over: Array, explored: Array, trace: float, discount: float) -> Array:
    """Targets of the after-states of a stretch of play.

    The after-state of decision ``k`` is worth nothing if the episode ends there. Else it is worth, discounted,
    ``(1 - trace) best[k + 1] + trace (reward[k + 1] + target[k + 1])``, or ``best[k + 1]`` alone where decision
    ``k + 1`` was drawn at random or lies beyond the stretch.

    Args:
        reward: ``(T, n)`` of each decision.
        best: ``(T + 1, n)`` known reward plus value of the best action before each decision, and after the last.
        over: bool ``(T, n)``, whether the episode ended with the decision.
        explored: bool ``(T, n)``, whether the decision was drawn at random and is not the best one.
        trace: lambda.
        discount: of what follows.

    Returns:
        float32 ``(T, n)``.
    """
    targets = np.zeros(reward.shape, np.float32)
    following = best[-1]
    for k in range(len(reward) - 1, -1, -1):
        targets[k] = np.where(over[k], 0.0, discount * following)
        mixed = (1.0 - trace) * best[k] + trace * (reward[k] + targets[k])
        following = np.where(explored[k], best[k], mixed)
    return targets


def _validated(policy: NetworkPolicy, environment: BatchEnvironment, problem: Problem) -> float:
    """Mean objective on the validation instances, larger is better."""
    count, objective = problem.scenario.evaluation.validation_instances, problem.objective
    outcomes = run_instances(environment, policy, count, per_reward=objective.per_reward)
    return (1.0 if objective.sense == "maximise" else -1.0) * float(outcomes.objective.mean())


def _untrained(problem: Problem, config: AfterStateConfig, play: _Play, encoder_name: str, seed: int) -> NetworkPolicy:
    """A policy whose value knows nothing yet."""
    head = build_head(play.environment.action_space, "categorical")
    settings = NetworkSettings(hidden=config.hidden, dense=1)
    example = {"action_features": play.features}
    network = build_network(example, head, settings, seed)
    return NetworkPolicy(
        network,
        play.encoder,
        {
            "method": METHOD.name,
            "scenario_hash": problem.scenario.hash(),
            "signature": problem.scenario.signature(),
            "seed": seed,
            "encoder": encoder_name,
            "network": settings.model_dump(mode="json"),
            "head": "categorical",
            "head_options": {},
            "signals": 1,
            "randomised": False,
            **describe(play.observation, example),
        },
    )


class _Learner:
    """The value, its optimiser and its average, which can be written down and taken up again."""

    def __init__(self, network: Any, config: AfterStateConfig):
        self.config = config
        self.values = Values(network)
        self.adam = torch.optim.Adam(self.values.parameters, lr=config.learning_rate)
        self.average = [parameter.detach().clone() for parameter in self.values.parameters]
        self.updates = 0

    def learn(self, memory: _Memory, share: float, rng: np.random.Generator) -> float:
        """One round of gradient steps; ``share`` of the training is behind us. Returns the mean squared error."""
        config = self.config
        decay = min(1.0, 1.5 * (1.0 - share))
        self.adam.param_groups[0]["lr"] = config.learning_rate * max(config.final_learning_rate, decay)
        total = 0.0
        for _ in range(config.batches):
            described, targets = memory.draw(rng, config.batch_size)
            loss = torch.mean((self.values(described) - targets) ** 2)
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
            total += loss.item()
            self.updates += 1
            kept = min(config.averaging, 1.0 - 1.0 / (self.updates + 1))
            with torch.no_grad():
                for average, parameter in zip(self.average, self.values.parameters, strict=True):
                    average.lerp_(parameter, 1.0 - kept)
        return total / config.batches

    def averaged(self) -> dict[str, Array]:
        """Weights of a scorer with the averaged value."""
        now = [parameter.detach().clone() for parameter in self.values.parameters]
        self._set(self.average)
        weights = self.values.weights()
        self._set(now)
        return weights

    def _set(self, weights: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self.values.parameters, weights, strict=True):
                parameter.copy_(weight)

    def arrays(self) -> dict[str, Array]:
        """Everything needed to go on."""
        arrays = {"learner/shift": self.values.shift.numpy(), "learner/scale": self.values.scale.numpy()}
        for k, parameter in enumerate(self.values.parameters):
            moments = self.adam.state[parameter]
            arrays[f"learner/{k}/now"] = parameter.detach().numpy().copy()
            arrays[f"learner/{k}/average"] = self.average[k].numpy().copy()
            arrays[f"learner/{k}/first"] = moments["exp_avg"].numpy().copy()
            arrays[f"learner/{k}/second"] = moments["exp_avg_sq"].numpy().copy()
        return arrays

    def restore(self, arrays: Mapping[str, Array], updates: int) -> None:
        """Go on from what ``arrays`` gave."""

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(np.array(arrays[f"learner/{name}"]))

        self.updates = updates
        self.values.shift, self.values.scale = tensor("shift"), tensor("scale")
        count = range(len(self.average))
        self._set([tensor(f"{k}/now") for k in count])
        self.average = [tensor(f"{k}/average") for k in count]
        for k, parameter in enumerate(self.values.parameters):
            self.adam.state[parameter] = {
                "step": torch.tensor(float(updates)),
                "exp_avg": tensor(f"{k}/first"),
                "exp_avg_sq": tensor(f"{k}/second"),
            }


def train(problem: Problem, config: AfterStateConfig, run: Run) -> NetworkPolicy:
    """Learn the values, and return the policy whose averaged value does best on the validation instances.

    Raises:
        Interrupted: the user stopped the run; a checkpoint of the last complete round is kept.
        UsageError: the encoder or the teacher is unknown, or rounds are too short for an episode to end.
    """
    evaluation, baselines = problem.scenario.evaluation, problem.baselines()
    encoder_name, encoder = choose_encoder(problem, config.encoder)
    if config.teacher is not None and config.teacher not in baselines:
        raise UsageError(f"no baseline {config.teacher!r} to learn from; this problem has {', '.join(baselines)}")
    teacher = None if config.teacher is None else baselines[config.teacher](run.seed)
    play = _Play(problem.environment(config.num_envs, seed=run.seed, split="train"), encoder, config)
    validation = problem.environment(
        min(evaluation.num_envs, evaluation.validation_instances), seed=evaluation.validation_seed, split="validation"
    )
    policy = _untrained(problem, config, play, encoder_name, run.seed)
    learner = _Learner(policy.network, config)
    memory = _Memory(config.memory, play.features.shape[-1] - DESCRIPTION)
    best: dict[str, Array] = {}
    done, best_value = 0, -np.inf
    checkpoint = run.resume()
    if checkpoint is not None:
        done, best_value, best = _take_up(checkpoint, learner, memory, play)
    sign = 1.0 if problem.objective.sense == "maximise" else -1.0
    last = done == config.rounds
    while not last:
        if run.interrupted():
            if done:
                _write_down(run, learner, memory, play, best, done, best_value)
            raise Interrupted(f"stopped after round {done} of {config.rounds}")
        rng = np.random.default_rng([run.seed, done])
        described, targets = play.round(learner.values if done else None, teacher, rng)
        if not len(targets):
            raise UsageError(f"no episode ended within the {config.steps} decisions of a round: give more `steps`")
        if done == 0:
            learner.values.start_from(torch.from_numpy(described.astype(np.float32)), torch.from_numpy(targets))
        memory.add(described, targets)
        done += 1
        loss = learner.learn(memory, max(done / config.rounds, run.budget_share()), rng)
        figures = {"train/loss": loss, "train/target": float(targets.mean())}
        last = done == config.rounds or run.out_of_time()
        if last or done % config.validate_every == 0:
            weights = learner.averaged()
            value = _validated(policy.with_weights(weights), validation, problem)
            if value > best_value:
                best_value, best = value, weights
            figures |= {"eval/objective": sign * value, "eval/best": sign * best_value}
        run.log(done * config.steps * config.num_envs, figures)
        run.progress(done, config.rounds, best=sign * best_value)
        if run.checkpoint_due():
            _write_down(run, learner, memory, play, best, done, best_value)
    return policy.with_weights(best)


def _write_down(
    run: Run, learner: _Learner, memory: _Memory, play: _Play, best: dict[str, Array], done: int, best_value: float
) -> None:
    """Store a checkpoint."""
    arrays: dict[str, Array] = {
        "memory/described": memory.described[: memory.count],
        "memory/targets": memory.targets[: memory.count],
        **learner.arrays(),
        **{f"best/{name}": array for name, array in best.items()},
        **{f"environment/{name}": array for name, array in play.environment.state().items()},
    }
    meta = {
        "done": done,
        "updates": learner.updates,
        "memory_next": memory.next,
        "best_value": best_value if best else None,
    }
    run.checkpoint(arrays, meta)


def _take_up(
    checkpoint: Checkpoint, learner: _Learner, memory: _Memory, play: _Play
) -> tuple[int, float, dict[str, Array]]:
    """Go on from a checkpoint: rounds done, best validated value and its weights."""
    arrays, meta = checkpoint.arrays, checkpoint.meta

    def part(prefix: str) -> dict[str, Array]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    learner.restore(arrays, int(meta["updates"]))
    memory.count, memory.next = len(arrays["memory/targets"]), int(meta["memory_next"])
    memory.described[: memory.count] = arrays["memory/described"]
    memory.targets[: memory.count] = arrays["memory/targets"]
    play.show(play.environment.restore(part("environment/")))
    best_value: Any = meta["best_value"]
    return int(meta["done"]), -np.inf if best_value is None else float(best_value), part("best/")

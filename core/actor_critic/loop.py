"""The loop that all actor-critic methods share: warm start, play, measure, learn, validate, checkpoint.

A method supplies its rule (``interlock.core.actor_critic.rule.Rule``) and nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from interlock.core.actor_critic.config import LearnerConfig
from interlock.core.actor_critic.imitation import CHUNK, imitate
from interlock.core.actor_critic.learned_mask import build_actor_critic
from interlock.core.actor_critic.reach import Reach
from interlock.core.actor_critic.rollout import View, collect
from interlock.core.actor_critic.rule import Rule
from interlock.core.actor_critic.selection import Selection
from interlock.core.actor_critic.signals import CostSignals
from interlock.core.actor_critic.steps import optimiser_state, part, prefixed, restore_optimiser
from interlock.core.environment import Array, BatchEnvironment, Observation
from interlock.core.errors import Diverged, Interrupted, UsageError
from interlock.core.evaluation.protocol import check_finite
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy, describe
from interlock.core.policy import Policy, choose_encoder
from interlock.core.problem import Constraint, Problem
from interlock.core.training import Run

MakeRule = Callable[[NetworkPolicy, Sequence[Constraint]], Rule]
"""From a fresh policy and the constraints that learning can reach to the rule of a method."""


def learn(problem: Problem, config: LearnerConfig, run: Run, make_rule: MakeRule, *, method: str) -> NetworkPolicy:
    """Train with a rule, and return the policy that did best on the validation instances.

    Args:
        problem: what is learned.
        config: amounts, network, and the rule's own settings.
        run: budget, progress, curves, checkpoints.
        make_rule: builds the rule.
        method: its name, written beside the weights.

    Raises:
        Interrupted: the user stopped the run; a checkpoint is kept.
        UsageError: the teacher, the encoder or the head is unknown or does not fit.
        BrokenEnvironment: a reward, cost or observation is not finite.
        Diverged: losses are not finite.
    """
    torch.set_num_threads(1)
    if config.network.mask_head is not None and method != "ppo_lagrangian":
        raise UsageError(f"network.mask_head: {method} does not train a predicted mask; ppo_lagrangian does")
    training = _Training(problem, config, run, make_rule, method)
    checkpoint = run.resume()
    if checkpoint is not None:
        training.restore(dict(checkpoint.arrays), dict(checkpoint.meta))
    while True:
        last = training.done >= config.steps or run.out_of_time()
        training.validate_if_due(last)
        stopped = run.interrupted()
        if stopped or last or run.checkpoint_due():
            run.checkpoint(*training.state())
        if stopped:
            raise Interrupted(f"stopped after {training.done} of {config.steps} environment steps")
        if last:
            for message in training.reach.verdict():
                run.warn(message)
            return training.selection.chosen()
        training.advance()
        run.progress(training.position, training.total, **training.selection.shown())


class _Training:
    """Everything that changes while training goes on."""

    def __init__(self, problem: Problem, config: LearnerConfig, run: Run, make_rule: MakeRule, method: str):
        self.problem, self.config, self.run = problem, config, run
        self.seeds = [int(seed) for seed in np.random.SeedSequence(run.seed).generate_state(4)]
        self.environment = problem.environment(config.num_envs, seed=self.seeds[0], split="train")
        observation = self.environment.reset()
        check_finite(observation, 0)
        self.signals = CostSignals(
            problem.constraints,
            config.num_envs,
            least_episodes=config.least_episodes,
            floor=config.limit_floor,
            margin=config.margin,
        )
        constraints = self.signals.constraints
        self.policy = _new_policy(problem, config, self.environment, observation, self.seeds[1], costs=len(constraints))
        self.policy.description |= {"method": method, "seed": run.seed}
        self.policy.seed(self.seeds[2])
        self.view = View.start(self.policy, observation)
        self.selection = Selection(problem, self.policy, config.limit_floor)
        self.reach = Reach(constraints, config.limit_floor)
        self.rule = make_rule(self.policy, constraints)
        self.teacher = _teacher(problem, config, self.policy)
        self.chunk_steps = config.num_envs * CHUNK
        self.chunks = 0 if self.teacher is None else max(1, config.imitation.steps // self.chunk_steps)
        self.chunk = self.done = self.next_validation = 0
        self.validated: int | None = None
        rate = config.imitation.learning_rate
        self.warmer = torch.optim.Adam(self.policy.network.parameters(), lr=rate, eps=1e-5)

    @property
    def position(self) -> int:
        """Environment steps so far, warm start included."""
        return self.chunk * self.chunk_steps + self.done

    @property
    def total(self) -> int:
        """Environment steps in all."""
        return self.chunks * self.chunk_steps + self.config.steps

    def advance(self) -> None:
        """One chunk of the warm start, or one rollout and the step of the rule."""
        if self.chunk < self.chunks:
            assert self.teacher is not None
            rng = np.random.default_rng([self.seeds[3], 2**31 + self.chunk])
            self.teacher.reset()
            self.teacher.seed(int(rng.integers(2**31)))
            self.view = imitate(
                self.policy, self.teacher, self.environment, self.view, self.signals, self.warmer, self.config, rng
            )
            self.chunk += 1
            if self.chunk == self.chunks:
                self.signals.forget_finished()
            return
        config = self.config
        left = 1.0 - self.done / config.steps
        rollout, self.view = collect(self.policy, self.environment, self.view, config.rollout, self.signals)
        estimate = self.signals.estimate()
        rng = np.random.default_rng([self.seeds[3], self.done])
        figures = self.rule.update(self.policy, rollout.batch(config), estimate, left, rng)
        broken = [name for name, value in figures.items() if not np.isfinite(value)]
        if broken:
            raise Diverged(
                f"training diverged after {self.done} steps: {', '.join(broken)} not finite; "
                "try a smaller learning_rate or max_gradient"
            )
        self.done += config.num_envs * config.rollout
        for message in self.rule.warnings():
            self.run.warn(message)
        self.reach.follow(estimate)
        if estimate is not None:
            names = [constraint.name for constraint in self.signals.constraints]
            figures |= {f"constraint/{name}/mean": float(v) for name, v in zip(names, estimate.value, strict=True)}
        elif self.signals.constraints:
            figures["constraint/skipped_updates"] = float(self.reach.skipped)
        self.run.log(self.done, {"train/reward_per_step": float(rollout.signals[..., 0].mean()), **figures})

    def validate_if_due(self, last: bool) -> None:
        """Validate at the end, and every so many steps after the warm start; never twice in one place."""
        due = self.chunk == self.chunks and self.done >= self.next_validation
        if self.validated == self.position or not (due or last):
            return
        self.run.log(self.done, self.selection.validate())
        self.validated = self.position
        if due:
            self.next_validation = self.done + self.config.validate_every

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights, best weights, moments, multipliers, random generator and environment; counters."""
        best_weights, best = self.selection.state()
        arrays = {
            **prefixed("weights/", self.policy.weights()),
            **prefixed("best/", best_weights),
            **prefixed("rule/", self.rule.state()),
            **prefixed("warmer/", optimiser_state(self.warmer)),
            **prefixed("signals/", self.signals.state()),
            **prefixed("reach/", self.reach.state()),
            **prefixed("environment/", self.environment.state()),
            "generator": self.policy.generator.get_state().numpy().copy(),
            "begun": self.view.begun,
        }
        if self.view.memory is not None:
            arrays["memory"] = self.view.memory.numpy().copy()
        meta = {"chunk": self.chunk, "steps": self.done, "best": best}
        return arrays, {**meta, "next_validation": self.next_validation, "validated": self.validated}

    def restore(self, arrays: dict[str, Array], meta: dict[str, Any]) -> None:
        """Go on exactly where ``state`` was called."""
        self.policy.load_weights(part(arrays, "weights/"))
        self.selection.restore(part(arrays, "best/"), meta["best"])
        self.rule.restore(part(arrays, "rule/"))
        restore_optimiser(self.warmer, part(arrays, "warmer/"))
        self.signals.restore(part(arrays, "signals/"))
        self.reach.restore(part(arrays, "reach/"))
        observation = self.environment.restore(part(arrays, "environment/"))
        memory = torch.from_numpy(arrays["memory"].copy()) if "memory" in arrays else None
        steps = (meta["chunk"] * self.chunk_steps + meta["steps"]) // self.config.num_envs
        self.view = View(observation, memory, arrays["begun"].copy(), steps)
        self.policy.generator.set_state(torch.from_numpy(arrays["generator"].copy()))
        self.chunk, self.done = meta["chunk"], meta["steps"]
        self.next_validation, self.validated = meta["next_validation"], meta["validated"]


def _new_policy(
    problem: Problem,
    config: LearnerConfig,
    environment: BatchEnvironment,
    observation: Observation,
    seed: int,
    *,
    costs: int,
) -> NetworkPolicy:
    if config.network.mask_head is not None and "action_mask" not in observation:
        raise UsageError("network.mask_head: this problem has no mask of actions to predict")
    encoder_name, encoder = choose_encoder(problem, config.encoder)
    example = encoder(observation)
    head = build_head(environment.action_space, config.head, **config.head_options)
    description = {
        "encoder": encoder_name,
        "network": config.network.model_dump(mode="json"),
        "head": head.kind,
        "head_options": dict(config.head_options),
        "signals": 1 + costs,
        "randomised": config.randomised,
        **describe(observation, example),
        "scenario_hash": problem.scenario.hash(),
        "signature": problem.scenario.signature(),
    }
    network = build_actor_critic(example, head, config.network, seed, signals=1 + costs)
    return NetworkPolicy(network, encoder, description)


def _teacher(problem: Problem, config: LearnerConfig, policy: NetworkPolicy) -> Policy | None:
    name = config.imitation.teacher
    if name is None:
        return None
    baselines = problem.baselines()
    if name not in baselines:
        raise UsageError(f"no baseline {name!r} to imitate; this problem has {sorted(baselines)}")
    if policy.head.kind != "categorical" or policy.network.memory:
        raise UsageError("imitation needs single discrete actions and a network without memory")
    return baselines[name](0)

"""Training of two-stage decision rules: pretraining on a quick cost, then steps along the prices of the programs.

Two phases of Adam on the parameters of one network. Costs are divided by a typical stage's, so that one step size fits
all problems. Limits on signals are priced: the programs minimise cost + multiplier x signal, and multipliers follow the
relative violation (proportional and integral, with the batches' noise smoothed). The rule that did best on the
validation paths is returned, rules within the limits before others; that of the last update stands beside it.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from interlock.core.actor_critic.steps import optimiser_state, part, prefixed, restore_optimiser
from interlock.core.decision_rules.config import MultiplierSettings, PhaseSettings, RuleConfig
from interlock.core.decision_rules.contract import DecisionProgram
from interlock.core.decision_rules.policy import RulePolicy, RuleProblem, build_network
from interlock.core.decision_rules.score_function import mixed_rollout
from interlock.core.decision_rules.soft import SoftWindows, soft_rollout
from interlock.core.decision_rules.strict import Rollout, quick_rollout, strict_rollout
from interlock.core.environment import Array
from interlock.core.errors import Diverged, Interrupted
from interlock.core.evaluation.protocol import run_instances
from interlock.core.training import Run

Roll = Callable[[Array, Array], Rollout]
"""``(noise paths, multipliers) -> Rollout``."""


def train(problem: RuleProblem, config: RuleConfig, run: Run) -> RulePolicy:
    """Train, and return the rule that did best on the validation instances.

    Raises:
        Interrupted: the user stopped the run; a checkpoint is kept.
        Diverged: a gradient is not finite.
        StageInfeasible: a program has no solution.
    """
    torch.set_num_threads(1)
    training = _Training(problem, config, run)
    checkpoint = run.resume()
    if checkpoint is not None:
        training.restore(dict(checkpoint.arrays), dict(checkpoint.meta))
    while True:
        last = training.done >= training.total or run.out_of_time()
        training.validate_if_due(last)
        stopped = run.interrupted()
        if stopped or last or run.checkpoint_due():
            run.checkpoint(*training.state())
        if stopped:
            raise Interrupted("training was interrupted; a checkpoint is kept")
        if last:
            return training.finish()
        training.update()


class Prices:
    """Multipliers of the signals, in units of the price of a signal.

    Args:
        limits: ``(m,)`` of the expected sums; infinite ones have multiplier 0.
        settings: gains and caps.
    """

    def __init__(self, limits: Array, settings: MultiplierSettings):
        self.limits, self.settings = (1.0 - settings.margin) * limits, settings
        self.bounded = np.isfinite(limits)
        self.total, self.smooth = np.zeros(len(limits)), np.zeros(len(limits))

    @property
    def multipliers(self) -> Array:
        """``(m,)``."""
        raw = self.total + self.settings.proportional * self.smooth
        found: Array = np.where(self.bounded, np.clip(raw, 0.0, self.settings.largest), 0.0)
        return found

    def update(self, signals: Array) -> None:
        """Follow the mean of a batch ``(n, m)``."""
        scale = np.where(self.bounded, np.maximum(np.abs(self.limits), 1e-12), 1.0)
        violation = np.where(self.bounded, np.clip((signals.mean(axis=0) - self.limits) / scale, -1.0, 5.0), 0.0)
        kept = self.settings.smoothing
        self.smooth = kept * self.smooth + (1 - kept) * violation
        self.total = np.clip(self.total + self.settings.integral * self.smooth, 0.0, self.settings.largest)


class _Training:
    """The state of a training, and its steps."""

    def __init__(self, problem: RuleProblem, config: RuleConfig, run: Run):
        self.problem, self.config, self.run = problem, config, run
        self.program: DecisionProgram = problem.decision_program()
        quick = self.program.quick_cost() is not None
        self.phases = (config.pretraining.updates if quick else 0, config.training.updates)
        self.total, self.done, self.share = sum(self.phases), 0, 0.0
        network = build_network(problem, config.encoder, config.head, run.seed)
        description = {
            "method": "ts_ddr" if config.encoder or config.head else "ts_ldr",
            "scenario_hash": problem.scenario.hash(),
            "signature": problem.scenario.signature(),
            "seed": run.seed,
            "network": {"encoder": config.encoder, "head": list(config.head)},
        }
        self.policy = RulePolicy(network, problem, description)
        self.rng = np.random.default_rng([run.seed, 7])
        self.prices = Prices(self.program.limits, config.multipliers)
        self.solver = self.program.solver()
        self.price_rollout = self._rollout()
        self.optimiser = torch.optim.Adam(network.parameters())
        self.unit = 0.0
        self.best: dict[str, Array] = {}
        self.best_value = (math.inf, math.inf)
        self.validated_at = -1
        evaluation = problem.scenario.evaluation
        self.validation = problem.environment(
            min(evaluation.num_envs, evaluation.validation_instances),
            seed=evaluation.validation_seed,
            split="validation",
        )

    def _rollout(self) -> Roll:
        config, program, network = self.config, self.program, self.policy.network
        score = config.score
        if score is not None:
            return lambda noise, prices: mixed_rollout(
                program, network, self.solver, noise, prices, score, self.done - self.phases[0], self.rng
            )
        if config.rollout == "strict":
            return lambda noise, prices: strict_rollout(program, network, self.solver, noise, prices)
        window = {"stagewise": 1, "windowed": config.window, "deterministic_equivalent": None}[config.rollout]
        windows = SoftWindows(self.problem.multistage(), self.problem.solver(), window=window, penalty=config.penalty)
        return lambda noise, prices: soft_rollout(program, network, windows, noise, prices)

    def update(self) -> None:
        """One step of the optimiser."""
        pretraining = self.done < self.phases[0] and self.share < self.config.pretraining_share
        if not pretraining and self.done < self.phases[0]:
            self.done = self.phases[0]  # the time for pretraining is over
        if self.done == self.phases[0]:
            self.optimiser = torch.optim.Adam(self.policy.network.parameters())
        phase = self.config.pretraining if pretraining else self.config.training
        noise = self.program.paths(phase.batch, self.rng)
        multipliers = self.prices.multipliers * self.program.signal_prices
        if pretraining:
            rollout = quick_rollout(self.program, self.policy.network, noise, multipliers)
        else:
            rollout = self.price_rollout(noise, multipliers)
            self.prices.update(rollout.signals)
        if self.unit == 0.0:
            self.unit = max(float(np.abs(rollout.cost).mean()) / self.program.stages, 1e-9)
        rate = phase.learning_rate * self._rate(phase, pretraining)
        norm = self._step(rollout, rate)
        self.done += 1
        self.run.log(
            self.done,
            {
                "train/cost": float(rollout.cost.mean()),
                "train/gradient_norm": norm,
                "train/learning_rate": rate,
                **{f"constraint/{k}/mean": float(value) for k, value in enumerate(rollout.signals.mean(axis=0))},
                **{f"constraint/{k}/multiplier": float(value) for k, value in enumerate(self.prices.multipliers)},
            },
        )
        self.run.progress(self.done, self.total, cost=float(rollout.cost.mean()))

    def _step(self, rollout: Rollout, rate: float) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        (rollout.surrogate / self.unit).backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.policy.network.parameters(), self.config.clip_norm))
        if not math.isfinite(norm):
            raise Diverged(f"update {self.done + 1}: the gradient is not finite; use a smaller step size")
        self.optimiser.step()
        return norm

    def _rate(self, phase: PhaseSettings, pretraining: bool) -> float:
        """Step size over its largest: warm-up, then a cosine over the updates or the time budget, what ends first."""
        share, split = self.share, self.config.pretraining_share
        begun = 0 if pretraining else self.phases[0]
        timed = share / split if pretraining else (share - split) / (1.0 - split)
        k = self.done - begun
        part_done = min(max(k / max(phase.updates, 1), timed), 1.0)
        falling = phase.last_rate + (1.0 - phase.last_rate) * 0.5 * (1.0 + math.cos(math.pi * part_done))
        return falling * min(1.0, (k + 1) / max(phase.warm_up, 1))

    def validate_if_due(self, last: bool) -> None:
        """Play the rule on the validation instances now and then, and keep the best."""
        self.share = self.run.budget_share()
        due = self.done >= self.phases[0] and (self.done - self.phases[0]) % self.config.validate_every == 0
        if self.validated_at == self.done or not (last or due):
            return
        self.validated_at = self.done
        problem, count = self.problem, self.problem.scenario.evaluation.validation_instances
        outcomes = run_instances(self.validation, self.policy, count, per_reward=problem.objective.per_reward)
        excess = 0.0
        for column, constraint in enumerate(problem.constraints):
            found = outcomes.violated if constraint.kind == "chance" else outcomes.costs
            over = float(found[:, column].mean()) - constraint.limit
            excess += max(over, 0.0) / max(abs(constraint.limit), 1e-12)
        sign = -1.0 if problem.objective.sense == "maximise" else 1.0
        value = (excess, sign * float(outcomes.objective.mean()))
        self.run.log(self.done, {"eval/objective": float(outcomes.objective.mean()), "eval/excess": excess})
        if value < self.best_value:
            self.best_value, self.best = value, self.policy.weights()

    def finish(self) -> RulePolicy:
        """The best rule, with the last one beside it."""
        excess, _ = self.best_value
        if excess > 0.0:
            self.run.warn(f"no rule met kept all limits on the validation paths; the best exceeds them by {excess:.1%}")
        best = self.policy.with_weights(self.best)
        best.last = self.policy.with_weights(self.policy.weights())
        return best

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Everything needed to go on exactly from here."""
        arrays = {
            **prefixed("network/", self.policy.weights()),
            **prefixed("best/", self.best),
            **prefixed("optimiser/", optimiser_state(self.optimiser)),
            **prefixed("solver/", self.solver.state()),
            "prices": np.stack([self.prices.total, self.prices.smooth]),
        }
        meta = {
            "done": self.done,
            "unit": self.unit,
            "best_value": [value if math.isfinite(value) else None for value in self.best_value],
            "validated_at": self.validated_at,
            "generator": json.dumps(self.rng.bit_generator.state),
        }
        return arrays, meta

    def restore(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        network = self.policy.network
        network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in part(arrays, "network/").items()})
        self.best = part(arrays, "best/")
        restore_optimiser(self.optimiser, part(arrays, "optimiser/"))
        self.solver.restore(part(arrays, "solver/"))
        self.prices.total, self.prices.smooth = np.array(arrays["prices"])
        self.done, self.unit, self.validated_at = meta["done"], meta["unit"], meta["validated_at"]
        first, second = (math.inf if value is None else value for value in meta["best_value"])
        self.best_value = (first, second)
        self.rng.bit_generator.state = json.loads(meta["generator"])

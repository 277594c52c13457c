"""Pathwise training: play whole episodes on new futures, follow the gradient of reward and priced costs, choose.

One step of Adam per batch of futures. Multipliers follow the costs as the environment counts them, the gradient those
that are smoothed. The rule that did best on the validation instances is returned, as in the other methods.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interlock.core.actor_critic.duals import Duals
from interlock.core.actor_critic.reach import Reach
from interlock.core.actor_critic.rule import Estimate
from interlock.core.actor_critic.selection import Selection
from interlock.core.actor_critic.steps import optimiser_state, part, prefixed, restore_optimiser
from interlock.core.environment import Array
from interlock.core.errors import Diverged, Interrupted, UsageError
from interlock.core.pathwise.config import PathwiseConfig
from interlock.core.pathwise.contract import DifferentiableProblem, Played, View
from interlock.core.pathwise.policy import INPUT, PathwisePolicy, new_policy
from interlock.core.problem import Constraint
from interlock.core.training import Run

KINDS = ("chance", "cumulative")
"""Constraints that are means over episodes, which batches of whole episodes measure as they are."""


def train(problem: DifferentiableProblem, config: PathwiseConfig, run: Run) -> PathwisePolicy:
    """Train, and return the rule that did best on the validation instances.

    Raises:
        Interrupted: the user stopped the run; a checkpoint is kept.
        UsageError: the problem has no differentiable simulator, or encoder, form or constraints do not fit.
        Diverged: a gradient is not finite.
    """
    torch.set_num_threads(1)
    training = _Training(problem, config, run)
    checkpoint = run.resume()
    if checkpoint is not None:
        training.restore(dict(checkpoint.arrays), dict(checkpoint.meta))
    while True:
        last = training.done >= config.updates or run.out_of_time()
        training.validate_if_due(last)
        stopped = run.interrupted()
        if stopped or last or run.checkpoint_due():
            run.checkpoint(*training.state())
        if stopped:
            raise Interrupted(f"stopped after {training.done} of {config.updates} updates")
        if last:
            for message in training.verdict():
                run.warn(message)
            return training.selection.chosen()
        training.update()
        run.progress(training.done, config.updates, **training.selection.shown())


class _Training:
    """Everything that changes while training goes on."""

    def __init__(self, problem: DifferentiableProblem, config: PathwiseConfig, run: Run):
        if not hasattr(problem, "simulator"):
            raise UsageError(f"{problem.scenario.domain}: pathwise training needs a differentiable simulator")
        self.config, self.run, self.simulator = config, run, problem.simulator()
        self.policy = new_policy(problem, config.encoder, config.form, config.hidden, run.seed)
        self.policy.description |= {"method": "pathwise", "seed": run.seed}
        name = self.policy.description["encoder"]
        if name not in self.simulator.encoders():
            raise UsageError(f"the encoder {name} does not exist in torch; there are {list(self.simulator.encoders())}")
        self.encode = self.simulator.encoders()[name]
        self.constraints = _reachable(problem.constraints)
        self.limits = np.array([_held(one, config.margin).limit for one in self.constraints])
        self.sizes = np.maximum(np.abs(self.limits), config.limit_floor)
        judged = [_held(one, config.margin) for one in problem.constraints]
        self.selection = Selection(problem, self.policy, config.limit_floor, constraints=judged)
        self.reach = Reach(self.constraints, config.limit_floor)
        self.duals = Duals(len(self.constraints), config.dual)
        self.optimiser = torch.optim.Adam(self.policy.network.parameters(), eps=1e-5)
        self.done, self.unit = 0, 0.0
        self.validated: int | None = None

    def update(self) -> None:
        """One step of the multipliers and one of the rule."""
        config = self.config
        futures = self.simulator.futures(self.run.seed, self.done * config.batch, config.batch)
        if self.done == 0:
            self._standardise(futures)
        spent = max(self.done / config.updates, min(self.run.budget_share(), 1.0))
        played = self.simulator.play(self._decide, futures, smoothing=self._smoothing(spent))
        if self.unit == 0.0:
            self.unit = max(abs(float(played.reward.detach().mean())), 1e-9)
        estimate = self._estimate(played.measured)
        self.duals.update(estimate)
        self.reach.follow(estimate)
        rate = config.learning_rate * (
            config.last_rate + (1.0 - config.last_rate) * 0.5 * (1.0 + math.cos(math.pi * spent))
        )
        norm = self._step(self._loss(played), rate)
        self.done += 1
        figures = {
            "train/objective": self.selection.problem.objective.per_reward * float(played.reward.detach().mean()),
            "train/gradient_norm": norm,
            "train/learning_rate": rate,
        }
        smoothed = played.costs.detach().mean(0).tolist()
        for k, constraint in enumerate(self.constraints):
            figures[f"constraint/{constraint.name}/mean"] = float(estimate.value[k])
            figures[f"constraint/{constraint.name}/multiplier"] = float(self.duals.current[k])
            figures[f"train/smoothed/{constraint.name}"] = smoothed[k]
        self.run.log(self.done, figures)

    def _decide(self, view: View) -> Tensor:
        actions: Tensor = self.policy.network(self.encode(view)[INPUT])
        return actions

    def _standardise(self, futures: Any) -> None:
        """Inputs are centred and scaled by what the untrained rule meets."""
        seen: list[Tensor] = []

        def watched(view: View) -> Tensor:
            seen.append(self.encode(view)[INPUT])
            return self._decide(view)

        with torch.no_grad():
            self.simulator.play(watched, futures)
            self.policy.network.standardise(torch.cat(seen))

    def _smoothing(self, spent: float) -> float:
        """Width after this share of the training."""
        first, last = self.config.smoothing, self.config.last_smoothing
        return first if last is None else first * (last / first) ** spent

    def _estimate(self, measured: Array) -> Estimate:
        value = measured.mean(0)
        return Estimate(value, self.limits, (value - self.limits) / self.sizes, len(measured))

    def _loss(self, played: Played) -> Tensor:
        """Negative reward in units of the first one, and priced costs in units of their limits."""
        weights = torch.from_numpy(self.duals.multipliers / self.sizes).to(played.costs.dtype)
        return -played.reward.mean() / self.unit + (played.costs.mean(0) * weights).sum()

    def _step(self, loss: Tensor, rate: float) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.policy.network.parameters(), self.config.max_gradient))
        if not math.isfinite(norm):
            raise Diverged(
                f"update {self.done + 1}: the gradient is not finite; try a smaller learning_rate or a larger smoothing"
            )
        self.optimiser.step()
        return norm

    def validate_if_due(self, last: bool) -> None:
        """Validate at the end, and every so many updates; never twice in one place."""
        due = self.done > 0 and self.done % self.config.validate_every == 0
        if self.validated == self.done or not (due or last):
            return
        self.run.log(self.done, self.selection.validate())
        self.validated = self.done

    def verdict(self) -> list[str]:
        """What a user has to know of the end of this training."""
        if self.done == 0:
            return ["no update fitted into the time budget: the rule is untrained"]
        short = f"{self.done} of {self.config.updates} updates fitted into the time budget"
        return [*([short] if self.done < self.config.updates else []), *self.reach.verdict()]

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights, best weights, moments and multipliers; counters. Futures are known by the counter."""
        best_weights, best = self.selection.state()
        arrays = {
            **prefixed("weights/", self.policy.weights()),
            **prefixed("best/", best_weights),
            **prefixed("optimiser/", optimiser_state(self.optimiser)),
            **prefixed("dual/", self.duals.state()),
            **prefixed("reach/", self.reach.state()),
        }
        return arrays, {"updates": self.done, "unit": self.unit, "best": best, "validated": self.validated}

    def restore(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Go on exactly where ``state`` was called."""
        self.policy.load_weights(part(arrays, "weights/"))
        self.selection.restore(part(arrays, "best/"), meta["best"])
        restore_optimiser(self.optimiser, part(arrays, "optimiser/"))
        self.duals.restore(part(arrays, "dual/"))
        self.reach.restore(part(arrays, "reach/"))
        self.done, self.unit, self.validated = meta["updates"], meta["unit"], meta["validated"]


def _reachable(constraints: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    """Those that learning is about: hard ones are for the simulator."""
    soft = tuple(one for one in constraints if one.kind != "hard")
    wrong = [f"{one.name} is of the kind {one.kind}" for one in soft if one.kind not in KINDS]
    if wrong:
        raise UsageError(f"pathwise training knows constraints of the kinds {', '.join(KINDS)}: {'; '.join(wrong)}")
    return soft


def _held(constraint: Constraint, margin: float) -> Constraint:
    """The constraint with a share of its limit in reserve; hard ones stay as they are."""
    if constraint.kind == "hard":
        return constraint
    return replace(constraint, limit=constraint.limit - margin * abs(constraint.limit))

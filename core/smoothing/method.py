"""Gaussian-process smoothing of a policy (Montealegre-Mora, Lapeyrolerie, Chapman, Keller, Boettiger 2023).

A teacher is trained, or is a baseline. It is asked on slabs through the window of the states that it visits, and a
Gaussian process with a squared exponential kernel and white noise is fitted to its answers; the posterior mean decides.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from interlock.core.environment import Array
from interlock.core.errors import Interrupted, UsageError
from interlock.core.policy import Encoder, Policy, SavedPolicy, choose_encoder
from interlock.core.smoothing.config import SmoothingConfig
from interlock.core.smoothing.contract import DecodableProblem, Decoder
from interlock.core.smoothing.policy import SmoothedPolicy
from interlock.core.smoothing.slabs import slabs, visited, window
from interlock.core.training import Run


@dataclass(frozen=True, slots=True)
class Fitted:
    """A Gaussian process through points.

    Attributes:
        weights: ``(n, k)`` of the points, the variance of the kernel included.
        variance: of the process.
        length: of the squared exponential kernel.
        noise: variance of the white noise.
    """

    weights: Array
    variance: float
    length: float
    noise: float


def train(problem: DecodableProblem, config: SmoothingConfig, run: Run) -> SmoothedPolicy:
    """Train the teacher, if it is not a baseline, and smooth it.

    The checkpoints are those of the teacher: smoothing takes seconds and begins anew after an interruption.

    Raises:
        Interrupted: the user stopped the run; a checkpoint is kept.
        UsageError: the problem has no such baseline or encoder, cannot decode it, has discrete actions, or there would
            be too many slab points.
        Diverged: the teacher's losses are not finite.
    """
    name, encoder, decoder = _choose(problem, config.encoder)
    space = problem.environment(1, seed=0, split="train").action_space
    if not isinstance(space, spaces.Box) or not np.isfinite([space.low, space.high]).all():
        raise UsageError(f"smoothing needs actions within finite bounds, this problem has {space}")
    _check_size(problem, encoder, config)
    teacher = _teacher(problem, config, run)
    if run.interrupted():
        raise Interrupted("stopped before smoothing")
    states, fitting = (int(seed) for seed in np.random.SeedSequence([run.seed, 1]).generate_state(2))
    seen = visited(problem, teacher, encoder, rows=config.rows, steps=config.steps, seed=states)
    box = window(seen, config.window)
    points = slabs(box, low=config.low, high=config.high, points=config.points, across=config.across)
    teacher.reset()
    low, high = (np.asarray(bound, np.float64) for bound in (space.low, space.high))
    answers = np.clip(np.asarray(teacher.act(decoder(points), deterministic=True), np.float64), low, high)
    fitted = fit(points, answers, config, np.random.default_rng(fitting))
    description: dict[str, Any] = {
        "method": "gp_smoothing",
        "seed": run.seed,
        "encoder": name,
        "teacher": config.baseline or "ppo_lagrangian",
        "kernel": {"variance": fitted.variance, "length": fitted.length, "noise": fitted.noise},
        "window": box.tolist(),
        "scenario_hash": problem.scenario.hash(),
        "signature": problem.scenario.signature(),
    }
    arrays = {"points": points, "weights": fitted.weights, "length": np.array([fitted.length])}
    arrays |= {"low": low, "high": high}
    policy = SmoothedPolicy(arrays, encoder, description)
    policy.last = teacher if isinstance(teacher, SavedPolicy) else None
    return policy


def fit(points: Array, answers: Array, config: SmoothingConfig, rng: np.random.Generator) -> Fitted:
    """Fit the kernel to some of the points by maximum likelihood, then condition on all of them.

    Args:
        points: ``(n, d)``.
        answers: ``(n, k)``, under one kernel and independent of each other.
        config: kernel before the fit, and how many points it is fitted on.
        rng: draws those.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    some = np.arange(len(points))
    if config.fitted_on is not None and config.fitted_on < len(points):
        some = rng.choice(len(points), config.fitted_on, replace=False)
    kernel = ConstantKernel(config.variance) * RBF(config.length) + WhiteKernel(config.noise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a smooth teacher has less noise than the least allowed
        kernel = GaussianProcessRegressor(kernel).fit(points[some], answers[some]).kernel_
    process = GaussianProcessRegressor(kernel, optimizer=None).fit(points, answers)
    variance, length = float(kernel.k1.k1.constant_value), float(kernel.k1.k2.length_scale)
    return Fitted(variance * process.alpha_, variance, length, float(kernel.k2.noise_level))


class _Teaching:
    """The run as the teacher sees it: its time is up when its share of the budget is spent."""

    def __init__(self, run: Run, share: float):
        self._run, self._share = run, share

    def out_of_time(self) -> bool:
        """Whether the budget, or the teacher's share of it, is spent."""
        return self._run.out_of_time() or self._run.budget_share() >= self._share

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


def _teacher(problem: DecodableProblem, config: SmoothingConfig, run: Run) -> Policy:
    if config.baseline is not None:
        baselines = problem.baselines()
        if config.baseline not in baselines:
            raise UsageError(f"no baseline {config.baseline!r} to smooth; this problem has {', '.join(baselines)}")
        return baselines[config.baseline](run.seed)
    from interlock.core.actor_critic import ppo

    policy = ppo.train(problem, config.teacher, _Teaching(run, config.teaching))
    policy.description |= {"role": "teacher"}
    return policy


def _choose(problem: DecodableProblem, name: str | None) -> tuple[str, Encoder, Decoder]:
    """Name, encoder and decoder."""
    decoders = problem.decoders() if hasattr(problem, "decoders") else {}
    if not decoders:
        raise UsageError(f"{problem.scenario.domain}: smoothing needs observations from inputs; no encoder is decoded")
    chosen, encoder = choose_encoder(problem, next(iter(decoders)) if name is None else name)
    if chosen not in decoders:
        raise UsageError(f"the encoder {chosen} cannot be decoded; those that can: {', '.join(decoders)}")
    return chosen, encoder, decoders[chosen]


def _check_size(problem: DecodableProblem, encoder: Encoder, config: SmoothingConfig) -> None:
    inputs = encoder(problem.environment(1, seed=0, split="train").reset())["vector"].shape[1]
    count = inputs * config.points * config.across ** (inputs - 1)
    if count > config.largest:
        raise UsageError(
            f"{inputs} inputs make {count} slab points, at most {config.largest} are allowed: lower `across` or "
            "`points`"
        )

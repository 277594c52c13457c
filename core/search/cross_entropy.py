"""Cross-entropy search for the weights of a linear scorer of per-action features.

Each generation draws candidate weights from a Gaussian with diagonal covariance, plays all of them on the same training
instances (common random numbers), and refits the Gaussian to the best few (Rubinstein 1999; de Boer, Kroese, Mannor,
Rubinstein 2005). The generation means compete on the validation instances; the best one is returned.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from interlock.core.environment import Array, BatchEnvironment
from interlock.core.errors import Interrupted
from interlock.core.evaluation.protocol import run_instances
from interlock.core.policy import LinearScorePolicy, load_arrays
from interlock.core.problem import MethodInfo, Problem
from interlock.core.scenario import Settings
from interlock.core.training import Run

METHOD = MethodInfo(
    name="cross_entropy",
    title="Cross-entropy search",
    summary="tunes the weights of a linear score of per-action features; needs no torch",
    config="interlock.core.search.cross_entropy:CrossEntropyConfig",
    train="interlock.core.search.cross_entropy:train",
    load="interlock.core.search.cross_entropy:load",
)


class CrossEntropyConfig(Settings):
    """Settings of the search."""

    encoder: str = Field("placements", description="encoder that gives `action_features`")
    generations: int = Field(18, ge=1, description="number of refits")
    candidates: int = Field(40, ge=4, description="weight vectors per generation")
    instances: int = Field(200, ge=1, description="training instances each candidate plays")
    elite: int = Field(8, ge=2, description="candidates the Gaussian is refitted to")
    initial_spread: float = Field(0.6, gt=0, description="standard deviation of the first generation")
    least_spread: float = Field(0.02, ge=0, description="floor of the standard deviation, keeps the search alive")
    num_envs: int = Field(100, ge=1, description="rows of the batched environment")


def train(problem: Problem, config: CrossEntropyConfig, run: Run) -> LinearScorePolicy:
    """Search, and return the generation mean that does best on the validation instances.

    Raises:
        Interrupted: the user stopped the run; a checkpoint of the last complete generation is kept.
    """
    scenario = problem.scenario
    encoder = problem.encoders()[config.encoder]
    environment = problem.environment(config.num_envs, seed=run.seed, split="train")
    evaluation = scenario.evaluation
    validation = problem.environment(
        min(evaluation.num_envs, evaluation.validation_instances), seed=evaluation.validation_seed, split="validation"
    )
    features = encoder(environment.reset())["action_features"].shape[-1]
    objective = problem.objective
    sign = 1.0 if objective.sense == "maximise" else -1.0
    mean, spread = np.zeros(features), np.full(features, config.initial_spread)
    best, best_value, start = mean, -np.inf, 0
    checkpoint = run.resume()
    if checkpoint is not None:
        mean, spread, best = (checkpoint.arrays[name] for name in ("mean", "spread", "best"))
        best_value, start = float(checkpoint.meta["best_value"]), int(checkpoint.meta["generation"])

    def policy(weights: Array) -> LinearScorePolicy:
        description = {"method": METHOD.name, "scenario_hash": scenario.hash(), "seed": run.seed}
        return LinearScorePolicy(encoder, config.encoder, weights, description)

    def value_of(weights: Array, played: BatchEnvironment, count: int) -> float:
        outcomes = run_instances(played, policy(weights), count, per_reward=objective.per_reward)
        return sign * float(outcomes.objective.mean())

    for generation in range(start, config.generations):
        rng = np.random.default_rng([run.seed, generation])
        candidates = mean + spread * rng.standard_normal((config.candidates, features))
        candidates[0] = mean
        environment.reset(seed=int(rng.integers(2**40)))
        values = np.empty(config.candidates)
        for k, weights in enumerate(candidates):
            if run.interrupted():
                raise Interrupted(f"stopped in generation {generation + 1} of {config.generations}")
            values[k] = value_of(weights, environment, config.instances)
            run.progress(generation * config.candidates + k + 1, config.generations * config.candidates)
        elite = candidates[np.argsort(-values)[: config.elite]]
        mean = elite.mean(axis=0)
        spread = np.maximum(elite.std(axis=0), config.least_spread)
        value = value_of(mean, validation, evaluation.validation_instances)
        if value > best_value:
            best, best_value = mean, value
        run.log(
            (generation + 1) * config.candidates * config.instances,
            {"train/objective": sign * float(values.mean()), "eval/objective": sign * value, "eval/best": sign * best_value},
        )
        run.checkpoint(
            {"mean": mean, "spread": spread, "best": best}, {"best_value": best_value, "generation": generation + 1}
        )
        if run.out_of_time():
            break
    return policy(best)


def load(folder: Path, problem: Problem) -> LinearScorePolicy:
    """Read a policy that ``LinearScorePolicy.save`` wrote."""
    arrays, description = load_arrays(folder)
    description.pop("format")
    encoder = str(description.pop("encoder"))
    return LinearScorePolicy(problem.encoders()[encoder], encoder, arrays["weights"], description)

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
from interlock.core.policy import LinearScorePolicy, choose_encoder, load_arrays
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

    encoder: str | None = Field(
        None, description="encoder that gives `action_features`; null: the first of the problem"
    )
    generations: int = Field(20, ge=1, description="number of refits")
    candidates: int = Field(40, ge=4, description="weight vectors per generation")
    instances: int = Field(100, ge=1, description="training instances each candidate plays in the first generation")
    final_instances: int = Field(300, ge=1, description="the same in the last one; grows linearly in between")
    elite: int = Field(8, ge=2, description="candidates the Gaussian is refitted to")
    initial_spread: float = Field(0.6, gt=0, description="standard deviation of the first generation")
    least_spread: float = Field(0.05, ge=0, description="floor of the standard deviation, keeps the search alive")
    num_envs: int = Field(100, ge=1, description="rows of the batched environment")


def train(problem: Problem, config: CrossEntropyConfig, run: Run) -> LinearScorePolicy:
    """Search, and return the weights that do best on the validation instances.

    Every generation's mean competes, and so does the average of the means of the last third of the generations, which
    has less noise.

    Raises:
        Interrupted: the user stopped the run; a checkpoint of the last complete generation is kept.
        UsageError: the encoder is unknown.
    """
    scenario, objective, evaluation = problem.scenario, problem.objective, problem.scenario.evaluation
    encoder_name, encoder = choose_encoder(problem, config.encoder)
    environment = problem.environment(config.num_envs, seed=run.seed, split="train")
    validation = problem.environment(
        min(evaluation.num_envs, evaluation.validation_instances), seed=evaluation.validation_seed, split="validation"
    )
    features = encoder(environment.reset())["action_features"].shape[-1]
    sign = 1.0 if objective.sense == "maximise" else -1.0

    def policy(weights: Array) -> LinearScorePolicy:
        description = {
            "method": METHOD.name,
            "scenario_hash": scenario.hash(),
            "signature": scenario.signature(),
            "seed": run.seed,
        }
        return LinearScorePolicy(encoder, encoder_name, weights, description)

    def value_of(weights: Array, played: BatchEnvironment, count: int) -> float:
        outcomes = run_instances(played, policy(weights), count, per_reward=objective.per_reward)
        return sign * float(outcomes.objective.mean())

    means, spread = np.zeros((1, features)), np.full(features, config.initial_spread)
    validated = [-np.inf]
    checkpoint = run.resume()
    if checkpoint is not None:
        means, spread = checkpoint.arrays["means"], checkpoint.arrays["spread"]
        validated = [-np.inf, *checkpoint.meta["validated"]]
    last = config.generations - 1
    for generation in range(len(means) - 1, config.generations):
        rng = np.random.default_rng([run.seed, generation])
        candidates = means[-1] + spread * rng.standard_normal((config.candidates, features))
        candidates[0] = means[-1]
        growth = generation / last if last else 1.0
        count = round(config.instances + growth * (config.final_instances - config.instances))
        environment.reset(seed=int(rng.integers(2**40)))
        values = np.empty(config.candidates)
        for k, weights in enumerate(candidates):
            if run.interrupted():
                raise Interrupted(f"stopped in generation {generation + 1} of {config.generations}")
            values[k] = value_of(weights, environment, count)
            done = generation * config.candidates + k + 1
            run.progress(done, config.generations * config.candidates, best=sign * max(validated))
        elite = candidates[np.argsort(-values)[: config.elite]]
        means = np.vstack([means, elite.mean(axis=0)])
        spread = np.maximum(elite.std(axis=0), config.least_spread)
        validated.append(value_of(means[-1], validation, evaluation.validation_instances))
        run.log(
            generation + 1,
            {
                "train/objective": sign * float(values.mean()),
                "eval/objective": sign * validated[-1],
                "eval/best": sign * max(validated),
            },
        )
        run.checkpoint({"means": means, "spread": spread}, {"validated": validated[1:]})
        if run.out_of_time():
            break
    average = means[1 + 2 * (len(means) - 1) // 3 :].mean(axis=0)
    if value_of(average, validation, evaluation.validation_instances) >= max(validated):
        return policy(average)
    return policy(means[int(np.argmax(validated))])


def load(folder: Path, problem: Problem) -> LinearScorePolicy:
    """Read a policy that ``LinearScorePolicy.save`` wrote."""
    arrays, description = load_arrays(folder, problem.scenario)
    encoder_name, encoder = choose_encoder(problem, str(description.pop("encoder")))
    return LinearScorePolicy(encoder, encoder_name, arrays["weights"], description)

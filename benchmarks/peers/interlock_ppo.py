"""Our PPO with one constraint on the CartPole of ``benchmarks/cartpole.py``; runs in our own environment.

Prints one JSON object: steps and CPU seconds of training (validation is not counted), and the mean return of 128
episodes of the sampled policy at several CPU seconds, with the constraint's mean cost and limit.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cartpole import CONSTRAINTS, CartPoleProblem

from interlock.core.actor_critic.config import NetworkSettings, PPOConfig
from interlock.core.actor_critic.ppo import train
from interlock.core.evaluation.protocol import play
from interlock.core.scenario import EvaluationSettings
from interlock.core.training import MemoryRun

FAST: dict[str, Any] = {"num_envs": 1024, "rollout": 32, "minibatch": 4096, "learning_rate": 2e-3}
CLEANRL: dict[str, Any] = {
    "num_envs": 64,
    "rollout": 128,
    "minibatch": 2048,
    "learning_rate": 2.5e-4,
    "entropy_weight": 0.01,
}
"""The settings of cleanrl's ppo.py for 64 environments."""
NEVER = 10**12


@dataclass
class Clock(MemoryRun):
    """Counts the CPU seconds of rollouts and updates, and ends the training after so many.

    Attributes:
        budget: CPU seconds.
        spent: so far.
        steps: of the environment so far.
        started: CPU second at which the present round began.
    """

    budget: float = 0.0
    spent: float = 0.0
    steps: int = 0
    started: float = 0.0

    def interrupted(self) -> bool:
        """Asked for after validation, before each round."""
        self.started = time.process_time()
        return False

    def progress(self, done: float, total: float, **figures: float) -> None:
        """Told after each round."""
        self.spent += time.process_time() - self.started
        self.steps = int(done)

    def out_of_time(self) -> bool:
        """Whether the CPU seconds are spent."""
        return self.spent >= self.budget

    def checkpoint_due(self) -> bool:
        """Only at the end, for the training that goes on from there."""
        return False


def main() -> None:
    """Train for a number of CPU seconds, going on from the checkpoint after each mark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cleanrl", action="store_true", help="settings of cleanrl's ppo.py")
    parser.add_argument("--marks", type=float, nargs="+", required=True, help="CPU seconds at which to evaluate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    settings = CLEANRL if options.cleanrl else FAST
    # The step size stays, as it does in the peers; one critic network has two outputs; no pass ends early.
    config = PPOConfig(
        **settings,
        epochs=4,
        final_learning_rate=1.0,
        kl_stop=1e9,
        network=NetworkSettings(critics="shared"),
        randomised=True,
        steps=NEVER,
        validate_every=NEVER,
    )
    problem = CartPoleProblem(evaluation=EvaluationSettings(test_instances=128, validation_instances=16, num_envs=128))
    # Compiles the environment and warms the libraries up, as the peers are warmed up too.
    train(problem, config, Clock(budget=0.1))
    clock = Clock(seed=options.seed)
    returns, costs = [], []
    for mark in options.marks:
        clock.budget = mark
        policy = train(problem, config, clock)
        outcomes = play(problem, policy.last or policy, split="test")
        returns.append(float(outcomes.objective.mean()))
        costs.append(float(outcomes.costs[:, 0].mean()))
    result = {"steps": clock.steps, "seconds": clock.spent, "marks": options.marks}
    print(json.dumps({**result, "returns": returns, "costs": costs, "limit": CONSTRAINTS[0].limit}))


if __name__ == "__main__":
    main()

"""PPO of stable-baselines3 on Gymnasium's CartPole-v1; runs in the environment of the peers.

Prints one JSON object: steps and CPU seconds of training (evaluation is not counted), and the mean return of 128
episodes of the sampled policy at several CPU seconds.
"""

import argparse
import json
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

CLEANRL = {
    "learning_rate": 2.5e-4,
    "n_steps": 128,
    "n_epochs": 4,
    "clip_range_vf": 0.2,
    "ent_coef": 0.01,
}
"""The settings of cleanrl's ppo.py; its minibatches are a quarter of the rollout."""


class Clock(BaseCallback):
    """Stops the training clock at the marks to evaluate, and the training after the last one."""

    def __init__(self, marks: list[float], seed: int):
        super().__init__()
        self.left, self.seed = list(marks), seed
        self.returns: list[float] = []
        self.spent = 0.0

    def _on_training_start(self) -> None:
        self.trials = make_vec_env("CartPole-v1", 16, seed=self.seed + 1000)
        self.started = time.process_time()

    def _on_step(self) -> bool:
        return bool(self.left)

    def _on_rollout_start(self) -> None:
        # Called between updates, so that what is evaluated has learned from everything played.
        if self.left and self.spent + time.process_time() - self.started >= self.left[0]:
            self.spent += time.process_time() - self.started
            self.returns.append(float(evaluate_policy(self.model, self.trials, 128, deterministic=False)[0]))
            self.left.pop(0)
            self.steps = self.num_timesteps
            self.started = time.process_time()


def main() -> None:
    """Train for a number of CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--cleanrl", action="store_true", help="settings of cleanrl's ppo.py")
    parser.add_argument("--marks", type=float, nargs="+", required=True, help="CPU seconds at which to evaluate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    environments = make_vec_env("CartPole-v1", options.envs, seed=options.seed)
    settings = {**CLEANRL, "batch_size": options.envs * 128 // 4} if options.cleanrl else {}
    model = PPO("MlpPolicy", environments, device="cpu", seed=options.seed, **settings)
    clock = Clock(options.marks, options.seed)
    model.learn(1_000_000_000, callback=clock)
    print(json.dumps({"steps": clock.steps, "seconds": clock.spent, "marks": options.marks, "returns": clock.returns}))


if __name__ == "__main__":
    main()

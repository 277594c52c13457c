"""The CartPole of the benchmarks is Gymnasium's, step by step, and a proper batched environment."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from interlock.core import testing
from interlock.core.policy import FunctionPolicy

SOURCE = Path(__file__).parents[2] / "benchmarks" / "cartpole.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("cartpole", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


cartpole = load()


def careful(state: np.ndarray) -> np.ndarray:
    """Holds the pole and drifts slowly enough to reach the limit of 500 steps."""
    return (0.3 * state[:, 0] + 0.5 * state[:, 1] + 3 * state[:, 2] + state[:, 3] > 0).astype(np.int64)


@pytest.mark.parametrize("share_random", [1.0, 0.2, 0.0])
def test_every_step_is_that_of_gymnasium(share_random: float) -> None:
    rows, rng = 8, np.random.default_rng(0)
    ours = cartpole.CartPole(rows, seed=5, split="train")
    view = ours.reset()["state"]
    theirs = [gymnasium.make("CartPole-v1") for _ in range(rows)]
    ends = {"terminated": 0, "truncated": 0}
    for env in theirs:
        env.reset(seed=0)
    for row, env in enumerate(theirs):
        env.unwrapped.state = ours.physics[row].copy()  # type: ignore[attr-defined]
    for _ in range(1200):
        action = np.where(rng.random(rows) < share_random, rng.integers(0, 2, rows), careful(view))
        before = ours.instance.copy()
        step = ours.step(action)
        for row, env in enumerate(theirs):
            seen, reward, terminated, truncated, _ = env.step(int(action[row]))
            # Gymnasium cuts off after 500 steps even where the pole falls at that very step.
            assert (terminated, truncated and not terminated) == (step.terminated[row], step.truncated[row])
            assert reward == step.reward[row]
            assert step.info["instance"][row] == before[row]
            assert step.cost[row, 0] == (abs(env.unwrapped.state[0]) > cartpole.OFF_CENTRE)  # type: ignore[attr-defined]
            if not (terminated or truncated):
                np.testing.assert_allclose(step.observation["state"][row], seen, rtol=1e-6, atol=1e-7)
                np.testing.assert_allclose(ours.physics[row], env.unwrapped.state, rtol=1e-12, atol=1e-13)  # type: ignore[attr-defined]
            else:
                ends["terminated" if terminated else "truncated"] += 1
                env.reset()
            if step.truncated[row]:
                assert step.final_observation is not None
                np.testing.assert_allclose(step.final_observation["state"][row], seen, rtol=1e-6, atol=1e-7)
            # Set at every step: the pole is unstable, so the last digits of a step would grow over an episode.
            env.unwrapped.state = ours.physics[row].copy()  # type: ignore[attr-defined]
        view = step.observation["state"]
    assert ends["terminated" if share_random == 1.0 else "truncated"] >= rows


def test_first_states_are_uniform_and_independent() -> None:
    starts = cartpole.CartPole(20_000, seed=1, split="test").physics / cartpole.START
    assert np.abs(starts).max() <= 1.0
    assert np.abs(starts.mean(0)).max() < 0.02
    np.testing.assert_allclose(starts.var(0), 1 / 3, rtol=0.03)
    assert np.abs(np.corrcoef(np.hstack([starts[:-1], starts[1:]]).T) - np.eye(8)).max() < 0.03


@pytest.mark.parametrize("name", ["spaces", "batch_rows", "seeds", "restore", "truncation", "costs", "baselines"])
def test_it_is_a_proper_batched_environment(name: str) -> None:
    getattr(testing, f"check_{name}")(cartpole.CartPoleProblem(), 12)


def test_an_episode_is_cut_off_after_500_steps() -> None:
    environment = cartpole.CartPole(4, seed=0, split="train")
    policy = FunctionPolicy(lambda view, rng: careful(view["state"]))
    view = environment.reset()
    for _ in range(499):
        step = environment.step(policy.act(view))
        view = step.observation
        assert step.final_observation is None
    step = environment.step(policy.act(view))
    assert step.truncated.all()
    assert not step.terminated.any()
    assert (step.info["length"] == 500).all()
    assert np.abs(step.observation["state"]).max() <= cartpole.START
    assert step.final_observation is not None
    assert (environment.instance == np.arange(4, 8)).all()

"""The adapters pass the checkers of Gymnasium and PettingZoo and lose nothing of what the batch says."""

import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from pettingzoo.test import parallel_api_test, parallel_seed_test
from tiny_problem import CAPACITY, DAYS, LARGEST, TinyEnvironment, TinyProblem

from interlock.core.adapters import as_gymnasium, as_parallel, as_vector_env
from interlock.core.environment import Step
from interlock.core.errors import UsageError
from interlock.core.problem import Constraint


def top_up(view: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.minimum(LARGEST, CAPACITY - view["stock"][..., 0]).astype(int)


class Duel:
    """Two agents each raise 0 to 2 fingers for five rounds; whoever guessed the parity drawn by the umpire scores."""

    agents = ("left", "right")
    observation_space = spaces.Dict(
        {"hint": spaces.Box(0, 1, (2,), np.float32), "action_mask": spaces.Box(0, 1, (3,), np.bool_)}
    )
    action_space: Any = spaces.Discrete(3)
    constraints = (Constraint("fingers", "cumulative", 12.0, "fingers"),)

    def __init__(self, num_envs: int, seed: int, *, shared: bool = False):
        self.num_envs, self.seed, self.shared = num_envs, seed, shared
        self.reset()

    def reset(self, *, seed: int | None = None) -> dict[str, np.ndarray]:
        self.seed = self.seed if seed is None else seed
        self.round = np.zeros(self.num_envs, int)
        self.instance, self.following = np.arange(self.num_envs), self.num_envs
        return self.view()

    def parity(self) -> np.ndarray:
        drawn = [
            np.random.default_rng([self.seed, i]).integers(0, 2, 6)[r]
            for i, r in zip(self.instance, self.round, strict=True)
        ]
        return np.array(drawn)

    def view(self) -> dict[str, np.ndarray]:
        hint = np.stack([self.parity(), self.round / 5], axis=1).astype(np.float32)
        mask = np.ones((self.num_envs, 2, 3), bool)
        mask[:, 1, 2] = self.round % 2 == 1  # the right hand may raise two fingers in odd rounds only
        return {"hint": np.stack([hint, hint[:, ::-1]], axis=1), "action_mask": mask}

    def step(self, action: np.ndarray) -> Step:
        assert action.shape == (self.num_envs, 2)
        reward = (action % 2 == self.parity()[:, None]).astype(float)
        self.round = self.round + 1
        truncated = self.round == 5
        info = {"instance": self.instance.copy()}
        last = self.view() if truncated.any() else None
        self.round[truncated] = 0
        self.instance[truncated] = self.following + np.arange(truncated.sum())
        self.following += int(truncated.sum())
        return Step(
            self.view(),
            reward.sum(axis=1) if self.shared else reward,
            action.sum(axis=1, keepdims=True).astype(float),
            np.zeros(self.num_envs, bool),
            truncated,
            last,
            info=info,
        )


def test_vector_env_declares_same_step_and_gives_costs_and_masks() -> None:
    env = as_vector_env(TinyEnvironment(3, 1, "train"))
    assert isinstance(env, VectorEnv)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert env.num_envs == 3
    view, info = env.reset(seed=4)
    assert env.observation_space.contains(view)
    assert np.array_equal(info["action_mask"], view["action_mask"])
    view, reward, terminated, truncated, info = env.step(np.array([3, 2, 1]))
    assert info["cost"].dtype == np.float32
    assert info["cost"].shape == (3, 3)
    assert info["action_mask"].dtype == bool
    assert np.array_equal(env.action_masks(), view["action_mask"])
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    assert info["instance"].tolist() == [0, 1, 2]
    assert "final_obs" not in info


def test_vector_env_hands_over_the_last_view_of_truncated_rows() -> None:
    env = as_vector_env(TinyEnvironment(4, 1, "train"))
    view, _ = env.reset()
    seen = 0
    for _ in range(60):
        view, _, terminated, truncated, info = env.step(top_up(view))
        assert ("final_obs" in info) == truncated.any()
        for row in np.flatnonzero(truncated):
            seen += 1
            last = info["final_obs"][row]
            assert info["_final_obs"][row]
            assert last["day"] == DAYS
            assert view["day"][row] == 0
            assert env.single_observation_space.contains(last)
        if truncated.any():
            assert all(info["final_obs"][row] is None for row in np.flatnonzero(~(terminated | truncated)))
    assert seen > 3


def test_vector_env_seeds_as_one_stream() -> None:
    env, direct = as_vector_env(TinyEnvironment(3, 1, "train")), TinyEnvironment(3, 9, "train")
    env.reset(seed=9)
    for _ in range(10):
        action = top_up(direct.view())
        step = direct.step(action)
        view, reward, _, _, _ = env.step(action)
        assert np.array_equal(reward, step.reward)
        assert all(np.array_equal(view[name], step.observation[name]) for name in view)
    with pytest.raises(UsageError, match="one seed"):
        env.reset(seed=[1, 2, 3])


def test_gymnasium_checks_the_single_environment() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*render modes.*")
        check_env(as_gymnasium(TinyProblem()))


def test_single_environment_plays_the_instances_of_the_batch_in_order() -> None:
    env = as_gymnasium(TinyProblem(), seed=6, split="test")
    assert isinstance(env, gymnasium.Env)
    batch = TinyEnvironment(1, 6, "test")
    expected = batch.view()
    for episode in range(6):
        view, info = env.reset()
        assert np.array_equal(env.action_masks(), info["action_mask"])
        done = False
        while not done:
            assert all(np.array_equal(view[name], expected[name][0]) for name in view)
            action = top_up(view)
            step = batch.step(action[None])
            view, reward, terminated, truncated, info = env.step(action)
            assert (reward, terminated, truncated) == (step.reward[0], step.terminated[0], step.truncated[0])
            assert np.array_equal(info["cost"], step.cost[0])
            assert info["cost"].dtype == np.float32
            assert info["instance"] == episode
            expected, done = step.observation, terminated or truncated
        assert view["day"][0] == (DAYS if truncated else batch_days(step) - 1)


def batch_days(step: Step) -> int:
    return int(step.info["days"][0])


def test_reset_in_the_middle_of_an_episode_starts_another_stream() -> None:
    def demands(env: gymnasium.Env) -> list[float]:
        rewards = []
        view, _ = env.reset()
        for _ in range(3):
            view, reward, *_ = env.step(top_up(view))
            rewards.append(reward)
        return rewards

    env = as_gymnasium(TinyProblem(), seed=2)
    streams = [demands(env) for _ in range(8)]
    assert len({tuple(stream) for stream in streams}) > 1
    again = as_gymnasium(TinyProblem(), seed=2)
    assert [demands(again) for _ in range(8)] == streams


def test_gymnasium_wrappers_take_the_mask_from_the_environment() -> None:
    env = as_gymnasium(TinyProblem())
    view, _ = env.reset(seed=0)
    for _ in range(3):
        view, *_ = env.step(0 if view["stock"][0] > 3 else 3)
    assert np.array_equal(env.action_masks(), view["stock"][0] + np.arange(4) <= CAPACITY)


@pytest.mark.parametrize("shared", [False, True])
def test_pettingzoo_checks_two_agents(shared: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(as_parallel(Duel(1, 3, shared=shared)), num_cycles=50)
        parallel_seed_test(lambda: as_parallel(Duel(1, 3, shared=shared)), num_cycles=20)


def test_pettingzoo_checks_a_single_controller() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(as_parallel(TinyEnvironment(1, 3, "train")), num_cycles=50)
        parallel_seed_test(lambda: as_parallel(TinyEnvironment(1, 3, "train")), num_cycles=20)


def test_every_agent_gets_its_own_view_reward_and_mask() -> None:
    env, batch = as_parallel(Duel(1, 3)), Duel(1, 3)
    views, infos = env.reset()
    assert env.agents == env.possible_agents == ["left", "right"]
    expected = batch.view()
    while env.agents:
        for index, agent in enumerate(("left", "right")):
            assert np.array_equal(views[agent]["hint"], expected["hint"][0, index])
            assert views[agent]["action_mask"].dtype == np.int8
            assert np.array_equal(infos[agent]["action_mask"], expected["action_mask"][0, index])
            assert infos[agent]["action_mask"].dtype == bool
            assert env.observation_space(agent).contains(views[agent])
        step = batch.step(np.array([[2, 1]]))
        views, rewards, terminated, truncated, infos = env.step({"right": 1, "left": 2})
        assert rewards == {"left": step.reward[0, 0], "right": step.reward[0, 1]}
        assert infos["left"]["cost"].tolist() == [3.0]
        assert truncated["left"] == truncated["right"] == bool(step.truncated[0])
        assert not any(terminated.values())
        expected = step.observation if step.final_observation is None else step.final_observation
    assert views["left"]["hint"][1] == 1.0  # the last view, not the first of the next episode


def test_a_lone_agent_is_called_controller() -> None:
    env = as_parallel(TinyEnvironment(1, 3, "train"))
    views, _ = env.reset(seed=1)
    assert list(views) == ["controller"]
    _, rewards, _, _, infos = env.step({"controller": 3})
    assert list(rewards) == ["controller"]
    assert infos["controller"]["cost"].shape == (3,)


def test_one_row_is_needed_where_one_episode_is_shown() -> None:
    with pytest.raises(UsageError, match="one row is needed, this one has 2"):
        as_parallel(TinyEnvironment(2, 3, "train"))

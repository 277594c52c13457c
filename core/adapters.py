"""Batched environments as others expect them: Gymnasium's VectorEnv and Env, PettingZoo's ParallelEnv.

All three give the vector of costs in ``info["cost"]`` (float32, one entry per constraint) and, where discrete actions
are limited, ``info["action_mask"]`` (bool); the other arrays of ``Step.info`` come along.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from pettingzoo import ParallelEnv

from interlock.core.environment import Array, BatchEnvironment, Observation, Split, Step
from interlock.core.errors import UsageError
from interlock.core.problem import Problem

MASK = "action_mask"
CONTROLLER = "controller"
"""Name of the only agent of an environment without named agents."""


def as_vector_env(environment: BatchEnvironment) -> VectorEnv:
    """A batched environment as a Gymnasium ``VectorEnv``; the two share their state.

    Args:
        environment: any number of rows, single-agent.
    """
    return BatchVectorEnv(environment)


def as_gymnasium(problem: Problem, *, seed: int = 0, split: Split = "train") -> gymnasium.Env:
    """A problem as a Gymnasium ``Env``.

    Args:
        problem: single-agent.
        seed: of the instances, until ``reset`` is given another.
        split: which instances.
    """
    return SingleEnv(problem.environment(1, seed=seed, split=split))


def as_parallel(environment: BatchEnvironment) -> ParallelEnv:
    """A batched environment of one row as a PettingZoo ``ParallelEnv``.

    Args:
        environment: one row. Its ``agents`` name the agents; without any, there is one called ``controller``.

    Raises:
        UsageError: it has several rows.
    """
    return BatchParallelEnv(environment)


class BatchVectorEnv(VectorEnv):  # type: ignore[misc]
    """A batched environment as a Gymnasium ``VectorEnv`` that restarts rows in the same step.

    Rows that finished show the first view of their next episode. Where their last view is known (whenever an episode
    was truncated), it is in ``info["final_obs"]``, an array of dictionaries that holds ``None`` elsewhere, and
    ``info["_final_obs"]`` tells which rows have one: learners bootstrap there.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, environment: BatchEnvironment):
        self.environment = environment
        self.num_envs = environment.num_envs
        self.single_observation_space = environment.observation_space
        self.single_action_space = environment.action_space
        self.observation_space = batch_space(environment.observation_space, environment.num_envs)
        self.action_space = batch_space(environment.action_space, environment.num_envs)
        self.view: Observation = {}

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start instances ``0 .. num_envs - 1``; one integer seeds the whole stream.

        Raises:
            UsageError: a list of seeds: all rows draw from one stream of instances.
        """
        if isinstance(seed, list):
            raise UsageError("a batched environment takes one seed for all its rows, not a list")
        self.view = self.environment.reset(seed=seed)
        return self.view, _mask(self.view)

    def step(self, actions: Array) -> tuple[Observation, Array, Array, Array, dict[str, Any]]:
        """One step of every row."""
        step = self.environment.step(actions)
        self.view = step.observation
        info: dict[str, Any] = {**step.info, "cost": step.cost.astype(np.float32), **_mask(self.view)}
        if step.final_observation is not None:
            last = np.full(self.num_envs, None, dtype=object)
            for row in np.flatnonzero(step.done):
                last[row] = _row(step.final_observation, int(row))
            info["final_obs"], info["_final_obs"] = last, step.done
        return self.view, step.reward, step.terminated, step.truncated, info

    def action_masks(self) -> Array:
        """The current masks, bool ``(num_envs, actions)``, under the name that maskable learners call."""
        return _mask(self.view)[MASK]


class _OneRow:
    """Episodes of a batch of one: the batch restarts at once, this shows the new episode only when asked to.

    ``reset()`` without a seed goes on to the next instance; in the middle of an episode it starts a fresh stream.
    """

    def __init__(self, environment: BatchEnvironment):
        if environment.num_envs != 1:
            raise UsageError(f"an environment with one row is needed, this one has {environment.num_envs}")
        self.environment = environment
        self.random = np.random.default_rng(0)
        self.waiting: Observation | None = environment.reset()
        self.view: dict[str, Array] = {}

    def reset(self, seed: int | None) -> dict[str, Array]:
        if seed is not None:
            self.random = np.random.default_rng(seed)
            self.waiting = self.environment.reset(seed=seed)
        elif self.waiting is None:
            self.waiting = self.environment.reset(seed=int(self.random.integers(2**31)))
        self.view, self.waiting = _row(self.waiting, 0), None
        return self.view

    def step(self, action: Any) -> Step:
        """One step; afterwards ``view`` is the next or the last view (if that is unknown, the one before)."""
        step = self.environment.step(np.asarray(action)[None])
        if not step.done[0]:
            self.view = _row(step.observation, 0)
        else:
            self.waiting = step.observation
            last = step.final_observation
            self.view = deepcopy(self.view) if last is None else _row(last, 0)
        return step


class SingleEnv(gymnasium.Env):  # type: ignore[misc]
    """A batch of one as a Gymnasium ``Env``.

    ``reset()`` without a seed goes on to the next instance; in the middle of an episode it starts a fresh stream of
    instances. After a termination whose last view the environment does not keep, the view before it is repeated.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, environment: BatchEnvironment):
        self.row = _OneRow(environment)
        self.observation_space = environment.observation_space
        self.action_space = environment.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Start the next instance, or instance 0 of a seed."""
        super().reset(seed=seed)
        view = self.row.reset(seed)
        return view, _mask(view)

    def step(self, action: Any) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """One step."""
        step = self.row.step(action)
        info = {**_info(step), **_mask(self.row.view)}
        return self.row.view, float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), info

    def action_masks(self) -> Array:
        """The current mask, bool ``(actions,)``, under the name that maskable learners call."""
        return _mask(self.row.view)[MASK]


class BatchParallelEnv(ParallelEnv):  # type: ignore[misc]
    """A batch of one as a PettingZoo ``ParallelEnv``: one dictionary entry per agent over arrays.

    All agents of an episode start and end together. Inside observations the action mask is int8, because that is what
    the spaces' own sampling takes; in ``info`` it is bool. Every agent is told the costs of the whole system.
    """

    metadata: dict[str, Any] = {"name": "interlock", "render_modes": []}  # noqa: RUF012

    def __init__(self, environment: BatchEnvironment):
        self.row = _OneRow(environment)
        named = getattr(environment, "agents", None)
        self.alone = named is None
        self.possible_agents: list[str] = [CONTROLLER] if named is None else list(named)
        self.agents: list[str] = []
        views = dict(environment.observation_space.spaces)
        if MASK in views:
            views[MASK] = spaces.Box(0, 1, views[MASK].shape, np.int8)
        self.observation_spaces = {agent: spaces.Dict(deepcopy(views)) for agent in self.possible_agents}
        self.action_spaces = {agent: deepcopy(environment.action_space) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> spaces.Dict:
        """Space of one agent's view."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Space of one agent's action."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the next instance, or instance 0 of a seed."""
        self.row.reset(seed)
        self.agents = list(self.possible_agents)
        return self._told({})

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """One step with one action per agent."""
        taken = np.stack([actions[agent] for agent in self.agents])
        step = self.row.step(taken[0] if self.alone else taken)
        views, infos = self._told(_info(step))
        rewards = np.broadcast_to(step.reward[0], (len(self.agents),))
        result = (
            views,
            {agent: float(reward) for agent, reward in zip(self.agents, rewards, strict=True)},
            dict.fromkeys(self.agents, bool(step.terminated[0])),
            dict.fromkeys(self.agents, bool(step.truncated[0])),
            infos,
        )
        if step.done[0]:
            self.agents = []
        return result

    def _told(self, info: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What every agent sees, and its info."""
        view = {name: values[None] for name, values in self.row.view.items()} if self.alone else self.row.view
        views = {agent: _row(view, index) for index, agent in enumerate(self.agents)}
        infos = {agent: {**info, **_mask(own)} for agent, own in views.items()}
        for own in views.values():
            if MASK in own:
                own[MASK] = own[MASK].astype(np.int8)
        return views, infos


def _info(step: Step) -> dict[str, Any]:
    return {**{name: values[0] for name, values in step.info.items()}, "cost": step.cost[0].astype(np.float32)}


def _mask(view: Mapping[str, Array]) -> dict[str, Array]:
    """The mask of a view as an entry of ``info``; nothing if there is none."""
    return {MASK: np.asarray(view[MASK], bool)} if MASK in view else {}


def _row(observation: Observation, row: int) -> dict[str, Array]:
    return {name: values[row].copy() for name, values in observation.items()}

"""Fisheries as Gymnasium knows environments: its checker is content, and a seed says everything."""

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from interlock.core.adapters import as_gymnasium, as_vector_env
from interlock.domains.fisheries.problem import build

KINDS = {
    "one": ("one", {}),
    "web": ("web", {}),
    "uncertain": ("web", {"uncertainty": {"sd": 0.1, "runs": 5}, "observed": {"hidden": ["z"], "cv": 0.1}}),
}


@pytest.fixture(params=KINDS)
def problem(request, scenarios):
    kind, changes = KINDS[request.param]
    return build(getattr(scenarios, kind)(horizon=30, **changes))


def episode(env, seed):
    """Stocks and rewards of two episodes: of a seed, and of the instance after it."""
    found = []
    for start in (seed, None):
        view, _ = env.reset(seed=start)
        over = False
        while not over:
            found.append([*view["stock"], int(view["year"][0])])
            view, reward, terminated, truncated, _ = env.step(np.full(env.action_space.shape, 0.2))
            found[-1].append(reward)
            over = terminated or truncated
    return np.array(found)


def test_the_checker_of_gymnasium_is_content(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stocks have no upper limit
        check_env(as_gymnasium(problem), skip_render_check=True)


def test_equal_seeds_give_equal_episodes_whatever_happens_besides(problem):
    first = episode(as_gymnasium(problem), 7)
    np.random.seed(1)  # noqa: NPY002  the global generator has no say
    env = as_gymnasium(problem, seed=99)
    episode(env, 3)
    assert np.array_equal(episode(env, 7), first)
    other = episode(env, 8)
    assert first[0, 0] != other[0, 0]
    second = int(np.flatnonzero(first[:, -2] == 0)[1])
    assert first[0, 0] != first[second, 0], "the second episode of a seed is another one"


def test_rows_of_a_vector_are_the_episodes_of_the_seed(problem):
    def stocks(seed):
        vector = as_vector_env(problem.environment(3, seed=0, split="train"))
        view, _ = vector.reset(seed=seed)
        found = [view["stock"]]
        for _ in range(5):
            view, *_ = vector.step(np.full((3, *vector.single_action_space.shape), 0.2))
            found.append(view["stock"])
        return np.array(found)

    assert np.array_equal(stocks(4), stocks(4))
    assert not np.isclose(stocks(4), stocks(5)).all(axis=(0, 2)).any()
    alone = as_gymnasium(problem)
    view, _ = alone.reset(seed=4)
    for row in stocks(4)[:, 0]:
        assert np.array_equal(view["stock"], row)
        view, *_ = alone.step(np.full(alone.action_space.shape, 0.2))

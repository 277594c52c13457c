"""Cross-entropy search finds weights that are known beforehand."""

import numpy as np
import pytest

from interlock.core.errors import Interrupted, UsageError
from interlock.core.evaluation.protocol import play
from interlock.core.search.cross_entropy import CrossEntropyConfig, load, train
from interlock.core.training import MemoryRun

CONFIG = CrossEntropyConfig(generations=8, candidates=20, instances=30, final_instances=60, elite=5, num_envs=30)


def test_it_recovers_the_hidden_weights(pick_problem):
    policy = train(pick_problem, CONFIG, MemoryRun(seed=1))
    cosine = policy.weights @ pick_problem.hidden / np.linalg.norm(policy.weights) / np.linalg.norm(pick_problem.hidden)
    assert cosine > 0.98
    found = play(pick_problem, policy, split="test").objective.mean()
    best = play(pick_problem, pick_problem.baselines()["best"](0), split="test").objective.mean()
    assert 0.98 * best < found <= best


def test_it_minimises_too(pick_problem):
    pick_problem.objective = type(pick_problem.objective)("cost", "points", "minimise", per_reward=-1.0)
    policy = train(pick_problem, CONFIG, MemoryRun(seed=1))
    assert policy.weights @ pick_problem.hidden > 0


def test_resuming_gives_the_weights_of_an_uninterrupted_run(pick_problem):
    whole = MemoryRun(seed=2)
    expected = train(pick_problem, CONFIG, whole).weights
    halved = MemoryRun(seed=2, stop_after=3)
    with pytest.raises(Interrupted):
        train(pick_problem, CONFIG, halved)
    halved.stop_after = None
    assert np.array_equal(train(pick_problem, CONFIG, halved).weights, expected)
    assert halved.curves == whole.curves


def test_saved_weights_act_alike_and_an_unknown_encoder_is_named(pick_problem, tmp_path):
    policy = train(pick_problem, CONFIG.model_copy(update={"generations": 1}), MemoryRun())
    policy.save(tmp_path)
    view = pick_problem.environment(200, seed=4, split="test").reset()
    assert np.array_equal(load(tmp_path, pick_problem).act(view), policy.act(view))
    with pytest.raises(UsageError, match="no encoder 'planes'; this problem has features, vector"):
        train(pick_problem, CONFIG.model_copy(update={"encoder": "planes"}), MemoryRun())

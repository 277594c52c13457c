"""After-state values against answers computed another way: recursions, backward induction, and a resumed run."""

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from interlock.core.environment import Step
from interlock.core.errors import Interrupted, UsageError
from interlock.core.network_policy import load_network_policy
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Objective
from interlock.core.scenario import EvaluationSettings, Scenario
from interlock.core.search.after_state import AfterStateConfig
from interlock.core.search.after_state_learning import lambda_returns, train
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing import DOMAIN, bounds
from interlock.domains.bin_packing.model import mask_batch, place_one
from interlock.domains.bin_packing.problem import build
from interlock.scenarios.loading import load_scenario

OFFERS = np.array([0.5, 2.0, 3.5, 6.0])
DAYS = 4
CONFIG = AfterStateConfig(
    encoder="after_states", hidden=(4,), rounds=24, num_envs=256, steps=16, memory=16_000, batches=40, batch_size=256,
    learning_rate=5e-3, averaging=0.99, validate_every=6,
)  # fmt: skip


class Selling:
    """A house for sale: every day an offer, to take (action 0) or to leave (1); after the last day it is worth nothing.

    Leaving the offer of day ``t`` leaves behind "unsold after day t", the only thing there is to value.
    """

    constraints = ()
    action_space = spaces.Discrete(2)
    observation_space = spaces.Dict({})

    def __init__(self, num_envs, *, seed, split):
        rng = np.random.default_rng([seed, {"train": 1, "validation": 2, "test": 3}[split]])
        self.num_envs, self.offers = num_envs, rng.choice(OFFERS, (100_000, DAYS))
        self.reset()

    def _view(self):
        self.offer = self.offers[self.at[0] % len(self.offers), self.at[1]]
        return {"offer": self.offer, "day": self.at[1].copy(), "action_mask": np.ones((self.num_envs, 2), bool)}

    def reset(self, *, seed=None):
        self.at, self.next = np.stack([np.arange(self.num_envs), np.zeros(self.num_envs, int)]), self.num_envs
        return self._view()

    def step(self, action):
        played, day = self.at[0].copy(), self.at[1]
        reward, over = np.where(action == 0, self.offer, 0.0), (action == 0) | (day == DAYS - 1)
        self.at = np.stack([played, day + 1])
        self.at[:, over] = np.stack([self.next + np.arange(over.sum()), np.zeros(over.sum(), int)])
        self.next += int(over.sum())
        none = np.zeros((self.num_envs, 0))
        return Step(self._view(), reward, none, over, np.zeros_like(over), info={"instance": played})

    def state(self):
        return {"at": self.at.copy(), "next": np.array([self.next])}

    def restore(self, state):
        self.at, self.next = state["at"].copy(), int(state["next"][0])
        return self._view()


def after_states(view):
    features = np.zeros((len(view["day"]), 2, 2 + DAYS), np.float32)
    features[:, 0, 1] = view["offer"]
    features[np.arange(len(features)), 1, 2 + view["day"]] = 1.0
    return {"action_features": features}


@pytest.fixture
def selling():
    evaluation = EvaluationSettings(test_instances=300, validation_instances=100, num_envs=50)
    return SimpleNamespace(
        scenario=Scenario(domain="exact", name="selling", evaluation=evaluation),
        objective=Objective("price", "money", "maximise"),
        constraints=(),
        environment=Selling,
        baselines=lambda: {"greedy": lambda seed: FunctionPolicy(lambda view, rng: np.zeros(len(view["day"]), int))},
        encoders=lambda: {"after_states": after_states},
    )


def test_values_of_waiting_are_those_of_backward_induction(selling):
    exact = np.zeros(DAYS)
    for day in range(DAYS - 2, -1, -1):
        exact[day] = np.maximum(OFFERS, exact[day + 1]).mean()
    policy = train(selling, CONFIG, MemoryRun(seed=3))
    view = {"offer": np.ones(DAYS), "day": np.arange(DAYS), "action_mask": np.ones((DAYS, 2), bool)}
    assert np.allclose(policy.parameters(view)[:, 1].numpy(), exact, atol=0.12)
    days, offers = (grid.ravel() for grid in np.meshgrid(np.arange(DAYS), OFFERS, indexing="ij"))
    taken = policy.act({"offer": offers, "day": days, "action_mask": np.ones((len(days), 2), bool)}) == 0
    assert np.array_equal(taken, offers > exact[days])


def test_resuming_gives_the_weights_of_an_uninterrupted_run(selling):
    config = CONFIG.model_copy(update={"rounds": 6, "validate_every": 2, "teacher": "greedy"})
    whole = MemoryRun(seed=2)
    expected = train(selling, config, whole).weights()
    halved = MemoryRun(seed=2, stop_after=3)
    with pytest.raises(Interrupted):
        train(selling, config, halved)
    halved.stop_after = None
    found = train(selling, config, halved).weights()
    assert all(np.array_equal(found[name], weight) for name, weight in expected.items())
    assert halved.curves == whole.curves


def test_an_interruption_between_two_checkpoints_loses_no_round(selling):
    class Seldom(MemoryRun):
        """Checkpoints are due never, and the user stops after the third round."""

        asked = 0

        def checkpoint_due(self):
            return False

        def interrupted(self):
            self.asked += 1
            return self.asked == 4

    run = Seldom(seed=2)
    with pytest.raises(Interrupted, match="stopped after round 3 of 6"):
        train(selling, CONFIG.model_copy(update={"rounds": 6, "validate_every": 2}), run)
    assert run.last.meta["done"] == 3


def test_rounds_too_short_for_an_episode_to_end_are_refused(selling):
    patient = FunctionPolicy(lambda view, rng: np.ones(len(view["day"]), int))
    selling.baselines = lambda: {"patient": lambda seed: patient}
    with pytest.raises(UsageError, match="no episode ended within the 2 decisions of a round"):
        train(selling, CONFIG.model_copy(update={"steps": 2, "teacher": "patient", "exploration": 0.0}), MemoryRun())


def test_an_unknown_teacher_is_named(selling):
    with pytest.raises(UsageError, match="no baseline 'best' to learn from; this problem has greedy"):
        train(selling, CONFIG.model_copy(update={"teacher": "best"}), MemoryRun())


def test_lambda_returns_are_the_mixtures_of_their_definition():
    rng = np.random.default_rng(0)
    steps, rows, trace, discount = 9, 50, 0.7, 0.9
    reward, best = rng.normal(size=(steps, rows)), rng.normal(size=(steps + 1, rows))
    over, explored = rng.random((steps, rows)) < 0.2, rng.random((steps, rows)) < 0.2

    def n_step(k, r, n):
        """What the after-state of decision k is worth if the next n decisions count and then the best one is taken."""
        if over[k, r]:
            return 0.0
        if n == 0 or k + 1 == steps or explored[k + 1, r]:
            return discount * best[k + 1, r]
        return discount * (reward[k + 1, r] + n_step(k + 1, r, n - 1))

    found = lambda_returns(reward, best, over, explored, trace, discount)
    for k in range(steps):
        for r in range(rows):
            weights = [(1 - trace) * trace**n for n in range(steps)]
            expected = sum(w * n_step(k, r, n) for n, w in enumerate(weights)) + trace**steps * n_step(k, r, steps)
            assert found[k, r] == pytest.approx(expected, abs=1e-5)


def exact_value(scenario, policy):
    """Expected utilisation of a deterministic policy in a tiny bin, from all maps that it can reach."""
    bin_, sides = scenario.bin, range(scenario.items.low, scenario.items.high + 1)
    items = np.array([(a, b, c) for a in sides for b in sides for c in sides], np.int16)
    empty = bytes(bin_.length * bin_.width)
    outcomes, frontier = {}, [empty]
    while frontier:
        maps = np.array([list(key) for key in frontier], np.int16).reshape(-1, bin_.length, bin_.width)
        heights, boxes = np.repeat(maps, len(items), axis=0), np.tile(items, (len(maps), 1))
        masks = mask_batch(heights, boxes, int(scenario.orientations), bin_.height, scenario.thresholds())
        fits = np.flatnonzero(masks.any(axis=1))
        view = {"height_map": heights[fits], "items": boxes[fits][:, None], "action_mask": masks[fits]}
        actions = policy.act(view) if len(fits) else ()
        outcomes |= {key: [] for key in frontier}
        for row, action in zip(fits, actions, strict=True):
            place_one(heights[row], boxes[row], action)
            after = heights[row].astype(np.uint8).tobytes()
            outcomes[frontier[row // len(items)]].append((int(boxes[row].prod()), after))
        frontier = sorted({after for found in outcomes.values() for _, after in found} - outcomes.keys())
    values = {}
    for key in sorted(outcomes, key=lambda key: -sum(key)):  # a box raises the sum of the heights
        values[key] = sum(box + values[after] for box, after in outcomes[key]) / len(items)
    return values[empty] / (len(empty) * bin_.height)


@pytest.mark.parametrize("orientations", [1, 2])
def test_it_comes_within_a_percent_of_the_optimum_of_a_tiny_bin(orientations, tmp_path):
    scenario = load_scenario(DOMAIN, "tiny_3").with_changes(
        orientations=orientations, evaluation={"validation_instances": 1000, "test_instances": 1000}
    )
    problem = build(scenario)
    config = AfterStateConfig(
        teacher="linear12", hidden=(32,), rounds=30, num_envs=64, steps=32, memory=40_000, batches=40, batch_size=256,
        learning_rate=3e-3, averaging=0.99, validate_every=10,
    )  # fmt: skip
    policy = train(problem, config, MemoryRun(seed=1))
    optimum = bounds.exact_optimum(scenario)
    assert exact_value(scenario, bounds.optimal_policy(scenario)) == pytest.approx(optimum, abs=1e-9)
    achieved = exact_value(scenario, policy)
    assert 0.99 * optimum <= achieved <= optimum + 1e-9
    policy.save(tmp_path)
    view = problem.environment(100, seed=4, split="test").reset()
    assert np.array_equal(load_network_policy(tmp_path, problem).act(view), policy.act(view))

"""Gaussian-process smoothing: against scikit-learn, linear algebra by hand, and teachers whose smooth form is known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from interlock.core.environment import Step
from interlock.core.errors import BadInput, UsageError
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Objective
from interlock.core.scenario import EvaluationSettings, Scenario
from interlock.core.smoothing.config import SmoothingConfig
from interlock.core.smoothing.method import fit, train
from interlock.core.smoothing.policy import SmoothedPolicy, load_smoothed_policy
from interlock.core.smoothing.slabs import slabs, visited, window
from interlock.core.training import MemoryRun

SLOPES = np.array([[0.6, -0.1], [0.2, 0.3], [-0.3, 0.4]])


class Wandering:
    """States wander about 0.5 whatever is done, episodes of 4 steps; the reward is the first action."""

    constraints = ()
    observation_space = spaces.Dict({})

    def __init__(self, num_envs, *, seed, split):
        self.num_envs, self.seed = num_envs, seed
        self.action_space = spaces.Box(0.0, 0.5, (2,), np.float64)
        self.reset()

    def reset(self, *, seed=None):
        self.seed = self.seed if seed is None else seed
        self.time = 0
        return self.view()

    def view(self):
        rng = np.random.default_rng([self.seed, self.time])
        return {"place": rng.normal(0.5, [0.1, 0.2, 0.05], (self.num_envs, 3))}

    def step(self, action):
        assert action.shape == (self.num_envs, 2)
        instance = np.arange(self.num_envs) + self.num_envs * (self.time // 4)
        self.time += 1
        cut = np.full(self.num_envs, self.time % 4 == 0)
        nothing = np.zeros((self.num_envs, 0))
        final = self.view() if cut.any() else None
        return Step(self.view(), action[:, 0], nothing, ~cut & False, cut, final, info={"instance": instance})

    def state(self):
        return {"time": np.array(self.time)}

    def restore(self, state):
        self.time = int(state["time"])
        return self.view()


class WanderingScenario(Scenario):
    domain: str = "wandering"
    name: str = "wandering"
    evaluation: EvaluationSettings = EvaluationSettings(test_instances=4, validation_instances=4, num_envs=4)

    def signature(self):
        return {"domain": self.domain}


def linear(view, rng):
    return 0.25 + 0.3 * (view["place"] - 0.5) @ SLOPES


def steep(view, rng):
    return 0.25 + 0.25 * np.tanh(8.0 * (view["place"][:, :2] - 0.5))


PROBLEM = SimpleNamespace(
    scenario=WanderingScenario(),
    objective=Objective("reward", "1", "maximise"),
    metrics=tuple,
    constraints=(),
    environment=Wandering,
    baselines=lambda: {
        "linear": lambda seed: FunctionPolicy(linear),
        "steep": lambda seed: FunctionPolicy(steep),
    },
    encoders=lambda: {"halves": lambda view: {"vector": np.float32(view["place"] / 2)}},
    decoders=lambda: {"halves": lambda vector: {"place": 2.0 * vector}},
)
QUICK = {"points": 11, "across": 3, "high": 0.5, "rows": 40, "steps": 20, "fitted_on": 120}


@pytest.fixture(scope="module")
def smoothed():
    return train(PROBLEM, SmoothingConfig(baseline="steep", **QUICK), MemoryRun(seed=3))


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(5).uniform(-0.1, 0.6, (300, 3))


def some_points(count, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (count, 2))
    return points, np.stack([np.sin(3 * points[:, 0]), points.prod(axis=1)], axis=1)


def as_policy(points, fitted):
    bounds = {"low": np.full(2, -9.0), "high": np.full(2, 9.0)}
    return SmoothedPolicy(
        {"points": points, "weights": fitted.weights, "length": np.array([fitted.length]), **bounds}, None, {}
    )


def test_the_mean_is_that_of_scikit_learn_on_all_points():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    points, answers = some_points(90)
    answers = answers + np.random.default_rng(1).normal(0, 0.05, answers.shape)
    theirs = GaussianProcessRegressor(1.0 * RBF(10.0) + WhiteKernel(0.1)).fit(points, answers)
    ours = as_policy(points, fit(points, answers, SmoothingConfig(fitted_on=None), np.random.default_rng(0)))
    asked = np.random.default_rng(1).uniform(-0.5, 1.5, (400, 2))
    assert ours.mean(asked) == pytest.approx(theirs.predict(asked), abs=1e-6)


def test_the_mean_is_what_linear_algebra_by_hand_gives():
    points, answers = some_points(60, seed=2)
    answers = answers + np.random.default_rng(3).normal(0, 0.05, answers.shape)
    fitted = fit(points, answers, SmoothingConfig(fitted_on=30), np.random.default_rng(0))

    def covariance(one, other):
        apart = ((one[:, None, :] - other[None, :, :]) ** 2).sum(axis=2)
        return fitted.variance * np.exp(-apart / (2 * fitted.length**2))

    asked = np.random.default_rng(4).uniform(0, 1, (50, 2))
    noisy = covariance(points, points) + fitted.noise * np.eye(len(points))
    by_hand = covariance(asked, points) @ np.linalg.solve(noisy, answers)
    assert as_policy(points, fitted).mean(asked) == pytest.approx(by_hand, abs=1e-6)


def test_the_kernel_is_the_likeliest_of_its_neighbours():
    points, answers = some_points(70, seed=6)
    answers = answers + np.random.default_rng(7).normal(0, 0.1, answers.shape)
    fitted = fit(points, answers, SmoothingConfig(fitted_on=None), np.random.default_rng(0))
    apart = ((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)

    def likelihood(variance, length, noise):
        matrix = variance * np.exp(-apart / (2 * length**2)) + noise * np.eye(len(points))
        return -0.5 * (answers * np.linalg.solve(matrix, answers)).sum() - np.linalg.slogdet(matrix)[1]

    best = likelihood(fitted.variance, fitted.length, fitted.noise)
    for factors in ((1.2, 1, 1), (0.8, 1, 1), (1, 1.1, 1), (1, 0.9, 1), (1, 1, 1.2), (1, 1, 0.8)):
        changed = np.array(factors) * (fitted.variance, fitted.length, fitted.noise)
        assert likelihood(*changed) < best


def test_a_linear_teacher_comes_out_as_it_went_in():
    policy = train(PROBLEM, SmoothingConfig(baseline="linear", **QUICK), MemoryRun(seed=0))
    view = {"place": np.random.default_rng(8).normal(0.5, 0.08, (500, 3))}
    assert policy.act(view) == pytest.approx(linear(view, None), abs=1e-3)


def test_answers_stay_within_the_bounds_of_the_actions(smoothed, inputs):
    actions = smoothed.act({"place": 2 * inputs})
    assert actions.min() >= 0.0
    assert actions.max() <= 0.5
    mean = smoothed.mean(inputs.astype(np.float32))
    assert (mean < 0.0).any(), "the clip has something to do"
    assert actions == pytest.approx(np.clip(mean, 0.0, 0.5), abs=1e-6)


def test_the_window_is_the_smallest_of_equal_ranks_that_holds_its_share():
    states = np.random.default_rng(9).normal(size=(501, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.2], [0, 0, 1]])
    box = window(states, 0.7)
    ranked = np.sort(states, axis=0)
    cut = int(np.flatnonzero(ranked[:, 0] == box[0, 0])[0])
    assert (box == ranked[[cut, -1 - cut]]).all()

    def share(low, high):
        return ((states >= low) & (states <= high)).all(axis=1).mean()

    assert share(*box) >= 0.7
    assert share(*ranked[[cut + 1, -2 - cut]]) < 0.7


@pytest.mark.parametrize("share", [1.0, 0.01])
def test_the_window_of_all_states_is_their_range_and_that_of_few_is_not_empty(share):
    states = np.random.default_rng(1).uniform(size=(40, 2))
    box = window(states, share)
    inside = ((states >= box[0]) & (states <= box[1])).all(axis=1)
    assert inside.mean() >= share
    if share == 1.0:
        assert (box == [states.min(axis=0), states.max(axis=0)]).all()


def test_slabs_run_through_the_window():
    box = np.array([[0.2, 0.3, 0.4], [0.5, 0.6, 0.7]])
    points = slabs(box, low=0.0, high=1.0, points=51, across=5)
    assert points.shape == (3 * 51 * 25, 3)
    expected = {
        (x, y, z)
        for along in range(3)
        for x in np.linspace(0, 1, 51) if along == 0 or x == 0
        for y in np.linspace(0, 1, 51) if along == 1 or y == 0
        for z in np.linspace(0, 1, 51) if along == 2 or z == 0
    }  # fmt: skip
    assert len(expected) == 3 * 50 + 1, "the lines of the check itself"
    for along in range(3):
        slab = points[along * 1275 : (along + 1) * 1275]
        for j in range(3):
            axis = np.linspace(0, 1, 51) if j == along else np.linspace(box[0, j], box[1, j], 5)
            assert np.unique(slab[:, j]) == pytest.approx(axis)
        assert len(np.unique(slab, axis=0)) == 1275
    assert slabs(box[:, :1], low=0.0, high=1.0, points=51, across=5)[:, 0] == pytest.approx(np.linspace(0, 1, 51))


def test_visited_states_are_those_of_the_environment():
    encoder = PROBLEM.encoders()["halves"]
    seen = visited(PROBLEM, FunctionPolicy(linear), encoder, rows=30, steps=50, seed=0)
    assert seen.shape == (1500, 3)
    assert seen.mean(axis=0) == pytest.approx([0.25] * 3, abs=0.01)
    assert seen.std(axis=0) == pytest.approx([0.05, 0.1, 0.025], rel=0.1)


def test_a_saved_policy_is_the_same(smoothed, inputs, tmp_path):
    smoothed.save(tmp_path)
    loaded = load_smoothed_policy(tmp_path, PROBLEM)
    assert (loaded.mean(inputs) == smoothed.mean(inputs)).all()
    assert loaded.description == smoothed.description


def test_the_same_seed_smooths_alike(smoothed, inputs):
    again = train(PROBLEM, SmoothingConfig(baseline="steep", **QUICK), MemoryRun(seed=3))
    assert (again.mean(inputs) == smoothed.mean(inputs)).all()


def test_rows_do_not_depend_on_their_batch(smoothed, inputs):
    assert smoothed.mean(inputs[200:]) == pytest.approx(smoothed.mean(inputs)[200:], abs=1e-12)


def test_the_exported_graph_decides_alike(smoothed, inputs, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    described = smoothed.export_scorer(tmp_path)
    assert described == {"kind": "onnx_recurrent", "encoder": "halves", "file": "policy.onnx", "inputs": ["vector"]}
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    for rows in (1, 300):
        vector = inputs[:rows].astype(np.float32)
        (raw,) = session.run(["raw"], {"vector": vector})
        assert raw == pytest.approx(np.clip(smoothed.mean(vector), 0.0, 0.5), abs=1e-9)


def damaged(tmp_path, smoothed, *, arrays=None, **changes):
    from safetensors.numpy import save_file

    smoothed.save(tmp_path)
    described = json.loads((tmp_path / "policy.json").read_text()) | changes
    (tmp_path / "policy.json").write_text(json.dumps(described))
    save_file({**smoothed.arrays, **(arrays or {})}, tmp_path / "policy.safetensors")
    with pytest.raises(BadInput) as caught:
        load_smoothed_policy(tmp_path, PROBLEM)
    return str(caught.value)


def test_damaged_policies_are_refused(smoothed, tmp_path):
    assert "no encoder 'quarters'" in damaged(tmp_path, smoothed, encoder="quarters")
    assert "encoder must be text" in damaged(tmp_path, smoothed, encoder=None)
    told = damaged(tmp_path, smoothed, arrays={"weights": np.ones((7, 2)), "low": np.full(2, np.nan)})
    assert "weights has shape (7, 2)" in told
    assert "low: not all numbers are finite" in told
    assert "length is 0" in damaged(tmp_path, smoothed, arrays={"length": np.zeros(1)})
    assert "the policy was made for" in damaged(tmp_path, smoothed, signature={"domain": "other"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "none"}, "no baseline 'none' to smooth; this problem has linear, steep"),
        ({"baseline": "linear", "encoder": "other"}, "no encoder 'other'"),
        ({"baseline": "linear", "across": 40}, "3 inputs make 52800 slab points, at most 6000 are allowed"),
    ],
)
def test_what_cannot_be_smoothed_is_refused(settings, message):
    with pytest.raises(UsageError) as caught:
        train(PROBLEM, SmoothingConfig(**{**QUICK, **settings}), MemoryRun())
    assert message in str(caught.value)


def test_encoders_that_nobody_decodes_are_refused():
    mute = SimpleNamespace(**{name: value for name, value in vars(PROBLEM).items() if name != "decoders"})
    with pytest.raises(UsageError, match="no encoder is decoded"):
        train(mute, SmoothingConfig(baseline="linear"), MemoryRun())


TEACHER = {"head": "gaussian", "steps": 4096, "num_envs": 32, "rollout": 16, "validate_every": 2048}


def test_a_trained_teacher_stands_beside_the_smooth_rule_and_resumes_to_the_same():
    pytest.importorskip("torch")
    from interlock.core.errors import Interrupted

    config = SmoothingConfig(teacher=TEACHER, **QUICK)
    whole = train(PROBLEM, config, MemoryRun(seed=1))
    assert whole.last.description["role"] == "teacher"
    view = {"place": np.random.default_rng(2).normal(0.5, 0.05, (200, 3))}
    assert np.abs(whole.act(view) - whole.last.act(view)).max() < 0.02
    run = MemoryRun(seed=1, stop_after=3)
    with pytest.raises(Interrupted):
        train(PROBLEM, config, run)
    run.stop_after = None
    assert (train(PROBLEM, config, run).mean(view["place"]) == whole.mean(view["place"])).all()


def test_the_teacher_leaves_time_for_smoothing():
    pytest.importorskip("torch")
    run = MemoryRun(seed=0)
    run.budget_share = lambda: 0.5 * (len(run.curves) >= 2)
    train(PROBLEM, SmoothingConfig(teacher=TEACHER, teaching=0.5, **QUICK), run)
    assert 0 < run.curves[-1]["step"] < TEACHER["steps"]

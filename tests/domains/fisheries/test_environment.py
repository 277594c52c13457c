"""The batched environment: the same future whatever is decided, honest surveys, and what it refuses."""

import numpy as np
import pytest

from interlock.core.errors import BrokenEnvironment, UsageError
from interlock.core.evaluation.protocol import play
from interlock.core.policy import FunctionPolicy
from interlock.core.testing import check_problem
from interlock.domains.fisheries.instances import factors
from interlock.domains.fisheries.problem import build

CASES = {
    "one": ("one", {"horizon": 12, "baselines": ["f_msy", "myopic", "optimum", "optimum_stationary"]}),
    "limited": (
        "web",
        {
            "horizon": 12,
            "limits": {"tac": 0.2, "max_change": 0.15},
            "observed": {"hidden": ["z"], "cv": 0.1, "time": True},
            "baselines": ["constant_escapement", "precautionary", "myopic"],
        },
    ),
    "uncertain": (
        "web",
        {"horizon": 12, "uncertainty": {"sd": 0.2, "runs": 10}, "collapse_probability": None, "low_years": None},
    ),
}


def constant(mortality):
    return FunctionPolicy(lambda view, rng: np.tile(mortality, (len(view["stock"]), 1)))


@pytest.mark.parametrize("case", CASES)
def test_the_problem_passes_every_check_of_the_core(case, scenarios):
    kind, changes = CASES[case]
    check_problem(build(getattr(scenarios, kind)(**changes)), instances=6)


def test_noise_does_not_depend_on_decisions(scenarios):
    def growth(mortality):
        environment = build(scenarios.one(model={"kind": "one_species", "beta": 0.0, "r": 1e-9})).environment(
            50, seed=1, split="test"
        )
        before, found = environment.reset()["stock"], []
        for _ in range(20):
            step = environment.step(np.full((50, 1), mortality))
            found.append(step.observation["stock"] / (before * (1 - mortality)))
            before = step.observation["stock"]
        return np.array(found)

    assert np.allclose(growth(0.0), growth(0.04), atol=1e-8)  # without growth, the ratio is 1 plus the noise


def test_surveys_err_by_their_cv_and_leave_the_process_alone(scenarios):
    exact = build(scenarios.web()).environment(4000, seed=1, split="train")
    blurred = build(scenarios.web(observed={"cv": 0.1, "hidden": ["z"]})).environment(4000, seed=1, split="train")
    first, seen = exact.reset()["stock"], blurred.reset()["stock"]
    assert seen.shape == (4000, 2)
    for _ in range(3):
        error = seen / first[:, :2] - 1.0
        assert abs(error.mean()) < 0.005
        assert error.std() == pytest.approx(0.1, abs=0.005)
        action = np.full((4000, 2), 0.2)
        one, two = exact.step(action), blurred.step(action)
        assert np.array_equal(one.reward, two.reward)
        first, seen = one.observation["stock"], two.observation["stock"]


def test_metrics_are_those_of_the_catches(scenarios):
    scenario, share = scenarios.web(horizon=30), 0.3
    problem = build(scenario)
    environment = problem.environment(20, seed=5, split="train")
    observation, caught, alive = environment.reset(), [], np.ones(20, bool)
    length, series = np.zeros(20), [[] for _ in range(20)]
    for _ in range(30):
        caught = share * observation["stock"][:, :2].sum(axis=1)
        step = environment.step(np.full((20, 2), share))
        for row in np.flatnonzero(alive):
            series[row].append(caught[row])
        length[alive] += 1
        for row in np.flatnonzero(step.done & alive):
            info = {name: values[row] for name, values in step.info.items()}
            catches = np.array(series[row])
            assert info["yield"] == pytest.approx(catches.sum())
            assert info["catch_x"] + info["catch_y"] == pytest.approx(catches.sum())
            assert info["aav"] == pytest.approx(np.abs(np.diff(catches)).sum() / catches.sum(), rel=1e-5)
            assert info["length"] == length[row] == len(catches)
            assert info["survival"] == (not step.terminated[row])
            alive[row] = False
        observation = step.observation
    assert not alive.any()


def test_a_closed_fishery_is_closed_every_year(scenarios):
    outcome = play(build(scenarios.web(horizon=20)), constant([0.0, 0.0]), split="train", count=10)
    assert (outcome.metrics["closed_years"] == 1).all()
    assert (outcome.metrics["aav"] == 0).all()


def test_mortalities_that_are_no_numbers_are_refused_and_those_outside_are_clipped_and_counted(scenarios):
    environment = build(scenarios.web()).environment(3, seed=1, split="train")
    action = np.full((3, 2), 0.1)
    for wrong in (np.nan, np.inf):
        bad = action.copy()
        bad[1, 1] = wrong
        with pytest.raises(BrokenEnvironment, match=r"instance 1.*y is"):
            environment.step(bad)
    with pytest.raises(BrokenEnvironment, match="shape"):
        environment.step(np.zeros((3, 1)))
    twin = build(scenarios.web()).environment(3, seed=1, split="train")
    with pytest.warns(UserWarning, match="clipped"):
        clipped = environment.step(action - np.array([0.5, 0.0]))
    assert np.array_equal(clipped.reward, twin.step(action * np.array([0.0, 1.0])).reward)
    assert environment.clipped == 3


def test_uncertain_parameters_let_the_unfished_stocks_live(scenarios):
    scenario = scenarios.web(uncertainty={"sd": 0.2, "runs": 50})
    drawn = factors(scenario, 1, "train", 30, 60)
    assert drawn.shape == (60, 13)
    assert np.array_equal(drawn[10:20], factors(scenario, 1, "train", 40, 10))
    assert drawn.std() == pytest.approx(0.2, abs=0.04)
    outcome = play(build(scenario), constant([0.0, 0.0]), split="train", count=400, seed=1)
    assert outcome.metrics["survival"].mean() > 0.97
    hopeless = scenarios.one(model={"kind": "one_species", "beta": 0.6}, uncertainty={"sd": 0.05})
    with pytest.raises(UsageError, match="uncertainty"):
        factors(hopeless, 1, "train", 0, 1)

"""Features that see overhang and the centre of gravity, against loops over boxes and the costs of the environment."""

import numpy as np
import pytest

from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.encoders import encoders
from interlock.domains.bin_packing.features import placement_features
from interlock.domains.bin_packing.model import place_one
from interlock.domains.bin_packing.problem import build
from interlock.scenarios.loading import load_scenario


def centre_distance(heights):
    """Of the middle of the columns, by numpy."""
    if heights.sum() == 0:
        return 0.0
    shares = heights / heights.sum()
    x = (shares.sum(axis=1) * (np.arange(heights.shape[0]) + 0.5)).sum() - heights.shape[0] / 2
    y = (shares.sum(axis=0) * (np.arange(heights.shape[1]) + 0.5)).sum() - heights.shape[1] / 2
    return float(np.sqrt(x * x + y * y))


@pytest.mark.parametrize("shape", [{"orientations": 1}, {"orientations": 2, "bin": {"length": 8, "width": 11}}])
def test_every_feature_by_placing_the_box(shape):
    scenario = load_scenario(DOMAIN, "cut2_constrained").with_changes(stream="rs", **shape)
    problem = build(scenario)
    environment, rule = problem.environment(12, seed=5, split="train"), problem.baselines()["random"](0)
    view = environment.reset()
    for _ in range(4):
        view = environment.step(rule.act(view)).observation
    found = encoders(scenario)["placements_soft"](view)["action_features"]
    mask, ceiling = view["action_mask"], scenario.bin.height
    items = np.ascontiguousarray(view["items"][:, 0])
    np.testing.assert_array_equal(found[:, :, :12], placement_features(view["height_map"], items, mask, ceiling))
    assert not found[~mask].any()
    half = min(view["height_map"].shape[1:]) / 2
    for row, action in np.argwhere(mask)[::3]:
        before = view["height_map"][row]
        after = before.copy()
        place_one(after, items[row], action)
        raised = after != before
        under = before[raised]
        expected = (
            1.0 - (under == under.max()).mean(),
            centre_distance(after) / half,
            (centre_distance(after) - centre_distance(before)) / half,
            after.sum() / (after.size * ceiling),
        )
        assert found[row, action, 12:] == pytest.approx(expected, abs=1e-5)


def test_on_full_support_they_are_the_costs_of_the_environment():
    scenario = load_scenario(DOMAIN, "cut2_constrained").with_changes(stability="full", cog_radius=0.1)
    problem = build(scenario)
    environment, rule = problem.environment(100, seed=6, split="train"), problem.baselines()["first_fit"](0)
    view, rows, ended, off = environment.reset(), np.arange(100), 0, 0
    for _ in range(40):
        actions = rule.act(view)
        features = encoders(scenario)["placements_soft"](view)["action_features"][rows, actions, 12:]
        step = environment.step(actions)
        assert (step.cost[:, 1] == 0).all()
        assert (features[:, 0] == 0).all()
        done = np.flatnonzero(step.done)
        np.testing.assert_array_equal(step.cost[done, 2] > 0, features[done, 1] * 5 > 1.0 + 1e-6)
        ended, off = ended + len(done), off + int((step.cost[done, 2] > 0).sum())
        view = step.observation
    assert 0 < off < ended


def test_where_boxes_have_weights_there_is_no_such_encoder():
    assert "placements_soft" not in encoders(load_scenario(DOMAIN, "set125_weights"))
    assert "placements_soft" not in encoders(load_scenario(DOMAIN, "four_bins"))

"""Features of the height maps that placements leave, against loops over items, lines and cells."""

from itertools import groupby

import numpy as np
import pytest

from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.after_state import CANDIDATES, after_states
from interlock.domains.bin_packing.encoders import encoders
from interlock.domains.bin_packing.model import mask_batch, place_one
from interlock.domains.bin_packing.problem import build
from interlock.scenarios.loading import load_scenario

COUNTS, STRETCHES, STEPS, LEVELS = slice(14, 104), slice(104, 134), slice(134, 140), slice(140, 151)


@pytest.fixture(scope="module", params=["cut2", "rs_rot"])
def seen(request):
    """States in the middle of play, with their features."""
    scenario = load_scenario(DOMAIN, request.param)
    problem = build(scenario)
    rule, environment = problem.baselines()["linear12"](0), problem.environment(40, seed=3, split="train")
    view = environment.reset()
    for _ in range(9):
        view = environment.step(rule.act(view)).observation
    return scenario, rule, view, after_states(scenario)(view)["action_features"]


def described(seen):
    """(state, its features, the height map left) of every described placement."""
    _, _, view, features = seen
    for row, action in np.argwhere(features[:, :, 0] == 0):
        after = view["height_map"][row].astype(np.int16).copy()
        place_one(after, view["items"][row, 0], action)
        yield row, features[row, action], after


def least_image(view, row, action):
    """The first of the mirror images and transposes of the height map that a placement leaves."""
    after = view["height_map"][row].astype(np.int16).copy()
    place_one(after, view["items"][row, 0], action)
    return min(np.rot90(one, k).tobytes() for one in (after, after.T) for k in range(4))


def test_the_described_placements_are_the_best_of_the_rule(seen):
    scenario, rule, view, features = seen
    scores = np.where(view["action_mask"], rule.scores(view), -np.inf)
    kept = features[:, :, 0] == 0
    assert not (kept & ~view["action_mask"]).any()
    assert (kept.sum(axis=1) <= CANDIDATES).all()
    assert kept.any(axis=1).all()
    for row in range(len(kept)):
        left = {action: least_image(view, row, action) for action in np.flatnonzero(view["action_mask"][row])}
        described = {left[action] for action in np.flatnonzero(kept[row])}
        assert len(described) == kept[row].sum()
        worst = scores[row][kept[row]].min()
        assert all(left[action] in described for action in left if scores[row, action] > worst + 1e-6)
        assert len(described) == min(CANDIDATES, len(set(left.values())))
    assert (features[~kept][:, 1:] == 0).all()
    volume = view["items"][:, 0].prod(axis=1) / 1000
    assert np.allclose(features[..., 1], np.where(kept, 10 * volume[:, None], 0))
    assert np.allclose(features[kept][:, 2:14], encoders(scenario)["placements"](view)["action_features"][kept])


def test_positions_of_coming_boxes_are_those_of_their_masks(seen):
    scenario = seen[0]
    both_ways = int(scenario.orientations) == 2
    for _, features, after in list(described(seen))[::7]:
        expected = []
        for a in range(2, 6):
            for b in range(a, 6):
                counts = np.zeros((4, 2))
                for h in range(2, 6):
                    items = np.array([(a, b, h), (b, a, h)], np.int16)
                    masks = mask_batch(np.stack([after, after]), items, 1, 10, scenario.thresholds())
                    counts[h - 2] = masks.sum(axis=1)
                tallest = [
                    max(h for h in range(11) if h == 0 or fits(scenario, after, sides, h)) for sides in ((a, b), (b, a))
                ]
                for pair in counts:
                    expected.append(float(pair.sum() > 0) if both_ways else np.mean(pair > 0))
                    expected.append(0.5 * np.log1p(pair.sum()) if both_ways else 0.25 * np.log1p(pair).sum())
                expected.append((max(tallest) if both_ways else np.mean(tallest)) / 10)
        assert np.allclose(features[COUNTS], expected, atol=1e-5)


def fits(scenario, after, sides, height):
    box = np.array([(*sides, height)], np.int16)
    return mask_batch(after[None], box, 1, 10, scenario.thresholds()).any()


def test_stretches_steps_and_levels_are_those_of_the_lines(seen):
    for _, features, after in described(seen):
        stretches, steps = np.zeros((3, 10)), np.zeros(6)
        for line in [*after, *after.T]:
            runs = [(level, len(list(cells))) for level, cells in groupby(line)]
            levels = [99, *(level for level, _ in runs), 99]  # walls are high
            for k, (level, length) in enumerate(runs):
                if level <= 8:
                    stretches[int(levels[k] > level) + int(levels[k + 2] > level), length - 1] += 0.1
            for difference in np.abs(np.diff([level for level, _ in runs])):
                steps[min(difference, 6) - 1] += 0.05
        assert np.allclose(features[STRETCHES], stretches.ravel(), atol=1e-5)
        assert np.allclose(features[STEPS], steps, atol=1e-5)
        assert np.allclose(features[LEVELS], np.bincount(after.ravel(), minlength=11) / 100, atol=1e-5)


def test_a_mirrored_placement_in_a_mirrored_bin_has_the_same_features(seen):
    scenario, _, view, features = seen
    heights = np.ascontiguousarray(view["height_map"][:, ::-1])
    masks = mask_batch(heights, view["items"][:, 0], int(scenario.orientations), 10, scenario.thresholds())
    mirrored = after_states(scenario)({"height_map": heights, "items": view["items"], "action_mask": masks})
    compared = 0
    for row, action in np.argwhere(features[:, :, 0] == 0):
        turned, x, y = action // 100, action // 10 % 10, action % 10
        length = view["items"][row, 0, turned]
        other = mirrored["action_features"][row, turned * 100 + (10 - length - x) * 10 + y]
        if other[0] == 0:
            assert np.allclose(other, features[row, action], atol=1e-5)
            compared += 1
    assert compared > 50

"""The numpy feasibility check against a transcription of the rule in plain Python, and against the compiled kernels."""

from collections.abc import Sequence

import numpy as np
import pytest

from interlock.domains.bin_packing import model
from interlock.domains.bin_packing.decision import feasible_placements, placement_report
from interlock.domains.bin_packing.placements import DUPLICATE, FEASIBLE, OUTSIDE, TOO_HIGH, UNSTABLE
from interlock.domains.bin_packing.scenario import PRESETS

THRESHOLDS = {name: tuple(round(10_000 * value) for value in values) for name, values in PRESETS.items()}


def contacts(heights: list[list[int]], length: int, width: int) -> dict[tuple[int, int], tuple[int, int, int]]:
    """(x, y) -> set-down height, cells at it, corners at it, for every footprint inside the bin."""
    found = {}
    for x in range(len(heights) - length + 1):
        for y in range(len(heights[0]) - width + 1):
            under = [heights[i][y : y + width] for i in range(x, x + length)]
            z = max(max(row) for row in under)
            cells = sum(row.count(z) for row in under)
            corners = [under[0][0], under[0][-1], under[-1][0], under[-1][-1]].count(z)
            found[x, y] = (z, cells, corners)
    return found


def allowed(z: int, cells: int, corners: int, area: int, h: int, ceiling: int, thresholds: Sequence[int]) -> bool:
    theta4, theta3, theta0 = thresholds
    if z + h > ceiling:
        return False
    if cells == area:
        return True
    share = 10_000 * cells
    return (corners == 4 and share > theta4 * area) or (corners >= 3 and share > theta3 * area) or share > theta0 * area


def random_states(rng: np.random.Generator, count: int, size: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Rough, terraced and nearly flat height maps, and boxes."""
    rough = rng.integers(0, size, (count, size, size))
    step = max(2, size // 4)
    blocks = rng.integers(0, size // 2, (count, -(-size // step), -(-size // step)))
    terraced = blocks.repeat(step, 1).repeat(step, 2)[:, :size, :size]
    flat = rng.integers(0, size // 2, (count, 1, 1)) - (rng.random((count, size, size)) < 0.08)
    kind = rng.integers(0, 10, (count, 1, 1))
    heights = np.where(kind == 0, rough, np.where(kind < 6, terraced, np.maximum(flat, 0)))
    return heights, rng.integers(2, largest + 1, (count, 3))


@pytest.mark.parametrize(("size", "largest", "states"), [(10, 5, 5_000), (20, 10, 2_500), (20, 5, 2_500)])
def test_masks_equal_brute_force_under_every_preset(size: int, largest: int, states: int) -> None:
    """5,000 states with two orientations each: 10,000 triples for either size of bin."""
    rng = np.random.default_rng(size + largest)
    heights, items = random_states(rng, states, size, largest)
    masks = {
        name: feasible_placements(heights, items, ceiling=size, orientations=2, thresholds=thresholds)
        for name, thresholds in THRESHOLDS.items()
    }
    expected = {name: np.zeros((states, 2, size, size), bool) for name in THRESHOLDS}
    for row, (height_map, (length, width, h)) in enumerate(zip(heights.tolist(), items.tolist(), strict=True)):
        for o, (dx, dy) in enumerate([(length, width), (width, length)] if length != width else [(length, width)]):
            for (x, y), (z, cells, corners) in contacts(height_map, dx, dy).items():
                for name, thresholds in THRESHOLDS.items():
                    if allowed(z, cells, corners, dx * dy, h, size, thresholds):
                        expected[name][row, o, x, y] = True
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, expected[name].reshape(states, -1), err_msg=name)
        compiled = model.mask_batch(heights.astype(np.int16), items.astype(np.int16), 2, size, THRESHOLDS[name])
        np.testing.assert_array_equal(compiled, mask, err_msg=name)
        assert 0.005 < mask.mean() < 0.5
    assert len({mask.tobytes() for mask in masks.values()}) == len(PRESETS)


def test_one_state_is_a_row_of_a_batch() -> None:
    heights, items = random_states(np.random.default_rng(1), 40, 10, 5)
    rules = {"ceiling": 10, "orientations": 2, "thresholds": THRESHOLDS["released"]}
    batch = feasible_placements(heights, items, **rules)
    single = [feasible_placements(heights[k : k + 1], items[k : k + 1], **rules)[0] for k in range(40)]
    np.testing.assert_array_equal(batch, single)


def support(cells: list[list[int]], preset: str) -> bool:
    """Whether a box of exactly this footprint may stand on these cells (1: supported)."""
    heights = np.array([cells]) * 3
    item = (*heights.shape[1:], 2)
    mask = feasible_placements(heights, [item], ceiling=10, orientations=1, thresholds=THRESHOLDS[preset])
    return bool(mask[0, 0])


def test_two_by_two_needs_full_support() -> None:
    for preset in PRESETS:
        assert support([[1, 1], [1, 1]], preset)
        assert not support([[1, 1], [1, 0]], preset)


@pytest.mark.parametrize(
    ("cells", "paper", "released"),
    [
        ([[1, 1, 1], [1, 1, 0]], True, False),  # 2 x 3, one corner unsupported: 5/6 = 0.833
        ([[1, 0, 1], [1, 0, 1]], True, True),  # 2 x 3 on its four corners only: 4/6 = 0.667
        ([[1, 0, 0, 1], [1, 0, 0, 1]], False, False),  # 2 x 4 on four corners only: 0.5 is not more than 0.5
        ([[1, 1, 0, 0, 1], [1, 1, 0, 0, 1]], False, True),  # 2 x 5 on 6 cells with 4 corners: 0.6 is not more than 0.6
    ],
)
def test_shares_are_compared_strictly_and_as_integers(cells: list[list[int]], paper: bool, released: bool) -> None:
    assert support(cells, "paper") is paper
    assert support(cells, "released") is released
    assert not support(cells, "full")


def test_share_exactly_at_a_threshold_is_refused_and_full_support_never_is() -> None:
    nineteen_of_twenty = np.ones((4, 5), int)
    nineteen_of_twenty[1, 2] = 0
    two_corners_less = nineteen_of_twenty.copy()
    two_corners_less[1, 2], two_corners_less[0, 0] = 1, 0
    assert support(nineteen_of_twenty.tolist(), "paper")  # four corners: 0.95 > 0.60
    assert not support(nineteen_of_twenty.tolist(), "full")
    assert support(two_corners_less.tolist(), "paper")  # three corners: 0.95 > 0.80
    row = [[1] * 19 + [0]]  # one cell deep: the missing end is two of the four corners, 0.95 is not more than 0.95
    assert not support(row, "paper")
    assert support([[1] * 20 + [0]], "paper")  # 20/21 is
    for preset in PRESETS:
        assert support(np.ones((4, 5), int).tolist(), preset)


def test_report_names_the_first_rule_that_forbids() -> None:
    heights = np.zeros((1, 4, 4), int)
    heights[0, 0, :2] = 3
    report = placement_report(heights, [(2, 2, 2)], ceiling=4, orientations=2, thresholds=THRESHOLDS["released"])
    rule = report.rule[0, 0]
    assert rule[0, 0] == TOO_HIGH
    assert rule[3, 0] == OUTSIDE
    assert rule[2, 2] == FEASIBLE
    assert (report.rule[0, 1] == DUPLICATE).all()
    low = placement_report(heights, [(2, 2, 1)], ceiling=4, orientations=1, thresholds=THRESHOLDS["released"])
    assert low.rule[0, 0, 0, 0] == UNSTABLE
    assert (low.z[0, 0, 0, 0], low.support[0, 0, 0, 0], low.corners[0, 0, 0, 0]) == (3, 2, 2)


def test_a_box_too_long_one_way_may_fit_the_other() -> None:
    mask = feasible_placements(
        np.zeros((1, 3, 6), int), [(5, 2, 1)], ceiling=3, orientations=2, thresholds=THRESHOLDS["full"]
    )
    per_orientation = mask.reshape(2, 3, 6)
    assert not per_orientation[0].any()
    assert np.argwhere(per_orientation[1]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_a_fine_bin_with_large_boxes_is_quick_and_right() -> None:
    rng = np.random.default_rng(3)
    heights = rng.integers(0, 3, (1, 20, 20)).repeat(6, 1).repeat(6, 2)
    mask = feasible_placements(heights, [(60, 40, 30)], ceiling=100, orientations=1, thresholds=THRESHOLDS["strict75"])
    compiled = model.mask_batch(
        heights.astype(np.int16), np.array([[60, 40, 30]], np.int16), 1, 100, THRESHOLDS["strict75"]
    )
    np.testing.assert_array_equal(mask, compiled)

"""The check of stacks against hand-worked cases, its plain twin, and what must hold of any sharing of loads."""

import math

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from interlock.domains.bin_packing import release_stacking as plain
from interlock.domains.bin_packing.model import mask_one
from interlock.domains.bin_packing.stacking import CRUSHES, STANDS, TIPS, settle, stacking_mask, stacking_verdict

Place = tuple[int, int, int, int, int, int]


def arrays(places: list[Place], weights: list[float]) -> tuple[np.ndarray, np.ndarray, int]:
    return np.array(places, np.int16).reshape(-1, 6), np.array(weights, float), len(places)


def twin_stack(places: list[Place], weights: list[float], limits: list[float]) -> plain.Stack:
    boxes = [
        plain.Stacked(k, place[:3], place[3:], weight, limit)
        for k, (place, weight, limit) in enumerate(zip(places, weights, limits, strict=True))
    ]
    return plain.settled(boxes)


def verdict(
    places: list[Place], weights: list[float], box: Place, weight: float = 1.0, limits: list[float] | None = None
) -> int:
    """What both checks say; they must agree."""
    limits = limits or [math.inf] * len(places)
    packed, masses, count = arrays(places, weights)
    found = stacking_verdict(packed, masses, np.array(limits), count, np.array(box), weight, True, True)
    burden = plain.burden(
        twin_stack(places, weights, limits), plain.Stacked("new", box[:3], box[3:], weight, 1.0), "kg"
    )
    assert found == (TIPS if burden.tips else CRUSHES if burden.crushed else STANDS)
    return int(found)


def carried(places: list[Place], weights: list[float]) -> list[float]:
    """Mass on top of each box, by both checks."""
    packed, masses, count = arrays(places, weights)
    loads = settle(packed, masses, count)
    stack = twin_stack(places, weights, [math.inf] * count)
    for k in range(count):
        forces = [force for upper in stack.above[k] for force in stack.forces[upper] if force.below == k]
        moments = [sum(force.mass * force.point[axis] for force in forces) for axis in (0, 1)]
        np.testing.assert_allclose(loads[k], [sum(force.mass for force in forces), *moments], atol=1e-9)
    return [round(float(load), 12) for load in loads[:, 0]]


def test_a_box_on_the_floor_and_a_cantilever() -> None:
    assert verdict([], [], (0, 0, 0, 3, 2, 1)) == STANDS
    low = [(0, 0, 0, 2, 2, 2)]
    assert verdict(low, [1.0], (0, 0, 2, 3, 2, 1)) == STANDS  # its middle 1.5 is over 0 to 2
    assert verdict(low, [1.0], (0, 0, 2, 4, 2, 1)) == TIPS  # its middle 2 is on the very edge
    assert verdict(low, [1.0], (1, 0, 2, 3, 2, 1)) == TIPS
    assert verdict(low, [1.0], (0, 0, 3, 2, 2, 1)) == TIPS  # nothing has its top at 3


def test_a_bridge_shares_by_the_lever_rule() -> None:
    piers = [(0, 0, 0, 1, 2, 2), (5, 0, 0, 1, 2, 2)]  # contact centres 0.5 and 5.5
    assert carried([*piers, (0, 0, 2, 6, 2, 1)], [1.0, 1.0, 4.0]) == [2.0, 2.0, 0.0]
    near = [(0, 0, 0, 1, 2, 2), (3, 0, 0, 1, 2, 2)]  # the middle 3 of a beam from 1 before: 0.5 and 3.5
    assert carried([*near, (0, 0, 2, 6, 2, 1)], [1.0, 1.0, 6.0]) == [1.0, 5.0, 0.0]
    assert verdict(near, [1.0, 1.0], (0, 0, 2, 6, 2, 1), 6.0, [1.0, 5.0]) == STANDS
    assert verdict(near, [1.0, 1.0], (0, 0, 2, 6, 2, 1), 6.0, [1.0, 4.9]) == CRUSHES
    assert verdict(near, [1.0, 1.0], (0, 0, 2, 6, 2, 1), 6.0, [0.9, 5.0]) == CRUSHES
    assert verdict(near, [1.0, 1.0], (0, 0, 2, 8, 2, 1), 6.0) == TIPS  # the middle 4 is on the edge of the second


def test_a_table_of_four_legs() -> None:
    legs = [(x, y, 0, 1, 1, 3) for x in (0, 5) for y in (0, 3)]
    top = (0, 0, 3, 6, 4, 1)
    assert carried([*legs, top], [1.0] * 4 + [8.0]) == [2.0, 2.0, 2.0, 2.0, 0.0]
    # 4 kg at (1, 1) on the top: 12 kg in all, off the middle (3, 2); shares are linear in the place of a leg, and the
    # legs stand 2.5 and 1.5 off the middle, so that the squares of their distances sum to 25 and 9.
    found = carried([*legs, top, (0, 0, 4, 2, 2, 1)], [1.0] * 4 + [8.0, 4.0])
    off_x, off_y = (8 * 3 + 4 * 1) / 12 - 3, (8 * 2 + 4 * 1) / 12 - 2
    expected = [12 * (1 / 4 + sx * 2.5 * off_x / 25 + sy * 1.5 * off_y / 9) for sx in (-1, 1) for sy in (-1, 1)]
    np.testing.assert_allclose(found[:4], expected)
    assert found[4] == 4.0


def test_a_support_that_would_have_to_pull_bears_nothing() -> None:
    """Three piers in a line at 0.5, 1.5, 7.5; a middle at 1.4 would lift the third."""
    piers = [(0, 0, 0, 1, 1, 1), (1, 0, 0, 1, 1, 1), (7, 0, 0, 1, 1, 1)]
    beam, block = (0, 0, 1, 8, 1, 1), (0, 0, 2, 1, 1, 1)  # 1 kg at 4 and 9 kg at 0.5: 10 kg at 0.85
    found = carried([*piers, beam, block], [1.0, 1.0, 1.0, 1.0, 9.0])
    assert found[2] == 0.0
    np.testing.assert_allclose(found[:2], [10 * (1.5 - 0.85), 10 * (0.85 - 0.5)])


def test_a_support_that_bears_nothing_still_shares_when_another_would_pull() -> None:
    # A beam with its middle at (4, 7) over contacts with centres (2, 7.5), (5.5, 7) and (7.5, 7): the moments alone
    # give shares of 0, 1.75 and -0.75. Without the third one the lever between the first two gives 0.42 and 0.58.
    low = [(0, 7, 0, 4, 1, 4), (4, 5, 0, 3, 3, 4), (7, 5, 0, 1, 3, 4)]
    assert carried([*low, (0, 6, 4, 8, 2, 4)], [1.0, 1.0, 1.0, 100.0]) == [42.0, 58.0, 0.0, 0.0]


@pytest.mark.parametrize(("weight", "expected"), [(0.9, STANDS), (1.0, TIPS), (1.1, TIPS)])
def test_a_chain_of_three_tips_where_the_middle_of_the_upper_two_leaves_the_lowest(
    weight: float, expected: int
) -> None:
    chain = [(0, 0, 0, 4, 2, 1), (1, 0, 1, 4, 2, 1)]  # the second lies on 1 to 4 of the first, its middle at 3
    third = (3, 0, 2, 4, 2, 1)  # its middle at 5, on 3 to 5 of the second: it stands there only with a counterweight
    assert verdict(chain, [1.0, 1.0], third, weight) == TIPS
    longer = [(0, 0, 0, 4, 2, 1), (1, 0, 1, 5, 2, 1)]  # middle at 3.5, on 1 to 4
    third = (3, 0, 2, 3, 2, 1)  # middle at 4.5: together (3.5 + 4.5 w) / (1 + w), which is 4 for w = 1
    assert verdict(longer, [1.0, 1.0], third, weight) == expected


def test_only_boxes_whose_load_changes_are_asked() -> None:
    leaning = [(0, 0, 0, 1, 2, 1), (0, 0, 1, 4, 2, 1)]  # tips already
    assert verdict(leaning, [1.0, 1.0], (6, 0, 0, 2, 2, 2)) == STANDS
    assert verdict(leaning, [1.0, 1.0], (0, 0, 2, 2, 2, 1)) == TIPS


def test_without_the_centroid_rule_limits_alone_decide() -> None:
    packed, weights, count = arrays([(0, 0, 0, 2, 2, 2)], [1.0])
    box = np.array((1, 0, 2, 3, 2, 1))
    for limit, expected in ((2.0, STANDS), (1.9, CRUSHES)):
        assert stacking_verdict(packed, weights, np.array([limit]), count, box, 2.0, False, True) == expected
        assert stacking_verdict(packed, weights, np.array([limit]), count, box, 2.0, True, False) == TIPS


def random_stack(seed: int, size: int = 10) -> tuple[np.ndarray, list[Place], list[float]]:
    """Boxes dropped where a lenient rule lets them, so that some hang over."""
    rng = np.random.default_rng(seed)
    heights, places = np.zeros((size, size), np.int16), list[Place]()
    row_max, mask = np.empty((size, size), np.int16), np.zeros(size * size, np.bool_)
    rule = (5_000, 8_500, 9_500) if seed % 3 else (2_000, 3_000, 4_000)
    while len(places) < 40:
        item = rng.integers(1 + seed % 2, 6, 3).astype(np.int16)
        if mask_one(heights, item, 1, size, rule, row_max, mask) == 0:
            break
        x, y = divmod(int(rng.choice(np.flatnonzero(mask))), size)
        under = heights[x : x + item[0], y : y + item[1]]
        places.append((x, y, int(under.max()), *item.tolist()))
        under[:] = under.max() + item[2]
    volume = [float(np.prod(place[3:])) for place in places]
    return heights, places, (volume if seed % 2 else [v * float(rng.uniform(0.1, 2)) for v in volume])


@pytest.mark.parametrize("seed", range(40))
def test_no_mass_and_no_moment_is_lost(seed: int) -> None:
    _, places, weights = random_stack(seed)
    packed, masses, count = arrays(places, weights)
    loads = settle(packed, masses, count)
    own = masses[:, None] * np.stack([np.ones(count), *(packed[:, :2] + packed[:, 3:5] / 2).T], axis=1)
    floor = packed[:, 2] == 0
    np.testing.assert_allclose((own + loads)[floor].sum(axis=0), own.sum(axis=0), rtol=1e-12)
    assert (loads[:, 0] >= 0).all()


def test_both_checks_agree_on_thousands_of_placements() -> None:
    """Every position inside the bin, most of which no support rule would allow."""
    seen = dict.fromkeys((STANDS, TIPS, CRUSHES), 0)
    for seed in range(80):
        heights, places, weights = random_stack(seed)
        rng = np.random.default_rng(seed)
        limits = [weight * float(rng.uniform(0.5, 6)) for weight in weights]
        packed, masses, count = arrays(places, weights)
        stack = twin_stack(places, weights, limits)
        item = rng.integers(2, 6, 3).astype(np.int16)
        mask = np.zeros((10, 10), np.bool_)
        mask[: 11 - item[0], : 11 - item[1]] = rng.random((11 - item[0], 11 - item[1])) < 0.6
        kept = mask.reshape(-1).copy()
        left = stacking_mask(heights, item, 1, packed, masses, np.array(limits), count, 9.0, True, True, kept)
        assert left == kept.sum()
        for x, y in np.argwhere(mask).tolist():
            z = int(heights[x : x + item[0], y : y + item[1]].max())
            box = (x, y, z, *item.tolist())
            found = stacking_verdict(packed, masses, np.array(limits), count, np.array(box), 9.0, True, True)
            burden = plain.burden(stack, plain.Stacked("new", box[:3], box[3:], 9.0, math.inf), "kg")
            assert found == (TIPS if burden.tips else CRUSHES if burden.crushed else STANDS), (seed, box)
            assert kept[10 * x + y] == (found == STANDS)
            seen[found] += 1
    assert min(seen.values()) > 100, seen


def test_the_hull_is_the_convex_hull() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        corners = rng.integers(0, 8, (rng.integers(1, 5), 2))
        rectangles = [
            (int(x), int(y), int(x + dx), int(y + dy))
            for (x, y), (dx, dy) in zip(corners, rng.integers(1, 4, (len(corners), 2)), strict=True)
        ]
        points = [(x, y) for x0, y0, x1, y1 in rectangles for x in (x0, x1) for y in (y0, y1)]
        centre = tuple(rng.uniform(0, 10, 2).tolist())
        expected = (ConvexHull(points).equations @ (*centre, 1.0) < -1e-7).all()
        assert plain._inside([(k, rectangle) for k, rectangle in enumerate(rectangles)], centre) == expected
        inside += expected
    assert 30 < inside < 270

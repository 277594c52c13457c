"""The compiled placement rules against plain-Python readings of what they say, position by position."""

import itertools
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from interlock.domains.bin_packing.baselines import baselines
from interlock.domains.bin_packing.heuristics import RULES, cheapest, rule_costs
from interlock.domains.bin_packing.orientation import AXES
from interlock.domains.bin_packing.placements import feasible_placements
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.spaces import X0, X1, Y0, Y1, Z, maximal_spaces, types_taken

SIZE_X, SIZE_Y, CEILING, LOW, HIGH = 6, 5, 6, 1, 3


def states(rng, count, orientations):
    """Bins filled at random, boxes, and what is feasible; every state has a feasible placement."""
    found = []
    while len(found) < count:
        heights = np.zeros((SIZE_X, SIZE_Y), np.int16)
        for _ in range(rng.integers(0, 9)):
            length, width, up = rng.integers(LOW, HIGH + 1, 3)
            x, y = rng.integers(0, SIZE_X - length + 1), rng.integers(0, SIZE_Y - width + 1)
            top = heights[x : x + length, y : y + width].max() + up
            if top <= CEILING:
                heights[x : x + length, y : y + width] = top
        item = rng.integers(LOW, HIGH + 1, 3).astype(np.int16)
        mask = feasible_placements(
            heights[None], item[None], ceiling=CEILING, orientations=orientations, thresholds=(5000, 8500, 9500)
        )[0]
        if mask.any():
            found.append((heights, item, mask))
    return found


def spaces_of(heights):
    """Every rectangle of columns with air on it that reaches further at its own floor in no direction."""
    return _spaces_of(tuple(map(tuple, heights.tolist())))


@cache
def _spaces_of(rows):
    heights = np.array(rows)
    size_x, size_y = heights.shape
    found = set()
    for x0, x1 in itertools.combinations(range(size_x + 1), 2):
        for y0, y1 in itertools.combinations(range(size_y + 1), 2):
            z = heights[x0:x1, y0:y1].max()
            beside = [
                heights[x0 - 1 : x0, y0:y1] if x0 else None,
                heights[x1 : x1 + 1, y0:y1] if x1 < size_x else None,
                heights[x0:x1, y0 - 1 : y0] if y0 else None,
                heights[x0:x1, y1 : y1 + 1] if y1 < size_y else None,
            ]
            if z < CEILING and all(edge is None or edge.max() > z for edge in beside):
                found.add((x0, y0, x1, y1, int(z)))
    return found


@cache
def types_in(space, orientations):
    """Item types that fit a space, by trying every type in every allowed orientation."""
    return sum(
        any(all(box[axis] <= side for axis, side in zip(axes, space, strict=True)) for axes in AXES[:orientations])
        for box in itertools.product(range(LOW, HIGH + 1), repeat=3)
    )


def scores(heights, orientations):
    """Volume + item types taken + 10 if all, of every space."""
    found = []
    for x0, y0, x1, y1, z in spaces_of(heights):
        space = (x1 - x0, y1 - y0, CEILING - z)
        taken = types_in(space, orientations)
        found.append(space[0] * space[1] * space[2] + taken + (10 if taken == (HIGH - LOW + 1) ** 3 else 0))
    return found


def free_rectangles(heights):
    """Largest rectangle free from a level upwards, summed over the levels."""
    spaces = spaces_of(heights)
    return sum(
        max(((x1 - x0) * (y1 - y0) for x0, y0, x1, y1, z in spaces if z <= level), default=0)
        for level in range(CEILING)
    )


class Placed:
    """One placement in voxels: the bin before and after, seen from above, and what the box touches."""

    def __init__(self, heights, item, action, orientations):
        orientation, cell = divmod(action, heights.size)
        self.x, self.y = divmod(cell, heights.shape[1])
        self.sides = tuple(int(item[axis]) for axis in AXES[orientation])
        self.heights, self.orientations = heights, orientations
        length, width, up = self.sides
        under = heights[self.x : self.x + length, self.y : self.y + width]
        self.z = int(under.max())
        self.lost = int((self.z - under).sum())
        self.after = heights.copy()
        self.after[self.x : self.x + length, self.y : self.y + width] = self.z + up

    def contact(self):
        """Unit faces of the upright sides beyond which there is a wall or a filled voxel."""
        length, width, up = self.sides
        filled = np.pad(self.heights, 1, constant_values=CEILING)
        around = [(x, y) for x in range(length) for y in (-1, width)] + [
            (x, y) for y in range(width) for x in (-1, length)
        ]
        return sum(
            filled[self.x + x + 1, self.y + y + 1] > level for x, y in around for level in range(self.z, self.z + up)
        )

    def surface(self):
        """Three faces of the box around everything packed."""
        xs, ys = np.nonzero(self.after)
        a, b, c = np.ptp(xs) + 1, np.ptp(ys) + 1, self.after.max()
        return int(a * b + a * c + b * c)

    def residual(self):
        """Smallest spare side among the spaces that hold the box."""
        length, width, up = self.sides
        return min(
            min(x1 - x0 - length, y1 - y0 - width, CEILING - z - up)
            for x0, y0, x1, y1, z in spaces_of(self.heights)
            if x0 <= self.x and y0 <= self.y and x1 >= self.x + length and y1 >= self.y + width
        )

    def corner_rank(self):
        """Position among the corners of spaces by z, y, x; behind them all, that of ``dbl``."""
        length, width, up = self.sides
        corners = [
            (z, y0, x0)
            for x0, y0, x1, y1, z in spaces_of(self.heights)
            if (x0, y0) == (self.x, self.y) and x1 - x0 >= length and y1 - y0 >= width and CEILING - z >= up
        ]
        return (0, *min(corners)) if corners else (1, 100 * self.z + self.x + self.y, 0, 0)

    def key(self, rule):
        """What the rule minimises."""
        length, width, up = self.sides
        match rule:
            case "dbl":
                return 100 * self.z + self.x + self.y
            case "hm_min":
                return 100 * int(self.after.sum()) + self.x + self.y
            case "contact":
                return 1000 * self.lost - self.contact()
            case "low_contact":
                share = Fraction(int(self.contact()), 2 * (length + width) * up)
                return 10 * (self.z + up) + 3 * self.lost - 10 * share
            case "lsah":
                return self.surface(), self.residual()
            case "online_bph":
                return self.corner_rank()
            case "macs":
                return -free_rectangles(self.after)
            case "br":
                return -max(scores(self.after, self.orientations), default=0)
        every = scores(self.after, self.orientations)
        return -Fraction(sum(every), len(every)) if every else 0


@pytest.mark.parametrize("orientations", [1, 2, 6])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_takes_the_placement_that_a_plain_reading_of_it_takes(rule, orientations):
    costly = rule in ("macs", "br", "br_mean", "lsah", "online_bph")
    found = states(np.random.default_rng(7), 25 if costly else 200, orientations)
    heights, items, masks = (np.stack(part) for part in zip(*found, strict=True))
    costs = rule_costs(RULES.index(rule), heights, items, masks, CEILING, LOW, HIGH)
    chosen = cheapest(costs, heights, items, 1)
    assert (np.isfinite(costs) == masks).all()
    for row, (before, item, mask) in enumerate(found):
        options = {int(action): Placed(before, item, int(action), orientations) for action in np.flatnonzero(mask)}
        keys = {action: placed.key(rule) for action, placed in options.items()}
        expected = min(options, key=lambda a: (keys[a], options[a].z, options[a].x + options[a].y, a))
        assert chosen[row] == expected, (rule, row, costs[row, chosen[row]], costs[row, expected])
        order = sorted(options, key=lambda a: keys[a])
        assert (np.diff(costs[row, order]) >= -1e-9).all(), "costs are in another order than the rule's"


@pytest.mark.parametrize("shape", [(6, 5), (1, 7), (4, 4)])
def test_spaces_are_those_found_by_trying_every_rectangle(shape):
    rng = np.random.default_rng(3)
    for top in (1, 3, CEILING):
        for _ in range(60):
            heights = rng.integers(0, top + 1, shape).astype(np.int16)
            spaces, count = maximal_spaces(heights, CEILING, np.empty((1, 5), np.int16))
            listed = [tuple(int(s[k]) for k in (X0, Y0, X1, Y1, Z)) for s in spaces[:count]]
            assert set(listed) == spaces_of(heights)
            assert len(set(listed)) == count
            assert [s[Z] for s in listed] == sorted(s[Z] for s in listed)


@pytest.mark.parametrize("orientations", [1, 2, 6])
def test_item_types_that_fit_a_space_are_counted_right(orientations):
    for space in itertools.product(range(6), repeat=3):
        assert types_taken(*space, LOW, HIGH, orientations) == types_in(space, orientations)


def observation(bins, buffer, orientations):
    """One state of several bins and several held boxes, as the environment shows it."""
    rng = np.random.default_rng(11)
    heights = np.stack([state[0] for state in states(rng, bins, 1)])
    items = rng.integers(LOW, HIGH + 1, (buffer, 3)).astype(np.int16)
    rules = {"ceiling": CEILING, "orientations": orientations, "thresholds": (5000, 8500, 9500)}
    masks = [feasible_placements(one[None], item[None], **rules)[0] for one in heights for item in items]
    maps = heights[None] if bins > 1 else heights
    return {"height_map": maps, "items": items[None], "action_mask": np.concatenate(masks)[None]}


@pytest.mark.parametrize(("bins", "buffer", "orientations"), [(3, 1, 2), (1, 4, 1), (2, 3, 6)])
def test_every_rule_plays_several_bins_and_held_boxes(bins, buffer, orientations):
    scenario = BinPackingScenario.model_validate(
        {
            "name": "several",
            "stream": "rs",
            "bin": {"length": SIZE_X, "width": SIZE_Y, "height": CEILING, "open": bins},
            "items": {"low": LOW, "high": HIGH},
            "buffer": buffer,
            "orientations": orientations,
        }
    )
    seen = observation(bins, buffer, orientations)
    maps = seen["height_map"].reshape(bins, SIZE_X, SIZE_Y)
    actions = orientations * SIZE_X * SIZE_Y
    options = {}
    for action in np.flatnonzero(seen["action_mask"][0]).tolist():
        view, place = divmod(action, actions)
        options[action] = Placed(maps[view // buffer], seen["items"][0, view % buffer], place, orientations)
    for name in ("dbl", "contact", "first_fit"):
        chosen = int(baselines(scenario)[name](0).act(seen)[0])
        keys = {
            action: (placed.key(name), placed.z, placed.x + placed.y, action)
            if name != "first_fit"
            else (action // actions, placed.x, placed.y, action)
            for action, placed in options.items()
        }
        assert chosen == min(options, key=lambda action: keys[action]), name
    for name, make in baselines(scenario).items():
        assert seen["action_mask"][0, make(0).act(seen)[0]], name

"""Several bins, boxes held, six orientations, weights and limits: against a slow twin that keeps lists of boxes."""

import itertools

import numpy as np
import pytest

from interlock.core.evaluation.protocol import run_instances, split_seed
from interlock.core.policy import FunctionPolicy
from interlock.domains.bin_packing.baselines import random_feasible
from interlock.domains.bin_packing.bounds import generated_instances, prefix_volumes
from interlock.domains.bin_packing.encoders import encoders, views
from interlock.domains.bin_packing.environment import BinPackingEnvironment, stream_seed, streams_of
from interlock.domains.bin_packing.features import placement_features
from interlock.domains.bin_packing.generators import instances, source_of
from interlock.domains.bin_packing.problem import constraints
from interlock.domains.bin_packing.release_stacking import Stacked, burden, settled
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.userdata import read_items

SMALL = {"length": 6, "width": 5, "height": 7}


def scenario(**changes):
    return BinPackingScenario.model_validate({"name": "test", **changes})


def environment_of(numbers, rows, *, seed=1, split="train", data=None):
    return BinPackingEnvironment(numbers, rows, seed=seed, split=split, constraints=constraints(numbers), data=data)


VARIANTS = {
    "several bins": {"bin": {**SMALL, "open": 2}, "orientations": 2},
    "replaced bins": {"bin": {**SMALL, "open": 2, "total": 5}},
    "buffer": {"buffer": 3, "orientations": 6},
    "everything": {
        "bin": {**SMALL, "open": 2, "total": 3, "max_weight": 90},
        "items": {"low": 1, "high": 3, "density": [0.5, 2.0], "crush_factor": 2.5},
        "orientations": 6,
        "buffer": 2,
        "look_ahead": 4,
        "stacking": True,
        "max_overhang": 0.05,
        "max_cog_offset": 0.1,
        "cog_radius": 0.05,
        "max_height_spread": 0.5,
    },
    "stacking without weights": {
        "stacking": True,
        "stability": {"theta4": 0, "theta3": 0, "theta0": 0},
        "max_cog_offset": 0.1,
        "look_ahead": 2,
    },
    "crushing": {"items": {"low": 1, "high": 3, "crush_factor": 1.5}, "orientations": 2},
    "cut for four bins": {
        "bin": {"length": 4, "width": 5, "height": 4, "open": 4, "total": 8},
        "items": {"low": 1, "high": 3},
        "stream": "cut2",
    },
}


def variant(name):
    return scenario(**{"bin": SMALL, "items": {"low": 1, "high": 3}, "stream": "rs", **VARIANTS[name]})


class Yard:
    """One episode, from lists of boxes (corner, sides, weight, limit) per bin."""

    def __init__(self, numbers, items, weights, limits, upright):
        self.numbers, self.boxes = numbers, list(zip(items, weights, limits, upright, strict=True))
        self.size = (numbers.bin.length, numbers.bin.width, numbers.bin.height)
        self.bins = [[] for _ in range(numbers.bin.open)]
        self.opened, self.refused = numbers.bin.open, set()
        self.held, self.rest = self.boxes[: numbers.buffer], self.boxes[numbers.buffer :]
        self.options = self.placements()

    def tops(self, packed):
        tops = {(x, y): 0 for x in range(self.size[0]) for y in range(self.size[1])}
        for (x, y, z), (length, width, height), *_ in packed:
            for cell in itertools.product(range(x, x + length), range(y, y + width)):
                tops[cell] = max(tops[cell], z + height)
        return tops

    def turned(self, box, o):
        """Sides in an orientation, or nothing where it repeats an earlier one or the box must stay upright."""
        (a, b, c), _, _, upright = box
        ways = [(a, b, c), (b, a, c), (a, c, b), (c, a, b), (b, c, a), (c, b, a)]
        return None if ways[o] in ways[:o] or (upright and o > 1) else ways[o]

    def rest_at(self, packed, box, o, x, y):
        """Corner, sides and supported share of a placement; nothing where it is infeasible."""
        sides = self.turned(box, o)
        if sides is None or x + sides[0] > self.size[0] or y + sides[1] > self.size[1]:
            return None
        under = [self.map[cell] for cell in itertools.product(range(x, x + sides[0]), range(y, y + sides[1]))]
        z, area = max(under), len(under)
        level = under.count(z)
        corners = [self.map[x + i, y + j] for i in (0, sides[0] - 1) for j in (0, sides[1] - 1)].count(z)
        theta4, theta3, theta0 = (threshold // 100 for threshold in self.numbers.thresholds())
        share = 100 * level
        stands = share == 100 * area or share > theta0 * area or (corners >= 3 and share > theta3 * area)
        stands = stands or (corners == 4 and share > theta4 * area)
        if z + sides[2] > self.size[2] or not stands:
            return None
        limit = self.numbers.bin.max_weight
        if limit is not None and sum(packed_box[2] for packed_box in packed) + box[1] > limit:
            return None
        corner = (x, y, z)
        found = burden(self.stack, Stacked("new", corner, sides, box[1], box[2]), "kg")
        tips = self.numbers.stacking and bool(found.tips)
        self.refused |= {"tips"} if tips else {"crushed"} if found.crushed else set()
        if tips or found.crushed:
            return None
        return corner, sides, level / area

    def placements(self):
        """Every action: its bin, held box and where that rests, or nothing."""
        found = []
        for packed in self.bins:
            self.map = self.tops(packed)
            self.stack = settled([Stacked(k, *box) for k, box in enumerate(packed)])
            for which in range(self.numbers.buffer):
                for o, x, y in itertools.product(
                    range(self.numbers.orientations), range(self.size[0]), range(self.size[1])
                ):
                    there = which < len(self.held)
                    rest = self.rest_at(packed, self.held[which], o, x, y) if there else None
                    found.append(None if rest is None else (packed, which, rest))
        return found

    def off_centre(self, packed):
        weight = sum(box[2] for box in packed)
        if not packed:
            return 0
        off = [
            sum(box[2] * (box[0][axis] + box[1][axis] / 2) for box in packed) / weight - self.size[axis] / 2
            for axis in (0, 1)
        ]
        return int(np.hypot(*off) > self.numbers.cog_radius * min(self.size[:2]))

    def play(self, placement):
        """Costs (overhang, centre, spread), volume, and why the episode ended (nothing while it goes on)."""
        packed, which, (corner, sides, share) = placement
        box = self.held.pop(which)
        packed.append((corner, sides, box[1], box[2]))
        if self.rest:
            self.held.append(self.rest.pop(0))
        tops = self.tops(packed).values()
        spread = (max(tops) - sum(tops) / len(tops)) / self.size[2]
        off, reason = 0, None
        if not self.held:
            reason = "exhausted"
        self.options = self.placements()
        while reason is None and not any(self.options):
            if self.opened == self.numbers.bins():
                reason = "blocked"
            else:
                volumes = [sum(np.prod(b[1]) for b in bin_) for bin_ in self.bins]
                fullest = volumes.index(max(volumes))
                off += self.off_centre(self.bins[fullest])
                self.bins[fullest] = []
                self.opened += 1
                self.options = self.placements()
        if reason is not None:
            off += sum(self.off_centre(bin_) for bin_ in self.bins)
        return (1 - share, off, spread), int(np.prod(sides)), reason


def yard_of(numbers, split, k):
    items, lengths, _, weights = instances(source_of(numbers, stream_seed(1, split)), 1, first=k)
    boxes = [tuple(int(side) for side in box) for box in items[0, : lengths[0]]]
    factor = numbers.items.crush_factor
    limits = [np.inf if factor is None else factor * weight for weight in weights[0]]
    return Yard(numbers, boxes, weights[0, : len(boxes)].tolist(), limits[: len(boxes)], [False] * len(boxes))


def compare(numbers, environment, fresh, steps):
    """Play at random and compare everything that the environment says; what ended episodes and was refused."""
    rng = np.random.default_rng(3)
    rows = environment.num_envs
    view = environment.reset()
    yards, instance, following = [fresh(k) for k in range(rows)], list(range(rows)), rows
    names = [constraint.name for constraint in environment.constraints]
    seen = set()
    known = max(numbers.look_ahead, numbers.buffer)
    for _ in range(steps):
        options = [yard.options for yard in yards]
        for row, yard in enumerate(yards):
            assert view["action_mask"][row].tolist() == [option is not None for option in options[row]]
            ahead = [*yard.held, *yard.rest][:known]
            assert view["items"][row, : len(ahead)].tolist() == [list(box[0]) for box in ahead]
            assert not view["items"][row, len(ahead) :].any()
            if numbers.weighs():
                assert view["weights"][row, : len(ahead)] == pytest.approx([box[1] for box in ahead], rel=1e-6)
            maps = view["height_map"][row].reshape(numbers.bin.open, *view["height_map"].shape[-2:])
            for packed, heights in zip(yard.bins, maps, strict=True):
                assert {cell: heights[cell] for cell in np.ndindex(*heights.shape)} == yard.tops(packed)
        actions = [int(rng.choice(np.flatnonzero(mask))) for mask in view["action_mask"]]
        step = environment.step(np.array(actions))
        view = step.observation
        for row in range(rows):
            costs, volume, reason = yards[row].play(options[row][actions[row]])
            cells = numbers.bins() * np.prod(yards[row].size)
            assert step.reward[row] == pytest.approx(10 * volume / cells)
            expected = dict(zip(("overhang", "cog_offset", "height_spread"), costs, strict=True))
            expected["illegal_placements"] = 0
            assert step.cost[row].tolist() == pytest.approx([expected[name] for name in names])
            assert step.info["instance"][row] == instance[row]
            assert step.info["bins_opened"][row] == yards[row].opened
            assert step.terminated[row] == (reason is not None)
            if reason is not None:
                assert step.info[f"ended_{reason}"][row]
                seen |= {reason, *yards[row].refused}
                yards[row], instance[row], following = fresh(following), following, following + 1
    return seen


@pytest.mark.parametrize("name", VARIANTS)
def test_random_play_equals_the_slow_twin(name):
    numbers = variant(name)
    environment = environment_of(numbers, 2)
    seen = compare(numbers, environment, lambda k: yard_of(numbers, "train", k), steps=45)
    expected = {"blocked"} | ({"tips"} if name.startswith("stacking") else set())
    assert seen >= expected | ({"crushed"} if numbers.items.crush_factor is not None else set())


def test_random_play_of_a_users_boxes_equals_the_slow_twin(tmp_path):
    rng = np.random.default_rng(5)
    rows = ["stream_id,position,length,width,height,weight,max_stack_weight,keep_upright"]
    for stream, position in itertools.product("abc", range(9)):
        sides = ",".join(str(side) for side in rng.integers(1, 4, 3))
        limit = "" if rng.random() < 0.5 else str(rng.integers(0, 12))
        rows.append(f"{stream},{position},{sides},{rng.integers(1, 9)},{limit},{'yes' if rng.random() < 0.5 else 'no'}")
    file = tmp_path / "boxes.csv"
    file.write_text("\n".join(rows) + "\n")
    numbers = scenario(bin=SMALL, orientations=6, buffer=2, items={"low": 1, "high": 3})
    data = read_items(file, numbers)

    def fresh(k):
        k %= 3
        boxes = [tuple(int(side) for side in box) for box in data.items[k]]
        limits = np.where(np.isnan(data.limits[k]), np.inf, data.limits[k])
        return Yard(numbers, boxes, data.weights[k].tolist(), limits.tolist(), data.upright[k].tolist())

    assert compare(numbers, environment_of(numbers, 2, data=data), fresh, steps=30)
    unlimited = numbers.with_changes(items={"low": 1, "high": 3, "crush_factor": 1e9})
    first, second = (environment_of(n, 3, data=data).reset() for n in (numbers, unlimited))
    assert np.array_equal(first["action_mask"], second["action_mask"]), "the first boxes have nothing on them"


@pytest.mark.parametrize("name", VARIANTS)
def test_an_instance_depends_on_seed_split_and_index_only(name):
    numbers = variant(name)
    wide, narrow = environment_of(numbers, 7), environment_of(numbers, 2)
    rule = FunctionPolicy(lambda view, rng: view["action_mask"].argmax(axis=1))
    first, second = run_instances(wide, rule, 15), run_instances(narrow, rule, 15)
    assert np.array_equal(first.objective, second.objective)
    assert np.array_equal(first.costs, second.costs)
    assert np.array_equal(first.steps, second.steps)
    views_ = [environment_of(numbers, 4, seed=s, split=p).reset()["items"] for s, p in ((1, "test"), (2, "train"))]
    start = environment_of(numbers, 4).reset()["items"]
    assert not any(np.array_equal(start, other) for other in views_)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_restored_environment_goes_on_exactly(name):
    numbers = variant(name)
    environment, fresh = environment_of(numbers, 4), environment_of(numbers, 4, seed=9)
    rule = FunctionPolicy(random_feasible, 2)
    view = environment.reset()
    for _ in range(12):
        view = environment.step(rule.act(view)).observation
    again = fresh.restore(environment.state())
    for _ in range(25):
        assert all(np.array_equal(view[key], again[key]) for key in view)
        action = rule.act(view)
        ours, theirs = environment.step(action), fresh.step(action)
        assert np.array_equal(ours.reward, theirs.reward)
        assert np.array_equal(ours.cost, theirs.cost)
        assert np.array_equal(ours.info["instance"], theirs.info["instance"])
        view, again = ours.observation, theirs.observation


def test_look_ahead_shows_the_boxes_to_come_and_changes_nothing_else():
    one, five = (environment_of(scenario(look_ahead=k), 6) for k in (1, 5))
    near, far = one.reset(), five.reset()
    rule = FunctionPolicy(random_feasible, 1)
    for _ in range(30):
        assert np.array_equal(near["items"][:, 0], far["items"][:, 0])
        assert np.array_equal(near["action_mask"], far["action_mask"])
        action = rule.act(near)
        ours, theirs = one.step(action), five.step(action)
        going_on = ~ours.done
        assert np.array_equal(far["items"][going_on, 1], theirs.observation["items"][going_on, 0])
        near, far = ours.observation, theirs.observation


def test_views_give_one_row_per_bin_and_held_box():
    numbers = variant("everything")
    environment = environment_of(numbers, 3)
    view = environment.reset()
    rule = FunctionPolicy(random_feasible, 1)
    for _ in range(9):
        view = environment.step(rule.act(view)).observation
    heights, items, masks = views(view, numbers.buffer)
    assert masks.reshape(3, -1).tolist() == view["action_mask"].tolist()
    for k, (row, bin_, which) in enumerate(np.ndindex(3, 2, 2)):
        assert np.array_equal(heights[k], view["height_map"][row, bin_])
        assert np.array_equal(items[k], view["items"][row, which])
    features = encoders(numbers)["placements"](view)["action_features"]
    assert features.shape == (*view["action_mask"].shape, 12)
    alone = placement_features(heights, items, masks, numbers.bin.height).reshape(features.shape)
    allowed = view["action_mask"]
    assert features[..., :5] == pytest.approx(alone[..., :5])
    steps = [(np.diff(heights[k].astype(int), axis=axis) != 0).sum() for k in range(len(heights)) for axis in (0, 1)]
    before = np.repeat(np.reshape(steps, (-1, 2)).sum(axis=1) / 20, masks.shape[1]).reshape(allowed.shape)
    assert features[allowed, 5] == pytest.approx((alone[..., 5] - before)[allowed], abs=1e-5)
    assert not features[~allowed].any()


def fullest(boxes, held, rest, room):
    """Most that can be packed of boxes on a line, by trying every order that the boxes held allow."""
    return max(
        (
            boxes[k] + fullest(boxes, [h for h in held if h != k] + rest[:1], rest[1:], room - boxes[k])
            for k in held
            if boxes[k] <= room
        ),
        default=0,
    )


def test_no_packing_exceeds_the_prefix_bound_with_boxes_held():
    rng = np.random.default_rng(0)
    attained = 0
    for _ in range(150):
        length, buffer, room = int(rng.integers(1, 7)), int(rng.integers(1, 4)), int(rng.integers(4, 14))
        boxes = rng.integers(1, 6, length)

        order = list(range(length))
        most = fullest(boxes, order[:buffer], order[buffer:], room) / room
        items = np.stack([boxes, np.ones_like(boxes), np.ones_like(boxes)], axis=1)[None].astype(np.int16)
        bound = prefix_volumes(items, np.array([length]), room, buffer=buffer)[0]
        assert most <= bound + 1e-12
        attained += abs(most - bound) < 1e-12
    assert attained > 75


@pytest.mark.parametrize("name", ["several bins", "replaced bins", "buffer", "cut for four bins"])
def test_no_policy_exceeds_the_bound(name):
    numbers = variant(name)
    items, lengths = generated_instances(numbers, stream_seed(1, "test"), 30)
    volume = numbers.bin.length * numbers.bin.width * numbers.bin.height
    bound = prefix_volumes(items, lengths, volume, bins=numbers.bins(), buffer=numbers.buffer)
    played = run_instances(environment_of(numbers, 10, split="test"), FunctionPolicy(random_feasible, 0), 30)
    assert (played.objective / 10 <= bound + 1e-12).all()


def test_test_streams_are_played_in_turn_and_told_apart():
    numbers = scenario(test_streams=["rs", "cut1", "largest_last"], evaluation={"test_instances": 60})
    streams = streams_of(numbers, "test")
    assert streams_of(numbers, "train") == ("cut2",)
    environment = environment_of(numbers, 7, split="test")
    rule = FunctionPolicy(random_feasible, 0)
    played = run_instances(environment, FunctionPolicy(lambda v, r: v["action_mask"].argmax(axis=1)), 60, per_reward=10)
    for k, name in enumerate(streams):
        assert played.metrics[f"utilisation_{name}"].mean() == pytest.approx(played.objective[k::3].mean())
    view = environment.reset()
    for k, name in enumerate(streams):
        alone = environment_of(numbers.with_changes(stream=name, test_streams=[]), 7, split="test").reset()
        assert np.array_equal(view["items"][k::3], alone["items"][k::3])
    assert rule.act(view).shape == (7,)


def test_split_seeds_reach_the_instances_of_the_bounds():
    numbers = scenario(bin={"open": 4}, test_streams=["cut1", "rs"])
    environment = environment_of(numbers, 6, seed=20210, split="test")

    class Named:
        scenario = numbers

    seed = stream_seed(split_seed(Named(), "test"), "test")
    items, lengths = generated_instances(numbers, seed, 6, streams_of(numbers, "test"))
    assert np.array_equal(environment.rows.items, items)
    assert np.array_equal(environment.rows.lengths, lengths)

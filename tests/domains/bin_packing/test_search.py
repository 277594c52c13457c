"""Look-ahead: beam search against enumeration in plain Python, rollouts, permutation search, order dependence."""

import itertools
import time

import numpy as np
import pytest

from interlock.domains.bin_packing import search
from interlock.domains.bin_packing.beam import beam_search
from interlock.domains.bin_packing.generators import sequences
from interlock.domains.bin_packing.model import mask_batch, place_one
from interlock.domains.bin_packing.permutation import permutation_search
from interlock.domains.bin_packing.scenario import BinPackingScenario

LINEAR = np.array((-0.35, 0.90, 0.33, 0.19, 0.08, -1.44, -0.55, -0.17, -0.02, 0.36, -0.34, -0.33))
RELEASED = (5_000, 8_500, 9_500)
EVERYTHING = 10**6


def scenario_of(size=(3, 3, 3), low=1, high=2, stream="rs", look_ahead=3, **changes):
    length, width, height = size
    return BinPackingScenario.model_validate(
        {
            "name": "case",
            "items": {"low": low, "high": high},
            "stream": stream,
            "look_ahead": look_ahead,
            **changes,
            "bin": {"length": length, "width": width, "height": height, **changes.get("bin", {})},
        }
    )


def observe(scenario, heights, items):
    """The observation of one row, with the boxes from the front on."""
    known = np.zeros((1, scenario.look_ahead, 3), np.int16)
    shown = items[: scenario.look_ahead]
    known[0, : len(shown)] = shown
    heights = np.asarray(heights, np.int16)[None]
    masks = mask_batch(heights, known[:, 0], int(scenario.orientations), scenario.bin.height, scenario.thresholds())
    return {"height_map": heights, "items": known, "action_mask": masks}


def packed_volume(scenario, policy, items):
    """Volume that a policy packs of one sequence."""
    heights = np.zeros((scenario.bin.length, scenario.bin.width), np.int16)
    volume = 0
    for position in range(len(items)):
        seen = observe(scenario, heights, items[position:])
        if not seen["action_mask"].any():
            break
        action = int(policy.act(seen)[0])
        assert seen["action_mask"][0, action]
        place_one(heights, items[position], action)
        volume += int(items[position].astype(int).prod())
    return volume


# --- plain Python twin: nothing of the package ---------------------------------------------------------------------


def plain_placements(heights, box, ceiling, turns=1):
    """Feasible actions of a box, the map that each leaves, waste under it and its top, by the released support rule."""
    size_x, size_y = len(heights), len(heights[0])
    for turn in range(1 if box[0] == box[1] else turns):
        length, width, height = (int(box[turn]), int(box[1 - turn]), int(box[2]))
        for x, y in itertools.product(range(size_x - length + 1), range(size_y - width + 1)):
            under = [heights[i][j] for i in range(x, x + length) for j in range(y, y + width)]
            z = max(under)
            corners = sum(heights[i][j] == z for i in (x, x + length - 1) for j in (y, y + width - 1))
            share = under.count(z) / len(under)
            if z + height > ceiling:
                continue
            if share == 1 or share > 0.95 or (corners >= 3 and share > 0.85) or (corners == 4 and share > 0.5):
                after = [list(row) for row in heights]
                for i in range(x, x + length):
                    for j in range(y, y + width):
                        after[i][j] = z + height
                action = turn * size_x * size_y + x * size_y + y
                yield action, after, (len(under) * z - sum(under)) / 4.0, (z + height) / ceiling


def plain_best(heights, boxes, ceiling, turns):
    """(boxes placed, minus weighted waste and tops) of the best plan, by enumeration of all plans."""
    plans = [(0, 0.0)]
    if boxes:
        for _, after, lost, top in plain_placements(heights, boxes[0], ceiling, turns):
            placed, score = plain_best(after, boxes[1:], ceiling, turns)
            plans.append((placed + 1, score - lost - 0.37 * top))
    deepest = max(placed for placed, _ in plans)
    return deepest, max(score for placed, score in plans if placed == deepest)


def random_case(rng, size, boxes, high=2):
    """A height map that boxes of the rule can leave behind, and boxes to come."""
    heights = [[0] * size[1] for _ in range(size[0])]
    for _ in range(rng.integers(0, 3)):
        options = list(plain_placements(heights, rng.integers(1, high + 1, 3), size[2]))
        if options:
            heights = options[rng.integers(len(options))][1]
    return heights, rng.integers(1, high + 1, (boxes, 3))


@pytest.mark.parametrize(
    ("size", "boxes", "high", "turns"),
    [((3, 3, 3), 3, 2, 1), ((2, 3, 4), 4, 2, 1), ((3, 4, 3), 3, 3, 1), ((3, 2, 4), 3, 2, 2)],
)
def test_a_beam_of_unlimited_width_equals_enumeration(size, boxes, high, turns):
    weights = np.zeros(12)
    weights[0], weights[4] = -1.0, -0.37
    worse = 0
    for seed in range(40):
        heights, items = random_case(np.random.default_rng(seed), size, boxes, high)
        allowed = np.zeros(turns * size[0] * size[1], bool)
        by_first = {}
        for action, after, lost, top in plain_placements(heights, items[0], size[2], turns):
            allowed[action] = True
            placed, score = plain_best(after, items[1:].tolist(), size[2], turns)
            by_first[action] = (placed + 1, pytest.approx(score - lost - 0.37 * top, abs=1e-5))
        arguments = (np.array(heights, np.int16), allowed, items.astype(np.int16), turns, size[2], RELEASED, weights)
        action, depth, score = beam_search(*arguments, EVERYTHING)
        best = plain_best(heights, items.tolist(), size[2], turns)
        assert (depth, score) == (best[0], pytest.approx(best[1], abs=1e-5))
        if depth == 0:
            assert action == -1
            continue
        assert by_first[action] == (depth, score)
        _, narrow_depth, narrow_score = beam_search(*arguments, 1)
        worse += narrow_depth < depth or narrow_score < score - 1e-5
    assert worse > 0


def test_knowing_everything_packs_at_least_as_much_as_any_shorter_view():
    items, lengths, _ = sequences("rs", 60, seed=3, size=(3, 3, 3), low=1, high=2)
    packed = {}
    for known in (1, 2, 3, 5, 28):
        scenario = scenario_of(look_ahead=known)
        policy = search.look_ahead(scenario, width=EVERYTHING)
        packed[known] = np.array(
            [packed_volume(scenario, policy, row[:length]) for row, length in zip(items, lengths, strict=True)]
        )
    for known in (1, 2, 3, 5):
        assert (packed[28] >= packed[known]).all()
    means = [packed[known].mean() for known in (1, 2, 3, 5, 28)]
    assert means == sorted(means)
    assert means[-1] > means[0] + 1


def test_look_ahead_packs_more_and_every_search_repeats_itself():
    items, lengths, _ = sequences("cut2", 12, seed=5, size=(10, 10, 10), low=2, high=5)
    scenario = scenario_of((10, 10, 10), 2, 5, "cut2", 5)
    policies = {
        "greedy": lambda: search.look_ahead(scenario_of((10, 10, 10), 2, 5, "cut2", 1), width=1),
        "beam": lambda: search.look_ahead(scenario, width=24),
        "rollout": lambda: search.rollout(scenario),
        "permutation": lambda: search.permutation(scenario),
    }
    packed = {}
    for name, make in policies.items():
        played = scenario_of((10, 10, 10), 2, 5, "cut2", 1) if name == "greedy" else scenario
        twice = [
            [packed_volume(played, policy, row[:n]) for row, n in zip(items, lengths, strict=True)]
            for policy in (make(), make())
        ]
        assert twice[0] == twice[1]
        packed[name] = np.mean(twice[0])
    assert packed["beam"] > packed["rollout"] > packed["greedy"]
    assert packed["beam"] > packed["permutation"] >= packed["greedy"]


def test_rows_do_not_depend_on_their_neighbours():
    scenario = scenario_of((10, 10, 10), 2, 5, "cut2", 4)
    rng = np.random.default_rng(1)
    views = [observe(scenario, np.zeros((10, 10)), rng.integers(2, 6, (4, 3))) for _ in range(4)]
    batch = {name: np.concatenate([view[name] for view in views]) for name in views[0]}
    for make in search.baselines(scenario).values():
        policy = make(0)
        assert policy.act(batch).tolist() == [int(policy.act(view)[0]) for view in views]


def test_the_front_box_goes_only_where_the_observation_allows():
    scenario = scenario_of((10, 10, 10), 2, 5, "cut2", 4)
    view = observe(scenario, np.zeros((10, 10)), np.full((4, 3), 3))
    only = 37
    view["action_mask"][:] = False
    view["action_mask"][0, only] = True
    for make in search.baselines(scenario).values():
        assert make(0).act(view).tolist() == [only]


def test_rollouts_without_known_boxes_fall_back_to_the_linear_rule():
    items, lengths, _ = sequences("cut2", 10, seed=8, size=(10, 10, 10), low=2, high=5)
    scenario = scenario_of((10, 10, 10), 2, 5, "cut2", 1)
    greedy, short = search.look_ahead(scenario, width=1, weights=LINEAR), search.rollout(scenario)
    for row, length in zip(items, lengths, strict=True):
        assert packed_volume(scenario, greedy, row[:length]) == packed_volume(scenario, short, row[:length])


def test_a_permutation_plan_can_be_carried_out_in_the_true_order():
    items, _, _ = sequences("cut2", 60, seed=11, size=(10, 10, 10), low=2, high=5)
    weights, value = LINEAR, np.array([0.0, 1.0, -50, -30, 0, 0, 50, 100, 0])
    replaced = 0
    for row in items:
        heights = np.zeros((10, 10), np.int16)
        for position in range(4):
            known = row[position : position + 5]
            allowed = mask_batch(heights[None], known[:1], 1, 10, RELEASED)[0]
            if not allowed.any() or not known[:, 0].all():
                break
            arguments = (heights, allowed, known, 1, 10, RELEASED, weights, value)
            plan, found, in_order = permutation_search(*arguments, 120, 0.0)
            assert found >= in_order
            replaced += found > in_order
            # The true order, one box after the other: every planned position must be feasible when its turn comes.
            now = heights.copy()
            for box, action in zip(known, plan, strict=True):
                if action < 0:
                    break
                feasible = [a for a, *_ in plain_placements(now.tolist(), box, 10)]
                assert action in feasible
                place_one(now, box, action)
            else:
                volume = known.astype(int).prod(axis=1).sum()
                assert found >= 10 * volume / 1000 - 1e-9
            place_one(heights, known[0], plan[0])
    assert replaced > 20


def test_orders_are_enumerated_completely_and_the_best_is_returned():
    """All orders of three boxes, each simulated by plain loops: the search with enough tries finds the best."""
    from interlock.domains.bin_packing.beam import scratch_for
    from interlock.domains.bin_packing.map_value import map_value
    from interlock.domains.bin_packing.permutation import place_virtually

    value = np.array([0.0, 1.0, -50, -30, 0, 0, 50, 100, 0])
    items, _, _ = sequences("cut2", 20, seed=17, size=(10, 10, 10), low=2, high=5)
    for row in items:
        heights = np.zeros((10, 10), np.int16)
        for box in row[:3]:
            place_one(heights, box, np.flatnonzero(mask_batch(heights[None], box[None], 1, 10, RELEASED)[0])[-1])
        known = row[3:6]
        allowed = mask_batch(heights[None], known[:1], 1, 10, RELEASED)[0]
        if not allowed.any():
            continue
        best = -np.inf
        for order in itertools.permutations(range(3)):
            now, owner = heights.copy(), np.full((10, 10), -1, np.int16)
            blocked, scratch = np.empty_like(now), scratch_for(10, 10, 1, 10)
            actions = [
                place_virtually(now, owner, known[i], i, allowed, 1, 10, RELEASED, LINEAR, blocked, scratch)
                for i in order
            ]
            if min(actions) >= 0:
                best = max(best, (known.astype(int).prod(axis=1).sum() + map_value(now, 10, value)) / 100)
        _, found, _ = permutation_search(heights, allowed, known, 1, 10, RELEASED, LINEAR, value, 100, 0.0)
        if best > -np.inf:
            assert found == pytest.approx(best)


def test_an_endless_search_answers_at_its_deadline():
    items, _, _ = sequences("cut2", 1, seed=2, size=(10, 10, 10), low=2, high=5)
    scenario = scenario_of((10, 10, 10), 2, 5, "cut2", 12)
    view = observe(scenario, np.zeros((10, 10)), items[0])
    for deadline_ms in (0.0, 30.0):
        policy = search.look_ahead(scenario, width=EVERYTHING, deadline_ms=deadline_ms)
        policy.act(view)
        started = time.perf_counter()
        action = int(policy.act(view)[0])
        assert time.perf_counter() - started < 2.0  # seconds, on however busy a machine; the whole tree takes hours
        assert view["action_mask"][0, action]
    # Time enough for the whole width: the same answer as without a deadline.
    unhurried = search.look_ahead(scenario, width=8, deadline_ms=60_000.0)
    assert unhurried.act(view).tolist() == search.look_ahead(scenario, width=8).act(view).tolist()


def test_the_beam_is_widened_only_while_the_next_width_ends_in_time(monkeypatch):
    now, tried = [0.0], []
    monkeypatch.setattr(search.time, "perf_counter", lambda: now[0])

    def takes_a_millisecond_per_map(width):
        now[0] += width / 1000.0
        tried.append(width)
        return np.array([width])

    for deadline_ms in (0.5, 3.0, 10.0, 40.0, 1e6):
        now[0], tried[:] = 0.0, []
        answer = search.widened(takes_a_millisecond_per_map, 100, deadline_ms)
        assert answer.tolist() == [tried[-1]]
        assert 1000.0 * now[0] <= max(deadline_ms, 1.0)
        # Not lazier than its rule says: one more width, at half as much again as expected, would have been late.
        assert tried[-1] == 100 or 1000.0 * now[0] + 3.0 * tried[-1] > deadline_ms
    assert tried[-1] == 100


def test_searches_are_offered_only_where_boxes_are_known_ahead():
    assert list(search.baselines(scenario_of(look_ahead=2))) == ["look_ahead", "rollout", "permutation"]
    assert list(search.baselines(scenario_of(look_ahead=1))) == ["one_step"]
    assert search.baselines(scenario_of(look_ahead=2, buffer=2)) == {}
    assert list(search.baselines(scenario_of(bin={"open": 4}))) == ["value_bins", "fullest_first"]

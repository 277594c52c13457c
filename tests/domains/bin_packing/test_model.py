"""The decision process against answers computed another way: brute force, replayed positions, exact optima."""

import itertools

import numpy as np
import pytest

from interlock.core.evaluation.protocol import play, run_instances, split_seed
from interlock.domains.bin_packing.baselines import baselines
from interlock.domains.bin_packing.bounds import exact_optimum, optimal_policy, prefix_volumes
from interlock.domains.bin_packing.features import placement_features
from interlock.domains.bin_packing.generators import capacity, sequences
from interlock.domains.bin_packing.model import mask_batch, place_one
from interlock.domains.bin_packing.placements import feasible_placements
from interlock.domains.bin_packing.problem import build
from interlock.domains.bin_packing.scenario import PRESETS, BinPackingScenario

SIZE = (10, 10, 10)


def scenario(**changes):
    return BinPackingScenario.model_validate({"name": "test", **changes})


def tiny(orientations=1, height=3, length=3):
    return scenario(
        stream="rs",
        orientations=orientations,
        bin={"length": length, "width": length, "height": height},
        items={"low": 1, "high": 2},
    )


@pytest.fixture(scope="module")
def cut_sequences():
    return {stream: sequences(stream, 1000, seed=7, size=SIZE, low=2, high=5) for stream in ("cut1", "cut2")}


@pytest.mark.parametrize("stream", ["cut1", "cut2"])
@pytest.mark.parametrize("preset", PRESETS)
def test_replaying_recorded_positions_fills_every_bin_through_feasible_placements(cut_sequences, stream, preset):
    items, lengths, positions = cut_sequences[stream]
    thresholds = scenario(stability=preset).thresholds()
    heights = np.zeros((1000, 10, 10), np.int16)
    for step in range(lengths.max()):
        rows = np.flatnonzero(lengths > step)
        masks = mask_batch(heights[rows], items[rows, step], 1, 10, thresholds)
        x, y, z = positions[rows, step].T
        assert masks[np.arange(len(rows)), x * 10 + y].all()
        for row, action, floor in zip(rows, x * 10 + y, z, strict=True):
            assert place_one(heights[row], items[row, step], action)[0] == floor
    assert (heights == 10).all()
    assert (items.astype(int).prod(axis=2).sum(axis=1) == 1000).all()


def test_cut1_comes_by_floor_height_and_cut2_does_not(cut_sequences):
    def floors(stream):
        _, lengths, positions = cut_sequences[stream]
        return [positions[k, : lengths[k], 2] for k in range(len(lengths))]

    assert all((np.diff(z) >= 0).all() for z in floors("cut1"))
    assert np.mean([(np.diff(z) < 0).any() for z in floors("cut2")]) > 0.9


def test_generated_streams_match_the_published_statistics():
    for stream in ("cut1", "cut2"):
        items, lengths, _ = sequences(stream, 15_000, seed=3, size=SIZE, low=2, high=5)
        assert lengths.mean() == pytest.approx(26.2, abs=0.2)
        assert lengths.std() == pytest.approx(5.5, abs=0.2)
        sides = items[np.arange(items.shape[1])[None] < lengths[:, None]]
        assert np.bincount(sides.ravel(), minlength=6)[2:] / sides.size == pytest.approx(
            [0.27, 0.27, 0.27, 0.18], abs=0.01
        )
    items, _, _ = sequences("rs", 2000, seed=3, size=SIZE, low=2, high=5)
    assert np.bincount(items.ravel(), minlength=6)[2:] / items.size == pytest.approx([0.25] * 4, abs=0.005)


def test_an_instance_does_not_depend_on_how_it_is_drawn():
    together = sequences("cut2", 20, seed=5, size=SIZE, low=2, high=5)
    alone = sequences("cut2", 1, seed=5, size=SIZE, low=2, high=5, first=13)
    assert all(np.array_equal(many[13], one[0]) for many, one in zip(together, alone, strict=True))
    assert not np.array_equal(together[0][12], together[0][13])


def brute_force_feasible(heights, box, x, y, ceiling, preset):
    """The rule of the scenario's docstring, literally, in floating point free arithmetic on fractions of cells."""
    length, width, height = box
    size_x, size_y = heights.shape
    if x + length > size_x or y + width > size_y:
        return False
    footprint = [[int(heights[i][j]) for j in range(y, y + width)] for i in range(x, x + length)]
    top = max(max(row) for row in footprint)
    if top + height > ceiling:
        return False
    area, level = length * width, sum(row.count(top) for row in footprint)
    corners = [footprint[0][0], footprint[0][-1], footprint[-1][0], footprint[-1][-1]].count(top)
    theta4, theta3, theta0 = (round(100 * share) for share in PRESETS[preset])
    return (
        level == area
        or (corners == 4 and 100 * level > theta4 * area)
        or (corners >= 3 and 100 * level > theta3 * area)
        or 100 * level > theta0 * area
    )


def random_states(rng, count, side):
    """Height maps as packing leaves them (a few stacked boxes) and boxes of all sizes."""
    heights = np.zeros((count, side, side), np.int16)
    for row in heights:
        for _ in range(rng.integers(0, 3 * side)):
            length, width, height = rng.integers(2, side // 2 + 1, 3)
            x, y = rng.integers(0, side - length + 1), rng.integers(0, side - width + 1)
            top = row[x : x + length, y : y + width].max() + height
            if top <= side:
                row[x : x + length, y : y + width] = top
    return heights, rng.integers(2, side // 2 + 1, (count, 3)).astype(np.int16)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("side", "count"), [(10, 1000), (20, 250)])
def test_masks_equal_brute_force_compiled_and_in_numpy(preset, side, count):
    rng = np.random.default_rng([side, len(preset)])
    heights, boxes = random_states(rng, count, side)
    thresholds = scenario(stability=preset).thresholds()
    compiled = mask_batch(heights, boxes, 2, side, thresholds)
    in_numpy = feasible_placements(heights, boxes, orientations=2, ceiling=side, thresholds=thresholds)
    assert np.array_equal(compiled, in_numpy)
    checked = 0
    for row in range(count):
        length, width, height = (int(v) for v in boxes[row])
        for orientation, box in enumerate([(length, width, height), (width, length, height)]):
            for x, y in (
                itertools.product(range(0, side, 3), range(0, side, 3))
                if side > 10
                else itertools.product(range(side), range(side))
            ):
                expected = brute_force_feasible(heights[row], box, x, y, side, preset)
                if orientation == 1 and length == width:
                    expected = False
                assert compiled[row, (orientation * side + x) * side + y] == expected, (row, box, x, y)
                checked += expected
    assert checked > 1000


@pytest.mark.parametrize(
    ("length", "width", "pattern", "paper", "released"),
    [
        (2, 2, "##/#.", False, False),
        (2, 3, "###/##.", True, False),
        (2, 3, "#.#/#.#", True, True),
        (2, 4, "#..#/#..#", False, False),
        (2, 5, "#.#.#/#.#.#", False, True),
    ],
)
def test_consequences_of_the_presets(length, width, pattern, paper, released):
    heights = np.zeros((1, 10, 10), np.int16)
    for i, row in enumerate(pattern.split("/")):
        for j, mark in enumerate(row):
            heights[0, i, j] = 1 if mark == "#" else 0
    box = np.array([[length, width, 2]], np.int16)
    for preset, expected in (("paper", paper), ("released", released)):
        assert mask_batch(heights, box, 1, 10, scenario(stability=preset).thresholds())[0, 0] == expected


def features_by_hand(heights, box, x, y, ceiling):
    """The twelve features, from their definitions, on plain lists."""
    length, width, height = box
    size_x, size_y = heights.shape
    inside = list(itertools.product(range(x, x + length), range(y, y + width)))
    floor = max(int(heights[c]) for c in inside)
    top = floor + height
    after = {(i, j): int(heights[i, j]) for i in range(size_x) for j in range(size_y)} | dict.fromkeys(inside, top)
    ring = [(i, j) for j in range(y, y + width) for i in (x - 1, x + length)]
    ring += [(i, j) for i in range(x, x + length) for j in (y - 1, y + width)]
    contact = sum(height if c not in after else max(0, min(after[c], top) - floor) for c in ring)
    steps = sum(after[c] != after[n] for c in after for n in ((c[0] + 1, c[1]), (c[0], c[1] + 1)) if n in after)

    def pit(i, j):
        return any(
            all(after.get((i + s * a, j + s * b), ceiling) > after[i, j] for s in (-1, 1)) for a, b in ((1, 0), (0, 1))
        )

    def flats(k):
        return sum(
            all(after.get((i - a, j - b)) == after[i, j] for a in range(k) for b in range(k))
            and ceiling - after[i, j] >= k
            for i, j in after
        )

    return [
        sum(floor - int(heights[c]) for c in inside) / 4,
        contact / (len(ring) * height),
        sum(after.get(c) == top for c in ring) / len(ring),
        sum(c not in after for c in ring) / len(ring),
        top / ceiling,
        steps / 20,
        sum(pit(*c) for c in after) / 10,
        sum(h == ceiling - 1 for h in after.values()) / 10,
        *(flats(k) / 50 for k in (2, 3, 4, 5)),
    ]


@pytest.mark.parametrize("lowest", [1, 2])
def test_placement_features_equal_their_definitions(lowest):
    rng = np.random.default_rng(lowest)
    heights, boxes = random_states(rng, 120, 8)
    boxes = rng.integers(lowest, 6, (120, 3)).astype(np.int16)
    masks = mask_batch(heights, boxes, 6, 8, (5000, 8500, 9500))
    features = placement_features(heights, boxes, masks, 8)
    compared = 0
    for row, action in np.argwhere(masks)[::7]:
        orientation, x, y = action // 64, action % 64 // 8, action % 8
        a, b, c = (int(v) for v in boxes[row])
        box = [(a, b, c), (b, a, c), (a, c, b), (c, a, b), (b, c, a), (c, b, a)][orientation]
        assert features[row, action] == pytest.approx(features_by_hand(heights[row], box, x, y, 8), abs=1e-6)
        compared += 1
    assert compared > 100
    assert not features[~masks].any()


@pytest.mark.parametrize(
    ("length", "height", "orientations", "optimum"),
    [(2, 3, 1, 0.512261), (2, 3, 2, 0.614900), (3, 3, 1, 0.676808), (3, 3, 2, 0.754482)],
)
def test_exact_online_optimum(length, height, orientations, optimum):
    assert exact_optimum(tiny(orientations, height, length)) == pytest.approx(optimum, abs=1e-6)
    paper = tiny(orientations, height, length).with_changes(stability="paper")
    assert exact_optimum(paper) == pytest.approx(optimum, abs=1e-6)


def test_the_optimal_policy_attains_the_optimum_and_rules_their_known_values():
    problem = build(tiny())
    for policy, expected in (
        (optimal_policy(problem.scenario), 67.6808),
        (baselines(problem.scenario)["dbl"](0), 57.7823),
        (baselines(problem.scenario)["random"](0), 46.6181),
    ):
        utilisation = play(problem, policy, split="test", count=20_000).objective
        assert utilisation.mean() == pytest.approx(expected, abs=4 * utilisation.std() / 20_000**0.5)


def test_prefix_volume_bound_on_a_hand_computed_sequence():
    items = np.array([[[2, 2, 2], [3, 3, 3], [5, 5, 5], [1, 1, 1]]], np.int16)
    assert prefix_volumes(items, np.array([4]), 64) == pytest.approx([35 / 64])
    assert prefix_volumes(items, np.array([1]), 64) == pytest.approx([8 / 64])
    items, lengths, _ = sequences("cut2", 50, seed=1, size=SIZE, low=2, high=5)
    assert (prefix_volumes(items, lengths, 1000) == 1.0).all()


def test_rs_sequences_never_run_out():
    assert capacity(10, 10, 10, 2) == 126
    problem = build(tiny())
    outcome = play(problem, optimal_policy(problem.scenario), split="test", count=3000)
    assert outcome.metrics["ended_exhausted"].max() == 0


def test_an_infeasible_action_ends_the_episode_as_illegal_and_places_nothing():
    problem = build(scenario(stream="cut2", max_overhang=0.1))
    environment = problem.environment(3, seed=0, split="train")
    view = environment.reset()
    outside = np.flatnonzero(~view["action_mask"][0])[-1]
    step = environment.step(np.array([outside, int(view["action_mask"][1].argmax()), -1]))
    assert step.terminated.tolist() == [True, False, True]
    assert step.info["ended_illegal"].tolist() == [True, False, True]
    assert step.reward[[0, 2]].tolist() == [0.0, 0.0]
    assert step.cost.tolist() == [[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
    assert step.observation["height_map"][0].max() == 0


def test_overhang_cost_is_the_unsupported_share_of_the_footprint():
    problem = build(scenario(stream="cut2", max_overhang=0.1))
    environment = problem.environment(1, seed=0, split="train")
    environment.reset()
    state = environment.state()
    state["heights"][0, 0, :2, :3] = [[1, 1, 1], [1, 1, 0]]
    state["items"][0, 0] = (2, 3, 2)
    state["masks"][0] = mask_batch(state["heights"][:, 0], state["items"][:, 0], 1, 10, (6000, 8000, 9500))[0]
    environment.restore(state)
    assert environment.step(np.array([0])).cost[0, 1] == pytest.approx(1 / 6)


def test_baselines_play_as_their_rules_say():
    problem = build(scenario())
    view = problem.environment(200, seed=3, split="train").reset()
    policies = {name: make(0) for name, make in problem.baselines().items()}
    environment = problem.environment(200, seed=3, split="train")
    environment.reset()
    for _ in range(6):
        view = environment.step(policies["random"].act(view)).observation
    heights, boxes, masks = view["height_map"], view["items"][:, 0], view["action_mask"]
    for row in range(200):
        allowed = np.flatnonzero(masks[row])

        def floor_and_sum(action, row=row):
            after = heights[row].copy()
            before = int(after.sum())
            floor, _ = place_one(after, boxes[row], action)
            return int(floor), int(after.sum()) - before, action // 10 + action % 10

        costs = {a: floor_and_sum(a) for a in allowed}
        assert policies["first_fit"].act(view)[row] == allowed[0]
        assert policies["dbl"].act(view)[row] == min(allowed, key=lambda a: (100 * costs[a][0] + costs[a][2], a))
        assert policies["hm_min"].act(view)[row] == min(allowed, key=lambda a: (100 * costs[a][1] + costs[a][2], a))


def test_a_row_plays_the_same_whatever_the_batch():
    problem = build(scenario(stream="cut1"))
    rule = problem.baselines()["linear12"](0)
    wide = run_instances(problem.environment(64, seed=9, split="test"), rule, 100)
    narrow = run_instances(problem.environment(3, seed=9, split="test"), rule, 100)
    assert np.array_equal(wide.objective, narrow.objective)
    assert np.array_equal(wide.steps, narrow.steps)


def test_the_exact_optimum_of_the_stream_is_no_bound_on_a_users_own_boxes(tmp_path):
    file = tmp_path / "unit.csv"
    rows = [f"{stream},{k},1,1,1" for stream in "ab" for k in range(27)]
    file.write_text("stream_id,position,length,width,height\n" + "\n".join(rows) + "\n")
    problem = build(tiny(), file)
    assert "optimal_online" not in problem.bounds()
    assert problem.bounds()["perfect_information"].kind == "relaxation"
    assert play(problem, problem.baselines()["first_fit"](0), split="test").objective == pytest.approx([100, 100])
    assert list(build(tiny()).bounds())[:2] == ["optimal_online", "perfect_information"]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_bounds_belong_to_the_instances_that_are_played(split):
    problem = build(scenario(stream="rs"))
    bound = problem.bounds()["perfect_information"].compute(split, 40)
    view = problem.environment(40, seed=split_seed(problem, split), split=split)
    view.reset()
    assert bound == pytest.approx(100 * prefix_volumes(view.rows.items, view.rows.lengths, 1000))

"""Positions worth scoring: always feasible, never none, and the ones that the schemes' definitions name."""

import numpy as np
import pytest

from interlock.core.evaluation.protocol import play
from interlock.domains.bin_packing.candidates import SCHEMES, candidates
from interlock.domains.bin_packing.model import mask_batch, place_one
from interlock.domains.bin_packing.problem import build
from interlock.domains.bin_packing.scenario import BinPackingScenario

SIDE, THRESHOLDS = 8, (5000, 8500, 9500)


@pytest.fixture(scope="module", params=[1, 2, 6])
def mid_game(request):
    """Bins filled by random feasible placements, the next boxes, and their masks."""
    rng = np.random.default_rng(5)
    rows = 300
    heights = np.zeros((rows, SIDE, SIDE), np.int16)
    for step in range(12):
        items = rng.integers(1, 5, (rows, 3)).astype(np.int16)
        masks = mask_batch(heights, items, request.param, SIDE, THRESHOLDS)
        for row in range(rows):
            feasible = np.flatnonzero(masks[row])
            if len(feasible) and step < row % 13:
                place_one(heights[row], items[row], int(rng.choice(feasible)))
    items = rng.integers(1, 5, (rows, 3)).astype(np.int16)
    return heights, items, mask_batch(heights, items, request.param, SIDE, THRESHOLDS)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_candidates_are_feasible_and_there_is_one_wherever_there_is_a_feasible_position(mid_game, scheme):
    heights, items, masks = mid_game
    offered = candidates(scheme, heights, items, masks, SIDE)
    assert not (offered & ~masks).any()
    assert (offered.any(axis=1) == masks.any(axis=1)).all()
    if scheme == "all":
        assert (offered == masks).all()
    else:
        assert offered.sum() < 0.9 * masks.sum()


def test_extreme_and_corner_points_are_events(mid_game):
    heights, items, masks = mid_game
    events = candidates("event", heights, items, masks, SIDE)
    for scheme in ("corner", "extreme", "ems"):
        offered = candidates(scheme, heights, items, masks, SIDE)
        whole = (offered == masks).all(axis=1)  # the scheme may have named none
        assert not (offered & ~events)[~whole].any(), scheme


def named(scheme, heights, item=(1, 1, 1)):
    """Positions that a scheme names for a unit cube, all of which count as feasible."""
    maps = np.array([heights], np.int16)
    mask = np.ones((1, maps[0].size), bool)
    offered = candidates(scheme, maps, np.array([item], np.int16), mask, 9)
    return {divmod(int(action), maps.shape[2]) for action in np.flatnonzero(offered)}


def test_an_empty_bin_has_one_corner():
    empty = np.zeros((4, 5))
    assert named("corner", empty) == named("extreme", empty) == {(0, 0)}
    assert named("ems", empty) == named("event", empty) == {(0, 0), (3, 0), (0, 4), (3, 4)}


def test_points_around_a_box_in_the_corner():
    heights = np.zeros((5, 5))
    heights[:2, :3] = 4
    assert named("corner", heights) == named("extreme", heights) == {(0, 0), (0, 3), (2, 0)}


def test_a_staircase_hides_what_lies_in_front_of_it_and_projections_find_it():
    heights = np.zeros((6, 6))
    heights[3:5, 3:5] = 2  # stands free: the floor before it lies in front of the staircase
    assert named("corner", heights) == {(0, 5), (5, 0), (0, 0)}  # (0, 0) from the level of its top
    assert named("extreme", heights) == {(0, 0), (5, 0), (0, 5), (3, 0), (0, 3)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rules_play_on_candidates_alone(scheme):
    scenario = BinPackingScenario.model_validate(
        {"name": "few", "candidates": scheme, "evaluation": {"test_instances": 40}}
    )
    problem = build(scenario)
    for name in ("linear12", "contact"):
        outcomes = play(problem, problem.baselines()[name](0), split="test")
        assert outcomes.metrics["ended_illegal"].sum() == 0
        assert outcomes.objective.mean() > 45


def test_a_fine_grid_has_its_slow_rules_only_where_candidates_are_few():
    size = {"length": 20, "width": 20, "height": 20}
    many = build(BinPackingScenario.model_validate({"name": "fine", "bin": size})).baselines()
    few = build(BinPackingScenario.model_validate({"name": "fine", "bin": size, "candidates": "ems"})).baselines()
    assert set(few) - set(many) == {"macs", "br", "br_mean"}

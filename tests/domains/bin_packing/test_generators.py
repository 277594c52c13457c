"""Streams of boxes: blocks of several bins, the largest first or last, warehouse orders, weights."""

from pathlib import Path

import numpy as np
import pytest

from interlock.core.errors import UsageError
from interlock.domains.bin_packing.generators import instances, room_of, source_of
from interlock.domains.bin_packing.problem import build
from interlock.domains.bin_packing.scenario import BinPackingScenario

PICKS = Path(__file__).resolve().parents[4] / "shared" / "data" / "bin_packing" / "case_picks.csv"
PALLET = {"length": 134, "width": 125, "height": 100, "cell_size": 1, "unit": "cm"}


def scenario(**changes):
    return BinPackingScenario.model_validate({"name": "test", **changes})


def drawn(count, seed=3, first=0, **changes):
    return instances(source_of(scenario(**changes), seed), count, first)


def boxes_of(items, lengths):
    return items[np.arange(items.shape[1])[None] < lengths[:, None]].astype(int)


def test_four_bins_are_cut_from_one_block_that_its_pieces_fill():
    items, lengths, positions, _ = drawn(60, stream="cut2", bin={"open": 4})
    across = 0
    for k in range(60):
        filled = np.zeros((20, 20, 10), int)
        heights = np.zeros((20, 20), int)
        for (length, width, height), (x, y, z) in zip(items[k, : lengths[k]], positions[k, : lengths[k]], strict=True):
            filled[x : x + length, y : y + width, z : z + height] += 1
            under = heights[x : x + length, y : y + width]
            assert (under == z).all(), "a piece comes as soon as all under it is there, not before"
            under += height
            across += x < 10 < x + length or y < 10 < y + width
        assert (filled == 1).all()
    assert across > 60, "pieces ignore where one bin ends"
    assert lengths.mean() == pytest.approx(105, abs=4)


def test_blocks_follow_one_another_until_they_hold_the_bins_of_an_episode():
    for bins, open_, blocks in ((8, 4, 2), (5, 4, 2), (3, 3, 3), (2, 1, 2)):
        numbers = scenario(stream="cut1", bin={"open": open_, "total": bins})
        source = source_of(numbers, 1)
        assert (source.block, source.blocks) == (2 if open_ == 4 else 1, blocks)
        items, lengths, positions, _ = instances(source, 20)
        assert (items.astype(int).prod(axis=2).sum(axis=1) == blocks * source.block**2 * 1000).all()
        floors = [positions[k, : lengths[k], 2] for k in range(20)]
        assert all((np.diff(z) < 0).sum() == blocks - 1 for z in floors), "floors rise within a block"
        assert lengths.max() < room_of(source) == items.shape[1]


@pytest.mark.parametrize(("stream", "first"), [("largest_first", True), ("largest_last", False)])
def test_the_largest_quarter_moves_and_the_rest_keeps_its_order(stream, first):
    plain, lengths, _, _ = drawn(50, stream="cut2")
    moved, same_lengths, positions, _ = drawn(50, stream=stream)
    assert np.array_equal(lengths, same_lengths)
    assert (positions == -1).all()
    for k in range(50):
        n = lengths[k]
        order = sorted(range(n), key=lambda i, k=k: (-int(plain[k, i].astype(int).prod()), i))
        large = sorted(order[: n // 4])
        rest = [i for i in range(n) if i not in large]
        expected = large + rest if first else rest + large
        assert np.array_equal(moved[k, :n], plain[k, expected])


def test_instances_do_not_depend_on_how_they_are_drawn():
    picks = {"stream": "picks", "bin": PALLET, "items": {"low": 1, "high": 60}}
    for changes in (
        picks,
        {"bin": {"open": 4, "total": 8}},
        {"items": {"density": [0.5, 2]}, "stream": "largest_last"},
    ):
        together, alone = drawn(9, **changes), drawn(1, first=7, **changes)
        assert all(np.array_equal(many[7], one[0]) for many, one in zip(together, alone, strict=True))
        assert not np.array_equal(together[0][7], together[0][8])
        assert not np.array_equal(together[0], drawn(9, seed=4, **changes)[0])


def test_weights_are_volume_times_a_density_per_box():
    items, lengths, _, weights = drawn(300, items={"density": [0.5, 2.0]})
    volumes = items.astype(int).prod(axis=2)
    there = np.arange(items.shape[1])[None] < lengths[:, None]
    density = weights[there] / volumes[there]
    assert density.min() > 0.5
    assert density.max() <= 2.0
    assert np.quantile(density, [0.25, 0.5, 0.75]) == pytest.approx([0.875, 1.25, 1.625], abs=0.03)
    assert abs(np.corrcoef(density, volumes[there])[0, 1]) < 0.05
    same_items, _, _, plain = drawn(300)
    assert np.array_equal(items, same_items), "weights take nothing from the random numbers of the boxes"
    assert np.array_equal(plain[there], volumes[there])


def test_orders_exceed_the_bins_by_their_last_box_only():
    items, lengths, _, _ = drawn(40, stream="picks", bin=PALLET, items={"low": 1, "high": 60})
    volumes = items.astype(int).prod(axis=2)
    for k in range(40):
        total = volumes[k, : lengths[k]].sum()
        assert total > 134 * 125 * 100 >= total - volumes[k, lengths[k] - 1]


def test_finer_cells_show_the_same_boxes_rounded_up():
    two = {**PALLET, "length": 67, "width": 62, "height": 50, "cell_size": 20, "unit": "mm"}
    fine, lengths, _, weights = drawn(5, stream="picks", bin=PALLET, items={"low": 1, "high": 60})
    coarse, _, _, heavy = drawn(5, stream="picks", bin=two, items={"low": 1, "high": 30})
    for k in range(5):
        n = min(lengths[k], 40)
        assert np.array_equal(coarse[k, :n], -(-fine[k, :n] // 2))
        assert np.array_equal(weights[k, :n], heavy[k, :n])


@pytest.mark.skipif(not PICKS.exists(), reason="the file of real case picks is not there")
def test_orders_look_like_the_real_ones_they_are_calibrated_to():
    import pandas as pd

    real = pd.read_csv(PICKS)
    real = real.loc[real.index.repeat(real["quantity"])]
    items, lengths, _, weights = drawn(400, stream="picks", bin=PALLET, items={"low": 1, "high": 60})
    boxes = boxes_of(items, lengths)
    mass = weights[np.arange(items.shape[1])[None] < lengths[:, None]]
    theirs = real[["length_cm", "width_cm", "height_cm"]].to_numpy()
    assert (boxes[:, 0] >= boxes[:, 1]).all(), "as in the file, the length is the longer side of the base"
    middle = [0.1, 0.25, 0.5, 0.75, 0.9]
    for k in range(3):
        found, wanted = (np.quantile(sides, middle) for sides in (boxes[:, k], np.ceil(theirs[:, k])))
        assert found == pytest.approx(wanted, rel=0.15)
    assert boxes.prod(axis=1).mean() == pytest.approx(np.ceil(theirs).prod(axis=1).mean(), rel=0.2)
    assert mass.mean() == pytest.approx(real["gross_weight_kg"].mean(), rel=0.15)
    quarters = [0.25, 0.5, 0.75, 0.9]
    assert np.quantile(mass, quarters) == pytest.approx(np.quantile(real["gross_weight_kg"], quarters), rel=0.15)
    flattest = (boxes[:, 2] <= boxes[:, :2].min(axis=1)).mean()
    assert flattest == pytest.approx((theirs[:, 2] <= theirs[:, :2].min(axis=1)).mean(), abs=0.1)
    alike = [(np.diff(items[k, : lengths[k]].astype(int), axis=0) == 0).all(axis=1).mean() for k in range(400)]
    ordered = real.sort_values(["pallet", "pick"], kind="stable")
    neighbours = ordered["pallet"].to_numpy()[1:] == ordered["pallet"].to_numpy()[:-1]
    same = (np.diff(ordered[["length_cm", "width_cm", "height_cm"]].to_numpy(), axis=0) == 0).all(axis=1)
    assert np.mean(alike) == pytest.approx(same[neighbours].mean(), abs=0.1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stream": "picks", "items": {"low": 2, "high": 9}}, "draws boxes in centimetres"),
        ({"test_streams": ["rs", "rs"]}, "each stream at most once"),
        ({"test_streams": ["rs", "cut1", "cut2"]}, "not a multiple of the 3"),
        ({"test_streams": ["rs", "cut1"], "items": {"high": 12}}, "items.high 12 does not fit"),
        ({"bin": {"open": 4, "total": 3}}, "bin.total 3 is less than bin.open 4"),
        ({"items": {"density": [2.0, 1.0]}}, "expected 0 <= least <= most"),
    ],
)
def test_scenarios_that_make_no_sense_are_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        scenario(**changes)


def test_a_bin_that_would_not_bear_a_generated_box_is_refused():
    with pytest.raises(UsageError, match=r"bin\.max_weight 100 kg is less than a generated box may weigh, 125 kg"):
        build(scenario(bin={"max_weight": 100}))
    build(scenario(bin={"max_weight": 100}, items={"density": [0.1, 0.5]}))

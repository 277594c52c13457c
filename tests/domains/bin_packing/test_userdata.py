"""Users' item files: every kind of bad input with its message and exit code, round trips, and the real data files."""

import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from interlock.core.errors import BadInput, InterlockError, UsageError
from interlock.core.evaluation.evidence import evaluate_policies
from interlock.domains.bin_packing import problem
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.userdata import read_items

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "bin_packing"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/bin_packing, which is not here")
HEADER = "stream_id,position,length,width,height"
CENTIMETRES = {"length": 20, "width": 16, "height": 12, "cell_size": 5, "unit": "cm"}


def scenario(**changes: Any) -> BinPackingScenario:
    return BinPackingScenario(name="test", **changes)


def write(folder: Path, *rows: str, header: str = HEADER, name: str = "items.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def refusal(path: Path, *, code: int = 3, **changes: Any) -> str:
    with pytest.raises(InterlockError) as caught:
        read_items(path, scenario(**changes))
    assert caught.value.exit_code == code
    return str(caught.value)


# ------------------------------------------------------------------------------------------ well-formed files


def test_streams_in_order_of_position(tmp_path: Path) -> None:
    read = read_items(write(tmp_path, "b,1,2,3,4", "a,0,5,5,5", "b,0,3,3,3"), scenario())
    assert read.stream_ids == ["b", "a"]
    assert read.items.dtype == np.int16
    assert read.lengths.dtype == np.int32
    assert read.lengths.tolist() == [2, 1]
    assert read.items.tolist() == [[[3, 3, 3], [2, 3, 4]], [[5, 5, 5], [0, 0, 0]]]
    assert read.extra["row"].tolist() == [4, 2, 3]
    assert read.warnings == []
    assert len(read.rejected) == 0


def test_sides_are_rounded_up_and_the_loss_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,10,10,10", "a,1,12.5,10.1,7")
    read = read_items(path, scenario(bin=CENTIMETRES, data={"unit": "cm"}))
    assert read.items[0].tolist() == [[2, 2, 2], [3, 3, 2]]
    assert read.rounding.rows == 1
    assert read.rounding.volume_lost == pytest.approx(1 - (8 + 12.5 * 10.1 * 7 / 125) / (8 + 18))


@pytest.mark.parametrize(
    ("unit", "sides", "bin_unit", "cell"),
    [("m", "0.3,0.2,0.1", "m", 0.1), ("mm", "300,200,100", "cm", 10), ("cm", "30,20,10", "mm", 100)],
)
def test_multiples_of_the_cell_are_not_rounded_up(
    tmp_path: Path, unit: str, sides: str, bin_unit: str, cell: float
) -> None:
    read = read_items(
        write(tmp_path, f"a,0,{sides}"), scenario(bin={"unit": bin_unit, "cell_size": cell}, data={"unit": unit})
    )
    assert read.items[0, 0].tolist() == [3, 2, 1]
    assert read.rounding.rows == 0
    assert read.rounding.volume_lost == 0


def test_quantities_expand_and_columns_are_passed_through(tmp_path: Path) -> None:
    header = f"{HEADER},quantity,weight,sku,keep_upright,arrival_s,colour"
    path = write(tmp_path, "a,0,2,2,2,3,500,X1,yes,0,red", "a,1,3,3,3,1,,X2,,7.5,", header=header)
    read = read_items(path, scenario(data={"weight_unit": "g"}))
    assert read.lengths.tolist() == [4]
    assert read.items[0].tolist() == [[2, 2, 2]] * 3 + [[3, 3, 3]]
    assert read.extra["item"].tolist() == [0, 1, 2, 3]
    assert read.extra["weight"].tolist()[:3] == [0.5, 0.5, 0.5]
    assert np.isnan(read.extra["weight"][3])
    assert read.extra["keep_upright"].tolist() == [True, True, True, False]
    assert read.extra["arrival_s"].tolist() == [0, 0, 0, 7.5]
    assert read.extra["sku"].tolist() == ["X1", "X1", "X1", "X2"]
    assert read.extra["colour"].tolist() == ["red", "red", "red", ""]


def test_a_column_named_like_one_of_ours_is_not_lost(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2,of the lorry", header=HEADER + ",row")
    assert read_items(path, scenario()).extra["row (file)"].tolist() == ["of the lorry"]


def test_names_of_the_published_files_and_a_mapping(tmp_path: Path) -> None:
    published = write(tmp_path, "7,0,2,3,4", header="sequence,position,l,w,h")
    assert read_items(published, scenario()).items[0, 0].tolist() == [2, 3, 4]
    other = write(tmp_path, "p,2,3,4", header="pallet,Laenge,w,h", name="other.csv")
    columns = {"stream_id": "pallet", "position": "Laenge", "length": "Laenge"}
    assert read_items(other, scenario(data={"columns": columns})).items[0, 0].tolist() == [2, 3, 4]
    message = refusal(other, data={"columns": {**columns, "length": "laenge"}})
    assert "no column laenge, which data.columns names for length; did you mean Laenge?" in message
    with pytest.raises(ValidationError, match="stream_id"):
        scenario(data={"columns": {"stream": "pallet"}})


SIDE = st.integers(1, 10)
ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 10_000), SIDE, SIDE, SIDE, st.integers(1, 4)),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, cell=st.sampled_from([1.0, 0.1, 0.3, 7.0, 12.7]), unit=st.sampled_from(["mm", "cm", "m"]))
def test_any_well_formed_file_round_trips(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, int, int, int]], cell: float, unit: str
) -> None:
    path = tmp_path_factory.mktemp("round") / "items.csv.gz"
    lines = [f"{s},{p},{x * cell!r},{y * cell!r},{z * cell!r},{q}" for s, p, x, y, z, q in rows]
    path.write_bytes(gzip.compress("\n".join([HEADER + ",quantity", *lines]).encode()))
    read = read_items(path, scenario(bin={"cell_size": cell, "unit": unit}, data={"unit": unit}))
    assert read.stream_ids == list(dict.fromkeys(row[0] for row in rows))
    for k, stream in enumerate(read.stream_ids):
        ours = sorted((row for row in rows if row[0] == stream), key=lambda row: row[1])
        expected = [[*row[2:5]] for row in ours for _ in range(row[5])]
        assert read.items[k, : read.lengths[k]].tolist() == expected
        assert not read.items[k, read.lengths[k] :].any()
    assert read.rounding.rows == 0


# ------------------------------------------------------------------------------------------ wrong values


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("0", "'0'"),
        ("-2", "'-2'"),
        ("nan", "'nan'"),
        ("NaN", "'NaN'"),
        ("inf", "'inf'"),
        ("", "empty"),
        ("wide", "'wide'"),
        ('"12,5"', "'12,5' has a decimal comma"),
        ("12 cm", "'12 cm' has a unit in it"),
    ],
)
def test_a_side_must_be_a_positive_number(tmp_path: Path, value: str, quoted: str) -> None:
    path = write(tmp_path, "a,0,10,10,10", f"a,1,10,{value},10")
    message = refusal(path, bin=CENTIMETRES, data={"unit": "cm"})
    assert f"{path}: 1 problem\n  - row 3, width: {quoted}" in message
    assert "expected a length in cm above 0" in message


def test_all_problems_are_listed_up_to_twenty_and_then_counted(tmp_path: Path) -> None:
    path = write(tmp_path, *[f"a,{k},0,-1,2" for k in range(25)], "a,99,2,2,2", ",x,2,2,2")
    with pytest.raises(BadInput) as caught:
        read_items(path, scenario())
    assert len(caught.value.problems) == 26
    assert caught.value.problems[0] == (
        "row 2, length: '0', expected a number of cells above 0; width: '-1', expected a number of cells above 0"
    )
    assert caught.value.problems[-1] == (
        "row 28, stream_id: empty, expected the name of the stream; position: 'x', expected a whole number, at least 0"
    )
    message = str(caught.value)
    assert "26 problems" in message
    assert message.count("\n  - ") == 20
    assert message.endswith("... and 6 more")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "two", ""])
def test_a_quantity_must_be_a_whole_number_above_zero(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, "a,0,2,2,2,1", f"a,1,2,2,2,{value}", header=HEADER + ",quantity")
    shown = repr(value) if value else "empty"
    assert f"row 3, quantity: {shown}, expected a whole number, at least 1" in refusal(path)


def test_more_items_than_can_be_held(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2,9000000000000", header=HEADER + ",quantity")
    assert "9000000000000 items in 1 streams" in refusal(path)


@pytest.mark.parametrize("value", ["-1", "0.5", "first", ""])
def test_a_position_must_be_a_whole_number(tmp_path: Path, value: str) -> None:
    message = refusal(write(tmp_path, f"a,{value},2,2,2"))
    assert "row 2, position: " in message
    assert "expected a whole number, at least 0" in message


def test_optional_columns_are_checked_too(tmp_path: Path) -> None:
    header = HEADER + ",weight,max_stack_weight,keep_upright,arrival_s"
    message = refusal(write(tmp_path, "a,0,2,2,2,0,-1,maybe,soon", header=header), data={"weight_unit": "lb"})
    assert "weight: '0', expected a weight in lb above 0" in message
    assert "max_stack_weight: '-1', expected a weight in lb, at least 0" in message
    assert "keep_upright: 'maybe', expected true or false" in message
    assert "arrival_s: 'soon', expected seconds, at least 0" in message


def test_a_missing_weight_matters_only_to_a_constraint(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2,1.5", "a,1,2,2,2,", header=HEADER + ",weight")
    assert read_items(path, scenario()).lengths.tolist() == [2]
    message = refusal(path, items={"crush_factor": 4})
    assert "row 3, weight: empty, expected a weight in kg, which constraint items.crush_factor needs" in message
    message = refusal(write(tmp_path, "a,0,2,2,2"), items={"crush_factor": 4}, bin={"max_weight": 20})
    assert "no column weight, which constraints bin.max_weight, items.crush_factor needs for every item" in message
    assert "which constraint items.density needs" in refusal(path, items={"density": (0.5, 1)})
    limited = write(tmp_path, "a,0,2,2,2,1.5,", "a,1,2,2,2,,9", header=HEADER + ",weight,max_stack_weight")
    assert "row 3, weight: empty, expected a weight in kg, which constraint max_stack_weight" in refusal(limited)


def test_weights_limits_and_upright_boxes_reach_the_arrays(tmp_path: Path) -> None:
    header = HEADER + ",weight,max_stack_weight,keep_upright,quantity"
    path = write(tmp_path, "a,0,2,2,2,1500,,yes,2", "a,1,3,2,2,500,4000,,1", header=header)
    read = read_items(path, scenario(data={"weight_unit": "g"}))
    assert read.weights.tolist() == [[1.5, 1.5, 0.5]]
    assert np.array_equal(read.limits, [[np.nan, np.nan, 4.0]], equal_nan=True)
    assert read.upright.tolist() == [[True, True, False]]
    read = read_items(write(tmp_path, "a,0,2,2,2,1.5", "a,1,3,2,2,", header=HEADER + ",weight"), scenario())
    assert read.weights.tolist() == [[8.0, 12.0]], "without all weights, a cell weighs 1"


def test_a_box_heavier_than_the_bin_may_carry_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2,15", "a,1,2,2,2,2000", header=HEADER + ",weight")
    message = refusal(path, bin={"max_weight": 20})
    assert "row 3, weight: '2000', expected at most the 20 kg that bin.max_weight lets a bin carry" in message
    assert "row 2" not in message


def test_six_orientations_take_a_tilted_box_unless_it_must_stay_upright(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,12,no", "a,1,2,2,12,yes", header=HEADER + ",keep_upright")
    bins = {"length": 12}
    message = refusal(path, orientations=6, bin=bins)
    assert "row 3, length x width x height: 2 x 2 x 12 cells" in message
    assert "fits only when tilted, and keep_upright forbids that" in message
    assert "row 2" not in message
    assert "which orientations=2 does not allow (6 does)" in refusal(path, orientations=2, bin=bins)


def test_duplicates_are_refused_and_gaps_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, "a,3,2,2,2", "b,3,2,2,2", "a,3,2,2,3", "a,3.0,2,2,4")
    message = refusal(path)
    assert "row 4, stream_id 'a', position 3: already in row 2, expected each position of a stream once" in message
    assert "row 5, stream_id 'a', position 3: already in row 2" in message
    read = read_items(write(tmp_path, "a,9,2,2,2", "a,3,3,3,3", "b,1,2,2,2", "b,2,2,2,2"), scenario())
    assert read.items[0].tolist() == [[3, 3, 3], [2, 2, 2]]
    assert read.warnings == ["positions have gaps in these streams, their order was kept: a"]


def test_rows_with_mixed_units_are_named(tmp_path: Path) -> None:
    rows = [f"a,{k},30,20,10" for k in range(9)]
    bins = {"length": 100, "width": 100, "height": 50, "cell_size": 5, "unit": "cm"}
    read = read_items(write(tmp_path, *rows, "a,9,300,200,20"), scenario(bin=bins, data={"unit": "cm"}))
    assert read.warnings == [
        "length is more than 8 times the median of its column in 1 rows: 11; are units mixed?",
        "width is more than 8 times the median of its column in 1 rows: 11; are units mixed?",
    ]
    message = refusal(write(tmp_path, *rows, "a,9,3000,200,20"), bin=bins, data={"unit": "cm"})
    assert "a side is more than 8 times the median of its column: are units mixed?" in message


# ------------------------------------------------------------------------------------------ too large


def test_an_item_that_fits_in_no_allowed_orientation(tmp_path: Path) -> None:
    bins = {"length": 10, "width": 6, "height": 8}
    path = write(tmp_path, "a,0,2,2,2", "a,1,6,9,2", "a,2,2,2,9", "a,3,11,2,2,", "a,4,2,2,2")
    path.write_text(path.read_text().replace("11,2,2,", "11,2,2"))
    message = refusal(path, bin=bins, items={"high": 5})
    assert "3 problems" in message
    assert (
        "row 3, length x width x height: 6 x 9 x 2 cells in a bin of 10 x 6 x 8 cells fits only with length" in message
    )
    assert "orientations=1 does not allow (2 does)" in message
    assert (
        "row 4, length x width x height: 2 x 2 x 9 cells in a bin of 10 x 6 x 8 cells fits only when tilted" in message
    )
    assert (
        "row 5, length x width x height: 11 x 2 x 2 cells in a bin of 10 x 6 x 8 cells fits in no orientation"
        in message
    )
    assert "2 problems" in refusal(path, bin=bins, orientations=2)


def test_oversized_items_are_rejected_with_their_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2,yes", "a,1,2,2,9,yes", "b,0,2,2,9,no", header=HEADER + ",keep_upright")
    options: dict[str, Any] = {"bin": {"height": 8}, "data": {"on_oversize": "reject"}}
    target = tmp_path / "out" / "rejected.csv"
    read = read_items(path, scenario(**options), rejected=target)
    assert read.stream_ids == ["a"]
    assert read.lengths.tolist() == [1]
    assert read.warnings == [
        f"2 of 3 rows rejected (listed in {target}): they fit the bin in no allowed orientation",
        "every item of these streams was rejected, they are left out: b",
    ]
    written = pd.read_csv(target)
    assert written["row"].tolist() == [3, 4]
    why = "2 x 2 x 9 cells in a bin of 10 x 10 x 8 cells fits only when tilted,"
    assert written["reason"].tolist() == [
        f"{why} and keep_upright forbids that",
        f"{why} which orientations=1 does not allow (6 does)",
    ]
    assert [p.name for p in target.parent.iterdir()] == ["rejected.csv"]
    pd.testing.assert_frame_equal(read.rejected.astype(str), written.astype(str), check_dtype=False)


def test_rejected_rows_that_cannot_be_written(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2", "a,1,2,2,11")
    with pytest.raises(UsageError, match="the rejected rows cannot be written to"):
        read_items(path, scenario(data={"on_oversize": "reject"}), rejected=path / "rejected.csv")


def test_the_problem_plays_every_sequence_once_and_says_what_was_odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, "a,0,5,5,5", "a,2,4.5,5,5", "b,0,5,11,5", "b,1,5,5,5", "c,0,2,2,2")
    built = problem.build(scenario(data={"on_oversize": "reject"}), path)
    evidence = evaluate_policies(built, {"dbl": built.baselines()["dbl"](0)})
    assert evidence.instances == 3
    assert evidence.outcomes["dbl"].objective.tolist() == [25.0, 12.5, 0.8]
    assert evidence.bound_values["perfect_information"].tolist() == [25.0, 12.5, 0.8]
    assert set(evidence.warnings) >= {
        "positions have gaps in these streams, their order was kept: a",
        "1 of 5 rows rejected (listed in rejected.csv): they fit the bin in no allowed orientation",
        f"sides of 1 rows were rounded up to whole cells: {1 - 370.5 / 383:.1%} of the volume counted as packed is air",
    }
    assert pd.read_csv(tmp_path / "rejected.csv")["row"].tolist() == [4]


def test_nothing_left_after_rejection(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "a,0,2,2,11"), code=2, data={"on_oversize": "reject"})
    assert "no items left, all 1 rows were rejected (2 x 2 x 11 cells in a bin of 10 x 10 x 10 cells" in message


def test_a_cell_too_small_for_an_item(tmp_path: Path) -> None:
    bins = {"length": 400, "width": 400, "height": 400, "cell_size": 1, "unit": "mm"}
    message = refusal(write(tmp_path, "a,0,30,20,20", "a,1,30,30.0,20"), bin=bins, data={"unit": "cm"})
    assert "row 2, length: '30' is 300 cells of 1 mm, expected at most 256: use bin.cell_size 2" in message
    assert "row 3, length: '30' is 300 cells of 1 mm, expected at most 256" in message
    assert "width: '30.0' is 300 cells of 1 mm" in message


def test_a_cell_too_small_for_the_bin() -> None:
    with pytest.raises(ValidationError) as caught:
        scenario(bin={"length": 1340, "width": 1250, "height": 1000, "cell_size": 1, "unit": "mm"})
    assert "cells of 1 mm give a bin of 1340 x 1250 x 1000 cells, more than 512 a side" in str(caught.value)
    assert "use bin.cell_size 5 and a bin of 268 x 250 x 200 cells" in str(caught.value)


def test_cells_and_metric_units_do_not_mix(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2")
    message = refusal(path, data={"unit": "cm"})
    assert "data.unit is cm, but how large a cell of the bin is has not been said" in message
    assert "set bin.unit and bin.cell_size, or data.unit=cell" in message
    assert "data.unit is cell, but the bin is in cm: set data.unit to mm, cm or m" in refusal(path, bin=CENTIMETRES)
    with pytest.raises(ValidationError, match=r"bin.cell_size 5 says nothing while bin.unit is 'cell'"):
        scenario(bin={"cell_size": 5})


# ------------------------------------------------------------------------------------------ columns


def test_a_missing_column_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a,0,2,2,2", header="stream_id,position,lenght,Width,foo")
    message = refusal(path)
    assert "no column length; the nearest is lenght: rename it or use --set 'data.columns={length: lenght}'" in message
    assert "no column width; the nearest is Width" in message
    assert "no column height; the file has stream_id, position, lenght, Width, foo" in message


# ------------------------------------------------------------------------------------------ the real files


@needs_data
@pytest.mark.parametrize(("name", "mean"), [("rs", 100), ("cut_1", 26.25), ("cut_2", 26.27)])
def test_published_sequences(name: str, mean: float) -> None:
    seconds = []
    for _ in range(2):
        started = time.process_time()
        read = read_items(DATA / f"{name}.csv.gz", scenario())
        seconds.append(time.process_time() - started)
    assert read.items.shape[0] == 2100
    assert read.lengths.mean() == pytest.approx(mean, abs=0.01)
    assert read.rounding.rows == 0
    assert read.warnings == []
    if name != "rs":
        assert (read.items.astype(int).prod(axis=2).sum(axis=1) == 1000).all()
    assert min(seconds) < 2.0


@needs_data
def test_case_picks_with_their_own_column_names() -> None:
    columns = {"stream_id": "pallet", "position": "pick", "weight": "gross_weight_kg"}
    columns |= {side: f"{side}_cm" for side in ("length", "width", "height")}
    bins = {"length": 67, "width": 62, "height": 50, "cell_size": 2, "unit": "cm"}
    pallets = scenario(bin=bins, orientations=2, items={"crush_factor": 4}, data={"unit": "cm", "columns": columns})
    read = read_items(DATA / "case_picks.csv", pallets)
    table = pd.read_csv(DATA / "case_picks.csv")
    assert len(read.stream_ids) == table["pallet"].nunique() == 227
    assert read.lengths.sum() == table["quantity"].sum()
    assert read.items[0, :2].tolist() == [[18, 11, 11]] * 2
    assert read.extra["weight"].iloc[0] == 6.324
    volumes = (table["length_cm"] * table["width_cm"] * table["height_cm"] * table["quantity"]).sum()
    cells = read.items.astype(int).prod(axis=2).sum() * 8
    assert read.rounding.volume_lost == pytest.approx(1 - volumes / cells, rel=1e-9)


@needs_data
def test_the_catalogue_rows_without_a_size_are_all_found() -> None:
    columns = {"stream_id": "sku", "position": "sku", **{s: f"{s}_cm" for s in ("length", "width", "height")}}
    bins = {"length": 60, "width": 50, "height": 85, "cell_size": 2, "unit": "cm"}
    with pytest.raises(BadInput) as caught:
        read_items(
            DATA / "carton_catalogue.csv", scenario(bin=bins, orientations=2, data={"unit": "cm", "columns": columns})
        )
    table = pd.read_csv(DATA / "carton_catalogue.csv")
    zero = table.index[(table[["length_cm", "width_cm", "height_cm"]] == 0).any(axis=1)] + 2
    assert len(zero) == 48
    rows = [int(p.split(",")[0].removeprefix("row ")) for p in caught.value.problems if "_cm: '0.0'" in p]
    assert rows == zero.tolist()
    assert "... and " in str(caught.value)

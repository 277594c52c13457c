"""The pictures of bin packing show what was played; and the domain passes the smoke kit."""

from typing import Any

import numpy as np
import pytest

from interlock.core.evaluation.evidence import evaluate_policies
from interlock.core.evaluation.record import Evidence
from interlock.core.testing import check_problem
from interlock.domains.bin_packing import figures_placement
from interlock.domains.bin_packing.figures import utilisation_curves
from interlock.domains.bin_packing.figures_placement import draw_placement, hatching
from interlock.domains.bin_packing.orientation import AXES
from interlock.domains.bin_packing.placements import FEASIBLE, placement_report
from interlock.domains.bin_packing.playback import Placed, play_first
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.release_rules import CRUSHES, OVERWEIGHT, TIPS
from interlock.domains.bin_packing.release_stacking import Stacked, burden, settled
from interlock.domains.bin_packing.scenario import BinPackingScenario, BinSettings, ItemSettings

Case = tuple[BinPackingProblem, dict[str, Any], Evidence]


NAMES = ("linear12", "dbl", "first_fit", "random")


def case(**changes: Any) -> Case:
    problem = BinPackingProblem(BinPackingScenario(name="drawn", **changes))
    policies = {name: problem.baselines()[name](0) for name in NAMES}
    policies["learned"] = problem.baselines()["hm_min"](0)
    return problem, policies, evaluate_policies(problem, policies, instances=30)


@pytest.fixture(scope="module")
def turned() -> Case:
    """Two orientations, and a bin in centimetres that is not square."""
    bin_ = BinSettings(length=12, width=9, height=10, cell_size=2.5, unit="cm")
    return case(stream="rs", orientations=2, bin=bin_)


def draw(which: str, case: Case) -> Any:
    problem, policies, evidence = case
    return problem.figures()[which].draw(policies, evidence)


@pytest.mark.parametrize("changes", [{"stream": "cut2"}, {"stream": "rs", "orientations": 2, "max_overhang": 0.05}])
def test_the_domain_passes_the_smoke_kit(changes: dict[str, Any]) -> None:
    check_problem(BinPackingProblem(BinPackingScenario(name="checked", **changes)))


def played(case: Case, name: str = "learned") -> list[Placed]:
    problem, policies, evidence = case
    return play_first(problem, policies[name], evidence.seed, evidence.split)


def test_replayed_boxes_lie_inside_apart_and_make_up_the_objective(turned: Case) -> None:
    _, policies, evidence = turned
    for name in policies:
        placed = played(turned, name)
        filled = np.zeros((12, 9, 10), int)
        for box in placed:
            (x, y, z), (length, width, height) = box.corner, box.size
            filled[x : x + length, y : y + width, z : z + height] += 1
            assert box.heights[0, x : x + length, y : y + width].max() == z
        assert filled.max() == 1, "boxes overlap"
        assert filled.sum() == sum(box.size.prod() for box in placed), "a box sticks out"
        if name != "random":  # the random rule draws anew
            assert 100 * filled.mean() == pytest.approx(evidence.outcomes[name].objective[0])


def test_the_bin_shows_every_box_in_units_with_a_slider(turned: Case) -> None:
    placed = played(turned)
    drawn = draw("bin", turned)
    solids = [trace for trace in drawn.data if trace["type"] == "mesh3d"]
    assert len(solids) == len(placed)
    for solid, box in zip(solids, placed, strict=True):
        corners = np.stack([solid["x"], solid["y"], solid["z"]], axis=1)
        assert np.allclose(corners.min(axis=0), 2.5 * box.corner)
        assert np.allclose(corners.max(axis=0), 2.5 * (box.corner + box.size))
        triangles = np.stack([solid["i"], solid["j"], solid["k"]], axis=1)
        first, second, third = (corners[triangles[:, vertex]] for vertex in range(3))
        areas = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2
        length, width, height = 2.5 * box.size
        assert areas.sum() == pytest.approx(2 * (length * width + width * height + length * height))
        assert "{:g} x {:g} x {:g} cm".format(*(2.5 * box.item)) in solid["hovertext"]
        assert ("turned" in solid["hovertext"]) == (box.orientation == 1)
    assert len({solid["color"] for solid in solids}) == len(solids)
    steps = drawn.layout["sliders"][0]["steps"]
    shown = [sum(step["args"][0]["visible"][1::2]) for step in steps]
    assert shown == list(range(len(placed) + 1))
    assert drawn.layout["scene"]["xaxis"]["title"]["text"] == "x (cm)"
    assert list(drawn.layout["scene"]["zaxis"]["range"]) == [0, 25]
    assert drawn.layout["title"]["text"].startswith("learned: ")


def test_the_placement_marks_every_cell_by_its_rule(turned: Case) -> None:
    problem, _, _ = turned
    placed = played(turned)
    drawn = draw("placement", turned)
    assert [frame.name for frame in drawn.frames] == [str(k + 1) for k in range(len(placed))]
    for frame, box in zip(drawn.frames, placed, strict=True):
        heights, feasible, *refused, outline = frame.data
        assert np.allclose(heights["z"], 2.5 * box.heights[0].T)
        report = placement_report(
            box.heights, box.item[None], ceiling=10, orientations=2, thresholds=problem.scenario.thresholds()
        )
        rule = report.rule[0, box.orientation]
        cells = {(int(x / 2.5), int(y / 2.5)) for x, y in zip(feasible["x"], feasible["y"], strict=True)}
        assert cells == set(zip(*(axis.tolist() for axis in np.nonzero(rule == FEASIBLE)), strict=True))
        words = np.asarray(heights["text"]).T
        for code, text in enumerate(("may go here", "sticks out", "too high", "not supported")):
            assert np.array_equal(words == text, rule == code)
        assert len(refused) == 3
        assert tuple(box.corner[:2].tolist()) in cells
        assert (min(outline["x"]), min(outline["y"])) == tuple(2.5 * box.corner[:2])
        assert (max(outline["x"]), max(outline["y"])) == tuple(2.5 * (box.corner + box.size)[:2])
    active = drawn.layout["sliders"][0]["active"]
    shown = drawn.frames[active]
    assert np.array_equal(drawn.data[0]["z"], shown.data[0]["z"])
    assert drawn.layout["title"]["text"] == shown.layout["title"]["text"]
    names = [trace["name"] for trace in drawn.data[1:]]
    assert names == [
        "may go here",
        "refused: sticks out",
        "refused: too high",
        "refused: not supported",
        "chosen place",
    ]


@pytest.mark.parametrize("directions", ["/", "\\", "-", "|"])
def test_hatching_crosses_the_marked_cells_and_no_others(directions: str) -> None:
    marked = np.random.default_rng(3).random((25, 21)) < 0.6  # fine: one line per cell
    x, y = hatching(marked, directions)
    starts, ends = (np.stack([x[k::3], y[k::3]], axis=1) for k in (0, 1))
    assert np.isnan(x[2::3]).all()
    crossed = np.zeros(marked.shape, int)
    for start, end in zip(starts, ends, strict=True):
        cells = round(float(np.abs(end - start).max()))
        for k in range(cells):
            middle = start + (end - start) * (k + 0.5) / cells
            crossed[tuple(np.floor(middle).astype(int))] += 1
    assert np.array_equal(crossed, marked.astype(int))


def test_several_bins_stand_apart_and_replaced_ones_stay_to_be_seen() -> None:
    several = case(
        stream="rs", bin=BinSettings(length=6, width=6, height=6, open=2, total=3), items={"low": 2, "high": 3}
    )
    placed = played(several, "linear12")
    assert {box.number for box in placed} == {0, 1, 2}
    filled = np.zeros((3, 6, 6, 6), int)
    for box in placed:
        (x, y, z), (length, width, height) = box.corner, box.size
        filled[box.number, x : x + length, y : y + width, z : z + height] += 1
        tops = (filled[box.numbers] > 0) * np.arange(1, 7)
        after = box.heights.copy()
        after[box.bin, x : x + length, y : y + width] = z + height
        assert np.array_equal(tops.max(axis=3), after)
    assert filled.max() == 1
    problem, policies, evidence = several
    assert 100 * filled.mean() == pytest.approx(evidence.outcomes["linear12"].objective[0])
    drawn = problem.figures()["bin"].draw({"linear12": policies["linear12"]}, evidence)
    solids = [trace for trace in drawn.data if trace["type"] == "mesh3d"]
    spans = [(min(s["x"]), max(s["x"])) for s in solids]
    for (low, high), box in zip(spans, placed, strict=True):
        gap = low - box.corner[0]
        assert gap == pytest.approx(box.number * (6 + 0.35 * 6))
        assert high - low == box.size[0]
    assert [trace["text"] for trace in drawn.data if trace["text"]] == [("bin 1", "bin 2", "bin 3")]
    above = problem.figures()["placement"].draw({"linear12": policies["linear12"]}, evidence)
    for frame, box in zip(above.frames, placed, strict=True):
        assert np.array_equal(frame.data[0]["z"], box.heights[0].T)
        assert np.array_equal(frame.data[len(frame.data) // 2]["z"], box.heights[1].T)
        assert f"into bin {box.number + 1}" in frame.layout["title"]["text"]
        headings = [note["text"] for note in frame.layout["annotations"]]
        assert headings == [f"bin {n + 1}" + " (chosen)" * (k == box.bin) for k, n in enumerate(box.numbers)]


def test_held_boxes_and_six_orientations_are_told() -> None:
    held = case(stream="rs", buffer=3, look_ahead=4, orientations=6)
    placed = played(held, "random")
    assert len({box.orientation for box in placed}) > 2
    problem, _, _ = held
    drawn = draw_placement(problem.scenario, "random", placed)
    for frame, box in zip(drawn.frames, placed, strict=True):
        assert np.array_equal(box.size, box.item[list(AXES[box.orientation])])
        assert len(box.held) == 3
        assert len(box.coming) == 1
        title = frame.layout["title"]["text"]
        assert "<b>{} x {} x {}</b>".format(*box.item) in title
        assert "known to follow: {} x {} x {}".format(*box.coming[0]) in title
        assert ("tilted" in title) == (box.size[2] != box.item[2] or box.orientation > 1)


def test_refusals_by_the_stack_are_told_apart_and_the_plain_twin_agrees() -> None:
    heavy = case(
        stream="rs",
        bin=BinSettings(length=6, width=6, height=8, open=2, max_weight=60),
        items=ItemSettings(low=1, high=3, density=(0.2, 2.0), crush_factor=1.5),
        stacking=True,
        stability={"theta4": 0.2, "theta3": 0.2, "theta0": 0.3},
    )
    codes: set[int] = set()
    packed: dict[int, list[Stacked]] = {0: [], 1: []}
    for number, box in enumerate(played(heavy, "first_fit")):
        assert box.weight is not None
        codes |= set(np.unique(box.rule).tolist())
        for place in (0, 1):
            stack, load = settled(packed[place]), sum(other.weight for other in packed[place])
            for x, y in np.argwhere(np.isin(box.rule[place], (FEASIBLE, TIPS, CRUSHES, OVERWEIGHT))).tolist():
                z = int(box.heights[place, x : x + box.size[0], y : y + box.size[1]].max())
                new = Stacked(number, (x, y, z), tuple(box.size.tolist()), box.weight, 1.5 * box.weight)
                found = burden(stack, new, "kg")
                told = TIPS if found.tips else CRUSHES if found.crushed else FEASIBLE
                told = OVERWEIGHT if told == FEASIBLE and load + box.weight > 60 * (1 + 1e-9) else told
                assert box.rule[place, x, y] == told
        corner = tuple(box.corner.tolist())
        packed[box.bin].append(Stacked(number, corner, tuple(box.size.tolist()), box.weight, 1.5 * box.weight))
    assert {TIPS, CRUSHES, OVERWEIGHT} <= codes


def test_curves_end_at_the_final_utilisation(turned: Case) -> None:
    problem, policies, evidence = turned
    curves = utilisation_curves(problem, policies["linear12"], evidence, 30)
    assert np.all(curves[:, 0] == 0)
    assert np.all(np.diff(curves, axis=1) >= 0)
    assert np.allclose(curves[:, -1], evidence.outcomes["linear12"].objective)
    drawn = draw("utilisation", turned)
    lines = {trace["name"]: trace for trace in drawn.data if trace["mode"] == "lines"}
    assert next(iter(lines)) == "learned"
    assert len(lines) == 3
    assert len({len(line["x"]) for line in lines.values()}) == 1
    assert lines["learned"]["y"][-1] == pytest.approx(np.median(evidence.outcomes["learned"].objective))
    bands = [trace for trace in drawn.data if trace["fill"] == "toself"]
    assert len(bands) == 3


def test_the_spread_has_every_policy_and_bound() -> None:
    drawn_case = case(stream="cut1")
    _, _, evidence = drawn_case
    drawn = draw("distribution", drawn_case)
    assert [trace["name"] for trace in drawn.data] == list(reversed(evidence.policies))
    for trace in drawn.data:
        assert np.array_equal(trace["x"], evidence.outcomes[trace["name"]].objective)
    assert [shape["x0"] for shape in drawn.layout["shapes"]] == [100.0]
    assert "perfect information: 100.0 %" in drawn.layout["annotations"][0]["text"]


def test_a_fine_grid_shows_fewer_steps() -> None:
    fine = case(stream="rs", bin=BinSettings(length=24, width=24, height=24), items={"low": 5, "high": 12})
    count = len(played(fine))
    assert len(draw("placement", fine).frames) == count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures_placement, "_MOST_CELLS", 24 * 24 * 3)
        drawn = draw("placement", fine)
    assert [int(frame.name) for frame in drawn.frames] == list(range(1, count + 1, -(-count // 3)))

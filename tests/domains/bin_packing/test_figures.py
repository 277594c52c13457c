"""The pictures of bin packing show what was played; and the domain passes the smoke kit."""

from typing import Any

import numpy as np
import pytest

from interlock.core.evaluation.evidence import evaluate_policies
from interlock.core.evaluation.record import Evidence
from interlock.core.testing import check_problem
from interlock.domains.bin_packing import figures
from interlock.domains.bin_packing.figures import play_first, utilisation_curves
from interlock.domains.bin_packing.placements import FEASIBLE, placement_report
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.scenario import BinPackingScenario, BinSettings

Case = tuple[BinPackingProblem, dict[str, Any], Evidence]


def case(**changes: Any) -> Case:
    problem = BinPackingProblem(BinPackingScenario(name="drawn", **changes))
    policies = {name: make(0) for name, make in problem.baselines().items()}
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


def test_replayed_boxes_lie_inside_apart_and_make_up_the_objective(turned: Case) -> None:
    problem, policies, evidence = turned
    for name, policy in policies.items():
        placed = play_first(problem, policy, evidence)
        filled = np.zeros((12, 9, 10), int)
        for box in placed:
            (x, y, z), (length, width, height) = box.corner, box.size
            filled[x : x + length, y : y + width, z : z + height] += 1
            assert box.heights[x : x + length, y : y + width].max() == z
        assert filled.max() == 1, "boxes overlap"
        assert filled.sum() == sum(box.size.prod() for box in placed), "a box sticks out"
        if name != "random":  # the random rule draws anew
            assert 100 * filled.mean() == pytest.approx(evidence.outcomes[name].objective[0])


def test_the_bin_shows_every_box_in_units_with_a_slider(turned: Case) -> None:
    problem, policies, evidence = turned
    placed = play_first(problem, policies["learned"], evidence)
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
    assert len({solid["color"] for solid in solids}) == len(solids)
    steps = drawn.layout["sliders"][0]["steps"]
    shown = [sum(step["args"][0]["visible"][1::2]) for step in steps]
    assert shown == list(range(len(placed) + 1))
    assert drawn.layout["scene"]["xaxis"]["title"]["text"] == "x (cm)"
    assert list(drawn.layout["scene"]["zaxis"]["range"]) == [0, 25]
    assert drawn.layout["title"]["text"].startswith("learned: ")


def test_the_placement_marks_every_cell_by_its_rule(turned: Case) -> None:
    problem, policies, evidence = turned
    placed = play_first(problem, policies["learned"], evidence)
    drawn = draw("placement", turned)
    assert len(drawn.data) == 6 * len(placed)
    for number, box in enumerate(placed):
        heights, *marks, outline = drawn.data[6 * number : 6 * number + 6]
        assert np.array_equal(np.asarray(heights["z"]), 2.5 * box.heights.T)
        report = placement_report(
            box.heights[None], box.item[None], ceiling=10, orientations=2, thresholds=problem.scenario.thresholds()
        )
        rule = report.rule[0, box.orientation]
        assert sum(len(mark["x"]) for mark in marks) == rule.size
        feasible = marks[0]
        assert feasible["name"] == "feasible"
        cells = {(int(x / 2.5), int(y / 2.5)) for x, y in zip(feasible["x"], feasible["y"], strict=True)}
        assert cells == set(zip(*(axis.tolist() for axis in np.nonzero(rule == FEASIBLE)), strict=True))
        assert tuple(box.corner[:2].tolist()) in cells
        assert (min(outline["x"]), min(outline["y"])) == tuple(2.5 * box.corner[:2])
        assert (max(outline["x"]), max(outline["y"])) == tuple(2.5 * (box.corner + box.size)[:2])
    visible = [trace["visible"] for trace in drawn.data]
    assert sum(visible) == 6
    active = drawn.layout["sliders"][0]["active"]
    assert visible == drawn.layout["sliders"][0]["steps"][active]["args"][0]["visible"]
    symbols = [mark["marker"]["symbol"] for mark in drawn.data[1:5]]
    assert len(set(symbols)) == 4, "rules are told apart without colour"


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
    problem, policies, evidence = fine
    played = play_first(problem, policies["learned"], evidence)
    figure = figures.figures(problem)["placement"].draw(policies, evidence)
    assert len(figure.layout.sliders[0].steps) == len(played)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_MOST_MARKS", 24 * 24 * 3)
        figure = figures.figures(problem)["placement"].draw(policies, evidence)
    labels = [int(step.label) for step in figure.layout.sliders[0].steps]
    assert labels == list(range(1, len(played) + 1, -(-len(played) // 3)))

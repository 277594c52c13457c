"""The offline integer program against enumeration of every placement, and against the environment's own rule."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interlock.core.evaluation.protocol import play, split_seed
from interlock.domains.bin_packing import problem
from interlock.domains.bin_packing.bounds import generated_instances, prefix_volumes
from interlock.domains.bin_packing.environment import stream_seed
from interlock.domains.bin_packing.model import mask_batch, place_one
from interlock.domains.bin_packing.optimiser import OfflinePlanner, longest_prefix, offline_bound, replay
from interlock.domains.bin_packing.optimiser_program import Prefix, clauses
from interlock.domains.bin_packing.placements import stable
from interlock.domains.bin_packing.scenario import PRESETS, BinPackingScenario
from interlock.solvers.highs import Highs

Heights = tuple[tuple[int, ...], ...]


def scenario(side: int, low: int, high: int, **changes: Any) -> BinPackingScenario:
    """A cubic bin with independent boxes."""
    numbers = {"bin": dict.fromkeys(("length", "width", "height"), side), "items": {"low": low, "high": high}}
    return BinPackingScenario.model_validate({"name": "small", "stream": "rs", **numbers, **changes})


def ways(heights: Heights, box: tuple[int, ...], side: int, turned: bool, shares: Any) -> set[Heights]:
    """Every height map that one box more may give; ``shares`` are exact thresholds, ``None`` for any contact."""
    found = set()
    for length, width in {box[:2], box[1::-1]} if turned else {box[:2]}:
        for x, y in product(range(side - length + 1), range(side - width + 1)):
            under = [[heights[i][j] for j in range(y, y + width)] for i in range(x, x + length)]
            z = max(map(max, under))
            if z + box[2] > side:
                continue
            area, level = length * width, sum(row.count(z) for row in under)
            corners = sum(under[i][j] == z for i in (0, -1) for j in (0, -1))
            share = Fraction(level, area)
            if shares is not None and not (
                share == 1
                or share > shares[2]
                or (corners >= 3 and share > shares[1])
                or (corners == 4 and share > shares[0])
            ):
                continue
            new = [list(row) for row in heights]
            for i, j in product(range(x, x + length), range(y, y + width)):
                new[i][j] = z + box[2]
            found.add(tuple(map(tuple, new)))
    return found


def enumerated(boxes: list[tuple[int, ...]], side: int, turned: bool, shares: Any) -> int:
    """Boxes of the longest prefix that can be packed, by trying every placement of every box."""
    reached = {((0,) * side,) * side}
    for count, box in enumerate(boxes):
        reached = {new for heights in reached for new in ways(heights, box, side, turned, shares)}
        if not reached:
            return count
    return len(boxes)


@pytest.mark.parametrize("preset", PRESETS)
def test_clauses_are_the_support_rule(preset: str) -> None:
    """As alternatives of (cells, corners), for every footprint up to 5 x 5 and some larger ones."""
    thresholds = scenario(5, 1, 2, stability=preset).thresholds()
    for area in (*range(1, 26), 40, 41, 100):
        rules = clauses(area, thresholds)
        for level, corners in product(range(1, area + 1), range(5)):
            held = any(level >= cells and corners >= least for cells, least in rules)
            assert held == bool(stable(level, corners, area, thresholds)), (area, level, corners)


@pytest.mark.parametrize(
    ("side", "low", "high", "turned", "preset", "boxes"),
    [
        (3, 1, 2, False, "released", 5),
        (3, 1, 3, True, "paper", 5),
        (3, 2, 3, True, "full", 4),
        (4, 2, 3, False, "paper", 4),
        (4, 1, 4, True, "released", 4),
        (4, 1, 3, False, "strict75", 5),
        (4, 2, 4, True, "released", 4),
    ],
)
def test_program_equals_enumeration(side: int, low: int, high: int, turned: bool, preset: str, boxes: int) -> None:
    """Packs as many boxes as there is a way to, and refutes one box more, with and without the support rule."""
    here = scenario(side, low, high, orientations=1 + turned, stability=preset)
    shares = [Fraction(value).limit_denominator(100) for value in PRESETS[preset]]
    for seed in range(8):
        drawn = np.random.default_rng((side, high, seed)).integers(low, high + 1, (boxes, 3))
        sequence = [tuple(map(int, box)) for box in drawn]
        for support in (True, False):
            proof = longest_prefix(drawn, here, support=support)
            best = enumerated(sequence, side, turned, shares if support else None)
            assert len(proof.actions) == proof.at_most == best, (sequence, support)


@pytest.mark.parametrize("support", [True, False])
def test_one_program_answers_yes_and_no(support: bool) -> None:
    """Without the quick rule before it: every prefix of boxes is packed or refuted by the program alone."""
    here = scenario(4, 1, 4, orientations=2)
    shares = [Fraction(value).limit_denominator(100) for value in PRESETS["released"]] if support else None
    answers = set()
    for seed in range(10):
        drawn = np.random.default_rng(seed).integers(1, 5, (4, 3))
        best = enumerated([tuple(map(int, box)) for box in drawn], 4, True, shares)
        for count in range(1, 5):
            prefix = Prefix(drawn[:count], here, support=support)
            solution = Highs().solve(prefix.program())
            assert solution.status == ("optimal" if count <= best else "infeasible")
            answers.add(solution.status)
            if solution.x is not None:
                replay(drawn, tuple(prefix.actions(solution.x)), here, support=support)
    assert answers == {"optimal", "infeasible"}


@pytest.mark.parametrize("preset", PRESETS)
def test_program_allows_what_the_mask_allows(preset: str) -> None:
    """With the boxes before nailed down: the next one may go exactly where the environment's mask says."""
    here = scenario(5, 1, 5, orientations=2, stability=preset)
    rng = np.random.default_rng(5)
    allowed = 0
    for wide in [(2, 4, 1), (3, 3, 1)]:
        heights, boxes, nailed = np.zeros((1, 5, 5), np.int16), [], []
        while len(boxes) < 4:
            box = rng.integers((1, 1, 1), (4, 4, 3)).astype(np.int16)  # low ones: several hold up the wide one
            mask = mask_batch(heights, box[None], 2, 5, here.thresholds())[0]
            if mask.any():
                boxes.append(box)
                nailed.append(int(rng.choice(np.flatnonzero(mask))))
                place_one(heights[0], box, nailed[-1])
        mask = mask_batch(heights, np.array([wide], np.int16), 2, 5, here.thresholds())[0]
        prefix = Prefix(np.array([*boxes, wide]), here)
        program = prefix.program()
        for action in np.flatnonzero([any(p.box == 4 and p.action == a for p in prefix.puts) for a in range(50)]):
            kept = [put.action == [*nailed, action][put.box] for put in prefix.puts]
            upper = program.upper.copy()
            upper[: len(kept)] = kept
            found = Highs().solve(replace(program, upper=upper))
            assert found.status == ("optimal" if mask[action] else "infeasible"), (boxes, wide, nailed, action)
        allowed += int(mask.sum())
    assert allowed > 0


@pytest.mark.parametrize(
    ("below", "nailed", "bridge", "presets"),
    [
        ([(2, 1, 1), (2, 1, 1)], [0, 2], (2, 3, 1), {"paper", "released"}),  # 4 of 6 cells, four corners
        ([(3, 2, 1), (2, 1, 1)], [0, 2], (3, 3, 1), {"paper", "released"}),  # 8 of 9 cells, three corners
        ([(1, 1, 1)] * 3, [0, 1, 3], (1, 4, 1), {"paper", "released"}),  # 3 of 4 cells, both ends: four corners
        (
            [(3, 1, 1), (3, 1, 1), (1, 1, 1)],
            [0, 2, 6],
            (3, 3, 1),
            {"paper", "released", "strict75"},
        ),  # 7 of 9 cells, four corners
        ([(2, 2, 1)], [0], (2, 3, 1), set()),  # 4 of 6 cells, two corners
    ],
)
def test_bridges(below: list[Any], nailed: list[int], bridge: Any, presets: set[str]) -> None:
    """Boxes held up by corners: the presets that allow it are worked out by hand."""
    for preset in PRESETS:
        prefix = Prefix(np.array([*below, bridge]), scenario(5, 1, 5, stability=preset))
        program, upper = prefix.program(), prefix.program().upper
        upper[: len(prefix.puts)] = [put.action == [*nailed, 0][put.box] for put in prefix.puts]
        found = Highs().solve(replace(program, upper=upper))
        assert found.status == ("optimal" if preset in presets else "infeasible"), preset


def test_support_costs_volume() -> None:
    """A bridge on its two ends: any contact holds it, the rule does not, and no other place is left."""
    here = scenario(3, 1, 3, stability="full")
    boxes = np.array([(1, 3, 1), (1, 3, 2), (3, 3, 1)])
    assert longest_prefix(boxes, here).at_most == 2
    assert longest_prefix(boxes, here, support=False).at_most == 3


def test_plan_plays_out_in_the_environment(tmp_path: Path) -> None:
    """The environment accepts every action of a plan and pays exactly its objective."""
    here = scenario(5, 2, 4, orientations=2)
    boxes = np.random.default_rng(3).integers(2, 5, (8, 3))
    plan = OfflinePlanner(here).plan(boxes)
    lines = [f"a,{k},{length},{width},{height}" for k, (length, width, height) in enumerate(boxes)]
    file = tmp_path / "boxes.csv"
    file.write_text("\n".join(["stream_id,position,length,width,height", *lines]) + "\n", encoding="utf-8")
    environment = problem.build(here, file).environment(1, seed=0, split="test")
    environment.reset()
    steps = [environment.step(np.array([action])) for action in plan.decisions]
    assert [bool(step.done[0]) for step in steps] == [False] * (len(steps) - 1) + [True]
    assert not steps[-1].info["ended_illegal"][0]
    assert 10.0 * sum(float(step.reward[0]) for step in steps) == pytest.approx(plan.objective)
    assert plan.bound == plan.objective == plan.trace[-1][1]


def test_bound_holds_for_every_rule() -> None:
    """Per instance: no baseline packs more, and the bound by volume is not below."""
    here = scenario(4, 2, 4, orientations=2, evaluation={"test_instances": 12})
    built = problem.build(here)
    bound = offline_bound(here, lambda split, count: _played(built, count))
    assert bound is not None
    values = bound.compute("test", 12)
    items, lengths = _played(built, 12)
    assert (values <= 100.0 * prefix_volumes(items, lengths, 64)).all()
    for build in built.baselines().values():
        achieved = play(built, build(0), split="test", count=12).objective
        assert (achieved <= values + 1e-9).all()
    shares = [Fraction(value).limit_denominator(100) for value in PRESETS["released"]]
    best = [enumerated([tuple(map(int, box)) for box in row], 4, True, shares) for row in items]
    volumes = items.astype(int).prod(axis=2).cumsum(axis=1)
    assert values == pytest.approx([100 * volumes[k, count - 1] / 64 for k, count in enumerate(best)])


def _played(built: Any, count: int) -> Any:
    return generated_instances(built.scenario, stream_seed(split_seed(built, "test"), "test"), count)


def test_no_bound_where_it_takes_too_long() -> None:
    """Large bins, many instances and other rules have none; a planner says why."""
    for other in (
        scenario(10, 2, 5),
        scenario(5, 2, 3, evaluation={"test_instances": 2000}),
        scenario(5, 2, 3, stacking=True, evaluation={"test_instances": 10}),
    ):
        assert offline_bound(other, lambda split, count: (np.zeros((count, 1, 3)), np.ones(count))) is None
    with pytest.raises(ValueError, match="a buffer, the stacking check"):
        OfflinePlanner(scenario(5, 2, 3, buffer=2, stacking=True))


def test_out_of_time_the_bound_is_still_true() -> None:
    """With no time at all: a packing that can be replayed, and the bound by volume."""
    here = scenario(5, 2, 3)
    boxes = np.full((8, 3), (3, 3, 2))
    proof = longest_prefix(boxes, here, time_limit=0.0)
    replay(boxes, proof.actions, here)
    assert (len(proof.actions), proof.at_most) == (2, 6)
    assert longest_prefix(boxes, here).at_most == 2


def test_replay_refuses_what_the_rule_forbids() -> None:
    """The second box would lean over an edge."""
    here = scenario(4, 2, 3)
    with pytest.raises(ValueError, match=r"box \(2, 2, 2\) must not be put down by action 1"):
        replay(np.array([(2, 2, 2), (2, 2, 2)]), (0, 1), here)

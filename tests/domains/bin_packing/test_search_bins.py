"""Choice among several open bins, and the fitted value of a map, each against a plain computation."""

import numpy as np
import pytest

from interlock.core.environment import Observation
from interlock.domains.bin_packing import map_value
from interlock.domains.bin_packing.bin_choice import UNTOUCHED, ValueOfBins, fullest_first
from interlock.domains.bin_packing.problem import build
from interlock.domains.bin_packing.scenario import BinPackingScenario

VALUE = np.array([20.0, 0.7, -50.0, -30.0, 0.0, 10.0, 40.0, 100.0, -100.0])


def scenario_of(bins: int) -> BinPackingScenario:
    return BinPackingScenario.model_validate({"name": "case", "bin": {"open": bins}})


def flat(top: np.ndarray, x: int, y: int, side: int) -> bool:
    block = top[x : x + side, y : y + side]
    return block.shape == (side, side) and bool((block == block[0, 0]).all())


def plain_value(top: np.ndarray, value: np.ndarray = VALUE) -> float:
    """The estimate from the meaning of its inputs, by plain loops over a 10 x 10 x 10 bin."""
    walls = np.pad(top, 1, constant_values=10)
    pits = sum(
        (walls[x - 1, y] > walls[x, y] < walls[x + 1, y]) or (walls[x, y - 1] > walls[x, y] < walls[x, y + 1])
        for x in range(1, 11)
        for y in range(1, 11)
    )
    steps = (np.diff(top, axis=0) != 0).sum() + (np.diff(top, axis=1) != 0).sum()
    squares = [
        sum(flat(top, x, y, side) and 10 - top[x, y] >= side for x in range(10) for y in range(10))
        for side in (2, 3, 4, 5)
    ]
    inputs = [1, (10 - top).sum(), steps / 20, pits / 10, (top == 9).sum() / 10, *(np.array(squares) / 50)]
    return max(0.0, float(np.dot(value, inputs)))


def after(top: np.ndarray, item: np.ndarray, cell: int) -> np.ndarray:
    x, y = cell // 10, cell % 10
    top = top.copy()
    footprint = top[x : x + item[0], y : y + item[1]]
    footprint[:] = footprint.max() + item[2]
    return top


def best_cells(scores: np.ndarray, view: Observation, row: int, bins: int) -> list[int]:
    """The linear rule's cell in each bin, -1 where the box does not fit."""
    scores, mask = scores[row].reshape(bins, 100), view["action_mask"][row].reshape(bins, 100)
    return [int(np.where(mask[b], scores[b], -np.inf).argmax()) if mask[b].any() else -1 for b in range(bins)]


def test_the_value_of_a_map_is_what_its_inputs_mean() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        top = np.repeat(np.repeat(rng.integers(0, 11, (5, 5)), 2, axis=0), 2, axis=1).astype(np.int16)
        top[rng.integers(10), rng.integers(10)] = rng.integers(11)
        assert map_value.map_value(top, 10, VALUE) == pytest.approx(plain_value(top), abs=1e-4)


def test_bins_are_chosen_by_the_change_of_what_was_expected_of_them() -> None:
    scenario, bins, rows = scenario_of(3), 3, 4
    problem = build(scenario)
    environment = problem.environment(rows, seed=1, split="train")
    linear, policy = problem.baselines()["linear12"](0), ValueOfBins(scenario, VALUE)
    view = environment.reset()
    expected, last = np.zeros((rows, bins)), np.zeros((rows, bins))
    used = set()
    for _ in range(60):
        actions, scores = policy.act(view), linear.scores(view)
        for row in range(rows):
            item = view["items"][row, 0].astype(int)
            reward, ranked, estimates = 10 * item.prod() / 1000, [], {}
            for b, cell in enumerate(best_cells(scores, view, row, bins)):
                if cell >= 0:
                    top = view["height_map"][row, b]
                    estimates[b] = reward + plain_value(after(top, item, cell)) / 100
                    change = last[row, b] + estimates[b] - expected[row, b]
                    ranked.append((change if top.any() else UNTOUCHED, -b, cell))
            score, minus, cell = max(ranked)
            near = [entry for entry in ranked if entry[0] > score - 1e-5]
            chosen = -minus if len(near) == 1 else int(actions[row]) // 100
            if len(near) == 1:
                assert int(actions[row]) == chosen * 100 + cell
            expected[row, chosen], last[row, chosen] = estimates[chosen], reward
            used.add(chosen)
        view = environment.step(actions).observation
    assert used == {0, 1, 2}


def test_the_fullest_bin_that_takes_the_box_comes_first() -> None:
    scenario, bins, rows = scenario_of(4), 4, 4
    problem = build(scenario)
    environment = problem.environment(rows, seed=2, split="train")
    linear, policy = problem.baselines()["linear12"](0), fullest_first(scenario)
    view = environment.reset()
    for _ in range(60):
        actions, scores = policy.act(view), linear.scores(view)
        for row in range(rows):
            cells = best_cells(scores, view, row, bins)
            heights = [view["height_map"][row, b].sum() if cell >= 0 else -1 for b, cell in enumerate(cells)]
            fullest = int(np.argmax(heights))
            assert int(actions[row]) == 100 * fullest + cells[fullest]
        view = environment.step(actions).observation


def test_the_fitted_value_is_the_regression_over_played_games(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_value, "BOXES", 100)  # the least number of sequences: 20
    scenario = scenario_of(1)
    found = map_value.fitted_value(scenario)
    problem = build(scenario)
    environment, linear = problem.environment(1, seed=0, split="train"), problem.baselines()["linear12"](0)
    view, maps, targets = environment.reset(), [], []
    for _ in range(20):
        packed, done = [0.0], False
        while not done:
            action, item = linear.act(view), view["items"][0, 0].astype(int)
            maps.append(view["height_map"][0])
            packed.append(packed[-1] + float(item.prod()))
            step = environment.step(action)
            done = bool(step.done[0])
            last, view = after(view["height_map"][0], item, int(action[0])), step.observation
        maps.append(last)
        targets += [packed[-1] - before for before in packed]
    inputs = np.array([[plain_value(top, unit) for unit in np.eye(9)] for top in maps])
    fitted = np.linalg.lstsq(inputs, np.array(targets), rcond=None)[0]
    assert inputs @ found == pytest.approx(inputs @ fitted, abs=0.5)

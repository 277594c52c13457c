"""Training curves: over steps and CPU seconds, with interval, best so far, limits and multipliers."""

from typing import Any

import numpy as np
import pytest
from tiny_problem import TinyProblem, top_up

from interlock.core.evaluation.evidence import evaluate_policies
from interlock.core.evaluation.record import Evidence
from interlock.core.policy import FunctionPolicy
from interlock.scenarios.report_training import panels, training_figure

NAME = "overfilled"
CURVES: list[dict[str, Any]] = [
    {
        "step": 100 * k,
        "time/cpu_seconds": 2.5 * k,
        "train/loss": None if k == 1 else 1 / (k + 1),
        f"constraint/{NAME}/mean": 0.5 / (k + 1),
        f"constraint/{NAME}/multiplier": 0.1 * k,
        **({"eval/objective": 10.0 + k % 3, "eval/best": 10.0 + min(k, 2), "eval/half_width": 0.5} if k % 2 else {}),
    }
    for k in range(6)
]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return evaluate_policies(TinyProblem(), {"top_up": FunctionPolicy(top_up)}, bounds=False)


def test_every_curve_has_one_panel_in_words(evidence: Evidence) -> None:
    found = panels(CURVES, evidence)
    titles = {picture: [panel.title for panel in drawn] for picture, drawn in found.items()}
    assert titles == {
        "Held-out figures": ["revenue (EUR)"],
        "Constraints and multipliers": ["overfilled", "overfilled: multiplier"],
        "Training figures": ["loss"],
    }
    cost, price = found["Constraints and multipliers"]
    assert cost.limit == evidence.policies["top_up"].constraints[NAME].limit
    assert price.limit is None
    assert panels([{"step": 1, "train/loss": float("nan")}], evidence) == {}


def test_values_stand_over_steps_and_over_seconds(evidence: Evidence) -> None:
    drawn = panels(CURVES, evidence)["Held-out figures"]
    figure = training_figure(CURVES, drawn)
    band, value, best, *beside = figure.data
    assert np.array_equal(value.x, [100, 300, 500])
    assert np.array_equal(value.y, [11, 10, 12])
    assert np.array_equal(best.y, [11, 12, 12])
    assert sorted(set(zip(band.x, band.y, strict=True))) == [
        (100, 10.5), (100, 11.5), (300, 9.5), (300, 10.5), (500, 11.5), (500, 12.5)
    ]  # fmt: skip
    assert np.array_equal(beside[1].x, [2.5, 7.5, 12.5])
    assert np.array_equal(beside[1].y, value.y)
    assert figure.layout.xaxis.title.text == "steps"
    assert figure.layout.xaxis2.title.text == "CPU seconds"


def test_limits_are_lines_and_missing_times_leave_one_column(evidence: Evidence) -> None:
    untimed = [{name: value for name, value in row.items() if name != "time/cpu_seconds"} for row in CURVES]
    drawn = panels(untimed, evidence)["Constraints and multipliers"]
    figure = training_figure(untimed, drawn)
    assert [trace.name for trace in figure.data] == ["overfilled", "overfilled: multiplier"]
    limit = evidence.policies["top_up"].constraints[NAME].limit
    assert [(line.y0, line.yref) for line in figure.layout.shapes] == [(limit, "y")]
    loss = training_figure(untimed, panels(untimed, evidence)["Training figures"])
    assert len(loss.data[0].x) == len(CURVES) - 1

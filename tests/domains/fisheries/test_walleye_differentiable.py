"""Walleye in torch equal the compiled years, and gradients equal differences."""

from typing import Any

import numpy as np
import pytest
import torch

from interlock.core.evaluation.protocol import play
from interlock.core.policy import FunctionPolicy
from interlock.domains.fisheries import DOMAIN
from interlock.domains.fisheries.problem import build
from interlock.domains.fisheries.walleye_differentiable import WalleyeSimulator, futures_of
from interlock.scenarios.loading import load_scenario

CASES = {
    "yield": ("walleye_yield", []),
    "hara": ("walleye_hara", ["low_years=3"]),
    "trophy": ("walleye_trophy", ["limits.max_change=0.05", "low_years=3", "low_level=0.5"]),
}


def simulator_of(case: str, horizon: int) -> tuple[Any, Any]:
    name, settings = CASES[case]
    scenario = load_scenario(DOMAIN, name, [f"horizon={horizon}", *settings])
    return scenario, WalleyeSimulator(scenario)


def rule(view: Any, xp: Any) -> Any:
    """Some rule that reads all there is."""
    rate = 0.3 * view["stock"] / (view["stock"] + 1.0)
    if "mean_weight" in view:
        rate = rate * (0.5 + view["mean_weight"])
    return xp.clip(rate + 0.002 * view["year"], 0.0, 1.0)


@pytest.mark.parametrize("case", CASES)
def test_every_year_is_that_of_the_compiled_model(case):
    scenario, simulator = simulator_of(case, 60)
    futures = futures_of(scenario, 8, "train", 0, 30, torch.float64)
    played = simulator.play(lambda view: rule(view, torch), futures, smoothing=1e-12)
    outcome = play(build(scenario), FunctionPolicy(lambda view, rng: rule(view, np)), split="train", count=30, seed=8)
    assert np.allclose(played.reward.numpy(), outcome.objective, rtol=1e-8)
    if scenario.low_years is not None:
        assert np.array_equal(played.measured[:, 0], outcome.metrics["low_years"])
        assert np.allclose(played.costs[:, 0].numpy(), played.measured[:, 0], atol=1e-6)
        assert played.measured.sum() > 0


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_differences(case):
    scenario, simulator = simulator_of(case, 25)
    futures = futures_of(scenario, 8, "train", 0, 5, torch.float64)

    def reward(level: torch.Tensor) -> torch.Tensor:
        # Smaller changes than the limit allows, so that no difference straddles a kink.
        played = simulator.play(lambda view: level * view["stock"] / (view["stock"] + 1.0), futures)
        return played.reward.sum() + played.costs.sum()

    level = torch.tensor(0.02, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(reward(level), level)
    step = 1e-6
    with torch.no_grad():
        expected = (reward(level + step) - reward(level - step)) / (2 * step)
    assert slope.item() == pytest.approx(expected.item(), rel=1e-5)
    assert abs(slope.item()) > 0.1

"""The reachable map against linear programs that know nothing of it."""

import numpy as np
import pytest
import torch

from interlock.domains.hydro.case import Case
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.stage_program import linear_stage
from interlock.domains.hydro.water import clip_to_reach, full_turbining, reachable, torch_water, water_of
from interlock.domains.hydro.water_gradient import reachable_operation
from interlock.solvers.highs import Highs


@pytest.fixture(scope="module", params=[(3, 0), (9, 4), (16, 1)])
def case(request: pytest.FixtureRequest) -> Case:
    return make_case(request.param[0], seed=request.param[1])


def situations(case: Case, count: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(1)
    hydros = case.hydros
    volume = hydros.min_volume + rng.random((count, len(hydros.names))) * (hydros.max_volume - hydros.min_volume)
    inflow = case.inflows[rng.integers(case.cycle, size=count), rng.integers(case.inflows.shape[1], size=count)]
    return volume, inflow, rng


def test_targets_have_a_dispatch_and_clipping_leaves_them(case: Case) -> None:
    water = water_of(case)
    volume, inflow, rng = situations(case, 40)
    target = reachable(np, water, 4.0 * rng.normal(size=volume.shape), volume, inflow)
    np.testing.assert_allclose(clip_to_reach(np, water, target, volume, inflow), target, atol=1e-9)
    stage = linear_stage(case, "bus1", 0)
    session = Highs().open(stage.program)
    for k in range(len(volume)):
        right = stage.right_hand_side(volume[k], inflow[k])
        session.change_rows(stage.rows, right, right)
        session.change_columns(stage.state, target[k], target[k])
        assert session.solve().status == "optimal"


def test_clipped_volumes_are_the_highest_that_a_program_finds(case: Case) -> None:
    """From the top of the cascade down: with what is above fixed, no more can be kept."""
    water = water_of(case)
    volume, inflow, _ = situations(case, 12)
    wanted = np.broadcast_to(case.hydros.max_volume + 1.0, volume.shape)
    clipped = clip_to_reach(np, water, wanted, volume, inflow)
    stage = linear_stage(case, "bus1", 0)
    plants = len(case.hydros.names)
    feeds = case.hydros.turbined_to | case.hydros.spilled_to
    for k in range(len(volume)):
        session = Highs().open(stage.program)
        right = stage.right_hand_side(volume[k], inflow[k])
        session.change_rows(stage.rows, right, right)
        everything = np.arange(len(stage.program.cost), dtype=np.int32)
        for plant in range(plants):
            above = np.flatnonzero(_upstream(feeds, plant)).astype(np.int32)
            session.change_columns(stage.state, case.hydros.min_volume, case.hydros.max_volume)
            session.change_columns(above, clipped[k, above], clipped[k, above])
            cost = np.zeros(len(everything))
            cost[plant] = -1.0
            session.change_costs(everything, cost)
            assert -session.solve().objective == pytest.approx(clipped[k, plant], abs=1e-6)


def _upstream(feeds: np.ndarray, plant: int) -> np.ndarray:
    found = np.zeros(len(feeds), bool)
    new = feeds[:, plant]
    while (new & ~found).any():
        found |= new
        new = feeds[:, found].any(axis=1)
    return found


def test_torch_and_numpy_agree_and_gradients_pass_through_the_cascade(case: Case) -> None:
    water = water_of(case)
    tensors = torch_water(water, torch.float64)
    volume, inflow, rng = situations(case, 3)
    raw = rng.normal(size=volume.shape)
    found = reachable(torch, tensors, torch.as_tensor(raw), torch.as_tensor(volume), torch.as_tensor(inflow))
    np.testing.assert_allclose(found.numpy(), reachable(np, water, raw, volume, inflow), atol=1e-12)
    turbined = full_turbining(torch, tensors, torch.as_tensor(volume), torch.as_tensor(inflow), found)
    assert (turbined <= tensors.most_turbined + 1e-12).all()

    def total(state: torch.Tensor) -> torch.Tensor:
        return reachable(torch, tensors, torch.as_tensor(raw), state, torch.as_tensor(inflow)).square().sum()

    state = torch.as_tensor(volume).requires_grad_()
    total(state).backward()
    move = torch.as_tensor(rng.normal(size=volume.shape))
    step = 1e-6
    difference = (total(state.detach() + step * move) - total(state.detach() - step * move)) / (2 * step)
    assert float((state.grad * move).sum()) == pytest.approx(float(difference), rel=1e-5)


def test_the_operation_in_one_step_is_the_map_in_many(case: Case) -> None:
    """Gradients inside the range, where there is no kink; values at both ends as well."""
    water = water_of(case)
    tensors, operation = torch_water(water, torch.float64), reachable_operation(water)
    volume, inflow, rng = situations(case, 50)
    extreme = torch.as_tensor(8.0 * rng.normal(size=volume.shape))
    values = operation(extreme, torch.as_tensor(volume), torch.as_tensor(inflow)).numpy()
    np.testing.assert_allclose(values, reachable(np, water, extreme.numpy(), volume, inflow), atol=1e-12)
    results = []
    for reach in (lambda *given: reachable(torch, tensors, *given), operation):
        raw = torch.as_tensor(np.random.default_rng(2).uniform(-2.0, 2.0, volume.shape)).requires_grad_()
        state = torch.as_tensor(volume).requires_grad_()
        target = reach(raw, state, torch.as_tensor(inflow))
        weight = torch.as_tensor(np.random.default_rng(3).normal(size=volume.shape))
        (weight * target).sum().backward()
        results.append((target.detach(), raw.grad, state.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)

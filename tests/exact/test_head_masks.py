"""Masks: exactly no probability, no gradient and no draw of what is ruled out; learned masks against exact ones."""

from math import log

import numpy as np
import pytest
import torch
from head_cases import CONTINUOUS, HEADS, WITH_CHOICE, everything, feasible, mask_width, random_mask, random_parameters

from interlock.core.errors import UsageError
from interlock.core.heads_continuous import BetaHead
from interlock.core.heads_discrete import AutoregressiveHead, CategoricalHead, MultiDiscreteHead
from interlock.core.heads_hybrid import HybridHead
from interlock.core.heads_masks import infeasible_probability, mask_error, mask_scores, soften_scores

every_mask = pytest.mark.parametrize("name", WITH_CHOICE)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors: threads that wait for each other only cost time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@every_mask
def test_masked_actions_are_never_drawn(name):
    head = HEADS[name]
    mask = random_mask(head, 100_000)
    parameters = head.masked(random_parameters(head, 100_000, spread=4.0).float(), mask)
    draws = head.sample(parameters, torch.Generator().manual_seed(0))
    assert feasible(head, mask, draws).all()
    assert feasible(head, mask, head.mode(parameters)).all()


@every_mask
def test_masked_actions_have_no_probability_and_no_gradient(name):
    head = HEADS[name]
    mask = random_mask(head, 30, seed=1)
    parameters = random_parameters(head, 30, seed=12, spread=4.0).requires_grad_()
    masked = head.masked(parameters, mask)
    raw = head.sample(masked, torch.Generator().manual_seed(0))
    log_probability, entropy = head.log_probability_and_entropy(masked, raw)
    (log_probability.sum() + entropy.sum() + head.divergence(masked.detach() + 0.1, masked).sum()).backward()
    ruled_out = ~mask
    if head.kind == "autoregressive":
        ruled_out = torch.cat([~mask.reshape(-1, 3, 4).any(2), ruled_out], 1)
    scores = parameters.grad[:, : ruled_out.shape[1]]
    assert float(scores[ruled_out].abs().max()) == 0.0
    assert float(scores[~ruled_out].abs().max()) > 1e-3
    everywhere, weights = everything(head)
    for row, allowed in zip(masked.detach(), mask, strict=True):
        chances = head.log_probability(row.expand(len(everywhere), -1), everywhere).exp()
        permitted = feasible(head, allowed.expand(len(everywhere), -1), everywhere)
        assert float(chances[~permitted].sum()) < 1e-30
        # The Gaussian part is wider here than the quadrature is fine: its density is tested on its own.
        if head.kind != "hybrid":
            assert float((weights * chances)[permitted].sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_entropy_of_equal_feasible_actions_is_the_logarithm_of_their_number(count):
    def entropy(head, mask):
        return float(head.entropy(head.masked(torch.zeros(1, head.outputs + len(head.free)), mask[None])))

    allowed = torch.arange(5) < count
    assert entropy(CategoricalHead(5), allowed) == pytest.approx(log(count), abs=1e-6)
    both = torch.cat([allowed, torch.tensor([True, False, True])])
    assert entropy(MultiDiscreteHead([5, 3]), both) == pytest.approx(log(2 * count), abs=1e-6)
    pairs = torch.cat([allowed, torch.zeros(5, dtype=torch.bool)])  # Only the first of two first options is left.
    assert entropy(AutoregressiveHead(2, 5), pairs) == pytest.approx(log(count), abs=1e-6)
    uniform = HybridHead(5, BetaHead([0], [1]))
    number = float(BetaHead([0], [1]).entropy(torch.zeros(1, 2)))
    assert entropy(uniform, allowed) == pytest.approx(log(count) + number, abs=1e-6)


@every_mask
def test_a_row_without_any_feasible_action_is_not_nan(name):
    head = HEADS[name]
    parameters = random_parameters(head, 1000).float().requires_grad_()
    masked = head.masked(parameters, torch.zeros(1000, mask_width(head), dtype=torch.bool))
    raw = head.sample(masked, torch.Generator().manual_seed(0))
    values = torch.stack([*head.log_probability_and_entropy(masked, raw), head.divergence(masked, masked)])
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(parameters.grad).all()
    # Still one of the actions, whatever the environment makes of it.
    known, _ = everything(head)
    columns = 1 if head.kind == "hybrid" else raw.reshape(1000, -1).shape[1]
    assert (raw.reshape(1000, -1)[:, :columns] <= known.reshape(len(known), -1)[:, :columns].amax(0)).all()


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_head_refuses_a_mask(name):
    with pytest.raises(UsageError, match="no discrete choice"):
        HEADS[name].masked(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))


# Learned masks ----------------------------------------------------------------------------------------------------


def test_a_soft_mask_multiplies_probabilities_by_the_chance_of_being_feasible():
    scores, feasibility = torch.randn(2, 40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = scores.softmax(1) * feasibility.sigmoid()
    found = soften_scores(scores, feasibility).softmax(1)
    assert found.numpy() == pytest.approx((expected / expected.sum(1, keepdim=True)).numpy(), abs=1e-12)
    mask = torch.rand(40, 6, generator=torch.Generator().manual_seed(1)) < 0.5
    mask[:, 0] = True
    sure = torch.where(mask, 100.0, -100.0)
    exact = mask_scores(scores, mask).softmax(1)
    assert soften_scores(scores, sure).softmax(1).numpy() == pytest.approx(exact.numpy(), abs=1e-12)
    assert mask_error(sure, mask).numpy() == pytest.approx(np.zeros(40), abs=1e-12)
    assert mask_error(-sure, mask).numpy() == pytest.approx(np.ones(40), abs=1e-12)


def test_the_penalty_is_the_infeasible_probability_and_its_gradient_that_of_finite_differences():
    scores = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.tensor([[True, False, True, False]]).expand(5, 4)
    chances = scores.detach().softmax(1)
    expected = (chances[:, 1] + chances[:, 3]).numpy()
    assert infeasible_probability(scores, mask).detach().numpy() == pytest.approx(expected, abs=1e-12)
    assert torch.autograd.gradcheck(infeasible_probability, (scores, mask))
    assert torch.autograd.gradcheck(mask_error, (scores, mask))


def test_a_learned_mask_comes_to_rule_out_what_is_infeasible():
    """Option ``k`` of 6 is feasible where the state in (0, 1) exceeds ``k / 6``; the scores prefer infeasible ones."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(1, 64), torch.nn.ReLU(), torch.nn.Linear(64, 12))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    preference = torch.arange(6) / 2

    def batch():
        state = torch.rand(128, 1, generator=generator)
        scores, feasibility = network(state).split(6, 1)
        return soften_scores(scores + preference, feasibility), feasibility, state > torch.arange(6) / 6

    soft, _, mask = batch()
    before = float(infeasible_probability(soft.detach(), mask).mean())
    for _ in range(400):
        soft, feasibility, mask = batch()
        loss = (mask_error(feasibility, mask) + 2 * infeasible_probability(soft, mask)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    soft, feasibility, mask = batch()
    assert before > 0.3
    assert float(infeasible_probability(soft.detach(), mask).mean()) < 0.02
    assert float(((feasibility > 0) == mask).float().mean()) > 0.97

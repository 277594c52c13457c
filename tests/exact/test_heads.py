"""Distributions of heads against answers computed another way: quadrature, enumeration, torch's own, differences."""

from itertools import product
from math import log

import numpy as np
import pytest
import torch
from head_cases import CONTINUOUS, HEADS, MASKABLE, everything, line, random_parameters
from scipy import stats
from torch import distributions as reference
from torch.nn import functional

from interlock.core.heads_continuous import BetaHead, TanhGaussianHead

every_head = pytest.mark.parametrize("name", HEADS)


# Sums and integrals -----------------------------------------------------------------------------------------------


def logs_everywhere(head, row):
    raw, weights = everything(head)
    return head.log_probability(row.expand(len(weights), -1), raw), weights


@every_head
def test_probabilities_sum_to_one(name):
    for row in random_parameters(HEADS[name], 3):
        logs, weights = logs_everywhere(HEADS[name], row)
        assert float((weights * logs.exp()).sum()) == pytest.approx(1, abs=1e-6)


@every_head
def test_entropy_is_the_integral_of_p_log_p(name):
    head = HEADS[name]
    parameters = random_parameters(head, 3, seed=1)
    for row, entropy in zip(parameters, head.entropy(parameters), strict=True):
        logs, weights = logs_everywhere(head, row)
        # The squashed Gaussian has no closed form: its entropy is a quadrature of fixed size.
        limit = 1e-3 if head.kind == "tanh_gaussian" else 2e-6
        assert float(entropy) == pytest.approx(-float((weights * logs.exp() * logs).sum()), abs=limit)


@every_head
def test_divergence_is_the_integral_of_p_log_p_over_q(name):
    head = HEADS[name]
    old, new = random_parameters(head, 3, seed=2), random_parameters(head, 3, seed=3)
    divergence = head.divergence(old, new)
    assert (divergence > 1e-3).all()
    assert head.divergence(old, old).numpy() == pytest.approx(np.zeros(3), abs=1e-12)
    for first, second, found in zip(old, new, divergence, strict=True):
        logs, weights = logs_everywhere(head, first)
        others, _ = logs_everywhere(head, second)
        expected = torch.where(logs > -600, weights * logs.exp() * (logs - others), 0.0).sum()
        assert float(found) == pytest.approx(float(expected), abs=2e-6)


@every_head
def test_factors_and_the_shared_computation_agree_with_the_log_probability(name):
    head = HEADS[name]
    parameters = random_parameters(head, 40, seed=4)
    raw = head.sample(parameters, torch.Generator().manual_seed(0))
    factors = head.factors(parameters, raw)
    assert factors.shape == (40, {"multi_discrete": raw.shape[-1], "autoregressive": 2, "hybrid": 2}.get(head.kind, 1))
    log_probability = head.log_probability(parameters, raw)
    both = head.log_probability_and_entropy(parameters, raw)
    assert torch.allclose(factors.sum(1), log_probability, rtol=0, atol=1e-12)
    assert torch.allclose(both[0], log_probability, rtol=0, atol=1e-12)
    assert torch.allclose(both[1], head.entropy(parameters), rtol=0, atol=1e-12)


@pytest.mark.parametrize("log_std", [-3.0, -1.0, 0.0, 0.7])
def test_entropy_of_the_squashed_gaussian_over_its_range(log_std):
    head = TanhGaussianHead([-1], [3])
    for mean in (0.0, 0.7, -3.0, 8.0):
        row = torch.tensor([mean, log_std], dtype=torch.float64)
        u, weights = line(20_001, 10 * np.exp(log_std))
        u = mean + u
        density = stats.norm.pdf(u, mean, np.exp(log_std))
        slope = np.log(2) + 2 * (np.log(2) - u - np.logaddexp(0, -2 * u))
        expected = stats.norm(mean, np.exp(log_std)).entropy() + (weights * density * slope).sum()
        assert float(head.entropy(row[None])) == pytest.approx(expected, abs=2e-3)


# A second oracle --------------------------------------------------------------------------------------------------


def oracle(head, parameters):
    """Torch's distribution over the environment's action, or over the raw one where they are the same."""
    if head.kind == "categorical":
        return reference.Categorical(logits=parameters)
    if head.kind == "dirichlet":
        return reference.Dirichlet(1 + functional.softplus(parameters))
    low, high = head.box.low.double(), head.box.high.double()
    if head.kind == "beta":
        alpha, beta = (1 + functional.softplus(parameters)).reshape(len(parameters), -1, 2).unbind(2)
        scale = reference.AffineTransform(low, high - low)
        return reference.TransformedDistribution(reference.Independent(reference.Beta(alpha, beta), 1), [scale])
    mean, std = parameters[:, : head.outputs], parameters[:, head.outputs :].exp()
    steps = [reference.TanhTransform(cache_size=1)] if head.kind == "tanh_gaussian" else []
    bounded = torch.isfinite(high - low)
    centre, half = torch.where(bounded, (low + high) / 2, 0.0), torch.where(bounded, (high - low) / 2, 1.0)
    base = reference.Independent(reference.Normal(mean, std), 1)
    return reference.TransformedDistribution(base, [*steps, reference.AffineTransform(centre, half)])


@pytest.mark.parametrize("name", ["categorical", *CONTINUOUS])
def test_densities_are_those_of_another_implementation(name):
    head = HEADS[name]
    parameters = random_parameters(head, 200, seed=5)
    raw = head.sample(parameters, torch.Generator().manual_seed(1))
    known = oracle(head, parameters)
    if head.kind in ("categorical", "dirichlet"):
        seen = raw
    elif head.kind == "gaussian":  # The density is that before clipping.
        seen = head.box.centre + head.box.half * raw
    else:
        seen = head.action(raw)
    assert head.log_probability(parameters, raw).numpy() == pytest.approx(known.log_prob(seen).numpy(), abs=1e-6)
    if head.kind in ("categorical", "dirichlet"):
        others = random_parameters(head, 200, seed=6)
        assert head.entropy(parameters).numpy() == pytest.approx(known.entropy().numpy(), abs=1e-9)
        expected = reference.kl_divergence(known, oracle(head, others))
        assert head.divergence(parameters, others).numpy() == pytest.approx(expected.numpy(), abs=1e-9)


# Draws ------------------------------------------------------------------------------------------------------------


@every_head
def test_draws_depend_on_the_generator_alone(name):
    head = HEADS[name]
    parameters = random_parameters(head, 50).float().requires_grad_()
    first = head.sample(parameters, torch.Generator().manual_seed(3))
    torch.manual_seed(99)
    again = head.sample(parameters, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert not torch.equal(first, head.sample(parameters, torch.Generator().manual_seed(4)))
    assert not first.requires_grad
    discrete = head.kind in ("categorical", "multi_discrete", "autoregressive")
    assert first.dtype == (torch.int64 if discrete else torch.float32)


@pytest.mark.parametrize("name", MASKABLE)
def test_discrete_draws_follow_the_probabilities(name):
    head = HEADS[name]
    row = random_parameters(head, 1, seed=7)
    raw, _ = everything(head)
    expected = head.log_probability(row.expand(len(raw), -1), raw).exp().numpy()
    draws = head.sample(row.float().expand(100_000, -1), torch.Generator().manual_seed(0))
    index = {tuple(np.atleast_1d(action)): i for i, action in enumerate(raw.numpy())}
    unique, counts = np.unique(draws.numpy().reshape(100_000, -1), axis=0, return_counts=True)
    found = np.zeros(len(raw))
    found[[index[tuple(action)] for action in unique]] = counts
    assert stats.chisquare(found, expected / expected.sum() * 100_000).pvalue > 1e-4


def marginals(head, row):
    """Distributions of scipy of each raw component of a continuous head."""
    if head.kind == "beta":
        return [stats.beta(*pair) for pair in (1 + functional.softplus(row)).reshape(-1, 2).tolist()]
    if head.kind == "dirichlet":
        alpha = 1 + functional.softplus(row)
        return [stats.beta(float(a), float(alpha.sum() - a)) for a in alpha]
    return [
        stats.norm(float(mean), float(std))
        for mean, std in zip(row[: head.outputs], row[head.outputs :].exp(), strict=True)
    ]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_draws_follow_their_marginals(name):
    head = HEADS[name]
    row = random_parameters(head, 1, seed=8)
    draws = head.sample(row.float().expand(20_000, -1), torch.Generator().manual_seed(0)).double().numpy()
    for column, known in zip(draws.T, marginals(head, row[0]), strict=True):
        assert stats.kstest(column, known.cdf).pvalue > 1e-4
    if head.kind == "dirichlet":
        assert draws.sum(1) == pytest.approx(np.ones(20_000), abs=1e-6)
        alpha = (1 + functional.softplus(row[0])).numpy()
        share = alpha / alpha.sum()
        covariance = (np.diag(share) - np.outer(share, share)) / (alpha.sum() + 1)
        assert np.cov(draws.T) == pytest.approx(covariance, abs=2e-3)
    elif draws.shape[1] == 2:
        assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03


def test_hybrid_draws_follow_the_choice_and_its_own_distribution():
    head = HEADS["hybrid"]
    row = random_parameters(head, 1, seed=9)
    draws = head.sample(row.float().expand(60_000, -1), torch.Generator().manual_seed(0)).double()
    chances = torch.softmax(row[0, :3], 0).numpy()
    counts = np.bincount(draws[:, 0].long().numpy(), minlength=3)
    assert stats.chisquare(counts, chances * 60_000).pvalue > 1e-4
    for k in range(3):
        (known,) = marginals(head.part, row[0, 3 + 2 * k : 5 + 2 * k])
        assert stats.kstest(draws[draws[:, 0] == k, 1].numpy(), known.cdf).pvalue > 1e-4


# Gradients --------------------------------------------------------------------------------------------------------


@every_head
def test_gradients_are_those_of_finite_differences(name):
    head = HEADS[name]
    parameters = random_parameters(head, 2, seed=10).requires_grad_()
    others = random_parameters(head, 2, seed=11)
    raw = head.sample(parameters, torch.Generator().manual_seed(0))

    def functions(values):
        return head.log_probability(values, raw), head.entropy(values), head.divergence(others, values)

    assert torch.autograd.gradcheck(functions, (parameters,), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "raws"),
    [
        ("tanh_gaussian", (-20.0, 0.0, 20.0)),
        ("tanh_gaussian, 2", (-20.0, 20.0)),
        ("gaussian", (-20.0, 20.0)),
        ("beta", (0.0, 0.5, 1.0)),
        ("beta, 2", (0.0, 1.0)),
        ("dirichlet", (0.0, 1 / 3)),
        ("hybrid", (0.0, 1.0)),
    ],
)
def test_gradients_are_finite_at_the_ends(name, raws):
    """Concentrations that fall to one, actions on the bounds, and numbers whose tanh is one, in single precision."""
    head = HEADS[name]
    for level, number in product((-200.0, -20.0, 0.0, 20.0), raws):
        parameters = torch.full((1, head.outputs + len(head.free)), level)
        parameters[:, head.outputs :] = torch.tensor(head.free)
        parameters.requires_grad_()
        raw = torch.full_like(head.mode(parameters).detach(), number)
        if head.kind == "hybrid":
            raw[:, 0] = 1.0
        values = torch.stack(
            [
                head.log_probability(parameters, raw),
                head.entropy(parameters),
                head.divergence(parameters, parameters + 1),
            ]
        )
        assert torch.isfinite(values).all()
        for value in values:
            (gradient,) = torch.autograd.grad(value.sum(), parameters, retain_graph=True)
            assert torch.isfinite(gradient).all()


def test_the_squashed_density_is_exact_where_tanh_is_one():
    head = TanhGaussianHead([-1], [1])
    # log(1 - tanh(u)^2) = log 4 - 2|u| up to exp(-2|u|); single precision knows no tanh(20) below one.
    for u in (-20.0, 20.0):
        found = head.log_probability(torch.tensor([[u, 0.0]]), torch.tensor([[u]]))
        assert float(found) == pytest.approx(-log(2 * np.pi) / 2 - log(4) + 40, abs=1e-5)


def test_concentrations_near_one_give_the_uniform_distribution():
    head = BetaHead([-1], [3])
    at = head.log_probability(torch.full((3, 2), -200.0), torch.tensor([[0.0], [0.3], [1.0]]))
    assert at.numpy() == pytest.approx(np.full(3, -log(4)), abs=1e-6)
    assert float(head.entropy(torch.full((1, 2), -200.0))) == pytest.approx(log(4), abs=1e-6)

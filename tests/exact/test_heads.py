"""Heads against answers computed another way: quadrature, enumeration, torch's own distributions, ONNX Runtime."""

import warnings
from itertools import product
from math import inf, log

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats
from torch import distributions as reference
from torch.nn import functional

from interlock.core.errors import UsageError
from interlock.core.heads import build_head
from interlock.core.heads_continuous import BetaHead, DirichletHead, GaussianHead, TanhGaussianHead
from interlock.core.heads_discrete import AutoregressiveHead, CategoricalHead, MultiDiscreteHead
from interlock.core.heads_hybrid import HybridHead
from interlock.core.heads_masks import infeasible_probability, mask_error, mask_scores, soften_scores

HEADS = {
    "categorical": CategoricalHead(5),
    "multi_discrete": MultiDiscreteHead([2, 4, 3]),
    "multi_discrete, equal sizes": MultiDiscreteHead([3, 3]),
    "autoregressive": AutoregressiveHead(3, 4),
    "gaussian": GaussianHead([-inf], [inf]),
    "gaussian, 2": GaussianHead([-1, 0], [3, inf]),
    "tanh_gaussian": TanhGaussianHead([-1], [3]),
    "tanh_gaussian, 2": TanhGaussianHead([-1, 0], [3, 0.5]),
    "beta": BetaHead([-1], [3]),
    "beta, 2": BetaHead([-1, 0], [3, 0.5]),
    "dirichlet": DirichletHead(3),
    "dirichlet, unallocated": DirichletHead(2, unallocated=True),
    "hybrid": HybridHead(3, BetaHead([-1], [3])),
    "hybrid, gaussian": HybridHead(2, GaussianHead([-1, 0], [3, inf])),
}
MASKABLE = [name for name in HEADS if name.split(",")[0] in ("categorical", "multi_discrete", "autoregressive")]
CONTINUOUS = [name for name in HEADS if name not in MASKABLE and "hybrid" not in name]
every_head = pytest.mark.parametrize("name", HEADS)
every_mask = pytest.mark.parametrize("name", [*MASKABLE, "hybrid", "hybrid, gaussian"])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors: threads that wait for each other only cost time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_parameters(head, rows, seed=0, spread=1.0):
    """Float64, around the initial values of the free ones."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, head.outputs + len(head.free), generator=generator, dtype=torch.float64) * spread
    noise[:, head.outputs :] = torch.tensor(head.free) + 0.3 * noise[:, head.outputs :]
    return noise


def mask_width(head):
    return {"autoregressive": 12, "hybrid": getattr(head, "choices", 0)}.get(head.kind, head.outputs)


def random_mask(head, rows, seed=0):
    """At least one option of each choice is left."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, mask_width(head), generator=generator) < 0.5
    sizes = head.sizes if head.kind == "multi_discrete" else (mask.shape[1],)
    for part in mask.split(sizes, 1):
        part[torch.arange(rows), torch.randint(part.shape[1], (rows,), generator=generator)] = True
    return mask


# Quadrature -------------------------------------------------------------------------------------------------------


def interval(count=400):
    """Nodes, their logits and weights on (0, 1): the trapezoidal rule for the logit, so nodes gather at the ends."""
    logit = np.linspace(-38, 38, count)
    node = 1 / (1 + np.exp(-logit))
    return node, logit, (logit[1] - logit[0]) * node / (1 + np.exp(logit))


def line(count=400, reach=25.0):
    """Nodes and weights on the whole line, for densities that vanish beyond ``reach``."""
    u = np.linspace(-reach, reach, count)
    return u, np.full(count, u[1] - u[0])


def raw_box(head):
    """Raw actions of a box head, and weights of the environment's units: the map to the box undone by hand."""
    axes = []
    count = 400 if head.box.size == 1 else 160
    for a, b in zip(head.box.low.tolist(), head.box.high.tolist(), strict=True):
        if head.kind == "gaussian":
            nodes, weights = line(count)
            axes.append((nodes, weights * ((b - a) / 2 if np.isfinite(b - a) else 1.0)))
            continue
        nodes, logits, weights = interval(count)
        axes.append((nodes if head.kind == "beta" else logits / 2, weights * (b - a)))
    grid = np.stack(np.meshgrid(*(nodes for nodes, _ in axes), indexing="ij"), -1).reshape(-1, len(axes))
    weight = np.stack(np.meshgrid(*(weights for _, weights in axes), indexing="ij"), -1).reshape(-1, len(axes)).prod(1)
    return grid, weight


def everything(head):
    """All raw actions with weights: ``(weights * f(raw)).sum()`` is the sum or integral of ``f`` over actions."""
    if head.kind in ("categorical", "multi_discrete", "autoregressive"):
        sizes = {"categorical": (head.outputs,), "autoregressive": (3, 4)}.get(head.kind) or head.sizes
        raw = torch.tensor(list(product(*map(range, sizes))))
        return (raw[:, 0] if head.kind == "categorical" else raw), torch.ones(len(raw), dtype=torch.float64)
    if head.kind == "hybrid":
        numbers, weights = everything(head.part)
        raw = [torch.cat([torch.full((len(numbers), 1), float(k)), numbers], 1) for k in range(head.choices)]
        return torch.cat(raw), weights.repeat(head.choices)
    if head.kind == "dirichlet":  # Three shares: break a stick, then the rest.
        nodes, _, weights = interval(250)
        first, rest = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
        weight = np.outer(weights, weights).ravel() * (1 - first)
        raw = np.stack([first, (1 - first) * rest, (1 - first) * (1 - rest)], 1)
    else:
        raw, weight = raw_box(head)
    return torch.tensor(raw), torch.tensor(weight)


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
    parameters = random_parameters(head, 4, seed=10).requires_grad_()
    others = random_parameters(head, 4, seed=11)
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


# Masks ------------------------------------------------------------------------------------------------------------


def feasible(head, mask, raw):
    """Whether each action is allowed by its row of a mask."""
    rows = torch.arange(len(mask))
    if head.kind == "categorical":
        return mask[rows, raw]
    if head.kind == "autoregressive":
        return mask[rows, raw[:, 0] * 4 + raw[:, 1]]
    if head.kind == "hybrid":
        return mask[rows, raw[:, 0].long()]
    return torch.stack([part[rows, raw[:, i]] for i, part in enumerate(mask.split(head.sizes, 1))]).all(0)


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


# What the environment gets ----------------------------------------------------------------------------------------


def test_deterministic_modes_are_the_argmax_and_the_means():
    assert CategoricalHead(3).mode(torch.tensor([[0.0, 2.0, 1.0]])).tolist() == [1]
    assert MultiDiscreteHead([2, 3]).mode(torch.tensor([[1.0, 0.0, 0.0, 1.0, 2.0]])).tolist() == [[0, 2]]
    pairs = AutoregressiveHead(2, 2)
    assert pairs.mode(torch.tensor([[0.0, 1.0, 9.0, 0.0, 0.0, 3.0]])).tolist() == [[1, 1]]
    assert GaussianHead([-inf], [inf]).mode(torch.tensor([[0.7, 5.0]])).tolist() == [[np.float32(0.7)]]
    concentration = 1 + np.log1p(np.exp([0.5, -1.0, 2.0]))
    parameters = torch.tensor([[0.5, -1.0, 2.0]])
    mean = DirichletHead(3).mode(parameters)[0].tolist()
    assert mean == pytest.approx(list(concentration / concentration.sum()), abs=1e-6)
    beta = BetaHead([-1], [3])
    fraction = concentration[0] / concentration[:2].sum()
    assert float(beta.action(beta.mode(parameters[:, :2]))) == pytest.approx(-1 + 4 * fraction, abs=1e-6)
    hybrid = HEADS["hybrid"]
    chosen = hybrid.mode(torch.tensor([[0.0, 3.0, 1.0, 9.0, 0.0, 0.5, -1.0, 0.0, 9.0]]))
    assert chosen[0].tolist() == pytest.approx([1.0, fraction], abs=1e-6)
    assert hybrid.action(chosen)[0].tolist() == pytest.approx([1.0, -1 + 4 * fraction], abs=1e-6)


def test_actions_lie_in_the_box_and_a_gaussian_keeps_what_was_clipped():
    raw = torch.tensor([[-7.0, 0.5, 7.0], [0.0, -7.0, 7.0]])
    head = GaussianHead([-1, -inf, -inf], [3, inf, 2])
    assert head.action(raw).tolist() == [[-1.0, 0.5, 2.0], [1.0, -7.0, 2.0]]
    parameters = torch.zeros(2, 6)
    inside = head.action(raw).clone()
    assert not torch.allclose(head.log_probability(parameters, raw), head.log_probability(parameters, inside))
    space = spaces.Box(np.float32([0.1, -5.3]), np.float32([0.7, 1e6]))
    for kind in ("beta", "tanh_gaussian", "gaussian"):
        head = build_head(space, kind)
        rows = random_parameters(head, 20_000, spread=5.0).float()
        actions = head.action(head.sample(rows, torch.Generator().manual_seed(0))).numpy()
        assert actions.dtype == np.float32
        assert all(space.contains(action) for action in actions)
        assert (actions.std(0) > 0.1 * (space.high - space.low)).all()


def test_an_unallocated_share_is_not_given_to_the_environment():
    head = DirichletHead(2, unallocated=True)
    raw = head.sample(torch.zeros(1000, 3), torch.Generator().manual_seed(0))
    actions = head.action(raw)
    assert torch.equal(actions, raw[:, :2])
    assert ((actions.sum(1) < 1) & (actions >= 0).all(1)).all()
    # With concentrations 1 + log 2 for all three, the mean of each is a third.
    assert actions.mean(0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.02)


# Choosing a head --------------------------------------------------------------------------------------------------

BOUNDED, UNBOUNDED = spaces.Box(-1, 3, (2,)), spaces.Box(-np.inf, 3, (2,))
PAIR = spaces.Tuple([spaces.Discrete(3), BOUNDED])


@pytest.mark.parametrize(
    ("space", "kind", "made", "columns"),
    [
        (spaces.Discrete(4), None, CategoricalHead, 4),
        (spaces.MultiDiscrete([2, 3]), None, MultiDiscreteHead, 5),
        (spaces.MultiDiscrete([2, 3]), "autoregressive", AutoregressiveHead, 8),
        (BOUNDED, None, BetaHead, 4),
        (UNBOUNDED, None, GaussianHead, 2),
        (BOUNDED, "gaussian", GaussianHead, 2),
        (BOUNDED, "tanh_gaussian", TanhGaussianHead, 2),
        (spaces.Box(0, 1, (3,)), "dirichlet", DirichletHead, 3),
        (PAIR, None, HybridHead, 15),
        (spaces.Tuple([spaces.Discrete(3), UNBOUNDED]), None, HybridHead, 9),
    ],
)
def test_a_head_suits_its_space(space, kind, made, columns):
    head = build_head(space, kind)
    assert type(head) is made
    assert head.outputs == columns
    if kind is not None:
        assert head.kind == kind
    assert build_head(space, head.kind).outputs == columns


def test_options_reach_the_head():
    assert build_head(UNBOUNDED, log_std=-1.5).free == (-1.5, -1.5)
    assert build_head(UNBOUNDED).free == (-0.5, -0.5)
    assert build_head(spaces.Box(0, 1, (3,)), "dirichlet", unallocated=True).outputs == 4
    hybrid = build_head(PAIR, part="tanh_gaussian", log_std=-1.0)
    assert hybrid.part.kind == "tanh_gaussian"
    assert hybrid.free == (-1.0,) * 6


@pytest.mark.parametrize(
    ("space", "kind", "options", "message"),
    [
        (spaces.Discrete(3), "beta", {}, r"'beta' needs .*; the action space is Discrete\(3\)"),
        (BOUNDED, "categorical", {}, r"'categorical' needs .*; the action space is Box"),
        (UNBOUNDED, "beta", {}, "'beta' needs a flat Box .* bounded; the action space is Box"),
        (UNBOUNDED, "tanh_gaussian", {}, "'tanh_gaussian' needs .* bounded"),
        (BOUNDED, "dirichlet", {}, "'dirichlet' needs .* from 0 to 1"),
        (spaces.MultiDiscrete([2, 3, 4]), "autoregressive", {}, "'autoregressive' needs .* two factors"),
        (spaces.Discrete(3, start=1), None, {}, "'categorical' needs .* starts at 0"),
        (spaces.Box(0, 1, (2, 2)), None, {}, "needs a flat Box"),
        (spaces.Box(0, 9, (2,), dtype=np.int64), None, {}, "floating-point"),
        (spaces.Tuple([BOUNDED, BOUNDED]), None, {}, "'hybrid' needs a Tuple"),
        (spaces.Text(3), None, {}, "no head for the action space Text"),
        (BOUNDED, "cauchy", {}, "no head is called 'cauchy'; there are categorical, .*hybrid"),
        (BOUNDED, "beta", {"log_std": 1}, "'beta' has no option log_std; options: none"),
        (BOUNDED, "gaussian", {"std": 1}, "'gaussian' has no option std; options: log_std"),
        (PAIR, None, {"part": "dirichlet"}, "'dirichlet' needs"),
        (PAIR, None, {"log_std": 1.0}, "'beta' has no option log_std"),
        (spaces.Box(0, 1, (1,)), "dirichlet", {}, "two shares, or one and the unallocated one"),
    ],
)
def test_what_does_not_fit_is_refused_naming_both(space, kind, options, message):
    with pytest.raises(UsageError, match=message):
        build_head(space, kind, **options)


def test_bounds_must_be_intervals():
    for low, high in (([0.0], [0.0]), ([1.0], [0.0]), ([0.0], [1.0, 2.0]), ([], []), ([float("nan")], [1.0])):
        with pytest.raises(UsageError, match="low < high"):
            GaussianHead(low, high)


# Export -----------------------------------------------------------------------------------------------------------


class Decision(torch.nn.Module):
    """A small network, its mask, the deterministic action of a head, and probabilities of discrete choices."""

    def __init__(self, head):
        super().__init__()
        self.head = head
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.actor = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, head.outputs))
            self.free = torch.nn.Parameter(torch.randn(len(head.free)))

    def forward(self, vector, action_mask=None):
        parameters = self.actor(vector) * 3
        if self.head.free:
            parameters = torch.cat([parameters, self.free.expand(parameters.shape[0], -1)], 1)
        if action_mask is not None:
            parameters = self.head.masked(parameters, action_mask)
        return self.head.action(self.head.mode(parameters)), *self.probabilities(parameters)

    def probabilities(self, parameters):
        if self.head.kind == "categorical":
            return [parameters.softmax(1)]
        if self.head.kind == "hybrid":
            return [parameters[:, : self.head.choices].softmax(1)]
        if self.head.kind in ("multi_discrete", "autoregressive"):
            raw, _ = everything(self.head)
            rows = parameters.shape[0]
            logs = [self.head.log_probability(parameters, action.expand(rows, -1)) for action in raw]
            return [torch.stack(logs, 1).exp()]
        return []


def exported(module, example, path, dynamo):
    names = list(example)
    if dynamo:
        batch = torch.export.Dim("batch", min=1, max=4096)
        dynamic = {"dynamic_shapes": {name: {0: batch} for name in names}, "verbose": False}
    else:
        dynamic = {"dynamic_axes": {name: {0: "batch"} for name in names}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = tuple(example.values())
        torch.onnx.export(module, arguments, path, input_names=names, opset_version=18, dynamo=dynamo, **dynamic)


@pytest.mark.parametrize(("name", "dynamo"), [*((name, False) for name in HEADS), ("hybrid", True)])
def test_an_exported_head_decides_alike(name, dynamo, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    if dynamo:
        pytest.importorskip("onnxscript")
    head = HEADS[name]
    module = Decision(head).eval()
    vector = torch.randn(1000, 6, generator=torch.Generator().manual_seed(1))
    inputs = {"vector": vector}
    if name in MASKABLE or head.kind == "hybrid":
        inputs["action_mask"] = random_mask(head, 1000)
    exported(module, {key: tensor[:2] for key, tensor in inputs.items()}, tmp_path / "head.onnx", dynamo)
    session = onnxruntime.InferenceSession(tmp_path / "head.onnx", providers=["CPUExecutionProvider"])
    action, *chances = session.run(None, {key: tensor.numpy() for key, tensor in inputs.items()})
    with torch.no_grad():
        expected, *expected_chances = (tensor.numpy() for tensor in module(**inputs))
    assert action.dtype == expected.dtype
    assert len(np.unique(expected.round(3), axis=0)) > 3
    if np.issubdtype(expected.dtype, np.integer):
        assert np.array_equal(action, expected)
    else:
        assert action == pytest.approx(expected, abs=1e-5)
    if head.kind == "hybrid":
        assert np.array_equal(action[:, 0], expected[:, 0])
    for found, known in zip(chances, expected_chances, strict=True):
        assert found == pytest.approx(known, abs=1e-5)
    if "action_mask" in inputs:
        assert feasible(head, inputs["action_mask"], torch.from_numpy(action)).all()

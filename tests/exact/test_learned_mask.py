"""The learned feasibility mask against direct sums, finite differences and a mask known in closed form."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.actor_critic.learned_mask import LearnedMask, build_learned_mask, mask_loss
from interlock.core.errors import UsageError
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy
from interlock.core.networks import build_network

ACTIONS = 6
HEAD = build_head(spaces.Discrete(ACTIONS), None)
SETTINGS = NetworkSettings(hidden=(64, 64), dense=16, channels=(4,))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def random_rows(seed, rows=9):
    generator = torch.Generator().manual_seed(seed)
    feasibility, scores = torch.randn(2, rows, ACTIONS, generator=generator, dtype=torch.float64)
    return feasibility, scores, torch.rand(rows, ACTIONS, generator=generator) < 0.5


# The loss ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_loss_equals_direct_summation(weight):
    feasibility, scores, mask = random_rows(0)
    total = 0.0
    for f, s, m in zip(feasibility.tolist(), scores.tolist(), mask.tolist(), strict=True):
        partition = sum(np.exp(value) for value in s)
        error = sum((1 / (1 + np.exp(-logit)) - float(ok)) ** 2 for logit, ok in zip(f, m, strict=True)) / ACTIONS
        total += error + weight * sum(np.exp(v) / partition * (1 - float(ok)) for v, ok in zip(s, m, strict=True))
    assert float(mask_loss(feasibility, scores, mask, weight)) == pytest.approx(total / len(mask), rel=1e-12)


def test_gradient_of_the_loss_by_central_differences():
    feasibility, scores, mask = random_rows(1, rows=4)
    feasibility.requires_grad_()
    scores.requires_grad_()
    mask_loss(feasibility, scores, mask).backward()
    for tensor in (feasibility, scores):
        found, values = tensor.grad.numpy().ravel(), tensor.detach().numpy()
        for index in range(values.size):
            ends = []
            for step in (1e-5, -1e-5):
                values.flat[index] += step
                ends.append(float(mask_loss(feasibility.detach(), scores.detach(), mask)))
                values.flat[index] -= step
            assert found[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-9)


# The policy --------------------------------------------------------------------------------------------------------

SHAPES = {"vector": (3,), "planes": (2, 3, 4), "action_features": (ACTIONS, 3)}


def build(name, rows=5, seed=0):
    inputs = {name: np.random.default_rng(seed).normal(size=(rows, *SHAPES[name])).astype(np.float32)}
    return build_learned_mask(inputs, HEAD, SETTINGS, seed, signals=2), {name: torch.from_numpy(inputs[name])}


@pytest.mark.parametrize("name", SHAPES)
def test_soft_mask_multiplies_probabilities_by_the_predicted_chance(name):
    network, inputs = build(name)
    with torch.no_grad():
        everything = torch.ones(5, ACTIONS, dtype=torch.bool)
        plain, values = network.network(**inputs, action_mask=everything)
        expected = plain.double().softmax(1) * network.feasibility(**inputs).double().sigmoid()
        scores, same_values = network(**inputs)
    assert scores.double().softmax(1).numpy() == pytest.approx(
        (expected / expected.sum(1, keepdim=True)).numpy(), abs=1e-6
    )
    assert torch.equal(values, same_values)
    assert values.shape == (5, 2)


class _Sure(torch.nn.Module):
    """A predictor that is sure of the opposite of the truth."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, action_mask, **inputs):
        return torch.where(self.mask, -1e4, 1e4), None


@pytest.mark.parametrize("name", SHAPES)
def test_the_prediction_never_replaces_the_exact_mask(name):
    network, inputs = build(name)
    mask = torch.zeros(5, ACTIONS, dtype=torch.bool)
    mask[torch.arange(5), torch.arange(5)] = True
    mask[:, 5] = True
    wrong = LearnedMask(network.network, _Sure(mask))
    scores = wrong(**inputs, action_mask=mask)[0].detach()
    chances = scores.softmax(1)
    assert float(chances[~mask].max()) < 1e-30
    assert mask[torch.arange(5), scores.argmax(1)].all()
    # Among feasible actions, all called impossible alike, the policy is that of the exact mask alone.
    exact, _ = network.network(**inputs, action_mask=mask)
    assert chances.numpy() == pytest.approx(exact.softmax(1).detach().numpy(), abs=1e-6)
    # Without the exact mask even a sure prediction stays a prediction.
    soft = wrong(**inputs)[0].softmax(1)
    assert 0 < float(soft[mask].detach().min()) < 1e-3


def test_a_policy_obeys_the_exact_mask_of_its_observation_and_acts_without_one():
    network, inputs = build("vector", rows=200)
    mask = np.zeros((200, ACTIONS), bool)
    mask[np.arange(200), np.random.default_rng(2).integers(ACTIONS, size=200)] = True
    policy = NetworkPolicy(
        LearnedMask(network.network, _Sure(torch.from_numpy(mask))), lambda view: view["encoded"], {}
    )
    observation = {"encoded": {"vector": inputs["vector"].numpy()}, "action_mask": mask}
    for deterministic in (True, False):
        actions = policy.act(observation, deterministic=deterministic)
        assert mask[np.arange(200), actions].all()
    assert policy.act({"encoded": observation["encoded"]}).shape == (200,)


@pytest.mark.parametrize("known", [True, False])
def test_exported_policy_has_the_same_scores(tmp_path, known):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network, inputs = build("vector", rows=40)
    description = {"encoder": "vector", "input_shapes": {"vector": [3]}, "actions": ACTIONS if known else 0}
    NetworkPolicy(network, lambda view: view, description).export_scorer(tmp_path)
    if known:
        inputs["action_mask"] = torch.rand(40, ACTIONS, generator=torch.Generator().manual_seed(0)) < 0.5
    session = runtime.InferenceSession(tmp_path / "policy.onnx")
    scores, _ = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    assert torch.from_numpy(scores).softmax(1).numpy() == pytest.approx(
        network(**inputs)[0].detach().softmax(1).numpy(), abs=1e-5
    )


def test_what_the_policy_learns_does_not_reach_the_predictor():
    network, inputs = build("vector")
    network(**inputs)[0].log_softmax(1)[:, 0].sum().backward()
    assert all(parameter.grad is None for parameter in network.predictor.parameters())
    assert any(float(parameter.grad.abs().max()) > 0 for parameter in network.network.actor.parameters())
    scores, feasibility, _ = network.softened(**inputs)
    mask_loss(feasibility, scores, torch.ones(5, ACTIONS, dtype=torch.bool)).backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in network.predictor.actor.parameters())


def test_every_parameter_belongs_to_the_actor_or_to_the_critic():
    for name in SHAPES:
        network, _ = build(name)
        parts = [*network.actor_parameters(), *network.critic_parameters()]
        assert {id(parameter) for parameter in parts} == {id(parameter) for parameter in network.parameters()}
        assert len(parts) == len(list(network.parameters()))


def test_heads_and_networks_without_one_discrete_choice_are_refused():
    box = build_head(spaces.Box(0.0, 1.0, (2,)), None)
    example = {"vector": np.zeros((1, 3), np.float32)}
    with pytest.raises(UsageError, match="categorical"):
        build_learned_mask(example, box, SETTINGS, 0)
    remembering = build_network(example, HEAD, SETTINGS.model_copy(update={"memory": 4}), 0)
    with pytest.raises(UsageError, match="memory"):
        LearnedMask(remembering, _Sure(torch.ones(1, ACTIONS)))


# Learning a mask that is known -------------------------------------------------------------------------------------

SIZES = torch.linspace(0.0, 1.0, ACTIONS)


def loads(rows, generator):
    """Two stores with free space each: item ``a`` fits if the larger space holds its size."""
    state = torch.rand(rows, 2, generator=generator)
    return state, state.amax(1, keepdim=True) >= SIZES


def train(network, *, learned):
    """Exact gradient of the expected size, which tempts, and of entropy; with ``learned``, of the mask's loss too."""
    generator, optimiser = torch.Generator().manual_seed(1), torch.optim.Adam(network.parameters(), lr=5e-3)
    updates = 800
    for update in range(updates):
        left = 1 - update / updates
        optimiser.param_groups[0]["lr"] = 5e-3 * left
        state, mask = loads(512, generator)
        if learned:
            scores, feasibility, _ = network.softened(vector=state)
            loss = mask_loss(feasibility, scores, mask)
        else:
            scores, loss = network(vector=state)[0], 0.0
        log_chances = scores.log_softmax(1)
        objective = log_chances.exp() * (SIZES - 0.6 * max(0.0, left - 0.4) * log_chances)
        optimiser.zero_grad()
        (loss - objective.sum(1).mean()).backward()
        optimiser.step()


def test_a_known_mask_is_learned_and_infeasible_actions_fade():
    example = {"vector": np.zeros((1, 2), np.float32)}
    masked, unmasked = build_learned_mask(example, HEAD, SETTINGS, 0), build_network(example, HEAD, SETTINGS, 0)
    train(masked, learned=True)
    train(unmasked, learned=False)
    state, mask = loads(20_000, torch.Generator().manual_seed(2))
    with torch.no_grad():
        accuracy = float(((masked.feasibility(vector=state) > 0) == mask).float().mean())
        soft, plain = masked(vector=state)[0].softmax(1), unmasked(vector=state)[0].softmax(1)
    infeasible, without = (float((chances * ~mask).sum(1).mean()) for chances in (soft, plain))
    share = float((soft * mask * SIZES).sum(1).mean() / (SIZES * mask).amax(1).mean())
    assert accuracy > 0.99
    assert infeasible < 0.01
    assert without > 0.9
    assert share > 0.93  # of the best feasible sizes: it did not retreat to what always fits

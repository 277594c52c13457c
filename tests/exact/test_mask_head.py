"""A predicted mask as a part of the settings: its loss by direct sums, what each way of training obeys, saving."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from interlock.core.actor_critic import focops, ppo
from interlock.core.actor_critic.config import MaskHeadSettings, NetworkSettings, PPOConfig
from interlock.core.actor_critic.learned_mask import LearnedMask, build_actor_critic, judge
from interlock.core.actor_critic.method_settings import FOCOPSConfig
from interlock.core.errors import UsageError
from interlock.core.evaluation.protocol import play
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy, load_network_policy
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.problem import build
from interlock.scenarios.loading import load_scenario

ACTIONS, ROWS = 6, 7


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def network_of(**settings):
    """A network with a predicted mask, inputs for it, and a random mask that leaves something feasible."""
    rng = np.random.default_rng(4)
    inputs = {"vector": rng.normal(size=(ROWS, 3)).astype(np.float32)}
    shape = NetworkSettings(hidden=(8,), mask_head=MaskHeadSettings(**settings))
    network = build_actor_critic(inputs, build_head(spaces.Discrete(ACTIONS), None), shape, seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.from_numpy(rng.normal(size=parameter.shape)).float())
    mask = rng.random((ROWS, ACTIONS)) < 0.5
    mask[:, 2] = True
    return network, {"vector": torch.from_numpy(inputs["vector"])}, torch.from_numpy(mask)


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def parts(network, inputs):
    """Raw scores of the policy and predicted chances, as float64 arrays."""
    with torch.no_grad():
        raw = network.network(**inputs, action_mask=torch.ones(ROWS, ACTIONS, dtype=torch.bool))[0]
        logits = network.predictor(**inputs, action_mask=torch.ones(ROWS, ACTIONS, dtype=torch.bool))[0]
    return raw.double().numpy(), 1.0 / (1.0 + np.exp(-logits.double().numpy()))


@pytest.mark.parametrize("train_with", ["true_mask", "predicted", "nothing"])
@pytest.mark.parametrize("feasible_entropy", [True, False])
def test_what_is_learned_from_by_direct_sums(train_with, feasible_entropy):
    network, inputs, mask = network_of(
        weight=5.0, infeasible_weight=0.02, train_with=train_with, feasible_entropy=feasible_entropy
    )
    judged = judge(network, {**inputs, "action_mask": mask})
    raw, chance = parts(network, inputs)
    known = mask.numpy()
    before = softmax(raw) if train_with == "nothing" else softmax(raw + np.log(chance))
    exact = np.where(known, before, 0.0) / np.where(known, before, 0.0).sum(axis=1, keepdims=True)
    error = np.mean((chance - known) ** 2)
    penalty = 5.0 * error + 0.02 * np.where(known, 0.0, before).sum(axis=1).mean()
    assert float(judged.penalty.detach()) == pytest.approx(penalty, rel=1e-5)
    expected = exact if train_with == "true_mask" else before
    assert judged.parameters.softmax(1).detach().numpy() == pytest.approx(expected, abs=1e-6)
    rewarded = exact if feasible_entropy else before
    assert judged.exploring.softmax(1).detach().numpy() == pytest.approx(rewarded, abs=1e-6)
    # The rollout follows the policy that is learned.
    played = network(**inputs, action_mask=mask)[0].softmax(1).detach().numpy()
    assert played == pytest.approx(expected, abs=1e-6)


def test_gradient_of_the_prediction_in_closed_form():
    network, inputs, mask = network_of(weight=3.0, infeasible_weight=0.7)
    seen = {}
    hook = network.predictor.actor.register_forward_hook(
        lambda module, given, logits: (logits.retain_grad(), seen.update(logits=logits))[1]
    )
    judge(network, {**inputs, "action_mask": mask}).penalty.backward()
    hook.remove()
    _, chance = parts(network, inputs)
    gradient = 3.0 * 2.0 * (chance - mask.numpy()) * chance * (1.0 - chance) / (ROWS * ACTIONS)
    assert seen["logits"].grad.numpy() == pytest.approx(gradient, rel=1e-4, abs=1e-8)


def test_without_weights_and_prediction_nothing_of_it_is_left():
    network, inputs, mask = network_of(weight=0.0, infeasible_weight=0.0, train_with="nothing", feasible_entropy=False)
    judged = judge(network, {**inputs, "action_mask": mask})
    raw, _ = parts(network, inputs)
    assert float(judged.penalty.detach()) == 0.0
    assert judged.exploring is judged.parameters
    assert judged.parameters.detach().numpy() == pytest.approx(raw, abs=1e-6)


# Playing -----------------------------------------------------------------------------------------------------------


class _Reads(torch.nn.Module):
    """A predictor that is always right, as the mask is one of its planes."""

    def forward(self, planes, action_mask):
        return torch.where(planes[:, 4].flatten(1) > 0.5, 1e4, -1e4), None


@pytest.fixture(scope="module")
def small():
    """Bins of 5 x 5 x 5 cells."""
    changes = {
        "bin": {"length": 5, "width": 5, "height": 5},
        "items": {"low": 1, "high": 3},
        "evaluation": {"test_instances": 60, "validation_instances": 20},
    }
    return build(load_scenario(DOMAIN, "cut2").with_changes(**changes))


AMOUNTS = {"num_envs": 16, "rollout": 16, "steps": 512, "validate_every": 512, "minibatch": 128}
SMALL = {"channels": (8,), "dense": 16}


def test_a_perfect_prediction_is_as_good_as_the_true_mask(small):
    config = PPOConfig(encoder="planes", network=SMALL, **AMOUNTS)
    exact = ppo.train(small, config, MemoryRun())
    settings = MaskHeadSettings(train_with="true_mask", decide_with="predicted")
    predicted = NetworkPolicy(
        LearnedMask(exact.network, _Reads(), floor=1e-12, settings=settings), exact.encoder, exact.description
    )
    assert predicted.network.blind
    known, guessed = (play(small, policy, split="test") for policy in (exact, predicted))
    assert guessed.metrics["ended_illegal"].sum() == 0
    np.testing.assert_array_equal(guessed.objective, known.objective)
    np.testing.assert_array_equal(guessed.steps, known.steps)


@pytest.mark.parametrize("decide_with", ["predicted", "true_mask"])
def test_trained_saved_and_loaded(small, tmp_path, decide_with):
    mask_head = {"decide_with": decide_with}
    config = PPOConfig(encoder="planes_unmasked", network={**SMALL, "mask_head": mask_head}, **AMOUNTS)
    policy = ppo.train(small, config, MemoryRun())
    policy.save(tmp_path)
    loaded = load_network_policy(tmp_path, small)
    first, second = (play(small, each, split="test") for each in (policy, loaded))
    np.testing.assert_array_equal(first.objective, second.objective)
    illegal = first.metrics["ended_illegal"].mean()
    if decide_with == "true_mask":
        assert illegal == 0
        assert loaded.unbundled is None
    else:  # after 512 steps the prediction is wrong now and then
        assert illegal > 0
        assert "predicted mask" in loaded.unbundled


def test_the_prediction_improves_while_learning(small):
    config = PPOConfig(
        encoder="planes_unmasked",
        network={**SMALL, "mask_head": {}},
        learning_rate=3e-3,
        imitation={"teacher": "linear12", "steps": 10240},
        **AMOUNTS,
    )
    policy = ppo.train(small, config, MemoryRun())
    environment = small.environment(200, seed=1, split="test")
    view, rule = environment.reset(), small.baselines()["linear12"](0)
    for _ in range(4):
        view = environment.step(rule.act(view)).observation
    inputs = {name: torch.from_numpy(array) for name, array in policy.encoder(view).items()}
    with torch.no_grad():
        chance = policy.network.feasibility(**inputs).sigmoid().numpy()
    truth = view["action_mask"]
    cells = truth.mean(axis=0)  # the best that a prediction can do that sees no height map
    assert np.mean((chance - truth) ** 2) < np.mean((cells - truth) ** 2)


def test_methods_that_would_not_train_it_refuse(small):
    config = FOCOPSConfig(encoder="planes_unmasked", network={**SMALL, "mask_head": {}}, steps=512)
    with pytest.raises(UsageError, match="focops does not train a predicted mask"):
        focops.train(small, config, MemoryRun())

"""The actor-critic against answers computed another way: hand-computed advantages, exact masks, known best policies."""

import numpy as np
import pytest
import torch

from interlock.core.actor_critic.advantages import generalised_advantages
from interlock.core.actor_critic.config import ImitationSettings, NetworkSettings, PPOConfig
from interlock.core.actor_critic.ppo import improve, train
from interlock.core.actor_critic.rollout import Rollout, View, collect
from interlock.core.actor_critic.signals import CostSignals
from interlock.core.errors import BadInput, Interrupted, UsageError
from interlock.core.evaluation.protocol import play
from interlock.core.heads import MASKED, mask_scores
from interlock.core.heads_discrete import CategoricalHead
from interlock.core.network_policy import NetworkPolicy, load_network_policy
from interlock.core.networks import ActorCritic, build_network
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing.bounds import exact_optimum
from interlock.domains.bin_packing.problem import build
from interlock.domains.bin_packing.scenario import BinPackingScenario

SCORER = {
    "num_envs": 128,
    "epochs": 3,
    "learning_rate": 5e-3,
    "final_learning_rate": 0.05,
    "kl_stop": 0.03,
    "gamma": 1.0,
    "gae_lambda": 0.9,
    "value_weight": 0.25,
    "entropy_weight": 0.01,
}
"""Settings that suit a scorer of actions, as in the preset mask_ppo."""

SMALL = PPOConfig(
    epochs=3,
    final_learning_rate=0.05,
    kl_stop=0.03,
    gae_lambda=0.9,
    value_weight=0.25,
    entropy_weight=0.01,
    network=NetworkSettings(hidden=(16,), dense=16),
    steps=2048,
    num_envs=16,
    rollout=16,
    minibatch=64,
    learning_rate=3e-3,
    gamma=0.5,
    validate_every=512,
)


# Generalised advantages -------------------------------------------------------------------------------------------


def random_trajectories(rng, steps=30, rows=7):
    terminated = rng.random((steps, rows)) < 0.15
    truncated = (rng.random((steps, rows)) < 0.1) & ~terminated
    signal, values, next_values = rng.normal(size=(3, steps, rows))
    return signal, values, next_values, terminated, terminated | truncated


def test_advantages_of_a_hand_computed_trajectory():
    # Truncated after step 2 (bootstraps on 5, the value of its final view), terminated after step 4.
    column = np.array
    advantages = generalised_advantages(
        column([[1.0], [2.0], [3.0], [4.0]]),
        column([[0.5], [1.0], [1.5], [2.0]]),
        column([[1.0], [5.0], [2.0], [9.0]]),
        column([[False], [False], [False], [True]]),
        column([[False], [True], [False], [True]]),
        gamma=0.5,
        decay=0.5,
    )
    deltas = [1 + 0.5 * 1 - 0.5, 2 + 0.5 * 5 - 1, 3 + 0.5 * 2 - 1.5, 4 - 2]
    expected = [deltas[0] + 0.25 * deltas[1], deltas[1], deltas[2] + 0.25 * deltas[3], deltas[3]]
    assert advantages[:, 0] == pytest.approx(expected)


def test_advantages_equal_a_scalar_loop_for_random_endings():
    rng = np.random.default_rng(0)
    signal, values, next_values, terminated, done = random_trajectories(rng)
    fast = generalised_advantages(signal, values, next_values, terminated, done, gamma=0.9, decay=0.7)
    for row in range(signal.shape[1]):
        running = 0.0
        for t in reversed(range(signal.shape[0])):
            following = 0.0 if terminated[t, row] else next_values[t, row]
            delta = signal[t, row] + 0.9 * following - values[t, row]
            running = delta + (0.0 if done[t, row] else 0.9 * 0.7 * running)
            assert fast[t, row] == pytest.approx(running, abs=1e-12)


def test_decay_one_gives_monte_carlo_and_decay_zero_one_step_errors():
    rng = np.random.default_rng(1)
    signal, values, _, _, _ = random_trajectories(rng)
    never = np.zeros(signal.shape, bool)
    ending = never.copy()
    ending[-1] = True
    next_values = np.vstack([values[1:], np.zeros((1, values.shape[1]))])
    monte_carlo = np.zeros(signal.shape)
    running = np.zeros(signal.shape[1])
    for t in reversed(range(len(signal))):
        running = signal[t] + 0.9 * running
        monte_carlo[t] = running
    full = generalised_advantages(signal, values, next_values, ending, ending, gamma=0.9, decay=1.0)
    assert full == pytest.approx(monte_carlo - values)
    single = generalised_advantages(signal, values, next_values, ending, ending, gamma=0.9, decay=0.0)
    assert single == pytest.approx(signal + 0.9 * next_values - values)


# Exact masks ------------------------------------------------------------------------------------------------------


def test_masked_actions_have_no_probability_and_no_gradient():
    scores = torch.randn(50, 6, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(50, 6) < 0.5
    mask[:, 0] = True
    log_softmax = torch.log_softmax(mask_scores(scores, mask), 1)
    assert float(log_softmax.detach().exp()[~mask].max()) < 1e-30
    (log_softmax[:, 0].sum() - (log_softmax.exp() * log_softmax).sum()).backward()
    assert float(scores.grad[~mask].abs().max()) == 0.0
    assert float(scores.grad[mask].abs().max()) > 0.0


def test_a_hundred_thousand_draws_are_never_masked_and_follow_the_softmax():
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True, False, True, True, False]])
    scores = mask_scores(torch.tensor([[0.0, 9.0, 1.0, -1.0, 9.0]]), mask)
    draws = CategoricalHead(5).sample(scores.expand(100_000, 5), generator)
    shares = torch.bincount(draws, minlength=5) / 100_000
    assert shares[~mask[0]].max() == 0.0
    assert shares.numpy() == pytest.approx(torch.softmax(scores, 1)[0].numpy(), abs=0.006)


def test_entropy_of_k_equal_feasible_actions_is_log_k():
    mask = torch.arange(8)[None] < torch.arange(1, 9)[:, None]
    log_softmax = torch.log_softmax(mask_scores(torch.zeros(8, 8), mask), 1)
    entropy = -(log_softmax.exp() * log_softmax).sum(1)
    assert entropy.numpy() == pytest.approx(np.log(np.arange(1, 9)), abs=1e-6)


def test_a_row_without_any_feasible_action_is_not_nan():
    assert torch.isfinite(
        torch.log_softmax(mask_scores(torch.randn(1, 4), torch.zeros(1, 4, dtype=torch.bool)), 1)
    ).all()


# Gradient and learning --------------------------------------------------------------------------------------------


class _Table(ActorCritic):
    """Softmax table over (3 states, 2 actions), in float64; the state comes one-hot."""

    def __init__(self):
        super().__init__(CategoricalHead(2))
        chances = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64)
        self.logits = torch.nn.Parameter(chances.log())

    def forward(self, vector, action_mask):
        scores = mask_scores(vector.double() @ self.logits, action_mask)
        return scores, torch.zeros(len(vector), 1, dtype=torch.float64)


def test_the_first_gradient_is_the_policy_gradient_of_an_enumerated_process():
    """Two decisions: state 0 leads to state 1 + a0, every trajectory appears in proportion to its probability.

    One full-batch pass of ``update`` with plain gradient steps must move the table along the gradient of the expected
    return, found here by finite differences.
    """
    reward = np.array([[0.2, 0.5], [1.0, -1.0], [0.3, 2.0]])

    def expected_return(table):
        chance = np.exp(table) / np.exp(table).sum(1, keepdims=True)
        return sum(chance[0, a] * (reward[0, a] + chance[1 + a] @ reward[1 + a]) for a in range(2))

    network = _Table()
    table = network.logits.detach().numpy().copy()
    chance = np.exp(table) / np.exp(table).sum(1, keepdims=True)
    paths = [(a, b) for a in range(2) for b in range(2)]
    copies = np.round([1000 * chance[0, a] * chance[1 + a, b] for a, b in paths]).astype(int)
    assert copies.tolist() == [125, 125, 150, 600]
    columns = np.repeat(np.arange(4), copies)
    states = np.array([[0] * len(columns), [1 + paths[c][0] for c in columns]])
    actions = np.array([[paths[c][0] for c in columns], [paths[c][1] for c in columns]])
    rewards = reward[states, actions]
    done = np.array([[False] * len(columns), [True] * len(columns)])
    zeros = np.zeros((*rewards.shape, 1))
    rollout = Rollout(
        inputs={"vector": np.eye(3, dtype=np.float32)[states], "action_mask": np.ones((*states.shape, 2), bool)},
        actions=actions,
        log_probabilities=np.log(chance[states, actions]),
        signals=rewards[..., None],
        values=zeros,
        next_values=zeros,
        terminated=done,
        done=done,
        memory=None,
        begun=np.zeros(done.shape, np.float32),
    )
    config = PPOConfig(
        epochs=1, minibatch=states.size, gamma=1.0, gae_lambda=1.0, entropy_weight=0.0, max_gradient=1e9, kl_stop=1e9
    )
    batch = rollout.batch(config)
    policy = NetworkPolicy(network, None, {})
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    improve(policy, optimiser, batch, batch.advantages[:, 0], config, np.random.default_rng(0))
    moved = network.logits.detach().numpy() - table
    gradient = np.zeros_like(table)
    for index in np.ndindex(*table.shape):
        shifted = [table.copy(), table.copy()]
        shifted[0][index] += 1e-5
        shifted[1][index] -= 1e-5
        gradient[index] = (expected_return(shifted[0]) - expected_return(shifted[1])) / 2e-5
    # The step is along the mean over decisions, of which a trajectory has two.
    assert 2 * moved / 1e-3 == pytest.approx(gradient, rel=1e-4, abs=1e-6)


def played(policy, environment, view, length):
    signals = CostSignals(environment.constraints, environment.num_envs)
    return collect(policy, environment, View.start(policy, view), length, signals)[0]


def test_probability_ratios_are_one_before_the_first_step(pick_problem):
    environment = pick_problem.environment(8, seed=0, split="train")
    view = environment.reset()
    encoder = pick_problem.encoders()["features"]
    network = build_network(encoder(view), CategoricalHead(5), NetworkSettings(hidden=(8,), dense=8), seed=0)
    rollout = played(NetworkPolicy(network, encoder, {}), environment, view, 12)
    batch = rollout.batch(SMALL)
    log_softmax = torch.log_softmax(network(**batch.inputs)[0], 1).detach().numpy()
    chosen = log_softmax[np.arange(96), rollout.actions.ravel()]
    assert np.exp(chosen - rollout.log_probabilities.ravel()) == pytest.approx(np.ones(96), abs=1e-5)
    assert batch.inputs["action_mask"].numpy()[np.arange(96), rollout.actions.ravel()].all()


def test_truncated_rows_bootstrap_on_their_final_view(pick_problem):
    environment = pick_problem.environment(4, seed=0, split="train")
    encoder = pick_problem.encoders()["features"]
    view = environment.reset()
    network = build_network(encoder(view), CategoricalHead(5), NetworkSettings(hidden=(8,)), seed=3)
    policy = NetworkPolicy(network, encoder, {})
    rollout = played(policy, environment, view, 3)
    final = pick_problem.environment(4, seed=0, split="train")._view(np.arange(4), np.full(4, 3))
    with torch.no_grad():
        expected = policy.network(torch.from_numpy(final["options"]), torch.from_numpy(final["action_mask"]))[1].numpy()
    assert rollout.done[2].all()
    assert not rollout.terminated.any()
    assert rollout.next_values[2] == pytest.approx(expected, abs=1e-6)
    assert rollout.next_values[0] == pytest.approx(rollout.values[1])


@pytest.mark.parametrize("encoder", ["features", "vector"])
def test_it_learns_the_best_pick(pick_problem, encoder):
    steps = 6_000 if encoder == "features" else 25_000
    policy = train(pick_problem, SMALL.model_copy(update={"encoder": encoder, "steps": steps}), MemoryRun(seed=0))
    found = play(pick_problem, policy, split="test").objective.mean()
    best = play(pick_problem, pick_problem.baselines()["best"](0), split="test").objective.mean()
    assert found > (0.97 if encoder == "features" else 0.75) * best


def test_imitation_reaches_its_teacher(pick_problem):
    imitation = ImitationSettings(teacher="best", steps=6000, minibatch=128, learning_rate=1e-2)
    run = MemoryRun(seed=0)
    train(pick_problem, SMALL.model_copy(update={"imitation": imitation, "steps": 1}), run)
    best = play(pick_problem, pick_problem.baselines()["best"](0), split="validation").objective.mean()
    assert run.curves[0]["eval/objective"] > 0.97 * best


@pytest.mark.parametrize(("teacher", "stop_after"), [(None, 4), ("best", 2), ("best", 6)])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(pick_problem, teacher, stop_after):
    # With a teacher there are 4 chunks of warm start, each with a checkpoint before it.
    config = SMALL.model_copy(update={"imitation": ImitationSettings(teacher=teacher, steps=4096, minibatch=256)})
    whole, halved = MemoryRun(seed=5), MemoryRun(seed=5, stop_after=stop_after)
    expected = train(pick_problem, config, whole).network.state_dict()
    with pytest.raises(Interrupted):
        train(pick_problem, config, halved)
    kept = len(halved.curves)
    halved.stop_after = None
    resumed = train(pick_problem, config, halved).network.state_dict()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert halved.curves == whole.curves
    assert kept < len(whole.curves)


def test_resuming_a_finished_run_changes_nothing(pick_problem):
    run = MemoryRun(seed=5)
    expected = train(pick_problem, SMALL, run).network.state_dict()
    rows = list(run.curves)
    again = train(pick_problem, SMALL, run).network.state_dict()
    assert run.curves == rows
    assert all(torch.equal(expected[name], again[name]) for name in expected)


def test_a_budget_spent_during_the_warm_start_keeps_it_for_a_longer_one(pick_problem):
    config = SMALL.model_copy(update={"imitation": ImitationSettings(teacher="best", steps=4096, minibatch=256)})
    expected = train(pick_problem, config, MemoryRun(seed=5)).network.state_dict()
    run = MemoryRun(seed=5, seconds=0.0)
    train(pick_problem, config, run)
    assert run.last.meta["chunk"] == 0
    assert [row["step"] for row in run.curves] == [0]
    run.seconds = None
    resumed = train(pick_problem, config, run).network.state_dict()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_a_policy_for_another_bin_item_range_or_preset_is_refused(tmp_path):
    _, policy = packing_policy("placements", 1)
    policy.save(tmp_path)
    for changes in ({"stability": "paper"}, {"items": {"low": 2, "high": 4}}, {"orientations": 2}):
        other = build(BinPackingScenario.model_validate({"name": "other", **changes}))
        with pytest.raises(BadInput, match=r"made for .*'bin': \[10, 10, 10\].*this scenario has"):
            load_network_policy(tmp_path, other)
    load_network_policy(tmp_path, build(BinPackingScenario(name="other", stream="rs")))


def test_validation_does_not_change_training(pick_problem):
    often, rarely = MemoryRun(seed=6), MemoryRun(seed=6)
    train(pick_problem, SMALL, often)
    train(pick_problem, SMALL.model_copy(update={"validate_every": 10_000}), rarely)

    def training(run):
        return [row for row in run.curves if "train/value_loss" in row]

    assert training(often) == training(rarely)
    assert len(often.curves) > len(rarely.curves)


def test_wrong_settings_are_named(pick_problem):
    with pytest.raises(UsageError, match="no baseline 'nobody' to imitate; this problem has"):
        train(pick_problem, SMALL.model_copy(update={"imitation": ImitationSettings(teacher="nobody")}), MemoryRun())
    with pytest.raises(UsageError, match="no encoder 'planes'"):
        train(pick_problem, SMALL.model_copy(update={"encoder": "planes"}), MemoryRun())
    with pytest.raises(UsageError, match="an encoder must give one of"):
        build_network({"pictures": np.zeros((1, 3))}, CategoricalHead(5), NetworkSettings(), 0)


# Saving and export ------------------------------------------------------------------------------------------------


def packing_policy(encoder, orientations):
    scenario = BinPackingScenario(name="test", orientations=orientations)
    problem = build(scenario)
    config = PPOConfig(**{**SCORER, "encoder": encoder, "steps": 1, "num_envs": 8, "rollout": 4})
    problem.scenario = scenario.with_changes(evaluation={"validation_instances": 2, "num_envs": 2})
    return problem, train(problem, config, MemoryRun(seed=1))


@pytest.mark.parametrize(("encoder", "orientations"), [("placements", 1), ("planes", 2)])
def test_saved_and_exported_networks_decide_alike(encoder, orientations, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    problem, policy = packing_policy(encoder, orientations)
    policy.save(tmp_path)
    loaded = load_network_policy(tmp_path, problem)
    described = policy.export_scorer(tmp_path)
    assert described["encoder"] == encoder
    session = onnxruntime.InferenceSession(tmp_path / described["file"], providers=["CPUExecutionProvider"])
    environment = problem.environment(250, seed=8, split="train")
    view = environment.reset()
    for _ in range(4):
        feed = {**policy.encoder(view), "action_mask": view["action_mask"]}
        scores, values = session.run(["scores", "value"], {name: feed[name] for name in described["inputs"]})
        mine = policy.parameters(view).numpy()
        assert scores == pytest.approx(mine, abs=1e-4)
        assert np.isfinite(values).all()
        assert (scores[~view["action_mask"]] == np.float32(MASKED)).all()
        action = policy.act(view)
        assert np.array_equal(scores.argmax(axis=1), action)
        assert np.array_equal(loaded.act(view), action)
        view = environment.step(policy.act(view, deterministic=False)).observation


def test_the_width_of_the_published_trunk_is_reproduced_at_the_recommended_size():
    problem = build(BinPackingScenario(name="test"))
    view = problem.environment(1, seed=0, split="train").reset()
    network = build_network(problem.encoders()["planes"](view), CategoricalHead(100), NetworkSettings(), seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(187_000, rel=0.02)


# Against the exact optimum ----------------------------------------------------------------------------------------


def test_tiny_packing_reaches_98_percent_of_the_exact_optimum():
    scenario = BinPackingScenario.model_validate(
        {
            "name": "tiny_3",
            "stream": "rs",
            "bin": {"length": 3, "width": 3, "height": 3},
            "items": {"low": 1, "high": 2},
            "evaluation": {"validation_instances": 2000},
        }
    )
    problem = build(scenario)
    policy = train(problem, PPOConfig(encoder="placements", steps=120_000, **SCORER), MemoryRun(seed=0))
    utilisation = play(problem, policy, split="test", count=20_000).objective.mean() / 100
    assert 0.98 * exact_optimum(scenario) < utilisation < exact_optimum(scenario) + 0.005

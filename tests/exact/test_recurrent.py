"""Networks with memory: what only they can solve, sequences against single steps, and what leaves the house."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_environments import SmallEnvironment, small_problem

from interlock.core.actor_critic.config import NetworkSettings, PPOConfig
from interlock.core.actor_critic.ppo import train
from interlock.core.actor_critic.rollout import View, collect
from interlock.core.actor_critic.signals import CostSignals
from interlock.core.errors import Interrupted
from interlock.core.evaluation.protocol import play
from interlock.core.heads_discrete import CategoricalHead
from interlock.core.network_policy import NetworkPolicy, load_network_policy
from interlock.core.networks import build_network
from interlock.core.training import MemoryRun

MEMORY = NetworkSettings(hidden=(16,), memory=16)
CONFIG = PPOConfig(
    network=MEMORY,
    steps=2048,
    num_envs=16,
    rollout=8,
    minibatch=32,
    learning_rate=3e-3,
    gamma=0.95,
    validate_every=512,
)


class Recall(SmallEnvironment):
    """The first of five views shows one of two cues; the last action earns 1 if it names the cue."""

    length, width = 5, 1

    def begin(self, rows):
        return (self.chance(rows) < 0.5).astype(float)[:, None]

    def view(self):
        first = self.time == 0
        cue = np.where(first, 2 * self.hidden[:, 0] - 1, 0.0)
        return {"vector": np.column_stack([cue, self.time == self.length - 1]).astype(np.float32)}

    def move(self, action):
        last = self.time == self.length - 1
        return (last & (action == self.hidden[:, 0])).astype(float), np.zeros((self.num_envs, 0))


class Uneven(Recall):
    """Rows of one batch are in different steps of their episodes, and are cut off at the end."""

    terminates = False

    def reset(self, *, seed=None):
        super().reset(seed=seed)
        self.time = np.arange(self.num_envs) % self.length
        return self.view()


def memory_policy(seed=0):
    network = build_network({"vector": np.zeros((1, 2), np.float32)}, CategoricalHead(2), MEMORY, seed)
    return enlarged(NetworkPolicy(network, lambda view: {"vector": view["vector"]}, {}))


def enlarged(policy):
    """With larger weights: the small first ones of an actor would hide what the memory does."""
    policy.load_weights({name: 3.0 * weights for name, weights in policy.weights().items()})
    return policy


def nothing_earned(environment, action):
    return np.zeros(environment.num_envs), np.zeros((environment.num_envs, 0))


def played(policy, rows=6, length=13):
    environment = Uneven(rows, seed=0, split="train")
    view = environment.reset()
    return collect(policy, environment, View.start(policy, view), length, CostSignals((), rows))[0]


# Learning ---------------------------------------------------------------------------------------------------------


def share_recalled(memory):
    problem, network = small_problem(Recall), NetworkSettings(hidden=(16,), memory=memory)
    amounts = {"steps": 20_000, "num_envs": 32, "rollout": 20, "minibatch": 320, "validate_every": 10**9}
    rule = {"learning_rate": 1e-2, "entropy_weight": 0.01, "kl_stop": 0.05}
    config = CONFIG.model_copy(update={"network": network, **amounts, **rule})
    return play(problem, train(problem, config, MemoryRun(seed=0)), split="test").objective.mean()


def test_a_memory_solves_what_no_memoryless_policy_can():
    assert share_recalled(memory=0) == pytest.approx(0.5, abs=0.05)
    assert share_recalled(memory=16) > 0.95


# Sequences --------------------------------------------------------------------------------------------------------


def random_sequences(count=5, length=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(count, length, 2, generator=generator)
    start = (torch.rand(count, length, generator=generator) < 0.3).float()
    memory = torch.randn(count, MEMORY.memory, generator=generator)
    return vector, memory, start


def unrolled(network, vector, memory, start):
    """One decision at a time, with the cell written out: Cho et al. 2014 as in torch's documentation."""
    cell, outputs, values = network.cell, [], []
    for t in range(vector.shape[1]):
        memory = torch.where(start[:, t, None] > 0, 0.0, memory)
        gates = vector[:, t] @ cell.weight_ih.T + cell.bias_ih
        kept = memory @ cell.weight_hh.T + cell.bias_hh
        (r_in, z_in, n_in), (r_kept, z_kept, n_kept) = gates.chunk(3, 1), kept.chunk(3, 1)
        reset, update = torch.sigmoid(r_in + r_kept), torch.sigmoid(z_in + z_kept)
        memory = (1 - update) * torch.tanh(n_in + reset * n_kept) + update * memory
        state = torch.cat([vector[:, t], memory], 1)
        outputs.append(network.actor(state))
        values.append(network.critic(state))
    return torch.stack(outputs, 1), torch.stack(values, 1), memory


def test_sequences_give_what_single_steps_give_and_their_gradients():
    network = memory_policy().network.double()
    vector, memory, start = (tensor.double() for tensor in random_sequences())
    expected = unrolled(network, vector, memory, start)
    found = network(vector.flatten(0, 1), memory, start.flatten())
    weights = [torch.randn(tensor.shape, dtype=torch.float64) for tensor in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.reshape(other.shape), other, atol=1e-12)
    gradients = []
    for results in (found, expected):
        loss = sum((one.reshape(w.shape) * w).sum() for one, w in zip(results, weights, strict=True))
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for one, other in zip(*gradients, strict=True):
        assert float(other.abs().max()) > 0
        assert torch.allclose(one, other, atol=1e-10)


def test_nothing_of_an_earlier_episode_is_remembered():
    network = memory_policy().network
    vector, memory, start = random_sequences()
    start[:, 3] = 1.0
    other = vector.clone()
    other[:, :3] += 1.0
    one, two = (network(v.flatten(0, 1), memory, start.flatten())[0].reshape(5, 7, -1) for v in (vector, other))
    assert torch.equal(one[:, 3:], two[:, 3:])
    assert not torch.allclose(one[:, :3], two[:, :3])


# Rollouts ---------------------------------------------------------------------------------------------------------


def test_ratios_are_one_before_the_first_step_whatever_the_minibatch():
    policy = memory_policy()
    environment, rows = Uneven(6, seed=0, split="train"), 6
    view = View.start(policy, environment.reset())
    for _ in range(2):  # the second rollout begins within episodes
        rollout, view = collect(policy, environment, view, 13, CostSignals((), rows))
        batch = rollout.batch(CONFIG)
        parts = list(batch.minibatches(26, np.random.default_rng(0)))
        assert [len(part) for part in parts] == [26, 26, 26]
        for part in parts:
            parameters, values = policy.network(**part.inputs)[:2]
            logarithm = policy.head.log_probability(parameters, part.actions)
            assert torch.allclose((logarithm - part.log_probability).exp(), torch.ones(26), atol=1e-5)
            advantages = (part.targets - values.detach()).numpy()
            assert advantages == pytest.approx(part.advantages.numpy(), abs=1e-5)


def test_values_at_the_end_of_an_episode_are_of_its_last_view_with_its_memory():
    policy = memory_policy()
    rollout = played(policy)
    vector, begun, done = rollout.inputs["vector"], rollout.begun, rollout.done
    assert done.any()
    assert not rollout.terminated.any()
    for t, row in np.argwhere(done):
        first = max((s for s in range(t + 1) if begun[s, row]), default=0)
        # The last view shows neither the cue nor, its time being over, the sign of the last step.
        seen = np.vstack([vector[first : t + 1, row], [[0.0, 0.0]]]).astype(np.float32)
        start = torch.zeros(len(seen))
        start[0] = 1.0
        with torch.no_grad():
            values = policy.network(torch.from_numpy(seen), torch.zeros(1, MEMORY.memory), start)[1]
        assert rollout.next_values[t, row] == pytest.approx(values[-1].numpy(), abs=1e-5)


def test_resuming_gives_the_weights_of_an_uninterrupted_run():
    problem = small_problem(Uneven, validation=20, rows=10)
    whole, halved = MemoryRun(seed=5), MemoryRun(seed=5, stop_after=7)
    expected = train(problem, CONFIG, whole).weights()
    with pytest.raises(Interrupted):
        train(problem, CONFIG, halved)
    halved.stop_after = None
    resumed = train(problem, CONFIG, halved).weights()
    assert halved.curves == whole.curves
    assert all(np.array_equal(expected[name], resumed[name]) for name in expected)


# Acting -----------------------------------------------------------------------------------------------------------


def test_rows_act_as_they_would_alone():
    policy = memory_policy()
    rng = np.random.default_rng(0)
    views = rng.normal(size=(12, 8, 2)).astype(np.float32)
    ends = rng.random((12, 8)) < 0.3
    together = []
    policy.reset()
    for view, end in zip(views, ends, strict=True):
        together.append(policy.parameters({"vector": view}).clone())
        policy.reset(np.flatnonzero(end))
    for row in range(8):
        policy.reset()
        for t in range(12):
            alone = policy.parameters({"vector": views[t, row : row + 1]})
            assert torch.allclose(alone[0], together[t][row], atol=1e-6)
            if ends[t, row]:
                policy.reset(np.array([0]))


def test_play_gives_the_same_whatever_the_number_of_rows():
    problem, policy = small_problem(Recall), memory_policy()
    few, many = (play(problem, policy, split="test", count=100, num_envs=rows) for rows in (3, 100))
    assert np.array_equal(few.objective, many.objective)


@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.Box(-1.0, 3.0, (2,), np.float32)])
def test_saved_and_exported_networks_remember_alike(space, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    problem = small_problem(type("Same", (Recall,), {"action_space": space, "move": nothing_earned}), validation=20)
    policy = enlarged(train(problem, CONFIG.model_copy(update={"steps": 256}), MemoryRun(seed=0)))
    policy.save(tmp_path)
    loaded = load_network_policy(tmp_path, problem)
    described = policy.export_scorer(tmp_path)
    assert described["inputs"] == ["vector", "memory", "start"]
    session = onnxruntime.InferenceSession(tmp_path / described["file"], providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    memory, start = np.zeros((1000, MEMORY.memory), np.float32), np.ones(1000, np.float32)
    for _ in range(5):
        vector = rng.normal(size=(1000, 2)).astype(np.float32)
        outputs = session.run(None, {"vector": vector, "memory": memory, "start": start})
        named = dict(zip([output.name for output in session.get_outputs()], outputs, strict=True))
        action = policy.act({"vector": vector})
        found = named["action"] if "action" in named else named["scores"].argmax(1)
        assert found == pytest.approx(action, abs=1e-5)
        assert np.array_equal(loaded.act({"vector": vector}), action)
        memory, start = named["memory_next"], (rng.random(1000) < 0.2).astype(np.float32)
        for each in (policy, loaded):
            each.reset(np.flatnonzero(start))

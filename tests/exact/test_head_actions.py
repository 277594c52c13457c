"""What the environment gets from a head: modes, boxes, the head that suits a space, and the same from ONNX Runtime."""

import warnings
from math import inf

import numpy as np
import pytest
import torch
from gymnasium import spaces
from head_cases import HEADS, WITH_CHOICE, everything, feasible, random_mask, random_parameters

from interlock.core.errors import UsageError
from interlock.core.heads import build_head
from interlock.core.heads_continuous import BetaHead, DirichletHead, GaussianHead, TanhGaussianHead
from interlock.core.heads_discrete import AutoregressiveHead, CategoricalHead, MultiDiscreteHead
from interlock.core.heads_hybrid import HybridHead

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
        (BOUNDED, "gaussian", {"log_std": "abc"}, "'gaussian': option log_std must be a finite number, got 'abc'"),
        (BOUNDED, "gaussian", {"log_std": float("nan")}, "log_std must be a finite number, got nan"),
        (BOUNDED, "tanh_gaussian", {"log_std": float("-inf")}, "'tanh_gaussian': option log_std .*, got -inf"),
        (BOUNDED, "gaussian", {"log_std": True}, "log_std must be a finite number, got True"),
        (BOUNDED, "gaussian", {"log_std": None}, "log_std must be a finite number, got None"),
        (spaces.Box(0, 1, (2,)), "dirichlet", {"unallocated": "no"}, "unallocated must be true or false, got 'no'"),
        (spaces.Box(0, 1, (2,)), "dirichlet", {"unallocated": 1.0}, "unallocated must be true or false, got 1.0"),
        (PAIR, None, {"part": 3}, "'hybrid': option part must be the name of a kind of head, or null, got 3"),
        (PAIR, None, {"part": "gaussian", "log_std": "x"}, "option log_std must be a finite number, got 'x'"),
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
    if name in WITH_CHOICE:
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

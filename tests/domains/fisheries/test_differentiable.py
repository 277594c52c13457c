"""The stocks in torch: the compiled environment's years on the same futures, and gradients against other ways."""

import numpy as np
import onnxruntime
import pytest
import torch

from interlock.core.errors import BadInput, Interrupted, UsageError
from interlock.core.pathwise.config import PathwiseConfig
from interlock.core.pathwise.method import train
from interlock.core.pathwise.policy import load_pathwise_policy
from interlock.core.training import MemoryRun
from interlock.domains.fisheries.differentiable import (
    WIDTH,
    FisheriesSimulator,
    Futures,
    futures_of,
    rule_forms,
)
from interlock.domains.fisheries.encoders import encoders
from interlock.domains.fisheries.problem import build
from interlock.operations.decide import Decider
from interlock.scenarios.export import write_bundle

CASES = {
    "one": ("one", {"model": {"kind": "one_species", "beta": 0.25, "sigma": 0.1}, "low_years": None}),
    "web": ("web", {"low_years": 5.0}),
    "one fishery": (
        "web",
        {"harvested": ["y"], "low_years": 5.0, "reward": "constrained", "prices": [2.0], "effort_costs": [0.1]},
    ),
    "drift": ("web", {"drift": [{"parameter": "r_x", "per_year": -0.02}, {"parameter": "c", "per_year": 0.01}]}),
    "capacity": (
        "web",
        {"model": {"kind": "food_web", "competition": "capacity"}, "low_years": 5.0, "collapse_probability": None},
    ),
    "cycle": ("web", {"model": {"kind": "food_web", "predator": "exogenous", "c_xy": 0.2, "d": 1.3}}),
    "uncertain": ("web", {"uncertainty": {"sd": 0.2, "runs": 10}}),
    "limited": (
        "web",
        {
            "low_years": 5.0,
            "limits": {"tac": 0.3, "max_change": 0.1},
            "observed": {"hidden": ["z"], "cv": 0.1},
            "harvested": ["y", "x"],
            "prices": [1.0, 3.0],
        },
    ),
}
YEARS, ROWS = 40, 200


def scenario_of(case, scenarios, **changes):
    kind, own = CASES[case]
    return getattr(scenarios, kind)(**{"horizon": YEARS, **own, **changes})


def harsh(weight, caught):
    """A rule that lets some stocks collapse: mortalities rise with the first stock and fall with the years."""

    def decide(view):
        x = view["stock"]
        share = weight[0] + weight[1] * torch.sin(3.0 * x[:, :1]) - weight[2] * view["year"] / YEARS
        return share * torch.linspace(1.0, 0.8, caught, dtype=x.dtype)

    return decide


@pytest.mark.parametrize("case", CASES)
def test_years_are_those_of_the_environment(case, scenarios):
    """Played on the noise of the same instances, with limits that are hardly smoothed."""
    scenario = scenario_of(case, scenarios)
    level = {"one": -0.12, "drift": 0.2}.get(case, 0.35)
    problem, decide = build(scenario), harsh(torch.tensor([level, 0.2, 0.1]), len(scenario.harvested))
    futures = futures_of(scenario, 3, "test", 0, ROWS, torch.float64)
    seen = []

    def watched(view):
        seen.append({name: values.numpy() for name, values in view.items()})
        return decide(view)

    played = FisheriesSimulator(scenario).play(watched, futures, smoothing=1e-9)
    environment = problem.environment(ROWS, seed=3, split="test")
    view, alive = environment.reset(), np.ones(ROWS, bool)
    reward, cost = np.zeros(ROWS), np.zeros((ROWS, len(problem.constraints)))
    for year in range(YEARS):
        for name, values in view.items():
            assert np.allclose(values[alive], seen[year][name][alive], rtol=0, atol=1e-11), (year, name)
        with torch.no_grad():
            action = decide({name: torch.from_numpy(values).double() for name, values in view.items()}).numpy()
        step = environment.step(action.clip(0, 1))
        reward[alive] += step.reward[alive]
        cost[alive] += step.cost[alive]
        view, alive = step.observation, alive & ~step.done
    assert np.allclose(played.reward.numpy(), reward, rtol=0, atol=1e-9)
    assert np.allclose(played.measured, cost, rtol=0, atol=1e-12)
    assert np.allclose(played.costs.numpy(), cost, rtol=0, atol=1e-9)
    if scenario.collapse_probability is not None and case not in ("one fishery", "cycle"):
        assert 0 < cost[:, 0].sum() < ROWS, "the comparison is about episodes that end early, too"


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_differences(case, scenarios):
    scenario = scenario_of(case, scenarios, horizon=25)
    simulator, futures = FisheriesSimulator(scenario), futures_of(scenario, 5, "train", 0, 20, torch.float64)

    def value(weight):
        played = simulator.play(harsh(weight, len(scenario.harvested)), futures)
        return played.reward.sum() + 3.0 * played.costs.sum()

    # Mortalities stay away from 0 and 1, where they have no derivative.
    start = torch.tensor([0.2, 0.05, 0.03], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(start), start)
    for k in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[k] = 1e-6
        with torch.no_grad():
            difference = float(value(start + step) - value(start - step)) / 2e-6
        assert float(gradient[k]) == pytest.approx(difference, rel=1e-5)


def test_gradient_of_one_year_is_the_formula(scenarios):
    """Of price M N - effort M - penalty sigmoid((limit - N') / width), N' being the growth of (1 - M) N."""
    r, k, beta, c, sigma, price, effort, stock, noise = 0.9, 1.2, 0.3, 0.2, 0.1, 1.5, 0.2, 0.09, -0.7
    scenario = scenarios.one(
        model={"kind": "one_species", "r": r, "k": k, "beta": beta, "c": c, "sigma": sigma},
        horizon=1, prices=[price], effort_costs=[effort], penalty=7.0,
    )  # fmt: skip
    exact = {"dtype": torch.float64}
    futures = Futures(
        torch.tensor([[stock]], **exact), torch.tensor([[[noise]]], **exact), None, torch.ones(1, 5, **exact)
    )
    share = torch.tensor([[0.4]], **exact, requires_grad=True)
    played = FisheriesSimulator(scenario).play(lambda view: share, futures)
    (gradient,) = torch.autograd.grad(played.reward.sum(), share)
    left = 0.6 * stock
    after = left + r * left * (1 - left / k) - beta * left**2 / (left**2 + c**2) + sigma * left * noise
    slope = 1 + r - 2 * r * left / k - 2 * beta * left * c**2 / (left**2 + c**2) ** 2 + sigma * noise
    collapsed = 1 / (1 + np.exp((after - 0.05) / WIDTH))
    expected = price * stock - effort - 7.0 * collapsed * (1 - collapsed) / WIDTH * slope * stock
    assert 0.05 < collapsed < 0.95
    assert float(gradient) == pytest.approx(expected, rel=1e-12)
    assert float(played.costs[0, 0].detach()) == pytest.approx(collapsed, rel=1e-12)


def test_encoders_are_the_same_in_torch(scenarios):
    for scenario in (
        scenarios.web(),
        scenarios.web(observed={"time": True, "hidden": ["z"]}, limits={"max_change": 0.1}),
    ):
        environment = build(scenario).environment(30, seed=1, split="train")
        view = environment.step(environment.reset()["stock"][:, :2] * 0.3).observation
        tensors = {name: torch.from_numpy(values) for name, values in view.items()}
        in_torch = encoders(scenario, torch)
        for name, encoder in encoders(scenario).items():
            assert np.allclose(in_torch[name](tensors)["vector"].numpy(), encoder(view)["vector"], atol=1e-6), name
    assert next(iter(encoders(scenario))) == "stock_time"
    assert next(iter(encoders(scenarios.web()))) == "stock"


def test_futures_are_new_in_every_update_and_the_same_when_asked_again(scenarios):
    simulator = FisheriesSimulator(scenarios.web(horizon=5))
    first, again, other, seed = (simulator.futures(seed, start, 8) for seed, start in ((1, 0), (1, 0), (1, 8), (2, 0)))
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.first, again.first)
    assert not torch.isin(other.noise, first.noise).any()
    assert not torch.isin(seed.noise, first.noise).any()


def test_escapement_leaves_what_the_network_says(scenarios):
    """Nothing is caught of a stock at or below its escapement; the names decide which stock is meant, not the order."""
    act = rule_forms(scenarios.web(harvested=["y", "x"], initial=[0.4, 0.5, 0.7]))["escapement"].act
    vector = torch.tensor([[0.8, 0.3, 0.7], [0.2, 1.0, 0.7]])
    left = torch.tensor([[0.4, 0.32], [0.4, 0.32]]) + torch.tensor([[0.05, 0.0], [0.0, -0.08]])
    output = torch.tensor([[0.1, 0.0], [0.0, -0.2]])
    expected = np.clip(1.0 - left.numpy() / vector[:, [1, 0]].numpy(), 0.0, 1.0)
    assert np.allclose(act(output, vector).numpy(), expected, atol=1e-6)
    assert (expected == 0.0).any()


def test_a_bound_holds_exactly_and_lets_go(scenarios):
    act = rule_forms(scenarios.one())["mortality"].act
    output = torch.tensor([[-5.0], [0.1], [9.0]], requires_grad=True)
    actions = act(output, torch.zeros(3, 1))
    assert actions.detach().flatten().tolist() == pytest.approx([0.0, 0.15, 1.0])
    assert actions[0].item() == 0.0
    actions.sum().backward()
    assert (output.grad > 0).all(), "a rule that closed a fishery can still learn to open it"


SMALL = {"updates": 6, "batch": 16, "hidden": [8], "validate_every": 2, "encoder": "units", "form": "escapement"}


def small(scenarios, **changes):
    sizes = {"test_instances": 20, "validation_instances": 20, "num_envs": 20}
    return build(scenarios.web(horizon=10, evaluation=sizes, **changes))


def test_a_trained_rule_is_saved_loaded_and_bundled(scenarios, tmp_path):
    problem = small(scenarios)
    policy = train(problem, PathwiseConfig.model_validate(SMALL), MemoryRun(seed=1))
    policy.save(tmp_path)
    loaded = load_pathwise_policy(tmp_path, problem)
    view = problem.environment(50, seed=3, split="test").reset()
    assert np.array_equal(loaded.act(view), policy.act(view))
    write_bundle(tmp_path / "bundle", problem=problem, policy=loaded, run_info={}, evidence_summary={})
    session = onnxruntime.InferenceSession(tmp_path / "bundle" / "policy.onnx")
    (given,) = session.run(["raw"], {"vector": policy.encoder(view)["vector"]})
    assert np.allclose(given, policy.act(view), atol=1e-6)
    answer = Decider(tmp_path / "bundle").decide({"year": 1, "stock": {"x": 0.6, "y": 0.5, "z": 0.7}})
    now = {"stock": np.array([[0.6, 0.5, 0.7]]), "year": np.array([[0]])}
    assert answer["proposal"] == pytest.approx(policy.act(now)[0].tolist(), abs=1e-6)
    with pytest.raises(BadInput, match="made for"):
        load_pathwise_policy(tmp_path, small(scenarios, observed={"hidden": ["z"]}))


def test_damaged_policies_are_refused(scenarios, tmp_path):
    problem = small(scenarios)
    train(problem, PathwiseConfig.model_validate({**SMALL, "updates": 1}), MemoryRun()).save(tmp_path)
    text = (tmp_path / "policy.json").read_text()
    for old, new, message in (
        ('"escapement"', '"nothing"', "no form of the rule 'nothing'"),
        ('"units"', '"stock"', "reads what the encoders units, units_time.* give"),
        ('"inputs": 3', '"inputs": 4', "made for 4 inputs; this scenario has 3"),
        ('"form": "escapement"', '"form": 3', "form must be text, got 3"),
    ):
        (tmp_path / "policy.json").write_text(text.replace(old, new))
        with pytest.raises(BadInput, match=message):
            load_pathwise_policy(tmp_path, problem)


def test_interrupted_training_goes_on_as_if_it_had_not_been(scenarios):
    problem, config = small(scenarios), PathwiseConfig.model_validate(SMALL)
    whole = train(problem, config, MemoryRun(seed=4))
    run = MemoryRun(seed=4, stop_after=3)
    with pytest.raises(Interrupted):
        train(problem, config, run)
    run.stop_after = None
    again = train(problem, config, run)
    assert all(np.array_equal(array, again.weights()[name]) for name, array in whole.weights().items())


def test_training_beats_constant_mortality_in_seconds(scenarios):
    """One species: the best constant mortality earns 4.6 there, the best escapement 6.02."""
    problem = build(
        scenarios.one(model={"kind": "one_species", "beta": 0.23}, evaluation={"validation_instances": 500})
    )
    run = MemoryRun(seed=1)
    settings = {"encoder": "units", "form": "escapement", "updates": 30, "batch": 64, "hidden": [16], "smoothing": 0.3}
    train(problem, PathwiseConfig.model_validate(settings), run)
    assert max(row["eval/best"] for row in run.curves if "eval/best" in row) > 5.9


def test_what_does_not_fit_is_refused(scenarios):
    for changes, message in (
        ({"form": "linear"}, "no form of the rule 'linear'; this problem has escapement, mortality, box"),
        ({"encoder": "stock"}, "reads what the encoders units, units_time.* give; the encoder is 'stock'"),
    ):
        with pytest.raises(UsageError, match=message):
            train(small(scenarios), PathwiseConfig.model_validate({**SMALL, **changes}), MemoryRun())

"""The pictures: that what is drawn are the numbers of the evidence and of the dispatch."""

from dataclasses import replace

import numpy as np
import pytest

from interlock.core.evaluation.evidence import evaluate_policies
from interlock.domains.hydro import figures, playback
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.problem import build
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.toy import toy_case

PATHS = 12


@pytest.fixture(scope="module", params=["toy", "generated", "bus1", "soc"])
def shown(request):
    """Problem, policies and evidence of small systems."""
    case = {"source": "generated", "n_hydro": 3} if request.param == "generated" else {"source": "toy"}
    network = request.param if request.param in ("bus1", "soc") else "dc"
    scenario = HydroScenario(
        name=request.param, case=case, network=network, horizon=8, reported_stages=6, baselines=("myopic", "mpc"),
        evaluation={"test_instances": PATHS, "validation_instances": 2},
    )  # fmt: skip
    problem = build(scenario)
    policies = {name: make(0) for name, make in problem.baselines().items()}
    return problem, policies, evaluate_policies(problem, policies)


def traces(figure, mode="lines"):
    """Named lines of a figure."""
    return {trace.name: trace for trace in figure.data if trace.name and trace.mode == mode}


def test_every_picture_can_be_drawn_and_sent(shown):
    problem, policies, evidence = shown
    drawn = {name: figure.draw(policies, evidence) for name, figure in problem.figures().items()}
    expected = {"storage", "cumulative", "generation", "water_value", "prices", "network", "difference", "inflows"}
    assert set(drawn) == expected - ({"network"} if problem.scenario.network == "bus1" else set())
    for figure in drawn.values():
        assert len(figure.data) > 0
        assert "NaN" not in figure.to_json()


def test_pictures_play_the_paths_of_the_evidence(shown):
    problem, policies, evidence = shown
    for name, policy in policies.items():
        played = playback.play(problem, policy, evidence.seed, evidence.split, PATHS)
        paired = evidence.outcomes[name].objective
        np.testing.assert_allclose(played.cost.sum(axis=1), paired[: len(played.cost)], rtol=1e-6)


def test_difference_so_far_ends_at_the_paired_mean(shown):
    problem, policies, evidence = shown
    figure = problem.figures()["cumulative"].draw(policies, evidence)
    best, other = list(evidence.policies)[:2]
    count = min(PATHS, 10 if problem.scenario.network == "soc" else PATHS)
    difference = evidence.outcomes[other].objective[:count] - evidence.outcomes[best].objective[:count]
    assert traces(figure)[other].y[-1] == pytest.approx(difference.mean(), rel=1e-5, abs=1e-4)
    assert f"less that of {best}" in figure.layout.yaxis.title.text


def test_histogram_holds_the_paired_differences(shown):
    problem, policies, evidence = shown
    figure = problem.figures()["difference"].draw(policies, evidence)
    best, other = list(evidence.policies)[:2]
    difference = evidence.outcomes[best].objective - evidence.outcomes[other].objective
    np.testing.assert_array_equal(figure.data[0].x, difference)
    assert figure.layout.xaxis.title.text.startswith(f"{best} less {other}")


def test_histogram_compares_the_policies_under_test_first():
    ranked = ["sddp", "ts_ddr", "mpc", "myopic"]
    assert figures.compared(["sddp", "ts_ddr"], ranked, "mpc") == ("ts_ddr", "sddp")
    assert figures.compared(["sddp"], ["mpc", "sddp", "myopic"], "mpc") == ("sddp", "mpc")
    assert figures.compared([], ["mpc", "myopic"], "mpc") == ("mpc", "myopic")


def test_generation_and_deficit_add_up_to_the_load(shown):
    """Without losses; with them, to a little more."""
    problem, policies, evidence = shown
    figure = problem.figures()["generation"].draw(policies, evidence)
    layers = sum(np.array(trace.y) for trace in figure.data if trace.stackgroup)
    load = np.array(traces(figure)["load"].y)
    lossy = problem.scenario.network == "soc"
    assert (layers >= load - 1e-4).all()
    np.testing.assert_allclose(layers, load, rtol=0.2 if lossy else 1e-6)


def test_energy_counts_all_turbines_on_the_way_down():
    """1 hm3 is 277.8 m3/s for an hour; upper water passes 2 and 3 MW per m3/s, lower water 3 alone."""
    case = make_case(2, 0)
    chain = np.array([[False, True], [False, False]])
    case = replace(case, hydros=replace(case.hydros, turbined_to=chain, production=np.array([2.0, 3.0])))
    energy = playback.stored_energy(case, np.array([1.0, 1.0]))
    assert energy == pytest.approx(np.array([5.0, 3.0]) / 3.6, rel=1e-12)


def test_price_bands_hold_every_unit_once_cheapest_first():
    case = make_case(3, 0)
    units = len(case.thermals.names)
    power = np.random.default_rng(0).uniform(0, 10, (2, 4, units))
    played = played_thermal(case, power)
    bands = playback.merit_bands(case, played, 4)
    np.testing.assert_allclose(sum(bands.values()), power.sum(axis=2))
    lowest = [float(label.split(" at ")[1].split()[0]) for label in bands]
    assert lowest == sorted(lowest)
    assert 2 <= len(bands) <= 4


def played_thermal(case, thermal) -> playback.Played:
    """Thermal power alone."""
    paths, stages, _ = thermal.shape
    plants, buses = np.zeros((paths, stages, len(case.hydros.names))), np.zeros((paths, stages, len(case.buses.names)))
    return playback.Played(plants, np.zeros((paths, stages)), plants, thermal, buses, buses, plants)


def test_use_of_branches_against_angles():
    """Angles of the linear equations of the toy network give the flows: the reference bus at 0."""
    case = toy_case()
    branches = case.branches
    thermal = np.array([[[30.0, 70.0], [90.0, 10.0]]])
    stiffness = 100 * branches.reactance / (branches.resistance**2 + branches.reactance**2)
    laplacian = np.zeros((3, 3))
    for k, (i, j) in enumerate(zip(branches.start, branches.end, strict=True)):
        laplacian[[i, j], [i, j]] += stiffness[k]
        laplacian[[i, j], [j, i]] -= stiffness[k]
    shares = []
    for g1, g2 in thermal[0]:
        angle = np.append(0.0, np.linalg.solve(laplacian[1:, 1:], [g1, g2 - 100.0]))
        shares.append(np.abs(stiffness * (angle[branches.start] - angle[branches.end])) / branches.rate)
    used, binding = playback.branch_use(case, played_thermal(case, thermal))
    np.testing.assert_allclose(used, np.mean(shares, axis=0))
    np.testing.assert_allclose(binding, np.mean(np.array(shares) > 0.999, axis=0))
    assert binding.max() > 0

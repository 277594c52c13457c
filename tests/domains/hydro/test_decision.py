"""The decision contract of dispatch: what is asked, what is refused, what the numbers of an answer mean."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.core.sddp.cuts import Cuts
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.decision import HydroDecision, build
from interlock.domains.hydro.instances import case_of, noises
from interlock.domains.hydro.power_flow import reactive_load
from interlock.domains.hydro.release import Plan, Release, changed_case
from interlock.domains.hydro.request import Request
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.stage_program import multistage
from interlock.domains.hydro.toy import toy_case

FIVE = HydroScenario(name="five", case={"source": "generated", "n_hydro": 5, "seed": 3}, horizon=12)
SYSTEM = case_of(FIVE)
TOY = HydroScenario(name="toy", horizon=4)


@pytest.fixture(scope="module")
def contract() -> HydroDecision:
    return HydroDecision(FIVE, SYSTEM)


def raw_of(case: Case, stage: int = 1, **more: Any) -> dict[str, Any]:
    low, high = case.hydros.min_volume, case.hydros.max_volume
    return {
        "case_hash": case.hash,
        "stage": stage,
        "volumes_hm3": (0.5 * (low + high)).tolist(),
        "inflow_m3s": case.inflows[(stage - 1) % case.cycle].mean(axis=0).tolist(),
        **more,
    }


def toy_request(volume: float, inflow: float, **more: Any) -> dict[str, Any]:
    return {"case_hash": toy_case().hash, "stage": 1, "volumes_hm3": [volume], "inflow_m3s": [inflow], **more}


def middling(contract: HydroDecision, request: Request) -> np.ndarray:
    target = contract.propose(request, np.zeros(len(request.volume)))
    assert target is not None
    return target


# ------------------------------------------------------------------------------------------------ requests


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"case_hash": "0" * 16}, "case_hash: got '0000000000000000', this policy is for "),
        ({"stage": 0}, "stage: got 0, expected a whole number from 1 to 12"),
        ({"stage": 13}, "stage: got 13, expected a whole number from 1 to 12"),
        ({"stage": "3"}, "stage: got '3', expected a whole number"),
        ({"calendar_week": 2}, "calendar_week: got 2, stage 1 is number 1 of "),
        ({"calendar_week": 0}, "calendar_week: got 0, expected a whole number from 1"),
        ({"volumes_hm3": [1.0]}, "volumes_hm3: got 1 numbers, expected 5 numbers [hm3], or an object by name"),
        ({"volumes_hm3": {"X": 1.0}}, "volumes_hm3: "),
        ({"volumes_hm3": [math.nan, 0, 0, 0, 0]}, f"volumes_hm3.{SYSTEM.hydros.names[0]}: got nan, expected a number"),
        (
            {"volumes_hm3": [-1, 0, 0, 0, 0]},
            f"volumes_hm3.{SYSTEM.hydros.names[0]}: got -1, expected a number from 0 to",
        ),
        ({"volumes_hm3": [1e5, 0, 0, 0, 0]}, f"volumes_hm3.{SYSTEM.hydros.names[0]}: got 100000, expected"),
        ({"inflow_m3s": [1e7, 0, 0, 0, 0]}, f"inflow_m3s.{SYSTEM.hydros.names[0]}: got 10000000.0, expected"),
        ({"inflow_m3s": [True, 0, 0, 0, 0]}, f"inflow_m3s.{SYSTEM.hydros.names[0]}: got True, expected a number"),
        ({"inflow_m3s": None}, "inflow_m3s: got None, expected 5 numbers [m3/s]"),
        ({"inflow_history_m3s": [[1.0] * 5]}, "inflow_history_m3s: got 1 rows, expected at most 0 before stage 1"),
        ({"inflow_history_m3s": 3}, "inflow_history_m3s: got 3, expected at most 0 before stage 1"),
        ({"stage": 3, "inflow_history_m3s": [[1.0] * 4]}, "inflow_history_m3s.0: got 4 numbers, expected 5"),
        ({"outages": ["GHC1"]}, "outages: 'GHC1' is no thermal unit; "),
        ({"outages": "all"}, "outages: got 'all', expected a list of names of thermal units"),
        ({"load_MW": [1.0]}, "load_MW: got 1 numbers, expected "),
        ({"load_MW": (SYSTEM.buses.load * 1e-4).tolist()}, "is the unit per unit or kW?"),
        ({"load_MW": (SYSTEM.buses.load - 1e4).tolist()}, "expected a number of at least 0 [MW]"),
        ({"deadline_ms": 0}, "deadline_ms: got 0, expected a number above 0 [ms]"),
        ({"schema_version": 2}, "schema_version: got 2, this policy understands 1"),
        ({"volume_hm3": []}, "volume_hm3: unknown field; did you mean 'volumes_hm3'?"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(contract: HydroDecision, change: Any, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        contract.parse({**raw_of(SYSTEM), **change})
    assert any(told in problem for problem in caught.value.problems), caught.value.problems


def test_all_problems_are_told_at_once(contract: HydroDecision) -> None:
    with pytest.raises(BadInput) as caught:
        contract.parse({"stage": 99, "volumes_hm3": [], "outages": 4, "x": 1})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "x", "case_hash", "inflow_m3s", "stage", "volumes_hm3", "outages"
    ]  # fmt: skip


def test_lists_and_objects_by_name_are_the_same(contract: HydroDecision) -> None:
    raw = raw_of(SYSTEM, 5, load_MW=(1.1 * SYSTEM.load(4)).tolist())
    by_name = {
        "volumes_hm3": dict(zip(SYSTEM.hydros.names, raw["volumes_hm3"], strict=True)),
        "inflow_m3s": dict(zip(SYSTEM.hydros.names, raw["inflow_m3s"], strict=True)),
        "load_MW": dict(zip(SYSTEM.buses.names, raw["load_MW"], strict=True)),
    }
    one, other = contract.parse(raw), contract.parse({**raw, **by_name})
    for entry in ("volume", "inflow", "load"):
        np.testing.assert_array_equal(getattr(one, entry), getattr(other, entry))


def test_rounding_of_a_volume_is_forgiven_and_unusual_inflows_are_flagged(contract: HydroDecision) -> None:
    low, high = SYSTEM.hydros.min_volume, SYSTEM.hydros.max_volume
    request = contract.parse(raw_of(SYSTEM, volumes_hm3=(high + 9e-7).tolist()))
    np.testing.assert_array_equal(request.volume, high)
    np.testing.assert_array_equal(contract.parse(raw_of(SYSTEM, volumes_hm3=(low - 9e-7).tolist())).volume, low)
    largest = SYSTEM.inflows.max(axis=(0, 1))
    for share, unusual in ((1.49, ()), (1.51, (SYSTEM.hydros.names[1],)), (-0.01, (SYSTEM.hydros.names[1],))):
        inflow = SYSTEM.inflows[0].mean(axis=0)
        inflow[1] = share * largest[1]
        request = contract.parse(raw_of(SYSTEM, inflow_m3s=inflow.tolist()))
        assert request.unusual == unusual
        target = middling(contract, request)
        if contract.check(request, target).feasible:
            answer = contract.answer(request, target, None)
            assert ("extrapolation" in answer["flags"], answer["unusual_inflows"]) == (bool(unusual), list(unusual))
    past = contract.parse(raw_of(SYSTEM, 2, inflow_history_m3s=[(2 * largest).tolist()]))
    assert past.unusual == SYSTEM.hydros.names


# ------------------------------------------------------------------------------------------------ answers


def test_values_of_water_and_power_are_derivatives_of_the_cost(contract: HydroDecision) -> None:
    """Two-sided differences; at a kink the price lies between the two."""
    checked = 0
    for raw in contract.sample_requests(12, 9):
        raw.pop("outages", None)
        raw["load_MW"] = contract.case.load(raw["stage"] - 1).tolist()
        request = contract.parse(raw)
        target = 0.5 * middling(contract, request) + 0.5 * request.volume.clip(max=middling(contract, request))
        if not contract.check(request, target).feasible:
            continue
        answer = contract.answer(request, target, None)
        hours, step = SYSTEM.stage_hours, 1e-4
        for plant in range(5):
            shifted = [target + side * step * np.eye(5)[plant] for side in (-1, 1)]
            if not all(contract.check(request, moved).feasible for moved in shifted):
                continue
            low, high = (contract.answer(request, moved, None)["expected_stage_cost"] for moved in shifted)
            left, right = (answer["expected_stage_cost"] - low) / step, (high - answer["expected_stage_cost"]) / step
            value = answer["water_value_per_hm3"][plant] / hours
            assert min(left, right) - 1e-2 <= value <= max(left, right) + 1e-2
            checked += 1
        bus = int(np.argmax(raw["load_MW"]))
        costs = []
        for side in (-1, 1):
            load = list(raw["load_MW"])
            load[bus] += side * 1e-3
            moved_request = contract.parse({**raw, "load_MW": load})
            assert contract.check(moved_request, target).feasible
            costs.append(contract.answer(moved_request, target, None)["expected_stage_cost"])
        slopes = [(answer["expected_stage_cost"] - costs[0]) / 1e-3, (costs[1] - answer["expected_stage_cost"]) / 1e-3]
        price = answer["nodal_price"][SYSTEM.buses.names[bus]]
        assert min(slopes) - 1e-2 <= price <= max(slopes) + 1e-2
    assert checked > 15


def test_an_outage_of_the_request_is_one_of_the_system(contract: HydroDecision) -> None:
    dearest = int(np.argmin(SYSTEM.thermals.cost))
    name = SYSTEM.thermals.names[dearest]
    planned = HydroDecision(FIVE, replace(SYSTEM, outages=((dearest, 3, 3),)))
    raw = raw_of(SYSTEM, 3, outages=[name])
    request, other = contract.parse(raw), planned.parse(raw_of(planned.case, 3))
    target = middling(contract, request)
    assert contract.check(request, target) == planned.check(other, target)
    one, two = contract.answer(request, target, None), planned.answer(other, target, None)
    assert one["thermal_MW"][name] == 0.0
    assert one["expected_stage_cost"] == pytest.approx(two["expected_stage_cost"], rel=1e-9)
    without = contract.parse(raw_of(SYSTEM, 3))
    assert contract.check(without, target).feasible
    assert contract.answer(without, target, None)["expected_stage_cost"] < one["expected_stage_cost"]


@pytest.mark.parametrize("varies", [False, True])
def test_reactive_load_follows_the_load_of_a_request(varies: bool) -> None:
    case = toy_case()
    buses = replace(case.buses, load=np.array([0.0, 40.0, 50.0]), reactive_load=np.array([3.0, 8.0, 5.0]))
    stage_load = np.array([[0.0, 20.0, 25.0], [0.0, 80.0, 75.0]]) if varies else None
    changed = changed_case(replace(case, buses=buses, stage_load=stage_load), 1, (), np.array([6.0, 60.0, 5.0]))
    assert changed.load(1).tolist() == [6.0, 60.0, 5.0]
    assert reactive_load(changed, 1).tolist() == pytest.approx([3.0, 12.0, 0.5])


def test_an_answer_depends_on_the_request_alone(contract: HydroDecision) -> None:
    fresh = HydroDecision(FIVE, SYSTEM)
    requests = contract.sample_requests(12, 21)
    for raw in reversed(requests):
        for name, rule in fresh.fallbacks().items():
            request = fresh.parse(raw)
            first = rule(request)
            again = contract.fallbacks()[name](contract.parse(raw))
            assert first is not None
            assert again is not None
            np.testing.assert_array_equal(first, again)
            verdict = fresh.check(request, first)
            assert verdict == contract.check(request, again)
            if verdict.feasible:
                other = contract.answer(contract.parse(raw), again, None)
                assert fresh.answer(request, first, None)["expected_stage_cost"] == pytest.approx(
                    other["expected_stage_cost"], rel=1e-9
                )


# ------------------------------------------------------------------------------------------------ release


def test_a_target_out_of_reach_is_not_released(contract: HydroDecision) -> None:
    request = contract.parse(raw_of(SYSTEM))
    target = middling(contract, request)
    assert contract.check(request, target).feasible
    for wrong in (
        SYSTEM.hydros.max_volume + 1.0,
        request.volume + 50.0,
        target - 1e3,
        target[:4],
        "all",
        [math.nan] * 5,
    ):
        verdict = contract.check(request, wrong)
        assert not verdict.feasible
        assert verdict.violations


def plan_of(contract: HydroDecision, request: Request, target: np.ndarray) -> Plan:
    answer = contract.answer(request, target, None)
    return Plan(
        target,
        np.array(answer["turbined_m3s"]),
        np.array(answer["spilled_hm3"]),
        np.array(list(answer["thermal_MW"].values())),
        np.array(list(answer["deficit_MW"].values())),
        answer["expected_stage_cost"],
    )


def test_every_rule_of_the_release_is_counted_again(contract: HydroDecision) -> None:
    request = contract.parse(raw_of(SYSTEM))
    target = middling(contract, request)
    assert contract.check(request, target).feasible
    plan, release = plan_of(contract, request, target), Release(SYSTEM, "dc")

    def told(**changes: Any) -> str:
        found = release.violations(0, request.volume, request.inflow, replace(plan, **changes), lambda: math.nan)
        return "; ".join(found)

    assert told() == ""
    name, unit = SYSTEM.hydros.names[0], SYSTEM.thermals.names[0]
    first, one = np.eye(5)[0], np.eye(len(SYSTEM.thermals.names))[0]
    assert f"water balance of {name}" in told(turbined=plan.turbined + 1e-5 * first)
    assert f"water balance of {name}" in told(spilled=plan.spilled + 1e-5 * first)
    assert f"water balance of {name}" in told(target=target + 1e-5 * first)
    assert f"end volume of {name}" in told(target=target + 1e4 * first)
    assert f"flow of {name}" in told(turbined=plan.turbined - 1e3 * first)
    assert f"spill of {name}" in told(spilled=plan.spilled - 1e3 * first)
    assert f"power of {unit}" in told(thermal=plan.thermal + 1e4 * one)
    assert "power balance at" in told(thermal=plan.thermal * 0.9)
    assert "cost: " in told(cost=plan.cost + 1.0)
    assert "holds what is not a number" in told(cost=math.nan)
    assert "deficit of" in told(deficit=plan.deficit - 1.0)
    assert "deficit of" in told(deficit=plan.deficit + SYSTEM.load(0) + 1.0)


def test_flows_are_those_of_the_nodal_balances() -> None:
    """Three buses in a triangle: one third of what goes from 1 to 3 takes the detour, if reactances are equal."""
    case = toy_case()
    branches = replace(case.branches, resistance=np.zeros(3), reactance=np.ones(3), rate=np.array([60.0, 60.0, 60.0]))
    case = replace(case, branches=branches)
    release = Release(case, "dc")
    surplus = np.array([90.0, 0.0, -90.0])
    np.testing.assert_allclose(release._factors @ surplus, [60.0, -30.0, 30.0])
    cost, k = 0.0, case.flow_to_volume

    def plan(turbined: float, second: float) -> Plan:
        end = np.array([0.54 - k * turbined])
        lacking = np.array([0.0, 0.0, 100.0 - turbined - second])
        return Plan(end, np.array([turbined]), np.zeros(1), np.array([0.0, second]), lacking,
                    100.0 * second + 1000.0 * lacking.sum() + cost)  # fmt: skip

    start, none = np.array([0.54]), np.zeros(1)
    assert release.violations(0, start, none, plan(80.0, 20.0), lambda: math.nan) == []
    tight = Release(replace(case, branches=replace(branches, rate=np.array([50.0, 60.0, 60.0]))), "dc")
    (told,) = tight.violations(0, start, none, plan(80.0, 20.0), lambda: math.nan)
    assert told == "flow of L1: 53.3333333 MW, expected -50 to 50"
    (told,) = release.violations(0, start, none, plan(80.0, 15.0), lambda: math.nan)
    assert told.startswith("deficit: 5 MW where 0 MW are enough; below their limits are G1 by 100 MW, G2 by 35 MW")


def test_a_deficit_that_the_network_forces_is_released_and_flagged() -> None:
    """Both units are far below their limits, but the branches to the load carry no more than 40 MW."""
    case = toy_case()
    case = replace(case, branches=replace(case.branches, rate=np.array([20.0, 20.0, 60.0])))
    units = replace(case.thermals, bus=np.array([1, 1]))
    contract = HydroDecision(TOY, replace(case, thermals=units))
    request = contract.parse({**toy_request(0.2, 40.0), "case_hash": contract.case.hash})
    target = middling(contract, request)
    assert contract.check(request, target).feasible
    answer = contract.answer(request, target, None)
    assert answer["flags"] == ["deficit"]
    assert answer["deficit_MW"]["B3"] == pytest.approx(60.0, abs=5.0)
    assert sum(answer["thermal_MW"].values()) < 100.0


def test_no_bus_sheds_more_than_its_load() -> None:
    """Relief would be cheapest at a bus with hardly any load: more than that load cannot be missing there."""
    case = toy_case()
    load = np.array([0.0, 0.01, 160.0])  # power fed in at bus 2 relieves the branch that holds hydro power back
    branches = replace(case.branches, rate=np.array([100.0, 100.0, 5.0]))
    case = replace(case, branches=branches, buses=replace(case.buses, load=load))
    contract = HydroDecision(TOY, case)
    request = contract.parse({**toy_request(0.3, 0.0), "case_hash": case.hash, "outages": ["G1"]})
    target = middling(contract, request)
    plain = contract._system(request).dispatch.solve(
        np.zeros(1, int), request.volume[None], request.inflow[None], target[None]
    )
    assert plain.deficit[0, 1] == pytest.approx(0.01)
    assert contract.check(request, target) == contract.check(request, target.tolist())
    assert contract.check(request, target).feasible
    answer = contract.answer(request, target, None)
    assert answer["deficit_MW"]["B2"] <= 0.01 + 1e-6
    assert answer["expected_stage_cost"] == pytest.approx(plain.cost[0])


def test_too_little_water_is_refused_with_the_plants_that_lack_it() -> None:
    case = toy_case()
    case = replace(case, hydros=replace(case.hydros, min_volume=np.array([0.1])))
    contract = HydroDecision(TOY, case)
    request = contract.parse({**toy_request(0.1, -5.0), "case_hash": case.hash})
    for rule in contract.fallbacks().values():
        action = rule(request)
        assert action is None or not contract.check(request, action).feasible
    assert contract.refuse(request)["refuse"]["reason"] == (
        "no end volumes could be released for this stage: H1 has 0.082 hm3 of 0.1 beside what comes from above"
    )


@pytest.mark.parametrize(("network", "package"), [("soc", "clarabel"), ("ac", "casadi")])
def test_losses_are_plausible_on_networks_that_have_them(network: str, package: str) -> None:
    pytest.importorskip(package)
    scenario = HydroScenario(name="toy", horizon=4, network=network)
    contract = HydroDecision(scenario, toy_case())
    request = contract.parse(toy_request(0.3, 40.0))
    target = middling(contract, request)
    assert contract.check(request, target).feasible
    plan = plan_of(contract, request, target)
    release = Release(toy_case(), network)
    fed = plan.turbined.sum() + plan.thermal.sum() + plan.deficit.sum()
    assert fed > 100.0
    gift = replace(plan, thermal=np.zeros(2), cost=plan.cost - 20 * plan.thermal[0] - 100 * plan.thermal[1])
    (told,) = release.violations(0, request.volume, request.inflow, gift, lambda: 0.0)
    assert told.startswith("power balance: -")
    needless = replace(plan, thermal=plan.thermal - [5.0, 0.0], deficit=plan.deficit + 5.0 * np.eye(3)[2],
                       cost=plan.cost + 5.0 * (1000.0 - 20.0))  # fmt: skip
    (told,) = release.violations(0, request.volume, request.inflow, needless, lambda: 0.0)
    assert told.startswith("deficit: 5 MW where 0 MW are enough")


# ------------------------------------------------------------------------------------------------ fallback rules


def test_the_rule_by_cuts_minimises_stage_cost_and_cost_to_go() -> None:
    """On a grid of end volumes of the only reservoir, with two cuts written by hand."""
    case = toy_case()
    cuts = Cuts(np.array([0, 0]), np.array([[-3000.0], [-800.0]]), np.array([1500.0, 700.0]), np.zeros((2, 1)))
    contract = HydroDecision(TOY, case, cuts=cuts)
    request = contract.parse(toy_request(0.4, 45.0))
    assert list(contract.fallbacks()) == ["sddp", "myopic_floor"]
    chosen = contract.fallbacks()["sddp"](request)
    assert chosen is not None

    def total(volume: float) -> float:
        assert contract.check(request, [volume]).feasible
        cost = contract.answer(request, np.array([volume]), None)["expected_stage_cost"]
        return float(cost + max(0.0, 1500.0 - 3000.0 * volume, 700.0 - 800.0 * volume))

    best = min(total(volume) for volume in np.linspace(0.28, 0.54, 200))
    assert total(chosen[0]) <= best + 1e-6
    later = contract.parse({**toy_request(0.4, 45.0), "stage": 2})
    assert contract.fallbacks()["sddp"](later) is None, "there are no cuts of stage 2"
    last = contract.parse({**toy_request(0.4, 45.0), "stage": 4})
    empty = contract.fallbacks()["sddp"](last)
    assert empty is not None
    alone = []
    for volume in [empty[0], *np.linspace(0.28, 0.54, 200)]:
        assert contract.check(last, [volume]).feasible
        alone.append(contract.answer(last, np.array([volume]), None)["expected_stage_cost"])
    assert alone[0] <= min(alone) + 1e-3, "nothing follows: the stage alone counts"


def test_the_rule_by_cuts_is_the_policy_that_was_trained() -> None:
    from interlock.core.sddp.simulation import simulate
    from interlock.solvers.highs import Highs

    case = toy_case()
    problem = multistage(case, "dc", 4, noises(case, 4))
    rng = np.random.default_rng(0)
    points = rng.random((40, 1)) * 0.54
    stage = np.repeat(np.arange(3), 14)[:40]
    slopes = -rng.random((40, 1)) * 4000.0
    cuts = Cuts(stage, slopes, 1000.0 + 500.0 * rng.random(40), points)
    contract = HydroDecision(TOY, case, cuts=cuts)
    paths = rng.random((20, 4, 1)) * 120.0
    played = simulate(problem, Highs(), cuts, paths)
    for path, states in zip(paths, played.states, strict=True):
        volume = case.hydros.initial_volume
        for t in range(4):
            raw = {
                "case_hash": case.hash,
                "stage": t + 1,
                "volumes_hm3": volume.tolist(),
                "inflow_m3s": path[t].tolist(),
            }
            target = contract.fallbacks()["sddp"](contract.parse(raw))
            assert target is not None
            assert target[0] >= states[t, 0] - 1e-6, "of equal plans the one that keeps more water"
            volume = states[t]


def test_the_rule_curve_is_followed_as_far_as_it_can_be_reached() -> None:
    curve = np.linspace(0.0, 1.0, SYSTEM.cycle)[:, None] * SYSTEM.hydros.max_volume
    contract = HydroDecision(FIVE, SYSTEM, curve=lambda: curve)
    low, high = SYSTEM.hydros.min_volume, SYSTEM.hydros.max_volume
    for raw in contract.sample_requests(30, 4):
        request = contract.parse(raw)
        target = contract.fallbacks()["rule_curve"](request)
        assert target is not None
        wanted = curve[request.stage % SYSTEM.cycle]
        assert (target >= low - 1e-12).all()
        assert (target <= high + 1e-12).all()
        assert (target <= np.maximum(wanted, low) + 1e-12).all()
        assert contract.check(request, target).feasible or "deficit" in str(contract.check(request, target).violations)


def test_the_last_rule_keeps_a_floor_where_there_is_water(contract: HydroDecision) -> None:
    full = raw_of(SYSTEM, volumes_hm3=SYSTEM.hydros.max_volume.tolist())
    request = contract.parse(full)
    target = contract.fallbacks()["myopic_floor"](request)
    assert target is not None
    reachable = contract._system(request).fallbacks.within_reach(
        SYSTEM.hydros.max_volume, request.volume, request.inflow
    )
    assert (target >= np.minimum(0.2 * SYSTEM.hydros.max_volume, reachable) - 1e-9).all()
    cheaper = [target + side * 0.05 * np.eye(5)[plant] for plant in range(5) for side in (-1.0, 1.0)]
    floor = np.minimum(0.2 * SYSTEM.hydros.max_volume, reachable)
    assert contract.check(request, target).feasible
    cost = contract.answer(request, target, None)["expected_stage_cost"]
    for other in cheaper:
        if (other >= floor).all() and contract.check(request, other).feasible:
            assert contract.answer(request, other, None)["expected_stage_cost"] >= cost - 1e-3
    dry = contract.parse(raw_of(SYSTEM, volumes_hm3=SYSTEM.hydros.min_volume.tolist(), inflow_m3s=[0.0] * 5))
    nothing = contract.fallbacks()["myopic_floor"](dry)
    assert nothing is not None
    np.testing.assert_allclose(nothing, SYSTEM.hydros.min_volume, atol=1e-9)


# ------------------------------------------------------------------------------------------------ assets


def test_assets_make_the_same_contract() -> None:
    rng = np.random.default_rng(1)
    cuts = Cuts(np.array([0, 1]), rng.normal(size=(2, 5)), rng.normal(size=2), rng.random((2, 5)))
    curve = rng.random((SYSTEM.cycle, 5)) * SYSTEM.hydros.max_volume
    one = HydroDecision(FIVE, SYSTEM, cuts=cuts, curve=lambda: curve)
    other = build(FIVE, one.assets())
    assert isinstance(other, HydroDecision)
    assert other.case.hash == SYSTEM.hash
    assert list(other.fallbacks()) == ["sddp", "rule_curve", "myopic_floor"]
    assert one.assets() == other.assets()
    for raw in one.sample_requests(8, 3):
        for name, rule in one.fallbacks().items():
            np.testing.assert_array_equal(rule(one.parse(raw)), other.fallbacks()[name](other.parse(raw)))


@pytest.mark.parametrize("network", ["bus1", "dc"])
def test_worth_of_what_is_left_does_not_lower_the_cost_that_is_told(network: str) -> None:
    """The last stage earns a terminal value; the decision is released, and tells what its operation costs."""
    worth = replace(toy_case(), terminal_value=np.array([50_000.0]))
    scenario = TOY.with_changes(network=network)
    told = {}
    for name, case in (("worth", worth), ("none", toy_case())):
        contract = HydroDecision(scenario, case)
        request = contract.parse({**toy_request(0.3, 40.0), "case_hash": case.hash, "stage": scenario.horizon})
        target = middling(contract, request)
        assert contract.check(request, target).feasible
        told[name] = contract.answer(request, target, None)["expected_stage_cost"]
    assert told["worth"] == pytest.approx(told["none"])

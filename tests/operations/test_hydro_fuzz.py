"""Thousands of requests and network outputs, sound and broken: what is released keeps every rule, counted in loops."""

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from interlock.domains.hydro.case import Case
from interlock.domains.hydro.scenario import HydroScenario
from interlock.operations.decide import Decider

REQUESTS = 1_500
BOLIVIA = Path(__file__).resolve().parents[3] / "shared" / "data" / "hydro" / "bolivia"


def breaches(case: Case, raw: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """What a released answer does wrong, from the raw request, the system and the answer's own words alone."""
    return wrong_water(case, raw, answer) + wrong_powers(case, raw, answer) + wrong_flows(case, raw, answer)


def wrong_water(case: Case, raw: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    hydros, k = case.hydros, 0.0036 * case.stage_hours
    start, inflow = named(raw["volumes_hm3"], hydros.names), named(raw["inflow_m3s"], hydros.names)
    end, flow, spill = answer["target_hm3"], answer["turbined_m3s"], answer["spilled_hm3"]
    found = []
    for r, name in enumerate(hydros.names):
        above = sum(k * flow[u] for u in range(len(flow)) if hydros.turbined_to[u][r])
        above += sum(spill[u] for u in range(len(flow)) if hydros.spilled_to[u][r])
        if abs(start[r] + k * inflow[r] + above - end[r] - k * flow[r] - spill[r]) > 2e-6:
            found.append(f"water of {name}")
        if not hydros.min_volume[r] - 1e-6 <= end[r] <= hydros.max_volume[r] + 1e-6 or spill[r] < -1e-6:
            found.append(f"volume or spill of {name}")
        if not hydros.min_turbine[r] - 1e-6 <= flow[r] <= hydros.max_turbine[r] + 1e-6:
            found.append(f"flow of {name}")
    return found


def limits(case: Case, raw: dict[str, Any]) -> list[float]:
    """MW of every thermal unit, planned outages and those of the request taken into account."""
    out = {case.thermals.names.index(name) for name in raw.get("outages", ())}
    out |= {unit for unit, first, last in case.outages if first <= raw["stage"] <= last}
    return [0.0 if g in out else float(most) for g, most in enumerate(case.thermals.max_power)]


def loads(case: Case, raw: dict[str, Any]) -> list[float]:
    return named(raw["load_MW"], case.buses.names) if "load_MW" in raw else case.load(int(raw["stage"]) - 1).tolist()


def wrong_powers(case: Case, raw: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    thermals, found = case.thermals, []
    for name, low, most in zip(thermals.names, thermals.min_power, limits(case, raw), strict=True):
        if not min(low, most) - 2e-3 <= answer["thermal_MW"][name] <= most + 2e-3:
            found.append(f"power of {name}")
    for name, load in zip(case.buses.names, loads(case, raw), strict=True):
        if not -2e-3 <= answer["deficit_MW"][name] <= max(0.0, load) + 2e-3:
            found.append(f"deficit of {name}")
    return found


def wrong_flows(case: Case, raw: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    hydros, thermals, branches, found = case.hydros, case.thermals, case.branches, []
    surplus = np.array([answer["deficit_MW"][name] for name in case.buses.names]) - loads(case, raw)
    for g, b in enumerate(thermals.bus):
        surplus[b] += answer["thermal_MW"][thermals.names[g]]
    for r, b in enumerate(hydros.bus):
        surplus[b] += hydros.production[r] * answer["turbined_m3s"][r]
    stiffness = case.base * branches.reactance / (branches.resistance**2 + branches.reactance**2)
    laplacian = np.zeros((len(surplus), len(surplus)))
    for e, (i, j) in enumerate(zip(branches.start, branches.end, strict=True)):
        laplacian[i, i] += stiffness[e]
        laplacian[j, j] += stiffness[e]
        laplacian[i, j] -= stiffness[e]
        laplacian[j, i] -= stiffness[e]
    angle = np.linalg.lstsq(laplacian, surplus, rcond=None)[0]
    if np.abs(laplacian @ angle - surplus).max() > 1e-2:
        found.append("power balance")
    for e, name in enumerate(branches.names):
        turn = angle[branches.start[e]] - angle[branches.end[e]]
        within = branches.min_angle[e] - 1e-4 <= turn <= branches.max_angle[e] + 1e-4
        if not within or abs(stiffness[e] * turn) > branches.rate[e] + 5e-3:
            found.append(f"flow of {name}")
    total = sum(answer["deficit_MW"].values())
    if total > 1e-3 and total > least_deficit(case, raw, answer["turbined_m3s"], laplacian, stiffness) + 1e-2:
        found.append("needless deficit")
    return found


def least_deficit(case: Case, raw: dict[str, Any], flow: Any, laplacian: Any, stiffness: Any) -> float:
    """MW that no dispatch of the thermal units can serve: variables are their powers, deficits and angles."""
    thermals, branches, load, most = case.thermals, case.branches, loads(case, raw), limits(case, raw)
    buses, units = len(load), len(most)
    balance = np.zeros((buses, units + 2 * buses))
    balance[thermals.bus, np.arange(units)] = 1.0
    balance[:, units : units + buses] = np.eye(buses)
    balance[:, units + buses :] = -laplacian
    needed = np.array(load, float)
    for r, b in enumerate(case.hydros.bus):
        needed[b] -= case.hydros.production[r] * flow[r]
    turn = np.zeros((len(stiffness), units + 2 * buses))
    for e in range(len(stiffness)):
        turn[e, units + buses + branches.start[e]], turn[e, units + buses + branches.end[e]] = 1.0, -1.0
    room = np.minimum(branches.rate / stiffness, branches.max_angle)
    bounds = [(min(thermals.min_power[g], most[g]), most[g]) for g in range(units)]
    bounds += [(0.0, max(0.0, value)) for value in load] + [(None, None)] * buses
    cost = np.concatenate([np.zeros(units), np.ones(buses), np.zeros(buses)])
    both = np.concatenate([room, room])
    solved = linprog(cost, np.vstack([turn, -turn]), both, balance, needed, bounds, method="highs")
    return float(solved.fun) if solved.status == 0 else np.inf


def named(value: Any, names: tuple[str, ...]) -> list[float]:
    return [value[name] for name in names] if isinstance(value, dict) else list(value)


JUNK: list[Any] = [None, True, "", "12,5", [], {}, [[]], -1, 0, 3, 2.5, 1e9, -1e9, float("nan"), float("inf"), 10**400]
JUNK += ["x" * 999, [1.0] * 5, [[1.0] * 5] * 3, {"a": 1}, b"bytes", {1, 2}, 1j, object(), [None] * 5, ["1"] * 5]


def junk(rng: random.Random) -> Any:
    return rng.choice(JUNK)


def changed(raw: dict[str, Any], case: Case, rng: random.Random) -> Any:
    """A request as it may come: mostly sound with unusual numbers, otherwise with something broken."""
    raw, plants = copy.deepcopy(raw), len(case.hydros.names)
    kind = rng.randrange(12)
    if kind == 0:
        raw["volumes_hm3"] = [
            rng.choice([low, high]) for low, high in zip(case.hydros.min_volume, case.hydros.max_volume, strict=True)
        ]
    elif kind == 1:
        raw["inflow_m3s"] = [value * rng.choice([0.0, 0.0, 0.3, 3.0, 30.0]) for value in raw["inflow_m3s"]]
    elif kind == 2:
        raw["inflow_m3s"] = [-rng.random() * 5 for _ in range(plants)]
    elif kind == 3:
        raw["outages"] = rng.sample(case.thermals.names, rng.randint(1, len(case.thermals.names)))
    elif kind == 4:
        raw["load_MW"] = [value * rng.choice([0.0, 0.5, 1.0, 1.5, 3.0]) for value in case.load(raw["stage"] - 1)]
    elif kind == 5:
        raw["volumes_hm3"] = dict(zip(case.hydros.names, raw["volumes_hm3"], strict=True))
        raw["deadline_ms"] = rng.choice([1e-6, 1e6])
    elif kind == 6:
        raw["volumes_hm3"][rng.randrange(plants)] = rng.choice([-0.1, 1e9, -5e-7, 1e-9])
    elif kind < 9:
        place = rng.choice([*raw, "hidden_state", "load_MW", "outages", "deadline_ms", "inflows"])
        raw[place] = junk(rng)
    elif kind == 9:
        del raw[rng.choice(list(raw))]
    elif kind == 10:
        rows = raw[rng.choice(["volumes_hm3", "inflow_m3s"])]
        rows[rng.randrange(plants)] = junk(rng)
    return raw if rng.random() > 0.01 else junk(rng)


@pytest.mark.parametrize("network", ["dc", "bus1"])
def test_nothing_that_breaks_a_rule_is_released(make_hydro_bundle: Callable[..., Path], network: str) -> None:
    scenario = HydroScenario(
        name="five", case={"source": "generated", "n_hydro": 5, "seed": 3}, network=network, horizon=20
    )
    decider = Decider(make_hydro_bundle(scenario))
    case, rng, numbers = decider.contract.case, random.Random(network), np.random.default_rng(8)
    step = decider.mind.step

    def wild(view: Any, memory: Any) -> Any:
        """Whatever a broken or untrained network may say."""
        output, after = step(view, memory)
        kind = numbers.integers(6)
        if kind == 0:
            output = numbers.normal(size=5) * 10.0 ** numbers.integers(-3, 300)
        elif kind == 1:
            output = output * np.where(numbers.random(5) < 0.3, np.nan, 1.0)
        return output, after

    decider.mind.step = wild
    decided: Counter[str] = Counter()
    count = REQUESTS if network == "dc" else REQUESTS // 3
    for raw in decider.contract.sample_requests(count, 12):
        request = changed(raw, case, rng)
        answer = decider.decide(request)
        json.dumps(answer, allow_nan=False)
        decided[answer["status"]] += 1
        decided[answer["source"]] += 1
        if answer["status"] == "released":
            grid = case if network == "dc" else one_bus(case)
            assert breaches(grid, one_bus_request(request, case, network), one_bus_answer(answer, network)) == []
        else:
            assert answer["action"] is None
            assert "target_hm3" not in answer
            assert answer["reason"]
    assert decided["released"] > count // 3
    assert decided["invalid"] > count // 10
    assert decided["refused"] > 0
    assert min(decided[name] for name in ("policy", "fallback:rule_curve")) > 50


@pytest.mark.skipif(not BOLIVIA.is_dir(), reason="the Bolivian system is not beside the repository")
def test_decisions_on_the_bolivian_system_keep_every_rule(make_hydro_bundle: Callable[..., Path]) -> None:
    """Congested, with units out of service and more load than usual: deficits where there is load for them."""
    scenario = HydroScenario(name="b", case={"source": "folder", "path": str(BOLIVIA)}, horizon=126)
    decider = Decider(make_hydro_bundle(scenario))
    case, rng, seen = decider.contract.case, random.Random(2), Counter[str]()
    for number, raw in enumerate(decider.contract.sample_requests(120, 3)):
        if number % 2:
            raw["outages"] = rng.sample(case.thermals.names, rng.randint(2, 8))
            raw["load_MW"] = (case.load(0) * rng.uniform(1.0, 1.3)).tolist()
        answer = decider.decide(raw)
        assert answer["status"] == "released", answer["reason"]
        assert breaches(case, raw, answer) == []
        seen.update([answer["source"], *answer["flags"]])
    assert seen["deficit"] > 20
    assert seen["policy"] > 100


def test_the_count_in_loops_notices_every_kind_of_breach(hydro_decider: Decider) -> None:
    case, seen = hydro_decider.contract.case, set()
    for raw in hydro_decider.contract.sample_requests(30, 2):
        answer = hydro_decider.decide(raw)
        assert breaches(case, raw, answer) == []
        for entry in ("target_hm3", "turbined_m3s", "spilled_hm3"):
            wrong = copy.deepcopy(answer)
            wrong[entry][2] += 1e-3
            assert f"water of {case.hydros.names[2]}" in breaches(case, raw, wrong)
        unit, bus = case.thermals.names[0], case.buses.names[int(np.argmax(case.load(0)))]
        for change in (5.0, -5.0, 5e3):  # more of one power and less of another: balanced, but a flow or a limit breaks
            wrong = copy.deepcopy(answer)
            wrong["thermal_MW"][unit] += change
            assert breaches(case, raw, wrong)
            wrong["deficit_MW"][bus] -= change
            seen |= {found.split()[0] for found in breaches(case, raw, wrong)}
    assert seen == {"power", "deficit", "flow", "needless"}


def one_bus(case: Case) -> Case:
    """The same system with everything at one bus."""
    buses, branches = case.buses, case.branches
    first = {name: getattr(buses, name)[:1] for name in buses.__dataclass_fields__}
    first["load"] = np.array([buses.load.sum()])
    none = {name: getattr(branches, name)[:0] for name in branches.__dataclass_fields__}
    return replace(
        case,
        buses=replace(buses, **first),
        branches=replace(branches, **none),
        hydros=replace(case.hydros, bus=0 * case.hydros.bus),
        thermals=replace(case.thermals, bus=0 * case.thermals.bus),
    )


def one_bus_request(raw: dict[str, Any], case: Case, network: str) -> dict[str, Any]:
    if network == "dc" or "load_MW" not in raw:
        return raw
    return {**raw, "load_MW": [sum(named(raw["load_MW"], case.buses.names))]}


def one_bus_answer(answer: dict[str, Any], network: str) -> dict[str, Any]:
    if network == "dc":
        return answer
    first = next(iter(answer["deficit_MW"]))
    return {**answer, "deficit_MW": {first: sum(answer["deficit_MW"].values())}}

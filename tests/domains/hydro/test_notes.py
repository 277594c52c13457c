"""Notes about a system: each is told where its condition holds, and is borne out by the program of a stage."""

from dataclasses import replace

import numpy as np
import pytest

from interlock.core.errors import StageInfeasible
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.dispatch import open_dispatch
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.notes import system_notes
from interlock.domains.hydro.problem import build
from interlock.domains.hydro.scenario import HydroScenario
from interlock.domains.hydro.toy import toy_case
from interlock.domains.hydro.water import clip_to_reach, water_of


def cascade(load: float) -> Case:
    """Two plants of 80 MW each; the turbined water of the first goes to the second, its spilled water to nobody."""
    case = toy_case()
    hydros = case.hydros
    twice = {
        name: np.repeat(getattr(hydros, name), 2)
        for name in hydros.__dataclass_fields__
        if name not in ("names", "turbined_to", "spilled_to")
    }
    below = np.array([[False, True], [False, False]])
    return replace(
        case,
        hydros=replace(hydros, names=("H1", "H2"), turbined_to=below, spilled_to=np.zeros((2, 2), bool), **twice),
        buses=replace(case.buses, load=case.buses.load * load / case.buses.load.sum()),
        inflows=np.repeat(case.inflows, 2, axis=2),
    )


def refused(case: Case, target: np.ndarray, volume: np.ndarray) -> bool:
    """Whether one bus has no dispatch that ends there."""
    try:
        open_dispatch(case, "bus1", 1).solve(np.zeros(1, int), volume, np.zeros((1, 2)), target)
    except StageInfeasible:
        return True
    return False


@pytest.mark.parametrize(("load", "told"), [(79.0, True), (81.0, False)])
def test_water_whose_power_cannot_be_delivered(load, told):
    """What the first plant can turbine fills the second: reachable, but not where load is below its power."""
    case = cascade(load)
    full = case.flow_to_volume * case.hydros.max_turbine[0]
    case = replace(case, hydros=replace(case.hydros, max_volume=np.array([full, full])))
    volume, target = np.array([[full, 0.0]]), np.array([[0.0, full]])
    assert clip_to_reach(np, water_of(case), target, volume, np.zeros((1, 2))) == pytest.approx(target)
    assert refused(case, target, volume) == told
    notes = system_notes(case, "bus1", 1)
    assert [note.startswith("plants whose turbined water alone goes on to another plant (H1)") for note in notes] == (
        [True] if told else []
    )
    both = replace(case, hydros=replace(case.hydros, spilled_to=case.hydros.turbined_to))
    assert system_notes(both, "bus1", 1) == []
    assert not refused(both, target, volume)


def test_units_that_must_give_more_than_the_load():
    case = toy_case()
    case = replace(case, thermals=replace(case.thermals, min_power=np.array([40.0, 20.0]), max_power=np.full(2, 100.0)))
    case = replace(case, stage_load=np.array([[30.0, 30.0, 30.0], [10.0, 20.0, 25.0]]))
    assert system_notes(case, "bus1", 1) == []
    (note,) = system_notes(case, "bus1", 2)
    assert "give at least 60 MW together, above its smallest load of 55 MW" in note
    dispatch = open_dispatch(case, "bus1", 2)
    volume, inflow = case.hydros.initial_volume[None], np.zeros((1, 1))
    assert dispatch.solve(np.array([0]), volume, inflow, volume).cost.shape == (1,)
    with pytest.raises(StageInfeasible):
        dispatch.solve(np.array([1]), volume, inflow, volume)


def test_every_island_has_its_own_least_power():
    case = make_case(5, seed=3)
    far = int(case.thermals.bus[0])
    kept = (case.branches.start != far) & (case.branches.end != far)
    fields = {name: np.asarray(getattr(case.branches, name))[kept] for name in case.branches.__dataclass_fields__}
    fields["names"] = tuple(fields["names"].tolist())
    cut = replace(case, branches=replace(case.branches, **fields))
    must = np.where(cut.thermals.bus == far, cut.buses.load[far] + 1.0, 0.0) * (np.arange(len(cut.thermals.names)) == 0)
    cut = replace(cut, thermals=replace(cut.thermals, min_power=must))
    (note,) = system_notes(cut, "dc", 3)
    assert f"the island of {cut.buses.names[far]} give" in note
    assert system_notes(cut, "bus1", 3) == []
    assert system_notes(case, "dc", 3) == []


@pytest.mark.parametrize("values", [{"tap": np.array([1.0, 0.98, 1.0])}, {"shift": np.array([0.0, 0.05, 0.0])}])
@pytest.mark.parametrize("network", ["bus1", "dc"])
def test_transformers_that_a_linear_network_leaves_out(values, network):
    case = toy_case()
    changed = replace(case, branches=replace(case.branches, **values))
    name = case.branches.names[1]
    assert system_notes(changed, network, 1) == [
        f"network {network} leaves out the tap and the shift of branches {name}"
    ]
    assert system_notes(changed, "ac", 1) == system_notes(case, network, 1) == []


def test_notes_reach_the_evidence():
    """The load factor of the scenario counts."""
    settings = {"name": "ten", "case": {"source": "generated", "n_hydro": 10, "seed": 1}, "horizon": 3}
    assert not any("turbined water alone" in note for note in build(HydroScenario(**settings)).notes)
    light = HydroScenario(**settings, load_factor=0.1)
    assert any("turbined water alone" in note for note in build(light).notes)

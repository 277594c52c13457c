"""From a scenario to what is played: the system, and its inflows path by path."""

import difflib
from dataclasses import replace
from pathlib import Path

from interlock.core.data_home import data_home
from interlock.core.environment import Split
from interlock.core.errors import BadInput, UsageError
from interlock.core.multistage.stage import Noise
from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.case_file import case_from_json
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.inflows import draw_history, draw_independent, draw_persistent
from interlock.domains.hydro.scenario import (
    DataSetCase,
    FolderCase,
    GeneratedCase,
    HydroScenario,
    InlineCase,
)
from interlock.domains.hydro.toy import toy_case
from interlock.domains.hydro.userdata import read_case


def case_of(scenario: HydroScenario, data: Path | None = None) -> Case:
    """The system of a scenario, its inflow factor, load factor and outages applied.

    Args:
        scenario: the numbers.
        data: folder of a system to take instead of the scenario's own.

    Raises:
        BadInput: the folder has problems, or the scenario names a thermal unit that is not there; all are listed.
        UsageError: the scenario names a data set that is not here.
    """
    return open_case(scenario, data)[0]


def open_case(scenario: HydroScenario, data: Path | None = None) -> tuple[Case, tuple[str, ...]]:
    """The system of a scenario as ``case_of``, and what a reader should know about it, one sentence each."""
    case, notes = _source(scenario, data)
    factor = scenario.load_factor
    buses = replace(case.buses, load=case.buses.load * factor, reactive_load=case.buses.reactive_load * factor)
    case = replace(
        case,
        buses=buses,
        stage_load=None if case.stage_load is None else case.stage_load * factor,
        inflows=case.inflows * scenario.inflows.factor,
        outages=(*case.outages, *_outages(scenario, case)),
    )
    if scenario.horizon > case.cycle:
        notes += (
            f"{scenario.horizon} stages are more than the {case.cycle} of the inflow cycle: stage t takes row "
            f"((t - 1) mod {case.cycle}) + 1",
        )
    if case.stage_load is not None and scenario.horizon > len(case.stage_load):
        notes += (
            f"{scenario.horizon} stages are more than the {len(case.stage_load)} of stage_demand.csv: it starts again",
        )
    return case, notes


def inflow_paths(scenario: HydroScenario, case: Case, seed: int, split: Split, first: int, count: int) -> Array:
    """Inflows in m3/s ``(count, horizon, plants)`` of paths ``first .. first + count - 1``.

    Path ``k`` depends on ``(seed, split, k)`` alone. Independent test paths follow the published protocol: their
    scenario numbers are rows of ``numpy.random.default_rng(seed).integers(scenarios, size=(paths, stages))`` (where
    scenarios are equally likely).

    Args:
        scenario: gives the process and the horizon.
        case: of the scenario, as ``case_of`` made it.
        seed: of the split.
        split: training, validation and test paths differ even where seeds agree.
        first: number of the first path.
        count: of paths.
    """
    process = scenario.inflows.process
    if process == "independent":
        return draw_independent(case, scenario.horizon, seed, split, first, count)
    if process == "persistent":
        return draw_persistent(case, scenario.inflows.phi, scenario.horizon, seed, split, first, count)
    return draw_history(case, scenario.horizon, seed, split, first, count)


def noises(case: Case, horizon: int) -> tuple[Noise, ...]:
    """What each stage may see if stages are independent; equal stages of the cycle share one object."""
    cycle = [Noise(case.inflows[row], case.probabilities[row]) for row in range(case.cycle)]
    return tuple(cycle[t % case.cycle] for t in range(horizon))


def data_set_folder(name: str) -> Path:
    """Where the files of a published system are kept."""
    return data_home() / "hydro" / name


def _source(scenario: HydroScenario, data: Path | None) -> tuple[Case, tuple[str, ...]]:
    chosen, history = scenario.case, scenario.inflows.process == "history"
    if data is not None:
        return read_case(data, history=history)
    if isinstance(chosen, FolderCase):
        return read_case(Path(chosen.path), history=history)
    if isinstance(chosen, DataSetCase):
        folder = data_set_folder(chosen.name)
        if not (folder / "case.json").is_file():
            raise UsageError(
                f"data set {chosen.name} is not in {folder}: put it there with `interlock data hydro-{chosen.name} "
                f"--from DIR`, where DIR holds the folder {chosen.name}, or name that folder: "
                "--set 'case={source: folder, path: FOLDER}'"
            )
        return read_case(folder, history=history)
    if isinstance(chosen, InlineCase):
        return case_from_json(chosen.values), ()
    if isinstance(chosen, GeneratedCase):
        return make_case(chosen.n_hydro, chosen.seed), ()
    return toy_case(), ()


def _outages(scenario: HydroScenario, case: Case) -> list[tuple[int, int, int]]:
    names = case.thermals.names
    problems = []
    for k, outage in enumerate(scenario.outages):
        if outage.unit not in names:
            near = difflib.get_close_matches(outage.unit, names, n=1)
            known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            hint = f"did you mean {near[0]}?" if near else f"there are: {known}"
            problems.append(f"outages.{k}.unit: {outage.unit!r} is no thermal unit of {case.name}; {hint}")
    if problems:
        raise BadInput(f"scenario {scenario.name}", problems)
    return [(names.index(outage.unit), outage.from_stage, outage.to_stage) for outage in scenario.outages]

"""Making a run, or going on with one, from what was typed; showing what came of it."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from interlock.core.errors import UsageError
from interlock.core.problem import DomainInfo, Verb
from interlock.scenarios import journey, loading, plugins, record
from interlock.scenarios.cli_options import Asked, asked, folder
from interlock.scenarios.running import seconds_of
from interlock.scenarios.screen import Screen
from interlock.scenarios.store import RunFolder, RunStore

if TYPE_CHECKING:
    from interlock.core.problem import Problem


def make_run(context: typer.Context, verb: str) -> None:
    """Make a run, or go on with one, and show what came of it.

    Args:
        context: of the command: its options, its domain, what was typed.
        verb: a key of ``journey.STAGES``, or a ``Verb`` of the domain.

    Raises:
        Exit: with code 5 if the time budget was spent.
    """
    domain: DomainInfo = context.obj
    options = asked(context)
    screen = Screen(as_json=options.as_json, quiet=options.quiet)
    row = record.find_row(domain.name, options.record) if options.record else None
    if options.out:
        journey.check_target(Path(options.out), trains="train" in journey.stages_of(domain, verb))
    with redirect_stdout(sys.stderr):  # whatever methods, domains and libraries print
        if options.resume:
            work = _resumed(domain, verb, options, screen)
        else:
            work = _started(domain, verb, options, screen, context.find_root().obj)
        run = work.folder
        screen.say(f"run {run.id}")
        journey.carry_out(work)
    evidence = journey.evidence_of(run) if "compare" in journey.stages_of(domain, verb) else None
    if evidence is not None:
        from interlock.scenarios.console import evidence_table

        screen.show(evidence_table(evidence))
    screen.result(journey.result(run, evidence))
    if row is not None and evidence is not None:
        screen.say(record.record_evidence(row, evidence, run.record))
    if options.out:
        journey.copy_results(run, Path(options.out))
    _tell(screen, run)
    if run.record.get("budget_spent"):
        screen.say(f"time budget spent, best policy so far kept; more: --resume {run.id} --budget TIME")
        raise typer.Exit(5)


def stored(domain: DomainInfo, run: str, store: str, *, with_data: bool) -> tuple[RunFolder, Problem]:
    """A run of this domain and its problem, over the run's own instance file if asked for.

    Raises:
        UsageError: there is no such run, or it is of another domain.
        BadInput: the instances have changed since the run began.
    """
    found = RunStore(folder(store)).open(run)
    if found.record["domain"] != domain.name:
        raise UsageError(f"run {found.id} is of {found.record['domain']}, not of {domain.name}")
    return found, journey.problem_of(domain, found, with_data=with_data)


def _started(domain: DomainInfo, verb: str, options: Asked, screen: Screen, command: str) -> journey.Journey:

    if not options.scenario:
        names = ", ".join(loading.scenario_names(domain))
        raise UsageError(f"which scenario? interlock {domain.name} {verb} SCENARIO; there are: {names}")
    if verb == "evaluate" and len(options.policies) != 1:
        raise UsageError("evaluate takes one policy: --policy NAME or --policy RUN (compare takes several)")
    scenario = loading.load_scenario(domain, options.scenario, options.sets)
    method = _method(domain, verb, scenario, options) if "train" in journey.stages_of(domain, verb) else None
    work = journey.start(
        domain,
        scenario,
        method,
        store=RunStore(folder(options.store)),
        screen=screen,
        verb=verb,
        command=command,
        seed=options.seed,
        budget=seconds_of(options.budget) if options.budget else None,
        policies=options.policies,
        data=folder(options.data),
    )
    work.checkpoint_every = seconds_of(options.checkpoint_every)
    return work


def _resumed(domain: DomainInfo, verb: str, options: Asked, screen: Screen) -> journey.Journey:

    if options.sets or options.method or options.method_sets or options.policies or options.data or options.seed:
        raise UsageError("a resumed run keeps its scenario, method, seed and policies; leave those options out")
    found = RunStore(folder(options.store)).open(options.resume)
    if options.scenario and plugins.known_as(options.scenario, [found.record["scenario"]]) != found.record["scenario"]:
        raise UsageError(f"run {found.id} is of scenario {found.record['scenario']}, not {options.scenario}")
    budget = seconds_of(options.budget) if options.budget else None
    work = journey.resume(domain, found, screen=screen, verb=verb, budget=budget)
    work.checkpoint_every = seconds_of(options.checkpoint_every)
    return work


def _method(domain: DomainInfo, verb: str, scenario: Any, options: Asked) -> loading.Method:
    """The method of the verb or the one asked for; else the scenario's own, with the settings it changes."""
    own, made_for = scenario.method, domain.verbs.get(verb)
    asked_for = made_for.method if isinstance(made_for, Verb) else options.method
    if asked_for and (own is None or plugins.known_as(asked_for, [own.preset]) != own.preset):
        return loading.load_method(domain, asked_for, None, options.method_sets)
    if own is None:
        names = ", ".join(loading.preset_names(domain))
        raise UsageError(f"scenario {scenario.name} names no method; choose one with --method: {names}")
    return loading.load_method(domain, own.preset, own.settings, options.method_sets)


def _tell(screen: Screen, run: RunFolder) -> None:
    """Where the results are, and how to get them again."""
    screen.say(f"run {run.id}: {run.record['seconds']:.0f} s, {run.record['cpu_seconds']:.0f} CPU s, in {run.path}")
    for name, what in (("report.html", "report"), ("bundle", "bundle")):
        if (run.path / name).exists():
            screen.say(f"{what}: {run.path / name}")
    screen.say(f"again: {run.record['command']}")

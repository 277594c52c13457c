"""The verbs of a domain: ``interlock DOMAIN list | show | schema | check | train | compare | evaluate | run | ...``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from interlock.core.errors import InterlockError, UsageError
from interlock.core.problem import DomainInfo, Study, Verb
from interlock.scenarios import plugins
from interlock.scenarios.cli_options import (
    Budget,
    Data,
    Every,
    Json,
    Method,
    MethodSets,
    Out,
    Policies,
    QuickCommand,
    QuickHelp,
    Quiet,
    Record,
    Resume,
    Run,
    Scenario,
    Seed,
    Sets,
    Started,
    Store,
    asked,
)
from interlock.scenarios.screen import Screen


class DomainGroup(QuickHelp, TyperGroup):
    """The common verbs, and the domain's own, which are loaded when they are asked for."""

    domain: DomainInfo

    def list_commands(self, ctx: Any) -> list[str]:
        """The common verbs, then the domain's."""
        return [*super().list_commands(ctx), *self.domain.verbs]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb by its name.

        Raises:
            UsageError: there is none.
        """
        common = super().get_command(ctx, cmd_name)
        if common is not None:
            return common
        known = self.list_commands(ctx)
        if cmd_name not in self.domain.verbs:
            near = plugins.did_you_mean(cmd_name, known)
            raise UsageError(f"{self.domain.name} has no verb {cmd_name!r}{near}; there are: {', '.join(known)}")
        verb, own = self.domain.verbs[cmd_name], typer.Typer(add_completion=False, rich_markup_mode=None)
        if isinstance(verb, (Verb, Study)):
            made = _making_runs(cmd_name) if isinstance(verb, Verb) else _studying(cmd_name, verb)
            own.command(cmd_name, help=f"{verb.summary[:1].upper()}{verb.summary[1:]}.")(made)
        else:
            own.command(cmd_name)(plugins.resolve(verb))
        return typer.main.get_command(own)


verbs = typer.Typer(cls=DomainGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def domain_group(domain: DomainInfo) -> Any:
    """The commands of one domain."""
    group: Any = typer.main.get_command(verbs)
    group.domain = domain
    group.name = domain.name
    group.help = f"{domain.title}: {domain.summary}."
    group.short_help = domain.title
    group.context_settings = {"obj": domain}
    return group


def _making_runs(verb: str) -> Any:
    """The command of a domain's own verb that makes a run."""

    def command(
        context: typer.Context,
        scenario: Started = "",
        sets: Sets = None,
        seed: Seed = 0,
        budget: Budget = "",
        method_sets: MethodSets = None,
        store: Store = "",
        resume: Resume = "",
        checkpoint_every: Every = "30s",
        record: Record = "",
        out: Out = "",
        as_json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from interlock.scenarios.cli_runs import make_run

        make_run(context, verb)

    return command


def _studying(name: str, study: Study) -> Any:
    """The command of a domain's own verb that plays policies."""

    def command(
        context: typer.Context,
        scenario: Scenario,
        sets: Sets = None,
        seed: Annotated[
            int, typer.Option("--seed", min=0, help="of the random numbers, the same for all policies")
        ] = 0,
        policies: Policies = None,
        data: Data = "",
        store: Store = "",
        record: Record = "",
        out: Annotated[str, typer.Option("--out", metavar="FILE", help="write a page with the pictures")] = "",
        as_json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from interlock.scenarios.studies import carry_out

        carry_out(context.obj, name, study, asked(context), context.find_root().obj)

    return command


@verbs.command("list", cls=QuickCommand)
def list_scenarios(context: typer.Context, as_json: Json = False) -> None:
    """List the scenarios."""
    from interlock.scenarios import loading

    domain, screen = context.obj, Screen(as_json=as_json)
    titles = {name: loading.read_differences(domain, name).get("title", "") for name in loading.scenario_names(domain)}
    screen.result({"domain": domain.name, "scenarios": titles, "methods": loading.preset_names(domain)})
    width = max((len(name) for name in titles), default=0)
    for name, title in titles.items():
        screen.show(f"{name:<{width}}  {title}".rstrip())


@verbs.command()
def show(
    context: typer.Context,
    scenario: Scenario,
    sets: Sets = None,
    full: Annotated[bool, typer.Option("--full", help="all values, defaults included")] = False,
    as_json: Json = False,
) -> None:
    """Show a scenario as YAML: what differs from the defaults, or everything with --full."""
    import yaml

    from interlock.scenarios import loading

    screen = Screen(as_json=as_json)
    checked = loading.load_scenario(context.obj, scenario, sets or ()).model_dump(mode="json")
    values = checked if full else loading.read_differences(context.obj, scenario, sets or ())
    screen.result(values)
    screen.show(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


@verbs.command()
def schema(context: typer.Context) -> None:
    """Print the JSON Schema of scenario files."""
    from interlock.scenarios import loading

    print(json.dumps(loading.json_schema(context.obj), indent=2, ensure_ascii=False))


@verbs.command()
def check(
    context: typer.Context,
    scenario: Scenario,
    sets: Sets = None,
    data: Data = "",
    kit: Annotated[bool, typer.Option("--kit", help="also play it: the checks that every domain passes")] = False,
    as_json: Json = False,
) -> None:
    """Check a scenario; list every problem.

    With --data, also a file of instances.
    """
    from interlock.scenarios import loading
    from interlock.scenarios.journey import build_problem

    screen, began = Screen(as_json=as_json), time.monotonic()
    checked = loading.load_scenario(context.obj, scenario, sets or ())
    method = None
    if checked.method is not None:
        method = loading.load_method(context.obj, checked.method.preset, checked.method.settings)
    problem = build_problem(context.obj, checked, Path(data) if data else None)
    if kit:
        _play_kit(problem)
    found = {
        "domain": context.obj.name,
        "scenario": checked.name,
        "hash": checked.hash(),
        "seconds": round(time.monotonic() - began, 3),
        "objective": f"{problem.objective.sense} {problem.objective.name} [{problem.objective.unit}]",
        "constraints": {one.name: f"{one.kind}, at most {one.limit:g} {one.unit}" for one in problem.constraints},
        "baselines": list(problem.baselines()),
        "bounds": {name: bound.kind for name, bound in problem.bounds().items()},
        "method": method.preset if method else None,
        "notes": list(getattr(problem, "notes", ())),
    }
    screen.result(found)
    import yaml

    screen.show(yaml.safe_dump({"ok": True, **found}, sort_keys=False, allow_unicode=True).rstrip())


def _play_kit(problem: Any) -> None:
    """The smoke kit.

    Raises:
        InterlockError: listing what failed.
    """
    from interlock.core.testing import check_problem

    try:
        check_problem(problem)
    except AssertionError as error:
        raise InterlockError(str(error)) from error


@verbs.command()
def train(
    context: typer.Context,
    scenario: Started = "",
    sets: Sets = None,
    seed: Seed = 0,
    budget: Budget = "",
    method: Method = "",
    method_sets: MethodSets = None,
    store: Store = "",
    resume: Resume = "",
    checkpoint_every: Every = "30s",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a policy."""
    from interlock.scenarios.cli_runs import make_run

    make_run(context, "train")


@verbs.command()
def compare(
    context: typer.Context,
    scenario: Started = "",
    sets: Sets = None,
    seed: Seed = 0,
    policies: Policies = None,
    data: Data = "",
    store: Store = "",
    resume: Resume = "",
    record: Record = "",
    out: Out = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare policies on held-out instances.

    Baselines and bounds, and any trained policy named with --policy. Nothing is trained.
    """
    from interlock.scenarios.cli_runs import make_run

    make_run(context, "compare")


@verbs.command()
def evaluate(
    context: typer.Context,
    scenario: Started = "",
    sets: Sets = None,
    seed: Seed = 0,
    policies: Policies = None,
    data: Data = "",
    store: Store = "",
    resume: Resume = "",
    record: Record = "",
    out: Out = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate one policy.

    On held-out instances, or on your own with --data.
    """
    from interlock.scenarios.cli_runs import make_run

    make_run(context, "evaluate")


@verbs.command()
def run(
    context: typer.Context,
    scenario: Started = "",
    sets: Sets = None,
    seed: Seed = 0,
    budget: Budget = "",
    method: Method = "",
    method_sets: MethodSets = None,
    store: Store = "",
    resume: Resume = "",
    checkpoint_every: Every = "30s",
    record: Record = "",
    out: Out = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train, compare, report and export.

    The main job: the policy beside baselines and bounds, an HTML report, and a bundle for `interlock decide`.
    """
    from interlock.scenarios.cli_runs import make_run

    make_run(context, "run")


@verbs.command()
def report(context: typer.Context, run: Run, out: Out = "", store: Store = "", as_json: Json = False) -> None:
    """Write the HTML report of a run."""
    from interlock.scenarios import cli_runs, journey
    from interlock.scenarios.files import check_folder

    screen = Screen(as_json=as_json)
    if out:
        check_folder(Path(out), "--out")
    stored, problem = cli_runs.stored(context.obj, run, store, with_data=True)
    path = Path(out) / "report.html" if out else stored.path / "report.html"
    journey.write_report(stored, path, problem)
    screen.result({"domain": context.obj.name, "run": stored.id, "report": str(path)})
    screen.say(f"report: {path}")


@verbs.command()
def export(
    context: typer.Context,
    run: Run,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="BUNDLE", help="folder to write (default: in the run)")
    ] = "",
    fallback: Annotated[
        str,
        typer.Option(
            "--fallback", metavar="RUN", help="run, say of sddp, that a fallback rule of the bundle decides by"
        ),
    ] = "",
    store: Store = "",
    as_json: Json = False,
) -> None:
    """Export a run's policy as a bundle."""
    from interlock.scenarios import cli_runs, journey

    screen = Screen(as_json=as_json)
    stored, problem = cli_runs.stored(context.obj, run, store, with_data=False)
    path = Path(out) if out else stored.path / "bundle"
    journey.write_bundle(stored, path, problem, fallback)
    screen.result({"domain": context.obj.name, "run": stored.id, "bundle": str(path)})
    screen.say(f"bundle: {path}")

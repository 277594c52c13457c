"""The command line: ``interlock DOMAIN VERB SCENARIO`` and the commands that need no domain.

Nothing heavy is imported before a command needs it: ``interlock --help`` and ``interlock list`` stay fast.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import interlock
from interlock.core.errors import InterlockError, UsageError
from interlock.scenarios import cli_core, plugins
from interlock.scenarios.cli_domain import domain_group
from interlock.scenarios.cli_options import Json, QuickCommand, QuickHelp, Store, folder
from interlock.scenarios.screen import Screen


class Root(QuickHelp, TyperGroup):
    """The commands below, and one group of commands per installed domain, made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of commands and domains."""
        return [*super().list_commands(ctx), *plugins.names("domains")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name, dashes or underscores alike.

        Raises:
            UsageError: there is none.
        """
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        name = plugins.known_as(cmd_name, plugins.names("domains"))
        if name not in plugins.names("domains"):
            known = self.list_commands(ctx)
            near = plugins.did_you_mean(name, known)
            raise UsageError(f"there is no domain or command {cmd_name!r}{near}; there are: {', '.join(known)}")
        try:
            return domain_group(plugins.load("domains", name))
        except plugins.Unavailable as error:
            return _unavailable(name, error)


app = typer.Typer(
    cls=Root,
    name="interlock",
    help="Constrained decision-making for operations: learned policies beside heuristics, optimisers and bounds, "
    "exported so that no infeasible decision can be released.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_core.app, name="core")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code.

    Args:
        arguments: as typed after ``interlock``; default: those of this process.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in typed
    command = typer.main.get_command(app)
    try:
        command.main([part for part in typed if part != "--debug"], "interlock", obj=shlex.join(["interlock", *typed]))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, InterlockError):
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        print(f"internal error: {type(error).__name__}: {error} (--debug shows where)", file=sys.stderr)
        return 1
    return 0


def _version(asked: bool) -> None:
    if asked:
        print(f"interlock {interlock.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and stop")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks (allowed anywhere)")] = False,
) -> None:
    """Options without a command."""


@app.command("list", cls=QuickCommand)
def list_domains(as_json: Json = False) -> None:
    """List the domains."""
    screen = Screen(as_json=as_json)
    listings = plugins.available("domains")
    screen.result(
        {
            "domains": [
                {"name": entry.name, "title": entry.info.title, "summary": entry.info.summary, "source": entry.source}
                if entry.info
                else {"name": entry.name, "unavailable": entry.reason, "source": entry.source}
                for entry in listings
            ]
        }
    )
    width = max((len(entry.name) for entry in listings), default=0)
    for entry in listings:
        about = f"{entry.info.title}: {entry.info.summary}" if entry.info else f"unavailable: {entry.reason}"
        screen.show(f"{entry.name:<{width}}  {about}")


@app.command("plugins")
def list_plugins(
    action: Annotated[str, typer.Argument(help="list, or check a solver")] = "list",
    name: Annotated[str, typer.Argument(help="solver to check")] = "",
    as_json: Json = False,
) -> None:
    """List plug-ins, broken ones with the reason; or run the conformance checks on a solver."""
    screen = Screen(as_json=as_json)
    if action == "check":
        _check_solver(screen, name)
        return
    if action != "list":
        raise UsageError(f"there is no `plugins {action}`; there are: list, check")
    listings = [entry for group in plugins.GROUPS for entry in plugins.available(group)]
    screen.result(
        {
            "plugins": [
                {
                    "group": entry.group,
                    "name": entry.name,
                    "source": entry.source,
                    "available": entry.info is not None,
                    "reason": entry.reason,
                    "works_with": entry.works_with,
                }
                for entry in listings
            ]
        }
    )
    for entry in listings:
        state = "; ".join(part for part in (entry.works_with, entry.reason) if part)
        state = ("" if entry.info is not None else "unavailable: ") + state
        screen.show(f"{entry.group[:-1]:<7} {entry.name:<20} {entry.source:<24} {state}".rstrip())


@app.command()
def runs(
    action: Annotated[str, typer.Argument(help="list, show or delete")] = "list",
    run: Annotated[str, typer.Argument(help="name of a run, or its beginning")] = "",
    store: Store = "",
    as_json: Json = False,
) -> None:
    """List runs, show one, or delete one."""
    from interlock.scenarios.store import RunStore

    screen = Screen(as_json=as_json)
    runs_in = RunStore(folder(store))
    if action == "list":
        _list_runs(screen, runs_in)
    elif action in ("show", "delete") and not run:
        raise UsageError(f"which run? interlock runs {action} RUN")
    elif action == "show":
        import yaml

        found = runs_in.open(run)
        record = {**found.record, "status": found.status(), "folder": str(found.path)}
        screen.result(record)
        screen.show(yaml.safe_dump(record, sort_keys=False).rstrip())
    elif action == "delete":
        deleted = runs_in.delete(run)
        screen.result({"deleted": deleted})
        screen.say(f"deleted {deleted}")
    else:
        raise UsageError(f"there is no `runs {action}`; there are: list, show, delete")


@app.command()
def decide(
    bundle: Annotated[Path, typer.Argument(help="folder or file written by `export`")],
    request: Annotated[str, typer.Option("--request", help="JSON, JSON lines or CSV file; - for stdin")] = "",
    selftest: Annotated[bool, typer.Option("--selftest", help="check the bundle against its own requests")] = False,
    audit: Annotated[Path | None, typer.Option("--audit", help="append one line per decision to this file")] = None,
    in_numpy: Annotated[bool, typer.Option("--numpy", help="run a network in numpy, without onnxruntime")] = False,
    as_json: Json = False,
) -> None:
    """Decide requests with an exported policy.

    Feasibility is recomputed from each request; an infeasible decision is never released.
    """
    from interlock.operations.decide import run_cli
    from interlock.operations.scorer import Runner

    if bool(request) == selftest:
        raise UsageError("name the request (--request FILE, or - for stdin), or ask for --selftest")
    runner: Runner = "numpy" if in_numpy else "onnxruntime"
    raise typer.Exit(run_cli(bundle, request, audit=audit, as_json=as_json, selftest=selftest, runner=runner))


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="data set to get; without one, all are listed")] = "",
    source: Annotated[Path | None, typer.Option("--from", help="take it from this folder")] = None,
    target: Annotated[Path | None, typer.Option("--to", help="where to put it")] = None,
    as_json: Json = False,
) -> None:
    """List public data sets, or get one."""
    from interlock.scenarios import data as catalogue

    screen = Screen(as_json=as_json)
    if name:
        path = catalogue.get(name, source, target)
        screen.result({"name": name, "path": str(path)})
        screen.show(str(path))
        return
    screen.result({"data": [catalogue.described(entry) for entry in catalogue.CATALOGUE]})
    screen.show(catalogue.listing())


@app.command()
def doctor(store: Store = "", as_json: Json = False) -> None:
    """Check this installation and say what is wrong."""
    from interlock.scenarios.doctor import examine, text

    screen = Screen(as_json=as_json)
    found = examine(folder(store))
    screen.result(found)
    screen.show(text(found))


def _check_solver(screen: Screen, name: str) -> None:
    from interlock.solvers.conformance import check_solver

    if not name:
        raise UsageError("which solver? interlock plugins check NAME")
    solver = plugins.load("solvers", name)
    results = check_solver(solver)
    failed = [result for result in results if result.passed is False]
    screen.result(
        {
            "solver": plugins.known_as(name, plugins.names("solvers")),
            "ok": not failed,
            "checks": [{"name": each.name, "passed": each.passed, "detail": each.detail} for each in results],
        }
    )
    width = max(len(result.name) for result in results)
    words = {True: "ok", False: "FAILED", None: "skipped"}
    for result in results:
        screen.show(f"{result.name:<{width}}  {words[result.passed]:<7}  {result.detail}")
    if failed:
        raise InterlockError(f"{len(failed)} of {len(results)} checks failed")


def _list_runs(screen: Screen, store: Any) -> None:
    rows = store.rows()
    screen.result({"store": str(store.folder), "runs": rows})
    if not rows:
        screen.show(f"no runs in {store.folder}")
        return
    width = max(len(row["run"]) for row in rows)
    screen.show(f"{'run':<{width}}  {'status':<11}  {'domain':<15}  {'verb':<8}  {'seconds':>7}  result")
    for row in rows:
        about = f"{row['status']:<11}  {row['domain']:<15}  {row['verb']:<8}  {row['seconds']:>7.0f}"
        screen.show(f"{row['run']:<{width}}  {about}  {row['result'] or ''}".rstrip())


def _unavailable(name: str, error: plugins.Unavailable) -> Any:
    """A command in the place of a domain that cannot be loaded: listed, and failing with the reason."""

    def fail() -> None:
        raise error

    broken = typer.Typer(add_completion=False, rich_markup_mode=None)
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    broken.command(name, help=f"unavailable: {error}", context_settings=anything)(fail)
    return typer.main.get_command(broken)

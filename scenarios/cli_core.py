"""``interlock core``: what the methods are proven with, run on the installation at hand."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from interlock.scenarios.cli_options import Json, QuickHelp, Quiet
from interlock.scenarios.screen import Screen


class CoreGroup(QuickHelp, TyperGroup):
    """The commands below."""


app = typer.Typer(
    cls=CoreGroup,
    help="Check the methods against exact answers; see how they move.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def check(as_json: Json = False, quiet: Quiet = False) -> None:
    """Compare methods with answers computed another way; exit code 1 if one deviates too much."""
    from interlock.scenarios.core_check import CHECKS
    from interlock.scenarios.core_check_learning import LEARNING_CHECKS
    from interlock.scenarios.core_check_table import run_checks

    screen = Screen(as_json=as_json, quiet=quiet)
    checks = CHECKS
    if importlib.util.find_spec("torch") is None:
        checks = tuple(check for check in CHECKS if check not in LEARNING_CHECKS)
        screen.warn(f"{len(LEARNING_CHECKS)} checks of learning are left out: they need pip install 'interlock[train]'")
    with screen.progress("checks") as progress:
        found = run_checks(checks, lambda done: progress.update(done, len(checks)))
    failed = sum(not one.passed for one in found)
    screen.result({"checks": [one.described() for one in found], "failed": failed})
    screen.show(_check_table(found))
    screen.say(f"{len(found) - failed} of {len(found)} checks passed")
    if failed:
        raise typer.Exit(1)


@app.command()
def oscillation(
    process: Annotated[str, typer.Argument(metavar="CMDP", help="an example process")] = "two_state",
    methods: Annotated[
        list[str] | None, typer.Option("--method", help="plain, optimistic, pi or entropy; default: the first two")
    ] = None,
    iterations: Annotated[int, typer.Option("--iterations", min=0, help="0: as many as it takes")] = 0,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="picture, .png if not said; default: oscillation_CMDP.png")
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw last iterates of plain and optimistic multipliers on a small process, beside its exact optimum."""
    from interlock.scenarios import core_oscillation as runs

    screen = Screen(as_json=as_json, quiet=quiet)
    chosen = list(dict.fromkeys(methods or ("plain", "optimistic")))
    path = runs.picture_path(out or f"oscillation_{process}.png")
    cmdp, optimum, found = runs.oscillate(process, chosen, iterations or None)
    runs.draw(cmdp, optimum, found, path)
    figures = runs.figures(cmdp, optimum, found)
    screen.result({**figures, "out": str(path)})
    screen.show(_oscillation_table(figures))
    screen.say(f"picture: {path}")


def _check_table(found: list[Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("")
    table.add_column("method", overflow="fold")
    table.add_column("computed", overflow="fold")
    table.add_column("deviation", justify="right")
    table.add_column("limit", justify="right")
    for one in found:
        mark, style = ("✓", "") if one.passed else ("✗", "bold red")
        limit = f"{'≥' if one.at_least else '≤'} {one.limit:.3g}"
        table.add_row(mark, one.method, one.computed, f"{one.deviation:.1e}", limit, style=style)
    return table


def _oscillation_table(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['process']}: optimal return {figures['optimum']['return']:.4f}, limits "
        + ", ".join(f"{name} {limit:.4g}" for name, limit in figures["limits"].items()),
        "gaps to it as shares of the span of all returns, over the last tenth of "
        f"{figures['iterations']:,} iterations:",
        f"{'method':<12} {'smallest':>10} {'largest':>10} {'worst violation':>16} {'gap of the average':>19}",
    ]
    for name, one in figures["methods"].items():
        low, high = one["gap"]["smallest"], one["gap"]["largest"]
        lines.append(f"{name:<12} {low:>+10.4f} {high:>+10.4f} {one['violation']:>16.2%} {one['average_gap']:>+19.4f}")
    return "\n".join(lines)

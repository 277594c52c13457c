"""Options that several commands share, and what was asked for with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

Scenario = Annotated[str, typer.Argument(metavar="SCENARIO", help="name of a scenario, or a YAML file")]
Started = Annotated[str, typer.Argument(metavar="SCENARIO", help="name of a scenario, or a YAML file")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="name of a run, or its beginning, or its folder")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change a value of the scenario")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout, messages on stderr")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress, no messages")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="of training; every policy plays the instances of the scenario's own seeds")
]
Budget = Annotated[str, typer.Option("--budget", metavar="TIME", help="limit of training, as 90s, 5m, 2h")]
Method = Annotated[str, typer.Option("--method", metavar="PRESET", help="method preset instead of the scenario's")]
MethodSets = Annotated[
    list[str] | None, typer.Option("--method-set", metavar="KEY=VALUE", help="change a setting of the method")
]
Store = Annotated[str, typer.Option("--store", metavar="DIR", help="where runs are (else $INTERLOCK_STORE, else runs)")]
Resume = Annotated[str, typer.Option("--resume", metavar="RUN", help="go on with a run that was stopped")]
Record = Annotated[str, typer.Option("--record", metavar="ROW", help="write the figure of this row into results.json")]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="copy the results there as well")]
Every = Annotated[str, typer.Option("--checkpoint-every", metavar="TIME", help="time between checkpoints")]
Data = Annotated[
    str, typer.Option("--data", metavar="PATH", help="your own or published instances: a file, or a folder")
]
Policies = Annotated[
    list[str] | None, typer.Option("--policy", metavar="NAME|RUN", help="a baseline, a run, or a saved policy's folder")
]


class QuickHelp:
    """Gives the option ``--help`` a value when it is not typed.

    Without one, typer loads pydantic to find that nothing is no: a third of the time that a list takes.
    """

    def get_help_option(self, ctx: Any) -> Any:
        """The option, with a default."""
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.default = False
        return option


class QuickCommand(QuickHelp, TyperCommand):
    """A command that starts quickly."""


@dataclass(frozen=True)
class Asked:
    """What was typed after a verb that makes a run; the options a verb does not have keep these values."""

    scenario: str = ""
    sets: tuple[str, ...] = ()
    seed: int = 0
    budget: str = ""
    method: str = ""
    method_sets: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    data: str = ""
    store: str = ""
    resume: str = ""
    record: str = ""
    out: str = ""
    checkpoint_every: str = "30s"
    as_json: bool = False
    quiet: bool = False


def asked(context: typer.Context) -> Asked:
    """What was typed, from the parsed options of a command."""
    given = {name: value for name, value in context.params.items() if value is not None}
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Asked(**values)


def folder(path: str) -> Path | None:
    """A folder, if one was named."""
    return Path(path) if path else None

"""The verbs ``fit`` and ``example``: a user's folder of tables becomes a scenario file, and a folder to begin with."""

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from interlock.core.errors import Interrupted, UsageError
from interlock.domains.fisheries.fitted import (
    Parameter,
    each,
    fitted_values,
    known_values,
    noise_notes,
    notes_of,
    scenario_text,
    task_of,
    told,
)
from interlock.domains.fisheries.fitting import Fit, fit
from interlock.domains.fisheries.fitting_bootstrap import Bootstrap, bootstrap, warnings
from interlock.domains.fisheries.userdata import UserData, read_folder
from interlock.domains.fisheries.userdata_series import History
from interlock.domains.fisheries.userdata_table import write_text

METHOD = "pathwise"
"""Method that the scenario names for training."""

_EVERY = 10.0
"""Seconds between two lines of progress."""


def fit_verb(
    data: Annotated[Path, typer.Option("--data", metavar="FOLDER", help="stock_history.csv, species.csv, params.yaml")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="scenario file to write, .yaml")],
    grazer: Annotated[
        bool, typer.Option("--grazer", "--beta-c", help="also estimate beta and c (grazers, the predator's appetite)")
    ] = False,
    drift: Annotated[bool, typer.Option("--drift", help="also a trend of r, or of r_x in a food web")] = False,
    uncertain: Annotated[
        bool, typer.Option("--uncertain", help="episodes of the scenario draw their parameters, as uncertain as found")
    ] = False,
    resamples: Annotated[int, typer.Option("--resamples", min=20, help="histories drawn for the intervals")] = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of these draws")] = 0,
    draws: Annotated[str, typer.Option("--draws", metavar="FILE", help="write all draws as CSV")] = "",
    name: Annotated[str, typer.Option("--name", help="of the scenario (default: that of the file)")] = "",
    force: Annotated[bool, typer.Option("--force", help="replace files that are there")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON object on stdout, messages on stderr")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress, no messages")] = False,
) -> None:
    """Estimate the parameters of your own stocks and write a scenario file.

    Without a stock_history.csv, the scenario is that of params.yaml and species.csv.
    """
    began = time.monotonic()
    _check_target(out, "--out", (".yaml", ".yml"), force=force)
    if draws:
        _check_target(Path(draws), "--draws", (".csv",), force=force)
    say = _quiet if quiet else _say
    read = read_folder(data)
    name = name or out.stem.replace("-", "_")
    if read.history is None:
        if draws or grazer or drift or uncertain:
            raise UsageError(
                f"{data} holds no stock_history.csv: nothing is estimated, so leave out --draws and the like"
            )
        values, rows = known_values(read)
        notes = ["there is no stock_history.csv: the parameters are those of params.yaml and species.csv"]
    else:
        try:
            values, rows, notes = _estimated(
                read, read.history, grazer, drift, uncertain, (resamples, seed), draws, say
            )
        except KeyboardInterrupt:
            raise Interrupted("stopped; no file was written") from None
    tonnes = np.array(values["tonnes"])
    notes = [*read.notes, *notes, *notes_of(read, tonnes), *_assumed(rows)]
    title = f"{', '.join(one.name for one in read.species)}: {'fitted to a history' if read.history else 'as told'}"
    values = {"title": title, **values, "method": {"preset": METHOD}}
    if name != out.stem.replace("-", "_"):
        values = {"name": name, **values}
    comments = [
        *(f"{one.role} = {one.name}, stock unit {size:,.0f} t" for one, size in zip(read.species, tonnes, strict=True)),
        *(f"{row.name} {_interval(row)} {row.unit}, {row.how}" for row in rows),
        *notes,
    ]
    write_text(out, scenario_text(name, values, comments))
    if as_json:
        print(json.dumps(_object(read, rows, notes, out, draws, values, time.monotonic() - began), allow_nan=False))
    else:
        _show(rows)
    for note in notes:
        say(note)
    say(f"scenario: {out}; play it with: interlock fisheries compare {_as_path(out)}")


def example_verb(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder to write, which must not be there yet")],
) -> None:
    """Write an example of your own files: 60 years of two fished prey and their predator, for `fit`."""
    from interlock.domains.fisheries import history

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there and not empty; name another folder")
    history.write(folder)
    print(f"{folder}: stock_history.csv, species.csv; next: interlock fisheries fit --data {folder} --drift --out FILE")


def _estimated(
    read: UserData,
    history: History,
    grazer: bool,
    drift: bool,
    uncertain: bool,
    drawing: tuple[int, int],
    draws: str,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], list[Parameter], list[str]]:
    """Values of the scenario, parameters, and what has to be said about them; writes the draws if asked for."""
    resamples, seed = drawing
    found = fit(history, task_of(read, history, grazer=grazer, drift=drift))
    values = fitted_values(read, history, found)
    drawn = bootstrap(found, history, resamples=resamples, seed=seed, progress=_progress(say))
    rows = told(read, found, drawn)
    ends = {row.name: (row.low, row.high) for row in rows}
    notes = [
        *noise_notes(read, found, ends),
        *warnings(found, ends),
        *_against_species(read, rows),
        *_trend_note(values),
    ]
    spread = _spread(found, drawn)
    if uncertain:
        values["uncertainty"] = {"sd": spread}
        if "baselines" in values:  # no optimum is known where parameters are not
            values["baselines"] = [rule for rule in values["baselines"] if not rule.startswith("optimum")]
    else:
        notes.append(f"parameters are off by about {100 * spread:.0f} %; --uncertain makes episodes draw them so")
    if draws:
        write_text(Path(draws), _draws_text(read, found, drawn))
    return values, rows, notes


def _spread(found: Fit, drawn: Bootstrap) -> float:
    """Median over the estimated parameters of their relative standard deviation, robust, at most 0.5."""
    estimates = np.array([*(found.values[name] for name in found.task.free), *found.sigma])
    columns = [k for k, name in enumerate(drawn.names) if name != "trend" and abs(estimates[k]) > 1e-6]
    low, high = np.quantile(drawn.draws[:, columns], [0.16, 0.84], axis=0)
    return float(f"{min(np.median((high - low) / 2 / np.abs(estimates[columns])), 0.5):.2g}")


def _against_species(read: UserData, rows: Sequence[Parameter]) -> list[str]:
    """What species.csv says of K and r, where an estimate says otherwise."""
    found, kind, notes = {row.name: row for row in rows}, "one_species" if len(read.species) == 1 else "food_web", []
    for one in read.species:
        for what, said in (("K", one.capacity), ("r", one.rate)):
            row = found.get(each(what, one.role, kind))
            if row is not None and (said < row.low or said > row.high):
                notes.append(
                    f"species.csv says {what} of {one.name} is {said:g} {row.unit}, outside of the interval "
                    f"{row.low:.4g} to {row.high:.4g}; tell it in params.yaml to hold it fixed"
                )
    return notes


def _trend_note(values: dict[str, Any]) -> list[str]:
    return [
        f"{one['parameter']} goes on by {one['per_year']:g} a year for as long as it was observed, and stays at "
        f"{one.get('at_least', one.get('at_most')):g} from then on; if you know better, change drift in the file"
        for one in values.get("drift", ())
    ]


def _assumed(rows: Sequence[Parameter]) -> list[str]:
    names = [f"{row.name} = {row.value:g}" for row in rows if row.how == "assumed"]
    return [f"neither told nor estimated, but assumed: {', '.join(names)}"] if names else []


def _interval(row: Parameter) -> str:
    return f"{row.value:.4g}" if np.isnan(row.low) else f"{row.value:.4g} ({row.low:.4g} to {row.high:.4g})"


def _show(rows: Sequence[Parameter]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("parameter", "estimate", "95 % interval", "unit", ""):
        table.add_column(column, justify="right" if column in ("estimate", "95 % interval") else "left")
    for row in rows:
        ends = "" if np.isnan(row.low) else f"{row.low:.4g} to {row.high:.4g}"
        table.add_row(row.name, f"{row.value:.4g}", ends, row.unit, row.how)
    Console(highlight=False, file=sys.stdout).print(table)


def _object(
    read: UserData,
    rows: Sequence[Parameter],
    notes: list[str],
    out: Path,
    draws: str,
    values: dict[str, Any],
    took: float,
) -> dict[str, Any]:
    parameters = {
        row.name: {
            key: None if isinstance(value, float) and np.isnan(value) else value
            for key, value in asdict(row).items()
            if key != "name"
        }
        for row in rows
    }
    species = {
        one.role: {"name": one.name, "tonnes": size, "harvested": one.harvested}
        for one, size in zip(read.species, values["tonnes"], strict=True)
    }
    return {
        "domain": "fisheries", "scenario": str(out), "draws": draws or None, "species": species,
        "parameters": parameters, "notes": notes, "seconds": round(took, 3),
    }  # fmt: skip


def _draws_text(read: UserData, found: Fit, drawn: Bootstrap) -> str:
    """The draws as CSV, K in t."""
    kind = found.task.kind
    names, columns = [], []
    scale = {each("K", one.role, kind): size for one, size in zip(read.species, found.task.unit, strict=True)}
    for name, values in zip(drawn.names, drawn.draws.T, strict=True):
        if name.startswith("sigma"):
            name = each("sigma", read.species[int(name.rpartition("_")[2])].role, kind)
        names.append(f"{name}_t" if name in scale else name)
        columns.append(values * scale.get(name, 1.0))
    text = io.StringIO()
    np.savetxt(text, np.stack(columns, axis=1), fmt="%.8g", delimiter=",", header=",".join(names), comments="")
    return text.getvalue()


# ---------------------------------------------------------------------------------------------- files and screen


def _check_target(path: Path, option: str, endings: Sequence[str], *, force: bool) -> None:
    """See that a file can be written before anything is computed.

    Raises:
        UsageError: it cannot, or is there already.
    """
    if path.suffix not in endings:
        raise UsageError(f"{option} {path}: expected a name that ends in {endings[0]}")
    if path.is_dir() or (path.exists() and not force):
        raise UsageError(f"{option} {path}: is there already{'' if path.is_dir() else '; --force replaces it'}")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")


def _as_path(path: Path) -> str:
    """A file as the command line takes it for one."""
    return str(path) if path.parent != Path() else f"./{path}"


def _progress(say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Tells how far the draws are, now and then."""
    following = time.monotonic() + _EVERY

    def tell(done: int, total: int) -> None:
        nonlocal following
        if time.monotonic() >= following:
            following = time.monotonic() + _EVERY
            say(f"fit: {done} of {total} histories drawn and fitted")

    return tell


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _quiet(message: str) -> None:
    """Say nothing."""

"""Tables of the README files, made from the recorded results: ``python -m interlock.scenarios.tables [--check]``.

Between ``<!-- table:NAME -->`` and ``<!-- /table -->`` stands what this module wrote. Table ``domains`` is the overview
of the main README; ``acceptance`` in a domain's README holds its rows. Further tables of a domain come from files
``*_results.json`` beside its README, which benchmarks write: an object with ``command``, ``version``, ``date`` and, in
``tables``, name -> ``{"columns": [...], "rows": [[...]]}`` of texts.
"""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from interlock.core.problem import DomainInfo
from interlock.scenarios import plugins
from interlock.scenarios.files import write_text
from interlock.scenarios.loading import scenario_names
from interlock.scenarios.machine import checkout
from interlock.scenarios.record import Acceptance, Row, read_acceptance, read_results

_BLOCK = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def rendered(root: Path) -> dict[Path, str]:
    """README file -> its text with every table made anew, for all files that hold one.

    Raises:
        ValueError: a file asks for a table that does not exist.
    """
    places = (root / "README.md", root / "core" / "README.md", *sorted((root / "domains").glob("*/README.md")))
    files = [file for file in places if file.is_file()]
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    return {file: _BLOCK.sub(partial(_block, file, root), text) for file, text in texts.items() if _BLOCK.search(text)}


def domains_table(root: Path) -> str:
    """One row per domain that comes with us: what it is, its scenarios, its headline result and the command for it."""
    lines = ["| domain | what it is | scenarios | headline result |", "|---|---|---|---|"]
    for name in plugins.names("domains"):
        folder = root / "domains" / name
        if not folder.is_dir():
            continue
        info: DomainInfo = plugins.load("domains", name)
        scenarios = ", ".join(f"`{scenario}`" for scenario in scenario_names(info))
        link, about = f"[`{name}`](domains/{name}/README.md)", f"{info.title}: {info.summary}"
        lines.append(f"| {link} | {about} | {scenarios} | {_headline(folder)} |")
    return "\n".join(lines) + "\n"


def acceptance_table(folder: Path) -> str:
    """One row per requirement of a domain: what was asked, what was measured, and the command that measures it."""
    acceptance, results = read_acceptance(folder), read_results(folder)
    head = (
        "row",
        "requirement",
        "measured (95 % interval)",
        "met",
        "seeds",
        "CPU s of training",
        "command",
        "version, date",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in acceptance.rows.items():
        entry = results.get(name)
        if entry is None:
            lines.append(f"| `{name}` | {row.requirement} | not measured yet |{' |' * (len(head) - 3)}")
            continue
        cpu_seconds = entry.get("cpu_seconds")
        met = {True: "yes", False: "**no**", None: ""}[row.met(entry["value"], cpu_seconds, entry["low"])]
        seeds = ", ".join(map(str, entry["seeds"]))
        trained = "" if cpu_seconds is None else f"{cpu_seconds:,.0f}"
        lines.append(
            f"| `{name}` | {row.requirement} | {_measured(row, entry)} | {met} | {seeds} | {trained} "
            f"| `{entry['command']}` | {entry['version']}, {entry['date']} |"
        )
    return "\n".join(lines) + "\n"


def recorded_tables(folder: Path) -> dict[str, str]:
    """Name -> table, from the recorded files of a domain beside ``results.json``."""
    found = {}
    for file in sorted(folder.glob("*_results.json")):
        recorded = json.loads(file.read_text(encoding="utf-8"))
        for name, table in recorded["tables"].items():
            lines = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
            text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
            found[name] = f"{text}\n`{recorded['command']}`, {recorded['version']}, {recorded['date']}\n"
    return found


def _block(file: Path, root: Path, match: re.Match[str]) -> str:
    """A table between its marks."""
    opening, name, closing = match.groups()
    if name == "domains":
        return opening + domains_table(root) + closing
    if name == "acceptance":
        return opening + acceptance_table(file.parent) + closing
    further = recorded_tables(file.parent)
    if name not in further:
        raise ValueError(
            f"{file}: there is no table {name!r}; there are: {', '.join(('domains', 'acceptance', *further))}"
        )
    return opening + further[name] + closing


def _headline(folder: Path) -> str:
    if not (folder / "acceptance.yaml").is_file():
        return ""
    acceptance: Acceptance = read_acceptance(folder)
    row, entry = acceptance.rows[acceptance.headline], read_results(folder).get(acceptance.headline)
    if entry is None:
        return f"{row.requirement}: not measured yet"
    return f"{row.requirement}: {_measured(row, entry)}, `{entry['command']}`"


def _measured(row: Row, entry: dict[str, Any]) -> str:
    value = f"**{entry['value']:,.{row.digits}f}** {entry['unit']}"
    if entry["low"] is None or entry["low"] == entry["high"]:
        return value
    return f"{value} ({entry['low']:,.{row.digits}f} to {entry['high']:,.{row.digits}f})"


def main(arguments: list[str]) -> int:
    """Write the tables, or with ``--check`` only say which files differ (exit code 1 if any)."""
    root = checkout()
    if root is None:
        print("the tables belong to a checkout; this is an installed package", file=sys.stderr)
        return 2
    stale = {file: text for file, text in rendered(root).items() if file.read_text(encoding="utf-8") != text}
    for file, text in stale.items():
        print(f"{'differs' if '--check' in arguments else 'written'}: {file.relative_to(root)}")
        if "--check" not in arguments:
            write_text(file, text)
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

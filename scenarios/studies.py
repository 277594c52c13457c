"""A domain's study: policies played in a way of its own, shown as a table, as JSON, and as a page with pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.core.problem import DomainInfo, Study
from interlock.scenarios import loading, plugins
from interlock.scenarios.cli_options import Asked, folder
from interlock.scenarios.files import check_folder
from interlock.scenarios.journey import build_problem
from interlock.scenarios.policies import named_policy
from interlock.scenarios.record import find_row, record_findings
from interlock.scenarios.screen import Screen
from interlock.scenarios.store import RunStore

if TYPE_CHECKING:
    from interlock.core.policy import Policy
    from interlock.core.problem import Findings, Problem

WITHOUT_ASKING = 3
"""Baselines that are played where no policy is named: the first ones."""


def carry_out(domain: DomainInfo, name: str, study: Study, asked: Asked, command: str) -> None:
    """Play the policies that were named (else the first baselines) and show what was found.

    Args:
        domain: whose study.
        name: of the verb.
        study: what it does.
        asked: options.
        command: what the user typed.

    Raises:
        BadInput: scenario, data or a saved policy have problems.
        UsageError: a policy is unknown, or the row to record into does not fit.
    """
    screen, began = Screen(as_json=asked.as_json, quiet=asked.quiet), time.monotonic()
    place = find_row(domain.name, asked.record) if asked.record else None
    if asked.out:
        check_folder(Path(asked.out).parent, "--out")
    scenario = loading.load_scenario(domain, asked.scenario, asked.sets)
    with redirect_stdout(sys.stderr), screen.progress(name) as progress:  # whatever domains and libraries print
        problem = build_problem(domain, scenario, folder(asked.data))
        policies = _named(asked.policies or tuple(problem.baselines())[:WITHOUT_ASKING], problem, folder(asked.store))
        found: Findings = plugins.resolve(study.play)(problem, policies, asked.seed, progress.update)
    facts = {"domain": domain.name, "scenario": scenario.name, "study": name, "seed": asked.seed}
    screen.result({**facts, "seconds": round(time.monotonic() - began, 3), **found.values, "notes": list(found.notes)})
    screen.show(_table(found))
    for note in found.notes:
        screen.say(note)
    if place is not None:
        screen.say(record_findings(place, found.values, {**facts, "command": command}))
    if asked.out:
        from interlock.scenarios.report import write_findings

        write_findings(Path(asked.out), problem=problem, title=name.replace("_", " "), findings=found)
        screen.say(f"page: {asked.out}")


def _named(references: Sequence[str], problem: Problem, store: Path | None) -> dict[str, Policy]:
    policies: dict[str, Policy] = {}
    for reference in references:
        name, policy = named_policy(reference, problem, RunStore(store))
        policies[name if name not in policies else f"{name} ({reference})"] = policy
    return policies


def _table(found: Findings) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(found.columns):
        table.add_column(escape(column), justify="left" if position == 0 else "right")
    for row in found.rows:
        table.add_row(*map(escape, row))
    return table

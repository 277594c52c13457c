"""The evidence as a table for a terminal of 80 columns."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from interlock.core.evaluation.record import ConstraintEvidence, Evidence, PolicyEvidence, describe_difference, rounded

LEARNED = "●"
_MARK = {True: Text("✓", style="green"), False: Text("✗", style="bold red")}


def evidence_table(evidence: Evidence) -> RenderableType:
    """Policies ranked beside the bounds, their constraints, and what has to be said about them in words.

    Args:
        evidence: what was measured.

    Returns:
        A rich renderable, readable at 80 columns and without colour.
    """
    lines = plain_words(evidence)
    if any(policy.learned for policy in evidence.policies.values()):
        lines = [f"{LEARNED} learned", *lines]
    parts: list[RenderableType] = [_headline(evidence), _ranking(evidence), *_constraints(evidence)]
    return Group(*parts, *(Padding(Text(line), (0, 1)) for line in lines))


def plain_words(evidence: Evidence) -> list[str]:
    """What the numbers say about the learned policies, then every further warning, one sentence each."""
    objective, lines = evidence.objective, []
    for name, policy in evidence.policies.items():
        if policy.learned and policy.vs_best is not None and evidence.best_baseline is not None:
            lines.append(
                describe_difference(name, policy.vs_best, evidence.best_baseline, objective.unit, objective.sense)
            )
    return lines + [f"! {warning}" for warning in evidence.warnings if warning not in lines]


def _headline(evidence: Evidence) -> Text:
    objective = evidence.objective
    direction = "larger" if objective.sense == "maximise" else "smaller"
    played = f"{evidence.instances:,} {evidence.split} instances"
    title = (
        f"{evidence.domain} {evidence.scenario}: {objective.name} ({objective.unit}), {direction} is better; {played}"
    )
    return Text(f" {title}", style="bold")


def _ranking(evidence: Evidence) -> Table:
    """One row per policy, best first, then the bounds."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("policy", overflow="fold")
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="center")
    table.add_column("worst\n10 %", justify="right")
    reference = evidence.reference_heuristic if len(evidence.policies) > 1 else None
    if reference is not None:
        table.add_column(f"against\n{reference}", justify="right")
    table.add_column("ms per\ndecision", justify="right")
    like = max(abs(policy.objective.mean) for policy in evidence.policies.values()) / 10
    for name, policy in evidence.policies.items():
        objective = policy.objective
        cells = [str(policy.rank), _label(name, policy), rounded(objective.mean, like)]
        cells += [f"{rounded(objective.low, like)} – {rounded(objective.high, like)}"]
        cells += [rounded(objective.worst_decile, like)]
        cells += [_against(policy, like)] if reference is not None else []
        cells += [f"{policy.decision_ms:.3f}" if policy.decision_ms < 10 else f"{policy.decision_ms:,.0f}"]
        table.add_row(*cells, style=_style(policy))
    for name, bound in evidence.bounds.items():
        interval = "" if bound.low == bound.high else f"{rounded(bound.low, like)} – {rounded(bound.high, like)}"
        table.add_row("", f"  {name} (bound)", rounded(bound.value, like), interval, style="cyan")
    return table


def _label(name: str, policy: PolicyEvidence) -> str:
    return f"{LEARNED} {name}" if policy.learned else f"  {name}"


def _style(policy: PolicyEvidence) -> str:
    return "bold" if policy.learned else ""


def _against(policy: PolicyEvidence, like: float) -> str:
    """The paired difference with half the width of its interval."""
    difference = policy.vs_reference
    if difference is None:
        return ""
    half = rounded((difference.high - difference.low) / 2, like)
    return f"{rounded(difference.mean, like, signed=True)} ±{half}"


def _constraints(evidence: Evidence) -> list[RenderableType]:
    """One row per policy, one column per constraint; hard constraints that everybody keeps share one line."""
    policies = evidence.policies
    parts: list[RenderableType] = []
    shown = []
    for name, entry in next(iter(policies.values())).constraints.items():
        described = f"{entry.kind}, limit {entry.limit:g} {entry.unit}"
        if entry.kind == "hard" and all(policy.constraints[name].satisfied for policy in policies.values()):
            line = Text.assemble(" ", _MARK[True], f" {name} ({described}): kept by all")
            parts.append(line)
        else:
            shown.append((name, described))
    if shown:
        table = Table(box=None, padding=(0, 1), header_style="bold")
        table.add_column("mean (upper 95 % limit)", overflow="fold")
        for name, described in shown:
            table.add_column(f"{name}\n{described}")
        for label, policy in policies.items():
            verdicts = [_verdict(policy.constraints[name]) for name, _ in shown]
            table.add_row(_label(label, policy), *verdicts, style=_style(policy))
        parts.append(table)
    return parts


def _verdict(entry: ConstraintEvidence) -> Text:
    like = max(abs(entry.limit), abs(entry.high))
    return Text.assemble(_MARK[entry.satisfied], f" {rounded(entry.mean, like)} ({rounded(entry.high, like)})")

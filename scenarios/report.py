"""One self-contained HTML page per run: what was done, how the policies compare, pictures. Needs no network."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from interlock.core.evaluation.record import ConstraintEvidence, Evidence, PolicyEvidence, rounded
from interlock.core.evaluation.statistics import Estimate
from interlock.core.policy import Policy
from interlock.core.problem import Findings, Problem
from interlock.scenarios import report_figures, report_training
from interlock.scenarios.console import plain_words
from interlock.scenarios.files import write_text

DEFINITIONS = {
    "mean, 95 % interval": "average over the instances; the interval is that of 2,000 bootstrap resamples of them.",
    "IQM": "interquartile mean: the average of the middle half of the instances, little moved by a few extreme ones.",
    "worst 10 %": "average of the worst tenth of the instances.",
    "score": "0 is the reference heuristic, 1 the reference bound; below 0 is worse than the heuristic.",
    "gap to bound": "how far the policy stays behind the reference bound: the most that could still be gained.",
    "difference": "paired: both policies play the same instances with the same random numbers. An interval that holds "
    "0 means no clear difference.",
    "satisfied": "the upper end of the 95 % interval is within 1.02 times the limit. A hard constraint must hold on "
    "every instance; rates have exact Clopper-Pearson intervals.",
    "rank": "by mean objective, policies that satisfy every constraint first.",
    "bound": "a value that no policy can beat on these instances, with how it was obtained.",
    "ms per decision": "wall-clock time of the policy alone: mean when it decides for a batch, median for one request.",
}

_KINDS = {
    "exact": "an exact optimum",
    "relaxation": "the optimum of an easier problem",
    "perfect_information": "the optimum with the future known",
    "statistical": "an estimate with an interval",
}

_TRAINING = {
    "Held-out figures": "What the validation instances said during training; dotted: the best so far; shaded, where it "
    "was measured: 95 % interval; dashed: limits.",
    "Constraints and multipliers": "Costs as training estimated them, against their limits (dashed), and what a unit "
    "of them was priced at.",
    "Training figures": "What training itself measured.",
}

_HIDDEN_FACTS = ("scenario_values", "stages", "warnings", "format", "status", "result")


def write_report(
    path: Path,
    *,
    problem: Problem,
    evidence: Evidence,
    policies: Mapping[str, Policy],
    run_info: Mapping[str, Any],
    curves: Sequence[Mapping[str, Any]],
) -> None:
    """Write the report of a run, in one step.

    Args:
        path: of the HTML file.
        problem: supplies the scenario, the constraints and the domain's figures.
        evidence: what was measured.
        policies: by name, able to act; the domain's figures play them.
        run_info: facts such as command, seed, versions, machine; nested mappings are fine.
        curves: rows of the training curves (``step`` and named values); empty: no such section.
    """
    page = _Page()
    name = f"{_words(evidence.domain)}: {evidence.scenario}"
    sections = [
        f"<header><h1>{escape(name)}</h1><p>{escape(problem.scenario.title)}</p></header>",
        _summary(problem, evidence, own_data=bool(run_info.get("data"))),
        _comparison(page, evidence),
        _constraints(page, problem, evidence),
        _differences(page, evidence),
        _domain_figures(page, problem, evidence, policies),
        _training(page, curves, evidence),
        _definitions(),
        _scenario(problem),
        _facts(run_info, evidence),
    ]
    write_text(path, _document(name, [section for section in sections if section], page))


def write_findings(path: Path, *, problem: Problem, title: str, findings: Findings) -> None:
    """Write what a study found as one page, in one step.

    Args:
        path: of the HTML file.
        problem: whose scenario was studied.
        title: of the page, in words.
        findings: table, notes and pictures.
    """
    page = _Page()
    name = f"{_words(problem.scenario.domain)}: {problem.scenario.name}, {title}"
    rows = [("", [escape(cell) for cell in row]) for row in findings.rows]
    notes = "".join(f"<li>{escape(note)}</li>" for note in findings.notes)
    sections = [
        f"<header><h1>{escape(name)}</h1><p>{escape(problem.scenario.title)}</p></header>",
        _section("In figures", _table(title, [escape(cell) for cell in findings.columns], rows)),
        _section("To know", f"<ul>{notes}</ul>") if notes else "",
        *(
            _section(heading, page.figure(heading, caption, partial(_drawn, figure)))
            for heading, caption, figure in findings.figures.values()
        ),
        _scenario(problem),
    ]
    write_text(path, _document(name, [section for section in sections if section], page))


def _drawn(figure: Any) -> Any:
    return figure


class _Page:
    """Collects the figures of the page and numbers them."""

    def __init__(self) -> None:
        self.data: list[str] = []

    def figure(self, title: str, caption: str, draw: Callable[[], Any]) -> str:
        """A figure with caption and text for screen readers; a note in its place if it cannot be drawn."""
        try:
            figure = draw()
        except Exception as error:
            reason = escape(f"{title}: this picture could not be drawn ({type(error).__name__}: {error})")
            return f'<p class="warning">{reason}</p>'
        figure.update_layout(template=_template())
        key = f"figure-{len(self.data) + 1}"
        drawing = figure.to_json().replace("<", "\\u003c")
        self.data.append(f'<script type="application/json" id="{key}-data">{drawing}</script>')
        height = int(figure.layout.height or 450)
        alternative = escape(f"{title}. {caption}", quote=True)
        return (
            f'<figure><div class="plot" id="{key}" role="img" aria-label="{alternative}" style="min-height:{height}px">'
            f"</div><figcaption>{escape(caption)}</figcaption></figure>"
        )


def _template() -> Any:
    """Narrow margins, labels that fit a phone; colours come from the page."""
    from plotly import io

    template = io.templates["plotly_white"]
    template.layout.margin = {"l": 10, "r": 10, "t": 50, "b": 40}
    template.layout.font = {"size": 13, "family": "system-ui, sans-serif"}
    template.layout.xaxis.automargin = template.layout.yaxis.automargin = True
    template.layout.title.font.size = 15
    return template


def _document(name: str, sections: Sequence[str], page: _Page) -> str:
    """The page: style, text, data of the figures, and plotly's library once."""
    style = files("interlock.scenarios").joinpath("report.css").read_text(encoding="utf-8")
    scripts = ""
    if page.data:
        from plotly.offline import get_plotlyjs

        drawing = files("interlock.scenarios").joinpath("report.js").read_text(encoding="utf-8")
        scripts = "\n".join([*page.data, f"<script>{get_plotlyjs()}</script>", f"<script>{drawing}</script>"])
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}</title>
<style>
{style}</style>
</head>
<body>
{body}
<noscript><p class="warning">The pictures need JavaScript; all tables are complete without it.</p></noscript>
{scripts}
</body>
</html>
"""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(part for part in parts if part) + "</section>"


def _table(caption: str, head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table that scrolls in its own box; cells are HTML, the first of a row is its heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = [
        f'<tr class="{kind}"><th scope="row">{cells[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells[1:])
        + "</tr>"
        for kind, cells in rows
    ]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _summary(problem: Problem, evidence: Evidence, *, own_data: bool) -> str:
    """What was done, what came out, what to beware of."""
    objective = evidence.objective
    learned = [name for name, policy in evidence.policies.items() if policy.learned]
    rules = [name for name in evidence.policies if name not in learned]
    compared = _listing([f"{name} (learned)" for name in learned] + rules)
    better = "larger" if objective.sense == "maximise" else "smaller"
    unseen = ", none of which was used in training" if evidence.split == "test" and not own_data else ""
    played = (
        f"{compared} played the same {evidence.instances:,} {evidence.split} instances of scenario {evidence.scenario} "
        f"with the same random numbers (seed {evidence.seed}){unseen}. What counts is {_words(objective.name)} in "
        f"{objective.unit}; {better} is better."
    )
    limits = "; ".join(
        f"{_words(constraint.name)}: {constraint.describe or constraint.kind}" for constraint in problem.constraints
    )
    said = plain_words(evidence)
    findings = "".join(f"<li>{escape(line)}</li>" for line in said if not line.startswith("! "))
    warnings = "".join(
        f'<p class="warning" role="note">{escape(line[2:])}</p>' for line in said if line.startswith("! ")
    )
    return _section(
        "In short",
        f"<p>{escape(played)}</p>",
        f"<p>Limits that a policy must keep: {escape(limits)}.</p>" if limits else "",
        f"<ul>{findings}</ul>" if findings else "",
        warnings,
    )


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _label(name: str, policy: PolicyEvidence) -> str:
    return escape(name) + (" <small>(learned)</small>" if policy.learned else "")


def _kind(policy: PolicyEvidence) -> str:
    return "learned" if policy.learned else ""


def _interval(low: float, high: float, like: float) -> str:
    return f"{rounded(low, like)} to {rounded(high, like)}"


def _with_interval(estimate: Estimate | None, like: float, *, signed: bool = False) -> str:
    if estimate is None:
        return "–"
    low, high = (rounded(value, like, signed=signed) for value in (estimate.low, estimate.high))
    return f"{rounded(estimate.mean, like, signed=signed)} <small>({low} to {high})</small>"


def _comparison(page: _Page, evidence: Evidence) -> str:
    """The ranking, its picture, and a second table with the further figures."""
    objective = evidence.objective
    like = max(abs(policy.objective.mean) for policy in evidence.policies.values()) / 10
    rows, more = [], []
    for name, policy in evidence.policies.items():
        own, label = policy.objective, _label(name, policy)
        ranked = [label, str(policy.rank), rounded(own.mean, like), _interval(own.low, own.high, like)]
        ranked += [rounded(own.worst_decile, like), _with_interval(policy.score, 1.0), f"{policy.decision_ms:.3f}"]
        rows.append((_kind(policy), ranked))
        further = [label, f"{rounded(own.iqm, like)} <small>({_interval(own.iqm_low, own.iqm_high, like)})</small>"]
        further += [rounded(own.median, like), _with_interval(policy.gap, like), f"{policy.single_ms:.3f}"]
        further += [_with_interval(Estimate(m.mean, m.low, m.high), m.mean) for m in policy.metrics.values()]
        more.append((_kind(policy), further))
    for name, bound in evidence.bounds.items():
        label = f"{escape(_words(name))} <small>(bound)</small>"
        cells = [label, "", rounded(bound.value, like), _interval(bound.low, bound.high, like), "", "", ""]
        rows.append(("bound", cells))
    first = next(iter(evidence.policies.values()))
    head = ["policy", "rank", "mean", "95 % interval", "worst 10 %", "score", "ms per decision"]
    further_head = ["policy", "IQM", "median", "gap to bound", "ms, single request"]
    further_head += [f"{escape(_words(name))} <small>({escape(m.unit)})</small>" for name, m in first.metrics.items()]
    caption = f"{_words(objective.name)} in {objective.unit}, best policy first"
    described = [
        f"Bound {_words(name)}, {_KINDS[bound.kind]}: {bound.describe}" for name, bound in evidence.bounds.items()
    ]
    return _section(
        "How the policies compare",
        _table(caption, head, rows),
        "".join(f'<p class="soft">{escape(line)}.</p>' for line in described),
        page.figure(
            "Mean objective",
            "Mean with 95 % interval; diamonds are learned policies, dashed lines bounds.",
            partial(report_figures.objective_figure, evidence),
        ),
        _table("further figures, with 95 % intervals", further_head, more),
    )


def _constraints(page: _Page, problem: Problem, evidence: Evidence) -> str:
    """One table and one dial per constraint."""
    if not problem.constraints:
        return ""
    head = ["policy"]
    for constraint in problem.constraints:
        limit = f"{constraint.kind}, limit {constraint.limit:g} {constraint.unit}"
        head.append(f"{escape(_words(constraint.name))} <small>({escape(limit)})</small>")
    rows = [
        (_kind(policy), [_label(name, policy), *map(_verdict, policy.constraints.values())])
        for name, policy in evidence.policies.items()
    ]
    dials = []
    for constraint in problem.constraints:
        entries = [policy.constraints[constraint.name] for policy in evidence.policies.values()]
        if constraint.kind == "hard" and all(entry.satisfied for entry in entries):
            continue
        dials.append(
            page.figure(
                f"Constraint {_words(constraint.name)}",
                f"{constraint.describe or _words(constraint.name)}: value with 95 % interval against the limit.",
                partial(report_figures.constraint_figure, evidence, constraint.name),
            )
        )
    return _section("Constraints", _table("value, 95 % interval, kept or not", head, rows), *dials)


def _verdict(entry: ConstraintEvidence) -> str:
    like = max(abs(entry.limit), abs(entry.high))
    mark = '<span class="yes">✓ satisfied</span>' if entry.satisfied else '<span class="no">✗ not satisfied</span>'
    return f"{_with_interval(Estimate(entry.mean, entry.low, entry.high), like)} {mark}"


def _differences(page: _Page, evidence: Evidence) -> str:
    """Paired differences from the reference heuristic and from the best baseline."""
    if evidence.reference_heuristic is None or len(evidence.policies) < 2:
        return ""
    head = ["policy", f"against {escape(evidence.reference_heuristic)}"]
    if evidence.best_baseline not in (None, evidence.reference_heuristic):
        head.append(f"against {escape(str(evidence.best_baseline))} <small>(best baseline)</small>")
    rows = []
    for name, policy in evidence.policies.items():
        cells = [_difference(estimate) for estimate in (policy.vs_reference, policy.vs_best)]
        rows.append((_kind(policy), [_label(name, policy), *cells[: len(head) - 1]]))
    return _section(
        "Paired differences",
        _table(
            f"difference in {_words(evidence.objective.name)} ({evidence.objective.unit}), 95 % interval", head, rows
        ),
        page.figure(
            "Paired differences",
            f"Difference from {evidence.reference_heuristic} on the same instances, with 95 % interval.",
            partial(report_figures.difference_figure, evidence),
        ),
    )


def _difference(estimate: Estimate | None) -> str:
    like = 0.0 if estimate is None else max(abs(estimate.low), abs(estimate.high))
    return _with_interval(estimate, like, signed=True)


def _domain_figures(page: _Page, problem: Problem, evidence: Evidence, policies: Mapping[str, Policy]) -> str:
    """The pictures of the domain, each under its own heading."""
    return "\n".join(
        _section(
            figure.title,
            page.figure(figure.title, figure.caption, partial(figure.draw, policies, evidence)),
        )
        for figure in problem.figures().values()
    )


def _training(page: _Page, curves: Sequence[Mapping[str, Any]], evidence: Evidence) -> str:
    """Curves over steps and CPU seconds; without any, no such section."""
    figures = [
        page.figure(title, _TRAINING[title], partial(report_training.training_figure, curves, drawn))
        for title, drawn in report_training.panels(curves, evidence).items()
    ]
    return _section("Training", *figures) if figures else ""


def _definitions() -> str:
    listed = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in DEFINITIONS.items())
    return _section("What the figures mean", f'<dl class="words">{listed}</dl>')


def _scenario(problem: Problem) -> str:
    text = yaml.safe_dump(problem.scenario.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return _section(
        "The scenario in full",
        f"<details><summary>{escape(problem.scenario.name)}, every value</summary><pre>{escape(text)}</pre></details>",
    )


def _facts(run_info: Mapping[str, Any], evidence: Evidence) -> str:
    """How to do it again, and on what it was done."""
    facts = {key: value for key, value in run_info.items() if key not in _HIDDEN_FACTS and value not in (None, "", [])}
    facts.setdefault("scenario_hash", evidence.scenario_hash)
    lines = "".join(f"<dt>{escape(_words(key))}</dt><dd>{_fact(value)}</dd>" for key, value in facts.items())
    return _section("The run", f'<dl class="facts">{lines}</dl>')


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(key))} {_fact(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_fact(entry) for entry in value)
    return "–" if value is None else escape(str(value))

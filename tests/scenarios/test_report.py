"""The report: complete, self-contained, escaped, readable without scripts; the table fits a terminal."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tiny_problem import CONSTRAINTS, TinyProblem, random_order, top_up

from interlock.core.evaluation.evidence import evaluate_policies
from interlock.core.evaluation.record import Evidence
from interlock.core.policy import FunctionPolicy
from interlock.core.problem import Figure
from interlock.scenarios.console import evidence_table
from interlock.scenarios.report import DEFINITIONS, write_report

NASTY = "net<script>alert(1)</script>"
CURVES = [
    {"step": 100 * k, "eval/objective": 10.0 + k, "train/loss": None if k == 1 else 1.0 / (k + 1)} for k in range(4)
]
FACTS = {"command": "interlock tiny run <shelf>", "seed": 3, "versions": {"numpy": "2"}, "machine": {"cores": 2}}


class Page(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.drawings: list[Any] = []
        self._open: list[str] = []
        self._json = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        self._json = tag == "script" and dict(attrs).get("type") == "application/json"
        if tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._json and self._open[-1] == "script":
            self.drawings.append(json.loads(data))
        elif "script" not in self._open and "style" not in self._open:
            self.words.append(data)
            if "h1" in self._open or "h2" in self._open:
                self.headings[-1] += data

    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def problem_and_evidence(**names: str) -> tuple[TinyProblem, Evidence, dict[str, Any]]:
    problem = TinyProblem()
    problem.constraints = (replace(CONSTRAINTS[0], limit=1.5), *CONSTRAINTS[1:])
    policies = {"top_up": FunctionPolicy(top_up), "random": FunctionPolicy(random_order)}
    policies |= {name: FunctionPolicy(random_order, 9) for name in names.values()}
    return problem, evaluate_policies(problem, policies), policies


def written(path: Path, **changes: Any) -> str:
    problem, evidence, policies = problem_and_evidence(learned=NASTY)
    arguments = {"problem": problem, "evidence": evidence, "policies": policies, "run_info": FACTS, "curves": CURVES}
    write_report(path / "report.html", **(arguments | changes))
    return (path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("report"))


def test_nothing_is_loaded_from_anywhere(text: str) -> None:
    page = Page(text)
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "data"} & set(attributes), f"{tag} {attributes}"
        assert tag not in ("link", "iframe", "img", "object")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert text.count("plotly.js v") == 1


def test_it_reads_on_a_phone_and_for_screen_readers(text: str) -> None:
    page = Page(text)
    metas = [attributes for tag, attributes in page.tags if tag == "meta"]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert ("html", {"lang": "en"}) in page.tags
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption") > 2
    boxes = [attributes for tag, attributes in page.tags if attributes.get("class") == "scroll"]
    assert len(boxes) == names.count("table")
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    plots = [attributes for _, attributes in page.tags if attributes.get("class") == "plot"]
    assert len(plots) == names.count("figcaption") == len(page.drawings)
    assert all(plot["role"] == "img" and len(plot["aria-label"] or "") > 20 for plot in plots)


def test_it_holds_every_section_in_order(text: str) -> None:
    assert Page(text).headings == [
        "tiny: shelf",
        "In short",
        "How the policies compare",
        "Constraints",
        "Paired differences",
        "Revenue by week",
        "Training",
        "What the figures mean",
        "The scenario in full",
        "The run",
    ]


def test_it_says_what_was_done_and_what_came_out(text: str) -> None:
    words = Page(text).text()
    assert "played the same 60 test instances of scenario shelf with the same random numbers (seed 20210)" in words
    assert "none of which was used in training" in words
    assert "What counts is revenue in EUR; larger is better" in words
    assert f"{NASTY}: " in words
    assert "below top_up, worse" in words
    assert "✗ not satisfied" in words
    assert "✓ satisfied" in words
    assert "a shelf of <6> pieces" in words
    for meaning in DEFINITIONS.values():
        assert meaning in words
    assert "interlock tiny run <shelf>" in words
    assert "test_seed: 20210" in words


def test_users_own_instances_are_not_called_unseen(tmp_path: Path) -> None:
    words = Page(written(tmp_path, run_info={**FACTS, "data": "items.csv"})).text()
    assert "none of which was used in training" not in words
    assert "items.csv" in words


def test_figures_hold_the_numbers_of_the_evidence(text: str) -> None:
    _, evidence, _ = problem_and_evidence(learned=NASTY)
    page = Page(text)
    first = page.drawings[0]
    means = {trace["y"][0]: trace["x"][0] for trace in first["data"]}
    assert means == {name: policy.objective.mean for name, policy in evidence.policies.items()}
    assert all("error_x" in trace for trace in first["data"])  # a mean is never drawn without its interval
    symbols = {trace["y"][0]: trace["marker"]["symbol"] for trace in first["data"]}
    assert symbols[NASTY] != symbols["top_up"] == symbols["random"]
    assert {shape["x0"] for shape in first["layout"]["shapes"]} == {bound.value for bound in evidence.bounds.values()}


def test_user_text_is_escaped_everywhere(text: str) -> None:
    body = text[: text.index('<script type="application/json"')]
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert "<6>" not in text


def test_sections_without_content_are_left_out(tmp_path: Path) -> None:
    problem = TinyProblem()
    problem.figures = dict  # type: ignore[method-assign]
    policies = {"top_up": FunctionPolicy(top_up)}
    evidence = evaluate_policies(problem, policies, bounds=False)
    text = written(tmp_path, problem=problem, evidence=evidence, policies=policies, curves=[])
    headings = Page(text).headings
    assert "Training" not in headings
    assert "Paired differences" not in headings
    assert "Revenue by week" not in headings


def test_a_picture_that_cannot_be_drawn_leaves_a_note(tmp_path: Path) -> None:
    def draw(policies: Any, evidence: Any) -> Any:
        raise ValueError("no data for <this>")

    problem, evidence, policies = problem_and_evidence()
    problem.figures = lambda: {"odd": Figure("Odd picture", "Shows nothing.", draw)}  # type: ignore[method-assign]
    text = written(tmp_path, problem=problem, evidence=evidence, policies=policies)
    assert "Odd picture: this picture could not be drawn (ValueError: no data for <this>)" in Page(text).text()


def test_a_failed_write_leaves_the_old_report(tmp_path: Path) -> None:
    old = written(tmp_path)
    with pytest.raises(AttributeError):
        written(tmp_path, run_info=None)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == old
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def shown(evidence: Evidence, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"), highlight=False)  # noqa: SIM115
    console.print(evidence_table(evidence))
    return console.export_text()


def test_the_table_of_the_terminal_fits_80_columns_and_says_who_loses() -> None:
    _, evidence, _ = problem_and_evidence(learned="mask_ppo")
    lines = shown(evidence).splitlines()
    assert max(map(len, lines)) <= 80
    whole = "\n".join(lines)
    ranks = [re.match(r"\s+(\d)\s+(●?)\s*(\w+)", line) for line in lines]
    order = [found[3] for found in ranks if found]
    assert order == list(evidence.policies)
    assert "● mask_ppo" in whole
    assert "all_sold (bound)" in whole.replace("\n", " ")
    assert "below top_up, worse (95 % interval" in re.sub(r"\s+", " ", whole)
    assert "✗" in whole
    assert f"{evidence.policies['top_up'].objective.mean:.2f}" in whole


def test_hard_constraints_that_all_keep_take_one_line() -> None:
    _, evidence, _ = problem_and_evidence()
    assert "✓ overfilled (hard, limit 0 times): kept by all" in shown(evidence)
    broken = replace(
        evidence,
        policies={
            name: replace(
                policy,
                constraints={
                    **policy.constraints,
                    "overfilled": replace(policy.constraints["overfilled"], satisfied=False),
                },
            )
            for name, policy in evidence.policies.items()
        },
    )
    assert "kept by all" not in shown(broken)


def test_one_policy_alone_has_no_differences() -> None:
    evidence = evaluate_policies(TinyProblem(), {"top_up": FunctionPolicy(top_up)})
    text = shown(evidence)
    assert "against" not in text
    assert np.isclose(
        float(re.findall(r"1 +top_up +([\d.]+)", text)[0]), evidence.policies["top_up"].objective.mean, atol=0.01
    )

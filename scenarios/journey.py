"""The journeys of architecture: train, compare, evaluate, report, export, each a stage of a run that can be resumed.

A stage that is done is never done again; every stage reads what the ones before it left on disk. So a run that was
killed anywhere goes on to the same result as one that was not.
"""

from __future__ import annotations

import csv
import io
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.core.errors import BadInput, Interrupted, NotExportable, UsageError
from interlock.core.problem import DomainInfo, MethodInfo, Verb
from interlock.scenarios import machine, plugins
from interlock.scenarios.files import check_folder, sha256_of, write_bytes, write_folder, write_text
from interlock.scenarios.loading import Method
from interlock.scenarios.policies import (
    LAST_FOLDER,
    chosen,
    fallback_assets,
    load_policy,
    named_policy,
    needing,
    policies_of,
)
from interlock.scenarios.screen import Screen
from interlock.scenarios.store import RunFolder, RunStore

if TYPE_CHECKING:
    from interlock.core.evaluation.record import Evidence
    from interlock.core.policy import SavedPolicy
    from interlock.core.problem import Problem

STAGES: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "compare": ("compare",),
    "evaluate": ("compare",),
    "run": ("train", "compare", "report", "export"),
}
"""Verb of every domain -> the stages it consists of."""

COPIED_FILES = ("evidence.json", "evidence.csv", "report.html")
COPIED_FOLDERS = ("policy", "bundle")
"""What ``--out`` copies, as far as the run has it."""


@dataclass
class Journey:
    """One run under way.

    Attributes:
        domain: the domain.
        scenario: the checked scenario.
        method: what trains; ``None`` where nothing is trained.
        folder: the run.
        screen: where messages and progress go.
        checkpoint_every: seconds between checkpoints.
    """

    domain: DomainInfo
    scenario: Any
    method: Method | None
    folder: RunFolder
    screen: Screen
    checkpoint_every: float = 30.0
    _problem: Problem | None = None

    @property
    def problem(self) -> Problem:
        """The problem of the scenario, built once; with the user's instances if the run has any."""
        if self._problem is None:
            self._problem = problem_of(self.domain, self.folder)
        return self._problem

    @property
    def verb(self) -> str:
        """What was asked for."""
        verb: str = self.folder.record["verb"]
        return verb


def stages_of(domain: DomainInfo, verb: str) -> tuple[str, ...]:
    """The stages that a verb consists of: a common one, or a domain's own that makes a run."""
    own = domain.verbs.get(verb)
    return own.stages if isinstance(own, Verb) else STAGES[verb]


def build_problem(domain: DomainInfo, scenario: Any, data: Path | None = None) -> Problem:
    """The problem of a scenario, over the user's instances if a file is given.

    Raises:
        BadInput: the file has problems, or the scenario names a reference that the problem does not have.
    """
    build = plugins.resolve(domain.problem)
    problem: Problem = build(scenario) if data is None else build(scenario, data)
    evaluation = scenario.evaluation
    carried = _carried() if evaluation.reference_bound is not None else []
    references = {
        "reference_heuristic": (evaluation.reference_heuristic, problem.baselines()),
        "reference_bound": (evaluation.reference_bound, [*problem.bounds(), *carried]),
    }
    wrong = [
        f"evaluation.{field}: got {name!r}{plugins.did_you_mean(name, known)}; there are: {', '.join(known) or 'none'}"
        for field, (name, known) in references.items()
        if name is not None and name not in known
    ]
    if wrong:
        raise BadInput(f"scenario {scenario.name}", wrong)
    return problem


def _carried() -> list[str]:
    """Names of the bounds that policies of the installed methods may carry."""
    return [name for method in plugins.available("methods") if method.info for name in method.info.bounds]


def problem_of(domain: DomainInfo, folder: RunFolder, *, with_data: bool = True) -> Problem:
    """The problem of a run, over the user's instances if it has any and they are asked for.

    Raises:
        BadInput: the file of the instances is not the one that the run began with.
    """
    data, began_with = folder.record.get("data"), folder.record.get("data_sha256")
    if not data or not with_data:
        return build_problem(domain, scenario_of(domain, folder))
    if began_with is not None and Path(data).exists() and (now := sha256_of(Path(data))) != began_with:
        raise BadInput(data, [f"has changed since run {folder.id} began: its SHA-256 was {began_with}, it is {now}"])
    return build_problem(domain, scenario_of(domain, folder), Path(data))


def start(
    domain: DomainInfo,
    scenario: Any,
    method: Method | None,
    *,
    store: RunStore,
    screen: Screen,
    verb: str,
    command: str,
    seed: int = 0,
    budget: float | None = None,
    policies: Sequence[str] = (),
    data: Path | None = None,
) -> Journey:
    """A new run in the store, ready for its stages; nothing is stored if its data or policies cannot be read.

    Args:
        domain: the domain.
        scenario: the checked scenario.
        method: what trains; needed by verbs with the stage ``train``.
        store: where the run goes.
        screen: where messages go.
        verb: a key of ``STAGES``, or a ``Verb`` of the domain.
        command: what the user typed.
        seed: of training.
        budget: seconds of training.
        policies: for ``compare``: runs whose policies stand beside the baselines; for ``evaluate``: the one policy, a
            baseline, a run or the folder of a policy.
        data: file of the user's instances.

    Raises:
        UsageError: there is no such policy.
        BadInput: as ``build_problem``.
    """
    problem = build_problem(domain, scenario, data)
    for reference in policies:
        named_policy(reference, problem, store)
    record: dict[str, Any] = {
        "verb": verb,
        "command": command,
        "domain": domain.name,
        "scenario": scenario.name,
        "scenario_hash": scenario.hash(),
        "scenario_values": scenario.model_dump(mode="json"),
        "method": method.preset if method else None,
        "method_plugin": method.info.name if method else None,
        "settings": method.config.model_dump(mode="json") if method else {},
        "seed": seed,
        "budget": budget,
        "policies": list(policies),
        "trained_by": _trained_by(policies[0], problem, store) if verb == "evaluate" else None,
        "data": str(data.resolve()) if data else None,
        "data_sha256": sha256_of(data) if data else None,
        "versions": machine.versions(),
        "git": machine.commit(),
        "machine": machine.machine(),
        "stages": {},
        "warnings": [],
        "seconds": 0.0,
        "cpu_seconds": 0.0,
    }
    folder = store.create(f"{scenario.name}-{method.preset if method else verb}-s{seed}", record)
    import yaml

    write_text(folder.path / "scenario.yaml", yaml.safe_dump(record["scenario_values"], sort_keys=False))
    return Journey(domain, scenario, method, folder, screen, _problem=problem)


def _trained_by(reference: str, problem: Problem, store: RunStore) -> dict[str, Any] | None:
    """Of the run that a policy comes from: what a recorded figure has to tell; ``None`` if it is not a run."""
    if plugins.known_as(reference, problem.baselines()) in problem.baselines() or Path(reference).is_dir():
        return None
    record = store.open(reference).record
    return {name: record[name] for name in ("method", "seed", "budget")} | {"train": record["stages"].get("train")}


def resume(domain: DomainInfo, folder: RunFolder, *, screen: Screen, verb: str, budget: float | None = None) -> Journey:
    """A run that was interrupted, with the scenario and settings it began with, whatever the files say now.

    Args:
        domain: the domain.
        folder: the run.
        screen: where messages go.
        verb: which must be the one that the run began with.
        budget: new seconds of training in all; a run that had spent its budget trains on.

    Raises:
        UsageError: the run is of another domain or verb.
    """
    record = folder.record
    if (record["domain"], record["verb"]) != (domain.name, verb):
        raise UsageError(
            f"run {folder.id} belongs to `interlock {record['domain']} {record['verb']}`, "
            f"not to `interlock {domain.name} {verb}`"
        )
    folder.lock()
    installed = machine.versions()["interlock"]
    if record["versions"]["interlock"] != installed:
        screen.warn(f"run {folder.id} began with interlock {record['versions']['interlock']}, this is {installed}")
    if budget is not None:
        folder.update(budget=budget)
        trained = folder.record["stages"].get("train")
        if folder.record.get("budget_spent") and budget > trained["seconds"]:
            folder.update(stages={"train": {**trained, "status": "stopped"}}, budget_spent=False)
    return Journey(domain, scenario_of(domain, folder), _method_of(folder), folder, screen)


def scenario_of(domain: DomainInfo, folder: RunFolder) -> Any:
    """The scenario that a run began with."""
    return plugins.resolve(domain.schema).model_validate(folder.record["scenario_values"])


def carry_out(journey: Journey) -> None:
    """Do the stages of a run that are not done yet.

    Raises:
        Interrupted: the user stopped it; ``--resume`` goes on.
    """
    work = {"train": _train, "compare": _compare, "report": _report, "export": _export}
    journey.folder.update(status="running", error=None)
    try:
        for name in stages_of(journey.domain, journey.verb):
            if journey.folder.record["stages"].get(name, {}).get("status") != "done":
                with _stage(journey, name) as account:
                    work[name](journey, account)
        journey.folder.update(status="done")
    except (Interrupted, KeyboardInterrupt) as error:
        journey.folder.update(status="interrupted")
        command = f"interlock {journey.domain.name} {journey.verb} --resume {journey.folder.id}"
        raise Interrupted(f"{str(error) or 'interrupted'}; go on with: {command}") from error
    except Exception as error:
        journey.folder.update(status="failed", error=f"{type(error).__name__}: {error}")
        raise
    finally:
        journey.folder.unlock()


def evidence_of(folder: RunFolder) -> Evidence:
    """What the comparison of a run found.

    Raises:
        UsageError: the run has none.
    """
    from interlock.core.evaluation.record import Evidence

    if not (folder.path / "evidence.json").is_file():
        compare = f"interlock {folder.record['domain']} compare {folder.record['scenario']} --policy {folder.id}"
        raise UsageError(f"run {folder.id} has no evidence; gather it with `{compare}`")
    return Evidence.load(folder.path)


def check_target(target: Path, *, trains: bool) -> None:
    """See that the results of a run may be copied into a folder: nothing is replaced there but results of ours.

    Args:
        target: the folder.
        trains: whether the run trains: only then there are a policy and a bundle.

    Raises:
        UsageError: the folder cannot be one, or something else has a name that is needed.
    """
    from interlock.operations.bundle import is_bundle

    check_folder(target, "--out")
    for name in COPIED_FILES:
        if (target / name).is_dir():
            raise UsageError(f"--out {target}: {target / name} is a folder, a file of this name is to be written")
    if not trains:
        return
    for name in COPIED_FOLDERS:
        path = target / name
        if not path.exists() and not path.is_symlink():
            continue
        ours = is_bundle(path) if name == "bundle" else (path / "policy.json").is_file()
        if path.is_symlink() or not path.is_dir() or (any(path.iterdir()) and not ours):
            raise UsageError(f"--out {target}: {path} exists and is no {name} of ours: name another folder, or move it")


def copy_results(folder: RunFolder, target: Path) -> None:
    """Copy what a run came to (evidence, report, policy, bundle) into another folder.

    Raises:
        UsageError: as ``check_target``.
    """
    check_target(target, trains=folder.record["method"] is not None)
    for name in COPIED_FILES:
        if (folder.path / name).is_file():
            write_bytes(target / name, (folder.path / name).read_bytes())
    for name in COPIED_FOLDERS:
        if (folder.path / name).is_dir():
            write_folder(target / name, partial(shutil.copytree, folder.path / name, dirs_exist_ok=True))


def result(folder: RunFolder, evidence: Evidence | None) -> dict[str, Any]:
    """The object that ``--json`` prints: the run, ``policies`` and ``bounds`` by name, and ``warnings``.

    Warnings are what a reader of the figures has to know, notes about the data included, then what training and export
    had to say; one sentence each.
    """
    record = folder.record
    head = {name: record[name] for name in ("domain", "scenario")} | {"run": folder.id, "seconds": record["seconds"]}
    figures = evidence.to_json() if evidence is not None else {"policies": {}, "bounds": {}}
    told = (*(evidence.warnings if evidence is not None else ()), *record["warnings"])
    return head | figures | {"warnings": list(dict.fromkeys(told))}


def write_report(folder: RunFolder, path: Path, problem: Problem) -> None:
    """The HTML report of a run that has evidence."""
    from interlock.scenarios import report
    from interlock.scenarios.running import read_curves

    evidence = evidence_of(folder)
    policies = policies_of(folder, problem)
    policies |= {name: make(0) for name, make in problem.baselines().items()}
    chosen = {name: policy for name, policy in policies.items() if name in evidence.policies}
    report.write_report(
        path,
        problem=problem,
        evidence=evidence,
        policies=chosen,
        run_info=dict(folder.record),
        curves=read_curves(folder.path),
    )


def write_bundle(folder: RunFolder, path: Path, problem: Problem, fallback: str = "") -> None:
    """The bundle of a run's policy, for operations; ``fallback`` names a policy that a fallback rule shall decide by.

    Raises:
        UsageError: the run has no policy; ``NotExportable`` if it has one that no bundle can hold.
    """
    from interlock.core.policy import SavedPolicy
    from interlock.scenarios import export

    policy = load_policy(folder, problem)
    if not isinstance(policy, SavedPolicy):
        raise UsageError(f"the policy of run {folder.id} cannot be exported: it has no `export_scorer`")
    summary: dict[str, Any] = {}
    if (folder.path / "evidence.json").is_file():
        summary = evidence_of(folder).to_json()
    assets = fallback_assets(fallback, problem, RunStore(folder.path.parent)) if fallback else {}
    with needing(plugins.load("methods", folder.record["method_plugin"]), "export"):
        export.write_bundle(
            path, problem=problem, policy=policy, run_info=dict(folder.record), evidence_summary=summary, assets=assets
        )


def _train(journey: Journey, account: Callable[[], None]) -> None:
    from interlock.scenarios.running import StoredRun

    method, folder = journey.method, journey.folder
    if method is None:
        raise UsageError(f"run {folder.id} has no method to train with")
    problem = journey.problem  # built before the clock of the budget starts
    run = StoredRun(
        folder,
        seed=folder.record["seed"],
        budget=folder.record["budget"],
        screen=journey.screen,
        checkpoint_every=journey.checkpoint_every,
        on_checkpoint=account,
    )
    with run.training(), needing(method.info, "train"):
        policy: SavedPolicy = plugins.resolve(method.info.train)(problem, method.config, run)
    run.write_curves()
    write_folder(folder.path / "policy", policy.save)
    last: SavedPolicy | None = getattr(policy, "last", None)
    if last is not None:
        write_folder(folder.path / LAST_FOLDER, last.save)
    elif (folder.path / LAST_FOLDER).is_dir():  # of a shorter training that was resumed
        shutil.rmtree(folder.path / LAST_FOLDER)
    folder.update(budget_spent=run.budget_spent)


def _compare(journey: Journey, account: Callable[[], None]) -> None:
    from interlock.core.evaluation.evidence import evaluate_policies

    folder, problem = journey.folder, journey.problem
    policies = policies_of(folder, problem)
    if journey.verb != "evaluate":
        policies |= {name: make(0) for name, make in problem.baselines().items()}  # evidence seeds every policy
    with journey.screen.progress("compare") as progress:
        evidence = evaluate_policies(problem, policies, progress=_over_all(progress.update, len(policies)))
    evidence = replace(evidence, warnings=(*evidence.warnings, *folder.record["warnings"]))
    evidence.save(folder.path)
    write_text(folder.path / "evidence.csv", _csv(evidence.to_csv_rows()))
    learned = chosen(name for name, policy in evidence.policies.items() if policy.learned)
    shown = evidence.policies[learned or next(iter(evidence.policies))]
    folder.update(result=f"{shown.objective.mean:.4g} {evidence.objective.unit}")


def _report(journey: Journey, account: Callable[[], None]) -> None:
    journey.screen.say("writing the report")
    write_report(journey.folder, journey.folder.path / "report.html", journey.problem)


def _export(journey: Journey, account: Callable[[], None]) -> None:
    journey.screen.say("writing the bundle")
    path = journey.folder.path / "bundle"
    try:
        write_bundle(journey.folder, path, journey.problem)
    except NotExportable as error:  # the run is whole without a bundle: what was trained is compared and reported
        warning = f"no bundle: {error}"
        journey.screen.warn(warning)
        journey.folder.update(warnings=[*journey.folder.record["warnings"], warning])


@contextmanager
def _stage(journey: Journey, name: str) -> Iterator[Callable[[], None]]:
    """Account for a stage in ``run.json``, also whenever the block asks; time spent before a resume counts."""
    folder = journey.folder
    before = folder.record["stages"].get(name, {"seconds": 0.0, "cpu_seconds": 0.0})
    wall, cpu = time.monotonic(), time.process_time()

    def account(status: str = "running") -> None:
        spent = {
            "status": status,
            "seconds": round(before["seconds"] + time.monotonic() - wall, 3),
            "cpu_seconds": round(before["cpu_seconds"] + time.process_time() - cpu, 3),
        }
        stages = {**folder.record["stages"], name: spent}
        totals = {key: round(sum(stage[key] for stage in stages.values()), 3) for key in ("seconds", "cpu_seconds")}
        folder.update(stages=stages, peak_memory_mb=machine.peak_memory_mb(), **totals)

    account()
    try:
        yield account
    except BaseException:
        account("stopped")
        raise
    account("done")


def _method_of(folder: RunFolder) -> Method | None:
    record = folder.record
    if record["method_plugin"] is None:
        return None
    info: MethodInfo = plugins.load("methods", record["method_plugin"])
    return Method(record["method"], info, plugins.resolve(info.config).model_validate(record["settings"]))


def _over_all(update: Callable[..., None], policies: int) -> Callable[[str, int, int], None]:
    """Progress over all policies and bounds as one bar."""
    finished: dict[str, float] = {}

    def tell(name: str, done: int, total: int) -> None:
        finished[name] = done / total
        update(sum(finished.values()), max(policies, len(finished)))

    return tell


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

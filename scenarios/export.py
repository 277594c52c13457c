"""Writing a policy as a bundle: nothing gets its name before it has decided like the policy it was made from."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.core.errors import InterlockError, NotExportable, UsageError

if TYPE_CHECKING:
    from interlock.core.decision import VectorContract
    from interlock.core.policy import SavedPolicy
    from interlock.core.problem import Problem
    from interlock.operations.decide import Decider

PARITY_STATES = 1_000
"""States with a feasible action on which bundle and policy must decide alike."""
PARITY_SHARE = 1e-4
"""Share of a component's largest value by which two vectors may differ and count as alike: single precision."""
SELFTEST_REQUESTS = 20
PROVENANCE = (
    "run", "created", "command", "seed", "method", "method_plugin", "settings", "scenario_hash", "versions", "git"
)  # fmt: skip
"""What a bundle tells of the run that it comes from; nothing of the machine it was made on."""
PARITY_SEED, SELFTEST_SEED = 7_001, 7_002


def write_bundle(
    folder: Path,
    *,
    problem: Problem,
    policy: SavedPolicy,
    run_info: Mapping[str, Any],
    evidence_summary: Mapping[str, Any],
    assets: Mapping[str, bytes] | None = None,
) -> None:
    """Write a policy and its decision contract as a bundle, replacing an older bundle of the same name.

    Args:
        folder: the bundle's folder; a zip file if the name ends in ``.zip``.
        problem: that the policy was trained on.
        policy: one that has ``export_scorer``.
        run_info: where the policy comes from; the keys in ``PROVENANCE`` are kept.
        evidence_summary: how it did on held-out instances.
        assets: further files for the contract, by name, beside its own (say cuts that a fallback rule decides by).

    Raises:
        NotExportable: no bundle can hold this policy.
        UsageError: it is not one that could be saved, the contract takes no files, or something that is not a bundle
            has the name.
        InterlockError: the bundle does not decide like the policy; nothing was written.
    """
    from interlock.core.decision import carries_files
    from interlock.core.policy import SavedPolicy
    from interlock.core.problem import shows_policies
    from interlock.operations.bundle import pack, seal
    from interlock.operations.decide import Decider

    if not isinstance(policy, SavedPolicy):
        raise UsageError(
            f"a {type(policy).__name__} cannot be exported: a policy needs `save` and `export_scorer` for that "
            "(see interlock.core.policy.SavedPolicy); rules and solvers have none"
        )
    unbundled: str | None = getattr(policy, "unbundled", None)
    if unbundled is not None:
        raise NotExportable(unbundled)
    contract = problem.decision()
    if assets and not carries_files(contract):
        raise UsageError(f"bundles of {problem.scenario.domain} take no further files: {', '.join(assets)}")
    path = Path(folder).resolve()
    zipped = path.suffix == ".zip"
    _check_target(path, zipped=zipped)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp") as temporary:
        draft = Path(temporary) / "bundle"
        draft.mkdir()
        scorer = policy.export_scorer(draft)
        if scorer.get("output") == "action" and not getattr(contract, "takes_actions", False):
            domain = problem.scenario.domain
            raise NotExportable(f"bundles of {domain} decide by the numbers of a rule, not by a network's actions")
        own = contract.assets() if carries_files(contract) else {}
        carried = {**own, **(assets or {})}
        for name, content in carried.items():
            (draft / name).write_bytes(content)
        manifest = _manifest(problem, scorer, run_info, evidence_summary)
        named = sorted({*carried, *scorer.get("assets", ())})
        if named:
            manifest["assets"] = named
        if shows_policies(problem):
            exhibits = problem.exhibits(policy, manifest["provenance"])
            for name, content in exhibits.items():
                (draft / name).write_bytes(content)
            manifest["exhibits"] = sorted(exhibits)
        seal(draft, manifest=manifest, contract=contract, cases=[])
        decider = Decider(draft)
        check_parity(decider, policy)
        requests = contract.sample_requests(SELFTEST_REQUESTS, SELFTEST_SEED)
        cases = [{"request": request, "answer": decider.decide(request)} for request in requests]
        seal(draft, manifest=manifest, contract=contract, cases=cases)
        differences = Decider(draft).selftest()
        if differences:
            raise InterlockError(f"the bundle does not pass its own self-test, nothing was written: {differences[0]}")
        if zipped:
            pack(draft, path)
        else:
            _take_name(draft, path, aside=Path(temporary) / "replaced")


def check_parity(decider: Decider, policy: SavedPolicy, *, states: int = PARITY_STATES) -> None:
    """Compare what the policy does in this process with what the bundle proposes and releases.

    Vectors are compared with the proposal alone: what the contract cannot release it does not release.

    Raises:
        InterlockError: they differ on any state, or the bundle released something where nothing is feasible.
    """
    from interlock.core.decision import decides_vectors

    if decides_vectors(decider.contract):
        compared, different = _compare_vectors(decider, decider.contract, policy, states)
    else:
        compared, different = _compare_choices(decider, policy, states)
    if different:
        raise InterlockError(
            f"the bundle decides differently from the policy on {len(different)} of {compared} states, nothing was "
            f"written; the first: {different[0]}"
        )


def _compare_choices(decider: Decider, policy: SavedPolicy, states: int) -> tuple[int, list[str]]:
    """Discrete actions: how many states were compared, and where they differ."""
    import numpy as np

    contract = decider.contract
    compared, seed = 0, PARITY_SEED
    different: list[str] = []
    while compared < states:
        requests = contract.sample_requests(states - compared + states // 4, seed)
        observations = [contract.observation(contract.parse(request)) for request in requests]
        answers = [decider.decide(request) for request in requests]
        open_rows = [k for k, view in enumerate(observations) if view["action_mask"].any()]
        different += [
            f"released {answers[k]['action']} where nothing is feasible"
            for k in set(range(len(requests))) - set(open_rows)
            if answers[k]["status"] != "refused"
        ]
        batch = {name: np.concatenate([observations[k][name] for k in open_rows]) for name in observations[0]}
        policy.reset()
        actions = np.asarray(policy.act(batch, deterministic=True)).tolist()
        for k, action in zip(open_rows, actions, strict=True):
            if not answers[k]["proposal"] == answers[k]["action"] == action:
                told = f"proposed {answers[k]['proposal']} and released {answers[k]['action']}"
                different.append(f"the policy chose {action}, the bundle {told} ({answers[k]['reason']})")
        compared, seed = compared + len(open_rows), seed + 10
    return compared, different


def _compare_vectors(
    decider: Decider, contract: VectorContract, policy: SavedPolicy, states: int
) -> tuple[int, list[str]]:
    """Vectors: each request with its history, played to the policy stage by stage, those of equal length together."""
    import numpy as np

    requests = contract.sample_requests(states, PARITY_SEED)
    answers = [decider.decide(request) for request in requests]
    views = []
    for parsed in map(contract.parse, requests):
        earlier, now = contract.history(parsed), contract.observation(parsed)
        views.append({name: np.concatenate([earlier[name], now[name]]) for name in now})
    lengths = [len(next(iter(view.values()))) for view in views]
    chosen: dict[int, Any] = {}
    for length in sorted(set(lengths)):
        rows = [k for k in range(states) if lengths[k] == length]
        policy.reset()
        for t in range(length):
            batch = {name: np.stack([views[k][name][t] for k in rows]) for name in views[0]}
            actions = policy.act(batch, deterministic=True)
        chosen |= zip(rows, actions, strict=True)
    scale = np.abs(list(chosen.values())).max(axis=0)
    different = []
    for k, answer in enumerate(answers):
        action, proposal = chosen[k], answer["proposal"]
        if proposal is None or not (np.abs(proposal - action) <= PARITY_SHARE * scale + 1e-9).all():
            different.append(f"the policy chose {action.tolist()}, the bundle {proposal} ({answer['reason']})")
    if not different and not any(answer["source"] == "policy" for answer in answers):
        different = [f"none of the policy's proposals was released ({answers[0]['reason']})"] * states
    return states, different


def _manifest(
    problem: Problem, scorer: Mapping[str, Any], run_info: Mapping[str, Any], evidence_summary: Mapping[str, Any]
) -> dict[str, Any]:
    from interlock import __version__
    from interlock.scenarios.machine import versions

    scenario = problem.scenario
    return {
        "interlock": __version__,
        "domain": scenario.domain,
        "scenario": scenario.model_dump(mode="json"),
        "scenario_hash": scenario.hash(),
        "scorer": dict(scorer),
        "provenance": {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "run": _plain({name: run_info[name] for name in PROVENANCE if name in run_info}),
            "packages": versions(),
            "evidence": _plain(evidence_summary),
            "parity_states": PARITY_STATES,
        },
    }


def _check_target(path: Path, *, zipped: bool) -> None:
    """Refuse to overwrite anything but a bundle or an empty folder."""
    from interlock.operations.bundle import is_bundle

    if not path.exists() or (path.is_dir() and not zipped and not any(path.iterdir())):
        return
    if path.is_dir() is zipped or not is_bundle(path):
        raise UsageError(f"{path} exists and is not a bundle: choose another name, or remove it first")


def _take_name(draft: Path, path: Path, *, aside: Path) -> None:
    """Give the finished folder its name; an older one steps aside first, and back if that fails."""
    if not path.exists():
        os.rename(draft, path)
        return
    os.rename(path, aside)
    try:
        os.rename(draft, path)
    except OSError:
        os.rename(aside, path)
        raise


def _plain(value: Any) -> Any:
    """JSON without NaN: what is not a number becomes null, what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)

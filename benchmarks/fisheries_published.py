"""Published figures of six fisheries beside ours: tables of ``domains/fisheries/README.md``.

    python benchmarks/fisheries_published.py [SCENARIO ...] [--record]

Constant mortality, constant escapement, proximal policy optimisation and its smoothed form, in print (Montealegre-Mora
et al. 2023) and ours: with the last year left out, tuned and reported on the same 100 episodes (50 searches), both, and
honestly on 10,000 fresh futures; rules with the published parameters; and ``web_drift`` with parameters that are off.

Learned policies are those of ``runs/fisheries_learned``, trained there before by
``python benchmarks/fisheries_learned.py train SCENARIO SEED``; of several seeds, the first counts, as one training run
was published. ``--record`` writes ``domains/fisheries/published_results.json`` in one piece, and only with all
scenarios and all policies; one that was stopped goes on after the last scenario that it finished.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

from interlock import __version__  # noqa: E402
from interlock.core.network_policy import load_network_policy  # noqa: E402
from interlock.core.policy import Policy  # noqa: E402
from interlock.core.smoothing.policy import load_smoothed_policy  # noqa: E402
from interlock.domains.fisheries import DOMAIN, published  # noqa: E402
from interlock.domains.fisheries.problem import FisheriesProblem, build  # noqa: E402
from interlock.domains.fisheries.published_perturbed import DRAWS  # noqa: E402
from interlock.domains.fisheries.published_tables import (  # noqa: E402
    EXPLAINED,
    perturbed_values,
    strategy_texts,
    strategy_values,
)
from interlock.scenarios.files import write_json  # noqa: E402
from interlock.scenarios.loading import load_scenario  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ROOT / "runs" / "fisheries_learned"
FILE = ROOT / "domains" / "fisheries" / "published_results.json"
PARTS = ROOT / "runs" / "fisheries_published"
"""Scenarios that a recording has finished, until it is complete."""
COMMAND = "python benchmarks/fisheries_published.py --record"
SEED = 0
"""Of training."""

FOLDERS: Mapping[str, tuple[str, Callable[[Path, FisheriesProblem], Policy]]] = {
    "ppo": ("teacher", load_network_policy),
    "ppo_smoothed": ("policy", load_smoothed_policy),
}
"""Published strategy -> folder of a trained policy, and what loads it."""


def learned(problem: FisheriesProblem) -> dict[str, Policy]:
    """The trained policies of a scenario by the name of the published strategy; empty if there are none."""
    trained = TRAINED / f"{problem.scenario.name}_{SEED}"
    if not (trained / "training.json").is_file():  # written when both are there
        return {}
    return {strategy: load(trained / folder, problem) for strategy, (folder, load) in FOLDERS.items()}


def told(name: str, measured: published.Measured) -> dict[str, Any]:
    """What is recorded of a scenario."""
    content: dict[str, Any] = {"strategies": strategy_values(measured)}
    if measured.perturbed:
        content["perturbed"] = perturbed_values(measured)
    print(f"{name} ({time.process_time():.0f} CPU s)")
    for strategy, one in content["strategies"].items():
        print("  " + " | ".join(f"{text:>22}" for text in (strategy, *strategy_texts(one))), flush=True)
    for one in content.get("perturbed", ()):
        print(f"  off by {one['noise']}: {one['kept']} kept, {one['differences']}", flush=True)
    return content


def tables(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The tables of the README."""
    main, again = [], []
    for name, content in found.items():
        for strategy, one in content["strategies"].items():
            if strategy.endswith(" in print") and "reward" in one:
                again.append([f"`{name}`", strategy.removesuffix(" in print").replace("_", " "), *_again(one)])
            elif one["in_print"] is not None:
                main.append([f"`{name}`", strategy.removesuffix(" in print").replace("_", " "), *strategy_texts(one)])
    off = [
        [
            f"{one['noise']:g}",
            f"{one['in_print']['draws']}, {one['kept']}",
            *(_off(one, strategy) for strategy in ("constant_mortality", *FOLDERS)),
        ]
        for content in found.values()
        for one in content.get("perturbed", ())
    ]
    fresh = ["last year left out", "honest", "survival"]
    return {
        "published": {
            "columns": [
                "scenario", "strategy", "in print (sd)", "full length", "(a) last year left out",
                "(b) tuned on the same 100", "(c) both", "honest", "survival",
            ],
            "rows": main,
        },
        "published_parameters": {"columns": ["scenario", "strategy", "in print (sd)", *fresh], "rows": again},
        "published_perturbed": {
            "columns": [
                "noise", f"draws of {DRAWS} kept, in print and ours", "constant mortality: in print; ours",
                "PPO: in print; ours", "PPO smoothed: in print; ours",
            ],
            "rows": off,
        },
    }  # fmt: skip


def _again(one: Mapping[str, Any]) -> list[str]:
    in_print, _, without, _, _, honest, survival = strategy_texts(one)
    return [in_print, without, honest, survival]


def _off(one: Mapping[str, Any], strategy: str) -> str:
    paper, ours = one["in_print"].get(strategy), one["differences"].get(strategy)
    printed = "" if paper is None else f"{paper['difference']:.2f} ({paper['sd']:.2f})"
    return f"{printed or 'none'}; {'none' if ours is None else '{:.2f} ({:.2f})'.format(ours['mean'], ours['sd'])}"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and record if asked."""
    known = list(published.figures_in_print()["scenarios"])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenarios", nargs="*", default=[], metavar="SCENARIO", help="default: all six")
    parser.add_argument("--record", action="store_true", help=f"write {FILE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.scenarios if name not in known]:
        parser.error(f"nothing was published for {', '.join(unknown)}; there are: {', '.join(known)}")
    if options.record and options.scenarios:
        parser.error("all scenarios are recorded together: name none with --record")
    problems = {name: build(load_scenario(DOMAIN, name)) for name in options.scenarios or known}
    policies = {name: learned(problem) for name, problem in problems.items()}
    missing = [name for name, found in policies.items() if not found]
    if missing:
        commands = [f"python benchmarks/fisheries_learned.py train {name} {SEED}" for name in missing]
        print("not trained yet:", *commands, sep="\n  ", file=sys.stderr)
        if options.record:
            print("nothing is recorded until all policies are there", file=sys.stderr)
            return 1
    found = {}
    for name, problem in problems.items():
        part = PARTS / f"{name}.json"
        if options.record and part.is_file():
            found[name] = json.loads(part.read_text(encoding="utf-8"))
            continue
        found[name] = told(name, published.measure(problem, policies[name], 0, lambda done, total: None))
        if options.record:
            write_json(part, found[name])
    if options.record:
        content = {
            "command": COMMAND,
            "version": __version__,
            "date": date.today().isoformat(),
            "seeds": {
                "searches": [published.FIRST_SEED, published.FIRST_SEED + published.REPETITIONS - 1],
                "test": {name: problem.scenario.evaluation.test_seed for name, problem in problems.items()},
                "draws": 0,
                "training": SEED,
            },
            "columns": EXPLAINED,
            "scenarios": found,
            "tables": tables(found),
        }
        write_json(FILE, content)
        shutil.rmtree(PARTS)
        print(f"written: {FILE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

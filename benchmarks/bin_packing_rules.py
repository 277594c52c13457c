"""How far the placement rules fill bins: released sequences and held-out generated ones, and fewer positions.

    python benchmarks/bin_packing_rules.py [--data ../shared/data/bin_packing] [--record]

Prints the mean utilisation of every rule, without tuning of any kind, on the first 300 released sequences of each
stream (if they are there) and on 300 generated ones, for one and two orientations; then decision time and utilisation
of some rules by ``candidates`` on a fine grid. ``--record`` writes what the rules of ``BEST`` reach on released
sequences.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.evaluation.protocol import play
from interlock.core.evaluation.statistics import bootstrap
from interlock.core.policy import FunctionPolicy
from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.candidates import SCHEMES
from interlock.domains.bin_packing.heuristics import RULES
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.userdata import read_items
from interlock.scenarios.loading import load_scenario

FILES = {"rs": "rs", "cut1": "cut_1", "cut2": "cut_2"}
COUNT = 300
BEST = {"rules_cut2": "br_mean", "rules_cut1": "low_contact", "rules_rs": "br_mean", "rules_rs_rot": "br_mean"}
"""The best rule on generated sequences of a stream, by the row that records it on released ones."""
COMMAND = "python benchmarks/bin_packing_rules.py --record"


def released(stream: str, orientations: int, folder: Path) -> BinPackingProblem:
    """The first sequences of a released file, in file order."""
    scenario = load_scenario(DOMAIN, stream).with_changes(orientations=orientations)
    items = read_items(folder / f"{FILES[stream]}.csv.gz", scenario)
    kept = {name: getattr(items, name)[:COUNT] for name in ("items", "lengths", "weights", "limits", "upright")}
    return BinPackingProblem(scenario, replace(items, **kept))


def fill(problem: BinPackingProblem, name: str) -> np.ndarray:
    """Utilisation in % of every sequence."""
    return play(problem, problem.baselines()[name](0), split="test", count=COUNT).objective


def by_candidates(scenario_name: str, rule: str, scheme: str, count: int) -> tuple[float, float]:
    """Mean utilisation in %, and CPU microseconds per decision, the first two episodes not timed."""
    problem = BinPackingProblem(load_scenario(DOMAIN, scenario_name).with_changes(candidates=scheme))
    policy, spent = problem.baselines()[rule](0), [0.0, 0]

    def act(observation: Any, rng: np.random.Generator) -> Any:
        started = time.process_time()
        actions = policy.act(observation)
        spent[0] += time.process_time() - started
        spent[1] += len(actions)
        return actions

    play(problem, FunctionPolicy(act), split="test", count=2)
    spent[:] = [0.0, 0]
    achieved = play(problem, FunctionPolicy(act), split="test", count=count).objective
    return float(achieved.mean()), 1e6 * spent[0] / spent[1]


def main() -> None:
    """Print the tables; record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/bin_packing"))
    parser.add_argument("--fine", type=int, default=20, help="sequences of the fine grid; 0: leave it out")
    parser.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    names = (*RULES, "first_fit", "random")
    for stream in FILES:
        for orientations in (1, 2):
            sources = {
                "generated": BinPackingProblem(load_scenario(DOMAIN, stream).with_changes(orientations=orientations))
            }
            if options.data.is_dir():
                sources["released"] = released(stream, orientations, options.data)
            for source, problem in sources.items():
                found = {name: fill(problem, name) for name in names}
                shown = "  ".join(f"{name} {values.mean():.1f}" for name, values in found.items())
                print(f"{stream} O={orientations} {source}: {shown}", flush=True)
                row = f"rules_{stream}{'_rot' if orientations == 2 else ''}"
                if options.record and source == "released" and row in BEST:
                    record(row, found[BEST[row]])
    for rule in ("linear12", "contact", "br_mean"):
        for scheme in SCHEMES:
            if options.fine == 0 or (rule == "br_mean" and scheme in ("all", "event")):  # too slow to be offered
                continue
            mean, microseconds = by_candidates("fine20_small", rule, scheme, options.fine)
            print(f"fine20_small {rule} {scheme}: {mean:.1f} %, {microseconds:.0f} us per decision", flush=True)


def record(row: str, values: np.ndarray) -> None:
    """Write a row: mean utilisation of these sequences with its interval."""
    from interlock.scenarios.record import record_row

    estimate = bootstrap(values)
    figures = {"value": estimate.mean, "low": estimate.low, "high": estimate.high}
    print(record_row("bin_packing", row, unit="%", command=COMMAND, **figures))


if __name__ == "__main__":
    main()

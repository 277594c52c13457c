"""Planning with known boxes: utilisation and time per decision, on held-out and on the published test sequences.

    python benchmarks/bin_packing_search.py [--count 500] [--only look_ahead ...] [--record]

Every policy plays the same sequences within a part. Times are CPU milliseconds per decision on one core, one bin at a
time; the published sequences are read from ``../shared/data/bin_packing`` and left out where that is absent.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.evaluation.protocol import play
from interlock.core.policy import Policy
from interlock.domains.bin_packing import DOMAIN, search
from interlock.domains.bin_packing.generators import capacity
from interlock.domains.bin_packing.problem import BinPackingProblem
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.userdata import read_items
from interlock.scenarios.loading import load_scenario

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bin_packing"
COLUMNS = {"stream_id": "sequence", "length": "l", "width": "w", "height": "h"}
COMMAND = "python benchmarks/bin_packing_search.py --record"
EVERYTHING = capacity(10, 10, 10, 2)
WIDTH_OF_ALL = 24
"""Beam width with every box known, so that a decision takes at most 5 ms on average."""

Figure = tuple[float, float | None, float | None, str]


class Timed:
    """A policy whose CPU time per decision is kept; it must be asked for one row at a time."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.milliseconds: list[float] = []

    def act(self, observation: Observation, *, deterministic: bool = True) -> Array:
        """Ask the policy, and note the time."""
        started = time.process_time()
        actions = self.policy.act(observation)
        self.milliseconds.append(1000.0 * (time.process_time() - started))
        return actions

    def reset(self, rows: Array | None = None) -> None:
        """Nothing of its own to forget."""
        self.policy.reset(rows)

    def seed(self, seed: int) -> None:
        """Nothing random."""


def scenario_of(name: str, **changes: object) -> BinPackingScenario:
    scenario: BinPackingScenario = load_scenario(DOMAIN, name).with_changes(**changes)
    return scenario


def mean_of(values: Array, unit: str = "%") -> Figure:
    """Mean with its 95 % interval."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half), unit


def played(scenario: BinPackingScenario, policy: Policy, count: int, file: str | None = None) -> Array:
    """Utilisation in % of the first ``count`` test sequences, generated or of a published file."""
    problem = BinPackingProblem(scenario)
    if file is not None:
        settings = {**scenario.data.model_dump(), "columns": COLUMNS}
        readable = scenario.with_changes(data=settings)
        problem = BinPackingProblem(readable, read_items(DATA / file, readable))
    return play(problem, policy, split="test", count=count, num_envs=1).objective


def warm(scenario: BinPackingScenario, policy: Policy) -> Policy:
    """The policy after one decision, so that compilation is not timed."""
    policy.act(BinPackingProblem(scenario).environment(1, seed=0, split="train").reset())
    return policy


def look_ahead(count: int) -> dict[str, Figure]:
    """Five boxes known: beam, rollouts and permutations, and the time of the beam."""
    scenario = scenario_of("cut2_look5")
    beam = Timed(warm(scenario, search.look_ahead(scenario)))
    figures = {"look_ahead_5": mean_of(played(scenario, beam, count))}
    figures["look_ahead_ms"] = (float(np.quantile(beam.milliseconds, 0.95)), None, None, "ms")
    print(f"median {np.median(beam.milliseconds):.2f} ms, 95 % {figures['look_ahead_ms'][0]:.2f} ms")
    for name in ("rollout", "permutation"):
        figures[f"look_ahead_5_{name}"] = mean_of(played(scenario, search.baselines(scenario)[name](0), count))
    return figures


def released(count: int) -> dict[str, Figure]:
    """The same on the published CUT-2 sequences."""
    scenario = scenario_of("cut2_look5")
    policy = search.look_ahead(scenario)
    return {"look_ahead_5_released": mean_of(played(scenario, policy, count, "cut_2.csv.gz"))}


def known(count: int) -> dict[str, Figure]:
    """From one box known to all of them, on the same sequences."""
    figures, utilisation = {}, []
    for boxes in (1, 2, 3, 5, 10, EVERYTHING):
        scenario = scenario_of("cut2", look_ahead=boxes)
        policy = Timed(warm(scenario, search.look_ahead(scenario, width=WIDTH_OF_ALL)))
        utilisation.append(played(scenario, policy, count))
        name = "full_knowledge" if boxes == EVERYTHING else f"known_{boxes}"
        figures[name] = mean_of(utilisation[-1])
        if boxes == EVERYTHING:
            figures["full_knowledge_ms"] = (float(np.mean(policy.milliseconds)), None, None, "ms")
    gains = [after - before for before, after in itertools.pairwise(utilisation)]
    figures["look_ahead_monotone"] = mean_of(min(gains, key=lambda gain: float(gain.mean())), "points")
    return figures


def bins(count: int) -> dict[str, Figure]:
    """Choice of the bin on the published sequences for four bins."""
    scenario = scenario_of("four_bins")
    policies = BinPackingProblem(scenario).baselines()
    chosen = {"best_fit": policies["linear12"], **search.baselines(scenario)}
    return {
        f"released_four_bins_{name}": mean_of(played(scenario, make(0), count, "four_bins_cut_2.csv.gz"))
        for name, make in chosen.items()
    }


PARTS = {"look_ahead": look_ahead, "released": released, "known": known, "bins": bins}
PUBLISHED = ("released", "bins")


def main() -> None:
    """Measure the parts, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=500, help="sequences per figure")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    for part in options.only:
        if part in PUBLISHED and not DATA.is_dir():
            print(f"{part}: left out, {DATA} is not there")
            continue
        figures = PARTS[part](options.count)
        for row, (value, low, high, unit) in figures.items():
            interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
            print(f"{row}: {value:.2f} {unit}{interval}", flush=True)
            if options.record:
                from interlock.scenarios.record import record_row

                said = record_row(
                    "bin_packing",
                    row,
                    value=value,
                    low=low,
                    high=high,
                    unit=unit,
                    command=f"{COMMAND} --only {part} --count {options.count}",
                )
                print(said)


if __name__ == "__main__":
    main()

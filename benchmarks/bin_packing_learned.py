"""Learned after-state values beside the tuned linear rule, on sequences nobody trained on.

    python benchmarks/bin_packing_learned.py train SCENARIO SEED    (cut2, cut1, rs or rs_rot; several may run at once)
    python benchmarks/bin_packing_learned.py measure [--record]

``train`` learns from generated sequences alone, chooses on generated validation sequences, and writes the policy and
the CPU seconds it took into ``runs/bin_packing_learned``. ``measure`` plays every policy found there on the 2,100
sequences published with Zhao et al. (AAAI 2021), which are looked at here only, and on the generated test sequences.
Figures are means over seeds for each sequence, intervals bootstraps over sequences; gains are differences on the same
sequences.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interlock.core.evaluation.protocol import play
from interlock.core.evaluation.statistics import bootstrap
from interlock.core.network_policy import load_network_policy
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.problem import build
from interlock.scenarios import plugins
from interlock.scenarios.loading import load_method, load_scenario

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ROOT / "runs" / "bin_packing_learned"
RELEASED = ROOT.parent / "shared" / "data" / "bin_packing"
FILES = {"cut2": "cut_2.csv.gz", "cut1": "cut_1.csv.gz", "rs": "rs.csv.gz", "rs_rot": "rs.csv.gz"}
COMMAND = "python benchmarks/bin_packing_learned.py measure --record"


class Printed(MemoryRun):
    """A run that shows its validations."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep, and print what was validated."""
        super().log(step, values)
        if "eval/objective" in values:
            print(f"{step} decisions, {time.process_time():.0f} CPU s: {values['eval/objective']:.2f} %", flush=True)


def train(name: str, seed: int, minutes: float | None) -> None:
    """Train one seed and keep the policy with its CPU seconds."""
    import torch

    torch.set_num_threads(1)
    problem = build(load_scenario(DOMAIN, name))
    method = load_method(DOMAIN, "after_state")
    run = Printed(seed=seed, seconds=None if minutes is None else 60.0 * minutes)
    started = time.process_time()
    policy = plugins.resolve(method.info.train)(problem, method.config, run)
    seconds = time.process_time() - started
    folder = TRAINED / f"{name}_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    (folder / "training.json").write_text(json.dumps({"cpu_seconds": seconds, "curves": run.curves}, indent=1))
    print(f"{name}, seed {seed}: {seconds:.0f} CPU s, validation {run.curves[-1]['eval/best']:.2f} %")


@dataclass(frozen=True)
class Played:
    """Utilisation of every policy (in rows) and of ``linear12`` on the same sequences, in %."""

    learned: np.ndarray
    rule: np.ndarray


def played(name: str, seeds: list[int], data: Path | None) -> Played:
    """Play the trained policies of a scenario, and the rule, on a file of sequences or on the generated test ones."""
    problem = build(load_scenario(DOMAIN, name), data)
    rule = play(problem, problem.baselines()["linear12"](0), split="test").objective
    policies = [load_network_policy(TRAINED / f"{name}_{seed}", problem) for seed in seeds]
    return Played(np.stack([play(problem, policy, split="test").objective for policy in policies]), rule)


def measure(record: bool) -> None:
    """Play all trained policies, print, and record if asked."""
    for name, file in FILES.items():
        seeds = sorted(int(folder.name.rpartition("_")[2]) for folder in TRAINED.glob(f"{name}_[0-9]*"))
        if not seeds:
            print(f"{name}: not trained")
            continue
        spent = [json.loads((TRAINED / f"{name}_{k}" / "training.json").read_text())["cpu_seconds"] for k in seeds]
        print(f"{name}: seeds {seeds}, CPU seconds of training {[round(seconds) for seconds in spent]}")
        for kind, data in (("released", RELEASED / file), ("generated", None)):
            found = played(name, seeds, data)
            learned = found.learned.mean(axis=0)
            print(f"  {kind}: per seed {np.round(found.learned.mean(axis=1), 2).tolist()} %")
            suffix = "" if kind == "released" else "_generated"
            figures = {
                f"learned_{name}{suffix}": (bootstrap(learned), "%"),
                f"learned_{name}{suffix}_gain": (bootstrap(learned - found.rule), "points"),
            }
            for row, (estimate, unit) in figures.items():
                print(f"  {row}: {estimate.mean:.2f} {unit} ({estimate.low:.2f} to {estimate.high:.2f})")
                if record:
                    from interlock.scenarios.record import record_row

                    said = record_row(
                        "bin_packing",
                        row,
                        value=estimate.mean,
                        low=estimate.low,
                        high=estimate.high,
                        unit=unit,
                        seeds=seeds,
                        budget=f"at most {max(spent):.0f} CPU s per seed",
                        cpu_seconds=max(spent),
                        command=COMMAND,
                    )
                    print(f"  {said}")


def main() -> None:
    """Train or measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    trainer = commands.add_parser("train", help="train one seed of one scenario")
    trainer.add_argument("scenario", choices=FILES)
    trainer.add_argument("seed", type=int)
    trainer.add_argument("--minutes", type=float, help="of wall-clock time at most; default: as long as it takes")
    measurer = commands.add_parser("measure", help="play the trained policies on released and generated sequences")
    measurer.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    if options.command == "train":
        train(options.scenario, options.seed, options.minutes)
    else:
        measure(options.record)


if __name__ == "__main__":
    main()

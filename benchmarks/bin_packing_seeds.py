"""The learned policy over several training seeds, beside the best rule.

    python benchmarks/bin_packing_seeds.py [--scenario cut2] [--seeds 0 1 2] [--workers 2] [--record]

Every seed trains with the scenario's own method and plays the same held-out test sequences as ``linear12``. Figures are
means over seeds for each sequence, intervals bootstraps over sequences.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from interlock.core.evaluation.protocol import play
from interlock.core.evaluation.statistics import bootstrap
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing import DOMAIN
from interlock.domains.bin_packing.problem import build
from interlock.scenarios import plugins
from interlock.scenarios.loading import load_method, load_scenario


def trained(scenario_name: str, seed: int) -> tuple[int, float, np.ndarray]:
    """Train one seed: (seed, CPU seconds of training, test utilisation per sequence)."""
    scenario = load_scenario(DOMAIN, scenario_name)
    method = load_method(DOMAIN, scenario.method.preset, scenario.method.settings)
    problem = build(scenario)
    started = time.process_time()
    policy = plugins.resolve(method.info.train)(problem, method.config, MemoryRun(seed=seed))
    return seed, time.process_time() - started, play(problem, policy, split="test").objective


def main() -> None:
    """Train all seeds, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenario", default="cut2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(trained, [options.scenario] * len(options.seeds), options.seeds))
    problem = build(load_scenario(DOMAIN, options.scenario))
    rule = play(problem, problem.baselines()["linear12"](0), split="test").objective
    for seed, seconds, achieved in results:
        gain = achieved.mean() - rule.mean()
        print(f"seed {seed}: {achieved.mean():.2f} %, {gain:+.2f} points against linear12, {seconds:.0f} CPU s")
    learned = np.mean([achieved for _, _, achieved in results], axis=0)
    seconds = sum(spent for _, spent, _ in results)
    figures = {
        f"{options.scenario}_learned_seeds": (bootstrap(learned), "%"),
        f"{options.scenario}_learned_gain": (bootstrap(learned - rule), "points"),
    }
    for row, (estimate, unit) in figures.items():
        print(f"{row}: {estimate.mean:.2f} {unit} ({estimate.low:.2f} to {estimate.high:.2f})")
        if options.record:
            from interlock.scenarios.record import record_row

            said = record_row(
                "bin_packing",
                row,
                value=estimate.mean,
                low=estimate.low,
                high=estimate.high,
                unit=unit,
                seeds=options.seeds,
                cpu_seconds=seconds,
                command="python benchmarks/bin_packing_seeds.py --record",
            )
            print(said)


if __name__ == "__main__":
    main()

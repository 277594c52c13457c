"""Search beside proven optima: small bins whose best packing in the order of arrival integer programming can prove.

    python benchmarks/bin_packing_optimiser.py [--instances N] [--record]

Bins of 5 x 5 x 5 cells and independent boxes, all of them known, in three settings: sides 2 to 3 and 1 to 4, as they
come, and sides 2 to 4, which may be turned. The optimiser has 60 seconds for an instance and says what it proved: the
longest prefix of the sequence that can be packed in its order under the scenario's support rule, and without any.
The look-ahead policy (a beam search, 128 maps wide) plays the same instances in the environment; counted are those in
which it packs as much as was proven to be the most. Instances without a proof count against it.
"""

import argparse
import os
import sys
import time

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from interlock.core.evaluation.protocol import play, split_seed  # noqa: E402
from interlock.core.policy import Policy  # noqa: E402
from interlock.domains.bin_packing import problem, search  # noqa: E402
from interlock.domains.bin_packing.bounds import generated_instances  # noqa: E402
from interlock.domains.bin_packing.environment import stream_seed  # noqa: E402
from interlock.domains.bin_packing.optimiser import OfflinePlanner, longest_prefix  # noqa: E402
from interlock.domains.bin_packing.scenario import BinPackingScenario  # noqa: E402

SETTINGS = (("sides 2 to 3", 2, 3, 1), ("sides 1 to 4", 1, 4, 1), ("sides 2 to 4, turned", 2, 4, 2))
"""In words, smallest and largest side, orientations."""
KNOWN = 24
"""Boxes known: more than fit by volume in any of these instances, or all there are."""
COMMAND = "python benchmarks/bin_packing_optimiser.py --record"


def small_bin(low: int, high: int, orientations: int) -> BinPackingScenario:
    """A bin of 5 x 5 x 5 cells, all boxes known."""
    return BinPackingScenario.model_validate(
        {
            "name": "small_bin",
            "bin": {"length": 5, "width": 5, "height": 5},
            "items": {"low": low, "high": high},
            "stream": "rs",
            "orientations": orientations,
            "look_ahead": KNOWN,
        }
    )


def compare(words: str, scenario: BinPackingScenario, instances: int) -> tuple[int, int]:
    """Instances in which the search packs the proven optimum, and instances without a proof; shown."""
    built, planner = problem.build(scenario), OfflinePlanner(scenario)
    items, lengths = generated_instances(scenario, stream_seed(split_seed(built, "test"), "test"), instances)
    started = time.process_time()
    sequences = [items[k, : lengths[k]] for k in range(instances)]
    plans = [planner.plan(boxes) for boxes in sequences]
    seconds = (time.process_time() - started) / instances
    best, bound = np.array([plan.objective for plan in plans]), np.array([plan.bound for plan in plans])
    relaxed = np.array([longest_prefix(boxes, scenario, support=False, time_limit=10.0).at_most for boxes in sequences])
    packed = np.array([len(plan.decisions) for plan in plans])
    print(f"{words}: {instances} instances, {seconds:.2f} CPU s each, {(bound > best).sum()} without a proof")
    print(f"  optimum {best.mean():.2f} %, bound {bound.mean():.2f} %, gap {(bound - best).mean():.2f} points")
    print(f"  {(relaxed > packed).sum()} instances would, or might, pack more if any contact were support")
    equal = {}
    for name, policy in players(built).items():
        achieved = play(built, policy, split="test", count=instances).objective
        if (achieved > bound + 1e-6).any():
            raise AssertionError(f"{name} packs more than was proven to be possible")
        equal[name] = int((achieved > bound - 1e-6).sum())
        print(
            f"  {name:16s} {achieved.mean():.2f} %, as much as is possible in {equal[name]} of {instances}", flush=True
        )
    return equal["look_ahead"], int((bound > best).sum())


def players(built: problem.BinPackingProblem) -> dict[str, Policy]:
    """The linear rule, which sees one box, the search, and the search with a beam that is 32 times as wide."""
    return {
        "linear12": built.baselines()["linear12"](0),
        "look_ahead": search.look_ahead(built.scenario),
        "look_ahead, wide": search.look_ahead(built.scenario, width=32 * search.WIDTH),
    }


def main() -> int:
    """Compare, show, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=20, help="of each setting")
    parser.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    equal = unproven = 0
    for words, low, high, orientations in SETTINGS:
        same, open_ = compare(words, small_bin(low, high, orientations), options.instances)
        equal, unproven = equal + same, unproven + open_
    total = options.instances * len(SETTINGS)
    print(f"search equals the proven optimum in {equal} of {total} instances, {unproven} without a proof")
    if options.record:
        from interlock.scenarios.record import record_row

        figures = {"offline_gap": 100.0 * equal / total, "offline_proven": 100.0 * (1 - unproven / total)}
        for row, value in figures.items():
            print(record_row("bin_packing", row, value=value, unit=f"% of {total} instances", command=COMMAND))
    return 0


if __name__ == "__main__":
    sys.exit(main())

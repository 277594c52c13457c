"""Figures of the optimum of food webs: CPU seconds of dynamic programming, and what its decisions earn when played.

    python benchmarks/fisheries_optimum.py [web_two_fisheries|web_drift|web_one_fishery ...] [--record]

The optimum is computed anew, on one thread; its decisions, and the rule of one year played throughout, meet the 10,000
test futures of each scenario. The seconds are those of the slowest scenario, and are recorded if all three ran.
"""

import argparse
import os
import sys
import time

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from interlock.core.evaluation.protocol import play  # noqa: E402
from interlock.domains.fisheries import DOMAIN, dynamic_programming  # noqa: E402
from interlock.domains.fisheries import dynamic_programming_web as web  # noqa: E402
from interlock.domains.fisheries.baselines import optimum  # noqa: E402
from interlock.domains.fisheries.problem import build  # noqa: E402
from interlock.scenarios.loading import load_scenario  # noqa: E402

SHORT = {"web_two_fisheries": "web", "web_drift": "drift", "web_one_fishery": "one_fishery"}
"""Scenario -> end of the names of its rows."""

Figures = dict[str, tuple[float, str, float | None]]
"""Row -> value, unit, and standard error where there is one."""


def solved(name: str) -> tuple[float, Figures]:
    """CPU seconds of the solution, its value, and what its rules earn."""
    scenario = load_scenario(DOMAIN, name)
    costs = dynamic_programming.collapse_costs(scenario)
    web.solve(web.web_of(scenario, (8, 8, 8)), costs[:2])  # compiled before the clock starts
    began = time.process_time()
    web.solve(web.web_of(scenario), costs)
    seconds = time.process_time() - began
    value = dynamic_programming.solve(scenario).mean_value(scenario)
    found: Figures = {f"optimum_{SHORT[name]}_value": (value, "stock units", None)}
    for rule, stationary in ((f"optimum_{SHORT[name]}", False), (f"optimum_stationary_{SHORT[name]}", True)):
        outcome = play(build(scenario), optimum(scenario, stationary=stationary), split="test")
        for row, values, unit in (
            (f"{rule}_played", outcome.objective, "stock units"),
            (f"{rule}_survival", outcome.metrics["survival"], "share of episodes"),
        ):
            found[row] = (float(values.mean()), unit, float(values.std(ddof=1) / np.sqrt(len(values))))
    return seconds, found


def main() -> int:
    """Solve, play, print, and record if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenarios", nargs="*", default=[], metavar="SCENARIO", help="default: all")
    parser.add_argument("--record", action="store_true", help="write into domains/fisheries/results.json")
    options = parser.parse_args()
    chosen = options.scenarios or list(SHORT)
    if unknown := [name for name in chosen if name not in SHORT]:
        parser.error(f"no scenario {', '.join(unknown)}; there are: {', '.join(SHORT)}")
    from interlock.scenarios.record import record_row

    slowest = 0.0
    for name in chosen:
        seconds, found = solved(name)
        slowest = max(slowest, seconds)
        print(f"{name}: {seconds:.1f} CPU s", flush=True)
        if name == chosen[-1] and len(chosen) == len(SHORT):
            found["optimum_web_seconds"] = (slowest, "CPU s", None)
        for row, (value, unit, error) in found.items():
            low, high = (None, None) if error is None else (value - 1.96 * error, value + 1.96 * error)
            shown = "" if error is None else f" +- {error:.4f}"
            print(f"{row:40s} {value:10.4f}{shown} {unit}", flush=True)
            if options.record:
                part = f" {name}" if row != "optimum_web_seconds" else ""
                command = f"python benchmarks/fisheries_optimum.py{part} --record"
                print(record_row("fisheries", row, value=value, unit=unit, low=low, high=high, command=command))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Figures of walleye: rules on test futures beside the bound, and the Bayesian search beside differential evolution.

    python benchmarks/fisheries_walleye.py [rules|search ...] [--record]

* ``rules``: the scenarios' tuned precautionary rule and constant rate, and the textbook's rate, on the test futures,
  which no search has seen; and the value that no rule beats.
* ``search``: for each of the three utilities, the precautionary rule that 70 calls of the Bayesian search find and the
  one that differential evolution finds with ten times as many, on the same 250 training futures and over the same cube;
  the smallest ratio of their rewards on 1,000 training futures of another seed, and the CPU seconds of both.
"""

import argparse
import os
import sys
import time

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from interlock.core.evaluation.protocol import play  # noqa: E402
from interlock.domains.fisheries import DOMAIN, tuning, walleye_bounds, walleye_rules  # noqa: E402
from interlock.domains.fisheries.baselines import baselines  # noqa: E402
from interlock.domains.fisheries.problem import build  # noqa: E402
from interlock.domains.fisheries.scenario import FisheriesScenario  # noqa: E402
from interlock.scenarios.loading import load_scenario  # noqa: E402

UTILITIES = ("yield", "hara", "trophy")
RULES = ("precautionary", "constant_mortality", "f_msy")
POPULATION, GENERATIONS, FRESH_SEED = 35, 19, 4321


def rules() -> dict[str, tuple[float, float | None, str]]:
    """Rewards on the test futures with their standard errors, and bounds."""
    found: dict[str, tuple[float, float | None, str]] = {}
    for utility in UTILITIES:
        scenario = load_scenario(DOMAIN, f"walleye_{utility}")
        problem = build(scenario)
        for name in RULES:
            values = play(problem, baselines(scenario)[name](0), split="test").objective
            error = float(values.std(ddof=1) / np.sqrt(len(values)))
            found[f"walleye_{utility}_{name}"] = (float(values.mean()), error, problem.objective.unit)
        found[f"walleye_{utility}_bound"] = (walleye_bounds.best_value(scenario), None, problem.objective.unit)
    return found


def ramp_by_evolution(scenario: FisheriesScenario) -> np.ndarray:
    """The precautionary rule ``(1, 3)`` that differential evolution finds with 700 rules."""
    from scipy.optimize import differential_evolution

    def loss(columns: np.ndarray) -> np.ndarray:
        ramps = [tuning.walleye_parameters(scenario, "precautionary", place) for place in columns.T]
        scored = walleye_rules.score(
            scenario, "precautionary", np.array(ramps), futures=tuning.WALLEYE_FUTURES, seed=tuning.TUNING_SEED
        )
        return -scored.reward

    start = np.random.default_rng(tuning.TUNING_SEED).random((POPULATION, 3))
    result = differential_evolution(
        loss, [(0.0, 1.0)] * 3, init=start, maxiter=GENERATIONS, tol=0.0, polish=False, seed=tuning.TUNING_SEED,
        vectorized=True, updating="deferred",
    )  # fmt: skip
    return tuning.walleye_parameters(scenario, "precautionary", result.x)


def search() -> dict[str, tuple[float, float | None, str]]:
    """The smallest ratio, and seconds."""
    ratios, seconds = [], np.zeros(2)
    for utility in UTILITIES:
        scenario = load_scenario(DOMAIN, f"walleye_{utility}")

        def loss(place: np.ndarray, scenario: FisheriesScenario = scenario) -> float:
            ramp = tuning.walleye_parameters(scenario, "precautionary", place)[None]
            scored = walleye_rules.score(
                scenario, "precautionary", ramp, futures=tuning.WALLEYE_FUTURES, seed=tuning.TUNING_SEED
            )
            return -float(scored.reward[0])

        loss(np.zeros(3))  # compiled before the clock starts
        began = time.process_time()
        place = tuning.bayesian_search(loss, 3, seed=tuning.TUNING_SEED)
        middle = time.process_time()
        evolved = ramp_by_evolution(scenario)
        seconds += (middle - began, time.process_time() - middle)
        both = np.array([tuning.walleye_parameters(scenario, "precautionary", place), evolved])
        fresh = walleye_rules.score(scenario, "precautionary", both, futures=1000, seed=FRESH_SEED).reward
        print(f"{utility}: Bayesian {fresh[0]:.3f}, evolution {fresh[1]:.3f}", flush=True)
        ratios.append(float(fresh[0] / fresh[1]))
    return {
        "walleye_search_ratio": (min(ratios), None, "x"),
        "walleye_search_seconds": (float(seconds[0]) / len(UTILITIES), None, "CPU s"),
        "walleye_evolution_seconds": (float(seconds[1]) / len(UTILITIES), None, "CPU s"),
    }


PARTS = {"rules": rules, "search": search}


def main() -> int:
    """Run the parts, print, and record if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help="default: all")
    parser.add_argument("--record", action="store_true", help="write into domains/fisheries/results.json")
    options = parser.parse_args()
    chosen = options.parts or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    from interlock.scenarios.record import record_row

    for part in chosen:
        for row, (value, error, unit) in PARTS[part]().items():
            print(f"{row:40s} {value:10.4f} {unit}" + ("" if error is None else f" +- {1.96 * error:.4f}"))
            if options.record:
                low, high = (None, None) if error is None else (value - 1.96 * error, value + 1.96 * error)
                command = f"python benchmarks/fisheries_walleye.py {part} --record"
                print(record_row("fisheries", row, value=value, unit=unit, low=low, high=high, command=command))
    return 0


if __name__ == "__main__":
    sys.exit(main())

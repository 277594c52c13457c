"""Figures of the fisheries domain: searches for rules, published rules on fresh futures, the optimum of one species.

    python benchmarks/fisheries.py [grid|published|optimum ...] [--record]

* ``grid``: constant mortality and constant escapement of ``web_two_fisheries`` and ``web_drift``, 51 x 51 points with
  100 training futures each: CPU seconds of the four searches on one thread, and the reward of the best points on the
  scenario's 10,000 test futures, which no search has seen.
* ``published``: parameters that Montealegre-Mora et al. (2023) found best, on the same test futures. Their tables show
  rewards without the last year and the penalty, on the episodes that the parameters were chosen on; here the whole
  episode counts, on fresh ones.
* ``optimum``: dynamic programming for one species: its value, the reward of its decisions on the test futures, and the
  CPU seconds of the slowest of the three.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from interlock.core.evaluation.protocol import play  # noqa: E402
from interlock.core.policy import Policy  # noqa: E402
from interlock.domains.fisheries import DOMAIN, dynamic_programming, rules  # noqa: E402
from interlock.domains.fisheries.baselines import optimum, rule  # noqa: E402
from interlock.domains.fisheries.problem import build  # noqa: E402
from interlock.domains.fisheries.scenario import FisheriesScenario  # noqa: E402
from interlock.domains.fisheries.tuning import search  # noqa: E402
from interlock.scenarios.loading import load_scenario  # noqa: E402

SHORT: dict[str, str] = {
    "may_tipping": "tipping",
    "may_safe": "safe",
    "may_noisy": "noisy",
    "web_two_fisheries": "web",
    "web_drift": "drift",
}
"""Scenario -> how the rows of ``acceptance.yaml`` call it."""

PUBLISHED: tuple[tuple[str, rules.Kind, tuple[float, ...]], ...] = (
    ("web_two_fisheries", "constant_mortality", (0.30, 0.25)),
    ("web_drift", "constant_escapement", (0.52, 0.38)),
    ("may_safe", "constant_escapement", (0.48,)),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval, where it has one."""

    value: float
    unit: str = "stock units"
    error: float | None = None

    def ends(self) -> tuple[float | None, float | None]:
        """Of the interval."""
        return (None, None) if self.error is None else (self.value - 1.96 * self.error, self.value + 1.96 * self.error)


def played(scenario: FisheriesScenario, policy: Policy) -> tuple[Figure, Figure]:
    """Reward and survival on the test futures."""
    outcome = play(build(scenario), policy, split="test")
    root = np.sqrt(len(outcome.objective))
    survival = outcome.metrics["survival"]
    return (
        Figure(float(outcome.objective.mean()), error=float(outcome.objective.std(ddof=1) / root)),
        Figure(float(survival.mean()), "share of episodes", float(survival.std(ddof=1) / root)),
    )


def grid() -> dict[str, Figure]:
    """Searches of two species."""
    found, seconds = {}, 0.0
    for name in ("web_two_fisheries", "web_drift"):
        scenario = load_scenario(DOMAIN, name)
        for kind in ("constant_mortality", "constant_escapement"):
            search(scenario.with_changes(horizon=1, tuned=None), kind)  # compiled before the clock starts
            began = time.process_time()
            best, _ = search(scenario, kind)
            seconds += time.process_time() - began
            reward, survival = played(scenario, rule(scenario, kind, best))
            print(f"{name} {kind}: {best.ravel()}, survival {survival.value:.3f}", flush=True)
            found[f"grid_{kind}_{SHORT[name]}"] = reward
    return {**found, "grid_seconds": Figure(seconds, "CPU s")}


def published() -> dict[str, Figure]:
    """Rules with published parameters."""
    found = {}
    for name, kind, parameters in PUBLISHED:
        scenario = load_scenario(DOMAIN, name)
        reward, survival = played(scenario, rule(scenario, kind, np.array(parameters)))
        row = f"published_{kind}_{SHORT[name]}"
        found |= {row: reward, f"{row}_survival": survival}
    return found


def optimal() -> dict[str, Figure]:
    """Dynamic programming for one species."""
    found, seconds = {}, []
    for name in ("may_tipping", "may_safe", "may_noisy"):
        scenario = load_scenario(DOMAIN, name)
        began = time.process_time()
        value = dynamic_programming.solve(scenario).mean_value(scenario)
        seconds.append(time.process_time() - began)
        reward, survival = played(scenario, optimum(scenario, stationary=False))
        lasting, alive = played(scenario, optimum(scenario, stationary=True))
        print(f"{name}: survival {survival.value:.3f}; stationary {lasting.value:.3f}, {alive.value:.3f}", flush=True)
        found |= {f"optimum_{SHORT[name]}": Figure(value), f"optimum_{SHORT[name]}_played": reward}
    return {**found, "optimum_seconds": Figure(max(seconds), "CPU s")}


PARTS = {"grid": grid, "published": published, "optimum": optimal}


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
        for row, figure in PARTS[part]().items():
            low, high = figure.ends()
            print(
                f"{row:45s} {figure.value:10.4f} {figure.unit}" + ("" if low is None else f" ({low:.4f} to {high:.4f})")
            )
            if options.record:
                command = f"python benchmarks/fisheries.py {part} --record"
                print(
                    record_row(
                        "fisheries", row, value=figure.value, unit=figure.unit, low=low, high=high, command=command
                    )
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())

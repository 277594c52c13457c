"""Speed of hydrothermal dispatch in CPU seconds on one thread, beside the solver that is started for every stage.

    python benchmarks/hydro_speed.py [stages|update|decision|scaling ...] [--data FOLDER] [--record]

* ``stages``: the linear stage problems of random operation: HiGHS warm (right-hand sides changed, primal and dual
  values read), HiGHS cold (solver cleared before every stage), and fixed end volumes in batches by regions of bases.
* ``update``: one step of training, 16 paths of 126 stages: rollout, prices of 2,016 programs, back-propagation, Adam.
* ``decision``: one request to an exported bundle, from raw request to answer, wall-clock milliseconds: with what the
  policy remembered handed back, as in operation, and with the whole history of inflows read again.
* ``scaling``: generated systems of 3, 11, 20 and 100 plants (``--sizes``): stages per CPU second, and the gap of a rule
  that was trained for a minute of CPU time to the perfect-information bound (not with ``--untrained``).

Rates are medians of 15 repetitions. The Bolivian system is read from a folder; without it a generated one of 11 plants
takes its place, and nothing can be recorded.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from interlock.domains.hydro.dispatch import LinearDispatch  # noqa: E402
from interlock.domains.hydro.scenario import HydroScenario  # noqa: E402
from interlock.domains.hydro.stage_program import linear_stage  # noqa: E402
from interlock.domains.hydro.water import reachable, water_of  # noqa: E402
from interlock.solvers.highs import Highs  # noqa: E402

REPETITIONS, HORIZON, PATHS = 15, 126, 16
SIZES = (3, 11, 20, 100)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "hydro" / "bolivia"


def median(work: Callable[[], None], clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of one call, the median of several."""
    seconds = []
    for _ in range(REPETITIONS):
        started = clock()
        work()
        seconds.append(clock() - started)
    return statistics.median(seconds)


def operation(case: Any, paths: int, seed: int) -> tuple[np.ndarray, ...]:
    """Stages, volumes, inflows and end volumes of random operation, stage after stage."""
    rng = np.random.default_rng(seed)
    water, plants = water_of(case), len(case.hydros.names)
    volume, bias = np.tile(case.hydros.initial_volume, (paths, 1)), rng.normal(size=(paths, plants))
    rows = []
    for t in range(HORIZON):
        inflow = case.inflows[t % case.cycle, rng.integers(case.inflows.shape[1], size=paths)]
        target = reachable(np, water, bias + rng.normal(size=volume.shape), volume, inflow)
        rows.append((np.full(paths, t), volume, inflow, target))
        volume = target
    stage, volumes, inflows, targets = (np.concatenate(column) for column in zip(*rows, strict=True))
    return stage, volumes, inflows, targets


def stages(case: Any) -> dict[str, float]:
    """Stages per CPU second."""
    stage, volume, inflow, target = operation(case, PATHS, 1)
    program = linear_stage(case, "dc", 0)
    session = Highs().open(program.program)
    right = program.right_hand_side(volume, inflow)

    def solve(count: int, *, cold: bool) -> None:
        for k in range(count):
            if cold:
                session.start_from(None)
            session.change_rows(program.rows, right[k], right[k])
            assert session.solve().status == "optimal"

    dispatch = LinearDispatch(case, "dc", HORIZON)
    dispatch.solve(stage, volume, inflow, target)
    other = operation(case, PATHS, 2)

    def new_batches() -> None:
        dispatch.solve(*other)

    warm = len(stage) / median(lambda: solve(len(stage), cold=False))
    cold = 300 / median(lambda: solve(300, cold=True))
    fixed = len(stage) / median(new_batches)
    return {
        "warm": warm,
        "cold": cold,
        "warm_over_cold": warm / cold,
        "batched": fixed,
        "batched_over_warm": fixed / warm,
    }


def update(problem: Any) -> dict[str, float]:
    """CPU seconds of one update."""
    import torch

    from interlock.core.decision_rules.config import RuleConfig
    from interlock.core.decision_rules.policy import build_network
    from interlock.core.decision_rules.strict import strict_rollout

    torch.set_num_threads(1)
    config, program = RuleConfig(), problem.decision_program()
    network, solver = build_network(problem, config.encoder, config.head, 0), program.solver()
    optimiser, rng = torch.optim.Adam(network.parameters(), 1e-3), np.random.default_rng(0)

    def step() -> None:
        rollout = strict_rollout(program, network, solver, program.paths(PATHS, rng), np.zeros(1))
        optimiser.zero_grad()
        rollout.surrogate.backward()
        optimiser.step()

    step()
    return {"update": median(step)}


def decision(problem: Any) -> dict[str, float]:
    """Milliseconds from raw request to answer."""
    from interlock.core.decision_rules.config import RuleConfig
    from interlock.core.decision_rules.method import train
    from interlock.core.training import MemoryRun
    from interlock.operations.decide import Decider
    from interlock.scenarios.export import write_bundle

    phase = {"updates": 1, "batch": 2, "learning_rate": 1e-3}
    policy = train(problem, RuleConfig.model_validate({"pretraining": phase, "training": phase}), MemoryRun())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        write_bundle(path, problem=problem, policy=policy, run_info={}, evidence_summary={})
        decider = Decider(path)
        requests = decider.contract.sample_requests(300, 1)
        with_history = [decider.decide(request) for request in requests]
        with_memory: list[dict[str, Any]] = []
        in_order = {request["stage"]: request for request in sorted(requests, key=lambda request: request["stage"])}
        for request in in_order.values():
            remembered = with_memory[-1]["hidden_state"] if with_memory else None
            known = {name: value for name, value in request.items() if name != "inflow_history_m3s"}
            with_memory.append(decider.decide({**known, "hidden_state": remembered} if remembered else known))
    for answers in (with_history, with_memory):
        assert all(answer["status"] == "released" for answer in answers), "every sample request has a decision"
    return {
        "decision_ms": statistics.median(answer["latency_ms"] for answer in with_memory),
        "decision_with_history_ms": statistics.median(answer["latency_ms"] for answer in with_history),
    }


def scaling(sizes: Sequence[int], *, gaps: bool) -> dict[str, float]:
    """Rates and, if asked, gaps of generated systems."""
    from interlock.core.decision_rules.config import RuleConfig
    from interlock.core.decision_rules.method import train
    from interlock.core.evaluation.protocol import play
    from interlock.core.training import MemoryRun
    from interlock.domains.hydro.problem import build

    class Minute(MemoryRun):
        """Its time is that of the processor, so that it does not depend on what else the machine does."""

        def budget_share(self) -> float:
            return (time.process_time() - started) / 60.0

        def out_of_time(self) -> bool:
            return self.budget_share() > 1.0

    found: dict[str, float] = {}
    for plants in sizes:
        scenario = HydroScenario.model_validate(
            {
                "name": f"generated_{plants}",
                "case": {"source": "generated", "n_hydro": plants, "seed": 1},
                "horizon": 52,
                "evaluation": {"test_instances": 40, "validation_instances": 10},
            }
        )
        problem = build(scenario)
        case = problem.case
        dispatch, batch = LinearDispatch(case, "dc", HORIZON), operation(case, PATHS, 3)
        dispatch.solve(*operation(case, PATHS, 4))
        seconds = median(lambda dispatch=dispatch, batch=batch: dispatch.solve(*batch))  # type: ignore[misc]
        found[f"batched_{plants}"] = len(batch[0]) / seconds
        print(f"{plants:4d} plants: {len(batch[0]) / seconds:9.0f} per CPU s", flush=True)
        if not gaps:
            continue
        started = time.process_time()
        policy = train(problem, RuleConfig(), Minute(seconds=60.0))
        cost = play(problem, policy, split="test").objective
        bound = problem.bounds()["perfect_information"].compute("test", len(cost))
        found[f"gap_{plants}"] = 100.0 * float((cost - bound).mean() / bound.mean())
        print(f"{plants:4d} plants: {found[f'gap_{plants}']:.2f} % above perfect information", flush=True)
    return found


ROWS = {
    "speed_stages_warm": ("stages", "warm", "dc stages / CPU s"),
    "speed_warm_over_cold": ("stages", "warm_over_cold", "x"),
    "speed_stages_batched": ("stages", "batched", "dc stages / CPU s"),
    "speed_update": ("update", "update", "CPU s"),
    "speed_decision": ("decision", "decision_ms", "ms"),
    **{f"scaling_speed_{size}": ("scaling", f"batched_{size}", "dc stages / CPU s") for size in SIZES},
    **{f"scaling_gap_{size}": ("scaling", f"gap_{size}", "%") for size in SIZES},
}
"""Row of ``acceptance.yaml`` -> part, figure, unit."""


def main() -> int:
    """Run the parts, print, and record if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help="default: all")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the Bolivian system")
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=SIZES, help="of scaling, in plants")
    parser.add_argument("--untrained", action="store_true", help="rates of scaling only, no gaps")
    parser.add_argument("--record", action="store_true", help="write into domains/hydro/results.json")
    options = parser.parse_args()
    from interlock.domains.hydro.problem import build

    here = options.data.is_dir()
    case = {"source": "folder", "path": str(options.data)} if here else {"source": "generated", "n_hydro": 11}
    problem = build(HydroScenario.model_validate({"name": "speed", "case": case, "horizon": HORIZON}))
    work: dict[str, Callable[[], dict[str, float]]] = {
        "stages": lambda: stages(problem.case),
        "update": lambda: update(problem),
        "decision": lambda: decision(problem),
        "scaling": lambda: scaling(options.sizes, gaps=not options.untrained),
    }
    chosen = options.parts or list(work)
    if unknown := [part for part in chosen if part not in work]:
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(work)}")
    found = {part: work[part]() for part in chosen}
    for part, figures in found.items():
        for name, value in figures.items():
            print(f"{part:10s} {name:20s} {value:12.4g}")
    if options.record:
        if not here:
            parser.error(f"{options.data} is not there: only figures of the Bolivian system are recorded")
        from interlock.scenarios.record import record_row

        for row, (part, figure, unit) in ROWS.items():
            if figure in found.get(part, {}):
                command = f"python benchmarks/hydro_speed.py {part} --record"
                print(record_row("hydro", row, value=found[part][figure], unit=unit, command=command))
    return 0


if __name__ == "__main__":
    sys.exit(main())

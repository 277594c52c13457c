"""What no policy can beat: the tree of all paths where it is small, and the least cost of a path known in advance."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np

from interlock.core.environment import Split
from interlock.core.multistage.extensive import solve_extensive
from interlock.core.multistage.stacked import perfect_information, stack
from interlock.core.multistage.stage import LinearStage, Multistage
from interlock.core.problem import Bound
from interlock.domains.hydro.case import Array, Case
from interlock.solvers.highs import Highs

Paths = Callable[[Split, int], Array]
"""``(split, count) -> (count, T, plants)``: inflows in m3/s of the held-out instances."""

LARGEST_TREE = 1000
"""Most leaves of a scenario tree that is solved as one program."""

_CHUNK = 50
_THREADS = 2


def bounds(relaxation: Multistage, paths: Paths, *, exact: bool, constrained: bool, network: str) -> dict[str, Bound]:
    """All bounds on the expected cost over all stages in $/h; the first is the reference of the normalised score.

    Args:
        relaxation: stages that cost no more than those of the simulator, see ``relaxed``.
        paths: of the instances.
        exact: whether the stages are those of the simulator and its inflows are their independent noises.
        constrained: whether there are limits beside the stages', which the tree does not know.
        network: of the simulator, for the descriptions.
    """
    loose = network in ("soc", "ac")
    about = "; on one bus without losses, which no network undercuts" if loose else ""
    found = {}
    if exact and leaves(relaxation) <= LARGEST_TREE:
        without = ", without the limits of the scenario" if constrained else ""
        found["extensive_form"] = Bound(
            "extensive_form",
            "relaxation" if constrained else "exact",
            cache(lambda split, count: np.array(solve_extensive(relaxation, Highs()).value)),
            f"least expected cost over all stages: one program over the tree of all paths{without}",
        )
    found["perfect_information"] = Bound(
        "perfect_information",
        "perfect_information",
        cache(lambda split, count: least_costs(relaxation, paths(split, count))),
        f"least cost of each path over all stages, had it been known from the start{about}",
    )
    return found


def leaves(multistage: Multistage) -> float:
    """Number of paths through the outcomes of all stages."""
    return float(np.prod([len(noise.outcomes) for noise in multistage.noises], dtype=float))


def least_costs(multistage: Multistage, paths: Array) -> Array:
    """``(n,)``, the least cost of every path ``(n, T, plants)``.

    Raises:
        StageInfeasible: a path has no optimum.
    """
    return np.concatenate(in_chunks(lambda chunk: perfect_information(multistage, Highs(), chunk), paths))


def best_states(multistage: Multistage, paths: Array) -> Array:
    """``(n, T, s)``, the states of the cheapest operation of every path ``(n, T, k)``, had it been known."""

    def states(chunk: Array) -> Array:
        stacked = stack(multistage.stages)
        session = Highs().open(stacked.program)
        optima = [stacked.solve(session, multistage.initial_state, path).x for path in chunk]
        return np.array([stacked.states(x) for x in optima if x is not None])  # an optimum has a point

    return np.concatenate(in_chunks(states, paths))


def in_chunks(solve: Callable[[Array], Array], paths: Array) -> list[Array]:
    """What ``solve`` makes of the paths, chunk by chunk; the chunks do not depend on the number of threads."""
    chunks = [paths[first : first + _CHUNK] for first in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(solve, chunks))


def least_unserved(multistage: Multistage, paths: Array) -> Array:
    """``(n,)``, the least sum over stages of MW not served on every path, had it been known from the start."""
    cheapest: dict[int, LinearStage] = {}
    for stage in multistage.stages:
        cheapest[id(stage)] = replace(stage, program=replace(stage.program, cost=stage.signals[0]))
    only_deficit = tuple(cheapest[id(stage)] for stage in multistage.stages)
    return least_costs(replace(multistage, stages=only_deficit), paths)


def relaxed(case: Case, lossless: Multistage) -> Multistage | None:
    """Stages on one bus that cost no more than those of any network with losses, or ``None`` if that is not sure.

    What is generated and not served covers the load and losses of at least 0, so the only power row becomes "at least
    the load": power may be thrown away. Losses are at least 0 where no branch has a negative resistance or shunt
    conductance; that holds for the cone relaxation as well as for the power flow.

    Args:
        case: the system.
        lossless: its stages on one bus.
    """
    branches = case.branches
    if (branches.resistance < 0).any() or (branches.start_shunt.real < 0).any() or (branches.end_shunt.real < 0).any():
        return None
    free: dict[int, LinearStage] = {}
    for stage in lossless.stages:
        upper = stage.program.row_upper.copy()
        upper[stage.program.row_names.index("power[system]")] = np.inf
        free[id(stage)] = replace(stage, program=replace(stage.program, row_upper=upper))
    return replace(lossless, stages=tuple(free[id(stage)] for stage in lossless.stages))


def unreachable(limit: float, shares: Array) -> str | None:
    """A sentence if a limit on unserved energy is out of reach of every policy, with 95 % confidence.

    Args:
        limit: % of the load energy.
        shares: ``(n,)``, the least possible share of each path in %.
    """
    mean = float(shares.mean())
    low = mean - 1.96 * float(shares.std(ddof=1)) / np.sqrt(len(shares))
    if low <= limit:
        return None
    return (
        f"the limit on unserved energy ({limit:g} % of the load) is out of reach of every policy: even one that knew "
        f"all inflows in advance and looked at nothing else would leave {mean:.3g} % unserved "
        f"(95 % interval from {low:.3g} %, {len(shares)} paths)"
    )

"""The state of the iterations as arrays and JSON values, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from interlock.core.environment import Array
from interlock.core.multistage.stage import Multistage
from interlock.core.sddp.cuts import Cuts, check_hash, problem_hash
from interlock.core.sddp.stopping import Progress
from interlock.core.sddp.training import State
from interlock.core.training import Checkpoint
from interlock.solvers.interface import Basis


def to_checkpoint(
    problem: Multistage, state: State, history: Sequence[Progress]
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays and meta of a checkpoint."""
    arrays = {**state.cuts.arrays(), "selected": state.selected}
    for t, basis in enumerate(state.bases):
        if basis is not None:
            arrays |= {f"columns/{t}": basis.columns, f"rows/{t}": basis.rows}
    meta = {
        "problem": problem_hash(problem),
        "iteration": state.iteration,
        "bound": state.bound,
        "refreshed": state.refreshed,
        "generator": state.generator.bit_generator.state,
        "history": [asdict(progress) for progress in history],
    }
    return arrays, meta


def from_checkpoint(checkpoint: Checkpoint, problem: Multistage) -> tuple[State, list[Progress]]:
    """What ``to_checkpoint`` was given.

    Raises:
        BadInput: the checkpoint is of another problem.
    """
    arrays, meta = checkpoint.arrays, checkpoint.meta
    check_hash("checkpoint", meta["problem"], problem)
    generator = np.random.default_rng()
    generator.bit_generator.state = meta["generator"]
    state = State(
        iteration=meta["iteration"],
        bound=meta["bound"],
        cuts=Cuts(*(arrays[name] for name in ("stage", "slopes", "intercepts", "points"))),
        selected=arrays["selected"],
        refreshed=meta["refreshed"],
        bases=[_basis(arrays, t) for t in range(len(problem.stages))],
        generator=generator,
    )
    return state, [Progress(**entry) for entry in meta["history"]]


def _basis(arrays: Mapping[str, Array], stage: int) -> Basis | None:
    if f"rows/{stage}" not in arrays:
        return None
    return Basis(arrays[f"columns/{stage}"], arrays[f"rows/{stage}"])

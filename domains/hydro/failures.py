"""A stage that could not be dispatched, written down for whoever looks into it."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.stage_program import LinearNetwork, linear_stage
from interlock.solvers.highs import save


def save_stage(case: Case, network: LinearNetwork, stage: int, volume: Array, inflow: Array, target: Array) -> str:
    """Write the stage's program with its end volumes fixed, as free MPS with names; gives the file.

    Args:
        case: the system.
        network: of the program.
        stage: from 0.
        volume: incoming, hm3 ``(plants,)``.
        inflow: m3/s ``(plants,)``.
        target: end volumes, hm3 ``(plants,)``.

    Returns:
        The name of a new file in the system's folder for temporary files, or "" if it cannot be written.
    """
    linear = linear_stage(case, network, stage)
    program, level = linear.program, linear.right_hand_side(volume, inflow)
    parts = {name: getattr(program, name).copy() for name in ("lower", "upper", "row_lower", "row_upper")}
    parts["lower"][linear.state] = parts["upper"][linear.state] = target
    parts["row_lower"][linear.rows] = parts["row_upper"][linear.rows] = level
    try:
        handle, name = tempfile.mkstemp(".mps", f"interlock-{case.name}-stage-{stage + 1}-")
        os.close(handle)
        save(replace(program, **parts), Path(name))
    except (OSError, ValueError):
        return ""
    return name

"""A program that has no solution, written down for whoever looks into it."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from interlock.domains.hydro.case import Array, Case
from interlock.domains.hydro.stage_program import LinearNetwork, linear_stage
from interlock.solvers.highs import save
from interlock.solvers.interface import LinearProgram


def save_stage(
    case: Case, network: LinearNetwork, stage: int, volume: Array, inflow: Array, target: Array, *, last: bool
) -> str:
    """Write the program of a stage with its end volumes fixed; gives the file, see ``save_program``.

    Args:
        case: the system.
        network: of the program.
        stage: from 0.
        volume: incoming, hm3 ``(plants,)``.
        inflow: m3/s ``(plants,)``.
        target: end volumes, hm3 ``(plants,)``.
        last: whether the water that is left earns its terminal value.
    """
    linear = linear_stage(case, network, stage, last=last)
    program, level = linear.program, linear.right_hand_side(volume, inflow)
    parts = {name: getattr(program, name).copy() for name in ("lower", "upper", "row_lower", "row_upper")}
    parts["lower"][linear.state] = parts["upper"][linear.state] = target
    parts["row_lower"][linear.rows] = parts["row_upper"][linear.rows] = level
    return save_program(replace(program, **parts), f"{case.name}-stage-{stage + 1}")


def save_program(program: LinearProgram, label: str) -> str:
    """Write a program as free MPS with names into the system's folder for temporary files.

    Args:
        program: what could not be solved.
        label: part of the file's name; what a file name cannot hold is replaced.

    Returns:
        The name of a new file, or "" if it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(".mps", f"interlock-{file_label(label)}-")
        os.close(handle)
        save(program, Path(name))
    except (OSError, ValueError):
        return ""
    return name


def file_label(label: str) -> str:
    """The label, with what a file name cannot hold replaced."""
    return "".join(letter if letter.isalnum() else "-" for letter in label)

"""CP-SAT of OR-Tools: programs whose columns are all integer and bounded, with decimal numbers of few digits.

OR-Tools brings a HiGHS of its own, which cannot be loaded beside that of ``highspy``; so it works in a process of its
own, started by the first solve and ended with this one: ``python -m interlock.solvers.cpsat``.
"""

import atexit
import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from interlock.solvers.interface import (
    Abilities,
    Array,
    LinearProgram,
    Program,
    Solution,
    Status,
)
from interlock.solvers.rebuilding import RebuildingSession

DIGITS = 6
"""Most decimals of a number; CP-SAT itself knows only whole ones."""

LARGEST = 2**53
"""Largest scaled number: beyond it floating-point numbers skip integers."""

_STATES: dict[str, Status] = {
    "OPTIMAL": "optimal",
    "INFEASIBLE": "infeasible",
    "FEASIBLE": "time_limit",
    "UNKNOWN": "time_limit",
}


class CpSat:
    """Implements ``interlock.solvers.interface.Solver``.

    What it cannot represent exactly it refuses with the status ``unsupported``.

    Args:
        workers: threads of the search; with more than one, equally good points may take turns.
        seed: of the search.
    """

    package: ClassVar[str] = "ortools"
    extra: ClassVar[str] = "cpsat"
    abilities: ClassVar[Abilities] = Abilities(continuous=False, integer=True, duals=False, unbounded=False)

    def __init__(self, workers: int = 1, seed: int = 0):
        self.workers = workers
        self.seed = seed

    def solve(self, program: Program, *, time_limit: float | None = None) -> Solution:
        """Solve a program; see the interface."""
        missing = self.abilities.missing(program)
        if missing or not isinstance(program, LinearProgram):
            return Solution("unsupported", message=f"CP-SAT does not solve {missing}")
        parameters: dict[str, float] = {"num_workers": self.workers, "random_seed": self.seed}
        if time_limit is not None:
            parameters["max_time_in_seconds"] = time_limit
        return _worker(os.getpid()).ask(program, parameters)

    def open(self, program: LinearProgram) -> RebuildingSession:
        """A session that declares the program anew for every solve."""
        return RebuildingSession(self, program)


class _Worker:
    """The process with OR-Tools; one question at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "interlock.solvers.cpsat"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = Lock()
        atexit.register(self._end)

    def ask(self, program: LinearProgram, parameters: Mapping[str, Any]) -> Solution:
        """Let it solve a program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            try:
                pickle.dump((program, parameters), self._process.stdin)
                self._process.stdin.flush()
                answer: Solution = pickle.load(self._process.stdout)
            except BaseException as error:  # an interrupted question too: its answer must not reach the next one
                self._end()
                _worker.cache_clear()  # the next solve starts another process
                if not isinstance(error, EOFError | OSError):
                    raise
                return Solution("failed", message=f"the process with OR-Tools has ended: {error!r}")
        return answer

    def _end(self) -> None:
        atexit.unregister(self._end)
        self._process.kill()
        self._process.communicate()


@cache
def _worker(process: int) -> _Worker:
    """The worker of a process; a forked one must not share that of its parent."""
    return _Worker()


def _serve() -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches both processes; this one just ends
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            program, parameters = pickle.load(questions)
        except EOFError:
            return
        pickle.dump(_answer(program, parameters), answers)
        answers.flush()


def _answer(program: LinearProgram, parameters: Mapping[str, Any]) -> Solution:
    from ortools.sat.python import cp_model

    try:
        model, x = _model(program)
    except ValueError as error:
        return Solution("unsupported", message=str(error))
    solver = cp_model.CpSolver()
    for name, value in parameters.items():
        setattr(solver.parameters, name, value)
    state = solver.status_name(solver.solve(model))
    status = _STATES.get(state, "failed")
    if state not in ("OPTIMAL", "FEASIBLE"):
        return Solution(status, message=state)
    values = np.array([solver.value(variable) for variable in x], float)
    return Solution(status, float(program.cost @ values), values, message=state)


def _model(program: LinearProgram) -> tuple[Any, list[Any]]:
    from ortools.sat.python import cp_model

    endless = np.flatnonzero(~(np.isfinite(program.lower) & np.isfinite(program.upper)))
    if endless.size:
        names = ", ".join(program.column_names[k] for k in endless[:5])
        raise ValueError(f"CP-SAT needs bounds for every column; without one: {names}")
    model = cp_model.CpModel()
    x = []
    for name, lower, upper in zip(program.column_names, program.lower, program.upper, strict=True):
        domain = cp_model.Domain(math.ceil(lower), math.floor(upper))
        x.append(model.new_int_var_from_domain(domain, name))
    for k, name in enumerate(program.row_names):
        part = slice(program.starts[k], program.starts[k + 1])
        scale = _scale(f"row {name}", program.values[part])
        weights, terms = np.rint(program.values[part] * scale).astype(int), program.columns[part]
        body = sum(int(weight) * x[column] for weight, column in zip(weights, terms, strict=True))
        lower, upper = _whole(program.row_lower[k] * scale, math.ceil), _whole(program.row_upper[k] * scale, math.floor)
        domain = cp_model.Domain(max(lower, cp_model.INT_MIN), min(upper, cp_model.INT_MAX))
        model.add_linear_expression_in_domain(body, domain)
    weights = np.rint(program.cost * _scale("cost", program.cost)).astype(int)
    objective = sum(int(weight) * variable for weight, variable in zip(weights, x, strict=True))
    (model.maximize if program.sense == "maximise" else model.minimize)(objective)
    return model, x


def _scale(where: str, values: Array) -> float:
    """The smallest power of ten that makes every value whole."""
    for digits in range(DIGITS + 1):
        scaled = values * 10.0**digits
        if np.abs(scaled).max(initial=0.0) > LARGEST:
            break
        if np.abs(scaled - np.rint(scaled)).max(initial=0.0) <= 1e-9 * max(1.0, np.abs(scaled).max(initial=0.0)):
            return 10.0**digits
    raise ValueError(f"CP-SAT needs numbers of at most {DIGITS} decimals; {where} has others")


def _whole(value: float, rounding: Any) -> int:
    """The next whole number inside a bound; what is whole but for rounding errors counts as whole."""
    if not np.isfinite(value):
        return int(math.copysign(2**62, value))
    near = round(value)
    return near if abs(value - near) <= 1e-9 * max(1.0, abs(value)) else int(rounding(value))


if __name__ == "__main__":
    _serve()

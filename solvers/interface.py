"""What every solver understands: a linear program in sparse rows with names, and a solution with prices."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Sense = Literal["minimise", "maximise"]
Status = Literal["optimal", "infeasible", "unbounded", "time_limit", "failed"]


@dataclass(frozen=True, slots=True)
class LinearProgram:
    """Minimise or maximise ``cost @ x`` where ``row_lower <= A x <= row_upper`` and ``lower <= x <= upper``.

    Row ``i`` of ``A`` has ``values[starts[i]:starts[i + 1]]`` in the columns ``columns[starts[i]:starts[i + 1]]``.
    Use ``-inf`` and ``inf`` where there is no bound.

    Attributes:
        cost: ``(n,)``.
        lower: ``(n,)``.
        upper: ``(n,)``.
        row_lower: ``(m,)``.
        row_upper: ``(m,)``.
        starts: int ``(m + 1,)``.
        columns: int ``(nonzeros,)``.
        values: ``(nonzeros,)``.
        column_names: ``n`` of them, each once.
        row_names: ``m`` of them, each once.
        sense: of the optimisation.
    """

    cost: Array
    lower: Array
    upper: Array
    row_lower: Array
    row_upper: Array
    starts: Array
    columns: Array
    values: Array
    column_names: tuple[str, ...]
    row_names: tuple[str, ...]
    sense: Sense = "minimise"

    def __post_init__(self) -> None:
        """Check that the parts belong together.

        Raises:
            ValueError: naming every part that does not.
        """
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver found.

    Attributes:
        status: ``optimal`` is proven; ``time_limit`` may come with the best point so far; ``failed`` is the solver's
            own failure, explained in ``message``.
        objective: value at ``x``; ``None`` without a point.
        x: ``(n,)``; ``None`` without a point.
        row_duals: ``(m,)``, change of the optimal objective per unit that the row's active bound is raised; with
            ``optimal`` only.
        reduced_costs: ``(n,)``, the same for the bounds of the columns.
        message: the solver's own word for the status.
    """

    status: Status
    objective: float | None = None
    x: Array | None = None
    row_duals: Array | None = None
    reduced_costs: Array | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """Which bounds are active at a vertex: where a warm start begins.

    Attributes:
        columns: int8 ``(n,)``: 0 at the lower bound, 1 basic, 2 at the upper bound, 3 free and at zero.
        rows: int8 ``(m,)``, the same of the activity of the rows.
    """

    columns: Array
    rows: Array


class Session(Protocol):
    """A linear program kept inside the solver: change some of its data, solve again from the last basis.

    Changes are remembered until they are changed again. Positions are those of the program; rows that are added take
    the next positions, and removing rows moves later ones up. Not safe to share between threads; sessions of
    different threads run side by side.
    """

    def change_rows(self, rows: Array, lower: Array, upper: Array) -> None:
        """New bounds of some rows: int ``(k,)``, float ``(k,)``, float ``(k,)``."""
        ...

    def change_columns(self, columns: Array, lower: Array, upper: Array) -> None:
        """New bounds of some columns: int ``(k,)``, float ``(k,)``, float ``(k,)``."""
        ...

    def change_costs(self, columns: Array, cost: Array) -> None:
        """New costs of some columns: int ``(k,)``, float ``(k,)``."""
        ...

    def add_rows(self, lower: Array, upper: Array, starts: Array, columns: Array, values: Array) -> None:
        """Further rows, for example cuts; ``starts`` ``(k + 1,)``, ``columns`` and ``values`` as in a program."""
        ...

    def remove_rows(self, rows: Array) -> None:
        """Take rows out: int ``(k,)``."""
        ...

    def solve(self, *, time_limit: float | None = None) -> Solution:
        """Solve what the program is now; a failure of the solver is tried again cold and without presolve."""
        ...

    def basis(self) -> Basis | None:
        """The basis of the last solve; ``None`` if it ended without one."""
        ...

    def start_from(self, basis: Basis | None) -> None:
        """Begin the next solve from a basis of the same size, or cold: the same start gives the same vertex."""
        ...

    def program(self) -> LinearProgram:
        """What the program is now, every change included."""
        ...


class Solver(Protocol):
    """An entry point of the group ``interlock.solvers`` holds a class whose objects have these methods."""

    def open(self, program: LinearProgram) -> Session:
        """Keep a program inside the solver, to be changed and solved again and again.

        Raises:
            ValueError: the solver does not accept the program.
        """
        ...

    def solve(self, program: LinearProgram, *, time_limit: float | None = None) -> Solution:
        """Solve to proven optimality, or say why not.

        Args:
            program: what to solve.
            time_limit: wall-clock seconds.
        """
        ...


@dataclass(frozen=True, slots=True)
class Column:
    """A variable of a small program written by hand."""

    cost: float = 0.0
    lower: float = 0.0
    upper: float = np.inf


@dataclass(frozen=True, slots=True)
class Row:
    """A constraint of a small program written by hand: column name -> coefficient."""

    terms: Mapping[str, float] = field(default_factory=dict)
    lower: float = -np.inf
    upper: float = np.inf


def linear_program(columns: Mapping[str, Column], rows: Mapping[str, Row], sense: Sense = "minimise") -> LinearProgram:
    """A program from named columns and rows; for models small enough to be read.

    Raises:
        ValueError: a row names a column that does not exist, or bounds contradict each other.
    """
    position = {name: index for index, name in enumerate(columns)}
    unknown = [
        f"row {name}: no column {term!r}" for name, row in rows.items() for term in row.terms if term not in position
    ]
    if unknown:
        raise ValueError("; ".join(unknown))
    counts = [len(row.terms) for row in rows.values()]
    return LinearProgram(
        cost=np.array([column.cost for column in columns.values()], float),
        lower=np.array([column.lower for column in columns.values()], float),
        upper=np.array([column.upper for column in columns.values()], float),
        row_lower=np.array([row.lower for row in rows.values()], float),
        row_upper=np.array([row.upper for row in rows.values()], float),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        columns=np.array([position[term] for row in rows.values() for term in row.terms], np.int32),
        values=np.array([value for row in rows.values() for value in row.terms.values()], float),
        column_names=tuple(columns),
        row_names=tuple(rows),
        sense=sense,
    )


def _problems(program: LinearProgram) -> list[str]:
    n, m = len(program.column_names), len(program.row_names)
    shapes = {
        "cost": n,
        "lower": n,
        "upper": n,
        "row_lower": m,
        "row_upper": m,
        "starts": m + 1,
        "values": len(program.columns),
    }
    found = [
        f"{name} has shape {getattr(program, name).shape}, expected ({length},)"
        for name, length in shapes.items()
        if getattr(program, name).shape != (length,)
    ]
    if found:
        return found
    found += _repeated("column", program.column_names) + _repeated("row", program.row_names)
    if not np.isfinite(program.cost).all() or not np.isfinite(program.values).all():
        found.append("cost and values must be finite numbers")
    if program.columns.size and not (program.columns.min() >= 0 and program.columns.max() < n):
        found.append(f"columns must be between 0 and {n - 1}")
    if program.starts[0] != 0 or program.starts[-1] != len(program.values) or (np.diff(program.starts) < 0).any():
        found.append(f"starts must rise from 0 to {len(program.values)}")
    for kind, names, lower, upper in (
        ("column", program.column_names, program.lower, program.upper),
        ("row", program.row_names, program.row_lower, program.row_upper),
    ):
        wrong = np.flatnonzero(~(lower <= upper))
        found += [f"{kind} {names[k]}: lower bound {lower[k]} is not at most upper bound {upper[k]}" for k in wrong]
    return found


def _repeated(kind: str, names: tuple[str, ...]) -> list[str]:
    return [f"{kind} {name!r} is there twice" for name, count in Counter(names).items() if count > 1]

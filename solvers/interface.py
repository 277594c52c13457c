"""What every solver understands: programs in sparse rows with names, and a solution with prices."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Sense = Literal["minimise", "maximise"]
Status = Literal["optimal", "infeasible", "unbounded", "time_limit", "failed", "unsupported"]


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
        integer: bool ``(n,)``, which columns take whole numbers only; ``None`` for no column.
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
    integer: Array | None = None

    def __post_init__(self) -> None:
        """Check that the parts belong together.

        Raises:
            ValueError: naming every part that does not.
        """
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class QuadraticProgram:
    """A linear program whose objective has ``x @ H @ x / 2`` more; names are those of its linear part.

    Convex: ``H`` is positive semidefinite where the program minimises, negative semidefinite where it maximises.

    Attributes:
        linear: everything but ``H``.
        rows: int ``(k,)``, ``H[rows[i], columns[i]] = H[columns[i], rows[i]] = values[i]``.
        columns: int ``(k,)``; the lower triangle only, ``columns <= rows``, every place once.
        values: ``(k,)``.
    """

    linear: LinearProgram
    rows: Array
    columns: Array
    values: Array

    def __post_init__(self) -> None:
        """Check that the parts belong together.

        Raises:
            ValueError: naming every part that does not.
        """
        n, problems = len(self.linear.cost), []
        if not self.rows.shape == self.columns.shape == self.values.shape == (len(self.values),):
            raise ValueError("rows, columns and values of the quadratic part must be vectors of one length")
        if self.values.size and not (self.columns.min() >= 0 and self.rows.max() < n):
            problems.append(f"the quadratic part must lie between 0 and {n - 1}")
        if (self.columns > self.rows).any():
            problems.append("the quadratic part is the lower triangle: no column above its row")
        if len(np.unique(self.rows.astype(np.int64) * n + self.columns)) < len(self.rows):
            problems.append("a place of the quadratic part is given twice")
        if not np.isfinite(self.values).all():
            problems.append("values of the quadratic part must be finite numbers")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class ConicProgram:
    """A linear program whose point also keeps second-order cones ``y[0] >= norm(y[1:])``, ``y`` a part of ``G x + h``.

    Row ``i`` of ``G`` has ``values[starts[i]:starts[i + 1]]`` in the columns ``columns[starts[i]:starts[i + 1]]``.

    Attributes:
        linear: objective, rows and bounds.
        sizes: int ``(cones,)``; each cone takes the next ``sizes[k]`` rows of ``G x + h``.
        offset: h, ``(r,)``.
        starts: int ``(r + 1,)``.
        columns: int ``(nonzeros,)``.
        values: ``(nonzeros,)``.
    """

    linear: LinearProgram
    sizes: Array
    offset: Array
    starts: Array
    columns: Array
    values: Array

    def __post_init__(self) -> None:
        """Check that the parts belong together.

        Raises:
            ValueError: naming every part that does not.
        """
        problems = list(_sparse_problems(self, len(self.offset), len(self.linear.cost)))
        if self.sizes.sum() != len(self.offset) or (self.sizes < 1).any():
            problems.append(f"sizes of the cones must be positive and sum to {len(self.offset)}")
        if not np.isfinite(self.offset).all():
            problems.append("offset must be finite numbers")
        if problems:
            raise ValueError("; ".join(problems))


Program = LinearProgram | QuadraticProgram | ConicProgram


def linear_part(program: Program) -> LinearProgram:
    """Objective without the quadratic part, rows, bounds and names."""
    return program if isinstance(program, LinearProgram) else program.linear


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a solver can do; conformance checks ask for nothing else.

    Attributes:
        continuous: columns that are not integer.
        integer: integer columns.
        quadratic: convex quadratic objectives.
        conic: second-order cones.
        duals: row duals and reduced costs of continuous programs.
        unbounded: recognises a program without a finite optimum.
        most_columns: of a program; ``None`` for any number.
        tolerance: relative error of objectives, duals and constraints.
    """

    continuous: bool = True
    integer: bool = False
    quadratic: bool = False
    conic: bool = False
    duals: bool = True
    unbounded: bool = True
    most_columns: int | None = None
    tolerance: float = 1e-6

    def missing(self, program: Program) -> str:
        """What a program asks for beyond these abilities, in words; ``""`` if nothing."""
        linear = linear_part(program)
        whole = np.zeros(len(linear.cost), bool) if linear.integer is None else linear.integer.astype(bool)
        lacks = {
            "quadratic objectives": isinstance(program, QuadraticProgram) and not self.quadratic,
            "cones": isinstance(program, ConicProgram) and not self.conic,
            "integer columns": bool(whole.any()) and not self.integer,
            "continuous columns": not whole.all() and not self.continuous,
            f"more than {self.most_columns} columns": len(whole) > (self.most_columns or len(whole)),
        }
        return ", ".join(name for name, lacking in lacks.items() if lacking)


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver found.

    Attributes:
        status: ``optimal`` is proven; ``time_limit`` may come with the best point so far; ``failed`` is the solver's
            own failure and ``unsupported`` a program that it cannot represent, both explained in ``message``.
        objective: value at ``x``; ``None`` without a point.
        x: ``(n,)``; ``None`` without a point.
        row_duals: ``(m,)``, change of the optimal objective per unit that the row's active bound is raised; with
            ``optimal`` only, and not with integer columns.
        reduced_costs: ``(n,)``, the same for the bounds of the columns.
        cone_duals: ``(r,)``, the same for the offsets of a conic program.
        message: the solver's own word for the status.
    """

    status: Status
    objective: float | None = None
    x: Array | None = None
    row_duals: Array | None = None
    reduced_costs: Array | None = None
    cone_duals: Array | None = None
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
    """An entry point of the group ``interlock.solvers`` holds a class whose objects have these methods.

    It is called without arguments. The class may say what it can do (``abilities: Abilities``; without it, linear
    programs with duals), which distribution it wraps (``package``) and which extra installs that (``extra``).
    """

    def open(self, program: LinearProgram) -> Session:
        """Keep a program inside the solver, to be changed and solved again and again.

        Raises:
            ValueError: the solver does not accept the program.
        """
        ...

    def solve(self, program: Program, *, time_limit: float | None = None) -> Solution:
        """Solve to proven optimality, or say why not.

        Args:
            program: what to solve; one that asks for more than the solver's abilities is ``unsupported``.
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


def quadratic_program(linear: LinearProgram, hessian: Array) -> QuadraticProgram:
    """A program with ``x @ hessian @ x / 2`` more in its objective; for models small enough for a full matrix.

    Raises:
        ValueError: the matrix is not symmetric.
    """
    if not np.array_equal(hessian, hessian.T):
        raise ValueError("the matrix of a quadratic objective must be symmetric")
    rows, columns = np.nonzero(np.tril(hessian))
    return QuadraticProgram(linear, rows, columns, hessian[rows, columns])


def _problems(program: LinearProgram) -> Iterator[str]:
    n, m = len(program.column_names), len(program.row_names)
    shapes = {"cost": n, "lower": n, "upper": n, "row_lower": m, "row_upper": m}
    wrong = [
        f"{name} has shape {getattr(program, name).shape}, expected ({length},)"
        for name, length in shapes.items()
        if getattr(program, name).shape != (length,)
    ]
    if program.integer is not None and program.integer.shape != (n,):
        wrong.append(f"integer has shape {program.integer.shape}, expected ({n},)")
    yield from wrong
    yield from _sparse_problems(program, m, n)
    if wrong:
        return
    yield from _repeated("column", program.column_names)
    yield from _repeated("row", program.row_names)
    if not np.isfinite(program.cost).all():
        yield "cost must be finite numbers"
    for kind, names, lower, upper in (
        ("column", program.column_names, program.lower, program.upper),
        ("row", program.row_names, program.row_lower, program.row_upper),
    ):
        for k in np.flatnonzero(~(lower <= upper)):
            yield f"{kind} {names[k]}: lower bound {lower[k]} is not at most upper bound {upper[k]}"


def _sparse_problems(program: LinearProgram | ConicProgram, rows: int, n: int) -> Iterator[str]:
    """What is wrong with ``starts``, ``columns`` and ``values`` of a matrix ``(rows, n)``."""
    starts, columns, values = program.starts, program.columns, program.values
    if starts.shape != (rows + 1,) or columns.shape != (len(values),) or values.shape != (len(values),):
        shapes = f"{starts.shape}, {columns.shape} and {values.shape}"
        yield f"starts, columns and values have shapes {shapes}, expected ({rows + 1},) and two of one length"
        return
    if not np.isfinite(values).all():
        yield "values must be finite numbers"
    if columns.size and not (columns.min() >= 0 and columns.max() < n):
        yield f"columns must be between 0 and {n - 1}"
    if starts[0] != 0 or starts[-1] != len(values) or (np.diff(starts) < 0).any():
        yield f"starts must rise from 0 to {len(values)}"


def _repeated(kind: str, names: tuple[str, ...]) -> list[str]:
    return [f"{kind} {name!r} is there twice" for name, count in Counter(names).items() if count > 1]

"""A harvest rule as a table that an agency can run alone: read from CSV, interpolated between its points. Torch-free.

The table has a block of rows for each harvested species, named in the column ``mortality_of``. Within a block every
combination of some values of the inputs (``stock_x``, ``year`` from 1, ``last_mortality_x`` ...) has one row with its
``mortality``. Between these values the rule is linear in each input; beyond the first and the last it stays as it is
there. An input with a single value in a block does not matter to it.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import BadInput
from interlock.core.request import shown

SPECIES, MORTALITY = "mortality_of", "mortality"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The table of one harvested species.

    Attributes:
        axes: values of every input, rising.
        values: mortalities, an axis for each input in that order.
    """

    axes: Mapping[str, Array]
    values: Array


@dataclass(frozen=True, slots=True, eq=False)
class ControlRule:
    """A rule by table.

    Attributes:
        blocks: by harvested species, in the order of the table.
    """

    blocks: Mapping[str, Block]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that the rule is asked with."""
        return tuple(next(iter(self.blocks.values())).axes)

    def mortality(self, state: Mapping[str, Array]) -> Array:
        """Mortalities ``(n, h)``.

        Args:
            state: each of ``inputs``, ``(n,)``: stocks in stock units, mortalities per year, the year from 1.

        Raises:
            KeyError: an input is missing.
        """
        from scipy.interpolate import RegularGridInterpolator

        found = []
        for block in self.blocks.values():
            moving = [name for name, axis in block.axes.items() if len(axis) > 1]
            axes = [block.axes[name] for name in moving]
            points = np.stack(
                [
                    np.clip(np.asarray(state[name], float), axis[0], axis[-1])
                    for name, axis in zip(moving, axes, strict=True)
                ],
                axis=-1,
            )
            found.append(RegularGridInterpolator(axes, block.values.reshape([len(axis) for axis in axes]))(points))
        mortality: Array = np.stack(found, axis=1)
        return mortality


def read_control_rule(table: Path | str | bytes) -> ControlRule:
    """Read a rule from its CSV: a path, or the content itself as bytes.

    Raises:
        BadInput: it is no such table; rows that are wrong, and combinations that are missing or there twice, are named.
    """
    content = table if isinstance(table, bytes) else Path(table).read_bytes()
    source = "control rule" if isinstance(table, bytes) else str(table)
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(source, [f"is not a CSV table ({error})"]) from error
    header = rows[0] if rows else []
    if len(header) < 3 or header[0] != SPECIES or header[-1] != MORTALITY or len(set(header)) < len(header):
        raise BadInput(source, [f"header is {shown(header)}, expected {SPECIES}, the inputs, {MORTALITY}"])
    numbers, names, problems = [], [], []
    for line, row in enumerate(rows[1:], 2):
        try:
            values = [float(cell) for cell in row[1:]]
            if len(row) != len(header) or not np.isfinite(values).all() or not 0.0 <= values[-1] <= 1.0:
                raise ValueError
        except ValueError:
            problems.append(
                f"row {line}: {shown(','.join(row))}, expected a species, {len(header) - 2} numbers, a share"
            )
            continue
        names.append(row[0])
        numbers.append(values)
    if problems or not numbers:
        raise BadInput(source, problems or ["has no rows"])
    every = np.array(numbers)
    blocks = {}
    for name in dict.fromkeys(names):
        block, trouble = _block(tuple(header[1:-1]), every[np.array(names) == name])
        blocks[name] = block
        problems += [f"{name}: {trouble}"] if trouble else []
    if problems:
        raise BadInput(source, problems)
    return ControlRule(blocks)


def _block(inputs: tuple[str, ...], rows: Array) -> tuple[Block, str]:
    """The block of some rows, and what is wrong with it."""
    axes, places = {}, []
    for column, name in enumerate(inputs):
        axes[name], place = np.unique(rows[:, column], return_inverse=True)
        places.append(place)
    shape = tuple(len(axis) for axis in axes.values())
    size = int(np.prod([float(side) for side in shape]))
    distinct = len(np.unique(rows[:, :-1], axis=0))
    if distinct < len(rows):
        return Block(axes, np.zeros(0)), f"{len(rows) - distinct} combinations of inputs are there twice"
    if size != len(rows):
        return Block(axes, np.zeros(0)), f"{len(rows)} rows for {size} combinations of inputs"
    values = np.empty(shape)
    values[tuple(places)] = rows[:, -1]
    return Block(axes, values), ""


def write_control_rule(rule: ControlRule) -> bytes:
    """The rule as CSV; numbers are written in full."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([SPECIES, *rule.inputs, MORTALITY])
    for name, block in rule.blocks.items():
        points = np.stack(np.meshgrid(*block.axes.values(), indexing="ij"), axis=-1).reshape(-1, len(block.axes))
        for point, value in zip(points.tolist(), block.values.ravel().tolist(), strict=True):
            writer.writerow([name, *(f"{entry:.10g}" for entry in point), f"{value:.10g}"])
    return text.getvalue().encode()

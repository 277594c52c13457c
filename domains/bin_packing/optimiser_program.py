"""The integer program of one question: can these boxes be packed in this order?

* ``put[i, p, z, m]`` (binary): box ``i`` stands at loading position ``p`` (orientation and corner) with its floor at
  level ``z``; ``m`` is the clause of the support rule that holds it. Every box is put once.
* ``at[i, c, k]``: cell ``c`` has height ``k`` when box ``i`` arrives. ``left[i, c, k]``: box ``i`` covers that cell,
  which had height ``k``. Heights are a flow: ``at[i + 1, c, k] = at[i, c, k] - left[i, c, k] + (boxes put on c with top
  k)``, and what leaves cell ``c`` is what covers it. Both are whole numbers wherever ``put`` is, so they need not be
  integer columns.
* A box covers a cell from its own floor or from above: ``sum(left[i, c, k], k <= z) >= sum(put[i, p, z', m], p over c,
  z' <= z)`` for every level ``z``.
* A clause of the support rule asks for a number of cells, and of corners, that have height ``z`` exactly:
  ``sum(at[i, c, z], c in p) >= number * put[i, p, z, m]``.

Without the last rows a box may hover. That is a relaxation, and exactly the rule "any contact is support": letting all
boxes of such a packing down in their order only lowers heights.
"""

from dataclasses import dataclass
from math import inf

import numpy as np

from interlock.core.environment import Array
from interlock.domains.bin_packing.orientation import repeats, sides
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.solvers.interface import LinearProgram


@dataclass(frozen=True, slots=True)
class Put:
    """A way to put one box down.

    Attributes:
        box: its place in the sequence.
        action: index of orientation and corner.
        cells: of the footprint, as ``x * W + y``.
        z: level of its floor.
        top: level of its top.
        support: cells that must have height ``z``.
        corners: corner cells of the footprint that must be among them; a narrow box has the same cell twice.
        least_corners: how many of the corners.
    """

    box: int
    action: int
    cells: tuple[int, ...]
    z: int
    top: int
    support: int
    corners: tuple[int, ...]
    least_corners: int


def clauses(area: int, thresholds: tuple[int, int, int]) -> list[tuple[int, int]]:
    """The support rule as alternatives (cells at the level of the floor, corners among them), without idle ones.

    Args:
        area: cells of the footprint.
        thresholds: ``(theta4, theta3, theta0)`` in 1/10,000; a share has to exceed them, and a full one always does.
    """
    theta4, theta3, theta0 = (min(area, theta * area // 10_000 + 1) for theta in thresholds)
    found = [(theta0, 0)]
    for cells, corners in ((theta3, 3), (theta4, 4)):
        if cells < found[-1][0]:
            found.append((cells, corners))
    return found


class Prefix:
    """The integer program "can these boxes be packed in this order?".

    Args:
        boxes: int ``(n, 3)``, all of them to be packed.
        scenario: bin, orientations and support rule.
        support: demand support; without it the program is a relaxation.
    """

    def __init__(self, boxes: Array, scenario: BinPackingScenario, *, support: bool = True):
        self.scenario = scenario
        self.boxes = np.asarray(boxes, np.int64)
        self.floor = scenario.bin.length * scenario.bin.width
        self.levels = scenario.bin.height
        self.puts = [put for box in range(len(boxes)) for put in self._ways(box, support)]
        self._names = [f"put[{put.box},{put.action},{put.z},{put.least_corners}]" for put in self.puts]
        self._rows: list[tuple[str, float, float, list[int], list[float]]] = []
        self._cells()
        for index, put in enumerate(self.puts):
            if support and put.z > 0:
                self._supported(index, put)

    def _ways(self, box: int, support: bool) -> list[Put]:
        """Every way to put one box down that stays in the bin."""
        size_x, size_y = self.scenario.bin.length, self.scenario.bin.width
        ways = []
        for o in range(int(self.scenario.orientations)):
            length, width, height = (int(side) for side in sides(self.boxes[box], o))
            if repeats(self.boxes[box], o):
                continue
            # On the floor everything is supported; the first box has nothing else to stand on.
            last = 0 if box == 0 else self.levels - height
            rules = clauses(length * width, self.scenario.thresholds()) if support else [(0, 0)]
            for x in range(size_x - length + 1):
                for y in range(size_y - width + 1):
                    cells = tuple(i * size_y + j for i in range(x, x + length) for j in range(y, y + width))
                    corners = (cells[0], cells[width - 1], cells[-width], cells[-1])
                    action = (o * size_x + x) * size_y + y
                    for z in range(min(last, self.levels - height) + 1):
                        for number, least in rules if z > 0 else [(0, 0)]:
                            ways.append(Put(box, action, cells, z, z + height, number, corners, least))
        return ways

    def _row(self, name: str, lower: float, upper: float, terms: list[tuple[int, float]]) -> None:
        self._rows.append((name, lower, upper, [column for column, _ in terms], [value for _, value in terms]))

    def _at(self, box: int, cell: int, level: int) -> int:
        """Column of ``at``; those of ``left`` come right after all of them."""
        return len(self.puts) + (box * self.floor + cell) * (self.levels + 1) + level

    def _left(self, box: int, cell: int, level: int) -> int:
        return self._at(box + len(self.boxes), cell, level)

    def _cells(self) -> None:
        """Columns of the heights, and the rows that tie them to the boxes."""
        n, levels = len(self.boxes), range(self.levels + 1)
        for kind in ("at", "left"):
            self._names += [f"{kind}[{i},{c},{k}]" for i in range(n) for c in range(self.floor) for k in levels]
        for i in range(n):
            mine = [index for index, put in enumerate(self.puts) if put.box == i]
            self._row(f"once[{i}]", 1, 1, [(index, 1.0) for index in mine])
            for c in range(self.floor):
                over = [index for index in mine if c in self.puts[index].cells]
                away = [(self._left(i, c, k), 1.0) for k in levels]
                self._row(f"covered[{i},{c}]", 0, 0, [*away, *((index, -1.0) for index in over)])
                for k in levels:
                    lower = [(index, -1.0) for index in over if self.puts[index].z <= k]
                    self._row(f"below[{i},{c},{k}]", 0, inf, [*away[: k + 1], *lower])
                    self._row(f"there[{i},{c},{k}]", 0, inf, [(self._at(i, c, k), 1.0), (self._left(i, c, k), -1.0)])
                    if i + 1 < n:
                        flow = [(self._at(i + 1, c, k), 1.0), (self._at(i, c, k), -1.0), (self._left(i, c, k), 1.0)]
                        tops = [(index, -1.0) for index in over if self.puts[index].top == k]
                        self._row(f"flow[{i},{c},{k}]", 0, 0, [*flow, *tops])

    def _supported(self, index: int, put: Put) -> None:
        name = self._names[index]
        under = [(self._at(put.box, c, put.z), 1.0) for c in put.cells]
        self._row(f"support of {name}", 0, inf, [*under, (index, -float(put.support))])
        if put.least_corners:
            counts = {c: float(put.corners.count(c)) for c in put.corners}
            corners = [(self._at(put.box, c, put.z), count) for c, count in counts.items()]
            self._row(f"corners of {name}", 0, inf, [*corners, (index, -float(put.least_corners))])

    def program(self) -> LinearProgram:
        """The program; any point that keeps its rows answers the question."""
        n, put = len(self._names), len(self.puts)
        lower, upper = np.zeros(n), np.ones(n)
        start = np.arange(self.floor) * (self.levels + 1) + put
        upper[put : put + self.floor * (self.levels + 1)] = 0.0
        lower[start] = upper[start] = 1.0
        names, row_lower, row_upper, columns, values = zip(*self._rows, strict=True)
        return LinearProgram(
            cost=np.zeros(n),
            lower=lower,
            upper=upper,
            row_lower=np.array(row_lower, float),
            row_upper=np.array(row_upper, float),
            starts=np.concatenate([[0], np.cumsum([len(part) for part in columns])]).astype(np.int32),
            columns=np.concatenate(columns).astype(np.int32),
            values=np.concatenate(values),
            column_names=tuple(self._names),
            row_names=names,
            integer=np.arange(n) < put,
        )

    def actions(self, x: Array) -> list[int]:
        """The placements of a point of the program, in order."""
        chosen = [put for put, value in zip(self.puts, x, strict=False) if value > 0.5]
        return [put.action for put in sorted(chosen, key=lambda put: put.box)]

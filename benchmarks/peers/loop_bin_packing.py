"""Online 3D bin packing as the published environment computes it, in plain Python: a peer to be timed, nothing more.

Written anew after the description in Zhao, She, Zhu, Yang, Xu, "Online 3D Bin Packing with Constrained Deep
Reinforcement Learning" (AAAI 2021) and the behaviour of the code published with it: every loading position is judged by
itself in a double loop, each time slicing the height map and reducing the slice with numpy; setting a box down copies
the height map; the packed boxes are objects in a list whose volumes are summed for every ratio; the observation is four
stacked planes; a cut bin is a list of pieces taken apart one by one. Where there is a faster word in numpy for the same
thing, the faster one is used, so that the peer is not slowed down by its writing.
"""

import copy
import random
from dataclasses import dataclass

import numpy as np

FOUR, THREE, ALONE = 0.50, 0.85, 0.95
"""Share of the footprint that must be exceeded with four, with three or with any number of corners supported."""


@dataclass
class Box:
    """A box or piece: sides along x, y, z and the corner nearest to the origin, in cells."""

    x: int
    y: int
    z: int
    lx: int = 0
    ly: int = 0
    lz: int = 0


class Space:
    """The open bin: a height map and the boxes in it."""

    def __init__(self, length: int, width: int, height: int):
        self.plain_size = (length, width, height)
        self.height = height
        self.plain = np.zeros((length, width), dtype=np.int32)
        self.boxes: list[Box] = []

    def check_box(self, x: int, y: int, lx: int, ly: int, z: int) -> int:
        """Set-down height of a box of sides x, y, z at (lx, ly); -1 where it must not stand."""
        if lx + x > self.plain_size[0] or ly + y > self.plain_size[1]:
            return -1
        rec = self.plain[lx : lx + x, ly : ly + y]
        top = rec.max()
        if top + z > self.height:
            return -1
        share = np.count_nonzero(rec == top) / (x * y)
        if share > ALONE:
            return int(top)
        corners = int(rec[0, 0] == top) + int(rec[x - 1, 0] == top)
        corners += int(rec[0, y - 1] == top) + int(rec[x - 1, y - 1] == top)
        if (corners == 4 and share > FOUR) or (corners >= 3 and share > THREE):
            return int(top)
        return -1

    def mask(self, box: Box) -> np.ndarray:
        """Which loading positions a box may take, one after the other; int32 ``(L, W)``."""
        mask = np.zeros(self.plain_size[:2], dtype=np.int32)
        for i in range(self.plain_size[0] - box.x + 1):
            for j in range(self.plain_size[1] - box.y + 1):
                if self.check_box(box.x, box.y, i, j, box.z) >= 0:
                    mask[i, j] = 1
        return mask

    def drop_box(self, box: Box, lx: int, ly: int) -> bool:
        """Set a box down; ``False`` where it must not stand."""
        lz = self.check_box(box.x, box.y, lx, ly, box.z)
        if lz < 0:
            return False
        self.boxes.append(Box(box.x, box.y, box.z, lx, ly, lz))
        plain = copy.deepcopy(self.plain)
        plain[lx : lx + box.x, ly : ly + box.y] = lz + box.z
        self.plain = plain
        return True

    def ratio(self) -> float:
        """Packed share of the bin."""
        packed = sum(box.x * box.y * box.z for box in self.boxes)
        return packed / (self.plain_size[0] * self.plain_size[1] * self.plain_size[2])


class LoopEnvironment:
    """One bin, played step by step; one or two orientations.

    Args:
        size: (length, width, height) of the bin in cells.
        orientations: 1, or 2 where length and width may be swapped.
    """

    def __init__(self, size: tuple[int, int, int], orientations: int = 1):
        self.size, self.orientations = size, orientations

    def reset(self, items: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Empty the bin; the observation and the mask of the first of these items."""
        self.space, self.items, self.cursor = Space(*self.size), items, 0
        return self.observation(), self.mask()

    def next_box(self) -> Box:
        """The box in front; a box as large as the bin after the last one."""
        return Box(*(self.items[self.cursor] if self.cursor < len(self.items) else self.size))

    def observation(self) -> np.ndarray:
        """Height map and three constant planes, flat."""
        box = self.next_box()
        planes = [np.ones(self.size[:2], dtype=np.int32) * side for side in (box.x, box.y, box.z)]
        return np.reshape(np.stack((self.space.plain, *planes)), (-1,))

    def mask(self) -> np.ndarray:
        """Feasibility of every action, flat; all ones if nothing is feasible."""
        box = self.next_box()
        masks = [self.space.mask(box)]
        if self.orientations == 2:
            turned = Box(box.y, box.x, box.z)
            masks.append(self.space.mask(turned) if box.x != box.y else np.zeros_like(masks[0]))
        mask = np.hstack([part.reshape((-1,)) for part in masks])
        if mask.sum() == 0:
            mask[:] = 1
        return mask

    def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, object]]:
        """Set the box in front down; the mask of the next one comes with the observation."""
        cells = self.size[0] * self.size[1]
        box = self.next_box()
        if action >= cells:
            box = Box(box.y, box.x, box.z)
        lx, ly = divmod(action % cells, self.size[1])
        if not self.space.drop_box(box, lx, ly):
            return self.observation(), 0.0, True, {"counter": len(self.space.boxes), "ratio": self.space.ratio()}
        reward = 10 * (box.x * box.y * box.z) / (cells * self.size[2])
        self.cursor += 1
        info = {"counter": len(self.space.boxes), "ratio": self.space.ratio(), "mask": self.mask()}
        return self.observation(), reward, False, info


def cut(piece: Box, low: int, high: int, rng: random.Random) -> list[Box]:
    """Cut a piece, and the pieces of it, until every side is at most ``high``."""
    long_axes = [axis for axis in ("x", "y", "z") if getattr(piece, axis) > high]
    if not long_axes:
        return [piece]
    axis = rng.choice(long_axes)
    at = rng.randint(low, getattr(piece, axis) - low)
    x, y, z, lx, ly, lz = piece.x, piece.y, piece.z, piece.lx, piece.ly, piece.lz
    if axis == "x":
        near, far = Box(at, y, z, lx, ly, lz), Box(x - at, y, z, lx + at, ly, lz)
    elif axis == "y":
        near, far = Box(x, at, z, lx, ly, lz), Box(x, y - at, z, lx, ly + at, lz)
    else:
        near, far = Box(x, y, at, lx, ly, lz), Box(x, y, z - at, lx, ly, lz + at)
    return cut(near, low, high, rng) + cut(far, low, high, rng)


def cut_sequence(
    stream: str, size: tuple[int, int, int], low: int, high: int, rng: random.Random
) -> list[tuple[int, int, int]]:
    """The items of a cut bin: ``cut1`` by the height of their floor, ``cut2`` by stacking dependency."""
    pieces = cut(Box(*size), low, high, rng)
    if stream == "cut1":
        rng.shuffle(pieces)
        return [(piece.x, piece.y, piece.z) for piece in sorted(pieces, key=lambda piece: piece.lz)]
    heights = np.zeros(size[:2], dtype=np.int32)
    order, ready = [], []
    while pieces or ready:
        waiting = []
        for piece in pieces:
            below = heights.item(piece.lx, piece.ly) == piece.lz  # most are told by one corner
            if below and (heights[piece.lx : piece.lx + piece.x, piece.ly : piece.ly + piece.y] == piece.lz).all():
                ready.append(piece)
            else:
                waiting.append(piece)
        pieces = waiting
        chosen = ready.pop(rng.randrange(len(ready)))  # what is ready stays so: nothing else is to stand there
        heights[chosen.lx : chosen.lx + chosen.x, chosen.ly : chosen.ly + chosen.y] = chosen.lz + chosen.z
        order.append((chosen.x, chosen.y, chosen.z))
    return order

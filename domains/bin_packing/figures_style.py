"""What the pictures of this domain share: colours, units, sliders."""

from collections.abc import Sequence
from typing import Any

from interlock.core.environment import Array
from interlock.domains.bin_packing.playback import Placed
from interlock.domains.bin_packing.scenario import BinPackingScenario

LEARNED, RULES, BOUND = ("#D55E00", "#CC79A7"), ("#0072B2", "#56B4E9"), "#009E73"
"""From Okabe and Ito's palette, told apart with any kind of colour vision."""

_TURNS = (
    "",
    "turned",
    "tilted, width up",
    "tilted, width up, turned",
    "tilted, length up",
    "tilted, length up, turned",
)
"""In the order of ``orientation.AXES``."""


def unit_of(scenario: BinPackingScenario) -> str:
    """Unit of lengths in the pictures."""
    return "cells" if scenario.bin.unit == "cell" else scenario.bin.unit


def times(values: Array, between: str = " x ") -> str:
    """Numbers as they are read: 40 x 30 x 25."""
    return between.join(f"{value:g}" for value in values)


def described(scenario: BinPackingScenario, box: Placed) -> str:
    """A box as it came, its weight, which way round it was set down."""
    weight = "" if box.weight is None else f", {box.weight:.3g} kg"
    turn = _TURNS[box.orientation]
    return f"{times(scenario.bin.cell_size * box.item)} {unit_of(scenario)}{weight}{turn and ', ' + turn}"


def slider(steps: Sequence[Any], active: int, prefix: str, top: int) -> dict[str, Any]:
    """A slider below a picture."""
    return {"active": active, "steps": list(steps), "currentvalue": {"prefix": prefix}, "pad": {"t": top}}

"""The scenario schema of online 3D bin packing."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from interlock.core.scenario import Scenario, Settings

PRESETS: dict[str, tuple[float, float, float]] = {
    "paper": (0.60, 0.80, 0.95),
    "released": (0.50, 0.85, 0.95),
    "full": (1.0, 1.0, 1.0),
    "strict75": (0.75, 0.90, 1.0),
}
"""Support thresholds (theta4, theta3, theta0): ``paper`` from Zhao et al., AAAI 2021, section 3.1; ``released`` from
the code published with it; ``full`` demands support under the whole footprint; ``strict75`` is stricter than
both published ones and milder than that."""

MAX_BIN = 512
"""Most cells along a side of the bin."""

HEAVIEST_PICK = 50.0
"""No box of the stream ``picks`` weighs more, kg."""

Stream = Literal["rs", "cut1", "cut2", "largest_first", "largest_last", "picks"]
"""Where generated boxes come from."""

UserColumn = Literal[
    "stream_id", "position", "length", "width", "height",
    "weight", "sku", "quantity", "max_stack_weight", "keep_upright", "group", "arrival_s",
]  # fmt: skip
"""The columns of a user's item file that mean something to us; the first five are required."""


def round_up_nicely(value: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least ``value`` (> 0)."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


class BinSettings(Settings):
    """The open bin, in grid cells, and what a cell means in the real world."""

    length: int = Field(10, ge=1, description="cells along x (array axis 0)", json_schema_extra={"maximum": MAX_BIN})
    width: int = Field(10, ge=1, description="cells along y (array axis 1)", json_schema_extra={"maximum": MAX_BIN})
    height: int = Field(10, ge=1, description="cells along z (upwards)", json_schema_extra={"maximum": MAX_BIN})
    cell_size: float = Field(1.0, gt=0, description="side of a cell, in `unit`")
    unit: Literal["cell", "mm", "cm", "m"] = Field("cell", description="unit of `cell_size`")
    open: int = Field(1, ge=1, le=64, description="bins that stand open at once")
    total: int | None = Field(
        None,
        ge=1,
        description="bins of an episode: while there are more than `open`, a box that fits in no open bin closes the "
        "fullest one and opens the next; null: as many as `open`, none is replaced",
    )
    max_weight: float | None = Field(None, gt=0, description="largest load of a bin, kg; null: no limit")

    @model_validator(mode="after")
    def _enough_bins(self) -> Self:
        if self.total is not None and self.total < self.open:
            raise ValueError(f"bin.total {self.total} is less than bin.open {self.open}")
        return self

    @model_validator(mode="after")
    def _not_too_fine(self) -> Self:
        longest = max(self.length, self.width, self.height)
        if longest > MAX_BIN:
            larger = round_up_nicely(self.cell_size * longest / MAX_BIN)
            sides = [max(1, int(side * self.cell_size / larger)) for side in (self.length, self.width, self.height)]
            metric = "" if self.unit != "cell" else "give bin.unit in mm, cm or m, then "
            raise ValueError(
                f"cells of {self.cell_size:g} {self.unit} give a bin of {self.length} x {self.width} x {self.height} "
                f"cells, more than {MAX_BIN} a side: {metric}use bin.cell_size {larger:g} and a bin of "
                f"{sides[0]} x {sides[1]} x {sides[2]} cells"
            )
        if self.unit == "cell" and self.cell_size != 1:
            raise ValueError(
                f"bin.cell_size {self.cell_size:g} says nothing while bin.unit is 'cell': set bin.unit to mm, cm or m"
            )
        return self


class ItemSettings(Settings):
    """The item set: all boxes with integer sides between `low` and `high` cells."""

    low: int = Field(2, ge=1, description="smallest side, cells")
    high: int = Field(5, ge=1, description="largest side, cells")
    density: tuple[float, float] | None = Field(
        None,
        description="weight of a cell of a generated box, drawn uniformly per box, kg (least, most); null: 1 kg per "
        "cell, or what the products of the stream `picks` weigh",
    )
    crush_factor: float | None = Field(
        None, gt=0, description="a box carries at most this many times its own weight; null: anything"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"items.low {self.low} is larger than items.high {self.high}")
        if self.density is not None and not 0 <= self.density[0] <= self.density[1] > 0:
            raise ValueError(f"items.density {self.density}: expected 0 <= least <= most, and most above 0")
        return self


class Stability(Settings):
    """Support thresholds as shares of the footprint; compared as integers, strictly."""

    theta4: float = Field(ge=0, le=1, description="share needed with all four corners supported")
    theta3: float = Field(ge=0, le=1, description="share needed with three corners supported")
    theta0: float = Field(ge=0, le=1, description="share needed whatever the corners")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.theta4 <= self.theta3 <= self.theta0:
            raise ValueError(
                f"stability thresholds must satisfy theta4 <= theta3 <= theta0, got "
                f"{self.theta4}, {self.theta3}, {self.theta0}"
            )
        return self


class DataSettings(Settings):
    """How users' item files are read."""

    unit: Literal["cell", "mm", "cm", "m"] = Field("cell", description="unit of length, width, height in the file")
    weight_unit: Literal["kg", "g", "lb"] = Field("kg", description="unit of the weight columns in the file")
    on_oversize: Literal["error", "reject"] = Field(
        "error", description="an item that fits in no orientation: stop, or write it to rejected.csv and go on"
    )
    columns: dict[UserColumn, str] = Field(
        default_factory=dict,
        description="where the file names its columns differently: our name -> the file's; one column may serve twice",
    )


class CellSettings(Settings):
    """The robot cell around the bins, for the study `cell`; it changes nothing of what policies are trained on."""

    hours: float = Field(8.0, gt=0, description="length of a shift, h")
    shifts: int = Field(5, ge=2, description="shifts that are simulated, with other boxes and other times in each")
    arrival_s: float = Field(6.0, gt=0, description="mean time between boxes while the infeed runs (exponential), s")
    robot_s: float = Field(5.0, gt=0, description="mean time of a robot cycle (lognormal), s")
    robot_sd_s: float = Field(0.8, ge=0, description="standard deviation of a robot cycle, s")
    bin_change_s: float = Field(20.0, ge=0, description="time to take a full bin away and set an empty one up, s")
    conveyor: int = Field(5, ge=1, description="boxes that the conveyor holds; a further one stops the infeed")
    decision_s: float | None = Field(
        None, ge=0, description="time that a decision takes, s; null: as measured on this machine"
    )


class BinPackingScenario(Scenario):
    """Boxes arrive one by one; each is set down at once in the open bin and never moved again."""

    domain: Literal["bin_packing"] = "bin_packing"
    bin: BinSettings = BinSettings()
    items: ItemSettings = ItemSettings()
    stream: Stream = Field(
        "cut2",
        description="rs: independent uniform items; cut1, cut2: a full bin cut into items, ordered by the height of "
        "their floor (cut1) or by stacking dependency (cut2); largest_first, largest_last: the items of cut2 with the "
        "largest quarter moved to the front or the end; picks: boxes like those of warehouse orders, several alike in "
        "a row, with weights",
    )
    test_streams: tuple[Stream, ...] = Field(
        (), description="streams that the test instances are drawn from in turn, instead of `stream`"
    )
    look_ahead: int = Field(1, ge=1, description="boxes known, the one to be placed now among them")
    buffer: int = Field(1, ge=1, description="boxes held, any of which may be placed next")
    orientations: Literal[1, 2, 6] = Field(
        1, description="1: as it comes; 2: length and width may be swapped; 6: any side may point up"
    )
    candidates: Literal["all", "ems", "corner", "extreme", "event"] = Field(
        "all",
        description="feasible positions that the placement rules score: all; or corners of empty maximal spaces (ems), "
        "corner points, extreme points or event points of the height map",
    )
    stability: Literal["paper", "released", "full", "strict75"] | Stability = Field(
        "released", description="support rule: a preset or its three thresholds"
    )
    stacking: bool = Field(
        False,
        description="also demand that the centre of mass of the new box, and of every box below with the load it then "
        "carries, lies above its supports",
    )
    max_cog_offset: float | None = Field(
        None,
        ge=0,
        le=1,
        description="limit on the probability that in an episode some bin's centre of gravity ends more than "
        "`cog_radius` off its axis; null: not a constraint",
    )
    cog_radius: float = Field(0.15, gt=0, description="allowed distance, as a share of the bin's shorter side")
    max_height_spread: float | None = Field(
        None,
        ge=0,
        le=1,
        description="limit on the mean of (highest - mean of the height map) / bin height over steps; null: not a "
        "constraint",
    )
    max_overhang: float | None = Field(
        None,
        ge=0,
        le=1,
        description="limit on the mean unsupported share of footprints per episode; null: not a constraint",
    )
    linear12_weights: tuple[float, ...] = Field(
        (-0.35, 0.90, 0.33, 0.19, 0.08, -1.44, -0.55, -0.17, -0.02, 0.36, -0.34, -0.33),
        min_length=12,
        max_length=12,
        description="weights of the 12-feature scoring rule used as baseline, teacher and fallback",
    )
    cell: CellSettings = CellSettings()
    data: DataSettings = DataSettings()

    @model_validator(mode="after")
    def _items_fit(self) -> Self:
        smallest = min(self.bin.length, self.bin.width, self.bin.height)
        streams = {self.stream, *self.test_streams}
        if self.items.low > smallest:
            raise ValueError(f"items.low {self.items.low} does not fit the bin")
        if streams & {"rs", "picks"} and self.items.high > smallest:
            raise ValueError(f"items.high {self.items.high} does not fit the bin")
        if streams - {"rs", "picks"} and self.items.high < 2 * self.items.low:
            raise ValueError("cutting needs items.high >= 2 * items.low, so that every longer piece can be cut")
        if "picks" in streams and self.bin.unit == "cell":
            raise ValueError("stream picks draws boxes in centimetres: set bin.unit to mm, cm or m, and bin.cell_size")
        return self

    @model_validator(mode="after")
    def _test_streams_in_turn(self) -> Self:
        count = len(self.test_streams)
        if len(set(self.test_streams)) < count:
            raise ValueError(f"test_streams {', '.join(self.test_streams)}: each stream at most once")
        if count and self.evaluation.test_instances % count:
            raise ValueError(
                f"evaluation.test_instances {self.evaluation.test_instances} is not a multiple of the {count} "
                "test_streams, which are played in turn"
            )
        return self

    def signature(self) -> dict[str, Any]:
        """Bin, item range, orientations and support thresholds; a policy may play another stream of the same items."""
        return {
            "bin": [self.bin.length, self.bin.width, self.bin.height],
            "items": [self.items.low, self.items.high],
            "orientations": self.orientations,
            "thresholds": list(self.thresholds()),
            "open_bins": self.bin.open,
            "look_ahead": self.look_ahead,
            "buffer": self.buffer,
            "stacking": self.stacking,
            "weights": self.weighs(),
        }

    def weighs(self) -> bool:
        """Whether the weights of boxes matter, so that a policy is shown them."""
        return self.items.density is not None or self.stream == "picks" or bool(self.weight_rules())

    def weight_rules(self) -> tuple[str, ...]:
        """The settings in force that limit weights."""
        limits = {"bin.max_weight": self.bin.max_weight, "items.crush_factor": self.items.crush_factor}
        return tuple(name for name, value in limits.items() if value is not None)

    def heaviest(self) -> float:
        """No generated box weighs more, kg."""
        if self.items.density is None and self.stream == "picks":
            return HEAVIEST_PICK
        return self.items.high**3 * (1.0 if self.items.density is None else self.items.density[1])

    def bins(self) -> int:
        """Bins of an episode."""
        return self.bin.open if self.bin.total is None else self.bin.total

    def plain(self) -> bool:
        """Whether a box may go to one bin only, is the only one held, and nothing but its support matters."""
        return self.bins() == 1 and self.buffer == 1 and not self.stacking and not self.weight_rules()

    def thresholds(self) -> tuple[int, int, int]:
        """(theta4, theta3, theta0) in units of 1/10,000 of the footprint."""
        values = (
            PRESETS[self.stability]
            if isinstance(self.stability, str)
            else (self.stability.theta4, self.stability.theta3, self.stability.theta0)
        )
        a, b, c = (round(10_000 * value) for value in values)
        return a, b, c

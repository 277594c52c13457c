"""The decision contract of online 3D bin packing: what an exported policy accepts, checks, answers and falls back to.

Nothing here imports torch, and feasibility is recomputed from the height map of the request (``placements.py``), never
taken from the policy or from the compiled kernels it was trained with.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from interlock.core.decision import DecisionContract, Verdict
from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder, linear_scores
from interlock.core.problem import Field
from interlock.core.request import as_integer, schema_fields, shown
from interlock.domains.bin_packing.placements import (
    FEASIBLE,
    OUTSIDE,
    TOO_HIGH,
    UNSTABLE,
    feasible_placements,
    placement_report,
    stable,
)
from interlock.domains.bin_packing.request import SCHEMA_VERSION, Box, Request, parse, preset, request_schema
from interlock.domains.bin_packing.scenario import BinPackingScenario

__all__ = ["BinPackingDecision", "build", "feasible_placements", "placement_report"]

MAX_ALTERNATIVES = 5


class BinPackingDecision:
    """Implements ``interlock.core.decision.DecisionContract``; actions are ``o * L * W + x * W + y``."""

    domain = "bin_packing"
    schema_version = SCHEMA_VERSION

    def __init__(self, scenario: BinPackingScenario):
        self.scenario = scenario
        self.size = (scenario.bin.length, scenario.bin.width, scenario.bin.height)

    def request_fields(self) -> tuple[Field, ...]:
        """Every entry of a request, with unit and range."""
        return schema_fields(self.request_schema())

    def answer_fields(self) -> tuple[Field, ...]:
        """Every entry of an answer, with unit and range."""
        return schema_fields(self.answer_schema())

    def request_schema(self) -> dict[str, Any]:
        """JSON Schema of a request; fixed values are those of the scenario."""
        return request_schema(self.scenario)

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of the domain's part of an answer: ``decision`` and what goes with it, or ``refuse``."""
        return _answer_schema(self.scenario)

    def parse(self, request: Mapping[str, Any]) -> Request:
        """Check a raw request.

        Raises:
            BadInput: listing every problem.
        """
        return parse(request, self.scenario)

    def observation(self, request: Request) -> Observation:
        """``height_map`` int16 ``(1, L, W)``, ``items`` int16 ``(1, 1, 3)``, ``action_mask`` bool ``(1, A)``."""
        front = request.boxes[0]
        return {
            "height_map": request.heights[None].astype(np.int16),
            "items": np.array([[[front.length, front.width, front.height]]], np.int16),
            "action_mask": self._mask(request)[None],
        }

    def encoders(self) -> Mapping[str, Encoder]:
        """The encoders that the problem trained with."""
        from interlock.domains.bin_packing.encoders import encoders

        return encoders(self.scenario)

    def check(self, request: Request, action: Any) -> Verdict:
        """Bounds, then height, then support, for this one placement; each failed rule in words with its numbers."""
        index = as_integer(action)
        actions = self.scenario.orientations * self.size[0] * self.size[1]
        if index is None or not 0 <= index < actions:
            return Verdict(False, (f"action {shown(action)} is not one of 0 to {actions - 1}",))
        o, x, y, length, width = self._footprint(request.boxes[0], index)
        if o == 1 and length == width:
            return Verdict(False, ("duplicate: a square box has no second orientation",))
        outside = [
            f"outside: {axis} {start} + {side} = {start + side} cells is beyond the bin's {limit}"
            for axis, start, side, limit in (("x", x, length, self.size[0]), ("y", y, width, self.size[1]))
            if start + side > limit
        ]
        if outside:
            return Verdict(False, tuple(outside))
        under = request.heights[x : x + length, y : y + width]
        z, support, corners = _contact(under)
        violations = []
        if z + request.boxes[0].height > self.size[2]:
            violations.append(
                f"too high: z {z} + {request.boxes[0].height} = {z + request.boxes[0].height} cells is above the bin's "
                f"{self.size[2]}"
            )
        if not stable(support, corners, length * width, self.scenario.thresholds()):
            violations.append(
                f"unstable: {support} of {length * width} cells ({support / (length * width):.1%}) and {corners} of 4 "
                f"corners rest at z {z}; {self._rule_in_words()}"
            )
        return Verdict(not violations, tuple(violations))

    def project(self, request: Request, scores: Array) -> int | None:
        """The best-scored feasible action; NaN never wins; ``None`` where no feasible action has a score."""
        usable = self._mask(request) & (scores > -np.inf)
        return int(np.argmax(np.where(usable, scores, -np.inf))) if usable.any() else None

    def fallbacks(self) -> Mapping[str, Callable[[Request], int | None]]:
        """``linear12`` with the scenario's weights, then ``dbl`` (deepest, then bottom-left)."""
        return {"linear12": self._linear12, "dbl": self._deepest_bottom_left}

    def answer(self, request: Request, action: int, scores: Array | None) -> dict[str, Any]:
        """Where the box goes, how it is supported, and the next best feasible positions."""
        box, cell = request.boxes[0], self.scenario.bin.cell_size
        o, x, y, length, width = self._footprint(box, action)
        z, support, corners = _contact(request.heights[x : x + length, y : y + width])
        return {
            "feasible": True,
            "decision": {
                "item_id": box.id,
                "bin_id": request.bin_id,
                "orientation": o,
                "x": x,
                "y": y,
                "z": z,
                "position": {
                    "x": round(x * cell, 9),
                    "y": round(y * cell, 9),
                    "z": round(z * cell, 9),
                    "unit": self.scenario.bin.unit,
                },
            },
            "support": {
                "area_ratio": round(support / (length * width), 6),
                "corners": corners,
                "preset": preset(self.scenario),
            },
            "score": None if scores is None or np.isnan(scores[action]) else float(scores[action]),
            "alternatives": [] if scores is None else self._alternatives(request, action, scores),
            "outside_training_range": self._outside_training_range(box),
        }

    def refuse(self, request: Request) -> dict[str, Any]:
        """Which rule forbids how many loading positions, and the best support among those that fail on it alone."""
        rule, box = request.placements.rule[0], request.boxes[0]
        counts = {
            "feasible": int((rule == FEASIBLE).sum()),
            "outside": int((rule == OUTSIDE).sum()),
            "too_high": int((rule == TOO_HIGH).sum()),
            "unstable": int((rule == UNSTABLE).sum()),
        }
        best = self._best_unstable(request)
        sides = f"{box.length} x {box.width} x {box.height} cells"
        reason = f"no feasible position for box {shown(box.id)} ({sides})"
        if counts["feasible"]:
            reason = (
                f"no rule could choose among {counts['feasible']} feasible positions of box {shown(box.id)} ({sides})"
            )
        reason += f": {counts['outside']} outside, {counts['too_high']} too high, {counts['unstable']} unstable"
        if best is not None:
            reason += f" (best support {best['area_ratio']:.1%} with {best['corners']} of 4 corners at x {best['x']}, "
            reason += f"y {best['y']}; {self._rule_in_words()})"
        return {
            "feasible": False,
            "refuse": {"reason": reason, "positions": counts, "best_support": best},
            "outside_training_range": self._outside_training_range(box),
        }

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """States of bins that are filled, low placements preferred, with boxes of the scenario's range.

        A bin is emptied once its next box has no feasible position; that request is among the samples.
        """
        rng = np.random.default_rng(seed)
        rows = max(1, count // 16)
        low, high = self.scenario.items.low, np.minimum(self.scenario.items.high, self.size)
        heights = np.zeros((rows, *self.size[:2]), np.int32)
        requests: list[list[dict[str, Any]]] = [[] for _ in range(rows)]
        for _ in range(-(-count // rows)):
            sides = rng.integers(low, high + 1, (rows, 3))
            report = placement_report(
                heights,
                sides,
                ceiling=self.size[2],
                orientations=self.scenario.orientations,
                thresholds=self.scenario.thresholds(),
            )
            rank = np.where(report.rule == FEASIBLE, report.z + 2.0 * rng.random(report.z.shape), np.inf)
            for row, action in enumerate(rank.reshape(rows, -1).argmin(axis=1).tolist()):
                box = Box(f"box-{len(requests[row]) + 1}", *sides[row].tolist())
                requests[row].append(self._sample(heights[row], box))
                if np.isinf(rank[row]).all():
                    heights[row] = 0
                else:
                    _, x, y, length, width = self._footprint(box, action)
                    under = heights[row, x : x + length, y : y + width]
                    under[:] = under.max() + box.height
        return [request for row in requests for request in row][:count]

    def _sample(self, heights: Array, box: Box) -> dict[str, Any]:
        size = self.scenario.bin
        return {
            "schema_version": SCHEMA_VERSION,
            "bin": {"l": size.length, "w": size.width, "h": size.height, "cell": size.cell_size, "unit": size.unit},
            "height_map": heights.tolist(),
            "items": [{"id": box.id, "l": box.length, "w": box.width, "h": box.height}],
            "orientation_set": self.scenario.orientations,
            "preset": preset(self.scenario),
        }

    def _footprint(self, box: Box, action: int) -> tuple[int, int, int, int, int]:
        """Orientation, x, y, and the sides along x and y."""
        o, cell = divmod(int(action), self.size[0] * self.size[1])
        x, y = divmod(cell, self.size[1])
        return (o, x, y, box.length, box.width) if o == 0 else (o, x, y, box.width, box.length)

    def _mask(self, request: Request) -> Array:
        mask: Array = request.placements.rule.reshape(-1) == FEASIBLE
        return mask

    def _linear12(self, request: Request) -> int | None:
        features = self.encoders()["placements"](self.observation(request))["action_features"]
        return self.project(request, linear_scores(features, np.array(self.scenario.linear12_weights))[0])

    def _deepest_bottom_left(self, request: Request) -> int | None:
        x, y = np.indices(self.size[:2])
        return self.project(request, -(100.0 * request.placements.z[0] + x + y).reshape(-1))

    def _alternatives(self, request: Request, action: int, scores: Array) -> list[dict[str, Any]]:
        usable = self._mask(request) & (scores > -np.inf)
        usable[action] = False
        best = np.argsort(np.where(usable, -scores, np.inf), kind="stable")[: min(MAX_ALTERNATIVES, usable.sum())]
        found = []
        for index in best.tolist():
            o, x, y, _, _ = self._footprint(request.boxes[0], index)
            z = int(request.placements.z[0, o, x, y])
            found.append({"orientation": o, "x": x, "y": y, "z": z, "score": float(scores[index])})
        return found

    def _best_unstable(self, request: Request) -> dict[str, Any] | None:
        report, box = request.placements, request.boxes[0]
        if not (report.rule == UNSTABLE).any():
            return None
        rank = np.where(report.rule == UNSTABLE, 8 * report.support + report.corners, -1)
        _, o, x, y = (int(i) for i in np.unravel_index(int(np.argmax(rank)), rank.shape))
        ratio = round(int(report.support[0, o, x, y]) / (box.length * box.width), 6)
        return {"area_ratio": ratio, "corners": int(report.corners[0, o, x, y]), "orientation": o, "x": x, "y": y}

    def _outside_training_range(self, box: Box) -> bool:
        sides = (box.length, box.width, box.height)
        return min(sides) < self.scenario.items.low or max(sides) > self.scenario.items.high

    def _rule_in_words(self) -> str:
        theta4, theta3, theta0 = (f"{value / 100:g} %" for value in self.scenario.thresholds())
        name = f"preset {self.scenario.stability!r}" if isinstance(self.scenario.stability, str) else "this bundle"
        return f"{name} asks for all cells, or more than {theta4} with 4 corners, {theta3} with 3, {theta0} with fewer"


def _contact(under: Array) -> tuple[int, int, int]:
    """Set-down height, cells and corners at that height, of the height map under one footprint."""
    z = int(under.max())
    corners = sum(int(under[i, j] == z) for i in (0, -1) for j in (0, -1))
    return z, int((under == z).sum()), corners


def _answer_schema(scenario: BinPackingScenario) -> dict[str, Any]:
    size, unit = scenario.bin, scenario.bin.unit

    def cells(high: int, description: str) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0, "maximum": high, "unit": "cells", "description": description}

    def obj(properties: dict[str, Any], description: str, *, nullable: bool = False) -> dict[str, Any]:
        return {
            "type": ["object", "null"] if nullable else "object",
            "additionalProperties": False,
            "required": list(properties),
            "properties": properties,
            "description": description,
        }

    orientation = {
        "type": "integer",
        "minimum": 0,
        "maximum": scenario.orientations - 1,
        "description": "0: length along x as it arrived; 1: length and width swapped",
    }
    x, y = cells(size.length - 1, "front-left-bottom corner along x"), cells(size.width - 1, "the same along y")
    z = cells(size.height - 1, "set-down height")
    ratio = {"type": "number", "minimum": 0, "maximum": 1, "unit": "1", "description": "share of the footprint at z"}
    corners = {"type": "integer", "minimum": 0, "maximum": 4, "description": "corners of the footprint at z"}
    name = {"type": ["string", "integer"]}
    score = {"type": ["number", "null"], "description": "of the policy, no unit"}
    length = {"type": "number", "minimum": 0, "unit": unit}
    count = {"type": "integer", "minimum": 0, "unit": "positions"}
    decision = {
        "item_id": {**name, "description": "the box in front"},
        "bin_id": {**name, "description": "as in the request, 'bin' if it named none"},
        "orientation": orientation,
        "x": x,
        "y": y,
        "z": z,
        "position": obj({"x": length, "y": length, "z": length, "unit": {"const": unit}}, "x, y, z in units"),
    }
    support = {"area_ratio": ratio, "corners": corners, "preset": {"const": preset(scenario)}}
    alternative = obj({"orientation": orientation, "x": x, "y": y, "z": z, "score": score}, "a feasible position")
    best = {"area_ratio": ratio, "corners": corners, "orientation": orientation, "x": x, "y": y}
    refuse = {
        "reason": {"type": "string", "description": "in words"},
        "positions": obj(dict.fromkeys(("feasible", "outside", "too_high", "unstable"), count), "positions per rule"),
        "best_support": obj(best, "best supported of the unstable positions", nullable=True),
    }
    return {
        "type": "object",
        "properties": {
            "feasible": {"type": "boolean", "description": "whether a position was found"},
            "decision": obj(decision, "where the box goes"),
            "support": obj(support, "how the box is supported there"),
            "score": score,
            "alternatives": {
                "type": "array",
                "maxItems": MAX_ALTERNATIVES,
                "items": alternative,
                "description": "next best positions",
            },
            "refuse": obj(refuse, "why no position was found"),
            "outside_training_range": {
                "type": "boolean",
                "description": f"a side is not within {scenario.items.low} to {scenario.items.high} cells, which the "
                "policy was trained on; the decision is checked all the same",
            },
        },
    }


def build(scenario: BinPackingScenario) -> DecisionContract:
    """The decision contract of a scenario."""
    return BinPackingDecision(scenario)

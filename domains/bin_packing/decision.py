"""The decision contract of online 3D bin packing: what an exported policy accepts, checks, answers and falls back to.

Nothing here imports torch. Whether a placement may be released is recomputed from the request (``release_rules``),
never taken from the policy or from the compiled kernels it was trained with; these only write the mask that it sees.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from interlock.core.decision import DecisionContract, Verdict
from interlock.core.environment import Array, Observation
from interlock.core.policy import Encoder, linear_scores
from interlock.core.problem import Field
from interlock.core.request import as_integer, schema_fields, shown
from interlock.domains.bin_packing import release_rules as rules
from interlock.domains.bin_packing.placements import feasible_placements, placement_report
from interlock.domains.bin_packing.release_boxes import Box
from interlock.domains.bin_packing.release_samples import sample_requests
from interlock.domains.bin_packing.release_schema import SCHEMA_VERSION, answer_schema, preset, request_schema
from interlock.domains.bin_packing.request import Bin, Request, parse
from interlock.domains.bin_packing.scenario import BinPackingScenario

__all__ = ["BinPackingDecision", "build", "feasible_placements", "placement_report"]


class BinPackingDecision:
    """Implements ``interlock.core.decision.DecisionContract``.

    Actions are ``((bin * buffer + which) * O + o) * L * W + x * W + y``: open bin, place in the buffer, orientation and
    corner.
    """

    domain = "bin_packing"
    schema_version = SCHEMA_VERSION

    def __init__(self, scenario: BinPackingScenario):
        self.scenario = scenario
        self.size = (scenario.bin.length, scenario.bin.width, scenario.bin.height)
        views = scenario.bin.open * scenario.buffer
        self.actions = views * scenario.orientations * self.size[0] * self.size[1]
        self._request_schema = request_schema(scenario)
        self._encoders: Mapping[str, Encoder] | None = None

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
        return answer_schema(self.scenario)

    def parse(self, request: Mapping[str, Any]) -> Request:
        """Check a raw request.

        Raises:
            BadInput: listing every problem.
        """
        return parse(request, self.scenario, self._request_schema)

    def observation(self, request: Request) -> Observation:
        """What the environment shows, a batch of one.

        ``height_map`` int16 ``(1, L, W)``, of several open bins ``(1, B, L, W)``; ``items`` int16 ``(1, K, 3)``, zeros
        beyond the known boxes; ``action_mask`` bool ``(1, A)``; ``weights`` float32 ``(1, K)``, kg, where they matter.
        """
        heights = np.array([[bin_.heights for bin_ in request.bins]], np.int16)
        known = request.boxes[: max(self.scenario.look_ahead, self.scenario.buffer)]
        items = np.zeros((1, max(self.scenario.look_ahead, self.scenario.buffer), 3), np.int16)
        items[0, : len(known)] = [box.sides for box in known]
        found = {
            "height_map": heights if len(request.bins) > 1 else heights[:, 0],
            "items": items,
            "action_mask": rules.mask_of(self.scenario, request, self._borne(request))[None],
        }
        if self.scenario.weighs():
            weights = np.zeros(items.shape[:2], np.float32)
            weights[0, : len(known)] = [box.weight for box in known]
            found["weights"] = weights
        return found

    def encoders(self) -> Mapping[str, Encoder]:
        """The encoders that the problem trained with."""
        if self._encoders is None:
            from interlock.domains.bin_packing.encoders import encoders

            self._encoders = encoders(self.scenario)
        return self._encoders

    def check(self, request: Request, action: Any) -> Verdict:
        """All rules for this one placement, in the order of ``release_rules``; each broken one in words."""
        index = as_integer(action)
        if index is None or not 0 <= index < self.actions:
            return Verdict(False, (f"action {shown(action)} is not one of 0 to {self.actions - 1}",))
        found = rules.violations(self.scenario, request, index)
        return Verdict(not found, found)

    def project(self, request: Request, scores: Array) -> int | None:
        """The best-scored feasible action; NaN never wins; ``None`` where no feasible action has a score."""
        return next(rules.ranked(self.scenario, request, scores), None)

    def fallbacks(self) -> Mapping[str, Callable[[Request], int | None]]:
        """``linear12`` with the scenario's weights, then ``dbl`` (deepest, then bottom-left)."""
        return {"linear12": self._linear12, "dbl": self._deepest_bottom_left}

    def answer(self, request: Request, action: int, scores: Array | None) -> dict[str, Any]:
        """Where the box goes, how it is supported, and the next best feasible positions."""
        spot, cell = rules.spot_of(self.scenario, request, action), self.scenario.bin.cell_size
        if spot is None:
            raise ValueError(f"action {action} places no box")
        z, support, corners = rules.contact(request, spot)
        score, alternatives = None, []
        if scores is not None:
            score = None if np.isnan(scores[action]) else float(scores[action])
            others = rules.alternatives(self.scenario, request, scores, action)
            alternatives = [{**self._where(request, other), "score": float(scores[other])} for other in others]
        position = {axis: round(value * cell, 9) for axis, value in zip("xyz", (spot.x, spot.y, z), strict=True)}
        return {
            "feasible": True,
            "decision": {**self._where(request, action), "position": {**position, "unit": self.scenario.bin.unit}},
            "support": {
                "area_ratio": round(support / (spot.sides[0] * spot.sides[1]), 6),
                "corners": corners,
                "preset": preset(self.scenario),
            },
            "score": score,
            "alternatives": alternatives,
            "outside_training_range": self._outside_training_range(request),
        }

    def refuse(self, request: Request) -> dict[str, Any]:
        """Which rule forbids how many positions, and the best support among those that fail on it."""
        rule = rules.first_rules(self.scenario, request)
        counts, best = rules.counts(rule), rules.best_unstable(self.scenario, request, rule)
        held = request.boxes[: request.held]
        boxes = " or ".join(f"{shown(box.id)} ({' x '.join(map(str, box.sides))} cells)" for box in held)
        reason = f"no feasible position for box {boxes}"
        if counts["feasible"]:
            reason = f"no rule could choose among {counts['feasible']} feasible positions of box {boxes}"
        told = [
            f"{counts[name]} {name.replace('_', ' ')}"
            for name in rules.RULES
            if counts[name] or name in ("outside", "too_high", "unstable")
        ]
        reason += f": {', '.join(told)}"
        if best is not None:
            reason += f" (best support {best['area_ratio']:.1%} with {best['corners']} of 4 corners at x {best['x']}, "
            reason += f"y {best['y']}; {rules.rule_in_words(self.scenario)})"
        return {
            "feasible": False,
            "refuse": {"reason": reason, "positions": counts, "best_support": best},
            "outside_training_range": self._outside_training_range(request),
        }

    def sample_requests(self, count: int, seed: int) -> list[dict[str, Any]]:
        """States of bins that are filled, low placements preferred, with boxes of the scenario's range.

        The bins are emptied once no box held has a feasible position; that request is among the samples.
        """
        return sample_requests(self.scenario, self._request_schema, count, seed)

    def _borne(self, request: Request) -> Array:
        """``candidates`` less what the stack does not bear, by the compiled check of the environment."""
        allowed: Array = request.candidates
        if not any(rules.asks_stack(self.scenario, bin_) for bin_ in request.bins):
            return allowed
        allowed = allowed.copy()
        for row in range(len(allowed)):
            bin_, which = divmod(row, request.held)
            _bear(self.scenario, request.bins[bin_], request.boxes[which], allowed[row].reshape(-1))
        return allowed

    def _linear12(self, request: Request) -> int | None:
        features = self.encoders()["placements"](self.observation(request))["action_features"]
        return self.project(request, linear_scores(features, np.array(self.scenario.linear12_weights))[0])

    def _deepest_bottom_left(self, request: Request) -> int | None:
        x, y = np.indices(self.size[:2])
        costs = np.full((len(request.bins), self.scenario.buffer, self.scenario.orientations, *self.size[:2]), np.inf)
        costs[:, : request.held] = (100.0 * request.placements.z + x + y).reshape(
            len(request.bins), -1, *costs.shape[2:]
        )
        return self.project(request, -costs.reshape(-1))

    def _where(self, request: Request, action: int) -> dict[str, Any]:
        spot = rules.spot_of(self.scenario, request, action)
        if spot is None:
            raise ValueError(f"action {action} places no box")
        return {
            "item_id": request.boxes[spot.which].id,
            "bin_id": request.bins[spot.bin].id,
            "orientation": spot.orientation,
            "x": spot.x,
            "y": spot.y,
            "z": int(request.placements.z[spot.bin * request.held + spot.which, spot.orientation, spot.x, spot.y]),
        }

    def _outside_training_range(self, request: Request) -> bool:
        sides = [side for box in request.boxes[: request.held] for side in box.sides]
        return min(sides) < self.scenario.items.low or max(sides) > self.scenario.items.high


def _bear(scenario: BinPackingScenario, bin_: Bin, box: Box, mask: Array) -> None:
    """Take what the stack of a bin does not bear out of a mask, in place."""
    from interlock.domains.bin_packing.stacking import stacking_mask

    packed = np.array([(*other.corner, *other.sides) for other in bin_.packed], np.int16).reshape(-1, 6)
    stacking_mask(
        bin_.heights.astype(np.int16),
        np.array(box.sides, np.int16),
        scenario.orientations,
        packed,
        np.array([other.weight for other in bin_.packed]),
        np.array([other.limit for other in bin_.packed]),
        len(packed),
        box.weight,
        scenario.stacking,
        True,
        mask,
    )


def build(scenario: BinPackingScenario) -> DecisionContract:
    """The decision contract of a scenario."""
    return BinPackingDecision(scenario)

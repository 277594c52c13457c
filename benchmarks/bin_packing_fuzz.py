"""Released packing decisions under fuzzing: how many of 1,000,000 break a rule.

    nice -n 10 python benchmarks/bin_packing_fuzz.py [--count 1000000] [--progress FILE] [--record]

Bins are filled decision by decision through ``Decider.decide``, as an integrator would, over presets, sizes of bins,
orientations, several open bins, held boxes, weights, stacking and reach masks. The policy is an adversary: random
scores, scores that are not a number, infeasible favourites with a mask that allows everything, wrong shapes,
exceptions.
Every released placement, and a part of the alternatives, is judged here by plain loops over the raw request that share
no code with the contract (the stack is judged by the compiled check of the environment, which the contract's own twin
never calls); a part of the refusals is searched for a position after all. Chunk ``k`` of 1,000 released decisions is
drawn from seed ``k`` alone; finished chunks stand in the progress file, so that a stopped run goes on.
"""

import argparse
import itertools
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interlock.domains.bin_packing.decision import BinPackingDecision, build
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.stacking import stacking_verdict
from interlock.operations.bundle import seal
from interlock.operations.decide import Decider

COMMAND = "nice -n 10 python benchmarks/bin_packing_fuzz.py --record"
CHUNK = 1000
PRESETS = {"paper": (60, 80, 95), "released": (50, 85, 95), "full": (100, 100, 100), "strict75": (75, 90, 100)}
LENIENT = {"lenient": (20, 30, 40)}
"""Many placements that this support rule allows are left to the rule about centres of mass."""
PERCENT = PRESETS | LENIENT
TURNS = {1: ["lwh"], 2: ["lwh", "wlh"], 6: ["lwh", "wlh", "lhw", "hlw", "whl", "hwl"]}
"""The sides that lie along x, along y and upwards, per orientation."""

Raw = dict[str, Any]


def worlds() -> list[Raw]:
    """The scenarios, as in a scenario file."""
    sizes: list[tuple[tuple[int, int, int], int, int]] = [
        ((10, 10, 10), 2, 5),
        ((3, 3, 3), 1, 2),
        ((6, 9, 7), 1, 4),
        ((10, 10, 10), 1, 5),
        ((14, 8, 12), 2, 6),
        ((20, 20, 20), 2, 10),
    ]
    found = []
    for number, ((size, low, high), preset) in enumerate(itertools.product(sizes, PRESETS)):
        found.append({"size": size, "low": low, "high": high, "preset": preset, "orientations": (1, 2, 6)[number % 3]})
    base = {"size": (10, 10, 10), "low": 2, "high": 5, "preset": "released", "orientations": 2}
    found += [
        {**base, "open": 4, "orientations": 1},
        {**base, "open": 2, "preset": "paper"},
        {**base, "buffer": 3},
        {**base, "open": 2, "buffer": 2, "orientations": 6, "size": (6, 6, 6), "low": 1, "high": 3},
        {**base, "look_ahead": 4},
        {**base, "stacking": True, "preset": "lenient"},
        {
            **base,
            "stacking": True,
            "preset": "lenient",
            "density": (0.2, 2.0),
            "orientations": 6,
            "size": (8, 8, 8),
            "low": 1,
            "high": 4,
        },
        {**base, "density": (0.2, 1.0), "crush_factor": 3.0, "max_weight": 400.0},
    ]
    return found


def scenario_of(world: Mapping[str, Any]) -> BinPackingScenario:
    """The scenario of a world."""
    length, width, height = world["size"]
    bin_ = {"length": length, "width": width, "height": height, "open": world.get("open", 1)}
    items = {"low": world["low"], "high": world["high"], "density": world.get("density")}
    thetas = ("theta4", "theta3", "theta0")
    shares = {name: percent / 100 for name, percent in zip(thetas, PERCENT[world["preset"]], strict=True)}
    return BinPackingScenario.model_validate(
        {
            "name": "fuzz",
            "stream": "rs",
            "bin": {**bin_, "max_weight": world.get("max_weight")},
            "items": {**items, "crush_factor": world.get("crush_factor")},
            "stability": world["preset"] if world["preset"] in PRESETS else shares,
            **{key: world[key] for key in ("orientations", "buffer", "look_ahead", "stacking") if key in world},
        }
    )


class Careless(BinPackingDecision):
    """Tells the policy that everything is allowed, and its first fallback breaks; only the check stands between."""

    def observation(self, request: Any) -> Any:
        """As it is, with a mask that forbids nothing."""
        view = dict(super().observation(request))
        return {**view, "action_mask": np.ones_like(view["action_mask"])}

    def _linear12(self, request: Any) -> int | None:
        raise RuntimeError("the first fallback broke")


def adversary(rng: np.random.Generator) -> Any:
    """Scores as no policy should give them, and some as they should be."""

    def step(observation: Mapping[str, np.ndarray], memory: Any) -> Any:
        mask = observation["action_mask"][0]
        kind, scores = rng.integers(8), rng.standard_normal(len(mask))
        if kind == 0:
            scores[rng.random(len(mask)) < 0.9] = np.nan
        elif kind == 1:
            scores[~mask] = np.inf
        elif kind == 2:
            scores[:] = [np.nan, np.inf, -np.inf, 0.0][rng.integers(4)]
        elif kind == 3:
            scores[rng.integers(len(mask), size=3)] = [1e300, np.inf, -np.inf]
        elif kind == 4 and rng.random() < 0.3:
            scores = scores[: rng.integers(len(mask))]
        elif kind == 5 and rng.random() < 0.3:
            raise RuntimeError("the policy broke")
        elif kind == 6:
            scores = scores.astype(np.float32) * 1e30
        return scores, memory

    return step


def decider_of(scenario: BinPackingScenario) -> Decider:
    """A bundle of the scenario, written, read and verified as any other."""
    linear = {"kind": "linear", "encoder": "placements", "weights": list(scenario.linear12_weights)}
    manifest = {
        "interlock": "0",
        "domain": "bin_packing",
        "scenario": scenario.model_dump(mode="json"),
        "scenario_hash": scenario.hash(),
        "scorer": {**linear, "input": "action_features"},
        "provenance": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        seal(Path(folder), manifest=manifest, contract=build(scenario), cases=[])
        return Decider(Path(folder))


def empty(world: Mapping[str, Any]) -> list[Raw]:
    """Empty open bins."""
    length, width, _ = world["size"]
    return [
        {"id": f"b{k}", "height_map": [[0] * width for _ in range(length)], "packed": []}
        for k in range(world.get("open", 1))
    ]


def box(world: Mapping[str, Any], number: int, rng: random.Random) -> Raw:
    """A box of the scenario's range, now and then an odd one."""
    sides = {side: rng.randint(world["low"], world["high"]) for side in "lwh"}
    if rng.random() < 0.02:
        sides[rng.choice("lwh")] = min(world["size"])
    found: Raw = {"id": number, **sides}
    if "density" in world:
        low, high = world["density"]
        found["weight"] = rng.uniform(low, high) * sides["l"] * sides["w"] * sides["h"]
        if rng.random() < 0.2:
            found["max_stack_weight"] = found["weight"] * rng.uniform(0.2, 3)
    if rng.random() < 0.1:
        found["upright"] = rng.random() < 0.7
    return found


def request(world: Mapping[str, Any], bins: list[Raw], boxes: list[Raw], rng: random.Random) -> Raw:
    """The raw request of a state; a part with a reach mask, a part with a height map that nothing has made."""
    length, width, height = world["size"]
    asks_packed = world.get("stacking") or "density" in world
    told = []
    for bin_ in bins:
        content = {key: bin_[key] for key in ("id", "height_map", "packed") if key != "packed" or asks_packed}
        if not asks_packed and rng.random() < 0.05:
            level = rng.randint(0, height)
            content["height_map"] = [
                [rng.choice((level, level, rng.randint(0, height))) for _ in row] for row in bin_["height_map"]
            ]
        if rng.random() < 0.1:
            hidden = rng.random() ** 2
            content["reach"] = [[rng.random() > hidden for _ in range(width)] for _ in range(length)]
        told.append(content)
    given = {"open_bins": told} if "open" in world else {key: told[0][key] for key in told[0] if key != "id"}
    return {"schema_version": 1, **given, "items": boxes}


def breaks(world: Mapping[str, Any], raw: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    """The rule that a placement breaks, judged from the raw request alone; empty if none."""
    length, width, height = world["size"]
    held = raw["items"][: world.get("buffer", 1)]
    boxes = [one for one in held if one["id"] == decision["item_id"]]
    bins = [one for one in raw["open_bins"] if one["id"] == decision["bin_id"]] if "open" in world else [raw]
    if len(boxes) != 1 or len(bins) != 1:
        return "names"
    (one,), (bin_,) = boxes, bins
    dx, dy, dz = (one[side] for side in TURNS[world["orientations"]][decision["orientation"]])
    x, y = decision["x"], decision["y"]
    if one.get("upright") and decision["orientation"] > 1:
        return "upright"
    if x < 0 or y < 0 or x + dx > length or y + dy > width:
        return "outside"
    cells = [bin_["height_map"][i][y + j] for i in range(x, x + dx) for j in range(dy)]
    z = max(cells)
    if decision["z"] != z:
        return "set-down height"
    if z + dz > height:
        return "too high"
    count = cells.count(z)
    ends = (cells[0], cells[dy - 1], cells[-dy], cells[-1]).count(z)
    four, three, other = PERCENT[world["preset"]]
    area = dx * dy
    enough = count == area or 100 * count > other * area or (ends == 4 and 100 * count > four * area)
    if not (enough or (ends >= 3 and 100 * count > three * area)):
        return "unstable"
    reach = bin_.get("reach")
    if reach is not None and not all(reach[i][j] for i in range(x, x + dx) for j in range(y, y + dy)):
        return "out of reach"
    return bears(world, bin_.get("packed", ()), one, (x, y, z, dx, dy, dz))


def bears(world: Mapping[str, Any], packed: Any, one: Mapping[str, Any], place: tuple[int, ...]) -> str:
    """The rule about weights and the stack that a placement breaks; empty if none."""
    if "density" not in world and not world.get("stacking"):
        return ""

    def weight(other: Mapping[str, Any]) -> float:
        return float(other["weight"] if "density" in world else other["l"] * other["w"] * other["h"])

    def limit(other: Mapping[str, Any]) -> float:
        own = other.get("max_stack_weight")
        return float(weight(other) * world.get("crush_factor", np.inf) if own is None else own)

    if sum(map(weight, packed)) + weight(one) > world.get("max_weight", np.inf) * (1 + 1e-9):
        return "overweight"
    stack = np.array([[other[key] for key in "xyzlwh"] for other in packed], np.int16).reshape(-1, 6)
    weights, limits = (np.array([value(other) for other in packed]) for value in (weight, limit))
    new = np.array(place)
    stacking = bool(world.get("stacking"))
    return ("", "tips", "crushes")[
        stacking_verdict(stack, weights, limits, len(stack), new, weight(one), stacking, True)
    ]


def every_place(world: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[Raw]:
    """Every placement of a held box that stays inside a bin, as a decision names it."""
    length, width, _ = world["size"]
    for bin_, one in itertools.product(raw.get("open_bins", [raw]), raw["items"][: world.get("buffer", 1)]):
        for turn, sides in enumerate(TURNS[world["orientations"]]):
            dx, dy = one[sides[0]], one[sides[1]]
            for x, y in itertools.product(range(length - dx + 1), range(width - dy + 1)):
                z = max(bin_["height_map"][i][j] for i in range(x, x + dx) for j in range(y, y + dy))
                named = {"item_id": one["id"], "bin_id": bin_.get("id", "bin"), "orientation": turn}
                yield {**named, "x": x, "y": y, "z": z}


def carry_out(world: Mapping[str, Any], bins: list[Raw], boxes: list[Raw], decision: Mapping[str, Any]) -> None:
    """Put the box where the decision says."""
    (which,) = [k for k, one in enumerate(boxes) if one["id"] == decision["item_id"]]
    (bin_,) = [one for one in bins if one["id"] == decision["bin_id"]] if "open" in world else bins
    one = boxes.pop(which)
    dx, dy, dz = (one[side] for side in TURNS[world["orientations"]][decision["orientation"]])
    x, y, z = decision["x"], decision["y"], decision["z"]
    for row in bin_["height_map"][x : x + dx]:
        row[y : y + dy] = [z + dz] * dy
    told = {key: one[key] for key in ("weight", "max_stack_weight") if key in one}
    bin_["packed"].append({"id": one["id"], "x": x, "y": y, "z": z, "l": dx, "w": dy, "h": dz, **told})


def fuzz(world: Mapping[str, Any], decider: Decider, seed: int, count: int = CHUNK) -> Counter[str]:
    """Play until ``count`` decisions are released; what happened, ``infeasible ...`` for each broken rule."""
    rng = random.Random(seed)
    careful, careless = decider.contract, Careless(scenario_of(world))
    decider.mind.step = adversary(np.random.default_rng(seed))
    happened: Counter[str] = Counter()
    bins, boxes, numbers = empty(world), list[Raw](), itertools.count(1)
    while happened["released"] < count:
        while len(boxes) < max(world.get("buffer", 1), world.get("look_ahead", 1)):
            boxes.append(box(world, next(numbers), rng))
        raw = request(world, bins, boxes, rng)
        decider.contract = careless if rng.random() < 0.3 else careful
        answer = decider.decide(raw)
        happened[answer["status"]] += 1
        if answer["status"] == "released":
            happened[answer["source"]] += 1
            judged = [answer["decision"], *(answer["alternatives"] if rng.random() < 0.1 else ())]
            for broken in filter(None, (breaks(world, raw, decision) for decision in judged)):
                happened[f"infeasible {broken}"] += 1
            if answer["decision"]["z"] == _top(world, bins, answer["decision"], boxes):
                carry_out(world, bins, boxes, answer["decision"])
                continue
        elif answer["status"] == "refused" and rng.random() < 0.02:
            happened["refusals searched"] += 1
            happened["refused in vain"] += any(not breaks(world, raw, place) for place in every_place(world, raw))
        bins, boxes = empty(world), boxes[1:]
    decider.contract = careful
    return happened


def _top(world: Mapping[str, Any], bins: list[Raw], decision: Mapping[str, Any], boxes: list[Raw]) -> int:
    """Set-down height in the bins as they are: that of the decision, unless its request told another height map."""
    bin_ = next(one for one in bins if "open" not in world or one["id"] == decision["bin_id"])
    one = next(one for one in boxes if one["id"] == decision["item_id"])
    dx, dy, dz = (one[side] for side in TURNS[world["orientations"]][decision["orientation"]])
    rows = bin_["height_map"][decision["x"] : decision["x"] + dx]
    z = max(cell for row in rows for cell in row[decision["y"] : decision["y"] + dy])
    return z if z + dz <= world["size"][2] else -1


def main() -> None:
    """Run what is missing, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="released decisions")
    parser.add_argument("--progress", type=Path, default=Path("runs/bin_packing_fuzz.json"), help="finished chunks")
    parser.add_argument("--record", action="store_true", help="write into domains/bin_packing/results.json")
    options = parser.parse_args()
    done: Raw = {"chunks": 0, "cpu_seconds": 0.0, "happened": {}}
    if options.progress.exists():
        done = json.loads(options.progress.read_text())
    options.progress.parent.mkdir(parents=True, exist_ok=True)
    kinds = worlds()
    deciders: dict[int, Decider] = {}
    while done["chunks"] * CHUNK < options.count:
        seed, started = done["chunks"], time.process_time()
        kind = seed % len(kinds)
        if kind not in deciders:
            deciders[kind] = decider_of(scenario_of(kinds[kind]))
        happened = Counter(done["happened"]) + fuzz(kinds[kind], deciders[kind], seed)
        spent = done["cpu_seconds"] + time.process_time() - started
        done = {"chunks": seed + 1, "cpu_seconds": round(spent, 3), "happened": dict(happened)}
        temporary = options.progress.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(done, indent=1))
        os.replace(temporary, options.progress)
        print(
            f"seeds 0 to {seed}: {happened['released']:,} released, {infeasible(happened)} infeasible, "
            f"{spent:.0f} CPU seconds",
            flush=True,
        )
    happened = Counter(done["happened"])
    print(json.dumps(dict(happened), indent=1))
    if options.record:
        from interlock.scenarios.record import record_row

        unit = f"infeasible of {happened['released']:,} released decisions"
        print(record_row("bin_packing", "fuzz_released", value=infeasible(happened), unit=unit, command=COMMAND))


def infeasible(happened: Mapping[str, int]) -> int:
    """Released placements and alternatives that break a rule."""
    return sum(count for name, count in happened.items() if name.startswith("infeasible"))


if __name__ == "__main__":
    main()

"""Speed of the batched fisheries environment beside a plain Gymnasium environment, CPU seconds on one thread.

    python benchmarks/fisheries_speed.py [one|web|walleye ...] [--record]

Both play the same model with constant mortalities and record episodes to their end, side by side in the same run: the
plain environment one stock at a time, as such environments are usually written (a dictionary of parameters, numpy for
observations and noise), ours 10,000 stocks at a time, with catches, costs, metrics and restarts. Rates are medians of 5
repetitions in turn; before that, ours has been compiled. The plain environment is our own transcription of the
equations in ``domains/fisheries/model.py``, or, for walleye, of those in ``domains/fisheries/walleye.py``.
"""

import argparse
import os
import statistics
import sys
import time
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402

from interlock.domains.fisheries.problem import build  # noqa: E402
from interlock.domains.fisheries.scenario import FisheriesScenario  # noqa: E402

REPETITIONS, STOCKS, YEARS, PLAIN_STEPS = 5, 10_000, 200, 20_000
WEB: dict[str, Any] = {"model": {"kind": "food_web"}, "harvested": ["x", "y"], "initial": [0.5, 0.5, 0.7]}
WALLEYE: dict[str, Any] = {
    "model": {"kind": "walleye"}, "harvested": ["walleye"], "initial": [1.0], "initial_sd": 0.0, "collapse_level": 0.0,
    "collapse_probability": None, "low_years": None, "observed": {"cv": 0.1},
}  # fmt: skip
PARTS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "one": ({}, (0.03,)),
    "web": (WEB, (0.24, 0.24)),
    "walleye": (WALLEYE, (0.07,)),
}
"""Scenario, and mortalities under which few stocks collapse."""


class PlainFishery(gymnasium.Env[np.ndarray, np.ndarray]):
    """One fishery at a time."""

    def __init__(self, scenario: FisheriesScenario):
        self.parameters = scenario.model.model_dump()
        self.harvested = [scenario.model.species.index(name) for name in scenario.harvested]
        self.initial, self.horizon = np.array(scenario.initial), scenario.horizon
        count = len(self.initial)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (count,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (len(self.harvested),), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """First stocks."""
        super().reset(seed=seed)
        self.year = 0
        self.stock = self.initial + 0.02 * self.np_random.normal(size=len(self.initial))
        return self.observation(), {}

    def observation(self) -> np.ndarray:
        """What the council sees."""
        return np.clip(self.stock / 4.0, 0.0, 1.0).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One year."""
        mortality = np.clip(action, 0.0, 1.0)
        reward = 0.0
        for place, species in enumerate(self.harvested):
            catch = mortality[place] * self.stock[species]
            self.stock[species] -= catch
            reward += catch
        self.stock = self.grow_one() if len(self.stock) == 1 else self.grow_web()
        terminated = bool(np.any(self.stock <= 0.05))
        if terminated:
            reward -= 100.0 / (self.year + 1)
        self.year += 1
        return self.observation(), float(reward), terminated, self.year >= self.horizon, {}

    def grow_one(self) -> np.ndarray:
        """One species."""
        p, x = self.parameters, self.stock[0]
        growth = p["r"] * x * (1 - x / p["k"]) - p["beta"] * x**2 / (x**2 + p["c"] ** 2)
        return np.array([max(x + growth + p["sigma"] * x * self.np_random.normal(), 0.0)])

    def grow_web(self) -> np.ndarray:
        """Three species."""
        p, (x, y, z) = self.parameters, self.stock
        competition = p["c_xy"] * x * y
        f_x = p["r_x"] * x * (1 - x / p["k_x"]) - p["beta"] * z * x**2 / (p["c"] ** 2 + x**2) - competition
        f_y = p["r_y"] * y * (1 - y / p["k_y"]) - p["d"] * p["beta"] * z * y**2 / (p["c"] ** 2 + y**2) - competition
        f_z = z * (p["b"] * (x + p["d"] * y) - p["d_z"])
        return np.array(
            [
                x + f_x + p["sigma_x"] * x * self.np_random.normal(),
                y + f_y + p["sigma_y"] * y * self.np_random.normal(),
                z + f_z + p["sigma_z"] * z * self.np_random.normal(),
            ]
        )


class PlainWalleye(gymnasium.Env[np.ndarray, np.ndarray]):
    """One age-structured stock at a time, its ages in numpy arrays."""

    def __init__(self, scenario: FisheriesScenario):
        p = self.parameters = scenario.model.model_dump()
        self.horizon, self.cv = scenario.horizon, scenario.observed.cv
        age = np.arange(1, p["ages"] + 1)
        length = 1 - np.exp(-p["k"] * age)
        self.weight = length**3
        self.mature = self.weight / (1 + np.exp(-p["asl"] * (age - p["ahm"])))
        self.vulnerable = 1 / (1 + np.exp(-(age - p["ahv"]) / p["asl"]))
        self.surveyed = self.weight * p["linf"] / p["lbar"] * length**2.02
        self.unfished = p["s"] ** (age - 1.0)
        self.unfished[-1] /= 1 - p["s"]
        spawners = np.sum(self.unfished * self.mature)
        self.alpha, self.beta = p["cr"] / spawners, (p["cr"] - 1) / (p["ro"] * spawners)
        self.observation_space = gymnasium.spaces.Box(0.0, 50.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """A share of the unfished stock."""
        super().reset(seed=seed)
        self.year = 0
        self.numbers = self.unfished * self.np_random.uniform(self.parameters["first_low"], 1.0)
        return self.observation(), {}

    def observation(self) -> np.ndarray:
        """What a survey finds."""
        biomass = np.sum(self.surveyed * self.numbers) * (1 + self.cv * self.np_random.normal())
        return np.clip(np.array([biomass]), 0.0, 50.0).astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One year."""
        p, rate = self.parameters, np.clip(action[0], 0.0, 1.0)
        caught = rate * np.sum(self.vulnerable * self.weight * self.numbers)
        self.numbers = p["s"] * self.numbers * (1 - self.vulnerable * rate)
        spawning = np.sum(self.mature * self.numbers)
        if self.np_random.binomial(2, 0.025) == 1:
            factor = self.np_random.uniform(p["big_low"], p["big_high"])
        else:
            factor = p["usual"] * self.np_random.lognormal(0, p["sdr"]) / np.exp(p["sdr"] ** 2 / 2)
        oldest = self.numbers[-1]
        self.numbers[1:] = self.numbers[:-1]
        self.numbers[-1] += oldest
        self.numbers[0] = self.alpha * spawning / (1 + self.beta * spawning) * factor
        self.year += 1
        return self.observation(), float(caught), False, self.year >= self.horizon, {}


def plain_rate(environment: PlainFishery | PlainWalleye, action: np.ndarray) -> float:
    """Steps per CPU second, resets included."""
    environment.reset(seed=1)
    began = time.process_time()
    for _ in range(PLAIN_STEPS):
        _, _, terminated, truncated, _ = environment.step(action)
        if terminated or truncated:
            environment.reset()
    return PLAIN_STEPS / (time.process_time() - began)


def batched_rate(environment: Any, action: np.ndarray) -> float:
    """Steps of single stocks per CPU second, restarts included."""
    environment.reset()
    began = time.process_time()
    for _ in range(YEARS):
        environment.step(action)
    return environment.num_envs * YEARS / (time.process_time() - began)


def rates(part: str) -> dict[str, float]:
    """Both rates and their ratio."""
    numbers, mortality = PARTS[part]
    scenario = FisheriesScenario.model_validate({"name": "speed", **numbers})
    alone = PlainWalleye if part == "walleye" else PlainFishery
    plain, batched = alone(scenario), build(scenario).environment(STOCKS, seed=1, split="train")
    one, many = np.array(mortality), np.tile(mortality, (STOCKS, 1))
    batched_rate(batched, many)
    measured = [(plain_rate(plain, one), batched_rate(batched, many)) for _ in range(REPETITIONS)]
    slow, fast = (statistics.median(column) for column in zip(*measured, strict=True))
    return {"plain": slow, "batched": fast, "ratio": statistics.median(b / a for a, b in measured)}


ROWS = {
    "speed_web": ("web", "ratio", "x"),
    "speed_web_rate": ("web", "batched", "stock years / CPU s"),
    "speed_one": ("one", "ratio", "x"),
    "speed_walleye": ("walleye", "ratio", "x"),
    "speed_walleye_rate": ("walleye", "batched", "stock years / CPU s"),
}
"""Row of ``acceptance.yaml`` -> part, figure, unit."""


def main() -> int:
    """Run the parts, print, and record if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help="default: all")
    parser.add_argument("--record", action="store_true", help="write into domains/fisheries/results.json")
    options = parser.parse_args()
    chosen = options.parts or list(PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    found = {part: rates(part) for part in chosen}
    for part, figures in found.items():
        for name, value in figures.items():
            print(f"{part:7s} {name:10s} {value:14,.0f}")
    if options.record:
        from interlock.scenarios.record import record_row

        for row, (part, figure, unit) in ROWS.items():
            if part in found:
                command = f"python benchmarks/fisheries_speed.py {part} --record"
                print(record_row("fisheries", row, value=found[part][figure], unit=unit, command=command))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Small multistage programs whose answers can be had in other ways."""

import numpy as np

from interlock.core.decision_rules.linear_stages import LinearStages
from interlock.core.multistage.stage import LinearStage, Multistage, Noise
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Column, Row, linear_program


def reservoirs(stages, *, seed=0, signals=False):
    """Two reservoirs in a cascade, two thermal units and unserved load; load and costs differ between stages."""
    rng = np.random.default_rng(seed)
    built, noises = [], []
    for _ in range(stages):
        load = 6 + 4 * rng.random()
        cheap, dear = 1 + rng.random(), 4 + rng.random()
        program = linear_program(
            {
                "v1": Column(upper=8),
                "v2": Column(upper=4),
                "q1": Column(cost=0.01, upper=3),
                "q2": Column(cost=0.02, upper=4),
                "s1": Column(),
                "s2": Column(),
                "cheap": Column(cost=cheap, upper=3),
                "dear": Column(cost=dear, upper=2),
                "unserved": Column(cost=20.0),
            },
            {
                "water1": Row({"v1": 1, "q1": 1, "s1": 1}, 0, 0),
                "water2": Row({"v2": 1, "q2": 1, "s2": 1, "q1": -1}, 0, 0),
                "power": Row({"q1": 1, "q2": 0.7, "cheap": 1, "dear": 1, "unserved": 1}, load, load),
            },
        )
        unserved = np.zeros((1, 9))
        unserved[0, 8] = 1.0
        built.append(
            LinearStage(
                program,
                state=np.array([0, 1]),
                rows=np.array([0, 1]),
                offset=np.zeros(2),
                by_state=np.eye(2),
                by_noise=np.eye(2),
                signals=unserved if signals else np.zeros((0, 0)),
            )
        )
        noises.append(Noise(4 * rng.random((3, 2)), np.array([0.3, 0.4, 0.3])))
    return Multistage(tuple(built), tuple(noises), np.array([3.0, 1.0]))


def path_of(multistage, rng):
    """One path ``(T, k)`` with numbers of its own, away from round values."""
    return np.array([4 * rng.random(noise.outcomes.shape[1]) for noise in multistage.noises])


class ReservoirProgram:
    """The two reservoirs as decision rules see them; every target is reachable in one stage."""

    def __init__(self, stages, *, seed=0, signals=False):
        self.multistage = reservoirs(stages, seed=seed, signals=signals)
        self.stages = stages
        self.limits, self.signal_prices = np.full(int(signals), np.inf), np.ones(int(signals))
        self.initial_state = self.multistage.initial_state
        self.state_scale = np.array([8.0, 4.0])

    def paths(self, count, generator):
        return 4 * generator.random((count, self.stages, 2))

    def features(self, noise):
        return noise / 4

    def reach(self, xp, raw, state, noise):
        share = 1 / (1 + xp.exp(-raw))
        first = share[:, 0] * xp.clip(state[:, 0] + noise[:, 0], None, 8.0)
        released = xp.clip(state[:, 0] + noise[:, 0] - first, None, 3.0)
        second = share[:, 1] * xp.clip(state[:, 1] + noise[:, 1] + released, None, 4.0)
        return xp.stack([first, second], 1)

    def solver(self):
        return LinearStages(self.multistage, Highs())

    def quick_cost(self):
        return None

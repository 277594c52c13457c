"""Small multistage programs whose optimum is published or can be worked out by hand.

The hydro valley, the two-stage and the infinite-horizon hydrothermal problem are test problems of SDDP.jl (data and
optimal values: github.com/odow/SDDP.jl, docs/src/examples).
"""

import numpy as np

from interlock.core.multistage.stage import LinearStage, Multistage, Noise
from interlock.solvers.interface import Column, Row, linear_program


def stage(columns, rows, state, moving, by_state, by_noise):
    """A stage from named columns and rows; ``moving`` are the rows whose right-hand side depends on state and noise."""
    program = linear_program(columns, rows)
    names = list(program.row_names)
    return LinearStage(
        program,
        state=np.array([program.column_names.index(name) for name in state], np.int32),
        rows=np.array([names.index(name) for name in moving], np.int32),
        offset=np.zeros(len(moving)),
        by_state=np.array(by_state, float),
        by_noise=np.array(by_noise, float),
    )


def equally(*outcomes):
    """Equally likely outcomes."""
    return Noise(np.array(outcomes, float).reshape(len(outcomes), -1), np.full(len(outcomes), 1 / len(outcomes)))


def hydro_valley(noisy):
    """Two reservoirs in a chain with turbines of three levels, prices 1, 2, 3; least cost is minus largest profit."""
    flows, powers = (50, 60, 70), (55, 65, 70)

    def one(price):
        columns, rows = {"sold": Column(-price)}, {}
        rows["sold"] = Row({"sold": 1.0} | {f"d{r}{k}": -powers[k] for r in (1, 2) for k in range(3)}, 0.0, 0.0)
        for r in (1, 2):
            columns |= {f"v{r}": Column(0, 0, 200), f"out{r}": Column(), f"spill{r}": Column(1000)}
            columns |= {f"in{r}": Column(), f"unused{r}": Column()} | {f"d{r}{k}": Column(0, 0, 1) for k in range(3)}
            rows[f"flow{r}"] = Row({f"out{r}": 1.0} | {f"d{r}{k}": -flows[k] for k in range(3)}, 0.0, 0.0)
            rows[f"mix{r}"] = Row({f"d{r}{k}": 1.0 for k in range(3)}, upper=1.0)
            rows[f"rain{r}"] = Row({f"in{r}": 1.0, f"unused{r}": 1.0}, 0.0, 0.0)
        rows["water1"] = Row({"v1": 1.0, "in1": -1.0, "out1": 1.0, "spill1": 1.0}, 0.0, 0.0)
        rows["water2"] = Row(
            {"v2": 1.0, "in2": -1.0, "out2": 1.0, "spill2": 1.0, "out1": -1.0, "spill1": -1.0}, 0.0, 0.0
        )
        still, kept = np.zeros((2, 2)), np.eye(2)
        moving = ("water1", "water2", "rain1", "rain2")
        return stage(columns, rows, ("v1", "v2"), moving, np.vstack([kept, still]), np.vstack([still, kept]))

    rain = equally((0, 0), (20, 0), (50, 20)) if noisy else equally((0, 0))
    stages = tuple(one(price) for price in (1.0, 2.0, 3.0))
    return Multistage(stages, (equally((0, 0)), rain, rain), np.array([200.0, 200.0]), lower_bound=-1e4)


def two_weeks_of_rain():
    """A reservoir of 8, a load of 6, thermal power at 5: rain of 6, then 2 or 10."""
    columns = {"x": Column(0, 0, 8), "y": Column(), "p": Column(5), "lost": Column(), "over": Column()}
    rows = {
        "water": Row({"x": 1.0, "y": 1.0, "lost": 1.0}, 0.0, 0.0),
        "load": Row({"p": 1.0, "y": 1.0, "over": -1.0}, 6.0, 6.0),
    }
    week = stage(columns, rows, ("x",), ("water",), [[1]], [[1]])
    return Multistage((week, week), (equally(6), equally(2, 10)), np.zeros(1))


def endless_weeks():
    """A reservoir between 5 and 15; rain and load (0, 7.5), (5, 5) or (10, 2.5); spill costs 10, thermal power 1."""
    columns = {"v": Column(0, 5, 15), "thermal": Column(1), "hydro": Column(), "spill": Column(10)}
    rows = {
        "water": Row({"v": 1.0, "hydro": 1.0, "spill": 1.0}, 0.0, 0.0),
        "load": Row({"thermal": 1.0, "hydro": 1.0}, 0.0, 0.0),
    }
    week = stage(columns, rows, ("v",), ("water", "load"), [[1], [0]], np.eye(2))
    return Multistage((week,), (equally((0, 7.5), (5, 5), (10, 2.5)),), np.array([10.0]))


def newsvendor(demands, probabilities, order=1.0, short=4.0, over=0.5):
    """Order ``x`` in [0, 10], then pay for what is missing or left."""
    first = stage(
        {"x": Column(order, 0, 10), "none": Column(0, 0, 0)},
        {"start": Row({"none": 1.0}, 0.0, 0.0)},
        ("x",),
        ("start",),
        [[0]],
        [[0]],
    )
    second = stage(
        {"short": Column(short), "over": Column(over), "end": Column(0, 0, 0)},
        {"balance": Row({"short": 1.0, "over": -1.0}, 0.0, 0.0)},
        ("end",), ("balance",), [[-1]], [[1]],
    )  # fmt: skip
    noises = (equally(0), Noise(np.array(demands, float)[:, np.newaxis], np.array(probabilities)))
    return Multistage((first, second), noises, np.zeros(1))


def reservoirs(stages, outcomes=3, seed=0):
    """Two reservoirs in a chain, thermal power of rising cost, unserved load: always feasible, outcomes drawn once."""
    generator = np.random.default_rng(seed)
    columns = {
        "v1": Column(0, 0, 8), "v2": Column(0, 0, 4), "q1": Column(0, 0, 3), "q2": Column(0, 0, 5),
        "s1": Column(0.01), "s2": Column(0.01), "cheap": Column(1, 0, 2), "dear": Column(3, 0, 2),
        "unserved": Column(20),
    }  # fmt: skip
    found = []
    for _ in range(stages):
        load = float(generator.uniform(4, 8))
        rows = {
            "water1": Row({"v1": 1.0, "q1": 1.0, "s1": 1.0}, 0.0, 0.0),
            "water2": Row({"v2": 1.0, "q2": 1.0, "s2": 1.0, "q1": -1.0, "s1": -1.0}, 0.0, 0.0),
            "load": Row({"q1": 1.0, "q2": 0.7, "cheap": 1.0, "dear": 1.0, "unserved": 1.0}, load, np.inf),
        }
        found.append(stage(columns, rows, ("v1", "v2"), ("water1", "water2"), np.eye(2), np.eye(2)))
    noises = []
    for _ in range(stages):
        chance = generator.dirichlet(np.full(outcomes, 5.0))
        noises.append(Noise(3 * generator.random((outcomes, 2)), chance))
    return Multistage(tuple(found), tuple(noises), np.array([2.0, 1.0]))

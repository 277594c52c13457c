"""A system small enough for exact answers: three buses, two thermal units, one reservoir, hourly stages.

Parameters as published with HydroPowerModels.jl (LAMPSPUC, MIT licence), test case ``case3``.
"""

import numpy as np

from interlock.domains.hydro.case import Branches, Buses, Case, Hydros, Thermals

SEASON = (120.0, 105.0, 90.0, 75.0, 60.0, 45.0, 30.0, 45.0, 60.0, 75.0, 90.0, 105.0)
"""m3/s of the wettest scenario; the others have 2/3 and 1/3 of it."""
PROBABILITIES = (0.3, 0.4, 0.3)


def toy_case() -> Case:
    """The system; the exact optimum of its first 3 stages on the linear network is 1639.116 $/h."""
    angle = np.full(3, 1.0472)
    wettest = np.array(SEASON)
    inflows = np.stack([wettest, wettest * 2 / 3, wettest / 3], axis=1)[:, :, None]
    return Case(
        name="case3",
        stage_hours=1.0,
        deficit_cost=1000.0,
        base=100.0,
        hydros=Hydros(
            names=("H1",),
            bus=np.array([0]),
            min_volume=np.array([0.0]),
            max_volume=np.array([0.54]),
            initial_volume=np.array([0.18]),
            min_turbine=np.array([0.0]),
            max_turbine=np.array([80.0]),
            production=np.array([1.0]),
            min_reactive=np.array([-10_000.0]),
            max_reactive=np.array([10_000.0]),
            cost=np.array([0.0]),
            turbined_to=np.zeros((1, 1), bool),
            spilled_to=np.zeros((1, 1), bool),
        ),
        thermals=Thermals(
            names=("G1", "G2"),
            bus=np.array([1, 2]),
            min_power=np.zeros(2),
            max_power=np.array([100.0, 50.0]),
            min_reactive=np.full(2, -10_000.0),
            max_reactive=np.full(2, 10_000.0),
            cost=np.array([20.0, 100.0]),
        ),
        buses=Buses(
            names=("B1", "B2", "B3"),
            reference=np.array([True, False, False]),
            min_voltage=np.full(3, 0.9),
            max_voltage=np.full(3, 1.1),
            load=np.array([0.0, 0.0, 100.0]),
            reactive_load=np.zeros(3),
        ),
        branches=Branches(
            names=("L1", "L2", "L3"),
            start=np.array([0, 2, 0]),
            end=np.array([2, 1, 1]),
            resistance=np.array([0.065, 0.025, 0.042]),
            reactance=np.array([1.0, 0.5, 1.0]),
            start_shunt=np.array([0.225j, 0.35j, 0.15j]),
            end_shunt=np.array([0.225j, 0.35j, 0.15j]),
            rate=np.array([100.0, 65.0, 25.0]),
            tap=np.ones(3),
            shift=np.zeros(3),
            min_angle=-angle,
            max_angle=angle,
        ),
        inflows=inflows,
        probabilities=np.tile(PROBABILITIES, (len(SEASON), 1)),
    )

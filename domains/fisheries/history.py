"""An example of a user's files: a synthetic history of a food web whose first prey grows more slowly every year.

The simulator of this domain makes it, with the parameters of Montealegre-Mora et al. (2023) and a growth of the first
prey that falls by 0.005 a year; so the truth that a fit should find is known. Both prey are harvested at four fifths of
the best constant mortality on average, more in some decades and less in others, without which growth and capacity could
hardly be told apart; a survey with an error of 5 % sees all three species.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from interlock.domains.fisheries.environment import FisheriesEnvironment
from interlock.domains.fisheries.model import Array
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.userdata import HISTORY, SPECIES
from interlock.domains.fisheries.userdata_series import History
from interlock.domains.fisheries.userdata_table import write_text

FIRST_YEAR, YEARS, SEED = 1966, 60, 20
SURVEY_CV = 0.05
NAMES = ("herring", "sprat", "seal")
TONNES = (120_000.0, 80_000.0, 40_000.0)
"""Carrying capacities of the two prey, and the biomass of the predator that counts as one stock unit."""
MORTALITY = (0.112, 0.208)
"""Of the prey: 0.8 x the best constant mortality of ``web_drift``."""
EFFORT = (0.25, 1.0, 1.75, 0.25, 1.75, 1.0)
"""Share of it in each decade, 1 on average."""
TREND = -0.005
"""Change of the growth rate of the first prey, 1/year per year."""


def scenario(**changes: object) -> FisheriesScenario:
    """What the history is drawn from."""
    values: dict[str, object] = {
        "name": "example",
        "model": {"kind": "food_web"},
        "drift": [{"parameter": "r_x", "per_year": TREND, "at_least": 0.5}],
        "harvested": ("x", "y"),
        "initial": (0.5, 0.5, 0.7),
        "tonnes": TONNES,
        "observed": {"cv": SURVEY_CV},
    }
    return FisheriesScenario.model_validate({**values, **changes})


def played(drawn: FisheriesScenario, mortality: Array, *, seed: int = SEED) -> History | None:
    """A history, or ``None`` if a species collapses before its end.

    Args:
        drawn: the fishery; its ``tonnes`` convert stock units.
        mortality: ``(years, harvested species)``.
        seed: of the future.
    """
    environment = FisheriesEnvironment(drawn, 1, seed=seed, split="train", constraints=())
    caught = [drawn.model.species.index(name) for name in drawn.harvested]
    tonnes = np.array(drawn.tonnes or (1.0,) * len(drawn.model.species))
    years = len(mortality)
    biomass, catch = np.empty((years, len(tonnes))), np.zeros((years, len(tonnes)))
    for year, action in enumerate(mortality):
        biomass[year] = environment.seen[0] * tonnes
        catch[year, caught] = action * environment.stock[0, caught] * tonnes[caught]
        if environment.step(action[None]).terminated[0]:
            return None
    return History(FIRST_YEAR + np.arange(years), biomass, catch, np.full(biomass.shape, drawn.observed.cv))


def effort() -> Array:
    """Mortalities ``(60, 2)`` of the example."""
    return np.repeat(EFFORT, YEARS // len(EFFORT))[:, None] * MORTALITY


def example() -> History:
    """The example: 60 years, all of them survived."""
    found = played(scenario(), effort())
    assert found is not None
    return found


def files(history: History) -> Mapping[str, str]:
    """The tables of the example by file name, biomass and catch in whole tonnes."""
    lines = ["year,species,biomass,catch,biomass_cv"]
    for t, year in enumerate(history.years):
        for i, name in enumerate(NAMES):
            biomass, catch = history.biomass[t, i], history.catch[t, i]
            lines.append(f"{year},{name},{biomass:.0f},{catch:.0f},{history.cv[t, i]:g}")
    species = [
        "species,harvested,limit_biomass,price,K,role",
        f"{NAMES[0]},true,6000,500,,x",
        f"{NAMES[1]},true,4000,350,,y",
        f"{NAMES[2]},false,2000,,40000,z",
    ]
    return {HISTORY: "\n".join(lines) + "\n", SPECIES: "\n".join(species) + "\n"}


def write(folder: Path) -> None:
    """Write the example into a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(example()).items():
        write_text(folder / name, text)

"""The scenario schema of daily ordering."""

from typing import Literal

from pydantic import Field

from interlock.core.scenario import Scenario


class InventoryScenario(Scenario):
    """Goods are ordered every morning and arrive at once; demand that cannot be met is lost."""

    domain: Literal["demo_inventory"] = "demo_inventory"
    capacity: int = Field(20, ge=1, le=200, description="units the shelf can hold")
    days: int = Field(10, ge=1, le=365, description="days per episode")
    mean_demand: float = Field(5.0, gt=0, le=100, description="mean of the daily Poisson demand, units")
    price: float = Field(0.5, ge=0, description="EUR per unit ordered")
    holding: float = Field(1.0, ge=0, description="EUR per unit left over at the end of a day")
    shortage: float = Field(4.0, ge=0, description="EUR per unit of lost sales")
    max_lost: float = Field(0.5, ge=0, description="limit on the mean lost sales, units per day")

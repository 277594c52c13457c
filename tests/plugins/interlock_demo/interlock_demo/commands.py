"""A verb of this domain alone: ``interlock demo-inventory demand SCENARIO``."""

from typing import Annotated

import typer

from interlock.scenarios.loading import load_scenario
from interlock_demo import DOMAIN
from interlock_demo.problem import demand_probabilities


def demand(scenario: Annotated[str, typer.Argument()] = "steady", units: int = 10) -> None:
    """Show how likely each daily demand is."""
    for unit, chance in enumerate(demand_probabilities(load_scenario(DOMAIN, scenario))[:units]):
        print(f"{unit:>3} {chance:.3f}")

"""Small scenarios."""

from typing import Any

import pytest

from interlock.domains.fisheries.scenario import FisheriesScenario

WEB: dict[str, Any] = {"model": {"kind": "food_web"}, "harvested": ["x", "y"], "initial": [0.5, 0.5, 0.7]}
PARAMETERS: dict[str, Any] = {
    "constant_mortality": [0.26, 0.26],
    "constant_mortality_safe": [0.24, 0.24],
    "constant_escapement": [0.44, 0.46],
    "precautionary": [[0.1, 0.3, 0.26], [0.2, 0.5, 0.27]],
}


class Scenarios:
    """Makes scenarios whose rules need no search."""

    def one(self, **changes: Any) -> FisheriesScenario:
        """One species."""
        return self._tuned({"name": "one", **changes}, 1)

    def web(self, **changes: Any) -> FisheriesScenario:
        """Two prey and a predator, both prey caught."""
        return self._tuned({"name": "web", **WEB, **changes}, len(changes.get("harvested", "xy")))

    def _tuned(self, values: dict[str, Any], caught: int) -> FisheriesScenario:
        bare = FisheriesScenario.model_validate(values)
        parameters = {name: rows[:caught] for name, rows in PARAMETERS.items()}
        return FisheriesScenario.model_validate({**values, "tuned": {"numbers": bare.numbers(), **parameters}})


@pytest.fixture(scope="session")
def scenarios() -> Scenarios:
    return Scenarios()

"""The scenario schema of long-term hydrothermal dispatch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from interlock.core.scenario import EvaluationSettings, Scenario, Settings

MAX_STAGES = 10_000
"""Most simulated stages."""

Network = Literal["bus1", "dc", "soc", "ac"]
Process = Literal["independent", "persistent", "history"]


class ToyCase(Settings):
    """Three buses, two thermal units, one reservoir."""

    source: Literal["toy"] = "toy"


class GeneratedCase(Settings):
    """A system drawn at random, always the same one for the same numbers."""

    source: Literal["generated"]
    n_hydro: int = Field(3, ge=1, le=1000, description="hydro plants")
    seed: int = Field(0, ge=0, description="another seed gives another system of the same kind")


class DataSetCase(Settings):
    """A published system, read from where `interlock data` puts it."""

    source: Literal["data_set"]
    name: Literal["bolivia", "case3"] = Field(description="which one")


class FolderCase(Settings):
    """The user's own system: case.json and tables."""

    source: Literal["folder"]
    path: str = Field(min_length=1, description="folder that holds case.json")


class InlineCase(Settings):
    """A system written out in full, as bundles carry it."""

    source: Literal["inline"]
    values: dict[str, Any] = Field(description="every array of the system")


AnyCase = Annotated[
    ToyCase | GeneratedCase | DataSetCase | FolderCase | InlineCase,
    Field(discriminator="source", description="the system: toy, generated, data_set, folder or inline"),
]


class InflowSettings(Settings):
    """How inflows are drawn."""

    process: Process = Field(
        "independent",
        description="independent: each stage draws one of the scenarios; persistent: the same scenarios with memory; "
        "history: a seasonal model with memory, fitted to scenarios that are years in a row",
    )
    factor: float = Field(1.0, ge=0, description="all inflows are multiplied by it")
    phi: float = Field(0.6, ge=0, lt=1, description="memory of the persistent process from one stage to the next")


class Outage(Settings):
    """A thermal unit out of service, both stages included."""

    unit: str = Field(description="name of the thermal unit")
    from_stage: int = Field(ge=1, description="first stage without it, from 1")
    to_stage: int = Field(ge=1, description="last stage without it")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.from_stage > self.to_stage:
            raise ValueError(f"outage of {self.unit}: from_stage {self.from_stage} is after to_stage {self.to_stage}")
        return self


class StorageTarget(Settings):
    """A chance constraint on stored energy."""

    stage: int = Field(ge=1, description="at the end of this stage, from 1")
    share: float = Field(ge=0, le=1, description="of the energy that full reservoirs hold")
    probability: float = Field(gt=0, lt=1, description="with which at least that much must be stored")


class HydroEvaluation(EvaluationSettings):
    """How evidence is gathered: 500 held-out inflow paths, 10 to choose checkpoints by."""

    test_instances: int = Field(500, ge=2, description="number of held-out inflow paths")
    validation_instances: int = Field(10, ge=2, description="number of validation paths")


class HydroScenario(Scenario):
    """Each stage the inflow is seen, then end volumes of the reservoirs are chosen and the rest is dispatched."""

    domain: Literal["hydro"] = "hydro"
    case: AnyCase = ToyCase()
    network: Network = Field(
        "dc",
        description="bus1: no network; dc: linear flows without losses; soc: second-order cone relaxation of the "
        "power flow equations; ac: the equations themselves",
    )
    horizon: int = Field(12, ge=1, le=MAX_STAGES, description="simulated stages")
    reported_stages: int | None = Field(
        None, ge=1, description="stages in the reported cost; the rest keeps reservoirs from being emptied; null: all"
    )
    inflows: InflowSettings = InflowSettings()
    load_factor: float = Field(1.0, gt=0, description="all loads are multiplied by it, beside the case's own factor")
    outages: tuple[Outage, ...] = Field((), description="planned outages of thermal units, beside the case's own")
    eens_limit: float | None = Field(
        None, ge=0, description="limit on expected unserved energy, % of the load energy; null: not a constraint"
    )
    storage_target: StorageTarget | None = Field(None, description="chance constraint on storage; null: none")
    baselines: tuple[Literal["myopic", "myopic_spill", "rule_curve", "mpc"], ...] = Field(
        ("myopic", "rule_curve"), min_length=1, description="rules shown beside learned policies, the reference first"
    )
    evaluation: HydroEvaluation = HydroEvaluation()

    @model_validator(mode="after")
    def _within_horizon(self) -> Self:
        if self.reported_stages is not None and self.reported_stages > self.horizon:
            raise ValueError(
                f"reported_stages {self.reported_stages} is larger than horizon {self.horizon}: "
                f"set it to {self.horizon} or less, or to null for all stages"
            )
        if self.storage_target is not None and self.storage_target.stage > self.horizon:
            raise ValueError(f"storage_target.stage {self.storage_target.stage} is after horizon {self.horizon}")
        return self

    @property
    def reported(self) -> int:
        """Stages in the reported cost."""
        return self.horizon if self.reported_stages is None else self.reported_stages

    def signature(self) -> dict[str, Any]:
        """The system and the horizon; a policy may play another network or inflows with more memory.

        Raises:
            BadInput: the system cannot be read.
            UsageError: it is a data set that is not here.
        """
        from interlock.domains.hydro.instances import case_of

        return {"case": case_of(self).hash, "horizon": self.horizon}

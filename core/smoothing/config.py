"""Settings of Gaussian-process smoothing; free of torch and of scikit-learn."""

from typing import Self

from pydantic import Field, model_validator

from interlock.core.actor_critic.config import PPOConfig
from interlock.core.problem import MethodInfo
from interlock.core.scenario import Settings

METHOD = MethodInfo(
    name="gp_smoothing",
    title="Gaussian-process smoothing",
    summary="a smooth rule through the decisions of a teacher: a policy trained for it, or a baseline",
    config="interlock.core.smoothing.config:SmoothingConfig",
    train="interlock.core.smoothing.method:train",
    load="interlock.core.smoothing.policy:load_smoothed_policy",
    extra="smoothing",
)


class SmoothingConfig(Settings):
    """Settings of Gaussian-process smoothing; slabs and kernel are those of Montealegre-Mora et al. (2023)."""

    baseline: str | None = Field(None, description="baseline to smooth; null: a policy is trained with `teacher`")
    teacher: PPOConfig = Field(PPOConfig(), description="settings of ppo_lagrangian, which trains the teacher")
    teaching: float = Field(
        0.8, gt=0, le=1, description="share of the time budget that the training of the teacher may take"
    )
    encoder: str | None = Field(
        None, description="encoder whose inputs the smooth rule reads; null: the first that the problem can decode"
    )
    points: int = Field(51, ge=2, description="values of the input that runs along a slab")
    low: float = Field(0.0, description="first of them")
    high: float = Field(1.0, description="last of them")
    across: int = Field(5, ge=1, description="values of every other input, across the window")
    window: float = Field(0.7, gt=0, le=1, description="share of the visited states that the window holds")
    rows: int = Field(100, ge=1, description="training episodes at a time, in which states are visited")
    steps: int = Field(200, ge=1, description="decisions in each row")
    variance: float = Field(1.0, gt=0, description="of the process, before it is fitted")
    length: float = Field(10.0, gt=0, description="over which decisions are alike, in units of the inputs, likewise")
    noise: float = Field(0.1, gt=0, description="variance of the teacher's decisions about the smooth rule, likewise")
    fitted_on: int | None = Field(
        1500, ge=2, description="slab points, drawn at random, on which these three are fitted; null: all"
    )
    largest: int = Field(6000, ge=2, description="slab points at most: time grows with their cube")

    @model_validator(mode="after")
    def _interval(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low:g} is not below high, {self.high:g}")
        return self

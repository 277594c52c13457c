"""Settings of decision rules; free of torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from interlock.core.problem import MethodInfo
from interlock.core.scenario import Settings

TS_DDR = MethodInfo(
    name="ts_ddr",
    title="Two-stage deep decision rules",
    summary="a recurrent network proposes target states, stage programs follow, their duals are its gradient",
    config="interlock.core.decision_rules.config:RuleConfig",
    train="interlock.core.decision_rules.method:train",
    load="interlock.core.decision_rules.policy:load_rule_policy",
    extra="train",
)

TS_LDR = MethodInfo(
    name="ts_ldr",
    title="Two-stage linear decision rules",
    summary="the same with a rule that is linear in the noise of the stage, the season and the state",
    config="interlock.core.decision_rules.config:LinearRuleConfig",
    train="interlock.core.decision_rules.method:train",
    load="interlock.core.decision_rules.policy:load_rule_policy",
    extra="train",
)


class PhaseSettings(Settings):
    """A phase of training with a step size of its own, which falls along a cosine to `last_rate` of itself."""

    updates: int = Field(1200, ge=0, description="steps of the optimiser")
    batch: int = Field(64, ge=1, description="training paths per step")
    learning_rate: float = Field(7e-3, gt=0, description="largest step size of Adam")
    warm_up: int = Field(20, ge=0, description="steps in which the step size rises to its largest value")
    last_rate: float = Field(0.02, gt=0, le=1, description="last step size over the largest")


class Pretraining(PhaseSettings):
    """The short first phase."""

    updates: int = Field(200, ge=0, description="steps of the optimiser")


class LinearPretraining(Pretraining):
    """The same for a linear rule, which bears larger steps."""

    learning_rate: float = Field(2e-2, gt=0, description="largest step size of Adam")


class LinearTraining(PhaseSettings):
    """The main phase of a linear rule."""

    updates: int = Field(700, ge=0, description="steps of the optimiser")
    learning_rate: float = Field(1e-2, gt=0, description="largest step size of Adam")


class MultiplierSettings(Settings):
    """Prices of constraints, moved by their relative violation."""

    integral: float = Field(0.05, ge=0, description="gain of the sum of relative violations")
    proportional: float = Field(0.5, ge=0, description="gain of the smoothed relative violation")
    smoothing: float = Field(0.9, ge=0, lt=1, description="weight of the past in the smoothed violation")
    largest: float = Field(50.0, gt=0, description="cap, in units of the price of the signal")
    margin: float = Field(0.1, ge=0, lt=1, description="share of the limit that training stays below it")


class ScoreSettings(Settings):
    """The score function beside prices: what disturbed rollouts cost, for costs that jump. Pairs: first and last."""

    begin: int = Field(200, ge=0, description="updates by prices alone before it sets in")
    ramp: int = Field(300, ge=0, description="updates in which its weight grows")
    price_weight: float = Field(0.5, ge=0, le=1, description="weight of the gradient by prices after the ramp")
    deviation: tuple[float, float] = Field((0.1, 1.0), description="standard deviation of the disturbed raw numbers")
    rollouts: tuple[int, int] = Field((2, 8), description="disturbed rollouts per path, at least 2")


class RuleConfig(Settings):
    """Settings of two-stage decision rules."""

    encoder: int = Field(32, ge=0, description="units of the LSTM over what was seen; 0: the present stage only")
    head: tuple[int, ...] = Field((128, 64), description="units of the layers between encoder, state and targets")
    pretraining: Pretraining = Field(Pretraining(), description="on the problem's differentiable cost, if it has one")
    training: PhaseSettings = Field(PhaseSettings(), description="on the prices of the programs")
    clip_norm: float = Field(10.0, gt=0, description="cap of the gradient's length, for costs of 1 per stage")
    rollout: Literal["strict", "stagewise", "windowed", "deterministic_equivalent"] = Field(
        "strict",
        description="strict: states equal targets; the others may miss them at a price: stage by stage, window by "
        "window, or the whole horizon in one program",
    )
    window: int = Field(12, ge=1, description="stages per window of the windowed rollout")
    penalty: float | None = Field(
        None, gt=0, description="price of a missed unit of target; null: twice the dearest recourse"
    )
    score: ScoreSettings | None = Field(None, description="with strict targets: null, or how costs that jump are seen")
    multipliers: MultiplierSettings = MultiplierSettings()
    validate_every: int = Field(50, ge=1, description="updates between looks at the validation paths")
    pretraining_share: float = Field(0.3, gt=0, lt=1, description="of a time budget that pretraining may use")

    @model_validator(mode="after")
    def _score_is_strict(self) -> Self:
        if self.score is not None and self.rollout != "strict":
            raise ValueError(
                f"score is for strict targets, and rollout is {self.rollout}: set rollout to strict, or score to null"
            )
        return self


class LinearRuleConfig(RuleConfig):
    """The same for a linear rule, which bears larger steps."""

    encoder: int = Field(0, ge=0, le=0, description="none: the rule sees the present stage")
    head: tuple[int, ...] = Field((), max_length=0, description="none: the rule is linear")
    pretraining: LinearPretraining = Field(
        LinearPretraining(), description="on the problem's differentiable cost, if it has one"
    )
    training: LinearTraining = Field(LinearTraining(), description="on the prices of the programs")

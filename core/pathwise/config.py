"""Settings of pathwise training; free of torch."""

from pydantic import Field, PositiveInt

from interlock.core.actor_critic.config import DualSettings
from interlock.core.problem import MethodInfo
from interlock.core.scenario import Settings

METHOD = MethodInfo(
    name="pathwise",
    title="Pathwise gradients",
    summary="follows the exact gradient through a differentiable simulator, with a multiplier per constraint",
    config="interlock.core.pathwise.config:PathwiseConfig",
    train="interlock.core.pathwise.method:train",
    load="interlock.core.pathwise.policy:load_pathwise_policy",
    extra="train",
)


class PathwiseDuals(DualSettings):
    """Multipliers in units of the objective: at 1, costs of the size of the limit weigh as much as the first reward."""

    integral: float = Field(0.003, ge=0, description="gain on the summed violation")
    proportional: float = Field(0.03, ge=0, description="gain on the violation itself")
    smoothing: float = Field(0.9, ge=0, lt=1, description="moving average of the proportional term; 0: none")
    largest_violation: float | None = Field(
        1.0, gt=0, description="relative violations count as this at most; null: as measured"
    )


class PathwiseConfig(Settings):
    """Settings of pathwise training."""

    encoder: str | None = Field(None, description="encoder that feeds the network; null: the first of the problem")
    form: str | None = Field(
        None, description="of the rule: what turns numbers of the network into actions; null: the problem's first"
    )
    hidden: tuple[PositiveInt, ...] = Field((32, 32), description="units of the hidden layers")
    updates: int = Field(400, ge=1, description="steps of the optimiser")
    batch: int = Field(512, ge=1, description="futures per step, new ones each time")
    learning_rate: float = Field(1e-2, gt=0, description="largest step size of Adam")
    last_rate: float = Field(0.02, gt=0, le=1, description="last step size over the largest; it falls along a cosine")
    max_gradient: float = Field(1.0, gt=0, description="largest norm of the gradient, the first reward counting as 1")
    smoothing: float = Field(1.0, gt=0, description="width of what is smoothed at the start, in the problem's own unit")
    last_smoothing: float | None = Field(
        None, gt=0, description="the same at the end, reached geometrically; null: as at the start"
    )
    limit_floor: float = Field(1e-3, gt=0, description="violations are relative to the limit, or to this if smaller")
    margin: float = Field(
        0.0, ge=0, lt=1, description="share of each limit kept in reserve, in training and in choosing the best rule"
    )
    dual: PathwiseDuals = PathwiseDuals()
    validate_every: int = Field(20, ge=1, description="updates between validations")

"""Settings of the actor-critic methods; torch-free, so that they can be shown and checked without it."""

from typing import Literal

from pydantic import Field, PositiveInt

from interlock.core.scenario import Settings


class MaskHeadSettings(Settings):
    """A predicted mask of the actions, for decisions where the exact one is slow or missing; of `ppo_lagrangian` only.

    The loss adds the squared error of the prediction and the probability that the policy gives to infeasible actions.
    """

    weight: float = Field(5.0, ge=0, description="of the squared error, mean over actions; 0: the predictor stays raw")
    infeasible_weight: float = Field(0.02, ge=0, description="of the summed probability of infeasible actions")
    train_with: Literal["true_mask", "predicted", "nothing"] = Field(
        "true_mask",
        description="what keeps actions feasible while training: the exact mask, the prediction alone, or nothing",
    )
    decide_with: Literal["true_mask", "predicted"] = Field(
        "predicted", description="the same for finished policies; a policy trained without the exact mask never has it"
    )
    feasible_entropy: bool = Field(True, description="the entropy bonus counts feasible actions only")


class NetworkSettings(Settings):
    """Sizes of the actor-critic network."""

    hidden: tuple[PositiveInt, ...] = Field(
        (64, 64), description="hidden layers of perceptrons, per action or per state"
    )
    channels: tuple[PositiveInt, ...] = Field((32, 32, 32), description="3 x 3 convolutions over planes")
    actor_channels: int = Field(8, ge=1, description="1 x 1 convolution before the actor's dense layer")
    critic_channels: int = Field(4, ge=1, description="1 x 1 convolution before the critic's dense layer")
    dense: int = Field(128, ge=1, description="dense layer behind the convolutions, and of the scorer's critic")
    critics: Literal["auto", "separate", "shared"] = Field(
        "auto",
        description="over vectors: a network per signal, or one for all; auto: one for all from three costs on; "
        "over planes and action features always one for all",
    )
    memory: int = Field(0, ge=0, description="width of a gated recurrent layer before vectors' perceptrons; 0: none")
    mask_head: MaskHeadSettings | None = Field(None, description="a predicted mask of discrete actions; null: none")


class ImitationSettings(Settings):
    """Warm start: the network first learns to act like a baseline, and to predict its returns."""

    teacher: str | None = Field(None, description="baseline to imitate; null: start from random weights")
    steps: int = Field(40_000, ge=0, description="environment steps played and learned from")
    epochs: int = Field(4, ge=1, description="passes over them")
    learning_rate: float = Field(2e-3, gt=0, description="step size of Adam")
    minibatch: int = Field(1024, ge=1, description="states per gradient step")


class DualSettings(Settings):
    """Multipliers from relative violations: proportional, integral and derivative control.

    ``proportional`` 0 is plain dual ascent, ``proportional = integral`` without smoothing its optimistic variant. The
    gains are for standardised advantages; measured on finite processes with a known optimum, see core/README.md.
    """

    integral: float = Field(0.1, ge=0, description="gain on the summed violation")
    proportional: float = Field(5.0, ge=0, description="gain on the violation itself")
    derivative: float = Field(0.0, ge=0, description="gain on a cost that rises")
    smoothing: float = Field(0.5, ge=0, lt=1, description="moving average of the proportional term; 0: none")
    cost_smoothing: float = Field(0.0, ge=0, lt=1, description="moving average of the cost in the derivative term")
    delay: int = Field(10, ge=1, description="updates over which the rise of the cost is taken")
    initial: float = Field(0.0, ge=0, description="multiplier at the start")
    largest: float = Field(100.0, gt=0, description="cap of each multiplier")
    largest_violation: float | None = Field(
        None,
        gt=0,
        description="relative violations count as this at most; for limits on rare events, which an untrained policy "
        "breaks many times over while none can be below its limit by more than 1; null: as measured",
    )
    optimistic: bool = Field(False, description="the policy follows 2 x this multiplier - the last one (ReLOAD)")


class LearnerConfig(Settings):
    """What all actor-critic methods share: the network, the amounts of play, and how constraints are measured."""

    encoder: str | None = Field(None, description="encoder that feeds the network; null: the first of the problem")
    network: NetworkSettings = NetworkSettings()
    head: str | None = Field(None, description="distribution over actions; null: the usual one for the action space")
    head_options: dict[str, float | bool | str] = Field(
        default_factory=dict, description="options of the head: log_std, unallocated, or part of a hybrid one"
    )
    imitation: ImitationSettings = ImitationSettings()
    steps: int = Field(400_000, ge=1, description="environment steps after the warm start")
    num_envs: int = Field(128, ge=1, description="rows of the batched environment")
    rollout: int = Field(32, ge=1, description="steps per row between updates")
    gamma: float = Field(0.99, gt=0, le=1, description="discount of rewards")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="decay of the advantage estimate of rewards")
    cost_gamma: float | None = Field(None, gt=0, le=1, description="discount of costs; null: as for rewards")
    cost_gae_lambda: float | None = Field(None, ge=0, le=1, description="decay for costs; null: as for rewards")
    least_episodes: int = Field(8, ge=1, description="finished episodes that a measured constraint needs")
    limit_floor: float = Field(1e-3, gt=0, description="violations are relative to the limit, or to this if smaller")
    margin: float = Field(0.0, ge=0, lt=1, description="share of each limit kept in reserve while training")
    randomised: bool = Field(False, description="the finished policy draws its actions, as limits may demand")
    validate_every: int = Field(50_000, ge=1, description="environment steps between validations")


class PPOConfig(LearnerConfig):
    """Settings of proximal policy optimisation with multipliers; without soft constraints it is plain PPO.

    The defaults suit batched environments on a CPU; the preset `sample_efficient` suits slow simulators.
    """

    epochs: int = Field(4, ge=1, description="passes over each rollout")
    minibatch: int = Field(1024, ge=1, description="states per gradient step")
    learning_rate: float = Field(3e-4, gt=0, description="step size of Adam at the start")
    final_learning_rate: float = Field(0.0, ge=0, le=1, description="share of the step size left at the end")
    clip: float = Field(0.2, gt=0, description="clipping range of the probability ratio")
    kl_stop: float = Field(0.02, gt=0, description="end the passes over a rollout beyond this divergence")
    value_weight: float = Field(0.5, ge=0, description="weight of the critic's loss")
    entropy_weight: float = Field(0.0, ge=0, description="weight of the entropy bonus over feasible actions")
    max_gradient: float = Field(0.5, gt=0, description="largest norm of the gradient")
    dual: DualSettings = DualSettings()

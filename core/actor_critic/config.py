"""Settings of the actor-critic methods; torch-free, so that they can be shown and checked without it."""

from pydantic import Field

from interlock.core.scenario import Settings


class NetworkSettings(Settings):
    """Sizes of the actor-critic network."""

    hidden: tuple[int, ...] = Field((64, 64), description="hidden layers of perceptrons, per action or per state")
    channels: tuple[int, ...] = Field((32, 32, 32), description="3 x 3 convolutions over planes")
    actor_channels: int = Field(8, ge=1, description="1 x 1 convolution before the actor's dense layer")
    critic_channels: int = Field(4, ge=1, description="1 x 1 convolution before the critic's dense layer")
    dense: int = Field(128, ge=1, description="dense layer behind the convolutions, and of the scorer's critic")


class ImitationSettings(Settings):
    """Warm start: the network first learns to act like a baseline, and to predict its returns."""

    teacher: str | None = Field(None, description="baseline to imitate; null: start from random weights")
    steps: int = Field(40_000, ge=0, description="environment steps played and learned from")
    epochs: int = Field(4, ge=1, description="passes over them")
    learning_rate: float = Field(2e-3, gt=0, description="step size of Adam")
    minibatch: int = Field(1024, ge=1, description="states per gradient step")


class MaskPPOConfig(Settings):
    """Settings of the feasibility-mask actor-critic.

    The defaults suit small networks that score actions one by one; the preset `mask_ppo_planes` has those of a
    convolutional network.
    """

    encoder: str | None = Field(None, description="encoder that feeds the network; null: the first of the problem")
    network: NetworkSettings = NetworkSettings()
    imitation: ImitationSettings = ImitationSettings()
    steps: int = Field(400_000, ge=1, description="environment steps after the warm start")
    num_envs: int = Field(128, ge=1, description="rows of the batched environment")
    rollout: int = Field(32, ge=1, description="steps per row between updates")
    epochs: int = Field(3, ge=1, description="passes over each rollout")
    minibatch: int = Field(1024, ge=1, description="states per gradient step")
    learning_rate: float = Field(5e-3, gt=0, description="step size of Adam at the start")
    final_learning_rate: float = Field(0.05, ge=0, le=1, description="share of the step size left at the end")
    clip: float = Field(0.2, gt=0, description="clipping range of the probability ratio")
    kl_stop: float = Field(0.03, gt=0, description="end the passes over a rollout beyond this divergence")
    gamma: float = Field(1.0, gt=0, le=1, description="discount")
    gae_lambda: float = Field(0.9, ge=0, le=1, description="decay of the advantage estimate")
    value_weight: float = Field(0.25, ge=0, description="weight of the critic's loss")
    entropy_weight: float = Field(0.01, ge=0, description="weight of the entropy bonus over feasible actions")
    max_gradient: float = Field(0.5, gt=0, description="largest norm of the gradient")
    validate_every: int = Field(50_000, ge=1, description="environment steps between validations")

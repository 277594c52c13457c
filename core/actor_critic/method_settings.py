"""Settings of the methods beside PPO with multipliers; torch-free, so that they can be shown and checked without it."""

from typing import Self

from pydantic import Field, model_validator

from interlock.core.actor_critic.config import DualSettings, LearnerConfig, PPOConfig
from interlock.core.scenario import Settings


class CriticSettings(Settings):
    """The critic's own steps, for methods whose policy step is not a gradient step."""

    learning_rate: float = Field(1e-3, gt=0, description="step size of Adam")
    epochs: int = Field(4, ge=1, description="passes over each rollout")
    minibatch: int = Field(1024, ge=1, description="states per gradient step")


class TrustRegionConfig(LearnerConfig):
    """What methods with natural-gradient steps in a trust region share."""

    radius: float = Field(0.01, gt=0, description="largest mean divergence of the new policy from the old one")
    final_radius: float = Field(0.01, gt=0, le=1, description="share of the radius left at the end")
    conjugate_iterations: int = Field(15, ge=1, description="products with the Fisher matrix per direction")
    damping: float = Field(0.1, ge=0, description="added to the diagonal of the Fisher matrix")
    fisher_decisions: int = Field(2048, ge=1, description="decisions of a rollout that the Fisher matrix is over")
    shrink: float = Field(0.8, gt=0, lt=1, description="factor between tries of the line search")
    tries: int = Field(15, ge=1, description="tries of the line search")
    critic: CriticSettings = CriticSettings()


class CPOConfig(TrustRegionConfig):
    """Settings of constrained policy optimisation."""

    measurement_weight: float = Field(
        0.3, gt=0, le=1, description="of a measured cost against its prediction from the last one and the steps since"
    )


class CRPOConfig(TrustRegionConfig):
    """Settings of constraint-rectified policy optimisation."""

    tolerance: float = Field(0.02, ge=0, description="relative violation up to which reward is still followed")


class FOCOPSConfig(LearnerConfig):
    """Settings of first-order constrained optimisation in policy space.

    The multipliers follow relative violations. Their proportional part is not in the paper, whose plain ascent is
    ``dual.proportional = 0``: with it the last policy settles instead of circling the limit.
    """

    beta: float = Field(1.5, gt=0, description="temperature: weight of the divergence against advantages")
    divergence_mask: float = Field(0.02, gt=0, description="states whose policy moved further give no gradient")
    kl_stop: float = Field(0.02, gt=0, description="end the passes over a rollout beyond this mean divergence")
    epochs: int = Field(4, ge=1, description="passes over each rollout")
    minibatch: int = Field(1024, ge=1, description="states per gradient step")
    learning_rate: float = Field(3e-4, gt=0, description="step size of Adam at the start")
    final_learning_rate: float = Field(0.0, ge=0, le=1, description="share of the step size left at the end")
    value_weight: float = Field(0.5, ge=0, description="weight of the critic's loss")
    max_gradient: float = Field(0.5, gt=0, description="largest norm of the gradient")
    dual: DualSettings = Field(DualSettings(largest=2.0), description="multipliers, with their cap")


class RCPOConfig(PPOConfig):
    """Settings of reward-constrained policy optimisation; multipliers are in reward per unit of cost.

    Their proportional part is not in the paper: with ``dual.proportional = 0`` the last policy circles the limit.
    """

    @model_validator(mode="after")
    def _one_discount(self) -> Self:
        """One critic has one discount."""
        if self.cost_gamma not in (None, self.gamma) or self.cost_gae_lambda not in (None, self.gae_lambda):
            raise ValueError(
                "one critic for reward and costs has one discount: leave cost_gamma and cost_gae_lambda out"
            )
        return self


class IPOConfig(TrustRegionConfig):
    """Settings of interior-point policy optimisation; slacks are relative to their limits."""

    measurement_weight: float = Field(
        0.3, gt=0, le=1, description="of a measured cost against its prediction from the last one and the steps since"
    )
    sharpness: float = Field(20.0, gt=0, description="t at the start: the barrier is log(slack) / t")
    smallest: float = Field(1.0, gt=0, description="lower end of t")
    largest: float = Field(1e4, gt=0, description="upper end of t")
    factor: float = Field(1.5, gt=1, description="t grows and falls by this")
    patience: int = Field(3, ge=1, description="measurements in a row on one side of the limits that move t")
    least_slack: float = Field(0.01, gt=0, lt=1, description="slack below which the barrier goes on as a parabola")
    recovery: float = Field(0.25, gt=0, description="relative violation beyond which reward is ignored")

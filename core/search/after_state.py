"""Learned values of after-states: settings; torch-free, so that the method can be listed without it.

Where the outcome of an action is known before chance comes in again (a placed box, a moved piece), a value of these
after-states is all that a choice needs: the action with the largest known reward plus value is taken (Sutton and Barto,
"Reinforcement Learning", 2nd edition 2018, section 6.8). See ``after_state_learning`` for how it is learned.
"""

from pydantic import Field, PositiveInt

from interlock.core.problem import MethodInfo
from interlock.core.scenario import Settings

METHOD = MethodInfo(
    name="after_state",
    title="After-state values",
    summary="learns by temporal differences what a decision leaves behind is worth, and takes the best decision",
    config="interlock.core.search.after_state:AfterStateConfig",
    train="interlock.core.search.after_state_learning:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)


class AfterStateConfig(Settings):
    """Settings of the method."""

    encoder: str = Field(
        "after_states",
        description="encoder whose `action_features` are, per action: 1 if it is left out, its known reward, and a "
        "description of what it leaves behind",
    )
    teacher: str | None = Field(None, description="baseline that plays the first round; null: random actions")
    hidden: tuple[PositiveInt, ...] = Field((64, 32), description="hidden layers of the value")
    rounds: int = Field(250, ge=2, description="times that play and learning alternate")
    num_envs: int = Field(256, ge=1, description="rows of the batched environment")
    steps: int = Field(64, ge=2, description="decisions per row and round")
    exploration: float = Field(0.1, ge=0, le=1, description="share of decisions that are drawn at random")
    trace: float = Field(
        0.8, ge=0, le=1, description="lambda: weight of what followed against the value of the next decision"
    )
    discount: float = Field(1.0, gt=0, le=1, description="of what follows the next decision")
    memory: int = Field(300_000, ge=1, description="after-states that are learned from, the latest ones")
    batches: int = Field(64, ge=1, description="gradient steps per round")
    batch_size: int = Field(1024, ge=1, description="after-states per gradient step")
    learning_rate: float = Field(1e-3, gt=0, description="step size of Adam; falls linearly over the last two thirds")
    final_learning_rate: float = Field(0.02, ge=0, le=1, description="share of it at the end")
    averaging: float = Field(0.998, ge=0, lt=1, description="weight of the past in the average that is returned")
    validate_every: int = Field(25, ge=1, description="rounds between looks at the validation instances")

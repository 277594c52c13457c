"""An environment behind a projection: whatever action is proposed, the nearest feasible one is executed.

This is how stochastic policy gradients meet convex hard constraints: the policy samples freely and keeps the
probability of the raw action; the projection belongs to the environment, so that no change of variables is needed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from interlock.core.environment import Array, BatchEnvironment, Observation, Step
from interlock.core.errors import UsageError
from interlock.core.projection import ActionSet, distance, project


class ProjectedEnvironment:
    """A `BatchEnvironment` that executes ``project(action, set_of(observation))``.

    ``Step.info`` gains ``projection_distance`` ``(n,)``: ``||a - y||``, how far each action was moved. All else,
    constraints and their costs included, is that of the environment inside.

    Args:
        environment: with vectors ``(n, d)`` as actions, and a single agent.
        set_of: what is feasible for each row of the current view.
        penalty: ``w`` in ``reward - w ||a - y||^2``, in reward per squared unit of the action; ``PENALTY`` of
            ``interlock.core.projection`` is usual for actions of about unit size. Zero leaves the reward as it is.

    Raises:
        UsageError: the environment has several agents, its actions are no vectors, or the penalty is negative.
    """

    def __init__(
        self, environment: BatchEnvironment, set_of: Callable[[Observation], ActionSet], *, penalty: float = 0.0
    ):
        problems = []
        if getattr(environment, "agents", None) is not None:
            problems.append("several agents")
        if len(environment.action_space.shape or ()) != 1:
            problems.append(f"actions in {environment.action_space}, no vectors")
        if not penalty >= 0.0:
            problems.append(f"a penalty of {penalty}, which must not be negative")
        if problems:
            raise UsageError(f"projection of actions: cannot handle {'; '.join(problems)}")
        self.environment, self.set_of, self.penalty = environment, set_of, penalty
        self.num_envs = environment.num_envs
        self.observation_space, self.action_space = environment.observation_space, environment.action_space
        self.constraints = environment.constraints
        self.view: Observation | None = None

    def reset(self, *, seed: int | None = None) -> Observation:
        """Start instances ``0 .. num_envs - 1``."""
        self.view = self.environment.reset(seed=seed)
        return self.view

    def step(self, action: Array) -> Step:
        """Apply the nearest feasible action in each row.

        Raises:
            InfeasibleActionSet: some rows have no feasible action.
            BadInput: an action is not finite, or shapes do not fit.
            UsageError: neither ``reset`` nor ``restore`` was called before.
        """
        if self.view is None:
            raise UsageError("projection of actions: reset or restore the environment before its first step")
        executed = project(action, self.set_of(self.view))
        step = self.environment.step(executed)
        self.view = step.observation
        moved = distance(action, executed)
        info = {**step.info, "projection_distance": moved}
        return replace(step, reward=step.reward - self.penalty * moved**2, info=info)

    def state(self) -> dict[str, Array]:
        """That of the environment inside: the set is found again from the view that ``restore`` gives."""
        return self.environment.state()

    def restore(self, state: Mapping[str, Array]) -> Observation:
        """Continue from what ``state`` returned."""
        self.view = self.environment.restore(state)
        return self.view

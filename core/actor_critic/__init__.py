"""Actor-critic methods. This file stays free of torch so that methods can be listed without it."""

from interlock.core.problem import MethodInfo

PPO_LAGRANGIAN = MethodInfo(
    name="ppo_lagrangian",
    title="Proximal policy optimisation with multipliers",
    summary="clipped actor-critic with exact masks, a multiplier per constraint (PID or optimistic) and a warm start",
    config="interlock.core.actor_critic.config:PPOConfig",
    train="interlock.core.actor_critic.ppo:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)

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

CPO = MethodInfo(
    name="cpo",
    title="Constrained policy optimisation",
    summary="trust-region steps that keep linearised costs within their limits, for any number of constraints",
    config="interlock.core.actor_critic.method_settings:CPOConfig",
    train="interlock.core.actor_critic.cpo:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)

FOCOPS = MethodInfo(
    name="focops",
    title="First-order constrained optimisation in policy space",
    summary="gradient steps towards the best policy near the old one, with capped multipliers",
    config="interlock.core.actor_critic.method_settings:FOCOPSConfig",
    train="interlock.core.actor_critic.focops:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)

CRPO = MethodInfo(
    name="crpo",
    title="Constraint-rectified policy optimisation",
    summary="trust-region steps on the reward, or on the most violated cost while there is one; no multipliers",
    config="interlock.core.actor_critic.method_settings:CRPOConfig",
    train="interlock.core.actor_critic.crpo:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)

RCPO = MethodInfo(
    name="rcpo",
    title="Reward-constrained policy optimisation",
    summary="clipped actor-critic on the penalised reward with one critic and slow multipliers; a baseline",
    config="interlock.core.actor_critic.method_settings:RCPOConfig",
    train="interlock.core.actor_critic.rcpo:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)

IPO = MethodInfo(
    name="ipo",
    title="Interior-point policy optimisation",
    summary="trust-region steps on reward and adaptive logarithmic barriers, with a way back from violations",
    config="interlock.core.actor_critic.method_settings:IPOConfig",
    train="interlock.core.actor_critic.ipo:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)

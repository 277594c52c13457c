"""Actor-critic methods. This file stays free of torch so that methods can be listed without it."""

from interlock.core.problem import MethodInfo

METHOD = MethodInfo(
    name="mask_ppo",
    title="Feasibility-mask actor-critic",
    summary="proximal policy optimisation with the exact feasibility mask, warm-started by imitating a baseline",
    config="interlock.core.actor_critic.config:MaskPPOConfig",
    train="interlock.core.actor_critic.ppo:train",
    load="interlock.core.network_policy:load_network_policy",
    extra="train",
)

"""How much to order each day: a small domain, a method and a solver from outside Interlock's own repository."""

from interlock.core.problem import DomainInfo, MethodInfo

DOMAIN = DomainInfo(
    name="demo_inventory",
    title="Daily ordering",
    summary="order goods once a day for random demand, at little cost and with few lost sales",
    schema="interlock_demo.scenario:InventoryScenario",
    problem="interlock_demo.problem:build",
    decision="interlock_demo.decision:build",
    configs="interlock_demo:configs",
    verbs={"demand": "interlock_demo.commands:demand"},
)

METHOD = MethodInfo(
    name="demo_levels",
    title="Order-up-to levels",
    summary="tries every order-up-to level on training days and keeps the best",
    config="interlock_demo.levels:LevelsConfig",
    train="interlock_demo.levels:train",
    load="interlock_demo.levels:load",
)

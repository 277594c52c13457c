"""Long-term hydrothermal dispatch: how much water each plant keeps, so that load is served at least expected cost."""

from interlock.core.problem import DomainInfo, Verb

DOMAIN = DomainInfo(
    name="hydro",
    title="Long-term hydrothermal dispatch",
    summary="keep or turbine the water of every reservoir, week by week, at least expected cost of fuel and deficit",
    schema="interlock.domains.hydro.scenario:HydroScenario",
    problem="interlock.domains.hydro.problem:build",
    decision="interlock.domains.hydro.decision:build",
    configs="interlock.configs:hydro",
    verbs={"sddp": Verb("cuts and a lower bound by stochastic dual dynamic programming, compared", "sddp")},
)

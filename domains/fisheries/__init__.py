"""Fisheries management: how much of each stock to catch, year after year, without losing a species."""

from interlock.core.problem import DomainInfo, Study

DOMAIN = DomainInfo(
    name="fisheries",
    title="Fisheries management",
    summary="set the yearly mortality of every harvested stock for a large catch that no species has to die for",
    schema="interlock.domains.fisheries.scenario:FisheriesScenario",
    problem="interlock.domains.fisheries.problem:build",
    decision="interlock.domains.fisheries.decision:build",
    configs="interlock.configs:fisheries",
    verbs={
        "tune": Study(
            "find the parameters of the rules anew, on training instances, as scenario files hold them",
            "interlock.domains.fisheries.tuning:play",
        ),
        "sustainability": Study(
            "what policies leave in the water, who gains and who loses, and whether it holds if the model is wrong",
            "interlock.domains.fisheries.sustainability:play",
        ),
        "published": Study(
            "published figures beside ours, and what the published protocol did to them",
            "interlock.domains.fisheries.published:play",
        ),
        "fit": "interlock.domains.fisheries.fit_command:fit_verb",
        "example": "interlock.domains.fisheries.fit_command:example_verb",
    },
)

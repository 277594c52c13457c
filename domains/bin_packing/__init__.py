"""Online 3D bin packing: where to set down the box in front, now and for good."""

from interlock.core.problem import DomainInfo, Study

DOMAIN = DomainInfo(
    name="bin_packing",
    title="Online 3D bin packing",
    summary="set boxes down one by one in an open bin, stably, wasting as little volume as possible",
    schema="interlock.domains.bin_packing.scenario:BinPackingScenario",
    problem="interlock.domains.bin_packing.problem:build",
    decision="interlock.domains.bin_packing.decision:build",
    configs="interlock.configs:bin_packing",
    verbs={
        "cell": Study(
            "simulate shifts of the robot cell: boxes per hour, infeed stops, bins used",
            "interlock.domains.bin_packing.simulation:play",
        )
    },
)

"""Online 3D bin packing as the core sees it: the rooms of this domain put together."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from interlock.core.decision import DecisionContract
from interlock.core.environment import Array, Split
from interlock.core.errors import UsageError
from interlock.core.evaluation.protocol import split_seed
from interlock.core.policy import Encoder, Policy
from interlock.core.problem import Bound, Constraint, Figure, Metric, Objective
from interlock.domains.bin_packing import baselines, bounds, decision, encoders, figures, optimiser, search
from interlock.domains.bin_packing.environment import BinPackingEnvironment, metrics, stream_seed, streams_of
from interlock.domains.bin_packing.scenario import BinPackingScenario
from interlock.domains.bin_packing.userdata import UserItems, read_items


class BinPackingProblem:
    """Implements ``interlock.core.problem.Problem``.

    Args:
        scenario: the numbers.
        data: the user's own sequences, if they are to be played instead of generated ones: each of them once when
            policies are compared, whatever number of instances the scenario names.

    Attributes:
        notes: what a reader of the evidence has to know about the data, one sentence each.
    """

    objective = Objective("utilisation", "%", "maximise", per_reward=10.0)

    def __init__(self, scenario: BinPackingScenario, data: UserItems | None = None):
        self.scenario = scenario if data is None else _over_all(scenario, len(data.lengths))
        self.data = data
        self.constraints = constraints(scenario)
        self.notes = () if data is None else data.notes()
        if data is not None and len(data.lengths) == 1:
            self.notes = (
                *self.notes,
                "one sequence only, played twice: the intervals say nothing about other sequences",
            )

    def environment(self, num_envs: int, *, seed: int, split: Split) -> BinPackingEnvironment:
        """Bins fed by the scenario's stream, or by the user's sequences in every split."""
        return BinPackingEnvironment(
            self.scenario, num_envs, seed=seed, split=split, constraints=self.constraints, data=self.data
        )

    def baselines(self) -> Mapping[str, Callable[[int], Policy]]:
        """Placement rules, the best of them first; searches where boxes to come are known."""
        return {**baselines.baselines(self.scenario), **search.baselines(self.scenario)}

    def bounds(self) -> Mapping[str, Bound]:
        """The exact online and offline optima where they are within reach, and perfect information."""

        def instances(split: Split, count: int) -> tuple[Array, Array]:
            if self.data is not None:
                wrapped = np.arange(count) % len(self.data.lengths)
                return self.data.items[wrapped], self.data.lengths[wrapped]
            seed = stream_seed(split_seed(self, split), split)
            return bounds.generated_instances(self.scenario, seed, count, streams_of(self.scenario, split))

        found = bounds.bounds(self.scenario, instances, generated=self.data is None)
        offline = optimiser.offline_bound(self.scenario, instances)
        return found if offline is None else {**found, offline.name: offline}

    def metrics(self) -> tuple[Metric, ...]:
        """Boxes packed, why episodes ended, bins opened, utilisation on each test stream."""
        return metrics(self.scenario, generated=self.data is None)

    def encoders(self) -> Mapping[str, Encoder]:
        """``placements``, and ``planes`` for one bin."""
        return encoders.encoders(self.scenario)

    def decision(self) -> DecisionContract:
        """Request, checks and answer of an exported policy."""
        return decision.build(self.scenario)

    def figures(self) -> Mapping[str, Figure]:
        """The pictures of the report."""
        return figures.figures(self)


def _over_all(scenario: BinPackingScenario, sequences: int) -> BinPackingScenario:
    """The scenario with as many held-out instances as there are sequences (a single one is played twice)."""
    count = max(2, sequences)
    evaluation = {**scenario.evaluation.model_dump(), "test_instances": count, "validation_instances": count}
    return scenario.with_changes(evaluation=evaluation)


def constraints(scenario: BinPackingScenario) -> tuple[Constraint, ...]:
    """The limits of a scenario, in the order of the columns of the cost."""
    found = [
        Constraint(
            "illegal_placements", "hard", 0.0, "placements", describe="placements that some rule of the mask forbids"
        )
    ]
    if scenario.max_overhang is not None:
        describe = "unsupported share of the footprint"
        found.append(Constraint("overhang", "mean", scenario.max_overhang, "share of footprint", describe=describe))
    if scenario.max_cog_offset is not None:
        describe = f"centre of gravity of a bin more than {scenario.cog_radius:g} of its shorter side off its axis"
        found.append(Constraint("cog_offset", "chance", scenario.max_cog_offset, "bins", describe=describe))
    if scenario.max_height_spread is not None:
        describe = "highest less mean of the height map of the bin that took the box, over its height"
        found.append(
            Constraint("height_spread", "mean", scenario.max_height_spread, "share of height", describe=describe)
        )
    return tuple(found)


def build(scenario: BinPackingScenario, data: Path | None = None) -> BinPackingProblem:
    """The problem of a scenario; with ``data``, of the sequences in that file.

    Boxes that are left out because ``data.on_oversize`` is ``reject`` are written to ``rejected.csv`` in the current
    folder, unless a file of that name holds something else.

    Raises:
        BadInput: the file has problems; all of them are listed.
        UsageError: a bin would not bear a generated box, there is no box in the file, or a ``rejected.csv`` that says
            something else would be lost.
    """
    if data is None:
        limit = scenario.bin.max_weight
        if limit is not None and limit < scenario.heaviest():
            text = f"bin.max_weight {limit:g} kg is less than a generated box may weigh, {scenario.heaviest():g} kg"
            raise UsageError(f"{scenario.name}: {text}: set items.density, in kg per cell")
        return BinPackingProblem(scenario)
    rejected = Path("rejected.csv")
    if scenario.data.on_oversize == "reject" and rejected.exists():
        left_out = read_items(data, scenario).rejected
        if len(left_out) and rejected.read_bytes() != left_out.to_csv(index=False).encode():
            raise UsageError(f"{rejected} is there already and lists other rows than {data} has rejected: move it away")
    return BinPackingProblem(scenario, read_items(data, scenario, rejected=rejected))

"""The vocabulary of a problem: what a domain builds from a scenario and hands to the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from interlock.core.decision import DecisionContract
    from interlock.core.environment import BatchEnvironment, Split
    from interlock.core.policy import Encoder, Policy
    from interlock.core.scenario import Scenario

ConstraintKind = Literal["cumulative", "mean", "chance", "cvar", "hard"]
BoundKind = Literal["exact", "relaxation", "perfect_information", "statistical"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit on a cost that the environment emits in its own column of ``Step.cost``.

    Attributes:
        name: key in tables and JSON.
        kind: ``cumulative``: expected episode sum; ``mean``: expected cost per step, the expected episode sum over the
            expected length; ``chance``: probability that an episode has any positive cost; ``cvar``: mean of the worst
            ``1 - level`` share of episode sums; ``hard``: the episode sum may never exceed the limit.
        limit: largest allowed value, in ``unit`` (a probability for ``chance``).
        unit: of the cost.
        level: confidence level, for ``cvar`` only.
        describe: one sentence for reports.
    """

    name: str
    kind: ConstraintKind
    limit: float
    unit: str
    level: float | None = None
    describe: str = ""

    def __post_init__(self) -> None:
        """Refuse a level where none belongs and a missing one where it does.

        Raises:
            ValueError: the level does not fit the kind.
        """
        if (self.kind == "cvar") != (self.level is not None):
            raise ValueError(f"constraint {self.name}: a level goes with kind 'cvar', and only with it")
        if self.level is not None and not 0.0 < self.level < 1.0:
            raise ValueError(f"constraint {self.name}: level {self.level} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of an observation, a request or an answer.

    Attributes:
        name: dotted path of the entry.
        unit: its unit, ``"1"`` for a pure number, ``""`` for text.
        shape: of the array; ``()`` for a scalar, ``-1`` for an axis of any length.
        low: smallest allowed value, if it has one.
        high: largest allowed value, if it has one.
        describe: one sentence.
        required: whether a request must hold it.
    """

    name: str
    unit: str
    shape: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    describe: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure per episode beside the objective, found in ``Step.info`` under its name when a row finishes."""

    name: str
    unit: str
    describe: str = ""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is optimised, in the unit users think in.

    Attributes:
        name: key in tables.
        unit: of the reported value.
        sense: whether larger or smaller reported values are better.
        per_reward: reported value of an episode = ``per_reward`` x its undiscounted sum of rewards (negative where a
            cost is minimised: rewards are always maximised).
    """

    name: str
    unit: str
    sense: Literal["maximise", "minimise"]
    per_reward: float = 1.0


@dataclass(frozen=True, slots=True)
class Bound:
    """A value that no policy can beat.

    Attributes:
        name: key in tables.
        kind: how it was obtained.
        compute: ``(split, count) -> array``: ``(count,)`` values, one per instance, or shape ``()`` where the bound
            holds for the expectation over instances only. In the unit of the objective.
        describe: one sentence.
        feasible_only: whether it holds only for policies that keep the constraints.
    """

    name: str
    kind: BoundKind
    compute: Callable[[Split, int], NDArray[Any]]
    describe: str = ""
    feasible_only: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture for the operator.

    Attributes:
        title: heading in the report.
        caption: what is seen, in one or two sentences.
        draw: ``(policies, evidence) -> plotly figure``; ``policies`` maps names to policies that can act, ``evidence``
            is an ``interlock.core.evaluation.record.Evidence``.
    """

    title: str
    caption: str
    draw: Callable[[Mapping[str, Policy], Any], Any]


class Problem(Protocol):
    """What a domain builds from a scenario. Everything the core, the evidence and the report need goes through it.

    A problem over a user's data may also have an attribute ``notes``: sentences that the evidence repeats as warnings.
    """

    @property
    def scenario(self) -> Scenario:
        """The numbers this problem was built from."""
        ...

    @property
    def objective(self) -> Objective:
        """What is optimised."""
        ...

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The limits, in the order of the columns of ``Step.cost``."""
        ...

    def environment(self, num_envs: int, *, seed: int, split: Split) -> BatchEnvironment:
        """A batched simulator over the instances of a split; the same seed gives the same instances."""
        ...

    def baselines(self) -> Mapping[str, Callable[[int], Policy]]:
        """What practitioners use, by name; the first one is the reference of the normalised score."""
        ...

    def bounds(self) -> Mapping[str, Bound]:
        """Values nobody can beat, by name; the first one is the reference of the normalised score."""
        ...

    def metrics(self) -> tuple[Metric, ...]:
        """Further figures per episode."""
        ...

    def encoders(self) -> Mapping[str, Encoder]:
        """Maps from the raw observation to network inputs, by name; torch-free, shared with the bundle."""
        ...

    def decision(self) -> DecisionContract:
        """What an exported policy accepts, checks and answers."""
        ...

    def figures(self) -> Mapping[str, Figure]:
        """The pictures of the report, in order."""
        ...


class ExhibitingProblem(Problem, Protocol):
    """A problem whose bundles hold copies of the policy for people to read, beside what decides."""

    def exhibits(self, policy: Policy, provenance: Mapping[str, Any]) -> Mapping[str, bytes]:
        """File name -> content; the same policy gives the same content.

        Args:
            policy: trained.
            provenance: where it comes from and how it did, as the manifest of the bundle tells it: ``run`` (method,
                seed, settings) and ``evidence``.
        """
        ...


def shows_policies(problem: Problem) -> TypeGuard[ExhibitingProblem]:
    """Whether a problem is an ``ExhibitingProblem``."""
    return hasattr(problem, "exhibits")


@dataclass(frozen=True, slots=True)
class Verb:
    """A further verb of a domain that makes a run: it trains with a method of its own, whatever the scenario names.

    The run is one like any other: stored, resumed, compared, shown with ``--json``. Where the scenario names the same
    method, its settings apply.

    Attributes:
        summary: one line.
        method: preset of the method.
        stages: what the run does, in this order: ``train``, then any of ``compare``, ``report`` and ``export``.
    """

    summary: str
    method: str
    stages: tuple[str, ...] = ("train", "compare")

    def __post_init__(self) -> None:
        """See that the stages can follow one another.

        Raises:
            ValueError: they cannot.
        """
        order = ("train", "compare", "report", "export")
        if self.stages[:1] != ("train",) or self.stages != tuple(name for name in order if name in self.stages):
            raise ValueError(f"stages {self.stages}: expected train, then any of {', '.join(order[1:])} in this order")
        if "report" in self.stages and "compare" not in self.stages:
            raise ValueError(f"stages {self.stages}: a report is about a comparison")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a study found.

    Attributes:
        values: the object of ``--json``; a figure in it is a number or ``{"mean", "low", "high", "unit"}``.
        columns: headings of the table, the unit in brackets.
        rows: of the table, texts, as many as there are columns.
        figures: name -> ``(title, caption, plotly figure)``.
        notes: sentences that a reader has to know.
    """

    values: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Mapping[str, tuple[str, str, Any]]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """A further verb of a domain that plays policies in a way of its own and reports; it trains nothing.

    Attributes:
        summary: one line.
        play: ``"module:function"``; ``(problem, policies, seed, progress) -> Findings``: ``policies`` maps names to
            policies that can act, ``progress`` takes ``(done, total)``.
    """

    summary: str
    play: str


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """What is known of a domain without importing its heavy modules: the object behind an ``interlock.domains`` entry.

    Attributes:
        name: as typed on the command line (underscores).
        title: in words.
        summary: one line.
        schema: ``"module:Class"`` of the scenario schema (a subclass of ``interlock.core.scenario.Scenario``).
        problem: ``"module:function"``; ``(scenario, data=None) -> Problem``, ``data`` a path to the user's instances.
        decision: ``"module:function"``; ``(scenario) -> DecisionContract``, torch-free.
        configs: ``"package:folder"`` that holds the scenario files.
        verbs: further verbs: name -> a ``Verb`` that makes a run, a ``Study`` that plays policies, or
            ``"module:function"`` of a typer command.
    """

    name: str
    title: str
    summary: str
    schema: str
    problem: str
    decision: str
    configs: str
    verbs: Mapping[str, Verb | Study | str]


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What is known of a method without importing it; the object behind an ``interlock.methods`` entry point.

    Attributes:
        name: as in scenario files.
        title: in words.
        summary: one line.
        config: ``"module:Class"``, a pydantic model with the method's settings and defaults.
        train: ``"module:function"``; ``(problem, config, run) -> Policy``.
        load: ``"module:function"``; ``(folder, problem) -> Policy``, reading what the policy's ``save(folder)`` wrote.
        extra: optional dependency group that training needs (``""`` for none).
        bounds: names of the bounds that its policies may carry, in an attribute ``bounds`` like that of a problem.
    """

    name: str
    title: str
    summary: str
    config: str
    train: str
    load: str
    extra: str = ""
    bounds: tuple[str, ...] = ()

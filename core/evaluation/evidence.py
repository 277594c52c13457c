"""How evidence is gathered: all policies on the same instances, then intervals, constraints, bounds and differences."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from interlock.core.environment import Array, Split
from interlock.core.errors import BrokenEnvironment, UsageError
from interlock.core.evaluation.protocol import Outcomes, play, split_seed
from interlock.core.evaluation.record import (
    BoundEvidence,
    ConstraintEvidence,
    Evidence,
    MetricEvidence,
    ObjectiveEvidence,
    PolicyEvidence,
    describe_difference,
)
from interlock.core.evaluation.statistics import (
    Estimate,
    clopper_pearson,
    cvar,
    iqm,
    mean,
    median,
    normalised_score,
    percentile_interval,
    resample_rows,
    resampled,
    worst_decile,
)
from interlock.core.evaluation.verdicts import ranks, relative_excess, share_satisfied, within
from interlock.core.policy import Policy
from interlock.core.problem import Bound, Constraint, Objective, Problem

_SINGLE_DECISIONS = 40


def evaluate_policies(
    problem: Problem,
    policies: Mapping[str, Policy],
    *,
    bounds: bool = True,
    num_envs: int | None = None,
    instances: int | None = None,
    split: Split = "test",
    seed: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evidence:
    """Compare policies on the same held-out instances and random numbers.

    Args:
        problem: what they are compared on. A policy whose name is not among ``problem.baselines()`` counts as learned.
        policies: by name; each is seeded here with the seed of the instances.
        bounds: whether to compute the problem's bounds too, and those that policies carry (an attribute ``bounds``).
        num_envs: rows of the batch; default: the scenario's.
        instances: how many; default: the scenario's number for the split.
        split: which instances.
        seed: of the instances; default: the scenario's for the split. With another seed, bounds per instance do not
            apply and are left out.
        progress: called with (policy or bound, instances finished, instances in all).

    Raises:
        UsageError: no policies.
        BrokenEnvironment: the simulator returned numbers that are not finite, or lacks a metric it should report.
    """
    if not policies:
        raise UsageError("no policies to evaluate")
    own_seed = split_seed(problem, split)
    used_seed = own_seed if seed is None else seed
    outcomes, single_ms = {}, {}
    for name, policy in policies.items():
        policy.seed(used_seed)
        tell = partial(progress, name) if progress is not None else None
        outcomes[name] = play(
            problem, policy, split=split, count=instances, seed=used_seed, num_envs=num_envs, progress=tell
        )
        single_ms[name] = _single_ms(problem, policy, split, used_seed)
    count = len(next(iter(outcomes.values())).objective)
    values, notes = {}, []
    declared = _declared(problem, policies) if bounds else {}
    for name, bound in declared.items():
        if progress is not None:
            progress(name, 0, count)
        computed = np.asarray(bound.compute(split, count), dtype=float)
        if computed.ndim == 1 and used_seed != own_seed:
            notes.append(f"bound {name} is left out: it belongs to the instances of seed {own_seed}, not {used_seed}")
        else:
            values[name] = computed
        if progress is not None:
            progress(name, count, count)
    evidence = summarise(problem, outcomes, values, single_ms, split=split, seed=used_seed, declared=declared)
    about_data: tuple[str, ...] = getattr(problem, "notes", ())
    return replace(evidence, warnings=(*evidence.warnings, *notes, *about_data))


def summarise(
    problem: Problem,
    outcomes: Mapping[str, Outcomes],
    bound_values: Mapping[str, Array],
    single_ms: Mapping[str, float],
    *,
    split: Split,
    seed: int,
    declared: Mapping[str, Bound] | None = None,
) -> Evidence:
    """Turn results per instance into evidence. Every interval uses the same resampled instances.

    Args:
        problem: supplies names, units, limits and references.
        outcomes: policy -> results per instance, all over the same instances.
        bound_values: bound -> ``(instances,)`` or shape ``()``, in the unit of the objective.
        single_ms: policy -> milliseconds of a single decision.
        split: which instances.
        seed: of the instances.
        declared: what the bounds are; default: those of the problem.

    Raises:
        BrokenEnvironment: a metric is missing or not finite.
    """
    scenario, objective = problem.scenario, problem.objective
    declared = problem.bounds() if declared is None else declared
    count = len(next(iter(outcomes.values())).objective)
    rows = resample_rows(count)
    baselines = [name for name in problem.baselines() if name in outcomes]
    entries = {}
    for name, outcome in outcomes.items():
        constraints = measure_constraints(problem.constraints, outcome, rows)
        entries[name] = PolicyEvidence(
            learned=name not in baselines,
            rank=0,
            feasible=all(entry.satisfied for entry in constraints.values()),
            objective=_objective(outcome.objective, objective, rows),
            constraints=constraints,
            metrics=_metrics(problem, name, outcome, rows),
            decision_ms=1000.0 * float(outcome.seconds.sum() / outcome.steps.sum()),
            single_ms=single_ms[name],
        )
    sign = -1.0 if objective.sense == "maximise" else 1.0
    means = np.array([entry.objective.mean for entry in entries.values()])
    place = dict(
        zip(entries, ranks(means, [entry.feasible for entry in entries.values()], objective.sense), strict=True)
    )
    order = sorted(entries, key=place.__getitem__)
    first_baseline = next(iter(problem.baselines()), None)
    reference = _named(scenario.evaluation.reference_heuristic, first_baseline, outcomes)
    ceiling = _named(scenario.evaluation.reference_bound, next(iter(bound_values), None), bound_values)
    best = next((name for name in order if name in baselines), None)
    achieved = {name: outcome.objective for name, outcome in outcomes.items()}
    policies = {
        name: replace(
            entries[name],
            rank=int(place[name]),
            score=_score(name, reference, ceiling, achieved, bound_values, rows),
            gap=_gap(achieved[name], bound_values[ceiling], sign, rows) if ceiling is not None else None,
            vs_reference=_difference(name, reference, achieved, rows),
            vs_best=_difference(name, best, achieved, rows),
        )
        for name in order
    }
    summary = {name: _bound(declared[name], values, rows) for name, values in bound_values.items()}
    return Evidence(
        domain=scenario.domain,
        scenario=scenario.name,
        scenario_hash=scenario.hash(),
        split=split,
        seed=seed,
        instances=count,
        objective=objective,
        policies=policies,
        bounds=summary,
        reference_heuristic=reference,
        reference_bound=ceiling,
        best_baseline=best,
        warnings=(
            *_beaten_bounds(policies, achieved, declared, bound_values, sign, rows),
            *_shortfalls(policies, best, objective),
        ),
        outcomes=dict(outcomes),
        bound_values=dict(bound_values),
    )


def _declared(problem: Problem, policies: Mapping[str, Policy]) -> dict[str, Bound]:
    """The bounds of the problem, then those that came with policies; a second one of a name tells whose it is."""
    found = dict(problem.bounds())
    for policy_name, policy in policies.items():
        carried: Mapping[str, Bound] = getattr(policy, "bounds", {})
        for name, bound in carried.items():
            found[name if name not in found else f"{name} ({policy_name})"] = bound
    return found


def _named(chosen: str | None, default: str | None, present: Mapping[str, object]) -> str | None:
    """The chosen name, or the default; ``None`` if that one is not there."""
    name = default if chosen is None else chosen
    return name if name in present else None


def _mean(values: Array, rows: Array) -> Estimate:
    """Mean and interval of ``(n,)`` values."""
    return Estimate(float(np.mean(values)), *percentile_interval(resampled(values, mean, rows)))


def _objective(values: Array, objective: Objective, rows: Array) -> ObjectiveEvidence:
    average = _mean(values, rows)
    iqm_low, iqm_high = percentile_interval(resampled(values, iqm, rows))
    return ObjectiveEvidence(
        mean=average.mean,
        low=average.low,
        high=average.high,
        iqm=float(iqm(values)),
        iqm_low=iqm_low,
        iqm_high=iqm_high,
        median=float(median(values)),
        worst_decile=float(worst_decile(values, objective.sense)),
        quantile_5=float(np.quantile(values, 0.05 if objective.sense == "maximise" else 0.95)),
    )


def measure_constraints(
    constraints: Sequence[Constraint], outcome: Outcomes, rows: Array
) -> dict[str, ConstraintEvidence]:
    """Compare what a policy achieved with every constraint; ``rows`` are resampled instances for the intervals."""
    return {
        constraint.name: _constraint(
            constraint, outcome.costs[:, column], outcome.violated[:, column], outcome.steps, rows
        )
        for column, constraint in enumerate(constraints)
    }


def _constraint(constraint: Constraint, sums: Array, violated: Array, steps: Array, rows: Array) -> ConstraintEvidence:
    """Compare the costs of the episodes with the limit, in the way its kind asks for."""
    values, own_limit = sums, constraint.limit
    if constraint.kind == "mean":
        values = sums / steps
    elif constraint.kind == "chance":
        values, own_limit = violated.astype(float), 0.0
    if constraint.kind == "chance":
        estimate = Estimate(float(values.mean()), *clopper_pearson(int(values.sum()), len(values)))
    elif constraint.kind == "mean":
        draws = resampled(sums, mean, rows) / resampled(steps.astype(float), mean, rows)
        estimate = Estimate(float(sums.sum() / steps.sum()), *percentile_interval(draws))
    elif constraint.level is not None:
        tail = partial(cvar, level=constraint.level)
        estimate = Estimate(float(tail(values)), *percentile_interval(resampled(values, tail, rows)))
    else:
        estimate = _mean(values, rows)
    hard = constraint.kind == "hard"
    satisfied = share_satisfied(values, own_limit) == 1.0 if hard else within(estimate, constraint.limit)
    excess = relative_excess(values, own_limit) if own_limit else None
    return ConstraintEvidence(
        mean=estimate.mean,
        low=estimate.low,
        high=estimate.high,
        limit=constraint.limit,
        unit=constraint.unit,
        kind=constraint.kind,
        satisfied=satisfied,
        worst=float(values.max()),
        share_within=share_satisfied(values, own_limit),
        excess_mean=None if excess is None else excess.mean,
        excess_95=None if excess is None else excess.quantile_95,
    )


def _metrics(problem: Problem, policy: str, outcome: Outcomes, rows: Array) -> dict[str, MetricEvidence]:
    found = {}
    for metric in problem.metrics():
        values = outcome.metrics.get(metric.name)
        if values is None:
            raise BrokenEnvironment(f"metric {metric.name} is missing from Step.info")
        if not np.isfinite(values).all():
            instance = int(np.flatnonzero(~np.isfinite(values))[0])
            raise BrokenEnvironment(f"metric {metric.name} of policy {policy} is not finite on instance {instance}")
        average = _mean(values, rows)
        found[metric.name] = MetricEvidence(average.mean, average.low, average.high, metric.unit)
    return found


def _bound(bound: Bound, values: Array, rows: Array) -> BoundEvidence:
    average = _mean(values, rows) if values.ndim else Estimate(float(values), float(values), float(values))
    return BoundEvidence(average.mean, bound.kind, average.low, average.high, bound.describe)


def _difference(name: str, other: str | None, achieved: Mapping[str, Array], rows: Array) -> Estimate | None:
    if other is None or other == name:
        return None
    return _mean(achieved[name] - achieved[other], rows)


def _gap(values: Array, bound: Array, sign: float, rows: Array) -> Estimate:
    return _mean(sign * (values - bound), rows)


def _score(
    name: str,
    reference: str | None,
    ceiling: str | None,
    achieved: Mapping[str, Array],
    bound_values: Mapping[str, Array],
    rows: Array,
) -> Estimate | None:
    """(policy - heuristic) / (bound - heuristic) of the means, resampled together."""
    if reference is None or ceiling is None:
        return None
    return normalised_score(achieved[name], achieved[reference], bound_values[ceiling], rows)


def _single_ms(problem: Problem, policy: Policy, split: Split, seed: int) -> float:
    """Median milliseconds of a decision for one request alone, after a few to warm up."""
    environment = problem.environment(1, seed=seed, split=split)
    observation = environment.reset()
    policy.reset()
    seconds = []
    for _ in range(_SINGLE_DECISIONS):
        started = time.perf_counter()
        action = policy.act(observation, deterministic=True)
        seconds.append(time.perf_counter() - started)
        step = environment.step(action)
        observation = step.observation
        if step.done[0]:
            policy.reset(np.zeros(1, np.int64))
    policy.reset()
    return 1000.0 * float(np.median(seconds[5:]))


def _beaten_bounds(
    policies: Mapping[str, PolicyEvidence],
    achieved: Mapping[str, Array],
    bounds: Mapping[str, Bound],
    bound_values: Mapping[str, Array],
    sign: float,
    rows: Array,
) -> list[str]:
    """A bound that is beaten is no bound: the loudest thing that evidence can say."""
    loud = []
    for bound, values in bound_values.items():
        room_needed = 1e-6 * np.maximum(1.0, np.abs(values))
        for name, policy in policies.items():
            if bounds[bound].feasible_only and not policy.feasible:
                continue
            excess = -sign * (achieved[name] - values) - room_needed
            if values.ndim and bounds[bound].kind != "statistical":
                beaten = int(np.sum(excess > 0))
                if beaten:
                    loud.append(
                        f"PROBLEM: {name} is better than bound {bound} on {beaten} of {len(excess)} instances, "
                        f"by up to {excess.max():.4g}: the bound or the simulator is wrong"
                    )
            elif _mean(excess, rows).low > 0:
                loud.append(
                    f"PROBLEM: {name} is better than bound {bound} by {excess.mean():.4g}, beyond its 95 % interval: "
                    "the bound or the simulator is wrong"
                )
    return loud


def _shortfalls(policies: Mapping[str, PolicyEvidence], best: str | None, objective: Objective) -> list[str]:
    """Learned policies that break a constraint or do not beat the best baseline, in plain words."""
    plain = []
    for name, policy in policies.items():
        if not policy.learned:
            continue
        for constraint, entry in policy.constraints.items():
            if not entry.satisfied:
                plain.append(
                    f"{name} is not feasible: {constraint} is {entry.mean:.4g} {entry.unit} "
                    f"(95 % interval {entry.low:.4g} to {entry.high:.4g}), the limit is {entry.limit:.4g}"
                )
        difference = policy.vs_best
        if best is None or difference is None:
            continue
        clearly_better = difference.low > 0 if objective.sense == "maximise" else difference.high < 0
        if not clearly_better:
            plain.append(describe_difference(name, difference, best, objective.unit, objective.sense))
    return plain

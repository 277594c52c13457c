"""The smoke kit that every domain passes: ``check_problem(problem)`` says what is wrong with a problem, all at once.

Each check is a function ``(problem, instances)`` that raises ``AssertionError``; ``CHECKS`` lists them by name.
"""

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from interlock.core.decision import decides_vectors
from interlock.core.environment import Array, BatchEnvironment, Observation, Step
from interlock.core.errors import MissingExtra
from interlock.core.evaluation.evidence import measure_constraints
from interlock.core.evaluation.protocol import Outcomes, play
from interlock.core.evaluation.statistics import bootstrap, resample_rows
from interlock.core.problem import Problem

MASK = "action_mask"
_ROWS = 5
_LONGEST = 100_000


def check_problem(problem: Problem, *, instances: int = 20) -> None:
    """Run every check on a few instances.

    Args:
        problem: of any domain.
        instances: how many to play in each check.

    Raises:
        AssertionError: naming every check that failed, with the reason.
        MissingExtra: jsonschema is not installed.
    """
    failures = []
    for name, check in CHECKS.items():
        try:
            check(problem, instances)
        except MissingExtra:
            raise
        except AssertionError as error:
            failures.append(f"{name}: {error}")
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    if failures:
        listed = "\n".join(f"  - {failure}" for failure in failures)
        raise AssertionError(f"{problem.scenario.name}: {len(failures)} of {len(CHECKS)} checks failed\n{listed}")


@dataclass(frozen=True, slots=True)
class _Moment:
    """One step of a walk through a batched environment: what was seen and done, and what came of it."""

    instance: Array
    observation: Observation
    action: Array
    step: Step


def _environment(problem: Problem, rows: int, seed: int = 1) -> BatchEnvironment:
    return problem.environment(rows, seed=seed, split="train")


def _row(observation: Observation, row: int) -> dict[str, Array]:
    return {name: values[row] for name, values in observation.items()}


def _differences(first: Observation, second: Observation) -> list[str]:
    """Names of the arrays that differ."""
    names = dict.fromkeys((*first, *second))
    return [n for n in names if n not in first or n not in second or not np.array_equal(first[n], second[n])]


def _choose(
    environment: BatchEnvironment, view: Mapping[str, Array], key: list[int], *, ruled_out: bool = False
) -> Any:
    """A random action for one row, keyed by ``key`` alone; with ``ruled_out``, one that the mask forbids."""
    rng = np.random.default_rng(key)
    agents = getattr(environment, "agents", None)
    masks: Any = view.get(MASK)
    if masks is not None:
        picks = [int(rng.choice(np.flatnonzero(mask != ruled_out))) for mask in np.atleast_2d(masks)]
    else:
        space = deepcopy(environment.action_space)
        space.seed(int(rng.integers(2**31)))
        picks = [space.sample() for _ in agents or (None,)]
    return np.asarray(picks if agents is not None else picks[0])


def _walk(environment: BatchEnvironment, count: int) -> Iterator[_Moment]:
    """Random allowed actions, keyed by instance and step, until the first ``count`` instances have ended."""
    observation = environment.reset()
    rows = environment.num_envs
    instance, age, following = np.arange(rows), np.zeros(rows, int), rows
    left = set(range(count))
    for _ in range(_LONGEST):
        if MASK in observation:
            empty = np.flatnonzero(~observation[MASK].any(axis=-1).reshape(rows, -1).all(axis=1))
            assert not empty.size, f"instance {instance[empty[0]]}, step {age[empty[0]]}: the mask allows no action"
        keys = [[7, int(instance[row]), int(age[row])] for row in range(rows)]
        action = np.stack([_choose(environment, _row(observation, row), keys[row]) for row in range(rows)])
        step = environment.step(action)
        yield _Moment(instance.copy(), observation, action, step)
        observation = step.observation
        age += 1
        for row in np.flatnonzero(step.done):
            left.discard(int(instance[row]))
            instance[row], age[row], following = following, 0, following + 1
        if not left:
            return
    raise AssertionError(f"instance {min(left)} has not ended after {_LONGEST} steps of the batch")


def _episodes(environment: BatchEnvironment, count: int) -> dict[int, list[dict[str, Array]]]:
    """Instance -> one dictionary of values per step, for the first ``count`` instances."""
    found: dict[int, list[dict[str, Array]]] = {index: [] for index in range(count)}
    for moment in _walk(environment, count):
        step = moment.step
        for row, index in enumerate(moment.instance):
            if index < count:
                values = {f"observation {name}": value for name, value in _row(moment.observation, row).items()}
                values |= {"action": moment.action[row], "reward": step.reward[row], "cost": step.cost[row]}
                values |= {"terminated": step.terminated[row], "truncated": step.truncated[row]}
                values["info instance"] = step.info["instance"][row]
                found[int(index)].append(deepcopy(values))
    return found


def _same_episodes(first: Mapping[int, Any], second: Mapping[int, Any], what: str) -> None:
    for index, steps in first.items():
        for position, (left, right) in enumerate(zip(steps, second[index], strict=False)):
            names = _differences(left, right)
            assert not names, f"{what}: instance {index}, step {position}: {', '.join(names)} differ"
        assert len(steps) == len(second[index]), (
            f"{what}: instance {index}: {len(steps)} and {len(second[index])} steps"
        )


def check_spaces(problem: Problem, instances: int) -> None:
    """Every view, last ones included, lies in the observation space, entry by entry, with its shape and dtype."""
    environment = _environment(problem, _ROWS)
    agents = getattr(environment, "agents", None)
    lead = () if agents is None else (len(agents),)
    declared = environment.observation_space.spaces
    for moment in _walk(environment, instances):
        views = [moment.observation]
        if moment.step.final_observation is not None:
            views.append({name: values[moment.step.done] for name, values in moment.step.final_observation.items()})
        for view in views:
            names = set(view) ^ set(declared)
            assert not names, f"only in the observation or only in its space: {', '.join(sorted(names))}"
            for name, values in view.items():
                _check_entry(name, values, declared[name], lead)


def _check_entry(name: str, values: Array, space: Any, lead: tuple[int, ...]) -> None:
    shape = (*lead, *space.shape)
    assert values.shape[1:] == shape, (
        f"observation {name} has shape {values.shape[1:]} per row, its space asks for {shape}"
    )
    assert values.dtype == space.dtype, f"observation {name} is {values.dtype}, its space {space.dtype}"
    for value in values.reshape(-1, *space.shape):
        assert space.contains(value), f"observation {name} is outside its space {space}: {value}"


def check_batch_rows(problem: Problem, instances: int) -> None:
    """Instance k is the same in a batch of one and in a row of a larger batch, number for number."""
    one = _episodes(_environment(problem, 1), instances)
    many = _episodes(_environment(problem, _ROWS), instances)
    for index, steps in many.items():
        told = {int(values["info instance"]) for values in steps}
        assert told == {index}, f"info instance says {sorted(told)} where instance {index} was due"
    _same_episodes(one, many, f"a batch of 1 and one of {_ROWS}")


def check_seeds(problem: Problem, instances: int) -> None:
    """A seed fixes everything; another seed or another split gives other instances."""
    first = _episodes(_environment(problem, _ROWS), instances)
    _same_episodes(first, _episodes(_environment(problem, _ROWS), instances), "the same seed twice")
    reseeded = _environment(problem, _ROWS, seed=2)
    other = _episodes(reseeded, instances)
    reseeded.reset(seed=1)
    _same_episodes(first, _episodes(reseeded, instances), "reset(seed=1) and an environment built with seed 1")
    held_out = _episodes(problem.environment(_ROWS, seed=1, split="test"), instances)
    for what, episodes in (("seed 2", other), ("split test", held_out)):
        same = all(
            len(steps) == len(episodes[index]) and not any(map(_differences, steps, episodes[index]))
            for index, steps in first.items()
        )
        assert not same, f"{what} gives the same episodes as seed 1 of split train"


def check_restore(problem: Problem, instances: int) -> None:
    """``state`` holds arrays of its own; ``restore`` continues exactly, in a fresh environment too."""
    for taken in (1, 4, 7, 15):
        _check_restore_after(problem, instances, taken)


def _check_restore_after(problem: Problem, instances: int, taken: int) -> None:
    environment = _environment(problem, _ROWS)
    walk = _walk(environment, instances + 10 * _ROWS)
    *_, moment = islice(walk, taken)
    view, state = moment.step.observation, environment.state()
    foreign = [name for name, value in state.items() if not isinstance(value, np.ndarray)]
    assert not foreign, f"state entries that are no arrays: {', '.join(foreign)}"
    kept = deepcopy(state)
    rest = list(islice(walk, 40))
    changed = _differences(kept, state)
    assert not changed, f"state shares memory with the environment: {', '.join(changed)} changed by going on"
    fresh = _environment(problem, _ROWS, seed=2)
    names = _differences(view, fresh.restore(kept))
    assert not names, f"the view after restore differs in {', '.join(names)}"
    for position, moment in enumerate(rest):
        step = fresh.step(moment.action)
        names = _differences(moment.step.observation, step.observation)
        for name in ("reward", "cost", "terminated", "truncated"):
            if not np.array_equal(getattr(moment.step, name), getattr(step, name)):
                names.append(name)
        assert not names, f"step {position} after restore: {', '.join(names)} differ"


def _flagged(step: Step) -> Array:
    """Rows in which an illegal action was reported."""
    flags = [np.asarray(values, bool) for name, values in step.info.items() if "illegal" in name]
    found: Array = np.any(flags, axis=0) if flags else np.zeros(len(step.reward), bool)
    return found


def check_masks(problem: Problem, instances: int) -> None:
    """Allowed actions are carried out; one that is ruled out ends its episode and is flagged, in its row alone."""
    environment = _environment(problem, _ROWS)
    if MASK not in environment.observation_space.spaces:
        return
    actions = getattr(environment.action_space, "n", None)
    masked = environment.observation_space[MASK]
    assert actions == masked.shape[-1], f"the mask has {masked.shape[-1]} entries for {actions} actions"
    assert masked.dtype == np.bool_, f"the mask is {masked.dtype}, not bool"
    for moment in _walk(environment, instances):
        refused = np.flatnonzero(_flagged(moment.step))
        assert not refused.size, f"instance {moment.instance[refused[0]]}: an action that the mask allows was flagged"
    observation = environment.reset()
    for trial in range(10 * _ROWS):
        target = trial % _ROWS
        possible = not observation[MASK][target].all()
        action = np.stack(
            [
                _choose(environment, _row(observation, row), [8, trial, row], ruled_out=possible and row == target)
                for row in range(_ROWS)
            ]
        )
        step = environment.step(action)
        expected = (np.arange(_ROWS) == target) & possible
        flagged = _flagged(step)
        assert flagged[expected].all(), (
            "an action that the mask forbids is not flagged: no info array with 'illegal' in its name is true"
        )
        assert not flagged[~expected].any(), "a forbidden action in one row is flagged in another row too"
        assert step.done[expected].all(), "an action that the mask forbids did not end its episode"
        observation = step.observation


def check_truncation(problem: Problem, instances: int) -> None:
    """Truncated rows give their last view, which is not the first view of the next episode."""
    environment = _environment(problem, _ROWS)
    truncated = repeated = 0
    for moment in _walk(environment, instances):
        step = moment.step
        for row in np.flatnonzero(step.truncated):
            last = step.final_observation
            where = f"instance {moment.instance[row]} was truncated"
            assert last is not None, f"{where}, but final_observation is None"
            names = set(last) ^ set(step.observation)
            assert not names, f"{where}: final_observation and observation differ in the names {', '.join(names)}"
            truncated += 1
            repeated += not _differences(_row(last, int(row)), _row(step.observation, int(row)))
    assert truncated == 0 or repeated < truncated, (
        "final_observation is the first view of the next episode in every truncated row"
    )


def check_costs(problem: Problem, instances: int) -> None:
    """Rewards ``(n,)`` and costs ``(n, m)`` are finite; constraints have distinct names and units."""
    environment = _environment(problem, _ROWS)
    names = [constraint.name for constraint in problem.constraints]
    assert len(set(names)) == len(names), f"constraint names repeat: {names}"
    unitless = [constraint.name for constraint in problem.constraints if not constraint.unit]
    assert not unitless, f"constraints without a unit: {', '.join(unitless)}"
    assert tuple(environment.constraints) == tuple(problem.constraints), "environment and problem differ in constraints"
    agents = getattr(environment, "agents", None)
    rewards = {(_ROWS,)} if agents is None else {(_ROWS,), (_ROWS, len(agents))}
    for moment in _walk(environment, instances):
        step = moment.step
        assert step.cost.shape == (_ROWS, len(names)), f"cost has shape {step.cost.shape}, not {(_ROWS, len(names))}"
        assert step.reward.shape in rewards, f"reward has shape {step.reward.shape}"
        assert np.isfinite(step.cost).all(), "a cost is not finite"
        assert np.isfinite(step.reward).all(), "a reward is not finite"


def _played(problem: Problem, name: str, instances: int) -> Outcomes:
    return play(problem, problem.baselines()[name](3), split="validation", count=instances, num_envs=_ROWS)


def check_baselines(problem: Problem, instances: int) -> None:
    """Every baseline plays, reports every metric, and does the same again from the same seed."""
    assert problem.baselines(), "no baseline: a learned policy would stand beside nothing"
    for name in problem.baselines():
        first, second = _played(problem, name, instances), _played(problem, name, instances)
        assert np.array_equal(first.objective, second.objective), f"{name} does not repeat itself from the same seed"
        for metric in problem.metrics():
            values = first.metrics.get(metric.name)
            assert values is not None, f"metric {metric.name} is missing from Step.info"
            assert np.isfinite(values).all(), f"{name}: metric {metric.name} is not finite in a finished row"


def check_bounds(problem: Problem, instances: int) -> None:
    """No baseline beats a bound: on no instance, or beyond its 99.9 % interval where a bound holds on average.

    A bound is one on policies that keep the limits; baselines that break one on these instances may be beyond it.
    """
    sign = 1.0 if problem.objective.sense == "maximise" else -1.0
    played = {name: _played(problem, name, instances) for name in problem.baselines()}
    rows = resample_rows(instances)
    achieved = {
        name: outcomes.objective
        for name, outcomes in played.items()
        if all(found.satisfied for found in measure_constraints(problem.constraints, outcomes, rows).values())
    }
    for bound_name, bound in problem.bounds().items():
        values = np.asarray(bound.compute("validation", instances))
        assert values.shape in ((), (instances,)), f"{bound_name} gives shape {values.shape} for {instances} instances"
        for name, objective in achieved.items():
            excess = sign * (objective - values) - 1e-6 * np.maximum(1.0, np.abs(values))
            if values.ndim and bound.kind != "statistical":
                worst = int(np.argmax(excess))
                assert excess[worst] <= 0, (
                    f"{name} reaches {objective[worst]:g} on instance {worst}, beyond {bound_name} {values[worst]:g}"
                )
            else:
                low = bootstrap(excess, level=0.999).low
                assert low <= 0, f"{name} is beyond {bound_name} by {excess.mean():.6g} on average"


def check_adapters(problem: Problem, instances: int) -> None:
    """The environment passes the checkers of Gymnasium and PettingZoo, with costs and masks in ``info``."""
    from gymnasium.utils.env_checker import check_env
    from pettingzoo.test import parallel_api_test, parallel_seed_test

    from interlock.core.adapters import as_gymnasium, as_parallel, as_vector_env

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        parallel_api_test(as_parallel(_environment(problem, 1)), num_cycles=200)
        parallel_seed_test(lambda: as_parallel(_environment(problem, 1)), num_cycles=50)
        if hasattr(_environment(problem, 1), "agents"):
            return
        check_env(as_gymnasium(problem), skip_render_check=True)
    vector = as_vector_env(_environment(problem, _ROWS))
    view, info = vector.reset(seed=1)
    for trial in range(instances):
        assert vector.observation_space.contains(view), "an observation of the VectorEnv is outside its space"
        assert MASK not in view or np.array_equal(info[MASK], view[MASK]), "the mask in info is not that of the view"
        action = np.stack([_choose(vector.environment, _row(view, row), [9, trial, row]) for row in range(_ROWS)])
        view, _, _, _, info = vector.step(action)
        shape = (_ROWS, len(problem.constraints))
        assert info["cost"].shape == shape, f"info cost has shape {info['cost'].shape}, not {shape}"


def check_encoders(problem: Problem, instances: int) -> None:
    """Encoders give finite float32 arrays with one row per row, each row depending on its own row alone."""
    walk = _walk(_environment(problem, _ROWS), instances)
    views = [moment.observation for moment in islice(walk, 10)]
    for name, encoder in problem.encoders().items():
        for view in views:
            alone = encoder({key: values[2:3] for key, values in view.items()})
            for key, values in encoder(view).items():
                assert values.dtype == np.float32, f"{name}: {key} is {values.dtype}, not float32"
                assert len(values) == _ROWS, f"{name}: {key} has {len(values)} rows for {_ROWS}"
                assert np.isfinite(values).all(), f"{name}: {key} is not finite"
                assert np.allclose(values[2:3], alone[key], atol=1e-6), f"{name}: {key} of a row depends on other rows"


def check_decision(problem: Problem, instances: int) -> None:
    """Sample requests fit the schemas and parse; check, mask, projection and fallbacks agree on what is feasible.

    A vector contract projects outputs that have as many numbers as an action of the environment.
    """
    try:
        import jsonschema
    except ImportError as error:
        raise MissingExtra("checking a decision contract", "dev") from error
    contract = problem.decision()
    assert contract.domain == problem.scenario.domain, f"the contract is of domain {contract.domain!r}"
    checker = jsonschema.Draft202012Validator
    for schema in (contract.request_schema(), contract.answer_schema()):
        checker.check_schema(schema)
    assert contract.request_fields(), "the contract names no fields of a request"
    assert contract.answer_fields(), "the contract names no fields of an answer"
    samples = contract.sample_requests(instances, 5)
    assert samples == contract.sample_requests(instances, 5), "sample requests do not repeat from the same seed"
    assert len(samples) == instances, f"{len(samples)} sample requests instead of {instances}"
    rng = np.random.default_rng(6)
    numbers = int(np.prod(_environment(problem, 1).action_space.shape or 1))
    for number, sample in enumerate(samples):
        errors = [error.message for error in checker(contract.request_schema()).iter_errors(sample)]
        assert not errors, f"sample request {number} does not fit the request schema: {errors[0]}"
        request, where = contract.parse(json.loads(json.dumps(sample))), f"sample request {number}"
        view = contract.observation(request)
        if MASK in view:
            _check_choices(contract, request, view[MASK][0], where, rng)
        elif decides_vectors(contract):
            _check_projection(contract, request, 3.0 * rng.normal(size=numbers), where)
        for name, rule in contract.fallbacks().items():
            action = rule(request)
            assert action is None or contract.check(request, action).feasible, f"{where}: fallback {name} is infeasible"


def _check_projection(contract: Any, request: Any, output: Array, where: str) -> None:
    action = contract.project(request, output)
    if action is None:
        json.dumps(contract.refuse(request), allow_nan=False)
        return
    verdict = contract.check(request, action)
    assert verdict.feasible == (not verdict.violations), f"{where}: verdict and violations disagree"
    assert verdict.feasible, f"{where}: project gives what check refuses: {', '.join(verdict.violations)}"
    json.dumps(contract.answer(request, action, output), allow_nan=False)


def _check_choices(contract: Any, request: Any, mask: Array, where: str, rng: np.random.Generator) -> None:
    tried = rng.permutation(len(mask))[:50]
    for action in (int(a) for a in tried):
        verdict = contract.check(request, action)
        assert verdict.feasible == bool(mask[action]), (
            f"{where}: action {action} is {'allowed' if mask[action] else 'forbidden'} by the mask, but check says "
            f"{'feasible' if verdict.feasible else verdict.violations}"
        )
        assert verdict.feasible == (not verdict.violations), (
            f"{where}: action {action}: verdict and violations disagree"
        )
    scores = rng.normal(size=len(mask))
    if mask.any():
        scores[np.argmax(np.where(mask, scores, -np.inf))] = np.nan if mask.sum() > 1 else 1.0
        best = int(np.nanargmax(np.where(mask, scores, np.nan)))
        chosen = contract.project(request, scores)
        assert chosen == best, f"{where}: project gives {chosen}, the best feasible score has {best}"
        json.dumps(contract.answer(request, best, scores), allow_nan=False)
    else:
        assert contract.project(request, scores) is None, f"{where}: project gives an action where none is feasible"
        json.dumps(contract.refuse(request), allow_nan=False)


def check_scenario(problem: Problem, instances: int) -> None:
    """The scenario survives a round trip through YAML, with the same hash."""
    import yaml

    scenario = problem.scenario
    again = type(scenario).model_validate(yaml.safe_load(yaml.safe_dump(scenario.model_dump(mode="json"))))
    assert again == scenario, "the scenario changes on its way through YAML"
    assert again.hash() == scenario.hash(), "the hash changes on its way through YAML"


CHECKS: Mapping[str, Callable[[Problem, int], None]] = {
    "spaces": check_spaces,
    "batch rows": check_batch_rows,
    "seeds": check_seeds,
    "restore": check_restore,
    "masks": check_masks,
    "truncation": check_truncation,
    "costs": check_costs,
    "baselines": check_baselines,
    "bounds": check_bounds,
    "adapters": check_adapters,
    "encoders": check_encoders,
    "decision": check_decision,
    "scenario": check_scenario,
}

"""The two-stage actor-critic against a convex solver: KL-constrained optima of tables (core methods, section 1.14)."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from interlock.core.actor_critic.two_stage import TransitionLog, TwoStageConfig, fit_auxiliary, fit_main, fit_two_stage
from interlock.core.actor_critic.two_stage_solution import cloning_weights, combine, divergences, solve_multipliers
from interlock.core.errors import BadInput

PRECISE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12, "static_regularization_constant": 1e-12}


def log_softmax(scores):
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def solve_convex(log_policies, advantages, limits, weights):
    """Optimum and multipliers from Clarabel (exponential cones); ``None`` if infeasible."""
    cvxpy = pytest.importorskip("cvxpy")
    policy = cvxpy.Variable(advantages.shape)
    apart = [
        weights @ cvxpy.sum(cvxpy.kl_div(policy, np.exp(reference)) + policy - np.exp(reference), axis=1) <= limit
        for reference, limit in zip(log_policies, limits, strict=True)
    ]
    objective = weights @ cvxpy.sum(cvxpy.multiply(policy, advantages), axis=1)
    program = cvxpy.Problem(cvxpy.Maximize(objective), [*apart, cvxpy.sum(policy, axis=1) == 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asked for more digits than it has, it gives what it has, and warns
        program.solve(solver="CLARABEL", **PRECISE)
    if program.status.startswith("infeasible"):
        return None
    return policy.value, np.array([float(constraint.dual_value) for constraint in apart])


def draw(seed, auxiliaries, states, actions):
    """References near each other, so that the limits can be kept."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(states, actions))
    references = log_softmax(shared + 0.4 * rng.normal(size=(auxiliaries, states, actions)))
    return (
        references,
        rng.normal(size=(states, actions)),
        rng.uniform(0.15, 0.4, auxiliaries),
        rng.dirichlet(np.ones(states)),
    )


# The closed form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_closed_form_at_the_multipliers_of_a_convex_solver(seed):
    references, advantages, limits, _ = draw(seed, 1 + seed % 3, 1, 4)
    expected, multipliers = solve_convex(references, advantages, limits, np.ones(1))
    assert np.exp(combine(references, multipliers, advantages)) == pytest.approx(expected, abs=1e-6)
    found = solve_multipliers(references, advantages, limits)
    assert found.feasible
    assert np.exp(found.log_policy) == pytest.approx(expected, abs=1e-6)
    assert found.multipliers == pytest.approx(multipliers, abs=1e-5 * multipliers.sum())
    assert (found.divergences <= limits * (1 + 1e-7)).all()


@pytest.mark.parametrize("seed", range(4))
def test_limits_on_the_mean_over_weighted_states(seed):
    references, advantages, limits, weights = draw(seed, 2, 6, 5)
    expected, multipliers = solve_convex(references, advantages, limits, weights)
    found = solve_multipliers(references, advantages, limits, state_weights=weights)
    assert np.exp(found.log_policy) == pytest.approx(expected, abs=1e-5)
    assert found.multipliers == pytest.approx(multipliers, abs=1e-4 * multipliers.sum())
    assert divergences(found.log_policy, references, weights) == pytest.approx(found.divergences, rel=1e-12)


def test_multipliers_scale_with_the_advantage_and_the_policy_does_not():
    references, advantages, limits, _ = draw(3, 2, 5, 4)
    one, thousand = (solve_multipliers(references, unit * advantages, limits) for unit in (1.0, 1000.0))
    assert thousand.multipliers == pytest.approx(1000 * one.multipliers, rel=1e-6)
    assert thousand.log_policy == pytest.approx(one.log_policy, abs=1e-7)


def test_wide_limits_leave_the_greedy_policy_and_no_multipliers():
    references, advantages, _, _ = draw(0, 2, 5, 4)
    found = solve_multipliers(references, advantages, np.array([50.0, 60.0]))
    assert np.exp(found.log_policy).max(axis=1) == pytest.approx(np.ones(5), abs=1e-9)
    assert found.log_policy.argmax(axis=1).tolist() == advantages.argmax(axis=1).tolist()
    assert found.multipliers.max() < 1e-8


def test_limits_that_no_policy_keeps_are_told():
    references = log_softmax(np.array([[[4.0, 0.0, 0.0]], [[0.0, 4.0, 0.0]]]))
    limits, advantages = np.array([0.1, 0.1]), np.array([[0.0, 0.0, 1.0]])
    assert solve_convex(references, advantages, limits, np.ones(1)) is None
    found = solve_multipliers(references, advantages, limits)
    assert not found.feasible
    assert np.isfinite(found.log_policy).all()
    # The compromise is the normalised geometric mean, which the two references are equally far from.
    assert np.exp(found.log_policy) == pytest.approx(np.exp(log_softmax(references.mean(axis=0))), abs=1e-3)


def test_cloning_weights_are_the_product_of_ratios_over_their_normaliser():
    references, advantages, _, _ = draw(5, 3, 7, 4)
    multipliers, behaviour = np.array([0.5, 0.1, 1.4]), log_softmax(np.random.default_rng(1).normal(size=(7, 4)))
    states, actions = np.arange(7).repeat(4), np.tile(np.arange(4), 7)
    ratios = np.exp(references - behaviour) ** (multipliers / 2.0)[:, None, None]
    raw = ratios.prod(axis=0) * np.exp(advantages / 2.0)
    exact = raw / (np.exp(behaviour) * raw).sum(axis=1, keepdims=True)
    target = combine(references, multipliers, advantages)
    weights = cloning_weights(target[states, actions], behaviour[states, actions], clip=1e9)
    assert weights == pytest.approx(exact.ravel() / exact.mean(), rel=1e-12)
    clipped = cloning_weights(target[states, actions], behaviour[states, actions], clip=1.5)
    assert clipped == pytest.approx(np.minimum(exact, 1.5).ravel() / np.minimum(exact, 1.5).mean(), rel=1e-12)


# Learning from a log of a finite process ---------------------------------------------------------------------------

STATES, ACTIONS, GAMMA = 4, 3, 0.8
EVERY_STATE = np.eye(STATES, dtype=np.float32)


def tabular_process(seed=0):
    """A random process with two auxiliary responses: what follows, mean responses, and the behaviour."""
    rng = np.random.default_rng(seed)
    following = rng.dirichlet(np.full(STATES, 0.5), (STATES, ACTIONS))
    level = rng.normal(size=(STATES, ACTIONS, 3))
    return following, level, np.exp(log_softmax(0.7 * rng.normal(size=(STATES, ACTIONS))))


def tabular_log(count=20_000, propensities=False):
    """Its transitions: one in ten ends the session, a decision lasts one or two units of time."""
    following, level, behaviour = tabular_process()
    rng = np.random.default_rng(1)
    states = rng.integers(STATES, size=count)
    actions = (rng.random((count, 1)) > behaviour[states].cumsum(axis=1)).sum(axis=1)
    later = (rng.random((count, 1)) > following[states, actions].cumsum(axis=1)).sum(axis=1)
    return TransitionLog(
        states=EVERY_STATE[states],
        actions=actions,
        num_actions=ACTIONS,
        responses=level[states, actions] + 0.3 * rng.normal(size=(count, 3)),
        next_states=EVERY_STATE[later],
        done=rng.random(count) < 0.1,
        durations=rng.integers(1, 3, count),
        behaviour=np.log(behaviour[states, actions]) if propensities else None,
    )


def exact_two_stage(going_on, level, visits, limits, temperature=1.0):
    """Linear equations for the critics, the closed form for stage 1, a convex solver for stage 2.

    ``going_on`` ``(S, A, S)``: discounted chance of the next state; ``level`` ``(S, A, 3)``; ``visits`` ``(S, A)``.
    """
    weights = visits.sum(axis=1) / visits.sum()
    behaviour = visits / visits.sum(axis=1, keepdims=True)
    matrix = (going_on[..., None] * behaviour).reshape(STATES * ACTIONS, -1)
    q = np.linalg.solve(np.eye(STATES * ACTIONS) - matrix, level.reshape(-1, 3)).T.reshape(-1, STATES, ACTIONS)
    advantages = q - (q * behaviour).sum(axis=2, keepdims=True)
    spread = np.sqrt(np.einsum("isa,sa,s->i", advantages**2, behaviour, weights))
    references = log_softmax(np.log(behaviour) + advantages[1:] / (temperature * spread[1:, None, None]))
    policy, multipliers = solve_convex(references, advantages[0], limits, weights)
    return np.exp(references), policy, multipliers


def counted(log):
    """What the counts of a log say: the maximum likelihood process, mean responses and visits."""
    states, later = log.states.argmax(axis=1), log.next_states.argmax(axis=1)
    pairs = states * ACTIONS + log.actions
    visits = np.bincount(pairs, minlength=STATES * ACTIONS).astype(float)
    level = np.stack([np.bincount(pairs, column, STATES * ACTIONS) / visits for column in log.responses.T], axis=1)
    going_on = np.zeros((STATES * ACTIONS, STATES))
    np.add.at(going_on, (pairs, later), np.where(log.done, 0.0, GAMMA**log.durations))
    shape = (STATES, ACTIONS)
    return (going_on / visits[:, None]).reshape(*shape, -1), level.reshape(*shape, 3), visits.reshape(shape)


TABULAR = TwoStageConfig(
    gamma=GAMMA,
    divergence=(0.2, 0.15),
    hidden=(),
    critic_updates=500,
    policy_updates=300,
    minibatch=1024,
    learning_rate=0.05,
    target_rate=0.05,
    solved_states=8192,
    clip=1000.0,
)


def difference(first, second):
    """Largest total variation over the states."""
    return float(np.abs(first - second).sum(axis=1).max() / 2)


@pytest.fixture(scope="module")
def tabular():
    torch.set_num_threads(1)
    log = tabular_log()
    return log, exact_two_stage(*counted(log), np.array(TABULAR.divergence)), fit_two_stage(log, TABULAR, 0)


def test_learned_auxiliary_policies_equal_the_exact_ones_of_the_log(tabular):
    _, (references, _, _), found = tabular
    for network, reference in zip(found.auxiliary.policies, references, strict=True):
        learned = network(torch.from_numpy(EVERY_STATE)).detach().softmax(1).numpy()
        assert difference(learned, reference) < 0.02


def test_learned_policy_equals_the_exact_constrained_optimum_of_the_log(tabular):
    _, (references, policy, multipliers), found = tabular
    assert multipliers.min() > 0.1  # both limits bind
    assert found.feasible
    assert difference(np.exp(found.log_probabilities(EVERY_STATE)), policy) < 0.02
    assert found.multipliers == pytest.approx(multipliers, rel=0.15)
    assert found.divergences == pytest.approx(TABULAR.divergence, rel=0.1)
    # And it is not what either stage would give alone.
    assert min(difference(reference, policy) for reference in references) > 0.1


def test_logged_propensities_lead_to_the_optimum_of_the_process_itself():
    following, level, behaviour = tabular_process()
    going_on = 0.9 * (GAMMA + GAMMA**2) / 2 * following
    _, policy, _ = exact_two_stage(going_on, level, behaviour, np.array(TABULAR.divergence))
    found = fit_two_stage(tabular_log(60_000, propensities=True), TABULAR, seed=1)
    assert difference(np.exp(found.log_probabilities(EVERY_STATE)), policy) < 0.05


def test_limits_change_and_stage_one_stays(tabular):
    log, _, found = tabular
    # Limits of 0.15 and 0.15, then 0.2 and 0.15, then 1 and 1.
    near = fit_main(log, found.auxiliary, TABULAR.model_copy(update={"divergence": 0.15}), seed=0)
    far = fit_main(log, found.auxiliary, TABULAR.model_copy(update={"divergence": 1.0}), seed=0)
    assert near.multipliers.sum() > found.multipliers.sum() > far.multipliers.sum()
    assert near.divergences.max() < 0.16 < found.divergences.max() < far.divergences.max()


def test_same_seed_same_policy_and_the_global_generator_is_left_alone():
    log = tabular_log(count=500)
    config = TwoStageConfig(hidden=(8,), critic_updates=20, policy_updates=20, minibatch=64, rounds=2)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (fit_two_stage(log, config, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(one.log_probabilities(EVERY_STATE), same.log_probabilities(EVERY_STATE))
    assert not np.array_equal(one.log_probabilities(EVERY_STATE), other.log_probabilities(EVERY_STATE))


def test_drawn_actions_follow_the_policy_and_the_likeliest_is_its_mode(tabular):
    _, _, found = tabular
    chances = np.exp(found.log_probabilities(EVERY_STATE))
    assert found.act(EVERY_STATE).tolist() == chances.argmax(axis=1).tolist()
    drawn = found.act(np.repeat(EVERY_STATE, 20_000, axis=0), deterministic=False, rng=np.random.default_rng(0))
    shares = np.stack([np.bincount(part, minlength=ACTIONS) / 20_000 for part in drawn.reshape(STATES, -1)])
    assert shares == pytest.approx(chances, abs=0.015)
    with pytest.raises(ValueError, match="generator"):
        found.act(EVERY_STATE, deterministic=False)


def test_a_wrong_log_is_refused_with_all_problems():
    log = tabular_log(count=50)
    responses = log.responses.copy()
    responses[3, 1] = np.nan
    wrong = replace(log, actions=log.actions + 1, responses=responses, done=log.done[:-1], behaviour=np.full(50, 0.2))
    with pytest.raises(BadInput) as refused:
        fit_auxiliary(wrong, TABULAR, seed=0)
    text = str(refused.value)
    assert len(refused.value.problems) == 4
    assert all(part in text for part in ("responses has values", "done has 49 rows", "actions must be", "not positive"))
    with pytest.raises(BadInput, match="2 positive limits"):
        fit_two_stage(log, TABULAR.model_copy(update={"divergence": (0.1, 0.1, 0.1)}), seed=0)

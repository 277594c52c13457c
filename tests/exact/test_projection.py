"""Projections against a convex solver, gradients against differences, empty sets against linear programs."""

import re
import time

import cvxpy
import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from interlock.core.actor_critic import projection as layer
from interlock.core.errors import BadInput, InfeasibleActionSet, ProvenInfeasible
from interlock.core.projection import PENALTY, Box, Budget, Polytope, distance, project, project_to_face
from interlock.core.projection_kernels import EMPTY, SOLVED, polytope_rows

ROWS, WIDTH = 40, 6
KINDS = ("box", "budget", "shares", "simplex", "polytope", "own_matrices", "open_polytope")


def draw(kind, rows=200, seed=0):
    """Proposed actions and a set that is not empty, with bounds and limits of its own in each row."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    y = 2.0 * rng.normal(size=(rows, WIDTH))
    lower = -rng.random((rows, WIDTH))
    upper = lower + 2.0 * rng.random((rows, WIDTH))
    inside = lower + (upper - lower) * rng.random((rows, WIDTH))
    matrix = rng.normal(size=(rows, 5, WIDTH) if kind == "own_matrices" else (5, WIDTH))
    equal = np.array([False, True, False, False, True])
    limit = np.einsum("...md,nd->nm" if matrix.ndim == 2 else "nmd,nd->nm", matrix, inside)
    limit += np.where(equal, 0.0, 0.3 * rng.random((rows, 5)))
    return y, {
        "box": Box(lower, upper),
        "budget": Budget(lower, upper, inside.sum(1)),
        "shares": Budget(lower, upper, inside.sum(1), equal=True),
        "simplex": Budget(0.0, np.inf, 1.0, equal=True),
        "polytope": Polytope(lower, upper, matrix, limit),
        "own_matrices": Polytope(lower, upper, matrix, limit, equal),
        "open_polytope": Polytope(-np.inf, np.where(np.arange(WIDTH) < 3, upper, np.inf), matrix, limit, equal),
    }[kind]


def constraints(x, set_):
    """The set as constraints of cvxpy on all rows at once."""
    shape = x.shape
    lower, upper = np.broadcast_to(set_.lower, shape), np.broadcast_to(set_.upper, shape)
    found = [x[finite] >= lower[finite] for finite in (np.isfinite(lower),) if finite.any()]
    found += [x[finite] <= upper[finite] for finite in (np.isfinite(upper),) if finite.any()]
    if isinstance(set_, Budget):
        total = cvxpy.sum(x, axis=1)
        budget = np.broadcast_to(set_.budget, shape[:1])
        found.append(total == budget if set_.equal else total <= budget)
    if isinstance(set_, Polytope):
        matrix = np.broadcast_to(set_.matrix, (shape[0], *np.shape(set_.matrix)[-2:]))
        for p, is_equal in enumerate(np.broadcast_to(set_.equal, matrix.shape[1])):
            left = cvxpy.sum(cvxpy.multiply(matrix[:, p], x), axis=1)
            found.append(left == set_.limit[:, p] if is_equal else left <= set_.limit[:, p])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_a_convex_solver(kind):
    for block in range(10):  # 400 rows; all 2,800 of the kinds at once would cost the solver digits
        y, set_ = draw(kind, ROWS, block)
        x = cvxpy.Variable(y.shape)
        program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - y)), constraints(x, set_))
        program.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-11)
        assert program.status == cvxpy.OPTIMAL
        action = project(y, set_)
        assert np.abs(action - x.value).max() < 1e-6
        assert distance(y, action).max() > 1.0
        np.testing.assert_allclose(distance(y, action), np.sqrt(((y - action) ** 2).sum(1)))


@pytest.mark.parametrize("kind", KINDS)
def test_projecting_twice_changes_nothing(kind):
    y, set_ = draw(kind)
    action = project(y, set_)
    assert np.abs(project(action, set_) - action).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_rows(kind):
    y, set_ = draw(kind, rows=20)
    action = project(y, set_)
    for row in range(20):
        entries = {name: np.asarray(getattr(set_, name)) for name in ("lower", "upper", "budget", "limit", "matrix")
                   if hasattr(set_, name)}  # fmt: skip
        own = {name: value[row : row + 1] for name, value in entries.items() if len(np.atleast_1d(value)) == 20}
        alone = type(set_)(**{name: own.get(name, getattr(set_, name)) for name in set_.__slots__})
        np.testing.assert_array_equal(project(y[row : row + 1], alone), action[row : row + 1])


def test_budget_and_polytope_are_the_same_where_they_overlap():
    for kind in ("budget", "shares"):
        y, set_ = draw(kind)
        written_out = Polytope(set_.lower, set_.upper, np.ones((1, WIDTH)), set_.budget[:, None], set_.equal)
        action, face = project_to_face(y, set_)
        same, its_face = project_to_face(y, written_out)
        np.testing.assert_allclose(action, same, rtol=0, atol=1e-12)
        np.testing.assert_allclose(projector(face), projector(its_face), atol=1e-9)


def test_digits_survive_proposals_far_away():
    y, _ = draw("budget")
    action = project(1e9 + 1e-3 * y.round(3), Budget(0.0, np.inf, 1.0))
    assert np.abs(action.sum(1) - 1.0).max() < 1e-12


def test_contradictions_of_the_size_of_rounding_are_none():
    least = np.array([[1e9 / 7, 6e9 / 7 + 2e-7, -1e9]])
    assert 0.0 < least.sum() < 1e-6
    for set_ in (Budget(least, np.inf, 0.0), Polytope(least, least, np.ones((1, 3)), 0.0, True)):
        np.testing.assert_array_equal(project(np.zeros((1, 3)), set_), least)


@pytest.mark.parametrize("kind", ["box", "budget", "polytope"])
def test_no_rows_are_no_trouble(kind):
    y, set_ = draw(kind, rows=0)
    assert project(y, set_).shape == (0, WIDTH)


def projector(face):
    """``(n, d, d)`` matrix of the orthogonal projection onto the directions of each face."""
    held = np.eye(face.free.shape[1]) * face.free[:, None]
    return held - np.einsum("nkd,nke->nde", face.normals, face.normals)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_agrees_with_central_differences(kind):
    y, set_ = draw(kind, seed=1)
    weight, h = np.random.default_rng(2).normal(size=y.shape), 1e-5
    raw = torch.tensor(y, requires_grad=True)
    (layer.project(raw, set_) * torch.tensor(weight)).sum().backward()
    numeric, smooth = np.zeros_like(y), np.ones(len(y), bool)
    here = projector(project_to_face(y, set_)[1])
    for j in range(WIDTH):
        ends = []
        for shift in (h, -h):
            moved = y.copy()
            moved[:, j] += shift
            action, face = project_to_face(moved, set_)
            ends.append((action * weight).sum(1))
            smooth &= np.abs(projector(face) - here).max(axis=(1, 2)) < 1e-6  # the same face: no kink in between
        numeric[:, j] = (ends[0] - ends[1]) / (2 * h)
    assert smooth.mean() > 0.99
    error = np.linalg.norm(raw.grad.numpy() - numeric, axis=1) / np.maximum(np.linalg.norm(numeric, axis=1), 1e-3)
    assert error[smooth].max() < 1e-4


def test_gradient_of_a_binding_budget_is_the_closed_form():
    raw = torch.tensor([[0.9, 0.8, 5.0, -4.0, 0.7]], dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda y: layer.project(y, Budget(0.0, 1.0, 2.0)), raw)[0, :, 0]
    expected = np.zeros((5, 5))
    expected[np.ix_([0, 1, 4], [0, 1, 4])] = np.eye(3) - 1 / 3  # 1.0 and 0.0 are held; the rest shares 1.0
    np.testing.assert_allclose(jacobian.numpy(), expected, atol=1e-15)


def test_gradient_keeps_to_an_equality_that_the_proposal_satisfies():
    raw = torch.tensor([[0.25, 0.75]], dtype=torch.float64, requires_grad=True)
    polytope = Polytope(0.0, 1.0, np.ones((1, 2)), 1.0, True)
    for set_ in (polytope, Budget(0.0, 1.0, 1.0, equal=True)):
        jacobian = torch.autograd.functional.jacobian(lambda y, s=set_: layer.project(y, s), raw)[0, :, 0]
        np.testing.assert_allclose(jacobian.numpy(), [[0.5, -0.5], [-0.5, 0.5]], atol=1e-15)


def test_straight_through_passes_the_gradient_and_projects_all_the_same():
    y, set_ = draw("polytope")
    raw, weight = torch.tensor(y, requires_grad=True), torch.randn(y.shape, dtype=torch.float64)
    action = layer.project(raw, set_, straight_through=True)
    (action * weight).sum().backward()
    assert torch.equal(raw.grad, weight)
    np.testing.assert_array_equal(action.detach().numpy(), project(y, set_))
    np.testing.assert_allclose(layer.distance(raw, action).numpy(), distance(y, action.detach().numpy()))
    single = layer.project(raw.detach().float(), set_)
    assert single.dtype == torch.float32


@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_penalty_agrees_with_central_differences(kind, straight_through):
    y, set_ = draw(kind, rows=50, seed=3)
    raw, h = torch.tensor(y, requires_grad=True), 1e-5
    layer.penalty(raw, layer.project(raw, set_, straight_through=straight_through)).sum().backward()
    for j in range(WIDTH):
        shift = h * (np.arange(WIDTH) == j)
        ends = [PENALTY * distance(moved, project(moved, set_)) ** 2 for moved in (y + shift, y - shift)]
        np.testing.assert_allclose(raw.grad[:, j].numpy(), (ends[0] - ends[1]) / (2 * h), atol=1e-7)


@pytest.mark.parametrize(
    ("set_", "message"),
    [
        (Budget([[0, 0], [2, 3]], 9, [4, 4]), "sum of lower bounds 5 exceeds budget 4 (row 1)"),
        (
            Budget(0, [[9, 9], [1, 1]], 3, equal=True, name="sales"),
            "sum of upper bounds 2 is below sales 3, to be used in full (row 1)",
        ),
        (Box([[0, 0], [0, 4]], 3, ("a", "b")), "lower bound 4 of b exceeds its upper bound 3 (row 1)"),
        (
            Polytope(0, 3, [[1, 1], [1, 0], [1, -1]], [[20, 9, 9], [1, 1, 1]], [0, 1, 0], ("crew", "demand", "skew")),
            "demand (= 9) and upper bound of x[0] (<= 3) contradict each other (row 0)",
        ),
        (
            Polytope(0, 3, [[1, 1], [1, 0]], [[1, 1], [1, 2]], [0, 1], ("crew", "demand")),
            "crew (<= 1), demand (= 2) and lower bound of x[1] (>= 0) contradict each other (row 1)",
        ),
        (
            Polytope(0, 3, [[0, 0]], [[0], [-1]]),
            "constraint 0 (<= -1) can never hold: its coefficients are all 0 (row 1)",
        ),
    ],
)  # fmt: skip
def test_an_empty_set_names_its_constraints(set_, message):
    for project_ in (project, lambda y, s: layer.project(torch.from_numpy(y), s)):
        with pytest.raises(InfeasibleActionSet, match=re.escape(message)) as raised:
            project_(np.zeros((2, 2)), set_)
        assert message in raised.value.problems
        assert isinstance(raised.value, ProvenInfeasible)


def test_every_empty_row_is_told_and_a_long_list_is_cut():
    with pytest.raises(InfeasibleActionSet, match=r"\.\.\. and 10 more$") as raised:
        project(np.zeros((31, 3)), Budget(np.where(np.arange(31) == 7, 0, 1)[:, None], 2, 2))
    assert len(raised.value.problems) == 30
    assert not any("(row 7)" in problem for problem in raised.value.problems)


def corners(rng):
    """A small set with whole numbers: parallel, repeated and touching constraints are common. ``y`` and the set."""
    d, m = int(rng.integers(1, 6)), int(rng.integers(1, 8))
    matrix, equal = rng.integers(-2, 3, size=(m, d)).astype(float), rng.random(m) < 0.3
    lower = rng.integers(-2, 1, size=d).astype(float)
    upper = lower + rng.integers(0, 4, size=d)
    limit = rng.integers(-3, 4, size=m).astype(float)
    if rng.random() < 0.5:
        limit = matrix @ lower + np.where(equal, 0, rng.integers(0, 2, size=m))
    return rng.integers(-4, 5, size=(1, d)).astype(float), (matrix, limit, equal, lower, upper)


def best(direction, rows, limit, equal, lower, upper):
    """The largest ``direction @ x`` in a set, by linear programming; ``None`` if there is no ``x``."""
    solved = linprog(
        -direction, A_ub=rows[~equal], b_ub=limit[~equal], A_eq=rows[equal], b_eq=limit[equal],
        bounds=np.stack([lower, upper], axis=1), method="highs",
    )  # fmt: skip
    assert solved.status in (0, 2)
    return -solved.fun if solved.status == 0 else None


def feasible_without(named, matrix, limit, equal, lower, upper):
    """Whether the named constraints alone, as numbered by the kernel, leave anything."""
    d, m = len(lower), len(limit)
    rows, over, under = named[:m], named[m : m + d], named[m + d :]
    bounds = np.where(under, lower, -np.inf), np.where(over, upper, np.inf)
    return best(np.zeros(d), matrix[rows], limit[rows], equal[rows], *bounds) is not None


def test_degenerate_sets_agree_with_linear_programs():
    rng, empty = np.random.default_rng(5), 0
    for _ in range(300):
        y, (matrix, limit, equal, lower, upper) = corners(rng)
        length = np.maximum(np.linalg.norm(matrix, axis=1), 1e-9)
        action, _, status, conflict = polytope_rows(
            y, (matrix / length[:, None])[None], (limit / length)[None], equal, lower[None], upper[None]
        )
        if best(np.zeros(len(lower)), matrix, limit, equal, lower, upper) is None:
            empty += 1
            named = conflict[0]
            assert status[0] == EMPTY
            assert not feasible_without(named, matrix, limit, equal, lower, upper)
            for p in np.flatnonzero(named):  # and none of them is named without need
                assert feasible_without(named & (np.arange(len(named)) != p), matrix, limit, equal, lower, upper)
        else:
            assert status[0] == SOLVED
            x = action[0]
            excess = matrix @ x - limit
            assert max(np.where(equal, abs(excess), excess).max(), (lower - x).max(), (x - upper).max()) < 1e-12
            # x is nearest if and only if no point of the set lies further along y - x
            assert best(y[0] - x, matrix, limit, equal, lower, upper) <= (y[0] - x) @ x + 1e-10
    assert 50 < empty < 250


def test_everything_wrong_with_the_input_is_told():
    bad = Polytope(np.nan, -np.inf, [[1.0, np.inf]], [1.0, 2.0], names=("a", "b"), coordinates=("x",))
    with pytest.raises(BadInput) as raised:
        project([[1.0, np.nan]], bad)
    assert raised.value.problems == (
        "y[0, 1] is nan",
        "lower[0, 0] is nan",
        "upper[0, 0] is -inf",
        "coordinates: 1 given, expected 2",
        "matrix[0, 0, 1] is inf",
        "limit has shape (2,), expected what broadcasts to (1, 1)",
        "names: 2 given, expected 1",
    )
    for y, set_, problem in (
        ([1.0, 2.0], Box(0, 1), "y has shape (2,), expected (n, d)"),
        ([[1.0, 2.0]], Polytope(0, 1, [1.0, 1.0], 1.0), "matrix has shape (2,)"),
        ([[1.0, 2.0]], Polytope(0, 1, [[1.0, 1.0]], np.inf, True), "limit of an equality is not finite"),
        ([[1.0, 2.0]], Budget(0, 1, np.inf, equal=True), "budget[0] is inf"),
    ):
        with pytest.raises(BadInput, match=re.escape(problem)):
            project(y, set_)


def test_speed_of_a_budget_with_bounds():
    rng = np.random.default_rng(0)
    y, set_ = rng.normal(size=(4096, 8)), Budget(0.0, rng.random((4096, 8)), 1.0)
    project(y, set_)
    started = time.process_time()
    for _ in range(10):
        project(y, set_)
    assert 10 * 4096 / (time.process_time() - started) > 30_000

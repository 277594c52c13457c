"""The extensive form: one linear program over the whole tree of the noise; exact, for a few stages only."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from interlock.core.environment import Array
from interlock.core.errors import StageInfeasible, UsageError
from interlock.core.multistage.stage import LinearStage, Multistage
from interlock.solvers.interface import LinearProgram, Solver

LARGEST = 200_000
"""Nodes of the largest tree that is accepted."""


@dataclass(frozen=True, slots=True)
class Extensive:
    """The optimum over the tree.

    Attributes:
        value: least expected cost.
        states: ``(S, s)``, what the first stage hands on after each of its outcomes.
    """

    value: float
    states: Array


def solve_extensive(problem: Multistage, solver: Solver) -> Extensive:
    """Solve the extensive form.

    Raises:
        UsageError: the tree is too large.
        StageInfeasible: there is no optimum.
    """
    nodes = int(sum(np.cumprod([len(noise.outcomes) for noise in problem.noises], dtype=float)))
    if nodes > LARGEST:
        raise UsageError(f"the tree has {nodes} nodes, at most {LARGEST} are accepted: take fewer stages")
    solution = solver.solve(extensive_form(problem))
    if solution.status != "optimal" or solution.objective is None or solution.x is None:
        raise StageInfeasible(1, f"tree of {nodes} nodes", solution.message or solution.status)
    first, openings = problem.stages[0], len(problem.noises[0].outcomes)
    decisions = solution.x[: openings * len(first.program.cost)].reshape(openings, -1)
    return Extensive(solution.objective, decisions[:, first.state])


def from_stage(problem: Multistage, stage: int, state: Array) -> Multistage:
    """What is left of a problem from a stage (from 0) on, in a state: its value is the cost to go."""
    return replace(problem, stages=problem.stages[stage:], noises=problem.noises[stage:], initial_state=state)


def extensive_form(problem: Multistage) -> LinearProgram:
    """The program: stage by stage, the nodes of a stage in the order (parent, outcome).

    A node's columns are those of its stage, its costs weighted with its probability.
    """
    blocks: list[list[LinearProgram]] = []
    probability = np.ones(1)
    links = []
    row, column = 0, 0
    parent_state = np.zeros((1, 0), np.int64)
    for t, (stage, noise) in enumerate(zip(problem.stages, problem.noises, strict=True)):
        program, openings = stage.program, len(noise.outcomes)
        probability = np.outer(probability, noise.probabilities).ravel()
        count, width, height = len(probability), len(program.cost), len(program.row_lower)
        outcomes = np.tile(noise.outcomes, (count // openings, 1))
        known = problem.initial_state if t == 0 else np.zeros(stage.by_state.shape[1])
        right = stage.right_hand_side(known, outcomes)
        blocks.append(
            [
                _node(stage, p, fixed, f"{t + 1}.{k + 1}")
                for k, (p, fixed) in enumerate(zip(probability, right, strict=True))
            ]
        )
        if t:
            parent = np.repeat(parent_state, openings, axis=0)
            at = row + height * np.arange(count)[:, np.newaxis] + stage.rows
            shape = (count, *stage.by_state.shape)
            links.append(
                (
                    np.broadcast_to(at[:, :, np.newaxis], shape).ravel(),
                    np.broadcast_to(parent[:, np.newaxis, :], shape).ravel(),
                    np.broadcast_to(-stage.by_state, shape).ravel(),
                )
            )
        parent_state = column + width * np.arange(count)[:, np.newaxis] + stage.state
        row, column = row + height * count, column + width * count
    return _joined([program for block in blocks for program in block], links)


def _node(stage: LinearStage, probability: float, right: Array, name: str) -> LinearProgram:
    """The program of a node, its moving rows at their noise."""
    program = stage.program
    lower, upper = program.row_lower.astype(float), program.row_upper.astype(float)
    lower[stage.rows] = upper[stage.rows] = right
    return replace(
        program,
        cost=probability * program.cost,
        row_lower=lower,
        row_upper=upper,
        column_names=tuple(f"{column}@{name}" for column in program.column_names),
        row_names=tuple(f"{row}@{name}" for row in program.row_names),
    )


def _joined(programs: list[LinearProgram], links: list[tuple[Array, Array, Array]]) -> LinearProgram:
    """Programs side by side, with further coefficients ``(rows, columns, values)`` that link them."""
    diagonal = sparse.block_diag(
        [
            sparse.csr_array((one.values, one.columns, one.starts), shape=(len(one.row_names), len(one.column_names)))
            for one in programs
        ],
        format="csr",
    )
    linking = [np.concatenate(part) for part in zip(*links, strict=True)] if links else [np.zeros(0, int)] * 3
    matrix = sparse.csr_array(diagonal + sparse.csr_array((linking[2], (linking[0], linking[1])), shape=diagonal.shape))
    return LinearProgram(
        cost=np.concatenate([one.cost for one in programs]),
        lower=np.concatenate([one.lower for one in programs]),
        upper=np.concatenate([one.upper for one in programs]),
        row_lower=np.concatenate([one.row_lower for one in programs]),
        row_upper=np.concatenate([one.row_upper for one in programs]),
        starts=matrix.indptr.astype(np.int32),
        columns=matrix.indices.astype(np.int32),
        values=matrix.data.astype(float),
        column_names=tuple(name for one in programs for name in one.column_names),
        row_names=tuple(name for one in programs for name in one.row_names),
    )

r"""Rollout with strict targets: the realised state is the target, so the stages are priced independently of each other.

With J the total cost, the gradient in a target is the price of the target in its own stage plus that of the incoming
state in the next one (envelope theorem):

.. math:: \frac{dJ}{d\hat x_t} = \mu_t + \pi_{t+1}, \qquad \pi_{T+1} = 0

Back-propagating it through the recurrent map from parameters to targets gives the gradient of the policy (Rosemberg,
Street, Valladao, Van Hentenryck, arXiv 2405.14973).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interlock.core.decision_rules.contract import DecisionProgram, StageSolver
from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.environment import Array
from interlock.core.errors import StageInfeasible


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a batch of paths came to.

    Attributes:
        surrogate: scalar whose gradient in the parameters is that of the mean over paths of cost + multipliers @
            signals; its own value means nothing unless it is that mean.
        cost: ``(n,)`` per path.
        signals: ``(n, m)`` per path.
    """

    surrogate: Tensor
    cost: Array
    signals: Array


def targets_of(program: DecisionProgram, network: RuleNetwork, noise: Array) -> Tensor:
    """Targets ``(n, T, s)``, float64, of paths ``(n, T, k)``; each is the state that the next one starts from."""
    kind = next(network.parameters()).dtype
    hidden, _ = network.encode(torch.as_tensor(program.features(noise), dtype=kind))
    seen = torch.as_tensor(noise, dtype=torch.float64)
    scale = torch.as_tensor(program.state_scale, dtype=torch.float64)
    state = torch.as_tensor(np.tile(program.initial_state, (len(noise), 1)), dtype=torch.float64)
    targets = []
    for t in range(program.stages):
        raw = network.propose(hidden[:, t], (state / scale).to(kind))
        state = program.reach(torch, raw.double(), state, seen[:, t])
        targets.append(state)
    return torch.stack(targets, dim=1)


def strict_rollout(
    program: DecisionProgram, network: RuleNetwork, solver: StageSolver, noise: Array, multipliers: Array
) -> Rollout:
    """Targets of a batch of paths, all stages priced at once, and the gradient by their prices.

    Args:
        program: the problem.
        network: the rule.
        solver: prices the stages.
        noise: paths ``(n, T, k)``.
        multipliers: ``(m,)``, prices of the signals.

    Raises:
        StageInfeasible: a stage has no solution; names the path.
    """
    targets = targets_of(program, network, noise)
    count, stages, states = targets.shape
    end = targets.detach().numpy()
    start = starts_of(program, end)
    stage = np.tile(np.arange(stages), count)
    given = (stage, start.reshape(-1, states), noise.reshape(count * stages, -1), end.reshape(-1, states))
    try:
        priced = solver.solve(*given, multipliers)
    except StageInfeasible as error:
        raise _in_training(program, error, *given) from error
    gradient = priced.target_price.reshape(count, stages, states).copy()
    gradient[:, :-1] += priced.state_price.reshape(count, stages, states)[:, 1:]
    surrogate = (torch.as_tensor(gradient) * targets).sum() / count
    return Rollout(
        surrogate,
        priced.cost.reshape(count, stages).sum(axis=1),
        priced.signals.reshape(count, stages, -1).sum(axis=1),
    )


def quick_rollout(program: DecisionProgram, network: RuleNetwork, noise: Array, multipliers: Array) -> Rollout:
    """The same by the problem's differentiable cost, without a solver; arguments as ``strict_rollout``."""
    quick = program.quick_cost()
    assert quick is not None, "called only where there is one"
    targets = targets_of(program, network, noise)
    count, stages, states = targets.shape
    first = torch.as_tensor(np.tile(program.initial_state, (count, 1, 1)))
    start = torch.cat([first, targets[:, :-1]], dim=1)
    cost, signals = quick(
        torch.as_tensor(np.tile(np.arange(stages), count)),
        start.reshape(-1, states),
        torch.as_tensor(noise.reshape(count * stages, -1)),
        targets.reshape(-1, states),
    )
    paths, sums = cost.reshape(count, stages).sum(dim=1), signals.reshape(count, stages, -1).sum(dim=1)
    surrogate = (paths + sums @ torch.as_tensor(multipliers)).mean()
    return Rollout(surrogate, paths.detach().numpy(), sums.detach().numpy())


def _in_training(program: DecisionProgram, error: StageInfeasible, stage: Array, *given: Array) -> StageInfeasible:
    """The same error in terms of paths, with the program written down if the problem can."""
    if error.row is None:
        return error
    write = getattr(program, "save_stage", None)
    saved = error.saved or ("" if write is None else write(int(stage[error.row]), *(rows[error.row] for rows in given)))
    return StageInfeasible(error.stage, f"training path {error.row // program.stages}", error.reason, saved)


def starts_of(program: DecisionProgram, end: Array) -> Array:
    """Incoming states ``(n, T, s)`` of end states ``(n, T, s)``."""
    first = np.broadcast_to(program.initial_state, (len(end), 1, end.shape[2]))
    return np.concatenate([first, end[:, :-1]], axis=1)

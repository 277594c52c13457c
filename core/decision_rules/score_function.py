r"""Gradient where prices miss something, as a setup that a smaller order would save: the score function beside them.

The raw numbers of the rule are disturbed by noise of deviation ``sigma`` on the way, and what the paths then cost tells
which disturbances were worth while (Williams 1992):

.. math::
    \nabla L = \alpha\, \nabla L_{prices} + (1 - \alpha)\,
    \frac{1}{M} \sum_m \sum_t (C_{m,t} - b_{m,t}) \frac{\varepsilon_{m,t}}{\sigma} \cdot \nabla z_t

with the cost to go :math:`C_{m,t}` of rollout m from stage t, and as baseline its mean over the other rollouts of the
same path, which leaves the estimate unbiased for the cost under noise.
"""

import numpy as np
import torch
from torch import Tensor

from interlock.core.decision_rules.config import ScoreSettings
from interlock.core.decision_rules.contract import DecisionProgram, StageSolver
from interlock.core.decision_rules.network import RuleNetwork
from interlock.core.decision_rules.strict import Rollout, starts_of, strict_rollout
from interlock.core.environment import Array


def mixed_rollout(
    program: DecisionProgram,
    network: RuleNetwork,
    solver: StageSolver,
    noise: Array,
    multipliers: Array,
    settings: ScoreSettings,
    update: int,
    generator: np.random.Generator,
) -> Rollout:
    """The rollout with strict targets, its gradient mixed with that of disturbed rollouts of the same paths.

    Args:
        program: the problem.
        network: the rule.
        solver: prices the stages; its costs may jump.
        noise: paths ``(n, T, k)``.
        multipliers: ``(m,)``, prices of the signals.
        settings: weights, deviation and number of rollouts.
        update: of the training, from 0.
        generator: of the disturbances.
    """
    plain = strict_rollout(program, network, solver, noise, multipliers)
    ramp = min(max((update - settings.begin) / max(settings.ramp, 1), 0.0), 1.0)
    if update < settings.begin:
        return plain
    weight = ramp * (1.0 - settings.price_weight)
    deviation = settings.deviation[0] + ramp * (settings.deviation[1] - settings.deviation[0])
    rollouts = round(settings.rollouts[0] + ramp * (settings.rollouts[1] - settings.rollouts[0]))
    score = score_surrogate(program, network, solver, noise, multipliers, deviation, rollouts, generator)
    return Rollout((1.0 - weight) * plain.surrogate + weight * score, plain.cost, plain.signals)


def score_surrogate(
    program: DecisionProgram,
    network: RuleNetwork,
    solver: StageSolver,
    noise: Array,
    multipliers: Array,
    deviation: float,
    rollouts: int,
    generator: np.random.Generator,
) -> Tensor:
    """A scalar whose gradient estimates that of the mean cost of the disturbed rule, without bias.

    Args:
        program: the problem.
        network: the rule.
        solver: prices the stages.
        noise: paths ``(n, T, k)``.
        multipliers: ``(m,)``, prices of the signals.
        deviation: of the disturbances of the raw numbers.
        rollouts: disturbed rollouts per path, at least 2.
        generator: of the disturbances.
    """
    count, stages, _ = noise.shape
    many = np.repeat(noise, rollouts, axis=0)
    kind = next(network.parameters()).dtype
    hidden, _ = network.encode(torch.as_tensor(program.features(noise), dtype=kind))
    hidden = hidden.repeat_interleave(rollouts, dim=0)
    disturbances = generator.normal(size=(len(many), stages, len(program.initial_state)))
    state = np.tile(program.initial_state, (len(many), 1))
    proposed, ends = [], []
    for t in range(stages):
        raw = network.propose(hidden[:, t], torch.as_tensor(state / program.state_scale, dtype=kind))
        played = raw.detach().double().numpy() + deviation * disturbances[:, t]
        state = program.reach(np, played, state, many[:, t])
        proposed.append(raw)
        ends.append(state)
    end = np.stack(ends, axis=1)
    priced = solver.solve(
        np.tile(np.arange(stages), len(many)),
        starts_of(program, end).reshape(len(many) * stages, -1),
        many.reshape(len(many) * stages, -1),
        end.reshape(len(many) * stages, -1),
        multipliers,
    )
    cost = (priced.cost + priced.signals @ multipliers).reshape(count, rollouts, stages)
    to_go = np.cumsum(cost[:, :, ::-1], axis=2)[:, :, ::-1]
    others = (to_go.sum(axis=1, keepdims=True) - to_go) / (rollouts - 1)
    worth = (to_go - others).reshape(len(many), stages, 1) * disturbances / deviation
    return (torch.as_tensor(worth / len(many), dtype=kind) * torch.stack(proposed, dim=1)).sum()

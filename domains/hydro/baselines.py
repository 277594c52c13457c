"""What operators do today: spend water as it comes, follow a rule curve, or plan ahead on mean inflows.

All propose end volumes; where a rule is a linear program, every request starts from the same basis, so that an answer
depends on the request alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.errors import StageInfeasible
from interlock.core.multistage.stacked import Stacked, stack
from interlock.core.multistage.stage import LinearStage, Multistage, Noise
from interlock.core.policy import FunctionPolicy, Policy
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.failures import save_program
from interlock.domains.hydro.rule_curve import rule_curve
from interlock.solvers.highs import Highs
from interlock.solvers.interface import Basis, Solution

TRACE = 1e-4
"""$/h per hm3 by which plans of the same cost are told apart; far below any value of water."""

LOOK_AHEAD = 26
"""Stages of a rolling plan, half a year of weeks."""


def stage_view(observation: Observation) -> tuple[Array, Array, Array]:
    """Stage from 0 ``(n,)``, incoming state ``(n, s)`` and noise ``(n, k)`` of observations."""
    return observation["stage"][:, 0], observation["volume"], observation["inflow"]


def myopic(multistage: Multistage, *, keep: bool = True) -> Policy:
    """Serve the load of the stage at least cost, as if there were no later one.

    Such an operator does not care what becomes of the water that this leaves over, but it decides what later stages
    cost: a solver left to itself keeps some and spills some, as its pivots fall.

    Args:
        multistage: the stages; those of the linear network where the simulator's is not linear.
        keep: keep what is left over, or else spill it.
    """
    return _planning(multistage, 1, TRACE if keep else -TRACE)


def model_predictive(multistage: Multistage) -> Policy:
    """Plan ``LOOK_AHEAD`` stages on the mean of later inflows, do the first stage of the plan, plan again."""
    return _planning(multistage, LOOK_AHEAD, TRACE)


def _planning(multistage: Multistage, length: int, worth: float) -> Policy:
    """Plan ``length`` stages as far as the horizon goes, do the first; stored water is worth a trace."""
    forecast = np.array([mean_outcome(noise) for noise in multistage.noises])
    valued = {id(stage): _with_worth(stage, worth) for stage in multistage.stages}
    ids = [id(stage) for stage in multistage.stages]
    keys = [tuple(ids[t : t + length]) for t in range(len(ids))]

    @cache
    def plan(key: tuple[int, ...]) -> _Plan:
        first = keys.index(key)
        stages = [valued[stage] for stage in key]
        return _Plan(stack(stages), multistage.initial_state, forecast[first : first + len(stages)])

    def act(observation: Observation, rng: np.random.Generator) -> Array:
        stages, volume, inflow = stage_view(observation)
        target = np.empty_like(volume)
        for row, t in enumerate(stages):
            path = np.concatenate([inflow[row][np.newaxis], forecast[t + 1 : t + len(keys[t])]])
            solution = plan(keys[t]).solve(volume[row], path)
            if solution.x is None:
                reason = f"no plan from this stage on ({solution.message})"
                saved = save_program(plan(keys[t]).session.program(), f"plan-from-stage-{t + 1}")
                raise StageInfeasible(int(t) + 1, f"row {row} of the batch", reason, saved, row)
            target[row] = plan(keys[t]).stacked.states(solution.x)[0]
        return target

    return FunctionPolicy(act)


def baselines(
    names: tuple[str, ...], case: Case, multistage: Callable[[], Multistage], curve: Callable[[], Array]
) -> Mapping[str, Callable[[int], Policy]]:
    """The baselines of a scenario by name, in its order; what they need is made when the first of them is asked for."""
    known: dict[str, Callable[[int], Policy]] = {
        "myopic": lambda seed: myopic(multistage()),
        "myopic_spill": lambda seed: myopic(multistage(), keep=False),
        "rule_curve": lambda seed: rule_curve(case, curve()),
        "mpc": lambda seed: model_predictive(multistage()),
    }
    return {name: known[name] for name in names}


def mean_outcome(noise: Noise) -> Array:
    """``(k,)``, the expected noise of a stage."""
    mean: Array = noise.probabilities @ noise.outcomes
    return mean


class _Plan:
    """A few stages in one program inside the solver.

    Args:
        stacked: the stages.
        state: incoming, of the plan whose basis every solve starts from.
        path: of the same plan.
    """

    def __init__(self, stacked: Stacked, state: Array, path: Array):
        self.stacked = stacked
        self.session = Highs().open(stacked.program)
        self.start: Basis | None = None
        self.solve(state, path)
        self.start = self.session.basis()

    def solve(self, state: Array, path: Array) -> Solution:
        """The plan from ``state`` along ``path``."""
        level = self.stacked.right_hand_side(state, path)
        self.session.start_from(self.start)
        self.session.change_rows(self.stacked.rows, level, level)
        return self.session.solve()


def _with_worth(stage: LinearStage, worth: float) -> LinearStage:
    """The stage with a worth ($/h per hm3) of the water that it hands on."""
    cost = stage.program.cost.copy()
    cost[stage.state] -= worth
    return replace(stage, program=replace(stage.program, cost=cost))

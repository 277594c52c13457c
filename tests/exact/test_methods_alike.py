"""What holds for every constrained method: none but hard constraints, recurrent networks."""

from dataclasses import replace

import numpy as np
import pytest
from learned_tables import QuietRun, table_of

from interlock.core.actor_critic import cpo, crpo, focops, ipo, rcpo
from interlock.core.actor_critic.method_settings import CPOConfig, CRPOConfig, FOCOPSConfig, IPOConfig, RCPOConfig
from interlock.core.tabular.problem import tabular_problem
from interlock.core.training import MemoryRun
from interlock.solvers.highs import Highs

METHODS = {
    "cpo": (cpo.train, CPOConfig, {}),
    "crpo": (crpo.train, CRPOConfig, {}),
    "focops": (focops.train, FOCOPSConfig, {"learning_rate": 0.03}),
    "ipo": (ipo.train, IPOConfig, {}),
    "rcpo": (rcpo.train, RCPOConfig, {"learning_rate": 0.03}),
}


@pytest.mark.parametrize("method", METHODS)
def test_without_constraints_the_unconstrained_optimum_is_found(method):
    train, config, settings = METHODS[method]
    problem = tabular_problem("two_state", Highs())
    cmdp = problem.cmdp
    # Hard constraints are for masks: nothing is left that learning could reach.
    problem.constraints = tuple(replace(constraint, kind="hard") for constraint in problem.constraints)
    amounts = {"gamma": cmdp.gamma, "network": {"hidden": ()}, "num_envs": 128, "rollout": 16, "steps": 100_000}
    made = config(**amounts, validate_every=10**9, **settings)
    run = QuietRun()
    policy = train(problem, made, run)
    assert not any(name.startswith("constraint/") for row in run.curves for name in row if "train/divergence" in row)
    value, _ = cmdp.evaluate(table_of(policy.last or policy, cmdp.states))
    low, high = cmdp.span()
    assert (high - value) / (high - low) < 0.02


@pytest.mark.parametrize("method", METHODS)
def test_recurrent_networks_learn_too(method):
    """Whole sequences are replayed: after a few updates the policy moved, and every figure is a number."""
    train, config, settings = METHODS[method]
    run = MemoryRun()
    amounts = {"gamma": 0.9, "num_envs": 32, "rollout": 8, "steps": 4 * 256, "validate_every": 10**9}
    made = config(**amounts, network={"hidden": (8,), "memory": 4}, **settings)
    train(tabular_problem("two_state", Highs()), made, run)
    updates = [row for row in run.curves if "train/divergence" in row]
    assert len(updates) == 4
    assert all(np.isfinite(list(row.values())).all() for row in updates)
    assert max(row["train/divergence"] for row in updates) > 1e-6

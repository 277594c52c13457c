"""Six small decision processes whose constrained optimum must randomise, and random ones.

At the optimal multiplier no fixed weighing of reward against cost has the optimal policy as its only best answer: this
is what makes plain gradient descent-ascent circle around it.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from interlock.core.environment import Array
from interlock.core.errors import BadInput
from interlock.core.tabular.cmdp import FiniteCMDP


def bandit_budget() -> FiniteCMDP:
    """One state; the first action earns 1 and costs 1, the second nothing; half of the possible cost is allowed."""
    return FiniteCMDP(
        name="bandit_budget",
        transition=np.ones((1, 2, 1)),
        reward=np.array([[1.0, 0.0]]),
        costs=np.array([[[1.0, 0.0]]]),
        limits=np.array([5.0]),
        gamma=0.9,
        start=np.ones(1),
    )


def two_state() -> FiniteCMDP:
    """Stay in the first state for reward 1 and cost 1, or go, for nothing, to where staying earns 0.2 for free."""
    transition = np.zeros((2, 2, 2))
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, 0, 1] = transition[1, 1, 0] = 1.0
    return FiniteCMDP(
        name="two_state",
        transition=transition,
        reward=np.array([[1.0, 0.0], [0.2, 0.0]]),
        costs=np.array([[[1.0, 0.0], [0.0, 0.0]]]),
        limits=np.array([3.0]),
        gamma=0.9,
        start=np.array([1.0, 0.0]),
    )


def queue_effort() -> FiniteCMDP:
    """A queue of at most 10: serving faster costs effort, waiting costs reward.

    Somebody leaves with the probability of the chosen effort (if anybody waits), then somebody arrives with probability
    0.45, both in one step.
    """
    capacity, arrival, serve = 10, 0.45, (0.3, 0.6, 0.8)
    transition = np.zeros((capacity + 1, len(serve), capacity + 1))
    for length in range(capacity + 1):
        for action, leaves in enumerate(serve):
            for left, chance_left in ((1, leaves), (0, 1.0 - leaves)):
                for arrived, chance_arrived in ((1, arrival), (0, 1.0 - arrival)):
                    following = min(max(length - left, 0) + arrived, capacity)
                    transition[length, action, following] += chance_left * chance_arrived
    lengths = np.arange(capacity + 1)
    gamma = 0.95
    return FiniteCMDP(
        name="queue_effort",
        transition=transition,
        reward=np.repeat(-lengths[:, None] / capacity, len(serve), axis=1),
        costs=np.tile([0.0, 0.4, 1.0], (1, capacity + 1, 1)),
        limits=np.array([0.3 / (1.0 - gamma)]),
        gamma=gamma,
        start=np.eye(capacity + 1)[0],
        cost_names=("effort",),
    )


def catch(size: int, moves: float) -> FiniteCMDP:
    """A ball falls one row a step; move the paddle under it with no more than ``moves`` discounted moves on average.

    State ``(row * size + ball) * size + paddle``, and a last one for the end. Actions: left, stay, right. In the last
    row, after the move, a caught ball is worth 1 and a missed one -1.
    """
    end = size**3
    transition = np.zeros((end + 1, 3, end + 1))
    reward, cost = np.zeros((end + 1, 3)), np.zeros((end + 1, 3))
    for row, ball, paddle in np.ndindex(size, size, size):
        state = (row * size + ball) * size + paddle
        for action in range(3):
            moved = min(max(paddle + action - 1, 0), size - 1)
            last = row == size - 1
            transition[state, action, end if last else ((row + 1) * size + ball) * size + moved] = 1.0
            reward[state, action] = (1.0 if moved == ball else -1.0) if last else 0.0
            cost[state, action] = float(action != 1)
    transition[end, :, end] = 1.0
    start = np.zeros(end + 1)
    start[np.arange(size) * size + 2] = 1.0 / size
    return FiniteCMDP(
        name=f"catch_{size}x{size}",
        transition=transition,
        reward=reward,
        costs=cost[None],
        limits=np.array([moves]),
        gamma=0.97,
        start=start,
        cost_names=("moves",),
    )


def garnet_2c() -> FiniteCMDP:
    """A random process with two costs, each limited halfway between its smallest and its unconstrained value."""
    drawn = _draw_garnet("garnet_2c", np.random.default_rng(0), states=20, actions=4, costs=2, branching=3)
    smallest = [drawn.evaluate(drawn.cheapest(index))[1][index] for index in range(2)]
    return _limited(drawn, smallest)


EXAMPLES: Mapping[str, Callable[[], FiniteCMDP]] = {
    "bandit_budget": bandit_budget,
    "two_state": two_state,
    "queue_effort": queue_effort,
    "catch_4x4": lambda: catch(4, 0.5),
    "catch_5x5": lambda: catch(5, 0.6),
    "garnet_2c": garnet_2c,
}
"""The six fixed ones by name."""


def example(name: str) -> FiniteCMDP:
    """One of the fixed examples.

    Raises:
        BadInput: no example has this name.
    """
    if name not in EXAMPLES:
        raise BadInput("CMDP", [f"no example is called {name!r}; there are {', '.join(EXAMPLES)}"])
    return EXAMPLES[name]()


def random_garnet(
    seed: int, states: int = 15, actions: int = 3, costs: int = 1, branching: int = 3, gamma: float = 0.95
) -> FiniteCMDP:
    """A random process in which every limit binds or nearly, and all limits can be met together.

    Limits lie halfway between the costs of the policy with the largest return and those of the policy with the smallest
    sum of costs. Draws in which this policy is not clearly cheaper in every single cost are thrown away.

    Args:
        seed: of everything.
        states: number of states; every state is as likely to be the first.
        actions: number of actions.
        costs: number of costs.
        branching: number of states that can follow, with probabilities uniform on the simplex.
        gamma: discount.
    """
    rng = np.random.default_rng(seed)
    while True:
        drawn = _draw_garnet(f"garnet_{seed}", rng, states, actions, costs, branching, gamma)
        frugal = drawn.evaluate(drawn.best_response(-drawn.costs.sum(axis=0)))[1]
        if np.all(frugal < 0.9 * drawn.evaluate(drawn.unconstrained())[1]):
            return _limited(drawn, frugal)


def _draw_garnet(
    name: str, rng: np.random.Generator, states: int, actions: int, costs: int, branching: int, gamma: float = 0.95
) -> FiniteCMDP:
    """Random transitions, then rewards and costs uniform in [0, 1); no limits yet (they are set to 0)."""
    transition = np.zeros((states, actions, states))
    for state, action in np.ndindex(states, actions):
        following = rng.choice(states, branching, replace=False)
        transition[state, action, following] = rng.dirichlet(np.ones(branching))
    return FiniteCMDP(
        name=name,
        transition=transition,
        reward=rng.random((states, actions)),
        costs=rng.random((costs, states, actions)),
        limits=np.zeros(costs),
        gamma=gamma,
        start=np.full(states, 1.0 / states),
    )


def _limited(cmdp: FiniteCMDP, smallest: Sequence[float] | Array) -> FiniteCMDP:
    """Limits halfway between ``smallest`` and the costs of the policy with the largest return."""
    return cmdp.with_limits((np.asarray(smallest) + cmdp.evaluate(cmdp.unconstrained())[1]) / 2.0)

"""Two-stage constrained actor-critic: one main response, kept near policies learned for many auxiliary ones.

After Cai et al., "Two-Stage Constrained Actor-Critic for Short Video Recommendation", WWW 2023. Learns from logged
transitions with discrete actions. Stage 1 learns a critic and a policy per auxiliary response; stage 2 maximises the
main response among policies whose divergence from every auxiliary policy is within a limit, and clones the closed-form
solution from the log: every logged action is weighted by how much likelier the solution takes it than the behaviour
did.

Two choices differ from the article. Critics give the value of every action, so that the solution is normalised per
state and its multipliers are solved for instead of set by hand. And a policy of stage 1 maximises
``E[A_i] - temperature KL(pi_i || behaviour)``, which is the same closed form with the behaviour as its only reference:
it stays random enough for divergences from it to mean something.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from interlock.core.actor_critic.two_stage_solution import cloning_weights, combine, divergences, solve_multipliers
from interlock.core.environment import Array
from interlock.core.errors import BadInput
from interlock.core.networks import perceptron
from interlock.core.scenario import Settings

_CHUNK = 8192
"""States evaluated at once."""


@dataclass(frozen=True, slots=True)
class TransitionLog:
    """Logged decisions.

    Attributes:
        states: ``(N, d)``.
        actions: int ``(N,)``.
        num_actions: how many there are to choose from.
        responses: ``(N, 1 + k)`` the main one first; more is better in every column (negate what should be small).
        next_states: ``(N, d)``.
        done: bool ``(N,)``: the session ended in itself; where it was only cut off, values go on from ``next_states``.
        durations: ``(N,)`` time until the next state, in the unit of the discount; ``None``: one each.
        behaviour: ``(N,)`` log-probability of the action when it was taken; ``None``: it is fitted.
    """

    states: Array
    actions: Array
    num_actions: int
    responses: Array
    next_states: Array
    done: Array
    durations: Array | None = None
    behaviour: Array | None = None

    def check(self) -> None:
        """Refuse what cannot be learned from.

        Raises:
            BadInput: with all problems found.
        """
        count = len(self.states)
        problems = [
            f"{name} has {len(array)} rows, states have {count}"
            for name, array in self._arrays()
            if len(array) != count
        ]
        problems += [f"{name} has values that are not finite" for name, array in self._arrays() if not _finite(array)]
        if self.states.shape != self.next_states.shape or self.states.ndim != 2:
            problems.append(f"states {self.states.shape} and next_states {self.next_states.shape} must be (N, d)")
        if self.responses.ndim != 2 or self.responses.shape[1] < 2:
            problems.append(f"responses must be (N, 1 + k) with k >= 1 auxiliary ones, got {self.responses.shape}")
        if count == 0:
            problems.append("there are no transitions")
        elif self.actions.min() < 0 or self.actions.max() >= self.num_actions:
            problems.append(f"actions must be 0 to {self.num_actions - 1}")
        if self.behaviour is not None and (self.behaviour > 1e-6).any():
            problems.append("behaviour must be logarithms of probabilities, not positive")
        if self.durations is not None and (self.durations < 0).any():
            problems.append("durations must not be negative")
        if problems:
            raise BadInput("logged transitions", problems)

    def _arrays(self) -> list[tuple[str, Array]]:
        named = {name: getattr(self, name) for name in self.__slots__ if name != "num_actions"}
        return [(name, array) for name, array in named.items() if array is not None]


def _finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


class TwoStageConfig(Settings):
    """Settings of the two-stage constrained actor-critic."""

    gamma: float = Field(0.95, ge=0, le=1, description="discount per unit of duration")
    divergence: float | tuple[float, ...] = Field(0.2, description="limit of KL(pi || pi_i) in nats; one, or one each")
    temperature: float = Field(1.0, gt=0, description="of stage 1, in standard deviations of each advantage")
    rounds: int = Field(1, ge=1, description="stage 2 is repeated with advantages of the policy it found")
    hidden: tuple[int, ...] = Field((64, 64), description="hidden layers of every network")
    critic_updates: int = Field(800, ge=1, description="gradient steps of the critics")
    policy_updates: int = Field(600, ge=1, description="gradient steps of each policy")
    minibatch: int = Field(1024, ge=1, description="transitions per gradient step")
    learning_rate: float = Field(3e-3, gt=0, description="step size of Adam at the start; falls to zero")
    target_rate: float = Field(0.02, gt=0, le=1, description="share by which target critics follow per step")
    clip: float = Field(20.0, gt=1, description="largest weight of a logged action when cloning")
    solved_states: int = Field(2048, ge=1, description="states on which the multipliers are solved for")

    def limits(self, auxiliaries: int) -> Array:
        """``(k,)`` limits in nats.

        Raises:
            BadInput: there are not as many as auxiliary responses, or they are not positive.
        """
        given = self.divergence if isinstance(self.divergence, tuple) else (self.divergence,) * auxiliaries
        if len(given) != auxiliaries or min(given) <= 0:
            raise BadInput("divergence", [f"needs {auxiliaries} positive limits, one per auxiliary response: {given}"])
        return np.array(given)


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """Stage 1: serves any main response and any limits afterwards.

    Attributes:
        behaviour: network that gives scores ``(n, A)``: the policy of the log.
        policies: ``k`` networks alike, one per auxiliary response.
    """

    behaviour: nn.Module
    policies: tuple[nn.Module, ...]


@dataclass(frozen=True, slots=True)
class TwoStagePolicy:
    """A policy for the main response near all auxiliary ones.

    Attributes:
        network: scores ``(n, A)`` of states ``(n, d)``.
        auxiliary: stage 1.
        multipliers: ``(k,)`` of the limits, in units of the main response per nat.
        divergences: ``(k,)`` of the network from the auxiliary policies, mean over logged states.
        limits: ``(k,)`` that were asked for.
        feasible: whether the closed form satisfied them; if not, no policy does.
    """

    network: nn.Module
    auxiliary: Auxiliary
    multipliers: Array
    divergences: Array
    limits: Array
    feasible: bool

    def log_probabilities(self, states: Array) -> Array:
        """``(n, A)``."""
        return _log_policy(self.network, states)

    def act(self, states: Array, *, deterministic: bool = True, rng: np.random.Generator | None = None) -> Array:
        """The likeliest action per state, or a draw.

        Raises:
            ValueError: a draw is asked for without a generator.
        """
        scores = self.log_probabilities(states)
        if not deterministic:
            if rng is None:
                raise ValueError("drawing actions needs a generator")
            scores = scores + rng.gumbel(size=scores.shape)
        actions: Array = scores.argmax(axis=1)
        return actions


def fit_two_stage(log: TransitionLog, config: TwoStageConfig, seed: int) -> TwoStagePolicy:
    """Both stages.

    Raises:
        BadInput: the log or the settings are wrong, with all problems found.
    """
    log.check()
    config.limits(log.responses.shape[1] - 1)
    return fit_main(log, fit_auxiliary(log, config, seed), config, seed)


def fit_auxiliary(log: TransitionLog, config: TwoStageConfig, seed: int) -> Auxiliary:
    """Stage 1: the behaviour of the log, then critics and policies of the auxiliary responses.

    Raises:
        BadInput: the log is wrong, with all problems found.
    """
    log.check()
    fit = _Fit(log, config, np.random.SeedSequence([seed, 1]))
    behaviour = fit.clone(np.ones(len(log.states)))
    columns = range(1, log.responses.shape[1])
    critics = fit.critics(behaviour, columns)
    policies = [fit.clone(fit.auxiliary_weights(behaviour, critic)) for critic in critics]
    return Auxiliary(behaviour, tuple(policies))


def fit_main(log: TransitionLog, auxiliary: Auxiliary, config: TwoStageConfig, seed: int) -> TwoStagePolicy:
    """Stage 2: the critic of the main response, the multipliers, and the policy.

    Raises:
        BadInput: the log or the limits are wrong, with all problems found.
    """
    log.check()
    limits = config.limits(len(auxiliary.policies))
    fit = _Fit(log, config, np.random.SeedSequence([seed, 2]))
    solved = fit.rng.permutation(len(log.states))[: config.solved_states]
    references = np.stack([_log_policy(policy, log.states[solved]) for policy in auxiliary.policies])
    network = auxiliary.behaviour
    for _ in range(config.rounds):
        (critic,) = fit.critics(network, [0])
        solution = solve_multipliers(references, _advantages(critic, network, log.states[solved]), limits)
        network = fit.clone(fit.main_weights(auxiliary, network, critic, solution.multipliers))
    weights = np.full(len(solved), 1.0 / len(solved))
    reached = divergences(_log_policy(network, log.states[solved]), references, weights)
    return TwoStagePolicy(network, auxiliary, solution.multipliers, reached, limits, solution.feasible)


class _Fit:
    """Gradient steps on one log, all random numbers from one seed."""

    def __init__(self, log: TransitionLog, config: TwoStageConfig, seed: np.random.SeedSequence):
        self.log, self.config = log, config
        self.rng = np.random.default_rng(seed)
        self.states, self.next_states = _float(log.states), _float(log.next_states)
        self.actions = torch.from_numpy(np.asarray(log.actions, np.int64))
        duration = np.ones(len(log.states)) if log.durations is None else log.durations
        self.discounts = _float(np.where(log.done, 0.0, config.gamma**duration))

    def network(self) -> nn.Module:
        """A perceptron with one output per action, nearly equal at first."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.rng.integers(2**31)))
            return perceptron((self.states.shape[1], *self.config.hidden), self.log.num_actions, 0.01)

    def critics(self, policy: nn.Module, columns: Sequence[int]) -> list[nn.Module]:
        """Value of every action for some responses, following ``policy`` afterwards (expected SARSA with targets)."""
        responses = _float(self.log.responses)
        spread = responses.std(dim=0, correction=0)
        scale = torch.where(spread > 0, spread, 1.0)
        critics = nn.ModuleList(self.network() for _ in columns)
        followers = deepcopy(critics)

        def loss(rows: Tensor) -> Tensor:
            with torch.no_grad():
                for slow, fast in zip(followers.parameters(), critics.parameters(), strict=True):
                    slow.lerp_(fast, self.config.target_rate)
                later = self.next_states[rows]
                chances = policy(later).softmax(1)
            total = torch.zeros(())
            for column, critic, follower in zip(columns, critics, followers, strict=True):
                with torch.no_grad():
                    going_on = self.discounts[rows] * (chances * follower(later)).sum(1)
                    target = responses[rows, column] / scale[column] + going_on
                taken = critic(self.states[rows]).gather(1, self.actions[rows, None])[:, 0]
                total = total + (taken - target).square().mean()
            return total

        self._minimise(loss, critics, self.config.critic_updates)
        return [_Scaled(critic, float(scale[column])) for critic, column in zip(critics, columns, strict=True)]

    def clone(self, weights: Array) -> nn.Module:
        """The policy that makes the weighted log likeliest."""
        network, weight = self.network(), _float(weights)

        def loss(rows: Tensor) -> Tensor:
            taken = network(self.states[rows]).log_softmax(1).gather(1, self.actions[rows, None])[:, 0]
            lost: Tensor = -(weight[rows] * taken).mean()
            return lost

        self._minimise(loss, network, self.config.policy_updates)
        return network

    def auxiliary_weights(self, behaviour: nn.Module, critic: nn.Module) -> Array:
        """Weights of the policy that maximises ``E[A] - temperature KL(pi || behaviour)``."""
        sample = self.log.states[self.rng.permutation(len(self.states))[: self.config.solved_states]]
        chances = np.exp(_log_policy(behaviour, sample))
        spread = float(np.sqrt((chances * _advantages(critic, behaviour, sample) ** 2).sum(axis=1).mean()))
        multiplier = np.array([self.config.temperature * max(spread, 1e-12)])
        return self._weights(
            behaviour,
            lambda states: combine(
                _log_policy(behaviour, states)[None], multiplier, _advantages(critic, behaviour, states)
            ),
        )

    def main_weights(self, auxiliary: Auxiliary, policy: nn.Module, critic: nn.Module, multipliers: Array) -> Array:
        """Weights of the closed-form solution."""
        return self._weights(
            auxiliary.behaviour,
            lambda states: combine(
                np.stack([_log_policy(reference, states) for reference in auxiliary.policies]),
                multipliers,
                _advantages(critic, policy, states),
            ),
        )

    def _weights(self, behaviour: nn.Module, target: Callable[[Array], Array]) -> Array:
        """Weight of every logged action, evaluated some states at a time."""
        chosen, logged = np.empty(len(self.states)), np.empty(len(self.states))
        for start in range(0, len(chosen), _CHUNK):
            part = slice(start, start + _CHUNK)
            states, actions = self.log.states[part], self.log.actions[part, None].astype(np.int64)
            chosen[part] = np.take_along_axis(target(states), actions, 1)[:, 0]
            logged[part] = np.take_along_axis(_log_policy(behaviour, states), actions, 1)[:, 0]
        return cloning_weights(chosen, logged if self.log.behaviour is None else self.log.behaviour, self.config.clip)

    def _minimise(self, loss: Callable[[Tensor], Tensor], module: nn.Module, updates: int) -> None:
        """Adam on random minibatches with a step size that falls to zero."""
        optimiser = torch.optim.Adam(module.parameters(), lr=self.config.learning_rate)
        size = min(self.config.minibatch, len(self.states))
        for update in range(updates):
            optimiser.param_groups[0]["lr"] = self.config.learning_rate * (1.0 - update / updates)
            optimiser.zero_grad()
            loss(torch.from_numpy(self.rng.integers(len(self.states), size=size))).backward()
            optimiser.step()


class _Scaled(nn.Module):
    """A critic learned in standard deviations of its response, back in the unit of the response."""

    def __init__(self, critic: nn.Module, scale: float):
        super().__init__()
        self.critic, self.scale = critic, scale

    def forward(self, states: Tensor) -> Tensor:
        values: Tensor = self.scale * self.critic(states)
        return values


def _float(array: Array) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def _log_policy(network: nn.Module, states: Array) -> Array:
    """``(n, A)`` log-probabilities, in float64."""
    with torch.no_grad():
        result: Array = network(_float(states)).double().log_softmax(1).numpy()
    return result


def _advantages(critic: nn.Module, policy: nn.Module, states: Array) -> Array:
    """``(n, A)`` value of every action, less that of the policy."""
    with torch.no_grad():
        values = critic(_float(states)).double().numpy()
    result: Array = values - (np.exp(_log_policy(policy, states)) * values).sum(axis=1, keepdims=True)
    return result

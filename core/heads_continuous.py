"""Heads over boxes and shares: Gaussian, squashed Gaussian, Beta, Dirichlet.

Raw actions have no unit; ``action`` scales them to the box, and log-probabilities are densities in its units:
``log p(raw) - sum log |d action / d raw|``.

Sources: textbook; the stable form of ``log(1 - tanh(u)^2)`` is that of Haarnoja et al., Soft Actor-Critic, 2018.
"""

from collections.abc import Sequence
from math import isfinite, log, pi

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from interlock.core.errors import UsageError
from interlock.core.heads_base import Head

SMALLEST_SHARE = 2.0**-24
"""Shares are taken as at least this in logarithms; single precision knows no number nearer to one."""


class Box:
    """Bounds of a flat continuous action, and its scale: centre and half width where bounded on both sides, else 0, 1.

    Args:
        low: of each component, may be minus infinity.
        high: likewise.

    Raises:
        UsageError: not the same number of bounds, or an empty interval.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float]):
        bounds = [(float(a), float(b)) for a, b in zip(low, high, strict=False)]
        if len(low) != len(high) or not bounds or not all(a < b for a, b in bounds):
            raise UsageError(f"bounds must be pairs of low < high; got low {list(low)}, high {list(high)}")
        scale = [((a + b) / 2, (b - a) / 2) if isfinite(b - a) else (0.0, 1.0) for a, b in bounds]
        self.size = len(bounds)
        self.bounded = all(isfinite(b - a) for a, b in bounds)
        self.low, self.high = torch.tensor(bounds).unbind(1)
        self.centre, self.half = torch.tensor(scale).unbind(1)
        self.log_scale = sum(log(half) for _, half in scale)

    def place(self, standard: Tensor) -> Tensor:
        """From the scale on which a bounded component runs from -1 to 1, into the box."""
        return torch.clamp(self.centre + self.half * standard, self.low, self.high)

    def require_bounds(self, kind: str) -> None:
        """Refuse an unbounded box."""
        if not self.bounded:
            raise UsageError(
                f"a {kind} head needs bounds on every component; got low {self.low.tolist()}, high {self.high.tolist()}"
            )


class GaussianHead(Head):
    """Independent normal distributions; deviations do not depend on the state. Raw actions ``(n, d)`` are not clipped.

    Args:
        low: bounds of the box; where both are finite, -1 and 1 of the actor mean the ends of the interval.
        high: likewise.
        log_std: initial logarithm of the standard deviation, on the scale of the actor.
    """

    kind = "gaussian"

    def __init__(self, low: Sequence[float], high: Sequence[float], log_std: float = -0.5):
        self.box = Box(low, high)
        self.outputs = self.box.size
        self.free = (float(log_std),) * self.box.size

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation."""
        return parameters[:, : self.outputs], parameters[:, self.outputs :]

    @torch.no_grad()
    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """``(n, d)``, unbounded."""
        mean, log_std = self._split(parameters)
        return mean + log_std.exp() * torch.randn(mean.shape, generator=generator, dtype=mean.dtype)

    def log_probability(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of actions before clipping."""
        mean, log_std = self._split(parameters)
        exponent = ((raw - mean) * (-log_std).exp()).square() / 2
        return -(exponent + log_std).sum(1) - self.outputs * log(2 * pi) / 2 - self.box.log_scale

    def entropy(self, parameters: Tensor) -> Tensor:
        """Before clipping."""
        return self._split(parameters)[1].sum(1) + self.outputs * log(2 * pi * np.e) / 2 + self.box.log_scale

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """Between normal distributions."""
        (mean, log_std), (new_mean, new_log_std) = self._split(old), self._split(new)
        ratio = 2 * (log_std - new_log_std)
        distance = ((mean - new_mean) * (-new_log_std).exp()).square()
        return (ratio.exp() - 1 - ratio + distance).sum(1) / 2

    def mode(self, parameters: Tensor) -> Tensor:
        """The mean."""
        return self._split(parameters)[0]

    def action(self, raw: Tensor) -> Tensor:
        """Clipped to the box."""
        return self.box.place(raw)


NODES, WEIGHTS = (torch.tensor(values, dtype=torch.float32) for values in np.polynomial.hermite_e.hermegauss(32))


class TanhGaussianHead(GaussianHead):
    """Normal distributions squashed into a box by ``tanh``. Raw actions ``(n, d)`` are those before squashing.

    Args:
        low: bounds of the box, finite.
        high: likewise.
        log_std: initial logarithm of the standard deviation, before squashing.
    """

    kind = "tanh_gaussian"

    def __init__(self, low: Sequence[float], high: Sequence[float], log_std: float = -0.5):
        super().__init__(low, high, log_std)
        self.box.require_bounds(self.kind)

    def log_probability(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of the action after squashing; stable however large the raw action is."""
        return super().log_probability(parameters, raw) - _log_slope(raw).sum(1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """After squashing, by Gauss-Hermite quadrature: no closed form is known."""
        mean, log_std = self._split(parameters)
        points = mean[..., None] + log_std.exp()[..., None] * NODES.to(mean.dtype)
        expected = (_log_slope(points) * (WEIGHTS / WEIGHTS.sum()).to(mean.dtype)).sum((1, 2))
        return super().entropy(parameters) + expected

    def action(self, raw: Tensor) -> Tensor:
        """Squashed into the box."""
        return self.box.place(raw.tanh())


def _log_slope(raw: Tensor) -> Tensor:
    """``log(1 - tanh(raw)^2)``."""
    return 2 * (log(2) - raw - functional.softplus(-2 * raw))


def _concentration(parameters: Tensor) -> Tensor:
    """At least one, so that the density is bounded."""
    return 1 + functional.softplus(parameters)


def _log_density(concentration: Tensor, log_shares: Tensor) -> Tensor:
    """``(...)`` of a Dirichlet distribution over the last axis, a density of all shares but the last."""
    return ((concentration - 1) * log_shares).sum(-1) - _log_normaliser(concentration)


def _log_normaliser(concentration: Tensor) -> Tensor:
    return torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))


def _expected_log_shares(concentration: Tensor) -> Tensor:
    return torch.digamma(concentration) - torch.digamma(concentration.sum(-1, keepdim=True))


def _shares_entropy(concentration: Tensor) -> Tensor:
    return _log_normaliser(concentration) - ((concentration - 1) * _expected_log_shares(concentration)).sum(-1)


def _shares_divergence(old: Tensor, new: Tensor) -> Tensor:
    expected = ((old - new) * _expected_log_shares(old)).sum(-1)
    return _log_normaliser(new) - _log_normaliser(old) + expected


def _draw_shares(concentration: Tensor, generator: Generator) -> Tensor:
    gammas: Tensor = torch._standard_gamma(concentration, generator)
    return gammas / gammas.sum(-1, keepdim=True)


class BetaHead(Head):
    """Independent Beta distributions scaled to a box; nothing gathers at the bounds. Raw actions ``(n, d)`` in [0, 1].

    The actor gives two numbers per component; ``1 + softplus`` of them are alpha and beta.

    Args:
        low: bounds of the box, finite.
        high: likewise.
    """

    kind = "beta"
    free = ()

    def __init__(self, low: Sequence[float], high: Sequence[float]):
        self.box = Box(low, high)
        self.box.require_bounds(self.kind)
        self.outputs = 2 * self.box.size
        self.log_width = self.box.log_scale + self.box.size * log(2)

    def _concentration(self, parameters: Tensor) -> Tensor:
        """``(n, d, 2)``."""
        return _concentration(parameters).reshape(-1, self.box.size, 2)

    @torch.no_grad()
    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """``(n, d)`` in [0, 1]."""
        return _draw_shares(self._concentration(parameters), generator)[..., 0]

    def log_probability(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of the action in the box."""
        return self._log_density(self._concentration(parameters), raw)

    def _log_density(self, concentration: Tensor, raw: Tensor) -> Tensor:
        log_shares = torch.stack([raw, 1 - raw], -1).clamp(min=SMALLEST_SHARE).log()
        return _log_density(concentration, log_shares).sum(1) - self.log_width

    def entropy(self, parameters: Tensor) -> Tensor:
        """Of the action in the box."""
        return _shares_entropy(self._concentration(parameters)).sum(1) + self.log_width

    def log_probability_and_entropy(self, parameters: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Both from the same alpha and beta."""
        concentration = self._concentration(parameters)
        return self._log_density(concentration, raw), _shares_entropy(concentration).sum(1) + self.log_width

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """Sum over the components."""
        return _shares_divergence(self._concentration(old), self._concentration(new)).sum(1)

    def mode(self, parameters: Tensor) -> Tensor:
        """The mean ``alpha / (alpha + beta)``."""
        concentration = self._concentration(parameters)
        return concentration[..., 0] / concentration.sum(-1)

    def action(self, raw: Tensor) -> Tensor:
        """Scaled to the box."""
        return self.box.place(2 * raw - 1)


class DirichletHead(Head):
    """Shares that sum to one. Raw actions ``(n, k)`` are all shares, with the unallocated one last if there is one.

    Densities are those of all raw shares but the last, which the others determine.

    Args:
        shares: components of the environment's action.
        unallocated: whether they may sum to less than one, the rest being given to nobody.
    """

    kind = "dirichlet"
    free = ()

    def __init__(self, shares: int, unallocated: bool = False):
        self.shares = shares
        self.outputs = shares + int(unallocated)
        if self.outputs < 2:
            raise UsageError("a dirichlet head needs two shares, or one and the unallocated one")

    @torch.no_grad()
    def sample(self, parameters: Tensor, generator: Generator) -> Tensor:
        """``(n, k)``, rows sum to one."""
        return _draw_shares(_concentration(parameters), generator)

    def log_probability(self, parameters: Tensor, raw: Tensor) -> Tensor:
        """Of all shares but the last."""
        return _log_density(_concentration(parameters), raw.clamp(min=SMALLEST_SHARE).log())

    def entropy(self, parameters: Tensor) -> Tensor:
        """Of all shares but the last."""
        return _shares_entropy(_concentration(parameters))

    def divergence(self, old: Tensor, new: Tensor) -> Tensor:
        """In closed form."""
        return _shares_divergence(_concentration(old), _concentration(new))

    def mode(self, parameters: Tensor) -> Tensor:
        """The mean: concentrations divided by their sum."""
        concentration = _concentration(parameters)
        return concentration / concentration.sum(1, keepdim=True)

    def action(self, raw: Tensor) -> Tensor:
        """The shares without the unallocated one."""
        return raw[:, : self.shares]

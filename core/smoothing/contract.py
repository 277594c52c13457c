"""What Gaussian-process smoothing needs of a problem: observations from network inputs."""

from collections.abc import Callable, Mapping
from typing import Protocol

from interlock.core.environment import Array, Observation
from interlock.core.problem import Problem

Decoder = Callable[[Array], Observation]
"""``vector`` ``(n, d)`` -> an observation that the encoder turns into it.

What the vector does not tell is as at the start of an episode.
"""


class DecodableProblem(Problem, Protocol):
    """A problem with encoders that can be undone."""

    def decoders(self) -> Mapping[str, Decoder]:
        """Of those of the problem's encoders that give one ``vector`` and can be undone, by the same names."""
        ...

"""Solvers that load and are no good: one lacks its package, one does not look at the program, one cannot be opened."""

import numpy as np

from interlock.solvers.interface import Solution
from interlock.solvers.rebuilding import RebuildingSession


class Lazy:
    """Answers zero to everything."""

    def solve(self, program, *, time_limit=None):
        """Zero, whatever is asked."""
        return Solution("optimal", 0.0, np.zeros(len(program.cost)))

    def open(self, program):
        """A session of it."""
        return RebuildingSession(self, program)


class Missing(Lazy):
    """Works with a package that is not installed."""

    package = "a-solver-nobody-has"
    extra = "unheard-of"


class Closed:
    """Has no sessions."""

    def solve(self, program, *, time_limit=None):
        """Nothing."""
        return Solution("failed")
